"""Gemm text: the WGSL of a matrix product. In: memories, factors and a choice; out: lines of a shader's main function.

Two forms. `tiles`: a workgroup stages slices of both factors in workgroup memory, in the order in which they lie (quads
along k or along the other index), and each thread keeps a register tile. `direct`: no staging; a thread reads its quads
from the buffers, and `parts` threads may share one tile, each with every parts-th quad along k, their sums added
pairwise in a fixed order. Indices are u32 and count elements.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.record import record
from .arrays import Array
from .text import load_value, type_name


def _plus(text: str, k: int) -> str:
    return f"{text} + {k}u" if k else text


@record
class Factor:
    """op(A) or op(B) as it is stored: rows of `length` elements, `stride` apart, from `base` (a WGSL name) on.

    `along_k`: a stored row runs along k (A not transposed, B transposed); else k counts the rows. Where `array` is
    packed, rows start at multiples of four elements.
    """

    array: Array
    base: str
    length: int
    stride: int
    along_k: bool

    def functions(self) -> list[str]:
        """What reads four elements where the buffer is no array of quads: `four_`, or where the row may end before the
        fourth, `some_`: the first n and zeros, or `near_`: others of the buffer in their place.
        """
        if self.array.packed:
            return []
        name, t = self.array.name, type_name(self.array.dtype, 4)

        def four(index: str) -> list[str]:
            places = ["i", *[index.format(i=_plus("i", x)) for x in (1, 2, 3)]]
            return [self.element(i) for i in places]

        one, near = four("{i}"), four(f"min({{i}}, {self.array.last}u)")
        some = "".join(f"  if (n > {x}u) {{ v.{'xyzw'[x]} = {one[x]}; }}\n" for x in range(4))
        return [f"fn four_{name}(i: u32) -> {t} {{ return {t}({', '.join(one)}); }}",
                f"fn near_{name}(i: u32) -> {t} {{ return {t}({', '.join(near)}); }}",
                f"fn some_{name}(i: u32, n: u32) -> {t} {{\n  var v = {t}();\n{some}  return v;\n}}"]

    def quad(self, line: str, at: str) -> str:
        """Elements (line, at .. at + 3); behind the end of a row that runs along k they are 0, else anything."""
        left = f"{self.length}u - ({at})" if self.length % 4 else ""
        start = f"{self.base} + ({line}) * {self.stride}u"
        if left and not self.array.packed:
            name = self.array.name
            return f"some_{name}({start} + {at}, {left})" if self.along_k else f"near_{name}({start} + {at})"
        text = self.quad_from(start, at)
        if left and self.along_k:
            return f"select({type_name(self.array.dtype, 4)}(), {text}, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>({left}))"
        return text

    def quad_from(self, start: str, at: str) -> str:
        """Four elements that all lie in the row which starts at index `start`."""
        if not self.array.packed:
            return f"four_{self.array.name}({start} + {at})"
        return load_value(self.array.dtype, self.array.load_quad(f"({start} + {at}) / 4u"), 4)

    def element(self, index: str) -> str:
        return load_value(self.array.dtype, self.array.load(index))


@record
class Choice:
    """How a product is computed: `form` ("tiles" or "direct"), bm x bn elements a workgroup, tm x tn a thread.

    bk of k are staged at once (`tiles`). `parts` threads share each register tile along k (`direct`; a power of two).
    """

    form: str
    bm: int
    bn: int
    bk: int
    tm: int
    tn: int
    parts: int = 1

    @property
    def across(self) -> int:
        return self.bn // self.tn

    @property
    def down(self) -> int:
        return self.bm // self.tm

    @property
    def threads(self) -> int:
        return self.across * self.down * self.parts


def _row(tile: Choice, i: int, grouped: bool) -> str:
    """The row of register row i within the tile: neighbours in a quad where A's rows run along m."""
    if grouped:
        return _plus(f"({_plus('ty', i // 4 * tile.down)}) * 4u", i % 4)
    return _plus("ty", i * tile.down)


