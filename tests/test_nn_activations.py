"""Activations against their formulas in NumPy float64: values, derivatives, corners, infinities, far from 0."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special
from gpu import device
from nn import holds

import lazygrad as lg
from lazygrad import errors as E

N = lg.nn
INF, NAN = math.inf, math.nan
# away from all corners, both sides of each, and a few far away
X = np.array([-45.0, -7.3, -3.2, -2.9, -1.1, -0.62, -0.4, -0.03, 0.02, 0.31, 0.7, 1.2, 2.8, 3.3, 6.4, 19.0, 41.0])
LOG1P = lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)
SIGMOID = scipy.special.expit


def tanhshrink(x):
    with mpmath.workdps(40):
        return np.array([float(v - mpmath.tanh(v)) for v in map(mpmath.mpf, x.tolist())])


# name: (function, formula, limits at -inf and inf)
TABLE = {
    "relu": (N.relu, lambda x: np.maximum(x, 0), (0, INF)), "relu6": (N.relu6, lambda x: np.clip(x, 0, 6), (0, 6)),
    "leaky_relu": (lambda x: N.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x), (-INF, INF)),
    "elu": (lambda x: N.elu(x, 0.7), lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))), (-0.7, INF)),
    "selu": (N.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))), (-1.7580993408473766, INF)),
    "celu": (lambda x: N.celu(x, 1.7), lambda x: np.maximum(x, 0) + np.minimum(0, 1.7 * np.expm1(np.minimum(x, 0) / 1.7)), (-1.7, INF)),
    "gelu": (N.gelu, lambda x: x * scipy.special.ndtr(x), (0, INF)),
    "gelu tanh": (lambda x: N.gelu(x, "tanh"), lambda x: x * SIGMOID(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)), (0, INF)),
    "silu": (N.silu, lambda x: x * SIGMOID(x), (0, INF)), "mish": (N.mish, lambda x: x * np.tanh(LOG1P(x)), (0, INF)),
    "sigmoid": (N.sigmoid, SIGMOID, (0, 1)), "tanh": (N.tanh, np.tanh, (-1, 1)),
    "logsigmoid": (N.logsigmoid, lambda x: -LOG1P(-x), (-INF, 0)),
    "hardsigmoid": (N.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6, (0, 1)), "hardswish": (N.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6, (0, INF)),
    "hardtanh": (lambda x: N.hardtanh(x, -0.5, 2.0), lambda x: np.clip(x, -0.5, 2), (-0.5, 2)),
    "softplus": (N.softplus, lambda x: np.where(x > 20, x, LOG1P(x)), (0, INF)),
    "softplus sharp": (lambda x: N.softplus(x, 3.0, INF), lambda x: LOG1P(3 * x) / 3, (0, INF)),
    "softsign": (N.softsign, lambda x: x / (1 + np.abs(x)), (-1, 1)), "tanhshrink": (N.tanhshrink, tanhshrink, (-INF, INF)),
    "softshrink": (lambda x: N.softshrink(x, 0.6), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.6, 0), (-INF, INF)),
    "hardshrink": (lambda x: N.hardshrink(x, 0.6), lambda x: np.where(np.abs(x) > 0.6, x, 0), (-INF, INF)),
    "threshold": (lambda x: N.threshold(x, 0.1, 20.0), lambda x: np.where(x > 0.1, x, 20), (20, INF)),
    "rrelu": (lambda x: N.rrelu(None, x), lambda x: np.where(x > 0, x, 11 / 48 * x), (-INF, INF)),
}


@pytest.mark.parametrize("name", TABLE)
def test_activation_is_its_formula(name):
    f, formula, _ = TABLE[name]
    holds(f, formula, X, single=2e-6)


@pytest.mark.parametrize("where", ["cpu", "gpu"])
@pytest.mark.parametrize("name", TABLE)
def test_edges(name, where):
    f, _, limits = TABLE[name]
    graph = lg.Graph(device=device() if where == "gpu" else "cpu")
    x = graph.tensor(np.array([-INF, INF, NAN, 0.0, -0.0], np.float32))
    got = f(x).value
    np.testing.assert_allclose(got[:2], limits, rtol=2e-7)
    assert math.isnan(got[2]) and got[3] == got[4]
    far = graph.tensor(np.array([-1e30, -1e4, 1e4, 1e30], np.float32))
    y = f(far)
    g, = y.sum().gradient(far)
    assert np.isfinite(y.value).all() and np.isfinite(g.value).all() and np.isfinite((g * (far * 1e-30)).sum().gradient(far)[0].value).all()
    slopes = [0 if math.isfinite(v) else None for v in limits]
    for k, slope in zip((0, 3), slopes, strict=True):
        assert slope is None or g.value[k] == 0


# at the corners themselves: (function, points, derivatives that PyTorch documents by its formulas)
CORNERS = {
    "relu": (N.relu, [0.0], [0.0]), "relu6": (N.relu6, [0.0, 6.0], [0.0, 0.0]), "hardtanh": (N.hardtanh, [-1.0, 1.0], [0.0, 0.0]),
    "hardsigmoid": (N.hardsigmoid, [-3.0, 3.0], [0.0, 0.0]), "hardswish": (N.hardswish, [-3.0, 3.0], [0.0, 1.0]),
    "elu": (lambda x: N.elu(x, 0.5), [0.0], [0.5]), "selu": (N.selu, [0.0], [1.0507009873554805 * 1.6732632423543772]), "celu": (N.celu, [0.0], [1.0]),
    "leaky_relu": (lambda x: N.leaky_relu(x, 0.25), [0.0], [0.25]), "softshrink": (N.softshrink, [-0.5, 0.5], [0.0, 0.0]),
    "hardshrink": (N.hardshrink, [-0.5, 0.5], [0.0, 0.0]), "threshold": (lambda x: N.threshold(x, 1.0, 3.0), [1.0], [0.0]),
    "softsign": (N.softsign, [0.0], [1.0]), "tanhshrink": (N.tanhshrink, [0.0], [0.0]), "mish": (N.mish, [0.0], [0.6]),
}


@pytest.mark.parametrize("name", CORNERS)
def test_derivative_at_corners(name):
    f, at, want = CORNERS[name]
    for k, v in zip(at, want, strict=True):
        np.testing.assert_allclose(lg.grad(f)(np.float64(k)).item(), v, rtol=1e-14)
        np.testing.assert_allclose(lg.jvp(f, (np.float64(k),), (1.0,))[1].item(), v, rtol=1e-14)


def test_small_results_keep_their_digits():
    """gelu, tanhshrink and mish where the naive formulas cancel."""
    x = np.array([-6.0, -3.5, -0.4, 1e-3, 0.2, 0.999, 1.001])
    with mpmath.workdps(40):
        points = list(map(mpmath.mpf, x))
        gelu = [float(v * mpmath.ncdf(v)) for v in points]
        fit = [float(v * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (v + mpmath.mpf("0.044715") * v ** 3))) / 2) for v in points]
        mish = [float(v * mpmath.tanh(mpmath.log1p(mpmath.exp(v)))) for v in points]
    # erfc(u) and exp(u) have relative errors of 2 u² and |u| roundings of u
    np.testing.assert_allclose(N.gelu(lg.asarray(x)).value, gelu, rtol=1e-14)
    np.testing.assert_allclose(N.gelu(lg.asarray(x), approximate="tanh").value, fit, rtol=1e-14)
    np.testing.assert_allclose(N.mish(lg.asarray(x)).value, mish, rtol=1e-15)
    np.testing.assert_allclose(N.tanhshrink(lg.asarray(x)).value, tanhshrink(x), rtol=1.5e-15)
    np.testing.assert_allclose(N.tanhshrink(lg.asarray(x.astype(np.float32))).value, tanhshrink(x.astype(np.float32)), rtol=5e-7)


def test_prelu_has_a_weight_for_each_channel():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4)), rng.normal(size=3)
    holds(N.prelu, lambda x, w: np.where(x > 0, x, w[:, None] * x), x, w, batched=False)
    holds(N.prelu, lambda x, w: np.where(x > 0, x, w * x), x, w[:1], batched=False)
    holds(N.prelu, lambda x, w: np.where(x > 0, x, w * x), x[0, :, 0], w)
    assert N.prelu(lg.asarray(-2.0), 0.25).item() == -0.5
    with pytest.raises(E.ShapeError, match="one for each channel"):
        N.prelu(lg.asarray(x), lg.asarray(rng.normal(size=4)))


def test_rrelu_draws_a_slope_for_each_element():
    x = lg.tensor(np.full(10_000, -1.0))
    y = N.rrelu(lg.random.key(0), x, 0.2, 0.6, training=True)
    slopes = -y.value
    # uniform: mean 0.4, deviation of the mean of 10000 is 0.4 / sqrt(12) / 100 = 0.0012
    assert ((slopes >= 0.2) & (slopes < 0.6)).all() and abs(slopes.mean() - 0.4) < 0.006
    assert np.array_equal(y.sum().gradient(x)[0].value, slopes)
    assert N.rrelu(lg.random.key(0), lg.asarray([2.0]), training=True).item() == 2.0
    with pytest.raises(E.DataError, match="need a key"):
        N.rrelu(None, x, training=True)


def test_gates():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    silu = lambda x: x * SIGMOID(x)
    holds(N.glu, lambda x: x[..., :2] * SIGMOID(x[..., 2:]), x)
    holds(lambda x: N.glu(x, 0), lambda x: x[:1] * SIGMOID(x[1:]), x[:2])
    holds(N.swiglu, lambda x: silu(x[..., :2]) * x[..., 2:], x)
    holds(N.swiglu, lambda x, g: silu(g) * x, x, y)
    with pytest.raises(E.ShapeError, match=r"glu: axis 0 of \(3, 4\): it has no two halves"):
        N.glu(lg.asarray(x), axis=0)


@pytest.mark.parametrize("axis", [-1, 0])
def test_rows(axis):
    x = np.random.default_rng(2).normal(size=(4, 4)) * 5
    holds(lambda x: N.softmax(x, axis), lambda x: scipy.special.softmax(x, axis), x)
    holds(lambda x: N.softmin(x, axis), lambda x: scipy.special.softmax(-x, axis), x)
    holds(lambda x: N.log_softmax(x, axis), lambda x: scipy.special.log_softmax(x, axis), x)
    holds(lambda x: N.logsumexp(x, axis), lambda x: scipy.special.logsumexp(x, axis), x)


def test_gumbel_softmax_samples_its_distribution():
    p = np.array([0.1, 0.6, 0.3])
    logits = lg.tensor(np.tile(np.log(p), (20_000, 1)))
    hard = N.gumbel_softmax(lg.random.key(1), logits, hard=True)
    assert np.array_equal(np.sort(np.unique(hard.value)), [0, 1]) and (hard.value.sum(1) == 1).all()
    # deviation of a frequency of 20000 draws: sqrt(p (1 - p) / 20000) <= 0.0035
    np.testing.assert_allclose(hard.value.mean(0), p, atol=0.015)
    soft = N.gumbel_softmax(lg.random.key(1), logits)
    weights = np.arange(3.0)
    assert np.array_equal((hard * weights).sum().gradient(logits)[0].value, (soft * weights).sum().gradient(logits)[0].value)
    across = N.gumbel_softmax(lg.random.key(1), lg.asarray(np.zeros((3, 5))), 0.5, True, axis=0).value
    assert across.shape == (3, 5) and (across.sum(0) == 1).all()
    with pytest.raises(E.DataError, match="a temperature is positive"):
        N.gumbel_softmax(lg.random.key(1), logits, tau=0.0)


def test_integers_count_as_float32_and_complex_numbers_are_refused():
    for name, (f, _, _) in TABLE.items():
        assert f(lg.asarray([1, -2])).dtype == (np.int64 if name == "relu" else np.float32), name
        if name not in ("sigmoid", "tanh", "leaky_relu", "elu", "logsigmoid"):        # of the main namespace
            with pytest.raises(E.DTypeError, match="complex numbers have no order"):
                f(lg.asarray([1j]))


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: N.hardtanh(x, 2.0, 1.0), "hardtanh: min_val=2.0, max_val=1.0: nothing lies between"),
    (lambda x: N.softshrink(x, -1.0), "softshrink: lambd=-1.0"), (lambda x: N.celu(x, 0.0), "celu: alpha=0.0"), (lambda x: N.softplus(x, 0.0), "softplus: beta=0.0"),
    (lambda x: N.gelu(x, "fast"), "gelu: approximate='fast'"),
])
def test_settings_without_meaning_are_errors(call, message):
    with pytest.raises(TypeError, match=message) as caught:
        call(lg.asarray([1.0]))
    assert any("test_nn_activations.py" in note for note in caught.value.__notes__)
