"""Indexing: x[key], x[key] = v, x.at[key], and the functions that take, put, sort and search along axes.

In: NumPy's keys: ints, slices, None, ..., boolean masks, integer arrays, mixed in any way. Static keys are part of the
expression; index arrays are data; boolean masks are evaluated, because they decide shapes.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from .. import dtypes
from ..errors import DTypeError, IndexingError, ShapeError
from ..ir.record import record
from ..ir.term import Term
from ..lift import Operand, Terms
from ..tensor import Tensor
from .composite import where
from .promotion import P, Shape, broadcast, broadcast_shapes, cast, constant, number, reshaped
from .table import FUNCTIONS, plain, public

# ---- keys -------------------------------------------------------------------------------------------------------------------

@record
class Key:
    """A key in normal form, for an array whose axes are `shape` (with an axis of size 1 for every None in the key).

    `start, step, size`: what is kept of each axis; `drop`: the axes that an integer removes; `axes`: those that index
    arrays replace; `position`: where among the axes kept the axes of the index arrays stand.
    """

    shape: Shape
    start: Shape
    step: Shape
    size: Shape
    drop: tuple[int, ...]
    axes: tuple[int, ...]
    position: int

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off (and nothing turned round)."""
        return self.size == self.shape and all([s == 1 or n == 1 for s, n in zip(self.step, self.shape, strict=True)])

    @property
    def rest(self) -> Shape:
        """The sizes of the axes kept, in order."""
        return tuple([n for k, n in enumerate(self.size) if k not in self.drop and k not in self.axes])


ARRAY = "array"                 # stands in a static key for an index array


def as_integer(op: str, i: object) -> int:
    try:
        return operator.index(i)
    except TypeError:
        raise IndexingError(op, f"an index of type {type(i).__name__}", "it cannot index",
                            "use integers, slices, ..., None, boolean or integer arrays") from None


def normal_key(op: str, shape: Shape, key: tuple) -> Key:
    """The normal form of a key in which ARRAY stands for each index array (of one axis)."""
    used = sum([1 for k in key if k is not None and k is not Ellipsis])
    if key.count(Ellipsis) > 1:
        raise IndexingError(op, "two '...'", "only one can stand for all other axes", "use ':' for the others")
    if used > len(shape):
        raise IndexingError(op, f"{used} indices for {shape}", f"it has {len(shape)} axes", "use fewer indices")
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    whole, start, step, size, drop, axes = [], [], [], [], [], []
    groups, open_group = 0, False            # runs of neighbouring advanced indices (integers count beside arrays)
    first = None
    axis = 0                                 # of x
    for k in key:
        if k is Ellipsis:
            rest = len(shape) - used
            for n in shape[axis:axis + rest]:
                whole.append(n), start.append(0), step.append(1), size.append(n)
            axis += rest
            open_group = False
            continue
        if k is None:
            whole.append(1), start.append(0), step.append(1), size.append(1)
            open_group = False
            continue
        n = shape[axis]
        at = len(whole)
        whole.append(n)
        if isinstance(k, slice):
            a, b, c = slice_indices(op, k, n)
            m = len(range(a, b, c))
            start.append(a if m else 0), step.append(c if m > 1 else 1), size.append(m)
            open_group = False
        else:
            if k is ARRAY:
                start.append(0), step.append(1), size.append(n)
                axes.append(at)
            else:
                i = as_integer(op, k)
                if not -n <= i < n:
                    raise IndexingError(op, f"index {i}", f"axis {axis} has {n} elements", f"use {-n} to {n - 1}" if n else "")
                start.append(i % n), step.append(1), size.append(1)
                drop.append(at)
            first = at if first is None else first
            groups += not open_group
            open_group = True
        axis += 1
    # NumPy: the axes of neighbouring advanced indices stand where these stood, of separated ones in front
    position = sum([1 for k in range(first) if k not in drop and k not in axes]) if axes and groups == 1 else 0
    return Key(tuple(whole), tuple(start), tuple(step), tuple(size), tuple(drop), tuple(axes), position)


def slice_indices(op: str, s: slice, n: int) -> tuple[int, int, int]:
    try:
        return s.indices(n)
    except (TypeError, ValueError) as error:
        raise IndexingError(op, str(s), str(error), "use integers, and a step other than 0") from None


