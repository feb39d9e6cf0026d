"""Draws as functions of their parameters: at a fixed probability, where the draw itself was found by trying.

    gamma_draw(a, x; log)        x, a number drawn from the gamma distribution of shape a, or with `log` the logarithm of one
    gamma_spread(a, x; k, log)   the k-th derivative by a of P(a, z), over the density of log z: what the derivatives of draws are made of
    vonmises_draw(κ, x)          x, an angle drawn from von Mises' distribution of concentration κ; vonmises_spread as above
    wald_draw(μ, λ, x)           x, a number drawn from Wald's distribution (the inverse Gaussian one)

F(a, x) = u gives ∂x/∂a = -∂F/∂a / ∂F/∂x (Figurnov, Mohamed and Mnih, Implicit reparameterization gradients, 2018). In terms of
R[k] = F^(k) / D for a density D with the logarithmic derivatives g[1], g[2], ... by a and s by x:
∂R[k]/∂a = R[k + 1] - g[1] R[k] and ∂R[k]/∂x = bell[k](g) - s R[k]; so draws differentiate to any order.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.term import Term
from . import elementwise as E
from . import incomplete as N
from . import jets as J
from . import special as S
from .base import Elementwise, Host, Partials, Prim
from .leaf import like

LARGE = 500.0            # shapes from here on by Temme's expansion

# series in η, where η² / 2 = λ - 1 - log λ with λ = z / a: λ - 1, and the coefficients of the expansion of Q (DLMF 8.12, Temme 1979)
EXCESS = (0.0, 1.0, 1 / 3, 1 / 36, -1 / 270, 1 / 4320, 1 / 17010, -139 / 5443200, 1 / 204120, -571 / 2351462400, -281 / 1515591000)
SERIES = ((-1 / 3, 1 / 12, -2 / 135, 1 / 864, 1 / 2835, -139 / 777600, 1 / 25515, -571 / 261273600, -281 / 151559100),
          (-1 / 540, -1 / 288, 1 / 378, -77 / 77760, 1 / 4860, -1 / 2488320, -2743 / 151559100, 41969 / 5486745600),
          (25 / 6048, -139 / 51840, 1 / 1296, 1 / 497664, -6199 / 57736800, 5531 / 104509440),
          (101 / 155520, 571 / 2488320, -54179 / 115473600, 41969 / 156764160))
ETA = (1.0, -1 / 3, 7 / 36, -73 / 540, 1331 / 12960, -22409 / 272160, 372571 / 5443200, -953677 / 16329600, 39833047 / 783820800)    # η / (λ - 1), by λ - 1
STIRLING = (1.0, 1 / 12, 1 / 288, -139 / 51840, -571 / 2488320)                           # Γ(a) / (sqrt(2π / a) (a / e)^a), by 1 / a


def polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """A polynomial of a power series."""
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = J.times(total, x)
        total[0, 0] += c
    return total


def _log_density(a: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """log of D = z^a exp(-z) / Γ(a) as a series in a, less its value."""
    g = np.zeros((k + 1, 1, *a.shape))
    for n in range(1, k + 1):
        g[n, 0] = -N.psi(n - 1, a) / math.factorial(n)
    if k:
        g[1, 0] += w
    return g


def _below(a: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """P / D = sum over n of z^n / (a (a + 1) ... (a + n)), DLMF 8.7.1."""
    shape, z = (k + 1, 1, *a.shape), np.exp(w)
    term = J.over(J.linear(shape, 1.0), J.linear(shape, a, 1.0))
    total = term.copy()
    for n in range(1, N.MOST):
        term = J.over(term * z, J.linear(shape, a + n, 1.0))
        total += term
        if not np.max(np.abs(term[0]) / total[0], initial=0.0) > 1e-18:
            break
    return J.derivative(J.times(J.exponential(_log_density(a, w, k)), total))


def _above(a: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """-Q / D by the continued fraction of the incomplete gamma function, DLMF 8.9.2."""
    shape, z = (k + 1, 1, *a.shape), np.exp(w)
    f = J.continued(shape, J.linear(shape, z + 1 - a, -1.0),
                    lambda n: (J.linear(shape, -n * (n - a), float(n)), J.linear(shape, z + 2 * n + 1 - a, -1.0)), N.MOST)
    return -J.derivative(J.over(J.exponential(_log_density(a, w, k)), f))


def _eta(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """η itself, with the sign of λ - 1."""
    m = np.expm1(w - np.log(a))
    near = np.abs(m) < 0.1
    series = np.polynomial.polynomial.polyval(np.where(near, m, 0), ETA) * m
    return np.where(near, series, np.sign(m) * np.sqrt(2 * np.abs(m - np.log1p(m))))


def _large(a: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """By Temme's expansion, Q = erfc(η sqrt(a / 2)) / 2 + exp(-a η² / 2) / sqrt(2π a) C, C the sum of c[n] / a^n. Derived once by a:

        -∂P/∂a / D = Γ* / a (log λ / η + log λ C - C / 2a + ∂C/∂a), and ∂η/∂a = -(λ - 1) / (a η)
    """
    shape = (k, 1, *a.shape)
    one = J.linear(shape, 1.0)
    t = J.over(one, J.linear(shape, a, 1.0))                                            # 1 / a
    eta = J.linear(shape, _eta(a, w))
    for n in range(1, k):                                                               # its series from its derivative's
        eta[n] = -J.times(t, polynomial(EXCESS[1:], eta))[n - 1] / n
    slope = -J.times(t, polynomial(EXCESS[1:], eta))
    ratio = polynomial(EXCESS[1:], eta) - eta / 2                                       # log λ / η
    total, power = np.zeros(shape), one
    for n, c in enumerate(SERIES):
        value = polynomial(c, eta)
        change = J.times(polynomial(tuple([i * v for i, v in enumerate(c)][1:]), eta), slope) - n * J.times(t, value)
        total += J.times(power, J.times(J.times(ratio, eta), value) - J.times(t, value) / 2 + change)
        power = J.times(power, t)
    first = -J.times(J.times(polynomial(STIRLING, t), t), ratio + total)
    return J.derivative(J.times(J.exponential(_log_density(a, w, k - 1)), first))


def _gamma_spread_numpy(a: np.ndarray, x: np.ndarray, *, k: int, log: bool) -> np.ndarray:
    p, y = np.atleast_1d(a.astype(np.float64)), np.atleast_1d(x.astype(np.float64))
    w = y if log else np.log(y)
    fine = (p > 0) & np.isfinite(p) & (w < np.inf)
    large = fine & (p >= LARGE)
    low = fine & ~large & (np.exp(w) < p + 1)
    out = np.full(p.shape, np.nan)
    for here, compute in ((low, _below), (fine & ~large & ~low, _above), (large, _large)):
        if here.any():
            out[here] = compute(p[here], w[here], k)
    return out.reshape(x.shape).astype(x.dtype)


def _logarithm(x: Term, log: bool) -> Term:
    return x if log else E.log(x)


def _gamma_spread_da(c: Term, o: Term, a: Term, x: Term, k: int, log: bool) -> Term:
    # g[1] = log z - ψ(a), g[n] = -ψ^(n-1)(a)
    g = E.sub(_logarithm(x, log), E.digamma(a))
    return E.times(c, E.sub(gamma_spread(a, x, k=k + 1, log=log), E.mul(o, g)))


def _gamma_spread_dx(c: Term, o: Term, a: Term, x: Term, k: int, log: bool) -> Term:
    w = _logarithm(x, log)
    g = lambda p, _: E.neg(N.psi_term(p - 1, a)) if p > 1 else E.sub(w, E.digamma(a))
    d = E.sub(N.bell(like(a, 1), g, k), E.mul(o, E.sub(a, E.exp(w) if log else x)))
    return E.times(c, d if log else E.div(d, x))


gamma_spread = Prim("gamma_spread", _gamma_spread_numpy, lambda a, x, *, k, log: E.same("gamma_spread", "f")(a, x), Host(), Partials(
    lambda o, a, x, *, k, log: (lambda c: _gamma_spread_da(c, o, a, x, k, log), lambda c: _gamma_spread_dx(c, o, a, x, k, log))), ("k", "log"))


def _gamma_slope(c: Term, a: Term, x: Term, log: bool) -> Term:
    """c ∂x/∂a; 0 where x is 0 (for a draw of the number itself: it has underflowed)."""
    if log:
        return E.neg(E.times(c, gamma_spread(a, x, k=1, log=True)))
    zero = E.eq(x, like(x, 0))
    y = E.where(zero, like(x, 1), x)
    return E.neg(E.times(c, E.where(zero, x, E.mul(y, gamma_spread(a, y, k=1, log=False)))))


gamma_draw = Prim("gamma_draw", lambda a, x, *, log: x.view(), lambda a, x, *, log: E.same("gamma_draw", "f")(a, x), Elementwise(lambda a, x, *, log: x),
                  Partials(lambda o, a, x, *, log: (lambda c: _gamma_slope(c, a, o, log), None)), ("log",))


# ---- von Mises: density exp(κ cos x) / (2π I0(κ)) ------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
NOTHING = 40.0                                               # exp(-NOTHING) is not seen beside 1


def _quadrature(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's nodes and weights between, along a new last axis."""
    half = (high - low)[..., None] / 2
    return low[..., None] + half * (NODES + 1), half * WEIGHTS


