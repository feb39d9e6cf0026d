"""Flow: Repeat and Branch steps as functions `(ptr buffer, ..., ptr x)` that call the functions of their bodies in a native loop.

In: a writer (which names the functions of bodies) and a step. Out: a name and the buffers to give. A body takes its arguments
from an array on the stack of the loop: only the addresses that move are written between two steps.
"""

from __future__ import annotations

from typing import Any

from ...ir.program import Branch, Program, Repeat
from ...ir.record import changed
from . import interrupt
from .text import Function, element

FIRST = 3                        # args: externs, arena, fault cell, then inputs, then outputs
ARENA, FAULT = 1, 2


def function(writer: Any, step: Repeat | Branch) -> tuple[str, tuple[int, ...]]:
    """The function that does a step, and the buffers it is given."""
    numbers: dict[int, int] = {}

    def own(b: int | None) -> int | None:
        return None if b is None else numbers.setdefault(b, len(numbers))

    fields = {}
    for name in type(step).__match_args__:
        value = getattr(step, name)
        if name in ("consts", "init", "xs", "carries", "ys", "spare", "inputs", "outputs"):
            fields[name] = tuple([own(b) for b in value])
        elif name in ("index", "scratch", "flag", "trips"):
            fields[name] = own(value)
    plain = changed(step, **fields)
    avals = tuple([writer.program.buffers[b].aval for b in numbers])
    key = plain, avals
    found = writer.flows.get(key)
    if found is None:
        made = _Repeat(writer, plain, avals) if isinstance(step, Repeat) else _Branch(writer, plain, avals)
        found = writer.flows[key] = f"f{len(writer.flows)}"
        made.write(found)
    return found, tuple(numbers)


class _Flow:
    """One function being written."""

    def __init__(self, writer: Any, step: Any, avals: tuple) -> None:
        self.writer, self.step, self.avals = writer, step, avals
        self.fn: Any = None

    def start(self, name: str) -> None:
        head = ", ".join([f"ptr %b{i}" for i in range(len(self.avals))] + ["ptr %x"])
        self.fn = Function(self.writer.module, f"define internal void @{name}({head}) nounwind")

    def put(self, array: str, place: int, pointer: str) -> None:
        """Write one argument."""
        at = self.fn.emit(f"getelementptr ptr, ptr {array}, i64 {place}")
        self.fn.line(f"store ptr {pointer}, ptr {at}, align 8")

    def given(self, place: int) -> str:
        """One of the arguments that this function was given itself."""
        return self.fn.emit(f"load ptr, ptr {self.fn.emit(f'getelementptr ptr, ptr %x, i64 {place}')}, align 8")

    def array(self, program: Program) -> str:
        """An array of arguments for a body: its header is written."""
        size = FIRST + len(program.inputs) + len(program.outputs)
        with self.fn.inside(self.fn.entry):
            array = self.fn.emit(f"alloca [{size} x ptr], align 8")
        for place in (0, FAULT):
            self.put(array, place, self.given(place))
        scratch = self.step.scratch
        self.put(array, ARENA, f"%b{scratch}" if scratch is not None else "null")
        return array

    def call(self, program: Program, array: str) -> None:
        self.fn.line(f"call void @{self.writer.body(program)}(ptr {array})")

    def copy(self, to: str, source: str, nbytes: int) -> None:
        if nbytes:
            self.fn.line(f"call ptr {self.fn.extern('memcpy')}(ptr {to}, ptr {source}, i64 {nbytes})")

    def fault(self) -> str:
        """Whether there was no fault, an i1."""
        cell = self.given(FAULT)
        return self.fn.emit(f"icmp eq i64 {self.fn.emit(f'load i64, ptr {cell}, align 8')}, 0")


