"""Positions: those of triangles and diagonals, grids of coordinates, flat positions and their parts.

In: static sizes, or integer tensors. Out: int64 tensors made of ramps: they own no memory and go with tensors of any graph and device.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..errors import IndexingError, OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from ..tensor import Tensor
from .composite import fill
from .creation import line
from .diagonals import diag
from .promotion import (
    P,
    Shape,
    as_dtype,
    as_term,
    broadcast,
    cast,
    constant,
    positive_shape,
    reshaped,
    together,
)
from .selection import integers, nonzero, tensor_of
from .table import FUNCTIONS, deferred, plain, public


def ramp(n: int) -> Term:
    return line(n, 0, 1, dtypes.int64)


# ---- triangles and diagonals --------------------------------------------------------------------------------------------

def triangle(n: int, k: int, m: int | None, lower: bool) -> tuple[Term, Term]:
    """Rows and columns of the triangle of an (n, m) matrix: row i has the columns up to i + k, or from i + k on."""
    n, m = positive_shape("tri", (n, n if m is None else m))
    edge = P.minimum(P.maximum(line(n, k + (1 if lower else 0), 1, dtypes.int64), constant(0, (n,), dtypes.int64)), constant(m, (n,), dtypes.int64))
    size = sum([min(max(i + k + (1 if lower else 0), 0), m) for i in range(n)])
    size = size if lower else n * m - size
    if not size:
        return (constant(0, (0,), dtypes.int64),) * 2
    counts = edge if lower else P.sub(constant(m, (n,), dtypes.int64), edge)
    ends = P.cumsum(counts, axis=0, reverse=False)
    at = ramp(size)
    row = P.searchsorted(ends, at, side="right")
    starts = P.sub(ends, counts) if lower else P.sub(P.sub(ends, counts), edge)
    return row, P.sub(at, P.gather(starts, row, axes=(0,), position=0))


@public()
def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Term, Term]:
    """The rows and columns of the elements of an (n, m) matrix on and below its k-th diagonal.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.tril_indices(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    return triangle(n, k, m, True)


@public()
def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Term, Term]:
    """The rows and columns of the elements of an (n, m) matrix on and above its k-th diagonal.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.triu_indices(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    return triangle(n, k, m, False)


def sides(op: str, x: Term) -> Shape:
    if x.aval.ndim != 2:
        raise ShapeError(op, str(x.aval.shape), "a matrix has two axes", "reshape it first")
    return x.aval.shape


@public()
def tril_indices_from(x: Term, k: int = 0) -> tuple[Term, Term]:
    """`tril_indices` of a matrix as large as x.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.tril_indices_from(lg.zeros((1, 2)))]
    [[0], [0]]
    """
    n, m = sides("tril_indices_from", x)
    return triangle(n, k, m, True)


@public()
def triu_indices_from(x: Term, k: int = 0) -> tuple[Term, Term]:
    """`triu_indices` of a matrix as large as x.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.triu_indices_from(lg.zeros((1, 2)))]
    [[0, 0], [0, 1]]
    """
    n, m = sides("triu_indices_from", x)
    return triangle(n, k, m, False)


@public()
def diag_indices(n: int, ndim: int = 2) -> tuple[Term, ...]:
    """The positions of the main diagonal of an array with `ndim` axes of length n.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.diag_indices(2)]
    [[0, 1], [0, 1]]
    """
    return (ramp(*positive_shape("diag_indices", n)),) * ndim


@public()
def diag_indices_from(x: Term) -> tuple[Term, ...]:
    """`diag_indices` of an array as large as x, all of whose axes are equally long.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.diag_indices_from(lg.zeros((2, 2)))]
    [[0, 1], [0, 1]]
    """
    shape = x.aval.shape
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError("diag_indices_from", str(shape), "it has no main diagonal", "pass two axes or more of one length")
    return (ramp(shape[0]),) * len(shape)


@plain()
def mask_indices(n, mask_func, k=0):
    """The positions of the elements of an (n, n) matrix that `mask_func(ones, k)` leaves: lg.triu, lg.tril or one of yours. Evaluates it.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.mask_indices(2, lg.triu, 1)]
    [[0], [1]]
    """
    return nonzero(tensor_of(mask_func(FUNCTIONS["ones"]((n, n), "int64"), k)))


@public()
def tri(n: int, m: int | None = None, k: int = 0, dtype: object = None) -> Term:
    """An (n, m) matrix of ones on and below the k-th diagonal, zeros above it. float32 by default.

    >>> import lazygrad as lg
    >>> lg.tri(2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    n, m = positive_shape("tri", (n, n if m is None else m))
    row, column = reshaped(line(n, k, 1, dtypes.int64), (n, 1)), reshaped(ramp(m), (1, m))
    ones = P.ge(broadcast(row, (n, m)), broadcast(column, (n, m)))
    return cast(ones, dtypes.DEFAULT_FLOAT if dtype is None else as_dtype("tri", dtype))


@public(method=True)
def diagflat(x: Term, k: int = 0) -> Term:
    """A square matrix with the elements of x, flattened, on its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.diagflat(lg.asarray([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    return diag(reshaped(x, (x.aval.size,)), k)


# ---- grids ------------------------------------------------------------------------------------------------------------

def along(x: Term, k: int, ndim: int) -> Term:
    return reshaped(x, tuple([x.aval.size if j == k else 1 for j in range(ndim)]))


@public()
def indices(dimensions: object, dtype: object = int, sparse: bool = False) -> Term | tuple[Term, ...]:
    """The coordinates of a grid: (ndim, *dimensions), or a tuple of arrays that broadcast to the grid if `sparse`.

    >>> import lazygrad as lg
    >>> lg.indices((2, 2)).tolist()
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    shape = positive_shape("indices", dimensions)
    axes = [along(line(n, 0, 1, as_dtype("indices", dtype)), k, len(shape)) for k, n in enumerate(shape)]
    if sparse:
        return tuple(axes)
    if not axes:
        return constant(0, (0,), as_dtype("indices", dtype))
    grids = [reshaped(broadcast(x, shape), (1, *shape)) for x in axes]
    return P.concatenate(*grids, axis=0) if len(grids) > 1 else grids[0]


@plain(name="ix_")
def ix_(*arrays):
    """1-d arrays as the open grid that takes all combinations of their elements as an index. Masks are evaluated.

    >>> import lazygrad as lg
    >>> lg.asarray([[1, 2, 3], [4, 5, 6]])[lg.ix_([1], [0, 2])].tolist()
    [[4, 6]]
    """
    out = []
    for k, x in enumerate(arrays):
        x = tensor_of(x)
        if x.ndim != 1:
            raise ShapeError("ix_", str(x.shape), "the positions along an axis are 1-d", "ravel them")
        x = FUNCTIONS["astype"](x, dtypes.int64) if not x.size else nonzero(x)[0] if x.dtype.kind == "b" else x
        out.append(FUNCTIONS["reshape"](x, tuple([-1 if j == k else 1 for j in range(len(arrays))])))
    return tuple(out)


def steps(key: slice) -> Tensor:
    """The numbers of a slice: a step, or an imaginary number of them with both ends."""
    start, step = key.start or 0, 1 if key.step is None else key.step
    if isinstance(step, complex):
        return FUNCTIONS["linspace"](start, key.stop, int(abs(step)))
    return FUNCTIONS["arange"](start, key.stop, step)


class Grid:
    """`mgrid[a:b, c:d]`, `ogrid[...]`: the coordinates of a grid from slices. A step 5j means five numbers with both ends.

    >>> import lazygrad as lg
    >>> lg.mgrid[0:2, 0:3].shape, [x.tolist() for x in lg.ogrid[0:2, -1:1:3j]]
    ((2, 2, 3), [[[0.0], [1.0]], [[-1.0, 0.0, 1.0]]])
    """

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Tensor | tuple[Tensor, ...]:
        if isinstance(key, slice):
            return steps(key)
        xs = [steps(k) for k in key]
        dtype = FUNCTIONS["result_type"](*xs)
        xs = [FUNCTIONS["astype"](x, dtype) for x in xs]
        grids = [FUNCTIONS["reshape"](x, tuple([-1 if j == k else 1 for j in range(len(xs))])) for k, x in enumerate(xs)]
        return tuple(grids) if self.sparse else FUNCTIONS["stack"](FUNCTIONS["broadcast_arrays"](*grids))


class Joined:
    """`r_[a, b:c, d]` joins numbers, arrays and the numbers of slices along the first axis, `c_[...]` as columns.

    >>> import lazygrad as lg
    >>> lg.r_[1:3, 7, lg.asarray([5, 6])].tolist(), lg.c_[lg.asarray([1, 2]), lg.asarray([3, 4])].tolist()
    ([1, 2, 7, 5, 6], [[1, 3], [2, 4]])
    """

    def __init__(self, name: str, columns: bool) -> None:
        self.name, self.columns = name, columns

    def __getitem__(self, key: object) -> Tensor:
        parts = []
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, str):
                raise OptionError(self.name, repr(k), "directives as strings are not read", "use concatenate, stack or reshape")
            x = steps(k) if isinstance(k, slice) else tensor_of(k)
            if self.columns:
                x = FUNCTIONS["reshape"](x, (*x.shape, 1)) if x.ndim < 2 else x
                x = FUNCTIONS["reshape"](x, (1, 1)) if x.ndim < 2 else x
            parts.append(FUNCTIONS["atleast_1d"](x))
        return FUNCTIONS["concatenate"](parts, -1 if self.columns else 0)


