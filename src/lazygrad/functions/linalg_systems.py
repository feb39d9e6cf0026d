"""Systems of linear equations beyond `solve`: triangular, factored, Sylvester's, least squares, and those of tensors.

In: tensors; matrices are the last two axes, the axes before them batches that broadcast. Out: tensors. Singular matrices are a
LinAlgError when the values are computed.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError, SquareError
from ..ir.term import Term
from ..lift import Operand
from ..prims import linalg_systems as L
from ..prims import matrices as X
from .linalg import batch_shape, inv, solve, square_matrix
from .movement import permuted
from .promotion import P, broadcast, broadcast_shapes, cast, constant, inexact, many_axes, reshaped
from .table import public

LstsqResult = namedtuple("LstsqResult", ("x", "residuals", "rank", "s"))


def matrix(op: str, x: Term) -> Term:
    """x as floating or complex matrices of any sides."""
    if x.aval.ndim < 2:
        raise SquareError(op, str(x.aval.shape), "a matrix has two axes", "pass matrices (..., m, n)")
    x = inexact(x)
    if x.aval.dtype == dtypes.float16:
        raise DTypeError(op, "float16", f"float16 matrices have no {op}", "cast to float32")
    return x


def sided(op: str, a: Term, b: Term) -> tuple[Term, Term, bool]:
    """A matrix and a right side with as many rows, of one dtype and equal batch axes; whether the side was a vector."""
    dtype = dtypes.promote(a.aval.dtype, inexact(b).aval.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    vector = b.aval.ndim == 1
    b = reshaped(b, (*b.aval.shape, 1)) if vector else b
    m = a.aval.shape[-2]
    if b.aval.ndim < 2 or b.aval.shape[-2] != m:
        raise ShapeError(op, f"{a.aval.shape} and {b.aval.shape[:-1] if vector else b.aval.shape}", f"the right side has no {m} rows",
                         "transpose or reshape it")
    batch = batch_shape(op, a, b, f"{a.aval.shape} and {b.aval.shape}")
    return broadcast(a, batch + a.aval.shape[-2:]), broadcast(b, batch + b.aval.shape[-2:]), vector


def unsided(x: Term, vector: bool) -> Term:
    return reshaped(x, x.aval.shape[:-1]) if vector else x


def usual(a: Term) -> float:
    """The ratio to the largest singular value from which one counts, unless another is given: max(m, n) ε."""
    return max(*a.aval.shape[-2:], 1) * float(np.finfo(a.aval.dtype).eps)


def tolerances(op: str, a: Term, given: Operand) -> Term:
    """The tolerance for every matrix of a, in the real dtype."""
    batch, dtype = a.aval.shape[:-2], X.real(a).aval.dtype
    if not isinstance(given, Term):
        return constant(usual(a) if given is None else given, batch, dtype)
    if broadcast_shapes(op, given.aval.shape, batch) != batch:
        raise ShapeError(op, f"{a.aval.shape} with tolerances {given.aval.shape}", "there is one for every matrix", "reshape them")
    return broadcast(cast(given, dtype), batch)


# ---- factored and triangular ------------------------------------------------------------------------------------------

@public(space="linalg")
def solve_triangular(a: Term, b: Term, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False) -> Term:
    """The x of a x = b for triangular a (..., n, n) and b (n,) or (..., n, k); only that triangle of a is read.

    `trans` 1 or "T" solves aᵀ x = b, 2 or "C" aᴴ x = b. `unit_diagonal`: the diagonal is taken to be 1. LinAlgError for a 0 on it.

    >>> import lazygrad as lg
    >>> lg.linalg.solve_triangular(lg.asarray([[2., 1.], [0., 4.]]), lg.asarray([3., 4.])).tolist()
    [1.0, 1.0]
    """
    a, b, vector = sided("solve_triangular", square_matrix("solve_triangular", a), b)
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise DTypeError("solve_triangular", f"trans={trans!r}", "there is no such system", 'pass 0, 1, 2, "N", "T" or "C"')
    if trans in (1, 2, "T", "C"):
        a, lower = X.transposed(a) if trans in (1, "T") else X.adjoint(a), not lower
    return unsided(L.triangular_solve(a, b, lower=bool(lower), unit=bool(unit_diagonal)), vector)


def factored(op: str, c: Term, lower: bool, b: Term) -> Term:
    """The x of a x = b from a's Cholesky factor."""
    c, b, vector = sided(op, square_matrix(op, c), b)
    first = L.triangular_solve(c if lower else X.adjoint(c), b, lower=True, unit=False)
    return unsided(L.triangular_solve(X.adjoint(c) if lower else c, first, lower=False, unit=False), vector)


