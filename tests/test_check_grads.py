"""The gradient checker: passes what is right, and names what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.testing import check_grads


def test_right_derivatives_pass():
    check_grads(lambda x, y: (lg.sin(x) * y, lg.exp(-x * x).sum()), (np.array([0.3, 0.7]), 2.0), order=3)
    check_grads(lambda p: lg.tanh(p["x"] @ p["w"]).sum(), ({"x": np.ones((2, 3)) * 0.3, "w": lg.asarray(np.eye(3))},))
    check_grads(lambda x, n: x ** n, (np.float32(1.5), 3))
    check_grads(lambda z: (z * z).sum(), (np.array([1 + 2j, 0.5j]),))
    check_grads(lambda x: lg.while_loop(lambda v: v < 10, lambda v: v * x, x), (1.7,))
    check_grads(lambda x: (x, lg.astype(x, lg.int32)), (1.7,))                     # integer results have none


def wrong(x):
    """x sin x, of which the derivative misses a part."""
    return lg.stop_gradient(x) * lg.sin(x)


@pytest.mark.parametrize(("f", "options", "text"), [
    (wrong, {"modes": ("fwd",)}, r"check_grads: args\[0\]: order 1, forward: .* by derivative, .* by differences"),
    (wrong, {"modes": ("rev",)}, r"check_grads: args\[0\]: order 1, reverse: "),
    (lambda x: x * x * x + lg.stop_gradient(x * x) * 0 + wrong(x) - wrong(x), {}, None),
    # the value and the first derivative at 1 are right, the second is not
    (lambda x: 0.5 * x * x * 2 * lg.stop_gradient(x) - x * x * lg.stop_gradient(x) + lg.sin(x), {"order": 1}, None),
], ids=range(4))
def test_wrong_derivatives_are_named(f, options, text):
    if text is None:
        check_grads(f, (1.0,), **options)
    else:
        with pytest.raises(AssertionError, match=text):
            check_grads(f, (1.0,), **options)


def test_the_argument_and_the_order_are_named():
    f = lambda p, q: p["a"] * p["b"] + lg.stop_gradient(q["c"][1]) * 2.0
    with pytest.raises(AssertionError, match=r"args\[1\]\['c'\]\[1\]: order 1"):
        check_grads(f, ({"a": 2.0, "b": 3.0}, {"c": [1.0, 5.0]}))
    second = lambda x: (x - lg.stop_gradient(x)) ** 2 * 3 + x                      # slope 1 as differences say; curvature 6, where they say 0
    check_grads(second, (2.0,), order=1)
    with pytest.raises(AssertionError, match=r"args\[0\]: order 2, forward, then "):
        check_grads(second, (2.0,), order=2)


def test_options():
    with pytest.raises(TypeError, match='modes are "fwd" and "rev"'):
        check_grads(lambda x: x, (1.0,), modes=("forward",))
    with pytest.raises(TypeError, match="args a tuple"):
        check_grads(lambda x: x, 1.0)
    check_grads(lambda x: x * x + 1e-3 * lg.stop_gradient(x), (1.0,), rtol=1e-2)
