"""Traces: what comes back from derivatives of functions, variables that are told apart, values asked for inside, tensors that leak."""

from __future__ import annotations

import gc
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.errors import TraceError
from lazygrad.ir.term import TERMS
from lazygrad.runtime import slots
from lazygrad.transforms import trace as T

Pair = namedtuple("Pair", "w b")


@dataclass
class Layer:
    w: object
    b: object


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def close(x: object, y: object) -> None:
    np.testing.assert_allclose(np.asarray(x), y, rtol=1e-12, atol=1e-12)      # float64 and a few operations


# ---- what comes back ------------------------------------------------------------------------------------------------

def test_grad_of_arrays_numbers_and_tensors_is_a_tensor():
    for x in (array(1, 2), lg.asarray(array(1, 2)), lg.Graph().tensor(array(1, 2))):
        g = lg.grad(lambda x: (x ** 3).sum())(x)
        assert isinstance(g, lg.Tensor)
        close(g, [3, 12])
    assert lg.grad(lambda x: x * x)(3.0).dtype == lg.float32 and lg.grad(lambda x: x * x)(np.float64(3)).dtype == lg.float64


def test_containers_come_back_in_their_own_form():
    def loss(p, x):
        return (p["layers"][0].w * x + p["layers"][0].b + p["pair"].w * p["pair"].b).sum() + 0 * p["list"][0]
    p = {"layers": [Layer(array(1, 2), array(3, 4))], "pair": Pair(2.0, array(5, 6)), "none": None, "list": [1.0]}
    g = lg.grad(loss)(p, array(10, 20))
    assert isinstance(g["layers"][0], Layer) and isinstance(g["pair"], Pair) and g["none"] is None and isinstance(g["list"], list)
    close(g["layers"][0].w, [10, 20])
    close(g["layers"][0].b, [1, 1])
    close(g["pair"].w, 11)
    close(g["pair"].b, [2, 2])
    close(g["list"][0], 0)


def test_argnums_decides_the_form_of_the_gradient():
    def f(x, y, *, k=1.0):
        return (x * x * y * k).sum()
    x, y = array(1, 2), array(3, 4)
    close(lg.grad(f, 1)(x, y), x * x)
    close(lg.grad(f, -1)(x, y), x * x)
    (g,) = lg.grad(f, (1,))(x, y)
    close(g, x * x)
    value, (gx, gy) = lg.value_and_grad(f, (0, 1))(x, y, k=2.0)
    close(value, (2 * x * x * y).sum())
    close(gx, 4 * x * y)
    close(gy, 2 * x * x)


def test_aux_comes_back_beside_the_gradient():
    def f(x):
        y = x * x
        return y.sum(), {"y": y, "text": "kept", "n": 3}
    x = array(1, 2)
    g, aux = lg.grad(f, has_aux=True)(x)
    close(g, 2 * x)
    close(aux["y"], x * x)
    assert aux["text"] == "kept" and aux["n"] == 3
    (value, aux), g = lg.value_and_grad(f, has_aux=True)(x)
    close(value, 5)
    close(aux["y"] * g, 2 * x ** 3)
    jac, aux = lg.jacrev(lambda x: (x * x, x), has_aux=True)(x)
    close(jac, np.diag(2 * x))
    close(aux, x)


def test_arguments_that_are_not_differentiated_are_passed_on_as_they_are():
    seen = []
    lg.grad(lambda x, how, a: seen.append((how, type(a))) or x * 2)(1.0, "text", array(1))
    assert seen == [("text", np.ndarray)]


def test_vjp_pulls_any_number_of_cotangents():
    x, w = array(1, 2), array(3, 4)
    value, pull = lg.vjp(lambda x, w: {"p": x * w, "s": x.sum()}, x, w)
    close(value["p"], x * w)
    close(value["s"], 3)
    for c in (1.0, 2.0):
        gx, gw = pull({"p": array(c, 10), "s": np.float64(7)})
        close(gx, array(c, 10) * w + 7)
        close(gw, array(c, 10) * x)


def test_jvp_pushes_tangents_in_containers():
    p, t = {"x": array(1, 2), "y": [3.0]}, {"x": array(10, 20), "y": [1.0]}
    value, moved = lg.jvp(lambda p, k: (p["x"] * k, p["y"][0]), (p, array(5, 6)), (t, array(0, 1)))
    close(value[0], [5, 12])
    close(moved[0], [50, 122])
    close(moved[1], 1)


