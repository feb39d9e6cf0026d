"""lazygrad.scipy.fft: Fourier, cosine and sine transforms under SciPy's names, in float64 for Python's numbers.

>>> from lazygrad.scipy import fft
>>> fft.dct([1.0, 2.0]).round(4).tolist()
[6.0, -1.4142]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft as _theirs

import lazygrad as lg

from .. import fft as _ours
from .. import interop
from ..doubles import call, wide
from ..errors import OptionError, ShapeError
from ..functions.promotion import many_axes, one_axis
from ..tensor import Tensor

__all__ = sorted([*_ours.__all__, "dct", "dctn", "dst", "dstn", "hfft2", "hfftn", "idct", "idctn", "idst", "idstn", "ihfft2", "ihfftn", "next_fast_len", "prev_fast_len"])
next_fast_len, prev_fast_len = _theirs.next_fast_len, _theirs.prev_fast_len
OTHER = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}         # where the factor of an inverse transform stands


def __getattr__(name: str) -> Callable[..., Any]:
    """The transforms of `lazygrad.fft` with SciPy's arguments, made on first use."""
    if name not in _ours.__all__:
        raise AttributeError(f"module 'lazygrad.scipy.fft' has no attribute {name!r}")
    theirs, ours = getattr(_theirs, name), getattr(_ours, name)
    if name.endswith("fftfreq"):
        found = lambda n, d=1.0, *, xp=None, device=None: ours(n, d, np.float64, device)
    else:
        found = lambda *args, **kwargs: call(lambda *a, **k: interop.translated(theirs, ours, a, k), args, kwargs)
    found.__name__, found.__doc__ = name, ours.__doc__
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__


# ---- cosines and sines of one axis, the last ------------------------------------------------------------------------------

def ramp(n: int, like: Tensor, start: int = 0) -> Tensor:
    return lg.arange(start, start + n).astype(like.dtype)


def turns(k: Tensor, whole: float) -> Tensor:
    """exp(-i pi k / whole) for real k."""
    angle = k * (-math.pi / whole)
    return lg.cos(angle) + 1j * lg.sin(angle)


def signs(x: Tensor) -> Tensor:
    """x with every second element negated."""
    return x * (1 - 2 * (ramp(x.shape[-1], x) % 2))


def cosine(x: Tensor, kind: int) -> Tensor:
    """The unscaled cosine transforms (Makhoul 1980), each by a Fourier transform of the extended sequence."""
    n = x.shape[-1]
    back = lg.flip(x, -1)
    if kind == 1:
        if n < 2:
            raise ShapeError("dct", f"{n} element", "type 1 needs two elements or more", "use another type")
        return lg.real(lg.fft.rfft(lg.concatenate([x, back[..., 1:-1]], -1)))
    if kind == 2:
        return lg.real(lg.fft.rfft(lg.concatenate([x, back], -1))[..., :n] * turns(ramp(n, x), 2 * n))
    if kind == 3:
        return lg.fft.irfft(x * lg.conj(turns(ramp(n, x), 2 * n)), 2 * n)[..., :n] * (2 * n)
    inner = lg.fft.fft(x * turns(ramp(n, x), 2 * n), 2 * n)[..., :n]
    return 2 * lg.real(inner * turns(ramp(n, x) + 0.5, 2 * n))


def sine(x: Tensor, kind: int) -> Tensor:
    """The unscaled sine transforms, by the cosine transforms of turned or alternating sequences."""
    n = x.shape[-1]
    if kind == 1:
        zero = lg.zeros_like(x[..., :1])
        return -lg.imag(lg.fft.rfft(lg.concatenate([zero, x, zero, -lg.flip(x, -1)], -1)))[..., 1:n + 1]
    if kind == 2:
        return lg.flip(cosine(signs(x), 2), -1)
    return signs(cosine(lg.flip(x, -1), kind))


def scaled(x: Tensor, at: int, factor: float) -> Tensor:
    """x with one element of the last axis multiplied."""
    return lg.setitem(x, (..., at), factor, "mul")


