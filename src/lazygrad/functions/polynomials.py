"""Polynomials as arrays of coefficients, the highest power first, under NumPy's names.

In: 1-d tensors of coefficients. Out: tensors. Lengths are those of the operands: leading zeros stay where they come from values.
"""

from __future__ import annotations

import operator

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..tensor import Tensor
from .composite import fill
from .joining import along
from .linalg import alike_pair
from .movement import cut
from .promotion import P, alike, as_term, broadcast, cast, constant, inexact, pair, reshaped
from .selection import beside, tensor_of
from .sliding import convolve
from .table import FUNCTIONS, deferred, plain, public


def coefficients(op: str, p: Operand) -> Term:
    """p as one axis of numbers."""
    p = as_term(op, p)
    if p.aval.ndim > 1:
        raise ShapeError(op, str(p.aval.shape), "coefficients are 1-d", "ravel them")
    p = reshaped(p, (p.aval.size,))
    return cast(p, dtypes.int64) if p.aval.dtype.kind == "b" else p


def longer(p: Term, n: int) -> Term:
    """p with zeros in front, up to n coefficients."""
    return p if p.aval.size == n else P.embed(p, shape=(n,), start=(n - p.aval.size,), step=(1,))


# ---- values and arithmetic ----------------------------------------------------------------------------------------------

@public()
def polyval(p: Term, x: Operand) -> Term:
    """The polynomial p at x: p[0] x^(n-1) + ... + p[n-1], by Horner's rule. Shape of x.

    >>> import lazygrad as lg
    >>> lg.polyval(lg.asarray([1.0, 0.0, 2.0]), lg.asarray([3.0, 4.0])).tolist()
    [11.0, 18.0]
    """
    p, x = alike("polyval", (coefficients("polyval", p), x))
    out = fill(x, 0)
    for k in range(p.aval.size):
        c = broadcast(reshaped(cut(p, 0, k, 1), ()), x.aval.shape)
        out = c if k == 0 else P.add(P.mul(out, x), c)
    return out


def sum_of(op: str, p: Operand, q: Operand, prim) -> Term:
    a, b = alike(op, (coefficients(op, p), coefficients(op, q)))
    n = max(a.aval.size, b.aval.size)
    return prim(longer(a, n), longer(b, n))


@public()
def polyadd(p: Operand, q: Operand) -> Term:
    """The sum of two polynomials.

    >>> import lazygrad as lg
    >>> lg.polyadd(lg.asarray([1, 2]), lg.asarray([9, 5, 4])).tolist()
    [9, 6, 6]
    """
    return sum_of("polyadd", p, q, P.add)


@public()
def polysub(p: Operand, q: Operand) -> Term:
    """The difference of two polynomials.

    >>> import lazygrad as lg
    >>> lg.polysub(lg.asarray([2, 10]), lg.asarray([3, 10, -4])).tolist()
    [-3, -8, 14]
    """
    return sum_of("polysub", p, q, P.sub)


@public()
def polymul(p: Operand, q: Operand) -> Term:
    """The product of two polynomials.

    >>> import lazygrad as lg
    >>> lg.polymul(lg.asarray([1, 2, 3]), lg.asarray([9, 5, 1])).tolist()
    [9, 23, 38, 17, 3]
    """
    return convolve(coefficients("polymul", p), coefficients("polymul", q))


