"""Device memory by size class: native buffers that wait for their next user.

In: the size that is asked for; out: a `Memory`, a new one or one that came back. It never destroys a native buffer (work in
flight may still use it): it lets go of the handle, and wgpu-native frees the buffer when the last submission with it is done.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

UNIT = 16                        # sizes are multiples of this
SMALLEST = 256
_serials = itertools.count()
STEPS_FROM = 1 << 20             # larger classes are eighths of an octave


def size_class(nbytes: int, limit: int) -> int:
    """The capacity of the memory that serves `nbytes`: a power of two up to 1 MiB, then one of eight steps an octave; nothing that
    fits one native buffer (`limit` bytes) gets more than that.

    >>> size_class(1, 1 << 30), size_class(300, 1 << 30), size_class((1 << 20) + 1, 1 << 30) - (1 << 20)
    (256, 512, 131072)
    """
    if nbytes <= STEPS_FROM:
        return max(SMALLEST, 1 << max(nbytes - 1, 0).bit_length())
    step = 1 << (nbytes - 1).bit_length() - 4
    size = -(-nbytes // step) * step
    return min(size, limit) if nbytes <= limit else size


class Memory:
    """Native memory of `size` bytes: one buffer, or several of `part` bytes each (the last may be smaller) where one cannot be so
    large. It has a number that no other one ever has, and knows the keys of the cached bind groups that hold it."""

    __slots__ = ("groups", "handles", "part", "serial", "size")

    def __init__(self, handles: Sequence[Any], size: int, part: int) -> None:
        self.handles, self.size, self.part = tuple(handles), size, part
        self.serial = next(_serials)
        self.groups: set[tuple] = set()

    def at(self, offset: int) -> tuple[Any, int]:
        """The native buffer in which byte `offset` lies, and its offset there."""
        return self.handles[offset // self.part], offset % self.part

    def spans(self, offset: int, nbytes: int) -> Iterator[tuple[Any, int, int, int]]:
        """(native buffer, offset there, bytes, how far that is from the start) of a stretch of memory."""
        done = 0
        while done < nbytes:
            handle, at = self.at(offset + done)
            length = min(nbytes - done, self.part - at)
            yield handle, at, length, done
            done += length


class Pool:
    """Idle memories, last in first out by class; past `bound` bytes the ones idle longest are let go.

    `create(capacity)` makes a Memory or returns None; `release(memory)` lets go of one.
    """

    def __init__(self, create: Callable[[int], Memory | None], release: Callable[[Memory], None], limit: int, bound: int) -> None:
        self._create, self._release, self._limit, self._bound = create, release, limit, bound
        self._shelves: dict[int, list[Memory]] = {}
        self._order: OrderedDict[Memory, None] = OrderedDict()
        self.idle_bytes = self.live_bytes = self.live_buffers = self.peak_bytes = 0

    @property
    def idle_buffers(self) -> int:
        return len(self._order)

    def take(self, nbytes: int) -> Memory | None:
        """A memory of at least `nbytes`; None where the device makes no more."""
        size = size_class(nbytes, self._limit)
        shelf = self._shelves.get(size)
        if shelf:
            memory: Memory | None = shelf.pop()
            del self._order[memory]
            self.idle_bytes -= size
        else:
            memory = self._create(size)
            if memory is None:
                return None
        self.live_buffers += 1
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return memory

    def give(self, memory: Memory) -> None:
        """Take a memory back."""
        self.live_buffers -= 1
        self.live_bytes -= memory.size
        self.idle_bytes += memory.size
        self._shelves.setdefault(memory.size, []).append(memory)
        self._order[memory] = None
        if self.idle_bytes > self._bound:
            self.shrink(self._bound)

    def shrink(self, bound: int = 0) -> None:
        """Let go of idle memories, longest idle first, until at most `bound` bytes are left."""
        while self.idle_bytes > bound:
            memory, _ = self._order.popitem(last=False)
            self._shelves[memory.size].remove(memory)
            self.idle_bytes -= memory.size
            self._release(memory)


class Buffer:
    """Device memory of `size` bytes; it goes back to the device's pool when the last reference to this object is dropped."""

    __slots__ = ("__weakref__", "device", "memory", "size")

    def __init__(self, device: Any, memory: Memory, size: int) -> None:
        self.device, self.memory, self.size = device, memory, size

    @property
    def serial(self) -> int:
        """The number of the native buffer, which outlives this object in the pool and is never given again."""
        return self.memory.serial

    @property
    def room(self) -> int:
        """The bytes that kernels and transfers may touch: `size` rounded up to 16, at least 16."""
        return max(-(-self.size // UNIT) * UNIT, UNIT)

    def __del__(self) -> None:
        self.device.returned.append(self.memory)        # an atomic append: this may run in any thread, at any point

    def __repr__(self) -> str:
        return f"Buffer({self.size} bytes on {self.device})"
