"""Functions of square matrices: roots, logarithms, and the trigonometric and hyperbolic functions by the exponential.

In: tensors whose last two axes are the matrix (..., n, n). Out: tensors of the same shape and dtype. Derivatives hold for matrices that
cannot be diagonalised too. `expm` is in `linalg.py`.
"""

from __future__ import annotations

from .. import dtypes
from ..ir.term import Term
from ..prims import linalg_functions as F
from ..prims.linalg import solve
from .composite import scale
from .linalg import square_matrix
from .promotion import P, cast
from .table import public

# ---- roots and logarithms -----------------------------------------------------------------------------------------------

@public(space="linalg")
def sqrtm(x: Term) -> Term:
    """The principal square root of (..., n, n). Real matrices stay real: LinAlgError where the root is not, cast to complex then.

    >>> import lazygrad as lg
    >>> lg.linalg.sqrtm(lg.asarray([[4., 0.], [0., 9.]])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    return F.sqrtm(square_matrix("sqrtm", x))


@public(space="linalg")
def logm(x: Term) -> Term:
    """The principal logarithm of (..., n, n). Real matrices stay real: LinAlgError where it is not, cast to complex then.

    >>> import lazygrad as lg
    >>> lg.linalg.logm(lg.asarray([[1., 0.], [0., 1.]])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return F.logm(square_matrix("logm", x))


# ---- by the exponential ---------------------------------------------------------------------------------------------------

def turned(x: Term) -> tuple[Term, Term | None]:
    """(exp(ix), exp(-ix)) of a complex matrix; of a real one exp(ix) alone, whose parts are cosine and sine."""
    if x.aval.dtype.kind == "c":
        i = scale(x, 1j)
        return P.expm(i), P.expm(P.neg(i))
    return P.expm(scale(cast(x, dtypes.complex64 if x.aval.dtype == dtypes.float32 else dtypes.complex128), 1j)), None


def _sine(x: Term) -> Term:
    e, back = turned(x)
    return P.imag(e) if back is None else scale(P.sub(e, back), -0.5j)


def _cosine(x: Term) -> Term:
    e, back = turned(x)
    return P.real(e) if back is None else scale(P.add(e, back), 0.5)


def _halves(x: Term, join) -> Term:
    return scale(join(P.expm(x), P.expm(P.neg(x))), 0.5)


@public(space="linalg")
def sinm(x: Term) -> Term:
    """The sine of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.linalg.sinm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return _sine(square_matrix("sinm", x))


@public(space="linalg")
def cosm(x: Term) -> Term:
    """The cosine of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.linalg.cosm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _cosine(square_matrix("cosm", x))


@public(space="linalg")
def tanm(x: Term) -> Term:
    """The tangent of (..., n, n): cosm(x)⁻¹ sinm(x).

    >>> import lazygrad as lg
    >>> lg.linalg.tanm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    x = square_matrix("tanm", x)
    return solve(_cosine(x), _sine(x))


@public(space="linalg")
def sinhm(x: Term) -> Term:
    """The hyperbolic sine of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.linalg.sinhm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return _halves(square_matrix("sinhm", x), P.sub)


@public(space="linalg")
def coshm(x: Term) -> Term:
    """The hyperbolic cosine of (..., n, n).

    >>> import lazygrad as lg
    >>> lg.linalg.coshm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _halves(square_matrix("coshm", x), P.add)


@public(space="linalg")
def tanhm(x: Term) -> Term:
    """The hyperbolic tangent of (..., n, n): coshm(x)⁻¹ sinhm(x).

    >>> import lazygrad as lg
    >>> lg.linalg.tanhm(lg.asarray([[0., 1.], [0., 0.]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    x = square_matrix("tanhm", x)
    return solve(_halves(x, P.add), _halves(x, P.sub))
