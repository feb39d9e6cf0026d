"""Normalizations and distances against their formulas in NumPy float64; running statistics; float16; errors."""

from __future__ import annotations

import numpy as np
import pytest
from nn import holds

import lazygrad as lg
from lazygrad import compiler
from lazygrad import errors as E
from lazygrad.backends import llvm
from lazygrad.ir.program import Call

N = lg.nn
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 2 + 1
W, B = RNG.normal(size=6), RNG.normal(size=6)
IMAGES = RNG.normal(size=(3, 4, 2, 3)) + 0.5
CW, CB, CM, CV = RNG.normal(size=4), RNG.normal(size=4), RNG.normal(size=4), RNG.random(4) + 0.5
EPS = 1e-5


def standard(x, axes, eps=EPS):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def across(v, ndim=4):
    return v.reshape(1, -1, *[1] * (ndim - 2))


# ---- over the last axes ---------------------------------------------------------------------------------------------------

def test_layer_norm():
    holds(N.layer_norm, lambda x: standard(x, -1), X)
    holds(lambda x, w, b: N.layer_norm(x, w, b, eps=0.1), lambda x, w, b: standard(x, -1, 0.1) * w + b, X, W, B)
    two, bias = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    holds(lambda x, w: N.layer_norm(x, w), lambda x, w: standard(x, (2, 3)) * w, IMAGES, two, batched=False)
    holds(lambda x, b: N.layer_norm(x, bias=b), lambda x, b: standard(x, (2, 3)) + b, IMAGES, bias, batched=False)
    holds(lambda x: N.layer_norm(x, normalized_shape=(4, 2, 3)), lambda x: standard(x, (1, 2, 3)), IMAGES)


def test_rms_norm():
    holds(N.rms_norm, lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 2.0**-52), X, single=2e-5)     # eps is another one in float32
    holds(lambda x, w: N.rms_norm(x, w, eps=0.1), lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1) * w, X, W)
    assert N.rms_norm(lg.asarray(np.zeros(3))).tolist() == [0, 0, 0]


def test_equal_numbers_are_normalized_to_zero_with_finite_derivatives():
    for f in (N.layer_norm, lambda x: N.group_norm(x, 2), N.instance_norm, lambda x: N.batch_norm(x, training=True)):
        x = lg.tensor(np.full((2, 4, 5), 3.0))
        y = f(x)
        g, = (y * np.arange(5.0)).sum().gradient(x)
        assert (y.value == 0).all() and np.isfinite(g.value).all() and np.isfinite((g * g).sum().gradient(x)[0].value).all()


def test_float16_is_computed_in_float32():
    x = np.full((2, 64), 300.0, np.float16)
    x[:, ::2] = -300
    for f in (N.layer_norm, N.rms_norm, lambda x: N.group_norm(x, 2)):
        y = f(lg.asarray(x))
        assert y.dtype == np.float16
        np.testing.assert_allclose(y.value, np.sign(x), rtol=1e-3)          # half a step of float16 is 5e-4


def test_layer_norm_with_gradients_is_one_kernel_over_rows_and_sums_of_weights():
    """What the compiler makes of the formula written by hand."""
    rng = np.random.default_rng(0)
    x, w, b, c = (lg.tensor(rng.normal(size=s).astype(np.float32)) for s in ((64, 96), 96, 96, (64, 96)))

    def by_hand(x, w, b):
        d = x - x.mean(axis=-1, keepdims=True)
        return d / lg.sqrt((d * d).mean(axis=-1, keepdims=True) + EPS) * w + b

    def kernels(f):
        y = (f(x, w, b) * c).sum()
        roots = [y.term, *[g.term for g in y.gradient(x, w, b)]]
        found = compiler.compile(roots, [t.term for t in (x, w, b, c)], (None,) * len(roots), llvm.caps)
        return sum([isinstance(s, Call) for s in found.steps])
    assert kernels(N.layer_norm) <= kernels(by_hand)


# ---- over batches and channels ----------------------------------------------------------------------------------------------

