"""Convolution and correlation of arrays of any number of axes, directly or by Fourier transforms, under SciPy's and autograd's arguments.

In: two arrays. Out: the sums of products over all shifts ("full"), those as large as the first ("same"), or those where one lies wholly
inside the other ("valid").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import scipy.fft
import scipy.signal

import lazygrad as lg

from ... import dtypes
from ...doubles import arrays, wide
from ...errors import AxisError, OptionError, ShapeError
from ...functions.movement import flip, permuted
from ...functions.promotion import P, one_axis, reshaped
from ...functions.sliding import slid
from ...functions.table import deferred
from ...ir.term import Term
from ...tensor import Tensor

MODES = ("full", "same", "valid")
DIRECT = 2000                  # products for each element of the result, up to which they are summed directly


def mode_of(op: str, mode: str) -> str:
    if mode not in MODES:
        raise OptionError(op, f"mode={mode!r}", "there is no such mode", 'pass "full", "same" or "valid"')
    return mode


def two(op: str, in1: Any, in2: Any) -> tuple[Tensor, Tensor]:
    x, y = arrays(in1, in2)
    if x.ndim != y.ndim:
        raise ShapeError(op, f"{x.shape} and {y.shape}", "they have differently many axes", "reshape one")
    if not x.size or not y.size:
        raise ShapeError(op, f"{x.shape} and {y.shape}", "one has no elements", "pass elements")
    return x, y


def larger_first(op: str, x: Tensor, y: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """For "valid": the one that the other lies inside of, first."""
    if all([x.shape[a] >= y.shape[a] for a in axes]):
        return x, y
    if all([x.shape[a] <= y.shape[a] for a in axes]):
        return y, x
    raise ShapeError(op, f"{x.shape} and {y.shape}", "neither lies inside the other", 'use mode="full" or "same"')


def centered(full: Tensor, sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """The middle part of so many elements along some axes."""
    key: list[Any] = [slice(None)] * full.ndim
    for n, a in zip(sizes, axes, strict=True):
        start = (full.shape[a] - n) // 2
        key[a] = slice(start, start + n)
    return full[tuple(key)]


# ---- directly -----------------------------------------------------------------------------------------------------------

def summed(x: Term, w: Term, mode: str) -> Term:
    """The convolution over the last axes of x (n, c, *sizes) and w (o, c, *taps), summed over c: (n, o, *count)."""
    dtype = dtypes.promote(x.aval.dtype, w.aval.dtype)
    dtype = dtypes.int64 if dtype.kind == "b" else dtype
    x, w = [v if v.aval.dtype == dtype else P.cast(v, dtype=dtype) for v in (x, w)]
    sizes, taps = x.aval.shape[2:], w.aval.shape[2:]
    low = {"full": [k - 1 for k in taps], "same": [k - 1 - (k - 1) // 2 for k in taps], "valid": [0 for _ in taps]}[mode]
    count = {"full": [n + k - 1 for n, k in zip(sizes, taps, strict=True)], "same": list(sizes), "valid": [n - k + 1 for n, k in zip(sizes, taps, strict=True)]}[mode]
    ones = (1,) * len(taps)
    turned = flip(w, tuple(range(2, w.aval.ndim))) if taps else w
    if not taps:
        return P.matmul(x, P.permute(w, axes=(1, 0)))
    if x.aval.shape[:2] == w.aval.shape[:2] == (1, 1):
        one = slid(reshaped(x, sizes), reshaped(turned, taps), tuple(low), tuple(count))
        return reshaped(one, (1, 1, *count))
    return P.conv(x, turned, stride=ones, dilation=ones, expand=ones, low=tuple(low), count=tuple(count), groups=1)


def arranged(x: Term, axes: tuple[tuple[int, ...], ...]) -> Term:
    """x with groups of axes as (outer..., inner..., along...): outer and inner ones as one axis each."""
    outer, inner, along = axes
    size = lambda group: math.prod([x.aval.shape[a] for a in group])
    return reshaped(permuted(x, (*outer, *inner, *along)), (size(outer), size(inner), *[x.aval.shape[a] for a in along]))


def direct(x: Term, y: Term, mode: str, of_x: tuple, of_y: tuple) -> Term:
    """(outer of x..., outer of y..., along...)."""
    out = summed(arranged(x, of_x), arranged(y, of_y), mode)
    return reshaped(out, (*[x.aval.shape[a] for a in of_x[0]], *[y.aval.shape[a] for a in of_y[0]], *out.aval.shape[2:]))


DIRECTLY = deferred(direct, name="scipy.signal.convolve")


def plain(x: Tensor, y: Tensor, mode: str) -> Tensor:
    whole = ((), (), tuple(range(x.ndim)))
    return DIRECTLY.function()(x, y, mode, whole, whole)


# ---- by Fourier transforms --------------------------------------------------------------------------------------------------

@wide
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Tensor:
    """The convolution along `axes` (all without them) as a product of Fourier transforms; the other axes broadcast.

    >>> fftconvolve([1.0, 2.0], [1.0, 1.0]).round(12).tolist()
    [1.0, 3.0, 2.0]
    """
    x, y = two("fftconvolve", in1, in2)
    mode_of("fftconvolve", mode)
    along = tuple(range(x.ndim)) if axes is None else tuple([one_axis("fftconvolve", a, x.ndim) for a in (axes if isinstance(axes, Sequence) else (axes,))])
    along = tuple([a for a in along if x.shape[a] != 1 or y.shape[a] != 1]) or along[:1]
    for a in range(x.ndim):
        if a not in along and x.shape[a] != y.shape[a] and 1 not in (x.shape[a], y.shape[a]):
            raise ShapeError("fftconvolve", f"{x.shape} and {y.shape} along {along}", f"axis {a} does not broadcast", "name it among the axes")
    if not x.ndim:
        return x * y
    first = x.shape
    if mode == "valid":
        x, y = larger_first("fftconvolve", x, y, along)
    whole = [x.shape[a] + y.shape[a] - 1 for a in along]
    complex_ = lg.iscomplexobj(x) or lg.iscomplexobj(y)
    fast = tuple([scipy.fft.next_fast_len(n, not complex_) for n in whole])
    forward, back = (lg.fft.fftn, lg.fft.ifftn) if complex_ else (lg.fft.rfftn, lg.fft.irfftn)
    out = back(forward(x, fast, along) * forward(y, fast, along), fast, along)
    key: list[Any] = [slice(None)] * out.ndim
    for a, n in zip(along, whole, strict=True):
        key[a] = slice(n)
    out = out[tuple(key)]
    if mode == "full":
        return out
    sizes = [first[a] if mode == "same" else x.shape[a] - y.shape[a] + 1 for a in along]
    return centered(out, sizes, along)


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Tensor:
    """`fftconvolve`: here one transform does for both.

    >>> oaconvolve([1.0, 2.0], [1.0, 1.0]).round(12).tolist()
    [1.0, 3.0, 2.0]
    """
    return fftconvolve(in1, in2, mode, axes)


# ---- the functions ----------------------------------------------------------------------------------------------------

@wide
def convolve(in1: Any, in2: Any, mode: Any = "full", method: str = "auto", *, axes: Any = None, dot_axes: Any = ((), ())) -> Tensor:
    """The convolution of two arrays of as many axes. `method`: "direct", "fft", or the one that needs fewer operations.

    With autograd's arguments: `axes`, a pair of lists, are the axes of both that are convolved, `dot_axes` those that are multiplied
    and summed; the result has the other axes of in1, then those of in2, then the convolved ones.

    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], "same").tolist()
    [1.0, 2.5, 4.0]
    """
    if not isinstance(mode, str):              # autograd has the axes third
        axes, mode = mode, "full"
    if axes is not None or any(dot_axes):
        return by_axes(*arrays(in1, in2), axes, dot_axes, mode_of("convolve", mode))
    x, y = two("convolve", in1, in2)
    if method not in ("auto", "direct", "fft"):
        raise OptionError("convolve", f"method={method!r}", "there is no such method", 'pass "auto", "direct" or "fft"')
    if mode_of("convolve", mode) == "valid":
        x, y = larger_first("convolve", x, y, range(x.ndim))
    floats = lg.result_type(x, y).kind in "fc"
    if floats and (method == "fft" or (method == "auto" and min(x.size, y.size) > DIRECT)):
        return fftconvolve(x, y, mode)
    return plain(x, y, mode)


def by_axes(x: Tensor, y: Tensor, axes: Any, dot_axes: Any, mode: str) -> Tensor:
    """`convolve` with autograd's arguments."""
    if axes is None:
        axes = [[a for a in range(v.ndim) if a not in [d % v.ndim for d in dot]] for v, dot in zip((x, y), dot_axes, strict=True)]
    along = [tuple([one_axis("convolve", a, v.ndim) for a in group]) for v, group in zip((x, y), axes, strict=True)]
    inner = [tuple([one_axis("convolve", a, v.ndim) for a in group]) for v, group in zip((x, y), dot_axes, strict=True)]
    if len(along[0]) != len(along[1]) or [x.shape[a] for a in inner[0]] != [y.shape[a] for a in inner[1]] or any(set(a) & set(b) for a, b in zip(along, inner, strict=True)):
        raise AxisError("convolve", f"axes {axes} and dot_axes {dot_axes} of {x.shape} and {y.shape}", "they do not pair up", "name as many of both, dot_axes of equal sizes")
    outer = [tuple([a for a in range(v.ndim) if a not in p and a not in q]) for v, p, q in zip((x, y), along, inner, strict=True)]
    sizes = [[v.shape[a] for a in group] for v, group in zip((x, y), along, strict=True)]
    groups = [(o, i, a) for o, i, a in zip(outer, inner, along, strict=True)]
    if mode == "valid" and any(m < n for m, n in zip(*sizes, strict=True)):
        if any(m > n for m, n in zip(*sizes, strict=True)):
            raise ShapeError("convolve", f"{sizes[0]} and {sizes[1]} along {axes}", "neither lies inside the other", 'use mode="full" or "same"')
        out = DIRECTLY.function()(y, x, mode, groups[1], groups[0])
        n, m = len(outer[1]), len(outer[0])
        return lg.permute_dims(out, (*range(n, n + m), *range(n), *range(n + m, out.ndim)))
    return DIRECTLY.function()(x, y, mode, *groups)


