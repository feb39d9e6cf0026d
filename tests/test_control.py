"""Loops and branches as users write them: values and derivatives against Python loops and differences, nestings, memory, errors."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
from gpu import device
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import errors
from lazygrad.ad import loops
from lazygrad.ir.term import TERMS
from lazygrad.runtime import plans, slots
from lazygrad.transforms import derivatives

RNG = np.random.default_rng(0)


def difference(f, x: np.ndarray, t: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """The derivative of a NumPy function along t."""
    return (np.asarray(f(x + h * t)) - np.asarray(f(x - h * t))) / (2 * h)


def check(f, g, x: np.ndarray, second: bool = True, rtol: float = 1e-6) -> None:
    """f (lazygrad) equals g (NumPy, to one number) in value, gradient, tangent, and second derivatives in every pair of modes; native runs too."""
    t = RNG.normal(size=x.shape)
    z = f(lg.asarray(x))
    want = g(x)
    for _ in range(4):                                           # interpreted first, then compiled
        np.testing.assert_allclose(z.forward().value, want, rtol=1e-12, atol=1e-12)
    slope = difference(g, x, t)
    gradient = lg.grad(f)(x)
    for _ in range(4):
        np.testing.assert_allclose((gradient.forward().value * t).sum(), slope, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(lg.jvp(f, (x,), (t,))[1].value, (gradient.value * t).sum(), rtol=1e-10, atol=1e-10)
    if second:
        along = lambda y: (lg.grad(f)(lg.asarray(y)).value * t).sum()
        want = difference(along, x, t)
        for outer, inner in itertools.product((lg.jacrev, lg.jacfwd), repeat=2):
            np.testing.assert_allclose(t @ outer(inner(f))(x).value @ t, want, rtol=1e-5, atol=1e-5)


# ---- scan ------------------------------------------------------------------------------------------------------------------------

def test_scan_over_containers():
    xs = {"a": np.arange(3.0), "b": (np.ones((3, 2)),)}
    carry, ys = lg.scan(lambda c, x: ({"s": c["s"] + x["a"], "n": c["n"] + 1}, (x["b"][0] * c["s"], c["n"])), {"s": 0.0, "n": 0}, xs)
    assert carry["s"].item() == 3 and carry["n"].item() == 3
    assert ys[0].tolist() == [[0, 0], [0, 0], [1, 1]] and ys[1].tolist() == [0, 1, 2]
    carry, ys = lg.scan(lambda c, x: (c + x["a"], c), 0.0, xs, reverse=True)
    assert carry.item() == 3 and ys.tolist() == [3, 2, 0]
    carry, ys = lg.scan(lambda c, _: (c * 2, None), 1.0, length=5)
    assert carry.item() == 32 and ys is None


def test_scan_of_nothing():
    carry, ys = lg.scan(lambda c, x: (c + x, c), 2.5, np.zeros(0, np.float32))
    assert carry.item() == 2.5 and ys.shape == (0,)
    assert lg.grad(lambda c: lg.scan(lambda c, x: (c * x, c), c, np.zeros(0, np.float32))[0])(3.0).item() == 1


def test_python_numbers_in_the_carry_take_the_dtype_of_a_step():
    carry, _ = lg.scan(lambda c, x: (c + x, None), 0.0, np.arange(3.0))
    assert carry.dtype == np.float64 and carry.item() == 3
    assert lg.while_loop(lambda c: c < 5, lambda c: c + np.float64(1.5), 0).dtype == np.float64
    assert lg.fori_loop(0, 3, lambda i, c: c * 2, 1).dtype == np.int64


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_scan(reverse):
    xs = RNG.normal(size=(5, 3))

    def f(w):
        c, ys = lg.scan(lambda c, x: (lg.tanh(c * w + x), c * x), lg.asarray(np.ones(3)), xs, reverse=reverse)
        return (c * c).sum() + ys.sum()

    def g(w):
        c, total = np.ones(3), 0.0
        for x in xs[::-1] if reverse else xs:
            total += (c * x).sum()
            c = np.tanh(c * w + x)
        return (c * c).sum() + total
    check(f, g, RNG.normal(size=3))


def test_recurrent_network():
    xs, h = RNG.normal(size=(6, 4)), 3
    split = lambda p: (p[:12].reshape((4, 3)), p[12:21].reshape((3, 3)), p[21:])

    def f(p):
        w, u, b = split(p)
        return (lg.scan(lambda s, x: (lg.tanh(x @ w + s @ u + b), s), np.zeros(h), xs)[0] ** 2).sum()

    def g(p):
        w, u, b = split(p)
        s = np.zeros(h)
        for x in xs:
            s = np.tanh(x @ w + s @ u + b)
        return (s ** 2).sum()
    check(f, g, RNG.normal(size=24) / 2)


def test_what_does_not_change_is_computed_before_the_loop():
    x = lg.asarray(np.arange(4.0))
    big = lg.exp(x).sum()
    out, _ = lg.scan(lambda c, _: (c + big, None), 0.0, length=3)
    text = lg.tensor(0.0).graph.explain(out)
    np.testing.assert_allclose(out.value, 3 * np.exp(np.arange(4.0)).sum())
    body = text[text.index("scan"):]
    assert text.index("exp(") < text.index("scan(") or "exp" not in body.split("\n")[0]


def test_map_is_vmap_entry_by_entry():
    x = RNG.normal(size=(4, 3))
    f = lambda v: {"s": lg.sin(v).sum(), "v": v * 2}
    a, b = lg.map(f, x), lg.vmap(f)(x)
    np.testing.assert_allclose(a["s"].value, b["s"].value, rtol=1e-14)
    np.testing.assert_allclose(a["v"].value, b["v"].value)


# ---- while -----------------------------------------------------------------------------------------------------------------------

def newton(a, steps: bool = False):
    """The square root of a by Newton's iteration to a tolerance: the number of steps depends on a."""
    return lg.while_loop(lambda s: lg.abs(s[0] * s[0] - a) > 1e-12 * a, lambda s: ((s[0] + a / s[0]) / 2, s[1] + 1), (a, 0))[1 if steps else 0]


