"""lazygrad.scipy.linalg: the functions of `lazygrad.linalg` with SciPy's arguments and defaults, and further ones made of them.

>>> from lazygrad.scipy import linalg
>>> linalg.cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
[[2.0, 1.0], [0.0, 2.0]]
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import scipy.linalg as _theirs

from ... import interop
from ... import linalg as _ours
from ...doubles import call
from ...errors import LinAlgError  # noqa: F401  (SciPy has it here)

# the functions with a form of their own, by module
OWN = {name: module for module, names in {
    "factorizations": "cholesky qr rq lu polar orth null_space",
    "eigen": "eigh eigvalsh eig eigvals eigh_tridiagonal eigvalsh_tridiagonal",
    "systems": "solve inv pinv pinvh lstsq solve_banded solveh_banded solve_circulant solve_toeplitz matmul_toeplitz",
    "patterns": "companion leslie fiedler convolution_matrix khatri_rao diagsvd dft hadamard helmert hilbert invhilbert pascal invpascal",
    "functions": "expm_frechet fractional_matrix_power signm orthogonal_procrustes subspace_angles issymmetric ishermitian",
}.items() for name in names.split()}
TRANSLATED = sorted({n for n in _ours.__all__ if hasattr(_theirs, n)} - set(OWN) - {"LinAlgError"})
__all__ = sorted([*OWN, *TRANSLATED, "LinAlgError"])


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use: those here, or those of `lazygrad.linalg` with SciPy's arguments."""
    if name in OWN:
        found = getattr(importlib.import_module(f".{OWN[name]}", __name__), name)
    elif name in TRANSLATED:
        found = translated(name)
    else:
        raise AttributeError(f"module 'lazygrad.scipy.linalg' has no attribute {name!r}")
    globals()[name] = found
    return found


def translated(name: str) -> Callable[..., Any]:
    theirs, ours = getattr(_theirs, name), getattr(_ours, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        return call(lambda *a, **k: interop.translated(theirs, ours, a, k), args, kwargs)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = ours.__doc__
    return function


def __dir__() -> list[str]:
    return __all__
