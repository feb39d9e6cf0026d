"""Summaries made of reductions: ranges, weighted means, the NaN-skipping reductions, comparisons of whole arrays.

In: tensors, `axis` and `keepdims` as in `reductions.py`. Out: tensors. NaN elements that are skipped get gradient 0.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from .composite import fill, isclose
from .promotion import (
    P,
    alike,
    as_dtype,
    as_term,
    broadcast,
    broadcast_shapes,
    cast,
    constant,
    inexact,
    one_axis,
    pair,
    reshaped,
)
from .reductions import Axis, reduce
from .reductions import all as all_
from .reductions import max as max_
from .reductions import mean as mean_
from .reductions import min as min_
from .reductions import sum as sum_
from .table import public


@public(method=True)
def ptp(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The largest minus the smallest element over `axis`.

    >>> import lazygrad as lg
    >>> lg.ptp(lg.asarray([1, 5, 3])).tolist()
    4
    """
    return P.sub(max_(x, axis, keepdims), min_(x, axis, keepdims))


@public()
def average(x: Term, axis: Axis = None, weights: Operand = None, keepdims: bool = False) -> Term:
    """The mean over `axis`, weighted by `weights` of x's shape (or 1-d along one axis).

    >>> import lazygrad as lg
    >>> lg.average(lg.asarray([1.0, 2.0]), weights=lg.asarray([3.0, 1.0])).tolist()
    1.25
    """
    if weights is None:
        return mean_(x, axis, None, keepdims)
    if isinstance(weights, Term) and weights.aval.shape != x.aval.shape:
        if weights.aval.ndim != 1 or not isinstance(axis, int) or weights.aval.size != x.aval.shape[one_axis("average", axis, x.aval.ndim)]:
            raise ShapeError("average", f"{x.aval.shape} with weights of {weights.aval.shape}", "the weights do not fit",
                             "give them x's shape, or one for every element of one axis")
        k = one_axis("average", axis, x.aval.ndim)
        weights = broadcast(reshaped(weights, tuple([n if j == k else 1 for j, n in enumerate(x.aval.shape)])), x.aval.shape)
    a, w = pair("average", inexact(x), weights)
    return P.div(sum_(P.mul(a, w), axis, None, keepdims), sum_(w, axis, None, keepdims))


# ---- without NaN ------------------------------------------------------------------------------------------------------------

def present(x: Term, value: float) -> tuple[Term, Term]:
    """x with `value` for NaN, and where there was none (as numbers of x's dtype)."""
    if x.aval.dtype.kind not in "fc":
        return x, constant(1, x.aval.shape, dtypes.DEFAULT_FLOAT)
    gone = P.isnan(x)
    return P.where(gone, fill(x, value), x), P.where(gone, fill(x, 0), fill(x, 1))


