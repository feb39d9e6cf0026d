"""Plans: a request (roots, updates, gradients) found by its structure, interpreted first, native when it comes back.

Two requests of one structure share a Plan, whatever slots their leaves have; a `Binding` joins a Plan to slots. Nothing here
holds a leaf or a handle; bindings own the small arrays of their results.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..ir.term import SWEEPS, Term, toposort
from ..prims import leaf as leaves
from ..prims.base import REGISTRY, Control, Inline
from . import gradients, tiers
from .arrays import duplicate
from .devices import device_of
from .slots import BUFFERS

INTERPRETED = 2                    # runs of a small plan before it is compiled
LARGE = 100_000                    # elements touched from which a plan is compiled at once,
DENSE = 64                         # if there are so many for each Term: chains of scalars are long, not large
PATIENCE = 2000                    # Terms for which a plan is interpreted once more: compiling them takes longer too
REPEATED = 4000                    # Terms that loops would interpret from which a plan is compiled at once
HANDED = 256 << 10                 # bytes of results from which a prepared plan gives its arrays away and does not copy them
UNKNOWN = 1000                     # steps that a loop with a test is taken to make
MAX_PLANS, MAX_NODES = 4096, 1 << 21

PLANS: dict[tuple, Plan] = {}
_nodes = 0
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class TwoDevices(Exception):
    """A value moves between devices below these roots: no one plan computes them."""


class Traced(Exception):
    """There are placeholders of a transform below these roots."""


_resolve: Callable[[Sequence[Term]], list[Term]] | None = None
_placeholders = -(1 << 62)             # slots of placeholders: this and below


def register_resolver(resolve: Callable[[Sequence[Term]], list[Term]], below: int) -> None:
    """Tells how placeholders become what they stand for (the transforms, a layer above, call this once)."""
    global _resolve, _placeholders
    _resolve, _placeholders = resolve, below


def crosses(t: Term) -> bool:
    """Whether `t` is the move of a value from one device to another."""
    return t.op.scoped and t.params[1] is not None


def canonical(roots: Sequence[Term]) -> tuple[tuple, list[Term]]:
    """The structure below `roots`, leaves numbered by first use, and the leaves in that order. Raises TwoDevices."""
    key: list = []
    sources: list[Term] = []
    number: dict[Term, int] = {}
    for i, t in enumerate(toposort(roots)):
        number[t] = i
        if t.op is leaves.source:
            if t.params[0] <= _placeholders:
                raise Traced
            key.append((t.aval, t.needs_grad))
            sources.append(t)
        else:
            if t.op.scoped and crosses(t):
                raise Traced if any(s.op is leaves.source and s.params[0] <= _placeholders for s in toposort(roots)) else TwoDevices
            key.append((t.op, tuple([number[a] for a in t.args]), t.params, t.aval))
    key.append(tuple([number[r] for r in roots]))
    return tuple(key), sources


def _repeated(t: Term) -> int:
    """How many Terms the interpreter would go through for a loop, a branch or a call."""
    known = t.keywords
    if isinstance(t.op.lowering, Inline):
        return len(toposort(known["body"].results))
    if "branches" in known:
        return max(len(toposort(b.results)) for b in known["branches"])
    return known.get("length", UNKNOWN) * len(toposort(known["body"].results))


class Variant:
    """Roots over sources on one device, with one interpreter and one executable."""

    __slots__ = ("device", "executable", "interpreter", "into", "repeated", "roots", "size", "sources", "terms")

    def __init__(self, roots: Sequence[Term], sources: Sequence[Term], into: tuple[int | None, ...], device: Any = "cpu") -> None:
        self.roots, self.sources, self.into, self.device = tuple(roots), tuple(sources), into, device
        self.executable: Any = None
        self.interpreter: Callable | None = None
        order = toposort(self.roots)
        self.terms, self.size = len(order), sum(t.aval.size for t in order)
        self.repeated = sum(_repeated(t) for t in order if isinstance(t.op.lowering, (Control, Inline)))

    def interpret(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The roots' values, by NumPy; they may share memory with the inputs."""
        if self.interpreter is None:
            self.interpreter = tiers.interpreter(self.roots, self.sources)
        return self.interpreter(arrays)

    def compile(self) -> Any:
        """The executable, built once."""
        if self.executable is None:
            with _lock:
                if self.executable is None:
                    self.executable = tiers.build(self.roots, self.sources, self.into, self.device)
        return self.executable


