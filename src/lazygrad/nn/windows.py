"""Windows over the last axes of an array: what convolution and pooling read, and the arguments that describe them.

In: a Term, sizes, strides, dilations and paddings (an integer for all axes, or one for each). Out: the windows as a Term; checked numbers.
"""

from __future__ import annotations

import operator

from ..errors import DataError, ShapeError
from ..functions.movement import permuted
from ..functions.promotion import P, Shape, broadcast, reshaped
from ..ir.record import record
from ..ir.term import Term


def numbers(op: str, name: str, value: object, n: int, least: int = 1) -> Shape:
    """`value` as n integers that are at least `least`."""
    many = value if isinstance(value, tuple | list) else (value,) * n
    try:
        out = tuple([operator.index(v) for v in many])
    except TypeError:
        raise DataError(op, f"{name} {value!r}", "it is no integer", f"pass an integer, or {n} of them") from None
    out = out * n if len(out) == 1 else out
    if len(out) != n:
        raise ShapeError(op, f"{name} {value}", f"it has {len(out)} numbers, for {n} {'axis' if n == 1 else 'axes'}", f"pass one, or {n} of them")
    if any([v < least for v in out]):
        raise ShapeError(op, f"{name} {value}", f"it must be {least} or more", "pass positive numbers" if least else "pass numbers of 0 or more")
    return out


@record
class Geometry:
    """Windows along each of the last axes: `taps` positions `dilation` apart; the i-th begins at i * stride - low; there are `count`."""

    taps: Shape
    stride: Shape
    dilation: Shape
    low: Shape
    high: Shape
    count: Shape


def spanned(taps: int, dilation: int) -> int:
    """How many positions a window covers from its first tap to its last."""
    return (taps - 1) * dilation + 1


def padding_of(op: str, padding: object, sizes: Shape, taps: Shape, stride: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """(before, after) of every axis: from "valid", "same", an integer, one for each axis, or one pair for each axis."""
    n = len(sizes)
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * n, (0,) * n
        if padding != "same":
            raise ShapeError(op, f"padding {padding!r}", "there is no such padding", 'pass "same", "valid" or numbers')
        # as many results as there are strides in the input; an odd rest goes behind
        total = [max((-(-m // s) - 1) * s + spanned(k, d) - m, 0) for m, k, s, d in zip(sizes, taps, stride, dilation, strict=True)]
        return tuple([t // 2 for t in total]), tuple([t - t // 2 for t in total])
    if isinstance(padding, tuple | list) and padding and all([isinstance(p, tuple | list) and len(p) == 2 for p in padding]):
        return numbers(op, "padding", tuple([p[0] for p in padding]), n, 0), numbers(op, "padding", tuple([p[1] for p in padding]), n, 0)
    both = numbers(op, "padding", padding, n, 0)
    return both, both


def windows(x: Term, g: Geometry) -> Term:
    """(*lead, *sizes) → (*lead, *count, *taps): the windows over the last axes, 0 outside of x."""
    n = len(g.taps)
    lead, sizes = x.aval.shape[:-n], x.aval.shape[-n:]
    if tiles(g) and all([c * k <= m for c, k, m in zip(g.count, g.taps, sizes, strict=True)]):
        # every element is in one window at most: the windows are a reshape
        used = tuple([c * k for c, k in zip(g.count, g.taps, strict=True)])
        if used != sizes:
            x = P.slice(x, start=(0,) * x.aval.ndim, step=(1,) * x.aval.ndim, shape=(*lead, *used))
        x = reshaped(x, (*lead, *[m for ck in zip(g.count, g.taps, strict=True) for m in ck]))
        first = len(lead)
        return permuted(x, (*range(first), *range(first, first + 2 * n, 2), *range(first + 1, first + 2 * n, 2)))
    x = broadcast(reshaped(x, (*lead, *sizes, *(1,) * n)), (*lead, *sizes, *g.taps))
    return P.shear(x, step=g.stride, by=g.dilation, start=tuple([-m for m in g.low]), every=(1,) * n, count=g.count)


def tiles(g: Geometry) -> bool:
    """Whether the windows lie side by side, from the first element on."""
    return g.stride == g.taps and not any(g.low) and all([d == 1 or k == 1 for d, k in zip(g.dilation, g.taps, strict=True)])


def overlaid(x: Term, sizes: Shape, g: Geometry) -> Term:
    """The transpose of `windows`: (*lead, *count, *taps) → (*lead, *sizes), each element the sum of its copies in all windows."""
    n = len(sizes)
    first = x.aval.ndim - 2 * n
    spread = P.shear(x, step=(1,) * n, by=tuple([-d for d in g.dilation]), start=g.low, every=g.stride, count=sizes)
    return P.sum(spread, axes=tuple(range(first + n, first + 2 * n)))
