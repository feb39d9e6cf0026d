"""Batching: Terms over single examples become Terms over all of them at once, with a leading axis for the examples.

In: roots, and for some Terms below them a Term with one more axis in front. Out: the roots, each with that axis, and whether it
needed it. Every primitive has a rule, in the table here or by its lowering form; nothing ever becomes a loop over examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..dtypes import int32, int64
from ..errors import LazygradError
from ..ir.aval import Pack, aval
from ..ir.function import Body
from ..ir.record import changed
from ..ir.term import MEMOS, Term, substitute, term, toposort
from ..prims import contraction, linalg
from ..prims import control as C
from ..prims import elementwise as E
from ..prims import indexing as I
from ..prims import movement as M
from ..prims import reduction as R
from ..prims.base import Elementwise, Partials, Prim
from ..prims.call import Again, Pull, Push, Same, call
from ..prims.leaf import closed, filled, full, iota, leaf, like, opened
from .masks import POINTWISE

Flags = tuple[bool, ...]
Rule = Callable[..., Term]               # (n, flags, t, args) -> Term: args that are flagged have the new axis
SCRATCH = -(1 << 44)                     # slots of Terms that stand for batched parameters until a Body is closed


def batch(roots: Sequence[Term], env: Mapping[Term, Term], n: int) -> list[Term]:
    """The roots with a leading axis of n, where the Terms of `env` have the values given for them."""
    return [t if flag else copies(t, n) for t, flag in batched(roots, env, n)]


def batched(roots: Sequence[Term], env: Mapping[Term, Term], n: int) -> list[tuple[Term, bool]]:
    """(Term, whether it has the leading axis) for every root: one that depends on nothing of `env` is as it was. Iterative."""
    done: dict[Term, tuple[Term, bool]] = {t: (b, True) for t, b in env.items()}
    several: dict[Term, list[tuple[Term, bool]]] = {}
    for t in toposort(roots):
        if t in done:
            continue
        if t.op is C.pick and t.args[0] in several:
            done[t] = several[t.args[0]][t.params[0]]
            continue
        flags = tuple([done[a][1] for a in t.args])
        args = tuple([done[a][0] for a in t.args])
        if True not in flags:                              # what all examples share may still come out of a loop over them: its count
            done[t] = t if args == t.args else term(t.op, args, t.params, t.aval), False
            continue
        control = CONTROL.get(t.op)
        if control is not None:
            several[t] = control(n, flags, t, args, **t.keywords)
            done[t] = t, False                             # never used itself: its results are
        elif t.aval.__class__ is Pack:
            several[t] = [(p, True) for p in C.picked(rule(t.op)(n, flags, t, args))]
            done[t] = t, False
        else:
            done[t] = rule(t.op)(n, flags, t, args), True
    return [done[r] for r in roots]


def rule(op: Prim) -> Rule:
    """The rule of a primitive; LazygradError where it has none."""
    found = RULES.get(op.name) or op.batching
    if found is not None:
        return found
    if isinstance(op.lowering, Elementwise) or isinstance(op.derivative, Partials):
        return pointwise
    if op.lowering is linalg.FAILS:
        return leading
    raise LazygradError("vmap", str(op), "this primitive has no batching rule", "give it one: Prim(..., batching=rule)")


# ---- operands ----------------------------------------------------------------------------------------------------------

def copies(t: Term, n: int) -> Term:
    """`t` repeated along a new leading axis."""
    if t.op is full:
        return filled(aval((n, *t.aval.shape), t.aval.dtype), t.params[0])
    return M.broadcast_to(t, shape=(n, *t.aval.shape))


def all_of(n: int, flags: Sequence[bool], args: Sequence[Term]) -> list[Term]:
    """All arguments with the axis."""
    return [a if f else copies(a, n) for a, f in zip(args, flags, strict=True)]


def moved(t: Term, source: int, target: int) -> Term:
    """`t` with one axis at another place."""
    if source == target:
        return t
    axes = list(range(t.aval.ndim))
    axes.insert(target, axes.pop(source))
    return M.permute(t, axes=tuple(axes))


# ---- rules ---------------------------------------------------------------------------------------------------------------

def pointwise(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    """The operation as it is, on operands that all have the axis."""
    return t.op(*all_of(n, flags, args), **t.keywords)


leading = pointwise                      # operations on the last axes, over any leading ones


def shifted(*names: str) -> Rule:
    """One argument; these parameters name axes."""
    def shift(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
        static = t.keywords
        for name in names:
            v = static[name]
            static[name] = tuple([a + 1 for a in v]) if isinstance(v, tuple) else v + 1
        return t.op(*args, **static)
    return shift


def _broadcast_to(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    (x,), shape = args, t.params[0]
    missing = len(shape) - (x.aval.ndim - 1)
    if missing:
        x = M.reshape(x, shape=(n, *(1,) * missing, *x.aval.shape[1:]))
    return M.broadcast_to(x, shape=(n, *shape))


def _permute(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    return M.permute(args[0], axes=(0, *[a + 1 for a in t.params[0]]))


def _slice(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    static = t.keywords
    return t.op(args[0], start=(0, *static["start"]), step=(1, *static["step"]), shape=(n, *static["shape"]))


def _joined(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    return t.op(*all_of(n, flags, args), axis=t.params[0] + 1)


BASES: dict[Term, None] = {}             # Terms known to be the identity as n examples, one for every element of an array
MEMOS.append(BASES)


def known_basis(t: Term) -> None:
    """Says that the examples of `t` are the unit vectors in order: products with them need not be computed."""
    BASES[t] = None


def _is_basis(t: Term) -> bool:
    """Whether the examples of `t` are the unit vectors in order, in any shape."""
    while t not in BASES:
        if t.op is not M.reshape or t.args[0].aval.shape[0] != t.aval.shape[0]:
            return False
        t = t.args[0]
    return True


def _matmul(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    a, b = args
    product = contraction.matmul
    if t.aval.ndim == 2 and flags != (True, True):                  # one operand for all: their rows (or columns) are one matrix
        m, k = t.args[0].aval.shape
        p = t.aval.shape[1]
        if flags[0]:
            if m == 1 and _is_basis(a):                             # unit vectors pick rows
                return M.reshape(b, shape=(n, 1, p))
            return M.reshape(product(M.reshape(a, shape=(n * m, k)), b), shape=(n, m, p))
        if p == 1 and _is_basis(b):                                 # or columns
            return M.reshape(M.permute(a, axes=(1, 0)), shape=(n, m, 1))
        wide = M.reshape(M.permute(b, axes=(1, 0, 2)), shape=(k, n * p))
        return M.permute(M.reshape(product(a, wide), shape=(m, n, p)), axes=(1, 0, 2))
    return product(*all_of(n, flags, args))


def _solve(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    a, b = args
    if flags == (False, True) and t.aval.ndim == 2:                 # one matrix, more right sides: it is factored once
        m, k = t.aval.shape
        wide = M.reshape(M.permute(b, axes=(1, 0, 2)), shape=(m, n * k))
        return M.permute(M.reshape(t.op(a, wide, **t.keywords), shape=(m, n, k)), axes=(1, 0, 2))
    return t.op(*all_of(n, flags, args), **t.keywords)


def _line(n: int, shape: tuple[int, ...], dtype) -> Term:
    """The number of the example at every element of (n, *shape)."""
    return M.broadcast_to(M.reshape(iota(size=n, dtype=dtype), shape=(n, *(1,) * len(shape))), shape=(n, *shape))


def _gather(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    (x, *indices), (axes, position) = args, t.params
    if not any(flags[1:]):
        return I.gather(x, *indices, axes=tuple([a + 1 for a in axes]), position=position + 1)
    indices = all_of(n, flags[1:], indices)
    if not flags[0]:
        return moved(I.gather(x, *indices, axes=axes, position=position), position, 0)
    line = _line(n, t.args[1].aval.shape, indices[0].aval.dtype)
    return moved(I.gather(x, line, *indices, axes=(0, *[a + 1 for a in axes]), position=position), position, 0)


def _scatter(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    (x, *indices, updates), (axes, position) = args, t.params
    x, updates = all_of(n, (flags[0], flags[-1]), (x, updates))
    if not any(flags[1:-1]):
        return t.op(x, *indices, updates, axes=tuple([a + 1 for a in axes]), position=position + 1)
    indices = all_of(n, flags[1:-1], indices)
    line = _line(n, t.args[1].aval.shape, indices[0].aval.dtype)
    return t.op(x, line, *indices, moved(updates, 0, position), axes=(0, *[a + 1 for a in axes]), position=position)


def _less(a: Term, b: Term) -> Term:
    """Whether a sorts before b: NaN last; complex numbers by their real parts, then the imaginary ones, as NumPy sorts them."""
    if a.aval.dtype.kind == "c":
        rank = [E.add(E.cast(E.isnan(E.imag(z)), dtype=int32), E.scale(E.cast(E.isnan(E.real(z)), dtype=int32), 2)) for z in (a, b)]
        first = E.lt(E.real(a), E.real(b))
        tied = E.bit_or(E.eq(E.real(a), E.real(b)), E.isnan(E.real(a)))
        inside = E.bit_or(first, E.bit_and(tied, E.lt(E.imag(a), E.imag(b))))
        return E.bit_or(E.lt(*rank), E.bit_and(E.eq(*rank), inside))
    less = E.lt(a, b)
    return E.bit_or(less, E.bit_and(E.isnan(b), E.bit_not(E.isnan(a)))) if a.aval.dtype.kind == "f" else less


def _searchsorted(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    x, values = args
    if not flags[0]:
        return I.searchsorted(x, values, **t.keywords)
    # a search in every row: how many of its elements come before, NaN after everything else
    shape = (n, *t.aval.shape, x.aval.shape[1])
    row = M.broadcast_to(M.reshape(x, shape=(n, *(1,) * t.aval.ndim, x.aval.shape[1])), shape=shape)
    v = values if flags[1] else copies(values, n)
    v = M.broadcast_to(M.reshape(v, shape=(*v.aval.shape, 1)), shape=shape)
    before, after = (row, v) if t.params[0] == "left" else (v, row)
    less = _less(before, after)
    found = less if t.params[0] == "left" else E.bit_not(less)
    return R.sum(E.cast(found, dtype=int64), axes=(len(shape) - 1,))


def _barrier(n: int, flags: Flags, t: Term, args: Sequence[Term]) -> Term:
    made = t.op(*args)
    return made if flags[0] else copies(made, n)


AXES = shifted("axes")
AXIS = shifted("axis")
RULES: dict[str, Rule] = {
    "broadcast_to": _broadcast_to, "permute": _permute, "slice": _slice, "embed": _slice, "concatenate": _joined, "concatenate_many": _joined,
    "reshape": lambda n, flags, t, args: M.reshape(args[0], shape=(n, *t.params[0])),
    "barrier": _barrier, "matmul": _matmul, "solve": _solve, "triangular_solve": _solve, "gather": _gather, "searchsorted": _searchsorted,
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all"), AXES),
    **dict.fromkeys(("argmax", "argmin", "cumsum", "cumprod", "cummax", "cummin", "sort", "argsort"), AXIS),
    **dict.fromkeys((f"scatter_{name}" for name in ("set", "add", "mul", "max", "min")), _scatter),
    **dict.fromkeys([p.name for p in POINTWISE], pointwise),
    **dict.fromkeys(("expm", "swaps", "unswaps", "shear"), leading),
    **dict.fromkeys(("rfft", "irfft"), AXIS), "fft": AXES,
}


# ---- control flow -----------------------------------------------------------------------------------------------------------

def batch_body(body: Body, flags: Sequence[bool], n: int, whole: Sequence[bool] = ()) -> tuple[Body, list[bool]]:
    """(the body over all examples: flagged parameters have the axis, and so have results where it says so; which results).

    `whole`: results that get the axis in any case.
    """
    stand = [leaf(SCRATCH - k, None, aval((n, *p.aval.shape), p.aval.dtype) if f else p.aval, True)
             for k, (p, f) in enumerate(zip(body.params, flags, strict=True))]
    plain = {p: s for p, s, f in zip(body.params, stand, flags, strict=True) if not f}
    env = {p: s for p, s, f in zip(body.params, stand, flags, strict=True) if f}
    found = batched(body.results, env, n)
    whole = whole or [False] * len(found)
    results = [copies(t, n) if w and not f else t for (t, f), w in zip(found, whole, strict=True)]

    return closed(stand, substitute(results, plain)), [f or w for (_, f), w in zip(found, whole, strict=True)]


def _scan(n: int, flags: Flags, t: Term, args: Sequence[Term], *, body: Body, consts: int, carries: int, length: int,
          reverse: bool) -> list[tuple[Term, bool]]:
    m = consts + carries
    have = list(flags)
    while True:                              # a carry has the axis from the start if any step gives it one
        new, out = batch_body(body, have, n, [*have[consts:m], *[False] * (len(body.results) - carries)])
        if out[:carries] == have[consts:m]:
            break
        have[consts:m] = out[:carries]
    given = [copies(a, n) if h and not f else a for a, h, f in zip(args[:m], have, flags, strict=False)]
    xs = [moved(x, 0, 1) if f else x for x, f in zip(args[m:], flags[m:], strict=True)]
    found = C.picked(C.scan(*given, *xs, body=new, consts=consts, carries=carries, length=length, reverse=reverse))
    ys = [moved(y, 1, 0) if f else y for y, f in zip(found[carries:], out[carries:], strict=True)]
    return list(zip([*found[:carries], *ys], out, strict=True))


def _while(n: int, flags: Flags, t: Term, args: Sequence[Term], *, test: Body, body: Body, consts: int) -> list[tuple[Term, bool]]:
    have = list(flags)
    while True:
        new, out = batch_body(body, have, n, have[consts:])
        if out == have[consts:]:
            break
        have[consts:] = out
    going, (several,) = batch_body(test, have, n)
    if not several:
        given = [copies(a, n) if h and not f else a for a, h, f in zip(args, have, flags, strict=True)]
        found = C.picked(C.while_loop(*given, test=going, body=new, consts=consts))
        return [*zip(found[:-1], out, strict=True), (found[-1], False)]
    # examples end apart: those that are done keep their carries, and each counts its own steps
    have[consts:] = [True] * (len(args) - consts)
    new, _ = batch_body(body, have, n, have[consts:])
    going, _ = batch_body(test, have, n)
    count = aval((n,), int32)
    stand = [*[leaf(SCRATCH - k, None, p.aval, True) for k, p in enumerate(new.params)], leaf(SCRATCH - len(new.params), None, count, True)]
    *inputs, steps = stand
    (alive,) = opened(going, inputs)
    after = opened(new, inputs)
    held = [E.where(M.broadcast_to(M.reshape(alive, shape=(n, *(1,) * (a.aval.ndim - 1))), shape=a.aval.shape), a, b)
            for a, b in zip(after, inputs[consts:], strict=True)]
    step = closed(stand, [*held, E.add(steps, E.cast(alive, dtype=int32))])
    any_alive = closed(stand, [R.any(alive, axes=(0,))])
    given = [copies(a, n) if h and not f else a for a, h, f in zip(args, have, flags, strict=True)]
    found = C.picked(C.while_loop(*given, filled(count, 0), test=any_alive, body=step, consts=consts))
    return [(r, True) for r in found[:-1]]


def _cond(n: int, flags: Flags, t: Term, args: Sequence[Term], *, branches: tuple[Body, ...]) -> list[tuple[Term, bool]]:
    index, *operands = args
    if not flags[0]:
        whole = [False] * len(branches[0].results)
        for b in branches:
            whole = batch_body(b, flags[1:], n, whole)[1]
        made = tuple([batch_body(b, flags[1:], n, whole)[0] for b in branches])
        return list(zip(C.picked(C.cond(index, *operands, branches=made)), whole, strict=True))
    # every example takes its own branch: all are computed, and none shows in the values or derivatives of another
    index = E.cast(index, dtype=int32)
    results: list[Term] | None = None
    for k, b in reversed(list(enumerate(branches))):
        new, _ = batch_body(b, flags[1:], n, [True] * len(b.results))
        found = opened(new, operands)
        if results is None:
            results = found
            continue
        mine = E.le(index, like(index, k))
        results = [E.where(M.broadcast_to(M.reshape(mine, shape=(n, *(1,) * (x.aval.ndim - 1))), shape=x.aval.shape), x, y)
                   for x, y in zip(found, results, strict=True)]
    return [(r, True) for r in results or []]


def _call(n: int, flags: Flags, t: Term, args: Sequence[Term], *, body: Body, rule: Again | Pull | Push | Same) -> list[tuple[Term, bool]]:
    new, _ = batch_body(body, flags, n, [True] * len(body.results))
    made = rule if isinstance(rule, (Again, Same)) else _push_rule(rule, flags, n) if isinstance(rule, Push) else _pull_rule(rule, flags, n, body)
    return [(r, True) for r in C.picked(call(*args, body=new, rule=made))]


def _push_rule(rule: Push, flags: Flags, n: int) -> Push:
    own, others = flags[:rule.count], flags[rule.count:]
    moving = [f for f, p in zip(own, rule.push.params, strict=False) if p.aval.inexact]
    return changed(rule, push=batch_body(rule.push, [*own, *moving, *others], n, [True] * len(rule.push.results))[0])


def _pull_rule(rule: Pull, flags: Flags, n: int, body: Body) -> Pull:
    forward, out = batch_body(rule.forward, flags, n, [True] * len(body.results) + [False] * (len(rule.forward.results) - len(body.results)))
    residuals = out[len(body.results):]
    cts = [True] * sum([r.aval.inexact for r in body.results])
    backward, made = batch_body(rule.backward, [*residuals, *cts, *flags[rule.count:]], n)
    mine = [f for f, g in zip(flags[:rule.count], rule.gives, strict=True) if g]
    # the cotangent of what is the same for all examples is the sum over them
    results = [r if have == want else copies(r, n) if want else R.sum(r, axes=(0,)) for r, have, want in zip(backward.results, made, mine, strict=True)]
    # (one that is the same for every example adds up n times)
    results = [E.scale(r, n) if not have and not want else r for r, have, want in zip(results, made, mine, strict=True)]
    return changed(rule, forward=forward, backward=Body(backward.params, tuple(results)))


CONTROL = {C.scan: _scan, C.while_loop: _while, C.cond: _cond, call: _call}
