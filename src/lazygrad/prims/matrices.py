"""Matrices as Terms: transposes, triangles, diagonals, and quotients that are 0 where the divisor is nothing but rounding.

In: Terms whose last two axes are the matrix. Everything here is made of primitives, for the derivative rules of linear algebra.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..dtypes import int32
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from . import reduction as R
from .contraction import matmul
from .leaf import constant, iota, like

transposed = M.transposed


def conj(x: Term) -> Term:
    """The conjugate; x itself where it is real."""
    return x if E.is_real(x) else x.args[0] if x.op is E.conj else E.conj(x)


def adjoint(x: Term) -> Term:
    """xᴴ: transposed and conjugated."""
    return conj(transposed(x))


def product(x: Term, *others: Term) -> Term:
    """x @ y @ ..., from the left."""
    for y in others:
        x = matmul(x, y)
    return x


def hermitian(x: Term) -> Term:
    """The Hermitian part (x + xᴴ) / 2."""
    return E.scale(E.add(x, adjoint(x)), 0.5)


def cut(x: Term, rows: tuple[int, int] | None = None, columns: tuple[int, int] | None = None) -> Term:
    """The rows and columns [start, stop) of a matrix."""
    n = x.aval.ndim
    for axis, part in ((n - 2, rows), (n - 1, columns)):
        if part is not None and part != (0, x.aval.shape[axis]):
            x = M.cut(x, axis, part[0], part[1] - part[0])
    return x


# ---- triangles and diagonals -----------------------------------------------------------------------------------------

def _positions(x: Term) -> tuple[Term, Term]:
    """The row and the column of every element."""
    m, n = x.aval.shape[-2:]
    return (M.broadcast_to(M.reshape(iota(size=m, dtype=int32), shape=(m, 1)), shape=x.aval.shape),
            M.broadcast_to(iota(size=n, dtype=int32), shape=x.aval.shape))


def lower(x: Term, k: int = 0) -> Term:
    """x with zeros above its k-th diagonal."""
    row, column = _positions(x)
    return E.select(E.le(column, E.add(row, like(row, k))), x, 0)


def upper(x: Term, k: int = 0) -> Term:
    """x with zeros below its k-th diagonal."""
    row, column = _positions(x)
    return E.select(E.ge(column, E.add(row, like(row, k))), x, 0)


def on_diagonal(x: Term) -> Term:
    """x with zeros off its diagonal."""
    row, column = _positions(x)
    return E.select(E.eq(row, column), x, 0)


def diagonal(x: Term) -> Term:
    """(..., m, n) → (..., min(m, n)): the diagonal."""
    k = min(x.aval.shape[-2:])
    x = cut(x, (0, k), (0, k))
    return R.sum(on_diagonal(x), axes=(x.aval.ndim - 1,))


def from_diagonal(d: Term) -> Term:
    """(..., n) → (..., n, n): a diagonal matrix."""
    n = d.aval.shape[-1]
    return on_diagonal(M.broadcast_to(M.reshape(d, shape=(*d.aval.shape, 1)), shape=(*d.aval.shape, n)))


def by_row(d: Term, x: Term) -> Term:
    """(..., m) in the shape of x (..., m, n): one number for every row."""
    return M.broadcast_to(M.reshape(d, shape=(*d.aval.shape, 1)), shape=x.aval.shape)


def by_column(d: Term, x: Term) -> Term:
    """(..., n) in the shape of x (..., m, n): one number for every column."""
    shape = d.aval.shape
    return M.broadcast_to(M.reshape(d, shape=(*shape[:-1], 1, shape[-1])), shape=x.aval.shape)


def identity_like(x: Term) -> Term:
    """The identity in the shape of x (..., n, n)."""
    return on_diagonal(like(x, 1))


# ---- real and complex ------------------------------------------------------------------------------------------------

def real(x: Term) -> Term:
    """The real part, in the real dtype."""
    return x if E.is_real(x) else E.real(x)


def as_dtype(x: Term, dtype: np.dtype) -> Term:
    """x in another dtype; the real part where that is real."""
    return x if x.aval.dtype == dtype else E.cast(x, dtype=dtype)


def real_part(x: Term) -> Term:
    """Re x in the dtype of x."""
    return x if E.is_real(x) else E.scale(E.add(x, E.conj(x)), 0.5)


def imaginary_part(x: Term) -> Term:
    """i Im x in the dtype of x (complex)."""
    return E.scale(E.sub(x, E.conj(x)), 0.5)


# ---- safe quotients --------------------------------------------------------------------------------------------------

def reciprocal(d: Term, size: Term) -> Term:
    """1 / d, and 0 where |d| is at most `size`, a bound of what rounding makes of 0."""
    none = E.le(E.abs(d), size)
    return E.where(none, like(d, 0), E.reciprocal(E.where(none, like(d, 1), d)))


def rounding(values: Term, n: int) -> Term:
    """n ε max|values| over the last axis of (..., k), repeated as (..., k): what cannot be told from 0 beside them."""
    size = E.stop_gradient(real(E.abs(values)))
    if not size.aval.shape[-1]:
        return size
    top = R.max(size, axes=(size.aval.ndim - 1,))
    top = M.broadcast_to(M.reshape(top, shape=(*top.aval.shape, 1)), shape=size.aval.shape)
    return E.scale(top, n * float(np.finfo(size.aval.dtype).eps))


# ---- gradients as the literature pairs them --------------------------------------------------------------------------

def paired(rule: Callable[..., tuple[Term | None, ...]]) -> Callable[..., tuple[Term | None, ...]]:
    """A reverse rule on gradients G, paired with tangents by Re tr(Gᴴ Ẋ), as one on cotangents: their conjugates."""
    def vjp(ct: Term, out: Term, *args: Term, **static: object) -> tuple[Term | None, ...]:
        return tuple([None if g is None else conj(g) for g in rule(conj(ct), out, *args, **static)])
    return vjp


def zeros(shape: tuple[int, ...], like_: Term) -> Term:
    """Zeros of another shape in the dtype of a Term."""
    return constant(0, shape, like_.aval.dtype)
