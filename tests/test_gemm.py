"""Matrix products of our own against NumPy in float64: every path of `tiling`, and what must not be touched."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from test_codegen import run_program

import lazygrad as lg
from lazygrad import compiler
from lazygrad.backends import llvm
from lazygrad.backends.llvm import epilogue, externs, gemm, jit, portions, target
from lazygrad.backends.llvm.program import emit
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Buffer, Gemm, Program
from lazygrad.ir.record import changed
from lazygrad.ir.term import toposort

SIZES = [(1, 3, 1), (1, 200, 7), (2, 16, 5), (5, 7, 9), (6, 64, 33), (7, 65, 64), (13, 17, 3), (25, 10, 40), (70, 100, 50), (97, 33, 129)]
DEEP = [(70, 20, 600), (9, 70, 1025), (66, 120, 512)]


def program(g: Gemm, sizes: tuple[int, int, int], dtype: np.dtype) -> Program:
    kinds = ("input", "input", "output")
    buffers = tuple([Buffer(kind, aval((size,), dtype), i % 2) for i, (kind, size) in enumerate(zip(kinds, sizes, strict=True))])
    return Program(buffers, (0, 1), (2,), (None,), (g,), (), 0)


def check(m, n, k, trans_a, trans_b, dtype, accumulate=False, batch=1, far=0, offset=0):
    """Rows `far` elements longer than need be, a start at `offset`; everything of C that is not the product keeps its value."""
    rng = np.random.default_rng(m * n + k)
    rows = {"a": (k, m) if trans_a else (m, k), "b": (n, k) if trans_b else (k, n), "c": (m, n)}
    strides = {x: cols + far for x, (_, cols) in rows.items()}
    steps = {x: rows[x][0] * strides[x] + 3 for x in rows}
    data = [rng.standard_normal(offset + steps[x] * batch).astype(dtype) for x in "abc"]
    views = {x: np.lib.stride_tricks.as_strided(d[offset:], (batch, *rows[x]), [d.itemsize * s for s in (steps[x], strides[x], 1)])
             for x, d in zip("abc", data, strict=True)}
    g = Gemm(0, 1, 2, m, n, k, strides["a"], strides["b"], strides["c"], trans_a, trans_b, accumulate, batch,
             *[steps[x] if batch > 1 else 0 for x in "abc"], offset, offset, offset)
    a, b = [views[x].astype(np.float64) for x in "ab"]
    a, b = a.swapaxes(1, 2) if trans_a else a, b.swapaxes(1, 2) if trans_b else b
    want = data[2].copy()
    place = np.lib.stride_tricks.as_strided(want[offset:], (batch, m, n), views["c"].strides)
    place[:] = a @ b + (views["c"] if accumulate else 0)
    _, (out,), _ = run_program(program(g, tuple([d.size for d in data]), dtype), data[:2], [data[2].copy()])
    bound = np.finfo(dtype).eps * k                            # each of k roundings is half an ulp of a partial sum
    scale = np.abs(a) @ np.abs(b)
    np.testing.assert_array_less(np.abs(np.lib.stride_tricks.as_strided(out[offset:], (batch, m, n), views["c"].strides) - place), bound * scale + 4 * bound)
    place[:] = np.lib.stride_tricks.as_strided(out[offset:], (batch, m, n), views["c"].strides)
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("dtype", [np.dtype("float32"), np.dtype("float64")], ids=str)
@pytest.mark.parametrize("form", ["NN", "TN", "NT"])
def test_products(form, dtype):
    for m, n, k in SIZES:
        check(m, n, k, form[0] == "T", form[1] == "T", dtype, accumulate=m % 2 == 0)


@pytest.mark.parametrize("form", ["NN", "TN", "NT"])
def test_products_in_panels(form):
    """Rows that lie far apart, sums longer than a panel, batches, offsets."""
    dtype = np.dtype("float32")
    for m, n, k in DEEP:
        check(m, n, k, form[0] == "T", form[1] == "T", dtype, far=600, accumulate=n == 70, offset=1)
    check(20, 18, 70, form[0] == "T", form[1] == "T", dtype, batch=3, far=5, offset=7)


def test_special_values_pass_through():
    """0 * inf is NaN, and no padding reaches a result: the lanes behind a short row stay out of it."""
    dtype = np.dtype("float32")
    a, b = np.zeros((3, 2), dtype), np.array([[np.inf, 1, np.nan, 2, 3], [1, 2, 3, 4, 5]], dtype)
    g = Gemm(0, 1, 2, 3, 5, 2, 2, 5, 5)
    _, (out,), _ = run_program(program(g, (6, 10, 15), dtype), [a.ravel(), b.ravel()], [np.ones(15, dtype)])
    np.testing.assert_array_equal(out.reshape(3, 5), np.tile(np.array([np.nan, 0, np.nan, 0, 0], dtype), (3, 1)))


@pytest.mark.parametrize(("level", "register"), [("x86-64-v3", "ymm"), ("x86-64-v4", "zmm"), ("aarch64", ".4s")])
def test_products_for_other_machines(level, register):
    t = target.level(level)
    for trans_a, trans_b in ((False, False), (True, False), (False, True)):
        g = Gemm(0, 1, 2, 70, 70, 600, 70 if trans_a else 600, 600 if trans_b else 70, 70, trans_a, trans_b)
        text = jit.assembly(emit(program(g, (42000, 42000, 4900), np.dtype("float32")), t).text, target=t)
        assert any(register in line and "fm" in line for line in text.splitlines())


def test_blas_takes_what_it_does_better():
    f4, host = np.dtype("float32"), target.host()
    assert gemm.tiling(Gemm(0, 1, 2, 100, 1, 100, 100, 1, 1), f4, host) is None            # a vector: nothing to fill lanes with
    assert gemm.tiling(Gemm(0, 1, 2, 8, 8, 8, 8, 8, 8, True, True), f4, host) is None
    assert gemm.tiling(Gemm(0, 1, 2, 8, 8, 0, 0, 8, 8), f4, host) is None                    # an empty sum
    assert gemm.tiling(Gemm(0, 1, 2, 512, 2, 64, 512, 2, 2, True), f4, host) is None          # a few columns of an A that is read across


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "blas"])
@pytest.mark.parametrize("form", ["NN", "TN", "NT"])
def test_portions_that_threads_share(form, ours, monkeypatch):
    """Blocks of rows, of columns, of both, and of entries, with last ones that are smaller."""
    for name, value in (("WORTH", 0.0), ("PORTION", 1e-9), ("MOST", 6), ("ROWS", 12), ("COLUMNS", 20)):
        monkeypatch.setattr(portions, name, value)
    if not ours:
        monkeypatch.setattr(gemm, "tiling", lambda *_: None)
    dtype = np.dtype("float32")
    for m, n, k, more in ((70, 20, 60, {}), (9, 300, 40, {}), (75, 150, 33, {"far": 5, "offset": 3}), (20, 18, 70, {"batch": 17}), (70, 40, 30, {"batch": 2}),
                          (70, 20, 60, {"accumulate": True})):
        rows = (m, n, k)
        text = emit(program(Gemm(0, 1, 2, *rows, k, n, n, batch=more.get("batch", 1)), (1, 1, 1), dtype), target.host())
        assert text.regions
        check(*rows, form[0] == "T", form[1] == "T", dtype, **more)


def test_blas_takes_one_thread_and_then_as_many_as_before(monkeypatch):
    """Its results must not depend on how many threads it would take, which is the user's affair again afterwards."""
    monkeypatch.setattr(gemm, "tiling", lambda *_: None)
    get, put = externs._blas_threads()
    if not put:
        assert "openblas" not in str(externs.blas_kind().file)
        return
    get, put = ctypes.CFUNCTYPE(ctypes.c_int)(get), ctypes.CFUNCTYPE(None, ctypes.c_int)(put)
    rng, before, found = np.random.default_rng(0), get(), []
    a, b = rng.standard_normal((150, 200)).astype(np.float32), rng.standard_normal((200, 180)).astype(np.float32)
    g = Gemm(0, 1, 2, 150, 180, 200, 200, 180, 180)
    try:
        for threads in (1, 2, 3):
            put(threads)
            _, (out,), _ = run_program(program(g, (a.size, b.size, 150 * 180), np.dtype("float32")), [a.ravel(), b.ravel()], [np.ones(150 * 180, np.float32)])
            assert get() == threads and externs.CELL[:2].tolist() == [0, 0]
            found.append(out.tobytes())
    finally:
        put(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "blas"])
