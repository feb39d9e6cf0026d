"""Derivatives of calls with rules of their own, in both modes whichever mode a rule is for, and of recomputation.

A rule is linear in cotangents (or tangents), so the derivative of it with respect to those gives the other mode.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GradientError
from ..ir.aval import pack
from ..ir.function import Body
from ..ir.term import MEMOS, Term, rewrite, substitute, toposort
from ..prims.base import Several
from ..prims.call import Again, Pull, Push, Same, behind, call
from ..prims.control import picked, register_rules
from ..prims.leaf import closed, opened
from .control import chosen, inexact, pulled, pushed, spread, stand_ins, zero
from .dependence import dependent
from .masks import shown
from .vjp import conjugate, vjp

TRANSPOSED: dict[tuple, Body] = {}
MEMOS.append(TRANSPOSED)


def _full(ts: Sequence[Term | None], of: Sequence[Term]) -> list[Term]:
    """A tangent or cotangent of every inexact Term of `of`, zeros where there is none."""
    return [zero(o) if t is None else t for t, o in zip(ts, of, strict=True) if o.aval.inexact]


def transposed(body: Body, first: int, count: int, name: str) -> Body:
    """Of a body that is linear in parameters first, first + 1, ... (`count` of them): (*the others, *cotangents of its results) -> their cotangents."""
    key = body, first, count
    found = TRANSPOSED.get(key)
    if found is None:
        linear = body.params[first:first + count]
        others = [*body.params[:first], *body.params[first + count:]]
        cts = stand_ins([r.aval for r in body.results])
        back = [zero(p) if c is None else c for p, c in zip(linear, vjp(body.results, cts, linear), strict=True)]
        if any(dependent(back, set(linear))):
            raise GradientError("custom derivative", name, "its rule is not linear in what it is given (tangents or cotangents)",
                                "write one that is, or define the rule of the other mode")
        back = substitute(back, {p: zero(p) for p in linear})          # loops take them along, and do not read them
        found = TRANSPOSED[key] = closed([*others, *cts], back)
    return found


def _knotted(found: list[Term], rule: Pull | Push, body: Body, args: Sequence[Term]) -> list[Term]:
    """`found` with this rule for calls of the function inside of its own rule."""
    n = rule.count
    own = Same(rule.owner, n)

    def step(t: Term) -> Term | None:
        if t.op is not call or t.params[1] != own or t.params[0].takes[:n] != body.takes[:n] or t.aval is not pack(body.gives):
            return None
        return call(*t.args[:n], *args[n:], body=body, rule=rule)
    return rewrite(found, step) if any([t.op is call for t in toposort(found)]) else found


def _recursive(*args: object) -> list[Term | None]:
    raise GradientError("custom derivative", next(a for a in args if isinstance(a, Same)).name, "its rule calls it on other arguments than it was called with, or through another rule",
                        "write the rule without the function itself")


def _refused(name: str, flags: Sequence[bool]) -> None:
    if any(flags):
        raise GradientError("custom derivative", name, "it closes over a tensor that is differentiated, for which its rule gives nothing",
                            "pass the tensor as an argument, or use stop_gradient")


# ---- rules for reverse mode ---------------------------------------------------------------------------------------------

def _pull_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], rule: Pull, body: Body, args: Sequence[Term]) -> list[Term | None]:
    n = rule.count
    _refused(rule.name, wanted[n:])
    residuals = opened(rule.forward, args)[len(body.results):]
    # users' rules see cotangents as users do
    found = opened(rule.backward, [*residuals, *map(conjugate, _full(cts, body.results)), *args[n:]])
    return [*spread(list(map(conjugate, _knotted(found, rule, body, args))), rule.gives), *[None] * (len(args) - n)]


def _pull_jvp(ts: Sequence[Term | None], rule: Pull, body: Body, args: Sequence[Term]) -> list[Term | None]:
    n = rule.count
    _refused(rule.name, [t is not None for t in ts[n:]])
    residuals = opened(rule.forward, args)[len(body.results):]
    moving = inexact(body.results)
    push = transposed(rule.backward, len(residuals), sum(moving), rule.name)
    tangents = [zero(a) if t is None else t for t, a in chosen(list(zip(ts[:n], args[:n], strict=True)), rule.gives)]
    return spread(_knotted(opened(push, [*residuals, *args[n:], *tangents]), rule, body, args), moving)


# ---- rules for forward mode ---------------------------------------------------------------------------------------------

def _push_jvp(ts: Sequence[Term | None], rule: Push, body: Body, args: Sequence[Term]) -> list[Term | None]:
    n = rule.count
    _refused(rule.name, [t is not None for t in ts[n:]])
    found = opened(rule.push, [*args[:n], *_full(ts[:n], args[:n]), *args[n:]])
    return spread(_knotted(found, rule, body, args), inexact(body.results))


def _push_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], rule: Push, body: Body, args: Sequence[Term]) -> list[Term | None]:
    n = rule.count
    _refused(rule.name, wanted[n:])
    moving = inexact(args[:n])
    pull = transposed(rule.push, n, sum(moving), rule.name)
    found = opened(pull, [*args[:n], *args[n:], *map(conjugate, _full(cts, body.results))])
    return [*spread(list(map(conjugate, _knotted(found, rule, body, args))), moving), *[None] * (len(args) - n)]


# ---- computing again ----------------------------------------------------------------------------------------------------

def _again_vjp(cts: Sequence[Term | None], wanted: Sequence[bool], rule: Again, body: Body, args: Sequence[Term]) -> list[Term | None]:
    have = [c is not None for c in cts]
    here = chosen(cts, have)
    masks = [shown(c) for c in here]
    given, found = pulled(body, have, wanted, masks)
    kept = [t for t in toposort(body.results) if rule.keeps(t)] if rule.policy is not None else []
    env = dict(zip(kept, substitute(kept, dict(zip(body.params, args, strict=True))), strict=True))
    env.update(zip(given, [*here, *[m for m in masks if m is not None]], strict=True))
    env.update((p, behind(a, here)) for p, a in zip(body.params, args, strict=True))
    return spread(substitute([c for c in found if c is not None], env), [c is not None for c in found])


def _again_jvp(ts: Sequence[Term | None], rule: Again, body: Body, args: Sequence[Term]) -> list[Term | None]:
    active = [t is not None for t in ts]
    tangents, moved = pushed(body, active)
    alive = [m is not None for m in moved]
    both = closed([*body.params, *tangents], chosen(moved, alive))
    return spread(picked(call(*args, *chosen(ts, active), body=both, rule=rule)), alive)


VJP = {Pull: _pull_vjp, Push: _push_vjp, Same: _recursive, Again: _again_vjp}
JVP = {Pull: _pull_jvp, Push: _push_jvp, Same: _recursive, Again: _again_jvp}

register_rules("call", Several(lambda cts, wanted, out, *args, body, rule: VJP[type(rule)](cts, wanted, rule, body, args),
                               lambda ts, out, *args, body, rule: JVP[type(rule)](ts, rule, body, args)))
