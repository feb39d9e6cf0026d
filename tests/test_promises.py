"""The package's promises to its user, one test each, in every tier of execution where it matters.

Tiers: the interpreter alone, native code from the first run on, and the usual way from one to the other over several runs.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import Graph, compiler, errors
from lazygrad.ir import term as terms
from lazygrad.ir.program import Call
from lazygrad.runtime import plans, slots, tiers


def use(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terms.sweep()                                          # bound plans of earlier tests go
    plans.PLANS.clear()
    if tier == "interpreter":
        monkeypatch.setattr(tiers, "native", lambda: False)
    else:
        if not tiers.native():
            pytest.skip("no native code here")
        if tier == "native":
            monkeypatch.setattr(plans, "INTERPRETED", -1)
            monkeypatch.setattr(plans, "PATIENCE", 1 << 30)


@pytest.fixture(params=["interpreter", "native", "usual"])
def tier(request, monkeypatch):
    use(request.param, monkeypatch)
    return request.param


@pytest.fixture
def graph(tier):
    return Graph()


def python(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


RUNS = 5                                                   # past the change of tier


def test_tiers_are_what_they_say(graph, tier):
    """A built-in function stands behind a native plan from its first run, or after some; behind an interpreted one Python's."""
    x = graph.tensor([1.0, 2.0])
    z = (x * x).sum()
    kinds = []
    for _ in range(RUNS):
        z.backward()
        kinds.append(type(z.term.backward).__name__)
    native = [k == "builtin_function_or_method" for k in kinds]
    assert native == {"interpreter": [False] * RUNS, "native": [True] * RUNS, "usual": [False, False, True, True, True]}[tier]


# ---- values ---------------------------------------------------------------------------------------------------------

def test_nothing_runs_before_it_is_asked_for(graph, monkeypatch):
    calls = []
    for name in ("interpret", "compile"):
        old = getattr(plans.Variant, name)
        monkeypatch.setattr(plans.Variant, name, lambda self, *a, old=old: (calls.append(self), old(self, *a))[1])
    x = graph.tensor([1.0, 2.0])
    y = (x * 3).exp() / x
    g = y.sum().gradient(x)[0]
    assert y.shape == g.shape == (2,) and y.dtype == np.float32 and not calls
    y.forward()
    assert len(calls) == 1


def test_nothing_outside_the_history_is_computed(graph):
    i = graph.tensor([9])
    x = graph.tensor([1.0, 2.0])
    wrong = lg.take(x, i)                                  # would be an error if it ran
    z = x * 2
    for _ in range(RUNS):
        z.forward()
    assert z.tolist() == [2, 4]
    with pytest.raises(IndexError):
        wrong.forward()


def test_nothing_read_after_a_set_is_stale(graph):
    x, w = graph.tensor(np.array([1.0, 2.0])), graph.tensor(np.array([3.0, 5.0]))
    m = x * w
    n = m * m
    z = n.sum()
    (g,) = z.gradient(x)
    for k in range(RUNS):
        v = np.array([k + 1.0, -k])
        x.set(v)
        x.grad = None
        assert m.value.tolist() == (v * [3, 5]).tolist()                       # an intermediate first
        assert z.item() == ((v * [3, 5])**2).sum()
        z.backward()
        assert n.value.tolist() == ((v * [3, 5])**2).tolist()
        assert x.grad.tolist() == (2 * v * [9, 25]).tolist()
        assert m.grad.tolist() == (2 * v * [3, 5]).tolist() and n.grad.tolist() == [1, 1] and z.grad.item() == 1
        assert g.tolist() == (2 * v * [9, 25]).tolist()                        # a gradient as an expression
        x.set(v + 1)                                                           # after the backward: values, and gradients of intermediates
        assert m.grad.tolist() == (2 * (v + 1) * [3, 5]).tolist()
        assert z.item() == (((v + 1) * [3, 5])**2).sum() and float(z) == z.item() and m[0].item() == (v[0] + 1) * 3
        assert g.tolist() == (2 * (v + 1) * [9, 25]).tolist()


