"""The scalar operations of WGSL shaders against NumPy, SciPy and mpmath: every operation of every dtype, single and vec4.

`python tests/test_wgsl_scalars.py` prints the errors of the functions. One shader evaluates many operations.
"""

from __future__ import annotations

import functools
import os
import warnings

import mpmath
import numpy as np
import pytest

os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")

wgpu = pytest.importorskip("wgpu")

from lazygrad.backends.wgsl import scalars  # noqa: E402
from lazygrad.backends.wgsl.functions import FAST, FUNCTIONS  # noqa: E402
from lazygrad.backends.wgsl.text import Module, load_value, storage_name, store_value, type_name  # noqa: E402
from lazygrad.backends.wgsl.traits import Traits, stored  # noqa: E402
from lazygrad.ir.record import changed  # noqa: E402
from lazygrad.ir.scalar import OPS  # noqa: E402

FEATURES = {"float16": "shader-f16", "float64": "shader-f64", "int64": "shader-int64"}
EVERYTHING = Traits(software=True, float16=True, float64=True, int64=True, subgroups=False)
NAMES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
F16, F32, F64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
INF, NAN = np.inf, np.nan
GROUP = 64                         # threads of a workgroup


# ---- running ----------------------------------------------------------------------------------------------------------

@functools.cache
def device():
    """A device and its traits, or None."""
    found = wgpu.gpu.enumerate_adapters_sync()
    order = ["DiscreteGPU", "IntegratedGPU", "VirtualGPU", "CPU", "Unknown"]
    found = sorted((a for a in found if a.info["backend_type"] != "OpenGL"), key=lambda a: order.index(a.info["adapter_type"]))
    if not found:
        return None
    has = {name: feature in found[0].features for name, feature in FEATURES.items()}
    made = found[0].request_device_sync(required_features=[FEATURES[n] for n, ok in has.items() if ok])
    return made, Traits(software=found[0].info["adapter_type"] == "CPU", subgroups=False, **has)


def gpu():
    if device() is None:
        pytest.fail("no WebGPU adapter, and these tests need one (Mesa's software Vulkan will do)", pytrace=False)
    return device()


def needs(*names: str) -> Traits:
    """The device's traits; skips where it lacks one of these dtypes."""
    traits = gpu()[1]
    if not {np.dtype(n) for n in names} <= set(scalars.known_dtypes(traits)):
        pytest.skip(f"the device lacks one of {names}")
    return traits


def buffers(arrays, usage):
    made = gpu()[0]
    return [made.create_buffer_with_data(data=a, usage=usage) for a in arrays]


def run(source: str, inputs: list[np.ndarray], outputs: list[np.ndarray], groups: int) -> None:
    """Run `main` with the inputs bound first, then the outputs, which are filled (they start as NaN or nonsense)."""
    made, storage = gpu()[0], wgpu.BufferUsage.STORAGE
    bound = buffers(inputs, storage) + buffers([np.full_like(o, 77) for o in outputs], storage | wgpu.BufferUsage.COPY_SRC)
    module = made.create_shader_module(code=source)
    pipeline = made.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": "main"})
    entries = [{"binding": i, "resource": {"buffer": b}} for i, b in enumerate(bound)]
    group = made.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = made.create_command_encoder()
    work = encoder.begin_compute_pass()
    work.set_pipeline(pipeline)
    work.set_bind_group(0, group)
    work.dispatch_workgroups(groups)
    work.end()
    made.queue.submit([encoder.finish()])
    for b, out in zip(bound[len(inputs):], outputs, strict=True):
        out[...] = np.frombuffer(made.queue.read_buffer(b), out.dtype).reshape(out.shape)


