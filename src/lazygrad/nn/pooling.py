"""Pooling: the maximum, mean or norm of windows over the spatial axes of (N, C, *sizes).

In: x, and windows as an integer for all spatial axes or one for each. Out: (N, C, *counts) in x's dtype (means of integers in the default
float). Where several elements of a window are its maximum they share the derivative equally, as in `max`; padding is -inf to a maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..functions.composite import fill, scale
from ..functions.promotion import P, Shape, broadcast, cast, constant, inexact, reshaped
from ..functions.table import public
from ..ir.record import changed
from ..ir.term import Term
from .windows import Geometry, numbers, spanned, windows

NAMES = ("a length", "height and width", "depth, height and width")


# ---- where the windows are ----------------------------------------------------------------------------------------------------

def _axes(op: str, x: Term, sizes: object, n: int | None) -> int:
    """How many spatial axes: as many as `sizes` has numbers, else all but examples and channels; `n` fixes it."""
    many = isinstance(sizes, tuple) and len(sizes) > 1
    d = n if n is not None else len(sizes) if many else x.aval.ndim - 2
    if d < 1 or x.aval.ndim < d + (0 if n is None else 1):
        raise ShapeError(op, str(x.aval.shape), "it has no channels before its spatial axes", "pass (N, C, *sizes)")
    return d


def _geometry(op: str, x: Term, n: int | None, window: object, stride: object, padding: object, dilation: object, ceil_mode: bool) -> Geometry:
    n = _axes(op, x, window, n)
    sizes = x.aval.shape[-n:]
    taps, apart = numbers(op, "window", window, n), numbers(op, "dilation", dilation, n)
    steps = taps if stride is None or stride == () else numbers(op, "stride", stride, n)
    pad = numbers(op, "padding", padding, n, 0)
    count = []
    for m, k, s, d, p in zip(sizes, taps, steps, apart, pad, strict=True):
        span = spanned(k, d)
        if p > span // 2:
            raise ShapeError(op, f"padding {padding} and window {window}", "padding is at most half of the window", "pad x before")
        room = m + 2 * p - span
        c = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (c - 1) * s >= m + p:             # no window begins in the padding behind
            c -= 1
        if c < 1:
            raise ShapeError(op, f"{x.aval.shape} and window {window}", f"the window covers {span} positions, the padded input has {m + 2 * p}",
                             "pass a smaller window")
        count.append(c)
    return Geometry(taps, steps, apart, pad, pad, tuple(count))


def _inside(g: Geometry, sizes: Shape) -> bool:
    """Whether all windows lie inside of the array."""
    return all([p == 0 and (c - 1) * s + spanned(k, d) <= m
                for p, c, s, k, d, m in zip(g.low, g.count, g.stride, g.taps, g.dilation, sizes, strict=True)])


def _last(x: Term, n: int) -> tuple[int, ...]:
    return tuple(range(x.aval.ndim - n, x.aval.ndim))


# ---- maxima --------------------------------------------------------------------------------------------------------------------

def _least(dtype: np.dtype) -> float | int | bool:
    if dtype.kind == "f":
        return -math.inf
    return False if dtype.kind == "b" else int(np.iinfo(dtype).min)


def _candidates(op: str, x: Term, g: Geometry) -> Term:
    """The windows, with the least value there is outside of x."""
    if x.aval.dtype.kind == "c":
        raise DTypeError(op, str(x.aval.dtype), "complex numbers have no order", "pool abs, real or imag")
    seen = windows(x, g)
    if _inside(g, x.aval.shape[-len(g.taps):]):
        return seen
    return P.where(windows(constant(True, x.aval.shape, dtypes.bool_), g), seen, fill(seen, _least(x.aval.dtype)))


def _max(op: str, x: Term, g: Geometry) -> Term:
    seen = _candidates(op, x, g)
    return P.max(seen, axes=_last(seen, len(g.taps)))


def _argmax(op: str, x: Term, g: Geometry) -> Term:
    """The position of the first maximum of every window, counted over the spatial axes of x in row-major order."""
    seen, n = _candidates(op, x, g), len(g.taps)
    lead, sizes = x.aval.shape[:-n], x.aval.shape[-n:]
    tap = P.argmax(reshaped(seen, (*lead, *g.count, math.prod(g.taps))), axis=seen.aval.ndim - n)
    total = fill(tap, 0)
    for a, (k, c, m) in enumerate(zip(g.taps, g.count, sizes, strict=True)):
        along = P.remainder(P.floor_divide(tap, fill(tap, math.prod(g.taps[a + 1:]))), fill(tap, k))
        first = scale(_line(c, n, a, tap.aval.dtype), g.stride[a])
        here = P.add(broadcast(first, tap.aval.shape), scale(along, g.dilation[a]))
        total = P.add(P.mul(total, fill(total, m)), P.sub(here, fill(here, g.low[a])))
    return total


def _line(count: int, n: int, a: int, dtype: np.dtype) -> Term:
    """0, 1, ... along axis a of n."""
    return reshaped(P.iota(size=count, dtype=dtype), tuple([count if k == a else 1 for k in range(n)]))


@public(space="nn")
def max_pool(x: Term, window: object, stride: object = None, padding: object = 0, *, dilation: object = 1, ceil_mode: bool = False) -> Term:
    """The largest element of every window: (N, C, *sizes) → (N, C, *counts). `stride` is the window where it is not given.

    Padding (at most half of a window) is -inf; NaN is the largest of all. Equal maxima share the derivative equally. `ceil_mode`: windows
    may end behind x. ShapeError where a window is larger than the padded x.

    >>> import lazygrad as lg
    >>> lg.nn.max_pool(lg.asarray([[[1.0, 3.0, 2.0, 2.0]]]), 2).tolist()
    [[[3.0, 2.0]]]
    """
    return _max("max_pool", x, _geometry("max_pool", x, None, window, stride, padding, dilation, ceil_mode))


# ---- means ----------------------------------------------------------------------------------------------------------------------

def _wide(x: Term) -> Term:
    """x in a dtype in which sums of it are at home: half-width floats as float32."""
    x = inexact(x)
    return cast(x, dtypes.float32) if x.aval.dtype.itemsize == 2 else x


def _counts(g: Geometry, sizes: Shape, padded: bool, dtype: np.dtype) -> Term:
    """How many elements each window has: those of x, and of its padding where it counts too."""
    n, total = len(sizes), constant(1, g.count, dtypes.int32)
    for a, (m, k, s, p, q, c) in enumerate(zip(sizes, g.taps, g.stride, g.low, g.high, g.count, strict=True)):
        line = _line(c, n, a, dtypes.int32)
        start = P.sub(scale(line, s), fill(line, p))
        end = P.minimum(P.add(start, fill(start, k)), fill(start, m + q if padded else m))
        here = P.sub(end, start if padded else P.maximum(start, fill(start, 0)))
        total = P.mul(total, broadcast(here, g.count))
    return cast(total, dtype)


def _mean(x: Term, g: Geometry, count_include_pad: bool, divisor: int | None) -> Term:
    seen, n = windows(x, g), len(g.taps)
    total = P.sum(seen, axes=_last(seen, n))
    sizes = x.aval.shape[-n:]
    whole = changed(g, low=(0,) * n)
    reach = tuple([m + p + q for m, p, q in zip(sizes, g.low, g.high, strict=True)])
    if divisor is not None or _inside(whole if count_include_pad else g, reach if count_include_pad else sizes):
        return P.div(total, fill(total, math.prod(g.taps) if divisor is None else divisor))
    return P.div(total, broadcast(_counts(g, sizes, count_include_pad, total.aval.dtype), total.aval.shape))


def _avg(op: str, n: int | None, x: Term, window: object, stride: object, padding: object, ceil_mode: bool, count_include_pad: bool,
         divisor_override: int | None) -> Term:
    if divisor_override == 0:
        raise ShapeError(op, "divisor_override 0", "nothing can be divided by it", "pass another number")
    g = _geometry(op, x, n, window, stride, padding, 1, ceil_mode)
    return cast(_mean(_wide(x), g, count_include_pad, divisor_override), inexact(x).aval.dtype)


@public(space="nn")
def avg_pool(x: Term, window: object, stride: object = None, padding: object = 0, *, ceil_mode: bool = False, count_include_pad: bool = True,
             divisor_override: int | None = None) -> Term:
    """The mean of every window: (N, C, *sizes) → (N, C, *counts). `stride` is the window where it is not given.

    Zeros of the padding count as elements unless `count_include_pad` is False; `divisor_override` divides by a number of yours.

    >>> import lazygrad as lg
    >>> lg.nn.avg_pool(lg.asarray([[[1.0, 3.0, 2.0, 2.0]]]), 2).tolist()
    [[[2.0, 2.0]]]
    """
    return _avg("avg_pool", None, x, window, stride, padding, ceil_mode, count_include_pad, divisor_override)


# ---- norms ----------------------------------------------------------------------------------------------------------------------

def _norm(op: str, n: int | None, x: Term, norm_type: float, window: object, stride: object, ceil_mode: bool) -> Term:
    g = _geometry(op, x, n, window, stride, 0, 1, ceil_mode)
    if norm_type == math.inf:
        return _max(op, P.abs(inexact(x)), g)
    if not norm_type > 0:
        raise ShapeError(op, f"norm_type {norm_type}", "it must be positive", "pass 2 for the Euclidean norm, inf for the largest")
    size = P.abs(_wide(x))
    total = windows(P.pow(size, fill(size, norm_type)), g)
    total = P.sum(total, axes=_last(total, len(g.taps)))
    # the root of a sum of 0 has no derivative: take 0
    nothing = P.eq(total, fill(total, 0))
    root = P.pow(P.where(nothing, fill(total, 1), total), fill(total, 1 / norm_type))
    return cast(P.where(nothing, fill(total, 0), root), inexact(x).aval.dtype)


@public(space="nn")
def lp_pool(x: Term, norm_type: float, window: object, stride: object = None, ceil_mode: bool = False) -> Term:
    """The p-norm of every window, (Σ |x|ᵖ)^(1/p): (N, C, *sizes) → (N, C, *counts). Its derivative where all of a window is 0 is 0.

    With `ceil_mode` a window may end behind x: its norm is that of the elements it has.

    >>> import lazygrad as lg
    >>> lg.nn.lp_pool(lg.asarray([[[3.0, 4.0, 0.0, 0.0]]]), 2, 2).tolist()
    [[[5.0, 0.0]]]
    """
    return _norm("lp_pool", None, x, norm_type, window, stride, ceil_mode)


# ---- a given number of windows ------------------------------------------------------------------------------------------------------

def _targets(op: str, x: Term, output_size: object, n: int | None) -> Shape:
    """The sizes asked for; None keeps a size."""
    n = _axes(op, x, output_size, n)
    many = output_size if isinstance(output_size, tuple) else (output_size,) * n
    many = many * n if len(many) == 1 else many
    if len(many) != n:
        raise ShapeError(op, f"output_size {output_size}", f"it has {len(many)} numbers, for {n} axes", f"pass one, or {n} of them")
    sizes = x.aval.shape[-n:]
    if 0 in sizes:
        raise ShapeError(op, str(x.aval.shape), "a spatial axis has no elements", "pass at least one")
    return numbers(op, "output_size", tuple([m if t is None else t for m, t in zip(sizes, many, strict=True)]), n, 0)


def _adaptive(x: Term, target: Shape, empty: float, combine: Callable[[Term, int, Term], Term]) -> Term:
    """Along each axis: window i from ⌊i size / target⌋ to ⌈(i + 1) size / target⌉ - 1, as `combine(windows, axis, their lengths)`."""
    n = len(target)
    for axis, count in zip(range(x.aval.ndim - n, x.aval.ndim), target, strict=True):
        shape = x.aval.shape
        size = shape[axis]
        wide = max([-(-(i + 1) * size // count) - i * size // count for i in range(count)], default=1)
        if count and size % count == 0:
            seen = reshaped(x, (*shape[:axis], count, size // count, *shape[axis + 1:]))
            lengths = constant(wide, (count, 1), dtypes.int64)
        else:
            line = P.iota(size=count, dtype=dtypes.int64)
            start = P.floor_divide(scale(line, size), fill(line, count)) if count else line
            # ⌈a / b⌉ = (a + b - 1) // b
            end = P.floor_divide(P.add(scale(line, size), fill(line, size + count - 1)), fill(line, count)) if count else line
            lengths = reshaped(P.sub(end, start), (count, 1))
            tap = broadcast(reshaped(P.iota(size=wide, dtype=dtypes.int64), (1, wide)), (count, wide))
            place = P.add(broadcast(reshaped(start, (count, 1)), (count, wide)), tap)
            seen = P.gather(x, P.minimum(place, fill(place, size - 1)), axes=(axis,), position=axis)
            own = P.lt(tap, broadcast(lengths, (count, wide)))
            own = broadcast(reshaped(own, (count, wide, *(1,) * (len(shape) - axis - 1))), seen.aval.shape)
            seen = P.where(own, seen, fill(seen, empty))
        x = combine(seen, axis + 1, reshaped(lengths, (count, *(1,) * (len(shape) - axis - 1))))
    return x


def _adaptive_max(op: str, x: Term, output_size: object, n: int | None) -> Term:
    if x.aval.dtype.kind == "c":
        raise DTypeError(op, str(x.aval.dtype), "complex numbers have no order", "pool abs, real or imag")
    return _adaptive(x, _targets(op, x, output_size, n), _least(x.aval.dtype), lambda seen, axis, lengths: P.max(seen, axes=(axis,)))


def _average(seen: Term, axis: int, lengths: Term) -> Term:
    total = P.sum(seen, axes=(axis,))
    return P.div(total, broadcast(cast(lengths, total.aval.dtype), total.aval.shape))


def adaptive_mean(op: str, x: Term, output_size: object, n: int | None) -> Term:
    """The means of so many windows along every axis."""
    return cast(_adaptive(_wide(x), _targets(op, x, output_size, n), 0, _average), inexact(x).aval.dtype)


@public(space="nn")
def adaptive_avg_pool(x: Term, output_size: object) -> Term:
    """The means of `output_size` windows along each spatial axis, which cover it evenly: (N, C, *sizes) → (N, C, *output_size).

    Window i goes from ⌊i size / count⌋ to ⌈(i + 1) size / count⌉ - 1. None keeps a size.

    >>> import lazygrad as lg
    >>> lg.nn.adaptive_avg_pool(lg.asarray([[[1.0, 2.0, 3.0]]]), 2).tolist()
    [[[1.5, 2.5]]]
    """
    return adaptive_mean("adaptive_avg_pool", x, output_size, None)


@public(space="nn")
def adaptive_max_pool(x: Term, output_size: object) -> Term:
    """The maxima of `output_size` windows along each spatial axis, which cover it evenly: (N, C, *sizes) → (N, C, *output_size).

    Window i goes from ⌊i size / count⌋ to ⌈(i + 1) size / count⌉ - 1. None keeps a size. Equal maxima share the derivative equally.

    >>> import lazygrad as lg
    >>> lg.nn.adaptive_max_pool(lg.asarray([[[1.0, 2.0, 3.0]]]), 2).tolist()
    [[[2.0, 3.0]]]
    """
    return _adaptive_max("adaptive_max_pool", x, output_size, None)


# ---- PyTorch's names by the number of axes ------------------------------------------------------------------------------------------

def _named(n: int) -> None:
    def max_pool(x: Term, kernel_size: object, stride: object = None, padding: object = 0, dilation: object = 1, ceil_mode: bool = False,
                 return_indices: bool = False) -> Term | tuple[Term, ...]:
        op = f"max_pool{n}d"
        g = _geometry(op, x, n, kernel_size, stride, padding, dilation, ceil_mode)
        return (_max(op, x, g), _argmax(op, x, g)) if return_indices else _max(op, x, g)

    def avg_pool(x: Term, kernel_size: object, stride: object = None, padding: object = 0, ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> Term:
        return _avg(f"avg_pool{n}d", n, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    def lp_pool(x: Term, norm_type: float, kernel_size: object, stride: object = None, ceil_mode: bool = False) -> Term:
        return _norm(f"lp_pool{n}d", n, x, norm_type, kernel_size, stride, ceil_mode)

    def adaptive_avg_pool(x: Term, output_size: object) -> Term:
        return adaptive_mean(f"adaptive_avg_pool{n}d", x, output_size, n)

    def adaptive_max_pool(x: Term, output_size: object) -> Term:
        return _adaptive_max(f"adaptive_max_pool{n}d", x, output_size, n)

    more = ", and where they are (int64, counted over the spatial axes in row-major order) with `return_indices`"
    for rule, call, what in ((max_pool, "{}(x, 2, 1)", more), (avg_pool, "{}(x, 2, 1)", ""), (lp_pool, "{}(x, 1, 2, 1)", ""),
                             (adaptive_avg_pool, "{}(x, 3)", ""), (adaptive_max_pool, "{}(x, 3)", "")):
        plain, rule.__name__ = rule.__name__, f"{rule.__name__}{n}d"
        rule.__doc__ = f"""`{plain}` over {NAMES[n - 1]}{what}; with PyTorch's order of arguments.

    >>> import lazygrad as lg
    >>> x = lg.ones({(1, 2, *(4,) * n)})
    >>> lg.nn.{call.format(rule.__name__)}.shape
    {(1, 2, *(3,) * n)}
    """
        public(space="nn")(rule)


for _n in (1, 2, 3):
    _named(_n)
