"""Containers: lists, tuples, dicts, named tuples, data classes of arrays, flattened by optree to a list of leaves and a form.

In: nested containers. Out: leaves in a fixed order (dicts by key) and a structure that puts other leaves in their place. `None`
is an empty container. What is no container is a leaf.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optree

from ..errors import StructureError

SPACE = "lazygrad"                     # the registry of data classes met so far
_known: set[type] = set()
_plain: set[type] = set()              # types that are leaves


def _register(kind: type) -> None:
    """Data classes as containers of their fields."""
    names = tuple([f.name for f in dataclasses.fields(kind)])

    def flatten(x: Any) -> tuple:
        return [getattr(x, n) for n in names], None, names

    def unflatten(_: Any, children: Any) -> Any:
        made = object.__new__(kind)
        for n, c in zip(names, children, strict=True):
            object.__setattr__(made, n, c)
        return made
    optree.register_pytree_node(kind, flatten, unflatten, namespace=SPACE)
    _known.add(kind)


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """(leaves, structure).

    >>> leaves, form = flatten({"b": 1, "a": (2, None)})
    >>> leaves, unflatten(form, [20, 10])
    ([2, 1], {'b': 10, 'a': (20, None)})
    """
    leaves, form = optree.tree_flatten(tree, namespace=SPACE)
    kinds = {type(v) for v in leaves} - _plain
    if kinds:
        fresh = {kind for kind in kinds if dataclasses.is_dataclass(kind)} - _known
        _plain.update(kinds - fresh)
        if not fresh:
            return leaves, form
        for kind in fresh:
            _register(kind)
        return flatten(tree)
    return leaves, form


def unflatten(form: Any, leaves: Any) -> Any:
    """The containers of a structure around other leaves."""
    return optree.tree_unflatten(form, leaves)


def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, in order."""
    return flatten(tree)[0]


def structure(tree: Any) -> Any:
    """The form of a tree: equal for trees that differ in their leaves only."""
    return flatten(tree)[1]


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` on every leaf of a tree (and on the leaves at the same places of others). StructureError where they differ in form.

    >>> map(lambda x, y: x + y, [1, {"a": 2}], [10, {"a": 20}])
    [11, {'a': 22}]
    """
    first, form = flatten(tree)
    columns = [first]
    for other in others:
        found, shape = flatten(other)
        if shape != form:
            raise StructureError("tree.map", f"{text(form)} and {text(shape)}", "the trees have two forms")
        columns.append(found)
    return unflatten(form, [function(*row) for row in zip(*columns, strict=True)])


def paths(tree: Any) -> list[str]:
    """How every leaf is reached: "['a'][0]"."""
    flatten(tree)                                    # registers data classes
    found, _, _ = optree.tree_flatten_with_path(tree, namespace=SPACE)
    return ["".join([f"[{k!r}]" if not isinstance(k, str) or not k.isidentifier() else f"['{k}']" for k in path]) for path in found]


def text(form: Any) -> str:
    """A structure in a word: "(*, {'a': *})"."""
    return str(form).removeprefix("PyTreeSpec(").partition(f", namespace='{SPACE}'")[0].removesuffix(")").replace(", NoneIsLeaf", "")


def prefix(tree: Any, whole: Any, op: str, what: str) -> list[Any]:
    """The leaves of a tree that is a prefix of `whole`, one for every leaf of that: an entry stands for all below it."""
    try:
        return optree.broadcast_prefix(tree, whole, namespace=SPACE, none_is_leaf=False)
    except ValueError as error:
        raise StructureError(op, f"{what} {tree!r} for {text(structure(whole))}", "it is not of that form, nor the beginning of it") from error
