"""Padding by all of NumPy's modes: constants, ramps, statistics, reflections and repetitions of an array around it.

In: a tensor, how much before and after every axis, a mode and its options. Out: a larger tensor. The axes are padded one after another,
from the first on: corners are pads of pads, as in NumPy.
"""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ir.term import Term
from ..lift import Operand, Terms, normal
from ..tensor import Tensor
from .composite import fill, scale
from .creation import line
from .elementwise import ordered
from .joining import tile
from .movement import cut, flip
from .promotion import P, Shape, as_term, broadcast, cast, constant, number, reshaped
from .quantiles import median
from .reductions import max as max_
from .reductions import mean as mean_
from .reductions import min as min_
from .selection import tensor_of
from .table import deferred, plain

Pair = tuple[int, int]
OPTIONS = {"constant": ("constant_values",), "edge": (), "empty": (), "wrap": (), "linear_ramp": ("end_values",), "reflect": ("reflect_type",),
           "symmetric": ("reflect_type",), **dict.fromkeys(("maximum", "mean", "median", "minimum"), ("stat_length",))}


def each_axis(name: str, given: object, shape: Shape, wrong: str, fix: str) -> tuple[tuple, ...]:
    """n, (before, after) or a pair (or (n,)) for every axis as pairs for every axis."""
    pairs = given if isinstance(given, tuple) else (given,)
    if all([not isinstance(p, tuple) for p in pairs]):
        pairs = ((pairs[0], pairs[-1]),) * len(shape) if 0 < len(pairs) <= 2 else ()
    pairs = tuple([p if isinstance(p, tuple) else (p, p) for p in pairs])
    pairs = tuple([p * 2 if len(p) == 1 else p for p in pairs])
    pairs = pairs * len(shape) if len(pairs) == 1 else pairs
    if len(pairs) != len(shape) or any([len(p) != 2 for p in pairs]):
        raise ShapeError("pad", f"{name} {given} of {shape}", wrong, fix)
    return pairs


def widths_of(given: object, shape: Shape) -> tuple[Pair, ...]:
    wrong, fix = "it is neither n, (before, after) nor one pair for every axis", "pass widths of 0 or more"
    if isinstance(given, dict):
        found = {k % len(shape): v for k, v in given.items()}
        given = tuple([found.get(k, 0) for k in range(len(shape))])
        given = tuple([p if isinstance(p, tuple) else (p, p) for p in given])
    pairs = each_axis("pad_width", given, shape, wrong, fix)
    if any([not isinstance(n, int) or n < 0 for p in pairs for n in p]):
        raise ShapeError("pad", f"pad_width {given} of {shape}", wrong, fix)
    return pairs


# ---- one axis ---------------------------------------------------------------------------------------------------------

def joined(parts: list[Term], k: int) -> Term:
    parts = [p for p in parts if p.aval.shape[k]]
    return P.concatenate(*parts, axis=k) if len(parts) > 1 else parts[0]


def thick(x: Term, k: int, n: int) -> Term:
    """A slice of thickness 1 along k, n times."""
    return broadcast(x, (*x.aval.shape[:k], n, *x.aval.shape[k + 1:]))


