"""Windows: how a convolution goes over its data, and rows of x laid out so that the windows of a block are rows of memory.

In: a Conv step and the size of an element. Out: its form, its `Frame`, and the function that lays out the rows of a block.
"""

from __future__ import annotations

import math

import numpy as np

from ...ir.program import Conv
from ...ir.record import record
from . import gemm, portions
from .text import Function, Module, suffix, typed

BLOCK = 768 << 10                # bytes of rows of x that are laid out at a time
LINE = 512                       # places of a row at a time, at most
COPIES = 24                      # vectors of the copies of a row that are written out
BESIDE = 512                     # places of several examples that are summed together
PANEL = 64                       # channels of the result in a panel, of any target
SLOTS = 8                        # chunks of units that threads share, at most
PAD = 4096                       # bytes behind every part of the scratch memory: vectors and squares run over its end
ROOM = 16                        # elements: a vector of every target
SHARED, FEW = 4, 32              # blocks of channels of a gradient of weights that threads may share, none of fewer
MANY = 32                        # channels of the result from which they lie along the vectors

COMPACT, POINTS, WEIGHTS = "compact", "points", "weights"


def form(v: Conv) -> str:
    """Which product a step is: out (o, places) = w (o, c taps) rows (c taps, places), with places along the vectors (COMPACT) or the transpose,
    with o along them (POINTS); or, with more taps than results, out (n results, o) = rows (n results, c taps) wᵀ (c taps, o) (WEIGHTS).
    """
    if math.prod(v.taps) > math.prod(v.count):
        return WEIGHTS
    return POINTS if v.o >= MANY and -v.o % 16 <= v.o // 8 and not direct(v) else COMPACT


def direct(v: Conv) -> bool:
    """Whether windows are single elements, all of x in its order."""
    return math.prod(v.taps) == 1 and v.sizes == v.count and not any(v.low) and all([s == 1 or n == 1 for s, n in zip(v.stride, v.count, strict=True)])


