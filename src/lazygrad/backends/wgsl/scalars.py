"""The WGSL column of the scalar-op table: one emitter per operation and kind of value, with NumPy's meaning.

In: names of values (see `text` for how each dtype is held) of one width. Out: the name of the result, declared by
statements that are appended to `body`. Integers never trap, comparisons and selections know NaN, float16 is computed in
float32 and rounded after every operation. With `traits.fast_math` the builtins of WGSL are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...dtypes import DTYPES
from ...ir.scalar import OPS
from ..monoids import identity as identity
from .casts import HALF, cast, round_half, wrap
from .functions import FAST, FUNCTIONS
from .remainders import fmod
from .text import Builder, Module
from .traits import Traits

TERMS = 12                         # of one sum whose parts are remembered


# ---- sums and products that compilers would simplify ----------------------------------------------------------------
#
# Compilers of shaders may treat floats as real numbers: (x + y) - y becomes x, x - x becomes 0, x * 0.0 becomes 0,
# which is wrong for infinities and NaN. The module remembers of which terms a value was added up; where a sum or product
# could be simplified, one of its operands goes through `Builder.keep`.

def _terms(b: Builder, x: str) -> frozenset[str]:
    return b.module.facts.get(x, frozenset((x,)))


def constant(b: Builder, x: str) -> float | int | bool | None:
    """The number that a named value is known to be."""
    return b.module.facts.get(("constant", x))


def _sum(op: str) -> Callable[..., str]:
    def emit(b: Builder, x: str, y: str) -> str:
        if b.module.traits.fast_math:
            return b.emit(f"{x} {op} {y}")
        fixed, other = constant(b, x), constant(b, y)
        left, right = _terms(b, x), _terms(b, y)
        if left & right or len(left) + len(right) > TERMS:
            if fixed is None:
                x = b.keep(x)
                left = frozenset((x,))
            else:
                y = b.keep(y)
                right = frozenset((y,))
        if fixed == 0:                                 # 0.0 + x is not x for x = -0.0
            x = b.keep(x, y)
        elif other == 0:
            y = b.keep(y, x)
        out = b.emit(f"{x} {op} {y}")
        b.module.facts[out] = left | right
        return out
    return emit


def _mul(b: Builder, x: str, y: str) -> str:
    if b.module.traits.fast_math:
        return b.emit(f"{x} * {y}")
    facts = b.module.facts
    if constant(b, x) is not None:
        x, y = y, x
    known = constant(b, y)
    if known is not None and ("scaled", x) in facts:
        x = b.keep(x)
    if known == 0:
        y = b.keep(y, x)
    out = b.emit(f"{x} * {y}")
    if known is not None or ("scaled", x) in facts or ("scaled", y) in facts:
        facts["scaled", out] = True                    # by a constant, which another could join
    return out


def _negative(b: Builder, x: str) -> str:
    out = b.neg(x)
    b.module.facts[out] = _terms(b, x)
    return out


# ---- floats ---------------------------------------------------------------------------------------------------------

def _extreme(predicate: str, builtin: str, wins: bool) -> Callable[..., str]:
    """maximum, minimum (NaN wins), fmax, fmin (NaN loses)."""
    def emit(b: Builder, x: str, y: str) -> str:
        if b.module.traits.fast_math:
            return b.call(builtin, x, y)
        for first, second in ((x, y), (y, x)):         # c is a number: x where x is beyond c or NaN, or else c
            known = constant(b, second)
            if wins and known is not None and known == known:
                opposite = {"oge": "olt", "ole": "ogt"}[predicate]
                return b.select(b.cmp(opposite, first, second), second, first)
        return b.select(b.mask_or(b.cmp(predicate, x, y), b.isnan(x if wins else y)), x, y)
    return emit


def _sign(b: Builder, x: str) -> str:
    zero = b.const(0.0)
    rest = b.select(b.cmp("oeq", x, zero), zero, x)                # NaN stays, -0.0 becomes 0.0
    return b.select(b.cmp("ogt", x, zero), b.const(1.0), b.select(b.cmp("olt", x, zero), b.const(-1.0), rest))


def _divmod(b: Builder, x: str, y: str) -> tuple[str, str]:
    """The floored quotient and the remainder for y != 0; the remainder has the sign of y (CPython's float_divmod)."""
    zero, rest = b.const(0.0), fmod(b, x, y)
    quotient = b.div(b.xsub(x, rest), y)
    whole = b.cmp("oeq", rest, zero)
    differ = b.mask_xor(b.cmp("olt", y, zero), b.cmp("olt", rest, zero))
    crossed = b.mask_and(differ, b.mask_not(whole))
    quotient = b.select(crossed, b.xsub(quotient, b.const(1.0)), quotient)
    rest = b.select(crossed, b.xadd(rest, y), b.select(whole, b.copysign(zero, y), rest))
    floor = b.floor(quotient)
    floor = b.select(b.cmp("ogt", b.xsub(quotient, floor), b.const(0.5)), b.add(floor, b.const(1.0)), floor)
    return b.select(b.cmp("oeq", quotient, zero), b.copysign(zero, b.div(x, y)), floor), rest


def _floor_divide(b: Builder, x: str, y: str) -> str:
    return b.select(b.cmp("oeq", y, b.const(0.0)), b.div(x, y), _divmod(b, x, y)[0])


def _remainder(b: Builder, x: str, y: str) -> str:
    return b.select(b.cmp("oeq", y, b.const(0.0)), b.const(np.nan), _divmod(b, x, y)[1])


def _nextafter(b: Builder, x: str, y: str) -> str:
    """By integers that are ordered as floats are: denormal numbers count, whatever the device makes of them."""
    i = b.like(np.dtype(f"int{b.bits}"))
    least = i.iconst(1 << b.bits - 1)
    sign = i.emit(f"bitcast<{i.type}>({x}) & {least}")

    def order(a: str) -> str:
        bits = i.emit(f"bitcast<{i.type}>({a})")
        return i.select(i.icmp("lt", bits, i.iconst(0)), i.isub(least, bits), bits)

    p, q = order(x), order(y)
    step = i.select(i.icmp("lt", p, q), i.iconst(1), i.iconst(-1))
    moved = i.iadd(p, step)
    bits = i.select(i.icmp("lt", moved, i.iconst(0)), i.isub(least, moved), moved)
    bits = i.select(i.icmp("eq", moved, i.iconst(0)), sign, bits)
    moved = b.to_float(bits)
    moved = b.select(i.icmp("eq", p, q), y, moved)
    return b.select(b.cmp("uno", x, y), b.const(np.nan), moved)


def _classify(sign: str) -> Callable[..., str]:
    def emit(b: Builder, x: str) -> str:
        top = b.iconst(0x7F800000 if b.bits == 32 else 0x7FF << 52)
        return b.emit(f"({b.bitcast(x)} & {b.iconst((1 << b.bits - 1) - 1)}) {sign} {top}")
    return emit


def _function(name: str) -> Callable[..., str]:
    def emit(b: Builder, *xs: str) -> str:
        if b.module.traits.fast_math and b.single and name in FAST:
            return FAST[name](b, *xs)
        return b.out_of_line("np_" + name, FUNCTIONS[name], *xs)
    return emit


# ---- integers -------------------------------------------------------------------------------------------------------

def _signed_division(b: Builder, x: str, y: str, sign: str) -> tuple[str, str, str]:
    """x / y or x % y with the divisors 0 and -1 replaced by 1; also (was 0, was -1)."""
    none, minus = b.icmp("eq", y, b.iconst(0)), b.icmp("eq", y, b.iconst(-1))
    safe = b.iselect(b.mask_or(none, minus), b.iconst(1), y)
    return b.emit(f"{x} {sign} {safe}"), none, minus


def _opposite(b: Builder, rest: str, y: str) -> str:
    """Where a nonzero remainder has not the divisor's sign."""
    return b.mask_and(b.icmp("ne", rest, b.iconst(0)), b.icmp("lt", b.ixor(rest, y), b.iconst(0)))


def _i_floor_divide(b: Builder, x: str, y: str) -> str:
    q, none, minus = _signed_division(b, x, y, "/")
    q = b.iselect(_opposite(b, b.isub(x, b.imul(q, y)), y), b.isub(q, b.iconst(1)), q)
    return b.iselect(none, b.iconst(0), b.iselect(minus, b.isub(b.iconst(0), x), q))


def _i_remainder(b: Builder, x: str, y: str) -> str:
    rest, none, minus = _signed_division(b, x, y, "%")
    rest = b.iselect(_opposite(b, rest, y), b.iadd(rest, y), rest)
    return b.iselect(b.mask_or(none, minus), b.iconst(0), rest)


def _i_fmod(b: Builder, x: str, y: str) -> str:
    rest, none, minus = _signed_division(b, x, y, "%")
    return b.iselect(b.mask_or(none, minus), b.iconst(0), rest)


def _unsigned(sign: str) -> Callable[..., str]:
    def emit(b: Builder, x: str, y: str) -> str:
        none = b.icmp("eq", y, b.iconst(0))
        return b.iselect(none, b.iconst(0), b.emit(f"{x} {sign} {b.iselect(none, b.iconst(1), y)}"))
    return emit


def _i_abs(b: Builder, x: str) -> str:
    return b.iselect(b.icmp("lt", x, b.iconst(0)), b.isub(b.iconst(0), x), x)


def _i_sign(b: Builder, x: str) -> str:
    positive = b.iselect(b.icmp("gt", x, b.iconst(0)), b.iconst(1), b.iconst(0))
    return positive if b.dtype.kind == "u" else b.ior(positive, b.ashr(x, b.iconst(b.bits - 1)))


def _shift(op: str) -> Callable[..., str]:
    """A shift whose count may be anything: what is shifted out of the word is 0, or the sign for `ashr`."""
    def emit(b: Builder, x: str, n: str) -> str:
        bits = b.dtype.itemsize * 8
        ok = b.icmp("ult", n, b.iconst(bits))
        if op == "ashr":
            return b.ashr(x, b.iselect(ok, n, b.iconst(bits - 1)))
        return b.iselect(ok, getattr(b, op)(x, b.iselect(ok, n, b.iconst(0))), b.iconst(0))
    return emit


def _i_extreme(predicate: str) -> Callable[..., str]:
    return lambda b, x, y: b.iselect(b.icmp(predicate, x, y), x, y)


def _i_pow(b: Builder, x: str, n: str) -> str:
    """x**n by squaring; a negative n gives 1."""
    name = f"pow_{b.suffix}"
    zero, one = b.iconst(0), b.iconst(1)
    start = f"max(n, {zero})" if b.kind[0] == "i" else "n"
    b.module.helper(name, f"""fn {name}(x: {b.type}, n: {b.type}) -> {b.type} {{
  var total = {b.type}({one});
  var base = x;
  var left = {start};
  for (var k = 0u; k < {b.bits}u; k++) {{
    total = select(total, total * base, (left & {one}) != {zero});
    base = base * base;
    left = left >> {b.splat('1u', 'u32')};
    if ({'all' if b.lanes else ''}(left == {zero})) {{
      break;
    }}
  }}
  return total;
}}""")
    return b.call(name, x, n)


# ---- the table ------------------------------------------------------------------------------------------------------

def _both(signed: Callable, unsigned: Callable | None = None) -> dict[str, Callable]:
    return {"i": signed, "u": unsigned or signed}


def _compare(f: str, i: str, b: str) -> dict[str, Callable]:
    return {"f": lambda v, x, y: v.cmp(f, x, y), "b": lambda v, x, y: v.emit(b.format(x=x, y=y)),
            **_both(lambda v, x, y: v.icmp(i, x, y))}


def _not(b: Builder, x: str) -> str:
    return b.emit(f"~{x}")


def _logic(sign: str) -> dict[str, Callable]:
    def emit(b: Builder, x: str, y: str) -> str:
        return b.emit(f"{x} {sign} {y}")
    return {"b": emit, **_both(emit)}


EMITTERS: dict[str, dict[str, Callable[..., str]]] = {
    "add": {"f": _sum("+"), **_both(Builder.iadd)},
    "sub": {"f": _sum("-"), **_both(Builder.isub)},
    "mul": {"f": _mul, **_both(Builder.imul)},
    "div": {"f": Builder.div},
    "floor_divide": {"f": _floor_divide, **_both(_i_floor_divide, _unsigned("/"))},
    "remainder": {"f": _remainder, **_both(_i_remainder, _unsigned("%"))},
    "fmod": {"f": fmod, **_both(_i_fmod, _unsigned("%"))},
    "neg": {"f": _negative, **_both(lambda b, x: b.isub(b.iconst(0), x))},
    "abs": {"f": Builder.abs, **_both(_i_abs, lambda b, x: x)},
    "sign": {"f": _sign, **_both(_i_sign)},
    "copysign": {"f": Builder.copysign},
    "nextafter": {"f": _nextafter},
    "maximum": {"f": _extreme("oge", "max", True), **_both(_i_extreme("gt")), "b": Builder.mask_or},
    "minimum": {"f": _extreme("ole", "min", True), **_both(_i_extreme("lt")), "b": Builder.mask_and},
    "fmax": {"f": _extreme("oge", "max", False)}, "fmin": {"f": _extreme("ole", "min", False)},
    "floor": {"f": Builder.floor}, "ceil": {"f": Builder.ceil}, "trunc": {"f": Builder.trunc},
    "rint": {"f": Builder.rint}, "sqrt": {"f": Builder.sqrt},
    "eq": _compare("oeq", "eq", "{x} == {y}"),
    "ne": _compare("une", "ne", "{x} != {y}"),
    "lt": _compare("olt", "lt", "!{x} & {y}"),
    "le": _compare("ole", "le", "!{x} | {y}"),
    "and": _logic("&"),
    "or": _logic("|"),
    "xor": {**_both(Builder.ixor), "b": Builder.mask_xor},
    "not": {**_both(_not), "b": Builder.mask_not},
    "shl": _both(_shift("shl")),
    "shr": _both(_shift("ashr"), _shift("lshr")),
    "signbit": {"f": lambda b, x: b.icmp("slt", b.to_int(x), b.iconst(0))},
    "isnan": {"f": Builder.isnan}, "isinf": {"f": _classify("==")}, "isfinite": {"f": _classify("<")},
    "select": {kind: Builder.select for kind in "fiub"},
    **{name: {"f": _function(name)} for name in FUNCTIONS},
}
EMITTERS["pow"].update(_both(_i_pow))

# float16 results of these are exact, or not floats: no rounding
EXACT_HALF = frozenset({"neg", "abs", "sign", "copysign", "maximum", "minimum", "fmax", "fmin", "floor", "ceil", "trunc",
                        "rint", "select", "fmod"})
# results of these leave the range of int8, int16, uint8 and uint16
WRAPS = frozenset({"add", "sub", "mul", "floor_divide", "neg", "abs", "not", "shl", "pow"})


def known_dtypes(traits: Traits) -> list[np.dtype]:
    """The dtypes that kernels may use."""
    absent = {"float16"} if not traits.float16 else set()
    if not traits.int64:
        absent |= {"int64", "uint64", "float64"}       # the bits of a float64 are worked on as a uint64
    if not traits.float64:
        absent.add("float64")
    return [d for d in DTYPES if d.kind != "c" and d.name not in absent]


def caps_ops(traits: Traits) -> frozenset[tuple[str, str]]:
    """What can be emitted, as (operation, dtype name of its last argument)."""
    out = {(name, d.name) for name, kinds in EMITTERS.items() for d in known_dtypes(traits) if d.kind in kinds}
    return frozenset(out - {("nextafter", "float16")})                       # its step is float16's own


def emit(module: Module, body: list[str], op_name: str, dtype: np.dtype, lanes: int, args: list[str],
         out_dtype: np.dtype | None = None, params: tuple = ()) -> str:
    """The name of the result of an operation of the table, of "cast" or of "const".

    `dtype` is that of the last argument; `out_dtype` is used by "cast" and "const", whose `params` are (value or its
    repr,). `args` are names of values or literals.
    """
    if op_name == "const":
        return const(module, body, params[0], out_dtype or dtype, lanes)
    b = Builder(module, body, lanes, dtype)
    if op_name == "cast":
        return cast(b, args[0], out_dtype)
    out = EMITTERS[op_name][dtype.kind](b, *args)
    if dtype == HALF and OPS[op_name].out == "same" and op_name not in EXACT_HALF:
        return round_half(b, out)
    if dtype.itemsize < 4 and dtype.kind in "iu" and op_name in WRAPS:
        return wrap(b, out, dtype)
    return out


def const(module: Module, body: list[str], value: bool | int | float | str, dtype: np.dtype, lanes: int) -> str:
    """A number, by value or by its repr."""
    if isinstance(value, str):
        value = float(value) if dtype.kind == "f" else value == "True" if dtype.kind == "b" else int(value)
    b = Builder(module, body, lanes, dtype)
    out = b.emit(b.const(value))
    module.facts["constant", out] = value
    module.facts[out] = frozenset(("constant",))
    return out
