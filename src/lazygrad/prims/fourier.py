"""Discrete Fourier transforms, without factors: y[k] = sum_j x[j] exp(∓2πi jk / n); SciPy's pocketfft on the host.

    fft(x)      complex → complex over `axes`; `inverse` for the sign +
    rfft(x)     real (n) → complex (n // 2 + 1) along one axis, sign -
    irfft(x)    complex (n // 2 + 1) → real (n): what the other half, its conjugates, would add to, sign +

All are linear, so derivatives are transforms again. The transform's matrix is symmetric: fft is its own transpose.
"""

from __future__ import annotations

import numpy as np

from ..errors import AxisError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import movement as M
from .base import Host, Linear, Prim
from .leaf import constant


def _axis(op: str, x: Aval, axis: int, least: int = 1) -> int:
    """The length of an axis that can be transformed."""
    if not 0 <= axis < x.ndim:
        raise AxisError(op, f"axis {axis}", f"{x.shape} has {x.ndim} axes")
    if x.shape[axis] < least:
        raise ShapeError(op, str(x), f"axis {axis} has {x.shape[axis]} elements, at least {least} are needed", "pad it")
    return x.shape[axis]


def _complex(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.complex64)


def _run(name: str, x: np.ndarray, **static: object) -> np.ndarray:
    import scipy.fft
    return getattr(scipy.fft, name)(x, **static)


# ---- complex ---------------------------------------------------------------------------------------------------------

def _fft_aval(x: Aval, *, axes: tuple[int, ...], inverse: bool) -> Aval:
    if x.dtype.kind != "c":
        raise E.refuse("fft", x, "c")
    for axis in axes:
        _axis("fft", x, axis)
    return x


def _fft_numpy(x: np.ndarray, *, axes: tuple[int, ...], inverse: bool) -> np.ndarray:
    if not x.size or not axes:
        return x.copy()
    return _run("ifftn", x, axes=axes, norm="forward") if inverse else _run("fftn", x, axes=axes)


fft = Prim("fft", _fft_numpy, _fft_aval, Host(), Linear((0,), lambda ct, out, x, *, axes, inverse: (fft(ct, axes=axes, inverse=inverse),)),
           ("axes", "inverse"))


# ---- real ------------------------------------------------------------------------------------------------------------

def _rfft_aval(x: Aval, *, axis: int) -> Aval:
    if x.dtype.name not in ("float32", "float64"):
        raise E.refuse("rfft", x, "f")
    n = _axis("rfft", x, axis)
    return aval((*x.shape[:axis], n // 2 + 1, *x.shape[axis + 1:]), _complex(x.dtype))


def _irfft_aval(x: Aval, *, axis: int, size: int) -> Aval:
    if x.dtype.kind != "c":
        raise E.refuse("irfft", x, "c")
    if _axis("irfft", x, axis) != size // 2 + 1 or size < 1:
        raise ShapeError("irfft", f"{x} for {size} numbers", f"axis {axis} must have {size // 2 + 1} elements", "cut or pad it")
    return aval((*x.shape[:axis], size, *x.shape[axis + 1:]), E.real_dtype(x.dtype))


def _weighted(x: Term, axis: int, size: int, weight: float) -> Term:
    """x with `weight` on the elements that stand for their conjugates in the other half too."""
    m, inner = x.aval.shape[axis], (size - 1) // 2
    line = [constant(1, (1,), x.aval.dtype), constant(weight, (inner,), x.aval.dtype), constant(1, (m - 1 - inner,), x.aval.dtype)]
    line = M.concatenate(*[part for part in line if part.aval.size], axis=0)
    shape = tuple([m if k == axis else 1 for k in range(x.aval.ndim)])
    return E.mul(x, M.broadcast_to(M.reshape(line, shape=shape), shape=x.aval.shape))


def _rfft_transpose(ct: Term, out: Term, x: Term, *, axis: int) -> tuple[Term]:
    # x̄[j] = Re sum_k c[k] w^jk: the real transform back of conj(c), halved where irfft counts twice
    n = x.aval.shape[axis]
    return (irfft(_weighted(E.conj(ct), axis, n, 0.5), axis=axis, size=n),)


def _irfft_transpose(ct: Term, out: Term, x: Term, *, axis: int, size: int) -> tuple[Term]:
    # the reverse of the above; the imaginary part of what is its own conjugate is not read
    return (_weighted(E.conj(rfft(ct, axis=axis)), axis, size, 2),)


def _rfft_numpy(x: np.ndarray, *, axis: int) -> np.ndarray:
    out = _rfft_aval(aval(x.shape, x.dtype), axis=axis)
    return _run("rfft", x, axis=axis) if x.size else np.zeros(out.shape, out.dtype)


def _irfft_numpy(x: np.ndarray, *, axis: int, size: int) -> np.ndarray:
    out = _irfft_aval(aval(x.shape, x.dtype), axis=axis, size=size)
    return _run("irfft", x, n=size, axis=axis, norm="forward") if x.size else np.zeros(out.shape, out.dtype)


rfft = Prim("rfft", _rfft_numpy, _rfft_aval, Host(), Linear((0,), _rfft_transpose), ("axis",))
irfft = Prim("irfft", _irfft_numpy, _irfft_aval, Host(), Linear((0,), _irfft_transpose), ("axis", "size"))
