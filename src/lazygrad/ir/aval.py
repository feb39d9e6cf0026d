"""Aval: what is known of an array before it is computed, its shape and dtype. Interned, so `is` is equality."""

from __future__ import annotations

import math

import numpy as np


class Aval:
    """Shape and dtype of an array; made by `aval()` only."""

    __slots__ = ("dtype", "inexact", "nbytes", "ndim", "shape", "size")
    shape: tuple[int, ...]
    dtype: np.dtype
    ndim: int
    size: int
    nbytes: int
    inexact: bool                      # floating or complex: its values have derivatives

    def __repr__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


_table: dict[tuple, Aval] = {}


def aval(shape: tuple[int, ...], dtype: np.dtype) -> Aval:
    """The interned Aval of `shape` and `dtype`.

    >>> aval((2, 3), np.dtype("float32")) is aval((2, 3), np.dtype("float32"))
    True
    """
    found = _table.get((shape, dtype))
    if found is not None:
        return found
    made = Aval()
    made.shape, made.dtype, made.ndim = tuple(map(int, shape)), np.dtype(dtype), len(shape)
    made.size = math.prod(made.shape)
    made.nbytes = made.size * made.dtype.itemsize
    made.inexact = made.dtype.kind in "fc"
    return _table.setdefault((made.shape, made.dtype), made)


class Pack(Aval):
    """The type of a Term with several results: the `avals` of all of them. Its `dtype` is that of nothing."""

    __slots__ = ("avals",)
    avals: tuple[Aval, ...]

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.avals))})"


NOTHING = np.dtype("V")
_packs: dict[tuple[Aval, ...], Pack] = {}


def pack(avals: tuple[Aval, ...]) -> Pack:
    """The interned Pack of `avals`.

    >>> a = aval((2,), np.dtype("float32"))
    >>> pack((a, a)) is pack((a, a)), pack((a, a)).size
    (True, 4)
    """
    found = _packs.get(avals)
    if found is not None:
        return found
    made = Pack()
    made.avals, made.shape, made.dtype, made.ndim = tuple(avals), (), NOTHING, 0
    made.size, made.nbytes = sum([a.size for a in avals]), sum([a.nbytes for a in avals])
    made.inexact = any([a.inexact for a in avals])
    return _packs.setdefault(made.avals, made)
