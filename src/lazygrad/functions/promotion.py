"""Promotion: how operands of any shapes and dtypes become Terms that a Prim takes.

In: Terms and Python numbers (weakly typed). Out: Terms of one shape and dtype, by explicit `cast` and `broadcast_to`.
Decisions are memoised by pairs of avals; nothing is built where nothing has to change.
"""

from __future__ import annotations

import operator
from types import SimpleNamespace

import numpy as np

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from ..prims import contraction, elementwise, indexing, leaf, linalg, movement, reduction  # noqa: F401  (they register)
from ..prims.base import REGISTRY
from ..prims.leaf import constant

P = SimpleNamespace(**REGISTRY)          # the Prims by name: P.add, P.sum, P.gather
Shape = tuple[int, ...]
Number = bool | int | float | complex
JOINED: dict[tuple[Aval, Aval], Aval] = {}


# ---- dtypes ---------------------------------------------------------------------------------------------------------

def as_dtype(op: str, dtype: object) -> np.dtype:
    """The dtype that `dtype` names: a NumPy dtype or scalar type, a name, or Python's bool, int, float, complex.

    `float`, `int` and `complex` mean the default dtypes, as a Python number of that type does.
    """
    if dtype is float:
        return dtypes.DEFAULT_FLOAT
    if dtype is int:
        return dtypes.DEFAULT_INT
    if dtype is complex:
        return dtypes.DEFAULT_COMPLEX
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in dtypes.DTYPES or dtype is None:
        raise DTypeError(op, f"dtype {dtype!r}", "it is not a dtype of tensors", "pass one of " + " ".join(dtypes.NAMES))
    return found


def cast(x: Term, dtype: np.dtype) -> Term:
    """`x` in `dtype`: x itself where it has it already."""
    return x if x.aval.dtype == dtype else P.cast(x, dtype=dtype)


def number(op: str, value: Number, shape: Shape, dtype: np.dtype) -> Term:
    """A Python number as a constant. Integers that `dtype` does not hold are errors, as in NumPy."""
    if dtype.kind in "iu" and not isinstance(value, bool):
        info = np.iinfo(dtype)
        if not info.min <= value <= info.max:
            raise DTypeError(op, f"{value} with {dtype}", f"{dtype} holds {info.min} to {info.max}",
                             "cast the tensor to a wider dtype")
    return constant(value, shape, dtype)


def default_dtype(value: Number) -> np.dtype:
    """The dtype of a Python number alone."""
    if isinstance(value, bool):
        return dtypes.bool_
    return {int: dtypes.DEFAULT_INT, complex: dtypes.DEFAULT_COMPLEX}.get(type(value), dtypes.DEFAULT_FLOAT)


def as_term(op: str, x: Term | Number) -> Term:
    """A Term of an operand that stands alone."""
    return x if isinstance(x, Term) else number(op, x, (), default_dtype(x))


def inexact(x: Term) -> Term:
    """`x` as a floating or complex array: integers and bools take the default float."""
    return x if x.aval.dtype.kind in "fc" else P.cast(x, dtype=dtypes.DEFAULT_FLOAT)


# ---- shapes ---------------------------------------------------------------------------------------------------------

