"""Arrays put together and taken apart in NumPy's further ways: columns, depth, blocks, insertions, deletions, flips and turns.

In: tensors, static positions. Out: tensors with the same elements. A position that is a tensor is evaluated.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence

import numpy as np

from ..errors import AxisError, IndexingError, ShapeError
from ..ir.term import Term
from ..lift import Terms
from ..tensor import Tensor
from .joining import joined, some, split, tile
from .movement import cut, flip, one_or_all, permuted, swapaxes
from .promotion import constant, one_axis, positive_shape, reshaped
from .selection import beside, tensor_of
from .table import FUNCTIONS, plain, public

# ---- joining ----------------------------------------------------------------------------------------------------------


@public()
def atleast_3d(*xs: Term) -> Term | tuple[Term, ...]:
    """x with axes of size 1 up to three: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1); a tuple of several.

    >>> import lazygrad as lg
    >>> lg.atleast_3d(lg.zeros(3)).shape, lg.atleast_3d(lg.zeros((2, 3))).shape
    ((1, 3, 1), (2, 3, 1))
    """
    shapes = [{0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}.get(len(s), s) for s in [x.aval.shape for x in xs]]
    return one_or_all(tuple([reshaped(x, s) for x, s in zip(xs, shapes, strict=True)]))


@public()
def column_stack(xs: Terms) -> Term:
    """1-d arrays as the columns of a matrix; 2-d arrays beside each other.

    >>> import lazygrad as lg
    >>> lg.column_stack([lg.asarray([1, 2]), lg.asarray([3, 4])]).tolist()
    [[1, 3], [2, 4]]
    """
    xs = some("column_stack", xs)
    return joined("column_stack", tuple([reshaped(x, (x.aval.size, 1)) if x.aval.ndim < 2 else x for x in xs]), 1)


@public()
def dstack(xs: Terms) -> Term:
    """Arrays joined along the third axis, after `atleast_3d`.

    >>> import lazygrad as lg
    >>> lg.dstack([lg.asarray([1, 2]), lg.asarray([3, 4])]).tolist()
    [[[1, 3], [2, 4]]]
    """
    return joined("dstack", tuple([atleast_3d(x) for x in some("dstack", xs)]), 2)


@public()
def append(x: Term, values: Term, axis: int | None = None) -> Term:
    """x with `values` behind it along `axis`; both are flattened without one.

    >>> import lazygrad as lg
    >>> lg.append(lg.asarray([1, 2]), lg.asarray([[3], [4]])).tolist()
    [1, 2, 3, 4]
    """
    xs = some("append", (x, values))
    if axis is None:
        return joined("append", tuple([reshaped(y, (y.aval.size,)) for y in xs]), 0)
    return joined("append", xs, one_axis("append", axis, x.aval.ndim))


@plain()
def block(arrays):
    """An array assembled from nested lists of blocks: the innermost lists are joined along the last axis, the outermost first.

    ShapeError where lists are empty or nested to different depths.

    >>> import lazygrad as lg
    >>> lg.block([[lg.eye(2), lg.zeros((2, 1))], [lg.ones((1, 3))]]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    levels = [[arrays]]                       # level d: all that stands in d lists
    while any([isinstance(b, list) for b in levels[-1]]):
        if not all([isinstance(b, list) and b for b in levels[-1]]):
            raise ShapeError("block", "nested lists", "a list is empty, or some blocks stand deeper than others", "nest all blocks equally deep")
        levels.append([b for row in levels[-1] for b in row])
    depth = len(levels) - 1
    blocks = [b if isinstance(b, Tensor) else np.asarray(b) for b in levels.pop()]
    ndim = max([depth, *[b.ndim for b in blocks]])
    first = next((b for b in blocks if isinstance(b, Tensor)), None)
    if first is None:
        return tensor_of(np.block(arrays))
    blocks = [b if isinstance(b, Tensor) else beside(first, b) for b in blocks]
    blocks = [FUNCTIONS["reshape"](b, (1,) * (ndim - b.ndim) + tuple(b.shape)) for b in blocks]
    for d in range(depth):                    # the innermost lists first
        rows = []
        for row in levels.pop():
            rows.append(FUNCTIONS["concatenate"](blocks[:len(row)], ndim - 1 - d))
            blocks = blocks[len(row):]
        blocks = rows
    return blocks[0]


# ---- splitting --------------------------------------------------------------------------------------------------------

@public()
def array_split(x: Term, sections: int | tuple[int, ...], axis: int = 0) -> tuple[Term, ...]:
    """x in parts along `axis`, as `split`; a number that does not divide the size gives the first parts one more.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.array_split(lg.asarray([1, 2, 3, 4, 5]), 3)]
    [[1, 2], [3, 4], [5]]
    """
    if isinstance(sections, tuple):
        return split(x, sections, axis)
    if sections < 1:
        raise ShapeError("array_split", f"{sections} sections", "there must be one at least", "pass 1 or more")
    n = x.aval.shape[one_axis("array_split", axis, x.aval.ndim)]
    each, more = divmod(n, sections)
    sizes = [each + (k < more) for k in range(sections)]
    return split(x, tuple([sum(sizes[:k]) for k in range(1, sections)]), axis)


def split_along(op: str, x: Term, sections: int | tuple[int, ...], axis: int, least: int) -> tuple[Term, ...]:
    if x.aval.ndim < least:
        raise ShapeError(op, str(x.aval.shape), f"it needs {least} axes or more", "reshape it first")
    return split(x, sections, axis)


@public()
def hsplit(x: Term, sections: int | tuple[int, ...]) -> tuple[Term, ...]:
    """x in parts along axis 1, or 0 for a 1-d x: see `split`.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.hsplit(lg.asarray([[1, 2], [3, 4]]), 2)]
    [[[1], [3]], [[2], [4]]]
    """
    return split_along("hsplit", x, sections, min(1, x.aval.ndim - 1), 1)


@public()
def vsplit(x: Term, sections: int | tuple[int, ...]) -> tuple[Term, ...]:
    """x (of two axes or more) in parts along axis 0: see `split`.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.vsplit(lg.asarray([[1, 2], [3, 4]]), 2)]
    [[[1, 2]], [[3, 4]]]
    """
    return split_along("vsplit", x, sections, 0, 2)


@public()
def dsplit(x: Term, sections: int | tuple[int, ...]) -> tuple[Term, ...]:
    """x (of three axes or more) in parts along axis 2: see `split`.

    >>> import lazygrad as lg
    >>> [part.shape for part in lg.dsplit(lg.zeros((2, 3, 4)), [1])]
    [(2, 3, 1), (2, 3, 3)]
    """
    return split_along("dsplit", x, sections, 2, 3)


# ---- inserting and deleting ---------------------------------------------------------------------------------------------

def static(where: object) -> object:
    """A position with tensors evaluated."""
    if isinstance(where, slice):
        return where
    found = np.asarray(where)
    return found.astype(np.int64) if found.size == 0 else found


FEW = 8                                       # pieces up to which an array is put together of slices


def pieces(parts: list[tuple[Tensor, int, int]], axis: int) -> Tensor:
    """The slices (x, start, stop) along an axis, one after another."""
    found = [x[(slice(None),) * axis + (slice(a, b),)] for x, a, b in parts if a < b] or [parts[0][0][(slice(None),) * axis + (slice(0, 0),)]]
    return found[0] if len(found) == 1 else FUNCTIONS["concatenate"](found, axis)


def positions(op: str, where: object, n: int, ends: int = 0) -> np.ndarray:
    """Positions in n elements (or behind the last, with `ends`) of an integer, several, a slice or a mask."""
    at = static(where)
    if isinstance(at, slice):
        return np.arange(*at.indices(n))
    at = at.nonzero()[0] if at.dtype.kind == "b" else at
    wrong = at[(at < -n) | (at >= n + ends)] if at.dtype.kind in "iu" else at
    if wrong.size:
        raise IndexingError(op, f"{where!r} of {n} elements", f"{wrong.flat[0]} is no position", f"use {-n} to {n - 1 + ends}")
    return np.where(at < 0, at + n, at)


def along(op: str, x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    if axis is None:
        return FUNCTIONS["ravel"](x), 0
    return x, one_axis(op, axis, x.ndim)


@plain()
def delete(x, where, axis=None):
    """x without the slices at `where` (an integer, several, a slice or a mask) along `axis`; flattened without one.

    IndexingError for positions outside x.

    >>> import lazygrad as lg
    >>> lg.delete(lg.asarray([1, 2, 3, 4]), [0, 2]).tolist()
    [2, 4]
    """
    x, k = along("delete", tensor_of(x), axis)
    n = x.shape[k]
    if isinstance(where, Tensor | np.ndarray | list) and np.asarray(where).dtype == bool and np.shape(where) != (n,):
        raise ShapeError("delete", f"a mask of {np.shape(where)} for axis {k} of {x.shape}", "their sizes differ", "make the mask from that axis")
    gone = np.unique(positions("delete", where, n))
    if len(gone) < FEW:
        edges = [-1, *gone.tolist(), n]
        return pieces([(x, a + 1, b) for a, b in itertools.pairwise(edges)], k)
    return FUNCTIONS["take"](x, np.delete(np.arange(n), gone), k)


@plain()
def insert(x, where, values, axis=None):
    """x with `values` in front of the positions `where` (an integer, several, a slice or a mask) along `axis`.

    Without `axis` x is flattened. The values broadcast to the new slices and take x's dtype. IndexingError for positions outside x.

    >>> import lazygrad as lg
    >>> lg.insert(lg.asarray([1, 2, 3]), 1, 9).tolist(), lg.insert(lg.asarray([1, 2]), [0, 2], lg.asarray([8, 9])).tolist()
    ([1, 9, 2, 3], [8, 1, 2, 9])
    """
    x, k = along("insert", tensor_of(x), axis)
    values = FUNCTIONS["astype"](values if isinstance(values, Tensor) else beside(x, np.asarray(values)), x.dtype)
    n = x.shape[k]
    at = positions("insert", where, n, 1)
    count = at.size
    if count == 1:                            # NumPy: as many slices as there are values; of one number's values the first axis is `axis`
        values = FUNCTIONS["reshape"](values, (1,) * (x.ndim - values.ndim) + values.shape)
        values = FUNCTIONS["moveaxis"](values, 0, k) if at.ndim == 0 else values
        count = values.shape[k]
    try:
        values = FUNCTIONS["broadcast_to"](values, (*x.shape[:k], count, *x.shape[k + 1:]))
    except ShapeError:
        raise ShapeError("insert", f"values of {values.shape} into {x.shape} along axis {k}", f"they do not broadcast to {count} slices",
                         "reshape the values") from None
    if at.size == 1:
        p = int(at.flat[0])
        return pieces([(x, 0, p), (values, 0, count), (x, p, n)], k)
    if count < FEW // 2:
        parts, before = [(x, 0, 0)], 0
        for j in np.argsort(at, kind="stable").tolist():
            parts += [(x, before, int(at[j])), (values, j, j + 1)]
            before = int(at[j])
        return pieces([*parts, (x, before, n)], k)
    return FUNCTIONS["take"](FUNCTIONS["concatenate"]([x, values], k), np.insert(np.arange(n), at, n + np.arange(count)), k)


@plain()
def trim_zeros(x, trim="fb", axis=None):
    """x without its outermost zero slices in front ("f") and at the back ("b"), along all axes or those of `axis`. Evaluates x.

    >>> import lazygrad as lg
    >>> lg.trim_zeros(lg.asarray([0, 1, 0, 2, 0])).tolist()
    [1, 0, 2]
    """
    x = tensor_of(x)
    found = np.argwhere(np.asarray(x))
    axes = range(x.ndim) if axis is None else [one_axis("trim_zeros", a, x.ndim) for a in (axis if isinstance(axis, Sequence) else (axis,))]
    key = [slice(None)] * x.ndim
    for k in axes:
        low, high = (found[:, k].min(), found[:, k].max() + 1) if len(found) else (x.shape[k], 0)
        key[k] = slice(int(low) if "f" in trim.lower() else 0, int(high) if "b" in trim.lower() else x.shape[k])
    return x[tuple(key)]


@public(method=True)
def resize(x: Term, shape: object) -> Term:
    """x's elements in `shape`, from the start again where there are too few.

    >>> import lazygrad as lg
    >>> lg.resize(lg.asarray([1, 2, 3]), (2, 2)).tolist()
    [[1, 2], [3, 1]]
    """
    target = positive_shape("resize", shape)
    size = math.prod(target)
    flat = reshaped(x, (x.aval.size,))
    if x.aval.size == 0:
        return constant(0, target, x.aval.dtype)
    return reshaped(cut(tile(flat, -(-size // x.aval.size)) if size > x.aval.size else flat, 0, 0, size), target)


# ---- flips and turns ----------------------------------------------------------------------------------------------------

@public(method=True)
def flipud(x: Term) -> Term:
    """x with its first axis reversed.

    >>> import lazygrad as lg
    >>> lg.flipud(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[3, 4], [1, 2]]
    """
    return flip(turnable("flipud", x, 1), 0)


@public(method=True)
def fliplr(x: Term) -> Term:
    """x with its second axis reversed.

    >>> import lazygrad as lg
    >>> lg.fliplr(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[2, 1], [4, 3]]
    """
    return flip(turnable("fliplr", x, 2), 1)


def turnable(op: str, x: Term, least: int) -> Term:
    if x.aval.ndim < least:
        raise ShapeError(op, str(x.aval.shape), f"it needs {least} axes or more", "reshape it first")
    return x


@public(method=True)
def rot90(x: Term, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Term:
    """x turned by k quarters from the first towards the second of two axes.

    >>> import lazygrad as lg
    >>> lg.rot90(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """
    turnable("rot90", x, 2)
    a, b = [one_axis("rot90", i, x.aval.ndim) for i in axes]
    if len(axes) != 2 or a == b:
        raise AxisError("rot90", f"axes {axes}", "a plane has two axes", "name two axes")
    k %= 4
    if k == 2:
        return flip(flip(x, a), b)
    return x if k == 0 else swapaxes(flip(x, b), a, b) if k == 1 else flip(swapaxes(x, a, b), b)


@public()
def rollaxis(x: Term, axis: int, start: int = 0) -> Term:
    """x with one axis moved to stand in front of `start`.

    >>> import lazygrad as lg
    >>> lg.rollaxis(lg.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    n = x.aval.ndim
    k, at = one_axis("rollaxis", axis, n), operator.index(start)
    at = at + n if at < 0 else at
    if not 0 <= at <= n:
        raise AxisError("rollaxis", f"start {start}", f"the array has {n} dimensions", f"use {-n} to {n}")
    order = [j for j in range(n) if j != k]
    order.insert(at - (k < at), k)
    return permuted(x, tuple(order))
