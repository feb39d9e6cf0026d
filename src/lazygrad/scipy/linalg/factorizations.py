"""Factorizations with SciPy's arguments: Cholesky, QR and RQ, LU, polar; bases of ranges and null spaces.

In: matrices. Out: their factors. Bases evaluate the singular values, whose number decides their shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lazygrad as lg

from ...doubles import wide
from ...errors import OptionError
from ...tensor import Tensor
from .matrices import adjoint, matrix


@wide
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The upper U of a = Uᴴ U, or the lower L of a = L Lᴴ.

    >>> cholesky([[4.0]]).tolist()
    [[2.0]]
    """
    return lg.linalg.cholesky(lg.asarray(a), upper=not lower)


@wide
def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False, check_finite: bool = True) -> Any:
    """Q and R of a = Q R: square Q ("full"), as few columns as needed ("economic"), or R alone ("r").

    >>> [part.shape for part in qr(np.ones((3, 2)), mode="economic")]
    [(3, 2), (2, 2)]
    """
    names = {"full": "complete", "economic": "reduced", "r": "r"}
    if mode not in names or pivoting:
        raise OptionError("qr", "pivoting" if pivoting else f"mode={mode!r}", "there is no such factorization here", 'pass mode "full", "economic" or "r"')
    if mode == "r":
        return (lg.linalg.qr(lg.asarray(a), mode="complete")[1],)
    return lg.linalg.qr(lg.asarray(a), mode=names[mode])


@wide
def rq(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", check_finite: bool = True) -> Any:
    """R and Q of a = R Q, R upper triangular, Q with orthonormal rows: all of them ("full"), as few as needed ("economic"), or R alone ("r").

    >>> [part.shape for part in rq(np.ones((2, 3)), mode="economic")]
    [(2, 2), (2, 3)]
    """
    if mode not in ("full", "economic", "r"):
        raise OptionError("rq", f"mode={mode!r}", "there is no such factorization", 'pass "full", "economic" or "r"')
    q, r = lg.linalg.qr(adjoint(lg.flip(lg.asarray(a), -2)), mode="reduced" if mode == "economic" else "complete")
    right, rows = lg.flip(adjoint(r), (-2, -1)), lg.flip(adjoint(q), -2)
    return right if mode == "r" else (right, rows)


@wide
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False) -> Any:
    """P, L and U of a = P L U; P L and U with `permute_l`; P as the order of rows with `p_indices`.

    >>> [part.shape for part in lu(np.ones((3, 2)))]
    [(3, 3), (3, 2), (2, 2)]
    """
    p, lower, upper = lg.linalg.lu(lg.asarray(a))
    if permute_l:
        return p @ lower, upper
    return (lg.argmax(p, axis=-1), lower, upper) if p_indices else (p, lower, upper)


# ---- polar --------------------------------------------------------------------------------------------------------------

@wide
def polar(a: Any, side: str = "right") -> tuple[Tensor, Tensor]:
    """U with orthonormal columns or rows and positive semidefinite P of a = U P, or a = P U for the left side.

    >>> [part.round(12).tolist() for part in polar([[0.0, 2.0], [1.0, 0.0]])]
    [[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]]
    """
    if side not in ("right", "left"):
        raise OptionError("polar", f"side={side!r}", "there is no such side", 'pass "right" or "left"')
    w, s, vh = lg.linalg.svd(matrix("polar", a), full_matrices=False)
    p = (adjoint(vh) * s) @ vh if side == "right" else (w * s) @ adjoint(w)
    return w @ vh, p


# ---- bases --------------------------------------------------------------------------------------------------------------

def rank(s: Tensor, shape: tuple[int, ...], rcond: float | None) -> int:
    """How many singular values count."""
    values = np.asarray(s)
    limit = max(shape) * float(np.finfo(values.dtype).eps) if rcond is None else rcond
    return int((values > values.max(initial=0.0) * limit).sum())


@wide
def orth(A: Any, rcond: float | None = None) -> Tensor:
    """An orthonormal basis of the range of A, as columns. Evaluates the singular values.

    >>> orth([[2.0, 0.0], [0.0, 0.0]]).shape
    (2, 1)
    """
    x = matrix("orth", A)
    u, s, _ = lg.linalg.svd(x, full_matrices=False)
    return u[:, :rank(s, x.shape, rcond)]


@wide
def null_space(A: Any, rcond: float | None = None) -> Tensor:
    """An orthonormal basis of the null space of A, as columns. Evaluates the singular values.

    >>> null_space([[2.0, 0.0], [0.0, 0.0]]).shape
    (2, 1)
    """
    x = matrix("null_space", A)
    _, s, vh = lg.linalg.svd(x, full_matrices=True)
    return adjoint(vh[rank(s, x.shape, rcond):])
