"""Recurrences: serial loops with states, alone or inside of a vector loop, where each lane has its own.

In: the writer of a kernel and a Loop. States are phi nodes, so they stay in registers; a state that is the same in all lanes
is one number. Where lanes end at different steps, those that have ended keep their states until all have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...ir.kernel import Accumulate, Assign, Check, Loop, Stmt
from ...ir.scalar import CARRY, CONST, LOAD, VAR, Scalar
from . import interrupt
from .text import element, typed
from .values import INDEX

BOOL = np.dtype("bool")
FOREVER = 1 << 31                # extents from which on only the test ends a loop
WIDE = ((40, 4), (120, 2))       # (scalars of a body, vectors side by side): independent chains hide each other's latency


def flat(body: Iterable[Stmt]) -> list[Stmt]:
    """All statements below a body that are no loops; starts and tests of loops as assignments and checks."""
    found: list[Stmt] = []
    todo = list(body)
    for s in todo:
        if isinstance(s, Loop):
            found += [Assign(c.name, c.start) for c in s.states]
            if s.test is not None:
                found.append(Check(s.test, 0))
            todo += s.body
        else:
            found.append(s)
    return found


def accumulated(body: Sequence[Stmt]) -> list[str]:
    """The carries that a body adds to, checks as "!code", in order."""
    found: dict[str, None] = {}
    stack = list(body)[::-1]
    while stack:
        s = stack.pop()
        if isinstance(s, Loop):
            stack.extend(reversed(s.body))
        elif isinstance(s, Accumulate):
            found[s.carry] = None
        elif isinstance(s, Check):
            found[f"!{s.code}"] = None
    return list(found)


def width(writer: Any, s: Loop, inner: Sequence[Loop]) -> int:
    """Lanes of a vector loop around recurrences, 0 where it has other loops inside or steps that meet in one element."""
    todo = list(inner)
    for loop in todo:
        if loop.carries or loop.mode != "serial":
            return 0
        todo += [x for x in loop.body if isinstance(x, Loop)]
    stmts = flat(s.body)
    bit = writer.values.bit("v" + s.var)
    for x in stmts:
        if hasattr(x, "index") and not writer.values.depends(x.index) & bit:
            return 0
    found = _scalars(stmts)
    most = max([x.dtype.itemsize for x in found] + [4])
    native = max(writer.lanes_bytes // most, 2)
    several = next((k for size, k in WIDE if len(found) <= size), 1)
    return min(native * several, max(2, 1 << (s.extent - 1).bit_length()))


def _scalars(stmts: Iterable[Stmt]) -> set[Scalar]:
    """The Scalars of statements, without index arithmetic and constants."""
    seen: set[Scalar] = set()
    stack = [x for s in stmts for x in (getattr(s, "value", None), getattr(s, "ok", None)) if x is not None]
    while stack:
        x = stack.pop()
        if x not in seen and x.op is not CONST and x.op not in INDEX:
            seen.add(x)
            stack.extend(x.args[1:] if x.op is LOAD else x.args)
    return seen


def _apart(s: Loop, var: str, known: set[str]) -> set[str]:
    """The states of `s` that differ between lanes of the vector loop over `var`: all where the test differs."""
    apart: set[str] = set()
    stmts = [x for x in flat(s.body) if isinstance(x, Assign)]
    rules = [(c.name, c.start) for c in s.states] + [(x.state, x.value) for x in stmts]

    def differs(roots: Sequence[Scalar]) -> bool:
        seen: set[Scalar] = set()
        stack = list(roots)
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if (x.op is VAR and x.params[0] == var) or (x.op is CARRY and x.params[0] in apart | known):
                return True
            stack.extend(x.args)
        return False

    while True:
        new = {name for name, value in rules if name not in apart and differs([value])}
        if s.test is not None and differs([s.test]):
            new |= {name for name, _ in rules} - apart
        if not new:
            return apart
        apart |= new


def write(w: Any, s: Loop) -> None:
    """The loop. Carries and checks of the writer go through it like states."""
    v, fn = w.values, w.fn
    if v.vector is not None:
        v.apart |= _apart(s, v.vector.var, v.apart)
    names = [c.name for c in s.states]
    lanes = {c.name: w.lanes if c.name in v.apart else 0 for c in s.states}
    starts = [v.operand(c.start, lanes[c.name]) for c in s.states]
    faults = [n for n in accumulated(s.body) if n in w.state]
    kinds = [typed(element(c.dtype), lanes[c.name]) for c in s.states]
    kinds += [typed(element(w.carries[n].dtype), w.lanes) for n in faults]
    carried = list(zip(kinds, [*starts, *[w.state[n][w.copy] for n in faults]], strict=True))
    if s.extent == 0:
        for name, value in zip(names, starts, strict=True):
            v.finish(name, value)
        return

    def enter(values: Sequence[str]) -> None:
        for name, value in zip(names, values, strict=False):
            v.finish(name, value)
        for n, value in zip(faults, values[len(names):], strict=True):
            w.state[n][w.copy] = value

    def step() -> list[str]:
        outer, w.assigned = w.assigned, {}
        w.body(s.body)
        made, w.assigned = w.assigned, outer
        return [*[made[n] for n in names], *[w.state[n][w.copy] for n in faults]]

    if s.test is None:
        with fn.loop("0", str(s.extent), 1, carried) as l, v.scope(l.before, s.var, l.i):
            enter(l.values)
            l.next = step()
        enter(l.next)
        return
    with fn.tested(carried) as l, v.scope(l.before, s.var, l.i):
        enter(l.values)
        outer, going = w.live, v.operand(s.test, 0 if not w.lanes or not v.varies(s.test) else w.lanes)
        varies = bool(w.lanes) and v.varies(s.test)
        if varies:
            w.live = going if outer is None else w.builder(BOOL).mask_and(going, outer)
            w.live = v.active(w.live)
            going = w.builder(BOOL).any(w.live)
        if s.extent < FOREVER:
            going = fn.emit(f"and i1 {going}, {fn.emit(f'icmp slt i64 {l.i}, {s.extent}')}")
        l.enter(going)
        interrupt.look(fn, l.i, len(_scalars(flat(s.body))) * max(w.lanes, 1), l.done)
        made = step()
        if varies:
            mask = typed("i1", w.lanes)
            made = [fn.emit(f"select {mask} {w.live}, {kind} {new}, {kind} {old}") if k < len(names) else new
                    for k, (kind, new, old) in enumerate(zip(kinds, made, l.values, strict=True))]
        w.live = outer
        l.next = made
    enter(l.values)