# ---- Sylvester and Lyapunov -------------------------------------------------------------------------------------------

@public(space="linalg")
def solve_sylvester(a: Term, b: Term, q: Term) -> Term:
    """The X of a X + X b = q for a (..., m, m), b (..., n, n) and q (..., m, n).

    LinAlgError where a and -b share an eigenvalue.

    >>> import lazygrad as lg
    >>> lg.linalg.solve_sylvester(lg.asarray([[2.]]), lg.asarray([[3.]]), lg.asarray([[10.]])).tolist()
    [[2.0]]
    """
    a, b, q = square_matrix("solve_sylvester", a), square_matrix("solve_sylvester", b), matrix("solve_sylvester", q)
    given = f"{a.aval.shape}, {b.aval.shape} and {q.aval.shape}"
    if q.aval.shape[-2:] != (a.aval.shape[-1], b.aval.shape[-1]):
        raise ShapeError("solve_sylvester", given, f"q must be ({a.aval.shape[-1]}, {b.aval.shape[-1]})", "transpose or reshape it")
    dtype = dtypes.promote(dtypes.promote(a.aval.dtype, b.aval.dtype), q.aval.dtype)
    batch = batch_shape("solve_sylvester", reshaped(constant(0, (), dtype), (1, 1)), q, given)
    batch = np.broadcast_shapes(batch, batch_shape("solve_sylvester", a, b, given))
    return L.sylvester(*[broadcast(cast(t, dtype), batch + t.aval.shape[-2:]) for t in (a, b, q)])


@public("solve_lyapunov", space="linalg")
def solve_continuous_lyapunov(a: Term, q: Term) -> Term:
    """The X of a X + X aᴴ = q, all (..., n, n).

    >>> import lazygrad as lg
    >>> lg.linalg.solve_continuous_lyapunov(lg.asarray([[2.]]), lg.asarray([[12.]])).tolist()
    [[3.0]]
    """
    return solve_sylvester(a, X.adjoint(square_matrix("solve_continuous_lyapunov", a)), q)


@public(space="linalg")
def solve_discrete_lyapunov(a: Term, q: Term) -> Term:
    """The X of a X aᴴ - X + q = 0, all (..., n, n), by the bilinear transformation to the continuous equation.

    LinAlgError where a has the eigenvalue -1, or two whose product with the other's conjugate is 1.

    >>> import lazygrad as lg
    >>> lg.linalg.solve_discrete_lyapunov(lg.asarray([[0.5]]), lg.asarray([[3.]])).tolist()
    [[4.0]]
    """
    a, q = square_matrix("solve_discrete_lyapunov", a), square_matrix("solve_discrete_lyapunov", q)
    dtype = dtypes.promote(a.aval.dtype, q.aval.dtype)
    a, q = cast(a, dtype), cast(q, dtype)
    h = X.adjoint(a)
    eye = X.identity_like(a)
    # with B = (aᴴ + I)⁻¹ (aᴴ - I) the equation is Bᴴ X + X B = -2 (a + I)⁻¹ q (aᴴ + I)⁻¹ (Popov 1964)
    above = P.add(h, eye)
    b = solve(above, P.sub(h, eye))
    left = solve(P.add(a, eye), q)
    right = X.adjoint(solve(P.add(a, eye), X.adjoint(left)))
    return solve_sylvester(X.adjoint(b), b, P.mul(right, constant(-2, right.aval.shape, right.aval.dtype)))


# ---- least squares -----------------------------------------------------------------------------------------------------

