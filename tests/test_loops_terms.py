"""Loops as Terms: compiled to kernels with states or to steps over bodies, as native code and through the slow executor, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from program_interpreter import run_program
from test_codegen_programs import CAPS, native

from lazygrad import compiler, reference
from lazygrad.ir.aval import aval
from lazygrad.ir.function import Body
from lazygrad.ir.kernel import Loop, text
from lazygrad.ir.program import Branch, Call, Host, Repeat
from lazygrad.prims import contraction, control, indexing, leaf, movement, reduction
from lazygrad.prims import elementwise as E

F4, F8, I4, BOOL = np.dtype("float32"), np.dtype("float64"), np.dtype("int32"), np.dtype("bool")


def body(avals, build) -> Body:
    params = [leaf.parameter(k, a) for k, a in enumerate(avals)]
    return leaf.closed(params, build(*params))


def sources(*arrays):
    return [leaf.leaf(j, 0, aval(a.shape, a.dtype), False) for j, a in enumerate(arrays)]


def check(roots, arrays, rtol, kinds=None, terms=None):
    """`roots` over `sources(*arrays)`: natively, step by step, and by NumPy; the kinds of steps are `kinds`."""
    terms = sources(*arrays) if terms is None else terms
    want = reference.evaluate(roots, dict(zip(terms, arrays, strict=True)))
    program = compiler.compile(roots, terms, [None] * len(roots), CAPS)
    if kinds is not None:
        assert {type(s) for s in program.steps} == set(kinds), program.steps
    for got in (native(roots, terms, arrays)[0], run_program(program, arrays)[0]):
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape and g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)
    return program


def normal(*shape, dtype=F8, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def tolerance(dtype):
    return 2e-5 if dtype == F4 else 1e-12                       # fused multiply-adds: under a rounding for each step


@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(1,), (3,), (13,), (64,), (5, 7), (2, 3, 4)])
def test_an_elementwise_scan_is_one_kernel(shape, reverse, dtype):
    """carry' = tanh(carry * c + x), y = carry'²; c is one number for all."""
    av, one = aval(shape, dtype), aval((), dtype)

    def step(c, carry, x):
        new = E.tanh(E.add(E.mul(carry, movement.broadcast_to(c, shape=shape)), x))
        return new, E.square(new)

    arrays = [normal(dtype=dtype), normal(*shape, dtype=dtype), normal(6, *shape, dtype=dtype)]
    c, start, xs = sources(*arrays)
    t = control.scan(c, start, xs, body=body([one, av, av], step), consts=1, carries=1, length=6, reverse=reverse)
    program = check(control.picked(t), arrays, tolerance(dtype), [Call])
    assert len(program.steps) == 1


def test_what_is_around_a_loop_joins_its_kernel():
    """Operands made by elementwise work, and a ramp as slices, are computed where the loop reads them."""
    av = aval((9,), F8)
    x, = sources(normal(9))
    ramp = E.cast(leaf.iota(size=5, dtype=I4), dtype=F8)
    t = control.scan(E.exp(x), E.sin(x), ramp, consts=1, carries=1, length=5, reverse=False,
                     body=body([av, av, aval((), F8)], lambda c, s, i: [E.add(E.mul(s, c), movement.broadcast_to(i, shape=(9,)))]))
    program = check(control.picked(t), [normal(9)], 1e-12, [Call])
    assert len(program.steps) == 1 and len(program.buffers) == 2


@pytest.mark.parametrize("lead", [True, False])
def test_small_axes_are_written_out(lead):
    """A pendulum for a batch of 20: the state is one array of (batch, 2) or (2, batch), taken apart and stacked again."""
    shape, axis = ((20, 2), 1) if lead else ((2, 20), 0)
    av = aval(shape, F8)

    def part(y, k):
        return movement.cut(y, axis, k, 1)

    def step(y):
        q, p = part(y, 0), part(y, 1)
        h = leaf.like(q, 0.05)
        p2 = E.sub(p, E.mul(h, E.sin(q)))
        new = movement.concatenate(E.add(q, E.mul(h, p2)), p2, axis=axis)
        energy = reduction.sum(E.mul(new, new), axes=(axis,))
        return new, energy

    y, = sources(normal(*shape))
    t = control.scan(y, body=body([av], step), consts=0, carries=1, length=11, reverse=False)
    program = check(control.picked(t), [normal(*shape)], 1e-12, [Call])
    assert len(program.steps) == 1


def test_a_clock_beside_a_batch():
    """The time is one number; its end and its rows are stored by a kernel of its own."""
    av, one = aval((17,), F4), aval((), F4)

    def step(dt, x, t):
        h = movement.broadcast_to(dt, shape=(17,))
        return (E.add(x, E.mul(h, E.cos(movement.broadcast_to(t, shape=(17,))))), E.add(t, dt), t)

    dt, x = sources(np.array(0.1, F4), normal(17, dtype=F4))
    t = control.scan(dt, x, leaf.constant(0.0, (), F4), body=body([one, av, one], step), consts=1, carries=2, length=8, reverse=False)
    program = check(control.picked(t), [np.array(0.1, F4), normal(17, dtype=F4)], 2e-5, [Call])
    assert len(program.steps) == 2
    assert len(check(control.picked(t)[:1], [np.array(0.1, F4), normal(17, dtype=F4)], 2e-5, [Call]).steps) == 1


@pytest.mark.parametrize("start", [0.5, 2.0, 100.0, 1e6])
def test_a_while_loop_of_numbers_is_one_kernel(start):
    """Newton's square root with its count of steps: the tolerance is relative, so the number of steps depends on the start."""
    one = aval((), F8)

    def going(a, x):
        return [E.lt(E.mul(leaf.constant(1e-12, (), F8), a), E.abs(E.sub(E.mul(x, x), a)))]

    def step(a, x):
        return [E.mul(leaf.constant(0.5, (), F8), E.add(x, E.div(a, x)))]

    a, = sources(np.array(start))
    t = control.while_loop(a, a, test=body([one, one], going), body=body([one, one], step), consts=1)
    check(control.picked(t), [np.array(start)], 1e-14, [Call])


