"""Sample arguments of the structural primitives: gather, scatters, sorting, matmul and linear algebra.

Rows of the form of samples.py, whose table takes them up (import that module first).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from samples import Arg, Row, Shape

from lazygrad import dtypes

I32, I64 = dtypes.int32, dtypes.int64

# ---- indexing -------------------------------------------------------------------------------------------------------

# shape of x, its indexed axes, shape of the index arrays, position, dtype of the indices, n: indices from -n to n - 1
INDEXED: tuple[tuple[Shape, Shape, Shape, int, np.dtype, int], ...] = (
    ((5,), (0,), (), 0, I64, 5),
    ((5,), (0,), (4,), 0, I64, 5),
    ((5,), (0,), (3, 2), 0, I32, 5),
    ((3, 4), (0,), (6,), 0, I64, 3),
    ((3, 4), (1,), (2, 2), 1, I64, 4),
    ((3, 4, 2), (0, 2), (5,), 0, I32, 2),
    ((3, 4, 2), (0, 2), (5,), 1, I64, 2),
    ((3, 4, 2), (0, 1, 2), (2, 3), 0, I64, 2),
    ((2, 3, 4), (1,), (), 1, I64, 3),
    ((1, 3), (0,), (2,), 0, I64, 1),
    ((3, 0), (0,), (2,), 0, I64, 3),
    ((3, 4), (0,), (0,), 0, I64, 3),
    ((0, 4), (0,), (0, 2), 0, I64, 1),
)


def gathered(x: Shape, axes: Shape, b: Shape, position: int) -> Shape:
    rest = [n for a, n in enumerate(x) if a not in axes]
    return (*rest[:position], *b, *rest[position:])


def _indexed(domain: str | None, which: slice = slice(None)) -> list[Row]:
    rows = []
    for x, axes, b, position, dtype, below in INDEXED[which]:
        updates = () if domain is None else (Arg(gathered(x, axes, b, position), domain),)
        indices = tuple(Arg(b, dtype=dtype, below=below) for _ in axes)
        rows.append(Row((Arg(x, domain or "real"), *indices, *updates), {"axes": axes, "position": position}))
    return rows


def _extremes(rows: list[Row]) -> list[Row]:
    """x and updates from one draw of distinct numbers, so that nothing ties."""

    def row(r: Row) -> Row:
        x, *indices, updates = r.args

        def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[np.ndarray, ...]:
            n, m = int(np.prod(x.shape)), int(np.prod(updates.shape))
            values = (
                (rng.permutation(n + m) * 0.2 - 1).astype(dtype)
                if dtype.kind == "f"
                else rng.permutation(n + m).astype(dtype)
            )
            drawn = [rng.integers(0, i.below, i.shape).astype(i.dtype) for i in indices]
            return (values[:n].reshape(x.shape), *drawn, values[n:].reshape(updates.shape))

        return Row(r.args, r.params, r.smooth, make)

    return [row(r) for r in rows]


SORTED: tuple[tuple[Shape, int], ...] = (
    ((6,), 0),
    ((3, 4), 0),
    ((3, 4), 1),
    ((2, 3, 2), 1),
    ((1,), 0),
    ((0,), 0),
    ((3, 0), 0),
)

# ---- matrices -------------------------------------------------------------------------------------------------------

PRODUCTS: tuple[tuple[Shape, Shape], ...] = (
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (5, 3, 1)),
    ((2, 1, 2, 3), (2, 1, 3, 2)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
    ((0, 2, 3), (0, 3, 2)),
    ((1, 7), (7, 1)),
    ((20, 17), (17, 19)),
)
SQUARES: tuple[Shape, ...] = ((3, 3), (1, 1), (0, 0), (2, 3, 3), (2, 1, 2, 2), (0, 3, 3))


def _regular(shapes: tuple[Shape, ...]) -> Callable[..., tuple[np.ndarray, ...]]:
    """A matrix far from singular, and what else the row takes."""

    def make(rng: np.random.Generator, dtype: np.dtype) -> tuple[np.ndarray, ...]:
        out = []
        for k, shape in enumerate(shapes):
            x = rng.uniform(-1, 1, shape) + (1j * rng.uniform(-1, 1, shape) if dtype.kind == "c" else 0)
            out.append((x + (3 * np.eye(shape[-1]) if k == 0 else 0)).astype(dtype))
        return tuple(out)

    return make


def _matrices(params: dict[str, Any] | None = None, columns: int | None = None) -> list[Row]:
    rows = []
    for shape in SQUARES:
        shapes = (shape,) if columns is None else (shape, (*shape[:-1], columns))
        rows.append(Row(tuple(Arg(s) for s in shapes), params or {}, make=_regular(shapes)))
    return rows


SAMPLES: dict[str, list[Row]] = {
    "concatenate_many": [
        Row(tuple(Arg((2, n % 3)) for n in range(20)), {"axis": 1}),
        Row((Arg((3,)), Arg((1,))), {"axis": 0}),
    ],
    "gather": _indexed(None),
    "scatter_set": _indexed("real"),
    "scatter_add": _indexed("real"),
    "scatter_mul": _indexed("real") + _indexed("zeros", slice(1, 5)),
    "scatter_max": _extremes(_indexed("real")),
    "scatter_min": _extremes(_indexed("real")),
    "sort": [Row((Arg(s, "distinct"),), {"axis": a, "descending": d}) for s, a in SORTED for d in (False, True)],
    "argsort": [
        Row((Arg(s, "distinct"),), {"axis": a, "descending": d, "stable": True})
        for s, a in SORTED
        for d in (False, True)
    ],
    "searchsorted": [
        Row(
            (Arg((n,)), Arg(s)),
            {"side": side},
            make=lambda rng, dtype, n=n, s=s: (
                np.sort(rng.integers(0, 9, n)).astype(dtype),
                rng.integers(0, 9, s).astype(dtype),
            ),
        )
        for n, s in ((5, (3,)), (5, ()), (0, (2,)), (4, (0, 2)))
        for side in ("left", "right")
    ],
    "matmul": [Row((Arg(a), Arg(b))) for a, b in PRODUCTS],
    "expm": [Row((Arg(s, "unit"),)) for s in SQUARES],
    "solve": _matrices(columns=2) + _matrices(columns=0)[:2],
    "inv": _matrices(),
    "det": _matrices(),
    "cofactor": _matrices(),
    "logabsdet": _matrices(),
    "signdet": _matrices(),
}
