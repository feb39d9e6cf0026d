"""Exponentials, logarithms and the hyperbolic functions made of them, for float32 and float64 vectors.

exp: x = n ln 2 + r, a polynomial in r, scaling by 2**n. log: x = 2**e m with m in [sqrt 1/2, sqrt 2), a polynomial in
f = m - 1 (float32) or in s = f/(2 + f) (float64). What float32 does in fewer instructions stands in single.py.
"""

from __future__ import annotations

from . import single
from .base import (
    INF,
    LN2,
    LOG2E,
    NAN,
    clamp,
    format_of,
    high_half,
    poly,
    power_of_two,
    round_to_integer,
    scale,
)
from .builder import Builder


# ---- exponentials
def reduce_exp(b: Builder, x: str) -> tuple[str, str, str, str]:
    """n, its bits, and r, v with expm1(x - n ln 2) = r + v."""
    f = format_of(b)
    n, bits = round_to_integer(b, x, LOG2E)
    r = b.fma(n, b.const(-f.ln2_low), b.xfma(n, b.const(-f.ln2_high), x))
    return n, bits, r, b.mul(b.mul(r, r), poly(b, r, "EXP"))


def exp(b: Builder, x: str, shift: int = 0) -> str:
    """exp(x) * 2**shift."""
    if b.single:
        return single.exp(b, x, shift)
    f = format_of(b)
    dead, zero = b.cmp("olt", x, b.const(f.exp_low)), b.const(0.0)         # as in single.exp
    n, bits, r, v = reduce_exp(b, b.select(dead, zero, clamp(b, x, None, f.exp_high)))
    return b.select(dead, zero, scale(b, b.xadd(b.add(r, v), b.const(1.0)), n, bits, shift))


def exp_in_range(b: Builder, x: str) -> str:
    """exp of an x whose result is a normal number (or NaN): scaled in one step."""
    if b.single:
        return single.exp_in_range(b, x)
    _, bits, r, v = reduce_exp(b, x)
    return b.mul(b.xadd(b.add(r, v), b.const(1.0)), power_of_two(b, bits))


def exp2(b: Builder, x: str) -> str:
    f = format_of(b)
    x = clamp(b, x, -f.bias - f.fraction - 2.0, f.bias + 2.0)
    n, bits = round_to_integer(b, x, 1.0)
    r = b.xsub(x, n)
    return scale(b, b.fma(r, poly(b, r, "EXP2"), b.const(1.0)), n, bits)


def expm1(b: Builder, x: str) -> str:
    """2 (2**(n-1) q + (2**(n-1) - 1/2)), where q = expm1(r); halved, because 2**n itself may overflow."""
    f = format_of(b)
    _, bits, r, v = reduce_exp(b, clamp(b, x, -2.0 * f.fraction, f.bias * LN2 + 0.8))
    s = power_of_two(b, b.isub(bits, b.iconst(1)))
    q = b.xadd(r, v)
    y = b.fma(s, b.xsub(v, b.xsub(q, r)), b.xfma(s, q, b.xsub(s, b.const(0.5))))
    return b.select(b.cmp("olt", b.abs(x), b.const(2.0 ** -f.fraction / 4)), x, b.xadd(y, y))


def sigmoid(b: Builder, x: str) -> str:
    """t = exp(-|x|); 1/(1 + t) or t/(1 + t)."""
    if b.single:
        return single.sigmoid(b, x)
    t, one = exp(b, b.neg(b.abs(x))), b.const(1.0)
    return b.div(b.select(b.cmp("olt", x, b.const(0.0)), t, one), b.xadd(t, one))


