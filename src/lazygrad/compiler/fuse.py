"""Fuse: kernels that loop over the same rows become one, row by row, so that a row stays in the cache between them.

In: calls as (kernel, buffers) in order. Out: fewer calls. A later kernel joins an earlier one where all it reads was there
before, or is written by the earlier one in the same row. (softmax, layernorm, cross-entropy: one kernel each.) On a grid
the rows are the outermost grid loop, and the other grid loops become loops of one step where enough steps are left.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from types import MappingProxyType

from ..ir import scalar as S
from ..ir.kernel import Accumulate, Assign, Carry, Check, Combine, Kernel, Loop, Param, Stmt, Store
from ..ir.program import Buffer, Caps
from ..ir.record import changed, record
from . import grid
from .facts import Facts
from .loops import parts, rewrite, walk

MOST = 12            # kernels that become one at most
SHORT = 12           # scalars of a number that is computed again rather than loaded
SMALL = 16           # a total of so many times less work than a kernel over the same rows does not join it
WINDOW = 4           # earlier kernels over equally many rows that a kernel may join


@record
class Piece:
    """A kernel call in the making; `joined` counts the kernels it is made of, `after`: buffers that have to be written before."""

    kernel: Kernel
    buffers: tuple[int, ...]
    joined: int = 1
    after: tuple[int, ...] = ()


@record
class Rows:
    """A kernel seen as statements before, a loop over rows, and statements after."""

    before: tuple[Stmt, ...]
    loop: Loop
    after: tuple[Stmt, ...]


def rows(kernel: Kernel) -> Rows | None:
    """The row form of a kernel, None where it has none: one loop that is no fill, and no loops after it."""
    body = kernel.body
    at = [p for p, s in enumerate(body) if isinstance(s, Loop)]
    if not at or any([not _fills(body[p]) for p in at[:-1]]):
        return None
    last = at[-1]
    if at != list(range(last + 1)):
        return None
    return Rows(body[:last], body[last], body[last + 1:])


def forms(kernel: Kernel, caps: Caps) -> list[Rows]:
    """The row forms of a kernel; a little one on a grid may also be the only row of itself."""
    form = rows(kernel)
    if not caps.grid:
        return [form] if form else []
    own = [form] if form and form.loop.mode == "grid" else []
    if caps.rows and _span(kernel.body) <= grid.LONG and not (own and own[0].loop.var == grid.ONCE):
        own.append(Rows((), Loop(grid.ONCE, 1, "grid", kernel.body), ()))
    return own


def _span(body: tuple[Stmt, ...]) -> int:
    """Steps of the innermost loop of a body, all in all."""
    return max([s.extent * _span(s.body) for s in body if isinstance(s, Loop)], default=1)


def _grids(body: tuple[Stmt, ...]) -> bool:
    return any([isinstance(s, Loop) and s.mode == "grid" for s in body])


def _reduces(body: tuple[Stmt, ...]) -> bool:
    """Whether a row has loops that are no grid loops."""
    return any([isinstance(s, Loop) and (s.mode != "grid" or _reduces(s.body)) for s in body])


def _in_step(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The grid loops of a body as loops of one step."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop) and s.mode == "grid":
            inner = _in_step(s.body)
            s = Loop(s.var, s.extent, "serial" if any([isinstance(x, Loop) for x in inner]) else "vector", inner)
        out.append(s)
    return tuple(out)


def _stepwise(p: Rows, q: Rows, caps: Caps) -> tuple[Rows, Rows] | None:
    """Two row forms on a grid without grid loops inside the rows, None where that leaves too few threads busy."""
    if not (_reduces(p.loop.body) or _reduces(q.loop.body)):
        return None
    inside = [r for r in (p, q) if _grids(r.loop.body)]
    if inside:
        spans = max(_span(p.loop.body), _span(q.loop.body))
        if not grid.enough(p.loop.extent, spans, caps) or (caps.rows and any([_reduces(r.loop.body) for r in inside])):
            return None
    return tuple([changed(r, loop=changed(r.loop, body=_in_step(r.loop.body), overrun=False)) for r in (p, q)])


def _fills(loop: Loop) -> bool:
    return len(loop.body) == 1 and isinstance(loop.body[0], Store) and loop.body[0].value.op is S.CONST


def statements(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """All statements that are not loops."""
    for s in body:
        if isinstance(s, Loop):
            yield from statements(s.body)
        else:
            yield s


def scalars(s: Stmt) -> tuple[S.Scalar, ...]:
    """The scalars of a statement that is no loop."""
    if isinstance(s, Check):
        return (s.ok,)
    return (s.value,) if isinstance(s, Accumulate | Assign) else (s.index, s.value)


def loads(body: tuple[Stmt, ...]) -> list[S.Scalar]:
    return [x for x in walk([x for s in statements(body) for x in scalars(s)]) if x.op is S.LOAD]


def in_row(i: S.Scalar, var: S.Scalar, mixed: bool = False) -> int:
    """k where index i is k * var plus something in [0, k), else 0: the element belongs to row `var`.

    Where `mixed`, that something may depend on the row (a column that data decides).
    """
    if var.op is not S.VAR:                     # one row: everything is of it
        return 1
    k = dict(parts(i)[1]).get(var, 0)
    if k <= 0:
        return 0
    rest = S.iadd(i, S.imul(var, -k))
    span = Facts().range(rest)
    return k if span is not None and span[0] >= 0 and span[1] < k and (mixed or var not in walk([rest])) else 0


def join(a: Piece, b: Piece, caps: Caps) -> Piece | None:
    """`b` after `a`, row by row, None where b may not or need not run so."""
    if a.joined + b.joined > MOST or not set(a.buffers) & set(b.buffers):
        return None
    for p in forms(a.kernel, caps):
        for q in forms(b.kernel, caps):
            if (p.loop.var, p.loop.extent) == (q.loop.var, q.loop.extent):
                if not caps.grid and (_small_total(a, p, b) or _small_total(b, q, a)):
                    return None
                return _joined(a, p, b, q, caps)
    return None


def _totals(form: Rows) -> bool:
    """Whether a kernel adds up over its rows."""
    return any([isinstance(s, (Store, Combine)) for s in form.after])


def _small_total(a: Piece, p: Rows, b: Piece) -> bool:
    """Whether `a` adds up over the rows, in a fraction of b's work, and neither reads the other's results.

    Such a total (of weights, of targets that count) stays alone: kernels over the same rows may join b and still read it.
    """
    if a.kernel.work * SMALL > b.kernel.work or not _totals(p):
        return False
    written = [{k.buffers[n] for n, prm in enumerate(k.kernel.params) if prm.writes} for k in (a, b)]
    return written[0].isdisjoint(b.buffers) and written[1].isdisjoint(a.buffers)


def _joined(a: Piece, p: Rows, b: Piece, q: Rows, caps: Caps) -> Piece | None:
    if caps.grid:
        steps = _stepwise(p, q, caps)
        if steps is None:
            return None
        p, q = steps
    if not any([isinstance(s, Loop) for s in (*p.loop.body, *q.loop.body)]) or not _legal(a, p, b, q):
        return None
    numbers = {buffer: k for k, buffer in enumerate(a.buffers)}
    for buffer in b.buffers:
        numbers.setdefault(buffer, len(numbers))
    names = {c: f"c{k + _carries(a.kernel)}" for k, c in enumerate(_carry_names(b.kernel.body))}
    body = _renamed((*q.before, q.loop, *q.after), [numbers[buffer] for buffer in b.buffers], names)
    q = Rows(body[:len(q.before)], body[len(q.before)], body[len(q.before) + 1:])
    inside = _forwarded(p.loop.body, q.loop.body, caps.grid)
    if inside is None:
        return None
    loop = Loop(p.loop.var, p.loop.extent, "grid" if caps.grid else "serial", p.loop.body + inside, p.loop.carries + q.loop.carries)
    dtypes = {n: prm for n, prm in zip(range(len(a.buffers)), a.kernel.params, strict=True)}
    for buffer, prm in zip(b.buffers, b.kernel.params, strict=True):
        n = numbers[buffer]
        dtypes[n] = Param(prm.dtype, prm.writes or (n in dtypes and dtypes[n].writes))
    kernel = Kernel(tuple([dtypes[n] for n in range(len(numbers))]), p.before + q.before + (loop,) + p.after + q.after,
                    a.kernel.work + b.kernel.work)
    return Piece(kernel, tuple(numbers), a.joined + b.joined, (*a.after, *b.after))


def _legal(a: Piece, p: Rows, b: Piece, q: Rows) -> bool:
    """Whether what b reads of a's results is of the same row."""
    written = {a.buffers[k] for k, prm in enumerate(a.kernel.params) if prm.writes}
    mine = {k for k, buffer in enumerate(b.buffers) if buffer in written}
    if any([b.kernel.params[k].writes for k in mine]):
        return False
    if not mine:
        return True
    if any([x.params[0] in mine for x in loads(q.before) + loads(q.after)]):
        return False
    var, mixed = S.var(p.loop.var, p.loop.extent), p.loop.mode == "grid"
    sizes: dict[int, set[int]] = {}
    for s in statements(p.before + p.after):
        if isinstance(s, (Store, Combine)):
            sizes.setdefault(a.buffers[s.buffer], set()).add(0)
    for s in statements(p.loop.body):
        if isinstance(s, (Store, Combine)):
            sizes.setdefault(a.buffers[s.buffer], set()).add(in_row(s.index, var, mixed))
    for x in loads(q.loop.body):
        if x.params[0] in mine:
            sizes[b.buffers[x.params[0]]].add(in_row(x.args[0], var, mixed))
    return all([len(ks) == 1 and 0 not in ks for buffer, ks in sizes.items() if buffer in {b.buffers[k] for k in mine}])


