"""Temporaries: which intermediate values share a device buffer, within one program and between all programs of a device.

In: the steps' buffers and their sizes. Out: a slot for each temporary, the bytes of every slot, device buffers for them. Each slot is
a buffer of its own: WebGPU does not let one dispatch read and write the same buffer through two bindings.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import Any


def lifetimes(traffic: Sequence[Iterable[int]], temporaries: Iterable[int]) -> dict[int, tuple[int, int]]:
    """(first step, last step) of every temporary that some step touches; `traffic[p]`: the buffers of step p.

    >>> lifetimes([(0, 5), (5, 6), (6, 1)], [5, 6])
    {5: (0, 1), 6: (1, 2)}
    """
    wanted = set(temporaries)
    lives: dict[int, tuple[int, int]] = {}
    for p, touched in enumerate(traffic):
        for b in touched:
            if b in wanted:
                lives[b] = (lives[b][0] if b in lives else p, p)
    return lives


def assign(lives: dict[int, tuple[int, int]], sizes: dict[int, int], binding: int) -> tuple[dict[int, int], list[int]]:
    """({temporary: slot}, [bytes of each slot]): two temporaries of one slot are never alive in the same step.

    The largest come first, each into the tightest slot that is free during its life, so a slot never grows. What one binding of
    `binding` bytes can hold does not share with what takes several.

    >>> assign({5: (0, 1), 6: (1, 2), 7: (2, 3)}, {5: 64, 6: 256, 7: 16}, 1024)
    ({6: 0, 5: 1, 7: 1}, [256, 64])
    """
    slots: dict[int, int] = {}
    room: list[int] = []
    taken: list[list[tuple[int, int]]] = []          # of every slot, its temporaries' lives in order
    for b in sorted(lives, key=lambda b: (-sizes[b], lives[b])):
        first, last = lives[b]
        for s in range(len(room) - 1, -1, -1):       # slots are made in order of falling size
            if room[s] > binding >= sizes[b]:
                continue
            at = bisect_right(taken[s], (first, last))
            if (not at or taken[s][at - 1][1] < first) and (at == len(taken[s]) or taken[s][at][0] > last):
                break
        else:
            s = len(room)
            room.append(sizes[b])
            taken.append([])
        insort(taken[s], (first, last))
        slots[b] = s
    return slots, room


class Shared:
    """What the programs of one device share: a lock, the buffers of temporaries, and which launches hold which buffer.

    A queue runs one submission after the other, so programs may use the same temporaries. A buffer lives as long as some Bound
    holds it. `users`: by the serial of a raw buffer, what is told (by `drop()`) when the device lets go of it; that, and dropping
    all when the device is trimmed, happens under the device's lock and takes no other.
    """

    def __init__(self, device: Any) -> None:
        self.lock = threading.RLock()
        self.buffers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.users: dict[int, set[weakref.ref[Any]]] = {}
        device.listen(self.released, self.trimmed)

    def slots(self, device: Any, sizes: Sequence[int]) -> list[Any]:
        """A buffer for each of `sizes` (falling), the tightest ones there are, new ones where there are none. MemoryError without room."""
        free = sorted(self.buffers, key=lambda b: (b.size, b.serial))
        binding = device.traits.binding
        made: list[Any] = []
        for size in sizes:
            found = next((i for i, b in enumerate(free) if b.size >= size and (b.size <= binding or size > binding)), None)
            try:
                made.append(device.allocate(size) if found is None else free.pop(found))
            except MemoryError as e:
                raise MemoryError(f"{device}: no room for temporary {len(made) + 1} of {len(sizes)} ({size} bytes; {sum(sizes)} bytes for all of "
                                  f"them): {e}") from e
        self.buffers.update(made)
        return made

    def used(self, serials: Iterable[int], user: Any) -> None:
        """Remembers whom to tell."""
        for serial in set(serials):
            held = self.users.setdefault(serial, set())
            held.add(weakref.ref(user, held.discard))

    def released(self, serial: int) -> None:
        """The device is about to let go of a raw buffer."""
        for reference in self.users.pop(serial, set()).copy():
            user = reference()
            if user is not None:
                user.drop()

    def trimmed(self) -> None:
        """The device lets go of all that is idle."""
        for serial in list(self.users):
            self.released(serial)


_shared: weakref.WeakKeyDictionary[Any, Shared] = weakref.WeakKeyDictionary()


def shared(device: Any) -> Shared:
    """The Shared of a device."""
    found = _shared.get(device)
    if found is None:
        found = _shared.setdefault(device, Shared(device))
    return found


def _renew_locks() -> None:
    for s in _shared.values():
        s.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
