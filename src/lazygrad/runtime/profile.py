"""Profile: the time of every step of a native plan, each compiled and run by itself over the plan's real buffers.

In: roots and their sources. Out: one row a step: what it is, the best time of some rounds, the bytes of its buffers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..compiler.story import convolved
from ..ir.kernel import Loop, Stmt
from ..ir.program import Branch, Call, Conv, Gemm, Program, Repeat, Step
from ..ir.record import changed, record
from ..ir.term import Term
from . import tiers
from .memory import Region, address, allocate
from .slots import BUFFERS


@record
class Row:
    """One step: seconds of its fastest run (about a microsecond of that is the call), bytes of the buffers it touches."""

    step: str
    seconds: float
    nbytes: int

    def __str__(self) -> str:
        rate = f"{self.nbytes / self.seconds / 1e9:8.2f} GB/s" if self.seconds else ""
        return f"{self.seconds * 1e6:10.1f} us  {self.nbytes:>12} bytes {rate}  {self.step}"


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
    program = tiers.build(roots, sources, (None,) * len(roots)).program
    made = [allocate(r.aval) for r in roots]
    arena, cell = Region(max(program.arena, 1)), np.zeros(1, np.int64)
    args = np.array([address(llvm.externs.table()), arena.at, address(cell), *map(address, arrays), *[at for _, at in made]], np.int64)
    parts = [llvm.build(changed(program, steps=(s,))) for s in program.steps]
    best = [float("inf")] * len(parts)
    for _ in range(rounds):
        for i, part in enumerate(parts):
            best[i] = min(best[i], _timed(lambda part=part: part.run(args)))
    return [Row(*_described(program, s, seconds)) for s, seconds in zip(program.steps, best, strict=True)]


def _timed(f) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def _loops(body: Sequence[Stmt]) -> list[Loop]:
    found = [s for s in body if isinstance(s, Loop)]
    for s in found:                                  # grows while it is read
        found += [x for x in s.body if isinstance(x, Loop)]
    return found


def _described(program: Program, s: Step, seconds: float) -> tuple[str, float, int]:
    if isinstance(s, Call):
        loops = [x for x in _loops(program.kernels[s.kernel].body) if x.states or x.test is not None]
        name, used = f"kernel {s.kernel}", s.buffers
        if loops:
            name += f", a loop in registers, {'as often as a test says' if loops[0].test is not None else f'{loops[0].extent} times'}"
    elif isinstance(s, Gemm):
        name, used = f"matmul {s.batch} x ({s.m}, {s.k}) @ ({s.k}, {s.n})", (s.a, s.b, s.c)
    elif isinstance(s, Conv):
        name, used = f"conv {convolved(s)}", (s.x, s.w, s.out)
    elif isinstance(s, Repeat):
        steps = f"{s.length} times" if s.test is None else "as often as a test says"
        name, used = f"loop, {steps}, of {len(s.body.steps)} steps", (*s.consts, *s.init, *s.xs, *s.carries, *s.ys)
    elif isinstance(s, Branch):
        name, used = f"one of {len(s.bodies)} branches", (s.index, *s.inputs, *s.outputs)
    else:
        name, used = f"host {s.prim}", (*s.inputs, *s.outs)
    shapes = ", ".join(str(program.buffers[b].aval) for b in used)
    return f"{name}: {shapes}", seconds, sum(program.buffers[b].aval.nbytes for b in used)
