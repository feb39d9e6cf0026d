"""Plans as functions: called with the slots of their arguments, they give new arrays and keep nothing.

In: a Plan whose sources are arguments and leaves. Out: a callable from slots to arrays of their own, on the plan's device.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from . import tiers
from .memory import address, allocate
from .slots import BUFFERS, GRADIENTS, VIEWS, pointers, states

HEAD = 16                  # fields of a record before its slots
RESULT = 5


class Called:
    """`run(slots)`: one run over the buffers of these slots, in the order of the plan's sources. Returns (array, address) pairs.

    Safe to call from several threads: the fast way belongs to one at a time, the others take arguments of their own.
    """

    __slots__ = ("args", "call", "exe", "first", "lock", "native", "plan", "record")

    def __init__(self, plan: Any) -> None:
        self.plan, self.lock = plan, threading.Lock()
        self.call: Any = None
        self.exe: Any = None
        if plan.device != "cpu" or not tiers.native():
            return
        self.exe = plan.write.compile()
        n = len(plan.write.sources)
        native = self.native = tiers.Native(plan, [0] * n, [], False)
        native.kept, native.result = [], ()                      # results are made for every run
        call = native.callable()
        if self.exe.native is not None:
            native.record[RESULT] = id(native.result)
            self.call, self.record, self.args = call, memoryview(native.record), memoryview(native.args)
            self.first = tiers.HEADER + n

    def run(self, slots: Sequence[int], into: list[tuple[Any, int]] | None = None) -> list[tuple[Any, int]]:
        """The results, new arrays, or `into`, arrays that nobody reads. Raises IndexingError where a kernel met an index outside its array."""
        if self.plan.device != "cpu":
            from .gpu import Remote
            return [(a, 0) for a in Remote(self.plan, list(slots), [], False)()]
        made = [allocate(av) for av in self.plan.avals] if into is None else into
        if self.call is not None and self.lock.acquire(False):
            try:
                record, args, k = self.record, self.args, HEAD
                for s in slots:
                    record[k] = s
                    k += 1
                k = self.first
                for _, at in made:
                    args[k] = at
                    k += 1
                self.native.slots = slots
                found = self.call()
            finally:
                self.lock.release()
            return made if found is self.native.result else [(a, address(a)) for a in found]
        if self.exe is None:
            for (a, _), b in zip(made, self.plan.write.interpret([BUFFERS[s] for s in slots]), strict=True):
                np.copyto(a, b)
            return made
        return self._alone(slots, made)

    def _alone(self, slots: Sequence[int], made: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
        """One run with arguments and arena of its own."""
        args, cell = self.native.args.copy(), np.zeros(1, np.int64)
        arena = tiers.Region(self.exe.arena) if self.exe.arena else None
        held = [BUFFERS[s] for s in slots]                       # while the code runs
        args[1:3] = arena.at if arena else 0, address(cell)
        args[tiers.HEADER:] = [*[pointers[s] for s in slots], *[at for _, at in made]]
        self.exe.run(args)
        del held
        if cell[0]:
            self.native.report(self.exe, int(cell[0]))
        return made


class Past:
    """The leaves of the results of an earlier call. When nobody else refers to them and to their memory, they can be written again."""

    __slots__ = ("made", "rows", "scope")

    def __init__(self, scope: Any, handles: Sequence[Any], made: list[tuple[Any, int]]) -> None:
        self.scope, self.made = weakref.ref(scope), made
        self.rows = [(h.a, array, array.base, h.a.slot, h.term) for h, (array, _) in zip(handles, made, strict=True)]

    def free(self) -> bool:
        """Whether only this record holds the leaves: no tensor, no gradient, and no view of their arrays is left."""
        for row in self.rows:
            # besides the row, and the reference that a subscript makes: the slot's table and `made` hold the array, which holds its base
            if getrefcount(row[0]) != 2 or getrefcount(row[1]) != 4 or getrefcount(row[2]) != 3:
                return False
            slot = row[3]
            if states[slot] or GRADIENTS[slot] is not None or VIEWS[slot] is not None or BUFFERS[slot] is not row[1]:
                return False
        return True
