"""Explain: what every pass made of a graph, as text: Terms, groups, kernels, steps, buffers and bytes moved.

In: what `compile` takes, or parts of what it made. Out: lines for people and golden tests. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import kernel as K
from ..ir.function import Body
from ..ir.program import Branch, Call, Conv, Gemm, Program, Repeat, Step, bodies
from ..ir.term import Term, toposort
from ..prims.base import Control, Host
from . import memory
from .cut import LATE, Cut
from .flow import UNKNOWN

NAMES = ("body", "test")           # of a loop's Programs


def terms(roots: Sequence[Term], sources: Sequence[Term]) -> list[str]:
    """One line per Term, arguments first; sources are named by position."""
    names = {s: f"in{i}" for i, s in enumerate(sources)}
    lines = [f"{name}: {s.aval}" for s, name in names.items()]
    for t in toposort(roots):
        if t in names:
            continue
        names[t] = f"%{len(names) - len(sources)}"
        static = [str(t.params[1])] if t.op.name == "full" else [f"{k}={v}" for k, v in t.keywords.items() if not _bodies(v)]
        lines.append(f"{names[t]} = {t.op}({', '.join([names[a] for a in t.args] + static)}): {t.aval}")
        for k, v in t.keywords.items():
            for body in _bodies(v):
                lines += [f"  {k}:", *["    " + line for line in terms(body.results, body.params)]]
    lines.append("return " + ", ".join([names[r] for r in roots]))
    return lines


def _bodies(value: Any) -> tuple[Body, ...]:
    """The bodies that a static parameter is."""
    if isinstance(value, Body):
        return (value,)
    return value if isinstance(value, tuple) and value and isinstance(value[0], Body) else ()


def groups(parts: Cut, sources: Sequence[Term]) -> list[str]:
    """One line per step to be: its stage, kind, index space and what it computes."""
    return [f"stage {'last' if g.stage == LATE else g.stage}, {g.kind} over {g.space}: " + ", ".join([f"{t.op} -> {t.aval}" for t in g.members])
            for g in parts.groups]


def step(s: Step, program: Program) -> str:
    """A step as a call on named buffers, with the bytes it moves."""
    name = [f"{b.kind}{b.number}" for b in program.buffers]
    moved = f"  # {traffic(s, program)} bytes"
    if isinstance(s, Call):
        return f"kernel{s.kernel}({', '.join([name[b] for b in s.buffers])}){moved}"
    if isinstance(s, Gemm):
        a, b = name[s.a] + ("ᵀ" if s.trans_a else ""), name[s.b] + ("ᵀ" if s.trans_b else "")
        batch = f"{s.batch} x " if s.batch > 1 else ""
        if s.epilogue is not None:
            more = ", ".join([name[b] for b in s.more])
            return f"kernel{s.epilogue}({a} @ {b}, {more})  ({batch}m={s.m}, n={s.n}, k={s.k}){moved}"
        return f"{name[s.c]} {'+=' if s.accumulate else '='} {a} @ {b}  ({batch}m={s.m}, n={s.n}, k={s.k}){moved}"
    if isinstance(s, Conv):
        return f"{name[s.out]} = conv {name[s.x]} with {name[s.w]}  ({convolved(s)}){moved}"
    if isinstance(s, Repeat):
        often = f"{s.length} times{' from the end' if s.reverse else ''}" if s.length is not None else "while its test holds"
        into = [name[a] + (" in place" if b is None else "") for a, b in zip(s.carries, s.spare, strict=True)]
        parts = [f"carries {', '.join([f'{name[a]} -> {b}' for a, b in zip(s.init, into, strict=True)])}"] * bool(s.carries)
        parts += [f"rows of {', '.join([name[b] for b in s.xs])}"] * bool(s.xs) + [f"rows to {', '.join([name[b] for b in s.ys])}"] * bool(s.ys)
        parts += [f"reads {', '.join([name[b] for b in s.consts])}"] * bool(s.consts)
        return f"loop {often}: {'; '.join(parts)}{moved}"
    if isinstance(s, Branch):
        return f"{', '.join([name[b] for b in s.outputs])} = branch {name[s.index]} of {len(s.bodies)} on {', '.join([name[b] for b in s.inputs])}{moved}"
    if isinstance(s.prim.lowering, Control):
        only = ", ".join(_numpy_only([b for _, v in s.params for b in _bodies(v)]))
        moved = f"; interpreted step by step, as only NumPy has {only or 'its dtypes'}{moved}"
    return f"{', '.join([name[b] for b in s.outs])} = host {s.prim}({', '.join([name[b] for b in s.inputs])}){moved}"


def convolved(s: Conv) -> str:
    """The sizes of a convolution."""
    groups = f"{s.groups} x " if s.groups > 1 else ""
    return f"n={s.n}, {groups}{s.c} -> {s.o} channels, {s.taps} taps, {s.count} results"


def _numpy_only(bodies: Sequence[Body]) -> list[str]:
    """The operations in bodies that no backend has code for."""
    found: dict[str, None] = {}
    todo = list(bodies)
    for body in todo:
        for t in toposort(body.results):
            if isinstance(t.op.lowering, Host):
                found[t.op.name] = None
            todo += [b for v in t.params for b in _bodies(v)]
    return list(found)


def traffic(s: Step, program: Program) -> int:
    """Bytes of the buffers that a step reads or writes, each counted once; of a loop, those of all its steps (of UNKNOWN ones)."""
    if isinstance(s, Repeat):
        return (UNKNOWN if s.length is None else s.length) * sum([traffic(t, p) for p in bodies(s) for t in p.steps])
    if isinstance(s, Branch):
        return max([sum([traffic(t, p) for t in p.steps]) for p in s.bodies])
    touched = {*memory.reads(s, program.kernels), *memory.writes(s, program.kernels)}
    return sum([program.buffers[b].aval.nbytes for b in touched])


def text(passes: Sequence[tuple[str, Sequence[Term]]], parts: Cut, program: Program, sources: Sequence[Term]) -> str:
    """The whole story of a compilation."""
    lines: list[str] = []
    for name, roots in passes:
        lines += [f"== {name}", *terms(roots, sources)]
    lines += ["== cut", *groups(parts, sources), *steps(program)]
    return "\n".join(lines) + "\n"


def steps(program: Program) -> list[str]:
    """Kernels, steps and buffers of a program, and below each loop or branch those of its bodies."""
    lines = ["== kernels"]
    for number, kernel in enumerate(program.kernels):
        lines += [f"kernel{number} = {K.text(kernel)}"]
    lines.append("== steps")
    for s in program.steps:
        lines.append(step(s, program))
        for name, body in zip(NAMES if isinstance(s, Repeat) else map(str, range(99)), bodies(s), strict=False):
            lines += [f"  {name}:", *["    " + line for part in steps(body) for line in part.split("\n")]]
    lines.append("== buffers")
    for b in program.buffers:
        at = f" at {b.offset}" if b.kind == "temp" else ""
        lines.append(f"{b.kind}{b.number}: {b.aval}, {b.aval.nbytes} bytes{at}")
    total = sum([traffic(s, program) for s in program.steps])
    return [*lines, f"arena {program.arena} bytes, {total} bytes moved, {program.work} operations"]
