"""Traces: a user's function called on placeholders, so that what it computes can be transformed as Terms.

In: a function and its arguments. Out: the Terms it made over placeholders, leaves with slots that no tensor has. Every use of
a transform has placeholders of its own, so that nested uses never take each other's variables for their own. What comes
back to the user has the actual arguments in their place.
"""

from __future__ import annotations

import functools
import heapq
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..context import recording, source_line, stopping, user_frame
from ..data import to_array
from ..errors import LazygradError, TraceError
from ..graph import default_graph
from ..ir.aval import Aval, aval
from ..ir.function import Body
from ..ir.term import MEMOS, Term, substitute, toposort
from ..prims.elementwise import stop_gradient
from ..prims.leaf import closed, leaf, source
from ..runtime import plans
from ..tensor import DeepTensor, Tensor, graph_of, now

PLACEHOLDER = -(1 << 42)               # slots of placeholders: this and below, down to those of `ad.control.SCRATCH`
OUTSIDE = -(1 << 46)                   # slots of what a Body takes from outside, until it is closed
STACKS = -(1 << 45)                    # slots of what stands for the examples of a placeholder

_free: list[int] = []                  # numbers of placeholders that nothing refers to any more
_made = 0
_lock = threading.RLock()

ACTIVE: dict[Term, tuple[Trace, Term | None]] = {}      # placeholder -> its trace, and what it stands for (None: not known)
SUBSTITUTED: dict[tuple, tuple[Term, ...]] = {}
INNER: dict[tuple, tuple[frozenset[Term], bool]] = {}
SOURCES: dict[tuple, Term] = {}        # (number, graph, aval) -> placeholder
CLOSED: dict[tuple, tuple[Body, list[Term]]] = {}
MEMOS.extend((SUBSTITUTED, INNER, CLOSED, SOURCES))


class Argument:
    """The owner of a placeholder's number, which comes back when no tensor that stands for the argument is left.

    The lowest free number is taken: a program that uses a transform again finds the same placeholders, so the same Terms and
    plans; but never those that a tensor kept from an earlier use still reads.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        global _made
        with _lock:
            if _free:
                self.number = heapq.heappop(_free)
            else:
                self.number, _made = _made, _made + 1

    def __del__(self) -> None:
        if _free is not None:              # None: interpreter shutdown
            with _lock:
                heapq.heappush(_free, self.number)


class Trace:
    """One use of a transform, as a context. `kind` is its name in errors.

    A *concrete* trace knows the arguments: a value that the function asks for (`if x > 0`, `x.item()`) is computed. An abstract
    one (`compile`, `vmap`, the body of a loop) does not, and asking is a TraceError that names the line.
    """

    def __init__(self, kind: str, concrete: bool) -> None:
        self.kind, self.concrete = kind, concrete
        self.terms: list[Term] = []        # the placeholders
        self.owners: list[Argument] = []
        self.at: tuple[Any, int] | None = None

    def __enter__(self) -> Trace:
        return self

    def placeholder(self, like: Tensor | Aval, actual: Term | None = None) -> Tensor:
        """A tensor that stands for an argument: of the type of `like`, in its graph, for the Term `actual` where that is known."""
        if isinstance(like, Aval):
            return self._placeholder(like, None, actual)
        t = like.term
        return self._placeholder(t.aval, t.graph, actual)

    def placeholder_like(self, h: Tensor, av: Aval) -> Tensor:
        """One of another type than `h`, in its graph."""
        return self._placeholder(av, h.term.graph, None)

    def placeholder_in(self, graph: int | None, av: Aval) -> Tensor:
        """One in the scope of that number: data beside it goes to that graph and device."""
        return self._placeholder(av, graph, None)

    def _placeholder(self, av: Aval, graph: int | None, actual: Term | None) -> Tensor:
        owner = Argument()
        key = owner.number, graph, av
        t = SOURCES.get(key)
        if t is None:
            t = SOURCES[key] = leaf(PLACEHOLDER - owner.number, graph, av, True)
        if self.at is None:
            self.at = user_frame(sys._getframe(2))
        h = t.handle()
        h.term, h.a, h.b = t, owner, None
        h.code, h.lasti = self.at
        self.terms.append(t)
        self.owners.append(owner)
        ACTIVE[t] = self, actual if self.concrete else None
        return h

    def stacks(self, n: int) -> list[Term]:
        """For every placeholder a source Term with a leading axis of n: what stands for all examples."""
        return stacked(self.terms, n)

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Calls the user's function. A `no_grad` around the transform concerns its results, not what it differentiates."""
        with recording():
            return function(*args, **kwargs)

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        for t in self.terms:
            ACTIVE.pop(t, None)
        self.owners.clear()


