"""The GPU against the oracle, generated from the registry: every primitive, every sample row, every dtype it takes.

Many cases are roots of one program, sorted so that cases of one shape become one shader. Results equal the reference's bit by bit but
for functions and sums, whose bounds stand in `ULPS` and `scale`; every program runs three times (twice by one Executable, once by
another) and must give the same bits. float32 numbers below the normal range may be zero, in arguments and results, as the drivers
please (WGSL §15.7.2).
"""

from __future__ import annotations

import functools

import gpu
import numpy as np
import pytest
import test_backend as cpu
from samples import FOURIER, LINALG, ROWS, SPECIAL, Row, accepts, arrays, edges, moving

from lazygrad import dtypes, reference
from lazygrad.ad import vjp
from lazygrad.backends import wgsl
from lazygrad.ir.program import Host
from lazygrad.ir.record import changed
from lazygrad.ir.term import Term
from lazygrad.prims import REGISTRY as P
from lazygrad.prims import leaf
from lazygrad.prims.base import Elementwise

F16, F32, F64 = dtypes.FLOATS
BATCH = 150                     # cases of one program
# units in the last place: the functions' own bounds and those of NumPy's and SciPy's, which are at most 4
ULPS = {F16: 1, F32: 5, F64: 5}
# primitives that have no kernels on any backend: orderings, decompositions, a function of two variables
HOST = {"sort", "argsort", "searchsorted", "expm", "solve", "inv", "det", "cofactor", "logabsdet", "signdet", "polygamma",
        *LINALG, *FOURIER, *SPECIAL}


