"""Random loops: bodies of random operations over consts, carries and slices of several shapes, natively against NumPy; derivatives too."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from test_loops_terms import CAPS, F8, body, native, normal

from lazygrad import compiler, reference
from lazygrad.ad import vjp
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Branch, Call, Repeat, every
from lazygrad.ir.term import toposort
from lazygrad.prims import contraction, control, leaf, movement, reduction
from lazygrad.prims import elementwise as E

SHAPES = ((), (6,), (4, 6), (2, 6), (19,), (6, 3))
ONE = (E.sin, E.tanh, E.neg, lambda x: E.mul(x, leaf.like(x, 0.5)), E.abs)
TWO = (E.add, E.sub, lambda x, y: E.mul(E.tanh(x), y), E.maximum, lambda x, y: E.where(E.lt(x, y), y, E.mul(x, leaf.like(x, 0.7))))


def fitted(rng, t, shape):
    """A value of `shape` made of `t`: repeated, summed, cut, permuted, or multiplied by something of its own."""
    if t.aval.shape == shape:
        if t.aval.ndim == 2 and rng.random() < 0.15:
            return contraction.matmul(t, E.tanh(contraction.matmul(movement.permute(t, axes=(1, 0)), t))) if rng.random() < 0.5 else t
        if shape and rng.random() < 0.2:
            return movement.concatenate(movement.cut(t, 0, 1, shape[0] - 1), movement.cut(t, 0, 0, 1), axis=0)
        return t
    if t.aval.ndim <= len(shape) and shape[len(shape) - t.aval.ndim:] == t.aval.shape:
        return movement.broadcast_to(t, shape=shape)
    t = reduction.sum(E.tanh(t), axes=tuple(range(t.aval.ndim)))
    return movement.broadcast_to(E.mul(t, leaf.like(t, 0.1)), shape=shape)


def expression(rng, pool, shape, size):
    for _ in range(size):
        x = pool[rng.integers(len(pool))]
        if rng.random() < 0.4:
            made = ONE[rng.integers(len(ONE))](x)
        else:
            made = TWO[rng.integers(len(TWO))](x, fitted(rng, pool[rng.integers(len(pool))], x.aval.shape))
        pool = [*pool, made]
    return E.tanh(fitted(rng, pool[-1], shape))


def random_loop(rng, operands, depth=0):
    """A loop over some of `operands` (Terms), whose body may have loops and branches in it."""
    dtype = operands[0].aval.dtype
    shapes = [SHAPES[rng.integers(len(SHAPES))] for _ in range(rng.integers(1, 4))]
    same = rng.random() < 0.5
    shapes = [shapes[0]] * len(shapes) if same else shapes
    length, reverse = int(rng.integers(2, 6)), bool(rng.random() < 0.5)
    consts = [operands[rng.integers(len(operands))] for _ in range(rng.integers(0, 3))]
    init = [fitted(rng, operands[rng.integers(len(operands))], s) for s in shapes]
    xs = [movement.broadcast_to(fitted(rng, operands[rng.integers(len(operands))], s), shape=(length, *s)) for s in shapes[:rng.integers(0, 3)]]
    ramp = E.cast(leaf.iota(size=length, dtype=np.dtype("int32")), dtype=dtype)
    xs = [E.mul(x, movement.broadcast_to(movement.reshape(ramp, shape=(length, *(1,) * (x.aval.ndim - 1))), shape=x.aval.shape)) for x in xs]
    repeat = rng.random() < 0.75
    xs = xs if repeat else []
    avals = [*[c.aval for c in consts], *[i.aval for i in init], *[aval(x.aval.shape[1:], x.aval.dtype) for x in xs]]

    def step(*args):
        pool = list(args)
        if depth < 1 and rng.random() < 0.4:
            inner, _ = random_loop(rng, pool, depth + 1)
            pool += [t for t in control.picked(inner) if t.aval.dtype == dtype]
        if depth < 1 and rng.random() < 0.3:
            x = pool[rng.integers(len(pool))]
            test = E.lt(reduction.sum(x, axes=tuple(range(x.aval.ndim))), leaf.constant(0.1, (), dtype))
            branches = [body([x.aval], lambda y: [expression(rng, [y], y.aval.shape, 3)]) for _ in range(2)]
            pool += control.picked(control.cond(test, x, branches=tuple(branches)))
        new = [expression(rng, pool, s, int(rng.integers(1, 6))) for s in shapes]
        if rng.random() < 0.3:
            new[0] = E.add(args[len(consts)], fitted(rng, new[-1], shapes[0]))
        rows = [expression(rng, [*pool, *new], SHAPES[rng.integers(len(SHAPES))], 2) for _ in range(rng.integers(0, 3))] if repeat else []
        return [*new, *rows]

    if repeat:
        made = body(avals, step)
        return control.scan(*consts, *init, *xs, body=made, consts=len(consts), carries=len(init), length=length, reverse=reverse), True
    counter = leaf.constant(0.0, (), dtype)

    def counted(*args):
        return [*step(*args[:-1]), E.add(args[-1], leaf.constant(1.0, (), dtype))]

    avals = [*avals, counter.aval]
    going = body(avals, lambda *args: [E.lt(args[-1], leaf.constant(float(length), (), dtype))])
    return control.while_loop(*consts, *init, counter, test=going, body=body(avals, counted), consts=len(consts)), False


def case(seed, dtype):
    """(roots, their sources, arrays of these): the results of a loop, of every second scan with derivatives."""
    rng = np.random.default_rng([7, seed])
    arrays = [normal(*s, seed=k, dtype=dtype) for k, s in enumerate(SHAPES)]
    terms = [leaf.leaf(j, 0, aval(a.shape, a.dtype), True) for j, a in enumerate(arrays)]
    t, scanned = random_loop(rng, terms)
    roots = control.picked(t)[:None if scanned else -1]                # without the number of steps
    if seed % 2:
        loss = E.add(*[reduction.sum(r, axes=tuple(range(r.aval.ndim))) for r in (roots[0], roots[-1])])
        roots = [*roots, *[g for g in vjp([loss], [leaf.like(loss, 1)], terms) if g is not None]]
    used = [s for s in terms if s in set(toposort(roots))]
    return roots, used, [a for s, a in zip(terms, arrays, strict=True) if s in used]


@pytest.mark.parametrize("seed", range(60))
def test_random_loops(seed):
    roots, used, kept = case(seed, F8)
    want = reference.evaluate(roots, dict(zip(used, kept, strict=True)))
    got, fault, _ = native(roots, used, kept)
    assert not fault
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-9)                 # sums in another order, a few steps of sines


def test_random_loops_are_of_all_kinds():
    kinds: set[type] = set()
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        terms = [leaf.leaf(j, 0, aval(s, F8), True) for j, s in enumerate(SHAPES)]
        roots = control.picked(random_loop(rng, terms)[0])
        program = compiler.compile(roots, [s for s in terms if s in set(toposort(roots))], [None] * len(roots), CAPS)
        kinds |= {type(s) for s in every(program)} | {str for k in program.kernels if "State(" in repr(k)}
    assert kinds >= {Call, Repeat, Branch, str}
