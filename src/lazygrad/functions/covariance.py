"""Covariances and correlation coefficients of variables, real and complex, under NumPy's names.

In: observations as columns of a matrix (or rows), weights of them. Out: a matrix, or a number for one variable.
"""

from __future__ import annotations

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from ..lift import Operand
from .composite import clip, fill
from .linalg import matmul
from .movement import squeeze
from .promotion import P, as_dtype, as_term, broadcast, cast, constant, inexact, reshaped
from .table import public


def variables(op: str, m: Term, rowvar: bool) -> Term:
    """Variables as the rows of a matrix."""
    if m.aval.ndim > 2:
        raise ShapeError(op, str(m.aval.shape), "observations are at most a matrix", "reshape them")
    x = m if m.aval.ndim == 2 else reshaped(m, (1, m.aval.size))
    return x if rowvar or m.aval.ndim == 1 else P.permute(x, axes=(1, 0))


def weight(op: str, name: str, given: Operand, n: int) -> Term | None:
    if given is None:
        return None
    w = inexact(as_term(op, given))
    if w.aval.shape != (n,):
        raise ShapeError(op, f"{n} observations with {name} of {w.aval.shape}", "every observation needs a weight", "pass as many")
    return w


def covariance(op: str, m: Term, y: Operand, rowvar: bool, ddof: float, fweights: Operand, aweights: Operand, dtype: object) -> Term:
    x = variables(op, m, rowvar)
    if y is not None:
        other = variables(op, as_term(op, y), rowvar)
        if other.aval.shape[1] != x.aval.shape[1]:
            raise ShapeError(op, f"{m.aval.shape} and {as_term(op, y).aval.shape}", "the numbers of observations differ", "pass as many")
        both = dtypes.promote(x.aval.dtype, other.aval.dtype)
        x = P.concatenate(cast(x, both), cast(other, both), axis=0)
    x = inexact(x) if dtype is None else cast(x, as_dtype(op, dtype))
    n, real = x.aval.shape[1], P.real(x).aval.dtype if x.aval.dtype.kind == "c" else x.aval.dtype
    f, a = [w and cast(w, real) for w in (weight(op, "fweights", fweights, n), weight(op, "aweights", aweights, n))]
    w = f if a is None else a if f is None else P.mul(f, a)
    total = constant(n, (), real) if w is None else P.sum(w, axes=(0,))
    loss = constant(ddof, (), real)
    if a is not None:                         # of reliability weights: Σ w a / Σ w for each degree of freedom
        loss = P.mul(loss, P.div(P.sum(P.mul(w, a), axes=(0,)), total))
    freedom = P.sub(total, loss)
    freedom = P.where(P.gt(freedom, fill(freedom, 0)), freedom, fill(freedom, 0))
    wide = None if w is None else broadcast(reshaped(cast(w, x.aval.dtype), (1, n)), x.aval.shape)
    mean = P.div(P.sum(x if w is None else P.mul(x, wide), axes=(1,)), broadcast(cast(total, x.aval.dtype), x.aval.shape[:1]))
    x = P.sub(x, broadcast(reshaped(mean, (x.aval.shape[0], 1)), x.aval.shape))
    right = P.permute(x if w is None else P.mul(x, wide), axes=(1, 0))
    c = matmul(x, P.conj(right) if x.aval.dtype.kind == "c" else right)
    return P.div(c, broadcast(cast(freedom, c.aval.dtype), c.aval.shape))


@public()
def cov(m: Term, y: Operand = None, rowvar: bool = True, bias: bool = False, ddof: float | None = None, fweights: Operand = None,
        aweights: Operand = None, *, dtype: object = None) -> Term:
    """The covariances of the rows of m (columns, unless `rowvar`), and of those of y: (k, n) -> (k, k), a number for one variable.

    Divided by the number of observations less `ddof` (1, or 0 with `bias`). `fweights`: how often each observation is counted;
    `aweights`: how reliable it is. NaN or infinite where nothing is left to divide by.

    >>> import lazygrad as lg
    >>> lg.cov(lg.asarray([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    return squeeze(covariance("cov", m, y, rowvar, (0 if bias else 1) if ddof is None else ddof, fweights, aweights, dtype))


@public()
def corrcoef(x: Term, y: Operand = None, rowvar: bool = True, *, dtype: object = None) -> Term:
    """The correlation coefficients of the rows of x (columns, unless `rowvar`), and of those of y: (k, n) -> (k, k), from -1 to 1.

    NaN for a variable that does not vary.

    >>> import lazygrad as lg
    >>> lg.corrcoef(lg.asarray([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    c = covariance("corrcoef", x, y, rowvar, 1, None, None, dtype)
    k = c.aval.shape[0]
    own = P.slice(reshaped(c, (k * k,)), start=(0,), step=(k + 1,), shape=(k,))
    if k == 1:
        return reshaped(P.div(own, own), ())
    whole = c.aval.dtype.kind == "c"
    size = P.sqrt(P.real(own) if whole else own)
    scale = P.mul(*[broadcast(reshaped(size, s), (k, k)) for s in ((k, 1), (1, k))])
    c = P.div(c, cast(scale, c.aval.dtype))
    if not whole:
        return clip(c, -1, 1)
    i = constant(1j, (), c.aval.dtype)
    return P.add(cast(clip(P.real(c), -1, 1), c.aval.dtype), P.mul(broadcast(i, (k, k)), cast(clip(P.imag(c), -1, 1), c.aval.dtype)))
