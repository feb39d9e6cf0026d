"""Discrete distributions: numbers that count something. They have no derivatives.

In: a key, parameters that broadcast, a shape. Out: integers or booleans.
"""

from __future__ import annotations

from .. import dtypes
from ..ir.term import Term
from ..lift import Operand, operation
from .promotion import P, as_dtype, cast, constant, positive_shape
from .random_continuous import by_quantile, like
from .random_keys import UINT, drawn
from .random_uniform import placed, unit


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
