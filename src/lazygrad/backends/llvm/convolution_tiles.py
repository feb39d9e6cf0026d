"""Tiles of convolutions: sums in registers over rows of memory that begin where a table says, and squares turned in registers.

In: sizes of a tile. Out: functions of the module that all convolutions share.
"""

from __future__ import annotations

from . import gemm
from .text import Function, Module, suffix, typed

LINES = 10                       # rows of a tile of `points`: the address of each is in a register of its own
ALIGN = {"float": 4, "double": 8}


def columns(module: Module, kind: str, lanes: int, rows: int, vectors: int, more: bool, masked: bool) -> str:
    """`rows` x `vectors` of out (+)= w times the rows of x that begin where the table says; the last vector is stored in its first `tail` lanes
    only, where `masked`.
    """
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %w, ptr %b, ptr %c, ptr %t, i64 %k, i64 %ldw, i64 %ldc, i64 %tail) nounwind noinline")
        vector, align = typed(kind, lanes), ALIGN[kind]

        def offset(base: str, index: str) -> str:
            return fn.emit(f"getelementptr {kind}, ptr {base}, i64 {index}")

        lines = ["%w" if i == 0 else offset("%w", fn.emit(f"mul i64 %ldw, {i}")) for i in range(rows)]
        with fn.loop("0", "%k", 1, [(vector, "zeroinitializer")] * (rows * vectors)) as l:
            row = offset("%b", fn.emit(f"load i64, ptr {fn.emit(f'getelementptr i64, ptr %t, i64 {l.i}')}, align 8"))
            bs = [fn.emit(f"load {vector}, ptr {row if j == 0 else offset(row, str(j * lanes))}, align {align}") for j in range(vectors)]
            xs = [offset(line, l.i) for line in lines]
            l.next = gemm.accumulated(fn, kind, lanes, xs, bs, l.values)
        gemm.stored(fn, kind, lanes, rows, vectors, l.next, "%c", "%ldc", more, "%tail" if masked else "")
        return fn

    return module.helper(f"window.{suffix(kind, lanes)}.{rows}x{vectors}{'.more' if more else ''}{'.masked' if masked else ''}", build)


def points(module: Module, kind: str, lanes: int, rows: int, vectors: int, more: bool) -> str:
    """`rows` x `vectors` of c (+)= numbers of a times a panel: the number for row i and line k of the panel lies at lines[i] + places[k]."""
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %lines, ptr %places, i64 %k, i64 %ldc) nounwind noinline")
        vector, align = typed(kind, lanes), ALIGN[kind]

        def of(table: str, i: str | int) -> str:
            return fn.emit(f"load i64, ptr {fn.emit(f'getelementptr i64, ptr {table}, i64 {i}')}, align 8")

        starts = [fn.emit(f"getelementptr {kind}, ptr %a, i64 {of('%lines', i)}") for i in range(rows)]
        with fn.loop("0", "%k", 1, [(vector, "zeroinitializer")] * (rows * vectors)) as l:
            line = fn.emit(f"getelementptr {kind}, ptr %b, i64 {fn.emit(f'mul i64 {l.i}, {vectors * lanes}')}")
            bs = [fn.emit(f"load {vector}, ptr {fn.emit(f'getelementptr {kind}, ptr {line}, i64 {v * lanes}')}, align {align}") for v in range(vectors)]
            place = of("%places", l.i)
            l.next = gemm.accumulated(fn, kind, lanes, [fn.emit(f"getelementptr {kind}, ptr {s}, i64 {place}") for s in starts], bs, l.values)
        gemm.stored(fn, kind, lanes, rows, vectors, l.next, "%c", "%ldc", more, "")
        return fn

    return module.helper(f"points.{suffix(kind, lanes)}.{rows}x{vectors}{'.more' if more else ''}", build)


def turned(module: Module, kind: str, lanes: int) -> str:
    """`(a, to, n, m, lda, ldto)`: the transpose of a (n, m): squares of `lanes` x `lanes`, which are read whole and written where they are of a."""
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %a, ptr %to, i64 %n, i64 %m, i64 %lda, i64 %ldto) nounwind noinline")
        vector, mask, align = typed(kind, lanes), typed("i1", lanes), ALIGN[kind]
        store = f"llvm.masked.store.{suffix(kind, lanes)}.p0"
        module.declare(f"void @{store}({vector}, ptr, i32, {mask})")

        def at(base: str, i: str, stride: str, j: str) -> str:
            row = fn.emit(f"mul i64 {i}, {stride}")
            return fn.emit(f"getelementptr {kind}, ptr {base}, i64 {fn.emit(f'add i64 {row}, {j}')}")

        numbers = "<" + ", ".join([f"i64 {i}" for i in range(lanes)]) + ">"
        with fn.loop("0", "%m", lanes) as j, fn.loop("0", "%n", lanes) as i:
            rows = [fn.emit(f"add i64 {i.i}, {k}") for k in range(lanes)]
            xs = [fn.emit(f"load {vector}, ptr {at('%a', r, '%lda', j.i)}, align {align}") for r in rows]
            left = gemm.splat(fn, "i64", lanes, fn.emit(f"sub i64 %n, {i.i}"))
            inside = fn.emit(f"icmp slt <{lanes} x i64> {numbers}, {left}")
            for k, x in enumerate(gemm.square(fn, vector, lanes, xs)):
                row = fn.emit(f"add i64 {j.i}, {k}")
                ok = fn.emit(f"select i1 {fn.emit(f'icmp slt i64 {row}, %m')}, {mask} {inside}, {mask} zeroinitializer")
                fn.line(f"call void @{store}({vector} {x}, ptr {at('%to', row, '%ldto', i.i)}, i32 {align}, {mask} {ok})")
        return fn

    return module.helper(f"turned.{suffix(kind, lanes)}", build)
