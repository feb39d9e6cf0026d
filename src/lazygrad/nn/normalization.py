"""Normalizations: numbers brought to mean 0 and variance 1 over axes, scaled and moved by weights; vectors brought to length 1.

In: a tensor (float16 is computed in float32), weights that promote with it. Out: a tensor of its shape. Each is one composite of
primitives, which the compiler makes one kernel over rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..errors import DataError, ShapeError
from ..functions.composite import fill, scale
from ..functions.movement import cut
from ..functions.padding import surrounded
from ..functions.promotion import P, as_shape, broadcast, cast, many_axes, one_axis, reshaped
from ..functions.reductions import norm
from ..functions.table import public
from ..ir.term import Term
from ..lift import Operand
from .operands import both, together

Axes = tuple[int, ...]


class NormResult(NamedTuple):
    """A normalized tensor, and the running statistics after it."""

    output: object
    running_mean: object
    running_var: object


# ---- the common part ------------------------------------------------------------------------------------------------------

def mean(x: Term, axes: Axes) -> Term:
    """The mean over sorted axes, which stay with size 1."""
    kept = tuple([1 if k in axes else n for k, n in enumerate(x.aval.shape)])
    n = math.prod([x.aval.shape[k] for k in axes])
    total = P.sum(x, axes=axes)
    return reshaped(P.div(total, fill(total, n)), kept)


def moments(x: Term, axes: Axes) -> tuple[Term, Term, Term]:
    """(x less its mean, the mean, the variance) over axes, which stay with size 1."""
    m = mean(x, axes)
    apart = P.sub(x, broadcast(m, x.aval.shape))
    return apart, m, mean(P.square(apart), axes)


def divided(apart: Term, variance: Term, eps: float) -> Term:
    """apart / sqrt(variance + eps)."""
    return P.mul(apart, broadcast(P.rsqrt(P.add(variance, fill(variance, eps))), apart.aval.shape))


def affine(y: Term, weight: Term | None, bias: Term | None) -> Term:
    """y * weight + bias, both of shapes that broadcast to y's."""
    y = y if weight is None else P.mul(y, broadcast(weight, y.aval.shape))
    return y if bias is None else P.add(y, broadcast(bias, y.aval.shape))


def trailing(op: str, x: Term, normalized_shape: object, *weights: Term | None) -> Axes:
    """The last axes of x that have `normalized_shape`: without one, the shape of the weights, or the last axis."""
    shapes = [w.aval.shape for w in weights if w is not None]
    shape = as_shape(op, normalized_shape) if normalized_shape is not None else shapes[0] if shapes else x.aval.shape[-1:]
    if not shape or x.aval.shape[-len(shape):] != shape:
        raise ShapeError(op, f"{x.aval.shape} over {shape}", "its last axes are others", "pass normalized_shape, or weights of the shape of the last axes")
    if any([s != shape for s in shapes]):
        raise ShapeError(op, f"weights of {' and '.join(map(str, shapes))}", f"the shape that is normalized is {shape}", "pass weights of that shape")
    return tuple(range(x.aval.ndim - len(shape), x.aval.ndim))


def channels(op: str, x: Term, **given: Term | None) -> list[Term | None]:
    """Numbers for each channel (axis 1) in a shape that broadcasts to x's."""
    if x.aval.ndim < 2:
        raise ShapeError(op, str(x.aval.shape), "there is no axis of channels", "pass (N, C, ...)")
    c = x.aval.shape[1]
    for name, t in given.items():
        if t is not None and t.aval.shape != (c,):
            raise ShapeError(op, f"{name} of {t.aval.shape}", f"there are {c} channels on axis 1 of {x.aval.shape}", f"pass shape ({c},)")
    return [None if t is None else reshaped(t, (1, c, *[1] * (x.aval.ndim - 2))) for t in given.values()]


# ---- over the last axes -----------------------------------------------------------------------------------------------------

@public(space="nn")
def layer_norm(x: Term, weight: Term | None = None, bias: Term | None = None, *, eps: float = 1e-5, normalized_shape: object = None) -> Term:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axes: those of the weight's shape, or of `normalized_shape`, else one.

    >>> import lazygrad as lg
    >>> lg.nn.layer_norm(lg.asarray([[1.0, 3.0], [10.0, 30.0]]), eps=0.0).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    dtype, x, (w, b) = together("layer_norm", x, weight, bias)
    axes = trailing("layer_norm", x, normalized_shape, w, b)
    apart, _, variance = moments(x, axes)
    return cast(affine(divided(apart, variance, eps), w, b), dtype)


