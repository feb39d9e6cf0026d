"""Gradients of leaves: their buffers by slot, who may still see them, and the accumulation of the interpreted tier.

State 0: no gradient (a buffer may lie ready). 1: present. 2: present and read by the user: what he holds never changes, so the
next backward writes into a copy, or into the same buffer once nobody holds the handle any more.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from ..ir.aval import Aval
from .arrays import assign, fill, host
from .slots import EXACT_COUNTS, GRADIENTS, VIEWS, allocate_gradient, grads, states

ABSENT, PRESENT, SHOWN = 0, 1, 2


def unseen(slot: int) -> bool:
    """Whether nobody but the tables holds the gradient's handle or its array."""
    view = VIEWS[slot]
    if view is None:
        return True
    if not EXACT_COUNTS or GRADIENTS[slot] is None:
        return False
    # the handle: VIEWS, `view`, the argument; the array: GRADIENTS, BUFFERS under the handle's own slot, the argument
    return getrefcount(view) <= 3 and getrefcount(GRADIENTS[slot]) <= 3


def forget(slot: int) -> None:
    """Removes the gradient (`x.grad = None`); an unseen buffer and its handle stay ready for the next one."""
    if not unseen(slot):
        held = VIEWS[slot], GRADIENTS[slot]
        VIEWS[slot] = GRADIENTS[slot] = None
        grads[slot] = 0
        del held
    states[slot] = ABSENT


def prepare(slot: int, av: Aval) -> None:
    """Makes the gradient writable: a buffer exists and no one else sees it (state 0 or 1 afterwards)."""
    state = states[slot]
    if state == SHOWN:
        if not unseen(slot):
            view, old = VIEWS[slot], GRADIENTS[slot]
            if old is None:                              # a symbolic gradient (create_graph)
                old = view._held()
            VIEWS[slot] = None
            assign(allocate_gradient(slot, av), old)
        states[slot] = PRESENT
    elif GRADIENTS[slot] is None:
        allocate_gradient(slot, av)


def uniform(slots: list[int], avals: list[Aval]) -> int:
    """Prepares all slots and brings them to one state, which is returned.

    Where some have a gradient and some have none, the missing ones become -0.0, to which adding changes nothing.
    """
    for slot, av in zip(slots, avals, strict=True):
        prepare(slot, av)
    present = [states[slot] for slot in slots]
    if not any(present):
        return ABSENT
    for slot, state in zip(slots, present, strict=True):
        if not state:
            fill(GRADIENTS[slot], -0.0)
            states[slot] = PRESENT
    return PRESENT


def accumulate(slots: list[int], avals: list[Aval], arrays: list[Any]) -> None:
    """Writes or adds computed gradients (where no plan does this itself)."""
    for slot, av, array in zip(slots, avals, arrays, strict=True):
        prepare(slot, av)
        mine = GRADIENTS[slot]
        if states[slot]:
            with np.errstate(all="ignore"):
                assign(mine, np.add(host(mine), host(array)))
        else:
            assign(mine, array)
            states[slot] = PRESENT


def put(slot: int, av: Aval, array: Any) -> None:
    """Replaces the gradient by `array` (`x.grad = array`)."""
    forget(slot)
    prepare(slot, av)
    assign(GRADIENTS[slot], array)
    states[slot] = PRESENT


def shown(slot: int) -> Any:
    """The gradient's array, to be handed out: from now on it does not change while anyone holds it."""
    if not states[slot]:
        return None
    states[slot] = SHOWN
    return GRADIENTS[slot]
