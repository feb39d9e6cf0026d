"""Convolutions as native code: products of tiles in registers, whose factors are windows that are never written out.

In: a Conv step, its dtype, the Target. Out: a function `(ptr x, ptr w, ptr out, ptr scratch, ptr args)`, and the bytes of its scratch memory.
Scratch memory holds tables of where windows and places begin in a block of rows of x, where channels of the result lie along the vectors the weights in
panels, and in a slot for everyone who works at the same time such a block (`windows.BLOCK` bytes), a panel of weights, sums. Threads share units:
blocks of results of an example, or channels of the gradient of weights; no sum is ever divided.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ...ir.program import Conv
from . import convolution_tiles as tiles
from . import gemm, regions, windows
from .target import Target
from .text import Function, Module, element
from .windows import COMPACT, PANEL, POINTS, WEIGHTS, Parts, direct, frame

DEPTH = 1200                     # products that a tile adds up at a time


def scratch(v: Conv, dtype: np.dtype) -> int:
    """The bytes of scratch memory of a step, whatever the target."""
    return Parts(v, dtype.itemsize).total


def write(module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
    """Add the convolution to the module as function `name`."""
    {COMPACT: _Compact, POINTS: _Points, WEIGHTS: _Weights}[windows.form(v)](module, name, v, dtype, target).write()


class _Writer(ABC):
    """One convolution being written."""

    def __init__(self, module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
        self.module, self.name, self.v = module, name, v
        self.kind, self.size = element(dtype), dtype.itemsize
        self.lanes, self.few = gemm.registers(dtype, target)
        vectors, most = -(-v.o // self.lanes), 2 if self.few else 4
        self.vectors = most if windows.form(v) == COMPACT else -(-vectors // -(-vectors // most))         # of a panel
        self.frame, self.parts = frame(v, self.size), Parts(v, self.size)
        self.count = math.prod(self.frame.taps)
        self.fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %s, ptr %x) nounwind")

    # ---- text
    def at(self, base: str, *terms: tuple[str | int, int], kind: str = "") -> str:
        """The address of an element: base plus the sum of index * stride."""
        for index, stride in terms:
            if index not in ("0", 0) and stride:
                base = self.fn.emit(f"getelementptr {kind or self.kind}, ptr {base}, i64 {self.times(index, stride)}")
        return base

    def times(self, index: str | int, k: int) -> str:
        if isinstance(index, int) or index.lstrip("-").isdigit():
            return str(int(index) * k)
        return index if k == 1 else self.fn.emit(f"mul i64 {index}, {k}")

    def plus(self, a: str, b: str | int) -> str:
        return a if b in (0, "0") else str(b) if a == "0" else self.fn.emit(f"add i64 {a}, {b}")

    def call(self, name: str, pointers: list[str], numbers: list[str | int]) -> None:
        self.fn.line(f"call void @{name}({', '.join([*[f'ptr {p}' for p in pointers], *[f'i64 {n}' for n in numbers]])})")

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

    def depths(self, total: int, body: Callable[[int, int], None]) -> None:
        """`body(start, length)` for as many products as a tile adds up at a time."""
        parts = -(-total // DEPTH)
        for start, end in pairwise([total * i // parts for i in range(parts + 1)]):
            body(start, end - start)

    def zeros(self, to: str, count: int) -> None:
        """`count` elements (and up to 64 more) become 0."""
        with self.fn.loop("0", str(count), 64) as l:
            self.fn.line(f"store <64 x {self.kind}> zeroinitializer, ptr {self.at(to, (l.i, 1))}, align {self.size}")

    def shape(self, rows: int, vectors: int) -> int:
        """The rows of a tile of so many vectors, where there are `rows` in all."""
        most = (gemm.FEW_ROWS if self.few else gemm.ROWS)[vectors]
        most = most if self.frame.compact else min(most, tiles.LINES)
        return -(-rows // -(-rows // most))

    # ---- parts that all forms have
    def write(self) -> None:
        p = self.parts
        self.locate()
        self.tables()
        self.prepare()
        if p.slots == 1:
            self.own("0")
            if p.laid:
                self.zeros(self.laid, p.laid)
            self.repeat(p.units, 1, self.unit)
        else:
            for i in range(1 + p.slots):
                self.entry(self.busy, str(i), "0")
            regions.launch(self.fn, self.name, [("ptr", f"%{n}") for n in "abcsx"], p.slots)
        self.module.functions.append(self.fn.text())
        if p.slots > 1:
            self.chunk()
            self.module.functions.append(self.fn.text())

    def locate(self) -> None:
        """The parts of all."""
        p = self.parts
        self.busy, self.windows, self.places, self.panels = [self.at("%s", (n, 1), kind="i8") for n in (p.busy, p.table, p.places_at, p.panels)]

    def own(self, slot: str) -> None:
        """The parts of a slot."""
        base = self.at("%s", (self.parts.slot, 1), (slot, self.parts.each), kind="i8")
        self.laid, panels, self.sums = [self.at(base, (n, 1), kind="i8") for n in self.parts.own]
        self.panels = panels if self.frame.form == WEIGHTS else self.panels

    def chunk(self) -> None:
        """A chunk of units, in the first slot that nobody is in."""
        p, fn = self.parts, Function(self.module, f"define internal void @{self.name}.chunk(ptr %context, i64 %n) nounwind")
        self.fn = fn
        for i, name in enumerate("abcsx"):
            fn.line(f"%{name} = load ptr, ptr {self.at('%context', (i, 1), kind='ptr')}, align 8")
        self.locate()
        self.module.declare("i64 @llvm.cttz.i64(i64, i1)")
        fn.line("br label %look")
        fn.begin("look")
        taken = fn.emit(f"load atomic i64, ptr {self.busy} monotonic, align 8")
        slot = fn.emit(f"call i64 @llvm.cttz.i64(i64 {fn.emit(f'xor i64 {taken}, -1')}, i1 true)")
        bit = fn.emit(f"shl i64 1, {slot}")
        pair = fn.emit(f"cmpxchg ptr {self.busy}, i64 {taken}, i64 {fn.emit(f'or i64 {taken}, {bit}')} acquire monotonic")
        fn.line(f"br i1 {fn.emit(f'extractvalue {{ i64, i1 }} {pair}, 1')}, label %mine, label %look")
        fn.begin("mine")
        self.own(slot)
        if p.laid:                               # what stands between planes is multiplied too: numbers below the normal range would take long
            used = self.at(self.busy, (1, 1), (slot, 1), kind="i64")
            clean = fn.emit(f"load i64, ptr {used}, align 8")
            fn.line(f"br i1 {fn.emit(f'icmp eq i64 {clean}, 0')}, label %first, label %work")
            fn.begin("first")
            self.zeros(self.laid, p.laid)
            fn.line(f"store i64 1, ptr {used}, align 8")
            fn.line("br label %work")
            fn.begin("work")
        start = fn.emit(f"udiv i64 {self.times('%n', p.units)}, {p.slots}")
        end = fn.emit(f"udiv i64 {self.times(self.plus('%n', 1), p.units)}, {p.slots}")
        with fn.loop(start, end) as l:
            self.unit(l.i)
        fn.line(f"atomicrmw xor ptr {self.busy}, i64 {bit} release")

    def prepare(self) -> None:                         # noqa: B027  (most forms have nothing to do here)
        """What is done once, before the units."""

    @abstractmethod
    def unit(self, u: str) -> None:
        """One unit of the work, in a slot of its own."""

    def digits(self, u: str, *counts: int) -> list[str]:
        """A number by its places: the last one counts fastest, the first has no end."""
        out: list[str] = []
        for n in reversed(counts):
            out.append("0" if n == 1 else self.fn.emit(f"urem i64 {u}, {n}"))
            u = u if n == 1 else self.fn.emit(f"udiv i64 {u}, {n}")
        return [u, *reversed(out)]

    def block(self, u: str) -> tuple[str, str, str, str, str]:
        """(group, first example, first place) of a block of results. The last one along an axis begins so early that it is whole: results that it has in
        common with the one before are made twice.
        """
        (deep, high, wide), f, examples = self.frame.places, self.frame, self.parts.examples
        g, n, z, y, x = self.digits(u, self.v.n // examples, deep, -(-high // f.rows), -(-wide // f.cols))
        return g, self.times(n, examples), z, self.begin(y, f.rows, high), self.begin(x, f.cols, wide)

    def begin(self, i: str, size: int, total: int) -> str:
        start = self.times(i, size)
        if total % size == 0:
            return start
        self.module.declare("i64 @llvm.umin.i64(i64, i64)")
        return self.fn.emit(f"call i64 @llvm.umin.i64(i64 {start}, i64 {total - size})")

    def tables(self) -> None:
        """Where the windows of a block begin, for every channel and tap; and from there its places."""
        f, v = self.frame, self.v
        taps, channel, channels = ([0], v.x_steps[2], v.c) if direct(v) else (f.of_taps(), f.channel, f.channels)
        constants = f"@{self.name}.taps"
        self.module.globals.append(f"{constants} = internal constant [{len(taps)} x i64] [{', '.join([f'i64 {t}' for t in taps])}]")
        with self.fn.loop("0", str(channels)) as c, self.fn.loop("0", str(len(taps))) as t:
            place = self.fn.emit(f"load i64, ptr {self.at(constants, (t.i, 1), kind='i64')}, align 8")
            self.entry(self.windows, self.plus(self.times(c.i, len(taps)), t.i), self.plus(place, self.times(c.i, channel)))
        if self.parts.places:
            with self.fn.loop("0", str(self.parts.examples)) as e, self.fn.loop("0", str(f.rows)) as y, self.fn.loop("0", str(f.cols)) as x:
                index = self.plus(self.times(self.plus(self.times(e.i, f.rows), y.i), f.cols), x.i)
                row = self.plus(self.times(e.i, f.channels * f.channel), self.times(y.i, f.width * f.steps[1]))
                self.entry(self.places, index, self.plus(row, self.times(x.i, f.steps[2])))

    def entry(self, table: str, index: str, value: str) -> None:
        self.fn.line(f"store i64 {value}, ptr {self.at(table, (index, 1), kind='i64')}, align 8")

    def lay(self, source: str, to: str, channels: int, step: int, z: str, y: str, x: str) -> None:
        """Rows of x for the block whose first place is (z, y, x): `channels` channels that lie `step` apart."""
        name = windows.layout(self.module, self.name, self.frame, self.kind, self.lanes)
        first = [self.plus(self.times(i, s), -n) for i, s, n in zip((z, y, x), self.frame.steps, self.frame.low, strict=True)]
        self.call(name, [source, to], [channels, step, *first])

    def in_channels(self, body: Callable[[str, int, bool], None]) -> None:
        """`body(first, how many, whether to add)` for the channels of x that are laid out together."""
        size = self.frame.channels
        whole, rest = divmod(self.v.c, size)
        body("0", size, False)
        if whole > 1:
            with self.fn.loop(str(size), str(whole * size), size) as l:
                body(l.i, size, True)
        if rest:
            body(str(whole * size), rest, True)


class _Compact(_Writer):
    """Few channels of the result, or single elements as windows: places lie along the vectors."""

    def unit(self, u: str) -> None:
        v, f = self.v, self.frame
        if direct(v):
            g, n = self.digits(u, v.n)
            x, out = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]))
            self.product(self.at("%b", (g, v.w_steps[0])), x, out, v.c, math.prod(v.count), False)
            return
        g, n, *first = self.block(u)
        x, w = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at("%b", (g, v.w_steps[0]))
        out = self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]), *zip(first, (f.places[1] * f.places[2], f.places[2], 1), strict=True))

        def channels(c: str, count: int, more: bool) -> None:
            self.lay(self.at(x, (c, v.x_steps[2])), self.laid, count, v.x_steps[2], *first)
            self.product(self.at(w, (c, self.count)), self.laid, out, count * self.count, f.rows * f.cols, more)

        self.in_channels(channels)

    def product(self, w: str, rows: str, out: str, depth: int, places: int, more: bool) -> None:
        """out (o, places) (+)= w (o, depth) times the rows that the table names."""
        v = self.v

        def panel(p: str, count: int) -> None:
            vectors, tail = -(-count // self.lanes), count % self.lanes

            def part(start: int, length: int) -> None:
                def tile(o: str, high: int) -> None:
                    name = tiles.columns(self.module, self.kind, self.lanes, high, vectors, more or start > 0, tail > 0)
                    self.call(name, [self.at(w, (o, v.w_steps[1]), (start, 1)), self.at(rows, (p, 1)), self.at(out, (o, v.out_steps[2]), (p, 1)), table],
                              [length, v.w_steps[1], v.out_steps[2], tail])

                table = self.at(self.windows, (start, 1), kind="i64")
                self.parted(v.o, self.shape(v.o, vectors), tile)

            self.depths(depth, part)

        self.parted(places, self.lanes * self.vectors, panel)


class _Points(_Writer):
    """Channels of the result lie along the vectors: the weights become panels once, the sums of a block are turned at its end."""

    def prepare(self) -> None:
        v, lines = self.v, self.v.c * self.count

        def group(g: str) -> None:
            def panel(o: str, some: int) -> None:
                source, to = self.at("%b", (g, v.w_steps[0]), (o, v.w_steps[1])), self.at(self.panels, (g, (lines + PANEL) * self.parts.wide), (o, lines))
                self.call(gemm.across(self.module, self.kind, self.lanes), [source, to], [lines, v.w_steps[1], some, -(-some // self.lanes) * self.lanes])

            self.parted(v.o, self.lanes * self.vectors, panel)

        self.repeat(v.groups, 1, group)

    def unit(self, u: str) -> None:
        v, f, wide = self.v, self.frame, self.parts.wide
        g, n, *first = self.block(u)
        lines, many, examples = v.c * self.count, f.rows * f.cols, self.parts.examples
        x, panels = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at(self.panels, (g, (lines + PANEL) * wide))

        def channels(c: str, count: int, more: bool) -> None:
            self.repeat(examples, 1, lambda e: self.lay(self.at(x, (e, v.x_steps[0]), (c, v.x_steps[2])), self.at(self.laid, (e, f.channels * f.channel)),
                                                        count, v.x_steps[2], *first))
            self.parted(v.o, self.lanes * self.vectors, lambda o, some: self.depths(
                count * self.count, lambda start, length: product(o, some, c, start, length, more or start > 0)))

        def product(o: str, some: int, c: str, start: int, length: int, more: bool) -> None:
            vectors = -(-some // self.lanes)
            table = self.at(self.windows, (start, 1), kind="i64")
            weights = self.at(panels, (o, lines), (c, self.count * vectors * self.lanes), (start, vectors * self.lanes))

            def tile(p: str, high: int) -> None:
                name = tiles.points(self.module, self.kind, self.lanes, high, vectors, more)
                self.call(name, [self.laid, weights, self.at(self.sums, (p, wide), (o, 1)), self.at(self.places, (p, 1), kind="i64"), table], [length, wide])

            self.parted(examples * many, self.shape(examples * many, vectors), tile)

        self.in_channels(channels)
        out = self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]), *zip(first, (f.places[1] * f.places[2], f.places[2], 1), strict=True))
        name = tiles.turned(self.module, self.kind, self.lanes)
        self.repeat(examples, 1, lambda e: self.call(name, [self.at(self.sums, (e, many * wide)), self.at(out, (e, v.out_steps[0]))],
                                                     [many, v.o, wide, v.out_steps[2]]))


class _Weights(_Writer):
    """More taps than results: the results of each channel are rows, and the weights of some places become panels."""

    def unit(self, u: str) -> None:
        size, n, fn = self.frame.channels, self.v.n, self.fn
        g, block = self.digits(u, -(-n // size))
        if n % size == 0 or n < size:
            self.channels(g, self.times(block, size), min(n, size))
            return
        whole, rest, done = fn.fresh("whole"), fn.fresh("rest"), fn.fresh("done")
        fn.line(f"br i1 {fn.emit(f'icmp ult i64 {block}, {n // size}')}, label %{whole}, label %{rest}")
        for label, count in ((whole, size), (rest, n % size)):
            fn.begin(label)
            self.channels(g, self.times(block, size), count)
            fn.line(f"br label %{done}")
        fn.begin(done)

    def channels(self, g: str, first: str, count: int) -> None:
        """The results of a block of channels: sums over all examples and places."""
        v, f, wide = self.v, self.frame, self.parts.wide
        x, w = self.at("%a", (first, v.x_steps[0]), (g, v.x_steps[1])), self.at("%b", (g, v.w_steps[0]))
        _, high, broad = f.places
        self.zeros(self.sums, count * self.count * wide)

        def block(e: str, examples: int, z: str, y: str, rows: int, c: str, cols: int) -> None:
            many = rows * cols

            def lay(i: str) -> None:
                self.lay(self.at(x, (self.plus(e, i), v.x_steps[2])), self.at(self.laid, (i, f.channels * f.channel)), count, v.x_steps[0], z, y, c)

            def panel(o: str, some: int) -> None:
                width = -(-some // self.lanes) * self.lanes

                def one(i: str) -> None:                 # a panel may run over its end, into what is written next
                    source = self.at(w, (self.plus(e, i), v.w_steps[2]), (o, v.w_steps[1]), (z, high * broad), (y, broad), (c, 1))
                    to = self.at(self.panels, (o, examples * many), (i, many * width))
                    self.call(gemm.across(self.module, self.kind, self.lanes), [source, to], [many, v.w_steps[1], some, width])

                self.repeat(examples, 1, one)

            def product(o: str, some: int) -> None:
                vectors = -(-some // self.lanes)

                def part(start: int, length: int) -> None:
                    weights = self.at(self.panels, (o, examples * many), (start, vectors * self.lanes))
                    table = self.at(self.places, (start, 1), kind="i64")

                    def tile(r: str, rows_: int) -> None:
                        name = tiles.points(self.module, self.kind, self.lanes, rows_, vectors, True)
                        self.call(name, [self.laid, weights, self.at(self.sums, (r, wide), (o, 1)), self.at(self.windows, (r, 1), kind="i64"), table], [length, wide])

                    self.parted(count * self.count, self.shape(count * self.count, vectors), tile)

                self.depths(examples * many, part)

            self.repeat(examples, 1, lay)
            self.parted(v.o, self.lanes * self.vectors, panel)
            self.parted(v.o, self.lanes * self.vectors, product)

        self.parted(v.c, self.parts.examples, lambda e, examples: self.repeat(f.places[0], 1, lambda z: self.parted(high, f.rows, lambda y, rows: self.parted(
            broad, f.cols, lambda c, cols: block(e, examples, z, y, rows, c, cols)))))
        out = self.at("%c", (first, v.out_steps[0]), (g, v.out_steps[1]))
        with self.fn.loop("0", str(count)) as n:
            self.call(tiles.turned(self.module, self.kind, self.lanes), [self.at(self.sums, (n.i, self.count * wide)), self.at(out, (n.i, v.out_steps[0]))],
                      [self.count, v.o, wide, v.out_steps[2]])
