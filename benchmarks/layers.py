"""Layers of networks with their gradients, in lazygrad and in every peer that is installed: rows that are one or two kernels here."""

from __future__ import annotations

import numpy as np
from harness import Candidate
from works import HAVE

import lazygrad as lg
from lazygrad import Graph


def _project(*arrays) -> list[float]:
    return [float(np.asarray(v).ravel()[::997].astype(np.float64).sum()) for v in arrays]


def cross_entropy(n: int = 4096, m: int = 1000) -> list[Candidate]:
    """Mean cross-entropy of n rows of m logits with class indices, and its gradient, float32."""
    rng = np.random.default_rng(0)
    a, labels = rng.normal(size=(n, m)).astype(np.float32), rng.integers(0, m, n)
    out = []
    graph = Graph()
    x, t = graph.tensor(a), graph.tensor(labels)
    z = lg.nn.cross_entropy(x, t)

    def ours():
        x.grad = None
        z.backward()

    def read():
        ours()
        return _project(z.value, x.grad.value)
    out.append(Candidate("lazygrad", ours, read))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        @jax.jit
        def j(a, t):
            return jax.value_and_grad(lambda a: -jnp.take_along_axis(jax.nn.log_softmax(a), t[:, None], 1).mean())(a)
        ja, jt = jnp.asarray(a), jnp.asarray(labels)
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(ja, jt)), lambda: _project(*j(ja, jt))))
    if "torch" in HAVE:
        import torch
        ta, tt = torch.from_numpy(a).requires_grad_(), torch.from_numpy(labels)
        f = torch.nn.functional.cross_entropy
        out += _torch(lambda f: (lambda: (w := f(ta, tt), *torch.autograd.grad(w, ta))), f)
    return out


def norm_gelu(n: int = 4096, m: int = 768) -> list[Candidate]:
    """gelu(layer_norm(x) * w + b), and the gradients by x, w and b for a given cotangent, float32."""
    rng = np.random.default_rng(0)
    a, ct = [rng.normal(size=(n, m)).astype(np.float32) for _ in range(2)]
    w, b = [rng.normal(size=m).astype(np.float32) for _ in range(2)]
    out = []
    graph = Graph()
    leaves = [graph.tensor(v) for v in (a, w, b)]
    c = graph.tensor(ct, requires_grad=False)
    z = lg.nn.gelu(lg.nn.layer_norm(*leaves))
    run = graph.compile([], [z, *z.gradient(*leaves, ct=c)])
    out.append(Candidate("lazygrad", run, lambda: _project(*run())))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        def forward(a, w, b):
            mean = a.mean(1, keepdims=True)
            h = (a - mean) * jax.lax.rsqrt(((a - mean) ** 2).mean(1, keepdims=True) + 1e-5) * w + b
            return jax.nn.gelu(h, approximate=False)

        @jax.jit
        def j(a, w, b, ct):
            value, back = jax.vjp(forward, a, w, b)
            return (value, *back(ct))
        given = [jnp.asarray(v) for v in (a, w, b, ct)]
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(*given)), lambda: _project(*j(*given))))
    if "torch" in HAVE:
        import torch
        ta, tw, tb = [torch.from_numpy(v).requires_grad_() for v in (a, w, b)]
        tc = torch.from_numpy(ct)

        def f(a, w, b):
            return torch.nn.functional.gelu(torch.nn.functional.layer_norm(a, (m,), w, b))
        out += _torch(lambda f: (lambda: (v := f(ta, tw, tb), *torch.autograd.grad(v, (ta, tw, tb), tc))), f)
    return out


def _torch(make, f) -> list[Candidate]:
    """`make(f)` eagerly and with f compiled."""
    import torch
    found = []
    for name, g in (("torch eager", f), ("torch.compile", torch.compile(f, dynamic=False))):
        run = make(g)
        found.append(Candidate(name, run, lambda run=run: _project(*[v.detach() for v in run()])))
    return found
