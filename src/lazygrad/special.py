"""lazygrad.special: special functions under SciPy's names, with derivatives; the incomplete ones by all their arguments.

>>> import lazygrad as lg
>>> x = lg.tensor([0.5])
>>> lg.special.betainc(1.0, 1.0, x).backward()
>>> x.grad.value
array([1.], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .functions import special, special_entropies, special_integrals, special_inverses, special_probabilities  # noqa: F401  (they fill the table)
from .functions.table import FUNCTIONS, SPACES

# SciPy's other names: of functions of whole orders, and of scaled ones that are the same for real arguments
SAME = {"jn": "jv", "yn": "yv", "kn": "kv", "jve": "jv", "yve": "yv"}
# SciPy's name: the name in the main namespace
SHARED = {"gammaln": "lgamma", "digamma": "digamma", "psi": "digamma", "erf": "erf", "erfc": "erfc", "expit": "sigmoid",
          "logit": "logit", "log_expit": "log_sigmoid", "xlogy": "xlogy", "sinc": "sinc", "expm1": "expm1", "log1p": "log1p", "exp2": "exp2",
          "cbrt": "cbrt", "softplus": "softplus"}

__all__ = sorted([*SPACES["special"], *SHARED, *SAME])


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use."""
    if name in SHARED:
        found = FUNCTIONS[SHARED[name]]
    elif SAME.get(name, name) in SPACES["special"]:
        found = SPACES["special"][SAME.get(name, name)]
    else:
        raise AttributeError(f"module 'lazygrad.special' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
