"""Discrete distributions: numbers that count something. They have no derivatives.

In: a key, parameters that broadcast, a shape. Out: integers or booleans. Counts are computed in float32, or float64 beside a parameter of
float64: larger ones than 2**24 need that. A draw without distribution (a negative rate, a probability above 1, half a thing) is -1, NaN in floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir.aval import aval
from ..ir.term import Term
from ..lift import Operand, operation
from ..prims import control
from ..prims.leaf import closed, parameter
from . import random_gamma
from .composite import fill, scale
from .promotion import P, as_dtype, broadcast, broadcast_shapes, cast, constant, positive_shape, reshaped
from .random_continuous import by_quantile, like
from .random_keys import PART, UINT, drawn, parts, words
from .random_uniform import floating, placed, unit
from .rejection import MOST, Attempt, each_until, tried, waiting

# ---- two outcomes ------------------------------------------------------------------------------------------------------

@operation()
def bernoulli(key: Term, p: Operand = 0.5, shape: object = None) -> Term:
    """True with probability `p`.

    >>> import lazygrad as lg
    >>> abs(lg.random.bernoulli(lg.random.key(0), 0.25, (10000,)).mean().item() - 0.25) < 0.02
    True
    """
    dtype = p.aval.dtype if isinstance(p, Term) and p.aval.dtype.kind == "f" else dtypes.DEFAULT_FLOAT
    shape, dtype, p = placed("bernoulli", shape, dtype, p)
    return P.lt(unit("bernoulli", key, shape, dtype), p)


@operation()
def rademacher(key: Term, shape: object = (), dtype: object = None) -> Term:
    """-1 or 1, equally likely; float32 by default.

    >>> import lazygrad as lg
    >>> sorted(set(lg.random.rademacher(lg.random.key(0), (50,)).tolist()))
    [-1.0, 1.0]
    """
    shape = positive_shape("rademacher", shape)
    dtype = dtypes.DEFAULT_FLOAT if dtype is None else as_dtype("rademacher", dtype)
    x, _ = drawn("rademacher", key, shape)
    return P.where(P.lt(x, constant(1 << 31, shape, UINT)), constant(-1, shape, dtype), constant(1, shape, dtype))


# ---- logarithms of probabilities (Loader, Fast and accurate computation of binomial probabilities, 2000) -------------------

def _deviance(k: Term, m: Term) -> Term:
    """k log(k / m) - k + m for k >= 0, by its series near m, where the terms cancel."""
    zero, one = fill(k, 0), fill(k, 1)
    none = P.eq(k, zero)
    r = P.div(P.sub(k, m), P.where(P.eq(m, zero), one, m))
    near = P.bit_and(P.lt(P.abs(r), fill(r, 0.125)), P.gt(m, zero))
    s = P.where(near, r, zero)
    series = fill(r, 1 / (15 * 14))
    for j in range(14, 1, -1):                             # (1 + r) log(1 + r) - r = r² (1/2 - r/6 + r²/12 - ...)
        series = P.sub(fill(r, 1 / (j * (j - 1))), P.mul(s, series))
    x = P.where(none, one, k)
    apart = P.add(P.sub(P.mul(x, P.log(P.div(x, P.where(none, one, m)))), x), m)
    return P.where(near, P.mul(m, P.mul(P.square(s), series)), P.where(none, m, apart))


def _stirling(x: Term) -> Term:
    """log x! - (x + 1/2) log x + x - log(2π) / 2, for x >= 8."""
    y = P.reciprocal(x)
    z = P.square(y)
    series = fill(x, -1 / 1680)
    for c in (1 / 1260, -1 / 360, 1 / 12):
        series = P.add(P.mul(series, z), fill(x, c))
    return P.mul(series, y)


def _excess(k: Term) -> Term:
    """log k! - k log k + k for k >= 0; for small k from (k + 8)! = k! (k + 1) ... (k + 8)."""
    small = P.lt(k, fill(k, 8))
    n = P.where(small, k, fill(k, 0))
    x = P.where(small, P.add(n, fill(k, 8)), k)
    rest = P.add(n, fill(k, 1))
    for i in range(2, 9):
        rest = P.mul(rest, P.add(n, fill(k, i)))
    log = P.log(x)
    large = P.add(scale(P.add(log, fill(k, math.log(2 * math.pi))), 0.5), _stirling(x))
    # x log x - x - log rest - (n log n - n), with x = n + 8
    moved = P.sub(P.sub(P.mul(x, log), P.log(rest)), P.add(P.mul(n, P.log(P.maximum(n, fill(k, 1)))), fill(k, 8)))
    return P.add(large, P.where(small, moved, fill(k, 0)))


def _log_poisson(k: Term, rate: Term) -> Term:
    return P.neg(P.add(_deviance(k, rate), _excess(k)))


def _log_binomial(k: Term, n: Term, p: Term) -> Term:
    """Without the part that depends on n alone."""
    rest = P.sub(n, k)
    mean = P.mul(n, p)
    apart = P.add(_deviance(k, mean), _deviance(rest, P.mul(n, P.sub(fill(p, 1), p))))
    return P.neg(P.add(apart, P.add(_excess(k), _excess(rest))))


def _log_hypergeometric(k: Term, good: Term, bad: Term, share: Term, count: Term) -> Term:
    """By binomial ones: of the good and of the bad things each is taken with the probability `share` = count / (good + bad)."""
    return P.add(_log_binomial(k, good, share), _log_binomial(P.sub(count, k), bad, share))


# ---- one way to draw from all of them --------------------------------------------------------------------------------------

WIDTH, MORE = 2 * math.sqrt(2 / math.e), 3 - 2 * math.sqrt(3 / math.e)


def ratio_of_uniforms(op: str, key: Term, valid: Term, mean: Term, variance: Term, mode: Term, low: Term, high: Term,
                      log_probability: Callable[..., Term], parameters: Sequence[Term]) -> Term:
    """Draws from a unimodal distribution on the integers of [low, high]; NaN where not `valid`.

    The floor of mean + 1/2 + s (v - 1/2) / u for uniform u and v, accepted where u² <= p(k) / p(mode). That is exact for Poisson, binomial
    and hypergeometric distributions with s = sqrt(8 / e) sqrt(variance + 1/2) + 3 - sqrt(12 / e) (Stadlober, The ratio of uniforms
    approach for generating discrete random variates, 1990).
    """
    mean, variance, mode, *parameters = [P.where(valid, x, fill(x, 1)) for x in (mean, variance, mode, *parameters)]
    width = P.add(scale(P.sqrt(P.add(variance, fill(variance, 0.5))), WIDTH), fill(variance, MORE))
    centre = P.add(mean, fill(mean, 0.5))
    top = log_probability(mode, *parameters)

    def propose(attempt: Attempt, centre: Term, width: Term, low: Term, high: Term, mode: Term, top: Term, *given: Term) -> tuple[Term, Term]:
        u, v = attempt.uniforms(2)
        k = P.floor(P.add(centre, P.div(P.mul(width, P.sub(v, fill(v, 0.5))), u)))
        inside = P.bit_and(P.ge(k, low), P.le(k, high))
        chance = P.sub(log_probability(P.where(inside, k, mode), *given), top)
        return k, P.bit_and(inside, P.le(scale(P.log(u), 2), chance))

    return tried(op, key, waiting(valid, fill(mean, math.nan)), propose, [centre, width, low, high, mode, top, *parameters])


def whole(n: Term) -> Term:
    """Whether numbers are 0, 1, 2, ..."""
    return P.bit_and(P.bit_and(P.ge(n, fill(n, 0)), P.isfinite(n)), P.eq(n, P.floor(n)))


def counted(op: str, dtype: object, x: Term) -> Term:
    """Counts in the dtype asked for: -1 for NaN, and no larger than it holds."""
    kind = as_dtype(op, dtype)
    if kind.kind == "f":
        return cast(x, kind)
    if kind.kind != "i":
        raise DTypeError(op, str(kind), "counts are signed integers", "pass int32 or int64")
    most = np.nextafter(x.aval.dtype.type(np.iinfo(kind).max), x.aval.dtype.type(0))
    most = min(float(most), np.iinfo(kind).max)
    return cast(P.where(P.isnan(x), fill(x, -1), P.minimum(x, fill(x, most))), kind)


FEW = 2.0                # means below which events are counted one by one: there most proposals would be rejected


def arrivals(op: str, key: Term, few: Term, wait: Callable[..., Term], limit: Term, parameters: Sequence[Term]) -> Term:
    """How many events fall within `limit`, one after another wait(u, *parameters) apart; where `few`."""
    start = P.where(few, fill(limit, 0), fill(limit, math.inf))

    def going(fixed: Sequence[Term], state: Sequence[Term]) -> Term:
        return P.bit_and(P.le(state[0], fixed[2]), P.lt(state[2], fill(state[2], MOST)))

    def step(fixed: Sequence[Term], state: Sequence[Term]) -> Sequence[Term]:
        time, count, number = state
        for u in Attempt(fixed[:2], number, time.aval.dtype).uniforms(2):
            inside = P.le(time, fixed[2])
            time = P.where(inside, P.add(time, wait(u, *fixed[3:])), time)
            count = P.where(inside, P.add(count, fill(count, 1)), count)
        return time, count, P.add(number, fill(number, 1))

    shape = limit.aval.shape
    found = each_until(going, step, [start, fill(limit, -1), constant(0, shape, UINT)], [*words(op, key), limit, *parameters])
    return found[1]


def _poisson(op: str, key: Term, rate: Term) -> Term:
    rate = P.stop_gradient(rate)
    zero, one = fill(rate, 0), fill(rate, 1)
    valid = P.bit_and(P.ge(rate, zero), P.isfinite(rate))
    few = P.bit_and(valid, P.lt(rate, fill(rate, FEW)))
    some = arrivals(op, key, few, lambda u, rate: P.div(P.neg(P.log(u)), rate), one, [P.where(few, rate, one)])
    many = ratio_of_uniforms(op, key, P.bit_and(valid, P.bit_not(few)), rate, rate, P.floor(rate), zero, fill(rate, math.inf), _log_poisson, [rate])
    return P.where(few, some, many)


def _binomial(op: str, key: Term, n: Term, p: Term) -> Term:
    n, p = P.stop_gradient(n), P.stop_gradient(p)
    zero, one = fill(p, 0), fill(p, 1)
    valid = P.bit_and(P.bit_and(P.ge(p, zero), P.le(p, one)), whole(n))
    turned = P.gt(p, fill(p, 0.5))
    q = P.where(turned, P.sub(one, p), p)                  # the rarer of success and failure
    mean = P.mul(n, q)
    few = P.bit_and(valid, P.lt(mean, fill(mean, FEW)))
    some = arrivals(op, key, few, lambda u, rate: P.add(P.floor(P.div(P.log(u), rate)), fill(u, 1)), n, [P.where(few, P.log1p(P.neg(q)), fill(p, -1))])
    mode = P.minimum(P.floor(P.mul(P.add(n, one), q)), n)
    many = ratio_of_uniforms(op, key, P.bit_and(valid, P.bit_not(few)), mean, P.mul(mean, P.sub(one, q)), mode, zero, n, _log_binomial, [n, q])
    found = P.where(few, some, many)
    return P.where(turned, P.sub(n, found), found)


def _hypergeometric(op: str, key: Term, good: Term, bad: Term, count: Term) -> Term:
    zero, one = fill(good, 0), fill(good, 1)
    both = P.add(good, bad)
    valid = P.bit_and(P.bit_and(whole(good), whole(bad)), P.bit_and(whole(count), P.le(count, both)))
    some = P.maximum(both, one)
    share = P.div(count, some)
    mean = P.mul(share, good)
    spread = P.div(P.mul(P.mul(mean, P.div(bad, some)), P.sub(both, count)), P.maximum(P.sub(both, one), one))
    low, high = P.maximum(P.sub(count, bad), zero), P.minimum(count, good)
    mode = P.floor(P.div(P.mul(P.add(count, one), P.add(good, one)), P.add(both, scale(one, 2))))
    mode = P.minimum(P.maximum(mode, low), high)
    return ratio_of_uniforms(op, key, valid, mean, spread, mode, low, high, _log_hypergeometric, [good, bad, share, count])


# ---- counts ------------------------------------------------------------------------------------------------------------------

@operation()
def geometric(key: Term, p: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """How many trials until the first success, 1 or more, where each succeeds with probability `p`.

    >>> import lazygrad as lg
    >>> abs(lg.random.geometric(lg.random.key(0), 0.5, (10000,)).mean().item() - 2) < 0.1
    True
    """
    def quantile(u: Term, p: Term) -> Term:
        found = P.add(P.floor(P.div(P.log(u), P.log1p(P.neg(p)))), like(u, 1.0))
        return P.where(P.bit_and(P.gt(p, like(p, 0.0)), P.le(p, like(p, 1.0))), found, like(p, math.nan))
    return counted("geometric", dtype, P.stop_gradient(by_quantile("geometric", key, shape, None, quantile, p)))


@operation()
def poisson(key: Term, lam: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Poisson: how many events happen where `lam` >= 0 are expected.

    >>> import lazygrad as lg
    >>> abs(lg.random.poisson(lg.random.key(0), 4.0, (10000,)).mean().item() - 4) < 0.1
    True
    """
    return counted("poisson", dtype, _poisson("poisson", key, placed("poisson", shape, None, lam)[2]))