def static_view(x: Term, key: Key) -> Term:
    """x with the static part of a key applied: axes cut, integers' axes dropped, index arrays' axes still there."""
    x = reshaped(x, key.shape)
    if not key.whole:
        x = P.slice(x, start=key.start, step=key.step, shape=key.size)
    return reshaped(x, tuple([n for k, n in enumerate(key.size) if k not in key.drop])) if key.drop else x


def array_axes(key: Key) -> tuple[int, ...]:
    """The axes of index arrays in the static view."""
    return tuple([a - sum([1 for d in key.drop if d < a]) for a in key.axes])


def together(op: str, indices: tuple[Term, ...]) -> tuple[Term, ...]:
    """Index arrays as int64 (int32 stays) of one shape."""
    shape = broadcast_shapes(op, *[i.aval.shape for i in indices])
    wide = dtypes.int32 if all([i.aval.dtype == dtypes.int32 for i in indices]) else dtypes.int64
    return tuple([broadcast(cast(i, wide), shape) for i in indices])


# ---- reading ------------------------------------------------------------------------------------------------------------------

@public(name="_index")
def index(x: Term, key: object) -> Term:
    """x at a key without arrays."""
    return static_view(x, normal_key("getitem", x.aval.shape, key if isinstance(key, tuple) else (key,)))


@public(name="_gather")
def gathered(x: Term, indices: Terms, key: tuple) -> Term:
    """x at a key with arrays: `key` has ARRAY where they stand."""
    k = normal_key("getitem", x.aval.shape, key)
    return P.gather(static_view(x, k), *together("getitem", indices), axes=array_axes(k), position=k.position)


# ---- writing ------------------------------------------------------------------------------------------------------------------

COMBINE = {"set": None, "add": P.add, "mul": P.mul, "max": P.maximum, "min": P.minimum}


@public(name="_write")
def written(x: Term, value: Operand, indices: Terms, key: tuple, mode: str) -> Term:
    """x with `value` written (or combined, by `mode`) at a key."""
    k = normal_key("setitem", x.aval.shape, key)
    view = None
    if k.axes:
        indices = together("setitem", indices)
        view = static_view(x, k)
        rest = k.rest
        target = (*rest[:k.position], *indices[0].aval.shape, *rest[k.position:])
    else:
        target = k.rest
    v = fitted(value, x, target)
    if k.axes:
        scatter = {"set": P.scatter_set, "add": P.scatter_add, "mul": P.scatter_mul, "max": P.scatter_max, "min": P.scatter_min}[mode]
        v, mode = scatter(view, *indices, v, axes=array_axes(k), position=k.position), "set"
    v = reshaped(v, k.size)
    base = reshaped(x, k.shape)
    if not k.whole:
        inside = P.embed(constant(True, k.size, dtypes.bool_), shape=k.shape, start=k.start, step=k.step)
        v = P.embed(v, shape=k.shape, start=k.start, step=k.step)
        v = P.where(inside, v if COMBINE[mode] is None else COMBINE[mode](base, v), base)
    elif COMBINE[mode] is not None:
        v = COMBINE[mode](base, v)
    return reshaped(v, x.aval.shape)


@public(name="_write_mask")
def write_mask(x: Term, mask: Term, value: Operand, mode: str) -> Term:
    """x combined with one number where a mask over its first axes holds: no data decides a shape."""
    shape, given = x.aval.shape, mask.aval.shape
    if shape[:len(given)] != given:
        raise mask_error("setitem", given, shape, 0)
    full = reshaped(mask, given + (1,) * (len(shape) - len(given)))
    v = fitted(value, x, shape)
    return where(full, v if COMBINE[mode] is None else COMBINE[mode](x, v), x)


def fitted(value: Term | complex, x: Term, target: Shape) -> Term:
    """What is written, in x's dtype and the shape of the places; leading axes of size 1 are dropped, as NumPy does."""
    dtype = x.aval.dtype
    if not isinstance(value, Term):
        if isinstance(value, complex) and dtype.kind != "c":
            raise DTypeError("setitem", f"{value} into {dtype}", "the imaginary part would be lost", "write its real part")
        return number("setitem", int(value) if dtype.kind in "iu" and math.isfinite(value) else value, target, dtype)
    if value.aval.dtype.kind == "c" and dtype.kind != "c":
        raise DTypeError("setitem", f"{value.aval.dtype} into {dtype}", "the imaginary part would be lost", "write its real part")
    shape = value.aval.shape
    while len(shape) > len(target) and shape[0] == 1:
        shape = shape[1:]
    if len(shape) > len(target) or any([m not in (1, n) for m, n in zip(reversed(shape), reversed(target), strict=False)]):
        raise ShapeError("setitem", f"a value of {value.aval.shape} into places of {target}", "shapes do not broadcast",
                         "reshape the value")
    return broadcast(reshaped(cast(value, dtype), shape), target)


