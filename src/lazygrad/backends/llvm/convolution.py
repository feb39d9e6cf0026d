"""Convolutions as native code: products of tiles in registers, whose factors are windows that are never written out.

In: a Conv step, its dtype, the Target. Out: a function `(ptr x, ptr w, ptr out, ptr scratch, ptr args)`, and the bytes of its scratch memory.
Scratch memory holds a block of rows of x (`windows.BLOCK` bytes), tables of where windows and places begin in it, and, where channels of the result lie
along the vectors, the weights in panels and the sums of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ...ir.program import Conv
from . import convolution_tiles as tiles
from . import gemm, windows
from .target import Target
from .text import Function, Module, element
from .windows import COMPACT, POINTS, WEIGHTS, direct, frame

DEPTH = 1200                     # products that a tile adds up at a time
BESIDE = 512                     # places of several examples that are summed together
PANEL = 64                       # channels of the result in a panel, of any target
PAD = 4096                       # bytes behind every part of the scratch memory: vectors and squares run over its end


def scratch(v: Conv, dtype: np.dtype) -> int:
    """The bytes of scratch memory of a step, whatever the target."""
    return _Parts(v, dtype.itemsize).total


class _Parts:
    """Where the parts of the scratch memory begin, in bytes."""

    def __init__(self, v: Conv, size: int) -> None:
        f = frame(v, size)
        taps, alone = math.prod(f.taps), direct(v)
        self.wide = -(-v.o // PANEL) * PANEL
        self.examples = 1                                # laid out together: where all places of several fit
        if f.form == WEIGHTS and (f.rows, f.cols) == f.places[1:]:
            self.examples = max(min(v.c, windows.BLOCK // (f.channels * f.channel * size), BESIDE // (f.rows * f.cols)), 1)
        self.places = 0 if f.compact else self.examples * f.rows * f.cols
        self.laid = 0 if alone else self.examples * f.channels * f.channel
        lines = 0 if f.compact else (self.places if f.form == WEIGHTS else v.c * taps) + PANEL
        sums = 0 if f.compact else self.places if f.form == POINTS else f.channels * taps
        self.total = 0
        sizes = (8 * (v.c if alone else f.channels * taps), 8 * self.places, self.laid * size, lines * self.wide * size, sums * self.wide * size)
        self.starts = [self._part(n) for n in sizes]

    def _part(self, nbytes: int) -> int:
        start = self.total
        self.total += -(-(nbytes + PAD) // 64) * 64 if nbytes else 0
        return start


def write(module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
    """Add the convolution to the module as function `name`."""
    {COMPACT: _Compact, POINTS: _Points, WEIGHTS: _Weights}[windows.form(v)](module, name, v, dtype, target).write()


class _Writer:
    """One convolution being written."""

    def __init__(self, module: Module, name: str, v: Conv, dtype: np.dtype, target: Target) -> None:
        self.module, self.name, self.v = module, name, v
        self.kind, self.size = element(dtype), dtype.itemsize
        self.lanes, self.few = gemm.registers(dtype, target)
        self.vectors = 2 if self.few else 4
        self.frame, self.parts = frame(v, self.size), _Parts(v, self.size)
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

    def starts(self, total: int, size: int, body: Callable[[str], None]) -> None:
        """`body(start)` for parts of `size` that cover `total`: the last one begins so early that it is whole."""
        count = -(-total // size)
        if count * size == total or count == 1:
            self.repeat(count, size, body)
            return
        self.module.declare("i64 @llvm.umin.i64(i64, i64)")
        with self.fn.loop("0", str(count * size), size) as l:
            body(self.fn.emit(f"call i64 @llvm.umin.i64(i64 {l.i}, i64 {total - size})"))

    def blocks(self, body: Callable[[str, str, str], None]) -> None:
        """`body(z, y, x)` for the first place of every block; results that two blocks have in common are made twice."""
        (deep, high, wide), f = self.frame.places, self.frame
        self.repeat(deep, 1, lambda z: self.starts(high, f.rows, lambda y: self.starts(wide, f.cols, lambda x: body(z, y, x))))

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
        return -(-rows // -(-rows // most))

    # ---- parts that all forms have
    def write(self) -> None:
        self.windows, self.places, self.laid, self.panels, self.sums = [self.at("%s", (n, 1), kind="i8") for n in self.parts.starts]
        self.tables()
        if self.parts.laid:                      # what stands between planes is multiplied too: numbers below the normal range would take long
            self.zeros(self.laid, self.parts.laid)
        self.repeat(self.v.groups, 1, self.group)
        self.module.functions.append(self.fn.text())

    def group(self, g: str) -> None:
        raise NotImplementedError

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

    def group(self, g: str) -> None:
        v, f = self.v, self.frame
        w = self.at("%b", (g, v.w_steps[0]))

        def example(n: str) -> None:
            x, out = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]))
            if direct(v):
                self.product(w, x, out, v.c, math.prod(v.count), False)
                return

            def block(z: str, y: str, c: str) -> None:
                def channels(first: str, count: int, more: bool) -> None:
                    self.lay(self.at(x, (first, v.x_steps[2])), self.laid, count, v.x_steps[2], z, y, c)
                    self.product(self.at(w, (first, self.count)), self.laid, place, count * self.count, f.rows * f.cols, more)

                place = self.at(out, (z, f.places[1] * f.places[2]), (y, f.places[2]), (c, 1))
                self.in_channels(channels)

            self.blocks(block)

        self.repeat(v.n, 1, example)

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

    def group(self, g: str) -> None:
        v, f = self.v, self.frame
        w, lines = self.at("%b", (g, v.w_steps[0])), v.c * self.count

        def panel(o: str, some: int) -> None:
            width = -(-some // self.lanes) * self.lanes
            self.call(gemm.across(self.module, self.kind, self.lanes), [self.at(w, (o, v.w_steps[1])), self.at(self.panels, (o, lines))],
                      [lines, v.w_steps[1], some, width])

        self.parted(v.o, self.lanes * self.vectors, panel)
        many, wide = f.rows * f.cols, self.parts.wide

        def example(n: str) -> None:
            x, out = self.at("%a", (n, v.x_steps[0]), (g, v.x_steps[1])), self.at("%c", (n, v.out_steps[0]), (g, v.out_steps[1]))

            def block(z: str, y: str, c: str) -> None:
                def channels(first: str, count: int, more: bool) -> None:
                    self.lay(self.at(x, (first, v.x_steps[2])), self.laid, count, v.x_steps[2], z, y, c)
                    self.parted(v.o, self.lanes * self.vectors, lambda o, some: self.depths(
                        count * self.count, lambda start, length: product(o, some, first, start, length, more or start > 0)))

                self.in_channels(channels)
                place = self.at(out, (z, f.places[1] * f.places[2]), (y, f.places[2]), (c, 1))
                self.call(tiles.turned(self.module, self.kind, self.lanes), [self.sums, place], [many, v.o, wide, v.out_steps[2]])

            self.blocks(block)

        def product(o: str, some: int, first: str, start: int, length: int, more: bool) -> None:
            vectors = -(-some // self.lanes)
            table = self.at(self.windows, (start, 1), kind="i64")
            weights = self.at(self.panels, (o, lines), (first, self.count * vectors * self.lanes), (start, vectors * self.lanes))

            def tile(p: str, high: int) -> None:
                name = tiles.points(self.module, self.kind, self.lanes, high, vectors, more)
                self.call(name, [self.laid, weights, self.at(self.sums, (p, wide), (o, 1)), self.at(self.places, (p, 1), kind="i64"), table], [length, wide])

            self.parted(many, self.shape(many, vectors), tile)

        self.repeat(v.n, 1, example)


class _Weights(_Writer):
    """More taps than results: the results of each channel are rows, and the weights of some places become panels."""

    def group(self, g: str) -> None:
        self.parted(self.v.n, self.frame.channels, lambda n, count: self.channels(g, n, count))

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
