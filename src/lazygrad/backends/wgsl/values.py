"""Values: the WGSL name of every Scalar of a kernel, written once, in the outermost block where it is known.

In: Scalars, the open blocks (scopes) and, where elements go four at a time, their Lane. Out: names; loads and stores of one
element or of four. Index arithmetic is u32 in addresses and i32 in values (i64 where it may not fit). It does not know
statements: `kernels` opens scopes, stores and accumulates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ...ir.record import record
from ...ir.scalar import BOOL, CARRY, CAST, CONST, I64, LINEAR, LOAD, MOD, VAR, Scalar
from . import scalars
from .accesses import INDEX, Facts, Lane, holds
from .arrays import Array, Arrays
from .text import Builder, Module, load_value, store_value, type_name

I32, U32 = np.dtype("int32"), np.dtype("uint32")
VOLATILE = "!"                       # the name of what a buffer holds that the kernel writes
ATOM = re.compile(r"\w+(\.\w+)?")
AXES = "xyzw"


def _signed(text: str, dtype: np.dtype, lanes: int) -> str:
    """A u32 as `dtype`; by way of u64, because naga extends the sign of a u32 that becomes an i64."""
    if dtype == U32:
        return text
    return f"{type_name(dtype, lanes)}({type_name(np.dtype('uint64'), lanes)}({text}))" if dtype == I64 else f"{type_name(dtype, lanes)}({text})"


@record
class Variable:
    """A loop variable: `text`, its u32 value (of lane 0), and `quad`, a fourth of that where it goes four at a time."""

    text: str
    quad: str = ""


class Scope:
    """One open block: its lines, and what is known in it."""

    __slots__ = ("lines", "memo")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.memo: dict = {}


class Values:
    """The values of one kernel. `same[p]` is the buffer of parameter p; `written` are the buffers whose memory changes."""

    def __init__(self, module: Module, arrays: Arrays, same: Sequence[int], written: frozenset[int], facts: Facts) -> None:
        self.module, self.arrays, self.same, self.written, self.facts = module, arrays, same, written, facts
        self.scopes = [Scope()]
        self.run: dict = {}                          # volatile values of the current run of statements
        self.vars: dict[str, Variable] = {}
        self.totals: dict[str, str] = {}
        self.lane: Lane | None = None
        self._home: dict[str, int] = {}              # name -> level of the scope that knows it
        self._reads: dict[Scalar, frozenset[str]] = {}
        self._atoms: dict[Scalar, tuple[Scalar, ...]] = {}

    # ---- scopes
    @property
    def lines(self) -> list[str]:
        return self.scopes[-1].lines

    @contextmanager
    def block(self, head: str, var: str = "", value: Variable | None = None) -> Iterator[None]:
        """A block `head { ... }`, inside of which loop variable `var` is known."""
        scope = Scope()
        self.scopes.append(scope)
        if value:
            self.define(var, value)
        yield
        self.scopes.pop()
        self.lines.extend([f"{head} {{".lstrip(), *["  " + line for line in scope.lines], "}"])

    def define(self, var: str, value: Variable) -> None:
        """Say what a loop variable is, from the present block inwards."""
        self.vars[var] = value
        self._home[var] = len(self.scopes) - 1

    def finish(self, carry: str, total: str) -> None:
        """Say what a carry came to; values of an earlier carry of that name are forgotten."""
        name = "$" + carry
        if name in self._home:
            for scope in self.scopes:
                for key in [k for k in scope.memo if isinstance(k[0], Scalar) and name in self.reads(k[0])]:
                    del scope.memo[key]
        self.totals[carry] = total
        self._home[name] = len(self.scopes) - 1

    def reads(self, s: Scalar) -> frozenset[str]:
        """The names of all that `s` depends on: variables, carries as "$c", and VOLATILE."""
        known = self._reads
        if s not in known:
            stack = [s]
            while stack:
                x = stack[-1]
                todo = [a for a in x.args if a not in known]
                if todo:
                    stack.extend(todo)
                    continue
                stack.pop()
                names = self.facts.names(x) if not x.args else frozenset().union(*[known[a] for a in x.args])
                known[x] = names | {VOLATILE} if x.op is LOAD and self.same[x.params[0]] in self.written else names
        return known[s]

    def place(self, s: Scalar) -> tuple[dict, list[str]]:
        """Where what depends on `s` alone is kept and written."""
        names = self.reads(s)
        if VOLATILE in names:
            return self.run, self.lines
        level = max([self._home[n] for n in names], default=0)
        return self.scopes[level].memo, self.scopes[level].lines

    def varies(self, s: Scalar) -> bool:
        """Whether the lanes may differ in `s`."""
        return self.lane is not None and self.facts.varies(s, self.lane)

    def name(self, lines: list[str], text: str) -> str:
        """A name for an expression, unless it is one."""
        if ATOM.fullmatch(text):
            return text
        name = self.module.fresh()
        lines.append(f"let {name} = {text};")
        return name

    # ---- values
    def held(self, s: Scalar) -> np.dtype:
        """The dtype whose register holds `s`: int64 values that fit are int32; all are on devices without int64."""
        if s.dtype != I64 or s.op is CARRY or s.op is LOAD:
            return s.dtype
        known = self.facts.range(s)
        return I32 if not self.module.traits.int64 or (known is not None and holds(I32, known)) else I64

    def value(self, s: Scalar) -> str:
        """The value of `s`, of dtype `held(s)`: one element, or a vec4 where the lanes vary."""
        stack = [s]
        while stack:
            x = stack[-1]
            memo, lines = self.place(x)
            if (x, 0) in memo:
                stack.pop()
                continue
            todo = [a for a in self.needs(x) if (a, 0) not in self.place(a)[0]]
            if todo:
                stack.extend(reversed(todo))
                continue
            stack.pop()
            memo[x, 0] = self.name(lines, self._compute(x, lines))
        return self.place(s)[0][s, 0]

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

    def operand(self, s: Scalar, lanes: int, dtype: np.dtype | None = None) -> str:
        """`s` as `dtype` (its own unless given) in `lanes` lanes."""
        dtype = s.dtype if dtype is None else dtype
        if s.op is CONST:                            # a number that the emitter knows
            return self.constant(s, lanes, dtype)
        text, have = self.value(s), self.held(s)
        memo, lines = self.place(s)
        varies = self.varies(s)
        if have != dtype:
            key = (s, "as", dtype)
            if key not in memo:
                memo[key] = scalars.emit(self.module, lines, "cast", have, 4 if varies else 0, [text], dtype)
            text = memo[key]
        if not lanes or varies:
            return text
        key = (s, "splat", dtype)
        if key not in memo:
            memo[key] = self.name(lines, f"{type_name(dtype, lanes)}({text})")
        return memo[key]

    def constant(self, s: Scalar, lanes: int, dtype: np.dtype) -> str:
        scope = self.scopes[0]
        key = (s, "const", lanes, dtype)
        if key not in scope.memo:
            scope.memo[key] = scalars.emit(self.module, scope.lines, "const", dtype, lanes, [], dtype, s.params)
        return scope.memo[key]

    def _compute(self, x: Scalar, lines: list[str]) -> str:
        lanes = 4 if self.varies(x) else 0
        if x.op in INDEX:
            return self.number(x, self.held(x))
        if x.op is LOAD:
            return self._load(x, lanes, lines)
        if x.op is CARRY:
            return self.totals[x.params[0]]
        if x.op is CONST:
            return self.constant(x, 0, self.held(x))
        dtype = x.args[-1].dtype
        if dtype == I64:
            wide = x.op is not CAST and (self.held(x) == I64 or any([self.held(a) == I64 for a in x.args]))
            dtype = self.held(x.args[0]) if x.op is CAST else I64 if wide else I32
        args = [self.operand(a, lanes, dtype if a.dtype == I64 else None) for a in x.args]
        return scalars.emit(self.module, lines, x.op.name, dtype, lanes, args, self.held(x), x.params)

    # ---- indices as values
    def number(self, i: Scalar, dtype: np.dtype) -> str:
        """An index as int32, int64 or uint32 (modulo 2**32): one value, or a vec4 where the lanes vary."""
        memo, lines = self.place(i)
        key = (i, "number", dtype)
        if key not in memo:
            memo[key] = self.name(lines, self._number(i, dtype))
        return memo[key]

    def _number(self, i: Scalar, dtype: np.dtype) -> str:
        lanes = 4 if self.varies(i) else 0
        kind = type_name(dtype, lanes)
        if i.op is VAR:
            first = self.vars[i.params[0]].text
            first = _signed(first, dtype, 0)
            return f"{first} + {kind}(0, 1, 2, 3)" if lanes else first
        if i.op is LINEAR:
            b = Builder(self.module, self.lines, 0, dtype)
            terms = [self.number(a, dtype) + ("" if k == 1 else f" * {b.iconst(k)}") for a, k in zip(i.args, i.params[1], strict=True)]
            return " + ".join(terms + [b.iconst(i.params[0])] * (bool(i.params[0]) or not terms))
        if i.op in INDEX:
            text = f"{self.number(i.args[0], U32)} {'%' if i.op is MOD else '/'} {i.params[0]}u"
            return _signed(text, dtype, lanes)
        text, have = self.value(i), type_name(self.held(i))
        if have == type_name(dtype):
            return text
        return f"{kind}({type_name(I32, lanes)}({text}))" if have == "i64" else f"{kind}({text})"

    # ---- addresses
    def address(self, i: Scalar) -> str:
        """An index in lane 0, as u32."""
        memo, lines = self.place(i)
        key = (i, "address")
        if key not in memo:
            memo[key] = self.name(lines, self._address(i))
        return memo[key]

    def _address(self, i: Scalar) -> str:
        if i.op is VAR:
            return self.vars[i.params[0]].text
        if i.op is LINEAR:
            return self._sum(i.params[0], list(zip(i.args, i.params[1], strict=True)))
        if i.op in INDEX:
            return f"{self.address(i.args[0])} {'%' if i.op is MOD else '/'} {i.params[0]}u"
        return self.number(i, U32)

    def _sum(self, constant: int, terms: list[tuple[Scalar, int]]) -> str:
        """constant + k * atom + ... in lane 0."""
        out = ""
        for atom, k in sorted(terms, key=lambda t: t[1] < 0):
            text, size = self.address(atom), abs(k)
            text = text if size == 1 else f"{text} * {size}u"
            out = (f"{out} - {text}" if out else f"0u - {text}") if k < 0 else f"{out} + {text}" if out else text
        if constant and out:
            return f"{out} {'+' if constant > 0 else '-'} {abs(constant)}u"
        return out or f"{constant % (1 << 32)}u"

    def quad(self, i: Scalar) -> str:
        """A fourth of an index that is a multiple of 4 in lane 0."""
        memo, lines = self.place(i)
        key = (i, "quad")
        if key not in memo:
            memo[key] = self.name(lines, self._quad(i))
        return memo[key]

    def _quad(self, i: Scalar) -> str:
        if i.op is VAR:
            return self.vars[i.params[0]].quad
        if i.op is MOD:
            return f"{self.quad(i.args[0])} % {i.params[0] // 4}u"
        parts = list(zip(i.args, i.params[1], strict=True))
        rest = self._sum(i.params[0] // 4, [(a, k // 4) for a, k in parts if k % 4 == 0])
        own = [self.quad(a) + ("" if k == 1 else f" * {k % (1 << 32)}u") for a, k in parts if k % 4]
        return " + ".join(own + [rest] * (rest != "0u" or not own))

    def inside(self, i: Scalar, size: int) -> bool:
        """Whether an index is known to be below `size`."""
        known = self.facts.range(i)
        return known is not None and known[0] >= 0 and known[1] < size

    # ---- memory
    def array(self, buffer: int) -> Array:
        return self.arrays.by_param[self.same[buffer]]

    def places(self, array: Array, index: Scalar) -> list[str]:
        """The addresses of the four lanes."""
        slope = self.facts.slope(index, self.lane)
        if slope is None:
            vector = self.number(index, U32)
            return [f"{vector}.{c}" for c in AXES]
        first = self.address(index)
        return [first] + [f"{first} {'+' if slope > 0 else '-'} {k * abs(slope)}u" for k in (1, 2, 3)]

    def whole(self, array: Array, index: Scalar) -> bool:
        """Whether the four lanes are one quad of a packed array."""
        return bool(self.lane) and array.packed and self.facts.slope(index, self.lane) == 1 and self.facts.aligned(index, self.lane)

    def load(self, buffer: int, index: Scalar, lanes: int) -> str:
        """The stored elements at `index`: an expression. An index that data decides is kept in bounds."""
        a = self.array(buffer)
        safe = self.inside(index, a.size)

        def bounded(text: str, last: int) -> str:
            return text if safe else f"min({text}, {last}u)"

        if not lanes or self.facts.slope(index, self.lane) == 0:
            text = a.load(bounded(self.address(index), a.last))
            return f"vec4<{a.element}>({text})" if lanes else text
        if self.whole(a, index):
            return a.load_quad(bounded(self.quad(index), a.last // 4))
        return f"vec4<{a.element}>({', '.join([a.load(bounded(p, a.last)) for p in self.places(a, index)])})"

    def _load(self, x: Scalar, lanes: int, lines: list[str]) -> str:
        buffer, index = x.params[0], x.args[0]
        value = self.name(lines, load_value(x.dtype, self.load(buffer, index, lanes), lanes))
        if len(x.args) == 1:
            return value
        zero = Builder(self.module, lines, lanes, x.dtype).const(0)
        return f"select({zero}, {value}, {self.operand(x.args[1], lanes)})"

    def store(self, buffer: int, index: Scalar, dtype: np.dtype, value: str, lanes: int) -> list[str]:
        """Statements that write `value`. An index that data decides writes nothing out of bounds."""
        a = self.array(buffer)

        def guarded(lines: list[str], text: str, end: int) -> list[str]:
            return lines if self.inside(index, a.size) else [f"if ({text} < {end}u) {{ {' '.join(lines)} }}"]

        if not lanes:
            place = self.address(index)
            return guarded([a.store(place, store_value(dtype, value))], place, a.size)
        if self.whole(a, index):
            place = self.quad(index)
            return guarded(a.store_quad(place, store_value(dtype, value, lanes)), place, -(-a.size // 4))
        out: list[str] = []
        for place, c in zip(self.places(a, index), AXES, strict=True):
            out += guarded([a.store(place, store_value(dtype, f"{value}.{c}"))], place, a.size)
        return out

    def condition(self, ok: Scalar, lanes: int) -> str:
        """A bool: whether `ok` holds, in all lanes."""
        text = self.operand(ok, lanes, BOOL)
        return f"all({text})" if lanes else text
