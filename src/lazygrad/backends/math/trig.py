"""Trigonometric functions and their inverses, for float32 and float64 vectors.

x = n pi/2 + r with |r| <= pi/4. Up to `LIMIT` n pi/2 is subtracted in parts whose products with n are exact (Cody and
Waite); a vector with a larger element takes a branch to out-of-line code that multiplies by many bits of 2/pi
(Payne and Hanek; `Builder.reduce_large`).
"""

from __future__ import annotations

from collections.abc import Callable

from .base import INF, NAN, format_of, poly, round_to_integer
from .builder import Builder

LIMIT = {"f32": 1e5, "f64": 1e6}
# pi/2 in parts: n times each but the last is exact, and so are the differences of x and all but the last two
HALF_PI = {
    "f32": (1.5703125, 0.0004825592041015625, 1.2516975402832031e-06, 1.5832483768463135e-08, 6.07710062827671e-11),
    "f64": (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21),
}
QUARTER_PI = {"f32": (0.7853975296020508, 6.337953975283657e-07), "f64": (0.7853981633974456, 2.6951514290790595e-15)}


# ---- argument reduction
def reduce_small(b: Builder, x: str) -> tuple[str, str, str]:
    """r in two parts, and integers whose two low bits are those of n, for |x| <= LIMIT."""
    n, bits = round_to_integer(b, x, 0.6366197723675814)
    *exact, rounded, last = HALF_PI[format_of(b).name]
    for part in exact:
        x = b.xfma(n, b.const(-part), x)
    first = b.xfma(n, b.const(-rounded), x)
    low = b.fma(n, b.const(-last), b.xfma(n, b.const(-rounded), b.xsub(x, first)))       # with what `first` lost
    r = b.xadd(first, low)
    return r, b.xsub(low, b.xsub(r, first)), bits


def reduce_any(b: Builder, x: str) -> tuple[str, str, str]:
    """`reduce_small` for any x: lane by lane where x is large; NaN for infinities."""
    limit, a = b.const(LIMIT[format_of(b).name]), b.abs(x)
    r, r_low, n = reduce_small(b, x)
    large = b.mask_and(b.cmp("ogt", a, limit), b.cmp("olt", a, b.const(INF)))
    safe = b.select(large, x, limit)
    far, far_low, far_n = b.reduce_large(safe)
    r = b.select(large, far, b.select(b.cmp("oeq", a, b.const(INF)), b.const(NAN), r))
    return r, b.select(large, far_low, r_low), b.iselect(large, far_n, n)


def reduced(name: str, finish: Callable[[Builder, str, str, str, str], str]) -> Callable[[Builder, str], str]:
    """The function x -> finish(b, x, r, r_low, n) with the reduction that x needs."""

    def slow(b: Builder, x: str) -> str:
        return finish(b, x, *reduce_any(b, x))

    def function(b: Builder, x: str) -> str:
        fast = finish(b, x, *reduce_small(b, x))
        large = b.cmp("ogt", b.abs(x), b.const(LIMIT[format_of(b).name]))
        return b.if_any(large, lambda: b.out_of_line(name + "_large", slow, x), fast)

    return function


# ---- sin, cos, tan
def _sine_or_cosine(b: Builder, r: str, low: str, n: str) -> str:
    """sin r for even n, cos r for odd n, with the sign of bit 1 of n; r + low is the argument."""
    s = b.mul(r, r)
    sine = b.xadd(r, b.fma(b.mul(r, s), poly(b, s, "SIN"), low))
    small = b.sub(b.mul(b.mul(s, s), poly(b, s, "COS")), b.mul(r, low))
    cosine = b.xadd(b.fma(s, b.const(-0.5), b.const(1.0)), small)
    odd = b.icmp("ne", b.iand(n, b.iconst(1)), b.iconst(0))
    sign = b.shl(b.iand(n, b.iconst(2)), b.iconst(b.bits - 2))
    return b.to_float(b.ixor(b.to_int(b.select(odd, cosine, sine)), sign))


def _sin(b: Builder, x: str, r: str, low: str, n: str) -> str:
    return b.select(b.cmp("oeq", x, b.const(0.0)), x, _sine_or_cosine(b, r, low, n))     # keeps -0


def _cos(b: Builder, x: str, r: str, low: str, n: str) -> str:
    return _sine_or_cosine(b, r, low, b.iadd(n, b.iconst(1)))


def _tan(b: Builder, x: str, r: str, low: str, n: str) -> str:
    """tan r, or -1/tan r for odd n."""
    s = b.mul(r, r)
    t = b.xadd(r, b.fma(b.mul(r, s), poly(b, s, "TAN"), b.fma(low, s, low)))     # low (1 + tan² r), nearly
    odd = b.icmp("ne", b.iand(n, b.iconst(1)), b.iconst(0))
    return b.select(b.cmp("oeq", x, b.const(0.0)), x, b.select(odd, b.div(b.const(-1.0), t), t))     # keeps -0


