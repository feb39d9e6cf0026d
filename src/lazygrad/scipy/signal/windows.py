"""Windows under SciPy's names: M samples, symmetric, or periodic where `sym` is False. float64, without memory of their own.

>>> from lazygrad.scipy.signal import windows
>>> windows.hann(4, sym=False).round(12).tolist()
[0.0, 0.5, 1.0, 0.5]
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ...errors import OptionError, ShapeError
from ...tensor import Tensor

__all__ = [
    "barthann",
    "bartlett",
    "blackman",
    "blackmanharris",
    "bohman",
    "boxcar",
    "cosine",
    "exponential",
    "flattop",
    "gaussian",
    "general_cosine",
    "general_gaussian",
    "general_hamming",
    "get_window",
    "hamming",
    "hann",
    "kaiser",
    "lanczos",
    "nuttall",
    "parzen",
    "triang",
    "tukey",
]


def window(formula: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of the number of samples from a formula f(n, t, ...): n samples at places t, -(n - 1) to n - 1 in steps of 2."""
    def function(M: int, *args: Any, sym: bool = True, **options: Any) -> Tensor:
        if args and isinstance(args[-1], bool):                # `sym` by its place
            args, sym = args[:-1], args[-1]
        try:
            count = operator.index(M)
        except TypeError:
            count = -1
        if count < 0:
            raise ShapeError(formula.__name__, f"M={M}", "a number of samples is an integer of 0 or more", "pass one")
        if count < 2:
            return lg.ones(count, np.float64)
        n = count if sym else count + 1
        t = lg.arange(1 - n, n, 2).astype(np.float64)
        return formula(n, t, *args, **options)[:count]
    function.__name__ = function.__qualname__ = formula.__name__
    function.__doc__ = formula.__doc__
    return function


def cosines(n: int, t: Tensor, weights: Sequence[float]) -> Tensor:
    """Σₖ wₖ cos(k pi t / (n - 1)): the places are counted from the middle, so signs do not alternate."""
    angle = t * (math.pi / (n - 1))
    return sum([w * lg.cos(k * angle) for k, w in enumerate(weights[1:], 1)], lg.full_like(t, weights[0]))


@window
def boxcar(n, t):
    """Ones."""
    return lg.ones_like(t)


@window
def triang(n, t):
    """A triangle that does not reach 0."""
    return 1 - lg.abs(t) / (n if n % 2 == 0 else n + 1)


@window
def bartlett(n, t):
    """A triangle that is 0 at its ends."""
    return 1 - lg.abs(t) / (n - 1)


@window
def parzen(n, t):
    """Parzen's window, made of cubic polynomials."""
    r = lg.abs(t) / n
    return lg.where(lg.abs(t) <= (n - 1) / 2, 1 - 6 * r ** 2 + 6 * r ** 3, 2 * (1 - r) ** 3)


@window
def bohman(n, t):
    """Bohman's window (1 - |s|) cos(pi |s|) + sin(pi |s|) / pi."""
    s = lg.abs(t) / (n - 1)
    inner = (1 - s) * lg.cos(math.pi * s) + lg.sin(math.pi * s) / math.pi
    return lg.where(s == 1, 0.0, inner)


@window
def general_cosine(n, t, a):
    """A sum of cosines with the weights a, whose signs alternate."""
    return cosines(n, t, a)


@window
def hann(n, t):
    """Hann's window, a raised cosine."""
    return cosines(n, t, (0.5, 0.5))


@window
def hamming(n, t):
    """Hamming's window, a raised cosine that does not reach 0."""
    return cosines(n, t, (0.54, 0.46))


@window
def general_hamming(n, t, alpha):
    """A raised cosine: alpha + (1 - alpha) cos."""
    return cosines(n, t, (alpha, 1 - alpha))


@window
def blackman(n, t):
    """Blackman's window, of three cosines."""
    return cosines(n, t, (0.42, 0.5, 0.08))


@window
def nuttall(n, t):
    """Nuttall's window, of four cosines."""
    return cosines(n, t, (0.3635819, 0.4891775, 0.1365995, 0.0106411))


@window
def blackmanharris(n, t):
    """Blackman's and Harris's window, of four cosines."""
    return cosines(n, t, (0.35875, 0.48829, 0.14128, 0.01168))


@window
def flattop(n, t):
    """A window of five cosines with a flat top in frequency."""
    return cosines(n, t, (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368))


@window
def barthann(n, t):
    """Bartlett's and Hann's window."""
    s = lg.abs(t) / (2 * (n - 1))
    return 0.62 - 0.48 * s + 0.38 * lg.cos(2 * math.pi * s)


@window
def cosine(n, t):
    """Half a wave."""
    return lg.cos(t * (math.pi / (2 * n)))


@window
def lanczos(n, t):
    """The middle of sinc."""
    return lg.sinc(t / (n - 1))


@window
def gaussian(n, t, std):
    """A bell of standard deviation `std` in samples; differentiates by it."""
    return lg.exp(-lg.square(t / 2) / (2 * std * std))


@window
def general_gaussian(n, t, p, sig):
    """exp(-|s / sig|^(2p) / 2), s in samples from the middle."""
    return lg.exp(-0.5 * lg.abs(t / (2 * sig)) ** (2 * p))


@window
def exponential(n, t, center=None, tau=1.0):
    """exp(-|s - center| / tau), s in samples; the middle without a center."""
    s = t / 2 if center is None else t / 2 + (n - 1) / 2 - center
    return lg.exp(-lg.abs(s) / tau)


@window
def kaiser(n, t, beta):
    """Kaiser's window I₀(beta sqrt(1 - s²)) / I₀(beta); differentiates by beta."""
    s = t / (n - 1)
    arc = lg.sqrt((1 - s) * (1 + s))
    return lg.special.i0(arc * beta) / lg.special.i0(lg.full_like(t, 1.0) * beta)


@window
def tukey(n, t, alpha=0.5):
    """A flat middle with raised cosines at both ends, which take the part `alpha`."""
    if alpha <= 0:
        return lg.ones_like(t)
    s = (n - 1 - lg.abs(t)) / 2               # samples from the nearer end
    edge = min(alpha, 1) * (n - 1) / 2
    return lg.where(s < edge, 0.5 * (1 - lg.cos(math.pi * s / edge)), 1.0)


def get_window(window: Any, Nx: int, fftbins: bool = True) -> Tensor:
    """A window by its name, or a tuple of its name and parameters, or Kaiser's by its beta; periodic unless `fftbins` is False.

    >>> get_window("hann", 4).round(12).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    name, *args = ("kaiser", window) if isinstance(window, int | float) else (window,) if isinstance(window, str) else tuple(window)
    name = {"ones": "boxcar", "rectangular": "boxcar", "rect": "boxcar", "triangle": "triang", "bart": "bartlett", "gauss": "gaussian"}.get(name, name)
    if name not in __all__ or name == "get_window":
        raise OptionError("get_window", f"{window!r}", "there is no such window", "use one of " + ", ".join(__all__))
    return globals()[name](Nx, *args, sym=not fftbins)
