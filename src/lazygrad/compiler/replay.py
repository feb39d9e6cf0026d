"""Replay: a loop for devices that repeat the same launches: every step finds its place by a counter in memory.

In: a loop's parts. Out: one step as Terms over consts and carries alone, all of which it changes in place: slices are read and
rows written at the counter, and a loop with a test may go on past its end without changing anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dtypes import int32
from ..ir.aval import aval
from ..ir.program import Caps
from ..ir.record import record
from ..ir.term import Term, substitute, term, toposort
from ..prims import base as B
from ..prims import elementwise as E
from ..prims import indexing
from ..prims import movement as M
from ..prims.leaf import like, parameter
from . import flow
from .simplify import simplify

BOOL = np.dtype("bool")
SCATTERS = frozenset(indexing.SCATTERS.values())


@record
class Step:
    """`roots[j]` follows `carries[j]`: those of the loop, then its own (`first`: what they start with), then rows.

    `live`: the place of the carry that is false once the test has failed, None where there is none: then a loop with a
    test has to ask it before every step. `trips`: that of the number of steps.
    """

    consts: tuple[Term, ...]
    carries: tuple[Term, ...]
    roots: tuple[Term, ...]
    first: tuple[int, ...]
    live: int | None = None
    trips: int | None = None


def harmless(results: Sequence[Term], live: Term) -> list[Term] | None:
    """`results` with all indices 0 where `live` is false, so that none is outside of its array; None where something else can fail."""
    done: dict[Term, Term] = {}
    for t in toposort(results):
        low, args = t.op.lowering, [done[a] for a in t.args]
        if t.op is indexing.gather or t.op in SCATTERS:
            for k in range(1, len(args) - isinstance(low, B.Scatter)):
                args[k] = E.where(M.broadcast_to(live, shape=args[k].aval.shape), args[k], like(args[k], 0))
        elif isinstance(low, B.Control | B.Host | B.Scatter) or (isinstance(low, B.Index) and not low.moves):
            return None
        done[t] = term(t.op, tuple(args), t.params, t.aval)
    return [done[r] for r in results]


def step(s: flow.Steps, rows: list[int], caps: Caps) -> Step:
    """One step of a loop; `rows`: the numbers of the results that are rows and wanted."""
    n, fresh = len(s.init), len(s.body.params)
    consts = s.body.params[:len(s.consts)]
    own = [parameter(fresh + k, aval((), int32)) for k in range(2)]
    if s.test is None:
        counter = own[0]
        whole = tuple([parameter(fresh + 2 + k, x.aval) for k, x in enumerate(s.xs)])
        results = [s.body.results[j] for j in rows]
        stacked = [parameter(fresh + 2 + len(s.xs) + k, aval((s.length, *r.aval.shape), r.aval.dtype)) for k, r in enumerate(results)]
        env = {p: indexing.gather(x, counter, axes=(0,), position=0) for p, x in zip(s.sliced, whole, strict=True)}
        made = substitute([*s.body.results[:n], *results], env)
        place = M.reshape(counter, shape=(1,))
        written = [indexing.scatter_set(y, place, M.reshape(r, shape=(1, *r.aval.shape)), axes=(0,), position=0)
                   for y, r in zip(stacked, made[n:], strict=True)]
        following = E.add(counter, like(counter, -1 if s.reverse else 1))
        return Step((*consts, *whole), (*s.carried, counter, *stacked), (*made[:n], following, *written), (s.length - 1 if s.reverse else 0,))
    counter = own[0]
    was = parameter(fresh + 1, aval((), BOOL))
    live = E.bit_and(was, s.test.results[0])
    results = harmless(s.body.results, live)
    if results is None:
        return Step(consts, (*s.carried, counter), (*s.body.results, E.add(counter, like(counter, 1))), (0,), trips=n)
    # (a choice between an array and updates of it becomes updates that are a choice)
    kept = simplify([E.where(M.broadcast_to(live, shape=r.aval.shape), r, p) for r, p in zip(results, s.carried, strict=True)], caps)
    following = E.add(counter, E.cast(live, dtype=int32))
    return Step(consts, (*s.carried, counter, was), (*kept, following, live), (0, 1), live=n + 1, trips=n)
