"""Interrupt: loops that a test ends look now and then whether the user wants them to end (Ctrl-C).

In: the function with the loop, its counter, and what a step costs. Out: code that leaves the loop with INTERRUPTED in the fault
cell. The GIL is taken for the look: such loops run without it.
"""

from __future__ import annotations

from .text import Function, Module

INTERRUPTED = -1                 # in the fault cell
BETWEEN = 1 << 24                # scalar operations from look to look: some milliseconds
FAULT = 2                        # position in args of the pointer to the fault cell


def _look(name: str, module: Module) -> Function:
    fn = Function(module, f"define internal i1 @{name}(ptr %x) nounwind")
    state = fn.emit(f"call i32 {fn.extern('PyGILState_Ensure')}()")
    found = fn.emit(f"call i32 {fn.extern('PyErr_CheckSignals')}()")
    wanted = fn.emit(f"icmp slt i32 {found}, 0")
    clear = fn.extern("PyErr_Clear")
    fn.line(f"br i1 {wanted}, label %end, label %out")
    fn.begin("end")
    fn.line(f"call void {clear}()")              # raised again by who looks at the fault cell
    cell = fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr %x, i64 {FAULT}')}, align 8")
    fn.line(f"store i64 {INTERRUPTED}, ptr {cell}, align 8")
    fn.line("br label %out")
    fn.begin("out")
    fn.line(f"call void {fn.extern('PyGILState_Release')}(i32 {state})")
    fn.end = f"ret i1 {wanted}"
    return fn


def look(fn: Function, counter: str, work: int, done: str) -> None:
    """At the start of a step: to the block `done` where the user wants an end. A step makes `work` scalar operations."""
    every = 1 << max(0, (BETWEEN // max(work, 1)).bit_length() - 1)
    name = fn.module.helper("lazygrad.look", lambda name: _look(name, fn.module))
    ask, on = fn.fresh("look"), fn.fresh("on")
    due = fn.emit(f"icmp eq i64 {fn.emit(f'and i64 {counter}, {every - 1}')}, {every - 1}")
    fn.line(f"br i1 {due}, label %{ask}, label %{on}")
    fn.begin(ask)
    wanted = fn.emit(f"call i1 @{name}(ptr {fn.args})")
    fn.line(f"br i1 {wanted}, label %{done}, label %{on}")
    fn.begin(on)
