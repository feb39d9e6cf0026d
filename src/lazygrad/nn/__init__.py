"""lazygrad.nn: the functions of neural networks under torch.nn.functional's names; no layer classes, parameters are arguments.

>>> import lazygrad as lg
>>> x = lg.tensor([-8.0, 0.5, 8.0])
>>> lg.nn.relu6(x).backward()
>>> x.grad.value
array([0., 1., 0.], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..functions.table import FUNCTIONS, SPACES
from . import (  # noqa: F401  (they fill the table)
    activations,
    attention,
    classes,
    contrasts,
    convolution,
    ctc,
    interpolation,
    losses,
    maps,
    noise,
    normalization,
    pooling,
    tables,
)

# names that the main namespace has too
SHARED = ("relu", "leaky_relu", "elu", "silu", "gelu", "sigmoid", "tanh", "softmax", "log_softmax", "logsumexp")
# PyTorch's other names
SAME = {"logsigmoid": "log_sigmoid"}

__all__ = sorted([*SPACES["nn"], *SHARED, *SAME])


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use."""
    if name in SPACES["nn"]:
        found = SPACES["nn"][name]
    elif name in SHARED or name in SAME:
        found = FUNCTIONS[SAME.get(name, name)]
    else:
        raise AttributeError(f"module 'lazygrad.nn' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
