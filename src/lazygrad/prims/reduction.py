"""Reductions over axes and scans along one axis: sum, prod, max, min, any, all, argmax, argmin, cumsum, cumprod, ...

`axes` is a sorted tuple of axes that leave the shape; a scan keeps it. Results have the argument's dtype (functions above cast
before). Products are differentiated without division, so zeros are exact to any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..dtypes import int64
from ..errors import AxisError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from .base import Custom, Decompose, Derivative, Linear, Prim, Reduction, Scan
from .leaf import constant, iota, is_constant, like

Shape = tuple[int, ...]


# ---- types ----------------------------------------------------------------------------------------------------------

def _axis(name: str, x: Aval, axis: int) -> None:
    if not 0 <= axis < x.ndim:
        raise AxisError(name, f"axis {axis}", f"{x.shape} has {x.ndim} axes")


def _reduced(name: str, kinds: str, empty: bool) -> Callable[..., Aval]:
    """The type rule of a reduction; `empty` whether it has a value for no elements."""
    def infer(x: Aval, *, axes: Shape) -> Aval:
        if x.dtype.kind not in kinds:
            raise E.refuse(name, x, kinds)
        for axis in axes:
            _axis(name, x, axis)
        if tuple(sorted(set(axes))) != axes:
            raise AxisError(name, f"axes {axes}", "they must be sorted and named once")
        if not empty and 0 in [x.shape[a] for a in axes] and math.prod(kept(x.shape, axes)):
            raise ShapeError(name, str(x), "no elements have no " + name, "check the shape first")
        return aval(kept(x.shape, axes), x.dtype)
    return infer


def _located(name: str) -> Callable[..., Aval]:
    def infer(x: Aval, *, axis: int) -> Aval:
        if x.dtype.kind not in "fiub":
            raise E.refuse(name, x, "fiub")
        _axis(name, x, axis)
        if x.shape[axis] == 0:
            raise ShapeError(name, str(x), f"axis {axis} is empty", "check the shape first")
        return aval(kept(x.shape, (axis,)), int64)
    return infer


def _scanned(name: str, kinds: str) -> Callable[..., Aval]:
    def infer(x: Aval, *, axis: int, reverse: bool) -> Aval:
        if x.dtype.kind not in kinds:
            raise E.refuse(name, x, kinds)
        _axis(name, x, axis)
        return x
    return infer


# ---- helpers on Terms -----------------------------------------------------------------------------------------------

def kept(shape: Shape, axes: Shape) -> Shape:
    """The shape without `axes`."""
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def expand(x: Term, axes: Shape, shape: Shape) -> Term:
    """The reduced `x` again in `shape`, repeated along `axes`: the transpose of a sum."""
    if is_constant(x):
        return constant(x.params[0], shape, x.aval.dtype)
    if not axes:
        return x
    ones = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return M.broadcast_to(M.reshape(x, shape=ones), shape=shape)


def _cut(x: Term, axis: int, start: int, size: int) -> Term:
    return x if size == x.aval.shape[axis] else M.cut(x, axis, start, size)


def _place(x: Term, axis: int, start: int, size: int) -> Term:
    """`x` from position `start` of a longer axis, zeros elsewhere."""
    shape, low = list(x.aval.shape), [0] * x.aval.ndim
    shape[axis], low[axis] = size, start
    return M.embed(x, shape=tuple(shape), start=tuple(low), step=(1,) * len(low))


def _ramp(x: Term, axis: int) -> Term:
    """The position along `axis`, int64, in x's shape."""
    shape = x.aval.shape
    line = iota(size=shape[axis], dtype=int64)
    return expand(line, tuple([a for a in range(len(shape)) if a != axis]), shape)


def _previous(x: Term, axis: int, reverse: bool, first: float) -> Term:
    """The element before each one in scan order, the number `first` before the first."""
    n = x.aval.shape[axis]
    at_start = E.eq(ramp := _ramp(x, axis), like(ramp, n - 1 if reverse else 0))
    moved = like(x, 0) if n <= 1 else _place(_cut(x, axis, 1 if reverse else 0, n - 1), axis, 0 if reverse else 1, n)
    return E.where(at_start, like(x, first), moved)


