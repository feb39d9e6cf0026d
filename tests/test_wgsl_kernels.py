"""WGSL of kernels, run on the software GPU, against the interpreter of kernels: threads and workgroups, vec4, segments, launches."""

from __future__ import annotations

import gpu
import numpy as np
import pytest
import test_compiler as cases
import tint
from scalar_interpreter import run_kernel

from lazygrad import compiler
from lazygrad.backends.wgsl import kernels, scalars
from lazygrad.backends.wgsl.traits import Traits, stored
from lazygrad.ir import scalar as S
from lazygrad.ir.kernel import Accumulate, Assign, Carry, Check, Combine, Kernel, Loop, Param, State, Store
from lazygrad.ir.program import Caps, Host
from lazygrad.ir.record import changed
from lazygrad.ir.term import toposort

f2, f4, f8, i1, i4, i8, u1, b1 = (np.dtype(t) for t in ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "?"))
THREADS = Traits(software=True, float16=True, float64=True, int64=True, subgroups=False)
GROUPS = changed(THREADS, software=False)
SUBGROUPS = changed(GROUPS, subgroups=True)
BOTH = pytest.mark.parametrize("traits", [THREADS, GROUPS, SUBGROUPS], ids=["thread", "group", "subgroups"])
rng = np.random.default_rng(3)


@pytest.fixture(scope="module")
def device():
    return gpu.device()


