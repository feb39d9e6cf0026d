"""The scalar interpreter does what ir/kernel.py says: carries, runs of statements, masks, faults, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scalar_interpreter import identity, run_kernel

from lazygrad.dtypes import DTYPES, bool_, float32, float64, int64
from lazygrad.ir import scalar as S
from lazygrad.ir.kernel import MONOIDS, Accumulate, Carry, Check, Combine, Kernel, Loop, Param, Store

READ, WRITE = Param(float64, False), Param(float64, True)
I = S.var("i", 4)


def one_loop(*body, carries=(), after=(), params=(READ, WRITE)) -> Kernel:
    return Kernel(params, (Loop("i", 4, "serial", body, carries), *after))


def test_a_carry_starts_at_its_identity_and_is_wider_than_what_it_adds():
    total = Carry("s", "add", float64)
    kernel = one_loop(
        Accumulate("s", S.load(0, I, float32)),
        carries=(total,),
        params=(Param(float32, False), WRITE),
        after=(Store(1, S.index(0), S.carry("s", float64)),),
    )
    out = np.zeros(1)
    x = np.array([1e8, 1, -1e8, 0.5], np.float32)
    assert run_kernel(kernel, [x, out]) == 0
    assert out[0] == 1.5


def test_all_values_of_a_run_are_computed_before_any_is_written():
    last = S.iadd(S.index(3), S.imul(I, -1))
    swap = Kernel(
        (WRITE,),
        (Store(0, S.index(0), S.load(0, S.index(1), float64)), Store(0, S.index(1), S.load(0, S.index(0), float64))),
    )
    x = np.array([1.0, 2.0])
    run_kernel(swap, [x])
    assert x.tolist() == [2, 1]
    y = np.arange(4.0)
    run_kernel(one_loop(Store(0, I, S.load(0, last, float64)), params=(WRITE,)), [y])  # but loops run in order
    assert y.tolist() == [3, 2, 2, 3]


def test_a_masked_load_reads_nothing_and_is_zero():
    mask = S.apply("lt", I, S.index(2))
    out = np.ones(4)
    run_kernel(one_loop(Store(1, I, S.load(0, I, float64, mask))), [np.array([5.0, 6.0]), out])
    assert out.tolist() == [5, 6, 0, 0]


def test_combine_and_check():
    out = np.zeros(2)
    low = S.imod(I, 2)
    kernel = one_loop(Combine(1, low, "add", S.load(0, I, float64)), Check(S.apply("lt", I, S.index(3)), 6))
    assert run_kernel(kernel, [np.array([1.0, 2, 3, 4]), out]) == 7
    assert out.tolist() == [4, 6]


@pytest.mark.parametrize(
    ("kernel", "buffers", "error"),
    [
        (one_loop(Store(1, I, S.load(0, I, float64))), [np.zeros(3), np.zeros(4)], IndexError),
        (one_loop(Store(1, S.iadd(I, S.index(-1)), S.load(0, I, float64))), [np.zeros(4), np.zeros(4)], IndexError),
        (one_loop(Store(0, I, S.load(1, I, float64))), [np.zeros(4), np.zeros(4)], PermissionError),
        (one_loop(Store(1, I, I)), [np.zeros(4), np.zeros(4)], TypeError),
        (one_loop(), [np.zeros(4), np.zeros(4, np.float32)], TypeError),
        (one_loop(), [np.zeros(4)], ValueError),
    ],
)
def test_what_native_code_would_trust_is_checked(kernel, buffers, error):
    with pytest.raises(error):
        run_kernel(kernel, buffers)


@pytest.mark.parametrize("monoid", MONOIDS)
def test_an_identity_changes_nothing(monoid):
    kinds = S.OPS[monoid].kinds
    for dtype in [d for d in DTYPES if d.kind in kinds]:
        x = np.array([0, 1, 1] if dtype == bool_ else [0, 1, 100]).astype(dtype)
        assert np.array_equal(S.OPS[monoid].numpy(x, identity(monoid, dtype)), x)


def test_a_long_chain_of_scalars_needs_no_recursion():
    x = S.load(0, S.index(0), int64)
    for _ in range(5000):
        x = S.apply("add", x, S.const(1, int64))
    buffer = np.array([0])
    run_kernel(Kernel((Param(int64, True),), (Store(0, S.index(0), x),)), [buffer])
    assert buffer[0] == 5000
