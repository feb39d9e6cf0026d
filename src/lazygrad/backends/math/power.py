"""pow, cbrt and hypot, for float32 and float64 vectors.

pow(x, y) = 2**(y log2 x): in float64 for float32 where the builder widens; else the logarithm has two parts, made of
products that are exact because their factors are cut to half of their bits.
"""

from __future__ import annotations

from .base import INF, NAN, clamp, format_of, high_half, poly, round_to_integer, scale
from .builder import Builder
from .exp import log_reduced


def _pow_core_short(b: Builder, x: str, y: str) -> str:
    """x**y for positive finite x, in float64 to about 2**-34: enough for a float32 result."""
    e, u, _ = log_reduced(b, x, False)
    s = b.div(u, b.xadd(u, b.const(2.0)))
    z = b.mul(s, s)
    log2 = b.fma(b.fma(b.mul(s, z), poly(b, z, "LOG_RATIO", "mid"), b.xadd(s, s)), b.const(1.4426950408889634), e)
    t = clamp(b, b.mul(clamp(b, y, -(2.0**80), 2.0**80), log2), -1000.0, 1000.0)
    n, bits = round_to_integer(b, t, 1.0)
    r = b.xsub(t, n)
    return scale(b, b.fma(r, poly(b, r, "EXP2", "mid"), b.const(1.0)), n, bits)


# 2/(3 ln 2) in two parts, the first as short as a high half; and the largest exponent that `scale` takes
THIRDS = {"f32": (0.961669921875, 0.0001267720509756049), "f64": (0.9617966860532761, 7.872699542894897e-09)}
REACH = {"f32": 250.0, "f64": 1100.0}


def _pow_core(b: Builder, x: str, y: str) -> str:
    """x**y for positive finite x: log m = (2/3) s (3 + s² + 3/2 s⁴ P), s = f/(2 + f), in two parts."""
    (scale_high, scale_low), reach = THIRDS[format_of(b).name], REACH[format_of(b).name]
    e, f, _ = log_reduced(b, x, False)
    two, three = b.const(2.0), b.const(3.0)
    d = b.xadd(two, f)
    inverse = b.div(b.const(1.0), d)
    s = b.mul(f, inverse)
    s_high = high_half(b, s)
    d_high = high_half(b, d)
    d_low = b.xsub(f, b.xsub(d_high, two))
    s_low = b.mul(b.xsub(b.xsub(f, b.xmul(s_high, d_high)), b.xmul(s_high, d_low)), inverse)
    square = b.xmul(s_high, s_high)                                             # exact
    z = b.mul(s, s)
    tail = b.fma(b.mul(b.mul(z, z), b.const(1.5)), poly(b, z, "LOG_RATIO_TAIL"), b.mul(s_low, b.xadd(s_high, s)))
    t_high = high_half(b, b.xadd(b.xadd(three, square), tail))
    t_low = b.xsub(tail, b.xsub(b.xsub(t_high, three), square))
    # (s_high + s_low) (t_high + t_low), then times 2/(3 ln 2)
    u = b.xmul(s_high, t_high)
    v = b.fma(s_low, t_high, b.mul(t_low, s))
    p_high = high_half(b, b.xadd(u, v))
    p_low = b.xsub(v, b.xsub(p_high, u))
    l_high = b.xmul(p_high, b.const(scale_high))                                # exact
    l_low = b.fma(p_low, b.const(scale_high + scale_low), b.xmul(p_high, b.const(scale_low)))
    log_high = high_half(b, b.xadd(b.xadd(l_high, l_low), e))
    log_low = b.xsub(l_low, b.xsub(b.xsub(log_high, e), l_high))
    # y times the logarithm
    y = clamp(b, y, -(2.0**80), 2.0**80)
    y_high = high_half(b, y)
    q = b.xmul(y_high, log_high)
    q_low = b.fma(b.xsub(y, y_high), log_high, b.mul(y, log_low))
    total = b.xadd(q, q_low)
    outside = b.cmp("ogt", b.abs(total), b.const(reach))
    q = b.select(outside, clamp(b, total, -reach, reach), q)
    q_low = b.select(outside, b.const(0.0), q_low)
    n, bits = round_to_integer(b, b.xadd(q, q_low), 1.0)
    r = b.xadd(b.xsub(q, n), q_low)
    return scale(b, b.fma(r, poly(b, r, "EXP2"), b.const(1.0)), n, bits)


