"""Every shader that the generators make is accepted by Tint, so that browsers and Dawn can run it; float64 and 64-bit integers,
which WGSL itself lacks, are the only exceptions, and exactly the modules that use them are refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import test_backend as cpu
import tint
from samples import arrays, moving

import lazygrad as lg
from lazygrad import compiler
from lazygrad.ad import vjp
from lazygrad.backends import wgsl
from lazygrad.backends.wgsl import scalars
from lazygrad.backends.wgsl.steps import Writer, title
from lazygrad.backends.wgsl.text import Builder, Module, load_value, storage_name, store_value, typed
from lazygrad.backends.wgsl.traits import Traits
from lazygrad.ir.program import Host
from lazygrad.ir.record import changed as replace
from lazygrad.ir.scalar import OPS
from lazygrad.prims import REGISTRY as P

BUFFER = "@group(0) @binding({0}) var<storage, read_write> b{0}: array<{1}>;\n"


def module(body: str, above: str = "", element: str = "f32", buffers: int = 1, threads: int = 64) -> str:
    """A compute shader over `buffers` arrays of `element`, thread number in `i`."""
    arrays = "".join(BUFFER.format(n, element) for n in range(buffers))
    return (f"{above}\n{arrays}@compute @workgroup_size({threads})\n"
            f"fn main(@builtin(global_invocation_id) at: vec3<u32>) {{\n    let i = at.x;\n    {body}\n}}\n")


# ---- the judge itself ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("source", [
    module("b0[i] = b0[i] * 2.0 + 1.0;"),
    module("b0[i] = b0[i] + 1.0h;", "enable f16;", "f16"),
    module("b0[i] = subgroupAdd(b0[i]);"),                                       # the directive is added for Tint
    module("b0[i] = subgroupAdd(b0[i]);", "enable f16, subgroups;"),
    module("total[i % 64u] = b0[i];\n    workgroupBarrier();\n    b0[i] = total[0];", "var<workgroup> total: array<f32, 64>;"),
    module("b0[i] = inf();", "fn inf() -> f32 { let bits = 0x7f800000u; return bitcast<f32>(bits); } // ∞ in one place"),
])
def test_valid_wgsl_is_accepted(source):
    assert tint.check(source) == ""


@pytest.mark.parametrize(("source", "message"), [
    ("fn main( {", "expected ')'"),
    (module("b0[i] = missing;"), "unresolved value 'missing'"),
    (module("b0[i] = 1u;"), "cannot assign 'u32' to 'f32'"),                     # no implicit conversion
    (module("b0[i] = bitcast<f32>(0x7f800000u);"), "cannot be represented"),     # no infinite constant
    (module("b0[i] = 1.0 / 0.0;"), ""),
    (module("if (b0[i] > 0.0) { workgroupBarrier(); }"), "uniform control flow"),
    (module("b0[i] = f64(1.0);", element="f64"), "unresolved type 'f64'"),
    (module("b0[i] = b0[i] + 1;", element="i64"), "unresolved type 'i64'"),
    (module("b0[i] = 1.0h;", element="f16"), "f16"),                             # without `enable f16;`
    (module("b0[i] = 1.0;", "enable wgpu_cooperative_matrix;"), "expected extension"),
    ("@compute @workgroup_size(1) fn other() {}", "doesn't exist"),
])
def test_invalid_wgsl_is_refused(source, message):
    got = tint.check(source)
    assert got != "" and message in got


@pytest.mark.parametrize("source", [
    module("b0[i] = 1.0;", threads=512),
    module("big[i] = 1.0;\n    b0[i] = big[0];", "var<workgroup> big: array<f32, 8192>;"),
    module(" ".join(f"b{n}[i] = 1.0;" for n in range(9)), buffers=9),
])
def test_a_portable_shader_stays_within_the_limits_of_every_device(source):
    assert "maximum" in tint.check(source)
    assert tint.check(source, portable=False) == ""


def test_a_refusal_leaves_the_judge_intact():
    good = module("b0[i] = 1.0;")
    assert [tint.check(s) == "" for s in (good, "fn", good, "fn", good)] == [True, False, True, False, True]


# ---- scalar operations: every operation of every dtype, alone and four at a time ----------------------------------------------

# a device with the least limits: of its 8 storage buffers one is for faults
PORTABLE = Traits(software=False, float16=True, float64=False, int64=False, subgroups=False, buffers=7)
WIDE = replace(PORTABLE, float64=True, int64=True)
NAMES = [d.name for d in scalars.known_dtypes(PORTABLE)]


def operations(traits: Traits, dtype: np.dtype, lanes: int, names: list[str]) -> str:
    """A shader that computes each operation of values of `dtype`, and their casts to all dtypes, and stores the results."""
    made, body, stored_to = Module(traits), [], {}
    made.use(dtype)

    def load(k: int, kind: np.dtype) -> str:
        return Builder(made, body, lanes, kind).emit(load_value(kind, f"b0[i + {k}u]", lanes))

    values = [load(k, dtype) for k in range(3)]
    mask = Builder(made, body, lanes, np.dtype("bool")).emit(f"{values[0]} == {values[1]}")
    results = []
    for name in names:
        args = [mask, *values[:2]] if name == "select" else values[:OPS[name].arity]
        out = scalars.emit(made, body, name, dtype, lanes, args)
        results.append((out, np.dtype("bool") if OPS[name].out == "bool" else dtype))
    for to in scalars.known_dtypes(traits):
        results.append((scalars.emit(made, body, "cast", dtype, lanes, [values[0]], to), to))
        results.append((scalars.emit(made, body, "const", to, lanes, [], to, (1,)), to))
    for out, kind in results:
        made.use(kind)
        n = stored_to.setdefault(typed(storage_name(kind), lanes), 1 + len(stored_to))
        body.append(f"b{n}[i] = {store_value(kind, out, lanes)};")
    above = made.text()
    arrays = "".join(BUFFER.format(n, element) for element, n in {typed(storage_name(dtype), lanes): 0, **stored_to}.items() if n)
    arrays += BUFFER.format(0, typed(storage_name(dtype), lanes))
    lines = "\n    ".join(body)
    return (f"{above}{arrays}@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) at: vec3<u32>) {{\n"
            f"    let i = at.x;\n    {lines}\n}}\n")


def emitted(traits: Traits, dtype: np.dtype) -> list[str]:
    return sorted(name for name, kind in scalars.caps_ops(traits) if kind == dtype.name)


@pytest.mark.parametrize("fast_math", [False, True], ids=["exact", "fast"])
@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("name", NAMES)
def test_scalar_operations(name, lanes, fast_math):
    dtype = np.dtype(name)
    names = emitted(PORTABLE, dtype)
    assert names
    assert tint.check(operations(replace(PORTABLE, fast_math=fast_math), dtype, lanes, names)) == ""


@pytest.mark.parametrize("name", ["float64", "int64", "uint64"])
def test_what_tint_lacks_is_64_bits_wide(name):
    dtype = np.dtype(name)
    source = operations(WIDE, dtype, 0, emitted(WIDE, dtype)[:4])
    assert wide(source) and tint.check(source, portable=False) != ""


# ---- whole programs: every primitive's kernels and products, for each kind of device -------------------------------------------

KINDS = {
    "software": replace(PORTABLE, software=True),
    "gpu": PORTABLE,
    "subgroups": replace(PORTABLE, subgroups=True),
    "segments": replace(PORTABLE, binding=256, buffers=100, bindings=100),
}
BATCH = 100


def wide(source: str) -> bool:
    """Whether a shader uses types that only wgpu-native has."""
    return re.search(r"\b[fiu]64\b|\d(lf|li|lu)\b", source) is not None


def shaders(roots, sources, traits: Traits) -> dict[str, str]:
    """source text -> what it is for, of every step of the program for these roots; none only where all of them run on the host."""
    program = compiler.compile(roots, sources, (None,) * len(roots), wgsl.caps(traits))
    writer = Writer(program, traits)
    steps = [s for s in program.steps if not isinstance(s, Host)]
    assert steps or program.steps
    return {writer.shader(s)[0].source: title(s, program) for s in steps}


def accepted(found: dict[str, str], portable: bool = True) -> None:
    """Fails with what Tint has against shaders, which must be without 64-bit types."""
    messages = {source: tint.check(source, portable=portable) for source in found}
    wrong = [f"{found[source]}: {message}\n{source}" for source, message in messages.items() if message or wide(source)]
    if wrong:
        pytest.fail(f"{len(wrong)} of {len(found)} shaders are refused; the first:\n{wrong[0]}", pytrace=False)


def rows(dtype: np.dtype, first: int):
    return cpu.cases(dtype)[first:first + BATCH]


def batches(names: list[str]) -> list:
    return [(n, i) for n in names for i in range(0, len(cpu.cases(np.dtype(n))), BATCH)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "first"), batches(["float32", "int32", "uint32", "bool", "float16"]))
def test_values(name, first, kind):
    dtype = np.dtype(name)
    batch = cpu.Batch()
    for prim, k, row in rows(dtype, first):
        batch.add(prim, "", P[prim](*[batch.input(a) for a in arrays(row, dtype, k)], **row.params))
    found = shaders(batch.roots, batch.sources, KINDS[kind])
    accepted(found, portable=KINDS[kind].buffers <= 8)


@pytest.mark.parametrize("kind", ["software", "gpu"])
@pytest.mark.parametrize(("name", "first"), batches(["float32"]))
def test_derivatives(name, first, kind):
    dtype = np.dtype(name)
    batch = cpu.Batch()
    for prim, k, row in rows(dtype, first):
        if not P[prim].differentiable or not row.args:
            continue
        args = [batch.input(a) for a in arrays(row, dtype, k)]
        out = P[prim](*args, **row.params)
        if out.aval.dtype != dtype:
            continue
        ct = batch.input(np.ones(out.aval.shape, dtype), False)
        for g in vjp([out], [ct], [a for a in moving(prim, args) if a.aval.dtype == dtype]):
            if g is not None:
                batch.add(prim, "", g)
    found = shaders(batch.roots, batch.sources, KINDS[kind])
    assert found
    accepted(found)


@pytest.mark.parametrize(("name", "first"), [(n, 0) for n in ("float64", "int64", "uint64")])
def test_only_programs_with_64_bits_are_refused(name, first):
    dtype = np.dtype(name)
    batch = cpu.Batch()
    for prim, k, row in rows(dtype, first):
        batch.add(prim, "", P[prim](*[batch.input(a) for a in arrays(row, dtype, k)], **row.params))
    found = shaders(batch.roots, batch.sources, WIDE)
    assert any(wide(source) for source in found)
    assert [about for source, about in found.items() if (tint.check(source) != "") != wide(source)] == []


# ---- sizes at which other forms of kernels are taken ---------------------------------------------------------------------------

def ones(graph, *shape):
    return graph.tensor(np.ones(shape, np.float32))


WORKS = {
    "elementwise": lambda g: both(ones(g, 100_003), lambda x: lg.tanh(x) * lg.exp(-x * x)),
    "broadcast": lambda g: both(ones(g, 300, 1), lambda x: x * ones(g, 1, 1001) + ones(g, 1001)),
    "full sum": lambda g: both(ones(g, 1 << 20), lambda x: (x * x).sum()),
    "row sums": lambda g: both(ones(g, 1000, 1001), lambda x: x.sum(axis=1)),
    "column sums": lambda g: both(ones(g, 3001, 64), lambda x: x.sum(axis=0)),
    "softmax": lambda g: both(ones(g, 512, 1024), lambda x: lg.exp(x - x.max(axis=1, keepdims=True)) / lg.exp(x).sum(axis=1, keepdims=True)),
    "largest": lambda g: [ones(g, 3, 5000).argmax(axis=1), ones(g, 5000).max()],
    "scan": lambda g: both(ones(g, 3, 5000), lambda x: lg.cumsum(x, axis=1)),
    "gather and scatter": lambda g: both(ones(g, 500, 8), lambda x: x[np.arange(2000) % 500]),
    "logistic": lambda g: both(ones(g, 64, 784), lambda x: lg.maximum(x @ ones(g, 784, 128) + ones(g, 128), 0).logsumexp(axis=1).mean()),
    **{f"{m}x{k}x{n}": lambda g, m=m, k=k, n=n: both(ones(g, m, k), lambda x: lg.tanh(x @ ones(g, k, n)))
       for m, k, n in ((1, 1000, 1000), (1000, 1000, 1), (64, 64, 64), (512, 512, 512), (129, 63, 257), (16, 4096, 16), (2048, 16, 64))},
    "batched": lambda g: both(ones(g, 6, 65, 64), lambda x: x @ ones(g, 6, 64, 33)),
    "transposed": lambda g: both(ones(g, 128, 64), lambda x: x.T @ ones(g, 128, 96) + ones(g, 96)),
}


def both(x, f):
    """f(x) and its gradient."""
    z = f(x)
    return [z, *z.gradient(x)]


def of_work(work: str, traits: Traits) -> dict[str, str]:
    roots = [t.term for t in WORKS[work](lg.Graph())]
    sources, seen, stack = [], set(), list(roots)
    while stack:
        t = stack.pop()
        if t not in seen:
            seen.add(t)
            stack.extend(t.args)
            if t.op.name == "source":
                sources.append(t)
    return shaders(roots, sources, replace(traits, binding=PORTABLE.binding))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("work", WORKS)
def test_works(work, kind):
    accepted(of_work(work, KINDS[kind]), portable=KINDS[kind].buffers <= 8)


def test_a_gpu_shares_rows_among_threads_and_a_cpu_does_not():
    texts = {kind: "".join(of_work("softmax", KINDS[kind])) for kind in ("software", "gpu")}
    assert "workgroupBarrier" in texts["gpu"] and "workgroupBarrier" not in texts["software"]
    assert "var<workgroup>" in "".join(of_work("512x512x512", PORTABLE))
