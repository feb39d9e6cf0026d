"""Rules: equations on elementwise Terms, as data; both sides are patterns, so that one test can sample them all.

A rule states the dtype kinds it holds for and what it may change: nothing, the last bit of a rounding, or (only under
`fast_math`) NaN, infinities and signs of zero. It says nothing about when it is worth using: the right side is simpler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir.record import record
from ..ir.term import Term
from ..prims import base as B
from ..prims import elementwise  # noqa: F401  (fills the registry that patterns name)
from ..prims.leaf import full, like

NOTHING, LAST_BIT, FAST = "nothing", "last bit", "fast"


@record
class Pattern:
    """`op` of `args`; a hole (op "?") named `name`; or a constant (op "#") whose number prints as `name`."""

    op: str
    args: tuple[Pattern, ...] = ()
    name: str = ""

    def __add__(self, other: Pattern | float) -> Pattern:
        return Pattern("add", (self, lift(other)))

    def __sub__(self, other: Pattern | float) -> Pattern:
        return Pattern("sub", (self, lift(other)))

    def __mul__(self, other: Pattern | float) -> Pattern:
        return Pattern("mul", (self, lift(other)))

    def __truediv__(self, other: Pattern | float) -> Pattern:
        return Pattern("div", (self, lift(other)))

    def __pow__(self, other: Pattern | float) -> Pattern:
        return Pattern("pow", (self, lift(other)))

    def __neg__(self) -> Pattern:
        return Pattern("neg", (self,))

    def __invert__(self) -> Pattern:
        return Pattern("bit_not", (self,))

    def __and__(self, other: Pattern | bool) -> Pattern:
        return Pattern("bit_and", (self, lift(other)))

    def __or__(self, other: Pattern | bool) -> Pattern:
        return Pattern("bit_or", (self, lift(other)))

    def __str__(self) -> str:
        return self.name if not self.args else f"{self.op}({', '.join(map(str, self.args))})"


def lift(value: Pattern | float | bool) -> Pattern:
    """A number as a pattern; 0.0 and -0.0 are two patterns."""
    return value if isinstance(value, Pattern) else Pattern("#", (), repr(value))


def fn(name: str):
    """The pattern maker of a Prim."""
    return lambda *args: Pattern(name, tuple([lift(a) for a in args]))


@record
class Rule:
    left: Pattern
    right: Pattern
    kinds: str
    changes: str = NOTHING

    def __str__(self) -> str:
        return f"{self.left} = {self.right} for {self.kinds}"


def rule(left: Pattern, right: Pattern | float, kinds: str, changes: str = NOTHING) -> Rule:
    """An equation for values of the dtype `kinds`; the hole `c` is always bool."""
    return Rule(left, lift(right), kinds, changes)


x, y, z, c = [Pattern("?", (), n) for n in "xyzc"]
where, absolute, negative, inverted, maximum, minimum = (
    fn(n) for n in ("where", "abs", "neg", "bit_not", "maximum", "minimum"))

RULES: tuple[Rule, ...] = (
    # identities (x + 0.0 is not one: it turns -0.0 into 0.0)
    rule(x + 0, x, "iu"), rule(lift(0) + x, x, "iu"), rule(x + -0.0, x, "f"), rule(lift(-0.0) + x, x, "f"),
    rule(x - 0, x, "iu"), rule(x - 0.0, x, "f"),
    rule(x * 1, x, "fiu"), rule(lift(1) * x, x, "fiu"), rule(x / 1, x, "f"), rule(x ** 1, x, "fiu"),
    rule(x * 0, 0, "iu"), rule(lift(0) * x, 0, "iu"), rule(x - x, 0, "iu"),
    rule(lift(0) - x, -x, "iu"), rule(lift(-0.0) - x, -x, "f"),
    # signs
    rule(negative(negative(x)), x, "fiu"), rule(x + -y, x - y, "fiu"), rule(x - -y, x + y, "fiu"), rule(-x + y, y - x, "fiu"),
    rule(x * -1, -x, "fi"), rule(lift(-1) * x, -x, "fi"), rule(-x * -y, x * y, "fiu"), rule(-x / -y, x / y, "f"),
    rule(absolute(-x), absolute(x), "fi"), rule(absolute(absolute(x)), absolute(x), "fi"),
    # the right side is the correctly rounded one
    rule(x ** 2, x * x, "fiu", LAST_BIT), rule(x ** -1.0, lift(1) / x, "f", LAST_BIT),
    # logic and choice
    rule(inverted(inverted(x)), x, "iub"), rule(x & x, x, "iub"), rule(x | x, x, "iub"), rule(c & True, c, "b"), rule(lift(True) & c, c, "b"),
    rule(c | False, c, "b"), rule(lift(False) | c, c, "b"), rule(c & False, False, "b"), rule(c | True, True, "b"),
    rule(maximum(x, x), x, "fiub"), rule(minimum(x, x), x, "fiub"),
    rule(where(c, x, x), x, "fiub"), rule(where(lift(True), x, y), x, "fiub"), rule(where(lift(False), x, y), y, "fiub"),
    rule(where(~c, x, y), where(c, y, x), "fiub"),
    rule(where(c, where(c, x, y), z), where(c, x, z), "fiub"), rule(where(c, x, where(c, y, z)), where(c, x, z), "fiub"),
    # only where NaN, infinities and the sign of zero may change
    rule(x + 0.0, x, "f", FAST), rule(x * 0.0, 0.0, "f", FAST), rule(x - x, 0.0, "f", FAST), rule(x / x, 1.0, "f", FAST),
)


def match(p: Pattern, t: Term, holes: dict[str, Term]) -> bool:
    """Whether `t` has the form `p`; fills `holes`. A hole that appears twice needs one Term twice."""
    if p.op == "?":
        return holes.setdefault(p.name, t) is t
    if p.op == "#":
        return t.op is full and same_number(p.name, t)
    return t.op.name == p.op and all([match(q, a, holes) for q, a in zip(p.args, t.args, strict=True)])


def same_number(text: str, t: Term) -> bool:
    """Whether the constant `t` is the number `text`: 0 is 0.0 but not -0.0, True is no number."""
    kind = t.aval.dtype.kind
    if kind == "b" or text in ("True", "False"):
        return t.params[1] == text
    if kind == "c":
        return False
    value = float(text)
    return t.params[0] == value and str(np.copysign(1, t.params[0])) == str(np.copysign(1, value))


def build(p: Pattern, holes: Mapping[str, Term], model: Term) -> Term:
    """The Term of the pattern `p`; its constants are as `model`."""
    if p.op == "?":
        return holes[p.name]
    if p.op == "#":
        return like(model, number(p.name))
    return B.REGISTRY[p.op](*[build(a, holes, model) for a in p.args])


def number(text: str) -> Any:
    return text == "True" if text in ("True", "False") else float(text) if "." in text else int(text)


class Finder:
    """The rules that may fit a Term, by the names of its op and of its arguments' ops; most Terms have none."""

    def __init__(self, fast_math: bool = False) -> None:
        self.rules: dict[str, list[Rule]] = {}
        self.memo: dict[tuple, list[Rule]] = {}
        for r in RULES:
            if fast_math or r.changes != FAST:
                self.rules.setdefault(r.left.op, []).append(r)

    def __call__(self, t: Term) -> list[Rule]:
        rules = self.rules.get(t.op.name)
        if rules is None:
            return []
        key = (t.args[-1].aval.dtype.kind, t.op.name, *[a.op.name for a in t.args])
        found = self.memo.get(key)
        if found is None:
            found = self.memo[key] = [r for r in rules if key[0] in r.kinds and all(map(_heads, r.left.args, key[2:]))]
        return found


def _heads(p: Pattern, op: str) -> bool:
    return p.op in ("?", op) or (p.op == "#" and op == "full")
