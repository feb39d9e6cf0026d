"""Facts: scalars that the ranges of loop variables decide: comparisons, clamps, choices, checks that always hold.

In: Scalars of a kernel. Out: equal Scalars in which what is known of indices has been used, so that a gather at a ramp is
an ordinary load again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..ir import scalar as S

I64 = np.dtype("int64")
INDEX = (S.VAR, S.LINEAR, S.FLOORDIV, S.MOD)
Range = tuple[int, int] | None


class Facts:
    """Ranges and simpler forms of Scalars, kept for one kernel."""

    def __init__(self) -> None:
        self.ranges: dict[S.Scalar, Range] = {}
        self.done: dict[S.Scalar, S.Scalar] = {}

    def simpler(self, order: Iterable[S.Scalar]) -> dict[S.Scalar, S.Scalar]:
        """A simpler form of every Scalar of `order` (arguments first)."""
        for x in order:
            if x not in self.done:
                new = self._form(x, [self.done[a] for a in x.args])
                self.done[x] = new
                if new not in self.ranges:
                    self.ranges[new] = self.range(new)
        return self.done

    def range(self, x: S.Scalar) -> Range:
        """The smallest and largest value of an integer scalar, None where data decides."""
        if x in self.ranges:
            return self.ranges[x]
        if x.op is S.CONST:
            return (S.value_of(x),) * 2 if x.dtype.kind in "iu" else None
        if x.op is S.LINEAR:
            low = high = x.params[0]
            for a, k in zip(x.args, x.params[1], strict=True):
                inner = self.range(a)
                if inner is None:
                    return None
                low, high = low + min(k * inner[0], k * inner[1]), high + max(k * inner[0], k * inner[1])
            return low, high
        if x.op in INDEX:
            return S.bounds(x)
        if x.op.name in ("maximum", "minimum") and x.dtype.kind in "iu":
            return self._clamped(x)
        return None

    def _clamped(self, x: S.Scalar) -> Range:
        ranges = [self.range(a) for a in x.args]
        info = np.iinfo(x.dtype)
        (a, b), (c, d) = [r or (int(info.min), int(info.max)) for r in ranges]
        return (max(a, c), max(b, d)) if x.op.name == "maximum" else (min(a, c), min(b, d))

    def _form(self, x: S.Scalar, args: list[S.Scalar]) -> S.Scalar:
        name = x.op.name
        if not args:
            return S.index(S.value_of(x)) if x.op is S.CONST and x.dtype == I64 else x
        if x.op is S.LINEAR:
            total = S.index(x.params[0])
            for a, k in zip(args, x.params[1], strict=True):
                total = S.iadd(total, S.imul(a, k))
            return total
        if x.op is S.FLOORDIV:
            return S.ifloordiv(args[0], x.params[0])
        if x.op is S.MOD:
            return S.imod(args[0], x.params[0])
        if name == "select" and args[0].op is S.CONST:
            return args[1] if S.value_of(args[0]) else args[2]
        if name in ("and", "or") and x.dtype.kind == "b":
            return _logic(name, args, x)
        if name == "cast" and args[0].op in INDEX and x.dtype.kind in "iu":
            r, info = self.range(args[0]), np.iinfo(x.dtype)
            if r is not None and info.min <= r[0] and r[1] <= info.max and x.dtype == I64:
                return args[0]
        if name == "cast" and x.dtype == I64 and args[0].op is S.CAST and args[0].args[0].op in INDEX:
            inner, r = args[0], self.range(args[0].args[0])
            if inner.dtype.kind in "iu" and r is not None and np.iinfo(inner.dtype).min <= r[0] and r[1] <= np.iinfo(inner.dtype).max:
                return inner.args[0]
        if len(args) == 2 and args[0].dtype == I64:
            found = self._compared(name, *args)
            if found is not None:
                return found
        args = tuple(args)
        return x if args == x.args else S.scalar(x.op, args, x.params, x.dtype)

    def _compared(self, name: str, x: S.Scalar, y: S.Scalar) -> S.Scalar | None:
        if name == "add" and x.op in INDEX and y.op in INDEX:
            return S.iadd(x, y)
        if name not in ("lt", "le", "maximum", "minimum"):
            return None
        a, b = self.range(x), self.range(y)
        if a is None or b is None:
            return None
        strict = name == "lt"
        if name in ("lt", "le"):
            if a[1] < b[0] or (not strict and a[1] <= b[0]):
                return S.const(True, S.BOOL)
            if a[0] > b[1] or (strict and a[0] >= b[1]):
                return S.const(False, S.BOOL)
        elif a[1] <= b[0]:
            return y if name == "maximum" else x
        elif b[1] <= a[0]:
            return x if name == "maximum" else y
        return None


def _logic(name: str, args: list[S.Scalar], x: S.Scalar) -> S.Scalar:
    for one, other in (args, args[::-1]):
        if one.op is S.CONST:
            return other if S.value_of(one) == (name == "and") else one
    return x if tuple(args) == x.args else S.scalar(x.op, tuple(args), x.params, x.dtype)


def holds(x: S.Scalar) -> bool:
    """Whether a condition is the constant true."""
    return x.op is S.CONST and S.value_of(x) is True
