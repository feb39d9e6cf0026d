"""The GPU works, written once for each library in its best form: a class a library, a method a work.

A method prepares everything on the device and returns `Work`: `call` does the work once and returns when the device is done,
`submit` only hands it over (None where a library cannot), `read` gives its result as NumPy arrays.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
SCALE = 1.01                         # of the chains


@dataclass(frozen=True)
class Work:
    call: Callable[[], object]
    read: Callable[[], Sequence[Any]]
    submit: Callable[[], object] | None = None


class Unable(Exception):
    """A library cannot do a work here."""


class Lazygrad:
    """This library. Results stay on the device: a prepared plan writes them into leaves."""

    name = "lazygrad"

    def __init__(self, device: Any = None) -> None:
        from lazygrad import WgpuDevice
        self.device = device or WgpuDevice()
        self.about = str(self.device.info)

    def graph(self, *arrays: Array) -> tuple[Any, ...]:
        from lazygrad import Graph
        graph = Graph(device=self.device)
        return (graph, *(graph.tensor(a) for a in arrays))

    def plan(self, graph: Any, results: Sequence[Any]) -> Work:
        leaves = [graph.tensor(np.zeros(r.shape, r.dtype)) for r in results]
        run = graph.compile([], [], updates=list(zip(leaves, results, strict=True)))

        def call():
            run()
            self.device.wait()
        return Work(call, lambda: (call(), [v.value for v in leaves])[1], run)

    def elementwise(self, a: Array, b: Array) -> Work:
        import lazygrad as lg
        graph, x, y = self.graph(a, b)
        z = lg.exp(lg.sin(x * 2 + 1)) * y - lg.tanh(x * y)
        return self.plan(graph, [z, *z.gradient(x, y)])

    def softmax(self, a: Array) -> Work:
        import lazygrad as lg
        graph, x = self.graph(a)
        e = lg.exp(x - x.max(axis=1, keepdims=True))
        return self.plan(graph, [e / e.sum(axis=1, keepdims=True)])

    def matmul(self, a: Array, b: Array) -> Work:
        graph, x, y = self.graph(a, b)
        return self.plan(graph, [x @ y])

    def products(self, h: Array, w: Array, n: int) -> Work:
        graph, x, y = self.graph(h, w)
        for k in range(n):
            x = y @ x if k % 2 else x @ y
        return self.plan(graph, [x])

    def chain(self, h: Array, n: int) -> Work:
        """Launches recorded by hand, two buffers in turn: fused, the whole chain would be one kernel."""
        from lazygrad.backends.wgsl.traits import Binding, Shader
        size = h.size
        shader = Shader(
            "@group(0) @binding(0) var<storage, read> a: array<f32>;\n@group(0) @binding(1) var<storage, read_write> b: array<f32>;\n"
            f"@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) at: vec3<u32>) {{\n"
            f"    if (at.x < {size}u) {{ b[at.x] = a[at.x] * {SCALE}; }}\n}}\n",
            (Binding(0, False), Binding(1, True)), ((-(-size // 64), 1, 1, 0),))
        device, start, even, odd = self.device, *(self.device.allocate(h.nbytes) for _ in range(3))
        device.write(start, h)
        launches = []
        for k in range(n):
            source = start if k == 0 else odd if k % 2 == 0 else even
            launches += device.launch(shader, [source, even if k % 2 == 0 else odd])
        last = even if n % 2 else odd

        def call():
            device.run(launches)
            device.wait()
        return Work(call, lambda: (call(), [device.read(last, h.nbytes).view(np.float32)])[1], lambda: device.run(launches))

    def train(self, a: Array, labels: Array, weights: Sequence[Array], rate: float) -> Work:
        import lazygrad as lg
        graph, x, t, *p = self.graph(a, np.eye(weights[-1].size, dtype=np.float32)[labels], *weights)
        h = lg.maximum(x @ p[0] + p[1], 0) @ p[2] + p[3]
        loss = (h.logsumexp(axis=1) - (h * t).sum(axis=1)).mean()
        kept = graph.tensor(np.float32(0))
        run = graph.compile([], [], updates=[(kept, loss), *((v, v - rate * g) for v, g in zip(p, loss.gradient(*p), strict=True))])

        def call():
            run()
            self.device.wait()
        return Work(call, lambda: (call(), [kept.value, *(v.value for v in p)])[1], run)

    def read_back(self, h: Array) -> Work:
        buffer = self.device.allocate(h.nbytes)
        self.device.write(buffer, h)
        return Work(lambda: self.device.read(buffer, 4), lambda: [self.device.read(buffer, 4).view(np.float32)])

    def scalar(self, h: Array) -> Work:
        graph, x = self.graph(h)
        f = graph.compile([], [x.sum() * SCALE])
        return Work(f, lambda: [f()])


class Tinygrad:
    """tinygrad on its WEBGPU runtime (Dawn of PyPI dawn-python), every work under TinyJit."""

    name = "tinygrad WEBGPU"

    def __init__(self) -> None:
        import platform

        import pydawn
        suffix = {"Darwin": f"_{platform.machine()}.dylib", "Windows": ".dll"}.get(platform.system(), f"_{platform.machine()}.so")
        os.environ.setdefault("WEBGPU_PATH", str(Path(pydawn.__file__).parent / "lib" / f"libwebgpu_dawn{suffix}"))
        os.environ.update(DEV="WEBGPU", TRAINING="1")
        import tinygrad
        self.tg, self.device = tinygrad, tinygrad.Device["WEBGPU"]
        self.about = f"tinygrad {importlib.metadata.version('tinygrad')}, Dawn of dawn-python {importlib.metadata.version('dawn-python')}"

    def tensors(self, *arrays: Array) -> list[Any]:
        return [self.tg.Tensor(a).realize() for a in arrays]

    def plan(self, f: Callable[..., Any], *tensors: Any) -> Work:
        """`f` gives realised tensors."""
        run = self.tg.TinyJit(f)

        def call():
            out = run(*tensors)
            self.device.synchronize()
            return out
        return Work(call, lambda: [v.numpy() for v in call()], lambda: run(*tensors))

    def realised(self, *tensors: Any) -> tuple[Any, ...]:
        self.tg.Tensor.realize(*tensors)
        return tensors

    def elementwise(self, a: Array, b: Array) -> Work:
        def f(x, y):
            z = (x * 2 + 1).sin().exp() * y - (x * y).tanh()
            return self.realised(z, *z.gradient(x, y, gradient=self.tg.Tensor.ones_like(z)))
        return self.plan(f, *self.tensors(a, b))

    def softmax(self, a: Array) -> Work:
        return self.plan(lambda x: self.realised(x.softmax(axis=1)), *self.tensors(a))

    def matmul(self, a: Array, b: Array) -> Work:
        return self.plan(lambda x, y: self.realised(x @ y), *self.tensors(a, b))

    def products(self, h: Array, w: Array, n: int) -> Work:
        def f(x, y):
            for k in range(n):
                x = y @ x if k % 2 else x @ y
            return self.realised(x)
        return self.plan(f, *self.tensors(h, w))

    def chain(self, h: Array, n: int) -> Work:
        def f(x):
            for _ in range(n):
                x = (x * SCALE).contiguous()
            return self.realised(x)
        return self.plan(f, *self.tensors(h))

    def train(self, a: Array, labels: Array, weights: Sequence[Array], rate: float) -> Work:
        p = self.tensors(*weights)
        for v in p:
            v.requires_grad = True
        optimiser = self.tg.nn.optim.SGD(p, lr=rate)

        def f(x, t):
            optimiser.zero_grad()
            loss = ((x @ p[0] + p[1]).relu() @ p[2] + p[3]).sparse_categorical_crossentropy(t)
            loss.backward()
            return self.realised(loss, *optimiser.schedule_step())[0]
        x, t = self.tensors(a, labels.astype(np.int32))
        step = self.tg.TinyJit(f)

        def call():
            out = step(x, t)
            self.device.synchronize()
            return out
        return Work(call, lambda: [call().numpy(), *(v.numpy() for v in p)], lambda: step(x, t))

    def read_back(self, h: Array) -> Work:
        x, = self.tensors(h)
        return Work(x[0].realize().item, lambda: [x[0].item()])

    def scalar(self, h: Array) -> Work:
        x, = self.tensors(h)
        run = self.tg.TinyJit(lambda v: (v.sum() * SCALE).realize())
        return Work(lambda: run(x).item(), lambda: [run(x).item()])


class Ferrotensor:
    """ferrotensor (Rust, wgpu), eager. It has no call that waits: one element of the result is read."""

    name = "ferrotensor"

    def __init__(self) -> None:
        import ferrotensor
        self.ft, self.device = ferrotensor, ferrotensor.Device("gpu")
        self.about = f"ferrotensor {ferrotensor.__version__} on {self.device.name} ({self.device.backend})"

    def tensors(self, *arrays: Array, grad: bool = False) -> list[Any]:
        return [self.ft.tensor(a.tolist(), device=self.device, requires_grad=grad) for a in arrays]

    def plan(self, f: Callable[[], Sequence[Any]]) -> Work:
        def call():
            last = f()[-1]
            last[(0,) * last.ndim].item()
        return Work(call, lambda: [np.array(v.tolist()) for v in f()], f)

    def elementwise(self, a: Array, b: Array) -> Work:
        x, y = self.tensors(a, b, grad=True)
        ones = self.ft.ones(a.size, device=self.device)

        def f():
            x.grad = y.grad = None
            z = (x * 2 + 1).sin().exp() * y - (x * y).tanh()
            z.backward(ones)
            return z, x.grad, y.grad
        return self.plan(f)

    def softmax(self, a: Array) -> Work:
        x, = self.tensors(a)
        return self.plan(lambda: [x.softmax(1)])

    def matmul(self, a: Array, b: Array) -> Work:
        if "llvmpipe" in self.device.name and a.size * b.shape[1] > 512**3:
            raise Unable("its dispatch outlasts the software driver's patience of 5 s: zeros, then a segmentation fault")
        x, y = self.tensors(a, b)
        return self.plan(lambda: [x @ y])

    def products(self, h: Array, w: Array, n: int) -> Work:
        start, y = self.tensors(h, w)

        def f():
            x = start
            for k in range(n):
                x = y @ x if k % 2 else x @ y
            return [x]
        return self.plan(f)

    def chain(self, h: Array, n: int) -> Work:
        start, = self.tensors(h)

        def f():
            x = start
            for _ in range(n):
                x = x * SCALE
            return [x]
        return self.plan(f)

    def train(self, a: Array, labels: Array, weights: Sequence[Array], rate: float) -> Work:
        (x,), p, t = self.tensors(a), self.tensors(*weights, grad=True), labels.tolist()
        optimiser = self.ft.optim.SGD(p, lr=rate)

        def f():
            optimiser.zero_grad()
            loss = self.ft.nn.functional.cross_entropy((x @ p[0] + p[1]).relu() @ p[2] + p[3], t)
            loss.backward()
            optimiser.step()
            return loss, *p
        return self.plan(f)

    def read_back(self, h: Array) -> Work:
        x, = self.tensors(h[:1])
        return Work(x.item, lambda: [x.item()])

    def scalar(self, h: Array) -> Work:
        x, = self.tensors(h)
        return Work(lambda: (x.sum() * SCALE).item(), lambda: [(x.sum() * SCALE).item()])


def installed() -> list[type]:
    """The libraries to compare, ours first."""
    peers = [(Tinygrad, ("tinygrad", "pydawn")), (Ferrotensor, ("ferrotensor",))]
    return [Lazygrad, *(peer for peer, modules in peers if all(importlib.util.find_spec(m) for m in modules))]
