"""Taking, putting, searching and sorting: elements chosen by index arrays along an axis, or by their values.

In: tensors, integer index tensors, axes. Out: tensors. Functions whose result's shape depends on data evaluate their
operand at once, and say so.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..data import to_array
from ..errors import DTypeError, IndexingError, OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..tensor import Tensor, adopt, graph_of, holds_tensors
from .indexing import fitted
from .movement import cut
from .promotion import P, alike, broadcast, broadcast_shapes, cast, constant, one_axis, reshaped
from .table import FUNCTIONS, plain, public

# ---- taking and putting along axes --------------------------------------------------------------------------------------------------

def integers(op: str, i: Term) -> Term:
    if i.aval.dtype.kind not in "iu":
        raise IndexingError(op, f"an index array of {i.aval.dtype}", "indices are integers", "cast it to int64")
    return i if i.aval.dtype in (dtypes.int32, dtypes.int64) else P.cast(i, dtype=dtypes.int64)


MODES = ("raise", "wrap", "clip")


def bounded(op: str, i: Term, n: int, mode: str) -> Term:
    """Indices into n elements by NumPy's `mode`: out of range is an error when it is computed, wraps round, or is the nearest end."""
    if mode not in MODES:
        raise OptionError(op, f"mode={mode!r}", "there is no such mode", 'pass "raise", "wrap" or "clip"')
    i = integers(op, i)
    if mode == "wrap":
        return P.remainder(i, constant(max(n, 1), i.aval.shape, i.aval.dtype))
    if mode == "clip":
        return P.minimum(P.maximum(i, constant(0, i.aval.shape, i.aval.dtype)), constant(max(n - 1, 0), i.aval.shape, i.aval.dtype))
    return i


@public(method=True)
def take(x: Term, indices: Term, axis: int | None = None, mode: str = "raise") -> Term:
    """The slices of x at integer `indices` along `axis` (elements of the flattened x without one).

    IndexingError for indices outside when it is computed; `mode` "wrap" and "clip" allow them.

    >>> import lazygrad as lg
    >>> lg.take(lg.asarray([10, 20, 30]), lg.asarray([2, 0])).tolist()
    [30, 10]
    """
    x = reshaped(x, (x.aval.size,)) if axis is None else x
    k = 0 if axis is None else one_axis("take", axis, x.aval.ndim)
    return P.gather(x, bounded("take", indices, x.aval.shape[k], mode), axes=(k,), position=k)


def coordinates(op: str, x: Term, indices: Term, axis: int) -> tuple[tuple[Term, ...], int]:
    """Index arrays for every axis: `indices` along `axis`, the position itself along the others."""
    k = one_axis(op, axis, x.aval.ndim)
    shape = indices.aval.shape
    if len(shape) != x.aval.ndim:
        raise ShapeError(op, f"{x.aval.shape} and indices of {shape}", "they need as many axes", "reshape the indices")
    i = cast(integers(op, indices), dtypes.int64)
    out = []
    for j, n in enumerate(shape):
        line = P.iota(size=n, dtype=dtypes.int64)
        out.append(i if j == k else broadcast(reshaped(line, tuple([n if m == j else 1 for m in range(len(shape))])), shape))
    return tuple(out), k


def matched(op: str, x: Term, indices: Term, axis: int) -> tuple[Term, Term]:
    """x and indices broadcast against each other in every axis but one."""
    if indices.aval.ndim != x.aval.ndim:
        raise ShapeError(op, f"{x.aval.shape} and indices of {indices.aval.shape}", "they need as many axes", "reshape the indices")
    k = one_axis(op, axis, x.aval.ndim)
    a, b = x.aval.shape, indices.aval.shape
    shape = broadcast_shapes(op, (*a[:k], 1, *a[k + 1:]), (*b[:k], 1, *b[k + 1:]))
    return broadcast(x, (*shape[:k], a[k], *shape[k + 1:])), broadcast(indices, (*shape[:k], b[k], *shape[k + 1:]))


@public(method=True)
def take_along_axis(x: Term, indices: Term, axis: int = -1) -> Term:
    """x[..., indices[..., i, ...], ...]: for every line along `axis` its own indices. The other axes broadcast.

    >>> import lazygrad as lg
    >>> lg.take_along_axis(lg.asarray([[1, 2], [3, 4]]), lg.asarray([[1], [0]]), 1).tolist()
    [[2], [3]]
    """
    x, indices = matched("take_along_axis", x, indices, axis)
    return torch_gather("take_along_axis", x, axis, indices)


