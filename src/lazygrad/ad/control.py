"""Derivatives of control flow: each is control flow again, over the derivatives of the bodies.

Forward: the same loop over values and tangents. Reverse: of a branch, a branch; of a scan, a scan from the other end over the
carries that every step began with, which recomputes the step; a scan whose carries would take too much memory is cut into
segments that keep only where they begin. `loops` has the reverse of while loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dtypes import bool_
from ..ir.aval import Aval, aval
from ..ir.function import Body
from ..ir.term import Term, substitute, toposort
from ..prims import elementwise as E
from ..prims import movement as M
from ..prims.base import Contraction, Convolution, Host, Pick, Several
from ..prims.control import cond, picked, register_rules, scan
from ..prims.leaf import closed, filled, leaf, source
from .jvp import jvp
from .masks import shown
from .vjp import vjp

SCRATCH = -(1 << 43)              # slots of Terms that stand for tangents and cotangents until a Body is closed
THIN = 16                         # terms of a product that is rather made again than kept
MOST = 32 << 20                   # bytes of carries that the reverse of one scan keeps


def stand_ins(avals: Sequence, first: int = 0) -> list[Term]:
    """Source Terms of these types, to become parameters of a Body."""
    return [leaf(SCRATCH - first - k, None, av, True) for k, av in enumerate(avals)]


def zero(t: Term) -> Term:
    return filled(t.aval, 0)


# ---- bodies ---------------------------------------------------------------------------------------------------------

def pushed(body: Body, active: Sequence[bool]) -> tuple[list[Term], list[Term | None]]:
    """(stand-ins for the tangents of the active parameters, the tangent of every result)."""
    moving = [p for p, a in zip(body.params, active, strict=True) if a]
    tangents = stand_ins([p.aval for p in moving])
    return tangents, jvp(body.results, dict(zip(moving, tangents, strict=True)))


def pulled(body: Body, cts: Sequence[bool], wanted: Sequence[bool], masks: Sequence[Term | None] = ()) -> tuple[list[Term], list[Term | None]]:
    """(stand-ins for the cotangents of results where `cts`, the cotangent of every wanted parameter and None for the others).

    `masks`: for every one of those cotangents the mask outside which it is zero, or None; stand-ins for the masks follow those for
    the cotangents, and nothing comes from outside of them (`ad.masks`).
    """
    results = chosen(body.results, cts)
    given = stand_ins([r.aval for r in results])
    marks = stand_ins([aval(c.aval.shape, bool_) for c, m in zip(given, masks, strict=False) if m is not None], len(given))
    mark = iter(marks)
    inside = [c if m is None else E.select(next(mark), c, 0) for c, m in zip(given, masks or [None] * len(given), strict=True)]
    asked = chosen(body.params, wanted)
    return [*given, *marks], spread(vjp(results, inside, asked, inside=True), wanted)


def inexact(ts: Sequence[Term]) -> list[bool]:
    return [t.aval.inexact for t in ts]


def chosen(items: Sequence, flags: Sequence[bool]) -> list:
    return [x for x, f in zip(items, flags, strict=True) if f]


def spread(items: Sequence, flags: Sequence[bool]) -> list:
    """The items at the places of true flags, None elsewhere."""
    of = iter(items)
    return [next(of) if f else None for f in flags]


# ---- cond -----------------------------------------------------------------------------------------------------------

def _cond_jvp(ts: Sequence[Term | None], out: Term, index: Term, *args: Term, branches: tuple[Body, ...]) -> list[Term | None]:
    active = [t is not None for t in ts[1:]]
    halves = [pushed(b, active) for b in branches]
    alive = [any([h[1][j] is not None for h in halves]) for j in range(len(branches[0].results))]
    made = []
    for b, (tangents, moved) in zip(branches, halves, strict=True):
        made.append(closed([*b.params, *tangents], [zero(r) if t is None else t for r, t in chosen(list(zip(b.results, moved, strict=True)), alive)]))
    return spread(picked(cond(index, *args, *chosen(ts[1:], active), branches=tuple(made))), alive)


def _cond_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], out: Term, index: Term, *args: Term, branches: tuple[Body, ...]) -> list[Term | None]:
    have = [c is not None for c in cts]
    masks = [shown(c) for c in chosen(cts, have)]
    halves = [pulled(b, have, wanted[1:], masks) for b in branches]
    alive = [any([h[1][j] is not None for h in halves]) for j in range(len(args))]
    made = []
    for b, (given, found) in zip(branches, halves, strict=True):
        made.append(closed([*b.params, *given], [zero(p) if c is None else c for p, c in chosen(list(zip(b.params, found, strict=True)), alive)]))
    return [None, *spread(picked(cond(index, *args, *chosen(cts, have), *[m for m in masks if m is not None], branches=tuple(made))), alive)]


# ---- scan -----------------------------------------------------------------------------------------------------------

def _scan_jvp(ts: Sequence[Term | None], out: Term, *args: Term, body: Body, consts: int, carries: int, length: int,
              reverse: bool) -> list[Term | None]:
    n = consts + carries
    active = [t is not None for t in ts]
    while True:                                              # a carry moves if it starts moving or a step makes it move
        tangents, moved = pushed(body, active)
        more = [a or m is not None for a, m in zip(active[consts:n], moved[:carries], strict=True)]
        if more == active[consts:n]:
            break
        active[consts:n] = more
    start = [zero(a) if t is None else t for a, t in chosen(list(zip(args[consts:n], ts[consts:n], strict=True)), active[consts:n])]
    given = [chosen(ts[:consts], active[:consts]), start, chosen(ts[n:], active[n:])]
    sizes = [sum(active[:consts]), sum(active[consts:n])]
    tc, tk, tx = tangents[:sizes[0]], tangents[sizes[0]:sum(sizes)], tangents[sum(sizes):]
    alive = [m is not None for m in moved[carries:]]
    p = body.params
    step = closed([*p[:consts], *tc, *p[consts:n], *tk, *p[n:], *tx],
                  [*body.results[:carries], *[zero(r) if t is None else t for r, t in chosen(list(zip(body.results[:carries], moved[:carries], strict=True)), active[consts:n])],
                   *body.results[carries:], *chosen(moved[carries:], alive)])
    found = picked(scan(*args[:consts], *given[0], *args[consts:n], *given[1], *args[n:], *given[2], body=step,
                        consts=consts + len(tc), carries=carries + len(tk), length=length, reverse=reverse))
    ys = len(body.results) - carries
    return [*spread(found[carries:carries + len(tk)], active[consts:n]), *spread(found[carries + len(tk) + ys:], alive)]


def _scan_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], out: Term, *args: Term, body: Body, consts: int, carries: int,
              length: int, reverse: bool) -> list[Term | None]:
    n = consts + carries
    if length == 0:
        return [None] * consts + [c if w else None for c, w in zip(cts[:carries], wanted[consts:n], strict=True)] + [None] * (len(args) - n)
    if length * sum([a.aval.nbytes for a in args[consts:n]]) > MOST and length > 3:
        return _segmented_vjp(cts, wanted, *args, body=body, consts=consts, carries=carries, length=length, reverse=reverse)
    # which parameters of the body get a cotangent: those wanted, and the carries that steps hand on
    asked = [*wanted[:consts], *inexact(args[consts:n]), *wanted[n:]]
    asked = [a and p.aval.inexact for a, p in zip(asked, body.params, strict=True)]
    kept = asked[consts:n]
    have = [*kept, *[c is not None for c in cts[carries:]]]
    masks = [None if c is None else shown(c) for c in chosen(cts, have)]      # of a carry: from step to step
    given, found = pulled(body, have, asked, masks)
    sums = [a and c is not None for a, c in zip(asked[:consts], found[:consts], strict=True)]      # constants add up over the steps
    slices = [a and c is not None for a, c in zip(asked[n:], found[n:], strict=True)]
    started = [zero(a) if c is None else c for a, c in chosen(list(zip(args[consts:n], cts[:carries], strict=True)), kept)]
    totals = stand_ins([p.aval for p in chosen(body.params[:consts], sums)], len(given))
    after = [zero(p) if c is None else c for p, c in chosen(list(zip(body.params[consts:n], found[consts:n], strict=True)), kept)]
    added = [E.plus(t, c) for t, c in zip(totals, chosen(found[:consts], sums), strict=True)]
    k = sum(kept)
    marked = [m for m in masks[:k] if m is not None]
    marks, of_ys = given[len(masks):len(masks) + len(marked)], given[len(masks) + len(marked):]
    moved = [shown(c) or filled(m.aval, True) for c, m in zip(after, masks[:k], strict=True) if m is not None]
    p = body.params
    results = [*after, *added, *moved, *chosen(found[n:], slices)]
    dear = _dear(body, results, consts, MOST // length)
    saved = stand_ins([d.aval for d in dear], len(given) + len(totals))
    # every step reads: constants; (cotangents of the carries, sums so far); carries it began with, what was saved of it, entries of xs,
    # cotangents of ys
    step = closed([*p[:consts], *given[:k], *totals, *marks, *p[consts:n], *saved, *p[n:], *given[k:len(masks)], *of_ys],
                  substitute(results, dict(zip(dear, saved, strict=True))))
    began = _began(args, body, dear, consts, carries, length, reverse)
    out_ = picked(scan(*args[:consts], *started, *[filled(t.aval, 0) for t in totals], *marked, *began, *args[n:], *chosen(cts[carries:], have[carries:]),
                       *[m for m in masks[k:] if m is not None], body=step, consts=consts, carries=k + len(totals) + len(marked), length=length, reverse=not reverse))
    return [*spread(out_[k:k + len(totals)], sums), *spread(out_[:k], kept), *spread(out_[k + len(totals) + len(marked):], slices)]


def _dear(body: Body, results: Sequence[Term], consts: int, room: int) -> list[Term]:
    """What `results` read of a step that is not worth doing again: products, what NumPy does, loops; of `room` bytes in all."""
    changing: dict[Term, bool] = {}
    first = set(body.params[:consts])
    for t in toposort(body.results):
        changing[t] = t not in first if t.op is source else any([changing[a] for a in t.args])
    found: dict[Term, None] = {}
    seen: set[Term] = set()
    todo = list(results)
    while todo:
        t = todo.pop()
        if t in seen:
            continue
        seen.add(t)
        low = t.op.lowering
        dear = isinstance(low, Host | Pick | Convolution) or (isinstance(low, Contraction) and t.args[0].aval.shape[-1] > THIN)
        if dear and changing.get(t) and t.aval.nbytes <= room:
            found[t] = None
            room -= t.aval.nbytes
        else:
            todo += t.args
    return list(found)


def _began(args: Sequence[Term], body: Body, dear: Sequence[Term], consts: int, carries: int, length: int, reverse: bool) -> list[Term]:
    """The carries that every step of a scan began with, and what is saved of it, stacked. (The compiler joins this scan with the one
    that it repeats.)
    """
    n = consts + carries
    kept = closed(body.params, [*body.results, *body.params[consts:n], *dear])
    return picked(scan(*args, body=kept, consts=consts, carries=carries, length=length, reverse=reverse))[len(body.results):]


def _segmented_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], *args: Term, body: Body, consts: int, carries: int, length: int,
                   reverse: bool) -> list[Term | None]:
    """That of a scan of scans: the outer one keeps the carries of every segment's start, the inner one is run again for its own."""
    whole = segmented(body, [a.aval for a in args], consts, carries, length, reverse)
    have = [c is not None for c in cts]
    masks = [shown(c) for c in chosen(cts, have)]
    given, found = pulled(whole, have, wanted, masks)
    env = dict(zip([*whole.params, *given], [*args, *chosen(cts, have), *[m for m in masks if m is not None]], strict=True))
    return spread(substitute([c for c in found if c is not None], env), [c is not None for c in found])


