"""Linear algebra: products of all kinds (made of permute, reshape and matmul), and functions of matrices.

In: tensors; matrices are the last two axes, the axes before them batches that broadcast. Out: tensors. `einsum` is in
`einsum.py`.
"""

from __future__ import annotations

import math
import operator as python
from collections import namedtuple

from .. import dtypes
from ..errors import DTypeError, ShapeError, SquareError
from ..ir.term import Term
from ..lift import Operand
from .creation import eye
from .movement import permuted
from .promotion import P, broadcast, broadcast_shapes, cast, inexact, many_axes, one_axis, pair, reshaped
from .table import methods, public


def alike_pair(op: str, x: Term, y: Term) -> tuple[Term, Term]:
    """Two Terms of one numeric dtype, each in its own shape; bools are counted as int64."""
    dtype = dtypes.promote(x.aval.dtype, y.aval.dtype)
    dtype = dtypes.int64 if dtype.kind == "b" else dtype
    return cast(x, dtype), cast(y, dtype)


def came(x: Term, y: Term) -> str:
    return f"{x.aval.shape} @ {y.aval.shape}"


def batch_shape(op: str, a: Term, b: Term, given: str) -> tuple[int, ...]:
    """What the axes before the matrices broadcast to."""
    s, t = a.aval.shape[:-2], b.aval.shape[:-2]
    try:
        return broadcast_shapes(op, s, t)
    except ShapeError:
        raise ShapeError(op, given, f"the batch axes {s} and {t} do not broadcast", "reshape one operand") from None


# ---- products -------------------------------------------------------------------------------------------------------------

@public("mm", "bmm", method=True, operator="matmul")
def matmul(x: Term, y: Term) -> Term:
    """(..., m, k) @ (..., k, n) -> (..., m, n). A 1-d operand is a row on the left, a column on the right.

    Batch axes broadcast. ShapeError for scalars or inner sizes that differ.

    >>> import lazygrad as lg
    >>> (lg.asarray([[1., 2.], [3., 4.]]) @ lg.asarray([1., 1.])).tolist()
    [3.0, 7.0]
    """
    a, b = alike_pair("matmul", x, y)
    s, t = a.aval.shape, b.aval.shape
    if not s or not t:
        raise ShapeError("matmul", came(a, b), "a scalar is no matrix", "multiply with *")
    if s[-1] != t[-2 if len(t) > 1 else 0]:
        raise ShapeError("matmul", came(a, b), f"inner sizes {s[-1]} and {t[-2 if len(t) > 1 else 0]} differ",
                         "transpose one operand or reshape")
    if len(s) == 2 == len(t):
        return P.matmul(a, b)
    if len(s) > 2 >= len(t):                  # the batch is only more rows: one large product
        rows = reshaped(a, (math.prod(s[:-1]), s[-1]))
        out = P.matmul(rows, reshaped(b, (t[0], 1)) if len(t) == 1 else b)
        return reshaped(out, s[:-1] + t[1:])
    row, column = len(s) == 1, len(t) == 1
    a, b = (reshaped(a, (1, *s)) if row else a), (reshaped(b, (*t, 1)) if column else b)
    batch = batch_shape("matmul", a, b, came(x, y))
    out = P.matmul(broadcast(a, batch + a.aval.shape[-2:]), broadcast(b, batch + b.aval.shape[-2:]))
    shape = batch + (() if row else (s[-2],)) + (() if column else (t[-1],))
    return reshaped(out, shape)


@public(method=True)
def tensordot(x: Term, y: Term, axes: int | tuple = 2) -> Term:
    """The sum of products over pairs of axes: the last n of x with the first n of y, or `(axes of x, axes of y)`.

    >>> import lazygrad as lg
    >>> lg.tensordot(lg.asarray([1., 2.]), lg.asarray([3., 4.]), 1).tolist()
    11.0
    """
    a, b = alike_pair("tensordot", x, y)
    if isinstance(axes, tuple) and len(axes) == 2:
        p, q = many_axes("tensordot", axes[0], a.aval.ndim), many_axes("tensordot", axes[1], b.aval.ndim)
    else:
        n = python.index(axes)
        if not 0 <= n <= min(a.aval.ndim, b.aval.ndim):
            raise ShapeError("tensordot", f"{a.aval.shape} and {b.aval.shape}", f"they have no {n} axes in common", "name fewer axes")
        p, q = tuple(range(a.aval.ndim - n, a.aval.ndim)), tuple(range(n))
    s, t = a.aval.shape, b.aval.shape
    if [s[k] for k in p] != [t[k] for k in q]:
        raise ShapeError("tensordot", f"{s} and {t} over axes {p} and {q}", "the sizes of these axes differ", "name axes of equal sizes")
    rows, columns = [k for k in range(len(s)) if k not in p], [k for k in range(len(t)) if k not in q]
    m, k, n = math.prod([s[i] for i in rows]), math.prod([s[i] for i in p]), math.prod([t[i] for i in columns])
    out = P.matmul(reshaped(permuted(a, (*rows, *p)), (m, k)), reshaped(permuted(b, (*q, *columns)), (k, n)))
    return reshaped(out, tuple([s[i] for i in rows] + [t[i] for i in columns]))


