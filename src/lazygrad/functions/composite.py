"""Elementwise functions made of several Prims: selections, clipping, activations, functions with removable holes.

In: tensors and Python numbers that broadcast. Derivatives follow from the Prims; every hole (0/0, inf - inf) sits in the
branch of a `where` that is not taken, so neither values nor derivatives see it.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..ir.term import Term
from ..lift import Operand
from .elementwise import ordered
from .promotion import P, alike, broadcast, broadcast_shapes, cast, constant, inexact, pair
from .table import public


def fill(x: Term, value: float) -> Term:
    """A constant like x."""
    return constant(value, x.aval.shape, x.aval.dtype)


def scale(x: Term, k: float) -> Term:
    return P.mul(x, fill(x, k))


# ---- selection --------------------------------------------------------------------------------------------------------

@public(method=False)
def where(condition: Term, x: Operand, y: Operand) -> Term:
    """x where the condition holds, else y. The three shapes broadcast; x and y promote.

    The gradient of the branch not taken is 0, even where that branch is NaN or infinite.

    >>> import lazygrad as lg
    >>> lg.where(lg.asarray([True, False]), 1.0, 2.0).tolist()
    [1.0, 2.0]
    """
    x, y = alike("where", (x, y))
    shape = broadcast_shapes("where", condition.aval.shape, x.aval.shape, y.aval.shape)
    return P.where(broadcast(cast(condition, dtypes.bool_), shape), broadcast(x, shape), broadcast(y, shape))


@public("clamp", method=True)
def clip(x: Term, min: Operand = None, max: Operand = None) -> Term:
    """x limited to [min, max]; either may be None. Shapes broadcast; NaN stays NaN. The gradient is 1 at the limits.

    >>> import lazygrad as lg
    >>> lg.clip(lg.asarray([-1.0, 0.5, 2.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    for bound, test in ((min, P.lt), (max, P.gt)):
        if bound is not None:
            x, b = ordered("clip", pair("clip", x, bound))
            outside = test(x, b)
            if (b.aval.dtype.kind == "f" and b.op is not P.full) or (b.op is P.full and b.params[0] != b.params[0]):
                outside = P.bit_or(outside, P.isnan(b))
            x = P.where(outside, b, x)
    return x


@public("around", method=True, name="round")
def round_(x: Term, decimals: int = 0) -> Term:
    """x rounded to `decimals` places, ties to even. Shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.round(lg.asarray([0.5, 1.5, 2.25]), 1).tolist()
    [0.5, 1.5, 2.200000047683716]
    """
    if x.aval.dtype.kind in "iub":
        if decimals >= 0 or x.aval.dtype.kind == "b":
            return x
        return cast(round_(P.cast(x, dtype=dtypes.float64), decimals), x.aval.dtype)
    if x.aval.dtype.kind == "c":
        raise DTypeError("round", str(x.aval.dtype), "complex numbers are not rounded", "round real and imag")
    if decimals == 0:
        return P.rint(x)
    power = fill(x, 10.0 ** abs(decimals))
    return P.div(P.rint(P.mul(x, power)), power) if decimals > 0 else P.mul(P.rint(P.div(x, power)), power)


@public(method=True)
def isclose(x: Operand, y: Operand, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Term:
    """Whether |x - y| <= atol + rtol * |y|, elementwise. Shapes broadcast; infinities are close to their equals only.

    >>> import lazygrad as lg
    >>> lg.isclose(lg.asarray([1.0, 2.0]), 1.0).tolist()
    [True, False]
    """
    a, b = map(inexact, pair("isclose", x, y))
    size = P.abs(b)
    near = P.le(P.abs(P.sub(a, b)), P.add(fill(size, atol), scale(size, rtol)))
    out = P.bit_or(P.bit_and(near, P.isfinite(b)), P.eq(a, b))
    return P.bit_or(out, P.bit_and(P.isnan(a), P.isnan(b))) if equal_nan else out


@public(method=True)
def nan_to_num(x: Term, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Term:
    """x with NaN, inf and -inf replaced, by default by 0 and the largest and smallest finite numbers.

    >>> import lazygrad as lg
    >>> lg.nan_to_num(lg.asarray([float("nan"), 1.0])).tolist()
    [0.0, 1.0]
    """
    if x.aval.dtype.kind == "c":
        re, im = [nan_to_num(part, nan, posinf, neginf) for part in (P.real(x), P.imag(x))]
        return P.add(cast(re, x.aval.dtype), P.mul(fill(x, 1j), cast(im, x.aval.dtype)))
    if x.aval.dtype.kind != "f":
        return x
    top = float(np.finfo(x.aval.dtype).max)
    high, low = fill(x, math.inf), fill(x, -math.inf)
    out = P.where(P.eq(x, high), fill(x, top if posinf is None else posinf), x)
    out = P.where(P.eq(x, low), fill(x, -top if neginf is None else neginf), out)
    return P.where(P.isnan(x), fill(x, nan), out)


# ---- angles and special points ------------------------------------------------------------------------------------------

@public("radians", method=True)
def deg2rad(x: Term) -> Term:
    """Degrees as radians: x * pi / 180.

    >>> import lazygrad as lg
    >>> lg.deg2rad(lg.asarray([0.0])).tolist()
    [0.0]
    """
    return scale(inexact(x), math.pi / 180)


@public("degrees", method=True)
def rad2deg(x: Term) -> Term:
    """Radians as degrees: x * 180 / pi.

    >>> import lazygrad as lg
    >>> lg.rad2deg(lg.asarray([0.0])).tolist()
    [0.0]
    """
    return scale(inexact(x), 180 / math.pi)


SINC = tuple([(-1) ** k / math.factorial(2 * k + 1) for k in range(8)])          # sin(y) / y in powers of y * y


@public(method=True)
def sinc(x: Term) -> Term:
    """sin(pi x) / (pi x), 1 at 0.

    >>> import lazygrad as lg
    >>> lg.sinc(lg.asarray([0.0])).tolist()
    [1.0]
    """
    x = inexact(x)
    y = scale(x, math.pi)
    square = P.mul(y, y)
    series = fill(x, SINC[-1])                     # near 0: the quotient's derivatives lose all digits, and are NaN at 0
    for k in SINC[-2::-1]:
        series = P.add(P.mul(series, square), fill(x, k))
    size = P.abs(x)
    r = P.sub(x, scale(P.rint(scale(x, 0.5)), 2))                 # exact: pi times the whole turns would be rounded
    return P.where(P.lt(size, fill(size, 0.1)), series, P.div(P.sin(scale(r, math.pi)), y))


@public(method=True)
def logit(x: Term) -> Term:
    """log(x / (1 - x)), the inverse of sigmoid.

    >>> import lazygrad as lg
    >>> lg.logit(lg.asarray([0.5])).tolist()
    [0.0]
    """
    x = inexact(x)
    middle = P.lt(P.abs(P.sub(x, fill(x, 0.5))), fill(x, 0.25))          # there 2 x - 1 is exact, and the logarithms do not cancel
    s = P.where(middle, P.sub(scale(x, 2), fill(x, 1)), fill(x, 0))
    y = P.where(middle, fill(x, 0.5), x)
    return P.where(middle, P.sub(P.log1p(s), P.log1p(P.neg(s))), P.sub(P.log(y), P.log1p(P.neg(y))))


@public(method=True)
def xlogy(x: Operand, y: Operand) -> Term:
    """x * log(y), 0 where x is 0 (and y is not NaN). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.xlogy(lg.asarray([0.0, 2.0]), 1.0).tolist()
    [0.0, 0.0]
    """
    x, y = map(inexact, pair("xlogy", x, y))
    zero = fill(x, 0)
    # only where log(y) is not finite: elsewhere the derivative by x at 0 is log(y)
    hole = P.bit_and(P.eq(x, zero), P.bit_or(P.le(y, zero), P.isinf(y)))
    return P.mul(x, P.log(P.where(hole, fill(y, 1), y)))


@public(method=True)
def heaviside(x: Operand, values: Operand) -> Term:
    """0 where x < 0, `values` where x is 0, 1 where x > 0; NaN for NaN. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.heaviside(lg.asarray([-1.0, 0.0, 2.0]), 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    x, v = map(inexact, pair("heaviside", x, values))
    zero, one = fill(x, 0), fill(x, 1)
    step = P.where(P.lt(x, zero), zero, P.where(P.gt(x, zero), one, x))          # NaN and 0 go through
    return P.where(P.eq(x, zero), v, P.stop_gradient(step))


# ---- activations --------------------------------------------------------------------------------------------------------

@public(method=True)
def relu(x: Term) -> Term:
    """max(x, 0), with derivative 0 at 0. Shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.relu(lg.asarray([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    zero = fill(x, 0)
    return P.where(P.le(*ordered("relu", (x, zero))), zero, x)


@public(method=True)
def leaky_relu(x: Term, negative_slope: float = 0.01) -> Term:
    """x where x > 0, else negative_slope * x.

    >>> import lazygrad as lg
    >>> lg.leaky_relu(lg.asarray([-2.0, 2.0]), 0.5).tolist()
    [-1.0, 2.0]
    """
    x = inexact(x)
    return P.where(P.gt(x, fill(x, 0)), x, scale(x, negative_slope))


@public(method=True)
def elu(x: Term, alpha: float = 1.0) -> Term:
    """x where x > 0, else alpha * (exp(x) - 1).

    >>> import lazygrad as lg
    >>> lg.elu(lg.asarray([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    x = inexact(x)
    return P.where(P.gt(x, fill(x, 0)), x, scale(P.expm1(x), alpha))


@public(method=True)
def softplus(x: Term) -> Term:
    """log(1 + exp(x)) without overflow.

    >>> import lazygrad as lg
    >>> lg.softplus(lg.asarray([100.0])).tolist()
    [100.0]
    """
    x = inexact(x)
    return P.logaddexp(x, fill(x, 0))


def above(x: Term, low: float) -> Term:
    """x with 0 below `low`, -inf among it: a factor beside one that is 0 there."""
    return P.where(P.lt(x, fill(x, low)), fill(x, 0), x)


@public("swish", method=True)
def silu(x: Term) -> Term:
    """x * sigmoid(x); 0 at -inf.

    >>> import lazygrad as lg
    >>> lg.silu(lg.asarray([0.0])).tolist()
    [0.0]
    """
    x = above(*ordered("silu", (inexact(x),)), -800)
    return P.mul(x, P.sigmoid(x))


@public(method=True)
def gelu(x: Term, approximate: str = "none") -> Term:
    """x * Phi(x), Phi the normal distribution function; `approximate="tanh"` is the cheaper fit that GPT-2 uses. 0 at -inf.

    >>> import lazygrad as lg
    >>> lg.gelu(lg.asarray([0.0])).tolist()
    [0.0]
    """
    x = above(*ordered("gelu", (inexact(x),)), -40)
    if approximate == "tanh":                # Hendrycks & Gimpel 2016; (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits where it is small
        y = clip(x, -30, 30)                 # beyond, sigmoid is 0 or 1, and a cube would overflow
        inner = scale(P.add(y, scale(P.mul(P.square(y), y), 0.044715)), math.sqrt(8 / math.pi))
        return P.mul(x, P.sigmoid(inner))
    if approximate != "none":
        raise DTypeError("gelu", f"approximate={approximate!r}", "there is no such approximation", 'pass "none" or "tanh"')
    return P.mul(x, P.ndtr(x))


@public(method=True)
def log_sigmoid(x: Term) -> Term:
    """log(sigmoid(x)) without overflow.

    >>> import lazygrad as lg
    >>> lg.log_sigmoid(lg.asarray([100.0])).tolist()
    [-3.783505853677006e-44]
    """
    return P.neg(softplus(P.neg(inexact(x))))


@public(method=True)
def lerp(x: Operand, y: Operand, weight: Operand) -> Term:
    """x + weight * (y - x). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.lerp(lg.asarray([0.0]), 10.0, 0.5).tolist()
    [5.0]
    """
    x, y = map(inexact, pair("lerp", x, y))
    d, w = pair("lerp", P.sub(y, x), weight)
    x, step = pair("lerp", x, P.mul(d, w))
    return P.add(x, step)