def segmented(body: Body, avals: Sequence[Aval], consts: int, carries: int, length: int, reverse: bool) -> Body:
    """The scan of these arguments as a scan of scans, each as long as there are of them, and one of what is left over."""
    n = consts + carries
    args = stand_ins(avals)
    size = math.isqrt(length - 1) + 1
    whole = length // size
    rest = length - whole * size
    # in the order of steps the rest comes last: the last entries of a forward scan, the first ones of a reversed scan
    low, high = (rest, length) if reverse else (0, whole * size)
    inner_params = [*args[:n], *stand_ins([aval((size, *x.shape[1:]), x.dtype) for x in avals[n:]], len(args))]
    inner = closed(inner_params, picked(scan(*inner_params, body=body, consts=consts, carries=carries, length=size, reverse=reverse)))
    many = [M.reshape(_part(x, low, high), shape=(whole, size, *x.aval.shape[1:])) for x in args[n:]]
    found = picked(scan(*args[:n], *many, body=inner, consts=consts, carries=carries, length=whole, reverse=reverse))
    ended, parts = found[:carries], [M.reshape(y, shape=(whole * size, *y.aval.shape[2:])) for y in found[carries:]]
    if rest:
        few = [_part(x, 0, rest) if reverse else _part(x, high, length) for x in args[n:]]
        last = picked(scan(*args[:consts], *ended, *few, body=body, consts=consts, carries=carries, length=rest, reverse=reverse))
        ended = last[:carries]
        parts = [M.concatenate(*((z, y) if reverse else (y, z)), axis=0) for y, z in zip(parts, last[carries:], strict=True)]
    return closed(args, [*ended, *parts])


def _part(x: Term, a: int, b: int) -> Term:
    rest = x.aval.shape[1:]
    return M.slice_(x, start=(a, *(0,) * len(rest)), step=(1,) * x.aval.ndim, shape=(b - a, *rest))


register_rules("cond", Several(_cond_vjp, _cond_jvp))
register_rules("scan", Several(_scan_vjp, _scan_jvp))
