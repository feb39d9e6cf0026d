"""LLVM IR as text: modules, functions, and `Builder`, the arithmetic of one vector width and element type.

In: operations on SSA names (Python strings). Out: text that needs no optimisation pass. It knows nothing of kernels;
what NumPy means by an operation is said in `scalars` and `backends.math`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np

from .externs import INDEX

REGISTER = {"bool": "i1", "float16": "float", "float32": "float", "float64": "double"}    # float16 lives in float32


@cache
def element(dtype: np.dtype) -> str:
    """The type of one value in a register: bool is i1, float16 is held as float."""
    return REGISTER.get(dtype.name) or f"i{dtype.itemsize * 8}"


@cache
def stored(dtype: np.dtype) -> str:
    """The type of one value in memory: bool is i8, float16 its bits (vectors of half are not everywhere)."""
    return "i16" if dtype.name == "float16" else "i8" if dtype.kind == "b" else element(dtype)


def typed(name: str, lanes: int) -> str:
    """`<lanes x name>`, or `name` itself for a scalar (lanes 0).

    >>> typed("float", 8), typed("i1", 0)
    ('<8 x float>', 'i1')
    """
    return f"<{lanes} x {name}>" if lanes else name


def suffix(name: str, lanes: int) -> str:
    """The overload suffix of an intrinsic: v8f32, i64."""
    short = {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}.get(name, name)
    return f"v{lanes}{short}" if lanes else short


def indices(values: Sequence[int]) -> str:
    """A shuffle mask."""
    return f"<{len(values)} x i32> <{', '.join(f'i32 {v}' for v in values)}>"


def float_text(value: float, name: str) -> str:
    """A float constant of type `name` ("float", "double") as the hexadecimal LLVM wants.

    >>> float_text(1.0, "float"), float_text(0.1, "float")
    ('0x3FF0000000000000', '0x3FB99999A0000000')
    """
    if name == "float" and math.isfinite(value):
        value = float(np.float32(value)) if abs(value) < 3.5e38 else math.copysign(math.inf, value)
    if math.isnan(value):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Module:
    """A text under construction: declarations, globals and functions, each named once. `has`: see `target.Target`."""

    def __init__(self, has: frozenset[str] = frozenset()) -> None:
        self.has = has                             # instruction sets of the target: "fma", "avx2", ...
        self.declarations: dict[str, None] = {}
        self.globals: list[str] = []
        self.functions: list[str] = []
        self.helpers: set[str] = set()

    def declare(self, text: str) -> None:
        """Add `declare TYPE @name(TYPES)` once."""
        self.declarations[f"declare {text}"] = None

    def constant(self, name: str, value: str) -> str:
        """The address of a constant, `TYPE VALUE`, made once; returns `name`."""
        if name not in self.helpers:
            self.helpers.add(name)
            self.globals.append(f"{name} = internal constant {value}")
        return name

    def helper(self, name: str, build: Callable[[str], Function]) -> str:
        """The function called `name`, made by `build(name)` at its first use (out-of-line code that many callers share)."""
        if name not in self.helpers:
            self.helpers.add(name)
            self.functions.append(build(name).text())
        return name

    def text(self) -> str:
        return "\n".join([*self.declarations, *self.globals, "", *self.functions])


class Function:
    """A function being written: a list of chunks of lines, so that code can still be added before an open loop.

    `extern(name)` gives the address of an outside function, read from the table that `args[0]` points to; `args` is
    the function's parameter that holds the args pointer.
    """

    def __init__(self, module: Module, head: str, args: str = "%x") -> None:
        self.module, self.head, self.args = module, head, args
        self.count = 0
        self.inlined: dict[str, int] = {}          # how often a function was written out here
        self.block = "entry"
        self.end = "ret void"                      # the last instruction
        self.entry: list[str] = ["entry:"]
        self.chunk: list[str] = []
        self.chunks = [self.entry, self.chunk]
        self._externs: dict[str, str] = {}

    # ---- lines and blocks
    def fresh(self, prefix: str = "v") -> str:
        """A name that is not yet used, without its sigil."""
        self.count += 1
        return f"{prefix}{self.count}"

    def emit(self, text: str) -> str:
        """A line `%vN = text`; returns `%vN`."""
        self.count += 1
        name = f"%v{self.count}"
        self.chunk.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        self.chunk.append("  " + text)

    def begin(self, label: str) -> None:
        """Start the basic block `label` (its predecessor must have ended)."""
        self.chunk.append(f"{label}:")
        self.block = label

    def split(self) -> list[str]:
        """Close the current chunk and return it: lines put into it later still run before what follows."""
        closed = self.chunk
        self.chunk = []
        self.chunks.append(self.chunk)
        return closed

    @contextmanager
    def inside(self, chunk: list[str]) -> Iterator[None]:
        """Write into an earlier chunk for a while."""
        kept, block, self.chunk = self.chunk, self.block, chunk
        try:
            yield
        finally:
            self.chunk, self.block = kept, block

    @contextmanager
    def loop(self, start: str, stop: str, step: int = 1, carried: Sequence[tuple[str, str]] = ()) -> Iterator[Counted]:
        """`for i in range(start, stop, step)`, run at least once: `with fn.loop("0", n) as l:` use `l.i`, set `l.next`.

        Not within `inside`. `l.before` is the chunk that ends where the loop begins.

        `carried` are (type, initial value) pairs; `l.values` hold them inside, `l.next` (a list of the same length) is
        what the next step gets, and after the loop `l.next` are their last values.
        """
        before, head = self.fresh("before"), self.fresh("head")
        outer = self.split()
        self.line(f"br label %{before}")
        self.begin(before)
        self.line(f"br label %{head}")
        self.begin(head)
        loop = Counted("%" + self.fresh("i"), ["%" + self.fresh("c") for _ in carried], outer)
        hole = len(self.chunk)
        chunk = self.chunk
        chunk.append("")
        yield loop
        following = self.emit(f"add nuw nsw i64 {loop.i}, {step}")
        again = self.emit(f"icmp slt i64 {following}, {stop}")
        done, latch = self.fresh("done"), self.block
        self.line(f"br i1 {again}, label %{head}, label %{done}")
        phis = [f"  {loop.i} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]"]
        for (kind, initial), value, after in zip(carried, loop.values, loop.next, strict=True):
            phis.append(f"  {value} = phi {kind} [ {initial}, %{before} ], [ {after}, %{latch} ]")
        chunk[hole] = "\n".join(phis)
        self.begin(done)

    @contextmanager
    def tested(self, carried: Sequence[tuple[str, str]]) -> Iterator[Tested]:
        """`while test:`, as `loop` is `for`: inside, `l.enter(condition)` ends the loop where the condition fails.

        After the loop `l.values` are what the last step that ran left in `l.next`.
        """
        before, head, step, done = self.fresh("before"), self.fresh("head"), self.fresh("step"), self.fresh("done")
        outer = self.split()
        self.line(f"br label %{before}")
        self.begin(before)
        self.line(f"br label %{head}")
        self.begin(head)
        loop = Tested(self, step, done, "%" + self.fresh("i"), ["%" + self.fresh("c") for _ in carried], outer)
        hole, chunk = len(self.chunk), self.chunk
        chunk.append("")
        yield loop
        following = self.emit(f"add nuw nsw i64 {loop.i}, 1")
        latch = self.block
        self.line(f"br label %{head}")
        phis = [f"  {loop.i} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]"]
        for (kind, initial), value, after in zip(carried, loop.values, loop.next, strict=True):
            phis.append(f"  {value} = phi {kind} [ {initial}, %{before} ], [ {after}, %{latch} ]")
        chunk[hole] = "\n".join(phis)
        self.begin(done)

    def choose(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str], kind: str) -> str:
        """A value of type `kind` from one of two branches; only the one taken runs."""
        a, b, join = self.fresh("then"), self.fresh("else"), self.fresh("join")
        self.line(f"br i1 {condition}, label %{a}, label %{b}")
        self.begin(a)
        x, from_a = then(), self.block
        self.line(f"br label %{join}")
        self.begin(b)
        y, from_b = otherwise(), self.block
        self.line(f"br label %{join}")
        self.begin(join)
        return self.emit(f"phi {kind} [ {x}, %{from_a} ], [ {y}, %{from_b} ]")

    # ---- outside functions
    def extern(self, name: str) -> str:
        """The address of outside function `name`, loaded at the entry of this function."""
        found = self._externs.get(name)
        if found is None:
            with self.inside(self.entry):
                table = self._externs.get("") or self.emit(f"load ptr, ptr {self.args}, align 8")
                self._externs[""] = table
                place = self.emit(f"getelementptr ptr, ptr {table}, i64 {INDEX[name]}")
                found = self._externs[name] = self.emit(f"load ptr, ptr {place}, align 8")
        return found

    def text(self) -> str:
        lines = [line for chunk in self.chunks for line in chunk]
        return "\n".join([f"{self.head} {{", *lines, f"  {self.end}", "}", ""])


class Counted:
    """A loop under construction: its counter `i`, carried `values`, their `next` values, the chunk `before` it."""

    def __init__(self, i: str, values: list[str], before: list[str]) -> None:
        self.i, self.values, self.next, self.before = i, values, list(values), before


class Tested(Counted):
    """A loop with a test under construction."""

    def __init__(self, fn: Function, step: str, done: str, i: str, values: list[str], before: list[str]) -> None:
        super().__init__(i, values, before)
        self.fn, self.step, self.done = fn, step, done

    def enter(self, condition: str) -> None:
        """The test is made: what follows is the step."""
        self.fn.line(f"br i1 {condition}, label %{self.step}, label %{self.done}")
        self.fn.begin(self.step)


class Builder:
    """Arithmetic on SSA values of one float or integer dtype and one width (`lanes` 0 is a scalar).

    `kind` is the element's type, `type` the value's type, `itype` the integers of the same width, `mask` its i1s. Float
    operations may be contracted into fused multiply-adds, but for the exact ones (`xadd`, `xsub`, `xmul`). For
    integer dtypes `type` equals `itype` and only the integer operations apply. float16 values are held as float32.
    """

    def __init__(self, fn: Function, lanes: int, dtype: np.dtype) -> None:
        self.fn, self.lanes, self.dtype = fn, lanes, np.dtype(dtype)
        self.kind = element(self.dtype)
        self.floating = self.kind in ("float", "double")
        self.single, self.widens = self.kind == "float", True
        self.ikind = {"float": "i32", "double": "i64"}.get(self.kind, self.kind)
        self.bits = int(self.ikind[1:])
        self.type, self.itype, self.mask = (typed(t, lanes) for t in (self.kind, self.ikind, "i1"))
        self.emit = fn.emit

    def like(self, dtype: np.dtype) -> Builder:
        """The builder of another dtype in the same function and width."""
        return Builder(self.fn, self.lanes, dtype)

    # ---- constants
    def const(self, value: float) -> str:
        """A number of this dtype in every lane."""
        if self.floating:
            text = float_text(float(value), self.kind)
        elif self.kind == "i1":
            text = "true" if value else "false"
        else:
            text = str(int(value))
        return f"splat ({self.kind} {text})" if self.lanes else text

    def iconst(self, value: int) -> str:
        """An integer as wide as this dtype; bit patterns may be given unsigned."""
        if value >= 1 << (self.bits - 1):
            value -= 1 << self.bits
        return f"splat ({self.ikind} {value})" if self.lanes else str(value)

    # ---- floats, contraction allowed
    def _float(self, op: str, a: str, b: str, flags: str = "contract ") -> str:
        return self.emit(f"{op} {flags}{self.type} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self._float("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self._float("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self._float("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self._float("fdiv", a, b, "")

    # ---- floats, exactly as written
    def xadd(self, a: str, b: str) -> str:
        return self._float("fadd", a, b, "")

    def xsub(self, a: str, b: str) -> str:
        return self._float("fsub", a, b, "")

    def xmul(self, a: str, b: str) -> str:
        return self._float("fmul", a, b, "")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, fused where the target has the instruction (llvm.fmuladd)."""
        return self.intrinsic("fmuladd", a, b, c)

    xfma = fma

    def _magic(self, bias: float) -> str:
        """1.5 * 2**(bits of the fraction): adding it rounds to an integer, which then stands in the low bits."""
        return self.const(1.5 * 2.0 ** (23 if self.single else 52) + bias)

    def nearest(self, x: str, factor: float, bias: float = 0.0) -> tuple[str, str]:
        """The integer n nearest to x * factor, as a float, and what `nearest_bits` takes the low bits of n + bias from."""
        magic = self._magic(bias)
        t = self.fma(x, self.const(factor), magic)
        return self.xsub(t, magic), t

    def nearest_bits(self, t: str) -> str:
        """An integer whose low bits are those of n + bias of `nearest`."""
        return self.to_int(t)

    def nearest_integer(self, x: str, factor: float) -> str:
        """`nearest_bits` of the integer nearest to x * factor."""
        return self.to_int(self.fma(x, self.const(factor), self._magic(0.0)))

    def intrinsic(self, name: str, *args: str) -> str:
        """A call of `llvm.NAME` on values of this type."""
        full = f"llvm.{name}.{suffix(self.kind, self.lanes)}"
        self.fn.module.declare(f"{self.type} @{full}({', '.join([self.type] * len(args))})")
        return self.emit(f"call {self.type} @{full}({', '.join(f'{self.type} {a}' for a in args)})")

    def neg(self, a: str) -> str:
        return self.emit(f"fneg {self.type} {a}")

    def abs(self, a: str) -> str:
        return self.intrinsic("fabs", a)

    def sqrt(self, a: str) -> str:
        return self.intrinsic("sqrt", a)

    def rint(self, a: str) -> str:
        """To the nearest integer, ties to even."""
        return self.intrinsic("rint", a)

    def floor(self, a: str) -> str:
        return self.intrinsic("floor", a)

    def ceil(self, a: str) -> str:
        return self.intrinsic("ceil", a)

    def trunc(self, a: str) -> str:
        return self.intrinsic("trunc", a)

    def copysign(self, a: str, b: str) -> str:
        """The magnitude of a with the sign of b."""
        return self.intrinsic("copysign", a, b)

    # ---- comparisons, masks, selections
    def cmp(self, predicate: str, a: str, b: str) -> str:
        """A float comparison: oeq, olt, ogt, ..., une, uno, ult, ...; a mask."""
        return self.emit(f"fcmp {predicate} {self.type} {a}, {b}")

    def icmp(self, predicate: str, a: str, b: str) -> str:
        """An integer comparison: eq, ne, slt, sgt, ult, ...; a mask."""
        return self.emit(f"icmp {predicate} {self.itype} {a}, {b}")

    def select(self, mask: str, a: str, b: str) -> str:
        """a where the mask is true, else b."""
        return self.emit(f"select {self.mask} {mask}, {self.type} {a}, {self.type} {b}")

    def iselect(self, mask: str, a: str, b: str) -> str:
        """`select` for integers as wide as this dtype."""
        return self.emit(f"select {self.mask} {mask}, {self.itype} {a}, {self.itype} {b}")

    def mask_const(self, value: bool) -> str:
        text = "true" if value else "false"
        return f"splat (i1 {text})" if self.lanes else text

    def mask_and(self, a: str, b: str) -> str:
        return self.emit(f"and {self.mask} {a}, {b}")

    def mask_or(self, a: str, b: str) -> str:
        return self.emit(f"or {self.mask} {a}, {b}")

    def mask_not(self, a: str) -> str:
        return self.emit(f"xor {self.mask} {a}, {self.mask_const(True)}")

    def any(self, mask: str) -> str:
        """Whether the mask holds in any lane: one i1."""
        if not self.lanes:
            return mask
        name = f"llvm.vector.reduce.or.v{self.lanes}i1"
        self.fn.module.declare(f"i1 @{name}({self.mask})")
        return self.emit(f"call i1 @{name}({self.mask} {mask})")

    def if_any(self, mask: str, slow: Callable[[], str], fast: str) -> str:
        """`fast` when no lane of the mask holds, else `slow()`, which runs only then (for all lanes)."""
        return self.fn.choose(self.any(mask), slow, lambda: fast, self.type)

    # ---- integers as wide as this dtype
    def _integer(self, op: str, a: str, b: str) -> str:
        return self.emit(f"{op} {self.itype} {a}, {b}")

    def iadd(self, a: str, b: str) -> str:
        return self._integer("add", a, b)

    def isub(self, a: str, b: str) -> str:
        return self._integer("sub", a, b)

    def imul(self, a: str, b: str) -> str:
        return self._integer("mul", a, b)

    def iand(self, a: str, b: str) -> str:
        return self._integer("and", a, b)

    def ior(self, a: str, b: str) -> str:
        return self._integer("or", a, b)

    def ixor(self, a: str, b: str) -> str:
        return self._integer("xor", a, b)

    def shl(self, a: str, b: str) -> str:
        return self._integer("shl", a, b)

    def lshr(self, a: str, b: str) -> str:
        return self._integer("lshr", a, b)

    def ashr(self, a: str, b: str) -> str:
        return self._integer("ashr", a, b)

    # ---- between floats and the integers of the same width
    def to_int(self, a: str) -> str:
        """The bits of a float."""
        return self.emit(f"bitcast {self.type} {a} to {self.itype}")

    def to_float(self, a: str) -> str:
        """The float with these bits."""
        return self.emit(f"bitcast {self.itype} {a} to {self.type}")

    def float_to_int(self, a: str) -> str:
        """Truncated to a signed integer; an arbitrary (but fixed) value where it does not fit or is NaN."""
        return self.freeze(self.emit(f"fptosi {self.type} {a} to {self.itype}"))

    def int_to_float(self, a: str) -> str:
        """The nearest float to a signed integer."""
        return self.emit(f"sitofp {self.itype} {a} to {self.type}")

    def freeze(self, a: str) -> str:
        """An integer value that is no longer poison."""
        return self.emit(f"freeze {self.itype} {a}")

    # ---- lanes
    def extract(self, a: str, lane: int) -> str:
        """The element of one lane (the value itself for a scalar)."""
        return self.emit(f"extractelement {self.type} {a}, i64 {lane}") if self.lanes else a

    def splat(self, a: str) -> str:
        """A scalar in every lane."""
        if not self.lanes:
            return a
        one = self.emit(f"insertelement {self.type} poison, {self.kind} {a}, i64 0")
        return self.emit(f"shufflevector {self.type} {one}, {self.type} poison, <{self.lanes} x i32> zeroinitializer")

    def extern(self, name: str, *args: str) -> str:
        """An outside function of this float type, called once per lane: `b.extern("expf", x)`."""
        place = self.fn.extern(name)
        if not self.lanes:
            return self.emit(f"call {self.kind} {place}({', '.join(f'{self.kind} {a}' for a in args)})")
        out = "poison"
        for lane in range(self.lanes):
            parts = ", ".join(f"{self.kind} {self.extract(a, lane)}" for a in args)
            value = self.emit(f"call {self.kind} {place}({parts})")
            out = self.emit(f"insertelement {self.type} {out}, {self.kind} {value}, i64 {lane}")
        return out

    def poly(self, x: str, coefficients: Sequence[float]) -> str:
        """Horner: coefficients from the highest power to the constant."""
        total = self.const(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.const(c))
        return total

    # ---- functions
    def out_of_line(self, name: str, f: Callable[..., str], *xs: str) -> str:
        """f(b, *xs) as a call of a function of the module, written once for each name, width and type."""
        symbol = f"lazygrad.{name}.{'v' + str(self.lanes) if self.lanes else 's'}{suffix(self.kind, 0)}"

        def build(symbol: str) -> Function:
            names = [f"%x{k}" for k in range(len(xs))]
            head = f"define internal {self.type} @{symbol}({', '.join(f'{self.type} {n}' for n in names)}) nounwind"
            fn = Function(self.fn.module, head)
            fn.end = f"ret {self.type} {f(Builder(fn, self.lanes, self.dtype), *names)}"
            return fn

        self.fn.module.helper(symbol, build)
        return self.emit(f"call {self.type} @{symbol}({', '.join(f'{self.type} {x}' for x in xs)})")

    def in_double(self, f: Callable[..., str], *xs: str) -> str:
        """f at float64 for float32 values: widened, at most 8 lanes at a time (more do not fit the registers), rounded."""
        if self.lanes <= 8:
            d = self.like(np.dtype("float64"))
            wide = [self.emit(f"fpext {self.type} {x} to {d.type}") for x in xs]
            return self.emit(f"fptrunc {d.type} {f(d, *wide)} to {self.type}")
        half = Builder(self.fn, self.lanes // 2, self.dtype)
        parts = []
        for start in (0, half.lanes):
            mask = indices(range(start, start + half.lanes))
            parts.append(half.in_double(f, *(self.emit(f"shufflevector {self.type} {x}, {self.type} poison, {mask}") for x in xs)))
        return self.emit(f"shufflevector {half.type} {parts[0]}, {half.type} {parts[1]}, {indices(range(self.lanes))}")

    def reduce_large(self, x: str) -> tuple[str, str, str]:
        """r in two parts and n modulo 4 with x = n pi/2 + r, for a finite x of any size from 2**16 on."""
        from .angles import reduce_lanes

        return reduce_lanes(self, x)
