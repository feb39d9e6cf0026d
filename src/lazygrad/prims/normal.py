"""The logarithm of the normal distribution function, compiled, and its inverse: two units in the last place, far tails included."""

from __future__ import annotations

import math

import numpy as np

from ..ir.scalar import Scalar, apply, cast, const
from ..ir.term import Term
from . import elementwise as E
from . import refined
from .elementwise import add, div, exp, neg, scale, square, times
from .leaf import like
from .special import ROOT_2PI, erfcx

FAR = -10.0              # from here down the logarithm by its asymptotic series
TAIL = [float((-1) ** k * math.prod(range(1, 2 * k, 2))) for k in range(21)]          # -x Φ(x) / φ(x) in powers of 1 / x²


def _log_ndtr(x: Scalar) -> Scalar:
    if x.dtype == np.float16:                                         # the series leaves its range
        return cast(_log_ndtr(cast(x, np.dtype("float32"))), x.dtype)
    k = lambda v: const(v, x.dtype)
    above, far = apply("lt", k(0.0), x), apply("lt", x, k(FAR))
    lower = apply("ndtr", apply("neg", apply("abs", x)))              # of the smaller side
    middle = apply("select", above, apply("log1p", apply("neg", lower)), apply("log", lower))
    y = apply("select", far, x, k(FAR))
    w = apply("div", k(1.0), apply("mul", y, y))
    series = k(0.0)
    for c in reversed(TAIL[1:]):
        series = apply("mul", apply("add", series, k(c)), w)
    rest = apply("add", apply("log", apply("mul", apply("neg", y), k(ROOT_2PI))), apply("neg", apply("log1p", series)))
    away = apply("neg", apply("add", apply("mul", apply("mul", y, y), k(0.5)), rest))
    out = apply("select", far, away, middle)
    return apply("select", apply("isnan", x), x, out)


def _slope(c: Term, o: Term, x: Term) -> Term:
    """c φ(x) / Φ(x): by erfcx below 0, where both vanish."""
    low = E.lt(x, like(x, 0))
    tail = div(like(x, math.sqrt(2 / math.pi)), erfcx(scale(E.where(low, x, like(x, -1)), -math.sqrt(0.5))))
    body = scale(exp(neg(add(scale(square(E.where(low, like(x, 1), x)), 0.5), o))), 1 / ROOT_2PI)
    return times(c, E.where(low, tail, body))


log_ndtr = E.unary("log_ndtr", refined.log_ndtr, "f", _slope, _log_ndtr)
ndtri_exp = E.unary("ndtri_exp", E.special("ndtri_exp"), "f", lambda c, o, x: div(c, _slope(like(x, 1), x, o)), E.Host())
