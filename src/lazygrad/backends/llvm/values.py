"""Values: the SSA value of every Scalar of a kernel, emitted once, in the outermost loop where it is known.

In: Scalars, the open loops (scopes) and, inside a vector loop, its lanes. Out: SSA names; loads by stride (vector
load, reverse, gather). It does not know statements: `kernels` opens scopes, stores and accumulates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from ...ir.kernel import Kernel
from ...ir.record import record
from ...ir.scalar import CARRY, CAST, CONST, FLOORDIV, I64, LINEAR, LOAD, MOD, VAR, Scalar, bounds, value_of
from . import scalars
from .text import Builder, Function, stored, suffix, typed

INDEX = frozenset({LINEAR, FLOORDIV, MOD, VAR})
I32 = np.dtype("int32")
COMPARISONS = frozenset({"eq", "ne", "lt", "le"})
VOLATILE = 1                         # dependence bit of what reads a buffer that the kernel writes


def parts(i: Scalar) -> tuple[int, list[tuple[Scalar, int]]]:
    """An index as constant and (atom, coefficient) pairs."""
    if i.op is LINEAR:
        return i.params[0], list(zip(i.args, i.params[1], strict=True))
    return 0, [(i, 1)]


def numbers(values: Iterable[int], kind: str = "i32") -> str:
    """A constant vector: `<i32 0, i32 1, ...>`."""
    return "<" + ", ".join([f"{kind} {v}" for v in values]) + ">"


@record
class Vector:
    """The vector loop being written: its variable is `i + offset + lane`; lanes from `active` on are not real."""

    var: str
    bit: int
    i: str
    offset: int
    lanes: int
    active: int


class Scope:
    """One open loop (or the function): what is known in it, and the chunk before the loop inside it."""

    __slots__ = ("chunk", "memo")

    def __init__(self) -> None:
        self.chunk: list[str] | None = None
        self.memo: dict = {}


class Values:
    """The values of one kernel. `written` are the buffers (by parameter) whose memory the kernel changes."""

    def __init__(self, fn: Function, kernel: Kernel, written: frozenset[int]) -> None:
        self.fn, self.kernel, self.written = fn, kernel, written
        self.scopes = [Scope()]
        self.run: dict = {}                          # volatile values of the current run of statements
        self.vars: dict[str, str] = {}
        self.totals: dict[str, str] = {}
        self.apart: set[str] = set()                 # states that differ from lane to lane of the vector loop
        self.vector: Vector | None = None
        self._bits: dict[str, int] = {}
        self._home: dict[int, int] = {}              # bit -> level of the scope that knows it
        self._levels: dict[int, int] = {}
        self._deps: dict[Scalar, int] = {}
        self._atoms: dict[Scalar, tuple[Scalar, ...]] = {}
        self._fits: dict[Scalar, bool] = {}
        self._builders: dict[tuple[int, np.dtype], Builder] = {}

    # ---- scopes
    def bit(self, name: str) -> int:
        """The dependence bit of a variable ("v" + name) or a carry ("c" + name)."""
        found = self._bits.get(name)
        if found is None:
            found = self._bits[name] = 2 << len(self._bits)
        return found

    @contextmanager
    def scope(self, before: list[str], var: str, value: str) -> Iterator[None]:
        """A loop's inside: what is known outside is put into the chunk `before` from here."""
        outer = self.scopes[-1]
        outer.chunk = before
        self.scopes.append(Scope())
        self.vars[var] = value
        self._set(self.bit("v" + var))
        yield
        self.scopes.pop()
        outer.chunk = None
        self._levels.clear()

    def given(self, s: Scalar, value: str) -> None:
        """Say what a loop variable or a total is that this function is given."""
        if s.op is VAR:
            self.vars[s.params[0]] = value
            self._set(self.bit("v" + s.params[0]))
        else:
            self.finish(s.params[0], value)

    def finish(self, carry: str, total: str) -> None:
        """Say what a carry came to; values of an earlier carry of that name are forgotten."""
        bit = self.bit("c" + carry)
        if bit in self._home:
            for scope in self.scopes:
                for key in [k for k in scope.memo if self._uses(k, bit)]:
                    del scope.memo[key]
        self.totals[carry] = total
        self._set(bit)

    def _uses(self, key, bit: int) -> bool:
        if isinstance(key, tuple):
            return key[0] == "pointer" or bool(self._deps.get(key[1], 0) & bit)
        return bool(self._deps.get(key, 0) & bit)

    def _set(self, bit: int) -> None:
        self._home[bit] = len(self.scopes) - 1
        self._levels.clear()

    def depends(self, s: Scalar) -> int:
        """The bits of all that `s` reads."""
        deps = self._deps
        if s in deps:
            return deps[s]
        stack = [s]
        while stack:
            x = stack[-1]
            todo = [a for a in x.args if a not in deps]
            if todo:
                stack.extend(todo)
                continue
            stack.pop()
            bits = 0
            for a in x.args:
                bits |= deps[a]
            if x.op is VAR:
                bits |= self.bit("v" + x.params[0])
            elif x.op is CARRY:
                bits |= self.bit("c" + x.params[0])
                if x.params[0] in self.apart:
                    bits |= self.vector.bit
            elif x.op is LOAD and x.params[0] in self.written:
                bits |= VOLATILE
            deps[x] = bits
        return deps[s]

    def place(self, bits: int) -> tuple[dict, int]:
        """Where a value that depends on `bits` is kept: a memo and a level."""
        here = len(self.scopes) - 1
        if bits & VOLATILE:
            return self.run, here
        level = self._levels.get(bits)
        if level is None:
            level, left = 0, bits
            while left:
                low = left & -left
                level = max(level, self._home[low])
                left ^= low
            self._levels[bits] = level
        return self.scopes[level].memo, level

    @contextmanager
    def at(self, level: int) -> Iterator[None]:
        """Write at a level: before the loop that is open there."""
        chunk = self.scopes[level].chunk
        if chunk is None:
            yield
        else:
            with self.fn.inside(chunk):
                yield

    def varies(self, s: Scalar) -> bool:
        """Whether lanes of the vector loop differ in `s`."""
        return self.vector is not None and bool(self.depends(s) & self.vector.bit)

    def builder(self, lanes: int, dtype: np.dtype) -> Builder:
        found = self._builders.get((lanes, dtype))
        if found is None:
            found = self._builders[lanes, dtype] = Builder(self.fn, lanes, dtype)
        return found

    # ---- values
    def value(self, s: Scalar) -> str:
        """The value of `s`: a scalar, or a vector where it varies."""
        if s.op is CONST:
            return self.builder(0, s.dtype).const(value_of(s))
        stack = [s]
        while stack:
            x = stack[-1]
            memo, level = self.place(self.depends(x))
            if x in memo:
                stack.pop()
                continue
            todo = [a for a in self.needs(x) if a.op is not CONST and a not in self.place(self.depends(a))[0]]
            if todo:
                stack.extend(reversed(todo))
                continue
            stack.pop()
            with self.at(level):
                memo[x] = self._compute(x)
        return self.place(self.depends(s))[0][s]

    def operand(self, s: Scalar, lanes: int) -> str:
        """The value of `s` in `lanes` lanes (0: one value, which must not vary)."""
        if s.op is CONST:
            return self.builder(lanes, s.dtype).const(value_of(s))
        value = self.value(s)
        if not lanes or self.varies(s):
            return value
        memo, level = self.place(self.depends(s))
        key = ("splat", s, lanes)
        if key not in memo:
            with self.at(level):
                memo[key] = self.builder(lanes, s.dtype).splat(value)
        return memo[key]

    def needs(self, x: Scalar) -> tuple[Scalar, ...]:
        """The values that must be there before `x`: indices count by the data in them."""
        if x.op is LOAD:
            return self.atoms(x.args[0]) + x.args[1:]
        return self.atoms(x) if x.op in INDEX else x.args

    def atoms(self, i: Scalar) -> tuple[Scalar, ...]:
        """The data inside an index."""
        if i.op not in INDEX:
            return (i,)
        found = self._atoms.get(i)
        if found is None:
            found = self._atoms[i] = tuple(dict.fromkeys([a for x in i.args for a in self.atoms(x)]))
        return found

    def fits(self, i: Scalar) -> bool:
        """Whether an index is arithmetic that fits 32 bits."""
        if i.op not in INDEX:
            return False
        found = self._fits.get(i)
        if found is None:
            found = self._fits[i] = _narrow(bounds(i))
        return found

    def _compute(self, x: Scalar) -> str:
        varies = self.varies(x)
        lanes = self.vector.lanes if varies else 0
        if x.op in INDEX:
            return self.lanes_of(x, 64) if varies else self._index(x)
        if x.op is LOAD:
            return self._load(x, lanes)
        if x.op is CARRY:
            return self.totals[x.params[0]]
        if varies and x.op is CAST and self.fits(x.args[0]):
            return scalars.cast(self.builder(lanes, I32), self.lanes_of(x.args[0], 32), x.dtype)
        if varies and x.op.name in COMPARISONS and self.fits(x.args[0]) and self.fits(x.args[1]):
            return scalars.emit(x.op.name, self.builder(lanes, I32), *[self.lanes_of(a, 32) for a in x.args])
        args = [self.operand(a, lanes) for a in x.args]
        b = self.builder(lanes, x.args[-1].dtype)
        if x.op is CAST:
            return scalars.cast(b, args[0], x.dtype)
        return scalars.emit(x.op.name, b, *args)

    # ---- indices
    def _index(self, i: Scalar) -> str:
        """An index that does not vary, as i64."""
        if i.op is VAR:
            return self.vars[i.params[0]]
        if i.op is LINEAR:
            return self.sum(*parts(i))
        op = "udiv" if i.op is FLOORDIV else "urem"
        return self.fn.emit(f"{op} i64 {self.value(i.args[0])}, {i.params[0]}")

    def sum(self, constant: int, terms: list[tuple[Scalar, int]]) -> str:
        """constant + k * atom + ... as i64; nothing in it varies."""
        total = ""
        for atom, k in terms:
            term = self.times(atom, k)
            total = self.fn.emit(f"add i64 {total}, {term}") if total else term
        if not total:
            return str(constant)
        return self.fn.emit(f"add i64 {total}, {constant}") if constant else total

    def times(self, atom: Scalar, k: int) -> str:
        """k * atom as i64, where the atom is known."""
        memo, level = self.place(self.depends(atom))
        key = ("times", atom, k)
        if key not in memo:
            with self.at(level):
                value = scalars.cast(self.builder(0, atom.dtype), self.value(atom), I64)
                memo[key] = value if k == 1 else self.fn.emit(f"mul i64 {value}, {k}")
        return memo[key]

    def lanes_of(self, i: Scalar, bits: int) -> str:
        """An index in every lane, as integers of 32 or 64 bits (32: right where it fits them)."""
        memo, level = self.place(self.depends(i))
        key = (bits, i, self.vector.lanes)
        if key not in memo:
            with self.at(level):
                memo[key] = self._lanes_of(i, bits)
        return memo[key]

    def _lanes_of(self, i: Scalar, bits: int) -> str:
        v = self.vector
        b = self.builder(v.lanes, I32 if bits == 32 else I64)
        if not self.varies(i):
            scalar = scalars.cast(self.builder(0, i.dtype), self.value(i) if i.op not in INDEX else self._index(i), b.dtype)
            return b.splat(scalar) if scalar.startswith("%") else b.iconst(int(scalar))
        if i.op is VAR:
            lanes = numbers(range(v.offset, v.offset + v.lanes), b.kind)
            if v.i == "0":
                return lanes
            return b.iadd(b.splat(scalars.cast(self.builder(0, I64), v.i, b.dtype)), lanes)
        if i.op is LINEAR:
            constant, terms = parts(i)
            return self.weighted(constant, terms, bits)
        if i.op not in INDEX:
            return scalars.cast(self.builder(v.lanes, i.dtype), self.value(i), b.dtype)
        inner, op = i.args[0], "udiv" if i.op is FLOORDIV else "urem"
        width = 32 if self.fits(inner) else 64
        w = self.builder(v.lanes, I32 if width == 32 else I64)
        out = w.emit(f"{op} {w.type} {self.lanes_of(inner, width)}, {w.iconst(i.params[0])}")
        return scalars.cast(w, out, b.dtype)

    def weighted(self, constant: int, terms: list[tuple[Scalar, int]], bits: int) -> str:
        """constant + k * atom + ... in every lane."""
        b = self.builder(self.vector.lanes, I32 if bits == 32 else I64)
        same = [t for t in terms if not self.varies(t[0])]
        total = ""
        for atom, k in terms:
            if self.varies(atom):
                term = self.lanes_of(atom, bits)
                term = term if k == 1 else b.imul(term, b.iconst(_wrapped(k, bits)))
                total = b.iadd(total, term) if total else term
        if same:
            rest = scalars.cast(self.builder(0, I64), self.sum(constant, same), b.dtype)
            return b.iadd(total, b.splat(rest))
        return b.iadd(total, b.iconst(_wrapped(constant, bits))) if constant else total

    # ---- addresses
    def pointer(self, buffer: int, terms: list[tuple[Scalar, int]]) -> str:
        """The address of element k * atom + ... of a buffer, each part added in the loop that knows it."""
        kind = stored(self.kernel.params[buffer].dtype)
        out, bits = f"%b{buffer}", 0
        terms = sorted(terms, key=lambda t: self.place(self.depends(t[0]))[1])
        for n, (atom, k) in enumerate(terms):
            bits |= self.depends(atom)
            memo, level = self.place(bits)
            key = ("pointer", buffer, tuple(terms[:n + 1]))
            if key not in memo:
                with self.at(level):
                    memo[key] = self.fn.emit(f"getelementptr {kind}, ptr {out}, i64 {self.times(atom, k)}")
            out = memo[key]
        return out

    def stride(self, i: Scalar) -> int | None:
        """The step of an index from lane to lane, None where it is not one number."""
        found = 0
        for atom, k in parts(i)[1]:
            if self.varies(atom):
                if atom.op is not VAR:
                    return None
                found = k
        return found

    def address(self, buffer: int, i: Scalar) -> str:
        """The address of element `i` (of the first lane, where its stride is one number)."""
        constant, terms = parts(i)
        kind = stored(self.kernel.params[buffer].dtype)
        out = self.pointer(buffer, [t for t in terms if not self.varies(t[0])])
        for _, k in [t for t in terms if self.varies(t[0])]:
            v = self.vector
            constant += k * v.offset
            if v.i != "0":
                step = v.i if k == 1 else self.fn.emit(f"mul i64 {v.i}, {k}")
                out = self.fn.emit(f"getelementptr {kind}, ptr {out}, i64 {step}")
        return self.fn.emit(f"getelementptr {kind}, ptr {out}, i64 {constant}") if constant else out

    def addresses(self, buffer: int, i: Scalar) -> str:
        """The addresses of element `i` in every lane."""
        v, step = self.vector, self.stride(i)
        kind = stored(self.kernel.params[buffer].dtype)
        if step is not None:
            width = "i32" if abs(step) * v.lanes < 1 << 31 else "i64"
            base, offsets = self.address(buffer, i), numbers([step * lane for lane in range(v.lanes)], width)
        else:
            constant, terms = parts(i)
            base = self.pointer(buffer, [t for t in terms if not self.varies(t[0])])
            if constant:
                base = self.fn.emit(f"getelementptr {kind}, ptr {base}, i64 {constant}")
            moving = [t for t in terms if self.varies(t[0])]
            narrow = _narrow(_total(moving))
            offsets, width = self.weighted(0, moving, 32 if narrow else 64), "i32" if narrow else "i64"
        return self.fn.emit(f"getelementptr {kind}, ptr {base}, <{v.lanes} x {width}> {offsets}")

    # ---- memory
    def from_memory(self, dtype: np.dtype, lanes: int, value: str) -> str:
        """What was loaded, as a register value."""
        if dtype.kind == "b":
            return self.fn.emit(f"icmp ne {typed('i8', lanes)} {value}, {'zeroinitializer' if lanes else 0}")
        if dtype.name == "float16":
            half = self.fn.emit(f"bitcast {typed('i16', lanes)} {value} to {typed('half', lanes)}")
            return self.fn.emit(f"fpext {typed('half', lanes)} {half} to {typed('float', lanes)}")
        return value

    def to_memory(self, dtype: np.dtype, lanes: int, value: str) -> str:
        """A register value as it is stored."""
        if dtype.kind == "b":
            return self.fn.emit(f"zext {typed('i1', lanes)} {value} to {typed('i8', lanes)}")
        if dtype.name == "float16":
            half = self.fn.emit(f"fptrunc {typed('float', lanes)} {value} to {typed('half', lanes)}")
            return self.fn.emit(f"bitcast {typed('half', lanes)} {half} to {typed('i16', lanes)}")
        return value

    def active(self, mask: str | None) -> str:
        """The mask of lanes that are real (and in `mask`)."""
        v = self.vector
        real = numbers(["true" if lane < v.active else "false" for lane in range(v.lanes)], "i1")
        if mask is None:
            return real
        return mask if v.active == v.lanes else self.builder(v.lanes, I64).mask_and(mask, real)

    def reverse(self, kind: str, value: str) -> str:
        n = self.vector.lanes
        lanes = numbers(range(n - 1, -1, -1))
        return self.fn.emit(f"shufflevector <{n} x {kind}> {value}, <{n} x {kind}> poison, <{n} x i32> {lanes}")

    def _load(self, x: Scalar, lanes: int) -> str:
        buffer, index = x.params[0], x.args[0]
        dtype = x.dtype
        if lanes:
            mask = self.operand(x.args[1], lanes) if len(x.args) == 2 else None
            return self.from_memory(dtype, lanes, self.load_lanes(buffer, index, dtype, mask))
        place = self.address(buffer, index)
        mask = self.value(x.args[1]) if len(x.args) == 2 else None
        if mask is not None:                         # the start of a buffer may always be read
            place = self.fn.emit(f"select i1 {mask}, ptr {place}, ptr %b{buffer}")
        kind = stored(dtype)
        value = self.fn.emit(f"load {kind}, ptr {place}, align {dtype.itemsize}")
        if mask is not None:
            zero = "0.0" if kind in ("float", "double") else "0"
            value = self.fn.emit(f"select i1 {mask}, {kind} {value}, {kind} {zero}")
        return self.from_memory(dtype, 0, value)

    def load_lanes(self, buffer: int, index: Scalar, dtype: np.dtype, mask: str | None) -> str:
        """A vector from memory: contiguous, reversed, or gathered; 0 in lanes that are not real or not in the mask."""
        v, fn, kind, align, step = self.vector, self.fn, stored(dtype), dtype.itemsize, self.stride(index)
        n, whole = v.active, f"<{v.lanes} x {kind}>"
        if step not in (1, -1):
            name = f"llvm.masked.gather.{suffix(kind, v.lanes)}.v{v.lanes}p0"
            fn.module.declare(f"{whole} @{name}(<{v.lanes} x ptr>, i32, <{v.lanes} x i1>, {whole})")
            return fn.emit(f"call {whole} @{name}(<{v.lanes} x ptr> {self.addresses(buffer, index)}, i32 {align}, "
                           f"<{v.lanes} x i1> {self.active(mask)}, {whole} zeroinitializer)")
        place = self.address(buffer, index)
        if mask is not None:
            if step < 0:
                place = fn.emit(f"getelementptr {kind}, ptr {place}, i64 {1 - v.lanes}")
            mask = self.active(mask)
            mask = self.reverse("i1", mask) if step < 0 else mask
            name = f"llvm.masked.load.{suffix(kind, v.lanes)}.p0"
            fn.module.declare(f"{whole} @{name}(ptr, i32, <{v.lanes} x i1>, {whole})")
            value = fn.emit(f"call {whole} @{name}(ptr {place}, i32 {align}, <{v.lanes} x i1> {mask}, {whole} zeroinitializer)")
            return self.reverse(kind, value) if step < 0 else value
        if n == 1:
            one = fn.emit(f"load {kind}, ptr {place}, align {align}")
            return fn.emit(f"insertelement {whole} zeroinitializer, {kind} {one}, i64 0")
        if step < 0:
            place = fn.emit(f"getelementptr {kind}, ptr {place}, i64 {1 - n}")
        value = fn.emit(f"load <{n} x {kind}>, ptr {place}, align {align}")
        order = list(range(n)) if step > 0 else list(range(n - 1, -1, -1))
        if n == v.lanes and step > 0:
            return value
        lanes = numbers(order + [n] * (v.lanes - n))
        return fn.emit(f"shufflevector <{n} x {kind}> {value}, <{n} x {kind}> zeroinitializer, <{v.lanes} x i32> {lanes}")

    def store_lanes(self, buffer: int, index: Scalar, dtype: np.dtype, value: str) -> None:
        """Write the real lanes of a vector: contiguous, reversed, or scattered in the order of the lanes."""
        v, fn, kind, align, step = self.vector, self.fn, stored(dtype), dtype.itemsize, self.stride(index)
        n, whole = v.active, f"<{v.lanes} x {kind}>"
        value = self.to_memory(dtype, v.lanes, value)
        if step not in (1, -1):
            name = f"llvm.masked.scatter.{suffix(kind, v.lanes)}.v{v.lanes}p0"
            fn.module.declare(f"void @{name}({whole}, <{v.lanes} x ptr>, i32, <{v.lanes} x i1>)")
            fn.line(f"call void @{name}({whole} {value}, <{v.lanes} x ptr> {self.addresses(buffer, index)}, i32 {align}, "
                    f"<{v.lanes} x i1> {self.active(None)})")
            return
        place = self.address(buffer, index)
        if n == 1:
            fn.line(f"store {kind} {fn.emit(f'extractelement {whole} {value}, i64 0')}, ptr {place}, align {align}")
            return
        if step < 0:
            place = fn.emit(f"getelementptr {kind}, ptr {place}, i64 {1 - n}")
        if n != v.lanes or step < 0:
            order = numbers(range(n) if step > 0 else range(n - 1, -1, -1))
            value = fn.emit(f"shufflevector {whole} {value}, {whole} poison, <{n} x i32> {order}")
        fn.line(f"store <{n} x {kind}> {value}, ptr {place}, align {align}")


def _narrow(known: tuple[int, int] | None) -> bool:
    return known is not None and known[0] >= -(1 << 31) and known[1] < 1 << 31


def _total(terms: list[tuple[Scalar, int]]) -> tuple[int, int] | None:
    low = high = 0
    for atom, k in terms:
        inner = bounds(atom)
        if inner is None:
            return None
        low, high = low + min(k * inner[0], k * inner[1]), high + max(k * inner[0], k * inner[1])
    return low, high


def _wrapped(k: int, bits: int) -> int:
    return k % (1 << bits)
