"""The works: for each, the same mathematics in lazygrad and in every peer that is installed, in the peer's best form.

Each function returns candidates; a peer that is not installed is left out. Nothing is timed here.
"""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
from harness import THREADS, Candidate

import lazygrad as lg
from lazygrad import Graph

HAVE = {name for name in ("jax", "torch", "drjit", "casadi", "autograd", "pytensor") if importlib.util.find_spec(name)}


# ---- a scalar graph of 60 nodes --------------------------------------------------------------------------------------

def sixty(x, y, tanh):
    """15 times tanh((h*y + x) * 0.5): 60 operations."""
    h = x
    for _ in range(15):
        h = tanh((h * y + x) * 0.5)
    return h


def scalar60() -> list[Candidate]:
    """Value and both gradients of `sixty` at new arguments each call, float64 where the peer has it."""
    out = []
    graph = Graph()
    x, y = graph.tensor(np.float64(0.7)), graph.tensor(np.float64(0.4))
    z = sixty(x, y, lg.tanh)
    run = graph.compile([x, y], [z, *z.gradient(x, y)])
    out.append(Candidate("lazygrad graph.compile", lambda: run(0.7, 0.4), lambda: run(0.7, 0.4)))

    def rebuilt():
        w = sixty(x, y, lg.tanh)
        w.backward()
        return w

    def read():
        x.grad = y.grad = None
        w = rebuilt()
        return w.item(), x.grad.item(), y.grad.item()
    out.append(Candidate("lazygrad built anew each call", rebuilt, read))
    if "casadi" in HAVE:
        import casadi as ca
        a, b = ca.SX.sym("a"), ca.SX.sym("b")
        w = sixty(a, b, ca.tanh)
        f = ca.Function("f", [a, b], [w, ca.gradient(w, a), ca.gradient(w, b)])
        buffer, trigger = f.buffer()
        cells = [np.array([0.7]), np.array([0.4])], [np.zeros(1) for _ in range(3)]
        for k, c in enumerate(cells[0]):
            buffer.set_arg(k, memoryview(c))
        for k, c in enumerate(cells[1]):
            buffer.set_res(k, memoryview(c))

        def casadi_prepared(keep=(f, buffer)):                     # the trigger does not keep them alive itself
            cells[0][0][0], cells[0][1][0] = 0.7, 0.4
            trigger()
        out.append(Candidate("CasADi prepared buffer", casadi_prepared, lambda: (casadi_prepared(), [c[0] for c in cells[1]])[1]))
        out.append(Candidate("CasADi call", lambda: f(0.7, 0.4), lambda: [float(v) for v in f(0.7, 0.4)]))
    if "pytensor" in HAVE:
        import pytensor
        import pytensor.tensor as pt
        a, b = pt.dscalar(), pt.dscalar()
        w = sixty(a, b, pt.tanh)
        g = pytensor.function([a, b], [w, *pytensor.grad(w, [a, b])], mode=pytensor.compile.mode.Mode(linker="cvm", optimizer="fast_run"))
        g.trust_input = True
        pa, pb = np.asarray(0.7), np.asarray(0.4)
        out.append(Candidate("PyTensor C", lambda: g(pa, pb), lambda: g(pa, pb)))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        j = jax.jit(jax.value_and_grad(lambda a, b: sixty(a, b, jnp.tanh), (0, 1)))
        ja, jb = jnp.float32(0.7), jnp.float32(0.4)
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(ja, jb)), lambda: (lambda v, g: (v, *g))(*j(ja, jb))))
    if "torch" in HAVE:
        import torch
        torch.set_num_threads(THREADS)
        ta, tb = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.4))

        def eager():
            w = sixty(ta, tb, torch.tanh)
            return (w, *torch.autograd.grad(w, (ta, tb)))
        out.append(Candidate("torch eager", eager, eager))
        compiled = torch.compile(lambda a, b: sixty(a, b, torch.tanh))

        def fast():
            w = compiled(ta, tb)
            return (w, *torch.autograd.grad(w, (ta, tb)))
        out.append(Candidate("torch.compile", fast, fast))
    if "drjit" in HAVE:
        import drjit as dr
        from drjit.llvm.ad import Float64 as F

        @dr.freeze
        def frozen(a, b):
            dr.enable_grad(a, b)
            w = sixty(a, b, dr.tanh)
            dr.backward(w)
            return dr.detach(w), dr.grad(a), dr.grad(b)

        def drjit_call():
            r = frozen(F(0.7), F(0.4))
            dr.eval(r)
            dr.sync_thread()
            return r
        out.append(Candidate("Dr.Jit frozen", drjit_call, lambda: [v[0] for v in drjit_call()]))
    if "autograd" in HAVE:
        import autograd
        import autograd.numpy as anp
        ag = autograd.value_and_grad(lambda v: sixty(v[0], v[1], anp.tanh))
        out.append(Candidate("HIPS autograd", lambda: ag((0.7, 0.4)), lambda: (lambda v, g: (v, *g))(*ag((0.7, 0.4)))))
    return out


