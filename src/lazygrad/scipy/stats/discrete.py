"""Discrete distributions, a record of formulas each: k is the value in standard form, a whole number."""

from __future__ import annotations

import math

import lazygrad as lg
from lazygrad import special as S

from .family import Discrete, Family

INF = math.inf


def probability(p):
    return (p >= 0) & (p <= 1)


def positive(p):
    return (p > 0) & (p <= 1)


def binom_below(k, n, p):
    """P(K <= k) = I_{1-p}(n - k, k + 1), 1 for k = n."""
    all_of_them = k >= n
    return lg.where(all_of_them, 1.0, S.betainc(lg.where(all_of_them, 1.0, n - k), k + 1, 1 - p))


def binom_above(k, n, p):
    all_of_them = k >= n
    return lg.where(all_of_them, 0.0, S.betainc(k + 1, lg.where(all_of_them, 1.0, n - k), p))


poisson = Discrete(Family(
    "poisson", ("mu",), 0.0, INF, lambda k, mu: S.xlogy(k, mu) - S.gammaln(k + 1) - mu, lambda k, mu: S.gammaincc(k + 1, mu), lambda k, mu: S.gammainc(k + 1, mu),
    mean=lambda mu: mu, var=lambda mu: mu, valid=lambda mu: mu >= 0, inner=0.0, discrete=True))
binom = Discrete(Family(
    "binom", ("n", "p"), 0.0, lambda n, p: n, lambda k, n, p: S.gammaln(n + 1) - S.gammaln(k + 1) - S.gammaln(n - k + 1) + S.xlogy(k, p) + S.xlog1py(n - k, -p),
    binom_below, binom_above, mean=lambda n, p: n * p, var=lambda n, p: n * p * (1 - p), valid=lambda n, p: probability(p) & (n >= 0), inner=0.0, discrete=True))
bernoulli = Discrete(Family(
    "bernoulli", ("p",), 0.0, 1.0, lambda k, p: S.xlogy(k, p) + S.xlog1py(1 - k, -p), lambda k, p: lg.where(k < 1, 1 - p, 1.0), lambda k, p: lg.where(k < 1, p, 0.0),
    mean=lambda p: p, var=lambda p: p * (1 - p), entropy=lambda p: S.entr(p) + S.entr(1 - p), valid=probability, inner=0.0, discrete=True))
geom = Discrete(Family(
    "geom", ("p",), 1.0, INF, lambda k, p: S.xlog1py(k - 1, -p) + lg.log(p), lambda k, p: -lg.expm1(S.xlog1py(k, -p)), lambda k, p: lg.exp(S.xlog1py(k, -p)),
    logsf=lambda k, p: S.xlog1py(k, -p), mean=lambda p: 1 / p, var=lambda p: (1 - p) / lg.square(p), valid=positive, inner=0.0, discrete=True))
nbinom = Discrete(Family(
    "nbinom", ("n", "p"), 0.0, INF, lambda k, n, p: S.gammaln(n + k) - S.gammaln(k + 1) - S.gammaln(n) + n * lg.log(p) + S.xlog1py(k, -p),
    lambda k, n, p: S.betainc(n, k + 1, p), lambda k, n, p: S.betaincc(n, k + 1, p), mean=lambda n, p: n * (1 - p) / p, var=lambda n, p: n * (1 - p) / lg.square(p),
    valid=lambda n, p: positive(p) & (n > 0), inner=0.0, discrete=True))
