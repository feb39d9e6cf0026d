"""Memory of arrays: C-contiguous, 64-byte aligned, padded behind for vector overrun; large ones in recycled huge-page regions.

In: an Aval. Out: a NumPy array (and its address). Large regions return to a bounded pool when the last array over them dies,
so a loop in steady state takes no page faults.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading

import numpy as np

from ..ir.aval import Aval
from ..ir.program import ALIGN, PAD

LARGE = 2 << 20                  # bytes from which a buffer is a mapped region of its own
POOLED = 2 << 30                 # bytes that idle regions may hold together
SMALL = 64 << 10                 # bytes up to which an array is kept when its leaf dies
SPARED = 32 << 20                # bytes handed to the shelves of small arrays after which they are emptied

_free: dict[int, list[tuple[object, int]]] = {}      # size class -> idle (mapping, address)
_idle = 0
_spare: dict[Aval, list[tuple[np.ndarray, int]]] = {}
_spared = 0
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def address(array: np.ndarray) -> int:
    """Where an array's data begins (a third of the cost of `array.ctypes.data`).

    >>> a = np.zeros(3); address(a) == a.ctypes.data
    True
    """
    return array.__array_interface__["data"][0]


def private_map(nbytes: int) -> mmap.mmap | None:
    """Zeroed anonymous memory, private to this process after a fork; None where the platform has none."""
    try:
        if hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return mmap.mmap(-1, nbytes)
    except (OSError, ValueError, AttributeError):
        return None


def size_class(nbytes: int) -> int:
    """`nbytes` rounded up to one of eight steps an octave, in whole huge pages: at most 12.5 % is wasted."""
    step = max(LARGE, 1 << max(nbytes.bit_length() - 4, 0))
    return -(-nbytes // step) * step


class Region:
    """Mapped memory under one array; goes back to the pool when the array and its views are gone."""

    __slots__ = ("__array_interface__", "at", "mapping", "size")

    def __init__(self, nbytes: int) -> None:
        global _idle
        self.size = size_class(nbytes)
        with _lock:
            shelf = _free.get(self.size)
            if shelf:
                self.mapping, self.at = shelf.pop()
                _idle -= self.size
                return
        mapping = private_map(self.size + LARGE)
        if mapping is None:
            mapping = np.empty(self.size + LARGE, np.uint8)
        elif hasattr(mapping, "madvise") and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):            # a kernel without huge pages
                mapping.madvise(mmap.MADV_HUGEPAGE)
        base = address(np.frombuffer(mapping, np.uint8))
        self.mapping, self.at = mapping, -(-base // LARGE) * LARGE

    def __del__(self) -> None:
        global _idle
        if _lock is None or getattr(self, "mapping", None) is None:
            return
        with _lock:
            if _idle + self.size <= POOLED:
                _free.setdefault(self.size, []).append((self.mapping, self.at))
                _idle += self.size

    def array(self, av: Aval) -> np.ndarray:
        self.__array_interface__ = {"data": (self.at, False), "shape": av.shape, "typestr": av.dtype.str, "version": 3}
        return np.asarray(self)


def allocate(av: Aval) -> tuple[np.ndarray, int]:
    """An uninitialised array of `av` and its address."""
    shelf = _spare.get(av)
    if shelf:
        return shelf.pop()
    nbytes = av.nbytes + PAD
    if nbytes >= LARGE:
        region = Region(nbytes)
        return region.array(av), region.at
    raw = np.empty(nbytes + ALIGN, np.uint8)
    base = raw.__array_interface__["data"][0]
    shift = -base % ALIGN
    return np.ndarray(av.shape, av.dtype, raw, shift), base + shift


def recycle(av: Aval, array: np.ndarray, at: int) -> None:
    """Keeps a small array that nobody refers to any more for the next `allocate` (it costs 2 us to make one)."""
    global _spared
    if av.nbytes < SMALL and _spare is not None:      # None: interpreter shutdown
        if _spared > SPARED:
            _spare.clear()
            _spared = 0
        shelf = _spare.setdefault(av, [])
        if len(shelf) < 32:
            shelf.append((array, at))
            _spared += av.nbytes + PAD


def empty(av: Aval) -> np.ndarray:
    """An uninitialised array of `av`.

    >>> from ..ir.aval import aval
    >>> a = empty(aval((3, 5), np.dtype("float32"))); a.shape, address(a) % ALIGN
    ((3, 5), 0)
    """
    return allocate(av)[0]


def trim() -> None:
    """Give all idle memory back to the system."""
    global _idle
    with _lock:
        _free.clear()
        _spare.clear()
        _idle = 0
