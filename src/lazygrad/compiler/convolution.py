"""Convolution: which convolutions become steps of their own, and how their operands lie in memory; what the others become.

In: a conv Term. Out: simpler Terms (`decomposed`), the Terms whose buffers the step reads, the step. A convolution with steps between the
elements of x falls into one convolution for each remainder of the positions, so a step has none. Where there are no steps, large ones are matrix
products with windows of blocks of examples, never of more than BLOCK bytes at a time; the rest are kernels that sum products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

from ..ir.program import Caps, Conv
from ..ir.record import record
from ..ir.term import Term
from ..prims import elementwise as E
from ..prims import movement as M
from ..prims.call import behind
from ..prims.contraction import matmul
from ..prims.convolution import conv
from ..prims.leaf import like
from .cut import Cut, base
from .gemm import contiguous, split, view

WORK = 1 << 13       # products below which a convolution is a plain kernel
THIN = 4             # channels of the result in a group, likewise where the weights are larger than the result
AXES = 3
LARGE = 1 << 20      # products from which windows are written out for a matrix product, where there are no steps
BLOCK = 64 << 20     # bytes of them at a time
BLOCKS = 6           # at most: a kernel puts the results together


def decomposed(t: Term, caps: Caps) -> Term | None:
    """`t` in simpler Terms, None where it is a step."""
    static = t.keywords
    if not worth(t, caps):
        found = _matrices(t, *t.args, **static) if caps.convolves is None and t.aval.dtype.name in caps.gemm_dtypes else None
        return found or t.op.lowering.rule(t, *t.args, **static)
    return _phases(t, *t.args, **static) if any([e > 1 for e in static["expand"]]) else None


def worth(t: Term, caps: Caps) -> bool:
    """Whether a step is better than a kernel."""
    (_, _, *taps), (_, o, *count) = t.args[1].aval.shape, t.aval.shape
    work = t.aval.size * math.prod(t.args[1].aval.shape[1:])
    thin = math.prod(taps) > math.prod(count) and o < THIN * t.keywords["groups"]
    return caps.convolves is not None and t.aval.dtype.name in caps.gemm_dtypes and work >= WORK and not thin and len(count) <= AXES


# ---- steps between the elements -------------------------------------------------------------------------------------------------

@record
class Phase:
    """Of one axis: results first, first + step, ...: `count` of them, made of taps `tap`, tap + `apart`, ...: `taps`."""

    first: int
    step: int
    count: int
    tap: int
    apart: int
    taps: int
    stride: int
    dilation: int
    low: int


def _axis(taps: int, stride: int, dilation: int, expand: int, low: int, count: int) -> list[Phase]:
    """The results that meet elements of x: i * stride + k * dilation - low is a multiple of `expand`."""
    step, apart = expand // math.gcd(stride, expand), expand // math.gcd(dilation, expand)
    out = []
    for first in range(min(step, count)):
        tap = next((k for k in range(min(taps, apart)) if (first * stride + k * dilation - low) % expand == 0), None)
        if tap is not None:
            out.append(Phase(first, step, -(-(count - first) // step), tap, apart, -(-(taps - tap) // apart), step * stride // expand,
                             apart * dilation // expand, -((first * stride + tap * dilation - low) // expand)))
    return out


def _phases(t: Term, x: Term, w: Term, *, stride, dilation, expand, low, count, groups) -> Term:
    """One convolution for each remainder, put in its places."""
    total = None
    o, c, *taps = w.aval.shape
    for axes in product(*[_axis(*row) for row in zip(taps, stride, dilation, expand, low, count, strict=True)]):
        def each(name: str, axes: tuple[Phase, ...] = axes) -> tuple[int, ...]:
            return tuple([getattr(a, name) for a in axes])
        part = M.slice_(w, start=(0, 0, *each("tap")), step=(1, 1, *each("apart")), shape=(o, c, *each("taps")))
        y = conv(x, part, stride=each("stride"), dilation=each("dilation"), expand=(1,) * len(axes), low=each("low"), count=each("count"), groups=groups)
        y = M.embed(y, shape=t.aval.shape, start=(0, 0, *each("first")), step=(1, 1, *each("step")))
        total = y if total is None else E.add(total, y)
    return like(t, 0) if total is None else total


# ---- matrix products of blocks ------------------------------------------------------------------------------------------------------

def _matrices(t: Term, x: Term, w: Term, *, stride, dilation, expand, low, count, groups) -> Term | None:
    """out[n] = w windows[n], block by block along the examples; None where it is little work, or too many blocks."""
    (n, _, *sizes), (o, c, *taps) = x.aval.shape, w.aval.shape
    d, depth, places = len(count), c * math.prod(taps), math.prod(count)
    size = depth * places * max(x.aval.dtype.itemsize, 4)
    if groups > 1 or n * o * depth * places < LARGE or o < THIN or depth < THIN or n * size > BLOCKS * (BLOCK // size) * size:
        return None
    ahead = math.prod(taps) <= places
    weights, ones = M.reshape(w, shape=(o, depth)), (1,) * d
    blocks: list[Term] = []
    many = -(-n // -(-n // (BLOCK // size)))
    for first in range(0, n, many):
        m = min(many, n - first)
        part = M.reshape(M.cut(x, 0, first, m), shape=(m, c, *sizes, *ones))
        part = M.broadcast_to(behind(part, blocks[-1:]), shape=(m, c, *sizes, *taps))
        part = M.shear(part, step=stride, by=dilation, start=tuple([-k for k in low]), every=expand, count=count)       # (m, c, *count, *taps)
        if ahead:
            windows = M.reshape(M.permute(part, axes=(0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d))), shape=(m, depth, places))
            blocks.append(matmul(M.broadcast_to(M.reshape(weights, shape=(1, o, depth)), shape=(m, o, depth)), windows))
        else:                                   # few results: they are rows of one product
            windows = M.reshape(M.permute(part, axes=(0, *range(2, 2 + d), 1, *range(2 + d, 2 + 2 * d))), shape=(m * places, depth))
            rows = M.reshape(matmul(windows, M.transposed(weights)), shape=(m, places, o))
            blocks.append(M.transposed(rows))
    return M.reshape(blocks[0] if len(blocks) == 1 else M.concatenate(*blocks, axis=0), shape=t.aval.shape)


# ---- operands ---------------------------------------------------------------------------------------------------------------------

def _lies(t: Term, kinds: dict[Term, str], lead: tuple[int, int, int], inner: tuple[int, ...]) -> tuple[Term, tuple[int, ...]]:
    """(buffer, strides of the axes `lead`) of an operand as (*lead, *inner), the inner axes in row-major order."""
    shape = (*lead, *inner)
    for u in dict.fromkeys((t, t.args[0] if t.op.name == "reshape" and kinds[t] == "inline" else t)):
        found, strides = view(u, kinds)
        strides = split(u.aval.shape, shape, strides)
        if strides is not None and all([n == 1 or s == c for n, s, c in zip(inner, strides[3:], contiguous(inner), strict=True)]):
            return found, strides[:3]
    return base(t, kinds), contiguous(shape)[:3]


def _factors(t: Term, kinds: dict[Term, str]) -> list[tuple[Term, tuple[int, ...]]]:
    """How x and w lie in memory."""
    x, w = t.args
    groups, (n, gc, *sizes), (go, c, *taps) = t.keywords["groups"], x.aval.shape, w.aval.shape
    many = math.prod(taps)
    found = _lies(w, kinds, (groups, go // groups, c), tuple(taps))
    if many <= math.prod(t.aval.shape[2:]) and c > 1 and found[1][2] != many:
        found = base(w, kinds), contiguous((groups, go // groups, c * many))
    return [_lies(x, kinds, (n, groups, gc // groups), tuple(sizes)), found]


def operands(t: Term, kinds: dict[Term, str]) -> list[Term]:
    """The Terms whose buffers the step reads."""
    return [u for u, _ in _factors(t, kinds)]


def step(t: Term, parts: Cut, number: Callable[[Term], int], scratch: Callable[[int], int], caps: Caps) -> Conv:
    """The step that computes `t`, a convolution or what is written in its stead; `scratch(bytes)` makes a buffer."""
    c, _ = parts.products.get(t, (t, None))
    (x, x_steps), (w, w_steps) = _factors(c, parts.kinds)
    static, (n, go, *count) = c.keywords, c.aval.shape
    groups, o = static["groups"], go // static["groups"]
    many = math.prod(count)
    steps = (go * many, o * many, many) if c is t or t.keywords["axes"][0] == 0 else (many, o * n * many, n * many)
    made = Conv(number(x), number(w), number(t), 0, n, groups, c.args[1].aval.shape[1], o, c.args[0].aval.shape[2:], c.args[1].aval.shape[2:],
                tuple(count), static["stride"], static["dilation"], static["low"], x_steps, w_steps, steps)
    return Conv(*[scratch(caps.convolves(made, t.aval.dtype)) if name == "scratch" else getattr(made, name) for name in Conv.__match_args__])