class Key:
    """`s_[1:3, None]`: the key itself.

    >>> import lazygrad as lg
    >>> lg.s_[1:3, ...]
    (slice(1, 3, None), Ellipsis)
    """

    def __getitem__(self, key: object) -> object:
        return key


mgrid, ogrid, r_, c_, s_, index_exp = Grid(False), Grid(True), Joined("r_", False), Joined("c_", True), Key(), Key()


# ---- flat positions -----------------------------------------------------------------------------------------------------

def known_outside(op: str, i: object, n: int) -> None:
    """IndexingError for positions outside n elements, where they are known already."""
    if not isinstance(i, Tensor):
        array = np.asarray(i)
        if array.size and array.dtype.kind in "iu" and not ((array >= 0) & (array < n)).all():
            raise IndexingError(op, f"position {array[(array < 0) | (array >= n)].flat[0]}", f"there are {n} elements", f"use 0 to {n - 1}")


def order_of(op: str, order: str, shape: Shape) -> list[int]:
    """The axes from the slowest to the fastest."""
    if order not in ("C", "F"):
        raise OptionError(op, f"order={order!r}", "there is no such order", 'pass "C" or "F"')
    return list(range(len(shape))) if order == "C" else list(range(len(shape)))[::-1]


def unravelled(i: Operand, shape: tuple, order: str) -> tuple[Term, ...]:
    shape = positive_shape("unravel_index", shape)
    i = integers("unravel_index", as_term("unravel_index", i))
    out: dict[int, Term] = {}
    for k in reversed(order_of("unravel_index", order, shape)):
        size = fill(i, max(shape[k], 1))
        out[k] = P.remainder(i, size)
        i = P.floor_divide(i, size)
    return tuple([out[k] for k in range(len(shape))])