class Plan:
    """What bindings of one structure share. `wants[k]`: the source whose gradient is gradient output k.

    `write` computes (gradients..., kept outputs...); `more` has the present gradients as further inputs and computes
    (kept outputs..., gradients + new ones), the latter in place: one array of arguments serves both.
    """

    __slots__ = ("avals", "device", "more", "runs", "wants", "write")

    def __init__(self, write: Variant, wants: tuple[int, ...] = ()) -> None:
        self.write, self.wants, self.device = write, wants, write.device
        self.more: Variant | None = None
        self.runs = 0
        self.avals = [r.aval for r in write.roots]

    def due(self) -> bool:
        """Counts a run; whether this one should be compiled: on a GPU always, there is no interpreter."""
        if self.device != "cpu":
            return True
        self.runs += 1
        size, terms = self.write.size, self.write.terms
        due = self.runs > INTERPRETED + terms // PATIENCE or size >= max(LARGE, DENSE * terms) or self.write.repeated >= REPEATED
        return due and tiers.native()

    def accumulating(self) -> Variant:
        """The variant that adds to gradients which are there."""
        if self.more is None:
            g = len(self.wants)
            w = self.write
            present = [leaves.leaf(-2 - k, w.roots[k].graph or 0, w.roots[k].aval, False) for k in range(g)]
            add = REGISTRY["add"]
            roots = [*w.roots[g:], *(add(p, r) for p, r in zip(present, w.roots[:g], strict=True))]
            n = len(w.sources)
            into = (*[None] * (len(roots) - g), *range(n, n + g))
            self.more = Variant(roots, [*w.sources, *present], into, self.device)
        return self.more


def find(key: tuple, nodes: int, make: Callable[[], Plan]) -> Plan:
    global _nodes
    found = PLANS.get(key)
    if found is not None:
        return found
    with _lock:
        found = PLANS.get(key)
        if found is None:
            if len(PLANS) >= MAX_PLANS or _nodes > MAX_NODES:
                PLANS.clear()
                _nodes = 0
            found = PLANS[key] = make()
            _nodes += nodes
    return found


# ---- bindings -------------------------------------------------------------------------------------------------------

class Binding:
    """A Plan at certain slots. `call()` computes and returns the result: an array, or a tuple of them.

    Outputs in order: gradients of the leaves `wants`, kept results, then updates written into the leaves `targets`.
    Interpreted until the plan is due; `install` is then told the native callable, which does not refer to this object.
    """

    __slots__ = ("__weakref__", "call", "gavals", "gslots", "install", "native", "plan", "single", "slots", "targets")

    def __init__(self, plan: Plan, slots: list[int], targets: Sequence[int] = (), single: bool = True,
                 install: Callable[[Callable], None] | None = None) -> None:
        self.plan, self.slots, self.targets, self.single, self.install = plan, slots, list(targets), single, install
        self.gslots = [slots[i] for i in plan.wants]
        self.gavals = plan.avals[:len(self.gslots)]
        self.call: Callable[[], Any] | None = None
        self.native: Any = None

    def run(self) -> Any:
        """Runs by native code where there is some or it is due, else by the interpreter."""
        if self.call is None and self.plan.due():
            self.go_native()
        return self.interpret() if self.call is None else self.call()

    def handed(self, found: Any) -> bool:
        """Whether the arrays of the last run, which gave `found`, are the caller's own from now on: large ones are, the next run makes others."""
        native = self.native
        return isinstance(native, tiers.Native) and native.held >= HANDED and found is native.result and native.release()

    def interpret(self) -> Any:
        """One run by NumPy."""
        outs = self.plan.write.interpret([BUFFERS[s] for s in self.slots])
        g, m = len(self.gslots), len(outs) - len(self.targets)
        if g:
            gradients.accumulate(self.gslots, self.gavals, outs[:g])
        for slot, out in zip(self.targets, outs[m:], strict=True):
            np.copyto(BUFFERS[slot], out)
        return outs[g] if self.single else tuple(outs[g:m])

    def go_native(self) -> None:
        """Compiles the plan if need be, and binds its code to these slots."""
        self.native = tiers.bound(self.plan, self.slots, self.targets, self.single)
        self.call = self.native.callable()
        if self.install is not None:
            self.install(self.call)


def device_among(roots: Sequence[Term]) -> Any:
    """The device of the leaves below `roots`; the CPU where there are none."""
    for r in roots:
        if r.graph is not None:
            return device_of(r.graph)
    return "cpu"


def _forward_plan(roots: Sequence[Term], updates: Sequence[tuple[Term, Term]]) -> tuple[Plan, list[int]]:
    device = device_among([*roots, *[old for old, _ in updates]])
    news = [new for _, new in updates]
    key, sources = canonical([*roots, *news])
    index = {s: i for i, s in enumerate(sources)}
    into = (*[None] * len(roots), *[index.get(old) for old, _ in updates])

    def make() -> Plan:
        return Plan(Variant([*roots, *news], sources, into, device))

    plan = find(("run", device, into, key), len(key), make)
    return plan, [s.params[0] for s in sources]


