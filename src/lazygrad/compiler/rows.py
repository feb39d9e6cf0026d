"""Rows: what a kernel has just stored for a row is used as it is, and temporaries that only it knows hold one row, not all.

In: a call whose buffers have their numbers, and which of them no other step touches. Out: a call that moves fewer bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from ..ir import scalar as S
from ..ir.aval import Aval, aval
from ..ir.kernel import Check, Combine, Loop, Stmt, Store
from ..ir.program import ALIGN
from ..ir.record import changed
from . import loops
from .fuse import Piece, in_row, statements
from .loops import walk


def scalars(s: Stmt) -> tuple[S.Scalar, ...]:
    """The scalars of a statement; of a loop its starts and its test."""
    if isinstance(s, Loop):
        return (*[c.start for c in s.states], *([s.test] if s.test is not None else []))
    return (s.ok,) if isinstance(s, Check) else (s.index, s.value) if isinstance(s, Store | Combine) else (s.value,)


def mapped(body: Sequence[Stmt], done: dict[S.Scalar, S.Scalar]) -> tuple[Stmt, ...]:
    """Statements with their scalars replaced."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            states = tuple([changed(c, start=done[c.start]) for c in s.states])
            s = changed(s, body=mapped(s.body, done), states=states, test=None if s.test is None else done[s.test])
        elif isinstance(s, Check):
            s = changed(s, ok=done[s.ok])
        elif isinstance(s, Store | Combine):
            s = changed(s, index=done[s.index], value=done[s.value])
        else:
            s = changed(s, value=done[s.value])
        out.append(s)
    return tuple(out)


def below(body: Sequence[Stmt]) -> list[S.Scalar]:
    """All scalars of statements and of the loops among them."""
    found, todo = [], list(body)
    for s in todo:
        todo += s.body if isinstance(s, Loop) else ()
        found += scalars(s)
    return found


# ---- numbers of a row -------------------------------------------------------------------------------------------------

def forwarded(piece: Piece, private: Collection[int]) -> Piece:
    """Loads of a number that was stored for the same row before become that number; stores that nobody reads any more go.

    `private`: the buffers that no other step touches.
    """
    writes = {b for b, p in zip(piece.buffers, piece.kernel.params, strict=True) if p.writes}
    body = list(piece.kernel.body)
    for n, s in enumerate(body):
        if isinstance(s, Loop) and not s.states and {Loop, Store} <= {type(x) for x in s.body}:
            body[n] = changed(s, body=_row(s.body, piece.buffers, writes))
    if body == list(piece.kernel.body):
        return piece
    return _without_dead(changed(piece, kernel=changed(piece.kernel, body=tuple(body))), private)


def _row(body: tuple[Stmt, ...], buffers: tuple[int, ...], writes: set[int]) -> tuple[Stmt, ...]:
    """One row: runs of statements and loops in their order."""
    known: dict[tuple[int, S.Scalar], S.Scalar] = {}
    out: list[Stmt] = []
    run: list[Stmt] = []

    def replaced(stmts: list[Stmt]) -> tuple[Stmt, ...]:
        if not known:
            return tuple(stmts)
        done: dict[S.Scalar, S.Scalar] = {}
        for x in walk(below(stmts)):
            value = known.get((buffers[x.params[0]], x.args[0])) if x.op is S.LOAD and len(x.args) == 1 else None
            if value is not None:
                done[x] = value
            else:
                loops.rewrite([x], {}, done)
        return mapped(stmts, done)

    def forget(stmts: Sequence[Stmt]) -> None:
        gone = {buffers[x.buffer] for x in statements(tuple(stmts)) if isinstance(x, Store | Combine)}
        for key in [k for k in known if k[0] in gone]:
            del known[key]

    for s in (*body, None):
        if s is not None and not isinstance(s, Loop):
            run.append(s)
            continue
        if run:                                    # values of a run are computed before its stores
            new = replaced(run)
            forget(new)
            stores = [x for x in new if isinstance(x, Store)]
            for x in stores:
                alone = sum([buffers[y.buffer] == buffers[x.buffer] for y in stores]) == 1
                alone = alone and x.value.dtype != np.float16              # which is rounded when it is stored
                if alone and not any([y.op is S.LOAD and buffers[y.params[0]] in writes for y in walk([x.index, x.value])]):
                    known[buffers[x.buffer], x.index] = x.value
            out += new
            run = []
        if s is not None:
            forget((s,))
            out += replaced([s])
    return tuple(out)


