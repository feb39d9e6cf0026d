"""Keys of random numbers: made of seeds, split, and turned into words of random bits by counting.

In: a key (uint32 of shape (2,)). Out: other keys, or two words for every element of a shape. What `key`, `split` and `fold_in` give
outside of transforms is computed at once: a key is data, and a program that splits one at every step finds the same compiled plan each
time.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..graph import default_graph
from ..ir.term import Term, toposort
from ..lift import operation
from ..prims.counter import block
from ..prims.leaf import source
from ..tensor import Tensor, graph_of
from .movement import cut
from .promotion import P, Shape, broadcast, cast, constant, reshaped

UINT = dtypes.uint32


def words(op: str, key: Term) -> tuple[Term, Term]:
    """Both words of a key, 0-d."""
    if key.aval.shape != (2,) or key.aval.dtype != UINT:
        raise ShapeError(op, f"a key {key.aval}", "a key is uint32 of shape (2,)", "make one with lazygrad.random.key, take one row of split")
    return tuple([reshaped(cut(key, 0, i, 1), ()) for i in (0, 1)])


def counters(shape: Shape) -> Term:
    """The number of every element in row-major order, uint32."""
    size = math.prod(shape)
    if size >= 1 << 32:
        raise ShapeError("random", f"shape {shape}", "one key gives fewer than 2**32 numbers", "draw parts with keys of a split")
    return reshaped(P.iota(size=size, dtype=UINT), shape)


# first words of counters: what one key is used for never overlaps; those of attempts (`rejection`) go up from ATTEMPTS
DRAW, SPLIT, FOLD, AGAIN, PART = range(5)
ATTEMPTS = 8


def drawn(op: str, key: Term, shape: Shape, use: int = DRAW) -> tuple[Term, Term]:
    """Two words of random bits for every element."""
    k0, k1 = [broadcast(w, shape) for w in words(op, key)]
    first, n = constant(use, shape, UINT), counters(shape)
    return P.threefry(k0, k1, first, n, word=0), P.threefry(k0, k1, first, n, word=1)


def parts(op: str, key: Term, num: int) -> list[Term]:
    """Keys for the parts of one draw, other ones than `split` gives."""
    k0, k1 = words(op, key)
    use = constant(PART, (), UINT)
    made = [[P.threefry(k0, k1, use, constant(k, (), UINT), word=w) for w in (0, 1)] for k in range(num)]
    return [P.concatenate(*[reshaped(w, (1,)) for w in pair], axis=0) for pair in made]


def known(key: Tensor) -> bool:
    """Whether a key can be computed now: it depends on leaves only, not on what a transform is tracing."""
    return all([t.params[0] >= 0 for t in toposort([key.term]) if t.op is source])


def key(seed: Any, *, graph: Any = None) -> Tensor:
    """The key of a seed (an integer of up to 64 bits): a uint32 tensor of shape (2,) in `graph` (the default graph).

    >>> import lazygrad as lg
    >>> lg.random.key(7).tolist()
    [0, 7]
    """
    n = operator.index(seed)
    if not -1 << 63 <= n < 1 << 64:
        raise DTypeError("key", f"seed {n}", "a seed has at most 64 bits", "hash it first")
    n %= 1 << 64
    scope = default_graph() if graph is None else graph
    return scope.leaf(np.array([n >> 32, n & 0xFFFFFFFF], np.uint32), False, sys._getframe(1))


@operation()
def _split(key: Term, num: int) -> Term:
    n = P.iota(size=num, dtype=UINT)
    k0, k1 = [broadcast(w, (num,)) for w in words("split", key)]
    one = constant(SPLIT, (num,), UINT)
    return P.concatenate(*[reshaped(P.threefry(k0, k1, one, n, word=w), (num, 1)) for w in (0, 1)], axis=1)


@operation()
def _fold_in(key: Term, data: Term) -> Term:
    k0, k1 = words("fold_in", key)
    two, n = constant(FOLD, (), UINT), cast(data, UINT)
    return P.concatenate(*[reshaped(P.threefry(k0, k1, two, n, word=w), (1,)) for w in (0, 1)], axis=0)


def derived(op: str, key: Tensor, high: int, low: np.ndarray) -> np.ndarray | None:
    """The keys (n, 2) at these counters, computed now; None where the key is only known later."""
    if not isinstance(key, Tensor) or key.shape != (2,) or key.dtype != UINT:
        came = f"{key.dtype}{list(key.shape)}" if isinstance(key, Tensor) else type(key).__name__
        raise ShapeError(op, f"a key {came}", "a key is a uint32 tensor of shape (2,)", "make one with lazygrad.random.key")
    if not known(key):
        return None
    k0, k1 = np.asarray(key)
    return np.stack(block(k0, k1, np.uint32(high), low), -1)


def split(key: Tensor, num: int = 2) -> Tensor:
    """`num` new keys (num, 2), independent of each other and of what is drawn with `key`.

    >>> import lazygrad as lg
    >>> first, second = lg.random.split(lg.random.key(0))
    >>> first.shape, first.tolist() == second.tolist()
    ((2,), False)
    """
    if not 0 <= num < 1 << 32:
        raise ShapeError("split", f"num={num}", "it is not a number of keys", "pass 0 or more")
    found = derived("split", key, SPLIT, np.arange(num, dtype=np.uint32))
    return _split(key, num) if found is None else graph_of(key).leaf(found, False, sys._getframe(1))


def fold_in(key: Tensor, data: Any) -> Tensor:
    """The key for `key` and a number (a step, an index): an integer or an integer 0-d tensor, modulo 2**32.

    >>> import lazygrad as lg
    >>> key = lg.random.key(0)
    >>> lg.random.fold_in(key, 1).tolist() == lg.random.fold_in(key, 2).tolist()
    False
    """
    if isinstance(data, Tensor):
        if data.dtype.kind not in "iu" or data.ndim:
            raise DTypeError("fold_in", f"{data.dtype}{list(data.shape)}", "an integer scalar is expected", "cast it")
        if not known(data) or not known(key):
            return _fold_in(key, data)
        data = data.item()
    n = operator.index(data) % (1 << 32)
    found = derived("fold_in", key, FOLD, np.array([n], np.uint32))
    return _fold_in(key, np.uint32(n)) if found is None else graph_of(key).leaf(found[0], False, sys._getframe(1))
