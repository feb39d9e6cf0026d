"""Decompose: Prims that are rewritten in simpler ones before anything else. In and out: roots."""

from __future__ import annotations

from ..ir.program import Caps
from ..ir.term import Term, rewrite, toposort
from ..prims import base as B


def simpler(t: Term) -> Term | None:
    """What the rule of a `Decompose` Prim makes of `t`; None for any other."""
    form = t.op.lowering
    return form.rule(t, *t.args, **t.keywords) if isinstance(form, B.Decompose) else None


def decompose(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` without Prims of the `Decompose` form; what a rule returns is decomposed again."""
    if not any([isinstance(t.op.lowering, B.Decompose) for t in toposort(roots)]):
        return roots
    return rewrite(roots, simpler)
