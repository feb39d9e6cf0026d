"""Join: a loop whose carries go the way of some carries of another loop is a part of it.

In and out: roots. Derivatives repeat the loop that they belong to: forward ones beside tangents, reverse ones to keep what each
step began with. Values stay the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.record import changed
from ..ir.term import Term, substitute, toposort
from ..prims.control import cond, pick
from ..prims.leaf import closed, parameter
from . import flow

MOST = 64            # loops among which others are looked for


def joined(roots: list[Term]) -> list[Term]:
    """`roots` with loops in others."""
    while True:
        order = toposort(roots)
        used = flow.picks(order)
        loops = [t for t in order if t in used and t.op is not cond]
        env = _one(loops, used) if 1 < len(loops) <= MOST else {}
        if not env:
            return roots
        roots = substitute(roots, env)


def _one(loops: list[Term], used: dict[Term, dict[int, Term]]) -> dict[Term, Term]:
    """The results of two loops as those of one, for the first two that there are."""
    kinds: dict[tuple, list[Term]] = {}
    for t in loops:
        kinds.setdefault((t.op, t.keywords.get("length"), t.keywords.get("reverse")), []).append(t)
    for group in kinds.values():
        if len(group) < 2:
            continue
        below = {t: set(toposort([t])) for t in group}
        for a in group:
            for b in group:
                if a is b or a in below[b] or b in below[a]:
                    continue
                found = _within(flow.steps(a), flow.steps(b))
                if found is not None:
                    whole, of_a, of_b = found
                    picked = [(p, of[j]) for t, of in ((a, of_a), (b, of_b)) for j, p in used[t].items()]
                    return {p: pick(whole, index=j) for p, j in picked}
    return {}


def _within(a: flow.Steps, b: flow.Steps) -> tuple[Term, Sequence[int], Sequence[int]] | None:
    """(the loop `b` with the rows of `a`; the numbers there of the results of `a`, of those of `b`); None where `a` goes another way."""
    left = list(enumerate(b.init))
    places: list[int] = []
    for x in a.init:
        k = next((k for k, (_, y) in enumerate(left) if y is x), None)
        if k is None:
            return None
        places.append(left.pop(k)[0])
    carries, fresh = b.carried, len(b.body.params)
    consts, xs = dict(zip(b.body.params, b.consts, strict=False)), dict(zip(b.sliced, b.xs, strict=True))
    env = {p: carries[k] for p, k in zip(a.carried, places, strict=True)}
    for group, operands in ((consts, dict(zip(a.body.params, a.consts, strict=False))), (xs, dict(zip(a.sliced, a.xs, strict=True)))):
        known = {operand: p for p, operand in group.items()}
        for p, operand in operands.items():
            if operand not in known:
                known[operand] = parameter(fresh, p.aval)
                group[known[operand]] = operand
                fresh += 1
            env[p] = known[operand]
    n, m = len(a.init), len(b.init)
    made = substitute(a.body.results, env)
    if any([made[j] is not b.body.results[k] for j, k in enumerate(places)]):
        return None
    test = None
    if b.test is not None:                       # (its parameters are numbered as the body's)
        if substitute(a.test.results, env) != list(b.test.results):
            return None
        test = closed([*consts, *carries], b.test.results)
    rows = list(dict.fromkeys([*b.body.results[m:], *made[n:]]))
    body = closed([*consts, *carries, *xs], [*b.body.results[:m], *rows])
    whole = flow.made(changed(b, consts=tuple(consts.values()), xs=tuple(xs.values()), body=body, test=test))
    last = [m] if test is not None else []       # the number of steps
    return (whole, [*places, *[m + rows.index(r) for r in made[n:]], *last],
            [*range(m), *[m + rows.index(r) for r in b.body.results[m:]], *last])
