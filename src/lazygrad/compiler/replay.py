"""Replay: a loop for devices that repeat the same launches: every step finds its place by a counter in memory.

In: a loop's parts. Out: one step as Terms over consts and carries alone, all of which it changes in place: slices are read and
rows written at the counter, and a loop with a test may go on past its end without changing anything.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import int32
from ..ir.aval import aval
from ..ir.record import record
from ..ir.term import Term, substitute
from ..prims import elementwise as E
from ..prims import indexing
from ..prims import movement as M
from ..prims.leaf import like, parameter
from . import flow
from .lighten import may_fail

BOOL = np.dtype("bool")


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


def step(s: flow.Steps, rows: list[int]) -> Step:
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
    changed = [flow.in_place(r, p) for r, p in zip(s.body.results, s.carried, strict=True)]
    fails = any([may_fail(r, dict.fromkeys(s.body.params)) for r in (*s.body.results, *s.test.results)])
    if fails or any(changed):
        return Step(consts, (*s.carried, counter), (*s.body.results, E.add(counter, like(counter, 1))), (0,), trips=n)
    was = parameter(fresh + 1, aval((), BOOL))
    live = E.bit_and(was, s.test.results[0])
    kept = [E.where(M.broadcast_to(live, shape=r.aval.shape), r, p) for r, p in zip(s.body.results, s.carried, strict=True)]
    following = E.add(counter, E.cast(live, dtype=int32))
    return Step(consts, (*s.carried, counter, was), (*kept, following, live), (0, 1), live=n + 1, trips=n)