@pytest.mark.parametrize("dtype", [np.dtype("float32"), np.dtype("float64")], ids=str)
def test_epilogues(dtype, ours, monkeypatch):
    """What one elementwise kernel makes of a product, block by block: bias, activation, residual, an update in place, batches, transposes."""
    monkeypatch.setenv("LAZYGRAD_CACHE_DIR", "off")
    monkeypatch.setattr(llvm, "caps", changed(llvm.caps, epilogue=1))
    monkeypatch.setattr(epilogue, "BLOCK", 64 * 24 * dtype.itemsize)
    if not ours:
        monkeypatch.setattr(gemm, "tiling", lambda *_: None)
        monkeypatch.setattr(portions, "COLUMNS", 24)
    for batch, m, k, n in (((), 100, 30, 70), ((), 2, 64, 90), ((), 90, 60, 3), ((7,), 17, 20, 30), ((2, 3), 40, 24, 64), ((40,), 12, 20, 18)):
        check_epilogues(batch, m, k, n, dtype)


def check_epilogues(batch: tuple[int, ...], m: int, k: int, n: int, dtype: np.dtype) -> None:
    """Several products of one size, each read by another kernel, and one that is also asked for itself."""
    rng, graph = np.random.default_rng(0), lg.Graph()

    def leaf(*shape):
        return graph.tensor(rng.standard_normal(shape).astype(dtype))

    b, r, w, update = leaf(n), leaf(*batch, m, n), leaf(*batch, k, n), leaf(*batch, m, n)
    third = np.arange(n) % 3 == 0
    bv, rv, uv = [v.value.astype(np.float64) for v in (b, r, update)]
    rules = {"relu": (lambda p: lg.relu(p + b), lambda v: np.maximum(v + bv, 0)),
             "residual": (lambda p: lg.tanh(p) * 0.5 + r, lambda v: np.tanh(v) * 0.5 + rv),
             "turned": (lambda p: lg.exp(-p * p).mT, lambda v: np.exp(-v * v).swapaxes(-1, -2)),
             "column": (lambda p: p * r[..., :1] + b, lambda v: v * rv[..., :1] + bv),
             "indices": (lambda p: lg.where(third, p, b), lambda v: np.where(third, v, bv)),
             "twice": (lambda p: p * p + p, lambda v: v * v + v),
             "updated": (lambda p: update - 0.1 * p, lambda v: uv - 0.1 * v)}
    xs = [leaf(*batch, m, k) for _ in range(len(rules) + 1)]
    made = [rule(x @ w) for x, (rule, _) in zip(xs, rules.values(), strict=False)]
    p = xs[-1] @ w
    made += [p, lg.sin(p)]                                       # here the product is asked for itself
    assert all(isinstance(s, Gemm) for z in [*made[:2], *made[3:-2]] for s in plan(z).steps)
    got = graph.compile([], made[:6] + made[7:], updates=[(update, made[6])])()
    got = [*got[:6], update.value, *got[6:]]
    products = [np.matmul(x.value.astype(np.float64), w.value) for x in xs]
    want = [rule(v) for v, (_, rule) in zip(products, rules.values(), strict=False)] + [products[-1], np.sin(products[-1])]
    tolerance = 40 * k * np.finfo(dtype).eps                     # k roundings of a product near sqrt(k), squared by some
    for name, x, y in zip([*rules, "product", "and more"], got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=f"{name} {batch, m, k, n}")


def plan(z) -> Program:
    """The program of an expression."""
    sources = [t for t in toposort([z.term]) if t.op.name == "source"]
    return compiler.compile([z.term], sources, [None], llvm.caps)