def test_set_by_every_road_is_seen(graph):
    x, n = graph.tensor(2.0), graph.tensor(0)
    z = x * x
    step = graph.compile([], [z], updates=[(x, x + 1), (n, n + 1)])
    assert z.item() == 4
    x.set(3)
    assert z.item() == 9
    x.set(x + 1)                                           # computed into the leaf
    assert z.item() == 16 and x.item() == 4
    assert step() == 16 and z.item() == 25 and n.item() == 1
    x.set(np.float32(7))
    assert graph.forward(z, n)[0].item() == 49
    x.set([8.0][0])
    assert z.tolist() == 64 and np.asarray(z) == 64 and f"{z}" == "64.0"


def test_values_are_copies(graph):
    source = np.array([1.0, 2.0])
    x = graph.tensor(source)
    z = x * 2
    seen = []
    for k in range(RUNS):
        source[:] = -1                                     # the caller's array is not ours
        x.set([float(k), 2.0])
        seen.append(z.value)
        z.value[:] = 77                                    # nor is ours the caller's
        x.value[:] = 77
    assert [s.tolist() for s in seen] == [[2.0 * k, 4.0] for k in range(RUNS)]


# ---- gradients ------------------------------------------------------------------------------------------------------

def test_gradients_accumulate_until_they_are_reset(graph):
    x, y = graph.tensor(np.array([1.0, 2.0])), graph.tensor(np.array([3.0, 4.0]))
    z, w = (x * y).sum(), (x * x).sum()
    for k in range(1, RUNS + 1):
        z.backward()
        assert x.grad.tolist() == [3 * k, 4 * k] and y.grad.tolist() == [1 * k, 2 * k]
    for _ in range(RUNS):                                  # another root, unread
        w.backward()
    assert x.grad.tolist() == [3 * RUNS + 2 * RUNS, 4 * RUNS + 4 * RUNS] and y.grad.tolist() == [RUNS, 2 * RUNS]
    x.grad = None
    assert x.grad is None and y.grad is not None
    z.backward()
    assert x.grad.tolist() == [3, 4] and y.grad.tolist() == [RUNS + 1, 2 * (RUNS + 1)]
    graph.zero_grad()
    assert x.grad is None and y.grad is None
    z.backward()
    assert x.grad.tolist() == [3, 4] and y.grad.tolist() == [1, 2]


def test_a_gradient_that_was_read_is_a_snapshot(graph):
    x = graph.tensor(np.array([1.0, 2.0]))
    z = (x * x).sum()
    held, arrays = [], []
    for _ in range(RUNS):
        z.backward()
        held.append(x.grad)
        arrays.append(x.grad.value)
    x.set([0.0, 0.0])
    assert [h.tolist() for h in held] == [a.tolist() for a in arrays] == [[2 * k, 4 * k] for k in range(1, RUNS + 1)]


def test_backward_takes_a_cotangent(graph):
    x = graph.tensor(np.array([1.0, 2.0]))
    z = x * x * x
    total = np.zeros(2)
    for k in range(RUNS):
        ct = np.array([k, 0.5])
        z.backward(ct)
        total += 3 * np.array([1.0, 4.0]) * ct
        assert x.grad.tolist() == total.tolist() and z.grad.tolist() == ct.tolist()
    m = x * 2
    w = m * x
    w.backward(graph.tensor([1.0, 10.0]))                  # float32 beside float64
    assert m.grad.tolist() == [1, 20] and x.grad.tolist() == [total[0] + 4, total[1] + 80]
    w.backward([1, 1])
    assert x.grad.tolist() == [total[0] + 8, total[1] + 88]
    with pytest.raises(errors.ShapeError, match=r"backward: a cotangent of shape \(3,\)"):
        w.backward([1.0, 2.0, 3.0])


def test_equal_intermediates_keep_gradients_of_their_own(graph):
    x, y = graph.tensor(np.float64(3)), graph.tensor(np.float64(2))
    for _ in range(RUNS):
        graph.zero_grad()
        a, b, c = x * y, x * y, x * y
        assert a.term is b.term
        z = a * b * b + c * 0 + b
        z.backward()
        assert (a.grad.item(), b.grad.item(), c.grad.item()) == (36, 73, 0)
        assert (x.grad.item(), y.grad.item()) == (109 * 2, 109 * 3)
        d = x * y                                          # equal, yet no part of z
        assert d.grad is None


