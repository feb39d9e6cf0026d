"""Systems of equations beyond `solve`: triangular, Sylvester's, least squares and the pseudoinverse; LAPACK on the host.

In: (*batch, m, n) of one dtype and equal batch shapes. Derivatives are made of primitives again, in both modes and to any order.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import DTypeError, LinAlgError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import matrices as X
from .base import Custom, Prim
from .contraction import matmul
from .leaf import constant, like
from .linalg import DTYPES, FAILS, attempted, square
from .matrices import adjoint, paired, product, transposed


def matrix(op: str, a: Aval) -> Aval:
    """`a`, checked: floating or complex matrices of any sides."""
    if a.dtype.name not in DTYPES:
        raise DTypeError(op, str(a), f"{a.dtype} matrices have no {op}", "cast to float32, float64 or a complex dtype")
    if a.ndim < 2:
        raise ShapeError(op, str(a.shape), "a matrix has two axes", "reshape it first")
    return a


def alike(op: str, a: Aval, *others: Aval) -> None:
    """Equal dtypes, numbers of axes and batch shapes."""
    for b in others:
        if b.dtype != a.dtype:
            raise DTypeError(op, f"{a.dtype} and {b.dtype}", "the dtypes differ", "cast one of them")
        if b.ndim != a.ndim or b.shape[:-2] != a.shape[:-2]:
            raise ShapeError(op, f"{a.shape} and {b.shape}", "the batch axes differ", "broadcast them")


def stacked(a: np.ndarray) -> np.ndarray:
    """(*batch, m, n) as (count, m, n)."""
    return a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:])


# ---- triangular systems ----------------------------------------------------------------------------------------------

def _triangular_aval(a: Aval, b: Aval, *, lower: bool, unit: bool) -> Aval:
    square("solve_triangular", a)
    alike("solve_triangular", a, b)
    if b.shape[-2] != a.shape[-1]:
        raise ShapeError("solve_triangular", f"{a.shape} and {b.shape}", f"the right side has no {a.shape[-1]} rows", "reshape it")
    return b


def _zero_at(k: int, shape: tuple[int, ...]) -> LinAlgError:
    return LinAlgError("solve_triangular", str(shape), f"the matrix is singular: element {k} of the diagonal is 0", "use lstsq or pinv")


def _triangular_numpy(a: np.ndarray, b: np.ndarray, *, lower: bool, unit: bool) -> np.ndarray:
    if not b.size:
        return b.copy()
    n = a.shape[-1]
    matrices, sides = stacked(a), stacked(b)
    if len(matrices) > n:                      # many small ones: row by row over all of them at once
        return _substituted(matrices, sides, lower, unit).reshape(b.shape)
    from scipy.linalg import get_lapack_funcs
    solve, = get_lapack_funcs(("trtrs",), (a, b))
    out = np.empty_like(sides)
    for k, (m, s) in enumerate(zip(matrices, sides, strict=True)):
        # a row-major triangle is the transposed column-major one
        out[k], info = solve(m.T, s, lower=not lower, trans=1, unitdiag=unit)
        if info > 0:
            raise _zero_at(info - 1, a.shape)
    return out.reshape(b.shape)


def _substituted(a: np.ndarray, b: np.ndarray, lower: bool, unit: bool) -> np.ndarray:
    n = a.shape[-1]
    d = np.diagonal(a, axis1=-2, axis2=-1)
    if not unit and not d.all():
        raise _zero_at(int(np.argwhere(d == 0)[0, -1]), a.shape)
    x = b.copy()
    for i in range(n) if lower else range(n - 1, -1, -1):
        known = slice(0, i) if lower else slice(i + 1, n)
        x[:, i] -= (a[:, i, None, known] @ x[:, known])[:, 0]
        if not unit:
            x[:, i] /= d[:, i, None]
    return x


def _triangle(x: Term, lower: bool, unit: bool) -> Term:
    """What the solver reads of x."""
    return X.lower(x, -int(unit)) if lower else X.upper(x, int(unit))


def _triangular_vjp(ct: Term, x: Term, a: Term, b: Term, *, lower: bool, unit: bool) -> tuple[Term, Term]:
    # B̄ = A⁻ᵀ X̄, Ā = -(the triangle of B̄ Xᵀ)
    b_ct = triangular_solve(transposed(a), ct, lower=not lower, unit=unit)
    return E.neg(_triangle(matmul(b_ct, transposed(x)), lower, unit)), b_ct


def _triangular_jvp(ts: tuple[Term | None, ...], x: Term, a: Term, b: Term, *, lower: bool, unit: bool) -> Term:
    # A Ẋ = Ḃ - Ȧ X
    ta, right = ts
    if ta is not None:
        moved = E.neg(matmul(_triangle(ta, lower, unit), x))
        right = moved if right is None else E.add(right, moved)
    return triangular_solve(a, right, lower=lower, unit=unit)


triangular_solve = Prim("triangular_solve", _triangular_numpy, _triangular_aval, FAILS, Custom(_triangular_vjp, _triangular_jvp),
                        ("lower", "unit"))


# ---- Sylvester's equation --------------------------------------------------------------------------------------------

def _sylvester_aval(a: Aval, b: Aval, q: Aval) -> Aval:
    square("sylvester", a)
    square("sylvester", b)
    alike("sylvester", a, b, q)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ShapeError("sylvester", f"{a.shape}, {b.shape} and {q.shape}", f"the right side must be ({a.shape[-1]}, {b.shape[-1]})",
                         "transpose or reshape it")
    return q


def _sylvester_numpy(a: np.ndarray, b: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Bartels and Stewart, Communications of the ACM 15 (1972): Schur forms, then a triangular equation."""
    if not q.size:
        return q.copy()
    from scipy.linalg import get_lapack_funcs, schur
    out = np.empty_like(stacked(q))
    for k, (m, n, right) in enumerate(zip(stacked(a), stacked(b), stacked(q), strict=True)):
        kind = "complex" if q.dtype.kind == "c" else "real"
        r, u = schur(m, output=kind)
        s, v = schur(n.conj().T, output=kind)
        f = u.conj().T @ right @ v
        solve, = get_lapack_funcs(("trsyl",), (r, s, f))
        y, scale, info = solve(r, s, f, tranb="C")
        if info:
            raise LinAlgError("sylvester", f"{a.shape} and {b.shape}", "an eigenvalue of a is one of -b: there is no single solution",
                              "shift a by a multiple of the identity")
        out[k] = u @ (y / scale) @ v.conj().T
    return out.reshape(q.shape)


