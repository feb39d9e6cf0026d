"""Works of the transforms: derivatives of plain functions, the same mathematics in lazygrad and in every peer that is installed.

Each function returns candidates; float32, and every peer gets the formulation that is fastest for it. Nothing is timed here.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Candidate

import lazygrad as lg

HAVE = {name for name in ("jax", "torch") if importlib.util.find_spec(name)}
F = np.float32


def projection(*gradients: np.ndarray) -> list[float]:
    """One number of every gradient, sensitive to each of its elements."""
    flat = [np.asarray(g, float).ravel() for g in gradients]
    return [float(g @ np.cos(np.arange(g.size))) for g in flat]


# ---- Hessian of a logistic regression ---------------------------------------------------------------------------------

def hessian(rows: int = 2000, parameters: int = 50) -> list[Candidate]:
    """The Hessian of the mean logistic loss of `rows` examples by all parameters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, parameters)).astype(F)
    s = np.where(rng.random(rows) < 0.5, -1, 1).astype(F)
    w = (rng.normal(size=parameters) / 8).astype(F)
    out = []

    def candidate(name: str, call: Callable, numpy: Callable = np.asarray) -> None:
        out.append(Candidate(name, call, lambda: projection(numpy(call()))))

    tx, ts, tw = (lg.asarray(v) for v in (x, s, w))
    ours = lg.compile(lg.hessian(lambda w, x, s: lg.logaddexp(0.0, -s * (x @ w)).mean()))
    candidate("lazygrad", lambda: ours(tw, tx, ts))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        theirs = jax.jit(jax.hessian(lambda w, x, s: jnp.logaddexp(0.0, -s * (x @ w)).mean()))
        jx, js, jw = (jnp.asarray(v) for v in (x, s, w))
        candidate("jax.jit(jax.hessian)", lambda: jax.block_until_ready(theirs(jw, jx, js)))
    if "torch" in HAVE:
        import torch
        torch.set_num_threads(1)
        px, ps, pw = (torch.tensor(v) for v in (x, s, w))

        def loss(w: Any) -> Any:
            return torch.nn.functional.softplus(-ps * (px @ w)).mean()
        eager = torch.func.hessian(loss)
        candidate("torch.func.hessian", lambda: eager(pw))
        compiled = torch.compile(eager)
        candidate("torch.compile(torch.func.hessian)", lambda: compiled(pw))
    return out


# ---- Gaussian mixture (ADBench's objective) -----------------------------------------------------------------------------

def mixture_problem(d: int, k: int, n: int) -> tuple[np.ndarray, ...]:
    """(alphas (k,), means (k, d), logarithms of diagonals (k, d), strictly lower triangles (k, d, d), points (n, d))."""
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=(k, d, d)), -1) / d
    return tuple(v.astype(F) for v in (rng.normal(size=k), rng.random((k, d)), rng.normal(size=(k, d)) / 4, lower, rng.normal(size=(n, d))))


def mixture_objective(np_: Any, logsumexp: Callable, einsum: Callable, mask: Any) -> Callable:
    """The objective as the benchmark states it, in a library's own functions.

    Šrajer, Kukelova, Fitzgibbon: A benchmark of selected algorithmic differentiation tools (2018), section 4.1.
    """
    def objective(alphas, means, diagonals, lowers, points):
        n, d = points.shape
        scale = np_.exp(diagonals)
        lowers = lowers * mask
        centered = points[:, None, :] - means                                       # (n, k, d)
        moved = einsum("kij,nkj->nki", lowers, centered) + scale * centered         # Q (x - m)
        inner = alphas + diagonals.sum(1) - 0.5 * (moved ** 2).sum(-1)
        prior = 0.5 * ((scale ** 2).sum() + (lowers ** 2).sum()) - diagonals.sum()
        return logsumexp(inner, 1).sum() - n * logsumexp(alphas, 0) - prior - n * d * 0.5 * math.log(2 * math.pi)
    return objective


