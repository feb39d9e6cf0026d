"""The vector functions: FUNCTIONS[name](b, *xs) writes name(*xs) for float32 (float16) or float64, scalars or vectors.

Values are NumPy's and SciPy's for every special argument; docs/accuracy.md lists the errors measured. Long ones
become functions of the module, called with whole vectors, so that a kernel that uses one twice holds it once.

>>> sorted(FUNCTIONS)[:4]
['acos', 'acosh', 'asin', 'asinh']
"""

from __future__ import annotations

from collections.abc import Callable

from . import exp, power, special, trig
from .builder import Builder

INLINE: dict[str, Callable[..., str]] = {
    "exp": exp.exp, "exp2": exp.exp2, "expm1": exp.expm1, "sigmoid": exp.sigmoid,
    "log": exp.log, "log2": exp.log2, "log10": exp.log10, "log1p": exp.log1p,
    "tanh": exp.tanh, "sinh": exp.sinh, "cosh": exp.cosh,
    "sin": trig.sin, "cos": trig.cos, "tan": trig.tan,
    "asin": trig.asin, "acos": trig.acos, "atan": trig.atan,
    "erf": special.erf, "ndtr": special.ndtr, "hypot": power.hypot,
}
OUT_OF_LINE: dict[str, Callable[..., str]] = {
    "asinh": exp.asinh, "acosh": exp.acosh, "atanh": exp.atanh, "atan2": trig.atan2,
    "erfc": special.erfc, "lgamma": special.lgamma, "digamma": special.digamma,
    "pow": power.pow, "cbrt": power.cbrt,
}


def shared(name: str, f: Callable[..., str]) -> Callable[..., str]:
    """f as an out-of-line function."""
    def call(b: Builder, *xs: str) -> str:
        return b.out_of_line(name, f, *xs)
    return call


FUNCTIONS: dict[str, Callable[..., str]] = INLINE | {name: shared(name, f) for name, f in OUT_OF_LINE.items()}
