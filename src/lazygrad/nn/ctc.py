"""Connectionist temporal classification: the probability of a sequence of labels, summed over all ways to align it with the steps.

The labels stand between blanks, so a sequence of S labels has 2 S + 1 places; a scan over the steps carries the logarithm of the
probability to be at each place (Graves et al. 2006, section 4.1). Derivatives are those of the scan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DataError, DTypeError, ShapeError
from ..functions.composite import fill
from ..functions.movement import cut
from ..functions.promotion import P, broadcast, cast, constant, reshaped
from ..functions.table import FUNCTIONS as F
from ..functions.table import plain
from ..ir.term import Term
from ..lift import operation
from ..tensor import Tensor
from ..transforms import scan
from ..transforms.trace import of_same_graph, tensor_of
from .losses import known, reduced
from .operands import real, wide
from .tables import numbers, signed

OP = "ctc_loss"


@operation(name=OP)
def emissions(log_probs: Term, targets: Term, lengths: Term, blank: int) -> tuple[Term, ...]:
    """(logarithms of the label at each place (T, N, 2 S + 1), 0 or -inf: whether a place can be reached past the blank before it (N, 2 S + 1)).

    Targets beyond their length count as blanks, whatever they are.
    """
    x = wide(real(OP, log_probs))
    (steps, n, classes), s = x.aval.shape, targets.aval.shape[1]
    t, lengths = signed(targets), signed(lengths)
    place = broadcast(P.iota(size=s, dtype=lengths.aval.dtype), (n, s))
    inside = P.lt(place, broadcast(reshaped(lengths, (n, 1)), (n, s)))
    t = P.where(inside, numbers(OP, t, classes), fill(t, blank))
    blanks = constant(blank, (n, s + 1), t.aval.dtype)
    # blank, label, blank, ..., label, blank
    between = P.add(*[P.embed(part, shape=(n, 2 * s + 1), start=(0, start), step=(1, 2)) for part, start in ((blanks, 0), (t, 1))])
    whole = (steps, n, 2 * s + 1)
    row, column = [broadcast(reshaped(P.iota(size=m, dtype=dtypes.int64), shape), whole) for m, shape in ((steps, (steps, 1, 1)), (n, (1, n, 1)))]
    labels = broadcast(reshaped(cast(between, dtypes.int64), (1, n, 2 * s + 1)), whole)
    found = P.gather(x, row, column, labels, axes=(0, 1, 2), position=0)
    # a label may follow another one without a blank; the first has none before it
    before = P.concatenate(constant(blank, (n, 2), t.aval.dtype), cut(between, 1, 0, 2 * s - 1), axis=1) if s else between
    passing = P.bit_and(P.ne(between, before), P.ne(between, fill(between, blank)))
    return found, P.where(passing, constant(0, passing.aval.shape, x.aval.dtype), constant(-math.inf, passing.aval.shape, x.aval.dtype))


@operation(name=OP)
def ended(last: Term, lengths: Term, reduction: str, zero_infinity: bool) -> Term:
    """The loss of every example from the logarithms at its last step: the sum of the last two places."""
    n, places = last.aval.shape
    lengths = signed(lengths)
    double = P.add(lengths, lengths)
    at = broadcast(P.iota(size=places, dtype=double.aval.dtype), last.aval.shape)
    wide_ = broadcast(reshaped(double, (n, 1)), last.aval.shape)
    least = fill(last, -math.inf)

    def one(where: Term) -> Term:
        return P.max(P.where(P.eq(at, where), last, least), axes=(1,))
    loss = P.neg(P.logaddexp(one(wide_), one(P.sub(wide_, fill(wide_, 1)))))
    if zero_infinity:
        loss = P.where(P.isinf(loss), fill(loss, 0), loss)
    if reduction == "mean":
        count = cast(lengths, loss.aval.dtype)
        loss = P.div(loss, P.where(P.lt(count, fill(count, 1)), fill(count, 1), count))
    return reduced(OP, loss, reduction, loss.aval.dtype)


def padded(targets: Any, lengths: Any) -> np.ndarray:
    """Labels one after the other, as rows of one length. Both are computed for that."""
    flat, n = np.asarray(targets), np.asarray(lengths)
    if n.sum() != flat.size:
        raise ShapeError(OP, f"{flat.size} targets with lengths {n.tolist()}", f"the lengths add up to {n.sum()}", "pass as many, or targets (N, S)")
    out = np.zeros((n.size, int(n.max(initial=0))), flat.dtype)
    out[np.arange(out.shape[1]) < n[:, None]] = flat
    return out


@plain(space="nn")
def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """-log of the probability of label sequences, summed over alignments: log_probs (T, N, C) or (T, C), from `log_softmax`.

    `targets` (N, S) padded to one length, or (S,) for one example, or all labels one after the other (sum of the lengths). `input_lengths`
    and `target_lengths` (N,) say how much of each row counts. The mean divides each loss by its number of labels first. Where no
    alignment exists (too few steps) the loss is inf; `zero_infinity` makes it 0, with gradient 0. The gradient is that by `log_probs` itself.

    >>> import lazygrad as lg
    >>> log_probs = lg.log(lg.asarray([[0.25, 0.75], [0.5, 0.5]]))              # one label, 1, in two steps: 1-, -1, 11
    >>> round(lg.exp(-lg.nn.ctc_loss(log_probs, lg.asarray([1]), 2, 1)).item(), 6)
    0.875
    """
    known(OP, reduction)
    graph = of_same_graph(log_probs, targets, input_lengths, target_lengths)
    x, t, steps, lengths = [tensor_of(v, OP, graph) for v in (log_probs, targets, input_lengths, target_lengths)]
    if x.ndim not in (2, 3):
        raise ShapeError(OP, f"log_probs {x.shape}", "steps of classes are expected", "pass (T, N, C) or (T, C)")
    alone = x.ndim == 2
    if alone:
        x, t = x[:, None], t.reshape((1, -1))
    n, classes = x.shape[1:]
    if not 0 <= blank < classes:
        raise DataError(OP, f"blank={blank}", f"there are {classes} classes", f"use 0 to {classes - 1}")
    for name, v in (("targets", t), ("input_lengths", steps), ("target_lengths", lengths)):
        if v.dtype.kind not in "iu":
            raise DTypeError(OP, f"{name} of {v.dtype}", "integers are expected", "cast to int64")
    steps, lengths = [v.reshape((-1,)) for v in (steps, lengths)]
    if t.ndim == 1:
        t = tensor_of(padded(t, lengths), OP, graph)
    if t.ndim != 2 or {t.shape[0], *steps.shape, *lengths.shape} != {n}:
        raise ShapeError(OP, f"log_probs {x.shape}, targets {t.shape}, lengths {steps.shape} and {lengths.shape}", f"there are {n} examples", "pass targets (N, S), lengths (N,)")
    found, passing = emissions(x, t, lengths, blank)
    loss = ended(alignments(found, passing, steps), lengths, reduction, zero_infinity).astype(x.dtype if x.dtype.kind == "f" else found.dtype)
    return loss.reshape(()) if alone else loss


def alignments(found: Tensor, passing: Tensor, steps: Tensor) -> Tensor:
    """The logarithms of the probabilities to be at each place (N, 2 S + 1) after the steps of each example."""
    count, n, places = found.shape
    first = F["where"](F["arange"](places) < 1, 0.0, -math.inf).astype(found.dtype)
    start = F["broadcast_to"](first, (n, places))              # before the first step: at the first place, or just past it
    edge = F["full"]((n, 1), -math.inf, dtype=found.dtype)

    def moved(a: Tensor, k: int) -> Tensor:
        return F["concatenate"]([*[edge] * min(k, places), a[:, :max(places - k, 0)]], axis=1)

    def step(a: Tensor, x: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        i, here = x
        reached = F["logaddexp"](F["logaddexp"](a, moved(a, 1)), moved(a, 2) + passing) + here
        return F["where"]((i < steps)[:, None], reached, a), None
    return scan(step, start, (F["arange"](count), found))[0]
