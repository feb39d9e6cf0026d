"""Matrix products as calls of BLAS. In: a Gemm and its dtype. Out: a function `(ptr a, ptr b, ptr c, ptr x)`.

OpenBLAS takes one thread while ours run: its number of threads is one for the process, so it is set before a call and set back after
the last of those that run at a time.
"""

from __future__ import annotations

import numpy as np

from ...ir.program import Gemm
from .externs import INDEX
from .text import Builder, Function, Module, element


def write(module: Module, name: str, g: Gemm, dtype: np.dtype, ilp64: bool) -> None:
    """C = op(A) op(B) in row-major order is Cᵀ = op(B)ᵀ op(A)ᵀ in BLAS's column-major order: operands swapped."""
    fn = Function(module, f"define internal void @{name}(ptr %a, ptr %b, ptr %c, ptr %x) nounwind")
    if g.m and g.n and g.batch:
        fn.line(f"call void @{module.helper('lazygrad.blas.alone', lambda name: _alone(module, name))}(ptr %x)")
        if g.batch == 1:
            _product(fn, g, dtype, ilp64, "0")
        else:
            with fn.loop("0", str(g.batch)) as l:
                _product(fn, g, dtype, ilp64, l.i)
        fn.line(f"call void @{module.helper('lazygrad.blas.again', lambda name: _again(module, name))}(ptr %x)")
    module.functions.append(fn.text())


def _product(fn: Function, g: Gemm, dtype: np.dtype, ilp64: bool, entry: str) -> None:
    """One entry of the batch."""
    kind, b = element(dtype), Builder(fn, 0, dtype)

    def operand(base: str, step: int, offset: int) -> str:
        out = fn.emit(f"getelementptr {kind}, ptr {base}, i64 {offset}") if offset else base
        if step and entry != "0":
            out = fn.emit(f"getelementptr {kind}, ptr {out}, i64 {fn.emit(f'mul i64 {entry}, {step}')}")
        return out

    def constant(kind: str, text: str) -> str:
        """The address of a constant number."""
        return fn.module.constant(f"@{kind}.{text.replace('-', 'm')}", f"{kind} {text}")

    number = lambda n: constant("i64" if ilp64 else "i32", str(n))
    flag = lambda transposed: constant("i8", str(ord("T" if transposed else "N")))
    real = lambda x: constant(kind, b.const(x))
    lda = max(g.lda, g.m if g.trans_a else g.k, 1)
    ldb = max(g.ldb, g.k if g.trans_b else g.n, 1)
    args = [flag(g.trans_b), flag(g.trans_a), number(g.n), number(g.m), number(g.k), real(1.0),
            operand("%b", g.b_step, g.b_offset), number(ldb), operand("%a", g.a_step, g.a_offset), number(lda),
            real(1.0 if g.accumulate else 0.0), operand("%c", g.c_step, g.c_offset), number(max(g.ldc, g.n))]
    place = fn.extern("sgemm" if kind == "float" else "dgemm")
    fn.line(f"call void {place}({', '.join([f'ptr {a}' for a in args])})")


def _begin(module: Module, name: str) -> tuple[Function, str, str, str, str]:
    """A function that goes on with the cell locked: also the addresses of get, set, and of the cell's two numbers."""
    fn = Function(module, f"define internal void @{name}(ptr %x) nounwind noinline")
    table = fn.emit("load ptr, ptr %x, align 8")
    get, put, cell = [fn.emit(f"load ptr, ptr {fn.emit(f'getelementptr ptr, ptr {table}, i64 {INDEX[n]}')}, align 8")
                      for n in ("blas_get", "blas_set", "blas_cell")]
    fn.line(f"br i1 {fn.emit(f'icmp eq ptr {put}, null')}, label %end, label %ask")
    fn.begin("ask")
    pair = fn.emit(f"cmpxchg ptr {cell}, i64 0, i64 1 acquire monotonic")
    fn.line(f"br i1 {fn.emit(f'extractvalue {{ i64, i1 }} {pair}, 1')}, label %mine, label %ask")
    fn.begin("mine")
    count = fn.emit(f"getelementptr i64, ptr {cell}, i64 1")
    saved = fn.emit(f"getelementptr i64, ptr {cell}, i64 2")
    return fn, get, put, count, saved


def _end(fn: Function, count: str) -> Function:
    fn.line("br label %free")
    fn.begin("free")
    cell = fn.emit(f"getelementptr i64, ptr {count}, i64 -1")
    fn.line(f"store atomic i64 0, ptr {cell} release, align 8")
    fn.line("br label %end")
    fn.begin("end")
    return fn


def _alone(module: Module, name: str) -> Function:
    """The first product that runs sets one thread."""
    fn, get, put, count, saved = _begin(module, name)
    n = fn.emit(f"load i64, ptr {count}, align 8")
    fn.line(f"store i64 {fn.emit(f'add i64 {n}, 1')}, ptr {count}, align 8")
    fn.line(f"br i1 {fn.emit(f'icmp eq i64 {n}, 0')}, label %first, label %free")
    fn.begin("first")
    before = fn.emit(f"call i32 {get}()")
    fn.line(f"store i64 {fn.emit(f'sext i32 {before} to i64')}, ptr {saved}, align 8")
    fn.line(f"br i1 {fn.emit(f'icmp eq i32 {before}, 1')}, label %free, label %change")
    fn.begin("change")
    fn.line(f"call void {put}(i32 1)")
    return _end(fn, count)


def _again(module: Module, name: str) -> Function:
    """The last one sets what was before."""
    fn, _, put, count, saved = _begin(module, name)
    n = fn.emit(f"sub i64 {fn.emit(f'load i64, ptr {count}, align 8')}, 1")
    fn.line(f"store i64 {n}, ptr {count}, align 8")
    before = fn.emit(f"load i64, ptr {saved}, align 8")
    last = fn.emit(f"and i1 {fn.emit(f'icmp eq i64 {n}, 0')}, {fn.emit(f'icmp ne i64 {before}, 1')}")
    fn.line(f"br i1 {last}, label %change, label %free")
    fn.begin("change")
    fn.line(f"call void {put}(i32 {fn.emit(f'trunc i64 {before} to i32')})")
    return _end(fn, count)
