"""Choosing and replacing elements by masks, numbers of choices and positions, under NumPy's names.

In: tensors, masks, positions, values. Out: new tensors: where NumPy writes into its first operand (place, put, putmask, copyto,
fill_diagonal), these return what it would be. `extract` evaluates its condition.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import IndexingError, ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms
from ..tensor import Tensor
from .composite import fill
from .creation import line
from .indexing import fitted, written
from .promotion import P, alike, as_term, broadcast, broadcast_shapes, cast, constant, reshaped
from .selection import bounded, compress
from .stacking import resize
from .table import FUNCTIONS, deferred, plain, public

# ---- choices ----------------------------------------------------------------------------------------------------------

def choice(x: Term, choices: Terms, mode: str) -> Term:
    if not choices:
        raise ShapeError("choose", "no choices", "at least one is needed", "pass a list of arrays")
    values = alike("choose", choices)
    shape = broadcast_shapes("choose", x.aval.shape, *[v.aval.shape for v in values])
    n = len(values)
    i = broadcast(bounded("choose", x, n, mode), shape)
    if mode == "raise":                       # a negative number is no choice: NumPy does not count it from the end
        i = P.where(P.lt(i, fill(i, 0)), fill(i, n), i)
    stacked = P.concatenate(*[reshaped(broadcast(v, shape), (1, *shape)) for v in values], axis=0) if n > 1 else reshaped(broadcast(values[0], shape), (1, *shape))
    if i.aval.size == 0:
        return constant(0, shape, stacked.aval.dtype)
    lines = [broadcast(reshaped(line(m, 0, 1, i.aval.dtype), tuple([m if j == k else 1 for j in range(len(shape))])), shape) for k, m in enumerate(shape)]
    return P.gather(stacked, i, *lines, axes=tuple(range(len(shape) + 1)), position=0)


CHOICE = deferred(choice)


@plain()
def choose(x, choices, mode="raise"):
    """For each element of x (integers) the element of the choice of that number, at the same place. Shapes broadcast.

    IndexingError for a number that is no choice when it is computed; `mode` "wrap" and "clip" allow them.

    >>> import lazygrad as lg
    >>> lg.choose(lg.asarray([1, 0]), [[10, 20], [30, 40]]).tolist()
    [30, 20]
    """
    if isinstance(choices, Tensor | np.ndarray):
        choices = FUNCTIONS["unstack"](choices) if isinstance(choices, Tensor) else list(choices)
    return CHOICE.function()(x, choices, mode)


@plain()
def extract(condition, x):
    """The elements of x where the condition of as many elements holds, as one axis. Evaluates the condition.

    >>> import lazygrad as lg
    >>> lg.extract([True, False, True], lg.asarray([1, 2, 3])).tolist()
    [1, 3]
    """
    return compress(FUNCTIONS["ravel"](condition), x)


Tensor.choose = choose


# ---- replacing --------------------------------------------------------------------------------------------------------

def same_shape(op: str, x: Term, mask: Term) -> Term:
    if mask.aval.shape != x.aval.shape:
        raise ShapeError(op, f"{x.aval.shape} with a mask of {mask.aval.shape}", "the shapes differ", "make the mask from x")
    return cast(mask, dtypes.bool_)


def values_for(op: str, x: Term, values: Operand) -> Term:
    """Values as one axis of x's dtype."""
    v = as_term(op, values)
    v = fitted(reshaped(v, (v.aval.size,)), x, (v.aval.size,))
    if not v.aval.size and x.aval.size:
        raise ShapeError(op, "no values", "there must be one at least", "pass a number or an array")
    return v


