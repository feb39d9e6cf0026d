"""lazygrad.linalg: linear algebra under the names of the Array API, NumPy and SciPy; batched, real and complex, with derivatives.

>>> import lazygrad as lg
>>> x = lg.tensor([[3.0, 0.0], [0.0, 4.0]])
>>> lg.linalg.matrix_norm(x).backward()
>>> x.grad.value
array([[0.6, 0. ],
       [0. , 0.8]], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import LinAlgError  # noqa: F401  (NumPy has it here)
from .functions import (  # noqa: F401  (they fill the table)
    linalg_factorizations,
    linalg_functions,
    linalg_norms,
    linalg_patterns,
    linalg_products,
    linalg_spectral,
    linalg_systems,
)
from .functions.table import FUNCTIONS, SPACES

SHARED = ("expm", "matrix_exp", "inv", "det", "slogdet", "solve", "matrix_power", "matmul", "tensordot", "vecdot", "outer", "kron", "vector_norm",
          "matrix_transpose")

__all__ = sorted([*SPACES["linalg"], *SHARED, "LinAlgError"])


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use."""
    table = FUNCTIONS if name in SHARED else SPACES["linalg"]
    if name not in table:
        raise AttributeError(f"module 'lazygrad.linalg' has no attribute {name!r}")
    found = globals()[name] = table[name]
    return found


def __dir__() -> list[str]:
    return __all__
