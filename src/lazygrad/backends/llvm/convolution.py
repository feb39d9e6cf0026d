"""Convolutions as native code: products of tiles in registers, whose factors are windows that are never written out.

In: a Conv step, its dtype, the Target. Out: a function `(ptr x, ptr w, ptr out, ptr scratch, ptr args)`, and the bytes of its scratch memory.

With no more taps than results the weights are a matrix (o, c taps), and its right factor is rows of results: for every (c, tap) a row of x from
another place on. Rows of x are laid out so that all results of a block of rows lie one after another: once for each tap along the last
axis (and each remainder of its stride along the one before). With more taps than results (the gradient of weights) the results are the rows:
for every (c, result) a row of x, times the weights with o along the vectors. In both a table says where each row begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ...ir.program import Conv
from ...ir.record import record
from . import gemm
from .target import Target
from .text import Function, Module, element, suffix, typed

BLOCK = 768 << 10                # bytes of rows of x that are laid out at a time
LINE = 512                       # results of a row at a time, at most
DEPTH = 512                      # products that a tile adds up at a time
BESIDE = 512                     # positions of several examples that are summed together
COPIES = 24                      # vectors of the copies of a row that are written out
ROOM = 16                        # elements: a vector of every target
PAD = 1024                       # bytes behind every part of the scratch memory: vectors run over its end


def _three(v: tuple[int, ...], fill: int) -> tuple[int, int, int]:
    a, b, c = (fill,) * (3 - len(v)) + v
    return a, b, c


@record
class Frame:
    """A convolution over three axes (z, y, x), and the layout of a block: `rows` x `cols` places that are taken `channels` at a time.

    `places` are the results (`ahead`), or the weights where these are more; `taps` are the others. `steps`, `apart`: how far neighbours of both
    lie apart in x. The layout of a channel: for each tap along z, each of `copies` columns, each of `phases` rows: `height` rows of `width`.
    """

    sizes: tuple[int, int, int]
    places: tuple[int, int, int]
    taps: tuple[int, int, int]
    steps: tuple[int, int, int]
    apart: tuple[int, int, int]
    low: tuple[int, int, int]
    rows: int
    cols: int
    channels: int
    copies: int
    phases: tuple[int, ...]
    height: int
    width: int
    ahead: bool

    @property
    def plane(self) -> int:
        """Elements of a plane, and room behind it for a vector that runs over its end."""
        return self.height * self.width + ROOM

    @property
    def channel(self) -> int:
        """Elements of the layout of a channel."""
        return self.taps[0] * self.copies * len(self.phases) * self.plane

    def table(self) -> list[int]:
        """Where the row of each tap begins, in the layout of a channel."""
        (_, step, _), (_, down, right) = self.steps, self.apart
        out = []
        for d, h, w in np.ndindex(*self.taps):
            if self.ahead:
                rows = (d * self.copies + w) * len(self.phases) + self.phases.index(h * down % step)
                out.append(rows * self.plane + h * down // step * self.width)
            else:
                out.append(d * self.plane + h * down * self.width + w * right)
        return out


def forward(v: Conv) -> bool:
    """Whether the weights are the matrix of the product: no more taps than results."""
    return math.prod(v.taps) <= math.prod(v.count)


def direct(v: Conv) -> bool:
    """Whether windows are single elements, all of x in its order."""
    return math.prod(v.taps) == 1 and v.sizes == v.count and not any(v.low) and all([s == 1 or n == 1 for s, n in zip(v.stride, v.count, strict=True)])


def frame(v: Conv, size: int) -> Frame:
    """How a step goes over its data; `size`: bytes of an element."""
    ahead = forward(v)
    sizes, low = _three(v.sizes, 1), _three(v.low, 0)
    places, taps = (_three(v.count, 1), _three(v.taps, 1)) if ahead else (_three(v.taps, 1), _three(v.count, 1))
    steps, apart = (_three(v.stride, 1), _three(v.dilation, 1)) if ahead else (_three(v.dilation, 1), _three(v.stride, 1))
    cols = -(-places[2] // -(-places[2] // LINE))
    copies = taps[2] if ahead else 1
    phases = tuple(sorted({h * apart[1] % steps[1] for h in range(taps[1])})) if ahead else (0,)

    def height(rows: int) -> int:
        if ahead:
            return rows + (taps[1] - 1) * apart[1] // steps[1]
        return (rows - 1) * steps[1] + (taps[1] - 1) * apart[1] + 1

    width = cols if ahead else (cols - 1) * steps[2] + (taps[2] - 1) * apart[2] + 1

    def nbytes(rows: int) -> int:
        return taps[0] * copies * len(phases) * (height(rows) * width + ROOM) * size

    channels = max(min(v.c if ahead else v.n, BLOCK // nbytes(1)), 1)
    rows = 1
    if cols == places[2]:
        while rows < places[1] and nbytes(rows + 1) * channels <= BLOCK:
            rows += 1
        rows = -(-places[1] // -(-places[1] // rows))
    return Frame(sizes, places, taps, steps, apart, low, rows, cols, channels, copies, phases, height(rows), width, ahead)


def scratch(v: Conv, dtype: np.dtype) -> int:
    """The bytes of scratch memory of a step, whatever the target."""
    return _Parts(v, dtype.itemsize).total


class _Parts:
    """Where the parts of the scratch memory begin: the table of rows, rows of x, and for the second form a panel of weights and the sums."""

    def __init__(self, v: Conv, size: int) -> None:
        f = frame(v, size)
        ahead = forward(v)
        self.wide = -(-v.o // 64) * 64                    # whole panels of every target
        self.images = 1
        if not ahead:
            fits = BLOCK // (f.channels * f.channel * size)
            self.images = max(min(v.c, fits, BESIDE // (f.rows * f.cols)), 1)
        self.positions = self.images * f.rows * f.cols
        channels = v.c if direct(v) else f.channels
        sizes = [8 * channels * math.prod(f.taps), 0 if direct(v) else self.images * f.channels * f.channel * size]
        if not ahead:
            sizes += [(self.positions + 64) * self.wide * size, f.channels * math.prod(f.taps) * self.wide * size]
        at, starts = 0, []
        for n in sizes:
            starts.append(at)
            at += -(-(n + PAD) // 64) * 64
        self.table, self.rows, self.panel, self.sums = (*starts, 0, 0)[:4]
        self.total = at


def write(module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
    """Add the convolution to the module as function `name`."""
    (_Forward if forward(v) else _Backward)(module, name, v, dtype, target).write()


class _Writer:
    """One convolution being written."""

    def __init__(self, module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
        self.module, self.name, self.v = module, name, v
        self.kind, self.size = element(dtype), dtype.itemsize
        self.lanes, self.few = gemm.registers(dtype, target)
        self.frame, self.parts = frame(v, dtype.itemsize), _Parts(v, dtype.itemsize)
        self.fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %s, ptr %x) nounwind")
        self.vectors = 2 if self.few else 4

    # ---- text
    def at(self, base: str, *terms: tuple[str | int, int]) -> str:
        """The address of an element: base plus the sum of index * stride."""
        for index, stride in terms:
            if index in ("0", 0) or stride == 0:
                continue
            base = self.fn.emit(f"getelementptr {self.kind}, ptr {base}, i64 {self.times(index, stride)}")
        return base

    def times(self, index: str | int, k: int) -> str:
        if isinstance(index, int) or index.lstrip("-").isdigit():
            return str(int(index) * k)
        return index if k == 1 else self.fn.emit(f"mul i64 {index}, {k}")

    def plus(self, a: str, b: str | int) -> str:
        return a if b in (0, "0") else str(b) if a == "0" else self.fn.emit(f"add i64 {a}, {b}")

    def repeat(self, count: int, step: int, body: Callable[[str], None]) -> None:
        """`body(i)` for i in range(0, count * step, step)."""
        if count == 1:
            body("0")
        elif count:
            with self.fn.loop("0", str(count * step), step) as l:
                body(l.i)

    def parted(self, total: int, size: int, body: Callable[[str, int], None]) -> None:
        """`body(start, length)` for parts of `size` and what is left."""
        self.repeat(total // size, size, lambda i: body(i, size))
        if total % size:
            body(str(total - total % size), total % size)

    def write(self) -> None:
        fn = self.fn
        self.table, self.rows, self.panel, self.sums = [
            fn.emit(f"getelementptr i8, ptr %s, i64 {p}") for p in (self.parts.table, self.parts.rows, self.parts.panel, self.parts.sums)]
        self.fill_table()
        if not direct(self.v):                   # what stands between planes is multiplied too: numbers below the normal range would take long
            self.zeros(self.rows, self.parts.images * self.frame.channels * self.frame.channel)
        self.repeat(self.v.groups, 1, self.group)
        self.module.functions.append(fn.text())

    def fill_table(self) -> None:
        """For all channels of a block: where their rows begin."""
        fn, f = self.fn, self.frame
        taps, channel, channels = (([0], self.v.x_steps[2], self.v.c) if direct(self.v) else (f.table(), f.channel, f.channels))
        self.module.globals.append(f"@{self.name}.taps = internal constant [{len(taps)} x i64] [{', '.join([f'i64 {t}' for t in taps])}]")
        with fn.loop("0", str(channels)) as c:
            start = fn.emit(f"mul i64 {c.i}, {channel}")
            place = fn.emit(f"mul i64 {c.i}, {len(taps)}")
            with fn.loop("0", str(len(taps))) as t:
                at = fn.emit(f"getelementptr i64, ptr @{self.name}.taps, i64 {t.i}")
                sum_ = fn.emit(f"add i64 {fn.emit(f'load i64, ptr {at}, align 8')}, {start}")
                to = fn.emit(f"getelementptr i64, ptr {self.table}, i64 {fn.emit(f'add i64 {place}, {t.i}')}")
                fn.line(f"store i64 {sum_}, ptr {to}, align 8")

    def zeros(self, to: str, count: int) -> None:
        """`count` elements (and up to 64 more) become 0."""
        with self.fn.loop("0", str(count), 64) as l:
            self.fn.line(f"store <64 x {self.kind}> zeroinitializer, ptr {self.at(to, (l.i, 1))}, align {self.size}")

    def group(self, g: str) -> None:
        raise NotImplementedError

    def lay(self, source: str, to: str, channels: int, step: int, z: str, y: str, x: str) -> None:
        """Rows of x for the block whose first place is (z, y, x): `channels` channels that lie `step` apart."""
        f = self.frame
        name = _layout(self.module, self.name, f, self.kind, self.lanes)
        given = [f"i64 {self.plus(self.times(i, s), -n)}" for i, s, n in zip((z, y, x), f.steps, f.low, strict=True)]
        self.fn.line(f"call void @{name}(ptr {source}, ptr {to}, i64 {channels}, i64 {step}, {', '.join(given)})")

    def shape(self, rows: int, vectors: int) -> int:
        """The rows of a tile of so many vectors where there are so many at all."""
        most = (gemm.FEW_ROWS if self.few else gemm.ROWS)[vectors]
        return -(-rows // -(-rows // most))


class _Forward(_Writer):
    """The weights are the left factor."""

    def group(self, g: str) -> None:
        v, f = self.v, self.frame
        k = v.c * math.prod(v.taps)
        w = self.at("%b", (g, v.w_steps[0]))

        def example(n: str) -> None:
            x, out = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]))
            if direct(v):
                self.product(w, x, out, k, math.prod(v.count), False)
                return
            deep, high, wide = f.places

            def block(z: str, y: str, c: str) -> None:
                place = self.at(out, (z, high * wide), (y, wide), (c, 1))

                def channels(first: str, count: int, more: bool) -> None:
                    self.lay(self.at(x, (first, v.x_steps[2])), self.rows, count, v.x_steps[2], z, y, c)
                    taps = math.prod(v.taps)
                    self.product(self.at(w, (first, taps)), self.rows, place, count * taps, f.rows * f.cols, more)

                channels("0", f.channels, False)
                whole, rest = divmod(v.c, f.channels)
                if whole > 1:
                    with self.fn.loop(str(f.channels), str(whole * f.channels), f.channels) as l:
                        channels(l.i, f.channels, True)
                if rest:
                    channels(str(whole * f.channels), rest, True)

            # the last block along an axis begins early enough to be whole: results that it has in common with the one before are made twice
            self.repeat(deep, 1, lambda z: self.starts(high, f.rows, lambda y: self.starts(wide, f.cols, lambda c: block(z, y, c))))

        self.repeat(v.n, 1, example)

    def starts(self, total: int, size: int, body: Callable[[str], None]) -> None:
        """`body(start)` for blocks of `size` that cover `total`."""
        count = -(-total // size)
        if count * size == total or count == 1:
            self.repeat(count, size, body)
            return
        self.module.declare("i64 @llvm.umin.i64(i64, i64)")
        with self.fn.loop("0", str(count * size), size) as l:
            body(self.fn.emit(f"call i64 @llvm.umin.i64(i64 {l.i}, i64 {total - size})"))

    def product(self, w: str, rows: str, out: str, depth: int, places: int, more: bool) -> None:
        """out (o, places) (+)= w (o, depth) times the rows that the table names."""
        v = self.v

        def panel(p: str, count: int) -> None:
            vectors = -(-count // self.lanes)
            tail = count % self.lanes
            high = self.shape(v.o, vectors)
            parts = -(-depth // DEPTH)
            for start, end in pairwise([depth * i // parts for i in range(parts + 1)]):
                table = self.fn.emit(f"getelementptr i64, ptr {self.table}, i64 {start}") if start else self.table
                adds = more or start > 0

                def tiles(o: str, rows_: int, start: int = start, depth: int = end - start, table: str = table, adds: bool = adds) -> None:
                    name = _columns(self.module, self.kind, self.lanes, rows_, vectors, adds, tail > 0)
                    self.fn.line(f"call void @{name}(ptr {self.at(w, (o, v.w_steps[1]), (start, 1))}, ptr {self.at(rows, (p, 1))}, "
                                 f"ptr {self.at(out, (o, v.out_steps[2]), (p, 1))}, ptr {table}, i64 {depth}, i64 {v.w_steps[1]}, i64 {v.out_steps[2]}, i64 {tail})")

                self.parted(v.o, high, tiles)

        self.parted(places, self.lanes * self.vectors, panel)


class _Backward(_Writer):
    """The results are the rows, the weights the right factor."""

    def group(self, g: str) -> None:
        self.parted(self.v.n, self.frame.channels, lambda n, count: self.channels(g, n, count))

    def channels(self, g: str, first: str, count: int) -> None:
        """The results of a block of channels: sums over all examples and places."""
        v, f, fn = self.v, self.frame, self.fn
        taps, wide = math.prod(f.taps), self.parts.wide
        self.zeros(self.sums, count * taps * wide)
        x, w = self.at("%a", (first, v.x_steps[0]), (g, v.x_steps[1])), self.at("%b", (g, v.w_steps[0]))
        deep, high, broad = f.places
        rows_apart, set_ = f.width * f.steps[1], f.channels * f.channel

        def block(e: str, examples: int, z: str, y: str, rows: int, c: str, cols: int) -> None:
            many = rows * cols

            def lay(i: str) -> None:
                self.lay(self.at(x, (self.plus(e, i), v.x_steps[2])), self.at(self.rows, (i, set_)), count, v.x_steps[0], z, y, c)

            def panel(o: str, some: int) -> None:
                name, width = gemm.across(self.module, self.kind, self.lanes), -(-some // self.lanes) * self.lanes

                def one(i: str) -> None:                 # a panel may run over its end, into what is written next
                    source = self.at(w, (self.plus(e, i), v.w_steps[2]), (o, v.w_steps[1]), (z, high * broad), (y, broad), (c, 1))
                    to = self.at(self.panel, (o, examples * many), (i, many * width))
                    fn.line(f"call void @{name}(ptr {source}, ptr {to}, i64 {many}, i64 {v.w_steps[1]}, i64 {some}, i64 {width})")

                self.repeat(examples, 1, one)

            self.repeat(examples, 1, lay)
            self.parted(v.o, self.lanes * self.vectors, panel)

            def product(o: str, some: int) -> None:
                vectors = -(-some // self.lanes)
                b = self.at(self.panel, (o, examples * many))
                high_ = self.shape(count * taps, vectors)

                def tiles(r: str, rows_: int) -> None:
                    name = _lines(self.module, self.kind, self.lanes, rows_, vectors)
                    table = fn.emit(f"getelementptr i64, ptr {self.table}, i64 {r}")
                    fn.line(f"call void @{name}(ptr {self.rows}, ptr {b}, ptr {self.at(self.sums, (r, wide), (o, 1))}, ptr {table}, i64 {examples}, "
                            f"i64 {set_}, i64 {rows}, i64 {rows_apart}, i64 {cols}, i64 {f.steps[2]}, i64 {wide})")

                self.parted(count * taps, high_, tiles)

            self.parted(v.o, self.lanes * self.vectors, product)

        self.parted(v.c, self.parts.images, lambda e, examples: self.repeat(deep, 1, lambda z: self.parted(high, f.rows, lambda y, rows: self.parted(
            broad, f.cols, lambda c, cols: block(e, examples, z, y, rows, c, cols)))))
        out = self.at("%c", (first, v.out_steps[0]), (g, v.out_steps[1]))
        with fn.loop("0", str(count)) as n, fn.loop("0", str(v.o)) as o, fn.loop("0", str(taps)) as t:
            row = self.plus(self.times(n.i, taps), t.i)
            value = fn.emit(f"load {self.kind}, ptr {self.at(self.sums, (row, wide), (o.i, 1))}, align {self.size}")
            fn.line(f"store {self.kind} {value}, ptr {self.at(out, (n.i, v.out_steps[0]), (o.i, v.out_steps[2]), (t.i, 1))}, align {self.size}")


# ---- functions of the module -------------------------------------------------------------------------------------------------

def _layout(module: Module, owner: str, f: Frame, kind: str, lanes: int) -> str:
    """`(x, to, channels, step, z, y, x0)`: the rows of a block (see Frame), 0 outside of x. Vectors run over the ends of rows, which are written
    in order; behind a plane there is room.
    """
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %a, ptr %to, i64 %channels, i64 %step, i64 %z, i64 %y, i64 %x0) nounwind noinline")
        row = _Row(fn, f, kind, lanes)
        (deep, high, wide), row_step = f.sizes, f.steps[1] if f.ahead else 1
        phases = f"@{owner}.phases"
        module.globals.append(f"{phases} = internal constant [{len(f.phases)} x i64] [{', '.join([f'i64 {p}' for p in f.phases])}]")
        with fn.loop("0", "%channels") as c:
            source, to = row.at("%a", fn.emit(f"mul i64 {c.i}, %step")), row.at("%to", row.mul(c.i, f.channel))
            with fn.loop("0", str(f.taps[0])) as d, fn.loop("0", str(len(f.phases))) as p:
                z = row.add("%z", row.mul(d.i, f.apart[0]))
                deep_enough = fn.emit(f"icmp ult i64 {z}, {deep}")
                y0 = row.add("%y", fn.emit(f"load i64, ptr {fn.emit(f'getelementptr i64, ptr {phases}, i64 {p.i}')}, align 8"))
                planes = row.at(to, row.mul(row.add(row.mul(d.i, f.copies * len(f.phases)), p.i), f.plane))
                with fn.loop("0", str(f.height)) as q:
                    y = row.add(y0, row.mul(q.i, row_step))
                    inside = fn.emit(f"and i1 {deep_enough}, {fn.emit(f'icmp ult i64 {y}, {high}')}")
                    line = row.at(source, row.mul(row.add(row.mul(z, high), y), wide))
                    put = row.at(planes, row.mul(q.i, f.width))
                    yes, no, done = fn.fresh("yes"), fn.fresh("no"), fn.fresh("done")
                    fn.line(f"br i1 {inside}, label %{yes}, label %{no}")
                    fn.begin(yes)
                    row.copies(line, put)
                    fn.line(f"br label %{done}")
                    fn.begin(no)
                    row.copies("", put)
                    fn.line(f"br label %{done}")
                    fn.begin(done)
        return fn

    return module.helper(f"{owner}.rows", build)


class _Row:
    """One row of x as the copies that a layout has of it, being written."""

    def __init__(self, fn: Function, f: Frame, kind: str, lanes: int) -> None:
        self.fn, self.f, self.kind, self.lanes = fn, f, kind, lanes
        self.vector, self.size = typed(kind, lanes), {"float": 4, "double": 8}[kind]
        self.step = f.steps[2] if f.ahead else 1
        self.written = f.copies * -(-f.width // lanes) <= COPIES and f.cols == f.places[2]       # out: masks are constants then

    def mul(self, i: str, k: int) -> str:
        return i if k == 1 else self.fn.emit(f"mul i64 {i}, {k}")

    def add(self, i: str, k: str) -> str:
        return self.fn.emit(f"add i64 {i}, {k}")

    def at(self, base: str, index: str | int) -> str:
        return base if index in (0, "0") else self.fn.emit(f"getelementptr {self.kind}, ptr {base}, i64 {index}")

    def copies(self, line: str, put: str) -> None:
        """All copies of the row at `line` (zeros without one) from `put` on."""
        f, fn = self.f, self.fn
        apart = len(f.phases) * f.plane
        if self.written:
            for k in range(f.copies):
                for j in range(0, f.width, self.lanes):
                    self.vector_at(line, self.at(put, k * apart + j), k * f.apart[2] - f.low[2] + j * self.step)
            return
        with fn.loop("0", str(f.copies)) as k:
            x0, to = self.add("%x0", self.mul(k.i, f.apart[2])), self.at(put, self.mul(k.i, apart))
            with fn.loop("0", str(f.width), self.lanes) as j:
                self.vector_at(line, self.at(to, j.i), self.add(x0, self.mul(j.i, self.step)))

    def vector_at(self, line: str, to: str, x: str | int) -> None:
        """Elements x, x + step, ... of the row, those there are, to one vector."""
        fn, lanes, wide = self.fn, self.lanes, self.f.sizes[2]
        value, several = "zeroinitializer", typed("i32", lanes)
        if line and isinstance(x, int):
            ok = [0 <= x + n * self.step < wide for n in range(lanes)]
            mask = f"<{', '.join([f'i1 {str(o).lower()}' for o in ok])}>"
            value = self.read(line, str(x), mask, all(ok)) if any(ok) else value
        elif line:
            numbers = "<" + ", ".join([f"i32 {n * self.step}" for n in range(lanes)]) + ">"
            first = gemm.splat(fn, "i32", lanes, fn.emit(f"trunc i64 {x} to i32"))
            places = fn.emit(f"add {several} {first}, {numbers}")
            value = self.read(line, x, fn.emit(f"icmp ult {several} {places}, splat (i32 {wide})"), False)       # unsigned: not below 0 either
        fn.line(f"store {self.vector} {value}, ptr {to}, align {self.size}")

    def read(self, line: str, x: str, mask: str, whole: bool) -> str:
        fn, lanes, vector = self.fn, self.lanes, self.vector
        at = self.at(line, x)
        if self.step == 1:
            if whole:
                return fn.emit(f"load {vector}, ptr {at}, align {self.size}")
            name = f"llvm.masked.load.{suffix(self.kind, lanes)}.p0"
            fn.module.declare(f"{vector} @{name}(ptr, i32, {typed('i1', lanes)}, {vector})")
            return fn.emit(f"call {vector} @{name}(ptr {at}, i32 {self.size}, {typed('i1', lanes)} {mask}, {vector} zeroinitializer)")
        name = f"llvm.masked.gather.{suffix(self.kind, lanes)}.v{lanes}p0"
        fn.module.declare(f"{vector} @{name}({typed('ptr', lanes)}, i32, {typed('i1', lanes)}, {vector})")
        numbers = "<" + ", ".join([f"i64 {n * self.step}" for n in range(lanes)]) + ">"
        them = fn.emit(f"getelementptr {self.kind}, ptr {at}, {typed('i64', lanes)} {numbers}")
        return fn.emit(f"call {vector} @{name}({typed('ptr', lanes)} {them}, i32 {self.size}, {typed('i1', lanes)} {mask}, {vector} zeroinitializer)")


def _columns(module: Module, kind: str, lanes: int, rows: int, vectors: int, more: bool, masked: bool) -> str:
    """`rows` x `vectors` of out (+)= w times the rows of x that begin where the table says; the last vector is stored in its first `tail` lanes
    only, where `masked`.
    """
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %w, ptr %b, ptr %c, ptr %t, i64 %k, i64 %ldw, i64 %ldc, i64 %tail) nounwind noinline")
        vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]

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


def _lines(module: Module, kind: str, lanes: int, rows: int, vectors: int) -> str:
    """`rows` x `vectors` of sums += lines of x, which begin where the table says, times a panel, over examples, rows and columns."""
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %t, i64 %n, i64 %set, i64 %rows, i64 %row, i64 %cols, "
                              f"i64 %col, i64 %ldc) nounwind noinline")
        vector, align = typed(kind, lanes), {"float": 4, "double": 8}[kind]
        lines = []
        for i in range(rows):
            at = fn.emit(f"load i64, ptr {fn.emit(f'getelementptr i64, ptr %t, i64 {i}')}, align 8")
            lines.append(fn.emit(f"getelementptr {kind}, ptr %a, i64 {at}"))
        start = [(vector, "zeroinitializer")] * (rows * vectors) + [("ptr", "%b")]
        with fn.loop("0", "%n", 1, start) as n:
            first = fn.emit(f"mul i64 {n.i}, %set")
            with fn.loop("0", "%rows", 1, [(k, x) for (k, _), x in zip(start, n.values, strict=True)]) as r:
                here = fn.emit(f"add i64 {first}, {fn.emit(f'mul i64 {r.i}, %row')}")
                with fn.loop("0", "%cols", 1, [(k, x) for (k, _), x in zip(start, r.values, strict=True)]) as j:
                    place = fn.emit(f"add i64 {here}, {fn.emit(f'mul i64 {j.i}, %col')}")
                    b = j.values[-1]
                    bs = [fn.emit(f"load {vector}, ptr {b if v == 0 else fn.emit(f'getelementptr {kind}, ptr {b}, i64 {v * lanes}')}, align {align}")
                          for v in range(vectors)]
                    xs = [fn.emit(f"getelementptr {kind}, ptr {line}, i64 {place}") for line in lines]
                    j.next = [*gemm.accumulated(fn, kind, lanes, xs, bs, j.values[:-1]), fn.emit(f"getelementptr {kind}, ptr {b}, i64 {vectors * lanes}")]
                r.next = j.next
            n.next = r.next
        gemm.stored(fn, kind, lanes, rows, vectors, n.next[:-1], "%c", "%ldc", True, "")
        return fn

    return module.helper(f"lines.{suffix(kind, lanes)}.{rows}x{vectors}", build)