def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The shape that `shapes` broadcast to.

    >>> broadcast_shapes("add", (3, 1), (4,))
    (3, 4)
    """
    ndim = max(map(len, shapes), default=0)
    out = [1] * ndim
    for shape in shapes:
        lead = ndim - len(shape)
        for k, n in enumerate(shape, lead):
            if out[k] == 1:
                out[k] = n
            elif n not in (1, out[k]):
                came = ", ".join(map(str, shapes[:-1])) + f" and {shapes[-1]}"
                raise ShapeError(op, came, f"shapes do not broadcast, axis {k - ndim} is {out[k]} and {n}",
                                 "reshape one operand")
    return tuple(out)


def broadcast(x: Term, shape: Shape) -> Term:
    """`x` in a shape that it broadcasts to: x itself where it has it already."""
    if x.aval.shape == shape:
        return x
    if x.op is P.full:
        return P.full(value=x.params[0], text=x.params[1], shape=shape, dtype=x.aval.dtype)
    return P.broadcast_to(x, shape=shape)


def reshaped(x: Term, shape: Shape) -> Term:
    """`x` in a shape of as many elements: x itself where it has it already."""
    return x if x.aval.shape == shape else P.reshape(x, shape=shape)


def pair(op: str, x: Term | Number, y: Term | Number) -> tuple[Term, Term]:
    """Two operands as Terms of one shape and dtype."""
    if not isinstance(y, Term):
        x = as_term(op, x)
        dtype = dtypes.weak(y, x.aval.dtype)
        return cast(x, dtype), number(op, y, x.aval.shape, dtype)
    if not isinstance(x, Term):
        dtype = dtypes.weak(x, y.aval.dtype)
        return number(op, x, y.aval.shape, dtype), cast(y, dtype)
    a, b = x.aval, y.aval
    if a is b:
        return x, y
    both = JOINED.get((a, b))
    if both is None:
        both = JOINED[a, b] = aval(broadcast_shapes(op, a.shape, b.shape), dtypes.promote(a.dtype, b.dtype))
    return broadcast(cast(x, both.dtype), both.shape), broadcast(cast(y, both.dtype), both.shape)


def common_dtype(xs: tuple[Term | Number, ...]) -> np.dtype:
    """The dtype of several operands together; numbers are weak beside Terms."""
    dtype = None
    for x in xs:
        if isinstance(x, Term):
            dtype = x.aval.dtype if dtype is None else dtypes.promote(dtype, x.aval.dtype)
    for x in xs:
        if not isinstance(x, Term):
            dtype = default_dtype(x) if dtype is None else dtypes.weak(x, dtype)
    return dtypes.DEFAULT_FLOAT if dtype is None else dtype


def alike(op: str, xs: tuple[Term | Number, ...]) -> tuple[Term, ...]:
    """Several operands as Terms of one dtype, each in its own shape."""
    dtype = common_dtype(xs)
    return tuple([cast(x, dtype) if isinstance(x, Term) else number(op, x, (), dtype) for x in xs])


def together(op: str, xs: tuple[Term | Number, ...]) -> tuple[Term, ...]:
    """Several operands as Terms of one shape and dtype."""
    xs = alike(op, xs)
    shape = broadcast_shapes(op, *[x.aval.shape for x in xs])
    return tuple([broadcast(x, shape) for x in xs])


# ---- axes and sizes -------------------------------------------------------------------------------------------------

def one_axis(op: str, axis: object, ndim: int) -> int:
    """`axis` counted from the front, checked."""
    try:
        k = operator.index(axis)
    except TypeError:
        raise AxisError(op, f"axis {axis!r}", "an axis is an integer") from None
    if not -ndim <= k < ndim:
        has = "1 dimension" if ndim == 1 else f"{ndim} dimensions"
        raise AxisError(op, f"axis {k}", f"the array has {has}", f"use {-ndim} to {ndim - 1}" if ndim else "")
    return k % ndim


def many_axes(op: str, axis: object, ndim: int) -> tuple[int, ...]:
    """`axis` (None for all, an integer, or several) as checked axes in the order given."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple | list):
        return (one_axis(op, axis, ndim),)
    axes = tuple([one_axis(op, a, ndim) for a in axis])
    if len(set(axes)) != len(axes):
        raise AxisError(op, f"axis {tuple(axis)}", "an axis is named twice", "name each axis once")
    return axes


def as_shape(op: str, shape: object) -> Shape:
    """`shape` (an integer or several) as a tuple of integers >= 0 (or -1, which the caller resolves)."""
    try:
        out = (operator.index(shape),) if not isinstance(shape, tuple | list) else tuple(map(operator.index, shape))
    except TypeError:
        raise ShapeError(op, f"shape {shape!r}", "a shape is made of integers") from None
    return out


def positive_shape(op: str, shape: object) -> Shape:
    """`as_shape` without negative sizes."""
    out = as_shape(op, shape)
    if any([n < 0 for n in out]):
        raise ShapeError(op, f"shape {out}", "a size is negative", "pass sizes of 0 or more")
    return out