@public(space="nn")
def rms_norm(x: Term, weight: Term | None = None, *, eps: float | None = None, normalized_shape: object = None) -> Term:
    """x / sqrt(mean(x²) + eps) * weight, over the same axes as `layer_norm`; eps: the smallest step of the dtype at 1 by default.

    >>> import lazygrad as lg
    >>> lg.nn.rms_norm(lg.asarray([3.0, 3.0]), eps=0.0).tolist()
    [1.0, 1.0]
    """
    dtype, x, (w,) = together("rms_norm", x, weight)
    axes = trailing("rms_norm", x, normalized_shape, w)
    eps = float(np.finfo(dtype).eps) if eps is None else eps
    return cast(affine(divided(x, mean(P.square(x), axes), eps), w, None), dtype)


# ---- over batches and channels ------------------------------------------------------------------------------------------------

def moved(running: Term, found: Term, momentum: float) -> Term:
    """Running statistics after a batch, without derivative."""
    return P.stop_gradient(P.add(scale(running, 1 - momentum), scale(reshaped(found, running.aval.shape), momentum)))


def statistics(op: str, running_mean: Term | None, running_var: Term | None, needed: bool) -> bool:
    """Whether there are running statistics: both or none."""
    if (running_mean is None) != (running_var is None) or (needed and running_mean is None):
        raise DataError(op, "no running_mean and running_var" if needed and running_mean is None else "one of running_mean and running_var",
                        "it has to be normalized by something", "pass both, or train")
    return running_mean is not None


