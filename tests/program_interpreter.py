"""A slow executor of Programs on NumPy buffers, step by step: what the compiler means, without any code generator.

In: a Program and the input arrays. Out: the output arrays, the inputs after the run, and the faults reported. Buffers lie
in one arena as the Program says, with the padding of the agreement, so a wrong offset or lifetime shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scalar_interpreter import run_kernel

from lazygrad.ir.program import PAD, Call, Gemm, Host, Program


def run_program(program: Program, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(outputs, inputs after the run)."""
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
            fault = fault or run_kernel(program.kernels[step.kernel], [flat[b] for b in step.buffers])
        elif isinstance(step, Gemm):
            run_gemm(step, flat)
        elif isinstance(step, Host):
            with np.errstate(all="ignore"):
                arrays[step.out][...] = step.prim.numpy(*[arrays[b] for b in step.inputs], **dict(step.params))
    if fault:
        op, message = program.faults[fault - 1]
        raise IndexError(f"{op}: {message}")
    return [arrays[b].copy() for b in program.outputs], [arrays[b].copy() for b in program.inputs]


def run_gemm(g: Gemm, flat: Sequence[np.ndarray]) -> None:
    """One Gemm step, entry by entry through strides."""
    def factor(buffer, offset, rows, cols, ld, trans):
        i, j = np.ogrid[:rows, :cols]
        return flat[buffer][offset + (j * ld + i if trans else i * ld + j)]

    for e in range(g.batch):
        a = factor(g.a, g.a_offset + e * g.a_step, g.m, g.k, g.lda, g.trans_a)
        b = factor(g.b, g.b_offset + e * g.b_step, g.k, g.n, g.ldb, g.trans_b)
        i, j = np.ogrid[:g.m, :g.n]
        at = g.c_offset + e * g.c_step + i * g.ldc + j
        flat[g.c][at] = a @ b + (flat[g.c][at] if g.accumulate else 0)