@public()
def polydiv(u: Operand, v: Operand) -> tuple[Term, Term]:
    """The quotient and the remainder of u by v, whose first coefficient is taken not to be 0. The remainder has len(v) - 1 coefficients
    at least one, also where they are 0 (NumPy drops leading zeros).

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.polydiv(lg.asarray([3.0, 5.0, 2.0]), lg.asarray([2.0, 1.0]))]
    [[1.5, 1.75], [0.25]]
    """
    u, v = [inexact(t) for t in alike("polydiv", (coefficients("polydiv", u), coefficients("polydiv", v)))]
    m, n = u.aval.size, v.aval.size
    if not n or not m:
        raise ShapeError("polydiv", f"{m} and {n} coefficients", "one polynomial has none", "pass coefficients")
    if m < n:
        return fill(cut(u, 0, 0, 1), 0), u
    lead, found, rest = cut(v, 0, 0, 1), [], u
    for k in range(m - n + 1):
        q = P.div(cut(rest, 0, k, 1), lead)
        found.append(q)
        taken = P.mul(broadcast(q, (n,)), v)
        rest = P.sub(rest, P.embed(taken, shape=(m,), start=(k,), step=(1,)))
    out = P.concatenate(*found, axis=0) if len(found) > 1 else found[0]
    return out, cut(rest, 0, m - n + 1, n - 1) if n > 1 else fill(lead, 0)


# ---- calculus ---------------------------------------------------------------------------------------------------------

@public()
def polyder(p: Term, m: int = 1) -> Term:
    """The m-th derivative of a polynomial.

    >>> import lazygrad as lg
    >>> lg.polyder(lg.asarray([1, 1, 1, 1])).tolist()
    [3, 2, 1]
    """
    p = coefficients("polyder", p)
    if operator.index(m) < 0:
        raise OptionError("polyder", f"m={m}", "a derivative has an order of 0 or more", "integrate with polyint")
    for _ in range(m):
        n = p.aval.size
        if n < 2:
            return cut(p, 0, 0, 0)
        ramp = P.sub(constant(n - 1, (n - 1,), dtypes.int64), P.iota(size=n - 1, dtype=dtypes.int64))
        p = P.mul(*pair("polyder", cut(p, 0, 0, n - 1), cast(ramp, dtypes.int64 if p.aval.dtype.kind in "iu" else p.aval.dtype)))
    return p


@public()
def polyint(p: Term, m: int = 1, k: Operand = None) -> Term:
    """The m-th integral of a polynomial, with the constants of integration k (0; one for all, or one for each integration).

    >>> import lazygrad as lg
    >>> lg.polyint(lg.asarray([6.0, 2.0])).tolist()
    [3.0, 2.0, 0.0]
    """
    p = inexact(coefficients("polyint", p))
    if operator.index(m) < 0:
        raise OptionError("polyint", f"m={m}", "an integral has an order of 0 or more", "differentiate with polyder")
    ends = fill(p, 0) if k is None else coefficients("polyint", k)
    if k is not None and ends.aval.size not in (1, m):
        raise ShapeError("polyint", f"{ends.aval.size} constants for {m} integrations", "there must be one for all or one for each", "pass as many")
    for i in range(m):
        n = p.aval.size
        ramp = P.sub(constant(n, (n,), dtypes.int64), P.iota(size=n, dtype=dtypes.int64))
        end = constant(0, (1,), p.aval.dtype) if k is None else cut(ends, 0, i if ends.aval.size > 1 else 0, 1)
        p = along("polyint", (P.div(p, cast(ramp, p.aval.dtype)), end), 0, (n + 1,))
    return p


# ---- roots ------------------------------------------------------------------------------------------------------------

def companion_roots(p: Term, lead: int, last: int) -> Term:
    """The eigenvalues of the companion matrix of p without `lead` zeros in front and with `last` zeros behind, which are roots."""
    from . import linalg_spectral
    p = inexact(p)
    q = cut(p, 0, lead, p.aval.size - lead - last)
    n = q.aval.size - 1
    wide = dtypes.promote(p.aval.dtype, dtypes.complex64)
    zeros = constant(0, (last,), wide)
    if n < 1:
        return zeros
    top = P.div(P.neg(cut(q, 0, 1, n)), broadcast(cut(q, 0, 0, 1), (n,)))
    below = P.embed(constant(1, (n - 1,), q.aval.dtype), shape=((n - 1) * n,), start=(0,), step=(n + 1,)) if n > 1 else constant(0, (0,), q.aval.dtype)
    found = linalg_spectral.eigvals(reshaped(P.concatenate(top, below, axis=0) if n > 1 else top, (n, n)))
    return P.concatenate(found, cast(zeros, found.aval.dtype), axis=0) if last else found


