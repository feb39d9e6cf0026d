"""Losses against their formulas in NumPy float64: values, derivatives, reductions, weights, far from 0, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from gpu import device
from nn import holds

import lazygrad as lg
from lazygrad import compiler
from lazygrad import errors as E
from lazygrad.backends import llvm
from lazygrad.ir.program import Call

N = lg.nn
RNG = np.random.default_rng(0)
X, T, W = RNG.normal(size=(4, 5)) * 2, RNG.normal(size=(4, 5)), RNG.random((4, 5)) + 0.5
P, Q = RNG.random((4, 5)) * 0.9 + 0.05, RNG.random((4, 5))
SIGNS = np.where(RNG.random((4, 5)) < 0.5, -1, 1)
COUNTS = RNG.integers(0, 6, (4, 5)) + 0.25
SOFTPLUS = lambda x: np.logaddexp(0, x)
PLUS = lambda x: np.maximum(x, 0)

# name: (loss, formula for every element, arguments)
ELEMENTWISE = {
    "l1_loss": (N.l1_loss, lambda x, t: np.abs(x - t), (X, T)), "mse_loss": (N.mse_loss, lambda x, t: (x - t) ** 2, (X, T)),
    "huber_loss": (lambda x, t, **o: N.huber_loss(x, t, delta=1.5, **o), lambda x, t: scipy.special.huber(1.5, x - t), (X, T)),
    "smooth_l1_loss": (lambda x, t, **o: N.smooth_l1_loss(x, t, beta=1.5, **o), lambda x, t: scipy.special.huber(1.5, x - t) / 1.5, (X, T)),
    "smooth_l1_loss of beta 0": (lambda x, t, **o: N.smooth_l1_loss(x, t, beta=0, **o), lambda x, t: np.abs(x - t), (X, T)),
    "binary_cross_entropy": (N.binary_cross_entropy, lambda p, t, w: -w * (t * np.log(p) + (1 - t) * np.log(1 - p)), (P, Q, W)),
    "with_logits": (N.binary_cross_entropy_with_logits, lambda x, t, w: w * (t * SOFTPLUS(-x) + (1 - t) * SOFTPLUS(x)), (X, Q, W)),
    "with_logits and pos_weight": (lambda x, t, w, **o: N.binary_cross_entropy_with_logits(x, t, pos_weight=w, **o),
                                   lambda x, t, w: w * t * SOFTPLUS(-x) + (1 - t) * SOFTPLUS(x), (X, Q, W)),
    "kl_div": (N.kl_div, lambda x, t: scipy.special.xlogy(t, t) - t * x, (X, Q)),
    "kl_div of logarithms": (lambda x, t, **o: N.kl_div(x, t, log_target=True, **o), lambda x, t: np.exp(t) * (t - x), (X, T)),
    "poisson_nll_loss": (N.poisson_nll_loss, lambda x, t: np.exp(x) - t * x, (X, COUNTS)),
    "poisson_nll_loss of rates": (lambda x, t, **o: N.poisson_nll_loss(x, t, log_input=False, full=True, eps=0.1, **o),
                                  lambda x, t: x - t * np.log(x + 0.1) + np.where(t > 1, t * np.log(t + (t < 1)) - t + 0.5 * np.log(2 * np.pi * (t + (t < 1))), 0), (P, COUNTS)),
    "gaussian_nll_loss": (lambda x, t, v, **o: N.gaussian_nll_loss(x, t, v, full=True, **o), lambda x, t, v: -scipy.stats.norm.logpdf(t, x, np.sqrt(v)), (X, T, W)),
    "soft_margin_loss": (lambda x, **o: N.soft_margin_loss(x, SIGNS, **o), lambda x: SOFTPLUS(-SIGNS * x), (X,)),
    "hinge_embedding_loss": (lambda x, **o: N.hinge_embedding_loss(x, SIGNS, margin=0.7, **o), lambda x: np.where(SIGNS == 1, x, PLUS(0.7 - x)), (X,)),
    "margin_ranking_loss": (lambda x, y, **o: N.margin_ranking_loss(x, y, SIGNS, margin=0.3, **o), lambda x, y: PLUS(-SIGNS * (x - y) + 0.3), (X, T)),
}
SLANTED = {"soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss"}          # their signs are not batched


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_loss_is_its_formula(name):
    f, formula, args = ELEMENTWISE[name]
    holds(lambda *a: f(*a, reduction="none"), formula, *args, batched=name not in SLANTED)
    np.testing.assert_allclose(f(*args).item(), formula(*args).mean(), rtol=1e-13)
    np.testing.assert_allclose(f(*args, reduction="sum").item(), formula(*args).sum(), rtol=1e-13)
    with pytest.raises(E.DataError, match=r"reduction='average': there is no such reduction; pass \"none\", \"mean\""):
        f(*args, reduction="average")


@pytest.mark.parametrize("f", [N.l1_loss, N.mse_loss, N.huber_loss])
def test_weights(f):
    each = f(X, T, reduction="none").value
    count = X.size if f is N.huber_loss else W.sum()
    np.testing.assert_allclose(f(X, T, weight=W).item(), (each * W).sum() / count, rtol=1e-14)
    np.testing.assert_allclose(f(X, T, weight=W[0], reduction="sum").item(), (each * W[0]).sum(), rtol=1e-14)


def test_losses_broadcast_and_promote():
    assert N.mse_loss(lg.asarray(X), 0.0).item() == pytest.approx((X ** 2).mean(), rel=1e-14)
    assert N.l1_loss(np.array([1, 4]), np.array([2, 2])).dtype == np.float32 and N.mse_loss(2.0, lg.asarray(3.0)).item() == 1
    assert N.mse_loss(X, T[0], reduction="none").shape == (4, 5)
    half = np.full(1000, 100.0, np.float16)
    assert N.mse_loss(half, np.float16(0)).dtype == np.float16 and N.mse_loss(half, np.float16(0)).item() == 1e4          # the sum, 1e7, is none
    assert math.isnan(N.mse_loss(np.zeros((0, 2)), 0.0).item()) and N.mse_loss(np.zeros((0, 2)), 0.0, reduction="sum").item() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_far_away_keep_their_digits(dtype):
    x = np.array([-1e4, -50.0, -20.0, 0.0, 20.0, 50.0, 1e4], dtype)
    wide = x.astype(np.float64)
    for t, want in ((0.0, SOFTPLUS(wide)), (1.0, SOFTPLUS(-wide))):
        for pos in (None, np.ones(7, dtype)):
            got = N.binary_cross_entropy_with_logits(x, dtype(t), reduction="none", pos_weight=pos).value
            np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(N.soft_margin_loss(x, dtype(2 * t - 1), reduction="none").value, want, rtol=4 * np.finfo(dtype).eps)
    f = lambda x, t: N.binary_cross_entropy_with_logits(x, t)
    # at 0: sigmoid(0) - t, and sigmoid'(0) = 1/4
    for t in (0.0, 0.3, 0.5, 1.0):
        assert lg.grad(f)(np.float64(0), t).item() == 0.5 - t and lg.grad(lg.grad(f))(np.float64(0), t).item() == 0.25


def test_probabilities_at_their_ends():
    p = lg.tensor(np.array([0.0, 0.0, 1.0, 1.0]))
    loss = N.binary_cross_entropy(p, np.array([0.0, 1.0, 0.0, 1.0]), reduction="none")
    assert loss.tolist() == [0, 100, 100, 0] and np.isfinite(loss.sum().gradient(p)[0].value).all()
    assert math.isnan(N.binary_cross_entropy(lg.asarray(1.5), 1.0).item())
    x = lg.tensor(np.array([-np.inf, -1.0]))
    kl = N.kl_div(x, np.array([0.0, 1.0]), reduction="none")
    assert kl.tolist() == [0, 1] and kl.sum().gradient(x)[0].tolist() == [0, -1]
    assert N.kl_div(x, np.array([-np.inf, 0.0]), log_target=True, reduction="none").tolist() == [0, 1]
    rows = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    np.testing.assert_allclose(N.kl_div(rows, np.full((2, 2), 0.5), reduction="batchmean").item(), (0.5 * np.log(0.5) - 0.5 * rows).sum() / 2, rtol=1e-14)
    with pytest.raises(E.ShapeError, match="there is no batch"):
        N.kl_div(0.0, 1.0, reduction="batchmean")


def test_small_variances_are_replaced_and_still_move():
    v = lg.tensor(np.array([0.0, 1e-9, 2.0]))
    loss = N.gaussian_nll_loss(np.zeros(3), np.ones(3), v, eps=0.5, reduction="none")
    least = np.array([0.5, 0.5, 2.0])
    np.testing.assert_allclose(loss.value, 0.5 * (np.log(least) + 1 / least), rtol=1e-15)
    np.testing.assert_allclose(loss.sum().gradient(v)[0].value, 0.5 * (1 / least - 1 / least ** 2), rtol=1e-15)
    row = N.gaussian_nll_loss(X, T, W[:, 0]).item()
    assert row == N.gaussian_nll_loss(X, T, W[:, :1]).item()
    np.testing.assert_allclose(row, 0.5 * (np.log(W[:, :1]) + (X - T) ** 2 / W[:, :1]).mean(), rtol=1e-14)


# ---- vectors -------------------------------------------------------------------------------------------------------------------

def test_cosine_embedding_loss():
    y = np.array([1, -1, -1, 1])
    cos = lambda x, t: (x * t).sum(-1) / np.sqrt(((x * x).sum(-1) + 1e-12) * ((t * t).sum(-1) + 1e-12))
    formula = lambda x, t: np.where(y == 1, 1 - cos(x, t), PLUS(cos(x, t) + 0.5))
    holds(lambda x, t: N.cosine_embedding_loss(x, t, y, margin=-0.5, reduction="none"), formula, X, T, batched=False)
    assert N.cosine_embedding_loss(X[0], T[0], 1).item() == pytest.approx(1 - cos(X[0], T[0]), rel=1e-13)
    x = lg.tensor(np.zeros((1, 3)))
    assert np.isfinite(N.cosine_embedding_loss(x, np.ones((1, 3)), np.array([1])).gradient(x)[0].value).all()


@pytest.mark.parametrize("swap", [False, True])
def test_triplet_margin_loss(swap):
    n = X[::-1] * 0.7 + 0.1
    for p in (1.0, 2.0, 3.0):
        d = lambda x, y, p=p: np.linalg.norm(x - y + 1e-6, p, -1)
        formula = lambda a, q, n, d=d: PLUS(d(a, q) - (np.minimum(d(a, n), d(q, n)) if swap else d(a, n)) + 2.0)
        np.testing.assert_allclose(N.triplet_margin_loss(X, T, n, margin=2.0, p=p, swap=swap, reduction="none").value, formula(X, T, n), rtol=1e-13)
    square = lambda x, y: ((x - y) ** 2).sum(-1)
    formula = lambda a, q, n: PLUS(square(a, q) - (np.minimum(square(a, n), square(q, n)) if swap else square(a, n)) + 2.0).mean()
    holds(lambda a, q, n: N.triplet_margin_with_distance_loss(a, q, n, distance_function=square, margin=2.0, swap=swap), formula, X, T, n)
    assert N.triplet_margin_with_distance_loss(X, T, n).item() == N.triplet_margin_loss(X, T, n).item()


# ---- classes ---------------------------------------------------------------------------------------------------------------------

LABELS = np.array([2, 0, 4, 2])
CLASS = RNG.random(5) + 0.5
SHARES = scipy.special.softmax(RNG.normal(size=(4, 5)), 1)
LOGP = lambda x, axis=1: scipy.special.log_softmax(x, axis)


def smoothed(labels, e, n=5):
    return np.eye(n)[labels] * (1 - e) + e / n


@pytest.mark.parametrize("e", [0.0, 0.3])
def test_cross_entropy_by_classes(e):
    each = lambda x, w: -(smoothed(LABELS, e) * w * LOGP(x)).sum(1)
    f = lambda *a, **o: N.cross_entropy(a[0], LABELS, *a[1:], label_smoothing=e, **o)
    holds(lambda x: f(x, reduction="none"), lambda x: each(x, 1), X, batched=False)
    holds(lambda x: f(x), lambda x: each(x, 1).mean(), X, batched=False, order=0)
    np.testing.assert_allclose(f(X, CLASS, reduction="none").value, each(X, CLASS), rtol=1e-13)
    holds(lambda x, w: f(x, w), lambda x, w: each(x, w).sum() / w[LABELS].sum(), X, CLASS, batched=False)
    np.testing.assert_allclose(lg.vmap(f)(np.stack([X, X[::-1]])).value, [each(X, 1).mean(), each(X[::-1], 1).mean()], rtol=1e-13)


@pytest.mark.parametrize("e", [0.0, 0.3])
def test_cross_entropy_by_probabilities(e):
    each = lambda x, t, w: -((t * (1 - e) + e / 5) * w * LOGP(x)).sum(1)
    f = lambda x, t, *w, **o: N.cross_entropy(x, t, *w, label_smoothing=e, **o)
    holds(lambda x, t: f(x, t, reduction="none"), lambda x, t: each(x, t, 1), X, SHARES)
    holds(f, lambda x, t, w: each(x, t, w).mean(), X, SHARES, CLASS, batched=False)


def test_classes_stand_on_axis_1_or_where_they_are_said_to():
    x = RNG.normal(size=(2, 5, 3, 2))
    t = RNG.integers(0, 5, (2, 3, 2))
    want = -np.take_along_axis(LOGP(x), t[:, None], 1)[:, 0]
    last = np.moveaxis(x, 1, -1)
    for dtype in (np.int64, np.int32, np.uint8):
        np.testing.assert_allclose(N.cross_entropy(x, t.astype(dtype), reduction="none").value, want, rtol=1e-13)
    np.testing.assert_allclose(N.cross_entropy(last, t, axis=-1, reduction="none").value, want, rtol=1e-13)
    np.testing.assert_allclose(N.nll_loss(LOGP(last, -1), t, axis=-1).item(), want.mean(), rtol=1e-13)
    np.testing.assert_allclose(N.cross_entropy(x[0, :, 0, 0], t[0, 0, 0]).item(), want[0, 0, 0], rtol=1e-13)
    assert N.cross_entropy(np.zeros((0, 5)), np.zeros(0, np.int64), reduction="sum").item() == 0


@pytest.mark.parametrize("f", [N.cross_entropy, N.nll_loss])
def test_ignored_targets_count_for_nothing(f):
    x = X.copy()
    x[1] = np.nan
    t = np.array([2, -100, 4, 2])
    rest = np.array([0, 2, 3])
    np.testing.assert_allclose(f(x, t).item(), f(X[rest], t[rest]).item(), rtol=1e-14)
    np.testing.assert_allclose(f(x, t, CLASS).item(), f(X[rest], t[rest], CLASS).item(), rtol=1e-14)
    assert f(x, t, reduction="none").value[1] == 0
    g = lg.grad(lambda x: f(x, t))(x).value
    assert (g[1] == 0).all() and np.isfinite(g).all()
    np.testing.assert_allclose(f(x, np.array([2, 1, 4, 2], np.uint8), ignore_index=1).item(), f(x, t).item(), rtol=1e-15)
    assert math.isnan(f(x, np.full(4, -100)).item()) and f(x, np.full(4, -100), reduction="sum").item() == 0


def test_nll_loss():
    each = lambda x: -x[np.arange(4), LABELS]
    holds(lambda x: N.nll_loss(x, LABELS, reduction="none"), each, X, batched=False)
    holds(lambda x, w: N.nll_loss(x, LABELS, w), lambda x, w: (each(x) * w[LABELS]).sum() / w[LABELS].sum(), X, CLASS, batched=False)


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_classes_that_there_are_not(where):
    graph = lg.Graph(device=device() if where == "gpu" else "cpu")
    x = graph.tensor(X.astype(np.float32))
    for bad in (5, -1):
        t = graph.tensor(np.array([0, 1, bad, 2], np.int32))
        for f in (N.cross_entropy, N.nll_loss, N.multi_margin_loss):
            with pytest.raises(IndexError, match="5 "):
                f(x, t).item()


def test_logits_far_away_and_impossible_classes():
    for dtype in (np.float32, np.float64):
        x = np.array([[1e30, 0, 0], [1e4 + 1, 1e4, -1e4], [-1e30, -1e30, -1e30], [88, 0, -30]], dtype)
        want = [1e30, np.log1p(np.exp(-1.0)) + 1, np.log(3), 88]
        np.testing.assert_allclose(N.cross_entropy(x, np.array([1, 1, 0, 1]), reduction="none").value, want, rtol=4 * np.finfo(dtype).eps)
        t = lg.tensor(x)
        assert np.isfinite(N.cross_entropy(t, np.array([1, 1, 0, 1]), reduction="sum").gradient(t)[0].value).all()
    x = lg.tensor(np.array([[0.0, -np.inf, 0.0]]))
    loss = N.cross_entropy(x, np.array([0]))
    g, = loss.gradient(x)
    assert loss.item() == np.log(2) and g.tolist() == [[-0.5, 0, 0.5]] and np.isfinite((g * g).sum().gradient(x)[0].value).all()
    by_shares = N.cross_entropy(x, np.array([[1.0, 0.0, 0.0]]))
    assert by_shares.item() == np.log(2) and by_shares.gradient(x)[0].tolist() == [[-0.5, 0, 0.5]]
    assert N.cross_entropy(x, np.array([1])).item() == np.inf


def test_cross_entropy_with_gradient_is_as_many_kernels_as_by_hand():
    x, t = lg.tensor(np.zeros((64, 100), np.float32)), lg.asarray(np.zeros(64, np.int64))
    hot = t.reshape((-1, 1)) == lg.arange(100, dtype=t.dtype)
    by_hand = (x.logsumexp(axis=1) - lg.where(hot, x, 0).sum(axis=1)).mean()

    def kernels(loss):
        roots = [loss.term, loss.gradient(x)[0].term]
        found = compiler.compile(roots, [x.term, t.term], (None, None), llvm.caps)
        return sum([isinstance(s, Call) for s in found.steps])
    assert kernels(N.cross_entropy(x, t)) <= kernels(by_hand) + 1          # the count of targets that are not ignored
    assert kernels(N.cross_entropy(x, t, reduction="sum")) == 1


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_loss(p):
    def formula(x, w):
        mine = x[np.arange(4), LABELS][:, None]
        return (np.where(np.eye(5)[LABELS] == 1, 0, PLUS(0.8 - mine + x) ** p).sum(1) / 5) * w[LABELS]
    holds(lambda x, w: N.multi_margin_loss(x, LABELS, p=p, margin=0.8, weight=w, reduction="none"), formula, X, CLASS, batched=False)
    holds(lambda x: N.multi_margin_loss(x, LABELS, p=p, margin=0.8), lambda x: formula(x, np.ones(5)).mean(), X, batched=False)
    np.testing.assert_allclose(N.multi_margin_loss(X[1], LABELS[1], p=p, margin=0.8).item(), formula(X, np.ones(5))[1], rtol=1e-14)


def test_multilabel_margin_loss():
    t = np.array([[3, 0, -1, 1, 4], [-1, 0, 1, 2, 3], [0, 1, 2, 3, 4], [2, 2, -1, -1, -1]])

    def formula(x):
        out = []
        for row, named in zip(x, t, strict=True):
            named = named[:np.argmax(named < 0)] if (named < 0).any() else named
            others = [i for i in range(5) if i not in named]
            out.append(sum(PLUS(1 - row[j] + row[i]) for j in named for i in others) / 5)
        return np.array(out)
    holds(lambda x: N.multilabel_margin_loss(x, t, reduction="none"), formula, X, batched=False)
    np.testing.assert_allclose(N.multilabel_margin_loss(X[0], t[0]).item(), formula(X)[0], rtol=1e-14)
    with pytest.raises(IndexError):
        N.multilabel_margin_loss(X, np.full((4, 5), 5)).item()


def test_multilabel_soft_margin_loss():
    formula = lambda x, t, w: (w * (t * SOFTPLUS(-x) + (1 - t) * SOFTPLUS(x))).mean(-1)
    holds(lambda x, t, w: N.multilabel_soft_margin_loss(x, t, w, reduction="none"), formula, X, Q, CLASS, batched=False)
    holds(N.multilabel_soft_margin_loss, lambda x, t: formula(x, t, 1).mean(), X, Q)


# ---- errors -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda x: N.cross_entropy(x, LABELS[:3]), E.ShapeError, r"cross_entropy: scores \(4, 5\) and classes \(3,\): classes have the scores' shape without axis 1; pass classes \(4,\)"),
    (lambda x: N.cross_entropy(x, SHARES[:3]), E.ShapeError, "their shapes differ"), (lambda x: N.cross_entropy(x, LABELS, CLASS[:4]), E.ShapeError, "there are 5 classes"),
    (lambda x: N.cross_entropy(x, LABELS, label_smoothing=2.0), E.DataError, "label_smoothing=2.0"), (lambda x: N.cross_entropy(x, LABELS, axis=2), E.AxisError, "axis 2"),
    (lambda x: N.cross_entropy(x[0, 0], LABELS), E.ShapeError, "no axis of classes"), (lambda x: N.cross_entropy(x[:, :0], LABELS), E.ShapeError, "there are no classes"),
    (lambda x: N.nll_loss(x, LABELS * 1.0), E.DTypeError, "integers name classes"), (lambda x: N.cross_entropy(x + 0j, LABELS), E.DTypeError, "complex"),
    (lambda x: N.multi_margin_loss(x, LABELS, p=3), E.DataError, "p=3"), (lambda x: N.multi_margin_loss(x[None], LABELS), E.ShapeError, r"pass \(N, C\)"),
    (lambda x: N.multilabel_margin_loss(x, LABELS), E.ShapeError, "fill up with -1"), (lambda x: N.mse_loss(x, T[:, :3]), E.ShapeError, "do not broadcast"),
    (lambda x: N.mse_loss(x + 0j, T), E.DTypeError, "complex numbers have no order"), (lambda x: N.huber_loss(x, T, delta=0.0), E.DataError, "delta=0.0"),
    (lambda x: N.smooth_l1_loss(x, T, beta=-1.0), E.DataError, "beta=-1.0"), (lambda x: N.cosine_embedding_loss(x[0, 0], x[0, 0], 1), E.ShapeError, "there are no vectors"),
])
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call(lg.asarray(X))
    assert any("test_nn_losses.py" in note for note in caught.value.__notes__)
