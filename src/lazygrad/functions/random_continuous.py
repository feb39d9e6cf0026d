"""Continuous distributions: the quantile function of a uniform number, or a transform of normal ones.

In: a key, a shape, parameters that broadcast; the draw is written as a function of them, so it differentiates. Out: tensors.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..ir.term import Term
from ..lift import Operand, operation
from .promotion import P, Shape, cast, constant
from .random_keys import AGAIN, drawn, parts
from .random_uniform import fraction, open_unit, placed, unit, wide


@operation()
def normal(key: Term, shape: object = None, dtype: object = None, loc: Operand = 0.0, scale: Operand = 1.0) -> Term:
    """Normal with mean `loc` and standard deviation `scale`; Box and Muller's transform, out to 6.7 sigma (8.6 in float64).

    >>> import lazygrad as lg
    >>> x = lg.random.normal(lg.random.key(0), (10000,), loc=3.0)
    >>> abs(x.mean().item() - 3) < 0.05, abs(x.std().item() - 1) < 0.05
    (True, True)
    """
    shape, dtype, loc, scale = placed("normal", shape, dtype, loc, scale)
    return P.add(loc, P.mul(scale, gaussian("normal", key, shape, dtype)))


def standard(u: Term, v: Term) -> Term:
    """Standard normal numbers of uniform ones: sqrt(-2 log u) cos(2 pi v)."""
    radius = P.sqrt(P.mul(P.log(u), like(u, -2.0)))
    return P.mul(radius, P.cos(P.mul(v, like(v, 2 * math.pi))))


def gaussian(op: str, key: Term, shape: Shape, dtype: np.dtype) -> Term:
    """Standard normal numbers."""
    if dtype == dtypes.float64:
        u, v = open_unit(op, key, shape, dtype), unit(op, key, shape, dtype, AGAIN)
    else:
        u, v = [fraction(w, dtype) for w in drawn(op, key, shape)]
    return cast(standard(u, v), dtype)


@operation()
def lognormal(key: Term, shape: object = None, dtype: object = None, mean: Operand = 0.0, sigma: Operand = 1.0) -> Term:
    """exp of a normal number with these parameters.

    >>> import lazygrad as lg
    >>> bool((lg.random.lognormal(lg.random.key(0), (100,)) > 0).all())
    True
    """
    return P.exp(normal.rule(key, shape, dtype, mean, sigma))


def by_quantile(op: str, key: Term, shape: object, dtype: object, quantile, *parameters: Operand) -> Term:
    """The quantile function of a distribution at uniform numbers of (0, 1): `quantile(u, *parameters)`."""
    shape, dtype, *terms = placed(op, shape, dtype, *parameters)
    u = open_unit(op, key, shape, dtype)
    wide = u.aval.dtype
    return cast(quantile(u, *[cast(t, wide) for t in terms]), dtype)


def like(x: Term, value: float) -> Term:
    return constant(value, x.aval.shape, x.aval.dtype)


def logit(u: Term) -> Term:
    """log(u / (1 - u))."""
    return P.sub(P.log(u), P.log1p(P.neg(u)))


def minus_log(u: Term) -> Term:
    """A standard exponential number."""
    return P.neg(P.log(u))


@operation()
def exponential(key: Term, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Exponential with mean `scale`.

    >>> import lazygrad as lg
    >>> abs(lg.random.exponential(lg.random.key(0), (10000,), scale=2.0).mean().item() - 2) < 0.1
    True
    """
    return by_quantile("exponential", key, shape, dtype, lambda u, s: P.mul(s, minus_log(u)), scale)


@operation()
def laplace(key: Term, shape: object = None, dtype: object = None, loc: Operand = 0.0, scale: Operand = 1.0) -> Term:
    """Laplace (double exponential) around `loc`.

    >>> import lazygrad as lg
    >>> abs(lg.random.laplace(lg.random.key(0), (10000,)).mean().item()) < 0.1
    True
    """
    def quantile(u: Term, loc: Term, scale: Term) -> Term:
        lower = P.log(P.mul(u, like(u, 2.0)))
        upper = P.neg(P.log(P.mul(P.sub(like(u, 1.0), u), like(u, 2.0))))
        return P.add(loc, P.mul(scale, P.where(P.lt(u, like(u, 0.5)), lower, upper)))
    return by_quantile("laplace", key, shape, dtype, quantile, loc, scale)


@operation()
def logistic(key: Term, shape: object = None, dtype: object = None, loc: Operand = 0.0, scale: Operand = 1.0) -> Term:
    """Logistic around `loc`.

    >>> import lazygrad as lg
    >>> abs(lg.random.logistic(lg.random.key(0), (10000,)).mean().item()) < 0.1
    True
    """
    return by_quantile("logistic", key, shape, dtype, lambda u, m, s: P.add(m, P.mul(s, logit(u))), loc, scale)


