"""Lifetimes with the garbage collector off: slots and graph numbers come back, memory stays flat, long chains are released
without recursion, sweeps change nothing, forks and interrupts leave everything usable.
"""

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from lazygrad import Graph
from lazygrad.ir import term as T
from lazygrad.runtime import gradients, memory, slots
from lazygrad.tensor import LAST


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def resident() -> int:
    """Resident memory in KiB."""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def model(x, w):
    return ((x * w + 1.0) * x).sum()


def test_slots_come_back():
    graph = Graph()
    before = slots.live()
    x = graph.tensor([1.0, 2.0])
    for _ in range(5):
        z = model(x, graph.tensor([1.0, 1.0]))
        z.backward()
        assert x.grad.shape == (2,)
        x.grad = None
    graph.zero_grad()
    del x, z
    assert slots.live() == before
    assert not graph.slots


def test_prepared_functions_die():
    graph = Graph()
    before = slots.live()
    for shape in ((), (3,)):
        x, w = graph.tensor(np.ones(shape)), graph.tensor(np.ones(shape))
        f = graph.compile([x], (x * w).sum(), updates=[(w, w + x)])
        assert f(np.ones(shape)) == np.ones(shape).sum() and w.value.sum() == 2 * np.ones(shape).sum()
        del x, w, f
        assert slots.live() == before


def test_the_lowest_free_slot_is_taken_first():
    graph = Graph()
    a, b = graph.tensor(1.0), graph.tensor(2.0)
    low, high = sorted((a.a.slot, b.a.slot))
    del a, b
    assert [graph.tensor(1.0).a.slot, graph.tensor(1.0).a.slot] == [low, low]
    c, d = graph.tensor(1.0), graph.tensor(1.0)
    assert (c.a.slot, d.a.slot) == (low, high)


def test_a_result_keeps_its_leaves_alive():
    graph = Graph()
    z = graph.tensor([1.0, 2.0]) * graph.tensor([3.0, 4.0])
    others = [graph.tensor([9.0, 9.0]) for _ in range(4)]
    assert z.value.tolist() == [3, 8]
    (g,) = z.sum().gradient(z)
    del z
    assert g.value.tolist() == [1, 1] and len(others) == 4


def test_graphs_die_and_their_numbers_come_back():
    first = Graph()
    number = first.number
    x = first.tensor(1.0)
    del first
    assert x.graph.number == number          # its leaves keep it
    del x
    assert Graph().number == number


def test_terms_hold_no_data():
    graph = Graph()
    x = graph.tensor(np.ones(1000))
    z = (x * 2).sum()
    z.backward()
    term, array = z.term, slots.BUFFERS[x.a.slot]
    assert sys.getrefcount(array) == 3       # BUFFERS, here, the argument
    LAST.clear()
    del x, z
    assert sys.getrefcount(array) == 2 and term.aval.shape == ()


def test_memory_is_flat_over_define_by_run_steps():
    graph = Graph()
    x = graph.tensor(np.ones(16, np.float32))
    batch = np.full(16, 0.5, np.float32)

    def steps(n):
        for _ in range(n):
            loss = model(x, graph.tensor(batch, requires_grad=False))
            loss.backward()
            x.set(x - 0.001 * x.grad)
            x.grad = None
            loss.item()
    steps(1500)
    terms, live, rss = len(T.TERMS), slots.live(), resident()
    steps(6000)
    assert len(T.TERMS) == terms and slots.live() == live
    assert resident() - rss < 2048


def test_memory_is_flat_with_a_fresh_graph_each_step():
    def steps(n):
        for _ in range(n):
            graph = Graph()
            x = graph.tensor([1.0, 2.0])
            model(x, graph.tensor([1.0, 1.0])).backward()
            assert x.grad.tolist() == [3.0, 5.0]
    steps(200)
    terms, rss = len(T.TERMS), resident()
    steps(1500)
    assert len(T.TERMS) == terms and resident() - rss < 2048


def test_numbers_that_change_each_step_make_no_new_terms():
    graph = Graph()
    x = graph.tensor([1.0, 2.0])
    for i in range(30):
        z = x * (0.5 + i)
        z.forward()
    terms = len(T.TERMS)
    for i in range(300):
        z = x * (0.25 + i)
        assert z.value.tolist() == [0.25 + i, 2 * (0.25 + i)]
    assert len(T.TERMS) <= terms + 2


