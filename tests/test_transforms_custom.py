"""Functions with rules of their own: in both modes, every nesting and order, and what is said of wrong rules."""

from __future__ import annotations

import functools
import gc
import itertools
from typing import NamedTuple

import numpy as np
import pytest
from gpu import device

import lazygrad as lg
from lazygrad import errors
from lazygrad.ir.term import TERMS
from lazygrad.runtime import plans, slots
from lazygrad.transforms import custom, trace

X, Y, T = np.array([0.3, -0.7, 1.1]), np.array([2.0, 0.5, -1.0]), np.array([1.0, -2.0, 0.5])


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-12, atol=1e-13)      # float64 and a few operations


def plain(x, y):
    return lg.sin(x) * y * y


def by_vjp():
    @lg.custom_vjp
    def f(x, y):
        return plain(x, y)
    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda r, ct: (lg.cos(r[0]) * r[1] * r[1] * ct, 2 * lg.sin(r[0]) * r[1] * ct))
    return f


def by_jvp():
    @lg.custom_jvp
    def f(x, y):
        return plain(x, y)

    @f.defjvp
    def rule(primals, tangents):
        (x, y), (a, b) = primals, tangents
        return f(x, y), lg.cos(x) * y * y * a + 2 * lg.sin(x) * y * b
    return f


def by_own_result():
    """A rule made of the function's result: higher orders go through the rule again."""
    @lg.custom_vjp
    def exp(x):
        return lg.exp(x)

    def forward(x):
        y = exp(x)
        return y, y
    exp.defvjp(forward, lambda y, ct: (y * ct,))
    return exp


# ---- right rules give what the operations give --------------------------------------------------------------------------

NESTINGS = {
    "value": lambda f: f(X, Y),
    "grad": lambda f: lg.grad(lambda x, y: f(x, y).sum(), (0, 1))(X, Y),
    "jvp": lambda f: lg.jvp(f, (X, Y), (T, Y)),
    "vjp": lambda f: lg.vjp(f, X, Y)[1](T),
    "jacrev": lambda f: lg.jacrev(f)(X, Y), "jacfwd": lambda f: lg.jacfwd(f, 1)(X, Y),
    **{f"{a.__name__} {b.__name__}": lambda f, a=a, b=b: a(b(lambda p: f(p["x"], p["y"]).sum()))({"x": X, "y": Y})
       for a, b in itertools.product((lg.jacrev, lg.jacfwd), repeat=2)},
    "third": lambda f: lg.grad(lg.grad(lg.grad(lambda x: f(x, 2.0))))(np.float64(0.5)),
    "third forward": lambda f: lg.jvp(lg.grad(lambda x: lg.jvp(lambda x: f(x, x), (x,), (1.0,))[1]), (np.float64(0.5),), (1.0,)),
    "vmap": lambda f: lg.vmap(f)(X, Y), "vmap one": lambda f: lg.vmap(f, (None, 0))(0.3, Y),
    "vmap grad": lambda f: lg.vmap(lg.grad(f, (0, 1)))(X, Y),
    "grad vmap": lambda f: lg.grad(lambda x, y: lg.vmap(f)(x, y).sum(), (0, 1))(X, Y),
    "grad vmap one": lambda f: lg.grad(lambda s, y: (lg.vmap(f, (None, 0))(s, y) * Y).sum(), (0, 1))(np.float64(0.3), Y),
    "vmap hessian": lambda f: lg.vmap(lg.hessian(lambda x: f(x, x)))(X),
    "jvp vmap": lambda f: lg.jvp(lg.vmap(f, (None, 0)), (np.float64(0.3), Y), (np.float64(2.0), T)),
    "hessian vmap": lambda f: lg.hessian(lambda s: lg.vmap(f, (None, 0))(s, Y).sum())(np.float64(0.3)),
}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("made", [by_vjp, by_jvp])
def test_a_rule_works_in_every_nesting(nesting, made):
    got, want = (lg.tree.leaves(NESTINGS[nesting](f)) for f in (made(), plain))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_higher_orders_through_the_functions_own_result():
    f = by_own_result()
    for g in (lg.grad(f), lg.grad(lg.grad(f)), lg.grad(lg.grad(lg.grad(f))), lg.grad(lambda x: lg.jvp(f, (x,), (1.0,))[1])):
        close(g(np.float64(0.5)), np.exp(0.5))
    close(lg.vmap(lg.grad(lg.grad(f)))(X), np.exp(X))