def torch_gather(op: str, x: Term, axis: int, indices: Term) -> Term:
    if indices.aval.size == 0:
        return constant(0, indices.aval.shape, x.aval.dtype)
    where_, _ = coordinates(op, x, indices, axis)
    return P.gather(x, *where_, axes=tuple(range(x.aval.ndim)), position=0)


@public(method=True)
def gather(x: Term, axis: int, index: Term) -> Term:
    """PyTorch's gather: out[i][j] = x[index[i][j]][j] for axis 0. The result has the shape of `index`.

    >>> import lazygrad as lg
    >>> lg.gather(lg.asarray([[1, 2], [3, 4]]), 0, lg.asarray([[1, 0]])).tolist()
    [[3, 2]]
    """
    return torch_gather("gather", x, axis, index)


def put(op: str, x: Term, axis: int, indices: Term, value: Term | complex, prim) -> Term:
    v = fitted(value, x, indices.aval.shape)
    if indices.aval.size == 0:
        return x
    where_, _ = coordinates(op, x, indices, axis)
    return prim(x, *where_, v, axes=tuple(range(x.aval.ndim)), position=0)


@public(method=True)
def put_along_axis(x: Term, indices: Term, values: Operand, axis: int = -1) -> Term:
    """x with `values` written where `take_along_axis` reads; a new tensor.

    >>> import lazygrad as lg
    >>> lg.put_along_axis(lg.asarray([[1, 2], [3, 4]]), lg.asarray([[1], [0]]), 9, 1).tolist()
    [[1, 9], [9, 4]]
    """
    k = one_axis("put_along_axis", axis, x.aval.ndim)
    shape = (*x.aval.shape[:k], indices.aval.shape[k] if indices.aval.ndim > k else 0, *x.aval.shape[k + 1:])
    return put("put_along_axis", x, axis, broadcast(indices, broadcast_shapes("put_along_axis", indices.aval.shape, shape)), values, P.scatter_set)


@public(method=True)
def scatter(x: Term, axis: int, index: Term, src: Operand) -> Term:
    """PyTorch's scatter: out[index[i][j]][j] = src[i][j] for axis 0; a new tensor.

    >>> import lazygrad as lg
    >>> lg.scatter(lg.zeros((3,)), 0, lg.asarray([2, 0]), 1.0).tolist()
    [1.0, 0.0, 1.0]
    """
    return put("scatter", x, axis, index, src, P.scatter_set)


@public(method=True)
def scatter_add(x: Term, axis: int, index: Term, src: Operand) -> Term:
    """PyTorch's scatter_add: out[index[i][j]][j] += src[i][j] for axis 0; a new tensor.

    >>> import lazygrad as lg
    >>> lg.scatter_add(lg.zeros((3,)), 0, lg.asarray([2, 2]), 1.0).tolist()
    [0.0, 0.0, 2.0]
    """
    return put("scatter_add", x, axis, index, src, P.scatter_add)


# ---- functions whose shape depends on data: they evaluate ---------------------------------------------------------------------------------

def tensor_of(x: object) -> Tensor:
    return x if isinstance(x, Tensor) else FUNCTIONS["positive"](x)


def beside(x: Tensor, array: np.ndarray) -> Tensor:
    """An array as a tensor of x's graph, on x's device."""
    return adopt(array, graph_of(x), "indices")


def weak(op: str, x: Tensor, given: object) -> Tensor:
    """Data that stands beside x: Python's floats, in lists too, take x's dtype if that is floating, as single numbers do."""
    mine = isinstance(given, list | tuple | float) and x.dtype.kind in "fc" and not holds_tensors((given,))
    if mine and to_array(given, None, op).dtype == dtypes.DEFAULT_FLOAT:
        given = np.asarray(given, x.dtype)
    return given if isinstance(given, Tensor) else adopt(given, graph_of(x), op)


@plain()
def nonzero(x):
    """The positions of the elements that are not zero: one int64 array for every axis. Evaluates x.

    >>> import lazygrad as lg
    >>> [i.tolist() for i in lg.nonzero(lg.asarray([0, 3, 4]))]
    [[1, 2]]
    """
    x = tensor_of(x)
    if not x.ndim:
        raise ShapeError("nonzero", "()", "a scalar has no positions", "use atleast_1d")
    return tuple([beside(x, i) for i in np.asarray(x).nonzero()])


