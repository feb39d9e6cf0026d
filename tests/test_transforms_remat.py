"""checkpoint: the same values and derivatives, from less memory."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from gpu import device
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad.ad import vjp
from lazygrad.compiler.decompose import decompose
from lazygrad.ir.term import toposort
from lazygrad.prims.leaf import like
from lazygrad.runtime import plans, tiers

X, V = np.array([0.3, -0.7, 1.1]), np.array([1.0, 0.5, -2.0])


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-12, atol=1e-13)      # float64; the same operations


def block(x, w):
    return lg.sin(x * w) + lg.softmax(x, axis=-1)


POLICIES = [None, "nothing", "dots", lambda op, shape, dtype: op == "sin"]
NESTINGS = {
    "value": lambda f: f(X, V),
    "grad": lambda f: lg.grad(lambda x, w: f(f(x, w), w).sum(), (0, 1))(X, V),
    "jvp": lambda f: lg.jvp(f, (X, V), (V, X)), "jacfwd": lambda f: lg.jacfwd(f)(X, V), "jacrev": lambda f: lg.jacrev(f, 1)(X, V),
    **{f"{a.__name__} {b.__name__}": lambda f, a=a, b=b: a(b(lambda x: f(x, x).sum()))(X) for a, b in itertools.product((lg.jacrev, lg.jacfwd), repeat=2)},
    "vmap grad": lambda f: lg.vmap(lg.grad(lambda x, w: f(x, w).sum(), (0, 1)), (0, None))(np.stack([X, V]), V),
    "grad vmap": lambda f: lg.grad(lambda w: lg.vmap(f, (0, None))(np.stack([X, V]), w).sum())(V),
    "in itself": lambda f: lg.grad(lambda x: lg.checkpoint(lambda x: f(f(x, V), V))(x).sum())(X),
}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("policy", POLICIES, ids=["none", "nothing", "dots", "sin"])
def test_values_and_derivatives_are_those_of_the_function(nesting, policy):
    got, want = (lg.tree.leaves(NESTINGS[nesting](f)) for f in (lg.checkpoint(block, policy), block))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        for _ in range(4):                            # interpreted, then compiled
            close(g.forward(), w)


def test_what_it_closes_over_is_differentiated():
    w = lg.tensor(V)
    f = lg.checkpoint(lambda x, *, k: {"y": lg.sin(x * w) * k, "n": 3})
    x = lg.tensor(X)
    out = f(x, k=2.0)
    assert out["n"].item() == 3
    out["y"].sum().backward()
    close(w.grad, 2 * X * np.cos(X * V))
    close(x.grad, 2 * V * np.cos(X * V))
    close(lg.grad(lambda w: lg.checkpoint(lambda x: x * w)(2.0).sum())(V), [2, 2, 2])


def test_values_are_known_inside():
    assert lg.grad(lg.checkpoint(lambda x: x * x if x > 0 else -x))(-3.0).item() == -1


def test_nothing_is_kept_but_what_the_policy_says():
    """The values that forward and backward have in common."""
    def common(policy, f=lambda x: lg.tanh(lg.exp(lg.sin(x) * V))):
        x = lg.tensor(X)
        y = lg.checkpoint(f, policy)(x) if policy != "plain" else f(x)
        (root,) = decompose([y.term], None)
        (g,) = decompose(vjp([y.term], [like(y.term, 2)], [x.term]), None)
        forward = {t for t in toposort([root]) if t.args and x.term in toposort([t])}
        return sorted({t.op.name for t in forward & set(toposort([g]))})
    assert common("plain") == ["exp", "mul", "sin", "tanh"]
    assert common(None) == common("nothing") == common("dots") == []
    assert "exp" in common(lambda op, shape, dtype: op == "exp" and shape == (3,) and dtype == lg.float64)
    assert common(lambda op, shape, dtype: op == "tanh") == ["exp", "mul", "sin", "tanh"]      # made of the others, which only it reads
    assert "matmul" in common("dots", lambda x: lg.exp(x[None] @ np.ones((3, 4))))
    assert common(None, lambda x: lg.exp(x[None] @ np.ones((3, 4)))) == []


# ---- memory ----------------------------------------------------------------------------------------------------------------

WIDTH, DEEP, ROWS = 64, 16, 256
WS = [np.random.default_rng(k).normal(size=(WIDTH, WIDTH)).astype(np.float32) / 8 for k in range(DEEP)]
ROW = WIDTH * ROWS * 4                               # bytes of one layer's values


def deep(wrap):
    def stretch(x, ws):
        for w in ws:
            x = lg.tanh(x @ w)
        return x

    def loss(ws, x):
        for k in range(0, DEEP, 4):
            x = wrap(stretch)(x, ws[k:k + 4])
        return (x * x).sum()
    return loss


def peak_of(text: str) -> int:
    return int(re.search(r"peak memory: (\d+) bytes", text)[1])


def test_peak_memory_is_lower_and_explain_knows_before_it_runs():
    x = np.random.default_rng(9).normal(size=(ROWS, WIDTH)).astype(np.float32)
    found = {}
    for name, wrap in (("plain", lambda f: f), ("checkpoint", lg.checkpoint)):
        gs = lg.grad(deep(wrap))(WS, x)
        said = peak_of(gs[0].graph.explain(*gs))
        roots = [g.term for g in gs]
        exe = tiers.build(roots, plans.canonical(roots)[1], (None,) * len(roots))
        measured = exe.program.arena + sum(g.nbytes for g in gs)
        assert said == measured
        found[name] = exe.program.arena, [g.value for g in gs]
    for a, b in zip(found["plain"][1], found["checkpoint"][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)               # float32 sums of 256 rows
    # 16 layers kept, against the starts of 4 stretches and the 4 layers of one
    assert found["plain"][0] >= DEEP * ROW
    assert found["checkpoint"][0] <= (4 + 4 + 2) * ROW


def test_kernels_over_rows_do_not_move_before_what_they_wait_for():
    """Kernels over equal rows join earlier ones; those that compute again wait for the cotangent, though they read nothing of it."""
    def stretch(x):
        for _ in range(2):
            x = lg.softmax(lg.cumsum(x, axis=-1) - x.mean(axis=-1, keepdims=True), axis=-1)
        return x

    def gradient(wrap):
        return lg.grad(lambda x: lg.tanh(wrap(stretch)(x).T @ w).sum())(x)
    x, w = np.random.default_rng(9).normal(size=(2, ROWS, WIDTH)).astype(np.float32)
    gs = [gradient(f) for f in (lambda f: f, lg.checkpoint)]
    programs = [tiers.build([g.term], plans.canonical([g.term])[1], (None,)).program for g in gs]
    np.testing.assert_allclose(gs[1].value, gs[0].value, rtol=1e-4, atol=1e-7)           # float32
    forward = [p.kernels[p.steps[0].kernel] for p in programs]
    assert [sum(prm.writes for prm in k.params) for k in forward][1] <= sum(prm.writes for prm in forward[0].params)
    assert programs[1].arena < programs[0].arena


def test_a_long_chain_of_stretches():
    half = lg.checkpoint(lambda x: lg.tanh(x) * 0.999 + lg.sin(x) * 0.001)

    def f(x):
        for _ in range(1500):
            x = half(x)
        return x.sum()
    g = lg.grad(f)(X)
    a, want = X, np.ones(3)
    for _ in range(1500):
        want = want * (0.999 * (1 - np.tanh(a) ** 2) + 0.001 * np.cos(a))
        a = np.tanh(a) * 0.999 + np.sin(a) * 0.001
    binding = plans.values([g.term], single=True)
    binding.go_native()
    np.testing.assert_allclose(binding.run(), want, rtol=1e-9)           # 1500 float64 factors


def test_on_a_gpu():
    d = device()
    graph = lg.Graph(device=d)
    x = np.random.default_rng(9).normal(size=(ROWS, WIDTH)).astype(np.float32)
    said = []
    for wrap in (lambda f: f, lg.checkpoint):
        gs = lg.grad(deep(wrap))([graph.tensor(w) for w in WS], graph.tensor(x))
        want = lg.grad(deep(wrap))(WS, x)
        for g, w in zip(gs, want, strict=True):
            assert g.device == d
            np.testing.assert_allclose(g.value, w.value, rtol=1e-3, atol=1e-3)      # sums of 256 float32 rows, in another order
        said.append(peak_of(graph.explain(*gs)))
    assert said[1] < 0.8 * said[0]


# ---- random programs --------------------------------------------------------------------------------------------------------

UNARY = [lg.sin, lg.tanh, lambda v: v * v, lambda v: lg.where(v > 0, v, 0.1 * v), lambda v: lg.cumsum(v, axis=0), lambda v: v[::-1],
         lambda v: lg.softmax(v, axis=0), lambda v: v - v.mean(), lambda v: (lg.outer(v, v) @ v) / 4]
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a / (1 + b * b)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.integers(0, n) for n in (len(UNARY) - 1, len(BINARY) - 1, 9, 9)]), min_size=1, max_size=7), st.integers(0, 3), st.integers(0, 999))
def test_random_programs(program, policy, seed):
    def run(x, steps):
        values = [x]
        for u, b, i, j in steps:
            values.append(BINARY[b](UNARY[u](values[i % len(values)]), values[j % len(values)]))
        return values[-1]
    half = len(program) // 2
    first, second = (lambda x: run(x, program[:half])), (lambda x: run(x, program[half:]))
    again = lambda x: lg.checkpoint(second, POLICIES[policy])(lg.checkpoint(first, POLICIES[policy])(x))
    rng = np.random.default_rng(seed)
    x, ct = rng.normal(size=4), rng.normal(size=4)
    f, g = (lambda h: lambda x: (h(x) * lg.asarray(ct)).sum())(lambda x: second(first(x))), lambda x: (again(x) * lg.asarray(ct)).sum()
    want = lg.grad(f)(x).value
    scale = max(1.0, np.abs(want).max())
    got = lg.grad(g)(x)
    np.testing.assert_allclose(got.value, want, rtol=1e-10, atol=1e-10 * scale)
    exe = plans.values([got.term], single=True)
    exe.go_native()
    np.testing.assert_allclose(exe.run(), want, rtol=1e-10, atol=1e-10 * scale)
    hessian = lg.hessian(f)(x).value
    np.testing.assert_allclose(lg.hessian(g)(x).value, hessian, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(hessian).max()))
