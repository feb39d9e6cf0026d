"""Data from outside: what becomes an array of one of our dtypes, and the errors for what does not.

Python floats become float32, integers int64, complex numbers complex64; whatever has a dtype keeps it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes
from .errors import DataError, DTypeError

WEAK = {float: dtypes.DEFAULT_FLOAT, int: dtypes.DEFAULT_INT, complex: dtypes.DEFAULT_COMPLEX}      # what Python's types mean
OURS = frozenset(dtypes.DTYPES)
DEFAULTS = {np.dtype(float): dtypes.DEFAULT_FLOAT, np.dtype(complex): dtypes.DEFAULT_COMPLEX}


PYTHON = frozenset((bool, int, float, complex))


def _typed(items: Any) -> bool:
    """Whether a nested list holds anything that brings a dtype of its own (NumPy scalars, arrays, tensors)."""
    stack = [items]
    while stack:
        row = stack.pop()
        if PYTHON.issuperset(map(type, row)):
            continue
        for v in row:
            if isinstance(v, (list, tuple)):
                stack.append(v)
            elif isinstance(v, np.generic) or hasattr(v, "dtype"):
                return True
    return False


def dtype_of(dtype: Any, op: str = "tensor") -> np.dtype:
    """The dtype named by anything NumPy takes for one; DTypeError if it is none of ours.

    >>> dtype_of("float32"), dtype_of(bool)
    (dtype('float32'), dtype('bool'))
    """
    if dtype.__class__ is type and dtype in WEAK:
        return WEAK[dtype]
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in dtypes.NAMES:
        raise DTypeError(op, repr(dtype), "no such dtype here", "choose among " + ", ".join(dtypes.NAMES))
    return dtypes.NAMES[found.name]


def _no_array(obj: Any, op: str, error: Exception) -> DataError:
    return DataError(op, type(obj).__name__, str(error).split(". The detected")[0], "pass numbers of one rectangular shape")


def to_array(obj: Any, dtype: Any = None, op: str = "tensor") -> np.ndarray:
    """`obj` as a NumPy array of one of our dtypes (it may be the caller's own array).

    Python floats become float32, integers int64, complex numbers complex64; whatever has a dtype keeps it.
    """
    if dtype is None and obj.__class__ is np.ndarray and obj.dtype in OURS:
        return obj
    if dtype is None and obj.__class__ is float and -3e38 < obj < 3e38:
        return np.asarray(obj, dtypes.DEFAULT_FLOAT)
    wanted = None if dtype is None else dtype_of(dtype, op)
    kind = obj.__class__
    if kind is list or kind is tuple or kind in PYTHON:
        try:
            array = np.asarray(obj)
            own = kind not in PYTHON and _typed(obj)
        except (ValueError, TypeError, OverflowError) as error:
            raise _no_array(obj, op, error) from error
    elif hasattr(obj, "_array"):          # a tensor
        array, own = obj._array(), True
    elif isinstance(obj, (np.ndarray, np.generic)):
        array, own = np.asarray(obj), True
    else:
        try:
            if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
                array, own = np.from_dlpack(obj), True
            else:
                array = np.asarray(obj)
                own = hasattr(obj, "dtype") or (isinstance(obj, (list, tuple)) and _typed(obj))      # subclasses of list
        except (ValueError, TypeError, OverflowError) as error:
            raise _no_array(obj, op, error) from error
    if array.dtype not in OURS and array.dtype.name not in dtypes.NAMES:
        if array.dtype.kind in "OSUV":
            raise DataError(op, type(obj).__name__, f"these are no numbers (NumPy sees dtype {array.dtype})", "pass numbers")
        raise DTypeError(op, str(array.dtype), "no such dtype here", "choose among " + ", ".join(dtypes.NAMES))
    if wanted is None:
        wanted = dtypes.NAMES[array.dtype.name] if own else DEFAULTS.get(array.dtype, array.dtype)
    if array.dtype == wanted and array.dtype.isnative:
        return array
    if array.dtype.kind == "c" and wanted.kind != "c":
        raise DTypeError(op, f"{array.dtype} to {wanted}", "the imaginary part would be lost", "take the real part first")
    with np.errstate(all="ignore"):
        return array.astype(wanted)