def _forwarded(first: tuple[Stmt, ...], second: tuple[Stmt, ...], loops: bool) -> tuple[Stmt, ...] | None:
    """`second` with the numbers that `first` has just stored for this row instead of loads of them; in its loops too where `loops`.

    Statements beside each other are computed before any is written, so such a load would come too early.
    """
    known = {(s.buffer, s.index): s.value for s in first if isinstance(s, Store)}
    written = {s.buffer for s in first if isinstance(s, (Store, Combine))}
    flat = [s for s in second if not isinstance(s, Loop)]
    done: dict[S.Scalar, S.Scalar] = {}
    for x in walk([x for s in flat for x in scalars(s)]):
        if x.op is S.LOAD and x.params[0] in written:
            value = known.get((x.params[0], x.args[0]))
            if value is None or len(x.args) > 1:
                return None
            done[x] = value
        else:
            rewrite([x], {}, done)
    out = [s if isinstance(s, Loop) else _mapped(s, done) for s in second]
    if not loops:
        return tuple(out)
    short = {key: value for key, value in known.items() if (below := walk([value])) and len(below) <= SHORT and not any([x.op is S.LOAD for x in below])}
    inner: dict[S.Scalar, S.Scalar] = {}
    for x in walk([x for s in statements(tuple([s for s in second if isinstance(s, Loop)])) for x in scalars(s)]):
        value = short.get((x.params[0], x.args[0])) if x.op is S.LOAD and len(x.args) == 1 else None
        if value is None:
            rewrite([x], {}, inner)
        else:
            inner[x] = value
    return tuple([_within(s, inner) if isinstance(s, Loop) else s for s in out])