@plain()
def argwhere(x):
    """The positions of the elements that are not zero, as rows (n, ndim). Evaluates x.

    >>> import lazygrad as lg
    >>> lg.argwhere(lg.asarray([0, 3, 4])).tolist()
    [[1], [2]]
    """
    x = tensor_of(x)
    return beside(x, np.argwhere(np.asarray(x)))


@plain()
def compress(condition, x, axis=None):
    """The slices of x along `axis` (elements of the flattened x without one) where `condition` holds. Evaluates it.

    >>> import lazygrad as lg
    >>> lg.compress([True, False, True], lg.asarray([1, 2, 3])).tolist()
    [1, 3]
    """
    return FUNCTIONS["take"](x, np.asarray(condition, bool).nonzero()[0], axis)


def compressed(x, condition, axis=None):
    """`compress` as a method: the slices of x along `axis` where the condition holds.

    >>> import lazygrad as lg
    >>> lg.asarray([1, 2, 3]).compress([True, False, True]).tolist()
    [1, 3]
    """
    return compress(condition, x, axis)


Tensor.compress, Tensor.nonzero = compressed, nonzero


# ---- order --------------------------------------------------------------------------------------------------------------------------------

def order(op: str, x: Term, axis: int | None) -> tuple[Term, int]:
    if x.aval.ndim == 0 or axis is None:
        return reshaped(x, (x.aval.size,)), 0
    return x, one_axis(op, axis, x.aval.ndim)


@public(method=True)
def sort(x: Term, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Term:
    """x in rising (or falling) order along `axis`; flattened first if it is None. NaN counts as larger than all.

    >>> import lazygrad as lg
    >>> lg.sort(lg.asarray([3, 1, 2])).tolist()
    [1, 2, 3]
    """
    y, k = order("sort", x, axis)
    out = P.sort(y, axis=k, descending=descending)
    return reshaped(out, x.aval.shape) if x.aval.ndim == 0 and axis is not None else out


@public(method=True)
def argsort(x: Term, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Term:
    """The positions (int64) that sort x along `axis`; equal elements keep their order.

    >>> import lazygrad as lg
    >>> lg.argsort(lg.asarray([3, 1, 2])).tolist()
    [1, 2, 0]
    """
    y, k = order("argsort", x, axis)
    out = P.argsort(y, axis=k, descending=descending, stable=stable)
    return reshaped(out, x.aval.shape) if x.aval.ndim == 0 and axis is not None else out


@public(method=True)
def topk(x: Term, k: int, axis: int = -1, largest: bool = True) -> tuple[Term, Term]:
    """The k largest (or smallest) elements along `axis` in order, and their positions.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.topk(lg.asarray([3, 1, 2]), 2)]
    [[3, 2], [0, 2]]
    """
    a = one_axis("topk", axis, x.aval.ndim)
    if not 0 <= k <= x.aval.shape[a]:
        raise ShapeError("topk", f"k={k}", f"axis {a} has {x.aval.shape[a]} elements", "ask for fewer")
    positions = cut(P.argsort(x, axis=a, descending=largest, stable=True), a, 0, k)
    return torch_gather("topk", x, a, positions), positions


@public(method=True)
def searchsorted(x: Term, values: Operand, side: str = "left", sorter: Term | None = None) -> Term:
    """Where `values` would stand in the rising 1-d x: the int64 positions before ("left") or after equal elements.

    `sorter`: the positions that put x into rising order, where it is not (argsort(x)).

    >>> import lazygrad as lg
    >>> lg.searchsorted(lg.asarray([1, 3, 5]), lg.asarray([3, 4])).tolist()
    [1, 2]
    """
    if x.aval.ndim != 1:
        raise ShapeError("searchsorted", str(x.aval.shape), "it must be 1-d", "search its rows one by one")
    if sorter is not None:
        if sorter.aval.shape != x.aval.shape:
            raise ShapeError("searchsorted", f"{x.aval.shape} with a sorter of {sorter.aval.shape}", "it needs a position for every element", "pass argsort(x)")
        x = P.gather(x, integers("searchsorted", sorter), axes=(0,), position=0)
    if side not in ("left", "right"):
        raise DTypeError("searchsorted", f"side={side!r}", "there is no such side", 'pass "left" or "right"')
    a, b = alike("searchsorted", (x, values))
    return P.searchsorted(a, b, side=side)