def test_random_programs_with_recycled_slots():
    """Define-by-run steps with kept handles, dropped leaves, sets, sweeps and new graphs; complex steps give the derivatives."""
    rng = np.random.default_rng(7)

    def evaluate(e, env):
        if isinstance(e, int):
            return env[e]
        op, *args = e
        a = [evaluate(k, env) for k in args]
        return {"add": lambda: a[0] + a[1], "mul": lambda: a[0] * a[1], "sin": lambda: np.sin(a[0]), "half": lambda: a[0] * 0.5}[op]()

    for _ in range(12):
        graph = Graph()
        leaves: dict[int, tuple] = {}
        kept: list[tuple] = []
        for step in range(40):
            if len(leaves) < 3 or rng.random() < 0.3:
                v = rng.normal()
                leaves[step] = (graph.tensor(np.float64(v)), v)
            nodes = [(h, k) for k, (h, _) in leaves.items()]
            for _ in range(6):
                (h, e), (i, f) = (nodes[int(rng.integers(len(nodes)))] for _ in range(2))
                nodes.append([(h + i, ("add", e, f)), (h * i, ("mul", e, f)), (h.sin(), ("sin", e)), (h * 0.5, ("half", e))][int(rng.integers(4))])
            kept.append((*nodes[-1], {k: v[0] for k, v in leaves.items()}))
            if rng.random() < 0.4:
                k = list(leaves)[int(rng.integers(len(leaves)))]
                v = rng.normal()
                leaves[k] = (leaves[k][0].set(v), v)
            if rng.random() < 0.1:
                T.sweep()
            h, e, mine = kept[int(rng.integers(len(kept)))]
            env = {k: x.item() for k, x in mine.items()}
            assert h.item() == pytest.approx(evaluate(e, env), rel=1e-12, abs=1e-14)
            if h.requires_grad:
                graph.zero_grad()
                h.backward()
                for k, x in mine.items():
                    exact = np.imag(evaluate(e, {**env, k: env[k] + 1e-30j})) / 1e-30
                    got = 0.0 if x.grad is None else x.grad.item()
                    assert got == pytest.approx(exact, rel=1e-11, abs=1e-14)
            if len(leaves) > 5:
                leaves.pop(next(iter(leaves)))
            if len(kept) > 4:
                kept.pop(0)
            del h, mine, nodes


def test_large_arrays_are_recycled():
    graph = Graph()
    big = np.ones(1 << 20, np.float32)
    for _ in range(3):
        graph.tensor(big)
    rss = resident()
    for _ in range(20):
        graph.tensor(big)
    assert resident() - rss < 8 << 10
    memory.trim()
    assert resident() < rss


@pytest.mark.parametrize("shape, dtype", [((), "bool"), ((3,), "float64"), ((0, 4), "int16"), ((600, 1000), "float32")])
def test_arrays_are_aligned_and_padded(shape, dtype):
    from lazygrad.ir.aval import aval
    from lazygrad.ir.program import ALIGN, PAD
    array, at = memory.allocate(aval(shape, np.dtype(dtype)))
    assert array.shape == shape and array.dtype == dtype and at % ALIGN == 0 and memory.address(array) == at
    assert array.flags.c_contiguous and array.flags.writeable
    import ctypes
    ctypes.memset(at + array.nbytes, 1, PAD)              # within what was allocated
    array[...] = 1
    assert array.all()


def test_long_chains_are_built_differentiated_and_released():
    graph = Graph()
    x = graph.tensor(1.0)
    h = x
    for _ in range(100_000):
        h = -h
    assert h.requires_grad and h.term.depth == 100_001
    del h


def test_a_long_chain_runs():
    graph = Graph()
    x = graph.tensor(np.float64(0.5))
    h = x
    for _ in range(3000):
        h = h * x
        h = h + x
    h.backward()
    v, d = 0.5, 1.0
    for _ in range(3000):
        v, d = v * 0.5, d * 0.5 + v
        v, d = v + 0.5, d + 1
    assert h.item() == pytest.approx(v, rel=1e-12) and x.grad.item() == pytest.approx(d, rel=1e-12)
    graph.zero_grad()


