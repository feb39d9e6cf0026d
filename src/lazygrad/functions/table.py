"""The table of public functions, and `public`, which puts a rule into it.

A rule (Terms -> Term) stays what its module's name is bound to, so rules call rules; the table holds its lifted form,
which takes and returns tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lift import operation

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def public(*aliases: str, method: bool | str | tuple[str, ...] = False, operator: str | None = None,
           name: str | None = None) -> Callable[[Callable], Callable]:
    """Lift a rule and list it under its own name and `aliases`.

    `method`: True for a method of every one of these names, or the names themselves. `operator`: the Python operator
    it implements ("add" for `+`, reflected too).
    """
    def wrap(rule: Callable) -> Callable:
        names = (name or rule.__name__.rstrip("_"), *aliases)
        methods = names if method is True else (method,) if isinstance(method, str) else method or ()
        rule.__name__ = rule.__qualname__ = names[0]
        lifted = operation(method=methods, operator=operator)(rule)
        for n in names:
            if n in FUNCTIONS:
                raise ValueError(f"two functions are named {n!r}")
            FUNCTIONS[n] = lifted
        return rule
    return wrap


def plain(*aliases: str) -> Callable[[Callable], Callable]:
    """List a function of tensors that is not a rule (it evaluates, or takes functions)."""
    def wrap(function: Callable) -> Callable:
        for n in (function.__name__.rstrip("_"), *aliases):
            FUNCTIONS[n] = function
        return function
    return wrap
