"""Gemm: a matrix product step becomes one shader. In: `Gemm`, a dtype, traits, an epilogue kernel; out: `Shader`.

Any m, n, k >= 1, strides, offsets, transposes and batch of float32, float16 (summed in float32, rounded once) and
float64. `choice_for` is the table of shapes by kind of device and product; `tune` may know better ones. The sums have a
fixed order: equal inputs give equal bits for the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DeviceError
from ...ir.kernel import Kernel
from ...ir.program import Gemm
from ...ir.record import changed, record
from . import windows
from .arrays import Arrays
from .gemm_result import Epilogue, output_packed, store
from .gemm_text import Choice, Factor, direct, shared_quads, tiles
from .text import Module, type_name
from .traits import GRID, Shader, Traits

WORK = {True: 1 << 33, False: 1 << 39}           # operations of one launch, software or not: about a second
GROUPS = 96                                      # workgroups from which on a GPU is busy
THREADS = 1 << 14                                # threads, likewise
SMALL, LARGE = 1 << 15, 1 << 22                  # multiplications
LANES = 8                                        # threads that run as one vector where a CPU plays the GPU


@record
class Product:
    """A Gemm in normal form: `gemm`, perhaps transposed as a whole so that a single column becomes a single row.

    `a`, `b`: the numbers of the parameters that are its factors now. `turned`: rows and columns have changed places.
    """

    gemm: Gemm
    a: int = 0
    b: int = 1
    turned: bool = False


def normal(g: Gemm) -> Product:
    """Single rows and columns lie along the direction that is best read; a product with one column is turned."""
    if g.accumulate and g.epilogue is not None:
        raise ValueError("a Gemm with an epilogue does not accumulate")
    if g.m == 1 and g.trans_a and g.lda == 1:
        g = changed(g, trans_a=False, lda=g.k)
    if g.n == 1 and not g.trans_b and g.ldb == 1:
        g = changed(g, trans_b=True, ldb=g.k)
    if g.n == 1 and g.m > 1 and (g.ldc == 1 or g.epilogue is not None):       # C^T = B^T A^T
        turned = changed(g, m=1, n=g.m, lda=g.ldb, ldb=g.lda, ldc=g.m, trans_a=not g.trans_b, trans_b=not g.trans_a,
                         a_step=g.b_step, b_step=g.a_step, a_offset=g.b_offset, b_offset=g.a_offset)
        return Product(turned, 1, 0, True)
    return Product(g)


def fits(c: Choice, p: Product, dtype: np.dtype, traits: Traits) -> bool:
    """Whether the device can run the choice and the generator make it."""
    g = p.gemm
    if c.bm % c.tm or c.bn % c.tn or c.tn % 4 or c.bk % 4 or c.threads > traits.invocations or c.parts & (c.parts - 1):
        return False
    quad = _quad(dtype)
    if c.form == "direct":
        return c.parts == 1 or c.parts // 2 * c.across * c.down * c.tm * c.tn // 4 * quad <= traits.shared
    room = traits.shared // quad
    quads_a, quads_b, _, _ = shared_quads(c, not g.trans_a, g.trans_b, room)
    return c.parts == 1 and c.tm % 4 == 0 and quads_a + quads_b <= room


def choice_for(gemm: Gemm, dtype: np.dtype, traits: Traits) -> Choice:
    """The static table: how to compute a product, by traits and by its shape."""
    p = normal(gemm)
    for c in (_software if traits.software else _hardware)(p.gemm):
        if fits(c, p, dtype, traits):
            return c
    return Choice("direct", 4, 4, 4, 1, 4)


def _power(x: int, most: int) -> int:
    """The least power of two that is not below x, at most `most`."""
    return min(1 << max(x - 1, 0).bit_length(), most)


def _rows(m: int) -> int:
    """Rows of a thread's register tile: little is wasted on a few rows."""
    return 8 if m > 4 else 4 if m > 2 else m


