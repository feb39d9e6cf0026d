"""Flow: loops and branches as the compiler sees them: their parts, and how each is carried out.

In: a Term of control flow. Out: its bodies and operands by role; whether it runs in registers, as a step over bodies of its
own, or by NumPy.
"""

from __future__ import annotations

from ..ir.function import Body
from ..ir.record import record
from ..ir.term import Term, toposort
from ..prims import base as B
from ..prims.control import cond, scan, while_loop
from ..prims.elementwise import add

ENDLESS = 1 << 20    # scalar operations that such a loop is taken to make at least: nobody should have to wait for its end
UNKNOWN = 1000       # steps that a loop with a test is taken to make, where work is estimated


@record
class Steps:
    """A loop: `body` of (*consts, *carries, *slices of xs) -> (*carries, *slices of ys); `test` of (*consts, *carries)."""

    consts: tuple[Term, ...]
    init: tuple[Term, ...]
    xs: tuple[Term, ...]
    body: Body
    length: int | None
    reverse: bool
    test: Body | None

    @property
    def carried(self) -> tuple[Term, ...]:
        """The carries as the body's parameters."""
        first = len(self.consts)
        return self.body.params[first:first + len(self.init)]

    @property
    def sliced(self) -> tuple[Term, ...]:
        """The slices as the body's parameters."""
        return self.body.params[len(self.consts) + len(self.init):]


def steps(t: Term) -> Steps:
    """The parts of a scan or a while loop."""
    k = t.keywords
    c = k["consts"]
    if t.op is while_loop:
        return Steps(t.args[:c], t.args[c:], (), k["body"], None, False, k["test"])
    n = c + k["carries"]
    return Steps(t.args[:c], t.args[c:n], t.args[n:], k["body"], k["length"], k["reverse"], None)


def made(s: Steps) -> Term:
    """The Term of a loop."""
    args = (*s.consts, *s.init, *s.xs)
    if s.test is not None:
        return while_loop(*args, test=s.test, body=s.body, consts=len(s.consts))
    return scan(*args, body=s.body, consts=len(s.consts), carries=len(s.init), length=s.length, reverse=s.reverse)


def bodies(t: Term) -> tuple[Body, ...]:
    """The bodies of a Term of control flow."""
    if t.op is cond:
        return t.keywords["branches"]
    s = steps(t)
    return (s.body,) if s.test is None else (s.body, s.test)


def in_place(result: Term, carry: Term) -> bool:
    """Whether a step changes a few elements of a carry, or adds to it: then it does so in place."""
    few = 0
    if result.op is add and carry in result.args:
        return True
    while isinstance(result.op.lowering, B.Scatter):
        few += result.args[-1].aval.size
        result = result.args[0]
    return result is carry and 0 < 2 * few <= carry.aval.size


def picks(order: list[Term]) -> dict[Term, dict[int, Term]]:
    """{Term of several results: {number: the pick of that result}} of the results that are used."""
    found: dict[Term, dict[int, Term]] = {}
    for t in order:
        if isinstance(t.op.lowering, B.Pick):
            found.setdefault(t.args[0], {})[t.keywords["index"]] = t
    return found


def reads(body: Body) -> list[set[Term]]:
    """The parameters below each result."""
    below: dict[Term, set[Term]] = {}
    params = set(body.params)
    for t in toposort(body.results):
        below[t] = {t} if t in params else set().union(*[below[a] for a in t.args])
    return [below[r] for r in body.results]
