"""lazygrad.fft against NumPy: values of all lengths, axes and norms; gradients; errors."""

from __future__ import annotations

import numpy as np
import pytest

import lazygrad as lg

rng = np.random.default_rng(5)
NORMS = (None, "backward", "ortho", "forward")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")


def sample(name, shape, dtype="float64"):
    x = rng.normal(size=shape)
    return (x if name in ("rfft", "ihfft", "rfftn", "rfft2") else x + 1j * rng.normal(size=shape)).astype(
        dtype if name in ("rfft", "ihfft", "rfftn", "rfft2") else np.result_type(dtype, np.complex64))


def close(got, want, dtype="float64"):
    want = np.asarray(want)
    assert got.shape == want.shape and got.dtype == (want.dtype if dtype == "float64" else np.dtype("complex64" if want.dtype.kind == "c" else "float32"))
    eps = np.finfo(dtype).eps                    # log n steps, each of a unit in the last place of the largest
    np.testing.assert_allclose(np.asarray(got), want, rtol=0, atol=20 * eps * max(1, np.abs(want).max(initial=0)))


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 12, 97, 128])
def test_transforms_of_all_lengths_are_numpys(name, n):
    for norm in NORMS:
        x = sample(name, (n + 1,))
        for size in (None, n, n + 3):
            close(getattr(lg.fft, name)(lg.asarray(x), size, norm=norm), getattr(np.fft, name)(x, size, norm=norm))
    x = sample(name, (3, n + 1, 2))
    close(getattr(lg.fft, name)(lg.asarray(x), axis=1), getattr(np.fft, name)(x, axis=1))
    y = x.astype("complex64" if x.dtype.kind == "c" else "float32")
    close(getattr(lg.fft, name)(lg.asarray(y), axis=1), getattr(np.fft, name)(x, axis=1), "float32")


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("norm", NORMS)
def test_transforms_over_many_axes_are_numpys(name, norm):
    for shape in ((4, 3), (2, 5, 4), (3, 2, 3)):
        x = sample(name, shape)
        for s, axes in ((None, None), (None, (0, 1)), (None, (1, 0)), ((4, 5), (1, 0)), ((3, -1), (0, 1)), (None, (1,))):
            kw = {} if axes is None else {"axes": axes}
            close(getattr(lg.fft, name)(lg.asarray(x), s, norm=norm, **kw), getattr(np.fft, name)(x, s, norm=norm, **kw))
    x = sample(name, (3, 4, 5))
    close(getattr(lg.fft, name)(lg.asarray(x), (2, 4), axes=None, norm=norm), getattr(np.fft, name)(x, (2, 4), axes=(-2, -1), norm=norm))


def test_what_comes_back_is_the_signal():
    x = rng.normal(size=(2, 7))
    close(lg.fft.irfft(lg.fft.rfft(lg.asarray(x)), 7), x)
    close(lg.fft.hfft(lg.fft.ihfft(lg.asarray(x)), 7), x)
    close(lg.fft.irfftn(lg.fft.rfftn(lg.asarray(x)), (2, 7)), x)
    close(lg.real(lg.fft.ifft2(lg.fft.fft2(lg.asarray(x)))), x)


def test_shifts_and_frequencies():
    x = rng.normal(size=(3, 4, 5))
    for axes in (None, 1, (0, 2), -1, ()):
        for name in ("fftshift", "ifftshift"):
            assert np.array_equal(np.asarray(getattr(lg.fft, name)(lg.asarray(x), axes)), getattr(np.fft, name)(x, axes))
    for n in (1, 2, 5, 8):
        for d in (1.0, 0.1):
            for name in ("fftfreq", "rfftfreq"):
                close(getattr(lg.fft, name)(n, d, dtype="float64"), getattr(np.fft, name)(n, d))
    assert lg.fft.fftfreq(4).dtype == np.float32 and lg.fft.rfftfreq(n=4, d=2.0, device="cpu").dtype == np.float32


