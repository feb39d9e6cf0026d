"""Gemm results: what becomes of the elements of a product: they are stored, added to what is there, or go through an
epilogue.

All of it is one function `finish(batch, row, col, v)` of a shader: v holds four columns from `col` on, of which those
below n count. The statements of an epilogue are written by the writer of kernels, four columns at a time where its
stores allow that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.kernel import Check, Kernel, Loop
from ...ir.program import Gemm
from ...ir.scalar import LOAD, Scalar
from . import windows
from .accesses import GATHERS, Facts, Lane, Plan, Planner, below, roots
from .arrays import Arrays
from .kernels import Writer
from .text import Module, load_value, store_value, type_name
from .traits import Traits
from .values import Values, Variable

PRODUCT = 0                     # the parameter of an epilogue that stands for the element of the product
VARIABLES = ("batch", "row", "col")


def store(g: Gemm, dtype: np.dtype, arrays: Arrays) -> list[str]:
    """`finish` without an epilogue: C (parameter 2) takes the element."""
    c = arrays.by_param[2]
    out = [f"fn finish(batch: u32, row: u32, col: u32, v: {type_name(dtype, 4)}) {{",
           f"  let i = {g.c_offset}u + batch * {g.c_step}u + row * {g.ldc}u + col;"]
    if c.packed:
        value = f"{load_value(dtype, c.load_quad('i / 4u'), 4)} + v" if g.accumulate else "v"
        return [*out, *["  " + line for line in c.store_quad("i / 4u", store_value(dtype, value, 4))], "}"]
    for x in range(4):
        at, value = (f"i + {x}u" if x else "i"), f"v.{'xyzw'[x]}"
        test = f"if (col + {x}u < {g.n}u) " if g.n % 4 and x else ""
        value = f"{load_value(dtype, c.load(at))} + {value}" if g.accumulate else value
        out.append(f"  {test}{{ {c.store(at, store_value(dtype, value))} }}")
    return [*out, "}"]


class _Facts(Facts):
    """The product differs from element to element, whatever index it is loaded at."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        seen: dict = {}
        for x in below(roots(kernel.body), seen):
            seen[x] = None
            if x.op is LOAD and x.params[0] == PRODUCT:
                self._names[x] = frozenset(VARIABLES)


class _Values(Values):
    """Loads of the product are the argument `v`."""

    def _load(self, x: Scalar, lanes: int, lines: list[str]) -> str:
        return "v" if x.params[0] == PRODUCT else super()._load(x, lanes, lines)


class Epilogue:
    """An epilogue's kernel over the buffers `more`, which are the shader's parameters from 2 on.

    `turned`: rows and columns have changed places, so "row" is the variable that goes four at a time. `same[p]`: the
    shader's parameter for the kernel's p; one for all that are the same buffer.
    """

    def __init__(self, kernel: Kernel, g: Gemm, turned: bool, traits: Traits) -> None:
        if any([isinstance(s, Loop) for s in kernel.body]):
            raise ValueError("an epilogue has no loops")
        self.kernel, self.g, self.traits = kernel, g, traits
        self.same = (-1, *[2 + g.more.index(b) for b in g.more])
        self.written = frozenset([self.same[p] for p, param in enumerate(kernel.params) if param.writes])
        if any([g.more[p - 2] in (g.a, g.b) for p in self.written]):
            raise ValueError("the epilogue of a product writes one of its factors, which other elements still read")
        self.facts = _Facts(kernel)
        self.variables = ("batch", "col", "row") if turned else VARIABLES        # of the arguments batch, row, col
        lane = Lane(self.variables[2], True)
        planner = Planner(kernel, traits, self.same, self.written, self.facts)
        slopes = [(a, self.facts.slope(a.index, lane)) for a in planner.accesses if a.buffer >= 0]
        quads = g.n % 4 == 0 and not any([a.writes and slope == 0 for a, slope in slopes])
        quads = quads and sum([slope != 0 and not planner.quad(a, lane) for a, slope in slopes]) <= GATHERS
        self.lane = lane if quads else None
        self.accesses = [a for a, _ in slopes]
        self.used = sorted({a.buffer for a in self.accesses})
        self.packed = planner.packed(lane, frozenset()) - {-1} if quads else frozenset()
        self.faults = any([isinstance(s, Check) for s in kernel.body])

    def touched(self, *spans: tuple[int, int]) -> windows.Touched:
        """The elements of each parameter that batches, rows and columns from the first to the last read and write."""
        return windows.touched(self.accesses, Facts(dict(zip(self.variables, spans, strict=True))))

    def function(self, dtype: np.dtype, arrays: Arrays, module: Module) -> list[str]:
        """`finish`, and what it calls."""
        values = _Values(module, arrays, self.same, self.written, self.facts)
        values.lane = self.lane
        plan = Plan((), self.kernel.body, self.lane, frozenset(), frozenset(), frozenset(), 0)
        for name, argument in zip(self.variables, VARIABLES, strict=True):
            values.define(name, Variable(argument, "quad" if argument == "col" else ""))
        held = self.kernel.params[PRODUCT].dtype
        lanes = 4 if self.lane else 0
        writer = Writer(self.kernel, self.traits, plan, values)
        writer.statements(list(self.kernel.body))
        rounded = load_value(held, store_value(held, "sum", lanes), lanes)
        body = [f"let v = {rounded};", *values.lines]
        head = f"(batch: u32, row: u32, col: u32, sum: {type_name(dtype, lanes)}) {{"
        if self.lane:
            return [f"fn finish{head}", "  let quad = col / 4u;", *["  " + line for line in body], "}"]
        calls = []
        for x in range(4):
            test = f"if (col + {x}u < {self.g.n}u) " if self.g.n % 4 and x else ""
            calls.append(f"  {test}{{ one(batch, row, col + {x}u, sum.{'xyzw'[x]}); }}")
        return [f"fn one{head}", *["  " + line for line in body], "}",
                f"fn finish(batch: u32, row: u32, col: u32, sum: {type_name(dtype, 4)}) {{", *calls, "}"]


def output_packed(g: Gemm, dtype: np.dtype, sizes: Sequence[int]) -> bool:
    """Whether C is written in quads."""
    aligned = g.n % 4 == 0 and (g.m == 1 or g.ldc % 4 == 0)
    aligned = aligned and g.c_offset % 4 == 0 and (g.batch == 1 or g.c_step % 4 == 0)
    return aligned and (dtype.itemsize <= 4 or sizes[2] % 4 == 0)