@wide
def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Tensor:
    """The cross-correlation: the convolution of in1 with the conjugate of in2 turned round.

    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]).tolist()
    [0.5, 2.0, 3.5, 3.0, 0.0]
    """
    x, y = two("correlate", in1, in2)
    y = lg.conj(lg.flip(y)) if y.ndim else lg.conj(y)
    return convolve(x, y, mode, method)


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> Tensor:
    """The lags that the elements of `correlate` of 1-d arrays belong to.

    >>> correlation_lags(3, 2).tolist()
    [-1, 0, 1, 2]
    """
    return lg.asarray(scipy.signal.correlation_lags(in1_len, in2_len, mode_of("correlation_lags", mode)))


# ---- two dimensions with boundaries -----------------------------------------------------------------------------------------

BOUNDARIES = {"fill": "constant", "wrap": "wrap", "symm": "symmetric", "symmetric": "symmetric", "circular": "wrap"}


@wide
def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Tensor:
    """The convolution of two matrices; outside of in1 there is `fillvalue`, its repetition ("wrap"), or its mirror image ("symm").

    >>> convolve2d([[1.0, 2.0]], [[1.0, 1.0]], "same", "wrap").tolist()
    [[3.0, 3.0]]
    """
    x, y = two("convolve2d", in1, in2)
    if x.ndim != 2:
        raise ShapeError("convolve2d", f"{x.shape} and {y.shape}", "both must be matrices", "use convolve")
    if boundary not in BOUNDARIES:
        raise OptionError("convolve2d", f"boundary={boundary!r}", "there is no such boundary", "use one of " + ", ".join(BOUNDARIES))
    if mode_of("convolve2d", mode) == "valid":
        x, y = larger_first("convolve2d", x, y, (0, 1))
        return plain(x, y, mode)
    if boundary == "fill" and isinstance(fillvalue, int | float) and fillvalue == 0:
        return plain(x, y, mode)
    widths = [(k - 1, k - 1) for k in y.shape]
    options = {"constant_values": fillvalue} if boundary == "fill" else {}
    full = plain(lg.pad(x, widths, BOUNDARIES[boundary], **options), y, "valid")
    return full if mode == "full" else centered(full, x.shape, (0, 1))


@wide
def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Tensor:
    """The cross-correlation of two matrices, with the boundaries of `convolve2d`.

    >>> correlate2d([[1.0, 2.0]], [[1.0, 3.0]]).tolist()
    [[3.0, 7.0, 2.0]]
    """
    x, y = two("correlate2d", in1, in2)
    if x.ndim != 2:
        raise ShapeError("correlate2d", f"{x.shape} and {y.shape}", "both must be matrices", "use correlate")
    turned = lg.conj(lg.flip(y))
    if mode == "same":                         # the middle of the full one, on the other side than a convolution's where a size is even
        full = convolve2d(x, turned, "full", boundary, fillvalue)
        starts = [k // 2 for k in y.shape]
        return full[starts[0]:starts[0] + x.shape[0], starts[1]:starts[1] + x.shape[1]]
    return convolve2d(x, turned, mode, boundary, fillvalue)
