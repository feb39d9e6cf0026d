"""The mathematical functions of WGSL shaders: FUNCTIONS[name](b, *xs) is the body of name(*xs), FAST[name] uses builtins.

The mathematics is that of `backends.math`. Nothing here computes in float64 for float32: most GPUs have it slow or not at
all.
"""

from __future__ import annotations

from collections.abc import Callable

from ..math import INLINE, OUT_OF_LINE
from .text import Builder

FUNCTIONS: dict[str, Callable[..., str]] = {**INLINE, **OUT_OF_LINE}


def _builtin(name: str) -> Callable[..., str]:
    return lambda b, *xs: b.call(name, *xs)


def _expression(text: str) -> Callable[..., str]:
    """`text` of x, with numbers in braces: "{1} / x" holds 1 in every lane."""
    def emit(b: Builder, x: str) -> str:
        parts = text.split("{")
        out = parts[0]
        for part in parts[1:]:
            number, rest = part.split("}", 1)
            out += b.const(float(number)) + rest
        return b.emit(out.replace("$", x))
    return emit


# float32 with the accuracy and the special values that the device gives
FAST: dict[str, Callable[..., str]] = {
    **{name: _builtin(name) for name in ("exp", "exp2", "log", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
                                         "sinh", "cosh", "asinh", "acosh", "atanh")},
    "log10": _expression("log2($) * {0.30102999566398120}"),
    "sigmoid": _expression("{1} / ({1} + exp(-$))"),
    # the builtin overflows to NaN on some devices
    "tanh": _expression("{1} - {2} / (exp(min({2} * $, {80})) + {1})"),
}
