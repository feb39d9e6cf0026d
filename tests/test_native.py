"""Native code: externs, compilation, our loader of objects, the stubs that make plans built-in functions."""

from __future__ import annotations

import ctypes
import gc
import itertools
import math
import os
import random
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from lazygrad.backends import llvm
from lazygrad.backends.llvm import cache, entry, externs, jit, loader, target
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
    if np.dtype(dtype).name not in externs.gemm_dtypes():
        pytest.skip("no BLAS here")
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


# ---- plans as built-in functions ------------------------------------------------------------------------------------

# x at 3, y at 4, gradients at 5 and 6: gx = x*y (write) or gx += x*y, gy = arena base (as a number), fault if x < 0
BODIES = """
define void @write(ptr %args) {
  call void @both(ptr %args, double 0.0)
  ret void }
define void @more(ptr %args) {
  call void @both(ptr %args, double 1.0)
  ret void }
define internal void @both(ptr %args, double %keep) noinline {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %xp = load ptr, ptr %p3
  %x = load double, ptr %xp
  %p4 = getelementptr ptr, ptr %args, i64 4
  %yp = load ptr, ptr %p4
  %y = load double, ptr %yp
  %p5 = getelementptr ptr, ptr %args, i64 5
  %gp = load ptr, ptr %p5
  %old = load double, ptr %gp
  %had = fmul double %old, %keep
  %new = fmul double %x, %y
  %sum = fadd double %had, %new
  store double %sum, ptr %gp
  %p1 = getelementptr i64, ptr %args, i64 1
  %base = load i64, ptr %p1
  %based = sitofp i64 %base to double
  %p6 = getelementptr ptr, ptr %args, i64 6
  %hp = load ptr, ptr %p6
  store double %based, ptr %hp
  %negative = fcmp olt double %x, 0.0
  br i1 %negative, label %fault, label %done
fault:
  %p2 = getelementptr ptr, ptr %args, i64 2
  %cell = load ptr, ptr %p2
  store i64 3, ptr %cell
  br label %done
done:
  ret void }
define void @wait(ptr %args) {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %xp = load ptr, ptr %p3
  br label %loop
loop:
  %x = load atomic i64, ptr %xp acquire, align 8
  %go = icmp eq i64 %x, 0
  br i1 %go, label %loop, label %out
out:
  ret void }
define void @sum(ptr %args) {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %ap = load ptr, ptr %p3
  %a32 = load float, ptr %ap
  %a = fpext float %a32 to double
  %p4 = getelementptr ptr, ptr %args, i64 4
  %bp = load ptr, ptr %p4
  %b = load double, ptr %bp
  %p5 = getelementptr ptr, ptr %args, i64 5
  %cp = load ptr, ptr %p5
  %ci = load i64, ptr %cp
  %c = sitofp i64 %ci to double
  %p6 = getelementptr ptr, ptr %args, i64 6
  %lp = load ptr, ptr %p6
  %l = load double, ptr %lp
  %s1 = fadd double %a, %b
  %s2 = fadd double %s1, %c
  %s = fadd double %s2, %l
  %s32 = fptrunc double %s to float
  %p7 = getelementptr ptr, ptr %args, i64 7
  %o32 = load ptr, ptr %p7
  store float %s32, ptr %o32
  %p8 = getelementptr ptr, ptr %args, i64 8
  %o64 = load ptr, ptr %p8
  store double %s, ptr %o64
  %p9 = getelementptr ptr, ptr %args, i64 9
  %oi = load ptr, ptr %p9
  store i64 %ci, ptr %oi
  %p10 = getelementptr ptr, ptr %args, i64 10
  %ob = load ptr, ptr %p10
  %positive = fcmp ogt double %s, 0.0
  %pb = zext i1 %positive to i8
  store i8 %pb, ptr %ob
  %negative = fcmp olt double %a, 0.0
  br i1 %negative, label %fault, label %done
fault:
  %p2 = getelementptr ptr, ptr %args, i64 2
  %cell = load ptr, ptr %p2
  store i64 1, ptr %cell
  br label %done
done:
  ret void }
"""