def recurrence(a: Term, b: Term, axis: int, reverse: bool) -> Term:
    """The solution of r[k] = b[k] + a[k] r[k-1] in scan order, r before the first being 0.

    Doubling: after the step of distance d, r[k] holds the last 2d terms; log2(n) elementwise steps, no division.
    """
    n, d = a.aval.shape[axis], 1
    if n <= 1:
        return b
    far, near = (0, 1) if reverse else (1, 0)       # a window of n - d elements starts at far * d (k) or near * d (k - d)
    a = _cut(a, axis, far, n - 1)                   # a[k] is needed for k >= d only
    while d < n:
        b = E.add(b, _place(E.mul(a, _cut(b, axis, near * d, n - d)), axis, far * d, n))
        size = n - 2 * d
        if size > 0:
            a = E.mul(_cut(a, axis, far * d, size), _cut(a, axis, near * d, size))
        d *= 2
    return b


# ---- derivatives ----------------------------------------------------------------------------------------------------

def _sum_transpose(ct: Term, out: Term, x: Term, *, axes: Shape) -> tuple[Term]:
    return (expand(ct, axes, x.aval.shape),)


def _others(x: Term, axes: Shape) -> Term:
    """For each element the product of the others over `axes`: (those before) * (those after)."""
    shape = x.aval.shape
    rest = tuple([a for a in range(len(shape)) if a not in axes])
    order = rest + axes
    count = math.prod([shape[a] for a in axes])
    rows = M.reshape(M.permute(x, axes=order), shape=(*[shape[a] for a in rest], count))
    axis = len(rest)
    before = _previous(cumprod(rows, axis=axis, reverse=False), axis, False, 1)
    after = _previous(cumprod(rows, axis=axis, reverse=True), axis, True, 1)
    back = M.reshape(E.mul(before, after), shape=tuple([shape[a] for a in order]))
    return M.permute(back, axes=M.inverse(order))


def _prod_vjp(ct: Term, out: Term, x: Term, *, axes: Shape) -> tuple[Term]:
    return (E.times(expand(ct, axes, x.aval.shape), _others(x, axes)),)


def _prod_jvp(ts: tuple[Term, ...], out: Term, x: Term, *, axes: Shape) -> Term:
    return sum(E.times(ts[0], _others(x, axes)), axes=axes)


def _hits(out: Term, x: Term, axes: Shape) -> tuple[Term, Term]:
    """Where the extreme is, and how many share it."""
    hit = E.eq(x, expand(out, axes, x.aval.shape))
    count = sum(E.cast(hit, dtype=x.aval.dtype), axes=axes)
    return hit, E.maximum(count, like(count, 1))                # none if the extreme is NaN


def _extreme_vjp(ct: Term, out: Term, x: Term, *, axes: Shape) -> tuple[Term]:
    hit, count = _hits(out, x, axes)
    return (E.select(hit, expand(E.div(ct, count), axes, x.aval.shape), 0),)


def _extreme_jvp(ts: tuple[Term, ...], out: Term, x: Term, *, axes: Shape) -> Term:
    hit, count = _hits(out, x, axes)
    return E.div(sum(E.select(hit, ts[0], 0), axes=axes), count)


def _cumsum_transpose(ct: Term, out: Term, x: Term, *, axis: int, reverse: bool) -> tuple[Term]:
    return (cumsum(ct, axis=axis, reverse=not reverse),)


def _cumprod_vjp(ct: Term, out: Term, x: Term, *, axis: int, reverse: bool) -> tuple[Term]:
    # x̄[i] = (product before i) * r[i],  r[i] = ct[i] + x[i+1] r[i+1]
    before = _previous(out, axis, reverse, 1)
    return (E.mul(before, recurrence(_previous(x, axis, not reverse, 0), ct, axis, not reverse)),)


def _cumprod_jvp(ts: tuple[Term, ...], out: Term, x: Term, *, axis: int, reverse: bool) -> Term:
    # ẏ[k] = x[k] ẏ[k-1] + ẋ[k] y[k-1]
    return recurrence(x, E.times(ts[0], _previous(out, axis, reverse, 1)), axis, reverse)


