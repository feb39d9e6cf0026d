"""lazygrad.numpy.linalg: the functions of `lazygrad.linalg` with the arguments of `numpy.linalg`, in float64 by default.

>>> import lazygrad.numpy as np
>>> np.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).value
array([1., 1.])
"""

from __future__ import annotations

from typing import Any

import numpy.linalg as _theirs

from .names import function_for

__all__ = sorted([name for name in dir(_theirs) if not name.startswith("_")])


def __getattr__(name: str) -> Any:
    """A function by NumPy's name, made when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'lazygrad.numpy.linalg' has no attribute {name!r}")
    found = globals()[name] = function_for(getattr(_theirs, name))
    return found


def __dir__() -> list[str]:
    return __all__