# ---- (x + y) * x on two numbers --------------------------------------------------------------------------------------

def tiny() -> list[Candidate]:
    """Forward and backward of (x + y) * x on 2-vectors."""
    out = []
    graph = Graph()
    x, y = graph.tensor([1.0, 2.0]), graph.tensor([3.0, 4.0])
    z = (x + y) * x

    def warm():
        z.forward()
        z.backward()

    def anew():
        w = (x + y) * x
        w.forward()
        w.backward()

    def read(call):
        def check():
            x.grad = y.grad = None
            call()
            return *x.grad.value, *y.grad.value
        return check
    out.append(Candidate("lazygrad warm", warm, read(warm)))
    out.append(Candidate("lazygrad built anew", anew, read(anew)))
    if "casadi" in HAVE:
        import casadi as ca
        a, b = ca.SX.sym("a", 2), ca.SX.sym("b", 2)
        w = (a + b) * a
        f = ca.Function("f", [a, b], [w, ca.jtimes(w, a, ca.DM([1, 1]), True), ca.jtimes(w, b, ca.DM([1, 1]), True)])
        buffer, trigger = f.buffer()
        cells = [np.array([1.0, 2.0]), np.array([3.0, 4.0])], [np.zeros(2) for _ in range(3)]
        for k, c in enumerate(cells[0]):
            buffer.set_arg(k, memoryview(c))
        for k, c in enumerate(cells[1]):
            buffer.set_res(k, memoryview(c))
        out.append(Candidate("CasADi prepared buffer", lambda keep=(f, buffer): trigger(),      # which it does not keep alive itself
                             lambda: (trigger(), [*cells[1][1], *cells[1][2]])[1]))
    if "pytensor" in HAVE:
        import pytensor
        import pytensor.tensor as pt
        a, b = pt.fvector(), pt.fvector()
        w = (a + b) * a
        g = pytensor.function([a, b], [w, *pytensor.grad(w.sum(), [a, b])], mode=pytensor.compile.mode.Mode(linker="cvm", optimizer="fast_run"))
        g.trust_input = True
        pa, pb = np.float32([1, 2]), np.float32([3, 4])
        out.append(Candidate("PyTensor C", lambda: g(pa, pb), lambda: [*g(pa, pb)[1], *g(pa, pb)[2]]))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        @jax.jit
        def j(a, b):
            w, back = jax.vjp(lambda a, b: (a + b) * a, a, b)
            return w, back(jnp.ones(2))
        ja, jb = jnp.float32([1, 2]), jnp.float32([3, 4])
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(ja, jb)), lambda: [*j(ja, jb)[1][0], *j(ja, jb)[1][1]]))
    if "torch" in HAVE:
        import torch
        ta, tb = (torch.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
        one = torch.ones(2)

        def eager():
            return torch.autograd.grad((ta + tb) * ta, (ta, tb), one)
        out.append(Candidate("torch eager", eager, lambda: [v for g in eager() for v in g]))
    return out


# ---- an elementwise chain --------------------------------------------------------------------------------------------

def chain(n: int) -> list[Candidate]:
    """z = tanh(x) * exp(-y*y) + log1p(x*x), dz/dx and dz/dy, float32, n elements."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=n).astype(np.float32), rng.normal(size=n).astype(np.float32)
    out = []
    graph = Graph()
    x, y = graph.tensor(a), graph.tensor(b)
    z = x.tanh() * lg.exp(-y * y) + lg.log1p(x * x)

    def ours():
        x.grad = y.grad = None
        z.backward()

    def project(*arrays):
        return [float(np.asarray(v)[: 1 << 16].astype(np.float64).sum()) for v in arrays]

    def read():
        ours()
        return project(z.value, x.grad.value, y.grad.value)
    out.append(Candidate("lazygrad", ours, read))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp

        @jax.jit
        def j(a, b):
            w, back = jax.vjp(lambda a, b: jnp.tanh(a) * jnp.exp(-b * b) + jnp.log1p(a * a), a, b)
            return (w, *back(jnp.ones_like(w)))
        ja, jb = jnp.asarray(a), jnp.asarray(b)
        out.append(Candidate("jax.jit", lambda: jax.block_until_ready(j(ja, jb)), lambda: project(*j(ja, jb))))
    if "torch" in HAVE:
        import torch
        ta, tb = (torch.from_numpy(v).requires_grad_() for v in (a, b))
        one = torch.ones(n)

        def function(a, b):
            return torch.tanh(a) * torch.exp(-b * b) + torch.log1p(a * a)
        compiled = torch.compile(function, dynamic=False)

        def run(f):
            w = f(ta, tb)
            return (w.detach(), *torch.autograd.grad(w, (ta, tb), one))
        out.append(Candidate("torch eager", lambda: run(function), lambda: project(*run(function))))
        out.append(Candidate("torch.compile", lambda: run(compiled), lambda: project(*run(compiled))))
    if "drjit" in HAVE:
        import drjit as dr
        from drjit.llvm.ad import Float32 as F
        da, db = F(a), F(b)

        @dr.freeze
        def frozen(a, b):
            dr.enable_grad(a, b)
            w = dr.tanh(a) * dr.exp(-b * b) + dr.log(1 + a * a)      # no log1p there
            dr.backward(w)
            return dr.detach(w), dr.grad(a), dr.grad(b)

        def drjit_call():
            r = frozen(da, db)
            dr.eval(r)
            dr.sync_thread()
            return r
        out.append(Candidate("Dr.Jit frozen", drjit_call, lambda: project(*[v.numpy() for v in drjit_call()])))
    if "autograd" in HAVE and n <= 100_000:
        import autograd
        import autograd.numpy as anp

        def ag():
            back, w = autograd.make_vjp(lambda v: anp.tanh(v[0]) * anp.exp(-v[1] * v[1]) + anp.log1p(v[0] * v[0]))((a, b))
            return (w, *back(np.ones_like(w)))
        out.append(Candidate("HIPS autograd", ag, lambda: project(*ag())))
    return out


# ---- a multi-layer perceptron ----------------------------------------------------------------------------------------

def mlp() -> list[Candidate]:
    """784-512-512-10, batch 128, relu, cross-entropy, SGD: one train step."""
    rng = np.random.default_rng(0)
    sizes = (784, 512, 512, 10)
    weights = [(rng.normal(size=(m, n)) * (2 / m) ** 0.5).astype(np.float32) for m, n in itertools.pairwise(sizes)]
    biases = [np.zeros(n, np.float32) for n in sizes[1:]]
    a = rng.normal(size=(128, 784)).astype(np.float32)
    labels = rng.integers(0, 10, 128)
    onehot = np.eye(10, dtype=np.float32)[labels]
    rate = 1e-3
    out = []

    def make():
        graph = Graph()
        params = [graph.tensor(v) for pair in zip(weights, biases, strict=True) for v in pair]
        x, t = graph.tensor(a, requires_grad=False), graph.tensor(onehot, requires_grad=False)

        def model():
            h = x
            for k in range(3):
                h = h @ params[2 * k] + params[2 * k + 1]
                if k < 2:
                    h = h.relu()
            return (h.logsumexp(axis=1) - (h * t).sum(axis=1)).mean()
        return graph, params, model
    graph, params, model = make()
    loss = model()
    grads = loss.gradient(*params)
    step = graph.compile([], [loss], updates=[(p, p - rate * g) for p, g in zip(params, grads, strict=True)])
    out.append(Candidate("lazygrad graph.compile", step, lambda: [step() for _ in range(3)]))
    _, params2, model2 = make()

    def by_run():
        w = model2()
        w.backward()
        for p in params2:
            p.set(p - rate * p.grad)
            p.grad = None
        return w
    out.append(Candidate("lazygrad built anew", by_run, lambda: [_before(model2, by_run) for _ in range(3)]))

    def objective(params, x, t):
        h = x
        for k in range(3):
            h = h @ params[2 * k] + params[2 * k + 1]
            if k < 2:
                h = lg.relu(h)
        return (lg.logsumexp(h, axis=1) - (h * t).sum(axis=1)).mean()

    @lg.compile
    def update(params, x, t):
        value, grads = lg.value_and_grad(objective)(params, x, t)
        return [p - rate * g for p, g in zip(params, grads, strict=True)], value
    held = [lg.asarray(v) for pair in zip(weights, biases, strict=True) for v in pair]
    ax, at = lg.asarray(a), lg.asarray(onehot)

    def by_compile():
        nonlocal held
        held, value = update(held, ax, at)
        return value
    out.append(Candidate("lazygrad lg.compile", by_compile, lambda: [by_compile().item() for _ in range(3)]))
    if "torch" in HAVE:
        import torch

        def torch_step(compiled):
            tp = [torch.tensor(v, requires_grad=True) for pair in zip(weights, biases, strict=True) for v in pair]
            ta, tl = torch.from_numpy(a), torch.from_numpy(labels)
            optimiser = torch.optim.SGD(tp, lr=rate, fused=True)

            def forward():
                h = ta
                for k in range(3):
                    h = torch.addmm(tp[2 * k + 1], h, tp[2 * k])
                    if k < 2:
                        h = torch.relu(h)
                return torch.nn.functional.cross_entropy(h, tl)
            f = torch.compile(forward) if compiled else forward

            def step():
                optimiser.zero_grad(set_to_none=True)
                w = f()
                w.backward()
                optimiser.step()
                return w
            return step
        for name, compiled in (("torch eager, fused SGD", False), ("torch.compile, fused SGD", True)):
            s = torch_step(compiled)
            out.append(Candidate(name, s, lambda s=s: [float(s().detach()) for _ in range(3)]))
    if "jax" in HAVE:
        import jax
        import jax.numpy as jnp
        jx, jt = jnp.asarray(a), jnp.asarray(onehot)

        def jloss(params):
            h = jx
            for k, (w, b) in enumerate(params):
                h = h @ w + b
                if k < 2:
                    h = jax.nn.relu(h)
            return (jax.nn.logsumexp(h, axis=1) - (h * jt).sum(axis=1)).mean()

        def jstep(params):
            w, g = jax.value_and_grad(jloss)(params)
            return w, jax.tree.map(lambda p, g: p - rate * g, params, g)
        jitted = jax.jit(jstep, donate_argnums=0)
        state = [[(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True)]]

        def jcall():
            w, state[0] = jitted(state[0])
            jax.block_until_ready(state[0])
            return w
        out.append(Candidate("jax.jit donated", jcall, lambda: [float(jcall()) for _ in range(3)]))
    return out


def _before(model, step) -> float:
    value = model().item()
    step()
    return value
