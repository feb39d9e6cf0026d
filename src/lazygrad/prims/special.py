"""Special functions that SciPy computes on the host: one row each, with the derivative in terms of others of them.

Sources of the derivatives: DLMF 5 (gamma), 7 (error functions), 10 (Bessel functions), 6 (exponential integrals). An order `v` is a
constant to derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..ir.aval import Aval
from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .elementwise import add, div, exp, mul, neg, scale, sign, square, sub, times
from .leaf import like

HOST = Host()
ROOT_PI = math.sqrt(math.pi)
ROOT_2PI = math.sqrt(2 * math.pi)


def host(name: str, d: Callable[..., Term] | None = None) -> Prim:
    """A row f(x) with derivative d(c, o, x) = c f'(x)."""
    return E.unary(name, E.special(name), "f", d, HOST)


def pair(name: str, dx: Callable[..., Term] | None = None, dy: Callable[..., Term] | None = None) -> Prim:
    """A row f(x, y)."""
    return E.binary(name, E.special(name), "f", dx, dy, HOST)


def shifted(v: Term, k: int) -> Term:
    return add(v, like(v, k))


# ---- error functions -------------------------------------------------------------------------------------------------

erfinv = host("erfinv", lambda c, o, x: times(c, scale(exp(square(o)), ROOT_PI / 2)))
erfcinv = host("erfcinv", lambda c, o, x: neg(times(c, scale(exp(square(o)), ROOT_PI / 2))))
erfcx = host("erfcx", lambda c, o, x: times(c, sub(scale(mul(x, o), 2), like(x, 2 / ROOT_PI))))
erfi = host("erfi", lambda c, o, x: times(c, scale(exp(square(x)), 2 / ROOT_PI)))
dawsn = host("dawsn", lambda c, o, x: times(c, sub(like(x, 1), scale(mul(x, o), 2))))
ndtr = host("ndtr", lambda c, o, x: times(c, scale(exp(scale(square(x), -0.5)), 1 / ROOT_2PI)))
ndtri = host("ndtri", lambda c, o, x: times(c, scale(exp(scale(square(o), 0.5)), ROOT_2PI)))


def _log_ndtr(c: Term, o: Term, x: Term) -> Term:
    # density / probability: by erfcx below 0, where both vanish
    low = E.lt(x, like(x, 0))
    tail = div(like(x, math.sqrt(2 / math.pi)), erfcx(scale(E.where(low, x, like(x, -1)), -math.sqrt(0.5))))
    body = scale(exp(neg(add(scale(square(E.where(low, like(x, 1), x)), 0.5), o))), 1 / ROOT_2PI)
    return times(c, E.where(low, tail, body))


log_ndtr = host("log_ndtr", _log_ndtr)

ndtri_exp = host("ndtri_exp", lambda c, o, x: div(c, _log_ndtr(like(x, 1), x, o)))

# ---- gamma and beta --------------------------------------------------------------------------------------------------

gamma = host("gamma", lambda c, o, x: times(c, mul(o, E.digamma(x))))
gammasgn = Prim("gammasgn", E.special("gammasgn"), E.same("gammasgn", "f"), HOST, batching=lambda n, flags, t, args: t.op(*args))


def _between(x: Term, y: Term) -> Term:
    """ψ(x) - ψ(y)."""
    return sub(E.digamma(x), E.digamma(y))



def _sine_cosine(x: Term) -> tuple[Term, Term]:
    """sin(πx) and cos(πx), exact where x is whole."""
    r = scale(sub(x, scale(E.rint(scale(x, 0.5)), 2)), math.pi)
    return E.sin(r), E.cos(r)


def _rgamma(c: Term, o: Term, x: Term) -> Term:
    # -ψ(x) / Γ(x); on the left, where 1 / Γ(x) = Γ(1 - x) sin(πx) / π, without ψ's poles
    left = E.lt(x, like(x, 0.5))
    y = sub(like(x, 1), E.where(left, x, like(x, 0)))
    s, k = _sine_cosine(E.where(left, x, like(x, 0)))
    mirrored = mul(gamma(y), sub(k, scale(mul(E.digamma(y), s), 1 / math.pi)))
    return times(c, E.where(left, mirrored, neg(mul(o, E.digamma(E.where(left, like(x, 1), x))))))


rgamma = host("rgamma", _rgamma)
beta = pair("beta", lambda c, o, x, y: times(c, mul(o, _between(x, add(x, y)))), lambda c, o, x, y: times(c, mul(o, _between(y, add(x, y)))))
betaln = pair("betaln", lambda c, o, x, y: times(c, _between(x, add(x, y))), lambda c, o, x, y: times(c, _between(y, add(x, y))))
poch = pair("poch", lambda c, o, x, y: times(c, mul(o, _between(add(x, y), x))), lambda c, o, x, y: times(c, mul(o, E.digamma(add(x, y)))))

# ---- exponential integrals -------------------------------------------------------------------------------------------

exp1 = host("exp1", lambda c, o, x: neg(times(c, div(exp(neg(x)), x))))
expi = host("expi", lambda c, o, x: times(c, div(exp(x), x)))


def _expn_numpy(x: np.ndarray, *, n: int) -> np.ndarray:
    import scipy.special
    return np.asarray(scipy.special.expn(n, x)).astype(x.dtype, copy=False)


def _expn(c: Term, o: Term, x: Term, n: int) -> Term:
    # E[n]' = -E[n-1]; E[0] = exp(-x) / x
    return neg(times(c, expn(x, n=n - 1) if n else add(o, div(o, x))))


expn = Prim("expn", _expn_numpy, lambda x, *, n: E.same("expn", "f")(x), HOST, Partials(lambda o, x, *, n: (lambda c: _expn(c, o, x, n),)), ("n",))

# ---- Bessel functions ------------------------------------------------------------------------------------------------
# J, Y: f' = (f[v-1] - f[v+1]) / 2; I: with +; K: -(f[v-1] + f[v+1]) / 2; scaled ones by exp(-|x|), K by exp(x)


def _around(f: Prim, v: Term, x: Term, join: Prim) -> Term:
    return scale(join(f(shifted(v, -1), x), f(shifted(v, 1), x)), 0.5)


jv = pair("jv", None, lambda c, o, v, x: times(c, _around(jv, v, x, sub)))
yv = pair("yv", None, lambda c, o, v, x: times(c, _around(yv, v, x, sub)))
iv = pair("iv", None, lambda c, o, v, x: times(c, _around(iv, v, x, add)))
kv = pair("kv", None, lambda c, o, v, x: neg(times(c, _around(kv, v, x, add))))
ive = pair("ive", None, lambda c, o, v, x: times(c, sub(_around(ive, v, x, add), mul(sign(x), o))))
kve = pair("kve", None, lambda c, o, v, x: times(c, sub(o, _around(kve, v, x, add))))


def _second(f: Prim, x: Term) -> Term:
    return f(like(x, 2), x)


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

    prim = Prim(name, numpy, infer, HOST, Partials(lambda o, x, *, n: (lambda c: slope(c, x, n),)), ("n",))
    return prim


spherical_jn = _spherical("j", 1, -1)
spherical_yn = _spherical("y", 1, -1)
spherical_in = _spherical("i", 1, 1)
spherical_kn = _spherical("k", -1, -1)