def _sylvester_vjp(ct: Term, x: Term, a: Term, b: Term, q: Term) -> tuple[Term, Term, Term]:
    # Aᵀ Q̄ + Q̄ Bᵀ = X̄, Ā = -Q̄ Xᵀ, B̄ = -Xᵀ Q̄
    g = sylvester(transposed(a), transposed(b), ct)
    t = transposed(x)
    return E.neg(matmul(g, t)), E.neg(matmul(t, g)), g


def _sylvester_jvp(ts: tuple[Term | None, ...], x: Term, a: Term, b: Term, q: Term) -> Term:
    # A Ẋ + Ẋ B = Q̇ - Ȧ X - X Ḃ
    ta, tb, right = ts
    for moved in (None if ta is None else matmul(ta, x), None if tb is None else matmul(x, tb)):
        if moved is not None:
            right = E.neg(moved) if right is None else E.sub(right, moved)
    return sylvester(a, b, right)


sylvester = Prim("sylvester", attempted("sylvester", "its Schur form was not found", "check for infinities and NaN")(_sylvester_numpy),
                 _sylvester_aval, FAILS, Custom(_sylvester_vjp, _sylvester_jvp))


# ---- the pseudoinverse and least squares -----------------------------------------------------------------------------
# Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973): derivatives where the rank does not change

NOT_FOUND = "its singular values were not found", "check for infinities and NaN"


def _inverted(s: np.ndarray, rtol: float | np.ndarray) -> np.ndarray:
    """1 / s, and 0 where s is at most rtol times the largest."""
    large = s > np.expand_dims(rtol, -1) * s.max(-1, keepdims=True, initial=0)
    return np.where(large, 1 / np.where(large, s, 1), 0)


def _pinv_aval(a: Aval, rtol: Aval) -> Aval:
    matrix("pinv", a)
    if rtol is not aval(a.shape[:-2], E.real_dtype(a.dtype)):
        raise ShapeError("pinv", f"{a} with tolerances {rtol}", "there is one real tolerance for every matrix", "broadcast them")
    return aval((*a.shape[:-2], *a.shape[:-3:-1]), a.dtype)


def _pinv_numpy(a: np.ndarray, rtol: np.ndarray) -> np.ndarray:
    u, s, v = np.linalg.svd(a, full_matrices=False)
    return v.conj().swapaxes(-1, -2) @ (_inverted(s, rtol)[..., None] * u.conj().swapaxes(-1, -2))


