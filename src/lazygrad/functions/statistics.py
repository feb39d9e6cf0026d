"""Summaries made of reductions: ranges, weighted means, comparisons of whole arrays, choices.

In: tensors, `axis` and `keepdims` as in `reductions.py`. Out: tensors.
"""

from __future__ import annotations

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from .composite import fill, isclose
from .movement import permuted
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
    many_axes,
    pair,
    reshaped,
)
from .reductions import Axis, count, reduce
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


def weighted_like(op: str, x: Term, weights: Term, axis: Axis) -> Term:
    """Weights of x's shape, or of its sizes along `axis`, in x's shape."""
    shape, given = x.aval.shape, weights.aval.shape
    if given == shape:
        return weights
    axes = many_axes(op, axis, len(shape))
    if axis is None or given != tuple([shape[k] for k in axes]):
        raise ShapeError(op, f"{shape} with weights of {given}", "the weights do not fit",
                         "give them x's shape, or one for every element of one axis")
    order = sorted(range(len(axes)), key=axes.__getitem__)
    weights = permuted(weights, tuple(order))
    return broadcast(reshaped(weights, tuple([n if k in axes else 1 for k, n in enumerate(shape)])), shape)


@public()
def average(x: Term, axis: Axis = None, weights: Operand = None, returned: bool = False, keepdims: bool = False) -> Term | tuple[Term, Term]:
    """The mean over `axis`, weighted by `weights` of x's shape (or of the sizes of the axes), with the sum of the weights if `returned`.

    >>> import lazygrad as lg
    >>> lg.average(lg.asarray([1.0, 2.0]), weights=lg.asarray([3.0, 1.0])).tolist()
    1.25
    """
    if weights is None:
        out = mean_(x, axis, None, keepdims)
        return (out, fill(out, count(x, axis))) if returned else out
    a, w = pair("average", inexact(x), weighted_like("average", x, as_term("average", weights), axis))
    total = sum_(w, axis, None, keepdims)
    out = P.div(sum_(P.mul(a, w), axis, None, keepdims), total)
    return (out, total) if returned else out


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
def array_equal(x: Term, y: Term, equal_nan: bool = False) -> Term:
    """Whether shapes and all elements are equal, as a 0-d bool tensor; NaN equals NaN if `equal_nan`.

    >>> import lazygrad as lg
    >>> bool(lg.array_equal(lg.asarray([1, 2]), lg.asarray([1, 2])))
    True
    """
    if x.aval.shape != y.aval.shape:
        return constant(False, (), dtypes.bool_)
    a, b = pair("array_equal", x, y)
    same = P.eq(a, b)
    if equal_nan and a.aval.dtype.kind in "fc":
        same = P.bit_or(same, P.bit_and(P.isnan(a), P.isnan(b)))
    return all_(same)


@public()
def array_equiv(x: Term, y: Term) -> Term:
    """Whether the shapes broadcast and all elements are equal then, as a 0-d bool tensor.

    >>> import lazygrad as lg
    >>> bool(lg.array_equiv(lg.asarray([1, 1]), lg.asarray(1)))
    True
    """
    try:
        broadcast_shapes("array_equiv", x.aval.shape, y.aval.shape)
    except ShapeError:
        return constant(False, (), dtypes.bool_)
    return all_(P.eq(*pair("array_equiv", x, y)))


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
