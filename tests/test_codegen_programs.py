"""Compiled programs as native code: every primitive on its samples and special values, and random graphs, against NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import samples

pytest.importorskip("llvmlite")

from test_codegen import INEXACT, REAL, padded
from test_compiler import data, random_roots

from lazygrad import compiler, reference
from lazygrad.backends import host
from lazygrad.backends.llvm import externs, jit, scalars, target
from lazygrad.backends.llvm.program import emit
from lazygrad.dtypes import DTYPES, FLOATS
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Caps, Host
from lazygrad.ir.term import toposort
from lazygrad.prims import REGISTRY, leaf
from lazygrad.prims.base import Elementwise

CAPS = Caps("llvm", scalars.CAPS_OPS, frozenset(d.name for d in REAL), externs.gemm_dtypes())
ROUNDED = INEXACT | {"pow", "rsqrt", "logaddexp", "log_ndtr", "polygamma", "sum", "prod", "cumsum", "cumprod", "matmul", "conv", "scatter_add", "scatter_mul"}


def native(roots, sources, arrays, into=None):
    """The values of `roots` as native code gives them, the fault, and the sources' arrays afterwards."""
    into = [None] * len(roots) if into is None else into
    program = compiler.compile(roots, sources, into, CAPS)
    e = emit(program, target.host())
    code = jit.load(jit.compile_text(e.text))
    inputs = [padded(a) for a in arrays]
    outputs = [padded(np.full(r.aval.shape, 7, r.aval.dtype)) for r in roots]
    arena, fault = padded(np.full(program.arena, 0x5A, np.uint8)), np.zeros(1, np.int64)
    args = np.array([externs.table(True).ctypes.data, arena.ctypes.data, fault.ctypes.data,
                     *[a.ctypes.data for a in inputs + outputs]], np.int64)

    def array(number):
        b = program.buffers[number]
        if b.kind != "temp":
            return (inputs if b.kind == "input" else outputs)[b.number]
        return arena[b.offset:b.offset + b.aval.nbytes].view(b.aval.dtype).reshape(b.aval.shape)

    for part in e.parts:
        if isinstance(part, Host):
            avals = [program.buffers[b].aval for b in part.outs]
            for b, made in zip(part.outs, host.results(part, [array(b) for b in part.inputs], avals), strict=True):
                array(b)[...] = made
        else:
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address(part))(args.ctypes.data)
    return [inputs[i] if i is not None else o for i, o in zip(into, outputs, strict=True)], int(fault[0]), inputs


def sources_of(arrays, first=0):
    return [leaf.leaf(first + j, 0, aval(a.shape, a.dtype), False) for j, a in enumerate(arrays)]


def compare(roots, got, want, rounded):
    for r, g, w in zip(roots, got, want, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        tolerance = {2: 4e-3, 4: 1e-5, 8: 1e-11}.get(w.dtype.itemsize, 0) if w.dtype.kind == "f" and rounded else 0
        wide = np.result_type(w.dtype, np.float64)
        np.testing.assert_allclose(g.astype(wide), w.astype(wide), rtol=tolerance, atol=5 * tolerance, err_msg=repr(r))


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_every_primitive_on_its_samples(dtype):
    for name, rows in samples.ROWS.items():
        roots, sources, arrays = [], [], []
        for row in rows:
            if samples.accepts(name, row, dtype):
                values = samples.arrays(row, dtype)
                own = sources_of(values, len(sources))
                roots.append(REGISTRY[name](*own, **row.params))
                sources, arrays = sources + own, [*arrays, *values]
        if not roots:
            continue
        used = [s for s in sources if s in set(toposort(roots))]
        kept = [a for s, a in zip(sources, arrays, strict=True) if s in used]
        got, fault, _ = native(roots, used, kept)
        want = reference.evaluate(roots, dict(zip(used, kept, strict=True)))
        assert fault == 0, name
        compare(roots, got, want, name in ROUNDED or dtype.name == "float16")


OPEN = {"lgamma", "digamma", "polygamma"}          # poles: the sign of infinity is SciPy's habit


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_elementwise_primitives_on_special_values(dtype):
    roots, names, sources, arrays = [], [], [], []
    for arity in (1, 2):
        values = samples.edges(arity, dtype)
        if dtype.kind in "iu" and arity == 2:
            values = [v[values[1] >= 0] for v in values]          # negative powers and shifts have no value
        own = sources_of(values, len(sources))
        sources, arrays = sources + own, arrays + values
        for name in samples.ROWS:
            prim = REGISTRY[name]
            row = samples.ROWS[name][:1]
            if isinstance(prim.lowering, Elementwise) and row and len(row[0].args) == arity and not row[0].params \
                    and name not in OPEN and samples.accepts(name, row[0], dtype):
                roots.append(prim(*own))
                names.append(name)
    for start in range(0, len(roots), 12):
        part = roots[start:start + 12]
        used = [s for s in sources if s in set(toposort(part))]
        kept = [a for s, a in zip(sources, arrays, strict=True) if s in used]
        got, _, _ = native(part, used, kept)
        want = reference.evaluate(part, dict(zip(used, kept, strict=True)))
        for name, r, g, w in zip(names[start:], part, got, want, strict=False):
            compare([r], [g], [w], name in ROUNDED or dtype.name == "float16")


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs(seed):
    roots = random_roots(seed + 1000)
    sources = [t for t in toposort(roots) if t.op.name == "source"]
    arrays = [data(s) for s in sources]
    got, fault, after = native(roots, sources, arrays)
    assert fault == 0
    for g, w, r in zip(got, reference.evaluate(roots, dict(zip(sources, arrays, strict=True))), roots, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-4, atol=2e-4, err_msg=repr(r))
    for a, b in zip(arrays, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cast_between_every_pair_of_dtypes_has_a_kernel():
    x, = sources_of([np.arange(40, dtype=np.float32)])
    roots = [REGISTRY["cast"](REGISTRY["cast"](x, dtype=a), dtype=b) for a in REAL for b in REAL]
    got, _, _ = native(roots, [x], [np.arange(40, dtype=np.float32)])
    compare(roots, got, reference.evaluate(roots, {x: np.arange(40, dtype=np.float32)}), False)
    assert len(roots) == len(REAL) ** 2 and set(FLOATS) <= set(DTYPES)


def test_out_of_range_index_is_reported_and_reads_nothing():
    x, i = np.arange(5, dtype=np.float32), np.array([0, 4, 10**12], np.int64)
    sx, si = sources_of([x, i])
    root = REGISTRY["gather"](sx, si, axes=(0,), position=0)
    (got,), fault, _ = native([root], [sx, si], [x, i])
    assert fault > 0 and got[:2].tolist() == [0, 4]
