"""Control flow as Terms: values by the interpreter against Python loops, derivatives against differences, forward against reverse."""

from __future__ import annotations

import numpy as np
import pytest

from lazygrad import reference
from lazygrad.ad import control as rules
from lazygrad.ad import jvp, vjp
from lazygrad.errors import ShapeError
from lazygrad.ir.aval import aval
from lazygrad.ir.term import Term
from lazygrad.prims import control as C
from lazygrad.prims import elementwise as E
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import closed, leaf, like, parameter

F64, I32, BOOL = (np.dtype(n) for n in ("float64", "int32", "bool"))
RNG = np.random.default_rng(0)


def source(k: int, shape: tuple[int, ...], dtype: np.dtype = F64) -> Term:
    return leaf(k, 0, aval(shape, dtype), True)


def total(t: Term) -> Term:
    return R.sum(t, axes=tuple(range(t.aval.ndim)))


def check(z: Term, values: dict[Term, np.ndarray], order: int = 2) -> None:
    """Reverse against central differences and against forward mode; then the same of the gradient's square, `order` times in all."""
    h = 1e-6
    sources = list(values)

    def at(env: dict[Term, np.ndarray]) -> float:
        return float(reference.evaluate([z], env)[0])

    found = vjp([z], [like(z, 1)], sources)
    for s, g in zip(sources, found, strict=True):
        d = RNG.normal(size=s.aval.shape)
        up, down = ({**values, s: values[s] + k * h * d} for k in (1, -1))
        slope = (at(up) - at(down)) / (2 * h)
        reverse = 0.0 if g is None else float((reference.evaluate([g], values)[0] * d).sum())
        t = source(50 + s.params[0], s.aval.shape)
        moved = jvp([z], {s: t})[0]
        forward = 0.0 if moved is None else float(reference.evaluate([moved], {**values, t: d})[0])
        scale = max(1.0, abs(slope))
        assert abs(reverse - slope) < 1e-6 * scale and abs(forward - reverse) < 1e-9 * scale, (s, slope, reverse, forward)
    if order > 1:
        parts = [total(E.mul(g, g)) for g in found if g is not None]
        whole = parts[0]
        for p in parts[1:]:
            whole = E.add(whole, p)
        check(whole, values, order - 1)


def a_scan(reverse: bool, length: int) -> tuple[Term, dict[Term, np.ndarray], np.ndarray]:
    """c' = sin(c w) + x, y = c c; the sum of the last c and of all y, and what a Python loop gives."""
    w, c, xs = source(0, (3,)), source(1, (3,)), source(2, (length, 3))
    p = [parameter(k, aval((3,), F64)) for k in range(3)]
    body = closed(p, [E.add(E.sin(E.mul(p[1], p[0])), p[2]), E.mul(p[1], p[1])])
    last, ys = C.picked(C.scan(w, c, xs, body=body, consts=1, carries=1, length=length, reverse=reverse))
    values = {w: RNG.normal(size=3), c: RNG.normal(size=3), xs: RNG.normal(size=(length, 3))}
    wanted, carry = 0.0, values[c]
    for i in range(length)[::-1] if reverse else range(length):
        wanted += (carry * carry).sum()
        carry = np.sin(carry * values[w]) + values[xs][i]
    return E.add(total(last), total(ys)), values, wanted + carry.sum()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_scan(length, reverse):
    z, values, wanted = a_scan(reverse, length)
    np.testing.assert_allclose(reference.evaluate([z], values)[0], wanted, rtol=1e-13)
    check(z, values)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [4, 5, 7, 16])
def test_scan_in_segments(monkeypatch, length, reverse):
    monkeypatch.setattr(rules, "MOST", 0)
    z, values, _ = a_scan(reverse, length)
    check(z, values)


def test_scan_with_integer_carry_and_nothing_else():
    n, x = source(0, (), I32), source(1, ())
    pn, px = parameter(0, aval((), I32)), parameter(1, aval((), F64))
    body = closed([pn, px], [E.add(pn, like(pn, 1)), E.mul(px, E.sin(px))])
    count, last = C.picked(C.scan(n, x, body=body, consts=0, carries=2, length=3, reverse=False))
    env = {n: np.int32(4), x: np.float64(0.9)}
    assert reference.evaluate([count], env)[0] == 7
    (g,) = vjp([last], [like(last, 1)], [x])
    h, up, down = 1e-6, 0.9 + 1e-6, 0.9 - 1e-6
    slope = (reference.evaluate([last], {n: env[n], x: np.float64(up)})[0] - reference.evaluate([last], {n: env[n], x: np.float64(down)})[0]) / (2 * h)
    assert abs(reference.evaluate([g], env)[0] - slope) < 1e-8


@pytest.mark.parametrize("index", [-1, 0, 1, 5, False, True])
def test_cond_runs_the_nearest_branch_and_differentiates_it_alone(index):
    k, x, y = source(0, (), np.asarray(index).dtype), source(1, ()), source(2, ())
    p = [parameter(j, aval((), F64)) for j in range(2)]
    root = closed(p, [E.sqrt(p[0]), E.mul(p[0], p[1])])                  # NaN for the negative x of the other branch
    other = closed(p, [E.mul(p[0], E.exp(p[1])), like(p[0], 2)])
    a, b = C.picked(C.cond(k, x, y, branches=(other, root)))
    z = E.add(E.mul(a, a), b)
    first = int(index) <= 0
    values = {x: np.float64(-0.5 if first else 0.5), y: np.float64(0.3)}
    env = {**values, k: np.asarray(index)}
    v, w = values[x], values[y]
    wanted = (v * np.exp(w)) ** 2 + 2 if first else v + v * w
    assert np.isclose(reference.evaluate([z], env)[0], wanted)
    dx, dy = vjp([z], [like(z, 1)], [x, y])
    want = (2 * v * np.exp(2 * w), 2 * v * v * np.exp(2 * w)) if first else (1 + w, v)
    np.testing.assert_allclose([reference.evaluate([g], env)[0] for g in (dx, dy)], want, rtol=1e-12)
    t = source(9, ())
    moved = jvp([z], {y: t})[0]
    np.testing.assert_allclose(reference.evaluate([moved], {**env, t: np.float64(1)})[0], want[1], rtol=1e-12)


def test_equal_bodies_are_equal():
    one, two = (a_scan(False, 5)[0] for _ in range(2))
    assert one is two


def test_wrong_bodies_are_refused():
    x, p = source(0, (3,)), parameter(0, aval((2,), F64))
    with pytest.raises(ShapeError, match="the body takes"):
        C.scan(x, body=closed([p], [p]), consts=0, carries=1, length=2, reverse=False)
    q = parameter(0, aval((3,), F64))
    with pytest.raises(ShapeError, match="the body makes them"):
        C.scan(x, body=closed([q], [total(q)]), consts=0, carries=1, length=2, reverse=False)
    with pytest.raises(ShapeError, match="one bool"):
        C.while_loop(x, test=closed([q], [q]), body=closed([q], [q]), consts=0)