# ---- from Python's keys to rules --------------------------------------------------------------------------------------------------

def mask_error(op: str, mask: Shape, shape: Shape, axis: int) -> IndexingError:
    return IndexingError(op, f"a boolean mask of {mask} on axes {axis} and up of {shape}", "their sizes differ",
                         "make the mask from an array of that shape")


def is_array(k: object) -> bool:
    return isinstance(k, list | np.ndarray | Tensor | bool | np.bool_)


def prepared(op: str, x: Tensor, key: object) -> tuple[tuple, list]:
    """A key as (static key with ARRAY, index arrays): masks are evaluated, NumPy arrays checked against their axis."""
    parts = key if isinstance(key, tuple) else (key,)
    parts = [as_array(op, k) if isinstance(k, list | tuple | bool | np.bool_) else bounded(k) for k in parts]
    parts = [k.astype(np.int64) if isinstance(k, np.ndarray) and k.size == 0 and k.dtype.kind == "f" else k for k in parts]
    used = 0
    for k in parts:
        used += 0 if k is None or k is Ellipsis else k.ndim if is_array(k) and k.dtype.kind == "b" else 1
    if used > x.ndim:
        raise IndexingError(op, f"{used} indices for {x.shape}", f"it has {x.ndim} axes", "use fewer indices")
    if not any([k is Ellipsis for k in parts]):
        parts.append(Ellipsis)
    static, arrays, axis = [], [], 0
    for k in parts:
        if k is Ellipsis:
            axis += x.ndim - used
            static.append(k)
        elif k is None:
            static.append(k)
        elif not is_array(k):
            static.append(k)
            axis += 1
        elif k.dtype.kind == "b":
            if tuple(k.shape) != x.shape[axis:axis + k.ndim]:
                raise mask_error(op, tuple(k.shape), x.shape, axis)
            hits = np.atleast_1d(np.asarray(k)).nonzero()
            if k.ndim == 0:                          # x[True], x[False]: a new axis of one or no element
                static.append(NEW)
                arrays.append(np.zeros(len(hits[0]), np.int64))
            else:
                static.extend([ARRAY] * k.ndim)
                arrays.extend(hits)
            axis += k.ndim
        else:
            if k.dtype.kind not in "iu":
                raise IndexingError(op, f"an index array of {k.dtype}", "indices are integers or booleans", "cast it to int64")
            n = x.shape[axis]
            if isinstance(k, np.ndarray):
                outside = (k < -n) | (k >= n)
                if outside.any():
                    raise IndexingError(op, f"index {k[outside].flat[0]}", f"axis {axis} has {n} elements", f"use {-n} to {n - 1}" if n else "")
            static.append(ARRAY)
            arrays.append(k)
            axis += 1
    return tuple(static), arrays


def rank(value: object) -> int:
    return value.ndim if isinstance(value, Tensor) else np.ndim(value)


NEW = "new"                     # stands in a static key for a 0-d boolean: an index array over a new axis


def as_array(op: str, k: object) -> np.ndarray | Tensor:
    """A list of indices as an array; as a tensor if it has tensors in it."""
    if isinstance(k, list | tuple) and any([isinstance(i, Tensor) for i in k]):
        return FUNCTIONS["stack"](list(k))
    try:
        return np.asarray(k)
    except ValueError:
        raise IndexingError(op, f"a {type(k).__name__}", "its rows differ in length", "use an array of one shape") from None


def bounded(k: object) -> object:
    """A slice between tensors as one between their present values, which are static; any other key as it is."""
    if isinstance(k, slice):
        return slice(*[operator.index(v) if isinstance(v, Tensor) else v for v in (k.start, k.stop, k.step)])
    return k


