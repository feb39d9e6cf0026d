"""NumPy's functions inside of vmap and compile: what they give for each example, one by one."""

from __future__ import annotations

import numpy as np
import test_numpy_calculus
import test_numpy_selection
import test_numpy_shapes
import test_numpy_statistics
from oracle import arrays, mapped, ours, rows

import lazygrad as lg

# they look at values: their results' shapes depend on them
EVALUATE = {"delete", "insert", "trim_zeros", "unique", "bincount", "extract"}
CASES = [c for m in (test_numpy_shapes, test_numpy_statistics, test_numpy_selection, test_numpy_calculus) for c in m.CASES if c.gpu and arrays(c.args) and c.name not in EVALUATE]


def parts(v):
    return [p.value for p in (v if isinstance(v, (tuple, list)) else [v])]


@rows([c for c in CASES if str(c) != "histogram(f8[60], f8[3])"])              # edges that are turned round do not rise
def test_examples_one_by_one(case):
    def f(*xs):
        values = iter(xs)
        return ours(case)(*mapped(case.args, lambda a: next(values)), **case.options)

    first = arrays(case.args)
    second = [a[..., ::-1] if a.ndim else a for a in first]
    batched = parts(lg.vmap(f)(*[np.stack(pair) for pair in zip(first, second, strict=True)]))
    one, two = [parts(f(*map(lg.tensor, xs))) for xs in (first, second)]
    compiled = parts(lg.compile(f)(*first))
    for whole, a, b, c in zip(batched, one, two, compiled, strict=True):
        # sums are made in another order over a batch, and products and sums are fused in compiled code
        np.testing.assert_allclose(whole, np.stack([a, b]), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(c, a, rtol=1e-10, atol=1e-10)
