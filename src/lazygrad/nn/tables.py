"""Embedding: rows of a table by integers, and the one-hot rows they stand for."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..errors import DTypeError, IndexingError, ShapeError
from ..functions.composite import fill
from ..functions.promotion import P, broadcast, cast, reshaped
from ..functions.reductions import norm
from ..functions.selection import tensor_of
from ..functions.table import FUNCTIONS, plain, public
from ..ir.term import Term
from .operands import wide


def signed(i: Term) -> Term:
    """Integers as int32 or int64."""
    if i.aval.dtype in (dtypes.int32, dtypes.int64):
        return i
    return P.cast(i, dtype=dtypes.int32 if i.aval.dtype.itemsize < 4 else dtypes.int64)


def numbers(op: str, i: Term, n: int) -> Term:
    """Integers as int32 or int64 where negative ones lie outside of n too."""
    if i.aval.dtype.kind not in "iu":
        raise DTypeError(op, str(i.aval.dtype), "integers are expected", "cast to int64")
    i = signed(i)
    return P.where(P.lt(i, fill(i, 0)), fill(i, n), i)


@public(space="nn")
def embedding(indices: Term, weight: Term, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0) -> Term:
    """The rows of `weight` (n, d) at integers of any shape: (...) -> (..., d).

    The row `padding_idx` gets no gradient. Rows whose `norm_type`-norm exceeds `max_norm` are shortened to it on the way out, by a factor
    without derivative; the weight itself is not changed. IndexError, when it is computed, for integers outside of 0 to n - 1.

    >>> import lazygrad as lg
    >>> w = lg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> y = lg.nn.embedding(lg.asarray([1, 0, 1]), w, padding_idx=0)
    >>> y.backward()
    >>> y.tolist(), w.grad.tolist()
    ([[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [2.0, 2.0]])
    """
    if weight.aval.ndim != 2:
        raise ShapeError("embedding", f"a weight of {weight.aval.shape}", "it is a table", "pass (n, d)")
    n = weight.aval.shape[0]
    i = numbers("embedding", indices, n)
    rows = P.gather(weight, i, axes=(0,), position=0)
    if max_norm is not None:
        size = norm(wide(rows), -1, True, norm_type)
        limit = fill(size, max_norm)
        factor = P.where(P.gt(size, limit), P.div(limit, P.add(size, fill(size, 1e-7))), fill(size, 1))
        rows = P.mul(rows, broadcast(P.stop_gradient(cast(factor, rows.aval.dtype)), rows.aval.shape))
    if padding_idx is None:
        return rows
    if not -n <= padding_idx < n:
        raise IndexingError("embedding", f"padding_idx={padding_idx}", f"the weight has {n} rows", f"use {-n} to {n - 1}")
    padding = P.eq(i, fill(i, padding_idx % n))
    return P.where(broadcast(reshaped(padding, (*i.aval.shape, 1)), rows.aval.shape), P.stop_gradient(rows), rows)


@plain(space="nn")
def one_hot(x: Any, num_classes: int = -1, dtype: Any = None) -> Any:
    """Rows of zeros with a 1 at the class that x names: (...) -> (..., num_classes). float32 by default.

    With `num_classes` -1 there are as many as the largest of x asks for, which computes it.

    >>> import lazygrad as lg
    >>> lg.nn.one_hot(lg.asarray([1, 0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    x = tensor_of(x)
    if num_classes == -1:
        num_classes = x.max().item() + 1 if x.size else 0
    return FUNCTIONS["one_hot"](x, num_classes, dtype)