def test_a_while_loop_that_makes_no_step_keeps_its_carries():
    one = aval((), F8)
    vec = aval((6,), F8)
    a, v = sources(np.array(3.0), normal(6))
    never = body([one, vec], lambda s, v: [E.lt(s, leaf.constant(0.0, (), F8))])
    t = control.while_loop(a, v, test=never, body=body([one, vec], lambda s, v: [E.add(s, s), E.mul(v, v)]), consts=0)
    check(control.picked(t), [np.array(3.0), normal(6)], 0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [2, 5])
def test_a_scan_with_products_is_a_step_over_a_body(length, reverse):
    """A recurrent network: h' = tanh(h W + x), y = sum of h'; rows of 12 and of odd sizes."""
    h, w, one = aval((3, 13), F4), aval((13, 13), F4), aval((3, 13), F4)

    def step(w, h, x):
        new = E.tanh(E.add(contraction.matmul(h, w), x))
        return new, new, reduction.sum(new, axes=(0,))

    arrays = [normal(13, 13, dtype=F4) / 4, normal(3, 13, dtype=F4), normal(length, 3, 13, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([w, h, one], step), consts=1, carries=1, length=length, reverse=reverse)
    check(control.picked(t), arrays, 1e-4, [Repeat])
    check(control.picked(t)[1:2], arrays, 1e-4, [Repeat])              # one of three results


def test_a_while_loop_over_products():
    """Doubling a matrix until its norm passes a limit; the test reads a const and a carry."""
    mat, one = aval((8, 8), F8), aval((), F8)

    def norm(m):
        return reduction.sum(E.mul(m, m), axes=(0, 1))

    a, limit = sources(normal(8, 8), np.array(1e12))
    t = control.while_loop(a, limit, a, test=body([mat, one, mat], lambda a, limit, m: [E.lt(norm(m), limit)]),
                           body=body([mat, one, mat], lambda a, limit, m: [contraction.matmul(m, a)]), consts=2)
    check(control.picked(t), [normal(8, 8), np.array(1e12)], 1e-10, [Repeat])


def test_loops_in_loops():
    """Each of 4 outer steps runs 3 inner ones, forwards, whose rows are a slice of the outer rows, which are written backwards."""
    av = aval((7,), F4)

    def inner_step(c, s):
        new = E.add(E.mul(s, c), reduced(s))
        return new, new

    def reduced(s):
        return movement.broadcast_to(reduction.sum(s, axes=(0,)), shape=(7,))

    def step(c, s, x):
        inner = control.scan(c, E.mul(s, x), body=body([av, av], inner_step), consts=1, carries=1, length=3, reverse=False)
        end, rows = control.picked(inner)
        return E.tanh(end), rows

    arrays = [normal(7, dtype=F4) / 3, normal(7, dtype=F4), normal(4, 7, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([av, av, av], step), consts=1, carries=1, length=4, reverse=True)
    check(control.picked(t), arrays, 1e-4, [Repeat])


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 5])
def test_branches(index):
    av = aval((11,), F4)
    x, i = sources(normal(11, dtype=F4), np.array(index, I4))
    t = control.cond(i, x, branches=tuple([body([av], lambda x, f=f: [f(x), reduction.sum(f(x), axes=(0,))]) for f in (E.neg, E.exp, E.square)]))
    check(control.picked(t), [normal(11, dtype=F4), np.array(index, I4)], 1e-5)