# ---- logarithms
def log_parts(b: Builder, x: str, extra: str = "", tail: bool = True) -> tuple[str, str, str]:
    """e (a float), u and t with log(x + extra) = e ln 2 + u + t, for a normal x > 0; without `tail` t is left out, and
    x = 2**e (1 + u)."""
    f = format_of(b)
    shifted = b.iadd(b.to_int(x), b.iconst((f.bias << f.fraction) - f.root_half))
    biased = b.lshr(shifted, b.iconst(f.fraction))
    m = b.to_float(b.iadd(b.iand(shifted, b.iconst((1 << f.fraction) - 1)), b.iconst(f.root_half)))
    # the exponent becomes a float by standing in the low bits of 2**fraction
    two = 2.0 ** f.fraction
    e = b.xsub(b.to_float(b.ior(biased, b.iconst((f.bias + f.fraction) << f.fraction))), b.const(two + f.bias))
    u = b.xsub(m, b.const(1.0))
    if extra:
        inverse = b.shl(b.isub(b.iconst(2 * f.bias), biased), b.iconst(f.fraction))
        inverse = b.to_float(b.iselect(b.icmp("slt", inverse, b.iconst(0)), b.iconst(0), inverse))
        extra = b.mul(extra, inverse)
        extra = b.fma(b.neg(extra), u, extra)                                   # extra/(1 + u), to first order
    if not tail:
        return e, u, ""
    u2 = b.mul(u, u)
    if f.name == "f32":
        t = b.fma(u, poly(b, u, "LOG"), b.const(-0.5))
        return e, u, b.fma(u2, t, extra) if extra else b.mul(u2, t)
    s = b.div(u, b.xadd(u, b.const(2.0)))
    z = b.mul(s, s)
    half = b.mul(u2, b.const(0.5))
    t = b.sub(b.mul(s, b.fma(z, poly(b, z, "LOG_RATIO"), half)), half)
    return e, u, b.add(t, extra) if extra else t


def log_sum(b: Builder, e: str, u: str, t: str) -> str:
    """e ln 2 + u + t."""
    f = format_of(b)
    return b.fma(e, b.const(f.ln2_high), b.xadd(u, b.fma(e, b.const(f.ln2_low), t)))


def log_special(b: Builder, x: str, r: str) -> str:
    """log's values at inf, 0, below 0 and at NaN; r elsewhere."""
    r = b.select(b.cmp("oeq", x, b.const(INF)), x, r)
    r = b.select(b.cmp("oeq", x, b.const(0.0)), b.const(-INF), r)
    return b.select(b.cmp("ult", x, b.const(0.0)), b.const(NAN), r)


def log_reduced(b: Builder, x: str, tail: bool = True) -> tuple[str, str, str]:
    """`log_parts` for denormal x too."""
    f = format_of(b)
    tiny, up = b.cmp("olt", x, b.const(f.smallest)), f.fraction + 2
    e, u, t = log_parts(b, b.select(tiny, b.mul(x, b.const(2.0**up)), x), tail=tail)
    return b.select(tiny, b.xsub(e, b.const(float(up))), e), u, t


def log(b: Builder, x: str) -> str:
    if b.single:
        return single.log(b, x)
    return log_special(b, x, log_sum(b, *log_reduced(b, x)))


def _log_of_base(b: Builder, x: str, one: tuple[float, float], ln: tuple[float, float]) -> str:
    """e * one + (u + t) * ln, both constants in two parts; e * one[0] is exact."""
    e, u, t = log_reduced(b, x)
    # high * ln[0] is exact: u is cut to its upper half, the rest goes to the low part
    high = high_half(b, u)
    low = b.fma(high, b.const(ln[1]), b.mul(b.xadd(b.xsub(u, high), t), b.const(ln[0] + ln[1])))
    if one[1]:
        low = b.fma(e, b.const(one[1]), low)
    product, base = b.mul(high, b.const(ln[0])), b.mul(e, b.const(one[0]))
    total = b.xadd(base, product)
    # |base| > |product| unless it is 0: what the addition lost
    lost = b.xsub(product, b.xsub(total, base))
    return log_special(b, x, b.xadd(total, b.xadd(lost, low)))


def log2(b: Builder, x: str) -> str:
    if b.single:
        return _log_of_base(b, x, (1.0, 0.0), (1.4423828125, 3.1222838896340733e-04))
    return _log_of_base(b, x, (1.0, 0.0), (1.4426950216293335, 1.9259629911266175e-08))


def log10(b: Builder, x: str) -> str:
    if b.single:
        return _log_of_base(b, x, (0.301025390625, 4.605038981195214e-06), (0.4342041015625, 9.038034075182765e-05))
    return _log_of_base(b, x, (0.30102999566395283, 2.8363394551044964e-14),
                        (0.4342944771051407, 4.798111141615973e-09))


