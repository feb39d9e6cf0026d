"""The distribution function of Student's t and its inverse, which SciPy computes on the host, with derivatives by both arguments, to any order."""

from __future__ import annotations

import math

from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .elementwise import add, div, exp, lgamma, log, log1p, mul, neg, scale, square, sub, times
from .incomplete import beta_density, betainc
from .leaf import like
from .special import in_double


def _density(n: Term, t: Term) -> Term:
    """Γ((n + 1) / 2) / (Γ(n / 2) sqrt(n π)) (1 + t² / n)^(-(n + 1) / 2)."""
    half = scale(add(n, like(n, 1)), 0.5)
    front = sub(sub(lgamma(half), lgamma(scale(n, 0.5))), scale(log(scale(n, math.pi)), 0.5))
    return exp(sub(front, mul(half, log1p(div(square(t), n)))))


def _by_degrees(c: Term, n: Term, t: Term) -> Term:
    # 2 F = 1 ± I_x(1/2, n/2) with x = t² / (n + t²), or I_y(n/2, 1/2) with y = 1 - x below 0 and 2 less that above: each where it is exact
    zero = E.eq(t, like(t, 0))
    s = square(E.where(zero, like(t, 1), t))
    far, whole, half, root = E.gt(s, like(s, 1)), add(n, s), like(s, 0.5), scale(n, 0.5)
    x, y = E.where(far, half, div(s, whole)), E.where(far, div(n, whole), half)
    slope = div(s, square(whole))                              # of y by n
    tail = add(scale(betainc(root, half, y, i=1, j=0), 0.5), mul(beta_density(root, half, y), slope))
    body = sub(scale(betainc(half, root, x, i=0, j=1), 0.5), mul(beta_density(half, root, x), slope))
    away = scale(E.where(far, neg(tail), body), 0.5)           # of F - 1/2 for t > 0
    side = E.where(E.lt(t, like(t, 0)), neg(away), away)
    return times(c, E.where(zero, like(t, 0), side))


stdtr = Prim("stdtr", in_double("stdtr"), E.same("stdtr", "f"), Host(),
             Partials(lambda o, n, t: (lambda c: _by_degrees(c, n, t), lambda c: times(c, _density(n, t)))))
# F(n, t(n, p)) = p: ∂t/∂p = 1 / ∂F/∂t, ∂t/∂n = -∂F/∂n / ∂F/∂t
stdtrit = Prim("stdtrit", in_double("stdtrit"), E.same("stdtrit", "f"), Host(),
               Partials(lambda t, n, p: (lambda c: neg(div(_by_degrees(c, n, t), _density(n, t))), lambda c: div(c, _density(n, t)))))
