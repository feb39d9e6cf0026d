"""lazygrad.fft: discrete Fourier transforms under NumPy's names, with derivatives.

>>> import lazygrad as lg
>>> x = lg.tensor([1.0, 2.0, 3.0, 4.0])
>>> (abs(lg.fft.fft(x)) ** 2).sum().backward()               # n times the sum of x * x
>>> x.grad.value
array([ 8., 16., 24., 32.], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .functions import fft as _functions  # noqa: F401  (it fills the table)
from .functions.table import SPACES

__all__ = sorted(SPACES["fft"])


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use."""
    if name not in SPACES["fft"]:
        raise AttributeError(f"module 'lazygrad.fft' has no attribute {name!r}")
    found = globals()[name] = SPACES["fft"][name]
    return found


def __dir__() -> list[str]:
    return __all__