def along(op: str, x: Tensor, kind: int, n: int | None, axis: int, norm: str | None, orthogonalize: bool | None, inverse: bool) -> Tensor:
    """One of the sixteen transforms along an axis."""
    if kind not in (1, 2, 3, 4):
        raise OptionError(op, f"type {kind}", "there is no such transform", "pass 1, 2, 3 or 4")
    if norm not in OTHER:
        raise OptionError(op, f"norm={norm!r}", "there is no such norm", 'pass "backward", "ortho" or "forward"')
    if lg.iscomplexobj(x):
        return along(op, lg.real(x), kind, n, axis, norm, orthogonalize, inverse) + 1j * along(op, lg.imag(x), kind, n, axis, norm, orthogonalize, inverse)
    x = x if x.dtype.kind == "f" and x.dtype.itemsize > 2 else x.astype(np.float32)
    k = one_axis(op, axis, x.ndim)
    x = lg.moveaxis(x, k, -1)
    size = x.shape[-1] if n is None else n
    if size < 1:
        raise ShapeError(op, f"n={size}", "a transform has one element at least", "pass n of 1 or more")
    x = x[..., :size] if size <= x.shape[-1] else lg.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])
    kind = {2: 3, 3: 2}.get(kind, kind) if inverse else kind
    cosines = "c" in op
    orthogonal = norm == "ortho" if orthogonalize is None else orthogonalize
    end = 0 if cosines else size - 1          # the element that has another weight
    root = math.sqrt(2)
    if orthogonal and kind == 1 and cosines:
        x = scaled(scaled(x, 0, root), -1, root)
    elif orthogonal and kind == 3:
        x = scaled(x, end, root)
    y = cosine(x, kind) if cosines else sine(x, kind)
    if orthogonal and kind == 1 and cosines:
        y = scaled(scaled(y, 0, 1 / root), -1, 1 / root)
    elif orthogonal and kind == 2:
        y = scaled(y, end, 1 / root)
    whole = 2 * (size + (0 if kind != 1 else -1 if cosines else 1))
    power = {"ortho": 0.5, "forward": 1.0}.get(norm or "backward", 0.0)
    power = {"ortho": 0.5, "forward": 0.0}.get(norm or "backward", 1.0) if inverse else power
    return lg.moveaxis(y * whole ** -power if power else y, -1, k)


def one(op: str) -> Callable[..., Tensor]:
    def function(x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, overwrite_x: bool = False, workers: int | None = None,
                 orthogonalize: bool | None = None) -> Tensor:
        return along(op, lg.asarray(x), type, n, axis, norm, orthogonalize, op[0] == "i")
    return documented(op, function, "one axis")


def many(op: str) -> Callable[..., Tensor]:
    def function(x: Any, type: int = 2, s: Any = None, axes: Any = None, norm: str | None = None, overwrite_x: bool = False, workers: int | None = None,
                 *, orthogonalize: bool | None = None) -> Tensor:
        x = lg.asarray(x)
        sizes = None if s is None else (s,) if isinstance(s, int) else tuple(s)
        chosen = many_axes(op, list(axes) if isinstance(axes, tuple) else axes, x.ndim) if axes is not None else tuple(range(x.ndim))[-len(sizes):] if sizes else tuple(range(x.ndim))
        if sizes is not None and len(sizes) != len(chosen):
            raise ShapeError(op, f"s={s} along axes {chosen}", "they are differently many", "give one size for every axis")
        for k, a in enumerate(chosen):
            x = along(op, x, type, None if sizes is None else sizes[k], a, norm, orthogonalize, op[0] == "i")
        return x
    return documented(op, function, "several axes")


def documented(op: str, function: Callable, where: str) -> Callable:
    what = "cosine" if "c" in op else "sine"
    function.__name__ = function.__qualname__ = op
    function.__doc__ = (f"The {'inverse ' if op[0] == 'i' else ''}discrete {what} transform of type 1, 2, 3 or 4 along {where}, as SciPy defines and scales it.\n\n"
                        f"    >>> from lazygrad.scipy import fft\n    >>> fft.i{op.removeprefix('i')}(fft.{op.removeprefix('i')}([1.0, 2.0])).round(12).tolist()\n    [1.0, 2.0]\n    ")
    return wide(function)


dct, idct, dst, idst = map(one, ("dct", "idct", "dst", "idst"))
dctn, idctn, dstn, idstn = map(many, ("dctn", "idctn", "dstn", "idstn"))


# ---- Hermitian transforms of several axes -----------------------------------------------------------------------------------

@wide
def hfftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None, overwrite_x: bool = False, workers: int | None = None) -> Tensor:
    """The real Fourier transform of half of a Hermitian array over several axes.

    >>> from lazygrad.scipy import fft
    >>> fft.hfftn([[1.0, 2.0]]).tolist()
    [[3.0, -1.0]]
    """
    return lg.fft.irfftn(lg.conj(lg.asarray(x)), s, axes, OTHER.get(norm, norm))


@wide
def ihfftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None, overwrite_x: bool = False, workers: int | None = None) -> Tensor:
    """The inverse of `hfftn`: half of a Hermitian array.

    >>> from lazygrad.scipy import fft
    >>> fft.ihfftn([[3.0, -1.0]]).tolist()
    [[(1-0j), (2-0j)]]
    """
    return lg.conj(lg.fft.rfftn(lg.asarray(x), s, axes, OTHER.get(norm, norm)))


@wide
def hfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, overwrite_x: bool = False, workers: int | None = None) -> Tensor:
    """`hfftn` over two axes.

    >>> from lazygrad.scipy import fft
    >>> fft.hfft2([[1.0, 2.0]]).tolist()
    [[3.0, -1.0]]
    """
    return hfftn(x, s, axes, norm)


@wide
def ihfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, overwrite_x: bool = False, workers: int | None = None) -> Tensor:
    """`ihfftn` over two axes.

    >>> from lazygrad.scipy import fft
    >>> fft.ihfft2([[3.0, -1.0]]).tolist()
    [[(1-0j), (2-0j)]]
    """
    return ihfftn(x, s, axes, norm)
