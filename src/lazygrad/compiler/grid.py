"""Grid: loops for devices of many threads: what is kept becomes grid loops, what is reduced loops of one grid step.

In: as `loops.nest`. Out: a nest whose outer loops are all "grid": steps that may run in any order, each writing elements of
its own. Also which members of a group are computed together, which a long inner loop forbids. Asks Caps for numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir import scalar as S
from ..ir.kernel import Check, Loop, Stmt, Store
from ..ir.program import Caps
from ..ir.record import changed
from ..ir.term import Term
from ..prims import base as B
from . import loops
from .loops import BLOCK, Axis, Nest, Out

SHARE = 256          # threads that share a grid step, where they can
WARP = 32            # neighbours that a group of threads reads at once
LONG = 4096          # elements of a row that these threads may take one after another however few rows there are
FEW = 64             # updates of a scatter that one thread may as well apply alone
ONCE = "once"        # the variable of a grid loop of one step


def over(var: str, extent: int, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` for every value of `var`, in any order; a single step needs no loop."""
    return body if extent == 1 else (Loop(var, extent, "grid", body),)


def whole(body: tuple[Stmt, ...], caps: Caps) -> tuple[Stmt, ...]:
    """A body of inner loops alone as one grid step that the threads of a group may share."""
    return (Loop(ONCE, 1, "grid", body),) if caps.rows and any([isinstance(s, Loop) for s in body]) else body


def fill(buffer: int, size: int, value: S.Scalar) -> tuple[Stmt, ...]:
    """One constant all over a buffer."""
    return flat(size, (Store(buffer, S.var("i0", size), value),))


def flat(size: int, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` over `i0` below `size`: a loop over whole buffers, which are padded."""
    return body if size == 1 else (Loop("i0", size, "grid", body, (), True),)


def nest(space: Sequence[int], idx: Sequence[S.Scalar], outs: list[Out], checks: list[Check], caps: Caps) -> tuple[Stmt, ...]:
    """The loops over `space` that compute all `outs`, whose reductions all have the same axes."""
    axes = [k for k, n in enumerate(space) if n != 1]
    reduced = {k for o in outs for k in o.axes if space[k] != 1}
    outs = [o if reduced & o.axes else changed(o, monoid=None, axes=frozenset()) for o in outs]
    marked = [changed(o, axes=frozenset(reduced)) for o in outs]            # no run of axes is half reduced
    if not axes:
        return Nest([], outs, checks, caps, BLOCK).build()

    def order_of(runs, extents, order, _, axis_of) -> list[int]:
        score = loops.scores(runs, order, outs, axis_of)
        inner = [j for j in range(len(runs)) if runs[j][0] in reduced]
        outer = [j for j in range(len(runs)) if runs[j][0] not in reduced]
        for part in (outer, inner):                       # unit strides innermost, and what goes in blocks
            if part:
                best = max(part, key=lambda j: (j in inner and extents[j] > 2 * BLOCK, j in inner and caps.rows and extents[j] >= WARP, score[j], j))
                part.remove(best)
                part.append(best)
        return outer + inner

    chain, marked, checks = loops.arranged(space, axes, idx, marked, checks, order_of)
    kept = sum([not a.reduces for a in chain])
    outs = [changed(m, monoid=o.monoid, axes=o.axes) for m, o in zip(marked, outs, strict=True)]
    sums = frozenset([j for j, o in enumerate(outs) if o.monoid])
    chain = [Axis(a.var, a.extent, sums if a.reduces else frozenset()) for a in chain]
    chain, outs, checks = _short(chain, kept, outs, checks)
    # the threads of a group add up parts of a row each, so that a row may be longer
    block = BLOCK * SHARE // 16 if caps.rows and row_like(space, frozenset(reduced)) else BLOCK
    body = Nest(chain, outs, checks, caps, block).build()
    return _as_grid(body, kept) if kept else whole(body, caps)


def _short(chain: list[Axis], kept: int, outs: list[Out], checks: list[Check]) -> tuple[list[Axis], list[Out], list[Check]]:
    """Long reduced loops that have others inside become two, so that no carry takes very many values."""
    done: list[Axis] = []
    place = {}
    for d, a in enumerate(chain):
        size = next((s for s in range(2 * BLOCK, BLOCK // 8, -1) if a.extent % s == 0), 0)
        if kept <= d < len(chain) - 1 and a.extent > 2 * BLOCK and size:
            count, inner = a.extent // size, f"{a.var}a"
            place[S.var(a.var, a.extent)] = S.iadd(S.imul(S.var(a.var, count), size), S.var(inner, size))
            done += [Axis(a.var, count, a.reduces), Axis(inner, size, a.reduces)]
        else:
            done.append(a)
    if place:
        new = loops.rewrite(loops.walk([s for o in outs for s in (o.index, o.value)] + [c.ok for c in checks]), place)
        outs = [changed(o, index=new[o.index], value=new[o.value]) for o in outs]
        checks = [Check(new[c.ok], c.code) for c in checks]
    return done, outs, checks


def _as_grid(body: tuple[Stmt, ...], count: int) -> tuple[Stmt, ...]:
    """The `count` outer loops of a nest as grid loops."""
    if not count:
        return body
    loop, = body
    return (changed(loop, mode="grid", body=_as_grid(loop.body, count - 1)),)


# ---- which members of a group are computed together -------------------------------------------------------------------

def reduced_axes(m: Term) -> frozenset[int]:
    """The axes longer than 1 that a member of a group reduces."""
    low = m.op.lowering
    return frozenset([a for a in m.keywords["axes"] if m.args[0].aval.shape[a] != 1]) if isinstance(low, B.Reduction) else frozenset()


def row_like(space: Sequence[int], reduced: frozenset[int]) -> bool:
    """Whether neighbouring elements belong to one reduction, and enough of them for the threads of a group."""
    run, k = 1, len(space) - 1
    while k >= 0 and (space[k] == 1 or k in reduced):
        run *= space[k]
        k -= 1
    return bool(reduced) and run >= min(WARP, prod([space[a] for a in reduced]))


def enough(steps: int, inner: int, caps: Caps) -> bool:
    """Whether `steps` grid steps of `inner` elements each keep the device busy, or are too little work to matter."""
    return steps >= caps.threads or (caps.rows and (steps * SHARE >= caps.threads or inner <= LONG))


def partition(space: Sequence[int], members: list[Term], caps: Caps) -> list[list[Term]]:
    """The members of a group as kernels, in order: each has one set of reduced axes.

    Elementwise members stay with a reduction where its steps are many, and are a kernel before it where they are few.
    """
    kinds: dict[frozenset[int], list[Term]] = {}
    for m in members:
        kinds.setdefault(reduced_axes(m), []).append(m)
    plain = kinds.pop(frozenset(), [])
    if plain:
        for axes, sums in kinds.items():
            inner = prod([space[a] for a in axes])
            steps = prod(space) // inner
            if enough(steps, inner, caps) and (steps >= caps.threads or row_like(space, axes)):
                kinds[axes] = [m for m in members if m in plain or m in sums]
                plain = []
                break
    first = [part for part in kinds.values() if any([not reduced_axes(m) for m in part])]
    return ([plain] if plain else []) + first + [part for part in kinds.values() if part not in first]
