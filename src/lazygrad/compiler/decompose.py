"""Decompose: Prims that are rewritten in simpler ones before anything else. In and out: roots."""

from __future__ import annotations

from ..ir.program import Caps
from ..ir.term import Term, rewrite, toposort
from ..prims import base as B
from ..prims.call import inlined
from . import convolution


def simpler(t: Term, caps: Caps) -> Term | None:
    """What the rule of a `Decompose` Prim makes of `t`, or of a `Convolution` that is no step; None for any other."""
    form = t.op.lowering
    if isinstance(form, B.Convolution):
        return convolution.decomposed(t, caps)
    return form.rule(t, *t.args, **t.keywords) if isinstance(form, B.Decompose) else None


def decompose(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` without Prims of the `Decompose`, `Convolution` and `Inline` forms; what takes their place is decomposed again."""
    if not any([isinstance(t.op.lowering, (B.Decompose, B.Convolution, B.Inline)) for t in toposort(roots)]):
        return roots
    results: dict[Term, list[Term]] = {}         # of calls
    return rewrite(roots, lambda t: inlined(t, results) or simpler(t, caps))
