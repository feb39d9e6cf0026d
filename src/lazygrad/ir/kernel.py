"""Kernels: loops, stores and accumulators over scalar terms. A backend sees these and nothing above them.

    stmt = Loop(var, extent, mode, body, carries)       for var in range(extent): body
         | Store(buffer, index, value)                  buffer[index] = value
         | Combine(buffer, index, monoid, value)        buffer[index] = monoid(buffer[index], value)
         | Accumulate(carry, value)                     carry = monoid(carry, value)
         | Assign(state, value)                         what the next step (or what follows the loop) finds in the state
         | Check(ok, code)                              where ok is false the plan reports fault `code`

Meaning of a body: the values of a run of statements that are not loops are all computed before any of them is
written; loops run in order. A carry starts at its monoid's identity before its loop; after it, `scalar.carry(name)` is
the total. A state starts at a value of its own and is what the last step assigned: inside the loop `scalar.carry(name)`
is what the step before left, after it what the last one left. Within one `vector` loop the steps are independent but for carries, whose order of combination is the
backend's own (fixed) choice. Buffers of one kernel never overlap, unless two parameters are the same buffer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .record import record
from .scalar import CARRY, CONST, LINEAR, LOAD, VAR, Scalar

MONOIDS = ("add", "mul", "maximum", "minimum", "and", "or")     # scalar ops that combine; NaN wins in max and min


@record
class Carry:
    """An accumulator of a loop. `dtype` may be wider than what is accumulated (float64 over float32 blocks)."""

    name: str
    monoid: str
    dtype: np.dtype


@record
class State:
    """A value that the steps of a serial loop hand on. `start` is computed before the loop; every step assigns it once."""

    name: str
    dtype: np.dtype
    start: Scalar


@record
class Store:
    buffer: int
    index: Scalar
    value: Scalar


@record
class Combine:
    buffer: int
    index: Scalar
    monoid: str
    value: Scalar


@record
class Accumulate:
    carry: str
    value: Scalar


@record
class Assign:
    state: str
    value: Scalar


@record
class Check:
    ok: Scalar
    code: int


@record
class Loop:
    """`mode`: "serial", "vector" (innermost but for serial loops with states, at most one per nest), or "grid".

    "grid" loops, for backends whose `Caps.grid` says so, are the outermost ones, each the only statement of the one around
    it (the first may follow nothing else); they have no carries and their steps may run in any order or all at once. The
    body of the innermost grid loop is what one step does. A kernel without grid loops is the work of one thread.

    `overrun`: a vector loop (or the only grid loop) may run past `extent` up to a whole vector: every buffer it touches is padded and what it
    writes there is never read.

    `grain`: where it is not 0, the steps come in chunks of so many (the last may be shorter), which may run in any order and at the same
    time: no two touch an element that one of them writes. A carry starts in every chunk; the totals of the chunks are joined in their order.

    `test`: a serial loop ends before the first step at which it is false (and after `extent` steps at the latest). Inside of a
    vector or grid loop every step of that one ends its own.
    """

    var: str
    extent: int
    mode: str
    body: tuple[Stmt, ...]
    carries: tuple[Carry, ...] = ()
    overrun: bool = False
    states: tuple[State, ...] = ()
    test: Scalar | None = None
    grain: int = 0


type_names = (Loop, Store, Combine, Accumulate, Assign, Check)
Stmt = Loop | Store | Combine | Accumulate | Assign | Check


@record
class Param:
    """A buffer parameter: element type and whether the kernel writes it."""

    dtype: np.dtype
    writes: bool


@record
class Kernel:
    """`params` are the buffers by number. `work`: estimated scalar operations (for scheduling and explain)."""

    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    work: int = 0


LONG = 300          # operations of an expression, shared ones counted as often as they are used, from which those get names


def expression(s: Scalar, names: Mapping[Scalar, str] = MappingProxyType({})) -> str:
    """A scalar as text; parts in `names` by their names. Recursive in the printed nesting only."""
    if s in names:
        return names[s]
    if s.op is CONST or s.op is VAR or s.op is CARRY:
        return s.params[0]
    if s.op is LINEAR:
        parts = [expression(a, names) if k == 1 else f"{k}*{expression(a, names)}" for a, k in zip(s.args, s.params[1], strict=True)]
        if s.params[0] or not parts:
            parts.append(str(s.params[0]))
        return " + ".join(parts)
    if s.op is LOAD:
        text = f"b{s.params[0]}[{expression(s.args[0], names)}]"
        return text if len(s.args) == 1 else f"({text} if {expression(s.args[1], names)})"
    static = [str(p) for p in s.params] if s.op.name != "cast" else [str(s.dtype)]
    return f"{s.op}({', '.join([expression(a, names) for a in s.args] + static)})"


def shared(s: Scalar) -> list[Scalar]:
    """The parts of a long expression that it uses more than once, arguments first; none of a short one. Iterative."""
    size: dict[Scalar, int] = {}
    uses: Counter[Scalar] = Counter()
    stack = [s]
    while stack:
        x = stack[-1]
        todo = [a for a in x.args if a not in size]
        if todo and x not in size:
            stack.extend(todo)
            continue
        stack.pop()
        if x not in size:
            size[x] = 1 + sum([size[a] for a in x.args])
            uses.update(x.args)
    return [x for x in size if uses[x] > 1 and x.args] if size[s] > LONG else []


def text(kernel: Kernel) -> str:
    """The kernel as indented lines (golden tests and `graph.explain` show this)."""
    lines = ["kernel(" + ", ".join(f"b{i}: {p.dtype}{'*' if p.writes else ''}" for i, p in enumerate(kernel.params)) + ")"]

    names: dict[Scalar, str] = {}

    def show(body: tuple[Stmt, ...], depth: int) -> None:
        pad = "  " * depth

        def said(x: Scalar) -> str:
            """The text of a scalar; the parts of a long one that are shared get lines of their own before it."""
            for part in shared(x):
                if part not in names:
                    line = expression(part, names)
                    names[part] = f"t{len(names)}"
                    lines.append(f"{pad}{names[part]} = {line}")
            return expression(x, names)

        for s in body:
            if isinstance(s, Loop):
                for c in s.carries:
                    lines.append(f"{pad}{c.name}: {c.dtype} = identity({c.monoid})")
                for c in s.states:
                    lines.append(f"{pad}{c.name}: {c.dtype} = {said(c.start)}")
                going = f" while {said(s.test)}" if s.test is not None else ""
                chunks = f" by {s.grain}" if s.grain else ""
                lines.append(f"{pad}for {s.var} in {s.extent}{chunks} {s.mode}{' overrun' if s.overrun else ''}{going}:")
                show(s.body, depth + 1)
            elif isinstance(s, Store):
                lines.append(f"{pad}b{s.buffer}[{said(s.index)}] = {said(s.value)}")
            elif isinstance(s, Combine):
                lines.append(f"{pad}b{s.buffer}[{said(s.index)}] {s.monoid}= {said(s.value)}")
            elif isinstance(s, Accumulate):
                lines.append(f"{pad}{s.carry} <- {said(s.value)}")
            elif isinstance(s, Assign):
                lines.append(f"{pad}{s.state} := {said(s.value)}")
            else:
                lines.append(f"{pad}check {said(s.ok)} else fault {s.code}")

    show(kernel.body, 1)
    return "\n".join(lines)
