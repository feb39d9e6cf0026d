"""The regularised incomplete gamma and beta functions, with their derivatives by every argument and to any order; zeta likewise.

    gammainc(a, x; k)         the k-th derivative by a of P(a, x)
    gammaincc(a, x)           Q(a, x) = 1 - P(a, x), exact where it is small
    gammaincinv(a, p)         the x of P(a, x) = p; gammainccinv(a, q) that of Q(a, x) = q; betaincinv(a, b, p) that of I_x(a, b) = p,
                              betainccinv(a, b, q) that of 1 - I_x(a, b) = q
    betainc(a, b, x; i, j)    the derivative of I_x(a, b), i times by a and j times by b; betaincc(a, b, x) = 1 - I_x(a, b), exact where it is small
    zeta(s, q; k)             the k-th derivative by s of Hurwitz's zeta

Values are SciPy's; derivatives by parameters are power series carried through the series and continued fractions of the functions
(DLMF 8.7, 8.9, 8.17; 25.11). By x there is the density, whose derivatives are closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..ir.term import Term
from . import elementwise as E
from . import jets as J
from .base import Host, Partials, Prim
from .leaf import like

MOST = 20_000            # terms at most: those needed grow with the square root of the parameters


def _scipy(name: str, *xs: np.ndarray) -> np.ndarray:
    import scipy.special
    return np.asarray(getattr(scipy.special, name)(*xs))


def psi(n: int, x: np.ndarray) -> np.ndarray:
    """The n-th derivative of digamma."""
    return _scipy("digamma", x) if n == 0 else _scipy("polygamma", n, x)


def psi_term(n: int, x: Term) -> Term:
    """The same as a Term."""
    return E.digamma(x) if n == 0 else E.polygamma(x, n=n)


def _within(good: np.ndarray, compute: Callable[..., np.ndarray], *xs: np.ndarray) -> np.ndarray:
    """compute(*xs) where `good`, 0 elsewhere."""
    out = np.zeros(good.shape)
    if good.any():
        out[good] = compute(*[x[good] for x in xs])
    return out


def _anchored(c: np.ndarray, value: np.ndarray) -> np.ndarray:
    """c scaled so that its first coefficient is the value known to be right: what is wrong with a common factor goes away."""
    known = np.isfinite(c[0, 0]) & (c[0, 0] != 0)
    return c * np.where(known, value / np.where(known, c[0, 0], 1), 0)


# ---- gamma -----------------------------------------------------------------------------------------------------------

def _gamma_front(a: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """x^a exp(-x) / Γ(a + 1) as a series in a."""
    g = np.zeros((k + 1, 1, *a.shape))
    g[0, 0] = a * np.log(x) - x - _scipy("gammaln", a + 1)
    for n in range(1, k + 1):
        g[n, 0] = -psi(n - 1, a + 1) / math.factorial(n)
    g[1, 0] += np.log(x)
    return J.exponential(g)


def _lower(a: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """P by sum over n of x^n / ((a + 1)...(a + n)): DLMF 8.7.1."""
    shape = (k + 1, 1, *a.shape)
    term = J.linear(shape, 1.0)
    total = term.copy()
    for n in range(1, MOST):
        term = J.over(term * x, J.linear(shape, a + n, 1.0))
        total += term
        if not np.nanmax(np.abs(term), initial=0.0) > 1e-18 * np.nanmin(total[0, 0], initial=np.inf):
            break
    return _anchored(J.times(_gamma_front(a, x, k), total), _scipy("gammainc", a, x))


def _upper(a: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """Q by the continued fraction x + 1 - a - 1 (1 - a) / (x + 3 - a - ...): DLMF 8.9.2."""
    shape = (k + 1, 1, *a.shape)
    f = J.continued(shape, J.linear(shape, x + 1 - a, -1.0),
                    lambda n: (J.linear(shape, -n * (n - a), float(n)), J.linear(shape, x + 2 * n + 1 - a, -1.0)), MOST)
    front = J.times(_gamma_front(a, x, k), J.linear(shape, a, 1.0))
    q = J.over(front, f)
    # at a = 0 the value is 0 and there is nothing to be scaled
    return np.where(a == 0, q, _anchored(q, _scipy("gammaincc", a, x)))


def _gammainc_numpy(a: np.ndarray, x: np.ndarray, *, k: int) -> np.ndarray:
    if k == 0:
        return _scipy("gammainc", a, x).astype(x.dtype, copy=False)
    p, y = np.atleast_1d(a.astype(np.float64)), np.atleast_1d(x.astype(np.float64))
    inside = (p >= 0) & (y > 0) & np.isfinite(p) & np.isfinite(y)
    low = y < p + 1
    out = _within(inside & low, lambda p, y: J.derivative(_lower(p, y, k)), p, y)
    out -= _within(inside & ~low, lambda p, y: J.derivative(_upper(p, y, k)), p, y)
    out[~((p >= 0) & (y >= 0)) | np.isposinf(p)] = np.nan
    return out.reshape(x.shape).astype(x.dtype)


def weighted_log(y: Term, x: Term) -> Term:
    """y log x, 0 where y is 0 and log x infinite."""
    hole = E.bit_and(E.eq(y, like(y, 0)), E.bit_or(E.eq(x, like(x, 0)), E.isinf(x)))
    return E.mul(y, E.log(E.where(hole, like(x, 1), x)))


def bell(density: Term, g: Callable[[int, int], Term], i: int, j: int = 0) -> Term:
    """The derivative, i times by a and j times by b, of a density whose logarithm has the derivatives g(p, q) (Faà di Bruno)."""
    found: dict[tuple[int, int], Term] = {(0, 0): density}
    for m in range(i + 1):
        for n in range(j + 1):
            if (m, n) in found:
                continue
            u, v = (m - 1, n) if m else (m, n - 1)
            total = None
            for p in range(u + 1):
                for q in range(v + 1):
                    # ∂ of the density's derivative: the product rule for density * g(1, 0), or g(0, 1) where m is 0
                    part = E.scale(E.mul(g(p + 1, q) if m else g(p, q + 1), found[u - p, v - q]), math.comb(u, p) * math.comb(v, q))
                    total = part if total is None else E.add(total, part)
            found[m, n] = total
    return found[i, j]


def gamma_density(a: Term, x: Term, k: int = 0) -> Term:
    """The k-th derivative by a of x^(a-1) exp(-x) / Γ(a)."""
    one = like(a, 1)
    density = E.exp(E.sub(E.sub(weighted_log(E.sub(a, one), x), x), E.lgamma(a)))
    return bell(density, lambda p, q: E.sub(E.log(x), E.digamma(a)) if p == 1 else E.neg(psi_term(p - 1, a)), k)


gammainc = Prim("gammainc", _gammainc_numpy, lambda a, x, *, k: E.same("gammainc", "f")(a, x), Host(), Partials(
    lambda o, a, x, *, k: (lambda c: E.times(c, gammainc(a, x, k=k + 1)), lambda c: E.times(c, gamma_density(a, x, k)))), ("k",))
gammaincc = Prim("gammaincc", E.special("gammaincc"), E.same("gammaincc", "f"), Host(), Partials(
    lambda o, a, x: (lambda c: E.neg(E.times(c, gammainc(a, x, k=1))), lambda c: E.neg(E.times(c, gamma_density(a, x))))))


# ---- beta ------------------------------------------------------------------------------------------------------------

def _beta_front(a: np.ndarray, b: np.ndarray, x: np.ndarray, i: int, j: int) -> np.ndarray:
    """x^a (1 - x)^b / B(a, b) as a series in a and b."""
    g = np.zeros((i + 1, j + 1, *x.shape))
    for p, q in np.ndindex(i + 1, j + 1):
        if p or q:
            g[p, q] = psi(p + q - 1, a + b)
            if not q:
                g[p, q] -= psi(p - 1, a)
            if not p:
                g[p, q] -= psi(q - 1, b)
            g[p, q] /= math.factorial(p) * math.factorial(q)
    if i:
        g[1, 0] += np.log(x)
    if j:
        g[0, 1] += np.log1p(-x)
    g[0, 0] = a * np.log(x) + b * np.log1p(-x) - _scipy("betaln", a, b)
    return J.exponential(g)


def _beta(a: np.ndarray, b: np.ndarray, x: np.ndarray, value: np.ndarray, i: int, j: int) -> np.ndarray:
    """I_x(a, b) for x below about a / (a + b): the continued fraction DLMF 8.17.22."""
    shape = (i + 1, j + 1, *x.shape)

    def step(n: int) -> tuple[np.ndarray, np.ndarray]:
        m = n // 2
        if n % 2:
            top = J.times(J.linear(shape, -(a + m) * x, -x), J.linear(shape, a + b + m, 1.0, 1.0))
        else:
            top = J.linear(shape, m * (b - m) * x, 0.0, m * x)
        below = J.times(J.linear(shape, a + n - 1, 1.0), J.linear(shape, a + n, 1.0))
        return J.over(top, below), J.linear(shape, 1.0)

    f = J.times(J.continued(shape, J.linear(shape, 1.0), step, MOST), J.linear(shape, a, 1.0))
    return _anchored(J.over(_beta_front(a, b, x, i, j), f), value)


def _betainc_numpy(a: np.ndarray, b: np.ndarray, x: np.ndarray, *, i: int, j: int) -> np.ndarray:
    p, q, y = [np.atleast_1d(v.astype(np.float64)) for v in (a, b, x)]          # SciPy's float32 loses a hundred units in the last place
    if i == j == 0:
        return _scipy("betainc", p, q, y).reshape(x.shape).astype(x.dtype)
    fine = (p > 0) & (q > 0) & np.isfinite(p) & np.isfinite(q)
    inside = fine & (y > 0) & (y < 1)
    low = y <= (p + 1) / (p + q + 2)
    out = _within(inside & low, lambda p, q, y: J.derivative(_beta(p, q, y, _scipy("betainc", p, q, y), i, j)), p, q, y)
    # I_x(a, b) = 1 - I_{1-x}(b, a)
    out -= _within(inside & ~low, lambda p, q, y: J.derivative(_beta(q, p, 1 - y, _scipy("betaincc", p, q, y), j, i)), p, q, y)
    out[~(fine & (y >= 0) & (y <= 1))] = np.nan
    return out.reshape(x.shape).astype(x.dtype)


def beta_density(a: Term, b: Term, x: Term, i: int = 0, j: int = 0) -> Term:
    """The derivative, i times by a and j times by b, of x^(a-1) (1-x)^(b-1) / B(a, b)."""
    one = like(a, 1)
    s = E.add(a, b)
    rest = E.sub(E.lgamma(s), E.add(E.lgamma(a), E.lgamma(b)))
    y = E.sub(one, x)
    density = E.exp(E.add(E.add(weighted_log(E.sub(a, one), x), weighted_log(E.sub(b, one), y)), rest))

    def g(p: int, q: int) -> Term:
        out = psi_term(p + q - 1, s)
        if not q:
            out = E.sub(out, psi_term(p - 1, a))
        if not p:
            out = E.sub(out, psi_term(q - 1, b))
        return E.add(out, E.log(x)) if (p, q) == (1, 0) else E.add(out, E.log1p(E.neg(x))) if (p, q) == (0, 1) else out

    return bell(density, g, i, j)


betainc = Prim("betainc", _betainc_numpy, lambda a, b, x, *, i, j: E.same("betainc", "f")(a, b, x), Host(), Partials(
    lambda o, a, b, x, *, i, j: (lambda c: E.times(c, betainc(a, b, x, i=i + 1, j=j)), lambda c: E.times(c, betainc(a, b, x, i=i, j=j + 1)),
                                 lambda c: E.times(c, beta_density(a, b, x, i, j)))), ("i", "j"))
betaincc = Prim("betaincc", lambda a, b, x: _scipy("betaincc", *[v.astype(np.float64) for v in (a, b, x)]).astype(x.dtype), E.same("betaincc", "f"), Host(),
                Partials(lambda o, a, b, x: (lambda c: E.neg(E.times(c, betainc(a, b, x, i=1, j=0))), lambda c: E.neg(E.times(c, betainc(a, b, x, i=0, j=1))),
                                             lambda c: E.neg(E.times(c, beta_density(a, b, x))))))


# ---- zeta ------------------------------------------------------------------------------------------------------------

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)      # B₂, B₄, ...


def _zeta_jets(s: np.ndarray, q: np.ndarray, k: int) -> np.ndarray:
    """By Euler and Maclaurin's sum (DLMF 25.11.5): some terms, an integral, and Bernoulli numbers for what is between them."""
    shape = (k + 1, 1, *s.shape)

    def power(base: np.ndarray) -> np.ndarray:               # base^-s
        log = np.log(base)
        return J.exponential(J.linear(shape, -s * log, -log))

    count = 12 + int(min(np.max(s), 60.0))
    total = np.zeros(shape)
    for n in range(count):
        total += power(q + n)
    end = q + count
    last = power(end)
    total += J.over(last * end, J.linear(shape, s - 1, 1.0)) + last / 2
    rising = J.linear(shape, s, 1.0)                         # s (s + 1) ... (s + 2j - 2)
    for j, number in enumerate(BERNOULLI, 1):
        total += J.times(last, rising) * (number / math.factorial(2 * j)) * end ** (1.0 - 2 * j)
        rising = J.times(J.times(rising, J.linear(shape, s + 2 * j - 1, 1.0)), J.linear(shape, s + 2 * j, 1.0))
    return total


