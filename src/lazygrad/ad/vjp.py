"""Reverse mode: cotangents of roots pulled back to any Terms below them, as Terms.

A cotangent travels with the mask outside which it is zero and the next derivative may be NaN or infinite (`where` makes masks,
pointwise derivatives multiply under them). Inside, c is paired with tangents by Re(sum(c t)); users see its conjugate.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import GradientError
from ..ir.aval import Pack
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims.base import Custom, Linear, Partials
from ..prims.control import pick
from ..prims.leaf import like
from .masks import Cotangent, both, either, invert, pulled, shown


def vjp(roots: Sequence[Term], cts: Sequence[Term | None], wrt: Sequence[Term], inside: bool = False) -> list[Term | None]:
    """For each Term of `wrt` the cotangent, the sum over roots of J(root)^H ct; None where no root depends on it.

    A `ct` has its root's shape and dtype (None: zero), else GradientError. `wrt` may hold leaves, intermediates and roots; the
    gradient of an intermediate is the total over all its uses. `inside`: of a rule, where cotangents
    come and go as rules see them: not conjugated, and showing by their form what masks they have.

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
    pending: dict[Term, list[tuple[Term, Term | None]]] = {}
    for root, ct in zip(roots, cts, strict=True):
        if ct is not None and ct.aval is not root.aval:
            raise GradientError("vjp", f"cotangent {ct.aval} of a value {root.aval}", "they must be alike", "reshape or cast it")
        if ct is not None and root in active:
            ct = ct if inside else conjugate(ct)
            pending.setdefault(root, []).append((ct, shown(ct)))
    found: dict[Term, Term] = {}
    for t in reversed(order):
        parts = pending.pop(t, None)
        if parts is None:
            continue
        if t.aval.__class__ is Pack:
            for arg, part in _pull_several(t, parts, active):
                pending.setdefault(arg, []).append(part)
            continue
        total = parts[0] if len(parts) == 1 else _total(parts)
        if t in wanted:
            ct, mask = total
            if not inside:
                ct = conjugate(ct)
            elif mask is not None and shown(ct) is None:
                ct = E.select(mask, ct, 0)
            found[t] = ct
        if active.isdisjoint(t.args):
            continue
        for arg, part in _pull(t, total, active):
            known = pending.get(arg)
            if known is None:
                pending[arg] = [part]
            else:
                known.append(part)
    return [found.get(t) for t in wrt]


def between(roots: Sequence[Term], wrt: Collection[Term]) -> list[Term]:
    """The Terms below `roots` through which a derivative reaches one of `wrt`, arguments before users. Iterative."""
    if not wrt:
        return []
    floor = min(t.depth for t in wrt)
    seen: set[Term] = set()
    active: set[Term] = set()
    order: list[Term] = []
    stack = list(roots)[::-1]
    while stack:
        t = stack[-1]
        if t in seen:
            stack.pop()
            continue
        args, inexact = t.args, t.aval.inexact
        if inexact and t.depth > floor and t.op.differentiable:
            height = len(stack)
            for a in args[::-1]:
                if a not in seen:
                    stack.append(a)
            if len(stack) > height:
                continue
            reaches = t in wrt or not active.isdisjoint(args)
        else:
            reaches = inexact and t in wrt
        seen.add(t)
        stack.pop()
        if reaches:
            active.add(t)
            order.append(t)
    return order


# ---- one step -------------------------------------------------------------------------------------------------------

def _pull(t: Term, total: tuple[Term, Term | None], active: set[Term]) -> list[tuple[Term, tuple[Term, Term | None]]]:
    """The cotangents of t's arguments that are active."""
    op, args, (ct, mask) = t.op, t.args, total
    form = op.derivative
    if mask is None and form.__class__ is Partials and form.each:                # nearly all
        out = []
        for a, d in zip(args, form.each, strict=True):
            if d is not None and a in active:
                c = d(ct, t, *args)
                if c.aval is not a.aval:
                    c = _fit(c, a, t)
                out.append((a, (c, shown(c) if c.op is E.where else None)))
        return out
    if op is E.where:
        return _pull_where(args, total, active)
    if op is pick:
        if mask is not None and shown(ct) is None:            # rules of loops and calls see masks by the form of cotangents
            ct = E.select(mask, ct, 0)
        return [(args[0], (ct, t.params[0]))]
    static = t.keywords if t.params else {}
    if isinstance(form, Partials):
        parts = [(i, m(ct)) for i, m in enumerate(form.rule(t, *args, **static)) if m is not None and args[i] in active]
    elif isinstance(form, Linear):
        positions = [i for i in range(len(args)) if i in form.args]
        parts = list(zip(positions, form.transpose(ct, t, *args, **static), strict=True))
    else:
        rule = form.vjp if isinstance(form, Custom) else form.transpose
        parts = list(enumerate(rule(ct, t, *args, **static)))
    parts = [(i, None if c is None or args[i] not in active else _fit(c, args[i], t)) for i, c in parts]
    return [(args[i], part) for i, part in pulled(parts, total, t)]


def _pull_several(t: Term, parts: list[tuple[Term, int]], active: set[Term]) -> list[tuple[Term, tuple[Term, Term | None]]]:
    """The cotangents of the arguments of a Term with several results; `parts` are pairs of a cotangent and the result it is of."""
    cts: list[Term | None] = [None] * len(t.aval.avals)
    for ct, i in parts:
        cts[i] = ct if cts[i] is None else E.plus(cts[i], ct)
    wanted = [a in active for a in t.args]
    found = t.op.derivative.vjp(cts, wanted, t, *t.args, **t.keywords)
    return [(a, (_fit(c, a, t), shown(c))) for a, c, w in zip(t.args, found, wanted, strict=True) if w and c is not None]


def _pull_where(args: tuple[Term, ...], total: tuple[Term, Term | None], active: set[Term]) -> list[tuple[Term, Cotangent]]:
    """select(c, ct, 0) to each branch, and the mask with it."""
    condition, x, y = args
    ct, mask = total
    out = []
    if x in active:
        out.append((x, Cotangent(E.select(condition, ct, 0), both(condition, mask))))
    if y in active:
        out.append((y, Cotangent(E.where(condition, like(ct, 0), ct), both(invert(condition), mask))))
    return out


def _fit(c: Term, arg: Term, t: Term) -> Term:
    """`c` as a cotangent of `arg`: the real part for a real argument of a complex operation."""
    if c.aval is arg.aval:
        return c
    if c.aval.shape != arg.aval.shape:
        raise GradientError(f"vjp of {t.op}", f"{c.aval} for an argument {arg.aval}", "the derivative rule gave another shape")
    return E.cast(c, dtype=arg.aval.dtype)


def _total(parts: list[tuple[Term, Term | None]]) -> tuple[Term, Term | None]:
    """The sum, as a balanced tree: a value used n times gives a chain of log2(n) additions."""
    while len(parts) > 1:
        pairs = [(E.plus(c, d), None if m is None or n is None else either(m, n))
                 for (c, m), (d, n) in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[len(pairs) * 2:]
    return parts[0]


def conjugate(c: Term) -> Term:
    if c.aval.dtype.kind != "c":
        return c
    return c.args[0] if c.op is E.conj else E.conj(c)
