"""Draws from what is given: categories with their logits, elements of an array, orders of it.

In: a key and an array or a number of things. Out: indices, or elements of the array.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import operation
from ..tensor import Tensor, adopt, graph_of
from .composite import fill
from .movement import cut
from .promotion import P, Shape, broadcast, cast, constant, one_axis, positive_shape, reshaped
from .random_continuous import minus_log
from .random_keys import drawn
from .random_uniform import floating, open_unit, randint, unit, wide
from .selection import take_along_axis


@operation()
def categorical(key: Term, logits: Term, axis: int = -1, shape: object = None) -> Term:
    """Indices (int64) along `axis` with probabilities softmax(logits), by the Gumbel maximum. `shape`: more draws, in front.

    >>> import lazygrad as lg
    >>> lg.random.categorical(lg.random.key(0), lg.asarray([[0.0, 100.0], [100.0, 0.0]])).tolist()
    [1, 0]
    """
    if logits.aval.dtype.kind != "f" or not logits.aval.ndim:
        raise ShapeError("categorical", str(logits.aval), "floating logits with an axis are expected", "pass log probabilities")
    k = one_axis("categorical", axis, logits.aval.ndim)
    lead = () if shape is None else positive_shape("categorical", shape)
    whole = (*lead, *logits.aval.shape)
    u = open_unit("categorical", key, whole, logits.aval.dtype)
    noise = cast(P.neg(P.log(minus_log(u))), logits.aval.dtype)
    return P.argmax(P.add(broadcast(logits, whole), noise), axis=k + len(lead))


def order_of(op: str, key: Term, shape: Shape, axis: int = 0) -> Term:
    """The integers below shape[axis] along `axis`, each vector in a random order: that of random numbers of 64 bits."""
    x, y = [cast(w, dtypes.uint64) for w in drawn(op, key, shape)]
    z = P.bit_or(P.shl(x, constant(32, shape, dtypes.uint64)), y)
    return P.argsort(z, axis=axis, descending=False, stable=False)


@operation(name="permutation")
def _order(key: Term, n: object) -> Term:
    count = operator.index(n)
    if count < 0:
        raise ShapeError("permutation", f"{count}", "there are no integers below it", "pass 0 or more, or an array")
    return order_of("permutation", key, (count,))


@operation(name="permutation of elements")
def _shuffled(key: Term, x: Term, axis: int, independent: bool) -> Term:
    k = one_axis("permutation", axis, x.aval.ndim)
    if not independent:
        return P.gather(x, order_of("permutation", key, (x.aval.shape[k],)), axes=(k,), position=k)
    return take_along_axis(x, order_of("permutation", key, x.aval.shape, k), k)


def permutation(key: Tensor, x: Any, axis: int = 0, independent: bool = False) -> Tensor:
    """The slices of x along `axis` in random order; of an integer n, the integers below n.

    `independent`: every vector along `axis` in an order of its own. Differentiates by x.

    >>> import lazygrad as lg
    >>> sorted(lg.random.permutation(lg.random.key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return _order(key, x) if hasattr(x, "__index__") and not getattr(x, "ndim", 0) else _shuffled(key, x, axis, bool(independent))


def shuffle(key: Tensor, x: Tensor, axis: int = 0) -> None:
    """Puts the slices of x along `axis` in random order, as NumPy does: x has another value from here on (as by `x[...] = y`).

    >>> import lazygrad as lg
    >>> x = lg.asarray([1.0, 2.0, 3.0])
    >>> lg.random.shuffle(lg.random.key(0), x)
    >>> sorted(x.tolist())
    [1.0, 2.0, 3.0]
    """
    x[...] = permutation(key, x, axis)


@operation(name="choice")
def _chosen(key: Term, n: object, shape: object, replace: bool, p: Term | None) -> Term:
    shape, count = positive_shape("choice", shape), operator.index(n)
    size = math.prod(shape)
    if (count <= 0 and size) or (not replace and size > count):
        raise ShapeError("choice", f"{size} of {count}", "there are not as many", "replace=True draws an element more than once")
    if p is not None and p.aval.shape != (count,):
        raise ShapeError("choice", f"p of {p.aval.shape} for {count} elements", "each needs a probability")
    if p is None:
        if replace:
            return randint.rule(key, shape, 0, max(count, 1))
        return reshaped(cut(order_of("choice", key, (count,)), 0, 0, size), shape)
    p = P.stop_gradient(cast(p, wide(floating("choice", None, p))))
    if replace:
        ends = P.cumsum(p, axis=0, reverse=False)
        total = broadcast(reshaped(cut(ends, 0, count - 1, 1), ()), shape)
        x = P.mul(total, unit("choice", key, shape, p.aval.dtype))
        return P.searchsorted(ends, P.minimum(x, P.nextafter(total, fill(total, 0))), side="right")         # (the product may round up to all)
    keyed = P.add(P.log(p), P.neg(P.log(minus_log(open_unit("choice", key, (count,), p.aval.dtype)))))       # the Gumbel top k
    return reshaped(cut(P.argsort(keyed, axis=0, descending=True, stable=True), 0, 0, size), shape)


@operation(name="choice of elements")
def _taken(a: Term, at: Term, axis: int) -> Term:
    return P.gather(a, at, axes=(axis,), position=axis)


def choice(key: Tensor, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0) -> Tensor:
    """Elements (slices along `axis`) of `a`, or of the integers below it; with probabilities `p` if given, which are divided by their sum.

    ShapeError where more are asked for than there are and `replace` is false. Differentiates by `a`.

    >>> import lazygrad as lg
    >>> lg.random.choice(lg.random.key(0), 3, (4,), p=lg.asarray([0.0, 1.0, 0.0])).tolist()
    [1, 1, 1, 1]
    """
    if hasattr(a, "__index__") and not getattr(a, "ndim", 0):
        return _chosen(key, a, shape, bool(replace), p)
    a = a if isinstance(a, Tensor) else adopt(a, graph_of(key), "choice")
    k = one_axis("choice", axis, a.ndim)
    return _taken(a, _chosen(key, a.shape[k], shape, bool(replace), p), k)