def test_an_index_fault_inside_of_a_loop_ends_it():
    """x[i] for i from data: the third index is outside."""
    vec, one = aval((5,), F8), aval((), np.dtype("int64"))
    arrays = [normal(5), np.array([0, 4, 9, 1]), np.array(0.0)]
    x, i, s = sources(*arrays)

    def step(x, s, i):
        return [E.add(s, take(x, i))]

    def take(x, i):
        return indexing.gather(x, i, axes=(0,), position=0)

    t = control.scan(x, s, i, body=body([vec, aval((), F8), one], step), consts=1, carries=1, length=4, reverse=False)
    program = compiler.compile(control.picked(t), [x, i, s], [None], CAPS)
    assert native(control.picked(t), [x, i, s], arrays)[1] == 1 and "out of range" in program.faults[0][1]
    arrays[1] = np.array([0, 4, -5, 1])
    check(control.picked(t), arrays, 1e-15)


def test_numpy_runs_a_loop_that_has_no_code():
    """A body that solves linear systems: the whole loop is one Host step."""
    from lazygrad.prims import linalg
    mat, vec = aval((4, 4), F8), aval((4, 1), F8)
    a, v = sources(normal(4, 4) + 4 * np.eye(4), normal(4, 1))
    t = control.scan(a, v, body=body([mat, vec], lambda a, v: [linalg.solve(a, v), v]), consts=1, carries=1, length=3, reverse=False)
    check(control.picked(t), [normal(4, 4) + 4 * np.eye(4), normal(4, 1)], 1e-12, [Host])
    check([movement.reshape(control.picked(t)[0], shape=(2, 2)), control.picked(t)[1]], [normal(4, 4) + 4 * np.eye(4), normal(4, 1)], 1e-12)


# ---- lighter loops ------------------------------------------------------------------------------------------------------

def test_loops_of_no_and_of_one_step_are_no_loops():
    av = aval((5,), F8)
    for length in (0, 1):
        arrays = [normal(5), normal(5), normal(length, 5)]
        t = control.scan(*sources(*arrays), body=body([av] * 3, lambda c, s, x: [E.add(E.mul(s, c), x), E.exp(x)]), consts=1, carries=1,
                         length=length, reverse=False)
        program = check(control.picked(t), arrays, 1e-12)
        assert all([isinstance(s, Call) for s in program.steps]) and "State(" not in repr(program.kernels)


def test_what_nobody_reads_is_left_out():
    """Of four carries one is wanted, which reads a second one; a third one is never changed, the fourth only reads itself."""
    av = aval((5,), F8)

    def step(big, a, b, fixed, own, x):
        new = reduction.sum(E.mul(own, own), axes=(0,))
        return E.add(E.mul(a, b), fixed), E.sin(b), fixed, E.mul(own, movement.broadcast_to(new, shape=(5,))), E.exp(x), contraction.matmul(big, big)

    arrays = [normal(64, 64), *[normal(5, seed=k) for k in range(4)], normal(6, 5)]
    t = control.scan(*sources(*arrays), body=body([aval((64, 64), F8), av, av, av, av, av], step), consts=1, carries=4, length=6, reverse=False)
    a, _, fixed, *_ = control.picked(t)
    program = check([a, fixed], arrays, 1e-12, [Call])
    assert max([b.aval.size for b in program.buffers if b.kind == "temp"], default=0) <= 5


