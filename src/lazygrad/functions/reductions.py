"""Reductions and running combinations: sums, means, extremes, softmax, norms.

In: a tensor, `axis` (None for all, an integer, or several; negative ones count from the end), `keepdims`. Out: the
reduced tensor. Sums and products of integers and bools are 64 bits wide, by the Array API.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from .composite import fill
from .elementwise import ordered
from .joining import along
from .movement import cut
from .promotion import P, as_dtype, broadcast, cast, constant, inexact, many_axes, one_axis, reshaped
from .table import public

Axis = int | tuple[int, ...] | None


# ---- the common part ----------------------------------------------------------------------------------------------------

def reduce(op: str, prim, x: Term, axis: Axis, keepdims: bool) -> Term:
    """`prim` over checked axes; an empty tuple of axes reduces nothing."""
    axes = tuple(sorted(many_axes(op, axis, x.aval.ndim)))
    return kept(prim(x, axes=axes) if axes else x, x, axes, keepdims)


def kept(y: Term, x: Term, axes: tuple[int, ...], keepdims: bool) -> Term:
    """y, reduced from x, with its reduced axes as 1 where `keepdims`."""
    if not keepdims:
        return y
    return reshaped(y, tuple([1 if k in axes else n for k, n in enumerate(x.aval.shape)]))


def count(x: Term, axis: Axis) -> int:
    return math.prod([x.aval.shape[a] for a in many_axes("mean", axis, x.aval.ndim)])


def accumulator(op: str, x: Term, dtype: object) -> Term:
    """x in the dtype that its sum has: the one asked for, or 64 bits for integers and bools."""
    if dtype is not None:
        return cast(x, as_dtype(op, dtype))
    kind = x.aval.dtype.kind
    return cast(x, dtypes.int64 if kind in "ib" else dtypes.uint64) if kind in "iub" else x


# ---- sums ---------------------------------------------------------------------------------------------------------------

@public(method=True)
def sum(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The sum over `axis`. Integers and bools sum in 64 bits; AxisError for an axis that x lacks.

    >>> import lazygrad as lg
    >>> lg.sum(lg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
    [4.0, 6.0]
    """
    return reduce("sum", P.sum, accumulator("sum", x, dtype), axis, keepdims)


