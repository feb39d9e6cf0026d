"""NumPy's rule for Python's numbers where NumPy's own names are used: what they make alone is float64 or complex128.

In: a function here, a call of it. Out: its result. Beside an array a Python number keeps taking the array's dtype, as everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import LazygradError
from .functions import FUNCTIONS
from .graph import asarray
from .tensor import Tensor, adopt, graph_of, holds_tensors

SINGLE = (np.dtype("float32"), np.dtype("complex64"))
INEXACT = "fc"


def rows(v: Any) -> Any:
    """Nested lists of Python's numbers with floats in them as float64 arrays (one by one, if of unequal lengths); all else as it is."""
    if type(v) not in (list, tuple) or not v:
        return v
    stack, found = [v], False
    while stack:
        for u in stack.pop():
            if type(u) in (list, tuple):
                stack.append(u)
            elif type(u) in (float, complex):
                found = True
            elif type(u) not in (int, bool):
                return v
    if not found:
        return v
    try:
        return np.asarray(v)
    except ValueError:                         # of unequal lengths: several arrays
        return type(v)([rows(u) for u in v])


def leaves(v: Any) -> list[Any]:
    """v, or what its lists hold."""
    out, stack = [], [v]
    while stack:
        u = stack.pop()
        if type(u) in (list, tuple, dict):
            stack.extend(u.values() if type(u) is dict else u)
        else:
            out.append(u)
    return out


def widened(v: Any) -> Any:
    """v with its integers and bools in arrays, and Python's floats, as float64."""
    if isinstance(v, Tensor):
        return FUNCTIONS["astype"](v, np.float64) if v.dtype.kind in "biu" else v
    if isinstance(v, np.ndarray):
        return v.astype(np.float64) if v.dtype.kind in "biu" else v
    if type(v) in (list, tuple):
        return type(v)([widened(u) for u in v])
    return np.float64(v) if type(v) is float else np.complex128(v) if type(v) is complex else v


def narrow(result: Any) -> bool:
    return any(isinstance(r, Tensor) and r.dtype in SINGLE for r in leaves(result))


def call(found: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """found(*args, **kwargs), in float64 where no array among the arguments is floating.

    What integers alone make is asked for twice: nothing has run yet, and the second time they are float64.
    """
    args, kwargs = tuple([rows(v) for v in args]), {k: rows(v) for k, v in kwargs.items()}
    result = found(*args, **kwargs)
    if not narrow(result) or any(getattr(v, "dtype", np.dtype("O")).kind in INEXACT for v in leaves([args, kwargs])):
        return result
    again = [widened(v) for v in args]
    if again and all([type(u) in (int, bool) for u in leaves(again[0])]):            # what is looked at, in integers
        again[0] = np.asarray(again[0], np.float64)
    try:
        return found(*again, **{k: widened(v) for k, v in kwargs.items()})
    except LazygradError:                      # an argument that has to be an integer
        return result


def arrays(*given: Any) -> list[Tensor]:
    """Data as tensors, of the graph and device of the first that is one."""
    first = next((v for v in given if isinstance(v, Tensor)), None)
    if first is None:
        return [asarray(v) for v in given]
    return [v if isinstance(v, Tensor) else adopt(np.asarray(v) if not holds_tensors((v,)) else v, graph_of(first), "asarray") for v in given]


def wide(found: Callable) -> Callable:
    """The function with NumPy's rule for Python's numbers."""
    @functools.wraps(found)
    def function(*args: Any, **kwargs: Any) -> Any:
        return call(found, args, kwargs)
    return function
