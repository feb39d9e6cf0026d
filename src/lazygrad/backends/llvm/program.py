"""Programs as LLVM text: a `body(ptr args)` that runs the steps in order, or several segments between Host steps.

In: a Program and a Target. Out: `Emitted`. Long programs are a table that one loop reads, so that compile time follows
the number of different kernels and not the number of calls.
"""

from __future__ import annotations

from ...ir.program import Branch, Call, Conv, Gemm, Host, Program, Repeat, every
from ...ir.record import changed, record
from . import blas, convolution, epilogue, flow, gemm, kernels, portions, regions
from .flow import ARENA, FIRST
from .target import Target
from .text import Function, Module, element

DIRECT = 64                      # calls of one segment that are written out; more become a table
SLOT_BITS = 20                   # a table entry is slot + (byte offset << SLOT_BITS)


@record
class Emitted:
    """`text` of a whole module. `parts` in order: names of functions `void name(ptr args)`, and Host steps between them.

    `regions`: whether there is work for the threads of the pool.
    """

    text: str
    parts: tuple[str | Host, ...]
    blas: bool
    regions: bool


def emit(program: Program, target: Target, name: str = "body") -> Emitted:
    """The native form of a program. Without Host steps there is one part, called `name`, even when it does nothing."""
    w = _Writer(program, target)
    segments: list[list[tuple[str, tuple[int, ...]]] | Host] = [[]]
    for step in program.steps:
        if isinstance(step, Host):
            segments.extend((step, []))
        else:
            segments[-1].append(w.callee(step))
    several = len(segments) > 1
    parts: list[str | Host] = []
    for number, s in enumerate(segments):
        if isinstance(s, Host):
            parts.append(s)
        elif s or not several:
            parts.append(f"{name}{number // 2}" if several else name)
            w.segment(parts[-1], s)
    return Emitted(w.module.text(), tuple(parts), multiplies(program), regions.NAME in w.module.helpers)


def multiplies(program: Program) -> bool:
    """Whether a program, or a body in it, has matrix products."""
    return any([isinstance(s, Gemm) for s in every(program)])