def test_what_no_step_changes_is_computed_before():
    """An inverse (of NumPy alone) and a product of consts: only the product with the carry is left inside."""
    from lazygrad.prims import linalg
    mat, vec = aval((24, 24), F8), aval((24, 1), F8)

    def step(a, v):
        return [contraction.matmul(contraction.matmul(linalg.inv(a), a), v)]

    arrays = [normal(24, 24) + 9 * np.eye(24), normal(24, 1)]
    t = control.scan(*sources(*arrays), body=body([mat, vec], step), consts=1, carries=1, length=5, reverse=False)
    program = check(control.picked(t), arrays, 1e-11)
    assert [type(s) for s in program.steps].count(Host) == 1
    repeat, = [s for s in program.steps if isinstance(s, Repeat)]
    assert len(repeat.body.steps) == 1


def test_a_while_loop_that_makes_no_step_meets_no_fault_of_its_body():
    vec, i, one = aval((5,), F8), aval((), np.dtype("int64")), aval((), F8)
    arrays = [normal(5), np.array(99), np.array(1.0)]
    t = control.while_loop(*sources(*arrays), test=body([vec, i, one], lambda x, i, s: [E.lt(s, leaf.constant(0.0, (), F8))]),
                           body=body([vec, i, one], lambda x, i, s: [E.add(s, indexing.gather(x, i, axes=(0,), position=0))]), consts=2)
    check(control.picked(t), arrays, 0)


@pytest.mark.parametrize("flag", [False, True])
def test_cheap_branches_are_both_computed_and_dear_ones_are_not(flag):
    av = aval((11,), F8)
    p, x = sources(np.array(flag), normal(11))
    cheap = control.cond(p, x, branches=(body([av], lambda x: [E.add(x, x), E.neg(x)]), body([av], lambda x: [E.mul(x, x), x])))
    program = check(control.picked(cheap), [np.array(flag), normal(11)], 0, [Call])
    assert len(program.steps) == 1

    def sums(x):
        return [movement.broadcast_to(reduction.sum(E.exp(x), axes=(0,)), shape=(11,))]

    dear = control.cond(p, x, branches=(body([av], sums), body([av], lambda x: [E.sin(x)])))
    check(control.picked(dear), [np.array(flag), normal(11)], 1e-12, [Branch])
    known = control.cond(leaf.constant(flag, (), BOOL), x, branches=(body([av], sums), body([av], lambda x: [E.sin(x)])))
    check(control.picked(known), [np.array(flag), normal(11)], 1e-12, [Call])


# ---- in place -----------------------------------------------------------------------------------------------------------

def put(slots, i, row):
    return indexing.scatter(slots, movement.reshape(i, shape=(1,)), movement.reshape(row, shape=(1, *row.aval.shape)), axes=(0,), position=0, mode="set")


def test_a_few_elements_of_a_large_carry_are_changed_in_place():
    """Slots of rows: step i reads slot i - 1 (wrapping), writes slot i. Nothing in the loop has the size of all slots."""
    slots, row, i = aval((200, 9), F4), aval((9,), F4), aval((), I4)

    def step(s, acc, i):
        last = indexing.gather(s, E.sub(i, leaf.like(i, 1)), axes=(0,), position=0)
        new = E.add(E.mul(acc, leaf.like(acc, 0.5)), E.sin(last))
        return put(s, i, new), E.add(acc, last)

    arrays = [normal(200, 9, dtype=F4), normal(9, dtype=F4), np.array([0, 3, 4, 199, 1, 2], I4)]
    t = control.scan(*sources(*arrays), body=body([slots, row, i], step), consts=0, carries=2, length=6, reverse=False)
    program = check(control.picked(t), arrays, 1e-5, [Repeat])
    repeat, = program.steps
    assert repeat.body.into[0] == 0 and repeat.spare[0] is None
    assert all([b.aval.size <= 9 for b in repeat.body.buffers if b.kind != "input"])
    assert repeat.body.work < 1000


