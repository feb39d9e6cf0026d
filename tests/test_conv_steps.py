"""Convolution steps of the CPU backend against NumPy in float64: layouts, strides, blocks, gradients; scratch memory; other machines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_backend import Ran

pytest.importorskip("llvmlite")

import lazygrad as lg
from lazygrad import compiler, reference
from lazygrad.backends import llvm
from lazygrad.backends.llvm import convolution, jit, portions, target, windows
from lazygrad.backends.llvm.program import emit
from lazygrad.ir.program import Conv, every
from lazygrad.ir.term import Term, toposort
from lazygrad.runtime import slots

f32, f64 = np.dtype("float32"), np.dtype("float64")
rng = np.random.default_rng(13)


def terms(outs) -> tuple[list[Term], list[Term]]:
    """(roots, sources) of tensors."""
    roots = [o.term for o in outs]
    return roots, [t for t in toposort(roots) if t.op.name == "source"]


def exact(f, *arrays: np.ndarray) -> list[np.ndarray]:
    """The values of the tensors f(*arrays), by NumPy in float64."""
    graph = lg.Graph()
    outs = f(*[graph.tensor(a.astype(f64)) for a in arrays])          # held: their leaves must live
    roots, sources = terms(outs)
    return reference.evaluate(roots, {s: np.asarray(slots.BUFFERS[s.params[0]]) for s in sources})


def steps(outs) -> list[Conv]:
    roots, sources = terms(outs)
    return [s for s in every(compiler.compile(roots, sources, [None] * len(roots), llvm.caps)) if isinstance(s, Conv)]


def compare(f, *arrays: np.ndarray, least: int = 1, ulps: float = 20) -> None:
    """The tensors f(*arrays), compiled, against NumPy; at least so many convolutions are steps.

    Sums of up to thousands of products of a few units, and chains of them: each rounding is half a unit in the last place of a partial sum.
    """
    graph = lg.Graph()
    outs = f(*[graph.tensor(a) for a in arrays])
    assert len(steps(outs)) >= least
    roots, sources = terms(outs)
    ran = Ran(roots, sources, [np.asarray(slots.BUFFERS[s.params[0]]) for s in sources])       # compiled anew, over memory full of NaN
    for got, want in zip(ran.outputs, exact(f, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=ulps * np.finfo(arrays[0].dtype).eps * np.abs(want).max())


def check(x, w, dtype=f32, **settings):
    """A convolution and both gradients."""
    x, w = rng.normal(size=x).astype(dtype), rng.normal(size=w).astype(dtype)
    ct = rng.normal(size=lg.nn.conv(lg.asarray(x), lg.asarray(w), **settings).shape).astype(dtype)

    def f(x, w, ct):
        y = lg.nn.conv(x, w, **settings)
        return [y, *y.gradient(x, w, ct=ct)]

    compare(f, x, w, ct, least=3)


CASES = [
    ((2, 3, 16, 15), (5, 3, 3, 3), {"padding": 1}),
    ((3, 8, 20, 17), (16, 8, 3, 5), {"padding": 2, "stride": (2, 1)}),
    ((3, 8, 20, 17), (16, 8, 3, 5), {"padding": 2, "stride": (3, 2), "dilation": (1, 2)}),
    ((2, 8, 20, 21), (16, 4, 3, 3), {"padding": 2, "groups": 2, "stride": 2, "dilation": 3}),
    ((2, 32, 14, 14), (40, 32, 1, 1), {}),                                           # nothing is laid out
    ((2, 32, 14, 14), (40, 32, 1, 1), {"stride": 2}),
    ((2, 8, 1300), (16, 8, 9), {"padding": "same"}),                                 # rows in parts
    ((2, 8, 1300), (70, 8, 9), {"padding": 4, "stride": 3}),                         # many channels: along the vectors
    ((2, 5, 11, 12), (62, 5, 3, 2), {"padding": 1}),
    ((2, 3, 5, 9, 8), (48, 3, 2, 3, 3), {"dilation": (1, 1, 2), "stride": (1, 2, 1)}),
    ((2, 4, 9, 10, 11), (8, 4, 3, 2, 3), {"padding": (1, 0, 2), "stride": (2, 1, 2)}),
    ((2, 16, 7, 7), (10, 16, 7, 7), {}),                                             # one result: the kernel is as large as x
    ((1, 3, 64, 64), (8, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    ((40, 8, 6, 6), (9, 8, 3, 3), {"padding": 1}),                                   # several examples at a time
]


@pytest.mark.parametrize("x,w,settings", CASES)
def test_convolutions_and_their_gradients(x, w, settings):
    check(x, w, **settings)
    if x[0] == 2:
        check(x, w, f64, **settings)


def test_blocks_of_rows_and_of_channels(monkeypatch):
    """Blocks so small that every loop over them runs: the last ones are smaller, or begin earlier."""
    for block, depth, line in ((6 << 10, 40, 512), (2 << 10, 512, 7)):
        for module, name, value in ((windows, "BLOCK", block), (convolution, "DEPTH", depth), (windows, "LINE", line)):
            monkeypatch.setattr(module, name, value)
        check((3, 11, 13, 17), (7, 11, 3, 3), padding=1, stride=(1, 2))
        check((3, 10, 23), (8, 5, 4), groups=2, dilation=2, padding=3)
        check((2, 5, 5, 6, 7), (6, 5, 3, 3, 2), padding=1)
        check((2, 11, 9, 17), (45, 11, 3, 3), padding=1, stride=(2, 1))


def test_units_that_threads_share(monkeypatch):
    """More chunks than threads, a last unit that is smaller, slots that are used again: the same bits for every number of threads."""
    monkeypatch.setattr(portions, "WORTH", 0.0)
    monkeypatch.setattr(portions, "PORTION", 1e-9)
    before = lg.get_num_threads()
    try:
        for x, w, settings in (((5, 70, 11, 9), (45, 70, 3, 3), {"padding": 1}), ((3, 12, 40), (8, 6, 5), {"groups": 2}), ((9, 33, 6, 6), (40, 33, 1, 1), {}),
                               ((1, 8, 600), (40, 8, 9), {"stride": 2})):
            a, b = rng.normal(size=x).astype("f"), rng.normal(size=w).astype("f")
            graph = lg.Graph()
            leaves = [graph.tensor(a), graph.tensor(b)]
            y = lg.nn.conv(*leaves, **settings)
            outs = [y, *y.gradient(*leaves)]
            roots, sources = terms(outs)
            found = []
            for threads in (1, 2, 4):
                lg.set_num_threads(threads)
                found += [Ran(roots, sources, [a, b]).outputs for _ in range(3)]
            compare(lambda a, b, settings=settings: [(v := lg.nn.conv(a, b, **settings)), *v.gradient(a, b)], a, b)
            for other in found[1:]:
                assert all([np.array_equal(p, q) for p, q in zip(found[0], other, strict=True)])
    finally:
        lg.set_num_threads(before)


def test_examples_and_channels_in_any_order():
    """Operands that are permutations are read where they lie, and results written where their permutation lies."""
    x, w = rng.normal(size=(6, 3, 12, 10)).astype("f"), rng.normal(size=(8, 6, 3, 3)).astype("f")

    def f(x, w):
        return [lg.permute_dims(lg.nn.conv(lg.permute_dims(x, (1, 0, 2, 3)), w, padding=1), (1, 0, 2, 3))]

    compare(f, x, w)
    graph = lg.Graph()
    roots, sources = terms(f(graph.tensor(x), graph.tensor(w)))
    assert [type(s) for s in compiler.compile(roots, sources, [None], llvm.caps).steps] == [Conv], "no copies"


def test_what_lies_beside_a_window_stays_out_of_it():
    """Vectors read over the ends of rows, channels and examples; NaN and infinities there reach no other result."""
    x, w = rng.normal(size=(3, 4, 9, 9)).astype("f"), rng.normal(size=(5, 2, 3, 3)).astype("f")
    x[1], x[:, 2:, 4] = np.nan, np.inf
    graph = lg.Graph()
    a, b = graph.tensor(x), graph.tensor(np.concatenate([w, w[:1]]))
    y = lg.nn.conv(a, b, groups=2, padding=1)
    assert steps([y])
    got = graph.compile([], [y])()
    assert np.isnan(got[1]).all() and np.isfinite(got[::2, :3]).all() and np.isfinite(got[::2, :, [0, 1, 2, 6, 7, 8]]).all()
    assert not np.isfinite(got[::2, 3:, 3:6]).any()
    ct = np.ones(y.shape, "f")
    ct[:, 3:] = np.nan
    gw = graph.compile([], list(y.gradient(b, ct=ct)))()
    assert np.isnan(gw[3:]).all()
    x[1], x[:, 2:, 4] = 0, 0
    gx, gw = graph.compile([], list(lg.nn.conv(graph.tensor(x), b, groups=2, padding=1).gradient(b, ct=ct)))(), gw
    assert np.isfinite(gx[:3]).all() and np.isnan(gx[3:]).all()


def test_second_derivatives_and_loops_have_steps_too():
    x, w = rng.normal(size=(2, 6, 12, 12)).astype("f"), 0.2 * rng.normal(size=(6, 6, 3, 3)).astype("f")

    def second(x, w):
        gx, gw = (lg.nn.conv(x, w, padding=1) ** 3).sum().gradient(x, w)
        return ((gx ** 2).sum() + (gw ** 2).sum()).gradient(x, w)

    compare(second, x, w, least=4, ulps=200)

    def looped(x, w):
        y = lg.fori_loop(0, 3, lambda i, v: lg.tanh(lg.nn.conv(v, w, padding=1)), x)
        return [y, *y.gradient(x, w)]

    compare(looped, x, w, least=3, ulps=200)


def test_depthwise_and_small_convolutions_are_kernels():
    graph = lg.Graph()
    x, w = graph.tensor(rng.normal(size=(2, 8, 20, 20)).astype("f")), graph.tensor(rng.normal(size=(8, 1, 3, 3)).astype("f"))
    gw = lg.nn.conv(x, w, groups=8, padding=1).gradient(w)[0]
    small = lg.nn.conv(x[:1, :, :4, :4], w, groups=8)
    assert not steps([gw, small])


def step(n, c, o, sizes, taps, count, **more) -> Conv:
    axes = len(sizes)
    ones = dict.fromkeys(("stride", "dilation"), (1,) * axes) | {"low": (0,) * axes} | more
    return Conv(0, 1, 2, 3, n, 1, c, o, sizes, taps, count, ones["stride"], ones["dilation"], ones["low"], (0, 0, 0), (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("v", [
    step(8, 64, 64, (512, 512), (3, 3), (512, 512), low=(1, 1)),
    step(64, 8, 64, (512, 512), (512, 512), (3, 3), low=(1, 1)),                     # the gradient of its weights
    step(1, 2048, 64, (64, 64), (7, 7), (58, 58)),
    step(1, 64, 64, (1 << 20,), (9,), ((1 << 20) - 8,)),
    step(1, 16, 16, (64, 64, 64), (5, 5, 5), (60, 60, 60)),
    step(1, 3, 64, (1024, 1024), (16, 16), (64, 64), stride=(16, 16)),
], ids=str)
def test_scratch_memory_does_not_grow_with_the_data(v):
    """For everyone who works a block of rows of x and some sums; tables and panels as large as the weights."""
    lines = v.c * math.prod(v.taps) if windows.form(v) != windows.WEIGHTS else v.n * math.prod(v.count)
    wide = -(-v.o // windows.PANEL) * windows.PANEL
    assert convolution.scratch(v, f32) <= 8 * lines + 4 * wide * (lines + 4096) + windows.SLOTS * (windows.BLOCK + 4 * wide * (lines / 4 + 4096) + (1 << 17))


@pytest.mark.parametrize(("level", "register"), [("x86-64-v3", "ymm"), ("x86-64-v4", "zmm"), ("aarch64", ".4s")])
def test_convolutions_for_other_machines(level, register):
    t = target.level(level)
    graph = lg.Graph()
    x, w = graph.tensor(np.zeros((2, 5, 12, 12), "f")), graph.tensor(np.zeros((7, 5, 3, 3), "f"))
    y = lg.nn.conv(x, w, padding=1, stride=2)
    roots, sources = terms([y, *y.gradient(x, w)])
    text = jit.assembly(emit(compiler.compile(roots, sources, [None] * 3, llvm.caps), t).text, target=t)
    assert any(register in line and "fm" in line for line in text.splitlines())


def test_explain_names_convolutions():
    graph = lg.Graph()
    x, w = graph.tensor(np.zeros((2, 5, 12, 12), "f")), graph.tensor(np.zeros((7, 5, 3, 3), "f"))
    text = graph.explain(lg.nn.conv(x, w))
    assert "output0 = conv input0 with input1  (n=2, 5 -> 7 channels, (3, 3) taps, (10, 10) results)" in text
