"""The gamma distribution and what is made of it: beta, Dirichlet, chi-square, Student's t, F.

In: a key, parameters that broadcast, a shape. Out: draws that differentiate by all parameters, to any order: a gamma draw moves with its
parameter at a fixed probability (`prims.implicit`), the others are functions of gamma draws.
"""

from __future__ import annotations

import math

from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand, operation
from ..prims import implicit
from .composite import fill
from .composite import scale as times
from .promotion import P, broadcast, broadcast_shapes, cast, positive_shape
from .random_continuous import gaussian, standard
from .random_keys import DRAW, parts
from .random_uniform import floating, open_unit, placed, wide
from .reductions import softmax
from .rejection import Attempt, tried, waiting


def _slack(t: Term) -> Term:
    """3 log(1 + t) - 3 t + 3/2 t² - t³, by its series where the terms cancel."""
    near = P.lt(P.abs(t), fill(t, 0.125))
    s = P.where(near, t, fill(t, 0))
    series = fill(t, 3 / 11)
    for k in range(10, 3, -1):
        series = P.add(P.mul(series, s), fill(t, 3 * (-1) ** (k + 1) / k))
    square = P.square(t)
    whole = P.sub(P.add(times(P.log1p(t), 3), times(square, 1.5)), P.add(times(t, 3), P.mul(square, t)))
    return P.where(near, P.mul(series, P.square(P.square(s))), whole)


def _proposal(attempt: Attempt, d: Term, c: Term) -> tuple[Term, Term]:
    """t of a proposal d (1 + t)³, t normal, and whether it is accepted: log u <= d (3 log(1 + t) - 3 t + 3/2 t² - t³)."""
    u, v, w = attempt.uniforms(3)
    t = P.mul(c, standard(u, v))
    above = P.gt(t, fill(t, -1))
    good = P.le(P.log(w), P.mul(d, _slack(P.where(above, t, fill(t, 0)))))
    return t, P.bit_and(above, good)


def draw(op: str, key: Term, a: Term, log: bool) -> Term:
    """Gamma draws of shape parameter a, or their logarithms. Marsaglia and Tsang, A simple method for generating gamma variables (2000).

    For a < 1: a draw of a + 1 times u^(1 / a).
    """
    dtype = a.aval.dtype
    a = cast(a, wide(dtype))
    p = P.stop_gradient(a)
    one = fill(p, 1)
    small = P.lt(p, one)
    d = P.sub(P.where(small, P.add(p, one), p), fill(p, 1 / 3))
    c = P.rsqrt(times(d, 9))
    valid = P.bit_and(P.ge(p, fill(p, 0)), P.isfinite(p))
    t = tried(op, key, waiting(valid, P.where(P.gt(p, one), fill(p, 0), fill(p, math.nan))), _proposal, (d, c))
    lift = P.where(small, P.div(P.log(open_unit(op, key, p.aval.shape, p.aval.dtype, DRAW)), P.where(small, p, one)), fill(p, 0))
    if log:
        x = P.add(P.add(P.log(d), times(P.log1p(t), 3)), lift)
    else:
        v = P.add(t, one)
        x = P.mul(P.mul(d, P.mul(P.square(v), v)), P.exp(lift))
    return cast(implicit.gamma_draw(a, x, log=log), dtype)


