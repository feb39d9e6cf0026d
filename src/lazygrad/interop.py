"""NumPy's functions on tensors: `np.sin(x)`, `array * x`, `np.concatenate([x, y])` stay lazy and differentiable.

A NumPy function maps to the function of the same name here (or the name in the table); what has none is a TypeError, so that
nothing is computed by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = {"true_divide": "divide", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
         "arctan2": "atan2", "arctanh": "atanh", "absolute": "abs", "power": "pow", "float_power": "pow", "invert": "bitwise_invert",
         "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "conjugate": "conj", "concatenate": "concat",
         "rint": "round", "around": "round", "amax": "max", "amin": "min", "transpose": "permute_dims"}
REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any"}


def lookup(name: str, module: str = "") -> Callable | None:
    """The function here that means NumPy's `name`; or SciPy's, whose special functions are NumPy's ufuncs too."""
    import lazygrad
    space: Any = lazygrad
    part = module.rpartition(".")[2]
    if part in ("linalg", "fft"):
        space = getattr(lazygrad, part, lazygrad)
    for candidate in (name, NAMES.get(name, "")):
        found = getattr(space, candidate, None) if candidate else None
        if callable(found) and not isinstance(found, type):
            return found
    return getattr(lazygrad.special, name, None) if space is lazygrad and not hasattr(np, name) else None


def ufunc_call(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    """`Tensor.__array_ufunc__`."""
    if method == "__call__":
        found = lookup(ufunc.__name__)
        dtype = kwargs.pop("dtype", None)
        if found is None or any(v is not None for v in kwargs.values()):
            return NotImplemented
        out = found(*inputs)
        return out if dtype is None else out.astype(dtype)
    if method == "reduce" and ufunc.__name__ in REDUCTIONS:
        found = lookup(REDUCTIONS[ufunc.__name__])
        options = {"axis": 0, **{k: v for k, v in kwargs.items() if v is not None or k == "axis"}}
        return NotImplemented if found is None else found(*inputs, **options)
    return NotImplemented


def function_call(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`Tensor.__array_function__`."""
    found = lookup(func.__name__, getattr(func, "__module__", "") or "")
    if found is None:
        return NotImplemented
    if func.__name__ == "transpose" and len(args) < 2 and "axes" not in kwargs:
        return args[0].T
    if kwargs.get("out", 0) is None:
        kwargs = {k: v for k, v in kwargs.items() if k != "out"}
    return found(*args, **kwargs)
