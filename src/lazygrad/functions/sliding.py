"""Sliding windows, convolution and correlation under NumPy's and PyTorch's names, and NumPy's tapers.

In: tensors, sizes, modes. Out: tensors. A convolution is one primitive, whose derivatives are convolutions; windows are read where they
are used and own no memory.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ir.term import Term
from ..prims.bessel import i0
from .composite import fill, scale
from .creation import line
from .linalg import alike_pair
from .movement import flip, permuted
from .promotion import P, Shape, as_dtype, broadcast, cast, constant, one_axis, positive_shape, reshaped
from .table import public

# ---- windows ----------------------------------------------------------------------------------------------------------


def windowed(x: Term, axis: int, size: int, step: int) -> Term:
    """Windows of an axis, step apart: their number takes its place, their elements a new last axis."""
    last = x.aval.ndim - 1
    order = (*[k for k in range(last + 1) if k != axis], axis)
    y = permuted(x, order)
    n = x.aval.shape[axis]
    y = broadcast(reshaped(y, (*y.aval.shape, 1)), (*y.aval.shape, size))
    y = P.shear(y, step=(step,), by=(1,), start=(0,), every=(1,), count=((n - size) // step + 1,))
    back = [order.index(k) for k in range(last + 1)]
    return permuted(y, (*back, last + 1))


@public()
def sliding_window_view(x: Term, window_shape: int | tuple[int, ...], axis: int | tuple[int, ...] | None = None) -> Term:
    """All windows of `window_shape` along `axis` (all axes without one): the axes of the windows come last.

    A tensor of its own, not a view. ShapeError where a window is larger than x.

    >>> import lazygrad as lg
    >>> lg.sliding_window_view(lg.asarray([1, 2, 3, 4]), 3).tolist()
    [[1, 2, 3], [2, 3, 4]]
    """
    sizes = positive_shape("sliding_window_view", window_shape)
    axes = tuple(range(x.aval.ndim)) if axis is None else tuple([one_axis("sliding_window_view", a, x.aval.ndim) for a in (axis if isinstance(axis, tuple) else (axis,))])
    if len(axes) != len(sizes):
        raise ShapeError("sliding_window_view", f"windows of {sizes} along axes {axes}", "they are differently many", "give one size for every axis")
    for k, n in zip(axes, sizes, strict=True):
        if n > x.aval.shape[k]:
            raise ShapeError("sliding_window_view", f"windows of {sizes} of {x.aval.shape}", f"axis {k} has {x.aval.shape[k]} elements left", "pass smaller windows")
        x = windowed(x, k, n, 1)
    return x


@public(method=True)
def unfold(x: Term, axis: int, size: int, step: int = 1) -> Term:
    """The windows of `size` along one axis, `step` apart (PyTorch's Tensor.unfold): their elements are a new last axis.

    >>> import lazygrad as lg
    >>> lg.unfold(lg.asarray([1, 2, 3, 4, 5]), 0, 2, 2).tolist()
    [[1, 2], [3, 4]]
    """
    k = one_axis("unfold", axis, x.aval.ndim)
    if not 0 <= size <= x.aval.shape[k]:
        raise ShapeError("unfold", f"windows of {size}", f"axis {k} has {x.aval.shape[k]} elements", "pass smaller windows")
    if step < 1:
        raise ShapeError("unfold", f"step {step}", "windows go forward", "pass 1 or more")
    return windowed(x, k, size, step)


# ---- convolution ------------------------------------------------------------------------------------------------------

def slid(x: Term, w: Term, low: Shape, count: Shape) -> Term:
    """out[i] = Σₖ x[i + k - low] w[k] for i below count, in any number of axes; x is 0 outside."""
    n, ones = x.aval.ndim, (1,) * x.aval.ndim
    if n == 0:
        return P.mul(x, w)
    if x.aval.dtype.kind == "c":               # on the host, tap by tap
        y = P.conv(reshaped(x, (1, 1, *x.aval.shape)), reshaped(w, (1, 1, *w.aval.shape)), stride=ones, dilation=ones, expand=ones, low=low, count=count, groups=1)
        return reshaped(y, count)
    # one channel: a sum over windows that are read in place
    windows = broadcast(reshaped(x, (*x.aval.shape, *ones)), (*x.aval.shape, *w.aval.shape))
    windows = P.shear(windows, step=ones, by=ones, start=tuple([-m for m in low]), every=ones, count=count)
    return P.sum(P.mul(windows, broadcast(reshaped(w, (*ones, *w.aval.shape)), (*count, *w.aval.shape))), axes=tuple(range(n, 2 * n)))


def conjugate(x: Term) -> Term:
    return P.conj(x) if x.aval.dtype.kind == "c" else x


def correlated(op: str, x: Term, y: Term, mode: str) -> Term:
    """out[i] = Σₖ x[i + k - low] conj(y[k]) for 1-d x not shorter than y."""
    m, n = x.aval.size, y.aval.size
    if mode not in ("valid", "same", "full"):
        raise OptionError(op, f"mode={mode!r}", "there is no such mode", 'pass "valid", "same" or "full"')
    low = {"valid": 0, "same": n // 2, "full": n - 1}[mode]
    count = {"valid": m - n + 1, "same": m, "full": m + n - 1}[mode]
    return slid(x, conjugate(y), (low,), (count,))


def two_lines(op: str, x: Term, y: Term) -> tuple[Term, Term]:
    a, b = alike_pair(op, x, y)
    a, b = [reshaped(v, (1,)) if v.aval.ndim == 0 else v for v in (a, b)]
    if a.aval.ndim != 1 or b.aval.ndim != 1:
        raise ShapeError(op, f"{x.aval.shape} and {y.aval.shape}", "both must be 1-d", "ravel them, or use lazygrad.scipy.signal")
    if not a.aval.size or not b.aval.size:
        raise ShapeError(op, f"{x.aval.shape} and {y.aval.shape}", "one has no elements", "pass elements")
    return a, b


@public()
def correlate(x: Term, y: Term, mode: str = "valid") -> Term:
    """The cross-correlation Σₙ x[n + k] conj(y[n]) of 1-d arrays: for all k ("full"), as many as the longer ("same"), or where they
    overlap wholly ("valid").

    >>> import lazygrad as lg
    >>> lg.correlate(lg.asarray([1., 2., 3.]), lg.asarray([0., 1., 0.5]), "full").tolist()
    [0.5, 2.0, 3.5, 3.0, 0.0]
    """
    a, b = two_lines("correlate", x, y)
    if a.aval.size >= b.aval.size:
        return correlated("correlate", a, b, mode)
    return conjugate(flip(correlated("correlate", b, a, mode)))


@public()
def convolve(x: Term, y: Term, mode: str = "full") -> Term:
    """The convolution Σₙ x[n] y[k - n] of 1-d arrays: for all k ("full"), as many as the longer ("same"), or where they overlap
    wholly ("valid").

    >>> import lazygrad as lg
    >>> lg.convolve(lg.asarray([1., 2., 3.]), lg.asarray([0., 1., 0.5])).tolist()
    [0.0, 1.0, 2.5, 4.0, 1.5]
    """
    a, b = two_lines("convolve", x, y)
    a, b = (b, a) if b.aval.size > a.aval.size else (a, b)
    return correlated("convolve", a, conjugate(flip(b)), mode)


# ---- tapers -----------------------------------------------------------------------------------------------------------

def taper(op: str, size: int, dtype: object) -> tuple[Term, Term | None]:
    """The places -1 to 1 of the samples of a window, or the whole window where it has less than two."""
    n, chosen = max(size, 0), dtypes.DEFAULT_FLOAT if dtype is None else as_dtype(op, dtype)
    if n < 2:
        return constant(1, (n,), chosen), constant(1, (n,), chosen)
    ramp = line(n, 1 - n, 2, dtypes.int64)               # symmetric, so that the window is
    return P.div(cast(ramp, chosen), constant(n - 1, (n,), chosen)), None


def cosines(op: str, size: int, dtype: object, weights: tuple[float, ...]) -> Term:
    """Σₖ wₖ cos(k pi t) at places t from -1 to 1."""
    t, whole = taper(op, size, dtype)
    if whole is not None:
        return whole
    out = fill(t, weights[0])
    for k, w in enumerate(weights[1:], 1):
        out = P.add(out, scale(P.cos(scale(t, k * math.pi)), w))
    return out


@public()
def hanning(M: int, dtype: object = None) -> Term:
    """The Hann window 0.5 + 0.5 cos(pi t), t from -1 to 1 in M samples. float32 by default.

    >>> import lazygrad as lg
    >>> lg.hanning(3).tolist()
    [0.0, 1.0, 0.0]
    """
    return cosines("hanning", M, dtype, (0.5, 0.5))


@public()
def hamming(M: int, dtype: object = None) -> Term:
    """The Hamming window 0.54 + 0.46 cos(pi t), t from -1 to 1 in M samples. float32 by default.

    >>> import lazygrad as lg
    >>> lg.hamming(3)[1].item()
    1.0
    """
    return cosines("hamming", M, dtype, (0.54, 0.46))


@public()
def blackman(M: int, dtype: object = None) -> Term:
    """The Blackman window 0.42 + 0.5 cos(pi t) + 0.08 cos(2 pi t), t from -1 to 1 in M samples. float32 by default.

    >>> import lazygrad as lg
    >>> lg.blackman(5, lg.float64).round(2).tolist()
    [-0.0, 0.34, 1.0, 0.34, -0.0]
    """
    return cosines("blackman", M, dtype, (0.42, 0.5, 0.08))


@public()
def bartlett(M: int, dtype: object = None) -> Term:
    """The triangular window 1 - |t|, t from -1 to 1 in M samples. float32 by default.

    >>> import lazygrad as lg
    >>> lg.bartlett(5).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    t, whole = taper("bartlett", M, dtype)
    return P.sub(fill(t, 1), P.abs(t)) if whole is None else whole


@public()
def kaiser(M: int, beta: float, dtype: object = None) -> Term:
    """The Kaiser window I₀(beta sqrt(1 - t²)) / I₀(beta), t from -1 to 1 in M samples. float32 by default.

    >>> import lazygrad as lg
    >>> lg.kaiser(3, 14.0)[1].item()
    1.0
    """
    t, whole = taper("kaiser", M, dtype)
    if whole is not None:
        return whole
    one = fill(t, 1)
    arc = P.sqrt(P.mul(P.sub(one, t), P.add(one, t)))
    return P.div(i0(scale(arc, beta)), i0(fill(t, beta)))
