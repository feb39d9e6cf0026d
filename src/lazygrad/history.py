"""Derivatives through the history of handles: symbolic gradients, and gradients of intermediates.

Interning makes two equal expressions one Term, yet each tensor has a gradient of its own. The handles know the true graph, so
the tensor in question is replaced by a placeholder leaf all along its users, and the derivative taken with respect to that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .context import source_line
from .errors import DataError, GradientError, IndexingError, LinAlgError
from .ir.term import Term, substitute, term, toposort
from .prims import leaf as leaves
from .prims.base import Host
from .runtime import plans, slots
from .runtime.arrays import duplicate
from .runtime.gradients import SHOWN
from .runtime.slots import Leaf
from .tensor import LAST, Tensor, _function, graph_of, repr_short, wrap

DERIVED = "derivative"               # first entry of `b` of handles made by differentiation: they read all of `a`'s history
INDEXED = ("gather", "scatter")      # Prims whose indices are data
BLAMED = 3                           # lines named where an error may come from several
PLACEHOLDER = -(1 << 40)             # slots of placeholder leaves: below all others


def operands(h: Tensor) -> list[Tensor]:
    """The handles `h` was computed from."""
    b = h.b
    found = [h.a, *b] if b.__class__ is tuple else [h.a, b]
    return [o for o in found if isinstance(o, Tensor)]


def history(*roots: Tensor, stop: Callable[[Tensor], bool] = lambda h: False) -> list[Tensor]:
    """All handles below `roots`, operands first; nothing below those where `stop` holds. Iterative."""
    seen: set[int] = set()
    opened: set[int] = set()
    order: list[Tensor] = []
    stack = list(roots[::-1])
    while stack:
        h = stack[-1]
        if id(h) in seen:
            stack.pop()
            continue
        todo = [] if id(h) in opened or stop(h) else [o for o in operands(h) if id(o) not in seen and id(o) not in opened]
        opened.add(id(h))                # a rebound tensor (x[i] = f(x)) may lie in its own history
        if todo:
            stack.extend(reversed(todo))
        else:
            seen.add(id(h))
            order.append(h)
            stack.pop()
    return order


def blamed(t: Term, error: IndexingError | LinAlgError | GradientError) -> bool:
    """Whether an error of a run, or of the making of derivatives, can come from `t` or its derivatives."""
    if isinstance(error, GradientError):
        return t.op.name == error.args[0]
    if isinstance(error, LinAlgError):
        return isinstance(t.op.lowering, Host) and t.op.lowering.fails
    return t.op.name.startswith(INDEXED)


def blame(root: Tensor, error: IndexingError | LinAlgError | GradientError) -> None:
    """Adds the lines in `root`'s history that an error can come from."""
    lines: dict[str, None] = {}
    for h in history(root):
        below = {o.term for o in operands(h)}
        stack = [h.term]
        while stack:                     # the Terms that this one call made
            t = stack.pop()
            if t in below:
                continue
            below.add(t)
            if blamed(t, error):
                lines[f"  at {source_line(h.code, h.lasti)}"] = None
                break
            stack.extend(t.args)
    for line in list(lines)[:BLAMED]:
        error.add_note(line)


def computed_above(root: Tensor, stamp: int) -> Any:
    """The value of a deep tensor, computed from values that are known below it; None where none are.

    So `x = step(x); x.forward()` costs a step and not the whole history, and finds the same plan each time: the known values
    become leaves, whose slots come back.
    """
    def known(h: Tensor) -> bool:
        return h is not root and h.a.__class__ is not Leaf and getattr(h, "stamp", -1) == stamp

    order = history(root, stop=known)
    starts = [h for h in order if known(h)]
    if not starts or any(h.b.__class__ is tuple and h.b[:1] == (DERIVED,) for h in order):
        return None
    frame = sys._getframe(1)
    stand_ins = [graph_of(h).holding(h._held(), frame) for h in starts]
    new = rebuilt(order, {id(h): leaf.term for h, leaf in zip(starts, stand_ins, strict=True)})[id(root)]
    # a copy: the next step finds the same Term, and its plan writes the same result
    return duplicate(wrap(new, None, tuple(stand_ins))._held())


def placeholder(x: Tensor, level: int = 0) -> Term:
    """A leaf that stands for the tensor `x`."""
    return term(leaves.source, (), (PLACEHOLDER - level, x.term.graph, True), x.term.aval, x.term.graph)


def rebuilt(order: Sequence[Tensor], replaced: dict[int, Term], level: int = 0) -> dict[int, Term]:
    """The new Terms of all tensors of `order` that depend on a replaced one; tensors are named by `id`."""
    changed = dict(replaced)
    for k in order:
        if id(k) in replaced:
            continue
        below = operands(k)
        if not any(id(o) in changed for o in below):
            continue
        if k.b.__class__ is tuple and k.b[0] is DERIVED:
            changed[id(k)] = _derived_again(k, replaced, changed, level)
            continue
        pairs = [(o.term, changed.get(id(o), o.term)) for o in below]
        env = dict(pairs)
        args = k.term.args
        if any(env[old] is not new for old, new in pairs) and len(args) == len(pairs):
            # one Term, several tensors: a + b with equal a and b. The position says which is which.
            changed[id(k)] = term(k.term.op, tuple([substitute([arg], {old: new})[0] for arg, (old, new) in zip(args, pairs, strict=True)]),
                                  k.term.params, k.term.aval)
        else:
            changed[id(k)] = substitute([k.term], env)[0]
    return changed


