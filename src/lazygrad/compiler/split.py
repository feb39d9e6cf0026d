"""Split: long reductions, scans and scatters of few results become two of shorter ones, so that many threads share them.

In: roots. Out: equal roots (sums in another order, the same in every run) in Terms that the later passes treat like any
other: a part is one more axis. Only for backends whose kernels run on a grid; asks their Caps how many threads keep it busy.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt, prod

import numpy as np

from ..ir import scalar as S
from ..ir.program import Caps
from ..ir.record import record
from ..ir.term import Term, rewrite
from ..prims import base as B
from ..prims import elementwise as E
from ..prims import movement as M
from ..prims import reduction as R
from ..prims.leaf import constant, iota, like
from . import grid, loops
from .cut import REDUCE, contraction

ROW = 1024           # elements of a part that the threads of a group share
SERIES = 32          # elements of a part that one thread takes
LONG = 2048          # elements in one piece from which on threads that do not share rows read side by side
BESIDE = 32          # neighbours that threads of a part take side by side where they do not share rows, so that memory is read in order
RUN = 64             # elements of a part of a scan
LINE = 256           # a scan this short stays one
COPIES = 8           # copies of a scatter's target below which they are not worth their memory
WIDE = 1 << 24       # elements that the copies may fill

COMBINE = {"add": E.add, "mul": E.mul, "maximum": E.maximum, "minimum": E.minimum}
REDUCED = {"add": R.sum, "mul": R.prod, "maximum": R.max, "minimum": R.min}


def split(roots: list[Term], caps: Caps) -> list[Term]:
    """`roots` with every reduction, scan and scatter that would keep few threads busy in stages."""
    done: set[Term] = set()              # what a rule has made as it should be
    made: dict[Term, Term | None] = {}

    def step(t: Term) -> Term | None:
        rule = RULES.get(type(t.op.lowering)) if t.op not in CONCATENATIONS else _concatenation
        if rule is None or t in done or not t.aval.size or any([u.aval.dtype.name not in caps.dtypes for u in (t, *t.args)]):
            return None
        if t not in made:
            made[t] = rule(t, caps, done)
        return made[t]

    return rewrite(roots, step)


# ---- an axis in parts -------------------------------------------------------------------------------------------------

def _divided(x: Term, axis: int, parts: int, apart: bool, monoid: str) -> Term:
    """`x` with one axis as two: (parts, elements of a part), or (elements, parts) where neighbours go to different parts (`apart`).

    There may be half or twice as many parts; an axis that does not divide is padded with the monoid's identity.
    """
    n = x.aval.shape[axis]
    parts = min(parts, n)
    exact = [p for p in range(max(parts // 2, 2), min(2 * parts, n) + 1) if n % p == 0]
    if exact:
        count = min(exact, key=lambda p: ((p if apart else n // p) % 4 != 0, max(p, parts) / min(p, parts)))
        size = n // count
    else:
        size = -(-n // parts)
        size += 0 if apart else -size % 4
        count = -(-n // size)
        if apart:
            count += -count % 4
        x = _padded(x, axis, count * size, monoid)
    shape = x.aval.shape
    return M.reshape(x, shape=(*shape[:axis], *((size, count) if apart else (count, size)), *shape[axis + 1:]))


def _lined(x: Term, parts: int, beside: int, monoid: str) -> Term:
    """`x` with its last axis as (about `parts` parts, elements, `beside` neighbours)."""
    n = x.aval.shape[-1]
    count = next((c for k in range(parts // 2 + 1) for c in (parts + k, parts - k) if n % (c * beside) == 0), parts)
    size = -(-n // (count * beside))
    if n % (count * beside):
        x = _padded(x, x.aval.ndim - 1, count * size * beside, monoid)
    return M.reshape(x, shape=(*x.aval.shape[:-1], count, size, beside))


def _padded(x: Term, axis: int, size: int, monoid: str) -> Term:
    """`x` with one axis longer, its end filled with the identity."""
    n, ndim = x.aval.shape[axis], x.aval.ndim
    shape = (*x.aval.shape[:axis], size, *x.aval.shape[axis + 1:])
    y = M.embed(x, shape=shape, start=(0,) * ndim, step=(1,) * ndim)
    nothing = S.value_of(loops.identity(monoid, x.aval.dtype))
    if not nothing and x.aval.dtype.kind != "f":
        return y
    return E.where(_ramp(y, axis, lambda i: E.lt(i, like(i, n))), y, like(y, nothing))


def _ramp(x: Term, axis: int, condition: Callable[[Term], Term]) -> Term:
    """A condition on the position along `axis`, in x's shape."""
    size = x.aval.shape[axis]
    held = condition(iota(size=size, dtype=np.dtype("int32")))
    ones = tuple([size if a == axis else 1 for a in range(x.aval.ndim)])
    return M.broadcast_to(M.reshape(held, shape=ones), shape=x.aval.shape)


# ---- reductions -------------------------------------------------------------------------------------------------------

