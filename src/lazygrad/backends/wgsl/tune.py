"""Tune: which choice for a matrix product is fastest on this device, and how many threads a workgroup should have that shares a
row, by measuring; kept on disk for the next process.

Opt-in: `LAZYGRAD_TUNE=1`, or whoever asks `best` to search. In: a device, a Gemm and its dtype, or a kernel. Out: a `Choice`
or a number, None or 0 where nothing is known (`gemm.choice_for` and `kernels` then have one). What is found holds for all
products of a class: sizes up to the same powers of two, same transposes and dtype, on the same adapter and driver. Measuring
takes a second or so for each class: a compilation for every candidate.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.kernel import Kernel
from ...ir.program import Gemm
from ...ir.record import changed, record
from ..cache import objects
from . import kernels
from .gemm import Choice, Product, choice_for, fits, normal, shader

if TYPE_CHECKING:
    from .device import WgpuDevice

VARIABLE = "LAZYGRAD_TUNE"
FORMAT = "choices 1"          # changes when the generator does: what was measured before says nothing then
RANDOM = 8                         # candidates beside the hand-picked ones
ROUNDS = 3
HOPELESS = 3.0                     # times the best of the first round: not measured again
HAND = (Choice("tiles", 128, 128, 16, 8, 8), Choice("tiles", 128, 64, 16, 8, 8), Choice("tiles", 64, 64, 16, 8, 8),
        Choice("tiles", 64, 64, 16, 8, 4),
        Choice("tiles", 64, 64, 16, 4, 4), Choice("tiles", 32, 32, 16, 4, 4), Choice("direct", 64, 64, 4, 8, 8),
        Choice("direct", 16, 32, 4, 8, 8),
        Choice("direct", 16, 16, 4, 4, 4, 4), Choice("direct", 4, 8, 4, 4, 4, 32), Choice("direct", 1, 4, 4, 1, 4, 64),
        Choice("direct", 1, 64, 4, 1, 4, 16))

_lock = threading.Lock()
_known: dict[bytes, Choice | None] = {}
_threads: dict[bytes, int] = {}


class Tuner:
    """What was measured on a device, measured now where it was not yet."""

    def __init__(self, device: WgpuDevice) -> None:
        self.device = device

    def choice(self, gemm: Gemm, dtype: np.dtype) -> Choice | None:
        """The best choice for a product."""
        return best(self.device, gemm, dtype, True)

    def threads(self, kernel: Kernel, structure: tuple, sizes: Sequence[int], aliases: Sequence[int] | None) -> int:
        """The best number of threads for a kernel whose grid steps are shared by a workgroup, 0 for another kernel.

        `structure` decides the kernel's text; its buffers are filled with ordinary numbers, so indices that are data may be faults.
        """
        device = self.device
        counts = kernels.shared_threads(kernel, device.traits, aliases)
        if len(counts) < 2 or any([p.dtype.kind not in "f" for p in kernel.params]):     # data that are indices or masks decide the work
            return 0
        key = objects().key(FORMAT, "threads", device.info.name, device.info.driver, repr(device.traits), repr((structure, tuple(sizes), aliases)))
        with _lock:
            found = _threads.get(key)
        if found is None:
            data = objects().get(key)
            found = int(data) if data is not None and data.isdigit() and int(data) in counts else 0
        if not found:
            same = range(len(sizes)) if aliases is None else aliases
            made = [_filled(device, max(n, 1), p.dtype) for n, p in zip(sizes, kernel.params, strict=True)]
            cell = device.allocate(16)
            candidates = {n: device.launch(kernels.shader(kernel, device.traits, sizes, aliases, n), [made[p] for p in same], cell) for n in counts}
            seconds = measure(device, candidates)
            found = min(seconds, key=seconds.__getitem__)
            objects().put(key, str(found).encode())
        with _lock:
            _threads[key] = found
        return found


@record
class Found:
    """The result of a search: the fastest choice, its seconds, and the seconds of all that were measured."""

    choice: Choice
    seconds: float
    all: dict


def wanted() -> bool:
    """Whether the environment asks for measuring."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def forget() -> None:
    """Drop what this process knows; the disk keeps its files."""
    with _lock:
        _known.clear()
        _threads.clear()


def best(device: WgpuDevice, gemm: Gemm, dtype: np.dtype, search_now: bool | None = None) -> Choice | None:
    """The measured choice for a product; measures it first if asked to (by `search_now`, or the environment)."""
    measuring = wanted() if search_now is None else search_now
    if not measuring:
        return None
    found = known(device, gemm, dtype)
    return found or search(device, gemm, dtype).choice


def known(device: WgpuDevice, gemm: Gemm, dtype: np.dtype) -> Choice | None:
    """What an earlier search of this class found, in this process or another."""
    p = normal(gemm)
    key = _key(device, p, dtype)
    with _lock:
        if key not in _known:
            _known[key] = _read(key)
        choice = _known[key]
    return choice if choice is not None and fits(choice, p, dtype, device.traits) else None


