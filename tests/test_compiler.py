"""The compiler against the oracle: Programs run step by step by a slow interpreter give what NumPy gives per Term."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import samples
import samples_structure
from program_interpreter import run_program

from lazygrad import compiler, reference
from lazygrad.ad.vjp import vjp
from lazygrad.compiler import memory
from lazygrad.ir import kernel
from lazygrad.ir import scalar as S
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Call, Caps, Gemm, Host
from lazygrad.ir.record import changed
from lazygrad.ir.term import Term, toposort
from lazygrad.prims import contraction as C
from lazygrad.prims import elementwise as E
from lazygrad.prims import indexing as I
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import constant, iota, leaf, like

NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
CAPS = Caps("test", frozenset(itertools.product(S.OPS, NAMES)), frozenset(NAMES), frozenset(["float32", "float64"]))
f32, f64, i32, i64 = (np.dtype(n) for n in ("float32", "float64", "int32", "int64"))


def source(slot: int, shape: tuple[int, ...], dtype: np.dtype = f32) -> Term:
    return leaf(slot, 0, aval(shape, dtype), True)


def data(t: Term, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, t.params[0]))
    if t.aval.dtype.kind == "f":
        return rng.normal(size=t.aval.shape).astype(t.aval.dtype)
    if t.aval.dtype.kind == "b":
        return rng.random(t.aval.shape) < 0.5
    return rng.integers(0, 4, t.aval.shape).astype(t.aval.dtype)


def check(roots, into=None, arrays=None, tol=2e-5):
    """Compile, interpret, compare every output with the oracle; gives the Program."""
    sources = [t for t in toposort(roots) if t.op.name == "source"]
    arrays = [data(s) for s in sources] if arrays is None else arrays
    into = [None] * len(roots) if into is None else into
    program = compiler.compile(roots, sources, into, CAPS)
    want = reference.evaluate(roots, dict(zip(sources, arrays, strict=True)))
    got, after = run_program(program, arrays)
    for g, w, r in zip(got, want, roots, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype, r
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=repr(r))
    for k, (array, left) in enumerate(zip(arrays, after, strict=True)):
        if k not in into:
            np.testing.assert_array_equal(left, array)
    return program


def texts(program) -> str:
    return "\n".join([kernel.text(k) for k in program.kernels])


# ---- what is fused ----------------------------------------------------------------------------------------------------

def test_value_and_gradients_of_a_chain_are_one_kernel_with_one_loop():
    x, y = source(0, (7, 3)), source(1, (7, 3))
    z = E.add(E.mul(E.tanh(x), E.exp(E.neg(E.mul(y, y)))), E.log1p(E.mul(x, x)))
    program = check([z, *vjp([z], [like(z, 1)], [x, y])])
    assert len(program.steps) == 1
    body = program.kernels[0].body
    assert len(body) == 1 and body[0].overrun and body[0].extent == 21
    assert texts(program).count("overrun") == 1


def test_golden_broadcast_kernel():
    x, y = source(0, (3, 5)), source(1, (5,))
    program = check([E.mul(E.tanh(x), M.broadcast_to(y, shape=(3, 5)))])
    assert texts(program) == """\
kernel(b0: float32, b1: float32, b2: float32*)
  for i0 in 3 serial:
    for i1 in 5 vector:
      b2[5*i0 + i1] = mul(tanh(b0[5*i0 + i1]), b1[i1])"""


def test_golden_row_sum():
    x = source(0, (6, 5))
    assert texts(check([R.sum(E.mul(x, x), axes=(1,))])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 6 serial:
    c0: float32 = identity(add)
    for i1 in 5 vector:
      c0 <- mul(b0[5*i0 + i1], b0[5*i0 + i1])
    b1[i0] = c0"""