def test_a_carry_that_is_read_after_its_change_and_one_that_is_read_in_a_circle():
    """s' = put(s, i, acc), acc' = s'[j]: reads of the new value come later. With reads of old and new in one value it is copied."""
    slots, row, i = aval((50, 4), F8), aval((4,), F8), aval((), I4)

    def at(s, i):
        return indexing.gather(s, i, axes=(0,), position=0)

    def after(s, acc, i):
        new = put(s, i, E.mul(acc, acc))
        return new, E.add(at(new, E.add(i, leaf.like(i, 1))), at(new, i))

    def circle(s, acc, i):
        new = put(s, i, acc)
        return new, E.add(at(s, at_sum(new)), acc)

    def at_sum(new):
        return E.cast(E.minimum(E.abs(reduction.sum(new, axes=(0, 1))), leaf.constant(40.0, (), F8)), dtype=I4)

    arrays = [normal(50, 4), normal(4), np.array([7, 8, 6, 7, 49], I4) % 49]
    for step, copies in ((after, 0), (circle, 1)):
        t = control.scan(*sources(*arrays), body=body([slots, row, i], step), consts=0, carries=2, length=5, reverse=False)
        repeat, = check(control.picked(t), arrays, 1e-12, [Repeat]).steps
        assert [b.aval.size for b in repeat.body.buffers if b.kind == "temp"].count(200) == copies


@pytest.mark.parametrize("mode", ["set", "add"])
@pytest.mark.parametrize("swapped", [False, True])
def test_updates_under_a_condition_are_made_in_place(mode, swapped):
    """where(c, update(s), s): c differs from element to element, two updates meet in one of them, and what is not touched is not read."""
    slots, flags, rows = aval((300,), F8), aval((300,), BOOL), aval((3,), F8)

    def step(idx, c, s, x):
        new = indexing.scatter(s, idx, x, axes=(0,), position=0, mode=mode)
        return [E.where(c, s, new) if swapped else E.where(c, new, s)]

    arrays = [np.array([7, 299, 7]), np.arange(300) % 2 == 1, normal(300), normal(5, 3)]
    t = control.scan(*sources(*arrays), body=body([aval((3,), np.dtype("int64")), flags, slots, rows], step), consts=2, carries=1, length=5, reverse=False)
    _, repeat = check(control.picked(t), arrays, 1e-14, [Call, Repeat]).steps         # the conditions of the updates are made once
    assert repeat.body.work < 500 and repeat.spare == (None,)


def test_a_leaf_is_updated_in_place_and_its_old_value_is_read_before():
    """Outside of loops too: x[i] = v overwrites x, of which the sum before is wanted."""
    x, i, v = sources(normal(300), np.array([5, 299, 5]), normal(3))
    new = indexing.scatter(x, i, v, axes=(0,), position=0, mode="set")
    roots = [reduction.sum(x, axes=(0,)), new, E.add(new, new)]
    arrays = [normal(300), np.array([5, 299, 5]), normal(3)]
    program = compiler.compile(roots, [x, i, v], [None, 0, None], CAPS)
    assert sum([k.work for k in program.kernels]) < 2000
    want = reference.evaluate(roots, dict(zip((x, i, v), arrays, strict=True)))
    got, fault, _ = native(roots, [x, i, v], arrays, [None, 0, None])
    assert not fault
    for g, w in zip((*got, *run_program(program, arrays)[0]), want * 2, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-13)


# ---- derivatives --------------------------------------------------------------------------------------------------------

