"""Control flow as primitives over closed Bodies: scan, while, cond. Their results come as a Pack, taken apart by `pick`.

    scan(*consts, *init, *xs)       carry, y = body(*consts, *carry, *x) for every entry x of the first axis of xs; (*carry, *stacked ys)
    while_loop(*consts, *init)      carry = body(*consts, *carry) as long as test(*consts, *carry); (*carry, number of steps)
    cond(index, *operands)          branches[index](*operands), the nearest branch where there is none of that number

The derivatives are in `ad.control`, which registers them; the meaning is that of the interpreter, which registers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import ShapeError
from ..ir.aval import Aval, Pack, aval, pack
from ..ir.function import Body
from ..ir.term import Term
from .base import Control, Custom, Pick, Prim, Several

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
_interpreter: Callable[[Sequence[Term], Sequence[Term]], Run] | None = None
_rules: dict[str, Several] = {}
_runs: dict[Body, Run] = {}
KEPT = 512                       # bodies whose interpreted form is kept


def register_interpreter(program: Callable[[Sequence[Term], Sequence[Term]], Run]) -> None:
    """Tells how Terms are interpreted (the executor, a layer above, calls this once)."""
    global _interpreter
    _interpreter = program


def register_rules(name: str, rules: Several) -> None:
    """Gives the derivative of a primitive (a layer above calls this)."""
    _rules[name] = rules


def runner(body: Body) -> Run:
    """A Body as a function from arrays to arrays, by the interpreter."""
    found = _runs.get(body)
    if found is None:
        if len(_runs) >= KEPT:
            _runs.clear()
        found = _runs[body] = _interpreter(body.results, body.params)
    return found


def by_name(name: str) -> Several:
    """The derivative that is registered for a primitive."""
    return Several(lambda *args, **params: _rules[name].vjp(*args, **params), lambda *args, **params: _rules[name].jvp(*args, **params))


def _agree(op: str, body: Body, given: Sequence[Aval]) -> None:
    if body.takes != tuple(given):
        raise ShapeError(op, f"({', '.join(map(str, given))})", f"the body takes ({', '.join(map(str, body.takes))})")


# ---- scan -----------------------------------------------------------------------------------------------------------

def _scan_aval(*avals: Aval, body: Body, consts: int, carries: int, length: int, reverse: bool) -> Pack:
    n = consts + carries
    for x in avals[n:]:
        if not x.ndim or x.shape[0] != length:
            raise ShapeError("scan", str(x), f"its first axis is not {length} long")
    _agree("scan", body, [*avals[:n], *[aval(x.shape[1:], x.dtype) for x in avals[n:]]])
    if body.gives[:carries] != tuple(avals[consts:n]):
        raise ShapeError("scan", f"carries {avals[consts:n]}", f"the body makes them {body.gives[:carries]}")
    return pack((*avals[consts:n], *[aval((length, *y.shape), y.dtype) for y in body.gives[carries:]]))


def _scan_numpy(*arrays: np.ndarray, body: Body, consts: int, carries: int, length: int, reverse: bool) -> tuple[np.ndarray, ...]:
    run = runner(body)
    fixed, carry, xs = arrays[:consts], list(arrays[consts:consts + carries]), arrays[consts + carries:]
    ys = [np.empty((length, *y.shape), y.dtype) for y in body.gives[carries:]]
    for i in range(length - 1, -1, -1) if reverse else range(length):
        out = run([*fixed, *carry, *[np.asarray(x[i]) for x in xs]])
        carry = out[:carries]
        for y, v in zip(ys, out[carries:], strict=True):
            y[i] = v
    return (*carry, *ys)


scan = Prim("scan", _scan_numpy, _scan_aval, Control("scan"), by_name("scan"), ("body", "consts", "carries", "length", "reverse"))


# ---- while ----------------------------------------------------------------------------------------------------------

def _while_aval(*avals: Aval, test: Body, body: Body, consts: int) -> Pack:
    _agree("while_loop", test, avals)
    _agree("while_loop", body, avals)
    if len(test.gives) != 1 or test.gives[0] is not aval((), np.dtype("bool")):
        raise ShapeError("while_loop", f"a test of {test.gives}", "it gives one bool")
    if body.gives != tuple(avals[consts:]):
        raise ShapeError("while_loop", f"carries {avals[consts:]}", f"the body makes them {body.gives}")
    return pack((*avals[consts:], aval((), int32)))


def _while_numpy(*arrays: np.ndarray, test: Body, body: Body, consts: int) -> tuple[np.ndarray, ...]:
    going, run = runner(test), runner(body)
    fixed, carry, steps = arrays[:consts], list(arrays[consts:]), 0
    while going([*fixed, *carry])[0]:
        carry = run([*fixed, *carry])
        steps += 1
    return (*carry, np.asarray(steps, int32))


while_loop = Prim("while_loop", _while_numpy, _while_aval, Control("while"), by_name("while_loop"), ("test", "body", "consts"))


# ---- cond -----------------------------------------------------------------------------------------------------------

def _cond_aval(index: Aval, *avals: Aval, branches: tuple[Body, ...]) -> Pack:
    if index.ndim or index.dtype.kind not in "biu":
        raise ShapeError("cond", str(index), "the index is one bool or integer")
    for b in branches:
        _agree("cond", b, avals)
        if b.gives != branches[0].gives:
            raise ShapeError("cond", f"{branches[0].gives} and {b.gives}", "the branches give different types")
    return pack(branches[0].gives)


def _cond_numpy(index: np.ndarray, *arrays: np.ndarray, branches: tuple[Body, ...]) -> tuple[np.ndarray, ...]:
    k = min(max(int(index), 0), len(branches) - 1)
    return tuple(runner(branches[k])(arrays))


cond = Prim("cond", _cond_numpy, _cond_aval, Control("cond"), by_name("cond"), ("branches",))


# ---- results --------------------------------------------------------------------------------------------------------

def _pick_rule(*args: Any, **params: Any) -> Any:
    raise AssertionError("cotangents and tangents of packs are lists: ad.vjp and ad.jvp take them apart")


pick = Prim("pick", lambda results, *, index: results[index], lambda results, *, index: results.avals[index], Pick(),
            Custom(_pick_rule, _pick_rule), ("index",))


def picked(results: Term) -> list[Term]:
    """All results of a Term that has several."""
    return [pick(results, index=i) for i in range(len(results.aval.avals))]