@public(method=True)
def place(x: Term, mask: Term, values: Operand) -> Term:
    """x with `values`, in their order and from the start again, where the mask holds; a new tensor.

    >>> import lazygrad as lg
    >>> x = lg.asarray([1, 2, 3])
    >>> lg.place(x, x > 1, lg.asarray([7, 8])).tolist()
    [1, 7, 8]
    """
    here, v = reshaped(same_shape("place", x, mask), (x.aval.size,)), values_for("place", x, values)
    if x.aval.size == 0:
        return x
    rank = P.sub(P.cumsum(cast(here, dtypes.int32), axis=0, reverse=False), constant(1, here.aval.shape, dtypes.int32))
    at = P.remainder(P.maximum(rank, fill(rank, 0)), fill(rank, v.aval.size))
    return reshaped(P.where(here, P.gather(v, at, axes=(0,), position=0), reshaped(x, here.aval.shape)), x.aval.shape)


@public(method=True)
def putmask(x: Term, mask: Term, values: Operand) -> Term:
    """x with the elements of `values` at the same place (repeated to x's size) where the mask holds; a new tensor.

    >>> import lazygrad as lg
    >>> x = lg.asarray([1, 2, 3])
    >>> lg.putmask(x, x > 1, x * 10).tolist()
    [1, 20, 30]
    """
    return P.where(same_shape("putmask", x, mask), resize(values_for("putmask", x, values), x.aval.shape), x)


@public(method=True)
def put(x: Term, indices: Term, values: Operand, mode: str = "raise") -> Term:
    """x with `values` (repeated if they are too few) at positions of the flattened x; a new tensor. The last of several values stays.

    IndexingError for positions outside x when it is computed; `mode` "wrap" and "clip" allow them.

    >>> import lazygrad as lg
    >>> lg.put(lg.asarray([1, 2, 3]), lg.asarray([0, -1]), 9).tolist()
    [9, 2, 9]
    """
    if not indices.aval.size:
        return x
    i, v = bounded("put", reshaped(indices, (indices.aval.size,)), x.aval.size, mode), values_for("put", x, values)
    if not x.aval.size:
        raise IndexingError("put", f"positions in an array of shape {x.aval.shape}", "it has no elements", "pass no positions")
    return reshaped(P.scatter_set(reshaped(x, (x.aval.size,)), i, resize(v, i.aval.shape), axes=(0,), position=0), x.aval.shape)


@public()
def copyto(x: Term, source: Operand, where: Operand = True) -> Term:
    """x with `source`, broadcast and cast, where `where` holds; a new tensor.

    >>> import lazygrad as lg
    >>> lg.copyto(lg.asarray([1, 2]), 7, lg.asarray([True, False])).tolist()
    [7, 2]
    """
    here = cast(as_term("copyto", where), dtypes.bool_)
    if broadcast_shapes("copyto", x.aval.shape, here.aval.shape) != x.aval.shape:
        raise ShapeError("copyto", f"a condition of {here.aval.shape} for {x.aval.shape}", "it does not broadcast to x", "reshape it")
    return P.where(broadcast(here, x.aval.shape), fitted(source, x, x.aval.shape), x)


@public(method=True)
def fill_diagonal(x: Term, value: Operand, wrap: bool = False) -> Term:
    """x (two axes, or more of one length) with `value`, a number or several in turn, on its main diagonal; a new tensor.

    `wrap`: the diagonal of a tall matrix starts again, one row below its end.

    >>> import lazygrad as lg
    >>> lg.fill_diagonal(lg.zeros((2, 2)), 3).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """
    shape = x.aval.shape
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise ShapeError("fill_diagonal", str(shape), "it has no main diagonal", "pass a matrix, or more axes of one length")
    end, step = x.aval.size, 1
    if len(shape) == 2:
        step = shape[1] + 1
        end = end if wrap else min(end, shape[1] * shape[1])
    else:
        step = sum([shape[0] ** k for k in range(len(shape))])
    count = len(range(0, end, step))
    if not count:
        return x
    v = values_for("fill_diagonal", x, value)
    flat = written(reshaped(x, (x.aval.size,)), v if v.aval.size == 1 else resize(v, (count,)), (), (slice(0, end, step),), "set")
    return reshaped(flat, shape)
