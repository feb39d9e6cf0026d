"""Adapters: the GPUs that this machine offers, and the choice of one.

In: an index, a name or a power preference; out: an `AdapterInfo` and the native handle. Opens no device; wgpu-native is loaded
on first use.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import operator
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DeviceError, DeviceLostError, NoGpuError
from ...ir.record import changed, record
from . import binding

VARIABLE = "LAZYGRAD_GPU"                                        # an index or a part of a name, when the program names no adapter
KINDS = {"DiscreteGPU": "discrete", "IntegratedGPU": "integrated", "CPU": "software"}
BACKENDS = ("Vulkan", "Metal", "D3D12", "OpenGL")                # the earlier one is taken where two offer the same GPU
VULKAN, OPENGL, METAL, D3D12, DEFAULT_FLAGS = 1, 2, 4, 8, 1 << 24            # WGPUInstanceBackend, WGPUInstanceFlag of wgpu.h
TERMINATED = (1 << 8 * ctypes.sizeof(ctypes.c_size_t)) - 1       # the length of a string that ends in a zero byte
ORDER = {"high-performance": ("discrete", "integrated", "other", "software"),
         "low-power": ("integrated", "discrete", "other", "software")}
PACKAGES = {"debian": "apt install mesa-vulkan-drivers", "ubuntu": "apt install mesa-vulkan-drivers",
            "fedora": "dnf install mesa-vulkan-drivers vulkan-loader", "rhel": "dnf install mesa-vulkan-drivers vulkan-loader",
            "arch": "pacman -S vulkan-icd-loader vulkan-radeon vulkan-intel vulkan-swrast",
            "suse": "zypper install libvulkan1 libvulkan_radeon libvulkan_intel libvulkan_lvp",
            "alpine": "apk add vulkan-loader mesa-vulkan-ati mesa-vulkan-intel mesa-vulkan-swrast"}


@record
class AdapterInfo:
    """One adapter: a GPU (or a CPU that plays one, kind "software") as one of the system's graphics interfaces offers it."""

    index: int
    name: str
    kind: str                    # "discrete", "integrated", "other" or "software"
    backend: str                 # "Vulkan", "Metal", "D3D12" or "OpenGL"
    driver: str
    vendor: str

    def __str__(self) -> str:
        return f"gpu:{self.index}: {self.name} ({', '.join(filter(None, (self.kind, self.backend, self.driver)))})"


_lock = threading.Lock()
_found: list[tuple[AdapterInfo, Any]] = []
_touched = False                 # wgpu-native was used in this process
_forked = False                  # ... or in the one that this process was forked from: its driver's threads are not here


def _after_fork() -> None:
    global _lock, _forked
    _lock, _forked = threading.Lock(), _forked or _touched


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def native() -> tuple[Any, Any]:
    """(lib, ffi) of wgpu-native. Raises NoGpuError where it cannot be loaded."""
    try:
        return binding.load()
    except (ImportError, OSError, RuntimeError) as e:
        raise NoGpuError("WgpuDevice", "", f"the package wgpu cannot be loaded ({e})", "pip install wgpu") from e


@contextlib.contextmanager
def _runtime_directory() -> Iterator[None]:
    """Mesa complains on stderr where XDG_RUNTIME_DIR is missing; it has one while adapters are looked for."""
    if sys.platform != "linux" or "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    import tempfile  # slow to import

    os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    try:
        yield
    finally:
        os.environ.pop("XDG_RUNTIME_DIR", None)


@functools.cache
def _instance(backends: int) -> Any:
    """The wgpu-native instance for these interfaces; it lives as long as the process."""
    lib, ffi = native()
    extras = ffi.new("WGPUInstanceExtras *", {"backends": backends, "flags": DEFAULT_FLAGS})
    extras.chain.sType = lib.WGPUSType_InstanceExtras
    return lib.wgpuCreateInstance(ffi.new("WGPUInstanceDescriptor *", {"nextInChain": ffi.cast("WGPUChainedStruct *", extras)}))


