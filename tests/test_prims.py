"""Values of every primitive: type rule and NumPy meaning agree, lowerings mean the same, special values are NumPy's.

Expected values come from NumPy, SciPy's and mpmath's functions, or from the scalar table applied to the lowering.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import samples

from lazygrad import dtypes, reference
from lazygrad.errors import AxisError, DTypeError, GraphError, ShapeError
from lazygrad.ir import scalar as S
from lazygrad.ir.aval import aval
from lazygrad.ir.term import Term
from lazygrad.prims import REGISTRY, leaf
from lazygrad.prims import elementwise as E
from lazygrad.prims import reduction as R
from lazygrad.prims.base import Decompose, Elementwise

NAMES = sorted(set(REGISTRY) - set(samples.CONTROL))
F64 = dtypes.float64


def leaves(*arrays: np.ndarray) -> list[Term]:
    return [leaf.leaf(i, 0, aval(a.shape, a.dtype), True) for i, a in enumerate(arrays)]


def run(prim, *arrays: np.ndarray, **params) -> np.ndarray:
    """The value of one primitive through the reference executor."""
    xs = leaves(*arrays)
    return reference.evaluate([prim(*xs, **params)], dict(zip(xs, arrays, strict=True)))[0]


def test_every_primitive_has_samples():
    assert set(samples.ROWS) | set(samples.CONTROL) == set(REGISTRY)
    assert [n for n in NAMES if not samples.ROWS[n]] == ["source"]


@pytest.mark.parametrize("name", [n for n in NAMES if n != "source"])
def test_numpy_meaning_has_the_inferred_type(name):
    prim = REGISTRY[name]
    taken = 0
    for dtype in dtypes.DTYPES:
        for row in samples.ROWS[name]:
            if not samples.accepts(name, row, dtype):
                continue
            taken += 1
            arrays = samples.arrays(row, dtype)
            out = prim.infer(*[aval(a.shape, a.dtype) for a in arrays], **row.params)
            with np.errstate(all="ignore"):
                value = np.asarray(prim.numpy(*arrays, **row.params))
            assert (value.shape, value.dtype) == (out.shape, out.dtype)
            assert np.array_equal(run(prim, *arrays, **row.params), value, equal_nan=value.dtype.kind in "fc")
    assert taken


# ---- special values --------------------------------------------------------------------------------------------------

def interpret(s: S.Scalar, env: dict[S.Scalar, np.ndarray]) -> np.ndarray:
    """A scalar expression on arrays, by the scalar table; parts that are shared are computed once."""
    if s not in env:
        if s.op is S.CONST:
            env[s] = np.asarray(S.value_of(s), s.dtype)
        else:
            xs = [interpret(a, env) for a in s.args]
            env[s] = xs[0].astype(s.dtype) if s.op is S.CAST else np.asarray(s.op.numpy(*xs)).astype(s.dtype)
    return env[s]


POINTWISE = [n for n in NAMES if isinstance(REGISTRY[n].lowering, Elementwise)]


@pytest.mark.parametrize("name", POINTWISE)
def test_lowering_means_what_numpy_means_on_special_values(name):
    prim = REGISTRY[name]
    arity = len(samples.ROWS[name][0].args)
    taken = 0
    for dtype in (dtypes.float32, F64, dtypes.int32, dtypes.uint8, dtypes.bool_, *([dtypes.uint32] if name == "threefry" else [])):
        params = samples.ROWS[name][0].params
        arrays = samples.edges(arity, dtype)
        if name == "where":
            arrays[0] = arrays[0].astype(bool)
        try:
            out = prim.infer(*[aval(a.shape, a.dtype) for a in arrays], **params)
        except DTypeError:
            continue
        taken += 1
        S.reset()
        names = [S.load(i, S.var("i", 1000), a.dtype) for i, a in enumerate(arrays)]
        build = prim.lowering.build
        expression = S.apply(build, *names) if isinstance(build, str) else build(*names, **params)
        with np.errstate(all="ignore"):
            meant = prim.numpy(*arrays, **params)
            lowered = interpret(expression, dict(zip(names, arrays, strict=True)))
        assert expression.dtype == out.dtype == lowered.dtype
        if out.dtype.kind == "f":
            np.testing.assert_allclose(lowered, meant, rtol=4 * np.finfo(out.dtype).eps, atol=0)
            zero = meant == 0
            assert np.array_equal(np.signbit(lowered[zero]), np.signbit(meant[zero]))
        else:
            assert np.array_equal(lowered, meant)
    assert taken


PLAIN = {
    "mul": np.multiply, "div": np.divide, "floor_divide": np.floor_divide, "remainder": np.remainder, "fmod": np.fmod, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin, "atan2": np.arctan2, "hypot": np.hypot,
    "logaddexp": np.logaddexp, "copysign": np.copysign, "nextafter": np.nextafter, "gt": np.greater, "ge": np.greater_equal,
    "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": lambda x: 1 / x, "square": lambda x: x * x, "sign": np.sign, "rint": np.rint,
}


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_special_values_are_those_of_numpy(name):
    arrays = samples.edges(len(samples.ROWS[name][0].args), F64)
    with np.errstate(all="ignore"):
        expected = PLAIN[name](*arrays)
    assert np.array_equal(run(REGISTRY[name], *arrays), expected, equal_nan=expected.dtype.kind == "f")


EXACT = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "erf": mpmath.erf, "erfc": mpmath.erfc, "ndtr": mpmath.ncdf, "lgamma": lambda x: mpmath.re(mpmath.loggamma(x)),
    "digamma": mpmath.digamma, "exp2": lambda x: mpmath.mpf(2) ** x, "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "expm1": mpmath.expm1, "log1p": lambda x: mpmath.log(1 + x),
}


@pytest.mark.parametrize("name", sorted(EXACT))
def test_functions_agree_with_multiprecision(name):
    x = np.array([1e-9, 0.1, 0.5, 1.25, 2.0, 3.7, 12.0, 25.0] + ([-0.3, -1.5, -6.5] if name != "log1p" else [-0.3]))
    with mpmath.workdps(40):
        expected = [float(EXACT[name](mpmath.mpf(v))) for v in x]
    np.testing.assert_allclose(run(REGISTRY[name], x), expected, rtol=2e-13)


def test_polygamma_agrees_with_multiprecision():
    x = np.array([0.2, 1.0, 3.5, 10.0])
    for n in (1, 2, 3):
        expected = [float(mpmath.psi(n, v)) for v in x]
        np.testing.assert_allclose(run(E.polygamma, x, n=n), expected, rtol=1e-13)
    (t,) = leaves(x)
    assert E.polygamma1(t) is E.polygamma(t, n=1)


def test_integer_division_by_zero_is_zero():
    x, zero = np.array([5, -5, 0]), np.zeros(3, np.int64)
    for prim in (E.floor_divide, E.remainder, E.fmod):
        assert run(prim, x, zero).tolist() == [0, 0, 0]


def test_integer_to_a_negative_power_is_the_truncated_quotient():
    x, y = np.array([1, -1, -1, 2, 0, 3]), np.array([-2, -1, -2, -1, -1, 2])
    assert run(E.pow, x, y).tolist() == [1, -1, 1, 0, 0, 9]


def test_shift_beyond_the_width_gives_zero_or_the_sign():
    x, n = np.array([1, -1, -8], np.int8), np.array([8, 9, 100], np.int8)
    assert run(E.shl, x, n).tolist() == [0, 0, 0]
    assert run(E.shr, x, n).tolist() == [0, -1, -1]


def test_cast_follows_numpy():
    x = np.array([0.0, -1.9, 2.9, 1e10, np.nan])
    assert run(E.cast, x, dtype=dtypes.bool_).tolist() == x.astype(bool).tolist()
    assert run(E.cast, x[:3], dtype=dtypes.int8).tolist() == [0, -1, 2]
    assert run(E.cast, np.array([1 + 2j, 3j]), dtype=F64).tolist() == [1.0, 0.0]          # the imaginary part goes silently
    assert run(E.cast, np.array([1 + 2j, 3j, 0j]), dtype=dtypes.bool_).tolist() == [True, True, False]


# ---- reductions ------------------------------------------------------------------------------------------------------

NAN_ROWS = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, -1.0, 2.0, -1.0], [-0.0, 0.0, -0.0, 0.0], [np.inf, 1.0, -np.inf, np.inf]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_positions_of_extremes_by_their_decomposition(dtype):
    with np.errstate(invalid="ignore"):
        x = np.nan_to_num(NAN_ROWS, nan=5).astype(dtype) if dtype not in ("float32", "float64") else NAN_ROWS.astype(dtype)
    for prim, numpy in ((R.argmax, np.argmax), (R.argmin, np.argmin)):
        for axis in (0, 1):
            (t,) = leaves(x)
            out = prim(t, axis=axis)
            assert isinstance(prim.lowering, Decompose)
            simple = prim.lowering.rule(out, t, axis=axis)
            assert simple.aval is out.aval
            direct, decomposed = reference.evaluate([out, simple], {t: x})
            assert direct.tolist() == decomposed.tolist() == numpy(x, axis=axis).tolist()


def test_nan_wins_in_max_and_min():
    assert np.array_equal(run(R.max, NAN_ROWS, axes=(1,)), [np.nan, 2, 0, np.inf], equal_nan=True)
    assert np.array_equal(run(R.min, NAN_ROWS, axes=(1,)), [np.nan, -1, 0, -np.inf], equal_nan=True)


def test_empty_reductions():
    none = np.zeros((0, 3))
    assert run(R.sum, none, axes=(0,)).tolist() == [0, 0, 0]
    assert run(R.prod, none, axes=(0,)).tolist() == [1, 1, 1]
    assert run(R.all, none.astype(bool), axes=(0, 1)).tolist() is True
    assert run(R.any, none.astype(bool), axes=(0, 1)).tolist() is False
    assert run(R.max, none, axes=(1,)).shape == (0,)
    for build in (lambda x: R.max(x, axes=(0,)), lambda x: R.argmin(x, axis=0)):
        with pytest.raises(ShapeError):
            build(leaves(none)[0])


def test_scans_in_both_directions():
    x = np.array([[3.0, 1.0, 2.0], [0.5, np.nan, 4.0]])
    for prim, f in ((R.cumsum, np.cumsum), (R.cumprod, np.cumprod), (R.cummax, np.maximum.accumulate), (R.cummin, np.minimum.accumulate)):
        assert np.array_equal(run(prim, x, axis=1, reverse=False), f(x, axis=1), equal_nan=True)
        assert np.array_equal(run(prim, x, axis=1, reverse=True), f(x[:, ::-1], axis=1)[:, ::-1], equal_nan=True)


# ---- errors ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("build", "error", "text"), [
    (lambda x, i: E.sin(i), DTypeError, "sin: int64[2]: int64 is not a floating-point or complex dtype; cast the argument first"),
    (lambda x, i: E.add(x, i), DTypeError, "add: float64[2], int64[2]: the dtypes differ; cast the arguments to one dtype first"),
    (lambda x, i: E.mul(x, R.sum(x, axes=(0,))), ShapeError, "mul: float64[2], float64[]: the shapes differ; broadcast the arguments first"),
    (lambda x, i: E.bit_and(x, x), DTypeError, "bit_and: float64[2]: float64 is not a signed or unsigned or bool dtype; cast the argument first"),
    (lambda x, i: E.where(x, x, x), DTypeError, "where: float64[2], float64[2], float64[2]: the condition is float64, not bool; compare it: where(c != 0, x, y)"),
    (lambda x, i: E.where(E.eq(x, x), x, i), DTypeError, "where: bool[2], float64[2], int64[2]: the branches have two dtypes; cast them to one dtype first"),
    (lambda x, i: E.real(x), DTypeError, "real: float64[2]: float64 is not a complex dtype; cast the argument first"),
    (lambda x, i: R.sum(x, axes=(1,)), AxisError, "sum: axis 1: (2,) has 1 axes"),
    (lambda x, i: R.any(x, axes=(0,)), DTypeError, "any: float64[2]: float64 is not a bool dtype; cast the argument first"),
    (lambda x, i: R.cumsum(x, axis=-1, reverse=False), AxisError, "cumsum: axis -1: (2,) has 1 axes"),
])
def test_wrong_arguments_are_refused(build, error, text):
    with pytest.raises(error) as caught:
        build(*leaves(np.zeros(2), np.zeros(2, np.int64)))
    assert str(caught.value) == text


# ---- the reference executor ------------------------------------------------------------------------------------------

def test_reference_hands_out_arrays_of_its_own():
    x = np.array([1.0, 2.0])
    (t,) = leaves(x)
    roots = [t, E.stop_gradient(t), leaf.like(t, 3.0), leaf.like(t, 3.0), E.neg(t)]
    first = reference.evaluate(roots, {t: x})
    for a in first:
        a += 10                                   # writable, and nobody else's
    assert x.tolist() == [1, 2]
    assert [a.tolist() for a in first] == [[11, 12], [11, 12], [13, 13], [13, 13], [9, 8]]
    f = reference.program(roots[2:3], [t])
    f([x])[0][:] = 0
    assert f([x])[0].tolist() == [3, 3]


def test_reference_takes_intermediates_as_sources():
    x = np.array([1.0, 2.0])
    (t,) = leaves(x)
    y = E.exp(t)
    assert reference.evaluate([E.add(y, y)], {y: x})[0].tolist() == [2, 4]
    with pytest.raises(GraphError):
        reference.evaluate([E.add(y, t)], {y: x})


def test_reference_runs_long_chains_and_frees_what_is_dead():
    (t,) = leaves(np.zeros(3))
    y = t
    for _ in range(30_000):
        y = E.add(y, t)
    assert reference.evaluate([y], {t: np.ones(3)})[0].tolist() == [30_001.0] * 3
    import tracemalloc
    big = np.ones(100_000)
    (t,) = leaves(big)
    y = t
    for _ in range(100):
        y = E.add(y, t)
    f = reference.program([y], [t])
    tracemalloc.start()
    f([big])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * big.nbytes
