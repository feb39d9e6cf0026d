"""Transforms of functions: gradients, products, Jacobians, batches, in every nesting, on containers, on both devices; and their errors."""

from __future__ import annotations

import dataclasses
import gc
import itertools
from typing import NamedTuple

import numpy as np
import pytest
from gpu import device
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import errors, tree
from lazygrad.ir.term import TERMS
from lazygrad.runtime import plans, slots

RNG = np.random.default_rng(0)


def a64(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def numeric(f, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """The Jacobian of f(x) by central differences: (*f(x).shape, *x.shape)."""
    base = np.asarray(f(x))
    out = np.zeros((*base.shape, x.size))
    for k in range(x.size):
        d = np.zeros(x.size)
        d[k] = h
        d = d.reshape(x.shape)
        out[..., k] = (np.asarray(f(x + d)) - np.asarray(f(x - d))) / (2 * h)
    return out.reshape(*base.shape, *x.shape)


def value(f):
    return lambda *args: f(*[lg.asarray(a) for a in args]).value


# ---- gradients -----------------------------------------------------------------------------------------------------------------

def loss(p, x):
    return (lg.tanh(x @ p["w"] + p["b"]) ** 2).sum()


def test_gradient_in_the_form_of_the_argument():
    p = {"w": a64(3, 2), "b": a64(2)}
    x = a64(4, 3)
    g = lg.grad(loss)(p, x)
    assert set(g) == {"w", "b"}
    np.testing.assert_allclose(g["w"].value, numeric(lambda w: value(loss_of)(w, p["b"], x), p["w"]), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(g["b"].value, numeric(lambda b: value(loss_of)(p["w"], b, x), p["b"]), rtol=1e-6, atol=1e-8)


def loss_of(w, b, x):
    return loss({"w": w, "b": b}, x)


def test_argnums():
    f = lambda x, y, z: (x * y * z).sum()
    args = 2.0, 3.0, 5.0
    assert lg.grad(f)(*args).item() == 15
    assert lg.grad(f, 2)(*args).item() == lg.grad(f, -1)(*args).item() == 6
    assert [g.item() for g in lg.grad(f, (0, 2))(*args)] == [15, 6]
    v, (g,) = lg.value_and_grad(f, (1,))(*args)
    assert (v.item(), g.item()) == (30, 10)


class Pair(NamedTuple):
    a: object
    b: object


@dataclasses.dataclass
class Layer:
    w: object
    rest: list


def test_containers():
    p = Layer(2.0, [Pair(3.0, (4.0,)), {"x": np.array([1.0, 2.0])}, None])
    f = lambda p: p.w * p.rest[0].a + p.rest[0].b[0] ** 2 + (p.rest[1]["x"] * p.w).sum()
    g = lg.grad(f)(p)
    assert isinstance(g, Layer) and isinstance(g.rest[0], Pair) and g.rest[2] is None
    assert g.w.item() == 3 + 3 and g.rest[0].a.item() == 2 and g.rest[0].b[0].item() == 8 and g.rest[1]["x"].tolist() == [2, 2]


def test_aux_and_keywords():
    f = lambda x, *, k: (x * k, {"twice": 2 * x, "note": "hi", "k": k})
    (v, aux), g = lg.value_and_grad(f, has_aux=True)(3.0, k=5.0)
    assert (v.item(), g.item(), aux["twice"].item(), aux["note"], aux["k"]) == (15, 5, 6, "hi", 5.0)
    g, aux = lg.grad(f, has_aux=True)(3.0, k=5.0)
    assert g.item() == 5 and aux["twice"].item() == 6


def test_what_the_function_does_not_use_has_gradient_zero():
    gx, gy = lg.grad(lambda x, y: (x * x).sum(), (0, 1))(a64(2), a64(3))
    assert gy.tolist() == [0, 0, 0] and gx.shape == (2,)


def test_on_tensors_of_a_graph_results_are_expressions():
    graph = lg.Graph()
    x, w = graph.tensor(np.array([1.0, 2.0])), graph.tensor(np.array([3.0, 4.0]))
    y = x * w
    g = lg.grad(lambda y: (y ** 2 * w).sum())(y)                    # an intermediate, and w from outside
    np.testing.assert_allclose(g.value, 2 * y.value * w.value)
    g.sum().backward()
    np.testing.assert_allclose(x.grad.value, 2 * w.value ** 2)       # d(2 x w w)/dx
    np.testing.assert_allclose(w.grad.value, 4 * x.value * w.value)
    x.set([5.0, 6.0])
    np.testing.assert_allclose(g.value, 2 * np.array([15.0, 24.0]) * w.value)
    assert g.gradient(y)[0].shape == (2,)


def test_closed_over_leaves_stay_alive():
    def make():
        graph = lg.Graph()
        w = graph.tensor(np.arange(3.0))
        return lg.grad(lambda x: (x * x * w).sum())(graph.tensor(np.ones(3)))
    g = make()
    gc.collect()
    other = [lg.tensor(np.full(3, 9.0)) for _ in range(10)]          # would take the slots
    assert g.tolist() == [0, 2, 4] and other


def test_on_a_gpu():
    d = device()
    graph = lg.Graph(device=d)
    x = graph.tensor(np.array([0.3, -0.7, 1.1], np.float32))
    f = lambda x: (lg.sin(x) * x).sum()
    here = lg.asarray(x.value)
    for transform in (lg.grad(f), lg.hessian(f), lg.jacfwd(lambda x: lg.exp(x)), lg.vmap(lambda v: v * v), lg.grad(lambda x: lg.vmap(lambda v: v ** 3)(x).sum())):
        got = transform(x)
        assert got.device == d
        np.testing.assert_allclose(got.value, transform(here).value, rtol=1e-5, atol=1e-6)


# ---- perturbation confusion -----------------------------------------------------------------------------------------------------

def test_inner_derivatives_do_not_see_outer_variables():
    # d/dx x (d/dy (x + y)) = 1: an implementation that confuses the two perturbations gives 2 (Siskind and Pearlmutter 2005)
    assert lg.grad(lambda x: x * lg.grad(lambda y: x + y)(1.0))(1.0).item() == 1
    assert lg.jvp(lambda x: x * lg.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1].item() == 1
    assert lg.grad(lambda x: x * lg.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0).item() == 1
    assert lg.jvp(lambda x: x * lg.grad(lambda y: x + y)(1.0), (1.0,), (1.0,))[1].item() == 1


def test_the_same_value_at_both_levels():
    assert lg.grad(lambda x: x * lg.grad(lambda y: x * y)(x))(3.0).item() == 6       # x * x
    assert lg.grad(lambda x: lg.grad(lambda y: x * y * y)(x))(3.0).item() == 4 * 3.0  # d/dx 2 x x
    x = lg.tensor(3.0)
    assert lg.grad(lambda y: lg.grad(lambda z: y * z * x)(x))(x).item() == 3          # x itself, outside, is a constant


def test_functions_returned_by_the_inner_level():
    # the closure carries the outer variable, not the inner one
    f = lambda x: lg.grad(lambda y: (lambda z: x * y * z)(x))(2.0)
    assert lg.grad(f)(3.0).item() == 6


def test_a_kept_placeholder_is_an_error_not_a_wrong_number():
    kept = []
    lg.grad(lambda x: kept.append(x * 2) or x * x)(3.0).item()
    with pytest.raises(errors.TraceError, match="made inside a transform that has ended"):
        kept[0].item()
    assert lg.grad(lambda x: x * x * x)(2.0).item() == 12              # and its number is not given out again
    with pytest.raises(errors.TraceError, match="has ended"):
        lg.grad(lambda x: kept[0] * x)(3.0).item()


# ---- values asked for inside -------------------------------------------------------------------------------------------------------

def test_values_are_known_in_derivatives():
    seen = []

    def f(x):
        seen.append((x.item(), np.asarray(x * 2).item(), float(x)))
        return x * x if x > 0 else -x
    assert lg.grad(f)(3.0).item() == 6 and lg.grad(f)(-3.0).item() == -1
    assert seen == [(3, 6, 3), (-3, -6, -3)]
    assert lg.grad(lg.grad(lambda x: x ** 3 if x > 1 else x))(2.0).item() == 12
    assert lg.jvp(lambda x: x * x if x > 0 else -x, (3.0,), (1.0,))[1].item() == 6
    assert lg.hessian(lambda x: (x ** 3).sum() if x.sum() > 0 else x.sum())(np.ones(2)).tolist() == [[6, 0], [0, 6]]


def test_values_are_not_known_in_batches():
    with pytest.raises(errors.TraceError) as caught:
        lg.vmap(lambda x: x if x > 0 else -x)(a64(3))
    assert "vmap: bool[]: its value is not known while vmap traces the function; choose with lazygrad.where" in str(caught.value)
    assert any("test_transforms.py" in note for note in caught.value.__notes__)
    with pytest.raises(errors.TraceError):
        lg.vmap(lg.grad(lambda x: x * x if x > 0 else -x))(a64(3))


# ---- vjp, jvp, Jacobians -------------------------------------------------------------------------------------------------------------

def test_vjp_and_jvp():
    w, x = a64(3, 2), a64(4, 3)
    f = lambda w, x: {"y": lg.sin(x @ w), "s": (w * w).sum()}
    y, pull = lg.vjp(f, w, x)
    ct = {"y": a64(4, 2), "s": 0.5}
    gw, gx = pull(ct)
    t = a64(3, 2), a64(4, 3)
    y2, dy = lg.jvp(f, (w, x), t)
    np.testing.assert_allclose(y["y"].value, y2["y"].value)
    left = (dy["y"].value * ct["y"]).sum() + dy["s"].item() * 0.5
    right = (gw.value * t[0]).sum() + (gx.value * t[1]).sum()
    assert abs(left - right) < 1e-12
    assert np.allclose(pull(ct)[0].value, gw.value)                    # again, after everything else
    h = 1e-6
    slope = (np.sin((x + h * t[1]) @ (w + h * t[0])) - np.sin((x - h * t[1]) @ (w - h * t[0]))) / (2 * h)
    np.testing.assert_allclose(dy["y"].value, slope, rtol=1e-6, atol=1e-8)


def test_pull_is_differentiable_and_lives_on():
    pulls = [lg.vjp(lambda x: x ** 3, float(k))[1] for k in range(3)]
    assert [p(1.0)[0].item() for p in pulls] == [0, 3, 12]
    assert lg.grad(lambda x: lg.vjp(lambda y: y ** 3 * x, x)[1](1.0)[0])(2.0).item() == 9 * 4       # d/dx 3 x^2 x
    y, pull, aux = lg.vjp(lambda x: (x * x, x + 1), 3.0, has_aux=True)
    assert (y.item(), pull(2.0)[0].item(), aux.item()) == (9, 12, 4)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_jacobians_in_both_modes():
    x = a64(2, 3)
    f = lambda x: lg.stack([lg.sin(x).sum(0), (x * x).sum(0), x[0] * x[1]])
    want = numeric(value(f), x)
    for jac in (lg.jacrev, lg.jacfwd, lg.jacobian):
        np.testing.assert_allclose(jac(f)(x).value, want, rtol=1e-6, atol=1e-8)


def test_jacobian_of_containers():
    f = lambda p, x: (p["a"] * x, {"s": (p["b"] * x).sum()})
    p, x = {"a": a64(2), "b": a64(2)}, a64(2)
    for jac in (lg.jacrev, lg.jacfwd):
        first, second = jac(f)(p, x)
        np.testing.assert_allclose(first["a"].value, np.diag(x))
        np.testing.assert_allclose(first["b"].value, np.zeros((2, 2)))
        np.testing.assert_allclose(second["s"]["b"].value, x)
        (ja, jx), _ = jac(f, (0, 1))(p, x)
        np.testing.assert_allclose(jx.value, np.diag(p["a"]))
        assert set(ja) == {"a", "b"}


def test_hessian_and_its_products():
    x, v = a64(4), a64(4)
    h = lg.hessian(rosenbrock)(x).value
    np.testing.assert_allclose(h, numeric(lambda x: lg.grad(rosenbrock)(x).value, x), rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(lg.hvp(rosenbrock, x, v).value, h @ v, rtol=1e-10)
    for outer, inner in itertools.product((lg.jacrev, lg.jacfwd), repeat=2):
        np.testing.assert_allclose(outer(inner(rosenbrock))(x).value, h, rtol=1e-10)
    np.testing.assert_allclose(lg.jvp(lg.grad(rosenbrock), (x,), (v,))[1].value, h @ v, rtol=1e-10)
    np.testing.assert_allclose(lg.vjp(lg.grad(rosenbrock), x)[1](v)[0].value, h @ v, rtol=1e-10)
    np.testing.assert_allclose(lg.grad(lambda x: (lg.grad(rosenbrock)(x) * lg.asarray(v)).sum())(x).value, h @ v, rtol=1e-10)


def test_third_order():
    f = lambda x: (lg.exp(x[0]) * x[1] ** 2 * lg.sin(x[2]))
    x = np.array([0.3, 0.7, 1.1])
    for modes in itertools.product((lg.jacrev, lg.jacfwd), repeat=3):
        third = modes[0](modes[1](modes[2](f)))(x).value
        assert third.shape == (3, 3, 3)
        np.testing.assert_allclose(third[1, 1, 2], 2 * np.exp(0.3) * np.cos(1.1), rtol=1e-12)
        np.testing.assert_allclose(third, third.transpose(1, 0, 2), rtol=1e-12, atol=1e-14)


def test_complex_gradients_are_directions_of_ascent():
    z = np.array([1 + 2j, -0.5j])
    g = lg.grad(lambda z: (lg.abs(z) ** 2).sum())(z).value
    np.testing.assert_allclose(g, 2 * z)                                # as in PyTorch


# ---- batches -------------------------------------------------------------------------------------------------------------------------

def test_axes_of_batches():
    x, y = a64(3, 4), a64(4, 3)
    np.testing.assert_allclose(lg.vmap(lambda a, b: a @ b, (0, 1))(x, y).value, np.einsum("ij,ji->i", x, y))
    np.testing.assert_allclose(lg.vmap(lambda a: a, 1, -1)(x).value, x)
    np.testing.assert_allclose(lg.vmap(lambda a: a, -1, 0)(x).value, x.T)
    np.testing.assert_allclose(lg.vmap(lambda a, b: a * b, (None, 0))(x, np.arange(3.0)).value, x * np.arange(3.0)[:, None, None])
    d = {"x": x, "k": (a64(3), 2.0)}
    out = lg.vmap(lambda d, *, s: {"r": d["x"].sum() + d["k"][0] * d["k"][1] + s, "c": 1.0}, ({"x": 0, "k": (0, None)},))(d, s=np.arange(3.0))
    np.testing.assert_allclose(out["r"].value, x.sum(1) + d["k"][0] * 2 + np.arange(3.0), rtol=1e-12)
    assert out["c"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(lg.vmap(lambda a: (a, a.sum()), out_axes=(1, 0))(x)[0].value, x.T)
    assert lg.vmap(lambda a: (a * 2, 7), out_axes=(0, None))(x)[1].item() == 7


def test_batch_of_no_examples():
    assert lg.vmap(lambda a: lg.sin(a).sum())(np.zeros((0, 3))).shape == (0,)


def f_of(w, x):
    return (lg.tanh(x @ w) ** 2).sum()


@pytest.mark.parametrize("nesting", ["vmap grad", "grad vmap", "vmap hessian", "vmap vmap", "jvp vmap", "vmap jacfwd", "grad vmap grad", "vmap vjp"])
def test_nestings(nesting):
    w, xs = a64(3, 2), a64(5, 3)
    one = lambda w, x: (np.tanh(x @ w) ** 2).sum()
    g_one = lambda w, x: numeric(lambda w: one(w, x), w)
    if nesting == "vmap grad":
        got, want = lg.vmap(lg.grad(f_of), (None, 0))(w, xs).value, np.stack([g_one(w, x) for x in xs])
    elif nesting == "grad vmap":
        got, want = lg.grad(lambda w: lg.vmap(f_of, (None, 0))(w, xs).sum())(w).value, sum(g_one(w, x) for x in xs)
    elif nesting == "vmap hessian":
        got = lg.vmap(lg.hessian(lambda x: f_of(lg.asarray(w), x)))(xs).value
        want = np.stack([numeric(lambda x: numeric(lambda x: one(w, x), x, 1e-4), x, 1e-4) for x in xs])
    elif nesting == "vmap vmap":
        ws = a64(4, 3, 2)
        got = lg.vmap(lambda w: lg.vmap(lambda x: f_of(w, x))(xs))(ws).value
        want = np.array([[one(w, x) for x in xs] for w in ws])
    elif nesting == "jvp vmap":
        t = a64(5, 3)
        got = lg.jvp(lg.vmap(lambda x: f_of(lg.asarray(w), x)), (xs,), (t,))[1].value
        want = np.array([(numeric(lambda x: one(w, x), x) * d).sum() for x, d in zip(xs, t, strict=True)])
    elif nesting == "vmap jacfwd":
        got, want = lg.vmap(lg.jacfwd(lambda x: lg.sin(x @ lg.asarray(w))))(xs).value, np.stack([numeric(lambda x: np.sin(x @ w), x) for x in xs])
    elif nesting == "grad vmap grad":
        inner = lambda w: (lg.vmap(lg.grad(lambda x: f_of(w, x)))(xs) ** 2).sum()
        got, want = lg.grad(inner)(w).value, numeric(lambda w: sum((numeric(lambda x: one(w, x), x, 1e-4) ** 2).sum() for x in xs), w, 1e-4)
    else:
        got = lg.vmap(lambda x: lg.vjp(lambda x: lg.sin(x), x)[1](x)[0])(xs).value
        want = np.cos(xs) * xs
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)                # second differences with h = 1e-4


# ---- random programs -----------------------------------------------------------------------------------------------------------------

UNARY = [lg.sin, lg.tanh, lambda v: v * v, lambda v: lg.exp(-v * v), lambda v: lg.where(v > 0, v, 0.1 * v), lambda v: lg.cumsum(v, axis=0), lambda v: v[::-1],
         lambda v: lg.sqrt(v * v + 1), lambda v: lg.softmax(v, axis=0), lambda v: v - v.mean()]
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a / (1 + b * b), lambda a, b: lg.outer(a, b) @ b / 4]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(UNARY) - 1), st.integers(0, len(BINARY) - 1), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6), st.integers(0, 999))
def test_random_programs(program, seed):
    def f(x):
        values = [x]
        for u, b, i, j in program:
            values.append(BINARY[b](UNARY[u](values[i % len(values)]), values[j % len(values)]))
        return values[-1]
    rng = np.random.default_rng(seed)
    x, t, ct = (rng.normal(size=4) for _ in range(3))
    s = lambda x: (f(x) * lg.asarray(ct)).sum()
    _, dy = lg.jvp(f, (x,), (t,))
    _, pull = lg.vjp(f, x)
    (g,) = pull(ct)
    scale = max(1.0, np.abs(g.value).max(), np.abs(dy.value).max())
    assert abs((dy.value * ct).sum() - (g.value * t).sum()) < 1e-9 * scale
    h = 1e-6
    slope = (value(f)(x + h * t) - value(f)(x - h * t)) / (2 * h)
    np.testing.assert_allclose(dy.value, slope, atol=1e-5 * scale, rtol=1e-5)
    jr, jf = lg.jacrev(f)(x).value, lg.jacfwd(f)(x).value
    np.testing.assert_allclose(jr, jf, atol=1e-9 * scale, rtol=1e-9)
    np.testing.assert_allclose(jf @ t, dy.value, atol=1e-9 * scale)
    hessians = [a(b(s))(x).value for a, b in itertools.product((lg.jacrev, lg.jacfwd), repeat=2)]
    size = max(1.0, np.abs(hessians[0]).max())
    for hess in hessians[1:]:
        np.testing.assert_allclose(hess, hessians[0], atol=1e-8 * size)
    np.testing.assert_allclose(lg.vmap(f)(np.stack([x, t])).value, np.stack([value(f)(x), value(f)(t)]), rtol=1e-9, atol=1e-9)


