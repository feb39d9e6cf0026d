"""Missing native code fails the whole run: it is never skipped, unless the interpreter alone was asked for."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("SCIPY_ARRAY_API", "1")            # read when SciPy is imported: test_dispatch

from gpu import pytest_terminal_summary as pytest_terminal_summary  # names the adapter of the GPU tests

from lazygrad.backends import llvm
from lazygrad.runtime import tiers


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.environ.get("LAZYGRAD_BACKEND") != "reference" and not tiers.native():
        raise pytest.UsageError(f"no native code: {llvm.reason()}; LAZYGRAD_BACKEND=reference tests the interpreter alone")
