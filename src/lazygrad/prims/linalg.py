"""Linear algebra on stacks of square matrices: expm, solve, inv, det, log|det| and its sign; run by NumPy on the host.

In: (*batch, n, n) of float32, float64, complex64 or complex128. Derivatives are made of primitives again and exact to
any order; that of expm holds for matrices that cannot be diagonalised too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, LinAlgError, ShapeError, SquareError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from . import reduction as R
from .base import Custom, Host, Prim
from .contraction import matmul
from .leaf import like

DTYPES = ("float32", "float64", "complex64", "complex128")


def square(op: str, a: Aval) -> Aval:
    if a.dtype.name not in DTYPES:
        raise DTypeError(op, str(a), f"{a.dtype} matrices have no {op}", "cast to float32, float64 or a complex dtype")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise SquareError(op, str(a.shape), "the last two axes must be equally long")
    return a


def attempted(op: str, wrong: str, fix: str) -> Callable[[Callable], Callable]:
    """A decorator of NumPy meanings: LAPACK's complaint becomes a LinAlgError that says which operation and shapes it was."""
    def wrap(f: Callable) -> Callable:
        @functools.wraps(f)
        def run(*arrays: np.ndarray, **static: Any) -> Any:
            try:
                return f(*arrays, **static)
            except LinAlgError:
                raise
            except np.linalg.LinAlgError:
                came = " and ".join([str(a.shape) for a in arrays])
                raise LinAlgError(op, came, wrong, fix) from None
        return run
    return wrap


FAILS = Host(fails=True)


# ---- the matrix exponential: Padé approximants, scaling and squaring ------------------------------------------------
# Higham, SIAM J. Matrix Anal. Appl. 26 (2005), and Al-Mohy and Higham, ibid. 31 (2009)

# ‖A‖₁ up to which the [m/m] approximant is exact to the unit roundoff of float64
THETA = {3: 1.495585217958292e-2, 5: 2.539398330063230e-1, 7: 9.504178996162932e-1, 9: 2.097847961257068e0, 13: 4.25}
DEGREES = tuple(THETA)
LOW = np.array([THETA[m] for m in DEGREES[:-1]])       # above the last of these: degree 13, scaled


