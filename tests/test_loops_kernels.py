"""Kernels with states: loops that hand values on, alone and in the lanes of a vector loop, against the kernel interpreter."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from scalar_interpreter import run_kernel
from test_codegen import padded

from lazygrad.backends.llvm import externs, jit, kernels, target
from lazygrad.backends.llvm.text import Function, Module
from lazygrad.ir import scalar as S
from lazygrad.ir.kernel import Assign, Check, Kernel, Loop, Param, State, Store

F4, F8, I4 = np.dtype("float32"), np.dtype("float64"), np.dtype("int32")
WIDTHS = [1, 2, 3, 7, 8, 13, 16, 31, 33, 64, 70]


def native(kernel: Kernel, arrays: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """(buffers after the run, fault cell) of native code; nothing is written behind the buffers."""
    host = target.host()
    module = Module(host.has)
    kernels.write(module, "k", kernel, host.lanes_bytes, None, True)
    fn = Function(module, "define void @body(ptr %x) nounwind")
    pointers = [fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr %x, i64 {3 + k}')}, align 8") for k in range(len(arrays))]
    fn.line(f"call void @k({', '.join([f'ptr {p}' for p in [*pointers, '%x']])})")
    module.functions.append(fn.text())
    code = jit.load(jit.compile_text(module.text()))
    buffers, cell = [padded(a) for a in arrays], np.zeros(1, np.int64)
    args = np.array([externs.table().ctypes.data, 0, cell.ctypes.data, *[b.ctypes.data for b in buffers]], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("body"))(args.ctypes.data)
    return [b[:len(a)] for b, a in zip(buffers, arrays, strict=True)], int(cell[0])


def same(kernel: Kernel, arrays: list[np.ndarray], rtol: float) -> None:
    want = [a.copy() for a in arrays]
    fault = run_kernel(kernel, want)
    got, cell = native(kernel, arrays)
    assert cell == fault
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)


def lanes(width: int, body) -> tuple:
    return body if width == 1 else (Loop("i0", width, "vector", body),)


def op(name, *args):
    return S.apply(name, *args)


@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
@pytest.mark.parametrize("width", WIDTHS)
def test_states_of_lanes_and_rows_of_a_trajectory(width, dtype):
    """x, v of a spring, v' = v - x dt, x' = x + v' dt, for 9 steps, every x stored; t, one number for all lanes, scales dt."""
    i, t = S.var("i0", width), S.var("t", 9)
    x, v, clock = S.carry("x", dtype), S.carry("v", dtype), S.carry("clock", dtype)
    dt = op("mul", S.const(0.1, dtype), clock)
    faster = op("sub", v, op("mul", x, dt))
    step = op("add", x, op("mul", faster, dt))
    row = S.iadd(S.imul(t, width), i)
    inner = Loop("t", 9, "serial", (Store(2, row, x), Assign("x", step), Assign("v", faster), Assign("clock", op("add", clock, S.const(0.25, dtype)))),
                 states=(State("x", dtype, S.load(0, i, dtype)), State("v", dtype, op("neg", S.load(1, i, dtype))), State("clock", dtype, S.const(1, dtype))))
    body = lanes(width, (inner, Store(3, i, op("add", x, v))))
    kernel = Kernel((Param(dtype, False), Param(dtype, False), Param(dtype, True), Param(dtype, True)), body)
    rng = np.random.default_rng(width)
    arrays = [rng.normal(size=n).astype(dtype) for n in (width, width, 9 * width, width)]
    same(kernel, arrays, 1e-5 if dtype == F4 else 1e-13)                    # multiply-adds are fused: less than a rounding each step


