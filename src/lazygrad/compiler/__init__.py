"""The compiler: Terms -> Program, one pass after another: decompose, simplify, (for a grid) split, cut, lower, loops, memory.

Knows Prims by their lowering forms and a backend by its Caps, never by its name. Equal structures give equal Programs.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence, Set

import numpy as np

from ..ir import kernel as K
from ..ir import scalar as S
from ..ir.aval import Pack, aval
from ..ir.program import Branch, Buffer, Call, Caps, Conv, Gemm, Host, Program, Repeat, Step
from ..ir.record import changed
from ..ir.term import Term, toposort
from ..prims.control import cond
from ..prims.elementwise import stop_gradient
from . import chunks, convolution, fit, gemm, grid, loops, memory, replay, rows, story
from .cut import CONV, FLOW, GEMM, HOST, INLINE, LEAF, RECUR, Cut, Group, base, cut, waits
from .decompose import decompose
from .epilogue import epilogues
from .flow import ENDLESS, UNKNOWN, in_place, steps
from .fuse import MOST, Piece, fuse, reuse
from .lighten import lighten
from .lower import Faults, Lowering, copy, fill, lower
from .simplify import simplify
from .split import split
from .updates import UPDATE

PASSES: tuple[tuple[str, Callable[[list[Term], Caps], list[Term]]], ...] = (
    ("decompose", decompose),
    ("simplify", simplify),
    ("lighten", lambda roots, caps: lighten(roots, lambda results: _passed(results, caps), caps.grid)),
)
GRID_PASSES = (*PASSES, ("split", split))
_lock = threading.Lock()


def _passed(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` after all passes."""
    for _, run in GRID_PASSES if caps.grid else PASSES:
        roots = run(roots, caps)
    return roots


def compile(roots: Sequence[Term], sources: Sequence[Term], into: Sequence[int | None], caps: Caps, tight: Set[int] = frozenset()) -> Program:
    """The Program that computes `roots` from the buffers of `sources`.

    `sources`: every source Term that the roots read, in input order. `into[j]`: the input that output j overwrites (of the
    same shape and dtype, no two outputs the same), or None. `tight`: outputs behind which nothing may be written.

    >>> import numpy as np
    >>> from lazygrad.ir.aval import aval
    >>> from lazygrad.prims import elementwise as E, leaf
    >>> x = leaf.leaf(0, 0, aval((8,), np.dtype("float32")), True)
    >>> caps = Caps("doc", frozenset([("add", "float32")]), frozenset(["float32"]), frozenset())
    >>> print(K.text(compile([E.add(x, x)], [x], [None], caps).kernels[0]))
    kernel(b0: float32, b1: float32*)
      for i0 in 8 vector overrun:
        b1[i0] = add(b0[i0], b0[i0])
    """
    with _lock:
        return _compiled(roots, sources, into, caps, tight)[2]


def explain(roots: Sequence[Term], sources: Sequence[Term], into: Sequence[int | None], caps: Caps) -> str:
    """The Terms after each pass, groups, kernels, steps, buffers and bytes moved, as text."""
    with _lock:
        passes, parts, program = _compiled(roots, sources, into, caps)
        return story.text([("graph", roots), *passes], parts, program, sources)


def _compiled(roots, sources, into, caps, tight=frozenset()) -> tuple[list[tuple[str, list[Term]]], Cut, Program]:
    """(roots after each pass, the cut, the Program)."""
    S.reset()
    terms, passes = list(roots), []
    for name, run in GRID_PASSES if caps.grid else PASSES:
        terms = run(terms, caps)
        passes.append((name, terms))
    parts = cut(toposort(terms), terms, list(sources), into, caps, read_whole)
    return passes, parts, _Assembly(parts, terms, sources, into, caps, tight, Shared()).program()


def read_whole(t: Term, kinds: dict[Term, str]) -> list[Term]:
    """The Terms whose buffers a product or a convolution reads."""
    return (convolution if kinds[t] == CONV else gemm).operands(t, kinds)


class Shared:
    """What the Programs of one compilation have in common: faults, and bodies by what they were made of."""

    __slots__ = ("bodies", "faults")

    def __init__(self) -> None:
        self.faults = Faults()
        self.bodies: dict[tuple, Program] = {}


