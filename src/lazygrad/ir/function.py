"""Body: a function of arrays as data, the part of a loop or branch that is run again. Closed: it reads its parameters and nothing else.

Parameter k of one type is the same source Term everywhere, so equal bodies are equal records and plans that hold them are found again.
"""

from __future__ import annotations

from .aval import Aval
from .record import record
from .term import Term, toposort

PARAMETER = -(1 << 41)         # slots of parameters: this and below


@record
class Body:
    """`results` as Terms over `params`, source Terms made by `prims.leaf.parameter`."""

    params: tuple[Term, ...]
    results: tuple[Term, ...]

    @property
    def takes(self) -> tuple[Aval, ...]:
        return tuple([p.aval for p in self.params])

    @property
    def gives(self) -> tuple[Aval, ...]:
        return tuple([r.aval for r in self.results])

    def __repr__(self) -> str:
        return f"<body of {len(toposort(self.results))} terms>"