def test_stop_gradient_no_grad_and_leaves_that_want_none(graph):
    x, c = graph.tensor(np.float64(3)), graph.tensor(np.float64(5), requires_grad=False)
    for _ in range(RUNS):
        graph.zero_grad()
        with lg.no_grad():
            still = x * x
        z = x * lg.stop_gradient(x * x) + c * x + still * x
        assert z.requires_grad and not still.requires_grad and not c.requires_grad
        z.backward()
        assert z.item() == 27 + 15 + 27
        assert x.grad.item() == 9 + 5 + 9 and c.grad is None
        with pytest.raises(errors.GradientError):
            still.backward()
        with pytest.raises(errors.GradientError):
            (c * 2).backward()


def test_integers_have_no_gradient(graph):
    n = graph.tensor([1, 2])
    x = graph.tensor([1.0, 2.0])
    z = (x * n).sum()
    for _ in range(RUNS):
        graph.zero_grad()
        z.backward()
        assert n.grad is None and not n.requires_grad and x.grad.tolist() == [1, 2]
    with pytest.raises(errors.GradientError, match="int64 values have no derivative"):
        (n * 2).backward()


def test_second_and_third_derivatives(graph):
    x = graph.tensor(np.array([0.5, 1.5]))
    z = (x**4 * x.exp()).sum()
    (g,) = z.gradient(x)
    (h,) = g.sum().gradient(x)
    (t,) = h.sum().gradient(x)
    for k in range(RUNS):
        v = np.array([0.5 + k / 4, 1.5])
        x.set(v)
        e = np.exp(v)
        np.testing.assert_allclose(g.value, e * (v**4 + 4 * v**3), rtol=1e-13)
        np.testing.assert_allclose(h.value, e * (v**4 + 8 * v**3 + 12 * v**2), rtol=1e-13)
        np.testing.assert_allclose(t.value, e * (v**4 + 12 * v**3 + 36 * v**2 + 24 * v), rtol=1e-13)
        x.grad = None
        g.sum().backward()                                 # a derivative is a tensor like any other
        np.testing.assert_allclose(x.grad.value, h.value, rtol=1e-13)
        x.grad = None
        z.backward(create_graph=True)
        (again,) = x.grad.sum().gradient(x)
        np.testing.assert_allclose(again.value, h.value, rtol=1e-13)
        x.grad = None


def test_branch_not_taken_gives_no_nan(graph):
    x = graph.tensor(np.array([0.0, 4.0]))
    z = lg.where(x > 0, lg.log(lg.where(x > 0, x, 1.0)) + lg.sqrt(x), 0.0)
    for _ in range(RUNS):
        x.grad = None
        z.backward()
        assert x.grad.tolist() == [0, 0.25 + 0.25] and z.value[0] == 0


