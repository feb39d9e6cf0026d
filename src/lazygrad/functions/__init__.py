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

# methods of Tensor among them
methods("", "angle ldexp frexp", "numbers")
methods("", "rot90 flipud fliplr resize", "stacking")
methods("", "nansum nanmean", "missing")
methods("", "quantile median nanmedian", "quantiles")
