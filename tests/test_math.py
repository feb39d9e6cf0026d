"""The vector functions against mpmath, SciPy and longdouble: errors in ulp over the whole domain, and every special value.

`python tests/test_math.py` prints the table of docs/accuracy.md (with times).
"""

from __future__ import annotations

import ctypes
import functools
import time

import mpmath
import numpy as np
import pytest
import scipy.special as special

binding = pytest.importorskip("llvmlite.binding")

from lazygrad.backends.llvm.math import FUNCTIONS  # noqa: E402
from lazygrad.backends.llvm.text import Builder, Function, Module  # noqa: E402

F32, F64 = np.dtype("float32"), np.dtype("float64")
INF, NAN = np.inf, np.nan
NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "sigmoid": special.expit,
    "erf": special.erf, "erfc": special.erfc, "pow": np.power, "cbrt": np.cbrt, "hypot": np.hypot, "lgamma": special.gammaln,
    "digamma": special.digamma,
}
BINARY = {"pow", "atan2", "hypot"}
# largest errors in ulp: (float32, float64)
BOUNDS = {
    "exp": (1.1, 1.1), "exp2": (1.1, 1.1), "expm1": (1.6, 1.6), "log": (1.1, 1.1), "log2": (1.5, 1.5), "log10": (1.5, 1.5), "log1p": (1.4, 1.4),
    "sin": (1.6, 1.6), "cos": (1.6, 1.6), "tan": (3, 3), "asin": (2, 2), "acos": (2, 2), "atan": (2, 2), "atan2": (3, 2),
    "sinh": (2, 2), "cosh": (2, 2), "tanh": (1.4, 1.5), "asinh": (2, 2), "acosh": (2, 2), "atanh": (2, 2), "sigmoid": (2.7, 2),
    "erf": (1.1, 1.5), "erfc": (3, 2), "pow": (1, 2), "cbrt": (1.5, 1.5), "hypot": (1.5, 1.5), "lgamma": (4, 5), "digamma": (4, 5),
}
ABSOLUTE = {"lgamma": (1e-7, 1e-14), "digamma": (1e-7, 1e-14)}       # near their zeros
_engines = []


@functools.cache
def machine():
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2, jit=True)


def kernel_text(name: str, dtype: np.dtype, lanes: int) -> str:
    """void kernel(ptr out, i64 n, ptr x [, ptr y]): n is a multiple of the lanes."""
    module = Module()
    arguments = ["%a", "%b"][: 2 if name in BINARY else 1]
    fn = Function(module, f"define void @kernel(ptr %out, i64 %n, {', '.join('ptr ' + a for a in arguments)})")
    with fn.loop("0", "%n", max(lanes, 1)) as loop:
        b = Builder(fn, lanes, dtype)
        values = [fn.emit(f"load {b.type}, ptr {fn.emit(f'getelementptr {b.kind}, ptr {a}, i64 {loop.i}')}, align {dtype.itemsize}") for a in arguments]
        result = FUNCTIONS[name](b, *values)
        fn.line(f"store {b.type} {result}, ptr {fn.emit(f'getelementptr {b.kind}, ptr %out, i64 {loop.i}')}, align {dtype.itemsize}")
    module.functions.append(fn.text())
    return module.text()


@functools.cache
def kernel(name: str, dtype: np.dtype, lanes: int):
    module = binding.parse_assembly(kernel_text(name, dtype, lanes))
    module.verify()
    engine = binding.create_mcjit_compiler(module, machine())
    engine.finalize_object()
    _engines.append(engine)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * (2 if name in BINARY else 1))(
        engine.get_function_address("kernel"))


