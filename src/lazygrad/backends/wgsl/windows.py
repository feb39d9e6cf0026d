"""Windows: buffers that take several bindings, seen by launches that each touch a part of them.

In: the arrays of a shader and what parts of its outermost grid loop read and write. Out: where that loop is cut, and the segments
that each launch binds: as few as can be, because a shader chooses among them at every access and a device has few bindings.
A launch's uniform holds its first step, the step at which it ends, and the first entry of every window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ...ir.record import record
from .accesses import Access, Facts
from .arrays import Array, Arrays

PARTS = 4                        # launches at most, for each segment of the largest buffer
Touched = Mapping[int, tuple[int, int] | None]           # parameter -> first and last element that is touched, None: anything


@record
class Cut:
    """`parts`: (first, end) units of the outermost loop, one launch or more each. `widths`: how many segments of each parameter are
    bound; `firsts`: the first of them, for each part."""

    parts: tuple[tuple[int, int], ...]
    widths: dict[int, int]
    firsts: tuple[dict[int, int], ...]

    @property
    def bindings(self) -> int:
        return sum(self.widths.values())


def both(a: tuple[int, int] | None, b: tuple[int, int] | None) -> tuple[int, int] | None:
    """All from the first of two spans to the last; None is anything."""
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))


def touched(accesses: Iterable[Access], facts: Facts) -> Touched:
    """What some accesses touch, by what is known of the loops."""
    found: dict[int, tuple[int, int] | None] = {}
    for a in accesses:
        span = facts.range(a.index)
        found[a.buffer] = both(found.get(a.buffer, span), span)
    return found


def cut(arrays: Arrays, units: int, touched: Callable[[int, int], Touched]) -> Cut:
    """The cut of `units` units with the fewest bindings, of few parts. `touched(first, end)`: by these units."""
    arrays_ = list(arrays.by_param.values())
    most = PARTS * max([a.segments for a in arrays_])
    best = None
    size = 1 << max(units - 1, 0).bit_length()
    while size and -(-units // size) <= most:
        made = _cut(arrays_, [(k, min(k + size, units)) for k in range(0, units, size)], touched)
        if best is None or made.bindings < best.bindings:
            best = made
        if best.bindings == len(arrays_):
            break
        size //= 2
    assert best is not None
    return best


def _cut(arrays: list[Array], parts: list[tuple[int, int]], touched: Callable[[int, int], Touched]) -> Cut:
    spans: list[dict[int, tuple[int, int]]] = []
    for first, end in parts:
        found = touched(first, end)
        spans.append({a.param: _segments(a, found.get(a.param)) for a in arrays})
    widths = {a.param: max([s[a.param][1] - s[a.param][0] + 1 for s in spans]) for a in arrays}
    firsts = tuple([{a.param: min(s[a.param][0], a.segments - widths[a.param]) for a in arrays} for s in spans])
    return Cut(tuple(parts), widths, firsts)


def _segments(a: Array, span: tuple[int, int] | None) -> tuple[int, int]:
    """The first and the last segment of some elements (and what lies beside them in a vec4)."""
    if span is None:
        return 0, a.segments - 1
    low, high = [max(min(i // a.pack // a.per, a.segments - 1), 0) for i in span]
    return low, high


def words(arrays: Arrays, cut: Cut, part: int, first: int, end: int) -> tuple[int, ...]:
    """What the uniform of a launch of a part holds, in whole vec4s."""
    found = (first, end, *[cut.firsts[part][p] * a.per for p, a in arrays.by_param.items()])
    return found + (0,) * (-len(found) % 4)
