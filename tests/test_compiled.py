"""Compiled functions: traced once a kind, one plan, memory that comes back, inside of other transforms, on both devices, errors."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
from gpu import device

import lazygrad as lg
from lazygrad import errors
from lazygrad.ir.term import TERMS
from lazygrad.runtime import memory, plans, slots
from lazygrad.transforms import RetraceWarning

RNG = np.random.default_rng(0)


def test_traced_once_for_every_kind_of_arguments():
    traces = []

    @lg.compile
    def f(x, d, *, k=2.0):
        traces.append(x.shape)
        return {"y": x * d["w"] + k, "pair": (x.sum(), d["n"])}
    for _ in range(3):
        out = f(np.arange(3.0), {"w": 2.0, "n": 7})
        assert out["y"].tolist() == [2, 4, 6] and out["pair"][0].item() == 3 and out["pair"][1].item() == 7
    assert f(np.arange(3.0), {"w": 3.0, "n": 8}, k=1.0)["y"].tolist() == [1, 4, 7]            # numbers are data
    assert len(traces) == 2                                                                 # k given is another form
    f(np.arange(3.0, dtype=np.float32), {"w": 2.0, "n": 7})
    f(np.arange(4.0), {"w": 2.0, "n": 7})
    f(lg.asarray(np.arange(3.0)), {"w": 2.0, "n": 7})
    assert len(traces) == 5 and f.cache_info().traces == 5 and len(f.cache_info().entries) == 5
    assert f.__name__ == "f"


def test_a_number_is_data_of_its_own_type():
    f = lg.compile(lambda x, k: x * k)
    x = lg.asarray([1, 2])
    assert f(x, 2).dtype == np.int64 and f(x, 2.5).tolist() == [2.5, 5] and f(x, True).tolist() == [1, 2]
    assert [f(x, k).tolist() for k in range(4)] == [[0, 0], [1, 2], [2, 4], [3, 6]]
    assert f.cache_info().traces == 3


def test_a_whole_train_step_is_one_plan():
    x, y = RNG.normal(size=(16, 4)), RNG.normal(size=(16, 2))

    def loss(p, x, y):
        h = lg.tanh(x @ p["w"] + p["b"])
        return ((h @ p["v"] - y) ** 2).mean()

    def step(p, x, y):
        value, g = lg.value_and_grad(loss)(p, x, y)
        return {k: p[k] - 0.1 * g[k] for k in p}, value
    p = {"w": RNG.normal(size=(4, 8)), "b": np.zeros(8), "v": RNG.normal(size=(8, 2))}
    fast = lg.compile(step)
    a, b = p, p
    for _ in range(5):
        a, la = fast(a, x, y)
        b, lb = step({k: lg.asarray(v) for k, v in b.items()}, lg.asarray(x), lg.asarray(y))
        assert abs(la.item() - lb.item()) < 1e-12
    for k in p:
        np.testing.assert_allclose(a[k].value, b[k].value, rtol=1e-10, atol=1e-13)
    assert fast.cache_info().traces == 2                                # arrays, then tensors


def test_results_are_values_and_do_not_change():
    w = lg.tensor(np.ones(3))
    f = lg.compile(lambda x: x * w)
    x = lg.tensor(np.arange(3.0))
    first = f(x)
    x.set([5.0, 5.0, 5.0])
    second = f(x)
    assert first.tolist() == [0, 1, 2] and second.tolist() == [5, 5, 5]
    w.set([2.0, 2.0, 2.0])                                              # a tensor from outside is read at every call
    assert f(x).tolist() == [10, 10, 10] and first.tolist() == [0, 1, 2]
    assert not first.requires_grad and first.is_leaf
    with pytest.raises(errors.GradientError):
        first.backward()


def test_tensors_from_outside_are_kept_alive():
    def make():
        w = lg.tensor(np.full(3, 2.0))
        return lg.compile(lambda x: x * (w + 1))
    f = make()
    gc.collect()
    others = [lg.tensor(np.full(3, 9.0)) for _ in range(10)]
    assert f(np.ones(3)).tolist() == [3, 3, 3] and others


def test_expressions_as_arguments_are_computed():
    x = lg.tensor(np.arange(3.0))
    f = lg.compile(lambda a, b: a + b)
    assert f(x * 2, lg.exp(x * 0)).tolist() == [1, 3, 5]
    assert f(x * 3, x).tolist() == [0, 4, 8]
    assert f(x[::-1], x.sum()).tolist() == [5, 4, 3]


def test_arguments_that_are_one_tensor_and_results_that_are_arguments():
    f = lg.compile(lambda a, b: (a, b, a + b, a + b, 3.0))
    x = lg.asarray(np.ones(2))
    out = f(x, x)
    assert [o.tolist() for o in out] == [[1, 1], [1, 1], [2, 2], [2, 2], 3]
    x.set([7.0, 7.0])
    assert out[0].tolist() == [1, 1]                                   # a copy


def test_static_arguments():
    traces = []

    def f(x, n, mode="a"):
        traces.append((n, mode))
        return sum([x for _ in range(n)]) if mode == "a" else x - n
    g = lg.compile(f, static_argnums=1, static_argnames="mode")
    x = np.ones(2)
    assert g(x, 3).tolist() == [3, 3] and g(x, 2).tolist() == [2, 2] and g(x, 3).tolist() == [3, 3]
    assert g(x, 3, mode="b").tolist() == [-2, -2] and g(x, 3, "b").tolist() == [-2, -2]
    assert traces == [(3, "a"), (2, "a"), (3, "b"), (3, "b")]          # by keyword and by position are two forms
    h = lg.compile(lambda x, how: getattr(lg, how)(x))                  # strings are static by themselves
    assert h(x, "exp").value[0] == np.e and h(x, "negative").tolist() == [-1, -1]
    with pytest.raises(errors.StructureError, match="a static argument must be hashable"):
        lg.compile(lambda x, n: x, static_argnums=1)(x, [1, 2])


def test_methods():
    class Model:
        scale = 3.0

        @lg.compile
        def __call__(self, x):
            return x * self.scale
    m = Model()
    assert Model.__call__(m, np.ones(2)).tolist() == [3, 3]


# ---- inside of other transforms -------------------------------------------------------------------------------------------------

def test_compiled_functions_differentiate_and_map():
    f = lg.compile(lambda x, k: (lg.sin(x) * k).sum())
    x = np.array([0.3, 0.7])
    np.testing.assert_allclose(lg.grad(f)(x, 2.0).value, 2 * np.cos(x))
    np.testing.assert_allclose(lg.hessian(lambda x: f(x, 2.0))(x).value, np.diag(-2 * np.sin(x)))
    np.testing.assert_allclose(lg.vmap(f, (0, None))(np.stack([x, 2 * x]), 1.0).value, [np.sin(x).sum(), np.sin(2 * x).sum()])
    np.testing.assert_allclose(lg.scan(lambda c, _: (c + f(lg.asarray(x), 1.0), None), 0.0, length=3)[0].item(), 3 * np.sin(x).sum())
    np.testing.assert_allclose(lg.compile(lambda x: f(x, 3.0) * 2)(x).item(), 6 * np.sin(x).sum())
    np.testing.assert_allclose(lg.compile(lg.grad(f))(x, 2.0).value, 2 * np.cos(x))
    np.testing.assert_allclose(lg.compile(lg.vmap(lg.grad(lambda x: f(x, 2.0))))(np.stack([x, x])).value, 2 * np.cos([x, x]))


def test_a_function_over_an_outer_variable_is_not_kept_for_others():
    outer = lambda w: lg.grad(lambda w: lg.compile(lambda x: (x * w * w).sum())(np.ones(2)))(w)
    assert outer(3.0).item() == 12 and outer(4.0).item() == 16
    f = None

    def g(w):
        nonlocal f
        f = f or lg.compile(lambda x: (x * w).sum())
        return f(np.ones(2))
    assert lg.grad(g)(3.0).item() == 2


def test_loops_compile():
    f = lg.compile(lambda x, n: lg.fori_loop(0, n, lambda i, c: c * x, 1.0))
    assert f(2.0, lg.asarray(5)).item() == 32 and f(3.0, lg.asarray(2)).item() == 9


def test_on_a_gpu():
    d = device()
    graph = lg.Graph(device=d)
    x = graph.tensor(np.array([1.0, 2.0], np.float32))
    step = lg.compile(lambda x, k: (x * k, lg.grad(lambda x: (x ** 3).sum())(x)))
    for k in (2.0, 3.0):
        y, g = step(x, k)
        assert y.device == d and y.tolist() == [k, 2 * k] and g.tolist() == [3, 12]
    y, _ = step(y, 2.0)
    assert y.tolist() == [6, 12]
    with pytest.raises(errors.GraphError, match="arguments lie on two devices"):
        step(x, lg.asarray(2.0))


# ---- memory, threads ----------------------------------------------------------------------------------------------------------------

def test_a_training_loop_is_flat_in_memory():
    n = 1 << 16
    step = lg.compile(lambda p, g: (p - 0.1 * g, (p * g).sum()))
    p = lg.asarray(np.ones(n, np.float32))
    gc.disable()
    try:
        for _ in range(10):
            p, _ = step(p, np.ones(n, np.float32))
        before = len(TERMS), slots.live(), len(plans.PLANS)
        held = {memory.address(step(p, np.ones(n, np.float32))[0]._held()) for _ in range(20)}
        for _ in range(300):
            p, loss = step(p, np.ones(n, np.float32))
        assert len(held) <= 3                                           # the memory of what died is used again
        # one leaf more may live, and with it its Term, where the last two results have slots of their own
        assert (len(TERMS) - before[0] <= 1, slots.live() - before[1] <= 1, len(plans.PLANS)) == (True, True, before[2])
        assert np.isfinite(loss.item())
    finally:
        gc.enable()


def test_functions_made_again_find_the_same_plan():
    x = np.ones(5)
    for _ in range(3):
        lg.compile(lambda x: lg.sin(x) * 5 + 1)(x)
    before = len(plans.PLANS)
    for _ in range(20):
        lg.compile(lambda x: lg.sin(x) * 5 + 1)(x)
    assert len(plans.PLANS) == before


def test_threads():
    f = lg.compile(lambda x, y: (lg.exp(lg.sin(x) + y) * 2).sum())
    data = [RNG.normal(size=60_000) for _ in range(4)]
    want = [f(lg.asarray(d), lg.asarray(0.5)).item() for d in data]
    wrong = []

    def work(k):
        x, y = lg.asarray(data[k]), lg.asarray(0.5)
        for _ in range(50):
            if f(x, y).item() != want[k] or f(data[k], 0.5).item() != f(data[k], 0.5).item():
                wrong.append(k)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


# ---- side effects and errors ---------------------------------------------------------------------------------------------------------

def test_python_runs_when_it_is_traced_only():
    seen = []
    f = lg.compile(lambda x: seen.append(1) or x * 2)
    for k in range(5):
        assert f(float(k)).item() == 2 * k
    assert len(seen) == 1


CASES = [
    (lambda: lg.compile(lambda x: x if x > 0 else -x)(1.0), errors.TraceError, "compile: bool[]: its value is not known while compile traces the function; choose with lazygrad.where or lazygrad.cond"),
    (lambda: lg.compile(lambda x: float(x))(1.0), errors.TraceError, "compile: float32[]"),
    (lambda: lg.compile(lambda x: lg.asarray(np.asarray(x)))(np.ones(2)), errors.TraceError, "compile: float64[2]"),
    (lambda: lg.compile(lambda x: "text")(1.0), errors.StructureError, "compile: str: the function must return arrays and numbers"),
    (lambda: lg.compile(lambda x: x @ x)(np.ones((2, 3))), errors.ShapeError, "inner sizes 3 and 2 differ"),
    (lambda: lg.compile(lambda x, i: x[i])(np.ones(3), lg.asarray(7)), errors.IndexingError, ""),
    (lambda: lg.compile(3), errors.StructureError, "compile: int: a function is expected"),
]


@pytest.mark.parametrize(("call", "kind", "text"), CASES, ids=range(len(CASES)))
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert any("test_compiled.py" in note for note in getattr(caught.value, "__notes__", ())) or "expected" in text


def test_an_error_leaves_everything_usable():
    fail = True

    def f(x):
        if fail:
            raise RuntimeError("mine")
        return x * 2
    g = lg.compile(f)
    with pytest.raises(RuntimeError, match="mine"):
        g(1.0)
    fail = False
    assert g(1.0).item() == 2 and len(g.cache_info().entries) == 1
    h = lg.compile(lambda x, i: x[i])
    with pytest.raises(errors.IndexingError):
        h(np.ones(3), lg.asarray(7))
    assert h(np.arange(3.0), lg.asarray(1)).item() == 1


def test_tracing_again_and_again_is_worth_a_warning():
    f = lg.compile(lambda x: x * 2)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for n in range(20):
            f(np.ones(n + 1))
    (only,) = [w for w in found if w.category is RetraceWarning]
    assert "was traced 17 times; the last time ((16,), dtype('float64')) became ((17,), dtype('float64'))" in str(only.message)


def test_results_that_are_held_keep_their_values_while_others_serve_again():
    rng = np.random.default_rng(1)
    f = lg.compile(lambda x, k: (x * k, {"sum": x.sum() + k, "next": [x + k]}))
    held = []
    for i in range(300):
        x, k = np.arange(4.0) + i, float(rng.integers(5))
        a, b = f(lg.asarray(x), lg.asarray(k))
        sets = [(a, x * k), (b["sum"], x.sum() + k), (b["next"][0], x + k)]
        held += [pair for pair in sets if rng.random() < 0.4]
        if held and rng.random() < 0.5:
            held.pop(int(rng.integers(len(held))))
        if rng.random() < 0.3 and held:
            h, want = held[-1]
            held[-1] = (h + 1, want + 1)                                       # only an expression holds the result
        del a, b, sets
    for h, want in held:
        np.testing.assert_array_equal(h.value, want)
    assert len(held) > 50


def test_a_result_in_memory_used_before_is_a_new_tensor():
    f = lg.compile(lambda x: x + 1)
    x = lg.asarray(np.zeros(3))
    used = set()
    for i in range(8):
        r = f(x)
        assert r.name is None and r.tolist() == [1, 1, 1]
        used.add(r.a.slot)
        seen = weakref.ref(r)
        r.name = f"result {i}"
        r[0] = 7.0
        assert r.tolist() == [7, 1, 1]
        del r
        assert seen() is None
    assert len(used) <= 3


def test_a_view_of_a_result_outlives_it():
    f = lg.compile(lambda x: x + 1)
    views = [np.from_dlpack(f(lg.asarray(np.full(4, float(i)))), copy=False)[1:] for i in range(6)]
    assert [v.tolist() for v in views] == [[i + 1.0] * 3 for i in range(6)]


def test_results_of_several_graphs_do_not_mix():
    f = lg.compile(lambda x: x * 2)
    graphs = [lg.Graph(), lg.Graph()]
    for i in range(8):
        g = graphs[i % 2]
        r = f(g.tensor([float(i)]))
        assert r.graph is g and r.item() == 2 * i


def test_lists_and_tuples_of_tensors_are_told_apart():
    traced = []

    @lg.compile
    def f(*args):
        traced.append(args)
        return [a[0] * 2 if type(a) is list else a[-1] * 3 if type(a) is tuple else a + 1 for a in args]
    x, y = lg.asarray([1.0, 2.0]), lg.asarray([3.0, 4.0])
    kinds = [((x, y), [[2, 3], [4, 5]]), (([x, y],), [[2, 4]]), (([y, x],), [[6, 8]]), (((x, y),), [[9, 12]]), (([x], y), [[2, 4], [4, 5]]), ((x, [y]), [[2, 3], [6, 8]])]
    for _ in range(3):
        for args, want in kinds:
            assert [r.tolist() for r in f(*args)] == want
    assert len(traced) == 5
