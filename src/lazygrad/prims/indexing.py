"""Indexing by data: gather and scatter at index arrays, sorting, and searching.

`indices` are int32 or int64 Terms of one shape B, one for each of the sorted `axes` of x; negative ones count from the
end. The axes of B stand at `position` in the gathered shape, the other axes of x keep their order around them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..dtypes import int32, int64
from ..errors import AxisError, DTypeError, IndexingError, ShapeError
from ..ir import scalar as S
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from .base import Custom, Host, Index, Linear, Prim, Scatter
from .leaf import constant, iota, like

Shape = tuple[int, ...]


# ---- the geometry that gather and scatter share ---------------------------------------------------------------------

def _outer(x: Shape, axes: Shape) -> Shape:
    """The axes of x that no index array replaces."""
    return tuple([a for a in range(len(x)) if a not in axes])


def _gathered(op: str, x: Aval, indices: tuple[Aval, ...], axes: Shape, position: int) -> Shape:
    """The shape of the gathered elements, after checking what can be checked before the data is there."""
    if len(indices) != len(axes) or not indices:
        raise ShapeError(op, f"{len(indices)} index arrays for axes {axes}", "one index array is needed for every axis")
    if list(axes) != sorted(set(axes)) or not 0 <= axes[0] <= axes[-1] < x.ndim:
        raise AxisError(op, f"axes {axes} of {x.shape}", "they must be sorted axes of the array")
    if not 0 <= position <= x.ndim - len(axes):
        raise AxisError(op, f"position {position}", f"only {x.ndim - len(axes)} axes of {x.shape} are not indexed")
    first = indices[0]
    for i in indices:
        if i.dtype not in (int32, int64):
            raise DTypeError(op, f"an index array of {i.dtype}", "indices are int32 or int64", "cast it")
        if i.shape != first.shape:
            raise ShapeError(op, f"index arrays of {first.shape} and {i.shape}", "their shapes differ",
                             "broadcast them")
    for a in axes:
        if x.shape[a] == 0 and first.size:
            raise IndexingError(op, f"axis {a} of {x.shape}", "an empty axis has no element to index")
    rest = [x.shape[a] for a in _outer(x.shape, axes)]
    return (*rest[:position], *first.shape, *rest[position:])


def _wrapped(op: str, x: np.ndarray, indices: tuple[np.ndarray, ...], axes: Shape) -> tuple[np.ndarray, ...]:
    """The indices as positions >= 0; IndexingError for the first that is outside."""
    out = []
    for i, a in zip(indices, axes, strict=True):
        n = x.shape[a]
        i = i.astype(np.int64)
        bad = (i < -n) | (i >= n)
        if bad.any():
            raise IndexingError(op, f"index {i[bad][0]}", f"axis {a} has {n} elements", f"use -{n} to {n - 1}")
        out.append(np.where(i < 0, i + n, i))
    return tuple(out)


def _to_front(ndim: int, axes: Shape) -> Shape:
    """The permutation that brings the indexed axes of x first."""
    return (*axes, *[a for a in range(ndim) if a not in axes])


def _block_back(ndim: int, b: int, position: int) -> Shape:
    """The permutation that moves the first b of `ndim` axes behind `position` of the others."""
    return (*range(b, b + position), *range(b), *range(b + position, ndim))


def _positions(at, u, x: Shape, b: int, axes: Shape, position: int) -> tuple[S.Scalar, ...]:
    """The index into x of the element that stands at `u` among the gathered ones: wrapped, checked, clamped."""
    block, rest = u[position:position + b], iter((*u[:position], *u[position + b:]))
    out: list[S.Scalar] = []
    for a, n in enumerate(x):
        if a not in axes:
            out.append(next(rest))
            continue
        i = S.cast(at(1 + axes.index(a), block), int64)
        i = S.apply("select", S.apply("lt", i, S.const(0, int64)), S.apply("add", i, S.const(n, int64)), i)
        zero, last = S.const(0, int64), S.const(n - 1, int64)
        at.check(S.apply("and", S.apply("le", zero, i), S.apply("le", i, last)),
                 f"an index is out of range: axis {a} has {n} elements; use -{n} to {n - 1}")
        out.append(S.apply("maximum", zero, S.apply("minimum", i, last)))
    return tuple(out)


# ---- gather ---------------------------------------------------------------------------------------------------------

def _gather_numpy(x: np.ndarray, *indices: np.ndarray, axes: Shape, position: int) -> np.ndarray:
    where = _wrapped("gather", x, indices, axes)
    out = np.asarray(x.transpose(_to_front(x.ndim, axes))[where])
    return out.transpose(_block_back(out.ndim, indices[0].ndim, position))


def _gather_aval(x: Aval, *indices: Aval, axes: Shape, position: int) -> Aval:
    return aval(_gathered("gather", x, indices, axes, position), x.dtype)


def _gather_index(at, idx, out, *, axes: Shape, position: int):
    x, first = out.args[0].aval, out.args[1].aval
    if out.aval.size == 0:
        return S.const(0, x.dtype)
    return at(0, _positions(at, idx, x.shape, first.ndim, axes, position))


def _gather_transpose(ct: Term, out: Term, x: Term, *indices: Term, axes: Shape, position: int) -> tuple[Term]:
    return (scatter_add(like(x, 0), *indices, ct, axes=axes, position=position),)


gather = Prim("gather", _gather_numpy, _gather_aval, Index(_gather_index, moves=False),
              Linear((0,), _gather_transpose), names=("axes", "position"))


# ---- scatter --------------------------------------------------------------------------------------------------------

def _scatter_numpy(op: str, ufunc: np.ufunc | None) -> Callable[..., np.ndarray]:
    def numpy(x: np.ndarray, *rest: np.ndarray, axes: Shape, position: int) -> np.ndarray:
        *indices, updates = rest
        where = _wrapped(op, x, tuple(indices), axes)
        out = x.copy()
        front = out.transpose(_to_front(x.ndim, axes))          # a view: writes reach out
        values = updates.transpose(M.inverse(_block_back(updates.ndim, indices[0].ndim, position)))
        if ufunc is None:
            # one axis of indices in row-major order: NumPy then writes in that order, and the last write wins
            front[tuple([i.ravel() for i in where])] = values.reshape(where[0].size, *front.shape[len(axes):])
        else:
            ufunc.at(front, where, values)
        return out
    return numpy


def _scatter_aval(op: str, kinds: str) -> Callable[..., Aval]:
    def infer(x: Aval, *rest: Aval, axes: Shape, position: int) -> Aval:
        *indices, updates = rest
        if x.dtype.kind not in kinds:
            raise E.refuse(op, x, kinds)
        shape = _gathered(op, x, tuple(indices), axes, position)
        if updates.shape != shape:
            raise ShapeError(op, f"updates {updates.shape}", f"the places have shape {shape}", "broadcast the updates")
        if updates.dtype != x.dtype:
            raise DTypeError(op, f"updates of {updates.dtype} into {x.dtype}", "the dtypes differ", "cast the updates")
        return x
    return infer


def _target(at, u, out, *, axes: Shape, position: int) -> tuple[S.Scalar, ...]:
    return _positions(at, u, out.aval.shape, out.args[1].aval.ndim, axes, position)


def _scatter(name: str, ufunc: np.ufunc | None, kinds: str, monoid: str | None, derivative: Custom) -> Prim:
    return Prim(name, _scatter_numpy(name, ufunc), _scatter_aval(name, kinds), Scatter(_target, monoid), derivative,
                names=("axes", "position"))


def _none(indices: tuple[Term, ...]) -> tuple[None, ...]:
    return (None,) * len(indices)


def _tangents(ts: tuple[Term | None, ...], x: Term, updates: Term) -> tuple[Term, Term]:
    """The tangents of x and of the updates, zeros for None."""
    return (like(x, 0) if ts[0] is None else ts[0]), (like(updates, 0) if ts[-1] is None else ts[-1])


def _over_updates(b: Term, updates: Term, position: int) -> Term:
    """A Term of shape B repeated over the axes of the updates that no index array made."""
    shape, ndim = updates.aval.shape, b.aval.ndim
    ones = (1,) * position + b.aval.shape + (1,) * (len(shape) - position - ndim)
    return M.broadcast_to(M.reshaped(b, ones), shape=shape)


def _last_writes(x: Term, indices: tuple[Term, ...], updates: Term, axes: Shape, position: int) -> Term | None:
    """Which updates stay: of several to one place only the last. None: there is but one index, so all of them.

    The updates' numbers are scattered and read back: a number that comes back was not overwritten.
    """
    b = indices[0].aval
    if b.size <= 1:
        return None
    number = M.reshaped(iota(size=b.size, dtype=int64), b.shape)
    every = tuple(range(len(axes)))
    table = constant(0, tuple([x.aval.shape[a] for a in axes]), int64)
    table = scatter_set(table, *indices, number, axes=every, position=0)
    return _over_updates(E.eq(gather(table, *indices, axes=every, position=0), number), updates, position)


def _set_vjp(ct: Term, out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> tuple[Term | None, ...]:
    *indices, updates = rest
    x_ct = scatter_set(ct, *indices, like(updates, 0), axes=axes, position=position)
    u_ct = gather(ct, *indices, axes=axes, position=position)
    stays = _last_writes(x, tuple(indices), updates, axes, position)
    return x_ct, *_none(indices), u_ct if stays is None else E.select(stays, u_ct, 0)


def _linear_jvp(ts: tuple[Term | None, ...], out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> Term:
    tx, tu = _tangents(ts, x, rest[-1])
    return out.op(tx, *rest[:-1], tu, axes=axes, position=position)


def _add_vjp(ct: Term, out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> tuple[Term | None, ...]:
    return ct, *_none(rest[:-1]), gather(ct, *rest[:-1], axes=axes, position=position)


# scatter_mul: out = x * product of the updates of each place


def _product(x: Term, indices: tuple[Term, ...], updates: Term, axes: Shape, position: int) -> Term:
    """The product of the updates of each place of x."""
    return scatter_mul(like(x, 1), *indices, updates, axes=axes, position=position)


def _other_updates(x: Term, indices: tuple[Term, ...], updates: Term, axes: Shape, position: int) -> Term:
    """For each update the product of the others that go to its place.

    No division, so that zeros are exact to any order: the updates are brought into the order of their places, and the
    products before and after each one, within its place, are built by doubling.
    """
    b = indices[0].aval
    count = b.size
    if count <= 1:
        return like(updates, 1)
    place = None
    for i, a in zip(indices, axes, strict=True):
        n = x.aval.shape[a]
        i = M.reshaped(E.cast(i, dtype=int64) if i.aval.dtype != int64 else i, (count,))
        i = E.where(E.lt(i, like(i, 0)), E.add(i, like(i, n)), i)
        place = i if place is None else E.add(E.mul(place, like(place, n)), i)
    order = argsort(place, axis=0, descending=False, stable=True)
    place = gather(place, order, axes=(0,), position=0)
    block = _block_back(updates.aval.ndim, b.ndim, position)
    rows = M.reshaped(M.permute(updates, axes=M.inverse(block)), (count, updates.aval.size // count))
    rows = gather(rows, order, axes=(0,), position=0)
    others = E.mul(_before(rows, place, reverse=False), _before(rows, place, reverse=True))
    others = scatter_set(like(others, 0), order, others, axes=(0,), position=0)
    return _unblock(others, updates, b.ndim, position)


def _unblock(rows: Term, updates: Term, b: int, position: int) -> Term:
    """Rows of updates in the order of B again in the shape of the updates."""
    block = _block_back(updates.aval.ndim, b, position)
    front = tuple([updates.aval.shape[k] for k in M.inverse(block)])
    return M.permute(M.reshaped(rows, front), axes=block)


def _moved(rows: Term, by: int, reverse: bool, fill: float) -> Term:
    """Row k of the result is row k - by (k + by where `reverse`), `fill` where there is none."""
    n, *rest = rows.aval.shape
    edge = constant(fill, (by, *rest), rows.aval.dtype)
    if by >= n:
        return like(rows, fill)
    return M.concatenate(M.cut(rows, 0, by, n - by), edge, axis=0) if reverse else \
        M.concatenate(edge, M.cut(rows, 0, 0, n - by), axis=0)


def _before(rows: Term, place: Term, reverse: bool) -> Term:
    """For each row the product of the rows before it (after it) with the same place; places are sorted."""
    n = place.aval.size

    def same(by: int) -> Term:
        equal = E.eq(place, _moved(place, by, reverse, -1))
        return M.broadcast_to(M.reshape(equal, shape=(n, 1)), shape=rows.aval.shape)

    product = E.where(same(1), _moved(rows, 1, reverse, 1), like(rows, 1))
    by = 1
    while by < n:                               # product covers the `by` rows before each
        product = E.mul(product, E.where(same(by), _moved(product, by, reverse, 1), like(rows, 1)))
        by *= 2
    return product


def _mul_vjp(ct: Term, out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> tuple[Term | None, ...]:
    *indices, updates = rest
    here = tuple(indices)
    u_ct = gather(E.mul(ct, x), *here, axes=axes, position=position)
    return (E.mul(ct, _product(x, here, updates, axes, position)), *_none(here),
            E.mul(u_ct, _other_updates(x, here, updates, axes, position)))


def _mul_jvp(ts: tuple[Term | None, ...], out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> Term:
    *indices, updates = rest
    here = tuple(indices)
    total = None
    if ts[0] is not None:
        total = E.mul(ts[0], _product(x, here, updates, axes, position))
    if ts[-1] is not None:
        each = E.mul(ts[-1], _other_updates(x, here, updates, axes, position))
        part = E.mul(x, scatter_add(like(x, 0), *here, each, axes=axes, position=position))
        total = part if total is None else E.add(total, part)
    return total


# scatter_max, scatter_min: equal candidates share the derivative equally, as in the reductions


def _shares(out: Term, x: Term, indices: tuple[Term, ...], updates: Term, axes: Shape, position: int):
    """Where x is the extreme, where an update is, and how many candidates are."""
    best = gather(out, *indices, axes=axes, position=position)
    x_wins = E.bit_or(E.eq(x, out), E.ne(x, x))                # a NaN is the extreme of its place
    u_wins = E.bit_or(E.eq(updates, best), E.ne(updates, updates))
    x_counts, u_counts = (E.cast(wins, dtype=x.aval.dtype) for wins in (x_wins, u_wins))
    count = scatter_add(x_counts, *indices, u_counts, axes=axes, position=position)
    return x_wins, u_wins, count


def _extreme_vjp(ct: Term, out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> tuple[Term | None, ...]:
    *indices, updates = rest
    x_wins, u_wins, count = _shares(out, x, tuple(indices), updates, axes, position)
    each = E.div(ct, count)
    return (E.select(x_wins, each, 0), *_none(tuple(indices)),
            E.select(u_wins, gather(each, *indices, axes=axes, position=position), 0))


def _extreme_jvp(ts: tuple[Term | None, ...], out: Term, x: Term, *rest: Term, axes: Shape, position: int) -> Term:
    *indices, updates = rest
    x_wins, u_wins, count = _shares(out, x, tuple(indices), updates, axes, position)
    tx, tu = _tangents(ts, x, updates)
    tx, tu = E.select(x_wins, tx, 0), E.select(u_wins, tu, 0)
    return E.div(scatter_add(tx, *indices, tu, axes=axes, position=position), count)


scatter_set = _scatter("scatter_set", None, "fiucb", None, Custom(_set_vjp, _linear_jvp))
scatter_add = _scatter("scatter_add", np.add, "fiuc", "add", Custom(_add_vjp, _linear_jvp))
scatter_mul = _scatter("scatter_mul", np.multiply, "fiuc", "mul", Custom(_mul_vjp, _mul_jvp))
scatter_max = _scatter("scatter_max", np.maximum, "fiub", "maximum", Custom(_extreme_vjp, _extreme_jvp))
scatter_min = _scatter("scatter_min", np.minimum, "fiub", "minimum", Custom(_extreme_vjp, _extreme_jvp))

SCATTERS = {"set": scatter_set, "add": scatter_add, "mul": scatter_mul, "max": scatter_max, "min": scatter_min}


def scatter(x: Term, *indices_updates: Term, axes: Shape, position: int, mode: str) -> Term:
    """`x` with the updates (the last argument) set, added, ... at the indices; `mode` is a key of SCATTERS."""
    return SCATTERS[mode](x, *indices_updates, axes=axes, position=position)


# ---- sorting --------------------------------------------------------------------------------------------------------

def _argsort_numpy(x: np.ndarray, *, axis: int, descending: bool, stable: bool) -> np.ndarray:
    """Ties keep their order and NaN comes last, in both directions."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable").astype(np.int64, copy=False)
    n = x.shape[axis]
    order = np.flip(n - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    if x.dtype.kind in "fc":                    # NaN stands first now: move it behind the numbers
        nan = np.isnan(np.take_along_axis(x, order, axis))
        order = np.take_along_axis(order, np.argsort(nan, axis=axis, kind="stable"), axis)
    return order.astype(np.int64, copy=False)


def _sort_numpy(x: np.ndarray, *, axis: int, descending: bool) -> np.ndarray:
    if not descending:
        return np.sort(x, axis=axis)               # equal values are interchangeable: the quicker unstable sort will do
    return np.take_along_axis(x, _argsort_numpy(x, axis=axis, descending=True, stable=True), axis)


def _sorted_aval(op: str, x: Aval, axis: int) -> Aval:
    if not 0 <= axis < x.ndim:
        raise AxisError(op, f"axis {axis}", f"{x.shape} has {x.ndim} axes")
    return x


def along_axis(order: Term, axis: int) -> tuple[Term, ...]:
    """The index arrays, one for every axis, that take `order` along `axis` and leave the other axes as they are.

    gather(x, *along_axis(order, axis), axes=all of them, position=0) is numpy.take_along_axis(x, order, axis).
    """
    shape = order.aval.shape
    out = []
    for a, n in enumerate(shape):
        if a == axis:
            out.append(order)
        else:
            ones = tuple([n if k == a else 1 for k in range(len(shape))])
            out.append(M.broadcast_to(M.reshape(iota(size=n, dtype=order.aval.dtype), shape=ones), shape=shape))
    return tuple(out)


def take_along(x: Term, order: Term, axis: int) -> Term:
    """numpy.take_along_axis(x, order, axis) for an order of x's shape but for that axis."""
    return gather(x, *along_axis(order, axis), axes=tuple(range(x.aval.ndim)), position=0)


def _sort_vjp(ct: Term, out: Term, x: Term, *, axis: int, descending: bool) -> tuple[Term]:
    order = argsort(x, axis=axis, descending=descending, stable=True)
    return (scatter_add(like(x, 0), *along_axis(order, axis), ct, axes=tuple(range(x.aval.ndim)), position=0),)


def _sort_jvp(ts: tuple[Term, ...], out: Term, x: Term, *, axis: int, descending: bool) -> Term:
    return take_along(ts[0], argsort(x, axis=axis, descending=descending, stable=True), axis)


argsort = Prim("argsort", _argsort_numpy,
               lambda x, *, axis, descending, stable: aval(_sorted_aval("argsort", x, axis).shape, int64), Host(),
               names=("axis", "descending", "stable"))
sort = Prim("sort", _sort_numpy, lambda x, *, axis, descending: _sorted_aval("sort", x, axis), Host(),
            Custom(_sort_vjp, _sort_jvp), names=("axis", "descending"))


# ---- searching ------------------------------------------------------------------------------------------------------

def _searchsorted_aval(x: Aval, values: Aval, *, side: str) -> Aval:
    if x.ndim != 1:
        raise ShapeError("searchsorted", str(x), "the sorted array must have one axis")
    if x.dtype != values.dtype:
        raise DTypeError("searchsorted", f"{x.dtype} and {values.dtype}", "the dtypes differ", "cast one of them")
    return aval(values.shape, int64)


searchsorted = Prim("searchsorted", lambda x, values, *, side: np.searchsorted(x, values, side),
                    _searchsorted_aval, Host(), names=("side",))