def stacked(placeholders: Sequence[Term], n: int) -> list[Term]:
    """For every placeholder a source Term of its own with a leading axis of n."""
    return [leaf(STACKS - (PLACEHOLDER - t.params[0]), t.graph, aval((n, *t.aval.shape), t.aval.dtype), True) for t in placeholders]


# ---- values that are asked for while a function is traced ----------------------------------------------------------------

def resolved(roots: Sequence[Term]) -> list[Term]:
    """`roots` with placeholders replaced by what they stand for, through all traces that are open."""
    found = list(roots)
    while True:
        env: dict[Term, Term] = {}
        for t in toposort(found):
            if t.op is source and t.params[0] <= PLACEHOLDER:
                trace, actual = ACTIVE.get(t, (None, None))
                if actual is None:
                    raise _unknown(trace, found[0].aval)
                env[t] = actual
        if not env:
            return found
        found = substitute(found, env)


def _unknown(trace: Trace | None, av: Aval) -> TraceError:
    if trace is None:
        error = TraceError("transform", str(av), "it was made inside a transform that has ended, where it had no value of its own",
                           "return it from the function instead of keeping it")
    else:
        error = TraceError(trace.kind, str(av), f"its value is not known while {trace.kind} traces the function",
                           "choose with lazygrad.where or lazygrad.cond, loop with lazygrad.while_loop or scan, or look at it outside")
    error.add_note(f"  at {source_line(*user_frame(sys._getframe(2)))}")
    return error


plans.register_resolver(resolved, PLACEHOLDER)


# ---- from what a function returned to Terms, and back -----------------------------------------------------------------------

def tensor_of(v: Any, op: str, graph: Any = None) -> Tensor:
    """A tensor of an argument or a result: itself, or a leaf without gradient that holds the data."""
    if isinstance(v, Tensor):
        return v
    return (graph or default_graph()).leaf(to_array(v, None, op), False, sys._getframe(1))


def inside(terms: Sequence[Term], env_from: Sequence[Term], env_to: Sequence[Term]) -> tuple[Term, ...]:
    """`terms` with one list of Terms put for another; remembered, so that a second use of a transform costs a look-up."""
    key = (tuple(terms), tuple(env_from), tuple(env_to))
    found = SUBSTITUTED.get(key)
    if found is None:
        found = SUBSTITUTED[key] = tuple(substitute(terms, dict(zip(env_from, env_to, strict=True))))
    return found


def captured(terms: Sequence[Term], places: Sequence[Term], handles: Sequence[Tensor]) -> list[Tensor]:
    """The tensors from outside that `terms` were made of: a result has to keep them, and derivatives flow to them.

    `handles`: tensors whose history made the Terms, over the placeholders `places`.
    """
    key = (tuple(terms), tuple(places))
    found = INNER.get(key)
    if found is None:
        inner = set(places)
        outside = False
        for t in toposort(terms):
            if not inner.isdisjoint(t.args):
                inner.add(t)
            elif t.op is source and t not in inner:
                outside = True
        found = INNER[key] = frozenset(inner), outside
    inner, outside = found
    if not outside:
        return []
    kept: list[Tensor] = []
    seen: set[int] = set()
    stack = list(handles)
    while stack:
        h = stack.pop()
        if id(h) in seen:
            continue
        seen.add(id(h))
        if h.term in inner:
            a, b = h.a, h.b
            if isinstance(b, Tensor):
                stack.append(b)
            elif b.__class__ is tuple:
                stack += [o for o in b if isinstance(o, Tensor)]
            if isinstance(a, Tensor):
                stack.append(a)
        elif h.term.args or h.term.op is source:           # not a constant
            kept.append(h)
    return kept


def wrapped(terms: Sequence[Term], of: Sequence[Tensor], code: Any, at: int) -> list[Tensor]:
    """Tensors of `terms` with the operands `of`, whose history keeps their leaves."""
    n = len(of)
    a, b = of[0] if n else None, None if n < 2 else of[1] if n == 2 else tuple(of[1:])
    out = []
    depth = max([o.term.depth for o in of], default=-1)
    barred = stopping()
    for t in terms:
        if barred and t.needs_grad:
            t = stop_gradient(t)
        h = (t.handle if t.depth > depth else DeepTensor)()
        h.term, h.a, h.b, h.code, h.lasti = t, a, b, code, at
        out.append(h)
    if len(out) > 1:
        kin(out)
    return out


