"""Fit: which part of a value to store first, where one kernel would need more buffers than the backend binds.

In: a value and what is already in buffers. Out: a value below it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.term import Term
from .cut import INLINE, Cut


def part(cut: Cut, member: Term, held: Callable[[Term], Term | None], most: int) -> Term | None:
    """A value below `member` that reads at least two buffers and fits into a kernel of `most`, the one that reads most.

    `held(t)`: the Term whose buffer holds t when the kernel of `member` runs, if one does.
    """
    reads: dict[Term, frozenset[Term]] = {}
    best, stack = None, [member]
    while stack:
        t = stack[-1]
        if t in reads:
            stack.pop()
            continue
        found = held(t) if t is not member else None
        if found is not None:
            reads[t] = frozenset([found])
            continue
        todo = [a for a in t.args if a not in reads]
        if todo:
            stack.extend(reversed(todo))
            continue
        mine = reads[t] = frozenset().union(*[reads[a] for a in t.args])
        fits = t is not member and cut.kinds[t] == INLINE and 2 <= len(mine) < most and t.aval.size
        if fits and (best is None or (len(mine), -t.aval.size) > (len(reads[best]), -best.aval.size)):
            best = t
    return best