def _zeta_numpy(s: np.ndarray, q: np.ndarray, *, k: int) -> np.ndarray:
    if k == 0:
        return _scipy("zeta", s, q).astype(s.dtype, copy=False)
    u, v = np.atleast_1d(s.astype(np.float64)), np.atleast_1d(q.astype(np.float64))
    inside = (u > 1) & (v > 0) & np.isfinite(u) & np.isfinite(v)
    out = _within(inside, lambda u, v: J.derivative(_zeta_jets(u, v, k)), u, v)
    out[~inside & ~(np.isinf(v) & (v > 0))] = np.nan
    return out.reshape(s.shape).astype(s.dtype)


def _zeta_dq(s: Term, q: Term, k: int) -> Term:
    # ∂ζ/∂q = -s ζ(s + 1, q), derived k times by s
    up = E.add(s, like(s, 1))
    out = E.neg(E.mul(s, zeta(up, q, k=k)))
    return E.sub(out, E.scale(zeta(up, q, k=k - 1), k)) if k else out


zeta = Prim("zeta", _zeta_numpy, lambda s, q, *, k: E.same("zeta", "f")(s, q), Host(), Partials(
    lambda o, s, q, *, k: (lambda c: E.times(c, zeta(s, q, k=k + 1)), lambda c: E.times(c, _zeta_dq(s, q, k)))), ("k",))


