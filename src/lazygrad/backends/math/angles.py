"""Angles of any size modulo pi/2 (Payne and Hanek), by integers as wide as the float; and the bits of 2/pi.

|x| = m 2**e. Of the bits of 2/pi those above weight 2**-(e - 1) give multiples of 4, those far below give nothing: three
words are enough.
"""

from __future__ import annotations

import functools

from .base import format_of, high_half
from .builder import Builder

# pi/2 in two parts, the first so short that its product with a high half is exact
HALF_PI = {"f32": (1.5703125, 0.00048382679489661926), "f64": (1.5707963109016418, 1.5893254773528196e-08)}


@functools.cache
def two_over_pi_words(size: int, count: int) -> list[int]:
    """`size` zero bits, then the bits of 2/pi, in words of `size` bits: `count` of them after the zero."""
    bits = size * count
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
    return [0] + [(value >> (bits - size * (k + 1))) & (1 << size) - 1 for k in range(count)]


def product(b: Builder, x: str, y: str) -> tuple[str, str]:
    """The high and the low word of the product of two words."""
    high = b.high_product(x, y)
    if high is not None:
        return high, b.imul(x, y)
    half, mask = b.iconst(b.bits // 2), b.iconst((1 << b.bits // 2) - 1)
    (x1, x0), (y1, y0) = ((b.lshr(v, half), b.iand(v, mask)) for v in (x, y))
    low, first, second = b.imul(x0, y0), b.imul(x1, y0), b.imul(x0, y1)
    middle = b.iadd(b.iadd(b.lshr(low, half), b.iand(first, mask)), b.iand(second, mask))
    high = b.iadd(b.iadd(b.imul(x1, y1), b.lshr(middle, half)), b.iadd(b.lshr(first, half), b.lshr(second, half)))
    return high, b.ior(b.iand(low, mask), b.shl(middle, half))


def sum_of(b: Builder, x: tuple[str, str], y: tuple[str, str]) -> tuple[str, str]:
    """Sums of two-word numbers, modulo 2**(2 bits)."""
    low = b.iadd(x[1], y[1])
    carried = b.iselect(b.icmp("ult", low, x[1]), b.iconst(1), b.iconst(0))
    return b.iadd(b.iadd(x[0], y[0]), carried), low


def two_floats(b: Builder, high: str, low: str) -> tuple[str, str]:
    """The fixed-point fraction high.low (below 1) as the sum of two floats."""
    half = b.bits // 2
    place, mask = b.iconst(half), b.iconst((1 << half) - 1)
    digits = [b.lshr(high, place), b.iand(high, mask), b.lshr(low, place), b.iand(low, mask)]
    one, two, three, four = (b.mul(b.int_to_float(d), b.const(2.0 ** (-half * (k + 1)))) for k, d in enumerate(digits))
    first = b.xadd(one, two)
    rest = b.xadd(b.xsub(two, b.xsub(first, one)), b.add(three, four))
    total = b.xadd(first, rest)
    return total, b.xsub(rest, b.xsub(total, first))


def reduce_by_words(b: Builder, x: str) -> tuple[str, str, str]:
    """r in two parts and n modulo 4 with x = n pi/2 + r, for finite |x| >= 2**16 (float64: 2**19)."""
    f, width = format_of(b), b.bits
    last = (f.bias - f.fraction - 2 + width) // width                   # the largest number of a first word
    bits = b.to_int(b.abs(x))
    fraction = b.ior(b.iand(bits, b.iconst((1 << f.fraction) - 1)), b.iconst(1 << f.fraction))
    # the place of weight 2**-(e - 1) in the bits of the words, the zero word included
    place = b.isub(b.lshr(bits, b.iconst(f.fraction)), b.iconst(f.bias + f.fraction + 2 - width))
    word, offset = b.lshr(place, b.iconst(width.bit_length() - 1)), b.iand(place, b.iconst(width - 1))
    # a barrel shifter over the words: no table is indexed
    row = [b.iconst(w) for w in two_over_pi_words(width, last + 3)]
    step = 1 << last.bit_length() - 1
    while step:
        taken = b.icmp("ne", b.iand(word, b.iconst(step)), b.iconst(0))
        row = [b.iselect(taken, row[k + step], row[k]) if k + step < len(row) else row[k]
               for k in range(min(len(row), 3 + step))]
        step >>= 1
    none, rest = b.icmp("eq", offset, b.iconst(0)), b.iand(b.isub(b.iconst(width), offset), b.iconst(width - 1))
    window = [b.ior(b.shl(row[k], offset), b.iselect(none, b.iconst(0), b.lshr(row[k + 1], rest))) for k in range(3)]
    # the upper two words of fraction * window, modulo 2**(3 width)
    total = sum_of(b, (b.imul(fraction, window[0]), b.iconst(0)), product(b, fraction, window[1]))
    top, middle = sum_of(b, total, (b.iconst(0), product(b, fraction, window[2])[0]))
    # n is in the two highest bits, rounded to nearest; what is below, a signed fraction, by sign and magnitude
    high = b.ior(b.shl(top, b.iconst(2)), b.lshr(middle, b.iconst(width - 2)))
    n = b.iadd(b.lshr(top, b.iconst(width - 2)), b.lshr(high, b.iconst(width - 1)))
    sign = b.ashr(high, b.iconst(width - 1))
    part, part_low = two_floats(b, b.ixor(high, sign), b.ixor(b.shl(middle, b.iconst(2)), sign))
    # times pi/2: the product of both high halves is exact
    upper = high_half(b, part)
    turn, turn_low = HALF_PI[f.name]
    first = b.xmul(upper, b.const(turn))
    second = b.fma(b.xadd(b.xsub(part, upper), part_low), b.const(turn), b.mul(part, b.const(turn_low)))
    r = b.xadd(first, second)
    low = b.xsub(second, b.xsub(r, first))
    negative = b.ashr(b.to_int(x), b.iconst(width - 1))
    flip = b.iand(b.ixor(sign, negative), b.iconst(1 << width - 1))
    n = b.isub(b.ixor(n, negative), negative)
    return b.to_float(b.ixor(b.to_int(r), flip)), b.to_float(b.ixor(b.to_int(low), flip)), n
