"""How exact the special functions are: errors in units in the last place against mpmath, over the domain. Run as a program: the table.

Errors of oscillating functions and of those with zeros off 0 count against the size of what they are made of (`scale`).
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest

import lazygrad as lg

POINTS = 60


def reals(low: float, high: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(low, high, POINTS)


def sizes(low: float, high: float, signed: bool = False) -> Callable[[np.random.Generator], np.ndarray]:
    """As many of every order of magnitude."""
    return lambda rng: np.exp(rng.uniform(np.log(low), np.log(high), POINTS)) * (rng.choice([-1.0, 1.0], POINTS) if signed else 1)


def envelope(x, *_):
    return mp.sqrt(2 / (mp.pi * x)) if x > 1 else mp.mpf(0)


def one(*_):
    return mp.mpf(1)


# name: exact function, where the arguments lie, the scale of errors beside |f|, ulp allowed in float64 and in float32
ROWS: dict[str, tuple] = {
    "erfinv": (mp.erfinv, [reals(-0.9999, 0.9999)], None, 4, 4),
    "erfcinv": (lambda x: mp.erfinv(1 - x), [reals(0.001, 1.999)], one, 4, 4),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), [reals(-3, 40)], None, 8, 2),
    "erfi": (mp.erfi, [sizes(1e-3, 5, True)], None, 100, 2),
    "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), [sizes(1e-3, 40, True)], None, 120, 2),
    "ndtr": (mp.ncdf, [reals(-30, 6)], None, 7, 4),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), [reals(0.001, 0.999)], one, 8, 4),
    "log_ndtr": (lambda x: mp.log(mp.ncdf(x)), [reals(-30, 6)], None, 30, 2),
    "gamma": (mp.gamma, [reals(0.05, 33)], None, 8, 4),
    "rgamma": (mp.rgamma, [reals(0.05, 33)], None, 8, 4),
    "exp1": (mp.e1, [sizes(1e-3, 60)], None, 8, 4),
    "expi": (mp.ei, [sizes(1e-3, 60)], one, 64, 2),
    "j0": (lambda x: mp.besselj(0, x), [reals(0.1, 60)], envelope, 50, 2),
    "j1": (lambda x: mp.besselj(1, x), [reals(0.1, 60)], envelope, 20, 2),
    "y0": (lambda x: mp.bessely(0, x), [reals(0.1, 60)], envelope, 50, 2),
    "y1": (lambda x: mp.bessely(1, x), [reals(0.1, 60)], envelope, 20, 2),
    "i0": (lambda x: mp.besseli(0, x), [reals(-60, 60)], None, 8, 4),
    "i1": (lambda x: mp.besseli(1, x), [reals(-60, 60)], None, 8, 4),
    "k0": (lambda x: mp.besselk(0, x), [sizes(1e-3, 60)], None, 10, 2),
    "k1": (lambda x: mp.besselk(1, x), [sizes(1e-3, 60)], None, 8, 4),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [reals(-60, 60)], None, 8, 4),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [reals(-60, 60)], None, 8, 4),
    "k0e": (lambda x: mp.exp(x) * mp.besselk(0, x), [sizes(1e-3, 60)], None, 12, 2),
    "k1e": (lambda x: mp.exp(x) * mp.besselk(1, x), [sizes(1e-3, 60)], None, 8, 4),
    "beta": (mp.beta, [sizes(0.05, 30), sizes(0.05, 30)], None, 100, 2),
    "betaln": (lambda x, y: mp.log(mp.beta(x, y)), [sizes(0.05, 30), sizes(0.05, 30)], one, 50, 2),
    "gammainc": (lambda a, x: mp.gammainc(a, 0, x, regularized=True), [sizes(0.1, 30), sizes(0.1, 40)], None, 80, 2),
    "gammaincc": (lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True), [sizes(0.1, 30), sizes(0.1, 40)], None, 80, 2),
    "betainc": (lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True), [sizes(0.1, 30), sizes(0.1, 30), reals(0.01, 0.99)], None, 16, 2),
    "zeta": (lambda s, q: mp.zeta(s, q), [reals(1.1, 20), sizes(0.1, 20)], None, 20, 4),
    "entr": (lambda x: -x * mp.log(x), [sizes(1e-6, 50)], None, 4, 4),
    "xlog1py": (lambda x, y: x * mp.log(1 + y), [reals(-3, 3), sizes(1e-6, 50)], None, 4, 4),
    "rel_entr": (lambda x, y: x * mp.log(x / y), [sizes(0.01, 50), sizes(0.01, 50)], None, 8, 8),
    "kl_div": (lambda x, y: x * mp.log(x / y) - x + y, [sizes(0.01, 50), sizes(0.01, 50)], None, 12, 12),
    "exprel": (lambda x: (mp.exp(x) - 1) / x, [sizes(1e-6, 20, True)], None, 4, 4),
    "logit": (lambda x: mp.log(x / (1 - x)), [reals(0.001, 0.999)], None, 4, 4),
    "pseudo_huber": (lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1), [sizes(0.1, 10), sizes(1e-4, 100, True)], None, 6, 6),
}


def errors(name: str, dtype: str) -> float:
    """The largest error, in units in the last place of the value (or of its scale)."""
    exact, where, scale, *_ = ROWS[name]
    rng = np.random.default_rng(len(name))
    xs = [draw(rng).astype(dtype) for draw in where]
    got = np.asarray(getattr(lg.special, name)(*[lg.asarray(x) for x in xs]))
    worst = 0.0
    with mp.workdps(40):
        for g, *args in zip(got, *xs, strict=True):
            args = [mp.mpf(float(a)) for a in args]
            want = exact(*args)
            size = max(abs(want), scale(*args) if scale else mp.mpf(0))
            unit = np.spacing(np.asarray(float(size), dtype))
            worst = max(worst, float(abs(mp.mpf(float(g)) - want) / mp.mpf(float(unit))))
    return worst


@pytest.mark.parametrize("name", ROWS)
def test_errors_against_multiprecision(name):
    *_, wide, narrow = ROWS[name]
    assert errors(name, "float64") <= wide
    assert errors(name, "float32") <= narrow


if __name__ == "__main__":
    print("| function | float32: ulp | float64: ulp |\n|---|---|---|")
    for row in ROWS:
        print(f"| {row} | {errors(row, 'float32'):.1f} | {errors(row, 'float64'):.1f} |")
