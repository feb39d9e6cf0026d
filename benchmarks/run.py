"""Runs the benchmarks and prints Markdown tables: `python benchmarks/run.py [row ...]`.

Peers that are installed in the same environment run beside lazygrad in the same process (pip install torch jax drjit casadi
pytensor autograd). Arrays beyond 32 MiB are page-faulted anew by a default glibc at every allocation, which our own buffers are not:
with `--tuned` the process runs under malloc settings that spare the peers those faults.
"""

from __future__ import annotations

import argparse
import atexit
import os
import subprocess
import sys
import time
from pathlib import Path

import harness
import threads

TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456"}


def row(name: str) -> str:
    import convnets
    import derivative_works
    import gpt
    import layers
    import loops
    import works
    rows = {
        "scalar60": ("60-node scalar graph, value and both gradients", works.scalar60, "lazygrad graph.compile"),
        "tiny": ("(x + y) * x on 2-vectors, forward and backward", works.tiny, "lazygrad warm"),
        "chain1e3": ("tanh(x)·exp(−y²)+log1p(x²), value and gradients, 1e3", lambda: works.chain(1000), "lazygrad"),
        "chain1e5": ("the same, 1e5", lambda: works.chain(100_000), "lazygrad"),
        "chain1e6": ("the same, 1e6", lambda: works.chain(1_000_000), "lazygrad"),
        "chain4e6": ("the same, 4e6", lambda: works.chain(4_000_000), "lazygrad"),
        "chain1e7": ("the same, 1e7", lambda: works.chain(10_000_000), "lazygrad"),
        "entropy": ("softmax cross-entropy, 4096 × 1000, value and gradient", layers.cross_entropy, "lazygrad"),
        "norm": ("gelu(layer_norm(x)·w + b), 4096 × 768, value and gradients", layers.norm_gelu, "lazygrad"),
        "lenet": ("LeNet-like CNN, batch 64, train step", convnets.lenet, "lazygrad"),
        "residual64": ("residual block, 16 images, 64 channels of 56 × 56, 3 × 3, value and gradients", lambda: convnets.residual(64, 56), "lazygrad"),
        "residual256": ("the same, 256 channels of 14 × 14", lambda: convnets.residual(256, 14), "lazygrad"),
        "rk4": ("1000 RK4 steps of 2 variables, batch 64: the loss", lambda: loops.rk4(False), "lazygrad"),
        "rk4grad": ("the same with gradients by 4 parameters", lambda: loops.rk4(True), "lazygrad"),
        "rnn": ("recurrent network, 200 steps of (32, 64), loss and gradients", loops.recurrent, "lazygrad"),
        "hessian": ("Hessian of a logistic regression, 2000 examples, 50 parameters", derivative_works.hessian, "lazygrad"),
        "mixture": ("Gaussian mixture, d=64, K=25, n=1000: objective and gradient", derivative_works.mixture, "lazygrad"),
        "examples": ("MLP 64-64-64-10: gradients of each of 256 examples", derivative_works.per_example, "lazygrad"),
        "call": ("one call of a compiled function, ten arrays of 8 numbers", derivative_works.call, "lazygrad"),
        "gpt64": ("GPT-like, 4 layers of width 128, 16 × 64 tokens, train step", lambda: gpt.step(64, 16), "lazygrad"),
        "gpt512": ("the same, 2 × 512 tokens", lambda: gpt.step(512, 2), "lazygrad"),
        "mlp": ("MLP 784-512-512-10, batch 128, train step", works.mlp, "lazygrad graph.compile"),
    }
    title, make, ours = rows[name]
    candidates = make()
    harness.compare(candidates, 2e-3 if name.startswith("rk4") else 1e-3 if name == "mixture" else 1e-4)     # 1000 float32 steps amplify roundings; sums of a million
    return harness.table(title, harness.time_all(candidates, target=0.02), ours)


