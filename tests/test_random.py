"""Random numbers: the published vectors of the generator, distributions by statistics, derivatives by their parameters, keys as data.

The statistical tests use fixed keys, so they never fail by chance: p values of 1e-4 and less would mean a wrong distribution.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from gpu import device

import lazygrad as lg
from lazygrad import random as R
from lazygrad.prims.counter import block
from lazygrad.runtime import plans

N = 20_000


def test_blocks_are_those_of_the_authors():
    # Random123's known answers for threefry2x32 with 20 rounds: key, counter, block
    known = [((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
             ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
             ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0))]
    for key, counter, out in known:
        got = block(*[np.array([w], np.uint32) for w in (*key, *counter)])
        assert [int(w[0]) for w in got] == list(out)


# (name, draw, SciPy's distribution)
REAL = [
    ("uniform", lambda k, **o: R.uniform(k, (N,), minval=-1.0, maxval=3.0, **o), scipy.stats.uniform(-1, 4)),
    ("normal", lambda k, **o: R.normal(k, (N,), loc=1.0, scale=2.0, **o), scipy.stats.norm(1, 2)),
    ("lognormal", lambda k, **o: R.lognormal(k, (N,), mean=0.5, sigma=0.7, **o), scipy.stats.lognorm(0.7, scale=math.exp(0.5))),
    ("exponential", lambda k, **o: R.exponential(k, (N,), scale=2.0, **o), scipy.stats.expon(scale=2)),
    ("laplace", lambda k, **o: R.laplace(k, (N,), loc=1.0, scale=2.0, **o), scipy.stats.laplace(1, 2)),
    ("logistic", lambda k, **o: R.logistic(k, (N,), loc=1.0, scale=2.0, **o), scipy.stats.logistic(1, 2)),
    ("gumbel", lambda k, **o: R.gumbel(k, (N,), loc=1.0, scale=2.0, **o), scipy.stats.gumbel_r(1, 2)),
    ("cauchy", lambda k, **o: R.cauchy(k, (N,), loc=1.0, scale=2.0, **o), scipy.stats.cauchy(1, 2)),
    ("rayleigh", lambda k, **o: R.rayleigh(k, (N,), scale=2.0, **o), scipy.stats.rayleigh(scale=2)),
    ("weibull", lambda k, **o: R.weibull(k, 1.7, (N,), scale=2.0, **o), scipy.stats.weibull_min(1.7, scale=2)),
    ("pareto", lambda k, **o: R.pareto(k, 3.0, (N,), **o), scipy.stats.pareto(3)),
    ("triangular", lambda k, **o: R.triangular(k, -1.0, 0.0, 3.0, (N,), **o), scipy.stats.triang(0.25, -1, 4)),
]


@pytest.mark.parametrize("dtype", [lg.float32, lg.float64], ids=str)
@pytest.mark.parametrize(("name", "draw", "known"), REAL, ids=[r[0] for r in REAL])
def test_distribution(name, draw, known, dtype):
    x = draw(R.key(3), dtype=dtype)
    assert x.dtype == dtype and x.shape == (N,)
    assert scipy.stats.kstest(x.value, known.cdf).pvalue > 1e-4
    assert np.isfinite(x.value).all()
    assert not np.array_equal(x.value, draw(R.key(4), dtype=dtype).value)


@pytest.mark.parametrize(("name", "draw", "known"), REAL, ids=[r[0] for r in REAL])
def test_every_device_draws_the_same(name, draw, known):
    here, there = draw(R.key(3)), draw(R.key(3).to(device()))
    # integers agree bit for bit; the functions applied to them agree to a few roundings, far tails of cauchy to more
    np.testing.assert_allclose(here.value, there.value, rtol=2e-4 if name == "cauchy" else 1e-5, atol=1e-5)
    assert np.array_equal(R.bits(R.key(3), (100,)).value, R.bits(R.key(3).to(device()), (100,)).value)
    assert np.array_equal(R.uniform(R.key(3), (100,)).value, R.uniform(R.key(3).to(device()), (100,)).value)


def test_native_and_interpreted_runs_agree():
    x = R.uniform(R.key(5), (1000,), dtype=lg.float64) + R.randint(R.key(6), (1000,), -5, 7)
    first = x.forward().value.copy()                       # interpreted
    for _ in range(5):
        x.forward()                                        # compiled
    assert np.array_equal(first, x.value)


GRADS = [
    ("normal", lambda k, a, b: R.normal(k, (5,), loc=a, scale=b)), ("uniform", lambda k, a, b: R.uniform(k, (5,), minval=a, maxval=b)),
    ("exponential", lambda k, a, b: R.exponential(k, (5,), scale=b) * a), ("weibull", lambda k, a, b: R.weibull(k, a, (5,), scale=b)),
    ("pareto", lambda k, a, b: R.pareto(k, a, (5,)) * b), ("triangular", lambda k, a, b: R.triangular(k, 0.0, a, b, (5,))),
    ("laplace", lambda k, a, b: R.laplace(k, (5,), loc=a, scale=b)), ("lognormal", lambda k, a, b: R.lognormal(k, (5,), mean=a, sigma=b)),
]


@pytest.mark.parametrize(("name", "draw"), GRADS, ids=[g[0] for g in GRADS])
def test_draws_differentiate_by_their_parameters(name, draw):
    values = np.array([0.7, 1.9])
    weights = lg.asarray(np.arange(1.0, 6.0))

    def call(a, b):
        return (draw(R.key(11), a, b) * weights).sum()

    a, b = (lg.tensor(v) for v in values)
    h = 1e-3
    for k, g in enumerate(call(a, b).gradient(a, b)):
        up, down = values.copy(), values.copy()
        up[k] += h
        down[k] -= h
        difference = (call(*map(lg.asarray, up)).item() - call(*map(lg.asarray, down)).item()) / (2 * h)
        assert abs(difference - g.item()) < 2e-3 * max(1, abs(difference)), k       # draws are float32, the step 1e-3


@pytest.mark.parametrize("method", ["cholesky", "eigh"])
def test_multivariate_normal_has_its_covariance(method):
    cov = np.array([[1.0, 0.6], [0.6, 0.45]])
    x = R.multivariate_normal(R.key(0), lg.asarray(np.array([1.0, -1.0])), lg.asarray(cov), (N,), method=method)
    assert x.dtype == "float64"
    np.testing.assert_allclose(np.cov(x.value.T), cov, atol=0.03)               # 3 standard errors of N draws
    np.testing.assert_allclose(x.value.mean(0), [1, -1], atol=0.03)
    # stacks, and d/dcov of the mean of x xT is 1
    stack = R.multivariate_normal(R.key(1), lg.zeros((3, 1, 2)), lg.asarray(np.stack([cov, 2 * cov])), method=method)
    assert stack.shape == (3, 2, 2)
    c = lg.tensor(cov)
    z = R.multivariate_normal(R.key(0), lg.asarray(np.zeros(2)), c, (N,), method=method)
    (g,) = (z[:, 0] * z[:, 1]).mean().gradient(c)
    np.testing.assert_allclose(g.value + g.value.T, [[0, 1], [1, 0]], atol=0.05)


def test_semidefinite_covariances_have_draws_by_eigh():
    x = R.multivariate_normal(R.key(0), lg.zeros((2,)), lg.ones((2, 2)), (50,), method="eigh").value
    np.testing.assert_allclose(x[:, 0], x[:, 1], atol=1e-3)                     # roots of eigenvalues that are 0 to 1e-7
    with pytest.raises(np.linalg.LinAlgError):
        R.multivariate_normal(R.key(0), lg.zeros((2,)), lg.ones((2, 2)), (50,)).forward()


@pytest.mark.parametrize(("low", "high", "dtype"), [(0, 6, "int64"), (-3, 4, "int32"), (-100, 100, "int8"), (0, 256, "uint8"), (5, 6, "int64")])
def test_integers_are_equally_likely(low, high, dtype):
    x = R.randint(R.key(1), (N,), low, high, dtype).value
    assert x.dtype == np.dtype(dtype) and x.min() >= low and x.max() < high
    counts = np.bincount((x.astype(int) - low), minlength=high - low)
    assert len(counts) == high - low and (high - low == 1 or scipy.stats.chisquare(counts).pvalue > 1e-4)


@pytest.mark.parametrize(("low", "high", "dtype"), [(-(1 << 63), 1 << 63, "int64"), (0, 1 << 64, "uint64"), (-5, 1 << 40, "int64"), (1 << 40, (1 << 40) + 9, "int64"),
                                                    (-(1 << 31), 1 << 31, "int32"), (0, 1 << 32, "uint32"), (-(1 << 31), (1 << 31) - 1, "int64")])
def test_wide_ranges(low, high, dtype):
    x = R.randint(R.key(2), (N,), low, high, dtype).value
    u = np.array([(int(v) - low) / (high - low) for v in x])
    assert (u >= 0).all() and (u < 1).all()
    assert high - low < 100 or scipy.stats.kstest(u, "uniform").pvalue > 1e-4


def test_discrete_distributions():
    p = np.array([0.1, 0.2, 0.7])
    for x in (R.categorical(R.key(0), lg.asarray(np.log(p)), shape=(N,)), R.choice(R.key(1), 3, (N,), p=lg.asarray(p))):
        assert scipy.stats.chisquare(np.bincount(x.value, minlength=3), N * p).pvalue > 1e-4
    assert scipy.stats.chisquare(np.bincount(R.choice(R.key(1), 3, (N,)).value)).pvalue > 1e-4
    assert abs(R.bernoulli(R.key(0), 0.3, (N,)).value.mean() - 0.3) < 0.015
    assert abs(R.rademacher(R.key(0), (N,)).value.mean()) < 0.03
    g = R.geometric(R.key(0), 0.3, (N,)).value
    assert g.min() == 1 and scipy.stats.chisquare(*[np.append(h[:10], h[10:].sum()) for h in (
        np.bincount(g, minlength=41)[1:], np.append(N * scipy.stats.geom(0.3).pmf(np.arange(1, 40)), N * scipy.stats.geom(0.3).sf(39)))]).pvalue > 1e-4


def test_permutations_and_choices_without_replacement():
    for n in (0, 1, 2, 100):
        assert sorted(R.permutation(R.key(0), n).tolist()) == list(range(n))
    first = np.bincount([R.permutation(k, 4)[0].item() for k in R.split(R.key(0), 400)], minlength=4)
    assert scipy.stats.chisquare(first).pvalue > 1e-4
    x = lg.asarray(np.arange(12.0).reshape(3, 4))
    y = R.permutation(R.key(1), x, axis=1).value
    assert sorted(y[0]) == [0, 1, 2, 3] and np.array_equal(y[1] - y[0], np.full(4, 4.0))
    assert sorted(R.choice(R.key(0), 5, (5,), replace=False).tolist()) == [0, 1, 2, 3, 4]
    assert sorted(R.choice(R.key(0), 4, (3,), replace=False, p=lg.asarray([0.3, 0.0, 0.3, 0.4])).tolist()) == [0, 2, 3]


def test_keys_are_independent_and_splitting_is_data():
    key = R.key(0)
    keys = R.split(key, 1000).value
    assert len({tuple(k) for k in keys}) == 1000
    a, b = (R.normal(lg.asarray(k), (N,)).value for k in keys[:2])
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    assert R.fold_in(key, 3).tolist() == R.fold_in(key, lg.asarray(3)).tolist() != R.fold_in(key, 4).tolist()
    for _ in range(5):                                     # a loop that splits settles into one plan
        key, draw = R.split(key)
        R.normal(draw, (3,)).forward()
    before = len(plans.PLANS)
    for _ in range(50):
        key, draw = R.split(key)
        R.normal(draw, (3,)).forward()
    assert len(plans.PLANS) == before and key.term.depth < 8


def test_keys_join_the_graph_they_are_made_in():
    graph = lg.Graph()
    x = graph.tensor([1.0, 2.0])
    k = R.key(0, graph=graph)
    assert (x + R.normal(R.split(k)[0], (2,))).value.shape == (2,)
    with pytest.raises(ValueError, match="two graphs"):
        x + R.normal(R.key(0), (2,))


def test_generator_counts():
    g = R.Generator(5)
    draws = [g.normal(size=2).tolist(), g.normal(1.0, size=(2,)).tolist(), g.integers(9, size=2).tolist(), g.bernoulli(0.5, (3,)).tolist()]
    keys = [R.fold_in(R.key(5), i) for i in range(4)]
    again = [R.normal(keys[0], (2,)).tolist(), R.normal(keys[1], (2,), loc=1.0).tolist(), R.randint(keys[2], (2,), 0, 9).tolist(),
             R.bernoulli(keys[3], 0.5, (3,)).tolist()]
    assert draws == again
    with pytest.raises(AttributeError, match="no draw 'nothing'"):
        g.nothing()
    one, two = g.spawn(2)
    assert one.random().item() != two.random().item() and repr(one).startswith("Generator(key=")


# NumPy's call, SciPy's distribution
NUMPYS = {
    "random()": scipy.stats.uniform(), "standard_normal()": scipy.stats.norm(), "standard_exponential()": scipy.stats.expon(),
    "standard_cauchy()": scipy.stats.cauchy(), "standard_gamma(2.0)": scipy.stats.gamma(2), "gamma(0.7, 2.0)": scipy.stats.gamma(0.7, scale=2),
    "standard_t(3)": scipy.stats.t(3), "beta(2, 3)": scipy.stats.beta(2, 3), "chisquare(4)": scipy.stats.chi2(4), "f(4, 9)": scipy.stats.f(4, 9),
    "vonmises(0.0, 2.0)": scipy.stats.vonmises(2), "wald(1, 2)": scipy.stats.invgauss(0.5, scale=2), "weibull(1.5)": scipy.stats.weibull_min(1.5),
    "pareto(3.0)": scipy.stats.lomax(3), "power(2.0)": scipy.stats.powerlaw(2), "uniform(1, 3)": scipy.stats.uniform(1, 2),
    "laplace(1, 2)": scipy.stats.laplace(1, 2), "logistic(1, 2)": scipy.stats.logistic(1, 2), "gumbel(1, 2)": scipy.stats.gumbel_r(1, 2),
    "rayleigh(2.0)": scipy.stats.rayleigh(scale=2), "lognormal(0, 0.5)": scipy.stats.lognorm(0.5), "triangular(0, 1, 4)": scipy.stats.triang(0.25, 0, 4),
    "exponential(2.0)": scipy.stats.expon(scale=2), "normal(1, 2)": scipy.stats.norm(1, 2),
}


@pytest.mark.parametrize("call", NUMPYS)
def test_generator_takes_numpys_arguments(call):
    name, _, arguments = call[:-1].partition("(")
    given = [float(v) for v in arguments.split(",") if v]
    x, y = getattr(R.default_rng(1), name)(*given, size=2000), getattr(np.random.default_rng(1), name)(*given, size=2000)
    assert x.shape == y.shape and x.dtype == "float32"
    assert scipy.stats.kstest(x.value, NUMPYS[call].cdf).pvalue > 1e-4 and scipy.stats.kstest(y, NUMPYS[call].cdf).pvalue > 1e-4


def test_generator_counts_and_orders_as_numpy_does():
    g, known = R.default_rng(2), np.random.default_rng(2)
    for name, given in (("poisson", (4.0,)), ("binomial", (9, 0.3)), ("negative_binomial", (3, 0.5)), ("geometric", (0.3,)), ("hypergeometric", (6, 4, 5))):
        x, y = getattr(g, name)(*given, size=(4000,)), getattr(known, name)(*given, size=(4000,))
        assert x.dtype == "int64" and abs(x.value.mean() - y.mean()) < 5 * y.std() / 4000**0.5
    assert g.multinomial(5, [0.5, 0.5], size=3).shape == g.dirichlet([1.0, 2.0], size=3).shape == (3, 2)
    assert g.multivariate_normal([0.0, 1.0], [[1.0, 0.0], [0.0, 0.0]], size=4).shape == (4, 2)
    assert set(g.integers(1, 3, size=50, endpoint=True).tolist()) == {1, 2, 3}
    assert sorted(g.permutation(5).tolist()) == list(range(5)) and g.choice([7.0, 8.0], size=(2, 3)).shape == (2, 3)
    x = np.arange(12.0).reshape(3, 4)
    assert sorted(g.permuted(x).value.ravel()) == list(range(12))
    rows = g.permuted(lg.asarray(x), axis=1).value
    assert np.array_equal(np.sort(rows), x) and len({tuple(r) for r in rows - x[:, :1]}) > 1
    t = lg.asarray(x)
    g.shuffle(t)
    assert sorted(map(tuple, t.tolist())) == sorted(map(tuple, x))
    assert R.default_rng(g) is g and R.default_rng().random().item() != R.default_rng().random().item()
    with pytest.raises(ValueError, match="a seed is one integer"):
        R.default_rng([1, 2])


def test_integers_that_change_stay_integers():
    # more different ones than a call bakes into its expressions
    assert [len(R.permutation(R.key(0), n).tolist()) for n in range(12)] == list(range(12))
    assert [R.choice(R.key(0), n, (2,)).shape for n in range(1, 13)] == [(2,)] * 12


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: R.normal(lg.asarray([1.0, 2.0]), (3,)), ValueError, "normal: a key float32[2]: a key is uint32 of shape (2,)"),
    (lambda: R.split(3), ValueError, "split: a key int: a key is a uint32 tensor of shape (2,)"),
    (lambda: R.normal(R.key(0), (-1,)), ValueError, "a size is negative"),
    (lambda: R.normal(R.key(0), (3,), loc=lg.zeros((2,))), ValueError, "do not broadcast"),
    (lambda: R.normal(R.key(0), (3,), dtype=lg.int32), TypeError, "random numbers here are real and floating"),
    (lambda: R.uniform(R.key(0), (1 << 17, 1 << 16)), ValueError, "one key gives fewer than 2**32 numbers"),
    (lambda: R.randint(R.key(0), (3,), 5, 5), ValueError, "no integer lies between"),
    (lambda: R.randint(R.key(0), (3,), 0, 300, lg.int8), TypeError, "int8 holds -128 to 127"),
    (lambda: R.choice(R.key(0), 3, (4,), replace=False), ValueError, "there are not as many"),
    (lambda: R.key(1 << 64), TypeError, "a seed has at most 64 bits"),
    (lambda: R.bits(R.key(0), (3,), lg.int32), TypeError, "bits are unsigned"),
], ids=range(11))
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value) or text in repr(caught.value)


def test_draws_in_transforms():
    keys = R.split(R.key(0), 5)
    x = lg.vmap(lambda k: R.normal(k, (3,)))(keys)
    assert np.array_equal(x.value, np.stack([R.normal(k, (3,)).value for k in keys]))
    step = lg.compile(lambda k: (R.split(k)[0], R.uniform(k, (2,))))
    k = R.key(7)
    first, u = step(k)
    assert np.array_equal(first.value, R.split(k)[0].value) and np.array_equal(u.value, R.uniform(k, (2,)).value)
    last, draws = lg.scan(lambda k, _: (R.split(k)[1], R.uniform(R.fold_in(k, 1), ())), R.key(3), length=4)
    assert len(set(draws.tolist())) == 4 and last.shape == (2,)
    g = lg.grad(lambda s: R.normal(R.key(0), (100,), scale=s).sum())(2.0).item()
    assert abs(g - R.normal(R.key(0), (100,)).value.sum()) < 1e-3
