"""Loops: 1000 Runge-Kutta steps of a predator and its prey, batch 64, with gradients by four parameters; a recurrent network.

Each function returns candidates, peers in their best form; one that is not installed is left out.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from harness import Candidate

import lazygrad as lg
from lazygrad import Graph

HAVE = {name for name in ("jax", "drjit", "torch") if importlib.util.find_spec(name)}
STEPS, BATCH, DT = 1000, 64, 0.01
PARAMETERS = (1.5, 1.0, 3.0, 1.0)


def slope(p, x, y):
    """dx/dt = a x - b x y, dy/dt = d x y - c y (Lotka, Volterra)."""
    a, b, c, d = p
    return a * x - b * x * y, d * x * y - c * y


def runge_kutta(p, x, y, h=DT):
    """One step of the classical method."""
    u = slope(p, x, y)
    v = slope(p, x + h / 2 * u[0], y + h / 2 * u[1])
    w = slope(p, x + h / 2 * v[0], y + h / 2 * v[1])
    z = slope(p, x + h * w[0], y + h * w[1])
    return tuple(s + h / 6 * (i + 2 * j + 2 * k + m) for s, i, j, k, m in zip((x, y), u, v, w, z, strict=True))


def starts() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.uniform(1, 3, size=BATCH).astype(np.float32) for _ in range(2))


def rk4(gradient: bool) -> list[Candidate]:
    """The sum of squares of the states after 1000 steps, float32; with `gradient`, its gradient by the four parameters."""
    x0, y0 = starts()
    out = []
    graph = Graph()
    x, y = graph.tensor(x0), graph.tensor(y0)
    p = [graph.tensor(np.float32(v)) for v in PARAMETERS]
    (xe, ye), _ = lg.scan(lambda c, _: (runge_kutta(p, *c), None), (x, y), length=STEPS)
    z = (xe * xe + ye * ye).sum()
    run = graph.compile([x, y, *p], [z, *z.gradient(*p)] if gradient else [z])
    values = [np.float32(v) for v in PARAMETERS]
    out.append(Candidate("lazygrad", lambda: run(x0, y0, *values), lambda: [float(v) for v in _several(run(x0, y0, *values))]))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        def loss(p, x, y):
            (x, y), _ = jax.lax.scan(lambda c, _: (runge_kutta(p, *c), None), (x, y), None, length=STEPS)
            return jnp.sum(x * x + y * y)
        jp, jx, jy = [jnp.float32(v) for v in PARAMETERS], jnp.asarray(x0), jnp.asarray(y0)
        forms = {"jax.jit": jax.jit(jax.value_and_grad(loss) if gradient else loss)}
        if gradient:
            def pushed(p, x, y):                                     # few inputs: forward mode
                basis = jnp.eye(4, dtype=jnp.float32)
                value, slopes = jax.vmap(lambda t: jax.jvp(lambda *q: loss(q, x, y), tuple(p), tuple(t)))(basis)
                return value[0], list(slopes)
            forms["jax.jit, forward mode"] = jax.jit(pushed)
        for name, f in forms.items():
            out.append(Candidate(name, lambda f=f: jax.block_until_ready(f(jp, jx, jy)),
                                 lambda f=f: (lambda r: [float(v) for v in ((r[0], *r[1]) if gradient else (r,))])(f(jp, jx, jy))))
    if "drjit" in HAVE:
        out += _drjit(gradient, x0, y0)
    return out


def _several(found):
    return found if isinstance(found, tuple) else (found,)


def _drjit(gradient: bool, x0: np.ndarray, y0: np.ndarray) -> list[Candidate]:
    """A recorded loop; its gradient in forward mode, four tangents in turn (its reverse mode keeps no states of a loop)."""
    try:
        import drjit as dr
        from drjit.llvm.ad import Float, UInt
        Float(1.0) + Float(2.0)
        dx, dy = Float(x0), Float(y0)

        def ends(p):
            i, x, y = UInt(0), Float(dx), Float(dy)
            i, x, y = dr.while_loop((i, x, y), lambda i, x, y: i < STEPS, lambda i, x, y: (i + 1, *runge_kutta(p, x, y)))
            return dr.sum(x * x + y * y)

        def value():
            r = ends([Float(v) for v in PARAMETERS])
            dr.eval(r)
            dr.sync_thread()
            return r

        def gradients():
            found = []
            for k in range(4):
                p = [Float(v) for v in PARAMETERS]
                dr.enable_grad(p[k])
                z = ends(p)
                dr.forward(p[k])
                found.append(dr.grad(z))
            dr.eval(z, *found)
            dr.sync_thread()
            return [z, *found]
        f = gradients if gradient else lambda: [value()]
        f()
    except Exception as error:                                       # no LLVM library for it here
        print(f"Dr.Jit is left out: {error}")
        return []
    return [Candidate("Dr.Jit" + (", forward mode" if gradient else ""), f, lambda: [float(v.numpy()[0]) for v in f()])]


def recurrent() -> list[Candidate]:
    """h' = tanh(h W + b + x), 200 steps of (32, 64): the sum of all squares and its gradients by W, b and the first h."""
    rng = np.random.default_rng(0)
    w0, b0, h0, xs = (rng.normal(size=s).astype(np.float32) for s in ((64, 64), (64,), (32, 64), (200, 32, 64)))
    w0 /= 8
    graph = Graph()
    w, b, h, x = (graph.tensor(v) for v in (w0, b0, h0, xs))

    def step(h, x):
        h = lg.tanh(h @ w + b + x)
        return h, h
    _, hs = lg.scan(step, h, x)
    z = (hs * hs).sum()
    run = graph.compile([w, b, h, x], [z, *z.gradient(w, b, h)])

    def project(z, *grads):
        return [float(z), *[float(np.asarray(g).astype(np.float64).ravel()[:64].sum()) for g in grads]]
    out = [Candidate("lazygrad", lambda: run(w0, b0, h0, xs), lambda: project(*run(w0, b0, h0, xs)))]
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        def loss(w, b, h):
            def step(h, x):
                h = jnp.tanh(h @ w + b + x)
                return h, h
            _, hs = jax.lax.scan(step, h, jnp.asarray(xs))
            return jnp.sum(hs * hs)
        f = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
        given = [jnp.asarray(v) for v in (w0, b0, h0)]
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(f(*given)), lambda: (lambda r: project(r[0], *r[1]))(f(*given))))
    if "torch" in HAVE:
        import torch
        tw, tb, th = (torch.from_numpy(v).requires_grad_() for v in (w0, b0, h0))
        tx = torch.from_numpy(xs)

        def eager():
            h, total = th, 0.0
            for k in range(len(tx)):
                h = torch.tanh(h @ tw + tb + tx[k])
                total = total + (h * h).sum()
            return (total.detach(), *torch.autograd.grad(total, (tw, tb, th)))
        out.append(Candidate("torch eager", eager, lambda: project(*eager())))
    return out
