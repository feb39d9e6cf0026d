"""Normal vectors with a covariance.

In: a key, mean vectors and covariance matrices, stacked or not. Out: vectors, which differentiate by both.
"""

from __future__ import annotations

import math

from ..errors import DataError, ShapeError
from ..ir.term import Term
from ..lift import operation
from ..prims import linalg_factorizations as L
from ..prims.linalg_spectral import eigh
from ..prims.matrices import adjoint
from .composite import fill
from .promotion import P, broadcast, broadcast_shapes, cast, positive_shape, reshaped
from .random_continuous import gaussian
from .random_uniform import floating


@operation()
def multivariate_normal(key: Term, mean: Term, cov: Term, shape: object = None, dtype: object = None, method: str = "cholesky") -> Term:
    """Normal vectors of mean (..., n) and covariance (..., n, n) → (*shape, n); `shape` is what the stacks broadcast to unless given.

    `method`: "cholesky" needs a positive definite covariance (LinAlgError), "eigh" takes semidefinite ones too. Differentiates by both.

    >>> import lazygrad as lg
    >>> x = lg.random.multivariate_normal(lg.random.key(0), lg.asarray([1.0, 2.0]), lg.asarray([[1.0, 0.5], [0.5, 0.3]]), (5,))
    >>> x.shape
    (5, 2)
    """
    op = "multivariate_normal"
    n = mean.aval.shape[-1] if mean.aval.ndim else 0
    if not n or cov.aval.shape[-2:] != (n, n):
        raise ShapeError(op, f"mean {mean.aval.shape}, covariance {cov.aval.shape}", "(..., n) and (..., n, n) are expected")
    dtype = floating(op, dtype, mean, cov)
    stacks = broadcast_shapes(op, mean.aval.shape[:-1], cov.aval.shape[:-2])
    lead = stacks if shape is None else positive_shape(op, shape)
    if broadcast_shapes(op, lead, stacks) != lead:
        raise ShapeError(op, f"shape {lead} with stacks of {stacks}", "the parameters do not broadcast to it", "pass a larger shape")
    cov = cast(cov, dtype)
    if method == "cholesky":
        factor = L.cholesky(cov)
    elif method == "eigh":
        values, vectors = eigh(cov)
        positive = P.gt(values, fill(values, 0))
        roots = P.where(positive, P.sqrt(P.where(positive, values, fill(values, 1))), fill(values, 0))
        # the symmetric root, a smooth function of the covariance where eigenvalues meet
        factor = P.matmul(P.mul(vectors, broadcast(reshaped(roots, (*roots.aval.shape[:-1], 1, n)), vectors.aval.shape)), adjoint(vectors))
    else:
        raise DataError(op, f"method {method!r}", "there is no such method", "pass \"cholesky\" or \"eigh\"")
    z = gaussian(op, key, (*lead, n), dtype)
    if cov.aval.ndim == 2:                                 # one matrix for all
        moved = P.matmul(reshaped(z, (math.prod(lead), n)), adjoint(factor))
    else:
        moved = P.matmul(broadcast(factor, (*lead, n, n)), reshaped(z, (*lead, n, 1)))
    return P.add(broadcast(cast(mean, dtype), (*lead, n)), reshaped(moved, (*lead, n)))
