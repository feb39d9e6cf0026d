"""Continuous distributions, a record of formulas each: y is the value in standard form, p and q probabilities below and above.

Formulas are of the smaller of two tails wherever one has them, so that small probabilities keep their digits.
"""

from __future__ import annotations

import math

import lazygrad as lg
from lazygrad import special as S

from .family import Continuous, Family

INF, NAN, PI = math.inf, math.nan, math.pi
EULER = 0.5772156649015328606
LOG2, ROOT2, LOG_ROOT_2PI = math.log(2), math.sqrt(2), 0.5 * math.log(2 * PI)


def log1m_exp(x):
    """log(1 - exp(-x)) for x > 0, from the expression that keeps its digits (Mächler 2012)."""
    small = x < LOG2
    return lg.where(small, lg.log(-lg.expm1(-lg.where(small, x, 1.0))), lg.log1p(-lg.exp(-lg.where(small, 1.0, x))))


# ---- without shapes ---------------------------------------------------------------------------------------------------

norm = Continuous(Family(
    "norm", (), -INF, INF, lambda y: -0.5 * y * y - LOG_ROOT_2PI, S.ndtr, lambda y: S.ndtr(-y), S.log_ndtr, lambda y: S.log_ndtr(-y), S.ndtri,
    lambda q: -S.ndtri(q), lambda: 0.0, lambda: 1.0, lambda: LOG_ROOT_2PI + 0.5))
expon = Continuous(Family(
    "expon", (), 0.0, INF, lambda y: -y, lambda y: -lg.expm1(-y), lambda y: lg.exp(-y), log1m_exp, lambda y: -y, lambda p: -lg.log1p(-p),
    lambda q: -lg.log(q), lambda: 1.0, lambda: 1.0, lambda: 1.0))
uniform = Continuous(Family(
    "uniform", (), 0.0, 1.0, lambda y: 0.0 * y, lambda y: y, lambda y: 1 - y, None, lambda y: lg.log1p(-y), lambda p: p, lambda q: 1 - q, lambda: 0.5,
    lambda: 1 / 12, lambda: 0.0))


def laplace_tail(y):
    """P(Y < y): exp(y) / 2 below 0."""
    half = 0.5 * lg.exp(-lg.abs(y))
    return lg.where(y < 0, half, 1 - half)


def laplace_log_tail(y):
    return lg.where(y < 0, y - LOG2, lg.log1p(-0.5 * lg.exp(-lg.abs(y))))


laplace = Continuous(Family(
    "laplace", (), -INF, INF, lambda y: -lg.abs(y) - LOG2, laplace_tail, lambda y: laplace_tail(-y), laplace_log_tail, lambda y: laplace_log_tail(-y),
    lambda p: lg.where(p < 0.5, lg.log(2 * p), -lg.log(2 * (1 - p))), lambda q: lg.where(q < 0.5, -lg.log(2 * q), lg.log(2 * (1 - q))), lambda: 0.0,
    lambda: 2.0, lambda: LOG2 + 1))
logistic = Continuous(Family(
    "logistic", (), -INF, INF, lambda y: lg.log_sigmoid(y) + lg.log_sigmoid(-y), lg.sigmoid, lambda y: lg.sigmoid(-y), lg.log_sigmoid,
    lambda y: lg.log_sigmoid(-y), lg.logit, lambda q: -lg.logit(q), lambda: 0.0, lambda: PI * PI / 3, lambda: 2.0))


def cauchy_quantile(p):
    low = p < 0.5
    return lg.where(low, -1, 1) / lg.tan(PI * lg.where(low, p, 1 - p))


cauchy = Continuous(Family(
    "cauchy", (), -INF, INF, lambda y: -math.log(PI) - 2 * lg.log(lg.hypot(y, 1.0)), lambda y: lg.atan2(1.0, -y) / PI, lambda y: lg.atan2(1.0, y) / PI,
    None, None, cauchy_quantile, lambda q: -cauchy_quantile(q), lambda: NAN, lambda: NAN, lambda: math.log(4 * PI)))
