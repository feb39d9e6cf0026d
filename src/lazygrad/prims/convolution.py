"""Convolution: sums of products over windows, in any number of spatial axes; its derivatives are convolutions again.

    out[n, g o, i] = Σ over c and k of x[n, g c, (i * stride + k * dilation - low) / expand] * w[g o, c, k]

In: x (N, groups * C, *sizes) and w (groups * O, C, *taps) of one dtype. Out: (N, groups * O, *count). A position outside of x, or
between its elements (`expand`), counts as 0; any `low` and `count` will do, so padding, cropping and transposed convolution are this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from . import reduction as R
from .base import Convolution, Multilinear, Prim
from .leaf import filled

Shape = tuple[int, ...]


def _conv_aval(x: Aval, w: Aval, *, stride: Shape, dilation: Shape, expand: Shape, low: Shape, count: Shape, groups: int) -> Aval:
    came = f"{x.shape} with weights {w.shape}"
    if x.dtype != w.dtype:
        raise DTypeError("conv", f"{x.dtype} with weights of {w.dtype}", "the dtypes differ", "cast one of them")
    if x.dtype.kind == "b":
        raise DTypeError("conv", "bool with weights of bool", "bool has no product", "cast to an integer or floating-point dtype")
    n = len(count)
    if x.ndim != n + 2 or w.ndim != n + 2 or not len(stride) == len(dilation) == len(expand) == len(low) == n:
        raise ShapeError("conv", came, f"both need {n + 2} axes, and there must be {n} strides, dilations and paddings")
    if groups < 1 or x.shape[1] != groups * w.shape[1] or w.shape[0] % groups:
        raise ShapeError("conv", f"{came} in {groups} groups", f"{x.shape[1]} channels are not {groups} times {w.shape[1]}")
    if any([m < 1 for m in (*stride, *dilation, *expand)]) or any([m < 0 for m in count]):
        raise ShapeError("conv", f"stride {stride}, dilation {dilation}, count {count}", "steps are positive and counts not negative")
    return aval((x.shape[0], w.shape[0], *count), x.dtype)


# ---- meaning --------------------------------------------------------------------------------------------------------------

def _meetings(size: int, taps: int, count: int, stride: int, dilation: int, expand: int, low: int) -> np.ndarray:
    """position[i, k] in x along one axis, -1 where there is none."""
    at = np.arange(count)[:, None] * stride + np.arange(taps) * dilation - low
    return np.where((at % expand == 0) & (at >= 0) & (at < size * expand), at // expand, -1)


def _pairs(tables: Sequence[np.ndarray], by_tap: bool) -> Iterator[tuple[Shape, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """For every tap (every position of the result, if not `by_tap`): the positions of the result (the taps) that it meets, and where in x."""
    lines = [t.T if by_tap else t for t in tables]
    for at in product(*[range(len(line)) for line in lines]):
        rows = [line[i] for line, i in zip(lines, at, strict=True)]
        met = [np.flatnonzero(row >= 0) for row in rows]
        yield at, np.ix_(*met), np.ix_(*[row[m] for row, m in zip(rows, met, strict=True)])


def _conv_numpy(x: np.ndarray, w: np.ndarray, *, stride: Shape, dilation: Shape, expand: Shape, low: Shape, count: Shape, groups: int) -> np.ndarray:
    dtype = x.dtype
    if dtype == np.float16:                      # summed in float32, rounded once
        x, w = x.astype(np.float32), w.astype(np.float32)
    (n, _, *sizes), (o, c, *taps) = x.shape, w.shape
    x, w = x.reshape(n, groups, c, *sizes), w.reshape(groups, o // groups, c, *taps)
    out = np.zeros((n, groups, o // groups, *count), x.dtype)
    tables = [_meetings(*row) for row in zip(sizes, taps, count, stride, dilation, expand, low, strict=True)]
    by_tap = math.prod(taps) <= math.prod(count)
    for at, met, where in _pairs(tables, by_tap) if out.size and x.size and w.size else ():
        here = x[(..., *where)]                   # (n, groups, c, *m)
        flat = here.reshape(*here.shape[:3], -1)
        if by_tap:
            out[(..., *met)] += (w[(..., *at)] @ flat).reshape(n, groups, o // groups, *here.shape[3:])
        else:
            out[(..., *at)] = np.einsum("ngcm,gocm->ngo", flat, w[(..., *met)].reshape(groups, o // groups, c, -1), optimize=True)
    return out.reshape(n, o, *count).astype(dtype, copy=False)


# ---- in simpler primitives --------------------------------------------------------------------------------------------------

def _products(out: Term, x: Term, w: Term, *, stride: Shape, dilation: Shape, expand: Shape, low: Shape, count: Shape, groups: int) -> Term:
    """The sum of the products of windows and weights: one kernel, nothing of the size of all windows is ever stored."""
    if x.aval.dtype == np.float16:
        wide = conv(*[E.cast(a, dtype=np.dtype("float32")) for a in (x, w)], **out.keywords)
        return E.cast(wide, dtype=x.aval.dtype)
    (n, _, *sizes), (o, c, *taps) = x.aval.shape, w.aval.shape
    d, ones = len(count), (1,) * len(count)
    near = M.reshape(x, shape=(n, groups, 1, c, *sizes, *ones))
    near = M.shear(M.broadcast_to(near, shape=(n, groups, 1, c, *sizes, *taps)), step=stride, by=dilation,
                   start=tuple([-m for m in low]), every=expand, count=count)
    whole = (n, groups, o // groups, c, *count, *taps)
    far = M.reshape(w, shape=(1, groups, o // groups, c, *ones, *taps))
    terms = E.mul(M.broadcast_to(near, shape=whole), M.broadcast_to(far, shape=whole))
    return M.reshape(R.sum(terms, axes=(3, *range(4 + d, 4 + 2 * d))), shape=out.aval.shape)


# ---- derivatives and batches --------------------------------------------------------------------------------------------------

def exchanged(w: Term, groups: int) -> Term:
    """Weights (groups * O, C, *taps) as (groups * C, O, *taps), their taps from the last to the first."""
    o, c, *taps = w.aval.shape
    n = len(taps)
    turned = M.permute(M.reshape(w, shape=(groups, o // groups, c, *taps)), axes=(0, 2, 1, *range(3, 3 + n)))
    turned = M.reshape(turned, shape=(groups * c, o // groups, *taps))
    return M.slice_(turned, start=(0, 0, *[k - 1 for k in taps]), step=(1, 1, *[-1] * n), shape=turned.aval.shape)


def _conv_transpose(ct: Term, out: Term, x: Term, w: Term, *, stride: Shape, dilation: Shape, expand: Shape, low: Shape, count: Shape,
                    groups: int) -> tuple[Term, Term]:
    (n, _, *sizes), (_, c, *taps) = x.aval.shape, w.aval.shape
    rest = tuple(range(3, 3 + len(taps)))
    # x̄ = c̄ * w turned round: i stride = j expand + k' dilation - ((taps - 1) dilation - low), k' = taps - 1 - k
    back = tuple([(k - 1) * d - m for k, d, m in zip(taps, dilation, low, strict=True)])
    x_ct = conv(ct, exchanged(w, groups), stride=expand, dilation=dilation, expand=stride, low=back, count=tuple(sizes), groups=groups)
    # w̄: channels are the examples, and the cotangent is the weights; stride and dilation change places
    channels = M.permute(M.reshape(x, shape=(n, groups, c, *sizes)), axes=(2, 1, 0, *rest))
    channels = M.reshape(channels, shape=(c, groups * n, *sizes))
    swap = (1, 0, *range(2, 2 + len(taps)))
    w_ct = conv(channels, M.permute(ct, axes=swap), stride=dilation, dilation=stride, expand=expand, low=low, count=tuple(taps), groups=groups)
    return x_ct, M.permute(w_ct, axes=swap)


def _conv_batch(m: int, flags: tuple[bool, ...], t: Term, args: Sequence[Term]) -> Term:
    """Examples of x are more examples; examples of w are more channels of the result, or more groups where x has them too."""
    x, w = args
    static = t.keywords
    groups, (n, o, *count) = static["groups"], t.aval.shape
    if not m:
        return filled(aval((0, *t.aval.shape), t.aval.dtype), 0)
    if not flags[1]:
        many = conv(M.reshape(x, shape=(m * n, *x.aval.shape[2:])), w, **static)
        return M.reshape(many, shape=(m, n, o, *count))
    rest = w.aval.shape[2:]
    if flags[0]:
        wide = M.permute(x, axes=(1, 0, *range(2, x.aval.ndim)))
        wide = M.reshape(wide, shape=(n, m * x.aval.shape[2], *x.aval.shape[3:]))
        out = conv(wide, M.reshape(w, shape=(m * o, *rest)), **static | {"groups": m * groups})
        return M.permute(M.reshape(out, shape=(n, m, o, *count)), axes=(1, 0, *range(2, 3 + len(count))))
    apart = M.permute(M.reshape(w, shape=(m, groups, o // groups, *rest)), axes=(1, 0, *range(2, 3 + len(rest))))
    out = conv(x, M.reshape(apart, shape=(m * o, *rest)), **static)
    out = M.permute(M.reshape(out, shape=(n, groups, m, o // groups, *count)), axes=(2, 0, 1, *range(3, 4 + len(count))))
    return M.reshape(out, shape=(m, n, o, *count))


conv = Prim("conv", _conv_numpy, _conv_aval, Convolution(_products), Multilinear(_conv_transpose),
            names=("stride", "dilation", "expand", "low", "count", "groups"), batching=_conv_batch)
