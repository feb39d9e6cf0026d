"""Programs on a GPU: shaders for the steps, device buffers for the temporaries, launches that are replayed.

In: a Program and a device. Out: `Executable`, which is bound to buffers; a `Bound` runs all launches between two Host steps as
one submission and waits for nothing else. Text of shaders is made by `steps`; how they reach the GPU is the device's.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import DeviceError
from ...ir.program import Host, Program, Step
from ...ir.record import record
from .. import host
from . import flow, tune
from .steps import Writer, parameters, title, work
from .storage import download, nbytes, upload
from .temporaries import assign, lifetimes, shared
from .traits import Shader

BOUNDS = 8                         # Bounds that an Executable keeps
FAULT_BYTES = 16                   # of the buffer whose first word takes code + 1 of a Check that failed
LAUNCHES = 4096                    # launches of one submission in a loop
FIRST_TURNS, MOST_TURNS = 8, 256   # of a loop, before its flag is looked at: at first, at most
SUBMISSION = 1 << 40               # scalar operations of one submission: the watchdogs of some drivers end longer ones


@record
class Timing:
    """The fastest run of one step: what it is, seconds (of the GPU's own clock; of the host for Host steps), bytes of its buffers."""

    step: str
    seconds: float
    nbytes: int


class _Faults:
    """What the Checks of one Executable have met: `cell` on the device, `code` (+ 1) of one that was read but not told.

    `ran`: whether something ran since the cell was read for the user.
    """

    __slots__ = ("cell", "code", "device", "ran")

    def __init__(self, device: Any) -> None:
        self.device, self.cell, self.code, self.ran = device, None, 0, False

    def ready(self) -> Any:
        """The cell, made when first needed."""
        if self.cell is None:
            cell = self.device.allocate(FAULT_BYTES)
            self.device.clear(cell)
            self.cell = cell
        return self.cell

    def look(self) -> bool:
        """Reads the cell, which waits, and clears it; whether there was a fault. The first one is kept."""
        code = int(self.device.read(self.cell, 4).view(np.uint32)[0])
        if code:
            self.device.clear(self.cell)
            self.code = self.code or code
        return code != 0


class Executable:
    """A program that runs on a device. `bind` joins it to buffers, `faulted` tells what its Checks have met.

    `seconds`: spent on making shaders and pipelines. `work`, `faults` are the program's; `checks`: whether some shader may report
    a fault; `slots`: bytes of the buffers that the temporaries share.
    """

    __slots__ = ("_bounds", "_faults", "_free", "_hosts", "_shaders", "_shared", "_slot", "checks", "device", "faults", "nodes", "program",
                 "seconds", "slots", "work")

    def __init__(self, program: Program, device: Any) -> None:
        start = time.perf_counter()
        flat = flow.flattened(program)
        program, self.nodes = flat.program, flat.nodes
        self.program, self.device, self.work, self.faults = program, device, program.work, program.faults
        writer = Writer(program, device.traits, tune.Tuner(device) if tune.wanted() else None)
        self._shaders = [None if isinstance(s, Host) else writer.shader(s)[0] for s in program.steps]
        self._hosts = None in self._shaders or any([n.__class__ is not int for n in self.nodes])      # values are needed on the way
        self.checks = any([s is not None and s.faults for s in self._shaders])
        temporaries = {b: nbytes(buffer.aval) for b, buffer in enumerate(program.buffers) if buffer.kind == "temp"}
        lives = lifetimes(flat.traffic, temporaries)
        self._slot, self.slots = assign(lives, temporaries, device.traits.binding)
        self._free = tuple([j for j, i in enumerate(program.into) if i is None])
        self._shared = shared(device)
        self._bounds: OrderedDict[tuple, Bound] = OrderedDict()
        self._faults = _Faults(device)
        self.seconds = time.perf_counter() - start

    # ---- binding
    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Bound:
        """The program over these device buffers, which the caller keeps until the run is submitted.

        `outputs[j]` is not looked at where output j overwrites an input. Buffers met lately give the Bound made then; steps whose
        buffers are those of the Bound used last keep their launches. MemoryError where there is no room for the temporaries.
        """
        key = (*[b.serial for b in inputs], *[outputs[j].serial for j in self._free])
        bounds = self._bounds
        found = bounds.get(key)
        if found is None:
            with self._shared.lock:
                found = self._bind(key, inputs, outputs)
        elif len(bounds) > 1:
            with contextlib.suppress(KeyError):              # dropped meanwhile
                bounds.move_to_end(key)
        if self._hosts:
            found.given([*inputs, *[outputs[j] for j in self._free]])
        return found

    def _bind(self, key: tuple, inputs: Sequence[Any], outputs: Sequence[Any]) -> Bound:
        start = time.perf_counter()
        if len(inputs) != len(self.program.inputs) or len(outputs) != len(self.program.outputs):
            raise DeviceError("bind", f"{len(inputs)} inputs and {len(outputs)} outputs",
                              f"the program has {len(self.program.inputs)} and {len(self.program.outputs)}")
        before = next(reversed(self._bounds.values()), None)
        if self.checks:
            self._faults.ready()
        temporaries = before.temporaries if before is not None else self._shared.slots(self.device, self.slots)
        made: list[Any] = []
        for number, b in enumerate(self.program.buffers):
            if b.kind == "temp":
                made.append(temporaries[self._slot[number]] if number in self._slot else None)
            else:
                made.append((inputs if b.kind == "input" else outputs)[b.number])
        self._fit(made)
        found = Bound(self, key, made, temporaries, before)
        self._bounds[key] = found
        if len(self._bounds) > BOUNDS:
            self._bounds.popitem(last=False)
        self.seconds += time.perf_counter() - start
        return found

    def _fit(self, made: Sequence[Any]) -> None:
        """Refuses buffers that are too small, and one that is given twice and written: the program was compiled for buffers that do not
        overlap."""
        program = self.program
        writes = {b for b, buffer in enumerate(program.buffers) if buffer.kind == "output"}
        writes |= {program.inputs[i] for i in program.into if i is not None}
        held: dict[int, int] = {}
        for number, (b, buffer) in enumerate(zip(program.buffers, made, strict=True)):
            if b.kind == "temp":
                continue
            if buffer.size < nbytes(b.aval):
                raise DeviceError("bind", f"a buffer of {buffer.size} bytes", f"{b.kind} {b.number} is {b.aval}", f"{nbytes(b.aval)} bytes")
            other = held.setdefault(buffer.serial, number)
            if other != number and (number in writes or other in writes):
                raise DeviceError("bind", f"{program.buffers[other].kind} {program.buffers[other].number} and {b.kind} {b.number}",
                                  "they are one device buffer, and one of them is written", "give each a buffer of its own")

    # ---- faults
    @property
    def ran(self) -> bool:
        """Whether something ran that may have met a fault since `faulted` looked."""
        return self._faults.ran

    def faulted(self) -> tuple[str, str] | None:
        """(operation, message) of a fault since the last look, and forgets it. Waits for the device if something ran."""
        faults = self._faults
        if not faults.ran:
            return None
        with self._shared.lock:
            faults.ran = False
            faults.look()
            code, faults.code = faults.code, 0
        return self.faults[code - 1] if code else None

    def check(self) -> None:
        """Raises DeviceError with the fault since the last look, if there is one."""
        fault = self.faulted()
        if fault is not None:
            raise DeviceError(*fault)

    # ---- looking inside
    @property
    def text(self) -> str:
        """All WGSL, a header before each step; a shader that several steps run is written once."""
        seen: dict[Shader, int] = {}
        often = flow.repeats(self.nodes)
        lines = []
        for p, (step, shader) in enumerate(zip(self.program.steps, self._shaders, strict=True)):
            lines.append(f"// ---- step {p}{_times(often[p])}: {title(step, self.program)}")
            if shader is None:
                continue
            first = seen.setdefault(shader, p)
            grids = ", ".join([f"{x} x {y} x {z}" for x, y, z, _ in shader.grids])
            lines.append(f"// workgroups: {grids}" + (f"; the shader of step {first}" if first != p else ""))
            if first == p:
                lines.append(shader.source)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Executable of {len(self.program.steps)} steps on {self.device}>"


class Bound:
    """An Executable over certain raw buffers: `launches` of every step. `run()` submits them, while the caller holds the Buffers.

    It keeps bind groups and temporaries, but no Buffer of the caller's: `serials` tells the raw buffers, by number of the program.
    """

    __slots__ = ("__weakref__", "_bounds", "_checks", "_device", "_faults", "_given", "_heavy", "_key", "_lock", "_nodes", "_parts", "_pending",
                 "_places", "_program", "_slot", "launches", "serials", "temporaries")

    def __init__(self, executable: Executable, key: tuple, buffers: Sequence[Any], temporaries: list[Any], before: Bound | None) -> None:
        self._program, self._device, self._lock = executable.program, executable.device, executable._shared.lock
        self._checks, self._faults, self._slot = executable.checks, executable._faults, executable._slot
        self._key, self._bounds = key, weakref.ref(executable._bounds)       # the Executable holds this object
        self._places = [*executable.program.inputs, *[executable.program.outputs[j] for j in executable._free]]
        self._given: list[weakref.ref[Any]] = []
        self.temporaries = temporaries
        self.serials = [-1 if b is None else b.serial for b in buffers]
        self.launches: list[list[Any]] = []
        for p, (step, shader) in enumerate(zip(self._program.steps, executable._shaders, strict=True)):
            touched = parameters(step)
            if shader is None:
                self.launches.append([])
            elif before is not None and all([before.serials[b] == self.serials[b] for b in touched]):
                self.launches.append(before.launches[p])
            else:
                cell = self._faults.cell if shader.faults else None
                self.launches.append(self._device.launch(shader, [buffers[b] for b in touched], cell))
        self._nodes, self._pending, self._heavy = executable.nodes, [], 0
        self._parts = list(self._split(self._program.steps)) if all([n.__class__ is int for n in self._nodes]) else None
        executable._shared.used(self.serials, self)

    @property
    def submissions(self) -> list[list[Any]]:
        """The launches of each submission."""
        return [part for part in self._parts or () if not isinstance(part, Host)]

    def drop(self) -> None:
        """Forgets this Bound: one of its raw buffers goes away."""
        bounds = self._bounds()
        if bounds is not None and bounds.get(self._key) is self:
            bounds.pop(self._key, None)

    def given(self, buffers: Sequence[Any]) -> None:
        """Takes the Buffers of the key, for Host steps."""
        self._given = [weakref.ref(b) for b in buffers]

    def buffer(self, number: int) -> Any:
        """The Buffer of a buffer of the program."""
        b = self._program.buffers[number]
        if b.kind == "temp":
            return self.temporaries[self._slot[number]]
        found = self._given[self._places.index(number)]()
        if found is None:
            raise DeviceError("run", f"{b.kind} {b.number}", "its buffer was dropped since it was bound", "bind again")
        return found

    def _split(self, steps: Sequence[Step]) -> Iterable[list[Any] | Host]:
        """Launches of one submission each, Host steps between them."""
        part: list[Any] = []
        heavy = 0
        for step, launches in zip(steps, self.launches, strict=True):
            heavy += work(step, self._program)
            if part and (isinstance(step, Host) or heavy > SUBMISSION):
                yield part
                part, heavy = [], 0
            if isinstance(step, Host):
                yield step
            part.extend(launches)
        if part:
            yield part

    def run(self) -> None:
        """Submits everything in order; waits only where a Host step needs values.

        A fault met before a Host step ends the run there, as it would on the CPU. DeviceLostError where the device is gone.
        """
        faults = self._faults
        with self._lock:                                 # the temporaries are one for all threads and programs
            if faults.ran and (self._parts is None or len(self._parts) > 1):     # an earlier run's fault does not end this one
                faults.look()
            if self._parts is None:
                self._run(self._nodes)
                self._flush()
                return
            for part in self._parts:
                if part.__class__ is list:
                    faults.ran = self._checks
                    self._device.run(part)
                elif not self._host(part):
                    return

    # ---- loops and branches
    def _run(self, nodes: Sequence[flow.Node]) -> bool:
        """Runs part of the tree: launches wait in `_pending` until a value is needed or they are many. False: a fault ended it."""
        steps = self._program.steps
        for n in nodes:
            if isinstance(n, flow.Replay):
                if not self._replay(n):
                    return False
            elif isinstance(n, flow.Choose):
                index = self._number(n.index)
                if not self._run(n.bodies[min(max(index, 0), len(n.bodies) - 1)]):
                    return False
            elif isinstance(steps[n], Host):
                self._flush()
                if not self._host(steps[n]):
                    return False
            else:
                self._pending += self.launches[n]
                self._heavy += work(steps[n], self._program)
                if self._heavy > SUBMISSION or len(self._pending) > LAUNCHES:
                    self._flush()
        return True

    def _replay(self, n: flow.Replay) -> bool:
        if n.length is not None:
            return all([self._run(n.body) for _ in range(n.length)])
        turns = FIRST_TURNS
        while True:
            if n.test:
                if not (self._run(n.test) and self._number(n.flag) and self._run(n.body)):
                    return True
            else:                                        # some turns ahead of the answer
                for _ in range(turns):
                    self._run(n.body)
                if not self._number(n.flag):
                    return True
                turns = min(2 * turns, MOST_TURNS)

    def _number(self, buffer: int) -> int:
        """The number in a buffer, once all that was said has been done."""
        self._flush()
        return int(download(self._device, self.buffer(buffer), self._program.buffers[buffer].aval))

    def _flush(self) -> None:
        """Submits what waits."""
        part, self._pending, self._heavy = self._pending, [], 0
        if part:
            self._faults.ran = self._checks
            self._device.run(part)

    def _host(self, step: Host) -> bool:
        """Runs a Host step, unless a fault came before it."""
        if self._faults.ran and self._faults.look():
            return False
        buffers = self._program.buffers
        inputs = [download(self._device, self.buffer(b), buffers[b].aval) for b in step.inputs]
        for b, made in zip(step.outs, host.results(step, inputs, [buffers[b].aval for b in step.outs]), strict=True):
            upload(self._device, self.buffer(b), made)
        return True

    def time(self, rounds: int = 3) -> list[Timing]:
        """The time of every step, the best of some rounds of the whole program. Outputs that overwrite inputs do so each round."""
        program, often = self._program, flow.repeats(self._nodes)
        best = [float("inf")] * len(program.steps)
        with self._lock:
            for _ in range(rounds):
                for p, (step, launches) in enumerate(zip(program.steps, self.launches, strict=True)):
                    if isinstance(step, Host):
                        start = time.perf_counter()
                        self._host(step)
                        spent = time.perf_counter() - start
                    else:
                        self._faults.ran = self._checks
                        spent = sum(self._device.time(launches))
                    best[p] = min(best[p], spent)
        return [Timing(title(s, program) + _times(often[p]), t, sum([program.buffers[b].aval.nbytes for b in dict.fromkeys(parameters(s))]))
                for p, (s, t) in enumerate(zip(program.steps, best, strict=True))]

    def __repr__(self) -> str:
        return f"<Bound of {len(self._program.steps)} steps on {self._device}>"


def _times(often: int) -> str:
    """A remark on a step that does not run once."""
    return "" if often == 1 else f" ({often} times)" if often else " (as often as values say)"


def build(program: Program, device: Any) -> Executable:
    """Make a program run on a device: all its shaders, written now."""
    return Executable(program, device)
