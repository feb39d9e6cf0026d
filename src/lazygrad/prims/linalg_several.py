"""Operations with several results per matrix: one run of LAPACK gives them all.

`Several` is called with Terms and gives a tuple of Terms. Its rules see results one by one: `vjp(cts, outs, *args)` takes a
cotangent (None: zero) for each, `jvp(ts, outs, *args)` gives a tangent (None: zero) for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.aval import Aval, aval
from ..ir.term import Term
from . import elementwise as E
from . import matrices as X
from . import movement as M
from .base import Custom, Prim
from .leaf import filled
from .linalg import FAILS


class Several:
    """`numpy(*arrays, **params)` gives the arrays of the avals `infer(*avals, **params)`, batches first.

    They travel as one array, each matrix's results one behind the other, of the widest of their dtypes.
    """

    def __init__(self, name: str, numpy: Callable[..., tuple], infer: Callable[..., tuple[Aval, ...]], vjp: Callable, jvp: Callable,
                 names: tuple[str, ...] = (), core: tuple[int, ...] = ()) -> None:
        self.infer, self.core = infer, core

        def flat(*arrays: np.ndarray, **static: Any) -> np.ndarray:
            avals = infer(*[aval(a.shape, a.dtype) for a in arrays], **static)
            made = numpy(*arrays, **static)
            dtype, batch = self._dtype(avals), self._batch(avals)
            return np.concatenate([np.asarray(m).reshape(*batch, self._size(i, av)).astype(dtype) for i, (m, av) in
                                   enumerate(zip(made, avals, strict=True))], -1)

        def outer(*avals: Aval, **static: Any) -> Aval:
            outs = infer(*avals, **static)
            return aval((*self._batch(outs), sum([self._size(i, av) for i, av in enumerate(outs)])), self._dtype(outs))

        def pull(ct: Term, out: Term, *args: Term, **static: Any) -> tuple[Term | None, ...]:
            return vjp(self._parts(ct, args, static), self._parts(out, args, static), *args, **static)

        def push(ts: tuple[Term | None, ...], out: Term, *args: Term, **static: Any) -> Term:
            avals = infer(*[a.aval for a in args], **static)
            moved = jvp(ts, self._parts(out, args, static), *args, **static)
            parts = [X.as_dtype(M.reshape(filled(av, 0) if t is None else t, shape=(*self._batch(avals), self._size(i, av))), out.aval.dtype)
                     for i, (t, av) in enumerate(zip(moved, avals, strict=True))]
            return M.concatenate(*parts, axis=out.aval.ndim - 1)

        self.prim = Prim(name, flat, outer, FAILS, Custom(pull, push), names)

    def _size(self, i: int, av: Aval) -> int:
        return math.prod(av.shape[av.ndim - self.core[i]:])

    def _batch(self, avals: tuple[Aval, ...]) -> tuple[int, ...]:
        return avals[0].shape[:avals[0].ndim - self.core[0]]

    def _dtype(self, avals: tuple[Aval, ...]) -> np.dtype:
        return np.result_type(*[av.dtype for av in avals if av.inexact])

    def _parts(self, whole: Term, args: tuple[Term, ...], static: dict[str, Any]) -> tuple[Term, ...]:
        avals = self.infer(*[a.aval for a in args], **static)
        out, at = [], 0
        for i, av in enumerate(avals):
            part = M.reshape(M.cut(whole, whole.aval.ndim - 1, at, self._size(i, av)), shape=av.shape)
            at += self._size(i, av)
            out.append(X.real(part) if av.dtype.kind == "f" else E.cast(part, dtype=av.dtype) if av.dtype != part.aval.dtype else part)
        return tuple(out)

    def __call__(self, *args: Term, **static: Any) -> tuple[Term, ...]:
        return self._parts(self.prim(*args, **static), args, static)