# ---- cost and memory ------------------------------------------------------------------------------------------------------------------

def test_a_second_use_finds_the_same_terms_and_plans_and_leaves_nothing():
    w = np.ones(3)

    def step(k):
        g = lg.grad(lambda w: (lg.sin(w) * lg.vmap(lambda v: v * v)(w)).sum())(w * k)
        return lg.hvp(lambda x: (x ** 3).sum(), g, g).value
    gc.disable()
    try:
        for k in range(8):
            step(k)
        before = len(TERMS), slots.live(), len(plans.PLANS)
        for k in range(200):
            step(k)
        assert (len(TERMS), slots.live(), len(plans.PLANS)) == before
    finally:
        gc.enable()


# ---- errors ---------------------------------------------------------------------------------------------------------------------------

CASES = [
    (lambda: lg.grad(lambda x: x)(np.ones(2)), errors.GradientError, "grad: float64[2]: the function must return one number, not an array; sum it, or use jacobian or vjp"),
    (lambda: lg.grad(lambda x: (x, x))(1.0), errors.GradientError, "grad: (*, *): the function must return one number"),
    (lambda: lg.grad(lambda x: lg.astype(x, lg.int32))(1.0), errors.GradientError, "an integer has no derivative"),
    (lambda: lg.grad(lambda x: x * 1j)(1.0), errors.GradientError, "a complex number has no gradient"),
    (lambda: lg.grad(lambda x: x * 1.0)(3), errors.GradientError, "grad: an argument of int64: there is no derivative by integers or bools; cast it to a floating dtype, or leave it out of argnums"),
    (lambda: lg.grad(lambda x: x["a"])({"a": "text"}), errors.GradientError, "grad: str: an argument that is differentiated holds arrays and numbers only"),
    (lambda: lg.grad(lambda x: x, 1)(1.0), errors.StructureError, "grad: argnums 1: the call has 1 positional argument; count from 0"),
    (lambda: lg.grad(lambda x, y: x, (0, -2))(1.0, 1.0), errors.StructureError, "an argument is named twice"),
    (lambda: lg.grad(lambda x: "text")(1.0), errors.StructureError, "grad: str: the function must return arrays and numbers"),
    (lambda: lg.grad(lambda x: x, has_aux=True)(1.0), errors.StructureError, "with has_aux the function returns a pair"),
    (lambda: lg.grad(3), errors.StructureError, "grad: int: a function is expected"),
    (lambda: lg.jvp(lambda x: x, (1.0,), (np.ones(2),)), errors.ShapeError, "jvp: tangents of shape (2,): the value's shape is ()"),
    (lambda: lg.jvp(lambda x: x, (1.0,), ({"a": 1.0},)), errors.StructureError, "jvp: tangents ({'a': *},): the form is (*,)"),
    (lambda: lg.jvp(lambda x: x, (np.float32(1),), (np.float64(1),)), errors.GradientError, "jvp: tangents of float64: the value is float32"),
    (lambda: lg.jvp(lambda x: x, 1.0, 1.0), errors.StructureError, "primals and tangents are tuples"),
    (lambda: lg.vjp(lambda x: x, 1.0)[1]((1.0,)), errors.StructureError, "vjp: cotangents (*,): the form is *"),
    (lambda: lg.vjp(lambda x: x, 1.0)[1](np.ones(3)), errors.ShapeError, "vjp: cotangents of shape (3,)"),
    (lambda: lg.jacrev(lambda x: lg.astype(x, lg.int32))(np.ones(2)), errors.GradientError, "an integer output has no derivative"),
    (lambda: lg.jacfwd(lambda x: x * 1j)(np.ones(2)), errors.GradientError, "jacfwd: complex128[2]: a complex number has no one derivative; use vjp or jvp"),
    (lambda: lg.hessian(lambda z: lg.abs(z))(1 + 1j), errors.GradientError, "jacrev: complex64[]: a complex number has no one derivative"),
    (lambda: lg.vmap(lambda x, y: x)(np.ones(2), np.ones(3)), errors.ShapeError,
     "vmap: 2 along axis 0 of (2,) and 3 along axis 0 of (3,): the arguments hold different numbers of examples"),
    (lambda: lg.vmap(lambda x: x, 1)(np.ones(2)), errors.AxisError, "vmap: axis 1 of (2,): the argument has 1 axes"),
    (lambda: lg.vmap(lambda x: x, (0, 0))(np.ones(2)), errors.StructureError, "vmap: in_axes (0, 0): the call has 1 positional arguments"),
    (lambda: lg.vmap(lambda x: x, ({"a": 0},))(np.ones(2)), errors.StructureError, "vmap: in_axes"),
    (lambda: lg.vmap(lambda x: x, "a")(np.ones(2)), errors.StructureError, "an axis is an integer or None"),
    (lambda: lg.vmap(lambda x: x, None)(np.ones(2)), errors.StructureError, "no argument is mapped"),
    (lambda: lg.vmap(lambda x: x, out_axes=None)(np.ones(2)), errors.StructureError, "this result differs from example to example"),
    (lambda: lg.vmap(lambda x: x, out_axes=2)(np.ones(2)), errors.AxisError, "the result (2,) has 1 axes"),
    (lambda: lg.vmap(lambda x: "a")(np.ones(2)), errors.StructureError, "vmap: str: the function must return arrays and numbers"),
    (lambda: tree.map(lambda a, b: a, [1], (1,)), errors.StructureError, "tree.map: [*] and (*,): the trees have two forms"),
]


