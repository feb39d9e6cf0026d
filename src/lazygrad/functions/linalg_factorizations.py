"""Factorizations of matrices: Cholesky's, QR and LU, and systems solved with them.

In: tensors whose last two axes are the matrix. Out: tensors, several as named tuples.
"""

from __future__ import annotations

from collections import namedtuple

from ..errors import DTypeError, ShapeError
from ..ir.term import Term
from ..lift import Terms
from ..prims import linalg_factorizations as L
from ..prims import linalg_systems as S
from ..prims import matrices as X
from .linalg import square_matrix
from .linalg_systems import factored, matrix, sided, unsided
from .promotion import P, cast, dtypes
from .table import plain, public

QRResult = namedtuple("QRResult", ("Q", "R"))
LUResult = namedtuple("LUResult", ("P", "L", "U"))
LUFactorResult = namedtuple("LUFactorResult", ("LU", "pivots"))


# ---- Cholesky -----------------------------------------------------------------------------------------------------------

@public(space="linalg")
def cholesky(x: Term, upper: bool = False) -> Term:
    """The lower L of x = L Lᴴ for Hermitian positive definite x (..., n, n); with `upper` the U of x = Uᴴ U.

    x stands for its Hermitian part (x + xᴴ) / 2, so that its gradient is Hermitian. LinAlgError where it is not positive definite.

    >>> import lazygrad as lg
    >>> lg.linalg.cholesky(lg.asarray([[4., 0.], [0., 9.]])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    l = L.cholesky(square_matrix("cholesky", x))
    return X.adjoint(l) if upper else l


@plain(space="linalg")
def cho_factor(a, lower=False):
    """The Cholesky factor of a, and whether it is the lower one: what `cho_solve` takes.

    >>> import lazygrad as lg
    >>> c, lower = lg.linalg.cho_factor(lg.asarray([[4., 0.], [0., 9.]]))
    >>> lg.linalg.cho_solve((c, lower), lg.asarray([4., 18.])).tolist()
    [1.0, 2.0]
    """
    from .table import SPACES
    return SPACES["linalg"]["cholesky"](a, upper=not lower), bool(lower)


@public(space="linalg")
def cho_solve(c_and_lower: Terms, b: Term) -> Term:
    """The x of a x = b from `cho_factor(a)`: a = c cᴴ if c is the lower factor, cᴴ c if it is the upper.

    >>> import lazygrad as lg
    >>> lg.linalg.cho_solve((lg.asarray([[2., 0.], [1., 2.]]), True), lg.asarray([4., 6.])).tolist()
    [0.5, 1.0]
    """
    c, lower = pair_of("cho_solve", c_and_lower, "(c, lower)")
    if isinstance(lower, Term):
        raise DTypeError("cho_solve", "a tensor as `lower`", "a truth of Python's is expected", "pass (c, True) or (c, False)")
    return factored("cho_solve", c, bool(lower), b)


def pair_of(op: str, given: Terms, form: str) -> Terms:
    if len(given) != 2 or not isinstance(given[0], Term):
        raise DTypeError(op, f"{len(given)} values", f"the pair {form} is expected", "pass what the factorization gave")
    return given


# ---- QR -----------------------------------------------------------------------------------------------------------------

@public(space="linalg", result=QRResult)
def qr(x: Term, mode: str = "reduced") -> tuple[Term, Term]:
    """Q with orthonormal columns and upper R of x = Q R, for x (..., m, n).

    `mode` "reduced": Q (..., m, k) and R (..., k, n), k = min(m, n); "complete": (..., m, m) and (..., m, n); "r": R alone. The
    derivative needs the first k columns of x to be independent (else LinAlgError). Further columns of a complete Q move with the
    space that they span; a function of them must depend on that space only.

    >>> import lazygrad as lg
    >>> abs(lg.linalg.qr(lg.asarray([[0., 2.], [1., 0.]])).R).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    if mode not in ("reduced", "complete", "r"):
        raise DTypeError("qr", f"mode={mode!r}", "there is no such mode", 'pass "reduced", "complete" or "r"')
    x = matrix("qr", x)
    m, n = x.aval.shape[-2:]
    if m >= n:
        q, r = L.qr(x, full=mode == "complete")
    else:                                      # the rest of R is Qᴴ times the rest of x
        q, left = L.qr(X.cut(x, columns=(0, m)), full=False)
        r = P.concatenate(left, P.matmul(X.adjoint(q), X.cut(x, columns=(m, n))), axis=x.aval.ndim - 1)
    return r if mode == "r" else (q, r)