class _Repeat(_Flow):
    """A loop. Carries that alternate between two buffers: even steps have one array of arguments, odd ones another."""

    def write(self, name: str) -> None:
        step, body = self.step, self.step.body
        functions = [self.writer.body(p) for p in (body, step.test) if p is not None]      # before this one
        assert functions
        self.start(name)
        fn = self.fn
        inputs = len(body.inputs)
        first, outs = FIRST + len(step.consts), FIRST + inputs
        turning = [j for j, other in enumerate(step.spare) if other is not None]
        for j, (start, end) in enumerate(zip(step.init, step.carries, strict=True)):
            if (j not in turning or step.length == 0) and start != end:
                self.copy(f"%b{end}", f"%b{start}", self.avals[end].nbytes)
        if step.length == 0:
            self.writer.module.functions.append(fn.text())
            return
        swap = step.length is not None and step.length % 2 == 0          # the last step writes to `carries`
        turns = {j: (step.spare[j], step.carries[j]) if swap else (step.carries[j], step.spare[j]) for j in turning}

        def arguments(program: Program, odd: bool) -> str:
            array = self.array(program)
            for k, b in enumerate(step.consts):
                self.put(array, FIRST + k, f"%b{b}")
            for j, b in enumerate(step.carries):
                read = b if j not in turns else turns[j][0] if odd else step.init[j]
                self.put(array, first + j, f"%b{read}")
            return array

        arrays, tests = [], []
        for odd in (False, True) if turning else (False,):
            arrays.append(arguments(body, odd))
            for j, b in enumerate(step.carries):
                self.put(arrays[-1], outs + j, f"%b{turns[j][odd] if j in turns else b}")
            if step.test is not None:
                tests.append(arguments(step.test, odd))
                self.put(tests[-1], first + len(step.carries), f"%b{step.flag}")
        fn.line("br label %before")
        fn.begin("before")
        fn.line("br label %head")
        fn.begin("head")
        fn.line("%i = phi i64 [ 0, %before ], [ %next, %latch ]")
        odd = fn.emit("trunc i64 %i to i1") if turning else ""

        def choose(pair: list[str]) -> str:
            return fn.emit(f"select i1 {odd}, ptr {pair[1]}, ptr {pair[0]}") if turning else pair[0]

        if step.test is not None:
            self.call(step.test, choose(tests))
            flag = fn.emit(f"load i8, ptr %b{step.flag}, align 1")
            fn.line(f"br i1 {fn.emit(f'icmp ne i8 {flag}, 0')}, label %step, label %done")
            fn.begin("step")
            interrupt.look(fn, "%i", body.work + step.test.work, "left")
        array = choose(arrays)
        at = fn.emit(f"sub i64 {step.length - 1}, %i") if step.reverse else "%i"
        carried = len(step.carries)
        for buffers, place in ((step.xs, first + carried), (step.ys, outs + carried)):
            for k, b in enumerate(buffers):
                offset = fn.emit(f"mul i64 {at}, {self.avals[b].nbytes // step.length}")
                self.put(array, place + k, fn.emit(f"getelementptr i8, ptr %b{b}, i64 {offset}"))
        self.call(body, array)
        for j in turning:
            for even in arrays[:1] + tests[:1]:
                self.put(even, first + j, f"%b{turns[j][1]}")
        fine = self.fault()
        fn.line("br label %latch")
        fn.begin("latch")
        fn.line("%next = add i64 %i, 1")
        if step.test is None:
            more = fn.emit(f"icmp slt i64 %next, {step.length}")
            fine = fn.emit(f"and i1 {fine}, {more}")
        fn.line(f"br i1 {fine}, label %head, label %{'done' if step.test is None else 'stopped'}")
        if step.test is not None:
            for block in ("stopped", "left"):
                fn.begin(block)
                fn.line("br label %done")
        fn.begin("done")
        if step.test is not None:
            fn.line("%n = phi i64 [ %i, %head ], [ %next, %stopped ], [ %i, %left ]")
            self.end(turns)
        self.writer.module.functions.append(fn.text())

    def end(self, turns: dict[int, tuple[int, int]]) -> None:
        """After %n steps of a loop with a test: the carries, where they are in the other buffer, and the number of steps."""
        fn, step = self.fn, self.step
        if step.trips is not None:
            fn.line(f"store i32 {fn.emit('trunc i64 %n to i32')}, ptr %b{step.trips}, align 4")
        if not turns:
            return
        fn.extern("memcpy")
        fn.line(f"br i1 {fn.emit('trunc i64 %n to i1')}, label %end, label %copies")
        fn.begin("copies")
        none = fn.emit("icmp eq i64 %n, 0")
        for j in turns:
            source = fn.emit(f"select i1 {none}, ptr %b{step.init[j]}, ptr %b{step.spare[j]}")
            self.copy(f"%b{step.carries[j]}", source, self.avals[step.carries[j]].nbytes)
        fn.line("br label %end")
        fn.begin("end")


class _Branch(_Flow):
    """A choice between bodies."""

    def write(self, name: str) -> None:
        step = self.step
        functions = [self.writer.body(p) for p in step.bodies]
        self.start(name)
        fn = self.fn
        array = self.array(step.bodies[0])
        for k, b in enumerate((*step.inputs, *step.outputs)):
            self.put(array, FIRST + k, f"%b{b}")
        dtype = self.avals[step.index].dtype
        kind = "i8" if dtype.kind == "b" else element(dtype)
        index = fn.emit(f"load {kind}, ptr %b{step.index}, align {dtype.itemsize}")
        if dtype.kind == "b":
            index = fn.emit(f"zext i1 {fn.emit(f'icmp ne i8 {index}, 0')} to i64")
        elif dtype.itemsize < 8:
            index = fn.emit(f"{'sext' if dtype.kind == 'i' else 'zext'} {kind} {index} to i64")
        if dtype.kind == "i":
            index = fn.emit(f"select i1 {fn.emit(f'icmp slt i64 {index}, 0')}, i64 0, i64 {index}")
        last = len(functions) - 1
        cases = " ".join([f"i64 {k}, label %case{k}" for k in range(last)])
        fn.line(f"switch i64 {index}, label %case{last} [ {cases} ]")
        for k, body in enumerate(functions):
            fn.begin(f"case{k}")
            fn.line(f"call void @{body}(ptr {array})")
            fn.line("br label %end")
        fn.begin("end")
        self.writer.module.functions.append(fn.text())
