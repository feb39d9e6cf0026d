"""Random numbers from explicit keys: the same key gives the same numbers on every device, in any order of calls.

In: a key (uint32 of shape (2,)), a shape, parameters that broadcast and differentiate (the draw is written as a function of
them). Out: tensors. Everything is a lazy expression over the key but `key`, `split` and `fold_in`, which are computed at once
outside of transforms: a key is data, and a program that splits one at every step finds the same compiled plan each time.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..graph import default_graph
from ..ir.term import Term, toposort
from ..lift import Operand, operation
from ..prims.counter import block
from ..prims.leaf import source
from ..tensor import Tensor, graph_of
from .composite import scale
from .movement import cut
from .promotion import (
    P,
    Shape,
    as_dtype,
    broadcast,
    broadcast_shapes,
    cast,
    constant,
    number,
    one_axis,
    positive_shape,
    reshaped,
)

UINT = dtypes.uint32
TWO32 = 2.0**-32


# ---- keys ------------------------------------------------------------------------------------------------------------

def words(op: str, key: Term) -> tuple[Term, Term]:
    """Both words of a key, 0-d."""
    if key.aval.shape != (2,) or key.aval.dtype != UINT:
        raise ShapeError(op, f"a key {key.aval}", "a key is uint32 of shape (2,)", "make one with lazygrad.random.key, take one row of split")
    return tuple([reshaped(cut(key, 0, i, 1), ()) for i in (0, 1)])


def counters(shape: Shape) -> Term:
    """The number of every element in row-major order, uint32."""
    size = math.prod(shape)
    if size >= 1 << 32:
        raise ShapeError("random", f"shape {shape}", "one key gives fewer than 2**32 numbers", "draw parts with keys of a split")
    return reshaped(P.iota(size=size, dtype=UINT), shape)


DRAW, SPLIT, FOLD, AGAIN = range(4)             # first words of counters: what one key is used for never overlaps


def drawn(op: str, key: Term, shape: Shape, use: int = DRAW) -> tuple[Term, Term]:
    """Two words of random bits for every element."""
    k0, k1 = [broadcast(w, shape) for w in words(op, key)]
    first, n = constant(use, shape, UINT), counters(shape)
    return P.threefry(k0, k1, first, n, word=0), P.threefry(k0, k1, first, n, word=1)


def known(key: Tensor) -> bool:
    """Whether a key can be computed now: it depends on leaves only, not on what a transform is tracing."""
    return all([t.params[0] >= 0 for t in toposort([key.term]) if t.op is source])


def key(seed: Any, *, graph: Any = None) -> Tensor:
    """The key of a seed (an integer of up to 64 bits): a uint32 tensor of shape (2,) in `graph` (the default graph).

    >>> import lazygrad as lg
    >>> lg.random.key(7).tolist()
    [0, 7]
    """
    n = operator.index(seed)
    if not -1 << 63 <= n < 1 << 64:
        raise DTypeError("key", f"seed {n}", "a seed has at most 64 bits", "hash it first")
    n %= 1 << 64
    scope = default_graph() if graph is None else graph
    return scope.leaf(np.array([n >> 32, n & 0xFFFFFFFF], np.uint32), False, sys._getframe(1))


@operation()
def _split(key: Term, num: int) -> Term:
    n = P.iota(size=num, dtype=UINT)
    k0, k1 = [broadcast(w, (num,)) for w in words("split", key)]
    one = constant(SPLIT, (num,), UINT)
    return P.concatenate(*[reshaped(P.threefry(k0, k1, one, n, word=w), (num, 1)) for w in (0, 1)], axis=1)


@operation()
def _fold_in(key: Term, data: Term) -> Term:
    k0, k1 = words("fold_in", key)
    two, n = constant(FOLD, (), UINT), cast(data, UINT)
    return P.concatenate(*[reshaped(P.threefry(k0, k1, two, n, word=w), (1,)) for w in (0, 1)], axis=0)


def derived(op: str, key: Tensor, high: int, low: np.ndarray) -> np.ndarray | None:
    """The keys (n, 2) at these counters, computed now; None where the key is only known later."""
    if not isinstance(key, Tensor) or key.shape != (2,) or key.dtype != UINT:
        came = f"{key.dtype}{list(key.shape)}" if isinstance(key, Tensor) else type(key).__name__
        raise ShapeError(op, f"a key {came}", "a key is a uint32 tensor of shape (2,)", "make one with lazygrad.random.key")
    if not known(key):
        return None
    k0, k1 = np.asarray(key)
    return np.stack(block(k0, k1, np.uint32(high), low), -1)


def split(key: Tensor, num: int = 2) -> Tensor:
    """`num` new keys (num, 2), independent of each other and of what is drawn with `key`.

    >>> import lazygrad as lg
    >>> first, second = lg.random.split(lg.random.key(0))
    >>> first.shape, first.tolist() == second.tolist()
    ((2,), False)
    """
    if not 0 <= num < 1 << 32:
        raise ShapeError("split", f"num={num}", "it is not a number of keys", "pass 0 or more")
    found = derived("split", key, SPLIT, np.arange(num, dtype=np.uint32))
    return _split(key, num) if found is None else graph_of(key).leaf(found, False, sys._getframe(1))


def fold_in(key: Tensor, data: Any) -> Tensor:
    """The key for `key` and a number (a step, an index): an integer or an integer 0-d tensor, modulo 2**32.

    >>> import lazygrad as lg
    >>> key = lg.random.key(0)
    >>> lg.random.fold_in(key, 1).tolist() == lg.random.fold_in(key, 2).tolist()
    False
    """
    if isinstance(data, Tensor):
        if data.dtype.kind not in "iu" or data.ndim:
            raise DTypeError("fold_in", f"{data.dtype}{list(data.shape)}", "an integer scalar is expected", "cast it")
        if not known(data) or not known(key):
            return _fold_in(key, data)
        data = data.item()
    n = operator.index(data) % (1 << 32)
    found = derived("fold_in", key, FOLD, np.array([n], np.uint32))
    return _fold_in(key, np.uint32(n)) if found is None else graph_of(key).leaf(found[0], False, sys._getframe(1))


# ---- bits and uniform numbers ----------------------------------------------------------------------------------------

def floating(op: str, dtype: Any) -> np.dtype:
    found = dtypes.DEFAULT_FLOAT if dtype is None else as_dtype(op, dtype)
    if found.kind != "f":
        raise DTypeError(op, str(found), "random numbers here are real and floating", "draw in float32 or float64")
    return found


def unit(op: str, key: Term, shape: Shape, dtype: np.dtype, use: int = DRAW) -> Term:
    """Uniform in [0, 1), every multiple of 2**-24 (2**-53 in float64, 2**-11 in float16) equally likely."""
    x, y = drawn(op, key, shape, use)
    if dtype == dtypes.float64:
        high, low = [cast(P.shr(w, constant(k, shape, UINT)), dtype) for w, k in ((x, 5), (y, 6))]
        return scale(P.add(scale(high, 2.0**26), low), 2.0**-53)
    bits = 11 if dtype == dtypes.float16 else 24
    return scale(cast(P.shr(x, constant(32 - bits, shape, UINT)), dtype), 2.0**-bits)


def fraction(w: Term, dtype: np.dtype) -> Term:
    """A word as a number in (0, 1]: small ones keep their relative precision, for logarithms."""
    wide = dtype if dtype != dtypes.float16 else dtypes.float32
    return scale(P.add(cast(w, wide), constant(0.5, w.aval.shape, wide)), TWO32)


def open_unit(op: str, key: Term, shape: Shape, dtype: np.dtype) -> Term:
    """Uniform in (0, 1), in float32 or float64."""
    if dtype == dtypes.float64:
        u = unit(op, key, shape, dtype)
        return P.add(u, constant(2.0**-54, shape, dtype))
    x, _ = drawn(op, key, shape)
    u = fraction(x, dtype)
    return P.minimum(u, constant(1 - 2.0**-24, shape, u.aval.dtype))


def placed(op: str, shape: object, dtype: Any, *parameters: Operand) -> tuple[Any, ...]:
    """(shape, dtype, parameters of both): the shape asked for, or the one the parameters broadcast to."""
    dtype = floating(op, dtype)
    terms = [cast(p, dtype) if isinstance(p, Term) else number(op, p, (), dtype) for p in parameters]
    shapes = [t.aval.shape for t in terms]
    whole = broadcast_shapes(op, *shapes) if shape is None else positive_shape(op, shape)
    if shape is not None and broadcast_shapes(op, whole, *shapes) != whole:
        raise ShapeError(op, f"shape {whole} with parameters of {', '.join(map(str, shapes))}", "the parameters do not broadcast to it", "pass a larger shape")
    return whole, dtype, *[broadcast(t, whole) for t in terms]


@operation()
def bits(key: Term, shape: object = (), dtype: object = dtypes.uint32) -> Term:
    """Random bits: unsigned integers, every value equally likely.

    >>> import lazygrad as lg
    >>> lg.random.bits(lg.random.key(0), (3,)).dtype
    dtype('uint32')
    """
    shape, dtype = positive_shape("bits", shape), as_dtype("bits", dtype)
    if dtype.kind != "u":
        raise DTypeError("bits", str(dtype), "bits are unsigned", "pass uint8, uint16, uint32 or uint64")
    x, y = drawn("bits", key, shape)
    if dtype.itemsize == 8:
        return P.bit_or(P.shl(cast(x, dtype), constant(32, shape, dtype)), cast(y, dtype))
    return cast(P.shr(x, constant(32 - 8 * dtype.itemsize, shape, UINT)), dtype)


@operation()
def uniform(key: Term, shape: object = None, dtype: object = None, minval: Operand = 0.0, maxval: Operand = 1.0) -> Term:
    """Uniform in [minval, maxval). float32 by default; bit for bit equal on every device where the bounds are 0 and 1.

    >>> import lazygrad as lg
    >>> x = lg.random.uniform(lg.random.key(0), (1000,), maxval=2.0)
    >>> bool((x >= 0).all() & (x < 2).all()), abs(x.mean().item() - 1) < 0.1
    (True, True)
    """
    plain_ = not isinstance(minval, Term) and not isinstance(maxval, Term) and (minval, maxval) == (0, 1)
    shape, dtype, low, high = placed("uniform", shape, dtype, minval, maxval)
    u = unit("uniform", key, shape, dtype)
    return u if plain_ else P.add(low, P.mul(u, P.sub(high, low)))


def high_word(x: Term, n: int) -> Term:
    """The upper 32 bits of x * n, by halves of 16 bits."""
    shape = x.aval.shape
    num = lambda k: constant(k, shape, UINT)
    mask, sixteen, low, high = num(0xFFFF), num(16), num(n & 0xFFFF), num(n >> 16)
    a, b = P.bit_and(x, mask), P.shr(x, sixteen)
    t = P.mul(a, low)
    u = P.add(P.mul(b, low), P.shr(t, sixteen))
    v = P.add(P.mul(a, high), P.bit_and(u, mask))
    return P.add(P.add(P.mul(b, high), P.shr(u, sixteen)), P.shr(v, sixteen))


@operation()
def randint(key: Term, shape: object, minval: int, maxval: int, dtype: object = dtypes.int64) -> Term:
    """Integers of [minval, maxval), each as likely as the next within 2**-32 of its probability.

    Raises ShapeError where there is no integer in between, DTypeError where `dtype` does not hold the bounds.

    >>> import lazygrad as lg
    >>> sorted(set(lg.random.randint(lg.random.key(0), (100,), 2, 5).tolist()))
    [2, 3, 4]
    """
    shape, dtype = positive_shape("randint", shape), as_dtype("randint", dtype)
    low, high = operator.index(minval), operator.index(maxval)
    if dtype.kind not in "iu":
        raise DTypeError("randint", str(dtype), "integers are drawn", "pass an integer dtype")
    if not low < high:
        raise ShapeError("randint", f"minval={low}, maxval={high}", "no integer lies between", "maxval is exclusive")
    number("randint", low, (), dtype), number("randint", high - 1, (), dtype)          # errors where they do not fit
    span = high - low
    x, y = drawn("randint", key, shape)
    if span < 1 << 32:
        # floor(bits64 * span / 2**64): the upper word of x * span + upper word of (y * span)
        top, carry = high_word(x, span), high_word(y, span)
        lower = P.mul(x, constant(span, shape, UINT))
        over = cast(P.lt(P.add(lower, carry), lower), UINT)
        found = P.add(top, over)
        sum_in, start = (dtype, low) if dtype.itemsize == 8 else (UINT, low % (1 << 32))
        return cast(P.add(cast(found, sum_in), constant(start, shape, sum_in)), dtype)
    wide = dtypes.uint64
    b = P.bit_or(P.shl(cast(x, wide), constant(32, shape, wide)), cast(y, wide))
    found = b if span == 1 << 64 else P.remainder(b, constant(span, shape, wide))
    return cast(P.add(found, constant(low % (1 << 64), shape, wide)), dtype)


# ---- real distributions: the quantile function of a uniform number, or a transform of normal ones ----------------------

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


def gaussian(op: str, key: Term, shape: Shape, dtype: np.dtype) -> Term:
    """Standard normal numbers: sqrt(-2 log u) cos(2 pi v)."""
    if dtype == dtypes.float64:
        u, v = open_unit(op, key, shape, dtype), unit(op, key, shape, dtype, AGAIN)
    else:
        u, v = [fraction(w, dtype) for w in drawn(op, key, shape)]
    wide = u.aval.dtype
    angle = P.mul(v, constant(2 * math.pi, shape, wide))
    radius = P.sqrt(P.mul(P.log(u), constant(-2.0, shape, wide)))
    return cast(P.mul(radius, P.cos(angle)), dtype)


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
def multivariate_normal(key: Term, mean: Term, cholesky: Term, shape: object = ()) -> Term:
    """mean + L z for standard normal z: (n,), (n, n) lower triangular → (*shape, n); the covariance is L Lᵀ.

    >>> import lazygrad as lg
    >>> x = lg.random.multivariate_normal(lg.random.key(0), lg.asarray([1.0, 2.0]), lg.asarray([[1.0, 0.0], [0.5, 0.1]]), (5,))
    >>> x.shape
    (5, 2)
    """
    n = mean.aval.shape[-1] if mean.aval.ndim else 0
    if mean.aval.shape != (n,) or cholesky.aval.shape != (n, n) or not n:
        raise ShapeError("multivariate_normal", f"mean {mean.aval.shape}, factor {cholesky.aval.shape}", "(n,) and (n, n) are expected", "use vmap for stacks")
    dtype = floating("multivariate_normal", dtypes.promote(mean.aval.dtype, cholesky.aval.dtype))
    whole = (*positive_shape("multivariate_normal", shape), n)
    z = gaussian("multivariate_normal", key, whole, dtype)
    factor = P.permute(cast(cholesky, dtype), axes=(1, 0))
    moved = P.matmul(reshaped(z, (math.prod(whole[:-1]), n)), factor)
    return P.add(broadcast(cast(mean, dtype), whole), reshaped(moved, whole))


# ---- discrete distributions: without derivatives ---------------------------------------------------------------------

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


@operation()
def geometric(key: Term, p: Operand, shape: object = None, dtype: object = dtypes.int32) -> Term:
    """How many trials until the first success, 1 or more, where each succeeds with probability `p`.

    >>> import lazygrad as lg
    >>> abs(lg.random.geometric(lg.random.key(0), 0.5, (10000,)).mean().item() - 2) < 0.1
    True
    """
    kind = as_dtype("geometric", dtype)
    def quantile(u: Term, p: Term) -> Term:
        return P.add(P.floor(P.div(P.log(u), P.log1p(P.neg(p)))), like(u, 1.0))
    return cast(by_quantile("geometric", key, shape, None, quantile, p), kind)


@operation()
def categorical(key: Term, logits: Term, axis: int = -1, shape: object = None) -> Term:
    """Indices (int64) along `axis` with probabilities softmax(logits), by the Gumbel maximum. `shape`: more draws, in front.

    >>> import lazygrad as lg
    >>> lg.random.categorical(lg.random.key(0), lg.asarray([[0.0, 100.0], [100.0, 0.0]])).tolist()
    [1, 0]
    """
    if logits.aval.dtype.kind != "f" or not logits.aval.ndim:
        raise ShapeError("categorical", str(logits.aval), "floating logits with an axis are expected", "pass log probabilities")
    k = one_axis("categorical", axis, logits.aval.ndim)
    lead = () if shape is None else positive_shape("categorical", shape)
    whole = (*lead, *logits.aval.shape)
    u = open_unit("categorical", key, whole, logits.aval.dtype)
    noise = cast(P.neg(P.log(minus_log(u))), logits.aval.dtype)
    return P.argmax(P.add(broadcast(logits, whole), noise), axis=k + len(lead))


@operation()
def permutation(key: Term, x: Operand, axis: int = 0) -> Term:
    """The slices of x along `axis` in random order; of an integer n, the integers below n.

    >>> import lazygrad as lg
    >>> sorted(lg.random.permutation(lg.random.key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    if not isinstance(x, Term):
        return order_of("permutation", key, operator.index(x))
    k = one_axis("permutation", axis, x.aval.ndim)
    return P.gather(x, order_of("permutation", key, x.aval.shape[k]), axes=(k,), position=k)


def order_of(op: str, key: Term, n: int) -> Term:
    """The integers below n in random order: the order of n random words, ties by the second word."""
    x, y = drawn(op, key, (n,))
    second = P.argsort(y, axis=0, descending=False, stable=True)
    first = P.argsort(P.gather(x, second, axes=(0,), position=0), axis=0, descending=False, stable=True)
    return P.gather(second, first, axes=(0,), position=0)


@operation()
def choice(key: Term, a: Operand, shape: object = (), replace: bool = True, p: Term | None = None, axis: int = 0) -> Term:
    """Elements (slices along `axis`) of `a`, or of the integers below it; with probabilities `p` if given.

    ShapeError where more are asked for than there are and `replace` is false.

    >>> import lazygrad as lg
    >>> lg.random.choice(lg.random.key(0), 3, (4,), p=lg.asarray([0.0, 1.0, 0.0])).tolist()
    [1, 1, 1, 1]
    """
    shape = positive_shape("choice", shape)
    k = 0 if not isinstance(a, Term) else one_axis("choice", axis, a.aval.ndim)
    n = a.aval.shape[k] if isinstance(a, Term) else operator.index(a)
    size = math.prod(shape)
    if not n or (not replace and size > n):
        raise ShapeError("choice", f"{size} of {n}", "there are not as many", "replace=True draws an element more than once")
    if p is not None and p.aval.shape != (n,):
        raise ShapeError("choice", f"p of {p.aval.shape} for {n} elements", "each needs a probability")
    if p is None:
        at = randint.rule(key, shape, 0, n) if replace else reshaped(cut(order_of("choice", key, n), 0, 0, size), shape)
    elif replace:
        at = categorical.rule(key, P.log(p), -1, shape)
    else:
        keyed = P.add(P.log(p), P.neg(P.log(minus_log(open_unit("choice", key, (n,), p.aval.dtype)))))       # the Gumbel top k
        at = reshaped(cut(P.argsort(keyed, axis=0, descending=True, stable=True), 0, 0, size), shape)
    return P.gather(a, at, axes=(k,), position=k) if isinstance(a, Term) else at


# ---- a generator for those who want one --------------------------------------------------------------------------------

class Generator:
    """Draws without keys: every call takes the next key of a seed.

    `Generator(seed).normal((2,))` is `normal(fold_in(key(seed), 0), (2,))`, the next call takes `fold_in(key(seed), 1)`, and so on;
    every function of `lazygrad.random` that takes a key first is a method without it. Inside a traced function (`compile`, `scan`)
    a draw is made once, when it is traced: pass keys there.

    >>> import lazygrad as lg
    >>> one, two = lg.random.Generator(0), lg.random.Generator(0)
    >>> one.normal((3,)).tolist() == two.normal((3,)).tolist(), one.uniform().item() == one.uniform().item()
    (True, False)
    """

    def __init__(self, seed: Any, *, graph: Any = None) -> None:
        self.key, self.count = key(seed, graph=graph), 0

    def next_key(self) -> Tensor:
        """The key of the next draw."""
        found = fold_in(self.key, self.count)
        self.count += 1
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in DRAWS:
            raise AttributeError(f"Generator has no draw {name!r}")
        draw = globals()[name]
        return lambda *args, **kwargs: draw(self.next_key(), *args, **kwargs)

    def __repr__(self) -> str:
        return f"Generator(key={self.key.tolist()}, count={self.count})"


DRAWS = ("bernoulli", "bits", "categorical", "cauchy", "choice", "exponential", "geometric", "gumbel", "laplace", "logistic", "lognormal",
         "multivariate_normal", "normal", "pareto", "permutation", "rademacher", "randint", "rayleigh", "triangular", "uniform", "weibull")
__all__ = ["Generator", "fold_in", "key", "split", *DRAWS]