def _nothing() -> None:
    return None


def values(roots: Sequence[Term], updates: Sequence[tuple[Term, Term]] = (), single: bool = False,
           moved: Mapping[int, int] = MappingProxyType({})) -> Any:
    """A binding that computes `roots` and writes each update's new value into its leaf.

    `moved`: slots to read from instead of the leaves' own.
    """
    try:
        plan, slots = _forward_plan(roots, updates)
    except TwoDevices:
        from .crossing import Crossing
        return Crossing([*roots, *[new for _, new in updates]], (), [old.params[0] for old, _ in updates], single, moved)
    except Traced:
        found = _resolve([*roots, *[new for _, new in updates]])
        return values(found[:len(roots)], list(zip([old for old, _ in updates], found[len(roots):], strict=True)), single, moved)
    slots = [moved.get(s, s) for s in slots]
    return Binding(plan, slots, [old.params[0] for old, _ in updates], single)


def forward(root: Term) -> Callable[[], np.ndarray]:
    """Binds `root.forward`: called without arguments, it computes the root's value."""
    if root.op is leaves.source:                   # its value is its buffer
        if root.params[0] <= _placeholders:
            return _resolved(root)
        root.forward = _nothing
        return _nothing
    try:
        plan, slots = _forward_plan([root], ())
    except TwoDevices:
        from .crossing import Crossing
        root.forward = call = Crossing([root]).run
        return call
    except Traced:
        return _resolved(root)

    def install(call: Callable) -> None:
        root.forward = call

    root.forward = call = Binding(plan, slots, install=install).run
    return call


def _resolved(root: Term) -> Callable[[], Any]:
    """`forward` of what the root stands for; not kept with the root, whose placeholders will stand for other things.

    It gives a copy: the handle that asks need not keep what the root stands for, nor its buffers, alive.
    """
    (found,) = known([root])
    call = found.forward or forward(found)

    def run() -> Any:
        array = call()
        return duplicate(BUFFERS[found.params[0]] if array is None else array)
    return run


def known(roots: Sequence[Term]) -> list[Term]:
    """`roots` with placeholders replaced by what they stand for; raises where that is not known. Bindings may be kept for these only."""
    return list(roots) if _resolve is None else _resolve(roots)


WITH_COTANGENT: dict[tuple[Term, Term], Callable] = {}       # (root, leaf of the cotangent) -> bound callable


def backward(root: Term, ct: Term | None = None) -> Callable[[], np.ndarray]:
    """Binds `root.backward`: computes the value and adds the gradients of all leaves that want one."""
    def install(call: Callable) -> None:
        if ct is None:
            root.backward = call
        else:
            WITH_COTANGENT[root, ct] = call

    try:
        key, sources = canonical([root] if ct is None else [root, ct])
    except TwoDevices:
        from .crossing import Crossing
        sources = [t for t in toposort([root]) if t.op is leaves.source and t.needs_grad]
        pairs = [(s.params[0], g) for s, g in zip(sources, derivative(root, ct, sources), strict=True) if g is not None]
        call = Crossing([*[g for _, g in pairs], root], [slot for slot, _ in pairs]).run
        install(call)
        return call
    except Traced:
        found = _resolve([root] if ct is None else [root, ct])
        return (found[0].backward if ct is None else None) or backward(*found)
    device = device_of(root.graph)

    def make() -> Plan:
        wanting = [i for i, s in enumerate(sources) if s.needs_grad]
        found = derivative(root, ct, [sources[i] for i in wanting])
        pairs = [(i, g) for i, g in zip(wanting, found, strict=True) if g is not None]
        outs = [*[g for _, g in pairs], root]
        return Plan(Variant(outs, sources, (None,) * len(outs), device), tuple([i for i, _ in pairs]))

    plan = find(("backward", device, ct is not None, key), len(key), make)
    call = Binding(plan, [s.params[0] for s in sources], install=install).run
    install(call)
    return call


def derivative(root: Term, ct: Term | None, wrt: Sequence[Term]) -> list[Term | None]:
    """∂root/∂wrt applied to `ct` (ones where None), as Terms; None where no derivative flows."""
    from ..ad import vjp
    return vjp([root], [leaves.like(root, 1) if ct is None else ct], list(wrt))


def _sweep() -> None:
    global _nodes
    WITH_COTANGENT.clear()
    if len(PLANS) > MAX_PLANS or _nodes > MAX_NODES:
        PLANS.clear()
        _nodes = 0


SWEEPS.append(_sweep)
