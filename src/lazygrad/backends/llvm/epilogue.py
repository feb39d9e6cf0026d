"""Epilogue: what a kernel makes of every element of a matrix product, block by block, while the block is in the cache.

In: a Gemm whose epilogue is a kernel without loops (`ir.program.Gemm`). Out: a function `(ptr a, ptr b, the other buffers, ptr x)`. A block of
the product goes to the stack; the product itself is never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from ...ir import scalar as S
from ...ir.kernel import Kernel, Loop, Store
from ...ir.program import Gemm
from ...ir.record import changed
from . import gemm, kernels, portions
from .portions import Portions
from .target import Target
from .text import Function, Module, element

BLOCK = 64 << 10                 # bytes of a block at most


def blocks(g: Gemm, dtype: np.dtype, t: gemm.Tiling | None, work: float) -> Portions:
    """The sizes of a block: whole panels of columns, or several entries of a batch."""
    most = max(int(work / portions.PORTION), 1)
    size = BLOCK // dtype.itemsize
    if g.m * g.n <= size:
        return Portions(g.m, g.n, max(min(size // (g.m * g.n), -(-g.batch // most)), 1))
    width = portions.COLUMNS if t is None else t.width
    columns = max(min(size // g.m, -(-g.n * g.batch // most)) // width, 1) * width
    columns = min(columns, g.n)
    high = 1 if t is None else t.rows(t.vectors)
    rows = max(size // columns // high, 1) * high
    return Portions(min(rows, g.m), columns, 1)


def write(module: Module, name: str, g: Gemm, dtype: np.dtype, kernel: Kernel, same: Sequence[int], target: Target,
          function: Callable[[Gemm], str]) -> None:
    """Add the product to the module as function `name`; `function(g)` is the name of that of a block.

    `same[i]`: the first of the other buffers that is the same as buffer i.
    """
    kind, t = element(dtype), gemm.tiling(g, dtype, target)
    work = portions.nanoseconds(g, dtype, t)
    p = blocks(g, dtype, t, work)
    ends: dict[tuple[int, int, int], str] = {}

    def case(fn: Function, part: Gemm, pointers: Sequence[str], first: Sequence[str]) -> None:
        a, b, *more, x = pointers
        part = changed(part, ldc=p.columns, c_step=p.columns * p.rows if part.batch > 1 else 0, accumulate=False)
        sizes = part.batch, part.m, part.n
        if sizes not in ends:
            ends[sizes] = f"{name}.end{len(ends)}"
            module.functions.append(_end(module, ends[sizes], kernel, same, sizes, p, target.lanes_bytes).text())
        given = ", ".join([f"ptr {m}" for m in (*more, x)] + [f"i64 {i}" for i in first])
        fn.line(f"call void @{function(part)}(ptr {a}, ptr {b}, ptr {block(fn)}, ptr {x})")
        fn.line(f"call void @{ends[sizes]}(ptr {block(fn)}, {given})")

    made: dict[Function, str] = {}

    def block(fn: Function) -> str:
        """The memory of a block, on the stack."""
        if fn not in made:
            with fn.inside(fn.entry):
                made[fn] = fn.emit(f"alloca [{p.entries * p.rows * p.columns + 64} x {kind}], align 64")
        return made[fn]

    portions.divided(module, name, g, kind, p, len(kernel.params) - 1, work >= portions.WORTH, case)


def _end(module: Module, name: str, kernel: Kernel, same: Sequence[int], sizes: tuple[int, int, int], p: Portions, lanes_bytes: int) -> Function:
    """The kernel for the elements of a block of `sizes`, whose first entry, row and column are arguments."""
    own = _placed(kernel, p)
    written = {i for i, q in enumerate(kernel.params) if q.writes}
    written |= {1 + i for i, first in enumerate(same) if any([1 + j in written for j, other in enumerate(same) if other == first])}
    head = ", ".join(["ptr %block", *[f"ptr %b{i}" for i in range(1, len(kernel.params))], "ptr %x", "i64 %e", "i64 %i", "i64 %j"])
    fn = Function(module, f"define internal void @{name}({head}) nounwind")
    kind = element(kernel.params[0].dtype)
    back = "%block"
    for start, step in (("%e", p.rows * p.columns), ("%i", p.columns), ("%j", 1)):
        back = fn.emit(f"getelementptr {kind}, ptr {back}, i64 {fn.emit(f'mul i64 {start}, {-step}')}")
    fn.line(f"%b0 = getelementptr {kind}, ptr {back}, i64 0")
    w = kernels.Writer(fn, own, lanes_bytes, frozenset(written))
    entries, rows, columns = sizes
    with ExitStack() as open_:
        for var, first, count in (("batch", "%e", entries), ("row", "%i", rows)):
            last = fn.emit(f"add i64 {first}, {count}")
            l = open_.enter_context(fn.loop(first, last))
            open_.enter_context(w.values.scope(l.before, var, l.i))
        loop = Loop("col", columns, "vector", own.body)
        lanes = w.width(loop)
        if lanes:
            whole, rest = columns // lanes * lanes, columns % lanes
            if whole:
                w.span(loop, [], "%j", fn.emit(f"add i64 %j, {whole}"), lanes, lanes, 1)
            if rest:
                first = fn.emit(f"add i64 %j, {whole}")
                w.span(loop, [], first, fn.emit(f"add i64 {first}, 1"), max(2, 1 << (rest - 1).bit_length()), rest, 1)
        else:
            w.steps(loop, [], "%j", fn.emit(f"add i64 %j, {columns}"))
    return fn


def _placed(kernel: Kernel, p: Portions) -> Kernel:
    """The kernel with the product's elements where they lie in a block."""
    done: dict[S.Scalar, S.Scalar] = {}
    stack = [x for s in kernel.body if isinstance(s, Store) for x in (s.index, s.value)]
    while stack:
        x = stack[-1]
        todo = [a for a in x.args if a not in done]
        if x not in done and todo:
            stack.extend(todo)
            continue
        stack.pop()
        if x in done:
            continue
        args = tuple([done[a] for a in x.args])
        if x.op is S.LOAD and x.params[0] == 0:
            done[x] = S.load(0, _element(x.args[0], p), x.dtype)
        else:
            done[x] = x if args == x.args else S.scalar(x.op, args, x.params, x.dtype)
    body = tuple([changed(s, index=done[s.index], value=done[s.value]) for s in kernel.body])
    return changed(kernel, body=body)


def _element(i: S.Scalar, p: Portions) -> S.Scalar:
    """The index of an element of the product, as it lies in memory, as one in a block."""
    steps = {"batch": p.rows * p.columns, "row": p.columns, "col": 1}
    atoms = i.args if i.op is S.LINEAR else (i,)
    total = S.index(0)
    for a in atoms:
        total = S.iadd(total, S.imul(a, steps[a.params[0]]))
    return total
