"""Terms without arguments: leaves that own a slot, constants, and the index ramp."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..ir import scalar as S
from ..ir.aval import Aval, aval
from ..ir.function import PARAMETER, Body
from ..ir.term import MEMOS, Term, substitute, term
from .base import Index, Leaf, Prim

source = Prim("source", lambda **_: None, lambda **_: None, Leaf(), names=("slot", "graph", "requires_grad"))


def leaf(slot: int, graph: int | None, av: Aval, requires_grad: bool) -> Term:
    """The source Term of a leaf's slot. `requires_grad` is forced off for dtypes without derivatives."""
    wants = requires_grad and dtypes.is_inexact(av.dtype)
    return term(source, (), (slot, graph, wants), av, graph)


def parameter(k: int, av: Aval) -> Term:
    """Parameter k of a Body: one Term for equal types. It wants gradients, so that bodies differentiate."""
    return leaf(PARAMETER - k, None, av, True)


def closed(params: Sequence[Term], results: Sequence[Term]) -> Body:
    """The Body that computes `results` from `params` (any distinct source Terms)."""
    own = tuple([parameter(k, p.aval) for k, p in enumerate(params)])
    return Body(own, tuple(substitute(results, dict(zip(params, own, strict=True)))))


def opened(body: Body, args: Sequence[Term]) -> list[Term]:
    """The results of a Body at `args`, as Terms of their own."""
    return substitute(body.results, dict(zip(body.params, args, strict=True)))


full = Prim("full", lambda *, value, text, shape, dtype: np.full(shape, value, dtype),
            lambda *, value, text, shape, dtype: aval(shape, dtype),
            Index(lambda at, idx, out, *, value, text, shape, dtype: S.const(value, dtype)),
            names=("value", "text", "shape", "dtype"))


def constant(value: bool | int | float | complex, shape: tuple[int, ...], dtype: np.dtype) -> Term:
    """An array of one number. The number is rounded to `dtype` first; its text keeps 0.0, -0.0 and NaN apart.

    >>> constant(1, (), dtypes.float32) is constant(1.0, (), dtypes.float32)
    True
    """
    kind = type(value)                                           # 0.0 == -0.0 and 2 == 2.0 == True, but not as constants
    key = (repr(value) if kind is complex or not value else value, kind, shape, dtype)
    try:
        return _constants[key]
    except KeyError:
        pass
    value = np.asarray(value).astype(dtype).item()
    if value != value:
        value = math.nan if dtype.kind == "f" else complex(math.nan, math.nan)
    made = full(value=value, text=repr(value), shape=shape, dtype=dtype)
    if value == value:
        _constants[key] = made
    return made


_constants: dict[tuple, Term] = {}
MEMOS.append(_constants)


def filled(av: Aval, value: bool | int | float | complex) -> Term:
    """A constant of the type `av`."""
    kind = value.__class__
    key = (repr(value) if kind is complex or not value else value, kind, av)
    found = _filled.get(key)
    if found is None:
        found = constant(value, av.shape, av.dtype)
        if value == value:
            _filled[key] = found
    return found


_filled: dict[tuple, Term] = {}
MEMOS.append(_filled)


def like(t: Term, value: float) -> Term:
    """A constant of t's shape and dtype."""
    return filled(t.aval, value)


def is_constant(t: Term, value: float | None = None) -> bool:
    """Whether `t` is a constant (equal to `value`, with 0 meaning both zeros)."""
    return t.op is full and (value is None or t.params[0] == value)


iota = Prim("iota", lambda *, size, dtype: np.arange(size, dtype=dtype), lambda *, size, dtype: aval((size,), dtype),
            Index(lambda at, idx, out, *, size, dtype: S.cast(idx[0], dtype)), names=("size", "dtype"))
