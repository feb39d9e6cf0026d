"""Activations of neural networks beyond those of the main namespace, made of primitives.

In: a tensor of any shape (integers count as float32), settings as Python numbers. Out: a tensor of its shape and dtype.
"""

from __future__ import annotations

from ..functions.composite import fill
from ..functions.elementwise import ordered
from ..functions.promotion import P, inexact
from ..functions.table import public
from ..ir.term import Term


def between(x: Term, low: float, high: float) -> Term:
    """x limited to [low, high], with gradient 0 at the limits; NaN stays NaN."""
    a, b = fill(x, low), fill(x, high)
    return P.where(P.le(x, a), a, P.where(P.ge(x, b), b, x))


@public(space="nn")
def relu6(x: Term) -> Term:
    """x limited to [0, 6]. The gradient is 0 at both ends.

    >>> import lazygrad as lg
    >>> lg.nn.relu6(lg.asarray([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return between(*ordered("relu6", (inexact(x),)), 0, 6)
