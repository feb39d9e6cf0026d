"""Matrix products in WGSL: every form, layout and dtype against float64 NumPy, epilogues, launches, segments, what is
refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tint
from gpu import device

from lazygrad.backends.wgsl import gemm, tune
from lazygrad.backends.wgsl.gemm import Choice, choice_for, launches, shader
from lazygrad.backends.wgsl.traits import Traits, stored
from lazygrad.errors import DeviceError
from lazygrad.ir import scalar as S
from lazygrad.ir.kernel import Check, Kernel, Param, Store
from lazygrad.ir.program import Gemm
from lazygrad.ir.record import changed

F2, F4, F8, I4, B1 = (np.dtype(t) for t in ("f2", "f4", "f8", "i4", "?"))
TILES = Choice("tiles", 8, 8, 8, 4, 4)
WIDE = Choice("tiles", 16, 8, 4, 8, 4)
DIRECT = Choice("direct", 8, 8, 4, 4, 4)
THIN = Choice("direct", 3, 8, 4, 1, 4)
SHARED = Choice("direct", 2, 8, 4, 2, 4, 4)
PORTABLE = Traits(software=False, float16=False, float64=False, int64=False, subgroups=False)
rng = np.random.default_rng(5)


def run(g: Gemm, dtype, arrays, epilogue=None, choice=None, traits=None):
    """The shader of a product run once over the buffers of its parameters; returns their contents afterwards and the
    fault."""
    d = device()
    made = shader(g, dtype, traits or d.traits, epilogue, tuple([a.size for a in arrays]), choice)
    if dtype != F8:
        assert tint.check(made.source, portable=False) == "", made.source
    held: dict = {}
    for a in arrays:             # a repeated array is one buffer; the bytes behind the last element are NaN
        if id(a) not in held:
            flat = np.ascontiguousarray(a, stored(a.dtype)).reshape(-1).view(np.uint8)
            held[id(a)] = d.allocate(-(-flat.size // 16) * 16)
            d.write(held[id(a)], np.concatenate([flat, np.full(-flat.size % 16, 0xFF, np.uint8)]))
    faults = d.allocate(16)
    d.clear(faults)
    d.run(d.launch(made, [held[id(a)] for a in arrays], faults if made.faults else None))
    out = []
    for a in arrays:
        held_as = stored(a.dtype)
        n = a.size * held_as.itemsize
        out.append(d.read(held[id(a)], -(-n // 4) * 4)[:n].view(held_as).astype(a.dtype).reshape(a.shape))
    return out, int(d.read(faults, 4).view(np.uint32)[0])


def check(got, expected, dtype, k, scale=1.0):
    """Rounding errors of a sum of k products of order 1 in any order: at most k units, in fact a few square roots of
    k."""
    eps = {F2: 2.0 ** -10, F4: 2.0 ** -23, F8: 2.0 ** -52}[np.dtype(dtype)]
    summed = eps if dtype != F2 else 2.0 ** -23
    tolerance = scale * 4 * (4 + np.sqrt(k)) * summed + eps * np.abs(expected)
    assert np.all(np.abs(got.astype(F8) - expected) <= tolerance), (np.abs(got.astype(F8) - expected).max(),
                                                                    tolerance.max())


def factors(m, n, k, trans_a, trans_b, dtype, batch=()):
    a = rng.standard_normal((*batch, k, m) if trans_a else (*batch, m, k)).astype(dtype)
    b = rng.standard_normal((*batch, n, k) if trans_b else (*batch, k, n)).astype(dtype)
    product = (np.swapaxes(a, -1, -2) if trans_a else a).astype(F8) @ (np.swapaxes(b, -1, -2)
                                                                       if trans_b else b).astype(F8)
    return a, b, product


def plain(m, n, k, trans_a=False, trans_b=False, **more):
    return Gemm(0, 1, 2, m, n, k, m if trans_a else k, k if trans_b else n, n, trans_a, trans_b, **more)


# ---- layouts, sizes, dtypes -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("trans_a", "trans_b"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("choice", [TILES, WIDE, DIRECT, THIN, SHARED, None])
def test_every_form_and_layout(choice, trans_a, trans_b):
    for m, n, k in ((16, 8, 12), (9, 7, 5)):
        a, b, product = factors(m, n, k, trans_a, trans_b, F4)
        out, _ = run(plain(m, n, k, trans_a, trans_b), F4, [a, b, np.full((m, n), np.nan, F4)], choice=choice)
        check(out[2], product, F4, k)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (1, 9, 6), (7, 1, 10), (1, 1, 130), (5, 3, 1), (2, 4, 3),
                                           (6, 40, 2), (40, 2, 300)])
def test_thin_products(m, n, k):
    for trans_a, trans_b in ((False, False), (True, True)):
        a, b, product = factors(m, n, k, trans_a, trans_b, F4)
        traits = changed(device().traits, software=trans_a)
        out, _ = run(plain(m, n, k, trans_a, trans_b), F4, [a, b, np.full((m, n), np.nan, F4)], traits=traits)
        check(out[2], product, F4, k)


@pytest.mark.parametrize("choice", [TILES, DIRECT, SHARED])
def test_quads_that_end_outside_the_matrix(choice):
    """Rows padded to multiples of four: quads along k, m and n run past the sizes, onto NaN."""
    m, n, k = 6, 10, 7
    for trans_a, trans_b in itertools.product((False, True), repeat=2):
        a, b, product = factors(m, n, k, trans_a, trans_b, F4)
        wide_a, wide_b = (np.full((x.shape[0], 12), np.nan, F4) for x in (a, b))
        wide_a[:, :a.shape[1]], wide_b[:, :b.shape[1]] = a, b
        out, _ = run(Gemm(0, 1, 2, m, n, k, 12, 12, 11, trans_a, trans_b), F4,
                     [wide_a, wide_b, np.full((m, 11), 7, F4)], choice=choice)
        check(out[2][:, :n], product, F4, k)
        assert np.all(out[2][:, n:] == 7)


@pytest.mark.parametrize("dtype", [F2, F8])
@pytest.mark.parametrize("choice", [TILES, DIRECT, SHARED])
def test_other_dtypes(dtype, choice):
    for m, n, k in ((8, 12, 20), (3, 5, 7)):
        for trans_a, trans_b in ((False, True), (True, False)):
            a, b, product = factors(m, n, k, trans_a, trans_b, dtype)
            out, _ = run(plain(m, n, k, trans_a, trans_b), dtype, [a, b, np.zeros((m, n), dtype)], choice=choice)
            check(out[2], product, dtype, k)


@pytest.mark.parametrize("choice", [TILES, DIRECT])
@pytest.mark.parametrize(("steps_a", "steps_b"), [(True, True), (False, True), (True, False)])
def test_batches_repeat_operands_and_add_to_what_is_there(choice, steps_a, steps_b):
    batch, m, n, k = 3, 5, 8, 6
    a, b, _ = factors(m, n, k, False, False, F4, (batch,))
    a, b = a[:batch if steps_a else 1], b[:batch if steps_b else 1]
    c = rng.standard_normal((batch, m, n)).astype(F4)
    g = plain(m, n, k, accumulate=True, batch=batch, a_step=m * k * steps_a, b_step=k * n * steps_b, c_step=m * n)
    out, _ = run(g, F4, [a, b, c], choice=choice)
    check(out[2], a.astype(F8) @ b.astype(F8) + c, F4, k)


@pytest.mark.parametrize("offset", [4, 3])
def test_offsets(offset):
    m, n, k = 8, 4, 12
    a, b, product = factors(m, n, k, False, False, F4)
    before = np.full(offset, np.nan, F4)
    c = np.full(offset + m * n + 5, 3, F4)
    out, _ = run(changed(plain(m, n, k), a_offset=offset, b_offset=offset, c_offset=offset), F4,
                 [np.append(before, a), np.append(before, b), c], choice=TILES)
    check(out[2][offset:offset + m * n].reshape(m, n), product, F4, k)
    assert np.all(out[2][:offset] == 3) and np.all(out[2][offset + m * n:] == 3)


def test_one_buffer_as_both_factors():
    a = rng.standard_normal((12, 6)).astype(F4)
    out, _ = run(Gemm(0, 0, 1, 6, 6, 12, 6, 6, 6, trans_a=True), F4, [a, a, np.zeros((6, 6), F4)], choice=DIRECT)
    check(out[2], a.T.astype(F8) @ a, F4, 12)


def test_infinities_and_nan_stay_in_their_rows():
    a, b, _ = factors(9, 7, 5, False, False, F4)
    a[2, 3], a[4, 0] = np.inf, np.nan
    b[:, 1] = np.abs(b[:, 1])
    for choice in (TILES, SHARED):
        got = run(plain(9, 7, 5), F4, [a, b, np.zeros((9, 7), F4)], choice=choice)[0][2]
        assert np.all(np.isnan(got[4])) and got[2, 1] == np.inf and np.all(np.isinf(got[2]))
        assert np.all(np.isfinite(np.delete(got, [2, 4], 0)))


def test_large_choices_of_hardware():
    m, n, k = 130, 132, 36
    a, b, product = factors(m, n, k, False, True, F4)
    out, _ = run(plain(m, n, k, False, True), F4, [a, b, np.zeros((m, n), F4)],
                 choice=Choice("tiles", 128, 128, 16, 8, 8))
    check(out[2], product, F4, k)


def test_equal_runs_give_equal_bits():
    a, b, _ = factors(4, 4, 1000, False, False, F4)
    choice = Choice("direct", 4, 4, 4, 4, 4, 32)
    first, again = (run(plain(4, 4, 1000), F4, [a, b, np.zeros((4, 4), F4)], choice=choice)[0][2] for _ in range(2))
    assert np.array_equal(first, again)
    check(first, a.astype(F8) @ b.astype(F8), F4, 1000)


# ---- epilogues ------------------------------------------------------------------------------------------------------

def index(g: Gemm, *names):
    """The row-major position of an element by these variables."""
    sizes = {"batch": g.batch, "row": g.m, "col": g.n}
    return S.flat(tuple([S.var(n, sizes[n]) for n in names]), tuple([sizes[n] for n in names]))


def product_of(g, dtype=F4):
    return S.load(0, index(g, "batch", "row", "col"), dtype)


def params(*written_dtypes):
    return tuple([Param(d, w) for d, w in written_dtypes])


@pytest.mark.parametrize(("m", "n", "choice"), [(8, 12, TILES), (5, 7, DIRECT), (6, 8, SHARED), (1, 8, None),
                                                (9, 1, None), (1, 1, None)])
def test_bias_and_relu(m, n, choice):
    """y = max(x w + b, 0) and the mask of its derivative, which is stored as bool."""
    S.reset()
    k = 6
    g = changed(plain(m, n, k), epilogue=0, more=(2, 3, 4))
    a, b, product = factors(m, n, k, False, False, F4)
    bias = rng.standard_normal(n).astype(F4)
    x = S.apply("add", product_of(g), S.load(1, index(g, "col"), F4))
    at = index(g, "row", "col")
    zero = S.const(0.0, F4)
    kernel = Kernel(params((F4, False), (F4, False), (F4, True), (B1, True)),
                    (Store(2, at, S.apply("maximum", x, zero)), Store(3, at, S.apply("lt", zero, x))))
    out, _ = run(g, F4, [a, b, bias, np.full((m, n), np.nan, F4), np.zeros((m, n), B1)], kernel, choice)
    check(out[3], np.maximum(product + bias, 0), F4, k)
    sure = np.abs(product + bias) > 1e-4
    assert np.array_equal(out[4][sure], (product + bias > 0)[sure])


@pytest.mark.parametrize(("m", "n"), [(8, 8), (7, 5), (10, 1)])
def test_update_in_place(m, n):
    """w -= rate * (xᵀ g), w read and written through one binding though it is two parameters."""
    S.reset()
    k = 9
    g = changed(plain(m, n, k, True), epilogue=0, more=(2, 2))
    a, b, product = factors(m, n, k, True, False, F4)
    w = rng.standard_normal((m, n)).astype(F4)
    at = index(g, "row", "col")
    step = S.apply("mul", S.const(0.5, F4), product_of(g))
    kernel = Kernel(params((F4, False), (F4, False), (F4, True)),
                    (Store(2, at, S.apply("sub", S.load(1, at, F4), step)),))
    for software in (True, False):
        out, _ = run(g, F4, [a, b, w, w], kernel, traits=changed(device().traits, software=software))
        check(out[2], w - 0.5 * product, F4, k)


def test_values_are_computed_before_stores():
    """A run of two statements over one buffer sees what was there before."""
    S.reset()
    m, n, k = 4, 8, 4
    g = changed(plain(m, n, k), epilogue=0, more=(2, 3))
    a, b, product = factors(m, n, k, False, False, F4)
    w = rng.standard_normal((m, n)).astype(F4)
    at = index(g, "row", "col")
    kernel = Kernel(params((F4, False), (F4, True), (F4, True)),
                    (Store(1, at, product_of(g)), Store(2, at, S.load(1, at, F4))))
    out, _ = run(g, F4, [a, b, w, np.zeros((m, n), F4)], kernel, TILES)
    check(out[2], product, F4, k)
    assert np.array_equal(out[3], w)


@pytest.mark.parametrize("n", [8, 6])
def test_transposed_and_gathered_accesses(n):
    """The product is stored transposed, times an element whose place other data decide; a batch has its own scale."""
    S.reset()
    batch, m, k = 2, 6, 5
    g = changed(plain(m, n, k, batch=batch, a_step=m * k, b_step=k * n), epilogue=0, more=(2, 3, 4, 5))
    a, b, product = factors(m, n, k, False, False, F4, (batch,))
    table, where, scale = rng.standard_normal(11).astype(F4), rng.integers(0, 11, n).astype(I4), np.array([2, -3], F4)
    which = S.cast(S.load(2, index(g, "col"), I4), S.I64)
    value = S.apply("mul", S.apply("mul", product_of(g), S.load(1, S.iadd(S.index(0), which), F4)),
                    S.load(3, index(g, "batch"), F4))
    kernel = Kernel(params((F4, False), (F4, False), (I4, False), (F4, False), (F4, True)),
                    (Store(4, index(g, "batch", "col", "row"), value),))
    out, _ = run(g, F4, [a, b, table, where, scale, np.zeros((batch, n, m), F4)], kernel, DIRECT)
    expected = np.swapaxes(product * table[where] * scale[:, None, None], 1, 2)
    check(out[5], expected, F4, k, scale=10)


def test_the_product_of_halves_is_rounded_before_the_epilogue():
    S.reset()
    m, n, k = 4, 4, 8
    g = changed(plain(m, n, k), epilogue=0, more=(2,))
    a, b, product = factors(m, n, k, False, False, F2)
    kernel = Kernel(params((F2, False), (F4, True)), (Store(1, index(g, "row", "col"), S.cast(product_of(g, F2), F4)),))
    out, _ = run(g, F2, [a, b, np.zeros((m, n), F4)], kernel, DIRECT)
    assert np.array_equal(out[2], out[2].astype(F2).astype(F4))
    check(out[2].astype(F2), product, F2, k)


def test_checks_report_faults():
    S.reset()
    m, n, k = 4, 4, 4
    g = changed(plain(m, n, k), epilogue=0, more=(2,))
    a, b = np.eye(4, dtype=F4), np.ones((4, 4), F4)
    at = index(g, "row", "col")
    for limit, fault in ((1.0, 0), (0.5, 7)):
        body = (Check(S.apply("le", product_of(g), S.const(limit, F4)), 6), Store(1, at, product_of(g)))
        out, found = run(g, F4, [a, b, np.zeros((4, 4), F4)], Kernel(params((F4, False), (F4, True)), body), DIRECT)
        assert found == fault and np.array_equal(out[2], b)


def test_an_epilogue_must_not_write_a_factor():
    S.reset()
    g = changed(plain(4, 4, 4), epilogue=0, more=(1,))
    kernel = Kernel(params((F4, False), (F4, True)), (Store(1, index(g, "row", "col"), product_of(g)),))
    with pytest.raises(ValueError, match="writes one of its factors"):
        shader(g, F4, PORTABLE, kernel, (16, 16, 16))


# ---- segments and launches ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("choice", [TILES, DIRECT])
def test_buffers_of_several_bindings(choice):
    """With bindings of 256 bytes, three buffers are six bindings."""
    m, n, k = 8, 12, 10
    traits = changed(device().traits, binding=256, alignment=256, bindings=8)
    for trans_b in (False, True):
        a, b, product = factors(m, n, k, False, trans_b, F4)
        out, _ = run(plain(m, n, k, False, trans_b), F4, [a, b, np.zeros((m, n), F4)], choice=choice, traits=traits)
        check(out[2], product, F4, k)
    with pytest.raises(DeviceError, match=r"needs \d\d bindings"):
        shader(plain(16, 64, 16), F4, traits, None, (256, 1024, 1024))


@pytest.mark.parametrize("choice", [TILES, DIRECT, SHARED])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize(("m", "n", "k", "batch"), [(70, 12, 10, 1), (1, 300, 9, 1), (300, 1, 9, 1), (12, 12, 12, 7), (5, 260, 3, 1)])
def test_launches_see_parts_of_buffers_of_several_bindings(m, n, k, batch, trans_a, choice):
    traits = changed(device().traits, binding=512, alignment=256, bindings=26)
    a, b, product = factors(m, n, k, trans_a, False, F4, (batch,) if batch > 1 else ())
    g = plain(m, n, k, trans_a, batch=batch, a_step=m * k, b_step=k * n, c_step=m * n) if batch > 1 else plain(m, n, k, trans_a)
    out, _ = run(g, F4, [a, b, np.zeros(product.shape, F4)], choice=choice, traits=traits)
    check(out[2], product, F4, k)
    made = shader(g, F4, traits, None, (a.size, b.size, product.size), choice)
    assert len(made.bindings) < sum([-(-x.size * 4 // 512) for x in (a, b, product)])


def test_an_epilogue_sees_parts_of_its_buffers():
    m, n, k = 90, 12, 8
    traits = changed(device().traits, binding=512, alignment=256, bindings=9)
    a, b, product = factors(m, n, k, False, False, F4)
    bias, scale = np.arange(n, dtype=F4), np.arange(m, dtype=F4)
    g = changed(plain(m, n, k), epilogue=0, more=(2, 3, 4))
    value = S.apply("mul", S.apply("add", product_of(g), S.load(2, S.var("col", n), F4)), S.load(3, S.var("row", m), F4))
    kernel = Kernel(params((F4, False), (F4, True), (F4, False), (F4, False)), (Store(1, index(g, "row", "col"), value),))
    out, _ = run(g, F4, [a, b, np.zeros((m, n), F4), bias, scale], kernel, choice=DIRECT, traits=traits)
    check(out[2], (product + bias) * scale[:, None], F4, k, scale.max())


def test_long_work_is_cut(monkeypatch):
    m, n, k = 20, 12, 8
    monkeypatch.setattr(gemm, "WORK", {True: 2 * 8 * 8 * 8 * 4, False: 1})
    a, b, product = factors(m, n, k, False, False, F4)
    made = shader(plain(m, n, k), F4, device().traits, None, (a.size, b.size, m * n), TILES)
    assert made.grids == ((4, 1, 1, 0), (2, 1, 1, 4))
    out, _ = run(plain(m, n, k), F4, [a, b, np.zeros((m, n), F4)], choice=TILES)
    check(out[2], product, F4, k)


def test_grids_past_the_limit():
    batch = 65537
    g = plain(1, 1, 1, batch=batch, a_step=1, b_step=0, c_step=1)
    a, b = np.arange(batch, dtype=F4), np.array([2], F4)
    out, _ = run(g, F4, [a, b, np.zeros(batch, F4)], choice=Choice("direct", 1, 4, 4, 1, 4))
    assert np.array_equal(out[2], 2 * a)


@pytest.mark.parametrize(("total", "most"), [(1, 1), (65535, 1 << 40), (65536, 1 << 40), (200000, 70000), (1000, 7),
                                             (1 << 33, 1 << 50)])
def test_launches_count_every_workgroup_once(total, most):
    end = 0
    for x, y, z, first in launches(total, most):
        assert first == end and z == 1 and 1 <= x <= 65535 and 1 <= y <= 65535
        end = first + x * y
    assert total <= end < total + 65535


# ---- the table ------------------------------------------------------------------------------------------------------

def test_the_table_has_a_choice_for_every_product():
    for software, dtype in itertools.product((False, True), (F4, F8)):
        traits = changed(PORTABLE, software=software)
        for m, n, k in itertools.product((1, 2, 3, 10, 64, 1000, 5000), repeat=3):
            for trans_a, trans_b in itertools.product((False, True), repeat=2):
                g = plain(m, n, k, trans_a, trans_b)
                c = choice_for(g, dtype, traits)
                assert gemm.fits(c, gemm.normal(g), dtype, traits)
                assert not software or c.form == "direct"


@pytest.mark.parametrize("size", [(300, 300, 300), (4096, 4096, 64), (10, 10, 5000), (1, 4096, 64), (4096, 1, 64)])
def test_choices_for_hardware_are_portable(size):
    """Within the limits of every device, by the other WGSL compiler."""
    for trans_a, trans_b in itertools.product((False, True), repeat=2):
        g = plain(*size, trans_a, trans_b)
        m, n, k = size
        assert tint.check(shader(g, F4, PORTABLE, None, (m * k, k * n, m * n)).source) == ""


def test_a_choice_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        shader(plain(8, 8, 8), F4, PORTABLE, None, (64, 64, 64), Choice("tiles", 128, 128, 32, 8, 8))


# ---- the measured search --------------------------------------------------------------------------------------------

def test_the_search_keeps_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYGRAD_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    g = plain(6, 6, 40)
    found = tune.search(device(), g, F4, extra=1, rounds=1, candidates=(DIRECT, SHARED))
    assert gemm.fits(found.choice, gemm.normal(g), F4, device().traits) and found.seconds > 0
    tune.forget()
    assert tune.known(device(), g, F4) == found.choice
    assert tune.known(device(), changed(g, m=7), F4) == found.choice              # the same class of sizes
    assert tune.known(device(), changed(g, m=600), F4) is None
    for file in tmp_path.iterdir():                                               # a damaged file is no file
        file.write_bytes(file.read_bytes()[:-3])
    tune.forget()
    assert tune.known(device(), g, F4) is None


def test_the_search_is_off_unless_asked_for(monkeypatch):
    monkeypatch.delenv("LAZYGRAD_TUNE", raising=False)
    assert not tune.wanted()
    monkeypatch.setenv("LAZYGRAD_TUNE", "1")
    assert tune.wanted()
