"""Entropies, losses and transformations under SciPy's names, made of primitives.

In: tensors and Python numbers that broadcast and promote; integers count as float32. Out: tensors. Holes and borders lie in branches of
`where` that are not taken.
"""

from __future__ import annotations

import math

from ..ir.term import Term
from ..lift import Operand
from .composite import fill, scale
from .elementwise import ordered
from .promotion import P, inexact
from .special import two
from .table import public

# ---- entropies ---------------------------------------------------------------------------------------------------------

@public(space="special")
def xlog1py(x: Operand, y: Operand) -> Term:
    """x * log1p(y), 0 where x is 0 (and y is not NaN). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.xlog1py(lg.asarray([0.0, 2.0]), 0.0).tolist()
    [0.0, 0.0]
    """
    x, y = two("xlog1py", x, y)
    # only where log1p(y) is not finite: elsewhere the derivative by x at 0 is log1p(y)
    hole = P.bit_and(P.eq(x, fill(x, 0)), P.bit_or(P.le(y, fill(y, -1)), P.isinf(y)))
    return P.mul(x, P.log1p(P.where(hole, fill(y, 0), y)))


@public(space="special")
def entr(x: Term) -> Term:
    """-x log(x), 0 at 0, -inf below. Elementwise; shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.special.entr(lg.asarray([0.0, -1.0])).tolist()
    [0.0, -inf]
    """
    x, = ordered("entr", (inexact(x),))
    zero = fill(x, 0)
    inside = P.bit_or(P.gt(x, zero), P.isnan(x))
    return P.where(inside, P.neg(P.mul(x, P.log(P.where(inside, x, fill(x, 1))))), P.where(P.eq(x, zero), zero, fill(x, -math.inf)))


def _relative(x: Term, y: Term) -> Term:
    """x log(x / y) and its values on the border; NaN for NaN."""
    zero, one = fill(x, 0), fill(x, 1)
    inside = P.bit_and(P.gt(x, zero), P.gt(y, zero))
    u, v = P.where(inside, x, one), P.where(inside, y, one)
    ratio = P.div(u, v)
    near = P.bit_and(P.gt(ratio, fill(x, 0.5)), P.lt(ratio, fill(x, 2)))
    apart = P.bit_or(P.isinf(ratio), P.eq(ratio, zero))          # the quotient left the range
    usual = P.log(P.where(P.bit_or(near, apart), one, ratio))
    close = P.log1p(P.where(near, P.div(P.sub(u, v), v), zero))
    wide = P.sub(P.log(P.where(apart, u, one)), P.log(P.where(apart, v, one)))
    value = P.mul(u, P.where(near, close, P.where(apart, wide, usual)))
    border = P.where(P.bit_and(P.eq(x, zero), P.ge(y, zero)), zero, fill(x, math.inf))
    nan = P.bit_or(P.isnan(x), P.isnan(y))
    return P.where(inside, value, P.where(nan, fill(x, math.nan), border))


@public(space="special")
def rel_entr(x: Operand, y: Operand) -> Term:
    """x log(x / y) for x, y > 0; 0 where x is 0 and y >= 0; inf elsewhere. Shapes broadcast. The gradient is 0 on the border.

    >>> import lazygrad as lg
    >>> lg.special.rel_entr(lg.asarray([0.0, 1.0, -1.0]), 1.0).tolist()
    [0.0, 0.0, inf]
    """
    return _relative(*two("rel_entr", x, y))