def predator_and_prey(n, batch, dtype, vector):
    """Heun steps of x' = a x - b x y, y' = d x y - c y for a batch, its four parameters as numbers or as one vector; a loss of the ends."""
    def slope(p, x, y):
        xy = E.mul(x, y)
        return E.sub(E.mul(p[0], x), E.mul(p[1], xy)), E.sub(E.mul(p[3], xy), E.mul(p[2], y))

    def step(*args):
        *p, x, y = args
        if vector:
            p = [movement.reshape(movement.cut(p[0], 0, k, 1), shape=()) for k in range(4)]
        p = [movement.broadcast_to(q, shape=(batch,)) for q in p]
        h, half = leaf.like(x, 0.02), leaf.like(x, 0.01)
        u = slope(p, x, y)
        v = slope(p, E.add(x, E.mul(h, u[0])), E.add(y, E.mul(h, u[1])))
        return [E.add(z, E.mul(half, E.add(s, t))) for z, s, t in zip((x, y), u, v, strict=True)]

    parameters = np.array([1.5, 1.0, 3.0, 1.0], dtype)
    rng = np.random.default_rng(1)
    arrays = [np.asarray(a, dtype) for a in (*([parameters] if vector else parameters), rng.uniform(1, 3, batch), rng.uniform(1, 3, batch))]
    terms = [leaf.leaf(j, 0, aval(a.shape, a.dtype), True) for j, a in enumerate(arrays)]
    k = len(terms) - 2
    t = control.scan(*terms, body=body([p.aval for p in terms], step), consts=k, carries=2, length=n, reverse=False)
    x, y = control.picked(t)
    return reduction.sum(E.add(E.mul(x, x), y), axes=(0,)), terms, arrays, k


@pytest.mark.parametrize("vector", [False, True])
def test_the_reverse_of_a_scan_is_two_kernels_of_all_steps(vector):
    """The forward loop keeps what each step began with, and is made once; the sums over the batch come after the reverse loop."""
    from lazygrad.ad import vjp
    loss, terms, arrays, _ = predator_and_prey(40, 17, F8, vector)
    roots = [loss, *vjp([loss], [leaf.like(loss, 1)], terms)]
    program = check(roots, arrays, 1e-10, [Call], terms)
    loops = [[s for s in kernel.body if isinstance(s, Loop) and "State(" in repr(s)] for kernel in program.kernels]
    assert sum([bool(found) for found in loops]) == 2
    assert not any(["Combine" in repr(found) for found in loops])


def test_the_forward_derivative_of_a_scan_is_one_kernel():
    from lazygrad.ad import jvp
    loss, terms, arrays, k = predator_and_prey(40, 17, F8, False)
    tangents = [leaf.leaf(20 + j, 0, t.aval, True) for j, t in enumerate(terms[:k])]
    moved, = jvp([loss], dict(zip(terms[:k], tangents, strict=True)))
    all_terms, all_arrays = [*terms, *tangents], [*arrays, *[np.array(v) for v in (1.0, -0.5, 0.25, 2.0)]]
    want = reference.evaluate([moved], dict(zip(all_terms, all_arrays, strict=True)))
    program = compiler.compile([moved], all_terms, [None], CAPS)
    assert sum(["State(" in repr(kernel) for kernel in program.kernels]) == 1
    np.testing.assert_allclose(native([moved], all_terms, all_arrays)[0][0], want[0], rtol=1e-10)


def test_scans_over_the_same_carries_are_one():
    av = aval((20,), F8)
    x, y = sources(normal(20), normal(5, 20))

    def scan(*rows):
        return control.scan(x, y, body=body([av, av], lambda s, x: [E.sin(E.add(s, x)), *[r(s, x) for r in rows]]), consts=0, carries=1, length=5,
                            reverse=False)

    a, b = control.picked(scan(lambda s, x: s)), control.picked(scan(lambda s, x: E.mul(s, x), lambda s, x: s))
    program = check([*a, *b, control.picked(scan())[0]], [normal(20), normal(5, 20)], 1e-12)
    assert sum(["State(" in repr(kernel) for kernel in program.kernels]) == 1


def test_a_random_walk_of_sums_sinks():
    """carry' = carry + sum over the batch of (sin of the state, twice), another one minus a broadcast: totals are made once, after the loop."""
    av, one, vec = aval((24,), F8), aval((), F8), aval((3,), F8)

    def step(s, a, b):
        new = E.sin(E.add(s, leaf.like(s, 0.3)))
        total = reduction.sum(E.mul(new, s), axes=(0,))
        return new, E.add(E.add(total, total), a), E.add(b, movement.broadcast_to(E.neg(total), shape=(3,)))

    arrays = [normal(24), np.array(2.0), normal(3)]
    t = control.scan(*sources(*arrays), body=body([av, one, vec], step), consts=0, carries=3, length=9, reverse=False)
    program = check(control.picked(t), arrays, 1e-12, [Call])
    assert sum(["State(" in repr(kernel) for kernel in program.kernels]) == 1



