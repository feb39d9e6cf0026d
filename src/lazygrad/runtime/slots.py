"""Slots: the small recycled integers that leaves own, and the fixed-address tables that native plans read by slot.

`POINTERS[slot]` data, `GRADS[slot]` gradient buffer, `STATES[slot]`: 0 no gradient, 1 present, 2 present and handed to the
user. The lowest free slot is handed out first, so that a loop that makes new leaves settles into a short period.
"""

from __future__ import annotations

import heapq
import itertools
import os
import sysconfig
import threading
from sys import getrefcount
from typing import Any

import numpy as np

from ..errors import LazygradError
from ..ir.aval import Aval
from .arrays import allocate, home
from .memory import address, private_map, recycle

CAPACITY = 1 << 22
FALLBACK = 1 << 18                   # without mmap the tables are really allocated


def _tables() -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    mapping = private_map(CAPACITY * 17)
    if mapping is None:
        return FALLBACK, np.zeros(FALLBACK, np.int64), np.zeros(FALLBACK, np.int64), np.zeros(FALLBACK, np.uint8)
    words = np.frombuffer(mapping, np.int64, 2 * CAPACITY)
    return CAPACITY, words[:CAPACITY], words[CAPACITY:], np.frombuffer(mapping, np.uint8, CAPACITY, 16 * CAPACITY)


SIZE, POINTERS, GRADS, STATES = _tables()
pointers, grads, states = memoryview(POINTERS), memoryview(GRADS), memoryview(STATES)    # items in 20 ns instead of 30
ADDRESSES = (address(POINTERS), address(GRADS), address(STATES))

EXACT_COUNTS = not sysconfig.get_config_var("Py_GIL_DISABLED")     # free-threaded builds defer reference counts

BUFFERS: list[Any] = []                      # by slot: the array of the leaf (NumPy's, or a DeviceArray), None where it is free
GRADIENTS: list[Any] = []                    # by slot: the array of its gradient, on the leaf's device
VIEWS: list[object] = []                     # by slot: the handle over the gradient that was read

_free: list[int] = []
_lock = threading.RLock()                    # re-entrant: a collection inside may release other leaves
_ticks = itertools.count(1)


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Leaf:
    """The owner of a slot: of its array, its gradient, and a reference to the graph it belongs to."""

    __slots__ = ("aval", "graph", "slot")

    def __init__(self, graph: Any, array: Any, at: int, av: Aval) -> None:
        with _lock:
            if _free:
                slot = heapq.heappop(_free)
                BUFFERS[slot] = array
            else:
                slot = len(BUFFERS)
                if slot >= SIZE:
                    raise LazygradError("tensor", f"{slot} live leaves", "the slot table is full", "drop tensors that are not needed")
                BUFFERS.append(array)
                GRADIENTS.append(None)
                VIEWS.append(None)
            pointers[slot] = at
        self.graph, self.slot, self.aval = graph, slot, av
        graph.slots.add(slot)

    def __del__(self) -> None:
        slot = getattr(self, "slot", None)
        if slot is None or _free is None:            # not finished, or interpreter shutdown
            return
        self.graph.slots.discard(slot)
        with _lock:
            at = pointers[slot]
            pointers[slot] = grads[slot] = states[slot] = 0
            array, held = BUFFERS[slot], (GRADIENTS[slot], VIEWS[slot])
            BUFFERS[slot] = GRADIENTS[slot] = VIEWS[slot] = None
            heapq.heappush(_free, slot)
        if at and EXACT_COUNTS and getrefcount(array) == 2:
            recycle(self.aval, array, at)
        del held                                     # outside the lock: their release may free other leaves


def allocate_gradient(slot: int, av: Aval) -> Any:
    """A new, uninitialised gradient array for a slot, on its leaf's device."""
    array, at = allocate(home(BUFFERS[slot]), av)
    GRADIENTS[slot] = array
    grads[slot] = at
    return array


def live() -> int:
    """The number of slots in use.

    >>> live() >= 0
    True
    """
    return len(BUFFERS) - len(_free)


def tick() -> int:
    """The next value of the stamp that moves whenever a leaf's data changes."""
    return next(_ticks)
