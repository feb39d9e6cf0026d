"""lazygrad on a GPU beside other libraries that reach it through WebGPU, in one process, in interleaved rounds.

`python benchmarks/gpu.py [row ...] [--json FILE]`; peers that are installed run along (pip install tinygrad dawn-python
ferrotensor). The results of each are compared with NumPy's in float64 before and after its timing. Ratios are of minima.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import harness
import numpy as np

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())      # else Mesa complains on every start

import gpu_peers

N = 200                              # kernels of a chain


@dataclass(frozen=True)
class Row:
    """`make(library)` is its work; `expected` what reading the result gives first; `steps`: the result moves at every call."""

    title: str
    make: Callable[[Any], gpu_peers.Work]
    expected: list[np.ndarray]
    launches: int = 0
    steps: bool = False
    tolerance: float = 2e-5


def elementwise(n: int) -> Row:
    a, b = (normal(n) for _ in range(2))
    x, y = a.astype(float), b.astype(float)
    e, t = np.exp(np.sin(2 * x + 1)), np.tanh(x * y)
    expected = [e * y - t, e * np.cos(2 * x + 1) * 2 * y - (1 - t * t) * y, e - (1 - t * t) * x]
    return Row(f"exp(sin(2x + 1))·y − tanh(x·y), value and both gradients, {n} elements", lambda lib: lib.elementwise(a, b), expected)


def softmax(rows: int, columns: int) -> Row:
    a = normal(rows, columns)
    e = np.exp(a.astype(float))
    return Row(f"softmax {rows}×{columns}", lambda lib: lib.softmax(a), [e / e.sum(1, keepdims=True)])


def matmul(m: int, k: int | None = None, n: int | None = None) -> Row:
    k, n = k or m, n or m
    a, b = normal(m, k), normal(k, n)
    return Row(f"matmul {m}×{k} @ {k}×{n}", lambda lib: lib.matmul(a, b), [a.astype(float) @ b.astype(float)])


def chain() -> Row:
    h = normal(64)
    return Row(f"{N} dependent kernels of 64 elements, recorded on the device", lambda lib: lib.chain(h, N), [h.astype(float) * 1.01**N], N)


def products() -> Row:
    h, w = normal(16, 16), np.linalg.qr(normal(16, 16))[0].astype(np.float32)
    expected = h.astype(float)
    for k in range(N):
        expected = w.astype(float) @ expected if k % 2 else expected @ w.astype(float)
    return Row(f"{N} dependent products of 16×16 matrices", lambda lib: lib.products(h, w, N), [expected], N)


def train() -> Row:
    sizes, rate = (64, 784, 128, 16), 0.1
    a, labels = normal(*sizes[:2]), np.random.default_rng(1).integers(0, sizes[-1], sizes[0])
    start = [normal(784, 128) / 28, np.zeros(128, np.float32), normal(128, 16) / 11, np.zeros(16, np.float32)]
    x, (w, b, v, c) = a.astype(float), (p.astype(float) for p in start)
    h = np.maximum(x @ w + b, 0)
    z = h @ v + c
    s = np.exp(z - z.max(1, keepdims=True))
    s /= s.sum(1, keepdims=True)
    loss = -np.log(s[np.arange(64), labels]).mean()
    dz = (s - np.eye(16)[labels]) / 64
    dh = dz @ v.T * (h > 0)
    new = [p - rate * g for p, g in zip((w, b, v, c), (x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)), strict=True)]
    return Row("MLP 784-128-16, batch 64, relu, cross-entropy, SGD: train step",
               lambda lib: lib.train(a, labels, start, rate), [loss, *new], steps=True)


def read_back() -> Row:
    h = normal(1)
    return Row("reading one float32 back", lambda lib: lib.read_back(h), [h[0]])


def scalar() -> Row:
    h = normal(1024)
    return Row("sum of 1024 numbers, result in Python", lambda lib: lib.scalar(h), [h.astype(float).sum() * gpu_peers.SCALE])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


ROWS: dict[str, Callable[[], Row]] = {
    "elementwise": lambda: elementwise(1 << 20),
    "elementwise64k": lambda: elementwise(1 << 16),
    "softmax1024": lambda: softmax(1024, 1024),
    "softmax64": lambda: softmax(4096, 64),
    "softmax1000": lambda: softmax(1000, 1000),
    "matmul256": lambda: matmul(256),
    "matmul512": lambda: matmul(512),
    "matmul500": lambda: matmul(500),
    "matmul1024": lambda: matmul(1024),
    "matmultall": lambda: matmul(2048, 256, 64),
    "chain": chain,
    "products": products,
    "train": train,
    "read": read_back,
    "scalar": scalar,
}


def check(who: str, row: Row, got: list[Any]) -> float:
    """The largest difference from `expected`, relative to the largest element (or 1); raises beyond the tolerance."""
    worst = 0.0
    if len(got) != len(row.expected):
        raise AssertionError(f"{row.title}: {who} gives {len(got)} results, not {len(row.expected)}")
    for a, e in zip(got, row.expected, strict=True):
        difference = np.abs(np.asarray(a, float).reshape(np.shape(e)) - e).max() / max(1.0, np.abs(e).max())
        if not difference <= row.tolerance:
            raise AssertionError(f"{row.title}: {who} is off by {difference:.3g}")
        worst = max(worst, float(difference))
    return worst


def handing_over(work: gpu_peers.Work, launches: int) -> float | None:
    """Seconds of Python a launch: submitting without waiting."""
    if work.submit is None or not launches:
        return None
    best = np.inf
    for _ in range(9):
        work.call()
        start = time.perf_counter()
        work.submit()
        best = min(best, time.perf_counter() - start)
    work.call()
    return best / launches


def measure(row: Row, libraries: list[Any], rounds: int) -> dict[str, Any]:
    """{"title", "rows": {library: {min, median, error, python}}, "unable": {library: why}}; a wrong result of ours raises."""
    works, errors, unable = {}, {}, {}
    for lib in libraries:
        try:
            works[lib.name] = row.make(lib)
            errors[lib.name] = check(lib.name, row, list(works[lib.name].read()))
        except (gpu_peers.Unable, AssertionError) as e:
            if lib.name == gpu_peers.Lazygrad.name:
                raise
            works.pop(lib.name, None)
            unable[lib.name] = str(e)
    times = harness.time_all([harness.Candidate(name, w.call, tuple) for name, w in works.items()], rounds, 0.02)
    for name, work in works.items():
        if not row.steps:
            check(name, row, list(work.read()))
    return {"title": row.title, "unable": unable, "rows": {
        name: {"min": times[name][0], "median": times[name][1], "error": errors[name], "python": handing_over(work, row.launches)}
        for name, work in works.items()}}


def table(result: dict[str, Any]) -> str:
    rows, ours = result["rows"], gpu_peers.Lazygrad.name
    python = any(r["python"] for r in rows.values())
    lines = [f"### {result['title']}", "", "| | min | median | min / ours | error |" + (" Python a kernel |" if python else ""),
             "|---|---|---|---|---|" + ("---|" if python else "")]
    for name, r in sorted(rows.items(), key=lambda item: item[1]["min"]):
        shown, base = f"**{name}**" if name == ours else name, rows.get(ours, r)["min"]
        line = f"| {shown} | {harness.human(r['min'])} | {harness.human(r['median'])} | {r['min'] / base:.2f} | {r['error']:.0e} |"
        lines.append(line + (f" {harness.human(r['python'])} |" if r["python"] else " - |" if python else ""))
    lines += [f"| {name} | - | - | - | {why} |" + (" - |" if python else "") for name, why in result["unable"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", help="libraries to run, by a part of their names, separated by commas")
    parser.add_argument("--json", help="file that takes the figures")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [""]
    libraries = [peer() for peer in gpu_peers.installed() if any(w in peer.name for w in wanted)]
    about = [f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}", *(lib.about for lib in libraries)]
    print("\n".join(about), end="\n\n", flush=True)
    results = []
    for name in options.rows:
        results.append(measure(ROWS[name](), libraries, options.rounds) | {"row": name})
        print(table(results[-1]), end="\n\n", flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"about": about, "results": results}, out, indent=1)


if __name__ == "__main__":
    sys.exit(main())
