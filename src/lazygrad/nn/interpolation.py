"""Interpolation: images at another resolution, and the exchange of channels for resolution.

In: x (N, C, *sizes), the new sizes or factors. Out: (N, C, *new sizes) in x's dtype. Positions are exact fractions, so a pixel never goes to a
neighbour by rounding; what is read at a fraction between pixels is weighed in float32 for float16, else in x's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from .. import dtypes
from ..errors import DataError, ShapeError
from ..functions.composite import fill, scale
from ..functions.movement import permuted
from ..functions.promotion import P, Shape, broadcast, cast, inexact, reshaped
from ..functions.table import public
from ..ir.term import Term
from .pooling import adaptive_mean
from .windows import numbers

MODES = {"nearest": None, "nearest-exact": None, "linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2, "area": None}
CUBIC = -0.75              # the free coefficient of Keys' kernel: PyTorch's and OpenCV's


# ---- where a result is read ----------------------------------------------------------------------------------------------------

def _line(count: int, slope: int, start: int, low: int | None) -> Term:
    """i * slope + start for i in [0, count), not below `low`."""
    wide = dtypes.int32 if (count + 1) * abs(slope) + abs(start) < 1 << 31 else dtypes.int64
    line = P.iota(size=count, dtype=wide)
    line = P.add(scale(line, slope), fill(line, start))
    return line if low is None else P.maximum(line, fill(line, low))


def _read(x: Term, axis: int, whole: Term, by: int) -> Term:
    """Elements whole + by along the axis; the ends go on for ever."""
    place = P.add(whole, fill(whole, by))
    place = P.minimum(P.maximum(place, fill(place, 0)), fill(place, x.aval.shape[axis] - 1))
    return P.gather(x, place, axes=(axis,), position=axis)


def _nearest(x: Term, axis: int, count: int, ratio: Fraction, exact: bool) -> Term:
    """⌊i ratio⌋, or ⌊(i + 1/2) ratio⌋."""
    a, b, c = (2 * ratio.numerator, ratio.numerator, 2 * ratio.denominator) if exact else (ratio.numerator, 0, ratio.denominator)
    line = _line(count, a, b, None)
    return _read(x, axis, P.floor_divide(line, fill(line, c)), 0)


def _linear_weights(t: Term) -> tuple[tuple[int, Term], ...]:
    return (0, P.sub(fill(t, 1), t)), (1, t)


def _cubic_weights(t: Term) -> tuple[tuple[int, Term], ...]:
    # Keys, Cubic convolution interpolation (1981): |s| ≤ 1: (A + 2)|s|³ - (A + 3)|s|² + 1; |s| < 2: A|s|³ - 5A|s|² + 8A|s| - 4A
    def near(s: Term) -> Term:
        return P.add(P.mul(P.mul(P.sub(scale(s, CUBIC + 2), fill(s, CUBIC + 3)), s), s), fill(s, 1))

    def far(s: Term) -> Term:
        return P.sub(P.mul(P.add(P.mul(P.sub(scale(s, CUBIC), fill(s, 5 * CUBIC)), s), fill(s, 8 * CUBIC)), s), fill(s, 4 * CUBIC))

    one, two = fill(t, 1), fill(t, 2)
    return (-1, far(P.add(t, one))), (0, near(t)), (1, near(P.sub(one, t))), (2, far(P.sub(two, t)))


def _weighed(x: Term, axis: int, count: int, ratio: Fraction, aligned: bool, weights: Callable[[Term], tuple[tuple[int, Term], ...]], low: int | None) -> Term:
    """The sum of the elements near (i + 1/2) ratio - 1/2, or near i (size - 1) / (count - 1) where the ends are `aligned`."""
    if aligned:
        a, b, c = x.aval.shape[axis] - 1, 0, max(count - 1, 1)
    else:
        a, b, c = 2 * ratio.numerator, ratio.numerator - ratio.denominator, 2 * ratio.denominator
    line = _line(count, a, b, low)
    whole = P.floor_divide(line, fill(line, c))
    part = P.sub(line, scale(whole, c))
    t = P.div(cast(part, x.aval.dtype), fill(cast(part, x.aval.dtype), c))
    total = None
    for by, w in weights(t):
        seen = _read(x, axis, whole, by)
        w = broadcast(reshaped(w, (count, *(1,) * (x.aval.ndim - axis - 1))), seen.aval.shape)
        total = P.mul(seen, w) if total is None else P.add(total, P.mul(seen, w))
    return total


# ---- sizes -----------------------------------------------------------------------------------------------------------------------

def _sizes(x: Term, size: object, scale_factor: object) -> tuple[Shape, tuple[Fraction, ...]]:
    """(the new sizes, old positions for each new one) of all spatial axes."""
    old = x.aval.shape[2:]
    n = len(old)
    if (size is None) == (scale_factor is None):
        raise DataError("interpolate", f"size {size} and scale_factor {scale_factor}", "exactly one of them is needed", "pass size=(...)")
    if size is not None:
        new = numbers("interpolate", "size", size, n)
        return new, tuple([Fraction(m, k) for m, k in zip(old, new, strict=True)])
    many = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * n
    many = many * n if len(many) == 1 else many
    if len(many) != n or any([not isinstance(f, int | float) or not 0 < f < 1e6 for f in many]):
        raise ShapeError("interpolate", f"scale_factor {scale_factor}", f"positive numbers, one or {n} of them, are needed", "pass a number")
    factors = [Fraction(f).limit_denominator(10000) for f in many]
    new = tuple([m * f.numerator // f.denominator if f else 0 for m, f in zip(old, factors, strict=True)])
    if 0 in new:
        raise ShapeError("interpolate", f"{x.aval.shape} by {scale_factor}", f"the result would have sizes {new}", "pass a larger scale_factor")
    return new, tuple([1 / f for f in factors])


@public(space="nn")
def interpolate(x: Term, size: object = None, scale_factor: object = None, mode: str = "nearest", align_corners: bool | None = None,
                recompute_scale_factor: bool | None = None) -> Term:
    """x (N, C, *sizes) at other sizes: → (N, C, *size), or sizes times `scale_factor`, rounded down.

    `mode`: "nearest", "nearest-exact", "linear" (one axis), "bilinear", "bicubic" (two), "trilinear" (three), "area" (`adaptive_avg_pool`).
    The weighing modes take pixels as areas whose centres lie at halves, or as points with the ends on each other where `align_corners`.
    Positions come from `scale_factor` itself unless `recompute_scale_factor`.

    >>> import lazygrad as lg
    >>> x = lg.asarray([[[0.0, 4.0]]])
    >>> lg.nn.interpolate(x, 4).tolist(), lg.nn.interpolate(x, scale_factor=2, mode="linear").tolist()
    ([[[0.0, 0.0, 4.0, 4.0]]], [[[0.0, 1.0, 3.0, 4.0]]])
    """
    shape = x.aval.shape
    if len(shape) < 3:
        raise ShapeError("interpolate", str(shape), "it needs examples, channels and a spatial axis", "reshape it to (N, C, *sizes)")
    if mode not in MODES:
        raise DataError("interpolate", f"mode {mode!r}", "there is no such mode", "pass one of " + ", ".join(MODES))
    if MODES[mode] not in (None, len(shape) - 2):
        raise ShapeError("interpolate", f"{shape} with mode {mode!r}", f"it needs {MODES[mode]} spatial axes", "choose the mode for yours")
    weighs = MODES[mode] is not None
    if align_corners is not None and not weighs:
        raise DataError("interpolate", f"align_corners with mode {mode!r}", "it has no corners to align", "leave it out")
    if 0 in shape[2:]:
        raise ShapeError("interpolate", str(shape), "a spatial axis has no elements", "pass at least one")
    new, ratios = _sizes(x, size, scale_factor)
    if recompute_scale_factor:
        ratios = tuple([Fraction(m, k) for m, k in zip(shape[2:], new, strict=True)])
    if mode == "area":
        return adaptive_mean("interpolate", x, new, len(new))
    dtype = inexact(x).aval.dtype if weighs else x.aval.dtype
    y = cast(x, np.dtype("float32") if weighs and dtype.itemsize == 2 else dtype)
    for axis, (count, ratio) in enumerate(zip(new, ratios, strict=True), 2):
        if count == shape[axis] and ratio == 1:
            continue
        if mode.startswith("nearest"):
            y = _nearest(y, axis, count, ratio, mode == "nearest-exact")
        elif mode == "bicubic":
            y = _weighed(y, axis, count, ratio, bool(align_corners), _cubic_weights, None)
        else:
            y = _weighed(y, axis, count, ratio, bool(align_corners), _linear_weights, 0)
    return cast(y, dtype)


# ---- channels for resolution -------------------------------------------------------------------------------------------------------

@public(space="nn")
def pixel_shuffle(x: Term, upscale_factor: int) -> Term:
    """(..., C r², H, W) → (..., C, H r, W r): the channels of a pixel become a square of r by r pixels.

    >>> import lazygrad as lg
    >>> lg.nn.pixel_shuffle(lg.asarray([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2).tolist()
    [[[1.0, 2.0], [3.0, 4.0]]]
    """
    r, = numbers("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    shape = x.aval.shape
    if len(shape) < 3 or shape[-3] % (r * r):
        raise ShapeError("pixel_shuffle", str(shape), f"the channels are no multiple of {r * r}", "pass (..., C r², H, W)")
    *lead, c, h, w = shape
    n = len(lead)
    x = reshaped(x, (*lead, c // (r * r), r, r, h, w))
    x = permuted(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshaped(x, (*lead, c // (r * r), h * r, w * r))


@public(space="nn")
def pixel_unshuffle(x: Term, downscale_factor: int) -> Term:
    """(..., C, H r, W r) → (..., C r², H, W): what `pixel_shuffle` did, undone.

    >>> import lazygrad as lg
    >>> lg.nn.pixel_unshuffle(lg.asarray([[[1.0, 2.0], [3.0, 4.0]]]), 2).tolist()
    [[[1.0]], [[2.0]], [[3.0]], [[4.0]]]
    """
    r, = numbers("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    shape = x.aval.shape
    if len(shape) < 3 or shape[-1] % r or shape[-2] % r:
        raise ShapeError("pixel_unshuffle", str(shape), f"height and width are no multiples of {r}", "pass (..., C, H r, W r)")
    *lead, c, h, w = shape
    n = len(lead)
    x = reshaped(x, (*lead, c, h // r, r, w // r, r))
    x = permuted(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshaped(x, (*lead, c * r * r, h // r, w // r))


@public(space="nn")
def channel_shuffle(x: Term, groups: int) -> Term:
    """(N, C, *sizes) with the channels of `groups` groups taken in turns.

    >>> import lazygrad as lg
    >>> lg.nn.channel_shuffle(lg.asarray([[[1.0], [2.0], [3.0], [4.0]]]), 2).tolist()
    [[[1.0], [3.0], [2.0], [4.0]]]
    """
    g, = numbers("channel_shuffle", "groups", groups, 1)
    shape = x.aval.shape
    if len(shape) < 3 or shape[1] % g:
        raise ShapeError("channel_shuffle", str(shape), f"the channels do not divide into {g} groups", "pass (N, C, *sizes)")
    n, c, *sizes = shape
    x = reshaped(x, (n, g, c // g, *sizes))
    return reshaped(permuted(x, (0, 2, 1, *range(3, 3 + len(sizes)))), shape)
