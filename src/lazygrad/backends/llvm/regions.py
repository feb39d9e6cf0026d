"""Regions: loops in chunks (`Loop.grain`) that the threads of the pool share. In: a kernel's writer, a loop, how a part of it is written.

Out: a function `(buffers, args, what is known outside, where totals go, first, last)` for a chunk, one `(context, number)` that calls it, and
in the kernel the call of the pool; without a pool the chunks run one after another. The chunks, not the threads, decide the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ir.kernel import Loop, Stmt
from ...ir.scalar import CARRY, VAR, Scalar
from . import recurrence, scalars
from .externs import INDEX
from .text import Function, Module, element

NAME = "lazygrad.region"


def count(s: Loop, end: int) -> int:
    """How many chunks the elements below `end` make; fewer than two are not worth a region."""
    return -(-end // s.grain) if s.grain else 0


def run(w: Any, s: Loop, names: Sequence[str], end: int, part: Callable[[Any, str, str], dict[str, str]]) -> dict[str, str]:
    """Runs the elements below `end` in chunks; the totals of `names` over them.

    `part(writer, first, last)` writes elements `first` to `last` into the function of a chunk and returns its totals.
    """
    known = _outside(w, s)
    kinds = [element(k.dtype) for k in known]
    chunks, buffers = count(s, end), len(w.kernel.params)
    name = f"r{len(w.fn.module.functions)}"
    head = [f"ptr {w.attribute}%b{i}" for i in range(buffers)] + ["ptr %x"] + [f"{kind} %o{i}" for i, kind in enumerate(kinds)]
    head += [f"ptr %t{i}" for i in range(len(names))] + ["i64 %first", "i64 %last"]
    fn = Function(w.fn.module, f"define internal void @{name}({', '.join(head)}) nounwind")
    inner = w.inside(fn)
    for i, k in enumerate(known):
        inner.values.given(k, f"%o{i}")
    totals = part(inner, "%first", "%last")
    for i, n in enumerate(names):
        kind = element(w.carries[n].dtype)
        fn.line(f"store {kind} {totals[n]}, ptr %t{i}, align 8")
    w.fn.module.functions.append(fn.text())
    _entry(w.fn.module, name, buffers + 1, kinds, len(names), s.grain, end)
    return _call(w, name, known, kinds, names, chunks)


def _outside(w: Any, s: Loop) -> list[Scalar]:
    """The variables and totals that the loop reads and does not make."""
    stmts: list[Stmt] = recurrence.flat(s.body)
    made, todo = {s.var, *[c.name for c in s.carries]}, [x for x in s.body if isinstance(x, Loop)]
    for x in todo:
        made |= {x.var, *[c.name for c in (*x.carries, *x.states)]}
        todo += [y for y in x.body if isinstance(y, Loop)]
    found: dict[Scalar, None] = {}
    seen: set[Scalar] = set()
    stack = [v for x in stmts for v in (getattr(x, f, None) for f in ("index", "value", "ok")) if v is not None]
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        stack.extend(x.args)
        if x.op in (VAR, CARRY) and x.params[0] not in made:
            found[x] = None
    return sorted(found, key=lambda x: x.number)


def launch(fn: Function, name: str, values: Sequence[tuple[str, str]], chunks: int, shared: bool = True) -> None:
    """Runs the chunks of the function `name`.chunk, whose context are `values` (type, value), 8 bytes each; by threads where `shared`."""
    with fn.inside(fn.entry):
        context = fn.emit(f"alloca [{len(values)} x i64], align 8")
    for i, (kind, value) in enumerate(values):
        fn.line(f"store {kind} {value}, ptr {fn.emit(f'getelementptr i64, ptr {context}, i64 {i}')}, align 8")
    if not shared or chunks == 1:
        with fn.loop("0", str(chunks)) as l:
            fn.line(f"call void @{name}.chunk(ptr {context}, i64 {l.i})")
        return
    fn.module.helper(NAME, lambda _: _region(fn.module))
    fn.line(f"call void @{NAME}(ptr @{name}.chunk, ptr {context}, i64 {chunks}, ptr {fn.args})")


def _entry(module: Module, name: str, pointers: int, kinds: Sequence[str], totals: int, grain: int, end: int) -> None:
    """The function of a chunk as the pool calls it. The context: pointers, what is known outside, arrays of totals; 8 bytes each."""
    fn = Function(module, f"define internal void @{name}.chunk(ptr %c, i64 %n) nounwind")
    given = []
    for i, kind in enumerate(["ptr"] * pointers + list(kinds) + ["ptr"] * totals):
        at = fn.emit(f"getelementptr i64, ptr %c, i64 {i}")
        value = fn.emit(f"load {kind}, ptr {at}, align 8")
        if i >= pointers + len(kinds):
            value = fn.emit(f"getelementptr i64, ptr {value}, i64 %n")
        given.append(f"{kind} {value}")
    first = fn.emit(f"mul i64 %n, {grain}")
    last = fn.emit(f"add i64 {first}, {grain}")
    last = fn.emit(f"select i1 {fn.emit(f'icmp slt i64 {last}, {end}')}, i64 {last}, i64 {end}")
    fn.line(f"call void @{name}({', '.join([*given, f'i64 {first}', f'i64 {last}'])})")
    module.functions.append(fn.text())


def _call(w: Any, name: str, known: Sequence[Scalar], kinds: Sequence[str], names: Sequence[str], chunks: int) -> dict[str, str]:
    """The call of the pool, and the totals of all chunks in their order."""
    fn = w.fn
    pointers = [*[f"%b{i}" for i in range(len(w.kernel.params))], "%x"]
    with fn.inside(fn.entry):
        arrays = [fn.emit(f"alloca [{chunks} x i64], align 8") for _ in names]
    values = [("ptr", p) for p in pointers] + [(kind, w.values.value(k)) for k, kind in zip(known, kinds, strict=True)] + [("ptr", a) for a in arrays]
    launch(fn, name, values, chunks)
    if not names:
        return {}
    carries = [w.carries[n] for n in names]
    starts = [(element(c.dtype), w.start(c, 0)) for c in carries]
    with fn.loop("0", str(chunks), 1, starts) as l:
        l.next = []
        for c, (kind, _), array, value in zip(carries, starts, arrays, l.values, strict=True):
            one = fn.emit(f"load {kind}, ptr {fn.emit(f'getelementptr i64, ptr {array}, i64 {l.i}')}, align 8")
            l.next.append(scalars.emit(c.monoid, w.values.builder(0, c.dtype), value, one))
    return dict(zip(names, l.next, strict=True))


def _region(module: Module) -> Function:
    """`(function, context, chunks, args)`: by the pool where there is one."""
    fn = Function(module, f"define internal void @{NAME}(ptr %f, ptr %c, i64 %n, ptr %x) nounwind")
    table = fn.emit("load ptr, ptr %x, align 8")
    pool, region = [fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr {table}, i64 {INDEX[n]}')}, align 8") for n in ("pool", "region")]
    fn.line(f"br i1 {fn.emit(f'icmp eq ptr {region}, null')}, label %alone, label %together")
    fn.begin("together")
    fn.line(f"call void {region}(ptr {pool}, ptr %f, ptr %c, i64 %n)")
    fn.line("ret void")
    fn.begin("alone")
    with fn.loop("0", "%n") as l:
        fn.line(f"call void %f(ptr %c, i64 {l.i})")
    return fn
