"""Functions with rules of their own and recomputation inside of loops and branches, loops inside of them, under every transform.

The judge is the same function written with Python's own loops and branches, differentiated operation by operation.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_transforms_custom import T, X, Y, by_jvp, by_vjp, plain

import lazygrad as lg

STEPS = np.arange(4) * 0.1
ROWS = np.stack([X, Y])


def in_scan(f):
    def g(x, y):
        c, ys = lg.scan(lambda c, t: (f(c, y) * 0.5 + t, f(c, c).sum()), x, STEPS)
        return c.sum() + (ys * ys).sum()
    return g


def in_while(f):
    return lambda x, y: lg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, f(s[1], y) * 0.5), (0, x))[1].sum()


def in_branch(f):
    return lambda x, y: lg.cond(x.sum() > 0.6, lambda x: f(x, y).sum(), lambda x: f(y, x).sum() * 2, x)


def with_loop(x, y):
    total = 0.0
    c = x
    for t in STEPS:
        total = total + plain(c, c).sum() ** 2
        c = plain(c, y) * 0.5 + t
    return c.sum() + total


def with_count(x, y):
    for _ in range(3):
        x = plain(x, y) * 0.5
    return x.sum()


def with_if(x, y):
    return plain(x, y).sum() if x.sum() > 0.6 else plain(y, x).sum() * 2


PLACES = {"scan": (in_scan, with_loop), "while": (in_while, with_count), "cond": (in_branch, with_if)}
FUNCTIONS = {"rule for vjp": by_vjp, "rule for jvp": by_jvp, "checkpoint": lambda: lg.checkpoint(plain), "checkpoint dots": lambda: lg.checkpoint(plain, "dots"),
             "plain": lambda: plain}


def rows(h, transform):
    found = [transform(h)(x, Y) for x in ROWS]
    return [np.stack([np.asarray(a) for a in parts]) for parts in zip(*found, strict=True)]


both = lambda h: lg.grad(h, (0, 1))
TRANSFORMS = {
    "grad": (lambda h: both(h)(X, Y), None),
    "jvp": (lambda h: lg.jvp(h, (X, Y), (T, X)), None),
    "jacfwd": (lambda h: lg.jacfwd(h, (0, 1))(X, Y), None),
    "hessian": (lambda h: lg.hessian(lambda x: h(x, Y))(X), None),
    "vmap grad": (lambda h: lg.vmap(both(h), (0, None))(ROWS, Y), lambda h: rows(h, both)),
    "grad vmap": (lambda h: lg.grad(lambda x: lg.vmap(h, (0, None))(x, Y).sum())(ROWS), lambda h: rows(h, lambda h: lg.grad(h, (0,)))),
    "compile grad": (lambda h: lg.compile(both(h))(X, Y), lambda h: both(h)(X, Y)),
    "compile hessian": (lambda h: lg.compile(lg.hessian(h))(X, Y), lambda h: lg.hessian(h)(X, Y)),
    "grad checkpoint": (lambda h: both(lg.checkpoint(h))(X, Y), lambda h: both(h)(X, Y)),
    "hessian checkpoint": (lambda h: lg.hessian(lg.checkpoint(h))(X, Y), lambda h: lg.hessian(h)(X, Y)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_rules_and_control_flow_in_each_other(function, place, transform):
    inside, python = PLACES[place]
    run, judge = TRANSFORMS[transform]
    got, want = lg.tree.leaves(run(inside(FUNCTIONS[function]()))), lg.tree.leaves((judge or run)(python))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=1e-11, atol=1e-12)      # float64, sums in another order


def chosen_by_loop(f):
    return lambda x: lg.scan(lambda c, t: (f(c) * t, f(c)), x, np.array([1.0, 3.0]))[0]


def chosen_by_rows(f):
    return lambda x: lg.scan(lambda c, t: (c, f(c + 0 * t)), x, np.array([1.0, 3.0]))[1].sum(0)


INSIDE = {
    "checkpoint": lambda f: lg.checkpoint(f), "checkpoint of a checkpoint": lambda f: lg.checkpoint(lambda x: lg.checkpoint(f)(x) * 2),
    "cond": lambda f: lambda x: lg.cond(x.sum() > 1, f, lambda x: x, x), "scan": chosen_by_loop, "rows of a scan": chosen_by_rows,
    "while": lambda f: lambda x: lg.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, f(s[1]) * 3), (0, x))[1],
    "checkpoint in a scan": lambda f: chosen_by_loop(lg.checkpoint(f)), "scan in a checkpoint": lambda f: lg.checkpoint(chosen_by_loop(f)),
}


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("negated", [False, True])
def test_what_was_not_chosen_is_silent_through_loops_branches_and_calls(inside, negated):
    """The derivative of the branch not taken is infinite at 0: 0 * inf must not come out."""
    f = INSIDE[inside](lg.sqrt)
    g = (lambda x: lg.where(x > 0, -f(x), 0 * x)) if negated else (lambda x: lg.where(x > 0, f(x), 0 * x))
    x = np.array([0.0, 4.0])
    total = lambda x: g(x).sum()
    away = np.array([1.0, 4.0])                           # where nothing is infinite: what belongs to the second element
    second = [] if "scan" in inside or inside == "while" else [lg.hessian(total), lg.jacrev(lg.jacrev(total))]      # masks are not handed out of loops
    for transform in (lg.grad(total), lambda x: lg.jvp(g, (x,), (np.ones(2),))[1], *second):
        got, there = np.asarray(transform(x)), np.asarray(transform(away))
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got[1], there[1], rtol=1e-12)
        assert (got[0] == 0).all()
