"""Portions: matrix products that threads share: blocks of C, or entries of a batch, each a product of its own.

In: a Gemm and how our code does it. Out: how many rows, columns and entries a portion has, and the function that runs all. The sum of an
element is never divided, so portions do not change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from ...ir.program import Gemm
from ...ir.record import changed, record
from . import regions
from .gemm import Tiling
from .text import Function, Module

SPEED = 400.0        # bytes of values that a core multiplies and adds in a nanosecond, about
BYTE = 0.03          # nanoseconds to move one
WORTH = 20_000.0     # nanoseconds of a product that is shared
PORTION = 10_000.0   # of a portion, at least
MOST = 64            # portions
ROWS = 96            # of a portion at least, where panels of B are copied by each
COLUMNS = 256        # of a portion at least, where BLAS copies rows of A for each


@record
class Portions:
    """Sizes of a portion: the last ones may be smaller."""

    rows: int
    columns: int
    entries: int


def _ceil(n: int, d: int) -> int:
    return -(-n // d)


def nanoseconds(g: Gemm, dtype: np.dtype, t: Tiling | None) -> float:
    """How long one core takes, about."""
    n = g.n if t is None else _ceil(g.n, t.lanes) * t.lanes
    return g.batch * dtype.itemsize * (2.0 * g.m * n * g.k / SPEED + BYTE * (g.m * g.k + g.k * g.n + g.m * g.n))


def portions(g: Gemm, dtype: np.dtype, t: Tiling | None) -> Portions | None:
    """How to share a product, None where it is too little work. `t` None: BLAS multiplies."""
    work = nanoseconds(g, dtype, t)
    if work < WORTH:
        return None
    most = min(int(work / PORTION), MOST)
    if g.batch >= most:
        return Portions(g.m, g.n, _ceil(g.batch, most))
    most = max(most // g.batch, 1)
    width = COLUMNS if t is None else t.width
    columns = _ceil(_ceil(g.n, width), most) * width
    left = max(most // _ceil(g.n, columns), 1)
    high = 1 if t is None else t.rows(t.vectors)
    least = COLUMNS if t is None else ROWS if t.pack_b else high
    rows = _ceil(max(_ceil(g.m, left), least), high) * high
    found = Portions(min(rows, g.m), min(columns, g.n), 1)
    return found if g.batch > 1 or found.rows < g.m or found.columns < g.n else None


def write(module: Module, name: str, g: Gemm, kind: str, p: Portions, function: Callable[[Gemm], str]) -> None:
    """Add the product to the module as function `name`; `function(g)` is the name of that of a smaller one."""
    def case(fn: Function, part: Gemm, pointers: Sequence[str], first: Sequence[str]) -> None:
        a, b, c, x = pointers
        e, i, j = first
        c = at(fn, kind, c, (e, g.c_step), (i, g.ldc), (j, 1), ("", g.c_offset))
        fn.line(f"call void @{function(part)}(ptr {a}, ptr {b}, ptr {c}, ptr {x})")

    divided(module, name, g, kind, p, 1, True, case)


def divided(module: Module, name: str, g: Gemm, kind: str, p: Portions, more: int, shared: bool,
            case: Callable[[Function, Gemm, Sequence[str], Sequence[str]], None]) -> None:
    """Add a function `(ptr a, ptr b, further pointers, ptr x)` that does a product portion by portion, by threads where `shared`.

    `case(fn, part, pointers, first)` writes what is done for one of size `part`: `pointers` as those of the function, with a and b at
    its own elements; `first` are its first entry, row and column.
    """
    sizes = (g.batch, p.entries), (g.m, p.rows), (g.n, p.columns)
    counts = [_ceil(whole, part) for whole, part in sizes]
    fn = Function(module, f"define internal void @{name}.chunk(ptr %context, i64 %n) nounwind")
    pointers = [fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr %context, i64 {i}')}, align 8") for i in range(more + 3)]
    rest = "%n"
    places: list[str] = []
    for count in counts[:0:-1]:                      # those after one another have the same rows of A
        places.append(fn.emit(f"urem i64 {rest}, {count}"))
        rest = fn.emit(f"udiv i64 {rest}, {count}")
    numbers = [rest, *places[::-1]]
    first = [fn.emit(f"mul i64 {n}, {part}") for n, (_, part) in zip(numbers, sizes, strict=True)]
    e, i, j = first
    pointers[0] = at(fn, kind, pointers[0], (e, g.a_step), (i, 1 if g.trans_a else g.lda), ("", g.a_offset))
    pointers[1] = at(fn, kind, pointers[1], (e, g.b_step), (j, g.ldb if g.trans_b else 1), ("", g.b_offset))
    ends = [whole - (count - 1) * part for (whole, part), count in zip(sizes, counts, strict=True)]
    forms = [dict.fromkeys([part] * (count > 1) + [end]) for (_, part), count, end in zip(sizes, counts, ends, strict=True)]
    number = fn.emit("add i64 0, 0")
    for place, form, count in zip(numbers, forms, counts, strict=True):
        number = fn.emit(f"mul i64 {number}, {len(form)}")
        if len(form) == 2:
            last = fn.emit(f"icmp eq i64 {place}, {count - 1}")
            number = fn.emit(f"add i64 {number}, {fn.emit(f'zext i1 {last} to i64')}")
    cases = list(product(*forms))
    fn.line(f"switch i64 {number}, label %case0 [ {' '.join([f'i64 {k}, label %case{k}' for k in range(1, len(cases))])} ]")
    for k, (entries, rows, columns) in enumerate(cases):
        part = changed(g, m=rows, n=columns, batch=entries, a_offset=0, b_offset=0, c_offset=0, epilogue=None, more=())
        part = part if entries > 1 else changed(part, a_step=0, b_step=0, c_step=0)
        fn.begin(f"case{k}")
        case(fn, part, pointers, first)
        fn.line("br label %end")
    fn.begin("end")
    module.functions.append(fn.text())
    names = ["%a", "%b", *[f"%c{i}" for i in range(more)], "%x"]
    fn = Function(module, f"define internal void @{name}({', '.join([f'ptr {n}' for n in names])}) nounwind")
    regions.launch(fn, name, [("ptr", n) for n in names], int(np.prod(counts)), shared)
    module.functions.append(fn.text())


def at(fn: Function, kind: str, base: str, *terms: tuple[str, int]) -> str:
    """The address of an element: base plus the sum of index * stride ("": stride)."""
    for index, stride in terms:
        if stride:
            step = str(stride) if not index else index if stride == 1 else fn.emit(f"mul i64 {index}, {stride}")
            base = fn.emit(f"getelementptr {kind}, ptr {base}, i64 {step}")
    return base
