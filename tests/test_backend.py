"""Native code against the oracle, generated from the registry: every primitive, every sample row, every dtype it takes.

Many cases are roots of one program, as a user's graph would be; a failure names the cases. Results equal the reference's bit by bit
but for functions and sums, whose bounds (and their reasons) stand in `ULPS` and `scale`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from samples import CONTROL, ROWS, Row, accepts, arrays, edges, moving

pytest.importorskip("llvmlite")

from lazygrad import compiler, dtypes, reference
from lazygrad.ad import vjp
from lazygrad.backends import llvm
from lazygrad.backends.llvm import externs
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Call, Host
from lazygrad.ir.term import Term
from lazygrad.prims import REGISTRY, leaf
from lazygrad.prims.base import Elementwise
from lazygrad.runtime.memory import address, allocate

F16, F32, F64 = dtypes.FLOATS
P = REGISTRY
BATCH = 60                      # cases of one program

# Largest distance in units in the last place: the functions' own bounds (docs/accuracy.md: at most 3, Γ functions 5) and those of NumPy's
# and SciPy's, which are at most 4 on the platforms served.
ULPS = 5
# exact by IEEE 754 or by their definition, so no rounding is allowed to differ
NAMES = ("add sub mul div neg abs sign floor ceil trunc rint sqrt square reciprocal maximum minimum fmax fmin copysign nextafter "
         "floor_divide remainder fmod where cast stop_gradient real imag conj eq ne lt le gt ge isnan isinf isfinite signbit")
EXACT = frozenset(NAMES.split())
# near their zeros the Γ functions are exact to an absolute error only
ABSOLUTE = {"lgamma": {F32: 2e-7, F64: 1e-14}, "digamma": {F32: 2e-7, F64: 1e-14}, "polygamma": {F32: 2e-7, F64: 1e-14}}
# sums and products round once for each term, in an order of the backend's own choice
SUMS = frozenset({"sum", "cumsum", "matmul", "conv", "scatter_add"})
PRODUCTS = frozenset({"prod", "cumprod", "scatter_mul"})
# IEEE 754 leaves the sign of the zero open, and NumPy's own scalar and vector loops differ in it
ANY_ZERO = frozenset({"maximum", "minimum", "fmax", "fmin"})


# ---- running --------------------------------------------------------------------------------------------------------

class Ran:
    """Outputs and inputs after one native run; `fault` 0 is fine."""

    def __init__(self, roots: Sequence[Term], sources: Sequence[Term], values: Sequence[np.ndarray],
                 into: Sequence[int | None] | None = None) -> None:
        into = into or (None,) * len(roots)
        self.program = compiler.compile(roots, sources, into, llvm.caps)
        self.executable = llvm.build(self.program)
        held = [allocate(s.aval) for s in sources]
        made = [allocate(r.aval) for r in roots]
        for (mine, _), value in zip(held, values, strict=True):
            mine[...] = value
        arena = allocate(aval((self.program.arena,), dtypes.uint8))
        cell = np.zeros(1, np.int64)
        args = np.array([address(externs.table()), arena[1], address(cell), *[at for _, at in held + made]], np.int64)
        self.executable.run(args)
        self.inputs = [a for a, _ in held]
        self.outputs = [self.inputs[i] if i is not None else a for (a, _), i in zip(made, into, strict=True)]
        self.fault = int(cell[0])


class Batch:
    """Sources and their values, collected until they are run together."""

    def __init__(self) -> None:
        self.sources: list[Term] = []
        self.values: list[np.ndarray] = []
        self.roots: list[Term] = []
        self.cases: list[tuple[str, str]] = []

    def input(self, value: np.ndarray, requires_grad: bool = True) -> Term:
        value = np.asarray(value)
        self.sources.append(leaf.leaf(len(self.sources), 0, aval(value.shape, value.dtype), requires_grad))
        self.values.append(value)
        return self.sources[-1]

    def add(self, name: str, label: str, root: Term) -> None:
        self.roots.append(root)
        self.cases.append((name, label))

    def run(self) -> tuple[Ran, list[np.ndarray]]:
        ran = Ran(self.roots, self.sources, self.values)
        assert ran.fault == 0, ran.program.faults
        return ran, reference.evaluate(self.roots, dict(zip(self.sources, self.values, strict=True)))

    def check(self, differences=None) -> None:
        """Native and reference agree on every root."""
        ran, wanted = self.run()
        wrong = []
        for (name, label), root, got, want in zip(self.cases, self.roots, ran.outputs, wanted, strict=True):
            found = (differences or difference)(name, root, got, want, self)
            if found:
                wrong.append(f"{name} {label}: {found}")
        assert not wrong, "\n".join(wrong[:20])


# ---- comparing ------------------------------------------------------------------------------------------------------

def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units in the last place, 0 where both are NaN or the same infinity; inf where only one is."""
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(want), np.finfo(want.dtype).tiny)).astype(F64)
        d = np.abs(got.astype(F64) - want.astype(F64)) / unit
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.where(same, 0, np.where(np.isfinite(got) & np.isfinite(want), d, np.inf))


