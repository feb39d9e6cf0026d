"""Functions that move elements: shapes, axes, joining, splitting, repeating, triangles and diagonals.

In: tensors and static shapes, axes, counts. Out: the same elements elsewhere (and constants around them); no arithmetic.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import AxisError, ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from .promotion import (
    P,
    Shape,
    alike,
    as_shape,
    broadcast,
    broadcast_shapes,
    constant,
    many_axes,
    number,
    one_axis,
    positive_shape,
    reshaped,
)
from .table import public

# ---- helpers on Terms ---------------------------------------------------------------------------------------------------

def cut(x: Term, axis: int, start: int, size: int, step: int = 1) -> Term:
    """Positions start, start + step, ... of one axis."""
    shape, low, by = list(x.aval.shape), [0] * x.aval.ndim, [1] * x.aval.ndim
    if (start, size, step) == (0, shape[axis], 1):
        return x
    shape[axis], low[axis], by[axis] = size, start, step
    return P.slice(x, start=tuple(low), step=tuple(by), shape=tuple(shape))


def permuted(x: Term, axes: tuple[int, ...]) -> Term:
    return x if axes == tuple(range(x.aval.ndim)) else P.permute(x, axes=axes)


def along(op: str, xs: tuple, axis: int, shape: Shape) -> Term:
    """Operands joined along `axis`; 0-d ones are broadcast to one slice of `shape`."""
    one = (*shape[:axis], 1, *shape[axis + 1:])
    return joined(op, tuple([broadcast(x, one) if x.aval.ndim == 0 else x for x in alike(op, xs)]), axis)


def joined(op: str, xs: tuple[Term, ...], axis: int) -> Term:
    """Terms of one dtype and rank, joined along a checked axis."""
    first = xs[0].aval.shape
    for k, x in enumerate(xs):
        shape = x.aval.shape
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1:] != first[:axis] + first[axis + 1:]:
            raise ShapeError(op, f"{first} and {shape} (operand {k}) along axis {axis}", "they may differ in that axis only",
                             "reshape or pad one")
    return xs[0] if len(xs) == 1 else P.concatenate(*xs, axis=axis)


def new_axis(x: Term, k: int) -> Term:
    shape = x.aval.shape
    return P.reshape(x, shape=(*shape[:k], 1, *shape[k:]))


# ---- shapes -------------------------------------------------------------------------------------------------------------

def _variadic(first: object, rest: tuple) -> object:
    """x.reshape(2, 3) as x.reshape((2, 3))."""
    return (first, *rest) if rest else first


@public(method=True)
def reshape(x: Term, shape: object, *more: int) -> Term:
    """x in another shape of as many elements; one size may be -1. ShapeError where they do not fit.

    >>> import lazygrad as lg
    >>> lg.reshape(lg.asarray([1, 2, 3, 4]), (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    asked = as_shape("reshape", _variadic(shape, more))
    size, known = x.aval.size, math.prod([n for n in asked if n != -1])
    holes = asked.count(-1)
    if holes > 1 or any([n < -1 for n in asked]):
        raise ShapeError("reshape", f"{x.aval.shape} to {asked}", "only one size may be unknown", "give the others")
    target = tuple([size // known if n == -1 and known else n for n in asked]) if holes else asked
    if math.prod(target) != size or -1 in target:
        raise ShapeError("reshape", f"{x.aval.shape} to {asked}", f"{size} elements do not fill it",
                         "the products of both shapes must be equal")
    return reshaped(x, target)


@public(method=True)
def ravel(x: Term) -> Term:
    """x as one axis, in row-major order.

    >>> import lazygrad as lg
    >>> lg.ravel(lg.asarray([[1, 2], [3, 4]])).tolist()
    [1, 2, 3, 4]
    """
    return reshaped(x, (x.aval.size,))


@public(method=True)
def flatten(x: Term, start_axis: int = 0, end_axis: int = -1) -> Term:
    """x with the axes from `start_axis` to `end_axis` as one.

    >>> import lazygrad as lg
    >>> lg.flatten(lg.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    if x.aval.ndim == 0:
        return reshaped(x, (1,))
    a, b = one_axis("flatten", start_axis, x.aval.ndim), one_axis("flatten", end_axis, x.aval.ndim)
    if b < a:
        raise AxisError("flatten", f"axes {start_axis} to {end_axis}", "the end lies before the start", "exchange them")
    shape = x.aval.shape
    return reshaped(x, (*shape[:a], math.prod(shape[a:b + 1]), *shape[b + 1:]))


@public(method=True)
def squeeze(x: Term, axis: int | tuple[int, ...] | None = None) -> Term:
    """x without the given axes, which must be of size 1 (without all such axes if none is given).

    >>> import lazygrad as lg
    >>> lg.squeeze(lg.zeros((1, 3, 1)), 0).shape
    (3, 1)
    """
    shape = x.aval.shape
    axes = [k for k, n in enumerate(shape) if n == 1] if axis is None else many_axes("squeeze", axis, len(shape))
    for k in axes:
        if shape[k] != 1:
            raise ShapeError("squeeze", f"axis {k} of {shape}", f"its size is {shape[k]}, not 1", "squeeze axes of size 1 only")
    return reshaped(x, tuple([n for k, n in enumerate(shape) if k not in axes]))


@public("unsqueeze", method=True)
def expand_dims(x: Term, axis: int | tuple[int, ...] = 0) -> Term:
    """x with new axes of size 1, which stand at `axis` of the result.

    >>> import lazygrad as lg
    >>> lg.expand_dims(lg.zeros((3,)), 0).shape
    (1, 3)
    """
    extra = len(axis) if isinstance(axis, tuple) else 1
    axes = many_axes("expand_dims", axis, x.aval.ndim + extra)
    old = iter(x.aval.shape)
    return reshaped(x, tuple([1 if k in axes else next(old) for k in range(x.aval.ndim + extra)]))


@public(method=True)
def broadcast_to(x: Term, shape: object) -> Term:
    """x repeated to `shape` by the rules of broadcasting. ShapeError where they do not allow it.

    >>> import lazygrad as lg
    >>> lg.broadcast_to(lg.asarray([1, 2]), (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    target = positive_shape("broadcast_to", shape)
    if broadcast_shapes("broadcast_to", x.aval.shape, target) != target:
        raise ShapeError("broadcast_to", f"{x.aval.shape} to {target}", "every axis must be 1 or as long as the target's",
                         "reshape it first")
    return broadcast(x, target)


@public(method=("expand",))
def expand(x: Term, shape: object, *more: int) -> Term:
    """`broadcast_to` with PyTorch's spelling: -1 keeps a size.

    >>> import lazygrad as lg
    >>> lg.asarray([[1], [2]]).expand(-1, 3).shape
    (2, 3)
    """
    asked = as_shape("expand", _variadic(shape, more))
    lead = len(asked) - x.aval.ndim
    return broadcast_to(x, tuple([x.aval.shape[k - lead] if n == -1 and k >= lead else n for k, n in enumerate(asked)]))


@public()
def broadcast_arrays(*xs: Term) -> tuple[Term, ...]:
    """The arrays, broadcast against each other; dtypes stay.

    >>> import lazygrad as lg
    >>> [x.shape for x in lg.broadcast_arrays(lg.zeros((3, 1)), lg.zeros((4,)))]
    [(3, 4), (3, 4)]
    """
    shape = broadcast_shapes("broadcast_arrays", *[x.aval.shape for x in xs])
    return tuple([broadcast(x, shape) for x in xs])


@public()
def atleast_1d(x: Term) -> Term:
    """x, as one element of a new axis if it is 0-d.

    >>> import lazygrad as lg
    >>> lg.atleast_1d(lg.asarray(3)).tolist()
    [3]
    """
    return x if x.aval.ndim else reshaped(x, (1,))


@public()
def atleast_2d(x: Term) -> Term:
    """x with leading axes of size 1 up to two axes.

    >>> import lazygrad as lg
    >>> lg.atleast_2d(lg.asarray([3, 4])).tolist()
    [[3, 4]]
    """
    return reshaped(x, (1,) * (2 - x.aval.ndim) + x.aval.shape)


# ---- axes ---------------------------------------------------------------------------------------------------------------

def permutation(op: str, x: Term, axes: object) -> Term:
    ndim = x.aval.ndim
    order = tuple(reversed(range(ndim))) if axes is None else many_axes(op, axes, ndim)
    if len(order) != ndim:
        raise AxisError(op, f"axes {order} of {x.aval.shape}", "every axis must be named once", f"name {ndim} axes")
    return permuted(x, order)


@public("permute", method=True)
def permute_dims(x: Term, axes: object = None, *more: int) -> Term:
    """x with its axes in another order (reversed without `axes`).

    >>> import lazygrad as lg
    >>> lg.permute_dims(lg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return permutation("permute_dims", x, _variadic(axes, more))


@public(method=True)
def transpose(x: Term, axes: object = None, *more: int) -> Term:
    """NumPy's transpose: all axes reversed, or in the order given.

    >>> import lazygrad as lg
    >>> lg.transpose(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 3], [2, 4]]
    """
    return permutation("transpose", x, _variadic(axes, more))


@public(method=True)
def matrix_transpose(x: Term) -> Term:
    """x with its last two axes exchanged. ShapeError for less than two.

    >>> import lazygrad as lg
    >>> lg.matrix_transpose(lg.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    if x.aval.ndim < 2:
        raise ShapeError("matrix_transpose", str(x.aval.shape), "a matrix has two axes", "reshape it first")
    return swapaxes(x, -1, -2)


@public(method=True)
def swapaxes(x: Term, axis1: int, axis2: int) -> Term:
    """x with two axes exchanged.

    >>> import lazygrad as lg
    >>> lg.swapaxes(lg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    order = list(range(x.aval.ndim))
    a, b = one_axis("swapaxes", axis1, len(order)), one_axis("swapaxes", axis2, len(order))
    order[a], order[b] = b, a
    return permuted(x, tuple(order))


@public("movedim", method=True)
def moveaxis(x: Term, source: object, destination: object) -> Term:
    """x with the axes `source` moved to `destination`; the others keep their order.

    >>> import lazygrad as lg
    >>> lg.moveaxis(lg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    a, b = many_axes("moveaxis", source, x.aval.ndim), many_axes("moveaxis", destination, x.aval.ndim)
    if len(a) != len(b):
        raise AxisError("moveaxis", f"{source} to {destination}", "they name differently many axes", "name as many in both")
    order = [k for k in range(x.aval.ndim) if k not in a]
    for to, axis in sorted(zip(b, a, strict=True)):
        order.insert(to, axis)
    return permuted(x, tuple(order))


@public(method=True)
def flip(x: Term, axis: int | tuple[int, ...] | None = None) -> Term:
    """x with the order along `axis` (all axes without one) reversed.

    >>> import lazygrad as lg
    >>> lg.flip(lg.asarray([1, 2, 3])).tolist()
    [3, 2, 1]
    """
    axes = [k for k in many_axes("flip", axis, x.aval.ndim) if x.aval.shape[k] > 1]
    if not axes or x.aval.size == 0:
        return x
    n = x.aval.shape
    return P.slice(x, start=tuple([n[k] - 1 if k in axes else 0 for k in range(len(n))]),
                   step=tuple([-1 if k in axes else 1 for k in range(len(n))]), shape=n)


@public(method=True)
def roll(x: Term, shift: int | tuple[int, ...], axis: int | tuple[int, ...] | None = None) -> Term:
    """x with its elements moved on by `shift`, round the end; without `axis` as if it were flat.

    >>> import lazygrad as lg
    >>> lg.roll(lg.asarray([1, 2, 3]), 1).tolist()
    [3, 1, 2]
    """
    if axis is None:
        flat = reshaped(x, (x.aval.size,))
        for s in shift if isinstance(shift, tuple) else (shift,):
            flat = _rolled(flat, s, 0)
        return reshaped(flat, x.aval.shape)
    axes = tuple([one_axis("roll", a, x.aval.ndim) for a in (axis if isinstance(axis, tuple) else (axis,))])
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
    axes = axes * len(shifts) if len(axes) == 1 else axes
    if len(shifts) != len(axes):
        raise AxisError("roll", f"shift {shift} along axis {axis}", "they are differently many", "give one shift for every axis")
    for s, k in zip(shifts, axes, strict=True):
        x = _rolled(x, s, k)
    return x


def _rolled(x: Term, shift: int, axis: int) -> Term:
    n = x.aval.shape[axis]
    if n == 0 or shift % n == 0:
        return x
    return P.concatenate(cut(x, axis, n - shift % n, shift % n), cut(x, axis, 0, n - shift % n), axis=axis)


# ---- joining and splitting ------------------------------------------------------------------------------------------------

@public("concat", "cat")
def concatenate(xs: Terms, axis: int | None = 0) -> Term:
    """The arrays one after another along `axis` (flattened first if None). Dtypes promote.

    >>> import lazygrad as lg
    >>> lg.concatenate([lg.asarray([1]), lg.asarray([2, 3])]).tolist()
    [1, 2, 3]
    """
    xs = some("concatenate", xs)
    if axis is None:
        return joined("concatenate", tuple([reshaped(x, (x.aval.size,)) for x in xs]), 0)
    return joined("concatenate", xs, one_axis("concatenate", axis, xs[0].aval.ndim))


def some(op: str, xs: tuple) -> tuple[Term, ...]:
    if not xs:
        raise ShapeError(op, "no arrays", "at least one is needed", "pass a list of tensors")
    return alike(op, xs)


@public()
def stack(xs: Terms, axis: int = 0) -> Term:
    """Arrays of one shape along a new axis. Dtypes promote.

    >>> import lazygrad as lg
    >>> lg.stack([lg.asarray([1, 2]), lg.asarray([3, 4])], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    xs = some("stack", xs)
    for x in xs:
        if x.aval.shape != xs[0].aval.shape:
            raise ShapeError("stack", f"{xs[0].aval.shape} and {x.aval.shape}", "the shapes differ", "broadcast them first")
    k = one_axis("stack", axis, xs[0].aval.ndim + 1)
    return joined("stack", tuple([new_axis(x, k) for x in xs]), k)


@public()
def hstack(xs: Terms) -> Term:
    """The arrays side by side: along axis 1, or 0 for 1-d arrays.

    >>> import lazygrad as lg
    >>> lg.hstack([lg.asarray([1]), lg.asarray([2])]).tolist()
    [1, 2]
    """
    xs = tuple([atleast_1d(x) for x in some("hstack", xs)])
    return joined("hstack", xs, 0 if xs[0].aval.ndim == 1 else 1)


@public()
def vstack(xs: Terms) -> Term:
    """The arrays on top of each other, 1-d ones as rows.

    >>> import lazygrad as lg
    >>> lg.vstack([lg.asarray([1, 2]), lg.asarray([3, 4])]).tolist()
    [[1, 2], [3, 4]]
    """
    return joined("vstack", tuple([atleast_2d(x) for x in some("vstack", xs)]), 0)


@public(method=True)
def split(x: Term, sections: int | tuple[int, ...], axis: int = 0) -> tuple[Term, ...]:
    """x in parts along `axis`: so many equal ones, or cut before each of the given positions (as in NumPy).

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.split(lg.asarray([1, 2, 3, 4]), [1, 3])]
    [[1], [2, 3], [4]]
    """
    k = one_axis("split", axis, x.aval.ndim)
    n = x.aval.shape[k]
    if isinstance(sections, tuple):
        # NumPy's slices x[a:b]: positions beyond the end, negative ones and ones in wrong order give what slices give
        edges = [0, *sections, n]
        spans = [slice(a, b).indices(n)[:2] for a, b in zip(edges[:-1], [*sections, None], strict=True)]
    else:
        if sections < 1 or n % sections:
            raise ShapeError("split", f"{x.aval.shape} along axis {k}", f"{n} is no multiple of {sections}",
                             "pass positions to cut at instead")
        part = n // sections
        spans = [(i * part, (i + 1) * part) for i in range(sections)]
    return tuple([cut(x, k, a if b > a else 0, max(b - a, 0)) for a, b in spans])


@public("unbind", method=True)
def unstack(x: Term, axis: int = 0) -> tuple[Term, ...]:
    """The slices of x along `axis`, without that axis.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.unstack(lg.asarray([[1, 2], [3, 4]]))]
    [[1, 2], [3, 4]]
    """
    k = one_axis("unstack", axis, x.aval.ndim)
    rest = x.aval.shape[:k] + x.aval.shape[k + 1:]
    return tuple([reshaped(cut(x, k, i, 1), rest) for i in range(x.aval.shape[k])])


# ---- repeating and padding ------------------------------------------------------------------------------------------------

@public(method=True)
def tile(x: Term, repetitions: int | tuple[int, ...]) -> Term:
    """x repeated as a whole, so many times along each axis.

    >>> import lazygrad as lg
    >>> lg.tile(lg.asarray([1, 2]), 2).tolist()
    [1, 2, 1, 2]
    """
    reps = positive_shape("tile", repetitions)
    ndim = max(len(reps), x.aval.ndim)
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.aval.ndim) + x.aval.shape
    apart = tuple([m for n in shape for m in (1, n)])
    wide = tuple([m for r, n in zip(reps, shape, strict=True) for m in (r, n)])
    return reshaped(broadcast(reshaped(x, apart), wide), tuple([r * n for r, n in zip(reps, shape, strict=True)]))


@public("repeat_interleave", method=("repeat", "repeat_interleave"))
def repeat(x: Term, repeats: int | tuple[int, ...], axis: int | None = None) -> Term:
    """Each element (slice along `axis`) repeated so many times in place; without `axis` x is flattened first.

    >>> import lazygrad as lg
    >>> lg.repeat(lg.asarray([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    """
    x = reshaped(x, (x.aval.size,)) if axis is None else x
    k = 0 if axis is None else one_axis("repeat", axis, x.aval.ndim)
    shape = x.aval.shape
    counts = positive_shape("repeat", repeats)
    if len(counts) != 1 and len(counts) != shape[k]:
        raise ShapeError("repeat", f"{len(counts)} counts for axis {k} of {shape}", f"its size is {shape[k]}",
                         "pass one count, or one for every slice")
    if len(counts) == 1 or len(set(counts)) == 1:
        r = counts[0]
        wide = broadcast(new_axis(x, k + 1), (*shape[:k + 1], r, *shape[k + 1:]))
        return reshaped(wide, (*shape[:k], shape[k] * r, *shape[k + 1:]))
    parts = [broadcast(cut(x, k, i, 1), (*shape[:k], r, *shape[k + 1:])) for i, r in enumerate(counts) if r]
    return joined("repeat", tuple(parts), k) if parts else cut(x, k, 0, 0)


@public(method=True)
def pad(x: Term, pad_width: object, mode: str = "constant", constant_values: Operand = 0) -> Term:
    """x with constants around it: `pad_width` is n, (before, after), or a (before, after) for every axis.

    >>> import lazygrad as lg
    >>> lg.pad(lg.asarray([1, 2]), (1, 2)).tolist()
    [0, 1, 2, 0, 0]
    """
    shape = x.aval.shape
    widths = _widths(pad_width, x.aval.ndim, shape)
    if mode != "constant":
        raise ShapeError("pad", f"mode {mode!r}", "only constants can be padded", 'pass mode="constant"')
    if all([w == (0, 0) for w in widths]):
        return x
    whole = tuple([a + n + b for n, (a, b) in zip(shape, widths, strict=True)])
    start, step = tuple([a for a, _ in widths]), (1,) * len(shape)
    inner = P.embed(x, shape=whole, start=start, step=step)
    if not isinstance(constant_values, Term) and constant_values == 0:
        return inner
    value = constant_values if isinstance(constant_values, Term) else number("pad", constant_values, (), x.aval.dtype)
    inside = P.embed(constant(True, shape, dtypes.bool_), shape=whole, start=start, step=step)
    return P.where(inside, inner, broadcast(P.cast(value, dtype=x.aval.dtype), whole))


def _widths(given: object, ndim: int, shape: Shape) -> tuple[tuple[int, int], ...]:
    wrong = ShapeError("pad", f"pad_width {given} of {shape}", "it is neither n, (before, after) nor one pair for every axis",
                       "pass widths of 0 or more")
    pairs = given if isinstance(given, tuple) else (given,)
    if all([isinstance(p, int) for p in pairs]):
        pairs = ((pairs[0], pairs[-1]),) * ndim if 0 < len(pairs) <= 2 else ()
    pairs = tuple([p if isinstance(p, tuple) else (p, p) for p in pairs])
    pairs = tuple([p * 2 if len(p) == 1 else p for p in pairs])
    pairs = pairs * ndim if len(pairs) == 1 else pairs
    if len(pairs) != ndim or any([len(p) != 2 or not all([isinstance(n, int) and n >= 0 for n in p]) for p in pairs]):
        raise wrong
    return pairs


# ---- triangles and diagonals ------------------------------------------------------------------------------------------------

def ramp(shape: Shape, axis: int) -> Term:
    """The index along `axis`, as an int64 array of `shape`."""
    line = P.iota(size=shape[axis], dtype=dtypes.int64)
    return broadcast(reshaped(line, tuple([shape[axis] if k == axis else 1 for k in range(len(shape))])), shape)


def below(shape: Shape, k: int) -> Term:
    """Whether row >= column - k, over the last two axes of `shape`."""
    square = shape[-2:]
    column = ramp(square, 1)
    return broadcast(P.le(column, P.add(ramp(square, 0), constant(k, square, dtypes.int64))), shape)


def matrix(op: str, x: Term) -> Term:
    if x.aval.ndim < 2:
        raise ShapeError(op, str(x.aval.shape), "a matrix has two axes", "reshape it first")
    return x


@public(method=True)
def tril(x: Term, k: int = 0) -> Term:
    """x (..., m, n) with zeros above its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.tril(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 0], [3, 4]]
    """
    shape = matrix("tril", x).aval.shape
    return P.where(below(shape, k), x, constant(0, shape, x.aval.dtype))


@public(method=True)
def triu(x: Term, k: int = 0) -> Term:
    """x (..., m, n) with zeros below its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.triu(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 2], [0, 4]]
    """
    shape = matrix("triu", x).aval.shape
    return P.where(below(shape, k - 1), constant(0, shape, x.aval.dtype), x)


def taken_diagonal(x: Term, offset: int) -> Term:
    """The diagonal of the last two axes (..., m, n) as (..., d): row r holds its element at r * n + r + offset."""
    *batch, m, n = x.aval.shape
    row, column = max(-offset, 0), max(offset, 0)
    d = max(min(m - row, n - column), 0)
    if d == 0:
        return cut(reshaped(x, (*batch, m * n)), len(batch), 0, 0)
    return cut(reshaped(x, (*batch, m * n)), len(batch), row * n + column, d, n + 1)


@public(method=True)
def diagonal(x: Term, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
    """The diagonal of two axes of x, as its last axis.

    >>> import lazygrad as lg
    >>> lg.diagonal(lg.asarray([[1, 2], [3, 4]])).tolist()
    [1, 4]
    """
    matrix("diagonal", x)
    a, b = one_axis("diagonal", axis1, x.aval.ndim), one_axis("diagonal", axis2, x.aval.ndim)
    if a == b:
        raise AxisError("diagonal", f"axes {axis1} and {axis2}", "an axis is named twice", "name two axes")
    return taken_diagonal(permuted(x, (*[k for k in range(x.aval.ndim) if k not in (a, b)], a, b)), offset)


@public(method=True)
def diag(x: Term, k: int = 0) -> Term:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal.

    >>> import lazygrad as lg
    >>> lg.diag(lg.asarray([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    if x.aval.ndim == 2:
        return taken_diagonal(x, k)
    if x.aval.ndim != 1:
        raise ShapeError("diag", str(x.aval.shape), "it is neither a vector nor a matrix", "use diagonal")
    n = x.aval.size + abs(k)
    if n == 0:
        return reshaped(x, (0, 0))
    start = k if k >= 0 else -k * n
    flat = P.embed(x, shape=(n * n,), start=(start if x.aval.size else 0,), step=(n + 1,))
    return reshaped(flat, (n, n))


@public(method=True)
def trace(x: Term, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
    """The sum of a diagonal; integers sum in 64 bits.

    >>> import lazygrad as lg
    >>> lg.trace(lg.asarray([[1.0, 2.0], [3.0, 4.0]])).tolist()
    5.0
    """
    from .reductions import sum as total
    return total(diagonal(x, offset, axis1, axis2), -1)