@pytest.mark.parametrize("width", WIDTHS)
def test_every_lane_ends_at_its_own_step(width):
    """Newton's root of a while |x x - a| > tolerance, counted in an int32 of each lane."""
    i = S.var("i0", width)
    x, n, a = S.carry("x", F8), S.carry("n", I4), S.load(0, i, F8)
    test = op("lt", S.const(1e-9, F8), op("abs", op("sub", op("mul", x, x), a)))
    new = op("mul", S.const(0.5, F8), op("add", x, op("div", a, x)))
    inner = Loop("s", 1 << 31, "serial", (Assign("x", new), Assign("n", op("add", n, S.const(1, I4)))), test=test,
                 states=(State("x", F8, a), State("n", I4, S.const(0, I4))))
    kernel = Kernel((Param(F8, False), Param(F8, True), Param(I4, True)), lanes(width, (inner, Store(1, i, x), Store(2, i, n))))
    numbers = np.random.default_rng(width).uniform(0.01, 1e4, size=width)
    numbers[0] = 1.0                                                        # is its own root: no step
    arrays = [numbers, np.zeros(width), np.zeros(width, I4)]
    same(kernel, arrays, 1e-14)
    got, _ = native(kernel, arrays)
    assert got[2][0] == 0 and (width == 1 or got[2].max() > 5)
    np.testing.assert_allclose(got[1], np.sqrt(numbers), rtol=1e-9)


def test_a_test_and_a_bound():
    """At most 5 steps, fewer where the number passes 100 before."""
    i = S.var("i0", 9)
    x = S.carry("x", F4)
    inner = Loop("s", 5, "serial", (Assign("x", op("mul", x, S.const(2, F4))),), test=op("lt", x, S.const(100, F4)),
                 states=(State("x", F4, S.load(0, i, F4)),))
    kernel = Kernel((Param(F4, False), Param(F4, True)), (Loop("i0", 9, "vector", (inner, Store(1, i, x))),))
    start = np.array([1, 3, 5, 20, 30, 60, 99, 100, 1000], F4)
    got, _ = native(kernel, [start, np.zeros(9, F4)])
    assert got[1].tolist() == [32, 96, 160, 160, 120, 120, 198, 100, 1000]
    same(kernel, [start, np.zeros(9, F4)], 0)


@pytest.mark.parametrize("width", [1, 5, 40])
@pytest.mark.parametrize("bad", [False, True])
def test_checks_inside_count_only_while_a_lane_goes_on(width, bad):
    """Each lane counts down from its number; a check fails at the number 50, which only one lane of `bad` passes."""
    i = S.var("i0", width)
    x = S.carry("x", F4)
    inner = Loop("s", 1 << 31, "serial", (Check(op("ne", x, S.const(50, F4)), 3), Assign("x", op("sub", x, S.const(1, F4)))),
                 test=op("lt", S.const(0, F4), x), states=(State("x", F4, S.load(0, i, F4)),))
    kernel = Kernel((Param(F4, False), Param(F4, True)), lanes(width, (inner, Store(1, i, x))))
    start = (np.arange(width) % 40).astype(F4)
    start[-1] = 60 if bad else -50
    assert native(kernel, [start, np.zeros(width, F4)])[1] == (4 if bad else 0)
    same(kernel, [start, np.zeros(width, F4)], 0)


@pytest.mark.parametrize("width", [1, 9, 33])
def test_loops_with_states_in_each_other(width):
    """y <- y + (sum over 4 inner steps of z, z <- z * 0.5 + y), six times."""
    i = S.var("i0", width)
    y, z, s = S.carry("y", F8), S.carry("z", F8), S.carry("s", F8)
    inner = Loop("u", 4, "serial", (Assign("z", op("add", op("mul", z, S.const(0.5, F8)), y)), Assign("s", op("add", s, z))),
                 states=(State("z", F8, S.const(1, F8)), State("s", F8, S.const(0, F8))))
    outer = Loop("t", 6, "serial", (inner, Assign("y", op("add", y, op("mul", S.const(0.1, F8), s)))), states=(State("y", F8, S.load(0, i, F8)),))
    kernel = Kernel((Param(F8, False), Param(F8, True)), lanes(width, (outer, Store(1, i, y))))
    same(kernel, [np.linspace(-1, 1, width), np.zeros(width)], 1e-12)
