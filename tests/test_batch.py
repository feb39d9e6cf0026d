"""Batching rules: every primitive over stacks of examples gives what a Python loop over them gives, and so do its derivatives."""

from __future__ import annotations

import itertools
import math
from zlib import crc32

import numpy as np
import pytest
import samples

from lazygrad import reference
from lazygrad.ad import batch as rules
from lazygrad.ad import vjp
from lazygrad.ad.batch import batch, batched
from lazygrad.errors import LazygradError
from lazygrad.ir.aval import aval
from lazygrad.prims import REGISTRY, contraction
from lazygrad.prims import control as C
from lazygrad.prims import elementwise as E
from lazygrad.prims import reduction as R
from lazygrad.prims.base import Host, Prim
from lazygrad.prims.leaf import closed, filled, leaf, like, parameter

F64 = np.dtype("float64")
CASES = [(name, i) for name in sorted(samples.ROWS) for i, row in enumerate(samples.ROWS[name]) if row.args and name != "source"]


def examples(name: str, i: int, dtype: np.dtype, count: int) -> list[list[np.ndarray]]:
    """Arguments for every example."""
    row = samples.ROWS[name][i]
    return [samples.arrays(row, dtype, crc32(name.encode()) % 1000 + k) for k in range(max(count, 1))]


def sources(arrays: list[np.ndarray], first: int = 0):
    return [leaf(first + k, 0, aval(a.shape, a.dtype), True) for k, a in enumerate(arrays)]


def stack(rows: list[np.ndarray], count: int) -> np.ndarray:
    return np.stack(rows[:count]) if count else np.zeros((0, *rows[0].shape), rows[0].dtype)


def masks(arity: int) -> list[tuple[bool, ...]]:
    """Which arguments are mapped: all, each alone, all but each."""
    found = {(True,) * arity, *[tuple(j == k for j in range(arity)) for k in range(arity)]}
    if arity <= 4:
        found |= set(itertools.product((False, True), repeat=arity)) - {(False,) * arity}
    return sorted(found)


def compare(got: np.ndarray, want: np.ndarray, name: str) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    if got.dtype.kind in "fc":
        # products and sums over other strides may add in another order
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
    else:
        assert np.array_equal(got, want), name


@pytest.mark.parametrize(("name", "i"), CASES)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_every_primitive(name, i, n):
    row, prim = samples.ROWS[name][i], REGISTRY[name]
    kinds = [d for d in (F64, np.dtype("complex128"), np.dtype("int32"), np.dtype("bool"), np.dtype("uint32")) if samples.accepts(name, row, d)]
    if not kinds:
        pytest.fail(f"{name} takes none of the dtypes that are tried")
    for dtype in kinds[:2]:
        each = examples(name, i, dtype, n)
        for mask in masks(len(row.args)) if n == 3 else [(True,) * len(row.args)]:
            xs = sources(each[0])
            root = prim(*xs, **row.params)
            many = [leaf(100 + k, 0, aval((n, *x.aval.shape), x.aval.dtype), True) for k, x in enumerate(xs)]
            (out,) = batch([root], {x: m for x, m, f in zip(xs, many, mask, strict=True) if f}, n)
            env = {m: stack([e[k] for e in each], n) for k, (m, f) in enumerate(zip(many, mask, strict=True)) if f}
            env |= {x: each[0][k] for k, (x, f) in enumerate(zip(xs, mask, strict=True)) if not f}
            got = reference.evaluate([out], env)[0]
            want = [reference.evaluate([root], {x: each[j if f else 0][k] for k, (x, f) in enumerate(zip(xs, mask, strict=True))})[0] for j in range(n)]
            assert got.shape == (n, *root.aval.shape)
            if n:
                compare(got, np.stack(want), name)


SMOOTH = [(name, i) for name, i in CASES if REGISTRY[name].differentiable and samples.ROWS[name][i].smooth
          and samples.accepts(name, samples.ROWS[name][i], F64)]


@pytest.mark.parametrize(("name", "i"), [c for c in SMOOTH if c[1] < 3])
def test_derivative_of_every_primitive(name, i):
    row, prim, n = samples.ROWS[name][i], REGISTRY[name], 3
    each = examples(name, i, F64, n)
    xs = sources(each[0])
    root = prim(*xs, **row.params)
    if not root.aval.inexact:
        return
    floats = [x for x in xs if x.aval.inexact]
    g = [t for t in vjp([root], [E.cos(root) if root.aval.dtype.kind == "f" else root], floats) if t is not None]
    many = {x: leaf(100 + k, 0, aval((n, *x.aval.shape), x.aval.dtype), True) for k, x in enumerate(xs)}
    outs = batch(g, many, n)
    got = reference.evaluate(outs, {m: stack([e[k] for e in each], n) for k, m in enumerate(many.values())})
    for j in range(n):
        want = reference.evaluate(g, dict(zip(xs, each[j], strict=True)))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[j], b, rtol=1e-8, atol=1e-10)


def test_what_depends_on_no_example_stays_as_it_is():
    x, y = sources([np.zeros(3), np.zeros(3)])
    many = leaf(9, 0, aval((4, 3), F64), True)
    (a, fa), (b, fb) = batched([E.mul(x, y), E.sin(y)], {x: many}, 4)
    assert fa and not fb and b is E.sin(y) and a.aval.shape == (4, 3)


def test_batches_of_batches():
    x = sources([np.zeros((2, 3))])[0]
    root = R.sum(E.exp(x), axes=(1,))
    once, twice = leaf(8, 0, aval((4, 2, 3), F64), True), leaf(9, 0, aval((5, 4, 2, 3), F64), True)
    (inner,) = batch([root], {x: once}, 4)
    (outer,) = batch([inner], {once: twice}, 5)
    a = np.random.default_rng(0).normal(size=(5, 4, 2, 3))
    np.testing.assert_allclose(reference.evaluate([outer], {twice: a})[0], np.exp(a).sum(-1), rtol=1e-13)


