"""Systems of equations and inverses with SciPy's arguments: general, banded, circulant, Toeplitz.

In: matrices, or what describes them, and right sides. Out: solutions. Banded and Toeplitz systems are solved as dense ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lazygrad as lg

from ...doubles import arrays, call, wide
from ...errors import ShapeError
from ...tensor import Tensor
from .matrices import adjoint, banded, hermitian, matrix


@wide
def solve(a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True, assume_a: str | None = None,
          transposed: bool = False) -> Tensor:
    """The x of a x = b, or of aᵀ x = b if `transposed`. What is assumed of a ("sym", "her", "pos": one triangle is read) is kept to.

    >>> solve([[2.0, 1.0], [0.0, 4.0]], [2.0, 4.0]).tolist()
    [0.5, 1.0]
    """
    x, y = arrays(a, b)
    kind = {"symmetric": "sym", "hermitian": "her", "positive definite": "pos"}.get(assume_a or "gen", assume_a or "gen")
    if kind in ("sym", "her", "pos"):
        side, strict = (lg.tril(x), lg.tril(x, -1)) if lower else (lg.triu(x), lg.triu(x, 1))
        x = side + (strict.mT if kind == "sym" else adjoint(strict))
    return lg.solve(x.mT if transposed else x, y)


@wide
def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: str | None = None, lower: bool = False) -> Tensor:
    """The inverse.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    x = lg.asarray(a)
    return lg.inv(x) if not lower and assume_a is None else solve(x, lg.eye(x.shape[-1], dtype=x.dtype), lower=lower, assume_a=assume_a)


@wide
def pinv(a: Any, *, atol: float | None = None, rtol: float | None = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudoinverse: singular values up to atol + rtol times the largest count as 0 (rtol: max(m, n) ε without atol).

    >>> pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    x = matrix("pinv", a) if lg.asarray(a).ndim < 3 else lg.asarray(a)
    rtol = (max(x.shape[-2:]) * float(np.finfo(x.dtype).eps) if not atol else 0.0) if rtol is None else rtol
    s = lg.linalg.svdvals(x)
    limit = rtol + (atol / lg.max(s, axis=-1) if atol else 0)
    out = lg.linalg.pinv(x, rtol=limit)
    return (out, lg.sum(s > lg.expand_dims(lg.asarray(limit) * lg.max(s, axis=-1), -1), axis=-1)) if return_rank else out


@wide
def pinvh(a: Any, atol: float | None = None, rtol: float | None = None, lower: bool = True, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudoinverse of a Hermitian matrix.

    >>> pinvh([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    x = matrix("pinvh", a, True)
    strict = lg.tril(x, -1) if lower else lg.triu(x, 1)
    return pinv(strict + adjoint(strict) + lg.diag(lg.diagonal(x)), atol=atol, rtol=rtol, return_rank=return_rank)


@wide
def lstsq(a: Any, b: Any, cond: float | None = None, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True, lapack_driver: str | None = None) -> Any:
    """Least squares: the solution, the sums of squared residuals, the rank and the singular values.

    >>> lstsq([[2.0], [0.0]], [4.0, 3.0])[0].tolist()
    [2.0]
    """
    x, residuals, rank, s = lg.linalg.lstsq(*arrays(a, b), rcond=cond)
    return x, lg.sum(residuals) if x.ndim == 1 and residuals.size else residuals, rank, s


# ---- banded matrices ----------------------------------------------------------------------------------------------------

@wide
def solve_banded(l_and_u: tuple[int, int], ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, check_finite: bool = True) -> Tensor:
    """The x of a x = b for a banded a, whose l + u + 1 diagonals are the rows of ab. Solved as a dense system.

    >>> solve_banded((0, 1), [[0.0, 1.0], [2.0, 4.0]], [3.0, 4.0]).tolist()
    [1.0, 1.0]
    """
    below, above = l_and_u
    ab, y = arrays(ab, b)
    ab = matrix("solve_banded", ab)
    if ab.shape[0] != below + above + 1:
        raise ShapeError("solve_banded", f"{ab.shape[0]} rows for {below} and {above} diagonals beside the main one", f"there must be {below + above + 1}", "pass ab of that many rows")
    return lg.solve(banded(ab, below, above), y)


@wide
def solveh_banded(ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False, check_finite: bool = True) -> Tensor:
    """The x of a x = b for a banded Hermitian positive definite a, of which ab holds the upper (or lower) diagonals. Solved as a dense system.

    >>> solveh_banded([[4.0, 16.0]], [4.0, 16.0]).tolist()
    [1.0, 1.0]
    """
    ab, y = arrays(ab, b)
    ab = matrix("solveh_banded", ab)
    k = ab.shape[0] - 1
    half = banded(ab, k, 0) if lower else banded(ab, 0, k)
    return lg.linalg.cho_solve(lg.linalg.cho_factor(hermitian(half, lower), True), y)


# ---- circulant and Toeplitz matrices ------------------------------------------------------------------------------------

@wide
def solve_circulant(c: Any, b: Any) -> Tensor:
    """The x of circulant(c) x = b, by Fourier transforms; b (n,) or (n, k).

    >>> solve_circulant([2.0, 0.0], [2.0, 4.0]).tolist()
    [1.0, 2.0]
    """
    c, b = arrays(c, b)
    if c.ndim != 1 or not b.ndim or b.shape[0] != c.size:
        raise ShapeError("solve_circulant", f"{c.shape} and {b.shape}", "the right side has not as many rows", "pass (n,) and (n, ...)")
    f = lg.reshape(lg.fft.fft(c), (-1, *[1] * (b.ndim - 1)))
    x = lg.fft.ifft(lg.fft.fft(b, axis=0) / f, axis=0)
    return x if lg.iscomplexobj(c) or lg.iscomplexobj(b) else lg.real(x)


def toeplitz_of(other: Any, *given: Any) -> tuple[Tensor, Tensor]:
    """The Toeplitz matrix of a column, or of a column and a row, and the other operand."""
    other, *given = arrays(other, *given)
    return lg.linalg.toeplitz(*given), other


def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Tensor:
    """The x of toeplitz(c, r) x = b. Solved as a dense system.

    >>> solve_toeplitz([2.0, 0.0], [2.0, 4.0]).tolist()
    [1.0, 2.0]
    """
    return call(lambda *given: lg.solve(*toeplitz_of(*given)), (b, *(c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr,))), {})


def matmul_toeplitz(c_or_cr: Any, x: Any, check_finite: bool = False, workers: int | None = None) -> Tensor:
    """toeplitz(c, r) @ x.

    >>> matmul_toeplitz([2.0, 0.0], [2.0, 4.0]).tolist()
    [4.0, 8.0]
    """
    return call(lambda *given: lg.matmul(*toeplitz_of(*given)), (x, *(c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr,))), {})