def _derived_again(k: Tensor, replaced: dict[int, Term], changed: dict[int, Term], level: int) -> Term:
    """The derivative `k` = ∂a/∂x · ct of what `a` has become."""
    root, (_, ct, x) = k.a, k.b
    cotangent = None if ct is None else changed.get(id(ct), ct.term)
    if x.is_leaf or x is root:
        new = changed.get(id(root), root.term)
        wrt = new if x is root else changed.get(id(x), x.term)
    else:
        wrt = placeholder(x, level + 1)
        new = rebuilt(history(root), {**replaced, id(x): wrt}, level + 1).get(id(root), root.term)
    (g,) = plans.derivative(new, cotangent, [wrt])
    if g is None:
        return leaves.like(x.term, 0)
    return g if x is root else substitute([g], {wrt: changed.get(id(x), x.term)})[0]


def symbolic(root: Tensor, xs: Sequence[Tensor], ct: Tensor | None) -> tuple[Tensor, ...]:
    """∂root/∂x · ct for every x, as expressions; zeros where root does not depend on x."""
    for x in xs:
        if not isinstance(x, Tensor):
            raise DataError("gradient", type(x).__name__, "a tensor is expected")
        if x.dtype.kind not in "fc":
            raise GradientError("gradient", repr_short(x), f"there is no derivative with respect to {x.dtype} values",
                                "differentiate with respect to a floating tensor")
    inner = [x for x in xs if not x.is_leaf and x is not root]
    found: dict[int, Term | None] = {}
    roots = [x for x in xs if x.is_leaf or x is root]
    if roots:
        terms = plans.derivative(root.term, None if ct is None else ct.term, [x.term for x in roots])
        found.update((id(x), t) for x, t in zip(roots, terms, strict=True))
    if inner:
        order = history(root)
        known = {id(h) for h in order}
        for x in inner:
            found[id(x)] = through(root, x, ct, order) if id(x) in known else None
    out = []
    for x in xs:
        t = found[id(x)]
        h = wrap(leaves.like(x.term, 0) if t is None else t, root, (DERIVED, ct, x))
        out.append(h)
    return tuple(out)


def through(root: Tensor, x: Tensor, ct: Tensor | None, order: Sequence[Tensor]) -> Term | None:
    """∂root/∂x · ct for an intermediate of root's history."""
    if not x.term.needs_grad:
        return None
    tag = placeholder(x)
    new = rebuilt(order, {id(x): tag})[id(root)]
    (g,) = plans.derivative(new, None if ct is None else ct.term, [tag])
    return None if g is None else substitute([g], {tag: x.term})[0]


def of_intermediate(h: Tensor) -> Tensor | None:
    """`.grad` of a tensor that is no leaf: of its graph's last backward."""
    last = LAST.get(h.term.graph)
    if last is None:
        return None
    root, ct = last if last.__class__ is tuple else (last, None)
    frame = sys._getframe(2)
    if h is root:
        return graph_of(h).holding(np.ones(h.shape, h.dtype), frame) if ct is None else graph_of(h).holding(ct._held(), frame)
    order = history(root)
    if all(k is not h for k in order):
        return None
    g = through(root, h, ct, order)
    if g is None:
        return None
    return graph_of(h).holding(wrap(g, root, (DERIVED, ct, h))._held(), frame)


def accumulate_symbolic(root: Tensor, ct: Tensor | None) -> None:
    """`backward(create_graph=True)`: the gradients of leaves become expressions, added to what is there."""
    sources = [t for t in toposort([root.term]) if t.op is leaves.source and t.needs_grad]
    gradients = plans.derivative(root.term, None if ct is None else ct.term, sources)
    graph = graph_of(root)
    owners: dict[int, Any] = {k.a.slot: k for k in history(root) if k.a.__class__ is Leaf}
    for source, g in zip(sources, gradients, strict=True):
        if g is None:
            continue
        slot = source.params[0]
        new = wrap(g, root, (DERIVED, ct, owners.get(slot)))
        if slots.states[slot]:
            old = slots.VIEWS[slot] or graph.over(slots.GRADIENTS[slot], slots.grads[slot], source.aval, sys._getframe(2))
            new = _function("add")(old, new)
        slots.VIEWS[slot], slots.GRADIENTS[slot] = new, None
        slots.grads[slot] = 0
        slots.states[slot] = SHOWN
    root.forward()


__all__ = ["accumulate_symbolic", "history", "of_intermediate", "operands", "rebuilt", "symbolic"]