def test_examples_of_a_while_loop_end_one_by_one_in_their_lanes():
    """Newton's roots of 21 numbers by `batch`: lanes of one kernel, each with a test of its own; and with an inner axis of 3."""
    from lazygrad.ad.batch import batch
    for shape in ((), (3,)):
        one = aval(shape, F8)

        def going(a, x, one=one):
            err = E.abs(E.sub(E.mul(x, x), a))
            return [reduction.any(E.lt(E.mul(leaf.like(a, 1e-12), a), err), axes=tuple(range(one.ndim)))]

        a = leaf.leaf(0, 0, one, False)
        t = control.while_loop(a, a, test=body([one, one], going), body=body([one, one], lambda a, x: [
            E.mul(leaf.like(x, 0.5), E.add(x, E.div(a, x)))]), consts=1)
        many = leaf.leaf(1, 0, aval((21, *shape), F8), False)
        root, steps = batch(control.picked(t), {a: many}, 21)
        numbers = np.random.default_rng(3).uniform(0.01, 1e5, size=(21, *shape))
        numbers[4] = 1.0
        program = check([root, steps], [numbers], 1e-13, [Call], [many])
        assert any([" serial while " in text(kernel) for kernel in program.kernels])


def test_long_loops_in_reverse_take_little_memory():
    """A scan whose carries are too many to keep is cut into segments: the same derivatives, and an arena of the root of its length."""
    from lazygrad.ad import control as rules
    from lazygrad.ad import vjp
    loss, terms, arrays, _ = predator_and_prey(50, 17, F8, False)
    kept, rules.MOST = rules.MOST, 64
    try:
        roots = vjp([loss], [leaf.like(loss, 1)], terms)
    finally:
        rules.MOST = kept
    check([loss, *roots], arrays, 1e-10, terms=terms)


def test_programs_with_loops_are_found_again_by_their_text():
    from lazygrad.backends import llvm
    from lazygrad.runtime import tiers
    av = aval((9,), F8)

    def made(factor):
        x, = sources(normal(9))
        t = control.scan(x, body=body([av], lambda s: [E.mul(s, leaf.like(s, factor)), E.sin(s)]), consts=0, carries=1, length=5, reverse=False)
        return control.picked(t), [x]

    texts = [tiers.request(*made(f), (None, None)) for f in (0.5, 0.25, 0.5)]
    assert None not in texts and texts[0] == texts[2] != texts[1]
    first = tiers.build(*made(0.75), (None, None))
    again = tiers.build(*made(0.75), (None, None))
    assert again.from_cache and again.native is not None and first.work == again.work
    assert "loop 5 times" not in compiler.explain(*made(0.5), [None, None], llvm.caps)              # it is one kernel


def test_arrays_without_elements_go_through_loops():
    none, av = aval((0, 3), F8), aval((5,), F8)

    def step(a, b, x):
        return E.add(a, a), E.add(E.sin(b), x), E.mul(a, a), movement.broadcast_to(reduction.sum(a, axes=(0, 1)), shape=(5,))

    for wide in (False, True):
        def built(a, b, x, wide=wide):
            new = list(step(a, b, x))
            new[1] = E.add(new[1], movement.broadcast_to(reduction.sum(b, axes=(0,)), shape=(5,))) if wide else new[1]
            return new
        arrays = [np.zeros((0, 3)), normal(5), normal(4, 5)]
        t = control.scan(*sources(*arrays), body=body([none, av, av], built), consts=0, carries=2, length=4, reverse=False)
        check(control.picked(t), arrays, 1e-12)
    t = control.scan(sources(np.zeros((0, 3)))[0], body=body([none], lambda a: [E.add(a, a)]), consts=0, carries=1, length=4, reverse=False)
    check(control.picked(t), [np.zeros((0, 3))], 0)


def test_slices_that_are_the_same_in_every_step_are_no_slices():
    av = aval((17,), F8)
    arrays = [normal(17), normal(17)]
    x, c = sources(*arrays)
    rows = movement.broadcast_to(c, shape=(50, 17))
    zeros = leaf.constant(0.0, (50, 17), F8)
    t = control.scan(x, rows, zeros, body=body([av, av, av], lambda s, r, z: [E.add(E.sin(E.add(s, r)), z), contraction_of(s)]), consts=0, carries=1,
                     length=50, reverse=False)
    program = check(control.picked(t), arrays, 1e-12)
    assert max([b.aval.size for b in program.buffers]) == 50                  # the rows that the loop makes


