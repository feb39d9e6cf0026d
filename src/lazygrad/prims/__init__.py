"""The registry of primitives: importing this package fills `base.REGISTRY`, the one table that passes and tests walk."""

from . import elementwise, leaf, movement, reduction
from .base import REGISTRY

__all__ = ["REGISTRY", "elementwise", "leaf", "movement", "reduction"]
