"""Numbers as WGSL text. In: Python numbers; out: expressions of one concrete type that naga and Tint accept."""

from __future__ import annotations

import math
import struct

import numpy as np

HELPERS = {
    "bits_f32": "fn bits_f32(bits: u32) -> f32 {\n  let b = bits;\n  return bitcast<f32>(b);\n}",
    "bits_f64": "fn bits_f64(bits: u64) -> f64 {\n  let b = bits;\n  return bitcast<f64>(b);\n}",
}


def float_bits(value: float, bits: int) -> int:
    """The bits of a float rounded to float32 or float64."""
    if bits == 64:
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    with np.errstate(over="ignore", under="ignore"):
        return int(np.float32(value).view(np.uint32))


def float_literal(value: float, bits: int) -> str:
    """A float32 or float64 number as an expression; infinities, NaN, -0 and denormal numbers are calls of `bits_f32` or
    `bits_f64`, because constants of them are rejected or folded.

    >>> float_literal(0.1, 32), float_literal(1e300, 64), float_literal(-2.0, 32), float_literal(float("inf"), 32)
    ('0.1f', '1e+300lf', '(-2.0f)', 'bits_f32(0x7f800000u)')
    """
    value = float(value)
    pattern = float_bits(value, bits)
    fraction, high = (23, 0xFF) if bits == 32 else (52, 0x7FF)
    exponent = pattern >> fraction & high
    if math.isnan(value):
        pattern = high << fraction | 1 << fraction - 1
    elif exponent not in (0, high) or pattern == 0:
        # the shortest text of the largest float32 is above it, which Tint refuses
        short = bits == 32 and abs(value) < 3e38
        text = (str(np.float32(value)) if short else repr(float(np.float32(value)) if bits == 32 else value)) + ("f" if bits == 32 else "lf")
        return f"({text})" if value < 0 else text
    return f"bits_f32(0x{pattern:08x}u)" if bits == 32 else f"bits_f64(0x{pattern:016x}lu)"


def integer_literal(value: int, kind: str) -> str:
    """An integer of type i32, u32, i64 or u64 as an expression; the least signed number is a difference.

    >>> integer_literal(-3, "i32"), integer_literal(-2147483648, "i32"), integer_literal(7, "u64")
    ('(-3i)', '(-2147483647i - 1i)', '7lu')
    """
    end = {"i32": "i", "u32": "u", "i64": "li", "u64": "lu"}[kind]
    if value == -(1 << int(kind[1:]) - 1):
        return f"({value + 1}{end} - 1{end})"
    return f"({value}{end})" if value < 0 else f"{value}{end}"
