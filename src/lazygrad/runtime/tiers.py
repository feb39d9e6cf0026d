"""The tiers of execution: the interpreter, and native code, bound to slots through a record that its built-in callable reads.

`LAZYGRAD_BACKEND=reference` in the environment keeps everything interpreted; where there is no native code (no llvmlite) that
happens by itself.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from .. import reference
from ..errors import IndexingError
from ..ir.aval import Pack
from ..ir.function import Body
from ..ir.term import Term, toposort
from ..prims.base import REGISTRY, Inline
from . import gradients, slots
from .memory import Region, address, allocate
from .slots import GRADIENTS, grads, pointers, states

RELEASE_WORK = 200_000             # scalar operations from which a plan gives up the GIL
MAX_RESULTS = 256 << 20            # bytes that the results of all bindings may hold together
INTERRUPTED = -1                   # the fault of a loop that Ctrl-C ended
HEADER = 3                         # args: externs, arena, fault cell; then inputs, gradients, results, updates


@cache
def setting() -> str:
    """The tier asked for by the environment: "auto" or "reference"."""
    return os.environ.get("LAZYGRAD_BACKEND", "auto")


@cache
def native() -> bool:
    """Whether plans can become native code here."""
    if setting() == "reference":
        return False
    from ..backends import llvm
    return llvm.available()


def interpreter(roots: Sequence[Term], sources: Sequence[Term]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A function from the sources' arrays to the roots' arrays, by NumPy alone."""
    return reference.program(roots, sources)


def build(roots: Sequence[Term], sources: Sequence[Term], into: tuple[int | None, ...], device: Any = "cpu") -> Any:
    """Compiles a request for a device: on the CPU to native code, where one met before on this machine is found again by its text."""
    if device != "cpu":
        from . import gpu
        return gpu.build(roots, sources, into, device)
    from ..backends import llvm

    def make() -> Any:
        from .. import compiler
        return compiler.compile(roots, sources, into, llvm.caps)

    text = request(roots, sources, into)
    return llvm.build(make()) if text is None else llvm.recall(text, make)


BUILT_IN = dict(REGISTRY)          # operations that the package's files define
PLAIN = frozenset((int, float, bool, str, type(None)))


def request(roots: Sequence[Term], sources: Sequence[Term], into: tuple[int | None, ...]) -> str | None:
    """A text equal for structurally equal requests only; None where a parameter or an operation has no such text.

    >>> from ..ir.aval import aval
    >>> from ..prims.leaf import leaf
    >>> x = leaf(0, 0, aval((2,), np.dtype("float32")), True)
    >>> print(request([REGISTRY["exp"](x)], [x], (None,)))
    source 0 (2,)<f4
    exp (0,) () (2,)<f4
    (1,) (None,)
    """
    places = {t: i for i, t in enumerate(sources)}
    number: dict[Term, int] = {}
    types: dict[Any, str] = {}
    lines: list[str] = []
    for i, t in enumerate(toposort([*sources, *roots])):
        number[t] = i
        av = t.aval
        kind = types.get(av)
        if kind is None:
            kind = types[av] = repr(av) if av.__class__ is Pack else f"{av.shape}{av.dtype.str}"
        if t in places:
            lines.append(f"source {places[t]} {kind}")
        else:
            said = t.params[:1] if isinstance(t.op.lowering, Inline) else t.params          # its rule is no part of what is computed
            params = _said(said) if BUILT_IN.get(t.op.name) is t.op else None
            if params is None:
                return None
            lines.append(f"{t.op.name} {tuple([number[a] for a in t.args])} {params} {kind}")
    return "\n".join([*lines, f"{tuple([number[r] for r in roots])} {tuple(into)}"])


def _said(v: Any) -> str | None:
    """A parameter as text that says all about it, None where there is none."""
    if v.__class__ in PLAIN or isinstance(v, np.dtype):
        return repr(v)
    if v.__class__ is tuple:
        parts = [_said(i) for i in v]
        return None if None in parts else f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    if v.__class__ is Body:
        text = request(v.results, v.params, (None,) * len(v.results))
        return None if text is None else f"{{{text}}}"
    return None


# ---- the arena: one for all plans, as only one runs at a time while the GIL is held ------------------------------------

ARENA = np.zeros(2, np.int64)      # {busy, base}
_lock = threading.RLock()
_arena: Region | None = None
_outgrown: list[Region] = []       # arenas that a running plan may still use


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()
    ARENA[0] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def reserve(nbytes: int) -> None:
    """Makes the arena at least `nbytes` large."""
    global _arena
    with _lock:
        if _arena is not None and _arena.size >= nbytes:
            return
        if ARENA[0] and _arena is not None:
            _outgrown.append(_arena)
        else:
            _outgrown.clear()
        _arena = Region(nbytes)
        ARENA[1] = _arena.at


# ---- results --------------------------------------------------------------------------------------------------------

_holders: weakref.WeakSet[Native] = weakref.WeakSet()
_held = 0