def build() -> str:
    """Graph building, per node, and long chains, lazygrad alone."""
    import gc

    import numpy as np

    from lazygrad import Graph
    from lazygrad.ir import term
    graph = Graph()
    x, y = graph.tensor(0.5), graph.tensor(0.25)

    def expression(n):
        h = x
        for _ in range(n // 2):
            h = h * y + x
        return h

    def best(f, repeat, rounds=9):
        f()
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(repeat):
                f()
            times.append((time.perf_counter() - start) / repeat)
        return min(times), sorted(times)[rounds // 2]
    lines = ["### Graph building (lazygrad alone)", "", "| | min | median |", "|---|---|---|"]
    for n in (60, 1000):
        low, mid = best(lambda n=n: expression(n).backward(), max(1, 6000 // n))
        lines.append(f"| {n} nodes built anew, gradient found and run, per node | {harness.human(low / n)} | {harness.human(mid / n)} |")

    times = []
    for _ in range(9):
        term.sweep()
        start = time.perf_counter()
        h = expression(6000)
        times.append((time.perf_counter() - start) / 6000)
        del h
    lines.append(f"| every node new, build only, per node | {harness.human(min(times))} | {harness.human(sorted(times)[4])} |")
    for n in (1000, 10_000, 100_000):
        times = []
        for k in range(3):
            v = graph.tensor(np.full(3 + k, 0.5, np.float32))        # another shape: nothing is known yet
            start = time.perf_counter()
            h = v
            for _ in range(n // 2):
                h = h * y + v
            h.forward()
            h.backward()
            for _ in range(3):
                h.backward()
            times.append((time.perf_counter() - start) / n)
            del h
            gc.collect()
        lines.append(f"| chain of {n}: build, differentiate, compile, run 4 times, per node | {harness.human(min(times))} | "
                     f"{harness.human(sorted(times)[1])} |")
    return "\n".join(lines)


COLD = {
    "lazygrad": """
import lazygrad as lg, numpy as np
from lazygrad import Graph
a = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
start = time.perf_counter()
graph = Graph(); x = graph.tensor(a); y = graph.tensor(a)
z = x.tanh() * lg.exp(-y * y) + lg.log1p(x * x)
z.backward()
""",
    "jax": """
import jax, jax.numpy as jnp, numpy as np
a = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
start = time.perf_counter()
@jax.jit
def f(a, b):
    w, back = jax.vjp(lambda a, b: jnp.tanh(a) * jnp.exp(-b * b) + jnp.log1p(a * a), a, b)
    return (w, *back(jnp.ones_like(w)))
jax.block_until_ready(f(a, a))
""",
    "torch.compile": """
import torch, numpy as np
a = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
start = time.perf_counter()
x, y = (torch.tensor(a, requires_grad=True) for _ in range(2))
f = torch.compile(lambda a, b: torch.tanh(a) * torch.exp(-b * b) + torch.log1p(a * a))
w = f(x, y); torch.autograd.grad(w, (x, y), torch.ones_like(w))
""",
}


LOOP = """
x0, y0 = (np.random.default_rng(k).uniform(1, 3, size=64).astype(np.float32) for k in range(2))
def slope(p, x, y):
    return p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y
def rk4(p, x, y, h=0.01):
    u = slope(p, x, y)
    v = slope(p, x + h / 2 * u[0], y + h / 2 * u[1])
    w = slope(p, x + h / 2 * v[0], y + h / 2 * v[1])
    z = slope(p, x + h * w[0], y + h * w[1])
    return tuple(s + h / 6 * (i + 2 * j + 2 * k + m) for s, i, j, k, m in zip((x, y), u, v, w, z))
start = time.perf_counter()
"""
COLD_LOOP = {
    "lazygrad": "import lazygrad as lg, numpy as np" + LOOP + """
def loss(p):
    (x, y), _ = lg.scan(lambda c, _: (rk4(p, *c), None), (lg.asarray(x0), lg.asarray(y0)), length=1000)
    return (x * x + y * y).sum()
[g.value for g in lg.grad(loss)([lg.asarray(np.float32(v)) for v in (1.5, 1.0, 3.0, 1.0)])]
""",
    "jax": "import jax, jax.numpy as jnp, numpy as np" + LOOP + """
def loss(p):
    (x, y), _ = jax.lax.scan(lambda c, _: (rk4(p, *c), None), (jnp.asarray(x0), jnp.asarray(y0)), None, length=1000)
    return jnp.sum(x * x + y * y)
jax.block_until_ready(jax.jit(jax.grad(loss))([jnp.float32(v) for v in (1.5, 1.0, 3.0, 1.0)]))
""",
}

MLP = """
rng = np.random.default_rng(0)
sizes = (784, 512, 512, 10)
weights = [(rng.normal(size=(m, n)) * (2 / m) ** 0.5).astype(np.float32) for m, n in zip(sizes, sizes[1:])]
a, onehot = rng.normal(size=(128, 784)).astype(np.float32), np.eye(10, dtype=np.float32)[rng.integers(0, 10, 128)]
start = time.perf_counter()
"""
COLD_MLP = {
    "lazygrad": "import lazygrad as lg, numpy as np" + MLP + """
def objective(ws, x, t):
    h = x
    for k, (w, b) in enumerate(ws):
        h = h @ w + b
        h = lg.relu(h) if k < 2 else h
    return (lg.logsumexp(h, axis=1) - (h * t).sum(axis=1)).mean()
@lg.compile
def step(ws, x, t):
    value, gs = lg.value_and_grad(objective)(ws, x, t)
    return value, [(w - 1e-3 * g, b - 1e-3 * d) for (w, b), (g, d) in zip(ws, gs)]
ws = [(lg.asarray(w), lg.zeros(w.shape[1])) for w in weights]
step(ws, lg.asarray(a), lg.asarray(onehot))[0].item()
""",
    "jax": "import jax, jax.numpy as jnp, numpy as np" + MLP + """
def objective(ws, x, t):
    h = x
    for k, (w, b) in enumerate(ws):
        h = h @ w + b
        h = jax.nn.relu(h) if k < 2 else h
    return (jax.nn.logsumexp(h, axis=1) - (h * t).sum(axis=1)).mean()
@jax.jit
def step(ws, x, t):
    value, gs = jax.value_and_grad(objective)(ws, x, t)
    return value, [(w - 1e-3 * g, b - 1e-3 * d) for (w, b), (g, d) in zip(ws, gs)]
ws = [(jnp.asarray(w), jnp.zeros(w.shape[1], jnp.float32)) for w in weights]
jax.block_until_ready(step(ws, jnp.asarray(a), jnp.asarray(onehot)))
""",
}


def cold(title: str, programs: dict[str, str]) -> str:
    """First calls in a new process, beyond the import."""
    import importlib.util
    import tempfile
    lines = [f"### First call in a new process, beyond import ({title})", "", "| | import | first call |", "|---|---|---|"]
    for name, code in programs.items():
        if not importlib.util.find_spec(name.split(".")[0]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for state in ("empty disk cache", "filled disk cache"):
                best = None
                for _ in range(1 if state.startswith("empty") and name != "lazygrad" else 5):
                    env = dict(os.environ, LAZYGRAD_CACHE_DIR=f"{folder}/l", TORCHINDUCTOR_CACHE_DIR=f"{folder}/t",
                               JAX_COMPILATION_CACHE_DIR=f"{folder}/j", JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
                    if state.startswith("empty"):
                        env["LAZYGRAD_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
                    script = f"import time; t0 = time.perf_counter()\n{code}\nprint(start - t0, time.perf_counter() - start)"
                    out = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
                    got = tuple(map(float, out.split()))
                    best = got if best is None or got[1] < best[1] else best
                lines.append(f"| {name}, {state} | {harness.human(best[0])} | {harness.human(best[1])} |")
                if name == "lazygrad":
                    subprocess.run([sys.executable, "-c", script], env=dict(env, LAZYGRAD_CACHE_DIR=f"{folder}/l"), check=True, capture_output=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=["scalar60", "tiny", "build", "chain1e3", "chain1e5", "chain1e7", "mlp", "gpt64", "gpt512", "hessian", "mixture", "examples", "call", "rk4",
                                                      "rk4grad", "rnn", "cold", "cold_loop", "cold_mlp"])
    parser.add_argument("--tuned", action="store_true", help="malloc settings without page faults for the peers")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library")
    parser.add_argument("--neighbour", action="store_true", help="with a process beside that keeps one of the CPUs busy")
    options = parser.parse_args()
    more = (TUNED if options.tuned else {}) | {"BENCH_THREADS": str(options.threads)}
    if any(os.environ.get(k, "1") != v for k, v in more.items()):          # settings that libraries read when they are loaded
        raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=dict(os.environ, **more), check=False).returncode)
    sys.path.insert(0, str(Path(__file__).parent))
    if options.neighbour:
        busy = "import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"
        beside = subprocess.Popen([sys.executable, "-c", busy])
        atexit.register(beside.kill)
    for name in options.rows:
        print({"build": build, "cold": lambda: cold("the chain above, 1e5", COLD),
               "pool": threads.fork_join, "cold_loop": lambda: cold("gradients of the RK4 loop", COLD_LOOP), "cold_mlp": lambda: cold("a train step of the MLP", COLD_MLP)}.get(name, lambda name=name: row(name))(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