def _pinv_jvp(ts: tuple[Term | None, ...], p: Term, a: Term, rtol: Term) -> Term:
    if ts[0] is None:
        return like(p, 0)
    # Ṗ = -P Ȧ P + P Pᴴ Ȧᴴ (I - A P) + (I - P A) Ȧᴴ Pᴴ P
    t, h = ts[0], adjoint(ts[0])
    first = E.neg(product(p, t, p))
    left = product(p, adjoint(p), h)
    right = product(h, adjoint(p), p)
    return E.add(first, E.add(E.sub(left, product(left, a, p)), E.sub(right, product(p, a, right))))


def _pinv_vjp(g: Term, p: Term, a: Term, rtol: Term) -> tuple[Term, None]:
    # the adjoint of the above: -(P Ḡᴴ P)ᴴ + (I - A P) Ḡᴴ P Pᴴ + Pᴴ P Ḡᴴ (I - P A), by products of the smaller side
    ph, gh = adjoint(p), adjoint(g)
    m, n = a.aval.shape[-2:]
    if m >= n:
        k = matmul(p, gh)
        kp = matmul(k, p)
        left = matmul(E.sub(gh, matmul(a, k)), matmul(p, ph))
        right = matmul(ph, E.sub(k, matmul(kp, a)))
        return E.sub(E.add(left, right), adjoint(kp)), None
    k = matmul(gh, p)
    pk = matmul(p, k)
    left = matmul(E.sub(k, matmul(a, pk)), ph)
    right = matmul(matmul(ph, p), E.sub(gh, matmul(k, a)))
    return E.sub(E.add(left, right), adjoint(pk)), None


pinv = Prim("pinv", attempted("pinv", *NOT_FOUND)(_pinv_numpy), _pinv_aval, FAILS, Custom(paired(_pinv_vjp), _pinv_jvp))


def _pinv(a: Term, rtol: float) -> Term:
    """The pseudoinverse with one tolerance for all."""
    return pinv(a, constant(rtol, a.aval.shape[:-2], E.real_dtype(a.aval.dtype)))


def _lstsq_aval(a: Aval, b: Aval, *, rtol: float) -> Aval:
    alike("lstsq", matrix("lstsq", a), b)
    if b.shape[-2] != a.shape[-2]:
        raise ShapeError("lstsq", f"{a.shape} and {b.shape}", f"the right side has no {a.shape[-2]} rows", "transpose or reshape it")
    return aval((*a.shape[:-2], a.shape[-1], b.shape[-1]), a.dtype)


def _lstsq_numpy(a: np.ndarray, b: np.ndarray, *, rtol: float) -> np.ndarray:
    u, s, v = np.linalg.svd(a, full_matrices=False)
    return v.conj().swapaxes(-1, -2) @ (_inverted(s, rtol)[..., None] * (u.conj().swapaxes(-1, -2) @ b))


def _lstsq_jvp(ts: tuple[Term | None, ...], x: Term, a: Term, b: Term, *, rtol: float) -> Term:
    # X = P B: Ẋ = P (Ḃ - Ȧ X) + P Pᴴ Ȧᴴ (B - A X) + (I - P A) Ȧᴴ Pᴴ X
    ta, tb = ts
    p = _pinv(a, rtol)
    if ta is None:
        return matmul(p, tb)
    moved = matmul(ta, x)
    h = adjoint(ta)
    right = product(h, adjoint(p), x)
    first = matmul(p, E.neg(moved) if tb is None else E.sub(tb, moved))
    second = product(p, adjoint(p), matmul(h, E.sub(b, matmul(a, x))))
    return E.add(first, E.add(second, E.sub(right, product(p, matmul(a, right)))))


def _lstsq_vjp(g: Term, x: Term, a: Term, b: Term, *, rtol: float) -> tuple[Term, Term]:
    p = _pinv(a, rtol)
    ph = adjoint(p)
    b_g = matmul(ph, g)
    first = E.neg(matmul(b_g, adjoint(x)))
    second = matmul(E.sub(b, matmul(a, x)), adjoint(matmul(p, b_g)))
    third = matmul(matmul(ph, x), adjoint(E.sub(g, matmul(adjoint(a), b_g))))
    return E.add(first, E.add(second, third)), b_g


lstsq = Prim("lstsq", attempted("lstsq", *NOT_FOUND)(_lstsq_numpy), _lstsq_aval, FAILS, Custom(paired(_lstsq_vjp), _lstsq_jvp), ("rtol",))