def test_jacobians_have_the_axes_of_the_output_before_those_of_the_argument():
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    for jac in (lg.jacrev, lg.jacfwd, lg.jacobian):
        d = jac(lambda x: lg.asarray(a) @ x)(x)
        assert d.shape == (3, 2, 4, 2)
        close(d, np.einsum("ij,kl->ikjl", a, np.eye(2)))
        blocks = jac(lambda x, y: {"p": x * y, "s": (x * y).sum()}, (0, 1))(array(1, 2), array(3, 4))
        close(blocks["p"][0], np.diag([3, 4]))
        close(blocks["p"][1], np.diag([1, 2]))
        close(blocks["s"][0], [3, 4])
        close(jac(lambda x: x * 2)(3.0), 2)
        assert jac(lambda x: x[:0])(array(1, 2)).shape == (0, 2)


def test_hessian_and_hvp_of_a_quadratic_form():
    rng = np.random.default_rng(1)
    a, x, v = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)
    f = lambda x: x @ lg.asarray(a) @ x
    close(lg.hessian(f)(x), a + a.T)
    close(lg.hvp(f, x, v), (a + a.T) @ v)
    blocks = lg.hessian(lambda p: p["x"] ** 2 * p["y"])({"x": np.float64(3), "y": np.float64(5)})
    close(blocks["x"]["x"], 10)
    close(blocks["x"]["y"], 6)
    close(blocks["y"]["y"], 0)


# ---- each variable is its own -----------------------------------------------------------------------------------------

def test_inner_and_outer_variables_are_told_apart():
    assert lg.grad(lambda x: x * lg.grad(lambda y: x + y)(1.0))(5.0).item() == 1
    assert lg.grad(lambda x: x * lg.grad(lambda y: x * y)(1.0))(5.0).item() == 10
    # d/dx (x · d/dy (x y²) at y = x) = d/dx 2x³
    assert lg.grad(lambda x: x * lg.grad(lambda y: x * y * y)(x))(2.0).item() == 24
    assert lg.jvp(lambda x: x * lg.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (5.0,), (1.0,))[1].item() == 1
    assert lg.jvp(lambda x: x * lg.jvp(lambda y: x * y, (2.0,), (x,))[1], (3.0,), (1.0,))[1].item() == 27      # d/dx x³
    assert lg.grad(lambda x: x * lg.jvp(lambda y: x * y * y, (x,), (1.0,))[1])(2.0).item() == 24
    assert lg.jvp(lambda x: x * lg.grad(lambda y: x * y * y)(x), (2.0,), (1.0,))[1].item() == 24


def test_one_tensor_at_two_levels():
    x = lg.asarray(array(3))[0]
    g = lg.grad(lambda y: y * lg.grad(lambda z: z * y * x)(x))       # at y: d/dy y·(y x) = 2 y x
    assert g(x).item() == 18
    (gx,) = (lambda h: h.gradient(h))(x)
    assert gx.item() == 1


def test_functions_that_return_functions_close_over_the_right_variable():
    """The trap of Manzyuk et al. 2019: D applied to a curried function."""
    def d(f):
        return lambda x: lg.jvp(f, (x,), (1.0,))[1]
    f = lambda x: lambda y: x * y * y
    assert d(lambda x: d(f(x))(x))(3.0).item() == 12                 # d/dx 2x²
    shift = lambda offset: lambda g: lambda a: g(a + offset)
    assert d(lambda u: shift(u)(lambda a: a ** 3)(2.0))(1.0).item() == 27


def test_derivatives_of_all_orders_of_one_function():
    f, x = (lambda x: lg.exp(2 * x)), np.float64(0.25)
    for n in range(1, 6):
        f = lg.grad(f) if n % 2 else (lambda g: lambda x: lg.jvp(g, (x,), (1.0,))[1])(f)
        close(f(x), 2 ** n * np.exp(0.5))


def test_results_stay_expressions_of_the_leaves():
    graph = lg.Graph()
    x, w = graph.tensor(array(1, 2)), graph.tensor(array(3, 4))
    scaled = w * 2
    g = lg.grad(lambda x: (x * x * scaled).sum())(x)                 # 2 x · 2 w
    close(g, 4 * array(1, 2) * array(3, 4))
    close(g.gradient(w)[0], 4 * array(1, 2))
    close(g.gradient(scaled)[0], 2 * array(1, 2))                    # a tensor between leaf and result that f closes over
    close(g.gradient(x)[0], 4 * array(3, 4))
    (g * g).sum().backward()
    close(w.grad, 2 * 16 * array(1, 2) ** 2 * array(3, 4))
    x.set(array(10, 20))
    close(g, 4 * array(10, 20) * array(3, 4))


def test_a_result_keeps_the_leaves_it_reads():
    x = lg.asarray(array(1, 2))

    def made():
        w = lg.asarray(array(5, 7))
        return lg.grad(lambda x: (x * w * w).sum())(x), lg.vjp(lambda x: x * w, x)[1]
    g, pull = made()
    others = [lg.asarray(array(0, 0)) for _ in range(5)]             # would take the slot of w
    close(g, [25, 49])
    close(pull(array(1, 1))[0], [5, 7])
    del others


# ---- values asked for inside ------------------------------------------------------------------------------------------

