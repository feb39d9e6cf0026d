"""Accesses: what the loads and stores of a kernel touch, and from that how its steps become threads and vec4s.

In: a Kernel. Out: a `Plan`: which grid variable or inner loops go four elements at a time, which arrays hold vec4s, and
whether a thread or a workgroup does one grid step. Nothing here is WGSL text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ...ir.kernel import Check, Combine, Kernel, Loop, Stmt, Store
from ...ir.record import record
from ...ir.scalar import CARRY, CAST, CONST, FLOORDIV, LINEAR, LOAD, MOD, VAR, Scalar, bounds, value_of
from .traits import Traits, stored

INDEX = frozenset({LINEAR, FLOORDIV, MOD, VAR})
GATHERS = 16                     # accesses of single elements that a body of vec4s may have
SHORT = 32                       # inner steps below which a workgroup is not worth its barriers
GAIN = 0.75                      # what vec4s must cost at most, beside single elements
TURNS = 60000                    # turns of all loops that a thread may take on software adapters: llvmpipe ends every loop after 65535
HIDDEN = {("pow", "i"): 64, ("pow", "u"): 64, ("fmod", "f"): 128, ("remainder", "f"): 128, ("floor_divide", "f"): 128}    # inside of operations
WIDE = 8192                      # threads that are left at least where a long step goes four at a time on a GPU


@record
class Lane:
    """A variable whose values go four at a time. `carries`: the accumulators are vec4s too (a grid variable)."""

    var: str
    carries: bool


@record
class Access:
    """A load or store of buffer `buffer` at `index`, made `weight` times in a grid step, inside `loops`."""

    buffer: int
    index: Scalar
    writes: bool
    weight: int
    loops: tuple[Loop, ...]
    masked: bool = False


@record
class Plan:
    """How a kernel runs. `grid`: (variable, extent), outermost first; `body`: one grid step.

    `lane`: the grid variable that goes four at a time, or None; `quads`: ids of the inner loops that do; `spread`: ids of the
    inner loops whose steps the threads of a workgroup share (none: a step is one thread's); `rounded`: of the quads, those that
    run past their extent. `packed`: buffers declared as vec4s.
    """

    grid: tuple[tuple[str, int], ...]
    body: tuple[Stmt, ...]
    lane: Lane | None
    quads: frozenset[int]
    spread: frozenset[int]
    packed: frozenset[int]
    threads: int
    rounded: frozenset[int] = frozenset()


class Facts:
    """What is known of the Scalars of one kernel, found once each. `within`: (first, last) of loop variables that take fewer values."""

    def __init__(self, within: dict[str, tuple[int, int]] | None = None) -> None:
        self._within = within or {}
        self._names: dict[Scalar, frozenset[str]] = {}
        self._ranges: dict[Scalar, tuple[int, int] | None] = {}
        self._slopes: dict[tuple[Scalar, Lane], int | None] = {}
        self._aligned: dict[tuple[Scalar, Lane], bool] = {}

    def names(self, s: Scalar) -> frozenset[str]:
        """The loop variables that `s` reads, and its carries with a "$" before them."""
        known = self._names
        for x in below([s], known):
            if x.op is VAR:
                known[x] = frozenset((x.params[0],))
            elif x.op is CARRY:
                known[x] = frozenset(("$" + x.params[0],))
            else:
                known[x] = frozenset().union(*[known[a] for a in x.args])
        return known[s]

    def varies(self, s: Scalar, lane: Lane) -> bool:
        """Whether the four lanes may differ in `s`."""
        names = self.names(s)
        return lane.var in names or (lane.carries and any([n[0] == "$" for n in names]))

    def slope(self, s: Scalar, lane: Lane) -> int | None:
        """What an index grows by from lane to lane, where lane 0 is a multiple of 4; None where that is not one number."""
        key = (s, lane)
        if key not in self._slopes:
            self._slopes[key] = self._slope(s, lane)
        return self._slopes[key]

    def _slope(self, s: Scalar, lane: Lane) -> int | None:
        if s.op is VAR:
            return int(s.params[0] == lane.var)
        if not self.varies(s, lane):
            return 0
        if s.op is LINEAR:
            parts = [self.slope(a, lane) for a in s.args]
            return None if None in parts else sum([k * p for k, p in zip(s.params[1], parts, strict=True)])
        if s.op in INDEX:                            # four neighbours in one block of a multiple of 4
            inner = self.slope(s.args[0], lane)
            if inner == 0:
                return 0
            if inner == 1 and s.params[0] % 4 == 0 and self.aligned(s.args[0], lane):
                return int(s.op is MOD)
        return None

    def aligned(self, s: Scalar, lane: Lane) -> bool:
        """Whether an index is a multiple of 4 in lane 0."""
        key = (s, lane)
        if key not in self._aligned:
            self._aligned[key] = self._multiple(s, lane)
        return self._aligned[key]

    def _multiple(self, s: Scalar, lane: Lane) -> bool:
        if s.op is VAR:
            return s.params[0] == lane.var
        if s.op is LINEAR:
            return s.params[0] % 4 == 0 and all([k % 4 == 0 or self.aligned(a, lane) for a, k in zip(s.args, s.params[1], strict=True)])
        return s.op is MOD and s.params[0] % 4 == 0 and self.aligned(s.args[0], lane)

    def range(self, s: Scalar) -> tuple[int, int] | None:
        """The least and largest value of an integer, as far as its type and its indices tell."""
        known = self._ranges
        for x in below([s], known):
            known[x] = self._range(x)
        return known[s]

    def _range(self, x: Scalar) -> tuple[int, int] | None:
        known = [self._ranges[a] for a in x.args]
        if x.op in INDEX:
            if x.op is VAR:
                return self._within.get(x.params[0]) or bounds(x)
            if x.op is FLOORDIV and known[0] is not None:
                return known[0][0] // x.params[0], known[0][1] // x.params[0]
            if x.op is MOD and known[0] is not None and known[0][0] // x.params[0] == known[0][1] // x.params[0]:
                return known[0][0] % x.params[0], known[0][1] % x.params[0]
            if x.op is not LINEAR or None in known:
                return (0, x.params[0] - 1) if x.op is MOD else bounds(x)
            low = high = x.params[0]
            for inner, k in zip(known, x.params[1], strict=True):
                low, high = low + min(k * inner[0], k * inner[1]), high + max(k * inner[0], k * inner[1])
            return low, high
        if x.dtype.kind not in "iu":
            return (0, 1) if x.dtype.kind == "b" else None
        if x.op is CONST:
            return (value_of(x),) * 2
        if x.op is CAST and known[0] is not None and holds(x.dtype, known[0]):
            return known[0]
        if x.op.name == "select" and None not in known[1:]:
            return min(known[1][0], known[2][0]), max(known[1][1], known[2][1])
        if x.op.name in ("maximum", "minimum") and None not in known:
            pick = max if x.op.name == "maximum" else min
            return pick(known[0][0], known[1][0]), pick(known[0][1], known[1][1])
        info = np.iinfo(x.dtype)
        return (int(info.min), int(info.max)) if x.dtype.itemsize < 8 else None


def holds(dtype: np.dtype, known: tuple[int, int]) -> bool:
    info = np.iinfo(dtype)
    return bool(info.min <= known[0] and known[1] <= info.max)


def below(roots: Iterable[Scalar], known: dict) -> Iterator[Scalar]:
    """The Scalars below `roots` that are not in `known`, arguments first; the caller puts each into `known`."""
    stack = list(roots)
    while stack:
        x = stack[-1]
        todo = [a for a in x.args if a not in known]
        if x not in known and todo:
            stack.extend(todo)
            continue
        stack.pop()
        if x not in known:
            yield x


def runs(body: Sequence[Stmt]) -> Iterator[list[Stmt] | Loop]:
    """A body as runs of statements that are not loops, and loops."""
    run: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            if run:
                yield run
            run = []
            yield s
        else:
            run.append(s)
    if run:
        yield run


def roots(run: Sequence[Stmt]) -> list[Scalar]:
    """What a run of statements computes, indices included."""
    return [x for s in run for x in ((s.ok,) if isinstance(s, Check) else (s.value, s.index) if isinstance(s, Store | Combine) else (s.value,))]


def loops_of(body: Sequence[Stmt]) -> list[Loop]:
    """All loops of a body, outer ones first."""
    found = [s for s in body if isinstance(s, Loop)]
    for s in found:                                  # grows while it is read
        found += [x for x in s.body if isinstance(x, Loop)]
    return found


def accesses(body: Sequence[Stmt], same: Sequence[int], written: frozenset[int], facts: Facts) -> list[Access]:
    """Every load and store of one grid step; `same[p]` is the buffer of parameter p."""
    found: list[Access] = []

    def weight(names: frozenset[str], around: tuple[Loop, ...], often: bool) -> int:
        return math.prod([s.extent for s in around if often or s.var in names])

    def read(scalars: Sequence[Scalar], around: tuple[Loop, ...]) -> None:
        seen: dict = {}
        for x in below(scalars, seen):
            seen[x] = None
            if x.op is LOAD:
                buffer = same[x.params[0]]
                often = weight(facts.names(x), around, buffer in written)
                found.append(Access(buffer, x.args[0], False, often, around, len(x.args) > 1))

    def visit(body: Sequence[Stmt], around: tuple[Loop, ...]) -> None:
        for part in runs(body):
            if isinstance(part, Loop):
                read([c.start for c in part.states], around)
                read([part.test] if part.test is not None else [], (*around, part))
                visit(part.body, (*around, part))
                continue
            read(roots(part), around)
            for s in part:
                if isinstance(s, Store | Combine):
                    found.append(Access(same[s.buffer], s.index, True, weight(facts.names(s.index), around, True), around))

    visit(body, ())
    return found


def turns(body: Sequence[Stmt], units: Callable[[Loop], int]) -> int:
    """How many turns of loops a body takes, where a loop takes `units(loop)`; those inside of operations included."""
    total = 0
    for part in runs(body):
        if isinstance(part, Loop):
            total += units(part) * (1 + turns(part.body, units))
        else:
            seen: dict = {}
            for x in below(roots(part), seen):
                seen[x] = None
                total += HIDDEN.get((x.op.name, x.dtype.kind), 0)
    return total


def independent(loop: Loop, facts: Facts) -> bool:
    """Whether the steps of a vector loop may run in any order: no two write one element."""
    if loop.mode != "vector" or any([isinstance(x, Loop) for x in loop.body]):
        return False
    for s in loop.body:
        if isinstance(s, Store | Combine):
            atoms = list(zip(s.index.args, s.index.params[1], strict=True)) if s.index.op is LINEAR else [(s.index, 1)]
            moving = [a for a, _ in atoms if loop.var in facts.names(a)]
            if not moving or any([a.op not in INDEX for a in moving]) or (isinstance(s, Combine) and [a.op for a in moving] != [VAR]):
                return False
    return True


class Planner:
    """The choices for one kernel, from the cost of its memory accesses (a quad or one element: 1)."""

    def __init__(self, kernel: Kernel, traits: Traits, same: Sequence[int], written: frozenset[int], facts: Facts) -> None:
        self.kernel, self.traits, self.facts = kernel, traits, facts
        self.grid: list[tuple[str, int]] = []
        self.body, self.overrun = kernel.body, False
        while len(self.body) == 1 and isinstance(self.body[0], Loop) and self.body[0].mode == "grid":
            loop = self.body[0]
            self.grid.append((loop.var, loop.extent))
            self.body, self.overrun = loop.body, loop.overrun
        self.accesses = accesses(self.body, same, written, facts)
        self.steps = math.prod([n for _, n in self.grid])
        self.loops = [s for s in loops_of(self.body) if independent(s, facts)]
        self.wide = {p for p, param in enumerate(kernel.params) if stored(param.dtype).itemsize > 4}

    def plan(self) -> Plan:
        if any([s.states or s.test is not None for s in loops_of(self.body)]):       # a thread each: states are its registers
            return Plan(tuple(self.grid), self.body, None, frozenset(), frozenset(), frozenset(), 0)
        lane, (loops, inner) = self.grid_lane(), self.inner_quads()
        quads, none = frozenset([id(s) for s in loops]), frozenset()
        spread = self.spread(quads)
        if lane and not spread and self.cost(lane) <= GAIN * 4 * inner:
            return Plan(tuple(self.grid), self.body, lane, none, none, self.packed(lane, none), 0)
        rounded = frozenset([id(s) for s in loops if s.extent % 4 and self.rounds(s)])
        threads = self.threads(quads) if spread else 0
        return Plan(tuple(self.grid), self.body, None, quads, spread, self.packed(None, quads), threads, rounded)

    # ---- four at a time
    def quad(self, a: Access, lane: Lane) -> bool:
        return self.facts.slope(a.index, lane) == 1 and self.facts.aligned(a.index, lane)

    def exact(self, a: Access, ids: Iterable[int]) -> bool:
        """Whether an access is of whole quads only, where the inner loops `ids` go four at a time."""
        if not a.loops or id(a.loops[-1]) not in ids or not self.quad(a, Lane(a.loops[-1].var, False)):
            return False
        return a.loops[-1].extent % 4 == 0 or self.rounds(a.loops[-1])

    def rounds(self, loop: Loop) -> bool:
        """Whether a loop of quads may run past its extent: what it then touches is padding."""
        return loop.overrun and all([isinstance(s, Store) for s in loop.body]) and all(
            [self.padded(a, Lane(loop.var, False)) for a in self.accesses if a.loops and a.loops[-1] is loop])

    def padded(self, a: Access, lane: Lane) -> bool:
        """Whether the last quad of an access may lie behind the buffer's end."""
        return not a.masked and (self.facts.slope(a.index, lane) == 0 or (self.quad(a, lane) and a.buffer not in self.wide))

    def cost(self, lane: Lane) -> int:
        """Four grid steps at once."""
        single = {a.buffer for a in self.accesses if a.writes and not self.quad(a, lane)}
        total = 0
        for a in self.accesses:
            whole = self.facts.slope(a.index, lane) == 0 or (a.buffer not in single and self.quad(a, lane))
            total += a.weight * (1 if whole else 4)
        return total

    def grid_lane(self) -> Lane | None:
        """The innermost grid variable, where it can go four at a time."""
        if not self.grid or self.grid[-1][1] < 4:
            return None
        lane, extent = Lane(self.grid[-1][0], True), self.grid[-1][1]
        slopes = [(a, self.facts.slope(a.index, lane)) for a in self.accesses]
        if any([a.writes and slope == 0 for a, slope in slopes]):
            return None
        if sum([slope != 0 and not self.quad(a, lane) for a, slope in slopes]) > GATHERS:
            return None
        if extent % 4 and not (self.overrun and len(self.grid) == 1 and all([isinstance(s, Store) for s in self.body])
                               and all([self.padded(a, lane) for a in self.accesses])):
            return None
        long = any([a.weight > SHORT for a in self.accesses])
        if long and not self.traits.software and self.steps < 4 * WIDE:
            return None
        return lane

    def inner_quads(self) -> tuple[list[Loop], float]:
        """The inner loops that go four at a time, and the cost of one grid step then."""
        chosen = [s for s in self.loops if s.extent >= 4]
        while True:
            cost, ids = 0.0, {id(s) for s in chosen}
            single = {a.buffer for a in self.accesses if a.writes and not self.exact(a, ids)}
            gains: dict[int, list[float]] = {i: [0, 0, 0] for i in ids}
            for a in self.accesses:
                own: float = a.weight
                if a.loops and id(a.loops[-1]) in ids and (a.writes or a.loops[-1].var in self.facts.names(a.index)):
                    lane, gain = Lane(a.loops[-1].var, False), gains[id(a.loops[-1])]
                    whole = self.facts.slope(a.index, lane) == 0 or (a.buffer not in single and self.quad(a, lane))
                    own = a.weight / 4 if whole else a.weight
                    gain[0], gain[1], gain[2] = gain[0] + own, gain[1] + a.weight, gain[2] + (not whole)
                cost += own
            worse = [s for s in chosen if gains[id(s)][0] > GAIN * gains[id(s)][1] or gains[id(s)][2] > GATHERS]
            if not worse:
                return chosen, cost
            chosen = [s for s in chosen if s not in worse]

    def packed(self, lane: Lane | None, quads: frozenset[int]) -> frozenset[int]:
        """The buffers whose every store, and at least one access, is of aligned quads."""
        whole, single = set(), set()
        for a in self.accesses:
            if self.quad(a, lane) if lane else a.loops and id(a.loops[-1]) in quads and self.quad(a, Lane(a.loops[-1].var, False)):
                whole.add(a.buffer)
            if a.writes and not (self.quad(a, lane) if lane else self.exact(a, quads)):
                single.add(a.buffer)
        return frozenset(whole - single)

    # ---- workgroups
    def spread(self, quads: frozenset[int]) -> frozenset[int]:
        """The loops that the threads of a workgroup share; none where each thread does a whole grid step."""
        long = [s for s in self.loops if s.extent >= SHORT]
        if self.traits.software and turns(self.body, lambda s: -(-s.extent // (4 if id(s) in quads else 1))) > TURNS:
            return frozenset([id(s) for s in long])
        if self.traits.software or not long:
            return frozenset()
        near = far = 0
        for a in self.accesses:
            for s in a.loops[-1:]:
                if s in long:
                    near += a.weight * (abs(self.facts.slope(a.index, Lane(s.var, False)) or 2) == 1)
            far += a.weight * (bool(self.grid) and self.facts.slope(a.index, Lane(self.grid[-1][0], False)) in (1, -1))
        most = max([s.extent for s in long])
        if self.steps >= 1024 and (near <= far or (most < 4 * SHORT and self.steps >= 16384)):
            return frozenset()
        return frozenset([id(s) for s in long])

    def room(self) -> int:
        """Threads of a workgroup whose accumulators fit its memory."""
        each = sum({c.dtype: max(c.dtype.itemsize, 4) for s in self.loops for c in s.carries}.values())
        return self.traits.shared // max(each, 1)

    def threads(self, quads: frozenset[int]) -> int:
        """Threads of a workgroup that does one grid step: two units each and more, a power of two."""
        units = max([-(-s.extent // (4 if id(s) in quads else 1)) for s in self.loops])
        most = min(self.traits.invocations, 1024 if units >= 8192 else 256, self.room())
        threads = 32
        while threads * 4 <= units and threads * 2 <= most:
            threads *= 2
        return threads
