"""Forward mode: tangents pushed from any Terms to the roots above them, as Terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import GradientError
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims.base import Custom, Linear, Partials, Several
from ..prims.control import pick
from ..prims.leaf import like
from .vjp import between


def jvp(roots: Sequence[Term], tangents: Mapping[Term, Term]) -> list[Term | None]:
    """For each root the tangent J t, None where it depends on no key of `tangents` differentiably.

    A tangent has the shape and dtype of its Term, else GradientError. A Term that is a key keeps the tangent given, whatever
    it is made of.

    >>> from lazygrad import dtypes
    >>> from lazygrad.ir.aval import aval
    >>> from lazygrad.prims import leaf
    >>> x = leaf.leaf(0, 0, aval((), dtypes.float32), True)
    >>> jvp([E.sin(x)], {x: like(x, 1)})[0] is E.cos(x)
    True
    """
    for t, tangent in tangents.items():
        if tangent.aval is not t.aval:
            raise GradientError("jvp", f"tangent {tangent.aval} of a value {t.aval}", "they must be alike", "reshape or cast it")
    found: dict[Term, Any] = dict(tangents)              # of a Term with several results: a list
    for t in between(roots, tangents):
        if t not in tangents:
            ts = [found.get(a) for a in t.args]
            if t.op is pick:
                pushed = ts[0] and ts[0][t.params[0]]
            elif isinstance(t.op.derivative, Several):
                pushed = t.op.derivative.jvp(ts, t, *t.args, **t.keywords)
            else:
                pushed = _push(t, ts)
            if pushed is not None:
                found[t] = pushed
    return [found.get(r) for r in roots]


def _push(t: Term, ts: list[Term | None]) -> Term | None:
    """The tangent of t from those of its arguments (None: zero)."""
    op, args, form = t.op, t.args, t.op.derivative
    static = t.keywords if t.params else {}
    if isinstance(form, Partials):
        maps = form.rule(t, *args, **static)
        return _sum([m(c) for m, c in zip(maps, ts, strict=True) if m is not None and c is not None])
    if isinstance(form, Linear):
        moved = [i for i in range(len(args)) if i in form.args]
        if all(ts[i] is None for i in moved):
            return None
        return op(*[a if i not in form.args else like(a, 0) if c is None else c
                    for i, (a, c) in enumerate(zip(args, ts, strict=True))], **static)
    if isinstance(form, Custom):
        return form.jvp(tuple(ts), t, *args, **static)
    return _sum([op(*args[:i], c, *args[i + 1:], **static) for i, c in enumerate(ts) if c is not None])


def _sum(parts: list[Term]) -> Term | None:
    total = None
    for part in parts:
        total = part if total is None else E.plus(total, part)
    return total
