"""Solutions that differentiate: a root, a minimum, an orbit fitted to observations, a sparse Hessian, and a check of derivatives.

>>> main()
x exp(x) = 1 at 0.567143; d/da 0.361896, by the formula 0.361896
ridge weights by BFGS agree with the normal equations: True; derivative by the penalty: True
orbit: rates found to 1%: True
Hessian of 1000 unknowns: 2998 entries from 3 products
gradients checked
"""

import numpy as np

import lazygrad as lg


def lotka_volterra(y, t, p):
    return lg.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[1] * y[0] * y[1] - p[2] * y[1]])


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def main():
    lambert = lambda a: lg.root(lambda x, a: x * lg.exp(x) - a, np.float64(0.5), a).x
    x = lambert(np.float64(1.0)).item()
    slope = lg.grad(lambda a: lambert(a))(np.float64(1.0)).item()        # by the implicit function theorem
    print(f"x exp(x) = 1 at {x:.6f}; d/da {slope:.6f}, by the formula {1 / (np.exp(x) * (1 + x)):.6f}")

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=30)
    ridge = lambda k: lg.minimize(lambda w, k: ((a @ w - b) ** 2).sum() + k * (w * w).sum(), np.zeros(4), k, tol=1e-9).x
    normal = lambda k: np.linalg.solve(a.T @ a + k * np.eye(4), a.T @ b)
    by_formula = -np.linalg.solve(a.T @ a + 2.0 * np.eye(4), normal(2.0))
    print(f"ridge weights by BFGS agree with the normal equations: {np.allclose(ridge(np.float64(2.0)).value, normal(2.0))}; "
          f"derivative by the penalty: {np.allclose(lg.jacobian(ridge)(np.float64(2.0)).value, by_formula)}")

    times, start, rates = np.linspace(0, 4, 12), np.array([1.0, 0.7]), np.array([1.2, 0.9, 1.5])
    seen = lg.odeint(lotka_volterra, start, times, rates).value
    found = lg.minimize(lambda p: ((lg.odeint(lotka_volterra, start, times, p, rtol=1e-6, atol=1e-6) - seen) ** 2).sum(), np.array([1.0, 1.0, 1.0]), method="BFGS", tol=1e-4)
    print(f"orbit: rates found to 1%: {np.allclose(found.x.value, rates, rtol=0.01)}")

    h = lg.sparse.hessian(rosenbrock)(np.ones(1000))
    print(f"Hessian of 1000 unknowns: {h.nnz} entries from {lg.sparse.colours(h != 0).max() + 1} products")
    lg.testing.check_grads(rosenbrock, (np.linspace(-1, 1, 5),), order=2)
    print("gradients checked")


if __name__ == "__main__":
    main()
