"""A whole train step as one call: forward, backward and the update of nested parameters, traced once and compiled.

>>> main()
fitted after 400 steps: True
traces: 1
"""

import numpy as np

import lazygrad as lg

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, size=(64, 1)).astype(np.float32)
Y = np.sin(2 * X)


def predict(layers, x):
    *hidden, last = layers
    for layer in hidden:
        x = lg.tanh(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss(layers, x, y):
    return ((predict(layers, x) - y) ** 2).mean()


@lg.compile
def step(layers, speeds, x, y, rate):
    """Gradient descent with momentum; `rate` is a number, hence data: changing it compiles nothing."""
    value, g = lg.value_and_grad(loss)(layers, x, y)
    speeds = lg.tree.map(lambda v, g: 0.9 * v - rate * g, speeds, g)
    return lg.tree.map(lambda p, v: p + v, layers, speeds), speeds, value


def main():
    sizes = [(1, 32), (32, 32), (32, 1)]
    layers = [{"w": lg.asarray((rng.normal(size=s) / s[0] ** 0.5).astype(np.float32)), "b": lg.zeros(s[1])} for s in sizes]
    speeds = lg.tree.map(lg.zeros_like, layers)
    x, y = lg.asarray(X), lg.asarray(Y)
    for k in range(400):
        layers, speeds, value = step(layers, speeds, x, y, 0.05 / (1 + k / 200))
    print("fitted after 400 steps:", value.item() < 0.02)
    print("traces:", step.cache_info().traces)


if __name__ == "__main__":
    main()
