"""Counting into bins: histograms of one or more dimensions, bin counts, the bins of numbers.

In: tensors, numbers of bins or their edges. Out: counts (int64, or sums of weights, to which derivatives flow) and edges. Nothing is
evaluated but what decides a shape: the largest number of `bincount`, a rule for the number of bins given as a string.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from .. import dtypes
from ..errors import DTypeError, IndexingError, OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from ..tensor import Tensor
from .composite import fill
from .creation import line
from .elementwise import ordered
from .movement import cut, flip
from .promotion import P, alike, as_term, broadcast, cast, constant, inexact, reshaped
from .selection import beside, integers, tensor_of, weak
from .table import FUNCTIONS, deferred, plain

# ---- where numbers fall -------------------------------------------------------------------------------------------------


def span(x: Term, low: Operand, high: Operand) -> tuple[Term, Term]:
    """The ends of bins of equal width: those given, else the extremes of x; half a unit to each side of a single value."""
    if low is None:
        if x.aval.size == 0:
            low, high = constant(0, (), x.aval.dtype), constant(1, (), x.aval.dtype)
        else:
            low, high = [prim(x, axes=tuple(range(x.aval.ndim))) if x.aval.ndim else x for prim in (P.min, P.max)]
    low, high = [cast(as_term("histogram", v), x.aval.dtype) for v in (low, high)]
    one, half = P.eq(low, high), constant(0.5, (), x.aval.dtype)
    return P.where(one, P.sub(low, half), low), P.where(one, P.add(high, half), high)


def equal_edges(low: Term, high: Term, bins: int) -> Term:
    """bins + 1 numbers from low to high, evenly apart."""
    dtype, n = low.aval.dtype, bins + 1
    step = P.div(P.sub(high, low), fill(low, bins))
    ramp = line(n, 0, 1, dtype)
    # abs changes nothing, but keeps product and sum apart: as one fused operation they would miss NumPy's edges, where elements lie
    inner = P.add(P.abs(P.mul(ramp, broadcast(step, (n,)))), broadcast(low, (n,)))
    return P.where(P.eq(ramp, fill(ramp, bins)), broadcast(high, (n,)), inner)


def bin_of(x: Term, edges: Term, equal: bool) -> tuple[Term, Term]:
    """For every element of a 1-d x the number of its bin (int32) and whether it has one. The last bin has its upper edge too."""
    bins, shape = edges.aval.size - 1, x.aval.shape
    low, high = [broadcast(reshaped(cut(edges, 0, k, 1), ()), shape) for k in (0, bins)]
    inside = P.bit_and(P.ge(x, low), P.le(x, high))
    last, zero = constant(bins - 1, shape, dtypes.int32), constant(0, shape, dtypes.int32)
    if equal:
        place = P.mul(P.div(P.sub(x, low), P.sub(high, low)), fill(x, bins))
        i = P.minimum(cast(P.where(inside, place, fill(place, 0)), dtypes.int32), last)
        # the product is rounded: the edges themselves decide
        def at(i: Term) -> Term:
            return P.gather(edges, i, axes=(0,), position=0)
        i = P.where(P.lt(x, at(i)), P.sub(i, fill(i, 1)), i)
        i = P.maximum(i, zero)
        up = P.bit_and(P.ge(x, at(P.add(i, fill(i, 1)))), P.lt(i, last))
        i = P.where(up, P.add(i, fill(i, 1)), i)
    else:
        i = P.sub(cast(P.searchsorted(edges, x, side="right"), dtypes.int32), fill(zero, 1))
        i = P.maximum(P.minimum(i, last), zero)
    return i, inside


def summed(i: Term, inside: Term, weights: Term | None, bins: int) -> Term:
    """How often each of so many bins is hit, or the sum of the weights that fall into it."""
    w = cast(inside, dtypes.int64) if weights is None else P.where(inside, weights, fill(weights, 0))
    i = P.where(inside, i, fill(i, 0))
    return P.scatter_add(constant(0, (bins,), w.aval.dtype), i, w, axes=(0,), position=0)


def checked(op: str, x: Term, weights: Term | None) -> tuple[Term, Term | None]:
    """x and its weights as flat arrays."""
    ordered(op, (x,))
    if weights is not None and weights.aval.shape != x.aval.shape:
        raise ShapeError(op, f"{x.aval.shape} with weights of {weights.aval.shape}", "every element needs a weight", "give them x's shape")
    if weights is not None:
        weights = reshaped(weights, (x.aval.size,))
        weights = cast(weights, dtypes.int64) if weights.aval.dtype.kind == "b" else weights
    return reshaped(x, (x.aval.size,)), weights


def as_density(h: Term, edges: list[Term]) -> Term:
    """Counts divided by their sum and by the sizes of the bins."""
    dtype = edges[0].aval.dtype if h.aval.dtype.kind in "iu" else h.aval.dtype
    h = cast(h, dtype)
    total = P.sum(h, axes=tuple(range(h.aval.ndim)))
    for k, e in enumerate(edges):
        n = e.aval.size - 1
        width = cast(P.sub(cut(e, 0, 1, n), cut(e, 0, 0, n)), dtype)
        h = P.div(h, broadcast(reshaped(width, tuple([n if j == k else 1 for j in range(h.aval.ndim)])), h.aval.shape))
    return P.div(h, broadcast(total, h.aval.shape))


# ---- rules ------------------------------------------------------------------------------------------------------------

def located(x: Term, bins: int | None, limits: tuple | None, edges: Term | None) -> tuple[Term, Term, Term]:
    """The bins of a 1-d x, whether it has them, and their edges."""
    if edges is None:
        x = inexact(x)
        low, high = limits or (None, None)
        edges = equal_edges(*span(x, low, high), bins)
        return *bin_of(x, edges, True), edges
    return *bin_of(*alike("histogram", (x, edges)), False), edges


def counted(x: Term, edges: Operand, weights: Operand, bins: int | None, limits: tuple | None, density: bool) -> tuple[Term, Term]:
    """A histogram over bins of equal width, or over those that lie between `edges`."""
    x, weights = checked("histogram", x, weights)
    i, inside, edges = located(x, bins, limits, edges)
    h = summed(i, inside, weights, edges.aval.size - 1)
    return as_density(h, [inexact(edges)]) if density else h, edges


def counted_together(x: Term, edges: Terms, weights: Operand, bins: tuple, limits: tuple, density: bool) -> tuple[Term, ...]:
    """The histogram of the rows of x (n, d); `edges` are given for the columns whose `bins` are None."""
    n = x.aval.shape[0]
    given, found, shape, at, all_inside = iter(edges), [], [], None, None
    for k, (count, ends) in enumerate(zip(bins, limits, strict=True)):
        i, inside, e = located(reshaped(cut(ordered("histogramdd", (x,))[0], 1, k, 1), (n,)), count, ends, next(given) if count is None else None)
        size = e.aval.size - 1
        at = i if at is None else P.add(P.mul(at, fill(at, size)), i)
        all_inside = inside if all_inside is None else P.bit_and(all_inside, inside)
        found.append(e)
        shape.append(size)
    if weights is not None and weights.aval.shape != (n,):
        raise ShapeError("histogramdd", f"{n} rows with weights of {weights.aval.shape}", "every row needs a weight", "give them one axis")
    h = summed(at, all_inside, weights, math.prod(shape))
    h = cast(reshaped(h, tuple(shape)), inexact(x).aval.dtype if weights is None else h.aval.dtype)
    return as_density(h, [inexact(e) for e in found]) if density else h, *found


def only_edges(x: Term, bins: int, limits: tuple | None) -> Term:
    return equal_edges(*span(inexact(ordered("histogram_bin_edges", (x,))[0]), *(limits or (None, None))), bins)


def hits(x: Term, weights: Operand, size: int, known: bool) -> Term:
    """How often each number below `size` occurs; `known`: no other does (that is an index error, should x change)."""
    x, weights = checked("bincount", x, weights)
    if weights is not None and weights.aval.dtype.kind in "iub":
        weights = inexact(weights)
    if known and size:
        w = constant(1, x.aval.shape, dtypes.int64) if weights is None else weights
        return P.scatter_add(constant(0, (size,), w.aval.dtype), integers("bincount", x), w, axes=(0,), position=0)
    inside = P.bit_and(P.ge(x, fill(x, 0)), P.lt(x, fill(x, size))) if size - 1 < np.iinfo(x.aval.dtype).max else P.ge(x, fill(x, 0))
    if not size:
        return constant(0, (0,), dtypes.int64 if weights is None else weights.aval.dtype)
    return summed(P.where(inside, cast(x, dtypes.int64), constant(0, x.aval.shape, dtypes.int64)), inside, weights, size)


COUNTED, TOGETHER, EDGES, HITS = deferred(counted), deferred(counted_together), deferred(only_edges), deferred(hits)


# ---- arguments --------------------------------------------------------------------------------------------------------

def limits_of(op: str, given: object) -> tuple[float, float] | None:
    """`range` as two numbers. ShapeError where they are none, or in wrong order."""
    if given is None:
        return None
    low, high = [float(v) for v in given]
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ShapeError(op, f"range {given}", "it must be two finite numbers, the smaller one first", "pass (low, high)")
    return low, high


def bins_of(op: str, x: Tensor, bins: object, limits: tuple | None, weights: object) -> tuple[int | None, Tensor | None]:
    """A number of bins, or edges. A rule given by its name is applied to the values of x."""
    if isinstance(bins, str):
        if weights is not None:
            raise OptionError(op, f"bins={bins!r} with weights", "rules for the number of bins know no weights", "pass a number")
        try:
            return len(np.histogram_bin_edges(np.asarray(x), bins, limits)) - 1, None
        except ValueError as error:
            raise OptionError(op, f"bins={bins!r}", str(error), "pass a number") from None
    if isinstance(bins, Tensor) and bins.ndim:
        edges = bins
    elif np.ndim(bins) == 0:
        try:
            count = operator.index(bins)
        except TypeError:
            raise DTypeError(op, f"bins={bins!r}", "it is neither a number, a rule nor edges", "pass an integer") from None
        if count < 1:
            raise ShapeError(op, f"{count} bins", "there must be one at least", "pass 1 or more")
        return count, None
    else:
        array = np.asarray(bins)
        if array.ndim == 1 and (array[:-1] > array[1:]).any():
            raise ShapeError(op, f"edges {bins}", "they do not rise", "sort them")
        edges = weak(op, x, bins)
    if edges.ndim != 1 or edges.size < 2:
        raise ShapeError(op, f"edges of {edges.shape}", "bins lie between two numbers or more along one axis", "pass more edges")
    return None, edges


# ---- the functions ----------------------------------------------------------------------------------------------------

@plain()
def histogram(x, bins=10, range=None, density=False, weights=None):
    """How many elements of x fall into each bin, and the edges of the bins; elements outside fall into none.

    `bins`: a number of equal ones, between the extremes of x or the two numbers of `range`; or rising edges; or NumPy's name of a rule,
    which evaluates x. The counts are int64; with `weights` they are sums of these, to which derivatives flow; with `density` they are
    divided by their sum and by the widths. Values that are not finite need `range`, else all edges are NaN.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.histogram(lg.asarray([1.0, 2.0, 1.0]), [0.0, 1.5, 3.0])]
    [[2, 1], [0.0, 1.5, 3.0]]
    """
    x, limits = tensor_of(x), limits_of("histogram", range)
    count, edges = bins_of("histogram", x, bins, limits, weights)
    return COUNTED.function()(x, edges, weights, count, limits, bool(density))


@plain()
def histogram_bin_edges(x, bins=10, range=None, weights=None):
    """The edges that `histogram` uses.

    >>> import lazygrad as lg
    >>> lg.histogram_bin_edges(lg.asarray([0.0, 4.0]), 4).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    x, limits = tensor_of(x), limits_of("histogram_bin_edges", range)
    count, edges = bins_of("histogram_bin_edges", x, bins, limits, weights)
    return edges if count is None else EDGES.function()(x, count, limits)


