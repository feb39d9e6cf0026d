"""The functions that users call, as rules on Terms lifted to tensors. `FUNCTIONS` holds them by their public names."""

from . import (
    composite,
    creation,
    diagonals,
    einsum,
    elementwise,
    indexing,
    inquiry,
    joining,
    linalg,
    movement,
    namespace,
    reductions,
    selection,
    statistics,
)
from .table import FUNCTIONS, later, methods

__all__ = ["FUNCTIONS", "composite", "creation", "diagonals", "einsum", "elementwise", "indexing", "inquiry", "joining", "linalg", "movement", "namespace", "reductions", "selection", "statistics"]

# modules that are imported when one of their functions is first asked for
later("numbers", """angle isreal iscomplex iscomplexobj isrealobj real_if_close isposinf isneginf ldexp frexp modf spacing logaddexp2
      gcd lcm bitwise_count shape ndim size isscalar""")
later("stacking", """atleast_3d column_stack dstack append block array_split hsplit vsplit dsplit delete insert trim_zeros resize
      flipud fliplr rot90 rollaxis""")
later("missing", "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanargmax nanargmin nancumsum nancumprod")
later("quantiles", "quantile percentile nanquantile nanpercentile median nanmedian")
later("histograms", "histogram histogram_bin_edges histogramdd histogram2d bincount digitize")
later("sets", "unique unique_all unique_counts unique_inverse unique_values union1d intersect1d setdiff1d setxor1d")
later("orders", "partition argpartition kthvalue lexsort sort_complex flatnonzero")
later("places", "choose extract place putmask put copyto fill_diagonal")
later("grids", """tril_indices triu_indices tril_indices_from triu_indices_from diag_indices diag_indices_from mask_indices tri diagflat
      indices ix_ unravel_index ravel_multi_index""")
later("sliding", "sliding_window_view unfold correlate convolve hanning hamming blackman bartlett kaiser")
later("running", "cummax cummin logcumsumexp trapezoid cumulative_trapezoid gradient ediff1d unwrap")
later("interpolate", "interp")
later("polynomials", "polyval polyadd polysub polymul polydiv polyder polyint roots poly vander polyfit")
later("ranges", "linspace logspace geomspace")
later("products", "vdot matvec vecmat cross einsum_path")
later("padding", "pad")
later("special", "i0", "special")
later("covariance", "cov corrcoef")
later("application", "piecewise apply_over_axes fromfunction")

# methods of Tensor among them
methods("", "angle ldexp frexp", "numbers")
methods("", "rot90 flipud fliplr resize", "stacking")
methods("", "nansum nanmean", "missing")
methods("", "quantile median nanmedian", "quantiles")
methods("", "partition argpartition kthvalue", "orders")
methods("", "choose place putmask put fill_diagonal", "places")
methods("", "diagflat", "grids")
methods("", "unfold", "sliding")
methods("", "cummax cummin logcumsumexp", "running")
methods("", "vdot", "products")
methods("", "pad", "padding")
