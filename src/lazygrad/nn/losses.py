"""Losses of numbers against numbers: regression, probabilities, likelihoods.

In: predictions and targets that broadcast and promote (integers count as float32, float16 is computed in float32). Out: the mean, the
sum, or with `reduction="none"` the loss of every element. All differentiate by every floating argument.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError, ShapeError
from ..functions.composite import clip, fill, scale, xlogy
from ..functions.promotion import P, broadcast, broadcast_shapes, cast, reshaped
from ..functions.table import public
from ..ir.term import Term
from ..lift import Operand
from .operands import both, together

REDUCTIONS = ("none", "mean", "sum")


# ---- the common part ------------------------------------------------------------------------------------------------------

def known(op: str, reduction: str, more: tuple[str, ...] = ()) -> None:
    """Refuses a reduction that there is not."""
    if reduction not in (*REDUCTIONS, *more):
        *first, last = [f'"{r}"' for r in (*REDUCTIONS, *more)]
        raise DataError(op, f"reduction={reduction!r}", "there is no such reduction", f"pass {', '.join(first)} or {last}")


def total(x: Term) -> Term:
    """The sum of all elements."""
    return P.sum(x, axes=tuple(range(x.aval.ndim))) if x.aval.ndim else x


def reduced(op: str, loss: Term, reduction: str, dtype: np.dtype, weights: Term | None = None) -> Term:
    """The losses of all elements, reduced; `weights`: what a mean divides by the sum of, instead of the count."""
    known(op, reduction)
    if reduction != "none":
        over = None if reduction == "sum" else fill(total(loss), loss.aval.size) if weights is None else total(weights)
        loss = total(loss) if over is None else P.div(total(loss), over)
    return cast(loss, dtype)


def several(op: str, *operands: Operand) -> tuple[np.dtype, list[Term | None]]:
    """(the dtype of the result, operands) as `wide` floating numbers of one dtype and shape; None stays None."""
    x, *rest = operands
    dtype, x, rest = together(op, x, *rest)
    shape = broadcast_shapes(op, *[t.aval.shape for t in (x, *rest) if t is not None])
    return dtype, [None if t is None else broadcast(t, shape) for t in (x, *rest)]


def weighted(op: str, loss: Term, weight: Term | None, reduction: str, dtype: np.dtype) -> Term:
    """Losses times weights; their mean is that of a weighted average."""
    return reduced(op, loss if weight is None else P.mul(loss, weight), reduction, dtype, weight)


def positive(op: str, name: str, value: float, zero: bool = False) -> None:
    if not (value > 0 or (zero and value == 0)):
        raise DataError(op, f"{name}={value}", "it is the width of a region", "pass a positive number")


# ---- regression -----------------------------------------------------------------------------------------------------------

@public(space="nn")
def l1_loss(x: Operand, target: Operand, *, reduction: str = "mean", weight: Term | None = None) -> Term:
    """|x - target|. With a `weight` the mean is the weighted average. The gradient at 0 is 0.

    >>> import lazygrad as lg
    >>> lg.nn.l1_loss(lg.asarray([1.0, 5.0]), lg.asarray([0.0, 2.0])).item()
    2.0
    """
    dtype, (x, t, w) = several("l1_loss", x, target, weight)
    return weighted("l1_loss", P.abs(P.sub(x, t)), w, reduction, dtype)


@public(space="nn")
def mse_loss(x: Operand, target: Operand, *, reduction: str = "mean", weight: Term | None = None) -> Term:
    """(x - target)². With a `weight` the mean is the weighted average.

    >>> import lazygrad as lg
    >>> lg.nn.mse_loss(lg.asarray([1.0, 5.0]), lg.asarray([0.0, 2.0])).item()
    5.0
    """
    dtype, (x, t, w) = several("mse_loss", x, target, weight)
    return weighted("mse_loss", P.square(P.sub(x, t)), w, reduction, dtype)


@public(space="nn")
def huber_loss(x: Operand, target: Operand, *, reduction: str = "mean", delta: float = 1.0, weight: Term | None = None) -> Term:
    """d² / 2 where |d| <= delta, else delta * (|d| - delta / 2); d = x - target. A `weight` multiplies; the mean is over the count, as in PyTorch.

    >>> import lazygrad as lg
    >>> lg.nn.huber_loss(lg.asarray([1.0, 3.0]), 0.0, reduction="none").tolist()
    [0.5, 2.5]
    """
    positive("huber_loss", "delta", delta)
    dtype, (x, t, w) = several("huber_loss", x, target, weight)
    d = P.sub(x, t)
    size = P.abs(d)
    edge = fill(d, delta)
    far = scale(P.sub(size, scale(edge, 0.5)), delta)
    loss = P.where(P.le(size, edge), scale(P.square(d), 0.5), far)
    return reduced("huber_loss", loss if w is None else P.mul(loss, w), reduction, dtype)


@public(space="nn")
def smooth_l1_loss(x: Operand, target: Operand, *, reduction: str = "mean", beta: float = 1.0) -> Term:
    """d² / (2 beta) where |d| < beta, else |d| - beta / 2; d = x - target. With beta 0 it is `l1_loss`.

    >>> import lazygrad as lg
    >>> lg.nn.smooth_l1_loss(lg.asarray([1.0, 3.0]), 0.0, reduction="none", beta=2.0).tolist()
    [0.25, 2.0]
    """
    positive("smooth_l1_loss", "beta", beta, zero=True)
    dtype, x, t = both("smooth_l1_loss", x, target)
    d = P.sub(x, t)
    size = P.abs(d)
    loss = size
    if beta:
        loss = P.where(P.lt(size, fill(d, beta)), scale(P.square(d), 0.5 / beta), P.sub(size, fill(d, beta / 2)))
    return reduced("smooth_l1_loss", loss, reduction, dtype)


# ---- probabilities ----------------------------------------------------------------------------------------------------------

def cut_log(p: Term) -> Term:
    """log p, at least -100, with gradient 0 where it is cut."""
    log = P.log(p)
    least = fill(p, -100)
    return P.where(P.lt(log, least), least, log)


@public(space="nn")
def binary_cross_entropy(p: Operand, target: Operand, weight: Term | None = None, *, reduction: str = "mean") -> Term:
    """-(target * log p + (1 - target) * log(1 - p)) of probabilities p; logarithms are cut at -100, so that losses stay finite.

    NaN outside of [0, 1]. From scores, `binary_cross_entropy_with_logits` keeps more digits.

    >>> import lazygrad as lg
    >>> lg.nn.binary_cross_entropy(lg.asarray([0.5, 0.0]), lg.asarray([1.0, 1.0]), reduction="none").value.round(4).tolist()
    [0.6930999755859375, 100.0]
    """
    dtype, (p, t, w) = several("binary_cross_entropy", p, target, weight)
    one = fill(p, 1)
    loss = P.neg(P.add(P.mul(t, cut_log(p)), P.mul(P.sub(one, t), cut_log(P.sub(one, p)))))
    return reduced("binary_cross_entropy", loss if w is None else P.mul(loss, w), reduction, dtype)


@public(space="nn")
def binary_cross_entropy_with_logits(x: Operand, target: Operand, weight: Term | None = None, *, reduction: str = "mean",
                                     pos_weight: Term | None = None) -> Term:
    """`binary_cross_entropy` of sigmoid(x), to full precision for every x. `pos_weight` multiplies the part of the target 1.

    >>> import lazygrad as lg
    >>> lg.nn.binary_cross_entropy_with_logits(lg.asarray([0.0, 1000.0]), lg.asarray([1.0, 0.0]), reduction="none").value.round(4).tolist()
    [0.6930999755859375, 1000.0]
    """
    dtype, (x, t, w, pw) = several("binary_cross_entropy_with_logits", x, target, weight, pos_weight)
    return reduced("binary_cross_entropy_with_logits", by_logits(x, t, w, pw), reduction, dtype)


def by_logits(x: Term, t: Term, weight: Term | None, pos_weight: Term | None = None) -> Term:
    """t softplus(-x) + (1 - t) softplus(x): with s = x or -x, whichever is the wrong side, softplus(s) - min(t, 1 - t) s."""
    one, zero = fill(t, 1), fill(x, 0)
    if pos_weight is not None:
        loss = P.add(P.mul(P.mul(pos_weight, t), P.logaddexp(P.neg(x), zero)), P.mul(P.sub(one, t), P.logaddexp(x, zero)))
    else:
        high = P.ge(t, fill(t, 0.5))
        s = P.where(high, P.neg(x), x)
        loss = P.sub(P.logaddexp(s, zero), P.mul(P.where(high, P.sub(one, t), t), s))
    return loss if weight is None else P.mul(loss, weight)


@public(space="nn")
def kl_div(x: Operand, target: Operand, *, reduction: str = "mean", log_target: bool = False) -> Term:
    """target * (log target - x): x are log-probabilities, target probabilities, or their logarithms with `log_target`.

    0 where the target is 0. `reduction="batchmean"` divides the sum by the first axis: the Kullback-Leibler divergence of a batch.

    >>> import lazygrad as lg
    >>> p = lg.asarray([[0.5, 0.5, 0.0]])
    >>> round(lg.nn.kl_div(lg.log(lg.asarray([[0.25, 0.5, 0.25]])), p, reduction="batchmean").item(), 5)
    0.34657
    """
    known("kl_div", reduction, ("batchmean",))
    dtype, x, t = both("kl_div", x, target)
    zero = fill(t, 0)
    if log_target:
        p = P.exp(t)
        loss = P.where(P.eq(p, zero), zero, P.mul(p, P.sub(t, x)))
    else:
        hole = P.bit_and(P.eq(t, zero), P.isinf(x))
        loss = P.sub(xlogy(t, t), P.mul(t, P.where(hole, zero, x)))
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction, dtype)
    if not loss.aval.ndim:
        raise ShapeError("kl_div", "()", "there is no batch", 'pass (N, ...), or reduction="sum"')
    return reduced("kl_div", scale(loss, 1 / max(loss.aval.shape[0], 1)), "sum", dtype)


# ---- likelihoods ------------------------------------------------------------------------------------------------------------

@public(space="nn")
def poisson_nll_loss(x: Operand, target: Operand, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> Term:
    """exp(x) - target * x, the Poisson likelihood of counts whose rate has the logarithm x; else x - target * log(x + eps) of the rate x.

    `full` adds Stirling's approximation of log(target!) where target > 1.

    >>> import lazygrad as lg
    >>> lg.nn.poisson_nll_loss(lg.asarray([0.0]), lg.asarray([3.0])).item()
    1.0
    """
    dtype, x, t = both("poisson_nll_loss", x, target)
    loss = P.sub(P.exp(x), P.mul(t, x)) if log_input else P.sub(x, P.mul(t, P.log(P.add(x, fill(x, eps)))))
    if full:
        large = P.gt(t, fill(t, 1))
        u = P.where(large, t, fill(t, 1))
        stirling = P.add(P.sub(P.mul(u, P.log(u)), u), scale(P.log(scale(u, 2 * math.pi)), 0.5))
        loss = P.add(loss, P.where(large, stirling, fill(t, 0)))
    return reduced("poisson_nll_loss", loss, reduction, dtype)


@public(space="nn")
def gaussian_nll_loss(x: Operand, target: Operand, var: Operand, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Term:
    """(log v + (x - target)² / v) / 2, v = max(var, eps): normal numbers of mean x and variance `var`.

    `var` broadcasts, or lacks the last axis of x. Where eps takes the place of var, var still gets the gradient at eps, as in PyTorch.
    `full` adds log(2 pi) / 2.

    >>> import lazygrad as lg
    >>> lg.nn.gaussian_nll_loss(lg.asarray([3.0]), lg.asarray([1.0]), lg.asarray([1.0])).item()
    2.0
    """
    if isinstance(var, Term) and isinstance(x, Term) and x.aval.ndim and var.aval.shape == x.aval.shape[:-1]:
        var = reshaped(var, (*var.aval.shape, 1))
    dtype, (x, t, v) = several("gaussian_nll_loss", x, target, var)
    least = fill(v, eps)
    v = P.where(P.lt(v, least), P.add(least, P.sub(v, P.stop_gradient(v))), v)
    loss = scale(P.add(P.log(v), P.div(P.square(P.sub(x, t)), v)), 0.5)
    if full:
        loss = P.add(loss, fill(loss, 0.5 * math.log(2 * math.pi)))
    return reduced("gaussian_nll_loss", loss, reduction, dtype)


# ---- margins -----------------------------------------------------------------------------------------------------------------

def above_zero(x: Term) -> Term:
    """max(x, 0), with gradient 1 at 0 as a clamp has."""
    return clip(x, 0)


@public(space="nn")
def soft_margin_loss(x: Operand, target: Operand, *, reduction: str = "mean") -> Term:
    """log(1 + exp(-target * x)), targets 1 or -1; without overflow.

    >>> import lazygrad as lg
    >>> lg.nn.soft_margin_loss(lg.asarray([1000.0]), lg.asarray([-1.0])).item()
    1000.0
    """
    dtype, x, t = both("soft_margin_loss", x, target)
    return reduced("soft_margin_loss", P.logaddexp(P.neg(P.mul(t, x)), fill(x, 0)), reduction, dtype)


@public(space="nn")
def hinge_embedding_loss(x: Operand, target: Operand, *, margin: float = 1.0, reduction: str = "mean") -> Term:
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import lazygrad as lg
    >>> lg.nn.hinge_embedding_loss(lg.asarray([3.0, 0.25]), lg.asarray([1.0, -1.0]), reduction="none").tolist()
    [3.0, 0.75]
    """
    dtype, x, t = both("hinge_embedding_loss", x, target)
    zero, one = fill(x, 0), fill(x, 1)
    apart = P.where(P.eq(t, one), zero, above_zero(P.sub(fill(x, margin), x)))
    return reduced("hinge_embedding_loss", P.add(apart, P.where(P.eq(t, P.neg(one)), zero, x)), reduction, dtype)


@public(space="nn")
def margin_ranking_loss(x: Operand, y: Operand, target: Operand, *, margin: float = 0.0, reduction: str = "mean") -> Term:
    """max(0, margin - target * (x - y)): target 1 asks for x above y, -1 for y above x.

    >>> import lazygrad as lg
    >>> lg.nn.margin_ranking_loss(lg.asarray([1.0]), lg.asarray([3.0]), lg.asarray([1.0]), margin=0.5).item()
    2.5
    """
    dtype, (x, y, t) = several("margin_ranking_loss", x, y, target)
    return reduced("margin_ranking_loss", above_zero(P.sub(fill(x, margin), P.mul(t, P.sub(x, y)))), reduction, dtype)
