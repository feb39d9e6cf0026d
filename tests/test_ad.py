"""Derivatives of every primitive against difference quotients and against each other; masks, ties, edges, complex numbers.

Pairings are Re(sum(conj(a) b)), so one test serves real and complex arguments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from lazygrad import dtypes, reference
from lazygrad.ad import jvp, vjp
from lazygrad.errors import GradientError
from lazygrad.ir.aval import aval
from lazygrad.ir.term import Term
from lazygrad.prims import REGISTRY, leaf
from lazygrad.prims import elementwise as E
from lazygrad.prims import indexing as I
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.contraction import matmul
from lazygrad.prims.leaf import iota, like

F32, F64, C128 = dtypes.float32, dtypes.float64, dtypes.complex128


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.real(np.sum(np.conj(a) * b)))


def draw(rng: np.random.Generator, av) -> np.ndarray:
    x = rng.uniform(-1, 1, av.shape)
    return (x + 1j * rng.uniform(-1, 1, av.shape) if av.dtype.kind == "c" else x).astype(av.dtype)


class Case:
    """One sample row as a graph: arguments `xs`, output `y`, a cotangent `v` and tangents `us` as further leaves."""

    def __init__(self, name: str | Callable[..., Term], row: samples.Row, dtype: np.dtype) -> None:
        rng = np.random.default_rng(7)
        arrays = samples.arrays(row, dtype, seed=3)
        self.env: dict[Term, np.ndarray] = {}
        self.xs = [self.leaf(a) for a in arrays]
        self.y = (REGISTRY[name] if isinstance(name, str) else name)(*self.xs, **row.params)
        self.wrt = [x for x in self.xs if dtypes.is_inexact(x.aval.dtype)]
        self.us = {x: self.leaf(draw(rng, x.aval)) for x in self.wrt}
        if dtypes.is_inexact(self.y.aval.dtype):
            self.v = self.leaf(draw(rng, self.y.aval))

    def leaf(self, a: np.ndarray) -> Term:
        t = leaf.leaf(len(self.env), 0, aval(a.shape, a.dtype), True)
        self.env[t] = a
        return t

    def __call__(self, *roots: Term) -> list[np.ndarray]:
        return reference.evaluate(roots, self.env)

    def difference(self, root: Term, wrt: list[Term], h: float = 1e-6) -> np.ndarray:
        """The central difference of `root` along the tangents of `wrt`."""
        def at(step: float) -> np.ndarray:
            moved = {x: self.env[x] + step * self.env[self.us[x]] for x in wrt}
            return reference.evaluate([root], {**self.env, **moved})[0]
        with np.errstate(all="ignore"):
            return (at(h) - at(-h)) / (2 * h)


CASES = [(name, i, dtype.name) for name in sorted(samples.ROWS) if REGISTRY[name].differentiable
         for i, row in enumerate(samples.ROWS[name]) for dtype in (F64, C128) if row.smooth and samples.accepts(name, row, dtype)]


@pytest.mark.parametrize(("name", "i", "dtype"), CASES)
def test_derivatives_agree_with_differences_in_both_modes_and_orders(name, i, dtype):
    check_derivatives(Case(name, samples.ROWS[name][i], np.dtype(dtype)))


def check_derivatives(case: Case) -> None:
    """Both modes against differences and each other, for the value and for its gradient."""
    y, wrt = case.y, case.wrt
    gradient = dict(zip(wrt, vjp([y], [case.v], wrt), strict=True))
    if all(g is None for g in gradient.values()):
        assert y.aval.size == 0 or not wrt
        return
    (forward,) = jvp([y], case.us)
    assert forward.aval is y.aval
    for x, g in gradient.items():
        assert g is None or g.aval is x.aval
    linked = [x for x in wrt if gradient[x] is not None]
    tangent, *gs = case(forward, *[gradient[x] for x in linked])
    moving = case.difference(y, wrt)
    np.testing.assert_allclose(tangent, moving, rtol=2e-6, atol=2e-7)                        # J u by differences
    pulled = sum(inner(g, case.env[case.us[x]]) for x, g in zip(linked, gs, strict=True))
    np.testing.assert_allclose(pulled, inner(case.env[case.v], tangent), rtol=1e-10, atol=1e-11)      # <J^H v, u> = <v, J u>

    # second order: s = <gradient, u>, its gradient by reverse over reverse and its tangent by forward over reverse
    seeds = [case.us[x] for x in linked]
    roots = [gradient[x] for x in linked]
    second = vjp(roots, seeds, wrt)
    pushed = jvp(roots, case.us)
    moved = [case.difference(r, wrt) for r in roots]
    exact = case(*[p for p in pushed if p is not None])
    exact.reverse()
    for r, p, m in zip(roots, pushed, moved, strict=True):
        np.testing.assert_allclose(exact.pop() if p is not None else np.zeros(r.aval.shape), m, rtol=5e-6, atol=1e-6)
    along = sum(inner(case.env[u], m) for u, m in zip(seeds, moved, strict=True))
    found = [(x, g) for x, g in zip(wrt, second, strict=True) if g is not None]
    values = case(*[g for _, g in found])
    pulled = sum(inner(g, case.env[case.us[x]]) for (x, _), g in zip(found, values, strict=True))
    np.testing.assert_allclose(pulled, along, rtol=5e-6, atol=2e-6)


@pytest.mark.parametrize("name", sorted(n for n in samples.ROWS if not REGISTRY[n].differentiable and samples.ROWS[n]))
def test_without_derivative_the_path_ends(name):
    for row in samples.ROWS[name][:2]:
        if not row.args or not samples.accepts(name, row, F64):
            continue
        case = Case(name, row, F64)
        assert not case.y.needs_grad
        if dtypes.is_inexact(case.y.aval.dtype):
            assert vjp([case.y], [case.v], case.wrt) == [None] * len(case.wrt)
            if case.y.aval is case.xs[0].aval:                                # still allowed on a path that has one
                total = E.add(E.mul(case.y, case.y), case.xs[0])
                assert case(*vjp([total], [case.v], case.wrt[:1]))[0].tolist() == case.env[case.v].tolist()
        assert jvp([case.y], case.us) == [None]


# ---- helpers for the hand-made examples ------------------------------------------------------------------------------

def leaves(*arrays) -> tuple[list[Term], dict[Term, np.ndarray]]:
    values = [np.asarray(a) for a in arrays]
    xs = [leaf.leaf(i, 0, aval(a.shape, a.dtype), True) for i, a in enumerate(values)]
    return xs, dict(zip(xs, values, strict=True))


def ones_grad(y: Term, *wrt: Term) -> list[Term | None]:
    return vjp([y], [like(y, 1)], wrt)


def gradients(f, *arrays) -> list[list]:
    """The gradients of sum(f(x, ...)) as lists."""
    xs, env = leaves(*arrays)
    return [g.tolist() for g in reference.evaluate(ones_grad(f(*xs), *xs), env)]


# ---- edges: the conventions ------------------------------------------------------------------------------------------

EDGES = [
    ("sqrt at 0 is infinite", E.sqrt, [[0.0, 4.0]], [[np.inf, 0.25]]),
    ("abs at 0 is 0", E.abs, [[-2.0, 0.0, -0.0, 3.0]], [[-1, 0, 0, 1]]),
    ("ties of maximum are halved", E.maximum, [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]], [[0, 0.5, 1], [1, 0.5, 0]]),
    ("ties of minimum are halved", E.minimum, [[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]], [[1, 0.5, 0], [0, 0.5, 1]]),
    ("fmax ignores NaN", E.fmax, [[np.nan, 1.0], [2.0, np.nan]], [[0, 1], [1, 0]]),
    ("x**0 is constant", E.pow, [[0.0, 2.0, -1.0], [0.0, 0.0, 0.0]], [[0, 0, 0], None]),
    ("0**y is constant", E.pow, [[0.0, 0.0], [0.0, 2.0]], [[0, 0], [0, 0]]),
    ("x**1 at 0", E.pow, [[0.0], [1.0]], [[1], [0]]),
    ("a negative base", E.pow, [[-2.0], [3.0]], [[12], None]),
    ("hypot at the origin", E.hypot, [[0.0, 3.0], [0.0, 4.0]], [[0, 0.6], [0, 0.8]]),
    ("atan2 at the origin", E.atan2, [[0.0, 1.0], [0.0, 0.0]], [[0, 0], [0, -1]]),
    ("atan2 of tiny numbers", E.atan2, [[1e-200], [1e-200]], [[5e199], [-5e199]]),
    ("logaddexp of equal infinities", E.logaddexp, [[np.inf, -np.inf], [np.inf, -np.inf]], [[0.5, 0.5], [0.5, 0.5]]),
    ("logaddexp of -inf", E.logaddexp, [[-np.inf], [1.0]], [[0], [1]]),
    ("tanh is exact near saturation", E.tanh, [[0.0, np.inf]], [[1, 0]]),
    ("sigmoid at infinity", E.sigmoid, [[-np.inf, 0.0, np.inf]], [[0, 0.25, 0]]),
    ("remainder", E.remainder, [[7.0, -7.0], [3.0, 3.0]], [[1, 1], [-2, 3]]),
    ("fmod", E.fmod, [[7.0, -7.0], [3.0, 3.0]], [[1, 1], [-2, 2]]),
    ("copysign", E.copysign, [[-2.0, 2.0, 0.0], [1.0, -1.0, 1.0]], [[-1, -1, 0], None]),
    ("max ties share", lambda x: R.max(x, axes=(0,)), [[3.0, 1.0, 3.0, 3.0]], [[1 / 3, 0, 1 / 3, 1 / 3]]),
    ("max of NaN", lambda x: R.max(x, axes=(0,)), [[3.0, np.nan]], [[0, 0]]),
    ("prod with one zero", lambda x: R.prod(x, axes=(0,)), [[2.0, 0.0, 5.0]], [[0, 10, 0]]),
    ("prod with two zeros", lambda x: R.prod(x, axes=(0,)), [[2.0, 0.0, 0.0]], [[0, 0, 0]]),
    ("cumprod with a zero", lambda x: R.cumprod(x, axis=0, reverse=False), [[2.0, 0.0, 5.0]], [[1, 12, 0]]),
    ("cummax", lambda x: R.cummax(x, axis=0, reverse=False), [[2.0, 1.0, 5.0, 3.0]], [[2, 0, 2, 0]]),
    ("floor on a path adds nothing", lambda x: E.add(E.floor(x), x), [[1.5]], [[1]]),
    ("stop_gradient", lambda x: E.mul(E.stop_gradient(x), x), [[3.0]], [[3]]),
]


@pytest.mark.parametrize(("f", "arrays", "expected"), [row[1:] for row in EDGES], ids=[row[0] for row in EDGES])
def test_derivatives_at_edges(f, arrays, expected):
    xs, env = leaves(*arrays)
    wanted = [(x, e) for x, e in zip(xs, expected, strict=True) if e is not None]
    found = reference.evaluate(ones_grad(f(*xs), *[x for x, _ in wanted]), env)
    for g, (_, e) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-14)
    for x, e in wanted:                          # the elementwise ones are diagonal: forward mode gives the same
        if f(*xs).aval is x.aval and isinstance(f, type(E.add)):
            np.testing.assert_allclose(reference.evaluate(jvp([f(*xs)], {x: like(x, 1)}), env)[0], e, rtol=1e-14)


def test_power_with_constant_exponent_has_simple_derivatives():
    (x,), env = leaves([0.0, -3.0])
    for k, first, second in ((0, [0, 0], [0, 0]), (1, [1, 1], [0, 0]), (2, [0, -6], [2, 2]), (3, [0, 27], [0, -18])):
        (g,) = ones_grad(E.pow(x, like(x, k)), x)
        (h,) = ones_grad(g, x)
        assert reference.evaluate([g], env)[0].tolist() == first
        assert (reference.evaluate([h], env)[0].tolist() if h is not None else [0, 0]) == second


def test_second_derivative_of_a_product_with_zeros():
    (x,), env = leaves([0.0, 0.0, 3.0])
    (g,) = ones_grad(R.prod(x, axes=(0,)), x)
    rows = []
    for i in range(3):
        e = leaf.leaf(9, 0, x.aval, True)
        rows.append(reference.evaluate(vjp([g], [e], [x]), {**env, e: np.eye(3)[i]})[0].tolist())
    assert rows == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]


# ---- masks: the branch not taken is silent -----------------------------------------------------------------------------

def safe(f, x: Term, bound: float = 0.0) -> Term:
    """where(x > bound, f(x), 0)."""
    return E.where(E.gt(x, like(x, bound)), f(x), like(x, 0))


SILENT = {
    "reciprocal": (E.reciprocal, [0.0, 2.0], [0, -0.25], [0, 0.25]),
    "log": (E.log, [-1.0, 2.0], [0, 0.5], [0, -0.25]),
    "sqrt": (E.sqrt, [0.0, 4.0], [0, 0.25], [0, -1 / 32]),
    "log of sqrt of reciprocal": (lambda x: E.log(E.sqrt(E.reciprocal(x))), [0.0, 2.0], [0, -0.25], [0, 0.125]),
    "overflow": (lambda x: E.exp(E.mul(x, E.exp(E.neg(E.mul(x, like(x, 1000)))))), [-1e3, 1e3], [0, 0], [0, 0]),
    "0 * inf by neg and div": (lambda x: E.div(like(x, 1), E.neg(x)), [0.0, 2.0], [0, 0.25], [0, -0.25]),
    "through a sum and back": (lambda x: E.add(E.log(x), E.sqrt(x)), [-1.0, 1.0], [0, 1.5], [0, -1.25]),
}


@pytest.mark.parametrize("name", sorted(SILENT))
def test_gradient_of_where_ignores_the_branch_not_taken(name):
    f, at, first, second = SILENT[name]
    (x,), env = leaves(at)
    y = safe(f, x)
    (g,) = ones_grad(y, x)
    (t,) = jvp([y], {x: like(x, 1)})
    (gg,) = ones_grad(g, x)
    (tg,) = jvp([g], {x: like(x, 1)})
    (gt,) = ones_grad(t, x)
    (tt,) = jvp([t], {x: like(x, 1)})
    values = reference.evaluate([g, t, gg, tg, gt, tt], env)
    for value, expected in zip(values, [first, first, second, second, second, second], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_masks_pass_reshaping_broadcasting_summing_and_casting():
    (x, w), env = leaves([[0.0, 2.0], [0.0, 0.0]], [0.0, 1.0])

    def through(x: Term, w: Term) -> Term:
        y = M.permute(M.reshape(E.cast(E.log(x), dtype=F32), shape=(4, 1)), axes=(1, 0))
        wide = M.broadcast_to(E.cast(E.sqrt(w), dtype=F32), shape=(2, 2))
        total = E.add(M.reshape(y, shape=(2, 2)), wide)
        ok = E.gt(x, like(x, 0))
        first = E.where(ok, E.cast(total, dtype=F64), like(x, 0))
        return R.sum(first, axes=(1,))

    g, h = reference.evaluate(ones_grad(through(x, w), x, w), env)
    assert g.tolist() == [[0, 0.5], [0, 0]]
    assert h.tolist() == [0, 0.5]                 # column 0 of w is in no taken branch


def test_mask_of_a_sum_reaches_its_terms():
    (x,), env = leaves([[0.0, 0.0], [1.0, 4.0]])
    rows = R.sum(E.sqrt(x), axes=(1,))
    ok = E.gt(R.max(x, axes=(1,)), like(rows, 0))
    (g,) = ones_grad(E.where(ok, rows, like(rows, 0)), x)
    assert reference.evaluate([g], env)[0].tolist() == [[0, 0], [0.5, 0.25]]


ROWS_KEPT = {
    "max": lambda y: R.max(y, axes=(1,)), "min": lambda y: R.min(y, axes=(1,)), "prod": lambda y: R.prod(y, axes=(1,)),
    "cumsum": lambda y: R.sum(R.cumsum(y, axis=1, reverse=False), axes=(1,)),
    "cumprod": lambda y: R.sum(R.cumprod(y, axis=1, reverse=True), axes=(1,)),
    "cummax": lambda y: R.sum(R.cummax(y, axis=1, reverse=False), axes=(1,)),
    "concatenate": lambda y: R.sum(M.concatenate(y, y, axis=1), axes=(1,)),
    "gather": lambda y: I.gather(R.sum(y, axes=(1,)), iota(size=2, dtype=dtypes.int64), axes=(0,), position=0),
    "embed and slice": lambda y: R.sum(M.cut(M.embed(y, shape=(2, 4), start=(0, 2), step=(1, -1)), 1, 1, 2), axes=(1,)),
}


@pytest.mark.parametrize("name", sorted(ROWS_KEPT))
def test_mask_passes_through_reductions_scans_and_movement(name):
    (x,), env = leaves([[0.0, 0.0], [1.0, 4.0]])
    rows = ROWS_KEPT[name](E.log(x))
    ok = E.gt(R.sum(x, axes=(1,)), like(rows, 0))
    (g,) = ones_grad(E.where(ok, rows, like(rows, 0)), x)
    (h,) = ones_grad(R.sum(M.cut(rows, 0, 1, 1), axes=(0,)), x)               # the second row alone
    value, alone = reference.evaluate([g, h], env)
    assert value[0].tolist() == [0, 0]
    np.testing.assert_allclose(value[1], alone[1], rtol=1e-15)
    assert np.isfinite(value[1]).all() and value[1].any()


def test_maximum_and_max_mask_what_loses():
    (x,), env = leaves([0.0, 4.0])
    (g,) = ones_grad(E.maximum(E.sqrt(x), like(x, 1)), x)
    (h,) = ones_grad(R.max(E.sqrt(x), axes=(0,)), x)
    assert [a.tolist() for a in reference.evaluate([g, h], env)] == [[0, 0.25], [0, 0.25]]


def test_masks_join_where_a_value_is_used_twice():
    (x,), env = leaves([0.0, 1.0, 4.0, 0.0])
    s = E.sqrt(x)
    first = E.where(E.gt(x, like(x, 2)), s, like(x, 0))
    other = E.where(E.eq(x, like(x, 1)), s, like(x, 0))
    (g,) = ones_grad(E.add(first, other), x)
    (h,) = ones_grad(E.add(first, s), x)
    assert reference.evaluate([g], env)[0].tolist() == [0, 0.5, 0.25, 0]
    assert reference.evaluate([h], env)[0].tolist() == [np.inf, 0.5, 0.5, np.inf]     # the plain use counts everywhere


def test_both_branches_of_one_where_need_no_mask():
    (x,), _ = leaves([0.0, 1.0])
    ok = E.gt(x, like(x, 0))
    h = x
    for _ in range(50):
        h = E.where(ok, E.sin(h), h)
    (g,) = ones_grad(h, x)
    seen, masks, stack = set(), 0, [g]
    while stack:
        t = stack.pop()
        if t not in seen:
            seen.add(t)
            masks += t.op in (E.bit_and, E.bit_or)
            stack.extend(t.args)
    assert masks == 0


# ---- random programs -------------------------------------------------------------------------------------------------

UNARY = (E.sin, E.tanh, E.exp, E.square, E.neg, E.sigmoid, lambda x: E.log(E.add(E.square(x), like(x, 1))),
         lambda x: M.permute(x, axes=(1, 0)), lambda x: R.cumsum(x, axis=1, reverse=True), lambda x: R.expand(R.sum(x, axes=(0,)), (0,), (3, 3)),
         lambda x: E.where(E.gt(x, like(x, 0)), E.sqrt(E.add(E.abs(x), like(x, 1))), E.sin(x)), lambda x: E.stop_gradient(E.floor(x)))
BINARY = (E.add, E.sub, E.mul, lambda x, y: E.div(x, E.add(E.square(y), like(y, 1))), E.atan2, E.maximum,
          lambda x, y: E.where(E.lt(x, y), E.mul(x, x), y), lambda x, y: matmul(x, y))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_programs_have_consistent_derivatives(steps):
    rng = np.random.default_rng(11)
    (x, y, u, v, w), env = leaves(*rng.uniform(-1.5, 1.5, (5, 3, 3)))
    pool = [x, y]
    for op, i, j in steps:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        pool.append(UNARY[op](a) if op < len(UNARY) else BINARY[op - len(UNARY)](a, b))
    out = E.tanh(E.add(E.mul(pool[-1], x), y))
    g, h = vjp([out], [v], [x, y])
    (t,) = jvp([out], {x: u, y: w})
    along, gx, gy = reference.evaluate([t, g, h], env)
    np.testing.assert_allclose(inner(gx, env[u]) + inner(gy, env[w]), inner(env[v], along), rtol=1e-8, atol=1e-9)

    # forward over reverse is reverse over forward: both are the derivative of <v, J(x, y) (u, w)>
    (over,) = jvp([R.sum(E.mul(g, u), axes=(0, 1))], {x: u})
    (s,) = jvp([out], {x: u})
    (back,) = vjp([s], [v], [x])
    if over is None or back is None:
        assert over is None or reference.evaluate([over], env)[0] == 0
        return
    over, back = reference.evaluate([over, back], env)
    np.testing.assert_allclose(over, inner(back, env[u]), rtol=1e-7, atol=1e-8)


# ---- the interface ---------------------------------------------------------------------------------------------------

def test_contract_example():
    (x, y), env = leaves([1.0, 2.0], [3.0, 4.0])
    z = E.mul(E.add(x, y), x)
    assert [a.tolist() for a in reference.evaluate(ones_grad(z, z, x, y), env)] == [[1, 1], [5, 8], [1, 2]]


def test_gradients_of_intermediates_and_of_terms_that_want_none():
    (x, y), env = leaves([2.0], [3.0])
    frozen = leaf.leaf(7, 0, x.aval, False)
    s = E.mul(x, frozen)
    z = E.mul(E.exp(s), y)
    env[frozen] = np.array([0.0])
    found = reference.evaluate(ones_grad(z, s, frozen, x), env)
    assert [a.tolist() for a in found] == [[3], [6], [0]]
    constant = like(x, 5)
    assert reference.evaluate(ones_grad(E.mul(constant, x), constant), env)[0].tolist() == [2]


def test_no_path_is_none():
    (x, y, i), _ = leaves([2.0], [3.0], [1])
    assert ones_grad(x, y) == [None]
    assert ones_grad(E.cast(E.cast(x, dtype=dtypes.int64), dtype=F64), x) == [None]
    assert ones_grad(E.cast(i, dtype=F64), i) == [None]
    assert vjp([x], [None], [x]) == [None]
    assert jvp([x], {y: like(y, 1)}) == [None]


def test_several_roots_add_up():
    (x,), env = leaves([2.0])
    roots = [E.square(x), x, E.mul(x, like(x, 3))]
    assert reference.evaluate(vjp(roots, [like(x, 1)] * 3, [x]), env)[0].tolist() == [8]


def test_wrong_cotangents_are_refused():
    (x,), _ = leaves([2.0, 1.0])
    with pytest.raises(GradientError, match=r"vjp: cotangent float64\[\] of a value float64\[2\]"):
        vjp([x], [R.sum(x, axes=(0,))], [x])
    with pytest.raises(GradientError, match="jvp"):
        jvp([x], {x: E.cast(x, dtype=F32)})


def test_ones_and_zeros_leave_no_trace():
    (x, y), _ = leaves([2.0], [3.0])
    assert ones_grad(E.mul(x, y), x, y) == [y, x]
    assert ones_grad(E.add(x, y), x, y) == [like(x, 1)] * 2
    assert ones_grad(E.sub(x, y), y) == [like(x, -1)]
    assert ones_grad(R.sum(E.mul(x, y), axes=(0,)), x) == [y]
    assert ones_grad(E.add(x, x), x) == [like(x, 2)]


def test_complex_gradients_point_uphill():
    z0 = np.array([1 + 2j, -3j, 0j])
    (z,), env = leaves(z0)
    (g,) = ones_grad(E.abs(z), z)
    assert np.allclose(reference.evaluate([g], env)[0], [(1 + 2j) / np.sqrt(5), -1j, 0])
    (g,) = ones_grad(E.add(E.square(E.real(z)), E.square(E.imag(z))), z)
    assert np.allclose(reference.evaluate([g], env)[0], 2 * z0)
    (x,), env = leaves([1.0, 2.0])
    w = E.mul(E.cast(x, dtype=C128), like(E.cast(x, dtype=C128), 3 + 4j))
    (g,) = ones_grad(E.real(w), x)
    (h,) = ones_grad(E.imag(w), x)
    assert [a.tolist() for a in reference.evaluate([g, h], env)] == [[3, 3], [4, 4]]


def test_tanh_keeps_its_digits_near_saturation():
    ((g,),) = [gradients(E.tanh, [8.0])][0]
    np.testing.assert_allclose(g, 1 / np.cosh(8.0) ** 2, rtol=1e-8)


def test_long_chains_differentiate_in_both_modes():
    (x,), env = leaves([0.5])
    y = x
    for _ in range(10_000):
        y = E.mul(E.add(y, x), like(y, 0.5))
    (g,) = ones_grad(y, x)
    (t,) = jvp([y], {x: like(x, 1)})
    np.testing.assert_allclose(reference.evaluate([g, t], env), [[1.0], [1.0]], rtol=1e-12)


def test_a_value_used_many_times_gives_a_shallow_sum():
    (x,), env = leaves([2.0])
    uses = [E.mul(x, like(x, k)) for k in range(2, 1002)]
    (g,) = vjp(uses, [leaf.leaf(5, 0, x.aval, False)] * len(uses), [x])
    assert g.depth < 15
    env[leaf.leaf(5, 0, x.aval, False)] = np.array([1.0])
    assert reference.evaluate([g], env)[0].tolist() == [sum(range(2, 1002))]