def ravelled(multi: Terms, shape: tuple, mode: tuple[str, ...], order: str) -> Term:
    shape = positive_shape("ravel_multi_index", shape)
    xs = together("ravel_multi_index", tuple([integers("ravel_multi_index", as_term("ravel_multi_index", i)) for i in multi]))
    if len(xs) != len(shape) or len(mode) != len(shape):
        raise ShapeError("ravel_multi_index", f"{len(xs)} index arrays and {len(mode)} modes for {shape}", "every axis needs one", "pass one for each")
    out = None
    for k in order_of("ravel_multi_index", order, shape):
        x, n = xs[k], shape[k]
        if mode[k] == "wrap":
            x = P.remainder(x, fill(x, max(n, 1)))
        elif mode[k] == "clip":
            x = P.minimum(P.maximum(x, fill(x, 0)), fill(x, max(n - 1, 0)))
        out = x if out is None else P.add(P.mul(out, fill(out, n)), x)
    return out


UNRAVELLED, RAVELLED = deferred(unravelled), deferred(ravelled)


@plain()
def unravel_index(indices, shape, order="C"):
    """Flat positions in an array of `shape` as one array of positions for every axis; `order` "F" counts the first axis fastest.

    IndexingError for positions outside, where they are not given as a tensor.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.unravel_index([5, 1], (2, 3))]
    [[1, 0], [2, 1]]
    """
    shape = positive_shape("unravel_index", shape)
    known_outside("unravel_index", indices, math.prod(shape))
    return UNRAVELLED.function()(indices, shape, order)


@plain()
def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    """The flat positions in an array of shape `dims` of positions along every axis (which broadcast).

    `mode` (one, or one for every axis): positions outside are an IndexingError where they are no tensors ("raise"), wrap round, or are
    clipped.

    >>> import lazygrad as lg
    >>> lg.ravel_multi_index(([1, 0], [2, 1]), (2, 3)).tolist()
    [5, 1]
    """
    dims = positive_shape("ravel_multi_index", dims)
    modes = (mode,) * len(dims) if isinstance(mode, str) else tuple(mode)
    for m in modes:
        if m not in ("raise", "wrap", "clip"):
            raise OptionError("ravel_multi_index", f"mode={m!r}", "there is no such mode", 'pass "raise", "wrap" or "clip"')
    parts = FUNCTIONS["unstack"](multi_index) if isinstance(multi_index, Tensor) else list(multi_index)
    for i, n, m in zip(parts, dims, modes, strict=False):
        if m == "raise":
            known_outside("ravel_multi_index", i, n)
    return RAVELLED.function()(parts, dims, modes, order)
