"""Loops and branches on the GPU against NumPy: in one dispatch, replayed, as long as a value says; and the same Programs step by step."""

from __future__ import annotations

import gpu
import numpy as np
import pytest
from program_interpreter import run_program
from test_loops_random import case
from test_loops_terms import F4, I4, body, normal, predator_and_prey, put, sources

from lazygrad import reference
from lazygrad.backends.wgsl import flow
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Branch, Host, Repeat
from lazygrad.prims import contraction, control, indexing, leaf, movement, reduction
from lazygrad.prims import elementwise as E


def check(roots, arrays, rtol=2e-5, steps=None, terms=None):
    """`roots` on the device and through the slow executor; `steps`: the kinds of steps among Repeat, Branch and Host."""
    terms = sources(*arrays) if terms is None else terms
    want = reference.evaluate(roots, dict(zip(terms, arrays, strict=True)))
    ran = gpu.Ran(roots, terms, arrays)
    program = ran.program
    if steps is not None:
        assert [type(s) for s in program.steps if isinstance(s, Repeat | Branch | Host)] == steps
    for got in (ran.outputs, run_program(program, arrays)[0]):
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype and g.shape == w.shape
            np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)
    assert ran.fault is None
    ran.run(arrays)                                              # again, over garbage
    for g, w in zip(ran.outputs, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)
    return ran


def total(x):
    return movement.broadcast_to(reduction.sum(x, axes=tuple(range(x.aval.ndim))), shape=x.aval.shape)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1,), (13,), (64,), (5, 7)])
def test_an_elementwise_scan_is_one_dispatch(shape, reverse):
    av, one = aval(shape, F4), aval((), F4)

    def step(c, carry, x):
        new = E.tanh(E.add(E.mul(carry, movement.broadcast_to(c, shape=shape)), x))
        return new, E.square(new)

    arrays = [normal(dtype=F4), normal(*shape, dtype=F4), normal(6, *shape, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([one, av, av], step), consts=1, carries=1, length=6, reverse=reverse)
    ran = check(control.picked(t), arrays, steps=[])
    assert len(ran.executable.program.steps) == 1


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [2, 3, 7])
def test_a_scan_with_products_is_replayed(length, reverse):
    h, w = aval((3, 13), F4), aval((13, 13), F4)

    def step(w, h, x):
        new = E.tanh(E.add(contraction.matmul(h, w), x))
        return new, new, reduction.sum(new, axes=(0,))

    arrays = [normal(13, 13, dtype=F4) / 4, normal(3, 13, dtype=F4), normal(length, 3, 13, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([w, h, h], step), consts=1, carries=1, length=length, reverse=reverse)
    ran = check(control.picked(t), arrays, 1e-4, [Repeat])
    assert length in flow.repeats(ran.executable.nodes).values()


def test_loops_in_loops():
    av = aval((33,), F4)

    def inner_step(c, s):
        new = E.add(E.mul(s, c), E.mul(leaf.like(s, 0.1), total(s)))
        return new, new

    def step(c, s, x):
        inner = control.scan(c, E.mul(s, x), body=body([av, av], inner_step), consts=1, carries=1, length=3, reverse=False)
        end, rows = control.picked(inner)
        return E.tanh(end), rows

    arrays = [normal(33, dtype=F4) / 3, normal(33, dtype=F4), normal(4, 33, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([av, av, av], step), consts=1, carries=1, length=4, reverse=True)
    ran = check(control.picked(t), arrays, 1e-4, [Repeat])
    assert 12 in flow.repeats(ran.executable.nodes).values()


@pytest.mark.parametrize("limit", [-1.0, 3.0, 1e4, 1e12])
def test_a_while_loop_runs_ahead_of_its_test(limit):
    """Steps are submitted before it is known whether they are needed; those after the end change nothing."""
    mat, one = aval((8, 8), F4), aval((), F4)

    def norm(m):
        return reduction.sum(E.mul(m, m), axes=(0, 1))

    arrays = [normal(8, 8, dtype=F4) / 2, np.array(limit, F4)]
    a, top = sources(*arrays)
    t = control.while_loop(a, top, a, test=body([mat, one, mat], lambda a, top, m: [E.lt(norm(m), top)]),
                           body=body([mat, one, mat], lambda a, top, m: [E.add(m, contraction.matmul(m, a))]), consts=2)
    check(control.picked(t), arrays, 1e-3, [Repeat])


@pytest.mark.parametrize("start", [0, 3, 5, 9])
def test_a_while_loop_does_not_fail_past_its_end(start):
    """acc += x[i] while i < 5: at the end x[5] does not exist, and must not be looked at. One element of x changes in place."""
    vec, i, one = aval((5,), F4), aval((), I4), aval((8,), F4)
    arrays = [normal(5, dtype=F4), np.array(start, I4), normal(8, dtype=F4)]
    x, k, acc = sources(*arrays)

    def step(x, k, acc):
        here = indexing.gather(x, k, axes=(0,), position=0)
        return [put(x, k, E.sin(here)), E.add(k, leaf.like(k, 1)), E.add(total(acc), movement.broadcast_to(here, shape=(8,)))]

    t = control.while_loop(x, k, acc, test=body([vec, i, one], lambda x, k, acc: [E.lt(k, leaf.like(k, 5))]), body=body([vec, i, one], step), consts=0)
    ran = check(control.picked(t), arrays, 1e-3, [Repeat])
    assert not any([n.test for n in ran.executable.nodes if isinstance(n, flow.Replay)])


def test_a_while_loop_with_a_branch_asks_before_every_step():
    av, i = aval((8,), F4), aval((), I4)

    def step(x, k):
        made, = control.picked(control.cond(E.sub(k, leaf.like(k, 3)), x, branches=tuple([
            body([av], lambda x, f=f: [E.sub(f(x), E.mul(leaf.like(x, 0.1), total(x)))]) for f in (E.sin, E.tanh)])))
        return [made, E.add(k, leaf.like(k, 1))]

    arrays = [normal(8, dtype=F4), np.array(0, I4)]
    t = control.while_loop(*sources(*arrays), test=body([av, i], lambda x, k: [E.lt(k, leaf.like(k, 7))]), body=body([av, i], step), consts=0)
    ran = check(control.picked(t), arrays, 1e-4, [Repeat])
    assert any([n.test for n in ran.executable.nodes if isinstance(n, flow.Replay)])


def test_a_while_loop_of_numbers():
    """A loop whose end a test finds: on a software adapter no kernel may take it whole."""
    one = aval((), F4)
    arrays = [np.array(70.0, F4)]
    a, = sources(*arrays)
    t = control.while_loop(a, a, test=body([one, one], lambda a, x: [E.lt(E.mul(leaf.constant(1e-5, (), F4), a), E.abs(E.sub(E.mul(x, x), a)))]),
                           body=body([one, one], lambda a, x: [E.mul(leaf.constant(0.5, (), F4), E.add(x, E.div(a, x)))]), consts=1)
    check(control.picked(t), arrays)


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 5])
def test_branches(index):
    av = aval((11,), F4)
    arrays = [normal(11, dtype=F4), np.array(index, I4)]
    x, i = sources(*arrays)
    t = control.cond(i, x, branches=tuple([body([av], lambda x, f=f: [total(f(x)), f(x)]) for f in (E.neg, E.exp, E.square)]))
    check(control.picked(t), arrays, steps=[Branch])


