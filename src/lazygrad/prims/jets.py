"""Truncated power series in two small variables, on arrays: c[i, j] is the coefficient of s^i t^j, for every element of the rest.

In and out: float64 arrays (I + 1, J + 1, ...). What the derivatives by parameters of the incomplete functions are computed with.
"""

from __future__ import annotations

import math

import numpy as np


def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a * b.

    >>> times(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))           # (1 + 2t)(3 + 4t)
    array([[ 3., 10.]])
    """
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape))
    for i, j in np.ndindex(out.shape[:2]):
        for p, q in np.ndindex(i + 1, j + 1):
            out[i, j] += a[p, q] * b[i - p, j - q]
    return out


def over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b.

    >>> over(np.array([[3.0, 10.0]]), np.array([[3.0, 4.0]]))
    array([[1., 2.]])
    """
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape))
    for i, j in np.ndindex(out.shape[:2]):
        rest = np.zeros(out.shape[2:])
        for p, q in np.ndindex(i + 1, j + 1):
            if p or q:
                rest += b[p, q] * out[i - p, j - q]
        out[i, j] = (a[i, j] - rest) / b[0, 0]
    return out


def exponential(g: np.ndarray) -> np.ndarray:
    """exp(g).

    >>> exponential(np.array([[0.0], [1.0], [0.0]]))[:, 0]
    array([1. , 1. , 0.5])
    """
    out = np.zeros(g.shape)
    out[0, 0] = np.exp(g[0, 0])
    for i, j in np.ndindex(out.shape[:2]):
        if not i and not j:
            continue
        for p, q in np.ndindex(i + 1, j + 1):
            # i e[i, j] = sum of p g[p, q] e[i - p, j - q]; along t where i is 0
            weight = p / i if i else q / j
            if weight:
                out[i, j] += weight * g[p, q] * out[i - p, j - q]
    return out


def linear(shape: tuple[int, ...], value: np.ndarray, s: float | np.ndarray = 0.0, t: float | np.ndarray = 0.0) -> np.ndarray:
    """value + s * (first variable) + t * (second variable)."""
    out = np.zeros(shape)
    out[0, 0] = value
    if shape[0] > 1:
        out[1, 0] = s
    if shape[1] > 1:
        out[0, 1] = t
    return out


def continued(shape: tuple[int, ...], first: np.ndarray, step, most: int) -> np.ndarray:
    """b₀ + a₁ / (b₁ + a₂ / (b₂ + ...)) by Lentz's method, `step(n)` giving aₙ and bₙ (Thompson and Barnett 1986)."""
    f = first.copy()
    c, d = first, np.zeros(shape)
    one = linear(shape, 1.0)
    for n in range(1, most):
        a, b = step(n)
        d = over(one, b + times(a, d))
        c = b + over(a, c)
        change = times(c, d)
        f = times(f, change)
        if not np.nanmax(np.abs(change - one), initial=0.0) > 1e-15:
            break
    return f


def derivative(c: np.ndarray) -> np.ndarray:
    """The derivative that the last coefficient is of."""
    return c[-1, -1] * (math.factorial(c.shape[0] - 1) * math.factorial(c.shape[1] - 1))
