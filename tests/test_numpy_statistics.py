"""Statistics under NumPy's names, against NumPy: means, spreads, quantiles, with and without NaN and weights."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import case, check_derivatives, check_native, check_on_gpu, check_values, rows, same

import lazygrad as lg
from lazygrad.functions.quantiles import METHODS

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")          # NumPy's, about empty slices

rng = np.random.default_rng(5)
A, B = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 5))
N = np.where(rng.random(B.shape) < 0.3, np.nan, B)
N[0, 1] = np.nan
C = A + 1j * A[::-1]
I = rng.integers(-9, 9, (3, 5))
ONE = np.array([np.inf, 1.0, -np.inf, 2.0])
W = rng.integers(0, 4, (2, 3, 5)).astype(float) + (rng.random((2, 3, 5)) < 0.2)
W[..., 0] += 1
Q = np.array([[0.1, 0.3], [0.5, 1.0]])
TIED = np.array([1.0, 2.0, 2.0, 4.0, 7.0, 7.5, 8.0, 8.25, 9.0, 11.0])          # tenths of it are places where methods differ

CASES = [
    *[case(f"nan{name}", N, axis=axis, keepdims=keep) for name in ("sum", "prod", "mean", "var", "std", "max", "min", "median") for axis, keep in
      [(None, False), (1, True), ((0, 2), False), (-1, False)]],
    *[case(f"nan{name}", B, axis=1, order=2, gpu=True) for name in ("sum", "prod", "mean", "var", "std", "max", "min", "median")],
    *[case(f"nan{name}", C, axis=0, order=1) for name in ("sum", "prod", "mean", "var", "std")],
    *[case(f"nan{name}", I) for name in ("sum", "prod", "max", "min", "cumsum", "cumprod", "argmax", "argmin")],
    case("nanvar", N, axis=2, ddof=1), case("nanvar", N, axis=2, ddof=4), case("nanstd", N, ddof=2), case("nanmean", I, dtype="float64"), case("nansum", N, dtype="float32"),
    case("nancumsum", N, axis=1), case("nancumsum", N), case("nancumprod", N, axis=2, gpu=True), case("nancumsum", B, axis=0, order=2), case("nancumprod", B, order=1),
    case("nanargmax", np.where(np.isnan(N), np.nan, N)[1], axis=1, gpu=True), case("nanargmin", N), case("nanargmin", B, axis=1),
    case("cov", A, order=2, gpu=True), case("cov", A[0]), case("cov", A, rowvar=False), case("cov", A, B[0, :, :4], order=1), case("cov", A, bias=True), case("cov", A, ddof=2), case("cov", C, order=1), 
    case("cov", A, fweights=np.array([1, 2, 0, 3])), case("cov", A, aweights=np.array([1.0, 0.5, 2.0, 3.0]), order=1), case("cov", A, None, True, True, None, np.array([1, 2, 0, 3]), np.array([1.0, 0.5, 2.0, 3.0])),
    case("cov", A[:, :1]), case("cov", A[0], A[1], ddof=0), case("corrcoef", A, order=2, gpu=True), case("corrcoef", A[0]), case("corrcoef", A, B[0, :, :4], False), case("corrcoef", C), case("cov", A.astype(np.float32), dtype="float64"),
    case("ptp", B, axis=1, order=1), case("ptp", N, axis=0), case("average", B, order=1), case("average", B, axis=1, weights=W), case("average", B, 1, W[0, :, 0], keepdims=True),
    case("average", B, (2, 1), W[0].T.copy(), gpu=True), case("average", B, 0, W, returned=True), case("average", B, returned=True), case("average", I, weights=W[0]),
    case("array_equal", A, A + 0), case("array_equal", N, N, equal_nan=True), case("array_equal", N, N), case("array_equal", A, B), case("array_equiv", A * 0, A[:1] * 0),
    case("array_equiv", A, B),
    case("median", B, axis=(0, 2), order=1, gpu=True), case("median", B, axis=1, keepdims=True), case("median", N, axis=0), case("median", ONE), case("median", np.asarray(3.0)),
    *[case("quantile", TIED, np.arange(11) / 10, method=m) for m in METHODS],
    *[case("quantile", B, [0.0, 0.25, 0.77], axis=1, method=m, order=2 if m in ("linear", "hazen") else 1, gpu=True) for m in METHODS],
    *[case("nanquantile", N, [0.0, 0.25, 0.77], axis=-1, method=m) for m in METHODS],
    case("quantile", B, 0.3), case("quantile", B, 0.3, axis=(0, 2), keepdims=True), case("quantile", B, Q, axis=1), case("quantile", B, Q, axis=(0, -1), keepdims=True),
    case("quantile", N, Q, axis=2), case("quantile", A.astype(np.float32), 0.25, tol=1e-7), case("quantile", A.astype(np.float32), Q),
    case("quantile", I, 0.4, axis=1, method="lower"), case("quantile", I, [0.4], axis=1, method="closest_observation"), case("percentile", B, 30), case("percentile", B, [10, 99.5], axis=0),
    case("percentile", B, (Q * 99).tolist(), axis=2, order=1), case("nanpercentile", N, 30, axis=1), case("nanquantile", N, Q[1], axis=(0, 1), keepdims=True), case("nanquantile", N[0, 1], 0.5),
    case("nanquantile", N, 0.5, keepdims=True, gpu=True), case("nanquantile", B, 0.2, axis=0, order=1), case("nanmedian", N[0, 1]),
    case("quantile", B, [0.0, 0.2, 0.5, 1.0], axis=2, method="inverted_cdf", weights=W), case("quantile", B, 0.5, axis=1, method="inverted_cdf", weights=W[0, :, 0]),
    case("nanquantile", N[:1], [0.0, 0.6, 0.9], method="inverted_cdf", weights=W[:1]), case("quantile", N, 0.5, axis=2, method="inverted_cdf", weights=W, gpu=True),
]


@rows(CASES)
def test_values(case):
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


def test_infinite_neighbours_do_not_spoil_what_lies_at_one_of_them():
    x = lg.tensor(np.array([-np.inf, 1.0, np.inf, np.inf]))
    assert lg.quantile(x, [0.0, 1 / 3, 2 / 3, 0.9, 1.0]).tolist() == [-np.inf, 1.0, np.inf, np.inf, np.inf]


def test_quantiles_that_are_tensors_differentiate():
    x, q = lg.tensor(np.array([4.0, 1.0, 9.0, 2.0])), lg.tensor(np.array([0.5, 0.9]))
    z = lg.quantile(x, q)
    assert np.array_equal(z.value, np.quantile(x.value, q.value))
    z.backward(np.array([1.0, 10.0]))
    assert np.allclose(q.grad.value, [3 * 2, 3 * 50])                      # (n - 1) times the gap between the neighbours
    assert np.allclose(x.grad.value, [0.5 + 3, 0, 7, 0.5])
    assert np.array_equal(lg.percentile(x, q * 100, axis=0, keepdims=True).value, np.percentile(x.value, q.value * 100, axis=0, keepdims=True))
    lg.testing.check_grads(lambda x, q: lg.nanquantile(x, q, axis=1), (np.where(np.arange(15).reshape(3, 5) % 4, B[0], np.nan), q.value - 0.03), order=1)


@pytest.mark.parametrize("method", METHODS)
def test_places_that_are_data_meet_whole_numbers_in_native_code_too(method, monkeypatch):
    q = np.arange(11) / 10
    check_native(case("quantile", TIED, q, method=method), monkeypatch)
    check_native(case("nanquantile", np.append(TIED, np.nan), q, method=method), monkeypatch)
    monkeypatch.setattr("lazygrad.runtime.plans.INTERPRETED", -1)
    same(lg.quantile(lg.tensor(TIED), lg.tensor(q), method=method), np.quantile(TIED, q, method=method), 1e-14)


def test_elements_skipped_get_no_gradient():
    x = lg.tensor(np.array([1.0, np.nan, 3.0]))
    for f in (lg.nansum, lg.nanmean, lg.nanvar, lg.nanmax, lg.nanmedian, lg.nanprod):
        x.grad = None
        f(x).backward()
        assert x.grad.value[1] == 0 and np.isfinite(x.grad.value).all()


def test_the_deviation_of_equal_numbers_has_derivative_0():
    x = lg.tensor(np.array([2.0, 2.0, np.nan]))
    lg.nanstd(x).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


ERRORS = [
    (lambda x: lg.quantile(x, 1.5), ValueError, "between 0 and 1"), (lambda x: lg.percentile(x, [5, -1]), ValueError, "between 0 and 100"),
    (lambda x: lg.quantile(x, 0.5, method="best"), TypeError, "use one of inverted_cdf"), (lambda x: lg.quantile(x[:0], 0.5), ValueError, "no elements"),
    (lambda x: lg.median(x[:, :0], axis=1), ValueError, "no elements"), (lambda x: lg.quantile(x, 0.5, axis=2), IndexError, "axis 2"),
    (lambda x: lg.quantile(x, 0.5, weights=x), TypeError, 'method="inverted_cdf"'), (lambda x: lg.quantile(x > 0, 0.5), TypeError, "bools have no quantiles"),
    (lambda x: lg.quantile(x + 1j, 0.5), TypeError, "no order"), (lambda x: lg.average(x, 0, x[0]), ValueError, "weights do not fit"),
    (lambda x: lg.average(x, weights=x[0]), ValueError, "weights do not fit"), (lambda x: lg.quantile(x, np.nan), ValueError, "between 0 and 1"),
    (lambda x: lg.cov(x[None]), ValueError, "at most a matrix"), (lambda x: lg.cov(x, x[:, :2]), ValueError, "numbers of observations differ"), (lambda x: lg.cov(x, fweights=[1, 2]), ValueError, "every observation needs a weight"),
    (lambda x: lg.nanargmax(x + 1j), TypeError, "no order"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(lg.tensor(A))