def scale(name: str, root: Term, batch: Batch) -> np.ndarray | float:
    """The number whose rounding, once for each term that is combined, bounds the error: |a| summed in place of a."""
    env = dict(zip(batch.sources, [np.abs(v) if v.dtype.kind == "f" else v for v in batch.values], strict=True))
    return reference.evaluate([root], env)[0]


def difference(name: str, root: Term, got: np.ndarray, want: np.ndarray, batch: Batch) -> str:
    """What is wrong with a result, "" for nothing."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} for {want.dtype}{want.shape}"
    if want.dtype.kind == "c":                                # no kernels of complex numbers: NumPy computes both
        good = np.isclose(got, want, rtol=64 * np.finfo(want.dtype).eps, atol=0, equal_nan=True)
    elif want.dtype.kind != "f" or name in EXACT or name not in ROUNDED:
        good = (got == want) | ((got != got) & (want != want))
        if want.dtype.kind == "f" and name not in ANY_ZERO:
            good &= np.isnan(want) | (np.signbit(got) == np.signbit(want))
    elif name in SUMS | PRODUCTS:
        terms = max([a.aval.size for a in root.args]) // max(want.size, 1) + want.size + 1
        with np.errstate(all="ignore"):
            close = np.abs(got.astype(F64) - want) <= terms * np.finfo(want.dtype).eps * scale(name, root, batch).astype(F64)
        good = (ulps(got, want) == 0) | close
    else:
        want = better(name, root, want, batch)
        with np.errstate(all="ignore"):
            good = (ulps(got, want) <= ULPS) | (np.abs(got.astype(F64) - want) <= absolute(name, root, batch))
        good &= np.isnan(want) | (want != 0) | (np.signbit(got) == np.signbit(want))
    if good.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    inputs = [batch.values[batch.sources.index(a)] for a in root.args if a in batch.sources]
    here = [v[at].item() for v in inputs if v.shape == want.shape]
    return f"{root.aval} at {at} of {here}: {got[at]!r}, reference {want[at]!r} ({int((~good).sum())} of {good.size})"


def better(name: str, root: Term, want: np.ndarray, batch: Batch) -> np.ndarray:
    """The reference, corrected where SciPy leaves the mathematics: its expit of float32 overflows inside for x < -88 (0 for e**x), its
    gammaln of subnormal numbers is infinite."""
    if name == "sigmoid" and want.dtype != F64:
        x = batch.values[batch.sources.index(root.args[0])].astype(F64)
        return (1 / (1 + np.exp(-np.maximum(x, -700)))).astype(want.dtype)
    if name == "lgamma":
        x = batch.values[batch.sources.index(root.args[0])].astype(F64)
        tiny = (x != 0) & (np.abs(x) < np.finfo(want.dtype).tiny)
        return np.where(tiny, -np.log(np.where(tiny, np.abs(x), 1)), want).astype(want.dtype)
    return want


def absolute(name: str, root: Term, batch: Batch) -> np.ndarray | float:
    """The absolute error that is allowed beside the relative one."""
    if name == "logaddexp":                     # max(x, y) + log1p(e**-|x - y|): near its zero exact to the rounding of x
        x = np.abs(batch.values[batch.sources.index(root.args[0])].astype(F64))
        return np.where(np.isfinite(x), x, 0) * np.finfo(root.aval.dtype).eps
    return ABSOLUTE.get(name, {}).get(root.aval.dtype, 0)


def _rounded() -> frozenset[str]:
    """The primitives whose native code may round otherwise than NumPy: functions and sums."""
    functions = {n for n, p in P.items() if isinstance(p.lowering, Elementwise)} - EXACT
    return frozenset(functions | SUMS | PRODUCTS | {"lgamma", "digamma", "polygamma"})


ROUNDED = _rounded()


# ---- the registry ---------------------------------------------------------------------------------------------------

@functools.cache
def cases(dtype: np.dtype) -> list[tuple[str, int, Row]]:
    """Every row that takes `dtype`; rows without arguments once."""
    return [(name, k, row) for name, rows in ROWS.items() for k, row in enumerate(rows)
            if (row.args or dtype is F32) and accepts(name, row, dtype)]


def batches() -> list:
    return [pytest.param(d, i, id=f"{d}-{i // BATCH}") for d in dtypes.DTYPES for i in range(0, len(cases(d)), BATCH)]


def test_every_primitive_has_rows_and_every_dtype_is_met():
    assert set(ROWS) | set(CONTROL) == set(P)
    met = {name for d in dtypes.DTYPES for name, _, _ in cases(d)}
    assert met == set(P) - {"source", *CONTROL}


@pytest.mark.parametrize("dtype, first", batches())
def test_rows(dtype, first):
    batch = Batch()
    for name, k, row in cases(dtype)[first:first + BATCH]:
        args = [batch.input(a) for a in arrays(row, dtype, k)]
        batch.add(name, f"row {k} {row.params or ''}", P[name](*args, **row.params))
    batch.check()


POINTWISE = [name for name, p in P.items() if isinstance(p.lowering, Elementwise) and name != "where" and not p.names]


@pytest.mark.parametrize("arity", [1, 2])
@pytest.mark.parametrize("dtype", [d for d in dtypes.DTYPES if d.kind != "c"], ids=str)
def test_special_values(dtype, arity):
    batch = Batch()
    args = [batch.input(v) for v in edges(arity, dtype)]
    for name in POINTWISE:
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


def test_half_precision_rounds_to_nearest_even_everywhere():
    """All halves are exact in single precision; the points half-way between neighbours, and a bit beside them, round as IEEE 754 says."""
    batch = Batch()
    halves = np.arange(1 << 16).astype(np.uint16).view(F16)
    finite = np.sort(halves[np.isfinite(halves)].astype(F32))
    middle = ((finite[1:].astype(F64) + finite[:-1]) / 2).astype(F32)
    values = np.concatenate([finite, middle, np.nextafter(middle, F32.type(np.inf)), np.nextafter(middle, F32.type(-np.inf)),
                             np.array([65504, 65519.996, 65520, 1e6, -1e6, np.inf, -np.inf, np.nan, 2.0**-25, 2.0**-26], F32)])
    half = batch.input(halves)
    batch.add("cast", "widening", P["cast"](half, dtype=F32))
    batch.add("cast", "narrowing", P["cast"](batch.input(values), dtype=F16))
    batch.add("cast", "narrowing from double", P["cast"](batch.input(values.astype(F64)), dtype=F16))
    batch.add("neg", "of halves", P["neg"](half))
    batch.add("mul", "of halves", P["mul"](half, batch.input(halves[::-1])))
    batch.add("add", "of halves", P["add"](half, batch.sources[-1]))
    batch.check()


# ---- derivatives ----------------------------------------------------------------------------------------------------

def close(name: str, root: Term, got: np.ndarray, want: np.ndarray, batch: Batch) -> str:
    """Derivatives are short expressions, which the compiler may reassociate: 64 roundings of the largest number in sight."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape} for {want.dtype}{want.shape}"
    finite = np.abs(want[np.isfinite(want)])
    bound = 64 * np.finfo(want.dtype).eps * max(1.0, float(finite.max(initial=0)))
    with np.errstate(all="ignore"):
        good = (got == want) | (np.isnan(got) & np.isnan(want)) | (np.abs(got - want) <= bound)
    if good.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    return f"{root.aval} at {at}: {got[at]!r}, reference {want[at]!r}"


