"""lazygrad.special against SciPy and mpmath: values on the whole domain, derivatives by every argument, edges, protocols."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special

import lazygrad as lg
from lazygrad import reference
from lazygrad.ad import jvp, vjp
from lazygrad.ir.aval import aval
from lazygrad.prims import REGISTRY, bessel, incomplete, special
from lazygrad.prims.leaf import leaf, like

rng = np.random.default_rng(11)
F = lg.special
INF, NAN = np.inf, np.nan

REAL = np.array([-30.0, -5.5, -1.25, -1e-3, -0.0, 0.0, 1e-8, 0.3, 1.0, 2.5, 7.0, 40.0, INF, -INF, NAN])
POSITIVE = np.array([0.0, 1e-10, 0.2, 1.0, 1.5, 4.0, 12.0, 60.0, INF, NAN])
UNIT = np.array([0.0, 1e-12, 0.1, 0.4999, 0.5, 0.8, 0.999, 1.0, NAN])

UNARY = {
    REAL.tobytes(): (REAL, "erfcx erfi dawsn ndtr log_ndtr gamma rgamma gammasgn expi j0 j1 i0 i1 i0e i1e erf erfc gammaln digamma psi expit log_expit expm1 exp2 cbrt "
                           "softplus"),
    POSITIVE.tobytes(): (POSITIVE, "exp1 y0 y1 k0 k1 k0e k1e entr log1p"),
    UNIT.tobytes(): (UNIT, "ndtri erfcinv erfinv logit"),
}
NAMES = [(name, x) for x, names in UNARY.values() for name in names.split()]
MENDED = ["erfcx", "erfi", "dawsn", "ndtr", "log_ndtr", "expi", "j0", "j1", "y0", "y1"]       # more exact than SciPy's: test_special_accuracy.py


@pytest.mark.parametrize(("name", "x"), NAMES, ids=[n for n, _ in NAMES])
def test_functions_of_one_argument_are_scipys(name, x):
    f = getattr(scipy.special, name)
    with np.errstate(all="ignore"):
        for dtype in ("float64", "float32"):
            a = x.astype(dtype)
            got = getattr(F, name)(lg.asarray(a))
            assert got.dtype == dtype
            # composites and native code differ by some units in the last place
            rtol = 1e-12 if name in MENDED and dtype == "float64" else 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(np.asarray(got), f(a), rtol=rtol, atol=8 * np.finfo(dtype).tiny)


@pytest.mark.parametrize("name", ["beta", "betaln", "poch", "jv", "yv", "iv", "kv", "ive", "kve", "gammainc", "gammaincc", "xlog1py", "rel_entr", "kl_div",
                                  "huber", "pseudo_huber", "boxcox"])
def test_functions_of_two_arguments_are_scipys(name):
    x, y = np.meshgrid([0.0, 0.3, 1.0, 2.0, 5.5, 30.0, NAN], [0.0, 1e-3, 0.7, 1.0, 3.0, 29.0, NAN])
    if name in ("rel_entr", "kl_div", "huber", "pseudo_huber"):
        x, y = np.concatenate([x, x, -x]), np.concatenate([y, -y, y])
    with np.errstate(all="ignore"):
        want = getattr(scipy.special, name)(x, y)
    rtol = 2e-13 if name == "kl_div" else 2e-14          # SciPy lets the terms of kl_div cancel; that is tested against mpmath
    np.testing.assert_allclose(np.asarray(getattr(F, name)(lg.asarray(x), lg.asarray(y))), want, rtol=rtol, atol=1e-300)
    column = lg.asarray(y[:, :1])
    got = getattr(F, name)(lg.asarray(x[:1]), column)
    assert got.shape == (len(y), x.shape[1])
    assert getattr(F, name)(lg.asarray(np.float32([0.5])), 0.5).dtype == np.float32


def test_relative_entropy_of_numbers_whose_quotient_leaves_the_range():
    x, y = np.array([1e300, 1e-300, 1.0, 1.0]), np.array([1e-300, 1e300, 1.0 + 1e-15, 2.5])
    np.testing.assert_allclose(np.asarray(F.rel_entr(lg.asarray(x), lg.asarray(y))), scipy.special.rel_entr(x, y), rtol=4e-16)


def test_divergence_of_numbers_close_to_each_other_keeps_its_digits():
    x, y = np.array([30.0, 1.0, 2.0, 5.5, 0.3]), np.array([29.0, 1.0 + 1e-9, 1.7, 5.0, 0.34])
    with mpmath.workdps(40):
        want = [float(mpmath.mpf(u) * mpmath.log(mpmath.mpf(u) / mpmath.mpf(v)) - u + mpmath.mpf(v)) for u, v in zip(x, y, strict=True)]
    np.testing.assert_allclose(np.asarray(F.kl_div(lg.asarray(x), lg.asarray(y))), want, rtol=4e-15)


def test_functions_of_several_arguments_are_scipys():
    a, b, x = [v.ravel() for v in np.meshgrid([0.2, 1.0, 3.0, 40.0], [0.5, 1.0, 9.0], [0.0, 1e-6, 0.2, 0.5, 0.97, 1.0, NAN])]
    np.testing.assert_allclose(np.asarray(F.betainc(lg.asarray(a), lg.asarray(b), lg.asarray(x))), scipy.special.betainc(a, b, x), rtol=1e-14)
    np.testing.assert_allclose(np.asarray(F.betaincc(lg.asarray(a), lg.asarray(b), lg.asarray(x))), scipy.special.betaincc(a, b, x), rtol=1e-9, atol=1e-15)
    s, q = np.meshgrid([1.1, 2.0, 7.5, 60.0], [0.1, 1.0, 12.0])
    np.testing.assert_allclose(np.asarray(F.zeta(lg.asarray(s), lg.asarray(q))), scipy.special.zeta(s, q), rtol=1e-14)
    np.testing.assert_allclose(np.asarray(F.zeta(lg.asarray(s))), scipy.special.zeta(s), rtol=1e-14)
    z = np.array([0.1, 1.0, 7.5])
    for n in (0, 1, 4):
        np.testing.assert_allclose(np.asarray(F.polygamma(n, lg.asarray(z))), scipy.special.polygamma(n, z), rtol=1e-14)
        for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"):
            for derivative in (False, True):
                np.testing.assert_allclose(np.asarray(getattr(F, name)(n, lg.asarray(z), derivative)), getattr(scipy.special, name)(n, z, derivative), rtol=1e-12)
    for d in (1, 3):
        np.testing.assert_allclose(np.asarray(F.multigammaln(lg.asarray(z + 1), d)), scipy.special.multigammaln(z + 1, d), rtol=1e-14)
        np.testing.assert_allclose(np.asarray(F.expn(d, lg.asarray(z))), scipy.special.expn(d, z), rtol=1e-14)
    p = np.array([0.1, 0.5, 0.99])
    for name in ("gammaincinv", "gammainccinv"):
        np.testing.assert_allclose(np.asarray(getattr(F, name)(lg.asarray(z), lg.asarray(p))), getattr(scipy.special, name)(z, p), rtol=1e-14)
    np.testing.assert_allclose(np.asarray(F.betaincinv(lg.asarray(z), 2.0, lg.asarray(p))), scipy.special.betaincinv(z, 2.0, p), rtol=1e-14)
    r = np.array([-3.0, -0.2, 0.0, 1e-9, 0.2, 0.3, 50.0])
    np.testing.assert_allclose(np.asarray(F.exprel(lg.asarray(r))), scipy.special.exprel(r), rtol=1e-15)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_functions_over_axes_are_scipys(axis):
    x, b = rng.normal(size=(2, 3)) * 50, rng.uniform(0, 2, (2, 3))
    b[0, 0] = 0
    for keepdims in (False, True):
        np.testing.assert_allclose(np.asarray(F.logsumexp(lg.asarray(x), axis, keepdims=keepdims)), scipy.special.logsumexp(x, axis, keepdims=keepdims), rtol=1e-14)
        np.testing.assert_allclose(np.asarray(F.logsumexp(lg.asarray(x), axis, lg.asarray(b), keepdims)), scipy.special.logsumexp(x, axis, b, keepdims), rtol=1e-14)
    np.testing.assert_allclose(np.asarray(F.softmax(lg.asarray(x), axis)), scipy.special.softmax(x, axis), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(F.log_softmax(lg.asarray(x), axis)), scipy.special.log_softmax(x, axis), rtol=1e-13, atol=1e-15)


# ---- derivatives by parameters, against multiprecision -----------------------------------------------------------------------

def by_digits(f, orders, point):
    with mpmath.workdps(50):
        return float(mpmath.diff(f, tuple(map(mpmath.mpf, point)), orders))


GAMMA_POINTS = [(a, x) for a in (0.05, 0.7, 1.0, 3.5, 40.0) for x in (1e-3, 0.6, 1.9, 4.4, 39.0, 48.0)]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_incomplete_gamma_by_its_parameter(k):
    a, x = np.array(GAMMA_POINTS).T
    got = incomplete.gammainc.numpy(a, x, k=k)
    want = np.array([by_digits(lambda p, y: mpmath.gammainc(p, 0, y, regularized=True), (k, 0), q) for q in GAMMA_POINTS])
    # relative to the largest of what is added up: the density times a power of log x
    np.testing.assert_allclose(got, want, rtol=3e-12, atol=1e-15)
    small = incomplete.gammainc.numpy(a.astype(np.float32), x.astype(np.float32), k=k)
    assert small.dtype == np.float32


def test_incomplete_gamma_of_large_parameters():
    for a, x in ((1e3, 990.0), (1e3, 1010.0), (3e4, 3e4 + 200)):
        d = 1e-3 * np.sqrt(a)
        want = (scipy.special.gammainc(a + d, x) - scipy.special.gammainc(a - d, x)) / (2 * d)
        np.testing.assert_allclose(incomplete.gammainc.numpy(np.array(a), np.array(x), k=1), want, rtol=1e-5)


def test_incomplete_gamma_at_edges():
    a = np.array([0.0, 0.0, 1.0, 2.0, 2.0, -1.0, NAN, 2.0, INF, 2.0])
    x = np.array([1.0, 0.0, 0.0, 0.0, INF, 1.0, 1.0, -1.0, 1.0, NAN])
    got = incomplete.gammainc.numpy(a, x, k=1)
    np.testing.assert_allclose(got[0], -scipy.special.exp1(1.0), rtol=1e-14)              # dP/da at a = 0 is -E₁(x)
    assert np.array_equal(got[1:], [0, 0, 0, 0, NAN, NAN, NAN, NAN, NAN], equal_nan=True)
    t = lg.tensor([1.0, 2.0, 0.5])
    lg.special.gammainc(t, lg.asarray([0.0, 0.0, 0.0])).sum().backward()
    assert np.array_equal(np.asarray(t.grad), [0, 0, 0])
    y = lg.tensor([0.0, 0.0])
    lg.special.gammainc(lg.asarray([1.0, 3.0]), y).sum().backward()
    assert np.array_equal(np.asarray(y.grad), [1, 0])


BETA_POINTS = [(a, b, x) for a in (0.3, 1.0, 4.0, 30.0) for b in (0.5, 2.0, 20.0) for x in (0.02, 0.4, 0.9)]


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (1, 1), (2, 0)])
def test_incomplete_beta_by_its_parameters(orders):
    a, b, x = np.array(BETA_POINTS).T
    got = incomplete.betainc.numpy(a, b, x, i=orders[0], j=orders[1])
    want = np.array([by_digits(lambda p, q, y: mpmath.betainc(p, q, 0, y, regularized=True), (*orders, 0), v) for v in BETA_POINTS])
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-15)


def test_incomplete_beta_at_edges():
    a, b, x = np.array([1.0, 1.0, 0.0, 1.0, NAN, 2.0]), np.array([2.0, 2.0, 1.0, -1.0, 1.0, 2.0]), np.array([0.0, 1.0, 0.5, 0.5, 0.5, 1.5])
    assert np.array_equal(incomplete.betainc.numpy(a, b, x, i=1, j=0), [0, 0, NAN, NAN, NAN, NAN], equal_nan=True)


@pytest.mark.parametrize("k", [1, 2])
def test_zeta_by_its_exponent(k):
    points = [(s, q) for s in (1.05, 1.5, 3.0, 12.0, 50.0) for q in (0.2, 1.0, 7.0)]
    s, q = np.array(points).T
    want = []
    for u, v in points:
        with mpmath.workdps(40):
            want.append(float(mpmath.zeta(mpmath.mpf(u), mpmath.mpf(v), k)))
    np.testing.assert_allclose(incomplete.zeta.numpy(s, q, k=k), want, rtol=1e-12)
    assert np.array_equal(incomplete.zeta.numpy(np.array([0.5, 2.0, NAN, 2.0]), np.array([1.0, -1.0, 1.0, INF]), k=1), [NAN, NAN, NAN, 0], equal_nan=True)


# ---- derivatives by differences --------------------------------------------------------------------------------------------

def derived(f, x: np.ndarray, h: float) -> None:
    """First and second derivatives of a pointwise f of Terms, in both modes."""
    t = leaf(0, 0, aval(x.shape, x.dtype), True)
    y = f(t)
    (g,), (p,) = vjp([y], [like(y, 1)], [t]), jvp([y], {t: like(t, 1)})
    (gg,) = vjp([g], [like(g, 1)], [t])
    at = lambda root, d: reference.evaluate([root], {t: x + d})[0]
    slope = lambda root: (8 * (at(root, h) - at(root, -h)) - (at(root, 2 * h) - at(root, -2 * h))) / (12 * h)          # error h⁴
    scale = np.maximum(np.abs(at(y, 0)), 1e-300)
    np.testing.assert_allclose(at(g, 0), slope(y), rtol=1e-8, atol=1e-8 * scale.max())
    np.testing.assert_allclose(at(p, 0), at(g, 0), rtol=1e-13)
    np.testing.assert_allclose(at(gg, 0), slope(g), rtol=1e-8, atol=1e-8 * np.abs(at(g, 0)).max())


@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive", "kve"])
def test_bessel_functions_by_their_argument(name):
    x = np.array([0.4, 1.3, 3.7, 9.0])
    for order in (0.0, 1.0, 2.5):
        derived(lambda t, order=order: getattr(bessel, name)(like(t, order), t, k=0), x, 1e-3)


BESSEL = {"jv": mpmath.besselj, "yv": mpmath.bessely, "iv": mpmath.besseli, "kv": mpmath.besselk,
          "ive": lambda v, x: mpmath.exp(-x) * mpmath.besseli(v, x), "kve": lambda v, x: mpmath.exp(x) * mpmath.besselk(v, x)}


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", BESSEL)
def test_bessel_functions_by_their_order(name, k):
    orders, xs = (0.0, 0.3, 1.0, 7.0, 50.0, -2.0, -3.3), (1e-6, 0.1, 1.0, 4.0, 30.0, 500.0)
    v, x = [m.ravel() for m in np.meshgrid(orders, xs)]
    with np.errstate(all="ignore"):
        got = getattr(bessel, name).numpy(v, x, k=k)
    f = BESSEL[name]
    for g, *at in zip(got, v, x, strict=True):
        if tuple(at) == (50, 1e-6):
            assert g == 0 if name in ("jv", "iv", "ive") else not np.isfinite(g)              # beyond the range of float64
            continue
        want = by_digits(f, (k, 0), at)
        # waves pass 0: their size is that of J and Y together
        size = max(abs(want), abs(float(f(*at))), float(abs(mpmath.hankel1(*at))) if name in ("jv", "yv") and at[1] > abs(at[0]) else 0)
        assert abs(g - want) < (1e-10, 1e-9, 1e-8)[k - 1] * size, at


def test_bessel_functions_by_their_order_at_edges():
    v, x = np.array([1.0, 0.5, 0.0, 1.5, NAN, 1.0]), np.array([0.0, 0.0, 0.0, -1.0, 1.0, NAN])
    for name in ("jv", "iv", "ive"):
        with np.errstate(all="ignore"):
            got = getattr(bessel, name).numpy(v, x, k=1)
        assert np.array_equal(got, [0, 0, NAN, NAN, NAN, NAN], equal_nan=True)
    small = bessel.jv.numpy(np.float32([0.5]), np.float32([2.0]), k=1)
    assert small.dtype == np.float32 and abs(small[0] - by_digits(mpmath.besselj, (1, 0), (0.5, 2.0))) < 1e-7


def test_the_fifth_derivative_by_an_order_is_refused_where_it_is_asked_for():
    v, x = lg.tensor(np.float64(0.5)), lg.tensor(np.float64(2.0))
    g = F.jv(v, x)
    for _ in range(4):
        (g,) = g.gradient(v)
    g.gradient(x)                                                       # by the argument there is no end
    fifth = lambda u: F.jv(u, 2.0)
    for _ in range(5):
        fifth = lg.grad(fifth)
    for ask in (lambda: g.gradient(v), lambda: g.backward(), lambda: fifth(np.float64(0.5))):
        with pytest.raises(lg.errors.GradientError, match=r"jv: derivative 5 by the order: .*the first four are there") as caught:
            ask()
        assert any("test_special.py" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("name", ["j0", "j1", "i0", "i1", "i0e", "i1e", "erfcx", "dawsn", "log_ndtr", "ndtr"])
def test_derivatives_far_from_and_at_zero(name):
    x = np.array([-12.0, -3.3, 2.0, 14.0] + ([0.0] if name not in ("i0e", "i1e") else []))
    if name == "erfcx":
        x = np.array([-2.0, 0.0, 2.0, 14.0])
    derived(lambda t: REGISTRY[name](t), x, 1e-3)


def test_reciprocal_of_gamma_is_smooth_at_the_poles_and_where_gamma_overflows():
    derived(special.rgamma, np.array([-2.5, -2.0, -1.0, 0.0, 0.3, 0.5, 0.7, 3.0]), 1e-3)
    x = lg.tensor(np.array([-3.0, 200.0]))
    F.rgamma(x).sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), [-6.0, 0.0], rtol=1e-14)


def test_log_ndtr_keeps_its_derivative_where_everything_underflows():
    x = lg.tensor(np.array([-40.0, -1e3, 0.0, 40.0]))
    F.log_ndtr(x).sum().backward()
    with mpmath.workdps(40):
        want = [float(mpmath.npdf(v) / mpmath.ncdf(v)) for v in (-40, -1000, 0, 40)]
    np.testing.assert_allclose(np.asarray(x.grad), want, rtol=1e-14)


COMPOSITE = {
    "entr": (lambda x: F.entr(x), [0.2, 1.0, 3.0]), "xlog1py": (lambda x: F.xlog1py(x, x * x), [-0.5, 0.3, 2.0]),
    "rel_entr": (lambda x: F.rel_entr(x, x * x + 0.1), [0.1, 0.9, 3.0]), "kl_div": (lambda x: F.kl_div(x * x, x), [0.2, 0.9, 3.0]),
    "multigammaln": (lambda x: F.multigammaln(x, 3), [1.3, 2.0, 5.0]), "exprel": (lambda x: F.exprel(x), [-2.0, -0.1, 0.0, 0.24, 0.26, 3.0]),
    "boxcox": (lambda x: F.boxcox(x, x - 1), [0.4, 1.0, 2.5]), "huber": (lambda x: F.huber(1.0, x), [-3.0, 0.3, 2.0]),
    "pseudo_huber": (lambda x: F.pseudo_huber(x * x + 0.5, x), [-2.0, 0.0, 1.0]), "betaincc": (lambda x: F.betaincc(x * 3, x + 1, x), [0.2, 0.5, 0.9]),
    "gammaincc": (lambda x: F.gammaincc(x * x, x), [0.3, 1.0, 4.0]), "zeta": (lambda x: F.zeta(x + 1, x), [0.3, 1.0, 4.0]),
    "logsumexp": (lambda x: F.logsumexp(x, b=x * x), [0.3, -1.0, 2.0]), "spherical derivative": (lambda x: F.spherical_jn(2, x, True), [0.5, 2.0, 9.0]),
}


@pytest.mark.parametrize("name", COMPOSITE)
def test_gradients_of_composite_functions(name):
    f, x = COMPOSITE[name][0], np.array(COMPOSITE[name][1])
    t = lg.tensor(x)
    (g,) = f(t).sum().gradient(t)
    (gg,) = (g * g).sum().gradient(t)
    h = 1e-5

    def slope(value):
        out = []
        for i in range(len(x)):
            e = np.zeros_like(x)
            e[i] = h
            out.append((value(x + e) - value(x - e)) / (2 * h))
        return np.array(out)

    def squares(a):
        u = lg.tensor(a)
        return float((f(u).sum().gradient(u)[0] ** 2).sum())

    np.testing.assert_allclose(np.asarray(g), slope(lambda a: float(f(lg.tensor(a)).sum())), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(np.asarray(gg), slope(squares), rtol=1e-6, atol=1e-7)


def test_gradients_on_the_border_are_finite():
    x, y = lg.tensor([0.0, 1.0]), lg.tensor([0.0, 0.5])
    (F.rel_entr(x, y) + F.kl_div(x, y)).sum().backward()
    assert np.isfinite(np.asarray(x.grad)).all() and np.isfinite(np.asarray(y.grad)).all()


# ---- names and errors ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["gammaln", "psi", "expit", "erfinv", "ndtr", "j0", "i0e", "entr", "exp1"])
def test_scipys_functions_stay_lazy(name):
    x = np.array([0.3, 0.6])
    t = lg.tensor(x)
    got = getattr(scipy.special, name)(t)
    assert isinstance(got, lg.Tensor)
    np.testing.assert_allclose(np.asarray(got), getattr(scipy.special, name)(x), rtol=1e-14)
    got.sum().backward()
    assert np.isfinite(np.asarray(t.grad)).all()


def test_scipys_functions_of_several_arguments_stay_lazy():
    t = lg.tensor(np.array([0.3, 0.6]))
    for got, want in ((scipy.special.gammainc(t, 1.0), scipy.special.gammainc([0.3, 0.6], 1.0)), (scipy.special.jv(1.0, t), scipy.special.jv(1.0, [0.3, 0.6])),
                      (scipy.special.betainc(2.0, t, t), scipy.special.betainc(2.0, [0.3, 0.6], [0.3, 0.6]))):
        assert isinstance(got, lg.Tensor)
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-14)
    assert all(callable(getattr(F, name)) for name in F.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        F.nothing  # noqa: B018


def test_integers_are_float32_and_complex_numbers_are_refused():
    assert F.gamma(lg.asarray([5])).tolist() == [24.0] and F.gamma(lg.asarray([5])).dtype == np.float32
    assert F.beta(lg.asarray([2]), 1).dtype == np.float32
    for f in (F.gamma, lambda z: F.beta(z, 1.0), lambda z: F.polygamma(1, z), lambda z: F.betainc(z, z, z), F.entr, lambda z: F.spherical_jn(1, z)):
        with pytest.raises(TypeError, match="complex numbers have no order") as caught:
            f(lg.asarray([1j]))
        assert any("test_special.py" in note for note in caught.value.__notes__)
    for f in (lambda: F.polygamma(-1, lg.asarray([1.0])), lambda: F.spherical_jn(-1, lg.asarray([1.0]))):
        with pytest.raises(TypeError, match="0 or more"):
            f()
    with pytest.raises(ValueError, match="one dimension at least"):
        F.multigammaln(lg.asarray([1.0]), 0)