@public(method=True)
def dot(x: Operand, y: Operand) -> Term:
    """NumPy's dot: a product of scalars, or the sum over the last axis of x and the second-last of y.

    >>> import lazygrad as lg
    >>> lg.dot(lg.asarray([1., 2.]), lg.asarray([3., 4.])).tolist()
    11.0
    """
    if not (isinstance(x, Term) and isinstance(y, Term) and x.aval.ndim and y.aval.ndim):
        return P.mul(*pair("dot", x, y))
    inner = (x.aval.ndim - 1,), (max(y.aval.ndim - 2, 0),)
    if x.aval.shape[-1] != y.aval.shape[inner[1][0]]:
        raise ShapeError("dot", f"{x.aval.shape} and {y.aval.shape}", f"inner sizes {x.aval.shape[-1]} and {y.aval.shape[inner[1][0]]} differ",
                         "transpose one operand or reshape")
    return tensordot(x, y, inner)


@public(method=True)
def vecdot(x: Term, y: Term, axis: int = -1) -> Term:
    """The sum of conj(x) * y over one axis of both; the other axes broadcast.

    >>> import lazygrad as lg
    >>> lg.vecdot(lg.asarray([1., 2.]), lg.asarray([3., 4.])).tolist()
    11.0
    """
    a, b = alike_pair("vecdot", x, y)
    i, j = one_axis("vecdot", axis, a.aval.ndim), one_axis("vecdot", axis, b.aval.ndim)
    if a.aval.shape[i] != b.aval.shape[j]:
        raise ShapeError("vecdot", f"{a.aval.shape} and {b.aval.shape}", f"axis {axis} is {a.aval.shape[i]} and {b.aval.shape[j]}", "slice one")
    a, b = pair("vecdot", _last(a, i), _last(b, j))
    return P.sum(P.mul(P.conj(a) if a.aval.dtype.kind == "c" else a, b), axes=(a.aval.ndim - 1,))


def _last(x: Term, k: int) -> Term:
    return permuted(x, (*[j for j in range(x.aval.ndim) if j != k], k))


@public(method=True)
def inner(x: Term, y: Term) -> Term:
    """The sum of products over the last axes of x and y.

    >>> import lazygrad as lg
    >>> lg.inner(lg.asarray([1., 2.]), lg.asarray([3., 4.])).tolist()
    11.0
    """
    if not x.aval.ndim or not y.aval.ndim:
        return P.mul(*pair("inner", x, y))
    return tensordot(x, y, ((x.aval.ndim - 1,), (y.aval.ndim - 1,)))