def test_a_branch_in_a_loop():
    av, i = aval((11,), F4), aval((), I4)
    arrays = [normal(11, dtype=F4), np.array([0, 2, 1, 1, 0], I4)]

    def step(x, k):
        t = control.cond(k, x, branches=tuple([body([av], lambda x, f=f: [E.sub(f(x), E.mul(leaf.like(x, 0.1), total(x)))]) for f in (E.neg, E.sin, E.tanh)]))
        return control.picked(t)

    t = control.scan(*sources(*arrays), body=body([av, i], step), consts=0, carries=1, length=5, reverse=False)
    check(control.picked(t), arrays, 1e-4, [Repeat])


def test_rows_of_a_large_carry_change_in_place():
    slots, row, i = aval((200, 9), F4), aval((9,), F4), aval((), I4)

    def step(s, acc, i):
        last = indexing.gather(s, E.sub(i, leaf.like(i, 1)), axes=(0,), position=0)
        new = E.add(E.mul(acc, leaf.like(acc, 0.5)), E.sin(last))
        return put(s, i, new), E.add(total(acc), last)

    arrays = [normal(200, 9, dtype=F4), normal(9, dtype=F4) / 9, np.array([0, 3, 4, 199, 1, 2], I4)]
    t = control.scan(*sources(*arrays), body=body([slots, row, i], step), consts=0, carries=2, length=6, reverse=False)
    ran = check(control.picked(t), arrays, 1e-3, [Repeat])
    inside = [p for p, n in flow.repeats(ran.executable.nodes).items() if n == 6]
    assert max([ran.executable.program.kernels[ran.executable.program.steps[p].kernel].work for p in inside]) < 1000


def test_an_index_fault_in_a_loop_is_reported():
    vec, one, i = aval((5,), F4), aval((3,), F4), aval((), I4)
    arrays = [normal(5, dtype=F4), normal(3, dtype=F4), np.array([0, 9, 1], I4)]

    def step(x, s, i):
        return [E.add(total(s), movement.broadcast_to(indexing.gather(x, i, axes=(0,), position=0), shape=(3,)))]

    t = control.scan(*sources(*arrays), body=body([vec, one, i], step), consts=1, carries=1, length=3, reverse=False)
    ran = gpu.Ran(control.picked(t), sources(*arrays), arrays)
    assert "out of range" in ran.fault[1]


@pytest.mark.parametrize("vector", [False, True])
def test_derivatives_of_a_scan(vector):
    from lazygrad.ad import vjp
    loss, terms, arrays, _ = predator_and_prey(40, 17, F4, vector)
    check([loss, *vjp([loss], [leaf.like(loss, 1)], terms)], arrays, 2e-3, terms=terms)              # 40 steps of float32
    k = len(terms) - 2
    check([loss, *vjp([loss], [leaf.like(loss, 1)], terms[:k])], arrays, 2e-3, [], terms)            # no loop is left outside of kernels


def test_numpy_runs_what_the_device_has_no_code_for():
    from lazygrad.prims import linalg
    mat, vec = aval((4, 4), F4), aval((4, 1), F4)
    arrays = [normal(4, 4, dtype=F4) + 4 * np.eye(4, dtype=F4), normal(4, 1, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([mat, vec], lambda a, v: [linalg.solve(E.add(a, total(a)), v), v]), consts=1, carries=1, length=3,
                     reverse=False)
    check(control.picked(t), arrays, 1e-4)


@pytest.mark.parametrize("seed", range(24))
def test_random_loops(seed):
    roots, used, kept = case(seed, F4)
    check(roots, kept, 1e-3, terms=used)                         # float32, sums in another order, a few steps of sines
