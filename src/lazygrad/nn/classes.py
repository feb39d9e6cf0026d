"""Losses of scores against classes: one class of several (as an integer or as probabilities), or several at once.

Scores are (N, C, d1, ...), or (C,) for one example; classes are axis 1 (0 of one example) unless `axis` says otherwise. Integers outside
of 0 to C - 1 are an IndexError when they are computed.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import DataError, DTypeError, ShapeError
from ..functions.composite import fill, scale
from ..functions.promotion import P, broadcast, cast, constant, one_axis, reshaped
from ..functions.reductions import shift
from ..functions.table import public
from ..ir.term import Term
from ..lift import Operand
from .losses import above_zero, by_logits, known, reduced, several, total
from .operands import together
from .tables import numbers, signed

# ---- the common part ------------------------------------------------------------------------------------------------------

def class_axis(op: str, x: Term, axis: int | None) -> int:
    """The checked axis of the classes."""
    if not x.aval.ndim:
        raise ShapeError(op, "()", "there is no axis of classes", "pass (C,) or (N, C, ...)")
    k = one_axis(op, min(1, x.aval.ndim - 1) if axis is None else axis, x.aval.ndim)
    if x.aval.shape[k] == 0:
        raise ShapeError(op, str(x.aval.shape), "there are no classes", f"axis {k} has them")
    return k


def without(shape: tuple[int, ...], k: int) -> tuple[int, ...]:
    return (*shape[:k], *shape[k + 1:])


def along(v: Term, k: int, shape: tuple[int, ...]) -> Term:
    """Numbers for each class (C,) over a whole shape."""
    return broadcast(reshaped(v, tuple([n if a == k else 1 for a, n in enumerate(shape)])), shape)


class Labels:
    """Integer targets beside scores: `hot` (scores' shape: the class named), `index` (checked), and which targets are ignored.

    `hot` compares the targets as they are, so that it costs nothing to make again; `only` looks whether there are such classes.
    """

    def __init__(self, op: str, x: Term, target: Term, k: int, ignore_index: int | None = None) -> None:
        n, shape = x.aval.shape[k], x.aval.shape
        if target.aval.shape != without(shape, k):
            raise ShapeError(op, f"scores {shape} and classes {target.aval.shape}", f"classes have the scores' shape without axis {k}", f"pass classes {without(shape, k)}")
        if target.aval.dtype.kind not in "iu":
            raise DTypeError(op, f"classes of {target.aval.dtype}", "integers name classes", "cast to int64")
        t = signed(target)
        place = reshaped(cast(t, dtypes.int32), (*shape[:k], 1, *shape[k + 1:]))          # as wide as a float32
        self.hot, self.k = P.eq(broadcast(place, shape), along(P.iota(size=n, dtype=dtypes.int32), k, shape)), k
        none = None if ignore_index is None else fill(t, ignore_index)
        # two tests that are one the other's opposite: the total of weights shares nothing with the losses, and is there before them
        self.ignored, self.counted = (None, None) if none is None else (P.eq(t, none), P.ne(t, none))
        line = P.iota(size=n, dtype=t.aval.dtype)
        self.index = P.gather(line, numbers(op, t if none is None else P.where(self.ignored, fill(t, 0), t), n), axes=(0,), position=0)      # itself

    def pick(self, x: Term) -> Term:
        """The score of the class named; 0 of a class that there is not."""
        return P.sum(P.where(self.hot, x, fill(x, 0)), axes=(self.k,))

    def weights(self, weight: Term | None, dtype: np.dtype) -> Term:
        """The weight of each target, 0 where it is ignored."""
        one = constant(1, self.index.aval.shape, dtype) if weight is None else P.gather(weight, self.index, axes=(0,), position=0)
        return one if self.counted is None else P.where(self.counted, one, fill(one, 0))

    def only(self, loss: Term) -> Term:
        """The losses, 0 where they are ignored; an IndexError for classes that there are not."""
        loss = loss if self.ignored is None else P.where(self.ignored, fill(loss, 0), loss)
        # 0, but for classes that there are not: added, so that derivatives do not read it
        return P.add(loss, cast(P.lt(self.index, fill(self.index, 0)), loss.aval.dtype))


def class_weight(op: str, weight: Term | None, n: int) -> None:
    if weight is not None and weight.aval.shape != (n,):
        raise ShapeError(op, f"a weight of {weight.aval.shape}", f"there are {n} classes", f"pass shape ({n},)")


def relative(x: Term, k: int, op: str) -> tuple[Term, Term, Term]:
    """(y, top, L): x less its largest entry, that one, and the logarithm of the sum of exp(y): y - L is log_softmax(x)."""
    if x.aval.size == 0:
        none = P.sum(x, axes=(k,))
        return x, none, none
    top = shift(x, k, op)
    y = P.sub(x, broadcast(top, x.aval.shape))
    return y, reshaped(top, without(x.aval.shape, k)), P.log(P.sum(P.exp(y), axes=(k,)))


# ---- one class of several ---------------------------------------------------------------------------------------------------

@public(space="nn")
def cross_entropy(logits: Term, targets: Term, weight: Term | None = None, *, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0, axis: int | None = None) -> Term:
    """-log softmax(logits) at the class named by integers, or against probabilities of the logits' shape (floating targets).

    logits (N, C, d1, ...) with targets (N, d1, ...), or (C,) with (); `axis` if the classes are elsewhere (-1 for (N, T, C)). `weight`
    (C,) multiplies the loss of a class, and the mean is then the weighted average. Targets `ignore_index` count for nothing; the mean of
    none is NaN. `label_smoothing` e takes (1 - e) target + e / C. Where a logit is -inf the class is impossible: gradient 0.

    >>> import lazygrad as lg
    >>> logits = lg.asarray([[0.0, 0.0], [1000.0, 0.0]])
    >>> lg.nn.cross_entropy(logits, lg.asarray([0, 1]), reduction="none").value.round(4).tolist()
    [0.6930999755859375, 1000.0]
    >>> lg.nn.cross_entropy(logits, lg.asarray([[0.5, 0.5], [1.0, 0.0]]), reduction="sum").value.round(4).item()
    0.6930999755859375
    """
    known("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise DataError("cross_entropy", f"label_smoothing={label_smoothing}", "it is a part of 1", "pass a number of 0 to 1")
    if targets.aval.dtype.kind in "iu":
        dtype, x, (w,) = together("cross_entropy", logits, weight)
        t = targets
    else:
        dtype, x, (t, w) = together("cross_entropy", logits, targets, weight)
    k = class_axis("cross_entropy", x, axis)
    n, shape = x.aval.shape[k], x.aval.shape
    class_weight("cross_entropy", w, n)
    if t is targets and targets.aval.dtype.kind in "iu":
        found = Labels("cross_entropy", x, t, k, ignore_index)
        mine = found.weights(w, x.aval.dtype)
        y, top, log = relative(x, k, "cross_entropy")
        loss = P.sub(log, P.sub(found.pick(x), top))          # not of y: x is picked from while the largest is looked for
        if w is not None:
            loss = P.mul(loss, mine)
        if label_smoothing:
            loss = P.add(scale(loss, 1 - label_smoothing), scale(spread(y, log, w, k), label_smoothing / n))
        return reduced("cross_entropy", found.only(loss), reduction, dtype, mine)
    if t.aval.shape != shape:
        raise ShapeError("cross_entropy", f"logits {shape} and probabilities {t.aval.shape}", "their shapes differ", "integers name classes, floating numbers are probabilities of every class")
    y, _, log = relative(x, k, "cross_entropy")
    q = P.add(scale(t, 1 - label_smoothing), fill(t, label_smoothing / n)) if label_smoothing else t
    impossible = P.bit_and(P.eq(q, fill(q, 0)), P.isinf(y))
    q = q if w is None else P.mul(q, along(w, k, shape))
    log = broadcast(reshaped(log, (*shape[:k], 1, *shape[k + 1:])), shape)
    loss = P.sum(P.mul(q, P.sub(log, P.where(impossible, fill(y, 0), y))), axes=(k,))
    return reduced("cross_entropy", loss, reduction, dtype)


def spread(y: Term, log: Term, weight: Term | None, k: int) -> Term:
    """The sum over classes of weight * (log - y): the loss against equal probabilities, times their number."""
    shape = y.aval.shape
    if weight is None:
        return P.sub(scale(log, shape[k]), P.sum(y, axes=(k,)))
    whole = broadcast(total(weight), log.aval.shape)
    return P.sub(P.mul(log, whole), P.sum(P.mul(y, along(weight, k, shape)), axes=(k,)))


@public(space="nn")
def nll_loss(log_probs: Term, targets: Term, weight: Term | None = None, *, ignore_index: int = -100, reduction: str = "mean", axis: int | None = None) -> Term:
    """-log_probs at the class named by integers; shapes, `weight`, `ignore_index` and `axis` as in `cross_entropy`.

    >>> import lazygrad as lg
    >>> lg.nn.nll_loss(lg.asarray([[-1.0, -2.0], [-3.0, -4.0]]), lg.asarray([0, 1])).item()
    2.5
    """
    dtype, x, (w,) = together("nll_loss", log_probs, weight)
    k = class_axis("nll_loss", x, axis)
    class_weight("nll_loss", w, x.aval.shape[k])
    found = Labels("nll_loss", x, targets, k, ignore_index)
    mine = found.weights(w, x.aval.dtype)
    loss = P.neg(found.pick(x))
    return reduced("nll_loss", found.only(loss if w is None else P.mul(loss, mine)), reduction, dtype, mine)


@public(space="nn")
def multi_margin_loss(x: Term, target: Term, *, p: int = 1, margin: float = 1.0, weight: Term | None = None, reduction: str = "mean") -> Term:
    """The sum over other classes of max(0, margin - x[target] + x[i]) ** p, divided by C. x (N, C) or (C,), targets (N,) or ().

    >>> import lazygrad as lg
    >>> lg.nn.multi_margin_loss(lg.asarray([[1.0, 0.5, 2.0, -4.0]]), lg.asarray([0])).item()
    0.625
    """
    if p not in (1, 2):
        raise DataError("multi_margin_loss", f"p={p}", "it is a power of 1 or 2", "pass 1 or 2")
    dtype, x, (w,) = together("multi_margin_loss", x, weight)
    k, shape = rows("multi_margin_loss", x), x.aval.shape
    class_weight("multi_margin_loss", w, shape[k])
    found = Labels("multi_margin_loss", x, target, k)
    mine = broadcast(reshaped(found.pick(x), (*shape[:k], 1)), shape)
    apart = above_zero(P.add(P.sub(fill(x, margin), mine), x))
    apart = P.where(found.hot, fill(x, 0), P.square(apart) if p == 2 else apart)
    loss = found.only(scale(P.sum(apart, axes=(k,)), 1 / shape[k]))
    loss = loss if w is None else P.mul(loss, found.weights(w, x.aval.dtype))
    return reduced("multi_margin_loss", loss, reduction, dtype)


def rows(op: str, x: Term) -> int:
    """The last axis, of (N, C) or (C,)."""
    if x.aval.ndim not in (1, 2):
        raise ShapeError(op, str(x.aval.shape), "scores of classes are expected", "pass (N, C) or (C,)")
    return class_axis(op, x, None)


# ---- several classes at once --------------------------------------------------------------------------------------------------

@public(space="nn")
def multilabel_margin_loss(x: Term, target: Term, *, reduction: str = "mean") -> Term:
    """The sum of max(0, 1 - x[j] + x[i]) over target classes j and other classes i, divided by C.

    x (N, C) or (C,); target of the same shape: the integers in front of the first negative one name classes.

    >>> import lazygrad as lg
    >>> lg.nn.multilabel_margin_loss(lg.asarray([0.0, 2.0]), lg.asarray([0, -1])).item()
    1.5
    """
    dtype, x, _ = together("multilabel_margin_loss", x)
    k, shape = rows("multilabel_margin_loss", x), x.aval.shape
    if target.aval.shape != shape or target.aval.dtype.kind != "i":
        raise ShapeError("multilabel_margin_loss", f"{shape} and a target {target.aval}", "signed integers of the same shape name the classes", "fill up with -1")
    zero = fill(target, 0)
    counted = P.eq(P.cumsum(cast(P.lt(target, zero), dtypes.int32), axis=k, reverse=False), P.cast(zero, dtype=dtypes.int32))
    # (..., j, i): classes of the target by classes
    square = (*shape, shape[k])
    column, row = lambda t: broadcast(reshaped(t, (*shape, 1)), square), lambda t: broadcast(reshaped(t, (*shape[:k], 1, shape[k])), square)
    found = Labels("multilabel_margin_loss", row(x), P.where(counted, target, zero), k + 1)
    named = P.bit_and(found.hot, column(counted))
    others = P.bit_not(P.any(named, axes=(k,)))
    mine = found.only(found.pick(row(x)))
    apart = above_zero(P.add(P.sub(fill(row(x), 1), column(mine)), row(x)))
    apart = P.where(P.bit_and(column(counted), row(others)), apart, fill(apart, 0))
    return reduced("multilabel_margin_loss", scale(P.sum(apart, axes=(k, k + 1)), 1 / shape[k]), reduction, dtype)


@public(space="nn")
def multilabel_soft_margin_loss(x: Operand, target: Operand, weight: Term | None = None, *, reduction: str = "mean") -> Term:
    """The mean over classes, the last axis, of `binary_cross_entropy_with_logits`; `weight` multiplies each class.

    >>> import lazygrad as lg
    >>> round(lg.nn.multilabel_soft_margin_loss(lg.asarray([[0.0, 0.0]]), lg.asarray([[1.0, 0.0]])).item(), 4)
    0.6931
    """
    dtype, (x, t, w) = several("multilabel_soft_margin_loss", x, target, weight)
    k = x.aval.ndim - 1
    one_axis("multilabel_soft_margin_loss", -1, x.aval.ndim)
    loss = P.sum(by_logits(x, t, w), axes=(k,))
    return reduced("multilabel_soft_margin_loss", P.div(loss, fill(loss, x.aval.shape[k])), reduction, dtype)