ROOTS = deferred(companion_roots)


@plain()
def roots(p):
    """The complex roots of a polynomial: the eigenvalues of its companion matrix. Evaluates p, whose zeros at the ends are dropped.

    Derivatives are those of simple roots. Always complex, where NumPy gives real numbers if all roots are real.

    >>> import lazygrad as lg
    >>> lg.abs(lg.roots(lg.asarray([1.0, 0.0, 4.0]))).tolist()
    [2.0, 2.0]
    """
    p = FUNCTIONS["atleast_1d"](tensor_of(p))
    if p.ndim != 1:
        raise ShapeError("roots", str(p.shape), "coefficients are 1-d", "ravel them")
    found = np.flatnonzero(np.asarray(p))
    if not found.size:
        return FUNCTIONS["zeros"](0, np.result_type(p.dtype, np.complex64))
    return ROOTS.function()(p, int(found[0]), int(p.size - 1 - found[-1]))


def from_roots(x: Term) -> Term:
    """The coefficients of the product of (t - x[k])."""
    out = constant(1, (1,), x.aval.dtype)
    for k in range(x.aval.size):
        n = out.aval.size + 1
        times_root = P.mul(broadcast(cut(x, 0, k, 1), (n - 1,)), out)
        out = P.sub(P.embed(out, shape=(n,), start=(0,), step=(1,)), P.embed(times_root, shape=(n,), start=(1,), step=(1,)))
    return out


@public(name="poly")
def poly(x: Term) -> Term:
    """The coefficients of the polynomial with roots x (1-d), or the characteristic polynomial of a square matrix x.

    Complex for complex roots, where NumPy gives real numbers if they are conjugate.

    >>> import lazygrad as lg
    >>> lg.poly(lg.asarray([1.0, 2.0])).tolist()
    [1.0, -3.0, 2.0]
    """
    from . import linalg_spectral
    if x.aval.ndim == 2:
        if x.aval.shape[0] != x.aval.shape[1] or not x.aval.size:
            raise ShapeError("poly", str(x.aval.shape), "a characteristic polynomial needs a square matrix", "pass (n, n)")
        out = from_roots(linalg_spectral.eigvals(inexact(x)))
        return out if x.aval.dtype.kind == "c" else P.real(out)
    if x.aval.ndim != 1:
        raise ShapeError("poly", str(x.aval.shape), "roots are 1-d", "ravel them")
    return from_roots(inexact(x)) if x.aval.size else constant(1, (), inexact(x).aval.dtype)


# ---- fits -------------------------------------------------------------------------------------------------------------

@public()
def vander(x: Term, N: int | None = None, increasing: bool = False) -> Term:
    """The powers of a 1-d x as columns, the highest first (or last, if `increasing`): (n,) -> (n, N), N = n by default.

    >>> import lazygrad as lg
    >>> lg.vander(lg.asarray([1, 2, 3]), 3).tolist()
    [[1, 1, 1], [4, 2, 1], [9, 3, 1]]
    """
    if x.aval.ndim != 1:
        raise ShapeError("vander", str(x.aval.shape), "the points are 1-d", "ravel them")
    n = x.aval.size
    count = n if N is None else operator.index(N)
    if count < 0:
        raise ShapeError("vander", f"N={N}", "a number of columns is not negative", "pass 0 or more")
    x = x if x.aval.dtype.kind in "fc" else cast(x, dtypes.promote(x.aval.dtype, dtypes.int64))
    columns = [constant(1, (n,), x.aval.dtype)]
    for _ in range(count - 1):
        columns.append(P.mul(columns[-1], x) if len(columns) > 1 else x)
    columns = [reshaped(c, (n, 1)) for c in columns[:count]]
    columns = columns if increasing else columns[::-1]
    return P.concatenate(*columns, axis=1) if len(columns) > 1 else columns[0] if columns else constant(0, (n, 0), x.aval.dtype)


