"""Automatic differentiation of Terms: `vjp` (reverse) and `jvp` (forward); `masks` keeps branches that were not taken silent."""

from . import control  # noqa: F401  (registers the derivatives of loops)
from .jvp import jvp
from .vjp import vjp

__all__ = ["jvp", "vjp"]
