"""Reverse mode: cotangents of roots pulled back to any Terms below them, as Terms.

A cotangent travels with the mask outside which it is zero and the next derivative may be NaN or infinite (`where` makes masks,
pointwise derivatives multiply under them). Inside, c is paired with tangents by Re(sum(c t)); users see its conjugate.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..dtypes import is_inexact
from ..errors import GradientError
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims import movement as M
from ..prims import reduction as R
from ..prims.base import Custom, Elementwise, Linear, Partials
from ..prims.leaf import is_constant, like


class Cotangent(NamedTuple):
    """`ct`, and the bool Term outside which it is zero (None: it may be anything everywhere)."""

    ct: Term
    mask: Term | None = None


def vjp(roots: Sequence[Term], cts: Sequence[Term | None], wrt: Sequence[Term]) -> list[Term | None]:
    """For each Term of `wrt` the cotangent sum(J(root)^H ct), None where no root depends on it differentiably.

    A `ct` has its root's shape and dtype (None: zero), else GradientError. `wrt` may hold leaves, intermediates and roots; the
    gradient of an intermediate is the total over all its uses.

    >>> from lazygrad import dtypes
    >>> from lazygrad.ir.aval import aval
    >>> from lazygrad.prims import leaf
    >>> x = leaf.leaf(0, 0, aval((), dtypes.float32), True)
    >>> vjp([E.sin(x)], [like(x, 1)], [x])[0] is E.cos(x)
    True
    """
    wanted = set(wrt)
    order = between(roots, wanted)
    active = set(order)
    pending: dict[Term, list[Cotangent]] = {}
    for root, ct in zip(roots, cts, strict=True):
        if ct is not None and ct.aval is not root.aval:
            raise GradientError("vjp", f"cotangent {ct.aval} of a value {root.aval}", "they must be alike", "reshape or cast it")
        if ct is not None and root in active:
            pending.setdefault(root, []).append(Cotangent(_conjugate(ct)))
    found: dict[Term, Term] = {}
    for t in reversed(order):
        parts = pending.pop(t, None)
        if parts is None:
            continue
        total = _total(parts)
        if t in wanted:
            found[t] = _conjugate(total.ct)
        if active.isdisjoint(t.args):
            continue
        for arg, part in _pull(t, total, active):
            pending.setdefault(arg, []).append(part)
    return [found.get(t) for t in wrt]


def between(roots: Sequence[Term], wrt: Collection[Term]) -> list[Term]:
    """The Terms below `roots` through which a derivative reaches one of `wrt`, arguments before users. Iterative."""
    floor = min((t.depth for t in wrt), default=0)
    seen: set[Term] = set()
    active: set[Term] = set()
    order: list[Term] = []
    stack = list(roots)[::-1]
    while stack:
        t = stack[-1]
        if t in seen:
            stack.pop()
            continue
        inexact = is_inexact(t.aval.dtype)
        if inexact and t.depth > floor and t.op.differentiable:
            todo = [a for a in t.args if a not in seen]
            if todo:
                stack.extend(reversed(todo))
                continue
            reaches = t in wrt or not active.isdisjoint(t.args)
        else:
            reaches = inexact and t in wrt
        seen.add(t)
        stack.pop()
        if reaches:
            active.add(t)
            order.append(t)
    return order


# ---- one step -------------------------------------------------------------------------------------------------------

def _pull(t: Term, total: Cotangent, active: set[Term]) -> list[tuple[Term, Cotangent]]:
    """The cotangents of t's arguments that are active."""
    ct, mask = total
    op, args, form = t.op, t.args, t.op.derivative
    if op is E.where:
        return _pull_where(args, total, active)
    static = t.keywords if t.params else {}
    masks: Sequence[Term | None] = ()
    if isinstance(form, Partials):
        parts = [(i, m(ct)) for i, m in enumerate(form.rule(t, *args, **static)) if m is not None and args[i] in active]
    elif isinstance(form, Linear):
        parts = list(zip(_positions(form, args), form.transpose(ct, t, *args, **static), strict=True))
        if mask is not None and op is M.broadcast_to:
            masks = (_any_over_copies(mask, args[0], t),)
        elif mask is not None and form.moves_mask:
            masks = form.transpose(mask, t, *args, **static)
    else:
        rule = form.vjp if isinstance(form, Custom) else form.transpose
        parts = list(enumerate(rule(ct, t, *args, **static)))
    pointwise = mask is not None and (isinstance(op.lowering, Elementwise) or op in POINTWISE)
    out = []
    for k, (i, c) in enumerate(parts):
        arg = args[i]
        if c is None or arg not in active:
            continue
        c = _fit(c, arg, t)
        if pointwise:
            part = _under(mask, c, ct)
        elif masks:
            part = Cotangent(c, masks[k])
        else:
            part = Cotangent(c, _own_mask(c))
        out.append((arg, part))
    return out