def mixture(d: int = 64, k: int = 25, n: int = 1000) -> list[Candidate]:
    """Value and gradient of the objective by alphas, means, diagonals and triangles."""
    data = mixture_problem(d, k, n)
    mask = np.tril(np.ones((d, d), F), -1)
    out = []

    def candidate(name: str, call: Callable) -> None:
        def check() -> list[float]:
            value, gradients = call()
            return [float(value), *projection(*[np.asarray(g) for g in gradients])]
        out.append(Candidate(name, call, check))

    t = [lg.asarray(v) for v in data]
    f = mixture_objective(lg, lambda x, axis: lg.logsumexp(x, axis=axis), lg.einsum, lg.asarray(mask))
    ours = lg.compile(lg.value_and_grad(f, (0, 1, 2, 3)))
    candidate("lazygrad", lambda: ours(*t))
    value = lg.compile(f)
    out.append(Candidate("lazygrad, objective alone", lambda: value(*t), lambda: [float(value(*t)), *projection(*ours(*t)[1])]))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        g = mixture_objective(jnp, lambda x, axis: jax.scipy.special.logsumexp(x, axis=axis), jnp.einsum, mask)
        theirs = jax.jit(jax.value_and_grad(g, (0, 1, 2, 3)))
        j = [jnp.asarray(v) for v in data]
        candidate("jax.jit", lambda: jax.block_until_ready(theirs(*j)))
    if "torch" in HAVE:
        import torch
        torch.set_num_threads(1)
        p = [torch.tensor(v, requires_grad=i < 4) for i, v in enumerate(data)]
        h = mixture_objective(torch, torch.logsumexp, torch.einsum, torch.tensor(mask))

        def by(function: Callable) -> Callable:
            def call() -> tuple:
                v = function(*p)
                return v.detach(), torch.autograd.grad(v, p[:4])
            return call
        candidate("torch eager", by(h))
        candidate("torch.compile", by(torch.compile(h)))
    return out


# ---- gradients of every example ------------------------------------------------------------------------------------------

SIZES = (64, 64, 64, 10)


def network() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [s for a, b in itertools.pairwise(SIZES) for s in ((a, b), (b,))]
    return [(rng.normal(size=s) / 8).astype(F) for s in shapes]


def per_example(batch: int = 256) -> list[Candidate]:
    """The gradient of the cross-entropy of each of `batch` examples by all parameters of a small network."""
    parameters = network()
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(batch, SIZES[0])).astype(F), rng.integers(0, SIZES[-1], batch)
    out = []

    def loss(np_: Any, logsumexp: Callable, take: Callable) -> Callable:
        def one(p, x, y):
            for k in range(0, len(p) - 2, 2):
                x = np_.tanh(x @ p[k] + p[k + 1])
            z = x @ p[-2] + p[-1]
            return logsumexp(z) - take(z, y)
        return one

    def candidate(name: str, call: Callable) -> None:
        out.append(Candidate(name, call, lambda: projection(*[np.asarray(g) for g in call()])))

    tp, tx, ty = [lg.asarray(v) for v in parameters], lg.asarray(x), lg.asarray(y)
    ours = lg.compile(lg.vmap(lg.grad(loss(lg, lambda z: lg.logsumexp(z), lambda z, y: z[y])), (None, 0, 0)))
    candidate("lazygrad", lambda: ours(tp, tx, ty))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        theirs = jax.jit(jax.vmap(jax.grad(loss(jnp, jax.scipy.special.logsumexp, lambda z, y: z[y])), (None, 0, 0)))
        jp, jx, jy = [jnp.asarray(v) for v in parameters], jnp.asarray(x), jnp.asarray(y)
        candidate("jax.jit(jax.vmap(jax.grad))", lambda: jax.block_until_ready(theirs(jp, jx, jy)))
    if "torch" in HAVE:
        import torch
        torch.set_num_threads(1)
        pp, px, py = [torch.tensor(v) for v in parameters], torch.tensor(x), torch.tensor(y)
        one = loss(torch, lambda z: torch.logsumexp(z, 0), lambda z, y: torch.gather(z, 0, y))
        eager = torch.func.vmap(torch.func.grad(one), (None, 0, 0))
        candidate("torch.func", lambda: eager(pp, px, py))
        compiled = torch.compile(eager)
        candidate("torch.compile(torch.func)", lambda: compiled(pp, px, py))
    return out


# ---- what a call costs ------------------------------------------------------------------------------------------------------

def call(count: int = 10) -> list[Candidate]:
    """The sum of ten small arrays: nothing but the call."""
    arrays = [np.full(8, k, F) for k in range(count)]
    out = []

    def candidate(name: str, f: Callable) -> None:
        out.append(Candidate(name, f, lambda: [float(np.asarray(f()).sum())]))
    t = [lg.asarray(v) for v in arrays]
    ours = lg.compile(lambda *xs: sum(xs))
    candidate("lazygrad", lambda: ours(*t))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        j = [jnp.asarray(v) for v in arrays]
        theirs = jax.jit(lambda *xs: sum(xs))
        candidate("jax.jit", lambda: jax.block_until_ready(theirs(*j)))
    if "torch" in HAVE:
        import torch
        p = [torch.tensor(v) for v in arrays]
        compiled = torch.compile(lambda *xs: sum(xs))
        candidate("torch.compile", lambda: compiled(*p))
        candidate("torch eager", lambda: sum(p))
    return out
