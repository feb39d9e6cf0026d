"""How exact functions are: errors in units in the last place against mpmath, over the domain. Rows of docs/functions.md.

Errors of oscillating functions and of those with zeros off 0 count against the size of what they are made of (`scale`). The functions of
`test_math.py`, which have vector code of their own, are measured there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import pytest

import lazygrad as lg

POINTS = 60
Draw = Callable[[np.random.Generator, int], np.ndarray]


def reals(low: float, high: float) -> Draw:
    return lambda rng, n: rng.uniform(low, high, n)


def sizes(low: float, high: float, signed: bool = False) -> Draw:
    """As many of every order of magnitude."""
    return lambda rng, n: np.exp(rng.uniform(np.log(low), np.log(high), n)) * (rng.choice([-1.0, 1.0], n) if signed else 1)


def either(*draws: Draw) -> Draw:
    """From each of several as many."""
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.permutation(np.concatenate([d(rng, n // len(draws) + 1) for d in draws]))[:n]
    return draw


def counts(low: int, high: int) -> Draw:
    return lambda rng, n: rng.integers(low, high, n).astype(float)


def envelope(x: Any, *_: Any) -> Any:
    return mp.sqrt(2 / (mp.pi * x)) if x > 1 else mp.mpf(0)


def one(*_: Any) -> Any:
    return mp.mpf(1)


class Row(NamedTuple):
    """`exact` gives one value or a tuple; `where` the arguments; `scale` the size of errors beside |f|; `wide` and `narrow`: ulp allowed in
    float64 and float32; `why` they are more than 4; `given`: arguments in front that are no arrays."""

    exact: Callable[..., Any]
    where: list[Draw]
    scale: Callable[..., Any] | None = None
    wide: float = 4
    narrow: float = 4
    why: str = ""
    given: tuple = ()


def airy(x: Any) -> tuple:
    return mp.airyai(x), mp.airyai(x, derivative=1), mp.airybi(x), mp.airybi(x, derivative=1)


def airy_size(x: Any) -> Any:
    """The envelope of the waves of all four for x < 0."""
    return (abs(x) ** (mp.mpf(1) / 4) + abs(x) ** (-mp.mpf(1) / 4)) / mp.sqrt(mp.pi) if x < -1 else mp.mpf(0)


def normal(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_normal(x: Any) -> Any:
    return mp.log1p(-normal(-x)) if x > 0 else mp.log(normal(x))


def voigt(x: Any, sigma: Any, gamma: Any) -> Any:
    z = (x + 1j * gamma) / (sigma * mp.sqrt(2))
    return mp.re(mp.exp(-z * z) * mp.erfc(-1j * z)) / (sigma * mp.sqrt(2 * mp.pi))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def power_minus_one(x: Any, y: Any) -> Any:
    return mp.expm1(y * mp.log(x))


FAR = sizes(1e-30, 1e30, True)

SPECIAL: dict[str, Row] = {
    "erfinv": Row(mp.erfinv, [either(reals(-0.9999, 0.9999), sizes(1e-20, 0.1, True))]),
    "erfcinv": Row(lambda x: mp.erfinv(1 - x), [reals(0.001, 1.999)], one),
    "erfcx": Row(lambda x: mp.exp(x * x) * mp.erfc(x), [either(reals(-5, 40), sizes(1e-10, 1e10))]),
    "erfi": Row(mp.erfi, [either(sizes(1e-10, 5, True), reals(-9, 9))], wide=6, why="that of dawsn, and its exponential"),
    "dawsn": Row(lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), [either(sizes(1e-10, 1e3, True), reals(-9, 9))], wide=6, why="SciPy's between 0.5 and 8"),
    "ndtr": Row(normal, [either(reals(-37, 8), sizes(1e-10, 1, True))], wide=6, why="the interpreter's, by SciPy's erfcx; compiled 3"),
    "ndtri": Row(lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), [reals(0.001, 0.999)], one, 8),
    "log_ndtr": Row(log_normal, [either(reals(-30, 8), sizes(1, 1e5, True))], wide=6, why="the interpreter's, by SciPy's erfcx; compiled 3"),
    "gamma": Row(mp.gamma, [either(reals(0.05, 33), reals(-9.9, 0), sizes(1e-8, 1))], wide=6, why="SciPy's multiplies up to thirty factors"),
    "rgamma": Row(mp.rgamma, [either(reals(0.05, 33), sizes(1e-8, 1))], wide=6, why="that of gamma"),
    "exp1": Row(mp.e1, [sizes(1e-10, 80)], None, 8),
    "expi": Row(mp.ei, [sizes(1e-6, 80)], one, wide=20, why="SciPy's between 1.5 and 38"),
    "j0": Row(lambda x: mp.besselj(0, x), [either(reals(0.1, 60), sizes(1e-5, 1e4))], envelope, wide=12, why="SciPy's below 25, which rounds the phase"),
    "j1": Row(lambda x: mp.besselj(1, x), [either(reals(0.1, 60), sizes(1e-5, 1e4))], envelope, wide=12, why="SciPy's below 25, which rounds the phase"),
    "y0": Row(lambda x: mp.bessely(0, x), [either(reals(0.1, 60), sizes(1e-5, 1e4))], envelope, wide=12, why="SciPy's below 25, which rounds the phase"),
    "y1": Row(lambda x: mp.bessely(1, x), [either(reals(0.1, 60), sizes(1e-5, 1e4))], envelope, wide=12, why="SciPy's below 25, which rounds the phase"),
    "i0": Row(lambda x: mp.besseli(0, x), [reals(-60, 60)], None, 8),
    "i1": Row(lambda x: mp.besseli(1, x), [either(reals(-60, 60), sizes(1e-8, 1))], wide=12, why="SciPy's Chebyshev series"),
    "k0": Row(lambda x: mp.besselk(0, x), [sizes(1e-8, 80)], wide=10, why="SciPy's Chebyshev series"),
    "k1": Row(lambda x: mp.besselk(1, x), [sizes(1e-8, 80)], wide=8, why="SciPy's Chebyshev series"),
    "i0e": Row(lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [either(reals(-60, 60), sizes(1, 1e6))], None, 8),
    "i1e": Row(lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [either(reals(-60, 60), sizes(1e-8, 1e6))], wide=8, why="SciPy's Chebyshev series"),
    "k0e": Row(lambda x: mp.exp(x) * mp.besselk(0, x), [sizes(1e-8, 1e6)], wide=12, why="SciPy's Chebyshev series"),
    "k1e": Row(lambda x: mp.exp(x) * mp.besselk(1, x), [sizes(1e-8, 1e6)], None, 8),
    "jv": Row(mp.besselj, [reals(0, 10), sizes(0.01, 100)], lambda v, x: envelope(x) if x > v else 0, wide=900, why="SciPy's (AMOS), which rounds phases and exponents"),
    "yv": Row(mp.bessely, [reals(0, 10), sizes(0.01, 100)], lambda v, x: envelope(x) if x > v else 0, wide=900, why="SciPy's (AMOS), which rounds phases and exponents"),
    "iv": Row(mp.besseli, [reals(0, 10), sizes(0.01, 100)], wide=200, why="SciPy's (AMOS), which rounds phases and exponents"),
    "kv": Row(mp.besselk, [reals(0, 10), sizes(0.01, 100)], wide=300, why="SciPy's (AMOS), which rounds phases and exponents"),
    "ive": Row(lambda v, x: mp.exp(-x) * mp.besseli(v, x), [reals(0, 10), sizes(0.01, 100)], wide=600, why="SciPy's (AMOS), which rounds phases and exponents"),
    "kve": Row(lambda v, x: mp.exp(x) * mp.besselk(v, x), [reals(0, 10), sizes(0.01, 100)], wide=600, why="SciPy's (AMOS), which rounds phases and exponents"),
    "beta": Row(mp.beta, [sizes(0.05, 30), sizes(0.05, 30)], wide=150, why="SciPy's subtracts logarithms of gamma functions"),
    "betaln": Row(lambda x, y: mp.log(mp.beta(x, y)), [sizes(0.05, 1e3), sizes(0.05, 1e3)], one, wide=9000, why="SciPy's subtracts logarithms of gamma functions"),
    "poch": Row(mp.rf, [sizes(0.05, 30), sizes(0.05, 30)], wide=300, why="SciPy's subtracts logarithms of gamma functions"),
    "binom": Row(mp.binomial, [reals(5, 40), reals(0, 5)], wide=200, why="SciPy's subtracts logarithms of gamma functions"),
    "gammainc": Row(lambda a, x: mp.gammainc(a, 0, x, regularized=True), [sizes(0.1, 30), sizes(0.1, 40)], wide=200, why="SciPy's takes x^a exp(-x) / Γ(a) from rounded logarithms"),
    "gammaincc": Row(lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True), [sizes(0.1, 30), sizes(0.1, 40)], wide=100, why="SciPy's takes x^a exp(-x) / Γ(a) from rounded logarithms"),
    "betainc": Row(lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True), [sizes(0.1, 30), sizes(0.1, 30), reals(0.01, 0.99)], wide=100, why="SciPy's takes powers of rounded numbers"),
    "betaincc": Row(lambda a, b, x: mp.betainc(a, b, x, 1, regularized=True), [sizes(0.1, 30), sizes(0.1, 30), reals(0.01, 0.99)], wide=100, why="SciPy's takes powers of rounded numbers"),
    "zeta": Row(lambda s, q: mp.zeta(s, q), [reals(1.1, 20), sizes(0.1, 20)], None, 20),
    "polygamma": Row(lambda x: mp.polygamma(1, x), [sizes(0.01, 1e3)], None, 20, given=(1,)),
    "airy": Row(airy, [reals(-20, 20)], airy_size, wide=500, why="SciPy's (AMOS), which rounds phases and exponents"),
    "sici": Row(lambda x: (mp.si(x), mp.ci(x)), [sizes(1e-5, 1e3)], lambda x: 1 / x if x > 1 else mp.mpf(0.1), wide=8, why="SciPy's rational functions"),
    "shichi": Row(lambda x: (mp.shi(x), mp.chi(x)), [sizes(1e-5, 80)], lambda x: mp.mpf(1) if x < 1 else 0, 64, 2),
    "fresnel": Row(lambda x: (mp.fresnels(x), mp.fresnelc(x)), [sizes(1e-5, 30)], wide=20, why="SciPy's rational functions"),
    "spence": Row(lambda x: mp.polylog(2, 1 - x).real, [sizes(1e-5, 1e5)], lambda x: mp.mpf(1) if abs(x - 1) < 0.5 else 0, wide=12, why="SciPy's, where its two terms cancel"),
    "owens_t": Row(lambda h, a: mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * mp.pi), [reals(-3, 3), reals(-3, 3)], wide=30, why="SciPy's quadratures"),
    "lambertw": Row(lambda x: mp.lambertw(x).real, [either(reals(-0.3, 3), sizes(1e-8, 1e8))], None, 16),
    "wrightomega": Row(lambda x: mp.lambertw(mp.exp(x)).real, [reals(-30, 200)], wide=20, why="SciPy's iteration ends early"),
    "voigt_profile": Row(voigt, [reals(-4, 4), reals(0.3, 2), reals(0.1, 2)], wide=80, why="SciPy's, for rounded arguments of w"),
    "struve": Row(mp.struveh, [reals(0, 5), sizes(0.1, 30)], lambda v, x: envelope(x), wide=4000, why="SciPy's subtracts Y from a series"),
    "modstruve": Row(mp.struvel, [reals(0, 5), sizes(0.1, 30)], wide=30000, why="SciPy's sums a series of changing signs"),
    "hyp0f1": Row(mp.hyp0f1, [reals(0.2, 6), reals(-5, 30)], lambda v, x: 1, wide=30, why="SciPy's; the terms of its series cancel"),
    "hyp1f1": Row(mp.hyp1f1, [reals(0.2, 6), reals(0.2, 6), reals(-5, 30)], wide=300, why="SciPy's; the terms of its series cancel"),
    "hyp2f1": Row(mp.hyp2f1, [reals(0.2, 4), reals(0.2, 4), reals(0.2, 6), reals(-0.9, 0.9)], wide=40, why="SciPy's; the terms of its series cancel"),
    "ellipk": Row(mp.ellipk, [either(reals(-3, 1), sizes(1e-8, 1e6, True))], None, 8), "ellipe": Row(mp.ellipe, [either(reals(-3, 1), sizes(1e-8, 1))], None, 8),
    "ellipkm1": Row(lambda p: mp.ellipk(1 - p), [sizes(1e-20, 1e3)], None, 8),
    "ellipkinc": Row(mp.ellipf, [reals(-1.5, 1.5), reals(-3, 1)], None, 16), "ellipeinc": Row(mp.ellipe, [reals(-1.5, 1.5), reals(-3, 1)], None, 16),
    "agm": Row(mp.agm, [sizes(0.01, 100), sizes(0.01, 100)], None, 16), "entr": Row(lambda x: -x * mp.log(x), [sizes(1e-6, 50)]),
    "xlog1py": Row(lambda x, y: x * mp.log(1 + y), [reals(-3, 3), sizes(1e-6, 50)]),
    "rel_entr": Row(lambda x, y: x * mp.log(x / y), [sizes(0.01, 50), sizes(0.01, 50)]),
    "kl_div": Row(lambda x, y: x * mp.log(x / y) - x + y, [sizes(0.01, 50), sizes(0.01, 50)]),
    "exprel": Row(lambda x: (mp.exp(x) - 1) / x, [sizes(1e-6, 20, True)]),
    "pseudo_huber": Row(lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1), [sizes(0.1, 10), sizes(1e-4, 100, True)]),
    "boxcox": Row(lambda x, l: mp.expm1(l * mp.log(x)) / l, [sizes(0.01, 100), reals(-2, 2)], one, wide=8, narrow=8, why="the exponential of a product that is rounded"),
    "cosm1": Row(lambda x: -2 * mp.sin(x / 2) ** 2, [sizes(1e-8, 3, True)]), "powm1": Row(power_minus_one, [sizes(0.01, 100), reals(-3, 3)], None, 8, 8),
    "zetac": Row(lambda x: mp.zeta(x, 2), [reals(1.1, 40)]), "boxcox1p": Row(lambda x, l: mp.expm1(l * mp.log1p(x)) / l, [sizes(1e-8, 100), reals(-2, 2)],
                                                                             wide=8, narrow=8, why="the exponential of a product that is rounded"),
    "stdtr": Row(lambda n, t: mp.betainc(n / 2, 0.5, 0, n / (n + t * t), regularized=True) / 2 if t < 0 else 1 - mp.betainc(n / 2, 0.5, 0, n / (n + t * t), regularized=True) / 2,
                 [sizes(0.5, 200), reals(-8, 8)], wide=200, why="SciPy's takes powers of rounded numbers"),
    "exp10": Row(lambda x: mp.mpf(10) ** x, [reals(-30, 30)]), "factorial": Row(mp.factorial, [reals(0, 30)], wide=8, why="that of gamma"),
}

MAIN: dict[str, Row] = {
    "sqrt": Row(mp.sqrt, [sizes(1e-30, 1e30)]), "rsqrt": Row(lambda x: 1 / mp.sqrt(x), [sizes(1e-30, 1e30)]), "reciprocal": Row(lambda x: 1 / x, [FAR]),
    "square": Row(lambda x: x * x, [sizes(1e-15, 1e15, True)]),
    "logit": Row(lambda x: mp.log(x / (1 - x)), [either(reals(0.001, 0.999), sizes(1e-20, 0.1))]),
    "sinc": Row(lambda x: mp.sincpi(x), [either(reals(-10, 10), sizes(1e-8, 1))], lambda x: 1 / (mp.pi * abs(x)) if abs(x) > 0.5 else 0),
    "softplus": Row(softplus, [reals(-80, 80)]), "log_sigmoid": Row(lambda x: -softplus(-x), [reals(-80, 80)]),
    "silu": Row(lambda x: x / (1 + mp.exp(-x)), [reals(-80, 80)]), "gelu": Row(lambda x: x * mp.ncdf(x), [reals(-5, 5)], one, 8, 8),
    "elu": Row(lambda x: mp.expm1(x) if x < 0 else x, [either(reals(-10, 10), sizes(1e-8, 1, True))]),
    "logaddexp": Row(lambda x, y: mp.log(mp.exp(x) + mp.exp(y)), [reals(-30, 30), reals(-30, 30)], one),
    "logaddexp2": Row(lambda x, y: mp.log(mp.mpf(2) ** x + mp.mpf(2) ** y) / mp.log(2), [reals(-30, 30), reals(-30, 30)], one),
    "xlogy": Row(lambda x, y: x * mp.log(y), [reals(-3, 3), sizes(1e-6, 1e6)]), "deg2rad": Row(mp.radians, [FAR]), "rad2deg": Row(mp.degrees, [FAR]),
}
ROWS = {**{f"special.{n}": r for n, r in SPECIAL.items()}, **MAIN}


def function(name: str) -> Callable[..., Any]:
    space, _, own = name.rpartition(".")
    return getattr(getattr(lg, space) if space else lg, own)


def errors(name: str, dtype: str, points: int = POINTS) -> float:
    """The largest error, in units in the last place of the value (or of its scale), of the interpreter and of compiled code."""
    row = ROWS[name]
    rng = np.random.default_rng(len(name))
    xs = [draw(rng, points).astype(dtype) for draw in row.where]
    call = lambda *ts: function(name)(*row.given, *ts)
    tensors = [lg.asarray(x) for x in xs]
    worst = 0.0
    runs = []
    for got in (call(*tensors), lg.compile(call)(*tensors)):             # interpreted, and compiled where there is code
        runs.append([np.asarray(g) for g in (got if isinstance(got, tuple) else (got,))])
    info = np.finfo(dtype)
    with mp.workdps(40):
        for k, args in enumerate(zip(*xs, strict=True)):
            args = [mp.mpf(float(a)) for a in args]
            want = row.exact(*args)
            for *gs, w in zip(*runs, want if isinstance(want, tuple) else (want,), strict=True):
                size = max(abs(w), row.scale(*args) if row.scale else mp.mpf(0))
                if size > mp.mpf(float(info.max)):
                    continue
                unit = max(float(np.spacing(np.asarray(float(size), dtype))), float(info.smallest_subnormal))
                worst = max(worst, *[float(abs(mp.mpf(float(g[k])) - w) / mp.mpf(unit)) for g in gs])
    return worst


@pytest.mark.parametrize("name", ROWS)
def test_errors_against_multiprecision(name):
    assert errors(name, "float64") <= ROWS[name].wide
    assert errors(name, "float32") <= ROWS[name].narrow
