"""A generator for those who want one: draws without keys under NumPy's names, each with the next key of a seed."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..tensor import Tensor
from . import random_choice as choices
from . import random_continuous as continuous
from . import random_counts as counts
from . import random_gamma as gammas
from . import random_implicit as implicit
from . import random_uniform as uniform
from . import random_vectors as vectors
from .random_keys import fold_in, key

# NumPy's draws of real numbers: name, the draw, its parameters in NumPy's order (`=` a default, `name:ours` where ours differs)
REAL = [
    ("random", uniform.uniform, ""), ("uniform", uniform.uniform, "low:minval=0.0 high:maxval=1.0"),
    ("normal", continuous.normal, "loc=0.0 scale=1.0"), ("standard_normal", continuous.normal, ""),
    ("lognormal", continuous.lognormal, "mean=0.0 sigma=1.0"),
    ("exponential", continuous.exponential, "scale=1.0"), ("standard_exponential", continuous.exponential, ""),
    ("laplace", continuous.laplace, "loc=0.0 scale=1.0"), ("logistic", continuous.logistic, "loc=0.0 scale=1.0"),
    ("gumbel", continuous.gumbel, "loc=0.0 scale=1.0"), ("standard_cauchy", continuous.cauchy, ""), ("rayleigh", continuous.rayleigh, "scale=1.0"),
    ("weibull", continuous.weibull, "a:concentration"), ("power", continuous.power, "a"), ("triangular", continuous.triangular, "left mode right"),
    ("gamma", gammas.gamma, "shape:a scale=1.0"), ("standard_gamma", gammas.gamma, "shape:a"), ("beta", gammas.beta, "a b"),
    ("dirichlet", gammas.dirichlet, "alpha"), ("chisquare", gammas.chisquare, "df"), ("standard_t", gammas.t, "df"),
    ("f", gammas.f, "dfnum dfden"), ("vonmises", implicit.von_mises, "mu:loc kappa"), ("wald", implicit.wald, "mean scale"),
]
COUNTS = [
    ("geometric", counts.geometric, "p"), ("poisson", counts.poisson, "lam=1.0"), ("binomial", counts.binomial, "n p"),
    ("negative_binomial", counts.negative_binomial, "n p"), ("hypergeometric", counts.hypergeometric, "ngood nbad nsample"),
    ("multinomial", counts.multinomial, "n pvals:p"), ("multivariate_hypergeometric", counts.multivariate_hypergeometric, "colors nsample"),
    ("logseries", counts.logseries, "p"), ("zipf", counts.zipf, "a"),
]
# the other draws of this library: as they are, without their key
OURS = {f.__name__: f for f in (
    uniform.bits, uniform.randint, continuous.cauchy, continuous.maxwell, gammas.loggamma, gammas.t, implicit.von_mises, implicit.truncated_normal,
    counts.bernoulli, counts.rademacher, choices.categorical)}


def named(name: str, draw: Callable[..., Tensor], parameters: str, dtype: Any) -> Callable[..., Tensor]:
    """The method `name(*parameters, size=None, dtype=dtype)`."""
    ours: dict[str, str] = {"size": "shape", "dtype": "dtype"}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter("self", kind)]
    for word in parameters.split():
        theirs, _, default = word.partition("=")
        theirs, _, own = theirs.partition(":")
        ours[theirs] = own or theirs
        given.append(inspect.Parameter(theirs, kind, default=float(default) if default else inspect.Parameter.empty))
    given += [inspect.Parameter("size", kind, default=None), inspect.Parameter("dtype", kind, default=dtype)]
    signature = inspect.Signature(given)

    def method(*args: Any, **kwargs: Any) -> Tensor:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self, *values = bound.arguments.items()
        return draw(self[1].next_key(), **{ours[n]: v for n, v in values})

    method.__name__, method.__qualname__ = name, f"Generator.{name}"
    method.__signature__ = signature
    method.__doc__ = draw.__doc__.split("\n\n")[0] + f"\n\n    See `lazygrad.random.{draw.__name__}`.\n    "
    return method


class Generator:
    """Draws without keys: every call takes the next key of a seed. Names and arguments are those of NumPy's Generator, the numbers are not.

    `Generator(seed).normal(size=(2,))` is `normal(fold_in(key(seed), 0), (2,))`, the next call takes `fold_in(key(seed), 1)`, and so on;
    a draw of `lazygrad.random` that NumPy has not is a method without its key. Inside a traced function (`compile`, `scan`) a draw
    is made once, when it is traced: pass keys there.

    >>> import lazygrad as lg
    >>> one, two = lg.random.Generator(0), lg.random.Generator(0)
    >>> one.normal(size=3).tolist() == two.normal(size=3).tolist(), one.random().item() == one.random().item()
    (True, False)
    """

    def __init__(self, seed: Any, *, graph: Any = None) -> None:
        self.key, self.count = key(seed, graph=graph), 0

    def next_key(self) -> Tensor:
        """The key of the next draw."""
        found = fold_in(self.key, self.count)
        self.count += 1
        return found

    def spawn(self, n_children: int) -> list[Generator]:
        """New generators, independent of each other and of this one."""
        made = []
        for _ in range(operator.index(n_children)):
            child = Generator.__new__(Generator)
            child.key, child.count = self.next_key(), 0
            made.append(child)
        return made

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False) -> Tensor:
        """Integers of [low, high), or [0, low) where there is no high; `endpoint` takes high in."""
        low, high = (0, low) if high is None else (low, high)
        return uniform.randint(self.next_key(), () if size is None else size, low, operator.index(high) + bool(endpoint), dtype)

    def choice(self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0) -> Tensor:
        """Elements of `a` (slices along `axis`), or of the integers below it; with probabilities `p` if given."""
        return choices.choice(self.next_key(), a, () if size is None else size, replace, p, axis)

    def permutation(self, x: Any, axis: int = 0) -> Tensor:
        """The slices of x along `axis` in random order; of an integer, the integers below it."""
        return choices.permutation(self.next_key(), x, axis)

    def permuted(self, x: Any, axis: int | None = None) -> Tensor:
        """x with every vector along `axis` in a random order of its own; all elements where there is no axis."""
        if axis is not None:
            return choices.permutation(self.next_key(), x, axis, True)
        flat = choices.permutation(self.next_key(), x.reshape(-1) if isinstance(x, Tensor) else np.reshape(x, -1))
        return flat.reshape(np.shape(x) if not isinstance(x, Tensor) else x.shape)

    def shuffle(self, x: Tensor, axis: int = 0) -> None:
        """Puts the slices of x along `axis` in random order; see `lazygrad.random.shuffle`."""
        choices.shuffle(self.next_key(), x, axis)

    def multivariate_normal(self, mean: Any, cov: Any, size: Any = None, *, method: str = "eigh", dtype: Any = None) -> Tensor:
        """Normal vectors with a mean and a covariance; `method` "eigh" takes semidefinite ones too, "cholesky" is faster."""
        return vectors.multivariate_normal(self.next_key(), mean, cov, size, dtype, method)

    def pareto(self, a: Any, size: Any = None, dtype: Any = None) -> Tensor:
        """Pareto II (Lomax) of shape parameter `a`, from 0 up: one less than `lazygrad.random.pareto`, as NumPy has it."""
        return continuous.pareto(self.next_key(), a, size, dtype) - 1

    def __getattr__(self, name: str) -> Any:
        if name not in OURS:
            raise AttributeError(f"Generator has no draw {name!r}")
        draw = OURS[name]

        @functools.wraps(draw)
        def method(*args: Any, **kwargs: Any) -> Tensor:
            return draw(self.next_key(), *args, **kwargs)
        return method

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *OURS]

    def __repr__(self) -> str:
        return f"Generator(key={self.key.tolist()}, count={self.count})"


for _rows, _dtype in ((REAL, None), (COUNTS, np.int64)):
    for _name, _draw, _parameters in _rows:
        setattr(Generator, _name, named(_name, _draw, _parameters, _dtype))


def default_rng(seed: Any = None, *, graph: Any = None) -> Generator:
    """A Generator of a seed; of the operating system's randomness where there is none, so different at every call.

    >>> import lazygrad as lg
    >>> lg.random.default_rng(3).integers(6, size=2).dtype
    dtype('int64')
    """
    if isinstance(seed, Generator):
        return seed
    if seed is not None and not hasattr(seed, "__index__"):
        raise ShapeError("default_rng", f"a seed {type(seed).__name__}", "a seed is one integer", "hash what you have first")
    return Generator(int.from_bytes(os.urandom(8), "little") if seed is None else seed, graph=graph)