@public()
def nansum(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The sum over `axis` of the elements that are not NaN.

    >>> import lazygrad as lg
    >>> lg.nansum(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return sum_(present(x, 0)[0], axis, None, keepdims)


@public()
def nanmean(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The mean over `axis` of the elements that are not NaN; NaN where there are none.

    >>> import lazygrad as lg
    >>> lg.nanmean(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    2.0
    """
    y, n = present(inexact(x), 0)
    return P.div(sum_(y, axis, None, keepdims), sum_(n, axis, None, keepdims))


@public()
def nanvar(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Term:
    """The variance over `axis` of the elements that are not NaN.

    >>> import lazygrad as lg
    >>> lg.nanvar(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    1.0
    """
    x = inexact(x)
    y, n = present(P.sub(x, broadcast(nanmean(x, axis, True), x.aval.shape)), 0)
    n = sum_(n, axis, None, keepdims)
    return P.div(sum_(P.square(y), axis, None, keepdims), P.sub(n, fill(n, correction)))


@public()
def nanstd(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Term:
    """The standard deviation over `axis` of the elements that are not NaN.

    >>> import lazygrad as lg
    >>> lg.nanstd(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    1.0
    """
    return P.sqrt(nanvar(x, axis, correction, keepdims))


def without_nan(op: str, best: object, worst: float, x: Term, axis: Axis, keepdims: bool) -> Term:
    if x.aval.dtype.kind != "f":
        return best(x, axis, keepdims)
    out = best(present(x, worst)[0], axis, keepdims)
    empty = reduce(op, P.all, P.isnan(x), axis, keepdims)
    return P.where(empty, fill(out, math.nan), out)


@public()
def nanmax(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The largest element over `axis` that is not NaN; NaN where there is none.

    >>> import lazygrad as lg
    >>> lg.nanmax(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return without_nan("nanmax", max_, -math.inf, x, axis, keepdims)


@public()
def nanmin(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The smallest element over `axis` that is not NaN; NaN where there is none.

    >>> import lazygrad as lg
    >>> lg.nanmin(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return without_nan("nanmin", min_, math.inf, x, axis, keepdims)


# ---- whole arrays -------------------------------------------------------------------------------------------------------------

@public(method=True)
def allclose(x: Operand, y: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Term:
    """Whether all elements are close (see `isclose`), as a 0-d bool tensor.

    >>> import lazygrad as lg
    >>> bool(lg.allclose(lg.asarray([1.0]), 1.0))
    True
    """
    return all_(isclose(x, y, rtol, atol, equal_nan))


@public()
def array_equal(x: Term, y: Term) -> Term:
    """Whether shapes and all elements are equal, as a 0-d bool tensor.

    >>> import lazygrad as lg
    >>> bool(lg.array_equal(lg.asarray([1, 2]), lg.asarray([1, 2])))
    True
    """
    if x.aval.shape != y.aval.shape:
        return constant(False, (), dtypes.bool_)
    return all_(P.eq(*pair("array_equal", x, y)))


@public()
def isin(x: Operand, values: Operand, invert: bool = False) -> Term:
    """Whether each element of x is one of `values` (with `invert`: none of them). Shape of x.

    >>> import lazygrad as lg
    >>> lg.isin(lg.asarray([1, 2, 3]), lg.asarray([3, 1])).tolist()
    [True, False, True]
    """
    x, values = alike("isin", (x, values))
    a, b = pair("isin", reshaped(x, (*x.aval.shape, 1)), reshaped(values, (values.aval.size,)))
    found = reduce("isin", P.any, P.eq(a, b), -1, False)
    return P.bit_not(found) if invert else found


@public()
def select(conditions: Terms, choices: Terms, default: Operand = 0) -> Term:
    """For each element the choice of the first condition that holds, else `default`. Shapes broadcast.

    >>> import lazygrad as lg
    >>> x = lg.asarray([1, 5, 9])
    >>> lg.select([x < 3, x < 7], [x, x * 10], -1).tolist()
    [1, 50, -1]
    """
    if len(conditions) != len(choices) or not conditions:
        raise ShapeError("select", f"{len(conditions)} conditions and {len(choices)} choices", "they come in pairs", "pass as many of both")
    *values, out = alike("select", (*choices, default))
    tests = [cast(as_term("select", c), dtypes.bool_) for c in conditions]
    shape = broadcast_shapes("select", *[t.aval.shape for t in (*tests, *values, out)])
    out = broadcast(out, shape)
    for test, value in zip(reversed(tests), reversed(values), strict=True):
        out = P.where(broadcast(test, shape), broadcast(value, shape), out)
    return out


@public()
def one_hot(x: Term, num_classes: int, dtype: object = None) -> Term:
    """Rows of zeros with a 1 at the class that x names: (...) -> (..., num_classes). float32 by default.

    >>> import lazygrad as lg
    >>> lg.one_hot(lg.asarray([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    classes = broadcast(P.iota(size=num_classes, dtype=dtypes.int64), (*x.aval.shape, num_classes))
    wide = broadcast(reshaped(cast(x, dtypes.int64), (*x.aval.shape, 1)), classes.aval.shape)
    return cast(P.eq(wide, classes), dtypes.DEFAULT_FLOAT if dtype is None else as_dtype("one_hot", dtype))