def test_newton_iteration_differentiates_through_its_steps():
    for a in (2.0, 1e6):
        assert abs(newton(np.float64(a)).item() - np.sqrt(a)) < 1e-12 * a
        assert abs(lg.grad(newton)(np.float64(a)).item() - 0.5 / np.sqrt(a)) < 1e-9
        assert abs(lg.jvp(newton, (np.float64(a),), (np.float64(1),))[1].item() - 0.5 / np.sqrt(a)) < 1e-9
    assert newton(np.float64(1e6), True).item() > newton(np.float64(2.0), True).item()
    roots = lg.vmap(newton)(np.array([2.0, 9.0, 1e4]))
    np.testing.assert_allclose(roots.value, [np.sqrt(2), 3, 100], rtol=1e-12)
    np.testing.assert_allclose(lg.vmap(lg.grad(newton))(np.array([2.0, 9.0, 1e4])).value, 0.5 / np.sqrt([2, 9, 1e4]), rtol=1e-8)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 63, 64, 65, 200])
@pytest.mark.parametrize("kept", [8, 1024])
def test_reverse_of_while_at_every_level(monkeypatch, count, kept):
    """x = sin(x w) + 0.1 n times: with 8 slots, up to 8 steps, 64 steps and more take three different ways."""
    monkeypatch.setattr(loops, "SLOTS", kept)
    monkeypatch.setattr(derivatives, "DERIVED", {})

    def f(p):
        return lg.while_loop(lambda s: s[0] < count, lambda s: (s[0] + 1, lg.sin(s[1] * p[0]) + 0.1), (0, p[1]))[1]

    def g(p):
        x = p[1]
        for _ in range(count):
            x = np.sin(x * p[0]) + 0.1
        return x
    check(f, g, np.array([0.9, 0.4]), second=count in (0, 2, 9) and kept == 8)