def _apart(roots: list[Term]) -> list[Term]:
    """`roots` with one Term for each: a value that goes to two buffers is stored twice by the kernel that makes it."""
    seen: set[Term] = set()
    out = []
    for r in roots:
        out.append(stop_gradient(r) if r in seen else r)
        seen.add(r)
    return out


class _Assembly:
    """Buffers and steps of one Program in the making."""

    def __init__(self, parts: Cut, roots: list[Term], sources, into, caps: Caps, tight: Set[int], shared: Shared) -> None:
        self.parts, self.roots, self.sources, self.into, self.caps, self.tight = parts, roots, sources, into, caps, tight
        self.shared, self.faults = shared, shared.faults
        self.whole: set[int] = set()             # buffers behind which nothing may be written
        self.buffers = [Buffer("input", s.aval, i) for i, s in enumerate(sources)]
        self.numbers: dict[Term, int] = {s: i for i, s in enumerate(sources)}
        self.kernels: dict[K.Kernel, int] = {}
        self.waits = waits(parts)
        self.done: set[Term] = set()             # what the steps so far have stored; used where grid kernels split groups
        self.steps: list[Step | Piece] = []

    def buffer(self, kind: str, aval, number: int = 0) -> int:
        self.buffers.append(Buffer(kind, aval, number))
        return len(self.buffers) - 1

    def number(self, t: Term) -> int:
        """The buffer of a stored Term; a temporary where it has none yet."""
        found = self.numbers.get(t)
        if found is None:
            found = self.numbers[t] = self.buffer("temp", t.aval)
        return found

    def copy(self, a: int, b: int) -> None:
        aval = self.buffers[b].aval
        if aval.size and aval.dtype.name in self.caps.dtypes:
            self.steps.append(Piece(copy(aval.dtype, aval.size, self.caps), (a, b)))
        elif aval.size:
            self.steps.append(Host(stop_gradient, (), (a,), b))

    def program(self) -> Program:
        outputs, wanted, after = self._outputs()
        for g in self.parts.groups:
            self._step(g, wanted)
        for a, b in after:
            self.copy(a, b)
        self._fused(wanted)
        names = memory.in_place(self.steps, list(self.kernels), {b: self.into[j] for b, j in wanted.items()})
        for b, j in wanted.items():
            if b not in names:
                self.copy(b, self.into[j])
        self._numbered()
        return self._finished(outputs, names)

    def _fused(self, wanted: dict[int, int]) -> None:
        """Joins calls over the same rows."""
        kept = {b for b, buffer in enumerate(self.buffers) if buffer.kind != "temp"} | set(wanted)
        self.steps = epilogues(self.steps, self._traffic, kept, self.caps, self._kernel)
        if self.caps.grid:
            over = {b: self.into[j] for b, j in wanted.items()}
            self.steps = fuse(self.steps, self._traffic, self.caps, set(range(len(self.buffers))) - kept, over)
        else:
            self.steps = fuse(self.steps, self._traffic, self.caps)
        count = Counter([b for s in self.steps for b in set(itertools.chain(*self._traffic(s)))])
        private = {b for b, n in count.items() if n == 1 and b not in wanted}
        self.steps = [self._shared(s, private) if isinstance(s, Piece) else s for s in self.steps]
        self._numbered()

    def _shared(self, s: Piece, private: set[int]) -> Piece:
        """The piece with less memory, and with loops that threads share. `private`: buffers that one step alone touches."""
        own = {b for b in s.buffers if b in private and self.buffers[b].kind == "temp"}
        if self.caps.chunks:
            s = rows.forwarded(s, own)
        s = reuse(s, self.buffers, private)
        if self.caps.chunks:
            s = chunks.chunked(s, [self.buffers[b].aval for b in s.buffers], own, lambda aval: self.buffer("temp", aval))
        return s

    def _numbered(self) -> None:
        """Pieces become calls of numbered kernels; equal kernels are one."""
        self.steps = [Call(self._kernel(self._within(s)), s.buffers) if isinstance(s, Piece) else s for s in self.steps]

    def _within(self, s: Piece) -> K.Kernel:
        """The kernel of a piece, whose loops stay inside of the buffers that say so."""
        bound = self.whole and any([p.writes and b in self.whole for b, p in zip(s.buffers, s.kernel.params, strict=True)])
        return changed(s.kernel, body=loops.within(s.kernel.body)) if bound else s.kernel

    def _kernel(self, kernel: K.Kernel) -> int:
        return self.kernels.setdefault(kernel, len(self.kernels))

    def _traffic(self, s: Step | Piece) -> tuple[list[int], list[int]]:
        """(buffers read, buffers written) of a step."""
        if isinstance(s, Piece):
            return [*s.buffers, *s.after], [b for b, p in zip(s.buffers, s.kernel.params, strict=True) if p.writes]
        kernels = list(self.kernels) if isinstance(s, Gemm) and s.epilogue is not None else ()
        return memory.reads(s, kernels), memory.writes(s, kernels)

    def _outputs(self) -> tuple[list[int], dict[int, int], list[tuple[int, int]]]:
        """(buffer of every output, {temporary: output} that should overwrite inputs, copies to make at the end)."""
        outputs: list[int] = []
        wanted: dict[int, int] = {}
        after: list[tuple[int, int]] = []
        taken: set[Term] = set()
        for j, (r, t) in enumerate(zip(self.roots, self.parts.results, strict=True)):
            target = self.into[j]
            leaf = self.parts.kinds[t] == LEAF
            if leaf and target == self.numbers[t]:
                outputs.append(target)
                continue
            if self.parts.kinds[t] == UPDATE and target is not None:
                self._updated(t, target)
                outputs.append(target)
                continue
            mine = self.buffer("temp", r.aval) if target is not None else self.buffer("output", r.aval, j)
            if j in self.tight:
                self.whole.update([mine] if target is None else [mine, target])
            if target is not None:
                wanted[mine] = j
            if leaf:                             # first of all: another output may overwrite this input
                self.copy(self.numbers[t], mine)
            elif t in taken:
                after.append((self.numbers[t], mine))
            else:
                self.numbers[t] = mine
                taken.add(t)
            outputs.append(mine if target is None else target)
        return outputs, wanted, after

    def _updated(self, t: Term, target: int) -> None:
        """A scatter in place, and those that it follows, write the buffer of their target."""
        while self.parts.kinds[t] == UPDATE:
            self.numbers[t] = target
            t = t.args[0]

    def _step(self, g: Group, wanted: dict[int, int]) -> None:
        t = g.members[0]
        if g.kind == GEMM:
            self.steps.append(gemm.gemm(t, self.parts, self.number))
        elif g.kind == CONV:
            memory_of = lambda nbytes: self.buffer("temp", aval((nbytes,), np.dtype("uint8")))
            self.steps.append(convolution.step(t, self.parts, self.number, memory_of, self.caps))
        elif g.kind == HOST:
            inputs = tuple([self.number(a) for a in t.args])
            outs = self._results(t) if t.aval.__class__ is Pack else [self.number(t)]
            self.steps.append(Host(t.op, tuple(t.keywords.items()), inputs, outs[0], tuple(outs[1:])))
        elif g.kind == FLOW:
            self.steps.append(self._branch(t) if t.op is cond else self._replay(t) if self.caps.grid else self._repeat(t))
        else:
            self._kernels(g, wanted)
        if self.caps.grid:
            self.done.update(g.members)

    def _results(self, t: Term) -> list[int]:
        """The buffers of all results of a Term that has several; those that nobody picks are temporaries."""
        picked = self.parts.picks.get(t, {})
        return [self.number(picked[j]) if j in picked else self.buffer("temp", av) for j, av in enumerate(t.aval.avals)]

    def _base(self, t: Term) -> int:
        """The buffer that holds an operand of a loop or a branch."""
        return self.number(base(t, self.parts.kinds))

    def _body(self, roots: Sequence[Term], params: Sequence[Term], into: Sequence[int | None], outs: Sequence[int]) -> Program:
        """The Program of a body whose results go to the buffers `outs`. Equal bodies are compiled once."""
        tight = frozenset([j for j, b in enumerate(outs) if b in self.whole])
        key = tuple(roots), tuple(params), tuple(into), tight
        found = self.shared.bodies.get(key)
        if found is None:
            parts = cut(toposort(roots), list(roots), list(params), into, self.caps, read_whole)
            found = self.shared.bodies[key] = _Assembly(parts, list(roots), params, into, self.caps, tight, self.shared).program()
        return found

    def _scratch(self, *programs: Program) -> int | None:
        most = max([p.arena for p in programs])
        return self.buffer("temp", aval((most,), np.dtype("uint8"))) if most and not self.caps.grid else None

    def _repeat(self, t: Term) -> Repeat:
        s, picked = steps(t), self.parts.picks.get(t, {})
        n = len(s.init)
        carries = [self.number(picked[j]) if j in picked else self.buffer("temp", a.aval) for j, a in enumerate(s.init)]
        rows = [j for j in range(n, len(s.body.results)) if j in picked and s.test is None]
        ys = [self.number(picked[j]) for j in rows]
        if s.reverse:                                # a step must not write into the row of the step before
            self.whole.update(ys)
        roots = _apart([*s.body.results[:n], *[s.body.results[j] for j in rows]])
        first = len(s.consts)
        into = [first + j if in_place(r, p) else None for j, (r, p) in enumerate(zip(roots, s.carried, strict=False))]
        body = self._body(roots, s.body.params, [*into, *[None] * len(rows)], [*carries, *ys])
        spare = tuple([self.buffer("temp", a.aval) if i is None else None for a, i in zip(s.init, into, strict=True)])
        test = flag = trips = None
        if s.test is not None:
            flag = self.buffer("temp", s.test.results[0].aval)
            test = self._body(s.test.results, s.test.params, [None], [flag])
            trips = self.number(picked[n]) if n in picked else None
        scratch = self._scratch(body) if test is None else self._scratch(body, test)
        return Repeat(body, tuple(map(self._base, s.consts)), tuple(map(self._base, s.init)), tuple(map(self._base, s.xs)), tuple(carries),
                      tuple(ys), spare, scratch, s.length, s.reverse, test, flag, trips)

    def _replay(self, t: Term) -> Repeat:
        """A loop whose step is one and the same for all: all carries change in place, and start there."""
        s, picked = steps(t), self.parts.picks.get(t, {})
        n = len(s.init)
        rows = [j for j in range(n, len(s.body.results)) if j in picked and s.test is None]
        g = replay.step(s, rows, self.caps)
        given = dict(enumerate([picked.get(j) for j in range(n)])) | {len(g.carries) - len(rows) + k: picked[j] for k, j in enumerate(rows)}
        if g.trips is not None:
            given[g.trips] = picked.get(n)
        carries = [self.buffer("temp", c.aval) if given.get(j) is None else self.number(given[j]) for j, c in enumerate(g.carries)]
        for b, a in zip(carries, s.init, strict=False):
            self.copy(self._base(a), b)
        for k, value in enumerate(g.first):
            own = g.carries[n + k]
            self.steps.append(Piece(fill(own, S.const(value, own.aval.dtype), self.caps)[0], (carries[n + k],)))
        params = (*g.consts, *g.carries)
        body = self._body(g.roots, params, range(len(g.consts), len(params)), carries)
        flag, test = (None, None) if g.live is None else (carries[g.live], None)
        if s.test is not None and g.live is None:
            flag = self.buffer("temp", s.test.results[0].aval)
            test = self._body(s.test.results, params, [None], [flag])
        return Repeat(body, tuple(map(self._base, (*s.consts, *s.xs))), tuple(carries), (), tuple(carries), (), (None,) * len(carries), None,
                      s.length, False, test, flag)

    def _branch(self, t: Term) -> Branch:
        picked = self.parts.picks.get(t, {})
        wanted = sorted(picked)
        outs = tuple([self.number(picked[j]) for j in wanted])
        bodies = tuple([self._body([b.results[j] for j in wanted], b.params, [None] * len(outs), outs) for b in t.keywords["branches"]])
        return Branch(bodies, self._base(t.args[0]), tuple(map(self._base, t.args[1:])), outs, self._scratch(*bodies))

    def _kernels(self, g: Group, wanted: dict[int, int]) -> None:
        """The kernels of a group, in parts where one would need more buffers than the backend binds."""
        if self.caps.grid:
            members = [m for m in g.members if m not in self.done]
            split = grid.partition(g.space, members, self.caps) if g.kind == INLINE else [members] * bool(members)
            if len(split) != 1:
                for part in split:
                    self._step(Group(g.kind, g.stage, g.space, part), wanted)
                return
            g = Group(g.kind, g.stage, g.space, members)
        made = lower(self.parts, g, self.faults, self.caps, self.done)
        if g.kind != RECUR and max([len(terms) for _, terms in made], default=0) > self.caps.max_buffers:
            if len(g.members) > 1:
                half = len(g.members) // 2               # a kernel of its own for each half; what they share is computed twice
                for members in (g.members[:half], g.members[half:]):
                    self._step(Group(g.kind, g.stage, g.space, members), wanted)
                return
            held = Lowering(self.parts, g.stage, self.faults, self.caps, self.done).loadable
            part = fit.part(self.parts, g.members[0], held, self.caps.max_buffers) if self.caps.grid else None
            if part is not None:
                self._step(Group(INLINE, g.stage, part.aval.shape, [part]), wanted)
                self._kernels(g, wanted)
                return
        for kernel, terms in made:
            buffers = tuple([self.number(u) for u in terms])
            # a kernel that overwrites inputs stays where it is: moved up, it could come before their last reader
            alone = (any([b in wanted for b in buffers]) and not self.caps.grid) or g.kind in (RECUR, UPDATE)
            after = tuple([self.number(u) for m in g.members for u in self.waits.get(m, ())]) if self.waits else ()
            self.steps.append(Piece(kernel, buffers, MOST if alone else 1, after))

    def _finished(self, outputs: list[int], names: dict[int, int]) -> Program:
        """Final buffer numbers and offsets."""
        kernels = tuple(self.kernels)
        steps = [memory.renamed(s, names) for s in self.steps] if names else self.steps
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for p, s in enumerate(steps):
            for b in (*memory.reads(s, kernels), *memory.writes(s, kernels)):
                if self.buffers[b].kind == "temp":
                    first.setdefault(b, p)
                    last[b] = p
        kept = [b for b, buffer in enumerate(self.buffers) if buffer.kind != "temp"]
        temps = list(first)
        lives = [(memory.slot(self.buffers[b].aval.nbytes, self.buffers[b].aval.size), first[b], last[b]) for b in temps]
        offsets, arena = memory.place(lives)
        buffers = [self.buffers[b] for b in kept]
        buffers += [Buffer("temp", self.buffers[b].aval, k, at) for k, (b, at) in enumerate(zip(temps, offsets, strict=True))]
        final = {b: n for n, b in enumerate(kept + temps)}
        steps = tuple([memory.renamed(s, final) for s in steps])
        work = sum([_work(s, kernels, buffers) for s in steps])
        return Program(tuple(buffers), tuple(range(len(self.sources))), tuple([final[b] for b in outputs]), tuple(self.into),
                       steps, kernels, arena, tuple(self.faults.codes), work)


def _work(s: Step, kernels: Sequence[K.Kernel], buffers: Sequence[Buffer]) -> int:
    """Estimated scalar operations of a step."""
    if isinstance(s, Call):
        return kernels[s.kernel].work
    if isinstance(s, Gemm):
        return 2 * s.batch * s.m * s.n * s.k + (kernels[s.epilogue].work if s.epilogue is not None else 0)
    if isinstance(s, Conv):
        return 2 * s.n * s.groups * s.o * s.c * math.prod(s.taps) * math.prod(s.count)
    if isinstance(s, Repeat):
        if s.length is None:
            return max(ENDLESS, UNKNOWN * (s.body.work + (s.test.work if s.test is not None else 0)))
        return s.length * s.body.work
    if isinstance(s, Branch):
        return max([b.work for b in s.bodies])
    return 10 * sum([buffers[b].aval.size for b in (*s.inputs, *s.outs)])
