"""A GPT-like train step (4 layers, width 128, 4 heads, 65 words), in lazygrad, jax and torch: tokens in, loss out, plain SGD.

The same start values and mathematics; each library in its own best words (lg.nn, jax.nn, torch.nn.functional).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Candidate
from works import HAVE

import lazygrad as lg

LAYERS, WIDTH, HEADS, WORDS, RATE = 4, 128, 4, 65, 0.1


def weights(length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.02).astype(np.float32)
    found = {"tokens": normal(WORDS, WIDTH), "places": normal(length, WIDTH), "out": normal(WIDTH, WORDS)}
    for k in range(LAYERS):
        found |= {f"qkv{k}": normal(WIDTH, 3 * WIDTH), f"proj{k}": normal(WIDTH, WIDTH), f"up{k}": normal(WIDTH, 4 * WIDTH), f"down{k}": normal(4 * WIDTH, WIDTH)}
        found |= {f"{n}{k}": np.full(WIDTH, n[0] == "g", np.float32) for n in ("g1_", "b1_", "g2_", "b2_")}
    return found


def model(p: dict[str, Any], x: Any, norm: Any, attention: Any, gelu: Any, permute: Any) -> Any:
    """Logits (batch, length, words): pre-norm blocks of causal attention and a gelu layer."""
    batch, length = x.shape
    h = p["tokens"][x] + p["places"]
    for k in range(LAYERS):
        qkv = permute((norm(h, p[f"g1_{k}"], p[f"b1_{k}"]) @ p[f"qkv{k}"]).reshape((batch, length, 3, HEADS, WIDTH // HEADS)), (2, 0, 3, 1, 4))
        a = permute(attention(qkv[0], qkv[1], qkv[2]), (0, 2, 1, 3)).reshape((batch, length, WIDTH))
        h = h + a @ p[f"proj{k}"]
        h = h + gelu(norm(h, p[f"g2_{k}"], p[f"b2_{k}"]) @ p[f"up{k}"]) @ p[f"down{k}"]
    return h @ p["out"]


def step(length: int, batch: int) -> list[Candidate]:
    """One train step; the candidates are compared by the losses of three steps."""
    rng = np.random.default_rng(1)
    x, y = (rng.integers(0, WORDS, (batch, length)) for _ in range(2))
    start = weights(length)
    out: list[Candidate] = []

    @lg.compile
    def ours(p, x, y):
        def loss(p):
            logits = model(p, x, lambda h, g, b: lg.nn.layer_norm(h, g, b), lambda q, k, v: lg.nn.scaled_dot_product_attention(q, k, v, is_causal=True),
                           lambda h: lg.nn.gelu(h, approximate="tanh"), lg.permute_dims)
            return lg.nn.cross_entropy(logits.reshape((batch * length, WORDS)), y.reshape((batch * length,)))
        value, g = lg.value_and_grad(loss)(p)
        return value, {name: w - RATE * g[name] for name, w in p.items()}
    held = [{name: lg.asarray(w) for name, w in start.items()}]
    lx, ly = lg.asarray(x.astype(np.int32)), lg.asarray(y.astype(np.int32))

    def by_compile():
        value, held[0] = ours(held[0], lx, ly)
        return value
    out.append(Candidate("lazygrad", by_compile, lambda: [by_compile().item() for _ in range(3)]))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        def attention(q, k, v):
            swap = lambda t: t.swapaxes(1, 2)
            return swap(jax.nn.dot_product_attention(swap(q), swap(k), swap(v), is_causal=True))

        def norm(h, g, b):
            c = h - h.mean(-1, keepdims=True)
            return c * jax.lax.rsqrt((c * c).mean(-1, keepdims=True) + 1e-5) * g + b

        @jax.jit
        def theirs(p, x, y):
            def loss(p):
                logits = model(p, x, norm, attention, lambda h: jax.nn.gelu(h, approximate=True), jnp.transpose).reshape(batch * length, WORDS)
                return -jnp.take_along_axis(jax.nn.log_softmax(logits), y.reshape(-1, 1), 1).mean()
            value, g = jax.value_and_grad(loss)(p)
            return value, jax.tree.map(lambda w, d: w - RATE * d, p, g)
        jheld = [{name: jnp.asarray(w) for name, w in start.items()}]

        def by_jax():
            value, jheld[0] = theirs(jheld[0], x, y)
            return jax.block_until_ready(value)
        out.append(Candidate("jax.jit", by_jax, lambda: [float(by_jax()) for _ in range(3)]))
    if "torch" in HAVE:
        import torch
        f = torch.nn.functional
        tx, ty = torch.from_numpy(x), torch.from_numpy(y.reshape(-1))
        for name, wrap in (("torch eager", lambda g: g), ("torch.compile", torch.compile)):
            tp = {name: torch.tensor(w, requires_grad=True) for name, w in start.items()}

            def forward(p):
                logits = model(p, tx, lambda h, g, b: f.layer_norm(h, (WIDTH,), g, b), lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True),
                               lambda h: f.gelu(h, approximate="tanh"), torch.permute)
                return f.cross_entropy(logits.reshape(batch * length, WORDS), ty)
            forward = wrap(forward)
            optimiser = torch.optim.SGD(tp.values(), lr=RATE, fused=True)

            def by_torch(forward=forward, tp=tp, optimiser=optimiser):
                optimiser.zero_grad(set_to_none=True)
                value = forward(tp)
                value.backward()
                optimiser.step()
                return value
            out.append(Candidate(name, by_torch, lambda by_torch=by_torch: [by_torch().item() for _ in range(3)]))
    return out
