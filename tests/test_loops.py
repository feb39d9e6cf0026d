"""Repeat and Branch steps: hand-made Programs as native code and through the slow executor, against loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from program_interpreter import run_program

from lazygrad import compiler
from lazygrad.backends import llvm
from lazygrad.backends.llvm import externs
from lazygrad.ir.aval import Aval, aval
from lazygrad.ir.program import PAD, Branch, Buffer, Program, Repeat
from lazygrad.ir.term import Term
from lazygrad.prims import elementwise as E
from lazygrad.prims import leaf, movement, reduction

F4, F8, I4 = np.dtype("float32"), np.dtype("float64"), np.dtype("int32")
GUARD = 0x5A


def source(k: int, av: Aval) -> Term:
    return leaf.leaf(-10 - k, 0, av, False)


def body(inputs: list[Aval], build, into=None, tight=frozenset()) -> Program:
    """The Program of `build(*terms) -> terms`."""
    terms = [source(k, av) for k, av in enumerate(inputs)]
    roots = build(*terms)
    return compiler.compile(roots, terms, [None] * len(roots) if into is None else into, llvm.caps, tight)


class Maker:
    """A Program by hand: buffers by kind, then steps."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.arena = 0

    def buffer(self, kind: str, av: Aval) -> int:
        same = [b for b in self.buffers if b.kind == kind]
        self.buffers.append(Buffer(kind, av, len(same), self.arena if kind == "temp" else 0))
        if kind == "temp":
            self.arena += -(-(av.nbytes + PAD) // 64) * 64
        return len(self.buffers) - 1

    def scratch(self, *programs: Program) -> int | None:
        most = max([p.arena for p in programs])
        return self.buffer("temp", aval((most,), np.dtype("uint8"))) if most else None

    def program(self, *steps) -> Program:
        def of(kind):
            return tuple([n for n, b in enumerate(self.buffers) if b.kind == kind])

        return Program(tuple(self.buffers), of("input"), of("output"), (None,) * len(of("output")), steps, (), self.arena)


def native(program: Program, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of native code; what stands around the buffers must be left alone, but for the padding behind them."""
    exe = llvm.build(program)

    def room(nbytes: int) -> np.ndarray:
        raw = np.full(nbytes + 2 * PAD + 64, GUARD, np.uint8)
        start = -raw.ctypes.data % 64 + 64
        return raw[start:start + nbytes + PAD]

    inputs = [room(a.nbytes) for a in arrays]
    for r, a in zip(inputs, arrays, strict=True):
        r[:a.nbytes] = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
    avals = [program.buffers[b].aval for b in program.outputs]
    outputs = [room(av.nbytes) for av in avals]
    arena, cell = room(program.arena), np.zeros(1, np.int64)
    args = np.array([externs.table(True).ctypes.data, arena.ctypes.data, cell.ctypes.data,
                     *[r.ctypes.data for r in inputs + outputs]], np.int64)
    exe.run(args)
    assert exe.native is not None and not cell[0]
    for r in inputs + outputs:
        raw = r.base
        start = r.ctypes.data - raw.ctypes.data
        assert (raw[:start] == GUARD).all() and (raw[start + len(r):] == GUARD).all()
    for r, a in zip(inputs, arrays, strict=True):
        assert (r[:a.nbytes] == np.ascontiguousarray(a).reshape(-1).view(np.uint8)).all()
    return [np.frombuffer(r[:av.nbytes].tobytes(), av.dtype).reshape(av.shape) for r, av in zip(outputs, avals, strict=True)]


def both(program: Program, arrays: list[np.ndarray], want: list[np.ndarray], rtol: float) -> None:
    for got in (run_program(program, arrays)[0], native(program, arrays)):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("width", [1, 3, 8, 13, 16, 17, 33])
def test_a_scan_with_slices_that_are_not_aligned(width, length, reverse):
    """carry' = carry * c + x; y = carry' - x: rows of odd widths follow each other without padding."""
    av = aval((width,), F4)

    def build(c, carry, x):
        new = E.add(E.mul(carry, c), x)
        return [new, E.sub(new, x)]

    inner = body([av] * 3, build, tight=frozenset([1]) if reverse else frozenset())
    m = Maker()
    c, start, xs = [m.buffer("input", a) for a in (av, av, aval((length, width), F4))]
    end, ys = m.buffer("output", av), m.buffer("output", aval((length, width), F4))
    spare = m.buffer("temp", av)
    step = Repeat(inner, (c,), (start,), (xs,), (end,), (ys,), (spare,), m.scratch(inner), length, reverse)
    rng = np.random.default_rng(width)
    arrays = [rng.normal(size=s).astype(F4) for s in ((width,), (width,), (length, width))]
    carry, rows = arrays[1], np.empty((length, width), F4)
    for i in range(length)[::-1] if reverse else range(length):
        carry = carry * arrays[0] + arrays[2][i]
        rows[i] = carry - arrays[2][i]
    both(m.program(step), arrays, [carry, rows], 1e-5)                         # fused multiply-adds: a rounding less each


def test_a_carry_changed_in_place_and_one_that_alternates():
    av = aval((5,), F8)
    inner = body([av, av], lambda a, b: [E.add(a, b), E.mul(b, b)], into=[0, None])
    m = Maker()
    a, b, a1, b1 = m.buffer("input", av), m.buffer("input", av), m.buffer("output", av), m.buffer("output", av)
    step = Repeat(inner, (), (a, b), (), (a1, b1), (), (None, m.buffer("temp", av)), m.scratch(inner), 4)
    x, y = np.arange(5.0), np.linspace(0.5, 0.9, 5)
    want = [x, y]
    for _ in range(4):
        want = [want[0] + want[1], want[1] * want[1]]
    both(m.program(step), [x, y], want, 1e-14)


@pytest.mark.parametrize("limit", [-1.0, 0.0, 3.0, 4.0, 9.5])
def test_a_while_loop_counts_its_steps(limit):
    """while carry < limit: carry += step. No step at all leaves the carry as it was."""
    one, flag = aval((), F8), aval((), np.dtype("bool"))
    add = body([one, one], lambda s, c: [E.add(c, s)])
    test = body([one, one], lambda s, c: [E.lt(c, leaf.constant(limit, (), F8))])
    m = Maker()
    s, c, end, trips = m.buffer("input", one), m.buffer("input", one), m.buffer("output", one), m.buffer("output", aval((), I4))
    spare, cell = m.buffer("temp", one), m.buffer("temp", flag)
    step = Repeat(add, (s,), (c,), (), (end,), (), (spare,), m.scratch(add, test), None, False, test, cell, trips)
    value, count = 0.0, 0
    while value < limit:
        value, count = value + 1.0, count + 1
    both(m.program(step), [np.array(1.0), np.array(0.0)], [np.array(value), np.array(count, I4)], 0)


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 7])
def test_a_branch_takes_the_nearest_body(index):
    av = aval((7,), F4)
    bodies = tuple([body([av], lambda x, f=f: [f(x)]) for f in (E.neg, E.exp, E.square)])
    m = Maker()
    i, x, out = m.buffer("input", aval((), I4)), m.buffer("input", av), m.buffer("output", av)
    step = Branch(bodies, i, (x,), (out,), m.scratch(*bodies))
    data = np.linspace(-1, 1, 7, dtype=F4)
    want = (np.negative, np.exp, np.square)[min(max(index, 0), 2)](data)
    both(m.program(step), [np.array(index, I4), data], [want], 1e-6)


def test_loops_in_loops_share_their_kernels():
    """Two levels of the same doubling body: the inner one runs 3 times in each of 4 steps."""
    av = aval((6,), F4)
    twice = body([av], lambda x: [E.add(x, x)])
    inner = Maker()
    a, b, spare = inner.buffer("input", av), inner.buffer("output", av), inner.buffer("temp", av)
    nested = inner.program(Repeat(twice, (), (a,), (), (b,), (), (spare,), None, 3))
    outer = Maker()
    a, b, spare = outer.buffer("input", av), outer.buffer("output", av), outer.buffer("temp", av)
    program = outer.program(Repeat(nested, (), (a,), (), (b,), (), (spare,), outer.scratch(nested), 4))
    x = np.arange(6, dtype=F4)
    both(program, [x], [x * 2 ** 12], 0)
    assert llvm.build(program).text.count("define internal void @k") == 1


def test_sums_and_products_inside_a_loop():
    """Power iteration: carry' = A carry / |A carry|, with temporaries in the arena of the body."""
    n = 24
    mat, vec = aval((n, n), F8), aval((n, 1), F8)

    def build(a, v):
        from lazygrad.prims import contraction
        w = contraction.matmul(a, v)
        norm = E.sqrt(reduction.sum(E.mul(w, w), axes=(0, 1)))
        return [E.div(w, movement.broadcast_to(movement.reshape(norm, shape=(1, 1)), shape=(n, 1)))]

    inner = body([mat, vec], build)
    m = Maker()
    a, v, out, spare = m.buffer("input", mat), m.buffer("input", vec), m.buffer("output", vec), m.buffer("temp", vec)
    program = m.program(Repeat(inner, (a,), (v,), (), (out,), (), (spare,), m.scratch(inner), 9))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, n)), rng.normal(size=(n, 1))
    want = y
    for _ in range(9):
        want = x @ want / np.linalg.norm(x @ want)
    both(program, [x, y], [want], 1e-10)