sin, cos, tan = reduced("sin", _sin), reduced("cos", _cos), reduced("tan", _tan)


# ---- inverses
def _asin_parts(b: Builder, x: str) -> tuple[str, str, str]:
    """v and p with asin(v) = v + p: v = |x| below 1/2 (the mask), else sqrt((1 - |x|)/2)."""
    a = b.abs(x)
    small = b.cmp("olt", a, b.const(0.5))
    s = b.select(small, b.mul(a, a), b.fma(a, b.const(-0.5), b.const(0.5)))
    v = b.select(small, a, b.sqrt(s))
    return v, b.mul(b.mul(v, s), poly(b, s, "ASIN")), small


def asin(b: Builder, x: str) -> str:
    """Odd polynomial below 1/2, else pi/2 - 2 asin(sqrt((1 - |x|)/2))."""
    v, p, small = _asin_parts(b, x)
    high, low = QUARTER_PI[format_of(b).name]
    near_one = b.xsub(b.const(2 * high), b.xsub(b.xadd(v, v), b.xsub(b.const(2 * low), b.xadd(p, p))))
    return b.copysign(b.select(small, b.xadd(v, p), near_one), x)


def acos(b: Builder, x: str) -> str:
    """pi/2 - asin x below 1/2, 2 asin(v) above, pi - 2 asin(v) below -1/2."""
    v, p, small = _asin_parts(b, x)
    high, low = QUARTER_PI[format_of(b).name]
    negative = b.cmp("olt", x, b.const(0.0))
    middle = b.xsub(b.const(2 * high), b.xsub(x, b.xsub(b.const(2 * low), b.copysign(p, x))))
    twice_v, twice_p = b.xadd(v, v), b.xadd(p, p)
    top = b.xadd(twice_v, twice_p)
    bottom = b.xsub(b.const(4 * high), b.xsub(twice_v, b.xsub(b.const(4 * low), twice_p)))
    return b.select(small, middle, b.select(negative, bottom, top))


def _angle(b: Builder, y: str, x: str, left: str | None, sign: str) -> str:
    """The angle of (x, y), both >= 0, in the half plane `left` of a mask if given, with a sign: q = min/max, or
    (q - 1)/(q + 1) above 1/2, where the difference is exact; then multiples of pi/4 are added."""
    high, low = QUARTER_PI[format_of(b).name]
    swap = b.cmp("ogt", y, x)
    small, large = b.select(swap, x, y), b.select(swap, y, x)
    turned = b.cmp("ogt", small, b.mul(large, b.const(0.5)))
    q = b.div(b.select(turned, b.xsub(small, large), small), b.select(turned, b.xadd(small, large), large))
    s = b.mul(q, q)
    p = b.fma(b.mul(q, s), poly(b, s, "ATAN"), q)
    quarters = b.select(turned, b.const(1.0), b.const(0.0))
    p = b.select(swap, b.neg(p), p)
    quarters = b.select(swap, b.xsub(b.const(2.0), quarters), quarters)
    if left is not None:
        p = b.select(left, b.neg(p), p)
        quarters = b.select(left, b.xsub(b.const(4.0), quarters), quarters)
    return b.copysign(b.fma(quarters, b.const(high), b.xfma(quarters, b.const(low), p)), sign)


def atan(b: Builder, x: str) -> str:
    return _angle(b, b.abs(x), b.const(1.0), None, x)


def atan2(b: Builder, y: str, x: str) -> str:
    """The angle of the point (x, y); two infinities count as (1, 1), two zeros as (1, 0)."""
    inf, one, zero = b.const(INF), b.const(1.0), b.const(0.0)
    ax, ay = b.abs(x), b.abs(y)
    infinite = b.mask_and(b.cmp("oeq", ax, inf), b.cmp("oeq", ay, inf))
    nothing = b.mask_and(b.cmp("oeq", ax, zero), b.cmp("oeq", ay, zero))
    # the sum of both must not overflow
    big = b.const(2.0 ** (format_of(b).bias - 2))
    shrink = b.select(b.mask_or(b.cmp("ogt", ax, big), b.cmp("ogt", ay, big)), b.const(0.25), one)
    ax = b.select(b.mask_or(infinite, nothing), one, b.mul(ax, shrink))
    ay = b.select(infinite, one, b.mul(ay, shrink))
    left = b.icmp("slt", b.to_int(x), b.iconst(0))
    return _angle(b, ay, ax, left, y)

