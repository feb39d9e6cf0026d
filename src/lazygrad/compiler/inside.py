"""Inside: one element of what the body of a loop computes in one step, as scalars.

In: Terms of a body, an index, and what reads an element of each of its parameters. Out: Scalars; `Unfit` where they would be
too many, or more than scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir import scalar as S
from ..ir.kernel import Check
from ..ir.term import Term
from ..prims import base as B
from . import loops
from .cut import Profiles, elementwise
from .facts import Facts

UNROLLED = 16        # elements of a small axis that is written out
SCALARS = 1500       # of the body of a loop
DEEP = 60            # index rules in each other

Index = tuple[S.Scalar, ...]


class Unfit(Exception):
    """The loop needs another way."""


class Inside:
    """The values of a body's Terms at an index, in one step. `params`: for every parameter what reads it at (index, mask)."""

    def __init__(self, profiles: Profiles, params: dict[Term, Callable[[Index, S.Scalar | None], S.Scalar]], code: Callable) -> None:
        self.profiles, self.params, self.code = profiles, params, code
        self.memo: dict[tuple, dict[Term, S.Scalar]] = {}
        self.checks: list[Check] = []
        self.facts = Facts()
        self.left, self.deep = SCALARS, 0

    def value(self, t: Term, idx: Index, mask: S.Scalar | None = None) -> S.Scalar:
        """The value of `t` at `idx`. Raises Unfit where that is more than scalars of this step."""
        memo = self.memo.setdefault((idx, mask), {})
        stack = [t]
        while stack:
            u = stack[-1]
            if u in memo:
                stack.pop()
                continue
            low, read = u.op.lowering, self.params.get(u)
            if read is not None:
                memo[u] = read(idx, mask)
            elif isinstance(low, B.Elementwise):
                todo = [a for a in u.args if a not in memo]
                if todo:
                    stack.extend(reversed(todo))
                    continue
                if not self.profiles.of(u).ok:
                    raise Unfit
                memo[u] = elementwise(u, [memo[a] for a in u.args])
            else:
                self.deep += 1
                if self.deep > DEEP:
                    raise Unfit
                memo[u] = self.ruled(u, low, idx, mask)
                self.deep -= 1
            self.left -= 1
            if self.left < 0:
                raise Unfit
            stack.pop()
        return memo[t]

    def ruled(self, u: Term, low: B.Lowering, idx: Index, mask: S.Scalar | None) -> S.Scalar:
        """An index rule; a sum or another combination of few elements, one after another."""
        if u.aval.dtype.name not in self.profiles.caps.dtypes:
            raise Unfit
        if isinstance(low, B.Index):
            return low.rule(At(self, u, mask), idx, u, **u.keywords)
        if isinstance(low, B.Reduction):
            x, axes = u.args[0], u.keywords["axes"]
            kept = iter(idx)
            frame = [None if a in axes else next(kept) for a in range(x.aval.ndim)]
            parts = []
            for inner in self.few([x.aval.shape[a] for a in axes]):
                own = iter(inner)
                parts.append(self.value(x, tuple([S.index(next(own)) if i is None else i for i in frame]), mask))
            monoid = low.monoid
        elif isinstance(low, B.Contraction):
            a, b = u.args
            parts = [S.apply("mul", self.value(a, (*idx[:-1], S.index(j)), mask), self.value(b, (*idx[:-2], S.index(j), idx[-1]), mask))
                     for j, in self.few([a.aval.shape[-1]])]
            monoid = "add"
        else:
            raise Unfit
        if (monoid, u.aval.dtype.name) not in self.profiles.caps.scalar_ops or not parts:
            raise Unfit
        total = S.cast(parts[0], u.aval.dtype)
        for part in parts[1:]:
            total = S.apply(monoid, total, S.cast(part, u.aval.dtype))
        return total

    def few(self, extents: Sequence[int]) -> list[tuple[int, ...]]:
        if int(np.prod(extents, dtype=object)) > UNROLLED:
            raise Unfit
        return list(np.ndindex(*extents))

    def simple(self, x: S.Scalar) -> S.Scalar:
        """A condition with what ranges decide of it."""
        return self.facts.simpler(loops.walk([x]))[x]


class At:
    """The `at` of an index rule inside of a body; parts that a mask always hides are not evaluated."""

    __slots__ = ("inside", "mask", "term")

    def __init__(self, inside: Inside, term: Term, mask: S.Scalar | None) -> None:
        self.inside, self.term, self.mask = inside, term, mask

    def __call__(self, k: int, idx: Index, mask: S.Scalar | None = None) -> S.Scalar:
        t = self.term.args[k]
        mask = None if mask is None else self.inside.simple(mask)
        if mask is not None and mask.op is S.CONST:
            if not S.value_of(mask):
                return S.const(0, t.aval.dtype)
            mask = None
        if mask is None or mask is self.mask:
            return self.inside.value(t, tuple(idx), self.mask)
        value = self.inside.value(t, tuple(idx), S.both(self.mask, mask))
        return value if value.op is S.LOAD else S.apply("select", mask, value, S.const(0, value.dtype))

    def check(self, ok: S.Scalar | None, fault: tuple[str, str] | str) -> None:
        """As `Reader.check`."""
        if ok is None:
            return
        if self.mask is not None:
            ok = S.apply("or", S.apply("not", self.mask), ok)
        check = Check(ok, self.inside.code(fault, str(self.term.op)))
        if check not in self.inside.checks:
            self.inside.checks.append(check)
