"""Casts between dtypes in WGSL, with the meaning of ndarray.astype, and the rounding and wrapping of the narrow dtypes.

A float that an integer cannot hold becomes what an x86 CPU makes of it: the least int32 or int64, cut to size.
"""

from __future__ import annotations

import numpy as np

from .text import Builder, typed

HALF, F32 = np.dtype("float16"), np.dtype("float32")


def wrap(b: Builder, x: str, dtype: np.dtype) -> str:
    """The low bits of an integer as int8, int16, uint8 or uint16: signed ones are extended."""
    bits = dtype.itemsize * 8
    if dtype.kind == "u":
        return b.iand(x, b.iconst((1 << bits) - 1))
    return b.ashr(b.shl(x, b.iconst(32 - bits)), b.iconst(32 - bits))


def round_half(b: Builder, x: str) -> str:
    """A float32 value rounded to float16 (ties to even), still held as float32.

    By integers: WGSL leaves the rounding, denormal numbers and overflow of its own conversions to the device.
    """
    if b.module.traits.fast_math and b.module.traits.float16:
        b.module.enables.add("f16")
        half = "vec4<f16>" if b.lanes else "f16"
        return b.emit(f"{b.type}({half}({x}))")

    def body(b: Builder, x: str) -> str:
        bits = b.to_int(x)
        sign, size = b.iand(bits, b.iconst(1 << 31)), b.iand(bits, b.iconst((1 << 31) - 1))
        odd = b.iand(b.lshr(size, b.iconst(13)), b.iconst(1))
        near = b.iand(b.iadd(b.iadd(size, odd), b.iconst(0xFFF)), b.iconst(0xFFFFE000))
        near = b.iselect(b.icmp("ugt", near, b.iconst(0x477FE000)), b.iconst(0x7F800000), near)
        # below 2**-14: a multiple of 2**-24
        steps = b.rint(b.mul(b.to_float(size), b.const(2.0**24)))
        small = b.to_int(b.mul(steps, b.const(2.0**-24)))
        near = b.iselect(b.icmp("ult", size, b.iconst(0x38800000)), small, near)
        near = b.iselect(b.icmp("ugt", size, b.iconst(0x7F800000)), b.iconst(0x7FC00000), near)
        return b.to_float(b.ior(near, sign))

    single = b if b.dtype == F32 else Builder(b.module, b.body, b.lanes, F32)
    return single.out_of_line("round_half", body, x)


def _odd_single(b: Builder, x: str) -> str:
    """float64 to float32 rounded to odd, so that rounding again (to float16) is right."""
    s = b.like(F32)
    near = b.emit(f"{s.type}({x})")
    back = b.emit(f"{b.type}({near})")
    bits = s.to_int(near)
    bits = s.iselect(b.cmp("ogt", b.abs(back), b.abs(x)), s.isub(bits, s.iconst(1)), bits)
    return s.to_float(s.iselect(b.cmp("one", back, x), s.ior(bits, s.iconst(1)), bits))


def _low_word(b: Builder, x: str) -> str:
    """A float32 truncated, modulo 2**32, as u32; 0 from 2**63 on, as on the CPU."""
    def body(b: Builder, x: str) -> str:
        bits = b.to_int(x)
        exponent = b.iand(b.lshr(bits, b.iconst(23)), b.iconst(255))
        fraction = b.ior(b.iand(bits, b.iconst((1 << 23) - 1)), b.iconst(1 << 23))
        left = b.call("min", b.isub(b.call("max", exponent, b.iconst(150)), b.iconst(150)), b.iconst(31))
        right = b.call("min", b.isub(b.iconst(150), b.call("min", exponent, b.iconst(150))), b.iconst(31))
        size = b.lshr(b.shl(fraction, left), right)
        size = b.iselect(b.icmp("ugt", exponent, b.iconst(181)), b.iconst(0), size)
        return b.iselect(b.icmp("slt", bits, b.iconst(0)), b.isub(b.iconst(0), size), size)

    name = f"low_word_{b.suffix}"

    def build() -> str:
        lines: list[str] = []
        result = body(Builder(b.module, lines, b.lanes, F32), "x")
        return "\n  ".join([f"fn {name}(x: {b.type}) -> {b.itype} {{", *lines, f"return {result};"]) + "\n}"

    b.module.helper(name, build)
    return b.call(name, x)


def _float_to_int(b: Builder, x: str, to: np.dtype) -> str:
    """C's conversion: exact where the truncated value fits, and what an x86 CPU gives where it does not."""
    wide = 64 if to.itemsize == 8 or (b.kind == "f64" and to.name == "uint32") else 32
    if to.name == "uint32" and b.single:
        return _low_word(b, x)

    def signed(v: str) -> str:
        w = b.like(np.dtype(f"int{wide}"))
        fits = b.cmp("olt", b.abs(v), b.const(2.0 ** (wide - 1)))
        safe = b.select(fits, v, b.const(0.0))
        return w.select(fits, w.emit(f"{w.type}({safe})"), w.iconst(1 << wide - 1))

    out = b.like(to)
    if to.name == "uint64":
        top, w = b.const(2.0**63), b.like(np.dtype("int64"))
        high = w.ixor(signed(b.xsub(x, top)), w.iconst(1 << 63))
        return out.emit(f"bitcast<{out.type}>({w.select(b.cmp('oge', x, top), high, signed(x))})")
    value = signed(x)
    if to.kind == "u":
        value = out.emit(f"{out.type}({value})")
    return wrap(out, value, to) if to.itemsize < 4 else value


def cast(b: Builder, x: str, to: np.dtype) -> str:
    """`x`, of the dtype of `b`, as dtype `to`: ndarray.astype."""
    have, out = b.dtype, b.like(to)
    if have == to:
        return x
    if to.kind == "b":
        if have.kind == "f":                           # by bits: a denormal number is not 0
            return b.emit(f"({b.bitcast(x)} & {b.iconst((1 << b.bits - 1) - 1)}) != {b.iconst(0)}")
        return b.icmp("ne", x, b.iconst(0))
    if have.kind == "b":
        return out.select(x, out.const(1), out.const(0))
    if have.kind == "f":
        if to.kind != "f":
            return _float_to_int(b, x, to)
        if to == HALF:
            return round_half(b, _odd_single(b, x) if have.name == "float64" else x)
        return x if b.kind == out.kind else b.emit(f"{out.type}({x})")       # float16 is held as float32
    if to.kind == "f":
        value = b.emit(f"{out.type}({x})")
        return round_half(out, value) if to == HALF else value
    if b.bits < out.bits:                              # naga extends by the sign of the result's type: not by a value's own
        wide = typed(f"{b.kind[0]}64", b.lanes)
        value = b.emit(f"bitcast<{out.type}>({wide}({x}))")
    else:
        value = x if b.kind == out.kind else b.emit(f"{out.type}({x})")
    narrower = to.itemsize < have.itemsize or (to.itemsize == have.itemsize and to.kind != have.kind) or \
        (have.kind == "i" and to.kind == "u")
    return wrap(out, value, to) if to.itemsize < 4 and narrower else value
