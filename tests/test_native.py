"""Native code: externs, targets, compilation, our loader of objects, the cache in use, whole programs."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import random
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from lazygrad.backends import cache, llvm
from lazygrad.backends.llvm import cpus, direct, externs, jit, loader, several, target
from lazygrad.errors import DeviceError

pytestmark = pytest.mark.skipif(not llvm.available(), reason=llvm.reason())
ours = pytest.mark.skipif(not loader.supported(), reason="our loader is for Linux on x86-64 and arm64")


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


# ---- externs --------------------------------------------------------------------------------------------------------

def test_names_are_unique_and_found():
    assert len(set(externs.NAMES)) == len(externs.NAMES) == len(externs.table())
    assert set(externs.missing()) <= {"roundeven", "roundevenf"}       # C23, the only ones a libm may lack
    assert externs.NAMES[:2] == ("sgemm", "dgemm")


@pytest.mark.parametrize("name, x, want", [("exp", 1.5, math.exp(1.5)), ("lgamma", 4.5, math.lgamma(4.5)),
                                           ("erfc", 0.3, math.erfc(0.3)), ("cbrt", -27.0, -3.0)])
def test_math_functions_by_address(name, x, want):
    for suffix, kind, close in (("", ctypes.c_double, 1e-15), ("f", ctypes.c_float, 1e-6)):
        call = ctypes.CFUNCTYPE(kind, kind)(int(externs.table()[externs.INDEX[name + suffix]]))
        assert call(x) == pytest.approx(want, rel=close)


@pytest.mark.parametrize("name, dtype", [("sgemm", np.float32), ("dgemm", np.float64)])
def test_matrix_product_by_address(name, dtype):
    assert np.dtype(dtype).name in externs.gemm_dtypes()       # SciPy, a dependency, has one wherever NumPy's is not found
    address = int(externs.table(blas=True)[externs.INDEX[name]])
    integer = ctypes.c_int64 if target.host().ilp64 else ctypes.c_int32
    kind = np.ctypeslib.as_ctypes_type(dtype)
    m, n, k = 5, 3, 4
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype), np.zeros((m, n), dtype)
    no = ctypes.c_char(b"N")
    ints = {x: ctypes.byref(integer(x)) for x in (m, n, k)}
    one, zero = kind(1), kind(0)
    # row-major C = A B is column-major Cᵀ = Bᵀ Aᵀ
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)(
        *[ctypes.cast(p, ctypes.c_void_p) for p in (ctypes.byref(no), ctypes.byref(no), ints[n], ints[m], ints[k],
          ctypes.byref(one), b.ctypes.data_as(ctypes.c_void_p), ints[n], a.ctypes.data_as(ctypes.c_void_p), ints[k],
          ctypes.byref(zero), c.ctypes.data_as(ctypes.c_void_p), ints[n])])
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)


# ---- targets and compilation ----------------------------------------------------------------------------------------

VECTOR = """
define void @body(ptr %p) {
  %v = load <16 x float>, ptr %p, align 64
  %w = call <16 x float> @llvm.fma.v16f32(<16 x float> %v, <16 x float> %v, <16 x float> <float 1.0, float 2.0,
    float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0, float 9.0, float 10.0, float 11.0, float 12.0,
    float 13.0, float 14.0, float 15.0, float 16.0>)
  store <16 x float> %w, ptr %p, align 64
  ret void
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""


@pytest.mark.parametrize("name, register, instruction", [
    ("x86-64-v2", "%xmm0", "fmaf"), ("x86-64-v3", "%ymm0", "vfmadd"), ("x86-64-v4", "%zmm0", "vfmadd"),
    ("aarch64", "v0.4s", "fmla")])
def test_one_text_serves_every_width(name, register, instruction):
    text = jit.assembly(VECTOR, 1, target.level(name))
    assert register in text and instruction in text


def test_levels_contain_the_levels_below():
    levels = [target.level(n).has for n in target.LEVELS]
    assert all(low < high for low, high in itertools.pairwise(levels))
    assert "fma" in levels[2] and "fma" not in levels[1]


def test_host_is_described_without_llvm():
    host = target.host()
    assert host.native and len(host.fingerprint) == 64 and host.arch == target.arch()
    assert target.ALWAYS.get(host.arch, frozenset()) <= host.has


@pytest.mark.parametrize("text", ["nonsense", "define void @f() { ret i32 0 }",
                                  "define i32 @f() { %a = add i32 %b, 1\n %b = add i32 %a, 1\n ret i32 %a }"])
def test_invalid_text_is_an_error_not_an_abort(text):
    with pytest.raises(DeviceError, match="compile"):
        jit.compile_text(text)


def test_long_straight_scalar_code_takes_the_quick_generator():
    assert jit.effort("@table = constant [3 x i64]\n" + "\n".join(["%a = fadd double %b, %c"] * 10_000)) == 0
    assert jit.effort("\n".join(["%a = fadd double %b, %c\nbr i1 %c, label %x, label %y"] * 10_000)) == 1
    assert jit.effort("\n".join(["%a = fadd double %b, %c"] * 100)) == 1
    assert jit.effort("\n".join(["%a = fadd <16 x float> %b, %c"] * 10_000)) == 1


def test_threads_compile_at_once():
    found: dict[int, float] = {}

    def work(i: int) -> None:
        loaded = jit.native(f"define double @f(double %x) {{\n %y = fmul double %x, {i}.0\n ret double %y }}").loaded
        found[i] = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(loaded.address("f"))(2.0)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {i: 2.0 * i for i in range(6)}


FORK = """
import ctypes, os, signal, threading
from lazygrad.backends.llvm import jit

def text(i):
    return f"define double @f(double %x) {{\\n %y = fmul double %x, {i}.0\\n ret double %y }}"

def work(i):
    while not stop.is_set():
        jit.compile_text(text(i))

stop = threading.Event()
threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
for t in threads:
    t.start()
codes = []
for i in range(6):
    child = os.fork()
    if not child:
        signal.alarm(30)
        code = jit.native(text(i)).loaded
        f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("f"))
        os._exit(0 if f(2.0) == 2.0 * i else 1)
    codes.append(os.waitpid(child, 0)[1])
stop.set()
for t in threads:
    t.join()
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_amid_compilations_compiles():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=200)
    assert (done.stdout.strip(), done.stderr) == (str([0] * 6), "")


# ---- the loader -----------------------------------------------------------------------------------------------------

# constants, a table of functions, internal calls, writable data, jump tables, calls to the outside
MANY = """
@numbers = private constant [4 x double] [double 1.0, double 2.0, double 3.0, double 4.0]
@visible = constant [2 x i64] [i64 11, i64 22]
@functions = internal constant [3 x ptr] [ptr @half, ptr @twice, ptr @exp]
@count = internal global i64 5
@room = internal global [1000 x i64] zeroinitializer
declare double @exp(double)
define internal double @half(double %x) noinline { %y = fmul double %x, 0.5
  ret double %y }
define double @twice(double %x) noinline { %y = fmul double %x, 2.0
  ret double %y }
define double @pick(i64 %i, double %x) {
  %c = load i64, ptr @count
  %c1 = add i64 %c, 1
  store i64 %c1, ptr @count
  %p = getelementptr [4 x double], ptr @numbers, i64 0, i64 %i
  %v = load double, ptr %p
  %fp = getelementptr [3 x ptr], ptr @functions, i64 0, i64 %i
  %f = load ptr, ptr %fp
  %w = call double %f(double %x)
  %t = call double @twice(double %w)
  %e = call double @exp(double %t)
  %s = fadd double %v, %e
  ret double %s }
define i64 @counted() { %c = load i64, ptr @count
  %q = getelementptr [1000 x i64], ptr @room, i64 0, i64 999
  %z = load i64, ptr %q
  %g = getelementptr [2 x i64], ptr @visible, i64 0, i64 1
  %h = load i64, ptr %g
  %a = add i64 %c, %z
  %b = add i64 %a, %h
  ret i64 %b }
define i64 @choose(i64 %k) {
  switch i64 %k, label %e [ i64 0, label %a i64 1, label %b i64 2, label %c i64 3, label %d i64 4, label %f ]
a:
  ret i64 100
b:
  ret i64 7
c:
  ret i64 -3
d:
  %x = call i64 @counted()
  ret i64 %x
f:
  ret i64 55
e:
  ret i64 9 }
"""


@pytest.mark.parametrize("opt", [0, 1, 2])
@pytest.mark.parametrize("load", [pytest.param(loader.load, marks=ours, id="ours"), pytest.param(jit.load_by_llvm, id="llvm")])
def test_object_with_all_kinds_of_sections_runs(load, opt):
    code = load(jit.compile_text(MANY, opt))
    pick = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_double)(code.address("pick"))
    for i, f in enumerate([lambda x: x / 2, lambda x: 2 * x, math.exp]):
        assert pick(i, 0.3) == pytest.approx(1.0 + i + math.exp(2 * f(0.3)), rel=1e-15)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("counted"))() == 5 + 3 + 22
    choose = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code.address("choose"))
    assert [choose(k) for k in range(6)] == [100, 7, -3, 30, 55, 9]
    with pytest.raises(KeyError):
        code.address("missing")


def chain(count):
    """Text whose function k adds k by calling function k - 1, with a table of its own in each."""
    parts = ["@table = internal constant [2 x i64] [i64 1, i64 2]", "declare i64 @llvm.umax.i64(i64, i64)"]
    for k in range(count):
        below = f"call i64 @f{k - 1}(i64 %x)" if k else "call i64 @llvm.umax.i64(i64 %x, i64 3)"
        parts.append(f"define {'internal ' if k < count - 1 else ''}i64 @f{k}(i64 %x) nounwind {{\n  %b = {below}\n"
                     f"  %t = load i64, ptr @table\n  %c = add i64 %b, {k}\n  %d = add i64 %c, %t\n  ret i64 %d\n}}")
    return "\n".join(parts)


@ours
def test_a_long_text_is_compiled_in_parts_that_call_each_other(monkeypatch):
    text = chain(9)
    assert several.divided(text, 1) == several.divided(text, 8) == [text]
    monkeypatch.setattr(several, "LEAST", 10)
    texts = several.divided(text, 3)
    assert len(texts) == 3 and sum(t.count("\ndefine") for t in texts) == 9
    objects = several.at_once(texts, lambda t, k: direct.compiled(t, 1, k))
    for code in (loader.load(*several.unpacked(several.packed(objects))), loader.load(jit.compile_text(text))):
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code.address("f8"))(5) == 5 + sum(range(9)) + 9
    with pytest.raises(loader.LoadError, match=r"the outside symbol 'f[0-9]' is unknown"):
        loader.load(*objects[1:])
    with pytest.raises(ValueError, match="cut off"):
        several.unpacked(several.packed(objects)[:-1])
    with pytest.raises(RuntimeError, match="expected"):
        several.at_once([*texts, "define nothing"], lambda t, k: direct.compiled(t, 1, k))


@ours
def test_parts_come_back_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(several, "LEAST", 10)
    monkeypatch.setattr(cpus, "count", lambda: 3)
    monkeypatch.setenv("LAZYGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(direct, "entries", direct._library)            # also where another test has imported the binding
    text = chain(12)
    for cached in (False, True):
        made = jit.native(text)
        assert made.from_cache is cached
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(made.loaded.address("f11"))(0) == 3 + sum(range(12)) + 12


@ours
def test_vector_constants_are_aligned():
    code = loader.load(jit.compile_text(VECTOR))
    memory = np.zeros(64, np.float32)
    start = -memory.ctypes.data % 64 // 4
    x = memory[start:start + 16]
    x[:] = np.arange(16)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("body"))(x.ctypes.data)
    np.testing.assert_array_equal(x, np.arange(16) ** 2 + np.arange(1, 17))


@ours
def test_code_is_never_writable_and_data_never_executable():
    code = loader.load(jit.compile_text(MANY))
    place = code.address("pick")
    with open("/proc/self/maps", encoding="ascii") as file:
        modes = {}
        for line in file:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if low < code.base + code.size and high > code.base:
                modes[low <= place < high] = line.split()[1]
    assert modes[True] == "r-xp" and modes[False] == "rw-p"


@ours
def test_memory_of_code_is_given_back():
    data = jit.compile_text(MANY)
    with open("/proc/self/statm", encoding="ascii") as file:
        before = int(file.read().split()[0])
    for _ in range(500):
        loader.load(data)
    with open("/proc/self/statm", encoding="ascii") as file:
        assert int(file.read().split()[0]) - before < 500        # pages; 500 images of three pages would be 1500


@pytest.mark.parametrize("name", ["x86-64-v2", "aarch64"])
def test_relocated_distances_are_those_of_the_addresses(name):
    image = loader.parse(jit.compile_text(MANY, 1, target.level(name)))
    low, high = image.relocate(1 << 30), image.relocate((1 << 30) + (1 << 40))
    assert len(low) == len(high) == image.size
    # code holds distances only: moving the image changes nothing but the absolute addresses in its tables
    moved = [i for i in range(image.size // 8) if low[8 * i:8 * i + 8] != high[8 * i:8 * i + 8]]
    assert moved
    for i in moved:
        (a,), (b,) = struct.unpack_from("<Q", low, 8 * i), struct.unpack_from("<Q", high, 8 * i)
        assert b - a == 1 << 40 and 0 <= a - (1 << 30) < image.size


def test_arm64_instructions_reach_their_symbols():
    image = loader.parse(jit.compile_text(MANY, 1, target.level("aarch64")))
    base = 0x5000_0000_0000
    code, names = image.relocate(base), image.names()
    calls, pages = [], 0
    for section, offset, number, symbol, addend in image.relocations:
        at = image.sections[section].at + offset
        (word,) = struct.unpack_from("<I", code, at)
        name, where, value = image.symbols[symbol]
        if number in (282, 283):                   # bl: a signed number of instructions
            distance = (word & 0x3FFFFFF) - ((word & 0x2000000) << 1)
            calls.append((name, at + 4 * distance))
        elif number == 275:                        # adrp: pages
            imm = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            imm -= (imm & 1 << 20) << 1
            goal = base + image.sections[where].at + value + addend
            assert (base + at & ~4095) + 4096 * imm == goal & ~4095
            pages += 1
    assert pages and ("twice", names["twice"]) in calls
    (exp,) = {at for name, at in calls if name == "exp"}
    assert struct.unpack_from("<2IQ", code, exp) == (0x58000050, 0xD61F0200, externs.table()[externs.INDEX["exp"]])


def test_unknown_outside_symbol_is_refused():
    data = jit.compile_text("declare void @lazygrad_nowhere()\ndefine void @f() { call void @lazygrad_nowhere()\n ret void }",
                            1, target.level("x86-64-v2"))
    with pytest.raises(loader.LoadError, match="lazygrad_nowhere"):
        loader.parse(data)


def test_damaged_objects_are_refused_or_read_within_bounds():
    """Every truncation and thousands of changed bytes: LoadError, or an image that stays inside itself."""
    data = jit.compile_text(MANY, 1, target.level("x86-64-v2"))
    for size in range(0, len(data), 7):
        try:
            loader.parse(data[:size]).relocate(1 << 30)
        except loader.LoadError:
            continue
        raise AssertionError(f"an object cut to {size} bytes was taken")
    rng, refused = random.Random(0), 0
    (start,) = struct.unpack_from("<Q", data, 40)
    for _ in range(4000):
        bad = bytearray(data)
        place = rng.choice([rng.randrange(64), rng.randrange(start, len(data)), rng.randrange(len(data))])
        bad[place] = rng.randrange(256)
        try:
            image = loader.parse(bytes(bad))
            if image.size < 1 << 22:
                assert len(image.relocate(1 << 30)) == image.size
        except loader.LoadError:
            refused += 1
    assert refused > 400


@pytest.mark.parametrize("data", [b"", b"MZ" + bytes(200), b"\x7fELF\x02\x01\x01" + bytes(57), b"\x7fELF\x01\x01\x01" + bytes(200)])
def test_other_files_are_refused(data):
    with pytest.raises(loader.LoadError):
        loader.parse(data)


# ---- the cache in use -----------------------------------------------------------------------------------------------

SIMPLE = "define double @f(double %x) {\n %y = fadd double %x, 1.0\n ret double %y }"


@ours
def test_second_compilation_comes_from_the_cache_and_rubbish_there_is_compiled_again(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    first, second = jit.native(SIMPLE), jit.native(SIMPLE)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert first.seconds > 0 and second.seconds == 0
    host = target.host()
    store = cache.objects()
    key = store.key(SIMPLE, host.fingerprint, host.triple, "1", jit.version())
    assert store.get(key) is not None
    store.put(key, b"right checksum, but no object")
    third = jit.native(SIMPLE)
    assert not third.from_cache
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(third.loaded.address("f"))(2.0) == 3.0
    assert jit.native(SIMPLE).from_cache


def test_cache_off_compiles_each_time(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert not jit.native(SIMPLE).from_cache and not jit.native(SIMPLE).from_cache


COLD = f"""
import ctypes, sys
from lazygrad.backends.llvm import entry, jit
made = jit.native({SIMPLE!r})
assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(made.loaded.address("f"))(2.0) == 3.0
entry._stub("plan")
print(made.from_cache, any(m.split(".")[0] in ("llvmlite", "scipy") for m in sys.modules))
"""


@ours
def test_cold_process_with_a_filled_cache_runs_without_llvmlite():
    first, second = (subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, timeout=60)
                     for _ in range(2))
    assert first.stderr == second.stderr == ""
    assert second.stdout.split() == ["True", "False"]


# ---- programs -------------------------------------------------------------------------------------------------------

def doubling(n: int):
    """b1[i] = 2 b0[i], and fault 0 where b0[i] is negative."""
    from lazygrad.ir import kernel as K
    from lazygrad.ir import scalar as S

    S.reset()
    d, i = np.dtype("float64"), S.var("i", n)
    x = S.load(0, i, d)
    ok = S.apply("le", S.const(0.0, d), x)
    body = (K.Loop("i", n, "serial", (K.Check(ok, 0), K.Store(1, i, S.apply("mul", x, S.const(2.0, d))))),)
    return K.Kernel((K.Param(d, False), K.Param(d, True)), body, n)


class Cumulative:
    """What a Host step names: only its NumPy meaning is used."""

    def __init__(self, dtype: str = "float64") -> None:
        self.dtype, self.threads = dtype, []

    def numpy(self, x, *, axis):
        assert type(x) is np.ndarray
        return np.cumsum(x, axis).astype(self.dtype)

    def __repr__(self) -> str:
        return "cumulative"


def program(steps, temps: int = 1):
    from lazygrad.ir.aval import aval
    from lazygrad.ir.program import Buffer, Program

    a = aval((3, 2), np.dtype("float64"))
    buffers = (Buffer("input", a, 0), Buffer("output", a, 0), *[Buffer("temp", a, 0, 512 * t) for t in range(temps)])
    return Program(buffers, (0,), (1,), (None,), tuple(steps), (doubling(6),), 512 * temps, (("double", "negative"),), 6)


def run(exe, x: np.ndarray) -> tuple[np.ndarray, int]:
    """The output and the fault of a program above."""
    memory = np.zeros(1024)
    at = -memory.ctypes.data % 64 // 8
    memory[at:at + 6] = x.reshape(-1)
    arena, fault = np.zeros(512), np.array([99])
    place = memory.ctypes.data + 8 * at
    args = np.array([externs.table(True).ctypes.data, arena.ctypes.data + -arena.ctypes.data % 64, fault.ctypes.data, place,
                     place + 1024])
    exe.run(args)
    return memory[at + 128:at + 134].reshape(3, 2).copy(), int(fault[0])


def test_program_of_kernels_is_one_function():
    from lazygrad.ir.program import Call

    exe = llvm.build(program([Call(0, (0, 2)), Call(0, (2, 1))]))
    x = np.arange(6.0).reshape(3, 2)
    out, fault = run(exe, x)
    np.testing.assert_array_equal(out, 4 * x)
    assert fault == 0 and exe.native and "@body" in exe.text
    again = llvm.build(program([Call(0, (0, 2)), Call(0, (2, 1))]))
    assert again.from_cache and again.seconds == 0 and "cached" in repr(again)


def test_program_with_host_steps_runs_in_order_and_stops_at_a_fault():
    from lazygrad.ir.program import Call, Host

    steps = [Call(0, (0, 2)), Host(Cumulative(), (("axis", 0),), (2,), 3), Call(0, (3, 1))]
    exe = llvm.build(program(steps, temps=2))
    x = np.arange(6.0).reshape(3, 2)
    out, fault = run(exe, x)
    np.testing.assert_array_equal(out, 2 * np.cumsum(2 * x, 0))
    assert exe.native is None and fault == 0 and "cumulative" in exe.text
    out, fault = run(exe, -x)
    assert fault == 1 and not out.any()


def test_program_of_host_steps_alone_needs_no_code():
    from lazygrad.ir.program import Host

    exe = llvm.build(program([Host(Cumulative(), (("axis", 1),), (0,), 1)]))
    x = np.arange(6.0).reshape(3, 2)
    out, fault = run(exe, x)
    np.testing.assert_array_equal(out, np.cumsum(x, 1))
    assert exe.native is None and exe.seconds == fault == 0


def test_host_step_that_gives_another_dtype_is_an_error():
    from lazygrad.ir.program import Host

    exe = llvm.build(program([Host(Cumulative("float32"), (("axis", 1),), (0,), 1)]))
    with pytest.raises(DeviceError, match="float32"):
        run(exe, np.ones((3, 2)))


def test_without_llvmlite_there_is_a_reason_and_an_error(monkeypatch):
    monkeypatch.setattr(llvm, "reason", lambda: "llvmlite is not installed")
    assert not llvm.available()
    with pytest.raises(DeviceError, match="llvmlite is not installed; pip install llvmlite"):
        llvm.build(program([]))


def test_caps_are_those_of_the_code_generator():
    assert llvm.caps is llvm.caps and llvm.caps.name == "llvm"
    assert ("add", "float32") in llvm.caps.scalar_ops and {"float32", "float64", "int64", "bool"} <= llvm.caps.dtypes
    with pytest.raises(AttributeError, match="nothing"):
        _ = llvm.nothing