def _cumulants(kappa: np.ndarray, k: int) -> list[np.ndarray]:
    """The derivatives 1 to k of log I0(κ): the cumulants of cos x."""
    end = np.arccos(np.maximum(1 - NOTHING / np.maximum(kappa, 1), -1.0))
    t, w = _quadrature(np.zeros_like(kappa), end)
    c = -2 * np.sin(t / 2) ** 2                              # cos t - 1
    w = w * np.exp(kappa[..., None] * c)
    w /= w.sum(-1, keepdims=True)
    mean = (w * c).sum(-1)
    moments = [(w * (c - mean[..., None]) ** j).sum(-1) for j in range(k + 1)]
    found = [mean + 1]
    for j in range(2, k + 1):                                # κ[j] = μ[j] - sum over i of C(j - 1, i - 1) κ[i] μ[j - i]
        found.append(moments[j] - sum(math.comb(j - 1, i - 1) * found[i - 1] * moments[j - i] for i in range(2, j)))
    return found[:k]


def _polynomials(kappa: np.ndarray, c: np.ndarray, k: int) -> np.ndarray:
    """The k-th derivative by κ of the density, over the density, where cos x is c."""
    cumulants = _cumulants(kappa, k)
    g = np.zeros((k + 1, 1, *c.shape))
    for j in range(1, k + 1):
        g[j, 0] = -cumulants[j - 1][..., None] / math.factorial(j)
    g[1, 0] += c
    return J.derivative(J.exponential(g))


