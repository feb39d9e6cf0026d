"""Bessel functions, which SciPy computes on the host, with derivatives by argument (DLMF 10.6, 10.29, 10.51) and by order.

    jv(v, x; k)      the k-th derivative by the order v of J, at v and x; yv, iv, kv, ive, kve likewise

By the order the functions are entire. Their derivatives are those of the polynomial through their values at Chebyshev's points around v,
at distances over which they change by a moderate factor: exact to 1e-10 of max(|f|, |derivative|), to 1e-8 for the third.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import GradientError
from ..ir.aval import Aval
from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .elementwise import add, mul, neg, scale, sign, sub, times
from .leaf import like
from .special import host, shifted

# ---- by the order ----------------------------------------------------------------------------------------------------

POINTS = 15
MOST = 4                # derivatives by the order: each loses some digits


def _stencil(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev's points on [-1, 1], and the weights that give the k-th derivative at 0 of the polynomial through values there."""
    x = np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    coefficients = 2 / POINTS * np.polynomial.chebyshev.chebvander(x, POINTS - 1).T
    coefficients[0] /= 2
    each = np.polynomial.chebyshev.chebder(np.eye(POINTS), k)
    return x, np.polynomial.chebyshev.chebval(0, each) @ coefficients


def _wave(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """How far from v the functions J and Y change by a moderate factor: by powers of x / v below v, by turns of a quarter beyond."""
    return 1 / (1 + np.arcsinh((np.abs(v) + 1) / x))


def _growth(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same for I and K, which for large x are exp(-v² / 2x) times what does not depend on v."""
    return 1 / (1 / np.sqrt(x + 1) + np.arcsinh((np.abs(v) + 1) / x))


def _by_order(name: str, reach: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def numpy(v: np.ndarray, x: np.ndarray, *, k: int) -> np.ndarray:
        import scipy.special
        f = getattr(scipy.special, name)
        if k == 0:
            return np.asarray(f(v, x)).astype(x.dtype, copy=False)
        order, y = v.astype(np.float64), x.astype(np.float64)
        points, weights = _stencil(k)
        h = reach(order, y)
        total = sum(w * f(order + h * p, y) for p, w in zip(points, weights, strict=True)) / h**k
        # at 0: x^v for J and I of positive orders
        at_zero = np.where((order > 0) & (name[0] in "ji"), 0.0, np.nan)
        return np.asarray(np.where(y == 0, at_zero, total)).astype(x.dtype)
    return numpy


def _order(name: str, reach: Callable, dx: Callable[..., Term]) -> Prim:
    """A row f(v, x; k) with the derivative by x dx(c, o, v, x, f), where f(v, x) is the same derivative by the order at others."""
    def dv(c: Term, v: Term, x: Term, k: int) -> Term:
        if k == MOST:
            raise GradientError(name, f"derivative {k + 1} by the order", "differences of values have no digits left for it", "the first four are there")
        return times(c, prim(v, x, k=k + 1))

    prim = Prim(name, _by_order(name, reach), lambda v, x, *, k: E.same(name, "f")(v, x), Host(), Partials(lambda o, v, x, *, k: (
        lambda c: dv(c, v, x, k), lambda c: dx(c, o, v, x, lambda u, y: prim(u, y, k=k)))), ("k",))
    return prim


# ---- by the argument --------------------------------------------------------------------------------------------------
# J, Y: f' = (f[v-1] - f[v+1]) / 2; I: with +; K: -(f[v-1] + f[v+1]) / 2; scaled ones by exp(-|x|), K by exp(x)


def _around(f: Callable[[Term, Term], Term], v: Term, x: Term, join: Prim) -> Term:
    return scale(join(f(shifted(v, -1), x), f(shifted(v, 1), x)), 0.5)


jv = _order("jv", _wave, lambda c, o, v, x, f: times(c, _around(f, v, x, sub)))
yv = _order("yv", _wave, lambda c, o, v, x, f: times(c, _around(f, v, x, sub)))
iv = _order("iv", _growth, lambda c, o, v, x, f: times(c, _around(f, v, x, add)))
kv = _order("kv", _growth, lambda c, o, v, x, f: neg(times(c, _around(f, v, x, add))))
ive = _order("ive", _growth, lambda c, o, v, x, f: times(c, sub(_around(f, v, x, add), mul(sign(x), o))))
kve = _order("kve", _growth, lambda c, o, v, x, f: times(c, sub(o, _around(f, v, x, add))))


def _second(f: Prim, x: Term) -> Term:
    return f(like(x, 2), x, k=0)


j0 = host("j0", lambda c, o, x: neg(times(c, j1(x))))
j1 = host("j1", lambda c, o, x: times(c, scale(sub(j0(x), _second(jv, x)), 0.5)))
y0 = host("y0", lambda c, o, x: neg(times(c, y1(x))))
y1 = host("y1", lambda c, o, x: times(c, scale(sub(y0(x), _second(yv, x)), 0.5)))
i0 = host("i0", lambda c, o, x: times(c, i1(x)))
i1 = host("i1", lambda c, o, x: times(c, scale(add(i0(x), _second(iv, x)), 0.5)))
k0 = host("k0", lambda c, o, x: neg(times(c, k1(x))))
k1 = host("k1", lambda c, o, x: neg(times(c, scale(add(k0(x), _second(kv, x)), 0.5))))
i0e = host("i0e", lambda c, o, x: times(c, sub(i1e(x), mul(sign(x), o))))
i1e = host("i1e", lambda c, o, x: times(c, sub(scale(add(i0e(x), _second(ive, x)), 0.5), mul(sign(x), o))))
k0e = host("k0e", lambda c, o, x: times(c, sub(o, k1e(x))))
k1e = host("k1e", lambda c, o, x: times(c, sub(o, scale(add(k0e(x), _second(kve, x)), 0.5))))


# ---- spherical Bessel functions: (2n + 1) f[n]' = n f[n-1] ∓ (n + 1) f[n+1], DLMF 10.51 -------------------------------

def _spherical(letter: str, before: int, after: int) -> Prim:
    name = f"spherical_{letter}n"

    def numpy(x: np.ndarray, *, n: int) -> np.ndarray:
        import scipy.special
        return np.asarray(getattr(scipy.special, name)(n, x)).astype(x.dtype, copy=False)

    def slope(c: Term, x: Term, n: int) -> Term:
        up = scale(prim(x, n=n + 1), after * (n + 1) / (2 * n + 1))
        return times(c, add(scale(prim(x, n=n - 1), before * n / (2 * n + 1)), up) if n else up)

    def infer(x: Aval, *, n: int) -> Aval:
        return E.same(name, "f")(x)

    prim = Prim(name, numpy, infer, Host(), Partials(lambda o, x, *, n: (lambda c: slope(c, x, n),)), ("n",))
    return prim


spherical_jn = _spherical("j", 1, -1)
spherical_yn = _spherical("y", 1, -1)
spherical_in = _spherical("i", 1, 1)
spherical_kn = _spherical("k", -1, -1)
