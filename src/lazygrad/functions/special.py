"""Special functions under SciPy's names.

In: tensors and Python numbers that broadcast and promote; integers count as float32. Out: tensors. Rows of one primitive are a
table; what is made of several follows it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from ..errors import DTypeError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from ..prims import bessel as B
from ..prims import incomplete as N
from ..prims import normal  # noqa: F401  (it registers)
from ..prims import special as S
from ..prims.base import REGISTRY, Prim
from .composite import fill
from .elementwise import ordered
from .promotion import P, broadcast, inexact, pair, reshaped, together
from .reductions import Axis, shift
from .reductions import log_softmax as log_softmax_along
from .reductions import logsumexp as logsumexp_along
from .reductions import softmax as softmax_along
from .table import public

# ---- the table -------------------------------------------------------------------------------------------------------
# name, what it is, an argument, the value there

UNARY = [
    ("erfinv", "the inverse of erf, on [-1, 1]", 0.0, 0.0),
    ("erfcinv", "the inverse of erfc, on [0, 2]", 0.0, math.inf),
    ("erfcx", "exp(x*x) erfc(x), which does not underflow", 0.0, 1.0),
    ("erfi", "the imaginary error function -i erf(ix)", 0.0, 0.0),
    ("dawsn", "Dawson's integral exp(-x*x) ∫₀ˣ exp(t*t) dt", 0.0, 0.0),
    ("ndtr", "the distribution function of the standard normal distribution", 0.0, 0.5),
    ("ndtri", "the inverse of ndtr, on [0, 1]", 0.5, 0.0),
    ("log_ndtr", "log(ndtr(x)), which does not underflow", -math.inf, -math.inf),
    ("ndtri_exp", "the inverse of log_ndtr, for x <= 0", -math.inf, -math.inf),
    ("gamma", "the gamma function", 5.0, 24.0),
    ("rgamma", "1 / gamma(x), 0 at the poles", 3.0, 0.5),
    ("gammasgn", "the sign of gamma(x); without derivative", -0.5, -1.0),
    ("exp1", "the exponential integral ∫ exp(-t) / t dt from x to infinity", math.inf, 0.0),
    ("expi", "the exponential integral ∫ exp(t) / t dt up to x", 0.0, -math.inf),
    ("j0", "the Bessel function J of order 0", 0.0, 1.0),
    ("j1", "the Bessel function J of order 1", 0.0, 0.0),
    ("y0", "the Bessel function Y of order 0, for x > 0", 0.0, -math.inf),
    ("y1", "the Bessel function Y of order 1, for x > 0", 0.0, -math.inf),
    ("i0", "the modified Bessel function I of order 0", 0.0, 1.0),
    ("i1", "the modified Bessel function I of order 1", 0.0, 0.0),
    ("k0", "the modified Bessel function K of order 0, for x > 0", 0.0, math.inf),
    ("k1", "the modified Bessel function K of order 1, for x > 0", 0.0, math.inf),
    ("i0e", "exp(-|x|) i0(x)", 0.0, 1.0),
    ("i1e", "exp(-|x|) i1(x)", 0.0, 0.0),
    ("k0e", "exp(x) k0(x)", 0.0, math.inf),
    ("k1e", "exp(x) k1(x)", 0.0, math.inf),
]

BINARY = [
    ("beta", "the beta function Γ(x) Γ(y) / Γ(x + y)", (2.0, 1.0), 0.5),
    ("betaln", "log |beta(x, y)|", (1.0, 1.0), 0.0),
    ("poch", "Pochhammer's symbol Γ(x + y) / Γ(x)", (1.0, 1.0), 1.0),
]

ORDERED = [
    ("jv", "the Bessel function J of order x at y", (1.0, 0.0), 0.0),
    ("yv", "the Bessel function Y of order x at y", (1.0, 0.0), -math.inf),
    ("iv", "the modified Bessel function I of order x at y", (1.0, 0.0), 0.0),
    ("kv", "the modified Bessel function K of order x at y", (1.0, 0.0), math.inf),
    ("ive", "exp(-|y|) iv(x, y)", (1.0, 0.0), 0.0),
    ("kve", "exp(y) kv(x, y)", (1.0, 0.0), math.inf),
]


def _documented(rule: Callable, name: str, what: str, args: str, value: float, more: str) -> Callable:
    rule.__name__ = rule.__qualname__ = name
    shown = [value]
    rule.__doc__ = (f"{what[0].upper()}{what[1:]}. {more}\n\n    >>> import lazygrad as lg\n    >>> lg.special.{name}({args}).tolist()\n    {shown}\n    ")
    return public(space="special")(rule)


def _given(x: float) -> str:
    return f"lg.asarray([{x}])" if math.isfinite(x) else f"lg.asarray([float('{x}')])"


def unary(prim: Prim, name: str, what: str, x: float, value: float) -> Callable:
    def rule(x: Term) -> Term:
        return prim(*ordered(name, (inexact(x),)))
    return _documented(rule, name, what, _given(x), value, "Elementwise; shape and dtype of x.")


def binary(prim: Prim, name: str, what: str, x: tuple[float, float], value: float) -> Callable:
    def rule(x: Operand, y: Operand) -> Term:
        return prim(*two(name, x, y))
    return _documented(rule, name, what, f"{_given(x[0])}, {x[1]}", value, "Elementwise; shapes broadcast, dtypes promote.")


def two(op: str, x: Operand, y: Operand) -> tuple[Term, Term]:
    return ordered(op, tuple(map(inexact, pair(op, x, y))))


def bessel(prim: Prim, name: str, what: str, x: tuple[float, float], value: float) -> Callable:
    def rule(x: Operand, y: Operand) -> Term:
        return prim(*two(name, x, y), k=0)
    return _documented(rule, name, what, f"{_given(x[0])}, {x[1]}", value,
                       "Elementwise; shapes broadcast, dtypes promote. Derivatives by both: by the order to 1e-10, and four of them.")


RULES = {row[0]: maker(REGISTRY[row[0]], *row) for rows, maker in ((UNARY, unary), (BINARY, binary), (ORDERED, bessel)) for row in rows}


# ---- gamma, zeta -----------------------------------------------------------------------------------------------------

@public(space="special")
def polygamma(n: int, x: Term) -> Term:
    """The n-th derivative of digamma, n a whole number from 0. Elementwise; shape and dtype of x.

    >>> import lazygrad as lg
    >>> round(lg.special.polygamma(1, lg.asarray([1.0])).item(), 4)                      # pi ** 2 / 6
    1.6449
    """
    if operator.index(n) < 0:
        raise DTypeError("polygamma", f"n={n}", "a derivative has an order of 0 or more", "pass a whole number")
    x, = ordered("polygamma", (inexact(x),))
    return P.polygamma(x, n=operator.index(n)) if n else P.digamma(x)


@public(space="special")
def multigammaln(a: Term, d: int) -> Term:
    """The logarithm of the d-dimensional gamma function, for a > (d - 1) / 2. Elementwise; shape and dtype of a.

    >>> import lazygrad as lg
    >>> lg.special.multigammaln(lg.asarray([1.0]), 1).tolist()
    [0.0]
    """
    if operator.index(d) < 1:
        raise ShapeError("multigammaln", f"d={d}", "there is one dimension at least", "pass a whole number")
    a, = ordered("multigammaln", (inexact(a),))
    # π^(d(d-1)/4) prod of Γ(a - j/2), j < d
    out = fill(a, d * (d - 1) / 4 * math.log(math.pi))
    for j in range(d):
        out = P.add(out, P.lgamma(P.sub(a, fill(a, j / 2))))
    return out


@public(space="special")
def zeta(x: Operand, q: Operand = 1.0) -> Term:
    """Hurwitz's zeta function, sum over n >= 0 of (q + n)**-x, for x > 1 and q > 0; Riemann's for q = 1. Derivatives by both.

    >>> import lazygrad as lg
    >>> round(lg.special.zeta(lg.asarray([2.0])).item(), 4)                              # pi ** 2 / 6
    1.6449
    """
    return N.zeta(*two("zeta", x, q), k=0)


# ---- incomplete functions --------------------------------------------------------------------------------------------

@public(space="special")
def gammainc(a: Operand, x: Operand) -> Term:
    """The regularised lower incomplete gamma function P(a, x) = ∫₀ˣ t^(a-1) exp(-t) dt / Γ(a), a >= 0, x >= 0.

    Derivatives by a and by x, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gammainc(lg.asarray([1.0]), 0.0).tolist()
    [0.0]
    """
    return N.gammainc(*two("gammainc", a, x), k=0)


@public(space="special")
def gammaincc(a: Operand, x: Operand) -> Term:
    """1 - gammainc(a, x), exact where it is small. Derivatives by a and by x, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gammaincc(lg.asarray([1.0]), 0.0).tolist()
    [1.0]
    """
    return N.gammaincc(*two("gammaincc", a, x))


@public(space="special")
def betainc(a: Operand, b: Operand, x: Operand) -> Term:
    """The regularised incomplete beta function I_x(a, b) = ∫₀ˣ t^(a-1) (1-t)^(b-1) dt / B(a, b), a > 0, b > 0, 0 <= x <= 1.

    Derivatives by all three, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.betainc(lg.asarray([1.0]), 1.0, 0.25).tolist()
    [0.25]
    """
    return N.betainc(*ordered("betainc", tuple(map(inexact, together("betainc", (a, b, x))))), i=0, j=0)


@public(space="special")
def betaincc(a: Operand, b: Operand, x: Operand) -> Term:
    """1 - betainc(a, b, x), exact where it is small. Derivatives by all three, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.betaincc(lg.asarray([1.0]), 1.0, 0.25).tolist()
    [0.75]
    """
    return N.betaincc(*ordered("betaincc", tuple(map(inexact, together("betaincc", (a, b, x))))))


@public(space="special")
def gammaincinv(a: Operand, y: Operand) -> Term:
    """The x of gammainc(a, x) = y, for 0 <= y <= 1. Derivatives by a and by y, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gammaincinv(lg.asarray([1.0]), 0.0).tolist()
    [0.0]
    """
    return N.gammaincinv(*two("gammaincinv", a, y))


@public(space="special")
def gammainccinv(a: Operand, y: Operand) -> Term:
    """The x of gammaincc(a, x) = y, for 0 <= y <= 1. Derivatives by a and by y, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gammainccinv(lg.asarray([1.0]), 1.0).tolist()
    [0.0]
    """
    return N.gammainccinv(*two("gammainccinv", a, y))


@public(space="special")
def betaincinv(a: Operand, b: Operand, y: Operand) -> Term:
    """The x of betainc(a, b, x) = y, for 0 <= y <= 1. Derivatives by all three, to any order. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.betaincinv(lg.asarray([1.0]), 1.0, 0.25).tolist()
    [0.25]
    """
    return N.betaincinv(*ordered("betaincinv", tuple(map(inexact, together("betaincinv", (a, b, y))))))


@public(space="special")
def expn(n: int, x: Term) -> Term:
    """The exponential integral ∫ exp(-x t) / t**n dt from 1 to infinity, n a whole number from 0. Elementwise; shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.special.expn(2, lg.asarray([0.0])).tolist()
    [1.0]
    """
    if operator.index(n) < 0:
        raise DTypeError("expn", f"n={n}", "an order is 0 or more", "pass a whole number")
    return S.expn(*ordered("expn", (inexact(x),)), n=operator.index(n))


# ---- Bessel functions of a sphere ------------------------------------------------------------------------------------

def _spherical(letter: str, what: str, x: float, value: float) -> Callable:
    name = f"spherical_{letter}n"
    prim = getattr(B, name)

    def rule(n: int, z: Term, derivative: bool = False) -> Term:
        order = operator.index(n)
        if order < 0:
            raise DTypeError(name, f"n={n}", "an order is 0 or more", "pass a whole number")
        z, = ordered(name, (inexact(z),))
        if not derivative:
            return prim(z, n=order)
        return prim.derivative.rule(None, z, n=order)[0](fill(z, 1))

    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = (f"The {what} spherical Bessel function of order n (a whole number), or its derivative. Elementwise; shape and dtype of z.\n\n"
                    f"    >>> import lazygrad as lg\n    >>> lg.special.{name}(0, {_given(x)}).tolist()\n    {[value]}\n    ")
    return public(space="special")(rule)


spherical_jn = _spherical("j", "first", 0.0, 1.0)
spherical_yn = _spherical("y", "second", 0.0, -math.inf)
spherical_in = _spherical("i", "first modified", 0.0, 1.0)
spherical_kn = _spherical("k", "second modified", math.inf, 0.0)


# ---- over axes, with SciPy's arguments ----------------------------------------------------------------------------------

@public(space="special")
def logsumexp(a: Term, axis: Axis = None, b: Operand = None, keepdims: bool = False) -> Term:
    """log(sum(b * exp(a))) over `axis`, all of them unless given, without overflow; NaN where the sum is negative. b broadcasts.

    >>> import lazygrad as lg
    >>> lg.special.logsumexp(lg.asarray([1000.0, 1000.0]), b=0.5).tolist()
    1000.0
    """
    if b is None:
        return logsumexp_along(a, axis, keepdims)
    a, b = two("logsumexp", a, b)
    counts = P.ne(b, fill(b, 0))
    a = P.where(counts, a, fill(a, -math.inf))                     # what counts nothing must not be the largest
    top = shift(a, axis, "logsumexp")
    top = P.where(P.isfinite(top), top, fill(top, 0))
    total = P.mul(b, P.exp(P.sub(a, broadcast(top, a.aval.shape))))
    axes = tuple([k for k, n in enumerate(top.aval.shape) if n != a.aval.shape[k] or axis is None or k in _axes(axis, a.aval.ndim)])
    s = reshaped(P.sum(total, axes=axes), top.aval.shape)
    out = P.add(P.where(P.eq(s, fill(s, 0)), fill(s, -math.inf), P.log(s)), top)
    return out if keepdims else reshaped(out, tuple([n for k, n in enumerate(out.aval.shape) if k not in axes]))


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    return tuple([k % ndim for k in (axis if isinstance(axis, tuple) else (axis,))])


@public(space="special")
def softmax(x: Term, axis: Axis = None) -> Term:
    """exp(x) / sum(exp(x)) over `axis`, all of them unless given, without overflow.

    >>> import lazygrad as lg
    >>> lg.special.softmax(lg.asarray([[1000.0], [1000.0]])).tolist()
    [[0.5], [0.5]]
    """
    return softmax_along(x, axis)


@public(space="special")
def log_softmax(x: Term, axis: Axis = None) -> Term:
    """log(softmax(x)) without overflow or underflow.

    >>> import lazygrad as lg
    >>> lg.special.log_softmax(lg.asarray([[1000.0], [0.0]])).tolist()
    [[0.0], [-1000.0]]
    """
    return log_softmax_along(x, axis)
