"""Norms of matrices and vectors, and condition numbers.

In: tensors; matrices are the last two axes unless axes are named. Out: tensors. Norms by singular values have gradients where
these repeat; those of the zero matrix are subgradients.
"""

from __future__ import annotations

import math

from ..errors import DTypeError, ShapeError, SquareError
from ..ir.term import Term
from ..prims.matrices import identity_like
from .composite import fill
from .linalg import inv, square_matrix
from .linalg_spectral import svdvals
from .linalg_systems import matrix
from .movement import permuted
from .promotion import P, constant, inexact, many_axes, reshaped
from .reductions import norm as vector_norm
from .table import public


def _kept(y: Term, x: Term, axes: tuple[int, ...], keepdims: bool) -> Term:
    return reshaped(y, tuple([1 if k in axes else n for k, n in enumerate(x.aval.shape)])) if keepdims else y


def _matrix_norm(op: str, x: Term, ord: float | str) -> Term:
    """(..., m, n) -> (...)."""
    ndim = x.aval.ndim
    if ord == "fro":
        return vector_norm(x, (-2, -1))
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        return (P.sum if ord == "nuc" else P.max if ord == 2 else P.min)(s, axes=(ndim - 2,))
    if ord in (1, -1, math.inf, -math.inf):
        # the largest (smallest) sum of a column, or of a row
        sums = P.sum(P.abs(x), axes=(ndim - 2 if abs(ord) == 1 else ndim - 1,))
        return (P.max if ord > 0 else P.min)(sums, axes=(ndim - 2,))
    raise DTypeError(op, f"ord={ord!r}", "there is no such matrix norm", 'pass "fro", "nuc", 1, -1, 2, -2, inf or -inf')


@public(space="linalg")
def matrix_norm(x: Term, *, keepdims: bool = False, ord: float | str = "fro") -> Term:
    """A norm of each matrix (..., m, n): "fro", "nuc" (the sum of singular values), 2 and -2 (the largest and smallest of them), 1, -1,
    inf, -inf (the largest and smallest sum of a column, of a row).

    >>> import lazygrad as lg
    >>> lg.linalg.matrix_norm(lg.asarray([[3., 0.], [0., 4.]])).tolist()
    5.0
    """
    x = matrix("matrix_norm", x)
    ndim = x.aval.ndim
    return _kept(_matrix_norm("matrix_norm", x, ord), x, (ndim - 2, ndim - 1), keepdims)


@public(space="linalg")
def norm(x: Term, ord: float | str | None = None, axis: int | tuple[int, int] | None = None, keepdims: bool = False) -> Term:
    """NumPy's norm: of vectors over one axis, of matrices over two; over all elements, flattened, where neither `ord` nor `axis` is given.

    `ord` for vectors: any number, inf, -inf or 0; for matrices those of `matrix_norm`.

    >>> import lazygrad as lg
    >>> lg.linalg.norm(lg.asarray([[3., 0.], [0., 4.]]), 1).tolist()
    4.0
    """
    x = inexact(x)
    if ord is None and axis is None:
        return _kept(vector_norm(x), x, tuple(range(x.aval.ndim)), keepdims)
    axes = many_axes("norm", axis, x.aval.ndim)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise DTypeError("norm", f"ord={ord!r}", "vectors have no such norm", "pass a number, or two axes")
        return vector_norm(x, axes, keepdims, 2 if ord is None else ord)
    if len(axes) != 2:
        raise ShapeError("norm", f"{x.aval.shape} with axis={axis}", "a norm is over one axis or two", "name them")
    moved = permuted(x, (*[k for k in range(x.aval.ndim) if k not in axes], *axes))
    return _kept(_matrix_norm("norm", matrix("norm", moved), "fro" if ord is None else ord), x, axes, keepdims)


@public(space="linalg")
def cond(x: Term, p: float | str | None = None) -> Term:
    """The condition number |x| |x⁻¹| of (..., m, n) in a matrix norm; 2 unless given, for which x need not be square. Singular: inf.

    >>> import lazygrad as lg
    >>> lg.linalg.cond(lg.asarray([[2., 0.], [0., 4.]]), 1).tolist()
    2.0
    """
    if p in (None, 2, -2):
        s = svdvals(matrix("cond", x))
        k = s.aval.ndim - 1
        if not s.aval.shape[-1]:
            raise SquareError("cond", str(x.aval.shape), "an empty matrix has no condition number", "check the shape first")
        high, low = P.max(s, axes=(k,)), P.min(s, axes=(k,))
        if p == -2:
            high, low = low, high
        out = P.div(high, low)
        return P.where(P.isnan(out), fill(out, math.inf), out)
    x = square_matrix("cond", x)
    singular = P.eq(P.logabsdet(x), constant(-math.inf, x.aval.shape[:-2], P.logabsdet(x).aval.dtype))
    wide = P.broadcast_to(reshaped(singular, (*singular.aval.shape, 1, 1)), shape=x.aval.shape)
    out = P.mul(_matrix_norm("cond", x, p), _matrix_norm("cond", inv(P.where(wide, identity_like(x), x)), p))
    return P.where(singular, fill(out, math.inf), out)
