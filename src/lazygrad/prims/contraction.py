"""Contraction: the batched matrix product, the one primitive that a GEMM library runs.

In: (*batch, m, k) and (*batch, k, n) of equal batch and dtype. Out: (*batch, m, n). einsum, tensordot and dot are
movement around it; float16 and integers are accumulated as NumPy does.
"""

from __future__ import annotations

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.term import Term
from .base import Contraction, Multilinear, Prim
from .movement import transposed


def _matmul_aval(a: Aval, b: Aval) -> Aval:
    came = f"{a.shape} @ {b.shape}"
    if a.dtype != b.dtype:
        raise DTypeError("matmul", f"{a.dtype} @ {b.dtype}", "the dtypes differ", "cast one of them")
    if a.dtype.kind == "b":
        raise DTypeError("matmul", "bool @ bool", "bool has no product", "cast to an integer or floating-point dtype")
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError("matmul", came, "both operands need two axes", "reshape them")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError("matmul", came, f"inner sizes {a.shape[-1]} and {b.shape[-2]} differ",
                         "transpose one operand or reshape")
    if a.shape[:-2] != b.shape[:-2]:
        raise ShapeError("matmul", came, f"batches {a.shape[:-2]} and {b.shape[:-2]} differ", "broadcast them")
    return aval((*a.shape[:-1], b.shape[-1]), a.dtype)


def _matmul_transpose(ct: Term, out: Term, a: Term, b: Term) -> tuple[Term, Term]:
    # Ā = C̄ Bᵀ, B̄ = Aᵀ C̄
    return matmul(ct, transposed(b)), matmul(transposed(a), ct)


matmul = Prim("matmul", np.matmul, _matmul_aval, Contraction(), Multilinear(_matmul_transpose))
