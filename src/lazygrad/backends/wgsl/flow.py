"""Flow: loops and branches of a Program as its steps in a row, each written once, and a tree that says which run when and how often.

In: a Program. Out: a Program without loops and branches, the tree over its steps, and what every step keeps alive. Running the
tree is `program`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ir.kernel import Kernel
from ...ir.program import Branch, Buffer, Call, Gemm, Program, Repeat, Step
from ...ir.record import changed, record
from .steps import parameters


@record
class Replay:
    """The same steps again and again; a number of times, or (None) until `flag` is false.

    `test`: steps that write `flag`, to be run before each turn; none where turns after the last one change nothing.
    """

    body: tuple[Node, ...]
    length: int | None
    flag: int | None = None
    test: tuple[Node, ...] = ()


@record
class Choose:
    """The nearest of these to the number in buffer `index`."""

    index: int
    bodies: tuple[tuple[Node, ...], ...]


Node = int | Replay | Choose       # a number: the step


@record
class Flat:
    """`traffic[p]`: the buffers that step p needs alive."""

    program: Program
    nodes: tuple[Node, ...]
    traffic: tuple[tuple[int, ...], ...]


def flattened(program: Program) -> Flat:
    """A Program with its loops and branches taken apart; it stays as it is where it has none."""
    w = _Flattener(program)
    nodes = w.nodes(program, list(range(len(program.buffers))))
    flat = program if all([n.__class__ is int for n in nodes]) else changed(
        program, buffers=tuple(w.buffers), steps=tuple(w.steps), kernels=tuple(w.kernels))
    return Flat(flat, nodes, tuple([tuple(t) for t in w.traffic]))


class _Flattener:
    def __init__(self, program: Program) -> None:
        self.buffers = list(program.buffers)
        self.kernels: dict[Kernel, int] = {k: n for n, k in enumerate(program.kernels)}
        self.steps: list[Step] = []
        self.traffic: list[list[int]] = []

    def nodes(self, program: Program, number: list[int]) -> tuple[Node, ...]:
        """The steps of a Program whose buffer b is `number[b]` here."""
        return tuple([self.node(s, program, number) for s in program.steps])

    def node(self, s: Step, program: Program, number: list[int]) -> Node:
        first = len(self.steps)
        if isinstance(s, Repeat):
            given = [number[b] for b in (*s.consts, *s.carries)]
            flag = None if s.flag is None else number[s.flag]
            test = () if s.test is None else self.body(s.test, [*given, flag])
            node: Node = Replay(self.body(s.body, given), s.length, flag if s.length is None else None, test)
            self.alive(first, [*given, *([] if flag is None else [flag])])
            return node
        if isinstance(s, Branch):
            given = [number[b] for b in (*s.inputs, *s.outputs)]
            node = Choose(number[s.index], tuple([self.body(b, given) for b in s.bodies]))
            self.alive(first, [*given, number[s.index]])
            return node
        if isinstance(s, Call):
            s = Call(self.kernels.setdefault(program.kernels[s.kernel], len(self.kernels)), tuple([number[b] for b in s.buffers]))
        elif isinstance(s, Gemm):
            epilogue = s.epilogue if s.epilogue is None else self.kernels.setdefault(program.kernels[s.epilogue], len(self.kernels))
            s = changed(s, a=number[s.a], b=number[s.b], c=number[s.c], more=tuple([number[b] for b in s.more]), epilogue=epilogue)
        self.steps.append(s)                     # (a Host step is never in a body)
        self.traffic.append(list(parameters(s)))
        return first

    def body(self, program: Program, given: list[int]) -> tuple[Node, ...]:
        """A body on buffers: inputs, then outputs; its temporaries become ones of the whole."""
        places = {b: given[i] for i, b in enumerate(program.inputs)}
        outputs = iter(given[len(program.inputs):])
        places |= {b: next(outputs) for b, i in zip(program.outputs, program.into, strict=True) if i is None}
        number = []
        for b, buffer in enumerate(program.buffers):
            if b not in places:
                places[b] = len(self.buffers)
                self.buffers.append(Buffer("temp", buffer.aval, len(self.buffers)))
            number.append(places[b])
        return self.nodes(program, number)

    def alive(self, first: int, buffers: Iterable[int]) -> None:
        """What a loop or branch reads and writes lives from its first step to its last one."""
        for p in {first, len(self.steps) - 1}:
            if first <= p < len(self.steps):
                self.traffic[p] += buffers


def repeats(nodes: Iterable[Node], often: int = 1) -> dict[int, int]:
    """How often each step runs; 0 where that is not known before."""
    found: dict[int, int] = {}
    for n in nodes:
        if n.__class__ is int:
            found[n] = often
        elif isinstance(n, Replay):
            found |= repeats((*n.body, *n.test), often * (n.length or 0))
        else:
            for body in n.bodies:
                found |= repeats(body, 0)
    return found