def with_new_axes(x: Tensor, static: tuple) -> tuple[Tensor, tuple]:
    """x with an axis of size 1 for every NEW, which becomes an ARRAY over it."""
    if NEW not in static:
        return x, static
    view, axis, out = x, 0, []
    rest = x.ndim - sum([1 for k in static if k is not None and k is not Ellipsis and k is not NEW])
    for k in static:
        if k is NEW:
            view = FUNCTIONS["expand_dims"](view, axis)
            k = ARRAY
        axis += 0 if k is None else rest if k is Ellipsis else 1
        out.append(k)
    return view, tuple(out)


STATIC = (int, slice, type(None), type(Ellipsis), np.integer)


def is_static(key: object) -> bool:
    """Whether a key has neither arrays nor anything whose value can change."""
    for k in key if type(key) is tuple else (key,):
        if not isinstance(k, STATIC) or isinstance(k, bool):
            return False
        if isinstance(k, slice) and any([isinstance(v, Tensor) for v in (k.start, k.stop, k.step)]):
            return False
    return True


@plain()
def getitem(x, key):
    """x[key] with NumPy's rules for every kind of key. Boolean masks are evaluated at once; their shape decides the result's.

    IndexingError for indices outside the array (for index tensors: when it is computed).

    >>> import lazygrad as lg
    >>> x = lg.asarray([[1, 2], [3, 4]])
    >>> x[0].tolist(), x[:, ::-1].tolist(), x[[1, 0], [0, 1]].tolist(), x[x > 2].tolist()
    ([1, 2], [[2, 1], [4, 3]], [3, 2], [3, 4])
    """
    if type(key) is int or is_static(key):
        return INDEX(x, key)
    static, arrays = prepared("getitem", x, key)
    view, static = with_new_axes(x, static)
    return GATHER(view, arrays, static) if arrays else INDEX(view, static)


@plain()
def setitem(x, key, value, mode="set"):
    """x with `value` at `key`, as a new tensor; `mode` is "set", "add", "mul", "max" or "min".

    Of several values for one place, "set" keeps the last; the others combine them all. The value broadcasts to x[key].

    >>> import lazygrad as lg
    >>> lg.setitem(lg.asarray([1, 2, 3]), slice(1), 7).tolist()
    [7, 2, 3]
    """
    if is_static(key):
        return WRITE(x, value, (), key if isinstance(key, tuple) else (key,), mode)
    alone = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if isinstance(alone, np.ndarray | Tensor) and alone.dtype.kind == "b" and alone.ndim and rank(value) == 0:
        return WRITE_MASK(x, alone, value, mode)
    static, arrays = prepared("setitem", x, key)
    view, static = with_new_axes(x, static)
    out = WRITE(view, value, arrays, static, mode)
    return out if view is x else FUNCTIONS["reshape"](out, x.shape)


INDEX, GATHER, WRITE, WRITE_MASK = [FUNCTIONS.pop(name) for name in ("_index", "_gather", "_write", "_write_mask")]


class At:
    """`x.at[key]`: functional updates.

    >>> import lazygrad as lg
    >>> lg.asarray([1, 2, 3]).at[[0, 0]].add(10).tolist()
    [21, 2, 3]
    """

    __slots__ = ("key", "x")

    def __init__(self, x: Tensor, key: object = None) -> None:
        self.x, self.key = x, key

    def __getitem__(self, key: object) -> At:
        return At(self.x, key)

    def get(self) -> Tensor:
        """x[key]."""
        return getitem(self.x, self.key)

    def set(self, value: object) -> Tensor:
        """x with `value` at the key."""
        return setitem(self.x, self.key, value)

    def add(self, value: object) -> Tensor:
        """x with `value` added at the key, once for every time that an index occurs."""
        return setitem(self.x, self.key, value, "add")

    def mul(self, value: object) -> Tensor:
        """x multiplied with `value` at the key."""
        return setitem(self.x, self.key, value, "mul")

    multiply = mul

    def max(self, value: object) -> Tensor:
        """x at least `value` at the key."""
        return setitem(self.x, self.key, value, "max")

    def min(self, value: object) -> Tensor:
        """x at most `value` at the key."""
        return setitem(self.x, self.key, value, "min")


Tensor.__getitem__ = getitem
Tensor.at = property(At, doc="Functional updates: x.at[key].set(v), add, mul, max, min.")
