"""lazygrad.numpy.fft: the functions of `lazygrad.fft` with the arguments of `numpy.fft`, in float64 by default.

>>> import lazygrad.numpy as np
>>> np.fft.fft([1.0, 2.0]).value
array([ 3.+0.j, -1.+0.j])
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy.fft as _theirs

from .. import fft as _ours
from .names import function_for

__all__ = sorted([name for name in dir(_theirs) if not name.startswith("_")])


def __getattr__(name: str) -> Any:
    """A function by NumPy's name, made when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'lazygrad.numpy.fft' has no attribute {name!r}")
    found = globals()[name] = frequencies(name) if name.endswith("fftfreq") else function_for(getattr(_theirs, name))
    return found


def frequencies(name: str) -> Callable[..., Any]:
    """`fftfreq` or `rfftfreq` in float64."""
    function = getattr(_ours, name)
    return functools.wraps(function)(lambda n, d=1.0, device=None: function(n, d, _theirs.fftfreq(1).dtype, device))


def __dir__() -> list[str]:
    return __all__