# ---- bad input ------------------------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_integer_division_by_zero_and_overflow_are_values(graph, dtype):
    info = np.iinfo(dtype)
    v = np.array([7, 0, info.min, info.max, 5, info.min] * 7, dtype)
    d = np.array([0, 0, -1 if info.min else 1, 0, 2, 0] * 7, dtype)
    x, y = graph.tensor(v), graph.tensor(d)
    with np.errstate(all="ignore"):
        want = {"//": v // d, "%": v % d, "fmod": np.fmod(v, d)}
    found = {"//": x // y, "%": x % y, "fmod": lg.fmod(x, y), "by a number": x // 0, "shift": x << 200 if dtype != "int8" else x << 100}
    for _ in range(RUNS):
        for name, expected in want.items():
            np.testing.assert_array_equal(found[name].forward().value, expected, err_msg=name)
        assert found["by a number"].forward().tolist() == [0] * v.size
        assert found["shift"].forward().tolist() == [0] * v.size


@pytest.mark.parametrize("at", [4, -5, 2**62, -2**63])
def test_gather_outside_is_an_error_and_the_rest_lives_on(graph, at):
    x = graph.tensor(np.array([1.0, 2.0, 3.0, 4.0]))
    i = graph.tensor([0, 1])
    z = lg.take(x, i)
    total = (z * 2).sum()
    for _ in range(RUNS):
        i.set([0, at])
        with pytest.raises(IndexError, match="gather"):
            z.forward()
        with pytest.raises(IndexError):
            total.backward()
        i.set([-1, 2])
        graph.zero_grad()
        total.backward()
        assert z.tolist() == [4, 3] and total.item() == 14 and x.grad.tolist() == [0, 0, 2, 2]


def test_special_values_are_numpys(graph):
    v = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e38, -1e38, 1e-45], np.float32)
    x, y = graph.tensor(v), graph.tensor(v[::-1].copy())
    with np.errstate(all="ignore"):
        want = [v * 10, v / v[::-1], np.exp(v), np.log(v), v**2, np.maximum(v, v[::-1]), v > v[::-1], np.sqrt(v), np.tanh(v)]
    found = [x * 10, x / y, lg.exp(x), lg.log(x), x**2, lg.maximum(x, y), x > y, lg.sqrt(x), lg.tanh(x)]
    for _ in range(RUNS):
        for h, w in zip(found, want, strict=True):
            np.testing.assert_allclose(h.forward().value, w, rtol=1e-6)


# ---- size and number ------------------------------------------------------------------------------------------------

