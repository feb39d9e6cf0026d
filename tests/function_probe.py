"""What every public function can do: a sample call of it, tried in all dtypes, on both devices, in both modes of differentiation.

The sample is the first call in the function's own example, with its numbers moved a little (examples like zeros and ties), or a row of CALLS.
`tools/function_table.py` writes what is found into docs/functions.md; `test_function_table.py` checks some of it.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import lazygrad as lg
from lazygrad import compiler, testing
from lazygrad.errors import LazygradError
from lazygrad.functions import FUNCTIONS
from lazygrad.ir.program import Host, every
from lazygrad.ir.term import toposort
from lazygrad.prims.leaf import source
from lazygrad.transforms import tree

# ---- calls of functions whose example shows no call of the plain kind, or a special case ----------------------------------

P = np.array([0.4, 1.3, 2.2])                             # positive
Q = np.array([0.3, 0.5, 0.8])                             # probabilities
R = np.array([[0.7, -1.2, 0.4], [-0.3, 2.1, 0.9]])        # real
M = np.array([[2.0, 0.3], [0.5, 1.7]])
KEY = np.array([0, 7], np.uint32)
CALLS: dict[str, tuple] = {
    "digamma": (P,), "logaddexp": (R, R[:1] * 2), "nextafter": (R, -R), "matmul": (M, M[:, :1]), "expand": (R[:1], (4, 3)), "getitem": (R, (slice(None), 1)),
    "i0": (R,), "where": (np.array([True, False, True]), P, Q), "astype": (R, "float64"), "imag": (R + 1j * R[::-1],), "heaviside": (R * np.array([1.0, 0, 1]), R[0]),
    **{f"special.{name}": (P, P[::-1].copy()) for name in ["kl_div", "rel_entr", "kv", "kve", "yv"]}, "special.entr": (P,), "special.lambertw": (P,),
    "special.ndtri_exp": (-P,),
    "nn.embedding": (np.array([1, 0, 1]), R), "nn.one_hot": (np.array([1, 0, 2]), 3), "nn.batch_norm": (R, R[0], P, P, R[1]),
    "special.i0": (R,), "special.struve": (0.5, P), "special.modstruve": (0.5, P), "special.hyp0f1": (1.5, R), "special.hyp1f1": (0.5, 1.5, R),
    "special.hyp2f1": (0.5, 1.5, 2.5, Q), "special.hyperu": (0.5, 1.5, P), "special.gammaincinv": (P, Q), "special.gammainccinv": (P, Q),
    **{f"random.{name}": (KEY,) for name in ["normal", "uniform", "exponential", "laplace", "logistic", "gumbel", "cauchy", "rayleigh", "maxwell", "lognormal", "bits", "rademacher"]},
    **{f"random.{name}": (KEY, P) for name in ["gamma", "loggamma", "chisquare", "t", "von_mises", "wald", "pareto", "power", "weibull", "poisson"]},
    **{f"random.{name}": (KEY, Q) for name in ["bernoulli", "geometric"]}, **{f"random.{name}": (KEY, P, P[::-1].copy()) for name in ["beta", "f"]},
    "random.triangular": (KEY, R[0], R[0] + P, R[0] + 3 * P), "random.truncated_normal": (KEY, R[0], R[0] + P), "random.dirichlet": (KEY, P),
    "random.binomial": (KEY, 9.0, Q), "random.negative_binomial": (KEY, 4.0, Q), "random.hypergeometric": (KEY, 6, 4, np.array([1, 2, 3])),
    "random.multinomial": (KEY, 9, Q), "random.multivariate_normal": (KEY, R[0, :2], np.array([[2.0, 0.4], [0.4, 1.0]])), "random.categorical": (KEY, R),
    "random.logseries": (KEY, Q), "random.zipf": (KEY, P + 1), "random.multivariate_hypergeometric": (KEY, np.array([3, 4, 5]), 6),
    "random.permutation": (KEY, R), "random.choice": (KEY, P, (2,)),
}
for _name in ["normal", "laplace", "logistic", "gumbel", "cauchy"]:
    CALLS[f"random.{_name}"] = (KEY, None, None, R, P[0] + 0 * R)
CALLS["random.lognormal"] = (KEY, None, None, R, P[0] + 0 * R)
CALLS["random.uniform"] = (KEY, None, None, R, R + 1)
for _name in ("exponential", "rayleigh", "maxwell"):
    CALLS[f"random.{_name}"] = (KEY, None, None, P)

SPACES = ("", "linalg", "fft", "special", "nn", "random")
DTYPES = ("bool", "int32", "uint8", "float16", "float32", "float64", "complex64")


# ---- the functions -----------------------------------------------------------------------------------------------------

def module(space: str) -> Any:
    """The module that shows a space."""
    return importlib.import_module(f"lazygrad.{space}") if space else lg


def surface(space: str) -> dict[str, tuple[Callable[..., Any], tuple[str, ...]]]:
    """The public functions of a space by name, with their other names in the same space."""
    names: dict[int, list[str]] = {}
    found: dict[int, Callable[..., Any]] = {}
    shown = module(space)
    for name in shown.__all__ if space else FUNCTIONS:
        value = getattr(shown, name)
        if callable(value) and not inspect.isclass(value) and not isinstance(value, np.dtype):
            names.setdefault(id(value), []).append(name)
            found[id(value)] = value
    rows = {}
    for key, alike in names.items():
        own = getattr(found[key], "__name__", alike[0])
        first = own if own in alike else alike[0]
        rows[first] = found[key], tuple(n for n in alike if n != first)
    return dict(sorted(rows.items()))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


# ---- a sample call -------------------------------------------------------------------------------------------------------

@dataclass
class Sample:
    """`call(*arrays)`: the function with its arrays as arguments. `data`: those that are cast, moved and differentiated."""

    call: Callable[..., Any]
    arrays: list[np.ndarray]
    drawn: bool = False                # random numbers: differences of draws that are found by trying mean nothing
    data: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The data are the floating arrays; where there are none, the integers that may as well be floating, or all."""
        free = [i for i, a in enumerate(self.arrays) if not (a.dtype == np.uint32 and a.shape == (2,))]
        floats = [i for i in free if self.arrays[i].dtype.kind in "fc"]
        if not floats:
            for i in [i for i in free if self.arrays[i].dtype.kind in "iu"]:
                with quiet():
                    wide = [a.astype(float) if k in (*floats, i) else a for k, a in enumerate(self.arrays)]
                    with contextlib.suppress(Exception):
                        values(self.call(*wide))
                        floats.append(i)
            self.arrays = [a.astype(np.float32) if i in floats else a for i, a in enumerate(self.arrays)]
        self.data = floats or free


