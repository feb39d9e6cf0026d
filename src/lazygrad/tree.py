"""Nested containers of arrays (`lazygrad.tree`): `map`, `flatten`, `unflatten`, `leaves`, `structure`."""

from .transforms.tree import flatten, leaves, map, structure, unflatten

__all__ = ["flatten", "leaves", "map", "structure", "unflatten"]