def test_golden_column_sum():
    x = source(0, (6, 5))
    assert texts(check([R.sum(x, axes=(0,))])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 5 vector overrun:
    b1[i0] = -0.0
  for i0 in 6 serial:
    for i1 in 5 vector:
      b1[i1] add= b0[5*i0 + i1]"""


def test_long_sums_go_on_in_float64():
    x = source(0, (20011,))
    array = np.full(20011, 0.1, np.float32)
    program = check([R.sum(x, axes=(0,))], arrays=[array], tol=1e-4)
    assert "float64" in texts(program)


def test_sum_of_a_stored_value_joins_its_kernel():
    x, y = source(0, (6, 8)), source(1, (6, 8))
    z = E.where(E.gt(y, like(y, 0)), x, like(x, 0))
    program = check([z, R.sum(z, axes=(0,))])
    assert len(program.steps) == 1


def test_dear_values_of_two_kernels_are_computed_once():
    x = source(0, (6, 8))
    e = E.exp(E.sin(x))
    program = check([R.sum(e, axes=(1,)), M.permute(e, axes=(1, 0))])
    assert ["exp(" in kernel.text(k) for k in program.kernels] == [True, False]


def test_long_chains_are_many_equal_kernels():
    x = source(0, (3,))
    t = x
    for _ in range(3000):
        t = E.add(E.mul(t, like(t, 0.5)), x)
    program = check([t])
    assert len(program.steps) > 5 and len(program.kernels) <= 4


def test_squarings_stay_linear():
    t = source(0, (3,))
    for _ in range(40):
        t = E.mul(t, t)
    assert len(check([t]).steps) == 1


def test_chains_of_rolls_do_not_double():
    t = source(0, (7,))
    for k in range(40):
        t = M.concatenate(M.slice_(t, start=(1,), step=(1,), shape=(6,)), M.slice_(t, start=(0,), step=(1,), shape=(1,)), axis=0)
        t = E.add(t, t) if k % 8 == 0 else t
    assert len(check([t]).steps) < 40


def test_deep_movement_needs_no_recursion():
    t = source(0, (2, 3))
    for k in range(600):
        t = M.slice_(t, start=(1, 2), step=(-1, -1), shape=(2, 3)) if k % 2 else M.embed(
            M.slice_(t, start=(0, 0), step=(1, 1), shape=(2, 2)), shape=(2, 3), start=(0, 1), step=(1, 1))
    check([t])


def test_kernels_keep_to_the_buffers_of_the_backend():
    xs = [source(k, (4, 3)) for k in range(9)]
    sums = [E.mul(E.exp(a), b) for a, b in itertools.pairwise(xs)]
    program = compiler.compile(sums, xs, [None] * 8, changed(CAPS, max_buffers=8))
    assert max([len(k.params) for k in program.kernels]) <= 8
    arrays = [data(x) for x in xs]
    got, _ = run_program(program, arrays)
    for k, g in enumerate(got):
        np.testing.assert_allclose(g, np.exp(arrays[k]) * arrays[k + 1], rtol=1e-5)


# ---- every shape ------------------------------------------------------------------------------------------------------

SHAPES = [(), (1,), (2,), (5,), (0,), (2, 3), (3, 2), (1, 4), (4, 1), (2, 0, 3), (2, 3, 4), (2, 1, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_over_every_subset_of_axes(shape):
    x, y = source(0, shape), source(1, shape)
    t = E.add(E.mul(x, y), y)
    subsets = [c for n in range(len(shape) + 1) for c in itertools.combinations(range(len(shape)), n)]
    check([R.sum(t, axes=s) for s in subsets])
    for s in subsets:
        check([R.prod(x, axes=s), t])
        if x.aval.size:
            check([R.max(t, axes=s), R.min(x, axes=s)])
    b = source(2, shape, np.dtype(bool))
    check([f(b, axes=s) for s in subsets for f in (R.any, R.all)])


@pytest.mark.parametrize("shape", [s for s in SHAPES if s], ids=str)
def test_scans(shape):
    x = source(0, shape)
    for axis in range(len(shape)):
        for reverse in (False, True):
            check([R.cumsum(E.add(x, x), axis=axis, reverse=reverse), R.cummax(x, axis=axis, reverse=reverse)])


@pytest.mark.parametrize("shape", [s for s in SHAPES if s and 0 not in s], ids=str)
def test_positions_of_extremes(shape):
    x = source(0, shape)
    for axis in range(len(shape)):
        check([R.argmax(x, axis=axis), R.argmin(x, axis=axis)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_movement(shape):
    x = source(0, shape)
    n = len(shape)
    flipped = tuple(reversed(range(n)))
    check([M.permute(x, axes=flipped), M.reshape(M.permute(E.exp(x), axes=flipped), shape=(x.aval.size,))])
    check([M.broadcast_to(x, shape=(3, *shape)), E.add(M.broadcast_to(x, shape=(2, *shape)), constant(1, (2, *shape), f32))])
    back = M.slice_(x, start=tuple([max(k - 1, 0) for k in shape]), step=(-1,) * n, shape=shape)
    check([back, E.mul(back, x)])
    big = tuple([2 * k + 1 for k in shape])
    check([M.embed(E.exp(x), shape=big, start=(1,) * n, step=(2,) * n)] if x.aval.size else [x])
    for axis in range(n):
        check([M.concatenate(E.exp(x), x, E.cos(x), axis=axis)])


def test_ramps_and_constants():
    x = source(0, (4, 3))
    ramp = M.broadcast_to(iota(size=3, dtype=f32), shape=(4, 3))
    check([E.add(x, ramp), iota(size=5, dtype=i64), constant(2.5, (2, 2), f32), constant(7, (), i32)])


@pytest.mark.parametrize("name", [*samples.ROWS, *[n for n in samples_structure.SAMPLES if n not in samples.ROWS]])
def test_every_primitive(name):
    prim = samples.REGISTRY[name]
    for row in samples.ROWS.get(name) or samples_structure.SAMPLES.get(name, []):
        for dtype in (f32, i64, np.dtype(bool), np.dtype("complex64")):
            if samples.accepts(name, row, dtype):
                arrays = samples.arrays(row, dtype)
                sources = [leaf(k, 0, aval(a.shape, a.dtype), True) for k, a in enumerate(arrays)]
                check([prim(*sources, **row.params)], arrays=list(arrays), tol=1e-4)


# ---- matrix products --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("m,k,n", [(2, 3, 4), (1, 5, 1), (4, 0, 3), (0, 2, 3), (20, 24, 28), (1, 70, 80), (70, 80, 1), (70, 1, 80)])
def test_products(m, k, n):
    a, b, at, bt = source(0, (m, k)), source(1, (k, n)), source(2, (k, m)), source(3, (n, k))
    roots = [C.matmul(x, y) for x in (a, M.transposed(at)) for y in (b, M.transposed(bt))]
    program = check(roots, tol=1e-4)
    assert any([isinstance(s, Gemm) for s in program.steps]) == (m * n * k > 4096 and min(m, n, k) > 1)


def test_views_of_operands_are_strides():
    x, w = source(0, (2, 3, 20, 24)), source(1, (24, 20))
    wb = M.broadcast_to(M.transposed(w), shape=(2, 3, 20, 24))
    heads = M.permute(x, axes=(0, 1, 3, 2))
    program = check([C.matmul(x, M.transposed(wb)), C.matmul(heads, x)], tol=1e-4)
    assert [type(s) for s in program.steps] == [Gemm, Gemm]
    y = source(2, (2, 20, 3, 24))
    rows = M.permute(y, axes=(0, 2, 1, 3))
    check([C.matmul(rows, M.transposed(rows)), C.matmul(M.reshape(rows, shape=(6, 20, 24)), M.reshape(heads, shape=(6, 24, 20)))], tol=1e-4)


def test_integer_products_are_kernels():
    a, b = source(0, (20, 30), i32), source(1, (30, 10), i32)
    assert [type(s) for s in check([C.matmul(a, b)]).steps] == [Call]


def test_accumulating_product_writes_over_its_addend():
    a, b, c = source(0, (20, 30)), source(1, (30, 10)), source(2, (20, 10))
    root = E.add(c, C.matmul(a, b))
    sources = [t for t in toposort([root]) if t.op.name == "source"]
    program = check([root], into=[sources.index(c)], tol=1e-4)
    assert [type(s) for s in program.steps] == [Gemm] and program.steps[0].accumulate

@pytest.mark.parametrize(("shape", "axes", "steps"), [
    ((5, 64, 9), (0, 1, 2), 1), ((5, 64, 9), (2, 0, 1), 1), ((5, 64, 9), (0, 2, 1), 1), ((5, 64, 9), (1, 0, 2), 1), ((64, 65), (1, 0), 1),
    ((5, 64, 9), (1, 2, 0), 2), ((5, 64, 9), (2, 1, 0), 2),                        # no axis of the product stays dense: moved afterwards
    ((3, 2, 33, 17), (2, 0, 1, 3), 1), ((3, 2, 33, 17), (3, 0, 1, 2), 1), ((1, 33, 17), (1, 2, 0), 1),
    ((3, 2, 33, 17), (1, 0, 2, 3), 2),                                             # the batch axes are not evenly spaced
], ids=str)
def test_product_is_written_in_the_order_of_axes_that_is_read(shape, axes, steps):
    *batch, m, n = shape
    a, b = source(0, (*batch, m, 40)), source(1, (*batch, 40, n))
    product = C.matmul(a, b)
    program = check([M.permute(product, axes=axes)], tol=1e-4)
    assert len(program.steps) == steps


def test_one_weight_for_a_whole_batch_is_one_product():
    x, w = source(0, (4, 10, 24)), source(1, (24, 20))
    wb = M.broadcast_to(w, shape=(4, 24, 20))
    y = C.matmul(x, wb)
    program = check([y, *vjp([y], [like(y, 1)], [x, w])], tol=1e-4)
    assert [s.batch for s in program.steps if isinstance(s, Gemm)] == [1, 1, 1]


# ---- rows -------------------------------------------------------------------------------------------------------------

def spread(r: Term, shape: tuple[int, ...]) -> Term:
    """A number for each row, repeated along it."""
    return M.broadcast_to(M.reshape(r, shape=(*r.aval.shape, 1)), shape=shape)


def softmax(x: Term) -> Term:
    e = E.exp(E.sub(x, spread(R.max(x, axes=(x.aval.ndim - 1,)), x.aval.shape)))
    return E.div(e, spread(R.sum(e, axes=(x.aval.ndim - 1,)), x.aval.shape))


@pytest.mark.parametrize("shape", [(6, 9), (2, 3, 5), (1, 4), (5, 1), (0, 3)], ids=str)
def test_softmax_is_one_kernel_over_rows(shape):
    x = source(0, shape)
    y = softmax(x)
    program = check([y])
    assert len(program.steps) <= (1 if min(shape[0], shape[-1]) != 1 else 3)
    check([y, *vjp([y], [E.cos(x)], [x])])


def test_layernorm_is_one_kernel_over_rows():
    x, gain = source(0, (7, 8)), source(1, (8,))
    mean = E.scale(R.sum(x, axes=(1,)), 1 / 8)
    d = E.sub(x, spread(mean, (7, 8)))
    scale = E.rsqrt(E.add(E.scale(R.sum(E.mul(d, d), axes=(1,)), 1 / 8), constant(1e-5, (7,), f32)))
    y = E.mul(E.mul(d, spread(scale, (7, 8))), M.broadcast_to(gain, shape=(7, 8)))
    assert len(check([y]).steps) == 1
    check([y, *vjp([y], [E.sin(x)], [x, gain])], tol=1e-4)


def test_cross_entropy_with_gradient_is_one_kernel_over_rows():
    x, t = source(0, (6, 9)), source(1, (6, 9))
    m = R.max(x, axes=(1,))
    shifted = E.sub(x, spread(m, (6, 9)))
    logp = E.sub(shifted, spread(E.log(R.sum(E.exp(shifted), axes=(1,))), (6, 9)))
    loss = E.neg(R.sum(E.mul(t, logp), axes=(0, 1)))
    assert len(check([loss, *vjp([loss], [like(loss, 1)], [x])]).steps) <= 2


def test_rows_that_need_other_rows_stay_apart():
    x = source(0, (5, 5))
    s = R.sum(x, axes=(1,))
    check([E.mul(x, M.broadcast_to(s, shape=(5, 5))), s])                  # the sum of row j at column j
    c = R.sum(x, axes=(0,))
    check([E.mul(x, spread(c, (5, 5))), E.sub(x, spread(s, (5, 5)))])
    e = E.exp(E.sub(x, spread(s, (5, 5))))
    check([E.mul(M.permute(e, axes=(1, 0)), spread(R.sum(e, axes=(1,)), (5, 5)))])
    check([R.sum(E.mul(e, M.slice_(e, start=(4, 0), step=(-1, 1), shape=(5, 5))), axes=(1,))])


# ---- indexing ---------------------------------------------------------------------------------------------------------

def test_gather_and_scatter():
    x, i, j, u = source(0, (5, 4, 3)), source(1, (6,), i32), source(2, (2, 2), i64), source(3, (5, 6, 3))
    check([I.gather(x, i, axes=(1,), position=1), I.gather(E.exp(x), j, axes=(0,), position=2)])
    check([I.gather(x, i, E.sub(i, constant(2, (6,), i32)), axes=(0, 2), position=0)])
    check([I.scatter_add(x, i, u, axes=(1,), position=1), I.scatter_set(E.mul(x, x), i, u, axes=(1,), position=1)])
    row = source(4, (6, 4, 3))
    check([I.scatter_add(like(x, 0), i, E.exp(row), axes=(0,), position=0)])


def test_scatter_into_one_element():
    x, i, u = source(0, (1,)), source(1, (1,), i64), source(2, (1,))
    for scatter in (I.scatter_add, I.scatter_set):
        program = compiler.compile([scatter(x, i, u, axes=(0,), position=0)], [x, i, u], [None], CAPS)
        got, _ = run_program(program, [np.array([3], np.float32), np.array([-1]), np.array([4], np.float32)])
        assert got[0] == [7 if scatter is I.scatter_add else 4]


def test_gather_at_a_ramp_is_a_load_without_checks():
    x = source(0, (5, 3))
    rows = M.broadcast_to(M.reshape(iota(size=5, dtype=i64), shape=(5, 1)), shape=(5, 3))
    columns = M.broadcast_to(iota(size=3, dtype=i32), shape=(5, 3))
    program = check([I.gather(x, rows, E.cast(columns, dtype=i64), axes=(0, 1), position=0)])
    assert texts(program) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 15 vector overrun:
    b1[i0] = b0[i0]"""


def test_integer_data_beside_indices():
    x, i, j = source(0, (4, 3), i64), source(1, (5,), i64), source(2, (5, 3), i64)
    rows = I.gather(x, i, axes=(0,), position=0)
    y = E.where(E.lt(rows, constant(2, (5, 3), i64)), E.add(rows, constant(3, (5, 3), i64)), constant(7, (5, 3), i64))
    check([y, R.sum(E.maximum(y, j), axes=(0,)), I.scatter_add(x, i, E.add(j, constant(1, (5, 3), i64)), axes=(0,), position=0)])


def test_out_of_range_index_is_a_fault():
    x, i = source(0, (3,)), source(1, (2,), i32)
    with pytest.raises(IndexError, match="gather: an index is out of range"):
        program = compiler.compile([I.gather(x, i, axes=(0,), position=0)], [x, i], [None], CAPS)
        run_program(program, [data(x), np.array([0, 3], np.int32)])


def test_sorting_is_a_host_step():
    x = source(0, (4, 5))
    program = check([I.sort(E.mul(x, x), axis=1, descending=False)])
    assert [type(s) for s in program.steps] == [Call, Host]


def test_complex_runs_on_the_host():
    x = source(0, (3, 4), np.dtype("complex64"))
    z = M.reshape(E.mul(x, x), shape=(12,))
    array = np.arange(12).reshape(3, 4).astype(np.complex64) * (1 + 2j)
    check([z, E.exp(z)], arrays=[array])


# ---- outputs ----------------------------------------------------------------------------------------------------------

def test_roots_may_be_sources_constants_and_repeated():
    x = source(0, (3, 2))
    z = E.mul(x, x)
    check([z, z, x, M.reshape(z, shape=(6,)), M.reshape(x, shape=(2, 3)), constant(1, (3,), f32)])


def test_in_place_update_without_a_copy():
    p, g = source(0, (4, 3)), source(1, (4, 3))
    program = check([E.sub(p, E.mul(g, like(g, 0.1)))], into=[0])
    assert len(program.steps) == 1 and program.outputs == (0,) and len(program.buffers) == 2


def test_in_place_update_of_a_value_read_elsewhere():
    p, x = source(0, (4, 4)), source(1, (4, 4))
    y = E.mul(M.transposed(p), x)
    sources = [t for t in toposort([y, E.add(p, y)]) if t.op.name == "source"]
    check([y, E.add(p, y)], into=[None, sources.index(p)])
    check([E.add(p, M.transposed(p))], into=[0])


def test_swap_in_place():
    x, y = source(0, (3,)), source(1, (3,))
    check([x, y], into=[1, 0])
    check([E.add(x, y), E.sub(x, y)], into=[0, 1])
    check([x, E.add(x, y)], into=[None, 0])


def test_training_steps_update_in_place():
    x, t = source(0, (32, 20)), source(1, (32, 10))
    w1, b1, w2, b2 = source(2, (20, 24)), source(3, (24,)), source(4, (24, 10)), source(5, (10,))
    h = E.maximum(E.add(C.matmul(x, w1), M.broadcast_to(b1, shape=(32, 24))), constant(0, (32, 24), f32))
    z = E.add(C.matmul(h, w2), M.broadcast_to(b2, shape=(32, 10)))
    m = R.max(z, axes=(1,))
    shifted = E.sub(z, M.broadcast_to(M.reshape(m, shape=(32, 1)), shape=(32, 10)))
    total = E.log(R.sum(E.exp(shifted), axes=(1,)))
    logp = E.sub(shifted, M.broadcast_to(M.reshape(total, shape=(32, 1)), shape=(32, 10)))
    loss = E.neg(R.sum(E.mul(t, logp), axes=(0, 1)))
    params = [w1, b1, w2, b2]
    grads = vjp([loss], [like(loss, 1)], params)
    updated = [E.sub(p, E.scale(g, 0.01)) for p, g in zip(params, grads, strict=True)]
    roots = [loss, *updated]
    sources = [s for s in toposort(roots) if s.op.name == "source"]
    program = check(roots, into=[None, *[sources.index(p) for p in params]], tol=1e-3)
    assert sum([isinstance(s, Gemm) for s in program.steps]) == 5
    assert len(program.steps) < 20


# ---- the Program ------------------------------------------------------------------------------------------------------

def test_equal_structures_give_equal_programs():
    def build(first: int):
        x, y = source(first, (4, 5)), source(first + 1, (5,))
        z = E.mul(E.exp(x), M.broadcast_to(y, shape=(4, 5)))
        return compiler.compile([R.sum(z, axes=(0,)), z], [x, y], [None, None], CAPS)
    a, b = build(10), build(20)
    assert texts(a) == texts(b) and a.steps == b.steps and a.buffers == b.buffers and a.arena == b.arena


def test_explain_shows_every_pass():
    x = source(0, (4, 5))
    text = compiler.explain([R.sum(E.exp(x), axes=(1,))], [x], [None], CAPS)
    for word in ("decompose", "simplify", "cut", "kernel(", "bytes"):
        assert word in text


def test_arena_places_of_living_buffers_are_apart():
    rng = np.random.default_rng(3)
    lives = []
    for first in range(300):
        size = 16 if rng.random() < 0.3 else int(rng.integers(5, 60)) * 64
        lives.append((size, first, first + int(rng.integers(0, 12))))
    offsets, arena = memory.place(lives)
    spans = [(at, at + size, first, last) for at, (size, first, last) in zip(offsets, lives, strict=True)]
    for n, (a, b, first, _) in enumerate(spans):
        assert b <= arena and a % (16 if b - a == 16 else 64) == 0
        assert all([b <= c or d <= a or stop < first for c, d, _, stop in spans[:n]])
    assert arena < sum([size for size, _, _ in lives]) / 5


def test_temporaries_share_the_arena():
    t = source(0, (64, 64))
    for _ in range(20):
        t = C.matmul(t, t)
    program = compiler.compile([t], [source(0, (64, 64))], [None], CAPS)
    assert program.arena <= 2 * (64 * 64 * 4 + 256)


@pytest.mark.parametrize("nodes", [40_000])
def test_deep_graphs_compile_in_linear_time(nodes):
    def seconds(n: int) -> float:
        t = x = source(0, ())
        for k in range(n):
            t = E.sin(t) if k % 2 else E.add(t, x)
        start = time.process_time()
        compiler.compile([t], [x], [None], CAPS)
        return time.process_time() - start
    seconds(100)
    short = min([seconds(nodes // 10) for _ in range(3)])
    assert seconds(nodes) < 30 * short


# ---- random programs --------------------------------------------------------------------------------------------------

def random_roots(seed: int) -> list[Term]:
    """A few Terms over two small sources, by a seeded walk through all kinds of Prims."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 5, 2)
    pool = [source(0, (int(n), int(m))), source(1, (int(m),)), source(2, ())]

    def pick() -> Term:
        return pool[rng.integers(len(pool))]

    def fitted(t: Term, shape: tuple[int, ...]) -> Term:
        if t.aval.shape == shape:
            return t
        total = R.sum(t, axes=tuple(range(t.aval.ndim)))
        return M.broadcast_to(total, shape=shape)

    for _ in range(int(rng.integers(4, 16))):
        x = pick()
        shape, ndim = x.aval.shape, x.aval.ndim
        kind = rng.integers(14)
        if kind <= 2:
            f = [E.tanh, E.sin, E.neg, E.abs, E.sigmoid][rng.integers(5)]
            y = f(x)
        elif kind <= 5:
            f = [E.add, E.sub, E.mul, E.maximum][rng.integers(4)]
            y = f(x, fitted(pick(), shape))
        elif kind == 6 and ndim:
            axes = tuple([k for k in range(ndim) if rng.random() < 0.6])
            y = [R.sum, R.max][rng.integers(2)](x, axes=axes)
        elif kind == 7 and ndim:
            y = M.permute(x, axes=tuple([int(k) for k in rng.permutation(ndim)]))
        elif kind == 8 and ndim:
            y = M.slice_(x, start=tuple([k - 1 for k in shape]), step=(-1,) * ndim, shape=shape)
        elif kind == 9 and ndim == 2:
            y = E.tanh(C.matmul(x, M.transposed(x)))
        elif kind == 13 and ndim == 2:
            best = R.argmax(x, axis=1)
            y = I.gather(E.sin(x), iota(size=shape[0], dtype=i64), best, axes=(0, 1), position=0)
        elif kind >= 11 and ndim:
            r = [R.sum, R.max][rng.integers(2)](x, axes=(ndim - 1,))
            y = [E.sub, E.mul, E.add][rng.integers(3)](E.sin(x), spread(E.sigmoid(r) if rng.random() < 0.5 else r, shape))
        elif kind == 10 and ndim:
            y = M.concatenate(x, E.cos(x), axis=0) if x.aval.size < 40 else R.cumsum(x, axis=0, reverse=bool(rng.integers(2)))
        else:
            y = E.where(E.gt(x, like(x, 0)), x, E.exp(E.neg(E.abs(x))))
        pool.append(y)
    roots = [pool[-1]]
    roots += [t for t in pool[3:-1] if rng.random() < 0.3]
    if rng.random() < 0.5:
        total = R.sum(roots[0], axes=tuple(range(roots[0].aval.ndim)))
        roots += [g for g in vjp([total], [like(total, 1)], pool[:3]) if g is not None]
    return roots


def random_into(roots: list[Term], seed: int) -> list[int | None]:
    """Some outputs overwrite an input of their type."""
    rng = np.random.default_rng((seed, 1))
    free = dict(enumerate([t for t in toposort(roots) if t.op.name == "source"]))
    into: list[int | None] = []
    for r in roots:
        fits = [i for i, s in free.items() if s.aval is r.aval]
        into.append(fits[rng.integers(len(fits))] if fits and rng.random() < 0.8 else None)
        free.pop(into[-1], None)
    return into


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed):
    roots = random_roots(seed)
    check(roots, tol=2e-4)
    check(roots, into=random_into(roots, seed), tol=2e-4)


def test_totals_of_other_values_come_before_the_rows_that_need_them():
    """A mean over the rows that count: value and gradient stay one kernel over rows, after that of the count."""
    x, t = source(0, (64, 90)), source(1, (64,))
    m = R.max(x, axes=(1,))
    e = E.exp(E.sub(x, spread(m, (64, 90))))
    counted = E.gt(t, constant(0, (64,), f32))
    loss = E.select(counted, E.log(R.sum(e, axes=(1,))), 0)
    mean = E.div(R.sum(loss, axes=(0,)), R.sum(E.select(counted, constant(1, (64,), f32), 0), axes=(0,)))
    assert len(check([mean, *vjp([mean], [like(mean, 1)], [x])]).steps) <= 3
