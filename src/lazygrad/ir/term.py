"""Term: the immutable, exactly interned node of the array graph, and the walks over it.

In: an op, argument Terms, static parameters, an Aval. Out: one object for equal inputs, so `is` is equality and common
subexpressions are shared. A Term holds no data: a source names a recycled leaf *slot*, never a buffer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from sys import getrefcount
from typing import Any

from .aval import Aval

BREAK = 64                 # every 64th level of a chain is a class whose release is iterative
LIMIT = 1 << 17            # Terms kept before the table is swept

TERMS: dict[tuple, Term] = {}
MEMOS: list[dict] = []     # call memos of the layers above: cleared by every sweep
SWEEPS: list[Any] = []     # functions called at the start of a sweep
_lock = threading.RLock()
_limit = LIMIT


class Term:
    """`op(*args, **params)` of shape and dtype `aval`.

    `graph` is the number of the graph whose leaves it reads (None for constants), `depth` the length of its longest
    chain, `needs_grad` whether a derivative can flow through it to a leaf that wants one. `handle`, `forward` and
    `backward` belong to the layers above: the handle class, and the plans bound to this root.
    """

    __slots__ = ("args", "aval", "backward", "depth", "forward", "graph", "handle", "needs_grad", "op", "params")
    links = ("args",)
    op: Any
    args: tuple[Term, ...]
    params: tuple
    aval: Aval
    graph: int | None
    depth: int
    needs_grad: bool
    handle: Any
    forward: Any
    backward: Any

    @property
    def keywords(self) -> dict[str, Any]:
        """The static parameters by name."""
        return dict(zip(self.op.names, self.params, strict=True))

    def __repr__(self) -> str:
        static = [f"{k}={v}" for k, v in self.keywords.items()]
        return f"{self.op}({', '.join([repr(a.op) for a in self.args] + static)}): {self.aval}"


_own = threading.local()   # `queue`: what this thread is releasing


def release(self) -> None:
    """`__del__` of deep objects: drops `self.links` through the thread's queue, so C recursion is bounded by BREAK."""
    if _own is None:       # interpreter shutdown
        return
    outer = getattr(_own, "queue", None)
    queue = [] if outer is None else outer
    for field in self.links:
        queue.append(getattr(self, field, None))
        setattr(self, field, None)
    if outer is None:
        _own.queue = queue
        try:
            while queue:
                queue.pop()
        finally:
            _own.queue = None


class DeepTerm(Term):
    """A Term at every BREAK-th level: releases its arguments iteratively."""

    __slots__ = ()
    __del__ = release


_shallow: Any = None
_deep: Any = None


def register_handles(shallow: type, deep: type) -> None:
    """Tell the classes that `Term.handle` names (the tensor layer calls this once)."""
    global _shallow, _deep
    _shallow, _deep = shallow, deep


def term(op: Any, args: tuple[Term, ...], params: tuple, aval: Aval, graph: int | None = None) -> Term:
    """The interned Term. Called by Prims on checked arguments; `params` is in the order of `op.names`.

    It reads the graph of its arguments, but for a `scoped` op, whose first parameter says which one it belongs to.
    """
    key = (op, args, params, aval)
    found = TERMS.get(key)
    if found is not None:
        return found
    if len(TERMS) > _limit:
        sweep()
    depth, needs_grad = 0, False
    if op.scoped:
        graph = params[0]
    for a in args:
        if a.depth > depth:
            depth = a.depth
        if graph is None:
            graph = a.graph
        if a.needs_grad:
            needs_grad = True
    depth += 1
    if depth % BREAK:
        made = Term()
        made.handle = _shallow
    else:
        made = DeepTerm()
        made.handle = _deep
    made.op, made.args, made.params, made.aval, made.graph, made.depth = op, args, params, aval, graph, depth
    made.needs_grad = needs_grad and op.differentiable and aval.inexact if args else op.wants_grad(params)
    made.forward = made.backward = None
    return TERMS.setdefault(key, made)


def sweep() -> None:
    """Drop the Terms that only the table holds, youngest first: no recursion, no weak references."""
    global _limit
    with _lock:
        for hook in SWEEPS:
            hook()
        for memo in MEMOS:
            memo.clear()
        for t in list(TERMS.values()):
            t.forward = t.backward = None
        live = {}
        t = None
        while TERMS:
            key, t = TERMS.popitem()
            if getrefcount(t) > 2:      # a handle, a younger live Term, or a walk in progress
                live[key] = t
            key = t = None
        TERMS.update(reversed(live.items()))
        _limit = max(LIMIT, 2 * len(TERMS))


def toposort(roots: Iterable[Term]) -> list[Term]:
    """All Terms below `roots`, arguments before users, in a deterministic order. Iterative."""
    seen: set[Term] = set()
    order: list[Term] = []
    stack = list(roots)[::-1]
    while stack:
        t = stack[-1]
        if t in seen:
            stack.pop()
            continue
        todo = [a for a in t.args if a not in seen]
        if todo:
            stack.extend(reversed(todo))
        else:
            seen.add(t)
            order.append(t)
            stack.pop()
    return order


def substitute(roots: Iterable[Term], env: dict[Term, Term]) -> list[Term]:
    """`roots` with every Term that is a key of `env` replaced; shared parts are rebuilt once. Iterative."""
    done = dict(env)
    roots = list(roots)
    stack = roots[::-1]
    while stack:
        t = stack[-1]
        if t in done:
            stack.pop()
            continue
        todo = [a for a in t.args if a not in done]
        if todo:
            stack.extend(reversed(todo))
            continue
        args = tuple([done[a] for a in t.args])
        done[t] = t if args == t.args else term(t.op, args, t.params, t.aval)
        stack.pop()
    return [done[r] for r in roots]


def rewrite(roots: Iterable[Term], step: Callable[[Term], Term | None]) -> list[Term]:
    """`roots` with `step` applied to every Term, arguments first, until it gives None everywhere. Iterative."""
    done: dict[Term, Term] = {}
    roots = list(roots)
    stack = roots[::-1]
    while stack:
        t = stack[-1]
        if t in done:
            stack.pop()
            continue
        todo = [a for a in t.args if a not in done]
        if todo:
            stack.extend(reversed(todo))
            continue
        args = tuple([done[a] for a in t.args])
        here = t if args == t.args else term(t.op, args, t.params, t.aval)
        new = step(here)
        if new is None:
            done[t] = done[here] = here
        elif new in done:
            done[t] = done[here] = done[new]
        else:
            stack.append(new)
            continue
        stack.pop()
    return [done[r] for r in roots]
