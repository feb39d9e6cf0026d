"""Cut: which values get a buffer, and which are computed together in one kernel.

In: the Terms of a plan in topological order. Out: a `Cut`: the stored values with the *stage* they are computed at, and
the groups in order. A kernel of stage s reads buffers of stages below s only, so steps in stage order never form a cycle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..ir import scalar as S
from ..ir.program import Caps
from ..ir.record import record
from ..ir.term import Term
from ..prims import base as B
from ..prims.leaf import full
from . import flow, updates
from .updates import INLINE, RENAMES, SCATTER

LIMIT = 400          # scalar operations of a kernel before a new stage begins
HEIGHT = 64          # longest chain inside one kernel (it bounds the recursion of index rules too)
DEAR = 10            # recomputing a value this dear in a second kernel costs more than storing and loading it
INDEX_COST = 6       # an index computed by more operations than this is stored before it is used to gather or scatter
GEMM_WORK = 4096     # multiplications below which a matrix product is a plain kernel
LATE = 1 << 40       # stage of values that overwrite inputs which others still read

# what an operation costs beside an addition; the rest cost 1
COSTS = dict.fromkeys(["div", "sqrt", "floor_divide", "remainder", "fmod"], 4) | dict.fromkeys(
    ["cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "hypot", "sin", "cos", "tan", "asin", "acos",
     "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf", "erfc", "ndtr", "lgamma", "digamma"], 12)

LEAF, REDUCE, GEMM, SCAN, HOST = "leaf", "reduce", "gemm", "scan", "host"
CONV = "conv"
RECUR, FLOW, PICK = "recur", "flow", "pick"  # a loop in registers; a step over bodies of its own; one of several results
MANY, INDEX = ("many",), ("index",)         # used by several kernels; used as an index into an array


@record
class Profile:
    """Of an elementwise op on given dtypes: whether the backend can emit it, its number of operations and its cost."""

    ok: bool
    ops: int
    cost: int


@record
class Group:
    """Values computed by one step: `kind` says how; `space` is the index space of an INLINE group's loops."""

    kind: str
    stage: int
    space: tuple[int, ...]
    members: list[Term]


@record
class Cut:
    """`stored[t]`: the stage at which t's buffer is written. `kinds[t]`: how t is computed. `results[j]`: whose buffer is root j."""

    order: list[Term]
    kinds: dict[Term, str]
    stored: dict[Term, int]
    groups: list[Group]
    profiles: Profiles
    results: list[Term]
    products: dict[Term, tuple[Term, Term | None]]       # GEMMs that write another Term than the product: (product, x of x + product)
    picks: dict[Term, dict[int, Term]]                   # of loops and branches, the results that are used


MOVE = Profile(True, 1, 1)       # moving an element: nearly free, but reading it at many places adds up