def shader(build, dtypes, lanes: int, count: int, traits: Traits):
    """The source and the result dtypes of `build(module, body, args) -> [(dtype, name)]` over `count` elements of each
    argument; results of one stored dtype share a buffer."""
    module, body, steps = Module(traits), [], count // (lanes or 1)
    args = []
    for k, d in enumerate(dtypes):
        module.use(d)
        args.append(module.fresh("a"))
        body.append(f"let {args[-1]} = {load_value(d, f'in{k}[i]', lanes)};")
    results = build(module, body, args)
    places: dict[str, list[int]] = {}
    for r, (d, name) in enumerate(results):
        module.use(d)
        at = places.setdefault(storage_name(d), [])
        body.append(f"out_{storage_name(d)}[i + {len(at) * steps}u] = {store_value(d, name, lanes)};")
        at.append(r)
    kinds = [storage_name(d) for d in dtypes] + list(places)
    names = [f"in{k}" for k in range(len(dtypes))] + [f"out_{p}" for p in places]
    declared = [f"@group(0) @binding({i}) var<storage, {'read' if i < len(dtypes) else 'read_write'}> {name}: "
                f"array<{f'vec4<{kind}>' if lanes else kind}>;" for i, (kind, name) in enumerate(zip(kinds, names, strict=True))]
    head = f"@compute @workgroup_size({GROUP}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{"
    lines = ["let i = id.x;", f"if (i >= {steps}u) {{", "return;", "}", *body]
    source = "\n".join([module.text(), *declared, head, *lines, "}"])
    return source, [d for d, _ in results], places


