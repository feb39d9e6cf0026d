"""A slow executor of Programs on NumPy buffers, step by step: what the compiler means, without any code generator.

In: a Program and the input arrays. Out: the output arrays, the inputs after the run, and the faults reported. Buffers lie
in one arena as the Program says, with the padding of the agreement, so a wrong offset or lifetime shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scalar_interpreter import Machine, run_kernel

from lazygrad.ir.kernel import Kernel
from lazygrad.ir.program import PAD, Branch, Call, Gemm, Host, Program, Repeat, bodies


def run_program(program: Program, inputs: Sequence[np.ndarray],
                order: Callable[[int], Iterable[int]] = range) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(outputs, inputs after the run); the steps of grid loops run in `order`."""
    given: list[np.ndarray] = []
    for b in program.buffers:
        if b.kind != "temp":
            made = np.zeros(b.aval.size + PAD // b.aval.dtype.itemsize, b.aval.dtype)
            made[b.aval.size:] = 77
            if b.kind == "input":
                made[:b.aval.size] = np.ravel(inputs[b.number])
            given.append(made)
    flat = buffers_of(program, given, np.full(program.arena + PAD, 0x5A, np.uint8))
    fault = run_steps(program, flat, order)
    if fault:
        op, message = program.faults[fault - 1]
        raise IndexError(f"{op}: {message}")
    arrays = [f[:b.aval.size].reshape(b.aval.shape) for f, b in zip(flat, program.buffers, strict=True)]
    return [arrays[b].copy() for b in program.outputs], [arrays[b].copy() for b in program.inputs]


def buffers_of(program: Program, given: Sequence[np.ndarray], arena: np.ndarray) -> list[np.ndarray]:
    """A flat array for each buffer: those that are `given`, in order, and the temporaries in the arena."""
    flat, given = [], list(given)
    for b in program.buffers:
        size, dtype = b.aval.size, b.aval.dtype
        if b.kind == "temp":
            stop = b.offset + (b.aval.nbytes + PAD if size > 1 else b.aval.nbytes)
            flat.append(arena[b.offset:stop - (stop - b.offset) % dtype.itemsize].view(dtype))
        else:
            flat.append(given.pop(0))
    return flat


def run_steps(program: Program, flat: Sequence[np.ndarray], order: Callable[[int], Iterable[int]] = range) -> int:
    """The steps on flat arrays; the fault cell."""
    arrays = [f[:b.aval.size].reshape(b.aval.shape) for f, b in zip(flat, program.buffers, strict=True)]
    fault = 0
    for step in program.steps:
        if isinstance(step, Call):
            fault = fault or run_kernel(program.kernels[step.kernel], [flat[b] for b in step.buffers], order)
        elif isinstance(step, Gemm):
            fault = run_gemm(step, flat, program.kernels) or fault
        elif isinstance(step, Host):
            with np.errstate(all="ignore"):
                made = step.prim.numpy(*[arrays[b] for b in step.inputs], **dict(step.params))
            for b, m in zip(step.outs, made if isinstance(made, tuple) else (made,), strict=True):
                arrays[b][...] = m
        elif isinstance(step, Repeat):
            fault = fault or run_repeat(step, program, flat, order)
        elif isinstance(step, Branch):
            body = step.bodies[min(max(int(flat[step.index][0]), 0), len(step.bodies) - 1)]
            fault = fault or run_body(body, [flat[b] for b in (*step.inputs, *step.outputs)], scratch_of(step, flat), order)
    return fault


def scratch_of(step: Repeat | Branch, flat: Sequence[np.ndarray]) -> np.ndarray:
    return flat[step.scratch] if step.scratch is not None else np.full(max([p.arena for p in bodies(step)]) + PAD, 0x5A, np.uint8)


def run_body(body: Program, given: Sequence[np.ndarray], arena: np.ndarray, order: Callable[[int], Iterable[int]]) -> int:
    """A body on its inputs and outputs, in the caller's order; outputs that overwrite inputs are not looked at."""
    places = {b: i for i, b in enumerate(body.inputs)} | {
        b: len(body.inputs) + j for j, b in enumerate(body.outputs) if body.into[j] is None}
    mine = [given[places[n]] for n, b in enumerate(body.buffers) if b.kind != "temp"]
    return run_steps(body, buffers_of(body, mine, arena), order)


def run_repeat(step: Repeat, program: Program, flat: Sequence[np.ndarray], order: Callable[[int], Iterable[int]]) -> int:
    """The loop, carry by carry and slice by slice."""
    sizes = [b.aval.size for b in program.buffers]
    scratch, carried = scratch_of(step, flat), range(len(step.carries))
    turns = [(step.carries[j], step.carries[j] if step.spare[j] is None else step.spare[j]) for j in carried]
    if step.length is not None and step.length % 2 == 0:
        turns = [t[::-1] for t in turns]
    now = list(step.init)
    for j in carried:
        if step.spare[j] is None:
            flat[step.carries[j]][:sizes[now[j]]] = flat[now[j]][:sizes[now[j]]]
            now[j] = step.carries[j]
    consts, fault, i = [flat[b] for b in step.consts], 0, 0
    while not fault and (step.length is None or i < step.length):
        values = [flat[b] for b in now]
        if step.test is not None:
            fault = run_body(step.test, [*consts, *values, flat[step.flag]], scratch, order)
            if fault or not flat[step.flag][0]:
                break
        at = step.length - 1 - i if step.reverse else i
        xs, ys = [[flat[b][at * (sizes[b] // step.length):] for b in bs] for bs in (step.xs, step.ys)]
        after = [turns[j][i % 2] for j in carried]
        if step.length is None and step.test is None and not flat[step.flag][0]:
            break
        fault = run_body(step.body, [*consts, *values, *xs, *[flat[b] for b in after], *ys], scratch, order)
        now, i = after, i + 1
    for j in carried:
        flat[step.carries[j]][:sizes[now[j]]] = flat[now[j]][:sizes[now[j]]]
    if step.trips is not None:
        flat[step.trips][0] = i
    return fault


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
