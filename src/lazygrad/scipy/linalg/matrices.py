"""What the functions of matrices share: operands, adjoints, matrices of which a triangle or a band is given."""

from __future__ import annotations

from typing import Any

import numpy as np

import lazygrad as lg

from ...errors import ShapeError
from ...tensor import Tensor


def adjoint(x: Tensor) -> Tensor:
    return lg.conj(x.mT)


def matrix(op: str, a: Any, square: bool = False) -> Tensor:
    x = lg.asarray(a)
    x = x if x.dtype.kind in "fc" else x.astype(np.float32)
    if x.ndim != 2 or (square and x.shape[0] != x.shape[1]):
        raise ShapeError(op, str(x.shape), f"a {'square ' if square else ''}matrix is expected", "pass two axes")
    return x


def hermitian(x: Tensor, lower: bool) -> Tensor:
    """The Hermitian matrix of which one triangle is given."""
    strict = lg.tril(x, -1) if lower else lg.triu(x, 1)
    return strict + adjoint(strict) + (lg.tril(lg.triu(x)))


def banded(ab: Tensor, below: int, above: int) -> Tensor:
    """The matrix whose diagonals are the rows of ab, the uppermost first, as LAPACK stores them."""
    n = ab.shape[-1]
    rows = []
    for i, k in enumerate(range(above, -below - 1, -1)):
        size = n - abs(k)
        if size > 0:
            rows.append(lg.diag(ab[i, max(k, 0):max(k, 0) + size], k))
    return sum(rows[1:], rows[0])
