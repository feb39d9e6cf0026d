"""The vector functions against mpmath, NumPy and SciPy: errors in ulp over the whole domain, every special value.

`python tests/test_math.py` prints the table of docs/accuracy.md (with times).
"""

from __future__ import annotations

import ctypes
import functools
import platform
import time
import warnings

import mpmath
import numpy as np
import pytest
import scipy.special as special

binding = pytest.importorskip("llvmlite.binding")

from lazygrad.backends.llvm.text import Builder, Function, Module  # noqa: E402
from lazygrad.backends.math import FUNCTIONS  # noqa: E402
from lazygrad.ir.scalar import OPS  # noqa: E402

F32, F64 = np.dtype("float32"), np.dtype("float64")
INF, NAN = np.inf, np.nan
NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "atan2": np.arctan2, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "sigmoid": special.expit, "erf": special.erf, "erfc": special.erfc, "ndtr": OPS["ndtr"].numpy, "pow": np.power, "cbrt": np.cbrt,
    "hypot": np.hypot, "lgamma": special.gammaln, "digamma": special.digamma,
}
BINARY = {"pow", "atan2", "hypot"}
# largest errors in ulp: (float32, float64)
BOUNDS = {
    "exp": (1.1, 1.1), "exp2": (1.1, 1.1), "expm1": (1.6, 1.6), "log": (1.1, 1.1), "log2": (1.5, 1.5),
    "log10": (1.5, 1.5), "log1p": (1.4, 1.4), "sin": (1.5, 1.5), "cos": (1.5, 1.5), "tan": (3, 3), "asin": (2, 2),
    "acos": (2, 2), "atan": (2, 2), "atan2": (3, 2), "sinh": (2, 2), "cosh": (2, 2), "tanh": (2.4, 1.5),
    "asinh": (2, 2), "acosh": (2, 2), "atanh": (2, 2), "sigmoid": (2.7, 2),
    "erf": (1.1, 1.5), "erfc": (3, 2), "ndtr": (4, 4), "pow": (1, 2), "cbrt": (1.5, 1.5), "hypot": (1.5, 1.5),
    "lgamma": (4, 5), "digamma": (4, 5),
}
ABSOLUTE = {"lgamma": (1e-7, 1e-14), "digamma": (1e-7, 1e-14)}       # near their zeros
_engines = []


@functools.cache
def machine(cpu: str):
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten() if cpu == binding.get_host_cpu_name() else ""
    return binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2, jit=True)


def kernel_text(name: str, dtype: np.dtype, lanes: int) -> str:
    """void kernel(ptr out, i64 n, ptr x [, ptr y]): n is a multiple of the lanes."""
    module = Module()
    arguments = ["%a", "%b"][: 2 if name in BINARY else 1]
    fn = Function(module, f"define void @kernel(ptr %out, i64 %n, {', '.join('ptr ' + a for a in arguments)})")
    with fn.loop("0", "%n", max(lanes, 1)) as loop:
        b = Builder(fn, lanes, dtype)
        places = [fn.emit(f"getelementptr {b.kind}, ptr {a}, i64 {loop.i}") for a in [*arguments, "%out"]]
        values = [fn.emit(f"load {b.type}, ptr {p}, align {dtype.itemsize}") for p in places[:-1]]
        fn.line(f"store {b.type} {FUNCTIONS[name](b, *values)}, ptr {places[-1]}, align {dtype.itemsize}")
    module.functions.append(fn.text())
    return module.text()


@functools.cache
def kernel(name: str, dtype: np.dtype, lanes: int, cpu: str = ""):
    module = binding.parse_assembly(kernel_text(name, dtype, lanes))
    module.verify()
    engine = binding.create_mcjit_compiler(module, machine(cpu or binding.get_host_cpu_name()))
    engine.finalize_object()
    _engines.append(engine)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * (2 if name in BINARY else 1))(
        engine.get_function_address("kernel"))


