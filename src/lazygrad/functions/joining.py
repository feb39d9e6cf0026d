"""Functions that put arrays together and take them apart: concatenate, stack, split, tile, repeat.

In: tensors (lists of them) and static axes and counts. Out: the elements side by side, or parts of them; dtypes promote.
"""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir.term import Term
from ..lift import Terms
from ..tensor import Tensor
from .movement import atleast_1d, atleast_2d, cut, new_axis
from .promotion import P, Shape, alike, broadcast, one_axis, positive_shape, reshaped
from .table import deferred, plain, public

# ---- helpers on Terms ---------------------------------------------------------------------------------------------------

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


# ---- repeating ----------------------------------------------------------------------------------------------------------

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


def repeated(x: Term, counts: tuple[int, ...], axis: int | None = None) -> Term:
    """`repeat` with one known count, or one for every slice."""
    x = reshaped(x, (x.aval.size,)) if axis is None else x
    k = 0 if axis is None else one_axis("repeat", axis, x.aval.ndim)
    shape = x.aval.shape
    if len(counts) != 1 and len(counts) != shape[k]:
        raise ShapeError("repeat", f"{len(counts)} counts for axis {k} of {shape}", f"its size is {shape[k]}",
                         "pass one count, or one for every slice")
    if len(counts) == 1 or len(set(counts)) == 1:
        r = counts[0]
        wide = broadcast(new_axis(x, k + 1), (*shape[:k + 1], r, *shape[k + 1:]))
        return reshaped(wide, (*shape[:k], shape[k] * r, *shape[k + 1:]))
    parts = [broadcast(cut(x, k, i, 1), (*shape[:k], r, *shape[k + 1:])) for i, r in enumerate(counts) if r]
    return joined("repeat", tuple(parts), k) if parts else cut(x, k, 0, 0)


@plain("repeat_interleave")
def repeat(x, repeats, /, axis=None):
    """Each element (slice along `axis`) repeated so many times in place; without `axis` x is flattened first.

    `repeats`: an integer, or one for every slice; a tensor of them is evaluated.

    >>> import lazygrad as lg
    >>> lg.repeat(lg.asarray([1, 2]), 2).tolist(), lg.repeat(lg.asarray([1, 2]), [2, 1]).tolist()
    ([1, 1, 2, 2], [1, 1, 2])
    """
    if isinstance(repeats, (Tensor, np.ndarray)):
        counts = np.asarray(repeats)
        if counts.dtype.kind not in "iu":
            raise DTypeError("repeat", f"counts of {counts.dtype}", "a count is an integer", "cast them to int64")
        repeats = counts.ravel().tolist()
    return _lifted.function()(x, positive_shape("repeat", repeats), axis)


_lifted = deferred(repeated)
Tensor.repeat = Tensor.repeat_interleave = repeat