def differentiable(dtype: np.dtype) -> list[tuple[str, int, Row]]:
    return [(name, k, row) for name, k, row in cases(dtype) if P[name].differentiable and row.args]


@pytest.mark.parametrize("dtype, first", [pytest.param(d, i, id=f"{d}-{i // BATCH}") for d in (F32, F64)
                                          for i in range(0, len(differentiable(d)), BATCH)])
def test_derivatives(dtype, first):
    batch = Batch()
    rng = np.random.default_rng(first)
    for name, k, row in differentiable(dtype)[first:first + BATCH]:
        args = [batch.input(a) for a in arrays(row, dtype, k)]
        out = P[name](*args, **row.params)
        if out.aval.dtype.kind != "f":
            continue
        ct = batch.input(rng.uniform(0.5, 1.5, out.aval.shape).astype(out.aval.dtype), False)
        wanted = [a for a in moving(name, args) if a.aval.dtype.kind == "f"]
        for i, g in enumerate(vjp([out], [ct], wanted)):
            if g is not None:
                batch.add(name, f"row {k} {row.params or ''}, argument {i}", g)
    assert batch.roots
    batch.check(close)


# ---- shapes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [F32, F64, F16, dtypes.int8, dtypes.bool_], ids=str)
def test_every_length_of_a_vector_tail(dtype):
    """Lengths around every vector width: elementwise work, reductions along and across, and a scan."""
    batch = Batch()
    rng = np.random.default_rng(3)
    for n in range(71) if dtype is F32 else (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70):
        x, y = (rng.integers(0, 2 if dtype.kind == "b" else 5, n).astype(dtype) for _ in "xy")      # whole numbers: sums are exact
        a, b = batch.input(x), batch.input(y)
        if dtype.kind == "b":
            batch.add("bit_and", f"of {n}", P["bit_and"](a, b))
            batch.add("any", f"of {n}", P["any"](a, axes=(0,)))
            continue
        batch.add("mul", f"of {n}", P["sub"](P["mul"](a, b), a))
        batch.add("max" if n else "sum", f"of {n}", P["max" if n else "sum"](P["add"](a, b), axes=(0,)))
    batch.check()


