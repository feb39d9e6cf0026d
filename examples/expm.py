"""Matrix exponential: value and gradient, also of a matrix that cannot be diagonalised.

exp of a Jordan block [[a, 1], [0, a]] is e^a [[1, 1], [0, 1]].

>>> _ = main()
exp of a full matrix
[[ 51.969   74.7366]
 [112.1048 164.0738]]
d(sum)/dx
[[113.2746 213.7032]
 [154.9249 289.6096]]
exp of a Jordan block
[[2.7183 2.7183]
 [0.     2.7183]]
d(sum)/dx
[[4.0774 2.7183]
 [5.8896 4.0774]]
"""

import numpy as np

from lazygrad import Graph


def main():
    graph = Graph()
    results = []
    for title, matrix in (("a full matrix", [[1.0, 2.0], [3.0, 4.0]]), ("a Jordan block", [[1.0, 1.0], [0.0, 1.0]])):
        x = graph.tensor(np.array(matrix))          # float64, as NumPy made it
        z = x.expm()
        z.backward()
        with np.printoptions(precision=4, suppress=True):
            print("exp of", title)
            print(z.value)
            print("d(sum)/dx")
            print(x.grad.value)
        results.append((z, x))
    return results


if __name__ == "__main__":
    main()