def test_values_are_known_inside_of_concrete_transforms():
    seen = []

    def f(x):
        seen.append((x.item(), float(x * 2), np.asarray(x + 1).tolist(), f"{x:.1f}"))
        return x * x if x > 0 else -x
    assert lg.grad(f)(3.0).item() == 6 and lg.grad(f)(-3.0).item() == -1
    assert seen == [(3.0, 6.0, 4.0, "3.0"), (-3.0, -6.0, -2.0, "-3.0")]
    assert lg.jvp(f, (3.0,), (1.0,))[1].item() == 6 and lg.vjp(f, -3.0)[1](1.0)[0].item() == -1
    close(lg.jacfwd(lambda x: x * x if x[0] > 1 else x)(array(2, 3)), np.diag([4, 6]))


def test_values_are_known_through_several_levels():
    def f(x):
        inner = lambda y: y * y * x if float(x * y) > 5 else y * x
        return lg.grad(inner)(x + 1)
    assert lg.grad(f)(2.0).item() == 2 * (2 * 2 + 1)                 # 2 (x + 1) x
    assert lg.grad(f)(1.0).item() == 1
    assert lg.grad(lambda x: lg.grad(lambda y: y * x if lg.grad(lambda z: z * y)(x).item() > 1 else x)(x))(3.0).item() == 1


def test_a_value_seen_inside_does_not_change_with_the_next_call():
    kept = []
    f = lg.grad(lambda x: kept.append(x * 2) or (np.asarray(kept[-1]), x * x)[1])
    f(3.0)
    f(4.0)
    assert [k._value.item() for k in kept] == [6, 8]


def test_a_tensor_that_leaks_says_so():
    kept = []
    lg.grad(lambda x: kept.append(x * 2) or x * x)(3.0)
    for _ in range(2):
        with pytest.raises(TraceError) as error:
            kept[0].item()
        assert str(error.value) == ("transform: float32[]: it was made inside a transform that has ended, where it had no value of its "
                                    "own; return it from the function instead of keeping it")
        assert "test_transforms_traces.py" in error.value.__notes__[0]
        lg.grad(lambda x: x * x * x)(5.0)                            # takes a placeholder of another number
    inner = []
    lg.grad(lambda x: inner.append(lg.grad(lambda y: x * y)(1.0)) or x)(3.0)
    with pytest.raises(TraceError):
        inner[0].forward()


def test_a_value_that_is_not_known_is_an_error_at_the_users_line():
    with T.Trace("compile", concrete=False) as trace:
        x = trace.placeholder(lg.asarray(1.0))
        with pytest.raises(TraceError) as error:
            bool(x > 0)
    assert str(error.value) == ("compile: bool[]: its value is not known while compile traces the function; choose with lazygrad.where or "
                                "lazygrad.cond, loop with lazygrad.while_loop or scan, or look at it outside")
    assert "bool(x > 0)" in error.value.__notes__[0]
    assert isinstance(error.value, TypeError)


def test_no_grad_inside_and_outside():
    def f(x):
        with lg.no_grad():
            y = x * x
        return x * y
    assert lg.grad(f)(3.0).item() == 9
    w = lg.tensor(2.0)
    with lg.no_grad():
        g = lg.grad(lambda x: x * x * w)(3.0)
    assert g.item() == 12 and not g.requires_grad
    assert lg.grad(lambda x: x * x * w)(3.0).requires_grad


def test_errors_inside_leave_nothing_behind():
    def f(x):
        raise KeyError("mine")
    for _ in range(3):
        with pytest.raises(KeyError):
            lg.grad(f)(3.0)
    assert not T.ACTIVE


# ---- again and again ------------------------------------------------------------------------------------------------

def test_a_second_use_finds_the_same_terms():
    def f(w, x):
        return ((lg.tanh(x @ w) - 1) ** 2).sum()
    w, x = np.ones((3, 2)), np.ones((4, 3))
    gc.collect()                                                     # slots that other tests left in cycles
    first = lg.grad(f)(w, x)
    term = first.term
    del first
    for _ in range(3):
        g = lg.grad(f)(w + 1, x)
        assert g.term is term
        del g


def test_many_steps_stay_flat_without_the_collector():
    def loss(p, x):
        return ((x * p["w"] + p["b"]) ** 2).sum()
    step = lg.value_and_grad(loss)
    gc.collect()
    gc.disable()
    try:
        p = {"w": array(1, 2), "b": 0.5}
        counts = []
        for i in range(600):
            value, g = step(p, lg.asarray(array(1, i)))
            value.item()
            p = {k: np.asarray(p[k]) - 1e-9 * np.asarray(g[k]) for k in p}
            if i % 200 == 199:
                counts.append((slots.live(), len(TERMS), T._made, len(T.SUBSTITUTED)))
    finally:
        gc.enable()
    assert counts[0] == counts[1] == counts[2]
