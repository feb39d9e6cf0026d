"""Reductions and running sums that skip NaN, under NumPy's names.

In: tensors, `axis` and `keepdims` as in `reductions.py`. Out: tensors. Elements that are skipped get gradient 0. Quantiles are in
`quantiles.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import dtypes
from ..ir.term import Term
from .composite import fill
from .elementwise import ordered
from .promotion import P, as_dtype, broadcast, cast, constant, inexact
from .reductions import Axis, argmax, argmin, cumprod, cumsum, reduce
from .reductions import max as max_
from .reductions import min as min_
from .reductions import prod as prod_
from .reductions import sum as sum_
from .table import public


def present(x: Term, value: float) -> Term:
    """x with `value` for NaN."""
    return P.where(P.isnan(x), fill(x, value), x) if x.aval.dtype.kind in "fc" else x


def counted(x: Term, axis: Axis, keepdims: bool) -> Term:
    """How many elements over `axis` are not NaN, in x's dtype."""
    there = P.bit_not(P.isnan(x)) if x.aval.dtype.kind in "fc" else constant(True, x.aval.shape, dtypes.bool_)
    return cast(reduce("count", P.sum, cast(there, dtypes.int32), axis, keepdims), x.aval.dtype)


# ---- sums -------------------------------------------------------------------------------------------------------------

@public(method=True)
def nansum(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The sum over `axis` of the elements that are not NaN.

    >>> import lazygrad as lg
    >>> lg.nansum(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return sum_(present(x, 0), axis, dtype, keepdims)


@public()
def nanprod(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The product over `axis` of the elements that are not NaN.

    >>> import lazygrad as lg
    >>> lg.nanprod(lg.asarray([2.0, float("nan"), 3.0])).tolist()
    6.0
    """
    return prod_(present(x, 1), axis, dtype, keepdims)


@public(method=True)
def nanmean(x: Term, axis: Axis = None, dtype: object = None, keepdims: bool = False) -> Term:
    """The mean over `axis` of the elements that are not NaN; NaN where there are none.

    >>> import lazygrad as lg
    >>> lg.nanmean(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    2.0
    """
    x = inexact(x) if dtype is None else cast(x, as_dtype("nanmean", dtype))
    return P.div(sum_(present(x, 0), axis, None, keepdims), counted(x, axis, keepdims))


def spread(op: str, x: Term, axis: Axis, correction: float, keepdims: bool) -> Term:
    x = inexact(x)
    apart = present(P.sub(x, broadcast(nanmean(x, axis, None, True), x.aval.shape)), 0)
    total = reduce(op, P.sum, P.square(P.abs(apart) if x.aval.dtype.kind == "c" else apart), axis, keepdims)
    n = counted(P.real(x) if x.aval.dtype.kind == "c" else x, axis, keepdims)
    n = P.sub(n, fill(n, correction))
    return P.where(P.gt(n, fill(n, 0)), P.div(total, n), fill(total, math.nan))


@public()
def nanvar(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False, ddof: float | None = None) -> Term:
    """The variance over `axis` of the elements that are not NaN; NaN where these are no more than `correction` (also called `ddof`).

    >>> import lazygrad as lg
    >>> lg.nanvar(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    1.0
    """
    return spread("nanvar", x, axis, correction if ddof is None else ddof, keepdims)


@public()
def nanstd(x: Term, axis: Axis = None, correction: float = 0, keepdims: bool = False, ddof: float | None = None) -> Term:
    """The standard deviation over `axis` of the elements that are not NaN, with derivative 0 where it is 0.

    >>> import lazygrad as lg
    >>> lg.nanstd(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    1.0
    """
    v = spread("nanstd", x, axis, correction if ddof is None else ddof, keepdims)
    return P.where(P.eq(v, fill(v, 0)), fill(v, 0), P.sqrt(v))


# ---- extremes ---------------------------------------------------------------------------------------------------------

def without_nan(op: str, best: Callable[..., Term], worst: float, x: Term, axis: Axis, keepdims: bool) -> Term:
    if x.aval.dtype.kind != "f":
        return best(x, axis, keepdims)
    out = best(present(x, worst), axis, keepdims)
    empty = reduce(op, P.all, P.isnan(x), axis, keepdims)
    return P.where(empty, fill(out, math.nan), out)


@public()
def nanmax(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The largest element over `axis` that is not NaN; NaN where there is none.

    >>> import lazygrad as lg
    >>> lg.nanmax(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return without_nan("nanmax", max_, -math.inf, x, axis, keepdims)


@public()
def nanmin(x: Term, axis: Axis = None, keepdims: bool = False) -> Term:
    """The smallest element over `axis` that is not NaN; NaN where there is none.

    >>> import lazygrad as lg
    >>> lg.nanmin(lg.asarray([1.0, float("nan")])).tolist()
    1.0
    """
    return without_nan("nanmin", min_, math.inf, x, axis, keepdims)


@public()
def nanargmax(x: Term, axis: int | None = None, keepdims: bool = False) -> Term:
    """The position of the first largest element along `axis` that is not NaN; 0 where there is none (NumPy raises an error).

    >>> import lazygrad as lg
    >>> lg.nanargmax(lg.asarray([float("nan"), 1.0, 2.0])).tolist()
    2
    """
    return argmax(present(ordered("nanargmax", (x,))[0], -math.inf), axis, keepdims)


@public()
def nanargmin(x: Term, axis: int | None = None, keepdims: bool = False) -> Term:
    """The position of the first smallest element along `axis` that is not NaN; 0 where there is none (NumPy raises an error).

    >>> import lazygrad as lg
    >>> lg.nanargmin(lg.asarray([float("nan"), 1.0, 2.0])).tolist()
    1
    """
    return argmin(present(ordered("nanargmin", (x,))[0], math.inf), axis, keepdims)


# ---- running sums -----------------------------------------------------------------------------------------------------

@public()
def nancumsum(x: Term, axis: int | None = None, dtype: object = None) -> Term:
    """The running sum along `axis`, of the flattened x without one; NaN counts as 0.

    >>> import lazygrad as lg
    >>> lg.nancumsum(lg.asarray([1.0, float("nan"), 3.0])).tolist()
    [1.0, 1.0, 4.0]
    """
    return cumsum(present(x, 0), axis, dtype)


@public()
def nancumprod(x: Term, axis: int | None = None, dtype: object = None) -> Term:
    """The running product along `axis`, of the flattened x without one; NaN counts as 1.

    >>> import lazygrad as lg
    >>> lg.nancumprod(lg.asarray([2.0, float("nan"), 3.0])).tolist()
    [2.0, 2.0, 6.0]
    """
    return cumprod(present(x, 1), axis, dtype)
