"""Recur: loops whose state fits into registers, as one kernel: every element of a batch goes through all steps by itself.

In: a loop Term whose body works element by element over one index space, the *lanes*, but for small axes of its own, which
are written out. Out: its kernels: the lanes outside, the steps inside, the carries as states. What is the same for all lanes
(a clock, a counter) is one number in each, and stored by a kernel of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ..ir import scalar as S
from ..ir.function import Body
from ..ir.kernel import Assign, Check, Kernel, Loop, State, Stmt, Store
from ..ir.program import Caps
from ..ir.record import changed, record
from ..ir.term import Term, substitute, toposort
from ..prims import reduction
from ..prims.leaf import constant, full
from . import flow, grid, loops
from .cut import FLOW, HOST, RECUR, Cut, Group, Profiles, classify
from .facts import Facts, holds
from .inside import SCALARS, Index, Inside, Unfit
from .loops import Out
from .lower import Faults, Lowering, axis_vars
from .simplify import simplify

STATES = 64          # numbers that one lane carries at most
FEWEST = 1 << 20     # steps that one kernel has to be able to take where a test ends it
FOREVER = 1 << 31    # steps of a loop that only its test ends


@record
class Form:
    """The lanes' extents, and whether they are the first axes of what they are an axis of (else the last)."""

    lanes: tuple[int, ...]
    lead: bool

    def inner(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The axes of `shape` without the lanes, None where it has no lanes."""
        r = len(self.lanes)
        if not r or len(shape) < r:
            return None
        if self.lead:
            return shape[r:] if shape[:r] == self.lanes else None
        return shape[:-r] if shape[-r:] == self.lanes else None

    def at(self, lanes: Index, inner: Sequence[int]) -> Index:
        """The index of an element that has lanes."""
        own = tuple([S.index(i) for i in inner])
        return (*lanes, *own) if self.lead else (*own, *lanes)


class Recurrence:
    """One loop in one form. `outside(k, idx, mask)`: the element of operand k (of the loop's consts, then its xs)."""

    def __init__(self, s: flow.Steps, form: Form, profiles: Profiles, outside: Callable, code: Callable) -> None:
        self.s, self.form = s, form
        self.lanes = axis_vars(form.lanes)
        n = 1 if s.length is None else s.length
        turn = S.var("t", n)
        self.turn = S.iadd(S.index(n - 1), S.imul(turn, -1)) if s.reverse else turn
        params: dict[Term, Callable] = {}
        for k, p in enumerate(s.body.params[:len(s.consts)]):
            params[p] = lambda idx, mask, k=k: outside(k, idx, mask)
        for k, p in enumerate(s.sliced):
            params[p] = lambda idx, mask, k=k: outside(len(s.consts) + k, (self.turn, *idx), mask)
        self.states: list[list[tuple[Index, str]]] = []          # of every carry, its elements: where and as which state
        for j, p in enumerate(s.carried):
            inner = form.inner(p.aval.shape)
            elements = []
            for place in self._elements(p.aval.shape if inner is None else inner):
                at = tuple([S.index(i) for i in place]) if inner is None else form.at(self.lanes, place)
                elements.append((at, "_".join([f"s{j}", *map(str, place)])))
            self.states.append(elements)
            params[p] = self._reader(dict(elements), p.aval.dtype)
        if sum(map(len, self.states)) > STATES:
            raise Unfit
        if s.test is not None and s.test.results[0].aval.ndim and (form.lanes != s.test.results[0].aval.shape or not form.lead):
            raise Unfit                          # every example ends by itself: then it is a lane
        self.inside = Inside(profiles, params, code)

    @staticmethod
    def _elements(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        if int(np.prod(shape, dtype=object)) > STATES:
            raise Unfit
        return list(np.ndindex(*shape))

    @staticmethod
    def _reader(names: dict[Index, str], dtype: np.dtype) -> Callable:
        def read(idx: Index, mask: S.Scalar | None) -> S.Scalar:
            name = names.get(idx)
            if name is None:                     # another lane's, or one that data decides
                raise Unfit
            return S.carry(name, dtype)
        return read

    def uniform(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of this shape is the same in all lanes."""
        return self.form.inner(shape) is None

    def result(self, r: Term) -> list[tuple[Index, S.Scalar]]:
        """The elements of a result: where, and their values."""
        inner = self.form.inner(r.aval.shape)
        places = self._elements(r.aval.shape if inner is None else inner)
        indices = [tuple([S.index(i) for i in p]) if inner is None else self.form.at(self.lanes, p) for p in places]
        return [(at, self.inside.value(r, at)) for at in indices]

    def closed(self, wanted: Sequence[int], ys: Sequence[int]) -> tuple[dict[int, list[S.Scalar]], dict[int, list], S.Scalar | None]:
        """The next values of the carries `wanted` and of all that these, the slices `ys` or the test read; those; the test."""
        s = self.s
        k = len(s.init)
        rows = {j: self.result(s.body.results[k + j]) for j in ys}
        test = None
        if s.test is not None:
            test = self.inside.value(s.test.results[0], self.lanes if s.test.results[0].aval.ndim else ())
        owner = {name: j for j, elements in enumerate(self.states) for _, name in elements}
        new: dict[int, list[S.Scalar]] = {}
        todo = list(wanted)
        seen: set[S.Scalar] = set()

        def meet(roots: list[S.Scalar]) -> None:
            stack = roots
            while stack:
                x = stack.pop()
                if x not in seen:
                    seen.add(x)
                    stack.extend(x.args)
                    if x.op is S.CARRY and x.params[0] in owner:
                        todo.append(owner[x.params[0]])

        meet([v for row in rows.values() for _, v in row] + ([test] if test is not None else []) + [c.ok for c in self.inside.checks])
        while todo:
            j = todo.pop()
            if j not in new:
                new[j] = [v for _, v in self.result(s.body.results[j])]
                meet(list(new[j]) + [c.ok for c in self.inside.checks])
        if len(seen) > SCALARS:
            raise Unfit
        return dict(sorted(new.items())), rows, test


def kind(t: Term, caps: Caps, profiles: Profiles) -> str:
    """How a loop or a branch is carried out: RECUR, FLOW, or HOST where some of it is only known to NumPy."""
    if t.op is not flow.cond and (not caps.grid or _fits(t, caps, profiles)) and form(t, profiles) is not None:
        return RECUR
    return FLOW if native(t, caps, profiles) else HOST


def _fits(t: Term, caps: Caps, profiles: Profiles) -> bool:
    """Whether one kernel of a grid may bind what a loop reads and makes, and take all its steps."""
    long = flow.steps(t).test is not None and 0 < caps.turns < FEWEST
    return len({a for a in t.args if a.op is not full}) + len(profiles.picks.get(t, t.aval.avals)) <= caps.max_buffers and not long


def native(t: Term, caps: Caps, profiles: Profiles) -> bool:
    """Whether a backend has code for all bodies of a loop or a branch."""
    if any([a.aval.dtype.name not in caps.dtypes for a in t.args]):
        return False
    for body in flow.bodies(t):
        if any([r.aval.dtype.name not in caps.dtypes for r in body.results]):
            return False
        if HOST in classify(toposort(body.results), caps, profiles).values():
            return False
    return True


def form(t: Term, profiles: Profiles) -> tuple[Form, flow.Steps] | None:
    """The form in which a loop is a kernel with states, and its steps then; None where it has none: found by trying, once."""
    if t not in profiles.forms:
        s = flow.steps(t)
        counted = len(s.init) in profiles.picks.get(t, ())
        lanewise = None if counted else apart(s, profiles.caps)
        found = _form(t, s, profiles) if lanewise is None else _form(t, lanewise, profiles)
        profiles.forms[t] = found and (found, s if lanewise is None else lanewise)
    return profiles.forms[t]


def apart(s: flow.Steps, caps: Caps) -> flow.Steps | None:
    """A loop that goes on as long as any of many examples does, and changes only those that do, as one in which each has its own test."""
    if s.test is None or s.test.results[0].op is not reduction.any:
        return None
    alive = s.test.results[0].args[0]
    if s.test.results[0].keywords["axes"] != tuple(range(alive.aval.ndim)):
        return None
    if alive.op.name == "cast" or any([p.aval.shape[:alive.aval.ndim] != alive.aval.shape for p in s.carried]):
        return None

    def where(value: bool) -> tuple[Term, ...]:
        return tuple(simplify(substitute(s.body.results, {alive: constant(value, alive.aval.shape, alive.aval.dtype)}), caps))

    if where(False) != s.carried:
        return None
    return changed(s, body=Body(s.body.params, where(True)), test=Body(s.test.params, (alive,)))


def _form(t: Term, s: flow.Steps, profiles: Profiles) -> Form | None:
    if s.length == 0 or any([a.aval.dtype.name not in profiles.caps.dtypes for a in (*t.args, *s.body.results)]):
        return None
    avals = [x.aval for x in (*s.consts, *s.xs)]

    def load(k: int, idx: Index, mask: S.Scalar | None) -> S.Scalar:
        return S.load(k, S.flat(idx, avals[k].shape), avals[k].dtype, mask)

    for candidate in candidates(s):
        try:
            r = Recurrence(s, candidate, profiles, load, lambda fault, op: 0)
            every, ys = range(len(s.init)), range(len(s.body.results) - len(s.init))
            r.closed(every, ys)
            return candidate
        except Unfit:
            continue
    return None


def candidates(s: flow.Steps) -> list[Form]:
    """Which axes may be lanes: the first or last ones of the largest carry or slice, the most first; none at all."""
    shape = max([r.aval.shape for r in s.body.results], key=lambda shape: int(np.prod(shape, dtype=object)), default=())
    found = {}
    for n in range(1, len(shape) + 1):
        for lanes, lead in ((shape[:n], True), (shape[-n:], False)):
            size = int(np.prod(lanes, dtype=object))
            if size >= loops.SHORT:
                found.setdefault(Form(lanes, lead), size)
    order = sorted(found, key=lambda f: (-found[f], -f.lead))
    return [*order, Form((), True)]


def outside(outer: Lowering, operands: Sequence[Term]) -> Callable:
    """What reads an element of an operand, in the kernel in which the loop stands."""
    return lambda j, idx, mask: outer.value(operands[j], idx, mask)


def lower(cut: Cut, group: Group, faults: Faults, caps: Caps, ready) -> list[tuple[Kernel, list[Term]]]:
    """The kernels of a loop: one for what has lanes, one for what has none, each where something of it is wanted."""
    t = group.members[0]
    picked = cut.picks[t]
    found, s = form(t, cut.profiles)
    k = len(s.init)
    kernels = []
    for uniform in (False, True) if found.lanes else (True,):
        outer = Lowering(cut, group.stage, faults, caps, ready)
        r = Recurrence(s, found, cut.profiles, outside(outer, (*s.consts, *s.xs)), faults.code)
        kept = [j for j in range(k) if j in picked and r.uniform(s.carried[j].aval.shape) == uniform]
        rows = [j for j in range(len(s.body.results) - k) if s.test is None and k + j in picked
                and r.uniform(s.body.results[k + j].aval.shape) == uniform]
        trips = picked.get(k) if s.test is not None and uniform else None
        if kept or rows or trips is not None:
            kernels.append(_kernel(outer, r, kept, rows, picked, trips, () if uniform else found.lanes))
    return kernels


def _kernel(outer: Lowering, r: Recurrence, kept: list[int], rows: list[int], picked: dict[int, Term], trips: Term | None,
            lanes: tuple[int, ...]) -> tuple[Kernel, list[Term]]:
    s, k = r.s, len(r.s.init)
    new, slices, test = r.closed(kept, rows)
    names: list[tuple[str, np.dtype]] = []
    starts: list[S.Scalar] = []
    values: list[S.Scalar] = []
    for j, elements in new.items():
        for (at, name), value in zip(r.states[j], elements, strict=True):
            names.append((name, value.dtype))
            starts.append(outer.value(s.init[j], at))
            values.append(value)
    if trips is not None:
        names.append(("trips", trips.aval.dtype))
        starts.append(S.const(0, trips.aval.dtype))
        values.append(S.apply("add", S.carry("trips", trips.aval.dtype), S.const(1, trips.aval.dtype)))
    inner: list[Out] = []
    for j, elements in slices.items():
        out = picked[k + j]
        b = outer.buffer(out, True)
        inner += [Out(b, S.flat((r.turn, *at), out.aval.shape), value) for at, value in elements]
    after: list[Out] = []
    for j in kept:
        out = picked[j]
        b = outer.buffer(out, True)
        after += [Out(b, S.flat(at, out.aval.shape), S.carry(name, out.aval.dtype)) for at, name in r.states[j]]
    if trips is not None:
        after.append(Out(outer.buffer(trips, True), S.index(0), S.carry("trips", trips.aval.dtype)))
    zero = S.index(0)
    outs = [*inner, *after, *[Out(-1, zero, v) for v in (*starts, *values, *([test] if test is not None else []))]]
    around = len(outer.checks)
    checks = [*outer.checks, *r.inside.checks]
    facts = Facts()
    done = facts.simpler(loops.walk([x for o in outs for x in (o.index, o.value)] + [c.ok for c in checks]))
    outs = [Out(o.buffer, done[o.index], done[o.value]) for o in outs]
    around = len([c for c in checks[:around] if not holds(done[c.ok])])
    checks = [Check(done[c.ok], c.code) for c in checks if not holds(done[c.ok])]
    axes = [a for a, n in enumerate(lanes) if n != 1]
    if len(axes) > 1:
        nest, outs, checks = loops.arranged(lanes, axes, r.lanes, outs, checks, loops.order)
        extents = [(a.var, a.extent) for a in nest]
    else:
        extents = [(f"i{d}", lanes[a]) for d, a in enumerate(axes)]
    parts = iter(outs)
    stores = [Store(o.buffer, o.index, o.value) for o in itertools.islice(parts, len(inner))]
    finals = tuple([Store(o.buffer, o.index, o.value) for o in itertools.islice(parts, len(after))])
    states = tuple([State(name, dtype, o.value) for (name, dtype), o in zip(names, itertools.islice(parts, len(starts)), strict=True)])
    assigns = [Assign(name, o.value) for (name, _), o in zip(names, itertools.islice(parts, len(values)), strict=True)]
    going = next(parts).value if test is not None else None
    count = s.length
    if s.test is not None:
        count = min(outer.caps.turns or FOREVER, FOREVER)
        if count < FOREVER:                      # the device gives up before the loop ends
            over = Check(S.apply("not", going), outer.faults.code(f"a loop makes more than {count} steps in one kernel", "while_loop"))
            finals = (over, *finals)
    # an operand is looked at whether or not there is a step, the body only in a step
    still = [not any([x.op is S.VAR and x.params[0] == "t" for x in loops.walk([c.ok])]) for c in checks[:around]]
    before = tuple([c for c, stays in zip(checks, still, strict=False) if stays])
    moving = [c for k, c in enumerate(checks) if k >= around or not still[k]]
    loop: tuple[Stmt, ...] = (Loop("t", count, "serial", (*moving, *stores, *assigns), (), False, states, going),)
    body = before + loop + finals
    for depth, (name, extent) in reversed(list(enumerate(extents))):
        if outer.caps.grid:
            body = grid.over(name, extent, body)
        else:
            body = loops.over(name, extent, body, "vector" if depth == len(extents) - 1 else "serial", False)
    outer.cost = max(len(done), 1)
    size = int(np.prod(lanes, dtype=object)) * (flow.UNKNOWN if s.length is None else s.length)
    if s.length is None:
        outer.cost = max(outer.cost, flow.ENDLESS // size)
    return outer.finish(body, size)
