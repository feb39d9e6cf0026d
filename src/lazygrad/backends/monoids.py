"""Where the accumulators of a kernel start."""

from __future__ import annotations

import numpy as np


def identity(monoid: str, dtype: np.dtype) -> bool | int | float:
    """The value that a monoid of `ir.kernel.MONOIDS` starts from; for floating sums -0.0, so that a sum of -0.0 alone stays -0.0.

    >>> identity("maximum", np.dtype("int8")), identity("and", np.dtype("bool")), identity("add", np.dtype("float32"))
    (-128, True, -0.0)
    """
    if monoid in ("add", "or"):
        return -0.0 if dtype.kind == "f" else False if dtype.kind == "b" else 0
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