def _account(holder: Native, nbytes: int) -> None:
    """Counts results; when they are too many all are dropped (handles that show them keep theirs)."""
    global _held
    with _lock:
        if _held + nbytes > MAX_RESULTS:
            for other in list(_holders):
                other.release()
        _holders.add(holder)
        _held += nbytes


class Native:
    """Native code at certain slots: the arguments, the record, and what to do where the fast way does not apply.

    args: [header][n inputs][g gradients][k results][u updates], for both variants of a plan: to the one that writes, the
    gradients are the first outputs; to the one that accumulates they are the last inputs (and its last outputs lie in them).
    """

    __slots__ = ("__weakref__", "args", "cell", "gavals", "gslots", "held", "kavals", "kept", "more", "plan", "record", "result", "single",
                 "slots", "stub", "targets", "write")

    def __init__(self, plan: Any, inputs: list[int], targets: list[int], single: bool) -> None:
        self.plan, self.slots, self.targets, self.single = plan, inputs, targets, single
        self.gslots = [inputs[i] for i in plan.wants]
        n, g, u = len(inputs), len(self.gslots), len(targets)
        self.gavals, self.kavals = plan.avals[:g], plan.avals[g:len(plan.avals) - u]
        self.kept: list[np.ndarray] | None = None
        self.result: Any = None
        self.held = 0
        self.write, self.more = plan.write.compile(), None
        self.args = np.zeros(HEADER + n + g + len(self.kavals) + u + g, np.int64)
        self.cell = np.zeros(1, np.int64)
        from ..backends.llvm import externs
        self.args[0], self.args[2] = address(externs.table()), address(self.cell)
        self.record: np.ndarray | None = None
        self.stub: Any = lambda: None

    def callable(self) -> Callable[[], Any]:
        """The fastest callable there is: a built-in over the record, or the driver where Python has to take part."""
        if self.write.native is None:
            return self.drive
        from ..backends.llvm import entry
        n, g = len(self.slots), len(self.gslots)
        program = self.write
        slow, fault = self.slow, self.fault
        record = self.record = np.zeros(16 + n + g, np.int64)
        if program.arena:
            reserve(program.arena)
        record[:16] = (self.write.native, 0, n, g, program.work >= RELEASE_WORK, 0, id(slow), id(fault), address(self.args), *slots.ADDRESSES,
                       address(ARENA) if program.arena else 0, HEADER + n, 0, 0)
        record[16:] = [*self.slots, *self.gslots]
        call = entry.bind(record, (slow, fault))
        self.stub = weakref.ref(call)
        self.outputs()
        if self.targets:                       # updates of leaves that the plan does not read have no slot in the record
            return self.updating(call)
        return call

    def updating(self, call: Callable) -> Callable[[], Any]:
        """`call` with the addresses of the updated leaves put into the arguments first."""
        first = HEADER + len(self.slots) + len(self.gslots) + len(self.kavals)
        places = [(first + j, slot) for j, slot in enumerate(self.targets) if self.plan.write.into[len(self.kavals) + j] is None]
        if not places:
            return call
        args = memoryview(self.args)

        def run() -> Any:
            for place, slot in places:
                args[place] = pointers[slot]
            return call()
        return run

    # -- results: arrays of this binding, written again by each run

    def outputs(self) -> None:
        """Makes the result arrays."""
        if self.kept is not None:
            return
        made = [allocate(av) for av in self.kavals]
        held = sum(av.nbytes for av in self.kavals)
        _account(self, held)
        self.kept, self.held = [a for a, _ in made], held
        self.result = self.kept[0] if self.single else tuple(self.kept)
        first = HEADER + len(self.slots) + len(self.gslots)
        self.args[first:first + len(made)] = [at for _, at in made]
        if self.record is not None:
            self.record[5] = id(self.result)

    def release(self) -> bool:
        """Drops the result arrays, unless code is writing them; the next run makes others. Says whether they were dropped."""
        global _held
        if self.record is None or not self.record[14]:
            if self.record is not None:
                self.record[5] = 0
            self.kept = self.result = None
            _held, self.held = _held - self.held, 0
            _holders.discard(self)
        return self.kept is None

    def __del__(self) -> None:
        global _held
        if _held is not None:                  # None: interpreter shutdown
            _held -= getattr(self, "held", 0)

    # -- the ways of running that need Python

    def slow(self) -> Any:
        """Called by the built-in when something is missing: makes it, then lets the built-in run."""
        self.outputs()
        if self.gslots:
            state = gradients.uniform(self.gslots, self.gavals)
            if state and not self.record[1]:
                self.more = self.plan.accumulating().compile()
                if self.more.native is None:
                    return self.drive()
                if self.more.arena:
                    reserve(self.more.arena)
                    self.record[12] = address(ARENA)
                self.record[1] = self.more.native
        call = self.stub()
        if call is None or self.record[14] or (ARENA[0] and self.record[12]):
            return self.drive()
        return call()

    def drive(self) -> Any:
        """One run with arguments, arena and results of its own: beside a run in another thread, or with steps in Python."""
        state = gradients.uniform(self.gslots, self.gavals) if self.gslots else 0
        if state and self.more is None:
            self.more = self.plan.accumulating().compile()
        exe = self.more if state else self.write
        args, cell = self.args.copy(), np.zeros(1, np.int64)
        made = [allocate(av) for av in self.kavals]
        arena = Region(exe.arena) if exe.arena else None
        inputs = [slots.BUFFERS[s] for s in self.slots]            # held while the code runs
        buffers = [GRADIENTS[s] for s in self.gslots]
        args[1:3] = arena.at if arena else 0, address(cell)
        args[HEADER:] = [*[pointers[s] for s in self.slots], *[grads[s] for s in self.gslots], *[at for _, at in made],
                         *[pointers[s] for s in self.targets], *[0] * len(self.gslots)]
        exe.run(args)
        del inputs, buffers
        if cell[0]:
            self.report(exe, int(cell[0]))
        for s in self.gslots:
            states[s] = gradients.PRESENT
        return made[0][0] if self.single else tuple([a for a, _ in made])

    def fault(self) -> None:
        """Called by the built-in after a fault."""
        more = bool(self.gslots) and states[self.gslots[0]] == gradients.PRESENT
        self.report(self.more if more else self.write, int(self.cell[0]))

    def report(self, exe: Any, code: int) -> None:
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        op, message = exe.faults[code - 1]
        raise IndexingError(op, "", message)


