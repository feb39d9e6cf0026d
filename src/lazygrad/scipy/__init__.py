"""lazygrad.scipy: functions under SciPy's import paths, with SciPy's arguments and float64 for Python's numbers.

>>> import lazygrad.scipy as scipy
>>> round(scipy.stats.norm.logpdf(0.0).item(), 4)
-0.9189
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["fft", "linalg", "signal", "special", "stats"]


def __getattr__(name: str) -> Any:
    """The modules, imported when they are first named."""
    if name not in __all__:
        raise AttributeError(f"module 'lazygrad.scipy' has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return __all__