@record
class Plan:
    """About `parts` parts for each result; `shared`: the threads of a group take one together; `beside`: neighbours that a part has
    side by side (1: those of all parts lie side by side)."""

    parts: int
    shared: bool
    beside: int = 1


def _plan(kept: int, n: int, row_like: bool, caps: Caps, together: bool = True) -> Plan | None:
    """How to reduce `n` elements to each of `kept` results in two stages, None where one does; `together`: they lie in one piece."""
    shared = caps.rows and row_like
    if shared:
        parts = min(caps.threads // (kept * grid.SHARE), n // ROW, ROW)
    elif row_like and together and n >= LONG:
        parts = min(max(caps.threads // (4 * kept), 2 * n // (BESIDE * (caps.turns or 2 * n)) + 1), n // (BESIDE * SERIES))
        return Plan(parts, False, BESIDE) if parts > 1 else None
    elif n >= 8 * SERIES:
        parts = min(max(caps.threads // kept, 2 * n // (caps.turns or 2 * n)), n // SERIES, 2 * isqrt(n))
    else:
        return None
    return Plan(parts, shared) if parts > 1 else None


def _reduction(t: Term, caps: Caps, done: set[Term]) -> Term | None:
    """monoid over all r = monoid over parts p of (monoid over the r of part p)."""
    x, axes, monoid = t.args[0], t.keywords["axes"], t.op.lowering.monoid
    shape = x.aval.shape
    if (monoid, t.aval.dtype.name) not in caps.scalar_ops:
        return None
    n = prod([shape[a] for a in axes])
    plan = _plan(t.aval.size, n, grid.row_like(shape, frozenset(axes)), caps, n == prod(shape[min(axes, default=0):]))
    if plan is None:
        return None
    half = t.aval.dtype == np.float16 and monoid == "add"
    if half:                                         # parts of a float16 sum are float32, as its carry would be
        x = E.cast(x, dtype=np.dtype("float32"))
    if plan.beside > 1:
        x = _lined(M.reshape(x, shape=(*t.aval.shape, n)), plan.parts, plan.beside, monoid)
        inner = t.op(x, axes=(x.aval.ndim - 2,))
        done.add(inner)
        total = t.op(inner, axes=(inner.aval.ndim - 2, inner.aval.ndim - 1))
        if plan.parts * plan.beside <= 2 * LONG:
            done.add(total)
        return E.cast(total, dtype=t.aval.dtype) if half else total
    whole, axis = _parted(shape, axes, plan)
    if not whole and axis is None:
        return None
    if axis is None:
        first, second = tuple([a for a in axes if a not in whole]), whole
    else:
        count = plan.parts // prod([shape[a] for a in whole])
        x = _divided(x, axis, count, not plan.shared, monoid)
        outer = axis if plan.shared else axis + 1    # where the parts are now
        moved = [a + (a > axis) for a in axes if a != axis]
        second = (*[a + (a > axis) for a in whole], outer)
        first = tuple(sorted({*moved, axis, axis + 1} - {*second}))
    inner = t.op(x, axes=first)
    done.add(inner)
    total = t.op(inner, axes=tuple(sorted([a - sum([b < a for b in first]) for a in second])))
    return E.cast(total, dtype=t.aval.dtype) if half else total


def _parted(shape: tuple[int, ...], axes: tuple[int, ...], plan: Plan) -> tuple[tuple[int, ...], int | None]:
    """(reduced axes whose positions are parts, the axis to divide).

    Threads of a group take neighbours: the outer axes go apart. Threads alone: neighbours go to different threads.
    """
    long = [a for a in axes if shape[a] > 1]
    if not plan.shared:
        last = long[-1] == max([a for a, n in enumerate(shape) if n > 1])
        axis = long[-1] if last else max(long, key=lambda a: shape[a])
        if shape[axis] > plan.parts or len(long) == 1:
            return (), axis
        other = max([a for a in long if a != axis], key=lambda a: shape[a])
        return (axis,), (other if plan.parts // shape[axis] > 1 else None)
    whole: list[int] = []
    for a in long[:-1]:
        got = prod([shape[b] for b in whole])
        if got * shape[a] > plan.parts:
            return tuple(whole), (a if plan.parts // got > 1 else None)
        whole.append(a)
    left = plan.parts // prod([shape[b] for b in whole])
    return tuple(whole), (long[-1] if left > 1 and shape[long[-1]] >= 2 * ROW else None)


def _contraction(t: Term, caps: Caps, done: set[Term]) -> Term | None:
    """A product of few elements over a long axis as a sum of products, in two stages."""
    a, b = t.args
    n, k = t.aval.shape[-1], a.aval.shape[-1]
    inside = n == 1 or (b.op is M.permute and b.keywords["axes"][-2:] == (b.aval.ndim - 1, b.aval.ndim - 2))
    if contraction(t, caps) != REDUCE or not k or ("add", t.aval.dtype.name) not in caps.scalar_ops:
        return None
    if _plan(t.aval.size, k, inside, caps) is None:
        return None
    *batch, m, _ = t.aval.shape
    if inside:                                       # (..., m, n, k)
        shape, axis, b = (*batch, m, n, k), t.aval.ndim, M.transposed(b)
        a, b = M.reshape(a, shape=(*batch, m, 1, k)), M.reshape(b, shape=(*batch, 1, n, k))
    else:                                            # (..., m, k, n)
        shape, axis = (*batch, m, k, n), t.aval.ndim - 1
        a, b = M.reshape(a, shape=(*batch, m, k, 1)), M.reshape(b, shape=(*batch, 1, k, n))
    product = E.mul(M.broadcast_to(a, shape=shape), M.broadcast_to(b, shape=shape))
    return _reduction(R.sum(product, axes=(axis,)), caps, done)


# ---- scans ------------------------------------------------------------------------------------------------------------

def _scan(t: Term, caps: Caps, done: set[Term]) -> Term | None:
    """Runs are scanned each alone, then their totals; every element takes in the totals of the runs before its own."""
    x, axis, reverse, monoid = t.args[0], t.keywords["axis"], t.keywords["reverse"], t.op.lowering.monoid
    n = x.aval.shape[axis]
    lines = x.aval.size // n
    if n <= LINE or lines >= caps.threads or (monoid, t.aval.dtype.name) not in caps.scalar_ops:
        return None
    parts = min(n // RUN, max(caps.threads // lines, 2))
    y = _divided(x, axis, parts, False, monoid)
    count, size = y.aval.shape[axis:axis + 2]
    local = t.op(y, axis=axis + 1, reverse=reverse)
    done.add(local)
    shape = (*y.aval.shape[:axis + 1], *y.aval.shape[axis + 2:])
    totals = M.reshape(R._cut(local, axis + 1, 0 if reverse else size - 1, 1), shape=shape)
    sums = t.op(totals, axis=axis, reverse=reverse)
    before = R._place(R._cut(sums, axis, 1 if reverse else 0, count - 1), axis, 0 if reverse else 1, count)
    before = R.expand(before, (axis + 1,), y.aval.shape)
    start = _ramp(y, axis, lambda i: E.eq(i, like(i, count - 1 if reverse else 0)))
    whole = E.where(start, local, COMBINE[monoid](before, local))
    flat = M.reshape(whole, shape=(*x.aval.shape[:axis], count * size, *x.aval.shape[axis + 1:]))
    return R._cut(flat, axis, 0, n)


# ---- scatters ---------------------------------------------------------------------------------------------------------

def _scatter(t: Term, caps: Caps, done: set[Term]) -> Term | None:
    """Many updates of a small target: each part of them goes into a copy of its own, and the copies are combined."""
    x, *indices, updates = t.args
    axes, position, monoid = t.keywords["axes"], t.keywords["position"], t.op.lowering.monoid
    block = indices[0].aval
    if monoid not in COMBINE or x.aval.dtype.kind == "b" or (monoid, x.aval.dtype.name) not in caps.scalar_ops or not block.size:
        return None
    steps = updates.aval.size // block.size
    copies = min(caps.threads // steps, block.size // grid.FEW, WIDE // x.aval.size)
    if copies < COPIES:
        return None

    def rows(u: Term, at: int, monoid: str) -> Term:
        shape = u.aval.shape
        lined = M.reshape(u, shape=(*shape[:at], block.size, *shape[at + block.ndim:]))
        return _divided(lined, at, copies, True, monoid)

    places = [rows(i, 0, "or") for i in indices]     # 0 is an index, and what is added there is the identity
    size, copies = places[0].aval.shape
    which = M.broadcast_to(iota(size=copies, dtype=block.dtype), shape=(size, copies))
    nothing = S.value_of(loops.identity(monoid, x.aval.dtype))
    new = axes[-1] + 1                               # the axis of the copies: the indexed ones keep their numbers, which faults name
    shape = (*x.aval.shape[:new], copies, *x.aval.shape[new:])
    apart = t.op(constant(nothing, shape, x.aval.dtype), *places, which, rows(updates, position, monoid), axes=(*axes, new), position=position)
    done.add(apart)
    return COMBINE[monoid](x, REDUCED[monoid](apart, axes=(new,)))


# ---- pieces -----------------------------------------------------------------------------------------------------------

def _concatenation(t: Term, caps: Caps, done: set[Term]) -> Term | None:
    """Pieces of pieces, none of more than one kernel may read."""
    most = min(M.FEW, caps.max_buffers - 1)
    pieces, axis = [a for a in t.args if a.aval.size], t.keywords["axis"]
    if t.op is M.concatenate_few and len(t.args) <= most:
        return None
    while len(pieces) > 1:
        pieces = [M.concatenate_few(*pieces[k:k + most], axis=axis) if pieces[k + 1:k + most] else pieces[k]
                  for k in range(0, len(pieces), most)]
    return pieces[0]


CONCATENATIONS = (M.concatenate_few, M.concatenate_many)
RULES: dict[type, Callable[[Term, Caps, set[Term]], Term | None]] = {
    B.Reduction: _reduction, B.Contraction: _contraction, B.Scan: _scan, B.Scatter: _scatter}