@pytest.mark.parametrize("name", ["sum", "max", "cumsum"])
def test_rows_and_columns_of_every_width(name):
    batch = Batch()
    rng = np.random.default_rng(4)
    for m, n in [(1, 1), (3, 5), (5, 3), (8, 8), (2, 33), (33, 2), (7, 64), (17, 19), (1, 70), (70, 1), (9, 31)]:
        x = batch.input(rng.integers(-9, 9, (m, n)).astype(F32))
        for axis in (0, 1):
            static = {"axis": axis, "reverse": False} if name == "cumsum" else {"axes": (axis,)}
            batch.add(name, f"({m}, {n}) axis {axis}", P[name](x, **static))
    batch.check(lambda *a: difference("add", *a[1:]))          # whole numbers: exact in any order


def moved(rng: np.random.Generator, t: Term) -> Term:
    """A random re-indexing of `t`."""
    shape = t.aval.shape
    match rng.integers(5):
        case 0:
            return P["permute"](t, axes=tuple(int(i) for i in rng.permutation(len(shape))))
        case 1:
            start, step, out = [], [], []
            for n in shape:
                k = int(rng.choice([1, 1, 2, -1, -2]))
                b = int(rng.integers(n)) if n else 0
                most = 0 if not n else (n - b + k - 1) // k if k > 0 else (b - k) // -k
                start.append(b)
                step.append(k)
                out.append(int(rng.integers(1, most + 1)) if most else 0)
            return P["slice"](t, start=tuple(start), step=tuple(step), shape=tuple(out))
        case 2:
            return P["reshape"](t, shape=(t.aval.size,) if rng.integers(2) else (*shape, 1))
        case 3:
            return P["broadcast_to"](t, shape=(int(rng.integers(1, 4)), *shape)) if len(shape) < 4 else t
        case _:
            step = tuple(int(k) for k in rng.choice([1, 2], len(shape)))
            start = tuple(int(b) for b in rng.integers(0, 2, len(shape)))
            whole = tuple(b + max(n - 1, 0) * k + 1 for b, n, k in zip(start, shape, step, strict=True))
            return P["embed"](t, shape=whole, start=start, step=step)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [F32, dtypes.int16, dtypes.bool_], ids=str)