def ours(name: str, *xs: np.ndarray, lanes: int = 8, cpu: str = "") -> np.ndarray:
    """FUNCTIONS[name] on arrays of any length."""
    n = len(xs[0])
    whole = -(-n // 16) * 16
    padded = [np.concatenate([x, np.ones(whole - n, x.dtype)]) for x in xs]
    out = np.empty_like(padded[0])
    kernel(name, out.dtype, lanes, cpu)(out.ctypes.data, whole, *(p.ctypes.data for p in padded))
    return out[:n]


# ---- references
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
            case "ndtr":
                v = mpmath.ncdf(x)
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
EDGES = [0.41421356, 0.5, 0.65, 0.70710678, 0.9277, 1.0, 1.41421356, 1.5, np.pi / 2, 2.0, np.pi, 8.0, 10.05, 26.5,
         88.7, 89.4, 103.9, 709.78, 710.4, 745.1, 1e5, 1e6]


def samples(name: str, dtype: np.dtype, n: int, seed: int = 0) -> list[np.ndarray]:
    """Arguments: random bit patterns, the ranges where the functions live, and the surroundings of their seams."""
    rng = np.random.default_rng([seed, *name.encode()])
    kind = np.uint32 if dtype == F32 else np.uint64
    wide = 120 if dtype == F32 else 800
    around = np.array([e * (1 + k * float(np.finfo(dtype).eps)) for e in EDGES for k in range(-8, 9)])
    parts = [rng.integers(0, np.iinfo(kind).max, n, dtype=kind).view(dtype), rng.uniform(-1, 1, n),
             rng.uniform(-10, 10, n), rng.uniform(-wide, wide, n), 1 + rng.normal(size=n) * 0.01, around, -around,
             np.exp(rng.uniform(-20, 20, n))]
    x = np.concatenate([p.astype(dtype) for p in parts])
    x = x[np.isfinite(x)]
    if name == "pow":
        y = rng.normal(size=len(x)) * np.where(rng.integers(0, 2, len(x)) > 0, 20, 1)
        reach = rng.uniform(-1.1, 1.02, len(x)) * np.log(float(np.finfo(dtype).max))       # the logarithm of the result
        with np.errstate(all="ignore"):
            limit = reach / np.log(np.abs(x.astype(F64)))
        return [np.abs(x), np.where((rng.integers(0, 3, len(x)) > 0) & (np.abs(limit) < 1e30), limit, y).astype(dtype)]
    if name in BINARY:
        with np.errstate(over="ignore"):
            near = x * rng.uniform(0, 2, len(x)).astype(dtype)
        y = np.where((rng.integers(0, 2, len(x)) > 0) & np.isfinite(near), near, rng.permutation(x))
        return [x, y]
    return [x[x > -200]] if name in ABSOLUTE else [x]


def error_float32(name: str, n: int, **options) -> tuple[float, list[float]]:
    """The largest error and where it is."""
    xs = samples(name, F32, n)
    error = ulp_error_float32(name, ours(name, *xs, **options), *xs)
    return float(error.max()), [float(x[error.argmax()]) for x in xs]


def error_float64(name: str, n: int, **options) -> tuple[float, list[float]]:
    xs = samples(name, F64, n)
    with mpmath.workdps(40):
        error = ulp_error(name, F64, ours(name, *xs, **options), *xs)
    return float(error.max()), [float(x[error.argmax()]) for x in xs]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_error(name):
    error, where = error_float32(name, 30000)
    assert error <= BOUNDS[name][0], where


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_error(name):
    error, where = error_float64(name, 200)
    assert error <= BOUNDS[name][1], where


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-40, -1e-40,
           5e-324, -5e-324, 1e-310, 200.0, -200.0, 1000.0, -1000.0,
           1e9, -1e9, 1e30, -1e30, 1e300, -1e300, INF, -INF, NAN, 4.5, -4.5, 8.0, 0.25, 1e-20,
           1.0000001, 0.9999999, -1.0000001]


def differences(name: str, got: np.ndarray, xs: list[np.ndarray], ulps: int = 4) -> list[tuple]:
    """Where `got` is not NumPy's value: NaN, infinities, zeros and their signs alike, other values within some ulp."""
    with np.errstate(all="ignore"):
        want = NUMPY[name](*xs).astype(got.dtype)
        if name == "lgamma":        # SciPy's is inf at denormals and loses digits near 1
            with mpmath.workdps(40):
                exact = [mp_value(name, x) for x in xs[0]]
            want = np.array([w if v is None else float(v) for w, v in zip(want, exact, strict=True)]).astype(got.dtype)
        near = np.isfinite(want) & (want != 0) & (np.abs(got - want) <= ulps * np.abs(np.spacing(want)))
        same = np.isnan(want) & np.isnan(got) | (got == want) & (np.signbit(got) == np.signbit(want))
    return [(*(float(v[i]) for v in xs), float(got[i]), float(want[i])) for i in np.flatnonzero(~(same | near))]


