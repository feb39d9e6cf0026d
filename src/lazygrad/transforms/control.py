"""Control flow that stays in the graph: branches and loops whose conditions and counts are values, compiled as native loops.

The functions of a loop or branch are traced once, on placeholders: what they compute becomes a Body. Tensors from outside may be
used inside; what does not change from step to step is computed once, before the loop.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..context import user_frame
from ..errors import DTypeError, ShapeError, StructureError
from ..ir.aval import Aval, aval
from ..ir.function import Body
from ..ir.term import Term
from ..prims import control as C
from ..prims.elementwise import add, cast
from ..prims.leaf import closed, constant, iota
from ..tensor import Tensor
from . import trace as T
from . import tree
from .derivatives import guarded, transform

TRIES = 4               # how often a loop is traced again because a Python number in its carry took a wider dtype


# ---- containers of operands ---------------------------------------------------------------------------------------------

class Operands:
    """The leaves of some containers as tensors; `weak` are those that were Python numbers: their dtype may change."""

    def __init__(self, op: str, value: Any, graph: Any = None) -> None:
        self.op = op
        self.leaves, self.form = tree.flatten(value)
        strange = [type(v).__name__ for v in self.leaves if not T.is_data(v)]
        if strange:
            raise StructureError(op, strange[0], "loops and branches carry arrays and numbers", "close over anything else")
        self.paths = tree.paths(value)
        self.weak = [type(v) in (bool, int, float, complex) for v in self.leaves]
        graph = graph or T.of_same_graph(*self.leaves)
        self.tensors = [T.tensor_of(v, op, graph) for v in self.leaves]
        self.terms = [h.term for h in self.tensors]

    @property
    def avals(self) -> list[Aval]:
        return [t.aval for t in self.terms]

    def cast(self, avals: Sequence[Aval]) -> None:
        """Gives weak leaves the dtypes of `avals`."""
        self.terms = [t if t.aval.dtype == a.dtype else cast(t, dtype=a.dtype) for t, a in zip(self.terms, avals, strict=True)]


def returned(op: str, value: Any, graph: Any) -> tuple[list[Tensor], list[bool], Any, list[str]]:
    """What a traced function returned: (tensors, which were Python numbers, the containers' form, their paths)."""
    found = Operands(op, value, graph)
    return found.tensors, found.weak, found.form, found.paths


def settle(op: str, what: str, now: Sequence[Aval], weak: Sequence[bool], after: list[Tensor], weak_after: Sequence[bool], paths: Sequence[str]) -> list[Aval] | None:
    """None if a step hands on what it got; the wider types if only Python numbers have to become wider. Else an error naming the leaf."""
    wider = list(now)
    for k, (a, h, path) in enumerate(zip(now, after, paths, strict=True)):
        b = h.term.aval
        if b is a or (weak_after[k] and b.shape == a.shape):
            continue
        if b.shape != a.shape:
            raise ShapeError(op, f"{what}{path} {a}", f"it is {b} after a step", "a loop's carry keeps its shape: pad it, or keep its size in another carry")
        if not weak[k]:
            raise DTypeError(op, f"{what}{path} {a}", f"it is {b} after a step", f"start with {b.dtype.name}, or cast it back with astype({a.dtype.name!r})")
        wider[k] = aval(a.shape, b.dtype)
    return None if wider == list(now) else wider


def same_form(op: str, what: str, form: Any, found: Any) -> None:
    if form != found:
        raise StructureError(op, f"{what} {tree.text(form)}", f"it is {tree.text(found)} after a step", "return it in the same containers")


def as_given(h: Tensor, av: Aval) -> Term:
    """A returned Python number in the dtype of what it takes the place of."""
    return h.term if h.term.aval.dtype == av.dtype else cast(h.term, dtype=av.dtype)


def results(terms: Sequence[Term], operands: Sequence[Tensor], trace: T.Trace, inside: Sequence[Tensor], code: Any, at: int) -> list[Tensor]:
    """Tensors of a loop's results, which keep what it was made of; `inside`: what the traced functions returned."""
    return T.wrapped(terms, [*operands, *T.captured([h.term for h in inside], trace.terms, inside)], code, at)


# ---- scan ---------------------------------------------------------------------------------------------------------------------

def scan(f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> tuple[Any, Any]:
    """A loop over the first axis of `xs` that hands a carry on: `carry, y = f(carry, x)`. Returns (last carry, ys stacked).

    Containers may nest. `length`: how many steps, where there are no xs. With `reverse` the last entry comes first; ys stand where
    their xs stood. One native loop; differentiates in both modes to any order, in bounded memory.
    ShapeError and DTypeError where a step changes the type of the carry, StructureError where it changes its containers.

    >>> import lazygrad as lg
    >>> last, sums = lg.scan(lambda c, x: (c + x, c + x), 0.0, lg.asarray([1.0, 2.0, 3.0]))
    >>> last.item(), sums.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    code, at = transform("scan", f)
    return _scan(code, at, "scan", f, init, xs, length, reverse)


@guarded
def _scan(code: Any, at: int, op: str, f: Callable[..., Any], init: Any, xs: Any, length: int | None, reverse: bool) -> tuple[Any, Any]:
    entries = Operands(op, xs)
    graph = T.of_same_graph(*entries.tensors, *tree.leaves(init))
    carry = Operands(op, init, graph)
    n = None if length is None else operator.index(length)
    first = f"length {n}"
    if n is not None and n < 0:
        raise ShapeError(op, f"length {n}", "a loop has 0 or more steps")
    for h, path in zip(entries.tensors, entries.paths, strict=True):
        if not h.ndim:
            raise ShapeError(op, f"xs{path} {h.term.aval}", "it has no axis to go along", "pass it by closing over it, or stack it")
        if n is None:
            n, first = h.shape[0], f"xs{path} {h.term.aval}"
        elif h.shape[0] != n:
            raise ShapeError(op, f"{first} and xs{path} {h.term.aval}", "their first axes differ in length", "all xs have an entry for every step")
    if n is None:
        raise StructureError(op, "no xs and no length", "how many steps are there?", "pass length=")
    avals = carry.avals
    slices = [aval(h.shape[1:], h.dtype) for h in entries.tensors]
    for _ in range(TRIES):
        with T.Trace(op, concrete=False) as trace:
            body, others, out, y_form, wider, inside = _step(op, trace, f, carry, avals, entries, slices, graph)
            if wider is None:
                terms = C.picked(C.scan(*others, *carry.terms, *entries.terms, body=body, consts=len(others), carries=len(avals), length=n, reverse=bool(reverse))) \
                    if out else []
                handles = results(terms, [*carry.tensors, *entries.tensors], trace, inside, code, at)
            del inside
        if wider is None:
            k = len(avals)
            return tree.unflatten(carry.form, handles[:k]), tree.unflatten(y_form, handles[k:])
        avals = wider
        carry.cast(avals)
    raise DTypeError(op, "a carry of Python numbers", "its dtype changes at every step", "start with arrays of a dtype")


def _step(op: str, trace: T.Trace, f: Callable[..., Any], carry: Operands, avals: Sequence[Aval], entries: Operands, slices: Sequence[Aval], graph: Any) -> tuple:
    """One traced step of a scan."""
    number = T.number_of([*carry.tensors, *entries.tensors])
    places = [trace.placeholder_in(number, a) for a in (*avals, *slices)]
    k = len(avals)
    out = trace.call(f, (tree.unflatten(carry.form, places[:k]), tree.unflatten(entries.form, places[k:])), {})
    terms = [h.term for h in places]
    del places
    if not isinstance(out, tuple) or len(out) != 2:
        raise StructureError(op, type(out).__name__, "a step returns a pair", "return (carry, y); y may be None")
    after, weak, form, paths = returned(op, out[0], graph)
    same_form(op, "carry", carry.form, form)
    wider = settle(op, "carry", avals, carry.weak, after, weak, paths)
    if wider is not None:
        return None, [], [], None, wider, []
    ys, _, y_form, _ = returned(op, out[1], graph)
    handed = [as_given(h, a) for h, a in zip(after, avals, strict=True)]
    body, others = T.close([*handed, *[y.term for y in ys]], terms)
    return consts_first(body, len(terms)), others, [*handed, *ys], y_form, None, [*after, *ys]


def map(f: Callable[..., Any], xs: Any) -> Any:
    """`f` on every entry of the first axis of `xs`, one after the other: results stacked. Like `vmap`, in the memory of one entry.

    >>> import lazygrad as lg
    >>> lg.map(lambda x: x * x, lg.asarray([1.0, 2.0, 3.0])).tolist()
    [1.0, 4.0, 9.0]
    """
    code, at = transform("map", f)
    return _scan(code, at, "map", lambda _, x: (None, f(x)), None, xs, None, False)[1]


# ---- while --------------------------------------------------------------------------------------------------------------------

def while_loop(cond: Callable[..., Any], body: Callable[..., Any], init: Any) -> Any:
    """`init`, then `body` of it, and so on, as long as `cond` gives true. Returns the last carry.

    `cond` gives one bool. The number of steps may depend on data, and still the loop differentiates, in reverse too, in memory
    bounded by checkpoints. Errors as in `scan`.

    >>> import lazygrad as lg
    >>> lg.while_loop(lambda x: x < 100, lambda x: x * 2, lg.asarray(3.0)).item()
    192.0
    >>> lg.grad(lambda x: lg.while_loop(lambda v: v < 100, lambda v: v * v, x))(3.0).item()       # x ** 8
    17496.0
    """
    code, at = transform("while_loop", cond)
    transform("while_loop", body)
    return _while(code, at, "while_loop", cond, body, init)


@guarded
def _while(code: Any, at: int, op: str, test: Callable[..., Any], f: Callable[..., Any], init: Any) -> Any:
    carry = Operands(op, init)
    graph = T.of_same_graph(*carry.tensors)
    avals = carry.avals
    for _ in range(TRIES):
        with T.Trace(op, concrete=False) as trace:
            number = T.number_of(carry.tensors)
            places = [trace.placeholder_in(number, a) for a in avals]
            terms = [h.term for h in places]
            going = trace.call(test, (tree.unflatten(carry.form, places),), {})
            out = trace.call(f, (tree.unflatten(carry.form, places),), {})
            del places
            (alive, *rest), _, _, _ = returned(op, going, graph)
            if rest or alive.ndim or alive.dtype != dtypes.bool_:
                raise DTypeError(op, f"a condition {alive.term.aval}" if not rest else "several conditions", "one bool is expected", "compare, or reduce with all() or any()")
            after, weak, form, paths = returned(op, out, graph)
            same_form(op, "carry", carry.form, form)
            wider = settle(op, "carry", avals, carry.weak, after, weak, paths)
            if wider is None:
                both, others = T.close([alive.term, *[as_given(h, a) for h, a in zip(after, avals, strict=True)]], terms)
                both = consts_first(both, len(terms))
                made = C.while_loop(*others, *carry.terms, test=Body(both.params, both.results[:1]), body=Body(both.params, both.results[1:]), consts=len(others))
                handles = results(C.picked(made)[:-1], carry.tensors, trace, [alive, *after], code, at)
            del alive, after, going, out
        if wider is None:
            return tree.unflatten(carry.form, handles)
        avals = wider
        carry.cast(avals)
    raise DTypeError(op, "a carry of Python numbers", "its dtype changes at every step", "start with arrays of a dtype")


def consts_first(body: Body, n: int) -> Body:
    """The Body with what it takes from outside before its own n parameters."""
    return closed([*body.params[n:], *body.params[:n]], body.results)


def fori_loop(lo: Any, hi: Any, body: Callable[..., Any], init: Any) -> Any:
    """`carry = body(i, carry)` for i from `lo` to `hi` - 1; the bounds may be integer tensors. Returns the last carry.

    >>> import lazygrad as lg
    >>> lg.fori_loop(0, 5, lambda i, c: c + i, 0).item()
    10
    """
    code, at = transform("fori_loop", body)
    return _fori(code, at, lo, hi, body, init)


@guarded
def _fori(code: Any, at: int, lo: Any, hi: Any, body: Callable[..., Any], init: Any) -> Any:
    known = [not isinstance(b, Tensor) for b in (lo, hi)]
    for b in (lo, hi):
        if isinstance(b, Tensor) and (b.ndim or b.dtype.kind not in "iu"):
            raise DTypeError("fori_loop", f"a bound {b.term.aval}", "an integer is expected")
    if all(known):
        low, high = operator.index(lo), operator.index(hi)
        wide = dtypes.int32 if low >= -(1 << 31) and high < 1 << 31 else dtypes.int64
        n = max(high - low, 0)
        steps = iota(size=n, dtype=wide)
        if low:
            steps = add(steps, constant(low, (n,), wide))
        numbers = T.wrapped([steps], [], code, at)[0]
        return _scan(code, at, "fori_loop", lambda c, i: (body(i, c), None), init, numbers, n, False)[0]
    low, high = (T.tensor_of(b, "fori_loop", T.of_same_graph(lo, hi)) for b in (lo, hi))
    wide = dtypes.promote(low.dtype, high.dtype)
    start = low.astype(wide)
    end = high.astype(wide)
    return _while(code, at, "fori_loop", lambda s: s[0] < end, lambda s: (s[0] + 1, body(s[0], s[1])), (start, init))[1]


# ---- branches -----------------------------------------------------------------------------------------------------------------

def cond(pred: Any, f: Callable[..., Any], g: Callable[..., Any], *operands: Any) -> Any:
    """`f(*operands)` where `pred` is true, else `g(*operands)`: only that one is computed, and only it has a derivative.

    `pred`: one bool. Both return the same containers of the same shapes and dtypes. Under `vmap` with a predicate for every example
    both are computed and chosen from.

    >>> import lazygrad as lg
    >>> x = lg.asarray(4.0)
    >>> lg.cond(x > 0, lg.sqrt, lambda x: 0 * x, x).item(), lg.grad(lambda x: lg.cond(x > 0, lg.sqrt, lambda x: 0 * x, x))(0.0).item()
    (2.0, 0.0)
    """
    code, at = transform("cond", f)
    transform("cond", g)
    if isinstance(pred, (bool, np.bool_)):
        return (f if pred else g)(*operands)
    return _branch(code, at, "cond", pred, (g, f), operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, the nearest branch where there is none of that number; `index`: one integer.

    >>> import lazygrad as lg
    >>> lg.switch(lg.asarray(1), [lg.sin, lambda x: x * x, lg.exp], 3.0).item()
    9.0
    """
    branches = tuple(branches)
    for f in branches:
        transform("switch", f)
    code, at = user_frame(sys._getframe(1))
    if not branches:
        error = StructureError("switch", "no branches", "there is nothing to choose from")
        T.noted(error, code, at)
        raise error
    if not isinstance(index, Tensor):
        return branches[min(max(operator.index(index), 0), len(branches) - 1)](*operands)
    return _branch(code, at, "switch", index, branches, operands)


@guarded
def _branch(code: Any, at: int, op: str, index: Any, branches: Sequence[Callable[..., Any]], operands: tuple) -> Any:
    h = T.tensor_of(index, op, T.of_same_graph(*tree.leaves(operands)))
    kinds = "b" if op == "cond" else "iu"
    if h.ndim or h.dtype.kind not in kinds:
        wanted, fix = ("one bool is expected", "compare, or reduce with all() or any(); lazygrad.where chooses element by element") if op == "cond" else \
            ("one integer is expected", "")
        raise DTypeError(op, f"{'a predicate' if op == 'cond' else 'an index'} {h.term.aval}", wanted, fix)
    given = Operands(op, operands)
    graph = T.of_same_graph(*given.tensors, h)
    with T.Trace(op, concrete=False) as trace:
        number = T.number_of([*given.tensors, h])
        places = [trace.placeholder_in(number, a) for a in given.avals]
        terms = [p.term for p in places]
        outs = [returned(op, trace.call(f, tree.unflatten(given.form, places), {}), graph) for f in branches]
        del places
        form, paths = outs[0][2:]
        for k, (_, _, other, _) in enumerate(outs):
            if other != form:
                raise StructureError(op, f"{tree.text(form)} and {tree.text(other)}", f"branches 0 and {k} return different containers", "return the same from all")
        avals = [_joined(op, path, [(o[0][j].term.aval, o[1][j]) for o in outs]) for j, path in enumerate(paths)]
        flat = [as_given(t, a) for o in outs for t, a in zip(o[0], avals, strict=True)]
        every, others = T.close(flat, terms)
        n = len(avals)
        bodies = tuple([Body(every.params, every.results[k * n:(k + 1) * n]) for k in range(len(branches))])
        found = C.picked(C.cond(h.term, *given.terms, *others, branches=bodies)) if n else []
        handles = results(found, [h, *given.tensors], trace, [t for o in outs for t in o[0]], code, at)
        del outs
    return tree.unflatten(form, handles)


def _joined(op: str, path: str, found: Sequence[tuple[Aval, bool]]) -> Aval:
    """The type that all branches give at one place; Python numbers take the dtype of the others."""
    strong = [a for a, weak in found if not weak] or [functools.reduce(lambda a, b: aval(a.shape, dtypes.promote(a.dtype, b.dtype)), [a for a, _ in found])]
    for k, (a, weak) in enumerate(found):
        if a.shape != strong[0].shape or (not weak and a.dtype != strong[0].dtype):
            raise ShapeError(op, f"result{path} {strong[0]} and {a}", f"branch {k} gives another type", "reshape, broadcast or cast it")
    return strong[0]


__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]
