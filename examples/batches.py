"""vmap: gradients of every example, Jacobians of a batch, an ensemble of models; each is one plan, no loop over examples.

>>> main()
gradients of 5 examples: (5, 3) and (5,); their mean is the gradient of the mean: True
norms of the largest and the smallest: 3.0 times apart or more: True
Jacobians of 4 points: (4, 2, 2); determinants r: True
8 models trained at once: all below 0.1: True
"""

import numpy as np

import lazygrad as lg


def loss(p, x, y):
    return (lg.tanh(x @ p["w"]) + p["b"] - y) ** 2


def polar(v):
    return lg.stack([v[0] * lg.cos(v[1]), v[0] * lg.sin(v[1])])


def network(p, x):
    return lg.tanh(x @ p["w"]) @ p["v"]


def main():
    rng = np.random.default_rng(0)
    p = {"w": rng.normal(size=3), "b": np.float64(0.1)}
    x, y = rng.normal(size=(5, 3)), rng.normal(size=5)
    each = lg.vmap(lg.grad(loss), (None, 0, 0))(p, x, y)                 # a gradient for every example
    whole = lg.grad(lambda p: lg.vmap(loss, (None, 0, 0))(p, x, y).mean())(p)
    same = all(np.allclose(each[k].value.mean(0), whole[k].value) for k in p)
    print(f"gradients of 5 examples: {each['w'].shape} and {each['b'].shape}; their mean is the gradient of the mean: {same}")
    norms = np.sqrt((each["w"].value ** 2).sum(1) + each["b"].value ** 2)
    print(f"norms of the largest and the smallest: 3.0 times apart or more: {norms.max() > 3 * norms.min()}")

    points = rng.uniform(1, 2, (4, 2))
    jacobians = lg.vmap(lg.jacfwd(polar))(points)
    print(f"Jacobians of 4 points: {jacobians.shape}; determinants r: {np.allclose(np.linalg.det(jacobians.value), points[:, 0])}")

    inputs = np.linspace(-2, 2, 32)[:, None]
    targets = np.sin(inputs)

    def step(p):
        value, g = lg.value_and_grad(lambda p: ((network(p, inputs) - targets) ** 2).mean())(p)
        return {k: p[k] - 0.1 * g[k] for k in p}, value
    train = lg.compile(lg.vmap(step))                                    # 8 models: one leading axis, one native call a step
    models = {"w": rng.normal(size=(8, 1, 16)), "v": rng.normal(size=(8, 16, 1)) / 4}
    for _ in range(800):
        models, losses = train(models)
    print(f"8 models trained at once: all below 0.1: {bool((losses.value < 0.1).all())}")


if __name__ == "__main__":
    main()
