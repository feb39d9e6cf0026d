"""Derivatives of while loops, whose number of steps is known only when they have run.

Forward: the same loop over values and tangents. Reverse: the loop's count is one of its results; a second run keeps the carries in
a fixed number of slots, and the steps are gone through from the last to the first. Up to SLOTS steps every step has its slot; up to
SLOTS**2 every segment has one and is run again when its turn comes; beyond that the steps of a segment share slots and are
run again from the nearest. So memory is bounded whatever the count, and the work is a small multiple of the loop's until SLOTS**2
steps. (Griewank and Walther, Evaluating Derivatives, 2008, chapter 12, has the theory of such schedules.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dtypes import int32
from ..ir.aval import Aval, aval
from ..ir.function import Body
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims import indexing as I
from ..prims.base import Several
from ..prims.control import cond, picked, register_rules, while_loop
from ..prims.leaf import closed, filled, leaf, like, opened
from ..prims.movement import broadcast_to
from .control import SCRATCH, chosen, inexact, pulled, pushed, spread, zero
from .masks import shown

SLOTS = 1024                       # carries that one level keeps,
ROOM = 32 << 20                    # if they fit into so many bytes
FEWEST = 8
NUMBER = aval((), int32)


# ---- loops as Terms, built by functions ------------------------------------------------------------------------------------

class Builder:
    """Makes stand-ins that no other of one derivative has."""

    def __init__(self) -> None:
        self.count = 1 << 20       # beyond those of the rules in `control`

    def stand_ins(self, avals: Sequence[Aval]) -> list[Term]:
        made = [leaf(SCRATCH - self.count - k, None, av, True) for k, av in enumerate(avals)]
        self.count += len(made)
        return made

    def repeat(self, n: Term, consts: Sequence[Term], init: Sequence[Term], step: Callable[[Term, list[Term], list[Term]], list[Term]]) -> list[Term]:
        """carries = step(i, consts, carries) for i below n; the last carries."""
        given = self.stand_ins([NUMBER, *[t.aval for t in consts], NUMBER, *[t.aval for t in init]])
        end, i = given[0], given[1 + len(consts)]
        fixed, carry = given[1:1 + len(consts)], given[2 + len(consts):]
        after = step(i, fixed, carry)
        body = closed(given, [E.add(i, like(i, 1)), *after])
        test = closed(given, [E.lt(i, end)])
        return picked(while_loop(n, *consts, filled(NUMBER, 0), *init, test=test, body=body, consts=1 + len(consts)))[1:-1]


def number(k: int) -> Term:
    return filled(NUMBER, k)


def quotient(a: Term, b: Term) -> Term:
    """ceil(a / b) for positive numbers, at least 1."""
    return E.maximum(E.floor_divide(E.add(a, E.sub(b, number(1))), b), number(1))


def read(slots: Term, k: Term) -> Term:
    return I.gather(slots, k, axes=(0,), position=0)


def write(slots: Term, k: Term, value: Term) -> Term:
    return I.scatter_set(slots, k, value, axes=(0,), position=0)


# ---- the rules -------------------------------------------------------------------------------------------------------------

def _while_jvp(ts: Sequence[Term | None], out: Term, *args: Term, test: Body, body: Body, consts: int) -> list[Term | None]:
    active = [t is not None for t in ts]
    while True:                                              # a carry moves if it starts moving or a step makes it move
        tangents, moved = pushed(body, active)
        more = [a or m is not None for a, m in zip(active[consts:], moved, strict=True)]
        if more == active[consts:]:
            break
        active[consts:] = more
    k = sum(active[:consts])
    moving = active[consts:]
    start = [zero(a) if t is None else t for a, t in chosen(list(zip(args[consts:], ts[consts:], strict=True)), moving)]
    p = body.params
    params = [*p[:consts], *tangents[:k], *p[consts:], *tangents[k:]]
    step = closed(params, [*body.results, *[zero(r) if t is None else t for r, t in chosen(list(zip(body.results, moved, strict=True)), moving)]])
    going = closed(params, opened(test, p))
    found = picked(while_loop(*args[:consts], *chosen(ts[:consts], active[:consts]), *args[consts:], *start, test=going, body=step, consts=consts + k))
    n = len(args) - consts
    return [*spread(found[n:-1], moving), None]


def _while_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], out: Term, *args: Term, test: Body, body: Body, consts: int) -> list[Term | None]:
    init, fixed = args[consts:], args[:consts]
    n = picked(out)[-1]
    asked = [a and p.aval.inexact for a, p in zip([*wanted[:consts], *inexact(init)], body.params, strict=True)]
    kept = asked[consts:]
    masks = [None if c is None else shown(c) for c in chosen(cts[:-1], kept)]
    given, found = pulled(body, kept, asked, masks)
    sums = [a and c is not None for a, c in zip(asked[:consts], found[:consts], strict=True)]
    back = Back(body, consts, kept, sums, masks, given, found)
    start = [zero(a) if c is None else c for a, c in chosen(list(zip(init, cts[:-1], strict=True)), kept)]
    totals = [zero(a) for a in chosen(fixed, sums)]
    marked = [m for m in masks if m is not None]
    operands = [n, *fixed, *init, *start, *marked, *totals]
    avals = [t.aval for t in operands]
    slots = max(FEWEST, min(SLOTS, ROOM // max(1, sum([t.aval.nbytes for t in init]))))
    branches = []
    for level in (back.short, back.long, back.longer):
        params = back.build.stand_ins(avals)
        m, c, k = params[0], params[1:1 + consts], 1 + consts + len(init)
        branches.append(closed(params, level(slots, m, c, params[1 + consts:k], params[k:])))
    index = E.add(E.cast(E.gt(n, number(slots)), dtype=int32), E.cast(E.gt(n, number(min(slots * slots, (1 << 31) - 1))), dtype=int32))
    result = picked(cond(index, *operands, branches=tuple(branches)))
    j = len(start)
    return [*spread(result[j + len(marked):], sums), *spread(result[:j], kept)]


class Back:
    """The way back through a loop: functions of (slots, count, constants, carries at the start, cotangents, masks and sums)."""

    def __init__(self, body: Body, consts: int, kept: list[bool], sums: list[bool], masks: list[Term | None], given: list[Term],
                 found: list[Term | None]) -> None:
        self.body, self.consts, self.kept, self.sums, self.masks, self.given, self.found = body, consts, kept, sums, masks, given, found
        self.build = Builder()

    def ahead(self, n: Term, fixed: Sequence[Term], carry: Sequence[Term]) -> list[Term]:
        """The carries n steps later."""
        return self.build.repeat(n, fixed, carry, lambda i, c, s: opened(self.body, [*c, *s]))

    def step(self, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term]) -> list[Term]:
        """Cotangents, masks and sums before a step that began with `carry`, from those after it."""
        after = [zero(p) if c is None else c for p, c in chosen(list(zip(self.body.params[self.consts:], self.found[self.consts:], strict=True)), self.kept)]
        moved = [shown(c) or filled(m.aval, True) for c, m in zip(after, self.masks, strict=True) if m is not None]
        parts = chosen(self.found[:self.consts], self.sums)
        k = len(after) + len(moved)
        whole = closed([*self.body.params, *self.given], [*after, *moved, *parts])
        found = opened(whole, [*fixed, *carry, *cts[:k]])
        return [*found[:k], *[E.plus(s, c) for s, c in zip(cts[k:], found[k:], strict=True)]]

    def empty(self, slots: int, carry: Sequence[Term]) -> list[Term]:
        return [filled(aval((slots, *c.aval.shape), c.aval.dtype), 0) for c in carry]

    def short(self, slots: int, n: Term, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term]) -> list[Term]:
        """Every step has a slot."""
        m = len(carry)

        def forth(i: Term, c: list[Term], s: list[Term]) -> list[Term]:
            return [*opened(self.body, [*c, *s[:m]]), *[write(a, i, v) for a, v in zip(s[m:], s[:m], strict=True)]]
        began = self.build.repeat(n, fixed, [*carry, *self.empty(slots, carry)], forth)[m:]

        def back(i: Term, c: list[Term], s: list[Term]) -> list[Term]:
            at = E.sub(E.sub(c[0], i), number(1))
            return self.step(c[1:1 + self.consts], [read(a, at) for a in c[1 + self.consts:]], s)
        return self.build.repeat(n, [n, *fixed, *began], cts, back)

    def long(self, slots: int, n: Term, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term]) -> list[Term]:
        """Every segment of at most `slots` steps has a slot."""
        return self._segments(slots, n, fixed, carry, cts, self.short)

    def longer(self, slots: int, n: Term, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term]) -> list[Term]:
        """Segments longer than there are slots: their steps share slots."""
        return self._segments(slots, n, fixed, carry, cts, self._shared)

    def _segments(self, slots: int, n: Term, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term], inner: Callable[..., list[Term]]) -> list[Term]:
        m = len(carry)
        size = quotient(n, number(slots))
        count = quotient(n, size)

        def length(k: Term, n: Term, size: Term) -> Term:
            return E.minimum(size, E.sub(n, E.mul(k, size)))

        def forth(k: Term, c: list[Term], s: list[Term]) -> list[Term]:
            return [*self.ahead(length(k, c[0], c[1]), c[2:], s[:m]), *[write(a, k, v) for a, v in zip(s[m:], s[:m], strict=True)]]
        began = self.build.repeat(count, [n, size, *fixed], [*carry, *self.empty(slots, carry)], forth)[m:]

        def back(i: Term, c: list[Term], s: list[Term]) -> list[Term]:
            k = E.sub(E.sub(c[2], i), number(1))
            return inner(slots, length(k, c[0], c[1]), c[3:3 + self.consts], [read(a, k) for a in c[3 + self.consts:]], s)
        return self.build.repeat(count, [n, size, count, *fixed, *began], cts, back)

    def _shared(self, slots: int, n: Term, fixed: Sequence[Term], carry: Sequence[Term], cts: Sequence[Term]) -> list[Term]:
        m = len(carry)
        every = quotient(n, number(slots))

        def forth(i: Term, c: list[Term], s: list[Term]) -> list[Term]:
            k = E.floor_divide(i, c[0])
            first = E.eq(E.remainder(i, c[0]), number(0))
            kept = [write(a, k, E.where(_wide(first, v), v, read(a, k))) for a, v in zip(s[m:], s[:m], strict=True)]
            return [*opened(self.body, [*c[1:], *s[:m]]), *kept]
        began = self.build.repeat(n, [every, *fixed], [*carry, *self.empty(slots, carry)], forth)[m:]

        def back(i: Term, c: list[Term], s: list[Term]) -> list[Term]:
            at = E.sub(E.sub(c[0], i), number(1))
            nearest = [read(a, E.floor_divide(at, c[1])) for a in c[2 + self.consts:]]
            own = c[2:2 + self.consts]
            return self.step(own, self.ahead(E.remainder(at, c[1]), own, nearest), s)
        return self.build.repeat(n, [n, every, *fixed, *began], cts, back)


def _wide(flag: Term, like_: Term) -> Term:

    return broadcast_to(flag, shape=like_.aval.shape) if like_.aval.ndim else flag


register_rules("while_loop", Several(_while_vjp, _while_jvp))