def _enumerate(backends: int) -> list[tuple[AdapterInfo, tuple[int, int], Any]]:
    """(adapter, (vendor, device) numbers, handle) of every adapter that these interfaces offer."""
    lib, ffi = native()
    instance = _instance(backends)
    if instance == ffi.NULL:
        return []
    handles = ffi.new("WGPUAdapter[]", lib.wgpuInstanceEnumerateAdapters(instance, ffi.NULL, ffi.NULL))
    lib.wgpuInstanceEnumerateAdapters(instance, ffi.NULL, handles)
    found = []
    for handle in handles:
        info = ffi.new("WGPUAdapterInfo *")
        lib.wgpuAdapterGetInfo(handle, info)
        name, driver, vendor = [view_text(view) for view in (info.device, info.description, info.vendor)]
        kind = next((k for n, k in KINDS.items() if info.adapterType == getattr(lib, f"WGPUAdapterType_{n}")), "other")
        backend = next((b for b in BACKENDS if info.backendType == getattr(lib, f"WGPUBackendType_{b}", None)), "OpenGL")
        found.append((AdapterInfo(0, name, kind, backend, driver, vendor), (info.vendorID, info.deviceID), handle))
        lib.wgpuAdapterInfoFreeMembers(info[0])
    return found


def view_text(view: Any) -> str:
    """The text of a WGPUStringView."""
    _, ffi = native()
    if not view.data:
        return ""
    data = ffi.string(view.data) if view.length == TERMINATED else ffi.buffer(view.data, view.length)[:]
    return data.decode(errors="replace")


def adapters() -> list[tuple[AdapterInfo, Any]]:
    """(adapter, native handle) of all adapters, the fastest kinds first; looked for once, or until there is one.

    OpenGL is asked only where nothing else is there. A GPU that two interfaces offer is listed once. Raises DeviceLostError in
    a process forked from one that used the GPU.
    """
    global _touched
    if _forked:
        raise DeviceLostError("WgpuDevice", "", "this process was forked from one that uses the GPU, which drivers do not support",
                              'start it with multiprocessing\'s "spawn" method')
    with _lock, _runtime_directory():
        if not _found:
            _touched = True
            found = _enumerate(VULKAN | METAL | D3D12) or _enumerate(OPENGL)
            ranks = ORDER["high-performance"]
            found.sort(key=lambda f: (ranks.index(f[0].kind), BACKENDS.index(f[0].backend)))
            first = {}                                   # (vendor, device) -> the interface that is taken
            kept = [f for f in found if first.setdefault((f[1], f[0].kind), f[0].backend) == f[0].backend]
            _found.extend((changed(info, index=i), handle) for i, (info, _, handle) in enumerate(kept))
        return list(_found)


def forget() -> None:
    """Look for adapters again next time: after a device was lost."""
    with _lock:
        _found.clear()


def wanted() -> int | str | None:
    """What the environment variable LAZYGRAD_GPU asks for: an index ("1", "gpu:1"), a part of a name, or nothing."""
    text = os.environ.get(VARIABLE, "").strip()
    number = text.removeprefix("gpu:")
    return int(number) if number.isdecimal() else text or None


def parse(text: str) -> int | None:
    """The index in "gpu:1"; None for "gpu", which leaves the choice open.

    >>> parse("gpu:1"), parse("gpu")
    (1, None)
    """
    head, colon, number = text.partition(":")
    if head != "gpu" or (colon and not number.isdecimal()):
        raise DeviceError("device", repr(text), "not the name of a device", '"cpu", "gpu" and "gpu:1" are names')
    return int(number) if colon else None


