"""Every simplification is proved by sampling both sides on NumPy: magnitudes over the whole range, zeros of both signs,
infinities, NaN, and the extremes of the integers. A wrong rule must be found out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lazygrad.compiler import rules
from lazygrad.compiler.rules import FAST, LAST_BIT, RULES, Pattern, Rule, fn, lift, rule, x, y
from lazygrad.compiler.simplify import simplify
from lazygrad.ir.aval import aval
from lazygrad.prims import base as B
from lazygrad.prims import elementwise as E
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import constant, leaf

DTYPES = {"f": ("float32", "float64"), "i": ("int8", "int64"), "u": ("uint8", "uint32"), "b": ("bool",)}


def samples(dtype: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(7)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        size = np.exp(rng.uniform(np.log(float(info.tiny)), np.log(float(info.max)), 40))
        special = [0.0, -0.0, 1, -1, 2, 0.5, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, info.smallest_subnormal, info.eps]
        return np.concatenate([special, size * rng.choice([-1, 1], 40), rng.normal(size=10)]).astype(dtype)
    info = np.iinfo(dtype)
    return np.concatenate([np.array([info.min, info.max, info.min + 1, info.max - 1, 0, 1], dtype),
                           rng.integers(info.min, info.max, 40, dtype, True), np.array([2, 3, 100], dtype)])


def holes(p: Pattern) -> set[str]:
    return {p.name} if p.op == "?" else set().union(*[holes(a) for a in p.args]) if p.args else set()


def value(p: Pattern, env: dict, dtype: np.dtype):
    if p.op == "?":
        return env[p.name]
    if p.op == "#":
        return np.asarray(rules.number(p.name)).astype(bool if p.name in ("True", "False") else dtype)
    with np.errstate(all="ignore"):
        return np.asarray(B.REGISTRY[p.op].numpy(*np.broadcast_arrays(*[value(a, env, dtype) for a in p.args])))


def counterexample(r: Rule) -> str | None:
    """Values for which the two sides differ by more than the rule may change, None where none was found."""
    for name in itertools.chain.from_iterable(DTYPES[k] for k in r.kinds):
        dtype = np.dtype(name)
        names = sorted(holes(r.left) | holes(r.right))
        axes = [samples(np.dtype(bool) if n == "c" else dtype) for n in names]
        env = {n: a.ravel() for n, a in zip(names, np.meshgrid(*axes, indexing="ij"), strict=True)}
        a, b = np.broadcast_arrays(value(r.left, env, dtype), value(r.right, env, dtype), next(iter(env.values())))[:2]
        if a.dtype != b.dtype and b.ndim:
            b = b.astype(a.dtype)
        good = a == b
        if a.dtype.kind == "f":
            good = good & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
            if r.changes == LAST_BIT:
                with np.errstate(all="ignore"):
                    good |= np.abs(a - b) <= np.spacing(np.abs(b))
        if not good.all():
            k = int(np.argmin(good))
            return f"{name}: " + ", ".join(f"{n} = {v[k]}" for n, v in env.items()) + f": {a[k]} is not {b[k]}"
    return None


@pytest.mark.parametrize("r", [r for r in RULES if r.changes != FAST], ids=str)
def test_rule_holds_for_every_value(r):
    assert counterexample(r) is None


@pytest.mark.parametrize("wrong", [
    rule(x + 0.0, x, "f"), rule(x * 0, 0, "f"), rule(x - x, 0, "f"), rule(-(x - y), y - x, "f"), rule(x / x, 1.0, "f"),
    rule((x + y) - y, x, "f"), rule(fn("abs")(fn("neg")(x)), x, "i"), rule(x ** 2, x * lift(2), "i"), rule(x * y, y, "i"),
    rule(fn("sqrt")(x * x), fn("abs")(x), "f"), rule(fn("log")(fn("exp")(x)), x, "f"), rule(fn("maximum")(x, y), fn("fmax")(x, y), "f"),
], ids=str)
def test_wrong_rules_are_found_out(wrong):
    assert counterexample(wrong) is not None


@pytest.mark.parametrize("r", [r for r in RULES if r.changes == FAST], ids=str)
def test_fast_rules_hold_for_ordinary_values_only(r):
    assert counterexample(r) is not None
    ordinary = {n: np.array([0.5, 1.0, 3.0, -2.0]) for n in holes(r.left)}
    a, b = value(r.left, ordinary, np.dtype("float64")), value(r.right, ordinary, np.dtype("float64"))
    np.testing.assert_array_equal(a, np.broadcast_to(b, a.shape))


# ---- simplify ---------------------------------------------------------------------------------------------------------

f32 = np.dtype("float32")
X = leaf(0, 0, aval((2, 3), f32), True)


def simple(t, **options):
    return simplify([t], None, **options)[0]


def test_chains_of_identities_vanish():
    t = X
    for _ in range(500):
        t = E.mul(E.neg(E.neg(t)), constant(1, (2, 3), f32))
    assert simple(t) is X


def test_zero_is_added_unless_fast():
    t = E.add(X, constant(0.0, (2, 3), f32))
    assert simple(t) is t
    assert simple(t, fast_math=True) is X
    assert simple(E.add(X, constant(-0.0, (2, 3), f32))) is X


def test_constants_are_computed_ahead():
    t = E.add(E.exp(constant(0, (2, 3), f32)), constant(2, (2, 3), f32))
    assert simple(E.mul(t, X)) is E.mul(constant(3, (2, 3), f32), X)
    assert simple(M.permute(M.broadcast_to(constant(2, (), f32), shape=(2, 3)), axes=(1, 0))) is constant(2, (3, 2), f32)


def test_movements_of_movements_are_one():
    assert simple(M.reshape(M.reshape(X, shape=(6,)), shape=(2, 3))) is X
    assert simple(M.permute(M.permute(X, axes=(1, 0)), axes=(1, 0))) is X
    assert simple(M.broadcast_to(M.broadcast_to(X, shape=(4, 2, 3)), shape=(5, 4, 2, 3))) is M.broadcast_to(X, shape=(5, 4, 2, 3))
    assert simple(R.sum(X, axes=())) is X


@pytest.mark.parametrize("inner,outer,gone", [("float64", "float32", True), ("float16", "float32", False), ("int32", "float32", False)])
def test_casts_of_casts(inner, outer, gone):
    t = E.cast(E.cast(X, dtype=np.dtype(inner)), dtype=np.dtype(outer))
    assert simple(t) is (X if gone else t)


def test_casts_that_round_stay():
    i = leaf(1, 0, aval((2,), np.dtype("int64")), True)
    t = E.cast(E.cast(i, dtype=np.dtype("float64")), dtype=np.dtype("int64"))
    assert simple(t) is t