def special_arguments(name: str, dtype: np.dtype) -> list[np.ndarray]:
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([*SPECIAL, np.finfo(dtype).max, np.finfo(dtype).tiny], F64).astype(dtype)
    return [np.repeat(x, len(x)), np.tile(x, len(x))] if name in BINARY else [x]


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lanes", [0, 4, 16])
def test_special_values(name, dtype, lanes):
    xs = special_arguments(name, dtype)
    assert differences(name, ours(name, *xs, lanes=lanes), xs) == []


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan_whatever_its_bits(name, dtype):
    kind, fraction = (np.uint32, 23) if dtype == F32 else (np.uint64, 52)
    quiet = (1 << (31 if dtype == F32 else 63)) - (1 << fraction - 1)
    quiet = np.array([quiet + k for k in (0, 1, 2, 77, 4095)], kind)
    x = quiet.view(dtype)
    assert np.isnan(x).all()
    xs = [x, np.full_like(x, 2)] if name in BINARY else [x]
    assert np.isnan(ours(name, *xs)).all()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_arguments_next_to_multiples_of_half_pi(name, dtype):
    with mpmath.workdps(400):
        counts = (1, 2, 3, 10**3, 63_661, 63_663, 636_618, 636_620, 10**7 + 1, 2**40 + 1, 10**30 + 3)
        multiples = [float(k * mpmath.pi / 2) for k in counts]
        # the float64 that comes nearest to one, and others whose reduction cancels many bits
        nearest = 6381956970095103 * 2.0 ** (797 if dtype == F64 else 60)
        x = np.array([*multiples, nearest, 1e22, 3e38], F64).astype(dtype)
        assert ulp_error(name, dtype, ours(name, x), x).max() <= BOUNDS[name][dtype == F64]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_fused_multiply_add(name):
    for dtype, error, slack in ((F32, error_float32, 1.2), (F64, error_float64, 1.6)):
        xs = special_arguments(name, dtype)
        assert differences(name, ours(name, *xs, cpu="x86-64-v2"), xs, 8) == []
        worst, where = error(name, 1000 if dtype == F32 else 20, cpu="x86-64-v2")
        assert worst <= BOUNDS[name][dtype == F64] + slack, where


@pytest.mark.parametrize("name", FUNCTIONS)
def test_calls_nothing_outside(name):
    for dtype in (F32, F64):
        for line in kernel_text(name, dtype, 8).splitlines():
            assert not line.startswith("declare") or "@llvm." in line


def main() -> None:
    """Print the table of docs/accuracy.md."""
    warnings.simplefilter("ignore")

    def time_of(call) -> float:
        best = INF
        for _ in range(40):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
        return best / 16384 * 1e9

    print("| function | float32: ulp | NumPy | ns | NumPy | float64: ulp | NumPy | ns | NumPy |")
    print("|---" * 9 + "|")
    for name in FUNCTIONS:
        row, both = [name], (functools.partial(ours, name), NUMPY[name])
        for dtype in (F32, F64):
            if dtype == F32:
                xs = samples(name, dtype, 200_000)
                errors = [ulp_error_float32(name, f(*xs), *xs).max() for f in both]
            else:
                xs = samples(name, dtype, 800)
                with mpmath.workdps(40):
                    exact = [mp_value(name, *point) for point in zip(*xs, strict=True)]
                    errors = [ulp_error(name, dtype, f(*xs), *xs, exact=exact).max() for f in both]
            x = np.random.default_rng(0).uniform(0.01, 2, 16384).astype(dtype)
            x = x * dtype.type(0.49) if name in ("asin", "acos", "atanh") else x + dtype.type(name == "acosh")
            xs, out = [x, x[::-1].copy()][: 2 if name in BINARY else 1], np.empty_like(x)
            run, places = kernel(name, dtype, 16 if dtype == F32 else 8), [v.ctypes.data for v in xs]
            times = [time_of(functools.partial(run, out.ctypes.data, 16384, *places)),
                     time_of(functools.partial(NUMPY[name], *xs, out=out))]
            row += [f"{v:.2f}" if v < 1000 else f"{v:.0e}" for v in errors] + [f"{v:.2f}" for v in times]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