def test_chains_of_views(dtype, seed):
    """Permutations, strided and reversed slices, reshapes, broadcasts and embeddings in any order, then work on the result."""
    batch = Batch()
    rng = np.random.default_rng(seed)
    for k in range(20):
        shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 4)))
        x = t = batch.input(rng.integers(0, 2 if dtype.kind == "b" else 99, shape).astype(dtype))
        path = []
        for _ in range(int(rng.integers(1, 6))):
            t = moved(rng, t)
            path.append(f"{t.op}{t.keywords}")
            if t.aval.size > 4000:
                break
        same = batch.input(rng.integers(0, 2, t.aval.shape).astype(dtype))
        batch.add("embed", f"{k} {x.aval} {' '.join(path)}", P["bit_or" if dtype.kind in "bi" else "add"](t, same))
    batch.check()


# ---- random programs ------------------------------------------------------------------------------------------------

class Grower:
    """A random graph over whole numbers, which every order of sums computes exactly: movement, elementwise work, reductions, scans,
    products, gathers and scatters over one pool of values. Numbers stay small (`remainder`), so floats are exact too."""

    def __init__(self, seed: int, dtype: np.dtype, size: int) -> None:
        self.rng, self.dtype, self.batch = np.random.default_rng(seed), dtype, Batch()
        shapes = [tuple(int(n) for n in self.rng.integers(1, 8, k)) for k in (0, 1, 2, 2, 3)]
        self.pool = [self.batch.input(self.rng.integers(0 if dtype.kind == "u" else -6, 7, s).astype(dtype)) for s in shapes]
        self.steps = [self.pointwise, self.pointwise, self.move, self.reduce, self.normalise, self.scan, self.pick, self.scatter, self.join,
                      self.product, self.select]
        while len(self.pool) < size:
            t = self.steps[self.rng.integers(len(self.steps))](self.any())
            if 0 < t.aval.size <= 3000:
                self.pool.append(P["remainder"](t, leaf.like(t, 11)))

    def any(self) -> Term:
        recent = self.rng.integers(2)
        return self.pool[int(self.rng.integers(max(len(self.pool) - 4, 0) if recent else 0, len(self.pool)))]

    def like(self, t: Term) -> Term:
        """Another value of the shape of `t`."""
        same = [u for u in self.pool if u.aval is t.aval and u is not t]
        if same and self.rng.integers(4):
            return same[int(self.rng.integers(len(same)))]
        scalars = [P["sum"](u, axes=tuple(range(u.aval.ndim))) for u in self.pool[-3:]]
        return P["broadcast_to"](scalars[int(self.rng.integers(len(scalars)))], shape=t.aval.shape)

    def axis(self, t: Term) -> int:
        return int(self.rng.integers(t.aval.ndim))

    def pointwise(self, t: Term) -> Term:
        return P[str(self.rng.choice(["add", "sub", "mul", "maximum", "minimum"]))](t, self.like(t))

    def select(self, t: Term) -> Term:
        u = self.like(t)
        return P["where"](P["lt"](t, u), u, P["square"](t))

    def move(self, t: Term) -> Term:
        return moved(self.rng, t)

    def reduce(self, t: Term) -> Term:
        axes = tuple(a for a in range(t.aval.ndim) if self.rng.integers(2))
        return P[str(self.rng.choice(["sum", "max", "min"]))](t, axes=axes)

    def normalise(self, t: Term) -> Term:
        """x - max(x), as in a softmax: a reduction that its own argument reads again."""
        if not t.aval.ndim:
            return t
        r = P[str(self.rng.choice(["sum", "max"]))](t, axes=(t.aval.ndim - 1,))
        return P["sub"](t, P["broadcast_to"](P["reshape"](r, shape=(*r.aval.shape, 1)), shape=t.aval.shape))

    def scan(self, t: Term) -> Term:
        if not t.aval.ndim:
            return t
        return P[str(self.rng.choice(["cumsum", "cummax"]))](t, axis=self.axis(t), reverse=bool(self.rng.integers(2)))

    def indices(self, n: int) -> Term:
        u = self.any()
        return P["remainder"](P["cast"](u, dtype=dtypes.int64), leaf.constant(n, u.aval.shape, dtypes.int64))

    def pick(self, t: Term) -> Term:
        if not t.aval.ndim:
            return t
        a = self.axis(t)
        return P["gather"](t, self.indices(t.aval.shape[a]), axes=(a,), position=a)

    def scatter(self, t: Term) -> Term:
        if t.aval.ndim != 1:
            return t
        i = self.indices(t.aval.size)
        u = leaf.constant(3, i.aval.shape, self.dtype) if self.rng.integers(2) else P["cast"](i, dtype=self.dtype)
        return P[str(self.rng.choice(["scatter_add", "scatter_max", "scatter_set"]))](t, i, u, axes=(0,), position=0)

    def join(self, t: Term) -> Term:
        if not t.aval.ndim:
            return t
        return P["concatenate"](t, self.like(t), axis=self.axis(t))

    def product(self, t: Term) -> Term:
        if t.aval.ndim != 2:
            return t
        other = P["permute"](self.like(t), axes=(1, 0))
        return P["matmul"](t, other) if self.rng.integers(2) else P["matmul"](other, t)

    def roots(self) -> list[Term]:
        """Some values; the last one is always among them."""
        chosen = [self.pool[int(i)] for i in self.rng.integers(0, len(self.pool), self.rng.integers(0, 4))]
        return [*chosen, self.pool[-1]]

    def into(self, roots: list[Term]) -> list[int | None]:
        """Some outputs overwrite inputs of their type."""
        free = list(range(len(self.batch.sources)))
        out: list[int | None] = []
        for r in roots:
            fits = [i for i in free if self.batch.sources[i].aval is r.aval]
            out.append(fits[0] if fits and self.rng.integers(2) else None)
            free = [i for i in free if i != out[-1]]
        return out


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", [F64, F32, dtypes.int64, dtypes.int16], ids=str)
def test_random_programs(dtype, seed):
    grown = Grower(seed, dtype, 12 + 4 * seed)
    roots, batch = grown.roots(), grown.batch
    ran = Ran(roots, batch.sources, batch.values, grown.into(roots))
    assert not ran.fault
    for got, want, r in zip(ran.outputs, reference.evaluate(roots, dict(zip(batch.sources, batch.values, strict=True))), roots, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=repr(r))


