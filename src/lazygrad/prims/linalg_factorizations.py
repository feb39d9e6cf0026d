"""Factorizations of matrices: Cholesky's, QR, LU; LAPACK on the host, derivatives made of primitives.

In: (*batch, m, n) of float32, float64, complex64 or complex128.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import matrices as X
from . import movement as M
from .base import Custom, Host, Prim
from .contraction import matmul
from .leaf import iota
from .linalg import FAILS, attempted, square
from .linalg_several import Several
from .linalg_systems import matrix, stacked, triangular_solve

# ---- Cholesky --------------------------------------------------------------------------------------------------------
# Murray, Differentiation of the Cholesky decomposition, arXiv:1602.07527 (2016)


def hermitian(a: np.ndarray) -> np.ndarray:
    """The Hermitian part; `a` itself, bit for bit, where it is Hermitian."""
    t = a.swapaxes(-1, -2)
    out = a + (t.conj() if a.dtype.kind == "c" else t)
    out *= 0.5
    return out


def _half(x: Term) -> Term:
    """Φ: the lower triangle with the diagonal halved."""
    return E.sub(X.lower(x), E.scale(X.on_diagonal(x), 0.5))


def _solved(l: Term, x: Term) -> Term:
    """L⁻¹ X."""
    return triangular_solve(l, x, lower=True, unit=False)


def _cholesky_vjp(g: Term, l: Term, a: Term) -> tuple[Term]:
    # Ā = herm(L⁻ᴴ Φ(Lᴴ L̄) L⁻¹)
    h = X.adjoint(l)
    p = X.hermitian(_half(matmul(h, g)))
    p = triangular_solve(h, p, lower=False, unit=False)
    return (X.hermitian(X.adjoint(triangular_solve(h, X.adjoint(p), lower=False, unit=False))),)


def _cholesky_jvp(ts: tuple[Term, ...], l: Term, a: Term) -> Term:
    # L̇ = L Φ(L⁻¹ Ȧ L⁻ᴴ)
    inner = _solved(l, X.adjoint(_solved(l, X.hermitian(ts[0]))))
    return matmul(l, _half(inner))


cholesky = Prim("cholesky", attempted("cholesky", "a matrix is not positive definite", "add a multiple of the identity")(
    lambda a: np.linalg.cholesky(hermitian(a))), lambda a: square("cholesky", a), FAILS, Custom(X.paired(_cholesky_vjp), _cholesky_jvp))


# ---- QR of tall matrices ---------------------------------------------------------------------------------------------
# Walter and Lehmann, Algorithmic differentiation of linear algebra functions with application in optimum experimental design (2010).
# The diagonal of R is real, as LAPACK makes it; the columns of a complete Q beyond the first n move against those only.

def _right_solved(x: Term, r: Term) -> Term:
    """X R⁻¹."""
    return X.transposed(triangular_solve(X.transposed(r), X.transposed(x), lower=True, unit=False))


def _qr_avals(a: Aval, *, full: bool) -> tuple[Aval, Aval]:
    *batch, m, n = matrix("qr", a).shape
    if m < n:
        raise ShapeError("qr", str(a.shape), "there are fewer rows than columns", "factor the first columns")
    k = m if full else n
    return aval((*batch, m, k), a.dtype), aval((*batch, k, n), a.dtype)


def _qr_jvp(ts: tuple[Term, ...], outs: tuple[Term, ...], a: Term, *, full: bool) -> tuple[Term, Term]:
    # X = Qᴴ Ȧ R⁻¹, Ω its skew part with the lower triangle of X, W = X - Ω: Q̇ = Ȧ R⁻¹ - Q W, Ṙ = W R
    n, m = a.aval.shape[-1], a.aval.shape[-2]
    q, r = X.cut(outs[0], columns=(0, n)), X.cut(outs[1], rows=(0, n))
    moved = _right_solved(ts[0], r)
    x = matmul(X.adjoint(q), moved)
    w = E.add(X.upper(x), X.adjoint(X.lower(x, -1)))
    if not E.is_real(w):
        w = E.sub(w, X.imaginary_part(X.on_diagonal(x)))
    dq, dr = E.sub(moved, matmul(q, w)), matmul(w, r)
    if full and m > n:
        more = X.cut(outs[0], columns=(n, m))
        axis = a.aval.ndim - 1
        dq = M.concatenate(dq, E.neg(matmul(q, matmul(X.adjoint(dq), more))), axis=axis)
        dr = M.concatenate(dr, X.zeros((*a.aval.shape[:-2], m - n, n), a), axis=axis - 1)
    return dq, dr


def _qr_vjp(cts: tuple[Term | None, ...], outs: tuple[Term, ...], a: Term, *, full: bool) -> tuple[Term]:
    # M = R̄ Rᴴ - Qᴴ Q̄: Ā = (Q̄ + Q C(M)) R⁻ᴴ, C the Hermitian matrix with the upper triangle of M
    n, m = a.aval.shape[-1], a.aval.shape[-2]
    q, r = X.cut(outs[0], columns=(0, n)), X.cut(outs[1], rows=(0, n))
    gq, gr = [None if c is None else X.conj(c) for c in cts]
    if gq is not None and full and m > n:
        more = X.cut(outs[0], columns=(n, m))
        gq = E.sub(X.cut(gq, columns=(0, n)), matmul(more, matmul(X.adjoint(X.cut(gq, columns=(n, m))), q)))
    inner = None if gr is None else matmul(X.cut(gr, rows=(0, n)), X.adjoint(r))
    if gq is not None:
        part = matmul(X.adjoint(q), gq)
        inner = E.neg(part) if inner is None else E.sub(inner, part)
    above = X.upper(inner, 1)
    g = matmul(q, E.add(E.add(above, X.adjoint(above)), X.real_part(X.on_diagonal(inner))))
    g = g if gq is None else E.add(gq, g)
    return (X.conj(X.adjoint(triangular_solve(r, X.adjoint(g), lower=False, unit=False))),)


qr = Several("qr", lambda a, *, full: np.linalg.qr(a, "complete" if full else "reduced"), _qr_avals, _qr_vjp, _qr_jvp, ("full",))


# ---- LU with partial pivoting ----------------------------------------------------------------------------------------
# of the rows that the pivots put in order: X = L⁻¹ Ȧ U⁻¹, L̇ = L (its strict lower triangle), U̇ = (its upper triangle) U

def _lu_avals(a: Aval) -> tuple[Aval, Aval]:
    return matrix("lu", a), aval(a.shape[:-1], int32)


def _lu_numpy(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L and U in one matrix, and the order of a's rows that they give."""
    *batch, m, n = a.shape
    many = stacked(a)
    if not a.size:
        both, order = many.copy(), np.tile(np.arange(m, dtype=np.int32), (len(many), 1))
    elif len(many) > min(m, n):                # many small ones: column by column over all of them at once
        both, order = _eliminated(many)
    else:
        from scipy.linalg import get_lapack_funcs
        factor, = get_lapack_funcs(("getrf",), (a,))
        both, swapped = np.empty_like(many), np.empty((len(many), min(m, n)), np.int32)
        for k, x in enumerate(many):
            both[k], swapped[k], _ = factor(x)
        order = _unswaps_numpy(swapped, size=m)
    return both.reshape(a.shape), order.reshape(*batch, m)