def _product(tile: Choice, a_along_k: bool, b_along_k: bool, register: str, a: Callable, b: Callable) -> list[str]:
    """The register tile plus one quad of k.

    a(i) is row i's quad along k, or a(x, g) the values of row group g at step x (a quad of rows, or one row if tm % 4);
    b(j, lane) is a column's quad along k, or b(x, j) column quad j at step x.
    """
    t, v = f"vec4<{register}>", tile.tn // 4
    out = []
    if b_along_k:
        out += [f"let y{j}_{lane} = {b(j, lane)};" for j in range(v) for lane in range(4)]
    if a_along_k and b_along_k:
        for i in range(tile.tm):
            dots = [", ".join(f"dot(x, y{j}_{lane})" for lane in range(4)) for j in range(v)]
            out += [f"{{ let x = {a(i)};", *[f"  c{i}_{j} += {t}({dots[j]});" for j in range(v)], "}"]
        return out
    if a_along_k:
        out += [f"let y{j}_{x} = {b(x, j)};" for x in range(4) for j in range(v)]
        for i in range(tile.tm):
            out += [f"{{ let x = {a(i)};",
                    *[f"  c{i}_{j} = fma({t}(x.{'xyzw'[x]}), y{j}_{x}, c{i}_{j});" for x in range(4)
                      for j in range(v)], "}"]
        return out
    group = 4 if tile.tm % 4 == 0 else 1
    for x in range(4):
        lanes = [", ".join(f"y{j}_{lane}.{'xyzw'[x]}" for lane in range(4)) for j in range(v)]
        out += ["{", *[f"  let y{j} = {f'{t}({lanes[j]})' if b_along_k else b(x, j)};" for j in range(v)]]
        for g in range(tile.tm // group):
            out.append(f"  let x{g} = {a(x, g)};")
            for r in range(group):
                one = f"{t}(x{g}.{'xyzw'[r]})" if group == 4 else f"{t}(x{g})"
                out += [f"  c{g * group + r}_{j} = fma({one}, y{j}, c{g * group + r}_{j});" for j in range(v)]
        out.append("}")
    return out


def _finish(tile: Choice, m: int, n: int, grouped: bool) -> list[str]:
    """Hand every quad of the register tile to `finish(batch, row, col, v)`, if it lies inside."""
    inside = ([f"row < {m}u"] if m % tile.bm else []) + ([f"col < {n}u"] if n % tile.bn else [])
    test = f"if ({' && '.join(inside)}) " if inside else ""
    out = []
    for i in range(tile.tm):
        for j in range(tile.tn // 4):
            out += [f"{{ let row = rows + {_row(tile, i, grouped)};",
                    f"  let col = cols + ({_plus('tx', j * tile.across)}) * 4u;",
                    f"  {test}{{ finish(batch, row, col, c{i}_{j}); }} }}"]
    return out


def _accumulators(tile: Choice, register: str) -> list[str]:
    return [f"var c{i}_{j} = vec4<{register}>();" for i in range(tile.tm) for j in range(tile.tn // 4)]


def _stage(f: Factor, slots: str, first: str, side: int, limit: int, k: int, tile: Choice, register: str, pitch: int,
           spread: bool) -> list[str]:
    """Copy the slice of one factor: `side` rows or columns from `first` on, bk of k, as they lie; outside are zeros.

    `spread`: line 4 * q + l goes to slot l * side / 4 + q, so that neighbouring threads read neighbouring slots.
    """
    count = side * tile.bk // 4
    out = []
    for t in range(-(-count // tile.threads)):
        tests = []
        test = f"if (li + {t * tile.threads}u < {count}u) " if (t + 1) * tile.threads > count else ""
        if f.along_k:
            row = tile.bk // 4
            where = f"let line = q / {row}u; let at = q % {row}u;"
            tests += [f"{first} + line < {limit}u"] if limit % side else []
            tests += [f"k + at * 4u < {k}u"] if k % tile.bk else []
            value = f.quad(f"{first} + line", "k + at * 4u")
            line = f"(line % 4u * {side // 4}u + line / 4u)" if spread else "line"
            slot = f"{line} * {pitch}u + at"
        else:
            row = side // 4
            where = f"let line = q / {row}u; let at = q % {row}u;"
            tests += [f"{first} + at * 4u < {limit}u"] if limit % side else []
            tests += [f"k + line < {k}u"] if k % tile.bk else []
            value = f.quad("k + line", f"{first} + at * 4u")
            slot = "q"
        inside = f"if ({' && '.join(tests)}) {{ v = {value}; }}" if tests else f"v = {value};"
        out += [f"{test}{{ let q = li + {t * tile.threads}u; {where}",
                f"  var v = vec4<{register}>(); {inside} {slots}[{slot}] = v; }}"]
    return out


def shared_quads(tile: Choice, a_along_k: bool, b_along_k: bool, room: int) -> tuple[int, int, int, int]:
    """(quads for A, quads for B, pitch of A's lines, pitch of B's) of `tiles`.

    B's lines are padded against bank conflicts if `room` quads hold that.
    """
    row = tile.bk // 4
    pitch = row
    if b_along_k and tile.bn * (row + 1) + tile.bm * row <= room:
        pitch = row + 1
    return tile.bm * row, tile.bn * pitch if b_along_k else tile.bk * tile.bn // 4, row, pitch


def tiles(a: Factor, b: Factor, m: int, n: int, k: int, tile: Choice, register: str,
          room: int) -> tuple[list[str], list[str]]:
    """(module lines, main's lines) of the staged form. `tile_row`, `tile_col`, `batch`, `li` are defined before."""
    a_quads, b_quads, a_pitch, b_pitch = shared_quads(tile, a.along_k, b.along_k, room)
    t = f"vec4<{register}>"
    module = [f"var<workgroup> slice_a: array<{t}, {a_quads}>;", f"var<workgroup> slice_b: array<{t}, {b_quads}>;"]
    across, down = tile.across, tile.down

    def read_a(x: int, g: int = 0) -> str:
        if a.along_k:
            return f"slice_a[({_row(tile, x, False)}) * {a_pitch}u + q]"
        return f"slice_a[(q * 4u + {x}u) * {tile.bm // 4}u + ty + {g * down}u]"

    def read_b(x: int, j: int) -> str:
        if b.along_k:
            line = f"{j * tile.bn // 4}u + tx + {x * across}u"         # x: column quad, j: lane
            return f"slice_b[({line}) * {b_pitch}u + q]"
        return f"slice_b[(q * 4u + {x}u) * {tile.bn // 4}u + tx + {j * across}u]"

    main = [f"let tx = li % {across}u; let ty = li / {across}u;",
            f"let rows = tile_row * {tile.bm}u; let cols = tile_col * {tile.bn}u;",
            *_accumulators(tile, register), f"for (var k = 0u; k < {k}u; k += {tile.bk}u) {{",
            *_stage(a, "slice_a", "rows", tile.bm, m, k, tile, register, a_pitch, False),
            *_stage(b, "slice_b", "cols", tile.bn, n, k, tile, register, b_pitch, True), "workgroupBarrier();",
            f"for (var q = 0u; q < {tile.bk // 4}u; q++) {{",
            *_product(tile, a.along_k, b.along_k, register, read_a, read_b), "}",
            "workgroupBarrier();", "}", *_finish(tile, m, n, not a.along_k)]
    return module, main


def direct(a: Factor, b: Factor, m: int, n: int, k: int, tile: Choice, register: str) -> tuple[list[str], list[str]]:
    """(module lines, main's lines) of the form without staging. Rows and columns outside read the last ones inside."""
    across, down, parts, v = tile.across, tile.down, tile.parts, tile.tn // 4
    grouped = not a.along_k and tile.tm % 4 == 0
    lanes = across * down
    t = f"vec4<{register}>"
    if parts > 1 and (b.along_k if n >= m else a.along_k):      # neighbouring threads read neighbouring quads
        main = [f"let part = li % {parts}u; let lane = li / {parts}u;"]
    else:
        main = [f"let part = li / {lanes}u; let lane = li % {lanes}u;"] if parts > 1 else ["let lane = li;"]
    main += [f"let tx = lane % {across}u; let ty = lane / {across}u;",
             f"let rows = tile_row * {tile.bm}u; let cols = tile_col * {tile.bn}u;"]

    def clamp(text: str, size: int, block: int, last: int) -> str:
        return f"min({text}, {last}u)" if size % block else text

    for i in range(0, tile.tm, 4 if grouped else 1):
        where = f"rows + {_row(tile, i, grouped)}"
        if a.along_k:
            main.append(f"let i{i} = {a.base} + ({clamp(where, m, tile.bm, m - 1)}) * {a.stride}u;")
        else:
            main.append(f"let i{i} = {clamp(where, m, tile.bm, (m - 1) // 4 * 4 if grouped else m - 1)};")
    for j in range(v):
        main.append(f"let n{j} = cols + ({_plus('tx', j * across)}) * 4u;")
        if b.along_k:
            for x in range(4):
                line = clamp(_plus(f"n{j}", x), n, tile.bn, n - 1)
                main.append(f"let j{j}_{x} = {b.base} + ({line}) * {b.stride}u;")
        else:
            main.append(f"let j{j} = {clamp(f'n{j}', n, tile.bn, (n - 1) // 4 * 4)};")

    def line_a(step: str, g: int) -> str:
        """Row group g at one step of k."""
        return a.quad(step, f"i{g * 4}") if grouped else a.element(f"{a.base} + ({step}) * {a.stride}u + i{g}")

    def read_a(x: int, g: int = 0) -> str:
        return a.quad_from(f"i{x}", "k") if a.along_k else line_a(_plus("k", x), g)

    def read_b(x: int, j: int) -> str:
        return b.quad_from(f"j{x}_{j}", "k") if b.along_k else b.quad(_plus("k", x), f"j{j}")

    whole = k // 4 * 4
    main += _accumulators(tile, register)
    if whole:
        start, step = ("part * 4u", parts * 4) if parts > 1 else ("0u", 4)
        main += [f"for (var k = {start}; k < {whole}u; k += {step}u) {{",
                 *_product(tile, a.along_k, b.along_k, register, read_a, read_b), "}"]
    if k % 4:                                    # the rest, one at a time
        test = f"if (part == {k // 4 % parts}u) " if parts > 1 else ""
        main += [f"{test}{{ for (var k = {whole}u; k < {k}u; k++) {{"]
        for j in range(v):
            columns = ", ".join(b.element(f"j{j}_{x} + k") for x in range(4)) if b.along_k else ""
            main.append(f"let y{j} = {f'{t}({columns})' if b.along_k else b.quad('k', f'j{j}')};")
        for i in range(tile.tm):
            if grouped and i % 4 == 0:
                main.append(f"let x{i // 4} = {line_a('k', i // 4)};")
            one = f"x{i // 4}.{'xyzw'[i % 4]}" if grouped else a.element(f"i{i} + k") if a.along_k else line_a("k", i)
            main += [f"{{ let x = {t}({one});", *[f"  c{i}_{j} = fma(x, y{j}, c{i}_{j});" for j in range(v)], "}"]
        main.append("} }")
    last = _finish(tile, m, n, grouped)
    if parts == 1:
        return [], main + last
    half = parts // 2 * lanes
    slots = [(f"c{i}_{j}", (i * v + j) * half) for i in range(tile.tm) for j in range(v)]
    main += [f"for (var s = {parts // 2}u; s > 0u; s /= 2u) {{", f"let slot = part % s * {lanes}u + lane;",
             "if (part >= s && part < 2u * s) {", *[f"  sums[slot + {at}u] = {c};" for c, at in slots], "}",
             "workgroupBarrier();", "if (part < s) {", *[f"  {c} += sums[slot + {at}u];" for c, at in slots], "}",
             "workgroupBarrier();", "}", "if (part == 0u) {", *last, "}"]
    return [f"var<workgroup> sums: array<{t}, {half * tile.tm * v}>;"], main
