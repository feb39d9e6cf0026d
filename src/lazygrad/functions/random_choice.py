"""Draws from what is given: categories with their logits, elements of an array, orders of it.

In: a key and an array or a number of things. Out: indices, or elements of the array.
"""

from __future__ import annotations

import math
import operator

from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand, operation
from .movement import cut
from .promotion import P, broadcast, cast, one_axis, positive_shape, reshaped
from .random_continuous import minus_log
from .random_keys import drawn
from .random_uniform import open_unit, randint


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


@operation()
def permutation(key: Term, x: Operand, axis: int = 0) -> Term:
    """The slices of x along `axis` in random order; of an integer n, the integers below n.

    >>> import lazygrad as lg
    >>> sorted(lg.random.permutation(lg.random.key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    if not isinstance(x, Term):
        return order_of("permutation", key, operator.index(x))
    k = one_axis("permutation", axis, x.aval.ndim)
    return P.gather(x, order_of("permutation", key, x.aval.shape[k]), axes=(k,), position=k)


def order_of(op: str, key: Term, n: int) -> Term:
    """The integers below n in random order: the order of n random words, ties by the second word."""
    x, y = drawn(op, key, (n,))
    second = P.argsort(y, axis=0, descending=False, stable=True)
    first = P.argsort(P.gather(x, second, axes=(0,), position=0), axis=0, descending=False, stable=True)
    return P.gather(second, first, axes=(0,), position=0)


@operation()
def choice(key: Term, a: Operand, shape: object = (), replace: bool = True, p: Term | None = None, axis: int = 0) -> Term:
    """Elements (slices along `axis`) of `a`, or of the integers below it; with probabilities `p` if given.

    ShapeError where more are asked for than there are and `replace` is false.

    >>> import lazygrad as lg
    >>> lg.random.choice(lg.random.key(0), 3, (4,), p=lg.asarray([0.0, 1.0, 0.0])).tolist()
    [1, 1, 1, 1]
    """
    shape = positive_shape("choice", shape)
    k = 0 if not isinstance(a, Term) else one_axis("choice", axis, a.aval.ndim)
    n = a.aval.shape[k] if isinstance(a, Term) else operator.index(a)
    size = math.prod(shape)
    if not n or (not replace and size > n):
        raise ShapeError("choice", f"{size} of {n}", "there are not as many", "replace=True draws an element more than once")
    if p is not None and p.aval.shape != (n,):
        raise ShapeError("choice", f"p of {p.aval.shape} for {n} elements", "each needs a probability")
    if p is None:
        at = randint.rule(key, shape, 0, n) if replace else reshaped(cut(order_of("choice", key, n), 0, 0, size), shape)
    elif replace:
        at = categorical.rule(key, P.log(p), -1, shape)
    else:
        keyed = P.add(P.log(p), P.neg(P.log(minus_log(open_unit("choice", key, (n,), p.aval.dtype)))))       # the Gumbel top k
        at = reshaped(cut(P.argsort(keyed, axis=0, descending=True, stable=True), 0, 0, size), shape)
    return P.gather(a, at, axes=(k,), position=k) if isinstance(a, Term) else at
