"""Reductions of the elements where a condition holds, from a first value on: what NumPy's `where=` and `initial=` ask for.

In: the name of a reduction, a tensor, its arguments. Out: the reduced tensor. Elements left out get gradient 0, NaN or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from .selection import beside, tensor_of
from .table import FUNCTIONS

NEUTRAL = {"sum": 0, "nansum": 0, "prod": 1, "nanprod": 1, "any": False, "all": True, "count_nonzero": 0}
BOTH = {"sum": "add", "nansum": "add", "prod": "multiply", "nanprod": "multiply", "max": "maximum", "min": "minimum", "nanmax": "fmax", "nanmin": "fmin"}
SAME = {"amax": "max", "amin": "min"}


def mask_of(op: str, x: Tensor, where: Any) -> Tensor:
    """A condition in x's shape."""
    mask = where if isinstance(where, Tensor) else beside(x, np.asarray(where, bool))
    try:
        return FUNCTIONS["broadcast_to"](FUNCTIONS["astype"](mask, dtypes.bool_), x.shape)
    except ShapeError:
        raise ShapeError(op, f"where of {tuple(mask.shape)} for {x.shape}", "it does not broadcast to x", "reshape it") from None


def moments(name: str, x: Tensor, mask: Tensor, axis: Any, keepdims: bool, ddof: float) -> Tensor:
    """Means and spreads of the elements where the mask holds; `nan...`: and that are not NaN."""
    f = FUNCTIONS
    if name.startswith("nan"):
        mask = f["logical_and"](mask, f["logical_not"](f["isnan"](x)))
    n = f["sum"](f["astype"](mask, dtypes.int64), axis, None, True)
    mean = f["sum"](f["where"](mask, x, 0), axis, None, True) / n
    if name.endswith("mean"):
        out = mean
    else:
        apart = f["where"](mask, x - mean, 0)
        total = f["sum"](f["square"](f["abs"](apart)), axis, None, True)
        out = total / f["maximum"](n - ddof, 0)
        if name.endswith("std"):
            flat = out == 0
            out = f["where"](flat, 0, f["sqrt"](f["where"](flat, 1, out)))
    return out if keepdims else f["squeeze"](out, tuple(range(x.ndim)) if axis is None else axis)


def masked(name: str, x: Any, *, where: Any = True, initial: Any = None, axis: Any = None, dtype: Any = None, keepdims: bool = False, ddof: float = 0,
           correction: float | None = None) -> Tensor:
    """The reduction `name` of the elements of x where `where` holds, and of `initial`.

    OptionError where there may be nothing to reduce: the largest of no elements needs an `initial`.
    """
    name = SAME.get(name, name)
    x = tensor_of(x)
    everything = where is True
    if dtype is not None:
        x = FUNCTIONS["astype"](x, dtype)
    if name.removeprefix("nan") in ("mean", "var", "std"):
        x = x if x.dtype.kind in "fc" else FUNCTIONS["astype"](x, dtypes.DEFAULT_FLOAT)
        return moments(name, x, mask_of(name, x, where), axis, keepdims, ddof if correction is None else correction)
    if not everything:
        neutral = NEUTRAL.get(name, initial)
        if neutral is None:
            raise OptionError(name, "where without initial", f"no elements have no {name}", "pass initial, the result for no elements")
        x = FUNCTIONS["where"](mask_of(name, x, where), x, neutral)
    if x.size == 0 and initial is not None and name not in NEUTRAL:
        rest = [k for k in range(x.ndim) if axis is not None and k not in {a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}]
        shape = tuple([x.shape[k] if k in rest else 1 for k in range(x.ndim) if keepdims or k in rest])
        return FUNCTIONS["broadcast_to"](FUNCTIONS["astype"](initial if isinstance(initial, Tensor) else beside(x, np.asarray(initial)), x.dtype), shape)
    out = FUNCTIONS[name](x, axis=axis, keepdims=keepdims)
    return out if initial is None or name not in BOTH else FUNCTIONS[BOTH[name]](out, initial)
