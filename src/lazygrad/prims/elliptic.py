"""Legendre's elliptic integrals, complete and incomplete, with derivatives by amplitude and parameter to any order (DLMF 19).

    ellipkinc(φ, m; k)    the k-th derivative by m of F(φ, m) = ∫ (1 - m sin² θ)^(-1/2) dθ from 0 to φ; ellipeinc with exponent 1/2
    ellipkm1(p; k)        the k-th derivative by p of K(1 - p); ellipk(m) and ellipe(m; k) likewise

Values are SciPy's. A derivative by m is again such an integral, of (sin θ)^(2k) (1 - m sin² θ)^(s - k). To π / 2 it is a sum over equal steps
of log tan θ, in which the integrand has no singularity near; to φ below by a double exponential rule (Takahasi and Mori 1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .elementwise import mul, pow, scale, sin, square, sub, times
from .leaf import like

STEPS = np.arange(-150, 151) / 44


def _rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes in [0, 1] as their distances from both ends, and weights."""
    t = math.pi / 2 * np.sinh(STEPS)
    low, high = 1 / (1 + np.exp(-2 * t)), 1 / (1 + np.exp(2 * t))
    return low, high, math.pi * np.cosh(STEPS) * low * high * (STEPS[1] - STEPS[0])


LOW, HIGH, WEIGHTS = _rule()


def _rising(s: float, k: int) -> float:
    """(-1)^k s (s - 1) ... (s - k + 1): what k derivatives by m bring before the integral."""
    return math.prod([i - s for i in range(k)])


def _to_quarter(rest: np.ndarray, s: float, k: int) -> np.ndarray:
    """The k-th derivative by m of the integral of (1 - m sin² θ)^s from 0 to π / 2; `rest` is 1 - m (NaN below 0)."""
    import scipy.special
    small = np.min(rest, initial=1.0, where=rest > 0)
    u = 2 * np.arange(-38, 38 - math.log(small) / 2, 0.2)                           # 2 log tan θ
    sine, cosine = scipy.special.expit(u), scipy.special.expit(-u)                  # their squares
    inside = cosine + rest[..., None] * sine
    return _rising(s, k) * 0.2 * (sine**k * inside ** (s - k) * np.sqrt(sine * cosine)).sum(-1)


def _integral(phi: np.ndarray, m: np.ndarray, rest: np.ndarray, s: float, k: int) -> np.ndarray:
    """The k-th derivative by m of the integral of (1 - m sin² θ)^s from 0 to φ, 0 <= φ <= π / 2; `rest` is 1 - m sin² φ."""
    theta, gap = phi[..., None] * LOW, phi[..., None] * HIGH
    sine = np.sin(theta)
    # 1 - m sin² θ from the nearer end
    inside = np.where(LOW < 0.5, 1 - m[..., None] * sine**2, rest[..., None] + m[..., None] * np.sin(gap) * np.sin(phi[..., None] + theta))
    return _rising(s, k) * phi * (WEIGHTS * sine ** (2 * k) * inside ** (s - k)).sum(-1)


def _incomplete(name: str, s: float) -> Prim:
    def numpy(phi: np.ndarray, m: np.ndarray, *, k: int) -> np.ndarray:
        import scipy.special
        x, y = phi.astype(np.float64), m.astype(np.float64)
        if k == 0:
            return np.asarray(getattr(scipy.special, name)(x, y)).astype(m.dtype)
        turns = np.rint(x / math.pi)
        rest = x - turns * math.pi
        a = np.abs(rest)
        found = np.sign(rest) * _integral(a, y, 1 - y * np.sin(a) ** 2, s, k)
        if turns.any():
            whole = 2 * _to_quarter(1 - y, s, k)
            found = np.where(turns == 0, found, found + turns * whole)
        return np.asarray(found).astype(m.dtype)

    def dphi(c: Term, phi: Term, m: Term, k: int) -> Term:
        square_ = square(sin(phi))
        inside = sub(like(m, 1), mul(m, square_))
        value = pow(inside, like(m, s - k))
        return times(c, mul(scale(value, _rising(s, k)), pow(square_, like(m, k))) if k else value)

    prim = Prim(name, numpy, lambda phi, m, *, k: E.same(name, "f")(phi, m), Host(), Partials(lambda o, phi, m, *, k: (
        lambda c: dphi(c, phi, m, k), lambda c: times(c, prim(phi, m, k=k + 1)))), ("k",))
    return prim


ellipkinc = _incomplete("ellipkinc", -0.5)
ellipeinc = _incomplete("ellipeinc", 0.5)


def _complete(name: str, s: float, sign: int, rest: Callable[[np.ndarray], np.ndarray]) -> Prim:
    """`rest(x)`: 1 - m; `sign` -1 where that is the argument."""
    def numpy(x: np.ndarray, *, k: int) -> np.ndarray:
        import scipy.special
        y = x.astype(np.float64)
        if k == 0:
            return np.asarray(getattr(scipy.special, name)(y)).astype(x.dtype)
        return np.asarray(sign**k * _to_quarter(rest(y), s, k)).astype(x.dtype)

    prim = Prim(name, numpy, lambda x, *, k: E.same(name, "f")(x), Host(), Partials(lambda o, x, *, k: (lambda c: times(c, prim(x, k=k + 1)),)), ("k",))
    return prim


ellipk = _complete("ellipk", -0.5, 1, lambda m: 1 - m)
ellipkm1 = _complete("ellipkm1", -0.5, -1, lambda p: p)
ellipe = _complete("ellipe", 0.5, 1, lambda m: 1 - m)