def pade(m: int) -> list[float]:
    """The coefficients of the numerator of the [m/m] approximant of exp, the highest being 1.

    >>> pade(3)
    [120.0, 60.0, 12.0, 1.0]
    """
    return [float(math.factorial(2 * m - j) // (math.factorial(m - j) * math.factorial(j))) for j in range(m + 1)]


PADE = {m: pade(m) for m in THETA}
# log2 of the first coefficient of the backward error of the [13/13] approximant: 1 / (binomial(26, 13) 27!)
ERROR_13 = -math.log2(math.comb(26, 13)) - math.log2(math.factorial(27))


def _norm(a: np.ndarray) -> np.ndarray:
    """‖A‖₁ of every matrix."""
    return np.abs(a).sum(-2).max(-1)


def _times_power(a: np.ndarray, p: np.ndarray) -> np.ndarray:
    """a * 2**p in two steps, so that 2**p need not be a float."""
    half = p // 2
    return a * np.ldexp(1.0, half)[:, None, None] * np.ldexp(1.0, p - half)[:, None, None]


def _ratio(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(V - U)⁻¹ (V + U), NaN where they overflowed."""
    below, above = v - u, v + u
    sound = np.isfinite(below + above)
    if not sound.all():
        bad = ~sound.all((-2, -1))
        below[bad] = np.eye(u.shape[-1])
        above[bad] = np.nan
    return np.linalg.solve(below, above)


def _low_pade(m: int, a: np.ndarray) -> np.ndarray:
    """exp(A) by the approximant of degree 3, 5, 7 or 9, for ‖A‖₁ <= THETA[m]."""
    b = PADE[m]
    square = a @ a
    eye = np.eye(a.shape[-1])
    u, v = b[3] * square + b[1] * eye, b[2] * square + b[0] * eye
    power = square
    for j in range(4, m, 2):
        power = power @ square
        u += b[j + 1] * power
        v += b[j] * power
    return _ratio(a @ u, v)


def _halvings(eta: np.ndarray, p: np.ndarray) -> np.ndarray:
    """How often 2**p eta must be halved to come down to THETA[13]."""
    return np.ceil(np.maximum(np.log2(eta / THETA[13]) + p, 0))


def _high_pade(a: np.ndarray) -> np.ndarray:
    """exp(A) by degree 13 with scaling and squaring, every matrix scaled for itself."""
    # A = 2**p B with entries of B at most 1, so that no power overflows
    p = np.maximum(np.frexp(np.abs(a).max((-2, -1)))[1], 0)
    one = _times_power(a, -p)
    two = one @ one
    four = two @ two
    six = four @ two
    # d(k) = ‖Aᵏ‖^(1/k) bounds what the powers do better than ‖A‖: a nilpotent matrix needs little scaling
    d4, d6 = _norm(four) ** (1 / 4), _norm(six) ** (1 / 6)
    s = _halvings(np.maximum(d4, d6), p)
    if s.any():                                 # d(8) and d(10), never larger, cost two more products
        d8, d10 = _norm(four @ four) ** (1 / 8), _norm(six @ four) ** (1 / 10)
        s = _halvings(np.minimum(np.maximum(d6, d8), np.maximum(d8, d10)), p)
    # more where rounding of |A|²⁷ could show: log2(α / u) / 26 of (2009), u = 2⁻⁵³, α = |c| ‖|2⁻ˢA|²⁷‖ / ‖2⁻ˢA‖
    size = np.abs(one)
    row = np.ones((len(a), 1, a.shape[-1]))
    for _ in range(27):
        row = row @ size
    alpha = ERROR_13 + np.log2(row.max((-2, -1)) / _norm(one)) + 26 * (p - s)
    s = (s + np.ceil(np.maximum((alpha + 53) / 26, 0))).astype(np.int64)
    q = p - s
    b = PADE[13]
    one, two, four, six = (_times_power(x, k * q) for x, k in ((one, 1), (two, 2), (four, 4), (six, 6)))
    eye = np.eye(a.shape[-1], dtype=a.dtype)
    u = one @ (six @ (b[13] * six + b[11] * four + b[9] * two) + b[7] * six + b[5] * four + b[3] * two + b[1] * eye)
    v = six @ (b[12] * six + b[10] * four + b[8] * two) + b[6] * six + b[4] * four + b[2] * two + b[0] * eye
    x = _ratio(u, v)
    for k in range(int(s.max())):
        more = s > k
        if more.all():
            x = x @ x
        else:
            x[more] = x[more] @ x[more]
    return x


def _expm(a: np.ndarray) -> np.ndarray:
    """exp of every matrix of a stack of finite ones, each by the lowest degree that its norm allows."""
    degree = np.searchsorted(LOW, _norm(a))
    if (degree == degree[0]).all():
        return _pade(DEGREES[degree[0]], a)
    out = np.empty_like(a)
    for k in np.unique(degree):
        out[degree == k] = _pade(DEGREES[k], a[degree == k])
    return out


def _pade(m: int, a: np.ndarray) -> np.ndarray:
    return _high_pade(a) if m == 13 else _low_pade(m, a)


def expm_numpy(a: np.ndarray) -> np.ndarray:
    """The exponential of every matrix of a stack, (*batch, n, n) → the same; computed in float64 or complex128.

    A matrix with an infinity or a NaN gives NaN; entries too large for the dtype come out infinite or NaN.

    >>> expm_numpy(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    n = a.shape[-1]
    if a.size == 0:
        return a.copy()
    with np.errstate(all="ignore"):
        x = a.reshape(-1, n, n).astype(np.complex128 if a.dtype.kind == "c" else np.float64)
        sound = np.isfinite(x)
        bad = None if sound.all() else ~sound.all((-2, -1))
        if bad is not None:
            x[bad] = 0
        out = np.exp(x) if n == 1 else _expm(x)
        if bad is not None:
            out[bad] = np.nan
        return out.astype(a.dtype).reshape(a.shape)


def frechet(a: Term, e: Term) -> Term:
    """The derivative of expm at `a` in direction `e`: the upper right block of expm([[A, E], [0, A]])."""
    n, ndim = a.aval.shape[-1], a.aval.ndim
    top = M.concatenate(a, e, axis=ndim - 1)
    below = M.concatenate(like(a, 0), a, axis=ndim - 1)
    whole = expm(M.concatenate(top, below, axis=ndim - 2))
    return M.slice_(whole, start=(*(0,) * (ndim - 1), n), step=(1,) * ndim, shape=a.aval.shape)


# the adjoint of the derivative at A, in the pairing sum(x y), is the derivative at Aᵀ
expm = Prim("expm", expm_numpy, lambda a: square("expm", a), Host(),
            Custom(lambda ct, out, a: (frechet(M.transposed(a), ct),), lambda ts, out, a: frechet(a, ts[0])))


# ---- systems of equations -------------------------------------------------------------------------------------------

def _solve_aval(a: Aval, b: Aval) -> Aval:
    square("solve", a)
    if b.dtype != a.dtype:
        raise DTypeError("solve", f"{a.dtype} and {b.dtype}", "the dtypes differ", "cast one of them")
    if b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError("solve", f"{a.shape} and {b.shape}", "the right side must be (*batch, n, k)", "reshape it")
    return b


def _solve_vjp(ct: Term, x: Term, a: Term, b: Term) -> tuple[Term, Term]:
    # B̄ = A⁻ᵀ X̄, Ā = -B̄ Xᵀ
    b_ct = solve(M.transposed(a), ct)
    return E.neg(matmul(b_ct, M.transposed(x))), b_ct


def _solve_jvp(ts: tuple[Term | None, ...], x: Term, a: Term, b: Term) -> Term:
    # A Ẋ = Ḃ - Ȧ X
    ta, tb = ts
    if ta is None:
        return solve(a, tb)
    moved = matmul(ta, x)
    return solve(a, E.neg(moved) if tb is None else E.sub(tb, moved))


SINGULAR = "a matrix is singular: it has no inverse"
solve = Prim("solve", attempted("solve", SINGULAR, "use lstsq or pinv, or add a multiple of the identity")(np.linalg.solve), _solve_aval, FAILS,
             Custom(_solve_vjp, _solve_jvp))


def _inv_vjp(ct: Term, out: Term, a: Term) -> tuple[Term]:
    # Ā = -A⁻ᵀ Ȳ A⁻ᵀ
    t = M.transposed(out)
    return (E.neg(matmul(matmul(t, ct), t)),)


inv = Prim("inv", attempted("inv", SINGULAR, "use pinv, or add a multiple of the identity")(np.linalg.inv), lambda a: square("inv", a), FAILS,
           Custom(_inv_vjp, lambda ts, out, a: E.neg(matmul(matmul(out, ts[0]), out))))


# ---- determinants ---------------------------------------------------------------------------------------------------

def _scalar_aval(op: str, real: bool = False):
    def infer(a: Aval) -> Aval:
        square(op, a)
        return aval(a.shape[:-2], E.real_dtype(a.dtype) if real else a.dtype)
    return infer


def _over_matrix(c: Term, a: Term) -> Term:
    """One number per matrix, repeated over the matrix."""
    return M.broadcast_to(M.reshape(c, shape=(*c.aval.shape, 1, 1)), shape=a.aval.shape)


def _inner(a: Term, b: Term) -> Term:
    """sum(a * b) of every matrix."""
    n = a.aval.ndim
    return R.sum(E.mul(a, b), axes=(n - 2, n - 1))


def _cofactor_numpy(a: np.ndarray) -> np.ndarray:
    # A = U S V: cof A = det(U) det(V) conj(U) cof(S) conj(V); cof(S) holds the products of the other singular values
    if a.size == 0:
        return a.copy()
    u, s, v = np.linalg.svd(a)
    before = np.cumprod(np.concatenate([np.ones_like(s[..., :1]), s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([np.ones_like(s[..., :1]), s[..., :0:-1]], -1), -1)[..., ::-1]
    sign = (np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    return sign * (u.conj() * (before * after)[..., None, :]) @ v.conj()


def _cofactor_jvp(ts: tuple[Term, ...], out: Term, a: Term) -> Term:
    # d cof A = (A⁻ᵀ : dA) cof A - A⁻ᵀ dAᵀ cof A
    t = M.transposed(inv(a))
    return E.sub(E.mul(_over_matrix(_inner(t, ts[0]), a), out), matmul(matmul(t, M.transposed(ts[0])), out))


def _cofactor_vjp(ct: Term, out: Term, a: Term) -> tuple[Term]:
    t = M.transposed(inv(a))
    return (E.sub(E.mul(_over_matrix(_inner(ct, out), a), t), matmul(matmul(out, M.transposed(ct)), t)),)


cofactor = Prim("cofactor", _cofactor_numpy, lambda a: square("cofactor", a), FAILS,
                Custom(_cofactor_vjp, _cofactor_jvp))

# the gradient of det is the cofactor matrix, for singular matrices too (its own derivative needs the inverse)
det = Prim("det", np.linalg.det, _scalar_aval("det"), FAILS,
           Custom(lambda ct, out, a: (E.mul(_over_matrix(ct, a), cofactor(a)),),
                  lambda ts, out, a: _inner(cofactor(a), ts[0])))


def _logabsdet_vjp(ct: Term, out: Term, a: Term) -> tuple[Term]:
    ct = ct if E.is_real(a) else E.cast(ct, dtype=a.aval.dtype)
    return (E.mul(_over_matrix(ct, a), M.transposed(inv(a))),)


def _logabsdet_jvp(ts: tuple[Term, ...], out: Term, a: Term) -> Term:
    moved = _inner(M.transposed(inv(a)), ts[0])
    return moved if E.is_real(a) else E.real(moved)


logabsdet = Prim("logabsdet", lambda a: np.linalg.slogdet(a)[1], _scalar_aval("logabsdet", real=True), FAILS,
                 Custom(_logabsdet_vjp, _logabsdet_jvp))


def _signdet_vjp(ct: Term, out: Term, a: Term) -> tuple[Term]:
    # sign = exp(i φ), dφ = Im(A⁻ᵀ : dA); real signs are piecewise constant
    if E.is_real(a):
        return (like(a, 0),)
    turn = E.mul(ct, out)
    return (E.mul(_over_matrix(_imaginary(turn), a), M.transposed(inv(a))),)


def _signdet_jvp(ts: tuple[Term, ...], out: Term, a: Term) -> Term:
    return like(out, 0) if E.is_real(a) else E.mul(out, _imaginary(_inner(M.transposed(inv(a)), ts[0])))


def _imaginary(z: Term) -> Term:
    """i Im z."""
    return E.scale(E.sub(z, E.conj(z)), 0.5)


signdet = Prim("signdet", lambda a: np.linalg.slogdet(a)[0], _scalar_aval("signdet"), FAILS,
               Custom(_signdet_vjp, _signdet_jvp))