def test_the_rule_decides_not_the_operations():
    @lg.custom_vjp
    def straight(x):
        return lg.round(x)
    straight.defvjp(lambda x: (lg.round(x), None), lambda _, ct: (ct * 10,))
    x = np.array([0.4, 1.6])
    close(straight(x), [0, 2])
    close(lg.grad(lambda x: straight(x).sum())(x), [10, 10])
    close(lg.jvp(straight, (x,), (np.array([1.0, 2.0]),))[1], [10, 20])
    close(lg.vmap(lg.grad(straight))(x), [10, 10])
    close(lg.grad(lambda x: (straight(x) ** 2).sum())(x), [0, 40])
    leaf = lg.tensor(x)
    straight(leaf).sum().backward()
    close(leaf.grad, [10, 10])
    for _ in range(4):                                # interpreted, then compiled
        leaf.grad = None
        straight(leaf * 2).sum().backward()
        close(leaf.grad, [20, 20])


def test_gradients_of_custom_functions_that_are_never_finite_otherwise():
    @lg.custom_jvp
    def log1pexp(x):
        return lg.log(1 + lg.exp(x))

    @log1pexp.defjvp
    def rule(primals, tangents):
        return log1pexp(*primals), tangents[0] * lg.sigmoid(primals[0])
    assert np.isnan(lg.grad(lambda x: lg.log(1 + lg.exp(x)))(1000.0).item())
    assert lg.grad(log1pexp)(1000.0).item() == 1 and lg.grad(lg.grad(log1pexp))(1000.0).item() == 0


class Pair(NamedTuple):
    a: object
    b: object


def test_containers_numbers_and_settings():
    @functools.partial(lg.custom_vjp, nondiff_argnums=(0, 3))
    def f(how, p, k, n):
        return {"s": (how(p.a) * k).sum(), "r": p.b["w"] * n}

    def backward(how, n, residuals, ct):
        p, k = residuals
        assert how is lg.sin and n == 3 and k == 2.0
        return Pair(lg.cos(p.a) * k * ct["s"], {"w": ct["r"] * n, "i": None}), None
    f.defvjp(lambda how, p, k, n: (f(how, p, k, n), (p, k)), backward)
    p = Pair(X, {"w": np.float64(5), "i": None})
    value = f(lg.sin, p, 2.0, 3)
    close(value["s"], 2 * np.sin(X).sum())
    g = lg.grad(lambda p: f(lg.sin, p, 2.0, n=3)["s"] + 7 * f(lg.sin, p, 2.0, 3)["r"])(p)
    close(g.a, 2 * np.cos(X))
    close(g.b["w"], 21)


def test_complex_numbers_through_calls_loops_and_branches():
    """The gradient of |z²|² is 4 |z|² z, the direction of steepest ascent."""
    square = lambda z: z * z

    @lg.custom_vjp
    def pulled(z):
        return z * z
    pulled.defvjp(lambda z: (pulled(z), z), lambda z, ct: (ct * 2 * lg.conj(z),))      # cotangents as users see them: J^H ct

    @lg.custom_jvp
    def pushed(z):
        return z * z
    pushed.defjvp(lambda p, t: (pushed(p[0]), 2 * p[0] * t[0]))
    z, t = np.array([1 + 2j, -0.5j]), np.array([1 + 1j, 2.0])
    scanned = lambda z: lg.scan(lambda c, _: (c * z, None), z, length=1)[0]
    counted = lambda z: lg.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1] * z), (0, z))[1]
    branched = lambda z: lg.cond(lg.real(z).sum() > 0, square, lambda z: z, z)
    for f in (square, pulled, pushed, lg.checkpoint(square), scanned, counted, branched):
        close(lg.grad(lambda z, f=f: (lg.abs(f(z)) ** 2).sum())(z), 4 * np.abs(z) ** 2 * z)
        close(lg.jvp(f, (z,), (t,))[1], 2 * z * t)
        close(lg.vjp(f, z)[1](t)[0], 2 * np.conj(z) * t)


def test_integers_and_outputs_without_derivative():
    @lg.custom_vjp
    def take(x, i):
        return x[i], i + 1

    def backward(i, ct):
        assert ct[1].dtype == lg.int64
        return lg.zeros((3,), dtype=lg.float64).at[i].set(ct[0]), None
    take.defvjp(lambda x, i: (take(x, i), i), backward)
    close(lg.grad(lambda x: take(x, lg.asarray(2))[0] ** 2)(X), [0, 0, 2 * X[2]])


def test_arrays_that_the_rule_closes_over_stay_alive():
    def made():
        mask = lg.asarray(np.array([1.0, 0.0, 1.0]))

        @lg.custom_vjp
        def f(x):
            return x * 1
        f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct * mask * np.array([3.0, 3.0, 5.0]),))
        return f(lg.tensor(X)), lg.grad(lambda x: f(x).sum())(X)
    y, g = made()
    others = [lg.tensor(np.full(3, 9.0)) for _ in range(10)]
    close(g, [3, 0, 5])
    leaf = y.a if isinstance(y.a, lg.Tensor) else None
    (d,) = y.gradient(leaf)
    close(d, [3, 0, 5])
    assert others


