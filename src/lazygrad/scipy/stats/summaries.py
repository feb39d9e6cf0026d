"""Summaries of samples under SciPy's names: moments, means of other kinds, spreads, entropies, correlation.

In: samples along `axis` (the first, as in SciPy; None for all). Out: tensors.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import lazygrad as lg
from lazygrad import special as S

from ...errors import OptionError, ShapeError
from ...tensor import Tensor
from .continuous import beta
from .family import tensors


def array(v: Any) -> Tensor:
    """Data as a floating tensor."""
    return tensors(v)[0]


def central(x: Tensor, order: int, axis: Any, center: Any = None, keepdims: bool = False) -> Tensor:
    c = lg.mean(x, axis=axis, keepdims=True) if center is None else center
    return lg.mean((x - c) ** order, axis=axis, keepdims=keepdims)


def size_along(x: Tensor, axis: Any) -> int:
    return math.prod([x.shape[a] for a in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))])


def moment(a: Any, order: int = 1, axis: Any = 0, *, center: Any = None) -> Tensor:
    """The mean of (a - center)**order, about the mean unless another center is given.

    >>> moment([1.0, 3.0], 2).item()
    1.0
    """
    x = array(a)
    return central(x, order, axis, center) if order != 1 or center is not None else lg.zeros_like(lg.mean(x, axis=axis))


def skew(a: Any, axis: Any = 0, bias: bool = True) -> Tensor:
    """The third central moment over the variance to the power 3/2; without bias as for a normal sample.

    >>> skew([1.0, 2.0, 3.0]).item()
    0.0
    """
    x = array(a)
    n = size_along(x, axis)
    m2, m3 = central(x, 2, axis), central(x, 3, axis)
    out = m3 / m2 ** 1.5
    return out if bias or n < 3 else out * (math.sqrt(n * (n - 1)) / (n - 2))


def kurtosis(a: Any, axis: Any = 0, fisher: bool = True, bias: bool = True) -> Tensor:
    """The fourth central moment over the squared variance, less 3 if `fisher`.

    >>> kurtosis([1.0, 2.0, 3.0]).item()
    -1.5
    """
    x = array(a)
    n = size_along(x, axis)
    out = central(x, 4, axis) / lg.square(central(x, 2, axis))
    if not bias and n > 3:
        out = ((n * n - 1) * out - 3 * (n - 1) ** 2) / ((n - 2) * (n - 3)) + 3
    return out - 3 if fisher else out


def zscore(a: Any, axis: Any = 0, ddof: int = 0) -> Tensor:
    """The distance of each element from the mean, in standard deviations.

    >>> zscore([1.0, 3.0]).tolist()
    [-1.0, 1.0]
    """
    x = array(a)
    return (x - lg.mean(x, axis=axis, keepdims=True)) / lg.std(x, axis=axis, keepdims=True, ddof=ddof)


def sem(a: Any, axis: Any = 0, ddof: int = 1) -> Tensor:
    """The standard error of the mean.

    >>> sem([1.0, 3.0]).item()
    1.0
    """
    x = array(a)
    return lg.std(x, axis=axis, ddof=ddof) / math.sqrt(size_along(x, axis))


def variation(a: Any, axis: Any = 0, ddof: int = 0) -> Tensor:
    """The standard deviation over the mean.

    >>> variation([1.0, 3.0]).item()
    0.5
    """
    x = array(a)
    return lg.std(x, axis=axis, ddof=ddof) / lg.mean(x, axis=axis)


def gmean(a: Any, axis: Any = 0, weights: Any = None) -> Tensor:
    """The geometric mean, weighted if weights are given.

    >>> round(gmean([1.0, 4.0]).item(), 12)
    2.0
    """
    return lg.exp(lg.average(lg.log(array(a)), axis, None if weights is None else array(weights)))


def hmean(a: Any, axis: Any = 0, *, weights: Any = None) -> Tensor:
    """The harmonic mean, weighted if weights are given.

    >>> round(hmean([1.0, 3.0]).item(), 12)
    1.5
    """
    return 1 / lg.average(1 / array(a), axis, None if weights is None else array(weights))


def iqr(x: Any, axis: Any = None, rng: Any = (25, 75), scale: float = 1.0, keepdims: bool = False) -> Tensor:
    """The distance between two percentiles, over `scale`.

    >>> iqr([1.0, 2.0, 3.0, 4.0, 5.0]).item()
    2.0
    """
    low, high = sorted(rng)
    y = array(x)
    return (lg.percentile(y, high, axis, keepdims=keepdims) - lg.percentile(y, low, axis, keepdims=keepdims)) / scale


def entropy(pk: Any, qk: Any = None, base: float | None = None, axis: int = 0) -> Tensor:
    """-Σ p log p of probabilities (scaled to sum 1), or the divergence Σ p log(p / q) from qk.

    >>> entropy([0.5, 0.5], base=2).item()
    1.0
    """
    if base is not None and base <= 0:
        raise OptionError("entropy", f"base {base}", "a base is positive", "pass a positive number")
    p = array(pk)
    p = p / lg.sum(p, axis=axis, keepdims=True)
    if qk is None:
        out = lg.sum(S.entr(p), axis=axis)
    else:
        q = array(qk)
        out = lg.sum(S.rel_entr(p, q / lg.sum(q, axis=axis, keepdims=True)), axis=axis)
    return out if base is None else out / math.log(base)


PearsonResult = namedtuple("PearsonResult", ("statistic", "pvalue"))


def pearsonr(x: Any, y: Any) -> PearsonResult:
    """The correlation coefficient of two samples, and the probability of one as far from 0 for independent normal ones.

    >>> round(pearsonr([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).statistic.item(), 4)
    0.982
    """
    a, b = array(x), array(y)
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ShapeError("pearsonr", f"{a.shape} and {b.shape}", "two samples of one length, 2 or more, are needed", "pass 1-d arrays")
    r = lg.corrcoef(a, b)[0, 1]
    half = a.size / 2 - 1
    p = 2 * beta.sf(lg.abs(r), half, half, loc=-1, scale=2) if half > 0 else lg.ones_like(r)
    return PearsonResult(r, p)


