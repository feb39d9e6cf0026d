"""Convolutions of lazygrad.nn: values against loops over elements and SciPy, derivatives against differences, batches, errors; cpu and gpu."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import Ran
from gpu import device as gpu_device
from scipy.signal import correlate

import lazygrad as lg
from lazygrad.compiler import convolution
from lazygrad.errors import DataError, ShapeError
from lazygrad.ir.program import Gemm
from lazygrad.testing import check_grads

rng = np.random.default_rng(11)


def normal(*shape, dtype="float64"):
    return rng.normal(size=shape).astype(dtype)


def products(x, w, stride=1, padding=0, dilation=1, groups=1):
    """(shape of the result, and for every product that a convolution adds up: its places in the result, in x and in w)."""
    n = len(x) - 2
    stride, dilation, padding = (v if isinstance(v, tuple) else (v,) * n for v in (stride, dilation, padding))
    pads = [p if isinstance(p, tuple) else (p, p) for p in padding]
    count = [(m + sum(p) - (k - 1) * d - 1) // s + 1 for m, p, k, d, s in zip(x[2:], pads, w[2:], dilation, stride, strict=True)]
    out, found = (x[0], w[0], *count), []
    for at in np.ndindex(*out):
        first = at[1] // (w[0] // groups) * w[1]
        for tap in np.ndindex(*w[1:]):
            place = [p * s + k * d - low for p, s, k, d, (low, _) in zip(at[2:], stride, tap[1:], dilation, pads, strict=True)]
            if all(0 <= p < m for p, m in zip(place, x[2:], strict=True)):
                found.append((at, (at[0], first + tap[0], *place), (at[1], *tap)))
    return out, found


def loops(x, w, **settings):
    """The convolution, one product after another."""
    shape, found = products(x.shape, w.shape, **settings)
    out = np.zeros(shape, x.dtype)
    for o, i, k in found:
        out[o] += x[i] * w[k]
    return out


def pulled(x, w, ct, **settings):
    """The cotangents of x and of w, one product after another."""
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for o, i, k in products(x.shape, w.shape, **settings)[1]:
        dx[i] += ct[o] * w[k]
        dw[k] += ct[o] * x[i]
    return dx, dw


# shapes of x and w, settings
CASES = [
    ((2, 3, 8), (4, 3, 3), {}),
    ((1, 2, 5), (1, 2, 5), {}),                                                  # the kernel is as large as the input
    ((2, 2, 6), (3, 2, 1), {}),                                                  # one tap
    ((2, 2, 7), (3, 2, 2), {"stride": 3}),                                       # steps longer than the kernel
    ((0, 2, 7), (3, 2, 2), {"padding": 1}),                                      # no examples
    ((2, 4, 9), (4, 1, 3), {"groups": 4, "padding": 2, "dilation": 2}),          # one channel a group
    ((2, 4, 9), (6, 2, 3), {"groups": 2, "stride": 2, "padding": ((1, 2),)}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"padding": (1, 0)}),
    ((1, 2, 7, 8), (2, 2, 3, 3), {"stride": (2, 3), "padding": 2, "dilation": (2, 1)}),
    ((2, 4, 5, 5), (4, 2, 3, 3), {"groups": 2, "padding": 1}),
    ((1, 2, 4, 3, 5), (2, 2, 2, 1, 3), {"stride": (1, 1, 2), "padding": (1, 0, 1)}),
]


@pytest.mark.parametrize("x,w,settings", CASES)
def test_values_are_those_of_loops(x, w, settings):
    x, w, b = normal(*x), normal(*w), normal(w[0])
    want = loops(x, w, **settings) + b.reshape(-1, *(1,) * (x.ndim - 2))
    got = lg.nn.conv(lg.asarray(x), lg.asarray(w), lg.asarray(b), **settings)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.value, want, rtol=0, atol=1e-13)              # sums of at most 54 products of a few units
    for dtype, atol in (("float32", 2e-5), ("float16", 2e-2), ("int64", 0), ("complex128", 1e-13)):
        a, v = (2 * x).astype(dtype), (2 * w).astype(dtype)
        want = loops(a.astype("float64"), v.astype("float64"), **settings) if dtype != "complex128" else loops(a, v, **settings)
        got = lg.nn.conv(lg.asarray(a), lg.asarray(v), **settings)
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(got.value, want, rtol=0, atol=atol)           # float16: summed in float32, rounded once


@pytest.mark.parametrize("x,w,settings", CASES)
def test_compiled_with_gradients_on_both_devices(x, w, settings):
    a, v = normal(*x, dtype="float32"), normal(*w, dtype="float32")
    ct = normal(*products(x, w, **settings)[0], dtype="float32")
    wide = [u.astype("float64") for u in (a, v, ct)]
    want = loops(*wide[:2], **settings), *pulled(*wide, **settings)
    for device in ("cpu", gpu_device()):
        graph = lg.Graph(device=device)
        x, w = graph.tensor(a), graph.tensor(v)
        y = lg.nn.conv(x, w, **settings)
        got = graph.compile([], [y, *y.gradient(x, w, ct=ct)])()
        for g, exact in zip(got, want, strict=True):
            np.testing.assert_allclose(g, exact, rtol=0, atol=1e-4)              # float32, sums of up to 500 products


def test_large_ones_on_a_gpu_are_products_of_blocks(monkeypatch):
    """Windows of some examples at a time, in order: the next block after the product of the one before."""
    for name, value in (("LARGE", 1), ("BLOCK", 1 << 14)):
        monkeypatch.setattr(convolution, name, value)
    a, v = normal(5, 4, 7, 8, dtype="float32"), normal(6, 4, 3, 3, dtype="float32")
    settings = {"stride": (1, 2), "padding": 1}
    want = loops(a.astype("float64"), v.astype("float64"), **settings)
    ct = normal(*want.shape, dtype="float32")
    x, w, c = lg.tensor(a), lg.tensor(v), lg.tensor(ct)
    y = lg.nn.conv(x, w, **settings)
    ran = Ran([y.term, *[g.term for g in y.gradient(x, w, ct=c)]], [x.term, w.term, c.term], [a, v, ct])
    products = [s for s in ran.program.steps if isinstance(s, Gemm)]
    assert len(products) >= 6 and max(ran.program.buffers[s.b].aval.nbytes for s in products) <= 1 << 14
    wide = [u.astype("float64") for u in (a, v, ct)]
    for got, exact in zip(ran.outputs, (want, *pulled(*wide, **settings)), strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-4)                # float32, sums of up to 140 products


@pytest.mark.parametrize("x,w,settings", [CASES[6], CASES[8], CASES[9]])
def test_derivatives_of_both_operands_to_second_order(x, w, settings):
    check_grads(lambda x, w, b: lg.nn.conv(x, w, b, **settings) ** 2, (normal(*x), normal(*w), normal(w[0])))
    back = {k: v for k, v in settings.items() if k != "padding"}
    check_grads(lambda y, w: lg.nn.conv_transpose(y, w, padding=1, **back) ** 2, (normal(x[0], w[0], *[3] * (len(x) - 2)), normal(*w)))


def test_correlation_is_scipys():
    x, w = normal(9, 7), normal(3, 4)
    for mode, padding in (("valid", "valid"), ("full", (2, 3))):
        got = lg.nn.conv(lg.asarray(x[None, None]), lg.asarray(w[None, None]), padding=padding)
        np.testing.assert_allclose(got.value[0, 0], correlate(x, w, mode), rtol=0, atol=1e-13)
    x, w = normal(9, 8), normal(3, 3)
    got = lg.nn.conv2d(lg.asarray(x[None]), lg.asarray(w[None, None]), padding="same")          # (C, H, W) without examples
    np.testing.assert_allclose(got.value[0], correlate(x, w, "same"), rtol=0, atol=1e-13)


def test_same_padding_gives_a_result_for_every_step():
    for size in (5, 6, 7):
        for k, stride, dilation in ((3, 1, 1), (4, 2, 1), (2, 3, 2), (1, 2, 1)):
            x, w = normal(1, 1, size), normal(1, 1, k)
            got = lg.nn.conv(lg.asarray(x), lg.asarray(w), padding="same", stride=stride, dilation=dilation)
            assert got.shape == (1, 1, -(-size // stride))
            total = max((got.shape[2] - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            want = loops(x, w, stride=stride, dilation=dilation, padding=((total // 2, total - total // 2),))
            np.testing.assert_allclose(got.value, want, rtol=0, atol=1e-14)


TRANSPOSED = [
    ((2, 3, 4), (3, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 4, 5), (4, 3, 2), {"groups": 2, "dilation": 3}),
    ((2, 2, 3, 4), (2, 3, 2, 3), {"stride": (3, 1), "padding": (0, 1)}),
    ((1, 2, 2, 3, 2), (2, 1, 2, 2, 1), {"stride": 2, "output_padding": (1, 0, 1)}),
    ((2, 2, 1), (2, 1, 4), {"stride": 1}),
]


@pytest.mark.parametrize("y,w,settings", TRANSPOSED)
def test_transposed_convolution_is_the_transpose(y, w, settings):
    y, w = normal(*y), normal(*w)
    got = lg.nn.conv_transpose(lg.asarray(y), lg.asarray(w), **settings)
    forward = {k: v for k, v in settings.items() if k != "output_padding"}
    zeros = np.zeros(got.shape)
    assert products(zeros.shape, w.shape, **forward)[0] == y.shape, "conv takes the result's shape back to that of the input"
    np.testing.assert_allclose(got.value, pulled(zeros, w, y, **forward)[0], rtol=0, atol=1e-13)
    graph = lg.Graph(device=gpu_device())
    with_bias = lg.nn.conv_transpose(graph.tensor(y.astype("float32")), graph.tensor(w.astype("float32")), graph.tensor([1.0] * got.shape[1]), **settings)
    np.testing.assert_allclose(with_bias.value, got.value + 1, rtol=0, atol=2e-5)


def test_examples_of_inputs_and_of_weights():
    x, w = normal(3, 2, 4, 6), normal(3, 4, 2, 3)
    for groups in (1, 2):
        settings = {"stride": 2, "padding": 1, "groups": groups}
        f = lambda x, w, s=settings: lg.nn.conv(x, w, **s)
        weights = w[:, :, :4 // groups] if groups == 2 else normal(3, 4, 4, 3)
        for axes, want in (((0, None), [loops(a, weights[0], **settings) for a in x]), ((None, 0), [loops(x[0], v, **settings) for v in weights]),
                           ((0, 0), [loops(a, v, **settings) for a, v in zip(x, weights, strict=True)])):
            args = [a if n == 0 else a[0] for a, n in zip((x, weights), axes, strict=True)]
            np.testing.assert_allclose(lg.vmap(f, axes)(*args).value, np.stack(want), rtol=0, atol=1e-13)
            grads = lg.vmap(lg.grad(lambda x, w, f=f: (f(x, w) ** 2).sum(), 1), axes)(*args)
            one = lg.grad(lambda x, w, f=f: (f(x, w) ** 2).sum(), 1)(x[0], weights[0])
            np.testing.assert_allclose(grads.value[0], one.value, rtol=0, atol=1e-11)


def test_unfold_and_fold_are_transposes():
    x, kind = normal(2, 3, 5, 4), {"kernel_size": (2, 3), "dilation": (2, 1), "padding": 1, "stride": (1, 2)}
    u = lg.nn.unfold(lg.asarray(x), **kind)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = [padded[:, :, i:i + 3:2, j:j + 3].reshape(2, -1) for i in range(5) for j in (0, 2)]
    assert np.array_equal(u.value, np.stack(want, -1))
    c = normal(*u.shape)
    folded = lg.nn.fold(lg.asarray(c), (5, 4), **kind)
    np.testing.assert_allclose((folded.value * x).sum(), (c * u.value).sum(), rtol=1e-12)
    check_grads(lambda x: lg.nn.unfold(x, **kind) ** 2, (x,), order=1)
    check_grads(lambda c: lg.nn.fold(c, (5, 4), **kind) ** 2, (c,), order=1)


Z = lg.zeros
BAD = [
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 2, 3))), ShapeError, "conv: (2, 3, 5) with weights (4, 2, 3): the input has 3 channels, the weights take 2; "
     "pass weights (O, C / groups, *taps)"),
    (lambda: lg.nn.conv(Z((2, 4, 5)), Z((3, 2, 3)), groups=2), ShapeError, "3 channels of the result do not divide into 2 groups"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), dilation=3), ShapeError, "the kernel covers 7 positions along axis 2, the padded input has 5"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 0))), ShapeError, "a kernel without taps"),
    (lambda: lg.nn.conv(Z((3, 5)), Z((4, 3))), ShapeError, "they have no spatial axis"),
    (lambda: lg.nn.conv(Z((5,)), Z((4, 3, 3))), ShapeError, "the input has 1 axes, not 3 (or 2 without examples)"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), Z(3)), ShapeError, "bias (3,): the result has 4 channels"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), stride=0), ShapeError, "stride 0: it must be 1 or more"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), padding=-1), ShapeError, "padding -1: it must be 0 or more"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), padding="full"), ShapeError, "there is no such padding"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), stride=(1, 2)), ShapeError, "it has 2 numbers, for 1 axis"),
    (lambda: lg.nn.conv(Z((2, 3, 5)), Z((4, 3, 3)), stride=1.5), DataError, "stride 1.5: it is no integer"),
    (lambda: lg.nn.conv2d(Z((2, 3, 5)), Z((4, 3, 3))), ShapeError, "conv2d: weights (4, 3, 3): they need 4 axes"),
    (lambda: lg.nn.conv_transpose(Z((2, 3, 5)), Z((4, 3, 3))), ShapeError, "the input has 3 channels, the weights take 4"),
    (lambda: lg.nn.conv_transpose(Z((2, 3, 5)), Z((3, 4, 3)), output_padding=1), ShapeError, "it must be smaller than stride or dilation"),
    (lambda: lg.nn.conv_transpose(Z((2, 3, 2)), Z((3, 4, 2)), padding=4), ShapeError, "the result would have sizes (-5,)"),
    (lambda: lg.nn.unfold(Z((2, 3, 5)), 7), ShapeError, "a window is larger than the padded input"),
    (lambda: lg.nn.fold(Z((2, 3, 5)), (6,), 2), ShapeError, "columns of 2 taps, 5 of them, are needed"),
]


@pytest.mark.parametrize("call,kind,text", BAD)
def test_errors_name_what_is_wrong_and_the_line(call, kind, text):
    with pytest.raises(kind) as e:
        call()
    assert text in str(e.value) and any("test_nn_convolution" in note for note in e.value.__notes__)
