"""lazygrad on a real GPU: bandwidth, matrix products, dispatch, transfers, train steps; beside torch CUDA where it is installed.

`python benchmarks/gpu_device.py [section ...] [--small] [--json FILE]`: a Markdown table and, with --json, all figures. Times are per
call with many calls queued, the minimum over rounds, float32 without TF32. Every result is compared with NumPy's or torch's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())      # else Mesa complains on every start

import gpu_models
import gpu_peers
import numpy as np
from harness import human

Row = dict[str, Any]


def torch_cuda() -> Any:
    """torch where it has a CUDA GPU, else None."""
    if not importlib.util.find_spec("torch"):
        return None
    import torch
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


def seconds(submit: Callable[[], object], wait: Callable[[], object], target: float = 0.1, rounds: int = 5) -> float:
    """Seconds a call: calls are queued for about `target` seconds, then waited for; the best round."""
    for _ in range(3):
        submit()
        wait()
    start = time.perf_counter()
    submit()
    wait()
    n = max(1, min(1000, int(target / max(time.perf_counter() - start, 1e-6))))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(n):
            submit()
        wait()
        best = min(best, (time.perf_counter() - start) / n)
    return best


class Bench:
    """The device, torch or None, and the sizes. Each section is a method that yields rows {what, unit, ours, torch, ...}."""

    def __init__(self, small: bool, **options: Any) -> None:
        from lazygrad import WgpuDevice
        self.small, self.torch, self.device = small, torch_cuda(), WgpuDevice(**options)
        self.ours = gpu_peers.Lazygrad(self.device)
        self.random = np.random.default_rng(0)

    def time_ours(self, work: gpu_peers.Work) -> float:
        return seconds(work.submit, self.device.wait)

    def time_torch(self, f: Callable[[], object]) -> float | None:
        return seconds(f, self.torch.cuda.synchronize) if self.torch else None

    def cuda(self, *arrays: np.ndarray) -> list[Any]:
        return [self.torch.from_numpy(a).cuda() for a in arrays]

    def about(self) -> list[str]:
        lines = [f"{self.device.info}", f"lazygrad {importlib.metadata.version('lazygrad')}, wgpu {importlib.metadata.version('wgpu')}"]
        if self.torch:
            lines.append(f"torch {self.torch.__version__}, CUDA {self.torch.version.cuda}, {self.torch.cuda.get_device_name()}")
        return [*lines, f"traits: {self.device.traits}"]

    # ---- sections

    def bandwidth(self):
        """Streaming kernels in GB/s, bytes read and written, beside the device's own copy of a buffer."""
        n = 1 << (20 if self.small else 27)
        a, b = (self.random.standard_normal(n, np.float32) for _ in range(2))
        x, y, z = self.cuda(a, b, b) if self.torch else (None, None, None)
        copy, same = self.copying(a)
        base = 2 * a.nbytes / copy / 1e9
        theirs = self.time_torch(lambda: z.copy_(x))
        yield self.rate(f"copy of a buffer, {a.nbytes >> 20} MiB", 2 * a.nbytes, copy, theirs, None, same)
        for title, arrays, f, moved in (
                ("2x + 1", (a,), lambda x: x * 2 + 1, 2), ("x·y + y", (a, b), lambda x, y: x * y + y, 3), ("sum", (a,), lambda x: x.sum(), 1)):
            graph, *leaves = self.ours.graph(*arrays)
            work = self.ours.plan(graph, [f(*leaves)])
            expected = f(*[v[:1000].astype(float) for v in arrays]) if title != "sum" else a.sum(dtype=float)
            got = work.read()[0]
            right = bool(np.allclose(got if title == "sum" else got[:1000], expected, rtol=1e-5, atol=1e-5 if title != "sum" else n**0.5 * 1e-5))
            theirs = self.time_torch(lambda f=f, given=arrays: f(*(x, y)[:len(given)]))
            yield self.rate(f"{title}, {n} elements", moved * a.nbytes, self.time_ours(work), theirs, base, right)
        rows, columns = (1024, 256) if self.small else (1 << 17, 1024)
        m = a[:rows * columns].reshape(rows, columns)
        work = self.ours.softmax(m)
        e = np.exp(m[:50].astype(float))
        right = bool(np.allclose(work.read()[0][:50], e / e.sum(1, keepdims=True), rtol=1e-5, atol=1e-7))
        theirs = self.time_torch(lambda: self.torch.softmax(x[:m.size].reshape(m.shape), 1))
        yield self.rate(f"softmax {rows}×{columns}", 2 * m.nbytes, self.time_ours(work), theirs, base, right)

    def copying(self, a: np.ndarray) -> tuple[float, bool]:
        """Seconds of a copy from buffer to buffer, and whether it is one."""
        source, target = self.device.allocate(a.nbytes), self.device.allocate(a.nbytes)
        self.device.write(source, a)
        spent = seconds(lambda: self.device.copy(source, target, a.nbytes), self.device.wait)
        return spent, np.array_equal(self.device.read(target, 1024).view(np.float32), a[:256])

    def rate(self, what: str, nbytes: int, ours: float, theirs: float | None, base: float | None, right: bool) -> Row:
        row = {"what": what, "unit": "GB/s", "ours": nbytes / ours / 1e9, "torch": nbytes / theirs / 1e9 if theirs else None, "right": right}
        if base:
            row["note"] = f"{row['ours'] / base:.0%} of the device's copy"
        return row

    def gemm(self):
        """float32 products in TFLOP/s, beside cuBLAS without TF32."""
        shapes = [(n, n, n) for n in ((64, 128, 256) if self.small else (256, 512, 1024, 2048, 4096, 8192))]
        shapes += [(64, 256, 128), (1, 512, 512)] if self.small else [(4096, 64, 4096), (64, 8192, 4096), (1, 8192, 8192), (8191, 1023, 2049)]
        for m, k, n in shapes:
            a, b = self.random.standard_normal((m, k), np.float32), self.random.standard_normal((k, n), np.float32)
            work = self.ours.matmul(a, b)
            error = np.abs(work.read()[0][:32] - a[:32].astype(float) @ b.astype(float)).max() / k**0.5
            theirs = None
            if self.torch:
                x, y = self.cuda(a, b)
                theirs = self.time_torch(lambda x=x, y=y: x @ y)
            flops = 2 * m * k * n / 1e12
            yield {"what": f"{m}×{k} @ {k}×{n}", "unit": "TFLOP/s", "ours": flops / self.time_ours(work), "torch": theirs and flops / theirs,
                   "right": bool(error < 1e-5), "note": f"error {error:.0e}"}

    def dispatch(self):
        """The least that a kernel and a submission cost."""
        h = self.random.standard_normal(64).astype(np.float32)
        work = self.ours.chain(h, 200)
        right = bool(np.allclose(work.read()[0], h * gpu_peers.SCALE**200, rtol=1e-4))
        eager = graph = None
        if self.torch:
            x, = self.cuda(h)

            def chain():
                y = x
                for _ in range(200):
                    y = y * gpu_peers.SCALE
                return y
            eager = self.time_torch(chain)
            recorded = self.torch.cuda.CUDAGraph()
            with self.torch.cuda.graph(recorded):
                chain()
            graph = self.time_torch(recorded.replay)
        start = min(self.once(work.submit, self.device.wait) for _ in range(20))
        yield self.cost("a kernel, 200 dependent ones a submission", self.time_ours(work) / 200, eager and eager / 200, right,
                        f"torch by a CUDA graph: {human(graph / 200)}" if graph else "")
        yield self.cost("Python of a kernel's replay", start / 200, None, right, "")
        one = self.ours.chain(h, 1)
        yield self.cost("one kernel, submitted and waited for", seconds(one.call, lambda: None),
                        self.torch and seconds(lambda: (x * 2, self.torch.cuda.synchronize()), lambda: None), True, "")

    def once(self, f: Callable[[], object], after: Callable[[], object]) -> float:
        start = time.perf_counter()
        f()
        spent = time.perf_counter() - start
        after()
        return spent

    def transfers(self):
        """Host to device and back, from and to ordinary NumPy arrays."""
        one = self.random.standard_normal(1).astype(np.float32)
        work = self.ours.read_back(one)
        read = seconds(work.call, lambda: None)
        theirs = seconds(self.cuda(one)[0].item, lambda: None) if self.torch else None
        yield self.cost("reading one float32 back", read, theirs, bool(work.read()[0][0] == one[0]), "")
        for mb in (1, 16) if self.small else (1, 64, 1024):
            a = self.random.standard_normal(mb << 18, np.float32)
            buffer = self.device.allocate(a.nbytes)

            def up(a=a, buffer=buffer):
                self.device.write(buffer, a)
                self.device.wait()
            sent, got = seconds(up, lambda: None), seconds(lambda b=buffer, n=a.nbytes: self.device.read(b, n), lambda: None)
            right = np.array_equal(self.device.read(buffer, a.nbytes).view(np.float32), a)
            there = back = None
            if self.torch:
                x, = self.cuda(a)
                there, back = self.time_torch(lambda a=a, x=x: x.copy_(self.torch.from_numpy(a))), seconds(x.cpu, lambda: None)
            yield self.rate(f"{mb} MiB to the device", a.nbytes, sent, there, None, right)
            yield self.rate(f"{mb} MiB from the device", a.nbytes, got, back, None, right)

    def cost(self, what: str, ours: float, theirs: float | None, right: bool, note: str, **more: Any) -> Row:
        return {"what": what, "unit": "s", "ours": ours, "torch": theirs, "right": right, "note": note, **more}

    def train(self):
        """Train steps beside torch eager and torch.compile; the losses of six steps must agree."""
        if self.small:
            models = [gpu_models.mlp(64, 784, 128, 16), gpu_models.gpt(2, 16, 32, 2, 1, 64)]
        else:
            models = [gpu_models.mlp(64, 784, 128, 16), gpu_models.mlp(128, 784, 512, 512, 10), gpu_models.mlp(4096, 1024, 4096, 4096, 16),
                      gpu_models.gpt(8, 128, 256, 4, 4, 512), gpu_models.gpt(16, 512, 512, 8, 6, 4096)]
        for model in models:
            start = time.perf_counter()
            step = gpu_models.lazygrad_step(model, self.device)
            step.submit()
            losses = [step.loss()]
            first = time.perf_counter() - start
            for _ in range(5):
                step.submit()
                losses.append(step.loss())
            row = self.cost(model.title, seconds(step.submit, step.wait), None, bool(losses[-1] < losses[0]), f"first step {human(first)}")
            for key, compiled in (("torch", False), ("torch.compile", True)) if self.torch else ():
                try:
                    theirs = gpu_models.torch_step(model, compiled)
                    wanted = []
                    for _ in range(6):
                        theirs.submit()
                        wanted.append(theirs.loss())
                    row["right"] &= bool(np.allclose(losses, wanted, rtol=2e-3))
                    row[key] = seconds(theirs.submit, theirs.wait)
                except Exception as e:                   # what torch cannot do here is its own row's loss
                    row["note"] += f"; {key}: {type(e).__name__}: {str(e).splitlines()[0][:80]}"
            yield row


