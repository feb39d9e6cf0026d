"""The C functions of wgpu-native: (lib, ffi) for the part of webgpu.h that is used here.

In: the library and the header that PyPI `wgpu` ships. wgpu's own binding parses the whole header when it is imported, a third of
a second in every process; the declarations that are needed take a seventh of that.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

_NAMES = """
    CreateInstance InstanceEnumerateAdapters AdapterGetInfo AdapterInfoFreeMembers AdapterGetLimits AdapterHasFeature AdapterRequestDevice
    DeviceGetQueue DevicePoll DeviceDestroy DeviceRelease QueueRelease QueueSubmitForIndex QueueWriteBuffer QueueGetTimestampPeriod
    DeviceCreateBuffer BufferMapAsync BufferGetConstMappedRange BufferUnmap BufferRelease
    DeviceCreateShaderModule DeviceCreateShaderModuleTrusted ShaderModuleRelease DeviceCreateComputePipeline ComputePipelineRelease
    DeviceCreateBindGroupLayout BindGroupLayoutRelease DeviceCreatePipelineLayout PipelineLayoutRelease DeviceCreateBindGroup BindGroupRelease
    DeviceCreateCommandEncoder CommandEncoderFinish CommandEncoderRelease CommandBufferRelease CommandEncoderBeginComputePass
    CommandEncoderCopyBufferToBuffer CommandEncoderClearBuffer CommandEncoderResolveQuerySet DeviceCreateQuerySet QuerySetRelease
    ComputePassEncoderSetPipeline ComputePassEncoderSetBindGroup ComputePassEncoderDispatchWorkgroups ComputePassEncoderEnd
    ComputePassEncoderRelease GetVersion"""
FUNCTIONS = _NAMES.split()
TYPES = ["WGPUShaderSourceWGSL", "WGPUInstanceExtras", "WGPUNativeSType", "WGPUNativeFeature", "WGPUSType"]
LIBRARIES = {"win32": "wgpu_native{}.dll", "darwin": "libwgpu_native{}.dylib"}
NAME = re.compile(r"\(\s*\*\s*(\w+)\s*\)\s*\(|\b(wgpu\w+)\s*\(|(\w+)\s*$")      # of a callback type, a function, or a type


def declarations(header: str) -> str:
    """The declarations of `FUNCTIONS` and of every type that they need, in the header's order."""
    found: dict[str, list[tuple[int, str]]] = {}
    text = re.sub(r"^\s*(#.*|static const.*)$|//.*$", "", header, flags=re.M)
    for i, part in enumerate(re.findall(r"[^;{}]*(?:\{(?:[^{}]|\{[^{}]*\})*\}[^;{}]*)?;", text)):
        declared = part[:-1].strip()
        name = NAME.search(declared.split("{")[0] if "{" in declared and not declared.startswith("typedef") else declared.split("}")[-1])
        if name:
            found.setdefault(name[1] or name[2] or name[3], []).append((i, part))
    needed: dict[int, str] = {}
    todo, seen = ["wgpu" + f for f in FUNCTIONS] + TYPES, set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for i, part in found.get(name, ()):
            needed[i] = part
            todo += re.findall(r"\bWGPU\w+", part)
    return "\n".join(needed[i].strip() for i in sorted(needed))


@functools.cache
def load() -> tuple[Any, Any]:
    """(lib, ffi). Raises ImportError or OSError where wgpu is missing or cannot be loaded.

    A library named by WGPU_LIB_PATH, or a wgpu laid out in another way, is left to wgpu's own binding.
    """
    spec = importlib.util.find_spec("wgpu")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("wgpu is not installed")
    place = Path(spec.submodule_search_locations[0]) / "resources"
    library = place / LIBRARIES.get(sys.platform, "libwgpu_native{}.so").format("-release")
    header = place / "combined_header.h"
    if "WGPU_LIB_PATH" not in os.environ and library.exists() and header.exists():
        import cffi
        ffi = cffi.FFI()
        try:
            ffi.cdef(declarations(header.read_text()))
            lib = ffi.dlopen(str(library))
            if all(hasattr(lib, "wgpu" + f) for f in FUNCTIONS):
                return lib, ffi
        except (cffi.CDefError, cffi.FFIError):
            pass
    from wgpu.backends.wgpu_native import ffi, lib
    return lib, ffi