def test_a_simulation_that_looks_at_each_step_is_linear():
    """`x = step(x); x.forward()` starts from the last value, not from the leaves, and finds one plan."""
    from lazygrad.runtime import plans
    graph = Graph()
    a = graph.tensor(np.array([0.5, 0.25]))
    x, expected = a, a.value
    p = a.value
    made = []
    for k in range(600):
        x = (x * a).sin() + a
        expected = np.sin(expected * p) + p
        assert np.allclose(x.value, expected, rtol=1e-12, atol=0)
        if k == 300:
            made.append(len(plans.PLANS))
    assert len(plans.PLANS) == made[0]
    a.set([0.125, 1.0])
    expected = p = a.value
    for _ in range(600):
        expected = np.sin(expected * p) + p
    assert np.allclose(x.value, expected, rtol=1e-12, atol=0)


def test_handles_chain_without_terms():
    """A function that returns its argument makes handles that link to each other though no Term is new."""
    graph = Graph()
    h = graph.tensor([1.0, 2.0])
    for _ in range(20_000):
        h = h.reshape((2,))
    assert h.tolist() == [1, 2]
    del h


def test_release_in_a_thread_with_a_small_stack():
    done = []

    def work():
        graph = Graph()
        h = graph.tensor(1.0)
        for _ in range(30_000):
            h = -h
        del h
        done.append(True)
    old = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(old)
    assert done


def test_sweeps_change_nothing():
    graph = Graph()
    x, w = graph.tensor([1.0, 2.0]), graph.tensor([3.0, 4.0])
    z = model(x, w)
    prepared = graph.compile([x], z)
    for k in range(6):
        T.sweep()
        x.grad = None
        z.backward()
        assert x.grad.tolist() == [2 * 3 + 1, 4 * 4 + 1] and z.item() == 22.0
        assert prepared([float(k), 0.0]) == 3 * k * k + k
        assert model(x, w).item() == 22.0


def test_gradient_buffers_are_reused_when_nobody_looks():
    graph = Graph()
    x = graph.tensor([1.0, 2.0])
    z = (x * x).sum()
    z.backward()
    first = id(slots.GRADIENTS[x.a.slot])
    for _ in range(5):
        x.grad.tolist()
        x.grad = None
        z.backward()
    assert id(slots.GRADIENTS[x.a.slot]) == first
    held = x.grad
    x.grad = None
    z.backward()
    assert id(slots.GRADIENTS[x.a.slot]) != first and held.tolist() == [2, 4]
    assert gradients.unseen(x.a.slot)


def test_results_are_dropped_when_they_are_too_many(monkeypatch):
    from lazygrad.runtime import tiers
    monkeypatch.setattr(tiers, "MAX_RESULTS", 4096)
    graph = Graph()
    x = graph.tensor(np.ones(200))
    tensors = [x * float(k) for k in range(8)]
    for _ in range(5):
        for h in tensors:
            h.forward()
        for k, h in enumerate(tensors):
            assert h.value[0] == k


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_use():
    code = """
import os, warnings
warnings.simplefilter("ignore")
import numpy as np
from lazygrad import Graph
graph = Graph()
x = graph.tensor([1.0, 2.0])
z = (x * x).sum()
for _ in range(4):
    x.grad = None
    z.backward()
child = os.fork()
if child == 0:
    x.set([3.0, 4.0])
    x.grad = None
    z.backward()
    w = (x * graph.tensor([1.0, 1.0])).sum()
    for _ in range(4):
        w.backward()
    os._exit(0 if x.grad.tolist() == [10.0, 12.0] and z.item() == 25.0 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert x.tolist() == [1.0, 2.0] and x.grad.tolist() == [2.0, 4.0]      # the child's tables are its own
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_leaves_tensors_usable():
    import _thread
    graph = Graph()
    x = graph.tensor(np.ones(1000))
    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            z = (x * 2 + 1).sum()
            z.backward()
    x.grad = None
    z = (x * 2 + 1).sum()
    z.backward()
    assert z.item() == 3000.0 and np.all(x.grad.value == 2)
    timer.join()


def test_a_thread_has_released_its_own_chain_when_it_goes_on():
    alive = []

    def work():
        for _ in range(4):
            x = Graph().tensor(1.0)
            h, first = x, weakref.ref(x)
            for _ in range(3000):
                h = h + 1.0
            del h, x
            alive.append(first() is not None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert alive == [False] * 16
