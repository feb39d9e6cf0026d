"""Derivatives at corners, poles and masks: the conventions of docs/derivatives.md, in every mode and order, on every executor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gpu import device

import lazygrad as lg

INF, NAN = math.inf, math.nan
M = np.array([1.0, 2.0, 3.0])
MASK = np.array([-INF, 0.0, 0.0])
S = 1 / (1 + math.exp(-0.3))                     # softmax of (-inf, 2x, x) at 0.3: the sigmoid of x

# name: function, argument, value, first and second derivative (from the definitions, not from a run)
CASES = {
    "where sqrt": (lambda x: lg.where(x > 0, lg.sqrt(x), 0 * x), 0.0, 0, 0, 0),
    "where log": (lambda x: lg.where(x > 0, lg.log(x) * x, 2 * x), 0.0, 0, 2, 0),
    "where quotient": (lambda x: lg.where(x != 0, lg.sin(x) / x, 1.0 + 0 * x), 0.0, 1, 0, 0),
    "where in where": (lambda x: lg.where(x > 0, lg.where(x > 1, lg.sqrt(x - 1), lg.log(x)), -x), 0.0, 0, -1, 0),
    "where power": (lambda x: lg.where(x > 0, x ** 0.5, 3 * x), 0.0, 0, 3, 0),
    "where overflow": (lambda x: lg.where(x < 1, x * x, lg.exp(x * 1e4)), 0.5, 0.25, 1, 2),
    "where of a sum": (lambda x: lg.where(x > 0, lg.log(x * M).sum(), x * x), 0.0, 0, 0, 2),
    "where in a norm": (lambda x: lg.where(x > 0, lg.linalg.vector_norm(lg.log(x) * M), 5 * x), 0.0, 0, 5, 0),
    "where gathered": (lambda x: (lg.where(np.array([True, False]), lg.stack([x, x]), lg.sqrt(lg.stack([x - x, x]))))[np.array([0, 0])].sum(), 2.0, 4, 2, 0),
    "select": (lambda x: lg.select([x > 0, x < 0], [lg.sqrt(x), lg.log(-x)], 5 * x), 0.0, 0, 5, 0),
    "cond": (lambda x: lg.cond(x > 0, lg.sqrt, lambda x: 4 * x, x), 0.0, 0, 4, 0),
    "vmap of cond": (lambda x: lg.vmap(lambda v: lg.cond(v > 0, lg.sqrt, lambda v: 4 * v, v))(lg.stack([x, x + 1])).sum(), 0.0, 1, 4.5, -0.25),
    "norm of 0": (lambda x: lg.linalg.vector_norm(x * M), 0.0, 0, 0, 0),
    "norm of order 1": (lambda x: lg.linalg.vector_norm(x * M, ord=1), 0.0, 0, 0, 0),
    "norm of order inf": (lambda x: lg.linalg.vector_norm(x * M, ord=INF), 0.0, 0, 0, 0),
    "hypot": (lambda x: lg.hypot(x, 2 * x), 0.0, 0, 0, 0),
    "std": (lambda x: lg.std(x * np.ones(3)), 2.0, 0, 0, 0),
    "var": (lambda x: lg.var(x * np.ones(3)), 2.0, 0, 0, 0),
    "abs": (lg.abs, 0.0, 0, 0, 0),
    "x ** 0": (lambda x: x ** 0.0, 0.0, 1, 0, 0),
    "x ** 1": (lambda x: x ** 1.0, 0.0, 0, 1, 0),
    "x ** 2": (lambda x: x ** 2.0, 0.0, 0, 0, 2),
    "0 ** y": (lambda y: (0 * y) ** (y + 0), 2.0, 0, 0, 0),
    "maximum": (lambda x: lg.maximum(x, 0.0), 0.0, 0, 0.5, 0),
    "max": (lambda x: lg.max(lg.stack([x, 2 * x])), 0.0, 0, 1.5, 0),
    "clip": (lambda x: lg.clip(x, 0, 1), 0.0, 0, 1, 0),
    "atan2": (lambda x: lg.atan2(x, 2 * x), 0.0, 0, 0, 0),
    "prod": (lambda x: lg.prod(x * M), 0.0, 0, 0, 0),
    "prod with a zero": (lambda x: lg.prod(lg.stack([x, x + 2, x + 3])), 0.0, 0, 6, 10),
    "cumprod with a zero": (lambda x: lg.cumprod(lg.stack([x, x + 2, x + 3]), axis=0).sum(), 0.0, 0, 1 + 2 + 6, 2 + 10),
    "sinc": (lg.sinc, 0.0, 1, 0, -math.pi ** 2 / 3),
    "sqrt": (lg.sqrt, 0.0, 0, INF, -INF),
    "log": (lg.log, 0.0, -INF, INF, -INF),
    "rsqrt": (lg.rsqrt, 0.0, INF, -INF, INF),
    "logsumexp of -inf": (lambda x: lg.logsumexp(x + np.array([-INF, -INF])), 0.0, -INF, 0, 0),
    "logsumexp with -inf": (lambda x: lg.logsumexp(x * np.ones(3) + MASK), 0.5, 0.5 + math.log(2), 1, 0),
    "logaddexp of -inf": (lambda x: lg.logaddexp(x - INF, x - INF), 0.0, -INF, 1, 0),
    "masked softmax": (lambda x: lg.softmax(x * np.array([1.0, 2.0, 1.0]) + MASK, axis=0)[1], 0.3, S, S * (1 - S), S * (1 - S) * (1 - 2 * S)),
    "masked log_softmax": (lambda x: lg.log_softmax(x * np.array([1.0, 2.0, 1.0]) + MASK, axis=0)[1], 0.3, math.log(S), 1 - S, -S * (1 - S)),
    "softmax of -inf": (lambda x: lg.softmax(x + np.array([-INF, -INF]), axis=0).sum(), 0.0, NAN, NAN, NAN),
    "softplus": (lambda x: lg.logaddexp(x, 0.0), 800.0, 800, 1, 0),
    "sort": (lambda x: lg.sort(lg.stack([x, 2 * x, x * 0 + 3]))[0], 0.0, 0, 1, 0),
}


def forward(f):
    return lambda x: lg.jvp(f, (x,), (lg.ones_like(x),))[1]


def first(f):
    return [lg.grad(f), forward(f)]


def second(f):
    return [outer(inner(f)) for outer in (lg.grad, forward) for inner in (lg.grad, forward)]


@pytest.mark.parametrize("where", ["interpreted", "compiled", "gpu"])
@pytest.mark.parametrize("name", CASES)
def test_every_mode_gives_the_stated_derivative(name, where):
    f, x, value, d, dd = CASES[name]
    if where == "gpu":
        arg = lg.Graph(device=device()).tensor(np.float32(x))
        run = lambda g: g(arg).item()
        tolerance = {"rtol": 2e-5, "atol": 2e-6}                     # float32
    else:
        arg = np.float64(x)
        run = (lambda g: g(arg).item()) if where == "interpreted" else (lambda g: lg.compile(g)(arg).item())
        tolerance = {"rtol": 1e-12, "atol": 1e-14}
    # a GPU's smallest numbers may be zeros, and its zeros have no sign in the extremes: numbers are compared, not bits
    np.testing.assert_allclose(run(lambda x: f(lg.asarray(x))), value, **tolerance)
    for g in first(f):
        np.testing.assert_allclose(run(g), d, **tolerance)
    for g in second(f):
        np.testing.assert_allclose(run(g), dd, **tolerance)


def test_the_mask_holds_to_the_third_order_and_through_a_graph():
    f = lambda x: lg.where(x > 0, lg.sqrt(x), x ** 3)
    assert lg.grad(lg.grad(lg.grad(f)))(0.0).item() == 6
    x = lg.tensor(np.array([0.0, 4.0, -1.0]))
    lg.where(x > 0, lg.sqrt(x), x ** 3).backward()
    assert x.grad.tolist() == [0, 0.25, 3]


def test_sorting_ties_follow_the_order_returned():
    g = lg.grad(lambda x: (lg.sort(x) * M).sum())(np.array([2.0, 2.0, 1.0]))
    assert g.tolist() == [2, 3, 1]                                   # stable: the first 2 comes first
