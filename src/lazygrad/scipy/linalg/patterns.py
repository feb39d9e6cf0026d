"""Matrices of a pattern under SciPy's names: of vectors, which differentiate, or known ones, which are constants."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg as _theirs

import lazygrad as lg

from ...doubles import arrays, wide
from ...errors import OptionError, ShapeError
from ...tensor import Tensor


def vector(op: str, a: Any) -> Tensor:
    x = lg.asarray(a)
    if x.ndim != 1 or not x.size:
        raise ShapeError(op, str(x.shape), "a vector with elements is expected", "ravel it")
    return x


# ---- of vectors -----------------------------------------------------------------------------------------------------------

@wide
def companion(a: Any) -> Tensor:
    """The companion matrix of a polynomial, whose eigenvalues are its roots: (n,) -> (n - 1, n - 1).

    >>> companion([1.0, -3.0, 2.0]).tolist()
    [[3.0, -2.0], [1.0, 0.0]]
    """
    p = vector("companion", a)
    n = p.size - 1
    if n < 1:
        raise ShapeError("companion", f"{p.size} coefficient", "the polynomial has no roots", "pass two or more")
    top = -p[1:] / p[0]
    return lg.concatenate([lg.reshape(top, (1, n)), lg.eye(n - 1, n, dtype=top.dtype)], 0)


@wide
def leslie(f: Any, s: Any) -> Tensor:
    """The matrix of a population by age: fecundities f (n,) in its first row, survivals s (n - 1,) below the diagonal.

    >>> leslie([0.5, 2.0], [0.25]).tolist()
    [[0.5, 2.0], [0.25, 0.0]]
    """
    f, s = [vector("leslie", v) for v in arrays(f, s)]
    if s.size != f.size - 1:
        raise ShapeError("leslie", f"{f.shape} and {s.shape}", "there must be one survival less", "pass (n,) and (n - 1,)")
    return lg.concatenate([lg.reshape(f, (1, -1)), lg.concatenate([lg.diag(s), lg.zeros((s.size, 1), s.dtype)], 1)], 0)


@wide
def fiedler(a: Any) -> Tensor:
    """The matrix |a[i] - a[j]|.

    >>> fiedler([1.0, 4.0]).tolist()
    [[0.0, 3.0], [3.0, 0.0]]
    """
    x = vector("fiedler", a)
    return lg.abs(x[:, None] - x)


@wide
def convolution_matrix(a: Any, n: int, mode: str = "full") -> Tensor:
    """The matrix that convolves vectors of n elements with a: "full", "same" or "valid", as numpy.convolve.

    >>> convolution_matrix([1.0, 2.0], 2).tolist()
    [[1.0, 0.0], [2.0, 1.0], [0.0, 2.0]]
    """
    x = vector("convolution_matrix", a)
    if mode not in ("full", "same", "valid") or operator.index(n) < 1:
        raise OptionError("convolution_matrix", f"n={n}, mode={mode!r}", "there is no such matrix", 'pass n of 1 or more and "full", "same" or "valid"')
    m = x.size
    whole = lg.linalg.toeplitz(lg.pad(x, (0, n - 1)), lg.pad(x[:1], (0, n - 1)))
    if mode == "full":
        return whole
    cut = min(m, n) - 1
    first, last = (cut // 2, cut - cut // 2) if mode == "same" else (cut, cut)
    return whole[first:m + n - 1 - last]


@wide
def khatri_rao(a: Any, b: Any) -> Tensor:
    """The Kronecker products of the columns of a (m, k) and b (n, k): (m n, k).

    >>> khatri_rao([[1.0], [2.0]], [[3.0], [4.0]]).tolist()
    [[3.0], [4.0], [6.0], [8.0]]
    """
    x, y = arrays(a, b)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ShapeError("khatri_rao", f"{x.shape} and {y.shape}", "matrices with as many columns are expected", "transpose one")
    return lg.reshape(x[:, None, :] * y[None, :, :], (x.shape[0] * y.shape[0], x.shape[1]))


@wide
def diagsvd(s: Any, M: int, N: int) -> Tensor:
    """The (M, N) matrix with singular values on its diagonal.

    >>> diagsvd([2.0], 1, 2).tolist()
    [[2.0, 0.0]]
    """
    x = vector("diagsvd", s)
    if x.size != min(M, N):
        raise ShapeError("diagsvd", f"{x.size} values for ({M}, {N})", f"there must be {min(M, N)}", "pass as many")
    return lg.pad(lg.diag(x), ((0, M - x.size), (0, N - x.size)))


# ---- known ones -----------------------------------------------------------------------------------------------------------

KNOWN = {"dft": "the matrix of the discrete Fourier transform", "hadamard": "Hadamard's matrix of ones and minus ones", "helmert": "Helmert's matrix",
         "hilbert": "Hilbert's matrix 1 / (i + j + 1)", "invhilbert": "the inverse of Hilbert's matrix", "pascal": "Pascal's matrix of binomial coefficients",
         "invpascal": "the inverse of Pascal's matrix"}


def known(name: str, what: str) -> Callable[..., Tensor]:
    def function(*args: Any, **kwargs: Any) -> Tensor:
        found = getattr(_theirs, name)(*args, **kwargs)
        if found.dtype.kind == "O":
            found = found.astype(np.float64)               # integers beyond 64 bits
        return lg.asarray(found)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what[0].upper()}{what[1:]}, as scipy.linalg.{name} has it.\n\n    >>> from lazygrad.scipy import linalg\n    >>> linalg.{name}(2).shape[1]\n    2\n    "
    return function


dft, hadamard, helmert, hilbert, invhilbert, pascal, invpascal = [known(name, what) for name, what in KNOWN.items()]
