"""Arrays from nothing under NumPy's names: NumPy's default dtypes, and what NumPy reads or builds itself as tensors.

In: shapes, numbers, data. Out: tensors of the default graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..doubles import leaves, rows
from ..functions import FUNCTIONS, grids
from ..graph import asarray as tensor_of
from ..tensor import Tensor, holds_tensors

# float64 unless another dtype is asked for
FLOATS = ["zeros", "ones", "empty", "eye", "identity", "tri", "hanning", "hamming", "blackman", "bartlett", "kaiser"]
# float64 where a Python float is among the ends
SPACED = ["linspace", "logspace", "geomspace"]
# functions here that need no change
SAME = ["diag_indices", "tril_indices", "triu_indices", "mask_indices", "indices", "ix_", "broadcast_shapes", "isscalar"]
# NumPy's own, whose result becomes a tensor
READ = ["frombuffer", "fromfile", "fromiter", "fromregex", "fromstring", "genfromtxt", "load", "loadtxt"]


def documented(name: str, function: Callable) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (FUNCTIONS[name] if name in FUNCTIONS else getattr(np, name)).__doc__
    return function


def floats(name: str) -> Callable:
    def function(*args: Any, dtype: Any = None, order: str = "C", like: Any = None, **kwargs: Any) -> Tensor:
        where = {"eye": 3, "identity": 1, "tri": 3, "kaiser": 2}.get(name, 1)        # the place of a dtype that is no keyword
        args, dtype = (args[:where], args[where]) if len(args) > where else (args, dtype)
        return FUNCTIONS[name](*args, dtype=np.float64 if dtype is None else kind(dtype), **kwargs)
    return documented(name, function)


def kind(dtype: Any) -> Any:
    """A dtype as NumPy reads it: float is float64, complex complex128."""
    return None if dtype is None else np.dtype(dtype)


def spaced(name: str) -> Callable:
    def function(start: Any, stop: Any, num: int = 50, endpoint: bool = True, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        start, stop = rows(start), rows(stop)
        arrays = [v for v in (start, stop) if isinstance(v, Tensor | np.ndarray)]
        if dtype is None and not any(v.dtype.kind in "fc" for v in arrays):
            dtype = np.complex128 if isinstance(start, complex) or isinstance(stop, complex) else np.float64
        return FUNCTIONS[name](start, stop, num, endpoint, *map(rows, args), dtype=kind(dtype), **{k: rows(v) for k, v in kwargs.items()})
    return documented(name, function)


def arange() -> Callable:
    def function(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None, like: Any = None) -> Tensor:
        if dtype is None and any(isinstance(v, float) for v in (start, stop, step)):
            dtype = np.float64
        return FUNCTIONS["arange"](start, stop, 1 if step is None else step, dtype=kind(dtype), device=device)
    return documented("arange", function)


def full() -> Callable:
    def function(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Tensor:
        value = fill_value if isinstance(fill_value, Tensor) else np.asarray(fill_value)
        dtype = value.dtype if dtype is None else kind(dtype)
        value = fill_value if type(fill_value) in (bool, int, float, complex) else tensor_of(value, dtype=dtype)
        if isinstance(value, Tensor) and value.ndim:
            return FUNCTIONS["broadcast_to"](value, shape)
        return FUNCTIONS["full"](shape, value, dtype=dtype, device=device)
    return documented("full", function)


def array_of(obj: Any, dtype: Any = None) -> Tensor:
    """Data as a tensor, Python's floats as float64; lists with tensors in them become their stack."""
    if isinstance(obj, Tensor) or (type(obj) in (list, tuple) and holds_tensors(obj)):
        obj = obj if isinstance(obj, Tensor) else [wide_leaf(v) for v in obj]
        return tensor_of(obj, dtype=kind(dtype))
    return tensor_of(np.asarray(obj, kind(dtype)))


def wide_leaf(v: Any) -> Any:
    """An entry of a list with tensors in it, its numbers in double precision beside them."""
    if type(v) in (list, tuple):
        return type(v)([wide_leaf(u) for u in v])
    return np.float64(v) if type(v) is float else np.complex128(v) if type(v) is complex else v


def made(name: str) -> Callable:
    def function(obj: Any, dtype: Any = None, *args: Any, copy: Any = None, order: Any = None, subok: bool = False, ndmin: int = 0, **kwargs: Any) -> Tensor:
        x = array_of(obj, dtype)
        if name == "asarray_chkfinite" and not bool(FUNCTIONS["all"](FUNCTIONS["isfinite"](x))):
            raise ValueError("array must not contain infs or NaNs")
        return x if x.ndim >= ndmin else FUNCTIONS["reshape"](x, (1,) * (ndmin - x.ndim) + x.shape)
    return documented(name, function)


def same(name: str) -> Callable:
    return FUNCTIONS[name]


def read(name: str) -> Callable:
    @functools.wraps(getattr(np, name))
    def function(*args: Any, **kwargs: Any) -> Any:
        found = getattr(np, name)(*args, **kwargs)
        return tensor_of(found) if isinstance(found, np.ndarray) else found
    return function


def fromfunction() -> Callable:
    def function(function: Callable, shape: Any, *, dtype: Any = float, like: Any = None, **kwargs: Any) -> Any:
        return FUNCTIONS["fromfunction"](function, shape, dtype=kind(dtype), **kwargs)
    return documented("fromfunction", function)


def vectorize() -> Callable:
    from ..transforms.along import vectorize
    return vectorize


MADE: dict[str, Callable[[], Callable]] = {
    **{name: functools.partial(floats, name) for name in FLOATS}, **{name: functools.partial(spaced, name) for name in SPACED},
    **{name: functools.partial(made, name) for name in ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "asarray_chkfinite", "require")},
    **{name: functools.partial(same, name) for name in SAME}, **{name: functools.partial(read, name) for name in READ},
    "arange": arange, "full": full, "fromfunction": fromfunction, "vectorize": vectorize,
}


class Doubles:
    """mgrid, ogrid, r_ and c_ with float64 for Python's floats."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def __getitem__(self, key: Any) -> Any:
        out = self.found[key]
        if any(isinstance(v, Tensor | np.ndarray) and v.dtype.kind in "fc" for v in leaves([key])):
            return out
        wide = lambda x: FUNCTIONS["astype"](x, np.float64) if x.dtype == np.float32 else x
        return tuple(map(wide, out)) if isinstance(out, tuple) else wide(out)


SLICED = {"mgrid": Doubles(grids.mgrid), "ogrid": Doubles(grids.ogrid), "r_": Doubles(grids.r_), "c_": Doubles(grids.c_), "s_": grids.s_, "index_exp": grids.index_exp}
