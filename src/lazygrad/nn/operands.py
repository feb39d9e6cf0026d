"""How operands of the functions here become floating Terms of one dtype: integers as float32, float16 computed in float32, complex refused."""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import DataError
from ..functions.elementwise import ordered
from ..functions.promotion import alike, cast, inexact, pair
from ..ir.term import Term
from ..lift import Operand


def real(op: str, x: Term) -> Term:
    """x as floating numbers; complex ones are refused."""
    return ordered(op, (inexact(x),))[0]


def wide(x: Term) -> Term:
    """x in a dtype whose sums of squares do not overflow: float32 for smaller ones."""
    return cast(x, dtypes.float32) if x.aval.dtype.itemsize < 4 else x


def together(op: str, x: Term, *others: Operand) -> tuple[np.dtype, Term, list[Term | None]]:
    """(the dtype of the result, x, the others) as `wide` floating numbers of one dtype, each in its own shape; None stays None."""
    given = alike(op, tuple([t for t in (x, *others) if t is not None]))
    dtype = inexact(given[0]).aval.dtype
    found = iter([wide(real(op, t)) for t in given])
    return dtype, next(found), [None if t is None else next(found) for t in others]


def both(op: str, x: Operand, y: Operand) -> tuple[np.dtype, Term, Term]:
    """(the dtype of the result, x, y) as `wide` floating numbers of one shape and dtype."""
    x, y = pair(op, x, y)
    x, y = real(op, x), real(op, y)
    return x.aval.dtype, wide(x), wide(y)


def keyed(op: str, key: Term | None) -> Term:
    """The key, which must be there."""
    if key is None:
        raise DataError(op, "key None", "random numbers need a key", "pass lazygrad.random.key(seed), or a part of a split")
    return key