halfnorm = Continuous(Family(
    "halfnorm", (), 0.0, INF, lambda y: 0.5 * math.log(2 / PI) - 0.5 * y * y, lambda y: lg.erf(y / ROOT2), lambda y: lg.erfc(y / ROOT2), None,
    lambda y: lg.where(y < 1, lg.log1p(-lg.erf(y / ROOT2)), S.log_ndtr(-y) + LOG2), lambda p: ROOT2 * S.erfinv(p), lambda q: ROOT2 * S.erfcinv(q), lambda: math.sqrt(2 / PI), lambda: 1 - 2 / PI,
    lambda: 0.5 * math.log(PI / 2) + 0.5))
rayleigh = Continuous(Family(
    "rayleigh", (), 0.0, INF, lambda y: lg.log(y) - 0.5 * y * y, lambda y: -lg.expm1(-0.5 * y * y), lambda y: lg.exp(-0.5 * y * y),
    lambda y: log1m_exp(0.5 * y * y), lambda y: -0.5 * y * y, lambda p: lg.sqrt(-2 * lg.log1p(-p)), lambda q: lg.sqrt(-2 * lg.log(q)),
    lambda: math.sqrt(PI / 2), lambda: 2 - PI / 2, lambda: EULER / 2 + 1 - LOG2 / 2))
gumbel_r = Continuous(Family(
    "gumbel_r", (), -INF, INF, lambda y: -y - lg.exp(-y), lambda y: lg.exp(-lg.exp(-y)), lambda y: -lg.expm1(-lg.exp(-y)), lambda y: -lg.exp(-y),
    lambda y: log1m_exp(lg.exp(-y)), lambda p: -lg.log(-lg.log(p)), lambda q: -lg.log(-lg.log1p(-q)), lambda: EULER, lambda: PI * PI / 6,
    lambda: EULER + 1))
gumbel_l = Continuous(Family(
    "gumbel_l", (), -INF, INF, lambda y: y - lg.exp(y), lambda y: -lg.expm1(-lg.exp(y)), lambda y: lg.exp(-lg.exp(y)), lambda y: log1m_exp(lg.exp(y)),
    lambda y: -lg.exp(y), lambda p: lg.log(-lg.log1p(-p)), lambda q: lg.log(-lg.log(q)), lambda: -EULER, lambda: PI * PI / 6, lambda: EULER + 1))

# ---- powers and logarithms ----------------------------------------------------------------------------------------------


def open_log(y):
    """log(y), -inf at the end 0 without a derivative there."""
    zero = y == 0
    return lg.where(zero, -INF, lg.log(lg.where(zero, 1.0, y)))


lognorm = Continuous(Family(
    "lognorm", ("s",), 0.0, INF, lambda y, s: lg.where(y == 0, -INF, -0.5 * (lg.log(lg.where(y == 0, 1.0, y)) / s) ** 2 - lg.log(s * lg.where(y == 0, 1.0, y)) - LOG_ROOT_2PI),
    lambda y, s: S.ndtr(open_log(y) / s), lambda y, s: S.ndtr(-open_log(y) / s), lambda y, s: S.log_ndtr(open_log(y) / s), lambda y, s: S.log_ndtr(-open_log(y) / s),
    lambda p, s: lg.exp(s * S.ndtri(p)), lambda q, s: lg.exp(-s * S.ndtri(q)), lambda s: lg.exp(0.5 * lg.square(s)), lambda s: lg.expm1(lg.square(s)) * lg.exp(lg.square(s)),
    lambda s: LOG_ROOT_2PI + 0.5 + lg.log(s), lambda s: s > 0))
weibull_min = Continuous(Family(
    "weibull_min", ("c",), 0.0, INF, lambda y, c: lg.log(c) + S.xlogy(c - 1, y) - y ** c, lambda y, c: -lg.expm1(-y ** c), lambda y, c: lg.exp(-y ** c),
    lambda y, c: log1m_exp(y ** c), lambda y, c: -y ** c, lambda p, c: (-lg.log1p(-p)) ** (1 / c), lambda q, c: (-lg.log(q)) ** (1 / c), lambda c: S.gamma(1 + 1 / c),
    lambda c: S.gamma(1 + 2 / c) - S.gamma(1 + 1 / c) ** 2, lambda c: EULER * (1 - 1 / c) - lg.log(c) + 1, lambda c: c > 0))