def choose(index: int | None = None, name: str | None = None, power_preference: str | None = None) -> tuple[AdapterInfo, Any]:
    """The adapter asked for and its handle: by index, by a part of its name, by power preference, by LAZYGRAD_GPU, or the first.

    Raises NoGpuError where there is no adapter at all, DeviceError where none is as asked.
    """
    came = ", ".join(f"{k}={v!r}" for k, v in (("index", index), ("name", name), ("power_preference", power_preference)) if v is not None)
    if came.count("=") > 1:
        raise DeviceError("WgpuDevice", came, "one way to choose an adapter at a time", "give only one")
    if power_preference is not None and power_preference not in ORDER:
        raise DeviceError("WgpuDevice", came, "not a power preference", "give " + " or ".join(map(repr, ORDER)))
    found = adapters()
    if not found:
        raise NoGpuError("WgpuDevice", "", "no GPU adapter was found", "\n".join(missing()))
    if not came:
        asked = wanted()
        came = f"{VARIABLE}={asked}"
        index, name = (asked, None) if isinstance(asked, int) else (None, asked)
    if index is not None:
        index = operator.index(index)
        matching = [f for f in found if f[0].index == index]
    elif name is not None:
        matching = [f for f in found if name.casefold() in f[0].name.casefold()]
    else:
        matching = sorted(found, key=lambda f: ORDER[power_preference or "high-performance"].index(f[0].kind))
    if not matching:
        raise DeviceError("WgpuDevice", came, "no such adapter", "there is " + "; ".join(str(info) for info, _ in found))
    return matching[0]


def missing(root: str = "/", platform: str = sys.platform) -> list[str]:
    """Why there may be no adapter here, and what would bring one: one sentence each."""
    if platform == "darwin":
        return ["macOS 10.15 and newer offer every GPU through Metal: a virtual machine without graphics, or a session without a "
                "window server, has none"]
    if platform.startswith("win"):
        return ["Windows offers GPUs through Direct3D 12 or Vulkan: install the driver of the GPU's maker, or allow the "
                "'Microsoft Basic Render Driver' in a virtual machine"]
    base = Path(root)
    reasons = []
    try:
        ctypes.CDLL("libvulkan.so.1")
    except OSError:
        reasons.append("libvulkan.so.1, the Vulkan loader, is not installed")
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if named:
        gone = [f for f in named.split(os.pathsep) if not Path(f).exists()]
        reasons.append(f"VK_DRIVER_FILES or VK_ICD_FILENAMES names {', '.join(gone)}: no such file; unset it" if gone
                       else f"VK_DRIVER_FILES or VK_ICD_FILENAMES allows only {named}, which offers no adapter")
    places = [base / p / "vulkan" / "icd.d" for p in ("usr/share", "usr/local/share", "etc")]
    drivers = sorted(f.name for p in places if p.is_dir() for f in p.glob("*.json"))
    if not drivers:
        reasons.append("no Vulkan driver is installed (no *.json in " + ", ".join(map(str, places)) + ")")
    elif not named:
        reasons.append(f"the installed Vulkan drivers ({', '.join(drivers)}) offer no adapter")
    try:
        names = dict(line.split("=", 1) for line in (base / "etc/os-release").read_text().splitlines() if "=" in line)
    except OSError:
        names = {}
    family = (names.get("ID", "") + " " + names.get("ID_LIKE", "")).replace('"', "").replace("opensuse", "suse").split()
    package = next((PACKAGES[f.split("-")[0]] for f in family if f.split("-")[0] in PACKAGES), "your distribution's mesa-vulkan-drivers")
    reasons.append(f"for AMD, Intel and software rendering: {package}")
    if (base / "proc/driver/nvidia/version").exists() or (base / "dev/nvidiactl").exists():
        reasons.append("an NVIDIA kernel driver is loaded: its Vulkan part is in the package libnvidia-gl of the same version; a container "
                       "also needs NVIDIA_DRIVER_CAPABILITIES=all")
    else:
        reasons.append("for NVIDIA: the maker's driver with its Vulkan part (libnvidia-gl)")
    nodes = sorted((base / "dev/dri").glob("renderD*")) if (base / "dev/dri").is_dir() else []
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        reasons.append(f"{nodes[0]} may not be opened by this user: add the user to the group 'render'")
    return reasons
