"""einsum: sums of products named by letters, lowered to movement and batched matrix products, two operands at a time.

In: subscripts and tensors. Out: the tensor. Repeated letters, ellipses and the implicit output mean what they mean in
NumPy. The order of products is greedy: the pair whose result is smallest compared with its operands goes first.
"""

from __future__ import annotations

import math
from collections import Counter

from .. import dtypes
from ..errors import ShapeError
from ..ir.term import Term
from .diagonals import taken_diagonal
from .elementwise import RULES
from .movement import permuted
from .promotion import P, alike, broadcast, reshaped
from .table import public

Labels = tuple[str | int, ...]           # one for every axis: a letter, or an integer for an axis of the ellipsis


def bad(subscripts: str, wrong: str, fix: str) -> ShapeError:
    return ShapeError("einsum", repr(subscripts), wrong, fix)


# ---- reading ----------------------------------------------------------------------------------------------------------------

def letters(subscripts: str, part: str, ndim: int | None) -> Labels:
    """The labels of one operand; axes of the ellipsis are numbered from the end: ..., -2, -1."""
    head, dots, tail = part.partition("...")
    for c in head + tail:
        if not (c.isalpha() and c.isascii()):
            raise bad(subscripts, f"{c!r} names no axis", "use letters, commas, '...' and '->'")
    if not dots:
        return tuple(head)
    many = 0 if ndim is None else ndim - len(head) - len(tail)
    return (*head, *range(-many, 0), *tail)