def test_loop_carried_values_through_a_count_that_depends_on_data():
    """Each step reads what the step before wrote, and the number of steps depends on the values."""
    def f(x):
        return lg.while_loop(lambda s: s[1].sum() < 10, lambda s: (s[1], s[0] * s[1] + s[0]), (x, lg.ones_like(x)))[1].prod()

    def g(x):
        a, b = x, np.ones_like(x)
        while b.sum() < 10:
            a, b = b, a * b + a
        return b.prod()
    check(f, g, np.array([1.3, 0.8]))


def test_long_loops_differentiate_in_bounded_memory():
    n, x = 100_000, np.full(64, 0.4)
    w = np.full(64, 0.9)
    f = lambda w: lg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, lg.sin(s[1] * w) + 0.1), (0, x))[1].sum()
    g = lambda w: lg.scan(lambda c, _: (lg.sin(c * w) + 0.1, None), x, None, n)[0].sum()
    a, b = lg.grad(f)(w), lg.grad(g)(w)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-9)
    from lazygrad.runtime import tiers
    for z in (a, b):
        (root,) = [z.term]
        exe = tiers.build([root], plans.canonical([root])[1], (None,))
        assert exe.program.arena < 2 * loops.ROOM + (1 << 20)            # all carries would be 51 MB
    h = 1e-6
    e = np.zeros(64)
    e[0] = h

    def plain(w):
        c = x
        for _ in range(n):
            c = np.sin(c * w) + 0.1
        return c.sum()
    assert abs((plain(w + e) - plain(w - e)) / (2 * h) - a.value[0]) < 1e-5


def test_integer_and_bool_carries():
    out = lg.while_loop(lambda s: s["go"], lambda s: {"go": s["n"] < 4, "n": s["n"] + 1, "x": s["x"] * 2}, {"go": lg.asarray(True), "n": 0, "x": 1.0})
    assert (out["n"].item(), out["x"].item(), out["go"].item()) == (5, 32, False)          # n is 0, 1, 2, 3, 4 at the test
    f = lambda x: lg.while_loop(lambda s: s["n"] < 3, lambda s: {"n": s["n"] + 1, "x": s["x"] * x}, {"n": 0, "x": x})["x"]
    assert lg.grad(f)(2.0).item() == 4 * 8


def test_fori_loop():
    assert lg.fori_loop(2, 5, lambda i, c: c * 10 + i, 0).item() == 234
    assert lg.fori_loop(5, 2, lambda i, c: c * 10 + i, 7).item() == 7
    assert lg.fori_loop(lg.asarray(2), lg.asarray(5), lambda i, c: c * 10 + i, 0).item() == 234
    assert lg.grad(lambda x: lg.fori_loop(0, 4, lambda i, c: c * x, 1.0))(2.0).item() == 4 * 8
    assert lg.grad(lambda x: lg.fori_loop(lg.asarray(0), lg.asarray(4), lambda i, c: c * x, 1.0))(2.0).item() == 4 * 8


# ---- branches --------------------------------------------------------------------------------------------------------------------

def test_only_the_branch_taken_shows():
    f = lambda x: lg.cond(x > 0, lambda x: lg.sqrt(x), lambda x: x * 3, x)
    assert f(lg.asarray(4.0)).item() == 2 and f(lg.asarray(-4.0)).item() == -12
    assert lg.grad(f)(4.0).item() == 0.25 and lg.grad(f)(-4.0).item() == 3 and lg.grad(f)(0.0).item() == 3
    assert lg.grad(lg.grad(f))(-4.0).item() == 0
    assert lg.vmap(lg.grad(f))(np.array([4.0, 0.0, -1.0])).tolist() == [0.25, 3, 3]
    assert lg.jvp(f, (0.0,), (1.0,))[1].item() == 3


