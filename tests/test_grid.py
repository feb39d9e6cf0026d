"""The compiler for devices of many threads: the same Programs as on the CPU, with grid steps in any order and few buffers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import samples
import samples_structure
import test_compiler as cases
from program_interpreter import run_program
from test_compiler import source

from lazygrad import compiler, reference
from lazygrad.ad.vjp import vjp
from lazygrad.ir import kernel
from lazygrad.ir import scalar as S
from lazygrad.ir.aval import aval
from lazygrad.ir.kernel import Loop
from lazygrad.ir.program import Caps, Gemm
from lazygrad.ir.record import changed
from lazygrad.ir.term import toposort
from lazygrad.prims import contraction as C
from lazygrad.prims import elementwise as E
from lazygrad.prims import indexing as I
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import constant, iota, leaf, like

f32 = np.dtype("float32")
NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32")


def grid_caps(threads: int, rows: bool, max_buffers: int = 8, epilogue: bool = True) -> Caps:
    """A device without float64."""
    ops = frozenset(itertools.product(S.OPS, NAMES))
    return Caps("grid", ops, frozenset(NAMES), frozenset(["float32"]), max_buffers, True, threads, rows, epilogue)


CAPS = {"serial": grid_caps(1, False), "threads": grid_caps(4096, False), "rows": grid_caps(65536, True), "few buffers": grid_caps(64, True, 4),
        "no epilogue": grid_caps(4096, True, 8, False)}
RNG = np.random.default_rng(0)
ORDERS = {"forwards": range, "backwards": lambda n: range(n - 1, -1, -1), "shuffled": lambda n: RNG.permutation(n).tolist()}


def limits(program, caps: Caps) -> None:
    """The promises of grid kernels: few buffers; grid loops outermost, each alone in the one around it, without carries."""
    for k in program.kernels:
        assert len(k.params) <= caps.max_buffers
        body = k.body
        while len(body) == 1 and isinstance(body[0], Loop) and body[0].mode == "grid":
            assert not body[0].carries
            body = body[0].body
        assert not any([isinstance(s, Loop) and s.mode == "grid" for s in body])
    for s in program.steps:
        if isinstance(s, Gemm) and s.epilogue is not None:
            assert 2 + len(s.more) <= caps.max_buffers


def check(roots, into=None, arrays=None, tol=2e-5, caps=CAPS["rows"], order="backwards"):
    """Compile for `caps`, interpret, compare every output with the oracle; gives the Program."""
    sources = [t for t in toposort(roots) if t.op.name == "source"]
    arrays = [cases.data(s) for s in sources] if arrays is None else arrays
    into = [None] * len(roots) if into is None else into
    program = compiler.compile(roots, sources, into, caps)
    limits(program, caps)
    want = reference.evaluate(roots, dict(zip(sources, arrays, strict=True)))
    got, after = run_program(program, arrays, ORDERS[order])
    for g, w, r in zip(got, want, roots, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype, r
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=repr(r))
    for k, (array, left) in enumerate(zip(arrays, after, strict=True)):
        if k not in into:
            np.testing.assert_array_equal(left, array)
    return program


def texts(program) -> str:
    return "\n".join([kernel.text(k) for k in program.kernels])


@pytest.mark.parametrize("caps", ["threads", "rows", "few buffers"])
@pytest.mark.parametrize("name", [*samples.ROWS, *[n for n in samples_structure.SAMPLES if n not in samples.ROWS]])
def test_every_primitive(name, caps):
    prim = samples.REGISTRY[name]
    for row in samples.ROWS.get(name) or samples_structure.SAMPLES.get(name, []):
        for dtype in (f32, np.dtype("int64"), np.dtype("bool")):
            if samples.accepts(name, row, dtype):
                arrays = samples.arrays(row, dtype)
                sources = [leaf(k, 0, aval(a.shape, a.dtype), True) for k, a in enumerate(arrays)]
                check([prim(*sources, **row.params)], arrays=list(arrays), tol=1e-4, caps=CAPS[caps], order="shuffled")


@pytest.mark.parametrize("caps", CAPS)
@pytest.mark.parametrize("first", range(0, 120, 30))
def test_random_programs(first, caps):
    for seed in range(first, first + 30):
        roots = cases.random_roots(seed)
        check(roots, tol=2e-4, caps=CAPS[caps], order="shuffled")
        check(roots, into=cases.random_into(roots, seed), tol=2e-4, caps=CAPS[caps])


# ---- what is one kernel, and what is not ------------------------------------------------------------------------------

def names(program) -> list[str]:
    return [type(s).__name__ for s in program.steps]


def test_golden_row_sum_and_column_sum():
    x = source(0, (70000, 5))
    assert texts(compiler.compile([R.sum(x, axes=(1,))], [x], [None], CAPS["rows"])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 70000 grid:
    c0: float32 = identity(add)
    for i1 in 5 vector:
      c0 <- b0[5*i0 + i1]
    b1[i0] = c0"""
    y = source(0, (5, 70000))
    assert texts(compiler.compile([R.sum(y, axes=(0,))], [y], [None], CAPS["rows"])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 70000 grid:
    c0: float32 = identity(add)
    for i1 in 5 vector:
      c0 <- b0[i0 + 70000*i1]
    b1[i0] = c0"""


def test_golden_elementwise_is_one_grid_over_whole_buffers():
    x = source(0, (6, 5))
    assert texts(check([E.mul(x, x)])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 30 grid overrun:
    b1[i0] = mul(b0[i0], b0[i0])"""


def test_golden_transpose_writes_neighbours():
    x = source(0, (6, 5))
    assert texts(check([M.permute(E.exp(x), axes=(1, 0))])).endswith("""\
  for i0 in 5 grid:
    for i1 in 6 grid:
      b1[6*i0 + i1] = exp(b0[i0 + 5*i1])""")


def test_golden_softmax_is_one_kernel_of_three_passes():
    x = source(0, (1024, 1024))
    program = compiler.compile([cases.softmax(x)], [x], [None], CAPS["rows"])
    assert texts(program) == """\
kernel(b0: float32, b1: float32*, b2: float32*)
  for i0 in 1024 grid:
    c0: float32 = identity(maximum)
    for i1 in 1024 vector:
      c0 <- b0[1024*i0 + i1]
    c1: float32 = identity(add)
    for i1 in 1024 vector:
      b1[1024*i0 + i1] = exp(sub(b0[1024*i0 + i1], c0))
      c1 <- exp(sub(b0[1024*i0 + i1], c0))
    for i1 in 1024 vector:
      b2[1024*i0 + i1] = div(b1[1024*i0 + i1], c1)"""
    assert program.steps[0].buffers == (0, 1, 1)                      # the exponentials lie where the result will


def test_rows_stay_apart_where_a_thread_would_take_each_and_they_are_few():
    x = source(0, (40, 30))
    assert len(check([cases.softmax(x)], caps=CAPS["threads"], tol=1e-5).steps) > 3
    assert len(check([cases.softmax(x)], caps=grid_caps(32, False), tol=1e-5).steps) == 1


def test_sums_over_different_axes_are_different_kernels():
    x = source(0, (30, 20))
    e = E.exp(x)
    program = check([e, R.sum(e, axes=(0,)), R.sum(e, axes=(1,)), R.sum(e, axes=(0, 1))], tol=1e-4)
    assert len(program.steps) == 3
    assert sum(["exp(" in kernel.text(k) for k in program.kernels]) == 1              # the others read what is stored


# ---- splits -----------------------------------------------------------------------------------------------------------

SMALL = grid_caps(1 << 11, False)
SHARED = grid_caps(1 << 13, True)


def extents(program) -> list[list[int]]:
    """The extents of the grid loops of every kernel."""
    out = []
    for k in program.kernels:
        body, mine = k.body, []
        while len(body) == 1 and isinstance(body[0], Loop) and body[0].mode == "grid":
            mine.append(body[0].extent)
            body = body[0].body
        out.append(mine)
    return out


@pytest.mark.parametrize("caps", [SMALL, SHARED], ids=["threads", "rows"])
@pytest.mark.parametrize("shape,axes", [((4096,), (0,)), ((4099,), (0,)), ((2, 2099), (1,)), ((1031, 3), (0,)), ((1031, 3), (0, 1)),
                                        ((1100, 3, 2), (0, 2)), ((60, 2, 50), (0, 2)), ((3, 3000), (0, 1))], ids=str)
def test_long_reductions_are_two_kernels(shape, axes, caps):
    x, rng = source(0, shape), np.random.default_rng(4)
    array = rng.normal(size=shape).astype(f32)
    array.flat[5] = np.nan
    t = E.mul(x, x)
    program = check([R.sum(x, axes=axes), R.max(t, axes=axes)], arrays=[array], tol=1e-4, caps=caps, order="shuffled")
    assert min([np.prod(e) for e in extents(program)[:1]]) > R.sum(x, axes=axes).aval.size
    i = source(0, shape, np.dtype("int32"))
    check([R.sum(i, axes=axes), R.min(i, axes=axes), R.prod(i, axes=axes), R.any(E.gt(i, like(i, 2)), axes=axes)], caps=caps)


def test_a_sum_of_negative_zeros_stays_negative():
    x = source(0, (4099,))
    program = compiler.compile([R.sum(x, axes=(0,))], [x], [None], SHARED)
    got, _ = run_program(program, [np.full(4099, -0.0, f32)])
    assert len(program.steps) == 2 and np.signbit(got[0])


@pytest.mark.parametrize("caps", [SMALL, SHARED], ids=["threads", "rows"])
def test_parts_of_a_float16_sum_are_float32(caps):
    x = source(0, (5000,), np.dtype("float16"))
    array = np.full(5000, 13, np.float16)                                       # every part of the sum is exact, 65000 is not
    program = compiler.compile([R.sum(x, axes=(0,))], [x], [None], caps)
    got, _ = run_program(program, [array])
    assert len(program.steps) > 1 and got[0] == np.float16(65000)


def test_golden_sum_of_a_million():
    x = source(0, (1 << 20,))
    assert texts(compiler.compile([R.sum(x, axes=(0,))], [x], [None], CAPS["rows"])) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 256 grid:
    c0: float32 = identity(add)
    for i1 in 4096 vector:
      c0 <- b0[4096*i0 + i1]
    b1[i0] = c0
kernel(b0: float32, b1: float32*)
  for once in 1 grid:
    c0: float32 = identity(add)
    for i0 in 256 vector:
      c0 <- b0[i0]
    b1[0] = c0"""


def test_golden_sum_where_threads_do_not_share_rows_reads_memory_in_order():
    x = source(0, (1 << 20,))
    assert texts(compiler.compile([R.sum(x, axes=(0,))], [x], [None], changed(CAPS["serial"], threads=256, turns=60000))) == """\
kernel(b0: float32, b1: float32*)
  for i0 in 64 grid:
    for i1 in 32 grid:
      c0: float32 = identity(add)
      for i2 in 512 vector:
        c0 <- b0[16384*i0 + i1 + 32*i2]
      b1[32*i0 + i1] = c0
kernel(b0: float32, b1: float32*)
  c0: float32 = identity(add)
  for i0 in 2048 vector:
    c0 <- b0[i0]
  b1[0] = c0"""


@pytest.mark.parametrize("shape,axes", [((1 << 30,), (0,)), ((5, 10**8 + 7), (1,)), ((3 * 10**7, 4), (0,))], ids=str)
def test_parts_are_no_longer_than_a_thread_may_take(shape, axes):
    x = source(0, shape)
    program = compiler.compile([R.max(x, axes=axes)], [x], [None], changed(CAPS["serial"], threads=256, turns=60000))

    def taken(body) -> int:
        return sum([(1 if s.mode == "grid" else s.extent) * max(taken(s.body), 1) for s in body if isinstance(s, Loop)])
    assert max([taken(k.body) for k in program.kernels]) <= 60000


@pytest.mark.parametrize("shape,axes", [((1 << 24,), (0,)), ((10**6 + 3,), (0,)), ((10007, 4, 3), (0, 2)), ((3, 1 << 20), (1,))], ids=str)
def test_no_carry_takes_very_many_float32_values(shape, axes):
    """Without float64 and without threads that share."""
    x = source(0, shape)
    program = compiler.compile([R.sum(x, axes=axes)], [x], [None], CAPS["serial"])

    def longest(body) -> int:
        return max([max(s.extent if s.carries else 0, longest(s.body)) for s in body if isinstance(s, Loop)], default=0)
    assert max([longest(k.body) for k in program.kernels]) <= 2 * 4096


def test_blocks_of_a_long_sum_add_up():
    x = source(0, (3, 8209))
    check([R.sum(x, axes=(1,))], caps=CAPS["serial"], tol=1e-3)


@pytest.mark.parametrize("shape,axis", [((700,), 0), ((709,), 0), ((3, 300), 1), ((300, 3), 0), ((6000,), 0)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_long_scans_are_scans_of_parts(shape, axis, reverse):
    x, i = source(0, shape), source(1, shape, np.dtype("int32"))
    scans = [R.cumsum(x, axis=axis, reverse=reverse), R.cummax(E.neg(x), axis=axis, reverse=reverse)]
    program = check(scans if x.aval.size > 1000 else [*scans, R.cumsum(i, axis=axis, reverse=reverse), R.cummin(x, axis=axis, reverse=reverse)],
                    tol=1e-3, order="shuffled")
    assert max([np.prod(e) for e in extents(program)]) >= x.aval.size
    if x.aval.size < 1000:
        near = E.add(E.mul(x, like(x, 1e-3)), like(x, 1))
        check([R.cumprod(near, axis=axis, reverse=reverse)], tol=1e-4)


@pytest.mark.parametrize("m,k,n", [(1, 700, 3), (1, 5000, 1), (2, 600, 1), (1, 700, 20)])
def test_products_of_few_elements_are_split(m, k, n):
    a, b, bt = source(0, (m, k)), source(1, (k, n)), source(2, (n, k))
    program = check([C.matmul(a, b)], tol=1e-3, caps=SMALL)
    assert len(program.steps) > 1
    check([C.matmul(a, M.transposed(bt))], tol=1e-3, caps=SHARED)


# ---- scatters ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("caps", [SMALL, SHARED, CAPS["rows"]], ids=["threads", "rows", "many"])
@pytest.mark.parametrize("name", ["add", "mul", "max", "min", "set"])
def test_many_updates_of_few_places(name, caps):
    rng = np.random.default_rng(3)
    x, i, u = source(0, (5, 3)), source(1, (300,), np.dtype("int32")), source(2, (300, 3))
    arrays = [rng.normal(size=(5, 3)).astype(f32), rng.integers(-5, 5, 300).astype(np.int32), rng.uniform(0.9, 1.1, (300, 3)).astype(f32)]
    scatter = I.SCATTERS[name]
    check([scatter(x, i, u, axes=(0,), position=0)], arrays=arrays, tol=1e-4, caps=caps, order="shuffled")
    y, j, v = source(0, (200,)), source(1, (900,), np.dtype("int32")), source(2, (900,))
    arrays = [rng.normal(size=200).astype(f32), rng.integers(-200, 200, 900).astype(np.int32), rng.uniform(0.9, 1.1, 900).astype(f32)]
    check([scatter(y, j, v, axes=(0,), position=0)], arrays=arrays, tol=1e-4, caps=caps, order="shuffled")


def test_updates_of_one_place_keep_their_order():
    x, i, u = source(0, (70,)), source(1, (640,), np.dtype("int32")), source(2, (640,))
    arrays = [np.zeros(70, f32), (np.arange(640) % 7).astype(np.int32), np.arange(640, dtype=f32)]
    program = check([I.scatter_set(x, i, u, axes=(0,), position=0)], arrays=arrays)
    assert [len(e) for e in extents(program)] == [1, 1]                        # the target's places are divided among threads


def test_an_index_out_of_range_is_a_fault():
    x, i, u = source(0, (70,)), source(1, (640,), np.dtype("int32")), source(2, (640,))
    arrays = [np.zeros(70, f32), np.where(np.arange(640) == 333, 70, 3).astype(np.int32), np.ones(640, f32)]
    for scatter in (I.scatter_set, I.scatter_add):
        program = compiler.compile([scatter(x, i, u, axes=(0,), position=0)], [x, i, u], [None], CAPS["rows"])
        with pytest.raises(IndexError, match="an index is out of range: axis 0 has 70 elements"):
            run_program(program, arrays)


def test_a_diagonal_of_updates():
    x, u = source(0, (5, 5)), source(1, (4,))
    ramp = iota(size=4, dtype=np.dtype("int32"))
    for caps in CAPS.values():
        check([I.scatter_add(x, ramp, ramp, u, axes=(0, 1), position=0), I.scatter_set(E.exp(x), ramp, ramp, u, axes=(0, 1), position=0)],
              caps=caps)


# ---- few buffers ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("most", [4, 8])
def test_many_inputs_and_outputs(most):
    caps = grid_caps(64, True, most)
    xs = [source(k, (4, 3)) for k in range(30)]
    total = xs[0]
    for x in xs[1:]:
        total = E.add(E.mul(total, like(x, 0.5)), x)
    check([total], caps=caps)
    check([R.sum(total, axes=(0,)), R.max(total, axes=(1,))], caps=caps)
    check([R.cumsum(total, axis=0, reverse=False)], caps=caps)
    tree = list(xs)
    while len(tree) > 1:
        tree = [E.maximum(a, b) for a, b in zip(tree[::2], tree[1::2], strict=False)]
    check([E.where(E.gt(tree[0], xs[0]), tree[0], xs[1])], caps=caps)
    check([M.concatenate(*xs[:20], axis=1), E.exp(M.concatenate(*xs[:20], axis=0))], caps=caps)
    check([M.concatenate(*xs, axis=0)], caps=caps)
    outs = [E.add(E.mul(a, b), xs[0]) for a, b in itertools.pairwise(xs[:13])]
    assert len(check(outs, caps=caps).outputs) == 12


def test_more_index_arrays_than_buffers():
    x = source(0, (2,) * 5)
    indices = [source(k + 1, (3,), np.dtype("int32")) for k in range(5)]
    arrays = [np.arange(32, dtype=f32).reshape(x.aval.shape), *[np.array([0, 1, -1], np.int32)] * 5]
    check([I.gather(x, *indices, axes=(0, 1, 2, 3, 4), position=0)], arrays=arrays, caps=CAPS["few buffers"])
    u = source(7, (3,))
    check([I.scatter_add(x, *indices, u, axes=(0, 1, 2, 3, 4), position=0)], arrays=[*arrays, np.ones(3, f32)], caps=CAPS["few buffers"])


# ---- epilogues --------------------------------------------------------------------------------------------------------

def product(shape=(24, 20, 28)) -> tuple:
    m, k, n = shape
    return C.matmul(source(0, (m, k)), source(1, (k, n))), source(2, (n,)), source(3, (m, n))


def test_elementwise_readers_of_a_product_are_its_epilogue():
    y, bias, x = product()
    rows = M.broadcast_to(bias, shape=y.aval.shape)
    for root in (E.maximum(E.add(y, rows), like(y, 0)), E.add(x, E.tanh(y)), E.scale(y, 0.5), E.where(E.gt(x, like(x, 0)), y, x),
                 M.permute(E.add(y, x), axes=(1, 0)), M.reshape(E.mul(y, y), shape=(12, 56)), E.cast(y, dtype=np.dtype("float16"))):
        program = check([root], tol=1e-3)
        assert names(program) == ["Gemm"] and program.steps[0].epilogue is not None
        assert all([b.kind != "temp" for b in program.buffers])
        assert not isinstance(check([root], tol=1e-3, caps=CAPS["no epilogue"]).steps[-1], Gemm)


def test_a_product_that_others_read_too_is_stored_by_its_epilogue():
    y, bias, x = product()
    z = E.add(y, x)
    program = check([z, E.mul(R.sum(y, axes=(0,)), bias)], tol=1e-3)
    assert isinstance(program.steps[0], Gemm) and len(program.steps[0].more) == 3
    program = check([z, y], tol=1e-3)
    assert names(program) == ["Gemm"]


def test_batches_and_transposes_have_epilogues():
    a, b, c = source(0, (3, 20, 24)), source(1, (3, 24, 20)), source(2, (20,))
    y = C.matmul(a, b)
    assert names(check([E.add(E.exp(E.scale(y, 0.01)), M.broadcast_to(c, shape=y.aval.shape))], tol=1e-3)) == ["Gemm"]
    w = M.broadcast_to(source(3, (24, 20)), shape=(3, 24, 20))
    program = check([E.neg(C.matmul(a, w))], tol=1e-3)
    assert names(program) == ["Gemm"] and program.steps[0].batch == 1


def test_update_of_a_parameter_is_the_epilogue_of_its_gradient():
    y, _, p = product()
    sources = [t for t in toposort([E.sub(p, E.scale(y, 0.1))]) if t.op.name == "source"]
    for root in (E.sub(p, E.scale(y, 0.1)), E.add(p, y)):
        program = check([root], into=[sources.index(p)], tol=1e-3)
        assert names(program) == ["Gemm"] and not program.steps[0].accumulate and program.outputs == (sources.index(p),)
        assert len(program.buffers) == 3


def test_an_update_never_overwrites_what_other_elements_need():
    a, b = source(0, (24, 24)), source(1, (24, 24))
    check([E.sub(a, C.matmul(a, b))], into=[0], tol=1e-3)                          # a factor
    c = source(2, (24, 24))
    sources = [a, b, c]
    check([E.sub(M.transposed(c), C.matmul(a, b))], into=[sources.index(c)], tol=1e-3)
    check([E.add(E.add(C.matmul(a, b), C.matmul(b, a)), c)], into=[sources.index(c)], tol=1e-3)


# ---- whole training steps ---------------------------------------------------------------------------------------------

def train_step(batch: int, inside: int, hidden: int, classes: int) -> tuple[list, list]:
    """Cross-entropy of a two-layer network with integer labels, and the updated parameters; the parameters."""
    x, labels = source(0, (batch, inside)), source(1, (batch,), np.dtype("int32"))
    w1, b1, w2, b2 = source(2, (inside, hidden)), source(3, (hidden,)), source(4, (hidden, classes)), source(5, (classes,))
    h = E.maximum(E.add(C.matmul(x, w1), M.broadcast_to(b1, shape=(batch, hidden))), constant(0, (batch, hidden), f32))
    z = E.add(C.matmul(h, w2), M.broadcast_to(b2, shape=(batch, classes)))
    shifted = E.sub(z, cases.spread(R.max(z, axes=(1,)), z.aval.shape))
    logp = E.sub(shifted, cases.spread(E.log(R.sum(E.exp(shifted), axes=(1,))), z.aval.shape))
    picked = I.gather(logp, iota(size=batch, dtype=np.dtype("int32")), labels, axes=(0, 1), position=0)
    loss = E.scale(R.sum(picked, axes=(0,)), -1 / batch)
    params = [w1, b1, w2, b2]
    grads = vjp([loss], [like(loss, 1)], params)
    return [loss, *[E.sub(p, E.scale(g, 0.01)) for p, g in zip(params, grads, strict=True)]], params


@pytest.mark.parametrize("caps", CAPS)
def test_training_step(caps):
    roots, params = train_step(16, 20, 24, 16)
    sources = [s for s in toposort(roots) if s.op.name == "source"]
    program = check(roots, into=[None, *[sources.index(p) for p in params]], tol=1e-4, caps=CAPS[caps], order="shuffled")
    assert sum([isinstance(s, Gemm) for s in program.steps]) == 5
    if caps == "rows":
        assert len(program.steps) <= 12
        assert sum([s.epilogue is not None for s in program.steps if isinstance(s, Gemm)]) == 4


def test_explain_shows_the_passes_and_the_epilogues():
    roots, _ = train_step(64, 784, 128, 16)
    sources = [s for s in toposort(roots) if s.op.name == "source"]
    text = compiler.explain(roots, sources, [None] * len(roots), CAPS["rows"])
    for word in ("== split", "grid", "kernel0(in", "(m=64, n=128, k=784)"):
        assert word in text


@pytest.mark.parametrize("caps", ["rows", "few buffers"])
@pytest.mark.parametrize("name", samples.ROWS)
def test_gradients_of_every_primitive(name, caps):
    prim = samples.REGISTRY[name]
    if not prim.differentiable:
        return
    for row in samples.ROWS[name][:6]:
        if samples.accepts(name, row, f32):
            arrays = samples.arrays(row, f32)
            sources = [leaf(k, 0, aval(a.shape, a.dtype), True) for k, a in enumerate(arrays)]
            out = prim(*sources, **row.params)
            if out.aval.inexact:
                grads = vjp([out], [E.cos(out) if out.aval.dtype == f32 else like(out, 1)], samples.moving(name, sources))
                roots = [out, *[g for g in grads if g is not None]]
                held = dict(zip(sources, arrays, strict=True))
                check(roots, arrays=[held[t] for t in toposort(roots) if t in held], tol=1e-3, caps=CAPS[caps])


def test_a_fill_comes_before_the_updates_that_a_joined_kernel_makes():
    """Two scatters and their product: the second one's target was filled after the kernel that its updates had joined."""
    x, i, u = source(0, (5,)), source(1, (4,), np.dtype("int32")), source(2, (4,))
    first, second = (I.scatter_mul(t, i, u, axes=(0,), position=0) for t in (x, like(x, 1)))
    check([first, E.mul(E.cos(first), second)])
