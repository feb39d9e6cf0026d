"""WGSL as text: types, literals, `Module` (what stands above an entry point) and `Builder`, arithmetic on named values.

In: operations on names of values (Python strings). Out: statements `let v7 = ...;` that naga and Tint accept. A value of
bool is a `bool`, of int8 and int16 an `i32` and of uint8 and uint16 a `u32` that are kept in range, of float16 an `f32`
that holds a float16. What NumPy means by an operation is said in `scalars` and `backends.math`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..math.angles import reduce_by_words
from .literals import HELPERS, float_literal, integer_literal
from .traits import Traits, stored

REGISTER = {"bool": "bool", "float16": "f32", "float32": "f32", "float64": "f64", "int64": "i64", "uint64": "u64"}
STORAGE = {"uint32": "u32", "int32": "i32", "float16": "f16", "float32": "f32", "float64": "f64", "int64": "i64",
           "uint64": "u64"}
NEVER = {32: "0x7fa5c3e1u", 64: "0x7ff5c3e1a5b4d297lu"}     # the bits of a signalling NaN that no computation gives


def element(dtype: np.dtype) -> str:
    """The type of one value in a register."""
    return REGISTER.get(dtype.name) or ("u32" if dtype.kind == "u" else "i32")


def typed(name: str, lanes: int) -> str:
    """`vec4<name>`, or `name` itself for a scalar (lanes 0).

    >>> typed("f32", 4), typed("bool", 0)
    ('vec4<f32>', 'bool')
    """
    return f"vec{lanes}<{name}>" if lanes else name


def type_name(dtype: np.dtype, lanes: int = 0) -> str:
    """The type of a value of `dtype` in a register.

    >>> type_name(np.dtype("int8")), type_name(np.dtype("float16"), 4)
    ('i32', 'vec4<f32>')
    """
    return typed(element(dtype), lanes)


def storage_name(dtype: np.dtype) -> str:
    """The element type of an array in a buffer that holds `dtype`; "f16" needs `Module.use`.

    >>> storage_name(np.dtype("bool")), storage_name(np.dtype("int16")), storage_name(np.dtype("float16"))
    ('u32', 'i32', 'f16')
    """
    return STORAGE[stored(dtype).name]


def load_value(dtype: np.dtype, text: str, lanes: int = 0) -> str:
    """The register value of a stored element (or vec4 of elements): an expression.

    >>> load_value(np.dtype("bool"), "b0[i]"), load_value(np.dtype("float16"), "b0[i]", 4)
    ('(b0[i] != 0u)', 'vec4<f32>(b0[i])')
    """
    if dtype.kind == "b":
        return f"({text} != {'vec4<u32>(0u)' if lanes else '0u'})"
    return f"{typed('f32', lanes)}({text})" if dtype.name == "float16" else text


def store_value(dtype: np.dtype, text: str, lanes: int = 0) -> str:
    """The element (or vec4) to store for a register value: an expression.

    >>> store_value(np.dtype("bool"), "v1"), store_value(np.dtype("float16"), "v1", 4)
    ('u32(v1)', 'vec4<f16>(v1)')
    """
    if dtype.kind == "b" or dtype.name == "float16":
        return f"{typed(storage_name(dtype), lanes)}({text})"
    return text


class Module:
    """What a shader needs above its entry point: `enables` and helper functions, each once; it also gives out names.

    Helpers hold no state and no bindings. `text()` must come first in the source: enables do.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.enables: set[str] = set()
        self.functions: dict[str, str] = {}
        self.count = 0
        self.facts: dict[str, object] = {}             # what `scalars` knows of the values it named

    def use(self, dtype: np.dtype) -> None:
        """Enable what buffers of `dtype` need."""
        if dtype.name == "float16":
            self.enables.add("f16")

    def fresh(self, prefix: str = "v") -> str:
        """A name that is not yet used in this shader."""
        self.count += 1
        return f"{prefix}{self.count}"

    def helper(self, name: str, text: str | Callable[[], str]) -> str:
        """Add the function `name` (its text, or what makes it) unless it is there; returns the name."""
        if name not in self.functions:
            self.functions[name] = ""                  # its place: a function that it calls may come later
            self.functions[name] = text if isinstance(text, str) else text()
        return name

    def text(self) -> str:
        """Enables and functions."""
        return "\n".join([f"enable {e};" for e in sorted(self.enables)] + list(self.functions.values())) + "\n"


class Constant(str):
    """An integer literal that knows its value: shift counts have another type than what is shifted."""

    value: int

    def __new__(cls, text: str, value: int) -> Constant:
        made = super().__new__(cls, text)
        made.value = value
        return made


