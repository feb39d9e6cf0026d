"""Decompose: Prims that are rewritten in simpler ones before anything else. In and out: roots."""

from __future__ import annotations

from ..ir.program import Caps
from ..ir.term import Term, term, toposort
from ..prims import base as B


def decompose(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` without Prims of the `Decompose` form; what a rule returns is decomposed again. Iterative."""
    if not any([isinstance(t.op.lowering, B.Decompose) for t in toposort(roots)]):
        return roots
    done: dict[Term, Term] = {}
    stack = list(roots)[::-1]
    while stack:
        t = stack[-1]
        if t in done:
            stack.pop()
            continue
        todo = [a for a in t.args if a not in done]
        if todo:
            stack.extend(reversed(todo))
            continue
        args = tuple([done[a] for a in t.args])
        here = t if args == t.args else term(t.op, args, t.params, t.aval)
        if isinstance(t.op.lowering, B.Decompose):
            simpler = t.op.lowering.rule(here, *args, **t.keywords)
            if simpler not in done:
                stack.append(simpler)
                continue
            here = done[simpler]
        done[t] = here
        stack.pop()
    return [done[r] for r in roots]