pareto = Continuous(Family(
    "pareto", ("b",), 1.0, INF, lambda y, b: lg.log(b) - (b + 1) * lg.log(y), lambda y, b: -lg.expm1(-b * lg.log(y)), lambda y, b: lg.exp(-b * lg.log(y)),
    lambda y, b: log1m_exp(b * lg.log(y)), lambda y, b: -b * lg.log(y), lambda p, b: lg.exp(-lg.log1p(-p) / b), lambda q, b: lg.exp(-lg.log(q) / b),
    lambda b: lg.where(b > 1, b / lg.where(b > 1, b - 1, 1.0), INF), lambda b: lg.where(b > 2, b / (lg.where(b > 2, b - 2, 1.0) * lg.square(b - 1)), INF),
    lambda b: 1 + 1 / b - lg.log(b), lambda b: b > 0))

# ---- the gamma family ---------------------------------------------------------------------------------------------------

gamma = Continuous(Family(
    "gamma", ("a",), 0.0, INF, lambda y, a: S.xlogy(a - 1, y) - y - S.gammaln(a), lambda y, a: S.gammainc(a, y), lambda y, a: S.gammaincc(a, y), None, None,
    lambda p, a: S.gammaincinv(a, p), lambda q, a: S.gammainccinv(a, q), lambda a: a, lambda a: a, lambda a: a + S.gammaln(a) + (1 - a) * S.psi(a), lambda a: a > 0))
chi2 = Continuous(Family(
    "chi2", ("df",), 0.0, INF, lambda y, n: S.xlogy(0.5 * n - 1, y) - 0.5 * y - S.gammaln(0.5 * n) - 0.5 * n * LOG2, lambda y, n: S.gammainc(0.5 * n, 0.5 * y),
    lambda y, n: S.gammaincc(0.5 * n, 0.5 * y), None, None, lambda p, n: 2 * S.gammaincinv(0.5 * n, p), lambda q, n: 2 * S.gammainccinv(0.5 * n, q), lambda n: n,
    lambda n: 2 * n, lambda n: 0.5 * n + LOG2 + S.gammaln(0.5 * n) + (1 - 0.5 * n) * S.psi(0.5 * n), lambda n: n > 0))


def reciprocal(y):
    """1 / y, infinite at 0 without a derivative there."""
    zero = y == 0
    return lg.where(zero, INF, 1 / lg.where(zero, 1.0, y))


invgamma = Continuous(Family(
    "invgamma", ("a",), 0.0, INF, lambda y, a: lg.where(y == 0, -INF, -(a + 1) * lg.log(lg.where(y == 0, 1.0, y)) - S.gammaln(a) - 1 / lg.where(y == 0, 1.0, y)),
    lambda y, a: S.gammaincc(a, reciprocal(y)), lambda y, a: S.gammainc(a, reciprocal(y)), None, None, lambda p, a: 1 / S.gammainccinv(a, p),
    lambda q, a: 1 / S.gammaincinv(a, q), lambda a: lg.where(a > 1, 1 / lg.where(a > 1, a - 1, 1.0), INF),
    lambda a: lg.where(a > 2, 1 / (lg.square(a - 1) * lg.where(a > 2, a - 2, 1.0)), INF), lambda a: a + S.gammaln(a) - (1 + a) * S.psi(a), lambda a: a > 0))

# ---- the beta family ----------------------------------------------------------------------------------------------------

beta = Continuous(Family(
    "beta", ("a", "b"), 0.0, 1.0, lambda y, a, b: S.xlogy(a - 1, y) + S.xlog1py(b - 1, -y) - S.betaln(a, b), lambda y, a, b: S.betainc(a, b, y),
    lambda y, a, b: S.betaincc(a, b, y), None, None, lambda p, a, b: S.betaincinv(a, b, p), lambda q, a, b: 1 - S.betaincinv(b, a, q), lambda a, b: a / (a + b),
    lambda a, b: a * b / (lg.square(a + b) * (a + b + 1)), lambda a, b: S.betaln(a, b) - (a - 1) * S.psi(a) - (b - 1) * S.psi(b) + (a + b - 2) * S.psi(a + b),
    lambda a, b: (a > 0) & (b > 0)))


def f_quantile(z, n, m):
    return m * z / (n * (1 - z))


