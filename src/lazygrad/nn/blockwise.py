"""Attention by blocks of queries and keys: the scores of all queries with all keys never exist at once, in neither direction.

Forward: for each block of queries a scan over blocks of keys carries the largest score, the sum of exponentials and the weighted sum
of values (Milakov and Gimelshein 2018, Online normalizer calculation for softmax; Rabe and Staats 2021). Reverse: the scores of a block
are made again from the logarithm of its sum, which is kept (Dao 2022, section 3.1). The rule is loops over blocks itself, so higher orders
are blockwise too.

In: q (N, H, G, L, E) scaled, k (N, H, S, E), v (N, H, S, D), mask (N, H, G, L, S) with any axis 1, or None. Out: (N, H, G, L, D).
"""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..functions.random_keys import fold_in
from ..functions.table import FUNCTIONS as F
from ..functions.table import SPACES
from ..ir.record import record
from ..tensor import Tensor
from ..transforms import custom_vjp, scan, switch


@record
class Blocks:
    """How attention is cut: `rows` queries and `columns` keys a block; which keys a query sees; how many weights are dropped."""

    rows: int
    columns: int
    causal: bool
    dropped: float


SIDE = 128              # queries and keys of a block on a CPU: its scores stay in the cache
LAUNCH = 1 << 24        # scores of a block on a GPU, where one block of all queries keeps it busy


