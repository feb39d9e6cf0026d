"""Gemm: matrix products as library calls: transposes, reshapes and repeated batches become strides.

In: a matmul Term, or one that is written in its stead. Out: the Terms whose buffers the call reads, and the call's sizes and strides.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from ..ir.program import Gemm
from ..ir.term import Term
from ..prims.movement import groups
from .cut import INLINE, Cut, base, layout

VIEWS = ("reshape", "permute", "broadcast_to", "barrier")


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def view(t: Term, kinds: dict[Term, str]) -> tuple[Term, tuple[int, ...]]:
    """(b, strides): element i of `t` lies at sum(i * strides) in the row-major buffer of b."""
    chain = []
    while t.op.name in VIEWS and kinds[t] == INLINE:
        chain.append(t)
        t = t.args[0]
    strides = contiguous(t.aval.shape)
    for u in reversed(chain):
        x = u.args[0].aval.shape
        if u.op.name == "barrier":
            continue
        if u.op.name == "permute":
            strides = tuple([strides[a] for a in u.keywords["axes"]])
        elif u.op.name == "broadcast_to":
            lead = u.aval.ndim - len(x)
            strides = (0,) * lead + tuple([0 if n == 1 else s for n, s in zip(x, strides, strict=True)])
        else:
            apart = split(x, u.aval.shape, strides)
            if apart is None:                       # these elements must move: u's argument gets a buffer of its own
                t, apart = u.args[0], contiguous(u.aval.shape)
            strides = apart
    return t, strides


def split(x: tuple[int, ...], y: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides of a reshape of a strided array, None where it is none."""
    if 0 in x:
        return contiguous(y)
    out: list[int] = []
    for p, q, r, s in groups(x, y):
        kept = [(x[k], strides[k]) for k in range(p, q) if x[k] != 1]
        if any([a[1] != b[0] * b[1] for a, b in pairwise(kept)]):
            return None
        unit = kept[-1][1] if kept else 1
        out += [unit * c for c in contiguous(y[r:s])]
    return tuple(out)


def matrix(t: Term, kinds: dict[Term, str]) -> tuple[Term, int, bool, int]:
    """(buffer, row stride, stored transposed, batch stride) of one factor."""
    found, strides = view(t, kinds)
    shape = t.aval.shape
    rows, cols = shape[-2:]
    batch = [(n, s) for n, s in zip(shape[:-2], strides[:-2], strict=True) if n != 1]
    even = all([a[1] == b[0] * b[1] for a, b in pairwise(batch)])
    step = batch[-1][1] if batch else 0
    row, col = strides[-2:]
    if even and col == 1 and row >= cols:
        return found, row, False, step
    if even and row == 1 and col >= rows:
        return found, col, True, step
    return base(t, kinds), cols, False, rows * cols if batch else 0


def operands(t: Term, kinds: dict[Term, str]) -> list[Term]:
    """The Terms whose buffers the product reads."""
    return [matrix(a, kinds)[0] for a in t.args]


def gemm(t: Term, parts: Cut, number: Callable[[Term], int]) -> Gemm:
    """The call that computes `t`, a product or what is written in its stead; `number(term)` gives buffers."""
    mm, addend = parts.products.get(t, (t, None))
    (a, lda, trans_a, a_step), (b, ldb, trans_b, b_step) = [matrix(x, parts.kinds) for x in mm.args]
    m, n = mm.aval.shape[-2:]
    k = mm.args[0].aval.shape[-1]
    batch = 1
    for size in mm.aval.shape[:-2]:
        batch *= size
    ldc, c_step, turned = layout(t) if addend is None and mm is not t else (n, m * n, False)
    if turned:                                      # Cᵀ = op(B)ᵀ op(A)ᵀ
        (a, lda, trans_a, a_step), (b, ldb, trans_b, b_step) = (b, ldb, not trans_b, b_step), (a, lda, not trans_a, a_step)
        m, n = n, m
    if batch > 1 and b_step == 0 and not trans_a and a_step == m * lda and c_step == m * ldc:
        m, batch = m * batch, 1                     # one right factor for all: the batch is more rows
    steps = (a_step, b_step, c_step) if batch > 1 else (0, 0, 0)
    return Gemm(number(a), number(b), number(t), m, n, k, lda, ldb, ldc, trans_a, trans_b, addend is not None, batch, *steps)
