"""The main job: a classifier of scikit-learn's handwritten digits, trained through the graph API.

`lazygrad demo` trains it twice, define-and-run (one prepared plan) and define-by-run (the graph written anew each step), checks
the gradients against finite differences, and writes the loss curves and some predictions as PNG.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from .errors import DeviceError
from .graph import Graph
from .tensor import Tensor

SIZES = (64, 128, 64, 10)          # pixels, two hidden layers, classes
BATCH, EPOCHS, SEED = 96, 40, 0
RATE, MOMENTUM = 0.08, 0.9


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images (n, 64) in [0, 1] and labels (n,): 1437 and 360 of the 1797, shuffled once."""
    from sklearn.datasets import load_digits
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    images, labels = (data.data[order] / 16).astype(np.float32), data.target[order]
    return images[360:], labels[360:], images[:360], labels[:360]


def parameters(graph: Graph, dtype=np.float32) -> list[Tensor]:
    """He-initialised weights and zero biases, layer by layer."""
    rng = np.random.default_rng(SEED)
    out = []
    for k, (m, n) in enumerate(itertools.pairwise(SIZES)):
        out.append(graph.tensor((rng.normal(size=(m, n)) * (2 / m) ** 0.5).astype(dtype), name=f"W{k}"))
        out.append(graph.tensor(np.zeros(n, dtype), name=f"b{k}"))
    return out


def logits(x: Tensor, params: list[Tensor]) -> Tensor:
    """The network: (batch, 64) -> (batch, 10)."""
    layers = len(params) // 2
    for k in range(layers):
        x = x @ params[2 * k] + params[2 * k + 1]
        if k < layers - 1:
            x = x.relu()
    return x


def cross_entropy(scores: Tensor, onehot: Tensor) -> Tensor:
    """Mean negative log-likelihood of the labels: logsumexp(scores) - scores[label]."""
    return (scores.logsumexp(axis=1) - (scores * onehot).sum(axis=1)).mean()


def batches(images: np.ndarray, onehot: np.ndarray, epoch: int):
    """Shuffled batches of one epoch, all of the same size."""
    order = np.random.default_rng(epoch).permutation(len(images))
    for i in range(0, len(order) - BATCH + 1, BATCH):
        rows = order[i:i + BATCH]
        yield images[rows], onehot[rows]


def define_and_run(images: np.ndarray, onehot: np.ndarray, device: str, progress) -> tuple[list[Tensor], list[float]]:
    """The graph is written once; one prepared plan runs forward, backward and the update of every parameter."""
    graph = Graph(device=device)
    params = parameters(graph)
    speed = [graph.tensor(np.zeros(p.shape, np.float32), requires_grad=False) for p in params]
    x = graph.tensor(images[:BATCH], requires_grad=False, name="x")
    t = graph.tensor(onehot[:BATCH], requires_grad=False, name="t")
    loss = cross_entropy(logits(x, params), t)
    moved = [MOMENTUM * v + g for v, g in zip(speed, loss.gradient(*params), strict=True)]
    updates = [*zip(speed, moved, strict=True), *((p, p - RATE * v) for p, v in zip(params, moved, strict=True))]
    step = graph.compile([x, t], [loss], updates=updates)
    losses = []
    for epoch in range(EPOCHS):
        for batch in batches(images, onehot, epoch):
            losses.append(step(*batch))
            progress()
    return params, losses


def define_by_run(images: np.ndarray, onehot: np.ndarray, device: str, progress) -> tuple[list[Tensor], list[float]]:
    """The expression is written anew each step, as in PyTorch: the same compiled plan is found each time."""
    graph = Graph(device=device)
    params = parameters(graph)
    speed = [graph.tensor(np.zeros(p.shape, np.float32), requires_grad=False) for p in params]
    losses = []
    for epoch in range(EPOCHS):
        for a, b in batches(images, onehot, epoch):
            x, t = graph.tensor(a, requires_grad=False), graph.tensor(b, requires_grad=False)
            loss = cross_entropy(logits(x, params), t)
            loss.backward()
            losses.append(loss.item())                 # before the parameters move: a value is never stale
            for p, v in zip(params, speed, strict=True):
                v.set(MOMENTUM * v + p.grad)
                p.set(p - RATE * v)
                p.grad = None
            progress()
    return params, losses


