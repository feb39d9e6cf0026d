"""Filters and transforms of signals along one axis under SciPy's names.

In: signals as tensors. Out: tensors; derivatives flow to signals and coefficients.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import lazygrad as lg

from ...doubles import arrays, wide
from ...errors import DTypeError, OptionError, ShapeError
from ...functions.promotion import one_axis
from ...tensor import Tensor


@wide
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Tensor | tuple[Tensor, Tensor]:
    """The signal x filtered by the rational transfer function b / a: a[0] y[n] = Σ b[k] x[n - k] - Σ a[k] y[n - k].

    One native loop over the samples (transposed direct form II). With `zi`, the state before the first sample, the last state comes too.

    >>> lfilter([1.0], [1.0, -0.5], [1.0, 0.0, 0.0]).tolist()
    [1.0, 0.5, 0.25]
    """
    b, a, x, *z = arrays(b, a, x, *(() if zi is None else (zi,)))
    if b.ndim > 1 or a.ndim > 1 or not b.size or not a.size:
        raise ShapeError("lfilter", f"coefficients {b.shape} and {a.shape}", "both must be 1-d with elements", "ravel them")
    dtype = lg.result_type(b, a, x, np.float32) if lg.result_type(b, a, x).kind not in "fc" else lg.result_type(b, a, x)
    b, a, x = [lg.atleast_1d(v.astype(dtype)) for v in (b, a, x)]
    k = one_axis("lfilter", axis, x.ndim)
    n = max(b.size, a.size)
    b, a = [lg.pad(v, (0, n - v.size)) / a[0] for v in (b, a)]
    lines = lg.moveaxis(x, k, 0)
    shape = (n - 1, *lines.shape[1:])
    if zi is None:
        state = lg.zeros(shape, dtype)
    else:
        state = lg.moveaxis(z[0].astype(dtype), k, 0) if z[0].ndim == x.ndim else z[0]
        if state.shape != shape:
            raise ShapeError("lfilter", f"a state of {z[0].shape}", f"{n - 1} numbers for each of {lines.shape[1:]} signals are needed", "pass zi of that shape")
    column = lambda v: lg.reshape(v, (n - 1, *[1] * (lines.ndim - 1)))

    def step(z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        y = b[0] * u + (z[0] if n > 1 else 0)
        if n == 1:
            return z, y
        moved = lg.concatenate([z[1:], lg.zeros_like(z[:1])], 0)
        return moved + column(b[1:]) * u - column(a[1:]) * y, y

    last, out = lg.scan(step, state, lines)
    out = lg.moveaxis(out, 0, k)
    return out if zi is None else (out, lg.moveaxis(last, 0, k))


@wide
def hilbert(x: Any, N: int | None = None, axis: int = -1) -> Tensor:
    """The analytic signal of a real x along an axis: x plus i times its Hilbert transform.

    >>> lg.imag(hilbert([1.0, 0.0, -1.0, 0.0])).round(12).tolist()
    [0.0, 1.0, 0.0, -1.0]
    """
    x = lg.asarray(x)
    if lg.iscomplexobj(x):
        raise DTypeError("hilbert", str(x.dtype), "the signal must be real", "take its real part")
    k = one_axis("hilbert", axis, x.ndim)
    n = x.shape[k] if N is None else N
    if n < 1:
        raise ShapeError("hilbert", f"N={n}", "a transform has one element at least", "pass 1 or more")
    place = lg.arange(n)
    twice = (place > 0) & (place < (n + 1) // 2)
    once = (place == 0) | (place * 2 == n)                # the mean, and the highest frequency of an even number
    weights = lg.where(twice, 2.0, lg.where(once, 1.0, 0.0))
    f = lg.fft.fft(x, n, k)
    return lg.fft.ifft(f * lg.reshape(weights, tuple([n if j == k else 1 for j in range(x.ndim)])), n, k)


@wide
def detrend(data: Any, axis: int = -1, type: str = "linear", bp: Any = 0, overwrite_data: bool = False) -> Tensor:
    """The signal less its mean ("constant") or the line that fits it best ("linear"), between break points `bp`.

    >>> detrend([1.0, 2.0, 3.0], type="constant").tolist()
    [-1.0, 0.0, 1.0]
    """
    if type not in ("linear", "l", "constant", "c"):
        raise OptionError("detrend", f"type={type!r}", "there is no such trend", 'pass "linear" or "constant"')
    x = lg.asarray(data)
    x = x if x.dtype.kind in "fc" else x.astype(np.float32)
    if type[0] == "c":
        return x - lg.mean(x, axis=axis, keepdims=True)
    k = one_axis("detrend", axis, x.ndim)
    y = lg.moveaxis(x, k, -1)
    n = y.shape[-1]
    cuts = sorted({0, n, *np.atleast_1d(bp).tolist()})
    if cuts[-1] > n or cuts[0] < 0:
        raise ShapeError("detrend", f"break points {bp}", f"the signal has {n} samples", "break it inside")
    parts = []
    for start, stop in itertools.pairwise(cuts):
        part, m = y[..., start:stop], stop - start
        t = (lg.arange(m) - (m - 1) / 2).astype(x.dtype)
        flat = part - lg.mean(part, axis=-1, keepdims=True)
        slope = lg.sum(flat * t, axis=-1, keepdims=True) / max(m * (m * m - 1) / 12, 1)
        parts.append(flat - slope * t)
    return lg.moveaxis(lg.concatenate(parts, -1), -1, k)


@wide
def resample(x: Any, num: int, t: Any = None, axis: int = 0) -> Tensor | tuple[Tensor, Tensor]:
    """The signal at `num` samples over the same time, by its Fourier transform: it is taken to be periodic.

    With the times t of its samples (evenly apart) the new times come too.

    >>> resample([1.0, 0.0, -1.0, 0.0], 2).round(12).tolist()
    [1.0, -1.0]
    """
    x = lg.asarray(x)
    k = one_axis("resample", axis, x.ndim)
    if num < 1:
        raise ShapeError("resample", f"num={num}", "a signal has one sample at least", "pass 1 or more")
    real = not lg.iscomplexobj(x)
    x = lg.moveaxis(x, k, -1)
    n = x.shape[-1]
    low = min(num, n)
    f = lg.fft.rfft(x) if real else lg.fft.fft(x)
    middle = low // 2
    if real:
        kept = f[..., :middle + 1]
        if low % 2 == 0 and num != n:          # the highest frequency stands for two, or two for it
            kept = lg.setitem(kept, (..., middle), 2.0 if num < n else 0.5, "mul")
        out = lg.fft.irfft(kept, num)
    else:
        head, tail = f[..., :middle + 1], f[..., n - (low - 1) // 2:] if low > 2 else f[..., :0]
        if low % 2 == 0 and num != n:
            other = f[..., n - middle:n - middle + 1]
            if num < n:
                head = lg.concatenate([head[..., :middle], head[..., middle:] + other], -1)
            else:
                head = lg.setitem(head, (..., middle), 0.5, "mul")
                tail = lg.concatenate([head[..., middle:], tail], -1)
        zeros = lg.zeros((*head.shape[:-1], num - head.shape[-1] - tail.shape[-1]), head.dtype)
        out = lg.fft.ifft(lg.concatenate([head, zeros, tail], -1))
    out = lg.moveaxis(out * (num / n), -1, k)
    if t is None:
        return out
    _, t = arrays(x, t)
    return out, t[0] + (t[1] - t[0]) * (n / num) * lg.arange(num)
