"""Loops: statements over an index space: merged axes, loop order, the vector loop, accumulators.

In: what every element stores or contributes, as Scalars over one variable per axis. Out: the loop nest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from ..ir import scalar as S
from ..ir.kernel import Accumulate, Carry, Check, Combine, Loop, Stmt, Store
from ..ir.program import Caps
from ..ir.record import changed, record

BLOCK = 4096         # float32 values added in float32 before the sum goes on in float64
SHORT = 4            # loops below this are not worth a vector


@record
class Out:
    """A store of `value` at `index`, or (with `monoid`) its reduction over `axes` into `size` elements."""

    buffer: int
    index: S.Scalar
    value: S.Scalar
    monoid: str | None = None
    axes: frozenset[int] = frozenset()
    size: int = 0


@record
class Axis:
    """A loop: its variable, extent, and the outs it reduces (by position)."""

    var: str
    extent: int
    reduces: frozenset[int]


def over(var: str, extent: int, body: tuple[Stmt, ...], mode: str = "vector", overrun: bool = True,
         carries: tuple[Carry, ...] = ()) -> tuple[Stmt, ...]:
    """`body` for every value of `var`; a single step needs no loop."""
    if extent == 1 and not carries:
        return body
    if extent < SHORT:
        mode = "serial"
    return (Loop(var, extent, mode, body, carries, overrun and mode == "vector"),)


def within(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The same statements, with no loop that runs past its extent."""
    return tuple([changed(s, body=within(s.body), overrun=False) if isinstance(s, Loop) else s for s in body])


def fill(buffer: int, size: int, value: S.Scalar) -> tuple[Stmt, ...]:
    """One constant all over a buffer."""
    return over("i0", size, (Store(buffer, S.var("i0", size), value),))


def identity(monoid: str, dtype: np.dtype) -> S.Scalar:
    """The neutral element of a monoid: for floating sums -0.0, so that a sum of -0.0 alone stays -0.0."""
    if monoid == "add":
        return S.const(-0.0 if dtype.kind == "f" else 0, dtype)
    if monoid in ("mul", "or"):
        return S.const(int(monoid == "mul"), dtype)
    if dtype.kind == "b":
        return S.const(monoid in ("minimum", "and"), dtype)
    if monoid == "and":
        return S.const(-1 if dtype.kind == "i" else np.iinfo(dtype).max, dtype)
    if dtype.kind == "f":
        return S.const(float("-inf") if monoid == "maximum" else float("inf"), dtype)
    info = np.iinfo(dtype)
    return S.const(int(info.min if monoid == "maximum" else info.max), dtype)


def parts(i: S.Scalar) -> tuple[int, list[tuple[S.Scalar, int]]]:
    """An index as constant and (atom, coefficient) pairs."""
    if i.op is S.LINEAR:
        return i.params[0], list(zip(i.args, i.params[1], strict=True))
    return 0, [(i, 1)]


def coefficient(i: S.Scalar, var: S.Scalar) -> int | None:
    """The factor of `var` in an index, None where it also appears inside another atom."""
    found = 0
    for a, k in parts(i)[1]:
        if a is var:
            found = k
        elif var in walk([a]):
            return None
    return found


def walk(roots: Iterable[S.Scalar]) -> dict[S.Scalar, None]:
    """All Scalars below `roots`, arguments before users."""
    seen: dict[S.Scalar, None] = {}
    stack = list(roots)[::-1]
    while stack:
        x = stack[-1]
        if x in seen:
            stack.pop()
            continue
        todo = [a for a in x.args if a not in seen]
        if todo:
            stack.extend(reversed(todo))
        else:
            seen[x] = None
            stack.pop()
    return seen


def nest(space: Sequence[int], idx: Sequence[S.Scalar], outs: list[Out], checks: list[Check], caps: Caps) -> tuple[Stmt, ...]:
    """The loops over `space` that compute all `outs`; `idx[k]` is the variable of axis k (0 where its extent is 1)."""
    axes = [k for k, n in enumerate(space) if n != 1]
    if len(axes) > 1:
        loops, outs, checks = arranged(space, axes, idx, outs, checks, order)
    else:
        loops = [Axis(f"i{d}", space[k], _reducing(outs, k)) for d, k in enumerate(axes)]
    return Nest(loops, outs, checks, caps).build()


