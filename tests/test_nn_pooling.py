"""Pooling and interpolation of lazygrad.nn: values against loops over windows and pixels, derivatives, ties, edges, errors; cpu and gpu."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gpu import device as gpu_device

import lazygrad as lg
from lazygrad.errors import DataError, DTypeError, ShapeError
from lazygrad.testing import check_grads

rng = np.random.default_rng(12)


def normal(*shape):
    return rng.normal(size=shape)


def distinct(*shape):
    """Numbers a tenth apart: no ties within the reach of a difference quotient."""
    return rng.permutation(math.prod(shape)).reshape(shape) * 0.1 - 2


# ---- windows ------------------------------------------------------------------------------------------------------------------

def pooled(x, f, window, stride=None, padding=0, dilation=1, ceil_mode=False):
    """f(elements of x in the window, the window's size within the padding) for every window of (N, C, *sizes)."""
    n = x.ndim - 2
    window, padding, dilation = (v if isinstance(v, tuple) else (v,) * n for v in (window, padding, dilation))
    stride = window if stride is None else stride if isinstance(stride, tuple) else (stride,) * n
    count = []
    for m, k, s, p, d in zip(x.shape[2:], window, stride, padding, dilation, strict=True):
        room = m + 2 * p - (k - 1) * d - 1
        c = (math.ceil if ceil_mode else math.floor)(room / s) + 1
        count.append(c - 1 if ceil_mode and (c - 1) * s >= m + p else c)
    out = np.zeros((*x.shape[:2], *count))
    for at in np.ndindex(*out.shape):
        lines = [range(i * s - p, i * s - p + k * d, d) for i, s, p, k, d in zip(at[2:], stride, padding, window, dilation, strict=True)]
        kept = [[j for j in line if 0 <= j < m] for line, m in zip(lines, x.shape[2:], strict=True)]
        size = math.prod(len([j for j in line if j < m + p]) for line, m, p in zip(lines, x.shape[2:], padding, strict=True))
        out[at] = f(x[at[:2]][np.ix_(*kept)], size)
    return out


SETTINGS = [
    ((2, 3, 7), {"window": 2}),
    ((2, 3, 8), {"window": 3, "stride": 1, "padding": 1}),
    ((2, 1, 7), {"window": 3, "stride": 2, "ceil_mode": True}),
    ((1, 2, 5), {"window": 2, "stride": 4, "ceil_mode": True}),
    ((0, 2, 6), {"window": 3}),
    ((1, 1, 4), {"window": 4}),
    ((1, 2, 3), {"window": 1}),
    ((2, 2, 6, 4), {"window": 2}),
    ((1, 2, 6, 5), {"window": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
    ((1, 2, 5, 5), {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 1, 3, 4, 5), {"window": 2, "stride": 1, "padding": (1, 0, 1)}),
]


def run(f, x, device):
    """f(x) and the gradient of (f(x) * weights).sum(), compiled; float32 on the GPU."""
    graph = lg.Graph(device=device)
    x = graph.tensor(x if device == "cpu" else x.astype("float32"))
    y = f(x)
    return graph.compile([], [y, *y.gradient(x)])()


@pytest.mark.parametrize("shape,settings", SETTINGS)
def test_pools_are_those_of_loops(shape, settings):
    x = distinct(*shape)
    for device, atol in (("cpu", 1e-14), (gpu_device(), 1e-5))[:1 + ("padding" in settings or len(shape) > 3)]:
        y, g = run(lambda x: lg.nn.max_pool(x, **settings), x, device)
        assert np.array_equal(y, pooled(x, lambda w, n: w.max(), **settings).astype(y.dtype))
        assert g.sum() == y.size and set(np.unique(g)) <= {float(k) for k in range(math.prod(y.shape) + 1)}
        for include in (True, False):
            want = pooled(x, lambda w, n, include=include: w.sum() / (n if include else w.size), **settings)
            y, _ = run(lambda x, include=include: lg.nn.avg_pool(x, **settings, count_include_pad=include), x, device)
            np.testing.assert_allclose(y, want, rtol=0, atol=10 * atol)
    if "padding" not in settings:
        f = lambda x: lg.nn.lp_pool(x, 3, settings["window"], settings.get("stride"), settings.get("ceil_mode", False))
        np.testing.assert_allclose(f(lg.asarray(x)).value, pooled(x, lambda w, n: (abs(w) ** 3).sum() ** (1 / 3), **settings), rtol=1e-13)
    check_grads(lambda x: (lg.nn.max_pool(x, **settings) ** 2).sum(), (x,), order=1)


def test_dilated_maxima_and_where_they_are():
    x = distinct(2, 2, 7, 6)
    y, i = lg.nn.max_pool2d(lg.asarray(x), (2, 3), 1, 1, 2, return_indices=True)
    want = pooled(x, lambda w, n: w.max(), (2, 3), 1, 1, 2)
    assert np.array_equal(y.value, want)
    assert i.dtype == np.int64 and np.array_equal(np.take_along_axis(x.reshape(2, 2, -1), i.value.reshape(2, 2, -1), 2).reshape(want.shape), want)
    first = lg.nn.max_pool1d(lg.zeros((1, 4)), 2, return_indices=True)[1]
    assert first.tolist() == [[0, 2]], "the first of equals"


def test_equal_maxima_share_the_derivative():
    x = lg.tensor([[[1.0, 1.0, 0.0, 1.0]]])
    z = lg.nn.max_pool(x, 2, 1)
    z.backward(np.array([[[2.0, 4.0, 8.0]]]))
    assert x.grad.tolist() == [[[1.0, 1.0 + 4.0, 0.0, 8.0]]]


def test_maxima_of_special_values_and_integers():
    x = np.array([[[-np.inf, -np.inf, np.nan, 1.0, -0.0, 0.0]]])
    assert np.array_equal(lg.nn.max_pool(lg.asarray(x), 2).value, [[[-np.inf, np.nan, 0.0]]], equal_nan=True)
    assert lg.nn.max_pool(lg.asarray([[[-5, -7, -9]]]), 2, 1, 1).tolist() == [[[-5, -5, -7, -9]]]
    assert lg.nn.max_pool(lg.asarray([[[False, True, False]]]), 2, 1).tolist() == [[[True, True]]]
    assert lg.nn.avg_pool(lg.asarray([[[1, 2]]]), 2).tolist() == [[[1.5]]]
    half = lg.nn.avg_pool(lg.asarray(np.full((1, 1, 4096), 30.0, "float16")), 4096)
    assert half.dtype == np.float16 and half.tolist() == [[[30.0]]], "their sum is more than float16 holds"


def test_means_and_norms_to_second_order():
    x = normal(1, 2, 5, 4)
    check_grads(lambda x: lg.nn.avg_pool(x, 3, 2, 1, ceil_mode=True, count_include_pad=False) ** 3, (x,))
    check_grads(lambda x: lg.nn.lp_pool(x, 3, 2, 1), (x,))
    check_grads(lambda x: lg.nn.adaptive_avg_pool(x, 3) ** 3, (x,))
    check_grads(lambda x: lg.nn.max_pool(x, 2, 1) ** 3, (distinct(1, 1, 4, 3),))
    zero = lg.tensor(np.zeros((1, 1, 2)))
    lg.nn.lp_pool(zero, 2, 2).backward()
    assert zero.grad.tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize("sizes,count", [((5,), 3), ((6,), 2), ((3,), 5), ((7, 5), (3, None)), ((4, 3, 5), (2, 3, 1)), ((5,), 0)])
def test_adaptive_pools_are_those_of_loops(sizes, count):
    x = distinct(2, 2, *sizes)
    new = [m if c is None else c for m, c in zip(sizes, count if isinstance(count, tuple) else (count,) * len(sizes), strict=True)]
    means, maxima = np.zeros((2, 2, *new)), np.zeros((2, 2, *new))
    for at in np.ndindex(*new):
        where = tuple(slice(i * m // c, -(-(i + 1) * m // c)) for i, m, c in zip(at, sizes, new, strict=True))
        part = x[(..., *where)].reshape(2, 2, -1)
        means[(..., *at)], maxima[(..., *at)] = part.mean(-1), part.max(-1)
    for device, atol in (("cpu", 1e-14), (gpu_device(), 1e-5))[:1 + (count == 3 or len(sizes) > 2)]:
        y, g = run(lambda x: lg.nn.adaptive_avg_pool(x, count), x, device)
        np.testing.assert_allclose(y, means, rtol=0, atol=10 * atol)
        np.testing.assert_allclose(g.sum(), y.size, rtol=1e-6)
        y, g = run(lambda x: lg.nn.adaptive_max_pool(x, count), x, device)
        assert np.array_equal(y, maxima.astype(y.dtype)) and g.sum() == y.size


def test_pools_of_batches_of_batches():
    x = distinct(3, 2, 2, 6)
    for f in (lambda x: lg.nn.max_pool(x, 2, 1, 1), lambda x: lg.nn.avg_pool(x, 3, 2), lambda x: lg.nn.adaptive_max_pool(x, 4),
              lambda x: lg.nn.interpolate(x, 9, mode="linear")):
        np.testing.assert_allclose(lg.vmap(f)(x).value, np.stack([f(lg.asarray(a)).value for a in x]), rtol=1e-15, atol=1e-15)   # products may be fused
        g = lg.vmap(lg.grad(lambda x, f=f: (f(x) ** 2).sum()))(x)
        np.testing.assert_allclose(g.value[1], lg.grad(lambda x, f=f: (f(x) ** 2).sum())(x[1]).value, rtol=1e-13)


# ---- interpolation ----------------------------------------------------------------------------------------------------------------

def cubic(s):
    s, a = abs(s), -0.75
    return (a + 2) * s**3 - (a + 3) * s**2 + 1 if s <= 1 else a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0.0


def matrix(mode, old, new, ratio, aligned):
    """What each of `old` pixels counts in each of `new` ones."""
    out = np.zeros((new, old))
    for i in range(new):
        if mode == "nearest":
            out[i, min(math.floor(i * ratio), old - 1)] = 1
        elif mode == "nearest-exact":
            out[i, min(math.floor((i + 0.5) * ratio), old - 1)] = 1
        else:
            at = i * (old - 1) / max(new - 1, 1) if aligned else (i + 0.5) * ratio - 0.5
            at = max(at, 0) if mode == "linear" else at
            low = math.floor(at)
            for j in range(low - 1, low + 3):
                w = cubic(at - j) if mode == "cubic" else max(1 - abs(at - j), 0)
                out[i, min(max(j, 0), old - 1)] += w
    return out


@pytest.mark.parametrize("mode,sizes", [("nearest", (4, 3)), ("nearest-exact", (5,)), ("linear", (5,)), ("bilinear", (4, 3)), ("trilinear", (2, 3, 4)),
                                        ("bicubic", (4, 5))])
def test_interpolation_is_a_matrix_along_each_axis(mode, sizes):
    x = normal(2, 2, *sizes)
    kind = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    for aligned in (None, True) if kind in ("linear", "cubic") else (None,):
        for size, factor in ((1, None), (7, None), (3, None), (None, 2), (None, 0.5), (None, 1.75)):
            want = x
            for axis, m in enumerate(sizes, 2):
                new = size or math.floor(m * factor)
                want = np.moveaxis(np.tensordot(matrix(kind, m, new, m / new if size else 1 / factor, aligned), want, (1, axis)), 0, axis)
            got = lg.nn.interpolate(lg.asarray(x), size, factor, mode, aligned)
            np.testing.assert_allclose(got.value, want, rtol=0, atol=1e-13)
    if len(sizes) == 1 or mode == "bicubic":
        y, g = run(lambda x: lg.nn.interpolate(x, scale_factor=1.75, mode=mode), x, gpu_device())
        np.testing.assert_allclose(y, lg.nn.interpolate(lg.asarray(x), scale_factor=1.75, mode=mode).value, rtol=0, atol=1e-5)
        np.testing.assert_allclose(g.sum(), y.size, rtol=1e-5)                                       # weights of a result sum to 1
    check_grads(lambda x: lg.nn.interpolate(x, 3, mode=mode) ** 2, (x,), order=2 if mode == "bicubic" else 1)


def test_interpolation_keeps_dtypes_and_exact_places():
    x = np.arange(6.0).reshape(1, 1, 6)
    assert lg.nn.interpolate(lg.asarray(x), 6, mode="linear").tolist() == x.tolist()
    assert lg.nn.interpolate(lg.asarray(x), scale_factor=1 / 3).tolist() == [[[0.0, 3.0]]]
    assert lg.nn.interpolate(lg.asarray([[[1, 2]]]), 4).tolist() == [[[1, 1, 2, 2]]]
    half = lg.nn.interpolate(lg.asarray(x.astype("float16")), 11, mode="linear", align_corners=True)
    assert half.dtype == np.float16 and half.tolist() == [[[k / 2 for k in range(11)]]]
    area = lg.nn.interpolate(lg.asarray(x), 4, mode="area")
    assert np.array_equal(area.value, lg.nn.adaptive_avg_pool(lg.asarray(x), 4).value)
    wide = lg.nn.interpolate(lg.asarray(x), scale_factor=1.3, mode="linear", recompute_scale_factor=True)
    assert np.array_equal(wide.value, lg.nn.interpolate(lg.asarray(x), 7, mode="linear").value)


def test_shuffles_of_pixels_and_channels():
    x = np.arange(2 * 8 * 3 * 2.0).reshape(2, 8, 3, 2)
    y = lg.nn.pixel_shuffle(lg.asarray(x), 2)
    for n, c, h, w in np.ndindex(2, 2, 6, 4):
        assert y.value[n, c, h, w] == x[n, c * 4 + h % 2 * 2 + w % 2, h // 2, w // 2]
    assert np.array_equal(lg.nn.pixel_unshuffle(y, 2).value, x)
    assert np.array_equal(lg.nn.channel_shuffle(lg.asarray(x), 4).value, x[:, [0, 2, 4, 6, 1, 3, 5, 7]])


Z = lg.zeros
BAD = [
    (lambda: lg.nn.max_pool(Z((1, 1, 3)), 4), ShapeError, "max_pool: (1, 1, 3) and window 4: the window covers 4 positions, the padded input has 3"),
    (lambda: lg.nn.max_pool(Z((1, 1, 5)), 2, padding=2), ShapeError, "padding is at most half of the window"),
    (lambda: lg.nn.max_pool(Z((1, 5)), 2), ShapeError, "pass (N, C, *sizes)"),
    (lambda: lg.nn.max_pool(Z((1, 1, 5)), 0), ShapeError, "window 0: it must be 1 or more"),
    (lambda: lg.nn.max_pool(Z((1, 1, 5)), 2, 0), ShapeError, "stride 0: it must be 1 or more"),
    (lambda: lg.nn.max_pool(lg.asarray([[[1j]]]), 1), DTypeError, "complex numbers have no order"),
    (lambda: lg.nn.avg_pool2d(Z((1, 1, 5)), (2, 2, 2)), ShapeError, "it has 3 numbers, for 2 axes"),
    (lambda: lg.nn.avg_pool(Z((1, 1, 5)), 2, divisor_override=0), ShapeError, "nothing can be divided by it"),
    (lambda: lg.nn.lp_pool(Z((1, 1, 5)), 0, 2), ShapeError, "it must be positive"),
    (lambda: lg.nn.adaptive_avg_pool(Z((1, 1, 0)), 2), ShapeError, "a spatial axis has no elements"),
    (lambda: lg.nn.adaptive_max_pool(Z((1, 1, 4)), -1), ShapeError, "output_size (-1,): it must be 0 or more"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), 2, 2), DataError, "exactly one of them is needed"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), 2, mode="cubic"), DataError, "there is no such mode"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), 2, mode="bilinear"), ShapeError, "it needs 2 spatial axes"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), 2, align_corners=True), DataError, "it has no corners to align"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), scale_factor=0.1), ShapeError, "the result would have sizes (0,)"),
    (lambda: lg.nn.interpolate(Z((1, 1, 4)), scale_factor=-1), ShapeError, "positive numbers"),
    (lambda: lg.nn.pixel_shuffle(Z((3, 2, 2)), 2), ShapeError, "the channels are no multiple of 4"),
    (lambda: lg.nn.pixel_unshuffle(Z((3, 2, 3)), 2), ShapeError, "height and width are no multiples of 2"),
    (lambda: lg.nn.channel_shuffle(Z((1, 3, 2)), 2), ShapeError, "the channels do not divide into 2 groups"),
]


@pytest.mark.parametrize("call,kind,text", BAD)
def test_errors_name_what_is_wrong_and_the_line(call, kind, text):
    with pytest.raises(kind) as e:
        call()
    assert text in str(e.value) and any("test_nn_pooling" in note for note in e.value.__notes__)
