"""lazygrad.scipy.signal and .fft against SciPy: every mode, method and type over small sizes; autograd's convolution; derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from gpu import device

import lazygrad as lg
from lazygrad.scipy import fft, signal
from lazygrad.testing import check_grads

rng = np.random.default_rng(0)
LINES = [rng.normal(size=n) for n in (1, 2, 3, 4, 7)]
GRIDS = [rng.normal(size=s) for s in ((3, 4), (2, 2), (5, 3), (1, 1))]
X = rng.normal(size=(3, 9))
Z = X[0] + 1j * X[1]
B = rng.normal(size=(2, 3, 8))


def same(got, want, tol=1e-11):
    want = np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got.value, want, rtol=tol, atol=tol)


# ---- convolution ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_lines(name, mode):
    for a, b in itertools.product(LINES, LINES):
        for method in ("direct", "fft"):
            same(getattr(signal, name)(a, b, mode, method), getattr(scipy.signal, name)(a, b, mode, method))


@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve", "convolve2d", "correlate2d"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_grids(name, mode):
    for a, b in itertools.product(GRIDS, GRIDS):
        for options in ({}, {"boundary": "wrap"}, {"boundary": "symm"}, {"fillvalue": 1.5}) if "2d" in name else ({},):
            try:
                want = getattr(scipy.signal, name)(a, b, mode, **options)
            except ValueError:                 # neither inside the other
                with pytest.raises(ValueError, match="neither lies inside"):
                    getattr(signal, name)(a, b, mode, **options)
                continue
            if mode == "valid" and options and a.shape != b.shape:
                continue                       # a boundary means nothing there
            same(getattr(signal, name)(a, b, mode, **options), want)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_complex_and_integer_operands(mode):
    same(signal.correlate(Z, Z[:4] * 2j, mode), scipy.signal.correlate(Z, Z[:4] * 2j, mode))
    same(signal.convolve(Z, X[2, :3], mode), scipy.signal.convolve(Z, X[2, :3], mode))
    same(signal.fftconvolve(Z, Z[:4], mode), scipy.signal.fftconvolve(Z, Z[:4], mode))
    same(signal.convolve([1, 2, 3], [1, 1], mode), scipy.signal.convolve([1, 2, 3], [1, 1], mode))


def test_axes_of_fftconvolve():
    same(signal.fftconvolve(B, B[:1, :, :3], "same", axes=2), scipy.signal.fftconvolve(B, B[:1, :, :3], "same", axes=2))
    same(signal.oaconvolve(B, B, axes=(1, 2)), scipy.signal.oaconvolve(B, B, axes=(1, 2)))
    long = rng.normal(size=5000)
    same(signal.convolve(long, long), scipy.signal.fftconvolve(long, long), 1e-9)
    assert signal.correlation_lags(5, 3, "same").tolist() == scipy.signal.correlation_lags(5, 3, "same").tolist()


def test_autograds_axes():
    """Images (n, c, h, w) with filters (c, o, k, l): what a convolutional network written for autograd calls."""
    images, filters = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(3, 4, 2, 3))
    for mode in ("full", "valid", "same"):
        want = sum([np.array([[scipy.signal.convolve2d(images[n, c], filters[c, o], mode) for o in range(4)] for n in range(2)]) for c in range(3)])
        same(signal.convolve(images, filters, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode=mode), want)
    turned = sum([np.array([[scipy.signal.convolve2d(filters[c, o], images[n, c], "valid") for n in range(2)] for o in range(4)]) for c in range(3)])
    same(signal.convolve(filters, images, axes=([2, 3], [2, 3]), dot_axes=([0], [1]), mode="valid"), turned)
    same(signal.convolve(X, X[:2, :4], ([1], [1])), np.array([[np.convolve(a, b) for b in X[:2, :4]] for a in X]))
    same(signal.convolve(X, X.T, axes=([], []), dot_axes=([1], [0])), X @ X.T)
    check_grads(lambda a, b: signal.convolve(a, b, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid"), (images, filters), order=1)


def test_derivatives_of_convolutions():
    for name in ("convolve", "correlate", "fftconvolve"):
        for mode in ("full", "same", "valid"):
            check_grads(lambda a, b, name=name, mode=mode: getattr(signal, name)(a, b, mode), (LINES[4], LINES[2]), order=2 if name == "convolve" else 1)
    check_grads(lambda a, b: signal.convolve2d(a, b, "same", "symm"), (GRIDS[0], GRIDS[1]), order=1)


# ---- windows ----------------------------------------------------------------------------------------------------------

WINDOWS = [("boxcar",), ("triang",), ("parzen",), ("bohman",), ("blackman",), ("nuttall",), ("blackmanharris",), ("flattop",), ("bartlett",), ("barthann",), ("hann",), ("hamming",), ("cosine",), ("lanczos",),
           ("kaiser", 6.0), ("gaussian", 1.7), ("general_gaussian", 1.5, 2.0), ("general_hamming", 0.6), ("general_cosine", [0.5, 0.3, 0.2]), ("exponential",), ("tukey",), ("tukey", 0.3), ("tukey", 1.5), ("tukey", 0)]


@pytest.mark.parametrize("name,args", [(w[0], w[1:]) for w in WINDOWS], ids=range(len(WINDOWS)))
def test_windows(name, args):
    for n in (0, 1, 2, 3, 8, 9):
        for sym in (True, False):
            same(getattr(signal.windows, name)(n, *args, sym=sym), getattr(scipy.signal.windows, name)(n, *args, sym=sym), 1e-14)


def test_windows_by_name():
    for w in ("hann", ("kaiser", 4.0), 5.0, ("tukey", 0.3), "boxcar"):
        same(signal.get_window(w, 9), scipy.signal.get_window(w, 9), 1e-14)
    same(signal.windows.hann(8, False), scipy.signal.windows.hann(8, False), 1e-14)
    same(signal.windows.exponential(8, 0, 2.0, False), scipy.signal.windows.exponential(8, 0, 2.0, False), 1e-14)
    check_grads(lambda s: signal.windows.gaussian(7, s), (1.7,))
    check_grads(lambda b: signal.windows.kaiser(7, b), (3.0,))


# ---- filters ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("b,a", [([1.0, 0.5], [1.0]), ([0.2], [1.0, -0.5, 0.1]), ([1.0, 2.0, 3.0], [2.0, 0.3]), ([2.0], [4.0])])
def test_recursive_filters(b, a):
    same(signal.lfilter(b, a, X), scipy.signal.lfilter(b, a, X))
    same(signal.lfilter(b, a, X, 0), scipy.signal.lfilter(b, a, X, 0))
    zi = rng.normal(size=(3, max(len(a), len(b)) - 1))
    for got, want in zip(signal.lfilter(b, a, X, zi=zi), scipy.signal.lfilter(b, a, X, zi=zi), strict=True):
        same(got, want)
    check_grads(lambda b, a, x: signal.lfilter(b, a, x), (np.array(b), np.array(a), X[0, :5]), order=1)


def test_analytic_signals_trends_and_resampling():
    for n in (8, 9):
        same(signal.hilbert(X[:, :n]), scipy.signal.hilbert(X[:, :n]))
        for num in (1, 2, 3, 4, 5, 8, 9, 12, 13):
            same(signal.resample(X[0, :n], num), scipy.signal.resample(X[0, :n], num))
            same(signal.resample(Z[:n], num), scipy.signal.resample(Z[:n], num))
    same(signal.hilbert(X, 12, 0), scipy.signal.hilbert(X, 12, 0))
    for got, want in zip(signal.resample(X[0], 4, np.arange(9.0) * 0.5), scipy.signal.resample(X[0], 4, np.arange(9.0) * 0.5), strict=True):
        same(got, want)
    for options in ({}, {"axis": 0, "type": "constant"}, {"bp": [3, 6]}, {"axis": 0}):
        same(signal.detrend(X, **options), scipy.signal.detrend(X, **options))
    check_grads(lambda x: abs(signal.hilbert(x)) ** 2, (X[0],), order=1)
    check_grads(lambda x: signal.detrend(signal.resample(x, 6), bp=3), (X[0],), order=1)


# ---- cosine and sine transforms -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["dct", "idct", "dst", "idst"])
@pytest.mark.parametrize("type", [1, 2, 3, 4])
def test_cosine_and_sine_transforms(name, type):
    for norm in (None, "ortho", "forward"):
        for orthogonalize in (None, True, False):
            for options in ({}, {"axis": 1}, {"n": 7, "axis": 0}, {"n": 2}):
                given = {"norm": norm, "orthogonalize": orthogonalize, **options}
                same(getattr(fft, name)(B, type, **given), getattr(scipy.fft, name)(B, type, **given))
    check_grads(lambda x: getattr(fft, name)(x, type, norm="ortho"), (B[0],))


def test_transforms_of_several_axes():
    for name in ("dctn", "idctn", "dstn", "idstn"):
        for options in ({}, {"axes": (0, 2)}, {"s": (4, 6)}, {"s": (2, 3), "axes": (2, 0)}, {"norm": "ortho", "type": 3}):
            same(getattr(fft, name)(B, **options), getattr(scipy.fft, name)(B, **options))
    for name in ("hfft2", "hfftn", "ihfft2", "ihfftn", "fft", "rfftn", "hfft", "ihfft", "ifftn"):
        for norm in (None, "ortho", "forward"):
            same(getattr(fft, name)(B, norm=norm), getattr(scipy.fft, name)(B, norm=norm))
    same(fft.dct(B + 1j * B[::-1]), scipy.fft.dct(B + 1j * B[::-1]))
    same(fft.fft([1, 2, 3], 5, workers=2), scipy.fft.fft([1.0, 2, 3], 5))
    same(fft.fftfreq(4), scipy.fft.fftfreq(4))
    assert fft.next_fast_len(17) == 18 and fft.dct(B.astype(np.float32)).dtype == np.float32 and set(dir(fft)) >= {"rfft", "idctn"}


def test_on_the_gpu():
    x = lg.Graph(device=device()).tensor(X.astype(np.float32))
    for f in (lambda m, x: m.convolve(x, x[:2, :4], "same"), lambda m, x: m.detrend(x), lambda m, x: m.lfilter(np.array([0.5], np.float32), np.array([1.0, -0.25], np.float32), x)):
        got = f(signal, x)
        assert got.device is x.device
        np.testing.assert_allclose(got.value, f(scipy.signal, X), rtol=1e-4, atol=1e-4)


ERRORS = [
    (lambda: signal.convolve(X, X, "all"), ValueError, "mode='all'"), (lambda: signal.convolve(X, X[0]), ValueError, "differently many axes"), (lambda: signal.convolve([], [1.0]), ValueError, "no elements"),
    (lambda: signal.convolve(X, X, method="best"), ValueError, "method"), (lambda: signal.convolve(X, X, axes=([1], [0, 1])), ValueError, "do not pair up"), (lambda: signal.fftconvolve(X, X[:2], axes=1), ValueError, "does not broadcast"),
    (lambda: signal.convolve2d(X[0], X[0]), ValueError, "matrices"), (lambda: signal.convolve2d(X, X, boundary="open"), ValueError, "boundary"), (lambda: signal.windows.hann(-1), ValueError, "0 or more"), (lambda: signal.get_window("best", 3), ValueError, "no such window"),
    (lambda: signal.lfilter([], [1.0], X), ValueError, "1-d with elements"), (lambda: signal.lfilter([1.0], [1.0, 0.5], X, zi=[1.0]), ValueError, "zi"), (lambda: signal.hilbert(Z), TypeError, "real"), (lambda: signal.detrend(X, type="cubic"), ValueError, "trend"),
    (lambda: signal.detrend(X, bp=99), ValueError, "break"), (lambda: signal.resample(X, 0), ValueError, "one sample"), (lambda: fft.dct(X, 5), ValueError, "type 5"), (lambda: fft.dct([1.0], 1), ValueError, "two elements"),
    (lambda: fft.dct(X, norm="best"), ValueError, "norm"), (lambda: fft.dctn(X, s=(1, 2, 3), axes=(0, 1)), ValueError, "differently many"), (lambda: fft.nothing, AttributeError, "no attribute"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
