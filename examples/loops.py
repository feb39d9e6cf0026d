"""Control flow in the graph: a recurrent network by scan, Newton's method by while_loop, a branch, a whole train step by compile.

>>> main()
cube root by Newton: 3.0, its derivative 0.037037 (1 / 27 = 0.037037)
the same for three numbers at once: [1.0, 2.0, 3.0]
recurrent network: loss fell: True, traced 1 times
steps until below 1: [7, 17] and the branch not taken stays silent: 0.0
"""

import numpy as np

import lazygrad as lg


def cube_root(a):
    """The number of steps depends on the number; it differentiates all the same, in both modes."""
    return lg.while_loop(lambda x: lg.abs(x ** 3 - a) > 1e-12 * a, lambda x: x - (x ** 3 - a) / (3 * x ** 2), a)


def halvings(x):
    return lg.while_loop(lambda s: s[0] >= 1, lambda s: (s[0] / 2, s[1] + 1), (x, 0))[1]


def last_state(p, xs):
    """h = tanh(x w + h u) over the first axis of xs: one native loop, and one more for its gradient."""
    def cell(h, x):
        h = lg.tanh(x @ p["w"] + h @ p["u"])
        return h, None
    return lg.scan(cell, np.zeros((xs.shape[1], 8)), xs)[0]


def main():
    print(f"cube root by Newton: {cube_root(lg.asarray(np.float64(27.0))).item():.1f}, its derivative {lg.grad(cube_root)(np.float64(27.0)).item():.6f} (1 / 27 = {1 / 27:.6f})")
    print(f"the same for three numbers at once: {lg.vmap(cube_root)(np.array([1.0, 8.0, 27.0])).value.round(6).tolist()}")

    rng = np.random.default_rng(0)
    xs, y = rng.normal(size=(20, 16, 3)), rng.normal(size=16)
    p = {"w": rng.normal(size=(3, 8)) / 2, "u": rng.normal(size=(8, 8)) / 4, "v": np.zeros(8)}

    @lg.compile
    def step(p, xs, y):
        value, g = lg.value_and_grad(lambda p: ((last_state(p, xs) @ p["v"] - y) ** 2).mean())(p)
        return {k: p[k] - 0.1 * g[k] for k in p}, value
    p = {k: lg.asarray(v) for k, v in p.items()}
    xs, y = lg.asarray(xs), lg.asarray(y)
    p, first = step(p, xs, y)
    for _ in range(100):
        p, value = step(p, xs, y)
    print(f"recurrent network: loss fell: {value.item() < first.item() / 2}, traced {step.cache_info().traces} times")

    silent = lg.grad(lambda x: lg.cond(x > 0, lg.sqrt, lambda x: 0 * x, x))(0.0).item()       # sqrt has slope inf at 0
    print(f"steps until below 1: {[halvings(lg.asarray(v)).item() for v in (100.0, 1e5)]} and the branch not taken stays silent: {silent}")


if __name__ == "__main__":
    main()