def test_values_are_known_inside_of_rules():
    seen = []

    @lg.custom_vjp
    def f(x):
        return x * x if x > 0 else -x
    f.defvjp(lambda x: (seen.append(x.item()) or f(x), x), lambda x, ct: (2 * x * ct if float(x) > 0 else -ct,))
    assert lg.grad(f)(3.0).item() == 6 and lg.grad(f)(-3.0).item() == -1
    assert seen == [3, -3]
    with pytest.raises(errors.TraceError):
        lg.vmap(lg.grad(f))(X)


def test_on_a_gpu():
    d = device()
    x = lg.Graph(device=d).tensor(X.astype(np.float32))
    for f in (by_vjp(), by_jvp()):
        for transform in (lambda f: lg.grad(lambda x: f(x, x).sum()), lambda f: lg.hessian(lambda x: f(x, x).sum()), lambda f: lg.vmap(lg.grad(lambda x: f(x, x)))):
            got = transform(f)(x)
            assert got.device == d
            np.testing.assert_allclose(got.value, transform(plain)(X), rtol=1e-5, atol=1e-6)


def test_methods_can_have_rules():
    class Model:
        k = 3.0

        @lg.custom_jvp
        def f(self, x):
            return x * self.k

    Model.f.defjvp(lambda primals, tangents: (primals[1] * primals[0].k, tangents[1] * 100))
    assert lg.grad(Model().f)(2.0).item() == 100


def test_listings_and_explanations_see_inside():
    graph = lg.Graph()
    x = graph.tensor(np.array([1.0, 2.0]), name="x")
    f, rest = by_own_result(), lg.checkpoint(lambda x: lg.log(x - 5) * 2)
    y = f(rest(x))
    lines = str(graph).splitlines()
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["tensor", "checkpoint", "exp"]
    text = y.explain_nan()
    assert text.startswith("log made float64[2] 2 nan from float64[2] in [-4, -3] at ") and "f(rest(x))" in text
    (g,) = lg.checkpoint(lambda x: lg.sqrt(x - 1))(x).sum().gradient(x)
    assert g.explain_nan().startswith("div made float64[2] in [0.5, 0.5], 1 inf")
    with lg.debug_nans(), pytest.raises(errors.NonFiniteError, match="log made"):
        rest(x).sum().backward()
    loop = lg.scan(lambda c, t: (lg.log(c - 1.5), c), x, np.arange(3.0))[0]
    assert loop.explain_nan().startswith("scan made float64[2] 2 nan")


def test_steps_with_rules_stay_flat_without_the_collector():
    @lg.custom_vjp
    def double(x):
        return x * 2
    double.defvjp(lambda x: (double(x), x), lambda r, ct: (ct * np.array([2.0, 2.0]),))
    block = lg.checkpoint(lambda x: lg.sin(double(x)))
    step = lg.value_and_grad(lambda x: (block(x) ** 2).sum())
    gc.collect()
    gc.disable()
    try:
        counts = []
        for i in range(450):
            value, g = step(np.array([1.0, float(i)]))
            close(g, 4 * np.sin([2.0, 2.0 * i]) * np.cos([2.0, 2.0 * i]))
            value.item()
            if i % 150 == 149:
                counts.append((slots.live(), len(TERMS), trace._made, len(custom.MADE), len(plans.PLANS)))
    finally:
        gc.enable()
    assert counts[0] == counts[1] == counts[2]


# ---- rules that are loops ------------------------------------------------------------------------------------------------------

def powers(step, x, ct):
    """A rule for the sum of x[i]² that loops over its cotangent: the carry hands `step` on, each entry scales it."""
    return lg.scan(lambda c, v: (step(c, v), 2 * v * c), ct, x)[1]


@pytest.mark.parametrize(("name", "step"), [("carried", lambda c, v: c), ("branch", lambda c, v: lg.cond(v > 0, lambda c: c, lambda c: 1 * c, c)),
                                           ("counted", lambda c, v: lg.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, -s[1]), (0, c))[1])])
def test_loops_and_branches_over_a_cotangent_are_linear(name, step):
    f = lg.custom_vjp(lambda x: (x * x).sum())
    f.defvjp(lambda x: ((x * x).sum(), x), lambda x, ct: (powers(step, x, ct),))
    close(lg.grad(f)(X), 2 * X)
    close(lg.jvp(f, (X,), (T,))[1], 2 * X @ T)
    close(lg.jvp(lg.grad(f), (X,), (T,))[1], 2 * T)