def pow(b: Builder, x: str, y: str) -> str:
    """x**y with the special values of IEEE 754's pow."""
    def core(b: Builder, a: str, y: str) -> str:
        if b.single and b.widens:
            return b.in_double(lambda d, *xs: d.out_of_line("pow_short", _pow_core_short, *xs), a, y)
        return _pow_core(b, a, y)

    zero, one, inf = b.const(0.0), b.const(1.0), b.const(INF)
    a = b.abs(x)
    whole = b.cmp("oeq", b.floor(y), y)
    half = b.mul(y, b.const(0.5))
    odd = b.mask_and(whole, b.cmp("une", b.floor(half), half))
    a_zero, a_inf = b.cmp("oeq", a, zero), b.cmp("oeq", a, inf)
    r = core(b, b.select(b.mask_or(a_zero, a_inf), one, a), y)
    y_negative = b.cmp("olt", y, zero)
    r = b.select(a_inf, b.select(y_negative, zero, inf), b.select(a_zero, b.select(y_negative, inf, zero), r))
    negative = b.icmp("slt", b.to_int(x), b.iconst(0))
    r = b.select(b.mask_and(negative, odd), b.neg(r), r)
    below = b.mask_and(b.cmp("olt", x, zero), b.mask_not(b.mask_or(whole, a_inf)))
    r = b.select(b.mask_or(below, b.cmp("uno", x, y)), b.const(NAN), r)
    return b.select(b.mask_or(b.cmp("oeq", y, zero), b.cmp("oeq", x, one)), one, r)


def cbrt(b: Builder, x: str) -> str:
    """|x| = w 2**(3k), 1 <= w < 8; z = w**(-1/3) by Newton from a polynomial; y = w z² and one correction."""
    f = format_of(b)
    a = b.abs(x)
    tiny, up = b.cmp("olt", a, b.const(f.smallest)), 3 * (f.fraction // 3 + 1)
    bits = b.to_int(b.select(tiny, b.mul(a, b.const(2.0**up)), a))
    biased = b.lshr(bits, b.iconst(f.fraction))
    m = b.to_float(b.ior(b.iand(bits, b.iconst((1 << f.fraction) - 1)), b.iconst(f.bias << f.fraction)))
    e = b.xsub(b.to_float(b.ior(biased, b.iconst((f.bias + f.fraction) << f.fraction))),
               b.const(2.0**f.fraction + f.bias))
    third = b.xsub(b.mul(e, b.const(1 / 3)), b.const(1 / 3))                    # its nearest integer is floor(e/3)
    k, k_bits = round_to_integer(b, third, 1.0)
    rest = b.xsub(e, b.mul(k, b.const(3.0)))                                    # 0, 1 or 2
    first, second = b.cmp("oeq", rest, b.const(1.0)), b.cmp("oeq", rest, b.const(2.0))

    def pick(values: tuple[float, float, float]) -> str:
        return b.select(second, b.const(values[2]), b.select(first, b.const(values[1]), b.const(values[0])))

    w = b.mul(m, pick((1.0, 2.0, 4.0)))
    z = b.mul(poly(b, m, "CBRT"), pick((1.0, 2.0 ** (-1 / 3), 2.0 ** (-2 / 3))))
    one, third_ = b.const(1.0), b.const(1 / 3)
    for _ in range(1 if b.single else 2):
        z = b.fma(b.mul(z, third_), b.fma(b.mul(b.neg(w), z), b.mul(z, z), one), z)
    z2 = b.mul(z, z)
    y = b.mul(w, z2)
    y = b.fma(b.fma(b.neg(b.mul(y, y)), y, w), b.mul(z2, third_), y)
    k_bits = b.isub(k_bits, b.iselect(tiny, b.iconst(up // 3), b.iconst(0)))
    r = b.copysign(b.to_float(b.iadd(b.to_int(y), b.shl(k_bits, b.iconst(f.fraction)))), x)
    regular = b.mask_and(b.cmp("ogt", a, b.const(0.0)), b.cmp("olt", a, b.const(INF)))
    return b.select(regular, r, x)


def hypot(b: Builder, x: str, y: str) -> str:
    """sqrt(x² + y²), both scaled by a power of two when a square would leave the range."""
    inf, one = b.const(INF), b.const(1.0)
    x, y = b.abs(x), b.abs(y)
    largest = b.select(b.cmp("ogt", x, y), x, y)
    far = format_of(b).bias // 2 - 3.0
    shift = 2.0 ** (format_of(b).bias * 0.8 // 1)
    big = b.cmp("ogt", largest, b.const(2.0**far))
    small = b.cmp("olt", largest, b.const(2.0**-far))
    down = b.select(big, b.const(1 / shift), b.select(small, b.const(shift), one))
    up = b.select(big, b.const(shift), b.select(small, b.const(1 / shift), one))
    u, v = b.mul(x, down), b.mul(y, down)
    r = b.mul(b.sqrt(b.fma(u, u, b.mul(v, v))), up)
    return b.select(b.mask_or(b.cmp("oeq", x, inf), b.cmp("oeq", y, inf)), inf, r)


