"""Inverses of distribution functions and transformations, derivatives of Bessel functions, Hankel functions, under SciPy's names.

In: tensors and Python numbers that broadcast and promote; integers count as float32. Out: tensors. Derivatives by all real arguments.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from ..errors import DTypeError
from ..ir.term import Term
from ..lift import Operand
from ..prims import bessel as B
from ..prims import incomplete as N
from ..prims import probabilities as D
from ..prims.base import Prim
from .composite import fill, scale
from .promotion import P, dtypes
from .special import two
from .special_integrals import one, several
from .table import public

# ---- distributions -----------------------------------------------------------------------------------------------------

@public(space="special")
def betainccinv(a: Operand, b: Operand, y: Operand) -> Term:
    """The x of betaincc(a, b, x) = y, for 0 <= y <= 1. Derivatives by all three. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.betainccinv(lg.asarray([1.0]), 1.0, 0.25).tolist()
    [0.75]
    """
    return N.betainccinv(*several("betainccinv", a, b, y))


@public(space="special")
def gdtrix(a: Operand, b: Operand, p: Operand) -> Term:
    """The x of gdtr(a, b, x) = p. Derivatives by all three. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gdtrix(1.0, 2.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    a, b, p = several("gdtrix", a, b, p)
    return P.div(N.gammaincinv(b, p), a)


@public(space="special")
def fdtri(dfn: Operand, dfd: Operand, p: Operand) -> Term:
    """The x of fdtr(dfn, dfd, x) = p. Derivatives by all three. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.fdtri(1.0, 2.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    m, n, p = several("fdtri", dfn, dfd, p)
    a, b = scale(m, 0.5), scale(n, 0.5)
    share, rest = N.betaincinv(a, b, p), N.betaincinv(b, a, P.sub(fill(p, 1), p))          # of m x, and of n, in m x + n: the smaller is exact
    low = P.lt(share, fill(p, 0.5))
    small, large = P.where(low, share, fill(p, 0.5)), P.where(low, fill(p, 0.5), rest)
    ratio = P.where(low, P.div(small, P.sub(fill(p, 1), small)), P.div(P.sub(fill(p, 1), large), large))
    return P.div(P.mul(n, ratio), m)


@public(space="special")
def stdtrit(df: Operand, p: Operand) -> Term:
    """The t of stdtr(df, t) = p. Derivatives by both. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.stdtrit(3.0, lg.asarray([0.5])).tolist()
    [0.0]
    """
    return D.stdtrit(*two("stdtrit", df, p))


# ---- transformations -----------------------------------------------------------------------------------------------------

def _power_log(u: Term, l: Term) -> Term:
    """(exp(l u) - 1) / l, u where l is 0."""
    t = P.mul(l, u)
    small = P.lt(P.abs(t), fill(t, 0.25))
    series = fill(t, 1 / math.factorial(15))
    s = P.where(small, t, fill(t, 0))
    for k in range(14, 0, -1):
        series = P.add(P.mul(series, s), fill(t, 1 / math.factorial(k)))
    return P.where(small, P.mul(u, series), P.div(P.expm1(t), P.where(small, fill(l, 1), l)))


@public(space="special")
def boxcox1p(x: Operand, lmbda: Operand) -> Term:
    """boxcox(1 + x, lmbda), exact near x = 0. Shapes broadcast. Derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.boxcox1p(lg.asarray([0.0, 2.0]), 1.0).tolist()
    [0.0, 2.0]
    """
    x, l = two("boxcox1p", x, lmbda)
    return _power_log(P.log1p(x), l)


def _log_power(y: Term, l: Term) -> Term:
    """log(1 + l y) / l, y where l is 0."""
    t = P.mul(l, y)
    small = P.lt(P.abs(t), fill(t, 0.1))
    s = P.where(small, t, fill(t, 0))
    series = fill(t, 1 / 17)
    for k in range(16, 0, -1):                             # 1 - t/2 + t²/3 - ...
        series = P.sub(fill(t, 1 / k), P.mul(series, s))
    return P.where(small, P.mul(y, series), P.div(P.log1p(t), P.where(small, fill(l, 1), l)))


@public(space="special")
def inv_boxcox(y: Operand, lmbda: Operand) -> Term:
    """The x of boxcox(x, lmbda) = y. Shapes broadcast. Derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.inv_boxcox(lg.asarray([0.0]), 2.0).tolist()
    [1.0]
    """
    return P.exp(_log_power(*two("inv_boxcox", y, lmbda)))


@public(space="special")
def inv_boxcox1p(y: Operand, lmbda: Operand) -> Term:
    """The x of boxcox1p(x, lmbda) = y. Shapes broadcast. Derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.inv_boxcox1p(lg.asarray([0.0]), 2.0).tolist()
    [0.0]
    """
    return P.expm1(_log_power(*two("inv_boxcox1p", y, lmbda)))


@public(space="special")
def zetac(x: Term) -> Term:
    """Riemann's zeta less 1, exact where it is small, for x > 1. Elementwise.

    >>> import lazygrad as lg
    >>> round(lg.special.zetac(lg.asarray(2.0)).item(), 4)
    0.6449
    """
    x = one("zetac", x)
    return N.zeta(x, fill(x, 2), k=0)


# ---- Bessel functions ------------------------------------------------------------------------------------------------------

def _derivative(prim: Prim, turned: int, outer: int) -> Callable[[str, Operand, Operand, int], Term]:
    """The n-th derivative by the argument: sums of f[v - n + 2k] / 2^n with binomial factors (DLMF 10.6.7, 10.29.5).

    `turned`: -1 where the factors change signs; `outer`: the sign for every derivative.
    """
    def rule(op: str, v: Operand, z: Operand, n: int) -> Term:
        order = operator.index(n)
        if order < 0:
            raise DTypeError(op, f"n={n}", "a derivative has an order of 0 or more", "pass a whole number")
        v, z = two(op, v, z)
        parts = [scale(prim(P.add(v, fill(v, 2 * k - order)), z, k=0), outer**order * turned**k * math.comb(order, k) / 2**order) for k in range(order + 1)]
        found = parts[0]
        for part in parts[1:]:
            found = P.add(found, part)
        return found
    return rule


_JVP, _YVP, _IVP, _KVP = _derivative(B.jv, -1, 1), _derivative(B.yv, -1, 1), _derivative(B.iv, 1, 1), _derivative(B.kv, 1, -1)


@public(space="special")
def jvp(v: Operand, z: Operand, n: int = 1) -> Term:
    """The n-th derivative by z of jv(v, z). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.jvp(1.0, lg.asarray([0.0])).tolist()
    [0.5]
    """
    return _JVP("jvp", v, z, n)


@public(space="special")
def yvp(v: Operand, z: Operand, n: int = 1) -> Term:
    """The n-th derivative by z of yv(v, z). Shapes broadcast.

    >>> import lazygrad as lg
    >>> round(lg.special.yvp(0.0, lg.asarray(1.0)).item(), 4)
    0.7812
    """
    return _YVP("yvp", v, z, n)


@public(space="special")
def ivp(v: Operand, z: Operand, n: int = 1) -> Term:
    """The n-th derivative by z of iv(v, z). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.ivp(1.0, lg.asarray([0.0])).tolist()
    [0.5]
    """
    return _IVP("ivp", v, z, n)


@public(space="special")
def kvp(v: Operand, z: Operand, n: int = 1) -> Term:
    """The n-th derivative by z of kv(v, z). Shapes broadcast.

    >>> import lazygrad as lg
    >>> round(lg.special.kvp(0.0, lg.asarray(1.0)).item(), 4)
    -0.6019
    """
    return _KVP("kvp", v, z, n)


def _hankel(op: str, v: Operand, z: Operand, sign: int) -> Term:
    v, z = two(op, v, z)
    kind = dtypes.complex128 if z.aval.dtype == dtypes.float64 else dtypes.complex64
    j, y = [P.cast(f(v, z, k=0), dtype=kind) for f in (B.jv, B.yv)]
    return P.add(j, P.mul(y, fill(y, sign * 1j)))


@public(space="special")
def hankel1(v: Operand, z: Operand) -> Term:
    """The Hankel function jv(v, z) + i yv(v, z) at real z > 0; complex. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.hankel1(0.0, lg.asarray([1.0])).dtype
    dtype('complex64')
    """
    return _hankel("hankel1", v, z, 1)


@public(space="special")
def hankel2(v: Operand, z: Operand) -> Term:
    """The Hankel function jv(v, z) - i yv(v, z) at real z > 0; complex. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.hankel2(0.0, lg.asarray([1.0])).dtype
    dtype('complex64')
    """
    return _hankel("hankel2", v, z, -1)
