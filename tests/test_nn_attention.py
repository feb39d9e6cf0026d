"""Attention against its formula in NumPy float64, with all scores at once and by blocks; memory of long sequences; errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gpu import device
from nn import value_and_gradients

import lazygrad as lg
from lazygrad import compiler
from lazygrad import errors as E
from lazygrad.backends import llvm
from lazygrad.ir.term import toposort
from lazygrad.nn import attention, blockwise
from lazygrad.testing import check_grads

A = lg.nn.scaled_dot_product_attention
RNG = np.random.default_rng(0)
Q, K, V = RNG.normal(size=(2, 4, 7, 3)), RNG.normal(size=(2, 2, 9, 3)), RNG.normal(size=(2, 2, 9, 5))
MASKS = {
    "none": None, "bool": RNG.random((4, 7, 9)) < 0.6, "bool of keys": np.arange(9) < 5, "added": RNG.normal(size=(2, 1, 7, 9)), "added to keys": RNG.normal(size=(4, 1, 9)),
    "added to queries": RNG.normal(size=(2, 1, 7, 1)), "nothing seen": np.zeros((7, 9), bool), "rows of -inf": np.where(np.arange(7)[:, None] % 3 == 0, -np.inf, RNG.normal(size=(7, 9))),
}


def formula(q, k, v, mask=None, causal=False, scale=None):
    groups = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    k, v = (np.repeat(t, groups, -3) for t in (k, v)) if groups > 1 else (k, v)
    s = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    total = e.sum(-1, keepdims=True)
    return e @ v / np.where(total == 0, 1, total)


@pytest.fixture(params=["few", "blocks"])
def way(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(attention, "FEW", 0)
        monkeypatch.setattr(attention, "FEW_ON_GPU", 0)
        monkeypatch.setattr(blockwise, "SIDE", 4)
        monkeypatch.setattr(blockwise, "LAUNCH", 4 * 8 * 7)
    return request.param


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_attention_is_its_formula(way, name, causal):
    mask = MASKS[name]
    given = (Q, K, V) if mask is None or mask.dtype == bool else (Q, K, V, mask)
    f = lambda q, k, v, *m: A(q, k, v, mask=m[0] if m else mask, is_causal=causal)
    wide = value_and_gradients(f, given, np.float64)
    np.testing.assert_allclose(wide[0], formula(Q, K, V, mask, causal), rtol=1e-12, atol=1e-14)
    assert all(np.isfinite(g).all() for g in wide)
    for got, want in zip(value_and_gradients(f, given, np.float32), wide, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)          # sums of up to 20 products of roundings of 6e-8
    if name in ("none", "rows of -inf") or (name == "bool" and way == "few"):
        given = [np.where(np.isfinite(a), a, 0) for a in given]
        check_grads(f, given, order=1)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_on_a_gpu(way, causal):
    mask = MASKS["added"] if causal else MASKS["bool"].astype(float) * 3
    f = lambda q, k, v, m: A(q, k, v, mask=m, is_causal=causal)
    for got, want in zip(value_and_gradients(f, (Q, K, V, mask), np.float32, device()), value_and_gradients(f, (Q, K, V, mask), np.float64), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


def test_second_order(way):
    """Of causal attention of groups with an added mask: every part of both rules."""
    q, k, v, m = Q[0, :2, :5], K[0, :1, :6], V[0, :1, :6, :2], RNG.normal(size=(2, 1, 6))
    check_grads(lambda q, k, v, m: A(q, k, v, mask=m, is_causal=True), (q, k, v, m), order=2)


def test_blocks_are_cut_where_they_end(monkeypatch):
    """Lengths that blocks divide and that they do not, fewer elements than a block has."""
    monkeypatch.setattr(attention, "FEW", 0)
    for side, l, s in ((4, 8, 12), (3, 4, 4), (16, 5, 5), (1, 3, 2), (4, 1, 9), (4, 9, 1)):
        monkeypatch.setattr(blockwise, "SIDE", side)
        q, k, v = RNG.normal(size=(l, 3)), RNG.normal(size=(s, 3)), RNG.normal(size=(s, 2))
        for causal in (False, True):
            want = value_and_gradients(lambda q, k, v, c=causal: plain(q, k, v, c), (q, k, v), np.float64)
            got = value_and_gradients(lambda q, k, v, c=causal: A(q, k, v, is_causal=c), (q, k, v), np.float64)
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def plain(q, k, v, causal):
    """The formula in functions of the main namespace."""
    s = q @ k.mT / math.sqrt(q.shape[-1])
    return lg.softmax(lg.where(lg.tril(lg.ones(s.shape, dtype=bool)), s, -np.inf) if causal else s) @ v


def test_axes_and_heads(way):
    for q, k, v in ((Q[0, 0], K[0, 0], V[0, 0]), (Q[0], K[0], V[0]), (Q[0, :2], K[0], V[0]), (Q[:, None], K[:, None], V[:, None])):
        np.testing.assert_allclose(A(q, k, v, scale=0.3).value, formula(q, k, v, scale=0.3), rtol=1e-12)
    np.testing.assert_allclose(A(Q, K[:, :1], V[:, :1]).value, formula(Q, K[:, :1], V[:, :1]), rtol=1e-12)
    np.testing.assert_allclose(A(Q, K[0], V[0], enable_gqa=True).value, formula(Q, K[:1], V[:1]), rtol=1e-12)
    np.testing.assert_allclose(A(Q[0, :1], K[0], V[0]).value, formula(np.repeat(Q[0, :1], 2, 0), K[0], V[0]), rtol=1e-12)
    some = np.stack([RNG.random((4, 7, 9)) < 0.5] * 3)[:, None]
    np.testing.assert_allclose(A(Q, K, V, mask=some).value, formula(Q, K, V, some), rtol=1e-12)
    assert A(Q[..., :0, :], K, V).shape == (2, 4, 0, 5) and (A(Q, K[..., :0, :], V[..., :0, :]).value == 0).all()


def test_dtypes(way):
    half = A(*[lg.asarray((t * 20).astype(np.float16)) for t in (Q, K, V)])
    want = formula(*[(t * 20).astype(np.float16).astype(float) for t in (Q, K, V)])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.value, want, rtol=2e-3, atol=2e-3)          # one rounding to 11 bits of numbers up to 60
    assert A(lg.asarray([[1, 2]]), lg.asarray([[1, 2]]), lg.asarray([[3]])).dtype == np.float32
    assert A(*[t.astype(np.float32) for t in (Q, K, V)], mask=MASKS["added"]).dtype == np.float32          # the mask takes q's dtype


def test_scores_far_away(way):
    q, k, v = (lg.tensor(t) for t in (Q * 1e3, K * 1e3, V))
    y = A(q, k, v)
    np.testing.assert_allclose(y.value, formula(Q * 1e3, K * 1e3, V), rtol=1e-9)          # scores of 1e6 are rounded to 1e-10
    assert all(np.isfinite(g.value).all() for g in y.sum().gradient(q, k, v))


def test_vmap_and_compile(way):
    f = lambda q, k, v: A(q, k, v, is_causal=True)
    np.testing.assert_allclose(lg.vmap(f)(Q, K, V).value, formula(Q, K, V, causal=True), rtol=1e-12)
    np.testing.assert_allclose(lg.compile(f)(Q, K, V).value, formula(Q, K, V, causal=True), rtol=1e-12)
    each = lg.vmap(lg.grad(lambda q, k, v: f(q, k, v).sum(), (0, 1, 2)))(Q, K, V)
    for got, want in zip(each, lg.grad(lambda q, k, v: f(q, k, v).sum(), (0, 1, 2))(Q, K, V), strict=True):
        np.testing.assert_allclose(got.value, want.value, rtol=1e-11, atol=1e-13)


def test_dropout_of_weights(way):
    key = lg.random.key(2)
    ones = np.ones((1, 1, 64, 1))
    x = np.zeros((1, 1, 64, 1))
    y = A(x, x, ones, dropout_p=0.25, key=key).value          # the part of 64 weights that stay, over 0.75
    assert abs(y.mean() - 1) < 0.05 and 0.03 < y.std() < 0.12          # sqrt(0.25 / 0.75 / 64) = 0.072
    assert np.array_equal(y, A(x, x, ones, dropout_p=0.25, key=key).value)
    check_grads(lambda q, k, v: A(q, k, v, dropout_p=0.4, key=key), (Q[0, :1], K[0, :1], V[0, :1]), order=1)


def test_memory_of_long_sequences_grows_with_their_length():
    """Temporaries of value and gradients: without all scores, which are 16 times as many for 4 times the length."""
    def temporaries(n):
        q, k, v = (lg.tensor(np.zeros((2, n, 16), np.float32)) for _ in range(3))
        y = A(q, k, v, is_causal=True).sum()
        roots = [y.term, *[g.term for g in y.gradient(q, k, v)]]
        sources = [t for t in toposort(roots) if t.op.name == "source"]
        found = compiler.compile(roots, sources, (None,) * len(roots), llvm.caps)
        return found.arena
    short, long = temporaries(1024), temporaries(4096)
    assert long < 5 * short and long < 2 * 4096 ** 2 * 4 / 8


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: A(Q, K[..., :2], V), E.ShapeError, "queries have width 3 and keys 2"), (lambda: A(Q, K, V[:, :, :5]), E.ShapeError, "there are 9 keys and 5 values"),
    (lambda: A(Q[0, 0, 0], K, V), E.ShapeError, "two axes at least"), (lambda: A(Q[:, :3], K, V), E.ShapeError, "3 heads of queries with 2 of keys"),
    (lambda: A(Q, K, V, mask=np.ones((7, 8), bool)), E.ShapeError, "do not broadcast"), (lambda: A(Q, K, V, mask=np.ones((5, 7, 9), bool)), E.ShapeError, "broadcast"),
    (lambda: A(Q, K, V, mask=np.ones((7, 9), np.int64)), E.DTypeError, "a mask of int64"), (lambda: A(Q + 0j, K, V), E.DTypeError, "complex"),
    (lambda: A(Q, K, V, dropout_p=0.5), E.DataError, "key=None"), (lambda: A(Q, K, V, dropout_p=1.5, key=lg.random.key(0)), E.DataError, "dropout_p=1.5"),
])
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