def test_dtypes():
    assert lg.fft.fft(lg.asarray([1, 2])).dtype == np.complex64
    assert lg.fft.rfft(lg.asarray(np.zeros(4, np.float16))).dtype == np.complex64
    assert lg.fft.fft(lg.asarray(np.zeros((0, 4)))).shape == (0, 4)
    assert lg.fft.rfft(lg.asarray(np.zeros((0, 4)))).shape == (0, 3) and lg.fft.irfft(lg.asarray(np.zeros((0, 3)))).shape == (0, 4)


@pytest.mark.parametrize("name", ONE + MANY)
@pytest.mark.parametrize("norm", ["ortho", "forward"])
def test_gradients_are_the_directions_of_ascent(name, norm):
    """Of real functions of complex numbers: d f along u is Re sum(conj(grad) u); twice, and along the imaginary axis too."""
    x = sample(name, (3, 4))
    u = sample(name, (3, 4))
    w = rng.normal(size=getattr(np.fft, name)(x).shape)

    def f(t):
        y = getattr(lg.fft, name)(t, norm=norm)
        size = lg.abs(y) ** 2
        return (size * w).sum() + (size * size).sum() + (lg.real(y) * w).sum()

    t = lg.tensor(x)
    z = f(t)
    (g,) = z.gradient(t)
    h = 1e-5
    value = lambda a: float(f(lg.tensor(a)))
    np.testing.assert_allclose(np.real(np.sum(np.conj(np.asarray(g)) * u)), (value(x + h * u) - value(x - h * u)) / (2 * h), rtol=1e-7)
    assert g.dtype == x.dtype
    (gg,) = (lg.real(g * lg.asarray(np.conj(u)))).sum().gradient(t)
    slope = lambda a: np.asarray(f(s := lg.tensor(a)).gradient(s)[0])
    np.testing.assert_allclose(np.asarray(gg), (slope(x + h * u) - slope(x - h * u)) / (2 * h), rtol=1e-6, atol=1e-6 * np.abs(np.asarray(gg)).max())
    z.backward()
    np.testing.assert_allclose(np.asarray(t.grad), np.asarray(g), rtol=1e-12)


def test_numpys_functions_stay_lazy():
    x = rng.normal(size=(4, 6))
    for name in ("fft", "rfft", "fft2", "rfftn", "fftshift"):
        got = getattr(np.fft, name)(lg.tensor(x))
        assert isinstance(got, lg.Tensor)
        np.testing.assert_allclose(np.asarray(got), getattr(np.fft, name)(x), atol=1e-13)
    assert set(lg.fft.__all__) == set(np.fft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'dct'"):
        lg.fft.dct  # noqa: B018


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda x: lg.fft.fft(x, 0), ValueError, "one element at least"),
    (lambda x: lg.fft.irfft(x[:, :1]), ValueError, "one element at least"),
    (lambda x: lg.fft.fft(x, axis=2), IndexError, "2 dimensions"),
    (lambda x: lg.fft.fft(x, norm="no"), TypeError, "no such norm"),
    (lambda x: lg.fft.rfft(x * 1j), TypeError, "real numbers are transformed"),
    (lambda x: lg.fft.fftn(x, (2, 3), (0,)), ValueError, "differently many"),
    (lambda x: lg.fft.fftn(x, axes=(0, 0)), ValueError, "named twice"),
    (lambda x: lg.fft.rfftn(x, axes=()), ValueError, "one axis at least"),
    (lambda x: lg.fft.irfftn(x, axes=()), ValueError, "one axis at least"),
    (lambda x: lg.fft.fftfreq(0), ValueError, "one element at least"),
    (lambda x: lg.fft.rfftfreq(3, dtype="int32"), TypeError, "fractions"),
])
def test_wrong_arguments_are_refused(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call(lg.asarray(np.ones((2, 3))))
    assert any("test_fft.py" in note for note in caught.value.__notes__)
