"""The user's side of a call: the position in his source, and whether this thread records derivatives.

In: frames. Out: code positions that handles keep (and errors name), and the state of `no_grad`.
"""

from __future__ import annotations

import functools
import linecache
import threading
from typing import Any

# ---- where the user is ----------------------------------------------------------------------------------------------

class _Files(dict):
    """Source file -> whether it belongs to this package."""

    root = __file__.rpartition("context")[0]

    def __missing__(self, name: str) -> bool:
        inside = name.startswith(self.root)
        self[name] = inside
        return inside


PACKAGE = _Files()
USERS: set[str] = set()                    # source files known to be outside: a quick test for calls made by the user himself


def user_frame(frame: Any) -> tuple[Any, int]:
    """Code and instruction of the nearest frame outside the package."""
    code = frame.f_code
    while code.co_filename not in USERS:
        if not PACKAGE[code.co_filename]:
            USERS.add(code.co_filename)
            break
        if frame.f_back is None:
            break
        frame = frame.f_back
        code = frame.f_code
    return code, frame.f_lasti


def source_line(code: Any, at: int) -> str:
    """`file:line: source text` of a position."""
    number = next((n for a, b, n in code.co_lines() if a <= at < b and n is not None), code.co_firstlineno)
    text = linecache.getline(code.co_filename, number).strip()
    return f"{code.co_filename}:{number}" + (f": {text}" if text else "")


# ---- gradients switched off -----------------------------------------------------------------------------------------

BARRED: list[int] = []                     # one entry per `no_grad` block that is open in any thread
_own = threading.local()


def barred() -> bool:
    """Whether this thread is inside `no_grad`."""
    return getattr(_own, "depth", 0) > 0


def stopping() -> bool:
    """Whether results made now stay without derivatives."""
    return bool(BARRED) and barred()


class recording:
    """Within it this thread records derivatives, also inside of `no_grad`."""

    def __enter__(self) -> None:
        self.depth = getattr(_own, "depth", 0)
        _own.depth = 0

    def __exit__(self, *exc: object) -> None:
        _own.depth = self.depth


class no_grad:
    """Within it (a `with` block or a decorated function) results do not record how they depend on anything.

    >>> import lazygrad as lg
    >>> x = lg.tensor(2.0)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad, (x * x).requires_grad
    (False, True)
    """

    def __enter__(self) -> None:
        _own.depth = getattr(_own, "depth", 0) + 1
        BARRED.append(0)

    def __exit__(self, *exc: object) -> None:
        _own.depth -= 1
        BARRED.pop()

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def without(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)
        return without
