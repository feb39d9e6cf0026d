"""Program: a compiled plan as data: buffers, and the steps over them in order.

The compiler makes it from Terms; a backend turns it into something that runs. No device, no addresses, no Terms but
those a Host step names for printing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .aval import Aval
from .kernel import Kernel
from .record import record

PAD = 256          # bytes behind every buffer that a vector loop may overrun
ALIGN = 64         # bytes: the alignment of every buffer


@record
class Buffer:
    """`kind`: "input" (number: position among the inputs), "output" (position among the outputs) or "temp".

    A temp lies at byte `offset` of the arena. An output written in place of input i is a second name of that input:
    steps then refer to the input's buffer, and `Program.into` says so.
    """

    kind: str
    aval: Aval
    number: int = 0
    offset: int = 0


@record
class Call:
    """Run `kernels[kernel]` with these buffers as its parameters."""

    kernel: int
    buffers: tuple[int, ...]


@record
class Gemm:
    """C[batch] = A[batch] @ B[batch] (+ C where `accumulate`), float32 or float64, row-major.

    `a`, `b`, `c` are buffers; m, n, k the sizes of op(A) (m, k) and op(B) (k, n). `trans_a` means that A is stored as
    (k, m). lda, ldb, ldc are row strides in elements, `*_step` the stride of one batch entry (0 repeats the operand).
    Offsets are in elements.

    With an `epilogue` (a kernel's number) the product itself is not stored: for each of its elements the statements of
    that kernel run, which has no loops; its variables are VAR "batch", "row" and "col", a load of its parameter 0 is the
    element of the product, and parameter p > 0 is the buffer `more[p - 1]`. `c` is then not used.
    """

    a: int
    b: int
    c: int
    m: int
    n: int
    k: int
    lda: int
    ldb: int
    ldc: int
    trans_a: bool = False
    trans_b: bool = False
    accumulate: bool = False
    batch: int = 1
    a_step: int = 0
    b_step: int = 0
    c_step: int = 0
    a_offset: int = 0
    b_offset: int = 0
    c_offset: int = 0
    epilogue: int | None = None
    more: tuple[int, ...] = ()


@record
class Conv:
    """out[n, g, o, i] = Σ over c and k of x[n, g, c, i * stride + k * dilation - low] * w[g, o, c, k], 0 outside of x.

    `x`, `w`, `out` and `scratch` (of `Caps.convolves` bytes) are buffers; i and k are indices of `count` and `taps`, over as many axes as
    `sizes` has, which lie in row-major order. The strides of the other axes, in elements: `x_steps` (n, g, c), `w_steps` (g, o, c),
    `out_steps` (n, g, o). Where there are no more taps than results, the weights of one o lie one after another.
    """

    x: int
    w: int
    out: int
    scratch: int
    n: int
    groups: int
    c: int
    o: int
    sizes: tuple[int, ...]
    taps: tuple[int, ...]
    count: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    low: tuple[int, ...]
    x_steps: tuple[int, int, int]
    w_steps: tuple[int, int, int]
    out_steps: tuple[int, int, int]


@record
class Host:
    """Run `prim.numpy(*inputs, **params)` on NumPy views of whole buffers and copy the result into `out`.

    A Prim with several results gives a tuple: the others go into `more`.
    """

    prim: Any
    params: tuple[tuple[str, Any], ...]
    inputs: tuple[int, ...]
    out: int
    more: tuple[int, ...] = ()

    @property
    def outs(self) -> tuple[int, ...]:
        """All buffers it writes."""
        return (self.out, *self.more)


@record
class Repeat:
    """Run `body` once for each of `length` steps, or (`length` None) while `test` gives true. All but Programs are buffers.

    Inputs of the body: `consts`, the carries, a slice of each of `xs`; outputs: the carries, a slice of each of `ys`.
    Step i reads and writes entry i of the first axis, length - 1 - i where `reverse`. `test` has the inputs (consts,
    carries) and one bool; `flag` is the buffer of that, `trips` takes the number of steps (int32; None: not asked for).

    Before the first step carry j is in `init[j]`, after the last one in `carries[j]`. Where `body.into[j]` is None the
    steps write it to `carries[j]` and `spare[j]` in turns (what a step reads is never what it writes); else the body changes it in
    place, in `carries[j]`, and `spare[j]` is None. `scratch` is the arena of both Programs (None where they need none).

    Where Caps say "grid", all carries change in place, `init[j]` is `carries[j]`, there are no slices, bodies have temporaries
    of their own, and a loop of neither length nor test ends once the bool `flag`, one of its carries, is false: any number of
    further steps changes nothing.

    A fault ends the loop after the step that met it.
    """

    body: Any                          # a Program
    consts: tuple[int, ...]
    init: tuple[int, ...]
    xs: tuple[int, ...]
    carries: tuple[int, ...]
    ys: tuple[int, ...]
    spare: tuple[int | None, ...]
    scratch: int | None = None
    length: int | None = None
    reverse: bool = False
    test: Any = None                   # a Program
    flag: int | None = None
    trips: int | None = None


@record
class Branch:
    """Run `bodies[index]` on `inputs`, which writes `outputs`. `index`: a buffer of one number (bool or an integer), taken as
    the nearest of the bodies' numbers. All bodies have the same inputs and outputs; `scratch` is their arena.
    """

    bodies: tuple[Any, ...]            # Programs
    index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scratch: int | None = None


Step = Call | Gemm | Conv | Host | Repeat | Branch


@record
class Program:
    """A plan: `inputs` and `outputs` are buffer numbers in the caller's order.

    `into[j]` is the input position that output j overwrites in place (its buffer number is that input's), or None.
    `faults[code]` is what a kernel's Check reports: (operation, message). `work` is the estimated scalar operations.
    The bodies of Repeat and Branch steps are Programs without Host steps; they report the faults of the outermost one. Their
    inputs and outputs may lie inside of larger buffers: aligned like an element, with something else behind them.
    """

    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    into: tuple[int | None, ...]
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]
    arena: int
    faults: tuple[tuple[str, str], ...] = ()
    work: int = 0


def bodies(step: Step) -> tuple[Program, ...]:
    """The Programs inside of a step."""
    if isinstance(step, Repeat):
        return (step.body,) if step.test is None else (step.body, step.test)
    return step.bodies if isinstance(step, Branch) else ()


def every(program: Program) -> list[Step]:
    """The steps of a program and of all bodies in it."""
    found: list[Step] = []
    todo = [program]
    while todo:
        steps = todo.pop().steps
        found += steps
        todo += [p for s in steps for p in bodies(s)]
    return found


@record
class Caps:
    """What a backend can do; the compiler asks this and never the backend's name.

    `grid`: kernels run as many threads: outer loops whose steps are independent get mode "grid". `threads`: how many threads
    keep the device busy. `rows`: whether the threads of a group can share the inner loops of one grid step (else a
    grid step is one thread's). `epilogue`: the number of elements from which a product may have one (0: none may). `chunks`: loops may have a grain (see `kernel.Loop`).
    `convolves(step, dtype)`: the bytes of scratch memory that a Conv step of a dtype of `gemm_dtypes` takes (None: there are no such steps).
    """

    name: str
    scalar_ops: frozenset[tuple[str, str]]       # (scalar op, dtype name) it can emit
    dtypes: frozenset[str]                       # dtypes of kernels; others run as Host steps
    gemm_dtypes: frozenset[str]
    max_buffers: int = 1 << 30                   # parameters of one kernel
    grid: bool = False
    threads: int = 1
    rows: bool = False
    epilogue: int = 0
    turns: int = 0                               # of a loop in one grid step at most; 0: any number
    chunks: bool = False
    convolves: Callable[[Conv, np.dtype], int] | None = None
