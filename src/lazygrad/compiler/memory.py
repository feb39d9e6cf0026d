"""Memory: which buffer is written in place of an input, and where temporaries lie in the arena.

In: steps over provisional buffers. Out: the same steps over final buffers. Linear in the steps but for the free list.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from ..ir import scalar as S
from ..ir.kernel import Assign, Check, Kernel, Loop, Stmt, Store
from ..ir.program import ALIGN, PAD, Branch, Call, Conv, Gemm, Repeat, Step
from ..ir.record import changed
from .loops import walk

SMALL = 16           # bytes of a slot for one number: never part of a vector loop, so it needs no padding


def reads(step: Step, kernels: Sequence[Kernel]) -> list[int]:
    """The buffers a step reads (a kernel's parameters that it writes may be read too)."""
    if isinstance(step, Call):
        return list(step.buffers)
    if isinstance(step, Gemm):
        if step.epilogue is not None:
            return [step.a, step.b, *step.more]
        return [step.a, step.b, step.c] if step.accumulate else [step.a, step.b]
    if isinstance(step, Conv):
        return [step.x, step.w]
    if isinstance(step, Repeat):
        return [*step.consts, *step.init, *step.xs]
    return [step.index, *step.inputs] if isinstance(step, Branch) else list(step.inputs)


def writes(step: Step, kernels: Sequence[Kernel]) -> list[int]:
    """The buffers a step writes."""
    if isinstance(step, Call):
        return [b for b, p in zip(step.buffers, kernels[step.kernel].params, strict=True) if p.writes]
    if isinstance(step, Gemm) and step.epilogue is not None:
        return [b for b, p in zip(step.more, kernels[step.epilogue].params[1:], strict=True) if p.writes]
    if isinstance(step, Repeat):
        return [b for b in (*step.carries, *step.ys, *step.spare, step.scratch, step.flag, step.trips) if b is not None]
    if isinstance(step, Branch):
        return [*step.outputs, *([] if step.scratch is None else [step.scratch])]
    if isinstance(step, Conv):
        return [step.out, step.scratch]
    return [step.c] if isinstance(step, Gemm) else list(step.outs)


NAMED = ("consts", "init", "xs", "carries", "ys", "spare", "inputs", "outputs", "more")     # fields that are buffers
ONE = ("scratch", "flag", "trips", "index", "out", "x", "w")                                                 # a buffer each, or None


def renamed(step: Step, name: dict[int, int]) -> Step:
    """The step over other buffers."""
    if isinstance(step, Call):
        return Call(step.kernel, tuple([name.get(b, b) for b in step.buffers]))
    if isinstance(step, Gemm):
        more = tuple([name.get(b, b) for b in step.more])
        if step.epilogue is not None:                # the product itself has no buffer
            return changed(step, a=name.get(step.a, step.a), b=name.get(step.b, step.b), c=more[0], more=more)
        return changed(step, **{k: name.get(getattr(step, k), getattr(step, k)) for k in "abc"})
    fields = type(step).__match_args__
    many = {k: tuple([name.get(b, b) for b in getattr(step, k)]) for k in NAMED if k in fields}
    return changed(step, **many, **{k: name.get(getattr(step, k), getattr(step, k)) for k in ONE if k in fields})


def in_place(steps: list[Step], kernels: Sequence[Kernel], wanted: dict[int, int]) -> dict[int, int]:
    """The part of `wanted` {temporary: input} where writing over the input changes nothing that is read."""
    last: dict[int, int] = {}
    writer: dict[int, int] = {}
    for p, step in enumerate(steps):
        for b in reads(step, kernels):
            last[b] = p
        for b in writes(step, kernels):
            writer.setdefault(b, p)
    done: dict[int, int] = {}
    for temp, target in wanted.items():
        p = writer.get(temp)
        if p is None or last.get(target, -1) > p:
            continue
        step = steps[p]
        if last.get(target, -1) == p and isinstance(step, Call):
            number = step.buffers.index
            if not _same_index(kernels[step.kernel].body, number(temp), number(target)):
                continue
        if isinstance(step, Gemm) and target in (step.a, step.b):
            continue
        if isinstance(step, Repeat | Branch | Conv) and target in reads(step, kernels):
            continue
        if isinstance(step, Gemm) and step.epilogue is not None and target in step.more and not _same_index(
                kernels[step.epilogue].body, 1 + step.more.index(temp), 1 + step.more.index(target)):
            continue
        done[temp] = target
    return done


def _same_index(body: tuple[Stmt, ...], out: int, source: int) -> bool:
    """Whether one store writes `out`, and `source` is read at its index in its own run of statements only."""
    runs, stack = [], [body]
    while stack:
        here = stack.pop()
        run: list[Stmt] = []
        for s in here:
            if isinstance(s, Loop):
                runs.append(run)
                runs.append([Assign(c.name, c.start) for c in s.states] + [Check(s.test, 0)] * (s.test is not None))
                run = []
                stack.append(s.body)
            else:
                run.append(s)
        runs.append(run)
    stores = [s for run in runs for s in run if getattr(s, "buffer", None) == out]
    if len(stores) != 1 or not isinstance(stores[0], Store):
        return False
    home = next(run for run in runs if stores[0] in run)
    for run in runs:
        scalars = [x for s in run for x in (getattr(s, "index", None), getattr(s, "value", None), getattr(s, "ok", None)) if x]
        for x in walk(scalars):
            if x.op is S.LOAD and x.params[0] == source and (run is not home or x.args[0] is not stores[0].index):
                return False
    return True


def slot(nbytes: int, size: int) -> int:
    """The bytes of the arena that a buffer takes."""
    if size == 1:
        return SMALL
    return -(-(nbytes + PAD) // ALIGN) * ALIGN


def place(lives: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets of buffers (bytes, first step, last step), given in order of their first step, and the arena's size.

    Best fit over the free parts; slots of SMALL bytes come four at a time, so that they never split large parts.

    >>> place([(64, 0, 1), (64, 1, 2), (64, 2, 3)])
    ([0, 64, 0], 128)
    """
    free: list[tuple[int, int]] = []             # (bytes, offset), sorted
    starts: dict[int, int] = {}                  # offset -> bytes of a free part
    ends: dict[int, int] = {}                    # end -> offset of a free part
    small: list[int] = []
    top = 0
    ending: dict[int, list[tuple[int, int]]] = {}
    offsets = []

    def take(size: int, at: int) -> None:
        del free[bisect_left(free, (size, at))]
        del starts[at], ends[at + size]

    def give(size: int, at: int) -> None:
        after = starts.get(at + size)
        if after is not None:
            take(after, at + size)
            size += after
        before = ends.get(at)
        if before is not None:
            take(at - before, before)
            at, size = before, size + at - before
        insort(free, (size, at))
        starts[at], ends[at + size] = size, at

    now = 0
    for size, first, until in lives:
        while now < first:
            for gone, at in ending.pop(now, ()):
                small.append(at) if gone == SMALL else give(gone, at)
            now += 1
        if size == SMALL:
            if not small:
                small = [top + k for k in range(ALIGN - SMALL, -1, -SMALL)]
                top += ALIGN
            at = small.pop()
        else:
            k = bisect_left(free, (size, 0))
            if k < len(free):
                had, at = free[k]
                take(had, at)
                if had > size:
                    give(had - size, at + size)
            else:
                at, top = top, top + size
        offsets.append(at)
        ending.setdefault(until, []).append((size, at))
    return offsets, top