def search(device: WgpuDevice, gemm: Gemm, dtype: np.dtype, extra: int = RANDOM, rounds: int = ROUNDS,
           candidates: Sequence[Choice] | None = None) -> Found:
    """Measure the static choice, the hand-picked ones (or `candidates`) and `extra` random ones; the fastest is
    kept."""
    g = changed(gemm, epilogue=None, more=(), a=0, b=1, c=2, ldc=max(gemm.ldc, gemm.n))
    p = normal(g)
    key = _key(device, p, dtype)
    chosen = [choice_for(g, dtype, device.traits), *(HAND if candidates is None else candidates), *_random(extra, key)]
    sizes = _sizes(g)
    buffers = [_filled(device, n, dtype) for n in sizes]
    launches = {}
    for c in dict.fromkeys(chosen):
        if fits(c, p, dtype, device.traits):
            launches[c] = device.launch(shader(g, dtype, device.traits, None, sizes, c), buffers)
    seconds = measure(device, launches, rounds)
    choice = min(seconds, key=seconds.__getitem__)
    with _lock:
        _known[key] = choice
    objects().put(key, json.dumps([getattr(choice, f) for f in Choice.__match_args__]).encode())
    return Found(choice, seconds[choice], seconds)


def measure(device: WgpuDevice, candidates: dict[Any, list], rounds: int = ROUNDS) -> dict[Any, float]:
    """The least seconds of each candidate (a list of launches), taken in turns so that a busy moment meets all of them
    alike."""
    seconds: dict[Any, float] = {}
    for round_ in range(rounds + 1):             # the first run compiles
        for name, launches in candidates.items():
            if round_ > 1 and seconds[name] > HOPELESS * min(seconds.values()):
                continue
            took = sum(device.time(launches))
            if round_:
                seconds[name] = min(took, seconds.get(name, took))
    return seconds


def _sizes(g: Gemm) -> tuple[int, int, int]:
    """Elements that the product touches in A, B and C."""
    def reach(rows: int, cols: int, stride: int, step: int, offset: int) -> int:
        return offset + (g.batch - 1) * step + (rows - 1) * stride + cols

    a = reach(*((g.k, g.m) if g.trans_a else (g.m, g.k)), g.lda, g.a_step, g.a_offset)
    b = reach(*((g.n, g.k) if g.trans_b else (g.k, g.n)), g.ldb, g.b_step, g.b_offset)
    return a, b, reach(g.m, g.n, g.ldc, g.c_step or g.m * g.ldc, g.c_offset)


def _filled(device: WgpuDevice, size: int, dtype: np.dtype) -> Any:
    """A buffer of ordinary numbers: zeros and NaN can be faster or slower."""
    buffer = device.allocate(-(-size * dtype.itemsize // 16) * 16)
    block = np.random.default_rng(0).standard_normal(1 << 16).astype(dtype).view(np.uint8)
    device.write(buffer, np.resize(block, buffer.size))
    return buffer


def _random(count: int, key: bytes) -> Iterable[Choice]:
    """Choices by chance, the same ones for the same class."""
    chance = random.Random(key)
    for _ in range(count):
        tm, tn = chance.choice((2, 4, 8)), chance.choice((4, 8))
        if chance.random() < 0.5:
            yield Choice("tiles", chance.choice((4, 8, 16)) * max(tm, 4), chance.choice((4, 8, 16)) * tn,
                         chance.choice((8, 16, 32)), max(tm, 4), tn)
        else:
            yield Choice("direct", chance.choice((1, 2, 4, 8)) * tm, chance.choice((1, 2, 4, 8)) * tn, 4, tm, tn,
                         chance.choice((1, 1, 4, 16)))


def _bucket(size: int) -> int:
    """Sizes of one class have the same: the next power of two, small sizes themselves."""
    return size if size <= 4 else 1 << (size - 1).bit_length()


def _key(device: WgpuDevice, p: Product, dtype: np.dtype) -> bytes:
    g = p.gemm
    odd = [x % 4 > 0 for x in (g.lda, g.ldb, g.n)]         # read in quads or one by one
    form = [FORMAT, device.info.name, device.info.driver, repr(device.traits), dtype.name,
            repr((g.trans_a, g.trans_b, p.turned, odd)),
            repr([_bucket(x) for x in (g.m, g.n, g.k, g.batch)])]
    return objects().key(*form)


def _read(key: bytes) -> Choice | None:
    """The choice on disk, None where there is none that makes sense."""
    data = objects().get(key)
    if data is None:
        return None
    try:
        form, *numbers = json.loads(data)
        if form in ("tiles", "direct") and all([type(x) is int and 0 < x <= 4096 for x in numbers]):
            return Choice(form, *numbers)
    except (ValueError, TypeError):
        pass
    return None