@public("pinverse", space="linalg")
def pinv(x: Term, rtol: Operand = None, hermitian: bool = False, rcond: Operand = None) -> Term:
    """The pseudoinverse of (..., m, n): (..., n, m). Singular values up to `rtol` times the largest count as 0.

    `rtol` (NumPy's older name: `rcond`), one for all or one for every matrix, is max(m, n) ε unless given. The derivative is that for a rank that does not change (Golub and
    Pereyra 1973). `hermitian` promises a Hermitian x and changes nothing.

    >>> import lazygrad as lg
    >>> lg.linalg.pinv(lg.asarray([[2., 0.], [0., 0.], [0., 4.]])).tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.0, 0.25]]
    """
    x = matrix("pinv", x)
    return L.pinv(x, tolerances("pinv", x, rcond if rtol is None else rtol))


@public(space="linalg", result=LstsqResult)
def lstsq(a: Term, b: Term, rcond: float | None = None) -> tuple[Term, ...]:
    """Least squares: the x of smallest norm that minimises |a x - b|, for a (..., m, n) and b (m,) or (..., m, k).

    Gives x, the sums of squared residuals (one for each column of b; of size 0 where m <= n), the rank of a and its singular values.
    Those up to `rcond` times the largest count as 0. NumPy leaves the residuals of a rank below n out, here they are there: shapes
    do not depend on values. The derivative of x is that for a rank that does not change.

    >>> import lazygrad as lg
    >>> x, residuals, rank, s = lg.linalg.lstsq(lg.asarray([[2., 0.], [0., 2.], [0., 0.]]), lg.asarray([2., 4., 3.]))
    >>> x.tolist(), residuals.tolist(), rank.tolist()
    ([1.0, 2.0], [9.0], 2)
    """
    from .linalg_spectral import rank_of, svdvals
    a, b, vector = sided("lstsq", matrix("lstsq", a), b)
    rtol = usual(a) if rcond is None else float(rcond)
    x = L.lstsq(a, b, rtol=rtol)
    m, n = a.aval.shape[-2:]
    if m > n:
        square = P.square(P.abs(P.sub(b, P.matmul(a, x))))
        residuals = P.sum(square, axes=(a.aval.ndim - 2,))
    else:
        residuals = constant(0, (0,), X.real(a).aval.dtype)
    s = svdvals(a)
    return unsided(x, vector), residuals, rank_of(s, rtol=rtol), s


# ---- tensors as matrices -----------------------------------------------------------------------------------------------

@public(space="linalg")
def tensorinv(x: Term, ind: int = 2) -> Term:
    """The inverse of x as a linear map from its last axes to its first `ind`: `tensordot(tensorinv(x, ind), x, ind)` is the identity.

    >>> import lazygrad as lg
    >>> lg.linalg.tensorinv(lg.asarray([[2., 0.], [0., 4.]]), 1).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    shape = x.aval.shape
    if not 0 < ind <= len(shape):
        raise ShapeError("tensorinv", f"ind={ind} of {shape}", "it must name a number of axes", "pass 1 or more")
    m, n = math.prod(shape[:ind]), math.prod(shape[ind:])
    if m != n:
        raise SquareError("tensorinv", f"{shape} with ind={ind}", f"the sides have {m} and {n} elements", "pass another ind")
    return reshaped(inv(reshaped(x, (m, n))), shape[ind:] + shape[:ind])


@public(space="linalg")
def tensorsolve(a: Term, b: Term, axes: tuple[int, ...] | None = None) -> Term:
    """The x of `tensordot(a, x, x.ndim) = b`; `axes` of a are moved to its end first.

    >>> import lazygrad as lg
    >>> lg.linalg.tensorsolve(lg.asarray([[2., 0.], [0., 4.]]), lg.asarray([2., 4.])).tolist()
    [1.0, 1.0]
    """
    if axes is not None:
        moved = many_axes("tensorsolve", axes, a.aval.ndim)
        a = permuted(a, (*[k for k in range(a.aval.ndim) if k not in moved], *moved))
    rest = a.aval.shape[b.aval.ndim:]
    m, n = b.aval.size, math.prod(rest)
    if math.prod(a.aval.shape) != m * m or n != m:
        raise SquareError("tensorsolve", f"{a.aval.shape} and {b.aval.shape}", f"the sides have {m} and {n} elements", "pass axes that match")
    return reshaped(solve(reshaped(a, (m, n)), reshaped(b, (m,))), rest)