def test_branches_take_containers_and_captured_tensors():
    w = lg.tensor(3.0)
    out = lg.cond(lg.asarray(True), lambda d: {"r": d["x"] * w}, lambda d: {"r": 0.0}, {"x": 2.0})
    assert out["r"].item() == 6
    out["r"].backward()
    assert w.grad.item() == 2
    assert lg.cond(True, lambda: 1, lambda: 2) == 1                      # known: a plain choice
    assert [lg.switch(lg.asarray(k), [lambda: 1.0, lambda: 2.0, lambda: 3.0]).item() for k in (-1, 0, 1, 2, 9)] == [1, 1, 2, 3, 3]
    assert lg.vmap(lambda k, x: lg.switch(k, [lambda x: x, lambda x: x * x], x))(np.array([0, 1]), np.array([3.0, 3.0])).tolist() == [3, 9]


# ---- nestings ----------------------------------------------------------------------------------------------------------------------

def test_loops_in_loops_in_derivatives():
    def f(x):
        def outer(c, k):
            inner = lg.while_loop(lambda s: s[0] < k, lambda s: (s[0] + 1, s[1] * c[0] + x[1]), (0, c[1]))[1]
            return lg.stack([lg.cond(inner > 0, lg.sin, lg.cos, inner), inner * 0.5]), inner
        c, ys = lg.scan(outer, x, np.arange(4))
        return c.sum() + (ys * ys).sum()

    def g(x):
        c, total = np.array(x), 0.0
        for k in range(4):
            inner = c[1]
            for _ in range(k):
                inner = inner * c[0] + x[1]
            c = np.array([np.sin(inner) if inner > 0 else np.cos(inner), inner * 0.5])
            total += inner ** 2
        return c.sum() + total
    check(f, g, np.array([0.7, 0.3]))


@pytest.mark.parametrize("order", ["vmap(grad)", "grad(vmap)", "vmap(hessian)", "scan(grad)", "grad(scan(vmap))"])
def test_orders(order):
    xs = np.array([[0.5, 0.2], [1.1, -0.3], [0.9, 0.8]])
    one = lambda x: lg.scan(lambda c, _: (lg.sin(c * x[0]) + x[1], None), x[1], None, 3)[0]

    def plain(x):
        c = x[1]
        for _ in range(3):
            c = np.sin(c * x[0]) + x[1]
        return c
    grad = lambda x: np.array([difference(plain, x, e) for e in np.eye(2)])
    if order == "vmap(grad)":
        got, want = lg.vmap(lg.grad(one))(xs).value, np.stack([grad(x) for x in xs])
    elif order == "grad(vmap)":
        got, want = lg.grad(lambda xs: lg.vmap(one)(xs).sum())(xs).value, np.stack([grad(x) for x in xs])
    elif order == "vmap(hessian)":
        got = lg.vmap(lg.hessian(one))(xs).value
        want = np.stack([np.stack([difference(lambda y: lg.grad(one)(lg.asarray(y)).value, x, e) for e in np.eye(2)]) for x in xs])
    elif order == "scan(grad)":
        got = lg.scan(lambda c, x: (c, lg.grad(one)(x)), 0, xs)[1].value
        want = np.stack([grad(x) for x in xs])
    else:
        got = lg.grad(lambda x: lg.scan(lambda c, v: (c + lg.vmap(lambda a: a * x.sum())(v).sum(), None), 0.0, xs)[0])(xs[0]).value
        want = np.full(2, xs.sum())
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_on_a_gpu():
    d = device()
    graph = lg.Graph(device=d)
    x = graph.tensor(np.array([0.3, 0.7], np.float32))
    f = lambda x: lg.scan(lambda c, _: (lg.sin(c * x) + 0.1, c), x, None, 5)[0].sum()
    g = lambda x: lg.while_loop(lambda s: s.sum() < 20, lambda s: s * 2 + x, x).sum()
    h = lambda x: lg.cond(x.sum() > 0, lambda x: x * x, lambda x: -x, x).sum()
    here = lg.asarray(x.value)
    for one in (f, g, h, lg.grad(f), lg.grad(g), lg.grad(h), lg.vmap(lambda v: lg.while_loop(lambda s: s < 10, lambda s: s * 3, v))):
        np.testing.assert_allclose(one(x).value, one(here).value, rtol=1e-5)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["scan", "while", "cond", "fori", "map"]), min_size=1, max_size=3), st.integers(0, 999))
