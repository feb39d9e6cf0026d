"""Derivatives of functions: a logistic regression fitted by its gradient, its Hessian, and products with both.

>>> main()
loss 0.6931 -> 0.2731
gradient {'b': 0.0, 'w': [0.0, 0.0]}
Hessian of the weights symmetric: True, positive: True
Hv by hvp and by the whole Hessian agree: True
d(logits)/d(w) has shape (6, 2)
"""

import numpy as np

import lazygrad as lg

X = np.array([[0.5, 1.0], [1.5, -0.5], [-1.0, 0.3], [2.0, 1.0], [-0.5, -1.5], [-2.0, 0.5]])
Y = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])


def logits(p, x):
    return x @ p["w"] + p["b"]


def loss(p, x, y):
    z = logits(p, x)
    return (lg.logaddexp(z, 0.0) - y * z).mean() + 0.05 * (p["w"] ** 2).sum()


def main():
    p = {"w": np.zeros(2), "b": np.float64(0.0)}
    step = lg.value_and_grad(loss)                # arguments and gradients are containers of the same form
    first, _ = step(p, X, Y)
    for _ in range(400):
        value, g = step(p, X, Y)
        p = lg.tree.map(lambda v, d: v - 0.5 * d.value, p, g)
    print(f"loss {first.item():.4f} -> {value.item():.4f}")
    print("gradient", {k: (np.round(g[k].value, 6) + 0.0).tolist() for k in sorted(g)})

    h = lg.hessian(loss)(p, X, Y)["w"]["w"].value      # blocks: h[row][column]
    print(f"Hessian of the weights symmetric: {np.allclose(h, h.T)}, positive: {bool((np.linalg.eigvalsh(h) > 0).all())}")
    v = np.array([1.0, -2.0])
    hv = lg.hvp(lambda w: loss({**p, "w": w}, X, Y), p["w"], v)
    print(f"Hv by hvp and by the whole Hessian agree: {np.allclose(hv, h @ v)}")
    print(f"d(logits)/d(w) has shape {lg.jacobian(logits)(p, X)['w'].shape}")


if __name__ == "__main__":
    main()