class Bound:
    """A record with two inputs (slots 5, 2) and two gradients (slots 2, 7) of the bodies above."""

    def __init__(self, result: object = None, flags: int = 0) -> None:
        self.code = jit.native(BODIES).loaded
        self.x, self.y, self.g, self.h = (np.array([v]) for v in (3.0, 5.0, 100.0, 0.0))
        self.pointers, self.grads = np.zeros(8, np.int64), np.zeros(8, np.int64)
        self.states = np.zeros(8, np.uint8)
        self.pointers[[5, 2]] = self.x.ctypes.data, self.y.ctypes.data
        self.grads[[2, 7]] = self.g.ctypes.data, self.h.ctypes.data
        self.fault, self.arena = np.zeros(1, np.int64), np.array([0, 1 << 20])
        self.args = np.zeros(8, np.int64)
        self.args[[0, 2]] = externs.table().ctypes.data, self.fault.ctypes.data
        self.calls: list[str] = []
        self.slow = lambda: self.calls.append("slow") or "slow"
        self.failed = lambda: self.calls.append("fault") or "fault"
        self.record = np.zeros(20, np.int64)
        self.record[:14] = [self.code.address("write"), self.code.address("more"), 2, 2, flags, id(result), id(self.slow),
                            id(self.failed), self.args.ctypes.data, self.pointers.ctypes.data, self.grads.ctypes.data,
                            self.states.ctypes.data, self.arena.ctypes.data, 5]
        self.record[16:] = 5, 2, 2, 7
        self.result = result
        self.call = entry.bind(self.record, (self.slow, self.failed, result, self.args, self.code))


@pytest.fixture(params=[0, entry.RELEASE], ids=["held", "released"])
def bound(request):
    return Bound(result=["the result"], flags=request.param)


def test_plan_writes_then_accumulates(bound):
    assert bound.call() is bound.result
    assert (bound.g[0], bound.h[0], list(bound.states[[2, 7]])) == (15.0, 1 << 20, [1, 1])
    bound.call()
    assert bound.g[0] == 30.0
    bound.states[:] = 0
    bound.x[0] = 7.0
    bound.call()
    assert bound.g[0] == 35.0
    assert bound.states.sum() == 2 and not bound.calls and bound.record[entry.BUSY] == bound.arena[0] == 0


def test_plan_reads_moved_inputs_and_arena(bound):
    other = np.array([11.0])
    bound.pointers[5] = other.ctypes.data
    bound.arena[1] = 4096
    bound.call()
    assert (bound.g[0], bound.h[0]) == (55.0, 4096.0)


