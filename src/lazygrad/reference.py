"""The reference executor: one NumPy call per Term, the oracle of the tests and the interpreter of first runs.

In: root Terms and the arrays of the sources they read. Out: one array per root, of its aval's shape and dtype, owned by the
caller (no view, no array of the caller's). It optimises nothing; dead intermediates are dropped as it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .errors import GraphError
from .ir.aval import Pack
from .ir.term import Term, toposort
from .prims.control import register_interpreter
from .prims.leaf import source

SMALL = 1 << 16         # bytes: constants up to this are made once; temporaries of less than this in all live to the end
FOLD = 1 << 20          # bytes of constants that one program keeps

Runner = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def program(roots: Sequence[Term], sources: Sequence[Term]) -> Runner:
    """A function from the arrays of `sources` (in their order) to the arrays of `roots`; the order of work is found once.

    A Term of `sources` may be any Term: what it is made of is then not computed. Raises GraphError where a root reads a
    source that is not there.

    >>> from lazygrad import dtypes
    >>> from lazygrad.ir.aval import aval
    >>> from lazygrad.prims import elementwise as E, leaf
    >>> x = leaf.leaf(0, 0, aval((2,), dtypes.float64), True)
    >>> program([E.add(x, x)], [x])([np.array([1.0, 2.0])])
    [array([2., 4.])]
    """
    place: dict[Term, int] = {t: i for i, t in enumerate(sources)}
    inputs = len(sources)
    fixed: list[np.ndarray | None] = []
    steps: list[list[Any]] = []
    temporaries = folded = 0
    for t in _order(roots, place):
        op, args, size = t.op, t.args, t.aval.nbytes
        if op is source:
            raise GraphError("program", repr(t), "this source has no array", "pass it among the sources")
        place[t] = inputs + len(fixed)
        f = partial(op.numpy, **t.keywords) if t.params else op.numpy
        dtype = None if t.aval.__class__ is Pack else t.aval.dtype
        if not args and dtype is not None and size <= SMALL and folded <= FOLD:
            folded += size
            fixed.append(_constant(f, t))
            continue
        fixed.append(None)
        temporaries += size
        ins = [place[a] for a in args]
        n = len(ins)
        steps.append([f, n, ins[0] if n else 0, ins[1] if n > 1 else 0, ins, place[t], dtype, ()])
    results = [place[r] for r in roots]
    if temporaries > SMALL:
        _mark_last_uses(steps, set(results), inputs)
    plan = [tuple(step) for step in steps]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        values: list[Any] = [*arrays, *fixed]
        with np.errstate(all="ignore"):
            for f, n, i, j, ins, out, dtype, dead in plan:
                if n == 2:
                    value = f(values[i], values[j])
                elif n == 1:
                    value = f(values[i])
                else:
                    value = f(*[values[k] for k in ins])
                if dtype is not None and (type(value) is not np.ndarray or value.dtype is not dtype):
                    value = np.asarray(value, dtype)
                values[out] = value
                for k in dead:
                    values[k] = None
        taken = {id(a) for a in values[:inputs]}
        return [_own(values[k], taken) for k in results]
    return run


register_interpreter(program)


def evaluate(roots: Sequence[Term], env: Mapping[Term, np.ndarray]) -> list[np.ndarray]:
    """The arrays of `roots`, given those of the sources they read (or of any Terms in between)."""
    return program(roots, list(env))([np.asarray(a) for a in env.values()])


def _order(roots: Sequence[Term], known: dict[Term, int]) -> list[Term]:
    """The Terms to compute, arguments first; nothing below a Term that is known. Iterative."""
    order = toposort(roots)
    if not known or all(t.op is source for t in known):
        return [t for t in order if t not in known]
    needed = {r for r in roots if r not in known}
    for t in reversed(order):
        if t in needed:
            needed.update(a for a in t.args if a not in known)
    return [t for t in order if t in needed]


def _constant(f: Callable[[], Any], t: Term) -> np.ndarray:
    with np.errstate(all="ignore"):
        value = np.asarray(f(), t.aval.dtype)
    value.flags.writeable = False           # it is in every run: handed out as a copy only
    return value


def _mark_last_uses(steps: list[list[Any]], keep: set[int], inputs: int) -> None:
    """Write into every step what is dead after it."""
    seen = set(keep)
    for step in reversed(steps):
        last = {k for k in step[4] if k >= inputs and k not in seen}
        seen |= last
        step[7] = tuple(last)


def _own(value: np.ndarray, taken: set[int]) -> np.ndarray:
    """`value`, copied if anyone else could see a write to it."""
    flags = value.flags
    if value.base is not None or not flags.c_contiguous or not flags.writeable or id(value) in taken:
        value = np.array(value, order="C")
    taken.add(id(value))
    return value