def log_of_one_plus(b: Builder, x: str, low: str = "", twice: str = "") -> str:
    """log(1 + x + low), and ln 2 more where the mask `twice` holds; special values are those of log(1 + x)."""
    one = b.const(1.0)
    u = b.xadd(x, one)
    rest = b.select(b.cmp("ogt", x, one), b.xsub(one, b.xsub(u, x)), b.xsub(x, b.xsub(u, one)))
    e, f, t = log_parts(b, u, b.xadd(rest, low) if low else rest)
    if twice:
        e = b.select(twice, b.xadd(e, b.const(1.0)), e)
    return log_special(b, u, log_sum(b, e, f, t))


def log1p(b: Builder, x: str) -> str:
    if b.single:
        return single.log1p(b, x)
    return b.select(b.cmp("oeq", x, b.const(0.0)), x, log_of_one_plus(b, x))     # keeps -0


# ---- hyperbolic functions
def tanh(b: Builder, x: str) -> str:
    if b.single:
        return single.tanh(b, x)
    a = b.abs(x)
    s = b.mul(x, x)
    small = b.fma(b.mul(a, s), poly(b, s, "TANH"), a)
    t = exp_in_range(b, b.mul(clamp(b, a, None, 20.0), b.const(2.0)))
    large = b.xsub(b.const(1.0), b.div(b.const(2.0), b.xadd(t, b.const(1.0))))
    return b.copysign(b.select(b.cmp("olt", a, b.const(0.65)), small, large), x)


def sinh(b: Builder, x: str) -> str:
    """Odd polynomial below 1, else E - 1/(4 E) with E = exp|x| / 2."""
    a = b.abs(x)
    s = b.mul(x, x)
    small = b.fma(b.mul(x, s), poly(b, s, "SINH"), x)
    e = exp(b, a, -1)
    large = b.copysign(b.xsub(e, b.div(b.const(0.25), e)), x)
    return b.select(b.cmp("olt", a, b.const(1.0)), small, large)


def cosh(b: Builder, x: str) -> str:
    e = exp(b, b.abs(x), -1)
    return b.xadd(e, b.div(b.const(0.25), e))


def asinh(b: Builder, x: str) -> str:
    """log1p(|x| + x²/(1 + sqrt(1 + x²))), the sum in two parts; log 2|x| where x² + 1 is x²."""
    a = b.abs(x)
    huge = b.cmp("ogt", a, b.const(2.0 ** (format_of(b).fraction + 5)))
    v = b.select(huge, b.const(1.0), a)
    one, s = b.const(1.0), b.mul(v, v)
    t = b.div(s, b.xadd(b.sqrt(b.xadd(s, one)), one))
    high = b.xadd(v, t)
    low = b.xsub(t, b.xsub(high, v))
    r = log_of_one_plus(b, b.select(huge, a, high), b.select(huge, b.const(0.0), low), huge)
    return b.copysign(r, x)


def acosh(b: Builder, x: str) -> str:
    """log1p(t + sqrt(t (t + 2))), t = x - 1."""
    huge = b.cmp("ogt", x, b.const(2.0 ** (format_of(b).fraction + 5)))
    t = b.select(huge, b.const(1.0), b.xsub(x, b.const(1.0)))
    root = b.sqrt(b.fma(t, t, b.xadd(t, t)))
    first, second = b.select(b.cmp("ogt", t, root), t, root), b.select(b.cmp("ogt", t, root), root, t)
    high = b.xadd(first, second)
    low = b.xsub(second, b.xsub(high, first))
    r = log_of_one_plus(b, b.select(huge, x, high), b.select(huge, b.const(0.0), low), huge)
    return b.select(b.cmp("ult", x, b.const(1.0)), b.const(NAN), r)


def atanh(b: Builder, x: str) -> str:
    """Odd polynomial below 1/2, else log1p(2a/(1 - a))/2."""
    a = b.abs(x)
    s = b.mul(x, x)
    small = b.fma(b.mul(x, s), poly(b, s, "ATANH"), x)
    large = b.mul(log_of_one_plus(b, b.div(b.xadd(a, a), b.xsub(b.const(1.0), a))), b.const(0.5))
    return b.select(b.cmp("olt", a, b.const(0.5)), small, b.copysign(large, x))
