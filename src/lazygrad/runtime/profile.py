"""Profile: the time of every step of a native plan, each compiled and run by itself over the plan's real buffers.

In: roots and their sources. Out: one row a step: what it is, the best time of some rounds, the bytes of its buffers, its operations, and
what share of the machine's own speed that is, of copying memory or of multiplying matrices, whichever is more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..compiler.story import convolved
from ..ir.aval import aval
from ..ir.kernel import Loop, Stmt
from ..ir.program import Branch, Call, Conv, Gemm, Program, Repeat, Step
from ..ir.record import changed, record
from ..ir.term import Term
from . import tiers
from .memory import Region, address, allocate
from .slots import BUFFERS


@record
class Row:
    """One step: seconds of its fastest run (about a microsecond of that is the call), bytes of the buffers it touches, and of a product or
    a convolution the floating operations. `share`: (of what roof, how much of it), None where nothing was measured to compare with."""

    step: str
    seconds: float
    nbytes: int
    operations: int = 0
    share: tuple[str, float] | None = None

    def __str__(self) -> str:
        rate = f"{self.nbytes / self.seconds / 1e9:8.2f} GB/s" if self.seconds else ""
        speed = f"{self.operations / self.seconds / 1e9:8.1f} GFLOP/s" if self.operations and self.seconds else ""
        share = f"{self.share[1]:6.0%} of {self.share[0]}" if self.share else ""
        return f"{self.seconds * 1e6:10.1f} us  {self.nbytes:>12} bytes {rate}{speed:>17}  {share:<17} {self.step}"


COPIED = 1 << 23         # float32 values that are copied to see how fast memory is: more than the caches hold
SIDE = 512               # of the matrices that are multiplied to see how fast that is


@cache
def roofs(threads: int) -> dict[str, float]:
    """What this machine does with so many threads: bytes copied a second, floating operations of products by dtype a second. Takes 0.1 s, once."""
    from ..prims.contraction import matmul
    from ..prims.elementwise import neg
    from ..prims.leaf import leaf
    x = leaf(-1, 0, aval((COPIED,), np.dtype("float32")), False)
    found = {"copy": 2 * x.aval.nbytes / _fastest([neg(x)], [x])}
    for name in ("float32", "float64"):
        x, y = [leaf(-1 - k, 0, aval((SIDE, SIDE), np.dtype(name)), False) for k in range(2)]
        found[name] = 2 * SIDE ** 3 / _fastest([matmul(x, y)], [x, y])
    return found


def _fastest(roots: list[Term], sources: list[Term]) -> float:
    """Seconds of the fastest of a few runs over memory of zeros."""
    from ..backends import llvm
    program = tiers.build(roots, sources, (None,) * len(roots))
    memory = [allocate(t.aval) for t in (*sources, *roots)]
    for array, _ in memory:
        array[...] = 0
    arena, cell = Region(max(program.arena, 1)), np.zeros(1, np.int64)
    args = np.array([address(llvm.externs.table()), arena.at, address(cell), *[at for _, at in memory]], np.int64)
    return min([_timed(lambda: program.run(args)) for _ in range(5)])


def _row(step: str, seconds: float, nbytes: int, operations: int, dtype: str, known: dict[str, float]) -> Row:
    copied = nbytes / known["copy"] / seconds
    counted = operations / known[dtype] / seconds if dtype in known else 0.0
    return Row(step, seconds, nbytes, operations, ("copying", copied) if copied >= counted else ("products", counted))


def profile(roots: Sequence[Term], sources: Sequence[Term], rounds: int = 10, device: Any = "cpu") -> list[Row]:
    """The steps of the plan of `roots` in order; the whole interpreter as one row where there is no native code.

    On a GPU the seconds are those of its own clock.
    """
    arrays = [BUFFERS[s.params[0]] for s in sources]
    if device != "cpu":
        from . import gpu
        exe = gpu.build(roots, sources, (None,) * len(roots), device)
        bound = exe.bind([a.buffer for a in arrays], [gpu.empty(device, r.aval).buffer for r in roots])
        return [Row(t.step, t.seconds, t.nbytes) for t in bound.time(rounds)]
    if not tiers.native():
        run = tiers.interpreter(roots, sources)
        best = min(_timed(lambda: run(arrays)) for _ in range(rounds))
        return [Row("interpreted", best, sum(a.nbytes for a in arrays) + sum(r.aval.nbytes for r in roots))]
    from ..backends import llvm
    from ..backends.llvm import pool
    program = tiers.build(roots, sources, (None,) * len(roots)).program
    made = [allocate(r.aval) for r in roots]
    arena, cell = Region(max(program.arena, 1)), np.zeros(1, np.int64)
    args = np.array([address(llvm.externs.table()), arena.at, address(cell), *map(address, arrays), *[at for _, at in made]], np.int64)
    parts = [llvm.build(changed(program, steps=(s,))) for s in program.steps]
    best = [float("inf")] * len(parts)
    for _ in range(rounds):
        for i, part in enumerate(parts):
            best[i] = min(best[i], _timed(lambda part=part: part.run(args)))
    known = roofs(pool.get_num_threads())
    return [_row(*_described(program, s, seconds), known) for s, seconds in zip(program.steps, best, strict=True)]


def _timed(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def _loops(body: Sequence[Stmt]) -> list[Loop]:
    found = [s for s in body if isinstance(s, Loop)]
    for s in found:                                  # grows while it is read
        found += [x for x in s.body if isinstance(x, Loop)]
    return found


def _described(program: Program, s: Step, seconds: float) -> tuple[str, float, int, int, str]:
    """(what it is, seconds, bytes, operations and their dtype)."""
    operations, dtype = 0, ""
    if isinstance(s, Call):
        loops = [x for x in _loops(program.kernels[s.kernel].body) if x.states or x.test is not None]
        name, used = f"kernel {s.kernel}", s.buffers
        if loops:
            name += f", a loop in registers, {'as often as a test says' if loops[0].test is not None else f'{loops[0].extent} times'}"
    elif isinstance(s, Gemm):
        name, used = f"matmul {s.batch} x ({s.m}, {s.k}) @ ({s.k}, {s.n})", (s.a, s.b, s.c)
        operations, dtype = 2 * s.batch * s.m * s.n * s.k, program.buffers[s.c].aval.dtype.name
    elif isinstance(s, Conv):
        name, used = f"conv {convolved(s)}", (s.x, s.w, s.out)
        operations, dtype = 2 * s.n * s.groups * s.o * s.c * math.prod(s.taps) * math.prod(s.count), program.buffers[s.out].aval.dtype.name
    elif isinstance(s, Repeat):
        steps = f"{s.length} times" if s.test is None else "as often as a test says"
        name, used = f"loop, {steps}, of {len(s.body.steps)} steps", (*s.consts, *s.init, *s.xs, *s.carries, *s.ys)
    elif isinstance(s, Branch):
        name, used = f"one of {len(s.bodies)} branches", (s.index, *s.inputs, *s.outputs)
    else:
        name, used = f"host {s.prim}", (*s.inputs, *s.outs)
    shapes = ", ".join(str(program.buffers[b].aval) for b in used)
    return f"{name}: {shapes}", max(seconds, 1e-9), sum(program.buffers[b].aval.nbytes for b in used), operations, dtype
