"""What values depend on: finer than which Terms lie below them, for a loop or branch has results that do not read all of its operands."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.aval import Pack
from ..ir.function import Body
from ..ir.term import Term, toposort


def dependent(roots: Sequence[Term], on: Collection[Term]) -> list[bool]:
    """For each root whether its value depends on one of the source Terms `on`."""
    of: dict[Term, bool | list[bool]] = {}
    for t in toposort(roots):
        if t.op.name == "pick":
            found = of[t.args[0]][t.keywords["index"]]
        elif t.aval.__class__ is Pack:
            found = RULES[t.op.name]([of[a] for a in t.args], **t.keywords)
        else:
            found = t in on or any([of[a] for a in t.args])
        of[t] = found
    return [of[r] for r in roots]


def through(body: Body, given: Sequence[bool]) -> list[bool]:
    """Which results of a body depend on the parameters that are marked."""
    return dependent(body.results, {p for p, g in zip(body.params, given, strict=True) if g})


def _settled(body: Body, given: Sequence[bool], consts: int, carries: int) -> tuple[list[bool], list[bool]]:
    """(the carries, all results) of steps of a body, until no step marks another carry."""
    carried = list(given[consts:consts + carries])
    while True:
        found = through(body, [*given[:consts], *carried, *given[consts + carries:]])
        after = [a or b for a, b in zip(carried, found[:carries], strict=True)]
        if after == carried:
            return carried, found
        carried = after


def _scan(given: Sequence[bool], body: Body, consts: int, carries: int, length: int, reverse: bool) -> list[bool]:
    carried, found = _settled(body, given, consts, carries)
    return [*carried, *found[carries:]]


def _while(given: Sequence[bool], test: Body, body: Body, consts: int) -> list[bool]:
    carried, _ = _settled(body, given, consts, len(given) - consts)
    steps = through(test, [*given[:consts], *carried])[0]              # how often decides about everything
    return [c or steps for c in (*carried, False)]


def _cond(given: Sequence[bool], branches: tuple[Body, ...]) -> list[bool]:
    return [given[0] or any(flags) for flags in zip(*[through(b, given[1:]) for b in branches], strict=True)]


def _call(given: Sequence[bool], body: Body, rule: object) -> list[bool]:
    return through(body, given)


RULES = {"scan": _scan, "while_loop": _while, "cond": _cond, "call": _call}
