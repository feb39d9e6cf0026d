"""Lighten: loops and branches that do less: what nobody reads is left out, what no step changes is computed before.

In and out: roots. Bodies go through all passes themselves. Values stay the same bit for bit, but for sums over all steps, which
may be added up in another order (`sunk`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.aval import Aval, aval
from ..ir.function import Body
from ..ir.record import changed
from ..ir.term import Term, substitute, term, toposort
from ..prims import base as B
from ..prims import elementwise as E
from ..prims import movement as M
from ..prims import reduction
from ..prims.control import cond, pick
from ..prims.leaf import closed, constant, full, opened, parameter
from . import flow
from .join import joined

CHEAP = 20           # operations of a branch below which both are computed and one is chosen
FEW = 16             # elements that are added up inside of a step
SMALL = 1 << 14      # elements of its results

Passes = Callable[[list[Term]], list[Term]]


def lighten(roots: list[Term], passes: Passes, few: bool = False) -> list[Term]:
    """`roots` with lighter loops; `passes` is what bodies go through, this pass included. `few`: kernels can have few buffers."""
    if not any([isinstance(t.op.lowering, B.Control) for t in toposort(roots)]):
        return roots
    known: dict[Body, Body] = {}
    while True:                                  # what a lighter loop no longer reads may be the result of another one
        roots = joined(roots)
        after = _round(roots, passes, known, few)
        if after == roots:
            return after
        roots = after


def _round(roots: list[Term], passes: Passes, known: dict[Body, Body], few: bool) -> list[Term]:
    order = toposort(roots)
    used = flow.picks(order)
    done: dict[Term, Term] = {}
    results: dict[Term, dict[int, Term]] = {}    # of loops and branches: what became of their results
    for t in order:
        args = tuple([done[a] for a in t.args if a not in results])
        if t.op is pick and t.args[0] in results:
            done[t] = results[t.args[0]][t.keywords["index"]]
        elif isinstance(t.op.lowering, B.Control):
            wanted = sorted(used.get(t, {}))
            results[t] = _branch(t, args, wanted, passes, known) if t.op is cond else _loop(t, args, wanted, passes, known, few)
        else:
            done[t] = t if args == t.args else term(t.op, args, t.params, t.aval)
    return [done[r] for r in roots]


def prepared(body: Body, passes: Passes, known: dict[Body, Body]) -> Body:
    """A body after all passes."""
    found = known.get(body)
    if found is None:
        found = known[body] = Body(body.params, tuple(passes(list(body.results))))
        known[found] = found
    return found


# ---- loops --------------------------------------------------------------------------------------------------------------

def _loop(t: Term, args: tuple[Term, ...], wanted: list[int], passes: Passes, known: dict[Body, Body], few: bool) -> dict[int, Term]:
    """A lighter loop: its results by their old numbers."""
    s = flow.steps(term(t.op, args, t.params, t.aval))
    s = changed(s, body=prepared(s.body, passes, known), test=None if s.test is None else prepared(s.test, passes, known))
    n = len(s.init)
    if s.length == 0:
        return {j: s.init[j] if j < n else constant(0, t.aval.avals[j].shape, t.aval.avals[j].dtype) for j in wanted}
    if s.length == 1:
        slices = [M.reshape(x, shape=x.aval.shape[1:]) for x in s.xs]
        made = opened(s.body, (*s.consts, *s.init, *slices))
        return {j: made[j] if j < n else M.reshape(made[j], shape=t.aval.avals[j].shape) for j in wanted}
    return _Loop(s, wanted).finished(few)


class _Loop:
    """A loop in the making: roles by parameter of its body, so that they can move. `test` is in terms of the same parameters."""

    def __init__(self, s: flow.Steps, wanted: list[int]) -> None:
        self.s, self.wanted = s, wanted
        n, params = len(s.init), s.body.params
        self.consts: dict[Term, Term] = dict(zip(params, s.consts, strict=False))
        self.xs: dict[Term, Term] = dict(zip(s.sliced, s.xs, strict=True))
        self.init: dict[Term, Term] = dict(zip(s.carried, s.init, strict=True))
        self.new: dict[Term, Term] = dict(zip(s.carried, s.body.results, strict=False))      # carry -> what follows it
        self.rows: dict[int, Term] = {j: s.body.results[j] for j in wanted if n <= j < len(s.body.results)}
        self.test = None if s.test is None else s.test.results[0]
        self.given: dict[int, Term] = {}         # results that are known without the loop
        self.sunk: dict[int, tuple[Term, list[Term]]] = {}       # carry by number: what to do with the totals of other Terms
        self.fresh = len(params)
        self.totals: dict[Term, tuple[Term, int]] = {}           # what is only added up: in which carry, at which place of its first axis
        self.names = {p: j for j, p in enumerate(s.carried)}

    def parameter(self, operand: Term) -> Term:
        """A further const."""
        for p, a in self.consts.items():
            if a is operand:
                return p
        p = parameter(self.fresh, operand.aval)
        self.fresh += 1
        self.consts[p] = operand
        return p

    def roots(self) -> list[Term]:
        return [*self.new.values(), *self.rows.values(), *([] if self.test is None else [self.test])]

    def put(self, env: dict[Term, Term]) -> None:
        """Replace Terms in all results."""
        made = iter(substitute(self.roots(), env))
        self.new = {p: next(made) for p in self.new}
        self.rows = {j: next(made) for j in self.rows}
        self.test = None if self.test is None else next(made)

    def finished(self, few: bool) -> dict[int, Term]:
        """The results of the lighter loop by their old numbers. `few`: its kernels can have few buffers."""
        self.steady()
        self.unchanged()
        self.unread()
        self.hoist()
        self.sink(M.FEW if few else 1)
        self.unread()
        if few:
            self.pack()
        n = len(self.s.init)
        carries = list(self.new)
        below = set(toposort(self.roots()))
        consts, xs = ([p for p in group if p in below] for group in (self.consts, self.xs))
        params = [*consts, *carries, *xs]
        if not carries and not self.rows and (self.test is None or n not in self.wanted):
            return self.given
        body = closed(params, [*self.new.values(), *self.rows.values()])
        test = None if self.test is None else closed(params, [self.test])
        made = flow.made(changed(self.s, consts=tuple([self.consts[p] for p in consts]), init=tuple([self.init[p] for p in carries]),
                                 xs=tuple([self.xs[p] for p in xs]), body=body, test=test))
        out = dict(self.given)
        for j in self.wanted:
            if j in self.rows:
                out[j] = pick(made, index=len(carries) + list(self.rows).index(j))
            elif j in self.sunk:
                change, parts = self.sunk[j]
                env = {x: self.total(x, made, carries) for x in parts}
                out[j] = E.add(self.init[self.s.carried[j]], substitute([change], env)[0])
            elif j < n and j not in out:
                out[j] = pick(made, index=carries.index(self.s.carried[j]))
            elif j == n and self.test is not None:
                out[j] = pick(made, index=len(carries))
        return out

    def steady(self) -> None:
        """Operands that are one number all over are written into the body; slices that are the same in every step are consts."""
        env: dict[Term, Term] = {}
        for p, x in (*self.consts.items(), *self.xs.items()):
            if x.op is full:
                env[p] = constant(x.params[0], p.aval.shape, p.aval.dtype)
        for p, x in self.xs.items():
            inner = x.args[0] if x.op is M.broadcast_to else None
            if inner is not None and (inner.aval.ndim < x.aval.ndim or inner.aval.shape[0] == 1):
                if inner.aval.ndim == x.aval.ndim:
                    inner = M.reshape(inner, shape=inner.aval.shape[1:])
                env[p] = M.broadcast_to(self.parameter(inner), shape=p.aval.shape)
        if env:
            self.put(env)
            self.consts = {p: x for p, x in self.consts.items() if p not in env}
            self.xs = {p: x for p, x in self.xs.items() if p not in env}

    def pack(self) -> None:
        """Consts of one number each are one array."""
        alike: dict[np.dtype, list[Term]] = {}
        below = set(toposort(self.roots()))
        for p in self.consts:
            if p.aval.size == 1 and p in below:
                alike.setdefault(p.aval.dtype, []).append(p)
        env: dict[Term, Term] = {}
        for group in alike.values():
            for start in range(0, len(group), M.FEW):
                some = group[start:start + M.FEW]
                if len(some) > 1:
                    q = self.parameter(M.concatenate(*[M.reshape(self.consts[p], shape=(1,)) for p in some], axis=0))
                    env |= {p: M.reshape(M.cut(q, 0, k, 1), shape=p.aval.shape) for k, p in enumerate(some)}
        if env:
            self.put(env)

    def unchanged(self) -> None:
        """Carries that no step changes are consts."""
        same = {p: self.parameter(self.init[p]) for p, new in self.new.items() if new is p}
        for p in same:
            self.given[self.names[p]] = self.init[p]
            del self.new[p]
        if same:
            self.put(same)

    def unread(self) -> None:
        """Carries that only they themselves read are left out."""
        params = set(self.new)
        below: dict[Term, set[Term]] = {}
        for t in toposort(self.roots()):
            below[t] = {t} if t in params else set().union(*[below[a] for a in t.args])
        todo = [p for p in self.new if self.names.get(p) in self.wanted or p not in self.names]
        todo += [p for r in (*self.rows.values(), *([] if self.test is None else [self.test])) for p in below[r]]
        live: set[Term] = set()
        while todo:
            p = todo.pop()
            if p not in live:
                live.add(p)
                todo += below[self.new[p]]
        self.new = {p: new for p, new in self.new.items() if p in live}

    def hoist(self) -> None:
        """What only consts decide is computed before the loop; moving elements about is left to the reader."""
        order = toposort(self.roots())
        moving = {*self.new, *self.xs}
        still: dict[Term, bool] = {}
        for t in order:
            still[t] = t not in moving and all([still[a] for a in t.args])
        roots = self.roots()
        todo = [a for t in order if not still[t] for a in t.args if still[a]] + [r for r in roots if still[r]]
        chosen: dict[Term, Term] = {}
        seen: set[Term] = set()
        while todo:
            t = todo.pop()
            if t in seen or t in self.consts or not t.args:
                continue
            seen.add(t)
            low = t.op.lowering
            if isinstance(low, B.Index) and low.moves:
                todo += t.args
            elif self.s.test is None or not may_fail(t, self.consts):
                chosen[t] = t
        if chosen:
            outside = substitute(chosen, self.consts)
            self.put({t: self.parameter(o) for t, o in zip(chosen, outside, strict=True)})


    def sink(self, together: int) -> None:
        """Carries that only add up `L(x)`, L linear, add up x instead, and L is applied to the total: a sum over a batch is then made
        once and not in each step. Only where that leaves steps of elementwise work; the order in which numbers are added changes.
        `together`: how many of one type share a carry.
        """
        found: dict[Term, tuple[Term, list[Term]]] = {}
        readers: dict[Term, int] = {}
        for t in toposort(self.roots()):
            for a in dict.fromkeys(t.args):
                readers[a] = readers.get(a, 0) + 1
        others = [*self.rows.values(), *self.new.values(), *([] if self.test is None else [self.test])]
        for p, new in self.new.items():
            if new.op is not E.add or p not in new.args or readers[p] != 1 or new.args[0] is new.args[1] or p in others or readers.get(new):
                continue
            change = new.args[1] if new.args[0] is p else new.args[0]
            parts = _linear_parts(change)
            if parts != [change]:
                found[p] = change, parts
        kept = [new for p, new in self.new.items() if p not in found]
        parts = list(dict.fromkeys([x for _, xs in found.values() for x in xs]))
        rest = [*kept, *self.rows.values(), *([] if self.test is None else [self.test]), *parts]
        if not found or not all([_elementwise(t) for t in toposort(rest) if t.args]):
            return
        alike: dict[Aval, list[Term]] = {}
        for x in parts:
            alike.setdefault(x.aval, []).append(x)
        for av, group in alike.items():
            for start in range(0, len(group), together):
                some = group[start:start + together]
                q = parameter(self.fresh, aval((len(some), *av.shape), av.dtype))
                self.fresh += 1
                self.init[q] = constant(0, q.aval.shape, av.dtype)
                self.new[q] = E.add(q, M.concatenate(*[M.reshape(x, shape=(1, *av.shape)) for x in some], axis=0))
                self.totals.update({x: (q, k) for k, x in enumerate(some)})
        for p, (change, xs) in found.items():
            del self.new[p]
            self.sunk[self.names[p]] = change, xs

    def total(self, x: Term, made: Term, carries: list[Term]) -> Term:
        """What `x` came to, all steps together."""
        q, k = self.totals[x]
        return M.reshape(M.cut(pick(made, index=carries.index(q)), 0, k, 1), shape=x.aval.shape)


def _linear_parts(t: Term) -> list[Term]:
    """The Terms that `t` is a linear function of, by sums and movements alone."""
    parts: dict[Term, None] = {}
    todo = [t]
    while todo:
        u = todo.pop()
        if u.op in (E.add, E.sub, E.neg) or (u.op in LINEAR and u.args[0].aval.dtype == u.aval.dtype):
            todo += u.args
        else:
            parts[u] = None
    return list(parts)


LINEAR = frozenset((reduction.sum, M.reshape, M.permute, M.broadcast_to, M.slice_, M.embed))


def _elementwise(t: Term) -> bool:
    """Whether an element of `t` takes few elements of its arguments."""
    low = t.op.lowering
    if isinstance(low, B.Reduction):
        return t.args[0].aval.size <= FEW * t.aval.size
    return isinstance(low, B.Elementwise) or (isinstance(low, B.Index) and low.moves)


def may_fail(t: Term, known: dict[Term, Term]) -> bool:
    """Whether computing `t` from `known` can report a fault: a loop that makes no step must not."""
    todo, seen = [t], set()
    while todo:
        u = todo.pop()
        if u in seen or u in known:
            continue
        seen.add(u)
        low = u.op.lowering
        if isinstance(low, B.Host | B.Scatter) or (isinstance(low, B.Index) and not low.moves) or isinstance(low, B.Control):
            return True
        todo += u.args
    return False


# ---- branches -----------------------------------------------------------------------------------------------------------

def _branch(t: Term, args: tuple[Term, ...], wanted: list[int], passes: Passes, known: dict[Body, Body]) -> dict[int, Term]:
    """A lighter branch: its results by their old numbers."""
    bodies = [prepared(b, passes, known) for b in t.keywords["branches"]]
    index, operands = args[0], args[1:]
    last = len(bodies) - 1

    def inlined(body: Body) -> list[Term]:
        return opened(Body(body.params, tuple([body.results[j] for j in wanted])), operands)

    if index.op is full or last == 0:
        k = 0 if last == 0 else min(max(int(index.keywords["value"]), 0), last)
        return dict(zip(wanted, inlined(bodies[k]), strict=True))
    if all([_cheap(b, wanted) for b in bodies]) and (index.aval.dtype.kind != "b" or last == 1):
        values = [inlined(b) for b in bodies]
        made = values[-1]
        for k in range(last - 1, -1, -1):
            first = E.bit_not(index) if index.aval.dtype.kind == "b" else E.le(index, constant(k, (), index.aval.dtype))
            made = [a if a is b else E.where(M.broadcast_to(first, shape=a.aval.shape), a, b) for a, b in zip(values[k], made, strict=True)]
        return dict(zip(wanted, made, strict=True))
    below = set(toposort([b.results[j] for b in bodies for j in wanted]))
    kept = [k for k in range(len(operands)) if any([b.params[k] in below for b in bodies])]
    lighter = tuple([closed([b.params[k] for k in kept], [b.results[j] for j in wanted]) for b in bodies])
    made = cond(index, *[operands[k] for k in kept], branches=lighter)
    return {j: pick(made, index=k) for k, j in enumerate(wanted)}


def _cheap(body: Body, wanted: list[int]) -> bool:
    """Whether results are few elementwise operations on few elements, which cannot fail."""
    order = [t for t in toposort([body.results[j] for j in wanted]) if t.args]
    if len(order) > CHEAP or any([t.aval.size > SMALL for t in order]):
        return False
    return all([isinstance(t.op.lowering, B.Elementwise) or (isinstance(t.op.lowering, B.Index) and t.op.lowering.moves) for t in order])