class Batch(cpu.Batch):
    """Cases that run together on the GPU. Arguments drawn alike are one input."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[tuple, Term] = {}

    def row(self, row: Row, dtype: np.dtype, k: int) -> list[Term]:
        """The inputs of a row."""
        made = []
        for a in arrays(row, dtype, k):
            key = (a.tobytes(), a.shape, a.dtype)
            if key not in self.drawn or self.drawn[key] in made:         # empty arguments of one row are apart
                self.drawn[key] = self.input(a)
            made.append(self.drawn[key])
        return made

    def cotangent(self, out: Term) -> Term:
        """A cotangent of a value: fixed numbers between 0.5 and 1.5."""
        value = np.random.default_rng(out.aval.size).uniform(0.5, 1.5, out.aval.shape).astype(out.aval.dtype)
        key = (value.tobytes(), value.shape, value.dtype)
        if key not in self.drawn:
            self.drawn[key] = self.input(value, False)
        return self.drawn[key]

    def run(self) -> tuple[gpu.Ran, list[np.ndarray]]:
        ran = gpu.Ran(self.roots, self.sources, self.values)
        assert ran.fault is None
        first = [a.tobytes() for a in ran.outputs]
        again = gpu.Ran(self.roots, self.sources, self.values)
        assert [a.tobytes() for a in again.outputs] == first
        ran.run(self.values)
        assert [a.tobytes() for a in ran.outputs] == first
        return ran, reference.evaluate(self.roots, dict(zip(self.sources, self.values, strict=True)))

    def check(self, differences=None) -> None:
        super().check(differences or difference)


# ---- comparing ------------------------------------------------------------------------------------------------------

def normal(v: np.ndarray) -> np.ndarray:
    """Numbers below the normal range of float32 as zeros of their sign."""
    if v.dtype != F32:
        return v
    return np.where(np.abs(v) < np.finfo(F32).tiny, np.copysign(F32.type(0), v), v)


def difference(name: str, root: Term, got: np.ndarray, want: np.ndarray, batch: Batch) -> str:
    """What is wrong with a result, "" for nothing."""
    found = cpu.difference(name, root, got, want, batch)
    if not found or got.dtype != want.dtype or got.shape != want.shape:
        return found
    good = _good(name, root, got, want, batch)
    if not good.all():                                        # numbers below the normal range, taken as zeros
        values = [normal(v) for v in batch.values]
        flushed = Batch()
        flushed.sources, flushed.values = batch.sources, values
        (zeros,) = reference.evaluate([root], dict(zip(batch.sources, values, strict=True)))
        good |= _good(name, root, normal(got), normal(zeros), flushed) | _good(name, root, normal(got), normal(want), batch)
    if good.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    inputs = [batch.values[batch.sources.index(a)] for a in root.args if a in batch.sources]
    here = [v[at].item() for v in inputs if v.shape == want.shape]
    return f"{root.aval} at {at} of {here}: {got[at]!r}, reference {want[at]!r} ({int((~good).sum())} of {good.size})"


def _good(name: str, root: Term, got: np.ndarray, want: np.ndarray, batch: Batch) -> np.ndarray:
    """Where a result is right."""
    dtype = want.dtype
    equal = (got == want) | ((got != got) & (want != want))
    if dtype.kind != "f":
        return equal
    if name not in cpu.ANY_ZERO:
        equal &= np.isnan(want) | (np.signbit(got) == np.signbit(want))
    if name in cpu.EXACT or name not in cpu.ROUNDED:
        return equal
    if name in cpu.SUMS | cpu.PRODUCTS:
        terms = max([a.aval.size for a in root.args]) // max(want.size, 1) + want.size + 1
        with np.errstate(all="ignore"):
            return equal | (np.abs(got.astype(F64) - want) <= terms * np.finfo(dtype).eps * cpu.scale(name, root, batch).astype(F64))
    want = cpu.better(name, root, want, batch)
    with np.errstate(all="ignore"):
        near = (cpu.ulps(got, want) <= ULPS[dtype]) | (np.abs(got.astype(F64) - want) <= cpu.absolute(name, root, batch))
    return near & (np.isnan(want) | (want != 0) | (np.signbit(got) == np.signbit(want)))


# ---- the registry ---------------------------------------------------------------------------------------------------

@functools.cache
def cases(dtype: np.dtype) -> list[tuple[str, int, Row]]:
    """Every row that takes `dtype`, those of one shape together."""
    return sorted(cpu.cases(dtype), key=lambda c: (not isinstance(P[c[0]].lowering, Elementwise), str([a.shape for a in c[2].args][-1:])
                                                   if isinstance(P[c[0]].lowering, Elementwise) else ""))


def batches(chosen, which) -> list:
    return [pytest.param(d, i, id=f"{d}-{i // BATCH}") for d in chosen for i in range(0, len(which(d)), BATCH)]


@pytest.mark.parametrize("dtype, first", batches(dtypes.DTYPES, cases))
def test_rows(dtype, first):
    batch = Batch()
    for name, k, row in cases(dtype)[first:first + BATCH]:
        batch.add(name, f"row {k} {row.params or ''}", P[name](*batch.row(row, dtype, k), **row.params))
    batch.check()


@pytest.mark.parametrize("dtype", [F32, dtypes.int32, dtypes.uint32, dtypes.bool_], ids=str)
def test_what_runs_on_the_host(dtype):
    """Nothing but `HOST`."""
    from lazygrad import compiler

    caps = wgsl.caps(gpu.device().traits)
    for name, k, row in cases(dtype):
        batch = Batch()
        root = P[name](*batch.row(row, dtype, k), **row.params)
        if any(a.aval.dtype.name not in caps.dtypes for a in (root, *batch.sources)):
            continue
        program = compiler.compile([root], batch.sources, [None], caps)
        assert name in HOST or not any(isinstance(s, Host) for s in program.steps), f"{name} {row.params}"


@pytest.mark.parametrize("arity", [1, 2])
@pytest.mark.parametrize("dtype", [d for d in dtypes.DTYPES if d.kind != "c"], ids=str)
def test_special_values(dtype, arity):
    batch = Batch()
    args = [batch.input(v) for v in edges(arity, dtype)]
    for name in cpu.POINTWISE:
        row = ROWS[name][0]
        if len(row.args) == arity and accepts(name, row, dtype):
            batch.add(name, "edges", P[name](*args))
    batch.check()


@pytest.mark.parametrize("dtype", [d for d in dtypes.DTYPES if d.kind != "c"], ids=str)
def test_casts_of_special_values(dtype):
    batch = Batch()
    (x,) = edges(1, dtype)
    for to in dtypes.DTYPES:
        value = x
        if dtype.kind == "f" and to.kind in "iu":          # outside the range NumPy's own answer is the platform's
            info = np.iinfo(to)
            with np.errstate(all="ignore"):
                value = x[(x > float(info.min) - 1) & (x < float(info.max)) & np.isfinite(x)]
        if to.kind != "c":
            batch.add("cast", f"to {to}", P["cast"](batch.input(value), dtype=to))
    batch.check()


def test_select_takes_nothing_of_the_other_branch():
    batch = Batch()
    for dtype in (F16, F32, F64):
        (v,) = edges(1, dtype)
        c = batch.input(np.arange(v.size) % 2 == 0)
        batch.add("where", str(dtype), P["where"](c, batch.input(v), batch.input(v[::-1])))
    batch.check()


# ---- derivatives ----------------------------------------------------------------------------------------------------

@functools.cache
def differentiable(dtype: np.dtype) -> list[tuple[str, int, Row]]:
    return [(name, k, row) for name, k, row in cases(dtype) if P[name].differentiable and row.args]


@pytest.mark.parametrize("dtype, first", batches((F32, F64), differentiable))
def test_derivatives(dtype, first):
    batch = Batch()
    for name, k, row in differentiable(dtype)[first:first + BATCH]:
        args = batch.row(row, dtype, k)
        out = P[name](*args, **row.params)
        if out.aval.dtype.kind != "f":
            continue
        wanted = [a for a in moving(name, args) if a.aval.dtype.kind == "f"]
        for i, g in enumerate(vjp([out], [batch.cotangent(out)], wanted)):
            if g is not None:
                batch.add(name, f"row {k} {row.params or ''}, argument {i}", g)
    assert batch.roots
    batch.check(cpu.close)


# ---- shapes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [F32, F16, dtypes.int8], ids=str)
def test_every_length_of_a_vector_tail(dtype):
    """Lengths around vectors and workgroups; whole numbers, so sums are exact."""
    batch = Batch()
    rng = np.random.default_rng(3)
    for n in (0, 1, 2, 3, 4, 5, 7, 63, 64, 65, 255, 257, 1023, 1025):
        a, b = (batch.input(rng.integers(0, 5, n).astype(dtype)) for _ in "xy")
        batch.add("mul", f"of {n}", P["sub"](P["mul"](a, b), a))
        batch.add("max" if n else "any", f"of {n}", P["max" if n else "sum"](P["add"](a, b), axes=(0,)))
    batch.check()


@pytest.mark.parametrize("name", ["sum", "max", "cumsum"])
def test_rows_and_columns_of_every_width(name):
    batch = Batch()
    rng = np.random.default_rng(4)
    for m, n in [(1, 1), (3, 5), (2, 33), (17, 19), (1, 70), (70, 1), (3, 1030), (300, 2)]:
        x = batch.input(rng.integers(-9, 9, (m, n)).astype(F32))
        for axis in (0, 1):
            static = {"axis": axis, "reverse": False} if name == "cumsum" else {"axes": (axis,)}
            batch.add("add", f"{name} ({m}, {n}) axis {axis}", P[name](x, **static))
    batch.check()


@pytest.mark.parametrize("seed", range(2))
def test_chains_of_views(seed):
    """Permutations, strided and reversed slices, reshapes, broadcasts and embeddings in any order, then work on the result."""
    batch = Batch()
    rng = np.random.default_rng(seed)
    for k in range(12):
        shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 4)))
        x = t = batch.input(rng.integers(0, 99, shape).astype(F32))
        path = []
        for _ in range(int(rng.integers(1, 6))):
            t = cpu.moved(rng, t)
            path.append(f"{t.op}{t.keywords}")
            if t.aval.size > 4000:
                break
        same = batch.input(rng.integers(0, 2, t.aval.shape).astype(F32))
        batch.add("add", f"{k} {x.aval} {' '.join(path)}", P["add"](t, same))
    batch.check()


# ---- the other class of device ---------------------------------------------------------------------------------------

@pytest.fixture(params=["of this device", "of the other class"])
def either(request, monkeypatch):
    """Shaders are made as for this device, or as for a GPU where it is software, and the other way round."""
    if request.param == "of the other class":
        device = gpu.device()
        monkeypatch.setattr(device, "traits", changed(device.traits, software=not device.traits.software))


STRUCTURAL = [(name, k, row) for name, k, row in differentiable(F32) if not isinstance(P[name].lowering, Elementwise)]


@pytest.mark.parametrize("first", range(0, len(STRUCTURAL), BATCH))
def test_values_and_derivatives_by_shaders_of_the_other_class(first, monkeypatch):
    device = gpu.device()
    monkeypatch.setattr(device, "traits", changed(device.traits, software=not device.traits.software))
    batch = Batch()
    for name, k, row in STRUCTURAL[first:first + BATCH]:
        args = batch.row(row, F32, k)
        out = P[name](*args, **row.params)
        batch.add(name, f"row {k} {row.params or ''}", out)
        ct = batch.cotangent(out)
        for i, g in enumerate(vjp([out], [ct], [a for a in moving(name, args) if a.aval.dtype == F32])):
            if g is not None:
                batch.add(name, f"row {k} {row.params or ''}, argument {i}", g)
    batch.check(cpu.close)


def test_large_shapes(either):
    """Long rows, few and many of them, one number from all, products with long and short sides; whole numbers, so all is exact."""
    batch = Batch()
    rng = np.random.default_rng(6)

    def whole(*shape: int) -> Term:
        return batch.input(rng.integers(-4, 5, shape).astype(F32))

    for shape in [(5, 3000), (2500, 6), (300, 300), (200_003,), (3, 70, 50)]:
        x = whole(*shape)
        for axes in {(0,), (len(shape) - 1,), tuple(range(len(shape)))}:
            batch.add("add", f"sum {shape} over {axes}", P["sum"](x, axes=axes))
            batch.add("add", f"max {shape} over {axes}", P["max"](P["mul"](x, x), axes=axes))
        batch.add("add", f"argmin {shape}", P["argmin"](x, axis=0))
        if x.aval.size < 20_000:
            batch.add("add", f"cumsum {shape}", P["cumsum"](x, axis=len(shape) - 1, reverse=True))
    for m, k, n in [(3, 5000, 2), (130, 70, 65), (1, 999, 64), (257, 1, 33), (64, 64, 64)]:
        x, y = whole(m, k), whole(k, n)
        batch.add("matmul", f"{m}, {k}, {n}", P["matmul"](x, y))
        batch.add("matmul", f"transposed {m}, {k}, {n}", P["matmul"](P["permute"](y, axes=(1, 0)), P["permute"](x, axes=(1, 0))))
        batch.add("add", f"after matmul {m}, {k}, {n}", P["maximum"](P["sub"](P["matmul"](x, y), leaf.constant(3, (m, n), F32)), leaf.constant(0, (m, n), F32)))
    i = batch.input(rng.integers(-7, 7, 3000).astype(np.int32))
    batch.add("add", "scatter_add", P["scatter_add"](whole(7), i, whole(3000), axes=(0,), position=0))
    batch.add("add", "scatter_set", P["scatter_set"](whole(7), i, whole(3000), axes=(0,), position=0))
    batch.add("add", "gather", P["gather"](whole(7, 30), i, axes=(0,), position=0))
    batch.check()


def test_softmax_and_its_gradient_over_rows_of_every_kind(either):
    batch = Batch()
    rng = np.random.default_rng(7)
    for m, n in [(4, 1000), (300, 5), (33, 33), (1, 4097)]:
        x = batch.input(rng.normal(size=(m, n)).astype(F32))
        rows = lambda t, shape=(m, n): P["broadcast_to"](P["reshape"](t, shape=(shape[0], 1)), shape=shape)
        e = P["exp"](P["sub"](x, rows(P["max"](x, axes=(1,)))))
        s = P["div"](e, rows(P["sum"](e, axes=(1,))))
        batch.add("softmax", f"({m}, {n})", s)
        (g,) = vjp([s], [batch.input(rng.normal(size=(m, n)).astype(F32), False)], [x])
        batch.add("softmax", f"gradient ({m}, {n})", g)
    batch.check(cpu.close)
