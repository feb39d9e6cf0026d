"""The graph API on a GPU: the programs of the README on `WgpuDevice()`, beside the same lines on the CPU."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from gpu import device as the_device

import lazygrad as lg
from lazygrad import Graph
from lazygrad.errors import DeviceError, DTypeError, GraphError, IndexingError
from lazygrad.tensor import Tensor


@pytest.fixture(scope="module")
def gpu():
    return the_device()


@pytest.fixture
def graph(gpu):
    return Graph(device=gpu)


def test_the_first_example(graph, gpu):
    x = graph.tensor([1.0, 2.0])
    y = graph.tensor([3.0, 4.0])
    z = (x + y) * x
    z.forward()
    assert z.device is gpu and z.value.tolist() == [4, 12]
    z.backward()
    assert z.grad.value.tolist() == [1, 1] and x.grad.value.tolist() == [5, 8] and y.grad.value.tolist() == [1, 2]
    assert x.grad.device is gpu and repr(x) == "Tensor([1., 2.], dtype=float32, device=gpu:0)"


def test_matrices_by_elements_as_in_the_issue(graph):
    a = np.arange(9.0, dtype=np.float32).reshape(3, 3)
    x, y = graph.tensor(a), graph.tensor(a.T + 1)
    z = x * y
    z.backward()
    assert np.array_equal(z.value, a * (a.T + 1)) and np.array_equal(x.grad, a.T + 1) and np.array_equal(y.grad, a)


def test_leaves_accumulate_and_reset(graph):
    x = graph.tensor([1.0, -2.0])
    z = x * x
    z.backward()
    z.backward()
    assert x.grad.value.tolist() == [4, -8]
    kept = x.grad
    z.backward()
    assert kept.value.tolist() == [4, -8] and x.grad.value.tolist() == [6, -12], "a gradient that was read is a snapshot"
    x.grad = None
    assert x.grad is None
    z.backward()
    assert x.grad.value.tolist() == [2, -4]
    graph.zero_grad()
    assert x.grad is None
    x.grad = [1.0, 1.0]
    z.backward()
    assert x.grad.value.tolist() == [3, -3]


def test_nothing_is_stale_after_set(graph):
    x = graph.tensor([1.0, 2.0])
    z = (x * 3).sum()
    assert z.item() == 9
    x.set([2.0, 2.0])
    assert z.item() == 12 and z.value == 12
    x.set(x * 2)
    assert x.value.tolist() == [4, 4] and z.item() == 24
    x.set(np.float64([1, 1]))
    assert z.item() == 6


def test_gradients_of_intermediates_and_second_order(graph):
    x = graph.tensor([0.5, 1.5])
    y = x * x
    z = (y * x).sum()
    z.backward()
    assert np.allclose(y.grad, [0.5, 1.5]) and np.allclose(x.grad, [0.75, 6.75])
    (g,) = z.gradient(x)
    (h,) = g.gradient(x)
    assert np.allclose(h, [3, 9])
    x.grad = None
    z.backward(create_graph=True)
    assert np.allclose(x.grad.gradient(x)[0], [3, 9])


def test_a_cotangent_from_anywhere(graph, gpu):
    x = graph.tensor([1.0, 2.0])
    (x * x).backward([1.0, 10.0])
    assert x.grad.value.tolist() == [2, 40]
    x.grad = None
    (x * x).backward(graph.tensor([1.0, 0.5]))
    assert x.grad.value.tolist() == [2, 2]


def test_two_devices_in_one_operation_are_an_error_that_names_both(graph):
    x, y = graph.tensor([1.0]), graph.tensor([1.0], device="cpu")
    with pytest.raises(DeviceError, match=r"add: gpu:0 with cpu: the operands lie on two devices; move one: x.to\('gpu:0'\)"):
        x + y
    with pytest.raises(DeviceError, match="two devices"):
        x.set(y)
    with pytest.raises(DeviceError, match="gpu:0 and cpu"):
        graph.forward(x * 2, y * 2)
    with pytest.raises(GraphError, match="two graphs"):
        x + Graph(device=graph.device).tensor([1.0])


def test_numbers_arrays_and_lists_join_a_gpu_tensor(graph):
    x = graph.tensor([1.0, 2.0])
    assert (2 * x + 1).value.tolist() == [3, 5]
    assert (x + np.float32([1, 1])).value.tolist() == [2, 3]
    assert lg.where(x > 1, x, 0).value.tolist() == [0, 2]
    for k in range(20):                       # numbers that keep changing become leaves of the device
        assert (x * (k + 0.5)).value.tolist() == [k + 0.5, 2 * (k + 0.5)]


def test_moving_is_an_expression_with_derivatives(graph, gpu):
    x = graph.tensor([1.0, 2.0, 3.0], device="cpu")
    y = (x * x).to(gpu)
    z = (y * graph.tensor([1.0, 10.0, 100.0])).sum()
    assert y.device is gpu and z.item() == 941
    x.set([1.0, 1.0, 1.0])
    assert z.item() == 111, "a moved value follows its source"
    z.backward()
    assert x.grad.device == "cpu" and x.grad.value.tolist() == [2, 20, 200]
    z.backward()
    assert x.grad.value.tolist() == [4, 40, 400]
    back = (z * 2).to("cpu")
    assert back.device == "cpu" and back.item() == 222
    back.backward()
    assert x.grad.value.tolist() == [8, 80, 800]
    assert x.to("cpu") is x and lg.zeros(3).to(gpu).value.tolist() == [0, 0, 0]


def test_constants_of_a_device(graph, gpu):
    assert lg.ones((2, 2), device="gpu").device is gpu and lg.ones((2, 2), device="gpu").value.tolist() == [[1, 1], [1, 1]]
    x = graph.tensor([1.0, 2.0])
    z = lg.zeros_like(x)
    assert z.device is gpu and (z + x).value.tolist() == [1, 2]
    assert lg.arange(4, dtype=lg.float32, device=gpu).value.tolist() == [0, 1, 2, 3]
    assert lg.asarray([1.0], device=gpu).device is gpu
    ramp = lg.arange(2, dtype=lg.float32, device=gpu) * 2            # of no graph: it joins any on its device
    assert (ramp + x).value.tolist() == [1, 4] and (x * ramp).value.tolist() == [0, 4] and lg.where(x > 1, ramp, x).value.tolist() == [1, 2]
    with pytest.raises(DeviceError, match="two devices"):
        ramp + lg.tensor([1.0, 2.0])


def test_an_index_error_comes_with_the_value_and_names_the_line(graph):
    x = graph.tensor([1.0, 2.0, 3.0])
    i = graph.tensor(np.int32([0, 7]))
    z = lg.take(x, i)                                        # the line
    with pytest.raises(IndexingError) as error:
        z.value  # noqa: B018
    assert any("# the line" in note for note in error.value.__notes__)
    i.set(np.int32([0, 2]))
    assert z.value.tolist() == [1, 3], "the device goes on"


def test_prepared_train_step(gpu):
    losses = {}
    rng = np.random.default_rng(0)
    a, b, w0 = rng.normal(size=(32, 8)).astype("f4"), rng.normal(size=(32, 4)).astype("f4"), rng.normal(size=(8, 4)).astype("f4")
    for device in ("cpu", gpu):
        g = Graph(device=device)
        w, x, y = g.tensor(w0), g.tensor(a, requires_grad=False), g.tensor(b, requires_grad=False)
        loss = ((lg.tanh(x @ w) - y) ** 2).mean()
        (d,) = loss.gradient(w)
        step = g.compile([x, y], [loss], updates=[(w, w - 0.1 * d)])
        losses[str(device)] = [step(a, b) for _ in range(10)], w.value
    (cpu, w_cpu), (there, w_gpu) = losses["cpu"], losses["gpu:0"]
    assert np.allclose(cpu, there, rtol=1e-5) and np.allclose(w_cpu, w_gpu, rtol=1e-4, atol=1e-6) and there[-1] < there[0]


def test_a_thousand_graphs_leave_nothing_behind(gpu):
    def step(n):
        g = Graph(device=gpu)
        x = g.tensor(np.ones(n, "f4"))
        z = (x * x).sum()
        z.backward()
        return float(x.grad[0])

    gc.collect()
    gpu.trim()
    before = gpu.memory_stats()
    for n in range(1000):
        assert step(1000 + n % 20) == 2
    assert gpu.memory_stats()["live_buffers"] - before["live_buffers"] < 20, "what one graph had, and temporaries"
    gpu.trim()
    after = gpu.memory_stats()
    for key in ("live_bytes", "live_buffers", "idle_bytes", "bind_groups"):
        assert after[key] <= before[key], (key, before, after)


@pytest.mark.parametrize("held", ["an intermediate", "the gradient", "the graph", "the root", "another device's"])
def test_what_is_held_of_a_graph_keeps_its_last_backward(gpu, held):
    def made():
        graph = Graph(device=gpu)
        x, w = graph.tensor([1.0, 2.0]), graph.tensor([3.0, 4.0])
        y = x * x
        z = (y * w).sum()
        z.backward()
        return {"an intermediate": y, "the gradient": x.grad, "the graph": graph, "the root": z, "another device's": (z * y).to("cpu")}[held]

    gc.collect()
    gpu.trim()
    before = gpu.memory_stats()["live_buffers"]
    kept = made()
    gpu.trim()
    Graph(device=gpu)
    assert gpu.memory_stats()["live_buffers"] > before
    if held == "an intermediate":
        assert kept.grad.value.tolist() == [3, 4]
    if held == "another device's":
        assert kept.value.tolist() == [19, 76]
    del kept
    gpu.trim()
    assert gpu.memory_stats()["live_buffers"] == before


def test_graphs_on_a_gpu_die_without_the_collector(gpu):
    gc.disable()
    try:
        g = Graph(device=gpu)
        x = g.tensor([1.0])
        (x * x).forward()
        watch = weakref.ref(x)
        del x
        assert watch() is None
        w = weakref.ref(g)
        del g
        assert w() is None
    finally:
        gc.enable()


def test_printing_names_the_device(graph):
    x = graph.tensor([1.0], name="x")
    y = x + 1
    assert "x = tensor()" in str(graph) and "gpu:0" in str(graph)
    text = graph.explain(y)
    assert "@compute" in text and "all steps run on the GPU" in text
    assert "host" in graph.explain(graph.tensor(np.eye(2, dtype="f4")).expm())
    assert "kernel" in graph.profile(y)


def test_a_dtype_the_device_lacks_is_an_error_that_names_another(graph):
    with pytest.raises(DTypeError, match="complex64 on gpu:0: this GPU has no complex64; pass dtype='float32'"):
        graph.tensor([1j])


def test_copy_pickle_and_conversions(graph):
    import copy
    import pickle
    x = graph.tensor([1.0, 2.0], name="x")
    assert pickle.loads(pickle.dumps(x)).value.tolist() == [1, 2]
    assert copy.deepcopy(x).value.tolist() == [1, 2] and copy.copy(x).value.tolist() == [1, 2]
    assert np.asarray(x).tolist() == [1, 2] and x.tolist() == [1, 2] and float(x[1]) == 2 and np.from_dlpack(x).tolist() == [1, 2]
    assert isinstance(np.sin(x), Tensor) and np.allclose(np.sin(x), np.sin([1.0, 2.0]))


def test_debug_nans_on_the_gpu(graph):
    x = graph.tensor([0.0, 1.0])
    assert (lg.log(x) * 0).explain_nan().startswith("log made") or (lg.log(x) * 0).explain_nan().startswith("mul made")
    with lg.debug_nans(), pytest.raises(lg.errors.NonFiniteError, match="div"):
        (x / x).forward()


def test_a_long_chain_and_a_deep_value(graph):
    x = graph.tensor([1.0])
    for _ in range(600):
        x = x + 1
    x.forward()
    for _ in range(5):
        x = x + 1
        x.forward()
    assert x.item() == 606


@pytest.mark.parametrize("k", [-1, 0, 1, 1 << 40])
def test_triangles_before_they_are_transposed(graph, k):
    """A driver that orders 64-bit integers wrongly (Mesa 22) must not be asked to."""
    a = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    assert np.array_equal(lg.tril(graph.tensor(a), k).mT.value, np.tril(a, k).T)
    assert np.array_equal(lg.triu(graph.tensor(a), k).mT.value, np.triu(a, k).T)
