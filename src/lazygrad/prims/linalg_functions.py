"""Functions of matrices: the square root and the logarithm; SciPy's Schur methods on the host.

In: (*batch, n, n) of float32, float64, complex64 or complex128. Out: the same type; where the result of a real matrix is not
real, a LinAlgError. Derivatives solve linear equations in the values and hold for matrices that cannot be diagonalised.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from ..errors import LinAlgError
from ..ir.term import Term
from . import matrices as X
from . import movement as M
from .base import Custom, Prim
from .leaf import like
from .linalg import FAILS, attempted, square
from .linalg_systems import stacked, sylvester


def _by_schur(name: str, wrong: str) -> Callable[[np.ndarray], np.ndarray]:
    """SciPy's function of that name for every matrix of a stack, with the dtype of the argument."""
    def numpy(a: np.ndarray) -> np.ndarray:
        if not a.size:
            return a.copy()
        import scipy.linalg
        function = getattr(scipy.linalg, name)
        out = np.empty_like(stacked(a))
        for k, m in enumerate(stacked(a)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.asarray(function(m.astype(np.complex128 if a.dtype.kind == "c" else np.float64)))
            if not np.isfinite(found).all():
                raise LinAlgError(name, str(a.shape), wrong, "check its eigenvalues")
            if found.dtype.kind == "c" and a.dtype.kind != "c":
                if np.abs(found.imag).max() > 1e-10 * np.abs(found).max():
                    raise LinAlgError(name, str(a.shape), "the result is not real: an eigenvalue is negative", "cast the matrix to complex128")
                found = found.real
            out[k] = found
        return out.reshape(a.shape)
    return attempted(name, "its Schur form was not found", "check for infinities and NaN")(numpy)


def _sqrtm_vjp(ct: Term, y: Term, a: Term) -> tuple[Term]:
    # Y Ẏ + Ẏ Y = Ȧ (Higham 2008 §6.2); the adjoint in the pairing tr(Cᵀ Ẋ) is the same with Yᵀ
    t = X.transposed(y)
    return (sylvester(t, t, ct),)


sqrtm = Prim("sqrtm", _by_schur("sqrtm", "the matrix is singular and has no square root that can be found"), lambda a: square("sqrtm", a), FAILS,
             Custom(_sqrtm_vjp, lambda ts, y, a: sylvester(y, y, ts[0])))


def _frechet(a: Term, e: Term) -> Term:
    """The derivative of logm at `a` in direction `e`: the upper right block of logm([[A, E], [0, A]]) (Higham 2008 §3.2)."""
    n, ndim = a.aval.shape[-1], a.aval.ndim
    whole = M.concatenate(M.concatenate(a, e, axis=ndim - 1), M.concatenate(like(a, 0), a, axis=ndim - 1), axis=ndim - 2)
    return X.cut(logm(whole), (0, n), (n, 2 * n))


logm = Prim("logm", _by_schur("logm", "the matrix is singular and has no logarithm"), lambda a: square("logm", a), FAILS,
            Custom(lambda ct, out, a: (_frechet(X.transposed(a), ct),), lambda ts, out, a: _frechet(a, ts[0])))