def compute(build, xs: list[np.ndarray], lanes: int, traits: Traits) -> list[np.ndarray]:
    """The results of `build` on arrays of equal length."""
    count = len(xs[0])
    whole = -(-count // 4) * 4
    padded = [np.concatenate([x, np.ones(whole - count, x.dtype)]) for x in xs]
    source, dtypes, places = shader(build, [x.dtype for x in xs], lanes, whole, traits)
    outs = [np.empty((len(at), whole), stored(dtypes[at[0]])) for at in places.values()]
    run(source, [p.astype(stored(p.dtype)) for p in padded], outs, -(-whole // GROUP))
    results: list[np.ndarray] = [np.empty(0)] * len(dtypes)
    for out, at in zip(outs, places.values(), strict=True):
        for row, r in enumerate(at):
            results[r] = out[row, :count].astype(dtypes[r])
    return results


def operations(names, dtype: np.dtype, lanes: int, traits: Traits):
    """`build` that evaluates these operations on (a, b); `select` chooses by a < b."""
    def build(module, body, args):
        out = []
        for name in names:
            used = args[:OPS[name].arity]
            if name == "select":
                used = [scalars.emit(module, body, "lt", dtype, lanes, args), *args]
            value = scalars.emit(module, body, name, dtype, lanes, used)
            out.append((np.dtype("bool") if OPS[name].out == "bool" else dtype, value))
        return out
    return build


# ---- samples and references --------------------------------------------------------------------------------------------

def values_of(dtype: np.dtype) -> np.ndarray:
    """Special values of a dtype and some random ones."""
    rng = np.random.default_rng(len(dtype.name))
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        fixed = [0.0, 1.0, 2.0, 0.5, 1.5, 2.5, 3.0, 7.5, 10.0, 0.1, np.pi, 100.0, 1e5, 16777217.0, 1e10, float(info.max), float(info.tiny),
                 float(info.smallest_subnormal), float(info.tiny) * 0.7, float(info.max) / 3, 1 + float(info.eps), INF]
        with np.errstate(over="ignore"):
            spread = np.exp(rng.uniform(np.log(float(info.tiny)), np.log(float(info.max)), 10))
            fixed = np.array([*fixed, *spread], F64).astype(dtype)
        return np.concatenate([fixed, -fixed, [dtype.type(NAN)]])
    info = np.iinfo(dtype)
    fixed = {0, 1, 2, 3, 5, 7, 8, 15, 16, 31, 32, 63, 64, 100, info.max, info.max - 1, info.min, info.min + 1, info.max // 2,
             *([-1, -2, -3, -7, -8, -100] if dtype.kind == "i" else [])}
    return np.array([*fixed, *rng.integers(info.min, info.max, 12, dtype=dtype, endpoint=True).tolist()], dtype)


def pairs(dtype: np.dtype) -> list[np.ndarray]:
    x = values_of(dtype)
    return [np.repeat(x, len(x)), np.tile(x, len(x))]


def expected(name: str, *xs: np.ndarray) -> np.ndarray:
    """NumPy's value; an integer to a negative power is 1 (NumPy raises)."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "pow" and xs[0].dtype.kind in "iu":
            xs = (xs[0], np.maximum(xs[1], 0))
        if name == "select":
            return np.where(xs[0] < xs[1], *xs)
        return OPS[name].numpy(*xs[:OPS[name].arity])


def wrong(got: np.ndarray, want: np.ndarray, *xs: np.ndarray, zeros: bool = True) -> list[tuple]:
    """Where `got` is not bit for bit `want`: any NaN is a NaN; `zeros`: their signs count. A device may flush denormal numbers."""
    assert got.dtype == want.dtype
    same = got == want
    if want.dtype.kind == "f":
        if zeros:
            same &= np.signbit(got) == np.signbit(want)
        same |= np.isnan(got) & np.isnan(want)
        if not gpu()[1].software:
            tiny = np.finfo(want.dtype).tiny
            same |= (np.abs(want) < tiny) & (np.abs(got) <= tiny)
            for x in xs:
                if x.dtype.kind == "f":
                    same |= (x != 0) & (np.abs(x) < tiny)
    return [(*(x[i].item() for x in xs), got[i].item(), want[i].item()) for i in np.flatnonzero(~same)[:5]]


# ---- operations --------------------------------------------------------------------------------------------------------

def exact_operations(dtype: np.dtype) -> list[str]:
    """The operations whose results are NumPy's bit for bit."""
    return sorted(name for name, d in scalars.caps_ops(EVERYTHING) if d == dtype.name and (dtype.kind != "f" or name not in FUNCTIONS))


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("name", NAMES)
def test_operations_give_the_bits_of_numpy(name, lanes):
    traits, dtype = needs(name), np.dtype(name)
    ops, xs = exact_operations(dtype), pairs(dtype)
    bad = {}
    for op, got in zip(ops, compute(operations(ops, dtype, lanes, traits), xs, lanes, traits), strict=True):
        # the sign of a zero that is the larger of two is NumPy's own choice
        if found := wrong(got, expected(op, *xs), *xs, zeros=op not in ("maximum", "minimum", "fmax", "fmin")):
            bad[op] = found
    assert bad == {}


def test_every_claimed_operation_is_in_a_test():
    tested = {(op, d) for d in NAMES for op in exact_operations(np.dtype(d))} | {(op, d.name) for op in FUNCTIONS for d in (F16, F32, F64)}
    assert tested == scalars.caps_ops(EVERYTHING)


def test_claims_cover_the_table():
    claimed = scalars.caps_ops(EVERYTHING)
    for op in OPS.values():
        for d in map(np.dtype, NAMES):
            assert ((op.name, d.name) in claimed) == (d.kind in op.kinds and (op.name, d.name) != ("nextafter", "float16"))


def test_a_plain_device_claims_32_bits():
    plain = changed(EVERYTHING, float16=False, float64=False, int64=False)
    assert {d for _, d in scalars.caps_ops(plain)} == set(NAMES) - {"float16", "float64", "int64", "uint64"}
    assert {d for _, d in scalars.caps_ops(changed(EVERYTHING, int64=False))} == set(NAMES) - {"float64", "int64", "uint64"}


# ---- casts and constants ------------------------------------------------------------------------------------------------

def cast_of(x: np.ndarray, to: np.dtype) -> np.ndarray:
    """ndarray.astype; floats that do not fit an integer give what an x86 CPU gives: the least int32 or int64, cut to size."""
    if x.dtype.kind != "f" or to.kind not in "iu":
        with np.errstate(all="ignore"):
            return x.astype(to)
    word = 64 if to.itemsize == 8 or to.name == "uint32" else 32
    out = []
    for v in x.astype(F64).tolist():
        if to.name == "uint64" and v >= 2.0**63:
            n = int(v) if v < 2.0**64 else 0
        else:
            n = int(v) if np.isfinite(v) and -(2 ** (word - 1)) <= int(v) < 2 ** (word - 1) else -(2 ** (word - 1))
        out.append(n % (1 << 8 * to.itemsize))
    return np.array(out, np.uint64).astype(f"u{to.itemsize}").view(to)


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("name", NAMES)
def test_casts(name, lanes):
    traits, dtype = needs(name), np.dtype(name)
    x = values_of(dtype)
    if dtype.kind == "f":
        near = [k + d for k in (127, 128, 255, 256, 32767, 32768, 65519, 65520, 65535, 65536, 2**31, 2**32, 2**53) for d in (-1, -0.5, 0, 0.5, 1)]
        with np.errstate(all="ignore"):
            small = np.array([*near, *(-np.array(near)), 2.0**-24, 2.0**-25, 3 * 2.0**-25, 2.0**-14 * 0.9999, 1 + 2.0**-11, 1 + 3 * 2.0**-11,
                              1 + 2.0**-11 + 2.0**-30, 1 + 2.0**-24 + 2.0**-40, 2.0**63, 2.0**64, 2.0**62, 65520.0, 65519.99], F64).astype(dtype)
        x = np.concatenate([x, small])
    targets = scalars.known_dtypes(traits)

    def build(module, body, args):
        return [(to, scalars.emit(module, body, "cast", dtype, lanes, args, to)) for to in targets]

    results = compute(build, [x], lanes, traits)
    assert {to.name: bad for to, got in zip(targets, results, strict=True) if (bad := wrong(got, cast_of(x, to), x))} == {}


@pytest.mark.parametrize("lanes", [0, 4])
def test_constants(lanes):
    traits = needs("float32")
    known = [d for d in scalars.known_dtypes(traits)]
    cases = [(d, v) for d in known for v in values_of(d)[:45].tolist()]

    def build(module, body, args):
        return [(d, scalars.emit(module, body, "const", d, lanes, [], d, (repr(v),))) for d, v in cases]

    results = compute(build, [np.ones(4, np.uint32)], lanes, traits)
    for (d, v), got in zip(cases, results, strict=True):
        assert wrong(got, np.full(4, v, d)) == [], (d, v)


def test_identities_of_monoids():
    for name in NAMES:
        d = np.dtype(name)
        x = values_of(d)
        for monoid in ("add", "mul", "maximum", "minimum", *(("and", "or") if d.kind != "f" else ())):
            if d.kind == "b" and monoid in ("add", "mul"):
                continue
            start = np.full_like(x, scalars.identity(monoid, d))
            assert wrong(expected(monoid, start, x), x, zeros=False) == []


# ---- what compilers would simplify ----------------------------------------------------------------------------------------

SIMPLIFIED = {
    "(x + y) - y": lambda e, x, y, c: e("sub", e("add", x, y), y),
    "(x + y) - x": lambda e, x, y, c: e("sub", e("add", x, y), x),
    "x - x": lambda e, x, y, c: e("sub", x, x),
    "y + (-y)": lambda e, x, y, c: e("add", y, e("neg", y)),
    "(x + y) + (-x)": lambda e, x, y, c: e("add", e("add", x, y), e("neg", x)),
    "x * 0": lambda e, x, y, c: e("mul", x, c(0.0)),
    "-0 * x": lambda e, x, y, c: e("mul", c(-0.0), x),
    "x + 0": lambda e, x, y, c: e("add", x, c(0.0)),
    "0 - x": lambda e, x, y, c: e("sub", c(0.0), x),
    "x - 0": lambda e, x, y, c: e("sub", x, c(0.0)),
    "(x + 3) - 3": lambda e, x, y, c: e("sub", e("add", x, c(3.0)), c(3.0)),
    "(x - 7) + 9": lambda e, x, y, c: e("add", e("sub", x, c(7.0)), c(9.0)),
    "(x * 1e4) * 1e-4": lambda e, x, y, c: e("mul", e("mul", x, c(1e4)), c(1e-4)),
    "not x < y": lambda e, x, y, c: e("not", e("lt", x, y)),
    "not x <= y": lambda e, x, y, c: e("not", e("le", x, y)),
    "x / x": lambda e, x, y, c: e("div", x, x),
    "x == x": lambda e, x, y, c: e("eq", x, x),
    "x != x": lambda e, x, y, c: e("ne", x, x),
    "abs(x - y) - abs(y - x)": lambda e, x, y, c: e("sub", e("abs", e("sub", x, y)), e("abs", e("sub", y, x))),
    "max(x, 0)": lambda e, x, y, c: e("maximum", x, c(0.0)),
    "min(1, x)": lambda e, x, y, c: e("minimum", c(1.0), x),
    "fmax(x, nan)": lambda e, x, y, c: e("fmax", x, c(NAN)),
    "max(x, nan)": lambda e, x, y, c: e("maximum", x, c(NAN)),
    "(x + x) - x": lambda e, x, y, c: e("sub", e("add", x, x), x),
}


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_floats_are_not_taken_for_real_numbers(name, lanes):
    traits, dtype = needs(name), np.dtype(name)
    xs = pairs(dtype)

    def build(module, body, args):
        kinds = dict.fromkeys(args, dtype)

        def e(op, *operands):
            d = kinds[operands[-1]]
            out = scalars.emit(module, body, op, d, lanes, list(operands))
            kinds[out] = np.dtype("bool") if OPS[op].out == "bool" else d
            return out

        def c(value):
            out = scalars.emit(module, body, "const", dtype, lanes, [], dtype, (value,))
            kinds[out] = dtype
            return out

        results = [case(e, *args, c) for case in SIMPLIFIED.values()]
        return [(kinds[r], r) for r in results]

    bad = {}
    for (text, case), got in zip(SIMPLIFIED.items(), compute(build, xs, lanes, traits), strict=True):
        want = case(lambda op, *v: expected(op, *v), *xs, lambda v: np.full_like(xs[0], v))
        if found := wrong(got, want, *xs, zeros=not text.startswith("m")):
            bad[text] = found
    assert bad == {}


# ---- functions ----------------------------------------------------------------------------------------------------------

REFERENCE = {op.name: op.numpy for op in OPS.values()}
BINARY = {"pow", "atan2", "hypot"}
# largest errors in ulp: (float32, float64); unfused multiply-adds cost some over the CPU's
BOUNDS = {
    "exp": (1.8, 1.6), "exp2": (1.3, 1.3), "expm1": (1.6, 1.8), "log": (1.3, 1.1), "log2": (1.5, 1.5), "log10": (1.5, 1.5),
    "log1p": (1.4, 1.4), "sin": (1.8, 1.6), "cos": (1.8, 1.6), "tan": (3, 3), "asin": (2, 2), "acos": (2, 2), "atan": (2, 2),
    "atan2": (3, 2), "sinh": (2.4, 2.4), "cosh": (2.4, 2.2), "tanh": (2.6, 1.8), "asinh": (2, 2), "acosh": (2, 2), "atanh": (2, 2),
    "sigmoid": (3, 2.4), "erf": (1.5, 1.8), "erfc": (3.5, 3.5), "ndtr": (4, 4), "pow": (1.6, 2), "cbrt": (1.6, 1.6), "hypot": (1.5, 1.5),
    "lgamma": (4, 4), "digamma": (5, 4),
}
ABSOLUTE = {"lgamma": (2e-7, 1e-14), "digamma": (2e-7, 1e-14)}       # near their zeros
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-40, -1e-40, 5e-324, -5e-324, 1e-310, 200.0, -200.0, 1000.0, -1000.0,
           1e9, -1e9, 1e30, -1e30, 1e300, -1e300, INF, -INF, NAN, 4.5, -4.5, 8.0, 0.25, 1e-20, 1.0000001, 0.9999999, -1.0000001]
SEAMS = [0.41421356, 0.5, 0.65, 0.70710678, 0.9277, 1.0, 1.41421356, 1.5, np.pi / 2, 2.0, np.pi, 8.0, 10.05, 26.5, 88.7, 89.4, 103.9,
         709.78, 710.4, 745.1, 1e5, 1e6]


def special_arguments(dtype: np.dtype, binary: bool) -> list[np.ndarray]:
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([*SPECIAL, np.finfo(dtype).max, np.finfo(dtype).tiny], F64).astype(dtype)
    return [np.repeat(x, len(x)), np.tile(x, len(x))] if binary else [x]


def samples(dtype: np.dtype, n: int, binary: bool, seed: int = 0) -> list[np.ndarray]:
    """Random bit patterns, the ranges where the functions live, and the surroundings of the seams between formulas."""
    rng = np.random.default_rng(seed)
    kind = np.uint32 if dtype == F32 else np.uint64
    wide = 120 if dtype == F32 else 800
    around = np.array([e * (1 + k * float(np.finfo(dtype).eps)) for e in SEAMS for k in range(-4, 5)])
    x = np.concatenate([p.astype(dtype) for p in (
        rng.integers(0, np.iinfo(kind).max, n, dtype=kind).view(dtype), rng.uniform(-1, 1, n), rng.uniform(-10, 10, n), rng.uniform(-wide, wide, n),
        1 + rng.normal(size=n) * 0.01, around, -around, np.exp(rng.uniform(-20, 20, n)))])
    x = x[np.isfinite(x)]
    if not binary:
        return [x]
    with np.errstate(all="ignore"):
        near = (x * rng.uniform(0, 2, len(x))).astype(dtype)
        # an exponent that gives a power within the range
        power = rng.uniform(-1.1, 1.02, len(x)) * np.log(float(np.finfo(dtype).max)) / np.log(np.abs(x.astype(F64)))
        power = np.clip(power, -1e30, 1e30).astype(dtype)
    y = np.choose(rng.integers(0, 3, len(x)), [near, rng.permutation(x), power])
    ok = np.isfinite(y)
    return [np.abs(x[ok]), y[ok]]


def exact_value(name: str, *xs: float):
    """The exact value (mpf) where it is real and finite, else None."""
    m = [mpmath.mpf(float(x)) for x in xs]
    x = m[0]
    special_forms = {
        "exp2": lambda: mpmath.power(2, x), "log2": lambda: mpmath.log(x) / mpmath.log(2), "sigmoid": lambda: 1 / (1 + mpmath.exp(-x)),
        "pow": lambda: mpmath.power(*m), "ndtr": lambda: mpmath.ncdf(x), "digamma": lambda: mpmath.digamma(x),
        "lgamma": lambda: mpmath.log(abs(mpmath.gamma(x))) if abs(x) < 1e4 else mpmath.re(mpmath.loggamma(x)),
    }
    try:
        v = special_forms.get(name, lambda: getattr(mpmath, name)(*m))()
    except (ValueError, ZeroDivisionError, OverflowError, mpmath.libmp.NoConvergence):
        return None
    return v if isinstance(v, mpmath.mpf) and mpmath.isfinite(v) else None


def ulps(name: str, got: np.ndarray, *xs: np.ndarray) -> np.ndarray:
    """Errors in ulp of the exact value (of the least denormal below the normal numbers): float32 against float64, float64
    against 40 digits. 0 where the exact value is not finite and where a tiny absolute error is promised instead."""
    dtype = got.dtype
    with np.errstate(all="ignore"), mpmath.workdps(40):
        exact = [exact_value(name, *point) for point in zip(*xs, strict=True)] if dtype == F64 else REFERENCE[name](*(x.astype(F64) for x in xs))
        nearest = np.array([NAN if v is None else float(v) for v in exact]).astype(dtype)
        if dtype == F32:
            error = np.abs(got.astype(F64) - exact)
        else:
            error = np.array([0 if v is None else float(abs(mpmath.mpf(float(g)) - v)) if np.isfinite(g) else INF
                              for g, v in zip(got, exact, strict=True)])
        spacing = np.maximum(np.spacing(np.abs(nearest)).astype(F64), float(np.finfo(dtype).smallest_subnormal))
        out = np.where(np.isfinite(nearest), np.nan_to_num(error / spacing, nan=INF, posinf=INF), 0)
    if name in ABSOLUTE:
        at = int(dtype == F64)
        out = np.where(error < ABSOLUTE[name][at], 0, out)
        if dtype == F32:              # below 0 two terms cancel: the error is that of the larger, lgamma(1 - x) or psi(1 - x) and pi cot(pi x)
            with np.errstate(all="ignore"):
                x = xs[0].astype(F64)
                size = np.abs(REFERENCE[name](1 - x)) + 4
                out = np.where((x < 0) & (error < 6e-7 * size), 0, out)
    if not gpu()[1].software:         # denormal numbers may be flushed
        tiny = np.finfo(dtype).tiny
        for v in (nearest, *xs):
            out = np.where(np.abs(v) < tiny, 0, out)
    return out


def functions_at(names, lanes: int, xs: list[np.ndarray], traits: Traits) -> list[np.ndarray]:
    return compute(operations(names, xs[0].dtype, lanes, traits), xs, lanes, traits)


UNARY = [n for n in FUNCTIONS if n not in BINARY]
GROUPS = [UNARY[k::4] for k in range(4)] + [sorted(BINARY)]


@pytest.mark.parametrize("group", range(5))
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_errors_of_functions(name, group):
    traits, dtype, names = needs(name), np.dtype(name), GROUPS[group]
    xs = samples(dtype, 10000 if dtype == F32 else 60, group == 4)
    bad = {}
    for f, got in zip(names, functions_at(names, 4, xs, traits), strict=True):
        keep = xs[0] > -200 if f in ABSOLUTE else slice(None)
        error = ulps(f, got[keep], *(x[keep] for x in xs))
        if error.max() > BOUNDS[f][dtype == F64]:
            at = error.argmax()
            bad[f] = (error.max(), [float(x[keep][at]) for x in xs], got[keep][at])
    assert bad == {}


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("group", range(5))
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_special_values_of_functions(name, group, lanes):
    """NaN, infinities, zeros and their signs as NumPy and SciPy have them, other values within 4 ulp."""
    traits, dtype, names = needs(name), np.dtype(name), GROUPS[group]
    xs = special_arguments(dtype, group == 4)
    bad = {}
    for f, got in zip(names, functions_at(names, lanes, xs, traits), strict=True):
        with np.errstate(all="ignore"), mpmath.workdps(40):
            want = REFERENCE[f](*xs).astype(dtype)
            if f == "lgamma":        # SciPy's is inf at denormals and loses digits near 1
                exact = [exact_value(f, x) for x in xs[0]]
                want = np.array([w if v is None else float(v) for w, v in zip(want, exact, strict=True)]).astype(dtype)
            near = np.isfinite(want) & (want != 0) & (np.abs(got - want) <= 4 * np.abs(np.spacing(want)))
        if found := wrong(np.where(near, want, got), want, *xs):
            bad[f] = found
    assert bad == {}


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_angles_next_to_multiples_of_half_pi(name):
    traits, dtype, names = needs(name), np.dtype(name), ["sin", "cos", "tan"]
    with mpmath.workdps(400):
        counts = (1, 2, 3, 10**3, 63_661, 63_663, 636_618, 636_620, 10**7 + 1, 2**40 + 1, 10**30 + 3)
        multiples = [float(k * mpmath.pi / 2) for k in counts]
        nearest = 6381956970095103 * 2.0 ** (797 if dtype == F64 else 60)         # comes nearest of all float64
        exponents = [s * 1.37 * 2.0**k for k in range(16, 127 if dtype == F32 else 1023, 1 if dtype == F32 else 9) for s in (1, -1)]
        x = np.array([*multiples, nearest, 1e22, 3e38, *exponents], F64).astype(dtype)
        for f, got in zip(names, functions_at(names, 4, [x], traits), strict=True):
            for v, g in zip(x, got, strict=True):
                exact = getattr(mpmath, f)(mpmath.mpf(float(v)))
                assert abs(mpmath.mpf(float(g)) - exact) <= BOUNDS[f][dtype == F64] * float(np.spacing(dtype.type(abs(float(exact))))), (f, v)


def test_functions_of_float16_are_rounded_once():
    """Every float16 between 2**-14 and 2**5: the float32 result is within 4 ulp, so the rounded one is next to the exact value."""
    traits = needs("float16")
    x = np.arange(0x0400, 0x5000, 3, dtype=np.uint16).view(F16)
    for names, xs in ((UNARY, [x]), (sorted(BINARY), [x, x[::-1].copy()])):
        for f, got in zip(names, functions_at(names, 4, xs, traits), strict=True):
            with np.errstate(all="ignore"):
                want = REFERENCE[f](*(v.astype(F64) for v in xs))
                rounded = want.astype(F16)
                error = np.abs(got.astype(F64) - want) / np.maximum(np.spacing(np.abs(rounded)).astype(F64), 2.0**-24)
            ok = np.isfinite(rounded)
            assert (got[~ok] == rounded[~ok])[~np.isnan(rounded[~ok])].all() and np.isnan(got[np.isnan(rounded)]).all(), f
            assert error[ok].max() <= 0.51, (f, xs[0][ok][error[ok].argmax()])


# ---- fast mathematics, acceptance ------------------------------------------------------------------------------------------

def test_fast_math_uses_builtins_and_is_near():
    traits = changed(needs("float32"), fast_math=True)
    x = np.random.default_rng(0).uniform(0.1, 0.9, 400).astype(F32)
    names = sorted(set(FAST) - {"acosh", "atan2"}) + ["maximum", "minimum", "fmod", "add", "mul", "erf"]
    xs = [x, x[::-1].copy()]
    for f, got in zip(names, functions_at(names, 4, xs, traits), strict=True):
        assert np.allclose(got, expected(f, *xs), rtol=1e-3, atol=1e-5), f
    source = shader(operations(names, F32, 4, traits), [F32, F32], 4, 4, traits)[0]
    assert "keep_" not in source and "exp(" in source and "np_exp" not in source


@pytest.mark.parametrize("lanes", [0, 4])
def test_tint_accepts_what_naga_accepts(lanes):
    tint = pytest.importorskip("tint")
    pytest.importorskip("pydawn")
    traits = changed(EVERYTHING, float16=False, float64=False, int64=False)
    for d in scalars.known_dtypes(traits):
        names = [op for op, dtype in sorted(scalars.caps_ops(traits)) if dtype == d.name]
        build = operations(names, d, lanes, traits)

        def everything(module, body, args, d=d, build=build):
            values = values_of(d).tolist()
            out = build(module, body, args)
            out += [(d, scalars.emit(module, body, "const", d, lanes, [], d, (repr(v),))) for v in values]
            return out + [(to, scalars.emit(module, body, "cast", d, lanes, args[:1], to)) for to in scalars.known_dtypes(traits)]

        assert tint.check(shader(everything, [d, d], lanes, 64, traits)[0], portable=False) == "", d


def test_types():
    assert [type_name(np.dtype(n)) for n in NAMES] == ["bool", "i32", "i32", "i32", "i64", "u32", "u32", "u32", "u64", "f32", "f32", "f64"]
    assert type_name(F64, 4) == "vec4<f64>"
    assert [storage_name(np.dtype(n)) for n in NAMES] == ["u32", "i32", "i32", "i32", "i64", "u32", "u32", "u32", "u64", "f16", "f32", "f64"]


def main() -> None:
    """Print the largest errors."""
    for name in ("float32", "float64"):
        traits, dtype = needs(name), np.dtype(name)
        for names, binary in ((UNARY, False), (sorted(BINARY), True)):
            xs = samples(dtype, 200_000 if dtype == F32 else 1000, binary)
            for f in names:
                got = functions_at([f], 4, xs, traits)[0]
                keep = xs[0] > (0 if dtype == F32 else -200) if f in ABSOLUTE else slice(None)
                error = ulps(f, got[keep], *(x[keep] for x in xs))
                print(f"{name} {f}: {error.max():.2f} at {[float(x[keep][error.argmax()]) for x in xs]}", flush=True)


if __name__ == "__main__":
    main()