@record
class Frame:
    """A convolution over three axes (z, y, x), and the layout of a block: `rows` x `cols` places that are taken `channels` at a time.

    `places` are the results, or the weights where these are more; `taps` are the others. `steps`, `apart`: how far neighbours of both lie apart
    in x. The layout of a channel: for each tap along z rows of x with what is missing around them as 0: `height` rows of `width`. COMPACT has
    these rows once for each tap along x (`copies`) and for each remainder of the taps along y by the step (`phases`), so that the places of
    a block are neighbours.
    """

    form: str
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

    @property
    def compact(self) -> bool:
        return self.form == COMPACT

    @property
    def plane(self) -> int:
        """Elements of a plane, and room behind it for a vector that runs over its end."""
        return self.height * self.width + ROOM

    @property
    def channel(self) -> int:
        """Elements of the layout of a channel."""
        return self.taps[0] * self.copies * len(self.phases) * self.plane

    def of_taps(self) -> list[int]:
        """Where the first place of a block finds the element for each tap, in the layout of a channel."""
        (_, step, _), (_, down, right) = self.steps, self.apart
        out = []
        for d, h, w in np.ndindex(*self.taps):
            if self.compact:
                rows = (d * self.copies + w) * len(self.phases) + self.phases.index(h * down % step)
                out.append(rows * self.plane + h * down // step * self.width)
            else:
                out.append(d * self.plane + h * down * self.width + w * right)
        return out


def _three(v: tuple[int, ...], fill: int) -> tuple[int, int, int]:
    a, b, c = (fill,) * (3 - len(v)) + v
    return a, b, c


def frame(v: Conv, size: int) -> Frame:
    """How a step goes over its data; `size`: bytes of an element."""
    kind = form(v)
    sizes, low = _three(v.sizes, 1), _three(v.low, 0)
    places, taps, steps, apart = _three(v.count, 1), _three(v.taps, 1), _three(v.stride, 1), _three(v.dilation, 1)
    if kind == WEIGHTS:
        places, taps, steps, apart = taps, places, apart, steps
    cols = -(-places[2] // -(-places[2] // LINE))
    compact = kind == COMPACT
    copies = taps[2] if compact else 1
    phases = tuple(sorted({h * apart[1] % steps[1] for h in range(taps[1])})) if compact else (0,)
    width = cols if compact else (cols - 1) * steps[2] + (taps[2] - 1) * apart[2] + 1

    def height(rows: int) -> int:
        return rows + (taps[1] - 1) * apart[1] // steps[1] if compact else (rows - 1) * steps[1] + (taps[1] - 1) * apart[1] + 1

    def nbytes(rows: int) -> int:
        return taps[0] * copies * len(phases) * (height(rows) * width + ROOM) * size

    every = v.c if kind != WEIGHTS else max(-(-v.n // SHARED), min(v.n, FEW))
    channels = max(min(every, BLOCK // nbytes(1)), 1)
    rows = 1
    if cols == places[2]:
        while rows < places[1] and nbytes(rows + 1) * channels <= BLOCK:
            rows += 1
        rows = -(-places[1] // -(-places[1] // rows))
    return Frame(kind, sizes, places, taps, steps, apart, low, rows, cols, channels, copies, phases, height(rows), width)


# ---- scratch memory ----------------------------------------------------------------------------------------------------------------

class Parts:
    """Where the parts of the scratch memory begin, in bytes: those of all, and in each of `slots` slots those of one who works."""

    def __init__(self, v: Conv, size: int) -> None:
        f = frame(v, size)
        taps, alone = math.prod(f.taps), direct(v)
        self.wide = -(-v.o // PANEL) * PANEL
        self.examples = 1                                # laid out together: where all places of several fit
        if not f.compact and (f.rows, f.cols) == f.places[1:]:
            most = min(BLOCK // (f.channels * f.channel * size), BESIDE // (f.rows * f.cols))
            self.examples = max(min(v.c, most), 1) if f.form == WEIGHTS else _divisor(v.n, most if f.places[0] == 1 and f.channels == v.c else 1)
        self.places = 0 if f.compact else self.examples * f.rows * f.cols
        self.laid = 0 if alone else self.examples * f.channels * f.channel
        high, broad = -(-f.places[1] // f.rows), -(-f.places[2] // f.cols)
        self.units = v.groups * (-(-v.n // f.channels) if f.form == WEIGHTS else v.n // self.examples * (1 if alone else f.places[0] * high * broad))
        work = 2.0 * v.n * v.groups * v.o * v.c * math.prod(v.taps) * math.prod(v.count) * size / portions.SPEED
        self.slots = 1 if work < portions.WORTH else max(min(self.units, int(work / portions.PORTION), SLOTS), 1)
        panels = (v.c * taps if f.form == POINTS else self.places) + PANEL
        sums = 0 if f.compact else self.places if f.form == POINTS else f.channels * taps
        self.total = 0
        self.busy, self.table, self.places_at, self.panels = [self._part(n) for n in (
            8 * (1 + self.slots), 8 * (v.c if alone else f.channels * taps), 8 * self.places, v.groups * panels * self.wide * size * (f.form == POINTS))]
        self.slot, self.total = self.total, 0
        own = (self.laid * size, panels * self.wide * size * (f.form == WEIGHTS), sums * self.wide * size)
        self.own = [self._part(n) for n in own]
        self.each, self.total = self.total, self.slot + self.slots * self.total

    def _part(self, nbytes: int) -> int:
        start = self.total
        self.total += -(-(nbytes + PAD) // 64) * 64 if nbytes else 0
        return start


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`."""
    return next((d for d in range(min(n, most), 1, -1) if n % d == 0), 1)


# ---- the layout of a block ------------------------------------------------------------------------------------------------------

def layout(module: Module, owner: str, f: Frame, kind: str, lanes: int) -> str:
    """`(x, to, channels, step, z, y, x0)`: the rows of a block (see Frame), 0 outside of x. Vectors run over the ends of rows, which are written
    in order; behind a plane there is room.
    """
    def build(name: str) -> Function:
        fn = Function(module, f"define internal void @{name}(ptr %a, ptr %to, i64 %channels, i64 %step, i64 %z, i64 %y, i64 %x0) nounwind noinline")
        row = _Row(fn, f, kind, lanes)
        (deep, high, wide), row_step = f.sizes, f.steps[1] if f.compact else 1
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
        self.step = f.steps[2] if f.compact else 1
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