def test_plan_without_gradients_and_arena(bound):
    bound.record[[entry.GRADIENTS, entry.ARENA]] = 0
    bound.args[5:7] = bound.g.ctypes.data, bound.h.ctypes.data
    bound.args[1] = 17
    bound.states[2] = 2                        # none of its business
    assert bound.call() is bound.result and (bound.g[0], bound.h[0]) == (15.0, 17.0)
    assert list(bound.states) == [0, 0, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("change", [
    lambda b: b.record.__setitem__(entry.BUSY, 1), lambda b: b.arena.__setitem__(0, 1),
    lambda b: b.pointers.__setitem__(5, 0), lambda b: b.pointers.__setitem__(2, 0), lambda b: b.grads.__setitem__(7, 0),
    lambda b: b.states.__setitem__([2, 7], 2), lambda b: b.states.__setitem__(2, 1), lambda b: b.states.__setitem__(7, 1),
    lambda b: b.states.__setitem__(7, 2), lambda b: b.record.__setitem__(entry.WRITE, 0),
    lambda b: b.record.__setitem__(entry.RESULT, 0)])
def test_plan_goes_the_slow_way(bound, change):
    change(bound)
    before = bound.states.copy()
    assert bound.call() == "slow" and bound.calls == ["slow"]
    assert bound.g[0] == 100.0 and (bound.states == before).all()


def test_plan_without_accumulating_body_goes_the_slow_way_when_gradients_are_there(bound):
    bound.record[entry.ACCUMULATE] = 0
    assert bound.call() is bound.result
    assert bound.call() == "slow" and bound.g[0] == 15.0


def test_fault_is_reported_and_cleared(bound):
    bound.x[0] = -1.0
    assert bound.call() == "fault" and bound.fault[0] == 3 and not bound.states.any()
    bound.x[0] = 2.0
    assert bound.call() is bound.result and bound.fault[0] == 0


def test_errors_of_python_pass_through(bound):
    def fail():
        raise KeyError("from the slow path")

    bound.record[[entry.SLOW, entry.BUSY]] = id(fail), 1
    with pytest.raises(KeyError, match="from the slow path"):
        bound.call()
    with pytest.raises(TypeError):
        bound.call(1)


def test_references_are_stable(bound):
    none = Bound(None)
    objects = [bound.result, bound.slow, bound.failed, bound.record, none.slow]
    before = [sys.getrefcount(o) for o in objects]
    nones = sys.getrefcount(None)
    bound.calls = none.calls = type("Ignore", (), {"append": lambda self, x: None})()
    for _ in range(50_000):
        bound.call()
        none.call()
    for x, flag in ((-1.0, 0), (1.0, 1)):
        bound.x[0] = x
        bound.record[entry.BUSY] = flag
        for _ in range(25_000):
            bound.call()
    assert [sys.getrefcount(o) for o in objects] == before
    assert abs(sys.getrefcount(None) - nones) < 100


def test_builtin_keeps_what_it_needs_and_nothing_for_ever(bound):
    import weakref

    class Kept:
        pass

    kept, record = Kept(), bound.record.copy()
    gone = weakref.ref(kept)
    call = entry.bind(record, (kept, bound))
    size = sys.getrefcount(record)
    kept.cycle = call
    del kept
    gc.collect()
    assert gone() is not None and call() is bound.result
    del call
    gc.collect()
    assert gone() is None and sys.getrefcount(record) < size


def waiting(flags: int) -> Bound:
    b = Bound("done", flags)
    b.record[:2] = b.code.address("wait")
    b.flag = np.zeros(1, np.int64)
    b.pointers[5] = b.flag.ctypes.data
    return b


def test_gil_is_free_while_the_body_runs_and_the_plan_is_busy():
    b = waiting(entry.RELEASE)
    out: list[object] = []
    thread = threading.Thread(target=lambda: out.append(b.call()))
    thread.start()
    deadline = time.monotonic() + 20
    while not b.record[entry.BUSY] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert b.record[entry.BUSY] == b.arena[0] == 1             # this thread runs, so the GIL is free
    assert b.call() == "slow"                                  # the same plan
    other = Bound("other")
    other.record[entry.ARENA] = b.arena.ctypes.data
    assert other.call() == "slow"                              # another plan over the same arena
    b.flag[0] = 1
    thread.join(20)
    assert out == ["done"] and b.record[entry.BUSY] == b.arena[0] == 0
    assert other.call() == "other"


def test_record_of_another_form_is_refused():
    for bad in (np.zeros(15, np.int64), np.zeros(20), np.zeros((4, 5), np.int64), np.zeros(40, np.int64)[::2]):
        with pytest.raises(ValueError, match="record"):
            entry.bind(bad)


# ---- prepared plans -------------------------------------------------------------------------------------------------

class Prepared:
    """sum(a: float32, b: float64, c: int64, a leaf) -> the sum twice, c, sum > 0."""

    def __init__(self, flags: int = entry.AS_TUPLE, outputs: int = 4) -> None:
        self.code = jit.native(BODIES).loaded
        self.cells = [np.zeros(1, d) for d in ("f4", "f8", "i8", "f4", "f8", "i8", "?")]
        self.leaf, self.fault, self.pointers = np.array([0.25]), np.zeros(1, np.int64), np.zeros(4, np.int64)
        self.pointers[3] = self.leaf.ctypes.data
        self.args = np.zeros(11, np.int64)
        self.args[[0, 2]] = externs.table().ctypes.data, self.fault.ctypes.data
        at = [c.ctypes.data for c in self.cells]
        self.args[3:6], self.args[7:] = at[:3], at[3:]
        self.slow, self.failed, self.result = (lambda *given: ("slow", given)), (lambda: "fault"), object()
        self.record = np.zeros(16 + 6 + 2 * outputs + 2, np.int64)
        self.record[:10] = [self.code.address("sum"), 3, outputs, 1, flags, id(self.result), id(self.slow), id(self.failed),
                            self.args.ctypes.data, self.pointers.ctypes.data]
        kinds = [entry.KINDS[c.dtype.name] for c in self.cells]
        pairs = [x for pair in zip(kinds, at, strict=True) for x in pair]
        self.record[16:] = [*pairs[:6 + 2 * outputs], 3, 6]
        self.call = entry.bind_call(self.record, (self.slow, self.failed, self.result, self))


@pytest.mark.parametrize("flags", [0, entry.RELEASE])
def test_prepared_plan_takes_and_returns_python_numbers(flags):
    p = Prepared(flags | entry.AS_TUPLE)
    got = p.call(0.1, 2, 3)
    s = float(np.float32(0.1)) + 2 + 3 + 0.25
    assert got == (float(np.float32(s)), s, 3, True) and [type(v) for v in got] == [float, float, int, bool]
    assert p.call(1, -1.0, -1) == (-0.75, -0.75, -1, False)                    # -1 is also the sign of an error
    assert p.call(2.0, -1, -(2 ** 63))[2] == -(2 ** 63)
    assert math.isnan(p.call(math.nan, 0.0, 0)[1]) and p.call(1e300, 0.0, 0)[1] == math.inf
    p.leaf[0] = 1.5
    assert p.call(0.0, 0.0, 0)[1] == 1.5


def test_prepared_plan_returns_one_number_or_its_result():
    assert Prepared(0, outputs=1).call(1.0, 2.0, 3) == 6.25
    p = Prepared(entry.AS_RESULT)
    assert p.call(1.0, 2.0, 3) is p.result and p.cells[4][0] == 6.25
    assert Prepared(entry.AS_TUPLE, outputs=1).call(1.0, 2.0, 3) == (6.25,)
    assert Prepared(entry.AS_TUPLE, outputs=0).call(1.0, 2.0, 3) == ()


@pytest.mark.parametrize("given", [(), (1.0, 2.0), (1.0, 2.0, 3, 4), (1.0, 2.0, 3.0), (True, 2.0, 3), (1.0, "2", 3), (1.0, None, 3),
                                   (np.float64(1), 2.0, 3), (1.0, np.ones(1), 3), (1.0, 10 ** 400, 3), (1.0, 2.0, 2 ** 63)])
def test_prepared_plan_sends_all_else_the_slow_way(given):
    p = Prepared()
    out = p.call(*given)
    assert out[0] == "slow" and len(out[1]) == len(given) and all(a is b for a, b in zip(out[1], given, strict=True))
    with pytest.raises(TypeError):
        p.call(1.0, 2.0, c=3)


def test_prepared_plan_slow_when_busy_or_without_leaf_and_faults():
    p = Prepared()
    p.record[entry.BUSY] = 1
    assert p.call(1.0, 2.0, 3) == ("slow", (1.0, 2.0, 3))
    p.record[entry.BUSY] = 0
    arena = np.array([1, 64])
    p.record[entry.ARENA] = arena.ctypes.data
    assert p.call(1.0, 2.0, 3)[0] == "slow"
    arena[0] = 0
    assert p.call(1.0, 2.0, 3)[1] == 6.25 and p.args[1] == 64
    assert p.call(-1.0, 2.0, 3) == "fault"
    p.pointers[3] = 0
    assert p.call(1.0, 2.0, 3)[0] == "slow"


def test_prepared_plan_keeps_references_stable():
    p, q = Prepared(), Prepared(entry.AS_RESULT)
    x, k, big = 12345.678, 10 ** 12, 10 ** 400
    objects = [x, k, big, p.slow, q.result, p.record]
    for _ in range(100):
        p.call(x, x, k), q.call(x, x, k), p.call(x, big, k)
    before = [sys.getrefcount(o) for o in objects]
    blocks = sys.getallocatedblocks()
    for _ in range(30_000):
        p.call(x, x, k), q.call(x, x, k), p.call(x, big, k)
    assert [sys.getrefcount(o) for o in objects] == before
    assert abs(sys.getallocatedblocks() - blocks) < 200


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