def test_one_matrix_for_all_examples_is_one_product():
    x, w = sources([np.zeros((4, 5)), np.zeros((5, 6))])
    product = contraction.matmul(x, w)
    for env, n in (({x: leaf(9, 0, aval((3, 4, 5), F64), True)}, 3), ({w: leaf(9, 0, aval((3, 5, 6), F64), True)}, 3)):
        from lazygrad.ir.term import toposort
        products = [t for t in toposort(batch([product], env, n)) if t.op is contraction.matmul]
        assert len(products) == 1 and products[0].aval.ndim == 2


def test_every_registered_primitive_has_a_rule():
    none = [p.name for p in REGISTRY.values() if p not in rules.CONTROL and p.name not in ("source", "full", "iota", "pick") and not rules.rule(p)]
    assert none == []


def test_a_primitive_without_a_rule_is_an_error():
    lone = Prim("lone", np.flip, lambda x: x, Host())
    try:
        x = sources([np.zeros(3)])[0]
        with pytest.raises(LazygradError, match="lone: this primitive has no batching rule"):
            batch([lone(x)], {x: leaf(9, 0, aval((2, 3), F64), True)}, 2)
    finally:
        del REGISTRY["lone"]


# ---- control flow ------------------------------------------------------------------------------------------------------------------

def check(roots, xs, arrays: list[np.ndarray], n: int) -> None:
    """All subsets of the arguments mapped: values and gradients as in a loop over examples. `arrays`: (n, ...) for each."""
    inexact = [x for x in xs if x.aval.inexact]
    g = []
    for r in roots:
        if r.aval.inexact:
            g += [filled(x.aval, 0) if t is None else t for t, x in zip(vjp([r], [like(r, 1)], inexact), inexact, strict=True)]
    for mask in itertools.product((False, True), repeat=len(xs)):
        if True not in mask:
            continue
        many = [leaf(100 + k, 0, aval((n, *x.aval.shape), x.aval.dtype), True) for k, x in enumerate(xs)]
        outs = batch([*roots, *g], {x: m for x, m, f in zip(xs, many, mask, strict=True) if f}, n)
        env = {(m if f else x): (a if f else a[0]) for x, m, a, f in zip(xs, many, arrays, mask, strict=True)}
        got = reference.evaluate(outs, env)
        for j in range(n):
            want = reference.evaluate([*roots, *g], {x: a[j if f else 0] for x, a, f in zip(xs, arrays, mask, strict=True)})
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a[j], b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.normal(size=(3, 4, 2))]
    w, c, xs = sources([a[0] for a in arrays])
    p = [parameter(k, aval((2,), F64)) for k in range(3)]
    body = closed(p, [E.add(E.sin(E.mul(p[1], p[0])), p[2]), E.mul(p[1], p[1])])
    last, ys = C.picked(C.scan(w, c, xs, body=body, consts=1, carries=1, length=4, reverse=reverse))
    check([last, ys], [w, c, xs], arrays, 3)


def test_while_with_examples_that_end_apart():
    """x -> x w until x > 10: also how often."""
    arrays = [np.array([1.5, 3.0, 1.2]), np.array([0.3, 20.0, 1.0])]
    w, x = sources([a[0] for a in arrays])
    p = [parameter(k, aval((), F64)) for k in range(2)]
    loop = C.while_loop(w, x, test=closed(p, [E.le(p[1], like(p[1], 10))]), body=closed(p, [E.mul(p[1], p[0])]), consts=1)
    last, steps = C.picked(loop)
    many = leaf(9, 0, aval((3,), F64), True)
    outs = batch([last, steps], {x: many}, 3)
    got = reference.evaluate(outs, {w: np.float64(2.0), many: arrays[1]})
    want = [[], []]
    for v in arrays[1]:
        k = max(0, math.floor(math.log2(10 / v)) + 1) if v <= 10 else 0
        want[0].append(v * 2.0**k)
        want[1].append(k)
    np.testing.assert_allclose(got[0], want[0])
    assert got[1].tolist() == want[1]


def test_cond_with_an_index_for_every_example():
    rng = np.random.default_rng(0)
    p = [parameter(k, aval((2,), F64)) for k in range(2)]
    branches = (closed(p, [E.sqrt(p[0]), p[1]]), closed(p, [E.mul(p[0], p[1]), like(p[1], 2)]), closed(p, [E.neg(p[0]), E.exp(p[1])]))
    arrays = [np.array([0, 1, 2, -3, 9], np.int32), rng.uniform(0.1, 1, (5, 2)), rng.normal(size=(5, 2))]
    k, x, y = sources([a[0] for a in arrays])
    check(C.picked(C.cond(k, x, y, branches=branches)), [k, x, y], arrays, 5)


def test_no_branch_shows_in_the_gradient_of_another():
    p = [parameter(0, aval((), F64))]
    branches = (closed(p, [E.mul(p[0], p[0])]), closed(p, [E.sqrt(p[0])]))
    k, x = sources([np.int32(0), np.float64(0)])
    (root,) = C.picked(C.cond(k, x, branches=branches))
    (g,) = vjp([root], [like(root, 1)], [x])
    many = {k: leaf(8, 0, aval((2,), np.dtype("int32")), True), x: leaf(9, 0, aval((2,), F64), True)}
    got = reference.evaluate(batch([root, g], many, 2), {many[k]: np.array([0, 1], np.int32), many[x]: np.array([0.0, 4.0])})
    np.testing.assert_allclose(got, [[0, 2], [0, 0.25]])
