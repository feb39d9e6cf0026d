"""Numbers evenly apart, linearly or geometrically, between ends that are numbers or tensors.

In: two ends, which broadcast; how many. Out: a new axis of numbers; float32 for Python's numbers, else the dtype of the ends. Derivatives
flow to ends that are tensors.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..tensor import Tensor
from .composite import fill
from .creation import Real, chosen, creates, line
from .movement import cut
from .promotion import P, as_dtype, broadcast, cast, constant, inexact, one_axis, reshaped, together
from .table import deferred, plain

# ---- numbers ----------------------------------------------------------------------------------------------------------


def how_many(op: str, num: object) -> int:
    size = operator.index(num)
    if size < 0:
        raise ShapeError(op, f"num={num}", "a count is negative", "pass 0 or more")
    return size


@creates
def between_numbers(start: Real, stop: Real, num: int, endpoint: bool, dtype: object, device: object) -> Term:
    target = chosen("linspace", dtype, dtypes.DEFAULT_COMPLEX if isinstance(start, complex) or isinstance(stop, complex) else dtypes.DEFAULT_FLOAT)
    wide = dtypes.float64 if target.kind != "c" else dtypes.complex128
    gaps = num - 1 if endpoint else num
    out = line(num, start, (stop - start) / gaps if gaps else 0.0, wide)
    if endpoint and num > 1:                   # the last one exactly
        last = P.eq(P.iota(size=num, dtype=dtypes.int64), constant(num - 1, (num,), dtypes.int64))
        out = P.where(last, constant(stop, (num,), wide), out)
    return cast(P.floor(out) if target.kind in "iu" else out, target)


def powers_of_numbers(start: Real, stop: Real, num: int, endpoint: bool, base: Real, dtype: object, device: object) -> Term:
    target = chosen("logspace", dtype, dtypes.DEFAULT_FLOAT)
    e = between_numbers(start, stop, num, endpoint, dtypes.float64, device)
    return cast(P.pow(fill(e, base), e), target)


def ratios_of_numbers(start: Real, stop: Real, num: int, endpoint: bool, dtype: object, device: object) -> Term:
    target = chosen("geomspace", dtype, dtypes.DEFAULT_FLOAT)
    sign = -1 if start < 0 else 1
    e = between_numbers(math.log10(start * sign), math.log10(stop * sign), num, endpoint, dtypes.float64, device)
    return cast(exact_ends(P.mul(P.pow(fill(e, 10), e), fill(e, sign)), *[constant(v, (1,), e.aval.dtype) for v in (start, stop)], endpoint), target)


def exact_ends(x: Term, start: Term, stop: Term, endpoint: bool) -> Term:
    """x with its first and last element, which were rounded, as they are."""
    n = x.aval.shape[0]
    if n == 0:
        return x
    parts = [start, cut(x, 0, 1, n - 2), stop] if endpoint and n > 1 else [start, cut(x, 0, 1, n - 1)] if n > 1 else [start]
    return P.concatenate(*parts, axis=0) if n > 1 else start


# ---- tensors ----------------------------------------------------------------------------------------------------------

def ends_of(op: str, start: Operand, stop: Operand, dtype: object) -> tuple[Term, Term, np.dtype]:
    """Both ends as floating arrays of one shape, and the dtype of the result."""
    a, b = [inexact(v) for v in together(op, (start, stop))]
    target = a.aval.dtype if dtype is None else as_dtype(op, dtype)
    return a, b, target


def over_axis(op: str, x: Term, axis: int, target: np.dtype) -> Term:
    """x with its first axis at `axis`, in the dtype asked for."""
    k = one_axis(op, axis, x.aval.ndim)
    order = list(range(1, x.aval.ndim))
    order.insert(k, 0)
    x = x if k == 0 else P.permute(x, axes=tuple(order))
    return cast(P.floor(x) if target.kind in "iu" else x, target)


def steps_between(a: Term, b: Term, num: int, endpoint: bool) -> Term:
    """(num, ...) numbers from a to b."""
    gaps = num - 1 if endpoint else num
    shape = (num, *a.aval.shape)
    column = (num,) + (1,) * a.aval.ndim
    ramp = broadcast(reshaped(cast(P.iota(size=num, dtype=dtypes.int32), a.aval.dtype), column), shape)
    wide = [broadcast(reshaped(v, (1, *a.aval.shape)), shape) for v in (a, P.sub(b, a), b)]
    t = P.div(ramp, fill(ramp, max(gaps, 1)))
    out = P.add(wide[0], P.mul(wide[1], t))
    return P.where(P.eq(ramp, fill(ramp, gaps)), wide[2], out) if endpoint and num > 1 else out


def between(start: Operand, stop: Operand, num: int, endpoint: bool, dtype: object, axis: int) -> Term:
    a, b, target = ends_of("linspace", start, stop, dtype)
    return over_axis("linspace", steps_between(a, b, num, endpoint), axis, target)


def powers(start: Operand, stop: Operand, base: Operand, num: int, endpoint: bool, dtype: object, axis: int) -> Term:
    a, b, c = [inexact(v) for v in together("logspace", (start, stop, base))]
    e = steps_between(a, b, num, endpoint)
    return over_axis("logspace", P.pow(broadcast(reshaped(c, (1, *c.aval.shape)), e.aval.shape), e), axis, e.aval.dtype if dtype is None else as_dtype("logspace", dtype))


def ratios(start: Operand, stop: Operand, num: int, endpoint: bool, dtype: object, axis: int) -> Term:
    a, b, target = ends_of("geomspace", start, stop, dtype)
    unit = P.div(b, a)                        # b = a r: a r**t needs no sign
    t = steps_between(fill(a, 0), fill(a, 1), num, endpoint)
    shape = t.aval.shape
    out = P.mul(broadcast(reshaped(a, (1, *a.aval.shape)), shape), P.pow(broadcast(reshaped(unit, (1, *a.aval.shape)), shape), t))
    return over_axis("geomspace", exact_ends(out, *[reshaped(v, (1, *v.aval.shape)) for v in (a, b)], endpoint), axis, target)


LINEAR, BETWEEN, LOGS, POWERS, GEOMETRIC, RATIOS = map(deferred, (between_numbers, between, powers_of_numbers, powers, ratios_of_numbers, ratios))


def numbers(*ends: object) -> list | None:
    """The ends as Python numbers, None if one is an array."""
    found = []
    for v in ends:
        if isinstance(v, np.generic):
            v = v.item()
        if isinstance(v, Tensor) or not isinstance(v, bool | int | float | complex):
            return None
        found.append(v)
    return found


# ---- the functions ----------------------------------------------------------------------------------------------------

@plain()
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    """`num` numbers from start to stop, evenly apart; without stop itself if not `endpoint`. float32 by default.

    The ends may be tensors: `axis` is where the new axis stands then. With `retstep` the distance comes too.

    >>> import lazygrad as lg
    >>> lg.linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    size, ends = how_many("linspace", num), numbers(start, stop)
    if ends is not None:
        out = LINEAR.function()(*ends, size, bool(endpoint), dtype, device)
    else:
        out = BETWEEN.function()(start, stop, size, bool(endpoint), dtype, axis)
    if not retstep:
        return out
    gaps = size - 1 if endpoint else size
    return out, (stop - start) / gaps if gaps > 0 else math.nan


@plain()
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0, *, device=None):
    """`num` numbers from base**start to base**stop, whose logarithms are evenly apart. float32 by default.

    >>> import lazygrad as lg
    >>> lg.logspace(0, 3, 4).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    size, ends = how_many("logspace", num), numbers(start, stop, base)
    if ends is not None:
        return LOGS.function()(*ends[:2], size, bool(endpoint), ends[2], dtype, device)
    return POWERS.function()(start, stop, base, size, bool(endpoint), dtype, axis)


@plain()
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0, *, device=None):
    """`num` numbers from start to stop, each the same multiple of the one before. float32 by default.

    ShapeError for ends that are numbers and 0 or of two signs; NaN where tensors are.

    >>> import lazygrad as lg
    >>> lg.geomspace(1, 8, 4).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
    size, ends = how_many("geomspace", num), numbers(start, stop)
    if ends is not None and not any([isinstance(v, complex) for v in ends]):
        if not ends[0] * ends[1] > 0:
            raise ShapeError("geomspace", f"{start} to {stop}", "no ratio leads there", "pass two numbers of one sign, neither 0")
        return GEOMETRIC.function()(*ends, size, bool(endpoint), dtype, device)
    return RATIOS.function()(start, stop, size, bool(endpoint), dtype, axis)
