"""What the tests of `lazygrad.nn` share: one function that holds a composite against its formula in every way it can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gpu import device

import lazygrad as lg
from lazygrad.testing import check_grads

SINGLE = 3e-6           # float32 beside float64: some tens of roundings of 6e-8, sums of a few dozen terms among them


def narrow(a: np.ndarray, dtype: Any) -> np.ndarray:
    return a.astype(dtype) if a.dtype.kind == "f" else a


def value_and_gradients(f: Callable[..., Any], arrays: Sequence[np.ndarray], dtype: Any, where: Any = None) -> list[np.ndarray]:
    """f and its gradients by all floating arguments, under a cotangent that tells elements apart."""
    graph = lg.Graph() if where is None else lg.Graph(device=where)
    given = [graph.tensor(narrow(a, dtype)) for a in arrays]
    out = f(*given)
    by = [t for t in given if t.dtype.kind == "f"]
    if not by or not out.requires_grad:
        return [out.value]
    ct = np.cos(np.arange(out.size, dtype=np.float64)).reshape(out.shape)
    return [out.value, *[g.value for g in (out * ct.astype(out.dtype)).sum().gradient(*by)]]


def holds(f: Callable[..., Any], formula: Callable[..., np.ndarray], *arrays: np.ndarray, rtol: float = 1e-12, atol: float = 1e-14,
          single: float = SINGLE, order: int = 2, batched: bool = True) -> None:
    """f agrees with `formula` (NumPy, float64) in float64 and float32, on the CPU and the GPU, alone and under vmap; its derivatives with differences.

    `rtol`, `atol`: for float64, where f and the formula round differently; `single`: relative to the largest value, for float32.
    """
    want = np.asarray(formula(*arrays))
    wide = value_and_gradients(f, arrays, np.float64)
    assert wide[0].dtype == (np.float64 if any(a.dtype.kind == "f" for a in arrays) else wide[0].dtype)
    np.testing.assert_allclose(wide[0], want, rtol=rtol, atol=atol)
    for where in (None, device()):
        narrow_ = value_and_gradients(f, arrays, np.float32, where)
        assert narrow_[0].dtype == (np.float32 if wide[0].dtype == np.float64 else wide[0].dtype)
        for a, b in zip(narrow_, wide, strict=True):
            finite = np.isfinite(b)
            np.testing.assert_allclose(a, b, rtol=single, atol=single * max(1.0, float(np.abs(b[finite]).max(initial=0.0))))
    if batched:
        twice = [np.stack([a, a[::-1] if a.ndim and a.dtype.kind == "f" else a]) for a in arrays]
        together = lg.vmap(f)(*[lg.asarray(a) for a in twice]).value
        for k in range(2):
            np.testing.assert_allclose(together[k], formula(*[a[k] for a in twice]), rtol=rtol, atol=atol)
    if order:
        check_grads(f, arrays, order=order)
