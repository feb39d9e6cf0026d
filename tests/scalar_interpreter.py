"""An executor of kernels in plain Python: every statement of ir/kernel.py, slowly and as documented.

In: a Kernel and one 1-d NumPy array per parameter, written in place. Out: the fault cell. It checks what native code
trusts: indices inside their buffers, writes only to parameters that say so, dtypes that agree, and that no step of a grid
touches what another one writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lazygrad.ir import scalar as S
from lazygrad.ir.kernel import Accumulate, Assign, Check, Kernel, Loop, Stmt, Store


def identity(monoid: str, dtype: np.dtype) -> Any:
    """The neutral element of a monoid.

    >>> int(identity("maximum", np.dtype("int8"))), float(identity("minimum", np.dtype("float32")))
    (-128, inf)
    """
    if monoid in ("add", "or"):
        return dtype.type(-0.0 if dtype.kind == "f" else 0)            # a sum of -0.0 alone is -0.0
    if monoid == "mul":
        return dtype.type(1)
    if monoid == "and":
        return np.invert(dtype.type(0))
    if dtype.kind == "b":
        return dtype.type(monoid == "minimum")
    if dtype.kind == "f":
        return dtype.type(-np.inf if monoid == "maximum" else np.inf)
    info = np.iinfo(dtype)
    return dtype.type(info.min if monoid == "maximum" else info.max)


def order_of(roots: Iterable[S.Scalar]) -> list[S.Scalar]:
    """All scalars below `roots`, arguments first. Iterative."""
    seen: set[S.Scalar] = set()
    out: list[S.Scalar] = []
    stack = list(roots)
    while stack:
        s = stack[-1]
        todo = [a for a in s.args if a not in seen]
        if s not in seen and todo:
            stack.extend(todo)
            continue
        stack.pop()
        if s not in seen:
            seen.add(s)
            out.append(s)
    return out


class Machine:
    """The state of one run: buffers, loop variables, carries, fault cell; the grid step, and which steps read and wrote what."""

    def __init__(self, kernel: Kernel, buffers: Sequence[np.ndarray], order: Callable[[int], Iterable[int]] = range) -> None:
        if len(kernel.params) != len(buffers):
            raise ValueError(f"{len(buffers)} buffers for {len(kernel.params)} parameters")
        for k, (p, b) in enumerate(zip(kernel.params, buffers, strict=True)):
            if b.ndim != 1 or b.dtype != p.dtype:
                raise TypeError(f"b{k} is {b.dtype} of shape {b.shape}, not a flat {p.dtype}")
        self.kernel, self.buffers = kernel, buffers
        self.variables: dict[str, Any] = {}
        self.carries: dict[str, Any] = {}
        self.monoids: dict[str, str] = {}
        self.assigned: dict[str, Any] = {}       # by this step of a loop with states
        self.fault = 0
        self.orders: dict[int, list[S.Scalar]] = {}
        self.order = order
        self.step: tuple[int, ...] = ()
        self.writers: dict[tuple[int, int], tuple[int, ...]] = {}
        self.readers: dict[tuple[int, int], set[tuple[int, ...]]] = {}

    def value(self, s: S.Scalar, args: list[Any]) -> Any:
        """One scalar from the values of its arguments."""
        if s.op is S.CONST:
            return s.dtype.type(S.value_of(s))
        if s.op is S.VAR:
            return np.int64(self.variables[s.params[0]])
        if s.op is S.CARRY:
            return self.carries[s.params[0]]
        if s.op is S.LINEAR:
            return np.int64(s.params[0] + sum(int(a) * k for a, k in zip(args, s.params[1], strict=True)))
        if s.op is S.FLOORDIV:
            return np.int64(int(args[0]) // s.params[0])
        if s.op is S.MOD:
            return np.int64(int(args[0]) % s.params[0])
        if s.op is S.CAST:
            return np.asarray(args[0]).astype(s.dtype)[()]
        if s.op is S.LOAD:
            if len(args) == 2 and not args[1]:
                return s.dtype.type(0)
            i = self.inside(s.params[0], args[0])
            self.touch(s.params[0], i, False)
            return self.buffers[s.params[0]][i]
        for a, x in zip(s.args, args, strict=True):
            if np.asarray(x).dtype != a.dtype:
                raise TypeError(f"{a} says {a.dtype} and is {np.asarray(x).dtype}")
        return np.asarray(s.op.numpy(*args)).astype(s.dtype)[()]

    def inside(self, buffer: int, index: Any) -> int:
        size = len(self.buffers[buffer])
        if not 0 <= index < size:
            raise IndexError(f"b{buffer}[{index}] of {size}")
        return int(index)

    def touch(self, buffer: int, i: int, writes: bool) -> None:
        """Two grid steps, or chunks, may only share an element that both read."""
        key = id(self.buffers[buffer]), i
        if self.writers.get(key, self.step) != self.step or (writes and self.readers.get(key, {self.step}) != {self.step}):
            raise RuntimeError(f"step {self.step} {'writes' if writes else 'reads'} b{buffer}[{i}], which another step touches")
        if writes:
            self.writers[key] = self.step
        else:
            self.readers.setdefault(key, set()).add(self.step)

    def values(self, run: list[Stmt]) -> dict[S.Scalar, Any]:
        """Every scalar of a run of statements."""
        order = self.orders.get(id(run[0]))
        if order is None:
            roots = [getattr(s, f) for s in run for f in ("index", "value", "ok") if hasattr(s, f)]
            order = self.orders[id(run[0])] = order_of(roots)
        known: dict[S.Scalar, Any] = {}
        for s in order:
            known[s] = self.value(s, [known[a] for a in s.args])
        return known

    def write(self, s: Stmt, known: dict[S.Scalar, Any]) -> None:
        if isinstance(s, Check):
            if not known[s.ok] and not self.fault:
                self.fault = s.code + 1
        elif isinstance(s, Accumulate):
            total = self.carries[s.carry]
            value = np.asarray(known[s.value]).astype(total.dtype)[()]
            self.carries[s.carry] = S.OPS[self.monoids[s.carry]].numpy(total, value)
        elif isinstance(s, Assign):
            if s.value.dtype != np.asarray(self.carries[s.state]).dtype:
                raise TypeError(f"{s.value.dtype} assigned to {s.state} of {np.asarray(self.carries[s.state]).dtype}")
            self.assigned[s.state] = known[s.value]
        else:
            if not self.kernel.params[s.buffer].writes:
                raise PermissionError(f"b{s.buffer} is read only")
            buffer, i = self.buffers[s.buffer], self.inside(s.buffer, known[s.index])
            self.touch(s.buffer, i, True)
            if s.value.dtype != buffer.dtype:
                raise TypeError(f"{s.value.dtype} stored into b{s.buffer} of {buffer.dtype}")
            buffer[i] = known[s.value] if isinstance(s, Store) else S.OPS[s.monoid].numpy(buffer[i], known[s.value])

    def body(self, body: Sequence[Stmt]) -> None:
        run: list[Stmt] = []
        for s in (*body, None):
            if s is not None and not isinstance(s, Loop):
                run.append(s)
                continue
            if run:  # all values first, then all writes
                known = self.values(run)
                for r in run:
                    self.write(r, known)
                run = []
            if s is not None:
                self.loop(s)

    def loop(self, loop: Loop) -> None:
        for c in loop.carries:
            self.carries[c.name] = identity(c.monoid, c.dtype)
            self.monoids[c.name] = c.monoid
        self.carries.update([(s.name, self.scalar(s.start)) for s in loop.states])
        if loop.grain:
            self.chunks(loop)
            return
        grid, before = loop.mode == "grid", self.step
        for i in self.order(loop.extent) if grid else range(loop.extent):
            self.variables[loop.var] = i
            self.step = (*before, i) if grid else before
            if loop.test is not None and not self.scalar(loop.test):
                break
            self.body(loop.body)
            for s in loop.states:
                self.carries[s.name] = self.assigned.pop(s.name)
        self.step = before

    def chunks(self, loop: Loop) -> None:
        """Chunks in `order`, which may share an element that all only read; their totals are joined in their own order."""
        start, before, totals = dict(self.carries), self.step, {}
        self.writers, self.readers = {}, {}
        for chunk in self.order(-(-loop.extent // loop.grain)):
            self.carries, self.step = dict(start), (*before, chunk)
            for i in range(chunk * loop.grain, min((chunk + 1) * loop.grain, loop.extent)):
                self.variables[loop.var] = i
                self.body(loop.body)
            totals[chunk] = self.carries
        self.carries, self.step, self.writers, self.readers = start, before, {}, {}
        for chunk in sorted(totals):
            for c in loop.carries:
                self.carries[c.name] = S.OPS[c.monoid].numpy(self.carries[c.name], totals[chunk][c.name])

    def scalar(self, s: S.Scalar) -> Any:
        """The present value of one scalar."""
        known: dict[S.Scalar, Any] = {}
        for x in order_of([s]):
            known[x] = self.value(x, [known[a] for a in x.args])
        return known[s]


def run_kernel(kernel: Kernel, buffers: Sequence[np.ndarray], order: Callable[[int], Iterable[int]] = range) -> int:
    """Run `kernel` on flat arrays; 0, or 1 + the code of the first Check that failed. `order(n)`: the steps of a grid loop as they run.

    >>> i = S.var("i", 3)
    >>> from lazygrad.ir.kernel import Param
    >>> f = np.dtype("float64")
    >>> body = Loop("i", 3, "serial", (Store(1, i, S.apply("neg", S.load(0, i, f))),))
    >>> out = np.zeros(3)
    >>> run_kernel(Kernel((Param(f, False), Param(f, True)), (body,)), [np.arange(3.0), out]), out
    (0, array([-0., -1., -2.]))
    """
    machine = Machine(kernel, buffers, order)
    with np.errstate(all="ignore"):
        machine.body(kernel.body)
    return machine.fault