def chain(graph: Graph, length: int):
    x = h = graph.tensor(np.array([1.0, 3.0]))
    for _ in range(length // 2):
        h = h * 0.5
        h = h + x
    return x, h


@pytest.mark.parametrize("tier, length", [("native", 100_000), ("interpreter", 20_000)])
def test_chain_of_a_hundred_thousand_nodes(tier, length, monkeypatch):
    use(tier, monkeypatch)
    x, h = chain(Graph(), length)
    assert h.term.depth == length + 1
    for _ in range(2):
        x.grad = None
        h.backward()
        assert h.tolist() == [2, 6] and x.grad.tolist() == [2, 2]
    assert x.grad.value.dtype == np.float64


def test_long_chains_become_many_calls_of_few_kernels():
    """Compile work in proportion to the length: the calls are, and the kernels to generate do not grow at all."""
    if not tiers.native():
        pytest.skip("no native code here")
    from lazygrad.backends import llvm
    counts = {}
    for length in (2_000, 8_000):
        x, h = chain(Graph(), length)
        g = plans.derivative(h.term, None, [x.term])[0]
        program = compiler.compile([h.term, g], [x.term], [None, None], llvm.caps)
        counts[length] = len(program.steps), len(program.kernels), program.arena
        assert all(isinstance(s, Call) for s in program.steps)
    (few, kernels, _), (many, more, _) = counts.values()
    assert many <= 4 * few + 4 and more <= kernels + 2 and more < 20


def test_a_thousand_distinct_small_graphs_are_interpreted(monkeypatch):
    use("usual", monkeypatch)
    built = []
    monkeypatch.setattr(tiers, "build", lambda *request: built.append(request))
    graph = Graph()
    x, y = graph.tensor(np.float64(0.5)), graph.tensor(np.float64(2))
    steps = [(lambda t: t + y, lambda v: v + 2), (lambda t: t * x, lambda v: v * 0.5), (lambda t: t - x, lambda v: v - 0.5),
             (lambda t: lg.sin(t), np.sin), (lambda t: -t, lambda v: -v)]
    for k in range(1000):
        t, v, n = x, 0.5, k
        for _ in range(5):
            n, which = divmod(n, 5)
            t, v = steps[which][0](t), steps[which][1](v)
        t.backward()
        assert t.item() == v
    assert not built and len(plans.PLANS) >= 900


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_memory_is_flat_over_define_by_run_steps(monkeypatch):
    use("usual", monkeypatch)
    gc.collect()
    gc.disable()
    try:
        graph = Graph()
        w = graph.tensor(np.ones((4, 3), np.float32))
        rng = np.random.default_rng(0)
        marks = []
        for k in range(20_001):
            x = graph.tensor(rng.standard_normal((5, 4)), dtype="float32", requires_grad=False)
            loss = (lg.tanh(x @ w)**2).mean()
            loss.backward()
            w.set(w - 0.01 * w.grad)
            graph.zero_grad()
            if k % 5_000 == 0 and k:
                marks.append((resident(), sys.getallocatedblocks(), slots.live(), len(plans.PLANS)))
        first, last = marks[0], marks[-1]
        assert last[0] - first[0] < 4 << 20 and last[1] - first[1] < 2_000 and last[2:] == first[2:], marks
        assert np.isfinite(w.value).all() and np.abs(w.value).max() < 1
    finally:
        gc.enable()


# ---- threads, processes, interrupts ---------------------------------------------------------------------------------

def test_threads_use_graphs_of_their_own_at_once(graph):
    """Equal structures, so that the plans (and with them bindings, arena and locks) are shared."""
    wrong: list = []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        mine = Graph()
        a = np.full((64, 64), number + 1.0)
        x, y = mine.tensor(a), mine.tensor(np.eye(64))
        barrier.wait()
        for k in range(40):
            x.set(a + k)
            mine.zero_grad()
            z = (lg.cumsum(x @ y, axis=0) * x).sum()
            z.backward()
            v = number + 1.0 + k
            if z.item() != v * v * 64 * 64 * 65 / 2 or x.grad[0, 0].item() != v * 65:
                wrong.append((number, k, z.item(), x.grad[0, 0].item()))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


FORK = """
import os, warnings
warnings.simplefilter("ignore")
import numpy as np
from lazygrad import Graph
graph = Graph()
x = graph.tensor(np.arange(20000.0))
z = (x * x).sum()
m = graph.tensor(np.eye(70)) @ graph.tensor(np.ones((70, 70)))
for _ in range(5):
    x.grad = None
    z.backward()
    m.forward()
children = []
for k in range(3):
    child = os.fork()
    if not child:
        good = True
        for r in range(4):
            x.set(np.full(20000, k + 1.0))
            x.grad = None
            z.backward()
            y = (x.exp() / (k + 3.5)).sum()          # compiled in the child
            y.forward()
            good &= z.item() == 20000 * (k + 1)**2 and x.grad[7].item() == 2 * (k + 1) and m.forward()[3, 4].item() == 1
            good &= abs(y.item() / (20000 * np.exp(k + 1) / (k + 3.5)) - 1) < 1e-12
        os._exit(0 if good else 1)
    children.append(child)
assert [os.waitpid(c, 0)[1] for c in children] == [0, 0, 0]
assert x.value[5] == 5 and x.grad.value[5] == 10
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_use_works():
    assert python(FORK) == ""


INTERRUPT = """
import os, signal, threading
import numpy as np
import lazygrad as lg

graph = lg.Graph()
x = graph.tensor(np.linspace(0.1, 0.9, 100))
big = graph.tensor(np.ones((900, 900), np.float32))


def long(z):
    while True:
        z.forward()


def short():
    n = 0
    while True:
        n += 1
        z = ((x + n) * x * 2.5).sum()
        z.backward()
        if n % 7 == 0:
            graph.zero_grad()
        x.set(np.full(100, 0.5))


def check():
    graph.zero_grad()
    x.set(np.linspace(0.1, 0.9, 100))
    z = (x * x + x).sum()
    z.backward()
    np.testing.assert_allclose(x.grad.value, 2 * x.value + 1, rtol=1e-12)
    np.testing.assert_allclose(z.item(), (x.value**2 + x.value).sum(), rtol=1e-12)
    np.testing.assert_allclose(((x + 3) * x * 2.5).sum().item(), ((x.value + 3) * x.value * 2.5).sum(), rtol=1e-12)


armed = False


def interrupt(*_):
    if armed:
        raise KeyboardInterrupt


def interrupted(work, after):
    # Python drops an interrupt that falls into a finaliser: they come again
    global armed
    signal.setitimer(signal.ITIMER_REAL, after, 0.1)
    try:
        armed = True
        work()
    except KeyboardInterrupt:
        armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)


signal.signal(signal.SIGALRM, interrupt)
product = (big @ big) @ big
for k in range(60):
    interrupted((lambda: long(product)) if k % 10 == 0 else short, 0.003 + 0.0007 * k)
    check()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    long(product)
