"""The tiers of execution: the interpreter, and native code with the record through which its built-in callable is bound.

`LAZYGRAD_BACKEND=reference` in the environment keeps everything interpreted; without llvmlite that happens by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..ir.term import Term


@cache
def setting() -> str:
    """The tier asked for by the environment: "auto" or "reference"."""
    return os.environ.get("LAZYGRAD_BACKEND", "auto")


@cache
def native() -> bool:
    """Whether plans can become native code here."""
    return False


def interpreter(roots: Sequence[Term], sources: Sequence[Term]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A function from the sources' arrays to the roots' arrays, by NumPy alone."""
    from ..reference import program
    return program(roots, sources)


def build(roots: Sequence[Term], sources: Sequence[Term], into: tuple[int | None, ...]) -> Any:
    """Compiles a request to native code."""
    from .. import compiler
    from ..backends import llvm
    return llvm.build(compiler.compile(roots, sources, into, llvm.caps))


def retire() -> None:
    """Lets go of what was bound (called by every sweep)."""
