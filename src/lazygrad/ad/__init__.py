"""Automatic differentiation of Terms: `vjp` (reverse) and `jvp` (forward). No op but `where` and `broadcast_to` is named here."""

from .jvp import jvp
from .vjp import vjp

__all__ = ["jvp", "vjp"]
