"""Linear and bilinear maps of the last axis."""

from __future__ import annotations

import math

from ..errors import ShapeError
from ..functions.linalg import matmul
from ..functions.promotion import P, alike, broadcast, cast, reshaped
from ..functions.table import public
from ..ir.term import Term
from .operands import together


@public(space="nn")
def linear(x: Term, weight: Term, bias: Term | None = None) -> Term:
    """x weightᵀ + bias: x (..., n), weight (m, n) or (n,), bias (m,) or () -> (..., m) or (...).

    >>> import lazygrad as lg
    >>> lg.nn.linear(lg.asarray([1.0, 2.0]), lg.asarray([[3.0, 4.0]]), lg.asarray([0.5])).tolist()
    [11.5]
    """
    given = alike("linear", tuple([t for t in (x, weight, bias) if t is not None]))
    x, weight, *rest = given
    if weight.aval.ndim not in (1, 2) or not x.aval.ndim or x.aval.shape[-1] != weight.aval.shape[-1]:
        raise ShapeError("linear", f"{x.aval.shape} by a weight of {weight.aval.shape}", "their last axes differ", "pass x (..., n), weight (m, n)")
    y = matmul(x, P.permute(weight, axes=(1, 0)) if weight.aval.ndim == 2 else weight)
    if not rest:
        return y
    if rest[0].aval.shape != weight.aval.shape[:-1]:
        raise ShapeError("linear", f"a bias of {rest[0].aval.shape} beside a weight of {weight.aval.shape}", "there is one number for each row", f"pass shape {weight.aval.shape[:-1]}")
    return P.add(y, broadcast(rest[0], y.aval.shape))


@public(space="nn")
def bilinear(x: Term, y: Term, weight: Term, bias: Term | None = None) -> Term:
    """The sums over i and j of x[i] weight[k, i, j] y[j], + bias[k]: x (..., n), y (..., m), weight (p, n, m), bias (p,) -> (..., p).

    >>> import lazygrad as lg
    >>> lg.nn.bilinear(lg.asarray([[1.0, 2.0]]), lg.asarray([[3.0]]), lg.asarray([[[1.0], [10.0]]])).tolist()
    [[63.0]]
    """
    dtype, x, (y, w, b) = together("bilinear", x, y, weight, bias)
    batch = x.aval.shape[:-1]
    if w.aval.ndim != 3 or not x.aval.ndim or y.aval.shape[:-1] != batch or (x.aval.shape[-1:], y.aval.shape[-1:]) != (w.aval.shape[1:2], w.aval.shape[2:]):
        raise ShapeError("bilinear", f"{x.aval.shape} and {y.aval.shape} by a weight of {w.aval.shape}", "their axes differ", "pass x (..., n), y (..., m), weight (p, n, m)")
    p, n, m = w.aval.shape
    if b is not None and b.aval.shape != (p,):
        raise ShapeError("bilinear", f"a bias of {b.aval.shape}", f"there are {p} results", f"pass shape ({p},)")
    rows = math.prod(batch)
    half = reshaped(P.matmul(reshaped(x, (rows, n)), reshaped(P.permute(w, axes=(1, 0, 2)), (n, p * m))), (rows, p, m))
    out = P.sum(P.mul(half, broadcast(reshaped(y, (rows, 1, m)), (rows, p, m))), axes=(2,))
    out = reshaped(out, (*batch, p))
    return cast(out if b is None else P.add(out, broadcast(b, out.aval.shape)), dtype)