@public(method=True)
def outer(x: Term, y: Term) -> Term:
    """All products of an element of x with one of y, (m,) and (n,) -> (m, n); other shapes are flattened.

    >>> import lazygrad as lg
    >>> lg.outer(lg.asarray([1., 2.]), lg.asarray([3., 4.])).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    a, b = pair("outer", reshaped(x, (x.aval.size, 1)), reshaped(y, (1, y.aval.size)))
    return (P.bit_and if a.aval.dtype.kind == "b" else P.mul)(a, b)


@public(method=True)
def kron(x: Term, y: Term) -> Term:
    """The Kronecker product: y scaled by every element of x.

    >>> import lazygrad as lg
    >>> lg.kron(lg.asarray([1., 10.]), lg.asarray([1., 2.])).tolist()
    [1.0, 2.0, 10.0, 20.0]
    """
    n = max(x.aval.ndim, y.aval.ndim)
    s, t = (1,) * (n - x.aval.ndim) + x.aval.shape, (1,) * (n - y.aval.ndim) + y.aval.shape
    a = reshaped(x, tuple([m for k in s for m in (k, 1)]))
    b = reshaped(y, tuple([m for k in t for m in (1, k)]))
    a, b = pair("kron", a, b)
    return reshaped((P.bit_and if a.aval.dtype.kind == "b" else P.mul)(a, b), tuple([i * j for i, j in zip(s, t, strict=True)]))


# ---- functions of matrices --------------------------------------------------------------------------------------------------

def square_matrix(op: str, x: Term) -> Term:
    shape = x.aval.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise SquareError(op, str(shape), "the last two axes must be equally long", "pass square matrices (..., n, n)")
    x = inexact(x)
    if x.aval.dtype == dtypes.float16:
        raise DTypeError(op, "float16", f"float16 matrices have no {op}", "cast to float32")
    return x


@public("matrix_exp", method=True)
def expm(x: Term) -> Term:
    """The matrix exponential of (..., n, n), by scaling and squaring.

    >>> import lazygrad as lg
    >>> lg.expm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    return P.expm(square_matrix("expm", x))


@public(method=("inv", "inverse"))
def inv(x: Term) -> Term:
    """The inverse of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.inv(lg.asarray([[2., 0.], [0., 4.]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return P.inv(square_matrix("inv", x))


@public(method=True)
def det(x: Term) -> Term:
    """The determinant of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.det(lg.asarray([[2., 0.], [0., 4.]])).tolist()
    8.0
    """
    return P.det(square_matrix("det", x))


SlogdetResult = namedtuple("SlogdetResult", ("sign", "logabsdet"))


@public(method=True, result=SlogdetResult)
def slogdet(x: Term) -> tuple[Term, Term]:
    """`sign` of the determinant of (..., n, n), and `logabsdet`, the logarithm of its absolute value.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.slogdet(lg.asarray([[1., 0.], [0., 1.]]))]
    [1.0, 0.0]
    """
    x = square_matrix("slogdet", x)
    return P.signdet(x), P.logabsdet(x)


@public()
def solve(a: Term, b: Term) -> Term:
    """The x of a x = b for a (..., n, n) and b (n,) or (..., n, k).

    >>> import lazygrad as lg
    >>> lg.solve(lg.asarray([[2., 0.], [0., 4.]]), lg.asarray([2., 4.])).tolist()
    [1.0, 1.0]
    """
    a = square_matrix("solve", a)
    dtype = dtypes.promote(a.aval.dtype, inexact(b).aval.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    vector = b.aval.ndim == 1
    b = reshaped(b, (*b.aval.shape, 1)) if vector else b
    n = a.aval.shape[-1]
    if b.aval.ndim < 2 or b.aval.shape[-2] != n:
        raise ShapeError("solve", f"{a.aval.shape} and {b.aval.shape[:-1] if vector else b.aval.shape}", f"the right side has no {n} rows",
                         "transpose or reshape it")
    batch = batch_shape("solve", a, b, f"{a.aval.shape} and {b.aval.shape}")
    x = P.solve(broadcast(a, (*batch, n, n)), broadcast(b, batch + b.aval.shape[-2:]))
    return reshaped(x, x.aval.shape[:-1]) if vector else x


@public(method=True)
def matrix_power(x: Term, n: int) -> Term:
    """The product of n times the matrix (..., n, n); its inverse's for a negative n.

    >>> import lazygrad as lg
    >>> lg.matrix_power(lg.asarray([[1., 1.], [0., 1.]]), 3).tolist()
    [[1.0, 3.0], [0.0, 1.0]]
    """
    shape = x.aval.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise SquareError("matrix_power", str(shape), "the last two axes must be equally long", "pass square matrices (..., n, n)")
    if n == 0:
        return broadcast(eye(shape[-1], None, 0, x.aval.dtype), shape)
    base = inv(x) if n < 0 else x
    out, n = None, abs(n)
    while n:                                   # binary powers, from the lowest bit
        if n & 1:
            out = base if out is None else P.matmul(out, base)
        n >>= 1
        if n:
            base = P.matmul(base, base)
    return out


# ---- methods whose functions are in further modules, under PyTorch's names --------------------------------------------------

methods("linalg", "cholesky qr", "linalg_factorizations")
methods("linalg", "svd", "linalg_spectral")
methods("linalg", "pinverse", "linalg_systems")
methods("special", "erfinv i0 igamma=gammainc igammac=gammaincc", "special")