def blocks(heads: int, queries: int, keys: int, gpu: bool, causal: bool, dropped: float) -> Blocks:
    """The blocks for so many heads of all examples together."""
    if not gpu:
        return Blocks(min(queries, SIDE), min(keys, SIDE), causal, dropped)
    room = max(LAUNCH // max(heads * queries, 1), 16)
    return Blocks(queries, min(keys, 512, 1 << room.bit_length() - 1), causal, dropped)


# ---- cutting and joining ------------------------------------------------------------------------------------------------------

def cut(x: Tensor, axis: int, size: int) -> Tensor:
    """x in blocks of `size` along an axis, padded with zeros: their number becomes the first axis."""
    n = x.shape[axis]
    count = -(-n // size)
    if count * size != n:
        x = F["pad"](x, [(0, count * size - n if a == axis else 0) for a in range(x.ndim)])
    x = x.reshape((*x.shape[:axis], count, size, *x.shape[axis + 1:]))
    return F["moveaxis"](x, axis, 0)


def joined(x: Tensor, axis: int, n: int) -> Tensor:
    """Blocks (their number first) as the n elements of one axis again."""
    x = F["moveaxis"](x, 0, axis)
    x = x.reshape((*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2:]))
    return x[(slice(None),) * axis + (slice(0, n),)]


def summed(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x added up over the axes that have one element in `shape`."""
    axes = tuple([a for a, (m, n) in enumerate(zip(shape, x.shape, strict=True)) if m == 1 and n != 1])
    return x.sum(axis=axes, keepdims=True) if axes else x


def times(x: Tensor, y: Tensor) -> Tensor:
    """(N, H, G, L, A) @ (N, H, A, B) -> (N, H, G, L, B): the heads of a group side by side."""
    n, h, g, l, a = x.shape
    return (x.reshape((n, h, g * l, a)) @ y).reshape((n, h, g, l, y.shape[-1]))


def against(x: Tensor, y: Tensor) -> Tensor:
    """xᵀ y, summed over the queries of a group: (N, H, G, L, A), (N, H, G, L, B) -> (N, H, A, B)."""
    n, h, g, l, a = x.shape
    return x.reshape((n, h, g * l, a)).mT @ y.reshape((n, h, g * l, y.shape[-1]))


# ---- one block ------------------------------------------------------------------------------------------------------------------

def numbers(n: int) -> Tensor:
    return F["arange"](n, dtype=dtypes.int32)


def scores(plan: Blocks, q: Tensor, k: Tensor, mask: Tensor | None, i: Tensor, j: Tensor, keys: int, later: bool) -> Tensor:
    """The scores of a block of queries (number i) with a block of keys (number j), -inf where a query does not see a key.

    `later`: whether there may be keys behind a query that must not see them.
    """
    s = times(q, k.mT)
    if mask is not None:
        s = F["where"](mask, s, -math.inf) if mask.dtype == dtypes.bool_ else s + mask
    column = j * plan.columns + numbers(plan.columns)
    if keys % plan.columns:
        s = F["where"](column < keys, s, -math.inf)
    if later:
        row = i * plan.rows + numbers(plan.rows)
        s = F["where"](column <= row[:, None], s, -math.inf)
    return s


def dropout(plan: Blocks, x: Tensor, key: Tensor | None, i: Tensor, j: Tensor) -> Tensor:
    """The weights that stay in block (i, j), the same at every call."""
    return x if not plan.dropped else SPACES["nn"]["dropout"](fold_in(fold_in(key, i), j), x, plan.dropped)


def seen(plan: Blocks, i: Tensor, j: Tensor, single: bool, step: Any, otherwise: Any, *operands: Any) -> Any:
    """`step(later, *operands)`, or `otherwise(*operands)` where no query of block i sees a key of block j.

    All that a step reads is among the operands: what a branch takes from outside may be computed before it is chosen.
    """
    if not plan.causal or single:
        return step(plan.causal, *operands)
    first, last = j * plan.columns, j * plan.columns + (plan.columns - 1)
    some, every = first < (i + 1) * plan.rows, last <= i * plan.rows
    index = F["astype"](some, dtypes.int32) + F["astype"](every, dtypes.int32)
    return switch(index, [otherwise, lambda *o: step(True, *o), lambda *o: step(False, *o)], *operands)


# ---- forward ------------------------------------------------------------------------------------------------------------------------

def attended(plan: Blocks, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key: Tensor | None) -> tuple[Tensor, Tensor]:
    """(the weighted mean of values, the logarithm of the sum of exponentials with a last axis of 1) for every query; 0 and 0 of none."""
    queries, keys = q.shape[3], k.shape[2]
    across = cut(k, 2, plan.columns), cut(v, 2, plan.columns)
    single = queries <= plan.rows

    def rows(i: Tensor, q: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        def step(carry: tuple, x: tuple) -> tuple:
            j, k, v, *rest = x

            def block(later: bool, carry: tuple, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key: Tensor | None, i: Tensor, j: Tensor) -> tuple:
                top, total, out = carry
                s = scores(plan, q, k, mask, i, j, keys, later)
                above = F["stop_gradient"](F["maximum"](top, s.max(axis=-1, keepdims=True)))
                least = F["where"](F["isfinite"](above), above, 0)                     # -inf as long as no key was seen
                e, shrink = F["exp"](s - least), F["exp"](top - least)
                return above, total * shrink + e.sum(axis=-1, keepdims=True), out * shrink + times(dropout(plan, e, key, i, j), v)
            return seen(plan, i, j, single, block, lambda carry, *_: carry, carry, q, k, v, rest[0] if rest else mask, key, i, j), None
        line, dtype = q.shape[:-1], q.dtype
        start = F["full"]((*line, 1), -math.inf, dtype=dtype), F["zeros"]((*line, 1), dtype=dtype), F["zeros"]((*line, v.shape[-1]), dtype=dtype)
        (top, total, out), _ = scan(step, start, (numbers(across[0].shape[0]), *across, *columns(plan, mask)))
        none = total == 0
        total = F["where"](none, 1, total)
        return out / total, F["where"](none, 0, top + F["log"](total))
    if single:
        return rows(F["zeros"]((), dtype=dtypes.int32), q, mask)
    along = cut(q, 3, plan.rows)
    lines = () if mask is None or mask.shape[3] == 1 else (cut(mask, 3, plan.rows),)
    _, found = scan(lambda _, x: (None, rows(x[0], x[1], x[2] if lines else mask)), None, (numbers(along.shape[0]), along, *lines))
    return tuple([joined(t, 3, queries) for t in found])


def columns(plan: Blocks, mask: Tensor | None) -> tuple[Tensor, ...]:
    """The mask of a block of queries in blocks of keys, if it has one for each key."""
    return () if mask is None or mask.shape[4] == 1 else (cut(mask, 4, plan.columns),)


# ---- reverse --------------------------------------------------------------------------------------------------------------------------

def cotangents(plan: Blocks, kept: tuple, ct: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
    """The cotangents of q, k, v and the mask. With weights p = exp(s - log), c the cotangent of the result:

    v̄ = pᵀ c, p̄ = c vᵀ, s̄ = p (p̄ - sum(p p̄)), where the sum is that of c times the result; q̄ = s̄ k, k̄ = s̄ᵀ q.
    """
    q, k, v, mask, key, out, log = kept
    queries, keys = q.shape[3], k.shape[2]
    across = cut(k, 2, plan.columns), cut(v, 2, plan.columns)
    single = queries <= plan.rows
    moves = mask is not None and mask.dtype != dtypes.bool_

    def rows(i: Tensor, q: Tensor, c: Tensor, log: Tensor, mean: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        def step(q_: Tensor, x: tuple) -> tuple:
            j, k, v, *rest = x

            def block(later: bool, q_: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, log: Tensor, mean: Tensor, mask: Tensor | None, key: Tensor | None,
                      i: Tensor, j: Tensor) -> tuple:
                p = F["exp"](scores(plan, q, k, mask, i, j, keys, later) - log)
                p_ = dropout(plan, times(c, v.mT), key, i, j)
                s_ = p * (p_ - mean)
                mask_ = (summed(s_, mask.shape),) if moves else ()
                return q_ + times(s_, k), (against(s_, q), against(dropout(plan, p, key, i, j), c), *mask_)

            def nothing(q_: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, log: Tensor, mean: Tensor, mask: Tensor | None, *_: Any) -> tuple:
                return q_, tuple([F["zeros_like"](t) for t in ((k, v, mask) if moves else (k, v))])
            return seen(plan, i, j, single, block, nothing, q_, q, k, v, c, log, mean, rest[0] if rest else mask, key, i, j)
        return scan(step, F["zeros_like"](q), (numbers(across[0].shape[0]), *across, *columns(plan, mask)))
    mean = (ct * out).sum(axis=-1, keepdims=True)
    if single:
        q_, (k_, v_, *mask_) = rows(F["zeros"]((), dtype=dtypes.int32), q, ct, log, mean, mask)
    else:
        def line(sums: tuple, x: tuple) -> tuple:
            q_, (k_, v_, *mask_) = rows(*x[:5], x[5] if lines else mask)
            return (sums[0] + k_, sums[1] + v_), (q_, *mask_)
        parts = [cut(t, 3, plan.rows) for t in (q, ct, log, mean)]
        lines = () if mask is None or mask.shape[3] == 1 else (cut(mask, 3, plan.rows),)
        (k_, v_), (q_, *mask_) = scan(line, tuple(map(F["zeros_like"], across)), (numbers(parts[0].shape[0]), *parts, *lines))
        q_ = joined(q_, 3, queries)
    return q_, joined(k_, 2, keys), joined(v_, 2, keys), whole(mask_[0], mask, single) if moves else None, None


def whole(found: Tensor, mask: Tensor, single: bool) -> Tensor:
    """The cotangent of a mask, of blocks of queries (unless there is a single one) of blocks of keys."""
    at = 0 if single else 1
    found = found.sum(axis=at) if mask.shape[4] == 1 else joined_at(found, at, mask.shape[4])
    if single:
        return found
    return found.sum(axis=0) if mask.shape[3] == 1 else joined(found, 3, mask.shape[3])


def joined_at(x: Tensor, at: int, n: int) -> Tensor:
    """`joined` of the blocks on axis `at`, as the last axis."""
    return joined(F["moveaxis"](x, at, 0), x.ndim - 2, n)


def _attention(plan: Blocks, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key: Tensor | None) -> Tensor:
    return attended(plan, q, k, v, mask, key)[0]


def _forward(plan: Blocks, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key: Tensor | None) -> tuple[Tensor, tuple]:
    out, log = attended(plan, q, k, v, mask, key)
    return out, (q, k, v, mask, key, out, log)


attention = custom_vjp(_attention, nondiff_argnums=0)
attention.defvjp(_forward, cotangents)
