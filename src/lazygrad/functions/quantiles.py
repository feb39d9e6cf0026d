"""Quantiles, percentiles and medians by NumPy's thirteen methods, with and without NaN, with and without weights.

In: a tensor, the quantiles as numbers, arrays or tensors, `axis` (None for all, an integer, or several). Out: the axes of the
quantiles first, then those of x that remain. Derivatives flow to the two elements that are interpolated, and to quantiles that are a
tensor; the order of elements has none.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import dtypes, reference
from ..errors import DTypeError, OptionError, ShapeError
from ..ir.aval import aval
from ..ir.term import Term
from ..prims.leaf import leaf
from ..tensor import Tensor
from .composite import fill, scale
from .elementwise import ordered
from .movement import cut, permuted
from .promotion import P, broadcast, cast, constant, inexact, many_axes, pair, reshaped
from .reductions import Axis
from .selection import beside, tensor_of, torch_gather
from .statistics import weighted_like
from .table import FUNCTIONS, deferred, plain, public

# Where a quantile q of n sorted elements lies (Hyndman & Fan 1996): the position n q + a + q (1 - a - b) - 1, of which the
# fraction t weighs the upper neighbour: as it is, rounded up ("up") or down, to the nearest with ties to an even or odd position, halved.
METHODS: dict[str, tuple[float, float, str]] = {
    "inverted_cdf": (0, 1, "up"), "averaged_inverted_cdf": (0, 1, "mean"), "closest_observation": (-0.5, 1.5, "odd"),
    "interpolated_inverted_cdf": (0, 1, "line"), "hazen": (0.5, 0.5, "line"), "weibull": (0, 0, "line"), "linear": (1, 1, "line"),
    "median_unbiased": (1 / 3, 1 / 3, "line"), "normal_unbiased": (3 / 8, 3 / 8, "line"),
    "lower": (1, 1, "down"), "higher": (1, 1, "up"), "nearest": (1, 1, "even"), "midpoint": (1, 1, "half"),
}
WHOLE = ("up", "down", "even", "odd")             # one element is taken as it is: integers stay integers


def places(method: str, n: Term, q: Term) -> tuple[Term, Term, Term]:
    """The two positions (as floats) and the weight of the upper one for quantiles q of n elements."""
    a, b, rounding = METHODS[method]
    last = P.sub(n, fill(n, 1))
    v = P.mul(last if (a, b) == (1, 1) else n, q)
    if rounding != "line":
        v = P.abs(v)                          # changes nothing, but rounds: fused with a sum, whole numbers would not be met
    if (a, b) != (1, 1):
        v = P.sub(P.add(v, P.add(fill(q, a), scale(q, 1 - a - b))), fill(q, 1))
    low = P.floor(v)
    t = P.sub(v, low)
    zero, one = fill(t, 0), fill(t, 1)
    t = P.where(P.lt(t, zero), zero, t)       # the rounded product was above the true one
    if rounding != "line":
        above = cast(P.gt(t, zero), t.aval.dtype)
        t = {"up": lambda: above, "down": lambda: zero, "half": lambda: scale(above, 0.5), "mean": lambda: P.add(scale(above, 0.5), fill(t, 0.5)),
             "even": lambda: P.sub(P.rint(v), low),
             "odd": lambda: P.where(P.bit_and(P.eq(t, zero), P.ne(P.remainder(low, fill(low, 2)), zero)), zero, one)}[rounding]()
    inside = [P.maximum(P.minimum(i, last), zero) for i in (low, P.add(low, one))]
    return inside[0], inside[1], t


@functools.lru_cache(256)
def places_once(method: str, n: int, q: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """`places` for numbers that are known now."""
    given = np.frombuffer(q, np.float64).reshape(shape)
    x = leaf(0, None, aval(shape, dtypes.float64), False)
    low, high, t = reference.evaluate(places(method, fill(x, n), x), {x: given})
    whole = np.int32 if n < 2 ** 31 else np.int64
    return low.astype(whole), high.astype(whole), t


def between(low: Term, high: Term, t: Term) -> Term:
    """low + t (high - low), from the nearer end; the ends themselves where t is 0 or 1, infinite ones too."""
    gap = P.sub(high, low)
    up, down = P.add(low, P.mul(gap, t)), P.sub(high, P.mul(gap, P.sub(fill(t, 1), t)))
    out = P.where(P.ge(t, fill(t, 0.5)), down, up)
    ends = P.bit_or(P.eq(t, fill(t, 0)), P.bit_and(P.isinf(low), P.eq(low, high)))
    return P.where(ends, low, P.where(P.eq(t, fill(t, 1)), high, out))


# ---- elements in order ------------------------------------------------------------------------------------------------

def lines(op: str, x: Term, axes: tuple[int, ...]) -> Term:
    """x with the given axes as its last one."""
    rest = [k for k in range(x.aval.ndim) if k not in axes]
    shape = tuple([x.aval.shape[k] for k in rest])
    y = reshaped(permuted(x, (*rest, *axes)), (*shape, math.prod([x.aval.shape[k] for k in axes])))
    if not y.aval.shape[-1]:
        raise ShapeError(op, str(x.aval.shape), "no elements have no quantile", "check the shape first")
    return y


def front(y: Term, many: int, x: Term, axes: tuple[int, ...], keepdims: bool) -> Term:
    """y (rest..., quantiles...) with its last `many` axes first, and the axes of x that are gone as 1 where `keepdims`."""
    n = y.aval.ndim - many
    y = permuted(y, (*range(n, y.aval.ndim), *range(n)))
    if not keepdims:
        return y
    return reshaped(y, y.aval.shape[:many] + tuple([1 if k in axes else s for k, s in enumerate(x.aval.shape)]))


def pick(y: Term, low: Term, high: Term, t: Term, method: str) -> Term:
    """The quantiles of sorted lines y (rest..., n): at positions (m...) of every line, or (rest..., m) of each line its own."""
    k = y.aval.ndim - 1
    own = low.aval.ndim == y.aval.ndim and low.aval.shape[:k] == y.aval.shape[:k] and k > 0

    def at(i: Term) -> Term:
        return torch_gather("quantile", y, k, i) if own else P.gather(y, i, axes=(k,), position=k)

    if METHODS[method][2] in WHOLE:
        return at(P.where(P.eq(t, fill(t, 0)), low, high))
    a, b = at(low), at(high)
    return between(a, b, broadcast(cast(t, a.aval.dtype), a.aval.shape))


def sorted_lines(op: str, x: Term, axes: tuple[int, ...], method: str) -> Term:
    ordered(op, (x,))
    if x.aval.dtype.kind == "b":
        raise DTypeError(op, "bool", "bools have no quantiles", "cast to a number")
    y = lines(op, x, axes)
    return P.sort(y if METHODS[method][2] in WHOLE else inexact(y), axis=y.aval.ndim - 1, descending=False)


def with_nan(out: Term, y: Term) -> Term:
    """NaN in the quantiles (rest..., m...) of sorted lines that have one, which stands last."""
    if y.aval.dtype.kind != "f":
        return out
    rest = y.aval.shape[:-1]
    last = reshaped(cut(y, len(rest), y.aval.shape[-1] - 1, 1), rest + (1,) * (out.aval.ndim - len(rest)))
    last = broadcast(last, out.aval.shape)
    return P.where(P.isnan(last), last, out)


# ---- rules ------------------------------------------------------------------------------------------------------------

def by_places(x: Term, low: Term, high: Term, t: Term, op: str, method: str, axis: Axis, keepdims: bool) -> Term:
    """Quantiles at known positions (m...)."""
    axes = many_axes(op, axis, x.aval.ndim)
    y = sorted_lines(op, x, axes, method)
    return front(with_nan(pick(y, low, high, t, method), y), low.aval.ndim, x, axes, keepdims)


def by_values(x: Term, q: Term, op: str, method: str, axis: Axis, keepdims: bool, skip: bool) -> Term:
    """Quantiles (m...) that are data; `skip`: of the elements that are not NaN, each line having its own number of them."""
    axes = many_axes(op, axis, x.aval.ndim)
    y = sorted_lines(op, x, axes, method)
    rest, size = y.aval.shape[:-1], y.aval.shape[-1]
    work = dtypes.promote(inexact(q).aval.dtype, inexact(y).aval.dtype)
    work = dtypes.float32 if work == dtypes.float16 else work          # positions beyond 2048 are none of its numbers
    y = cast(y, dtypes.promote(y.aval.dtype, inexact(q).aval.dtype)) if METHODS[method][2] not in WHOLE else y
    flat = cast(reshaped(q, (q.aval.size,)), work)
    n = constant(size, flat.aval.shape, work)
    if skip and y.aval.dtype.kind == "f":
        shape = (*rest, flat.aval.size)
        n = P.sum(cast(P.bit_not(P.isnan(y)), dtypes.int32), axes=(len(rest),))
        n, flat = broadcast(reshaped(cast(n, work), (*rest, 1)), shape), broadcast(flat, shape)
    low, high, t = places(method, n, flat)
    zero = fill(low, 0)                       # a NaN among the quantiles, or no elements: any position
    low, high = [cast(P.where(P.ge(i, zero), i, zero), dtypes.int32 if size < 2 ** 31 else dtypes.int64) for i in (low, high)]
    out = reshaped(pick(y, low, high, t, method), (*rest, *q.aval.shape))
    return front(out if skip else with_nan(out, y), q.aval.ndim, x, axes, keepdims)


def by_weights(x: Term, q: Term, weights: Term, op: str, axis: Axis, keepdims: bool, skip: bool) -> Term:
    """The first element in order up to which the weights sum to q of their sum: "inverted_cdf" with weights."""
    axes = many_axes(op, axis, x.aval.ndim)
    if isinstance(axis, int) or axis is None or weights.aval.shape == x.aval.shape:
        weights = weighted_like(op, x, weights, axis)
    y, w = lines(op, x, axes), lines(op, inexact(weights), axes)
    if skip and y.aval.dtype.kind == "f":
        w = P.where(P.isnan(y), fill(w, 0), w)
    k = y.aval.ndim - 1
    order = P.argsort(y, axis=k, descending=False, stable=True)
    y, w = torch_gather(op, y, k, order), torch_gather(op, w, k, order)
    share = P.cumsum(w, axis=k, reverse=False)
    total = broadcast(cut(share, k, y.aval.shape[k] - 1, 1), share.aval.shape)
    share = P.div(share, total)
    share = P.where(P.eq(share, fill(share, 0)), fill(share, -1), share)            # the quantile 0 is the first element with a weight
    rest = y.aval.shape[:k]
    wide = (*rest, q.aval.size, y.aval.shape[k])
    a, b = pair(op, reshaped(share, (*rest, 1, y.aval.shape[k])), reshaped(q, (q.aval.size, 1)))
    at = P.sum(cast(P.lt(broadcast(a, wide), broadcast(b, wide)), dtypes.int32), axes=(k + 1,))
    at = P.minimum(at, fill(at, y.aval.shape[k] - 1))
    out = reshaped(torch_gather(op, y, k, at), (*rest, *q.aval.shape))
    return front(out if skip else with_nan(out, y), q.aval.ndim, x, axes, keepdims)


PLACED, VALUED, WEIGHTED = deferred(by_places), deferred(by_values), deferred(by_weights)


def computed(op: str, x: object, q: object, axis: Axis, method: str, keepdims: bool, weights: object, skip: bool, whole: int) -> Tensor:
    """The quantiles q / whole of x."""
    if method not in METHODS:
        raise OptionError(op, f"method {method!r}", "there is no such method", "use one of " + ", ".join(METHODS))
    x = tensor_of(x)
    if not isinstance(q, Tensor):
        given = np.asarray(q)
        if given.dtype.kind not in "fiu" or not ((given >= 0) & (given <= whole)).all():
            raise ShapeError(op, f"q={q!r}", f"a quantile lies between 0 and {whole}", "scale it")
        own = isinstance(q, np.ndarray | np.generic) and given.dtype.kind == "f" and METHODS[method][2] not in WHOLE
        x = FUNCTIONS["astype"](x, dtypes.promote(x.dtype, given.dtype)) if own else x
        given = given.astype(np.float64) / whole
        if not skip and weights is None:
            low, high, t = places_once(method, math.prod([x.shape[k] for k in many_axes(op, axis, x.ndim)]), given.tobytes(), given.shape)
            return PLACED.function()(x, low, high, t.astype(x.dtype if x.dtype.kind == "f" else np.float32), op, method, axis, keepdims)
        q = beside(x, given.astype(x.dtype if x.dtype.kind == "f" else np.float32))
    elif whole != 1:
        q = q / whole
    if weights is None:
        return VALUED.function()(x, q, op, method, axis, keepdims, skip)
    if method != "inverted_cdf":
        raise OptionError(op, f"weights with method {method!r}", "weights are defined for one method only", 'pass method="inverted_cdf"')
    return WEIGHTED.function()(x, q, weights, op, axis, keepdims, skip)


# ---- the functions ----------------------------------------------------------------------------------------------------

@plain()
def quantile(x, q, axis=None, method="linear", keepdims=False, *, weights=None):
    """The quantiles q (numbers from 0 to 1 of any shape) of x over `axis`: q's axes first, then the axes of x that remain.

    `method`: one of NumPy's thirteen. `weights` (of x's shape, or one for every element of one axis) go with "inverted_cdf". NaN where x
    has one. q may be a tensor, to which derivatives flow too (and which is not checked to lie between 0 and 1). ShapeError over no elements.

    >>> import lazygrad as lg
    >>> lg.quantile(lg.asarray([3.0, 1.0, 2.0, 10.0]), [0.5, 1.0]).tolist()
    [2.5, 10.0]
    """
    return computed("quantile", x, q, axis, method, keepdims, weights, False, 1)


@plain()
def percentile(x, q, axis=None, method="linear", keepdims=False, *, weights=None):
    """`quantile` with q from 0 to 100.

    >>> import lazygrad as lg
    >>> lg.percentile(lg.asarray([3.0, 1.0, 2.0, 10.0]), 50).tolist()
    2.5
    """
    return computed("percentile", x, q, axis, method, keepdims, weights, False, 100)


@plain()
def nanquantile(x, q, axis=None, method="linear", keepdims=False, *, weights=None):
    """`quantile` of the elements that are not NaN; NaN where there are none.

    >>> import lazygrad as lg
    >>> lg.nanquantile(lg.asarray([3.0, 1.0, float("nan"), 2.0]), 0.5).tolist()
    2.0
    """
    return computed("nanquantile", x, q, axis, method, keepdims, weights, True, 1)


@plain()
def nanpercentile(x, q, axis=None, method="linear", keepdims=False, *, weights=None):
    """`percentile` of the elements that are not NaN; NaN where there are none.

    >>> import lazygrad as lg
    >>> lg.nanpercentile(lg.asarray([3.0, 1.0, float("nan"), 2.0]), 50).tolist()
    2.0
    """
    return computed("nanpercentile", x, q, axis, method, keepdims, weights, True, 100)


@public(method=True)
def median(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The middle element over `axis`, the mean of two for an even number; NaN where there is one. ShapeError over no elements.

    >>> import lazygrad as lg
    >>> lg.median(lg.asarray([3.0, 1.0, 2.0, 10.0])).tolist()
    2.5
    """
    axes = many_axes("median", axis, x.aval.ndim)
    y = sorted_lines("median", x, axes, "linear")
    k, n = y.aval.ndim - 1, y.aval.shape[-1]
    low, high = [reshaped(cut(y, k, at, 1), y.aval.shape[:k]) for at in ((n - 1) // 2, n // 2)]
    return front(with_nan(low if n % 2 else scale(P.add(low, high), 0.5), y), 0, x, axes, keepdims)


@public(method=True)
def nanmedian(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The median over `axis` of the elements that are not NaN; NaN where there are none.

    >>> import lazygrad as lg
    >>> lg.nanmedian(lg.asarray([3.0, 1.0, float("nan"), 2.0])).tolist()
    2.0
    """
    return by_values(x, constant(0.5, (), inexact(x).aval.dtype), "nanmedian", "linear", axis, keepdims, True)


Tensor.quantile = quantile
