"""Scalars: a function of two numbers, its value, gradient and a second derivative.

>>> z, x, y = main()
value 0.6039
dz/dx 1.1302
dz/dy 0.7422
d2z/dx2 -0.0121
"""

import lazygrad as lg
from lazygrad import Graph


def main():
    graph = Graph()
    x = graph.tensor(0.5)
    y = graph.tensor(0.25)
    z = lg.exp(x * y) * lg.sin(x) + lg.log1p(y * y)
    z.backward()
    print(f"value {z.item():.4f}")
    print(f"dz/dx {x.grad.item():.4f}")
    print(f"dz/dy {y.grad.item():.4f}")
    (dx,) = z.gradient(x)              # the derivative as an expression: it can be differentiated again
    (dxx,) = dx.gradient(x)
    print(f"d2z/dx2 {dxx.item():.4f}")
    return z, x, y


if __name__ == "__main__":
    main()
