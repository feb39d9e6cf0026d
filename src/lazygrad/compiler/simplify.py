"""Simplify: the equations of `rules`, constants computed ahead, and movements of movements made one.

In and out: roots. One walk, arguments first; what a rule builds is simplified again. Values stay the same bit for bit, but
for the last bit where a rule says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.program import Caps
from ..ir.term import Term, rewrite
from ..prims import base as B
from ..prims import indexing
from ..prims import movement as M
from ..prims.leaf import constant, full
from .rules import Finder, build, match

RULES, FAST_RULES = Finder(), Finder(fast_math=True)


def simplify(roots: list[Term], caps: Caps, fast_math: bool = False) -> list[Term]:
    """`roots` in simpler Terms."""
    rules = FAST_RULES if fast_math else RULES
    return rewrite(roots, lambda t: step(t, rules))


def step(t: Term, rules: Finder) -> Term | None:
    """One step simpler, None where nothing is known."""
    name = t.op.name
    move = STRUCTURE.get(name)
    if move is not None:
        found = move(t)
        if found is not None and found is not t:
            return found
    if isinstance(t.op.lowering, B.Elementwise):
        if t.args and all([a.op is full for a in t.args]):
            return fold(t)
        for r in rules(t):
            holes: dict[str, Term] = {}
            if match(r.left, t, holes):
                return build(r.right, holes, t)
    return None


def fold(t: Term) -> Term:
    """The constant that an elementwise op gives on constants."""
    with np.errstate(all="ignore"):
        value = np.asarray(t.op.numpy(*[np.asarray(a.params[0], a.aval.dtype) for a in t.args], **t.keywords))
    return constant(value.astype(t.aval.dtype).item(), t.aval.shape, t.aval.dtype)


# ---- movements and casts ----------------------------------------------------------------------------------------------

def _moved_constant(t: Term) -> Term | None:
    x = t.args[0]
    return constant(x.params[0], t.aval.shape, t.aval.dtype) if x.op is full else None


def _reshape(t: Term) -> Term | None:
    x = t.args[0]
    if x.aval is t.aval:
        return x
    if x.op is t.op:
        return t.op(x.args[0], shape=t.aval.shape)
    return _moved_constant(t)


def _permute(t: Term) -> Term | None:
    x, axes = t.args[0], t.keywords["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if x.op is t.op:
        inner = x.keywords["axes"]
        return t.op(x.args[0], axes=tuple([inner[a] for a in axes]))
    return _moved_constant(t)


def _broadcast(t: Term) -> Term | None:
    x = t.args[0]
    if x.aval is t.aval:
        return x
    if x.op is t.op:
        return t.op(x.args[0], shape=t.aval.shape)
    return _moved_constant(t)


def _slice(t: Term) -> Term | None:
    x, k = t.args[0], t.keywords
    if x.aval is t.aval and not any(k["start"]) and all([s == 1 for s in k["step"]]):
        return x
    return _moved_constant(t)


def _cast(t: Term) -> Term | None:
    x = t.args[0]
    if x.aval is t.aval:
        return x
    # the middle dtype holds every value of the first: only the outer cast counts
    if x.op is t.op and np.can_cast(x.args[0].aval.dtype, x.aval.dtype, "safe") and not _rounds(x):
        return t.op(x.args[0], dtype=t.aval.dtype)
    return None


def _rounds(cast: Term) -> bool:
    """Whether a cast that NumPy calls safe rounds (int64 to float64), or makes a bool of a number."""
    a, b = cast.args[0].aval.dtype, cast.aval.dtype
    return a.kind in "iu" and b.kind in "fc" and np.iinfo(a).bits > np.finfo(b).nmant + 1


def _reduce(t: Term) -> Term | None:
    return t.args[0] if not t.keywords["axes"] else None


def _sum(t: Term) -> Term | None:
    """A sum of products over the whole batch is one product: sum_b A[b] B[b] = [A[0] A[1] ...] [B[0]; B[1]; ...]."""
    x, axes = t.args[0], t.keywords["axes"]
    if not axes:
        return x
    if not isinstance(x.op.lowering, B.Contraction) or axes != tuple(range(x.aval.ndim - 2)):
        return None
    a, b = x.args
    m, k = a.aval.shape[-2:]
    order = (len(axes), *axes, len(axes) + 1)
    total = k * x.aval.size // (m * b.aval.shape[-1]) if x.aval.size else 0
    if not total:
        return None
    left = M.reshape(M.permute(a, axes=order), shape=(m, total))
    return x.op(left, M.reshape(b, shape=(total, b.aval.shape[-1])))


def _updates(t: Term) -> Term | None:
    """A choice between an array and the same array with updates is a choice between updates: the rest is the same either way."""
    chosen, x, y = t.args
    for new, old in ((x, y), (y, x)):
        if new.op in (indexing.scatter_set, indexing.scatter_add) and new.args[0] is old:
            where, indices, update = new.keywords, new.args[1:-1], new.args[-1]
            here = indexing.gather(chosen, *indices, **where)
            kept = indexing.gather(old, *indices, **where) if new.op is indexing.scatter_set else constant(0, update.aval.shape, update.aval.dtype)
            return new.op(old, *indices, t.op(here, update, kept) if new is x else t.op(here, kept, update), **where)
    return None


STRUCTURE: dict[str, Callable[[Term], Term | None]] = {
    "reshape": _reshape, "permute": _permute, "broadcast_to": _broadcast, "slice": _slice, "cast": _cast,
    "where": _updates, "sum": _sum, **dict.fromkeys(("prod", "max", "min", "any", "all"), _reduce),
}