def gradient_error(images: np.ndarray, onehot: np.ndarray) -> float:
    """The largest relative difference between the gradient and central differences, float64, 20 random directions."""
    graph = Graph()
    params = parameters(graph, np.float64)
    x, t = graph.tensor(images[:32].astype(float), requires_grad=False), graph.tensor(onehot[:32].astype(float), requires_grad=False)
    loss = cross_entropy(logits(x, params), t)
    loss.backward()
    rng = np.random.default_rng(1)
    worst, h = 0.0, 1e-6
    for _ in range(20):
        base = [p.value for p in params]
        away = [rng.normal(size=p.shape) for p in params]
        exact = sum(float((p.grad.value * d).sum()) for p, d in zip(params, away, strict=True))
        ends = []
        for sign in (1, -1):
            for p, b, d in zip(params, base, away, strict=True):
                p.set(b + sign * h * d)
            ends.append(loss.item())
        for p, b in zip(params, base, strict=True):
            p.set(b)
        worst = max(worst, abs((ends[0] - ends[1]) / (2 * h) - exact) / max(1.0, abs(exact)))
    return worst


def pictures(out: Path, curves: dict[str, list[float]], images: np.ndarray, labels: np.ndarray, guesses: np.ndarray) -> list[Path]:
    """Writes the loss curves and the first 32 test images with their predictions; returns the paths."""
    from matplotlib.figure import Figure
    out.mkdir(parents=True, exist_ok=True)
    loss = Figure(figsize=(6, 4), layout="constrained")
    axes = loss.subplots()
    for name, values in curves.items():
        smooth = np.convolve(values, np.ones(15) / 15, "valid")
        axes.semilogy(smooth, label=name, alpha=0.8, linestyle="--" if name == "define-by-run" else "-")
    axes.set(xlabel="step", ylabel="cross-entropy (mean of 15 steps)", title="Training loss on the digits")
    axes.legend()
    grid = Figure(figsize=(8, 4.6), layout="constrained")
    for k, cell in enumerate(grid.subplots(4, 8).flat):
        cell.imshow(images[k].reshape(8, 8), cmap="gray_r")
        cell.set_title(f"{guesses[k]}", color="green" if guesses[k] == labels[k] else "red", fontsize=10)
        cell.axis("off")
    grid.suptitle("Test images and predictions (red: wrong)")
    paths = [out / "loss.png", out / "predictions.png"]
    loss.savefig(paths[0], dpi=120)
    grid.savefig(paths[1], dpi=120)
    return paths


def main(argv: list[str] | None = None) -> float:
    """Runs the job and returns the lower of the two test accuracies."""
    parser = argparse.ArgumentParser(prog="lazygrad demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the pictures (default: out)")
    parser.add_argument("--device", default="cpu", help="where to train: cpu, gpu, gpu:1 (default: cpu)")
    options = parser.parse_args(argv)
    try:
        from rich.progress import Progress
        images, labels, test_images, test_labels = digits()
    except ImportError as missing:
        raise SystemExit(f"the demo needs scikit-learn, matplotlib and rich: pip install 'lazygrad[demo]' ({missing})") from None
    try:
        Graph(device=options.device)
    except DeviceError as missing:
        raise SystemExit(str(missing)) from None
    onehot = np.eye(10, dtype=np.float32)[labels]
    steps = EPOCHS * (len(images) // BATCH)
    curves, accuracy = {}, {}
    guesses = None
    for name, train in (("define-and-run", define_and_run), ("define-by-run", define_by_run)):
        with Progress() as bar:
            task = bar.add_task(f"{name:>15}", total=steps)
            times = [time.perf_counter()]

            def advance(bar=bar, task=task, times=times):
                times.append(time.perf_counter())
                bar.advance(task)
            params, losses = train(images, onehot, options.device, advance)
        took = np.diff(times)
        x = params[0].graph.tensor(test_images, requires_grad=False)
        guesses = logits(x, params).argmax(axis=1).value
        curves[name], accuracy[name] = losses, float((guesses == test_labels).mean())
        print(f"{name:>15}: {steps} steps of {BATCH} images in {took.sum():.2f} s, the progress bar included; median step "
              f"{np.median(took) * 1e6:.0f} µs, slowest {took.max() * 1e3:.0f} ms (it compiles); "
              f"loss {losses[-1]:.4f}; test accuracy {accuracy[name]:.2%}")
    print(f"gradients against central differences: largest relative error {gradient_error(images, onehot):.1e}")
    for path in pictures(options.out, curves, test_images, test_labels, guesses):
        print(f"wrote {path}")
    return min(accuracy.values())