class _Seen(Exception):
    pass


def recorded(name: str, space: str, function: Callable[..., Any], others: Sequence[str] = ()) -> tuple[tuple, dict] | None:
    """The arguments of the first call of a function in its own example."""
    calls: list[tuple[tuple, dict]] = []

    def recorder(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        raise _Seen

    shown = module(space)
    places = [(shown, n) for n in (name, *others)] + ([(lg, name)] if space == "nn" and hasattr(lg, name) else [])
    held = [(m, n, getattr(m, n)) for m, n in places]
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")
    scope: dict[str, Any] = {}
    try:
        for m, n, _ in held:
            setattr(m, n, recorder)
        for example in examples:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(_Seen):
                exec(compile(example.source, "<example>", "single"), scope)
            if calls:
                return calls[0]
    except Exception:
        return calls[0] if calls else None
    finally:
        for m, n, value in held:
            setattr(m, n, value)
    return None


def sample_of(function: Callable[..., Any], args: tuple, kwargs: dict, drawn: bool = False) -> Sample:
    """A Sample whose arrays are the tensors and NumPy arrays among the arguments."""
    leaves, form = tree.flatten((args, kwargs))
    places = [i for i, v in enumerate(leaves) if isinstance(v, (lg.Tensor, np.ndarray))]
    arrays = [np.asarray(leaves[i]) for i in places]

    def call(*xs: Any) -> Any:
        whole = list(leaves)
        for i, x in zip(places, xs, strict=True):
            whole[i] = x if isinstance(x, lg.Tensor) else lg.asarray(x)
        args, kwargs = tree.unflatten(form, whole)
        return function(*args, **kwargs)

    return Sample(call, arrays, drawn)


def find(name: str, space: str, function: Callable[..., Any], others: Sequence[str] = ()) -> Sample | None:
    """The sample call of a function; None where its example shows none."""
    given = CALLS.get(f"{space}.{name}" if space else name)
    found = (given, {}) if given is not None else recorded(name, space, function, others)
    return found and sample_of(function, *found, drawn=space == "random")


def moved(sample: Sample, way: int) -> list[np.ndarray]:
    """The arrays in float64, all numbers at other places near by: up, down, towards 0, or anywhere."""
    rng = np.random.default_rng(way)
    out = [a.copy() for a in sample.arrays]
    for i in sample.data:
        a = out[i]
        if a.dtype.kind not in "fc":
            continue
        a = np.where(np.isfinite(a), a, 0.7).astype(np.complex128 if a.dtype.kind == "c" else np.float64)
        step = rng.uniform(0.02, 0.09, a.shape) * np.maximum(1.0, np.abs(a))
        a = (a + step, a - step, a * (1 - rng.uniform(0.02, 0.3, a.shape)), a + step * rng.choice([-1, 1], a.shape))[way]
        out[i] = np.asarray(a + 1j * step if a.dtype.kind == "c" else a)
    return out


def results(out: Any) -> list[lg.Tensor]:
    """The tensors that a call returned."""
    return [v for v in tree.leaves(out) if isinstance(v, lg.Tensor)]


def values(out: Any) -> list[np.ndarray]:
    return [v.value for v in results(out)]


# ---- what it does ----------------------------------------------------------------------------------------------------------

def takes(sample: Sample, dtype: str) -> bool:
    """Whether the call runs with its data in a dtype."""
    xs = [a.astype(dtype) if i in sample.data else a for i, a in enumerate(sample.arrays)]
    try:
        values(sample.call(*xs))
    except (TypeError, ValueError, RuntimeError, ArithmeticError):
        return False
    return True


def native(outs: Sequence[lg.Tensor], caps: Any) -> bool:
    """Whether a backend has code for all of it: no step runs as its NumPy meaning."""
    roots = [t.term for t in outs if t.term.args]
    if not roots:
        return True
    sources = [t for t in toposort(roots) if t.op is source]
    try:
        program = compiler.compile(roots, sources, (None,) * len(roots), caps)
    except LazygradError:
        return False
    return not any(isinstance(s, Host) for s in every(program))


def single(sample: Sample, way: int = 0) -> list[np.ndarray]:
    """The moved arrays in float32 (complex64)."""
    return [a.astype(np.complex64 if a.dtype.kind == "c" else np.float32) if i in sample.data and a.dtype.kind in "fc" else a
            for i, a in enumerate(moved(sample, way))]


def on_cpu(sample: Sample) -> str:
    from lazygrad.backends import llvm
    outs = results(sample.call(*single(sample)))
    return "native" if native(outs, llvm.caps) else "NumPy"


def on_gpu(sample: Sample, device: Any) -> str:
    """How it runs on a device in float32: "native", "host" (some of it by NumPy), "" where it does not; the CPU's values, or an error here."""
    from lazygrad.backends import wgsl
    xs = single(sample)
    try:
        outs = results(sample.call(*[lg.asarray(x, device=device) for x in xs]))
        got = [v.value for v in outs]
    except (TypeError, ValueError, RuntimeError):
        return ""
    want = values(sample.call(*xs))
    for g, w in zip(got, want, strict=True):
        # functions of both backends are exact to a few units; sums and products of a few numbers amplify that
        assert sample.drawn or np.allclose(g, w, rtol=1e-3, atol=1e-4, equal_nan=True), (g, w)
    return "native" if native(outs, wgsl.caps(device.traits)) else "host"


def differentiates(sample: Sample, modes: Sequence[str], order: int) -> str:
    """"yes" where derivatives agree with difference quotients, "" where there is none, "wrong" elsewhere."""
    floats = [i for i in sample.data if sample.arrays[i].dtype.kind in "fc"]
    if not floats:
        return ""
    if sample.drawn:
        return drawn_differentiates(sample, floats, modes, order)
    worst: Exception | None = None
    for way in range(4):
        xs = moved(sample, way)

        def f(*moving: Any, xs: Sequence[np.ndarray] = xs) -> list[Any]:
            whole = list(xs)
            for i, x in zip(floats, moving, strict=True):
                whole[i] = x
            return [v for v in results(sample.call(*whole)) if v.dtype.kind in "fc"]

        try:
            start = [lg.tensor(xs[i]) for i in floats]
            outs = f(*start)
            if not outs or not any(o.term.needs_grad for o in outs):
                return ""
            if not all(np.isfinite(o.value).all() for o in outs):
                continue
            testing.check_grads(f, [xs[i] for i in floats], order=order, modes=modes, rtol=1e-4, atol=1e-5)
            return "yes"
        except (AssertionError, LazygradError, TypeError, ValueError, RuntimeError) as error:
            worst = error
    return "wrong" if worst is not None else ""


def drawn_differentiates(sample: Sample, floats: Sequence[int], modes: Sequence[str], order: int) -> str:
    """For draws: whether there are finite derivatives of that order (test_random_gamma.py compares them with quantiles)."""
    xs = moved(sample, 0)
    t = [lg.tensor(xs[i]) for i in floats]
    whole = [lg.asarray(x) for x in xs]
    for i, x in zip(floats, t, strict=True):
        whole[i] = x
    out = [v for v in results(sample.call(*whole)) if v.dtype.kind == "f"]
    if not out or not out[0].term.needs_grad:
        return ""
    g = out[0].sum()
    for _ in range(order):
        parts = [p for p in g.gradient(*t) if p.term.needs_grad or order == 1]
        if not parts:
            return "yes"
        g = sum([p.sum() for p in parts[1:]], parts[0].sum())
    return "yes" if np.isfinite(g.value).all() else "wrong"


def batches(sample: Sample) -> str:
    """Whether `vmap` gives what a loop over examples does."""
    ways = [moved(sample, w) for w in (0, 2)]
    xs = [[w[i] for i in sample.data] for w in ways]
    if not xs[0]:
        return ""

    def f(*moving: Any) -> list[lg.Tensor]:
        whole: list[Any] = list(ways[0])
        for i, x in zip(sample.data, moving, strict=True):
            whole[i] = x
        return results(sample.call(*whole))

    try:
        want = [values(f(*x)) for x in xs]
        if not want[0]:
            return ""
        got = values(lg.vmap(f)(*[np.stack(c) for c in zip(*xs, strict=True)]))
        same = len(got) == len(want[0]) and all([
            np.allclose(g, np.stack([w[k] for w in want]), rtol=1e-8, atol=1e-10, equal_nan=True) for k, g in enumerate(got)])
    except (LazygradError, TypeError, ValueError, RuntimeError, IndexError):
        return ""
    return "yes" if same else "wrong"