def _reducing(outs: list[Out], axis: int) -> frozenset[int]:
    return frozenset([j for j, o in enumerate(outs) if axis in o.axes])


# ---- which axes become one loop, and in which order -------------------------------------------------------------------

def arranged(space, axes, idx, outs, checks, order_of) -> tuple[list[Axis], list[Out], list[Check]]:
    """Loops over `axes`, outermost first, and what they compute in terms of them; `order_of` says in which order the loops stand."""
    roots = [s for o in outs for s in (o.index, o.value)] + [c.ok for c in checks]
    order = walk(roots)
    axis_of = {idx[k]: k for k in axes}
    forms = _forms(roots, order, axis_of)
    runs = [[axes[0]]]
    for a, b in pairwise(axes):
        fits = all([f.get(a, 0) == f.get(b, 0) * space[b] for f in forms]) and _reducing(outs, a) == _reducing(outs, b)
        runs[-1].append(b) if fits else runs.append([b])
    extents = [int(np.prod([space[k] for k in run], dtype=object)) for run in runs]
    place_of = order_of(runs, extents, order, outs, axis_of)
    runs, extents = [runs[j] for j in place_of], [extents[j] for j in place_of]
    if [r for run in runs for r in run] != axes or len(runs) != len(axes):
        place = {idx[run[-1]]: S.var(f"i{d}", n) for d, (run, n) in enumerate(zip(runs, extents, strict=True))}
        gone = {idx[k]: S.index(0) for run in runs for k in run[:-1]}
        done = rewrite(order, place | gone)
        outs = [Out(o.buffer, done[o.index], done[o.value], o.monoid, o.axes, o.size) for o in outs]
        checks = [Check(done[c.ok], c.code) for c in checks]
    loops = [Axis(f"i{d}", n, _reducing(outs, run[0])) for d, (run, n) in enumerate(zip(runs, extents, strict=True))]
    return loops, outs, checks


def order(runs, extents, order, outs, axis_of) -> list[int]:
    """The order of loops that run one after another: a vector loop innermost."""
    half = next((o for o in outs if o.monoid == "add" and o.value.dtype == np.float16), None)
    if half is not None:                   # float16 sums grow in a float32 carry: what they reduce goes inside
        return sorted(range(len(runs)), key=lambda j: runs[j][0] in half.axes)
    inner = _innermost(runs, extents, order, outs, axis_of)
    return [j for j in range(len(runs)) if j != inner] + [inner]


def _forms(roots, order, axis_of) -> list[dict[int, int]]:
    """Every use of loop variables as {axis: coefficient}."""
    seen: dict[tuple, None] = {}
    for x in order:
        if x.op is S.LINEAR:
            seen[tuple([(axis_of[a], k) for a, k in zip(x.args, x.params[1], strict=True) if a in axis_of])] = None
        else:
            for a in x.args:
                if a in axis_of:
                    seen[((axis_of[a], 1),)] = None
    for r in roots:
        if r in axis_of:
            seen[((axis_of[r], 1),)] = None
    return [dict(f) for f in seen if f]


def scores(runs, order, outs, axis_of) -> list[int]:
    """For every run how many of its strides are 1, less twice the longer ones."""
    indices = [x.args[0] for x in order if x.op is S.LOAD] + [o.index for o in outs]
    score = [0] * len(runs)
    last = {run[-1]: j for j, run in enumerate(runs)}
    for i in indices:
        for a, k in parts(i)[1]:
            if a in axis_of and axis_of[a] in last:
                score[last[axis_of[a]]] += 1 if abs(k) == 1 else -2
    return score


def _innermost(runs, extents, order, outs, axis_of) -> int:
    """The run with the most unit strides and fewest long ones; the last one where they tie."""
    score = scores(runs, order, outs, axis_of)
    best = len(runs) - 1
    for j in range(len(runs) - 1):
        if score[j] > score[best] and (extents[j] >= SHORT or extents[best] < SHORT):
            best = j
    if extents[best] < SHORT and any([o.monoid for o in outs]):
        best = max(range(len(runs)), key=lambda j: (min(extents[j], SHORT), score[j], extents[j], j))
    return best


