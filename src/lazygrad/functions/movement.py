"""Functions that give an array another shape or order: reshape, squeeze, broadcast, transpose, flip, roll.

In: tensors and static shapes, axes, counts. Out: the same elements elsewhere; no arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import AxisError, ShapeError
from ..ir.term import Term
from ..tensor import Tensor
from .promotion import P, as_shape, broadcast, broadcast_shapes, many_axes, one_axis, positive_shape, reshaped
from .table import FUNCTIONS, public

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


def new_axis(x: Term, k: int) -> Term:
    shape = x.aval.shape
    return P.reshape(x, shape=(*shape[:k], 1, *shape[k:]))


# ---- shapes -------------------------------------------------------------------------------------------------------------

def variadic(rule: Callable, *methods: str) -> None:
    """Methods of a rule's function whose sizes may come one by one: x.reshape(2, 3) as x.reshape((2, 3))."""
    function = None

    def method(x, *sizes, **named):
        nonlocal function
        if function is None:                       # lifted when first called
            function = FUNCTIONS[rule.__name__]
        return function(x, *sizes, **named) if len(sizes) < 2 else function(x, sizes, **named)

    method.__name__, method.__doc__ = methods[0], rule.__doc__
    for m in methods:
        setattr(Tensor, m, method)


@public()
def reshape(x: Term, shape: object, copy: bool | None = None) -> Term:
    """x in another shape of as many elements; one size may be -1. ShapeError where they do not fit. `copy` changes nothing.

    >>> import lazygrad as lg
    >>> lg.reshape(lg.asarray([1, 2, 3, 4]), (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    asked = as_shape("reshape", shape)
    size, known = x.aval.size, math.prod([n for n in asked if n != -1])
    holes = asked.count(-1)
    if holes > 1 or any([n < -1 for n in asked]):
        raise ShapeError("reshape", f"{x.aval.shape} to {asked}", "only one size may be unknown", "give the others")
    target = tuple([size // known if n == -1 and known else n for n in asked]) if holes else asked
    if math.prod(target) != size or -1 in target:
        raise ShapeError("reshape", f"{x.aval.shape} to {asked}", f"{size} elements do not fill it",
                         "the products of both shapes must be equal")
    return reshaped(x, target)


variadic(reshape, "reshape", "view")


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
    lead = len(target) - x.aval.ndim
    if lead < 0 or any([m not in (1, n) for m, n in zip(x.aval.shape, target[lead:], strict=True)]):
        raise ShapeError("broadcast_to", f"{x.aval.shape} to {target}", "every axis must be 1 or as long as the target's",
                         "reshape it first")
    return broadcast(x, target)


@public()
def expand(x: Term, shape: object) -> Term:
    """`broadcast_to` with PyTorch's spelling: -1 keeps a size.

    >>> import lazygrad as lg
    >>> lg.asarray([[1], [2]]).expand(-1, 3).shape
    (2, 3)
    """
    asked = as_shape("expand", shape)
    lead = len(asked) - x.aval.ndim
    return broadcast_to(x, tuple([x.aval.shape[k - lead] if n == -1 and k >= lead else n for k, n in enumerate(asked)]))


variadic(expand, "expand")


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
def atleast_1d(*xs: Term) -> Term | tuple[Term, ...]:
    """x, as one element of a new axis if it is 0-d; a tuple of several.

    >>> import lazygrad as lg
    >>> lg.atleast_1d(lg.asarray(3)).tolist()
    [3]
    """
    return one_or_all(tuple([x if x.aval.ndim else reshaped(x, (1,)) for x in xs]))


def one_or_all(xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    return xs[0] if len(xs) == 1 else xs


@public()
def atleast_2d(*xs: Term) -> Term | tuple[Term, ...]:
    """x with leading axes of size 1 up to two axes; a tuple of several.

    >>> import lazygrad as lg
    >>> lg.atleast_2d(lg.asarray([3, 4])).tolist()
    [[3, 4]]
    """
    return one_or_all(tuple([reshaped(x, (1,) * (2 - x.aval.ndim) + x.aval.shape) for x in xs]))


# ---- axes ---------------------------------------------------------------------------------------------------------------

def permutation(op: str, x: Term, axes: object) -> Term:
    ndim = x.aval.ndim
    order = tuple(reversed(range(ndim))) if axes is None else many_axes(op, axes, ndim)
    if len(order) != ndim:
        raise AxisError(op, f"axes {order} of {x.aval.shape}", "every axis must be named once", f"name {ndim} axes")
    return permuted(x, order)


@public("permute")
def permute_dims(x: Term, axes: object = None) -> Term:
    """x with its axes in another order (reversed without `axes`).

    >>> import lazygrad as lg
    >>> lg.permute_dims(lg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return permutation("permute_dims", x, axes)


@public()
def transpose(x: Term, axes: object = None) -> Term:
    """NumPy's transpose: all axes reversed, or in the order given.

    >>> import lazygrad as lg
    >>> lg.transpose(lg.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 3], [2, 4]]
    """
    return permutation("transpose", x, axes)


variadic(permute_dims, "permute_dims", "permute")
variadic(transpose, "transpose")


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
