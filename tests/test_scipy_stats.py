"""lazygrad.scipy.stats against scipy.stats: every method of every family, at the ends of its support and in its tails; derivatives."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.stats
from gpu import device

import lazygrad as lg
from lazygrad.scipy import stats
from lazygrad.testing import check_grads

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")          # SciPy's

rng = np.random.default_rng(0)
SHAPES = {"norm": (), "expon": (), "uniform": (), "laplace": (), "logistic": (), "cauchy": (), "halfnorm": (), "rayleigh": (), "gumbel_r": (), "gumbel_l": (), "lognorm": (0.7,), "weibull_min": (1.7,),
          "pareto": (2.5,), "gamma": (2.3,), "chi2": (3.4,), "invgamma": (2.7,), "beta": (1.5, 2.7), "f": (3.2, 5.1), "t": (3.3,)}
COUNTS = {"poisson": (2.3,), "binom": (5, 0.3), "bernoulli": (0.4,), "geom": (0.3,), "nbinom": (2.5, 0.4)}
X = np.concatenate([rng.normal(size=20) * 2, rng.random(20), rng.random(10) * 10, [0, 1, -1, np.nan, 40.0, -40.0, 0.5, 2.0, 1e-9, -1e-9, 0.19, 0.21]])
Q = np.concatenate([rng.random(20), [0, 1, 0.5, 1e-4, 1 - 1e-4, -0.1, 1.2, np.nan, 0.499, 0.501, 0.4999]])
K = np.array([-1, 0, 1, 2, 3, 5, 10, 2.5, np.nan])
INSIDE = {"uniform": 0.4, "beta": 0.3, "pareto": 1.9}
PLACES = [{}, {"loc": 0.3, "scale": 2.0}]


@pytest.mark.parametrize("name", SHAPES)
def test_densities_and_probabilities(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    for place in PLACES:
        for method in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
            got, want = getattr(ours, method)(X, *SHAPES[name], **place).value, getattr(theirs, method)(X, *SHAPES[name], **place)
            if name == "halfnorm" and method == "logsf":
                want = np.where(np.isneginf(want), got, want)          # SciPy underflows where we do not
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-290, err_msg=method)


@pytest.mark.parametrize("name", SHAPES)
def test_quantiles(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    for place in PLACES:
        for method in ("ppf", "isf"):
            np.testing.assert_allclose(getattr(ours, method)(Q, *SHAPES[name], **place).value, getattr(theirs, method)(Q, *SHAPES[name], **place), rtol=1e-9, atol=1e-12, err_msg=method)


@pytest.mark.parametrize("name", SHAPES)
def test_quantiles_of_small_probabilities(name):
    """Both tails of every family keep their digits: SciPy's own are wrong in the fifth place for some."""
    f = getattr(stats, name)
    for q in (1e-9, 1e-5):
        assert f.cdf(f.ppf(q, *SHAPES[name]), *SHAPES[name]).item() == pytest.approx(q, rel=1e-9) and f.sf(f.isf(q, *SHAPES[name]), *SHAPES[name]).item() == pytest.approx(q, rel=1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_moments_and_frozen_distributions(name):
    for place in PLACES:
        ours, theirs = getattr(stats, name)(*SHAPES[name], **place), getattr(scipy.stats, name)(*SHAPES[name], **place)
        for method in ("mean", "var", "std", "entropy", "median"):
            got = getattr(ours, method)()
            assert got.dtype == np.float64
            np.testing.assert_allclose(got.value, getattr(theirs, method)(), rtol=1e-10, atol=1e-12, err_msg=method)
        np.testing.assert_allclose([v.item() for v in ours.interval(0.9)], theirs.interval(0.9), rtol=1e-9)
        assert np.array_equal(ours.pdf(X[:3]).value, getattr(stats, name).pdf(X[:3], *SHAPES[name], **place).value, equal_nan=True)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
    for loc in (0, 2):
        for method in ("pmf", "logpmf", "cdf", "sf", "logcdf", "logsf"):
            np.testing.assert_allclose(getattr(ours, method)(K, *COUNTS[name], loc=loc).value, getattr(theirs, method)(K, *COUNTS[name], loc=loc), rtol=1e-11, atol=1e-290, err_msg=method)
        for method in ("mean", "var", "std"):
            np.testing.assert_allclose(getattr(ours, method)(*COUNTS[name], loc).value, getattr(theirs, method)(*COUNTS[name], loc), rtol=1e-12)
    assert ours.ppf([0.2, 0.9], *COUNTS[name]).tolist() == theirs.ppf([0.2, 0.9], *COUNTS[name]).tolist()
    assert ours(*COUNTS[name]).pmf(2).item() == ours.pmf(2, *COUNTS[name]).item()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("method", ["logpdf", "cdf", "logsf", "ppf"])
def test_derivatives_by_values_and_parameters(name, method):
    at = np.array([INSIDE.get(name, 0.8)]) if method != "ppf" else np.array([0.3])
    place = (0.1, 1.3) if name not in ("uniform", "beta") else (0.05, 1.2)
    f = getattr(getattr(stats, name), method)
    # derivatives of incomplete functions by parameters are power series good to about 1e-9; second differences lose half the digits
    check_grads(f, (at + (0.4 if name == "pareto" and method != "ppf" else 0), *SHAPES[name], *place), order=2 if method == "logpdf" or name in ("norm", "gamma") else 1, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", COUNTS)
def test_derivatives_by_the_parameters_of_counts(name):
    free = [p for p in COUNTS[name] if isinstance(p, float)]
    fixed = [p for p in COUNTS[name] if not isinstance(p, float)]
    for method in ("logpmf", "cdf"):
        check_grads(lambda *p, method=method: getattr(getattr(stats, name), method)(1, *fixed, *p), tuple(free), order=2, rtol=1e-5, atol=1e-6)


def test_students_t_is_smooth_where_its_formulas_meet():
    """In the middle and at the ends of the power series: the derivatives of the distribution function are those of the density."""
    for n in (0.4, 1.0, 3.3, 50.0):
        edge = np.sqrt(0.04 * n / (n + 1))
        y = np.array([-1.5, -edge, -edge * 0.99, 0.0, 1e-7, edge * 1.01, 2.0])
        x = lg.tensor(y)
        p = stats.t.cdf(x, n)
        exact = [float(mpmath.mpf("0.5") + mpmath.quad(lambda s, n=n: (1 + s * s / n) ** (-(n + 1) / 2), [0, v]) / (mpmath.sqrt(n) * mpmath.beta(n / 2, 0.5))) for v in y]
        np.testing.assert_allclose(p.value, exact, rtol=1e-13)
        (d,) = p.sum().gradient(x)
        np.testing.assert_allclose(d.value, scipy.stats.t.pdf(y, n), rtol=1e-12)
        (dd,) = d.sum().gradient(x)
        np.testing.assert_allclose(dd.value, -(n + 1) * y / (n + y * y) * scipy.stats.t.pdf(y, n), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(stats.t.ppf(p, n).value, y, rtol=1e-9, atol=1e-12)


def test_what_is_outside_reaches_no_derivative():
    x = lg.tensor(np.array([-1.0, 0.0, 2.0, np.nan]))
    for name in ("gamma", "lognorm", "invgamma", "weibull_min", "expon"):
        x.grad = None
        (stats.__dict__[name].pdf(x, *SHAPES[name]) + stats.__dict__[name].cdf(x, *SHAPES[name]))[:3].sum().backward()
        assert x.grad.value[0] == 0 and np.isfinite(x.grad.value[[0, 2]]).all(), name


def test_parameters_that_are_none_give_nan():
    assert np.isnan(stats.norm.pdf(0.0, 0, -1.0).item()) and np.isnan(stats.beta.cdf(0.5, [-1.0, 1.0], 2).value).tolist() == [True, False]
    assert np.isnan(stats.gamma.ppf(0.5, -1.0).item()) and np.isnan(stats.binom.pmf(1, 5, 1.5).item()) and np.isnan(stats.gamma.mean(-2.0).item())


def test_dtypes_follow_numpys_rule():
    x = lg.tensor(np.float32(0.3))
    assert stats.norm.pdf(x).dtype == stats.gamma.cdf(x, 2.0, scale=3).dtype == np.float32 and stats.norm.pdf(0).dtype == stats.norm.pdf([1, 2]).dtype == np.float64
    assert stats.norm.pdf(x, np.float64(1.0)).dtype == np.float64 and stats.poisson.pmf(3, 2).item() == pytest.approx(scipy.stats.poisson.pmf(3, 2), rel=1e-14)


S = np.array([[2.0, 0.3], [0.3, 1.0]])
V = rng.normal(size=(4, 3, 2))


@pytest.mark.parametrize("args", [(V, [1.0, 2.0], S), (V[0, 0], None, S), (V, [1.0, 2.0], [2.0, 3.0]), ([1.0, 2.0, 3.0], 0.5, 2.0), (0.3,), (V[0], [1.0, 2.0], 3.0)], ids=range(6))
def test_normal_vectors(args):
    np.testing.assert_allclose(stats.multivariate_normal.logpdf(*args).value, scipy.stats.multivariate_normal.logpdf(*args), rtol=1e-13)
    np.testing.assert_allclose(stats.multivariate_normal(*args[1:]).pdf(args[0]).value, scipy.stats.multivariate_normal(*args[1:]).pdf(args[0]), rtol=1e-13)


def test_derivatives_of_densities_of_vectors():
    check_grads(lambda x, m, a: stats.multivariate_normal.logpdf(x, m, a @ a.T + 0.5 * np.eye(2)), (V[0], np.array([1.0, 2.0]), S), order=1)
    check_grads(lambda x, a: stats.dirichlet.logpdf(x[:2], a), (np.array([0.2, 0.3, 0.5]), np.array([1.2, 2.0, 0.7])))
    check_grads(lambda p: stats.multinomial.logpmf([1, 2, 3], 6, p), (np.array([0.2, 0.3, 0.5]),))
    np.testing.assert_allclose(stats.multivariate_normal.entropy([0, 0], S).value, scipy.stats.multivariate_normal.entropy([0, 0], S), rtol=1e-14)


def test_dirichlet_and_multinomial():
    a = np.array([1.2, 2.0, 0.7])
    for x in ([0.3, 0.3, 0.4], [[0.1, 0.2], [0.5, 0.3], [0.4, 0.5]], [0.3, 0.3]):
        np.testing.assert_allclose(stats.dirichlet.logpdf(x, a).value, scipy.stats.dirichlet.logpdf(x, a), rtol=1e-13)
    for method in ("mean", "var", "entropy"):
        np.testing.assert_allclose(getattr(stats.dirichlet(a), method)().value, getattr(scipy.stats.dirichlet, method)(a), rtol=1e-13)
    counts = np.array([[1, 2, 3], [2, 2, 2], [1, 1, 1], [-1, 4, 3]])
    np.testing.assert_allclose(stats.multinomial.pmf(counts, 6, [0.2, 0.3, 0.5]).value, scipy.stats.multinomial.pmf(counts, 6, [0.2, 0.3, 0.5]), rtol=1e-13)


def test_random_values_are_scipys():
    for ours, theirs in ((stats.norm, scipy.stats.norm), (stats.norm(1.0, 2.0), scipy.stats.norm(1.0, 2.0)), (stats.multivariate_normal([0.0, 1.0], S), scipy.stats.multivariate_normal([0.0, 1.0], S)),
                         (stats.dirichlet([1.0, 2.0]), scipy.stats.dirichlet([1.0, 2.0])), (stats.multinomial(5, [0.2, 0.8]), scipy.stats.multinomial(5, [0.2, 0.8]))):
        assert ours.rvs(size=3, random_state=0).tolist() == theirs.rvs(size=3, random_state=0).tolist()
    assert stats.gamma.rvs(lg.tensor(2.0), size=2, random_state=1).shape == (2,)


B = rng.random((4, 5)) + 0.1
SUMMARIES = [("skew", {}), ("skew", {"bias": False, "axis": 1}), ("kurtosis", {}), ("kurtosis", {"bias": False, "fisher": False}), ("moment", {"order": 3, "axis": 1}), ("moment", {}), ("moment", {"order": 2, "center": 0.5}),
             ("zscore", {"ddof": 1}), ("sem", {}), ("variation", {"axis": 1}), ("gmean", {}), ("gmean", {"axis": 1, "weights": B[0]}), ("hmean", {"axis": None}), ("iqr", {}), ("iqr", {"axis": 0, "rng": (10, 80)}),
             ("entropy", {"axis": 1}), ("entropy", {"base": 2}), ("entropy", {"qk": B[::-1]})]


@pytest.mark.parametrize("name,options", SUMMARIES, ids=range(len(SUMMARIES)))
def test_summaries(name, options):
    got, want = getattr(stats, name)(B, **options), getattr(scipy.stats, name)(B, **options)
    assert got.dtype == np.float64 and got.shape == np.shape(want)
    np.testing.assert_allclose(got.value, want, rtol=1e-12, atol=1e-14)
    check_grads(lambda x: getattr(stats, name)(x, **options), (B,), order=1)


def test_correlation():
    got, want = stats.pearsonr(B[0], B[1]), scipy.stats.pearsonr(B[0], B[1])
    np.testing.assert_allclose([got.statistic.item(), got.pvalue.item()], [want.statistic, want.pvalue], rtol=1e-12)
    assert stats.pearsonr([1.0, 2.0], [2.0, 5.0]).pvalue.item() == 1.0
    check_grads(lambda x, y: stats.pearsonr(x, y), (B[0], B[1]), order=1)


def test_on_the_gpu():
    x = lg.Graph(device=device()).tensor(np.abs(X[:6]).astype(np.float32))
    for got, want in ((stats.norm.logpdf(x, 0.5, 2.0), scipy.stats.norm.logpdf(x.value, 0.5, 2.0)), (stats.gamma.cdf(x, 2.3), scipy.stats.gamma.cdf(x.value, 2.3)), (stats.t.cdf(x, 3.3), scipy.stats.t.cdf(x.value, 3.3)),
                      (stats.skew(x), scipy.stats.skew(x.value))):
        assert got.device is x.device
        np.testing.assert_allclose(got.value, want, rtol=1e-4)


def test_every_family_says_what_it_is():
    for name in stats.__all__:
        found = getattr(stats, name)
        assert found.__doc__ and (callable(found) or name in repr(found))
    assert repr(stats.norm) == "<lazygrad.scipy.stats.norm>" and "shape parameters: dfn, dfd" in stats.f.__doc__


ERRORS = [
    (lambda: stats.gamma.pdf(1.0), TypeError, "a is missing; the parameters are a, loc, scale"), (lambda: stats.norm.pdf(1.0, 0, 1, 2), TypeError, "they are too many"), (lambda: stats.norm.pdf(1.0, sale=2), TypeError, "no such parameter"),
    (lambda: stats.norm.pdf(1.0, 0, loc=2), TypeError, "given twice"), (lambda: stats.nbinom.entropy(2.0, 0.3), TypeError, "no closed form"), (lambda: stats.norm.pdf([1.0, 2.0], [1.0, 2.0, 3.0]), ValueError, "do not broadcast"),
    (lambda: stats.multivariate_normal.logpdf([1.0, 2.0, 3.0], None, S), ValueError, "components"), (lambda: stats.multivariate_normal.logpdf([1.0, 2.0], [1.0, 2.0, 3.0], S), ValueError, "do not fit"),
    (lambda: stats.multivariate_normal.logpdf([1.0, 2.0], None, -S).value, np.linalg.LinAlgError, "positive"), (lambda: stats.dirichlet.logpdf([0.2, 0.8], [1.0]), ValueError, "do not fit"), (lambda: stats.pearsonr([1.0], [2.0]), ValueError, "two samples"),
    (lambda: stats.entropy([0.5, 0.5], base=-2), ValueError, "base is positive"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
