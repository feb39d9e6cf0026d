"""Compiled functions of tensors as one built-in call: what it gives is what Python's way gives, and it stays out where anything is unusual."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest
from gpu import device

import lazygrad as lg
from lazygrad import errors
from lazygrad.runtime import slots
from lazygrad.transforms import compiled


def quickened(f, *args):
    """The compiled function, called until it has its built-in (a free-threaded Python, which counts references otherwise, has none)."""
    for _ in range(compiled.SEVERAL + 2):
        f(*args)
    assert (f.last is not None) == slots.EXACT_COUNTS
    return f


@pytest.fixture
def pair():
    f = lg.compile(lambda x, y: (x + y, (x * y).sum()))
    x, y = lg.asarray([1.0, 2.0, 3.0]), lg.asarray([10.0, 20.0, 30.0])
    return quickened(f, x, y), x, y


def test_it_computes_the_same(pair):
    f, x, y = pair
    code = sys._getframe().f_code
    given = f.last or (lambda *_: None)
    assert given(code, 0, x, y) is None                        # called from a place that it does not know yet
    for k in range(6):
        x.set(np.array([k, 2.0, 3.0], np.float32))
        a, b = f(x, y)
        assert a.tolist() == [k + 10, 22, 33] and b.item() == 10 * k + 130
    assert isinstance(given(code, 0, x, y), tuple) == slots.EXACT_COUNTS


def test_results_that_are_held_keep_their_values(pair):
    f, x, y = pair
    kept = []
    for k in range(20):
        x.set(np.full(3, k, np.float32))
        kept.append(f(x, y))
    assert [a.tolist()[0] for a, _ in kept] == [k + 10 for k in range(20)]
    assert [b.item() for _, b in kept] == [60 * k for k in range(20)]


@pytest.mark.parametrize("hold", [lambda a: np.asarray(a), lambda a: a + 1, lambda a: a[1:], lambda a: lg.stack([a, a]), lambda a: a.__dlpack__()],
                         ids=["array", "expression", "view", "stack", "capsule"])
def test_what_is_made_of_a_result_keeps_it(pair, hold):
    f, x, y = pair
    held = []
    for k in range(8):
        x.set(np.full(3, k, np.float32))
        held.append(hold(f(x, y)[0]))
    for k, h in enumerate(held):
        value = np.asarray(h if hasattr(h, "__array__") else np.from_dlpack(_Capsule(h)))
        assert np.all((value == [k + 10, k + 20, k + 30]) | (value - 1 == [k + 10, k + 20, k + 30])) if value.shape == (3,) else value.size in (2, 6)
        assert k + 20 in (value.ravel()[[0, 1, -1]] - np.array([[0], [1]])).ravel()


class _Capsule:
    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


def test_a_result_that_was_set_or_named_is_not_given_again():
    f = quickened(lg.compile(lambda x: x * 2), lg.asarray([1.0, 2.0]))
    x = lg.asarray([1.0, 2.0])
    for _ in range(4):
        y = f(x)
        assert y.name is None and y.tolist() == [2, 4]
        y.name = "mine"
        y.set(np.array([7.0, 7.0], np.float32))


def test_a_gradient_of_a_result_stays_its_own():
    f = quickened(lg.compile(lambda x: x * 2), lg.asarray([1.0, 2.0]))
    x = lg.asarray([1.0, 2.0])
    for k in range(4):
        graph = x.graph
        w = graph.tensor(np.asarray(f(x)))
        (w * w).sum().backward()
        assert w.grad.tolist() == [4, 8] and f(x).grad is None, k


def test_other_arguments_go_the_other_way(pair):
    f, x, y = pair
    assert f(lg.asarray([1.0]), lg.asarray([2.0]))[0].tolist() == [3]                # another shape
    assert f(x, np.array([1.0, 1.0, 1.0], np.float32))[0].tolist() == [2, 3, 4]      # an array
    assert f(x, y=y)[0].tolist() == [11, 22, 33]                                     # by keyword
    assert f(x + 0, y)[0].tolist() == [11, 22, 33]                                   # an expression
    assert f(2.0, 3.0)[1].item() == 6
    graph = lg.Graph()
    a, b = f(graph.tensor([1.0, 2.0, 3.0]), graph.tensor([1.0, 1.0, 1.0]))           # another graph: its results are there
    assert a.graph is graph and b.graph is graph and a.tolist() == [2, 3, 4]
    with pytest.raises(TypeError):
        f(x)
    with pytest.raises(TypeError):
        f(x, y, x)
    assert f(x, y)[0].tolist() == [11, 22, 33]


def test_inside_of_transforms_it_stays_out(pair):
    f, x, y = pair
    (g,) = lg.vjp(lambda x: f(x, y)[1], x)[1](1.0)
    assert g.tolist() == [10, 20, 30]
    assert lg.vmap(lambda v: f(v, y)[1])(lg.stack([x, x])).tolist() == [140, 140]
    assert lg.compile(lambda x: f(x, y)[0] * 2)(x).tolist() == [22, 44, 66]


def test_a_fault_is_raised_and_the_next_call_works():
    f = lg.compile(lambda x, i: x[i])
    x, good, bad = lg.asarray([1.0, 2.0]), lg.asarray(1), lg.asarray(5)
    quickened(f, x, good)
    for _ in range(3):
        with pytest.raises(errors.IndexingError):
            f(x, bad)
        assert f(x, good).item() == 2


def test_with_a_gpu_in_use_it_stays_out(pair):
    f, x, y = pair
    graph = lg.Graph(device=device())
    assert f(x, y)[0].tolist() == [11, 22, 33]
    on = [graph.tensor(v.value) for v in (x, y)]
    assert f(*on)[0].tolist() == [11, 22, 33] and f(*on)[0].device is graph.device
    del graph, on
    gc.collect()
    assert f(x, y)[0].tolist() == [11, 22, 33]


def test_captured_leaves_are_read_at_every_call():
    w = lg.asarray([1.0, 1.0])
    f = quickened(lg.compile(lambda x: x * w), lg.asarray([2.0, 3.0]))
    x = lg.asarray([2.0, 3.0])
    for k in range(4):
        w.set(np.full(2, k, np.float32))
        assert f(x).tolist() == [2 * k, 3 * k]


def test_results_in_containers():
    f = lg.compile(lambda x: {"a": x + 1, "b": [x * 2, (x.sum(),)]})
    x = lg.asarray([1.0, 2.0])
    quickened(f, x)
    for _ in range(4):
        out = f(x)
        assert out["a"].tolist() == [2, 3] and out["b"][0].tolist() == [2, 4] and out["b"][1][0].item() == 3


def test_errors_name_the_line_that_calls(pair):
    f, x, y = pair
    for _ in range(3):
        a, _ = f(x, y)
    text = str(a.graph)
    assert "a, _ = f(x, y)" in text


def test_threads_at_once(pair):
    f, _, y = pair
    wrong = []

    def work(k):
        x = lg.asarray(np.full(3, k, np.float32))
        for _ in range(300):
            a, b = f(x, y)
            if a.tolist() != [k + 10, k + 20, k + 30] or b.item() != 60 * k:
                wrong.append(k)
    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_calls_leave_nothing_behind(pair):
    f, x, y = pair
    gc.collect()
    gc.disable()
    try:
        before = slots.live(), sys.getrefcount(None), sys.getrefcount(x.term), sys.getrefcount(x.a), sys.getrefcount(f.function.__code__)
        for _ in range(2000):
            a, b = f(x, y)
        del a, b
        after = slots.live(), sys.getrefcount(None), sys.getrefcount(x.term), sys.getrefcount(x.a), sys.getrefcount(f.function.__code__)
        assert all(abs(p - q) <= 20 for p, q in zip(before, after, strict=True))      # what the interpreter itself counts moves by a few
    finally:
        gc.enable()
