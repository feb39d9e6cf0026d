"""The registry of primitives: importing this package fills `REGISTRY`, the one table that passes and tests walk."""

from . import contraction, control, convolution, counter, elementwise, indexing, leaf, linalg, movement, reduction
from .base import REGISTRY

__all__ = ["REGISTRY", "contraction", "control", "convolution", "counter", "elementwise", "indexing", "leaf", "linalg", "movement", "reduction"]