def rewrite(order: Iterable[S.Scalar], place: dict[S.Scalar, S.Scalar], done: dict | None = None) -> dict[S.Scalar, S.Scalar]:
    """Every Scalar of `order` (arguments first) with the variables in `place` replaced by indices; adds to `done`."""
    done = {} if done is None else done
    for x in order:
        if x in place:
            done[x] = place[x]
        elif not x.args:
            done[x] = x
        elif x.op is S.LINEAR:
            total = S.index(x.params[0])
            for a, k in zip(x.args, x.params[1], strict=True):
                total = S.iadd(total, S.imul(done[a], k))
            done[x] = total
        elif x.op is S.FLOORDIV:
            done[x] = S.ifloordiv(done[x.args[0]], x.params[0])
        elif x.op is S.MOD:
            done[x] = S.imod(done[x.args[0]], x.params[0])
        else:
            args = tuple([done[a] for a in x.args])
            done[x] = x if args == x.args else S.scalar(x.op, args, x.params, x.dtype)
    return done


# ---- the nest -------------------------------------------------------------------------------------------------------

class Nest:
    """Builds the loops from the innermost outwards.

    Sums of more than `2 * block` float32 values go in blocks, with a float64 carry across them where there is float64 and
    `block` is not given, else with a second float32 carry (the error is then that of one block and of the sum of all blocks).
    """

    def __init__(self, loops: list[Axis], outs: list[Out], checks: list[Check], caps: Caps, block: int = 0) -> None:
        self.loops, self.outs, self.checks = loops, outs, checks
        self.wide = not block and ("add", "float64") in caps.scalar_ops and "float64" in caps.dtypes
        self.block = block or (BLOCK if self.wide else 0)
        self.carries = 0
        n = len(loops)
        # suffix[j]: the depth from which all inner loops are reduced by out j (n: none)
        self.suffix, self.whole = [], []
        for j, o in enumerate(outs):
            d = n
            while d and o.monoid and j in loops[d - 1].reduces:
                d -= 1
            self.suffix.append(d)
            self.whole.append(not any([j in a.reduces for a in loops[:d]]))

    def build(self) -> tuple[Stmt, ...]:
        stmts: tuple[Stmt, ...] = ()
        for j, o in enumerate(self.outs):
            if o.monoid and not self.whole[j]:
                stmts += fill(o.buffer, o.size, identity(o.monoid, o.value.dtype))
        n = len(self.loops)
        leaf = self._leaf()
        if not n:
            return stmts + leaf
        totals, body = self._inner(n - 1, leaf)
        for d in range(n - 2, -1, -1):
            body += self._finish(d + 1, totals)
            totals, body = self._level(d, body, totals)
        return stmts + body + self._finish(0, totals)

    def _leaf(self) -> tuple[Stmt, ...]:
        """What one element does, but for the totals that the innermost loop carries."""
        n, run = len(self.loops), list(self.checks)
        for j, o in enumerate(self.outs):
            if o.monoid is None or (self.suffix[j] == n and self.whole[j]):
                run.append(Store(o.buffer, o.index, o.value))
            elif self.suffix[j] == n:
                run.append(Combine(o.buffer, o.index, o.monoid, o.value))
        return tuple(run)

    def _finish(self, d: int, totals: dict[int, S.Scalar]) -> tuple[Stmt, ...]:
        """The totals complete when the loop at depth d has ended."""
        run: list[Stmt] = []
        for j, total in totals.items():
            if self.suffix[j] != d:
                continue
            o = self.outs[j]
            value = S.cast(total, o.value.dtype)
            run.append(Store(o.buffer, o.index, value) if self.whole[j] else Combine(o.buffer, o.index, o.monoid, value))
        return tuple(run)

    def _carry(self, o: Out, wide: bool) -> Carry:
        dtype = o.value.dtype
        if o.monoid == "add" and dtype.kind == "f" and dtype.itemsize < 8:
            dtype = np.dtype("float64") if wide and self.wide else np.dtype("float32")
        self.carries += 1
        return Carry(f"c{self.carries - 1}", o.monoid, dtype)

    def _inner(self, d: int, leaf: tuple[Stmt, ...]) -> tuple[dict[int, S.Scalar], tuple[Stmt, ...]]:
        """The innermost loop: totals of what it reduces, and its statements."""
        axis = self.loops[d]
        reduced = [j for j in sorted(axis.reduces) if self.suffix[j] <= d]
        narrow = any([self.outs[j].monoid == "add" and self.outs[j].value.dtype.name in ("float16", "float32") for j in reduced])
        if narrow and self.block and axis.extent >= 2 * self.block:
            return self._blocks(axis, reduced, leaf)
        loop, totals = self._vector(axis.var, axis.extent, reduced, leaf, None)
        if not reduced and d == 0 and _may_overrun(loop):
            loop = over(axis.var, axis.extent, loop[0].body)
        return totals, loop

    def _vector(self, var, extent, reduced, leaf, place) -> tuple[tuple[Stmt, ...], dict[int, S.Scalar]]:
        """One innermost loop with its own carries; `place` replaces the axis variable."""
        values = {j: self.outs[j].value for j in reduced}
        if place:
            done = rewrite(walk([*values.values(), *_scalars(leaf)]), place)
            values, leaf = {j: done[v] for j, v in values.items()}, _mapped(leaf, done)
        carries = {j: self._carry(self.outs[j], False) for j in reduced}
        run = leaf + tuple([Accumulate(c.name, S.cast(values[j], c.dtype)) for j, c in carries.items()])
        loop = over(var, extent, run, "vector", False, tuple(carries.values()))
        return loop, {j: S.carry(c.name, c.dtype) for j, c in carries.items()}

    def _blocks(self, axis: Axis, reduced, leaf) -> tuple[dict[int, S.Scalar], tuple[Stmt, ...]]:
        """A long sum: blocks of float32 inside, a wider carry across them (the error stays that of one block)."""
        block = self.block
        size = next((s for s in range(2 * block, block // 2, -1) if axis.extent % s == 0), block)
        count, rest = divmod(axis.extent, size)
        old, var = S.var(axis.var, axis.extent), f"{axis.var}b"
        start = S.imul(S.var(axis.var, count), size)
        loop, inner = self._vector(var, size, reduced, leaf, {old: S.iadd(start, S.var(var, size))})
        outer = {j: self._carry(self.outs[j], True) for j in reduced}
        adds = tuple([Accumulate(c.name, S.cast(inner[j], c.dtype)) for j, c in outer.items()])
        stmts = over(axis.var, count, loop + adds, "serial", False, tuple(outer.values()))
        totals = {j: S.carry(c.name, c.dtype) for j, c in outer.items()}
        if rest:
            loop, tail = self._vector(var, rest, reduced, leaf, {old: S.iadd(S.index(count * size), S.var(var, rest))})
            stmts += loop
            totals = {j: S.apply(self.outs[j].monoid, total, S.cast(tail[j], total.dtype)) for j, total in totals.items()}
        return totals, stmts

    def _level(self, d: int, body, totals) -> tuple[dict[int, S.Scalar], tuple[Stmt, ...]]:
        """An outer loop: adds up the inner totals that go on."""
        axis, carries = self.loops[d], {}
        for j, total in totals.items():
            if self.suffix[j] <= d:
                carries[j] = self._carry(self.outs[j], True)
                body += (Accumulate(carries[j].name, S.cast(total, carries[j].dtype)),)
        loop = over(axis.var, axis.extent, body, "serial", False, tuple(carries.values()))
        return {j: S.carry(c.name, c.dtype) for j, c in carries.items()}, loop


def _scalars(stmts: tuple[Stmt, ...]) -> list[S.Scalar]:
    out = []
    for s in stmts:
        out += [s.ok] if isinstance(s, Check) else [s.index, s.value]
    return out


def _mapped(stmts: tuple[Stmt, ...], done: dict[S.Scalar, S.Scalar]) -> tuple[Stmt, ...]:
    out: list[Stmt] = []
    for s in stmts:
        if isinstance(s, Check):
            out.append(Check(done[s.ok], s.code))
        elif isinstance(s, Store):
            out.append(Store(s.buffer, done[s.index], done[s.value]))
        else:
            out.append(Combine(s.buffer, done[s.index], s.monoid, done[s.value]))
    return tuple(out)


def _may_overrun(stmts: tuple[Stmt, ...]) -> bool:
    """Whether running past the end reads and writes padding only."""
    loop = stmts[0]
    if not isinstance(loop, Loop):
        return False
    var = S.var(loop.var, loop.extent)
    if any([not isinstance(s, Store) or s.index is not var for s in loop.body]):
        return False
    for x in walk(_scalars(loop.body)):
        if x.op is not S.LOAD:
            continue
        if len(x.args) > 1:
            return False
        constant, atoms = parts(x.args[0])
        if constant < 0 or any([a is not var or k not in (0, 1) for a, k in atoms]):
            return False
    return True
