"""Products of vectors and chains of matrices, and diagonals and traces of the last two axes.

In: tensors that broadcast. Out: tensors.
"""

from __future__ import annotations

from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Terms
from .diagonals import taken_diagonal
from .linalg import alike_pair, matmul
from .promotion import P, as_term, broadcast, broadcast_shapes, one_axis, reshaped
from .reductions import accumulator
from .table import public


@public(space="linalg")
def cross(x: Term, y: Term, axis: int = -1) -> Term:
    """The cross product of vectors of 3 elements along one axis; the other axes broadcast.

    >>> import lazygrad as lg
    >>> lg.linalg.cross(lg.asarray([1., 0., 0.]), lg.asarray([0., 1., 0.])).tolist()
    [0.0, 0.0, 1.0]
    """
    a, b = alike_pair("cross", x, y)
    shape = broadcast_shapes("cross", a.aval.shape, b.aval.shape)
    k = one_axis("cross", axis, len(shape))
    if a.aval.shape[one_axis("cross", axis, a.aval.ndim)] != 3 or b.aval.shape[one_axis("cross", axis, b.aval.ndim)] != 3:
        raise ShapeError("cross", f"{a.aval.shape} and {b.aval.shape}", f"axis {axis} must have 3 elements", "name another axis")
    a, b = broadcast(a, shape), broadcast(b, shape)

    def rolled(t: Term, n: int) -> Term:
        parts = [P.slice(t, start=tuple([i if j == k else 0 for j in range(len(shape))]), step=(1,) * len(shape),
                         shape=tuple([m if j == k else s for j, s in enumerate(shape)])) for i, m in ((n, 3 - n), (0, n))]
        return P.concatenate(*parts, axis=k)

    # (a₁ b₂ - a₂ b₁, a₂ b₀ - a₀ b₂, a₀ b₁ - a₁ b₀)
    return P.sub(P.mul(rolled(a, 1), rolled(b, 2)), P.mul(rolled(a, 2), rolled(b, 1)))


@public(space="linalg")
def trace(x: Term, offset: int = 0, dtype: object = None) -> Term:
    """The sum of a diagonal of the last two axes, (..., m, n) -> (...); small integers are summed as int64.

    >>> import lazygrad as lg
    >>> lg.linalg.trace(lg.asarray([[1., 2.], [3., 4.]])).tolist()
    5.0
    """
    if x.aval.ndim < 2:
        raise ShapeError("trace", str(x.aval.shape), "a matrix has two axes", "reshape it first")
    d = taken_diagonal(accumulator("trace", x, dtype), offset)
    return P.sum(d, axes=(d.aval.ndim - 1,))


@public(space="linalg")
def diagonal(x: Term, offset: int = 0) -> Term:
    """A diagonal of the last two axes, (..., m, n) -> (..., k).

    >>> import lazygrad as lg
    >>> lg.linalg.diagonal(lg.asarray([[1., 2.], [3., 4.]])).tolist()
    [1.0, 4.0]
    """
    if x.aval.ndim < 2:
        raise ShapeError("diagonal", str(x.aval.shape), "a matrix has two axes", "reshape it first")
    return taken_diagonal(x, offset)


def cheapest(sizes: list[int]) -> list[list[int]]:
    """Where to split each run i..j of a chain of matrices of sizes[i] by sizes[i + 1] (Cormen et al. 2009 §15.2).

    >>> cheapest([10, 100, 5, 50])[0][2]
    1
    """
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    at = [[0] * n for _ in range(n)]
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            cost[i][j], at[i][j] = min([(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)])
    return at


@public(space="linalg")
def multi_dot(arrays: Terms) -> Term:
    """The product of two or more matrices in the cheapest order; the first and the last may be vectors.

    >>> import lazygrad as lg
    >>> x = lg.asarray([[1., 2.], [3., 4.]])
    >>> lg.linalg.multi_dot([x, x, lg.asarray([1., 0.])]).tolist()
    [7.0, 15.0]
    """
    xs = [as_term("multi_dot", x) for x in arrays]
    ndims = [x.aval.ndim for x in xs]
    if len(xs) < 2 or any([n != 2 for n in ndims[1:-1]]) or not {ndims[0], ndims[-1]} <= {1, 2}:
        raise ShapeError("multi_dot", ", ".join([str(x.aval.shape) for x in xs]), "two or more matrices are expected, vectors at the ends only",
                         "multiply with @")
    row, column = ndims[0] == 1, ndims[-1] == 1
    xs[0] = reshaped(xs[0], (1, *xs[0].aval.shape)) if row else xs[0]
    xs[-1] = reshaped(xs[-1], (*xs[-1].aval.shape, 1)) if column else xs[-1]
    at = cheapest([*[x.aval.shape[0] for x in xs], xs[-1].aval.shape[1]])
    done: list[Term] = []
    stack: list[tuple[int, int, bool]] = [(0, len(xs) - 1, False)]
    while stack:
        i, j, ready = stack.pop()
        if i == j:
            done.append(xs[i])
        elif ready:
            right = done.pop()
            done.append(matmul(done.pop(), right))
        else:
            k = at[i][j]
            stack += [(i, j, True), (k + 1, j, False), (i, k, False)]
    out = done[0]
    return reshaped(out, (() if row else out.aval.shape[:1]) + (() if column else out.aval.shape[1:]))