def test_random_programs(kinds, seed):
    rng = np.random.default_rng(seed)
    consts = [rng.normal(size=2) for _ in kinds]
    steps = [int(rng.integers(0, 4)) for _ in kinds]

    def run(x, np_, loop):
        for kind, k, n in zip(kinds, consts, steps, strict=True):
            x = loop(kind, x, k, n, np_)
        return (x * x).sum()

    def ours(kind, x, k, n, np_):
        if kind == "scan":
            c, ys = lg.scan(lambda c, v: (np_.tanh(c * v + x), c * k), x, np.full((n, 2), 0.5))
            return c + ys.sum(0)
        if kind == "while":
            return lg.while_loop(lambda s: (s[1] < n), lambda s: (np_.sin(s[0]) + x * k, s[1] + 1), (x, 0))[0]
        if kind == "cond":
            return lg.cond(x[0] > 0, lambda x: x * k, lambda x: np_.exp(-x * x), x)
        if kind == "fori":
            return lg.fori_loop(0, n, lambda i, c: c * k + i, x)
        return lg.map(lambda v: np_.tanh(v * x.sum()), x)

    def plain(kind, x, k, n, np_):
        if kind == "scan":
            c, total = x, 0.0
            for _ in range(n):
                total = total + c * k
                c = np_.tanh(c * 0.5 + x)
            return c + total
        if kind == "while":
            c = x
            for _ in range(n):
                c = np_.sin(c) + x * k
            return c
        if kind == "cond":
            return x * k if x[0] > 0 else np_.exp(-x * x)
        if kind == "fori":
            c = x
            for i in range(n):
                c = c * k + i
            return c
        return np_.tanh(x * x.sum())
    check(lambda x: run(x, lg, ours), lambda x: run(x, np, plain), rng.normal(size=2), rtol=1e-5)


# ---- cost and memory ----------------------------------------------------------------------------------------------------------------

def test_a_rebuilt_loop_finds_its_plan_and_leaves_nothing():
    w = lg.tensor(np.ones(3))

    def step(k):
        x = lg.asarray(np.full(3, 0.1 * k))
        return lg.grad(lambda x: lg.scan(lambda c, _: (lg.sin(c * w), None), x, None, 4)[0].sum())(x).value
    gc.disable()
    try:
        for k in range(8):
            step(k)
        before = len(TERMS), slots.live(), len(plans.PLANS)
        for k in range(100):
            step(k)
        assert (len(TERMS), slots.live(), len(plans.PLANS)) == before
    finally:
        gc.enable()


# ---- errors -------------------------------------------------------------------------------------------------------------------------