@public(space="special")
def kl_div(x: Operand, y: Operand) -> Term:
    """x log(x / y) - x + y for x, y > 0; y where x is 0 and y >= 0; inf elsewhere. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.kl_div(lg.asarray([0.0, 1.0, -1.0]), 1.0).tolist()
    [1.0, 0.0, inf]
    """
    x, y = two("kl_div", x, y)
    out = _relative(x, y)
    finite = P.isfinite(out)
    out = P.where(finite, P.add(out, P.where(finite, P.sub(y, x), fill(x, 0))), out)
    # near y the terms cancel: with s = (x - y) / (x + y), log(x / y) is 2 artanh(s), and it is (x - y) s + 2 x (s³ / 3 + s^5 / 5 + ...)
    one = fill(x, 1)
    inside = P.bit_and(P.gt(x, fill(x, 0)), P.gt(y, fill(y, 0)))
    u, v = P.where(inside, x, one), P.where(inside, y, one)
    near = P.bit_and(inside, P.lt(P.abs(P.sub(u, v)), scale(P.minimum(u, v), 2)))              # |s| < 1/2
    u, v = P.where(near, u, one), P.where(near, v, one)
    d = P.sub(u, v)
    s = P.div(d, P.add(u, v))
    square = P.square(s)
    count = 13 if x.aval.dtype.itemsize < 8 else 27
    series = fill(x, 1 / (2 * count + 1))
    for k in range(count - 1, 0, -1):
        series = P.add(P.mul(series, square), fill(x, 1 / (2 * k + 1)))
    close = P.add(P.mul(d, s), P.mul(scale(u, 2), P.mul(P.mul(s, square), series)))
    return P.where(near, close, out)


# ---- losses and transformations -----------------------------------------------------------------------------------------

@public(space="special")
def exprel(x: Term) -> Term:
    """(exp(x) - 1) / x, 1 at 0. Elementwise; shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.special.exprel(lg.asarray([0.0])).tolist()
    [1.0]
    """
    x, = ordered("exprel", (inexact(x),))
    small = P.lt(P.abs(x), fill(x, 0.25))                 # near 0 the quotient's derivatives lose all digits
    series = fill(x, 1 / math.factorial(15))
    for k in range(14, 0, -1):
        series = P.add(P.mul(series, x), fill(x, 1 / math.factorial(k)))
    y = P.where(small, fill(x, 1), x)
    return P.where(small, series, P.div(P.expm1(y), y))


@public(space="special")
def boxcox(x: Operand, lmbda: Operand) -> Term:
    """(x ** lmbda - 1) / lmbda, log(x) for lmbda 0. Shapes broadcast. Derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.boxcox(lg.asarray([1.0, 3.0]), 1.0).tolist()
    [0.0, 2.0]
    """
    x, l = two("boxcox", x, lmbda)
    log, zero = P.log(x), P.eq(l, fill(l, 0))
    # (exp(u) - 1) / lmbda, u = lmbda log(x); for small u, lmbda 0 among them, log(x) (exp(u) - 1) / u
    hole = P.bit_and(zero, P.isinf(log))
    u = P.mul(l, P.where(hole, fill(x, 1), log))
    small = P.bit_or(zero, P.lt(P.abs(u), fill(u, 0.25)))
    return P.where(small, P.mul(log, exprel(P.where(small, u, fill(u, 0)))), P.div(P.expm1(u), P.where(small, fill(l, 1), l)))


@public(space="special")
def huber(delta: Operand, r: Operand) -> Term:
    """r² / 2 where |r| <= delta, else delta (|r| - delta / 2); inf for a negative delta. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.huber(1.0, lg.asarray([1.0, 3.0])).tolist()
    [0.5, 2.5]
    """
    d, r = two("huber", delta, r)
    size = P.abs(r)
    out = P.where(P.le(size, d), scale(P.square(r), 0.5), P.mul(d, P.sub(size, scale(d, 0.5))))
    return P.where(P.lt(d, fill(d, 0)), fill(d, math.inf), out)


@public(space="special")
def pseudo_huber(delta: Operand, r: Operand) -> Term:
    """delta² (sqrt(1 + (r / delta)²) - 1), 0 where delta or r is 0, inf for a negative delta. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.pseudo_huber(1.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    d, r = two("pseudo_huber", delta, r)
    zero, one = fill(d, 0), fill(d, 1)
    safe = P.where(P.bit_or(P.eq(d, zero), P.bit_and(P.isnan(d), P.eq(r, zero))), one, d)
    t = P.square(P.div(r, safe))
    # sqrt(1 + t) - 1 = t / (sqrt(1 + t) + 1): no cancellation
    out = P.div(P.mul(P.square(safe), t), P.add(P.sqrt(P.add(one, t)), one))
    return P.where(P.lt(d, zero), fill(d, math.inf), P.where(P.eq(d, zero), zero, out))
