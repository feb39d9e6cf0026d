"""lazygrad.numpy: the functions here under NumPy's names, with NumPy's arguments and NumPy's default dtypes, float64 and complex128.

A program on NumPy, or on HIPS autograd's `autograd.numpy`, becomes lazy, compiled and differentiable by `import lazygrad.numpy as np`.
Arrays are tensors. What has no function here (files, printing, dates) is NumPy's own.

>>> import lazygrad.numpy as np
>>> from lazygrad import grad
>>> f = lambda x: np.sum(np.tanh(x) ** 2)
>>> grad(f)(np.array([0.0, 1.0])).value.round(4)
array([0.    , 0.6397])
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as _numpy

from ..tensor import Tensor as ndarray  # noqa: F401  (isinstance(x, np.ndarray) means a tensor)
from .made import MADE, SLICED
from .names import function_for

__all__ = sorted([name for name in dir(_numpy) if not name.startswith("_")])


def __getattr__(name: str) -> Any:
    """A function here by NumPy's name, made when it is first asked for; constants, dtypes and classes are NumPy's."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name in ("linalg", "fft", "random"):
        return importlib.import_module(f".{name}", __name__)
    if name in SLICED:
        found = SLICED[name]
    elif name in MADE:
        found = MADE[name]()
    else:
        theirs = getattr(_numpy, name, None)
        if theirs is None and name != "newaxis":
            raise AttributeError(f"module 'lazygrad.numpy' has no attribute {name!r}")
        found = function_for(theirs)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
