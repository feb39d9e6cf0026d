"""Losses of vectors against vectors: close ones together, others apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ShapeError
from ..functions.composite import fill
from ..functions.promotion import P
from ..functions.table import SPACES, plain, public
from ..ir.term import Term
from ..lift import Operand, operation
from ..tensor import Tensor
from ..transforms.trace import of_same_graph, tensor_of
from .losses import above_zero, reduced, several
from .normalization import pairwise_distance
from .operands import both


@public(space="nn")
def cosine_embedding_loss(x: Term, y: Term, target: Operand, *, margin: float = 0.0, reduction: str = "mean") -> Term:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1: the cosine between x and y (..., d) over the last axis.

    The squares of their lengths are taken 1e-12 larger, so that vectors of length 0 have cosine 0 and a finite gradient.

    >>> import lazygrad as lg
    >>> lg.nn.cosine_embedding_loss(lg.asarray([[1.0, 0.0]]), lg.asarray([[0.0, 1.0]]), lg.asarray([1])).item()
    1.0
    """
    dtype, x, y = both("cosine_embedding_loss", x, y)
    k = x.aval.ndim - 1
    if k < 0:
        raise ShapeError("cosine_embedding_loss", "()", "there are no vectors", "pass (N, d) or (d,)")
    dot, xx, yy = [P.sum(P.mul(a, b), axes=(k,)) for a, b in ((x, y), (x, x), (y, y))]
    xx, yy = [P.add(t, fill(t, 1e-12)) for t in (xx, yy)]
    cos = P.mul(P.mul(dot, P.rsqrt(xx)), P.rsqrt(yy))
    _, (cos, t) = several("cosine_embedding_loss", cos, target)
    zero, one = fill(cos, 0), fill(cos, 1)
    loss = P.where(P.eq(t, one), P.sub(one, cos), P.where(P.eq(t, P.neg(one)), above_zero(P.sub(cos, fill(cos, margin))), zero))
    return reduced("cosine_embedding_loss", loss, reduction, dtype)


@public(space="nn")
def triplet_margin_loss(anchor: Term, positive: Term, negative: Term, *, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
                        reduction: str = "mean") -> Term:
    """max(0, |anchor - positive| - |anchor - negative| + margin) of vectors (..., d), by `pairwise_distance` with p and eps.

    With `swap` the negative is as far as it is from the nearer one, anchor or positive.

    >>> import lazygrad as lg
    >>> lg.nn.triplet_margin_loss(lg.asarray([[0.0]]), lg.asarray([[3.0]]), lg.asarray([[1.0]]), eps=0.0).item()
    3.0
    """
    d = lambda x, y: pairwise_distance(x, y, p, eps)
    return triplet("triplet_margin_loss", d(anchor, positive), d(anchor, negative), d(positive, negative) if swap else None, margin, reduction)


def triplet(op: str, near: Term, far: Term, other: Term | None, margin: float, reduction: str) -> Term:
    dtype, (near, far, other) = several(op, near, far, other)
    far = far if other is None else P.minimum(far, other)
    return reduced(op, above_zero(P.add(P.sub(near, far), fill(near, margin))), reduction, dtype)


@operation(name="triplet_margin_with_distance_loss")
def by_distances(near: Operand, far: Operand, other: Operand, margin: float, reduction: str) -> Term:
    """The loss of distances that are known."""
    return triplet("triplet_margin_with_distance_loss", near, far, other, margin, reduction)


@plain(space="nn")
def triplet_margin_with_distance_loss(anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[..., Tensor] | None = None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Tensor:
    """`triplet_margin_loss` by a distance of your own: a function of two tensors (N, d) that gives (N,); `pairwise_distance` without one.

    >>> import lazygrad as lg
    >>> a, p, n = (lg.asarray([[v]]) for v in (0.0, 3.0, 1.0))
    >>> lg.nn.triplet_margin_with_distance_loss(a, p, n, distance_function=lambda x, y: ((x - y) ** 2).sum(-1)).item()
    9.0
    """
    op = "triplet_margin_with_distance_loss"
    d = SPACES["nn"]["pairwise_distance"] if distance_function is None else distance_function
    graph = of_same_graph(anchor, positive, negative)
    a, p, n = [tensor_of(t, op, graph) for t in (anchor, positive, negative)]
    return by_distances(d(a, p), d(a, n), d(p, n) if swap else None, margin, reduction)
