"""Indexing against NumPy: reading, writing, updates, taking, sorting; every kind of key, mixed in every way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad.errors import IndexingError
from lazygrad.functions import FUNCTIONS

F = SimpleNamespace(**FUNCTIONS)
X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
i, j = np.array([0, 1, 1]), np.array([2, 0, -1])
mask = X[0, :, :, 0] % 3 == 0


def tensor(x):
    return lg.tensor(np.asarray(x))


def same(got, want):
    want = np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_array_equal(np.asarray(got), want)


BASIC = [
    1, -1, (1, 2), (0, -1, 3, -5), (), ..., (..., 0), (0, ..., 1), slice(None), slice(1, None), slice(None, None, -1), (slice(None), slice(2, 0, -1)),
    (slice(5, 9),), (slice(-3, -1), slice(None, None, 2)), None, (None, 0), (0, None, ..., None), (slice(None), None, 1, ..., slice(None, None, -2)),
    (..., slice(None, None, 3)), np.int64(1), (np.int32(-1), slice(1, 1)), (slice(None), slice(None), slice(None, None, -3)),
]
ADVANCED = [
    i, [1, 0], (i, j), (i, 0), (0, j), (slice(None), j), (slice(None), slice(None), j, 1), (0, slice(None), j), (i, slice(None), j), (slice(None), i, j),
    (slice(None), i, slice(None), j), (..., j), (..., i, 0), (i[:, None], j[None]), (i, None, j), (None, i, j), (slice(None), i[:2, None], j[:2]),
    (slice(0, 1), slice(None, None, -1), j), (slice(None), np.array(1), slice(None), j), np.zeros((0,), int), np.zeros((2, 0), int), [], (i, slice(1, 3), 2),
    (0, slice(None), slice(None), j), (slice(None), 1, slice(None), j), (i, ..., j), (slice(None), i, j, 0), np.array(1), (np.array(1), np.array(0)),
    (slice(None), None, i, None, j), (1, j, None, 2), np.array([[0, 1], [1, 0]]), (None, slice(None), slice(None, None, 2), j, slice(1, 4)),
]
MASKS = [
    X > 50, X[:, 0, 0, 0] > 30, (slice(None), mask), (0, mask), (mask[:2, 0], slice(None), 1), (..., np.array([True, False, True, False, True])), X < -1,
    (slice(None), mask, 0), (np.array([True, False]), slice(None), np.array([0, 2]) * 0), True, False, (True, 0), (..., False), (0, True), [True, False],
    (slice(None), None, mask), (np.bool_(True), i),
]
IDS = range(1000)


@pytest.mark.parametrize("key", BASIC + ADVANCED + MASKS, ids=IDS[:len(BASIC + ADVANCED + MASKS)])
def test_reading_gives_numpys_elements(key):
    same(tensor(X)[key] * 1, X[key])


@pytest.mark.parametrize("key", BASIC + ADVANCED + MASKS, ids=IDS[:len(BASIC + ADVANCED + MASKS)])
def test_writing_an_array_gives_numpys_array(key):
    want = X.copy()
    value = -1.0 - np.arange(X[key].size).reshape(X[key].shape)
    want[key] = value
    x = tensor(X)
    old = x * 1
    x[key] = value
    same(x * 1, want)
    same(old, X)


@pytest.mark.parametrize("key", BASIC + ADVANCED + MASKS, ids=IDS[:len(BASIC + ADVANCED + MASKS)])
def test_writing_a_number_gives_numpys_array(key):
    want = X.copy()
    want[key] = 7
    x = tensor(X)
    x[key] = 7
    same(x * 1, want)


@pytest.mark.parametrize("key", BASIC[:12] + ADVANCED[:12] + MASKS[:4], ids=IDS[:28])
def test_reading_has_a_gradient(key):
    x = tensor(X)
    z = x[key]
    ct = np.random.default_rng(0).normal(size=z.shape)
    (z * 1).backward(ct)
    want = np.zeros_like(X)
    np.add.at(want, key, ct)
    np.testing.assert_allclose(np.asarray(x.grad), want)


@pytest.mark.parametrize("key", [(1, slice(None, None, -2)), (i, j), (slice(None), mask), (..., [4, 0])], ids=IDS[:4])
def test_writing_has_gradients(key):
    x, v = tensor(X), tensor(np.ones(X[key].shape))
    z = x.at[key].set(v)
    ct = np.random.default_rng(0).normal(size=X.shape)
    z.backward(ct)
    want = ct.copy()
    want[key] = 0
    np.testing.assert_allclose(np.asarray(x.grad), want)
    np.testing.assert_allclose(np.asarray(v.grad), ct[key])


@pytest.mark.parametrize("key", [1, (slice(None), slice(None, None, -1)), ([0, 0, 1], [1, 1, 2]), (0, mask), (slice(None), [0, 0], slice(1, 3)), X % 2 == 0], ids=IDS[:6])
@pytest.mark.parametrize("name,ufunc", [("add", np.add), ("mul", np.multiply), ("max", np.maximum), ("min", np.minimum)])
def test_at_combines_once_for_every_index(key, name, ufunc):
    value = np.random.default_rng(1).normal(size=X[key].shape) * 60
    want = X.copy()
    ufunc.at(want, key, value)
    np.testing.assert_allclose(np.asarray(getattr(tensor(X).at[key], name)(value)), want)
    want = X.copy()
    ufunc.at(want, key, 2.5)
    np.testing.assert_allclose(np.asarray(getattr(tensor(X).at[key], name)(2.5)), want)


def test_the_last_of_several_writes_wins():
    x = tensor(np.zeros(3))
    x[[1, 1, 1]] = np.array([1.0, 2.0, 3.0])
    assert np.asarray(x).tolist() == [0, 3, 0]


def test_values_broadcast_and_cast_on_writing():
    for key, value in [(1, np.arange(5)), ((slice(None), [0, 2]), np.ones((1, 1, 1, 5))), ((..., 0), np.float32(3))]:
        want = X.copy()
        want[key] = value
        x = tensor(X)
        x[key] = value
        same(x * 1, want)
    y = tensor([1, 2, 3])
    y[0] = 2.7
    same(y * 1, np.array([2, 2, 3]))


def test_tensors_index_and_mask():
    x, k = tensor(X), tensor(np.array([1, 0]))
    same(x[k], X[[1, 0]])
    same(x[:, k, 0], X[:, [1, 0], 0])
    same(x[x > 60.0], X[X > 60])
    same(x[k.astype("int32")], X[[1, 0]])
    same(x[k.astype("uint8")], X[[1, 0]])
    same(x[[k[0], k[1]]], X[[1, 0]])
    same(x[-1 - k], X[[-2, -1]])
    x[x > 60.0] = 0.0
    same(x * 1, np.where(X > 60, 0, X))


def test_masked_writes_of_numbers_stay_lazy():
    x = tensor(np.array([1.0, -2.0, 3.0]))
    y = x * 1
    y[y < 0] = 0.0
    (y * y).sum().backward()
    assert np.asarray(x.grad).tolist() == [2.0, 0.0, 6.0]
    x.set(np.array([-1.0, 2.0, 3.0]))
    assert np.asarray(y).tolist() == [0.0, 2.0, 3.0]          # the mask is part of the expression


def test_empty_and_scalar_arrays():
    same(tensor(np.zeros((0, 3)))[:, 1], np.zeros(0))
    same(tensor(np.zeros((0, 3)))[np.zeros(0, int)], np.zeros((0, 3)))
    same(tensor(3.5)[()] * 1, np.array(3.5))
    same(tensor(3.5)[None] * 1, np.array([3.5]))
    same(tensor(3.5)[...] * 1, np.array(3.5))
    same(tensor(3.5)[True], np.array([3.5]))


KEYS = st.lists(st.one_of(
    st.integers(-2, 1), st.none(), st.just(...), st.builds(slice, *[st.one_of(st.none(), st.integers(-3, 3))] * 2, st.sampled_from([None, 1, 2, -1])),
    st.sampled_from([np.array([0, 1]), np.array([[1], [-1]]), np.array(0)])), max_size=4)


@settings(max_examples=60, deadline=None)
@given(KEYS)
def test_any_key(parts):
    key = tuple(parts)
    x = X[:, :2, :2, :2]
    try:
        want = x[key]
    except IndexError:
        with pytest.raises(IndexError):
            _ = tensor(x)[key]
        return
    same(tensor(x)[key] * 1, want)


# ---- taking, putting, sorting -----------------------------------------------------------------------------------------

M = np.random.default_rng(2).permutation(24).reshape(2, 3, 4).astype(float)


def test_take_and_put():
    for axis in (None, 0, 1, -1):
        same(F.take(tensor(M), tensor([[1, 0], [-1, 1]]), axis=axis), np.take(M, [[1, 0], [-1, 1]], axis=axis))
    for axis in (0, 1, -1):
        k = np.argsort(M, axis=axis)
        same(F.take_along_axis(tensor(M), tensor(k), axis=axis), np.take_along_axis(M, k, axis=axis))
        want = M.copy()
        np.put_along_axis(want, k[:, :1, :1], -5, axis=axis)
        same(F.put_along_axis(tensor(M), tensor(k[:, :1, :1]), -5, axis=axis), want)
    same(F.take_along_axis(tensor(M), tensor(np.zeros((1, 1, 2), int)), axis=2), np.take_along_axis(M, np.zeros((1, 1, 2), int), axis=2))
    same(F.compress([True, False], tensor(M), axis=0), np.compress([True, False], M, axis=0))


def test_pytorchs_gather_and_scatter():
    k = np.array([[2, 0, 1], [1, 1, 0]])
    x = M[0]
    same(F.gather(tensor(x), 0, tensor(k)), np.array([[x[k[a, b], b] for b in range(3)] for a in range(2)]))
    want = np.zeros((3, 4))
    for a in range(2):
        for b in range(3):
            want[k[a, b], b] += x[a, b]
    same(F.scatter_add(tensor(np.zeros((3, 4))), 0, tensor(k), tensor(x[:2, :3])), want)
    want = np.zeros((3, 4))
    for a in range(2):
        for b in range(3):
            want[k[a, b], b] = 1
    same(F.scatter(tensor(np.zeros((3, 4))), 0, tensor(k), 1.0), want)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_sorting(axis):
    for x in (M, np.array([[3, 1, 2, 1]]), np.array([[np.nan, 1, -np.inf, 2]])):
        same(F.sort(tensor(x), axis=axis), np.sort(x, axis=axis))
        same(F.argsort(tensor(x), axis=axis), np.argsort(x, axis=axis, kind="stable"))
    same(F.sort(tensor(M), axis=axis, descending=True), -np.sort(-M, axis=axis))
    same(F.argsort(tensor(M), axis=axis, descending=True), np.argsort(-M, axis=axis, kind="stable"))


def test_topk_searchsorted_nonzero_unique():
    values, positions = F.topk(tensor(M), 2, axis=1)
    want = np.argsort(-M, axis=1, kind="stable")[:, :2]
    same(positions, want)
    same(values, np.take_along_axis(M, want, axis=1))
    same(F.topk(tensor(M), 3, largest=False)[0], np.sort(M, axis=-1)[..., :3])
    a = np.array([1.0, 2.0, 2.0, 5.0])
    for side in ("left", "right"):
        same(F.searchsorted(tensor(a), tensor([[0.0, 2.0], [5.0, 9.0]]), side), np.searchsorted(a, [[0.0, 2.0], [5.0, 9.0]], side))
    for g, w in zip(F.nonzero(tensor(M % 3)), (M % 3).nonzero(), strict=True):
        same(g, w)
    same(F.argwhere(tensor(M > 20)), np.argwhere(M > 20))
    same(F.unique(tensor([3, 1, 3])), np.unique([3, 1, 3]))


def test_gradients_of_taking_and_sorting():
    x = tensor(M)
    w = np.random.default_rng(0).normal(size=M.shape)
    F.sort(x, axis=1).backward(w)
    want = np.zeros_like(M)
    np.put_along_axis(want, np.argsort(M, axis=1), w, axis=1)
    np.testing.assert_allclose(np.asarray(x.grad), want)
    x = tensor(M)
    F.take(x, tensor([0, 0, 2]), axis=1).sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), np.broadcast_to(np.array([2.0, 0, 1])[:, None], (2, 3, 4)))
    x = tensor(M)
    F.topk(x, 1)[0].sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), np.equal(M, M.max(axis=-1, keepdims=True)))


# ---- indices outside ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("key", [2, -3, (0, 3), (slice(None), slice(None), slice(None), -6), [0, 2], (0, [3]), np.array([[-3]])], ids=IDS[:7])
def test_known_indices_outside_are_errors_at_once(key):
    with pytest.raises(IndexingError):
        _ = tensor(X)[key]
    with pytest.raises(IndexingError):
        tensor(X)[key] = 1.0


def test_index_tensors_outside_are_errors_when_computed():
    z = tensor(X)[tensor([5])]
    with pytest.raises(IndexingError):
        z.forward()


def test_slices_between_tensors_are_not_stale():
    x, n = tensor(X), lg.tensor(1, requires_grad=False)
    same(x[:n] * 1, X[:1])
    n.set(2)
    same(x[:n] * 1, X[:2])


def test_lists_and_tuples_in_keys():
    same(tensor(X)[(0, 1), [[0], [1]]], X[(0, 1), [[0], [1]]])
    with pytest.raises(IndexingError, match="rows differ"):
        _ = tensor(X)[[[0], [0, 1]]]
    with pytest.raises(IndexingError, match="indices are integers"):
        _ = tensor(X)[["a"]]


def test_writing_a_tensor_number_under_a_mask():
    x, v = tensor(np.array([1.0, -2.0])), tensor(np.array(5.0))
    x[x < 0] = v
    same(x * 1, np.array([1.0, 5.0]))
    (x * x).sum().backward()
    np.testing.assert_allclose(np.asarray(v.grad), 10.0)