class Builder:
    """Operations on values of one dtype, scalars (lanes 0) or vec4 (lanes 4): each adds a statement and returns a name.

    `type` is WGSL's type of a value, `itype` that of the integers (unsigned) as wide as a float: bits live in it. For
    integer dtypes both are the same. The plain float methods (`add`, `fma`, ...) may be rounded or contracted as the
    device likes; `xadd`, `xsub`, `xmul`, `xfma` are what algebra over real numbers would simplify away: their results
    pass through `keep`. `fma` is one rounding on some devices and two on others.
    """

    def __init__(self, module: Module, body: list[str], lanes: int, dtype: np.dtype, zero: str = "") -> None:
        self.module, self.body, self.lanes, self.dtype, self.zero = module, body, lanes, np.dtype(dtype), zero
        self.kind = element(self.dtype)
        self.floating = self.kind in ("f32", "f64")
        self.single, self.widens = self.kind == "f32", False
        self.ikind = {"f32": "u32", "f64": "u64"}.get(self.kind, self.kind)
        self.bits = 1 if self.kind == "bool" else int(self.ikind[1:])
        self.type, self.itype, self.mask = (typed(t, lanes) for t in (self.kind, self.ikind, "bool"))

    def like(self, dtype: np.dtype) -> Builder:
        """The builder of another dtype in the same body and width."""
        return Builder(self.module, self.body, self.lanes, dtype, self.zero if np.dtype(dtype) == self.dtype else "")

    def emit(self, text: str) -> str:
        """A statement `let vN = text;`; returns `vN`."""
        name = self.module.fresh()
        self.body.append(f"let {name} = {text};")
        return name

    # ---- constants
    def splat(self, text: str, kind: str = "") -> str:
        """A scalar in every lane."""
        return f"{typed(kind or self.kind, self.lanes)}({text})" if self.lanes else text

    def const(self, value: float) -> str:
        """A number of this dtype in every lane, as an expression."""
        if self.floating:
            text = float_literal(value, self.bits)
            if text.startswith("bits_"):
                self.module.helper(text[:8], HELPERS[text[:8]])
        elif self.kind == "bool":
            text = "true" if value else "false"
        else:
            text = integer_literal(int(value), self.kind)
        return self.splat(text)

    def iconst(self, value: int) -> str:
        """An integer as wide as this dtype; bit patterns may be given unsigned."""
        value &= (1 << self.bits) - 1
        if self.ikind[0] == "i" and value >= 1 << self.bits - 1:
            value -= 1 << self.bits
        return Constant(self.splat(integer_literal(value, self.ikind), self.ikind), value)

    # ---- floats, rounded as the device likes
    def add(self, a: str, b: str) -> str:
        return self.emit(f"{a} + {b}")

    def sub(self, a: str, b: str) -> str:
        return self.emit(f"{a} - {b}")

    def mul(self, a: str, b: str) -> str:
        return self.emit(f"{a} * {b}")

    def div(self, a: str, b: str) -> str:
        return self.emit(f"{a} / {b}")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, fused where the device likes."""
        return self.emit(f"fma({a}, {b}, {c})")

    # ---- floats, exactly as written
    def keep(self, a: str, data: str = "") -> str:
        """a, in a form that no float algebra sees through: its bits xor a 0 that the compiler cannot know.

        The 0 is made of the bits of `data`, another value, where a is a constant.
        """
        if self.module.traits.fast_math:
            return a
        if self.zero:
            return self.emit(f"bitcast<{self.type}>(bitcast<{self.itype}>({a}) ^ {self.zero})")
        name = f"keep_{self.suffix}"
        self.module.helper(name, lambda: "\n  ".join([
            f"fn {name}(x: {self.type}, data: {self.type}) -> {self.type} {{",
            f"let zero = {self.unknown_zero(self.bitcast('data'))};",
            f"return bitcast<{self.type}>({self.bitcast('x')} ^ zero);"]) + "\n}")
        return self.emit(f"{name}({a}, {data or a})")

    def unknown_zero(self, bits: str) -> str:
        """An expression that is 0 but for a NaN that never occurs."""
        zero, one, never = (self.splat(t, self.ikind) for t in (*(integer_literal(v, self.ikind) for v in (0, 1)),
                                                                NEVER[self.bits]))
        return f"select({zero}, {one}, {bits} == {never})"

    @property
    def suffix(self) -> str:
        """The end of a helper's name: f32, 4f32."""
        return f"{self.lanes or ''}{self.kind}"

    def xadd(self, a: str, b: str) -> str:
        return self.keep(self.add(a, b))

    def xsub(self, a: str, b: str) -> str:
        return self.keep(self.sub(a, b))

    def xmul(self, a: str, b: str) -> str:
        return self.keep(self.mul(a, b))

    def xfma(self, a: str, b: str, c: str) -> str:
        """`fma` as a step that must not be merged with the next; the product is exact by its factors."""
        return self.keep(self.fma(a, b, c))

    def neg(self, a: str) -> str:
        return self.emit(f"-{a}")

    def call(self, name: str, *args: str) -> str:
        """A builtin or a helper: `b.call("max", x, y)`."""
        return self.emit(f"{name}({', '.join(args)})")

    def abs(self, a: str) -> str:
        return self.call("abs", a)

    def sqrt(self, a: str) -> str:
        return self.call("sqrt", a)

    def rint(self, a: str) -> str:
        """To the nearest integer, ties to even."""
        return self.call("round", a)

    def floor(self, a: str) -> str:
        return self.call("floor", a)

    def ceil(self, a: str) -> str:
        return self.call("ceil", a)

    def trunc(self, a: str) -> str:
        return self.call("trunc", a)

    def copysign(self, a: str, b: str) -> str:
        """The magnitude of a with the sign of b."""
        sign, rest = self.iconst(1 << self.bits - 1), self.iconst((1 << self.bits - 1) - 1)
        return self.to_float(f"(({self.bitcast(a)} & {rest}) | ({self.bitcast(b)} & {sign}))")

    def nearest(self, x: str, factor: float, bias: float = 0.0) -> tuple[str, str]:
        """n, the integer nearest to x * factor, as a float, and what `nearest_bits` makes integers of."""
        n = self.rint(self.mul(x, self.const(factor)) if factor != 1.0 else x)
        whole = f"{typed('i' + str(self.bits), self.lanes)}({n})"
        return n, self.emit(f"bitcast<{self.itype}>({whole})" + (f" + {self.iconst(int(bias))}" if bias else ""))

    def nearest_bits(self, t: str) -> str:
        """Integers whose low bits are those of n + bias."""
        return t

    def nearest_integer(self, x: str, factor: float) -> str:
        """`nearest_bits` of the integer nearest to x * factor."""
        return self.nearest(x, factor)[1]

    # ---- comparisons, masks, selections
    def isnan(self, a: str) -> str:
        """By its bits: a compiler that assumes that NaN does not occur cannot fold it."""
        top = self.iconst(0x7F800000 if self.bits == 32 else 0x7FF << 52)
        return self.emit(f"({self.bitcast(a)} & {self.iconst((1 << self.bits - 1) - 1)}) > {top}")

    def cmp(self, predicate: str, a: str, b: str) -> str:
        """A float comparison: oeq, olt, ogt, ..., une, uno, ult, ...; a mask."""
        if predicate == "uno":
            return self.isnan(a) if a == b else self.mask_or(self.isnan(a), self.isnan(b))
        if predicate == "une":
            return self.emit(f"!({a} == {b})")
        if predicate == "one":
            return self.emit(f"({a} < {b}) | ({a} > {b})")
        sign = {"eq": "==", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}[predicate[1:]]
        ordered = self.emit(f"{a} {sign} {b}")
        if predicate[0] == "o":
            return ordered
        return self.mask_or(ordered, self.cmp("uno", a, b))

    def icmp(self, predicate: str, a: str, b: str) -> str:
        """An integer comparison: eq, ne, slt, sgt, ult, ...; a mask."""
        sign = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}
        if predicate in sign:
            return self.emit(f"{a} {sign[predicate]} {b}")
        kind = "i" if predicate[0] == "s" else "u"
        if kind != self.ikind[0]:
            other = typed(f"{kind}{self.bits}", self.lanes)
            a, b = f"bitcast<{other}>({a})", f"bitcast<{other}>({b})"
        return self.emit(f"{a} {sign[predicate[1:]]} {b}")

    def select(self, mask: str, a: str, b: str) -> str:
        """a where the mask is true, else b."""
        return self.emit(f"select({b}, {a}, {mask})")

    iselect = select

    def mask_const(self, value: bool) -> str:
        return self.splat("true" if value else "false", "bool")

    def mask_and(self, a: str, b: str) -> str:
        return self.emit(f"{a} & {b}")

    def mask_or(self, a: str, b: str) -> str:
        return self.emit(f"{a} | {b}")

    def mask_not(self, a: str) -> str:
        return self.emit(f"!{a}")

    def mask_xor(self, a: str, b: str) -> str:
        return self.emit(f"{a} != {b}")

    def if_any(self, mask: str, slow: Callable[[], str], fast: str) -> str:
        """`fast` when no lane of the mask holds, else `slow()`, which runs only then (for all lanes).

        Software adapters run both sides of a branch under a mask: there it is `slow()` alone, which two functions of one argument
        can share.
        """
        if self.module.traits.software:
            return slow()
        name = self.module.fresh()
        self.body.append(f"var {name} = {fast};")
        self.body.append(f"if ({f'any({mask})' if self.lanes else mask}) {{")
        self.body.append(f"{name} = {slow()};")
        self.body.append("}")
        return name

    # ---- integers as wide as this dtype
    def iadd(self, a: str, b: str) -> str:
        return self.emit(f"{a} + {b}")

    def isub(self, a: str, b: str) -> str:
        return self.emit(f"{a} - {b}")

    def high_product(self, a: str, b: str) -> str | None:
        """The high word of the product of two 32-bit words, None where there are no wider ones."""
        if self.bits != 32 or not self.module.traits.int64:
            return None
        word, wide = ("vec4<u32>", "vec4<u64>") if self.lanes else ("u32", "u64")
        shift = "vec4<u32>(32u)" if self.lanes else "32u"
        return self.emit(f"{word}(({wide}({a}) * {wide}({b})) >> {shift})")

    def imul(self, a: str, b: str) -> str:
        return self.emit(f"{a} * {b}")

    def iand(self, a: str, b: str) -> str:
        return self.emit(f"{a} & {b}")

    def ior(self, a: str, b: str) -> str:
        return self.emit(f"{a} | {b}")

    def ixor(self, a: str, b: str) -> str:
        return self.emit(f"{a} ^ {b}")

    def _count(self, n: str) -> str:
        """A shift count, below the width, as WGSL wants it."""
        if isinstance(n, Constant):
            return self.splat(f"{n.value}u", "u32")
        return n if self.ikind == "u32" else f"{typed('u32', self.lanes)}({n})"

    def _shift(self, a: str, kind: str, sign: str, n: str) -> str:
        have = self.itype
        if kind != self.ikind[0]:
            return self.emit(f"bitcast<{have}>(bitcast<{typed(f'{kind}{self.bits}', self.lanes)}>({a}) {sign} {self._count(n)})")
        return self.emit(f"{a} {sign} {self._count(n)}")

    def shl(self, a: str, n: str) -> str:
        return self._shift(a, self.ikind[0], "<<", n)

    def lshr(self, a: str, n: str) -> str:
        return self._shift(a, "u", ">>", n)

    def ashr(self, a: str, n: str) -> str:
        return self._shift(a, "i", ">>", n)

    # ---- between floats and the integers of the same width
    def bitcast(self, a: str) -> str:
        """The bits of a float: an expression."""
        return f"bitcast<{self.itype}>({a})"

    def to_int(self, a: str) -> str:
        """The bits of a float."""
        return self.emit(self.bitcast(a))

    def to_float(self, a: str) -> str:
        """The float with these bits."""
        return self.emit(f"bitcast<{self.type}>({a})")

    def int_to_float(self, a: str) -> str:
        """The nearest float to a signed integer."""
        return self.emit(f"{self.type}(bitcast<{typed(f'i{self.bits}', self.lanes)}>({a}))")

    def reduce_large(self, x: str) -> tuple[str, str, str]:
        """r in two parts and n modulo 4 with x = n pi/2 + r, for a finite x of any size from 2**16 on."""
        return reduce_by_words(self, x)

    # ---- functions
    def poly(self, x: str, coefficients: Sequence[float]) -> str:
        """Horner: coefficients from the highest power to the constant."""
        total = self.const(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.const(c))
        return total

    def out_of_line(self, name: str, f: Callable[..., str], *xs: str) -> str:
        """f(b, *xs) as a call of a function of the module, written once for each name, width and type."""
        symbol = f"{name}_{self.suffix}"

        def build() -> str:
            names = [f"x{k}" for k in range(len(xs))]
            lines: list[str] = []
            zero = self.module.fresh("zero")
            inner = Builder(self.module, lines, self.lanes, self.dtype, zero)
            result = f(inner, *names)
            if any(zero in line for line in lines):
                lines.insert(0, f"let {zero} = {self.unknown_zero(self.bitcast(names[0]))};")
            head = f"fn {symbol}({', '.join(f'{n}: {self.type}' for n in names)}) -> {self.type} {{"
            return "\n  ".join([head, *lines, f"return {result};"]) + "\n}"

        self.module.helper(symbol, build)
        return self.call(symbol, *xs)