@operation()
def gumbel(key: Term, shape: object = None, dtype: object = None, loc: Operand = 0.0, scale: Operand = 1.0) -> Term:
    """Gumbel: the distribution of the largest of many exponential numbers.

    >>> import lazygrad as lg
    >>> abs(lg.random.gumbel(lg.random.key(0), (10000,)).mean().item() - 0.5772) < 0.05
    True
    """
    return by_quantile("gumbel", key, shape, dtype, lambda u, m, s: P.sub(m, P.mul(s, P.log(minus_log(u)))), loc, scale)


@operation()
def cauchy(key: Term, shape: object = None, dtype: object = None, loc: Operand = 0.0, scale: Operand = 1.0) -> Term:
    """Cauchy around `loc`.

    >>> import lazygrad as lg
    >>> abs(lg.median(lg.random.cauchy(lg.random.key(0), (10001,))).item()) < 0.1
    True
    """
    def quantile(u: Term, loc: Term, scale: Term) -> Term:
        return P.add(loc, P.mul(scale, P.tan(P.mul(P.sub(u, like(u, 0.5)), like(u, math.pi)))))
    return by_quantile("cauchy", key, shape, dtype, quantile, loc, scale)


@operation()
def rayleigh(key: Term, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Rayleigh: the length of a vector of two normal numbers of standard deviation `scale`.

    >>> import lazygrad as lg
    >>> bool((lg.random.rayleigh(lg.random.key(0), (100,)) > 0).all())
    True
    """
    return by_quantile("rayleigh", key, shape, dtype, lambda u, s: P.mul(s, P.sqrt(P.mul(minus_log(u), like(u, 2.0)))), scale)


@operation()
def weibull(key: Term, concentration: Operand, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Weibull of shape parameter `concentration`.

    >>> import lazygrad as lg
    >>> abs(lg.random.weibull(lg.random.key(0), 1.0, (10000,)).mean().item() - 1) < 0.05
    True
    """
    return by_quantile("weibull", key, shape, dtype, lambda u, k, s: P.mul(s, P.pow(minus_log(u), P.reciprocal(k))), concentration, scale)


@operation()
def pareto(key: Term, b: Operand, shape: object = None, dtype: object = None) -> Term:
    """Pareto of shape parameter `b`, from 1 up: u ** (-1 / b).

    >>> import lazygrad as lg
    >>> bool((lg.random.pareto(lg.random.key(0), 3.0, (100,)) >= 1).all())
    True
    """
    return by_quantile("pareto", key, shape, dtype, lambda u, b: P.exp(P.div(minus_log(u), b)), b)


@operation()
def triangular(key: Term, left: Operand, mode: Operand, right: Operand, shape: object = None, dtype: object = None) -> Term:
    """Triangular between `left` and `right` with its peak at `mode`.

    >>> import lazygrad as lg
    >>> x = lg.random.triangular(lg.random.key(0), 0.0, 1.0, 4.0, (10000,))
    >>> abs(x.mean().item() - 5 / 3) < 0.05
    True
    """
    def quantile(u: Term, left: Term, mode: Term, right: Term) -> Term:
        width, rise, fall = P.sub(right, left), P.sub(mode, left), P.sub(right, mode)
        first = P.lt(P.mul(u, width), rise)
        up = P.add(left, P.sqrt(P.mul(P.mul(u, width), rise)))
        down = P.sub(right, P.sqrt(P.mul(P.mul(P.sub(like(u, 1.0), u), width), fall)))
        return P.where(first, up, down)
    return by_quantile("triangular", key, shape, dtype, quantile, left, mode, right)


@operation()
def power(key: Term, a: Operand, shape: object = None, dtype: object = None) -> Term:
    """The power distribution on [0, 1] of exponent a - 1 >= -1: u ** (1 / a).

    >>> import lazygrad as lg
    >>> abs(lg.random.power(lg.random.key(0), 3.0, (10000,)).mean().item() - 0.75) < 0.02
    True
    """
    return by_quantile("power", key, shape, dtype, lambda u, a: P.exp(P.div(P.log(u), a)), a)


@operation()
def maxwell(key: Term, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Maxwell: the length of a vector of three normal numbers of standard deviation `scale`.

    >>> import lazygrad as lg
    >>> abs(lg.random.maxwell(lg.random.key(0), (10000,)).mean().item() - 1.596) < 0.03         # sqrt(8 / pi)
    True
    """
    shape, dtype, scale = placed("maxwell", shape, dtype, scale)
    first, second = parts("maxwell", key, 2)
    plane = like(scale, -2.0)                              # the square of two of them together: -2 log u
    both = P.mul(P.log(cast(open_unit("maxwell", first, shape, wide(dtype)), dtype)), plane)
    return P.mul(scale, P.sqrt(P.add(both, P.square(gaussian("maxwell", second, shape, dtype)))))
