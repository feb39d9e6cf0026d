"""A generator for those who want one: draws without keys, each with the next key of a seed."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import random_choice, random_continuous, random_counts, random_uniform
from .random_keys import fold_in, key

DRAWS = {name: getattr(module, name) for module, names in (
    (random_uniform, "bits uniform randint"),
    (random_continuous, "normal lognormal exponential laplace logistic gumbel cauchy rayleigh weibull pareto triangular multivariate_normal"),
    (random_counts, "bernoulli rademacher geometric"),
    (random_choice, "categorical permutation choice"),
) for name in names.split()}


class Generator:
    """Draws without keys: every call takes the next key of a seed.

    `Generator(seed).normal((2,))` is `normal(fold_in(key(seed), 0), (2,))`, the next call takes `fold_in(key(seed), 1)`, and so on;
    every function of `lazygrad.random` that takes a key first is a method without it. Inside a traced function (`compile`, `scan`)
    a draw is made once, when it is traced: pass keys there.

    >>> import lazygrad as lg
    >>> one, two = lg.random.Generator(0), lg.random.Generator(0)
    >>> one.normal((3,)).tolist() == two.normal((3,)).tolist(), one.uniform().item() == one.uniform().item()
    (True, False)
    """

    def __init__(self, seed: Any, *, graph: Any = None) -> None:
        self.key, self.count = key(seed, graph=graph), 0

    def next_key(self) -> Tensor:
        """The key of the next draw."""
        found = fold_in(self.key, self.count)
        self.count += 1
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in DRAWS:
            raise AttributeError(f"Generator has no draw {name!r}")
        draw = DRAWS[name]
        return lambda *args, **kwargs: draw(self.next_key(), *args, **kwargs)

    def __repr__(self) -> str:
        return f"Generator(key={self.key.tolist()}, count={self.count})"