@public(method=True)
def prod(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The product over `axis`. Integers and bools multiply in 64 bits.

    >>> import lazygrad as lg
    >>> lg.prod(lg.asarray([2.0, 3.0])).tolist()
    6.0
    """
    return reduce("prod", P.prod, accumulator("prod", x, dtype), axis, keepdims)


@public(method=True)
def mean(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The mean over `axis`; of integers in the default float; NaN over no elements.

    >>> import lazygrad as lg
    >>> lg.mean(lg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=1).tolist()
    [1.5, 3.5]
    """
    x = inexact(x) if dtype is None else cast(x, as_dtype("mean", dtype))
    total = reduce("mean", P.sum, x, axis, keepdims)
    return P.div(total, fill(total, count(x, axis)))


def variance(op: str, x: Term, axis: Axis, correction: float, keepdims: bool, ddof: float | None) -> Term:
    x = inexact(x)
    n = count(x, axis)
    apart = P.sub(x, broadcast(mean(x, axis, None, True), x.aval.shape))
    total = reduce(op, P.sum, P.square(P.abs(apart) if x.aval.dtype.kind == "c" else apart), axis, keepdims)
    return P.div(total, fill(total, max_(0, n - (correction if ddof is None else ddof))))


@public(method=True)
def var(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False, ddof: float | None = None) -> Term:
    """The variance over `axis`: the sum of squares about the mean, divided by n - correction (`ddof` is its other name).

    >>> import lazygrad as lg
    >>> lg.var(lg.asarray([1.0, 3.0]), correction=1).tolist()
    2.0
    """
    return variance("var", x, axis, correction, keepdims, ddof)


@public(method=True)
def std(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False, ddof: float | None = None) -> Term:
    """The standard deviation over `axis`, the square root of `var`. Of equal numbers it is 0 and has derivative 0, as a norm has at 0.

    >>> import lazygrad as lg
    >>> lg.std(lg.asarray([1.0, 3.0])).tolist()
    1.0
    """
    v = variance("std", x, axis, correction, keepdims, ddof)
    flat = P.eq(v, constant(0, v.aval.shape, v.aval.dtype))
    return P.where(flat, constant(0, v.aval.shape, v.aval.dtype), P.sqrt(v))


@public(method=True)
def count_nonzero(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """How many elements are not zero, as int64.

    >>> import lazygrad as lg
    >>> lg.count_nonzero(lg.asarray([0, 3, 4])).tolist()
    2
    """
    return reduce("count_nonzero", P.sum, cast(cast(x, dtypes.bool_), dtypes.int64), axis, keepdims)


# ---- extremes -----------------------------------------------------------------------------------------------------------

max_ = max            # Python's own, which the names below hide


def filled(op: str, x: Term, axis: Axis) -> Term:
    """x, checked to have elements to choose from."""
    ordered(op, (x,))
    if x.aval.size == 0 and count(x, axis) == 0:
        raise ShapeError(op, str(x.aval.shape), f"no elements have no {op}", "check the shape first")
    return x


@public("amax", method=True)
def max(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The largest element over `axis`; NaN where there is one. ShapeError over no elements.

    >>> import lazygrad as lg
    >>> lg.max(lg.asarray([[1.0, 5.0], [3.0, 4.0]]), axis=1).tolist()
    [5.0, 4.0]
    """
    return reduce("max", P.max, filled("max", x, axis), axis, keepdims)


@public("amin", method=True)
def min(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The smallest element over `axis`; NaN where there is one. ShapeError over no elements.

    >>> import lazygrad as lg
    >>> lg.min(lg.asarray([[1.0, 5.0], [3.0, 4.0]]), axis=1).tolist()
    [1.0, 3.0]
    """
    return reduce("min", P.min, filled("min", x, axis), axis, keepdims)


def locate(op: str, prim, x: Term, axis: int | None, keepdims: bool) -> Term:
    ordered(op, (x,))
    flat = reshaped(x, (x.aval.size,)) if axis is None else x
    k = 0 if axis is None else one_axis(op, axis, x.aval.ndim)
    if flat.aval.shape[k] == 0:
        raise ShapeError(op, str(x.aval.shape), "no elements have no largest or smallest", "check the shape first")
    if flat.aval.dtype.kind == "b":
        flat = P.cast(flat, dtype=dtypes.uint8)
    return kept(prim(flat, axis=k), x, many_axes(op, axis, x.aval.ndim), keepdims)


@public(method=True)
def argmax(x: Term, axis: int | None = None, keepdims: bool = False) -> Term:
    """The position (int64) of the first largest element along `axis`, of the flattened x without one.

    >>> import lazygrad as lg
    >>> lg.argmax(lg.asarray([1.0, 5.0, 5.0])).tolist()
    1
    """
    return locate("argmax", P.argmax, x, axis, keepdims)


@public(method=True)
def argmin(x: Term, axis: int | None = None, keepdims: bool = False) -> Term:
    """The position (int64) of the first smallest element along `axis`, of the flattened x without one.

    >>> import lazygrad as lg
    >>> lg.argmin(lg.asarray([4.0, 1.0, 1.0])).tolist()
    1
    """
    return locate("argmin", P.argmin, x, axis, keepdims)


@public(method=True)
def any(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """Whether an element over `axis` is not zero; False over no elements.

    >>> import lazygrad as lg
    >>> lg.any(lg.asarray([0, 1])).tolist()
    True
    """
    return reduce("any", P.any, cast(x, dtypes.bool_), axis, keepdims)


@public(method=True)
def all(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """Whether no element over `axis` is zero; True over no elements.

    >>> import lazygrad as lg
    >>> lg.all(lg.asarray([0, 1])).tolist()
    False
    """
    return reduce("all", P.all, cast(x, dtypes.bool_), axis, keepdims)


# ---- exponentials and norms -----------------------------------------------------------------------------------------------

def shift(x: Term, axis: Axis, op: str) -> Term:
    """The largest element over `axis`, kept and without derivative: subtracting it keeps exponentials in range."""
    if x.aval.dtype.kind == "c":
        raise DTypeError(op, str(x.aval.dtype), "complex numbers have no order", "use real and imag parts")
    return P.stop_gradient(reduce(op, P.max, filled(op, x, axis), axis, True))


@public(method=True)
def logsumexp(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """log(sum(exp(x))) over `axis` without overflow; -inf over elements that all are -inf, with gradient 0.

    >>> import lazygrad as lg
    >>> round(lg.logsumexp(lg.asarray([1000.0, 1000.0])).item() - 1000, 3)
    0.693
    """
    x = inexact(x)
    top = shift(x, axis, "logsumexp")
    top = P.where(P.isfinite(top), top, fill(top, 0))
    total = reduce("logsumexp", P.sum, P.exp(P.sub(x, broadcast(top, x.aval.shape))), axis, True)
    out = P.add(P.where(P.eq(total, fill(total, 0)), fill(total, -math.inf), P.log(total)), top)
    return out if keepdims else reshaped(out, tuple([n for k, n in enumerate(x.aval.shape) if k not in many_axes("logsumexp", axis, x.aval.ndim)]))


@public(method=True)
def softmax(x: Term, axis: Axis = -1) -> Term:
    """exp(x) / sum(exp(x)) over `axis` without overflow. Shape of x.

    >>> import lazygrad as lg
    >>> lg.softmax(lg.asarray([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    x = inexact(x)
    if x.aval.size == 0:
        many_axes("softmax", axis, x.aval.ndim)
        return x
    axis = None if x.aval.ndim == 0 and axis in (-1, 0) else axis
    e = P.exp(P.sub(x, broadcast(shift(x, axis, "softmax"), x.aval.shape)))
    return P.div(e, broadcast(reduce("softmax", P.sum, e, axis, True), x.aval.shape))


@public(method=True)
def log_softmax(x: Term, axis: Axis = -1) -> Term:
    """log(softmax(x)) without overflow or underflow. Shape of x.

    >>> import lazygrad as lg
    >>> lg.log_softmax(lg.asarray([1000.0, 0.0])).tolist()
    [0.0, -1000.0]
    """
    x = inexact(x)
    if x.aval.size == 0:
        many_axes("log_softmax", axis, x.aval.ndim)
        return x
    axis = None if x.aval.ndim == 0 and axis in (-1, 0) else axis
    y = P.sub(x, broadcast(shift(x, axis, "log_softmax"), x.aval.shape))
    return P.sub(y, broadcast(P.log(reduce("log_softmax", P.sum, P.exp(y), axis, True)), x.aval.shape))


@public("vector_norm", method=True)
def norm(x: Term, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Term:
    """The vector norm over `axis`: (sum |x|**ord) ** (1/ord), with inf, -inf and 0 as NumPy has them. Gradient 0 at 0.

    >>> import lazygrad as lg
    >>> lg.norm(lg.asarray([3.0, 4.0])).tolist()
    5.0
    """
    x = inexact(x)
    size = x if ord == 2 and x.aval.dtype.kind == "f" else P.abs(x)
    if ord in (math.inf, -math.inf):
        return reduce("norm", P.max if ord > 0 else P.min, filled("norm", size, axis), axis, keepdims)
    if ord == 0:
        return reduce("norm", P.sum, cast(P.ne(size, fill(size, 0)), size.aval.dtype), axis, keepdims)
    if ord == 1:
        return reduce("norm", P.sum, size, axis, keepdims)
    total = reduce("norm", P.sum, P.square(size) if ord == 2 else P.pow(size, fill(size, ord)), axis, keepdims)
    root = P.sqrt(total) if ord == 2 else P.pow(total, fill(total, 1 / ord))
    return P.where(P.eq(total, fill(total, 0)), P.stop_gradient(root), root)


# ---- running combinations ---------------------------------------------------------------------------------------------------

def running(op: str, prim, x: Term, axis: int | None, dtype: object, reverse: bool) -> Term:
    x = accumulator(op, x, dtype)
    if axis is None:
        return prim(reshaped(x, (x.aval.size,)), axis=0, reverse=reverse)
    return prim(x, axis=one_axis(op, axis, x.aval.ndim), reverse=reverse)


@public(method=True)
def cumsum(x: Term, axis: int | None = None, dtype: object = None, reverse: bool = False) -> Term:
    """The running sum along `axis`, of the flattened x without one; `reverse` runs from the end.

    >>> import lazygrad as lg
    >>> lg.cumsum(lg.asarray([1.0, 2.0, 3.0])).tolist()
    [1.0, 3.0, 6.0]
    """
    return running("cumsum", P.cumsum, x, axis, dtype, reverse)


@public(method=True)
def cumprod(x: Term, axis: int | None = None, dtype: object = None, reverse: bool = False) -> Term:
    """The running product along `axis`, of the flattened x without one; `reverse` runs from the end.

    >>> import lazygrad as lg
    >>> lg.cumprod(lg.asarray([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 6.0]
    """
    return running("cumprod", P.cumprod, x, axis, dtype, reverse)


def cumulative(op: str, prim, first: int, x: Term, axis: int | None, dtype: object, include_initial: bool) -> Term:
    if axis is None and x.aval.ndim != 1:
        raise AxisError(op, f"axis None of {x.aval.shape}", "only 1-d arrays need no axis", "pass axis")
    k = 0 if axis is None else one_axis(op, axis, x.aval.ndim)
    out = running(op, prim, x, k, dtype, False)
    if include_initial:
        shape = (*out.aval.shape[:k], 1, *out.aval.shape[k + 1:])
        out = P.concatenate(constant(first, shape, out.aval.dtype), out, axis=k)
    return out


@public(method=True)
def cumulative_sum(x: Term, axis: int | None = None, dtype: object = None, include_initial: bool = False) -> Term:
    """The running sum along `axis` (needed unless x is 1-d), with a leading 0 where `include_initial`.

    >>> import lazygrad as lg
    >>> lg.cumulative_sum(lg.asarray([1.0, 2.0]), include_initial=True).tolist()
    [0.0, 1.0, 3.0]
    """
    return cumulative("cumulative_sum", P.cumsum, 0, x, axis, dtype, include_initial)


@public(method=True)
def cumulative_prod(x: Term, axis: int | None = None, dtype: object = None, include_initial: bool = False) -> Term:
    """The running product along `axis` (needed unless x is 1-d), with a leading 1 where `include_initial`.

    >>> import lazygrad as lg
    >>> lg.cumulative_prod(lg.asarray([2.0, 3.0]), include_initial=True).tolist()
    [1.0, 2.0, 6.0]
    """
    return cumulative("cumulative_prod", P.cumprod, 1, x, axis, dtype, include_initial)


@public(method=True)
def diff(x: Term, n: int = 1, axis: int = -1, prepend: Operand = None, append: Operand = None) -> Term:
    """The n-th differences of neighbours along `axis`; `prepend` and `append` are joined on first.

    >>> import lazygrad as lg
    >>> lg.diff(lg.asarray([1.0, 4.0, 9.0])).tolist()
    [3.0, 5.0]
    """
    k = one_axis("diff", axis, x.aval.ndim)
    if prepend is not None or append is not None:
        x = along("diff", tuple([part for part in (prepend, x, append) if part is not None]), k, x.aval.shape)
    minus = P.bit_xor if x.aval.dtype.kind == "b" else P.sub
    for _ in range(n):
        size = x.aval.shape[k]
        x = minus(cut(x, k, 1, size - 1), cut(x, k, 0, size - 1)) if size > 1 else cut(x, k, 0, 0)
    return x