def bound(plan: Any, inputs: list[int], targets: list[int], single: bool) -> Any:
    """What runs a plan at certain slots, on the plan's device; `callable()` is the fastest way to."""
    if plan.device != "cpu":
        from .gpu import Remote
        return Remote(plan, inputs, targets, single)
    return Native(plan, inputs, targets, single)


def bind_numbers(plan: Any, read: list[int], targets: list[int], inputs: list[int], avals: list[Any], many: bool,
                 slow: Callable) -> Callable | None:
    """A built-in function of Python numbers over a plan whose inputs and results are all 0-d, or None where it does not apply.

    `inputs`: the slots that the arguments go to, of `avals`; they must stay alive with the callable. `slow` takes the same arguments.
    """
    from ..backends.llvm import entry
    native_ = Native(plan, read, targets, False)
    exe, outs = native_.write, native_.kavals
    takes = all(not av.ndim and av.dtype.name in ("float32", "float64", "int64") for av in avals)
    gives = all(not av.ndim and av.dtype.name in entry.KINDS for av in outs)
    if exe.native is None or not takes or not gives or native_.gslots or not outs:
        return None
    native_.outputs()
    others = [(slot, HEADER + i) for i, slot in enumerate(native_.slots) if slot not in inputs]
    first = HEADER + len(native_.slots)
    args = native_.args
    for i, slot in enumerate(native_.slots):
        args[HEADER + i] = pointers[slot]
    for j, slot in enumerate(targets):
        args[first + len(outs) + j] = pointers[slot]
    fault = native_.fault
    rows = [*[(entry.KINDS[av.dtype.name], pointers[slot]) for slot, av in zip(inputs, avals, strict=True)],
            *[(entry.KINDS[av.dtype.name], args[first + j]) for j, av in enumerate(outs)], *others]
    record = np.zeros(16 + 2 * len(rows), np.int64)
    if exe.arena:
        reserve(exe.arena)
    record[:10] = (exe.native, len(inputs), len(outs), len(others),
                   (exe.work >= RELEASE_WORK) | (entry.AS_TUPLE if many else 0), 0, id(slow), id(fault), address(args), slots.ADDRESSES[0])
    record[12] = address(ARENA) if exe.arena else 0
    record[16:] = [v for row in rows for v in row]
    return entry.bind_call(record, (slow, fault, native_.kept))


def explain(roots: Sequence[Term], sources: Sequence[Term], device: Any = "cpu") -> str:
    """What the compiler and the backend make of a request, as text."""
    if device != "cpu":
        from . import gpu
        return gpu.explain(roots, sources, device)
    if not native():
        return "interpreted: one NumPy call per term"
    from .. import compiler
    parts = [compiler.explain(roots, sources, (None,) * len(roots), _caps())] if hasattr(compiler, "explain") else []
    exe = build(roots, sources, (None,) * len(roots))
    parts += [f"arena: {exe.program.arena} bytes; {len(exe.program.steps)} steps; {len(exe.program.kernels)} kernels",
              peak(roots, sources, exe.program.arena), "", exe.text]
    return "\n".join(parts)


def peak(roots: Sequence[Term], sources: Sequence[Term], temporaries: int) -> str:
    """The most memory that a run takes, as text: known before it runs."""
    results, inputs = sum([r.aval.nbytes for r in dict.fromkeys(roots)]), sum([s.aval.nbytes for s in sources])
    return f"peak memory: {temporaries + results} bytes (temporaries {temporaries}, results {results}) beside {inputs} bytes of inputs"


def _caps() -> Any:
    from ..backends import llvm
    return llvm.caps
