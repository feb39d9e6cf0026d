"""Pool: the threads of native code. In: how many are wanted; out: the entries "region" and "pool" of the table of externs.

Made when the first program that has regions is, its threads by the first region; none of them ever runs Python. One region runs at a
time: another caller's chunks run in his own thread. They end at exit and before a fork; parent and child make them again when needed.
"""

from __future__ import annotations

import atexit
import ctypes
import operator
import os
import signal
import sys
import threading
import time

import numpy as np

from ...errors import DataError
from . import cpus, externs, jit, pool_text, target

SPIN = 50e-6                                   # seconds that a thread looks for work before it sleeps
FAULTS = ("SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS")

_lock = threading.RLock()
_wanted: int | None = None
_pool: Pool | None = None


def system() -> str:
    """The seam of this system."""
    return {"linux": "linux", "win32": "windows"}.get(sys.platform, "posix")


class Pool:
    """A control block and the code over it. `seam`: "linux", "posix" or "windows".

    >>> pool = Pool(system(), 1); pool.wanted, pool.alive
    (1, 0)
    """

    def __init__(self, seam: str, wanted: int) -> None:
        block = np.zeros(pool_text.SIZE + 64, np.uint8)
        shift = -block.__array_interface__["data"][0] % 64
        self.block, self.seam = block[shift:shift + pool_text.SIZE], seam
        self.address: int = self.block.__array_interface__["data"][0]
        faults = tuple([int(getattr(signal, name)) for name in FAULTS if hasattr(signal, name)])
        setmask = int(getattr(signal, "SIG_SETMASK", 0))
        self.code = jit.native(pool_text.text(seam, target.arch(), setmask, faults)).loaded
        self.libraries = [ctypes.WinDLL("kernel32"), ctypes.WinDLL("kernelbase")] if seam == "windows" else [ctypes.CDLL(None)]
        self.region = self.code.address("region")
        self._stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.code.address("stop"))
        pauses = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.code.address("pauses"))
        times = []
        for _ in range(3):
            start = time.perf_counter()
            pauses(300)
            times.append(time.perf_counter() - start)
        self.spin = max(int(SPIN * 300 / max(min(times), 1e-7)), 1)
        self.reset(wanted)

    def word(self, at: int) -> ctypes.c_int32:
        """An int32 of the block."""
        return ctypes.c_int32.from_address(self.address + at)

    def reset(self, wanted: int) -> None:
        """The block as it is before there are threads."""
        self.block[:] = 0
        outside = self.block[pool_text.OUTSIDE:pool_text.MUTEX].view(np.int64)
        for k, name in enumerate(pool_text.SEAMS[self.seam][1]):
            function = next(getattr(library, name) for library in self.libraries if hasattr(library, name))
            outside[k] = ctypes.cast(function, ctypes.c_void_p).value
        if self.seam == "posix":
            for name, at in (("pthread_mutex_init", pool_text.MUTEX), ("pthread_cond_init", pool_text.CONDITION)):
                getattr(self.libraries[0], name)(ctypes.c_void_p(self.address + at), None)
        self.word(pool_text.SPIN).value = self.spin
        self.word(pool_text.WANTED).value = wanted

    @property
    def wanted(self) -> int:
        """Threads of a region, the caller's own counted; fewer than were asked for where the system gave no more."""
        return self.word(pool_text.WANTED).value

    @wanted.setter
    def wanted(self, n: int) -> None:
        self.word(pool_text.WANTED).value = min(n, pool_text.MOST + 1)
        if self.alive > n - 1:
            self.stop()

    @property
    def alive(self) -> int:
        """Threads there are, the caller's not counted."""
        return self.word(pool_text.ALIVE).value

    def stop(self) -> None:
        """Ends the threads, after the region that runs; the next region makes them again."""
        self._stop(self.address)


def prepare() -> Pool:
    """The pool, with its entries in the table of externs."""
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                made = Pool(system(), get_num_threads())
                table = externs.table()
                table[externs.INDEX["pool"]] = made.address
                table[externs.INDEX["region"]] = made.region
                atexit.register(_end)
                _pool = made
    return _pool


def get_num_threads() -> int:
    """The number of threads that large kernels run on, the calling one counted.

    >>> import lazygrad as lg
    >>> before = lg.get_num_threads()
    >>> lg.set_num_threads(2); lg.get_num_threads()
    2
    >>> lg.set_num_threads(before)
    """
    global _wanted
    with _lock:
        if _wanted is None:
            _wanted = cpus.count()
        return _wanted


def set_num_threads(n: int) -> None:
    """Sets how many threads large kernels run on; results are the same, bit for bit, for every number.

    The default is the number of CPUs that the process may use (affinity mask, quota of its control group), or
    $LAZYGRAD_NUM_THREADS. Work of less than some 12 µs never leaves the calling thread.
    """
    global _wanted
    came = repr(n)
    try:
        n = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        n = 0
    if n < 1:
        raise DataError("set_num_threads", came, "not a number of threads", "pass an integer of 1 or more")
    with _lock:
        _wanted = n
        if _pool is not None:
            _pool.wanted = n


def _end() -> None:
    if _pool is not None:
        _pool.wanted = 1


def _alone() -> None:
    """Before a fork: nothing of a thread is left behind in the child, and Python (3.12) has nothing to warn about."""
    if _pool is not None and _pool.alive:
        _pool.stop()


def _child() -> None:
    """In the child of a fork only the thread that forked is left."""
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.reset(_pool.wanted)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_alone, after_in_child=_child)
