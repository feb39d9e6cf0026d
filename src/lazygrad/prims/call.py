"""Calls of Bodies where they stand, with derivatives of their own: rules that users give, or a reverse mode that computes again.

    call(*args)            the results of body(*args), as a Pack; the compiler puts the body's Terms in its place
    barrier(x, *after)     x, computed only after the Terms `after`; never taken for x itself, so that what is computed of it is computed again

The derivatives are in `ad.call`, which registers them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.aval import Aval, Pack, pack
from ..ir.function import Body
from ..ir.record import record
from ..ir.term import Term
from .base import Contraction, Convolution, Host, Index, Inline, Linear, Prim
from .control import by_name, pick, runner
from .leaf import opened


@record
class Pull:
    """A rule for reverse mode of the user's function `owner`. The first `count` arguments are its own, the others what it closes over.

    `forward(*args)`: (*results, *residuals); `backward(*residuals, *cotangents of the inexact results, *closed over)`: cotangents
    of the arguments that `gives` marks.
    """

    owner: Any
    count: int
    forward: Body
    backward: Body
    gives: tuple[bool, ...]

    @property
    def name(self) -> str:
        return self.owner.name


@record
class Push:
    """A rule for forward mode: `push(*own arguments, *tangents of the inexact ones, *closed over)`: tangents of the inexact results."""

    owner: Any
    count: int
    push: Body

    @property
    def name(self) -> str:
        return self.owner.name


@record
class Same:
    """The rule whose Bodies this call stands in: of a function whose rule calls the function."""

    owner: Any
    count: int

    @property
    def name(self) -> str:
        return self.owner.name


@record
class Again:
    """Reverse mode keeps the arguments and what the policy says, and computes the rest again.

    `policy`: None, nothing more; "dots", products of matrices and what a host library computes; else a function of an
    operation's name, its result's shape and dtype.
    """

    policy: Callable[[str, tuple[int, ...], np.dtype], bool] | str | None

    @property
    def name(self) -> str:
        return "checkpoint"

    def keeps(self, t: Term) -> bool:
        """Whether the value of `t` is kept."""
        if self.policy == "dots":
            return isinstance(t.op.lowering, (Contraction, Convolution, Host))
        return callable(self.policy) and bool(t.args) and t.aval.__class__ is not Pack and bool(self.policy(t.op.name, t.aval.shape, t.aval.dtype))


Rule = Pull | Push | Same | Again


def _call_aval(*avals: Aval, body: Body, rule: Rule) -> Pack:
    if body.takes != avals:
        raise ShapeError("call", f"({', '.join(map(str, avals))})", f"the body takes ({', '.join(map(str, body.takes))})")
    return pack(body.gives)


def _call_numpy(*arrays: np.ndarray, body: Body, rule: Rule) -> tuple[np.ndarray, ...]:
    return tuple(runner(body)(arrays))


call = Prim("call", _call_numpy, _call_aval, Inline(), by_name("call"), ("body", "rule"))

barrier = Prim("barrier", lambda x, *after: x, lambda x, *after: x, Index(lambda at, idx, out: at(0, idx)),
               Linear((0,), lambda ct, out, x, *after: (ct,), moves_mask=True))


def behind(x: Term, after: list[Term]) -> Term:
    """`x` behind a barrier: computed again after the Terms `after`."""
    return barrier(x, *after) if after and (x.args or x.op.name == "source") else x


def inlined(t: Term, known: dict[Term, list[Term]]) -> Term | None:
    """What stands in the place of one result of a call; None for any other Term. `known`: the results of calls met before."""
    if t.op is not pick or not isinstance(t.args[0].op.lowering, Inline):
        return None
    made = t.args[0]
    if made not in known:
        known[made] = opened(made.params[0], made.args)
    return known[made][t.params[0]]
