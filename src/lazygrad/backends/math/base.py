"""What the functions share: the two float formats, polynomials, scaling by powers of two.

A function here takes a Builder `b` first and names of values after it, and returns a name. Steps that must be exact use
`xadd`, `xsub`, `xmul` or factors short enough that their products are exact with and without a fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .builder import Builder
from .coefficients import COEFFICIENTS

INF, NAN = float("inf"), float("nan")
LN2, LOG2E = 0.6931471805599453, 1.4426950408889634


@dataclass(frozen=True)
class Format:
    """The numbers that differ between float32 and float64."""

    name: str                  # the key of its coefficients
    fraction: int              # stored bits of the fraction
    bias: int
    smallest: float            # the least normal number
    ln2_high: float            # ln 2 to so few bits that n * ln2_high is exact for every exponent n
    ln2_low: float
    exp_high: float            # exp overflows above, and is 0 below
    exp_low: float
    half_bits: int             # low bits to clear so that a product of two such numbers is exact
    root_half: int             # the bits of sqrt(1/2)


F32 = Format("f32", 23, 127, 2.0**-126, 0.693359375, -2.1219444005469057e-04, 89.5, -104.5, 12, 0x3F3504F3)
F64 = Format("f64", 52, 1023, 2.0**-1022, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 711.0, -746.5, 27,
             0x3FE6A09E667F3BCD)


def format_of(b: Builder) -> Format:
    return F32 if b.single else F64


def poly(b: Builder, x: str, name: str, precision: str = "") -> str:
    """The fitted polynomial `name` at x."""
    return evaluate(b, x, COEFFICIENTS[name][precision or format_of(b).name])


def evaluate(b: Builder, x: str, coefficients: Sequence[float]) -> str:
    """c0 + c1 x + c2 x² + ...: the first two steps by Horner, which loses least; of the rest pairs
    (c2 + c3 x) + x² (c4 + c5 x) (Estrin), which shortens the chain of dependent steps."""
    if len(coefficients) <= 6:
        return b.poly(x, coefficients[::-1])
    terms, power = [b.const(c) for c in coefficients[2:]], x
    while len(terms) > 1:
        terms = [b.fma(terms[i + 1], power, terms[i]) if i + 1 < len(terms) else terms[i]
                 for i in range(0, len(terms), 2)]
        if len(terms) > 1:
            power = b.mul(power, power)
    return b.fma(b.fma(terms[0], x, b.const(coefficients[1])), x, b.const(coefficients[0]))


def clamp(b: Builder, x: str, low: float | None, high: float | None) -> str:
    """x within [low, high]; NaN stays NaN."""
    if high is not None:
        x = b.select(b.cmp("ogt", x, b.const(high)), b.const(high), x)
    if low is not None:
        x = b.select(b.cmp("olt", x, b.const(low)), b.const(low), x)
    return x


def high_half(b: Builder, x: str) -> str:
    """x with so many low bits cleared that the product of two such numbers is exact."""
    f = format_of(b)
    return b.to_float(b.iand(b.to_int(x), b.iconst((1 << b.bits) - (1 << f.half_bits))))


def round_to_integer(b: Builder, x: str, factor: float) -> tuple[str, str]:
    """n = the integer nearest to x * factor, as a float, and an integer whose low bits are n's."""
    n, t = b.nearest(x, factor)
    return n, b.nearest_bits(t)


def power_of_two(b: Builder, n: str) -> str:
    """2**n from the low bits of the integer n (which must give a normal number)."""
    f = format_of(b)
    return b.to_float(b.shl(b.iadd(n, b.iconst(f.bias)), b.iconst(f.fraction)))


def scale(b: Builder, p: str, n: str, bits: str, shift: int = 0) -> str:
    """p * 2**(n + shift) for n, bits from `round_to_integer`, in two steps: every result rounds once."""
    half = b.nearest_integer(n, 0.5)
    rest = b.isub(bits, half)
    if shift:
        rest = b.iadd(rest, b.iconst(shift))
    return b.mul(b.mul(p, power_of_two(b, half)), power_of_two(b, rest))
