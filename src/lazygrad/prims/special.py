"""Special functions that SciPy computes on the host: one row each, with the derivative in terms of others of them.

Sources of the derivatives: DLMF 5 (gamma), 7 (error functions), 6 (exponential integrals). Bessel functions: `prims.bessel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..ir.term import Term
from . import elementwise as E
from . import refined
from .base import Host, Partials, Prim
from .elementwise import add, div, exp, mul, ndtr, neg, scale, square, sub, times  # noqa: F401  (ndtr has code everywhere)
from .leaf import like

HOST = Host()
ROOT_PI = math.sqrt(math.pi)
ROOT_2PI = math.sqrt(2 * math.pi)


def host(name: str, d: Callable[..., Term] | None = None) -> Prim:
    """A row f(x) with derivative d(c, o, x) = c f'(x): SciPy's function, or `refined`'s."""
    return E.unary(name, getattr(refined, name, None) or E.special(name), "f", d, HOST)


def pair(name: str, dx: Callable[..., Term] | None = None, dy: Callable[..., Term] | None = None) -> Prim:
    """A row f(x, y)."""
    return E.binary(name, E.special(name), "f", dx, dy, HOST)


def in_double(name: str) -> Callable[..., np.ndarray]:
    """SciPy's function in float64: its float32 loses digits where terms cancel."""
    def numpy(*xs: np.ndarray) -> np.ndarray:
        import scipy.special
        return np.asarray(getattr(scipy.special, name)(*[x.astype(np.float64) for x in xs])).astype(xs[-1].dtype)
    return numpy


def shifted(v: Term, k: int) -> Term:
    return add(v, like(v, k))


# ---- error functions -------------------------------------------------------------------------------------------------

erfinv = host("erfinv", lambda c, o, x: times(c, scale(exp(square(o)), ROOT_PI / 2)))
erfcinv = host("erfcinv", lambda c, o, x: neg(times(c, scale(exp(square(o)), ROOT_PI / 2))))
erfcx = host("erfcx", lambda c, o, x: times(c, sub(scale(mul(x, o), 2), like(x, 2 / ROOT_PI))))
erfi = host("erfi", lambda c, o, x: times(c, scale(exp(square(x)), 2 / ROOT_PI)))
dawsn = host("dawsn", lambda c, o, x: times(c, sub(like(x, 1), scale(mul(x, o), 2))))
ndtri = host("ndtri", lambda c, o, x: times(c, scale(exp(scale(square(o), 0.5)), ROOT_2PI)))

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
# ψ(x + 1) - ψ(x - y + 1) by x, ψ(x - y + 1) - ψ(y + 1) by y
binom = pair("binom", lambda c, o, x, y: times(c, mul(o, _between(shifted(x, 1), shifted(sub(x, y), 1)))),
             lambda c, o, x, y: times(c, mul(o, _between(shifted(sub(x, y), 1), shifted(y, 1)))))

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
