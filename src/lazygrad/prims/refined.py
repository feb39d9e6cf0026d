"""NumPy meanings of functions that SciPy computes with dozens of units in the last place of error, where a few passes mend that.

What loses the digits there: squares rounded before exponentials, phases of large arguments rounded before cosines, series that were fitted for
absolute errors. In and out: float64 arrays; `refined` makes a Prim's meaning of one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ..ir.scalar import OPS

Function = Callable[[np.ndarray], np.ndarray]


def scipy(name: str, x: np.ndarray) -> np.ndarray:
    import scipy.special
    return getattr(scipy.special, name)(x)


def refined(f: Function) -> Function:
    """A Prim's meaning, in the dtype of its argument."""
    @functools.wraps(f)
    def numpy(x: np.ndarray) -> np.ndarray:
        return np.asarray(f(np.atleast_1d(x.astype(np.float64)))).reshape(x.shape).astype(x.dtype)
    return numpy


def mended(out: np.ndarray, here: np.ndarray, f: Function, x: np.ndarray) -> np.ndarray:
    """`out` with f(x) in the places of `here`."""
    if here.any():
        out[here] = f(x[here])
    return out


def polynomial(coefficients: list[float], x: np.ndarray) -> np.ndarray:
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


# ---- error functions ---------------------------------------------------------------------------------------------------

def times_exp_square(y: np.ndarray, x: np.ndarray, k: float = 1.0) -> np.ndarray:
    """y exp(k x²): the square in two parts, that of a multiple of 1 / 64 (exact) and a small one."""
    near = np.rint(x * 64) / 64
    return np.exp(k * near * near) * (y + y * np.expm1(k * (x - near) * (x + near)))


DAWSON = [(-2.0) ** k / math.prod(range(1, 2 * k + 2, 2)) for k in range(16)]           # D(x) / x in powers of x²
AWAY = [float(math.prod(range(1, 2 * k, 2))) for k in range(19)]                       # 2 x D(x) in powers of 1 / 2x²


@refined
def dawsn(x: np.ndarray) -> np.ndarray:
    out = mended(scipy("dawsn", x), np.abs(x) < 0.5, lambda y: y * polynomial(DAWSON, y * y), x)
    return mended(out, (np.abs(x) > 8) & (np.abs(x) < 1e100), lambda y: 0.5 / y * polynomial(AWAY, 0.5 / (y * y)), x)


@refined
def erfi(x: np.ndarray) -> np.ndarray:
    # 2 / sqrt(π) exp(x²) D(x); from 26.5 on SciPy's, which overflows in time
    return mended(scipy("erfi", x), np.abs(x) < 26, lambda y: times_exp_square(2 / math.sqrt(math.pi) * dawsn(y), y), x)


@refined
def erfcx(x: np.ndarray) -> np.ndarray:
    out = mended(scipy("erfcx", x), np.abs(x) < 0.5, lambda y: times_exp_square(scipy("erfc", y), y), x)
    return mended(out, (x <= -0.5) & (x > -26), lambda y: times_exp_square(np.full_like(y, 2.0), y) - scipy("erfcx", -y), x)


@refined
def log_ndtr(x: np.ndarray) -> np.ndarray:
    out = np.log1p(-OPS["ndtr"].numpy(-x))
    out = mended(out, x < 0, lambda y: np.log(OPS["ndtr"].numpy(y)), x)
    return mended(out, x < -2, lambda y: np.log(0.5 * scipy("erfcx", -y * math.sqrt(0.5))) - y * y / 2, x)


# ---- the exponential integral ------------------------------------------------------------------------------------------

EULER = 0.57721566490153286061
SERIES = [1 / (k * math.factorial(k)) for k in range(1, 24)]                           # (Ei(x) - γ - log x) / x
LARGE = [float(math.factorial(k)) for k in range(36)]                                  # x exp(-x) Ei(x) in powers of 1 / x


@refined
def expi(x: np.ndarray) -> np.ndarray:
    out = mended(scipy("expi", x), (x > 0) & (x < 1.5), lambda y: y * polynomial(SERIES, y) + (np.log(y) + EULER), x)
    return mended(out, (x > 38) & (x < 709), lambda y: np.exp(y) * polynomial(LARGE, 1 / y) / y, x)


# ---- Bessel functions of order 0 and 1 at large arguments: Hankel's expansion, DLMF 10.17 ----------------------------------

FROM = 25.0


def _hankel(order: int) -> tuple[list[float], list[float]]:
    """The coefficients of P and of x Q in powers of 1 / x²."""
    a = [1.0]
    for k in range(1, 32):
        a.append(a[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return [(-1) ** k * a[2 * k] for k in range(14)], [(-1) ** k * a[2 * k + 1] for k in range(14)]


def _waves(order: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and Y. The phase x - π / 4 - order π / 2 is never formed: its sine and cosine are those of x, added."""
    p, q = _hankel(order)
    w = 1 / (x * x)
    p, q = polynomial(p, w), polynomial(q, w) / x
    s, c = np.sin(x), np.cos(x)
    sine, cosine = (s - c, s + c) if order == 0 else (-(s + c), s - c)
    root = 1 / np.sqrt(math.pi * x)
    return root * (p * cosine - q * sine), root * (p * sine + q * cosine)


def _bessel(name: str, order: int, kind: int) -> Function:
    def f(x: np.ndarray) -> np.ndarray:
        out = scipy(name, x)
        out = mended(out, (x > FROM) & np.isfinite(x), lambda y: _waves(order, y)[kind], x)
        if kind == 0:                                      # J of order 0 is even, of order 1 odd
            out = mended(out, (x < -FROM) & np.isfinite(x), lambda y: (-1) ** order * _waves(order, -y)[0], x)
        return out
    return refined(f)


j0, j1, y0, y1 = [_bessel(f"{letter}{order}", order, kind) for kind, letter in enumerate("jy") for order in (0, 1)]
