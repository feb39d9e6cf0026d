"""Lower: the values of a group as Scalars at a loop index, by the lowering forms of the Prims.

In: a Cut and one of its groups. Out: Kernels (one, but for a scatter of many threads), each with the Terms whose buffers
are its parameters, numbered by first use.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from ..ir import scalar as S
from ..ir.kernel import Check, Combine, Kernel, Loop, Param, Stmt, Store
from ..ir.program import Caps
from ..ir.record import changed
from ..ir.term import Term
from ..prims import base as B
from . import grid, loops
from .cut import INLINE, LATE, LEAF, RECUR, REDUCE, SCAN, SCATTER, Cut, Group, elementwise
from .facts import Facts, holds
from .loops import Out
from .updates import RENAMES, UPDATE


class Faults:
    """The faults that kernels may report, numbered by first use."""

    __slots__ = ("codes",)

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str], int] = {}

    def code(self, fault: tuple[str, str] | str, op: str) -> int:
        key = (op, fault) if isinstance(fault, str) else tuple(fault)
        return self.codes.setdefault(key, len(self.codes))


class Reader:
    """The `at` of an index rule: reads an argument of `term`, under the mask that `term` itself is read under."""

    __slots__ = ("kernel", "mask", "term")

    def __init__(self, kernel: Lowering, term: Term, mask: S.Scalar | None) -> None:
        self.kernel, self.term, self.mask = kernel, term, mask

    def __call__(self, k: int, idx: tuple[S.Scalar, ...], mask: S.Scalar | None = None) -> S.Scalar:
        return self.kernel.read(self.term.args[k], tuple(idx), self.mask, mask)

    def check(self, ok: S.Scalar | None, fault: tuple[str, str] | str) -> None:
        """Report `fault` where `ok` is false; what a mask hides is not checked."""
        if ok is None:
            return
        if self.mask is not None:
            ok = S.apply("or", S.apply("not", self.mask), ok)
        check = Check(ok, self.kernel.faults.code(fault, str(self.term.op)))
        if check not in self.kernel.checks:
            self.kernel.checks.append(check)


class Lowering:
    """One kernel in the making: its parameters, checks, and the memo of values by (term, index, mask).

    `ready`: Terms that earlier kernels of the same stage have stored.
    """

    def __init__(self, cut: Cut, stage: int, faults: Faults, caps: Caps, ready: Set[Term] = frozenset()) -> None:
        self.cut, self.stage, self.faults, self.caps, self.ready = cut, stage, faults, caps, ready
        self.numbers: dict[Term, int] = {}
        self.written: set[Term] = set()
        self.checks: list[Check] = []
        self.memo: dict[tuple, dict[Term, S.Scalar]] = {}
        self.cost = 0
        self.ruled = False           # whether indices came from data

    def buffer(self, t: Term, writes: bool = False) -> int:
        """The parameter that is the buffer of `t`."""
        if writes:
            self.written.add(t)
        return self.numbers.setdefault(t, len(self.numbers))

    def loadable(self, t: Term) -> Term | None:
        """The Term whose buffer holds `t` when this kernel runs, if one does."""
        kinds, stored = self.cut.kinds, self.cut.stored
        while True:
            if kinds[t] == LEAF or stored.get(t, LATE + 1) < self.stage or t in self.ready:
                return t
            if t.op.name not in RENAMES:
                return None
            t = t.args[0]

    def read(self, t: Term, idx: tuple[S.Scalar, ...], outer: S.Scalar | None, mask: S.Scalar | None) -> S.Scalar:
        """The value of `t` at `idx`, 0 where `mask` is false."""
        if mask is None or mask is outer:
            return self.value(t, idx, outer)
        value = self.value(t, idx, S.both(outer, mask))
        if value.op is S.LOAD:
            return value
        return S.apply("select", mask, value, S.const(0, value.dtype))

    def value(self, t: Term, idx: tuple[S.Scalar, ...], mask: S.Scalar | None = None) -> S.Scalar:
        """The value of `t` at `idx`; loads happen only where `mask` holds. Iterative along elementwise Terms."""
        memo = self.memo.setdefault((idx, mask), {})
        stack = [t]
        while stack:
            u = stack[-1]
            if u in memo:
                stack.pop()
                continue
            held = self.loadable(u)
            if held is not None:
                memo[u] = S.load(self.buffer(held), S.flat(idx, u.aval.shape), u.aval.dtype, mask)
            elif isinstance(u.op.lowering, B.Elementwise):
                todo = [a for a in u.args if a not in memo]
                if todo:
                    stack.extend(reversed(todo))
                    continue
                memo[u] = elementwise(u, [memo[a] for a in u.args])
                self.cost += self.cut.profiles.of(u).cost
            else:
                self.ruled |= not u.op.lowering.moves
                memo[u] = u.op.lowering.rule(Reader(self, u, mask), idx, u, **u.keywords)
                self.cost += 1
            stack.pop()
        return memo[t]

    def known(self, outs: list[Out]) -> list[Out]:
        """`outs` with what the ranges of indices decide; checks that always hold are dropped. For data-dependent indices."""
        if not self.ruled:
            return outs
        facts = Facts()
        done = facts.simpler(loops.walk([x for o in outs for x in (o.index, o.value)] + [c.ok for c in self.checks]))
        self.checks = [Check(done[c.ok], c.code) for c in self.checks if not holds(done[c.ok])]
        return [changed(o, index=done[o.index], value=done[o.value]) for o in outs]

    def finish(self, body: tuple[Stmt, ...], size: int) -> tuple[Kernel, list[Term]]:
        params = tuple([Param(t.aval.dtype, t in self.written) for t in self.numbers])
        return Kernel(params, body, max(self.cost, 1) * size), list(self.numbers)


def axis_vars(space: tuple[int, ...]) -> tuple[S.Scalar, ...]:
    """One loop variable per axis longer than 1, named by depth."""
    out, depth = [], 0
    for n in space:
        out.append(S.var(f"i{depth}", n))
        depth += n != 1
    return tuple(out)


def lower(cut: Cut, group: Group, faults: Faults, caps: Caps, ready: Set[Term] = frozenset()) -> list[tuple[Kernel, list[Term]]]:
    """The kernels of a group in order, each with the Terms whose buffers are its parameters."""
    k = Lowering(cut, group.stage, faults, caps, ready)
    t = group.members[0]
    if group.kind == RECUR:
        from . import recur  # which builds on this file

        return recur.lower(cut, group, faults, caps, ready)
    if group.kind in (SCATTER, UPDATE) and caps.grid:
        return _grid_scatter(k, t, group.kind == UPDATE)
    if group.kind == INLINE:
        body = _elementwise(k, group)
    elif group.kind == REDUCE and not (t.args[0].aval.size and t.args[-1].aval.size):
        monoid = t.op.lowering.monoid if isinstance(t.op.lowering, B.Reduction) else "add"
        nothing = S.const(0, t.aval.dtype) if monoid == "add" else loops.identity(monoid, t.aval.dtype)
        return [fill(t, nothing, caps)]
    else:
        body = {REDUCE: _product, SCAN: _grid_scan if caps.grid else _scan, SCATTER: _scatter, UPDATE: _updates}[group.kind](k, t)
    return [k.finish(body, _size(t.args[-1].aval.shape if group.kind == UPDATE else group.space))]


def _size(space: tuple[int, ...]) -> int:
    size = 1
    for n in space:
        size *= n
    return size


def fill(t: Term, value: S.Scalar, caps: Caps) -> tuple[Kernel, list[Term]]:
    """A kernel that stores one constant all over the buffer of `t`."""
    body = (grid if caps.grid else loops).fill(0, t.aval.size, value)
    return Kernel((Param(t.aval.dtype, True),), body, t.aval.size), [t]


def copy(dtype: np.dtype, size: int, caps: Caps) -> Kernel:
    """A kernel that copies buffer 0 to buffer 1."""
    i = S.var("i0", size)
    move = (Store(1, i, S.load(0, i, dtype)),)
    return Kernel((Param(dtype, False), Param(dtype, True)), grid.flat(size, move) if caps.grid else loops.over("i0", size, move), size)


def _nest(k: Lowering, space: tuple[int, ...], idx: tuple[S.Scalar, ...], outs: list[Out]) -> tuple[Stmt, ...]:
    return (grid if k.caps.grid else loops).nest(space, idx, outs, k.checks, k.caps)


def _elementwise(k: Lowering, group: Group) -> tuple[Stmt, ...]:
    """Stores and reductions over one index space."""
    idx = axis_vars(group.space)
    outs = []
    for m in group.members:
        low = m.op.lowering
        if isinstance(low, B.Reduction):
            axes = frozenset(m.keywords["axes"])
            kept = tuple([i for j, i in enumerate(idx) if j not in axes])
            value = S.cast(k.value(m.args[0], idx), m.aval.dtype)
            k.cost += 1
            outs.append(Out(k.buffer(m, True), S.flat(kept, m.aval.shape), value, low.monoid, axes, m.aval.size))
        else:
            value = k.value(m, idx)
            outs.append(Out(k.buffer(m, True), S.flat(idx, m.aval.shape), value))
    outs = k.known(outs)
    return _nest(k, group.space, idx, outs)


def _product(k: Lowering, t: Term) -> tuple[Stmt, ...]:
    """A matrix product as a sum over (..., m, n, k)."""
    space = (*t.aval.shape, t.args[0].aval.shape[-1])
    idx = axis_vars(space)
    x = k.value(t.args[0], (*idx[:-2], idx[-1]))
    y = k.value(t.args[1], (*idx[:-3], idx[-1], idx[-2]))
    k.cost += 2
    value = S.cast(S.apply("mul", x, y), t.aval.dtype)
    out = Out(k.buffer(t, True), S.flat(idx[:-1], t.aval.shape), value, "add", frozenset([len(space) - 1]), t.aval.size)
    outs = k.known([out])
    return _nest(k, space, idx, outs)


def _scan(k: Lowering, t: Term) -> tuple[Stmt, ...]:
    """out[0] = x[0]; out[i] = out[i - 1] + x[i] along the axis, innermost unless another axis can be the vector."""
    axis, reverse, shape = t.keywords["axis"], t.keywords.get("reverse", False), t.aval.shape
    n, monoid, dtype = shape[axis], t.op.lowering.monoid, t.aval.dtype
    outer, inner = shape[:axis], shape[axis + 1:]
    out = k.buffer(t, True)

    def place(step: S.Scalar, before: tuple, after: tuple) -> tuple[S.Scalar, ...]:
        return (*before, S.iadd(S.index(n - 1), S.imul(step, -1)) if reverse else step, *after)

    def loops_of(extents: tuple[int, ...], first: int) -> list[tuple[str, int]]:
        return [(f"i{first + j}", e) for j, e in enumerate(extents)]

    def body(step: S.Scalar, depth: int, start: bool) -> tuple[Stmt, ...]:
        before = tuple([S.var(v, e) for v, e in loops_of(outer, 0)])
        names = loops_of(inner, depth)
        here = place(step, before, tuple([S.var(v, e) for v, e in names]))
        value = S.cast(k.value(t.args[0], here), dtype)
        if not start:
            last = place(S.iadd(step, S.index(-1)), before, here[axis + 1:])
            value = S.apply(monoid, S.load(out, S.flat(last, shape), dtype), value)
        run: tuple[Stmt, ...] = (*k.checks, Store(out, S.flat(here, shape), value))
        for j, (v, e) in reversed(list(enumerate(names))):
            run = loops.over(v, e, run, "vector" if j == len(names) - 1 else "serial", False)
        return run

    depth = len(outer)
    stmts = body(S.index(0), depth + 1, True)
    if n > 1:
        step = S.iadd(S.var(f"i{depth}", n - 1), S.index(1)) if n > 2 else S.index(1)
        stmts = _then(stmts, loops.over(f"i{depth}", n - 1, body(step, depth + 1, False), "serial", False))
    for v, e in reversed(loops_of(outer, 0)):
        stmts = loops.over(v, e, stmts, "serial", False)
    return stmts


def _grid_scan(k: Lowering, t: Term) -> tuple[Stmt, ...]:
    """Every line along the axis is one grid step, which goes through it in order."""
    axis, reverse, shape = t.keywords["axis"], t.keywords.get("reverse", False), t.aval.shape
    n, monoid, dtype, last = shape[axis], t.op.lowering.monoid, t.aval.dtype, len(shape) - 1
    out = k.buffer(t, True)
    lines = [S.var(f"i{a}", e) for a, e in enumerate(shape)]

    def run(step: S.Scalar, start: bool) -> tuple[Stmt, ...]:
        def at(i: S.Scalar) -> tuple[S.Scalar, ...]:
            return (*lines[:axis], S.iadd(S.index(n - 1), S.imul(i, -1)) if reverse else i, *lines[axis + 1:])

        value = S.cast(k.value(t.args[0], at(step)), dtype)
        if not start:
            before = S.load(out, S.flat(at(S.iadd(step, S.index(-1))), shape), dtype)
            value = S.apply(monoid, before, value)
        return (*k.checks, Store(out, S.flat(at(step), shape), value))

    stmts = run(S.index(0), True)
    if n > 1:
        name = f"i{last + 1}"
        step = S.iadd(S.var(name, n - 1), S.index(1)) if n > 2 else S.index(1)
        stmts = _then(stmts, loops.over(name, n - 1, run(step, False), "serial", False))
    for a in range(last, -1, -1):
        if a != axis:
            stmts = grid.over(f"i{a}", shape[a], stmts)
    return stmts


def _scatter(k: Lowering, t: Term) -> tuple[Stmt, ...]:
    """A copy of the target, then the updates in row-major order."""
    target = t.args[0]
    out = k.buffer(t, True)
    idx = axis_vars(t.aval.shape)
    outs = k.known([Out(out, S.flat(idx, t.aval.shape), k.value(target, idx))])
    start = _nest(k, t.aval.shape, idx, outs)
    k.checks = []
    updates = _updates(k, t)
    return _then(start, updates) if updates else start


def _updates(k: Lowering, t: Term) -> tuple[Stmt, ...]:
    """The updates in row-major order."""
    monoid, dtype = t.op.lowering.monoid, t.aval.dtype
    out = k.buffer(t, True)
    space = t.args[-1].aval.shape
    if 0 in space:
        return ()
    u = axis_vars(space)
    places = t.op.lowering.target(Reader(k, t, None), u, t, **t.keywords)
    index = S.flat(tuple(places), t.aval.shape)
    k.ruled = True
    update, = k.known([Out(out, index, S.cast(k.value(t.args[-1], u), dtype))])
    index, value = update.index, update.value
    move: Stmt = Store(out, index, value) if monoid is None else Combine(out, index, monoid, value)
    stmts: tuple[Stmt, ...] = (*k.checks, move)
    axes = [(i, n) for i, n in zip(u, space, strict=True) if n != 1]
    for depth, (i, n) in reversed(list(enumerate(axes))):
        apart = depth == len(axes) - 1 and loops.coefficient(index, i) == 1
        stmts = loops.over(f"i{depth}", n, stmts, "vector" if apart else "serial", False)
    return stmts


def _grid_scatter(k: Lowering, t: Term, in_place: bool) -> list[tuple[Kernel, list[Term]]]:
    """A kernel that copies the target, then one that applies the updates, each element's in row-major order; one where it can be.

    Axes of the updates that are an axis of the target themselves (the same number is the index there) are grid loops: their
    steps write apart. Where these are few and the other updates many, an indexed axis of the target is divided too: every
    step goes through all updates and applies those that fall in its part (an update elsewhere becomes one with the
    monoid's identity, or with the element itself, at the first place of the part).
    """
    monoid, dtype, shape = t.op.lowering.monoid, t.aval.dtype, t.aval.shape
    idx = axis_vars(shape)
    outs = k.known([Out(k.buffer(t, True), S.flat(idx, shape), k.value(t.args[0], idx))])
    start = k.finish(_nest(k, shape, idx, outs), t.aval.size)
    space = t.args[-1].aval.shape
    if 0 in space:
        return [] if in_place else [start]
    first = k
    k = Lowering(k.cut, k.stage, k.faults, k.caps, k.ready)
    out, u = k.buffer(t, True), axis_vars(space)
    places = t.op.lowering.target(Reader(k, t, None), u, t, **t.keywords)
    facts = Facts()
    done = facts.simpler(loops.walk(places))
    places = [done[p] for p in places]
    axes = [i for i in u if i.op is S.VAR]
    apart = [i for i in axes if i in places]
    rest = [i for i in axes if i not in apart]
    steps, many = _size(tuple([i.params[1] for i in apart])), _size(tuple([i.params[1] for i in rest]))
    parts, axis = _owners(steps, many, places, shape, k.caps)
    if parts > 1:
        size = -(-shape[axis] // parts)
        parts = -(-shape[axis] // size)
        low = S.imul(S.var("p", parts), size)
        mine = S.apply("and", S.apply("le", low, places[axis]), S.apply("lt", places[axis], S.iadd(low, S.index(size))))
        places[axis] = S.apply("select", mine, places[axis], low)
        nothing = S.load(out, S.flat(tuple(places), shape), dtype) if monoid is None else loops.identity(monoid, dtype)
        value = S.apply("select", mine, S.cast(k.value(t.args[-1], u, mine), dtype), nothing)
    else:
        value = S.cast(k.value(t.args[-1], u), dtype)
    index = S.flat(tuple(places), shape)
    done = facts.simpler(loops.walk([index, value, *[c.ok for c in k.checks]]))
    checks = [Check(done[c.ok], c.code) for c in k.checks if not holds(done[c.ok])]
    index, value = done[index], done[value]
    stmts: tuple[Stmt, ...] = (*checks, Store(out, index, value) if monoid is None else Combine(out, index, monoid, value))
    for i in reversed(rest):
        stmts = loops.over(*i.params, stmts, "serial", False)
    whole = [p for p, n in zip(places, shape, strict=True) if p in apart and p.params[1] == n]
    if not in_place and parts == 1 and not first.checks and apart and whole == apart and grid.enough(steps, t.aval.size // steps, k.caps):
        own = [p if p in apart else S.var(f"j{a}", n) for a, (p, n) in enumerate(zip(places, shape, strict=True))]
        copied: tuple[Stmt, ...] = (Store(out, S.flat(tuple(own), shape), k.value(t.args[0], tuple(own))),)
        for i in reversed([i for i in own if i.op is S.VAR and i not in apart]):
            copied = loops.over(*i.params, copied, "serial" if isinstance(copied[0], Loop) else "vector", False)
        stmts, start = _then(copied, stmts), None                   # every step copies what it updates: one kernel
    for i in reversed(apart):
        stmts = grid.over(*i.params, stmts)
    stmts = grid.over("p", parts, stmts) if parts > 1 else stmts
    update = k.finish(stmts, parts * _size(space) + (0 if start else t.aval.size))
    return [start, update] if start and not in_place else [update]


def _owners(steps: int, many: int, places: list[S.Scalar], shape: tuple[int, ...], caps: Caps) -> tuple[int, int]:
    """(into how many parts to divide an axis of the target, which axis): the longest one that data decides."""
    if steps >= caps.threads or many < grid.FEW:
        return 1, 0
    axis = max([a for a, p in enumerate(places) if p.op is not S.VAR], key=lambda a: shape[a], default=None)
    if axis is None:
        return 1, 0
    return min(caps.threads // steps, shape[axis], max(many // grid.FEW, 1)), axis


def _then(first: tuple[Stmt, ...], second: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`second` after `first` is written: statements beside each other are computed before any of them is written."""
    if isinstance(first[-1], Loop) or isinstance(second[0], Loop):
        return first + second
    return (*first, Loop("once", 1, "serial", second))
