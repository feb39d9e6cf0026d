"""Train steps of two models, in lazygrad and in torch: `mlp` and `gpt`, each from one set of start values.

A step computes the loss at the present parameters, then moves them down the gradient by plain SGD. Both libraries get the same
mathematics; torch in its own best words (layer_norm, scaled_dot_product_attention, cross_entropy).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE = 0.1


@dataclass(frozen=True)
class Model:
    """`inputs` and `params` by name; `ours(lg, x, p)` and `theirs(torch, x, p)` give the loss."""

    title: str
    inputs: dict[str, np.ndarray]
    params: dict[str, np.ndarray]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """`submit` does a train step without waiting, `wait` waits for all of them, `loss` is that of the last step."""

    submit: Callable[[], object]
    wait: Callable[[], object]
    loss: Callable[[], float]


# ---- models ------------------------------------------------------------------------------------------------------------

def mlp(batch: int, *sizes: int) -> Model:
    """Linear layers with relu between them and cross-entropy of class labels."""
    rng = np.random.default_rng(0)
    last = len(sizes) - 2
    params = {}
    for k, (m, n) in enumerate(itertools.pairwise(sizes)):
        params[f"w{k}"] = (rng.standard_normal((m, n)) * (2 / m) ** 0.5).astype(np.float32)
        params[f"b{k}"] = np.zeros(n, np.float32)
    inputs = {"x": rng.standard_normal((batch, sizes[0])).astype(np.float32), "labels": rng.integers(0, sizes[-1], batch)}

    def logits(relu, h, p):
        for k in range(last + 1):
            h = h @ p[f"w{k}"] + p[f"b{k}"]
            h = relu(h) if k < last else h
        return h

    def ours(lg, x, p):
        return cross_entropy(lg, logits(lambda h: lg.maximum(h, 0), x["x"], p), x["labels"])

    def theirs(torch, x, p):
        return torch.nn.functional.cross_entropy(logits(torch.relu, x["x"], p), x["labels"])
    return Model(f"MLP {'-'.join(map(str, sizes))}, batch {batch}", inputs, params, ours, theirs)


def gpt(batch: int, length: int, width: int, heads: int, layers: int, words: int) -> Model:
    """A decoder: token and position embedding, pre-norm blocks of causal attention and a gelu (tanh) layer, cross-entropy."""
    rng = np.random.default_rng(0)

    def normal(*shape, scale=0.02):
        return (rng.standard_normal(shape) * scale).astype(np.float32)
    params = {"tokens": normal(words, width), "places": normal(length, width), "out": normal(width, words)}
    for k in range(layers):
        params |= {f"qkv{k}": normal(width, 3 * width), f"proj{k}": normal(width, width), f"up{k}": normal(width, 4 * width),
                   f"down{k}": normal(4 * width, width)}
        params |= {f"{n}{k}": np.ones(width, np.float32) if n[0] == "g" else np.zeros(width, np.float32) for n in ("g1_", "b1_", "g2_", "b2_")}
    inputs = {"x": rng.integers(0, words, (batch, length)), "y": rng.integers(0, words, batch * length),
              "mask": np.triu(np.full((length, length), -1e30, np.float32), 1)}

    def ours(lg, x, p):
        def norm(h, g, b):
            c = h - h.mean(axis=-1, keepdims=True)
            return c / lg.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-5) * g + b

        def attention(q, k, v):
            s = q @ k.mT * (width // heads) ** -0.5 + x["mask"]
            e = lg.exp(s - s.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True) @ v

        def gelu(h):
            return 0.5 * h * (1 + lg.tanh(0.7978845608028654 * (h + 0.044715 * h * h * h)))
        h = blocks(p["tokens"][x["x"]] + p["places"], p, norm, attention, gelu, lambda t, *order: lg.permute_dims(t, order))
        return cross_entropy(lg, (h @ p["out"]).reshape((batch * length, words)), x["y"])

    def theirs(torch, x, p):
        f = torch.nn.functional
        h = blocks(p["tokens"][x["x"]] + p["places"], p, lambda h, g, b: f.layer_norm(h, (width,), g, b, 1e-5),
                   lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True), lambda h: f.gelu(h, approximate="tanh"),
                   lambda t, *order: t.permute(*order))
        return f.cross_entropy((h @ p["out"]).reshape(batch * length, words), x["y"])

    def blocks(h, p, norm, attention, gelu, permute):
        for k in range(layers):
            qkv = (norm(h, p[f"g1_{k}"], p[f"b1_{k}"]) @ p[f"qkv{k}"]).reshape((batch, length, 3, heads, width // heads))
            a = attention(*[permute(qkv[:, :, i], 0, 2, 1, 3) for i in range(3)])
            h = h + permute(a, 0, 2, 1, 3).reshape((batch, length, width)) @ p[f"proj{k}"]
            h = h + gelu(norm(h, p[f"g2_{k}"], p[f"b2_{k}"]) @ p[f"up{k}"]) @ p[f"down{k}"]
        return h
    title = f"GPT: {layers} layers, width {width}, {heads} heads, {batch}×{length} tokens, {words} words"
    return Model(title, inputs, params, ours, theirs)


def cross_entropy(lg: Any, logits: Any, labels: Any) -> Any:
    """The mean over the rows; `labels` are indices."""
    n = logits.shape[1]
    onehot = labels.reshape((-1, 1)) == lg.arange(n, dtype=labels.dtype)
    return (logits.logsumexp(axis=1) - lg.where(onehot, logits, 0).sum(axis=1)).mean()


# ---- steps -------------------------------------------------------------------------------------------------------------

def lazygrad_step(model: Model, device: Any) -> Step:
    import lazygrad as lg
    graph = lg.Graph(device=device)
    x = {k: graph.tensor(v.astype(np.int32) if v.dtype.kind == "i" else v, requires_grad=False) for k, v in model.inputs.items()}
    p = {k: graph.tensor(v) for k, v in model.params.items()}
    loss = model.ours(lg, x, p)
    kept = graph.tensor(np.float32(0), requires_grad=False)
    run = graph.compile([], [], updates=[(kept, loss), *((v, v - RATE * g) for v, g in zip(p.values(), loss.gradient(*p.values()), strict=True))])
    return Step(run, device.wait, kept.item)


def torch_step(model: Model, compiled: bool) -> Step:
    import torch
    x = {k: torch.from_numpy(v).cuda() for k, v in model.inputs.items()}
    p = {k: torch.from_numpy(v).cuda().requires_grad_() for k, v in model.params.items()}
    optimiser = torch.optim.SGD(p.values(), lr=RATE, fused=True)
    kept = [None]

    def forward():
        return model.theirs(torch, x, p)
    forward = torch.compile(forward) if compiled else forward

    def submit():
        optimiser.zero_grad(set_to_none=True)
        loss = kept[0] = forward()
        loss.backward()
        optimiser.step()
    return Step(submit, torch.cuda.synchronize, lambda: float(kept[0].detach()))
