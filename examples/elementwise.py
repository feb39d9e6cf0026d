"""Elementwise: value and gradients of (x + y) * x.

>>> z, x, y = main()
value [ 4. 12.]
dz/dz [1. 1.]
dz/dx [5. 8.]
dz/dy [1. 2.]
"""

from lazygrad import Graph


def main():
    graph = Graph()
    x = graph.tensor([1.0, 2.0])
    y = graph.tensor([3.0, 4.0])
    z = (x + y) * x                    # nothing is computed yet
    z.forward()
    z.backward()
    print("value", z.value)
    print("dz/dz", z.grad)
    print("dz/dx", x.grad)
    print("dz/dy", y.grad)
    return z, x, y


if __name__ == "__main__":
    main()
