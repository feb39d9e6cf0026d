"""Eigenvalues with SciPy's arguments: of one matrix or of two, Hermitian, general, tridiagonal.

In: matrices. Out: eigenvalues, eigenvectors as columns.
"""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ...doubles import arrays, wide
from ...errors import OptionError
from ...tensor import Tensor
from .matrices import adjoint, hermitian


def generalized(x: Tensor, b: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """For x v = w b v with positive definite b = L Lᴴ: L⁻¹ x L⁻ᴴ, and L."""
    if b is None:
        return x, None
    root = lg.linalg.cholesky(b)
    half = lg.linalg.solve_triangular(root, x, lower=True)
    return adjoint(lg.linalg.solve_triangular(root, adjoint(half), lower=True)), root


def chosen(values: Tensor, vectors: Tensor | None, by_index: Any) -> Any:
    if by_index is None:
        return values if vectors is None else (values, vectors)
    low, high = by_index
    values = values[..., low:high + 1]
    return values if vectors is None else (values, vectors[..., low:high + 1])


@wide
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, type: int = 1,
         check_finite: bool = True, subset_by_index: Any = None, subset_by_value: Any = None, driver: str | None = None) -> Any:
    """The eigenvalues (rising) and eigenvectors of Hermitian a: a v = w v, or a v = w b v with positive definite b.

    >>> eigh([[2.0, 0.0], [0.0, 1.0]], eigvals_only=True).tolist()
    [1.0, 2.0]
    """
    if type != 1 or subset_by_value is not None:
        raise OptionError("eigh", f"type={type}" if type != 1 else "subset_by_value", "there is no such problem here", "pass type=1 and subset_by_index")
    x, *second = [hermitian(v, lower) for v in arrays(a, *(() if b is None else (b,)))]
    x, root = generalized(x, *second)
    if eigvals_only:
        return chosen(lg.linalg.eigvalsh(x), None, subset_by_index)
    values, vectors = lg.linalg.eigh(x)
    if root is not None:
        vectors = lg.linalg.solve_triangular(adjoint(root), vectors, lower=False)
    return chosen(values, vectors, subset_by_index)


@wide
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, overwrite_a: bool = False, overwrite_b: bool = False, type: int = 1, check_finite: bool = True,
             subset_by_index: Any = None, subset_by_value: Any = None, driver: str | None = None) -> Tensor:
    """The eigenvalues that `eigh` gives.

    >>> eigvalsh([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [1.0, 2.0]
    """
    return eigh(a, b, lower=lower, eigvals_only=True, type=type, subset_by_index=subset_by_index, subset_by_value=subset_by_value)


@wide
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The eigenvalues and right eigenvectors of a square matrix, complex; of b⁻¹ a for regular b. Left eigenvectors too, if asked for.

    >>> eig([[2.0, 0.0], [0.0, 1.0]])[0].tolist()
    [(2+0j), (1+0j)]
    """
    x, *second = arrays(a, *(() if b is None else (b,)))
    x = lg.solve(second[0], x) if second else x
    values, vectors = lg.linalg.eig(x)
    if not left:
        return (values, vectors) if right else values
    inverse = adjoint(lg.inv(second[0].astype(vectors.dtype) @ vectors if second else vectors))
    lefts = inverse / lg.linalg.vector_norm(inverse, axis=-2, keepdims=True)
    return (values, lefts, vectors) if right else (values, lefts)


@wide
def eigvals(a: Any, b: Any = None, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The eigenvalues of a square matrix, complex; of b⁻¹ a for regular b.

    >>> eigvals([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [(2+0j), (1+0j)]
    """
    x, *second = arrays(a, *(() if b is None else (b,)))
    return lg.linalg.eigvals(lg.solve(second[0], x) if second else x)


@wide
def eigh_tridiagonal(d: Any, e: Any, eigvals_only: bool = False, select: str = "a", select_range: Any = None, check_finite: bool = True, tol: float = 0.0,
                     lapack_driver: str = "auto") -> Any:
    """The eigenvalues and eigenvectors of the symmetric matrix with diagonal d and e beside it; those of an index range with select="i".

    >>> eigh_tridiagonal([1.0, 2.0], [0.0], eigvals_only=True).tolist()
    [1.0, 2.0]
    """
    if select not in ("a", "i"):
        raise OptionError("eigh_tridiagonal", f"select={select!r}", "there is no such choice here", 'pass "a" or "i"')
    d, e = arrays(d, e)
    x = lg.diag(d) + (lg.diag(e, 1) + lg.diag(e, -1) if e.size else 0)
    return eigh(x, eigvals_only=eigvals_only, subset_by_index=select_range if select == "i" else None)


@wide
def eigvalsh_tridiagonal(d: Any, e: Any, select: str = "a", select_range: Any = None, check_finite: bool = True, tol: float = 0.0, lapack_driver: str = "auto") -> Tensor:
    """The eigenvalues that `eigh_tridiagonal` gives.

    >>> eigvalsh_tridiagonal([1.0, 2.0], [0.0]).tolist()
    [1.0, 2.0]
    """
    return eigh_tridiagonal(d, e, True, select, select_range)
