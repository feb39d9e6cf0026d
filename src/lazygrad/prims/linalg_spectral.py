"""Eigenvalues and singular values with their vectors; LAPACK on the host, derivatives made of primitives.

In: (*batch, m, n) of float32, float64, complex64 or complex128. Hermitian problems are those of the Hermitian part (A + Aᴴ) / 2.

Vectors are determined up to a factor (of size 1), and within the space of a repeated value up to a rotation. The derivatives turn
nothing that is not determined: where two values differ by rounding only, the quotient 1 / (w[j] - w[i]) is taken as 0. So they are
finite everywhere, right for whatever does not depend on that choice, and those of the values alone are right at repeated ones too.
"""

from __future__ import annotations

import numpy as np

from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import matrices as X
from . import movement as M
from .base import Custom, Prim
from .contraction import matmul
from .linalg import FAILS, attempted, solve, square
from .linalg_factorizations import hermitian
from .linalg_several import Several
from .linalg_systems import matrix

NOT_FOUND = "the iteration for its values did not converge", "check for infinities and NaN"


def total(*parts: Term | None) -> Term | None:
    """The sum of the parts that are there."""
    out = None
    for part in parts:
        if part is not None:
            out = part if out is None else E.add(out, part)
    return out


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def gaps(w: Term) -> Term:
    """F[i, j] = 1 / (w[j] - w[i]), 0 on the diagonal and where the values are equal up to rounding."""
    n = w.aval.shape[-1]
    square_ = X.zeros((*w.aval.shape, n), w)
    d = E.sub(X.by_column(w, square_), X.by_row(w, square_))
    return X.reciprocal(d, X.by_row(X.rounding(w, n), square_))


# ---- Hermitian eigenvalues: Giles 2008 §3.1 --------------------------------------------------------------------------

def _eigh_avals(a: Aval) -> tuple[Aval, Aval]:
    square("eigh", a)
    return aval(a.shape[:-1], E.real_dtype(a.dtype)), a


