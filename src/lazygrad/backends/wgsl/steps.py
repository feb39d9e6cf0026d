"""Steps: the shader of every step of a Program, found by structure, and what a step reads, costs and is called.

In: a Program and Traits. Out: `Shader`s, each made once in a process for all programs that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ...ir.kernel import Accumulate, Assign, Combine, Kernel, Loop, Stmt, Store
from ...ir.program import Call, Gemm, Host, Program, Step
from ...ir.record import changed
from ...ir.scalar import Scalar
from . import gemm, kernels
from .traits import Shader, Traits

KEPT = 4096                        # shaders kept in the process


# ---- shaders, by structure --------------------------------------------------------------------------------------------

_shaders: dict[tuple, Shader] = {}


def structure(kernel: Kernel) -> tuple:
    """What decides a kernel's text: equal for kernels of two plans that do the same. Linear in the shared scalars."""
    number: dict[Scalar, int] = {}
    rows: list[tuple] = []

    def scalar(root: Scalar) -> int:
        stack = [root]
        while stack:
            s = stack[-1]
            waiting = [a for a in s.args if a not in number] if s not in number else []
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            if s not in number:
                params = s.params                # a constant's is its text: 0.0, -0.0 and NaN are apart
                number[s] = len(rows)
                rows.append((s.op.name, s.dtype.name, params, tuple([number[a] for a in s.args])))
        return number[root]

    def statement(s: Stmt) -> tuple:
        if isinstance(s, Loop):
            carries = tuple([(c.name, c.monoid, c.dtype.name) for c in s.carries])
            states = tuple([(c.name, c.dtype.name, scalar(c.start)) for c in s.states])
            test = None if s.test is None else scalar(s.test)
            return "loop", s.var, s.extent, s.mode, s.overrun, carries, states, test, tuple([statement(t) for t in s.body])
        if isinstance(s, Store):
            return "store", s.buffer, scalar(s.index), scalar(s.value)
        if isinstance(s, Combine):
            return "combine", s.buffer, scalar(s.index), s.monoid, scalar(s.value)
        if isinstance(s, Accumulate):
            return "accumulate", s.carry, scalar(s.value)
        if isinstance(s, Assign):
            return "assign", s.state, scalar(s.value)
        return "check", scalar(s.ok), s.code

    body = tuple([statement(s) for s in kernel.body])
    return tuple([(p.dtype.name, p.writes) for p in kernel.params]), body, tuple(rows)


def _kept(key: tuple, make: Any) -> Shader:
    found = _shaders.get(key)
    if found is None:
        if len(_shaders) >= KEPT:
            _shaders.clear()
        found = _shaders[key] = make()
    return found


def first_places(buffers: Sequence[int]) -> tuple[int, ...]:
    """For every buffer, its first place.

    >>> first_places([7, 9, 7])
    (0, 1, 0)
    """
    seen: dict[int, int] = {}
    return tuple([seen.setdefault(b, i) for i, b in enumerate(buffers)])


class Writer:
    """The shaders of one program; a kernel's structure is looked at once. `tuner`: a `tune.Tuner` that has measured choices."""

    def __init__(self, program: Program, traits: Traits, tuner: Any = None) -> None:
        self.program, self.traits, self.tuner = program, traits, tuner
        self.structure = cache(lambda number: structure(program.kernels[number]))

    def shader(self, step: Call | Gemm) -> tuple[Shader, tuple[int, ...]]:
        """The shader of a step, and the buffers of its parameters."""
        program = self.program
        touched = parameters(step)
        sizes = tuple([program.buffers[b].aval.size for b in touched])
        places = first_places(touched)
        if isinstance(step, Call):
            aliases = None if len(set(touched)) == len(touched) else places
            key = ("kernel", self.structure(step.kernel), self.traits, sizes, aliases)
            kernel = program.kernels[step.kernel]
            threads = 0 if self.tuner is None else self.tuner.threads(kernel, key[1], sizes, aliases)
            return _kept((*key, threads), lambda: kernels.shader(kernel, self.traits, sizes, aliases, threads)), touched
        # buffers are numbered by their first place, so that products which differ in nothing else are one shader
        a, b, *rest = places
        renamed = changed(step, a=a, b=b, c=2 if step.epilogue is not None else rest[0], more=tuple(rest) if step.epilogue is not None else (),
                          epilogue=None if step.epilogue is None else 0)
        dtype = program.buffers[step.a].aval.dtype
        epilogue = None if step.epilogue is None else program.kernels[step.epilogue]
        form = None if step.epilogue is None else self.structure(step.epilogue)
        choice = None if self.tuner is None else self.tuner.choice(renamed, dtype)
        key = ("gemm", renamed, dtype.name, form, self.traits, sizes, choice)
        return _kept(key, lambda: gemm.shader(renamed, dtype, self.traits, epilogue, sizes, choice)), touched


# ---- steps --------------------------------------------------------------------------------------------------------------

def parameters(step: Step) -> tuple[int, ...]:
    """The buffers of a step: of a kernel or a product in the order of its shader's parameters, of a Host step inputs and output."""
    if isinstance(step, Call):
        return step.buffers
    if isinstance(step, Gemm):
        return (step.a, step.b, *(step.more if step.epilogue is not None else (step.c,)))
    return (*step.inputs, *step.outs)


def work(step: Step, program: Program) -> int:
    """Estimated scalar operations of a step."""
    if isinstance(step, Call):
        return program.kernels[step.kernel].work
    return 2 * step.batch * step.m * step.n * step.k if isinstance(step, Gemm) else 0


def title(step: Step, program: Program) -> str:
    """One line: what a step does, to which buffers."""
    def name(b: int) -> str:
        return f"b{b} {program.buffers[b].aval}"

    if isinstance(step, Host):
        down = ", ".join([name(b) for b in step.inputs]) or "nothing"
        return f"host: {step.prim} by NumPy: downloads {down}; uploads {', '.join([name(b) for b in step.outs])}"
    about = ", ".join([name(b) for b in parameters(step)])
    if isinstance(step, Call):
        return f"kernel {step.kernel}: {about}"
    batch = f"{step.batch} x " if step.batch > 1 else ""
    more = "" if step.epilogue is None else f", then kernel {step.epilogue}"
    return f"product {batch}({step.m}, {step.k}) @ ({step.k}, {step.n}){more}: {about}"