CASES = [
    (lambda: lg.scan(lambda c, x: (c[:1], x), np.ones(2), np.ones(3)), errors.ShapeError, "scan: carry float64[2]: it is float64[1] after a step; a loop's carry keeps its shape"),
    (lambda: lg.scan(lambda c, x: ({"a": c["a"][:1]}, x), {"a": np.ones(2)}, np.ones(3)), errors.ShapeError, "scan: carry['a'] float64[2]"),
    (lambda: lg.scan(lambda c, x: (c + x, x), np.float32(0), np.ones(3)), errors.DTypeError, "scan: carry float32[]: it is float64[] after a step; start with float64"),
    (lambda: lg.scan(lambda c, x: ((c, c), x), 0.0, np.ones(3)), errors.StructureError, "scan: carry *: it is (*, *) after a step"),
    (lambda: lg.scan(lambda c, x: c, 0.0, np.ones(3)), errors.StructureError, "a step returns a pair; return (carry, y); y may be None"),
    (lambda: lg.scan(lambda c, x: (c, x), 0.0, (np.ones(3), np.ones(4))), errors.ShapeError, "scan: xs[0] float64[3] and xs[1] float64[4]: their first axes differ in length"),
    (lambda: lg.scan(lambda c, x: (c, x), 0.0, np.ones(3), 4), errors.ShapeError, "scan: length 4 and xs float64[3]"),
    (lambda: lg.scan(lambda c, x: (c, x), 0.0, 1.0), errors.ShapeError, "it has no axis to go along"),
    (lambda: lg.scan(lambda c, x: (c, x), 0.0), errors.StructureError, "scan: no xs and no length"),
    (lambda: lg.scan(lambda c, x: (c, x), 0.0, length=-1), errors.ShapeError, "a loop has 0 or more steps"),
    (lambda: lg.scan(lambda c, x: (c, "a"), 0.0, np.ones(3)), errors.StructureError, "loops and branches carry arrays and numbers"),
    (lambda: lg.scan(lambda c, x: (c if c > 0 else x, x), np.float64(0), np.ones(3)), errors.TraceError, "scan: bool[]: its value is not known while scan traces"),
    (lambda: lg.while_loop(lambda c: c, lambda c: c, 1.0), errors.DTypeError, "while_loop: a condition float32[]: one bool is expected"),
    (lambda: lg.while_loop(lambda c: c > 0, lambda c: c, np.ones(2)), errors.DTypeError, "while_loop: a condition bool[2]: one bool is expected"),
    (lambda: lg.while_loop(lambda c: (c > 0, c > 1), lambda c: c, 1.0), errors.DTypeError, "several conditions"),
    (lambda: lg.while_loop(lambda c: c.sum() < 9, lambda c: lg.concat([c, c]), np.ones(2)), errors.ShapeError, "while_loop: carry float64[2]: it is float64[4] after a step"),
    (lambda: lg.cond(lg.asarray(1.0), lambda: 1, lambda: 2), errors.DTypeError, "cond: a predicate float32[]: one bool is expected"),
    (lambda: lg.cond(lg.asarray([True, False]), lambda: 1, lambda: 2), errors.DTypeError, "cond: a predicate bool[2]"),
    (lambda: lg.cond(lg.asarray(True), lambda: 1.0, lambda: (1.0,)), errors.StructureError, "branches 0 and 1 return different containers"),
    (lambda: lg.cond(lg.asarray(True), lambda: np.ones(2), lambda: np.ones(3)), errors.ShapeError, "cond: result float64[3] and float64[2]: branch 1 gives another type"),
    (lambda: lg.switch(lg.asarray(1.0), [lambda: 1]), errors.DTypeError, "switch: an index float32[]: one integer is expected"),
    (lambda: lg.switch(lg.asarray(1), []), errors.StructureError, "switch: no branches"),
    (lambda: lg.fori_loop(lg.asarray(0.5), 3, lambda i, c: c, 0), errors.DTypeError, "fori_loop: a bound float32[]: an integer is expected"),
]


@pytest.mark.parametrize(("call", "kind", "text"), CASES, ids=range(len(CASES)))
def test_errors_name_what_came_and_the_line(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert any("test_control.py" in note for note in getattr(caught.value, "__notes__", ()))


def test_data_inside_of_a_loop_lies_where_the_loop_runs():
    d = device()
    graph = lg.Graph(device=d)
    x = graph.tensor(np.ones(3, np.float32))
    a = np.arange(3, dtype=np.float32)
    out, _ = lg.scan(lambda c, _: (c * a + a, None), x, None, 2)
    assert out.device == d and out.tolist() == [0, 3, 10]               # ((1 a + a) a + a)
    assert lg.while_loop(lambda c: c.sum() < 20, lambda c: c + a, x).device == d
    assert lg.cond(x.sum() > 0, lambda v: v * a, lambda v: v, x).tolist() == [0, 1, 2]
    assert lg.compile(lambda v: v + a)(x).tolist() == [1, 2, 3]
