"""Angles of any size modulo pi/2 (Payne and Hanek): 190 bits of 2/pi by 128-bit integers, one value at a time.

In: a Builder and the name of a finite float of magnitude 2**16 or more. Out: what is left and the number of quarter turns.
"""

from __future__ import annotations

from ..math.angles import two_over_pi_words
from .text import Builder, Function


def reduce_large(b: Builder) -> str:
    """The name of a function {double, i64} (double x), finite, |x| >= 2**16: r and n modulo 4."""
    module = b.fn.module
    name, table = "lazygrad.reduce_large", "@lazygrad.two_over_pi"

    def build(symbol: str) -> Function:
        words = two_over_pi_words(64, 20)
        module.globals.append(f"{table} = internal constant [{len(words)} x i64] "
                              f"[{', '.join(f'i64 {w}' for w in words)}], align 64")
        fn = Function(module, f"define internal {{double, i64}} @{symbol}(double %x) nounwind")
        d = Builder(fn, 0, "float64")
        whole = d.to_int(d.abs("%x"))
        fraction = d.ior(d.iand(whole, str((1 << 52) - 1)), str(1 << 52))
        exponent = d.isub(d.lshr(whole, "52"), "1075")                          # |x| = fraction * 2**exponent
        # three words of 2/pi from the weight 2**-(exponent-1) on: the bits above give multiples of 4
        place = d.iadd(exponent, "62")
        word, offset = d.lshr(place, "6"), d.iand(place, "63")
        at = d.emit(f"getelementptr i64, ptr {table}, i64 {word}")
        loaded = [d.emit(f"load i64, ptr {d.emit(f'getelementptr i64, ptr {at}, i64 {k}')}, align 8") for k in range(4)]
        module.declare("i64 @llvm.fshl.i64(i64, i64, i64)")
        window = [d.emit(f"call i64 @llvm.fshl.i64(i64 {loaded[k]}, i64 {loaded[k + 1]}, i64 {offset})")
                  for k in range(3)]
        # the upper 128 bits of fraction * window modulo 2**192
        wide = [d.emit(f"zext i64 {v} to i128") for v in [fraction, d.imul(fraction, window[0]), *window[1:]]]
        total = d.emit(f"shl i128 {wide[1]}, 64")
        for k, shift in ((2, 0), (3, 64)):
            product = d.emit(f"mul i128 {wide[0]}, {wide[k]}")
            total = d.emit(f"add i128 {total}, {d.emit(f'lshr i128 {product}, {shift}')}")
        middle = d.emit(f"trunc i128 {total} to i64")
        top = d.emit(f"trunc i128 {d.emit(f'lshr i128 {total}, 64')} to i64")
        part = d.ior(d.shl(top, "2"), d.lshr(middle, "62"))             # the fraction of n, signed: in [-1/2, 1/2)
        n = d.iadd(d.lshr(top, "62"), d.lshr(part, "63"))
        high = d.int_to_float(d.iand(part, str(-2048)))
        rest = d.mul(d.int_to_float(d.lshr(d.shl(middle, "2"), "11")), d.const(2.0**-53))
        rest = d.mul(d.xadd(d.int_to_float(d.iand(part, "2047")), rest), d.const(2.0**-64))
        high = d.mul(high, d.const(2.0**-64))
        r = d.fma(high, d.const(1.5707963267948966),
                  d.fma(high, d.const(6.123233995736766e-17), d.mul(rest, d.const(1.5707963267948966))))
        negative = d.cmp("olt", "%x", "0.0")
        r = d.select(negative, d.neg(r), r)
        n = d.iselect(negative, d.isub("0", n), n)
        one = d.emit(f"insertvalue {{double, i64}} poison, double {r}, 0")
        fn.end = f"ret {{double, i64}} {d.emit(f'insertvalue {{double, i64}} {one}, i64 {n}, 1')}"
        return fn

    return module.helper(name, build)


def reduce_lane(b: Builder, x: str) -> tuple[str, str, str]:
    """`reduce_large` of one value of this element type; r in two parts for float32."""
    double = b.kind == "double"
    wide = x if double else b.emit(f"fpext float {x} to double")
    pair = b.emit(f"call {{double, i64}} @{reduce_large(b)}(double {wide})")
    r, n = b.emit(f"extractvalue {{double, i64}} {pair}, 0"), b.emit(f"extractvalue {{double, i64}} {pair}, 1")
    if double:
        return r, "0.0", n
    first = b.emit(f"fptrunc double {r} to float")
    rest = b.emit(f"fsub double {r}, {b.emit(f'fpext float {first} to double')}")
    return first, b.emit(f"fptrunc double {rest} to float"), b.emit(f"trunc i64 {n} to i32")


def reduce_lanes(b: Builder, x: str) -> tuple[str, str, str]:
    """`reduce_lane` of every lane."""
    if not b.lanes:
        return reduce_lane(b, x)
    zeros = [(kind, "zeroinitializer") for kind in (b.type, b.type, b.itype)]
    with b.fn.loop("0", str(b.lanes), 1, zeros) as loop:
        lane = reduce_lane(b, b.emit(f"extractelement {b.type} {x}, i64 {loop.i}"))
        kinds = (b.kind, b.kind, b.ikind)
        loop.next = [b.emit(f"insertelement {zero[0]} {value}, {kind} {part}, i64 {loop.i}")
                     for zero, value, kind, part in zip(zeros, loop.values, kinds, lane, strict=True)]
    return loop.next[0], loop.next[1], loop.next[2]
