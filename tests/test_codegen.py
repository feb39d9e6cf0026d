"""LLVM text from kernels and programs: every scalar operation, stride, mask, tail, accumulator and step, against NumPy."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from lazygrad.backends.llvm import externs, jit, kernels, scalars, target
from lazygrad.backends.llvm import program as programs
from lazygrad.backends.llvm.text import Module
from lazygrad.dtypes import DTYPES, FLOATS, INTEGERS
from lazygrad.ir import scalar as S
from lazygrad.ir.aval import aval
from lazygrad.ir.kernel import Accumulate, Carry, Check, Combine, Kernel, Loop, Param, Store
from lazygrad.ir.program import PAD, Buffer, Call, Gemm, Host, Program

f2, f4, f8, i1, i4, i8, u1, b1 = (np.dtype(t) for t in ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "?"))
REAL = [d for d in DTYPES if d.kind != "c" and (d != f2 or "f16c" in target.host().has or target.host().arch == "aarch64")]


def padded(a):
    """A copy with PAD bytes behind it, aligned to 64."""
    a = np.asarray(a)
    raw = np.zeros(a.nbytes + PAD + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start:start + a.nbytes].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def load(program):
    e = programs.emit(program, target.host())
    native = jit.load(jit.compile_text(e.text))
    calls = [p if isinstance(p, Host) else ctypes.CFUNCTYPE(None, ctypes.c_void_p)(native.address(p)) for p in e.parts]
    return calls, native


def run_program(program, inputs, outputs):
    """Run on arrays; returns the output arrays and the fault cell."""
    calls, native = load(program)
    arena = padded(np.zeros(program.arena, np.uint8))
    buffers = [padded(a) for a in inputs], [padded(a) for a in outputs]
    fault = np.zeros(1, np.int64)
    args = np.array([externs.table(True).ctypes.data, arena.ctypes.data, fault.ctypes.data,
                     *[a.ctypes.data for a in buffers[0] + buffers[1]]], np.int64)
    for call in calls:
        call(args.ctypes.data)
    del native
    return buffers[0], buffers[1], int(fault[0])


def run(body, arrays, writes):
    """Run one kernel over arrays (copied); returns them after it, and the fault cell."""
    params = tuple(Param(a.dtype, j in writes) for j, a in enumerate(arrays))
    buffers = tuple(Buffer("input", aval(a.shape, a.dtype), j) for j, a in enumerate(arrays))
    every = tuple(range(len(arrays)))
    p = Program(buffers, every, (), (), (Call(0, every),), (Kernel(params, tuple(body)),), 0)
    after, _, fault = run_program(p, arrays, [])
    return after, fault


def elementwise(ops, inputs, mode):
    """Each of `ops` (functions of Scalars) on the elements of equal 1-d arrays, in one kernel."""
    n = inputs[0].size
    i = S.var("i", n)
    xs = [S.load(j, i, a.dtype) for j, a in enumerate(inputs)]
    values = [op(*xs) for op in ops]
    body = Loop("i", n, mode, tuple(Store(len(inputs) + j, i, v) for j, v in enumerate(values)))
    outs = [np.zeros(n, v.dtype) for v in values]
    after, _ = run([body], [*inputs, *outs], range(len(inputs), len(inputs) + len(outs)))
    return after[len(inputs):]


def samples(dtype):
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        some = [0, 1, 2, 3, 5, 7, 10, 31, 100, info.max, info.max - 1, info.max // 2, info.min, info.min + 1]
        return np.array(some + ([-1, -2, -3, -7, -100] if dtype.kind == "i" else []), dtype)
    info = np.finfo(dtype)
    some = [0.0, 0.3, 0.5, 1.0, 1.5, 2.5, 3.0, 7.25, 100.0, info.tiny, info.smallest_subnormal, info.max, np.inf]
    return np.array(some + [-x for x in some] + [np.nan], dtype)


def pairs(dtype, other=None):
    x, y = np.meshgrid(samples(dtype), samples(other or dtype))
    return x.ravel(), y.ravel()


def same(name, got, want, exact_zero=True):
    """Equal bits, but for the payload of NaN."""
    assert got.dtype == want.dtype, name
    if want.dtype.kind == "f":
        nan = np.isnan(want)
        assert (np.isnan(got) == nan).all(), name
        if exact_zero:
            assert (np.signbit(got) == np.signbit(want))[~nan].all(), name
        got, want = got[~nan], want[~nan]
    wrong = np.flatnonzero(got != want)
    assert not wrong.size, f"{name}: {got[wrong[:5]]} for {want[wrong[:5]]}"


INEXACT = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "hypot", "sin", "cos", "tan", "asin", "acos", "atan",
           "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf", "erfc", "ndtr", "lgamma", "digamma", "cbrt"}
ZERO_SIGN_OPEN = {"maximum", "minimum", "fmax", "fmin"}            # NumPy's own loops differ in the sign of zero


def reference(name, *args):
    if name == "select":
        return np.where(*args)
    with np.errstate(all="ignore"):
        out = np.asarray(S.OPS[name].numpy(*args))
    return out if S.OPS[name].out == "bool" else out.astype(args[-1].dtype)


def close(name, got, want):
    tolerance = {2: 2e-3, 4: 2e-6, 8: 1e-13}[want.dtype.itemsize]
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance,
                               atol=float(np.finfo(want.dtype).tiny), err_msg=f"{name} {want.dtype}")


@pytest.mark.parametrize("mode", ["vector", "serial"])
@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_every_exact_operation_gives_numpys_value_for_special_values(dtype, mode):
    for arity in (1, 2):
        names = sorted(n for n, d in scalars.CAPS_OPS if d == dtype.name and n not in INEXACT | {"pow", "select"}
                       and S.OPS[n].arity == arity)
        if not names:
            continue
        inputs = [samples(dtype)] if arity == 1 else list(pairs(dtype))
        outs = elementwise([lambda *xs, n=n: S.apply(n, *xs) for n in names], inputs, mode)
        for name, got in zip(names, outs, strict=True):
            same(name, got, reference(name, *inputs), name not in ZERO_SIGN_OPEN)


@pytest.mark.parametrize("mode", ["vector", "serial"])
@pytest.mark.parametrize("dtype", [d for d in REAL if d.kind == "f"], ids=str)
def test_every_function_is_close_to_numpy(dtype, mode):
    rng = np.random.default_rng(1)
    for arity in (1, 2):
        names = sorted(n for n, d in scalars.CAPS_OPS if d == dtype.name and n in INEXACT and S.OPS[n].arity == arity)
        inputs = [rng.uniform(0.1, 0.9, 37).astype(dtype) for _ in range(arity)]
        outs = elementwise([lambda *xs, n=n: S.apply(n, *xs) for n in names], inputs, mode)
        for name, got in zip(names, outs, strict=True):
            want = reference(name, *[x.astype(np.float64) for x in inputs])
            if name != "acosh":
                close(name, got, want.astype(dtype))
            else:
                assert np.isnan(got).all()


def test_every_operation_of_the_table_is_emitted():
    want = {(o.name, d.name) for o in S.OPS.values() for d in DTYPES if d.kind in o.kinds} - {("nextafter", "float16")}
    assert want == scalars.caps_ops() and want >= scalars.CAPS_OPS
    assert not any(d == "float16" for _, d in scalars.caps_ops(half=False))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_power_wraps_like_numpy(dtype):
    x, n = pairs(dtype)
    x, n = x[n >= 0], n[n >= 0]
    for mode in ("vector", "serial"):
        got, = elementwise([lambda a, b: S.apply("pow", a, b)], [x, n], mode)
        same("pow", got, reference("pow", x, n))


def test_float_power_of_special_values():
    x, y = pairs(f8)
    got, = elementwise([lambda a, b: S.apply("pow", a, b)], [x, y], "vector")
    np.testing.assert_allclose(got, reference("pow", x, y), rtol=1e-13)


def test_remainder_of_many_random_pairs_is_exact():
    rng = np.random.default_rng(0)
    for dtype in (f4, f8):
        x = (rng.standard_normal(4000) * 10.0 ** rng.integers(-3, 9, 4000)).astype(dtype)
        y = (rng.standard_normal(4000) * 10.0 ** rng.integers(-3, 4, 4000)).astype(dtype)
        x[::3] = (y[::3] * rng.integers(-50, 50, y[::3].size)).astype(dtype)
        names = ("fmod", "remainder", "floor_divide")
        outs = elementwise([lambda a, b, n=n: S.apply(n, a, b) for n in names], [x, y], "vector")
        for name, got in zip(names, outs, strict=True):
            same(name, got, reference(name, x, y))


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_select_takes_the_chosen_branch(dtype):
    x, y = pairs(dtype)
    mask = np.arange(x.size) % 3 == 0
    for mode in ("vector", "serial"):
        got, = elementwise([lambda m, a, b: S.apply("select", m, a, b)], [mask, x, y], mode)
        same("select", got, np.where(mask, x, y))


@pytest.mark.parametrize("mode", ["vector", "serial"])
@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_casts_are_those_of_astype(dtype, mode):
    rng = np.random.default_rng(2)
    x = samples(dtype)
    if dtype.kind == "f":
        x = np.concatenate([x, rng.standard_normal(40).astype(dtype) * 100])
    if dtype in (f4, f8):
        x = np.concatenate([x, np.array([65519.9, 65520.0, 2049.0, 2051.0]).astype(dtype)])
    if dtype == f8:                                            # would round wrongly through float32
        x = np.concatenate([x, 1 + 2.0**-11 + np.array([2.0**-40, -2.0**-40]), [2.0**-25 * (1 + 2.0**-40)]])
    outs = elementwise([lambda s, d=d: S.cast(S.apply("select", S.const(True, b1), s, s), d) for d in REAL], [x], mode)
    for to, got in zip(REAL, outs, strict=True):
        with np.errstate(all="ignore"):
            want = x.astype(to)
        keep = np.full(x.shape, True)
        if dtype.kind == "f" and to.kind in "iu":              # C leaves the others open
            info = np.iinfo(to)
            whole = np.trunc(x.astype(np.float64))
            keep = (whole >= info.min) & (whole < float(info.max) + (1 if to.itemsize < 8 else 0))
        same(f"{dtype} to {to}", got[keep], want[keep])


@pytest.mark.parametrize("overrun", [False, True])
def test_tails_of_every_length(overrun):
    rng = np.random.default_rng(3)
    for n in (*range(70), 127, 129):
        x = rng.standard_normal(n).astype(f4)
        i = S.var("i", n)
        body = Loop("i", n, "vector", (Store(1, i, S.apply("add", S.load(0, i, f4), S.const(1.0, f4))),), (), overrun)
        (_, out), _ = run([body], [x, np.full(n + 70, 9, f4)], {1})
        same("add", out[:n], x + f4.type(1))
        assert overrun or (out[n:] == 9).all()


@pytest.mark.parametrize("dtype", [f4, i1, b1], ids=str)
@pytest.mark.parametrize("n", [5, 16, 33, 49, 70])
def test_strides_reversal_gather_and_scatter(dtype, n):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 2 if dtype == b1 else 100, 3 * n).astype(dtype)
    pick = rng.permutation(n)
    i = S.var("i", n)
    at = S.load(1, i, i8)
    reversed_ = S.iadd(S.index(n - 1), S.imul(i, -1))
    threes = S.iadd(S.imul(i, 3), S.index(2))
    stores = (Store(2, i, S.load(0, reversed_, dtype)), Store(3, i, S.load(0, threes, dtype)),
              Store(4, i, S.load(0, at, dtype)), Store(5, reversed_, S.load(0, i, dtype)),
              Store(6, threes, S.load(0, i, dtype)), Store(7, at, S.load(0, i, dtype)),
              Store(8, i, S.load(0, S.iadd(S.ifloordiv(i, 3), S.imul(S.imod(i, 3), 2)), dtype)))
    arrays = [x, pick, *[np.zeros(n, dtype) for _ in range(4)], np.zeros(3 * n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)]
    out, _ = run([Loop("i", n, "vector", stores, (), True)], arrays, range(2, 9))
    k = np.arange(n)
    spread = np.zeros(3 * n, dtype)
    spread[2::3] = x[:n]
    placed = np.zeros(n, dtype)
    placed[pick] = x[:n]
    for j, want in enumerate([x[:n][::-1], x[2::3], x[pick], x[:n][::-1], spread, placed, x[k // 3 + k % 3 * 2]]):
        same(str(j), out[2 + j], want)


@pytest.mark.parametrize("mode", ["vector", "serial"])
@pytest.mark.parametrize("dtype", [f4, f8, u1, b1, f2] if f2 in REAL else [f4, f8, u1, b1], ids=str)
def test_masked_loads_read_nothing_where_the_mask_is_false(dtype, mode):
    n, m = 45, 20
    x = np.random.default_rng(0).integers(0, 2, n).astype(dtype)
    i = S.var("i", n)
    shifted = S.iadd(i, S.index(-m))
    far = S.imul(S.iadd(i, S.index(-m)), 1 << 30)                # would fault if it were read
    back = S.iadd(S.index(m), S.imul(i, -1))
    ok, none = S.inside(shifted, 0, n), S.inside(shifted, 0, 1)
    stores = (Store(1, i, S.load(0, shifted, dtype, ok)), Store(2, i, S.load(0, far, dtype, none)),
              Store(3, i, S.load(0, back, dtype, S.inside(back, 0, n))), Store(4, i, S.load(0, S.index(3), dtype, ok)))
    out, _ = run([Loop("i", n, mode, stores)], [x] + [np.ones(n, dtype)] * 4, {1, 2, 3, 4})
    k = np.arange(n)
    same("shift", out[1], np.where(k >= m, x[k - m], 0).astype(dtype))
    same("far", out[2], np.where(k == m, x[0], 0).astype(dtype))
    same("back", out[3], np.where(k <= m, x[m - k], 0).astype(dtype))
    same("one", out[4], np.where(k >= m, x[3], 0).astype(dtype))


MONOIDS = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or}


@pytest.mark.parametrize("monoid", MONOIDS)
@pytest.mark.parametrize("dtype", [f4, f8, i4, u1, b1], ids=str)
def test_accumulators(monoid, dtype):
    if (monoid, dtype.name) not in scalars.CAPS_OPS:
        assert dtype.kind in "fb"
        return
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 3, 15, 16, 17, 40, 70, 300, 1037):
        x = (rng.integers(0, 2, n) if dtype == b1 else rng.integers(1, 3, n) if monoid == "mul" else rng.integers(0, 200, n))
        x = x.astype(dtype)
        i = S.var("i", n)
        loop = lambda mode, n=n, i=i: Loop("i", n, mode, (Accumulate("t", S.load(0, i, dtype)),), (Carry("t", monoid, dtype),))
        total = S.carry("t", dtype)
        body = [loop("vector"), Store(1, S.index(0), total), loop("serial"), Store(1, S.index(1), total)]
        (_, out), _ = run(body, [x, np.zeros(2, dtype)], {1})
        initial = scalars.identity(monoid, dtype)
        with np.errstate(all="ignore"):
            want = MONOIDS[monoid].reduce(x, dtype=dtype, initial=np.asarray(initial).astype(dtype))
        np.testing.assert_allclose(out.astype(np.float64), float(want), rtol=1e-5)


def test_accumulators_of_two_loops_widen_and_keep_nan():
    m, n = 7, 130
    x = np.random.default_rng(0).standard_normal((m, n)).astype(f4)
    x[3, 77] = np.nan
    r, i = S.var("r", m), S.var("i", n)
    at = S.flat((r, i), (m, n))
    v = S.load(0, at, f4)
    inner = Loop("i", n, "vector", (Accumulate("row", v), Accumulate("all", v), Accumulate("top", v), Check(S.apply("eq", v, v), 4)),
                 (Carry("row", "add", f4), Carry("top", "maximum", f4)))
    outer = Loop("r", m, "serial", (inner, Store(1, r, S.carry("row", f4)), Store(2, r, S.carry("top", f4))), (Carry("all", "add", f8),))
    out, fault = run([outer, Store(3, S.index(0), S.carry("all", f8))], [x, np.zeros(m, f4), np.zeros(m, f4), np.zeros(1, f8)], {1, 2, 3})
    np.testing.assert_allclose(out[1], x.sum(1), rtol=1e-5, atol=1e-5)
    same("max", out[2], x.max(1))
    assert np.isnan(out[3][0]) and fault == 5
    x[3, 77] = 1e-9
    out, fault = run([outer, Store(3, S.index(0), S.carry("all", f8))], [x, np.zeros(m, f4), np.zeros(m, f4), np.zeros(1, f8)], {1, 2, 3})
    np.testing.assert_allclose(out[3][0], x.astype(f8).sum(), rtol=1e-12)
    assert fault == 0


@pytest.mark.parametrize("m,n", [(16, 16), (37, 45), (16, 3), (100, 33)])
def test_transposition_runs_in_tiles(m, n):
    x, y = np.arange(m * n, dtype=f4).reshape(n, m), np.arange(m * n, dtype=f4).reshape(m, n)
    r, i = S.var("r", m), S.var("i", n)
    v = S.apply("add", S.load(0, S.flat((i, r), (n, m)), f4), S.load(1, S.flat((r, i), (m, n)), f4))
    body = Loop("r", m, "serial", (Loop("i", n, "vector", (Store(2, S.flat((r, i), (m, n)), v),)),))
    out, _ = run([body], [x, y, np.zeros((m, n), f4)], {2})
    assert (out[2] == x.T + y).all()


def test_rows_are_normalised_with_loop_invariants_outside_the_inner_loop():
    m, n = 5, 37
    x = np.random.default_rng(0).standard_normal((m, n)).astype(f4)
    w = np.float32([2.0])
    r, i = S.var("r", m), S.var("i", n)
    at = S.flat((r, i), (m, n))
    scale = S.apply("div", S.load(1, S.index(0), f4), S.apply("sqrt", S.carry("t", f4)))
    v = S.load(0, at, f4)
    body = [Loop("r", m, "serial", (Loop("i", n, "vector", (Accumulate("t", S.apply("mul", v, v)),), (Carry("t", "add", f4),)),
                                    Loop("i", n, "vector", (Store(2, at, S.apply("mul", v, scale)),))))]
    out, _ = run(body, [x, w, np.zeros((m, n), f4)], {2})
    np.testing.assert_allclose(out[2], 2 * x / np.sqrt((x * x).sum(1, keepdims=True)), rtol=1e-5)
    module = Module()
    kernels.write(module, "k", Kernel((Param(f4, False), Param(f4, False), Param(f4, True)), tuple(body)))
    text = module.text()
    assert text.count("llvm.sqrt.f32(float %") == 1
    assert text.index("load float, ptr %b1") < text.index("phi")           # known before every loop


def test_a_run_of_statements_computes_before_it_writes():
    x = np.arange(6, dtype=f4)
    a, b = S.load(0, S.index(0), f4), S.load(0, S.index(1), f4)
    (out,), _ = run([Store(0, S.index(0), b), Store(0, S.index(1), a)], [x], {0})
    assert out[:2].tolist() == [1, 0]
    i = S.var("i", 5)                                                      # a scan reads what the last step wrote
    step = Store(0, S.iadd(i, S.index(1)), S.apply("add", S.load(0, i, f4), S.load(0, S.iadd(i, S.index(1)), f4)))
    (out,), _ = run([Loop("i", 5, "serial", (step,))], [x], {0})
    assert out.tolist() == np.cumsum(x).tolist()


@pytest.mark.parametrize("monoid", ["add", "maximum"])
def test_combine_into_memory_also_where_steps_meet(monoid):
    n = 50
    rng = np.random.default_rng(1)
    x, at = rng.integers(-9, 9, n).astype(f4), rng.integers(0, 7, n)
    i = S.var("i", n)
    v = S.load(0, i, f4)
    body = [Loop("i", n, "vector", (Combine(2, S.load(1, i, i8), monoid, v), Combine(3, i, monoid, v), Combine(4, S.index(0), monoid, v)))]
    out, _ = run(body, [x, at, np.zeros(7, f4), np.ones(n, f4), np.zeros(1, f4)], {2, 3, 4})
    want = np.zeros(7, f4)
    MONOIDS[monoid].at(want, at, x)
    same("scatter", out[2], want)
    same("aligned", out[3], MONOIDS[monoid](x, f4.type(1)))
    assert out[4][0] == MONOIDS[monoid].reduce(x, initial=0)


def test_many_uses_of_a_function_share_one_copy():
    i = S.var("i", 40)
    x = S.load(0, i, f8)
    total = x
    for k in range(1, 31):
        total = S.apply("add", total, S.apply("exp", S.apply("mul", x, S.const(1 / k, f8))))
    body = Loop("i", 40, "vector", (Store(1, i, total),))
    v = np.linspace(-1, 1, 40)
    out, _ = run([body], [v, np.zeros(40)], {1})
    np.testing.assert_allclose(out[1], v + sum(np.exp(v / k) for k in range(1, 31)), rtol=1e-14)
    module = Module(target.host().has)
    kernels.write(module, "k", Kernel((Param(f8, False), Param(f8, True)), (body,)))
    assert module.text().count("call <8 x double> @exp_v8f64(") == 30 - scalars.INLINED


def test_a_deep_expression_is_emitted_without_recursion():
    total = S.load(0, S.index(0), f8)
    for _ in range(3000):
        total = S.apply("add", total, S.const(0.5, f8))
    out, _ = run([Store(1, S.index(0), total)], [np.ones(1), np.zeros(1)], {1})
    assert out[1][0] == 1501


def test_index_values_and_comparisons_of_indices():
    n, w = 70, 9
    i = S.var("i", n)
    row, col = S.unflat(i, (n // w + 1, w))
    stores = (Store(0, i, S.cast(S.imul(i, 3), f4)), Store(1, i, col), Store(2, i, S.apply("lt", row, col)),
              Store(3, i, S.cast(S.imul(i, 1 << 33), f8)))
    out, _ = run([Loop("i", n, "vector", stores)], [np.zeros(n, f4), np.zeros(n, i8), np.zeros(n, b1), np.zeros(n, f8)], range(4))
    k = np.arange(n)
    for got, want in zip(out, [k * 3, k % w, k // w < k % w, k * 2.0**33], strict=True):
        assert (got == want).all()


def test_one_buffer_given_twice_is_read_again_after_it_is_written():
    n, m = 3, 20
    x = np.arange(m, dtype=f4)
    i, last = S.var("i", m - 1), S.index(m - 1)
    inner = Loop("i", m - 1, "vector", (Store(1, i, S.apply("add", S.load(0, i, f4), S.load(0, last, f4))),))
    grow = Loop("r", n, "serial", (inner, Store(1, last, S.const(1.0, f4))))
    a = aval((m,), f4)
    k = Kernel((Param(f4, False), Param(f4, True)), (grow,))
    p = Program((Buffer("input", a, 0),), (0,), (), (), (Call(0, (0, 0)),), (k,), 0)
    (out,), _, _ = run_program(p, [x], [])
    want = x.copy()
    for _ in range(n):
        want[:-1] += want[-1]
        want[-1] = 1
    assert out.tolist() == want.tolist()


def chain(calls):
    """`calls` additions of 1 through alternating temporaries."""
    n = 8
    a = aval((n,), f4)
    i = S.var("i", n)
    k = Kernel((Param(f4, False), Param(f4, True)), (Loop("i", n, "vector", (Store(1, i, S.apply("add", S.load(0, i, f4), S.const(1.0, f4))),)),))
    buffers = (Buffer("input", a, 0), Buffer("output", a, 0), Buffer("temp", a, 0, 0), Buffer("temp", a, 0, 512))
    names = [0] + [2 + j % 2 for j in range(calls - 1)] + [1]
    steps = tuple(Call(0, (names[j], names[j + 1])) for j in range(calls))
    return Program(buffers, (0,), (1,), (None,), steps, (k,), 1024)


def test_long_programs_are_a_table_and_give_the_same():
    x = np.arange(8, dtype=f4)
    for calls in (1, 2, 64, 65, 3000):
        _, (out,), _ = run_program(chain(calls), [x], [np.zeros(8, f4)])
        assert out.tolist() == (x + calls).tolist()
    assert len(programs.emit(chain(3000), target.host()).text.splitlines()) < 100


@pytest.mark.parametrize("dtype", [f4, f8], ids=str)
def test_matrix_products_of_every_form(dtype):
    rng = np.random.default_rng(0)
    m, n, k, batch = 4, 5, 3, 3
    for trans_a, trans_b, accumulate, a_batch, b_batch in [(0, 0, 0, 1, 1), (1, 0, 1, 1, 1), (0, 1, 0, 1, 0), (1, 1, 1, 0, 1), (0, 0, 0, 1, 0)]:
        a, b = rng.standard_normal((batch, m, k)).astype(dtype), rng.standard_normal((batch, k, n)).astype(dtype)
        a, b = a if a_batch else a[:1].repeat(3, 0), b if b_batch else b[:1].repeat(3, 0)
        c = rng.standard_normal((batch, m, n)).astype(dtype)
        stored_a, stored_b = a.swapaxes(1, 2) if trans_a else a, b.swapaxes(1, 2) if trans_b else b
        buffers = (Buffer("input", aval(a.shape, dtype), 0), Buffer("input", aval(b.shape, dtype), 1), Buffer("output", aval(c.shape, dtype), 0))
        g = Gemm(0, 1, 2, m, n, k, m if trans_a else k, k if trans_b else n, n, bool(trans_a), bool(trans_b), bool(accumulate),
                 batch, m * k * a_batch, k * n * b_batch, m * n)
        p = Program(buffers, (0, 1), (2,), (None,), (g,), (), 0)
        _, (out,), _ = run_program(p, [stored_a, stored_b], [c])
        np.testing.assert_allclose(out, a @ b + c * accumulate, rtol=1e-4 if dtype == f4 else 1e-12)


def test_host_steps_divide_a_program_into_segments():
    p = chain(2)
    host = Host(None, (), (2,), 3)
    e = programs.emit(Program(p.buffers, p.inputs, p.outputs, p.into, (p.steps[0], host, p.steps[1]), p.kernels, p.arena), target.host())
    assert e.parts == ("body0", host, "body1")
    assert programs.emit(Program((), (), (), (), (), (), 0), target.host()).parts == ("body",)


@pytest.mark.parametrize("level,has", [("x86-64-v2", "xmm"), ("x86-64-v3", "ymm"), ("x86-64-v4", "ymm"), ("aarch64", ".4s")])
def test_text_becomes_assembly_for_other_machines(level, has):
    n = 100
    t = target.level(level)
    half = level != "x86-64-v2"
    i = S.var("i", n)
    for dtype in [d for d in (f2, f4, f8, i4, i8, u1, b1) if half or d != f2]:
        names = sorted({o for o, d in scalars.CAPS_OPS if d == dtype.name and o != "select"} - ({"tan", "lgamma", "erfc", "digamma"} if dtype != f4 else set()))
        xs = [S.load(0, i, dtype), S.load(0, S.imul(i, 2), dtype)]
        values = [S.apply(o, *xs[:S.OPS[o].arity]) for o in names] + [S.cast(xs[0], d) for d in INTEGERS + FLOATS if half or d != f2]
        params = (Param(dtype, False), *[Param(v.dtype, True) for v in values])
        body = Loop("i", n, "vector", tuple(Store(j + 1, i, v) for j, v in enumerate(values)))
        buffers = (Buffer("input", aval((2 * n,), dtype), 0), *[Buffer("output", aval((n,), v.dtype), j) for j, v in enumerate(values)])
        every = tuple(range(len(buffers)))
        p = Program(buffers, (0,), every[1:], (None,) * len(values), (Call(0, every),), (Kernel(params, (body,)),), 0)
        text = jit.assembly(programs.emit(p, t).text, target=t)
        assert has in text or dtype != f4
        calls = {line.split()[1] for line in text.splitlines() if line.split()[:1] in (["callq"], ["call"], ["bl"])}
        outside = {c for c in calls if not c.startswith("*")} - {line.split(":")[0] for line in text.splitlines() if ":" in line}
        assert not outside, outside
