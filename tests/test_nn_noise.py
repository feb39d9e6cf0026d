"""Dropout by statistics and structure, embedding against NumPy's indexing."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import device
from nn import holds

import lazygrad as lg
from lazygrad import errors as E
from lazygrad.testing import check_grads

N = lg.nn
KEY = lg.random.key(3)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    x = RNG.normal(size=(200, 100)) + 2
    y = N.dropout(KEY, lg.asarray(x), p)
    kept = y.value != 0
    np.testing.assert_allclose(y.value[kept], x[kept] / (1 - p), rtol=1e-15)
    # deviation of a frequency of 20000 draws: at most 0.0035
    assert abs(kept.mean() - (1 - p)) < 0.015
    assert not np.array_equal(kept, N.dropout(lg.random.key(4), lg.asarray(x), p).value != 0)
    graph = lg.Graph(device=device())
    there = N.dropout(lg.random.key(3, graph=graph), graph.tensor(x.astype(np.float32)), p).value
    assert np.array_equal(there != 0, kept)


def test_dropout_differentiates_and_batches():
    x = RNG.normal(size=(3, 4))
    check_grads(lambda x: N.dropout(KEY, x * x, 0.3), (x,))
    g = lg.grad(lambda x: N.dropout(KEY, x, 0.25).sum())(x).value
    assert set(g.ravel().tolist()) == {0, 1 / 0.75}
    keys = lg.random.split(KEY, 5)
    rows = lg.vmap(lambda k: N.dropout(k, lg.ones(64), 0.5))(keys).value
    assert all(np.array_equal(rows[i], N.dropout(keys[i], lg.ones(64), 0.5).value) for i in range(5)) and len({r.tobytes() for r in rows}) == 5
    step = lg.compile(lambda k, x: N.dropout(k, x))
    assert np.array_equal(step(KEY, x).value, N.dropout(KEY, x).value)


def test_dropout_at_its_ends():
    x = lg.tensor(np.array([1.0, np.inf, np.nan]))
    assert np.array_equal(N.dropout(None, x, 0.5, training=False).value, x.value, equal_nan=True) and np.array_equal(N.dropout(None, x, 0.0).value, x.value, equal_nan=True)
    y = N.dropout(KEY, x, 1.0)
    assert y.tolist() == [0, 0, 0] and y.sum().gradient(x)[0].tolist() == [0, 0, 0]
    assert N.alpha_dropout(KEY, lg.ones(3), 1.0, training=True).tolist() == [0, 0, 0]
    assert N.alpha_dropout(None, x).tolist()[0] == 1.0
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(E.DataError, match="it is no probability"):
            N.dropout(KEY, x, p)
    with pytest.raises(E.DataError, match="need a key"):
        N.dropout(None, x)
    with pytest.raises(E.ShapeError, match="a key is uint32"):
        N.dropout(lg.asarray([1.0]), x)


@pytest.mark.parametrize(("f", "spatial"), [(N.dropout1d, 1), (N.dropout2d, 2), (N.dropout3d, 3)])
def test_channels_drop_as_a_whole(f, spatial):
    y = f(KEY, lg.ones((50, 20) + (2,) * spatial), 0.4).value.reshape(50, 20, -1)
    assert (y == y[..., :1]).all() and set(y.ravel().tolist()) == {0.0, np.float32(1 / 0.6)}
    # deviation of a frequency of 1000 draws: 0.0155
    assert abs((y[..., 0] == 0).mean() - 0.4) < 0.06
    assert f(KEY, lg.ones((20,) + (2,) * spatial)).shape == (20,) + (2,) * spatial
    with pytest.raises(E.ShapeError, match=f"{spatial} spatial axes"):
        f(KEY, lg.ones((3,) * (spatial + 3)))


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(1).normal(size=(400, 100))
    y = N.alpha_dropout(KEY, lg.asarray(x), 0.4, training=True).value
    # deviations of mean and variance of 40000 numbers: 0.005 and 0.007
    assert abs(y.mean()) < 0.03 and abs(y.var() - 1) < 0.04
    z = N.feature_alpha_dropout(KEY, lg.ones((50, 20, 3)), 0.4, training=True).value
    assert (z == z[..., :1]).all() and len(set(z.ravel().tolist())) == 2
    with pytest.raises(E.ShapeError, match="no axis of channels"):
        N.feature_alpha_dropout(KEY, lg.ones(3), training=True)


# ---- embedding ---------------------------------------------------------------------------------------------------------------

I = np.array([[0, 2, 2], [4, 1, 0]])
TABLE = RNG.normal(size=(5, 3))


def test_embedding_takes_rows():
    holds(lambda w: N.embedding(I, w), lambda w: w[I], TABLE, batched=False)
    assert np.array_equal(lg.vmap(N.embedding, (0, None))(lg.asarray(I), TABLE).value, TABLE[I])
    assert np.array_equal(N.embedding(I.astype(np.uint8), TABLE).value, TABLE[I]) and N.embedding(np.int32(4), TABLE).shape == (3,)


@pytest.mark.parametrize("padding_idx", [2, -3])
def test_padding_gets_no_gradient(padding_idx):
    w = lg.tensor(TABLE)
    y = N.embedding(I, w, padding_idx)
    g, = y.sum().gradient(w)
    assert np.array_equal(y.value, TABLE[I]) and np.array_equal(g.value, np.array([2, 1, 0, 0, 1])[:, None] * np.ones(3))


def test_long_rows_are_shortened():
    w = lg.tensor(TABLE)
    size = np.linalg.norm(TABLE, axis=1, keepdims=True)
    limit = float(np.median(size))
    y = N.embedding(I, w, max_norm=limit)
    factor = np.where(size > limit, limit / (size + 1e-7), 1)
    np.testing.assert_allclose(y.value, (TABLE * factor)[I], rtol=1e-13)
    np.testing.assert_allclose(y.sum().gradient(w)[0].value, factor * np.array([2, 1, 2, 0, 1])[:, None] * np.ones(3), rtol=1e-13)


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_integers_outside_of_the_table(where):
    graph = lg.Graph(device=device() if where == "gpu" else "cpu")
    w = graph.tensor(TABLE.astype(np.float32))
    for bad in (5, -1):
        with pytest.raises(IndexError, match="5 "):
            N.embedding(graph.tensor(np.array([0, bad], np.int32)), w).value  # noqa: B018
    for call, kind in ((lambda: N.embedding(w, w), E.DTypeError), (lambda: N.embedding(I, w[0]), E.ShapeError), (lambda: N.embedding(I, w, padding_idx=5), E.IndexingError)):
        with pytest.raises(kind, match="embedding"):
            call()


def test_one_hot():
    assert N.one_hot(I, 5).value.tolist() == np.eye(5)[I].tolist() and N.one_hot(I).shape == (2, 3, 5)
    assert N.one_hot(lg.asarray(I), 7, dtype=lg.int64).dtype == np.int64 and N.one_hot(np.zeros((0, 2), np.int64)).shape == (0, 2, 0)