# ---- inverses --------------------------------------------------------------------------------------------------------
# f(a, x(a, p)) = p: ∂x/∂p = 1 / ∂f/∂x, ∂x/∂a = -∂f/∂a / ∂f/∂x, and ∂f/∂x is the density

gammaincinv = Prim("gammaincinv", E.special("gammaincinv"), E.same("gammaincinv", "f"), Host(), Partials(
    lambda x, a, p: (lambda c: E.neg(E.times(c, E.div(gammainc(a, x, k=1), gamma_density(a, x)))), lambda c: E.div(c, gamma_density(a, x)))))
gammainccinv = Prim("gammainccinv", E.special("gammainccinv"), E.same("gammainccinv", "f"), Host(), Partials(
    lambda x, a, q: (lambda c: E.neg(E.times(c, E.div(gammainc(a, x, k=1), gamma_density(a, x)))), lambda c: E.neg(E.div(c, gamma_density(a, x))))))


def _over_density(c: Term, a: Term, b: Term, x: Term, i: int, j: int) -> Term:
    return E.neg(E.times(c, E.div(betainc(a, b, x, i=i, j=j), beta_density(a, b, x))))


def _betaincinv_numpy(*xs: np.ndarray) -> np.ndarray:
    return _scipy("betaincinv", *[x.astype(np.float64) for x in xs]).astype(xs[-1].dtype)


betaincinv = Prim("betaincinv", _betaincinv_numpy, E.same("betaincinv", "f"), Host(), Partials(
    lambda x, a, b, p: (lambda c: _over_density(c, a, b, x, 1, 0), lambda c: _over_density(c, a, b, x, 0, 1), lambda c: E.div(c, beta_density(a, b, x)))))
betainccinv = Prim("betainccinv", lambda a, b, q: _scipy("betainccinv", *[v.astype(np.float64) for v in (a, b, q)]).astype(q.dtype), E.same("betainccinv", "f"), Host(),
                   Partials(lambda x, a, b, q: (lambda c: _over_density(c, a, b, x, 1, 0), lambda c: _over_density(c, a, b, x, 0, 1),
                                                lambda c: E.neg(E.div(c, beta_density(a, b, x))))))
