"""Matrix products as our own code: tiles of C in registers, B packed into panels where its rows lie far apart or across.

In: a Gemm, its dtype, the Target. Out: a function `(ptr a, ptr b, ptr c, ptr x)`, or None from `tiling` where BLAS is better.
The tiles are functions of the module that all products of a shape class share: sizes and strides are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.program import Gemm
from ...ir.record import record
from .target import Target
from .text import Function, Module, element, indices, suffix, typed

PANEL = 32 << 10                 # bytes of a panel at most: the inner loop finds it in the first cache
DEPTH = 512                      # rows of a panel at most
SHALLOW = 128                    # and where A is read across: a tile takes one line of memory in every row
THIN = 3                         # columns of C from which vectors along them pay
ROWS = {1: 12, 2: 12, 3: 8, 4: 6}                # of a tile, by its vectors in a row: with 32 registers
FEW_ROWS = {1: 8, 2: 6, 3: 4}                    # with 16
FAR = 2048                       # bytes between rows of B from which a panel is copied, so that it lies in few pages
PAGE = 4096                      # bytes between rows of A, read across, from which a panel of it is copied
OFTEN = 64                       # rows of A from which copying a panel of B pays
DEEP = 256                       # rows of a stored transposed A from which copying panels pays


@record
class Tiling:
    """`lanes` elements a vector, tiles of `vectors` of them; `pack_a`, `pack_b`: panels are copied first."""

    lanes: int
    vectors: int
    few: bool
    pack_a: bool
    pack_b: bool

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.lanes * self.vectors

    def rows(self, vectors: int) -> int:
        """Rows of a tile of so many vectors."""
        return (FEW_ROWS if self.few else ROWS)[vectors]


def registers(dtype: np.dtype, target: Target) -> tuple[int, bool]:
    """(elements of a vector, whether there are 16 registers and not 32)."""
    wide = "avx512f" in target.has
    few = not wide and target.arch == "x86_64"
    return (64 if wide else 32 if few else 16) // dtype.itemsize, few


def tiling(g: Gemm, dtype: np.dtype, target: Target) -> Tiling | None:
    """How our code does a product; None where BLAS does."""
    if not (g.m and g.k and g.batch) or g.n < THIN or (g.trans_a and g.trans_b) or not target.has & {"fma", "neon"}:
        return None
    lanes, few = registers(dtype, target)
    vectors = 2 if few else 4
    pack_a = g.trans_a and g.k >= DEEP and g.lda * dtype.itemsize >= PAGE
    if (pack_a and g.n > 2 * lanes * vectors) or (g.trans_a and g.n < lanes <= g.m):
        return None
    pack_b = g.trans_b or (g.m >= OFTEN and (g.ldb * dtype.itemsize >= FAR or (g.trans_a and g.k >= DEEP)))
    return Tiling(lanes, vectors, few, pack_a, pack_b)


def write(module: Module, name: str, g: Gemm, dtype: np.dtype, t: Tiling) -> None:
    """Add the product to the module as function `name`."""
    _Product(module, name, g, dtype, t).run()


class _Product:
    """One product being written."""

    def __init__(self, module: Module, name: str, g: Gemm, dtype: np.dtype, t: Tiling) -> None:
        self.module, self.g, self.t = module, g, t
        self.kind = element(dtype)
        self.depth = min(SHALLOW if g.trans_a else DEPTH, PANEL // (t.width * dtype.itemsize))
        self.fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %x) nounwind")

    def at(self, base: str, *terms: tuple[str | int, int]) -> str:
        """The address of an element: base plus the sum of index * stride."""
        fn = self.fn
        for index, stride in terms:
            if index in ("0", 0) or stride == 0:
                continue
            step = str(int(index) * stride) if isinstance(index, int) or index.isdigit() else index if stride == 1 else fn.emit(f"mul i64 {index}, {stride}")
            base = fn.emit(f"getelementptr {self.kind}, ptr {base}, i64 {step}")
        return base

    def repeat(self, count: int, step: int, body) -> None:
        """`body(i)` for i in range(0, count * step, step)."""
        if count == 1:
            body("0")
        elif count:
            with self.fn.loop("0", str(count * step), step) as l:
                body(l.i)

    def run(self) -> None:
        g, t, fn = self.g, self.t, self.fn
        with fn.inside(fn.entry):
            size = (min(g.k, self.depth) + t.lanes) * t.width
            self.panels = [fn.emit(f"alloca [{size} x {self.kind}], align 64") if p else "" for p in (t.pack_a, t.pack_b)]
        a, b, c = [self.at(p, (o, 1)) for p, o in (("%a", g.a_offset), ("%b", g.b_offset), ("%c", g.c_offset))]
        self.repeat(g.batch, 1, lambda e: self.entry(self.at(a, (e, g.a_step)), self.at(b, (e, g.b_step)), self.at(c, (e, g.c_step))))
        self.module.functions.append(fn.text())

    def entry(self, a: str, b: str, c: str) -> None:
        """One entry of the batch: blocks of k."""
        g, lanes = self.g, self.t.lanes
        deep = -(-g.k // -(-g.k // self.depth))                # blocks of about one size
        deep = g.k if deep == g.k else -(-deep // lanes) * lanes
        whole, rest = divmod(g.k, deep)

        def block(p: str, depth: int, more: bool) -> None:
            self.rows(self.at(a, (p, g.lda if g.trans_a else 1)), self.at(b, (p, 1 if g.trans_b else g.ldb)), c, depth, more)

        block("0", deep, g.accumulate)
        if whole > 1:
            with self.fn.loop(str(deep), str(whole * deep), deep) as l:
                block(l.i, deep, True)
        if rest:
            block(str(whole * deep), rest, True)

    def rows(self, a: str, b: str, c: str, depth: int, more: bool) -> None:
        """Blocks of rows of A, all of them where they are not copied."""
        g, t = self.g, self.t
        if not t.pack_a:
            self.columns(a, g.lda, b, c, g.m, depth, more)
            return
        whole, rest = divmod(g.m, t.width)

        def block(i: str, rows: int) -> None:
            used = -(-rows // t.lanes)
            self.copy(self.at(a, (i, 1)), self.panels[0], used, depth, g.lda)
            self.columns(self.panels[0], used * t.lanes, b, self.at(c, (i, g.ldc)), rows, depth, more)

        self.repeat(whole, t.width, lambda i: block(i, t.width))
        if rest:
            block(str(whole * t.width), rest)

    def columns(self, a: str, lda: int, b: str, c: str, m: int, depth: int, more: bool) -> None:
        """Panels of columns of B."""
        g, t, fn = self.g, self.t, self.fn
        whole, rest = divmod(g.n, t.width)

        def panel(j: str, vectors: int, count: int) -> None:
            at, ldb = self.at(b, (j, g.ldb if g.trans_b else 1)), g.ldb
            if t.pack_b:
                ldb = vectors * t.lanes
                if g.trans_b:
                    turn = across(self.module, self.kind, t.lanes)
                    fn.line(f"call void @{turn}(ptr {at}, ptr {self.panels[1]}, i64 {depth}, i64 {g.ldb}, i64 {count}, i64 {ldb})")
                else:
                    self.copy(at, self.panels[1], vectors, depth, g.ldb)
                at = self.panels[1]
            self.tiles(a, lda, at, ldb, self.at(c, (j, 1)), vectors, count, m, depth, more)

        self.repeat(whole, t.width, lambda j: panel(j, t.vectors, t.width))
        if rest:
            panel(str(whole * t.width), -(-rest // t.lanes), rest)

    def copy(self, source: str, panel: str, vectors: int, depth: int, stride: int) -> None:
        """A panel: `depth` rows of `vectors` vectors, one behind the other."""
        self.fn.line(f"call void @{_copy(self.module, self.kind, self.t.lanes, vectors)}(ptr {source}, ptr {panel}, i64 {depth}, i64 {stride})")

    def tiles(self, a: str, lda: int, b: str, ldb: int, c: str, vectors: int, count: int, m: int, depth: int, more: bool) -> None:
        """Tiles down m rows of A."""
        g, t = self.g, self.t
        high, tail = min(t.rows(vectors), m), count % t.lanes

        def down(i: str, rows: int) -> None:
            function = tile(self.module, self.kind, t.lanes, rows, vectors, g.trans_a, more, tail > 0)
            self.fn.line(f"call void @{function}(ptr {self.at(a, (i, 1 if g.trans_a else lda))}, ptr {b}, ptr {self.at(c, (i, g.ldc))}, "
                         f"i64 {depth}, i64 {lda}, i64 {ldb}, i64 {g.ldc}, i64 {tail})")

        self.repeat(m // high, high, lambda i: down(i, high))
        if m % high:
            down(str(m - m % high), m % high)


# ---- functions of the module that products share ------------------------------------------------------------------------

def tile(module: Module, kind: str, lanes: int, rows: int, vectors: int, trans_a: bool, more: bool, masked: bool) -> str:
    """`rows` x `vectors` of C (+)= A B over k; the last vector is stored in its first `tail` lanes only, where `masked`."""
    name = f"tile.{suffix(kind, lanes)}.{rows}x{vectors}{'.t' if trans_a else ''}{'.more' if more else ''}{'.masked' if masked else ''}"
    return module.helper(name, lambda name: _tile_function(module, name, kind, lanes, rows, vectors, trans_a, more, masked))


def _tile_function(module: Module, name: str, kind: str, lanes: int, rows: int, vectors: int, trans_a: bool, more: bool, masked: bool) -> Function:
    fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, i64 %k, i64 %lda, i64 %ldb, i64 %ldc, i64 %tail) nounwind noinline")
    vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]

    def offset(base: str, index: str) -> str:
        return fn.emit(f"getelementptr {kind}, ptr {base}, i64 {index}")

    if not more:                                       # what is written below is on its way while the sums are made
        module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for i in range(rows):
            row = "%c" if i == 0 else offset("%c", fn.emit(f"mul i64 %ldc, {i}"))
            for j in range(vectors):
                fn.line(f"call void @llvm.prefetch.p0(ptr {row if j == 0 else offset(row, str(j * lanes))}, i32 1, i32 3, i32 1)")
    lines = ["%a"] if trans_a else [("%a" if i == 0 else offset("%a", fn.emit(f"mul i64 %lda, {i}"))) for i in range(rows)]
    with fn.loop("0", "%k", 1, [(vector, "zeroinitializer")] * (rows * vectors)) as l:
        row = offset("%b", fn.emit(f"mul i64 {l.i}, %ldb"))
        bs = [fn.emit(f"load {vector}, ptr {row if j == 0 else offset(row, str(j * lanes))}, align {align}") for j in range(vectors)]
        column = offset("%a", fn.emit(f"mul i64 {l.i}, %lda")) if trans_a else ""
        places = [(column if i == 0 else offset(column, str(i))) if trans_a else offset(lines[i], l.i) for i in range(rows)]
        l.next = accumulated(fn, kind, lanes, places, bs, l.values)
    stored(fn, kind, lanes, rows, vectors, l.next, "%c", "%ldc", more, "%tail" if masked else "")
    return fn


def accumulated(fn: Function, kind: str, lanes: int, places: Sequence[str], bs: Sequence[str], values: Sequence[str]) -> list[str]:
    """The sums `values` of a tile, row after row, plus the number at each of `places` times the vectors `bs`."""
    vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]
    fma = f"llvm.fmuladd.{suffix(kind, lanes)}"
    fn.module.declare(f"{vector} @{fma}({vector}, {vector}, {vector})")
    out = []
    for i, place in enumerate(places):
        x = splat(fn, kind, lanes, fn.emit(f"load {kind}, ptr {place}, align {align}"))
        for j, b in enumerate(bs):
            out.append(fn.emit(f"call {vector} @{fma}({vector} {x}, {vector} {b}, {vector} {values[i * len(bs) + j]})"))
    return out


def splat(fn: Function, kind: str, lanes: int, x: str) -> str:
    """A number in every lane."""
    vector = typed(kind, lanes)
    one = fn.emit(f"insertelement {vector} poison, {kind} {x}, i64 0")
    return fn.emit(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


def stored(fn: Function, kind: str, lanes: int, rows: int, vectors: int, values: Sequence[str], c: str, ldc: str, more: bool, tail: str) -> None:
    """Writes the sums of a tile to the rows at c (adds them where `more`); of the last vector of each only `tail` lanes, if that is given."""
    vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]

    def offset(base: str, index: str) -> str:
        return fn.emit(f"getelementptr {kind}, ptr {base}, i64 {index}")

    mask = store = ""
    if tail:
        at = ", ".join([f"i64 {i}" for i in range(lanes)])
        mask = fn.emit(f"icmp ult <{lanes} x i64> <{at}>, {splat(fn, 'i64', lanes, tail)}")
        store = f"llvm.masked.store.{suffix(kind, lanes)}.p0"
        fn.module.declare(f"void @{store}({vector}, ptr, i32, <{lanes} x i1>)")
    for i in range(rows):
        row = c if i == 0 else offset(c, fn.emit(f"mul i64 {ldc}, {i}"))
        for j in range(vectors):
            place = row if j == 0 else offset(row, str(j * lanes))
            value = values[i * vectors + j]
            if more:
                value = fn.emit(f"fadd {vector} {value}, {fn.emit(f'load {vector}, ptr {place}, align {align}')}")
            if tail and j == vectors - 1:
                fn.line(f"call void @{store}({vector} {value}, ptr {place}, i32 {align}, <{lanes} x i1> {mask})")
            else:
                fn.line(f"store {vector} {value}, ptr {place}, align {align}")


def _copy(module: Module, kind: str, lanes: int, vectors: int) -> str:
    """k rows of `vectors` vectors, one behind the other."""
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %b, ptr %to, i64 %k, i64 %ldb) nounwind noinline")
        vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]
        with fn.loop("0", "%k") as l:
            row = fn.emit(f"getelementptr {kind}, ptr %b, i64 {fn.emit(f'mul i64 {l.i}, %ldb')}")
            out = fn.emit(f"getelementptr {kind}, ptr %to, i64 {fn.emit(f'mul i64 {l.i}, {lanes * vectors}')}")
            for j in range(vectors):
                x = fn.emit(f"load {vector}, ptr {fn.emit(f'getelementptr {kind}, ptr {row}, i64 {j * lanes}')}, align {align}")
                fn.line(f"store {vector} {x}, ptr {fn.emit(f'getelementptr {kind}, ptr {out}, i64 {j * lanes}')}, align {align}")
        return fn

    return module.helper(f"panel.{suffix(kind, lanes)}x{vectors}", build)


def across(module: Module, kind: str, lanes: int) -> str:
    """The panel whose columns are rows of B: squares of `lanes` x `lanes`, turned in registers.

    Squares may reach past the last of k (they are read from memory that is there, and lie behind the panel) and past the last
    column (the last row is read again).
    """
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %b, ptr %to, i64 %k, i64 %ldb, i64 %n, i64 %width) nounwind noinline")
        vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]
        module.declare("i64 @llvm.umin.i64(i64, i64)")
        last = fn.emit("sub i64 %n, 1")
        with fn.loop("0", "%n", lanes) as j:
            rows = []
            for i in range(lanes):
                at = fn.emit(f"call i64 @llvm.umin.i64(i64 {fn.emit(f'add i64 {j.i}, {i}')}, i64 {last})")
                rows.append(fn.emit(f"getelementptr {kind}, ptr %b, i64 {fn.emit(f'mul i64 {at}, %ldb')}"))
            out = fn.emit(f"getelementptr {kind}, ptr %to, i64 {j.i}")
            with fn.loop("0", "%k", lanes) as p:
                xs = [fn.emit(f"load {vector}, ptr {fn.emit(f'getelementptr {kind}, ptr {r}, i64 {p.i}')}, align {align}") for r in rows]
                for i, x in enumerate(square(fn, vector, lanes, xs)):
                    at = fn.emit(f"mul i64 {fn.emit(f'add i64 {p.i}, {i}')}, %width")
                    fn.line(f"store {vector} {x}, ptr {fn.emit(f'getelementptr {kind}, ptr {out}, i64 {at}')}, align {align}")
        return fn

    return module.helper(f"panel.{suffix(kind, lanes)}.across", build)


def square(fn: Function, vector: str, lanes: int, xs: Sequence[str]) -> list[str]:
    """The columns of `lanes` vectors of as many elements."""
    xs, d = list(xs), 1
    while d < lanes:
        ys = list(xs)
        low = indices([l if not l & d else lanes + l - d for l in range(lanes)])
        high = indices([l + d if not l & d else lanes + l for l in range(lanes)])
        for i in range(lanes):
            if not i & d:
                ys[i] = fn.emit(f"shufflevector {vector} {xs[i]}, {vector} {xs[i + d]}, {low}")
                ys[i + d] = fn.emit(f"shufflevector {vector} {xs[i]}, {vector} {xs[i + d]}, {high}")
        xs, d = ys, 2 * d
    return xs
