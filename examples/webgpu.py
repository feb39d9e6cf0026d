"""A GPU: value and gradients of z = x * y for 3×3 matrices. The only difference to the CPU is the graph's device.

>>> z, x, y = main()
value
[[ 9. 16. 21.]
 [24. 25. 24.]
 [21. 16.  9.]]
dz/dx
[[9. 8. 7.]
 [6. 5. 4.]
 [3. 2. 1.]]
dz/dy
[[1. 2. 3.]
 [4. 5. 6.]
 [7. 8. 9.]]
>>> z.device == x.grad.device == x.device
True
"""

from lazygrad import Graph, WgpuDevice


def main():
    device = WgpuDevice()              # the best GPU here; WgpuDevice.list() names all of them
    graph = Graph(device=device)
    x = graph.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    y = graph.tensor([[9.0, 8.0, 7.0], [6.0, 5.0, 4.0], [3.0, 2.0, 1.0]])
    z = x * y                          # nothing is computed yet
    z.forward()
    z.backward()                       # values and gradients stay on the GPU until they are read
    print("value", z.value, sep="\n")
    print("dz/dx", x.grad, sep="\n")
    print("dz/dy", y.grad, sep="\n")
    return z, x, y


if __name__ == "__main__":
    main()