def _within(loop: Loop, done: dict[S.Scalar, S.Scalar]) -> Loop:
    return changed(loop, body=tuple([_within(s, done) if isinstance(s, Loop) else _mapped(s, done) for s in loop.body]))


def without_dead(piece: Piece, droppable: set[int]) -> Piece:
    """The call without stores into the buffers `droppable` that it does not read itself."""
    read = {x.params[0] for x in loads(piece.kernel.body)} | {s.buffer for s in statements(piece.kernel.body) if isinstance(s, Combine)}
    dead = {k for k, b in enumerate(piece.buffers) if b in droppable and k not in read}
    if not dead:
        return piece
    left = [k for k in range(len(piece.buffers)) if k not in dead]

    def kept(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        out = [changed(s, body=kept(s.body)) if isinstance(s, Loop) else s for s in body if not (isinstance(s, Store) and s.buffer in dead)]
        return tuple([s for s in out if not isinstance(s, Loop) or s.body])

    names = {c: c for c in _carry_names(piece.kernel.body)}
    numbers = {k: n for n, k in enumerate(left)}
    body = _renamed(kept(piece.kernel.body), [numbers.get(k, -1) for k in range(len(piece.buffers))], names)
    kernel = Kernel(tuple([piece.kernel.params[k] for k in left]), body, piece.kernel.work)
    return changed(piece, kernel=kernel, buffers=tuple([piece.buffers[k] for k in left]))


def _mapped(s: Stmt, done: dict[S.Scalar, S.Scalar]) -> Stmt:
    if isinstance(s, Check):
        return Check(done[s.ok], s.code)
    if isinstance(s, Accumulate):
        return Accumulate(s.carry, done[s.value])
    return changed(s, index=done[s.index], value=done[s.value])


def _carry_names(body: tuple[Stmt, ...]) -> list[str]:
    out: list[str] = []
    for s in body:
        if isinstance(s, Loop):
            out += [c.name for c in s.carries] + _carry_names(s.body)
    return out


def _carries(kernel: Kernel) -> int:
    return 1 + max([int(c[1:]) for c in _carry_names(kernel.body)], default=-1)


def _renamed(body: tuple[Stmt, ...], numbers: list[int], names: dict[str, str]) -> tuple[Stmt, ...]:
    """The statements over other buffer numbers and carry names."""
    done: dict[S.Scalar, S.Scalar] = {}
    for x in walk([x for s in statements(body) for x in scalars(s)]):
        if x.op is S.LOAD:
            done[x] = S.scalar(S.LOAD, tuple([done[i] for i in x.args]), (numbers[x.params[0]],), x.dtype)
        elif x.op is S.CARRY:
            done[x] = S.carry(names[x.params[0]], x.dtype)
        else:
            rewrite([x], {}, done)

    def copy(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                carries = tuple([Carry(names[c.name], c.monoid, c.dtype) for c in s.carries])
                out.append(changed(s, body=copy(s.body), carries=carries))
            elif isinstance(s, Accumulate):
                out.append(Accumulate(names[s.carry], done[s.value]))
            elif isinstance(s, Check):
                out.append(_mapped(s, done))
            else:
                out.append(changed(_mapped(s, done), buffer=numbers[s.buffer]))
        return tuple(out)
    return copy(body)


def fuse(steps: list, traffic, caps: Caps, temps: Set[int] = frozenset(), over: Mapping[int, int] = MappingProxyType({})) -> list:
    """The steps with row kernels joined to earlier ones. `traffic(step)`: (buffers read, buffers written) of a step.

    On a grid: `temps`, the buffers that need not be written where no step reads them any more; `over`, {result: buffer
    that it should overwrite}: a kernel of such a result joins none that stands before another reader of that buffer.
    """
    reader: dict[int, int] = {}                 # buffer -> last position in `out` of a step that reads it
    out: list = []
    steps = steps if caps.grid else totals_first(steps, traffic)
    users = Counter([b for s in steps for b in {*itertools.chain(*traffic(s))}]) if temps else Counter()
    writers: dict[int, list[int]] = {}          # buffer -> positions in `out` of the steps that write it
    latest: dict[int, list[int]] = {}           # rows -> positions of the last kernels over so many rows

    def place(step, limit: int) -> int | None:
        """The position below `limit` of the kernel that `step` has joined, None where it joined none."""
        reads, writes = traffic(step)
        oldest = max([at for b in reads for at in writers.get(b, ()) if at < limit], default=-1)      # its own stand at `limit`
        targets = [over[b] for b in writes if b in over]
        if targets:
            oldest = max([oldest, *[reader.get(b, -1) + 1 for b in targets]])
        for form in forms(step.kernel, caps):
            for at in reversed(latest.get(form.loop.extent, ())):
                joined = join(out[at], step, caps) if oldest <= at < limit else None
                if joined is None:
                    continue
                both = set(out[at].buffers) & set(step.buffers)
                joined = without_dead(joined, {b for b in joined.buffers if b in temps and users[b] - (b in both) == 1})
                if len(joined.buffers) <= caps.max_buffers:
                    users.subtract(both)
                    reader.update({b: max(at, reader.get(b, -1)) for b in joined.buffers})
                    joined = changed(joined, joined=MOST) if targets else joined
                    out[at] = joined
                    for b in writes:
                        writers[b] = [p for p in writers.get(b, ()) if p != limit] + [at]
                    return at
        return None

    for step in steps:
        at = place(step, len(out)) if isinstance(step, Piece) else None
        if at is None:
            for b in traffic(step)[1]:
                writers.setdefault(b, []).append(len(out))
            reader.update(dict.fromkeys(traffic(step)[0], len(out)))
            for form in forms(step.kernel, caps) if isinstance(step, Piece) else ():
                near = latest.setdefault(form.loop.extent, [])
                near.append(len(out))
                del near[:-WINDOW]
            out.append(step)
        while at is not None:                   # what has grown may now fit to an earlier one
            grown, was = out[at], at
            at = place(grown, at)
            if at is not None:
                out[was] = None
                for near in latest.values():
                    if was in near:
                        near.remove(was)
    return [s for s in out if s is not None]


def totals_first(steps: list, traffic) -> list:
    """The steps with small totals before kernels of much more work that they do not depend on: what is read of all rows is then there."""
    out: list = []
    for step in steps:
        at = len(out)
        form = rows(step.kernel) if isinstance(step, Piece) else None
        if form is not None and _totals(form):
            reads, writes = traffic(step)
            mine = {*reads, *writes, *step.after}
            for k in range(len(out) - 1, max(len(out) - 1 - WINDOW, -1), -1):
                before = out[k]
                if not isinstance(before, Piece) or not mine.isdisjoint(traffic(before)[1]) or not set(writes).isdisjoint(traffic(before)[0]):
                    break
                if before.kernel.work >= SMALL * step.kernel.work:
                    at = k
        out.insert(at, step)
    return out


def reuse(piece: Piece, buffers: list[Buffer], private: set[int]) -> Piece:
    """Temporaries of this call alone lie in a buffer that the call writes later anyway, at the same elements.

    `private`: the buffers that no other step touches.
    """
    form = rows(piece.kernel) if piece.joined > 1 else None
    if form is None:
        return piece
    uses: dict[int, list[_Use]] = {}
    for n, s in enumerate(form.loop.body):
        flat = isinstance(s, Loop) and not any([isinstance(x, Loop) for x in s.body])
        for x in loads((s,)):
            uses.setdefault(x.params[0], []).append(_Use(n, x.args[0], False))
        for x in statements((s,)):
            if isinstance(x, (Store, Combine)):
                uses.setdefault(x.buffer, []).append(_Use(n, x.index, flat and isinstance(x, Store)))
    outside = {x.params[0] for x in loads(form.before + form.after)}
    outside |= {x.buffer for x in statements(form.before + form.after) if isinstance(x, (Store, Combine))}
    var = S.var(form.loop.var, form.loop.extent)
    new, taken = list(piece.buffers), set()
    for t in sorted(uses.keys() - outside):
        mine = buffers[piece.buffers[t]]
        if t in taken or mine.kind != "temp" or piece.buffers[t] not in private or not piece.kernel.params[t].writes:
            continue
        for u in sorted(uses.keys() - outside - taken - {t}):
            other = buffers[piece.buffers[u]]
            alike = other.kind != "input" and other.aval.dtype == mine.aval.dtype and other.aval.size == mine.aval.size
            if alike and piece.kernel.params[u].writes and new[u] == piece.buffers[u] and _after(uses[t], uses[u], var):
                new[t] = new[u]
                taken |= {t, u}
                break
    return changed(piece, buffers=tuple(new))


@record
class _Use:
    """A buffer's element touched in statement `at` of a row; `stores`: by a store in an innermost loop there."""

    at: int
    index: S.Scalar
    stores: bool


def _after(t: list[_Use], u: list[_Use], var: S.Scalar) -> bool:
    """Whether u is first written when t is last read, or later, both within their row."""
    spans = {in_row(x.index, var) for x in t + u}
    if len(spans) != 1 or 0 in spans:
        return False
    end, start = max([x.at for x in t]), min([x.at for x in u])
    if start != end:
        return start > end
    there = {x.index for x in t if x.at == end} | {x.index for x in u if x.at == end}
    # at the same statement u's store must come after all of t: a store of t there could land last
    return len(there) == 1 and all([x.stores for x in u if x.at == end]) and not any([x.stores for x in t if x.at == end])