class _Writer:
    """The module of one program and of the bodies in it: its kernels, products and loops, each written once.

    A body has a writer of its own that shares all but the program with the one `around` it.
    """

    def __init__(self, program: Program, target: Target, around: _Writer | None = None) -> None:
        self.program, self.target = program, target
        self.module: Module = around.module if around else Module(target.has)
        self.kernels: dict[tuple, str] = around.kernels if around else {}
        self.products: dict[tuple, str] = around.products if around else {}
        self.bodies: dict[Program, str] = around.bodies if around else {}
        self.flows: dict[tuple, str] = around.flows if around else {}
        self.aliases = self._aliases()

    def _aliases(self) -> dict[int, tuple[frozenset[int], bool]]:
        """By kernel: the parameters whose memory some call writes, and whether no call passes one buffer twice."""
        found: dict[int, tuple[set[int], bool]] = {}
        for step in self.program.steps:
            if not isinstance(step, Call):
                continue
            params = self.program.kernels[step.kernel].params
            if step.kernel not in found:
                found[step.kernel] = ({i for i, p in enumerate(params) if p.writes}, True)
            written, _ = found[step.kernel]
            if len(set(step.buffers)) < len(step.buffers):
                changed = {b for i, b in enumerate(step.buffers) if params[i].writes}
                written |= {i for i, b in enumerate(step.buffers) if b in changed}
                found[step.kernel] = written, False
        return {k: (frozenset(w), d) for k, (w, d) in found.items()}

    def callee(self, step: Call | Gemm | Conv | Repeat | Branch) -> tuple[str, tuple[int, ...]]:
        """The function that does a step, and the buffers it is given."""
        if isinstance(step, Gemm):
            return self.product(step), (step.a, step.b, *([step.c] if step.epilogue is None else step.more))
        if isinstance(step, Conv):
            return self.convolution(step), (step.x, step.w, step.out, step.scratch)
        if isinstance(step, Repeat | Branch):
            return flow.function(self, step)
        key = (self.program.kernels[step.kernel], *self.aliases[step.kernel])
        name = self.kernels.get(key)
        if name is None:
            name = self.kernels[key] = f"k{len(self.kernels)}"
            kernels.write(self.module, name, key[0], self.target.lanes_bytes, *key[1:])
        return name, step.buffers

    def body(self, program: Program) -> str:
        """The function `(ptr args)` of a body."""
        name = self.bodies.get(program)
        if name is None:
            name = self.bodies[program] = f"p{len(self.bodies)}"
            inner = _Writer(program, self.target, self)
            inner.segment(name, [inner.callee(step) for step in program.steps], "internal ")
        return name

    # ---- segments
    def place(self, buffer: int) -> tuple[int, int]:
        """A buffer as (position in args, bytes behind that pointer)."""
        b = self.program.buffers[buffer]
        if b.kind == "temp":
            return ARENA, b.offset
        return FIRST + b.number + (len(self.program.inputs) if b.kind == "output" else 0), 0

    def segment(self, name: str, calls: list[tuple[str, tuple[int, ...]]], linkage: str = "") -> None:
        """Add the function `name` that makes these calls."""
        fn = Function(self.module, f"define {linkage}void @{name}(ptr %x) nounwind")
        if len(calls) <= DIRECT:
            known: dict[int, str] = {}
            for callee, buffers in calls:
                for b in buffers:
                    if b not in known:
                        known[b] = self.pointer(fn, *self.place(b))
                self.call(fn, callee, [known[b] for b in buffers])
        else:
            self.table(fn, name, calls)
        self.module.functions.append(fn.text())

    @staticmethod
    def pointer(fn: Function, slot: int, offset: int) -> str:
        entry = fn.emit(f"getelementptr ptr, ptr %x, i64 {slot}")
        base = fn.emit(f"load ptr, ptr {entry}, align 8")
        return fn.emit(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    @staticmethod
    def call(fn: Function, callee: str, pointers: list[str]) -> None:
        fn.line(f"call void @{callee}({', '.join([f'ptr {p}' for p in [*pointers, '%x']])})")

    def table(self, fn: Function, name: str, calls: list[tuple[str, tuple[int, ...]]]) -> None:
        """A loop over words: number of the callee, then its buffers; -1 ends it."""
        callees = {c: (n, len(b)) for n, (c, b) in enumerate(dict(calls).items())}
        words: list[int] = []
        for callee, buffers in calls:
            words.append(callees[callee][0])
            for b in buffers:
                slot, offset = self.place(b)
                words.append(slot + (offset << SLOT_BITS))
        words.append(-1)
        values = ", ".join([f"i64 {w}" for w in words])
        self.module.globals.append(f"@{name}.steps = internal constant [{len(words)} x i64] [{values}]")
        fn.line("br label %next")
        fn.begin("next")
        arrivals = ", ".join([f"[ %p{n}, %case{n} ]" for n, _ in callees.values()])
        fn.line(f"%p = phi ptr [ @{name}.steps, %entry ], {arrivals}")
        number = fn.emit("load i64, ptr %p, align 8")
        cases = " ".join([f"i64 {n}, label %case{n}" for n, _ in callees.values()])
        fn.line(f"switch i64 {number}, label %end [ {cases} ]")
        for callee, (n, arity) in callees.items():
            fn.begin(f"case{n}")
            pointers = []
            for j in range(arity):
                at = fn.emit(f"getelementptr i64, ptr %p, i64 {j + 1}")
                word = fn.emit(f"load i64, ptr {at}, align 8")
                slot = fn.emit(f"and i64 {word}, {(1 << SLOT_BITS) - 1}")
                entry = fn.emit(f"getelementptr ptr, ptr %x, i64 {slot}")
                base = fn.emit(f"load ptr, ptr {entry}, align 8")
                offset = fn.emit(f"lshr i64 {word}, {SLOT_BITS}")
                pointers.append(fn.emit(f"getelementptr i8, ptr {base}, i64 {offset}"))
            self.call(fn, callee, pointers)
            fn.line(f"%p{n} = getelementptr i64, ptr %p, i64 {arity + 1}")
            fn.line("br label %next")
        fn.begin("end")

    # ---- matrix products
    def product(self, g: Gemm) -> str:
        """The function for products of this form: `(ptr a, ptr b, ptr c, ptr x)`, the buffers of its epilogue in c's place."""
        dtype = self.program.buffers[g.a].aval.dtype
        if g.epilogue is None:
            return self.multiplication(g, dtype)
        kernel, same = self.program.kernels[g.epilogue], tuple([g.more.index(b) for b in g.more])       # buffers that come twice
        key = (dtype, changed(g, a=0, b=0, c=0, epilogue=0, more=()), kernel, same)
        name = self.products.get(key)
        if name is None:
            name = self.products[key] = f"g{len(self.products)}"
            epilogue.write(self.module, name, g, dtype, kernel, same, self.target, lambda part: self.multiplication(part, dtype, True))
        return name

    def multiplication(self, g: Gemm, dtype, alone: bool = False) -> str:
        """The function for products like `g`; `alone`: as a portion of one, which is not divided again."""
        if g.batch > 1 and g.b_step == 0 and not g.trans_a and g.a_step == g.m * g.lda and g.c_step == g.m * g.ldc:
            g = changed(g, m=g.m * g.batch, batch=1)       # the rows of all batch entries are one matrix
        key = (dtype, changed(g, a=0, b=0, c=0), alone)
        name = self.products.get(key)
        if name is None:
            name = self.products[key] = f"g{len(self.products)}"
            tiling = gemm.tiling(g, dtype, self.target)
            shares = None if alone else portions.portions(g, dtype, tiling)
            if shares is not None:
                portions.write(self.module, name, g, element(dtype), shares, lambda part: self.multiplication(part, dtype, True))
            elif tiling is None:
                blas.write(self.module, name, g, dtype, self.target.ilp64)
            else:
                gemm.write(self.module, name, g, dtype, tiling)
        return name

    def convolution(self, v: Conv) -> str:
        """The function for convolutions of this form: `(ptr x, ptr w, ptr out, ptr scratch, ptr args)`."""
        dtype = self.program.buffers[v.out].aval.dtype
        key = (dtype, changed(v, x=0, w=0, out=0, scratch=0))
        name = self.products.get(key)
        if name is None:
            name = self.products[key] = f"g{len(self.products)}"
            convolution.write(self.module, name, v, dtype, self.target)
        return name
