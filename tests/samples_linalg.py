"""Sample arguments of the primitives of linear algebra beyond those of samples_structure.py.

Rows of the form of samples.py, whose table takes them up (import that module first).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from samples import Arg, Row, Shape
from samples_structure import SQUARES

from lazygrad.prims import linalg_factorizations, linalg_functions, linalg_spectral, linalg_systems  # noqa: F401  (they register)

Rng = np.random.Generator


def draw(rng: Rng, shape: Shape, dtype: np.dtype) -> np.ndarray:
    x = rng.uniform(-1, 1, shape)
    return (x + 1j * rng.uniform(-1, 1, shape) if dtype.kind == "c" else x).astype(dtype)


def drawn(*shapes: Shape, shift: tuple[float, ...] = ()) -> Callable[[Rng, np.dtype], tuple[np.ndarray, ...]]:
    """Matrices with a multiple of the identity added to each."""
    shift = shift or (0,) * len(shapes)
    return lambda rng, dtype: tuple([(draw(rng, s, dtype) + k * np.eye(*s[-2:])).astype(dtype) for s, k in zip(shapes, shift, strict=True)])


def definite(shape: Shape) -> Callable[[Rng, np.dtype], tuple[np.ndarray]]:
    """A Hermitian positive definite matrix with a part that is not Hermitian added: nothing may depend on that."""
    def make(rng: Rng, dtype: np.dtype) -> tuple[np.ndarray]:
        x, y = draw(rng, shape, dtype), draw(rng, shape, dtype)
        adjoint = lambda m: m.conj().swapaxes(-1, -2)
        return ((x @ adjoint(x) + 2 * np.eye(shape[-1]) + y - adjoint(y)).astype(dtype),)
    return make


def rows(*shapes: Shape, shift: tuple[float, ...] = (), **params: object) -> Row:
    return Row(tuple([Arg(s) for s in shapes]), params, make=drawn(*shapes, shift=shift))


def real_only(shape: Shape, shift: float = 0, **params: object) -> Row:
    """Real matrices whatever the dtype: LAPACK's vectors move smoothly where only a sign is free."""
    return Row((Arg(shape, dtype=np.dtype("float64")),), params, make=lambda rng, dtype: drawn(shape, shift=(shift,))(rng, np.dtype("float64")))


def separated(shape: Shape) -> Row:
    """Matrices with eigenvalues that are well apart."""
    def make(rng: Rng, dtype: np.dtype) -> tuple[np.ndarray]:
        return ((0.3 * draw(rng, shape, dtype) + np.diag(np.arange(1.0, shape[-1] + 1))).astype(dtype),)
    return Row((Arg(shape),), make=make)


def unsmooth(row: Row) -> Row:
    """The row without difference quotients: a phase, or a rotation, is free. test_linalg_derivatives.py differentiates what does not depend on it."""
    return Row(row.args, row.params, False, row.make)


def orders(shape: Shape) -> Callable[[Rng, np.dtype], tuple[np.ndarray]]:
    """Orders of rows."""
    return lambda rng, dtype: (rng.permuted(np.tile(np.arange(shape[-1], dtype=np.int32), (*shape[:-1], 1)), axis=-1).astype(np.int32),)


def exchanges(shape: Shape, size: int) -> Callable[[Rng, np.dtype], tuple[np.ndarray]]:
    """Exchanges of row i with one from i on, as LAPACK has them."""
    return lambda rng, dtype: (rng.integers(np.arange(shape[-1]), size, shape).astype(np.int32),)


def tolerant(shape: Shape) -> Row:
    """Matrices with a real tolerance each."""
    def make(rng: Rng, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        return draw(rng, shape, dtype), np.full(shape[:-2], 1e-6, np.empty(0, dtype).real.dtype)
    return Row((Arg(shape), Arg(shape[:-2])), make=make)


TALL: tuple[Shape, ...] = ((4, 2), (2, 3), (3, 3), (2, 3, 2), (1, 1), (0, 3, 2))

SAMPLES: dict[str, list[Row]] = {
    "triangular_solve": [rows(s, (*s[:-1], 2), shift=(3, 0), lower=low, unit=unit) for s in (*SQUARES, (5, 2, 2)) for low in (True, False)
                         for unit in (False, True)],
    "sylvester": [rows(s, (*s[:-2], 2, 2), (*s[:-1], 2), shift=(3, 2, 0)) for s in SQUARES],
    "pinv": [tolerant(s) for s in TALL],
    "lstsq": [rows(s, (*s[:-1], 2), rtol=1e-6) for s in TALL],
    "cholesky": [Row((Arg(s),), make=definite(s)) for s in SQUARES],
    "eigvalsh": [rows(s) for s in SQUARES],
    "eigvals": [separated(s) for s in SQUARES],
    "svdvals": [rows(s) for s in TALL],
    "swaps": [Row((Arg(s),), {"count": c}, make=orders(s)) for s, c in (((4,), 4), ((2, 5), 3), ((0, 3), 2), ((1,), 1))],
    "unswaps": [Row((Arg(s),), {"size": n}, make=exchanges(s, n)) for s, n in (((4,), 4), ((2, 3), 5), ((0, 2), 3), ((1,), 1))],
    "sqrtm": [rows(s, shift=(3,)) for s in SQUARES],
    "logm": [rows(s, shift=(3,)) for s in SQUARES],
}

# of several results each: tested in test_linalg_derivatives.py
SEVERAL: dict[str, list[Row]] = {
    "eigh": [real_only(s) for s in SQUARES] + [unsmooth(rows(s)) for s in SQUARES],
    "eig": [unsmooth(separated(s)) for s in SQUARES],
    "svd": [real_only(s, full=full) for full in (False, True) for s in ((3, 3), (3, 2), (2, 3), (2, 4, 3), (1, 1), (0, 3, 2))]
           + [unsmooth(rows(s, full=full)) for full in (False, True) for s in TALL],
    "qr": [rows(s, full=False) for s in ((4, 2), (3, 3), (2, 3, 2), (1, 1), (0, 3, 2), (3, 0))]
          + [rows(s, full=True) for s in ((3, 3), (1, 1), (0, 3, 2))] + [real_only(s, full=True) for s in ((3, 2), (2, 4, 3))]
          + [unsmooth(rows(s, full=True)) for s in ((5, 2), (2, 4, 3))],
    "lu": [rows(s, shift=(2,)) for s in TALL] + [rows((4, 4)), rows((2, 4, 3)), rows((3, 5))],
}