def periodic(x: Term, k: int, width: Pair, period: Term) -> Term:
    """The part of an endless repetition of `period`, which begins with x, from width[0] before to width[1] after x."""
    n, p, (a, b) = x.aval.shape[k], period.aval.shape[k], width
    if period is x and a <= n and b <= n:
        return joined([cut(x, k, n - a, a), x, cut(x, k, 0, b)], k)
    first = -a % p
    times = -(-(first + a + n + b) // p)
    wide = tile(period, tuple([times if j == k else 1 for j in range(x.aval.ndim)]))
    return cut(wide, k, first, a + n + b)


def reflected(x: Term, k: int, width: Pair, edge: bool, odd: bool) -> Term:
    """x continued by its mirror image at both ends; `edge`: the last element is repeated; `odd`: turned round about the end's value."""
    n = x.aval.shape[k]
    if n == 1 and not edge:
        return edges(x, k, width)
    a, b = width
    skip = 0 if edge else 1
    if not odd and a + skip <= n and b + skip <= n:
        return joined([flip(cut(x, k, skip, a), k), x, flip(cut(x, k, n - skip - b, b), k)], k)
    if not odd:
        inner = flip(x, k) if edge else flip(cut(x, k, 1, n - 2), k)
        return periodic(x, k, width, joined([x, inner], k))
    before, after = width
    reach = n if edge else n - 1
    while before or after:                    # each image is one of all that is there already at that end
        m = x.aval.shape[k]
        parts = [x]
        if before:
            take = min(before, reach)
            end = thick(cut(x, k, 0, 1), k, take)
            parts.insert(0, P.sub(scale(end, 2), flip(cut(x, k, 0 if edge else 1, take), k)))
            before -= take
        if after:
            take = min(after, reach)
            end = thick(cut(x, k, m - 1, 1), k, take)
            parts.append(P.sub(scale(end, 2), flip(cut(x, k, m - take - (0 if edge else 1), take), k)))
            after -= take
        x = joined(parts, k)
        reach = x.aval.shape[k] - (0 if edge else 1)
    return x


def edges(x: Term, k: int, width: Pair) -> Term:
    n = x.aval.shape[k]
    return joined([thick(cut(x, k, 0, 1), k, width[0]), x, thick(cut(x, k, n - 1, 1), k, width[1])], k)


def ramps(x: Term, k: int, width: Pair, ends: tuple[Operand, Operand]) -> Term:
    """x continued by straight lines to the end values."""
    n, parts = x.aval.shape[k], [x]
    wide = x if x.aval.dtype.kind in "fc" else cast(x, dtypes.float64)
    for side, (m, end) in enumerate(zip(width, ends, strict=True)):
        if not m:
            continue
        edge = thick(cut(wide, k, n - 1 if side else 0, 1), k, m)
        far = broadcast(cast(as_term("pad", end), wide.aval.dtype), edge.aval.shape)
        t = line(m, m - 1, -1, wide.aval.dtype) if side else line(m, 0, 1, wide.aval.dtype)            # 0 at the end, m would be the edge
        t = broadcast(reshaped(t, tuple([m if j == k else 1 for j in range(x.aval.ndim)])), edge.aval.shape)
        out = P.add(P.mul(t, P.div(P.sub(edge, far), fill(t, m))), far)
        out = out if x.aval.dtype.kind in "fc" else cast(P.floor(out) if x.aval.dtype.kind in "iu" else out, x.aval.dtype)
        parts = [*parts, out] if side else [out, *parts]
    return joined(parts, k)


def statistics(x: Term, k: int, width: Pair, lengths: tuple[int | None, int | None], mode: str) -> Term:
    """x continued by a statistic of its first and last elements."""
    n, parts = x.aval.shape[k], [x]
    rule = {"maximum": max_, "minimum": min_, "mean": mean_, "median": median}[mode]
    for side, (m, length) in enumerate(zip(width, lengths, strict=True)):
        if not m:
            continue
        size = n if length is None else min(length, n)
        part = cut(x, k, n - size if side else 0, size)
        if mode in ("mean", "median"):
            wide = part if part.aval.dtype.kind in "fc" else cast(part, dtypes.float64)
            value = mean_(wide, k, None, True) if mode == "mean" else median(wide, k, True)
            value = value if x.aval.dtype.kind in "fc" else cast(P.rint(value), x.aval.dtype)
        else:
            value = rule(ordered("pad", (part,))[0], k, True)
        parts = [*parts, thick(value, k, m)] if side else [thick(value, k, m), *parts]
    return joined(parts, k)


# ---- the function -----------------------------------------------------------------------------------------------------

def surrounded(x: Term, widths: tuple[Pair, ...], value: Operand = 0) -> Term:
    """x inside of one number."""
    shape = x.aval.shape
    whole = tuple([a + n + b for n, (a, b) in zip(shape, widths, strict=True)])
    start, step = tuple([a for a, _ in widths]), (1,) * len(shape)
    inner = P.embed(x, shape=whole, start=start, step=step)
    if not isinstance(value, Term):
        if value == 0:
            return inner
        value = number("pad", value, (), x.aval.dtype)
    inside = P.embed(constant(True, shape, dtypes.bool_), shape=whole, start=start, step=step)
    return P.where(inside, inner, broadcast(cast(value, x.aval.dtype), whole))


def continued(x: Term, k: int, width: Pair, mode: str, ends: tuple[Operand, Operand], lengths: tuple, odd: bool) -> Term:
    """x padded along axis k."""
    if mode == "constant":
        parts = []
        for m, v in zip(width, ends, strict=True):
            v = reshaped(v, ()) if isinstance(v, Term) else v
            shape = tuple([m if j == k else n for j, n in enumerate(x.aval.shape)])
            parts.append(broadcast(cast(v, x.aval.dtype), shape) if isinstance(v, Term) else number("pad", v, shape, x.aval.dtype))
        return joined([parts[0], x, parts[1]], k)
    if mode == "edge":
        return edges(x, k, width)
    if mode == "wrap":
        return periodic(x, k, width, x)
    if mode in ("reflect", "symmetric"):
        return reflected(x, k, width, mode == "symmetric", odd)
    return ramps(x, k, width, ends) if mode == "linear_ramp" else statistics(x, k, width, lengths, mode)


def padded(x: Term, values: Terms, widths: tuple[Pair, ...], mode: str, lengths: tuple, odd: bool) -> Term:
    """x padded along all axes; `values`: one number for all sides, or one for each side of each axis."""
    if all([w == (0, 0) for w in widths]):
        return x
    if mode == "constant" and len(values) == 1:
        return surrounded(x, widths, values[0])
    pairs = values * (2 * len(widths)) if len(values) == 1 else values
    for k, w in enumerate(widths):
        if w != (0, 0):
            if not x.aval.shape[k] and mode != "constant":
                raise ShapeError("pad", f"axis {k} of {x.aval.shape} by {w}", "it has no elements to go on with", 'pad with mode="constant"')
            x = continued(x, k, w, mode, pairs[2 * k:2 * k + 2], lengths[k], odd)
    return x


PADDED = deferred(padded)


def numbers_of(name: str, given: object, shape: Shape) -> tuple:
    """Values as one for all sides, or one for each side of each axis."""
    if isinstance(given, Tensor | bool | int | float | complex | np.generic) or (isinstance(given, np.ndarray) and not given.ndim):
        return (given,)
    pairs = normal(given.tolist() if isinstance(given, np.ndarray) else given)
    return tuple([v for p in each_axis(name, pairs, shape, "they are neither one, a pair nor one pair for every axis", "pass numbers") for v in p])


def unset(value: object) -> bool:
    return isinstance(value, int) and value == 0


@plain()
def pad(x, pad_width, mode="constant", *, constant_values=0, end_values=0, stat_length=None, reflect_type="even"):
    """x with `pad_width` further elements around it: n, (before, after), a (before, after) for every axis, or a dict by axis.

    `mode`: "constant" (`constant_values`), "edge", "linear_ramp" (to `end_values`), "maximum", "mean", "median", "minimum" (of the first
    and last `stat_length` elements), "reflect", "symmetric" (`reflect_type` "even" or "odd"), "wrap", "empty" (zeros). Values may be
    tensors, to which derivatives flow.

    >>> import lazygrad as lg
    >>> lg.pad(lg.asarray([1, 2]), (1, 2)).tolist(), lg.pad(lg.asarray([1, 2, 3]), 2, "reflect").tolist()
    ([0, 1, 2, 0, 0], [3, 2, 1, 2, 3, 2, 1])
    """
    x = tensor_of(x)
    if mode not in OPTIONS:
        raise OptionError("pad", f"mode {mode!r}", "there is no such mode", "use one of " + ", ".join(OPTIONS))
    given = {"constant_values": not unset(constant_values), "end_values": not unset(end_values), "stat_length": stat_length is not None,
             "reflect_type": reflect_type != "even"}
    for name, there in given.items():
        if there and name not in OPTIONS[mode]:
            raise OptionError("pad", f"{name} with mode {mode!r}", "the mode does not use it", "leave it out")
    if reflect_type not in ("even", "odd"):
        raise OptionError("pad", f"reflect_type={reflect_type!r}", "there is no such type", 'pass "even" or "odd"')
    widths = widths_of(normal(pad_width.tolist() if isinstance(pad_width, np.ndarray | Tensor) else pad_width), x.shape)
    values = numbers_of("end_values", end_values, x.shape) if mode == "linear_ramp" else numbers_of("constant_values", constant_values, x.shape)
    lengths = each_axis("stat_length", normal(stat_length), x.shape, "it is neither n, (before, after) nor one pair for every axis", "pass sizes")
    if any([n is not None and n < 1 for p in lengths for n in p]):
        raise ShapeError("pad", f"stat_length {stat_length}", "no elements have no statistic", "pass 1 or more")
    return PADDED.function()(x, values, widths, "constant" if mode == "empty" else mode, lengths, reflect_type == "odd")


Tensor.pad = pad
