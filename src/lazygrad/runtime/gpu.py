"""Plans on a GPU: compiled for its Caps, bound to the buffers of slots, submitted without waiting.

In: a Plan and slots. Out: a callable that submits and returns DeviceArrays. A run never waits; an index error that a kernel
reports is raised by the next read of a value from that device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, IndexingError
from ..ir.aval import Aval
from ..ir.term import Term
from . import gradients
from .arrays import DeviceArray
from .slots import BUFFERS, GRADIENTS, states

_unchecked: dict[int, list[Any]] = {}        # id of a device -> executables that ran since its faults were last looked at

MOST = 1 << 31                               # elements of one tensor: kernels count in 32 bits
SUBSTITUTES = {"int64": "int32", "uint64": "uint32", "float64": "float32", "float16": "float32", "complex64": "float32", "complex128": "float32"}


def check_dtype(device: Any, dtype: np.dtype, op: str) -> None:
    """DTypeError where a device has no values of `dtype`."""
    from ..backends import wgsl
    if dtype.name not in wgsl.caps(device.traits).dtypes:
        raise DTypeError(op, f"{dtype.name} on {device}", f"this GPU has no {dtype.name}",
                         f"pass dtype={SUBSTITUTES.get(dtype.name, 'float32')!r}, or keep the tensor on the CPU")


def empty(device: Any, av: Aval) -> DeviceArray:
    """An uninitialised array. Raises MemoryError where there is no room."""
    if av.size >= MOST:
        raise MemoryError(f"tensor: {av} on {device}: {av.size} elements; a GPU's tensor has fewer than {MOST}: split it")
    from ..backends.wgsl import storage
    return DeviceArray(device, device.allocate(storage.nbytes(av)), av)


def read(array: DeviceArray) -> np.ndarray:
    """The values on the host, once everything submitted has run."""
    from ..backends.wgsl import storage
    found = storage.download(array.device, array.buffer, array.aval)
    if _unchecked:
        check_faults(array.device)
    return found


def check_faults(device: Any) -> None:
    """Raises IndexingError if a kernel reported an index outside its array since the last look; waits."""
    first = None
    for exe in _unchecked.pop(id(device), ()):
        first = first or exe.faulted()
    if first:
        raise IndexingError(first[0], "", first[1])


def build(roots: Sequence[Term], sources: Sequence[Term], into: tuple[int | None, ...], device: Any) -> Any:
    """Compiles a request for a device."""
    from .. import compiler
    from ..backends import wgsl
    return wgsl.build(compiler.compile(roots, sources, into, wgsl.caps(device.traits)), device)


class Remote:
    """An executable at certain slots: reads their buffers, writes new result arrays, gradients and updated leaves.

    Outputs in the order of `Plan`: of the writing variant gradients, results, updates; of the accumulating one results,
    updates, gradients.
    """

    __slots__ = ("device", "gavals", "gslots", "kavals", "more", "plan", "single", "slots", "targets", "write")

    def __init__(self, plan: Any, slots: list[int], targets: Sequence[int], single: bool) -> None:
        self.plan, self.slots, self.targets, self.single = plan, slots, list(targets), single
        self.device = plan.device
        self.gslots = [slots[i] for i in plan.wants]
        g = len(self.gslots)
        self.gavals, self.kavals = plan.avals[:g], plan.avals[g:len(plan.avals) - len(self.targets)]
        self.write, self.more = plan.write.compile(), None

    def callable(self) -> Remote:
        """Itself."""
        return self

    def __call__(self) -> Any:
        """Submits one run; the results are arrays of their own."""
        inputs = [BUFFERS[s].buffer for s in self.slots]
        made = [empty(self.device, av) for av in self.kavals]
        results = [a.buffer for a in made]
        updates = [BUFFERS[s].buffer for s in self.targets]
        exe = self.write
        if self.gslots:
            if gradients.uniform(self.gslots, self.gavals):
                if self.more is None:
                    self.more = self.plan.accumulating().compile()
                exe = self.more
                present = [GRADIENTS[s].buffer for s in self.gslots]
                exe.bind([*inputs, *present], [*results, *updates, *present]).run()
            else:
                exe.bind(inputs, [*[GRADIENTS[s].buffer for s in self.gslots], *results, *updates]).run()
            for s in self.gslots:
                states[s] = gradients.PRESENT
        else:
            exe.bind(inputs, [*results, *updates]).run()
        if exe.faults:
            waiting = _unchecked.setdefault(id(self.device), [])
            if exe not in waiting:
                waiting.append(exe)
        return made[0] if self.single else tuple(made)


def explain(roots: Sequence[Term], sources: Sequence[Term], device: Any) -> str:
    """What the compiler and the backend make of a request, as text."""
    from .. import compiler
    from ..backends import wgsl
    into = (None,) * len(roots)
    exe = build(roots, sources, into, device)
    story = compiler.explain(roots, sources, into, wgsl.caps(device.traits))
    hosts = [str(s.prim) for s in exe.program.steps if hasattr(s, "prim")]
    named = f"on the host, by a transfer there and back: {', '.join(hosts)}" if hosts else "all steps run on the GPU"
    from .tiers import peak
    return "\n".join([story, f"{device}: {len(exe.program.steps)} steps; {len(exe.program.kernels)} kernels; {named}", peak(roots, sources, sum(exe.slots)), "", exe.text])



