"""Arrays from nothing: constants, ramps, identities, grids. They are lazy expressions that own no memory.

In: shapes, dtypes, Python numbers. Out: tensors without leaves, of the default graph or of their operand's.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..graph import default_graph
from ..ir.term import Term
from ..lift import Operand
from ..runtime.devices import device_of, resolve
from .promotion import (
    P,
    Shape,
    as_dtype,
    broadcast,
    cast,
    constant,
    default_dtype,
    number,
    positive_shape,
    reshaped,
)
from .table import public

Real = int | float


def chosen(op: str, dtype: object, default: np.dtype) -> np.dtype:
    return default if dtype is None else as_dtype(op, dtype)


def placed(t: Term, device: object, like: Term | None) -> Term:
    """The constant `t` on a device: the one named, else that of `like`, else wherever it is used."""
    if device is not None:
        found = resolve(device)
        scope = None if found == "cpu" else default_graph().kept(found).number
    else:
        scope = None if like is None or device_of(like.graph) == "cpu" else like.graph
    return t if scope is None else P.place(t, scope=scope, source=None)


def creates(rule: Callable[..., Term]) -> Callable[..., Term]:
    """The rule with its argument `device` heeded."""
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def made(*args: object, **kwargs: object) -> Term:
        given = signature.bind(*args, **kwargs).arguments
        x = args[0] if args else given.get("x")
        return placed(rule(*args, **kwargs), given.get("device"), x if isinstance(x, Term) else None)
    return made


# ---- constants ------------------------------------------------------------------------------------------------------------

@public()
@creates
def zeros(shape: object, dtype: object = None, device: object = None) -> Term:
    """Zeros, float32 by default.

    >>> import lazygrad as lg
    >>> lg.zeros((2, 2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return constant(0, positive_shape("zeros", shape), chosen("zeros", dtype, dtypes.DEFAULT_FLOAT))


@public()
@creates
def ones(shape: object, dtype: object = None, device: object = None) -> Term:
    """Ones, float32 by default.

    >>> import lazygrad as lg
    >>> lg.ones(2).tolist()
    [1.0, 1.0]
    """
    return constant(1, positive_shape("ones", shape), chosen("ones", dtype, dtypes.DEFAULT_FLOAT))


@public()
@creates
def empty(shape: object, dtype: object = None, device: object = None) -> Term:
    """Zeros: a lazy array has no memory that could be left as it was.

    >>> import lazygrad as lg
    >>> lg.empty((2, 3)).shape
    (2, 3)
    """
    return constant(0, positive_shape("empty", shape), chosen("empty", dtype, dtypes.DEFAULT_FLOAT))


@public()
@creates
def full(shape: object, fill_value: Operand, dtype: object = None, device: object = None) -> Term:
    """An array of one value; its dtype is the value's by default.

    >>> import lazygrad as lg
    >>> lg.full(2, 7).tolist()
    [7, 7]
    """
    return filled("full", positive_shape("full", shape), fill_value, dtype, None)


def filled(op: str, shape: Shape, value: Term | complex, dtype: object, default: np.dtype | None) -> Term:
    if isinstance(value, Term):
        if value.aval.ndim:
            raise ShapeError(op, f"a value of shape {value.aval.shape}", "one number fills an array", "use broadcast_to")
        return broadcast(cast(value, chosen(op, dtype, default or value.aval.dtype)), shape)
    return number(op, value, shape, chosen(op, dtype, default or default_dtype(value)))


@public()
@creates
def zeros_like(x: Term, dtype: object = None, device: object = None) -> Term:
    """Zeros of x's shape, and dtype by default.

    >>> import lazygrad as lg
    >>> lg.zeros_like(lg.asarray([1, 2])).tolist()
    [0, 0]
    """
    return constant(0, x.aval.shape, chosen("zeros_like", dtype, x.aval.dtype))


@public()
@creates
def ones_like(x: Term, dtype: object = None, device: object = None) -> Term:
    """Ones of x's shape, and dtype by default.

    >>> import lazygrad as lg
    >>> lg.ones_like(lg.asarray([1, 2])).tolist()
    [1, 1]
    """
    return constant(1, x.aval.shape, chosen("ones_like", dtype, x.aval.dtype))


@public()
@creates
def empty_like(x: Term, dtype: object = None, device: object = None) -> Term:
    """Zeros of x's shape, and dtype by default.

    >>> import lazygrad as lg
    >>> lg.empty_like(lg.asarray([1, 2])).shape
    (2,)
    """
    return constant(0, x.aval.shape, chosen("empty_like", dtype, x.aval.dtype))


@public()
@creates
def full_like(x: Term, fill_value: Operand, dtype: object = None, device: object = None) -> Term:
    """One value in x's shape, and dtype by default.

    >>> import lazygrad as lg
    >>> lg.full_like(lg.asarray([1, 2]), 5).tolist()
    [5, 5]
    """
    return filled("full_like", x.aval.shape, fill_value, dtype, x.aval.dtype)


# ---- ramps ------------------------------------------------------------------------------------------------------------------

def line(size: int, start: Real, step: Real, dtype: np.dtype) -> Term:
    """start + step * [0, 1, ..., size - 1]. Narrow dtypes are computed in a wide one, which holds the index."""
    kind = dtypes.int64 if dtype.kind in "iub" else dtypes.float32 if dtype == dtypes.float16 else dtype
    ramp = P.iota(size=size, dtype=dtypes.int64 if kind.kind == "c" else kind)
    ramp = cast(ramp, kind)
    if step != 1:
        ramp = P.mul(ramp, constant(step, (size,), kind))
    if start != 0:
        ramp = P.add(ramp, constant(start, (size,), kind))
    return cast(ramp, dtype)


@public()
@creates
def arange(start: Real, stop: Real | None = None, step: Real = 1, dtype: object = None, device: object = None) -> Term:
    """start, start + step, ... below stop (0 to start if it is alone). int64, or float32 if one of them is a float.

    >>> import lazygrad as lg
    >>> lg.arange(2, 8, 3).tolist()
    [2, 5]
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ShapeError("arange", f"{start} to {stop} by 0", "it would never end", "pass another step")
    floats = any([isinstance(v, float) for v in (start, stop, step)])
    size = max(math.ceil((stop - start) / step), 0) if floats else max(-(-(stop - start) // step), 0)
    return line(size, start, step, chosen("arange", dtype, dtypes.DEFAULT_FLOAT if floats else dtypes.DEFAULT_INT))


# ---- matrices and grids -------------------------------------------------------------------------------------------------------

@public()
@creates
def eye(n_rows: int, n_cols: int | None = None, k: int = 0, dtype: object = None, device: object = None) -> Term:
    """Ones on the k-th diagonal of an (n_rows, n_cols) matrix, zeros elsewhere. float32 by default.

    >>> import lazygrad as lg
    >>> lg.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    m, n = positive_shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    row = broadcast(reshaped(line(m, k, 1, dtypes.int64), (m, 1)), (m, n))
    column = broadcast(reshaped(line(n, 0, 1, dtypes.int64), (1, n)), (m, n))
    return cast(P.eq(row, column), chosen("eye", dtype, dtypes.DEFAULT_FLOAT))


@public()
@creates
def identity(n: int, dtype: object = None, device: object = None) -> Term:
    """The (n, n) identity matrix.

    >>> import lazygrad as lg
    >>> lg.identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return eye(n, None, 0, dtype)


@public()
def meshgrid(*xs: Term, indexing: str = "xy", sparse: bool = False) -> tuple[Term, ...]:
    """The coordinates of the grid of 1-d arrays: one array for each, of its dtype and the grid's shape (`sparse`: one that broadcasts to it).

    "ij" has the first array along axis 0, "xy" along axis 1.

    >>> import lazygrad as lg
    >>> [g.tolist() for g in lg.meshgrid(lg.asarray([1, 2]), lg.asarray([3, 4, 5]), indexing="ij")]
    [[[1, 1, 1], [2, 2, 2]], [[3, 4, 5], [3, 4, 5]]]
    """
    if indexing not in ("xy", "ij"):
        raise DTypeError("meshgrid", f"indexing={indexing!r}", "there is no such order", 'pass "xy" or "ij"')
    for x in xs:
        if x.aval.ndim > 1:
            raise ShapeError("meshgrid", str(x.aval.shape), "a coordinate is a 1-d array", "ravel it first")
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    shape = [1] * len(xs)
    for x, k in zip(xs, order, strict=True):
        shape[k] = x.aval.size
    open_grid = [reshaped(x, tuple([x.aval.size if j == k else 1 for j in range(len(xs))])) for x, k in zip(xs, order, strict=True)]
    return tuple(open_grid if sparse else [broadcast(x, tuple(shape)) for x in open_grid])