def _without_dead(piece: Piece, private: Collection[int]) -> Piece:
    """The call without stores into private buffers that nobody reads."""
    read = {piece.buffers[x.params[0]] for x in walk(below(piece.kernel.body)) if x.op is S.LOAD}
    read |= {piece.buffers[s.buffer] for s in statements(piece.kernel.body) if isinstance(s, Combine)}
    dead = {k for k, b in enumerate(piece.buffers) if b in private and b not in read}
    if not dead:
        return piece

    def kept(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        out = [changed(s, body=kept(s.body)) if isinstance(s, Loop) else s for s in body if not (isinstance(s, Store) and s.buffer in dead)]
        return tuple([s for s in out if not isinstance(s, Loop) or s.body])

    return renumbered(piece, kept(piece.kernel.body), [k for k in range(len(piece.buffers)) if k not in dead])


def renumbered(piece: Piece, body: tuple[Stmt, ...], left: list[int]) -> Piece:
    """The call with `body`, over those of its parameters that are left."""
    number = {k: n for n, k in enumerate(left)}
    done: dict[S.Scalar, S.Scalar] = {}
    for x in walk(below(body)):
        if x.op is S.LOAD:
            done[x] = S.scalar(S.LOAD, tuple([done[i] for i in x.args]), (number[x.params[0]],), x.dtype)
        else:
            loops.rewrite([x], {}, done)

    def copy(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple([changed(s, body=copy(s.body)) if isinstance(s, Loop) else changed(s, buffer=number[s.buffer])
                      if isinstance(s, Store | Combine) else s for s in body])

    kernel = changed(piece.kernel, params=tuple([piece.kernel.params[k] for k in left]), body=copy(mapped(body, done)))
    return changed(piece, kernel=kernel, buffers=tuple([piece.buffers[k] for k in left]))


# ---- temporaries of a row ---------------------------------------------------------------------------------------------

def stride(size: int, dtype: np.dtype) -> int:
    """Elements from one part of a temporary to the next: whole lines of memory, so that no two threads write into one."""
    line = ALIGN // dtype.itemsize
    return -(-size // line) * line


def narrowed(loop: Loop, elsewhere: Sequence[Stmt], buffers: list[int], avals: Sequence[Aval], private: Collection[int],
             temporary: Callable[[Aval], int]) -> Loop:
    """The loop over rows with a row for every chunk (one, without chunks) in the place of temporaries; changes `buffers`.

    `elsewhere`: the other statements of the kernel.
    """
    var = S.var(loop.var, loop.extent)
    outside = {buffers[x.params[0]] for x in walk(below(elsewhere)) if x.op is S.LOAD}
    outside |= {buffers[s.buffer] for s in statements(tuple(elsewhere)) if isinstance(s, Store | Combine)}
    touched: dict[int, list[S.Scalar]] = {}
    for x in walk(below(loop.body)):
        if x.op is S.LOAD:
            touched.setdefault(buffers[x.params[0]], []).append(x.args[0])
    stored = [s for s in statements(loop.body) if isinstance(s, Store | Combine)]
    for s in stored:
        touched.setdefault(buffers[s.buffer], []).append(s.index)
    combined = {buffers[s.buffer] for s in stored if isinstance(s, Combine)}
    chunks = -(-loop.extent // loop.grain) if loop.grain else 1
    chunk = S.ifloordiv(var, loop.grain) if loop.grain else S.index(0)
    step: dict[int, tuple[int, int]] = {}                    # parameter: (elements of a row, from part to part)
    for b in {buffers[s.buffer] for s in stored} & set(private) - outside - combined:
        sizes = {in_row(i, var) for i in touched[b]}
        own = [p for p, c in enumerate(buffers) if c == b]
        size, dtype = next(iter(sizes)), avals[own[0]].dtype
        apart = stride(size, dtype)
        if len(sizes) > 1 or not size or chunks * apart * 2 > avals[own[0]].size or len({avals[p] for p in own}) > 1:
            continue
        new = temporary(aval((chunks, apart), dtype))
        for p in own:
            buffers[p] = new
            step[p] = size, apart
    if not step:
        return loop

    def moved(p: int, i: S.Scalar) -> S.Scalar:
        size, apart = step[p]
        return S.iadd(S.iadd(i, S.imul(var, -size)), S.imul(chunk, apart))

    done: dict[S.Scalar, S.Scalar] = {}
    for x in walk(below(loop.body)):
        if x.op is S.LOAD and x.params[0] in step:
            done[x] = S.load(x.params[0], moved(x.params[0], done[x.args[0]]), x.dtype, *[done[m] for m in x.args[1:]])
        else:
            loops.rewrite([x], {}, done)

    def placed(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                s = changed(s, body=placed(s.body))
            elif isinstance(s, Store) and s.buffer in step:
                s = changed(s, index=moved(s.buffer, s.index))
            out.append(s)
        return tuple(out)

    return changed(loop, body=placed(mapped(loop.body, done)))