@operation()
def gamma(key: Term, a: Operand, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Gamma of shape parameter `a` >= 0, density x^(a - 1) exp(-x) / Γ(a), times `scale`. Differentiates by both, to any order.

    Draws of small shapes underflow to 0 (`loggamma` does not). NaN where `a` is negative.

    >>> import lazygrad as lg
    >>> abs(lg.random.gamma(lg.random.key(0), 3.0, (10000,)).mean().item() - 3) < 0.1
    True
    """
    _, _, a, s = placed("gamma", shape, dtype, a, scale)
    return P.mul(draw("gamma", key, a, False), s)


@operation()
def loggamma(key: Term, a: Operand, shape: object = None, dtype: object = None) -> Term:
    """The logarithms of gamma draws of shape parameter `a`, exact where those underflow. Differentiates by `a`, to any order.

    >>> import lazygrad as lg
    >>> bool(lg.isfinite(lg.random.loggamma(lg.random.key(0), 1e-4, (100,))).all())
    True
    """
    _, _, a = placed("loggamma", shape, dtype, a)
    return draw("loggamma", key, a, True)


def two(op: str, key: Term, a: Term, b: Term) -> tuple[Term, Term]:
    """The logarithms of two independent gamma draws."""
    first, second = parts(op, key, 2)
    return draw(op, first, a, True), draw(op, second, b, True)


@operation()
def beta(key: Term, a: Operand, b: Operand, shape: object = None, dtype: object = None) -> Term:
    """Beta, density x^(a - 1) (1 - x)^(b - 1) / B(a, b) on [0, 1]: the share of one gamma draw in the sum of two. Differentiates by both.

    >>> import lazygrad as lg
    >>> abs(lg.random.beta(lg.random.key(0), 1.0, 3.0, (10000,)).mean().item() - 0.25) < 0.01
    True
    """
    _, _, a, b = placed("beta", shape, dtype, a, b)
    return P.sigmoid(P.sub(*two("beta", key, a, b)))


@operation()
def dirichlet(key: Term, alpha: Term, shape: object = None, dtype: object = None) -> Term:
    """Dirichlet: the shares of gamma draws in their sum, (..., k) → (*shape, k); `shape` is alpha's without the last axis unless given.

    Differentiates by `alpha`. Every row sums to 1.

    >>> import lazygrad as lg
    >>> lg.random.dirichlet(lg.random.key(0), lg.asarray([1.0, 2.0, 3.0]), (5,)).shape
    (5, 3)
    """
    dtype = floating("dirichlet", dtype, alpha)
    if not alpha.aval.ndim:
        raise ShapeError("dirichlet", f"alpha {alpha.aval}", "there is no axis of categories", "pass one parameter for each")
    whole = alpha.aval.shape if shape is None else (*positive_shape("dirichlet", shape), alpha.aval.shape[-1])
    if broadcast_shapes("dirichlet", whole, alpha.aval.shape) != whole:
        raise ShapeError("dirichlet", f"shape {whole[:-1]} with alpha of {alpha.aval.shape}", "alpha does not broadcast to it", "pass a larger shape")
    return softmax(draw("dirichlet", key, broadcast(cast(alpha, dtype), whole), True), -1)


@operation()
def chisquare(key: Term, df: Operand, shape: object = None, dtype: object = None) -> Term:
    """Chi-square with `df` > 0 degrees of freedom: twice a gamma draw of df / 2. Differentiates by `df`.

    >>> import lazygrad as lg
    >>> abs(lg.random.chisquare(lg.random.key(0), 4.0, (10000,)).mean().item() - 4) < 0.1
    True
    """
    _, _, df = placed("chisquare", shape, dtype, df)
    return times(draw("chisquare", key, times(df, 0.5), False), 2)


@operation()
def t(key: Term, df: Operand, shape: object = None, dtype: object = None) -> Term:
    """Student's t with `df` > 0 degrees of freedom: a normal draw over the root of a chi-square one by df. Differentiates by `df`.

    >>> import lazygrad as lg
    >>> abs(lg.random.t(lg.random.key(0), 5.0, (10000,)).mean().item()) < 0.05
    True
    """
    shape, dtype, df = placed("t", shape, dtype, df)
    first, second = parts("t", key, 2)
    half = times(df, 0.5)
    spread = P.exp(times(P.sub(P.log(half), draw("t", second, half, True)), 0.5))
    return P.mul(gaussian("t", first, shape, dtype), spread)


@operation()
def f(key: Term, dfnum: Operand, dfden: Operand, shape: object = None, dtype: object = None) -> Term:
    """F with `dfnum` and `dfden` degrees of freedom: the quotient of two chi-square draws, each by its own. Differentiates by both.

    >>> import lazygrad as lg
    >>> abs(lg.random.f(lg.random.key(0), 5.0, 12.0, (10000,)).mean().item() - 1.2) < 0.05
    True
    """
    _, _, m, n = placed("f", shape, dtype, dfnum, dfden)
    x, y = two("f", key, times(m, 0.5), times(n, 0.5))
    return P.mul(P.exp(P.sub(x, y)), P.div(n, m))