def _eigh_vjp(cts: tuple[Term | None, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term]:
    # Ā = herm(V (diag(w̄) + F∘(Vᴴ V̄)) Vᴴ)
    (w, v), (gw, gv) = outs, cts
    inner = None if gw is None else X.from_diagonal(X.as_dtype(gw, v.aval.dtype))
    if gv is not None:
        inner = total(inner, E.mul(X.as_dtype(gaps(w), v.aval.dtype), matmul(X.adjoint(v), X.conj(gv))))
    return (X.conj(X.hermitian(X.product(v, inner, X.adjoint(v)))),)


def _eigh_jvp(ts: tuple[Term, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term, Term]:
    # ẇ = diag(Vᴴ Ȧ V), V̇ = V (F∘(Vᴴ Ȧ V))
    w, v = outs
    inner = X.product(X.adjoint(v), X.hermitian(ts[0]), v)
    return X.real(X.diagonal(inner)), matmul(v, E.mul(X.as_dtype(gaps(w), v.aval.dtype), inner))


eigh = Several("eigh", attempted("eigh", *NOT_FOUND)(lambda a: np.linalg.eigh(hermitian(a))), _eigh_avals, _eigh_vjp, _eigh_jvp)


def _eigvalsh_vjp(ct: Term, w: Term, a: Term) -> tuple[Term]:
    return _eigh_vjp((ct, None), eigh(a), a)


eigvalsh = Prim("eigvalsh", attempted("eigvalsh", *NOT_FOUND)(lambda a: np.linalg.eigvalsh(hermitian(a))), lambda a: _eigh_avals(a)[0], FAILS,
                Custom(_eigvalsh_vjp, lambda ts, w, a: _eigh_jvp(ts, eigh(a), a)[0]))


# ---- general eigenvalues ---------------------------------------------------------------------------------------------
# Giles 2008 §3.1, with columns of length 1 as LAPACK makes them: V̇ = V (K - Re diag(VᴴV K)), K = F∘(V⁻¹ Ȧ V)

def _eig_avals(a: Aval) -> tuple[Aval, Aval]:
    square("eig", a)
    dtype = _complex(a.dtype)
    return aval(a.shape[:-1], dtype), aval(a.shape, dtype)


def _eig_numpy(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w, v = np.linalg.eig(a)
    dtype = _complex(a.dtype)
    return w.astype(dtype), v.astype(dtype)


def _eig_vjp(cts: tuple[Term | None, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term]:
    (w, v), (gw, gv) = outs, cts
    inner = None if gw is None else X.from_diagonal(X.conj(gw))
    if gv is not None:
        h = X.adjoint(v)
        m = matmul(h, X.conj(gv))
        scaled = X.by_column(X.real_part(X.diagonal(m)), v)
        inner = total(inner, E.mul(X.conj(gaps(w)), E.sub(m, E.mul(matmul(h, v), scaled))))
    g = solve(X.adjoint(v), matmul(inner, X.adjoint(v)))
    return (X.as_dtype(X.conj(g), a.aval.dtype),)


def _eig_jvp(ts: tuple[Term, ...], outs: tuple[Term, ...], a: Term) -> tuple[Term, Term]:
    w, v = outs
    inner = solve(v, matmul(X.as_dtype(ts[0], v.aval.dtype), v))
    k = E.mul(gaps(w), inner)
    stretch = X.real_part(X.diagonal(X.product(X.adjoint(v), v, k)))
    return X.diagonal(inner), matmul(v, E.sub(k, X.from_diagonal(stretch)))


eig = Several("eig", attempted("eig", *NOT_FOUND)(_eig_numpy), _eig_avals, _eig_vjp, _eig_jvp)
eigvals = Prim("eigvals", attempted("eigvals", *NOT_FOUND)(lambda a: np.linalg.eigvals(a).astype(_complex(a.dtype))), lambda a: _eig_avals(a)[0], FAILS,
               Custom(lambda ct, w, a: _eig_vjp((ct, None), eig(a), a), lambda ts, w, a: _eig_jvp(ts, eig(a), a)[0]))


# ---- singular values -------------------------------------------------------------------------------------------------
# Townsend, Differentiating the Singular Value Decomposition (2016), for complex matrices with the free phase shared evenly by U and V.
# U̇ = U Ω + (I - UUᴴ) Ȧ V S⁻¹, V̇ alike; columns of a full U or V beyond the thin one move against it only.

def _svd_avals(a: Aval, *, full: bool) -> tuple[Aval, ...]:
    matrix("svd", a)
    *batch, m, n = a.shape
    k = min(m, n)
    return (aval((*batch, m, m if full else k), a.dtype), aval((*batch, k), E.real_dtype(a.dtype)),
            aval((*batch, n if full else k, n), a.dtype))


def _spread(s: Term, dtype: np.dtype) -> tuple[Term, Term, Term]:
    """1 / (s[j]² - s[i]²), safe, as matrices; 1 / s, safe, as vectors; and s: in `dtype`."""
    k = s.aval.shape[-1]
    shape = X.zeros((*s.aval.shape, k), s)
    right, left = X.by_column(s, shape), X.by_row(s, shape)
    small = X.rounding(s, k)
    near = X.reciprocal(E.sub(right, left), X.by_row(small, shape))
    far = X.reciprocal(E.add(right, left), X.by_row(small, shape))
    return tuple([X.as_dtype(t, dtype) for t in (E.mul(near, far), X.reciprocal(s, small), s)])


def _thin(u: Term, vh: Term, k: int) -> tuple[Term, Term, Term | None, Term | None]:
    """U and Vᴴ cut to k columns and rows, and what was cut off (None: nothing)."""
    m, n = u.aval.shape[-1], vh.aval.shape[-2]
    return (X.cut(u, columns=(0, k)), X.cut(vh, rows=(0, k)), X.cut(u, columns=(k, m)) if m > k else None,
            X.cut(vh, rows=(k, n)) if n > k else None)


def _outside(x: Term, basis: Term) -> Term:
    """(I - B Bᴴ) X."""
    return E.sub(x, matmul(basis, matmul(X.adjoint(basis), x)))


def _svd_jvp(ts: tuple[Term, ...], outs: tuple[Term, ...], a: Term, *, full: bool) -> tuple[Term, Term, Term]:
    u_, s_, vh_ = outs
    t, k = ts[0], s_.aval.shape[-1]
    u, vh, u_more, vh_more = _thin(u_, vh_, k)
    v = X.adjoint(vh)
    f, inverse, s = _spread(s_, t.aval.dtype)
    p = X.product(X.adjoint(u), t, v)
    ds = X.real(X.diagonal(p))
    # Ω = F∘(P S + S Pᴴ), and the same for V with P and Pᴴ exchanged
    ps, sp = E.mul(p, X.by_column(s, p)), E.mul(X.by_row(s, p), p)
    du = matmul(u, E.mul(f, E.add(ps, X.adjoint(ps))))
    dv = matmul(v, E.mul(f, E.add(sp, X.adjoint(sp))))
    if not E.is_real(t):
        phase = X.from_diagonal(E.scale(E.mul(X.imaginary_part(X.diagonal(p)), inverse), 0.5))
        du, dv = E.add(du, matmul(u, phase)), E.sub(dv, matmul(v, phase))
    m, n = a.aval.shape[-2:]
    if m > k:
        move = matmul(t, v)
        du = E.add(du, _outside(E.mul(move, X.by_column(inverse, move)), u))
    if n > k:
        move = matmul(X.adjoint(t), u)
        dv = E.add(dv, _outside(E.mul(move, X.by_column(inverse, move)), v))
    axis = a.aval.ndim - 1
    if u_more is not None:
        back = E.neg(matmul(u, matmul(X.adjoint(du), u_more)))
        du = M.concatenate(du, back, axis=axis)
    if vh_more is not None:
        v_more = X.adjoint(vh_more)
        dv = M.concatenate(dv, E.neg(matmul(v, matmul(X.adjoint(dv), v_more))), axis=axis)
    return du, ds, X.adjoint(dv)


def _against(g: Term | None, whole: Term, thin: Term, more: Term | None, k: int) -> Term | None:
    """The gradient of the thin basis from that of the whole: B₂ moves by -B₁ Ḃ₁ᴴ B₂, so Ḡ₁ - B₂ Ḡ₂ᴴ B₁."""
    if g is None or more is None:
        return g
    g2 = X.cut(g, columns=(k, g.aval.shape[-1]))
    return E.sub(X.cut(g, columns=(0, k)), matmul(more, matmul(X.adjoint(g2), thin)))


def _svd_vjp(cts: tuple[Term | None, ...], outs: tuple[Term, ...], a: Term, *, full: bool) -> tuple[Term]:
    u_, s_, vh_ = outs
    k, dtype = s_.aval.shape[-1], a.aval.dtype
    u, vh, u_more, vh_more = _thin(u_, vh_, k)
    v = X.adjoint(vh)
    gu, gs, gvh = cts
    gu = None if gu is None else _against(X.conj(gu), u_, u, u_more, k)
    gv = None if gvh is None else _against(X.adjoint(X.conj(gvh)), X.adjoint(vh_), v, None if vh_more is None else X.adjoint(vh_more), k)
    f, inverse, s = _spread(s_, dtype)
    m, n = a.aval.shape[-2:]
    inner = None if gs is None else X.from_diagonal(X.as_dtype(gs, dtype))
    phases = []
    if gu is not None:
        uu = matmul(X.adjoint(u), gu)
        part = E.mul(f, uu)                    # the adjoint of P → F∘(P S + S Pᴴ), F antisymmetric and real
        inner = total(inner, E.mul(E.add(part, X.adjoint(part)), X.by_column(s, part)))
        phases.append(uu)
    if gv is not None:
        vv = matmul(X.adjoint(v), gv)
        part = E.mul(f, vv)
        inner = total(inner, E.mul(X.by_row(s, part), E.add(part, X.adjoint(part))))
        phases.append(E.neg(vv))
    if phases and not E.is_real(a):
        turn = X.imaginary_part(X.diagonal(total(*phases)))
        inner = total(inner, X.from_diagonal(E.scale(E.mul(turn, inverse), 0.5)))
    out = X.product(u, inner, vh)
    if m > k and gu is not None:
        out = E.add(out, matmul(_outside(E.mul(gu, X.by_column(inverse, gu)), u), vh))
    if n > k and gv is not None:
        out = E.add(out, matmul(u, X.adjoint(_outside(E.mul(gv, X.by_column(inverse, gv)), v))))
    return (X.conj(out),)


svd = Several("svd", attempted("svd", *NOT_FOUND)(lambda a, *, full: np.linalg.svd(a, full_matrices=full)), _svd_avals, _svd_vjp, _svd_jvp,
              ("full",))


def _svdvals_vjp(ct: Term, s: Term, a: Term) -> tuple[Term]:
    return _svd_vjp((None, ct, None), svd(a, full=False), a, full=False)


def _svdvals_jvp(ts: tuple[Term, ...], s: Term, a: Term) -> Term:
    u, _, vh = svd(a, full=False)
    return X.real(X.diagonal(X.product(X.adjoint(u), ts[0], X.adjoint(vh))))


svdvals = Prim("svdvals", attempted("svdvals", *NOT_FOUND)(lambda a: np.linalg.svd(a, compute_uv=False)), lambda a: _svd_avals(a, full=False)[1], FAILS,
               Custom(_svdvals_vjp, _svdvals_jvp))