SECTIONS = ("bandwidth", "gemm", "dispatch", "transfers", "train")


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return human(value) if unit == "s" else f"{value:.3g} {unit}"


def ratio(row: Row, key: str) -> str:
    """How many times as fast as torch."""
    if row.get(key) is None:
        return "-"
    return f"{row[key] / row['ours'] if row['unit'] == 's' else row['ours'] / row[key]:.2f}"


def table(name: str, rows: list[Row]) -> str:
    compiled = any("torch.compile" in r for r in rows)
    keys = ["torch", *(["torch.compile"] if compiled else [])]
    heads = ["", "lazygrad", *[h for k in keys for h in (k, f"speed against {k}")], "right", ""]
    lines = [f"### {name}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for r in rows:
        cells = [r["what"], shown(r["ours"], r["unit"]), *[c for k in keys for c in (shown(r.get(k), r["unit"]), ratio(r, k))],
                 "yes" if r["right"] else "**no**", r.get("note", "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--small", action="store_true", help="sizes that a software adapter does in a minute")
    parser.add_argument("--fast-math", action="store_true")
    parser.add_argument("--index", type=int, help="of the adapter")
    parser.add_argument("--json", help="file that takes the figures")
    options = parser.parse_args()
    bench = Bench(options.small, index=options.index, fast_math=options.fast_math)
    print("\n".join(bench.about()), end="\n\n", flush=True)
    results: dict[str, list[Row]] = {}
    for name in options.sections:
        results[name] = []
        for row in getattr(bench, name)():
            results[name].append(row)
            print(f"{row['what']}: {shown(row['ours'], row['unit'])}", file=sys.stderr, flush=True)
        print(table(name, results[name]), end="\n\n", flush=True)
        if options.json:                                 # after every section: a time limit loses the last one only
            with open(options.json, "w") as out:
                json.dump({"about": bench.about(), "results": results}, out, indent=1)
    wrong = [r["what"] for rows in results.values() for r in rows if not r["right"]]
    if wrong:
        print(f"wrong results: {', '.join(wrong)}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