class Profiles:
    """Profiles of elementwise ops, found by building them once on placeholder scalars."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.table: dict[tuple, Profile] = {}
        self.terms: dict[Term, Profile] = {}
        self.forms: dict[Term, Any] = {}         # of loops, see `recur`
        self.picks: dict[Term, dict[int, Term]] = {}

    def of(self, t: Term) -> Profile:
        found = self.terms.get(t)
        if found is None:
            key = (t.op, t.params, *[a.aval.dtype for a in t.args])
            found = self.table.get(key)
            if found is None:
                found = self.table[key] = self._probe(t)
            self.terms[t] = found
        return found

    def _probe(self, t: Term) -> Profile:
        dtypes = [a.aval.dtype for a in t.args] + [t.aval.dtype]
        if any(d.name not in self.caps.dtypes for d in dtypes):
            return Profile(False, 0, 0)
        args = [S.scalar(S.VAR, (), (f"x{k}", 2), a.aval.dtype) for k, a in enumerate(t.args)]
        return self.walk(elementwise(t, args))

    def walk(self, root: S.Scalar) -> Profile:
        seen, stack, ok, ops, cost = set(), [root], True, 0, 0
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            stack.extend(x.args)
            if not x.args:
                continue
            ops, cost = ops + 1, cost + COSTS.get(x.op.name, 1)
            if x.op.name in S.OPS and (x.op.name, x.args[-1].dtype.name) not in self.caps.scalar_ops:
                ok = False
        return Profile(ok, ops, cost)


def elementwise(t: Term, args: Sequence[S.Scalar]) -> S.Scalar:
    """The scalar of an elementwise Term on scalar arguments."""
    build = t.op.lowering.build
    if isinstance(build, str):
        return S.apply(build, *args)
    return build(*args, **t.keywords) if t.params else build(*args)


def base(t: Term, kinds: dict[Term, str]) -> Term:
    """The Term whose buffer holds `t`: a reshape is another name of the same bytes."""
    while t.op.name in RENAMES and kinds[t] == INLINE:
        t = t.args[0]
    return t


def classify(order: Sequence[Term], caps: Caps, profiles: Profiles) -> dict[Term, str]:
    """How every Term is computed: as a leaf, inside kernels, or as a step of its own kind."""
    from . import recur  # which looks at bodies by this function

    kinds = {}
    dtypes = {np.dtype(name) for name in caps.dtypes}
    for t in order:
        low = t.op.lowering
        if isinstance(low, B.Elementwise):
            many = caps.grid and len(t.args) >= caps.max_buffers              # more operands than one kernel may read
            kinds[t] = INLINE if profiles.of(t).ok and not many else HOST
        elif isinstance(low, B.Leaf):
            kinds[t] = LEAF
        elif isinstance(low, B.Control):
            kinds[t] = recur.kind(t, caps, profiles)
        elif isinstance(low, B.Pick):
            kinds[t] = PICK
        elif isinstance(low, B.Host) or t.aval.dtype not in dtypes or any([a.aval.dtype not in dtypes for a in t.args]):
            kinds[t] = HOST
        elif isinstance(low, (B.Index, B.Scatter)) and len(t.args) >= caps.max_buffers and caps.grid:
            kinds[t] = HOST                     # indexed by more arrays than one kernel may read
        elif isinstance(low, B.Index):
            kinds[t] = INLINE
        elif isinstance(low, (B.Reduction, B.Scan)):
            ok = (low.monoid, t.aval.dtype.name) in caps.scalar_ops
            kinds[t] = HOST if not ok else REDUCE if isinstance(low, B.Reduction) else SCAN
        elif isinstance(low, B.Scatter):
            kinds[t] = SCATTER if low.monoid is None or (low.monoid, t.aval.dtype.name) in caps.scalar_ops else HOST
        elif isinstance(low, B.Convolution):
            kinds[t] = CONV
        else:
            kinds[t] = contraction(t, caps)
    return kinds


def contraction(t: Term, caps: Caps) -> str:
    """GEMM where a library call is worth it, else a kernel."""
    m, k = t.args[0].aval.shape[-2:]
    n = t.aval.shape[-1]
    if t.aval.dtype.kind == "b":
        return HOST
    worth = m * n * k >= GEMM_WORK and min(m, n, k) > 1 and t.aval.size
    return GEMM if worth and t.aval.dtype.name in caps.gemm_dtypes else REDUCE


def space_of(t: Term) -> tuple[int, ...]:
    """The index space a stored value is computed over."""
    if isinstance(t.op.lowering, B.Reduction):
        return t.args[0].aval.shape
    if isinstance(t.op.lowering, B.Contraction):
        return (*t.aval.shape, t.args[0].aval.shape[-1])
    return t.aval.shape


def cut(order: list[Term], roots: Sequence[Term], sources: Sequence[Term], into: Sequence[int | None], caps: Caps,
        operands) -> Cut:
    """The Cut of the Terms `order` below `roots`. `operands(t)`: the Terms a GEMM or CONV reads as whole buffers."""
    profiles = Profiles(caps)
    picks = profiles.picks = flow.picks(order)
    kinds = classify(order, caps, profiles)
    products = {} if caps.grid else _products(order, roots, sources, into, kinds)
    skipped = {mm for mm, _ in products.values()}
    for t, (mm, _) in products.items():
        kinds[t] = kinds[mm]
    order = [t for t in order if t not in skipped]
    order, before, read = updates.find(order, roots, sources, into, kinds)
    shaped = {a for t in order if kinds[t] == HOST for a in (t, *t.args)}      # NumPy sees these buffers with their shape
    shaped |= {p for t in order if kinds[t] == HOST for p in picks.get(t, {}).values()}
    results = [r if (b := base(r, kinds)) in shaped else b for r in roots]
    must = set(results)
    for t in order:
        if kinds[t] in (GEMM, CONV):
            must.update(operands(products[t][0] if t in products else t, kinds))
        elif kinds[t] == HOST:
            must.update(t.args)
        elif kinds[t] == SCAN:
            must.update([base(a, kinds) for a in t.args if not (caps.grid and _moved(a, kinds))])
        elif kinds[t] == FLOW or (kinds[t] == RECUR and caps.grid):
            must.update([base(a, kinds) for a in t.args if kinds[t] == FLOW or a.op is not full])
    must = {t for t in must | read if kinds[t] == INLINE}
    walk = _Stages(order, kinds, profiles, products, before)
    first, stored = walk.assign(must, set())
    extra, late = _shared(order, kinds, first, stored, walk, results, sources, into)
    need, stored = walk.assign(must | extra, late) if extra or late else (first, stored)
    return Cut(order, kinds, *_grouped(order, kinds, need, stored, late, walk), profiles, results, products, picks)


def waits(parts: Cut) -> dict[Term, set[Term]]:
    """Of values computed from what stands behind a barrier: the stored values that the barrier waits for."""
    found: dict[Term, set[Term]] = {}
    if not any([t.op.name == "barrier" for t in parts.order]):
        return found
    for t in parts.order:
        bars = t.op.name == "barrier"
        mine = set().union(*[found[a] for a in (t.args[:1] if bars else t.args) if a in found and parts.kinds[a] == INLINE and a not in parts.stored])
        stack, seen = list(t.args[1:]) if bars else [], set()
        while stack:
            a = stack.pop()
            if a in seen or parts.kinds[a] == LEAF:
                continue
            seen.add(a)
            if parts.kinds[a] != INLINE or a in parts.stored:
                mine.add(a)
            else:
                stack.extend(a.args)
        if mine:
            found[t] = mine
    return found


def _moved(t: Term, kinds: dict[Term, str]) -> bool:
    """Whether every element of `t` is one of a stored value."""
    while kinds[t] == INLINE and isinstance(t.op.lowering, B.Index) and t.op.lowering.moves and len(t.args) == 1:
        t = t.args[0]
    return kinds[t] != INLINE


def _products(order, roots, sources, into, kinds) -> dict[Term, tuple[Term, Term | None]]:
    """Terms that a GEMM writes in the product's stead, which nothing else reads: roots `x + a @ b` that overwrite x, and
    products in another order of their axes. {Term: (product, x or None)}"""
    users: dict[Term, int] = {}
    for t in order:
        for a in t.args:
            users[a] = users.get(a, 0) + 1
    for r in roots:
        users[r] = users.get(r, 0) + 1
    found: dict[Term, tuple[Term, Term | None]] = {}
    for r, i in zip(roots, into, strict=True):
        if i is None or r.op.name != "add" or users[r] != 1:
            continue
        for mm, x in (r.args, r.args[::-1]):
            if kinds[mm] == GEMM and x is sources[i] and users[mm] == users[x] == 1:
                found[r] = (mm, x)
    for t in order:
        if t.op.name == "permute":
            mm = t.args[0]
            if users[mm] == 1 and ((kinds[mm] == GEMM and layout(t) is not None) or (kinds[mm] == CONV and turned(t))):
                found[t] = (mm, None)
    return found


def turned(t: Term) -> bool:
    """Whether a convolution is written in the place of `t`, a permutation of it: the spatial axes must stay the last."""
    axes = t.keywords["axes"]
    return sorted(axes[:2]) == [0, 1] and axes[2:] == tuple(range(2, len(axes)))


def layout(t: Term) -> tuple[int, int, bool] | None:
    """(row stride, batch stride, whether the rows are the columns) of the product that `t` permutes, in the buffer of `t`; None
    where no GEMM writes it so."""
    shape, axes = t.args[0].aval.shape, t.keywords["axes"]
    strides, step = [0] * len(axes), 1
    for a in reversed(axes):
        strides[a] = step
        step *= shape[a]
    *batch, row, col = [(n, s) for n, s in zip(shape, strides, strict=True)]
    batch = [(n, s) for n, s in batch if n != 1]
    if any([a[1] != b[0] * b[1] for a, b in pairwise(batch)]):
        return None
    step = batch[-1][1] if batch else 0
    if col[1] == 1 and row[1] >= col[0]:
        return row[1], step, False
    if row[1] == 1 and col[1] >= row[0]:
        return col[1], step, True
    return None


class _Stages:
    """Stages of all Terms for a given set of stored values (one forward walk)."""

    def __init__(self, order, kinds, profiles, products, before) -> None:
        self.order, self.kinds, self.profiles, self.products, self.before = order, kinds, profiles, products, before
        self.cost: dict[Term, int] = {}

    def args(self, t: Term) -> tuple[Term, ...]:
        """What a step reads: the factors and the addend of a GEMM, else the arguments; and what has to come before it."""
        if t in self.products:
            mm, x = self.products[t]
            return mm.args if x is None else (*mm.args, x)
        return (*t.args, *self.before[t]) if t in self.before else t.args

    def made_of(self, t: Term) -> tuple[Term, ...]:
        """What the value of `t` is made of: not what a barrier waits for."""
        return t.args[:1] if t.op.name == "barrier" else self.args(t)

    def aligned(self, t: Term) -> bool:
        """Whether t reads its arguments at its own loop index."""
        return isinstance(t.op.lowering, (B.Elementwise, B.Reduction)) and t not in self.products

    def assign(self, must: set[Term], late: set[Term]) -> tuple[dict[Term, int], set[Term]]:
        """(the stage of every Term, the stored values: `must` and those at which a kernel is full)."""
        kinds, stored, profiles = self.kinds, set(must), self.profiles.terms
        need: dict[Term, int] = {}
        fresh: dict[Term, int] = {}      # the stage from which everything stored below is loadable
        height: dict[Term, int] = {}
        cost = self.cost = {}
        room: dict[tuple, int] = {}
        skip: dict[tuple, int] = {}
        closed: set[Term] = set()        # stored values whose users belong to later stages
        for t in self.order:
            kind = kinds[t]
            if kind is LEAF:
                need[t] = -1
                continue
            if kind is PICK:                     # written by the step that makes the others
                need[t] = need[t.args[0]]
                continue
            aligned = kind is not HOST and self.aligned(t)
            s = f = 0
            for a in self.args(t):
                ka = kinds[a]
                if ka is LEAF:
                    continue
                r = need[a]
                if ka is not INLINE or a in closed:
                    r = g = r + 1
                elif a in stored:
                    g = r + 1
                    if not aligned:
                        r = g
                else:
                    g = fresh[a]
                    if not aligned:
                        r = g
                if r > s:
                    s = r
                if g > f:
                    f = g
            if kind is not INLINE:
                need[t] = s
                continue
            shape = t.aval.shape
            profile = profiles[t] if aligned else MOVE
            key = s, shape
            used = room.get(key, 0)
            while used >= LIMIT:                       # full: go on in a later stage
                here = skip.get(key, s + 1)
                after = skip.get((here, shape))
                if after is not None:
                    skip[key] = after
                s, key = here, (here, shape)
                used = room.get(key, 0)
            used = room[key] = used + profile.ops
            if used >= LIMIT:
                skip[key] = s + 1
            total, tall = profile.cost, 0
            for a in t.args[:1] if len(t.args) < 2 or t.op.name == "barrier" else dict.fromkeys(t.args):
                if kinds[a] is not INLINE:
                    continue
                n, held = need[a], a in stored
                if n < s and not held and cost[a] > 2 and room.get((n, a.aval.shape), 0) >= LIMIT:
                    stored.add(a)
                    held, f = True, max(f, n + 1)
                if held:
                    if n < s or a in closed:
                        continue
                else:
                    total += cost[a]
                if height[a] >= tall:
                    tall = height[a] + 1
            need[t], fresh[t], height[t], cost[t] = s, (f if f > s else s), tall, (total if total < 1000 else 1000)
            if tall >= HEIGHT:
                stored.add(t)
                closed.add(t)
        for t in late:
            need[t] = LATE
        return need, stored


def _shared(order, kinds, need, stored, walk, roots, sources, into) -> tuple[set[Term], set[Term]]:
    """(values worth a buffer because several kernels would repeat dear work, roots to compute last)."""
    uses: dict[Term, tuple] = {}

    def use(a: Term, key: tuple) -> None:
        old = uses.get(a)
        uses[a] = INDEX if INDEX in (old, key) else key if old is None or old == key else MANY

    extra: set[Term] = set()
    cost = walk.cost
    for t in reversed(order):
        kind = kinds[t]
        if kind in (LEAF, PICK):
            continue
        aligned = walk.aligned(t)
        if kind == INLINE and t not in stored:
            key = uses.get(t, MANY)
            repeats = t.op.name == "broadcast_to" and t.aval.size > t.args[0].aval.size       # what it repeats is stored, not t
            if (key == MANY and cost[t] >= DEAR and not repeats) or key == INDEX:
                extra.add(t)
                key = need[t], t.aval.shape
        elif kind in (INLINE, REDUCE):
            key = need[t], space_of(t)
        else:
            key = ("step", t)
        if not aligned and key != MANY:
            key = ("read", t)                          # two reads at two indices compute twice
        low = t.op.lowering
        data_indexed = isinstance(low, B.Scatter) or (isinstance(low, B.Index) and not low.moves)
        last = t.args[-1] if isinstance(low, B.Scatter) else None
        spreads = data_indexed or t.op.name == "broadcast_to" or isinstance(low, B.Contraction)     # one element, many reads
        for a in dict.fromkeys(walk.made_of(t)):
            if kinds[a] == INLINE and a not in stored:
                indexed = data_indexed and a is not t.args[0] and a is not last
                again = spreads and space_size(t) > a.aval.size and cost[a] >= DEAR
                use(a, INDEX if indexed and cost[a] > INDEX_COST else MANY if again else key)
            elif kinds[a] is LEAF:
                use(a, key)
    late = set()
    counts = Counter(roots)
    users = {a for t in order for a in walk.args(t)}
    for r, i in zip(roots, into, strict=True):
        alone = i is not None and kinds[r] == INLINE and r not in users and counts[r] == 1
        if alone and uses.get(sources[i]) not in (None, (need[r], r.aval.shape)):
            late.add(r)
    return extra, late


def space_size(t: Term) -> int:
    size = 1
    for n in space_of(t):
        size *= n
    return size


def _grouped(order, kinds, need, stored, late, walk) -> tuple[dict[Term, int], list[Group]]:
    """Stages of stored values, and the groups: values of one stage and space that share a value or a load."""
    stages: dict[Term, int] = {}
    buckets: dict[tuple, list[Term]] = {}
    singles: list[tuple[int, int, Group]] = []
    position: dict[Term, int] = {}
    for p, t in enumerate(order):
        kind = kinds[t]
        if kind == LEAF or (kind == INLINE and t not in stored):
            continue
        stages[t], position[t] = need[t], p
        if t.aval.size == 0 or kind == PICK:
            continue
        if kind == INLINE or (isinstance(t.op.lowering, B.Reduction) and kind == REDUCE and t.args[0].aval.size):
            buckets.setdefault((need[t], space_of(t)), []).append(t)
        else:
            singles.append((need[t], p, Group(kind, need[t], space_of(t), [t])))
    for (stage, space), members in buckets.items():
        for part in _components(members, stage, space, kinds, stages):
            singles.append((stage, position[part[0]], Group(INLINE, stage, space, part)))
    singles.sort(key=lambda item: item[:2])
    return stages, [g for _, _, g in singles]


def _components(members, stage, space, kinds, stages) -> list[list[Term]]:
    """Members of one stage and space, apart where they have nothing in common."""
    size = int(np.prod(space, dtype=object)) if space else 1
    if len(members) == 1 or size <= 16:
        return [members]
    parent = {m: m for m in members}

    def find(m: Term) -> Term:
        while parent[m] is not m:
            parent[m] = parent[parent[m]]
            m = parent[m]
        return m

    owner: dict[Term, Term] = {}
    for m in members:
        stack = [m]
        while stack:
            t = stack.pop()
            if t.aval.size < size and t is not m:
                continue
            first = owner.setdefault(t, m)
            if first is not m:
                parent[find(m)] = find(first)
                continue
            if t is m or (kinds[t] == INLINE and stages.get(t, stage) >= stage):
                stack.extend(t.args)
    out: dict[Term, list[Term]] = {}
    for m in members:
        out.setdefault(find(m), []).append(m)
    return list(out.values())
