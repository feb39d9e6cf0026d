"""The functions users call, against NumPy and SciPy: values, shapes, dtypes, and derivatives of the composite ones."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad.functions import FUNCTIONS

F = SimpleNamespace(**FUNCTIONS)
rng = np.random.default_rng(7)


def tensor(x, **kw):
    return lg.tensor(np.asarray(x), **kw)


def check(got, want, tol=1e-12, dtype=True):
    want = np.asarray(want)
    assert got.shape == want.shape
    if dtype:
        assert got.dtype == want.dtype
    np.testing.assert_allclose(np.asarray(got), want, rtol=tol, atol=tol)


def check_gradient(f, *arrays, eps=1e-6, tol=1e-6):
    """Reverse mode of sum(f * w) against central differences, in float64."""
    xs = [tensor(np.array(a, np.float64)) for a in arrays]
    z = f(*xs)
    w = np.random.default_rng(3).normal(size=z.shape)
    z.backward(w)
    for k, a in enumerate(arrays):
        a = np.array(a, np.float64)
        slope = np.zeros_like(a)
        for i in np.ndindex(a.shape):
            ends = []
            for s in (eps, -eps):
                moved = a.copy()
                moved[i] += s
                ends.append((np.asarray(f(*[tensor(moved if j == k else np.array(b, np.float64)) for j, b in enumerate(arrays)])) * w).sum())
            slope[i] = (ends[0] - ends[1]) / (2 * eps)
        np.testing.assert_allclose(np.asarray(xs[k].grad), slope, rtol=tol, atol=tol)


A = rng.normal(size=(3, 4))
POSITIVE = rng.uniform(0.2, 3, size=(3, 4))
UNIT = rng.uniform(-0.9, 0.9, size=(3, 4))

# ---- elementwise ----------------------------------------------------------------------------------------------------

UNARY = {
    "negative": (np.negative, A), "abs": (np.abs, A), "sign": (np.sign, A), "floor": (np.floor, A * 3), "ceil": (np.ceil, A * 3),
    "trunc": (np.trunc, A * 3), "rint": (np.rint, A * 3), "sqrt": (np.sqrt, POSITIVE), "rsqrt": (lambda x: 1 / np.sqrt(x), POSITIVE),
    "cbrt": (np.cbrt, A), "reciprocal": (np.reciprocal, POSITIVE), "square": (np.square, A), "exp": (np.exp, A), "exp2": (np.exp2, A),
    "expm1": (np.expm1, A), "log": (np.log, POSITIVE), "log2": (np.log2, POSITIVE), "log10": (np.log10, POSITIVE), "log1p": (np.log1p, POSITIVE),
    "sin": (np.sin, A), "cos": (np.cos, A), "tan": (np.tan, UNIT), "asin": (np.arcsin, UNIT), "acos": (np.arccos, UNIT), "atan": (np.arctan, A),
    "sinh": (np.sinh, A), "cosh": (np.cosh, A), "tanh": (np.tanh, A), "asinh": (np.arcsinh, A), "acosh": (np.arccosh, POSITIVE + 1),
    "atanh": (np.arctanh, UNIT), "sigmoid": (scipy.special.expit, A), "erf": (scipy.special.erf, A), "erfc": (scipy.special.erfc, A),
    "lgamma": (scipy.special.gammaln, POSITIVE), "digamma": (scipy.special.digamma, POSITIVE), "logical_not": (np.logical_not, np.array([0.0, 2.0])),
    "isnan": (np.isnan, np.array([np.nan, np.inf, 1])), "isinf": (np.isinf, np.array([np.nan, -np.inf, 1])),
    "isfinite": (np.isfinite, np.array([np.nan, np.inf, 1])), "signbit": (np.signbit, np.array([-0.0, 0.0, -1])),
    "deg2rad": (np.deg2rad, A), "rad2deg": (np.rad2deg, A), "sinc": (np.sinc, np.array([-1.5, 0, 0.3])), "logit": (scipy.special.logit, (UNIT + 1) / 2),
    "relu": (lambda x: np.maximum(x, 0), A), "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), A), "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), A),
    "softplus": (lambda x: np.log1p(np.exp(x)), A), "silu": (lambda x: x * scipy.special.expit(x), A),
    "gelu": (lambda x: x * 0.5 * (1 + scipy.special.erf(x / np.sqrt(2))), A), "log_sigmoid": (lambda x: np.log(scipy.special.expit(x)), A),
    "round": (np.round, A * 10), "nan_to_num": (np.nan_to_num, np.array([np.nan, np.inf, -np.inf, 1.5])), "imag": (np.imag, A), "conj": (np.conj, A),
}
ROUGH = {"sign", "floor", "ceil", "trunc", "rint", "logical_not", "isnan", "isinf", "isfinite", "signbit", "round", "nan_to_num", "imag", "sinc"}


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_give_numpys_values(name):
    f, x = UNARY[name]
    check(getattr(F, name)(tensor(x)), f(x), 1e-11)


@pytest.mark.parametrize("name", sorted(set(UNARY) - ROUGH))
def test_unary_functions_have_gradients(name):
    check_gradient(getattr(F, name), UNARY[name][1][:1, :3], tol=1e-5)


@pytest.mark.parametrize("name", ["sqrt", "exp", "sin", "tanh", "sigmoid", "erf", "lgamma", "deg2rad", "gelu", "softplus", "logit"])
def test_float_functions_of_integers_are_float32(name):
    got = getattr(F, name)(tensor(np.array([1, 2], np.int16)))
    assert got.dtype == np.float32


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "rint", "round", "real", "conj"])
def test_rounding_integers_changes_nothing(name):
    check(getattr(F, name)(tensor([3, -4]) + 0), np.array([3, -4]))


BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "floor_divide": np.floor_divide, "remainder": np.remainder,
    "fmod": np.fmod, "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp, "copysign": np.copysign, "nextafter": np.nextafter,
    "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin, "equal": np.equal, "not_equal": np.not_equal, "less": np.less,
    "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor, "xlogy": lambda x, y: scipy.special.xlogy(x, np.abs(y)), "float_power": lambda x, y: np.float_power(np.abs(x), y),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_broadcast_like_numpy(name):
    x, y = A, rng.normal(size=(4,)) + 0.1
    if name == "xlogy":
        got = F.xlogy(tensor(x), F.abs(tensor(y)))
    elif name == "float_power":
        got = F.float_power(F.abs(tensor(x)), tensor(y))
    else:
        got = getattr(F, name)(tensor(x), tensor(y))
    check(got, BINARY[name](x, y), 1e-11)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "floor_divide", "remainder", "fmod", "maximum", "minimum", "bitwise_and", "bitwise_or",
                                  "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "power", "fmax"])
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_binary_functions_of_integers(name, dtype):
    x, y = np.array([7, 100, 3, 90], dtype), np.array([2, 3, 7, 5], dtype)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    check(getattr(F, name)(tensor(x), tensor(y)), want)


def test_integer_division_by_zero_is_zero():
    check(tensor([7, -7]) // 0, np.array([0, 0]))
    check(tensor([7, -7]) % tensor([0, 0]), np.array([0, 0]))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "logical_and", "bitwise_xor", "equal", "floor_divide", "power"])
def test_functions_of_bools_follow_numpy(name):
    x, y = np.array([True, True, False]), np.array([True, True, True])
    check(getattr(F, name)(tensor(x), tensor(y)), getattr(np, name)(x, y))


def test_operators_and_reflected_operators():
    x, n = tensor(POSITIVE), POSITIVE
    for got, want in [(2 - x, 2 - n), (2 / x, 2 / n), (2 ** x, 2 ** n), (7 // x, 7 // n), (7 % x, 7 % n), (-x, -n), (+x * 1, n), (abs(x - 1), abs(n - 1)),
                      (x > 1, n > 1), (x < 1, n < 1), (x == n, np.ones_like(n, bool)), (x != 1, n != 1), (x ** 3, n ** 3), (x ** -1, n ** -1.0), (x ** 0.5, n ** 0.5),
                      ((x > 1) & (x < 2), (n > 1) & (n < 2)), (~(x > 1), ~(n > 1)), (n - x, n - n), (n @ x.mT, n @ n.T)]:
        check(got, want)
    i = np.array([5, 12])
    for got, want in [(tensor(i) << 2, i << 2), (1 << tensor(i), 1 << i), (tensor(i) >> 1, i >> 1), (6 & tensor(i), 6 & i), (tensor(i) | 1, i | 1), (~tensor(i), ~i)]:
        check(got, want)
    for got, want in zip(divmod(tensor(i), 5), divmod(i, 5), strict=True):
        check(got, want)
    assert isinstance(hash(x), int) and len({x, x}) == 1


def test_in_place_operators_rebind():
    x = y = tensor([1.0, 2.0])
    x += 1
    assert x is not y and np.asarray(y).tolist() == [1.0, 2.0] and np.asarray(x).tolist() == [2.0, 3.0]


def test_clip_where_isclose_round_heaviside():
    x = np.array([-2.0, -0.5, np.nan, 0.5, 2.0])
    check(F.clip(tensor(x), -1, 1), np.clip(x, -1, 1))
    check(F.clip(tensor(x), None, 0.0), np.clip(x, None, 0.0))
    check(F.clip(tensor(x), tensor(np.array([0.0])), None), np.clip(x, 0.0, None))
    check(F.clip(tensor(x), tensor(np.full(5, np.nan)), None), np.full(5, np.nan))
    check(F.where(tensor(x > 0), tensor(x), 0.0), np.where(x > 0, x, 0.0))
    check(F.where(tensor(np.array([[True], [False]])), tensor([1, 2]), tensor(np.array([0.5, 1.5]))), np.array([[1, 2], [0.5, 1.5]]))
    y = np.array([1.0, np.inf, -np.inf, np.nan, 1 + 1e-9])
    z = np.array([1.1, np.inf, np.inf, np.nan, 1.0])
    check(F.isclose(tensor(y), tensor(z)), np.isclose(y, z))
    check(F.isclose(tensor(y), tensor(z), equal_nan=True), np.isclose(y, z, equal_nan=True))
    check(F.round(tensor(A * 100), 1), np.round(A * 100, 1))
    check(F.round(tensor(A * 100), -1), np.round(A * 100, -1))
    check(F.round(tensor([123, 155]), -1), np.round(np.array([123, 155]), -1))
    check(F.heaviside(tensor(x), 0.5), np.heaviside(x, 0.5))
    check(F.heaviside(tensor(np.zeros(2)), 0.5), np.heaviside(np.zeros(2), 0.5))
    check(F.xlogy(tensor(np.array([0.0, 0.0, 2.0])), tensor(np.array([0.0, np.nan, 3.0]))), scipy.special.xlogy([0.0, 0.0, 2.0], [0.0, np.nan, 3.0]))
    check(F.gelu(tensor(A), "tanh"), 0.5 * A * (1 + np.tanh(np.sqrt(2 / np.pi) * (A + 0.044715 * A**3))))
    check(F.lerp(tensor(A), 2.0, 0.25), A + 0.25 * (2 - A))


def test_gradients_at_the_edges():
    x = tensor([0.0, -1.0, 2.0])
    F.relu(x).sum().backward()
    assert np.asarray(x.grad).tolist() == [0.0, 0.0, 1.0]
    x = tensor([0.0, 1.0])
    F.clip(x, 0, 1).sum().backward()
    assert np.asarray(x.grad).tolist() == [1.0, 1.0]
    x = tensor([0.0, 0.0])
    F.norm(x).backward()
    assert np.asarray(x.grad).tolist() == [0.0, 0.0]
    x = tensor([-np.inf, -np.inf])
    F.logsumexp(x).backward()
    assert np.asarray(x.grad).tolist() == [0.0, 0.0]
    x = tensor([0.0, 1.0])
    F.sinc(x).sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), [0.0, -1.0], atol=1e-6)
    x = tensor([0.0, -1.0])
    F.where(x > -0.5, 1.0, F.log(x)).sum().backward()
    assert np.asarray(x.grad)[0] == 0.0


# ---- reductions -----------------------------------------------------------------------------------------------------

B = rng.normal(size=(2, 3, 4))
AXES = [None, 0, -1, (0, 2), (-1, 0), ()]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "count_nonzero"])
def test_reductions_over_axes(name, axis, keepdims):
    want = getattr(np, name)(B, axis=axis, keepdims=keepdims)
    check(getattr(F, name)(tensor(B), axis=axis, keepdims=keepdims), want, 1e-10)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin", "median"])
def test_positions_and_medians(name, axis, keepdims):
    check(getattr(F, name)(tensor(B), axis=axis, keepdims=keepdims), getattr(np, name)(B, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("dtype,wide", [("bool", "int64"), ("int8", "int64"), ("uint8", "uint64"), ("int64", "int64"), ("float16", "float16"), ("float32", "float32")])
def test_sums_and_products_have_array_api_dtypes(dtype, wide):
    x = np.ones((2, 60), dtype)
    for name in ("sum", "prod", "cumsum", "cumprod"):
        got = getattr(F, name)(tensor(x), axis=1)
        check(got, getattr(np, name)(x, axis=1, dtype=wide), 1e-3)
    assert F.sum(tensor(x), dtype="float64").dtype == np.float64


def test_reductions_of_nothing():
    x = tensor(np.zeros((0, 3)))
    check(x.sum(axis=0), np.zeros(3))
    check(x.prod(axis=0), np.ones(3))
    check(x.any(axis=0), np.zeros(3, bool))
    check(x.all(), np.True_)
    check(x.max(axis=1), np.zeros(0))
    assert np.isnan(np.asarray(x.mean())).all()


def test_var_corrections():
    check(F.var(tensor(B), axis=1, correction=1), B.var(axis=1, ddof=1))
    check(F.std(tensor(B), ddof=2), B.std(ddof=2))


@pytest.mark.parametrize("axis", [None, 0, (0, 2)])
def test_logsumexp_softmax_norm(axis):
    check(F.logsumexp(tensor(B * 100), axis=axis), scipy.special.logsumexp(B * 100, axis=axis))
    check(F.logsumexp(tensor(B), axis=axis, keepdims=True), scipy.special.logsumexp(B, axis=axis, keepdims=True))
    check(F.softmax(tensor(B * 100), axis=axis), scipy.special.softmax(B * 100, axis=axis))
    check(F.log_softmax(tensor(B * 100), axis=axis), scipy.special.log_softmax(B * 100, axis=axis))
    for order in (1, 2, 3, np.inf, -np.inf, 0):
        want = {np.inf: np.abs(B).max(axis=axis), -np.inf: np.abs(B).min(axis=axis), 0: np.ones_like(B).sum(axis=axis)}.get(order)
        want = (np.abs(B) ** order).sum(axis=axis) ** (1 / order) if want is None else want
        check(F.norm(tensor(B), axis=axis, ord=order), want)


def test_logsumexp_of_infinities():
    inf = np.inf
    x = np.array([[-inf, -inf], [inf, 0], [inf, inf], [-inf, 1.0]])
    check(F.logsumexp(tensor(x), axis=1), np.array([-inf, inf, inf, 1.0]))


def test_running_sums_and_differences():
    check(F.cumsum(tensor(B), axis=1), B.cumsum(axis=1))
    check(F.cumsum(tensor(B)), B.cumsum())
    check(F.cumprod(tensor(B), axis=-1), B.cumprod(axis=-1))
    check(F.cumsum(tensor(B), axis=1, reverse=True), np.flip(np.flip(B, 1).cumsum(axis=1), 1))
    check(F.cumulative_sum(tensor(B), axis=2, include_initial=True), np.cumulative_sum(B, axis=2, include_initial=True))
    check(F.cumulative_prod(tensor(B), axis=0, include_initial=True), np.cumulative_prod(B, axis=0, include_initial=True))
    for n in (0, 1, 2, 5):
        check(F.diff(tensor(B), n), np.diff(B, n))
    check(F.diff(tensor(B), axis=0, prepend=0.0, append=tensor(B)), np.diff(B, axis=0, prepend=0.0, append=B))
    check(F.diff(tensor([True, False, False])), np.diff(np.array([True, False, False])))


@pytest.mark.parametrize("f", [
    lambda x: F.var(x, axis=1), lambda x: F.std(x), lambda x: F.logsumexp(x, axis=1), lambda x: F.softmax(x, axis=0), lambda x: F.log_softmax(x),
    lambda x: F.norm(x, axis=1), lambda x: F.norm(x, ord=3), lambda x: F.norm(x, ord=1), lambda x: F.norm(x, ord=np.inf), lambda x: F.median(x, axis=1),
    lambda x: F.mean(x, axis=0, keepdims=True), lambda x: F.prod(x, axis=1), lambda x: F.cumprod(x, axis=1), lambda x: F.diff(x, 2), lambda x: x.max(axis=0),
    lambda x: F.cumulative_sum(x, axis=0, include_initial=True),
], ids=range(16))
def test_gradients_of_reductions(f):
    check_gradient(f, A)


# ---- movement -------------------------------------------------------------------------------------------------------

MOVES = {
    "reshape": (lambda n, x: n.reshape(x, (4, -1)), B), "ravel": (lambda n, x: n.ravel(x), B), "transpose": (lambda n, x: n.transpose(x), B),
    "permute": (lambda n, x: n.transpose(x, (2, 0, 1)), B), "matrix_transpose": (lambda n, x: n.matrix_transpose(x), B),
    "moveaxis": (lambda n, x: n.moveaxis(x, (0, 1), (-1, 0)), B), "swapaxes": (lambda n, x: n.swapaxes(x, 0, -1), B),
    "squeeze": (lambda n, x: n.squeeze(x), B[:, :1]), "squeeze axis": (lambda n, x: n.squeeze(x, (0, -1)), B[:1, :, :1]),
    "expand_dims": (lambda n, x: n.expand_dims(x, (0, -1)), B), "broadcast_to": (lambda n, x: n.broadcast_to(x, (2, 3, 4)), A),
    "flip": (lambda n, x: n.flip(x), B), "flip axis": (lambda n, x: n.flip(x, (0, -1)), B), "roll": (lambda n, x: n.roll(x, 5), B),
    "roll axes": (lambda n, x: n.roll(x, (1, -2), (0, 2)), B), "roll same": (lambda n, x: n.roll(x, (1, 1), 2), B), "tile": (lambda n, x: n.tile(x, (2, 3)), B),
    "tile more": (lambda n, x: n.tile(x, (2, 1, 1, 2)), B), "repeat": (lambda n, x: n.repeat(x, 3), B), "repeat axis": (lambda n, x: n.repeat(x, 2, 1), B),
    "repeat counts": (lambda n, x: n.repeat(x, (1, 0, 3), 1), B), "pad": (lambda n, x: n.pad(x, ((1, 0), (0, 2), (3, 3))), B),
    "pad value": (lambda n, x: n.pad(x, 1, constant_values=2.5), B), "pad pair": (lambda n, x: n.pad(x, (1, 2)), A),
    "tril": (lambda n, x: n.tril(x), B), "tril 1": (lambda n, x: n.tril(x, 1), B), "triu": (lambda n, x: n.triu(x, -1), B), "triu far": (lambda n, x: n.triu(x, 9), B),
    "diagonal": (lambda n, x: n.diagonal(x), B), "diagonal off": (lambda n, x: n.diagonal(x, 1, 2, 0), B), "diagonal none": (lambda n, x: n.diagonal(x, -7), A),
    "diag": (lambda n, x: n.diag(x, -1), A), "diag vector": (lambda n, x: n.diag(x, 2), A[0]), "diag below": (lambda n, x: n.diag(x, -1), A[0]),
    "trace": (lambda n, x: n.trace(x, 1), A), "atleast_1d": (lambda n, x: n.atleast_1d(x), A[0, 0]), "atleast_2d": (lambda n, x: n.atleast_2d(x), A[0]),
    "concatenate": (lambda n, x: n.concatenate([x, x * 2], -1), A), "concatenate flat": (lambda n, x: n.concatenate([x, x[0]], None), A),
    "stack": (lambda n, x: n.stack([x, x * 2, x], -1), A), "hstack": (lambda n, x: n.hstack([x, x]), A), "hstack 1": (lambda n, x: n.hstack([x, x]), A[0]),
    "vstack": (lambda n, x: n.vstack([x, x]), A[0]),
}


@pytest.mark.parametrize("name", MOVES)
def test_movement_gives_numpys_values(name):
    f, x = MOVES[name]
    check(f(F, tensor(x)), f(np, x))


@pytest.mark.parametrize("name", ["reshape", "permute", "moveaxis", "flip", "roll axes", "tile", "repeat counts", "pad value", "tril", "diagonal off", "diag below", "stack",
                                  "concatenate", "trace"])
def test_movement_has_gradients(name):
    f, x = MOVES[name]
    check_gradient(lambda t: f(F, t), x)


@pytest.mark.parametrize("sections", [2, (1, 3), (3, 1), (1, 1, 9), (-1,)])
def test_split(sections):
    x = np.arange(12.0).reshape(2, 6)
    got, want = F.split(tensor(x), sections, axis=1), np.split(x, sections, axis=1)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        check(g, w)


def test_unstack_broadcast_arrays_flatten():
    for g, w in zip(F.unstack(tensor(B), axis=1), np.unstack(B, axis=1), strict=True):
        check(g, w)
    for g, w in zip(F.broadcast_arrays(tensor(A), tensor(B[:, :1])), np.broadcast_arrays(A, B[:, :1]), strict=True):
        check(g, w)
    check(F.flatten(tensor(B), 1), B.reshape(2, 12))
    check(tensor(B).reshape(6, 4), B.reshape(6, 4))
    check(tensor(B[:, :1]).expand(-1, 3, -1), np.broadcast_to(B[:, :1], (2, 3, 4)))
    check(F.concatenate([tensor([1]), tensor(np.array([0.5])), tensor([True])]), np.array([1, 0.5, 1]))


# ---- creation -------------------------------------------------------------------------------------------------------

def test_creation():
    check(F.zeros((2, 3)), np.zeros((2, 3), np.float32))
    check(F.ones(3, dtype="int8"), np.ones(3, np.int8))
    check(F.full((2,), 7), np.full((2,), 7))
    check(F.full((2,), True), np.full((2,), True))
    check(F.full_like(tensor([1.5]), 2), np.full(1, 2.0))
    check(F.zeros_like(tensor([1, 2]), dtype="float32"), np.zeros(2, np.float32))
    for args in [(5,), (2, 9, 3), (9, 2, -3), (2, 2), (5, 1)]:
        check(F.arange(*args), np.arange(*args))
    check(F.arange(0, 1, 0.1, dtype="float64"), np.arange(0, 1, 0.1))
    check(F.arange(300, dtype="float16"), np.arange(300, dtype="float16"))
    for args in [(0, 1, 7), (5, -5, 4), (1, 2, 1), (1, 2, 0)]:
        check(F.linspace(*args, dtype="float64"), np.linspace(*args))
        check(F.linspace(*args, endpoint=False, dtype="float64"), np.linspace(*args, endpoint=False))
    for args in [(3,), (2, 4), (3, 3, 1), (3, 4, -2), (0,)]:
        check(F.eye(*args), np.eye(*args, dtype=np.float32))
    check(F.identity(2), np.identity(2, np.float32))
    for order in ("xy", "ij"):
        for g, w in zip(F.meshgrid(tensor([1, 2]), tensor([3, 4, 5]), tensor([6]), indexing=order), np.meshgrid([1, 2], [3, 4, 5], [6], indexing=order), strict=True):
            check(g, w)


# ---- linear algebra ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("s,t", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)),
                                 ((1, 5, 2, 3), (6, 1, 3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((0, 3), (3, 4)), ((2, 0), (0, 4))])
def test_matmul_shapes(s, t):
    x, y = rng.normal(size=s), rng.normal(size=t)
    check(tensor(x) @ tensor(y), x @ y)


def test_matmul_of_integers_and_mixed_dtypes():
    x, y = np.arange(6).reshape(2, 3), np.arange(3.0)
    check(tensor(x) @ tensor(y), x @ y)
    check(tensor(x) @ tensor(x).mT, x @ x.T)
    check(x @ tensor(y), x @ y)


def test_products():
    check(F.tensordot(tensor(B), tensor(B), ((0, 2), (0, 2))), np.tensordot(B, B, ((0, 2), (0, 2))))
    check(F.tensordot(tensor(A), tensor(B[0].T), 1), np.tensordot(A, B[0].T, 1))
    check(F.tensordot(tensor(A), tensor(A), 0), np.tensordot(A, A, 0))
    for s, t in [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((), (3,))]:
        x, y = rng.normal(size=s), rng.normal(size=t)
        check(F.dot(tensor(x), tensor(y)), np.dot(x, y))
    check(F.vecdot(tensor(B), tensor(A)), np.vecdot(B, A))
    check(F.vecdot(tensor(B), tensor(B), axis=1), np.vecdot(B, B, axis=1))
    check(F.inner(tensor(A), tensor(B)), np.inner(A, B))
    check(F.outer(tensor(A), tensor([1.0, 2.0])), np.outer(A, [1.0, 2.0]))
    check(F.kron(tensor(A), tensor(B)), np.kron(A, B))


EINSUMS = [("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]), ("ba", [(2, 3)]),
           ("i,i", [(3,), (3,)]), ("i,j", [(2,), (3,)]), ("ij,ij->ij", [(2, 3), (2, 3)]), ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]), ("...ij,...jk->...ik", [(5, 2, 3), (6, 5, 3, 4)]),
           ("...ij,jk", [(5, 2, 3), (3, 4)]), ("ijk,jil->kl", [(2, 3, 4), (3, 2, 5)]), ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 2)]), ("iji->j", [(3, 2, 3)]),
           ("a,ab,abc->abc", [(2,), (2, 3), (2, 3, 4)]), ("ij,kj,lj->ikl", [(2, 3), (4, 3), (5, 3)]), ("i...->...", [(2, 3, 4)]), ("...,...", [(3,), ()]), (",i->i", [(), (3,)]),
           ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ij,jk->", [(2, 3), (3, 4)]), ("ij,ij->i", [(2, 1), (2, 3)]), ("ij,kl->jl", [(2, 3), (4, 5)]), ("iij,jkk->ik", [(2, 2, 3), (3, 4, 4)])]


@pytest.mark.parametrize("subscripts,shapes", EINSUMS)
def test_einsum(subscripts, shapes):
    xs = [rng.normal(size=s) for s in shapes]
    check(F.einsum(subscripts, *map(tensor, xs)), np.einsum(subscripts, *xs), 1e-10)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_einsum_of_any_subscripts(data):
    sizes = dict(zip("abcd", (2, 3, 1, 4), strict=True))
    inputs = data.draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(inputs)))
    output = "".join(data.draw(st.lists(st.sampled_from(used), unique=True)) if used else [])
    xs = [rng.normal(size=[sizes[c] for c in part]) for part in inputs]
    subscripts = ",".join(inputs) + "->" + output
    check(F.einsum(subscripts, *map(tensor, xs)), np.einsum(subscripts, *xs), 1e-9)


def test_functions_of_matrices():
    m = rng.normal(size=(2, 3, 3))
    check(F.expm(tensor(m)), scipy.linalg.expm(m), 1e-10)
    check(F.inv(tensor(m)), np.linalg.inv(m), 1e-9)
    check(F.det(tensor(m)), np.linalg.det(m), 1e-9)
    check(F.slogdet(tensor(m))[1], np.linalg.slogdet(m)[1], 1e-9)
    check(F.solve(tensor(m), tensor(B[0, :, :2])), np.linalg.solve(m, B[0, :, :2]), 1e-9)
    check(F.solve(tensor(m[0]), tensor(B[0, :, 0])), np.linalg.solve(m[0], B[0, :, 0]), 1e-9)
    for n in (0, 1, 2, 5, -2):
        check(F.matrix_power(tensor(m), n), np.linalg.matrix_power(m, n), 1e-8)


@pytest.mark.parametrize("f,shapes", [
    (F.matmul, [(2, 3), (3, 2)]), (F.matmul, [(2, 2, 3), (3,)]), (F.matmul, [(3,), (2, 3, 2)]), (lambda x, y: F.einsum("ij,kj,j->ik", x, y, x[0]), [(2, 3), (2, 3)]),
    (F.kron, [(2, 2), (1, 2)]), (F.vecdot, [(2, 3), (3,)]), (F.expm, [(3, 3)]), (F.inv, [(2, 2)]), (F.solve, [(2, 2), (2,)]), (lambda x: F.matrix_power(x, 3), [(2, 2)]),
    (lambda x: F.einsum("ii->i", x), [(3, 3)]),
], ids=range(11))
def test_gradients_of_linear_algebra(f, shapes):
    check_gradient(f, *[np.random.default_rng(5).normal(size=s) + (np.eye(s[-1]) if len(s) == 2 and s[0] == s[1] else 0) for s in shapes], tol=1e-5)


def test_methods_and_aliases_are_the_functions():
    x = tensor(POSITIVE)
    for name in ("sum", "mean", "exp", "log", "reshape", "softmax", "arctan", "astype", "clip", "tanh", "flatten", "matmul", "expm", "sort", "cumsum", "norm", "squeeze", "abs"):
        assert hasattr(x, name), name
    check(x.astype("float32"), POSITIVE.astype(np.float32), 1e-7)
    assert x.float().dtype == np.float32 and x.long().dtype == np.int64 and x.bool().dtype == np.bool_ and x.double().dtype == np.float64
    for a, b in [("concat", "concatenate"), ("pow", "power"), ("arcsin", "asin"), ("permute_dims", "permute"), ("expit", "sigmoid"), ("mod", "remainder")]:
        assert FUNCTIONS[a] is FUNCTIONS[b]


def test_every_public_function_has_a_docstring_with_an_example():
    for name, f in FUNCTIONS.items():
        assert f.__doc__ and (">>>" in f.__doc__ or name in ("logaddexp", "nextafter", "digamma", "psi")), name


# ---- statistics, questions about dtypes ---------------------------------------------------------------------------------

N = np.where(B > 1, np.nan, B)


@pytest.mark.parametrize("axis", [None, 0, (1, 2)])
@pytest.mark.parametrize("name", ["nansum", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd", "ptp"])
def test_statistics(name, axis):
    x = B if name == "ptp" else N
    check(getattr(F, name)(tensor(x), axis=axis), getattr(np, name)(x, axis=axis))


def test_averages_select_isin_one_hot():
    w = np.array([1.0, 2.0, 3.0])
    check(F.average(tensor(B), 1, tensor(w)), np.average(B, 1, w))
    check(F.average(tensor(B), weights=tensor(B**2)), np.average(B, weights=B**2))
    check(F.select([tensor(A > 1), tensor(A > 0)], [tensor(A), 0.5], -1), np.select([A > 1, A > 0], [A, 0.5], -1.0))
    check(F.isin(tensor([[1, 2], [3, 4]]), tensor([2, 3])), np.isin([[1, 2], [3, 4]], [2, 3]))
    check(F.one_hot(tensor([2, 0]), 3), np.eye(3, dtype=np.float32)[[2, 0]])
    assert bool(F.allclose(tensor(A), tensor(A + 1e-9))) and not bool(F.allclose(tensor(A), tensor(A + 1)))
    assert bool(F.array_equal(tensor(A), tensor(A))) and not bool(F.array_equal(tensor(A), tensor(B)))


def test_skipped_nans_have_no_gradient():
    x = tensor(np.array([1.0, np.nan, 3.0]))
    F.nanmean(x).backward()
    assert np.asarray(x.grad).tolist() == [0.5, 0.0, 0.5]
    x = tensor(np.array([1.0, np.nan, 3.0]))
    F.nanvar(x).backward()
    assert np.asarray(x.grad).tolist() == [-1.0, 0.0, 1.0]


def test_questions_about_dtypes():
    assert F.result_type(tensor([1]), np.float32, 2) == np.float32
    assert F.result_type(np.dtype("int8"), np.dtype("uint8")) == np.int16
    assert F.can_cast("int8", "int16") and not F.can_cast("int16", "int8")
    assert F.isdtype(np.dtype("uint8"), "unsigned integer") and not F.isdtype(np.dtype("uint8"), ("signed integer", "bool"))
    assert F.finfo(tensor([1.0])).eps == np.finfo(np.float64).eps and F.iinfo("int16").max == 32767
    assert F.broadcast_shapes((3, 1), (4,)) == (3, 4)


@pytest.mark.parametrize("f", [F.softmax, F.logsumexp, lambda x: F.norm(x), lambda x: F.gelu(x), lambda x: F.std(x, axis=1), lambda x: F.einsum("ij,kj->ik", x, x),
                               lambda x: x[[0, 0, 1], ::-1] ** 3, F.silu], ids=range(8))
def test_second_derivatives_of_composites(f):
    def gradient(x):
        return (f(x) ** 2).sum().gradient(x)[0]
    check_gradient(gradient, A[:2, :3], tol=1e-5)


@pytest.mark.parametrize("name", ["abs", "exp", "sqrt", "mean", "sum", "prod", "var", "std", "real", "imag", "conj", "square", "isnan", "sin", "reciprocal", "cumsum"])
def test_complex_values(name):
    z = A[:2, :2] + 1j * A[1:, 2:]
    check(getattr(F, name)(tensor(z)), getattr(np, name)(z))


def test_complex_products():
    z = A[:2, :2] + 1j * A[1:, 2:]
    check(tensor(z) @ tensor(z), z @ z)
    check(F.vecdot(tensor(z), tensor(z)), np.vecdot(z, z))
    check(F.norm(tensor(z)), np.linalg.norm(z))
    check(tensor(z) / tensor(A[:2, :2]), z / A[:2, :2])
    check(tensor(z) == tensor(z), z == z)


@pytest.mark.parametrize("name", ["softmax", "logsumexp", "mean", "std", "gelu", "sigmoid", "cumsum", "norm"])
def test_half_precision(name):
    x = A.astype(np.float16)
    got = getattr(F, name)(tensor(x))
    assert got.dtype == np.float16
    want = np.asarray(getattr(F, name)(tensor(x.astype(np.float64))))
    np.testing.assert_allclose(np.asarray(got, dtype=np.float64), want, rtol=1e-2, atol=1e-2)


def test_unique_functions():
    x = np.array([[3, 1], [3, 2]])
    for got, want in zip(F.unique_all(tensor(x)), np.unique_all(x), strict=True):
        check(got, want)
    for got, want in zip(F.unique_counts(tensor(x)), np.unique_counts(x), strict=True):
        check(got, want)
    for got, want in zip(F.unique_inverse(tensor(x)), np.unique_inverse(x), strict=True):
        check(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sinc_has_all_its_derivatives_at_and_near_0(dtype):
    at = np.array([0.0, 1e-3, 0.09, 0.11, 2.5], dtype)
    x = lg.tensor(at)
    d = F.sinc(x)
    tolerance = 1e-3 if dtype == "float32" else 1e-9
    for n in range(5):
        np.testing.assert_allclose(d.value, [float(mpmath.diff(mpmath.sincpi, mpmath.mpf(float(v)), n)) for v in at], tolerance, tolerance)
        (d,) = d.sum().gradient(x)
