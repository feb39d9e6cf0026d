"""Airy, elliptic, hypergeometric and other integrals, polynomials, distribution functions: values against SciPy, derivatives against digits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special

import lazygrad as lg
from lazygrad.prims import elliptic

F = lg.special
INF, NAN = np.inf, np.nan
REAL = np.array([-30.0, -4.2, -0.7, -1e-9, 0.0, 0.3, 1.0, 2.9, 17.0, INF, NAN])
POSITIVE = np.array([0.0, 1e-7, 0.4, 1.0, 2.3, 30.0, NAN])
COUNTS = np.array([0.0, 1.0, 2.0, 3.5, 7.0])


def close(got, want, rtol=4e-15):
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol, atol=1e-300)


@pytest.mark.parametrize("name", ["airy", "sici", "shichi", "fresnel"])
def test_functions_with_several_results_are_scipys(name):
    with np.errstate(all="ignore"):
        want = getattr(scipy.special, name)(REAL)
    got = getattr(F, name)(lg.asarray(REAL))
    assert len(got) == len(want) and all(isinstance(g, lg.Tensor) for g in got)
    for g, w in zip(got, want, strict=True):
        close(g, w)
    assert all(g.dtype == "float32" for g in getattr(F, name)(lg.asarray([1.0])))
    assert isinstance(getattr(scipy.special, name)(lg.asarray(REAL))[0], lg.Tensor)          # SciPy's own function stays lazy


UNARY = {"zetac": np.array([1.5, 2.0, 30.0]), "spence": POSITIVE, "ellipk": np.array([-INF, -50.0, -0.1, 0.0, 0.5, 0.999, 1.0, 2.0, NAN]), "ellipkm1": POSITIVE, "wrightomega": REAL[:-2],
         "ellipe": np.array([-50.0, -0.1, 0.0, 0.5, 0.999, 1.0, 2.0, NAN]), "cosm1": np.array([-3.0, 1e-9, 0.0, 1.0]), "exp10": np.array([-300.0, -0.3, 0.0, 5.5]),
         "factorial": np.array([-1.5, 0.0, 1.0, 4.5, 20.0, 170.0])}
BINARY = {"owens_t": (REAL[:-2], REAL[:-2]), "struve": (COUNTS, POSITIVE[1:]), "modstruve": (COUNTS, POSITIVE[1:]), "hyp0f1": (COUNTS[1:], REAL[:-2]),
          "ellipkinc": (np.array([-4.0, 0.0, 0.3, 1.5, 10.0]), np.array([-5.0, 0.0, 0.4, 0.99])), "ellipeinc": (np.array([-4.0, 0.0, 0.3, 10.0]), np.array([-5.0, 0.0, 0.99])),
          "agm": (POSITIVE[1:-1], POSITIVE[1:-1]), "chdtr": (COUNTS[1:], POSITIVE), "chdtrc": (COUNTS[1:], POSITIVE), "pdtr": (COUNTS, POSITIVE), "pdtrc": (COUNTS, POSITIVE),
          "stdtr": (np.array([0.3, 1.0, 5.0, 200.0]), REAL[1:9]), "binom": (np.array([2.5, 5.0, 30.0]), np.array([0.0, 1.5, 2.0])), "comb": (COUNTS, COUNTS), "perm": (COUNTS, COUNTS),
          "boxcox1p": (np.array([-0.5, 0.0, 1e-9, 3.0]), np.array([-1.5, 0.0, 1e-9, 0.7])), "inv_boxcox": (np.array([-0.5, 0.0, 1e-9, 0.6]), np.array([-1.5, 0.0, 1e-9, 0.7])),
          "inv_boxcox1p": (np.array([-0.5, 0.0, 1e-9, 0.6]), np.array([-1.5, 0.0, 1e-9, 0.7])), "stdtrit": (np.array([0.7, 3.0, 40.0]), np.array([1e-4, 0.4, 0.5, 0.99])),
          "jvp": (COUNTS, np.array([0.3, 2.0, 30.0])), "yvp": (COUNTS, np.array([0.3, 2.0, 30.0])), "ivp": (COUNTS, np.array([0.3, 2.0, 30.0])),
          "kvp": (COUNTS, np.array([0.3, 2.0, 30.0])), "jve": (COUNTS, POSITIVE), "kn": (np.array([0.0, 2.0]), POSITIVE),
          "chdtri": (COUNTS[1:], np.array([0.01, 0.5, 1.0])), "powm1": (np.array([1e-5, 0.6, 1.0, 1.0 + 1e-9, 1.7, 40.0]), np.array([-2.5, -1e-9, 0.0, 1e-7, 1.0, 7.3]))}
SEVERAL = {"betainccinv": ([0.5, 3.0], [1.0, 4.0], [0.01, 0.5, 0.9]), "gdtrix": ([0.5, 2.0], [0.7, 3.0], [0.01, 0.5, 0.9]), "fdtri": ([1.0, 4.5], [2.0, 30.0], [0.01, 0.5, 0.99]),
           "voigt_profile": (REAL[:-2], [0.1, 2.0], [0.0, 0.3, 5.0]), "hyp1f1": ([0.5, 2.0], [1.5, 3.0], REAL[1:8]), "hyperu": ([0.5, 2.0], [1.5, 3.0], [0.1, 2.0, 30.0]),
           "hyp2f1": ([0.5, 2.0], [1.5], [0.7, 3.0], [-3.0, -0.3, 0.0, 0.8]), "gdtr": ([0.5, 2.0], COUNTS[1:], POSITIVE), "gdtrc": ([0.5, 2.0], COUNTS[1:], POSITIVE),
           "fdtr": ([1.0, 4.5], [2.0, 30.0], POSITIVE), "fdtrc": ([1.0, 4.5], [2.0, 30.0], POSITIVE), "bdtr": ([0.0, 2.0, 5.0], [5.0, 9.0], [0.0, 0.2, 0.9, 1.0]),
           "bdtrc": ([0.0, 2.0, 5.0], [5.0, 9.0], [0.0, 0.2, 0.9, 1.0]), "nbdtr": ([0.0, 3.0], [2.0, 5.0], [0.1, 0.7]), "nbdtrc": ([0.0, 3.0], [2.0, 5.0], [0.1, 0.7])}
# where SciPy's own digits are fewer: its F functions round the argument of the incomplete beta function, poch and binom multiply in another order
LOOSE = {"stdtrit": 1e-13, "fdtri": 1e-13, "jvp": 1e-13, "yvp": 1e-13, "ivp": 1e-13, "kvp": 1e-13, "zetac": 1e-13, "fdtr": 2e-11, "fdtrc": 2e-11, "perm": 1e-14, "nbdtr": 1e-13, "nbdtrc": 1e-13, "bdtr": 1e-13, "bdtrc": 1e-13, "agm": 1e-14}
CASES = {**{n: (x,) for n, x in UNARY.items()}, **BINARY, **SEVERAL}


@pytest.mark.parametrize("name", CASES)
def test_values_are_scipys(name):
    xs = np.meshgrid(*CASES[name])
    f = getattr(scipy.special, name)
    with np.errstate(all="ignore"):
        for dtype in ("float64", "float32"):
            # integer counts are given as floats to SciPy too, in float64: its float32 loops differ in their last places
            ys = [x.astype(dtype) for x in xs]
            want = f(*[y.astype(float) if name not in ("bdtr", "bdtrc", "nbdtr", "nbdtrc", "kn") or i in ((0, 2) if name != "kn" else (1,)) else y.astype(int) for i, y in enumerate(ys)])
            got = getattr(F, name)(*[lg.asarray(y) for y in ys])
            assert got.dtype == dtype and got.shape == xs[0].shape
            close(got, want.astype(dtype), LOOSE.get(name, 8e-15) if dtype == "float64" else 2e-6)


def test_lambert_w_is_real_for_real_arguments():
    x = np.array([-1 / np.e, -0.3, -1e-9, 0.0, 1e-9, 1.0, 1e10, INF, -0.5, NAN])
    for k in (0, -1):
        want = scipy.special.lambertw(x, k)
        got = F.lambertw(lg.asarray(x), k)
        real = np.where(np.abs(want.imag) == 0, want.real, NAN)
        assert got.dtype == "float64"
        np.testing.assert_allclose(np.asarray(got)[1:], real[1:], rtol=1e-14)
        np.testing.assert_allclose(np.asarray(got)[0], -1, atol=1e-7)                             # the branch point: sqrt(eps) of the argument
    z = np.array([0.3 + 1j, -2.0 + 0.1j])
    close(F.lambertw(lg.asarray(z), 1), scipy.special.lambertw(z, 1))
    assert F.lambertw(lg.asarray(z.astype(np.complex64))).dtype == "complex64"
    assert np.isnan(F.lambertw(lg.asarray(1.0), 2).item())


def test_wofz_is_complex_for_real_arguments():
    close(F.wofz(lg.asarray(REAL[1:8])), scipy.special.wofz(REAL[1:8]))
    assert F.wofz(lg.asarray([1.0])).dtype == "complex64"


@pytest.mark.parametrize(("name", "parameters"), [("legendre", ()), ("chebyt", ()), ("chebyu", ()), ("hermite", ()), ("hermitenorm", ()), ("laguerre", ()),
                                                  ("genlaguerre", (0.5,)), ("gegenbauer", (0.7,)), ("jacobi", (0.5, -0.3))])
def test_polynomials_are_scipys(name, parameters):
    x = np.linspace(-1, 1, 9)
    f, g = getattr(F, f"eval_{name}"), getattr(scipy.special, f"eval_{name}")
    for n in (0, 1, 2, 9):
        np.testing.assert_allclose(np.asarray(f(n, *parameters, lg.asarray(x))), g(n, *parameters, x), rtol=1e-13, atol=1e-15)
    with pytest.raises(TypeError, match="a degree is 0 or more"):
        f(-1, *parameters, lg.asarray(x))


# ---- derivatives ----------------------------------------------------------------------------------------------------------------

def slopes(f, x):
    """First and second derivative of a function of one argument."""
    t = lg.tensor(np.asarray(x, float))
    (g,) = f(t).sum().gradient(t)
    (gg,) = g.sum().gradient(t)
    return np.asarray(g), np.asarray(gg)


def digits(f, x, k):
    with mp.workdps(40):
        return np.array([float(mp.diff(f, mp.mpf(v), k).real) for v in x])


# ours, multiprecision's, where, rtol: holes and seams of the rules among them
DERIVED = {
    "airy": (lambda x: F.airy(x)[0] + F.airy(x)[3], lambda x: mp.airyai(x) + mp.airybi(x, derivative=1), [-9.0, -1.0, 0.0, 2.0], 1e-12),
    "sici": (lambda x: F.sici(x)[0], mp.si, [-3.0, 0.0, 1e-5, 0.7, 12.0], 1e-12), "ci": (lambda x: F.sici(x)[1], mp.ci, [0.1, 0.7, 12.0], 1e-12),
    "shichi": (lambda x: F.shichi(x)[0], mp.shi, [-3.0, 0.0, 1e-5, 0.7, 12.0], 1e-12), "chi": (lambda x: F.shichi(x)[1], mp.chi, [0.1, 0.7, 12.0], 1e-12),
    "fresnel": (lambda x: F.fresnel(x)[0] - F.fresnel(x)[1], lambda x: mp.fresnels(x) - mp.fresnelc(x), [-2.0, 0.0, 0.4, 3.0], 1e-12),
    "spence": (F.spence, lambda x: mp.polylog(2, 1 - x), [0.05, 0.5, 0.89, 0.91, 1.000001, 1.09, 1.11, 4.0], 1e-11),
    "owens_t h": (lambda x: F.owens_t(x, 0.7), lambda h: mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, mp.mpf("0.7")]) / (2 * mp.pi), [0.0, 0.6, 2.0], 1e-10),
    "owens_t a": (lambda x: F.owens_t(0.7, x), lambda a: mp.quad(lambda t: mp.exp(-mp.mpf("0.49") * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * mp.pi), [0.0, 0.6, 2.0], 1e-10),
    "lambertw": (F.lambertw, mp.lambertw, [-0.3, 0.0, 0.8, 50.0], 1e-12), "lambertw -1": (lambda x: F.lambertw(x, -1), lambda x: mp.lambertw(x, -1), [-0.3, -0.01], 1e-11),
    "wrightomega": (F.wrightomega, lambda x: mp.lambertw(mp.exp(x)), [-5.0, 0.0, 7.0], 1e-12),
    "struve": (lambda x: F.struve(1.5, x), lambda x: mp.struveh(1.5, x), [0.3, 2.0, 8.0], 1e-11),
    "modstruve": (lambda x: F.modstruve(0.5, x), lambda x: mp.struvel(0.5, x), [0.3, 2.0, 8.0], 1e-11),
    "hyp0f1": (lambda x: F.hyp0f1(1.5, x), lambda x: mp.hyp0f1(1.5, x), [-3.0, 0.0, 2.0], 1e-12), "hyp1f1": (lambda x: F.hyp1f1(0.5, 1.5, x), lambda x: mp.hyp1f1(0.5, 1.5, x), [-3.0, 0.0, 2.0], 1e-12),
    "hyperu": (lambda x: F.hyperu(0.5, 1.25, x), lambda x: mp.hyperu(0.5, 1.25, x), [0.4, 2.0, 9.0], 1e-10),
    "hyp2f1": (lambda x: F.hyp2f1(0.5, 1.5, 2.25, x), lambda x: mp.hyp2f1(0.5, 1.5, 2.25, x), [-2.0, 0.6], 1e-11),
    "agm": (lambda x: F.agm(x, 2.0), lambda x: mp.agm(x, 2), [0.1, 1.0, 2.0, 2.0001, 30.0], 1e-11), "cosm1": (F.cosm1, mp.cos, [-2.0, 0.0, 1e-6], 1e-13),
    "powm1": (lambda x: F.powm1(x, 1.7), lambda x: x**mp.mpf(1.7), [0.2, 0.49, 0.51, 1.0, 1.2, 9.0], 1e-12),
    "boxcox1p l": (lambda l: F.boxcox1p(1.7, l), lambda l: (mp.mpf(2.7) ** l - 1) / l if l else mp.log(2.7), [-2.0, -0.2, 0.3], 1e-11),
    "inv_boxcox l": (lambda l: F.inv_boxcox(0.4, l), lambda l: (1 + mp.mpf(0.4) * l) ** (1 / l), [-1.0, 0.2, 0.3, 2.0], 1e-11), "zetac": (F.zetac, mp.zeta, [1.5, 4.0], 1e-11),
    "exp10": (F.exp10, lambda x: mp.mpf(10) ** x, [-2.0, 0.3], 1e-13), "factorial": (F.factorial, mp.factorial, [0.0, 2.5], 1e-12),
    "binom": (lambda x: F.binom(5.5, x), lambda x: mp.binomial(5.5, x), [0.3, 2.0, 4.4], 1e-11), "perm": (lambda x: F.perm(x, 2.0), lambda x: x * (x - 1), [3.5, 9.0], 1e-11),
    "comb": (lambda x: F.comb(x, 2.0), lambda x: x * (x - 1) / 2, [3.5, 9.0], 1e-11), "chdtr df": (lambda v: F.chdtr(v, 2.5), lambda v: mp.gammainc(v / 2, 0, 1.25, regularized=True), [0.7, 4.0], 1e-11),
    "pdtr": (lambda m: F.pdtr(3, m), lambda m: mp.gammainc(4, m, regularized=True), [0.5, 6.0], 1e-12), "bdtr": (lambda p: F.bdtr(2, 7, p), lambda p: mp.betainc(5, 3, 0, 1 - p, regularized=True), [0.1, 0.8], 1e-12),
    "gdtr": (lambda a: F.gdtr(a, 2.0, 1.5), lambda a: mp.gammainc(2, 0, 1.5 * a, regularized=True), [0.5, 3.0], 1e-12),
}


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_have_their_digits(name):
    ours, exact, x, rtol = DERIVED[name]
    g, gg = slopes(ours, x)
    first, second = digits(exact, x, 1), digits(exact, x, 2)
    np.testing.assert_allclose(g, first, rtol=rtol, atol=rtol * np.abs(first).max() * 1e-3)
    np.testing.assert_allclose(gg, second, rtol=30 * rtol, atol=rtol * np.abs(second).max())


def test_hankel_functions_and_higher_derivatives():
    v, x = np.meshgrid([0.0, 1.5], [0.4, 3.0, 20.0])
    close(F.hankel1(lg.asarray(v), lg.asarray(x)), scipy.special.hankel1(v, x), 1e-13)
    close(F.hankel2(lg.asarray(v), lg.asarray(x)), scipy.special.hankel2(v, x), 1e-13)
    for name in ("jvp", "yvp", "ivp", "kvp"):
        for n in (0, 2, 3):
            close(getattr(F, name)(lg.asarray(v), lg.asarray(x), n), getattr(scipy.special, name)(v, x, n), 1e-12)
    with pytest.raises(TypeError, match="0 or more"):
        F.jvp(1.0, lg.asarray(1.0), -1)


def test_inverses_undo_their_functions_and_so_do_their_derivatives():
    for df in (0.8, 4.0, 60.0):
        for p in (1e-3, 0.3, 0.5, 0.98):
            n, q = lg.tensor(np.float64(df)), lg.tensor(np.float64(p))
            t = F.stdtrit(n, q)
            assert abs(F.stdtr(n, t).item() / p - 1) < 1e-12
            dn, dq = F.stdtr(n, t).gradient(n, q)                       # of p itself: 0 and 1
            assert abs(dn.item()) < 1e-12 and abs(dq.item() - 1) < 1e-12
    a, b, y = lg.tensor(np.float64(1.3)), lg.tensor(np.float64(0.6)), lg.tensor(np.float64(0.2))
    found = F.betaincc(a, b, F.betainccinv(a, b, y)).gradient(a, b, y)
    np.testing.assert_allclose([g.item() for g in found], [0, 0, 1], atol=1e-12)
    found = F.fdtr(a, b, F.fdtri(a, b, y)).gradient(a, b, y)
    np.testing.assert_allclose([g.item() for g in found], [0, 0, 1], atol=1e-12)


def student(n, t):
    return mp.quad(lambda u: (1 + u * u / n) ** (-(n + 1) / 2), [-mp.inf, 0, t]) * mp.gamma((n + 1) / 2) / (mp.sqrt(n * mp.pi) * mp.gamma(n / 2))


def test_students_distribution_moves_with_its_degrees_and_its_argument():
    for n, t in ((0.7, -3.0), (3.0, -0.2), (3.0, 0.0), (5.0, 1.3), (2.0, 8.0)):
        df, x = lg.tensor(np.float64(n)), lg.tensor(np.float64(t))
        found = F.stdtr(df, x).gradient(df, x)
        with mp.workdps(30):
            want = [float(mp.diff(student, (mp.mpf(n), mp.mpf(t)), orders)) for orders in ((1, 0), (0, 1))]
        np.testing.assert_allclose([g.item() for g in found], want, rtol=1e-10, atol=1e-14)
        again = found[0].gradient(df)[0].item()
        h = 1e-3
        around = [student(n + d * h, mp.mpf(t)) for d in (-2, -1, 0, 1, 2)]
        second = float((-around[0] + 16 * around[1] - 30 * around[2] + 16 * around[3] - around[4]) / (12 * h * h))
        assert abs(again - second) < 1e-9


@pytest.mark.parametrize("k", [1, 2])
def test_elliptic_integrals_by_their_parameter_up_to_the_singularity(k):
    m = np.array([-1e6, -3.0, -1e-9, 0.0, 0.4, 0.999, 1 - 1e-9])
    for name, f in (("ellipk", mp.ellipk), ("ellipe", mp.ellipe)):
        np.testing.assert_allclose(getattr(elliptic, name).numpy(m, k=k), digits(f, m, k), rtol=1e-12)
    p = np.array([1e-6, 0.3, 40.0])
    want = [float(mp.diff(lambda q: mp.ellipk(1 - q), mp.mpf(v), k, h=mp.mpf(v) * mp.mpf(10) ** -8)) for v in p]
    np.testing.assert_allclose(elliptic.ellipkm1.numpy(p, k=k), want, rtol=1e-10)
    tiny = elliptic.ellipkm1.numpy(np.array([1e-100]), k=k)[0]                        # K(1 - p) = log(16 / p) / 2 there
    np.testing.assert_allclose(tiny, (-0.5e100, 0.5e200)[k - 1], rtol=1e-12)
    for phi in (-1.2, 0.3, np.pi / 2, 7.0):
        for name, f in (("ellipkinc", mp.ellipf), ("ellipeinc", mp.ellipe)):
            x = m[1:-1]
            np.testing.assert_allclose(getattr(elliptic, name).numpy(np.full(len(x), phi), x, k=k), digits(lambda q, f=f, phi=phi: f(mp.mpf(phi), q), x, k), rtol=1e-11)


@pytest.mark.parametrize("call", [
    lambda p: F.hyp1f1(p, 1.0, 0.5), lambda p: F.hyp1f1(1.0, p, 0.5), lambda p: F.hyp2f1(1.0, 1.0, p, 0.5), lambda p: F.hyperu(p, 1.0, 0.5),
    lambda p: F.hyp0f1(p, 0.5), lambda p: F.struve(p, 0.5), lambda p: F.modstruve(p, 0.5)], ids=range(7))
def test_parameters_without_a_derivative_say_so_when_it_is_asked_for(call):
    p = lg.tensor(np.float64(1.5))
    y = call(p)
    assert np.isfinite(y.item())
    for ask in (lambda: y.gradient(p), y.backward, lambda: lg.grad(call)(1.5)):
        with pytest.raises(lg.errors.GradientError, match=r"through lazygrad\.stop_gradient") as caught:
            ask()
        assert any("test_special_integrals.py" in note for note in caught.value.__notes__)
    x = lg.tensor(np.float64(0.3))
    (F.hyp1f1(lg.stop_gradient(p), 2.0, x) * x).backward()
    assert np.isfinite(x.grad.item()) and p.grad is None
