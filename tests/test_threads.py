"""Threads: which loops are shared and that their chunks are independent; the pool; the same bits for every number of threads."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from program_interpreter import run_program
from scalar_interpreter import run_kernel

pytest.importorskip("llvmlite")

import lazygrad as lg
from lazygrad import compiler, reference
from lazygrad.backends import llvm
from lazygrad.backends.llvm import cpus, jit, pool, pool_text
from lazygrad.compiler import chunks
from lazygrad.ir.aval import aval
from lazygrad.ir.kernel import Loop
from lazygrad.ir.program import Call
from lazygrad.ir.term import Term, toposort
from lazygrad.prims import elementwise as E
from lazygrad.prims import indexing as I
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import leaf
from lazygrad.runtime.memory import address, allocate

f32, f64, i32 = np.dtype("float32"), np.dtype("float64"), np.dtype("int32")


@pytest.fixture(autouse=True)
def as_many_as_before():
    before = lg.get_num_threads()
    yield
    lg.set_num_threads(before)


# ---- which loops, and are their chunks independent? -----------------------------------------------------------------

def source(slot: int, *shape: int, dtype: np.dtype = f32) -> Term:
    return leaf(slot, 0, aval(shape, dtype), True)


def total(x: Term, *axes: int) -> Term:
    return R.sum(x, axes=axes)


def spread(x: Term, *shape: int) -> Term:
    return M.broadcast_to(x, shape=shape)


def softmax(x: Term) -> Term:
    n, m = x.aval.shape
    e = E.exp(E.sub(x, spread(M.reshape(R.max(x, axes=(1,)), shape=(n, 1)), n, m)))
    return E.div(e, spread(M.reshape(total(e, 1), shape=(n, 1)), n, m))


def column_sums(x: Term) -> list[Term]:
    """Row-wise and column-wise results of one kernel, as in the reverse of a normalisation."""
    s = softmax(x)
    return [s, total(E.mul(s, x), 0), R.max(s, axes=(0,))]


def normalised(x: Term) -> list[Term]:
    """Numbers of a row that several loops over the row read, one of them after a rounding."""
    n, m = x.aval.shape

    def column(v: Term) -> Term:
        return spread(M.reshape(v, shape=(n, 1)), n, m)
    mean = total(x, 1)
    d = E.sub(x, column(mean))
    spread_ = E.sqrt(total(E.mul(d, d), 1))
    short = E.cast(E.cast(spread_, dtype=np.dtype("float16")), dtype=f32)
    h = E.div(d, column(spread_))
    return [h, total(E.mul(h, column(short)), 0), R.max(E.mul(h, column(total(h, 1))), axes=(1,))]


def works(n: int, m: int) -> dict[str, tuple[list[Term], int]]:
    """name -> (roots, how many loops with a grain there are at least)."""
    x, y, v = source(0, n, m), source(1, n, m), source(2, m)
    d, j = source(3, n, m, dtype=f64), source(4, n, dtype=i32)
    long = source(5, 40 * n)
    return {
        "elementwise": ([E.tanh(E.mul(x, y)), E.exp(x)], 1),
        "broadcast": ([E.add(x, spread(v, n, m))], 1),
        "float64": ([E.sqrt(E.mul(d, d)), total(d, 0, 1)], 1),
        "transpose": ([M.permute(x, axes=(1, 0))], 1),
        "flip": ([M.slice_(x, start=(n - 1, m - 1), step=(-1, -1), shape=(n, m))], 1),
        "rows": ([total(x, 1), R.max(x, axes=(1,)), R.argmax(x, axis=1)], 1),
        "columns": ([total(x, 0), R.prod(x, axes=(0,))], 1),
        "columns of few blocks": ([total(source(6, 3, n, 2, m), 1, 3)], 1),
        "all": ([total(x, 0, 1), R.min(y, axes=(0, 1))], 1),
        "long sum": ([total(E.mul(long, long), 0)], 1),
        "softmax": ([softmax(x)], 1),
        "softmax with columns": (column_sums(x), 1),
        "normalised": (normalised(x), 1),
        "integers": ([total(E.cast(x, dtype=i32), 0), R.all(E.lt(x, y), axes=(0, 1))], 1),
        "gather": ([I.gather(x, j, axes=(0,), position=0)], 1),
        "cumulative": ([R.cumsum(x, axis=1, reverse=False), R.cumsum(x, axis=0, reverse=False)], 1),
        "padding": ([M.embed(x, start=(1, 2), step=(2, 1), shape=(2 * n + 3, m + 4))], 1),
    }


NAMES = sorted(works(24, 8))


def data(t: Term) -> np.ndarray:
    rng = np.random.default_rng(t.params[0])
    if t.aval.dtype.kind == "i":
        return rng.integers(0, 8, t.aval.shape).astype(t.aval.dtype)
    return rng.uniform(0.5, 1.5, size=t.aval.shape).astype(t.aval.dtype)


def everything(monkeypatch: pytest.MonkeyPatch, vectors: int, lines: int) -> None:
    """Share whatever may be shared."""
    for name, value in (("WORTH", 0.0), ("PORTION", 1e-9), ("VECTORS", vectors), ("LINES", lines), ("SERIAL", 1e6), ("MOST", 5), ("APART", 5)):
        monkeypatch.setattr(chunks, name, value)


def grains(program) -> int:
    def inside(body):
        return sum([(s.grain > 0) + inside(s.body) for s in body if isinstance(s, Loop)])
    return sum([inside(k.body) for k in program.kernels])


@pytest.mark.parametrize("name", NAMES)
def test_chunks_may_run_in_any_order(name, monkeypatch):
    everything(monkeypatch, 4, 2)
    roots, least = works(24, 8)[name]
    sources = [t for t in toposort(roots) if t.op.name == "source"]
    arrays = [data(t) for t in sources]
    program = compiler.compile(roots, sources, [None] * len(roots), llvm.caps)
    assert grains(program) >= least
    shuffled = random.Random(0)
    for order in (range, lambda n: reversed(range(n)), lambda n: shuffled.sample(range(n), n)):
        got, _ = run_program(program, arrays, order)             # which finds chunks that touch what another writes
        want = reference.evaluate(roots, dict(zip(sources, arrays, strict=True)))
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-5, atol=1e-6)          # sums of at most 960 numbers near 1, rounded each time


def test_steps_that_depend_on_each_other_stay_in_order(monkeypatch):
    everything(monkeypatch, 4, 2)
    x, j = source(0, 16), source(1, 16, dtype=i32)
    for roots in ([R.cumsum(x, axis=0, reverse=False)], [I.scatter_add(x, j, source(2, 16), axes=(0,), position=0)]):
        sources = [t for t in toposort(roots) if t.op.name == "source"]
        program = compiler.compile(roots, sources, [None], llvm.caps)
        for step in program.steps:
            assert isinstance(step, Call)
        with pytest.raises(RuntimeError):                        # the detector works: forced into chunks, steps meet
            kernel = program.kernels[-1]
            loop = next(s for s in kernel.body[::-1] if isinstance(s, Loop))
            forced = chunks.changed(kernel, body=tuple([chunks.changed(loop, grain=2) if s is loop else s for s in kernel.body]))
            buffers = [np.zeros(64, p.dtype) for p in kernel.params]
            run_kernel(forced, buffers)
            raise AssertionError


def test_little_work_is_not_shared():
    x = source(0, 1000)
    program = compiler.compile([E.exp(E.mul(x, x))], [x], [None], llvm.caps)
    assert not grains(program) and not llvm.build(program).regions
    x = source(0, 1_000_000)
    program = compiler.compile([E.exp(E.mul(x, x))], [x], [None], llvm.caps)
    assert grains(program) and llvm.build(program).regions


def test_temporaries_of_rows_hold_a_row_for_every_chunk():
    x = source(0, 4096, 512)
    s = softmax(x)
    roots = [total(E.mul(s, E.tanh(s)), 1), total(E.mul(s, x), 0)]         # the exponentials are needed three times, the rows of softmax nowhere else
    program = compiler.compile(roots, [x], [None, None], llvm.caps)
    kernel, = program.kernels
    chunk = -(-4096 // next(s.grain for s in kernel.body if isinstance(s, Loop) and s.grain))
    assert program.arena <= chunk * 512 * 4 * 3 < x.aval.nbytes / 2


# ---- native: the same bits ------------------------------------------------------------------------------------------

def run(executable, roots, sources, arrays):
    from lazygrad.backends.llvm import externs
    held, made = [allocate(s.aval) for s in sources], [allocate(r.aval) for r in roots]
    for (mine, _), value in zip(held, arrays, strict=True):
        mine[...] = value
    for a, _ in made:
        a[...] = 77
    arena, cell = allocate(aval((executable.arena,), np.dtype("uint8"))), np.zeros(1, np.int64)
    executable.run(np.array([address(externs.table()), arena[1], address(cell), *[at for _, at in held + made]], np.int64))
    return [a for a, _ in made], int(cell[0])


@pytest.mark.parametrize("name", NAMES)
def test_results_are_the_same_bits_for_every_number_of_threads(name, monkeypatch):
    everything(monkeypatch, 128, 16)
    for n, m in ((64, 80), (67, 131)):
        roots, _ = works(n, m)[name]
        sources = [t for t in toposort(roots) if t.op.name == "source"]
        arrays = [data(t) for t in sources]
        program = compiler.compile(roots, sources, [None] * len(roots), llvm.caps)
        executable = llvm.build(program)
        assert executable.regions or not grains(program)
        want = reference.evaluate(roots, dict(zip(sources, arrays, strict=True)))
        first = None
        for threads in (1, 2, 3):
            lg.set_num_threads(threads)
            for _ in range(3):
                got, fault = run(executable, roots, sources, arrays)
                assert not fault
                first = first or got
                for a, b, w in zip(got, first, want, strict=True):
                    assert a.tobytes() == b.tobytes()
                    np.testing.assert_allclose(a, w, rtol=1e-4 if name == "columns" else 2e-5, atol=2e-5 if name == "normalised" else 0)     # products of 67 numbers; sums near 0


def test_a_gradient_and_an_index_error_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    a, b = [rng.normal(size=(3000, 40)).astype(np.float32) for _ in range(2)]
    index = rng.integers(0, 3000, 40_000)
    found = []
    for threads in (1, 2):
        lg.set_num_threads(threads)
        graph = lg.Graph()
        x, y, i = graph.tensor(a), graph.tensor(b), graph.tensor(index)
        loss = (lg.tanh(x * y)[i] ** 2).sum()
        loss.backward()
        found.append((loss.value, x.grad.value, y.grad.value))
        i.set(np.where(index == index[777], 3000, index))
        with pytest.raises(IndexError, match="3000"):
            lg.tanh(x)[i].forward()
    for p, q in zip(*found, strict=True):
        assert p.tobytes() == q.tobytes()
    t = np.tanh(a.astype(np.float64) * b)
    count = np.bincount(index, minlength=3000)[:, None]
    np.testing.assert_allclose(found[0][1], 2 * t * (1 - t * t) * b * count, rtol=1e-4, atol=1e-5)      # float32 throughout


def test_random_programs_in_chunks(monkeypatch):
    """Programs of test_programs: values, gradients and second gradients against the reference, everything in chunks of a few elements."""
    import test_programs as random_programs
    everything(monkeypatch, 32, 2)
    monkeypatch.setenv("LAZYGRAD_CACHE_DIR", "off")              # or code without chunks would be found
    lg.set_num_threads(3)
    draw = random.Random(1)
    for _ in range(8):
        program = [(draw.choice(sorted(random_programs.OPERATIONS)), draw.randrange(40), draw.randrange(40)) for _ in range(draw.randint(3, 8))]
        random_programs.in_tiers(program, draw.randint(1, 5), ["native"])


# ---- the pool -------------------------------------------------------------------------------------------------------

COUNTING = """
@total = internal global i64 0
define void @count(ptr %a, i64 %i) nounwind {
  %p = getelementptr i64, ptr %a, i64 %i
  %old = atomicrmw add ptr %p, i64 1 monotonic
  ret void
}
define void @nested(ptr %a, i64 %i) nounwind {
  %regionp = getelementptr i64, ptr %a, i64 64
  %region = load ptr, ptr %regionp
  %poolp = getelementptr i64, ptr %a, i64 65
  %pool = load ptr, ptr %poolp
  call void %region(ptr %pool, ptr @count, ptr %a, i64 4)
  ret void
}
"""
SEAMS = ["windows"] if sys.platform == "win32" else ["posix", *["linux"] * sys.platform.startswith("linux")]


@pytest.fixture(params=SEAMS)
def own(request):
    made = pool.Pool(request.param, 3)
    made.call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(made.region)
    made.counting = jit.native(COUNTING).loaded
    yield made
    made.stop()
    assert made.alive == 0


def test_every_chunk_runs_once(own):
    cells = np.zeros(600, np.int64)
    count = own.counting.address("count")
    for n in itertools.chain([0] * 0, [1, 2, 3, 7, 64, 600], [5] * 2000):
        cells[:] = 0
        own.call(own.address, count, cells.ctypes.data, n)
        assert (cells[:n] == 1).all() and not cells[n:].any()
        if n == 600:
            assert own.alive == 2
    for _ in range(20):                                          # threads that sleep
        time.sleep(0.002)
        cells[:] = 0
        own.call(own.address, count, cells.ctypes.data, 64)
        assert (cells[:64] == 1).all()


def test_regions_inside_of_regions_and_of_other_threads(own):
    cells = np.zeros(66, np.int64)
    cells[64:] = own.region, own.address
    own.call(own.address, own.counting.address("nested"), cells.ctypes.data, 10)
    assert cells[:4].tolist() == [10] * 4 and not cells[4:64].any()
    wrong = []

    def many():
        mine = np.zeros(16, np.int64)
        for _ in range(500):
            own.call(own.address, own.counting.address("count"), mine.ctypes.data, 16)
        if (mine != 500).any():
            wrong.append(mine)
    threads = [threading.Thread(target=many) for _ in range(4)]
    for t in threads:
        t.start()
    for k in range(20):
        own.wanted = 1 + k % 4                                   # while regions run
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_threads_of_the_pool_take_no_signals(own):
    before = set(os.listdir("/proc/self/task"))
    cells = np.zeros(64, np.int64)
    own.call(own.address, own.counting.address("count"), cells.ctypes.data, 64)
    new = set(os.listdir("/proc/self/task")) - before
    assert len(new) == 2

    def blocked(t: str) -> list[bool]:
        status = Path(f"/proc/self/task/{t}/status").read_text()
        mask = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
        return [bool(mask >> number - 1 & 1) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV)]
    until = time.monotonic() + 10                                # a thread that starts takes none at all
    while time.monotonic() < until and not all(blocked(t) == [True, True, False] for t in new):
        time.sleep(0.001)
    assert [blocked(t) for t in new] == [[True, True, False]] * 2


@pytest.mark.parametrize(("seam", "arch"), list(itertools.product(pool_text.SEAMS, pool_text.PAUSE)))
def test_the_text_of_every_system_compiles(seam, arch):
    from lazygrad.backends.llvm.target import level
    text = pool_text.text(seam, arch)
    assert "$" not in text
    assert len(jit.compile_text(text, 1, level("aarch64" if arch == "aarch64" else "x86-64"))) > 1000


def test_numbers_of_threads():
    for wrong in (0, -1, 1.5, "2", True, None):
        with pytest.raises((TypeError, ValueError), match="set_num_threads"):
            lg.set_num_threads(wrong)
    lg.set_num_threads(np.int64(3))
    assert lg.get_num_threads() == 3


def test_the_default_respects_variable_mask_and_quota(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYGRAD_NUM_THREADS", "7")
    assert cpus.count() == 7
    monkeypatch.setenv("LAZYGRAD_NUM_THREADS", "no")
    monkeypatch.setattr(cpus, "quota", lambda: 2.9)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert cpus.count() == 2
    monkeypatch.setattr(cpus, "quota", lambda: 0.5)
    assert cpus.count() == 1
    monkeypatch.setattr(cpus, "quota", lambda: None)
    assert cpus.count() == 8


def test_quotas_of_both_versions(tmp_path):
    def put(path, text):
        at = tmp_path / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text + "\n")
    assert cpus.quota(str(tmp_path)) is None
    put("proc/self/cgroup", "0::/a/b")
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000")
    assert cpus.quota(str(tmp_path)) is None
    put("sys/fs/cgroup/a/cpu.max", "150000 100000")              # the group around
    assert cpus.quota(str(tmp_path)) == 1.5
    put("proc/self/cgroup", "3:memory:/x\n4:cpu,cpuacct:/docker/id")
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1")
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert cpus.quota(str(tmp_path)) is None
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000")  # as seen from inside of a container
    assert cpus.quota(str(tmp_path)) == 3


# ---- a process from its start to its end ----------------------------------------------------------------------------

START = """
import os, signal, sys, threading, time
import numpy as np
import lazygrad as lg
lg.set_num_threads(3)
graph = lg.Graph()
x = graph.tensor(np.linspace(0, 1, 1_000_000, dtype=np.float32))
z = lg.exp(lg.tanh(x) * x)
def right():
    z.forward()
    return np.allclose(z.value[::1000], np.exp(np.tanh(x.value[::1000]) * x.value[::1000]), rtol=1e-5)