def garbage(nbytes):
    """Bytes that are NaN as float32 and no sensible number as anything else."""
    return np.full(-(-max(nbytes, 1) // 16) * 16, 0xFF, np.uint8)


def run(device, shader, buffers):
    """Run over one uint8 array per parameter (a repeated array is one buffer); they change in place. Returns the fault."""
    held = {id(b): device.allocate(b.nbytes) for b in buffers}
    faults = device.allocate(16)
    device.clear(faults)
    for b in buffers:
        device.write(held[id(b)], b)
    device.run(device.launch(shader, [held[id(b)] for b in buffers], faults))
    for b in buffers:
        b[...] = device.read(held[id(b)], b.nbytes)
    return int(device.read(faults, 4).view(np.uint32)[0])


def check(device, kernel, arrays, traits, aliases=None, exact=False):
    """Run a kernel both ways on copies of `arrays` (None: a buffer of garbage is not needed) and compare what it writes."""
    shader = kernels.shader(kernel, traits, tuple(a.size for a in arrays), aliases)
    wide = any(t in shader.source for t in ("i64", "u64", "f64"))
    if not wide:
        assert tint.check(shader.source, portable=len(shader.bindings) <= 7) == "", shader.source
    same = range(len(arrays)) if aliases is None else aliases
    buffers, expected = [], []
    for p, a in enumerate(arrays):
        if same[p] != p:
            buffers.append(buffers[same[p]])
            expected.append(expected[same[p]])
            continue
        raw = garbage(a.size * stored(a.dtype).itemsize)
        raw.view(stored(a.dtype))[:a.size] = a
        buffers.append(raw)
        expected.append(a.copy())
    found = run(device, shader, buffers) if shader.grids else 0
    fault = run_kernel(kernel, expected)
    assert (found != 0) == (fault != 0)
    for p, a in enumerate(arrays):
        got = buffers[p].view(stored(a.dtype))[:a.size].astype(a.dtype)
        if a.dtype.kind == "f" and not exact:
            rtol = {2: 4e-3, 4: 2e-5, 8: 1e-9}[a.dtype.itemsize]
            np.testing.assert_allclose(got, expected[p], rtol=rtol, atol=rtol, err_msg=f"b{p}\n{shader.source}")
        else:
            np.testing.assert_array_equal(got, expected[p], err_msg=f"b{p}\n{shader.source}")
    return shader


def kernel(dtypes, writes, *body, work=0):
    return Kernel(tuple(Param(np.dtype(d), p in writes) for p, d in enumerate(dtypes)), body, work)


def grid(extents, body, overrun=False, names="ijk"):
    for name, n in reversed(list(zip(names, extents, strict=False))):
        body = (Loop(name, n, "grid", tuple(body), (), overrun),)
    return body[0]


def rows(*shape, names="ijk"):
    """The variables of a shape and the row-major index."""
    variables = [S.var(name, n) for name, n in zip(names, shape, strict=False)]
    return (*variables, S.flat(tuple(variables), shape))


def normal(*shape, dtype=f4):
    return rng.standard_normal(shape).astype(dtype).reshape(-1)


def nan(n, dtype=f4):
    return np.full(n, np.nan if dtype.kind == "f" else 77).astype(dtype)


# ---- elementwise ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("n", "overrun"), [(1003, True), (1003, False), (1024, False), (1, True), (3, True)])
def test_elementwise(device, n, overrun):
    i = S.var("i", n)
    x, y = S.load(0, i, f4), S.load(1, S.index(0), f4)
    k = kernel([f4, f4, f4], {2}, grid([n], [Store(2, i, S.apply("mul", S.apply("add", x, y), x))], overrun))
    s = check(device, k, [normal(n), normal(1), nan(n)], THREADS)
    assert ("array<vec4<f32>>" in s.source) == (n >= 4 and (overrun or n % 4 == 0))


def test_four_elements_a_thread_with_broadcasts_and_positions(device):
    i, j, at = rows(12, 8)
    x, bias, column = S.load(0, at, f4), S.load(1, j, f4), S.load(2, i, f4)
    position = S.cast(S.iadd(S.imul(i, 3), j), f4)
    third = S.cast(S.imod(at, 3), f4)
    value = S.apply("add", S.apply("mul", S.apply("add", x, bias), column), S.apply("sub", position, third))
    k = kernel([f4, f4, f4, f4, i8], {3, 4}, grid([12, 8], [Store(3, at, value), Store(4, at, S.imul(at, 2))]))
    s = check(device, k, [normal(96), normal(8), normal(12), nan(96), nan(96, i8)], THREADS)
    assert "let iq" not in s.source
    assert "let jq" in s.source


def test_transposed_reads_are_put_together_by_element(device):
    i, j, at = rows(10, 12)
    other = S.iadd(S.imul(j, 10), i)
    k = kernel([f4, f4, f4], {2}, grid([10, 12], [Store(2, at, S.apply("add", S.load(0, at, f4), S.load(1, other, f4)))]))
    s = check(device, k, [normal(120), normal(120), nan(120)], THREADS)
    assert "b1: array<f32>" in s.source
    assert "b2: array<vec4<f32>>" in s.source


@pytest.mark.parametrize("dtype", [b1, i1, u1, np.dtype("u2"), i4, np.dtype("u4"), i8, np.dtype("u8"), f2, f4, f8], ids=str)
def test_dtypes(device, dtype):
    n = 37
    x = (rng.integers(0, 2, n) if dtype == b1 else rng.integers(-100 if dtype.kind in "if" else 0, 120, n)).astype(dtype)
    i = S.var("i", n)
    value = S.apply("xor" if dtype == b1 else "add", S.load(0, i, dtype), S.load(1, i, dtype))
    k = kernel([dtype, dtype, dtype, b1], {2, 3}, grid([n], [Store(2, i, value), Store(3, i, S.cast(S.load(0, i, dtype), b1))], True))
    check(device, k, [x, x[::-1].copy(), np.zeros(n, dtype), np.zeros(n, b1)], THREADS, exact=True)


def test_masked_loads_stay_inside(device):
    n, pad = 16, 5
    i, j, at = rows(3, n + 2 * pad)
    source = S.iadd(S.iadd(S.imul(i, n), j), S.index(-pad))
    mask = S.inside(S.iadd(j, S.index(-pad)), 0, n)
    k = kernel([f4, f4], {1}, grid([3, n + 2 * pad], [Store(1, at, S.load(0, source, f4, mask))]))
    check(device, k, [normal(3 * n), nan(3 * (n + 2 * pad))], THREADS, exact=True)
    joined = S.apply("add", S.load(0, i0 := S.var("i", 24), f4, S.apply("lt", i0, S.index(8))),
                     S.load(1, S.iadd(i0, S.index(-8)), f4, S.apply("le", S.index(8), i0)))
    k = kernel([f4, f4, f4], {2}, grid([24], [Store(2, i0, joined)]))
    check(device, k, [normal(8), normal(16), nan(24)], THREADS, exact=True)


# ---- rows ---------------------------------------------------------------------------------------------------------------

def softmax(r, c, how="vector"):
    i, _, at = rows(r, c)
    x, m, s = S.load(0, at, f4), S.carry("m", f4), S.carry("s", f4)
    e = S.apply("mul", S.apply("sub", x, m), S.apply("sub", x, m))
    body = (Loop("j", c, how, (Accumulate("m", x),), (Carry("m", "maximum", f4),)),
            Loop("j", c, how, (Accumulate("s", e),), (Carry("s", "add", f4),)),
            Store(2, i, s),
            Loop("j", c, how, (Store(1, at, S.apply("div", e, s)),)))
    return kernel([f4, f4, f4], {1, 2}, grid([r], body))


@BOTH
@pytest.mark.parametrize(("r", "c"), [(5, 64), (3, 419), (70, 37), (2, 2)])
def test_rows(device, traits, r, c):
    s = check(device, softmax(r, c), [normal(r * c), nan(r * c), nan(r)], traits)
    assert ("var<workgroup>" in s.source) == (not traits.software and c > 2)


@pytest.mark.parametrize("dtype", [b1, i1, u1, i4, np.dtype("u4"), i8, f2, f4, f8], ids=str)
@BOTH
def test_every_monoid_over_rows_that_a_workgroup_shares(device, traits, dtype):
    """With NaN, infinities and zeros of both signs among the floats."""
    monoids = {"b": ("and", "or", "maximum", "minimum"), "f": ("add", "mul", "maximum", "minimum")}.get(
        dtype.kind, ("add", "mul", "maximum", "minimum", "and", "or"))
    r, c = 6, 300
    x = (rng.integers(0, 2, (r, c)) if dtype == b1 else rng.integers(1 if dtype.kind == "u" else -3, 4, (r, c))).astype(dtype)
    if dtype.kind == "f":
        x = np.where(x == 0, 1, np.sign(x))                           # products that are numbers in any order
        x[1, 77], x[2, 250], x[2, 3], x[3, 5], x[4] = np.nan, np.inf, -np.inf, -np.nan, -0.0
    if dtype == b1:
        x[0], x[1], x[2] = True, False, np.arange(c) == 299
    i, _, at = rows(r, c)
    loop = Loop("j", c, "vector", tuple([Accumulate(m, S.load(0, at, dtype)) for m in monoids]), tuple([Carry(m, m, dtype) for m in monoids]))
    k = kernel([dtype] * (1 + len(monoids)), set(range(1, 1 + len(monoids))),
               grid([r], [loop, *[Store(1 + n, i, S.carry(m, dtype)) for n, m in enumerate(monoids)]]))
    s = check(device, k, [x.ravel(), *[nan(r, dtype) for _ in monoids]], traits, exact=True)
    assert ("subgroupMax" in s.source) == (traits.subgroups and dtype.itemsize < 8 and dtype != b1)


@BOTH
def test_column_sums(device, traits):
    r, c = 45, 24
    _, j, at = rows(r, c)
    loop = Loop("i", r, "vector", (Accumulate("s", S.load(0, at, f4)), Accumulate("m", S.load(0, at, f4))),
                (Carry("s", "add", f4), Carry("m", "minimum", f4)))
    body = (loop, Store(1, j, S.apply("add", S.carry("s", f4), S.carry("m", f4))))
    k = kernel([f4, f4], {1}, grid([c], body, names="j"))
    s = check(device, k, [normal(r * c), nan(c)], traits)
    assert ("vec4" in s.source) == traits.software


@BOTH
def test_a_step_that_reads_what_it_wrote(device, traits):
    """A running sum, a store that other loops read, and a store that overwrites what was read."""
    r, c = 3, 40
    i, j, at = rows(r, c)
    before = S.load(1, S.iadd(at, S.index(-1)), f4, S.apply("le", S.index(1), j))
    back = S.iadd(S.iadd(S.imul(i, c), S.imul(j, -1)), S.index(c - 1))
    body = (Loop("j", c, "serial", (Store(1, at, S.apply("add", before, S.load(0, at, f4))),)),
            Loop("j", c, "vector", (Store(2, at, S.load(1, back, f4)),)),
            Loop("j", c, "vector", (Accumulate("s", S.load(2, back, f4)),), (Carry("s", "add", f4),)),
            Store(2, S.imul(i, c), S.carry("s", f4)),
            Loop("j", c, "vector", (Store(1, at, S.apply("mul", S.load(1, at, f4), S.load(2, S.imul(i, c), f4))),)))
    k = kernel([f4, f4, f4], {1, 2}, grid([r], body))
    s = check(device, k, [normal(r * c), nan(r * c), nan(r * c)], traits)
    assert ("storageBarrier" in s.source) == (not traits.software)


@BOTH
def test_nested_loops_and_carries(device, traits):
    """A serial loop around a shared one: carries of both, and a combination into memory at each step."""
    r, n, c = 2, 3, 70
    i, k, j = S.var("i", r), S.var("k", n), S.var("j", c)
    x = S.load(0, S.flat((i, k, j), (r, n, c)), f4)
    inner = Loop("j", c, "vector", (Accumulate("a", x), Accumulate("t", S.cast(x, f8))), (Carry("a", "maximum", f4),))
    body = (Store(1, i, S.const(0, f4)),
            Loop("k", n, "serial", (inner, Accumulate("p", S.carry("a", f4)), Combine(1, i, "add", S.carry("a", f4))),
                 (Carry("p", "mul", f4), Carry("t", "add", f8))),
            Store(2, i, S.apply("add", S.carry("t", f8), S.cast(S.carry("p", f4), f8))))
    check(device, kernel([f4, f4, f8], {1, 2}, grid([r], body)), [normal(r * n * c), nan(r), nan(r, f8)], traits)


@BOTH
@pytest.mark.parametrize("n", [1000, 1001, 0, 1])
def test_without_a_grid(device, traits, n):
    i = S.var("i", n)
    loop = Loop("i", n, "vector", (Accumulate("s", S.load(0, i, f4)), Accumulate("n", S.cast(S.load(0, i, f4), b1))),
                (Carry("s", "add", f4), Carry("n", "and", b1)))
    k = kernel([f4, f4, b1], {1, 2}, loop, Store(1, S.index(0), S.carry("s", f4)), Store(2, S.index(0), S.carry("n", b1)))
    check(device, k, [normal(n), nan(1), np.zeros(1, b1)], traits)


def test_more_turns_than_llvmpipe_gives_a_loop(device):
    """It ends all loops of a thread after 65535 turns: they are shared by a workgroup, or written out several times."""
    n, m = 280001, 3
    i, x = S.var("i", n), S.load(0, S.var("i", n), i4)
    before = S.load(1, S.iadd(i, S.index(-1)), i4, S.apply("le", S.index(1), i))
    k = kernel([i4, i4, i4], {1, 2},
               Loop("i", n, "vector", (Accumulate("s", x),), (Carry("s", "add", i4),)),
               Loop("i", n, "serial", (Store(1, i, S.apply("add", before, x)),)),
               Loop("i", n, "serial", (Loop("j", m, "serial", (Accumulate("t", x),)),), (Carry("t", "add", i4),)),
               Store(2, S.index(0), S.carry("s", i4)), Store(2, S.index(1), S.carry("t", i4)))
    data = rng.integers(-9, 10, n).astype(i4)
    buffers = [np.append(data, [0, 0, 0]).astype(i4).view(np.uint8), garbage(4 * n), garbage(8)]
    run(device, kernels.shader(k, THREADS, (n, n, 2)), buffers)
    np.testing.assert_array_equal(buffers[2].view(i4)[:2], [data.sum(), m * data.sum()])
    np.testing.assert_array_equal(buffers[1].view(i4)[:n], np.cumsum(data))


@BOTH
def test_nan_and_infinity_in_reductions(device, traits):
    x = np.array([[1, np.nan, -3, 2] * 16, [-np.inf, -5, -np.inf, -7] * 16, [np.inf, -np.inf, 0, 1] * 16], f4)
    i, _, at = rows(3, 64)
    loop = Loop("j", 64, "vector", tuple(Accumulate(m, S.load(0, at, f4)) for m in ("maximum", "minimum", "add")),
                tuple(Carry(m, m, f4) for m in ("maximum", "minimum", "add")))
    stores = tuple(Store(p, i, S.carry(m, f4)) for p, m in enumerate(("maximum", "minimum", "add"), 1))
    check(device, kernel([f4] * 4, {1, 2, 3}, grid([3], (loop, *stores))), [x.reshape(-1), nan(3), nan(3), nan(3)], traits, exact=True)


# ---- data in indices ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("itype", [i4, i8], ids=str)
@pytest.mark.parametrize("bad", [False, True])
def test_gather_is_checked_and_stays_inside(device, itype, bad, wide):
    """`wide`: whether the device has int64; without, indices from int32 are int32."""
    if itype == i8 and not wide:
        return
    traits = changed(THREADS, int64=wide)
    r, c, table = 6, 8, 10
    i, j, at = rows(r, c)
    where = S.cast(S.load(0, i, itype), i8)
    where = S.apply("select", S.apply("lt", where, S.index(0)), S.iadd(where, S.index(table)), where)
    ok = S.apply("and", S.apply("le", S.index(0), where), S.apply("lt", where, S.index(table)))
    value = S.load(1, S.iadd(S.imul(where, c), j), f4)
    k = kernel([itype, f4, f4], {2}, grid([r, c], [Check(ok, 4), Store(2, at, value)]))
    numbers = np.array([0, 9, -1, -10, 3, (1 << 40 if itype == i8 else 1 << 30) if bad else 5], itype)
    arrays = [numbers, normal(table * c), nan(r * c)]
    shader = kernels.shader(k, traits, tuple(a.size for a in arrays))
    assert "b1: array<vec4<f32>>" in shader.source
    assert wide or "i64" not in shader.source
    buffers = [garbage(a.nbytes) for a in arrays]
    for raw, a in zip(buffers, arrays, strict=True):
        raw.view(a.dtype)[:a.size] = a
    assert run(device, shader, buffers) == (5 if bad else 0)
    good = r - bad
    got = buffers[2].view(f4)[:r * c].reshape(r, c)
    np.testing.assert_array_equal(got[:good], arrays[1].reshape(table, c)[numbers[:good]])


def test_scatter_adds_inside_only(device):
    n = 24
    i = S.var("i", n)
    where = S.cast(S.load(0, i, i4), i8)
    k = kernel([i4, f4, f4], {2}, grid([n], [Combine(2, where, "add", S.load(1, i, f4))]))
    numbers = rng.permutation(n).astype(i4)
    check(device, k, [numbers, normal(n), normal(n)], THREADS)
    shader = kernels.shader(k, THREADS, (n, n, n))
    numbers[3] = 1 << 20
    arrays = [numbers, normal(n), normal(n)]
    buffers = [a.view(np.uint8).copy() for a in arrays]
    run(device, shader, buffers)
    expected = arrays[2].copy()
    np.add.at(expected, np.delete(numbers, 3), np.delete(arrays[1], 3))
    np.testing.assert_allclose(buffers[2].view(f4), expected, rtol=1e-6)


@BOTH
def test_serial_scatter_without_grid(device, traits):
    n = 50
    i = S.var("i", n)
    loop = Loop("i", n, "vector", (Combine(2, S.cast(S.load(0, i, i4), i8), "add", S.load(1, i, f4)),))
    k = kernel([i4, f4, f4], {2}, loop)
    check(device, k, [rng.integers(0, 7, n).astype(i4), normal(n), normal(7)], traits)


# ---- what the compiler makes ---------------------------------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("seed", range(200, 210))
def test_compiled_programs(device, traits, seed):
    """Every kernel of a random program, on the values that the kernels before it left."""
    roots = cases.random_roots(seed)
    sources = [t for t in toposort(roots) if t.op.name == "source"]
    ops = scalars.caps_ops(traits)
    caps = Caps("wgsl", ops, frozenset([name for _, name in ops]), frozenset(), 7, True, 4096, not traits.software)
    program = compiler.compile(roots, sources, (None,) * len(roots), caps)
    held = [np.zeros(b.aval.size, b.aval.dtype) for b in program.buffers]
    for source, b in zip(sources, program.inputs, strict=True):
        held[b][:] = np.ravel(cases.data(source))
    for step in program.steps:
        if isinstance(step, Host):
            with np.errstate(all="ignore"):
                held[step.out][:] = np.ravel(step.prim.numpy(*[held[b].reshape(program.buffers[b].aval.shape) for b in step.inputs], **dict(step.params)))
        else:
            check(device, program.kernels[step.kernel], [held[b] for b in step.buffers], traits, tuple([step.buffers.index(b) for b in step.buffers]))
            run_kernel(program.kernels[step.kernel], [held[b] for b in step.buffers])


# ---- buffers and launches -------------------------------------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("offset", [0, 1])
def test_segments(device, traits, offset):
    """Buffers of several bindings: read and written across their borders."""
    small = changed(traits, binding=700, alignment=32)
    r, c = 5, 64
    *_, at = rows(r, c)
    moved = S.iadd(at, S.index(offset))
    x = S.load(0, moved, f4)
    body = (Loop("j", c, "vector", (Accumulate("m", x),), (Carry("m", "maximum", f4),)),
            Loop("j", c, "vector", (Store(1, moved, S.apply("sub", x, S.carry("m", f4))),)))
    n = r * c + offset
    out = nan(n)
    out[0] = 5
    s = check(device, kernel([f4, f4], {1}, grid([r], body)), [normal(n), out], small)
    assert s.segment_bytes == 512 and len(s.grids) == 3
    assert [b.segment for b in s.bindings] == [0, *[1] * offset] * 2, "a launch sees as many as its rows touch"


WINDOWS = {                      # make(index of element (i, j), the same turned, i, j) -> where x is read
    "in order": lambda at, turned, i, j: at,
    "turned": lambda at, turned, i, j: turned,
    "backwards": lambda at, turned, i, j: S.iadd(S.imul(at, -1), S.index(30 * 44 - 1)),
    "rows": lambda at, turned, i, j: i,
    "columns": lambda at, turned, i, j: j,
    "in blocks": lambda at, turned, i, j: S.iadd(S.imul(S.ifloordiv(at, 220), 220), S.imod(S.iadd(at, S.index(110)), 220)),
    "as data say": lambda at, turned, i, j: S.load(3, at, i4),
}


@pytest.mark.parametrize("name", WINDOWS)
@BOTH
def test_launches_see_parts_of_buffers_of_several_bindings(device, traits, name):
    """Elementwise kernels, rows and columns of more segments than the device has bindings, read in any order."""
    r, c = 30, 44
    small = changed(traits, binding=256, alignment=32, bindings=36)
    i, j, at = rows(r, c)
    turned = S.iadd(S.imul(j, r), i)
    there = WINDOWS[name](at, turned, i, j)
    data = [normal(r * c), normal(r * c, dtype=np.dtype("f2")), nan(r * c), rng.integers(0, r * c, r * c).astype(i4)]
    value = S.apply("add", S.load(0, there, f4), S.cast(S.load(1, at, f2), f4))
    k = kernel([f4, f2, f4, i4], {2}, grid([r, c], [Store(2, at, value)]))
    s = check(device, k, data, small)
    assert len(s.bindings) <= (6 if name in ("in order", "rows", "columns") else 36) and len(s.grids) > 1
    flat = S.var("i", r * c)
    k = kernel([f4, f2, f4, i4], {2}, grid([r * c], [Store(2, flat, S.apply("mul", S.load(0, flat, f4), S.cast(S.load(1, flat, f2), f4)))], True))
    assert len(check(device, k, data, small).bindings) == 3
    if name != "as data say":
        loop = Loop("j", c, "vector", (Accumulate("s", S.load(0, there, f4)),), (Carry("s", "add", f4),))
        check(device, kernel([f4, f4], {1}, grid([r], [loop, Store(1, i, S.carry("s", f4))])), [data[0], nan(r)], small)
        loop = Loop("i", r, "vector", (Accumulate("s", S.load(0, there, f4)),), (Carry("s", "add", f4),))
        check(device, kernel([f4, f4], {1}, grid([c], [loop, Store(1, j, S.carry("s", f4))], names="j")), [data[0], nan(c)], small)


def test_windows_and_long_work_and_tall_grids_together(device):
    n = 1 << 17
    small = changed(GROUPS, binding=1 << 18, alignment=32)
    i = S.var("i", n)
    k = kernel([f4, f8], {1}, grid([n], [Store(1, i, S.cast(S.load(0, i, f4), f8))]), work=int(1e11))
    s = check(device, k, [normal(n), nan(n, f8)], small)
    assert len(s.bindings) == 2 and len(s.grids) == len(s.words) > 4
    loop = Loop("k", 3, "serial", (Accumulate("s", S.load(0, S.imod(S.iadd(i, S.var("k", 3)), n), f4)),), (Carry("s", "add", f4),))
    check(device, kernel([f4, f4], {1}, grid([n], [loop, Store(1, i, S.carry("s", f4))])), [normal(n), nan(n)], small)


@BOTH
def test_long_work_is_cut_into_launches(device, traits):
    k = changed(softmax(130, 64), work=int(6e10))
    s = check(device, k, [normal(130 * 64), nan(130 * 64), nan(130)], traits)
    assert len(s.grids) == 3
    n = 4000
    i = S.var("i", n)
    k = kernel([f4, f4], {1}, grid([n], [Store(1, i, S.apply("neg", S.load(0, i, f4)))]), work=int(5e10))
    s = check(device, k, [normal(n), nan(n)], traits)
    assert len(s.grids) > 1


def test_many_workgroups_and_several_steps_a_thread(device):
    n = (1 << 22) + 4100
    i = S.var("i", n)
    k = kernel([f4, f4], {1}, grid([n], [Store(1, i, S.apply("add", S.load(0, i, f4), S.const(1, f4)))]))
    s = kernels.shader(k, GROUPS, (n, n))
    x = normal(n)
    buffers = [x.view(np.uint8).copy(), garbage(4 * n)]
    run(device, s, buffers)
    np.testing.assert_array_equal(buffers[1].view(f4), x + np.float32(1))
    assert "turn" in s.source
    rows_ = 70000                                    # more workgroups than one dimension of a dispatch has
    tall = kernels.shader(softmax(rows_, 512), GROUPS, (rows_ * 512,) * 2 + (rows_,))
    assert tall.grids[0][:3] == (65535, 2, 1)
    assert tint.check(tall.source) == ""


def test_parameters_that_are_one_buffer(device):
    n = 40
    i = S.var("i", n)
    k = kernel([f4, f4, f4], {2}, grid([n], [Store(2, i, S.apply("add", S.load(0, i, f4), S.load(1, i, f4)))]))
    a = normal(n)
    s = check(device, k, [a, normal(n), a], THREADS, aliases=(0, 1, 0))
    assert [(b.param, b.writes) for b in s.bindings] == [(0, True), (1, False)]


def test_nothing_to_do(device):
    i = S.var("i", 0)
    k = kernel([f4, f4], {1}, grid([0], [Store(1, i, S.load(0, i, f4))]))
    s = check(device, k, [normal(0), nan(0)], THREADS)
    assert s.grids == ()
    k = kernel([f4], {0}, Store(0, S.index(0), S.const(3.5, f4)))
    assert check(device, k, [nan(1)], GROUPS).grids == ((1, 1, 1, 0),)


def test_values_are_computed_before_writes(device):
    i = S.var("i", 16)
    a, b = S.load(0, i, f4), S.load(1, i, f4)
    k = kernel([f4, f4], {0, 1}, grid([16], [Store(0, i, b), Store(1, i, a)]))
    check(device, k, [normal(16), normal(16)], THREADS, exact=True)


def test_shader_text_is_short():
    i = S.var("i", 1000)
    x = S.load(0, i, f4)
    k = kernel([f4, f4], {1}, grid([1000], [Store(1, i, S.apply("mul", x, x))], True))
    assert kernels.shader(k, THREADS, (1000, 1000)).source.strip() == """
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> b1: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let iq = id.x;
  if (iq >= 250u) { return; }
  let v1 = b0[iq];
  let v2 = v1 * v1;
  b1[iq] = v2;
}
""".strip()



# ---- states -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("length", [1, 7, 70000])
def test_states_go_through_the_steps_of_a_thread(device, n, length):
    """A spring: two states that read each other, each position of the last 7 steps stored; more steps than llvmpipe's loops have."""
    i, t = S.var("i", n), S.var("t", length)
    x, v = S.carry("x", f4), S.carry("v", f4)
    faster = S.apply("sub", v, S.apply("mul", x, S.const(0.01, f4)))
    further = S.apply("add", x, S.apply("mul", v, S.const(0.01, f4)))
    rows = min(length, 7)
    row = S.iadd(S.imul(S.imod(t, rows), n), i)
    steps = Loop("t", length, "serial", (Store(1, row, x), Assign("x", further), Assign("v", faster)),
                 states=(State("x", f4, S.load(0, i, f4)), State("v", f4, S.const(0, f4))))
    k = kernel([f4, f4, f4], {1, 2}, *([grid([n], (steps, Store(2, i, v)))] if n > 1 else [steps, Store(2, i, v)]))
    arrays = [normal(n), nan(rows * n), nan(n)]
    if length < 100:
        check(device, k, arrays, THREADS)
        return
    shader = kernels.shader(k, THREADS, tuple(a.size for a in arrays))
    buffers = [garbage(a.nbytes) for a in arrays]
    buffers[0].view(f4)[:n] = arrays[0]
    run(device, shader, buffers)
    position, speed = arrays[0].astype(f8), np.zeros(n)
    for _ in range(length):
        position, speed = position + 0.01 * speed, speed - 0.01 * position
    np.testing.assert_allclose(buffers[2].view(f4)[:n], speed, rtol=2e-3, atol=1e-3 * np.abs(speed).max())     # 70000 roundings


@pytest.mark.parametrize("n", [1, 37])
def test_every_thread_ends_at_its_own_step(device, n):
    i = S.var("i", n)
    x, c = S.carry("x", f4), S.carry("c", i4)
    steps = Loop("s", 1 << 31, "serial", (Assign("x", S.apply("mul", x, S.const(0.5, f4))), Assign("c", S.apply("add", c, S.const(1, i4)))),
                 test=S.apply("lt", S.const(1, f4), x), states=(State("x", f4, S.load(0, i, f4)), State("c", i4, S.const(0, i4))))
    inside = (steps, Store(1, i, x), Store(2, i, c))
    k = kernel([f4, f4, i4], {1, 2}, *([grid([n], inside)] if n > 1 else inside))
    arrays = [np.exp2(np.arange(n) / 3 - 1).astype(f4), nan(n), nan(n, i4)]
    check(device, k, arrays, THREADS)
