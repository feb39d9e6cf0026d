"""Masks of cotangents: where a cotangent is zero because a branch was not taken, and how that passes through each op.

A mask is a bool Term of the cotangent's shape, or None for "it may be anything everywhere". It may be wider than the truth,
never narrower. Terms made here and not used cost nothing in a plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from ..dtypes import bool_, int8
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims import indexing as I
from ..prims import movement as M
from ..prims import reduction as R
from ..prims.base import Elementwise, Linear, Partials
from ..prims.leaf import constant, is_constant, like


class Cotangent(NamedTuple):
    """`ct`, and the mask outside which it is zero."""

    ct: Term
    mask: Term | None = None


# ---- logic ----------------------------------------------------------------------------------------------------------

def invert(m: Term) -> Term:
    return m.args[0] if m.op is E.bit_not else E.bit_not(m)


def opposite(m: Term, n: Term) -> bool:
    return (m.op is E.bit_not and m.args[0] is n) or (n.op is E.bit_not and n.args[0] is m)


def both(m: Term | None, n: Term | None) -> Term | None:
    """The places of both masks."""
    if m is None or m is n:
        return n
    return m if n is None else E.bit_and(m, n)


def either(m: Term | None, n: Term | None) -> Term | None:
    """The places of one mask or the other: the two sides of one `where` join to what held before it."""
    if m is None or n is None or opposite(m, n):
        return None
    if m is n:
        return m
    if m.op is E.bit_and and n.op is E.bit_and and m.args[1] is n.args[1] and opposite(m.args[0], n.args[0]):
        return m.args[1]
    return E.bit_or(m, n)


# ---- masks that a cotangent shows -----------------------------------------------------------------------------------

def shown(c: Term) -> Term | None:
    """The mask that a cotangent shows by its form: where(m, v, 0) or where(m, 0, v)."""
    if c.op is not E.where:
        return None
    if is_constant(c.args[2], 0):
        return c.args[0]
    return invert(c.args[0]) if is_constant(c.args[1], 0) else None


def under(mask: Term, c: Term, ct: Term) -> Cotangent:
    """The image c of a masked ct under a pointwise linear map: select(mask, c, 0), unless zero surely stays zero."""
    if keeps_zero(c, ct):
        return Cotangent(c, mask)
    own = shown(c)
    if own is None:
        return Cotangent(E.select(mask, c, 0), mask)
    mask = both(own, mask)
    return Cotangent(E.select(mask, c.args[2] if is_constant(c.args[1], 0) else c.args[1], 0), mask)


def keeps_zero(c: Term, ct: Term) -> bool:
    """Whether c, made of ct, is zero wherever ct is, whatever else it reads."""
    if c is ct:
        return True
    if c.op is E.neg or c.op is E.cast:
        return c.args[0] is ct
    if c.op is E.mul:
        x, y = c.args
        factor = y if x is ct else x if y is ct else None
        return factor is not None and is_constant(factor) and math.isfinite(abs(factor.params[0]))
    return False


# ---- masks through the ops ------------------------------------------------------------------------------------------

POINTWISE = frozenset({E.real, E.imag, E.conj})        # elementwise and linear, though the host runs them


def is_pointwise(t: Term) -> bool:
    return isinstance(t.op.lowering, Elementwise) or isinstance(t.op.derivative, Partials) or t.op in POINTWISE


def _of_copies(mask: Term, t: Term) -> Term:
    """Where any of the copies that broadcasting made of an element has a cotangent."""
    x, shape = t.args[0].aval, t.aval.shape
    lead = len(shape) - x.ndim
    copied = tuple([i for i, n in enumerate(shape) if i < lead or x.shape[i - lead] != n])
    return M.reshaped(R.any(mask, axes=copied) if copied else mask, x.shape)


def _of_gathered(mask: Term, t: Term) -> Term:
    """Where any of the places that read an element has a cotangent."""
    x, *indices = t.args
    return I.scatter_max(constant(False, x.aval.shape, bool_), *indices, mask, **t.keywords)


def _of_reduced(mask: Term, t: Term) -> Term:
    return R.expand(mask, t.keywords["axes"], t.args[0].aval.shape)


def _of_running(mask: Term, t: Term) -> Term:
    """Where this or a later step of a scan has a cotangent."""
    static = t.keywords
    later = R.cummax(E.cast(mask, dtype=int8), axis=static["axis"], reverse=not static["reverse"])
    return E.ne(later, like(later, 0))


MOVES: dict[object, Callable[[Term, Term], Term]] = {
    M.broadcast_to: _of_copies, I.gather: _of_gathered,
    **dict.fromkeys((R.max, R.min, R.prod), _of_reduced),
    **dict.fromkeys((R.cumsum, R.cumprod, R.cummax, R.cummin), _of_running),
}
MULTIPLIES = frozenset({R.prod, R.cumprod})        # 0 times an infinity is possible: select again


def pulled(parts: list[tuple[int, Term | None]], total: tuple[Term, Term | None], t: Term) -> list[tuple[int, Cotangent]]:
    """The cotangents of t's arguments with their masks, from those that t's rule made of `total`."""
    ct, mask = total
    made = [(i, c) for i, c in parts if c is not None]
    if mask is None:
        return [(i, Cotangent(c, shown(c))) for i, c in made]
    if is_pointwise(t):
        return [(i, under(mask, c, ct)) for i, c in made]
    move = MOVES.get(t.op)
    if move is not None:
        moved = move(mask, t)
        if t.op in MULTIPLIES:
            return [(i, under(moved, c, ct)) for i, c in made]
        return [(i, Cotangent(c, both(shown(c), moved))) for i, c in made]
    form = t.op.derivative
    if isinstance(form, Linear) and form.moves_mask:
        masks = form.transpose(mask, t, *t.args, **t.keywords)
        return [(i, Cotangent(c, m)) for (i, c), m in zip(parts, masks, strict=True) if c is not None]
    return [(i, Cotangent(c, shown(c))) for i, c in made]