def dimensions(op: str, x: object) -> Tensor:
    """Samples (n, d), or d arrays of n."""
    if isinstance(x, Tensor | np.ndarray):
        x = tensor_of(x)
        return FUNCTIONS["reshape"](x, (x.shape[0], 1)) if x.ndim == 1 else x
    x = FUNCTIONS["stack"](x, axis=-1)
    if x.ndim != 2:
        raise ShapeError(op, str(x.shape), "samples are rows of a matrix", "reshape them")
    return x


@plain()
def histogramdd(sample, bins=10, range=None, density=False, weights=None):
    """How many of the points of `sample` (n, d) fall into each cell of a grid, as an array of d axes, and a list of d arrays of edges.

    `sample` may be a list of d arrays. `bins` and `range`: as for `histogram`, or a list with an entry for each dimension.

    >>> import lazygrad as lg
    >>> h, edges = lg.histogramdd(lg.asarray([[0.0, 0.0], [1.0, 3.0]]), [2, 3])
    >>> h.tolist(), edges[1].tolist()
    ([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 1.0, 2.0, 3.0])
    """
    x = dimensions("histogramdd", sample)
    d = x.shape[1]
    each = list(bins) if isinstance(bins, list | tuple) else [bins] * d
    ends = list(range) if range is not None else [None] * d
    if len(each) != d or len(ends) != d:
        raise ShapeError("histogramdd", f"{len(each)} bins and {len(ends)} ranges", f"the sample has {d} dimensions", "pass one for each")
    limits = tuple([limits_of("histogramdd", v) for v in ends])
    found = [bins_of("histogramdd", x, b, r, weights) for b, r in zip(each, limits, strict=True)]
    h, *edges = TOGETHER.function()(x, [e for _, e in found if e is not None], weights, tuple([n for n, _ in found]), limits, bool(density))
    return h, edges


