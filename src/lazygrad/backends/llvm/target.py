"""Target: the machine that code is made for. In: nothing, or a level such as "x86-64-v3"; out: a `Target`.

The host is told apart by a fingerprint of its own description (no LLVM is loaded for that), so that object code made
on this CPU is found again in the cache; LLVM is asked for its name and features only when something is compiled.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache

from ...ir.record import record
from ..cache import sha256

HOST = "host"                                  # Target.cpu: the CPU this runs on, whatever LLVM calls it

# the x86-64 levels of the System V psABI: features of each beyond the one before
LEVELS = {
    "x86-64": "cx8 fxsr mmx sse sse2",
    "x86-64-v2": "cx16 lahf_lm popcnt sse3 sse4.1 sse4.2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma lzcnt movbe",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}
# how the description of a CPU spells what LLVM spells otherwise
SPELLING = {"sse4_1": "sse4.1", "sse4_2": "sse4.2", "pni": "sse3", "asimd": "neon", "abm": "lzcnt", "asimdhp": "fullfp16"}
ALWAYS = {"x86_64": frozenset(LEVELS["x86-64"].split()), "aarch64": frozenset({"neon", "fma"})}


@record
class Target:
    """A CPU: LLVM's `triple`, `cpu` and `features` (cpu "host": asked of LLVM when compiling).

    `lanes_bytes` is the width of the vectors to write; LLVM splits them into the registers that there are. `has` are
    instruction sets known to be there (a subset). `fingerprint` stands for the CPU in the key of the object cache.

    >>> "avx2" in level("x86-64-v3").has
    True
    """

    triple: str
    cpu: str
    features: str = ""
    lanes_bytes: int = 64
    ilp64: bool = True                         # integers of BLAS are 64 bits wide
    has: frozenset[str] = frozenset()
    fingerprint: str = ""

    @property
    def arch(self) -> str:
        """The instruction set: "x86_64", "aarch64" or another."""
        return self.triple.split("-")[0]

    @property
    def native(self) -> bool:
        """Whether the code runs here."""
        return self.cpu == HOST


def arch() -> str:
    """This process's instruction set, by LLVM's name ("" where it has 32-bit addresses: not supported)."""
    if sys.maxsize < 1 << 32:
        return ""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _first_processor() -> str:
    """The lines of /proc/cpuinfo about the first CPU that describe its kind ("" elsewhere)."""
    keep = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU architecture",
            "CPU variant", "CPU part", "Features", "isa", "uarch")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = []
            for line in file:                  # of a machine of hundreds of CPUs only the first is read
                if not line.strip():
                    break
                if line.split(":")[0].strip() in keep:
                    lines.append(line.strip())
            return "\n".join(lines)
    except OSError:
        return ""


def _darwin() -> str:
    """The brand and the instruction sets of a Mac's CPU."""
    try:
        call = ctypes.CDLL(None).sysctlbyname
        out = []
        for name in (b"machdep.cpu.brand_string", b"machdep.cpu.features", b"machdep.cpu.leaf7_features"):
            size = ctypes.c_size_t(4096)
            text = ctypes.create_string_buffer(size.value)
            if call(name, text, ctypes.byref(size), None, ctypes.c_size_t(0)) == 0:
                out.append(text.value.decode(errors="replace"))
        return "\n".join(out)
    except (OSError, AttributeError):
        return ""


@cache
def description() -> str:
    """A text that differs between CPUs that differ in their instructions."""
    text = _darwin() if sys.platform == "darwin" else _first_processor()
    return text or f"{platform.processor()} {os.environ.get('PROCESSOR_IDENTIFIER', '')}"


def _features(text: str) -> frozenset[str]:
    words = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            words.update(value.split())
        elif sys.platform == "darwin":         # plain lists, in capitals
            words.update(line.lower().replace("avx1.0", "avx").split())
    return frozenset(SPELLING.get(w, w) for w in words) | ALWAYS.get(arch(), frozenset())


@cache
def host() -> Target:
    """The CPU this process runs on."""
    from . import externs

    system = {"darwin": "apple-darwin", "win32": "pc-windows-msvc"}.get(sys.platform, f"unknown-{sys.platform}-gnu")
    text = "\n".join((arch(), sys.platform, description()))
    return Target(f"{arch()}-{system}", HOST, "", ilp64=externs.blas_kind().ilp64, has=_features(description()),
                  fingerprint=sha256(text.encode()).hexdigest())


def level(name: str) -> Target:
    """Another CPU on Linux, to look at its assembly: "x86-64", "x86-64-v2", "-v3", "-v4" or "aarch64".

    >>> level("aarch64").arch, level("x86-64-v2").has >= {"sse4.1"}
    ('aarch64', True)
    """
    if name == "aarch64":
        return Target("aarch64-unknown-linux-gnu", "generic", "+neon", has=ALWAYS["aarch64"], fingerprint=name)
    below = list(LEVELS)[:list(LEVELS).index(name) + 1]
    has = frozenset(" ".join(LEVELS[n] for n in below).split())
    return Target("x86_64-unknown-linux-gnu", name, "", has=has, fingerprint=name)