def fitted_to(x: Term, y: Term, w: Operand, degree: int, rcond: float, scaled: bool | None) -> tuple[Term, ...]:
    """Coefficients, residuals, rank and singular values of the scaled least squares problem; the covariance unless `scaled` is None."""
    from .linalg_systems import lstsq
    x, y = [inexact(t) for t in alike_pair("polyfit", x, y)]
    a, b = vander(x, degree + 1), y
    if w is not None:
        w = cast(inexact(as_term("polyfit", w)), a.aval.dtype)
        if w.aval.shape != x.aval.shape:
            raise ShapeError("polyfit", f"{x.aval.shape} with weights of {w.aval.shape}", "every point needs a weight", "pass as many")
        tall = reshaped(w, (*w.aval.shape, 1))
        a, b = P.mul(a, broadcast(tall, a.aval.shape)), P.mul(b, broadcast(tall if b.aval.ndim > 1 else w, b.aval.shape))
    size = P.sqrt(P.sum(P.square(P.abs(a)), axes=(0,)))
    size = cast(size, a.aval.dtype)
    c, residuals, rank, s = lstsq(P.div(a, broadcast(size, a.aval.shape)), b, rcond)
    c = P.div(c, broadcast(reshaped(size, size.aval.shape + (1,) * (c.aval.ndim - 1)), c.aval.shape))
    if scaled is None:
        return c, residuals, rank, s
    from .linalg import inv
    scale = P.mul(*[broadcast(reshaped(size, shape), (degree + 1, degree + 1)) for shape in ((degree + 1, 1), (1, degree + 1))])
    unit = P.div(a, broadcast(size, a.aval.shape))
    base = P.div(inv(P.matmul(P.permute(unit, axes=(1, 0)), unit)), scale)
    if not scaled:
        return c, base
    n = x.aval.size
    if n <= degree + 1:
        raise ShapeError("polyfit", f"{n} points for degree {degree}", "they do not determine a covariance", 'pass more points, or cov="unscaled"')
    factor = P.div(residuals, fill(residuals, n - degree - 1))
    if y.aval.ndim == 1:
        return c, P.mul(base, broadcast(factor, base.aval.shape))
    whole = (degree + 1, degree + 1, y.aval.shape[1])
    return c, P.mul(broadcast(reshaped(base, (*base.aval.shape, 1)), whole), broadcast(factor, whole))


FIT = deferred(fitted_to)


@plain()
def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    """The coefficients of the polynomial of degree `deg` that fits points (x, y), y (n,) or (n, k), in the sense of least squares.

    `w`: weights of the residuals. `rcond`: singular values below it (times the largest) count as 0. `full`: also residuals, rank,
    singular values and rcond. `cov`: also the covariance of the coefficients (True: scaled by the residuals; "unscaled").

    >>> import lazygrad as lg
    >>> lg.polyfit(lg.asarray([0.0, 1.0, 2.0]), lg.asarray([1.0, 3.0, 5.0]), 1).round(4).tolist()
    [2.0, 1.0]
    """
    x = tensor_of(x)
    y = y if isinstance(y, Tensor) else beside(x, np.asarray(y))
    degree = operator.index(deg)
    if degree < 0 or x.ndim != 1 or not x.size or y.ndim not in (1, 2) or y.shape[0] != x.shape[0]:
        raise ShapeError("polyfit", f"points {x.shape} and {y.shape}, degree {deg}", "as many values as points and a degree of 0 or more are needed", "check the shapes")
    dtype = FUNCTIONS["result_type"](x, y, np.float32) if x.dtype.kind not in "fc" and y.dtype.kind not in "fc" else FUNCTIONS["result_type"](x, y)
    rcond = x.size * float(np.finfo(dtype).eps) if rcond is None else float(rcond)
    scaled = None if not cov else cov != "unscaled"
    found = FIT.function()(x, y, w, degree, rcond, None if full else scaled)
    if full:
        return (*found, rcond)
    return found if cov else found[0]