def contraction_of(s):
    return reduction.sum(E.mul(s, s), axes=(0,))


def test_explain_says_why_a_loop_is_interpreted():
    from lazygrad.prims import linalg
    mat, vec = aval((4, 4), F8), aval((4, 1), F8)
    arrays = [normal(4, 4) + 4 * np.eye(4), normal(4, 1)]
    t = control.scan(*sources(*arrays), body=body([mat, vec], lambda a, v: [linalg.solve(a, v)]), consts=1, carries=1, length=3, reverse=False)
    assert "interpreted step by step, as only NumPy has solve" in compiler.explain(control.picked(t), sources(*arrays), [None], CAPS)


def test_explain_shows_loops_and_what_is_in_them():
    h, w = aval((3, 24), F4), aval((24, 24), F4)
    arrays = [normal(24, 24, dtype=F4), normal(3, 24, dtype=F4)]
    t = control.scan(*sources(*arrays), body=body([w, h], lambda w, h: [E.tanh(contraction.matmul(h, w)), h]), consts=1, carries=1, length=7, reverse=True)
    story = compiler.explain(control.picked(t), sources(*arrays), [None, None], CAPS)
    assert "loop 7 times from the end: carries input1 -> output0; rows to output1; reads input0" in story
    assert "  body:" in story and "tanh" in story.split("== steps")[1]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", [np.dtype(n) for n in ("bool", "int8", "uint8", "int32", "uint64", "int64", "float16")], ids=str)
def test_carries_of_every_kind(dtype, wide):
    """Integers that wrap, bools that turn, half precision; in registers, and (where every element reads all) as a step over a body."""
    av = aval((21,), dtype)

    def step(s, x):
        if dtype.kind == "b":
            new, all_ = E.bit_xor(s, x), movement.broadcast_to(reduction.any(s, axes=(0,)), shape=(21,))
            return (E.bit_and(new, all_) if wide else new), E.bit_not(s)
        new = E.add(E.mul(s, leaf.like(s, 3)), x) if dtype.kind != "f" else E.tanh(E.add(s, x))
        most = movement.broadcast_to(reduction.max(s, axes=(0,)), shape=(21,))
        return (E.minimum(new, most) if wide else new), E.maximum(s, x)

    rng = np.random.default_rng(5)
    arrays = [(rng.integers(0, 2 if dtype.kind == "b" else 100, size=s) / (1 if dtype.kind != "f" else 100)).astype(dtype) for s in ((21,), (9, 21))]
    t = control.scan(*sources(*arrays), body=body([av, av], step), consts=0, carries=1, length=9, reverse=False)
    check(control.picked(t), arrays, 4e-3 if dtype.kind == "f" else 0, [Repeat] if wide else [Call])


def test_products_of_a_step_are_kept_for_its_reverse():
    """h' = tanh(h W + x): the way back has the two products of the derivative, and does not make the first one again."""
    from lazygrad.ad import vjp
    from lazygrad.ir.program import Gemm
    h, w = aval((8, 32), F8), aval((32, 32), F8)
    arrays = [normal(32, 32) / 8, normal(8, 32), normal(5, 8, 32)]
    terms = [leaf.leaf(j, 0, aval(a.shape, a.dtype), True) for j, a in enumerate(arrays)]
    t = control.scan(*terms, body=body([w, h, h], lambda w, h, x: [E.tanh(E.add(contraction.matmul(h, w), x))]), consts=1, carries=1, length=5,
                     reverse=False)
    loss = reduction.sum(control.picked(t)[0], axes=(0, 1))
    roots = [loss, *vjp([loss], [leaf.like(loss, 1)], terms)]
    program = check(roots, arrays, 1e-11, terms=terms)
    forth, back = [[s for s in step.body.steps if isinstance(s, Gemm)] for step in program.steps if isinstance(step, Repeat)]
    assert (len(forth), len(back)) == (1, 2)
