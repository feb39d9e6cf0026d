"""Updates: scatters that change their target in place, so that a step costs what it changes and not what there is.

In: the Terms of a plan, how they are computed, which outputs overwrite inputs. Out: kinds marked, and what has to come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..ir.term import Term

INLINE, SCATTER, UPDATE = "inline", "scatter", "update"
RENAMES = ("reshape", "barrier")              # the same bytes under another name


def find(order: list[Term], roots, sources, into, kinds) -> tuple[list[Term], dict[Term, tuple[Term, ...]], set[Term]]:
    """Finds scatters whose target is a source that their result overwrites, and marks them: (the order of Terms, {scatter: what has
    to be computed before it}, all of that). What else reads the source is stored before the first element of it changes.
    """
    chains = [chain for r, i in zip(roots, into, strict=True) if i is not None for chain in _chains(r, sources[i], kinds)]
    if not chains:
        return order, {}, set()
    known, users = set(order), dict[Term, list[Term]]()
    for t in order:
        for a in dict.fromkeys(t.args):
            users.setdefault(a, []).append(t)
    before: dict[Term, tuple[Term, ...]] = {}
    for chain in chains:
        readers, names = [], [chain[-1].args[0]]
        for a in names:                          # a reshape is another name of the same bytes
            for u in users.get(a, ()):
                if u.op.name in RENAMES and u.args[0] is a and kinds[u] == INLINE:
                    names.append(u)
                elif u is not chain[-1]:
                    readers.append(u)
        alone = roots.count(chain[0]) == 1 and not any([a in roots for a in (*chain[1:], *names[1:])])
        alone = alone and all([users[r] == [over] and over.args.count(r) == 1 for over, r in pairwise(chain)])
        alone = alone and names[0] not in chain[-1].args[1:]
        again = _ordered(roots, before | {chain[-1]: tuple(readers)}) if alone else None
        if again is not None:
            order, before[chain[-1]] = [t for t in again if t in known], tuple(readers)
            kinds.update(dict.fromkeys(chain, UPDATE))
    return order, before, {u for readers in before.values() for u in readers}


def _chains(r: Term, source: Term, kinds: dict[Term, str]) -> list[list[Term]]:
    """The scatters from `r` down to `source`, outermost first, where there is nothing else between."""
    chain = []
    while kinds[r] == SCATTER:
        chain.append(r)
        r = r.args[0]
    return [chain] if chain and r is source else []


def _ordered(roots: Sequence[Term], before: dict[Term, tuple[Term, ...]]) -> list[Term] | None:
    """All Terms below `roots`, arguments and what has to come `before` a Term first; None where that is a circle."""
    state: dict[Term, bool] = {}                 # False: waiting for what is below it
    order: list[Term] = []
    stack = list(roots)[::-1]
    while stack:
        t = stack[-1]
        if t not in state:
            state[t] = False
            for a in (*t.args, *before.get(t, ())):
                if state.get(a) is False:
                    return None
                if a not in state:
                    stack.append(a)
        else:
            stack.pop()
            if not state[t]:
                state[t] = True
                order.append(t)
    return order