except KeyboardInterrupt:
    print("interrupted")
check()
assert product.forward().value[3, 4] == 810000 and product.value.max() == product.value.min()
print("usable")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_interrupts_leave_tensors_usable(backend):
    """Sixty interrupts at all points of build, compile, run and accumulate, then a real SIGINT in a long run."""
    assert python(INTERRUPT, LAZYGRAD_BACKEND=backend).split() == ["interrupted", "usable"]


# ---- imports --------------------------------------------------------------------------------------------------------

def test_import_is_light():
    code = """
import sys
import lazygrad as lg
heavy = [m for m in ("llvmlite", "scipy", "wgpu", "sklearn", "matplotlib", "rich") if m in sys.modules]
x = lg.tensor([1.0, 2.0])
(x * x).sum().backward()                 # a first run is interpreted
print(heavy, [m for m in ("llvmlite", "scipy", "wgpu") if m in sys.modules], x.grad.tolist())
"""
    assert python(code).strip() == "[] [] [2.0, 4.0]"


def test_everything_runs_without_llvmlite():
    code = """
import sys
sys.modules["llvmlite"] = None
import importlib.util, importlib.machinery
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("llvmlite"):
            raise ModuleNotFoundError(name)
del sys.modules["llvmlite"]
sys.meta_path.insert(0, Missing())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.startswith("llvmlite") else find(name, package)
import numpy as np
import lazygrad as lg
x = lg.tensor(np.arange(1e6))
z = (x * x).sum()
for k in range(4):
    x.grad = None
    z.backward()
print(x.grad[5].item(), z.item() == (np.arange(1e6)**2).sum(), "llvmlite" in sys.modules)
"""
    assert python(code).split() == ["10.0", "True", "False"]


# ---- among NumPy's ----------------------------------------------------------------------------------------------------

def test_numpy_on_the_left_stays_lazy_and_differentiable(graph):
    a, v = np.array([2.0, 4.0]), np.array([1.0, 2.0])
    x = graph.tensor(v)
    cases = [(a + x, a + v, 1), (a - x, a - v, -1), (a * x, a * v, a), (a / x, a / v, -a / v**2), (a**x, a**v, a**v * np.log(a)),
             (np.float64(3) * x, [3, 6], 3), (np.float32(2) - x, [1, 0], -1)]
    for _ in range(RUNS):
        for z, value, slope in cases:
            assert isinstance(z, lg.Tensor)
            x.grad = None
            z.backward()
            np.testing.assert_allclose(z.value, value, rtol=1e-15)
            np.testing.assert_allclose(x.grad.value, np.broadcast_to(slope, 2), rtol=1e-14)
    assert ((a > x).value == [True, True]).all() and (a == x).tolist() == [False, False]
    m = np.eye(2) @ x
    assert isinstance(m, lg.Tensor) and m.tolist() == [1, 2]


def test_numpys_functions_on_tensors_are_ours(graph):
    x = graph.tensor(np.array([[0.5, 1.5], [2.5, 3.5]]))
    v = x.value
    for ours, theirs in [(np.sin(x), np.sin(v)), (np.concatenate([x, x], axis=1), np.concatenate([v, v], axis=1)), (np.sum(x, axis=0), v.sum(0)),
                         (np.where(v > 1, x, 0.0), np.where(v > 1, v, 0)), (np.maximum(x, 1), np.maximum(v, 1)), (np.transpose(x), v.T),
                         (np.matmul(x, v), v @ v), (np.mean(x), v.mean()), (np.stack([x, x]), np.stack([v, v])),
                         (np.add.reduce(x), v.sum(0)), (np.exp(x) + np.log1p(x), np.exp(v) + np.log1p(v))]:
        assert isinstance(ours, lg.Tensor)
        np.testing.assert_allclose(ours.value, theirs, rtol=1e-15)
    np.sin(x).backward()
    np.testing.assert_allclose(x.grad.value, np.cos(v), rtol=1e-15)
    with pytest.raises(TypeError):
        np.packbits(x)                                      # never computed by accident


