"""Airy, elliptic, hypergeometric and other integrals, and orthogonal polynomials, under SciPy's names.

In: tensors and Python numbers that broadcast and promote; integers count as float32. Out: tensors, tuples of them where SciPy has several.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from ..errors import DTypeError
from ..ir.term import Term
from ..lift import Operand
from ..prims import elliptic as L
from ..prims import hypergeometric as H
from ..prims import integrals as I
from ..prims.base import REGISTRY, Prim
from .composite import fill, scale
from .elementwise import ordered
from .promotion import P, dtypes, inexact, together
from .special import binary, two, unary
from .table import public

# ---- of one and of two arguments: name, what it is, an argument, the value there ----------------------------------------

UNARY = [
    ("spence", "the dilogarithm ∫ log(t) / (1 - t) dt from 1 to x, for x >= 0", 1.0, 0.0),
]
BINARY = [
    ("owens_t", "Owen's T: the integral of exp(-x² (1 + t²) / 2) / (2π (1 + t²)) over t from 0 to y", (1.0, 0.0), 0.0),
    ("struve", "the Struve function H of order x at y > 0; a derivative by the order is a GradientError", (1.0, 0.0), 0.0),
    ("modstruve", "the modified Struve function L of order x at y > 0; a derivative by the order is a GradientError", (1.0, 0.0), 0.0),
    ("hyp0f1", "the limit function 0F1 of parameter x at y; a derivative by the parameter is a GradientError", (1.0, 0.0), 1.0),
]
RULES = {row[0]: maker(REGISTRY[row[0]], *row) for rows, maker in ((UNARY, unary), (BINARY, binary)) for row in rows}


def one(op: str, x: Term) -> Term:
    """A floating argument."""
    return ordered(op, (inexact(x),))[0]


def several(op: str, *xs: Operand) -> tuple[Term, ...]:
    """Floating arguments of one shape and dtype."""
    return ordered(op, tuple(map(inexact, together(op, xs))))


# ---- several results ---------------------------------------------------------------------------------------------------

@public(space="special")
def airy(z: Term) -> tuple[Term, Term, Term, Term]:
    """The Airy functions Ai, Ai', Bi, Bi' at real z. Elementwise; shape and dtype of z.

    >>> import lazygrad as lg
    >>> [round(v.item(), 4) for v in lg.special.airy(lg.asarray(0.0))]
    [0.355, -0.2588, 0.6149, 0.4483]
    """
    z = one("airy", z)
    return I.airy_ai(z), I.airy_aip(z), I.airy_bi(z), I.airy_bip(z)


@public(space="special")
def sici(x: Term) -> tuple[Term, Term]:
    """The sine integral ∫ sin(t) / t dt from 0 to x, and the cosine integral γ + log(x) + ∫ (cos(t) - 1) / t dt (NaN for negative x).

    >>> import lazygrad as lg
    >>> [v.item() for v in lg.special.sici(lg.asarray(0.0))]
    [0.0, -inf]
    """
    x = one("sici", x)
    return I.si(x), I.ci(x)


@public(space="special")
def shichi(x: Term) -> tuple[Term, Term]:
    """The hyperbolic sine integral ∫ sinh(t) / t dt from 0 to x, and the cosine integral γ + log|x| + ∫ (cosh(t) - 1) / t dt.

    >>> import lazygrad as lg
    >>> [v.item() for v in lg.special.shichi(lg.asarray(0.0))]
    [0.0, -inf]
    """
    x = one("shichi", x)
    return I.shi(x), I.chi(x)


@public(space="special")
def fresnel(z: Term) -> tuple[Term, Term]:
    """The Fresnel integrals S and C: ∫ sin(π t² / 2) dt and ∫ cos(π t² / 2) dt from 0 to z.

    >>> import lazygrad as lg
    >>> [v.item() for v in lg.special.fresnel(lg.asarray(float("inf")))]
    [0.5, 0.5]
    """
    z = one("fresnel", z)
    return I.fresnel_s(z), I.fresnel_c(z)


# ---- Lambert, Wright, Faddeeva, Voigt -----------------------------------------------------------------------------------

@public(space="special")
def lambertw(z: Term, k: int = 0) -> Term:
    """The w of w exp(w) = z, branch k. Shape and dtype of z: for real z the real branches 0 and -1 (NaN where they are not real).

    Unlike SciPy's it gives real numbers for real z; pass complex z for complex ones.

    >>> import lazygrad as lg
    >>> lg.special.lambertw(lg.asarray([0.0, -1.0])).tolist()
    [0.0, nan]
    """
    z = inexact(z)
    if z.aval.dtype == dtypes.float16:
        raise DTypeError("lambertw", "float16", "it is computed in float32 or float64", "cast to float32")
    return I.lambertw(z, k=operator.index(k))


@public(space="special")
def wrightomega(z: Term) -> Term:
    """Wright's ω, with ω + log(ω) = z: lambertw(exp(z)), which does not overflow. Shape and dtype of z.

    >>> import lazygrad as lg
    >>> lg.special.wrightomega(lg.asarray([1.0])).tolist()
    [1.0]
    """
    z = inexact(z)
    if z.aval.dtype == dtypes.float16:
        raise DTypeError("wrightomega", "float16", "it is computed in float32 or float64", "cast to float32")
    return I.wrightomega(z)


@public(space="special")
def wofz(z: Term) -> Term:
    """The Faddeeva function exp(-z²) erfc(-iz); complex, also for real z.

    >>> import lazygrad as lg
    >>> lg.special.wofz(lg.asarray([0.0])).tolist()
    [(1+0j)]
    """
    z = inexact(z)
    if z.aval.dtype.kind != "c":
        z = P.cast(z, dtype=dtypes.complex128 if z.aval.dtype == dtypes.float64 else dtypes.complex64)
    return I.wofz(z)


@public(space="special")
def voigt_profile(x: Operand, sigma: Operand, gamma: Operand) -> Term:
    """The density at x of the sum of a normal number of deviation `sigma` > 0 and a Cauchy number of half-width `gamma` >= 0.

    Differentiates by all three. Shapes broadcast.

    >>> import lazygrad as lg
    >>> round(lg.special.voigt_profile(lg.asarray(0.0), 1.0, 0.0).item(), 4)               # 1 / sqrt(2 pi)
    0.3989
    """
    return I.voigt(*several("voigt_profile", x, sigma, gamma), imaginary=False)


# ---- hypergeometric ----------------------------------------------------------------------------------------------------

@public(space="special")
def hyp1f1(a: Operand, b: Operand, x: Operand) -> Term:
    """Kummer's function 1F1(a; b; x). Shapes broadcast. Differentiates by x; a derivative by a parameter is a GradientError.

    >>> import lazygrad as lg
    >>> lg.special.hyp1f1(1.0, 2.0, lg.asarray([0.0])).tolist()
    [1.0]
    """
    return H.hyp1f1(*several("hyp1f1", a, b, x))


@public(space="special")
def hyperu(a: Operand, b: Operand, x: Operand) -> Term:
    """Tricomi's function U(a, b, x), x > 0. Shapes broadcast. Differentiates by x; a derivative by a parameter is a GradientError.

    >>> import lazygrad as lg
    >>> lg.special.hyperu(0.0, 2.0, lg.asarray([3.0])).tolist()
    [1.0]
    """
    return H.hyperu(*several("hyperu", a, b, x))


@public(space="special")
def hyp2f1(a: Operand, b: Operand, c: Operand, z: Operand) -> Term:
    """Gauss's function 2F1(a, b; c; z), z real. Shapes broadcast. Differentiates by z; a derivative by a parameter is a GradientError.

    >>> import lazygrad as lg
    >>> lg.special.hyp2f1(1.0, 1.0, 2.0, lg.asarray([0.0])).tolist()
    [1.0]
    """
    return H.hyp2f1(*several("hyp2f1", a, b, c, z))


# ---- elliptic integrals --------------------------------------------------------------------------------------------------

@public(space="special")
def ellipk(m: Term) -> Term:
    """The complete elliptic integral of the first kind, ∫ (1 - m sin² t)^(-1/2) dt from 0 to π / 2, m < 1. Elementwise.

    >>> import lazygrad as lg
    >>> round(lg.special.ellipk(lg.asarray(0.0)).item(), 4)
    1.5708
    """
    return L.ellipk(one("ellipk", m), k=0)


@public(space="special")
def ellipkm1(p: Term) -> Term:
    """ellipk(1 - p), exact near p = 0, where that is infinite. Elementwise.

    >>> import lazygrad as lg
    >>> lg.special.ellipkm1(lg.asarray([0.0])).tolist()
    [inf]
    """
    return L.ellipkm1(one("ellipkm1", p), k=0)


@public(space="special")
def ellipe(m: Term) -> Term:
    """The complete elliptic integral of the second kind, ∫ (1 - m sin² t)^(1/2) dt from 0 to π / 2, m <= 1. Elementwise.

    >>> import lazygrad as lg
    >>> lg.special.ellipe(lg.asarray([1.0])).tolist()
    [1.0]
    """
    return L.ellipe(one("ellipe", m), k=0)


@public(space="special")
def ellipkinc(phi: Operand, m: Operand) -> Term:
    """The incomplete elliptic integral of the first kind, ∫ (1 - m sin² t)^(-1/2) dt from 0 to phi. Shapes broadcast; derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.ellipkinc(lg.asarray([1.0]), 0.0).tolist()
    [1.0]
    """
    return L.ellipkinc(*two("ellipkinc", phi, m), k=0)


@public(space="special")
def ellipeinc(phi: Operand, m: Operand) -> Term:
    """The incomplete elliptic integral of the second kind, ∫ (1 - m sin² t)^(1/2) dt from 0 to phi. Shapes broadcast; derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.ellipeinc(lg.asarray([1.0]), 0.0).tolist()
    [1.0]
    """
    return L.ellipeinc(*two("ellipeinc", phi, m), k=0)


@public(space="special")
def agm(a: Operand, b: Operand) -> Term:
    """The arithmetic-geometric mean of a > 0 and b > 0. Shapes broadcast; derivatives by both.

    >>> import lazygrad as lg
    >>> round(lg.special.agm(lg.asarray(1.0), 2.0).item(), 5)
    1.45679
    """
    a, b = two("agm", a, b)
    # (π / 4) (a + b) / K(m), 1 - m = 4 a b / (a + b)²
    s = P.add(a, b)
    rest = P.mul(P.div(scale(a, 4), s), P.div(b, s))
    return scale(P.div(s, L.ellipkm1(rest, k=0)), math.pi / 4)


# ---- orthogonal polynomials ----------------------------------------------------------------------------------------------

def degree(op: str, n: int) -> int:
    if operator.index(n) < 0:
        raise DTypeError(op, f"n={n}", "a degree is 0 or more", "pass a whole number")
    return operator.index(n)


def polynomial(name: str, what: str) -> Callable:
    prim: Prim = getattr(H, name)
    parameters = prim.names[1:]
    text = f"""The {what} polynomial of degree n, a whole number, at x. Elementwise; shape and dtype of x.

    >>> import lazygrad as lg
    >>> lg.special.{name}(0, {''.join(['1.0, ' for _ in parameters])}lg.asarray([0.5])).tolist()
    [1.0]
    """
    if len(parameters) == 2:
        def rule(n: int, alpha: float, beta: float, x: Term) -> Term:
            return prim(one(name, x), n=degree(name, n), alpha=float(alpha), beta=float(beta))
    elif parameters:
        def rule(n: int, alpha: float, x: Term) -> Term:
            return prim(one(name, x), n=degree(name, n), alpha=float(alpha))
    else:
        def rule(n: int, x: Term) -> Term:
            return prim(one(name, x), n=degree(name, n))
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = text
    return public(space="special")(rule)


POLYNOMIALS = {name: polynomial(name, what) for name, what in (
    ("eval_legendre", "Legendre"), ("eval_chebyt", "first Chebyshev"), ("eval_chebyu", "second Chebyshev"), ("eval_hermite", "(physicists') Hermite"),
    ("eval_hermitenorm", "(probabilists') Hermite"), ("eval_laguerre", "Laguerre"), ("eval_genlaguerre", "generalised Laguerre"),
    ("eval_gegenbauer", "Gegenbauer"), ("eval_jacobi", "Jacobi"))}


# ---- near 0 ----------------------------------------------------------------------------------------------------------------

@public(space="special")
def cosm1(x: Term) -> Term:
    """cos(x) - 1, exact near 0. Elementwise.

    >>> import lazygrad as lg
    >>> lg.special.cosm1(lg.asarray([0.0])).tolist()
    [-0.0]
    """
    x = one("cosm1", x)
    return scale(P.square(P.sin(scale(x, 0.5))), -2)


@public(space="special")
def powm1(x: Operand, y: Operand) -> Term:
    """x**y - 1 for x > 0, exact where that is near 0. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.powm1(lg.asarray([1.0, 3.0]), 2.0).round(4).tolist()
    [0.0, 8.0]
    """
    x, y = two("powm1", x, y)
    near = P.lt(P.abs(P.sub(x, fill(x, 1))), fill(x, 0.5))               # there x - 1 is exact, and its log1p keeps all digits
    u = P.where(near, P.sub(x, fill(x, 1)), fill(x, 0))
    log = P.where(near, P.log1p(u), P.log(P.where(near, fill(x, 1), x)))
    t = P.mul(y, log)
    small = P.lt(P.abs(t), fill(t, 1))                                    # beyond, the power itself is exact, and the logarithm's error grows
    return P.where(small, P.expm1(P.where(small, t, fill(t, 0))), P.sub(P.pow(P.where(small, fill(x, 1), x), y), fill(x, 1)))


@public(space="special")
def exp10(x: Term) -> Term:
    """10**x. Elementwise.

    >>> import lazygrad as lg
    >>> lg.special.exp10(lg.asarray([0.0, 2.0])).tolist()
    [1.0, 100.0]
    """
    x = one("exp10", x)
    return P.pow(fill(x, 10), x)
