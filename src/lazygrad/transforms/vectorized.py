"""vmap: a function of one example becomes a function of many. It is traced once, on one example; its Terms are batched."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import optree

from ..ad.batch import batched, copies, moved
from ..context import user_frame
from ..errors import AxisError, ShapeError, StructureError
from ..ir.aval import aval
from ..ir.term import MEMOS, Term
from ..tensor import Tensor
from . import trace as T
from . import tree
from .derivatives import guarded, transform

MAPPED: dict[tuple, tuple[Term, ...]] = {}
MEMOS.append(MAPPED)


class _Whole:
    """An argument without an axis of examples."""

    def __repr__(self) -> str:
        return "None"


WHOLE = _Whole()


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """The function over a stack of examples: every example is an entry along an axis of the arguments, and of the results.

    `in_axes`: that axis, for all arguments, or a tuple with an entry for each, or containers of them down to the leaves; None: the
    argument is the same for all examples. Keyword arguments are mapped along axis 0. `out_axes`: where the axis stands in the
    results. Never a loop: the operations themselves take all examples at once. ShapeError where arguments hold different
    numbers of examples.

    >>> import lazygrad as lg
    >>> lg.vmap(lambda x, w: (x * w).sum(), (0, None))(lg.asarray([[1.0, 2.0], [3.0, 4.0]]), lg.asarray([1.0, 10.0])).tolist()
    [21.0, 43.0]
    """
    transform("vmap", function)

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        return _mapped(code, at, function, in_axes, out_axes, args, kwargs)
    return mapped


def _axes(axes: Any, args: Any, what: str) -> list[Any]:
    """One axis, or WHOLE, for every leaf of `args`."""
    marked = optree.tree_map(lambda a: WHOLE if a is None else a, axes, none_is_leaf=True, namespace=tree.SPACE)
    if isinstance(marked, list) and isinstance(args, tuple):
        marked = tuple(marked)
    found = tree.prefix(marked, args, "vmap", what)
    for a in found:
        if a is not WHOLE:
            try:
                operator.index(a)
            except TypeError:
                raise StructureError("vmap", f"{what} {axes!r}", "an axis is an integer or None") from None
    return found


@guarded
def _mapped(code: Any, at: int, function: Callable[..., Any], in_axes: Any, out_axes: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
        raise StructureError("vmap", f"in_axes {in_axes!r}", f"the call has {len(args)} positional arguments", "give an entry for each")
    leaves, form = tree.flatten((args, kwargs))
    axes = _axes(in_axes, args, "in_axes") + [0] * len(tree.leaves(kwargs))
    graph = T.of_same_graph(*leaves)
    handles: list[Any] = []
    n: int | None = None
    first = ""
    for k, (v, a) in enumerate(zip(leaves, axes, strict=True)):
        if a is WHOLE:
            handles.append(None)
            continue
        if not T.is_data(v):
            raise StructureError("vmap", type(v).__name__, "only arrays are mapped", "give None for it in in_axes")
        h = T.tensor_of(v, "vmap", graph)
        a = operator.index(a)
        if not -h.ndim <= a < h.ndim:
            raise AxisError("vmap", f"axis {a} of {h.shape}", f"the argument has {h.ndim} axes", "name one of them in in_axes, or None")
        size = h.shape[a]
        if n is None:
            n, first = size, f"{size} along axis {a} of {h.shape}"
        elif size != n:
            raise ShapeError("vmap", f"{first} and {size} along axis {a} of {h.shape}", "the arguments hold different numbers of examples",
                             "map axes of one size, give None for what is the same for all")
        handles.append((h, a % h.ndim))
        del h
        leaves[k] = None
    if n is None:
        raise StructureError("vmap", f"in_axes {in_axes!r}", "no argument is mapped", "give at least one an axis")
    del args, kwargs
    with T.Trace("vmap", concrete=False) as trace:
        places: list[Any] = []
        for pair in handles:
            if pair is not None:
                h, a = pair
                one = aval((*h.shape[:a], *h.shape[a + 1:]), h.dtype)
                places.append(trace.placeholder_like(h, one))
        it = iter(places)
        given, named = tree.unflatten(form, [v if pair is None else next(it) for v, pair in zip(leaves, handles, strict=True)])
        del it, places
        out = trace.call(function, given, named)
        del given, named
        found, out_form = tree.flatten(out)
        targets = _axes(out_axes, out, "out_axes")
        strange = [type(v).__name__ for v in found if not T.is_data(v)]
        if strange:
            raise StructureError("vmap", strange[0], "the function must return arrays and numbers")
        results = [T.tensor_of(v, "vmap", graph) for v in found]
        mapped = [pair for pair in handles if pair is not None]
        operands = [h for h, _ in mapped] + [v for v in leaves if isinstance(v, Tensor)]
        kept = [*operands, *T.captured([r.term for r in results], trace.terms, results)]
        terms = _batched(tuple([r.term for r in results]), tuple(trace.terms), tuple([a for _, a in mapped]), n, tuple(targets))
        terms = T.inside(terms, trace.stacks(n), [_front(h.term, a) for h, a in mapped])
        del results, out, found
    return tree.unflatten(out_form, T.wrapped(terms, kept, code, at))


def _front(t: Term, axis: int) -> Term:
    return moved(t, axis, 0)


def _batched(roots: tuple[Term, ...], places: tuple[Term, ...], axes: tuple[int, ...], n: int, targets: tuple[Any, ...]) -> tuple[Term, ...]:
    """The roots over stacks of examples, each with the axis where it is asked for."""
    key = (roots, places, n, targets)
    known = MAPPED.get(key)
    if known is not None:
        return known
    env = dict(zip(places, T.stacked(places, n), strict=True))
    out = []
    for (t, flag), target in zip(batched(roots, env, n), targets, strict=True):
        if target is WHOLE:
            if flag:
                raise StructureError("vmap", "out_axes None", "this result differs from example to example", "give it an axis")
            out.append(t)
            continue
        whole = t if flag else copies(t, n)
        k = operator.index(target)
        if not -whole.aval.ndim <= k < whole.aval.ndim:
            raise AxisError("vmap", f"out_axes {k}", f"the result {whole.aval.shape} has {whole.aval.ndim} axes")
        out.append(moved(whole, 0, k % whole.aval.ndim))
    found = MAPPED[key] = tuple(out)
    return found


__all__ = ["vmap"]
