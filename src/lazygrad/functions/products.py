"""Products of vectors and matrices under NumPy's further names, and the order in which einsum multiplies.

In: tensors that broadcast. Out: tensors; `einsum_path` gives plain data.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import ShapeError
from ..ir.term import Term
from ..tensor import Tensor
from .einsum import cheapest, parse
from .linalg import alike_pair, matmul, vecdot
from .movement import cut, permuted
from .promotion import P, broadcast, broadcast_shapes, one_axis, reshaped
from .table import plain, public


@public(method=True)
def vdot(x: Term, y: Term) -> Term:
    """The sum of conj(x) * y over all elements, of two arrays of as many.

    >>> import lazygrad as lg
    >>> lg.vdot(lg.asarray([1., 2.]), lg.asarray([3., 4.])).tolist()
    11.0
    """
    if x.aval.size != y.aval.size:
        raise ShapeError("vdot", f"{x.aval.shape} and {y.aval.shape}", "the numbers of elements differ", "slice one")
    return vecdot(reshaped(x, (x.aval.size,)), reshaped(y, (y.aval.size,)))


@public()
def matvec(x: Term, y: Term) -> Term:
    """Matrices times vectors: (..., m, n), (..., n) -> (..., m). The axes in front broadcast.

    >>> import lazygrad as lg
    >>> lg.matvec(lg.asarray([[1., 2.], [3., 4.]]), lg.asarray([1., 1.])).tolist()
    [3.0, 7.0]
    """
    if x.aval.ndim < 2 or y.aval.ndim < 1 or x.aval.shape[-1] != y.aval.shape[-1]:
        raise ShapeError("matvec", f"{x.aval.shape} and {y.aval.shape}", "the last sizes must agree", "pass (..., m, n) and (..., n)")
    out = matmul(x, reshaped(y, (*y.aval.shape, 1)))
    return reshaped(out, out.aval.shape[:-1])


@public()
def vecmat(x: Term, y: Term) -> Term:
    """Conjugated vectors times matrices: (..., m), (..., m, n) -> (..., n). The axes in front broadcast.

    >>> import lazygrad as lg
    >>> lg.vecmat(lg.asarray([1., 1.]), lg.asarray([[1., 2.], [3., 4.]])).tolist()
    [4.0, 6.0]
    """
    if y.aval.ndim < 2 or x.aval.ndim < 1 or x.aval.shape[-1] != y.aval.shape[-2]:
        raise ShapeError("vecmat", f"{x.aval.shape} and {y.aval.shape}", "the vectors are no rows of the matrices", "pass (..., m) and (..., m, n)")
    row = P.conj(x) if x.aval.dtype.kind == "c" else x
    out = matmul(reshaped(row, (*x.aval.shape[:-1], 1, x.aval.shape[-1])), y)
    return reshaped(out, (*out.aval.shape[:-2], out.aval.shape[-1]))


@public()
def cross(x: Term, y: Term, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Term:
    """The cross product of vectors of 3 elements (or 2, whose third is 0) along an axis of each; the other axes broadcast.

    Of two vectors of 2 elements only the third component comes, without an axis. `axis` stands for all three axes.

    >>> import lazygrad as lg
    >>> lg.cross(lg.asarray([1., 0., 0.]), lg.asarray([0., 1., 0.])).tolist()
    [0.0, 0.0, 1.0]
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = alike_pair("cross", x, y)
    parts, sizes = [], []
    for v, k in ((a, axisa), (b, axisb)):
        k = one_axis("cross", k, v.aval.ndim)
        n = v.aval.shape[k]
        if n not in (2, 3):
            raise ShapeError("cross", f"{x.aval.shape} and {y.aval.shape}", f"axis {k} has {n} elements", "pass vectors of 2 or 3 elements")
        v = permuted(v, (*[j for j in range(v.aval.ndim) if j != k], k))
        parts.append([reshaped(cut(v, v.aval.ndim - 1, i, 1), v.aval.shape[:-1]) for i in range(n)])
        sizes.append(n)
    shape = broadcast_shapes("cross", parts[0][0].aval.shape, parts[1][0].aval.shape)
    a, b = [[broadcast(v, shape) for v in vs] for vs in parts]

    def minor(i: int, j: int) -> Term:
        """aᵢ bⱼ - aⱼ bᵢ, where a component that is not there is 0."""
        left = P.mul(a[i], b[j]) if i < len(a) and j < len(b) else None
        right = P.mul(a[j], b[i]) if j < len(a) and i < len(b) else None
        return P.sub(left, right) if left is not None and right is not None else left if right is None else P.neg(right)

    if sizes == [2, 2]:
        return minor(0, 1)
    out = P.concatenate(*[reshaped(minor(i, j), (*shape, 1)) for i, j in ((1, 2), (2, 0), (0, 1))], axis=len(shape))
    k = one_axis("cross", axisc, len(shape) + 1)
    order = list(range(len(shape)))
    order.insert(k, len(shape))
    return permuted(out, tuple(order))


@plain()
def einsum_path(subscripts, *operands, optimize="greedy"):
    """The order in which `einsum` multiplies its operands, as a list of pairs of positions after "einsum_path", and a report about it.

    Each pair is taken out of the list of operands and its product put at the end, as in NumPy. Nothing is computed.

    >>> import lazygrad as lg
    >>> lg.einsum_path("ij,jk,k->i", lg.ones((9, 9)), lg.ones((9, 9)), lg.ones(9))[0]
    ['einsum_path', (1, 2), (0, 1)]
    """
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else np.shape(x) for x in operands]
    inputs, output, sizes = parse(subscripts, shapes)
    naive = math.prod(sizes.values()) * max(len(inputs), 1)
    parts = [tuple(dict.fromkeys(labels)) for labels in inputs]
    path, work, largest = ["einsum_path"], 0, 0
    while len(parts) > 1:
        i, j = cheapest([(math.prod([sizes[c] for c in p]), p) for p in parts], output, sizes)
        path.append((i, j))
        q, p = parts.pop(j), parts.pop(i)
        keep = set(output).union(*parts)
        work += 2 * math.prod([sizes[c] for c in {*p, *q}])
        parts.append(tuple([c for c in dict.fromkeys((*p, *q)) if c in keep]))
        largest = max(largest, math.prod([sizes[c] for c in parts[-1]]))
    if len(path) == 1:
        path.append((0,))
    return path, f"  Naive FLOP count: {naive:.3e}\n  FLOP count of the path: {work:.3e}\n  Largest intermediate: {largest:.3e} elements"
