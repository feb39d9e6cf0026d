"""Loops through the public functions: on the CPU and a GPU the same values and gradients, in one call; explain and profile tell of them."""

from __future__ import annotations

import gpu
import numpy as np
import pytest

pytest.importorskip("llvmlite")

import lazygrad as lg
from lazygrad import Graph, reference
from lazygrad.ir.term import toposort

BATCH = np.random.default_rng(0).uniform(1, 3, size=(2, 8)).astype(np.float32)
PARAMETERS = (1.5, 1.0, 3.0, 1.0)


def step(p, x, y, h=0.01):
    """Heun's step for a predator and its prey."""
    def slope(x, y):
        return p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y
    u = slope(x, y)
    v = slope(x + h * u[0], y + h * u[1])
    return x + h / 2 * (u[0] + v[0]), y + h / 2 * (u[1] + v[1])


def cases(graph):
    """Name -> (tensors to differentiate by, loss) in a graph."""
    x, y = graph.tensor(BATCH[0]), graph.tensor(BATCH[1])
    p = [graph.tensor(np.float32(v)) for v in PARAMETERS]
    m = graph.tensor(np.eye(5, dtype=np.float32) * 0.5 + 0.1)
    (xe, ye), _ = lg.scan(lambda c, _: (step(p, *c), None), (x, y), length=50)
    yield "scan", p, (xe * xe + ye * ye).sum()
    _, rows = lg.scan(lambda h, v: ((h @ m + v).tanh(),) * 2, x[:5].reshape(1, 5), lg.stack([y[:5], y[3:], x[3:]]).reshape(3, 1, 5))
    yield "recurrent", [m, x, y], (rows * rows).sum()
    w = lg.while_loop(lambda c: c[0].sum() < 30, lambda c: (c[0] * 1.1 + 0.01 * c[1], c[1] * 0.99 + p[0] * 0.01), (x, y))
    yield "while", [p[0], x], (w[0] * w[1]).sum()
    yield "cond", [p[0], x], lg.cond(x.sum() > 3, lambda a: (a.sum() * p[0]).exp(), lambda a: a.sum(), x * 0.01)
    yield "for", [m], lg.fori_loop(0, 5, lambda i, c: c @ m + i * 0.1, m).sum()


def test_values_and_gradients_are_those_of_numpy_on_both_backends():
    for name, by, loss in cases(Graph()):
        roots = [loss.term, *[g.term for g in loss.gradient(*by)]]
        arrays = {s: graph_array(s) for s in toposort(roots) if s.op.name == "source"}
        want = reference.evaluate(roots, arrays)
        for t, w in zip([loss, *loss.gradient(*by)], want, strict=True):
            np.testing.assert_allclose(t.value, w, rtol=2e-4, atol=2e-5, err_msg=name)        # 50 steps of float32, fused
    host = [[loss.value, *[g.value for g in loss.gradient(*by)]] for _, by, loss in cases(Graph())]
    device = [(name, [loss, *loss.gradient(*by)]) for name, by, loss in cases(Graph(device=gpu.device()))]
    for (name, tensors), want in zip(device, host, strict=True):
        for t, w in zip(tensors, want, strict=True):
            np.testing.assert_allclose(np.asarray(t.value), w, rtol=2e-3, atol=1e-4, err_msg=name)


def graph_array(source):
    from lazygrad.runtime.slots import BUFFERS
    return BUFFERS[source.params[0]]


def test_a_loop_with_gradients_is_one_native_call_and_gradients_add_up():
    graph = Graph()
    (name, p, loss), *_ = cases(graph)
    assert name == "scan"
    run = graph.compile(p, [loss, *loss.gradient(*p)])
    first = run(*PARAMETERS)
    loss.backward()
    loss.backward()
    for t, g in zip(p, first[1:], strict=True):
        np.testing.assert_allclose(t.grad.value, 2 * np.asarray(g), rtol=1e-5)
    assert type(loss.term.backward).__name__ == "builtin_function_or_method"


def test_explain_and_profile_tell_of_loops():
    graph = Graph()
    found = {name: loss for name, _, loss in cases(graph)}
    assert "for t in 50 serial" in graph.explain(found["scan"])
    assert "a loop in registers, 50 times" in str(graph.profile(found["scan"]))
    wide = graph.tensor(np.eye(40, dtype=np.float32) * 0.5)
    looped, rows = lg.scan(lambda h, _: ((h @ wide).tanh(), h.sum()), wide, length=7)
    both = looped.sum() + rows.sum()
    story = graph.explain(both)
    assert "loop 7 times" in story and "  body:" in story
    assert "loop, 7 times, of" in str(graph.profile(both))
    assert "branch" in graph.explain(lg.cond(wide.sum() > 0, lambda a: a.sum(), lambda a: a.max(), wide))


def test_a_very_long_scan_differentiates_in_little_memory():
    """100,000 steps: the plan's arena is of the order of the root of that many carries."""
    graph = Graph()
    x, a = graph.tensor(np.linspace(0.1, 0.9, 64)), graph.tensor(np.float64(3.0))
    n = 100_000
    end, _ = lg.scan(lambda v, _: (a * v * (1 - v) * 0.3, None), x, length=n)
    z = end.sum()
    exact = z.gradient(a)[0].value
    h = 1e-7
    values = [float(graph.compile([a], [z])(3.0 + k * h)) for k in (1, -1)]
    np.testing.assert_allclose(exact, (values[0] - values[1]) / (2 * h), rtol=1e-4, atol=1e-12)
    from lazygrad import compiler
    from lazygrad.backends import llvm
    root = z.gradient(a)[0].term
    sources = [s for s in toposort([root]) if s.op.name == "source"]
    assert compiler.compile([root], sources, [None], llvm.caps).arena < 10 * 317 * 64 * 8 < n * 64 * 8 / 10