def _vonmises_spread_numpy(kappa: np.ndarray, x: np.ndarray, *, k: int) -> np.ndarray:
    p, y = np.atleast_1d(kappa.astype(np.float64)), np.atleast_1d(x.astype(np.float64))
    out = np.full(p.shape, np.nan)
    fine = (p >= 0) & np.isfinite(p) & (np.abs(y) <= np.pi)
    p, y = p[fine], y[fine]
    a = np.abs(y)
    # from 0 to a, or less what is from a to π: the half of all is 1 / 2 for every κ
    inner = a * np.sqrt(p + 1) < 1
    # far out the density has fallen to nothing where cos t = cos a - NOTHING / κ
    end = np.arccos(np.maximum(np.cos(a) - NOTHING / np.maximum(p, 1e-3), -1.0))
    t, w = _quadrature(np.where(inner, 0, a), np.where(inner, a, end))
    fall = -2 * np.sin((t - a[..., None]) / 2) * np.sin((t + a[..., None]) / 2)         # cos t - cos a
    found = (w * np.exp(p[..., None] * fall) * _polynomials(p, np.cos(t), k)).sum(-1)
    out[fine] = np.where(inner, found, -found) * np.sign(y)
    return out.reshape(x.shape).astype(x.dtype)


vonmises_cumulant = Prim("vonmises_cumulant", lambda kappa, *, k: np.asarray(_cumulants(kappa.astype(np.float64), k)[-1]).astype(kappa.dtype),
                         lambda kappa, *, k: E.same("vonmises_cumulant", "f")(kappa), Host(),
                         Partials(lambda o, kappa, *, k: (lambda c: E.times(c, vonmises_cumulant(kappa, k=k + 1)),)), ("k",))


def _vonmises_density(kappa: Term, x: Term, k: int) -> Term:
    """The k-th derivative by κ of the density, over the density."""
    return N.bell(like(x, 1), lambda p, _: E.sub(E.cos(x), vonmises_cumulant(kappa, k=1)) if p == 1 else E.neg(vonmises_cumulant(kappa, k=p)), k)


vonmises_spread = Prim("vonmises_spread", _vonmises_spread_numpy, lambda kappa, x, *, k: E.same("vonmises_spread", "f")(kappa, x), Host(), Partials(
    lambda o, kappa, x, *, k: (
        lambda c: E.times(c, E.sub(vonmises_spread(kappa, x, k=k + 1), E.mul(o, _vonmises_density(kappa, x, 1)))),
        lambda c: E.times(c, E.add(_vonmises_density(kappa, x, k), E.mul(o, E.mul(kappa, E.sin(x))))))), ("k",))
vonmises_draw = Prim("vonmises_draw", lambda kappa, x: x.view(), E.same("vonmises_draw", "f"), Elementwise(lambda kappa, x: x),
                     Partials(lambda o, kappa, x: (lambda c: E.neg(E.times(c, vonmises_spread(kappa, o, k=1))), None)))

# ---- Wald: F = Φ(sqrt(λ / x) (x / μ - 1)) + exp(2λ / μ) Φ(-b), b = sqrt(λ / x) (x / μ + 1) ---------------------------------


def _mills(mu: Term, scale: Term, x: Term) -> Term:
    """Φ(-b) / φ(b), divided by sqrt(λ / x³): -∂F/∂μ over the density, less a factor 2λ / μ²."""
    b = E.mul(E.sqrt(E.div(scale, x)), E.add(E.div(x, mu), like(x, 1)))
    tail = E.scale(S.erfcx(E.scale(b, math.sqrt(0.5))), math.sqrt(math.pi / 2))
    return E.mul(tail, E.mul(x, E.sqrt(E.div(x, scale))))


def _wald_dmu(c: Term, mu: Term, scale: Term, x: Term) -> Term:
    return E.times(c, E.mul(E.scale(E.div(scale, E.square(mu)), 2), _mills(mu, scale, x)))


def _wald_dscale(c: Term, mu: Term, scale: Term, x: Term) -> Term:
    return E.times(c, E.sub(E.div(x, scale), E.mul(E.div(like(x, 2), mu), _mills(mu, scale, x))))


wald_draw = Prim("wald_draw", lambda mu, scale, x: x.view(), E.same("wald_draw", "f"), Elementwise(lambda mu, scale, x: x), Partials(
    lambda o, mu, scale, x: (lambda c: _wald_dmu(c, mu, scale, o), lambda c: _wald_dscale(c, mu, scale, o), None)))
