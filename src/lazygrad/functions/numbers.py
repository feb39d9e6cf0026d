"""Elementwise functions about how numbers are made: parts, exponents, neighbours, signs, divisors, bits.

In: tensors and Python numbers that broadcast. Out: tensors. Exponents, neighbours, divisors and bits have no derivative.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..ir.function import Body
from ..ir.term import Term
from ..lift import Operand
from ..prims.control import picked, while_loop
from ..prims.leaf import parameter
from ..tensor import Tensor
from .composite import fill, scale
from .elementwise import integral, ordered
from .promotion import P, as_term, broadcast, broadcast_shapes, cast, constant, inexact, many_axes, pair
from .table import FUNCTIONS, plain, public

# ---- complex numbers --------------------------------------------------------------------------------------------------


@public(method=True)
def angle(x: Term, deg: bool = False) -> Term:
    """The angle of x in the complex plane, in (-pi, pi]; in degrees if `deg`. 0 or pi for real x.

    >>> import lazygrad as lg
    >>> lg.angle(lg.asarray([1.0, -1.0]), deg=True).tolist()
    [0.0, 180.0]
    """
    x = inexact(x)
    y, x = (P.imag(x), P.real(x)) if x.aval.dtype.kind == "c" else (fill(x, 0), x)
    out = P.atan2(y, x)
    return scale(out, 180 / math.pi) if deg else out


@public()
def isreal(x: Term) -> Term:
    """Whether the imaginary part is 0, for each element.

    >>> import lazygrad as lg
    >>> lg.isreal(lg.asarray([1 + 1j, 2 + 0j])).tolist()
    [False, True]
    """
    if x.aval.dtype.kind != "c":
        return constant(True, x.aval.shape, dtypes.bool_)
    y = P.imag(x)
    return P.eq(y, fill(y, 0))


@public()
def iscomplex(x: Term) -> Term:
    """Whether the imaginary part is not 0, for each element.

    >>> import lazygrad as lg
    >>> lg.iscomplex(lg.asarray([1 + 1j, 2 + 0j])).tolist()
    [True, False]
    """
    return P.bit_not(isreal(x))


@plain()
def iscomplexobj(x):
    """Whether x has a complex dtype.

    >>> import lazygrad as lg
    >>> lg.iscomplexobj(lg.asarray([1.0]))
    False
    """
    return dtype_of(x).kind == "c"


@plain()
def isrealobj(x):
    """Whether x has no complex dtype.

    >>> import lazygrad as lg
    >>> lg.isrealobj(lg.asarray([1.0]))
    True
    """
    return not iscomplexobj(x)


def dtype_of(x: object) -> np.dtype:
    return x.dtype if isinstance(x, Tensor) else np.asarray(x).dtype


@plain()
def real_if_close(x, tol=100):
    """The real part of x where all imaginary parts are below `tol` (above 1: times the dtype's eps), else x. Evaluates complex x.

    >>> import lazygrad as lg
    >>> lg.real_if_close(lg.asarray([2 + 0j])).tolist()
    [2.0]
    """
    x = FUNCTIONS["positive"](x)
    if x.dtype.kind != "c":
        return x
    limit = tol * float(np.finfo(x.dtype).eps) if tol > 1 else tol
    close = FUNCTIONS["all"](FUNCTIONS["less"](FUNCTIONS["abs"](FUNCTIONS["imag"](x)), limit))
    return FUNCTIONS["real"](x) if close.item() else x


# ---- signs and infinities ---------------------------------------------------------------------------------------------

def infinite(op: str, x: Term, end: float) -> Term:
    ordered(op, (x,))
    if x.aval.dtype.kind != "f":
        return constant(False, x.aval.shape, dtypes.bool_)
    return P.eq(x, fill(x, end))


@public()
def isposinf(x: Term) -> Term:
    """Whether x is +infinity.

    >>> import lazygrad as lg
    >>> lg.isposinf(lg.asarray([1.0, float("inf")])).tolist()
    [False, True]
    """
    return infinite("isposinf", x, math.inf)


@public()
def isneginf(x: Term) -> Term:
    """Whether x is -infinity.

    >>> import lazygrad as lg
    >>> lg.isneginf(lg.asarray([1.0, float("-inf")])).tolist()
    [False, True]
    """
    return infinite("isneginf", x, -math.inf)


# ---- exponents and neighbours -----------------------------------------------------------------------------------------

def real(op: str, x: Term) -> Term:
    """x as a real floating array."""
    return inexact(ordered(op, (x,))[0])


def times_power_of_2(x: Term, n: Term) -> Term:
    """x * 2**n for an integer n: in two steps, neither of which overflows where the result does not."""
    limit = 2 * (np.finfo(x.aval.dtype).maxexp + np.finfo(x.aval.dtype).nmant)
    low, high = fill(n, -limit), fill(n, limit)
    n = P.minimum(P.maximum(n, low), high)
    half = P.shr(n, fill(n, 1))
    return P.mul(P.mul(x, P.exp2(cast(half, x.aval.dtype))), P.exp2(cast(P.sub(n, half), x.aval.dtype)))


@public(method=True)
def ldexp(x: Operand, n: Operand) -> Term:
    """x * 2**n for integers n. Shapes broadcast. DTypeError for an n that is no integer.

    >>> import lazygrad as lg
    >>> lg.ldexp(lg.asarray([0.5, 3.0]), lg.asarray([3, 1])).tolist()
    [4.0, 6.0]
    """
    x, n = real("ldexp", as_term("ldexp", x)), as_term("ldexp", n)
    if n.aval.dtype.kind not in "iub":
        raise DTypeError("ldexp", f"exponents of {n.aval.dtype}", "an exponent is an integer", "cast it, or multiply with exp2")
    shape = broadcast_shapes("ldexp", x.aval.shape, n.aval.shape)
    n = cast(n, dtypes.int32 if n.aval.dtype.itemsize < 4 or n.aval.dtype == dtypes.int32 else dtypes.int64)
    return times_power_of_2(broadcast(x, shape), broadcast(n, shape))


@public(method=True)
def frexp(x: Term) -> tuple[Term, Term]:
    """(m, n) with x = m * 2**n and 0.5 <= |m| < 1, n as int32; (x, 0) for 0, infinities and NaN. The derivative of m is 2**-n.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.frexp(lg.asarray([8.0, -3.0]))]
    [[0.5, -0.75], [4, 2]]
    """
    x = real("frexp", x)
    size = P.abs(x)
    odd = P.bit_or(P.eq(size, fill(x, 0)), P.bit_not(P.isfinite(x)))
    y = P.where(odd, fill(x, 0.5), x)
    n = P.add(cast(P.floor(P.log2(P.stop_gradient(P.abs(y)))), dtypes.int32), constant(1, x.aval.shape, dtypes.int32))
    m = times_power_of_2(y, P.neg(n))
    part, one = P.abs(P.stop_gradient(m)), fill(n, 1)
    large, small = P.ge(part, fill(part, 1)), P.lt(part, fill(part, 0.5))            # the logarithm is rounded
    m = P.mul(m, P.where(large, fill(m, 0.5), P.where(small, fill(m, 2), fill(m, 1))))
    n = P.where(large, P.add(n, one), P.where(small, P.sub(n, one), n))
    return P.where(odd, x, m), P.where(odd, fill(n, 0), n)


@public()
def modf(x: Term) -> tuple[Term, Term]:
    """The fractional and the integral part of x, both with its sign.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.modf(lg.asarray([1.5, -2.25]))]
    [[0.5, -0.25], [1.0, -2.0]]
    """
    x = real("modf", x)
    whole = P.trunc(x)
    below = P.signbit(x)                      # -(whole - x): -0.0 where x is a negative integer
    part = P.where(below, P.neg(P.sub(whole, x)), P.sub(x, whole))
    return P.where(P.isinf(x), P.copysign(fill(x, 0), P.stop_gradient(x)), part), whole


@public()
def spacing(x: Term) -> Term:
    """The distance from x to the next number away from 0, with the sign of x. NaN for infinities.

    >>> import lazygrad as lg
    >>> lg.spacing(lg.asarray([1.0])).tolist() == [2.0 ** -23]
    True
    """
    x = real("spacing", x)
    size = P.abs(P.stop_gradient(x))
    gap = P.sub(P.nextafter(size, fill(x, math.inf)), size)
    return P.where(P.lt(x, fill(x, 0)), P.neg(gap), gap)


@public(method=True)
def logaddexp2(x: Operand, y: Operand) -> Term:
    """log2(2**x + 2**y) without overflow. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.logaddexp2(lg.asarray([-float("inf")]), 3.0).tolist()
    [3.0]
    """
    x, y = map(inexact, ordered("logaddexp2", pair("logaddexp2", x, y)))
    equal = P.bit_and(P.eq(x, y), P.isinf(x))                  # inf - inf
    apart = P.where(equal, fill(x, 0), P.sub(x, y))
    return P.add(P.maximum(x, y), scale(P.log1p(P.exp2(P.neg(P.abs(apart)))), 1 / math.log(2)))


# ---- divisors and bits ------------------------------------------------------------------------------------------------

def integers(op: str, x: Operand, y: Operand) -> tuple[Term, Term]:
    x, y = pair(op, x, y)
    if x.aval.dtype.kind not in "iu":
        raise DTypeError(op, str(x.aval.dtype), "only integers have divisors", "cast to an integer dtype")
    return x, y


def magnitude(x: Term) -> Term:
    """|x| in the unsigned dtype of its width, which holds it."""
    dtype = x.aval.dtype
    return x if dtype.kind == "u" else P.cast(P.abs(x), dtype=np.dtype(f"uint{8 * dtype.itemsize}"))


def euclid(a: Term, b: Term) -> Term:
    """The greatest common divisor of unsigned numbers: (a, b) becomes (b, a mod b) until all b are 0 (Knuth 1997 §4.5.2)."""
    av = a.aval
    p, q = parameter(0, av), parameter(1, av)
    zero = fill(q, 0)
    done = P.eq(q, zero)
    test = Body((p, q), (P.any(P.bit_not(done), axes=tuple(range(av.ndim))) if av.ndim else P.bit_not(done),))
    step = Body((p, q), (P.where(done, p, q), P.where(done, zero, P.remainder(p, P.where(done, fill(q, 1), q)))))
    return picked(while_loop(a, b, test=test, body=step, consts=0))[0]


@public()
def gcd(x: Operand, y: Operand) -> Term:
    """The greatest common divisor of integers, 0 for 0 and 0. Shapes broadcast. DTypeError for other dtypes.

    >>> import lazygrad as lg
    >>> lg.gcd(lg.asarray([12, -9]), 6).tolist()
    [6, 3]
    """
    x, y = integers("gcd", x, y)
    return cast(euclid(magnitude(x), magnitude(y)), x.aval.dtype)


@public()
def lcm(x: Operand, y: Operand) -> Term:
    """The least common multiple of integers, 0 where one is 0. Shapes broadcast. DTypeError for other dtypes.

    >>> import lazygrad as lg
    >>> lg.lcm(lg.asarray([4, -9]), 6).tolist()
    [12, 18]
    """
    x, y = integers("lcm", x, y)
    a, b = magnitude(x), magnitude(y)
    d = euclid(a, b)
    return cast(P.mul(P.floor_divide(a, P.where(P.eq(d, fill(d, 0)), fill(d, 1), d)), b), x.aval.dtype)


@public()
def bitwise_count(x: Term) -> Term:
    """How many bits of |x| are set, as uint8.

    >>> import lazygrad as lg
    >>> lg.bitwise_count(lg.asarray([7, -8, 0])).tolist()
    [3, 1, 0]
    """
    x, = integral("bitwise_count", (x,))
    if x.aval.dtype.kind == "b":
        return P.cast(x, dtype=dtypes.uint8)
    x = magnitude(x)
    width, bits = 8 * x.aval.dtype.itemsize, 1
    while bits < width:                       # neighbouring fields of `bits` bits are added up (Warren 2012 §5-1)
        mask = sum([((1 << bits) - 1) << k for k in range(0, width, 2 * bits)])
        x = P.add(P.bit_and(x, fill(x, mask)), P.bit_and(P.shr(x, fill(x, bits)), fill(x, mask)))
        bits *= 2
    return P.cast(x, dtype=dtypes.uint8) if width > 8 else x


# ---- about whole arrays -----------------------------------------------------------------------------------------------

@plain()
def shape(x):
    """The shape of x.

    >>> import lazygrad as lg
    >>> lg.shape(lg.zeros((2, 3)))
    (2, 3)
    """
    return x.shape if isinstance(x, Tensor) else np.shape(x)


@plain()
def ndim(x):
    """The number of axes of x.

    >>> import lazygrad as lg
    >>> lg.ndim(lg.zeros((2, 3)))
    2
    """
    return len(shape(x))


@plain()
def size(x, axis=None):
    """The number of elements of x, or the length of one axis or several.

    >>> import lazygrad as lg
    >>> lg.size(lg.zeros((2, 3))), lg.size(lg.zeros((2, 3)), 1)
    (6, 3)
    """
    sizes = shape(x)
    return math.prod([sizes[k] for k in many_axes("size", axis, len(sizes))])


@plain()
def isscalar(x):
    """Whether x is a Python number or a NumPy scalar. A 0-d tensor is an array.

    >>> import lazygrad as lg
    >>> lg.isscalar(3.0), lg.isscalar(lg.asarray(3.0))
    (True, False)
    """
    return not isinstance(x, Tensor) and np.isscalar(x)
