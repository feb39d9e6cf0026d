"""Remembered: the last backward of a graph keeps its tensors, for gradients of intermediates. A graph of which nobody holds
anything any more is forgotten.

In: `tensor.LAST`. Out: fewer entries of it, and so free memory. Looks at reference counts; where these are not exact nothing is
forgotten.
"""

from __future__ import annotations

import weakref
from sys import getrefcount
from typing import Any

from .runtime.slots import EXACT_COUNTS, VIEWS, Leaf
from .tensor import LAST, Tensor


def _counts(objects: list[Any]) -> list[int]:
    return [getrefcount(o) for o in objects]


LISTED = _counts([object()])[0]              # of what a list alone refers to


def unheld(held: list[Any]) -> bool:
    """Whether LAST and this list of one entry of it are all that refers to the tensors and the graph below the entry."""
    inside: dict[int, int] = {}              # id -> references from what is looked at here
    seen: list[Any] = []                     # tensors and scopes
    todo = [*held, *held]
    while todo:
        o = todo.pop()
        inside[id(o)] = inside.get(id(o), 0) + 1
        if inside[id(o)] > 1:
            continue
        if o.__class__ is tuple:
            todo += o
        elif isinstance(o, Tensor):
            seen.append(o)
            todo += [o.a, o.b]
        elif o.__class__ is Leaf:
            todo.append(o.graph)
            if VIEWS[o.slot] is not None:
                todo.append(VIEWS[o.slot])
        elif hasattr(o, "others") or hasattr(o, "owner"):        # a graph, or its scope on another device
            seen.append(o)
            todo += [*o.__dict__.get("permanent", ()), o.__dict__.get("owner")]
    o = None
    return all([count - LISTED <= inside[id(k)] for k, count in zip(seen, _counts(seen), strict=True)])


def forget() -> None:
    """Forgets the last backwards of graphs of which nobody holds a tensor or the graph itself."""
    if EXACT_COUNTS:
        dropped = []                         # released at the end
        for number in list(LAST):
            held = [LAST[number]] if number in LAST else []
            if held and unheld(held):
                dropped.append(LAST.pop(number, None))


class Trimmer:
    """What a device tells: it wants its memory back."""

    def released(self, serial: int) -> None:
        """A native buffer goes: nothing here knows it."""

    def trimmed(self) -> None:
        forget()


_trimmer = Trimmer()
_listening: weakref.WeakSet[Any] = weakref.WeakSet()


def made_on(device: Any) -> None:
    """A graph has been made on a GPU: what others have left there is forgotten now, and whenever the device is trimmed."""
    forget()
    if device not in _listening:
        _listening.add(device)
        device.listen(_trimmer.released, _trimmer.trimmed)
