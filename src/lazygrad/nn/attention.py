"""Scaled dot product attention: softmax(q kᵀ) v, plain for few keys, by blocks (`blockwise`) where all scores at once would be too many.

In: q (..., heads, L, E), k (..., heads, S, E), v (..., heads, S, D). Out: (..., heads, L, D).
"""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..errors import DataError, DTypeError, ShapeError
from ..functions.composite import fill, scale
from ..functions.promotion import P, Shape, alike, broadcast, broadcast_shapes, cast, reshaped
from ..functions.reductions import shift
from ..functions.table import FUNCTIONS, plain
from ..ir.term import Term
from ..lift import operation
from ..tensor import Tensor
from ..transforms.trace import of_same_graph, tensor_of
from . import blockwise
from .noise import dropped
from .operands import real, wide

OP = "scaled_dot_product_attention"
FEW = 1 << 16           # causal scores of a head that may exist at once on a CPU: beyond, blocks are faster and take less memory
WHOLE = 16              # as many times more where no block can be left out
FEW_ON_GPU = 1 << 26    # those of all heads on a GPU, where every block is launches of its own


# ---- operands ---------------------------------------------------------------------------------------------------------------

def sizes(q: Shape, k: Shape, v: Shape, mask: Shape | None) -> tuple[Shape, int, int]:
    """(the axes before the heads, heads of k and v, heads of q for each of those), after checking everything."""
    came = f"q {q}, k {k}, v {v}"
    if min(map(len, (q, k, v))) < 2:
        raise ShapeError(OP, came, "two axes at least are expected", "pass (..., heads, length, width)")
    if q[-1] != k[-1]:
        raise ShapeError(OP, came, f"queries have width {q[-1]} and keys {k[-1]}", "their last axes are as long")
    if k[-2] != v[-2]:
        raise ShapeError(OP, came, f"there are {k[-2]} keys and {v[-2]} values", "each key has a value")
    hq, hk, hv = [(1, *s)[-3] for s in (q, k, v)]
    heads = max(hk, hv)
    if min(hk, hv) not in (1, heads) or (hq != 1 and hq % max(heads, 1)):
        raise ShapeError(OP, came, f"{hq} heads of queries with {hk} of keys and {hv} of values", "pass as many, or a divisor of the number of queries' heads")
    groups = max(hq // max(heads, 1), 1)
    batch = broadcast_shapes(OP, *[s[:-3] for s in (q, k, v)], *[] if mask is None else [mask[:-3]])
    if mask is not None:
        whole = (*batch, heads * groups, q[-2], k[-2])
        if broadcast_shapes(OP, whole, mask) != whole:
            raise ShapeError(OP, f"{came}, a mask {mask}", f"the scores are {whole}", "pass a mask that broadcasts to them")
    return batch, heads, groups


def prepared(q: Term, k: Term, v: Term, mask: Term | None, factor: float | None) -> tuple[Term, ...]:
    """q (N, H, G, L, E) scaled, k (N, H, S, E), v (N, H, S, D) of one dtype, and the mask (N, H, G, L, S) with 1 where it broadcasts."""
    q, k, v = [wide(real(OP, t)) for t in alike(OP, (q, k, v))]
    batch, heads, groups = sizes(q.aval.shape, k.aval.shape, v.aval.shape, None if mask is None else mask.aval.shape)
    n = math.prod(batch)
    factor = 1 / math.sqrt(max(q.aval.shape[-1], 1)) if factor is None else factor

    def standing(t: Term, h: int, *split: int) -> Term:
        whole = (*batch, h, *t.aval.shape[-2:])
        return reshaped(broadcast(t, whole), (n, *split, *t.aval.shape[-2:]))
    out = [scale(standing(q, heads * groups, heads, groups), factor), standing(k, heads, heads), standing(v, heads, heads)]
    if mask is not None:
        out.append(standing_mask(mask, q, batch, heads, groups))
    return tuple(out)


def standing_mask(mask: Term, q: Term, batch: Shape, heads: int, groups: int) -> Term:
    """The mask with five axes."""
    if mask.aval.dtype.kind not in "bf":
        raise DTypeError(OP, f"a mask of {mask.aval.dtype}", "it is bool (True: seen) or floating (added to the scores)", "compare, or cast it")
    mask = mask if mask.aval.dtype.kind == "b" else cast(mask, q.aval.dtype)
    shape = (*[1] * (len(batch) + 3 - mask.aval.ndim), *mask.aval.shape)
    mask = reshaped(mask, shape)
    first, (h, l, s) = shape[:-3], shape[-3:]
    if first != batch and math.prod(first) != 1:
        mask, first = broadcast(mask, (*batch, h, l, s)), batch
    return reshaped(mask, (math.prod(first), *((1, 1) if h == 1 else (heads, groups)), l, s))


# ---- the plain form ------------------------------------------------------------------------------------------------------------

def attention_of_few(q: Term, k: Term, v: Term, mask: Term | None, key: Term | None, causal: bool, p: float) -> Term:
    """Attention of operands as `prepared` leaves them, with all scores at once."""
    (n, h, g, l, e), s = q.aval.shape, k.aval.shape[2]
    whole, outer = (n, h, g, l, s), (n, h, g, l, v.aval.shape[3])
    if s == 0:
        return broadcast(fill(P.sum(q, axes=(0, 1, 2, 3, 4)), 0), outer)
    x = reshaped(P.matmul(reshaped(q, (n, h, g * l, e)), P.permute(k, axes=(0, 1, 3, 2))), whole)
    least = fill(x, -math.inf)
    if mask is not None:
        mask = broadcast(mask, whole)
        x = P.where(mask, x, least) if mask.aval.dtype == dtypes.bool_ else P.add(x, mask)
    if causal:
        row, column = [P.iota(size=m, dtype=dtypes.int32) for m in (l, s)]
        x = P.where(broadcast(P.le(broadcast(column, (l, s)), broadcast(reshaped(row, (l, 1)), (l, s))), whole), x, least)
    top = shift(x, 4, OP)
    weights = P.exp(P.sub(x, broadcast(P.where(P.isfinite(top), top, fill(top, 0)), whole)))
    total = reshaped(P.sum(weights, axes=(4,)), (n, h, g, l, 1))
    total = P.where(P.eq(total, fill(total, 0)), fill(total, 1), total)          # a query that sees no key
    weights = dropped(OP, key, weights, p, True, whole)
    out = reshaped(P.matmul(reshaped(weights, (n, h, g * l, s)), v), outer)
    return P.div(out, broadcast(total, outer))


PREPARE, OF_FEW = operation(name=OP)(prepared), operation(name=OP)(attention_of_few)


# ---- the function ------------------------------------------------------------------------------------------------------------

@plain(space="nn")
def scaled_dot_product_attention(q: Any, k: Any, v: Any, *, mask: Any = None, is_causal: bool = False, scale: float | None = None, dropout_p: float = 0.0,
                                 key: Any = None, enable_gqa: bool = False) -> Tensor:
    """softmax(q kᵀ * scale + mask) v: q (..., heads, L, E), k (..., heads, S, E), v (..., heads, S, D) -> (..., heads, L, D).

    Axes before the heads broadcast. k and v may have fewer heads, a divisor of q's: each serves a group of neighbours (`enable_gqa` need
    not be set). `mask` broadcasts to (..., heads, L, S): bools say which keys a query sees, floating numbers are added to the scores.
    `is_causal`: query i sees keys 0 to i, beside what the mask says. `scale` is 1 / sqrt(E) by default. `dropout_p` with a `key` of
    `lazygrad.random` drops weights. A query that sees no key gives 0, with gradient 0.

    Long sequences are taken by blocks, forward and backward and to any order: memory grows with L + S, not with L * S. Causal blocks that
    nobody sees are left out on a CPU.

    >>> import lazygrad as lg
    >>> q, k, v = lg.asarray([[1.0, 0.0]]), lg.asarray([[0.0, 0.0], [0.0, 9.0]]), lg.asarray([[2.0], [4.0]])
    >>> lg.nn.scaled_dot_product_attention(q, k, v).tolist(), lg.nn.scaled_dot_product_attention(q, k, v, is_causal=True).tolist()
    ([[3.0]], [[2.0]])
    """
    graph = of_same_graph(q, k, v, mask)
    q, k, v, mask = [None if t is None else tensor_of(t, OP, graph) for t in (q, k, v, mask)]
    q_, k_, v_, *rest = PREPARE(q, k, v, mask, None if scale is None else float(scale))
    if not 0 <= dropout_p < 1 or (dropout_p and key is None):
        raise DataError(OP, f"dropout_p={dropout_p}, key={'None' if key is None else 'given'}", "weights are dropped with a probability below 1, by a key",
                        "pass key=lazygrad.random.key(seed)")
    given = q_, k_, v_, rest[0] if rest else None, key if dropout_p else None
    (n, h, g, length, _), keys, gpu = q_.shape, k_.shape[2], q.device != "cpu"
    heads = n * h * g
    many = heads * length * keys > FEW_ON_GPU if gpu else length * keys > FEW * (1 if is_causal else WHOLE)
    if many:
        out = blockwise.attention(blockwise.blocks(heads, length, keys, gpu, bool(is_causal), float(dropout_p)), *given)
    else:
        out = OF_FEW(*given, bool(is_causal), float(dropout_p))
    return finished(out, q, k, v, mask)


def finished(out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """(N, H, G, L, D) in the axes and the dtype of the operands."""
    batch, heads, groups = sizes(q.shape, k.shape, v.shape, None if mask is None else mask.shape)
    axes = max([t.ndim for t in (q, k, v, mask) if t is not None])
    out = out.reshape((*batch, heads * groups, *out.shape[-2:])[-axes:])
    dtype = FUNCTIONS["result_type"](q, k, v)
    return out.astype(dtype) if dtype.kind == "f" else out
