"""Padding, windows, convolution, running and other calculus of samples, interpolation, polynomials, ranges, against NumPy and SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.integrate
from oracle import case, check_derivatives, check_native, check_on_gpu, check_values, rows, same

import lazygrad as lg

rng = np.random.default_rng(2)
A, B, V, I = rng.normal(size=(3, 5)), rng.normal(size=(2, 3, 4)), rng.normal(size=7), rng.integers(-9, 9, (3, 4))
X = np.sort(rng.normal(size=6))
XP, FP = np.sort(rng.uniform(0, 5, 8)), rng.normal(size=8)
AT = np.concatenate([rng.uniform(-1, 6, 12), XP[:2], [np.nan, np.inf, -np.inf]])
C = rng.normal(size=6) + 1j * rng.normal(size=6)
P, Q = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.5, 1.0, -2.0])
ANGLES = np.array([0.0, 3.0, -3.0, 3.1, 9.5, 2.0, 2.0 + np.pi, 2.0])
WIDTHS = [1, (1, 2), ((1, 0), (0, 2)), ((5, 7), (11, 4))]
MODES = {"constant": [{}, {"constant_values": 2}, {"constant_values": ((1, 2), (3, 4))}], "edge": [{}], "linear_ramp": [{}, {"end_values": (5, -4)}],
         "maximum": [{}, {"stat_length": 2}], "minimum": [{}], "mean": [{}, {"stat_length": ((1, 2), (3, 1))}], "median": [{}], "reflect": [{}, {"reflect_type": "odd"}],
         "symmetric": [{}, {"reflect_type": "odd"}], "wrap": [{}]}


def logcumsumexp(x, axis=None):
    return np.logaddexp.accumulate(x.ravel() if axis is None else x, axis or 0)


def unfold(x, axis, size, step=1):
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, size, axis), axis, 0)[::step].swapaxes(0, 0) if axis == 0 else \
        np.lib.stride_tricks.sliding_window_view(x, size, axis)[:, ::step]


CASES = [
    *[case("pad", x, w, mode, **o) for x in (A, I, A[:1], I[:, :1]) for w in WIDTHS[2:] for mode, options in MODES.items() for o in options],
    *[case("pad", B, 2, mode, order=2, gpu=True, **o) for mode, options in MODES.items() for o in options[:1]], case("pad", A, (1, 2)), case("pad", A, (12,), "reflect"), case("pad", A, 0, "wrap"),
    case("pad", A, ((1, 2), (3, 4)), "reflect", reflect_type="odd", order=1), case("pad", A, ((0, 0), (3, 4)), "symmetric", reflect_type="odd", order=1, gpu=True),
    case("pad", A[:, :0], 2), case("pad", A, np.array([[1, 2], [0, 1]]), "edge"),

    *[case("sliding_window_view", x, w, axis, want=np.lib.stride_tricks.sliding_window_view) for x, w, axis in [(V, 3, None), (A, (2, 3), None), (B, 2, 1), (B, (2, 2), (0, -1)), (A, (2, 2), (1, 1)), (A, 5, 1)]],
    case("sliding_window_view", A, (2, 2), order=2, gpu=True, want=np.lib.stride_tricks.sliding_window_view), case("unfold", A, 1, 2, 2, order=1, want=unfold), case("unfold", A, 0, 3, want=unfold),
    *[case(name, a, b, mode) for name in ("convolve", "correlate") for a, b in [(V, X[:3]), (X[:3], V), (V, V), (C, V), (V, C), (C[:2], C), (V, X[:4]), (I[0], I[1, :2])] for mode in ("full", "same", "valid")],
    *[case(name, a, b, mode, order=2, gpu=True) for name in ("convolve", "correlate") for a, b in [(V, X[:3]), (X[:3], V)] for mode in ("full", "same")], case("convolve", C, C[:3], order=1),
    case("correlate", C[:3], C, "full", order=1), case("convolve", V, np.asarray(2.0)),
    *[case(name, n, dtype="float64", want=lambda n, dtype, f=name: getattr(np, f)(n)) for name in ("hanning", "hamming", "blackman", "bartlett") for n in (0, 1, 2, 3, 8, 11)],
    *[case("kaiser", n, 8.6, dtype="float64", want=lambda n, b, dtype: np.kaiser(n, b)) for n in (0, 1, 2, 9)], case("i0", A),

    *[case(f"cum{name}", x, axis=axis, want=lambda x, axis, f=full: getattr(np, f).accumulate(x.ravel() if axis is None else x, axis or 0)) for name, full in (("max", "maximum"), ("min", "minimum"))
      for x, axis in [(A, 1), (A, None), (I, 0), (np.array([1.0, np.nan, 3.0]), 0), (A > 0, 1)]],
    case("cummax", A, 1, order=2, gpu=True, want=lambda x, axis: np.maximum.accumulate(x, axis)), case("cummin", A, 1, True, order=1, want=lambda x, axis, r: np.minimum.accumulate(x[:, ::-1], axis)[:, ::-1]),
    *[case("logcumsumexp", x, axis=axis, want=logcumsumexp) for x, axis in [(A * 100, 1), (A, None), (B, 1), (np.array([-np.inf, -np.inf, -1000.0, 3.0, -np.inf]), 0), (A[:, :1], 1), (A[:0], 0),
                                                                            (np.array([1.0, np.inf, 2.0]), 0), (np.array([1.0, np.nan, 2.0]), 0), (np.array([-2000.0, 0.0, 2000.0]), 0)]],
    case("logcumsumexp", rng.normal(size=(2, 1500)) * 50, 1, want=logcumsumexp), case("logcumsumexp", np.concatenate([np.full(700, -np.inf), rng.normal(size=900) * 300]), 0, want=logcumsumexp),
    case("logcumsumexp", rng.normal(size=1030) * 5, 0, order=1, gpu=True, want=logcumsumexp), case("logcumsumexp", A * 3, 1, order=2, gpu=True, want=logcumsumexp),
    case("trapezoid", A), case("trapezoid", A, V[:5], order=2, gpu=True), case("trapezoid", A, dx=0.3, axis=0), case("trapezoid", A, A * 2, order=1), case("trapezoid", A, V[:3], axis=0),
    *[case("cumulative_trapezoid", *a, want=scipy.integrate.cumulative_trapezoid, **o) for a, o in [((A,), {}), ((A, V[:5]), {"initial": 0}), ((B,), {"axis": 1, "dx": 2.0}), ((A, A * 2), {})]],
    case("cumulative_trapezoid", A, V[:5], order=2, gpu=True, want=scipy.integrate.cumulative_trapezoid),
    case("gradient", V), case("gradient", A, order=2, gpu=True), case("gradient", A, 0.5), case("gradient", A, 0.5, 2.0), case("gradient", A, axis=1, edge_order=2), case("gradient", A, 2.0, axis=(0, 1)),
    case("gradient", B[..., :3], X[:3], axis=1, edge_order=2), case("gradient", V[:6], X, order=2), case("gradient", V[:6], X, edge_order=2, order=1), case("gradient", V[:2], X[:2]), case("gradient", V[:2]),
    case("gradient", A, X[:3], 0.1, order=1), case("gradient", C), case("gradient", V[:3], edge_order=2, order=1),
    case("ediff1d", A, order=1), case("ediff1d", I, 9, -9), case("ediff1d", V, X[:2], 0.5), case("ediff1d", V[:0]), case("ediff1d", V[:1], to_end=X),
    case("unwrap", ANGLES), case("unwrap", A * 9, axis=0, order=1, gpu=True), case("unwrap", I * 3, period=7), case("unwrap", I * 3, period=8), case("unwrap", I.astype(float), 5.0, period=6), case("unwrap", I, 5, period=6),
    case("unwrap", V[:1]),

    case("interp", AT, XP, FP, tol=1e-13), case("interp", AT, XP, FP, -7.0, 9.0), case("interp", AT[:12], XP, FP, period=3.0, tol=1e-11), case("interp", AT, XP[:6], C), case("interp", AT[:12], XP[:1], FP[:1]),
    case("interp", AT[:12], XP, FP, order=1, gpu=True, tol=1e-13), case("interp", AT[:12], XP, FP, period=3.5, order=1, tol=1e-11), case("interp", AT[:0], XP, FP),
    case("interp", AT[:12].reshape(3, 4), XP, FP, tol=1e-13), case("interp", np.array([1.0, 2.0, 1.5]), np.array([1.0, 1.0, 2.0]), np.array([5.0, 7.0, 9.0])),

    case("polyval", P, A, order=2, gpu=True), case("polyval", P, np.asarray(2.0)), case("polyval", P[:0], A), case("polyval", C, A), case("polyval", I[0], I[1]), case("polyval", P, C, order=1),
    case("polyadd", P, Q, order=1), case("polysub", P, Q, order=1), case("polyadd", P, 3.0), case("polymul", P, Q, order=2), case("polymul", I[0], I[1]), case("polymul", P, 3.0), case("polydiv", P, Q, order=2),
    case("polydiv", Q, P), case("polydiv", P, 2.0), case("polydiv", P, Q[:1]), case("polydiv", C, C[:2], tol=1e-11), case("polyder", P, order=1), case("polyder", I[0], 2), case("polyder", P, 9), case("polyder", P, 0),
    case("polyint", P, order=1), case("polyint", P, 2, [1.0, 2.0]), case("polyint", P, 3, 4.0), case("polyint", C, 2, [1.0, 2.0]), case("vander", V, 4, order=2), case("vander", I[0]), case("vander", V, 3, True), case("vander", V, 0),
    case("vander", V, 1), case("vander", C, 3), case("poly", V, order=2, tol=1e-10), case("poly", B[0, :, :3], order=1, tol=1e-10), case("poly", V[:0]),
    case("polyfit", V, A[0, :1].repeat(7) + V ** 2, 2, tol=1e-9), case("polyfit", X, V[:6], 2, order=1, tol=1e-9), case("polyfit", X, A.T[:3].repeat(2, 0), 3, tol=1e-8), case("polyfit", X, V[:6], 1, w=A[0, [0, 1, 2, 3, 4, 0]] ** 2, tol=1e-9),
    case("polyfit", X, V[:6], 2, cov=True, tol=1e-8), case("polyfit", X, A.T[:3].repeat(2, 0), 1, cov=True, tol=1e-8), case("polyfit", X, V[:6], 2, cov="unscaled", tol=1e-8),

    *[case("linspace", *a, dtype="float64", **o) for a, o in [((0, 1, 7), {}), ((5, -5, 4), {"endpoint": False}), ((1, 2, 1), {}), ((1, 2, 0), {})]], case("linspace", A[0], A[1], 4, axis=-1, order=1), case("linspace", A[0], 2.0, 3),
    case("linspace", A[:2], V[:5], 5, endpoint=False, axis=1, order=1, gpu=True), case("linspace", I[0], I[1], 3, dtype="int64"), case("linspace", 0, 1, 5, retstep=True, dtype="float64"), case("linspace", 1j, 2, 3, dtype="complex128"),
    case("linspace", 0, 1, 4, dtype="int64"), case("logspace", 0, 3, 5, dtype="float64"), case("logspace", 0, 3, 5, False, 2.0, dtype="float64"), case("logspace", A[0], A[1], 3, order=1), case("logspace", A[0], A[1], 3, base=np.abs(A[2]), axis=1, order=1),
    case("geomspace", 1, 1000, 4, dtype="float64"), case("geomspace", -2, -50.0, 5, dtype="float64"), case("geomspace", 3, 7, 1, dtype="float64"), case("geomspace", 3, 7, 0, dtype="float64"), case("geomspace", 1, 100, 3, False, dtype="float64"),
    case("geomspace", np.abs(A[0]), np.abs(A[1]), 4, axis=1, order=1, tol=1e-12), case("geomspace", -np.abs(A[0]), -np.abs(A[1]), 3, tol=1e-12), case("geomspace", 1, 256, 9, dtype="int64"),

    case("vdot", C, C[::-1].copy(), order=1), case("vdot", A, A.reshape(5, 3), gpu=True), case("matvec", B, A[:2, None, :4], order=1), case("matvec", B, V[:4]), case("vecmat", C[:3], B + 0j, order=1), case("vecmat", A[:2, :3], B, gpu=True),
    *[case("cross", *a, **o) for a, o in [((A[:, :3], A[:, 2:]), {}), ((A, A[:, ::-1].copy()), {"axis": 0}), ((B[:, :, 0], B[:, :, 1]), {}), ((B.T, B), {"axisa": 1, "axisb": 1, "axisc": 0})] if a[0].shape[:1] != (4,)],
    case("cross", A[:, :3], A[:, 2:], order=2, gpu=True), case("cross", A[:, :3], A[0, :3]), case("cross", B, B + 1, axisa=1, axisb=1, axisc=0),
]


@rows(CASES)
def test_values(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                    # NumPy's own, about ranks and arrays of two-dimensional vectors
        check_values(case)


@rows([c for c in CASES if c.order])
def test_derivatives(case):
    check_derivatives(case)


@rows([c for c in CASES if c.gpu])
def test_native_code(case, monkeypatch):
    check_native(case, monkeypatch)


@rows([c for c in CASES if c.gpu])
def test_on_the_gpu(case):
    check_on_gpu(case)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cross_products_of_two_elements():
    for a, b in [(A[:, :2], A[:, 2:4]), (A[:, :2], A[:, 2:]), (A[:, 2:], A[:, :2])]:
        same(lg.cross(lg.tensor(a), lg.tensor(b)), np.cross(a, b), 1e-12)
    lg.testing.check_grads(lg.cross, (A[:, :2], A[:, 2:]))


def test_roots():
    for p in (np.array([1.0, -6, 11, -6]), np.array([0.0, 2, 0, 4, 0, 0]), P, C, np.array([3.0]), np.array([0.0, 0.0]), np.array([1, 2])):
        got, want = lg.roots(lg.tensor(p)).value, np.roots(p)
        assert got.dtype.kind == "c" and got.shape == want.shape
        np.testing.assert_allclose(np.sort_complex(got), np.sort_complex(want.astype(complex)), rtol=1e-6 if p.dtype.kind == "i" else 1e-12, atol=1e-12)
    lg.testing.check_grads(lambda p: abs(lg.roots(p)) ** 2, (np.array([1.0, -6.2, 11, -6]),))
    lg.testing.check_grads(lambda x: lg.real(lg.poly(lg.roots(x)[:2])), (np.array([1.0, -6.2, 11, -6]),), order=1)


def test_fits_report_what_numpy_reports():
    got, want = lg.polyfit(lg.tensor(X), lg.tensor(V[:6]), 2, full=True), np.polyfit(X, V[:6], 2, full=True)
    for g, w in zip(got[:4], want[:4], strict=True):
        np.testing.assert_allclose(g.value, np.asarray(w).reshape(g.shape), rtol=1e-9)
    assert got[4] == want[4]
    with pytest.raises(ValueError, match="do not determine a covariance"):
        lg.polyfit(lg.tensor(X[:3]), lg.tensor(V[:3]), 2, cov=True)


def test_constants_around_an_array_may_be_tensors():
    x, c, d = lg.tensor(A), lg.tensor(np.float64(3.0)), lg.tensor(np.float64(5.0))
    same(lg.pad(x, 1, constant_values=c), np.pad(A, 1, constant_values=3.0), 0)
    z = lg.pad(x, ((1, 0), (1, 2)), constant_values=((c, d), (d, c)))
    same(z, np.pad(A, ((1, 0), (1, 2)), constant_values=((3.0, 5.0), (5.0, 3.0))), 0)
    z.backward()
    assert c.grad.item() == 5 + 8 and d.grad.item() == 4


def test_derivatives_at_the_ends_of_running_sums():
    x = lg.tensor(np.array([-np.inf, -np.inf, 1.0]))
    lg.logcumsumexp(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]
    x = lg.tensor(np.array([0.0, 1000.0, -1000.0]))
    lg.logcumsumexp(x).backward()
    assert x.grad.tolist() == [1.0, 2.0, 0.0]


def test_paths_of_einsum_are_numpys_form_and_give_its_result():
    for subscripts, shapes in [("ij,jk,kl->il", [(2, 30), (30, 4), (4, 5)]), ("ab,bc,cd,de->ae", [(2, 9), (9, 3), (3, 8), (8, 2)]), ("i->", [(3,)]), ("ij,ij->", [(2, 3)] * 2)]:
        xs = [rng.normal(size=s) for s in shapes]
        path, report = lg.einsum_path(subscripts, *map(lg.tensor, xs))
        assert path[0] == "einsum_path" and "FLOP" in report
        np.testing.assert_allclose(np.einsum(subscripts, *xs, optimize=path), np.einsum(subscripts, *xs))


ERRORS = [
    (lambda x: lg.pad(x, 1, "best"), TypeError, "use one of constant"), (lambda x: lg.pad(x, -1), ValueError, "widths of 0 or more"), (lambda x: lg.pad(x, ((1, 2),) * 3), ValueError, "pad_width"),
    (lambda x: lg.pad(x, 1, "edge", constant_values=3), TypeError, "does not use it"), (lambda x: lg.pad(x[:, :0], 1, "edge"), ValueError, "no elements to go on with"), (lambda x: lg.pad(x, 0.5), ValueError, "pad_width"),
    (lambda x: lg.pad(x, 1, "reflect", reflect_type="even odd"), TypeError, "reflect_type"), (lambda x: lg.pad(x, 1, "mean", stat_length=0), ValueError, "no statistic"),
    (lambda x: lg.sliding_window_view(x, (4, 1)), ValueError, "smaller windows"), (lambda x: lg.sliding_window_view(x, 2), ValueError, "one size for every axis"), (lambda x: lg.unfold(x, 0, 9), ValueError, "3 elements"),
    (lambda x: lg.unfold(x, 0, 2, 0), ValueError, "windows go forward"), (lambda x: lg.convolve(x, x), ValueError, "1-d"), (lambda x: lg.convolve(x[0], x[0, :0]), ValueError, "no elements"), (lambda x: lg.convolve(x[0], x[0], "all"), TypeError, "mode"),
    (lambda x: lg.trapezoid(x, x[0, :2]), ValueError, "place for every sample"), (lambda x: lg.gradient(x, 1.0, 2.0, 3.0), ValueError, "spacings"), (lambda x: lg.gradient(x[:1]), ValueError, "less than 2"),
    (lambda x: lg.gradient(x, x[0], axis=0), ValueError, "do not fit"), (lambda x: lg.gradient(x, edge_order=3), TypeError, "order 1 or 2"), (lambda x: lg.unwrap(x + 1j), TypeError, "no order"),
    (lambda x: lg.interp(x, x[0], x[1, :2]), ValueError, "equally long"), (lambda x: lg.interp(x, x[0, :0], x[0, :0]), ValueError, "no samples"), (lambda x: lg.interp(x, x[0], x[1], period=0), TypeError, "period"),
    (lambda x: lg.interp(x + 1j, x[0], x[1]), TypeError, "no order"), (lambda x: lg.polyval(x, x), ValueError, "1-d"), (lambda x: lg.polydiv(x[0], x[0, :0]), ValueError, "has none"), (lambda x: lg.polyder(x[0], -1), TypeError, "polyint"),
    (lambda x: lg.polyint(x[0], 3, [1.0, 2.0]), ValueError, "constants"), (lambda x: lg.roots(x), ValueError, "1-d"), (lambda x: lg.poly(x), ValueError, "square"), (lambda x: lg.poly(x[:0, :0]), ValueError, "square"), (lambda x: lg.vander(x), ValueError, "1-d"),
    (lambda x: lg.polyfit(x[0], x[1, :2], 1), ValueError, "as many values"), (lambda x: lg.polyfit(x[0], x[1], -1), ValueError, "degree"), (lambda x: lg.linspace(0, 1, -1), ValueError, "a count is negative"),
    (lambda x: lg.geomspace(0, 1), ValueError, "no ratio"), (lambda x: lg.geomspace(-1, 1), ValueError, "no ratio"), (lambda x: lg.vdot(x, x[0]), ValueError, "numbers of elements"), (lambda x: lg.matvec(x, x[0, :2]), ValueError, "last sizes"),
    (lambda x: lg.vecmat(x, x), ValueError, "no rows"), (lambda x: lg.cross(x, x), ValueError, "2 or 3 elements"), (lambda x: lg.cummax(x + 1j), TypeError, "no order"), (lambda x: lg.einsum_path("ij,jk", x), ValueError, "2 operands"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(lg.tensor(A))
