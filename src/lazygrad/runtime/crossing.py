"""Expressions over two devices: a value that moves is computed where it is, copied, and is a leaf where it goes.

In: roots below which there are `place` Terms with a source. Out: what `plans` gives for one device: a callable, with gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..ir.term import Term, substitute, toposort
from ..prims import leaf as leaves
from . import gradients, plans
from .arrays import allocate, assign, place
from .devices import device_of
from .slots import BUFFERS, Leaf


class _Owner:
    """What a Leaf wants of a graph."""

    def __init__(self) -> None:
        self.slots: set[int] = set()


class Crossing:
    """A plan in stages: `run()` computes each moving value, copies it over, and then the roots, device by device.

    The first `len(wants)` roots are gradients for these slots, the last `len(targets)` new values of leaves, the rest results.
    """

    plan = None

    def __init__(self, roots: Sequence[Term], wants: Sequence[int] = (), targets: Sequence[int] = (), single: bool = True,
                 moved: Mapping[int, int] = MappingProxyType({})) -> None:
        self.wants, self.targets, self.single = list(wants), list(targets), single
        self.avals = [r.aval for r in roots]
        owner, done = _Owner(), {}
        self.stages: list[tuple[plans.Binding, Leaf]] = []
        for t in [t for t in toposort(roots) if plans.crosses(t)]:
            (x,) = substitute([t.args[0]], done)
            scope = t.params[0]
            array, at = allocate(device_of(scope), t.aval)
            stand_in = Leaf(owner, array, at, t.aval)
            self.stages.append((plans.values([x], single=True, moved=moved), stand_in))
            done[t] = leaves.leaf(stand_in.slot, scope, t.aval, False)
        self.groups: list[tuple[list[int], plans.Binding]] = []
        new = substitute(list(roots), done)
        by_device: dict[Any, list[int]] = {}
        for i, r in enumerate(new):
            by_device.setdefault(device_of(r.graph), []).append(i)
        for places in by_device.values():
            self.groups.append((places, plans.values([new[i] for i in places], moved=moved)))

    def run(self) -> Any:
        """Computes everything; the results are arrays of their own."""
        for binding, stand_in in self.stages:
            assign(BUFFERS[stand_in.slot], binding.run())
        found: list[Any] = [None] * len(self.avals)
        for places, binding in self.groups:
            for i, array in zip(places, binding.run(), strict=True):
                found[i] = array
        g, m = len(self.wants), len(found) - len(self.targets)
        if g:
            gradients.accumulate(self.wants, self.avals[:g], found[:g])
        kept = [place(a, "cpu", av)[0] if a.__class__ is np.ndarray else a for a, av in zip(found[g:m], self.avals[g:m], strict=True)]
        fresh = [np.array(a) if a.__class__ is np.ndarray else a for a in found[m:]]       # all before any is overwritten
        for slot, array in zip(self.targets, fresh, strict=True):
            assign(BUFFERS[slot], array)
        return kept[0] if self.single else tuple(kept)

    def handed(self, found: Any) -> bool:
        """Results are copied for whoever keeps them."""
        return False

    def go_native(self) -> None:
        """Nothing to do: the stages are compiled as they come back."""


