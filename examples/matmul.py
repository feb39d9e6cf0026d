"""Matrix product: value and gradients of x @ y.

>>> z, x, y = main()
value [[19. 22.]
 [43. 50.]]
dz/dx [[11. 15.]
 [11. 15.]]
dz/dy [[4. 4.]
 [6. 6.]]
"""

from lazygrad import Graph


def main():
    graph = Graph()
    x = graph.tensor([[1.0, 2.0], [3.0, 4.0]])
    y = graph.tensor([[5.0, 6.0], [7.0, 8.0]])
    z = x.matmul(y)                    # or x @ y
    z.backward()                       # runs forward first
    print("value", z.value)
    print("dz/dx", x.grad)
    print("dz/dy", y.grad)
    return z, x, y


if __name__ == "__main__":
    main()
