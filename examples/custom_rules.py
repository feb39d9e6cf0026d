"""Rules of one's own: a stable derivative, a gradient that is clipped on its way back, a straight-through rounding.

>>> main()
log(1 + exp(x)) at 1000: derivative nan by its operations, 1.0 by its rule, second 0.0
clipped: [1.0, 1.0, 0.02]
straight through: value [0.0, 2.0], gradient [1.0, 1.0]
per example: [[1.0, 0.3], [0.02, 1.0]]
"""

import numpy as np

import lazygrad as lg


def softplus(x):
    return lg.log(1 + lg.exp(x))


stable = lg.custom_jvp(softplus)


@stable.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    return stable(x), t * lg.sigmoid(x)


@lg.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, ct: (lg.clip(ct, -1.0, 1.0),))


@lg.custom_vjp
def rounded(x):
    return lg.round(x)


rounded.defvjp(lambda x: (rounded(x), None), lambda _, ct: (ct,))


def main():
    x = np.float64(1000.0)
    print(f"log(1 + exp(x)) at 1000: derivative {lg.grad(softplus)(x).item()} by its operations, {lg.grad(stable)(x).item()} by its rule, "
          f"second {lg.grad(lg.grad(stable))(x).item()}")
    loss = lambda x: (clipped(x) ** 2).sum()
    print("clipped:", np.round(lg.grad(loss)(np.array([5.0, 0.7, 0.01])).value, 12).tolist())
    v = np.array([0.4, 1.6])
    print(f"straight through: value {rounded(v).tolist()}, gradient {lg.grad(lambda x: rounded(x).sum())(v).tolist()}")
    print("per example:", np.round(lg.vmap(lg.grad(loss))(np.array([[5.0, 0.15], [0.01, 0.7]])).value, 12).tolist())


if __name__ == "__main__":
    main()
