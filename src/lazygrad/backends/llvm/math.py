"""The vector functions: FUNCTIONS[name](b, *xs) writes name(*xs) for float32 (float16) or float64, scalars or vectors.

Values are NumPy's and SciPy's for every special argument; docs/accuracy.md lists the errors measured. Long ones
become functions of the module, called with whole vectors, so that a kernel that uses one twice holds it once.

>>> sorted(FUNCTIONS)[:4]
['acos', 'acosh', 'asin', 'asinh']
"""

from __future__ import annotations

from collections.abc import Callable

from . import math_exp, math_power, math_special, math_trig
from .math_base import out_of_line
from .text import Builder

INLINE: dict[str, Callable[..., str]] = {
    "exp": math_exp.exp, "exp2": math_exp.exp2, "expm1": math_exp.expm1, "sigmoid": math_exp.sigmoid,
    "log": math_exp.log, "log2": math_exp.log2, "log10": math_exp.log10, "log1p": math_exp.log1p,
    "tanh": math_exp.tanh, "sinh": math_exp.sinh, "cosh": math_exp.cosh,
    "sin": math_trig.sin, "cos": math_trig.cos, "tan": math_trig.tan,
    "asin": math_trig.asin, "acos": math_trig.acos, "atan": math_trig.atan,
    "erf": math_special.erf, "hypot": math_power.hypot,
}
OUT_OF_LINE: dict[str, Callable[..., str]] = {
    "asinh": math_exp.asinh, "acosh": math_exp.acosh, "atanh": math_exp.atanh, "atan2": math_trig.atan2,
    "erfc": math_special.erfc, "lgamma": math_special.lgamma, "digamma": math_special.digamma,
    "pow": math_power.pow, "cbrt": math_power.cbrt,
}


def shared(name: str, f: Callable[..., str]) -> Callable[..., str]:
    """f as an out-of-line function."""
    def call(b: Builder, *xs: str) -> str:
        return out_of_line(b, name, f, *xs)
    return call


FUNCTIONS: dict[str, Callable[..., str]] = INLINE | {name: shared(name, f) for name, f in OUT_OF_LINE.items()}
