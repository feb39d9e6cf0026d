"""Eigenvalues and singular values with their vectors, and the rank.

In: tensors whose last two axes are the matrix. Out: tensors, several as named tuples in the order of the Array API. Derivatives are
finite at repeated values: what is not determined there (a rotation of the vectors among themselves) does not move.
"""

from __future__ import annotations

from collections import namedtuple

from .. import dtypes
from ..errors import DTypeError
from ..ir.term import Term
from ..lift import Operand
from ..prims import linalg_spectral as L
from .linalg import square_matrix
from .linalg_systems import matrix, usual
from .promotion import P, broadcast, cast, constant, pair
from .table import public

EighResult = namedtuple("EighResult", ("eigenvalues", "eigenvectors"))
EigResult = namedtuple("EigResult", ("eigenvalues", "eigenvectors"))
SVDResult = namedtuple("SVDResult", ("U", "S", "Vh"))


def triangle(op: str, x: Term, UPLO: str) -> Term:
    """The Hermitian part of x."""
    if UPLO not in ("L", "U", "l", "u"):
        raise DTypeError(op, f"UPLO={UPLO!r}", "there is no such triangle", 'pass "L" or "U"')
    return square_matrix(op, x)


# ---- eigenvalues --------------------------------------------------------------------------------------------------------

@public(space="linalg", result=EighResult)
def eigh(x: Term, UPLO: str = "L") -> tuple[Term, Term]:
    """Eigenvalues (..., n), rising, and eigenvectors (..., n, n), the columns, of Hermitian x (..., n, n).

    x stands for its Hermitian part (x + xᴴ) / 2, so that its gradient is Hermitian; `UPLO` is NumPy's and changes nothing for a
    Hermitian x. Gradients are finite at repeated eigenvalues, and right there for functions of the eigenvalues.

    >>> import lazygrad as lg
    >>> lg.linalg.eigh(lg.asarray([[2., 0.], [0., 1.]])).eigenvalues.tolist()
    [1.0, 2.0]
    """
    return L.eigh(triangle("eigh", x, UPLO))


@public(space="linalg")
def eigvalsh(x: Term, UPLO: str = "L") -> Term:
    """The eigenvalues (..., n), rising, of Hermitian x (..., n, n): of its Hermitian part.

    >>> import lazygrad as lg
    >>> lg.linalg.eigvalsh(lg.asarray([[2., 0.], [0., 1.]])).tolist()
    [1.0, 2.0]
    """
    return L.eigvalsh(triangle("eigvalsh", x, UPLO))


@public(space="linalg", result=EigResult)
def eig(x: Term) -> tuple[Term, Term]:
    """Eigenvalues (..., n) and eigenvectors (..., n, n), the columns, each of length 1, of any square x; always complex.

    The phase of a vector is LAPACK's and taken not to move: a function of the vectors must not depend on it.

    >>> import lazygrad as lg
    >>> lg.linalg.eig(lg.asarray([[2., 0.], [0., 1.]])).eigenvalues.tolist()
    [(2+0j), (1+0j)]
    """
    return L.eig(square_matrix("eig", x))


@public(space="linalg")
def eigvals(x: Term) -> Term:
    """The eigenvalues (..., n) of any square x (..., n, n); always complex.

    >>> import lazygrad as lg
    >>> lg.linalg.eigvals(lg.asarray([[2., 0.], [0., 1.]])).tolist()
    [(2+0j), (1+0j)]
    """
    return L.eigvals(square_matrix("eigvals", x))


# ---- singular values ----------------------------------------------------------------------------------------------------

@public(space="linalg", result=SVDResult)
def svd(x: Term, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> tuple[Term, ...]:
    """U, S and Vh of x = U diag(S) Vh, for x (..., m, n): S (..., k) falls, k = min(m, n).

    U is (..., m, m) and Vh (..., n, n), or with `full_matrices=False` (..., m, k) and (..., k, n). Further columns of a full U or V
    move with the space that they span; a function of them must depend on that space only. Gradients are finite at repeated and at
    zero singular values. `hermitian` changes nothing; `compute_uv=False` gives `svdvals`.

    >>> import lazygrad as lg
    >>> lg.linalg.svd(lg.asarray([[0., 2.], [1., 0.]])).S.tolist()
    [2.0, 1.0]
    """
    if not compute_uv:
        return L.svdvals(matrix("svd", x))
    return L.svd(matrix("svd", x), full=bool(full_matrices))


@public(space="linalg")
def svdvals(x: Term) -> Term:
    """The singular values (..., min(m, n)) of (..., m, n), falling.

    >>> import lazygrad as lg
    >>> lg.linalg.svdvals(lg.asarray([[0., 2.], [1., 0.]])).tolist()
    [2.0, 1.0]
    """
    return L.svdvals(matrix("svdvals", x))


def rank_of(s: Term, tol: Operand = None, rtol: Operand = None) -> Term:
    """How many of the singular values s are above `tol`, or above `rtol` times the largest of them."""
    axis = s.aval.ndim - 1
    if not s.aval.shape[-1]:
        return constant(0, s.aval.shape[:-1], dtypes.int64)
    if tol is None:
        tol = P.mul(*pair("matrix_rank", P.max(s, axes=(axis,)), rtol))
    if isinstance(tol, Term):
        tol = broadcast(P.reshape(cast(tol, s.aval.dtype), shape=(*tol.aval.shape, 1)), (*tol.aval.shape, s.aval.shape[-1]))
    return P.sum(cast(P.gt(*pair("matrix_rank", s, tol)), dtypes.int64), axes=(axis,))


@public(space="linalg")
def matrix_rank(x: Term, tol: Operand = None, hermitian: bool = False, rtol: Operand = None) -> Term:
    """How many singular values of (..., m, n) are above `tol`, by default above `rtol` = max(m, n) ε times the largest; int64.

    Either may be one number for every matrix.

    >>> import lazygrad as lg
    >>> lg.linalg.matrix_rank(lg.asarray([[1., 1.], [1., 1.]])).tolist()
    1
    """
    x = matrix("matrix_rank", x)
    return rank_of(svdvals(x), tol, usual(x) if rtol is None else rtol)
