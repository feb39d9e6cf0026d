"""Sets of values: different values, unions, intersections, differences. They decide shapes, so they evaluate their operands.

In: tensors and arrays, flattened. Out: 1-d tensors in rising order, taken from the operands: derivatives flow to the elements that were
taken (the first of equal ones).
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from ..tensor import Tensor
from .promotion import one_axis
from .selection import beside, tensor_of, weak
from .table import FUNCTIONS, plain


def taken(x: Tensor, index: np.ndarray) -> Tensor:
    """The elements of the flattened x at positions that are known."""
    return FUNCTIONS["take"](FUNCTIONS["ravel"](x), beside(x, index))


def found(x: Tensor, axis: int | None, equal_nan: bool) -> dict[str, np.ndarray]:
    """Where the different values of x are first, which of them each element is, and how often they occur."""
    values, first, inverse, counts = np.unique(np.asarray(x), True, True, True, axis=axis, equal_nan=equal_nan)
    return {"values": values, "indices": first, "inverse_indices": inverse.reshape(x.shape) if axis is None else inverse, "counts": counts}


# ---- the Array API's four -----------------------------------------------------------------------------------------------

UniqueAll = namedtuple("UniqueAll", ("values", "indices", "inverse_indices", "counts"))
UniqueCounts = namedtuple("UniqueCounts", ("values", "counts"))
UniqueInverse = namedtuple("UniqueInverse", ("values", "inverse_indices"))


def uniques(x: object, kind: type) -> tuple[Tensor, ...]:
    x = tensor_of(x)
    parts = found(x, None, False)
    return kind(*[taken(x, parts["indices"]) if w == "values" else beside(x, parts[w]) for w in kind._fields])


@plain()
def unique_all(x):
    """The different values of x in rising order, where each is first, which of them each element is, and their counts. Evaluates x.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.unique_all(lg.asarray([3, 1, 3]))]
    [[1, 3], [1, 0], [1, 0, 1], [1, 2]]
    """
    return uniques(x, UniqueAll)


@plain()
def unique_counts(x):
    """The different values of x in rising order and how often each occurs. Evaluates x.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.unique_counts(lg.asarray([3, 1, 3]))]
    [[1, 3], [1, 2]]
    """
    return uniques(x, UniqueCounts)


@plain()
def unique_inverse(x):
    """The different values of x in rising order and which of them each element is. Evaluates x.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.unique_inverse(lg.asarray([3, 1, 3]))]
    [[1, 3], [1, 0, 1]]
    """
    return uniques(x, UniqueInverse)


@plain()
def unique_values(x):
    """The different values of x in rising order; every NaN is one of its own. Evaluates x.

    >>> import lazygrad as lg
    >>> lg.unique_values(lg.asarray([3, 1, 3])).tolist()
    [1, 3]
    """
    x = tensor_of(x)
    return taken(x, found(x, None, False)["indices"])


# ---- NumPy's ----------------------------------------------------------------------------------------------------------

@plain()
def unique(x, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    """The different values of x (slices along `axis`) in rising order; with them, if asked for, where each is first, which of them
    each element is, and how often each occurs. Evaluates x.

    >>> import lazygrad as lg
    >>> lg.unique(lg.asarray([3, 1, 3])).tolist()
    [1, 3]
    """
    x = tensor_of(x)
    k = None if axis is None else one_axis("unique", axis, x.ndim)
    if not (x.requires_grad or return_index or return_inverse or return_counts):
        return beside(x, np.unique(np.asarray(x), axis=k, equal_nan=equal_nan))            # no place is needed
    parts = found(x, k, equal_nan)
    values = taken(x, parts["indices"]) if k is None else FUNCTIONS["take"](x, beside(x, parts["indices"]), k)
    asked = {"indices": return_index, "inverse_indices": return_inverse, "counts": return_counts}
    more = [beside(x, parts[name]) for name, wanted in asked.items() if wanted]
    return (values, *more) if more else values


def two(op: str, x: object, y: object) -> tuple[Tensor, Tensor]:
    """Two operands, flat and of one dtype."""
    x = tensor_of(x) if isinstance(x, Tensor) or not isinstance(y, Tensor) else weak(op, y, x)
    y = weak(op, x, y)
    dtype = FUNCTIONS["result_type"](x, y)
    return tuple([FUNCTIONS["astype"](FUNCTIONS["ravel"](v), dtype) for v in (x, y)])


@plain()
def union1d(x, y):
    """The values that are in x or in y. Evaluates both.

    >>> import lazygrad as lg
    >>> lg.union1d(lg.asarray([3, 1]), lg.asarray([2, 3])).tolist()
    [1, 2, 3]
    """
    return unique(FUNCTIONS["concatenate"](two("union1d", x, y)))


@plain()
def intersect1d(x, y, assume_unique=False, return_indices=False):
    """The values that are in x and in y; their first positions in both, if `return_indices`. Evaluates both.

    >>> import lazygrad as lg
    >>> lg.intersect1d(lg.asarray([3, 1]), lg.asarray([2, 3])).tolist()
    [3]
    """
    x, y = two("intersect1d", x, y)
    _, i, j = np.intersect1d(np.asarray(x), np.asarray(y), assume_unique, True)
    values = taken(x, i)
    return (values, beside(x, i), beside(x, j)) if return_indices else values


@plain()
def setdiff1d(x, y, assume_unique=False):
    """The values that are in x and not in y (in x's order if `assume_unique`). Evaluates both.

    >>> import lazygrad as lg
    >>> lg.setdiff1d(lg.asarray([3, 1]), lg.asarray([2, 3])).tolist()
    [1]
    """
    x, y = two("setdiff1d", x, y)
    values = np.asarray(x)
    index = np.arange(x.size) if assume_unique else np.unique(values, return_index=True)[1]
    return taken(x, index[~np.isin(values[index], np.asarray(y))])


@plain()
def setxor1d(x, y, assume_unique=False):
    """The values that are in x or in y but not in both. Evaluates both.

    >>> import lazygrad as lg
    >>> lg.setxor1d(lg.asarray([3, 1]), lg.asarray([2, 3])).tolist()
    [1, 2]
    """
    x, y = [v if assume_unique else unique(v) for v in two("setxor1d", x, y)]
    both = FUNCTIONS["concatenate"]([x, y])
    _, first, counts = np.unique(np.asarray(both), return_index=True, return_counts=True)
    return taken(both, first[counts == 1])
