"""Dropout: elements or whole channels set to 0 at random while training, the others scaled so that the mean stays.

In: a key of `lazygrad.random` first (None is enough where nothing is drawn), a tensor, the probability `p` to drop. Out: a tensor of its
shape and dtype. The same key drops the same elements, on every device.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import DataError, ShapeError
from ..functions.composite import fill, scale
from ..functions.promotion import P, broadcast, constant, reshaped
from ..functions.random_counts import bernoulli
from ..functions.table import public
from ..ir.term import Term
from .activations import SELU_ALPHA, SELU_SCALE
from .operands import keyed, real

LOWEST = -SELU_ALPHA * SELU_SCALE          # selu(-inf)
Shape = tuple[int, ...]


def kept(op: str, key: Term | None, x: Term, p: float, drawn: Shape) -> Term:
    """True where an element of x stays: drawn for `drawn`, the leading axes of x."""
    mask = bernoulli.rule(keyed(op, key), 1.0 - p, drawn) if p < 1 else constant(False, drawn, dtypes.bool_)
    return broadcast(reshaped(mask, drawn + (1,) * (x.aval.ndim - len(drawn))), x.aval.shape)


def dropped(op: str, key: Term | None, x: Term, p: float, training: bool, drawn: Shape) -> Term:
    x = probable(op, x, p)
    if not training or p == 0:
        return x
    return P.where(kept(op, key, x, p, drawn), scale(x, 1 / (1 - p)) if p < 1 else x, fill(x, 0))


def probable(op: str, x: Term, p: float) -> Term:
    """x as floating numbers, after checking the probability."""
    if not 0 <= p <= 1:
        raise DataError(op, f"p={p}", "it is no probability", "pass a number of 0 to 1")
    return real(op, x)


def examples(op: str, x: Term, spatial: int) -> Shape:
    """The axes (N, C), or (C,) of one example, in front of the spatial ones."""
    if x.aval.ndim not in (spatial + 1, spatial + 2):
        raise ShapeError(op, str(x.aval.shape), f"{spatial} spatial axes are expected", "pass (N, C, ...) or (C, ...)")
    return x.aval.shape[:x.aval.ndim - spatial]


@public(space="nn")
def dropout(key: Term | None, x: Term, p: float = 0.5, training: bool = True) -> Term:
    """x with elements set to 0 with probability p, the others divided by 1 - p; x itself where not `training`.

    >>> import lazygrad as lg
    >>> y = lg.nn.dropout(lg.random.key(0), lg.ones(1000), 0.2)
    >>> sorted(set(y.tolist())), 700 < lg.count_nonzero(y).item() < 900
    ([0.0, 1.25], True)
    """
    return dropped("dropout", key, x, p, training, x.aval.shape)


@public(space="nn")
def dropout1d(key: Term | None, x: Term, p: float = 0.5, training: bool = True) -> Term:
    """Whole channels of x (N, C, L) or (C, L) set to 0 with probability p, the others divided by 1 - p.

    >>> import lazygrad as lg
    >>> len(set(lg.nn.dropout1d(lg.random.key(0), lg.ones((1, 5)))[0].tolist()))
    1
    """
    return dropped("dropout1d", key, x, p, training, examples("dropout1d", x, 1))


@public(space="nn")
def dropout2d(key: Term | None, x: Term, p: float = 0.5, training: bool = True) -> Term:
    """Whole channels of x (N, C, H, W) or (C, H, W) set to 0 with probability p, the others divided by 1 - p.

    >>> import lazygrad as lg
    >>> len(set(lg.nn.dropout2d(lg.random.key(0), lg.ones((1, 2, 2))).ravel().tolist()))
    1
    """
    return dropped("dropout2d", key, x, p, training, examples("dropout2d", x, 2))


@public(space="nn")
def dropout3d(key: Term | None, x: Term, p: float = 0.5, training: bool = True) -> Term:
    """Whole channels of x (N, C, D, H, W) or (C, D, H, W) set to 0 with probability p, the others divided by 1 - p.

    >>> import lazygrad as lg
    >>> len(set(lg.nn.dropout3d(lg.random.key(0), lg.ones((1, 2, 2, 2))).ravel().tolist()))
    1
    """
    return dropped("dropout3d", key, x, p, training, examples("dropout3d", x, 3))


def replaced(op: str, key: Term | None, x: Term, p: float, training: bool, drawn: Shape) -> Term:
    """x with selu's lowest value for what is dropped, scaled and moved to keep mean 0 and variance 1 (Klambauer et al. 2017, section 2)."""
    x = probable(op, x, p)
    if not training or p == 0:
        return x
    if p == 1:
        return fill(x, 0)
    a = 1 / math.sqrt((1 - p) * (1 + p * LOWEST**2))
    mixed = P.where(kept(op, key, x, p, drawn), x, fill(x, LOWEST))
    return P.add(scale(mixed, a), fill(x, -a * LOWEST * p))


@public(space="nn")
def alpha_dropout(key: Term | None, x: Term, p: float = 0.5, training: bool = False) -> Term:
    """Dropout beside `selu`: dropped elements take its lowest value, and numbers of mean 0 and variance 1 stay so. Off unless `training`.

    >>> import lazygrad as lg
    >>> y = lg.nn.alpha_dropout(lg.random.key(0), lg.random.normal(lg.random.key(1), (10000,)), 0.3, training=True)
    >>> abs(y.mean().item()) < 0.05, abs(y.var().item() - 1) < 0.05
    (True, True)
    """
    return replaced("alpha_dropout", key, x, p, training, x.aval.shape)


@public(space="nn")
def feature_alpha_dropout(key: Term | None, x: Term, p: float = 0.5, training: bool = False) -> Term:
    """`alpha_dropout` of whole channels of x (N, C, ...).

    >>> import lazygrad as lg
    >>> y = lg.nn.feature_alpha_dropout(lg.random.key(0), lg.ones((1, 1, 3)), training=True)
    >>> len(set(y[0, 0].tolist()))
    1
    """
    if x.aval.ndim < 2:
        raise ShapeError("feature_alpha_dropout", str(x.aval.shape), "there is no axis of channels", "pass (N, C, ...)")
    return replaced("feature_alpha_dropout", key, x, p, training, x.aval.shape[:2])
