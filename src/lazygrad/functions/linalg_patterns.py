"""Matrices with a pattern, made of vectors or of smaller matrices.

In: tensors. Out: tensors; every element of the operands stands at some places, all others are 0.
"""

from __future__ import annotations

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..prims.matrices import conj
from .promotion import P, alike, constant, reshaped
from .table import public


def _vector(op: str, x: Term) -> Term:
    if x.aval.ndim != 1:
        raise ShapeError(op, str(x.aval.shape), "a vector has one axis", "ravel it first")
    return x


@public(space="linalg")
def block_diag(*arrays: Operand) -> Term:
    """The matrix with the given ones (m, n) along its diagonal; vectors count as rows.

    >>> import lazygrad as lg
    >>> lg.linalg.block_diag(lg.asarray([[1., 2.]]), lg.asarray([[3.]])).tolist()
    [[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    xs = alike("block_diag", arrays)
    for x in xs:
        if x.aval.ndim > 2:
            raise ShapeError("block_diag", str(x.aval.shape), "a block has two axes", "reshape it first")
    xs = [reshaped(x, (1,) * (2 - x.aval.ndim) + x.aval.shape) for x in xs]
    shape = (sum([x.aval.shape[0] for x in xs]), sum([x.aval.shape[1] for x in xs]))
    out, row, column = None, 0, 0
    for x in xs:
        part = P.embed(x, shape=shape, start=(row, column), step=(1, 1))
        out = part if out is None else P.add(out, part)
        row, column = row + x.aval.shape[0], column + x.aval.shape[1]
    if out is None:
        raise ShapeError("block_diag", "nothing", "at least one matrix is needed")
    return out


def _placed(line: Term, m: int, n: int, start: int, sign: int) -> Term:
    """out[i, j] = line[start + i + sign j]."""
    i = P.broadcast_to(reshaped(P.iota(size=m, dtype=dtypes.int64), (m, 1)), shape=(m, n))
    j = P.broadcast_to(P.iota(size=n, dtype=dtypes.int64), shape=(m, n))
    at = P.add(P.add(i, constant(start, (m, n), dtypes.int64)), j if sign > 0 else P.neg(j))
    return P.gather(line, at, axes=(0,), position=0)


@public(space="linalg")
def toeplitz(c: Term, r: Term = None) -> Term:
    """The matrix with constant diagonals: first column c, first row r (its first element is not read), conj(c) unless given.

    >>> import lazygrad as lg
    >>> lg.linalg.toeplitz(lg.asarray([1, 2, 3])).tolist()
    [[1, 2, 3], [2, 1, 2], [3, 2, 1]]
    """
    c = _vector("toeplitz", c)
    c, r = alike("toeplitz", (c, conj(c) if r is None else _vector("toeplitz", r)))
    m, n = c.aval.size, r.aval.size
    if not m or not n:
        return constant(0, (m, n), c.aval.dtype)
    back = P.slice(r, start=(n - 1,), step=(-1,), shape=(n - 1,))
    return _placed(P.concatenate(back, c, axis=0), m, n, n - 1, -1)


@public(space="linalg")
def hankel(c: Term, r: Term = None) -> Term:
    """The matrix with constant antidiagonals: first column c, last row r (its first element is not read), zeros unless given.

    >>> import lazygrad as lg
    >>> lg.linalg.hankel(lg.asarray([1, 2, 3])).tolist()
    [[1, 2, 3], [2, 3, 0], [3, 0, 0]]
    """
    c = _vector("hankel", c)
    c, r = alike("hankel", (c, constant(0, c.aval.shape, c.aval.dtype) if r is None else _vector("hankel", r)))
    m, n = c.aval.size, r.aval.size
    if not m or not n:
        return constant(0, (m, n), c.aval.dtype)
    return _placed(P.concatenate(c, P.slice(r, start=(1,), step=(1,), shape=(n - 1,)), axis=0), m, n, 0, 1)


@public(space="linalg")
def circulant(c: Term) -> Term:
    """The matrix whose columns are c rolled on by one each.

    >>> import lazygrad as lg
    >>> lg.linalg.circulant(lg.asarray([1, 2, 3])).tolist()
    [[1, 3, 2], [2, 1, 3], [3, 2, 1]]
    """
    c = _vector("circulant", c)
    n = c.aval.size
    if not n:
        return constant(0, (0, 0), c.aval.dtype)
    return _placed(P.concatenate(P.slice(c, start=(1,), step=(1,), shape=(n - 1,)), c, axis=0), n, n, n - 1, -1)
