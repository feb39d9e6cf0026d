"""The functions that users call, as rules on Terms lifted to tensors. `FUNCTIONS` holds them by their public names."""

from . import (
    composite,
    creation,
    diagonals,
    einsum,
    elementwise,
    indexing,
    inquiry,
    joining,
    linalg,
    movement,
    namespace,
    reductions,
    selection,
    statistics,
)
from .table import FUNCTIONS

__all__ = ["FUNCTIONS", "composite", "creation", "diagonals", "einsum", "elementwise", "indexing", "inquiry", "joining", "linalg", "movement", "namespace", "reductions", "selection", "statistics"]
