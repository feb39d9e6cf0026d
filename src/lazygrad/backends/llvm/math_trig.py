"""Trigonometric functions and their inverses, for float32 and float64 vectors.

x = n pi/2 + r with |r| <= pi/4. Up to `LIMIT` n pi/2 is subtracted in parts whose products with n are exact (Cody and
Waite); a vector with a larger element takes a branch to out-of-line code that multiplies by 190 bits of 2/pi
(Payne and Hanek).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .math_base import INF, NAN, format_of, out_of_line, poly, round_to_integer
from .text import Builder, Function

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
        x = b.fma(n, b.const(-part), x)
    first = b.fma(n, b.const(-rounded), x)
    low = b.fma(n, b.const(-last), b.fma(n, b.const(-rounded), b.xsub(x, first)))       # with what `first` lost
    r = b.xadd(first, low)
    return r, b.xsub(low, b.xsub(r, first)), bits


@functools.cache
def two_over_pi_words() -> list[int]:
    """64 zero bits, then the bits of 2/pi, in 64-bit words (enough for the largest float64)."""
    bits = 1280
    # pi by Machin's formula in integers: 16 atan(1/5) - 4 atan(1/239)
    one = 1 << (bits + 64)

    def arctan_inverse(k: int) -> int:
        total = term = one // k
        n, sign = 3, -1
        while term:
            term //= k * k
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    pi = 16 * arctan_inverse(5) - 4 * arctan_inverse(239)
    value = (2 * one << bits) // pi
    return [0] + [(value >> (bits - 64 * (k + 1))) & (1 << 64) - 1 for k in range(bits // 64)]


def reduce_large(b: Builder) -> str:
    """The name of a function {double, i64} (double x), finite, |x| >= 2**16: r and n modulo 4."""
    module = b.fn.module
    name, table = "lazygrad.reduce_large", "@lazygrad.two_over_pi"

    def build(symbol: str) -> Function:
        words = two_over_pi_words()
        module.globals.append(f"{table} = internal constant [{len(words)} x i64] "
                              f"[{', '.join(f'i64 {w}' for w in words)}], align 64")
        fn = Function(module, f"define internal {{double, i64}} @{symbol}(double %x) nounwind")
        d = Builder(fn, 0, "float64")
        whole = d.to_int(d.abs("%x"))
        fraction = d.ior(d.iand(whole, str((1 << 52) - 1)), str(1 << 52))
        exponent = d.isub(d.lshr(whole, "52"), "1075")                          # |x| = fraction * 2**exponent
        # three words of 2/pi from the weight 2**-(exponent-1) on: the bits above give multiples of 4
        place = d.iadd(exponent, "62")
        word, offset = d.lshr(place, "6"), d.iand(place, "63")
        at = d.emit(f"getelementptr i64, ptr {table}, i64 {word}")
        loaded = [d.emit(f"load i64, ptr {d.emit(f'getelementptr i64, ptr {at}, i64 {k}')}, align 8") for k in range(4)]
        module.declare("i64 @llvm.fshl.i64(i64, i64, i64)")
        window = [d.emit(f"call i64 @llvm.fshl.i64(i64 {loaded[k]}, i64 {loaded[k + 1]}, i64 {offset})")
                  for k in range(3)]
        # the upper 128 bits of fraction * window modulo 2**192
        wide = [d.emit(f"zext i64 {v} to i128") for v in [fraction, d.imul(fraction, window[0]), *window[1:]]]
        total = d.emit(f"shl i128 {wide[1]}, 64")
        for k, shift in ((2, 0), (3, 64)):
            product = d.emit(f"mul i128 {wide[0]}, {wide[k]}")
            total = d.emit(f"add i128 {total}, {d.emit(f'lshr i128 {product}, {shift}')}")
        middle = d.emit(f"trunc i128 {total} to i64")
        top = d.emit(f"trunc i128 {d.emit(f'lshr i128 {total}, 64')} to i64")
        part = d.ior(d.shl(top, "2"), d.lshr(middle, "62"))             # the fraction of n, signed: in [-1/2, 1/2)
        n = d.iadd(d.lshr(top, "62"), d.lshr(part, "63"))
        high = d.int_to_float(d.iand(part, str(-2048)))
        rest = d.mul(d.int_to_float(d.lshr(d.shl(middle, "2"), "11")), d.const(2.0**-53))
        rest = d.mul(d.xadd(d.int_to_float(d.iand(part, "2047")), rest), d.const(2.0**-64))
        high = d.mul(high, d.const(2.0**-64))
        r = d.fma(high, d.const(1.5707963267948966),
                  d.fma(high, d.const(6.123233995736766e-17), d.mul(rest, d.const(1.5707963267948966))))
        negative = d.cmp("olt", "%x", "0.0")
        r = d.select(negative, d.neg(r), r)
        n = d.iselect(negative, d.isub("0", n), n)
        one = d.emit(f"insertvalue {{double, i64}} poison, double {r}, 0")
        fn.end = f"ret {{double, i64}} {d.emit(f'insertvalue {{double, i64}} {one}, i64 {n}, 1')}"
        return fn

    return module.helper(name, build)


def reduce_lane(b: Builder, x: str) -> tuple[str, str, str]:
    """`reduce_large` of one value of this element type; r in two parts for float32."""
    double = b.kind == "double"
    wide = x if double else b.emit(f"fpext float {x} to double")
    pair = b.emit(f"call {{double, i64}} @{reduce_large(b)}(double {wide})")
    r, n = b.emit(f"extractvalue {{double, i64}} {pair}, 0"), b.emit(f"extractvalue {{double, i64}} {pair}, 1")
    if double:
        return r, "0.0", n
    first = b.emit(f"fptrunc double {r} to float")
    rest = b.emit(f"fsub double {r}, {b.emit(f'fpext float {first} to double')}")
    return first, b.emit(f"fptrunc double {rest} to float"), b.emit(f"trunc i64 {n} to i32")


def reduce_any(b: Builder, x: str) -> tuple[str, str, str]:
    """`reduce_small` for any x: lane by lane where x is large; NaN for infinities."""
    limit, a = b.const(LIMIT[format_of(b).name]), b.abs(x)
    r, r_low, n = reduce_small(b, x)
    large = b.mask_and(b.cmp("ogt", a, limit), b.cmp("olt", a, b.const(INF)))
    safe = b.select(large, x, limit)
    if b.lanes:
        zeros = [(kind, "zeroinitializer") for kind in (b.type, b.type, b.itype)]
        with b.fn.loop("0", str(b.lanes), 1, zeros) as loop:
            lane = reduce_lane(b, b.emit(f"extractelement {b.type} {safe}, i64 {loop.i}"))
            kinds = (b.kind, b.kind, b.ikind)
            loop.next = [b.emit(f"insertelement {zero[0]} {value}, {kind} {part}, i64 {loop.i}")
                         for zero, value, kind, part in zip(zeros, loop.values, kinds, lane, strict=True)]
        far, far_low, far_n = loop.next
    else:
        far, far_low, far_n = reduce_lane(b, safe)
    r = b.select(large, far, b.select(b.cmp("oeq", a, b.const(INF)), b.const(NAN), r))
    return r, b.select(large, far_low, r_low), b.iselect(large, far_n, n)


def reduced(name: str, finish: Callable[[Builder, str, str, str, str], str]) -> Callable[[Builder, str], str]:
    """The function x -> finish(b, x, r, r_low, n) with the reduction that x needs."""

    def slow(b: Builder, x: str) -> str:
        return finish(b, x, *reduce_any(b, x))

    def function(b: Builder, x: str) -> str:
        fast = finish(b, x, *reduce_small(b, x))
        large = b.cmp("ogt", b.abs(x), b.const(LIMIT[format_of(b).name]))
        return b.if_any(large, lambda: out_of_line(b, name + "_large", slow, x), fast)

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
    return b.copysign(b.fma(quarters, b.const(high), b.fma(quarters, b.const(low), p)), sign)


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

