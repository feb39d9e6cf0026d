"""lazygrad.scipy.special: the functions of `lazygrad.special`, in float64 for Python's numbers.

>>> from lazygrad.scipy.special import gammainc
>>> gammainc(1.0, 2.0).dtype
dtype('float64')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import special as _ours
from ..doubles import wide

__all__ = _ours.__all__


def __getattr__(name: str) -> Callable[..., Any]:
    """The functions, made on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'lazygrad.scipy.special' has no attribute {name!r}")
    found = globals()[name] = wide(getattr(_ours, name))
    return found


def __dir__() -> list[str]:
    return __all__
