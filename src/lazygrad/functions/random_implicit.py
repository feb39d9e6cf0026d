"""Distributions on a circle, of a first passage, and of a part of the normal one.

In: a key, parameters that broadcast, a shape. Out: draws that differentiate by all parameters, to any order, at a fixed probability.
"""

from __future__ import annotations

import math

from ..ir.term import Term
from ..lift import Operand, operation
from ..prims import implicit
from ..prims import normal as S
from .composite import fill, scale
from .promotion import P, cast
from .random_continuous import standard
from .random_uniform import open_unit, placed, wide
from .rejection import Attempt, tried, waiting

# ---- von Mises -----------------------------------------------------------------------------------------------------------

def _circular(attempt: Attempt, kappa: Term, a: Term) -> tuple[Term, Term]:
    """An angle from a wrapped Cauchy distribution, and whether it is accepted.

    Best and Fisher, Efficient simulation of the von Mises distribution (1979), in terms of 1 - cos x, so that nothing cancels for any κ.
    """
    u, v, w = attempt.uniforms(3)
    half = scale(u, math.pi / 2)
    sine, cosine = P.square(P.sin(half)), P.square(P.cos(half))
    gap = P.div(scale(P.mul(a, sine), 2), P.add(a, scale(P.mul(kappa, cosine), 2)))           # 1 - cos x
    c = P.add(a, P.mul(kappa, gap))
    good = P.ge(P.sub(P.add(P.log(P.div(c, v)), fill(c, 1)), c), fill(c, 0))
    x = scale(P.asin(P.minimum(P.sqrt(scale(gap, 0.5)), fill(gap, 1))), 2)
    return P.where(P.lt(w, fill(w, 0.5)), P.neg(x), x), good


@operation()
def von_mises(key: Term, kappa: Operand, shape: object = None, dtype: object = None, loc: Operand = 0.0) -> Term:
    """Von Mises on the circle: angles in [-π, π] around `loc` with concentration `kappa` >= 0, density exp(kappa cos(x - loc)) / 2π I0(kappa).

    Differentiates by both.

    >>> import lazygrad as lg
    >>> x = lg.random.von_mises(lg.random.key(0), 2.0, (10000,))
    >>> abs(lg.cos(x).mean().item() - 0.698) < 0.01                                     # I1(2) / I0(2)
    True
    """
    _, dtype, kappa, loc = placed("von_mises", shape, dtype, kappa, loc)
    kappa, loc = [cast(t, wide(dtype)) for t in (kappa, loc)]
    k = P.stop_gradient(kappa)
    one, twice = fill(k, 1), scale(k, 2)
    a = scale(P.add(one, P.reciprocal(P.add(P.hypot(one, twice), twice))), 0.5)
    valid = P.bit_and(P.ge(k, fill(k, 0)), P.isfinite(k))
    x = implicit.vonmises_draw(kappa, tried("von_mises", key, waiting(valid, fill(k, math.nan)), _circular, (k, a)))
    turned = P.add(x, loc)
    turns = P.rint(scale(P.stop_gradient(turned), 0.5 / math.pi))
    return cast(P.sub(turned, scale(turns, 2 * math.pi)), dtype)


# ---- Wald ----------------------------------------------------------------------------------------------------------------

@operation()
def wald(key: Term, mean: Operand, shape: object = None, dtype: object = None, scale: Operand = 1.0) -> Term:
    """Wald (inverse Gaussian): when Brownian motion with drift first gets somewhere. Mean `mean` > 0, variance mean³ / `scale`.

    Differentiates by both.

    >>> import lazygrad as lg
    >>> abs(lg.random.wald(lg.random.key(0), 2.0, (10000,), scale=4.0).mean().item() - 2) < 0.05
    True
    """
    shape, dtype, mean, spread = placed("wald", shape, dtype, mean, scale)
    m, s = [P.stop_gradient(cast(t, wide(dtype))) for t in (mean, spread)]
    u, v, w = Attempt.of("wald", key, shape, wide(dtype)).uniforms(3)
    # the roots x and mean² / x of scale (x - mean)² = mean² x z² for normal z (Michael, Schucany and Haas 1976)
    half = P.div(P.mul(m, P.square(standard(u, v))), P.mul(s, fill(s, 2)))
    x = P.div(m, P.add(P.add(fill(m, 1), half), P.sqrt(P.mul(half, P.add(half, fill(m, 2))))))
    first = P.le(P.mul(w, P.add(m, x)), m)
    x = P.where(first, x, P.mul(m, P.div(m, x)))
    valid = P.bit_and(P.gt(m, fill(m, 0)), P.gt(s, fill(s, 0)))
    x = P.where(valid, x, fill(x, math.nan))
    return cast(implicit.wald_draw(cast(mean, wide(dtype)), cast(spread, wide(dtype)), x), dtype)


# ---- a part of the normal distribution -----------------------------------------------------------------------------------

@operation()
def truncated_normal(key: Term, lower: Operand, upper: Operand, shape: object = None, dtype: object = None) -> Term:
    """Standard normal numbers given that they lie between `lower` and `upper` (either may be infinite), far tails included.

    Differentiates by both. For another mean and deviation: `mean + deviation * truncated_normal(key, (a - mean) / deviation, ...)`.

    >>> import lazygrad as lg
    >>> x = lg.random.truncated_normal(lg.random.key(0), 8.0, 9.0, (1000,))
    >>> bool((x >= 8).all() & (x <= 9).all()), abs(x.mean().item() - 8.12) < 0.02
    (True, True)
    """
    shape, dtype, low, high = placed("truncated_normal", shape, dtype, lower, upper)
    low, high = [cast(t, wide(dtype)) for t in (low, high)]
    u = open_unit("truncated_normal", key, shape, wide(dtype))
    # mirrored where all of it is above 0: there probabilities are small, and their logarithms exact
    turned = P.gt(low, fill(low, 0))
    a, b = P.where(turned, P.neg(high), low), P.where(turned, P.neg(low), high)
    v = P.where(turned, P.sub(fill(u, 1), u), u)
    least, most = S.log_ndtr(a), S.log_ndtr(b)
    chance = P.add(v, P.mul(P.sub(fill(v, 1), v), P.exp(P.sub(least, most))))
    x = S.ndtri_exp(P.add(most, P.log(chance)))
    x = P.minimum(P.maximum(P.where(turned, P.neg(x), x), low), high)
    return cast(P.where(P.lt(low, high), x, fill(x, math.nan)), dtype)
