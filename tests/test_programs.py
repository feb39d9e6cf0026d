"""Random small graphs: native code, the interpreter and the reference agree on value, gradient and second gradient, and the gradient
on difference quotients.

A program is a list of (operation, operand, operand) over a growing list of tensors, so that hypothesis can make a failing one small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import Graph, reference
from lazygrad.ir.term import sweep, toposort
from lazygrad.runtime import plans, slots, tiers

MOST = 200                     # elements of one tensor
SHAPES = ((), (3,), (2, 3), (3, 1), (4, 4))
RESULT = 1e-11                 # of the largest number: some hundred roundings, and sums in another order


def halves(x: lg.Tensor) -> tuple[lg.Tensor, lg.Tensor]:
    """Two vectors of one length made of x."""
    v = x.reshape((-1,))
    n = max(v.shape[0] // 2, 1)
    return v[:n], v[-n:]


def fitted(x: lg.Tensor, y: lg.Tensor) -> lg.Tensor:
    """y, or its mean where it does not broadcast with x."""
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return y.mean()
    return y if np.prod(shape) <= MOST else y.mean()


def product(x: lg.Tensor, y: lg.Tensor) -> lg.Tensor:
    """A matrix product of x with itself or with y."""
    if x.ndim < 2:
        return lg.outer(x.reshape((-1,))[:5], y.reshape((-1,))[:4])
    return x @ y if y.ndim == 2 and x.shape[-1] == y.shape[0] else x.mT @ x


SMOOTH: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + fitted(x, y),
    "sub": lambda x, y: x - fitted(x, y),
    "mul": lambda x, y: x * fitted(x, y),
    "div": lambda x, y: x / (1 + fitted(x, y)**2),
    "tanh": lambda x, y: lg.tanh(x),
    "sin": lambda x, y: lg.sin(x),
    "exp": lambda x, y: lg.exp(-x * x),
    "log1p": lambda x, y: lg.log1p(x * x),
    "sqrt": lambda x, y: lg.sqrt(1 + x * x),
    "sigmoid": lambda x, y: lg.sigmoid(x),
    "erf": lambda x, y: lg.erf(x),
    "atan2": lambda x, y: lg.atan2(x, 2 + fitted(x, y)**2),
    "pow": lambda x, y: (1.5 + lg.cos(x))**(lg.sin(fitted(x, y))),
    "scale": lambda x, y: 0.7 * x - 0.25,
    "sum": lambda x, y: x.sum(axis=0) if x.ndim else x,
    "mean": lambda x, y: x.mean(axis=-1, keepdims=True) if x.ndim else x,
    "prod": lambda x, y: lg.prod(lg.tanh(x), axis=-1) if x.ndim else x,
    "cumsum": lambda x, y: lg.cumsum(x, axis=-1) if x.ndim else x,
    "cumprod": lambda x, y: lg.cumulative_prod(lg.tanh(x), axis=0) if x.ndim == 1 else x,
    "logsumexp": lambda x, y: lg.logsumexp(x, axis=-1) if x.ndim else x,
    "softmax": lambda x, y: lg.softmax(x, axis=-1) if x.ndim else x,
    "transpose": lambda x, y: x.T,
    "ravel": lambda x, y: x.reshape((-1,)),
    "column": lambda x, y: x[..., None] if x.ndim < 3 else x,
    "flip": lambda x, y: lg.flip(x),
    "tail": lambda x, y: x[1:] if x.ndim and x.shape[0] > 1 else x,
    "strided": lambda x, y: x[..., ::-2] if x.ndim else x,
    "roll": lambda x, y: lg.roll(x, 1, axis=0) if x.ndim else x,
    "pad": lambda x, y: lg.pad(x, 1) if x.ndim == 1 and x.shape[0] < 20 else x,
    "concat": lambda x, y: lg.concat([x.reshape((-1,)), y.reshape((-1,))[:9]]) if x.size < 60 else x,
    "stack": lambda x, y: lg.stack([x, x * x]) if x.size < 60 and x.ndim < 3 else x,
    "gather": lambda x, y: x[[0, -1, 0]] if x.ndim else x,
    "tile": lambda x, y: lg.tile(x, (2,)) if x.size < 40 else x,
    "matmul": product,
    "dot": lambda x, y: lg.vecdot(*halves(x)),
    "einsum": lambda x, y: lg.einsum("ij,kj->ik", x, x) if x.ndim == 2 else x,
    "expm": lambda x, y: lg.expm(lg.tanh(x[:2, :2])) if x.ndim == 2 and min(x.shape) > 1 else x,
}
KINKED: dict[str, Callable[[Any, Any], Any]] = {                # or constant where they look variable
    "maximum": lambda x, y: lg.maximum(x, fitted(x, y)),
    "relu": lambda x, y: lg.relu(x),
    "abs": lambda x, y: lg.abs(x),
    "where": lambda x, y: lg.where(x > 0.1, x * x, lg.sin(fitted(x, y))),
    "max": lambda x, y: x.max(axis=-1) if x.ndim else x,
    "sort": lambda x, y: lg.sort(x, axis=-1) if x.ndim else x,
    "clip": lambda x, y: lg.clip(x, -0.6, 0.8),
    "stop": lambda x, y: x * lg.stop_gradient(fitted(x, y)),
    "floor": lambda x, y: x + lg.floor(3 * fitted(x, y)),
    "through integers": lambda x, y: x * lg.astype(lg.astype(4 * fitted(x, y), "int32"), "float64"),
    "guarded": lambda x, y: lg.where(x > 0, lg.log(lg.where(x > 0, x, 1.0)), x),
}
OPERATIONS = {**SMOOTH, **KINKED}

Program = list[tuple[str, int, int]]


def values(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [np.asarray(rng.uniform(-1.2, 1.2, shape)) for shape in SHAPES[:count]]


def built(program: Program, leaves: Sequence[lg.Tensor]) -> lg.Tensor:
    """The scalar of a program: everything it made takes part."""
    made = list(leaves)
    for name, i, j in program:
        new = OPERATIONS[name](made[-1 - i % len(made)], made[-1 - j % len(made)])
        if new.size <= MOST:
            made.append(new)
    total = leaves[0].sum()
    for k, h in enumerate(made):
        total = total + lg.sum(lg.tanh(h * (1 + k / 7)))
    return total


def oracle(*tensors: lg.Tensor) -> list[np.ndarray]:
    """The values by the reference, straight from the Terms."""
    roots = [h.term for h in tensors]
    return reference.evaluate(roots, {t: slots.BUFFERS[t.params[0]].copy() for t in toposort(roots) if t.op.name == "source"})


def close(got: Any, want: Any, what: str) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype, what
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=RESULT * (1 + np.abs(want).max(initial=0)), err_msg=what)


def run(program: Program, count: int, tier: str) -> list[np.ndarray]:
    """Value, gradients, gradients of half the squared gradient, each checked against the reference."""
    graph = Graph()
    leaves = [graph.tensor(v) for v in values(count)]
    z = built(program, leaves)
    first = z.gradient(*leaves)
    squares = sum(((g * g).sum() for g in first[1:]), (first[0] * first[0]).sum()) / 2
    wants = oracle(z, *first)
    for run in (1, 2):                                     # the second run accumulates
        z.backward()
        close(z.value, wants[0], f"{tier}: value, run {run}")
        for k, (x, g) in enumerate(zip(leaves, wants[1:], strict=True)):
            close(x.grad, run * g, f"{tier}: gradient {k}, run {run}")
    graph.zero_grad()
    out = [z.value, *[g.value for g in first]]
    if squares.requires_grad:
        second = squares.gradient(*leaves)
        wants = oracle(squares, *second)
        squares.backward()
        close(squares.value, wants[0], f"{tier}: squared gradient")
        for k, (x, g) in enumerate(zip(leaves, wants[1:], strict=True)):
            close(np.zeros_like(g) if x.grad is None else x.grad, g, f"{tier}: second gradient {k}")
            out.append(g)
    return out


def in_tiers(program: Program, count: int, chosen: Sequence[str]) -> list[np.ndarray]:
    """The results, equal in all tiers."""
    results = []
    for tier in chosen:
        with pytest.MonkeyPatch.context() as patch:
            sweep()
            plans.PLANS.clear()
            if tier == "interpreter":
                patch.setattr(tiers, "native", lambda: False)
            else:
                patch.setattr(plans, "INTERPRETED", -1)
                patch.setattr(plans, "PATIENCE", 1 << 30)
            results.append(run(program, count, tier))
    for name, other in zip(chosen[1:], results[1:], strict=True):
        for k, (a, b) in enumerate(zip(results[0], other, strict=True)):
            close(b, a, f"{name} against {chosen[0]}: result {k}")
    return results[0]


TIERS = ("interpreter", "native") if tiers.native() else ("interpreter",)
number = st.integers(0, 5)


def programs(names: Sequence[str], longest: int) -> st.SearchStrategy[Program]:
    return st.lists(st.tuples(st.sampled_from(sorted(names)), number, number), min_size=1, max_size=longest)


fixed = settings(derandomize=True, deadline=None, max_examples=25, database=None,
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@fixed
@given(programs(list(OPERATIONS), 8), st.integers(1, len(SHAPES)))
@example([("tile", 1, 0), ("gather", 2, 0), ("atan2", 1, 4)], 4)                 # two stores of one loop, one of them never read
def test_tiers_agree(program, count):
    out = in_tiers(program, count, TIERS)
    assert all(np.isfinite(a).all() for a in out)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_alone_and_twice(name):
    """Every operation on every shape, on a value and on the result of itself."""
    in_tiers([(name, k, (k + 1) % 5) for k in range(5)] + [(name, 0, 1)], 5, TIERS)


@settings(fixed, max_examples=60)
@given(programs(list(SMOOTH), 8), st.integers(1, len(SHAPES)))
def test_gradients_are_those_of_difference_quotients(program, count):
    """Interpreted, of smooth operations: the directional derivative and the second one, each from the derivative below it."""
    out = in_tiers(program, count, ["interpreter"])
    graph = Graph()
    start = values(count)
    leaves = [graph.tensor(v) for v in start]
    z = built(program, leaves)
    first = z.gradient(*leaves)
    rng = np.random.default_rng(5)
    along = [rng.choice([-1.0, 1.0], v.shape) for v in start]
    step = 1e-5

    def moved(t: float) -> tuple[float, list[np.ndarray]]:
        for x, v, d in zip(leaves, start, along, strict=True):
            x.set(v + t * d)
        found = oracle(z, *first)
        return found[0].item(), found[1:]

    (up, up_g), (down, down_g) = moved(step), moved(-step)
    slope = sum((g * d).sum() for g, d in zip(out[1:1 + count], along, strict=True))
    size = 1 + max(np.abs(g).max() for g in out[1:])
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-6, abs=1e-6 * size)
    if len(out) > 1 + count:
        changes = [(u - d) / (2 * step) for u, d in zip(up_g, down_g, strict=True)]
        slope = sum((g * c).sum() for g, c in zip(out[1:1 + count], changes, strict=True))
        second = sum((g * d).sum() for g, d in zip(out[1 + count:], along, strict=True))
        assert slope == pytest.approx(second, rel=1e-5, abs=1e-5 * size**2)
