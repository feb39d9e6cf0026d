"""Triangles and diagonals of matrices, which are the last two axes (NumPy's diagonal and trace: the first two).

In: tensors and the number of a diagonal, 0 for the main one, positive above it. Out: tensors.
"""

from __future__ import annotations

from .. import dtypes
from ..errors import AxisError, ShapeError
from ..ir.term import Term
from .movement import cut, permuted
from .promotion import P, Shape, broadcast, constant, one_axis, reshaped
from .table import public

# ---- triangles and diagonals ------------------------------------------------------------------------------------------------

def ramp(shape: Shape, axis: int) -> Term:
    """The index along `axis`, as an int32 array of `shape`."""
    line = P.iota(size=shape[axis], dtype=dtypes.int32)
    return broadcast(reshaped(line, tuple([shape[axis] if k == axis else 1 for k in range(len(shape))])), shape)


def below(shape: Shape, k: int) -> Term:
    """Whether row >= column - k, over the last two axes of `shape`."""
    square = shape[-2:]
    column, far = ramp(square, 1), sum(square)
    k = max(-far, min(k, far))                   # further out nothing changes
    return broadcast(P.le(column, P.add(ramp(square, 0), constant(k, square, dtypes.int32))), shape)


def matrix(op: str, x: Term) -> Term:
    if x.aval.ndim < 2:
        raise ShapeError(op, str(x.aval.shape), "a matrix has two axes", "reshape it first")
    return x


@public(method=True)
def tril(x: Term, k: int = 0) -> Term:
    """x (..., m, n) with zeros above its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.tril(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 0], [3, 4]]
    """
    shape = matrix("tril", x).aval.shape
    return P.where(below(shape, k), x, constant(0, shape, x.aval.dtype))


@public(method=True)
def triu(x: Term, k: int = 0) -> Term:
    """x (..., m, n) with zeros below its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.triu(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 2], [0, 4]]
    """
    shape = matrix("triu", x).aval.shape
    return P.where(below(shape, k - 1), constant(0, shape, x.aval.dtype), x)


def taken_diagonal(x: Term, offset: int) -> Term:
    """The diagonal of the last two axes (..., m, n) as (..., d): row r holds its element at r * n + r + offset."""
    *batch, m, n = x.aval.shape
    row, column = max(-offset, 0), max(offset, 0)
    d = max(min(m - row, n - column), 0)
    if d == 0:
        return cut(reshaped(x, (*batch, m * n)), len(batch), 0, 0)
    return cut(reshaped(x, (*batch, m * n)), len(batch), row * n + column, d, n + 1)


@public(method=True)
def diagonal(x: Term, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
    """The diagonal of two axes of x, as its last axis.

    >>> import lazygrad as lg
    >>> lg.diagonal(lg.asarray([[1, 2], [3, 4]])).tolist()
    [1, 4]
    """
    matrix("diagonal", x)
    a, b = one_axis("diagonal", axis1, x.aval.ndim), one_axis("diagonal", axis2, x.aval.ndim)
    if a == b:
        raise AxisError("diagonal", f"axes {axis1} and {axis2}", "an axis is named twice", "name two axes")
    return taken_diagonal(permuted(x, (*[k for k in range(x.aval.ndim) if k not in (a, b)], a, b)), offset)


@public(method=True)
def diag(x: Term, k: int = 0) -> Term:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.diag(lg.asarray([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    if x.aval.ndim == 2:
        return taken_diagonal(x, k)
    if x.aval.ndim != 1:
        raise ShapeError("diag", str(x.aval.shape), "it is neither a vector nor a matrix", "use diagonal")
    n = x.aval.size + abs(k)
    if n == 0:
        return reshaped(x, (0, 0))
    start = k if k >= 0 else -k * n
    flat = P.embed(x, shape=(n * n,), start=(start if x.aval.size else 0,), step=(n + 1,))
    return reshaped(flat, (n, n))


@public(method=True)
def trace(x: Term, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: object = None) -> Term:
    """The sum of a diagonal; integers sum in 64 bits.

    >>> import lazygrad as lg
    >>> lg.trace(lg.asarray([[1.0, 2.0], [3.0, 4.0]])).tolist()
    5.0
    """
    from .reductions import sum as total
    return total(diagonal(x, offset, axis1, axis2), -1, dtype)
