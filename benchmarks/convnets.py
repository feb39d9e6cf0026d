"""Convolutional networks, in lazygrad and in every peer that is installed, the peers in both layouts of images: a train step, and residual blocks."""

from __future__ import annotations

import numpy as np
from harness import THREADS, Candidate
from works import HAVE

import lazygrad as lg
from lazygrad import Graph

# ---- a small network ------------------------------------------------------------------------------------------------------------

SHAPES = ((6, 1, 5, 5), (16, 6, 5, 5), (400, 120), (120, 84), (84, 10))


def lenet(n: int = 64) -> list[Candidate]:
    """LeNet-like, n images of 28 × 28: two convolutions with relu and maxima, three products, cross-entropy, SGD: one train step."""
    rng = np.random.default_rng(0)
    weights = []
    for shape in SHAPES:
        inputs = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        out = shape[1] if len(shape) == 2 else shape[0]
        weights += [(rng.normal(size=shape) * (2 / inputs) ** 0.5).astype(np.float32), np.zeros(out, np.float32)]
    images, labels = rng.normal(size=(n, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, n)
    rate, out = 1e-2, []

    graph = Graph()
    params = [graph.tensor(v) for v in weights]
    x, t = graph.tensor(images, requires_grad=False), graph.tensor(labels, requires_grad=False)
    h = lg.nn.max_pool(lg.relu(lg.nn.conv(x, *params[:2], padding=2)), 2)
    h = lg.nn.max_pool(lg.relu(lg.nn.conv(h, *params[2:4])), 2).reshape(n, 400)
    for k in (4, 6, 8):
        h = h @ params[k] + params[k + 1]
        h = lg.relu(h) if k < 8 else h
    loss = lg.nn.cross_entropy(h, t)
    step = graph.compile([], [loss], updates=[(p, p - rate * g) for p, g in zip(params, loss.gradient(*params), strict=True)])
    out.append(Candidate("lazygrad", step, lambda: [step() for _ in range(3)]))
    if "torch" in HAVE:
        out += _torch_lenet(weights, images, labels, rate)
    if "jax" in HAVE:
        out.append(_jax_lenet(weights, images, labels, rate))
    return out


def _torch_lenet(weights, images, labels, rate) -> list[Candidate]:
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(THREADS)

    def make(layout, compiled):
        ps = [torch.tensor(v) for v in weights]
        ps = [(p.to(memory_format=layout) if p.ndim == 4 else p).requires_grad_() for p in ps]
        x, t = torch.from_numpy(images).to(memory_format=layout), torch.from_numpy(labels)
        optimiser = torch.optim.SGD(ps, lr=rate, fused=True)

        def forward():
            h = F.max_pool2d(F.relu(F.conv2d(x, ps[0], ps[1], padding=2)), 2)
            h = F.max_pool2d(F.relu(F.conv2d(h, ps[2], ps[3])), 2).reshape(len(images), 400)
            for k in (4, 6, 8):
                h = torch.addmm(ps[k + 1], h, ps[k])
                h = torch.relu(h) if k < 8 else h
            return F.cross_entropy(h, t)
        f = torch.compile(forward) if compiled else forward

        def step():
            optimiser.zero_grad(set_to_none=True)
            loss = f()
            loss.backward()
            optimiser.step()
            return loss
        return step
    found = []
    for name, layout in (("", torch.contiguous_format), (", channels last", torch.channels_last)):
        for kind, compiled in (("eager", False), ("compile", True)):
            s = make(layout, compiled)
            found.append(Candidate(f"torch {kind}{name}", s, lambda s=s: [float(s().detach()) for _ in range(3)]))
    return found


def _jax_lenet(weights, images, labels, rate) -> Candidate:
    import jax
    import jax.numpy as jnp
    x, t = jnp.asarray(images), jnp.asarray(labels)

    def pool(h):
        return jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def conv(h, w, b, p):
        return jax.lax.conv_general_dilated(h, w, (1, 1), [(p, p)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")) + b[:, None, None]

    def objective(ps):
        h = pool(jax.nn.relu(conv(x, ps[0], ps[1], 2)))
        h = pool(jax.nn.relu(conv(h, ps[2], ps[3], 0))).reshape(len(images), 400)
        for k in (4, 6, 8):
            h = h @ ps[k] + ps[k + 1]
            h = jax.nn.relu(h) if k < 8 else h
        return -jnp.take_along_axis(jax.nn.log_softmax(h), t[:, None], 1).mean()

    def update(ps):
        value, g = jax.value_and_grad(objective)(ps)
        return value, jax.tree.map(lambda p, d: p - rate * d, ps, g)
    jitted, state = jax.jit(update, donate_argnums=0), [[jnp.asarray(w) for w in weights]]

    def step():
        value, state[0] = jitted(state[0])
        jax.block_until_ready(state[0])
        return value
    return Candidate("jax.jit donated", step, lambda: [float(step()) for _ in range(3)])


# ---- residual blocks ----------------------------------------------------------------------------------------------------------------

def residual(c: int, size: int, n: int = 16) -> list[Candidate]:
    """relu(x + conv(relu(conv(x)))), 3 × 3, c channels of size × size, and the gradients by x, both weights and biases for a given cotangent."""
    rng = np.random.default_rng(0)
    x, ct = [rng.normal(size=(n, c, size, size)).astype(np.float32) for _ in range(2)]
    weights = [(rng.normal(size=(c, c, 3, 3)) * (2 / (9 * c)) ** 0.5).astype(np.float32) for _ in range(2)]
    biases = [(0.1 * rng.normal(size=c)).astype(np.float32) for _ in range(2)]
    given = [x, weights[0], biases[0], weights[1], biases[1]]
    out = []
    graph = Graph()
    leaves, cotangent = [graph.tensor(v) for v in given], graph.tensor(ct, requires_grad=False)
    a, w, b, v, d = leaves
    y = lg.relu(a + lg.nn.conv(lg.relu(lg.nn.conv(a, w, b, padding=1)), v, d, padding=1))
    run = graph.compile([], [y, *y.gradient(*leaves, ct=cotangent)])
    out.append(Candidate("lazygrad", run, lambda: _project(run())))
    if "torch" in HAVE:
        import torch
        import torch.nn.functional as F
        torch.set_num_threads(THREADS)

        def block(a, w, b, v, d):
            return F.relu(a + F.conv2d(F.relu(F.conv2d(a, w, b, padding=1)), v, d, padding=1))
        for name, layout in (("", torch.contiguous_format), (", channels last", torch.channels_last)):
            ts = [torch.from_numpy(u) for u in given]
            ts = [(u.to(memory_format=layout) if u.ndim == 4 else u).requires_grad_() for u in ts]
            tc = torch.from_numpy(ct).to(memory_format=layout)
            for kind, f in (("eager", block), ("compile", torch.compile(block))):
                def call(f=f, ts=ts, tc=tc):
                    y = f(*ts)
                    return (y.detach(), *torch.autograd.grad(y, ts, tc))
                out.append(Candidate(f"torch {kind}{name}", call, lambda call=call: _project([u.contiguous().numpy() for u in call()])))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        def conv(h, w, b):
            return jax.lax.conv_general_dilated(h, w, (1, 1), [(1, 1)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")) + b[:, None, None]

        @jax.jit
        def j(given, ct):
            y, back = jax.vjp(lambda a, w, b, v, d: jax.nn.relu(a + conv(jax.nn.relu(conv(a, w, b)), v, d)), *given)
            return (y, *back(ct))
        held, jct = [jnp.asarray(u) for u in given], jnp.asarray(ct)
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(held, jct)), lambda: _project(j(held, jct))))
    return out


def _project(arrays) -> list[float]:
    """A few numbers that stand for all arrays: means of every 997th element."""
    return [float(np.asarray(v).ravel()[::997].astype(np.float64).mean()) for v in arrays]
