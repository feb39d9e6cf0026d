"""Chunks: which loops of a kernel threads may share, and how many steps they take at a time.

In: a kernel with the buffers it is called with. Out: the kernel with grains (`kernel.Loop`), and temporaries that it needs for that. What
is decided depends on sizes only, never on the number of threads: results are the same for every number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from ..ir import scalar as S
from ..ir.aval import Aval, aval
from ..ir.kernel import Assign, Check, Combine, Loop, Param, Stmt, Store
from ..ir.record import changed, record
from . import loops
from .cut import COSTS
from .fuse import Piece, in_row
from .loops import parts, walk
from .rows import below, narrowed, scalars, stride

# nanoseconds, roughly, of one core
WORTH = 12_000.0     # work that is shared
PORTION = 5_000.0    # work of a chunk, at least
VECTOR = 0.02        # an addition of 4-byte values in a vector loop
SERIAL = 0.4         # an operation outside of one
BYTE = (0.01, 0.03)  # moving a byte, one after another: of a kernel that touches less than SMALL bytes, of others
SMALL = 2 << 20
JUMP = 1.0           # moving an element from anywhere

MOST = 256           # chunks of a loop
SEVERAL = 8          # steps of a loop below which one inside of it is looked at first
PRIVATE = 4 << 20    # bytes that the sums of all chunks may take together
APART = 64           # chunks of a loop that have sums of their own
FEWEST = 2           # of them
VECTORS = 1024       # the grain of a vector loop is a multiple of it (whole vectors of every width, several side by side)
LINES = 16           # and that of a loop of many rows of this (chunks end at lines of memory)


def chunked(piece: Piece, avals: Sequence[Aval], private: Collection[int], temporary: Callable[[Aval], int]) -> Piece:
    """The call with grains, and temporaries of one row instead of all where there are rows.

    `avals` are those of its buffers, `private` the temporaries that no other step touches; `temporary` makes a buffer.
    """
    if max([_trips(s) for s in piece.kernel.body if isinstance(s, Loop)], default=0) < WORTH / (64 * JUMP):
        return piece
    work = _Work(piece, avals, private, temporary)
    body: list[Stmt] = []
    for s in piece.kernel.body:
        body += work.divided(s, ()) if isinstance(s, Loop) else (s,)
    if work.buffers == list(piece.buffers) and not work.found:
        return piece
    return changed(piece, kernel=changed(piece.kernel, params=tuple(work.params), body=tuple(body)), buffers=tuple(work.buffers))


def _trips(loop: Loop) -> int:
    """How often the innermost statements run."""
    return loop.extent * max([_trips(s) for s in loop.body if isinstance(s, Loop)], default=1)


@record
class Access:
    """An element that a loop touches. `monoid`: of a Combine; `writes`: False for a load."""

    buffer: int
    index: S.Scalar
    writes: bool
    monoid: str | None = None


class _Work:
    """One call being divided."""

    def __init__(self, piece: Piece, avals: Sequence[Aval], private: Collection[int], temporary: Callable[[Aval], int]) -> None:
        self.params, self.buffers = list(piece.kernel.params), list(piece.buffers)
        self.body, self.avals, self.private, self.temporary = piece.kernel.body, avals, private, temporary
        self.byte = BYTE[sum({b: av.nbytes for b, av in zip(piece.buffers, avals, strict=True)}.values()) > SMALL]
        self.found = False

    def divided(self, loop: Loop, around: tuple[Loop, ...]) -> tuple[Stmt, ...]:
        """The loop with a grain, or with loops inside of it that have one; as it is where it is little work or its steps depend on each other."""
        work = nanoseconds((loop,), self.byte, around)
        if work < WORTH or loop.extent < 2:
            return (self._narrowed(loop, loop),)
        if loop.extent < SEVERAL:
            inner = self._inside(loop, around)
            if inner is not loop:
                return (inner,)
        shared = self._shared(loop, work)
        if shared:
            return shared
        inner = self._inside(loop, around)
        return (self._narrowed(loop, loop) if inner is loop else inner,)

    def _narrowed(self, loop: Loop, was: Loop) -> Loop:
        """The loop with temporaries of one row for every chunk, where it is one of the kernel's outermost loops."""
        if was not in self.body or not any([isinstance(s, Loop) for s in loop.body]):
            return loop
        return narrowed(loop, [s for s in self.body if s is not was], self.buffers, self.avals, self.private, self.temporary)

    def _inside(self, loop: Loop, around: tuple[Loop, ...]) -> Loop:
        if loop.mode == "vector" or loop.test is not None:
            return loop
        before, body = self.found, []
        self.found = False
        for s in loop.body:
            body += self.divided(s, (*around, loop)) if isinstance(s, Loop) else (s,)
        inner = changed(loop, body=tuple(body)) if self.found else loop
        self.found |= before
        return inner

    def _shared(self, loop: Loop, work: float) -> tuple[Stmt, ...]:
        """The loop in chunks, () where that cannot be."""
        if loop.states or any([x.test is not None for x in _loops(loop)]):
            return ()
        sums = self._sums(loop)
        if sums is None:
            return ()
        unit = VECTORS if loop.mode == "vector" else LINES if loop.extent >= 4 * LINES else 1
        chunks = min(int(work / PORTION), MOST)
        size = sum([self.avals[p].nbytes for p in sums])
        if sums:
            chunks = min(chunks, APART, PRIVATE // size)
            if chunks < FEWEST or chunks * size * self.byte * 16 > work:
                return self._across(loop, work)
        grain = -(-loop.extent // max(chunks, 1))
        grain = -(-grain // unit) * unit
        if grain >= loop.extent:
            return ()
        self.found = True
        shared = self._narrowed(changed(loop, grain=grain), loop)
        return self._apart(shared, sums) if sums else (shared,)

    # ---- may the steps run in any order?

    def _sums(self, loop: Loop) -> list[int] | None:
        """The parameters that all steps add to at the same places; None where steps depend on each other."""
        touched: dict[int, list[Access]] = {}
        numbers: dict[int, int] = {}
        for a in _accesses(loop.body):
            touched.setdefault(self.buffers[a.buffer], []).append(a)
            numbers[self.buffers[a.buffer]] = a.buffer
        var = S.var(loop.var, loop.extent)
        sums = []
        for buffer, accesses in touched.items():
            if not any([a.writes for a in accesses]):
                continue
            rows = {in_row(a.index, var, True) for a in accesses}
            if (len(rows) == 1 and 0 not in rows) or (len({a.index for a in accesses}) == 1 and _distinct(accesses[0].index, var)):
                continue
            if loop.mode == "vector" or not _adds(accesses, var):
                return None
            sums.append(numbers[buffer])
        return sums

    # ---- sums over the steps of the loop

    def _apart(self, loop: Loop, sums: list[int]) -> tuple[Stmt, ...]:
        """Every chunk adds up in a part of a temporary that is its own; then these are added, in order."""
        count = -(-loop.extent // loop.grain)
        chunk = S.ifloordiv(S.var(loop.var, loop.extent), loop.grain)
        mine: dict[int, tuple[int, int]] = {}
        first, last = [], []
        monoids = {a.buffer: a.monoid for a in _accesses(loop.body) if a.monoid}
        for p in sums:
            dtype, size = self.avals[p].dtype, self.avals[p].size
            t, step = len(self.params), stride(size, dtype)
            mine[p] = t, step
            self.params.append(Param(dtype, True))
            self.buffers.append(self.temporary(aval((count, step), dtype)))
            j, each = S.var("j", size), S.var("z", count * step)        # names of their own: there may be loops around
            first += loops.over("z", count * step, (Store(t, each, loops.identity(monoids[p], dtype)),))
            part = S.load(t, S.iadd(S.imul(S.var("p", count), step), j), dtype)
            last += loops.over("p", count, loops.over("j", size, (Combine(p, j, monoids[p], part),), "vector", False), "serial", False)

        def moved(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
            out: list[Stmt] = []
            for s in body:
                if isinstance(s, Loop):
                    s = changed(s, body=moved(s.body))
                elif isinstance(s, Combine) and s.buffer in mine:
                    t, step = mine[s.buffer]
                    s = changed(s, buffer=t, index=S.iadd(S.imul(chunk, step), s.index))
                out.append(s)
            return tuple(out)

        return (*first, changed(loop, body=moved(loop.body)), *last)

    def _across(self, loop: Loop, work: float) -> tuple[Stmt, ...]:
        """Sums of long rows: the rows are cut, and every chunk goes through all steps of the loop with its part of them."""
        inner = loop.body[0]
        if len(loop.body) != 1 or not isinstance(inner, Loop) or inner.mode != "vector" or loop.carries or inner.carries:
            return ()
        if any([not isinstance(s, Combine) for s in inner.body]):
            return ()
        j = S.var(inner.var, inner.extent)
        if any([in_row(a.index, j, True) != 1 for a in _accesses(inner.body) if a.writes]):
            return ()
        unit = 64
        size = -(-inner.extent // min(int(work / PORTION), MOST) // unit) * unit
        count, rest = divmod(inner.extent, size)
        if count < 2:
            return ()
        self.found = True
        name = f"{inner.var}c"

        def part(place: S.Scalar, extent: int) -> Loop:
            body = _replaced(inner.body, {j: place})
            return changed(loop, body=(Loop(inner.var, extent, "vector", body),))

        whole = part(S.iadd(S.imul(S.var(name, count), size), S.var(inner.var, size)), size)
        out: tuple[Stmt, ...] = (Loop(name, count, "serial", (whole,), grain=1),)
        return (*out, part(S.iadd(S.index(count * size), S.var(inner.var, rest)), rest)) if rest else out


def _replaced(body: tuple[Stmt, ...], place: dict[S.Scalar, S.Scalar]) -> tuple[Stmt, ...]:
    """Combines with variables replaced."""
    done = loops.rewrite(walk([x for s in body for x in (s.index, s.value)]), place)
    return tuple([changed(s, index=done[s.index], value=done[s.value]) for s in body])


def _loops(loop: Loop) -> Iterator[Loop]:
    """The loop and all inside."""
    yield loop
    for s in loop.body:
        if isinstance(s, Loop):
            yield from _loops(s)


def _accesses(body: Sequence[Stmt]) -> list[Access]:
    """All that a body reads and writes."""
    found, todo = [], list(body)
    for s in todo:
        todo += s.body if isinstance(s, Loop) else ()
        if isinstance(s, Store | Combine):
            found.append(Access(s.buffer, s.index, True, getattr(s, "monoid", None)))
    return found + [Access(x.params[0], x.args[0], False) for x in walk(below(body)) if x.op is S.LOAD]


def _adds(accesses: list[Access], var: S.Scalar) -> bool:
    """Whether all are sums of one monoid at places that neither `var` nor data decide."""
    return len({a.monoid for a in accesses}) == 1 and all([
        a.monoid is not None and all([k.op is S.VAR and k is not var for k, _ in parts(a.index)[1]]) for a in accesses])


def _distinct(i: S.Scalar, var: S.Scalar) -> bool:
    """Whether different values of `var` give different indices: the steps of every variable leave room for those of all smaller ones."""
    terms = sorted([(abs(k), a) for a, k in parts(i)[1]], key=lambda t: t[0])
    if any([a.op is not S.VAR for _, a in terms]) or not any([a is var for _, a in terms]):
        return False
    room = 0
    for k, a in terms:
        if k <= room:
            return False
        room += k * (a.params[1] - 1)
    return True


# ---- how long does it take?

def nanoseconds(body: Sequence[Stmt], byte: float, around: tuple[Loop, ...] = ()) -> float:
    """An estimate for statements inside of the loops `around`, whose own steps do not count; `byte`: of moving a byte."""
    total, run = 0.0, []
    for s in body:
        run.append(s)
        if isinstance(s, Loop):
            total += s.extent * nanoseconds(s.body, byte, (*around, s))
    inner = around[-1] if around else None
    vector = inner is not None and inner.mode == "vector" and inner.extent > 1
    var = S.var(inner.var, inner.extent) if inner is not None else None
    moving: dict[S.Scalar, bool] = {}
    for x in walk([x for s in run for x in scalars(s)]):
        moves = moving[x] = x is var or any([moving[a] for a in x.args]) or x.op is S.CARRY
        if (moves or var is None) and x.args and x.op is not S.LINEAR:
            total += _moved(x.args[0], x.dtype, var, byte if vector else 0.0) if x.op is S.LOAD else _computed(x, vector)
    for s in run:
        if isinstance(s, Store | Combine):
            total += _moved(s.index, s.value.dtype, var, byte if vector else 0.0) * (1 + isinstance(s, Combine))
        elif not isinstance(s, Loop | Check | Assign):
            total += VECTOR * s.value.dtype.itemsize / 4 if vector else SERIAL
    return total


def _computed(x: S.Scalar, vector: bool) -> float:
    cost = COSTS.get(x.op.name, 1)
    return cost * (VECTOR * max(x.dtype.itemsize, 4) / 4 if vector else SERIAL)


def _moved(i: S.Scalar, dtype: np.dtype, var: S.Scalar | None, byte: float) -> float:
    """Of an element at index `i`; `byte`: of one in a vector loop over `var`, 0 outside of one."""
    if not byte:
        return SERIAL
    step = loops.coefficient(i, var)
    return JUMP if step not in (0, 1, -1) else byte * dtype.itemsize if step else 0.0
