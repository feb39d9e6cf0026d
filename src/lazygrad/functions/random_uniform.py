"""Random bits, uniform numbers and integers: what the other distributions are made of.

In: a key, a shape, bounds that broadcast and differentiate. Out: tensors, lazy expressions over the key.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir.term import Term
from ..lift import Operand, operation
from .composite import fill, scale
from .promotion import P, Shape, as_dtype, broadcast, broadcast_shapes, cast, constant, number, positive_shape
from .random_keys import DRAW, UINT, drawn

TWO32 = 2.0**-32


# ---- words as real numbers -------------------------------------------------------------------------------------------

def wide(dtype: np.dtype) -> np.dtype:
    """The dtype that draws of a dtype are computed in."""
    return dtypes.float32 if dtype == dtypes.float16 else dtype


def fraction(w: Term, dtype: np.dtype) -> Term:
    """A word as a number in (0, 1]: small ones keep their relative precision, for logarithms."""
    kind = wide(dtype)
    return scale(P.add(cast(w, kind), constant(0.5, w.aval.shape, kind)), TWO32)


def grid(x: Term, y: Term, dtype: np.dtype) -> Term:
    """Two words as a number in [0, 1): every multiple of 2**-24 (2**-53 in float64, 2**-11 in float16) equally likely."""
    shape = x.aval.shape
    if dtype == dtypes.float64:
        high, low = [cast(P.shr(w, constant(k, shape, UINT)), dtype) for w, k in ((x, 5), (y, 6))]
        return scale(P.add(scale(high, 2.0**26), low), 2.0**-53)
    bits = 11 if dtype == dtypes.float16 else 24
    return scale(cast(P.shr(x, constant(32 - bits, shape, UINT)), dtype), 2.0**-bits)


def open_units(x: Term, y: Term, dtype: np.dtype) -> list[Term]:
    """Numbers in (0, 1) from two words: one in float64, two in float32, which float16 is drawn in as well."""
    if dtype == dtypes.float64:
        u = grid(x, y, dtype)
        return [P.minimum(P.add(u, fill(u, 2.0**-54)), fill(u, 1 - 2.0**-53))]
    units = [fraction(w, dtype) for w in (x, y)]
    return [P.minimum(u, fill(u, 1 - 2.0**-24)) for u in units]


def unit(op: str, key: Term, shape: Shape, dtype: np.dtype, use: int = DRAW) -> Term:
    """Uniform in [0, 1), on the grid of the dtype."""
    return grid(*drawn(op, key, shape, use), dtype)


def open_unit(op: str, key: Term, shape: Shape, dtype: np.dtype, use: int = DRAW) -> Term:
    """Uniform in (0, 1), in float32 or float64."""
    return open_units(*drawn(op, key, shape, use), dtype)[0]


# ---- shapes and dtypes -----------------------------------------------------------------------------------------------

def floating(op: str, dtype: Any, *parameters: Operand) -> np.dtype:
    """The dtype of a draw: the one asked for; else float64 beside a parameter of float64, float32 otherwise."""
    if dtype is None:
        double = any([isinstance(p, Term) and p.aval.dtype == dtypes.float64 for p in parameters])
        return dtypes.float64 if double else dtypes.DEFAULT_FLOAT
    found = as_dtype(op, dtype)
    if found.kind != "f":
        raise DTypeError(op, str(found), "random numbers here are real and floating", "draw in float32 or float64")
    return found


def placed(op: str, shape: object, dtype: Any, *parameters: Operand) -> tuple[Any, ...]:
    """(shape, dtype, parameters of both): the shape asked for, or the one the parameters broadcast to."""
    dtype = floating(op, dtype, *parameters)
    for p in parameters:
        if isinstance(p, complex) or (isinstance(p, Term) and p.aval.dtype.kind == "c"):
            raise DTypeError(op, "a complex parameter", "distributions of real numbers have real parameters", "pass its real part")
    terms = [cast(p, dtype) if isinstance(p, Term) else number(op, p, (), dtype) for p in parameters]
    shapes = [t.aval.shape for t in terms]
    whole = broadcast_shapes(op, *shapes) if shape is None else positive_shape(op, shape)
    if shape is not None and broadcast_shapes(op, whole, *shapes) != whole:
        raise ShapeError(op, f"shape {whole} with parameters of {', '.join(map(str, shapes))}", "the parameters do not broadcast to it", "pass a larger shape")
    return whole, dtype, *[broadcast(t, whole) for t in terms]


# ---- draws -----------------------------------------------------------------------------------------------------------

@operation()
def bits(key: Term, shape: object = (), dtype: object = dtypes.uint32) -> Term:
    """Random bits: unsigned integers, every value equally likely.

    >>> import lazygrad as lg
    >>> lg.random.bits(lg.random.key(0), (3,)).dtype
    dtype('uint32')
    """
    shape, dtype = positive_shape("bits", shape), as_dtype("bits", dtype)
    if dtype.kind != "u":
        raise DTypeError("bits", str(dtype), "bits are unsigned", "pass uint8, uint16, uint32 or uint64")
    x, y = drawn("bits", key, shape)
    if dtype.itemsize == 8:
        return P.bit_or(P.shl(cast(x, dtype), constant(32, shape, dtype)), cast(y, dtype))
    return cast(P.shr(x, constant(32 - 8 * dtype.itemsize, shape, UINT)), dtype)


@operation()
def uniform(key: Term, shape: object = None, dtype: object = None, minval: Operand = 0.0, maxval: Operand = 1.0) -> Term:
    """Uniform in [minval, maxval), bit for bit equal on every device where the bounds are 0 and 1.

    Here and in all draws of real numbers: the shape is the one the parameters broadcast to unless it is given; the dtype is float32, or
    float64 where a parameter is, unless it is given.

    >>> import lazygrad as lg
    >>> x = lg.random.uniform(lg.random.key(0), (1000,), maxval=2.0)
    >>> bool((x >= 0).all() & (x < 2).all()), abs(x.mean().item() - 1) < 0.1
    (True, True)
    """
    plain_ = not isinstance(minval, Term) and not isinstance(maxval, Term) and (minval, maxval) == (0, 1)
    shape, dtype, low, high = placed("uniform", shape, dtype, minval, maxval)
    u = unit("uniform", key, shape, dtype)
    return u if plain_ else P.add(low, P.mul(u, P.sub(high, low)))


def high_word(x: Term, n: int) -> Term:
    """The upper 32 bits of x * n, by halves of 16 bits."""
    shape = x.aval.shape
    num = lambda k: constant(k, shape, UINT)
    mask, sixteen, low, high = num(0xFFFF), num(16), num(n & 0xFFFF), num(n >> 16)
    a, b = P.bit_and(x, mask), P.shr(x, sixteen)
    t = P.mul(a, low)
    u = P.add(P.mul(b, low), P.shr(t, sixteen))
    v = P.add(P.mul(a, high), P.bit_and(u, mask))
    return P.add(P.add(P.mul(b, high), P.shr(u, sixteen)), P.shr(v, sixteen))


@operation()
def randint(key: Term, shape: object, minval: int, maxval: int, dtype: object = dtypes.int64) -> Term:
    """Integers of [minval, maxval), each as likely as the next within 2**-32 of its probability.

    Raises ShapeError where there is no integer in between, DTypeError where `dtype` does not hold the bounds.

    >>> import lazygrad as lg
    >>> sorted(set(lg.random.randint(lg.random.key(0), (100,), 2, 5).tolist()))
    [2, 3, 4]
    """
    shape, dtype = positive_shape("randint", shape), as_dtype("randint", dtype)
    low, high = operator.index(minval), operator.index(maxval)
    if dtype.kind not in "iu":
        raise DTypeError("randint", str(dtype), "integers are drawn", "pass an integer dtype")
    if not low < high:
        raise ShapeError("randint", f"minval={low}, maxval={high}", "no integer lies between", "maxval is exclusive")
    number("randint", low, (), dtype), number("randint", high - 1, (), dtype)          # errors where they do not fit
    span = high - low
    x, y = drawn("randint", key, shape)
    if span < 1 << 32:
        # floor(bits64 * span / 2**64): the upper word of x * span + upper word of (y * span)
        top, carry = high_word(x, span), high_word(y, span)
        lower = P.mul(x, constant(span, shape, UINT))
        over = cast(P.lt(P.add(lower, carry), lower), UINT)
        found = P.add(top, over)
        sum_in, start = (dtype, low) if dtype.itemsize == 8 else (UINT, low % (1 << 32))
        return cast(P.add(cast(found, sum_in), constant(start, shape, sum_in)), dtype)
    wide = dtypes.uint64
    b = P.bit_or(P.shl(cast(x, wide), constant(32, shape, wide)), cast(y, wide))
    found = b if span == 1 << 64 else P.remainder(b, constant(span, shape, wide))
    return cast(P.add(found, constant(low % (1 << 64), shape, wide)), dtype)
