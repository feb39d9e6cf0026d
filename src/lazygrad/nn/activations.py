"""Activations of neural networks beyond those of the main namespace, made of primitives.

In: a tensor of any shape (integers count as float32), settings as Python numbers. Out: a tensor of its shape and dtype. At a corner
the derivative is PyTorch's; NaN stays NaN; at ±inf values are the limits.
"""

from __future__ import annotations

import math

from ..errors import DataError, ShapeError
from ..functions.composite import above, fill, leaky_relu, scale, silu
from ..functions.movement import cut
from ..functions.promotion import P, alike, broadcast, cast, one_axis, pair, reshaped
from ..functions.random_continuous import gumbel
from ..functions.random_uniform import uniform
from ..functions.reductions import softmax
from ..functions.statistics import one_hot
from ..functions.table import public
from ..ir.term import Term
from ..lift import Operand
from .operands import keyed, real

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946      # Klambauer et al. 2017, (14)


def between(x: Term, low: float, high: float) -> Term:
    """x limited to [low, high], with gradient 0 at the limits; NaN stays NaN."""
    a, b = fill(x, low), fill(x, high)
    return P.where(P.le(x, a), a, P.where(P.ge(x, b), b, x))


# ---- with corners -------------------------------------------------------------------------------------------------------

@public(space="nn")
def relu6(x: Term) -> Term:
    """x limited to [0, 6]. The gradient is 0 at both ends.

    >>> import lazygrad as lg
    >>> lg.nn.relu6(lg.asarray([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return between(real("relu6", x), 0, 6)


@public(space="nn")
def hardtanh(x: Term, min_val: float = -1.0, max_val: float = 1.0) -> Term:
    """x limited to [min_val, max_val]. The gradient is 0 at both ends.

    >>> import lazygrad as lg
    >>> lg.nn.hardtanh(lg.asarray([-2.0, 0.5, 9.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if not min_val <= max_val:
        raise DataError("hardtanh", f"min_val={min_val}, max_val={max_val}", "nothing lies between", "min_val is the smaller one")
    return between(real("hardtanh", x), min_val, max_val)


@public(space="nn")
def threshold(x: Term, threshold: float, value: float) -> Term:
    """x where x > threshold, else `value`.

    >>> import lazygrad as lg
    >>> lg.nn.threshold(lg.asarray([0.5, 2.0]), 1.0, -7.0).tolist()
    [-7.0, 2.0]
    """
    x = real("threshold", x)
    return P.where(P.le(x, fill(x, threshold)), fill(x, value), x)


@public(space="nn")
def prelu(x: Term, weight: Operand) -> Term:
    """x where x > 0, else weight * x. `weight`: one number, or one for each channel (axis 1 of x, the last of a 1-d x).

    >>> import lazygrad as lg
    >>> lg.nn.prelu(lg.asarray([[-2.0, -2.0]]), lg.asarray([0.5, 0.25])).tolist()
    [[-1.0, -0.5]]
    """
    x, w = alike("prelu", (real("prelu", x), weight))
    shape, axis = x.aval.shape, min(1, x.aval.ndim - 1)
    if w.aval.size == 1:
        w = reshaped(w, ())
    elif w.aval.ndim == 1 and shape and w.aval.size == shape[axis]:
        w = reshaped(w, (w.aval.size, *[1] * (x.aval.ndim - 1 - axis)))
    else:
        raise ShapeError("prelu", f"{shape} and a weight of {w.aval.shape}", "a weight has one number, or one for each channel", "channels are axis 1")
    return P.where(P.gt(x, fill(x, 0)), x, P.mul(broadcast(w, shape), x))


@public(space="nn")
def rrelu(key: Term | None, x: Term, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Term:
    """x where x > 0, else a * x: a is drawn in [lower, upper) for every element while `training`, else their mean.

    `key`: of `lazygrad.random`, may be None when not training.

    >>> import lazygrad as lg
    >>> lg.nn.rrelu(None, lg.asarray([-2.0, 2.0]), 0.25, 0.75).tolist()
    [-1.0, 2.0]
    """
    x = real("rrelu", x)
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    slope = uniform.rule(keyed("rrelu", key), x.aval.shape, x.aval.dtype, lower, upper)
    return P.where(P.gt(x, fill(x, 0)), x, P.mul(slope, x))


@public(space="nn")
def hardsigmoid(x: Term) -> Term:
    """(x + 3) / 6 limited to [0, 1]. The gradient is 0 at both ends.

    >>> import lazygrad as lg
    >>> lg.nn.hardsigmoid(lg.asarray([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    x = real("hardsigmoid", x)
    three = fill(x, 3)
    ramp = P.div(P.add(x, three), fill(x, 6))
    return P.where(P.le(x, P.neg(three)), fill(x, 0), P.where(P.ge(x, three), fill(x, 1), ramp))


@public(space="nn")
def hardswish(x: Term) -> Term:
    """x * hardsigmoid(x): 0 for x <= -3, x for x >= 3.

    >>> import lazygrad as lg
    >>> lg.nn.hardswish(lg.asarray([-4.0, 1.5, 4.0])).tolist()
    [0.0, 1.125, 4.0]
    """
    x = real("hardswish", x)
    three = fill(x, 3)
    middle = P.mul(x, P.div(P.add(x, three), fill(x, 6)))
    return P.where(P.le(x, P.neg(three)), fill(x, 0), P.where(P.ge(x, three), x, middle))


@public(space="nn")
def hardshrink(x: Term, lambd: float = 0.5) -> Term:
    """x where |x| > lambd, else 0.

    >>> import lazygrad as lg
    >>> lg.nn.hardshrink(lg.asarray([-1.0, 0.5, 0.75])).tolist()
    [-1.0, 0.0, 0.75]
    """
    x = real("hardshrink", x)
    return P.where(P.le(P.abs(x), fill(x, lambd)), fill(x, 0), x)


@public(space="nn")
def softshrink(x: Term, lambd: float = 0.5) -> Term:
    """x moved towards 0 by `lambd`, 0 where |x| <= lambd.

    >>> import lazygrad as lg
    >>> lg.nn.softshrink(lg.asarray([-1.0, 0.5, 0.75])).tolist()
    [-0.5, 0.0, 0.25]
    """
    if not lambd >= 0:
        raise DataError("softshrink", f"lambd={lambd}", "it is how far numbers move towards 0", "pass 0 or more")
    x = real("softshrink", x)
    l = fill(x, lambd)
    moved = P.where(P.gt(x, l), P.sub(x, l), P.add(x, l))
    return P.where(P.le(P.abs(x), l), fill(x, 0), moved)


# ---- of exponentials ------------------------------------------------------------------------------------------------------

@public(space="nn")
def celu(x: Term, alpha: float = 1.0) -> Term:
    """x where x > 0, else alpha * (exp(x / alpha) - 1): its derivative is continuous for every alpha.

    >>> import lazygrad as lg
    >>> lg.nn.celu(lg.asarray([-100.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    if not alpha:
        raise DataError("celu", f"alpha={alpha}", "it divides", "pass another number")
    x = real("celu", x)
    return P.where(P.gt(x, fill(x, 0)), x, scale(P.expm1(scale(x, 1 / alpha)), alpha))


@public(space="nn")
def selu(x: Term) -> Term:
    """1.0507 x where x > 0, else 1.0507 * 1.6733 * (exp(x) - 1): numbers of mean 0 and variance 1 stay so from layer to layer.

    >>> import lazygrad as lg
    >>> lg.nn.selu(lg.asarray([-100.0, 1.0])).value.round(4).tolist()
    [-1.7581000328063965, 1.0506999492645264]
    """
    x = real("selu", x)
    return P.where(P.gt(x, fill(x, 0)), scale(x, SELU_SCALE), scale(P.expm1(x), SELU_ALPHA * SELU_SCALE))


@public(space="nn")
def softplus(x: Term, beta: float = 1.0, threshold: float = 20.0) -> Term:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold, as PyTorch has it. Never overflows: `threshold=inf` is exact.

    >>> import lazygrad as lg
    >>> lg.nn.softplus(lg.asarray([-1000.0, 0.0, 1000.0]), 2.0).value.round(4).tolist()
    [0.0, 0.3465999960899353, 1000.0]
    """
    if not beta:
        raise DataError("softplus", f"beta={beta}", "it divides", "pass another number")
    x = real("softplus", x)
    y = x if beta == 1 else scale(x, beta)
    soft = P.logaddexp(y, fill(y, 0))
    soft = soft if beta == 1 else scale(soft, 1 / beta)
    return soft if threshold == math.inf else P.where(P.gt(y, fill(y, threshold)), x, soft)


@public(space="nn")
def mish(x: Term) -> Term:
    """x * tanh(log(1 + exp(x))).

    >>> import lazygrad as lg
    >>> lg.nn.mish(lg.asarray([-1000.0, 0.0, 30.0])).tolist()
    [0.0, 0.0, 30.0]
    """
    x = real("mish", x)
    x = above(x, -800)
    return P.mul(x, P.tanh(P.logaddexp(x, fill(x, 0))))


@public(space="nn")
def softsign(x: Term) -> Term:
    """x / (1 + |x|).

    >>> import lazygrad as lg
    >>> lg.nn.softsign(lg.asarray([-3.0, 0.0, float("inf")])).tolist()
    [-0.75, 0.0, 1.0]
    """
    x = real("softsign", x)
    return P.where(P.isinf(x), P.sign(x), P.div(x, P.add(fill(x, 1), P.abs(x))))


@public(space="nn")
def tanhshrink(x: Term) -> Term:
    """x - tanh(x), to full precision near 0 too.

    >>> import lazygrad as lg
    >>> round(lg.nn.tanhshrink(lg.asarray(0.001)).item() * 3e9, 3)
    1.0
    """
    x = real("tanhshrink", x)
    # near 0 the terms cancel: (x cosh x - sinh x) / cosh x, the numerator by its series, sum of 2k x^(2k+1) / (2k+1)!
    near = P.lt(P.abs(x), fill(x, 1))
    y = P.where(near, x, fill(x, 0))
    square = P.square(y)
    series = fill(x, 18 / math.factorial(19))
    for k in range(8, 0, -1):
        series = P.add(P.mul(series, square), fill(x, 2 * k / math.factorial(2 * k + 1)))
    return P.where(near, P.div(P.mul(P.mul(series, square), y), P.cosh(y)), P.sub(x, P.tanh(x)))


# ---- with gates -----------------------------------------------------------------------------------------------------------

def halves(op: str, x: Term, axis: int) -> tuple[Term, Term]:
    """Both halves of x along an axis."""
    x = real(op, x)
    k = one_axis(op, axis, x.aval.ndim)
    n = x.aval.shape[k]
    if n % 2:
        raise ShapeError(op, f"axis {axis} of {x.aval.shape}", "it has no two halves", "pass an even size")
    return cut(x, k, 0, n // 2), cut(x, k, n // 2, n // 2)


@public(space="nn")
def glu(x: Term, axis: int = -1) -> Term:
    """a * sigmoid(b), where a and b are the halves of x along `axis`.

    >>> import lazygrad as lg
    >>> lg.nn.glu(lg.asarray([3.0, 0.0])).tolist()
    [1.5]
    """
    a, b = halves("glu", x, axis)
    return P.mul(a, P.sigmoid(b))


@public(space="nn")
def swiglu(x: Term, gate: Term | None = None, axis: int = -1) -> Term:
    """silu(gate) * x; without `gate` it is the first half of x along `axis`, and the second is multiplied. (Shazeer 2020.)

    >>> import lazygrad as lg
    >>> lg.nn.swiglu(lg.asarray([0.0, 3.0])).tolist(), lg.nn.swiglu(lg.asarray([2.0]), lg.asarray([40.0])).tolist()
    ([0.0], [80.0])
    """
    if gate is None:
        gate, x = halves("swiglu", x, axis)
    gate, x = pair("swiglu", real("swiglu", gate), real("swiglu", x))
    return P.mul(silu(gate), x)


# ---- of whole rows ----------------------------------------------------------------------------------------------------------

@public(space="nn")
def softmin(x: Term, axis: int = -1) -> Term:
    """softmax(-x) over `axis`.

    >>> import lazygrad as lg
    >>> lg.nn.softmin(lg.asarray([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    return softmax(P.neg(real("softmin", x)), axis)


@public(space="nn")
def gumbel_softmax(key: Term, logits: Term, tau: float = 1.0, hard: bool = False, axis: int = -1) -> Term:
    """Samples of the relaxed categorical distribution: softmax((logits + Gumbel noise) / tau) over `axis`.

    `hard` gives the one-hot vector of the largest entry, with the gradient of the soft one. (Jang et al. 2017.)

    >>> import lazygrad as lg
    >>> lg.nn.gumbel_softmax(lg.random.key(0), lg.asarray([0.0, 50.0, 0.0]), hard=True).tolist()
    [0.0, 1.0, 0.0]
    """
    if not tau > 0:
        raise DataError("gumbel_softmax", f"tau={tau}", "a temperature is positive", "pass a small number for sharp samples")
    x = real("gumbel_softmax", logits)
    k = one_axis("gumbel_softmax", axis, x.aval.ndim)
    noise = gumbel.rule(keyed("gumbel_softmax", key), x.aval.shape, x.aval.dtype)
    soft = softmax(scale(P.add(x, noise), 1 / tau), k)
    if not hard or x.aval.size == 0:
        return soft
    best = one_hot(P.argmax(soft, axis=k), x.aval.shape[k])
    order = tuple([a if a < k else x.aval.ndim - 1 if a == k else a - 1 for a in range(x.aval.ndim)])
    best = cast(P.permute(best, axes=order) if k != x.aval.ndim - 1 else best, x.aval.dtype)
    return P.add(best, P.sub(soft, P.stop_gradient(soft)))