@public(space="nn", result=NormResult)
def batch_norm(x: Term, running_mean: Term | None = None, running_var: Term | None = None, weight: Term | None = None, bias: Term | None = None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Term | tuple[Term, Term, Term]:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel, axis 1 of x (N, C, ...); statistics and weights (C,).

    With `training` mean and variance are the batch's; where running ones are given, they are returned as they are after it: (output,
    running_mean, running_var), moved by `momentum` towards the batch's mean and unbiased variance, without derivative. Nothing is
    changed in place. Without `training` the running ones are used, and the output alone is returned.

    >>> import lazygrad as lg
    >>> x = lg.asarray([[1.0], [3.0]])
    >>> y, mean, var = lg.nn.batch_norm(x, lg.zeros(1), lg.ones(1), training=True, momentum=0.5, eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist(), lg.nn.batch_norm(x, mean, var, eps=0.0).value.round(3).tolist()
    ([[-1.0], [1.0]], [1.0], [1.5], [[0.0], [1.6330000162124634]])
    """
    given = statistics("batch_norm", running_mean, running_var, not training)
    dtype, x, (rm, rv, w, b) = together("batch_norm", x, running_mean, running_var, weight, bias)
    m0, v0, w, b = channels("batch_norm", x, running_mean=rm, running_var=rv, weight=w, bias=b)
    if not training:
        return cast(affine(divided(P.sub(x, broadcast(m0, x.aval.shape)), v0, eps), w, b), dtype)
    axes = (0, *range(2, x.aval.ndim))
    n = math.prod([x.aval.shape[k] for k in axes])
    if n < 2:
        raise ShapeError("batch_norm", f"{x.aval.shape} in training", "a channel of one number has no variance", "pass a larger batch")
    apart, m, v = moments(x, axes)
    y = cast(affine(divided(apart, v, eps), w, b), dtype)
    return (y, cast(moved(rm, m, momentum), dtype), cast(moved(rv, scale(v, n / (n - 1)), momentum), dtype)) if given else y


@public(space="nn", result=NormResult)
def instance_norm(x: Term, running_mean: Term | None = None, running_var: Term | None = None, weight: Term | None = None, bias: Term | None = None,
                  use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Term | tuple[Term, Term, Term]:
    """`batch_norm` of each example for itself: x (N, C, ...) over its axes from 2 on.

    With `use_input_stats` and running statistics given, (output, running_mean, running_var) is returned: those moved towards the means
    over the batch. Without `use_input_stats` the running ones are used.

    >>> import lazygrad as lg
    >>> lg.nn.instance_norm(lg.asarray([[[1.0, 3.0], [5.0, 5.0]]])).value.round(3).tolist()
    [[[-1.0, 1.0], [0.0, 0.0]]]
    """
    given = statistics("instance_norm", running_mean, running_var, not use_input_stats)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    dtype, x, (rm, rv, w, b) = together("instance_norm", x, running_mean, running_var, weight, bias)
    _, _, w, b = channels("instance_norm", x, running_mean=rm, running_var=rv, weight=w, bias=b)
    axes = tuple(range(2, x.aval.ndim))
    n = math.prod([x.aval.shape[k] for k in axes])
    if n < 2:
        raise ShapeError("instance_norm", str(x.aval.shape), "a channel of one number has no variance", "pass (N, C, ...) with more than one number a channel")
    apart, m, v = moments(x, axes)
    y = cast(affine(divided(apart, v, eps), w, b), dtype)
    if not given:
        return y
    return y, cast(moved(rm, mean(m, (0,)), momentum), dtype), cast(moved(rv, scale(mean(v, (0,)), n / (n - 1)), momentum), dtype)


@public(space="nn")
def group_norm(x: Term, num_groups: int, weight: Term | None = None, bias: Term | None = None, eps: float = 1e-5) -> Term:
    """(x - mean) / sqrt(variance + eps) of groups of neighbouring channels of each example; x (N, C, ...), weights (C,).

    >>> import lazygrad as lg
    >>> lg.nn.group_norm(lg.asarray([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    dtype, x, (w, b) = together("group_norm", x, weight, bias)
    w, b = channels("group_norm", x, weight=w, bias=b)
    n, c, *rest = x.aval.shape
    if num_groups < 1 or c % num_groups:
        raise ShapeError("group_norm", f"{c} channels in {num_groups} groups", "groups have equally many channels", "pass a divisor")
    inside = reshaped(x, (n, num_groups, c // num_groups * math.prod(rest)))
    apart, _, variance = moments(inside, (2,))
    return cast(affine(reshaped(divided(apart, variance, eps), x.aval.shape), w, b), dtype)


@public(space="nn")
def local_response_norm(x: Term, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Term:
    """x / (k + alpha * mean of x² over `size` neighbouring channels) ** beta; x (N, C, ...), zeros beyond the first and last channel.

    >>> import lazygrad as lg
    >>> lg.nn.local_response_norm(lg.asarray([[1.0, 2.0]]), 1, alpha=1.0, beta=1.0).tolist()
    [[0.5, 0.4000000059604645]]
    """
    if size < 1:
        raise DataError("local_response_norm", f"size={size}", "it is a number of channels", "pass 1 or more")
    dtype, x, _ = together("local_response_norm", x)
    channels("local_response_norm", x)
    c, before = x.aval.shape[1], size // 2
    square = surrounded(P.square(x), ((0, 0), (before, size - 1 - before), *[(0, 0)] * (x.aval.ndim - 2)))
    total = cut(square, 1, 0, c)
    for i in range(1, size):
        total = P.add(total, cut(square, 1, i, c))
    below = P.add(scale(total, alpha / size), fill(x, k))
    return cast(P.div(x, P.pow(below, fill(x, beta))), dtype)


# ---- lengths and angles ---------------------------------------------------------------------------------------------------------

def length(x: Term, p: float, axis: object, eps: float) -> Term:
    """The p-norm over `axis`, which stays with size 1, and at least eps."""
    size = norm(x, axis, True, p)
    small = fill(size, eps)
    return P.where(P.lt(size, small), small, size)


@public(space="nn")
def normalize(x: Term, p: float = 2.0, axis: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Term:
    """x / max(norm, eps), the p-norm over `axis`: vectors of length 1.

    >>> import lazygrad as lg
    >>> lg.nn.normalize(lg.asarray([[3.0, 4.0], [0.0, 0.0]])).value.round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    dtype, x, _ = together("normalize", x)
    many_axes("normalize", axis, x.aval.ndim)
    return cast(P.div(x, broadcast(length(x, p, axis, eps), x.aval.shape)), dtype)


@public(space="nn")
def cosine_similarity(x: Operand, y: Operand, axis: int = 1, eps: float = 1e-8) -> Term:
    """The cosine of the angle between x and y along `axis`: sum(x * y) / (max(|x|, eps) * max(|y|, eps)). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.nn.cosine_similarity(lg.asarray([[1.0, 0.0]]), lg.asarray([[3.0, 3.0]])).value.round(4).tolist()
    [0.707099974155426]
    """
    dtype, x, y = both("cosine_similarity", x, y)
    k = one_axis("cosine_similarity", axis, x.aval.ndim)
    scaled = [P.div(t, broadcast(length(t, 2, k, eps), t.aval.shape)) for t in (x, y)]
    return cast(P.sum(P.mul(*scaled), axes=(k,)), dtype)


@public(space="nn")
def pairwise_distance(x: Operand, y: Operand, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Term:
    """The p-norm of x - y + eps over the last axis. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.nn.pairwise_distance(lg.asarray([[0.0, 0.0]]), lg.asarray([[3.0, 4.0]]), eps=0.0).tolist()
    [5.0]
    """
    dtype, x, y = both("pairwise_distance", x, y)
    d = P.sub(x, y)
    one_axis("pairwise_distance", -1, d.aval.ndim)
    return cast(norm(P.add(d, fill(d, eps)), -1, keepdims, p), dtype)