@operation()
def binomial(key: Term, n: Operand, p: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Binomial: how many of `n` trials succeed, each with probability `p`.

    >>> import lazygrad as lg
    >>> abs(lg.random.binomial(lg.random.key(0), 10, 0.3, (10000,)).mean().item() - 3) < 0.1
    True
    """
    return counted("binomial", dtype, _binomial("binomial", key, *placed("binomial", shape, None, n, p)[2:]))


@operation()
def negative_binomial(key: Term, n: Operand, p: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Negative binomial: how many trials fail before `n` > 0 succeed, each with probability `p`; n may be any positive number.

    >>> import lazygrad as lg
    >>> abs(lg.random.negative_binomial(lg.random.key(0), 3.0, 0.5, (10000,)).mean().item() - 3) < 0.1
    True
    """
    _, _, n, p = placed("negative_binomial", shape, None, n, p)
    first, second = parts("negative_binomial", key, 2)
    # a Poisson number whose rate is a gamma number
    rate = P.mul(random_gamma.draw("negative_binomial", first, n, False), P.div(P.sub(fill(p, 1), p), p))
    return counted("negative_binomial", dtype, _poisson("negative_binomial", second, rate))


@operation()
def hypergeometric(key: Term, ngood: Operand, nbad: Operand, nsample: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Hypergeometric: how many good things are among `nsample` taken, without putting back, from `ngood` good and `nbad` bad ones.

    >>> import lazygrad as lg
    >>> abs(lg.random.hypergeometric(lg.random.key(0), 6, 4, 5, (10000,)).mean().item() - 3) < 0.1
    True
    """
    return counted("hypergeometric", dtype, _hypergeometric("hypergeometric", key, *placed("hypergeometric", shape, None, ngood, nbad, nsample)[2:]))


@operation()
def logseries(key: Term, p: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """The logarithmic series distribution: k >= 1 with probability -p^k / (k log(1 - p)), 0 < p < 1.

    >>> import lazygrad as lg
    >>> abs(lg.random.logseries(lg.random.key(0), 0.5, (10000,)).mean().item() - 1.4427) < 0.05
    True
    """
    shape, kind, p = placed("logseries", shape, None, p)
    # Kemp, Efficient generation of logarithmically distributed pseudo-random variables (1981), LK
    u, v = Attempt.of("logseries", key, shape, kind).uniforms(2)
    one = fill(p, 1)
    q = P.neg(P.expm1(P.mul(P.log1p(P.neg(p)), u)))
    many = P.floor(P.add(P.div(P.log(v), P.log(q)), one))
    x = P.where(P.le(v, P.square(q)), many, P.where(P.lt(v, q), scale(one, 2), one))
    valid = P.bit_and(P.gt(p, fill(p, 0)), P.lt(p, one))
    return counted("logseries", dtype, P.stop_gradient(P.where(valid, x, fill(p, math.nan))))


def _zipf(attempt: Attempt, a: Term) -> tuple[Term, Term]:
    """Devroye, Non-uniform random variate generation (1986), X.6.1: the floor of a Pareto number, accepted by the ratio of their probabilities."""
    u, v = attempt.uniforms(2)
    one = fill(a, 1)
    s = P.sub(a, one)
    x = P.floor(P.exp(P.div(P.neg(P.log(u)), s)))
    gap, most = P.expm1(P.mul(s, P.log1p(P.reciprocal(x)))), P.expm1(scale(s, math.log(2)))              # (1 + 1/x)^s - 1, at most 2^s - 1
    chance = P.mul(P.mul(v, x), P.mul(P.div(gap, most), P.div(P.add(most, one), P.add(gap, one))))
    return x, P.bit_and(P.isfinite(x), P.le(chance, one))


@operation()
def zipf(key: Term, a: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Zipf: k >= 1 with a probability proportional to k^-a, a > 1.

    >>> import lazygrad as lg
    >>> abs(lg.random.zipf(lg.random.key(0), 4.0, (10000,)).mean().item() - 1.1106) < 0.03
    True
    """
    _, _, a = placed("zipf", shape, None, a)
    valid = P.bit_and(P.gt(a, fill(a, 1)), P.isfinite(a))
    return counted("zipf", dtype, tried("zipf", key, waiting(valid, fill(a, math.nan)), _zipf, [P.where(valid, a, fill(a, 2))]))


# ---- over categories -----------------------------------------------------------------------------------------------------------

@operation()
def multinomial(key: Term, n: Operand, p: Term, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """Multinomial: how many of `n` things fall into each category, (..., k) → (*shape, k), with probabilities `p` along the last axis.

    `p` is divided by its sum. The shape is what n and p without its last axis broadcast to, unless it is given. Counts of a row sum to n.

    >>> import lazygrad as lg
    >>> lg.random.multinomial(lg.random.key(0), 10, lg.asarray([0.2, 0.3, 0.5]), (4,)).sum(-1).tolist()
    [10, 10, 10, 10]
    """
    op = "multinomial"
    if not p.aval.ndim or not p.aval.shape[-1]:
        raise ShapeError(op, f"p {p.aval}", "there is no axis of categories", "pass one probability for each")
    kind = floating(op, None, n, p)
    *lead, k = p.aval.shape
    inner = n.aval.shape if isinstance(n, Term) else ()
    rows = broadcast_shapes(op, tuple(lead), inner) if shape is None else positive_shape(op, shape)
    if broadcast_shapes(op, rows, tuple(lead), inner) != rows:
        raise ShapeError(op, f"shape {rows} with n of {inner} and p of {p.aval.shape}", "they do not broadcast to it", "pass a larger shape")
    count = broadcast(cast(n, kind), rows) if isinstance(n, Term) else constant(n, rows, kind)
    p = P.stop_gradient(broadcast(cast(p, kind), (*rows, k)))
    # of what is left, the share of this category among it and the later ones
    ahead = P.cumsum(p, axis=len(rows), reverse=True)
    share = P.div(p, P.where(P.eq(ahead, fill(p, 0)), fill(p, 1), ahead))
    share = P.permute(P.minimum(share, fill(share, 1)), axes=(len(rows), *range(len(rows))))
    found = _in_turn(op, key, P.stop_gradient(count), [share], _binomial)
    return counted(op, dtype, P.permute(found, axes=(*range(1, len(rows) + 1), 0)))


@operation()
def multivariate_hypergeometric(key: Term, colors: Term, nsample: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """How many of each color are among `nsample` things taken, without putting back, from `colors` of each: (..., k) → (*shape, k).

    >>> import lazygrad as lg
    >>> lg.random.multivariate_hypergeometric(lg.random.key(0), lg.asarray([3, 4, 5]), 6, (2,)).sum(-1).tolist()
    [6, 6]
    """
    op = "multivariate_hypergeometric"
    if not colors.aval.ndim or not colors.aval.shape[-1]:
        raise ShapeError(op, f"colors {colors.aval}", "there is no axis of colors", "pass one number for each")
    kind = floating(op, None, nsample, colors)
    *lead, k = colors.aval.shape
    inner = nsample.aval.shape if isinstance(nsample, Term) else ()
    rows = broadcast_shapes(op, tuple(lead), inner) if shape is None else positive_shape(op, shape)
    if broadcast_shapes(op, rows, tuple(lead), inner) != rows:
        raise ShapeError(op, f"shape {rows} with nsample of {inner} and colors of {colors.aval.shape}", "they do not broadcast to it", "pass a larger shape")
    count = broadcast(cast(nsample, kind), rows) if isinstance(nsample, Term) else constant(nsample, rows, kind)
    c = P.permute(broadcast(cast(colors, kind), (*rows, k)), axes=(len(rows), *range(len(rows))))
    later = P.sub(P.cumsum(c, axis=0, reverse=True), c)
    found = _in_turn(op, key, P.stop_gradient(count), [P.stop_gradient(c), P.stop_gradient(later)], lambda op, key, left, good, bad: _hypergeometric(op, key, good, bad, left))
    return counted(op, dtype, P.permute(found, axes=(*range(1, len(rows) + 1), 0)))


def _in_turn(op: str, key: Term, count: Term, given: Sequence[Term], draw: Callable[..., Term]) -> Term:
    """draw(op, key, what the ones before leave of the count, *entries of `given`) for every entry of their first axis, as a scan."""
    k = given[0].aval.shape[0]
    operands = [*words(op, key), count, *given, P.iota(size=k, dtype=UINT)]
    types = [t.aval if i < 3 else aval(t.aval.shape[1:], t.aval.dtype) for i, t in enumerate(operands)]
    stand = [parameter(i, t) for i, t in enumerate(types)]
    k0, k1, left, *now, number = stand
    own = [reshaped(P.threefry(k0, k1, constant(PART, (), UINT), number, word=w), (1,)) for w in (0, 1)]
    found = draw(op, P.concatenate(*own, axis=0), left, *now)
    body = closed(stand, [P.sub(left, found), found])
    return control.picked(control.scan(*operands, body=body, consts=2, carries=1, length=k, reverse=False))[1]
