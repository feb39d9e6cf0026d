"""Timing side by side: candidates of one row run in one process, in interleaved rounds, with the garbage collector off."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

# The same number of threads for everybody, set before any library is imported: one, or BENCH_THREADS.
THREADS = int(os.environ.get("BENCH_THREADS", "1"))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "DRJIT_NUM_THREADS", "LAZYGRAD_NUM_THREADS"):
    os.environ.setdefault(name, str(THREADS))
os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen={str(THREADS > 1).lower()} intra_op_parallelism_threads={THREADS}")

# BENCH_CLOCK=cpu counts the process's own seconds: on a busy machine those of one thread tell more than the wall clock.
clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter


# BENCH_QUIET=1 counts rounds only in which other processes took less than a tenth of a CPU: what several threads gain shows on free CPUs only.
QUIET = os.environ.get("BENCH_QUIET") == "1"
TRIES = 300


def others() -> float:
    """CPU seconds that other processes have taken since the system started (Linux, to a hundredth)."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal, *_ = [int(v) for v in file.readline().split()[1:]]
    own = os.times()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system


@dataclass
class Candidate:
    """`call` does the work once and returns once it is done; `check` gives numbers to compare with the others (value and a
    projection of every gradient)."""

    name: str
    call: Callable[[], object]
    check: Callable[[], tuple[float, ...]]


def compare(candidates: list[Candidate], tolerance: float = 1e-4) -> None:
    """Every candidate must compute the same as the first."""
    reference = None
    for c in candidates:
        got = [float(v) for v in c.check()]
        if reference is None:
            reference = got
        for a, b in zip(reference, got, strict=True):
            if not abs(a - b) <= tolerance * max(1.0, abs(a)):
                raise AssertionError(f"{c.name}: {got} is not {reference}")


def time_all(candidates: list[Candidate], rounds: int = 11, target: float = 0.01) -> dict[str, tuple[float, float]]:
    """name -> (minimum, median) seconds of a call over interleaved rounds of about `target` seconds each."""
    counts = {}
    for c in candidates:
        for _ in range(4):
            c.call()
        start = clock()
        c.call()
        once = clock() - start
        counts[c.name] = max(1, int(target / max(once, 1e-8)))
        if counts[c.name] > 1:
            start = clock()
            for _ in range(min(counts[c.name], 200)):
                c.call()
            once = (clock() - start) / min(counts[c.name], 200)
            counts[c.name] = max(1, int(target / max(once, 1e-9)))
    seconds: dict[str, list[float]] = {c.name: [] for c in candidates}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for c in candidates:
                call, repeat = c.call, range(counts[c.name])
                for _ in range(TRIES if QUIET else 1):
                    before, begun = others() if QUIET else 0.0, time.perf_counter()
                    start = clock()
                    for _ in repeat:
                        call()
                    took = (clock() - start) / counts[c.name]
                    if not QUIET or others() - before < 0.1 * (time.perf_counter() - begun):
                        seconds[c.name].append(took)
                        break
                    time.sleep(0.1)
            gc.collect()
    finally:
        gc.enable()
    return {name: (min(v), sorted(v)[len(v) // 2]) if v else (float("nan"),) * 2 for name, v in seconds.items()}


def human(seconds: float) -> str:
    """A time with three digits and a unit."""
    for unit, scale in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table(title: str, results: dict[str, tuple[float, float]], ours: str) -> str:
    """Rows of a Markdown table: candidate, minimum, median, ratio of medians to `ours`."""
    rows = [f"### {title}", "", "| | min | median | median / ours |", "|---|---|---|---|"]
    for name, (low, mid) in sorted(results.items(), key=lambda r: r[1][1]):
        mark = "**" if name.startswith("lazygrad") else ""
        rows.append(f"| {mark}{name}{mark} | {human(low)} | {human(mid)} | {mid / results[ours][1]:.2f} |")
    return "\n".join(rows)
