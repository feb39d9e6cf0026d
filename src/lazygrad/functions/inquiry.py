"""Questions about dtypes, as the Array API asks them: no tensor is built or computed here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..tensor import Tensor
from . import promotion
from .promotion import as_dtype
from .table import plain

KINDS = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f", "complex floating": "c", "numeric": "iufc"}


def dtype_of(op: str, x: object) -> np.dtype:
    return x.dtype if isinstance(x, Tensor | np.ndarray | np.generic) else as_dtype(op, x)


@plain()
def result_type(*arrays_and_dtypes):
    """The dtype of an operation on these arrays, dtypes and Python numbers.

    >>> import lazygrad as lg
    >>> lg.result_type(lg.int32, lg.float32), lg.result_type(lg.int8, 2.0)
    (dtype('float32'), dtype('float32'))
    """
    numbers = [v for v in arrays_and_dtypes if type(v) in (bool, int, float, complex)]
    found = [dtype_of("result_type", v) for v in arrays_and_dtypes if type(v) not in (bool, int, float, complex)]
    if not found:
        raise DTypeError("result_type", "Python numbers only", "they have no dtype of their own", "pass an array or a dtype")
    out = found[0]
    for d in found[1:]:
        out = dtypes.promote(out, d)
    for v in numbers:
        out = dtypes.weak(v, out)
    return out


@plain()
def can_cast(from_, to):
    """Whether promotion may turn the first dtype (or array's dtype) into the second.

    >>> import lazygrad as lg
    >>> lg.can_cast(lg.int8, lg.int16), lg.can_cast(lg.float64, lg.float32)
    (True, False)
    """
    to = as_dtype("can_cast", to)
    return dtypes.promote(dtype_of("can_cast", from_), to) == to


@plain()
def isdtype(dtype, kind):
    """Whether a dtype is of a kind: a dtype, a name such as "integral" or "real floating", or a tuple of those.

    >>> import lazygrad as lg
    >>> lg.isdtype(lg.int8, "integral"), lg.isdtype(lg.float32, ("bool", lg.float32))
    (True, True)
    """
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if isinstance(kind, str):
        if kind not in KINDS:
            raise DTypeError("isdtype", f"kind {kind!r}", "there is no such kind", "use one of " + ", ".join(KINDS))
        return np.dtype(dtype).kind in KINDS[kind]
    return np.dtype(dtype) == kind


class Limits(NamedTuple):
    """The limits of a floating dtype, as Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype


class IntegerLimits(NamedTuple):
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


@plain()
def finfo(type, /):
    """The limits of a floating dtype (or an array's, or of a complex one's parts): bits, eps, max, min, smallest_normal, dtype.

    >>> import lazygrad as lg
    >>> lg.finfo(lg.float32).bits
    32
    """
    found = np.finfo(dtype_of("finfo", type))
    return Limits(int(found.bits), float(found.eps), float(found.max), float(found.min), float(found.smallest_normal), np.dtype(found.dtype))


@plain()
def iinfo(type, /):
    """The limits of an integer dtype (or an array's): bits, max, min, dtype.

    >>> import lazygrad as lg
    >>> lg.iinfo(lg.int8).max
    127
    """
    found = np.iinfo(dtype_of("iinfo", type))
    return IntegerLimits(int(found.bits), int(found.max), int(found.min), np.dtype(found.dtype))


@plain()
def broadcast_shapes(*shapes):
    """The shape that shapes broadcast to. ShapeError where they do not.

    >>> import lazygrad as lg
    >>> lg.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    return promotion.broadcast_shapes("broadcast_shapes", *[promotion.as_shape("broadcast_shapes", s) for s in shapes])
