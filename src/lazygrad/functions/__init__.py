"""The functions that users call, as rules on Terms lifted to tensors. `FUNCTIONS` holds them by their public names."""

from . import composite, creation, einsum, elementwise, indexing, linalg, movement, reductions, selection
from .table import FUNCTIONS

__all__ = ["FUNCTIONS", "composite", "creation", "einsum", "elementwise", "indexing", "linalg", "movement", "reductions", "selection"]
