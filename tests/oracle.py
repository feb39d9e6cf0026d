"""Tables of calls whose answers NumPy (or SciPy) gives: a row is a function's name, its arguments, and what is asked of it.

Arrays among the arguments, also in lists, become tensors for us and stay arrays for the oracle. `order`: up to which order derivatives
are compared with difference quotients; `gpu`: whether the row also runs on the GPU, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from gpu import device

import lazygrad as lg
from lazygrad.ir import term as terms
from lazygrad.runtime import plans
from lazygrad.testing import check_grads

NARROW = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32}


@dataclass
class Case:
    """One call. `want`: another function of the arguments that gives the answer."""

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    order: int = 0
    gpu: bool = False
    tol: float = 1e-12
    want: Callable[..., Any] | None = None

    def __str__(self) -> str:
        shown = [describe(a) for a in self.args] + [f"{k}={describe(v)}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(shown)})"


def describe(v: Any) -> str:
    if isinstance(v, np.ndarray):
        return f"{v.dtype.kind}{v.dtype.itemsize}{list(v.shape)}".replace(" ", "")
    if isinstance(v, (list, tuple)):
        return f"[{','.join(map(describe, v))}]"
    return getattr(v, "__name__", str(v))


def case(name: str, *args: Any, order: int = 0, gpu: bool = False, tol: float = 1e-12, want: Callable[..., Any] | None = None, **options: Any) -> Case:
    return Case(name, args, options, order, gpu, tol, want)


def rows(cases: Sequence[Case]) -> Any:
    """The decorator that runs a test once for every case."""
    return pytest.mark.parametrize("case", [pytest.param(c, id=str(c)) for c in cases])


def mapped(v: Any, f: Callable[[np.ndarray], Any]) -> Any:
    """v with f applied to its arrays, those in lists and tuples too."""
    if isinstance(v, np.ndarray):
        return f(v)
    return type(v)([mapped(u, f) for u in v]) if type(v) in (list, tuple) else v


def arrays(v: Any) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    mapped(v, lambda a: found.append(a))
    return found


def same(got: Any, want: Any, tol: float, dtypes: bool = True) -> None:
    """Equal shapes, dtypes and values; lists of results one by one."""
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w, tol, dtypes)
        return
    want, got = np.asarray(want), got if isinstance(got, lg.Tensor) else np.asarray(got)
    assert tuple(got.shape) == want.shape, f"{tuple(got.shape)}, NumPy has {want.shape}"
    if dtypes:
        assert got.dtype == want.dtype, f"{got.dtype}, NumPy has {want.dtype}"
    got = got.value if isinstance(got, lg.Tensor) else got
    if want.dtype.kind in "fc":
        np.testing.assert_allclose(got, want, rtol=tol, atol=tol * np.abs(want, where=np.isfinite(want), out=np.zeros(want.shape)).max(initial=0))
    else:
        np.testing.assert_array_equal(got, want)


def answer(c: Case, oracle: Any, args: Any, options: Any) -> Any:
    f = c.want
    if f is None:
        f = oracle
        for part in c.name.split("."):
            f = getattr(f, part)
    with np.errstate(all="ignore"):
        return f(*args, **options)


def ours(c: Case, module: Any = lg) -> Callable[..., Any]:
    for part in c.name.split("."):
        module = getattr(module, part)
    return module


def check_values(c: Case, oracle: Any = np, module: Any = lg) -> None:
    got = ours(c, module)(*mapped(c.args, lg.tensor), **mapped_options(c, lg.tensor))
    same(got, answer(c, oracle, c.args, c.options), c.tol)


def check_native(c: Case, monkeypatch: pytest.MonkeyPatch, oracle: Any = np, module: Any = lg) -> None:
    """`check_values` by native code from the first run on."""
    monkeypatch.setattr(plans, "INTERPRETED", -1)
    plans.PLANS.clear()
    terms.sweep()
    check_values(c, oracle, module)


def mapped_options(c: Case, f: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {k: mapped(v, f) for k, v in c.options.items()}


def check_derivatives(c: Case, module: Any = lg) -> None:
    """Forward and reverse mode against difference quotients, to the case's order."""
    moving = [a for a in arrays(c.args) if a.dtype.kind in "fc"]

    def f(*xs: Any) -> Any:
        values = iter(xs)
        call = mapped(c.args, lambda a: next(values) if a.dtype.kind in "fc" else a)
        return ours(c, module)(*call, **c.options)
    check_grads(f, tuple(moving), order=c.order)


def check_on_gpu(c: Case, module: Any = lg) -> None:
    """Values on the GPU in narrow dtypes, against the oracle in the same dtypes."""
    def narrow(a: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return a.astype(NARROW.get(a.dtype.name, a.dtype))
    graph = lg.Graph(device=device())
    there = lambda a: graph.tensor(narrow(a))
    got = ours(c, module)(*mapped(c.args, there), **mapped_options(c, there))
    here = ours(c, module)(*mapped(c.args, lambda a: lg.tensor(narrow(a))), **mapped_options(c, lambda a: lg.tensor(narrow(a))))
    want = [h.value for h in here] if isinstance(here, (list, tuple)) else here.value
    for g in got if isinstance(got, (list, tuple)) else [got]:
        assert g.device is graph.device
    same(got, want, 2e-5)                 # float32 on both devices; the sums' orders differ
