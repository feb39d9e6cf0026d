"""The CTC loss against the sum over all paths, its derivatives against differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special
from gpu import device
from nn import value_and_gradients

import lazygrad as lg
from lazygrad import errors as E
from lazygrad.testing import check_grads

CTC = lg.nn.ctc_loss
RNG = np.random.default_rng(0)
X = scipy.special.log_softmax(RNG.normal(size=(5, 4, 3)), -1)
TARGETS = np.array([[1, 2, 1], [2, 2, 0], [1, 0, 0], [2, 1, 2]])
STEPS, LENGTHS = np.array([5, 4, 3, 3]), np.array([3, 2, 0, 3])


def by_paths(x, target, blank=0):
    """-log of the sum over all sequences of classes that become the target when repeats, then blanks are removed."""
    total = -np.inf
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        if [c for c, _ in itertools.groupby(path) if c != blank] == list(target):
            total = np.logaddexp(total, sum(x[i, c] for i, c in enumerate(path)))
    return -total


def formula(x, targets=TARGETS, blank=0):
    return np.array([by_paths(x[:s, k], targets[k, :n], blank) for k, (s, n) in enumerate(zip(STEPS, LENGTHS, strict=True))])


def test_loss_is_the_sum_over_all_paths():
    f = lambda x, **o: CTC(x, TARGETS, STEPS, LENGTHS, **o)
    want = formula(X)
    assert np.isfinite(want).all()
    np.testing.assert_allclose(f(X, reduction="none").value, want, rtol=1e-13)
    np.testing.assert_allclose(f(X, reduction="sum").item(), want.sum(), rtol=1e-13)
    np.testing.assert_allclose(f(X).item(), (want / np.maximum(LENGTHS, 1)).mean(), rtol=1e-13)
    wide = value_and_gradients(f, (X,), np.float64)
    for where in (None, device()):
        for got, full in zip(value_and_gradients(f, (X,), np.float32, where), wide, strict=True):
            np.testing.assert_allclose(got, full, rtol=3e-6, atol=1e-6)
    check_grads(lambda x: f(lg.log_softmax(x)), (X,), order=2)


def test_another_class_is_the_blank():
    swapped = np.array([[0, 1, 0], [1, 1, 2], [0, 2, 2], [1, 0, 1]])
    np.testing.assert_allclose(CTC(X, swapped, STEPS, LENGTHS, blank=2, reduction="none").value, formula(X, swapped, 2), rtol=1e-13)


def test_forms_of_targets():
    want = formula(X)
    joined = np.concatenate([t[:n] for t, n in zip(TARGETS, LENGTHS, strict=True)])
    for dtype in (np.int32, np.uint8):
        np.testing.assert_allclose(CTC(X, joined.astype(dtype), STEPS.astype(dtype), LENGTHS.astype(dtype), reduction="none").value, want, rtol=1e-13)
    np.testing.assert_allclose(CTC(X[:, 0], TARGETS[0], 5, 3, reduction="none").value, want[0], rtol=1e-13)
    assert CTC(X[:, 0], TARGETS[0], 5, 3).shape == () and CTC(X, TARGETS[:, :0], STEPS, LENGTHS * 0, reduction="none").shape == (4,)
    rubbish = np.where(np.arange(3) < LENGTHS[:, None], TARGETS, -7)
    np.testing.assert_allclose(CTC(X, rubbish, STEPS, LENGTHS, reduction="none").value, want, rtol=1e-13)
    f = lambda x, t, s, n: CTC(x, t, s, n)
    np.testing.assert_allclose(lg.vmap(f, (1, 0, 0, 0))(X, TARGETS, STEPS, LENGTHS).value, want / np.maximum(LENGTHS, 1), rtol=1e-13)
    np.testing.assert_allclose(lg.compile(f)(X, TARGETS, STEPS, LENGTHS).item(), (want / np.maximum(LENGTHS, 1)).mean(), rtol=1e-13)


def test_sequences_without_an_alignment():
    x = lg.tensor(X)
    steps = np.array([5, 2, 3, 2])                  # 2 - 2 takes three steps, 2 1 2 too
    loss = CTC(x, TARGETS, steps, LENGTHS, reduction="none")
    assert np.array_equal(np.isinf(loss.value), [False, True, False, True])
    none = CTC(x, TARGETS, steps, LENGTHS, reduction="none", zero_infinity=True)
    g = none.sum().gradient(x)[0].value
    assert none.value[1] == none.value[3] == 0 and (g[:, [1, 3]] == 0).all() and np.isfinite(g).all() and (g[3:, 2] == 0).all()


def test_classes_of_probability_zero():
    logits = np.full((4, 1, 3), -np.inf)
    logits[[0, 1, 2, 3], 0, [1, 0, 0, 2]] = 0
    x = lg.tensor(logits)
    loss = CTC(x, np.array([[1, 2]]), [4], [2])
    assert loss.item() == 0 and np.isfinite(loss.gradient(x)[0].value).all()
    assert CTC(x, np.array([[2, 1]]), [4], [2]).item() == np.inf


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: CTC(X[0, 0], TARGETS[0], 5, 3), E.ShapeError, r"pass \(T, N, C\)"), (lambda: CTC(X, TARGETS[:3], STEPS, LENGTHS), E.ShapeError, "there are 4 examples"),
    (lambda: CTC(X, TARGETS * 1.0, STEPS, LENGTHS), E.DTypeError, "targets of float64"), (lambda: CTC(X, TARGETS, STEPS, LENGTHS, blank=3), E.DataError, "blank=3"),
    (lambda: CTC(X, TARGETS[0], STEPS, LENGTHS), E.ShapeError, "the lengths add up to 8"), (lambda: CTC(X + 0j, TARGETS, STEPS, LENGTHS), E.DTypeError, "complex"),
    (lambda: CTC(X, TARGETS, STEPS, LENGTHS, reduction="all"), E.DataError, "reduction='all'"),
    (lambda: CTC(X, TARGETS + 1, STEPS, LENGTHS).item(), E.IndexingError, "3 "), (lambda: CTC(X, TARGETS - 3, STEPS, LENGTHS).item(), E.IndexingError, "3 "),
])
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
