"""Functions of matrices, angles between subspaces, and questions about symmetry under SciPy's names."""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ...doubles import arrays, wide
from ...errors import ShapeError
from ...tensor import Tensor
from .factorizations import orth
from .matrices import adjoint, matrix


@wide
def expm_frechet(A: Any, E: Any, method: str | None = None, compute_expm: bool = True, check_finite: bool = True) -> Any:
    """The matrix exponential of A and its derivative in the direction E.

    >>> [part.tolist() for part in expm_frechet([[0.0]], [[2.0]])]
    [[[1.0]], [[2.0]]]
    """
    x, e = [matrix("expm_frechet", v, True) for v in arrays(A, E)]
    if x.shape != e.shape:
        raise ShapeError("expm_frechet", f"{x.shape} and {e.shape}", "the direction has another shape", "pass two matrices of one shape")
    value, moved = lg.jvp(lg.expm, (x,), (e,))
    return (value, moved) if compute_expm else moved


@wide
def fractional_matrix_power(A: Any, t: float) -> Tensor:
    """A to the power t: exp(t log A) where t is no integer.

    >>> fractional_matrix_power([[4.0, 0.0], [0.0, 9.0]], 0.5).round(12).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    x = matrix("fractional_matrix_power", A, True)
    return lg.matrix_power(x, int(t)) if float(t).is_integer() else lg.expm(t * lg.linalg.logm(x))


@wide
def signm(A: Any) -> Tensor:
    """The matrix sign function A (A²)^(-1/2).

    >>> signm([[4.0, 0.0], [0.0, -9.0]]).round(12).tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    x = matrix("signm", A, True)
    return x @ lg.inv(lg.linalg.sqrtm(x @ x))


@wide
def orthogonal_procrustes(A: Any, B: Any, check_finite: bool = True) -> tuple[Tensor, Tensor]:
    """The orthogonal R for which A R is nearest to B, and the sum of the singular values of Aᴴ B.

    >>> orthogonal_procrustes([[2.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [1.0, 0.0]])[0].round(12).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    x, y = [matrix("orthogonal_procrustes", v) for v in arrays(A, B)]
    if x.shape != y.shape:
        raise ShapeError("orthogonal_procrustes", f"{x.shape} and {y.shape}", "the shapes differ", "pass two matrices of one shape")
    u, s, vh = lg.linalg.svd(adjoint(x) @ y)
    return u @ vh, lg.sum(s)


@wide
def subspace_angles(A: Any, B: Any) -> Tensor:
    """The angles between the ranges of two matrices, falling. Evaluates their singular values.

    >>> subspace_angles([[1.0], [0.0]], [[1.0], [1.0]]).round(4).tolist()
    [0.7854]
    """
    p, q = [orth(v) for v in arrays(A, B)]
    if p.shape[0] != q.shape[0]:
        raise ShapeError("subspace_angles", f"{p.shape[0]} and {q.shape[0]} rows", "the spaces differ", "pass matrices with as many rows")
    inner = adjoint(p) @ q
    cosines = lg.linalg.svdvals(inner)
    apart = q - p @ inner if p.shape[1] >= q.shape[1] else p - q @ adjoint(inner)
    sines = lg.flip(lg.linalg.svdvals(apart))
    sines = sines[:cosines.size]
    small = lg.square(cosines) >= 0.5          # the sine tells small angles, the cosine large ones (Knyazev & Argentati 2002)
    angle = lg.where(small, lg.asin(lg.where(small, lg.minimum(sines, 1.0), 0.0)), lg.acos(lg.where(small, 0.0, cosines)))
    return lg.flip(angle)


def issymmetric(a: Any, atol: float | None = None, rtol: float | None = None) -> bool:
    """Whether a square matrix equals its transpose (within tolerances, if given). Evaluates it.

    >>> issymmetric([[1.0, 2.0], [2.0, 1.0]])
    True
    """
    x = matrix("issymmetric", a, True)
    same = lg.all(x == x.mT) if atol is None and rtol is None else lg.allclose(x, x.mT, atol=atol or 0.0, rtol=rtol or 0.0)
    return bool(same)


def ishermitian(a: Any, atol: float | None = None, rtol: float | None = None) -> bool:
    """Whether a square matrix equals its conjugate transpose (within tolerances, if given). Evaluates it.

    >>> ishermitian([[1.0, 2j], [-2j, 1.0]])
    True
    """
    x = matrix("ishermitian", a, True)
    same = lg.all(x == adjoint(x)) if atol is None and rtol is None else lg.allclose(x, adjoint(x), atol=atol or 0.0, rtol=rtol or 0.0)
    return bool(same)