POINTWISE = frozenset({E.real, E.imag, E.conj, E.polygamma})        # elementwise though the host runs them


def _positions(form: Linear, args: tuple[Term, ...]) -> list[int]:
    return [i for i in range(len(args)) if i in form.args]


def _pull_where(args: tuple[Term, ...], total: Cotangent, active: set[Term]) -> list[tuple[Term, Cotangent]]:
    """select(c, ct, 0) to each branch, and the mask with it."""
    condition, x, y = args
    ct, mask = total
    out = []
    if x in active:
        out.append((x, Cotangent(E.select(condition, ct, 0), _and(condition, mask))))
    if y in active:
        out.append((y, Cotangent(E.where(condition, like(ct, 0), ct), _and(_not(condition), mask))))
    return out


def _fit(c: Term, arg: Term, t: Term) -> Term:
    """`c` as a cotangent of `arg`: the real part for a real argument of a complex operation."""
    if c.aval is arg.aval:
        return c
    if c.aval.shape != arg.aval.shape:
        raise GradientError(f"vjp of {t.op}", f"{c.aval} for an argument {arg.aval}", "the derivative rule gave another shape")
    return E.cast(c, dtype=arg.aval.dtype)


def _any_over_copies(mask: Term, x: Term, out: Term) -> Term:
    """Where any of the copies that broadcasting made of an element has a cotangent."""
    lead = out.aval.ndim - x.aval.ndim
    copied = [i for i in range(out.aval.ndim) if i < lead or x.aval.shape[i - lead] != out.aval.shape[i]]
    some = R.any(mask, axes=tuple(copied)) if copied else mask
    return some if some.aval.shape == x.aval.shape else M.reshape(some, shape=x.aval.shape)


# ---- masks ----------------------------------------------------------------------------------------------------------

def _under(mask: Term, c: Term, ct: Term) -> Cotangent:
    """The image c of a masked ct under a pointwise linear map, with select(mask, c, 0) unless zero surely stays zero."""
    own = _own_mask(c)
    if own is not None and c is not ct and own is not mask:
        mask = _and(own, mask)
        return Cotangent(E.where(mask, c.args[1], c.args[2]) if is_constant(c.args[2], 0) else
                         E.where(mask, c.args[2], c.args[1]), mask)
    return Cotangent(c if _keeps_zero(c, ct) else E.select(mask, c, 0), mask)


def _keeps_zero(c: Term, ct: Term) -> bool:
    """Whether c is zero wherever ct is, whatever else it reads."""
    if c is ct:
        return True
    if c.op is E.neg or c.op is E.cast:
        return c.args[0] is ct
    if c.op is E.mul:
        x, y = c.args
        factor = y if x is ct else x if y is ct else None
        return factor is not None and is_constant(factor) and math.isfinite(abs(factor.params[0]))
    return c.op is E.where and ct in c.args[1:] and all(a is ct or is_constant(a, 0) for a in c.args[1:])


def _own_mask(c: Term) -> Term | None:
    """The mask that a cotangent shows by its form: where(m, v, 0) or where(m, 0, v)."""
    if c.op is not E.where:
        return None
    if is_constant(c.args[2], 0):
        return c.args[0]
    return _not(c.args[0]) if is_constant(c.args[1], 0) else None


def _not(m: Term) -> Term:
    return m.args[0] if m.op is E.bit_not else E.bit_not(m)


def _and(m: Term, n: Term | None) -> Term:
    return m if n is None or n is m else E.bit_and(m, n)


def _or(m: Term | None, n: Term | None) -> Term | None:
    """m or n, None being everywhere: the two sides of one `where` join to what held before it."""
    if m is None or n is None:
        return None
    if m is n:
        return m
    if m is _not(n):
        return None
    if m.op is E.bit_and and n.op is E.bit_and and m.args[1] is n.args[1] and m.args[0] is _not(n.args[0]):
        return m.args[1]
    return E.bit_or(m, n)


def _total(parts: list[Cotangent]) -> Cotangent:
    """The sum, as a balanced tree: a value used n times gives a chain of log2(n) additions."""
    while len(parts) > 1:
        pairs = [Cotangent(E.plus(p.ct, q.ct), _or(p.mask, q.mask)) for p, q in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2:]
    return parts[0]


def _conjugate(c: Term) -> Term:
    if c.aval.dtype.kind != "c":
        return c
    return c.args[0] if c.op is E.conj else E.conj(c)

