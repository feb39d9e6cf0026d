"""Threefry: the counter based generator behind all random numbers, one elementwise primitive.

In: two words of a key and two of a counter, uint32. Out: one of the two words of the block (static `word`). Integer
operations alone, so every device gives the same bits. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011), §4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..dtypes import uint32
from ..errors import DTypeError
from ..ir.aval import Aval
from ..ir.scalar import Scalar, apply, const
from .base import Elementwise, Prim
from .elementwise import same

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA                       # makes an all-zero key as good as any
W = TypeVar("W")


def rounds(k0: W, k1: W, c0: W, c1: W, op: Callable[..., W], number: Callable[[int], W]) -> tuple[W, W]:
    """Both words of the block: 20 rounds, a word of the key added every fourth. `op(name, x, y)` works on words."""
    keys = (k0, k1, op("xor", op("xor", k0, k1), number(PARITY)))
    x, y = op("add", c0, k0), op("add", c1, k1)
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x = op("add", x, y)
            y = op("xor", op("or", op("shl", y, number(r)), op("shr", y, number(32 - r))), x)
        x = op("add", x, keys[(i + 1) % 3])
        y = op("add", op("add", y, keys[(i + 2) % 3]), number(i + 1))
    return x, y


NUMPY: dict[str, Any] = {"xor": np.bitwise_xor, "or": np.bitwise_or, "add": np.add, "shl": np.left_shift, "shr": np.right_shift}


def block(k0: np.ndarray, k1: np.ndarray, c0: np.ndarray, c1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both words on arrays of uint32 that broadcast.

    >>> [hex(w.item()) for w in block(*np.zeros((4, 1), np.uint32))]          # a vector that the authors publish
    ['0x6b200159', '0x99ba4efe']
    """
    with np.errstate(over="ignore"):                     # NumPy warns where scalars wrap, not where arrays do
        return rounds(k0, k1, c0, c1, lambda name, x, y: NUMPY[name](x, y), np.uint32)


def _scalar(k0: Scalar, k1: Scalar, c0: Scalar, c1: Scalar, *, word: int) -> Scalar:
    return rounds(k0, k1, c0, c1, apply, lambda n: const(n, k0.dtype))[word]


def _type(*avals: Aval, word: int) -> Aval:
    if any([a.dtype != uint32 for a in avals]):
        raise DTypeError("threefry", ", ".join(map(str, avals)), "its words are uint32", "cast them")
    return same("threefry", "u")(*avals)


threefry = Prim("threefry", lambda *words, word: block(*words)[word], _type, Elementwise(_scalar), names=("word",))
