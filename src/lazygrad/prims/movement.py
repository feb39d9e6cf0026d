"""Movement: primitives that only say where an element comes from; no arithmetic, any dtype.

In: Terms and static shapes. Out: the same elements elsewhere, and zeros around them. Every derivative here is another
movement, but for broadcasting, whose transpose sums.
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import numpy as np

from ..errors import AxisError, DTypeError, IndexingError, ShapeError
from ..ir import scalar as S
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import reduction
from .base import Host, Index, Linear, Prim

Shape = tuple[int, ...]


# ---- broadcast_to ---------------------------------------------------------------------------------------------------

def _broadcast_aval(x: Aval, *, shape: Shape) -> Aval:
    lead = len(shape) - x.ndim
    if lead < 0 or any(m != n and m != 1 for m, n in zip(x.shape, shape[lead:], strict=True)):
        raise ShapeError("broadcast_to", f"{x.shape} to {shape}", "every axis must be 1 or as long as the target's",
                         "reshape it first")
    return aval(shape, x.dtype)


def _broadcast_index(at, idx, out, *, shape: Shape):
    x = out.args[0].aval
    lead = len(shape) - x.ndim
    return at(0, tuple([S.index(0) if n == 1 else i for i, n in zip(idx[lead:], x.shape, strict=True)]))


def _unbroadcast(ct: Term, out: Term, x: Term, *, shape: Shape) -> tuple[Term]:
    lead = len(shape) - x.aval.ndim
    axes = (*range(lead), *[lead + k for k, n in enumerate(x.aval.shape) if n == 1 and shape[lead + k] != 1])
    return (reshaped(reduction.sum(ct, axes=axes) if axes else ct, x.aval.shape),)


broadcast_to = Prim("broadcast_to", lambda x, *, shape: np.broadcast_to(x, shape), _broadcast_aval,
                    Index(_broadcast_index), Linear((0,), _unbroadcast), names=("shape",))


# ---- reshape --------------------------------------------------------------------------------------------------------

def _reshape_aval(x: Aval, *, shape: Shape) -> Aval:
    if math.prod(shape) != x.size:
        raise ShapeError("reshape", f"{x.shape} to {shape}", f"{x.size} elements do not fill {math.prod(shape)} places")
    return aval(shape, x.dtype)


def groups(a: Shape, b: Shape) -> list[tuple[int, int, int, int]]:
    """The finest split of two shapes of equal, positive size: a[p:q] and b[r:s] hold equally many elements.

    >>> groups((6, 4), (2, 3, 4))
    [(0, 1, 0, 2), (1, 2, 2, 3)]
    """
    out = []
    q = s = 0
    while q < len(a) or s < len(b):
        p, r = q, s
        m = n = 1
        if q < len(a):
            m, q = a[q], q + 1
        if s < len(b):
            n, s = b[s], s + 1
        while m != n:
            if m < n:
                m, q = m * a[q], q + 1
            else:
                n, s = n * b[s], s + 1
        out.append((p, q, r, s))
    return out


def _reshape_index(at, idx, out, *, shape: Shape):
    if out.aval.size == 0:
        return S.const(0, out.aval.dtype)
    x = out.args[0].aval.shape
    # group by group, so that an index never mixes axes that the reshape leaves apart
    parts = [S.unflat(S.flat(idx[r:s], shape[r:s]), x[p:q]) for p, q, r, s in groups(x, shape)]
    return at(0, tuple([i for part in parts for i in part]))


reshape = Prim("reshape", lambda x, *, shape: np.reshape(x, shape), _reshape_aval, Index(_reshape_index),
               Linear((0,), lambda ct, out, x, *, shape: (reshape(ct, shape=x.aval.shape),), moves_mask=True),
               names=("shape",))


def reshaped(x: Term, shape: Shape) -> Term:
    """`x` in `shape`: x itself where that is its shape already."""
    return x if x.aval.shape == shape else reshape(x, shape=shape)


# ---- permute --------------------------------------------------------------------------------------------------------

def _permute_aval(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    if sorted(axes) != list(range(x.ndim)):
        raise AxisError("permute", f"axes {axes} of {x.shape}", "every axis must be named once")
    return aval(tuple([x.shape[a] for a in axes]), x.dtype)


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `axes`.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    out = [0] * len(axes)
    for k, a in enumerate(axes):
        out[a] = k
    return tuple(out)


permute = Prim("permute", lambda x, *, axes: np.transpose(x, axes), _permute_aval,
               Index(lambda at, idx, out, *, axes: at(0, tuple([idx[k] for k in inverse(axes)]))),
               Linear((0,), lambda ct, out, x, *, axes: (permute(ct, axes=inverse(axes)),), moves_mask=True),
               names=("axes",))


def transposed(x: Term) -> Term:
    """`x` with its last two axes exchanged."""
    n = x.aval.ndim
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


# ---- slice and embed: transposes of each other ----------------------------------------------------------------------

def _check_ranges(op: str, big: Shape, small: Shape, start: Shape, step: Shape) -> None:
    if not len(big) == len(small) == len(start) == len(step):
        raise ShapeError(op, f"shape {small} in {big}, start {start}, step {step}", "their lengths differ")
    for axis, (size, n, low, by) in enumerate(zip(big, small, start, step, strict=True)):
        last = low + (n - 1) * by
        if n and not (0 <= low < size and 0 <= last < size and (by or n == 1)):
            raise IndexingError(op, f"axis {axis} of {big}", f"positions {low} to {last} by {by} leave [0, {size})")


def _slices(shape: Shape, start: Shape, step: Shape) -> tuple[slice, ...]:
    """The positions start + step * [0, shape) as NumPy slices."""
    out = []
    for n, low, by in zip(shape, start, step, strict=True):
        stop = low + n * by
        # an axis of one step may have step 0; a stop below 0 would count from the end
        out.append(slice(0, 0) if n == 0 else slice(low, low + 1) if n == 1
                   else slice(low, stop if stop >= 0 else None, by))
    return tuple(out)


def _slice_aval(x: Aval, *, start: Shape, step: Shape, shape: Shape) -> Aval:
    _check_ranges("slice", x.shape, shape, start, step)
    return aval(shape, x.dtype)


def _slice_index(at, idx, out, *, start: Shape, step: Shape, shape: Shape):
    return at(0, tuple([S.iadd(S.index(low), S.imul(i, by)) for i, low, by in zip(idx, start, step, strict=True)]))


def _slice_transpose(ct: Term, out: Term, x: Term, *, start: Shape, step: Shape, shape: Shape) -> tuple[Term]:
    return (embed(ct, shape=x.aval.shape, start=start, step=step),)


slice_ = Prim("slice", lambda x, *, start, step, shape: x[_slices(shape, start, step)], _slice_aval,
              Index(_slice_index), Linear((0,), _slice_transpose, moves_mask=True), names=("start", "step", "shape"))


def _embed_numpy(x: np.ndarray, *, shape: Shape, start: Shape, step: Shape) -> np.ndarray:
    out = np.zeros(shape, x.dtype)
    out[_slices(x.shape, start, step)] = x
    return out


def _embed_aval(x: Aval, *, shape: Shape, start: Shape, step: Shape) -> Aval:
    _check_ranges("embed", shape, x.shape, start, step)
    return aval(shape, x.dtype)


def place(i: S.Scalar, n: int, low: int, by: int) -> tuple[S.Scalar, S.Scalar | None]:
    """The j in [0, n) with low + j * by == i, and the condition that there is one (None: always)."""
    if n == 1:
        return S.index(0), _equals(i, low)
    flip = by < 0
    if flip:                                    # count from the other end
        low, by = low + (n - 1) * by, -by
    before = -(-low // by)                      # steps to shift by, so that every division is of a number >= 0
    shifted = S.iadd(i, S.index(before * by - low))
    j = S.iadd(S.ifloordiv(shifted, by), S.index(-before))
    ok = S.both(_equals(S.imod(shifted, by), 0), S.inside(j, 0, n))
    return (S.iadd(S.index(n - 1), S.imul(j, -1)) if flip else j), ok


def _equals(i: S.Scalar, value: int) -> S.Scalar | None:
    return None if S.bounds(i) == (value, value) else S.apply("eq", i, S.index(value))


def _embed_index(at, idx, out, *, shape: Shape, start: Shape, step: Shape):
    x = out.args[0].aval
    if x.size == 0:
        return S.const(0, x.dtype)
    places = [place(i, n, low, by) for i, n, low, by in zip(idx, x.shape, start, step, strict=True)]
    return at(0, tuple([j for j, _ in places]), mask=S.both(*[ok for _, ok in places]))


def _embed_transpose(ct: Term, out: Term, x: Term, *, shape: Shape, start: Shape, step: Shape) -> tuple[Term]:
    return (slice_(ct, start=start, step=step, shape=x.aval.shape),)


embed = Prim("embed", _embed_numpy, _embed_aval, Index(_embed_index), Linear((0,), _embed_transpose, moves_mask=True),
             names=("shape", "start", "step"))


def cut(x: Term, axis: int, start: int, size: int) -> Term:
    """The part [start, start + size) of one axis."""
    shape, low = list(x.aval.shape), [0] * x.aval.ndim
    shape[axis], low[axis] = size, start
    return slice_(x, start=tuple(low), step=(1,) * len(low), shape=tuple(shape))


# ---- shear: what windows are made of -----------------------------------------------------------------------------------

def _shear_aval(x: Aval, *, step: Shape, by: Shape, start: Shape, every: Shape, count: Shape) -> Aval:
    n = len(count)
    if not len(step) == len(by) == len(start) == len(every) == n or x.ndim < 2 * n:
        raise ShapeError("shear", f"{x.shape}, count {count}", f"{n} axes, as many more and one number of each kind for them are needed")
    if any([m < 1 for m in (*step, *every)]) or any([m < 0 for m in count]):
        raise ShapeError("shear", f"step {step}, every {every}, count {count}", "steps are positive and counts not negative")
    return aval((*x.shape[:x.ndim - 2 * n], *count, *x.shape[x.ndim - n:]), x.dtype)


def _sheared(size: int, taps: int, step: int, by: int, start: int, every: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(position for every (i, k), whether there is one)."""
    at = np.arange(count)[:, None] * step + np.arange(taps) * by + start
    ok = (at % every == 0) & (at >= 0) & (at < size * every)
    return np.where(ok, at // every, 0), ok


def _shear_numpy(x: np.ndarray, *, step: Shape, by: Shape, start: Shape, every: Shape, count: Shape) -> np.ndarray:
    n = len(count)
    sizes, taps, lead = x.shape[x.ndim - 2 * n:x.ndim - n], x.shape[x.ndim - n:], x.shape[:x.ndim - 2 * n]
    if not x.size:
        return np.zeros((*lead, *count, *taps), x.dtype)
    places, inside = [], np.ones((1,) * (2 * n), bool)
    for a, row in enumerate(zip(sizes, taps, step, by, start, every, count, strict=True)):
        shape = [1] * (2 * n)
        shape[a], shape[n + a] = count[a], taps[a]
        at, ok = _sheared(*row)
        places.append(at.reshape(shape))
        inside = inside & ok.reshape(shape)
    own = [np.arange(k).reshape((-1,) + (1,) * (n - 1 - a)) for a, k in enumerate(taps)]
    return np.where(inside, x[(..., *places, *own)], x.dtype.type(0))


def _shear_index(at, idx, out, *, step: Shape, by: Shape, start: Shape, every: Shape, count: Shape):
    x, n = out.args[0].aval, len(count)
    if x.size == 0:
        return S.const(0, x.dtype)
    lead = x.ndim - 2 * n
    found, ok = [], []
    for a, (size, taps) in enumerate(zip(x.shape[lead:lead + n], x.shape[lead + n:], strict=True)):
        below = max(-(start[a] + min(by[a] * (taps - 1), 0)), 0)              # how far the position falls below 0
        i, k = idx[lead + a], idx[lead + n + a]
        position = S.iadd(S.iadd(S.imul(i, step[a]), S.imul(k, by[a])), S.index(start[a] + below))
        j, inside = place(position, size, below, every[a])
        found.append(j)
        ok.append(inside)
    return at(0, (*idx[:lead], *found, *idx[lead + n:]), mask=S.both(*ok))


def _shear_transpose(ct: Term, out: Term, x: Term, *, step: Shape, by: Shape, start: Shape, every: Shape, count: Shape) -> tuple[Term]:
    n = len(count)
    return (shear(ct, step=every, by=tuple([-b for b in by]), start=tuple([-s for s in start]), every=step,
                  count=x.aval.shape[x.aval.ndim - 2 * n:x.aval.ndim - n]),)


# out[..., i, k] = x[..., (i * step + k * by + start) / every, k], 0 where that is no position of x; i and k stand for several axes each.
# A window is the shear of a broadcast: window[i, k] = x[i * stride + k * dilation - padding].
shear = Prim("shear", _shear_numpy, _shear_aval, Index(_shear_index), Linear((0,), _shear_transpose, moves_mask=True),
             names=("step", "by", "start", "every", "count"))


# ---- concatenate ----------------------------------------------------------------------------------------------------

def _concatenate_aval(*xs: Aval, axis: int) -> Aval:
    if not xs:
        raise ShapeError("concatenate", "nothing", "at least one array is needed")
    first = xs[0]
    if not 0 <= axis < first.ndim:
        raise AxisError("concatenate", f"axis {axis}", f"{first.shape} has {first.ndim} axes")
    for k, x in enumerate(xs):
        if x.dtype != first.dtype:
            raise DTypeError("concatenate", f"{first.dtype} and {x.dtype}", "the dtypes differ", "cast them first")
        if x.ndim != first.ndim or x.shape[:axis] + x.shape[axis + 1:] != first.shape[:axis] + first.shape[axis + 1:]:
            raise ShapeError("concatenate", f"{first.shape} and {x.shape} (number {k}) along axis {axis}",
                             "they may differ in that axis only")
    return aval((*first.shape[:axis], sum([x.shape[axis] for x in xs]), *first.shape[axis + 1:]), first.dtype)


def _offsets(xs: tuple[Term, ...], axis: int) -> list[int]:
    out = [0]
    for x in xs:
        out.append(out[-1] + x.aval.shape[axis])
    return out


def _concatenate_index(at, idx, out, *, axis: int):
    i = idx[axis]
    value = None
    spans = [(k, low, high) for k, (low, high) in enumerate(pairwise(_offsets(out.args, axis))) if high > low]
    for k, low, high in reversed(spans):
        j = S.index(0) if high - low == 1 else S.iadd(i, S.index(-low))
        part = at(k, (*idx[:axis], j, *idx[axis + 1:]), mask=S.inside(i, low, high))
        value = part if value is None else S.apply("select", S.apply("lt", i, S.index(high)), part, value)
    return S.const(0, out.aval.dtype) if value is None else value


def _concatenate_transpose(ct: Term, out: Term, *xs: Term, axis: int) -> tuple[Term, ...]:
    return tuple([cut(ct, axis, low, high - low) for low, high in pairwise(_offsets(xs, axis))])


def _join(name: str, lowering: Index | Host) -> Prim:
    # a range as the positions: linear in every argument, however many there are
    return Prim(name, lambda *xs, axis: np.concatenate(xs, axis), _concatenate_aval, lowering,
                Linear(range(sys.maxsize), _concatenate_transpose, moves_mask=True), names=("axis",))


# an index rule asks of every element in which of the pieces it lies: with many pieces copying them is faster
concatenate_few, concatenate_many = _join("concatenate", Index(_concatenate_index)), _join("concatenate_many", Host())
FEW = 16


def concatenate(*xs: Term, axis: int) -> Term:
    """The arrays one after another along `axis`; equal in dtype and in the other axes."""
    return (concatenate_few if len(xs) <= FEW else concatenate_many)(*xs, axis=axis)
