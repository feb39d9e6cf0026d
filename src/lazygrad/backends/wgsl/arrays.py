"""Arrays: the storage bindings of a shader, and the text of loads from and stores to them.

In: for each buffer its dtype, number of elements and whether it is an array of vec4s. Out: declarations, `Binding`s and
expressions. An index here is WGSL text of type u32 and in bounds; a buffer larger than one binding is several segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .text import Module, storage_name
from .traits import Binding, Traits, stored

WHOLE = 1 << 62                  # bytes of a segment where every buffer is one binding


def power_below(n: int) -> int:
    """The largest power of two that is at most n."""
    return 1 << (n.bit_length() - 1)


class Array:
    """One buffer as WGSL sees it. `pack`: elements of an array entry: 1, 4, or 2 of 8 bytes."""

    def __init__(self, param: int, dtype: np.dtype, size: int, packed: bool, writes: bool, segment: int) -> None:
        self.param, self.dtype, self.size, self.packed, self.writes = param, dtype, size, packed, writes
        item = stored(dtype).itemsize
        self.name, self.element = f"b{param}", storage_name(dtype)
        self.pack = 1 if not packed else min(4, 16 // item)
        self.entry = self.element if self.pack == 1 else f"vec{self.pack}<{self.element}>"
        self.per = segment // (item * self.pack)               # entries of a segment
        self.segments = max(1, -(-size * item // segment))
        self.width, self.base = self.segments, ""              # segments that are bound, and WGSL: the first entry of the first
        self.reads = False

    @property
    def last(self) -> int:
        """The last element there is."""
        return max(self.size - 1, 0)

    # ---- entries
    def get(self, i: str) -> str:
        self.reads = True
        return f"{self.name}[{self._inside(i)}]" if self.width == 1 else f"get_{self.name}({self._inside(i)})"

    def put(self, i: str, value: str) -> str:
        return f"{self.name}[{self._inside(i)}] = {value};" if self.width == 1 else f"put_{self.name}({self._inside(i)}, {value});"

    def _inside(self, i: str) -> str:
        """Entry i, counted from the first that is bound."""
        return f"({i}) - {self.base}" if self.base else i

    # ---- elements
    def load(self, i: str) -> str:
        """Element i."""
        if self.pack == 1:
            return self.get(i)
        return f"{self.get(f'({i}) / {self.pack}u')}[({i}) % {self.pack}u]"

    def store(self, i: str, value: str) -> str:
        """A statement: element i becomes `value`; not for packed arrays, whose entries are written whole."""
        assert self.pack == 1
        return self.put(i, value)

    def load_quad(self, q: str) -> str:
        """Elements 4q ... 4q + 3 of a packed array."""
        if self.pack == 4:
            return self.get(q)
        return f"vec4<{self.element}>({self.get(f'({q}) * 2u')}, {self.get(f'({q}) * 2u + 1u')})"

    def store_quad(self, q: str, value: str) -> list[str]:
        if self.pack == 4:
            return [self.put(q, value)]
        return [self.put(f"({q}) * 2u", f"({value}).xy"), self.put(f"({q}) * 2u + 1u", f"({value}).zw")]

    # ---- declarations
    def names(self) -> list[str]:
        return [self.name] if self.width == 1 else [f"{self.name}_{s}" for s in range(self.width)]

    def functions(self) -> list[str]:
        """The choice of a segment by index."""
        if self.width == 1:
            return []
        out, names = [], self.names()
        cases = [(f"  if (i < {(s + 1) * self.per}u) {{ ", "i" if s == 0 else f"i - {s * self.per}u", " }")
                 for s in range(self.width)]
        cases[-1] = ("  ", cases[-1][1], "")
        if self.reads:
            lines = [f"{head}return {n}[{i}];{tail}" for n, (head, i, tail) in zip(names, cases, strict=True)]
            out += [f"fn get_{self.name}(i: u32) -> {self.entry} {{", *lines, "}"]
        if self.writes:
            lines = [f"{head}{n}[{i}] = value; return;{tail}" for n, (head, i, tail) in zip(names, cases, strict=True)]
            out += [f"fn put_{self.name}(i: u32, value: {self.entry}) {{", *lines, "}"]
        return out


class Arrays:
    """The buffers of one shader by parameter; parameters that are the same buffer share an Array."""

    def __init__(self, dtypes: Sequence[np.dtype], sizes: Sequence[int], used: Sequence[int], written: frozenset[int],
                 packed: frozenset[int], traits: Traits, module: Module) -> None:
        most = max([-(-sizes[p] * stored(dtypes[p]).itemsize // 16) * 16 for p in used], default=0)
        self.segment = WHOLE if most <= traits.binding else power_below(traits.binding)
        self.by_param = {p: Array(p, dtypes[p], sizes[p], p in packed, p in written, self.segment) for p in used}
        self.windows = False
        for p in used:
            module.use(dtypes[p])

    @property
    def several(self) -> bool:
        """Whether some buffer takes several bindings."""
        return any([a.segments > 1 for a in self.by_param.values()])

    def look_through(self, widths: dict[int, int]) -> None:
        """Bind only so many segments of each parameter; a launch's uniform says which (see `windows`)."""
        self.windows = True
        for n, a in enumerate(self.by_param.values(), 2):
            a.width = widths[a.param]
            a.base = f"launch[{n // 4}].{'xyzw'[n % 4]}" if a.segments > a.width else ""

    @property
    def first(self) -> str:
        """WGSL: the number of a launch's first step."""
        return "launch[0].x" if self.windows else "launch.x"

    def declare(self, faults: bool, launch: bool) -> tuple[list[str], tuple[Binding, ...]]:
        """The lines that declare all bindings, and the Bindings of the buffers."""
        lines, bindings = [], []
        for a in self.by_param.values():
            for s, name in enumerate(a.names()):
                access = "read_write" if a.writes else "read"
                lines.append(f"@group(0) @binding({len(bindings)}) var<storage, {access}> {name}: array<{a.entry}>;")
                bindings.append(Binding(a.param, a.writes, s))
        if faults:
            lines.append(f"@group(0) @binding({len(bindings)}) var<storage, read_write> faults: array<atomic<u32>>;")
        if launch:
            kind = f"array<vec4<u32>, {-(-(2 + len(self.by_param)) // 4)}>" if self.windows else "vec4<u32>"
            lines.append(f"@group(0) @binding({len(bindings) + faults}) var<uniform> launch: {kind};")
        for a in self.by_param.values():
            lines += a.functions()
        return lines, tuple(bindings)