def test_exchange_with_other_libraries(graph):
    x = graph.tensor([[1.5, 2.5]])
    z = x * 2
    assert np.from_dlpack(z).tolist() == [[3, 5]] and z.__dlpack_device__() == (1, 0)
    back = graph.tensor(z)
    assert back.is_leaf and back.tolist() == [[3, 5]] and back.dtype == np.float32
    assert np.asarray(z, dtype=np.float64).dtype == np.float64 and z.__array_namespace__() is lg
    for made in (pickle.loads(pickle.dumps(z)), copy.copy(z), copy.deepcopy(z)):
        assert made.tolist() == [[3, 5]] and made.dtype == z.dtype
    leaf = pickle.loads(pickle.dumps(graph.tensor([1.0], name="w")))
    assert leaf.name == "w" and leaf.requires_grad and leaf.is_leaf
    assert not pickle.loads(pickle.dumps(graph.tensor([1.0], requires_grad=False))).requires_grad


# ---- to look at -----------------------------------------------------------------------------------------------------

def test_repr_prints_like_numpy(graph):
    x = graph.tensor([1.0, 2.5])
    assert repr(x * 2) == "Tensor([2., 5.], dtype=float32, device=cpu)"
    assert str(x) == "[1.  2.5]" and f"{x.sum():.2f}" == "3.50" and repr(graph.tensor(3)) == "Tensor(3, dtype=int64, device=cpu)"


def test_print_shows_one_line_a_node_with_the_users_source(graph):
    x = graph.tensor([[1.0], [2.0]], name="x")
    hidden = lg.tanh(x)
    z = hidden * 2.0  # the user's line
    z.name = "z"
    lines = str(graph).splitlines()
    assert len(lines) == 3 and all("test_promises.py:" in line for line in lines)
    assert lines[0].startswith("x = tensor()") and 'graph.tensor([[1.0], [2.0]], name="x")' in lines[0]
    assert "tanh(x)" in lines[1] and "hidden = lg.tanh(x)" in lines[1] and "float32[2, 1]" in lines[1] and "cpu" in lines[1]
    assert lines[2].startswith("z = mul(") and "z = hidden * 2.0  # the user's line" in lines[2]
    assert hidden.shape == (2, 1)


def test_pictures_and_explanations(graph, tier):
    x = graph.tensor([1.0, 2.0], name="x")
    z = lg.exp(x) * x
    dot = graph.to_dot()
    assert dot.startswith("digraph") and dot.count("->") == 3 and "exp" in dot and dot.rstrip().endswith("}")
    assert graph._repr_svg_().startswith("<svg") and "<" in graph._repr_html_()
    story = graph.explain(z)
    assert "exp" in story
    if tier != "interpreter":
        for word in ("kernel", "b0", "float32[2]", "bytes", "define", "arena"):
            assert word in story, word


def test_errors_name_the_users_line(graph):
    a, b = graph.tensor(np.ones((3, 4))), graph.tensor(np.ones((5, 6)))
    with pytest.raises(errors.ShapeError, match=r"matmul: \(3, 4\) @ \(5, 6\): ") as caught:
        a @ b  # here
    assert any("test_promises.py" in note and "a @ b  # here" in note for note in caught.value.__notes__)
    with pytest.raises(errors.GraphError, match="two graphs"):
        a + Graph().tensor(1.0)


@pytest.mark.parametrize("runs", [1, 5])
def test_an_index_out_of_range_at_run_time_names_the_line_that_used_it(runs):
    """Interpreted (the first run) and native (the later ones), forward and backward."""
    graph = Graph()
    x = graph.tensor(np.arange(4.0))
    i = graph.tensor(np.array([0, 3]))
    z = x[i] * 2                                           # the line to be named
    for _ in range(runs):
        z.backward()
    i.set([0, 9])
    for call in (z.forward, z.backward):
        with pytest.raises(errors.IndexingError, match=r"gather|scatter") as caught:
            call()
        assert any("test_promises.py" in note and "the line to be named" in note for note in caught.value.__notes__)
    i.set([1, 2])
    assert z.value.tolist() == [2.0, 4.0]
