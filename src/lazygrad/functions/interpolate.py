"""Linear interpolation between samples.

In: the places to look at, rising places of the samples, their values. Out: values at those places; derivatives flow to all three.
"""

from __future__ import annotations

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand
from .composite import fill
from .elementwise import ordered
from .movement import cut
from .promotion import P, alike, as_term, broadcast, cast, constant, inexact, reshaped
from .table import public


def samples(xp: Term, fp: Term) -> None:
    if xp.aval.ndim != 1 or fp.aval.shape != xp.aval.shape:
        raise ShapeError("interp", f"places {xp.aval.shape} and values {fp.aval.shape}", "both must be 1-d and equally long", "pass a value for every place")
    if not xp.aval.size:
        raise ShapeError("interp", "no samples", "there is nothing to interpolate", "pass one at least")


def around(xp: Term, fp: Term, period: float) -> tuple[Term, Term]:
    """Samples in the order of their places within one period, with the last before the first and the first after the last."""
    n = xp.aval.size
    xp = P.remainder(xp, fill(xp, period))
    order = P.argsort(xp, axis=0, descending=False, stable=True)
    xp, fp = [P.gather(v, order, axes=(0,), position=0) for v in (xp, fp)]
    whole = constant(period, (1,), xp.aval.dtype)
    xp = P.concatenate(P.sub(cut(xp, 0, n - 1, 1), whole), xp, P.add(cut(xp, 0, 0, 1), whole), axis=0)
    return xp, P.concatenate(cut(fp, 0, n - 1, 1), fp, cut(fp, 0, 0, 1), axis=0)


@public()
def interp(x: Operand, xp: Term, fp: Term, left: Operand = None, right: Operand = None, period: float | None = None) -> Term:
    """The values at x of the lines between samples (xp, fp), whose places xp rise: `left` (fp[0]) before, `right` (fp[-1]) after them.

    With `period` places are taken modulo that, and need no order. The values fp may be complex. The derivative by x is the slope of the
    line that begins there.

    >>> import lazygrad as lg
    >>> lg.interp(lg.asarray([0.5, 3.0]), lg.asarray([0.0, 1.0]), lg.asarray([10.0, 20.0])).tolist()
    [15.0, 20.0]
    """
    samples(xp, fp)
    x, xp = map(inexact, alike("interp", (as_term("interp", x), xp)))
    ordered("interp", (xp,))
    fp = inexact(fp)
    real = dtypes.promote(x.aval.dtype, P.real(fp).aval.dtype if fp.aval.dtype.kind == "c" else fp.aval.dtype)
    x, xp = cast(x, real), cast(xp, real)
    fp = cast(fp, dtypes.promote(fp.aval.dtype, real))
    if period is not None:
        if period == 0:
            raise OptionError("interp", "period 0", "a period is not 0", "pass a positive number")
        period = abs(period)
        x = P.remainder(x, fill(x, period))
        xp, fp = around(xp, fp, period)
    n, shape = xp.aval.size, x.aval.shape
    ends = [broadcast(reshaped(cut(v, 0, i, 1), ()), shape) for v in (xp, fp) for i in (0, n - 1)]
    before, after = P.lt(x, ends[0]), P.gt(x, ends[1])
    out = ends[2]
    if n > 1:
        last = constant(n - 1, shape, dtypes.int64)
        j = P.minimum(P.maximum(P.searchsorted(xp, x, side="right"), constant(1, shape, dtypes.int64)), last)
        i = P.sub(j, fill(j, 1))
        x0, x1, f0, f1 = [P.gather(v, k, axes=(0,), position=0) for v in (xp, fp) for k in (i, j)]
        gap = P.sub(x1, x0)
        flat = P.eq(gap, fill(gap, 0))        # two samples at one place
        t = P.div(P.sub(x, x0), P.where(flat, fill(gap, 1), gap))
        line = P.add(f0, P.mul(P.sub(f1, f0), cast(t, f0.aval.dtype)))
        out = P.where(P.eq(x, x1), f1, line)
    if period is None:
        sides = [broadcast(cast(as_term("interp", v), fp.aval.dtype), shape) if v is not None else e for v, e in ((left, ends[2]), (right, ends[3]))]
        out = P.where(before, sides[0], P.where(after, sides[1], out))
    missing = P.isnan(x)
    return P.where(missing, cast(x, out.aval.dtype), out)
