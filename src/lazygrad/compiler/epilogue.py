"""Epilogue: an elementwise kernel that reads a matrix product at its own index becomes part of the Gemm step.

In: steps (kernel calls as Pieces). Out: fewer steps; a product that nothing else reads is never stored. Asks Caps whether
Gemm steps may have an epilogue and how many buffers one kernel binds.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import scalar as S
from ..ir.kernel import Kernel, Loop, Param, Stmt, Store
from ..ir.program import Caps, Gemm, Step
from ..ir.record import changed
from .fuse import Piece, loads, scalars
from .loops import coefficient, parts, rewrite, walk


def epilogues(steps: list[Step | Piece], traffic: Callable, kept: set[int], caps: Caps, number: Callable[[Kernel], int]) -> list[Step | Piece]:
    """The steps with kernels moved into the products they read.

    `kept`: buffers that must be written (outputs). `number(kernel)` puts a kernel into the Program. A product that others
    read too is stored by its epilogue, where they come later.
    """
    products = {s.c: p for p, s in enumerate(steps) if isinstance(s, Gemm) and not s.accumulate and s.k and s.batch * s.m * s.n >= caps.epilogue}
    if not caps.epilogue or not products:
        return steps
    readers: dict[int, list[int]] = {}
    for p, s in enumerate(steps):
        for b in dict.fromkeys(traffic(s)[0]):
            readers.setdefault(b, []).append(p)
    out: list = list(steps)
    for p, s in enumerate(steps):
        if not isinstance(s, Piece):
            continue
        mine = [b for b in s.buffers if b in products and readers[b][0] == p and isinstance(out[products[b]], Gemm)
                and out[products[b]].epilogue is None]
        for b in sorted(mine, key=lambda b: products[b], reverse=True):       # the last product there is: the others are ready
            made = _merged(out[products[b]], s, b, b in kept or len(readers[b]) > 1, caps, number)
            if made is not None:
                out[products[b]], out[p] = None, made
                break
    return [s for s in out if s is not None]


def _merged(g: Gemm, piece: Piece, product: int, stored: bool, caps: Caps, number: Callable[[Kernel], int]) -> Gemm | None:
    """The product with `piece` as its epilogue, None where that is not elementwise over the product's elements."""
    chain, body = _chain(piece.kernel.body)
    size = g.batch * g.m * g.n
    if any([not isinstance(s, Store) for s in body]) or (g.batch > 1 and g.c_step != g.m * g.n) or g.ldc != g.n or g.c_offset:
        return None
    own = piece.buffers.index(product)
    reads = [x for x in loads(body) if x.params[0] == own]
    if piece.kernel.params[own].writes or not reads or any([x.args != reads[0].args or len(x.args) > 1 for x in reads]):
        return None
    place = _places(chain, reads[0].args[0], g, size)
    if place is None:
        return None
    more = [b for b in piece.buffers if b != product]
    if 2 + len(more) + stored > caps.max_buffers:
        return None
    numbers = [0 if b == product else 1 + more.index(b) for b in piece.buffers]
    done: dict[S.Scalar, S.Scalar] = {}
    for x in walk([x for s in body for x in scalars(s)]):
        if x.op is S.LOAD:
            done[x] = S.scalar(S.LOAD, tuple([done[a] for a in x.args]), (numbers[x.params[0]],), x.dtype)
        else:
            rewrite([x], place, done)
    statements: tuple[Stmt, ...] = tuple([changed(s, buffer=numbers[s.buffer], index=done[s.index], value=done[s.value]) for s in body])
    params = [Param(piece.kernel.params[own].dtype, False), *[piece.kernel.params[piece.buffers.index(b)] for b in more]]
    if stored:
        load = done[reads[0]]
        statements += (Store(len(params), load.args[0], load),)
        params.append(Param(params[0].dtype, True))
        more.append(product)
    kernel = Kernel(tuple(params), statements, piece.kernel.work)
    return changed(g, epilogue=number(kernel), more=tuple(more))


def _chain(body: tuple[Stmt, ...]) -> tuple[list[Loop], tuple[Stmt, ...]]:
    """The loops of a kernel, each the only statement of the one around it, and what is inside of them."""
    chain: list[Loop] = []
    while len(body) == 1 and isinstance(body[0], Loop) and not body[0].carries and not body[0].states:
        chain.append(body[0])
        body = body[0].body
    return chain, body


def _places(chain: list[Loop], index: S.Scalar, g: Gemm, size: int) -> dict[S.Scalar, S.Scalar] | None:
    """The loop variables in terms of batch, row and column, where `index` goes once through all elements of the product."""
    variables = [S.var(loop.var, loop.extent) for loop in chain if loop.extent > 1]
    factors = {v: coefficient(index, v) for v in variables}
    if parts(index)[0] or any([not k for k in factors.values()]) or len(parts(index)[1]) != len(variables):
        return None
    step = 1
    for v in sorted(variables, key=lambda v: factors[v]):
        if factors[v] != step:
            return None
        step *= v.params[1]
    if step != size:
        return None
    flat = S.flat((S.var("batch", g.batch), S.var("row", g.m), S.var("col", g.n)), (g.batch, g.m, g.n))
    return {v: S.imod(S.ifloordiv(flat, factors[v]), v.params[1]) for v in variables}
