"""Functions one by one, by family: `python benchmarks/families.py [family ...]`. lazygrad (compiled) beside NumPy and SciPy, torch and jax, float32.

One thread, in one process, in interleaved rounds; `ratio` is the fastest peer's time over ours, by minima.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import harness  # noqa: I001  (one thread for everybody, before any library is imported)

import numpy as np
import scipy.special

import lazygrad as lg

HAVE = {name for name in ("jax", "torch") if importlib.util.find_spec(name)}
SIZES = (1_000, 1_000_000)


def libraries() -> dict[str, Any]:
    """NumPy, torch and jax with a function that finds names in them."""
    found: dict[str, Any] = {"numpy": (np, scipy.special)}
    if "torch" in HAVE:
        import torch
        torch.set_num_threads(1)
        found["torch"] = (torch, torch.special)
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        found["jax"] = (jnp, jax.scipy.special)
    return found


ELEMENTWISE = ["exp", "log", "log1p", "expm1", "sin", "cos", "tan", "tanh", "sinh", "arctan", "sqrt", "square", "reciprocal", "floor", "abs", "sign"]
BINARY = ["add", "multiply", "divide", "maximum", "hypot", "arctan2", "power", "logaddexp"]
SPECIAL = ["erf", "erfc", "gammaln", "digamma", "expit", "ndtri", "i0e"]
REDUCTIONS = ["sum", "max", "mean", "var", "prod", "logsumexp", "argmax", "all"]
ALONG = ["cumsum", "sort", "argsort", "diff", "flip", "roll"]
OTHER_NAMES = {"torch": {"arctan": "arctan", "arctan2": "arctan2", "power": "pow", "maximum": "maximum", "abs": "abs"}}


def called(library: str, places: tuple, family: str, name: str) -> Callable[..., Any] | None:
    """The function of a library on an array (n,), or (1000, n / 1000) for reductions; None where it has none."""
    name = OTHER_NAMES.get(library, {}).get(name, name)
    f = next((getattr(p, name) for p in places if hasattr(p, name)), None)
    if f is None:
        return None
    if family == "reductions":
        if library == "torch":
            return lambda x: f(x, -1) if name not in ("max",) else x.amax(-1)
        return lambda x: f(x, axis=-1)
    if name == "roll":
        return lambda x: f(x, 3)
    if name == "flip" and library == "torch":
        return lambda x: f(x, (-1,))
    if name in ("cumsum", "diff") and library == "torch":
        return lambda x: f(x, dim=-1)
    if name == "sort" and library == "torch":
        return lambda x: f(x)[0]
    return f


def measured(family: str, name: str, n: int) -> tuple[float, dict[str, float]] | None:
    """(our seconds, those of the peers)."""
    rng = np.random.default_rng(0)
    shape = (n,) if family != "reductions" else (max(n // 1000, 1), min(n, 1000))
    arrays = [rng.uniform(0.1, 0.9, shape).astype(np.float32) for _ in range(2 if family == "binary" else 1)]
    ours = next((getattr(p, name) for p in (lg, lg.special) if hasattr(p, name)), None)
    if ours is None:
        return None
    f = lg.compile(lambda *xs: ours(*xs, axis=-1) if family == "reductions" else ours(*xs, 3) if name == "roll" else ours(*xs))
    mine = [lg.asarray(a) for a in arrays]
    candidates = [harness.Candidate("lazygrad", lambda: f(*mine), lambda: (0.0,))]
    want = np.asarray(f(*mine).value)
    for library, places in libraries().items():
        g = called(library, places, family, name)
        if g is None:
            continue
        if library == "torch":
            import torch
            theirs = [torch.from_numpy(a) for a in arrays]
        elif library == "jax":
            import jax
            theirs = [jax.numpy.asarray(a) for a in arrays]
            jitted = jax.jit(g)
            g = lambda *xs, jitted=jitted: jax.block_until_ready(jitted(*xs))
        else:
            theirs = arrays
        got = np.asarray(g(*theirs))
        if not np.allclose(got.astype(np.float64), want, rtol=1e-3, atol=1e-3 * float(np.abs(want).max(initial=1))):
            raise AssertionError(f"{name}: {library} gives {got.ravel()[:3]}, lazygrad {want.ravel()[:3]}")
        candidates.append(harness.Candidate(library, lambda g=g, theirs=theirs: g(*theirs), lambda: (0.0,)))
    times = {k: v[0] for k, v in harness.time_all(candidates, rounds=7, target=0.004).items()}
    return times.pop("lazygrad"), times


FAMILIES = {"elementwise": ELEMENTWISE, "binary": BINARY, "special": SPECIAL, "reductions": REDUCTIONS, "along an axis": ALONG}


def table(family: str) -> tuple[str, list[float]]:
    """The Markdown table of a family, and its ratios."""
    peers = ["numpy", *[p for p in ("torch", "jax") if p in HAVE]]
    lines = [f"### {family}", "", "| | n | lazygrad | " + " | ".join(peers) + " | ratio |", "|---|---|---|" + "---|" * (len(peers) + 1)]
    ratios = []
    for name in FAMILIES[family]:
        for n in SIZES:
            found = measured(family, name, n)
            if found is None:
                continue
            mine, theirs = found
            ratios.append(min(theirs.values()) / mine)
            cells = [harness.human(theirs[p]) if p in theirs else "" for p in peers]
            lines.append(f"| {name} | {n:.0e} | {harness.human(mine)} | {' | '.join(cells)} | {ratios[-1]:.2f} |")
    return "\n".join(lines), ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    lg.set_num_threads(1)
    for family in parser.parse_args().families:
        text, ratios = table(family)
        print(text)
        print(f"\ngeometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, least {min(ratios):.2f}\n", flush=True)


if __name__ == "__main__":
    main()