@pytest.mark.parametrize(("call", "kind", "text"), CASES, ids=range(len(CASES)))
def test_errors_name_what_came_and_the_line(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    if kind is not errors.StructureError or "tree.map" not in text:
        assert any("test_transforms.py" in note for note in getattr(caught.value, "__notes__", ())) or "function is expected" in text


def test_lists_of_tensors_are_stacked_not_evaluated():
    x, y = lg.tensor(1.0), lg.tensor(2.0)
    z = (lg.sin([x, y]) * [3.0, y]).sum() + lg.asarray([[x, y], [1.0, 2.0]]).sum()
    z.backward()
    np.testing.assert_allclose([x.grad.item(), y.grad.item()], [3 * np.cos(1) + 1, np.sin(2) + 2 * np.cos(2) + 1], rtol=1e-6)
    assert lg.grad(lambda v: lg.exp([v[0], 2 * v[1]]).sum())(np.zeros(2)).tolist() == [1, 2]


def test_results_of_one_use_are_computed_together():
    runs = []
    ps = [lg.tensor(np.full(3, float(k))) for k in range(5)]
    vg = lg.value_and_grad(lambda ps: sum((lg.sin(p) * ps[0]).sum() for p in ps))
    value = plans.Binding.run

    def counted(self):
        runs.append(len(self.plan.avals))
        return value(self)
    plans.Binding.run = counted
    try:
        v, g = vg(ps)
        assert v.item() == 0 and runs == [1]                             # the loss alone
        found = [q.value for q in g]
        assert runs == [1, 5]                                            # then all gradients in one run
        runs.clear()
        for _ in range(2):
            ps[1].set(np.full(3, 7.0))
            v, g = vg(ps)
            again = [v.value, *[q.value for q in g]]
            assert runs == [6]                                           # as was asked for the last time
            runs.clear()
    finally:
        plans.Binding.run = value
    np.testing.assert_allclose(again[1], np.cos(0) * 0 + sum(np.sin([0, 7.0, 2, 3, 4])), rtol=1e-6)
    np.testing.assert_allclose(found[2], np.zeros(3))


# ---- holomorphic functions ------------------------------------------------------------------------------------------------

def assert_close(found, want):
    np.testing.assert_allclose(found.value, want, rtol=1e-12, atol=1e-14)


def test_derivatives_of_holomorphic_functions():
    z = RNG.normal(size=3) + 1j * RNG.normal(size=3)
    assert_close(lg.grad(lambda z: (lg.exp(z) * z).sum(), holomorphic=True)(z), np.exp(z) * (z + 1))
    value, g = lg.value_and_grad(lambda z: lg.sin(z).sum(), holomorphic=True)(z)
    assert_close(value, np.sin(z).sum())
    assert_close(g, np.cos(z))
    for jacobian in (lg.jacrev, lg.jacfwd, lg.jacobian):
        assert_close(jacobian(lambda z: z * z * z, holomorphic=True)(z), np.diag(3 * z * z))
    assert_close(lg.hessian(lambda z: (z ** 3).sum(), holomorphic=True)(z), np.diag(6 * z))
    assert_close(lg.vmap(lg.grad(lg.grad(lambda z: z ** 4, holomorphic=True), holomorphic=True))(z), 12 * z * z)
    assert_close(lg.compile(lg.grad(lambda z: lg.log(z).sum(), holomorphic=True))(z), 1 / z)


def test_what_is_not_holomorphic_is_refused():
    z = np.array([1 + 2j])
    for f in (lg.grad, lg.jacrev, lg.jacfwd):
        with pytest.raises(errors.GradientError, match=r"float64.*a holomorphic function takes and gives complex numbers"):
            f(lambda z: lg.real(z)[0], holomorphic=True)(z)
        with pytest.raises(errors.GradientError, match=r"holomorphic=True where f is"):
            f(lambda z: z[0] * z[0])(z)
    with pytest.raises(AssertionError, match="f is not holomorphic"):
        lg.testing.check_holomorphic(lambda z: {"a": lg.conj(z)}, (z,))
    with pytest.raises(errors.GradientError, match="gives complex numbers"):
        lg.testing.check_holomorphic(lg.abs, (z,))
    with pytest.raises(errors.GradientError, match="takes complex numbers"):
        lg.testing.check_holomorphic(lg.sin, (np.ones(2),))
    lg.testing.check_holomorphic(lambda z, w: (lg.sqrt(z) * w, z / w), (z, np.array([3j])))