# ---- programs -------------------------------------------------------------------------------------------------------

def sources(*values: np.ndarray) -> list[Term]:
    return [leaf.leaf(i, 0, aval(v.shape, v.dtype), True) for i, v in enumerate(values)]


V = np.arange(1.0, 38.0).astype(F32)


def test_several_outputs_duplicates_sources_and_constants():
    x, y = sources(V, V * 2)
    s = P["add"](x, y)
    roots = [s, P["mul"](s, x), s, y, leaf.constant(2.5, (3,), F32), P["sum"](s, axes=(0,)), leaf.constant(1, (), dtypes.int64), x, y]
    out = Ran(roots, [x, y], [V, V * 2]).outputs
    for got, want in zip(out, [V * 3, V * 3 * V, V * 3, V * 2, np.full(3, 2.5), (V * 3).sum(), 1, V, V * 2], strict=True):
        np.testing.assert_array_equal(got, want)


def test_consecutive_elementwise_work_is_one_kernel():
    x, y = sources(V, V)
    t = P["add"](x, y)
    ran = Ran([P["mul"](t, x), P["sub"](t, y), P["neg"](t)], [x, y], [V, V])
    assert len(ran.program.steps) == 1 and isinstance(ran.program.steps[0], Call)


def matrix(n: int) -> np.ndarray:
    return np.arange(n * n, dtype=F32).reshape(n, n) % 5