class Family:
    """The results of one use of a transform: the first that is asked for is computed alone, all that are left with the second.

    So `loss, g = value_and_grad(f)(x)` costs no gradient where only the loss is read, and the gradients by ten parameters cost one run and
    not ten. Where several were asked for the last time, they are computed together at once.
    """

    __slots__ = ("alone", "asked", "greedy", "handles", "joint", "stamp", "terms")

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms
        self.handles: list[weakref.ref[Tensor]] = []
        self.alone: dict[int, Any] = {}
        self.joint: dict[tuple[int, ...], Any] = {}
        self.stamp, self.asked, self.greedy = -1, 0, False

    def value(self, i: int) -> Any:
        """The value of result i; the others' are left with their handles."""
        stamp = now()
        if self.stamp != stamp:
            self.stamp, self.greedy, self.asked = stamp, self.greedy or self.asked > 1, 0
        self.asked += 1
        found = [h() for h in self.handles]
        live = [k for k, h in enumerate(found) if h is not None and (k == i or (h.term is self.terms[k] and getattr(h, "stamp", -1) != stamp))]
        if (self.asked < 2 and not self.greedy) or len(live) < 2 or i not in live:
            call = self.alone.get(i)
            if call is None:
                call = self.alone[i] = plans.values([self.terms[i]], single=True).run
            return call()
        key = tuple(live)
        run = self.joint.get(key)
        if run is None:
            run = self.joint[key] = plans.values([self.terms[k] for k in live]).run
        values = run()
        for k, v in zip(live, values, strict=True):
            found[k]._value, found[k].stamp = v, stamp
        return values[live.index(i)]


_NEW: Any = object()
FAMILIES: dict[tuple[Term, ...], Family | None] = {}
MEMOS.append(FAMILIES)


def kin(handles: Sequence[Tensor]) -> None:
    """Makes tensors one family."""
    terms = tuple([h.term for h in handles])
    family = FAMILIES.get(terms, _NEW)
    if family is _NEW:                                   # over placeholders nothing may be bound
        traced = any([t.op is source and t.params[0] <= PLACEHOLDER for t in toposort(terms)])
        family = FAMILIES[terms] = None if traced else Family(terms)
    if family is None:
        return
    family.handles = [weakref.ref(h) for h in handles]
    for i, t in enumerate(terms):
        if t.forward is None and t.args and t.graph is not None:
            t.forward = functools.partial(family.value, i)


def close(results: Sequence[Term], placeholders: Sequence[Term]) -> tuple[Body, list[Term]]:
    """(the Body of `results`, the Terms it takes beside the placeholders, as parameters after them).

    Those are the largest parts that do not depend on the placeholders: computed outside, once. They may hold placeholders of
    an outer trace.
    """
    key = (tuple(results), tuple(placeholders))
    found = CLOSED.get(key)
    if found is not None:
        return found
    inner = set(placeholders)
    reads: set[Term] = set()                              # Terms below which there is a leaf
    order = toposort(results)
    for t in order:
        if t.op is source or not reads.isdisjoint(t.args):
            reads.add(t)
        if not inner.isdisjoint(t.args):
            inner.add(t)
    others: dict[Term, None] = {}

    def outside(t: Term) -> None:
        while t.op.name == "broadcast_to":                # not worth an array
            inner.add(t)
            t = t.args[0]
        if t not in inner and t in reads:
            others[t] = None

    for t in results:
        if t not in inner:
            outside(t)
    for t in order:
        if t in inner:
            for a in t.args:
                if a not in inner:
                    outside(a)
    taken = list(others)
    stand = [leaf(OUTSIDE - k, None, t.aval, True) for k, t in enumerate(taken)]
    inside_ = substitute(results, dict(zip(taken, stand, strict=True)))
    found = CLOSED[key] = closed([*placeholders, *stand], inside_), taken
    return found


def noted(error: BaseException, code: Any, at: int) -> None:
    """Adds the user's line to one of our errors (once)."""
    if isinstance(error, LazygradError) and not any(note.startswith("  at ") for note in getattr(error, "__notes__", ())):
        error.add_note(f"  at {source_line(code, at)}")


def of_same_graph(*args: Any) -> Any:
    """The scope of the first tensor among `args`; the default graph where there is none."""
    for v in args:
        if isinstance(v, Tensor) and v.term.graph is not None:
            return graph_of(v)
    return default_graph()


def number_of(handles: Iterable[Any]) -> int | None:
    """The number of the scope that tensors belong to; None where none of them has one."""
    return next((h.term.graph for h in handles if isinstance(h, Tensor) and h.term.graph is not None), None)


def is_data(v: Any) -> bool:
    """Whether a leaf of a container is numbers: a tensor, an array, a Python or NumPy number."""
    return isinstance(v, (Tensor, np.ndarray, np.generic, bool, int, float, complex)) or hasattr(v, "__dlpack__")