@pytest.mark.parametrize("step", [lambda c, v: c * c, lambda c, v: lg.cond(c > 0, lambda c: c, lambda c: 2 * c, c),
                                  lambda c, v: lg.while_loop(lambda s: s < 100, lambda s: 2 * s, c)], ids=["product", "branch", "count"])
def test_loops_that_are_not_linear_in_a_cotangent_are_refused(step):
    f = lg.custom_vjp(lambda x: (x * x).sum())
    f.defvjp(lambda x: ((x * x).sum(), x), lambda x, ct: (powers(step, x, ct),))
    with pytest.raises(errors.GradientError, match="its rule is not linear in what it is given"):
        lg.jvp(f, (X,), (T,))


# ---- errors ---------------------------------------------------------------------------------------------------------------

def wrong(forward=None, backward=None, kind=lg.custom_vjp, rule=None):
    @kind
    def f(x):
        return x * 2
    if kind is lg.custom_jvp:
        f.defjvp(rule)
    elif forward is not None:
        f.defvjp(forward, backward)
    return lambda: lg.grad(lambda x: f(x).sum())(X)


def closes():
    def outer(w):
        @lg.custom_vjp
        def f(x):
            return x * w
        f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct * w,))
        return f(lg.tensor(X)).sum()
    return lg.grad(outer)(Y)


FORWARD = lambda x: (x * 2, None)
CASES = [
    (wrong(), errors.GradientError, "custom_vjp: f: it has no rule yet; call f.defvjp(forward, backward)"),
    (wrong(lambda x: x * 2, lambda r, ct: (ct,)), errors.StructureError, "custom_vjp: the forward rule of f: Tensor: it must return a pair; return (result, residuals)"),
    (wrong(lambda x: (x[:1], None), lambda r, ct: (ct,)), errors.ShapeError, "custom_vjp: the forward rule of f: float64[1]: the function returns float64[3]"),
    (wrong(lambda x: ((x, x), None), lambda r, ct: (ct,)), errors.StructureError, "custom_vjp: the forward rule of f: (*, *): the function returns *"),
    (wrong(lambda x: (x.astype("float32"), None), lambda r, ct: (ct,)), errors.DTypeError, "the forward rule of f: float32[3]: the function returns float64[3]"),
    (wrong(FORWARD, lambda r, ct: ct), errors.StructureError, "custom_vjp: the backward rule of f: Tensor: it must return a tuple of 1; give one for each argument, None for zero"),
    (wrong(FORWARD, lambda r, ct: (ct, ct)), errors.StructureError, "custom_vjp: the backward rule of f: 2 cotangents: it must return a tuple of 1"),
    (wrong(FORWARD, lambda r, ct: (ct.sum(),)), errors.ShapeError, "custom_vjp: a cotangent of shape () from the rule of f: the value's shape is (3,)"),
    (wrong(FORWARD, lambda r, ct: ({"a": ct},)), errors.StructureError, "custom_vjp: the backward rule of f: {'a': *} for argument 0: the argument's form is *"),
    (wrong(FORWARD, lambda r, ct: (ct * 1j,)), errors.DTypeError, "a cotangent of complex128 from the rule of f: the value is float64; take its real part"),
    (closes, errors.GradientError, "custom derivative: f: it closes over a tensor that is differentiated, for which its rule gives nothing; pass the tensor as an argument, or use stop_gradient"),
    (wrong(kind=lg.custom_jvp, rule=lambda p, t: t[0]), errors.StructureError, "custom_jvp: the rule of f: Tensor: it must return a pair; return (result, tangent)"),
    (wrong(kind=lg.custom_jvp, rule=lambda p, t: (p[0], (t[0],))), errors.StructureError, "custom_jvp: the rule of f: a tangent (*,): the function returns *"),
    (wrong(kind=lg.custom_jvp, rule=lambda p, t: (p[0], t[0].sum())), errors.ShapeError, "custom_jvp: a tangent of shape () from the rule of f"),
    (wrong(kind=lg.custom_jvp, rule=lambda p, t: (p[0], t[0] * t[0])), errors.GradientError, "custom derivative: f: its rule is not linear in what it is given"),
    (lambda: lg.custom_vjp(3), errors.StructureError, "custom_vjp: int: a function is expected"),
    (lambda: lg.checkpoint(lambda x: x, "everything"), errors.StructureError, "checkpoint: policy 'everything': there is no such policy"),
]


@pytest.mark.parametrize(("call", "kind", "text"), CASES, ids=range(len(CASES)))
def test_errors_say_what_is_wrong_with_a_rule(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert "function is expected" in text or any("test_transforms_custom.py" in note for note in getattr(caught.value, "__notes__", ()))
