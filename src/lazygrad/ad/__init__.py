"""Automatic differentiation of Terms: `vjp` (reverse) and `jvp` (forward); `masks` keeps branches that were not taken silent."""

from . import call, control, loops  # noqa: F401  (they register the derivatives of calls and control flow)
from .jvp import jvp
from .vjp import vjp

__all__ = ["jvp", "vjp"]