"""


def process(code: str, **options) -> str:
    found = subprocess.run([sys.executable, "-W", "error", "-c", START + code], capture_output=True, text=True, timeout=60, check=False, **options)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_pool_is_made_by_the_first_large_kernel():
    out = process("""
small = lg.Graph().tensor([1.0, 2.0])
for _ in range(5): (small * small).sum().backward()
print("lazygrad.backends.llvm.pool" in sys.modules and sys.modules["lazygrad.backends.llvm.pool"]._pool is not None)
print(right(), sys.modules["lazygrad.backends.llvm.pool"]._pool.alive)
""")
    assert out.split() == ["False", "True", "2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_parent_and_child_of_a_fork():
    out = process("""
assert right()
p = sys.modules["lazygrad.backends.llvm.pool"]._pool
for _ in range(3):
    child = os.fork()
    if not child:
        ok = p.alive == 0 and right() and right() and p.alive == 2
        os._exit(0 if ok else 1)
    assert right() and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(p.alive)
""")
    assert out.split() == ["2"]


def test_the_end_does_not_wait_for_threads_that_go_on():
    assert process("""
def on():
    while True: z.forward()
assert right()
for _ in range(2): threading.Thread(target=on, daemon=True).start()
time.sleep(0.1)
print("end")
""") == "end\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_program_between_two_runs():
    assert process("""
assert right()
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True: z.forward()
except KeyboardInterrupt:
    print(right())
""") == "True\n"
