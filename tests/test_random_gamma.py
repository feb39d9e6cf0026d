"""Draws with derivatives at a fixed probability: gamma and its kin, von Mises, Wald, truncated normal.

Statistics use fixed keys, so they never fail by chance: p values below 1e-4 would mean a wrong distribution. Derivatives are compared with
difference quotients of SciPy's quantile functions.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats as st
from gpu import device

import lazygrad as lg
from lazygrad import random as R
from lazygrad.prims import implicit

N = 20_000
INF, NAN = math.inf, math.nan

CASES = [(f"gamma {a}", lambda k, a=a, **o: R.gamma(k, a, (N,), scale=2.0, **o), st.gamma(a, scale=2)) for a in (0.4, 1.0, 3.7, 1e5)]
CASES += [(f"loggamma {a}", lambda k, a=a, **o: R.loggamma(k, a, (N,), **o), st.loggamma(a)) for a in (1e-3, 20.0)]
CASES += [(f"beta {a} {b}", lambda k, a=a, b=b, **o: R.beta(k, a, b, (N,), **o), st.beta(a, b)) for a, b in ((0.5, 0.7), (3.0, 12.0))]
CASES += [
    ("chisquare", lambda k, **o: R.chisquare(k, 3.0, (N,), **o), st.chi2(3)), ("t", lambda k, **o: R.t(k, 2.5, (N,), **o), st.t(2.5)),
    ("f", lambda k, **o: R.f(k, 5.0, 7.0, (N,), **o), st.f(5, 7)), ("maxwell", lambda k, **o: R.maxwell(k, (N,), scale=2.0, **o), st.maxwell(scale=2)),
    ("power", lambda k, **o: R.power(k, 0.6, (N,), **o), st.powerlaw(0.6)),
    ("dirichlet", lambda k, **o: R.dirichlet(k, lg.asarray([0.5, 1.5, 4.0]), (N,), **o)[:, 1], st.beta(1.5, 4.5)),
]
CASES += [(f"von mises {c}", lambda k, c=c, **o: R.von_mises(k, c, (N,), **o), st.vonmises(c)) for c in (0.01, 1.3, 400.0)]
CASES += [(f"wald {m} {s}", lambda k, m=m, s=s, **o: R.wald(k, m, (N,), scale=s, **o), st.invgauss(m / s, scale=s)) for m, s in ((1.0, 1.0), (3.0, 0.4))]
CASES += [(f"truncated {a} {b}", lambda k, a=a, b=b, **o: R.truncated_normal(k, a, b, (N,), **o), st.truncnorm(a, b))
          for a, b in ((-1.0, 2.0), (8.0, 9.0), (-INF, -12.0), (-INF, INF))]
NAMES = [c[0] for c in CASES]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "draw", "known"), CASES, ids=NAMES)
def test_distribution(name, draw, known, dtype):
    x = draw(R.key(3), dtype=dtype)
    assert x.dtype == dtype and x.shape == (N,) and np.isfinite(x.value).all()
    assert st.kstest(x.value, known.cdf).pvalue > 1e-4
    assert not np.array_equal(x.value, draw(R.key(4), dtype=dtype).value)


@pytest.mark.parametrize("name", ["gamma 0.4", "t", "von mises 1.3", "wald 3.0 0.4", "truncated -1.0 2.0"])
def test_every_device_draws_the_same(name):
    draw = CASES[NAMES.index(name)][1]
    here, there = draw(R.key(3)).value, draw(R.key(3).to(device())).value
    # the functions of the devices differ by some roundings (small gamma draws are powers of 1 / 0.4, tails of t divide by small numbers); a
    # comparison that falls within one gives another draw
    far = np.abs(there - here) > 1e-5 + 2e-5 * np.abs(here)
    assert far.mean() < 1e-4


# ---- derivatives -----------------------------------------------------------------------------------------------------------

def quantile(known, u, v):
    """The quantile of the probabilities u below and v above, by the smaller."""
    return np.where(u < v, known.ppf(u), known.isf(v))


# name, the draw as a function of its parameters, SciPy's distribution of them, parameters, the step of differences relative to them: SciPy's
# quantiles of von Mises and Wald are roots found to 1e-9 or so
QUANTILES = [
    *[(f"gamma {a}", lambda k, a: R.gamma(k, a, (40,)), st.gamma, (a,), 1e-3, 2e-8) for a in (0.03, 0.7, 5.0, 80.0, 3e3)],
    *[(f"loggamma {a}", lambda k, a: R.loggamma(k, a, (40,)), st.loggamma, (a,), 1e-3, 2e-6) for a in (0.9, 8.0)],
    ("chisquare", lambda k, df: R.chisquare(k, df, (40,)), st.chi2, (3.0,), 1e-3, 2e-8),
    *[(f"von mises {c}", lambda k, c: R.von_mises(k, c, (40,)), st.vonmises, (c,), 3e-2, 1e-4) for c in (0.4, 3.0, 20.0)],
    *[(f"wald {m} {s}", lambda k, m, s: R.wald(k, m, (40,), scale=s), lambda m, s: st.invgauss(m / s, scale=s), (m, s), 1e-2, 1e-5)
      for m, s in ((1.0, 1.0), (3.0, 0.4), (0.2, 7.0))],
    *[(f"truncated {a} {b}", lambda k, a, b: R.truncated_normal(k, a, b, (40,)), st.truncnorm, (a, b), 1e-3, 2e-7)
      for a, b in ((-1.0, 2.0), (4.0, 5.0), (-3.0, 0.2))],
]


@pytest.mark.parametrize(("name", "draw", "known", "parameters", "step", "tolerance"), QUANTILES, ids=[q[0] for q in QUANTILES])
def test_draws_move_with_their_parameters_as_quantiles_do(name, draw, known, parameters, step, tolerance):
    ps = [lg.tensor(np.full(40, p)) for p in parameters]
    x = draw(R.key(7), *ps)
    at = known(*parameters)
    u, v = at.cdf(x.value), at.sf(x.value)
    for k, g in enumerate(x.sum().gradient(*ps)):
        h = step * abs(parameters[k])
        moved = [quantile(known(*[p + (j == k) * d * h for j, p in enumerate(parameters)]), u, v) for d in (-2, -1, 1, 2)]
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)              # error h⁴
        np.testing.assert_allclose(g.value, slope, rtol=tolerance, atol=tolerance * np.abs(slope).max())


@pytest.mark.parametrize("a", [0.05, 0.8, 3.0, 60.0, 700.0])
def test_second_derivative_of_a_gamma_draw(a):
    p = lg.tensor(np.full(20, a))
    x = R.gamma(R.key(7), p, (20,))
    (g,) = x.sum().gradient(p)
    (gg,) = g.sum().gradient(p)
    u, v = st.gamma(a).cdf(x.value), st.gamma(a).sf(x.value)
    h = 0.02 * a
    moved = [quantile(st.gamma(a + d * h), u, v) for d in range(-3, 4)]
    second = sum(c * m for c, m in zip((2, -27, 270, -490, 270, -27, 2), moved, strict=True)) / (180 * h * h)      # error h⁶
    np.testing.assert_allclose(gg.value, second, rtol=1e-6, atol=1e-6 * np.abs(second).max())


def test_both_modes_agree_and_derivatives_stay_derivatives():
    # forward mode against reverse mode, order by order: there are no differences to take of a loop that accepts and rejects
    cases = [(lambda a: R.gamma(R.key(1), a, (9,)), 1.7), (lambda a: R.beta(R.key(1), a, 2.0, (9,)), 0.8), (lambda c: R.von_mises(R.key(1), c, (9,)), 2.0),
             (lambda m: R.wald(R.key(1), m, (9,), scale=m * m), 1.4), (lambda a: R.truncated_normal(R.key(1), a, a + 1.0, (9,)), 0.3)]
    w = np.linspace(1, 2, 9)
    for f, at in cases:
        at = np.float64(at)
        push = lambda g: lambda p, g=g: lg.jvp(g, (p,), (np.float64(1.0),))[1]
        first, second = push(f), push(push(f))
        one = lg.grad(lambda p, f=f: (f(p) * w).sum())
        np.testing.assert_allclose(one(at).item(), (first(at).value * w).sum(), rtol=1e-12)
        np.testing.assert_allclose(lg.grad(one)(at).item(), (second(at).value * w).sum(), rtol=1e-10)


def spread(a, w, k):
    """The k-th derivative by a of P(a, exp(w)), over the density of w, by digits."""
    with mpmath.workdps(40):
        z = mpmath.exp(mpmath.mpf(w))
        below = mpmath.diff(lambda p: mpmath.gammainc(p, 0, z, regularized=True), mpmath.mpf(a), k)
        return float(below / (z ** mpmath.mpf(a) * mpmath.exp(-z) / mpmath.gamma(a)))


@pytest.mark.parametrize("k", [1, 2])
def test_spread_of_gamma_is_exact(k):
    points = [(a, math.log(a) + d / math.sqrt(a)) for a in (1.0, 9.0, 600.0) for d in (-3, -0.5, 1, 3)]
    points += [(0.05, -20.0), (0.05, 0.5), (0.01, -300.0)]
    a, w = np.array(points).T
    want = [spread(*p, k) for p in points]
    np.testing.assert_allclose(implicit.gamma_spread.numpy(a, w, k=k, log=True), want, rtol=2e-12)
    np.testing.assert_allclose(implicit.gamma_spread.numpy(a, np.exp(w), k=k, log=False), want, rtol=2e-11)


def test_expectations_differentiate():
    # d/da E x for x of beta and Dirichlet, d/d df E x² of t: the standard error of N draws is below 0.01 of these
    n = 30_000
    assert abs(lg.grad(lambda a: R.beta(R.key(2), a, 2.0, (n,)).mean())(np.float64(3.0)).item() / (2 / 25) - 1) < 0.02
    assert abs(lg.grad(lambda b: lg.log(R.beta(R.key(2), 0.5, b, (n,))).mean())(np.float64(3.0)).item() / -scipy.special.polygamma(1, 3.5) - 1) < 0.02
    g = lg.grad(lambda a: R.dirichlet(R.key(2), a, (n,))[:, 0].mean())(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(g.value, [5 / 36, -1 / 36, -1 / 36], rtol=0.03)
    g = lg.grad(lambda d: lg.square(R.t(R.key(2), d, (n,))).mean())(np.float64(9.0))
    assert abs(g.item() / (-2 / 49) - 1) < 0.1
    g = lg.grad(lambda d: R.f(R.key(2), 4.0, d, (n,)).mean())(np.float64(9.0))
    assert abs(g.item() / (-2 / 49) - 1) < 0.1


def test_derivatives_where_draws_underflow():
    a = lg.tensor(np.full(200, 1e-3))
    x = R.gamma(R.key(0), a)
    (g,) = x.sum().gradient(a)
    assert (x.value == 0).any() and np.isfinite(g.value).all() and (g.value[x.value == 0] == 0).all()
    w = R.loggamma(R.key(0), a)
    (g,) = w.sum().gradient(a)
    # there P = z^a / Γ(a + 1), so d log z / da = (ψ(a + 1) - log z) / a
    low = w.value < -40
    np.testing.assert_allclose(g.value[low], (scipy.special.digamma(1.001) - w.value[low]) / 1e-3, rtol=1e-12)


# ---- edges, shapes, transforms ------------------------------------------------------------------------------------------------

def test_parameters_at_the_border():
    x = R.gamma(R.key(0), lg.asarray([NAN, -1.0, 0.0, INF, 2.0])).value
    assert np.isnan(x[:2]).all() and x[2] == 0 and x[3] == INF and 0 < x[4] < INF
    x = R.von_mises(R.key(0), lg.asarray([NAN, -1.0, INF, 1.0])).value
    assert np.isnan(x[:3]).all() and abs(x[3]) <= np.float32(np.pi)
    assert np.isnan(R.wald(R.key(0), lg.asarray([-1.0, NAN, 0.0])).value).all()
    x = R.truncated_normal(R.key(0), lg.asarray([1.0, 2.0, NAN]), lg.asarray([1.0, 1.0, 1.0])).value
    assert np.isnan(x).all()
    assert R.gamma(R.key(0), 2.0, (0, 3)).value.shape == (0, 3) and R.gamma(R.key(0), 2.0).shape == ()
    assert R.dirichlet(R.key(0), lg.ones((4, 3))).shape == (4, 3) and R.dirichlet(R.key(0), lg.ones((0,)), (2,)).value.shape == (2, 0)
    np.testing.assert_allclose(R.dirichlet(R.key(0), lg.asarray([0.01, 5.0, 0.3]), (50,)).value.sum(-1), 1, rtol=1e-6)


def test_dtypes_follow_the_parameters():
    assert R.gamma(R.key(0), 2.0).dtype == R.beta(R.key(0), np.float32(2.0), 1.0).dtype == "float32"
    assert R.gamma(R.key(0), np.float64(2.0)).dtype == R.dirichlet(R.key(0), np.ones(3)).dtype == "float64"
    x = R.gamma(R.key(0), 2.0, (N,), "float16")
    assert x.dtype == "float16" and abs(x.value.astype(float).mean() - 2) < 0.05
    assert R.gamma(R.key(0), np.float64(2.0), dtype="float32").dtype == "float32"


def test_draws_in_transforms():
    keys = R.split(R.key(0), 3)
    a = lg.asarray(np.array([0.3, 5.0, 90.0]))
    for draw in (lambda k, a: R.gamma(k, a, (3,)), lambda k, a: R.von_mises(k, a)):
        each = [draw(k, p) for k, p in zip(keys, a, strict=True)]
        np.testing.assert_allclose(lg.vmap(draw)(keys, a).value, np.stack([e.value for e in each]), rtol=1e-10)
    slope = lg.grad(lambda p, k: (R.gamma(k, p, (2,)) ** 2).sum())
    np.testing.assert_allclose(lg.vmap(slope)(a, keys).value, [slope(p, k).item() for k, p in zip(keys, a, strict=True)], rtol=1e-9)
    step = lg.compile(lambda k, a: lg.grad(lambda p: R.beta(k, p, 2.0, (5,)).sum())(a))
    for k in keys:
        want = lg.grad(lambda p, k=k: R.beta(k, p, 2.0, (5,)).sum())(np.float64(1.5))
        np.testing.assert_allclose(step(k, np.float64(1.5)).item(), want.item(), rtol=1e-12)
    _, xs = lg.scan(lambda c, k: (c, R.gamma(k, 2.0, ())), 0.0, keys)
    np.testing.assert_allclose(xs.value, [R.gamma(k, 2.0, ()).item() for k in keys], rtol=1e-6)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: R.gamma(R.key(0), lg.zeros((2,)), (3,)), ValueError, "do not broadcast"),
    (lambda: R.gamma(R.key(0), 2.0, dtype="int32"), TypeError, "random numbers here are real and floating"),
    (lambda: R.gamma(R.key(0), lg.asarray([1j])), TypeError, "gamma: a complex parameter"),
    (lambda: R.dirichlet(R.key(0), lg.asarray(2.0)), ValueError, "there is no axis of categories"),
    (lambda: R.dirichlet(R.key(0), lg.ones((4, 3)), (5,)), ValueError, "do not broadcast"),
    (lambda: R.multivariate_normal(R.key(0), lg.zeros((2,)), lg.zeros((3, 3))), ValueError, "(..., n) and (..., n, n)"),
    (lambda: R.multivariate_normal(R.key(0), lg.zeros((2,)), lg.eye(2), method="svd"), ValueError, "there is no such method"),
], ids=range(7))
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value) and any("test_random_gamma.py" in n for n in caught.value.__notes__)