IN_PLACE = {
    "step": (lambda x, y: [P["sub"](x, P["mul"](y, y))], [0], lambda x, y: [x - y * y]),
    "swap": (lambda x, y: [y, x], [0, 1], lambda x, y: [y, x]),
    "crossed": (lambda x, y: [P["add"](x, y), P["sub"](x, y)], [1, 0], lambda x, y: [x + y, x - y]),
    "kept": (lambda x, y: [P["mul"](x, y), P["add"](x, y)], [None, 0], lambda x, y: [x * y, x + y]),
    "read by a reduction": (lambda x, y: [P["sub"](x, P["broadcast_to"](P["sum"](x, axes=(0, 1)), shape=(6, 6)))], [0], lambda x, y: [x - x.sum()]),
    "transposed": (lambda x, y: [P["permute"](x, axes=(1, 0))], [0], lambda x, y: [x.T]),
    "reversed": (lambda x, y: [P["slice"](x, start=(5, 0), step=(-1, 1), shape=(6, 6))], [0], lambda x, y: [x[::-1]]),
    "shifted sum": (lambda x, y: [P["add"](x, P["permute"](x, axes=(1, 0)))], [0], lambda x, y: [x + x.T]),
    "product": (lambda x, y: [P["matmul"](x, y)], [0], lambda x, y: [x @ y]),
    "product added": (lambda x, y: [P["add"](x, P["matmul"](x, y))], [0], lambda x, y: [x + x @ y]),
    "scan": (lambda x, y: [P["cumsum"](x, axis=0, reverse=True)], [0], lambda x, y: [np.cumsum(x[::-1], 0)[::-1]]),
    "same value twice": (lambda x, y: [P["add"](x, y), P["add"](x, y)], [0, 1], lambda x, y: [x + y, x + y]),
    "itself": (lambda x, y: [x, P["add"](x, y)], [0, 1], lambda x, y: [x, x + y]),
    "result and update": (lambda x, y: [x, P["add"](x, y)], [None, 0], lambda x, y: [x, x + y]),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_outputs_that_overwrite_inputs(name):
    make, into, want = IN_PLACE[name]
    values = [matrix(6), matrix(6)[::-1].copy()]
    terms = sources(*values)
    ran = Ran(make(*terms), terms, values, into)
    for got, expected in zip(ran.outputs, want(*values), strict=True):
        np.testing.assert_array_equal(got, expected)
    for i, value in enumerate(values):
        if i not in into:
            np.testing.assert_array_equal(ran.inputs[i], value)


def test_scan_over_one_step_beside_rows_of_as_many():
    """A scan along an axis of length 1 loops over its columns only: these are not the rows of what reads it."""
    x, y, z = sources(*[V[:2].reshape(1, 2)] * 3)
    t = P["concatenate"](P["mul"](P["cumsum"](x, axis=0, reverse=True), y), z, axis=0)
    ran = Ran([t], [x, y, z], [V[:2].reshape(1, 2)] * 3)
    np.testing.assert_array_equal(ran.outputs[0], [[1, 4], [1, 2]])


@pytest.mark.parametrize("at", [5, -6, 2**40, -2**63])
def test_gather_outside_is_a_fault_and_not_a_crash(at):
    values = [V[:5], np.array([0, at, 2])]
    x, i = sources(*values)
    ran = Ran([P["gather"](x, i, axes=(0,), position=0)], [x, i], values)
    assert ran.fault > 0
    op, message = ran.program.faults[ran.fault - 1]
    assert op == "gather" and message


@pytest.mark.parametrize("name", ["scatter_set", "scatter_add", "scatter_mul", "scatter_max", "scatter_min"])
def test_scatter_outside_writes_nothing_there(name):
    values = [V[:5], np.array([1, 99, -77]), V[:3]]
    x, i, u = sources(*values)
    ran = Ran([P[name](x, i, u, axes=(0,), position=0)], [x, i, u], values)
    assert ran.fault > 0
    for got, want in zip(ran.inputs, values, strict=True):
        np.testing.assert_array_equal(got, want)


def test_arguments_that_share_a_kernel_run_as_a_table():
    """More calls than are written out: a long chain of equal kernels, exact because whole numbers are added."""
    values = [np.ones((40, 40), F32), np.ones((40, 40), F32)]
    x, y = sources(*values)
    t = x
    for _ in range(100):
        t = P["permute"](P["cumsum"](t, axis=0, reverse=False), axes=(1, 0))
        t = P["remainder"](P["add"](t, y), leaf.like(t, 7))
    ran = Ran([t], [x, y], values)
    np.testing.assert_array_equal(ran.outputs[0], reference.evaluate([t], dict(zip([x, y], values, strict=True)))[0])
    assert len(ran.program.steps) >= 100 and len(ran.program.kernels) < 20


def test_complex_numbers_run_as_host_steps_between_kernels():
    v = (np.arange(6) + 1j * np.arange(6)[::-1]).astype(np.complex64)
    z, x = sources(v, V[:6])
    t = P["real"](P["mul"](z, z))
    root = P["mul"](P["add"](t, x), x)
    ran = Ran([root], [z, x], [v, V[:6]])
    assert any(isinstance(s, Host) for s in ran.program.steps) and ran.executable.native is None
    np.testing.assert_array_equal(ran.outputs[0], ((v * v).real + V[:6]) * V[:6])