def test_batch_norm_in_training():
    formula = lambda x, w, b: standard(x, (0, 2, 3)) * across(w) + across(b)
    holds(lambda x, w, b: N.batch_norm(x, weight=w, bias=b, training=True), formula, IMAGES, CW, CB, batched=False)
    holds(lambda x: N.batch_norm(x, training=True), lambda x: standard(x, 0), X, batched=False)
    x, m, v = lg.tensor(IMAGES), lg.tensor(CM), lg.tensor(CV)
    found = N.batch_norm(x, m, v, training=True, momentum=0.3)
    np.testing.assert_allclose(found.output.value, standard(IMAGES, (0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.running_mean.value, 0.7 * CM + 0.3 * IMAGES.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(found.running_var.value, 0.7 * CV + 0.3 * IMAGES.var((0, 2, 3), ddof=1), rtol=1e-13)
    assert not found.running_mean.requires_grad and not found.running_var.requires_grad and m.value.tolist() == CM.tolist()


def test_batch_norm_by_running_statistics():
    formula = lambda x, m, v, w, b: (x - across(m)) / np.sqrt(across(v) + EPS) * across(w) + across(b)
    holds(N.batch_norm, formula, IMAGES, CM, CV, CW, CB, batched=False)
    together = lg.vmap(N.batch_norm, (0, None, None))(lg.asarray(np.stack([IMAGES, -IMAGES])), CM, CV).value
    np.testing.assert_allclose(together[1], formula(-IMAGES, CM, CV, np.ones(4), np.zeros(4)), rtol=1e-12)


def test_instance_norm():
    holds(lambda x, w, b: N.instance_norm(x, weight=w, bias=b), lambda x, w, b: standard(x, (2, 3)) * across(w) + across(b), IMAGES, CW, CB, batched=False)
    found = N.instance_norm(lg.asarray(IMAGES), CM, CV, momentum=0.3)
    np.testing.assert_allclose(found.running_mean.value, 0.7 * CM + 0.3 * IMAGES.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(found.running_var.value, 0.7 * CV + 0.3 * IMAGES.var((2, 3), ddof=1).mean(0), rtol=1e-13)
    by_running = N.instance_norm(lg.asarray(IMAGES), CM, CV, CW, CB, use_input_stats=False).value
    assert np.array_equal(by_running, N.batch_norm(lg.asarray(IMAGES), CM, CV, CW, CB).value)


def test_group_norm():
    formula = lambda x, w, b: standard(x.reshape(3, 2, -1), 2).reshape(x.shape) * across(w) + across(b)
    holds(lambda x, w, b: N.group_norm(x, 2, w, b), formula, IMAGES, CW, CB, batched=False)
    holds(lambda x: N.group_norm(x, 3), lambda x: standard(x.reshape(4, 3, 2), 2).reshape(4, 6), X)


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_local_response_norm(size):
    def formula(x):
        square = np.zeros_like(x)
        for c in range(x.shape[1]):
            first = c - size // 2
            square[:, c] = (x[:, max(first, 0):first + size] ** 2).sum(1)
        return x / (1.5 + 0.4 * square / size) ** 0.75
    holds(lambda x: N.local_response_norm(x, size, 0.4, 0.75, 1.5), formula, IMAGES, order=2 if size == 3 else 1)


# ---- lengths and angles -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
def test_normalize_and_distances(p):
    y = X[::-1] * 0.3 + np.sin(X)
    holds(lambda x: N.normalize(x, p), lambda x: x / np.linalg.norm(x, p, 1, keepdims=True), X)
    holds(lambda x: N.normalize(x, p, 0), lambda x: x / np.linalg.norm(x, p, 0, keepdims=True), X)
    holds(lambda x, y: N.pairwise_distance(x, y, p), lambda x, y: np.linalg.norm(x - y + 1e-6, p, -1), X, y)
    holds(lambda x, y: N.pairwise_distance(x, y, p, 0.0, True), lambda x, y: np.linalg.norm(x - y, p, -1, keepdims=True), X, y[:1], batched=False)


def test_cosine_similarity():
    cosine = lambda x, y, axis: (x * y).sum(axis) / np.linalg.norm(x, axis=axis) / np.linalg.norm(y, axis=axis)
    y = X[::-1] * 0.3 + np.sin(X)
    holds(N.cosine_similarity, lambda x, y: cosine(x, y, 1), X, y)
    holds(lambda x, y: N.cosine_similarity(x, y, 0), lambda x, y: cosine(x, y, 0), X, y)
    holds(N.cosine_similarity, lambda x, y: cosine(x, y[None], 1), X, y[0], batched=False)


def test_vectors_of_length_zero():
    x = lg.tensor(np.zeros((1, 3)))
    assert N.normalize(x).tolist() == [[0, 0, 0]] and N.cosine_similarity(x, np.ones((1, 3))).tolist() == [0]
    assert N.normalize(x, eps=0.5).sum().gradient(x)[0].tolist() == [[2, 2, 2]]             # x / eps
    assert N.pairwise_distance(x, x, eps=0.0).sum().gradient(x)[0].tolist() == [[0, 0, 0]]
    half = lg.asarray(np.full((1, 64), 300, np.float16))
    np.testing.assert_allclose(N.normalize(half).value, 1 / 8, rtol=1e-3)


# ---- errors -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda x: N.layer_norm(x, W), E.ShapeError, r"layer_norm: \(3, 4, 2, 3\) over \(6,\): its last axes are others"),
    (lambda x: N.layer_norm(x, CB[:3], CW), E.ShapeError, "weights of"), (lambda x: N.layer_norm(x[0, 0, 0, 0]), E.ShapeError, "layer_norm"),
    (lambda x: N.rms_norm(x, normalized_shape=(2, 2)), E.ShapeError, "rms_norm"), (lambda x: N.layer_norm(x + 0j), E.DTypeError, "complex"),
    (lambda x: N.batch_norm(x), E.DataError, "batch_norm: no running_mean and running_var"),
    (lambda x: N.batch_norm(x, CM, training=True), E.DataError, "one of running_mean and running_var"),
    (lambda x: N.batch_norm(x, weight=W, training=True), E.ShapeError, r"batch_norm: weight of \(6,\): there are 4 channels"),
    (lambda x: N.batch_norm(x[:1, :, 0, 0], training=True), E.ShapeError, "a channel of one number"), (lambda x: N.batch_norm(x[0, 0, 0], training=True), E.ShapeError, "channels"),
    (lambda x: N.instance_norm(x[..., 0, 0]), E.ShapeError, "a channel of one number"), (lambda x: N.group_norm(x, 3), E.ShapeError, "4 channels in 3 groups"),
    (lambda x: N.local_response_norm(x, 0), E.DataError, "size=0"), (lambda x: N.normalize(x, axis=4), E.AxisError, "normalize: axis 4"),
    (lambda x: N.cosine_similarity(x, np.ones(5)), E.ShapeError, "do not broadcast"), (lambda x: N.pairwise_distance(1.0, 2.0), E.AxisError, "pairwise_distance"),
])
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call(lg.asarray(IMAGES))
    assert any("test_nn_normalization.py" in note for note in caught.value.__notes__)


# ---- linear maps ------------------------------------------------------------------------------------------------------------------

def test_linear_and_bilinear_maps():
    w, b, y, w3 = RNG.normal(size=(3, 6)), RNG.normal(size=3), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 6, 2))
    holds(N.linear, lambda x, w, b: x @ w.T + b, X, w, b)
    holds(N.linear, lambda x, w: x @ w, X, w[0])
    holds(N.linear, lambda x, w: x @ w.T, np.stack([X, X]), w, batched=False)
    holds(N.bilinear, lambda x, y, w, b: np.einsum("ni,kij,nj->nk", x, w, y) + b, X, y, w3, b)
    assert N.linear(lg.asarray(X[0]), w, b).shape == (3,) and N.linear(lg.asarray(X), 1j * w).dtype == np.complex128
    for call, message in ((lambda: N.linear(X, w[:, :5]), "their last axes differ"), (lambda: N.linear(X, w, b[:2]), "a bias of"),
                          (lambda: N.bilinear(X, y, w), "their axes differ"), (lambda: N.bilinear(X, y, w3, b[:1]), "there are 3 results")):
        with pytest.raises(E.ShapeError, match=message):
            call()