f = Continuous(Family(
    "f", ("dfn", "dfd"), 0.0, INF, lambda y, n, m: 0.5 * n * lg.log(n) + 0.5 * m * lg.log(m) + S.xlogy(0.5 * n - 1, y) - 0.5 * (n + m) * lg.log(m + n * y) - S.betaln(0.5 * n, 0.5 * m),
    lambda y, n, m: S.betainc(0.5 * n, 0.5 * m, n * y / (m + n * y)), lambda y, n, m: S.betainc(0.5 * m, 0.5 * n, m / (m + n * y)), None, None,
    lambda p, n, m: f_quantile(S.betaincinv(0.5 * n, 0.5 * m, p), n, m), lambda q, n, m: 1 / f_quantile(S.betaincinv(0.5 * m, 0.5 * n, q), m, n),
    lambda n, m: lg.where(m > 2, m / lg.where(m > 2, m - 2, 1.0), INF) + 0 * n,
    lambda n, m: lg.where(m > 4, 2 * lg.square(m) * (n + m - 2) / (n * lg.square(m - 2) * lg.where(m > 4, m - 4, 1.0)), INF),
    lambda n, m: S.gammaln(0.5 * n) + S.gammaln(0.5 * m) - S.gammaln(0.5 * (n + m)) + (1 - 0.5 * n) * S.psi(0.5 * n) - (1 + 0.5 * m) * S.psi(0.5 * m)
    + 0.5 * (n + m) * S.psi(0.5 * (n + m)) + lg.log(m / n), lambda n, m: (n > 0) & (m > 0)))

# ---- Student's t ----------------------------------------------------------------------------------------------------------


def t_scale(n):
    """1 / density(0)."""
    return lg.exp(S.betaln(0.5, 0.5 * n) + 0.5 * lg.log(n))


def t_below(y, n):
    """P(T < y): half a complementary incomplete beta function in y² / (n + y²); near 0, where that has a corner, a power series."""
    near = y * y * (n + 1) < 0.04 * n
    w = lg.where(near, y * y, 0.0) / n
    # ∫₀ʸ (1 + s²/n)^(-(n+1)/2) ds = y Σₖ ((n+1)/2)ₖ (-w)ᵏ / (k! (2k + 1)), w = y²/n
    total = term = lg.ones_like(w)
    for k in range(1, 13):
        term = term * -w * ((0.5 * (n - 1) + k) / k)
        total = total + term / (2 * k + 1)
    close = 0.5 + lg.where(near, y, 0.0) * total / t_scale(n)
    far = lg.where(near, 1.0, lg.square(y))
    tail = 0.5 * S.betaincc(0.5, 0.5 * n, far / (n + far))
    return lg.where(near, close, lg.where(y < 0, tail, 1 - tail))


def t_quantile(p, n):
    """The inverse of `t_below`: by that of the beta function of the smaller tail, near 1/2 by a power series (Shaw 2006)."""
    tail = 2 * lg.minimum(p, 1 - p)
    u = (p - 0.5) * t_scale(n)
    near = lg.abs(u) < 0.02 * lg.minimum(n, 1.0)
    v = lg.where(near, u, 0.0)
    close = v * (1 + lg.square(v) * ((n + 1) / (6 * n) + lg.square(v) * ((7 * n * n + 8 * n + 1) / (120 * n * n)
                                                                       + lg.square(v) * (127 * n ** 3 + 135 * n * n + 9 * n + 1) / (5040 * n ** 3))))
    small = tail < 0.5
    x = S.betaincinv(0.5 * n, 0.5, lg.where(small, tail, 0.5))                       # n / (n + y²)
    z = S.betaincinv(0.5, 0.5 * n, lg.where(small | near, 0.5, 1 - tail))            # y² / (n + y²)
    size = lg.where(small, lg.sqrt(n * (1 - x) / x), lg.sqrt(n * z / (1 - z)))
    return lg.where(near, close, lg.where(p < 0.5, -size, size))


t = Continuous(Family(
    "t", ("df",), -INF, INF, lambda y, n: -S.betaln(0.5, 0.5 * n) - 0.5 * lg.log(n) - 0.5 * (n + 1) * lg.log1p(y * y / n), t_below, lambda y, n: t_below(-y, n), None, None,
    t_quantile, lambda q, n: -t_quantile(q, n), lambda n: lg.where(n > 1, 0.0 * n, INF), lambda n: lg.where(n > 2, n / lg.where(n > 2, n - 2, 1.0), lg.where(n > 1, INF, NAN)),
    lambda n: 0.5 * (n + 1) * (S.psi(0.5 * (n + 1)) - S.psi(0.5 * n)) + 0.5 * lg.log(n) + S.betaln(0.5 * n, 0.5), lambda n: n > 0))