# ---- LU -----------------------------------------------------------------------------------------------------------------

def unpacked(both: Term) -> tuple[Term, Term]:
    """L (..., m, k) and U (..., k, n) from the matrix that holds both."""
    m, n = both.aval.shape[-2:]
    k = min(m, n)
    l = X.lower(X.cut(both, columns=(0, k)), -1)
    return P.add(l, X.on_diagonal(X.like(l, 1))), X.upper(X.cut(both, rows=(0, k)))


@public(space="linalg", result=LUResult)
def lu(x: Term) -> tuple[Term, Term, Term]:
    """P, L and U of x = P L U with partial pivoting, for x (..., m, n): P a permutation matrix, L (..., m, k) with unit diagonal, U (..., k, n).

    The derivative needs a nonsingular U (else LinAlgError).

    >>> import lazygrad as lg
    >>> lg.linalg.lu(lg.asarray([[0., 2.], [1., 0.]])).U.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    x = matrix("lu", x)
    both, order = L.lu(x)
    return (X.transposed(L.permutation(order, X.real(x).aval.dtype)), *unpacked(both))


@public(space="linalg", result=LUFactorResult)
def lu_factor(a: Term) -> tuple[Term, Term]:
    """L and U of (..., m, n) in one matrix, and LAPACK's exchanges of rows (..., k), int32: row i was exchanged with row pivots[i].

    >>> import lazygrad as lg
    >>> lg.linalg.lu_factor(lg.asarray([[0., 2.], [1., 0.]])).pivots.tolist()
    [1, 1]
    """
    both, order = L.lu(matrix("lu_factor", a))
    return both, L.swaps(order, count=min(a.aval.shape[-2:]))


@public(space="linalg")
def lu_solve(lu_and_piv: Terms, b: Term, trans: int = 0) -> Term:
    """The x of a x = b from `lu_factor(a)`; `trans` 1 solves aᵀ x = b, 2 aᴴ x = b. b is (n,) or (..., n, k).

    >>> import lazygrad as lg
    >>> factors = lg.linalg.lu_factor(lg.asarray([[0., 2.], [1., 0.]]))
    >>> lg.linalg.lu_solve(factors, lg.asarray([2., 4.])).tolist()
    [4.0, 1.0]
    """
    both, pivots = pair_of("lu_solve", lu_and_piv, "(lu, pivots)")
    if trans not in (0, 1, 2):
        raise DTypeError("lu_solve", f"trans={trans!r}", "there is no such system", "pass 0, 1 or 2")
    both = square_matrix("lu_solve", both)
    n = both.aval.shape[-1]
    if not isinstance(pivots, Term) or pivots.aval.dtype.kind not in "iu" or pivots.aval.shape != both.aval.shape[:-1]:
        raise ShapeError("lu_solve", f"{both.aval} and {getattr(pivots, 'aval', pivots)}", "these are no factors", "pass what lu_factor gave")
    order = L.unswaps(cast(pivots, dtypes.int32), size=n)
    both, b, vector = sided("lu_solve", both, b)
    put = L.permutation(order, both.aval.dtype)
    put = P.broadcast_to(put, shape=both.aval.shape)
    if trans == 0:
        y = S.triangular_solve(both, P.matmul(put, b), lower=True, unit=True)
        return unsided(S.triangular_solve(both, y, lower=False, unit=False), vector)
    turned = X.transposed(both) if trans == 1 else X.adjoint(both)
    y = S.triangular_solve(turned, b, lower=True, unit=False)
    x = P.matmul(X.transposed(put), S.triangular_solve(turned, y, lower=False, unit=True))
    return unsided(x, vector)
