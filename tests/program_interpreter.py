"""A slow executor of Programs on NumPy buffers, step by step: what the compiler means, without any code generator.

In: a Program and the input arrays. Out: the output arrays, the inputs after the run, and the faults reported. Buffers lie
in one arena as the Program says, with the padding of the agreement, so a wrong offset or lifetime shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scalar_interpreter import Machine, run_kernel

from lazygrad.ir.kernel import Kernel
from lazygrad.ir.program import PAD, Call, Gemm, Host, Program


def run_program(program: Program, inputs: Sequence[np.ndarray],
                order: Callable[[int], Iterable[int]] = range) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(outputs, inputs after the run); the steps of grid loops run in `order`."""
    arena = np.full(program.arena + PAD, 0x5A, np.uint8)
    flat: list[np.ndarray] = []
    for b in program.buffers:
        size, dtype = b.aval.size, b.aval.dtype
        if b.kind == "temp":
            stop = b.offset + (b.aval.nbytes + PAD if size > 1 else b.aval.nbytes)
            flat.append(arena[b.offset:stop - (stop - b.offset) % dtype.itemsize].view(dtype))
            continue
        made = np.zeros(size + PAD // dtype.itemsize, dtype)
        made[size:] = 77
        if b.kind == "input":
            made[:size] = np.ravel(inputs[b.number])
        flat.append(made)
    arrays = [f[:b.aval.size].reshape(b.aval.shape) for f, b in zip(flat, program.buffers, strict=True)]
    fault = 0
    for step in program.steps:
        if isinstance(step, Call):
            fault = fault or run_kernel(program.kernels[step.kernel], [flat[b] for b in step.buffers], order)
        elif isinstance(step, Gemm):
            fault = run_gemm(step, flat, program.kernels) or fault
        elif isinstance(step, Host):
            with np.errstate(all="ignore"):
                arrays[step.out][...] = step.prim.numpy(*[arrays[b] for b in step.inputs], **dict(step.params))
    if fault:
        op, message = program.faults[fault - 1]
        raise IndexError(f"{op}: {message}")
    return [arrays[b].copy() for b in program.outputs], [arrays[b].copy() for b in program.inputs]


def run_gemm(g: Gemm, flat: Sequence[np.ndarray], kernels: Sequence[Kernel] = ()) -> int:
    """One Gemm step, entry by entry through strides; the fault cell of its epilogue."""
    def factor(buffer, offset, rows, cols, ld, trans):
        i, j = np.ogrid[:rows, :cols]
        return flat[buffer][offset + (j * ld + i if trans else i * ld + j)]

    fault = 0
    for e in range(g.batch):
        a = factor(g.a, g.a_offset + e * g.a_step, g.m, g.k, g.lda, g.trans_a)
        b = factor(g.b, g.b_offset + e * g.b_step, g.k, g.n, g.ldb, g.trans_b)
        i, j = np.ogrid[:g.m, :g.n]
        at = g.c_offset + e * g.c_step + i * g.ldc + j
        if g.epilogue is None:
            flat[g.c][at] = a @ b + (flat[g.c][at] if g.accumulate else 0)
        else:
            fault = fault or run_epilogue(kernels[g.epilogue], a @ b, e, [flat[n] for n in g.more])
    return fault


def run_epilogue(kernel: Kernel, product: np.ndarray, batch: int, more: Sequence[np.ndarray]) -> int:
    """The statements of an epilogue for every element of one batch entry's product, last element first."""
    element = np.zeros(1, product.dtype)
    machine = Machine(kernel, [element, *more])
    machine.inside = lambda buffer, index: 0 if buffer == 0 else Machine.inside(machine, buffer, index)
    machine.touch = lambda buffer, i, writes: None if buffer == 0 else Machine.touch(machine, buffer, i, writes)
    with np.errstate(all="ignore"):
        for row, col in reversed(list(np.ndindex(product.shape))):
            machine.step = (row, col)
            machine.variables.update(batch=batch, row=row, col=col)
            element[0] = product[row, col]
            machine.body(kernel.body)
    return machine.fault
