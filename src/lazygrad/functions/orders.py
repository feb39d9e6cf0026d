"""Partial orders and orders by several keys, under NumPy's and PyTorch's names.

In: tensors and axes. Out: elements in another order, to which derivatives flow, or int64 positions. A partition is a full sort: any
order of the elements before and after the chosen ones is a partition too.
"""

from __future__ import annotations

import operator

import numpy as np

from .. import dtypes
from ..errors import IndexingError, ShapeError
from ..ir.term import Term
from ..lift import Terms
from ..tensor import Tensor
from .movement import cut
from .promotion import P, as_term, cast, constant, inexact, one_axis, reshaped
from .reductions import kept
from .selection import argsort, nonzero, order, sort, tensor_of, torch_gather
from .table import FUNCTIONS, deferred, plain, public


def ranks(op: str, x: Term, kth: object, axis: int | None) -> None:
    """Checks the positions that a partition is asked for."""
    n = x.aval.size if axis is None or not x.aval.ndim else x.aval.shape[one_axis(op, axis, x.aval.ndim)]
    for k in kth if isinstance(kth, tuple) else (kth,):
        if not -n <= operator.index(k) < n:
            raise IndexingError(op, f"kth={k}", f"there are {n} elements", f"use {-n} to {n - 1}" if n else "")


@public(method=True)
def partition(x: Term, kth: int | tuple[int, ...], axis: int | None = -1) -> Term:
    """x with the elements of rank `kth` in their places along `axis`, smaller ones before and larger ones after them; flattened if None.

    >>> import lazygrad as lg
    >>> lg.partition(lg.asarray([3, 1, 2]), 1)[1].item()
    2
    """
    ranks("partition", x, kth, axis)
    return sort(x, axis)


@public(method=True)
def argpartition(x: Term, kth: int | tuple[int, ...], axis: int | None = -1) -> Term:
    """The positions (int64) that `partition` takes the elements from.

    >>> import lazygrad as lg
    >>> lg.argpartition(lg.asarray([3, 1, 2]), 1)[1].item()
    2
    """
    ranks("argpartition", x, kth, axis)
    return argsort(x, axis)


@public(method=True)
def kthvalue(x: Term, k: int, axis: int = -1, keepdims: bool = False) -> tuple[Term, Term]:
    """The k-th smallest element along `axis` (from 1, as in PyTorch), and its position.

    >>> import lazygrad as lg
    >>> [part.item() for part in lg.kthvalue(lg.asarray([3, 1, 2]), 2)]
    [2, 2]
    """
    y, a = order("kthvalue", x, axis)
    if not 1 <= k <= y.aval.shape[a]:
        raise ShapeError("kthvalue", f"k={k}", f"there are {y.aval.shape[a]} elements", "count from 1")
    at = cut(P.argsort(y, axis=a, descending=False, stable=True), a, k - 1, 1)
    value = torch_gather("kthvalue", y, a, at)
    shape = tuple([n for j, n in enumerate(y.aval.shape) if j != a])
    return tuple([kept(reshaped(v, shape if x.aval.ndim else ()), x, (a,) if x.aval.ndim else (), keepdims) for v in (value, at)])


def by_keys(keys: Terms, axis: int) -> Term:
    keys = tuple([as_term("lexsort", k) for k in keys])
    if not keys:
        raise ShapeError("lexsort", "no keys", "at least one is needed", "pass a list of arrays")
    shape = keys[0].aval.shape
    for key in keys:
        if key.aval.shape != shape:
            raise ShapeError("lexsort", f"keys of {shape} and {key.aval.shape}", "the shapes differ", "broadcast them first")
    if not shape:
        return constant(0, (), dtypes.int64)
    k = one_axis("lexsort", axis, len(shape))
    out = P.argsort(keys[0], axis=k, descending=False, stable=True)
    for key in keys[1:]:                       # by the more important key, equal ones as they stand
        again = P.argsort(torch_gather("lexsort", key, k, out), axis=k, descending=False, stable=True)
        out = torch_gather("lexsort", out, k, again)
    return out


BY_KEYS = deferred(by_keys)


@plain()
def lexsort(keys, axis=-1):
    """The positions (int64) that sort by several keys (a list, or the rows of an array), of which the last is the most important.

    >>> import lazygrad as lg
    >>> lg.lexsort([lg.asarray([2, 1, 0]), lg.asarray([0, 1, 0])]).tolist()
    [2, 0, 1]
    """
    if isinstance(keys, np.ndarray):
        keys = tensor_of(keys)
    return BY_KEYS.function()(FUNCTIONS["unstack"](keys) if isinstance(keys, Tensor) else keys, axis)


@public()
def sort_complex(x: Term) -> Term:
    """x along its last axis in rising order of real parts, then imaginary parts, as complex numbers.

    >>> import lazygrad as lg
    >>> lg.sort_complex(lg.asarray([2.0, 1.0])).tolist()
    [(1+0j), (2+0j)]
    """
    x = inexact(x)
    return sort(x if x.aval.dtype.kind == "c" else cast(x, dtypes.complex128 if x.aval.dtype == dtypes.float64 else dtypes.complex64))


@plain()
def flatnonzero(x):
    """The positions of the elements of the flattened x that are not zero. Evaluates x.

    >>> import lazygrad as lg
    >>> lg.flatnonzero(lg.asarray([[0, 3], [4, 0]])).tolist()
    [1, 2]
    """
    return nonzero(FUNCTIONS["ravel"](tensor_of(x)))[0]