def _record(out: Term, x: Term) -> tuple[Term, Term]:
    """Where the running extreme is x itself (the latest at a tie), and 1 where it is carried on from before."""
    here = E.eq(x, out)
    return here, E.cast(E.bit_not(here), dtype=x.aval.dtype)


def _cumextreme_vjp(ct: Term, out: Term, x: Term, *, axis: int, reverse: bool) -> tuple[Term]:
    # every record owns the cotangents from itself up to the next one
    here, carried = _record(out, x)
    return (E.select(here, recurrence(_previous(carried, axis, not reverse, 0), ct, axis, not reverse), 0),)


def _cumextreme_jvp(ts: tuple[Term, ...], out: Term, x: Term, *, axis: int, reverse: bool) -> Term:
    here, carried = _record(out, x)
    return recurrence(carried, E.select(here, ts[0], 0), axis, reverse)


# ---- reductions -----------------------------------------------------------------------------------------------------

def _reduction(name: str, numpy: Callable, kinds: str, monoid: str, derivative: Derivative | None = None, *,
               empty: bool = True) -> Prim:
    return Prim(name, numpy, _reduced(name, kinds, empty), Reduction(monoid), derivative, ("axes",))


sum = _reduction("sum", lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype), "fiuc", "add",
                 Linear((0,), _sum_transpose, moves_mask=True))
prod = _reduction("prod", lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype), "fiuc", "mul",
                  Custom(_prod_vjp, _prod_jvp))
max = _reduction("max", lambda x, *, axes: np.max(x, axis=axes), "fiub", "maximum", Custom(_extreme_vjp, _extreme_jvp), empty=False)
min = _reduction("min", lambda x, *, axes: np.min(x, axis=axes), "fiub", "minimum", Custom(_extreme_vjp, _extreme_jvp), empty=False)
any = _reduction("any", lambda x, *, axes: np.any(x, axis=axes), "b", "or")
all = _reduction("all", lambda x, *, axes: np.all(x, axis=axes), "b", "and")


# ---- positions of extremes ------------------------------------------------------------------------------------------

def _locate(extreme: str) -> Callable[..., Term]:
    """The first position of the extreme, or of a NaN, as a smallest position: what NumPy gives."""
    def rule(out: Term, x: Term, *, axis: int) -> Term:
        best = (max if extreme == "max" else min)(x, axes=(axis,))
        hit = E.eq(x, expand(best, (axis,), x.aval.shape))
        if x.aval.dtype.kind == "f":
            hit = E.bit_or(hit, E.isnan(x))
        ramp = _ramp(x, axis)
        return min(E.where(hit, ramp, like(ramp, x.aval.shape[axis])), axes=(axis,))
    return rule


argmax = Prim("argmax", lambda x, *, axis: np.argmax(x, axis=axis), _located("argmax"), Decompose(_locate("max")), names=("axis",))
argmin = Prim("argmin", lambda x, *, axis: np.argmin(x, axis=axis), _located("argmin"), Decompose(_locate("min")), names=("axis",))


# ---- scans ----------------------------------------------------------------------------------------------------------

def _running(f: np.ufunc) -> Callable[..., np.ndarray]:
    def numpy(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        if reverse:
            return np.flip(f.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
        return f.accumulate(x, axis=axis, dtype=x.dtype)
    return numpy


def _scan(name: str, f: np.ufunc, kinds: str, monoid: str, derivative: Derivative) -> Prim:
    return Prim(name, _running(f), _scanned(name, kinds), Scan(monoid), derivative, ("axis", "reverse"))


cumsum = _scan("cumsum", np.add, "fiuc", "add", Linear((0,), _cumsum_transpose))
cumprod = _scan("cumprod", np.multiply, "fiuc", "mul", Custom(_cumprod_vjp, _cumprod_jvp))
cummax = _scan("cummax", np.maximum, "fiu", "maximum", Custom(_cumextreme_vjp, _cumextreme_jvp))
cummin = _scan("cummin", np.minimum, "fiu", "minimum", Custom(_cumextreme_vjp, _cumextreme_jvp))