@plain()
def histogram2d(x, y, bins=10, range=None, density=False, weights=None):
    """How many of the points (x, y) fall into each cell of a grid: counts (x bins, y bins), the edges along x, the edges along y.

    `bins`: a number, edges, or a pair of those; `range`: a pair of pairs.

    >>> import lazygrad as lg
    >>> h, ex, ey = lg.histogram2d(lg.asarray([0.0, 1.0]), lg.asarray([0.0, 3.0]), (2, 3))
    >>> h.tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x, y = tensor_of(x), tensor_of(y) if isinstance(y, Tensor) else beside(tensor_of(x), np.asarray(y))
    if x.ndim != 1 or x.shape != y.shape:
        raise ShapeError("histogram2d", f"{x.shape} and {y.shape}", "they must be 1-d and equally long", "ravel them")
    pair = isinstance(bins, list | tuple) and len(bins) == 2
    h, (ex, ey) = histogramdd(FUNCTIONS["stack"]([x, y], axis=1), list(bins) if pair else [bins, bins], range, density, weights)
    return h, ex, ey


@plain()
def bincount(x, weights=None, minlength=0, *, length=None):
    """How often each of 0, 1, 2, ... occurs in x (1-d, integers >= 0), or the sum of the weights of its elements.

    As long as the largest element asks for (which evaluates x), at least `minlength`; or exactly `length`, where nothing is evaluated and
    other elements count nowhere. IndexingError for negative elements of an x that is evaluated.

    >>> import lazygrad as lg
    >>> lg.bincount(lg.asarray([1, 2, 1])).tolist(), lg.bincount(lg.asarray([1, 2, 1]), length=2).tolist()
    ([0, 2, 1], [0, 2])
    """
    x = tensor_of(x)
    if x.size == 0 and x.dtype.kind == "f":
        x = FUNCTIONS["astype"](x, dtypes.int64)
    if x.ndim != 1:
        raise ShapeError("bincount", str(x.shape), "it must be 1-d", "ravel it")
    if x.dtype.kind not in "iu":
        raise DTypeError("bincount", str(x.dtype), "only integers are counted", "cast to int64")
    if length is None:
        values = x._array()
        if values.size and values.min() < 0:
            raise IndexingError("bincount", f"element {values.min()}", "it is negative", "shift or drop negative elements")
        length = max(int(values.max()) + 1 if values.size else 0, operator.index(minlength))
        return HITS.function()(x, weights, length, True)
    if length < 0:
        raise ShapeError("bincount", f"length {length}", "a length is not negative", "pass 0 or more")
    return HITS.function()(x, weights, length, False)


def bins_for(x: Term, bins: Term, right: bool, falls: bool | None) -> Term:
    """The number of the bin of each element; `falls`: whether the edges fall, None where that is not known yet."""
    x, edges = alike("digitize", (ordered("digitize", (x,))[0], bins))
    side, n = "left" if right else "right", edges.aval.size
    if not n:
        return constant(0, x.aval.shape, dtypes.int64)
    up = P.searchsorted(edges, x, side=side) if falls is not True else None
    down = P.sub(constant(n, x.aval.shape, dtypes.int64), P.searchsorted(flip(edges), x, side=side)) if falls is not False else None
    if falls is not None:
        return down if falls else up
    first, last = [reshaped(cut(edges, 0, k, 1), ()) for k in (0, n - 1)]
    return P.where(broadcast(P.gt(first, last), x.aval.shape), down, up)


DIGITIZE = deferred(bins_for)


@plain()
def digitize(x, bins, right=False):
    """The number of the bin of each element: the i with bins[i-1] <= x < bins[i] (or < and <= if `right`), 0 or len(bins) outside.

    The edges may rise or fall. ShapeError for edges that do neither (if they are no tensor).

    >>> import lazygrad as lg
    >>> lg.digitize(lg.asarray([0.5, 3.0]), [0.0, 1.0, 2.0]).tolist()
    [1, 3]
    """
    falls = None
    x = tensor_of(x)
    if not isinstance(bins, Tensor):
        array = np.asarray(bins)
        falls = array.size > 1 and array.ndim == 1 and bool(array[0] > array[-1])
        steps = np.diff(array[::-1] if falls else array) if array.ndim == 1 else array
        if array.ndim != 1 or (steps < 0).any():
            raise ShapeError("digitize", f"bins {bins}", "they neither rise nor fall", "pass sorted 1-d edges")
    elif bins.ndim != 1:
        raise ShapeError("digitize", f"bins of {bins.shape}", "edges are 1-d", "ravel them")
    return DIGITIZE.function()(x, weak("digitize", x, bins), bool(right), falls)
