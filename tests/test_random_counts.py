"""Discrete draws: their probabilities by chi-square tests with fixed keys (they never fail by chance), edges, devices, transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats as st
from gpu import device

import lazygrad as lg
from lazygrad import random as R

N = 20_000
NAN, INF = math.nan, math.inf


def fits(x: np.ndarray, known) -> bool:
    """Whether counts have the probabilities of a SciPy distribution, in bins of at least 10 expected draws."""
    heavy = known.sf(5000) > 1e-12 and known.ppf(1e-9) < 5
    low, high = int(known.ppf(1e-12)), 5000 if heavy else int(known.isf(1e-12)) + 1
    assert x.min() >= low and (heavy or x.max() <= high)
    x = np.minimum(x, high)
    want = known.pmf(np.arange(low, high + 1)) * len(x)
    want[-1] += known.sf(high) * len(x)                      # heavy tails in one bin
    bins = np.minimum((np.cumsum(want) - want / 2) // 10, len(x) // 10 - 1).astype(int)
    bins = np.unique(bins, return_inverse=True)[1]
    want, got = np.bincount(bins, want), np.bincount(bins[x - low], minlength=bins[-1] + 1)
    few = want < 5                                           # one outcome alone may fill a bin, and its neighbours stay thin
    want, got = np.append(want[~few], want[few].sum()), np.append(got[~few], got[few].sum())
    assert abs(want.sum() - len(x)) < 1e-6 * len(x)
    if want[-1] < 1:
        assert got[-1] < 10
        want, got = want[:-1], got[:-1]
    return len(want) == 1 or st.chisquare(got, want * got.sum() / want.sum()).pvalue > 1e-4


P32 = float(np.float32(0.3))                                 # probabilities are rounded to the dtype of the draw
CASES = [
    *[(f"poisson {m}", lambda k, t, m=m: R.poisson(k, t(m), (N,)), st.poisson(m)) for m in (0.0, 0.02, 1.0, 7.5, 40.0, 1000.0)],
    *[(f"binomial {n} {p:.2f}", lambda k, t, n=n, p=p: R.binomial(k, t(n), t(p), (N,)), st.binom(n, p))
      for n, p in ((0, 0.5), (1, P32), (12, 0.5), (300, P32), (5000, 0.9375), (9, 0.0), (9, 1.0))],
    *[(f"hypergeometric {g} {b} {m}", lambda k, t, g=g, b=b, m=m: R.hypergeometric(k, t(g), t(b), t(m), (N,)), st.hypergeom(g + b, g, m))
      for g, b, m in ((6, 4, 5), (1, 50, 20), (0, 5, 3), (5, 0, 3), (3, 4, 7), (300, 2000, 400))],
    *[(f"negative binomial {n}", lambda k, t, n=n: R.negative_binomial(k, t(n), t(P32), (N,)), st.nbinom(n, P32)) for n in (0.5, 1.0, 20.0)],
    *[(f"zipf {a}", lambda k, t, a=a: R.zipf(k, t(a), (N,)), st.zipf(a)) for a in (1.75, 3.0, 9.0)],
    *[(f"logseries {p:.2f}", lambda k, t, p=p: R.logseries(k, t(p), (N,)), st.logser(p)) for p in (P32, 0.9375)],
    ("multivariate hypergeometric", lambda k, t: R.multivariate_hypergeometric(k, np.array([4, 0, 5, 9]) * t(1), t(7), (N,))[:, 2], st.hypergeom(18, 5, 7)),
    ("geometric", lambda k, t: R.geometric(k, t(P32), (N,)), st.geom(P32)),
    ("multinomial", lambda k, t: R.multinomial(k, t(30), np.array([2.0, 0.0, 3.0, 5.0]) * t(0.1), (N,))[:, 2], st.binom(30, 0.3)),
]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "draw", "known"), CASES, ids=[c[0] for c in CASES])
def test_distribution(name, draw, known, kind):
    x = draw(R.key(3), kind)
    assert x.dtype == "int32" and x.shape == (N,)
    assert fits(x.value, known)


@pytest.mark.parametrize("name", ["poisson 7.5", "hypergeometric 6 4 5", "multinomial"])
def test_every_device_counts_the_same(name):
    draw = next(c[1] for c in CASES if c[0] == name)
    here, there = draw(R.key(3), float).value, draw(R.key(3).to(device()), float).value
    assert (here != there).mean() < 2e-3                     # where a rounding of the devices decides


def test_large_counts_in_double_precision():
    m = 3e12
    x = R.poisson(R.key(1), np.float64(m), (N,), "int64").value
    assert len(np.unique(x)) > 0.99 * N                      # each integer is reached, not every 2**20th
    assert st.kstest((x - m) / math.sqrt(m), "norm").pvalue > 1e-4
    x = R.binomial(R.key(1), np.float64(4e12), np.float64(0.5), (N,), "int64").value
    assert st.kstest((x - 2e12) / 1e6, "norm").pvalue > 1e-4


def test_counts_of_a_row_sum_to_n_and_are_correlated():
    p = np.array([0.2, 0.3, 0.5, 0.0])
    x = R.multinomial(R.key(0), lg.asarray([5, 20]), lg.asarray(p), (N, 2)).value
    assert x.shape == (N, 2, 4) and (x.sum(-1) == [5, 20]).all() and (x >= 0).all() and not x[..., 3].any()
    y = R.multivariate_hypergeometric(R.key(0), lg.asarray([3, 4, 5]), lg.asarray([4, 12]), (N, 2)).value
    assert (y.sum(-1) == [4, 12]).all() and (y[:, 1] == [3, 4, 5]).all() and (y >= 0).all() and (y <= [3, 4, 5]).all()
    np.testing.assert_allclose(np.cov(x[:, 1].T), 20 * (np.diag(p) - np.outer(p, p)), atol=0.15)      # 3 standard errors of N draws


def test_parameters_without_a_distribution_give_minus_one():
    assert R.poisson(R.key(0), lg.asarray([NAN, -1.0, INF, 0.0])).tolist() == [-1, -1, -1, 0]
    assert R.binomial(R.key(0), lg.asarray([3, 3, -1, 4, 4, 2.5]), lg.asarray([1.5, NAN, 0.5, 1.0, 0.0, 0.5])).tolist() == [-1, -1, -1, 4, 0, -1]
    assert R.hypergeometric(R.key(0), lg.asarray([3, -1, 3]), 2, lg.asarray([6, 1, 5])).tolist() == [-1, -1, 3]
    assert R.zipf(R.key(0), lg.asarray([1.0, 0.5, NAN])).tolist() == R.logseries(R.key(0), lg.asarray([0.0, 1.0, NAN])).tolist() == [-1] * 3
    assert R.geometric(R.key(0), lg.asarray([0.0, 1.0, 2.0])).tolist() == [-1, 1, -1]
    assert np.isnan(R.poisson(R.key(0), -1.0, dtype="float32").item())
    assert R.poisson(R.key(0), 3e9, (2,)).tolist() == [2147483520] * 2       # the largest int32 that a float32 holds
    assert R.poisson(R.key(0), 2.0, (0,)).shape == (0,) and R.multinomial(R.key(0), 0, lg.asarray([0.5, 0.5])).tolist() == [0, 0]


def test_counts_have_no_derivatives():
    m = lg.tensor(np.float64(3.0))
    x = R.poisson(R.key(0), m, (5,), "float64") * m
    (g,) = x.sum().gradient(m)
    np.testing.assert_allclose(g.item(), x.value.sum() / 3)


def test_counts_in_transforms():
    keys = R.split(R.key(0), 3)
    m = lg.asarray(np.array([1.0, 4.0, 60.0]))
    for draw in (lambda k, m: R.poisson(k, m, (4,)), lambda k, m: R.multinomial(k, m, lg.asarray([0.5, 0.25, 0.25]))):
        want = np.stack([draw(k, p).value for k, p in zip(keys, m, strict=True)])
        assert np.array_equal(lg.vmap(draw)(keys, m).value, want)
        f = lg.compile(draw)
        assert np.array_equal(np.stack([f(k, p).value for k, p in zip(keys, m, strict=True)]), want)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: R.poisson(R.key(0), 1.0, dtype=lg.uint8), TypeError, "poisson: uint8: counts are signed integers"),
    (lambda: R.binomial(R.key(0), lg.zeros((2,)), lg.zeros((3,))), ValueError, "do not broadcast"),
    (lambda: R.multinomial(R.key(0), 3, lg.asarray(0.5)), ValueError, "there is no axis of categories"),
    (lambda: R.multinomial(R.key(0), 3, lg.ones((4, 2)), (3,)), ValueError, "do not broadcast"),
    (lambda: R.multivariate_hypergeometric(R.key(0), lg.asarray(3), 2), ValueError, "there is no axis of colors"),
], ids=range(5))
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value) and any("test_random_counts.py" in n for n in caught.value.__notes__)
