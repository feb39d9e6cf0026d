"""Quick: a compiled function of tensors as one built-in call, where its results are small and their leaves serve again.

In: a Called, what its arguments have to be, results of earlier calls (`Past`). Out: a callable (code, lasti, *tensors) that gives the results,
or None where anything is unusual; then Python does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import tiers
from .called import Called, Past
from .memory import address
from .slots import ADDRESSES, BUFFERS, GRADIENTS, VIEWS, Leaf


class Quick:
    """The built-in `call` of one plan. `settle` before Python touches the earlier results, `renew` after."""

    __slots__ = ("_code", "_held", "_kept", "_record", "_sets", "call")

    def __init__(self, called: Called, avals: Sequence[Any], order: Sequence[int], slots: Sequence[int], results: int, kinds: dict[str, Any]) -> None:
        """`order[j]`: the argument that input j is, -1 where it is the leaf at `slots[j]`. Raises LayoutError where this Python is unknown."""
        from ..backends.llvm import entry
        n, m, exe = len(avals), len(order), called.exe
        args, cell = called.native.args.copy(), np.zeros(1, np.int64)
        args[2] = address(cell)
        record = np.zeros(entry.ROWS + 2 * n + m + 2 * results * entry.ROW, np.int64)
        if exe.arena:
            tiers.reserve(exe.arena)
        record[:16] = (exe.native, n, m, results, entry.AS_TUPLE if results > 1 else 0, 0, 0, 0, address(args), ADDRESSES[0], id(BUFFERS), ADDRESSES[2],
                       address(tiers.ARENA) if exe.arena else 0, id(GRADIENTS), 0, id(VIEWS))
        record[17:22] = id(kinds["tensor"][0]), id(Leaf), 0, called.first, id(None)
        at = entry.ROWS
        record[at:at + n] = [id(av) for av in avals]
        record[at + 2 * n:at + 2 * n + m] = [k if k >= 0 else -1 - s for k, s in zip(order, slots, strict=True)]
        self._record, self._sets, self._held = record, at + 2 * n + m, ()
        self._code: list[Any] = [None, None]
        self._kept = called, tuple(avals), args, cell
        self.call = entry.bind_tensors(record, kinds, (called, tuple(avals), args, cell))

    def settle(self, past: deque[Past]) -> None:
        """Puts the older of the two earlier results first, and the built-in off until they are renewed."""
        record, k = self._record, int(self._record[3])
        if record[19]:
            past.rotate(1)
        record[19] = 0
        record[self._sets:self._sets + 12 * k:6] = 0

    def renew(self, past: deque[Past], scope: Any, code: Any) -> None:
        """The earlier results of now, the graph that they are in, and the code that calls."""
        record = self._record
        if len(past) != 2 or any([p.scope() is not scope for p in past]):
            return
        if code not in self._code:
            self._code = [code, self._code[0]]
            record[6:8] = [id(c) for c in self._code]          # None is no code that calls
        self._held = tuple(past)                               # what the addresses below belong to
        record[5] = id(scope)
        record[self._sets:] = [v for p in past for (leaf, array, base, slot, term), (_, at) in zip(p.rows, p.made, strict=True)
                               for v in (id(leaf), id(array), id(base), slot, id(term), at)]


def made(called: Called, avals: Sequence[Any], order: Sequence[int], slots: Sequence[int], results: int, kinds: dict[str, Any]) -> Quick | None:
    """The built-in of a plan; None where there is none: a plan with Python or a released GIL inside, a Python that is not known."""
    if called.call is None or called.exe.native is None or called.exe.work >= tiers.RELEASE_WORK:
        return None
    from ..backends.llvm import entry
    try:
        return Quick(called, avals, order, slots, results, kinds)
    except entry.LayoutError:
        return None
