"""Kernels as WGSL compute shaders: threads for grid steps, loops, accumulators, stores, workgroups that share a long row.

In: a Kernel, the traits of a device, the sizes of its buffers. Out: a Shader. `accesses` plans (what goes four at a time,
whether a thread or a workgroup takes a grid step), `values` names Scalars, `arrays` reads and writes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from ...ir.kernel import Accumulate, Assign, Carry, Check, Combine, Kernel, Loop, Stmt, Store
from ...ir.record import changed
from ...ir.scalar import LOAD
from ..monoids import identity
from . import scalars, windows
from .accesses import TURNS, Access, Facts, Lane, Plan, Planner, below, loops_of, roots, runs
from .arrays import Arrays
from .reducers import Reducers
from .text import Builder, Module, load_value, type_name
from .traits import GRID, Shader, Traits
from .values import AXES, Values, Variable

WORK, SOFTWARE_WORK = 2e10, 2e9      # scalar operations of one launch at most: a GPU's watchdog waits seconds only
ELEMENTS, ROWS = 256, 64             # threads of a workgroup: of short grid steps, of steps with inner loops
MANY = 1 << 20                       # threads from which on each takes several short grid steps (on llvmpipe that costs 1.5x)
STEPS = 4                            # how many
TAKEN = re.compile(r"([bv]\d+(_\d+)?|faults|launch|id|group|thread|main|.*q)$")      # names that variables must not have


def shader(kernel: Kernel, traits: Traits, sizes: Sequence[int], aliases: Sequence[int] | None = None, threads: int = 0) -> Shader:
    """The shader of a kernel whose parameter p is a buffer of `sizes[p]` elements.

    `aliases[p]`: the first parameter that is the same buffer as p (p itself unless given); they share one binding. Buffers
    may be read and written up to the next multiple of 16 bytes behind their last element. `threads`: of a workgroup that shares
    a grid step (0: a guess), where there is such a one.
    """
    same = tuple(range(len(kernel.params))) if aliases is None else tuple(aliases)
    written = frozenset([same[p] for p, param in enumerate(kernel.params) if param.writes])
    facts = Facts()
    planner = Planner(kernel, traits, same, written, facts)
    if planner.steps == 0:
        return Shader("@compute @workgroup_size(1)\nfn main() {\n}\n", (), ())
    plan = planner.plan()
    if threads and plan.threads:
        plan = changed(plan, threads=threads)
    module = Module(traits)
    used = sorted({a.buffer for a in planner.accesses})
    arrays = Arrays([p.dtype for p in kernel.params], sizes, used, written, plan.packed, traits, module)
    return Writer(kernel, traits, plan, Values(module, arrays, same, written, facts), planner.accesses).shader()


def shared_threads(kernel: Kernel, traits: Traits, aliases: Sequence[int] | None = None) -> tuple[int, ...]:
    """The numbers of threads that a workgroup may have which shares a grid step, the guess first; none where a thread has its own."""
    same = tuple(range(len(kernel.params))) if aliases is None else tuple(aliases)
    planner = Planner(kernel, traits, same, frozenset([same[p] for p, param in enumerate(kernel.params) if param.writes]), Facts())
    guess = planner.plan().threads if planner.steps else 0
    if not guess:
        return ()
    most = min(traits.invocations, planner.room())
    return (guess, *[n for n in (32, 64, 128, 256, 512, 1024) if n != guess and n <= most])


class Writer:
    """One shader being written. `state[name]`: the WGSL variable to which a carry's values are added at present."""

    def __init__(self, kernel: Kernel, traits: Traits, plan: Plan, values: Values, accesses: Sequence[Access] = ()) -> None:
        self.kernel, self.traits, self.plan, self.values, self.accesses = kernel, traits, plan, values, accesses
        self.looks: windows.Cut | None = None        # how launches see buffers of several bindings
        self.module, self.arrays = values.module, values.arrays
        self.carries: dict[str, Carry] = {}
        self.state: dict[str, str] = {}
        self.together = True                         # outside of shared loops: all threads of a workgroup do the same
        self.dirty: tuple[set[int], set[int]] = set(), set()         # buffers (read, written) since the last barrier
        self.reducers = Reducers(self.module, plan.threads)
        self.faults = False
        self.names: dict[str, str] = {}
        self.around: dict[int, int] = {}             # how often each loop is met in a grid step
        todo = [(plan.body, 1)]
        for body, often in todo:
            for s in body:
                if isinstance(s, Loop):
                    self.around[id(s)] = often
                    todo.append((s.body, often * (-(-s.extent // plan.threads) if id(s) in plan.spread else s.extent)))

    # ---- the shader
    def shader(self) -> Shader:
        plan, v = self.plan, self.values
        extents = [n // 4 + (n % 4 > 0) if plan.lane and var == plan.lane.var else n for var, n in plan.grid]
        steps = math.prod(extents)
        loops = bool(loops_of(plan.body))
        width = plan.threads or (1 if steps == 1 else min(ROWS if loops else ELEMENTS, self.traits.invocations))
        repeat = STEPS if not (plan.threads or loops or self.traits.software) and steps >= MANY else 1
        per = 1 if plan.threads else width * repeat              # grid steps of a workgroup
        groups = -(-steps // per)
        limit = SOFTWARE_WORK if self.traits.software else WORK
        most = -(-groups // max(1, math.ceil(self.kernel.work / limit), -(-groups // GRID**2)))
        parts = self.cut(extents, steps)                         # (first, end) steps
        launches = [(at, min(most, -(-(end - at) // per)), k) for k, (first, end) in enumerate(parts) for at in range(first, end, most * per)]
        grids = tuple([(min(n, GRID), -(-n // GRID), 1, first) for first, n, _ in launches])
        many, tall = len(grids) > 1 or self.looks is not None, any([g[1] > 1 for g in grids])
        v.lane = plan.lane
        if plan.threads:
            self.group_steps(extents, steps, many, tall)
            builtins = "@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32"
        elif repeat > 1:
            self.repeated_steps(extents, steps, width, repeat, many, tall)
            builtins = "@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32"
        else:
            self.thread_steps(extents, steps, width, groups, many, tall)
            builtins = "@builtin(global_invocation_id) id: vec3<u32>" if steps > 1 else ""
        declarations, bindings = self.arrays.declare(self.faults, many)
        lines = [*declarations, *self.reducers.declarations, f"@compute @workgroup_size({width})",
                 f"fn main({builtins}) {{", *["  " + line for line in [*self.reducers.begin, *v.lines]], "}", ""]
        head = self.module.text().lstrip("\n")
        if self.looks is None:
            return Shader(head + "\n".join(lines), bindings, grids, self.faults, self.arrays.segment)
        window = [windows.words(self.arrays, self.looks, k, first, parts[k][1]) for first, _, k in launches]
        return Shader(head + "\n".join(lines), bindings, grids, self.faults, self.arrays.segment,
                      tuple([self.looks.firsts[k] for _, _, k in launches]), tuple(window))

    def cut(self, extents: list[int], steps: int) -> list[tuple[int, int]]:
        """(first, end) grid steps of parts of the grid, which see buffers of several bindings through windows; one where there are none."""
        plan, self.looks = self.plan, None
        outer = next((k for k, n in enumerate(extents) if n > 1), None)
        if outer is None or not self.arrays.several:
            return [(0, steps)]
        (var, extent), unit = plan.grid[outer], 4 if plan.lane and plan.grid[outer][0] == plan.lane.var else 1
        inner = math.prod(extents[outer + 1:])

        def touched(first: int, end: int) -> windows.Touched:
            return windows.touched(self.accesses, Facts({var: (first * unit, min(end * unit, extent) - 1)}))

        self.looks = windows.cut(self.arrays, extents[outer], touched)
        self.arrays.look_through(self.looks.widths)
        return [(first * inner, end * inner) for first, end in self.looks.parts]

    def thread_steps(self, extents: list[int], steps: int, width: int, groups: int, many: bool, tall: bool) -> None:
        step = "id.x" + (f" + id.y * {GRID * width}u" if tall else "") + (f" + {self.arrays.first}" if many else "")
        name = self.variables(extents, step if steps > 1 else "0u")
        if steps % width or tall or self.looks:
            self.values.lines.append(f"if ({name} >= {self.end(steps)}) {{ return; }}")
        self.body(self.plan.body)

    def repeated_steps(self, extents: list[int], steps: int, width: int, repeat: int, many: bool, tall: bool) -> None:
        lines = self.values.lines
        group = f"(group.x + group.y * {GRID}u)" if tall else "group.x"
        lines.append(f"let start = {group} * {width * repeat}u + thread" + (f" + {self.arrays.first};" if many else ";"))
        with self.values.block(f"for (var turn = 0u; turn < {repeat}u; turn++)"):
            name = self.variables(extents, f"start + turn * {width}u")
            self.values.lines.append(f"if ({name} >= {self.end(steps)}) {{ return; }}")
            self.body(self.plan.body)

    def group_steps(self, extents: list[int], steps: int, many: bool, tall: bool) -> None:
        name = self.variables(extents, "group.x" + (f" + group.y * {GRID}u" if tall else "") + (f" + {self.arrays.first}" if many else ""))
        if tall:
            self.values.lines.append(f"if ({name} >= {self.end(steps)}) {{ return; }}")
        self.body(self.plan.body)

    def end(self, steps: int) -> str:
        """WGSL: the step at which a launch ends."""
        return "launch[0].y" if self.looks else f"{steps}u"

    def variables(self, extents: list[int], step: str) -> str:
        """Name the number of a grid step, and the grid variables that it consists of; returns the name."""
        v, plan = self.values, self.plan
        names = [var for var, _ in plan.grid]
        loose = [k for k, n in enumerate(extents) if plan.grid[k][1] > 1]
        lane = plan.lane.var if plan.lane else None
        single = self.local(names[loose[0]]) + ("q" if names[loose[0]] == lane else "") if len(loose) == 1 else "step"
        if loose:
            v.lines.append(f"let {single} = {step};")
        below = 1
        for k in reversed(loose):
            own = self.local(names[k]) + ("q" if names[k] == lane else "")
            if len(loose) > 1:
                text = single if below == 1 else f"{single} / {below}u"
                text = text if k == loose[0] else f"({text}) % {extents[k]}u" if below > 1 else f"{text} % {extents[k]}u"
                v.lines.append(f"let {own} = {text};")
            v.define(names[k], Variable(f"{own} * 4u", own) if names[k] == lane else Variable(own))
            below *= extents[k]
        return single

    def local(self, var: str) -> str:
        """The WGSL name of a loop variable."""
        if var not in self.names:
            name = re.sub(r"\W", "_", var)
            name = f"{name}_" if TAKEN.match(name) else name
            while name in self.names.values():
                name += "_"
            self.names[var] = name
        return self.names[var]

    # ---- statements
    @property
    def lanes(self) -> int:
        return 4 if self.values.lane else 0

    def body(self, stmts: Sequence[Stmt]) -> None:
        for part in runs(stmts):
            if isinstance(part, Loop):
                self.loop(part)
            else:
                self.statements(part)

    def statements(self, run: list[Stmt]) -> None:
        """A run of statements: every value first, then every write."""
        v = self.values
        self.barrier(run)
        v.run = {}
        for s in run:
            v.value(s.ok if isinstance(s, Check) else s.value)
            if isinstance(s, Store | Combine):
                for atom in v.atoms(s.index):
                    v.value(atom)
        adds: list[tuple[str, np.dtype, str]] = []
        assigns: list[str] = []
        writes: list[str] = []
        for s in run:
            if isinstance(s, Accumulate):
                carry = self.carries[s.carry]
                b = Builder(self.module, v.lines, self.lanes, s.value.dtype)
                adds.append((s.carry, carry.dtype, scalars.cast(b, v.operand(s.value, self.lanes), carry.dtype)))
            elif isinstance(s, Assign):
                assigns.append(f"{self.state[s.state]} = {v.operand(s.value, 0)};")
            elif isinstance(s, Check):
                self.faults = True
                writes.append(f"if (!{v.condition(s.ok, self.lanes)}) {{ atomicMax(&faults[0], {s.code + 1}u); }}")
            else:
                dtype = s.value.dtype
                value = v.operand(s.value, self.lanes)
                if isinstance(s, Combine):
                    old = load_value(dtype, v.load(s.buffer, s.index, self.lanes), self.lanes)
                    name = self.module.fresh()
                    writes.append(f"let {name} = {old};")
                    value = scalars.emit(self.module, writes, s.monoid, dtype, self.lanes, [name, value])
                writes += v.store(s.buffer, s.index, dtype, value, self.lanes)
        if writes and self.plan.threads and self.together:
            if adds and {v.same[x.params[0]] for x in self.loads(run)} & {v.same[s.buffer] for s in run if isinstance(s, Store | Combine)}:
                v.lines.append("storageBarrier();")  # thread 0 writes what the others have read above
            writes = ["if (thread == 0u) {", *["  " + line for line in writes], "}"]
        v.lines.extend(writes)
        for name, dtype, value in adds:
            self.assign(name, dtype, value)
        v.lines.extend(assigns)
        v.run = {}

    def assign(self, name: str, dtype: np.dtype, value: str) -> None:
        """Add a value (of the carry's dtype and the present width) to a carry."""
        state = self.state[name]
        total = scalars.emit(self.module, self.values.lines, self.carries[name].monoid, dtype, self.lanes, [state, value])
        self.values.lines.append(f"{state} = {total};")

    # ---- barriers
    def loads(self, stmts: Sequence[Stmt]) -> list:
        seen: dict = {}
        for x in below(roots(stmts), seen):
            seen[x] = None
        return [x for x in seen if x.op is LOAD]

    def touched(self, stmts: Sequence[Stmt]) -> tuple[set[int], set[int]]:
        """The buffers that a body reads, and those that it writes."""
        flat = [s for s in stmts if not isinstance(s, Loop)] + [x for s in loops_of(stmts) for x in s.body if not isinstance(x, Loop)]
        same, written = self.values.same, {self.values.same[s.buffer] for s in flat if isinstance(s, Store | Combine)}
        reads = {same[x.params[0]] for x in self.loads(flat)} | {same[s.buffer] for s in flat if isinstance(s, Combine)}
        return reads & self.values.written, written

    def barrier(self, stmts: Sequence[Stmt]) -> None:
        """In a workgroup: let the other threads see what was written before `stmts`, where these touch it."""
        if not self.plan.threads or not self.together:
            return
        reads, writes = self.touched(stmts)
        before_reads, before_writes = self.dirty
        if before_writes & (reads | writes) or before_reads & writes:
            self.values.lines.append("storageBarrier();")
            self.dirty = reads, writes
        else:
            self.dirty = before_reads | reads, before_writes | writes

    # ---- loops
    def loop(self, s: Loop) -> None:
        if s.states or s.test is not None:
            self.recurrence(s)
            return
        own = {c.name: c for c in s.carries}
        self.carries |= own
        outer = {name: self.state.get(name) for name in own}
        if s.extent == 0:
            for name, c in own.items():
                self.values.finish(name, self.identity(c, self.lanes))
        elif id(s) in self.plan.spread or id(s) in self.plan.quads:
            self.split_loop(s)
        else:
            self.serial_loop(s)
        self.state |= {name: state for name, state in outer.items() if state is not None}

    def recurrence(self, s: Loop) -> None:
        """A loop with states: variables of the thread, of which each step reads a copy."""
        v = self.values
        outer = {c.name: self.state.get(c.name) for c in s.states}
        starts = [v.operand(c.start, 0) for c in s.states]
        for c, start in zip(s.states, starts, strict=True):
            name = self.module.fresh(re.sub(r"\W", "_", c.name) + "_")
            v.lines.append(f"var {name}: {type_name(c.dtype)} = {start};")
            self.state[c.name] = name
        if s.extent:
            self.turns(s, self.local(s.var), 0, s.extent, Variable, False)
        for c in s.states:
            v.finish(c.name, self.state[c.name])
        self.state |= {name: state for name, state in outer.items() if state is not None}

    def step(self, s: Loop) -> None:
        """One step of a loop."""
        v = self.values
        for c in s.states:
            v.finish(c.name, v.name(v.lines, f"({self.state[c.name]})"))
        if s.test is not None:
            v.run = {}
            v.lines.append(f"if (!{v.operand(s.test, 0)}) {{ break; }}")
        self.body(s.body)

    def serial_loop(self, s: Loop) -> None:
        v = self.values
        for c in s.carries:
            self.state[c.name] = self.start(c, self.lanes)
        if self.plan.threads and self.together and s.extent > 1:        # what the step before did
            reads, writes = self.touched(s.body)
            self.dirty = self.dirty[0] | reads, self.dirty[1] | writes
        self.turns(s, self.local(s.var), 0, s.extent, Variable, False)
        for c in s.carries:
            v.finish(c.name, self.state[c.name])

    def split_loop(self, s: Loop) -> None:
        """A loop whose steps go four at a time, or are shared by the threads of a workgroup, or both."""
        v = self.values
        spread, quads = id(s) in self.plan.spread, id(s) in self.plan.quads
        names = [x.carry for x in s.body if isinstance(x, Accumulate)]
        names = list(dict.fromkeys([*[c.name for c in s.carries], *names]))
        own = {c.name for c in s.carries}
        before = {n: self.state[n] for n in names if n not in own}
        if spread:
            self.barrier([s])
        rounded = id(s) in self.plan.rounded
        whole = s.extent if not quads else -(-s.extent // 4) if rounded else s.extent // 4
        totals = self.part(s, names, 0, whole, quads, spread)
        if quads and s.extent % 4 and not rounded:
            totals = self.part(s, names, 4 * whole, s.extent, False, spread, totals)
        if spread:
            totals = {n: self.reduce(self.carries[n], t) for n, t in totals.items()}
        for n in names:
            if n in own:
                v.finish(n, totals[n])
            else:
                self.state[n] = before[n]
                self.assign(n, self.carries[n].dtype, totals[n])

    def part(self, s: Loop, names: list[str], first: int, end: int, quads: bool, spread: bool,
             totals: dict[str, str] | None = None) -> dict[str, str]:
        """Units (quads, or elements) `first` to `end` of a loop; returns what the thread's carries came to."""
        v, lanes = self.values, 4 if quads else 0
        for n in names:
            self.state[n] = self.start(self.carries[n], lanes, None if totals is None else totals[n])
        kept, self.together = self.together, self.together and not spread
        v.lane = Lane(s.var, False) if quads else None
        if quads:
            self.turns(s, self.local(s.var) + "q", first, end, lambda unit: Variable(f"{unit} * 4u", unit), spread)
        else:
            self.turns(s, self.local(s.var), first, end, Variable, spread)
        v.lane, self.together = None, kept
        return {n: self.across(self.carries[n], self.state[n]) if quads else self.state[n] for n in names}

    def turns(self, s: Loop, unit: str, first: int, end: int, variable: Callable[[str], Variable], spread: bool) -> None:
        """The body of a loop for each of its units (from `first` to `end`), of which `factor` are written out one after another."""
        v, stride = self.values, self.plan.threads if spread else 1
        factor, thread = self.factor(s, -(-(end - first) // stride)), "thread" if spread else ""
        if factor == 1:
            start = " + ".join([thread] * spread + [f"{first}u"] * (first > 0 or not spread))
            step = f"{unit} += {stride}u" if spread else f"{unit}++"
            loop = spread or end - first > 1 or s.test is not None
            with v.block(f"for (var {unit} = {start}; {unit} < {end}u; {step})" if loop else "", s.var, variable(unit if loop else start)):
                self.step(s)
            return
        whole = stride * factor
        count, rest = divmod(end - first, whole)
        with v.block(f"for (var turn_{unit} = 0u; turn_{unit} < {count + (rest > 0)}u; turn_{unit}++)" if count + (rest > 0) > 1 else ""):
            for u in range(factor):
                name = f"{unit}_{u}"
                terms = [f"turn_{unit} * {whole}u"] * (count + (rest > 0) > 1) + [thread] * spread
                v.lines.append(f"let {name} = {' + '.join([*terms, f'{first + u * stride}u'])};")
                with v.block(f"if ({name} < {end}u)" if rest else "", s.var, variable(name)):
                    self.step(s)

    def factor(self, s: Loop, count: int) -> int:
        """How many of a loop's `count` turns are one, so that a thread on a software adapter takes at most TURNS in all."""
        if not self.traits.software or s.test is not None:
            return 1
        share, outer = TURNS // max(len(self.around), 1), self.around[id(s)]
        return 1 if outer * count <= share else count if outer > share else -(-count // (share // outer))

    # ---- accumulators
    def identity(self, c: Carry, lanes: int) -> str:
        return Builder(self.module, self.values.lines, lanes, c.dtype).const(identity(c.monoid, c.dtype))

    def start(self, c: Carry, lanes: int, value: str | None = None) -> str:
        """Declare the variable of a carry, at its monoid's identity unless `value` is given."""
        name = self.module.fresh(re.sub(r"\W", "_", c.name) + "_")
        self.values.lines.append(f"var {name} = {value or self.identity(c, lanes)};")
        return name

    def across(self, c: Carry, name: str) -> str:
        """The four lanes of a carry as one value, always in the same order."""
        parts = [f"{name}.{axis}" for axis in AXES]
        while len(parts) > 1:
            parts = [scalars.emit(self.module, self.values.lines, c.monoid, c.dtype, 0, [a, b])
                     for a, b in zip(parts[:len(parts) // 2], parts[len(parts) // 2:], strict=True)]
        return parts[0]

    def reduce(self, c: Carry, value: str) -> str:
        """The values of all threads of the workgroup as one, always in the same order."""
        return self.values.name(self.values.lines, self.reducers.total(c.monoid, c.dtype, value))
