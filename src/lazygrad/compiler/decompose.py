"""Decompose: Prims that are rewritten in simpler ones before anything else. In and out: roots."""

from __future__ import annotations

from ..ir.program import Caps
from ..ir.term import Term, rewrite, toposort
from ..prims import base as B
from ..prims.leaf import opened


def simpler(t: Term) -> Term | None:
    """What the rule of a `Decompose` Prim makes of `t`; None for any other."""
    form = t.op.lowering
    return form.rule(t, *t.args, **t.keywords) if isinstance(form, B.Decompose) else None


def decompose(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` without Prims of the `Decompose` and `Inline` forms; what takes their place is decomposed again."""
    if not any([isinstance(t.op.lowering, (B.Decompose, B.Inline)) for t in toposort(roots)]):
        return roots
    results: dict[Term, list[Term]] = {}         # of calls

    def step(t: Term) -> Term | None:
        if not isinstance(t.op.lowering, B.Pick) or not isinstance(t.args[0].op.lowering, B.Inline):
            return simpler(t)
        made = t.args[0]
        if made not in results:
            results[made] = opened(made.keywords["body"], made.args)
        return results[made][t.keywords["index"]]
    return rewrite(roots, step)
