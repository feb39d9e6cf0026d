"""Where the accumulators of a kernel start."""

from __future__ import annotations

import numpy as np


def identity(monoid: str, dtype: np.dtype) -> bool | int | float:
    """The value that a monoid of `ir.kernel.MONOIDS` starts from.

    >>> identity("maximum", np.dtype("int8")), identity("and", np.dtype("bool"))
    (-128, True)
    """
    if monoid in ("add", "or"):
        return 0
    if monoid == "mul":
        return 1
    if monoid == "and":
        return True if dtype.kind == "b" else -1 if dtype.kind == "i" else np.iinfo(dtype).max
    low = monoid == "maximum"
    if dtype.kind == "b":
        return not low
    if dtype.kind == "f":
        return -np.inf if low else np.inf
    return int(np.iinfo(dtype).min if low else np.iinfo(dtype).max)