def ours(name: str, *xs: np.ndarray, lanes: int = 8) -> np.ndarray:
    """FUNCTIONS[name] on arrays of any length."""
    n = len(xs[0])
    whole = -(-n // 16) * 16
    padded = [np.concatenate([x, np.ones(whole - n, x.dtype)]) for x in xs]
    out = np.empty_like(padded[0])
    kernel(name, out.dtype, lanes)(out.ctypes.data, whole, *(p.ctypes.data for p in padded))
    return out[:n]


# ---- references
def _mp_reflected(name):
    return {"asin": "asin", "acos": "acos", "lgamma": "loggamma", "sigmoid": "sigmoid"}.get(name, name)


def mp_value(name: str, *xs: float):
    """The exact value (mpf) where it is real and finite, else None."""
    m = [mpmath.mpf(float(x)) for x in xs]
    x = m[0]
    try:
        match name:
            case "exp2":
                v = mpmath.power(2, x)
            case "log2":
                v = mpmath.log(x) / mpmath.log(2)
            case "sigmoid":
                v = 1 / (1 + mpmath.exp(-x))
            case "pow":
                v = mpmath.power(*m)
            case "lgamma":
                v = mpmath.log(abs(mpmath.gamma(x))) if abs(x) < 1e4 else mpmath.re(mpmath.loggamma(x))
            case "digamma":
                v = mpmath.digamma(x)
            case _:
                v = getattr(mpmath, name)(*m)
    except (ValueError, ZeroDivisionError, OverflowError, mpmath.libmp.NoConvergence):
        return None
    return v if isinstance(v, mpmath.mpf) and mpmath.isfinite(v) else None


def ulp_error(name: str, dtype: np.dtype, got: np.ndarray, *xs: np.ndarray, exact=None) -> np.ndarray:
    """Errors in ulp of the exact value (of the least denormal below the normal numbers); 0 where both overflow."""
    info = np.finfo(dtype)
    least = float(info.smallest_subnormal)
    out = np.zeros(len(got))
    for i, g in enumerate(got):
        v = mp_value(name, *(x[i] for x in xs)) if exact is None else exact[i]
        if v is None or abs(v) > float(info.max):
            continue
        nearest = float(dtype.type(float(v))) if dtype == F32 else float(v)
        if not np.isfinite(nearest):
            continue
        spacing = max(float(np.spacing(dtype.type(abs(nearest)))), least)
        error = abs(mpmath.mpf(float(g)) - v) if np.isfinite(g) else mpmath.inf
        absolute = ABSOLUTE.get(name)
        if absolute and error < absolute[dtype == F64]:
            continue
        out[i] = float(error / mpmath.mpf(spacing))
    return out


def ulp_error_float32(name: str, got: np.ndarray, *xs: np.ndarray) -> np.ndarray:
    """The same for float32 against float64 NumPy and SciPy."""
    with np.errstate(all="ignore"):
        exact = NUMPY[name](*(x.astype(F64) for x in xs))
        rounded = exact.astype(F32)
        spacing = np.maximum(np.spacing(np.abs(rounded)).astype(F64), 2.0**-149)
        error = np.abs(got.astype(F64) - exact)
        out = error / spacing
    ok = np.isfinite(rounded)
    out = np.where(ok, np.where(np.isnan(out), INF, out), 0)
    if name in ABSOLUTE:
        out = np.where(error < ABSOLUTE[name][0], 0, out)
    return out


# ---- samples
def samples(name: str, dtype: np.dtype, n: int) -> list[np.ndarray]:
    """Arguments: random bit patterns, the range where the function lives, and its edges."""
    rng = np.random.default_rng(len(name))
    kind = np.uint32 if dtype == F32 else np.uint64
    bits = rng.integers(0, np.iinfo(kind).max, n, dtype=kind).view(dtype)
    edges = [0.5, 1.0, 2.0, 1.5, np.pi / 2, np.pi, 0.41421356, 0.65, 0.9277, 8.0, 88.7, 89.4, 103.9, 709.78, 710.4, 745.1, 26.5, 10.05, 0.70710678, 1.41421356]
    around = np.array([e * (1 + k * np.finfo(dtype).eps) for e in edges for k in range(-8, 9)]).astype(dtype)
    parts = [bits, rng.uniform(-1, 1, n).astype(dtype), rng.uniform(-10, 10, n).astype(dtype),
             (rng.uniform(-120, 120, n) if dtype == F32 else rng.uniform(-800, 800, n)).astype(dtype),
             (1 + rng.normal(size=n) * 0.01).astype(dtype), around, -around,
             np.exp(rng.uniform(-20, 20, n)).astype(dtype)]
    x = np.concatenate(parts)
    x = x[np.isfinite(x)]
    if name == "pow":
        y = rng.permutation(np.concatenate([rng.uniform(-50, 50, len(x) // 2), rng.normal(size=len(x) - len(x) // 2)])).astype(dtype)
        near = rng.uniform(-1, 1, len(x)) * np.log(float(np.finfo(dtype).max))
        with np.errstate(all="ignore"):
            limit = (near / np.log(np.abs(x.astype(F64)))).astype(dtype)       # results over the whole range
        y = np.where(rng.integers(0, 3, len(x)) > 0, np.where(np.isfinite(limit), limit, 1), y)
        return [np.abs(x), y]
    if name in BINARY:
        y = np.where(rng.integers(0, 2, len(x)) > 0, x * rng.uniform(0, 2, len(x)).astype(dtype), rng.permutation(x)).astype(dtype)
        return [x, y]
    if name in ("lgamma", "digamma"):
        x = x[x > -200]
    return [x]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_error(name):
    xs = samples(name, F32, 30000)
    error = ulp_error_float32(name, ours(name, *xs), *xs)
    worst = int(error.argmax())
    assert error[worst] <= BOUNDS[name][0], [float(x[worst]) for x in xs]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_error(name):
    xs = samples(name, F64, 60 if name in ("lgamma", "digamma") else 250)
    with mpmath.workdps(40):
        error = ulp_error(name, F64, ours(name, *xs), *xs)
    worst = int(error.argmax())
    assert error[worst] <= BOUNDS[name][1], [float(x[worst]) for x in xs]


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-40, -1e-40, 5e-324, -5e-324, 1e-310, 200.0, -200.0, 1000.0, -1000.0, 1e9, -1e9,
           1e30, -1e30, 1e300, -1e300, INF, -INF, NAN, 4.5, -4.5, 8.0, 0.25, 1e-20, 1.0000001, 0.9999999, -1.0000001]


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lanes", [0, 8, 16])
def test_special_values(name, dtype, lanes):
    if lanes == 16 and dtype == F64:
        pytest.skip("as 8 lanes")
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL + [np.finfo(dtype).max, np.finfo(dtype).tiny], dtype)
        xs = [np.repeat(x, len(x)), np.tile(x, len(x))] if name in BINARY else [x]
        got = ours(name, *xs, lanes=lanes)
        want = NUMPY[name](*xs).astype(dtype)
        close = np.abs(got - want) <= 4 * np.abs(np.spacing(want))
        same = np.where(np.isnan(want), np.isnan(got), (got == want) & (np.signbit(got) == np.signbit(want)))
    good = same | np.isfinite(want) & (want != 0) & close
    assert good.all(), [(*(float(v[i]) for v in xs), float(got[i]), float(want[i])) for i in np.flatnonzero(~good)[:20]]
