"""Operations with several results per matrix: one run of LAPACK gives them all, as a Pack.

`Several` is called with Terms and gives a tuple of Terms. Its rules see results one by one: `vjp(cts, outs, *args)` takes a
cotangent (None: zero) for each, `jvp(ts, outs, *args)` gives a tangent (None: zero) for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.aval import Aval, Pack, pack
from ..ir.term import Term
from . import base
from .control import picked
from .linalg import FAILS


class Several:
    """`numpy(*arrays, **params)` gives the arrays of the avals `infer(*avals, **params)`."""

    def __init__(self, name: str, numpy: Callable[..., tuple], infer: Callable[..., tuple[Aval, ...]], vjp: Callable, jvp: Callable,
                 names: tuple[str, ...] = ()) -> None:
        def outer(*avals: Aval, **static: Any) -> Pack:
            return pack(infer(*avals, **static))

        def pull(cts: list[Term | None], wanted: list[bool], out: Term, *args: Term, **static: Any) -> tuple[Term | None, ...]:
            return vjp(tuple(cts), tuple(picked(out)), *args, **static)

        def push(ts: list[Term | None], out: Term, *args: Term, **static: Any) -> tuple[Term | None, ...]:
            return jvp(tuple(ts), tuple(picked(out)), *args, **static)

        self.prim = base.Prim(name, numpy, outer, FAILS, base.Several(pull, push), names)

    def __call__(self, *args: Term, **static: Any) -> tuple[Term, ...]:
        return tuple(picked(self.prim(*args, **static)))
