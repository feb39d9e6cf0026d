"""Where a NaN or an infinity came from: `z.explain_nan()` tells.

In: a tensor. Out: the first operation that made one from finite operands, the user's line, and the operands' ranges.
"""

from __future__ import annotations

import numpy as np

from .context import source_line
from .history import history
from .ir.aval import Pack
from .ir.term import Term, rewrite, toposort
from .prims.call import inlined
from .prims.control import pick
from .prims.leaf import source
from .runtime.arrays import host
from .runtime.slots import BUFFERS
from .tensor import Tensor


def finite(array: np.ndarray) -> bool:
    """Whether all elements are (integers and bools always are)."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def described(array: np.ndarray) -> str:
    """dtype, shape and range of an array, and how many elements are not finite."""
    text = f"{array.dtype}{list(array.shape)}"
    if not array.size:
        return f"{text}, empty"
    if array.dtype.kind == "c":
        array = np.abs(array)
    good = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    bad = [f"{n} {name}" for name, n in (("nan", int(np.isnan(array).sum())), ("inf", int(np.isinf(array).sum()))) if n] \
        if array.dtype.kind == "f" else []
    span = [f"in [{good.min():.6g}, {good.max():.6g}]"] if good.size else []
    return f"{text} " + ", ".join(span + bad)


def culprit(root: Term) -> tuple[Term, list[np.ndarray], np.ndarray] | None:
    """The first Term below `root` that is not finite though its arguments are, with their values and its own.

    Of a loop or a branch, the first result that is not finite.
    """
    from .reference import program
    order = toposort([root])
    sources = [t for t in order if t.op is source]
    values: dict[Term, np.ndarray] = {t: host(BUFFERS[t.params[0]]) for t in sources}
    several: dict[Term, tuple[np.ndarray, ...]] = {}
    last = {a: i for i, t in enumerate(order) for a in t.args}
    for i, t in enumerate(order):
        args = list(dict.fromkeys(t.args))
        if t.aval.__class__ is Pack:
            with np.errstate(all="ignore"):
                several[t] = t.op.numpy(*[values[a] for a in t.args], **t.keywords)
            bad = [v for v in several[t] if not finite(v)]
            if bad:
                return t, [values[a] for a in t.args], bad[0]
            continue
        if t.op is pick:
            values[t] = several[t.args[0]][t.params[0]]
            continue
        if t not in values:
            stand_ins = [a if a.op is source else _leaf_like(a, k) for k, a in enumerate(args)]
            (values[t],) = program([_over(t, dict(zip(args, stand_ins, strict=True)))], stand_ins)([values[a] for a in args])
        if not finite(values[t]):
            return t, [values[a] for a in t.args], values[t]
        for a in args:
            if last[a] == i and a.op is not source and a in values:
                values[a] = values[a][..., :0] if values[a].ndim else values[a]      # no longer needed
    return None


def _leaf_like(t: Term, k: int) -> Term:
    from .prims.leaf import leaf
    return leaf(-1 - k, t.graph or 0, t.aval, False)


def _over(t: Term, env: dict[Term, Term]) -> Term:
    from .ir.term import term
    return term(t.op, tuple([env[a] for a in t.args]), t.params, t.aval)


def owner(root: Tensor, t: Term) -> Tensor | None:
    """The tensor of `root`'s history in whose operation the Term `t` was made."""
    seen: set[Term] = set()
    for h in history(root):
        stack = [h.term]
        while stack:
            u = stack.pop()
            if u is t:
                return h
            if u not in seen:
                seen.add(u)
                stack.extend(u.args)
    return None


def explain_nan(z: Tensor) -> str:
    """Names the first operation below `z` that made a NaN or an infinity; computes what it needs, slowly.

    >>> import lazygrad as lg
    >>> x = lg.tensor([0.0, 1.0])
    >>> print((x / x * 2).explain_nan().split(" at ")[0])
    div made float32[2] in [1, 1], 1 nan from float32[2] in [0, 1] and float32[2] in [0, 1]
    """
    calls: dict[Term, list[Term]] = {}
    (root,) = rewrite([z.term], lambda t: inlined(t, calls))           # what functions with rules of their own are made of
    found = culprit(root)
    if found is None:
        return "no NaN and no infinity"
    t, args, out = found
    h = owner(z, t)
    if h is None:
        h = next((owner(z, c) for c, results in calls.items() if t in toposort(results)), None)
    where = "" if h is None else f" at {source_line(h.code, h.lasti)}"
    if t.op is source:
        name = h.name if h is not None and h.name else "a leaf"
        return f"{name} holds {described(out)}{where}"
    operands = " and ".join(map(described, args)) or "nothing"
    return f"{t.op.name} made {described(out)} from {operands}{where}"
