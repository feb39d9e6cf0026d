"""The busiest functions for float32 vectors, in few instructions: exp, log, log1p, tanh, sigmoid.

They compute what math_exp.py computes for float64, with the tricks that 24 bits allow: polynomials of pairs, powers
of two that come out of the rounding ready biased, exponents that are subtracted as integers, ln 2 in one fused step.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import F32, INF, LN2, LOG2E, clamp
from .builder import Builder
from .coefficients import COEFFICIENTS

UNIT = 1 << F32.fraction                # one step of the exponent, in the bits of a float32
THREE_QUARTERS = 0x3F400000             # the bits of 3/4


def by_pairs(b: Builder, x: str, x2: str, coefficients: Sequence[float]) -> str:
    """c0 + c1 x + c2 x² + ... as a polynomial in x2 = x² of pairs c0 + c1 x: half as long a chain as Horner's."""
    pairs = [b.poly(x, coefficients[k:k + 2][::-1]) for k in range(0, len(coefficients), 2)]
    total = pairs[-1]
    for pair in pairs[-2::-1]:
        total = b.fma(total, x2, pair)
    return total


# ---- exponentials
def exp_reduced(b: Builder, x: str, bias: float) -> tuple[str, str]:
    """exp(r) and integers whose low 9 bits are n + bias (0 <= n + bias < 512), where x = n ln 2 + r."""
    n, t = b.nearest(x, LOG2E, bias)
    r = b.fma(n, b.const(-F32.ln2_low), b.xfma(n, b.const(-F32.ln2_high), x))
    r2 = b.mul(r, r)
    return b.xadd(b.fma(r2, by_pairs(b, r, r2, COEFFICIENTS["EXP"]["f32"]), r), b.const(1.0)), b.nearest_bits(t)


def exp(b: Builder, x: str, shift: int = 0, high: float | None = F32.exp_high) -> str:
    """exp(x) * 2**shift; `high` is None where x is known to be within the range. 2**n is applied in two halves, neither of
    which is a denormal or infinity. What is 0 is not computed: results too small for a float cost 150 cycles on some CPUs."""
    dead, zero = b.cmp("olt", x, b.const(F32.exp_low)), b.const(0.0)
    p, n = exp_reduced(b, b.select(dead, zero, clamp(b, x, None, high)), 2.0 * F32.bias + shift)
    half, place = b.lshr(n, b.iconst(1)), b.iconst(F32.fraction)
    first, second = b.to_float(b.shl(half, place)), b.to_float(b.shl(b.isub(n, half), place))
    return b.select(dead, zero, b.mul(b.mul(p, first), second))


def exp_in_range(b: Builder, x: str) -> str:
    """exp of an x whose result is a normal number (or NaN): scaled in one step."""
    p, n = exp_reduced(b, x, F32.bias)
    return b.mul(p, b.to_float(b.shl(n, b.iconst(F32.fraction))))


def sigmoid(b: Builder, x: str) -> str:
    """t = exp(-|x|); 1/(1 + t) or t/(1 + t)."""
    t = exp(b, b.neg(b.abs(x)), high=None)
    one = b.const(1.0)
    return b.div(b.select(negative(b, x), t, one), b.xadd(t, one))


def tanh(b: Builder, x: str) -> str:
    """w/(w + 3/4) with w = 3/4 expm1(2|x|)/2 = 2**n q + 3/4 (2**n - 1)/2: the factor 3/4 keeps w and w + 3/4 away from the
    start of a binade where the result ends one, which would double their errors.

    |x| = n ln 2 / 2 + r: the errors of a large w cancel, so ln 2 needs only one part. From 9.02 on the result is 1.
    """
    a = clamp(b, b.abs(x), None, 40.0)
    n, t = b.nearest(a, 2 * LOG2E, F32.bias)
    r = b.fma(n, b.const(-LN2 / 2), a)
    scaled = [0.75 * c * 2.0 ** (k + 1) for k, c in enumerate(COEFFICIENTS["EXP"]["f32"])]
    r2 = b.mul(r, r)
    q = b.fma(r, b.const(0.75), b.xmul(r2, by_pairs(b, r, r2, scaled)))
    s = b.to_float(b.shl(b.nearest_bits(t), b.iconst(F32.fraction)))
    w = b.fma(s, q, b.xfma(s, b.const(0.375), b.const(-0.375)))
    return b.copysign(b.div(w, b.xadd(w, b.const(0.75))), x)


# ---- logarithms
def negative(b: Builder, x: str) -> str:
    """The mask of x with the sign bit: a blend takes it as it is, without a comparison."""
    return b.icmp("slt", b.to_int(x), b.iconst(0))


def split(b: Builder, bits: str) -> tuple[str, str]:
    """-k 2**23 as an integer and as a float, where 2**k m are the floats of these bits and m is in [3/4, 3/2).

    The negative is taken so that what is made of k = 0 adds nothing, not even to -0.
    """
    down = b.iand(b.isub(b.iconst(THREE_QUARTERS + UNIT - 1), bits), b.iconst((1 << 32) - UNIT))
    return down, b.int_to_float(down)


def log_joined(b: Builder, f: str, k: str) -> str:
    """log(1 + f) + k ln 2, for `k` of `split`."""
    f2 = b.mul(f, f)
    t = b.fma(f2, by_pairs(b, f, f2, (-0.5, *COEFFICIENTS["LOG_WIDE"]["f32"])), f)
    return b.fma(k, b.const(-LN2 / UNIT), t)


def log_special(b: Builder, x: str, r: str) -> str:
    """log's values at inf, 0, -0, below 0 and at NaN; r elsewhere. By integers: they leave the busy float units alone."""
    bits = b.to_int(x)
    r = b.select(b.icmp("slt", bits, b.iconst(0x7F800000)), r, x)
    r = b.to_float(b.ior(b.to_int(r), b.ashr(bits, b.iconst(31))))
    return b.select(b.icmp("eq", b.iadd(bits, bits), b.iconst(0)), b.const(-INF), r)


def log(b: Builder, x: str) -> str:
    tiny, up = b.cmp("olt", x, b.const(F32.smallest)), 25
    bits = b.to_int(b.select(tiny, b.mul(x, b.const(2.0**up)), x))
    down, k = split(b, bits)
    k = b.xadd(k, b.select(tiny, b.const(float(up * UNIT)), b.const(0.0)))
    f = b.xsub(b.to_float(b.iadd(bits, down)), b.const(1.0))
    return log_special(b, x, log_joined(b, f, k))


def log1p(b: Builder, x: str) -> str:
    """k is that of the rounded 1 + x; f = x 2**-k - (1 - 2**-k) is then rounded once, and -0 stays."""
    u = b.xadd(x, b.const(1.0))
    down, k = split(b, b.to_int(u))
    scale = b.to_float(b.iadd(b.iconst(0xC0800000), down))                  # -4 2**-k: normal for every k
    f = b.xsub(b.to_float(b.iadd(b.to_int(x), down)), b.fma(scale, b.const(0.25), b.const(1.0)))
    return log_special(b, u, log_joined(b, f, k))
