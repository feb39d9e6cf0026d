"""Running extremes and sums of exponentials, integrals and slopes of samples, angles without jumps.

In: tensors of samples, spacings as numbers or tensors, one axis. Out: tensors. Everything is a sum of shifted slices, or a scan.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..prims.reduction import recurrence
from .composite import fill, scale
from .elementwise import ordered
from .joining import along
from .movement import cut
from .promotion import P, as_term, broadcast, cast, inexact, many_axes, number, one_axis, pair, reshaped
from .reductions import cumsum, diff
from .table import public


def flat_unless(op: str, x: Term, axis: int | None) -> tuple[Term, int]:
    """x and a checked axis; flattened without one."""
    return (reshaped(x, (x.aval.size,)), 0) if axis is None else (x, one_axis(op, axis, x.aval.ndim))


# ---- scans ------------------------------------------------------------------------------------------------------------

def extreme(op: str, prim, x: Term, axis: int | None, reverse: bool) -> Term:
    ordered(op, (x,))
    y, k = flat_unless(op, x, axis)
    if y.aval.dtype.kind == "b":
        return cast(prim(cast(y, dtypes.uint8), axis=k, reverse=reverse), dtypes.bool_)
    return prim(y, axis=k, reverse=reverse)


@public(method=True)
def cummax(x: Term, axis: int | None = None, reverse: bool = False) -> Term:
    """The largest element so far along `axis`, of the flattened x without one; NaN from the first one on. `reverse` runs from the end.

    >>> import lazygrad as lg
    >>> lg.cummax(lg.asarray([1, 3, 2, 5])).tolist()
    [1, 3, 3, 5]
    """
    return extreme("cummax", P.cummax, x, axis, reverse)


@public(method=True)
def cummin(x: Term, axis: int | None = None, reverse: bool = False) -> Term:
    """The smallest element so far along `axis`, of the flattened x without one; NaN from the first one on. `reverse` runs from the end.

    >>> import lazygrad as lg
    >>> lg.cummin(lg.asarray([5, 3, 4, 1])).tolist()
    [5, 3, 3, 1]
    """
    return extreme("cummin", P.cummin, x, axis, reverse)


BLOCK = 64


def decayed(a: Term, b: Term, k: int) -> Term:
    """r[t] = b[t] + a[t] r[t-1] along axis k for constant a from 0 to 1: long axes by blocks, each beginning with what came before it."""
    n = a.aval.shape[k]
    if n <= 8 * BLOCK:
        return recurrence(a, b, k, False)
    shape = a.aval.shape
    count = -(-n // BLOCK)
    wide = (*shape[:k], count * BLOCK, *shape[k + 1:])
    start, step = (0,) * len(shape), (1,) * len(shape)
    split = (*shape[:k], count, BLOCK, *shape[k + 1:])
    a, b = [reshaped(P.embed(v, shape=wide, start=start, step=step), split) for v in (a, b)]
    inside, share = recurrence(a, b, k + 1, False), P.cumprod(a, axis=k + 1, reverse=False)
    rest = (*shape[:k], count, *shape[k + 1:])
    ends = decayed(*[reshaped(cut(v, k + 1, BLOCK - 1, 1), rest) for v in (share, inside)], k)
    one = list(split)
    one[k + 1] = 1
    before = P.embed(cut(ends, k, 0, count - 1), shape=rest, start=tuple([1 if j == k else 0 for j in range(len(rest))]), step=(1,) * len(rest))
    whole = P.add(inside, P.mul(share, broadcast(reshaped(before, tuple(one)), split)))
    return cut(reshaped(whole, wide), k, 0, n)


@public(method=True)
def logcumsumexp(x: Term, axis: int | None = None) -> Term:
    """log(cumsum(exp(x))) along `axis`, of the flattened x without one, without overflow or underflow.

    >>> import lazygrad as lg
    >>> lg.logcumsumexp(lg.asarray([1000.0, 1000.0])).round(1).tolist()
    [1000.0, 1000.7000122070312]
    """
    x, k = flat_unless("logcumsumexp", inexact(ordered("logcumsumexp", (x,))[0]), axis)
    n = x.aval.shape[k]
    if x.aval.size == 0:
        return x
    # S[t] = S[t-1] exp(m[t-1] - m[t]) + exp(x[t] - m[t]) with m the largest so far: no term exceeds 1
    m = P.stop_gradient(P.cummax(x, axis=k, reverse=False))
    low, high = fill(m, -math.inf), fill(m, math.inf)
    nothing, beyond = P.eq(m, low), P.eq(m, high)
    m = P.where(P.bit_or(nothing, beyond), fill(m, 0), m)
    before = P.concatenate(cut(m, k, 0, 1), cut(m, k, 0, n - 1), axis=k) if n > 1 else m
    shrink = P.exp(P.minimum(P.sub(before, m), fill(m, 0)))                 # above 0 only where nothing came before
    total = decayed(shrink, P.exp(P.sub(P.where(beyond, fill(x, 0), x), m)), k)
    out = P.where(P.eq(total, fill(total, 0)), low, P.add(P.log(total), m))
    return P.where(beyond, high, out)


# ---- integrals --------------------------------------------------------------------------------------------------------

def widths(op: str, y: Term, x: Operand, dx: Operand, k: int) -> Operand:
    """The steps between samples along axis k, as a number or a Term that broadcasts."""
    if x is None:
        return dx
    x = inexact(as_term(op, x))
    n, ndim = y.aval.shape[k], y.aval.ndim
    if x.aval.ndim == 1:
        if x.aval.size != n:
            raise ShapeError(op, f"{y.aval.shape} at {x.aval.size} places", f"axis {k} has {n} samples", "pass a place for every sample")
        return reshaped(diff(x), tuple([n - 1 if j == k else 1 for j in range(ndim)]))
    if x.aval.ndim != ndim or x.aval.shape[k] != n:
        raise ShapeError(op, f"{y.aval.shape} at places of {x.aval.shape}", "they do not fit", "pass a place for every sample, or 1-d places")
    return diff(x, 1, k)


def areas(op: str, y: Term, x: Operand, dx: Operand, axis: int) -> tuple[Term, int]:
    """The areas of the trapezoids between neighbours along an axis."""
    y, k = inexact(y), one_axis(op, axis, y.aval.ndim)
    n = y.aval.shape[k]
    if n < 1:
        raise ShapeError(op, str(y.aval.shape), "no samples have no integral", "pass one at least")
    heights = scale(P.add(cut(y, k, 1, n - 1), cut(y, k, 0, n - 1)), 0.5)
    return P.mul(*pair(op, widths(op, y, x, dx, k), heights)), k


@public()
def trapezoid(y: Term, x: Operand = None, dx: Operand = 1.0, axis: int = -1) -> Term:
    """The integral of samples y along `axis` by the trapezoidal rule, at places x (1-d, or as y), or `dx` apart.

    >>> import lazygrad as lg
    >>> lg.trapezoid(lg.asarray([1.0, 2.0, 3.0])).tolist()
    4.0
    """
    parts, k = areas("trapezoid", y, x, dx, axis)
    return P.sum(parts, axes=(k,))


@public()
def cumulative_trapezoid(y: Term, x: Operand = None, dx: Operand = 1.0, axis: int = -1, initial: Operand = None) -> Term:
    """The running integral of samples y along `axis` by the trapezoidal rule, from the second sample on; `initial` (0) is put in front.

    >>> import lazygrad as lg
    >>> lg.cumulative_trapezoid(lg.asarray([1.0, 2.0, 3.0]), initial=0).tolist()
    [0.0, 1.5, 4.0]
    """
    parts, k = areas("cumulative_trapezoid", y, x, dx, axis)
    out = P.cumsum(parts, axis=k, reverse=False)
    return out if initial is None else along("cumulative_trapezoid", (initial, out), k, out.aval.shape)


# ---- slopes -----------------------------------------------------------------------------------------------------------

def slope(x: Term, k: int, h: Operand, edge_order: int) -> Term:
    """Differences along axis k: central inside, one-sided of the given order at both ends."""
    n = x.aval.shape[k]
    if n < edge_order + 1:
        raise ShapeError("gradient", f"axis {k} of {x.aval.shape}", f"it has less than {edge_order + 1} elements", "pass more samples")
    if isinstance(h, Term) and h.aval.ndim:
        if h.aval.ndim != 1 or h.aval.size != n:
            raise ShapeError("gradient", f"places of {h.aval.shape} along axis {k} of {x.aval.shape}", "they do not fit", "pass one for every element")
        return uneven(x, k, inexact(h), edge_order)

    def over(y: Term, times: float) -> Term:
        a, b = pair("gradient", y, h)
        return P.div(a, scale(b, times) if times != 1 else b)

    def at(i: int) -> Term:
        return cut(x, k, i % n, 1)

    inside = over(P.sub(cut(x, k, 2, n - 2), cut(x, k, 0, n - 2)), 2) if n > 2 else None
    if edge_order == 1:
        first, last = over(P.sub(at(1), at(0)), 1), over(P.sub(at(-1), at(-2)), 1)
    else:                                     # (-3 f₀ + 4 f₁ - f₂) / 2 h
        first = over(P.sub(P.sub(scale(at(1), 4), scale(at(0), 3)), at(2)), 2)
        last = over(P.add(P.sub(scale(at(-1), 3), scale(at(-2), 4)), at(-3)), 2)
    return P.concatenate(*[p for p in (first, inside, last) if p is not None], axis=k)


def uneven(x: Term, k: int, places: Term, edge_order: int) -> Term:
    """`slope` at uneven places: the derivative of the parabola through three neighbours."""
    n, ndim = x.aval.shape[k], x.aval.ndim
    x, places = [cast(v, dtypes.promote(x.aval.dtype, places.aval.dtype)) for v in (x, places)]
    gap = reshaped(P.sub(cut(places, 0, 1, n - 1), cut(places, 0, 0, n - 1)), tuple([n - 1 if j == k else 1 for j in range(ndim)]))
    def wide(t: Term, like: Term) -> Term:
        return broadcast(t, like.aval.shape)

    rise = P.sub(cut(x, k, 1, n - 1), cut(x, k, 0, n - 1))
    rate = P.div(rise, wide(gap, rise))                             # the slopes between neighbours
    if n == 2:
        return P.concatenate(rate, rate, axis=k)
    h, g = cut(gap, k, 0, n - 2), cut(gap, k, 1, n - 2)             # behind and ahead
    before, after = cut(rate, k, 0, n - 2), cut(rate, k, 1, n - 2)
    inside = P.div(P.add(P.mul(wide(g, before), before), P.mul(wide(h, after), after)), wide(P.add(h, g), before))
    if edge_order == 1:
        first, last = cut(rate, k, 0, 1), cut(rate, k, n - 2, 1)
    else:                                     # r₀ - (r₁ - r₀) h₀ / (h₀ + h₁): the same parabola at its end

        def end(r0: Term, r1: Term, h0: Term, h1: Term) -> Term:
            return P.sub(r0, P.mul(P.sub(r1, r0), wide(P.div(h0, P.add(h0, h1)), r0)))
        first = end(*[cut(t, k, i, 1) for t in (rate, gap) for i in (0, 1)])
        last = end(*[cut(t, k, i, 1) for t in (rate, gap) for i in (n - 2, n - 3)])
    return P.concatenate(first, inside, last, axis=k)


@public()
def gradient(x: Term, *spacing: Operand, axis: int | tuple[int, ...] | None = None, edge_order: int = 1) -> Term | tuple[Term, ...]:
    """The slopes of samples along `axis` (all axes without one) by differences: one tensor, or a tuple with one for every axis.

    `spacing`: nothing, one number for all axes, or a number or 1-d places for every axis. At the ends one-sided differences of
    `edge_order` 1 or 2.

    >>> import lazygrad as lg
    >>> lg.gradient(lg.asarray([1.0, 4.0, 9.0, 16.0])).tolist()
    [3.0, 4.0, 6.0, 7.0]
    """
    axes = many_axes("gradient", axis, x.aval.ndim)
    if edge_order not in (1, 2):
        raise OptionError("gradient", f"edge_order={edge_order}", "differences at the ends are of order 1 or 2", "pass 1 or 2")
    steps = spacing or (1,)
    if len(steps) == 1 and not (isinstance(steps[0], Term) and steps[0].aval.ndim):
        steps = steps * len(axes)
    if len(steps) != len(axes):
        raise ShapeError("gradient", f"{len(spacing)} spacings for {len(axes)} axes", "there must be none, one, or one for every axis", "pass one for every axis")
    y = inexact(x)
    out = tuple([slope(y, k, h, edge_order) for k, h in zip(axes, steps, strict=True)])
    return out[0] if len(out) == 1 else out


@public()
def ediff1d(x: Term, to_end: Operand = None, to_begin: Operand = None) -> Term:
    """The differences of neighbours in the flattened x, with further elements put in front and behind.

    >>> import lazygrad as lg
    >>> lg.ediff1d(lg.asarray([1, 4, 9]), to_begin=0).tolist()
    [0, 3, 5]
    """
    y = diff(reshaped(x, (x.aval.size,))) if x.aval.size else cut(reshaped(x, (0,)), 0, 0, 0)
    ends = []
    for part in (to_begin, to_end):
        if part is not None and not isinstance(part, Term):
            part = number("ediff1d", part, (1,), dtypes.weak(part, x.aval.dtype))
        ends.append(part if part is None else reshaped(part, (part.aval.size,)))
    parts = tuple([p for p in (ends[0], y, ends[1]) if p is not None])
    return along("ediff1d", parts, 0, y.aval.shape)


# ---- angles -----------------------------------------------------------------------------------------------------------

@public()
def unwrap(x: Term, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Term:
    """Angles along `axis` without jumps: whole periods are added where neighbours differ by more than `discont` (half a period).

    >>> import lazygrad as lg
    >>> lg.unwrap(lg.asarray([0, 3, 6, 1, 4]), period=8).tolist()
    [0, 3, 6, 9, 12]
    """
    k = one_axis("unwrap", axis, ordered("unwrap", (x,))[0].aval.ndim)
    whole = x.aval.dtype.kind in "iu" and isinstance(period, int)
    x = x if whole else inexact(x)
    n = x.aval.shape[k]
    if n < 2:
        return x
    step = diff(x, 1, k)
    fixed = P.stop_gradient(step)
    half, odd = divmod(period, 2) if whole else (period / 2, 0)
    turned = P.add(P.remainder(P.add(fixed, fill(fixed, half)), fill(fixed, period)), fill(fixed, -half))
    if not odd:                               # half a period is ambiguous: it keeps its sign
        turned = P.where(P.bit_and(P.eq(turned, fill(turned, -half)), P.gt(fixed, fill(fixed, 0))), fill(turned, half), turned)
    limit = period / 2 if discont is None else discont
    small = P.lt(P.abs(fixed), fill(fixed, math.ceil(limit) if whole else limit))
    jumps = P.where(small, fill(fixed, 0), P.sub(turned, fixed))
    return P.concatenate(cut(x, k, 0, 1), P.add(cut(x, k, 1, n - 1), cumsum(jumps, k)), axis=k)
