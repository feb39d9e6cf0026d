"""Kernels as LLVM functions: `void @kN(ptr %b0, ..., ptr %x)`: loops, vector loops with their tails, accumulators, stores.

In: a Kernel, a Module to write into. The vector width is chosen here; `values` turns Scalars into SSA values. `%x` is
the args array: externs and the fault cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...ir.kernel import Accumulate, Assign, Carry, Check, Combine, Kernel, Loop, Stmt, Store
from ...ir.scalar import CONST, I64, LOAD, VAR, Scalar
from . import recurrence, regions, scalars
from .recurrence import accumulated
from .text import Builder, Function, Module, element, stored, typed
from .values import INDEX, VOLATILE, Values, Vector, parts

BOOL = np.dtype("bool")
FAULT = 2                        # position in args of the pointer to the fault cell
UNROLLED = 4                     # vectors of accumulators side by side, in small bodies
SMALL = 16                       # scalar operations of a body that counts as small
REGISTERS = 8                    # vectors of accumulators that are kept at most
TILE = 16                        # rows of a tile where a vector loop runs across the rows of a buffer


def write(module: Module, name: str, kernel: Kernel, lanes_bytes: int = 64, written: frozenset[int] | None = None,
          distinct: bool = False) -> None:
    """Add `kernel` to the module as function `name`.

    `written`: the parameters whose memory changes, where that is more than `kernel.params` says (two parameters may be
    one buffer). `distinct`: all parameters are different buffers in every call.
    """
    if written is None:
        written = frozenset([i for i, p in enumerate(kernel.params) if p.writes])
    attribute = "noalias " if distinct else ""
    head = ", ".join([f"ptr {attribute}%b{i}" for i in range(len(kernel.params))] + ["ptr %x"])
    fn = Function(module, f"define internal void @{name}({head}) nounwind")
    Writer(fn, kernel, lanes_bytes, written, attribute).run_all()
    module.functions.append(fn.text())


class Writer:
    """One function being written. `state[name]`: the running values of a carry, one per unrolled copy."""

    def __init__(self, fn: Function, kernel: Kernel, lanes_bytes: int, written: frozenset[int], attribute: str = "") -> None:
        self.fn, self.kernel, self.lanes_bytes, self.attribute = fn, kernel, lanes_bytes, attribute
        self.values = Values(fn, kernel, written)
        self.carries: dict[str, Carry] = {}
        self.state: dict[str, list[str]] = {}
        self.copy = 0
        self.assigned: dict[str, str] = {}           # states, as this step leaves them
        self.live: str | None = None                 # lanes that still go on in a loop with a test of their own

    def inside(self, fn: Function) -> Writer:
        """The writer of a part of this kernel in a function of its own, whose parameters have the same names."""
        inner = Writer(fn, self.kernel, self.lanes_bytes, self.values.written, self.attribute)
        inner.carries = dict(self.carries)
        return inner

    def run_all(self) -> None:
        checks = [n for n in accumulated(self.kernel.body) if n.startswith("!")]
        for name in checks:
            self.carries[name] = Carry(name, "or", BOOL)
            self.state[name] = ["false"]
        self.body(self.kernel.body)
        if checks:
            self.report(checks)

    def report(self, checks: list[str]) -> None:
        """Put the code of a failed check into the fault cell, unless it holds one."""
        fn = self.fn
        cell = fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr {fn.args}, i64 {FAULT}')}, align 8")
        fault = fn.emit(f"load i64, ptr {cell}, align 8")
        for name in checks:
            free = fn.emit(f"icmp eq i64 {fault}, 0")
            bad = fn.emit(f"and i1 {free}, {self.state[name][0]}")
            fault = fn.emit(f"select i1 {bad}, i64 {int(name[1:]) + 1}, i64 {fault}")
        fn.line(f"store i64 {fault}, ptr {cell}, align 8")

    # ---- statements
    def body(self, stmts: Sequence[Stmt]) -> None:
        run: list[Stmt] = []
        for s in stmts:
            if isinstance(s, Loop):
                self.statements(run)
                run = []
                self.loop(s)
            else:
                run.append(s)
        self.statements(run)

    def statements(self, run: list[Stmt]) -> None:
        """A run of statements: every value first, then every write."""
        v = self.values
        v.run = {}
        for s in run:
            v.value(s.ok if isinstance(s, Check) else s.value)
            if isinstance(s, Store | Combine):
                for atom in v.atoms(s.index):
                    v.value(atom)
        for s in run:
            if isinstance(s, Store):
                self.store(s.buffer, s.index, s.value.dtype, v.operand(s.value, self.lanes))
            elif isinstance(s, Combine):
                self.combine(s)
            elif isinstance(s, Accumulate):
                self.accumulate(s.carry, s.value.dtype, v.operand(s.value, self.lanes))
            elif isinstance(s, Assign):
                self.assigned[s.state] = v.operand(s.value, self.lanes if s.state in v.apart else 0)
            else:
                bad = self.builder(BOOL).mask_not(v.operand(s.ok, self.lanes))
                bad = bad if self.live is None else self.builder(BOOL).mask_and(bad, self.live)
                self.accumulate(f"!{s.code}", BOOL, bad)
        v.run = {}

    @property
    def lanes(self) -> int:
        return self.values.vector.lanes if self.values.vector else 0

    def builder(self, dtype: np.dtype) -> Builder:
        return self.values.builder(self.lanes, dtype)

    def store(self, buffer: int, index: Scalar, dtype: np.dtype, value: str) -> None:
        v = self.values
        if v.vector:
            v.store_lanes(buffer, index, dtype, value)
        else:
            place = v.address(buffer, index)
            self.fn.line(f"store {stored(dtype)} {v.to_memory(dtype, 0, value)}, ptr {place}, align {dtype.itemsize}")

    def combine(self, s: Combine) -> None:
        v, dtype = self.values, s.value.dtype
        if v.vector:
            old = v.from_memory(dtype, self.lanes, v.load_lanes(s.buffer, s.index, dtype, None))
        else:
            place = v.address(s.buffer, s.index)
            old = v.from_memory(dtype, 0, self.fn.emit(f"load {stored(dtype)}, ptr {place}, align {dtype.itemsize}"))
        new = scalars.emit(s.monoid, self.builder(dtype), old, v.operand(s.value, self.lanes))
        self.store(s.buffer, s.index, dtype, new)

    def accumulate(self, name: str, dtype: np.dtype, value: str) -> None:
        carry, vector = self.carries[name], self.values.vector
        b = self.builder(carry.dtype)
        value = scalars.cast(self.builder(dtype), value, carry.dtype)
        if vector and vector.active < vector.lanes:
            start = b.const(scalars.identity(carry.monoid, carry.dtype))
            value = b.select(self.values.active(None), value, start)
        state = self.state[name]
        state[self.copy] = scalars.emit(carry.monoid, b, state[self.copy], value)

    # ---- loops
    def loop(self, s: Loop) -> None:
        if s.states or s.test is not None:
            recurrence.write(self, s)
            return
        for c in s.carries:
            self.carries[c.name] = c
            self.state[c.name] = [self.start(c, 0)]
        if s.extent > 0:
            width = self.width(s)
            if width:
                self.vector_loop(s, width)
            else:
                self.serial_loop(s)
        for c in s.carries:
            self.values.finish(c.name, self.state.pop(c.name)[0])

    def start(self, c: Carry, lanes: int) -> str:
        return self.values.builder(lanes, c.dtype).const(scalars.identity(c.monoid, c.dtype))

    def serial_loop(self, s: Loop) -> None:
        names = accumulated(s.body)
        names = [n for n in names if n in self.state]
        if s.extent == 1:
            with self.values.scope(self.fn.split(), s.var, "0"):
                self.body(s.body)
            return
        if self.crosses(s):
            self.tiles(s, s.body[0])
            return
        if regions.count(s, s.extent) > 1:
            totals = regions.run(self, s, names, s.extent, lambda w, first, last: w.rows(s, names, first, last))
            for n in names:
                self.state[n] = [self.join(n, self.state[n][0], totals[n])]
        else:
            self.steps(s, names, "0", str(s.extent))

    def steps(self, s: Loop, names: list[str], first: str, last: str) -> None:
        """Steps `first` to `last`, one after another."""
        carried = [(typed(element(self.carries[n].dtype), self.lanes), self.state[n][0]) for n in names]
        with self.fn.loop(first, last, 1, carried) as l:
            for n, value in zip(names, l.values, strict=True):
                self.state[n] = [value]
            with self.values.scope(l.before, s.var, l.i):
                self.body(s.body)
            l.next = [self.state[n][0] for n in names]
        for n, value in zip(names, l.next, strict=True):
            self.state[n] = [value]

    def rows(self, s: Loop, names: list[str], first: str, last: str) -> dict[str, str]:
        """`steps` of a chunk; the totals."""
        self.state = {n: [self.start(self.carries[n], 0)] for n in names}
        self.steps(s, names, first, last)
        return {n: self.state[n][0] for n in names}

    # ---- tiles
    def crosses(self, s: Loop) -> bool:
        """Whether `s` is rows of a vector loop that steps across the rows of some buffer: then it is done in tiles.

        Only where no step reads what another writes, so that any order is right.
        """
        inner = s.body[0] if len(s.body) == 1 else None
        if not isinstance(inner, Loop) or s.carries or inner.carries or s.extent < TILE or not self.width(inner):
            return False
        if not all(isinstance(x, Store) and all(a.op is VAR for a, _ in parts(x.index)[1]) for x in inner.body):
            return False
        if any(self.values.depends(x.value) & VOLATILE for x in inner.body):
            return False
        strides = [{a.params[0]: abs(k) for a, k in parts(i)[1] if a.op is VAR} for i in _indices(inner.body)]
        if not all({s.var, inner.var} <= set(at) for at in strides[:len(inner.body)]):
            return False                             # steps that meet in one element: their order counts
        return any(at.get(s.var) == 1 and at.get(inner.var, 0) >= TILE for at in strides)

    def tiles(self, s: Loop, inner: Loop) -> None:
        """for tile of rows: for vector: for row of the tile: the lines of memory that a vector touches stay at hand."""
        whole = s.extent - s.extent % TILE
        if s.grain % TILE == 0 and regions.count(s, whole) > 1:
            regions.run(self, s, [], whole, lambda w, first, last: w.whole_tiles(s, inner, first, last))
        else:
            self.whole_tiles(s, inner, "0", str(whole))
        if whole < s.extent:
            self.tile(s, inner, str(whole), str(s.extent))

    def whole_tiles(self, s: Loop, inner: Loop, first: str, last: str) -> dict[str, str]:
        """The tiles of rows `first` to `last`; there are no totals."""
        with self.fn.loop(first, last, TILE) as l, self.values.scope(l.before, f"{s.var} tile", l.i):
            self.tile(s, inner, l.i, self.fn.emit(f"add i64 {l.i}, {TILE}"))
        return {}

    def tile(self, s: Loop, inner: Loop, first: str, last: str) -> None:
        """The tile of rows `first` to `last`."""
        lanes = self.width(inner)

        def rows() -> None:
            with self.fn.loop(first, last, 1) as l, self.values.scope(l.before, s.var, l.i):
                self.statements(list(inner.body))

        at = self.part(inner, [], 0, inner.extent // lanes, lanes, lanes, 1, rows)
        rest = inner.extent % lanes
        if rest:
            self.part(inner, [], at, 1, max(2, 1 << (rest - 1).bit_length()), rest, 1, rows)

    # ---- vector loops
    def width(self, s: Loop) -> int:
        """Lanes of a vector loop: 64 bytes of its widest value; 0 where the loop must run step by step."""
        if s.mode != "vector" or s.extent < 2:
            return 0
        inner = [x for x in s.body if isinstance(x, Loop)]
        if inner:
            return recurrence.width(self, s, inner)
        for x in s.body:
            if isinstance(x, Store | Combine):
                steps = [k for a, k in parts(x.index)[1] if a.op is VAR and a.params[0] == s.var]
                if not (self.values.depends(x.index) & self.values.bit("v" + s.var)):
                    return 0                         # one element for all steps: their order counts
                if isinstance(x, Combine) and (len(steps) != 1 or not all(
                        a.op is VAR or not self.values.depends(a) & self.values.bit("v" + s.var) for a, _ in parts(x.index)[1])):
                    return 0                         # two lanes may meet in one element
        widest = max([d.itemsize for d in _dtypes(s.body)] + [c.dtype.itemsize for c in s.carries])
        lanes = min(max(self.lanes_bytes // widest, 4), 32)
        return min(lanes, max(2, 1 << (s.extent - 1).bit_length()))

    def vector_loop(self, s: Loop, lanes: int) -> None:
        names = [n for n in accumulated(s.body) if n in self.state]
        whole, rest = divmod(s.extent, lanes)
        if rest and s.overrun and not names and not self.leaps(s):
            whole, rest = whole + 1, 0
        copies = self.copies(s, names, whole)
        before = {n: self.state[n][0] for n in names}
        totals: dict[str, str] = {}
        at, end = 0, whole // copies * copies * lanes
        if s.grain % (lanes * copies) == 0 and regions.count(s, end) > 1:
            totals = regions.run(self, s, names, end, lambda w, first, last: w.columns(s, names, lanes, copies, first, last))
            at, whole, copies = end, whole % copies, 1
        for n in names:
            self.state[n] = [self.start(self.carries[n], lanes)] * copies
        at = self.part(s, names, at, whole // copies, lanes, lanes, copies)
        at = self.part(s, names, at, whole % copies, lanes, lanes, 1)
        for n in names if whole else ():
            total = self.total(self.carries[n], self.state[n], lanes)
            totals[n] = self.join(n, totals[n], total) if n in totals else total
        if rest:
            fewer = max(2, 1 << (rest - 1).bit_length())
            for n in names:
                self.state[n] = [self.start(self.carries[n], fewer)]
            self.part(s, names, at, 1, fewer, rest, 1)
            for n in names:
                tail = self.total(self.carries[n], self.state[n], fewer)
                totals[n] = self.join(n, totals[n], tail) if n in totals else tail
        own = {c.name for c in s.carries}
        for n in names:
            self.state[n] = [totals[n] if n in own else self.join(n, before[n], totals[n])]

    def columns(self, s: Loop, names: list[str], lanes: int, copies: int, first: str, last: str) -> dict[str, str]:
        """Elements `first` to `last` of a chunk, in whole vectors; the totals."""
        self.state = {n: [self.start(self.carries[n], lanes)] * copies for n in names}
        self.span(s, names, first, last, lanes, lanes, copies)
        return {n: self.total(self.carries[n], self.state[n], lanes) for n in names}

    def join(self, name: str, a: str, b: str) -> str:
        return scalars.emit(self.carries[name].monoid, self.values.builder(0, self.carries[name].dtype), a, b)

    def leaps(self, s: Loop) -> bool:
        """Whether steps beyond the end might touch memory far from the end: any stride but 0 and 1."""
        var = self.values.bit("v" + s.var)
        return any(k != 1 or a.op is not VAR for i in _indices(s.body) for a, k in parts(i)[1] if self.values.depends(a) & var)

    def copies(self, s: Loop, names: list[str], whole: int) -> int:
        """How many vectors of accumulators run side by side."""
        if not s.carries or whole < 2 * UNROLLED:
            return 1
        small = len(_scalars(s.body)) <= SMALL
        return UNROLLED if small and UNROLLED * len(names) <= REGISTERS else 2 if 2 * len(names) <= REGISTERS and small else 1

    def part(self, s: Loop, names: list[str], at: int, count: int, lanes: int, active: int, copies: int,
             body: Callable[[], None] | None = None) -> int:
        """`count` steps of `copies` vectors from element `at`; returns the element behind them."""
        step = lanes * copies
        end = at + count * step
        if count == 0:
            return at
        if count == 1:
            self.vectors(s, self.fn.split(), "0", at, lanes, active, copies, body)
            return end
        self.span(s, names, str(at), str(end), lanes, active, copies, body)
        return end

    def span(self, s: Loop, names: list[str], first: str, last: str, lanes: int, active: int, copies: int,
             body: Callable[[], None] | None = None) -> None:
        """Elements `first` to `last` in steps of `copies` vectors."""
        kinds = [typed(element(self.carries[n].dtype), lanes) for n in names for _ in range(copies)]
        carried = list(zip(kinds, [self.state[n][u] for n in names for u in range(copies)], strict=True))
        with self.fn.loop(first, last, lanes * copies, carried) as l:
            for j, n in enumerate(names):
                self.state[n][:copies] = l.values[j * copies:(j + 1) * copies]
            self.vectors(s, l.before, l.i, 0, lanes, active, copies, body)
            l.next = [self.state[n][u] for n in names for u in range(copies)]

    def vectors(self, s: Loop, before: list[str], i: str, offset: int, lanes: int, active: int, copies: int,
                body: Callable[[], None] | None = None) -> None:
        """The body (`body()`, where it is not that of `s`), once for each copy."""
        v = self.values
        for u in range(copies):
            self.copy = u
            with v.scope(before, s.var, i):
                v.vector = Vector(s.var, v.bit("v" + s.var), i, offset + u * lanes, lanes, active)
                if body:
                    body()
                else:
                    self.body(s.body)
                v.vector = None
        self.copy = 0

    def total(self, c: Carry, vectors: list[str], lanes: int) -> str:
        """The accumulators of all copies and lanes in one value, always in the same order."""
        v = self.values
        while len(vectors) > 1:
            b = v.builder(lanes, c.dtype)
            vectors = [scalars.emit(c.monoid, b, x, y) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        value, kind = vectors[0], element(c.dtype)
        if c.dtype == BOOL and c.monoid in ("or", "maximum"):
            return v.builder(lanes, BOOL).any(value)
        while lanes > 2:
            half, whole = lanes // 2, f"<{lanes} x {kind}>"
            low, high = [self.fn.emit(f"shufflevector {whole} {value}, {whole} poison, <{half} x i32> <"
                                      + ", ".join([f"i32 {k}" for k in range(start, start + half)]) + ">")
                         for start in (0, half)]
            lanes = half
            value = scalars.emit(c.monoid, v.builder(lanes, c.dtype), low, high)
        pair = [self.fn.emit(f"extractelement <2 x {kind}> {value}, i64 {k}") for k in (0, 1)]
        return scalars.emit(c.monoid, v.builder(0, c.dtype), *pair)


def _indices(body: Sequence[Stmt]) -> list[Scalar]:
    """The index of every store, then of every load of a body without loops."""
    seen: set[Scalar] = set()
    stack = [x.ok if isinstance(x, Check) else x.value for x in body]
    indices = [x.index for x in body if isinstance(x, Store | Combine)]
    while stack:
        x = stack.pop()
        if x not in seen:
            seen.add(x)
            stack.extend(x.args)
            if x.op is LOAD:
                indices.append(x.args[0])
    return indices


def _scalars(body: Sequence[Stmt]) -> set[Scalar]:
    """The Scalars that a body computes, without index arithmetic and constants."""
    seen: set[Scalar] = set()
    stack = [s.ok if isinstance(s, Check) else s.value for s in body]
    while stack:
        x = stack.pop()
        if x not in seen and x.op is not CONST and x.op not in INDEX:
            seen.add(x)
            stack.extend(x.args[1:] if x.op is LOAD else x.args)
    return seen


def _dtypes(body: Sequence[Stmt]) -> set[np.dtype]:
    """The dtypes of the values of a body; index arithmetic counts where it is stored as such."""
    found = {s.dtype for s in _scalars(body)} | {BOOL}
    return found | {I64 for s in body if isinstance(s, Store | Combine | Accumulate) and s.value.op in INDEX}