def _software(g: Gemm) -> list[Choice]:
    """No barriers where they can be avoided; workgroups of one vector of threads; register tiles that grow with the
    work: a large one runs up to twice as fast and takes a third of a second to compile.
    """
    if g.m <= 2:
        return [Choice("direct", g.m, 32, 4, g.m, 4) if g.trans_b else Choice("direct", g.m, 16, 4, g.m, 4, 2)]
    work = g.m * g.n * g.k * g.batch
    tm, tn = (4, 4) if work < SMALL * g.batch else (_rows(g.m), 8 if g.n > 4 else 4)
    down, across = -(-g.m // tm), -(-g.n // tn)
    if g.k >= 256 and (down * across * g.batch <= 4 * LANES or g.n <= 2 * tn < g.m):      # few sums, long ones
        return [Choice("direct", tm, tn, 4, tm, tn, LANES)]
    even = g.n % 4 == 0 and (g.trans_a or g.lda % 4 == 0) and g.ldb % 4 == 0
    if work >= LARGE and even and min(g.m, g.n) >= 64:
        return [Choice("direct", 32, 32, 4, 16, 8) if g.trans_a else Choice("direct", 16, 64, 4, 8, 16)]
    wide = _power(across, LANES if down == 1 else 4)
    return [Choice("direct", _power(down, LANES // wide) * tm, wide * tn, 4, tm, tn)]


def _hardware(g: Gemm) -> list[Choice]:
    """The largest staged tile of which enough are left to keep the GPU busy; else threads share sums."""
    out = []
    if min(g.m, g.n) >= 24:
        for side, tm, tn in ((128, 8, 8), (64, 8, 4), (32, 4, 4)):
            if -(-g.m // side) * -(-g.n // side) * g.batch >= GROUPS or (side < 128 and g.k < 64):
                out.append(Choice("tiles", side, side, 16, tm, tn))
    tm = min(_rows(g.m), 4)
    down, across = -(-g.m // tm), -(-g.n // 4)
    most = min(_power(-(-g.k // 16), 256), 64 if g.m > 1 else 256)
    parts = _power(-(-THREADS // (down * across * g.batch)), most)
    room = max(64 // parts, 1)                   # register tiles of a workgroup
    if g.m == 1 and not g.trans_b:
        room = max(room, 16)                     # neighbouring threads read neighbouring columns
        parts = min(parts, 16)
    wide = min(_power(across, room), 16)
    high = min(_power(down, max(room // wide, 1)), 16)
    out.append(Choice("direct", high * tm, wide * 4, 4, tm, 4, parts))
    return out


def _packed(p: Product, name: str, dtype: np.dtype, sizes: Sequence[int], c: Choice) -> bool:
    """Whether a factor is read in quads: all its rows start at multiples of four elements."""
    g = p.gemm
    if name == "a":
        param, lines, stride, offset, step = p.a, g.k if g.trans_a else g.m, g.lda, g.a_offset, g.a_step
        if g.trans_a and c.tm % 4:
            return False                        # rows of A are read one by one
    else:
        param, lines, stride, offset, step = p.b, g.n if g.trans_b else g.k, g.ldb, g.b_offset, g.b_step
    aligned = offset % 4 == 0 and (lines == 1 or stride % 4 == 0) and (g.batch == 1 or step % 4 == 0)
    return aligned and (dtype.itemsize <= 4 or sizes[param] % 4 == 0)


def _quad(dtype: np.dtype) -> int:
    """Bytes of four values in workgroup memory."""
    return 4 * max(dtype.itemsize, 4)


def shader(gemm: Gemm, dtype: np.dtype, traits: Traits, epilogue: Kernel | None, sizes: Sequence[int],
           choice: Choice | None = None) -> Shader:
    """The shader of a step. Parameters: 0 is A, 1 is B, then C, or with an epilogue the buffers `gemm.more`.

    `sizes`: elements of each parameter's buffer. DeviceError if they need more bindings than the device has.
    """
    p = normal(gemm)
    g = p.gemm
    c = choice or choice_for(gemm, dtype, traits)
    if not fits(c, p, dtype, traits):
        raise ValueError(f"{c} does not fit {gemm} on this device")
    along = (not g.trans_a, g.trans_b)
    packed = {param for param, name in ((p.a, "a"), (p.b, "b")) if _packed(p, name, dtype, sizes, c)}
    after = None if epilogue is None else Epilogue(epilogue, g, p.turned, traits)
    if after is None:
        if g.c in (g.a, g.b):
            raise ValueError("a product is written over one of its factors, which other elements still read")
        dtypes, used, written = [dtype] * 3, [0, 1, 2], frozenset((2,))
        packed |= {2} if output_packed(g, dtype, sizes) else set()
    else:
        dtypes = [dtype, dtype, *[q.dtype for q in after.kernel.params[1:]]]
        used, written = [0, 1, *after.used], after.written
        packed |= after.packed
    module = Module(traits)
    arrays = Arrays(dtypes, sizes, used, written, frozenset(packed), traits, module)
    tiles_m, tiles_n = -(-g.m // c.bm), -(-g.n // c.bn)
    looks, inner = _looks(p, c, arrays, after)
    a = Factor(arrays.by_param[p.a], "base_a", g.k if along[0] else g.m, g.lda, along[0])
    b = Factor(arrays.by_param[p.b], "base_b", g.k if along[1] else g.n, g.ldb, along[1])
    finish = store(g, dtype, arrays) if after is None else after.function(dtype, arrays, module)
    if c.form == "tiles":
        above, main = tiles(a, b, g.m, g.n, g.k, c, type_name(dtype), traits.shared // _quad(dtype))
    else:
        above, main = direct(a, b, g.m, g.n, g.k, c, type_name(dtype))
    functions = [*a.functions(), *b.functions(), *above, *finish]

    total = tiles_m * tiles_n * g.batch
    most = max(WORK[traits.software] // (2 * c.bm * c.bn * g.k), 1)
    parts = [(0, total)] if looks is None else [(first * inner, end * inner) for first, end in looks.parts]
    grids = tuple([(x, y, z, first + at) for first, end in parts for x, y, z, at in launches(end - first, most)])
    part_of = [k for k, (first, end) in enumerate(parts) for _ in launches(end - first, most)]
    faults = after is not None and after.faults
    several = len(grids) > 1 or looks is not None
    declarations, bindings = arrays.declare(faults, several)
    if len(bindings) + faults > traits.bindings:
        wrong = (f"it needs {len(bindings) + faults} bindings of at most {traits.binding} bytes, and this device has "
                 f"{traits.bindings}")
        raise DeviceError("matmul", f"({g.m}, {g.k}) @ ({g.k}, {g.n})", wrong, "use smaller tensors")
    lines = [*declarations, *functions]
    start = f"{arrays.first} + " if several else ""
    tall = any([y > 1 for _, y, _, _ in grids])
    end = f"{total}u" if looks is None else "launch[0].y"
    lines += [f"@compute @workgroup_size({c.threads})",
              "fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {",
              f"let group = {start}wg.x{f' + wg.y * {GRID}u' if tall else ''};",
              *([f"if (group >= {end}) {{ return; }}"] if tall else []),
              f"let tile_col = group % {tiles_n}u; let tile_row = group / {tiles_n}u % {tiles_m}u;",
              f"let batch = group / {tiles_n * tiles_m}u;",
              f"let base_a = batch * {g.a_step}u + {g.a_offset}u; let base_b = batch * {g.b_step}u + {g.b_offset}u;",
              *main, "}"]
    text = module.text() + "\n".join(lines) + "\n"
    if looks is None:
        return Shader(text, bindings, grids, faults, arrays.segment)
    words = [windows.words(arrays, looks, k, grid[3], parts[k][1]) for k, grid in zip(part_of, grids, strict=True)]
    return Shader(text, bindings, grids, faults, arrays.segment, tuple([looks.firsts[k] for k in part_of]), tuple(words))


def _looks(p: Product, c: Choice, arrays: Arrays, after: Epilogue | None) -> tuple[windows.Cut | None, int]:
    """Where the tiles are cut so that launches see parts of buffers of several bindings, and how many tiles a unit of that is: rows of
    tiles, of all batches, or tiles of the only row."""
    g = p.gemm
    down, across = -(-g.m // c.bm), -(-g.n // c.bn)
    if not arrays.several:
        return None, 1
    rows = g.batch * down > 1

    def touched(first: int, end: int) -> windows.Touched:
        last, batches, high, wide = end - 1, (0, 0), (0, g.m - 1), (0, g.n - 1)
        if rows:
            batches = first // down, last // down
            if batches[0] == batches[1]:
                high = first % down * c.bm, min((last % down + 1) * c.bm, g.m) - 1
        else:
            wide = first * c.bn, min(end * c.bn, g.n) - 1

        def span(offset: int, step: int, lines: tuple[int, int], stride: int, along: tuple[int, int]) -> tuple[int, int]:
            return (offset + batches[0] * step + lines[0] * stride + along[0], offset + batches[1] * step + lines[1] * stride + along[1])

        k = 0, g.k - 1
        found: dict[int, tuple[int, int] | None] = {}
        a = span(g.a_offset, g.a_step, *((k, g.lda, high) if g.trans_a else (high, g.lda, k)))
        b = span(g.b_offset, g.b_step, *((wide, g.ldb, k) if g.trans_b else (k, g.ldb, wide)))
        for param, more in ((p.a, a), (p.b, b)):
            found[param] = windows.both(found.get(param, more), more)
        if after is None:
            found[2] = span(g.c_offset, g.c_step, high, g.ldc, wide)
        else:
            for param, more in after.touched(batches, high, wide).items():
                found[param] = windows.both(found.get(param, more), more)
        return found

    made = windows.cut(arrays, g.batch * down if rows else across, touched)
    arrays.look_through(made.widths)
    return made, across if rows else 1


def launches(total: int, most: int) -> tuple[tuple[int, int, int, int], ...]:
    """Grids of about `most` workgroups that count up to `total`; the last row of a grid may run past its end.

    >>> launches(10, 100), launches(10, 4), launches(70000, 1 << 20)
    (((10, 1, 1, 0),), ((4, 1, 1, 0), (4, 1, 1, 4), (2, 1, 1, 8)), ((65535, 2, 1, 0),))
    """
    if total <= min(most, GRID):
        return ((total, 1, 1, 0),)
    if most < GRID:
        return tuple([(min(most, total - first), 1, 1, first) for first in range(0, total, most)])
    step = min(most // GRID, GRID) * GRID
    return tuple([(GRID, -(-min(step, total - first) // GRID), 1, first) for first in range(0, total, step)])
