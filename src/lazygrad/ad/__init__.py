"""Automatic differentiation of Terms: `vjp` (reverse) and `jvp` (forward); `masks` keeps branches that were not taken silent."""

from .jvp import jvp
from .vjp import vjp

__all__ = ["jvp", "vjp"]
