"""Known: requests that became one native function before on this machine, so that passes and emission are skipped.

In: a text that tells one request from another; out: a `Known`, what the runtime asks of a Program, and the key of its object.
Kept in the cache of objects, under the same checks. The key covers the package's files, so another version never matches.
"""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

import numpy as np

from ..cache import objects
from . import externs, jit, target

FOLDERS = ("", "compiler", "prims", "ir", "backends", os.path.join("backends", "llvm"), os.path.join("backends", "math"))      # what a Program and its text depend on


class Known(NamedTuple):
    """`blas`: the code multiplies matrices; `regions`: threads share work; `code`: the key of the object; the others as in Program."""

    arena: int
    work: int
    blas: bool
    regions: bool
    code: bytes
    faults: tuple[tuple[str, str], ...]


@cache
def _package() -> str:
    """The names, sizes and times of the package's files, as Python judges its own compiled files; "" where there are none."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    lines = []
    try:
        for folder in FOLDERS:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if entry.name.endswith(".py"):
                        about = entry.stat()
                        lines.append(f"{folder}/{entry.name} {about.st_size} {about.st_mtime_ns}")
    except OSError:
        return ""
    return "\n".join(sorted(lines))


def key(request: str) -> bytes | None:
    """The key of a request in the cache, None where nothing can be said about the package."""
    package = _package()
    if not package:
        return None
    return objects().key("request", request, package, target.host().fingerprint, jit.version(), np.__version__, repr(externs.blas_kind()))


def recall(at: bytes) -> Known | None:
    """What became of a request."""
    data = objects().get(at)
    if data is None:
        return None
    try:
        code, arena, work, blas, regions, *faults = data.decode().split("\n")
        return Known(int(arena), int(work), blas == "1", regions == "1", bytes.fromhex(code), tuple([(op, message) for op, message in zip(faults[::2], faults[1::2], strict=True)]))
    except ValueError:
        return None


def remember(at: bytes, known: Known) -> None:
    """Keeps it, unless a message has more than one line."""
    words = [word for fault in known.faults for word in fault]
    if not any("\n" in word for word in words):
        objects().put(at, "\n".join((known.code.hex(), str(known.arena), str(known.work), str(int(known.blas)), str(int(known.regions)), *words)).encode())
