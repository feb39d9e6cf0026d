"""Special functions defined by integrals and differential equations, which SciPy computes on the host: derivatives are closed forms.

DLMF 6.2 (sine and cosine integrals), 7.2 (Fresnel), 7.19 (Voigt), 9.2 (Airy), 25.12 (dilogarithm), 4.13 (Lambert's W), 11.4 (Struve);
Owen 1956 (T).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import GradientError
from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .bessel import spherical_in, spherical_jn
from .elementwise import add, cos, cosh, div, erf, exp, lgamma, log, mul, neg, scale, sin, square, sub, times
from .leaf import like
from .special import ROOT_2PI, host, pair, shifted


def of_several(function: str, index: int) -> Callable[..., np.ndarray]:
    """One of the results of a function of SciPy that has several."""
    def numpy(x: np.ndarray) -> np.ndarray:
        import scipy.special
        return np.asarray(getattr(scipy.special, function)(x)[index]).astype(x.dtype, copy=False)
    return numpy


def part(name: str, function: str, index: int, d: Callable[..., Term]) -> Prim:
    """A row f(x) that is one of several results."""
    return E.unary(name, of_several(function, index), "f", d, Host())


# ---- Airy functions: Ai'' = x Ai -------------------------------------------------------------------------------------

airy_ai = part("airy_ai", "airy", 0, lambda c, o, x: times(c, airy_aip(x)))
airy_aip = part("airy_aip", "airy", 1, lambda c, o, x: times(c, mul(x, airy_ai(x))))
airy_bi = part("airy_bi", "airy", 2, lambda c, o, x: times(c, airy_bip(x)))
airy_bip = part("airy_bip", "airy", 3, lambda c, o, x: times(c, mul(x, airy_bi(x))))

# ---- sine, cosine and Fresnel integrals --------------------------------------------------------------------------------

si = part("si", "sici", 0, lambda c, o, x: times(c, spherical_jn(x, n=0)))                 # sin x / x
ci = part("ci", "sici", 1, lambda c, o, x: times(c, div(cos(x), x)))
shi = part("shi", "shichi", 0, lambda c, o, x: times(c, spherical_in(x, n=0)))             # sinh x / x
chi = part("chi", "shichi", 1, lambda c, o, x: times(c, div(cosh(x), x)))


def _quarter(x: Term) -> Term:
    """π x² / 2."""
    return scale(square(x), math.pi / 2)


fresnel_s = part("fresnel_s", "fresnel", 0, lambda c, o, x: times(c, sin(_quarter(x))))
fresnel_c = part("fresnel_c", "fresnel", 1, lambda c, o, x: times(c, cos(_quarter(x))))

# ---- dilogarithm, Owen's T ---------------------------------------------------------------------------------------------


def _log_ratio(x: Term) -> Term:
    """log(x) / (1 - x), by its series near 1."""
    u = sub(x, like(x, 1))
    near = E.lt(E.abs(u), like(x, 0.1))
    v = E.where(near, u, like(x, 0))
    series = like(x, 1 / 17)
    for k in range(16, 0, -1):                             # 1 - u/2 + u²/3 - ...
        series = sub(like(x, 1 / k), mul(series, v))
    far = E.where(near, like(x, 2), x)
    return neg(E.where(near, series, div(log(far), sub(far, like(x, 1)))))


spence = host("spence", lambda c, o, x: times(c, _log_ratio(x)))


def _owens_dh(c: Term, o: Term, h: Term, a: Term) -> Term:
    bell = exp(scale(square(h), -0.5))
    return times(c, scale(mul(bell, erf(scale(mul(a, h), math.sqrt(0.5)))), -0.5 / ROOT_2PI))


def _owens_da(c: Term, o: Term, h: Term, a: Term) -> Term:
    one = add(square(a), like(a, 1))
    return times(c, scale(div(exp(scale(mul(square(h), one), -0.5)), one), 0.5 / math.pi))


owens_t = pair("owens_t", _owens_dh, _owens_da)

# ---- Lambert's W and Wright's ω ----------------------------------------------------------------------------------------


def _lambertw_numpy(x: np.ndarray, *, k: int) -> np.ndarray:
    import scipy.special
    w = scipy.special.lambertw(x, k)
    if x.dtype.kind == "c":
        return np.asarray(w).astype(x.dtype, copy=False)
    real = (x >= -np.exp(-1.0)) & ((k == 0) | (x <= 0)) if k in (0, -1) else np.zeros(x.shape, bool)
    branch = np.abs(x + np.exp(-1.0)) < np.finfo(x.dtype).eps / 4              # where SciPy has NaN
    return np.asarray(np.where(real, np.where(branch, -1, w.real), np.nan)).astype(x.dtype)


lambertw = Prim("lambertw", _lambertw_numpy, lambda x, *, k: E.same("lambertw", "fc")(x), Host(), Partials(
    # 1 / (exp(W) (1 + W))
    lambda o, x, *, k: (lambda c: div(times(c, exp(neg(o))), add(o, like(o, 1))),)), ("k",))
wrightomega = E.unary("wrightomega", E.special("wrightomega"), "fc", lambda c, o, x: times(c, div(o, add(o, like(o, 1)))), Host())

# ---- Voigt's profile: the real part of w(z) / (σ sqrt(2π)), z = (x + iγ) / (σ sqrt(2)) ----------------------------------

wofz = E.unary("wofz", E.special("wofz"), "c", lambda c, o, x: times(c, sub(like(x, 2j / math.sqrt(math.pi)), scale(mul(x, o), 2))), Host())


def _voigt_numpy(x: np.ndarray, sigma: np.ndarray, gamma: np.ndarray, *, imaginary: bool) -> np.ndarray:
    import scipy.special
    x_, s, g = [np.asarray(v, np.float64) for v in (x, sigma, gamma)]
    if not imaginary:
        return np.asarray(scipy.special.voigt_profile(x_, s, g)).astype(x.dtype)
    return np.asarray(scipy.special.wofz((x_ + 1j * g) / (s * math.sqrt(2))).imag / (s * ROOT_2PI)).astype(x.dtype)


def _voigt_rule(o: Term, x: Term, sigma: Term, gamma: Term, *, imaginary: bool) -> tuple[Callable[[Term], Term], ...]:
    # with V + iL = w / (σ sqrt(2π)): its derivative by x is (-(x + iγ)(V + iL) + i / π) / σ²; by γ i times that; by σ, σ times the second by x
    other = voigt(x, sigma, gamma, imaginary=not imaginary)
    re, im = (other, o) if imaginary else (o, other)
    two = square(sigma)
    real = div(sub(mul(gamma, im), mul(x, re)), two)
    imag = div(sub(like(x, 1 / math.pi), add(mul(x, im), mul(gamma, re))), two)
    # the second derivative by x: (-(V + iL) - (x + iγ) (V + iL)') / σ²
    second_real = div(sub(sub(mul(gamma, imag), mul(x, real)), re), two)
    second_imag = neg(div(add(add(mul(gamma, real), mul(x, imag)), im), two))
    return (lambda c: times(c, imag if imaginary else real), lambda c: times(c, mul(sigma, second_imag if imaginary else second_real)),
            lambda c: times(c, real if imaginary else neg(imag)))


voigt = Prim("voigt", _voigt_numpy, lambda x, sigma, gamma, *, imaginary: E.same("voigt", "f")(x, sigma, gamma), Host(), Partials(_voigt_rule), ("imaginary",))

# ---- Struve functions: H' = (H[v-1] - H[v+1] + q) / 2, L' = (L[v-1] + L[v+1] + q) / 2, q = (x / 2)^v / (sqrt(π) Γ(v + 3/2)) --------


def constant_order(name: str, which: str = "the order") -> Callable[..., Term]:
    """The derivative that is not there."""
    def refuse(*_: Term) -> Term:
        raise GradientError(name, f"a derivative by {which}", "there is no closed form of it", "pass it as a number, or through lazygrad.stop_gradient")
    return refuse


def _struve(name: str, join: Prim) -> Prim:
    def dx(c: Term, o: Term, v: Term, x: Term) -> Term:
        q = exp(sub(mul(v, log(scale(x, 0.5))), lgamma(shifted(v, 1.5))))
        return times(c, scale(add(join(prim(shifted(v, -1), x), prim(shifted(v, 1), x)), scale(q, 1 / math.sqrt(math.pi))), 0.5))

    prim = pair(name, constant_order(name), dx)
    return prim


struve = _struve("struve", sub)
modstruve = _struve("modstruve", add)
