"""The LLVM column of the scalar-op table: one emitter per operation and kind of value, with NumPy's meaning.

In: a `Builder` of the arguments' dtype and width, and SSA values. Out: the SSA value of the result. Integers never
trap, floats follow IEEE 754, float16 is computed in float32 and rounded after every operation, as NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...dtypes import DTYPES
from ...ir.scalar import OPS
from ..math import FUNCTIONS
from ..monoids import identity as identity
from .target import arch, host
from .text import Builder, Function, element, suffix, typed

# scalar operations that libm has under the same name; single values call it instead of inlining a polynomial
LIBM = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
        "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "cbrt", "pow", "hypot", "atan2")
INLINED = 8                       # uses of one function that a kernel holds inline: compile time follows the text


# ---- floats ---------------------------------------------------------------------------------------------------------

def _is_number(x: str) -> bool:
    """Whether an operand is a constant other than NaN."""
    return not x.startswith("%") and "0x7FF8" not in x


def _maximum(b: Builder, x: str, y: str, greater: str = "o") -> str:
    beats, loses = ("oge", "olt") if greater == "o" else ("ole", "ogt")
    if _is_number(y):                               # x < c ? c : x keeps a NaN in x: one instruction on most machines
        return b.select(b.cmp(loses, x, y), y, x)
    if _is_number(x):
        return b.select(b.cmp(beats, x, y), x, y)
    return b.select(b.mask_or(b.cmp(beats, x, y), b.cmp("uno", x, x)), x, y)


def _minimum(b: Builder, x: str, y: str) -> str:
    return _maximum(b, x, y, "less")


def _fmax(b: Builder, x: str, y: str) -> str:
    return b.select(b.mask_or(b.cmp("oge", x, y), b.cmp("uno", y, y)), x, y)


def _fmin(b: Builder, x: str, y: str) -> str:
    return b.select(b.mask_or(b.cmp("ole", x, y), b.cmp("uno", y, y)), x, y)


def _sign(b: Builder, x: str) -> str:
    zero = b.const(0.0)
    rest = b.select(b.cmp("oeq", x, zero), zero, x)         # NaN stays, -0.0 becomes 0.0
    return b.select(b.cmp("ogt", x, zero), b.const(1.0), b.select(b.cmp("olt", x, zero), b.const(-1.0), rest))


def _libm_name(name: str, b: Builder) -> str:
    return name if b.kind == "double" else name + "f"


def _fmod_helper(b: Builder, name: str) -> Function:
    """fmod of vectors: x - trunc(x/y) y by a fused multiply-add where the quotient is small, else libm lane by lane."""
    fn = Function(b.fn.module, f"define internal {b.type} @{name}({b.type} %p, {b.type} %q, ptr %x) nounwind")
    v = Builder(fn, b.lanes, b.dtype)
    slow = lambda: v.extern(_libm_name("fmod", v), "%p", "%q")
    if "fma" not in b.fn.module.has:
        return _returning(fn, v.type, slow())
    quotient = v.trunc(v.div("%p", "%q"))
    size = v.abs("%q")
    small = v.mask_and(v.cmp("olt", v.abs(quotient), v.const(2.0**22)), v.cmp("olt", size, v.const(np.inf)))
    # the quotient is right or one too large (x/y rounded up to it); both remainders are exact in one rounding
    rest = v.intrinsic("fma", v.neg(quotient), "%q", "%p")
    below = v.cmp("olt", rest, v.const(0.0))
    above = v.cmp("ogt", rest, v.const(0.0))
    negative = v.icmp("slt", v.to_int("%p"), v.iconst(0))
    crossed = v.emit(f"select {v.mask} {negative}, {v.mask} {above}, {v.mask} {below}")
    fixed = v.select(crossed, v.xadd(rest, v.copysign(size, "%p")), rest)
    fast = v.copysign(fixed, "%p")
    return _returning(fn, v.type, v.if_any(v.mask_not(small), slow, fast))


def _returning(fn: Function, kind: str, value: str) -> Function:
    fn.end = f"ret {kind} {value}"
    return fn


def _fmod(b: Builder, x: str, y: str) -> str:
    if not b.lanes:
        return b.extern(_libm_name("fmod", b), x, y)
    name = b.fn.module.helper(f"fmod_{suffix(b.kind, b.lanes)}", lambda n: _fmod_helper(b, n))
    return b.emit(f"call {b.type} @{name}({b.type} {x}, {b.type} {y}, ptr {b.fn.args})")


def _divmod(b: Builder, x: str, y: str) -> tuple[str, str]:
    """The floored quotient and the remainder for y != 0; the remainder has the sign of y (CPython's float_divmod)."""
    zero, rest = b.const(0.0), _fmod(b, x, y)
    quotient = b.div(b.xsub(x, rest), y)
    whole = b.cmp("oeq", rest, zero)
    differ = b.emit(f"xor {b.mask} {b.cmp('olt', y, zero)}, {b.cmp('olt', rest, zero)}")
    crossed = b.mask_and(differ, b.mask_not(whole))
    quotient = b.select(crossed, b.xsub(quotient, b.const(1.0)), quotient)
    rest = b.select(crossed, b.xadd(rest, y), b.select(whole, b.copysign(zero, y), rest))
    floor = b.floor(quotient)
    floor = b.select(b.cmp("ogt", b.xsub(quotient, floor), b.const(0.5)), b.xadd(floor, b.const(1.0)), floor)
    return b.select(b.cmp("oeq", quotient, zero), b.copysign(zero, b.div(x, y)), floor), rest


def _floor_divide(b: Builder, x: str, y: str) -> str:
    return b.select(b.cmp("oeq", y, b.const(0.0)), b.div(x, y), _divmod(b, x, y)[0])


def _remainder(b: Builder, x: str, y: str) -> str:
    return b.select(b.cmp("oeq", y, b.const(0.0)), b.const(np.nan), _divmod(b, x, y)[1])


def _nextafter(b: Builder, x: str, y: str) -> str:
    bits, one, zero = b.to_int(x), b.iconst(1), b.const(0.0)
    away = b.emit(f"xor {b.mask} {b.cmp('olt', x, y)}, {b.cmp('olt', x, zero)}")      # magnitude grows
    moved = b.to_float(b.iselect(away, b.iadd(bits, one), b.isub(bits, one)))
    moved = b.select(b.cmp("oeq", x, zero), b.copysign(b.to_float(one), y), moved)
    moved = b.select(b.cmp("oeq", x, y), y, moved)
    return b.select(b.cmp("uno", x, y), b.xadd(x, y), moved)


def _function(name: str) -> Callable[..., str]:
    """A mathematical function: in vectors the polynomial inline (its first uses in a kernel, the others call a shared copy);

    on single values libm, or the shared copy.
    """
    def emit(b: Builder, *xs: str) -> str:
        known, uses = FUNCTIONS.get(name), b.fn.inlined
        if b.lanes and known:
            uses[name] = uses.get(name, 0) + 1
            if uses[name] <= INLINED:
                return known(b, *xs)
        elif name in LIBM:
            return b.extern(_libm_name(name, b), *xs)
        params = [f"%p{i}" for i in range(len(xs))]

        def build(full: str) -> Function:
            head = ", ".join([f"{b.type} {p}" for p in params] + ["ptr %x"])
            fn = Function(b.fn.module, f"define internal {b.type} @{full}({head}) nounwind")
            return _returning(fn, b.type, known(Builder(fn, b.lanes, b.dtype), *params))

        full = b.fn.module.helper(f"{name}_{suffix(b.kind, b.lanes)}", build)
        return b.emit(f"call {b.type} @{full}({', '.join([f'{b.type} {x}' for x in xs])}, ptr {b.fn.args})")
    return emit


# ---- integers -------------------------------------------------------------------------------------------------------

def _signed_division(b: Builder, x: str, y: str, op: str) -> tuple[str, str, str]:
    """`sdiv` or `srem` that cannot trap: the divisors 0 and -1 are replaced by 1; also (was 0, was -1)."""
    none, minus = b.icmp("eq", y, b.iconst(0)), b.icmp("eq", y, b.iconst(-1))
    safe = b.iselect(b.mask_or(none, minus), b.iconst(1), y)
    return b.emit(f"{op} {b.type} {x}, {safe}"), none, minus


def _opposite(b: Builder, rest: str, y: str) -> str:
    """Where a nonzero remainder has not the divisor's sign."""
    return b.mask_and(b.icmp("ne", rest, b.iconst(0)), b.icmp("slt", b.ixor(rest, y), b.iconst(0)))


def _i_floor_divide(b: Builder, x: str, y: str) -> str:
    q, none, minus = _signed_division(b, x, y, "sdiv")
    rest = b.isub(x, b.imul(q, y))
    q = b.iselect(_opposite(b, rest, y), b.isub(q, b.iconst(1)), q)
    return b.iselect(none, b.iconst(0), b.iselect(minus, b.isub(b.iconst(0), x), q))


def _i_remainder(b: Builder, x: str, y: str) -> str:
    rest, none, minus = _signed_division(b, x, y, "srem")
    rest = b.iselect(_opposite(b, rest, y), b.iadd(rest, y), rest)
    return b.iselect(b.mask_or(none, minus), b.iconst(0), rest)


def _i_fmod(b: Builder, x: str, y: str) -> str:
    rest, none, minus = _signed_division(b, x, y, "srem")
    return b.iselect(b.mask_or(none, minus), b.iconst(0), rest)


def _unsigned(op: str) -> Callable[..., str]:
    def emit(b: Builder, x: str, y: str) -> str:
        none = b.icmp("eq", y, b.iconst(0))
        return b.iselect(none, b.iconst(0), b.emit(f"{op} {b.type} {x}, {b.iselect(none, b.iconst(1), y)}"))
    return emit


def _i_abs(b: Builder, x: str) -> str:
    return b.iselect(b.icmp("slt", x, b.iconst(0)), b.isub(b.iconst(0), x), x)


def _i_sign(b: Builder, x: str) -> str:
    positive = b.emit(f"zext {b.mask} {b.icmp('sgt', x, b.iconst(0))} to {b.type}")
    return b.ior(positive, b.ashr(x, b.iconst(b.bits - 1)))


def _shift(op: str) -> Callable[..., str]:
    """A shift whose count may be anything: what is shifted out of the word is 0, or the sign for `ashr`."""
    def emit(b: Builder, x: str, n: str) -> str:
        ok = b.icmp("ult", n, b.iconst(b.bits))
        if op == "ashr":
            return b.ashr(x, b.iselect(ok, n, b.iconst(b.bits - 1)))
        return b.iselect(ok, b.emit(f"{op} {b.type} {x}, {b.iselect(ok, n, b.iconst(0))}"), b.iconst(0))
    return emit


def _extreme(predicate: str) -> Callable[..., str]:
    return lambda b, x, y: b.iselect(b.icmp(predicate, x, y), x, y)


def _i_pow(b: Builder, x: str, n: str) -> str:
    """x**n by squaring, in a function that all kernels share; a negative n gives 1."""
    def build(name: str) -> Function:
        fn = Function(b.fn.module, f"define internal {b.type} @{name}({b.type} %p, {b.type} %q) nounwind")
        v = Builder(fn, b.lanes, b.dtype)
        one = v.iconst(1)
        start = v.iselect(v.icmp("sgt" if b.dtype.kind == "i" else "ugt", "%q", v.iconst(0)), "%q", v.iconst(0))
        with fn.loop("0", str(b.bits), 1, [(v.type, one), (v.type, "%p"), (v.type, start)]) as l:
            total, base, left = l.values
            odd = v.icmp("ne", v.iand(left, one), v.iconst(0))
            l.next = [v.iselect(odd, v.imul(total, base), total), v.imul(base, base), v.lshr(left, one)]
        return _returning(fn, v.type, l.next[0])

    kind = "s" if b.dtype.kind == "i" else "u"
    name = b.fn.module.helper(f"pow_{kind}{suffix(b.kind, b.lanes)}", build)
    return b.emit(f"call {b.type} @{name}({b.type} {x}, {b.type} {n})")


# ---- the table ------------------------------------------------------------------------------------------------------

def _both(signed: Callable, unsigned: Callable | None = None) -> dict[str, Callable]:
    return {"i": signed, "u": unsigned or signed}


def _compare(f: str, i: str, u: str, b: Callable) -> dict[str, Callable]:
    return {"f": lambda v, x, y: v.cmp(f, x, y), "b": b,
            **_both(lambda v, x, y: v.icmp(i, x, y), lambda v, x, y: v.icmp(u, x, y))}


_same = lambda b, x: x
_zero_minus = lambda b, x: b.isub(b.iconst(0), x)
_xor = lambda b, x, y: b.ixor(x, y)
_not = lambda b, x: b.ixor(x, b.iconst(-1))

EMITTERS: dict[str, dict[str, Callable[..., str]]] = {
    "add": {"f": Builder.add, **_both(Builder.iadd)},
    "sub": {"f": Builder.sub, **_both(Builder.isub)},
    "mul": {"f": Builder.mul, **_both(Builder.imul)},
    "div": {"f": Builder.div},
    "floor_divide": {"f": _floor_divide, **_both(_i_floor_divide, _unsigned("udiv"))},
    "remainder": {"f": _remainder, **_both(_i_remainder, _unsigned("urem"))},
    "fmod": {"f": _fmod, **_both(_i_fmod, _unsigned("urem"))},
    "neg": {"f": Builder.neg, **_both(_zero_minus)},
    "abs": {"f": Builder.abs, **_both(_i_abs, _same)},
    "sign": {"f": _sign, **_both(_i_sign, lambda b, x: b.emit(f"zext {b.mask} {b.icmp('ne', x, b.iconst(0))} to {b.type}"))},
    "copysign": {"f": Builder.copysign},
    "nextafter": {"f": _nextafter},
    "maximum": {"f": _maximum, **_both(_extreme("sgt"), _extreme("ugt")), "b": Builder.mask_or},
    "minimum": {"f": _minimum, **_both(_extreme("slt"), _extreme("ult")), "b": Builder.mask_and},
    "fmax": {"f": _fmax}, "fmin": {"f": _fmin},
    "floor": {"f": Builder.floor}, "ceil": {"f": Builder.ceil}, "trunc": {"f": Builder.trunc},
    "rint": {"f": Builder.rint}, "sqrt": {"f": Builder.sqrt},
    "eq": _compare("oeq", "eq", "eq", lambda b, x, y: b.mask_not(_xor(b, x, y))),
    "ne": _compare("une", "ne", "ne", _xor),
    "lt": _compare("olt", "slt", "ult", lambda b, x, y: b.mask_and(b.mask_not(x), y)),
    "le": _compare("ole", "sle", "ule", lambda b, x, y: b.mask_or(b.mask_not(x), y)),
    "and": {**_both(Builder.iand), "b": Builder.mask_and},
    "or": {**_both(Builder.ior), "b": Builder.mask_or},
    "xor": {**_both(_xor), "b": _xor},
    "not": {**_both(_not), "b": Builder.mask_not},
    "shl": _both(_shift("shl")),
    "shr": _both(_shift("ashr"), _shift("lshr")),
    "signbit": {"f": lambda b, x: b.icmp("slt", b.to_int(x), b.iconst(0))},
    "isnan": {"f": lambda b, x: b.cmp("uno", x, x)},
    "isinf": {"f": lambda b, x: b.cmp("oeq", b.abs(x), b.const(np.inf))},
    "isfinite": {"f": lambda b, x: b.cmp("olt", b.abs(x), b.const(np.inf))},
    "select": {"f": Builder.select, **_both(Builder.select), "b": Builder.select},
    **{name: {"f": _function(name)} for name in {*LIBM, *FUNCTIONS} if name in OPS},
}
EMITTERS["pow"].update(_both(_i_pow))

HALF = np.dtype("float16")

# float16 results of these are exact, or not floats: no rounding
EXACT_HALF = frozenset({"neg", "abs", "sign", "copysign", "maximum", "minimum", "fmax", "fmin", "floor", "ceil", "trunc",
                        "rint", "select", "fmod"})


def caps_ops(half: bool = True) -> frozenset[tuple[str, str]]:
    """What can be emitted, as (operation, dtype name of its last argument); `half`: with float16."""
    rows = [(d.kind, d.name) for d in DTYPES if half or d.name != "float16"]          # a dtype's name costs 10 us
    out = {(name, dtype) for name, kinds in EMITTERS.items() for kind, dtype in rows if kind in kinds}
    out -= {("nextafter", "float16")}                  # its step is float16's own
    return frozenset(out)


# on this machine: x86-64 without F16C would call functions of a compiler's library for float16
CAPS_OPS = caps_ops(arch() != "x86_64" or "f16c" in host().has)


def emit(name: str, b: Builder, *args: str) -> str:
    """The result of scalar operation `name` on `args`; `b` is of the dtype of the last argument (float16 included)."""
    out = EMITTERS[name][b.dtype.kind](b, *args)
    if b.dtype == HALF and OPS[name].out == "same" and name not in EXACT_HALF:
        return round_half(b, out)
    return out


# ---- casts ----------------------------------------------------------------------------------------------------------

def round_half(b: Builder, x: str) -> str:
    """A float32 value rounded to float16, still held as float32."""
    single, half = typed("float", b.lanes), typed("half", b.lanes)
    return b.emit(f"fpext {half} {b.emit(f'fptrunc {single} {x} to {half}')} to {single}")


def _odd_single(b: Builder, x: str) -> str:
    """float64 to float32 rounded to odd, so that rounding again (to float16) is right."""
    s = b.like(np.dtype("float32"))
    near = b.emit(f"fptrunc {b.type} {x} to {s.type}")
    back = b.emit(f"fpext {s.type} {near} to {b.type}")
    bits = s.to_int(near)
    away = b.cmp("ogt", b.abs(back), b.abs(x))
    bits = s.iselect(away, s.isub(bits, s.iconst(1)), bits)
    inexact = b.cmp("one", back, x)
    return s.to_float(s.iselect(inexact, s.ior(bits, s.iconst(1)), bits))


def _float_to_int(b: Builder, x: str, to: np.dtype) -> str:
    """C's conversion: exact where the truncated value fits, and what the CPU gives where it does not (never poison)."""
    wide = 32 if to.itemsize < 4 or to.name == "int32" else 64
    kind = typed(f"i{wide}", b.lanes)
    def signed(v: str) -> str:
        return b.emit(f"freeze {kind} {b.emit(f'fptosi {b.type} {v} to {kind}')}")
    if to.name == "uint64":
        top = b.const(2.0**63)
        high = b.emit(f"xor {kind} {signed(b.xsub(x, top))}, {Builder(b.fn, b.lanes, to).iconst(1 << 63)}")
        return b.emit(f"select {b.mask} {b.cmp('oge', x, top)}, {kind} {high}, {kind} {signed(x)}")
    out = signed(x)
    return out if wide == to.itemsize * 8 else b.emit(f"trunc {kind} {out} to {typed(element(to), b.lanes)}")


def cast(b: Builder, x: str, to: np.dtype) -> str:
    """`x`, of the dtype of `b`, as dtype `to`: ndarray.astype."""
    have, out = b.dtype, b.like(to)
    if have == to:
        return x
    if to.kind == "b":
        return b.cmp("une", x, b.const(0.0)) if have.kind == "f" else b.icmp("ne", x, b.iconst(0))
    if have.kind == "b":
        if to.kind == "f":
            return out.select(x, out.const(1.0), out.const(0.0))
        return b.emit(f"zext {b.type} {x} to {out.type}")
    if have.kind == "f":
        if to.kind != "f":
            return _float_to_int(b, x, to)
        if to.name == "float16":
            return round_half(b, _odd_single(b, x) if have.name == "float64" else x)
        if b.kind == out.kind:                         # float16 is held as float32
            return x
        return b.emit(f"{'fpext' if to.name == 'float64' else 'fptrunc'} {b.type} {x} to {out.type}")
    if to.kind == "f":
        value = b.emit(f"{'sitofp' if have.kind == 'i' else 'uitofp'} {b.type} {x} to {out.type}")
        return round_half(out, value) if to.name == "float16" else value
    if have.itemsize == to.itemsize:
        return x
    op = "trunc" if have.itemsize > to.itemsize else "sext" if have.kind == "i" else "zext"
    return b.emit(f"{op} {b.type} {x} to {out.type}")