def _eliminated(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's elimination with row exchanges, of (count, m, n)."""
    a = a.copy()
    count, m, n = a.shape
    each, order = np.arange(count), np.tile(np.arange(m, dtype=np.int32), (count, 1))
    for i in range(min(m, n)):
        column = a[:, i:, i]
        size = np.abs(column.real) + np.abs(column.imag) if a.dtype.kind == "c" else np.abs(column)         # as LAPACK chooses
        best = i + size.argmax(-1)
        a[each, i], a[each, best] = a[each, best], a[each, i]
        _exchange(order, i, best)
        pivot = a[:, i, i, None]
        a[:, i + 1:, i] /= np.where(pivot == 0, 1, pivot)
        a[:, i + 1:, i + 1:] -= a[:, i + 1:, i, None] * a[:, i, None, i + 1:]
    return a, order


def permutation(order: Term, dtype: np.dtype) -> Term:
    """The matrix that puts rows in `order`: (..., m) → (..., m, m)."""
    m = order.aval.shape[-1]
    shape = (*order.aval.shape, m)
    rows = M.broadcast_to(M.reshape(order, shape=(*order.aval.shape, 1)), shape=shape)
    return E.cast(E.eq(rows, M.broadcast_to(iota(size=m, dtype=int32), shape=shape)), dtype=dtype)


def _triangles(both: Term) -> tuple[Term, Term]:
    """L (unit diagonal) and U of the square part, as the solver takes them: only their triangles are read."""
    k = min(both.aval.shape[-2:])
    s = X.cut(both, (0, k), (0, k))
    return s, X.upper(s)


def _lu_jvp(ts: tuple[Term, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term, None]:
    both, order = outs
    m, n = a.aval.shape[-2:]
    k, axis = min(m, n), a.aval.ndim - 1
    t = matmul(permutation(order, a.aval.dtype), ts[0])
    s, u = _triangles(both)
    l = E.add(X.lower(s, -1), X.identity_like(s))
    x = _right_solved(triangular_solve(s, X.cut(t, (0, k), (0, k)), lower=True, unit=True), u)
    dl, du = matmul(l, X.lower(x, -1)), matmul(X.upper(x), u)
    out = E.add(dl, du)
    if m > k:                                  # L₂ = A₂ U⁻¹
        below = _right_solved(E.sub(X.cut(t, (k, m)), matmul(X.cut(both, (k, m)), du)), u)
        out = M.concatenate(out, below, axis=axis - 1)
    if n > k:                                  # U₂ = L⁻¹ A₂
        beside = E.sub(X.cut(t, columns=(k, n)), matmul(dl, X.cut(both, columns=(k, n))))
        out = M.concatenate(out, triangular_solve(s, beside, lower=True, unit=True), axis=axis)
    return out, None


def _lu_vjp(cts: tuple[Term | None, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term | None]:
    both, order = outs
    ct = cts[0]
    if ct is None:
        return (None,)
    m, n = a.aval.shape[-2:]
    k, axis = min(m, n), a.aval.ndim - 1
    s, u = _triangles(both)
    l = E.add(X.lower(s, -1), X.identity_like(s))
    lt, ut = X.transposed(s), X.transposed(u)          # of the first only the upper triangle is read
    square_ = X.cut(ct, (0, k), (0, k))
    cl, cu = X.lower(square_, -1), X.upper(square_)
    beyond = None
    if m > k:
        beyond = _right_solved_lower(X.cut(ct, (k, m)), ut)
        cu = E.sub(cu, X.upper(matmul(X.transposed(X.cut(both, (k, m))), beyond)))
    if n > k:
        beyond = triangular_solve(lt, X.cut(ct, columns=(k, n)), lower=False, unit=True)
        cl = E.sub(cl, X.lower(matmul(beyond, X.transposed(X.cut(both, columns=(k, n)))), -1))
    x = E.add(X.lower(matmul(X.transposed(l), cl), -1), X.upper(matmul(cu, ut)))
    out = _right_solved_lower(triangular_solve(lt, x, lower=False, unit=True), ut)
    if beyond is not None:
        out = M.concatenate(out, beyond, axis=axis - 1 if m > k else axis)
    return (matmul(X.transposed(permutation(order, a.aval.dtype)), out),)


def _right_solved_lower(x: Term, l: Term) -> Term:
    """X L⁻¹."""
    return X.transposed(triangular_solve(X.transposed(l), X.transposed(x), lower=False, unit=False))


lu = Several("lu", _lu_numpy, _lu_avals, _lu_vjp, _lu_jvp)


# ---- the order of rows as LAPACK's exchanges -------------------------------------------------------------------------

def _vectors(name: str, x: Aval) -> Aval:
    if x.dtype != int32:
        raise DTypeError(name, str(x), "the order of rows is int32", "pass what lu_factor gave")
    return x


def _exchange(cur: np.ndarray, i: int, j: np.ndarray) -> None:
    """Exchange element i with element j of every row."""
    each = np.arange(len(cur))
    cur[each, i], cur[each, j] = cur[each, j], cur[each, i]


def _swaps_numpy(order: np.ndarray, *, count: int) -> np.ndarray:
    m = order.shape[-1]
    rows = order.reshape(-1, m) if m else order.reshape(0, 0)
    cur = np.tile(np.arange(m, dtype=np.int32), (len(rows), 1))
    out = np.zeros((len(rows), count), np.int32)
    for i in range(count):
        out[:, i] = (cur == rows[:, i, None]).argmax(-1)
        _exchange(cur, i, out[:, i])
    return out.reshape(*order.shape[:-1], count)


def _unswaps_numpy(swaps: np.ndarray, *, size: int) -> np.ndarray:
    count = swaps.shape[-1]
    rows = stacked(swaps[..., None])[..., 0]
    cur = np.tile(np.arange(size, dtype=np.int32), (len(rows), 1))
    if len(rows) < count:
        from scipy.linalg import lapack
        for line, row in zip(cur, rows, strict=True):
            line[:] = lapack.dlaswp(line[:, None].astype(np.float64), row)[:, 0]
    else:
        for i in range(count):
            _exchange(cur, i, rows[:, i])
    return cur.reshape(*swaps.shape[:-1], size)


swaps = Prim("swaps", _swaps_numpy, lambda x, *, count: aval((*_vectors("swaps", x).shape[:-1], count), int32), Host(), names=("count",))
unswaps = Prim("unswaps", _unswaps_numpy, lambda x, *, size: aval((*_vectors("unswaps", x).shape[:-1], size), int32), Host(), names=("size",))