def parse(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[Labels], Labels, dict]:
    """The labels of every operand and of the output, and the size of each label."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise bad(subscripts, f"it names {len(parts)} operands, {len(shapes)} came", "pass one operand for each")
    inputs, sizes = [], {}
    for k, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        labels = letters(subscripts, part, len(shape))
        if len(labels) != len(shape):
            raise bad(subscripts, f"{part!r} names {len(labels)} axes, operand {k} has shape {shape}", "name every axis once, or use '...'")
        for c, n in zip(labels, shape, strict=True):
            known = sizes.setdefault(c, n)
            if known == 1:
                sizes[c] = n
            elif n not in (1, known):
                name = f"axis {c!r}" if isinstance(c, str) else "an axis of '...'"
                raise bad(subscripts, f"{name} is {known} and {n} (operand {k}, {shape})", "equal letters need equal sizes")
        inputs.append(labels)
    ellipsis = tuple(sorted([c for c in sizes if isinstance(c, int)]))
    if arrow:
        head, dots, tail = right.partition("...")
        letters(subscripts, right, None)
        output = (*head, *(ellipsis if dots else ()), *tail)
        if ellipsis and not dots:
            raise bad(subscripts, "the output has no '...' for that of the operands", "write '...' on the right")
    else:
        times = Counter(c for labels in inputs for c in labels if isinstance(c, str))
        output = (*ellipsis, *sorted([c for c, n in times.items() if n == 1]))
    if len(set(output)) != len(output):
        raise bad(subscripts, "the output names an axis twice", "name each axis once")
    for c in output:
        if c not in sizes:
            raise bad(subscripts, f"the output's {c!r} is in no operand", "name axes of the operands")
    return inputs, output, sizes


# ---- steps on one and on two operands ------------------------------------------------------------------------------------------

def distinct(x: Term, labels: Labels) -> tuple[Term, Labels]:
    """x with repeated letters replaced by diagonals."""
    while len(set(labels)) != len(labels):
        c = next(c for c, n in Counter(labels).items() if n > 1)
        i, j = [k for k, d in enumerate(labels) if d == c][:2]
        rest = [k for k in range(len(labels)) if k not in (i, j)]
        x = taken_diagonal(permuted(x, (*rest, i, j)), 0)
        labels = (*[labels[k] for k in rest], c)
    return x, labels


def summed(x: Term, labels: Labels, keep: set) -> tuple[Term, Labels]:
    """x summed over the labels that nobody else needs."""
    axes = tuple([k for k, c in enumerate(labels) if c not in keep])
    return (P.sum(x, axes=axes) if axes else x), tuple([c for c in labels if c in keep])


def times(a: Term, p: Labels, b: Term, q: Labels, keep: set, sizes: dict) -> tuple[Term, Labels]:
    """Two operands into one: labels of both that nobody else needs are contracted, the others are batches."""
    # axes of size 1 against a larger one broadcast: they carry no label of their own
    a, p = narrowed(a, p, sizes, set(q))
    b, q = narrowed(b, q, sizes, set(p))
    a, p = summed(a, p, keep | set(q))
    b, q = summed(b, q, keep | set(p))
    batch = tuple([c for c in p if c in q and c in keep])
    inner = tuple([c for c in p if c in q and c not in keep])
    rows, columns = tuple([c for c in p if c not in q]), tuple([c for c in q if c not in p])
    if not inner:                              # no sum: a product, which fuses with what follows
        out = batch + rows + columns
        return RULES["multiply"](placed(a, p, out), placed(b, q, out)), out
    size = {c: n for x, labels in ((a, p), (b, q)) for c, n in zip(labels, x.aval.shape, strict=True)}
    shape = tuple([size[c] for c in batch])
    m, k, n = [math.prod([size[c] for c in labels]) for labels in (rows, inner, columns)]
    left = reshaped(permuted(a, tuple(map(p.index, batch + rows + inner))), (*shape, m, k))
    right = reshaped(permuted(b, tuple(map(q.index, batch + inner + columns))), (*shape, k, n))
    out = batch + rows + columns
    return reshaped(P.matmul(left, right), tuple([size[c] for c in out])), out


def narrowed(x: Term, labels: Labels, sizes: dict, other: set) -> tuple[Term, Labels]:
    axes = [k for k, c in enumerate(labels) if c in other and x.aval.shape[k] == 1 and sizes[c] != 1]
    if not axes:
        return x, labels
    shape = tuple([n for k, n in enumerate(x.aval.shape) if k not in axes])
    return reshaped(x, shape), tuple([c for k, c in enumerate(labels) if k not in axes])


def placed(x: Term, labels: Labels, out: Labels) -> Term:
    """x with its axes in the order of `out`, and axes of size 1 where it has none."""
    x = permuted(x, tuple([labels.index(c) for c in out if c in labels]))
    sizes = iter(x.aval.shape)
    return reshaped(x, tuple([next(sizes) if c in labels else 1 for c in out]))


def cheapest(operands: list[tuple[int, Labels]], output: Labels, sizes: dict) -> tuple[int, int]:
    """Of operands, given by their sizes and labels, the pair whose product has the fewest elements beyond its own."""
    if len(operands) == 2:
        return 0, 1
    users = Counter(c for _, labels in operands for c in set(labels))
    best, where = None, (0, 1)
    for j in range(len(operands)):
        for i in range(j):
            p, q = set(operands[i][1]), set(operands[j][1])
            left = {c for c in p | q if c in output or users[c] > (c in p) + (c in q)}
            volume, work = math.prod([sizes[c] for c in left]), math.prod([sizes[c] for c in p | q])
            cost = (volume - operands[i][0] - operands[j][0], work)
            if best is None or cost < best:
                best, where = cost, (i, j)
    return where


# ---- the function --------------------------------------------------------------------------------------------------------------

@public()
def einsum(subscripts: str, *operands: Term) -> Term:
    """The sum of products of the operands that `subscripts` names: "ij,jk->ik" is a matrix product.

    One letter for every axis; a letter that is not in the output is summed over; a letter repeated within an operand
    takes its diagonal; "..." stands for the axes without letters, which broadcast. Without "->" the output has the
    letters that occur once, in alphabetical order. ShapeError where sizes or letters do not fit.

    >>> import lazygrad as lg
    >>> lg.einsum("ij,j->i", lg.asarray([[1., 2.], [3., 4.]]), lg.asarray([1., 1.])).tolist()
    [3.0, 7.0]
    """
    if not operands:
        raise bad(subscripts, "no operands came", "pass one tensor for each part")
    xs = alike("einsum", operands)
    if xs[0].aval.dtype.kind == "b":
        xs = tuple([P.cast(x, dtype=dtypes.int64) for x in xs])
    inputs, output, sizes = parse(subscripts, [x.aval.shape for x in xs])
    parts = [distinct(x, labels) for x, labels in zip(xs, inputs, strict=True)]
    while len(parts) > 1:
        i, j = cheapest([(x.aval.size, labels) for x, labels in parts], output, sizes)
        (b, q), (a, p) = parts.pop(j), parts.pop(i)
        keep = set(output).union(*[labels for _, labels in parts])
        parts.append(times(a, p, b, q, keep, sizes))
    x, labels = summed(*parts[0], set(output))
    return broadcast(placed(x, labels, output), tuple([sizes[c] for c in output]))
