"""Tint, the WGSL compiler of Dawn and Chrome, as a judge of shaders: `check(source)` is "" or what Tint has against them.

Dawn comes from PyPI `dawn-python` (a shared library and its ctypes prototypes) and runs on its null backend: parsing, types,
uniformity and limits are checked, nothing is executed, no GPU or driver is needed. Experimental extensions are refused.
"""

from __future__ import annotations

import ctypes
import functools
import re
import warnings
from typing import Any

# naga knows subgroup functions without a directive and refuses the directive; Tint asks for it.
SUBGROUPS = re.compile(r"\bsubgroup[A-Z]\w*\s*\(|@builtin\(subgroup_")
ENABLED = re.compile(r"^\s*enable\s[^;]*\bsubgroups\b", re.MULTILINE)


def for_tint(source: str) -> str:
    """`source` as Tint and browsers want it: subgroup functions need `enable subgroups;`."""
    needed = SUBGROUPS.search(source) and not ENABLED.search(source)
    return f"enable subgroups; {source}" if needed else source


def check(source: str, entry: str = "main", portable: bool = True) -> str:
    """Makes a shader module of `source` and, if `portable`, a compute pipeline within the limits that every WebGPU device has
    (256 threads, 16 KiB shared memory, 8 storage buffers): the message of the first that fails, "" if none does.
    """
    dawn, device = _dawn(), _device()
    code, name = _view(for_tint(source)), _view(entry)
    wgsl = dawn.WGPUShaderModuleWGSLDescriptor(code=code)
    wgsl.chain.sType = dawn.WGPUSType_ShaderSourceWGSL
    dawn.wgpuDevicePushErrorScope(device, dawn.WGPUErrorFilter_Validation)
    module = dawn.wgpuDeviceCreateShaderModule(device, dawn.WGPUShaderModuleDescriptor(nextInChain=_chain(wgsl)))
    message = _pop(device)
    if portable and not message:
        stage = dawn.WGPUComputeState(module=module, entryPoint=name)
        dawn.wgpuDevicePushErrorScope(device, dawn.WGPUErrorFilter_Validation)
        pipeline = dawn.wgpuDeviceCreateComputePipeline(device, dawn.WGPUComputePipelineDescriptor(compute=stage))
        message = _pop(device)
        dawn.wgpuComputePipelineRelease(pipeline)
    dawn.wgpuShaderModuleRelease(module)
    return message


# ---- Dawn through ctypes ---------------------------------------------------------------------------------------------

@functools.cache
def _dawn() -> Any:
    with warnings.catch_warnings():                  # ctypes warns of the package's `_pack_` on newer Pythons
        warnings.simplefilter("ignore")
        from pydawn import webgpu
    return webgpu


@functools.cache
def _instance() -> Any:
    descriptor = _dawn().WGPUInstanceDescriptor()
    descriptor.features.timedWaitAnyEnable = True
    return _dawn().wgpuCreateInstance(descriptor)


def _view(text: str) -> Any:
    """A string view, which holds the bytes: it must outlive the call it is passed to."""
    data = text.encode()
    buffer = ctypes.create_string_buffer(data)
    return _dawn().WGPUStringView(data=ctypes.cast(buffer, ctypes.POINTER(ctypes.c_char)), length=len(data))


def _string(view: Any) -> str:
    return ctypes.string_at(view.data, view.length).decode() if view.data and view.length else ""


def _chain(record: Any) -> Any:
    return ctypes.cast(ctypes.pointer(record), ctypes.POINTER(_dawn().struct_WGPUChainedStruct))


def _wait(future: Any) -> None:
    dawn = _dawn()
    info = dawn.WGPUFutureWaitInfo(future=future)
    if dawn.wgpuInstanceWaitAny(_instance(), 1, info, 2**64 - 1) != dawn.WGPUWaitStatus_Success:
        raise RuntimeError("Dawn: a wait failed")


def _pop(device: Any) -> str:
    """The message of the error scope pushed last, "" without an error."""
    dawn = _dawn()
    got: list[str] = []

    def receive(status: int, kind: int, message: Any, user: Any) -> None:
        if status != dawn.WGPUPopErrorScopeStatus_Success:
            got.append(f"Dawn: error scope status {status}")
        elif kind != dawn.WGPUErrorType_NoError:
            got.append(_string(message) or f"Dawn: error {kind} without a message")

    info = dawn.WGPUPopErrorScopeCallbackInfo(mode=dawn.WGPUCallbackMode_WaitAnyOnly)
    info.callback = dawn.WGPUPopErrorScopeCallback(receive)
    _wait(dawn.wgpuDevicePopErrorScopeF(device, info))
    return "".join(got)


def _request(what: str, start: Any, info: Any, callback: Any) -> Any:
    """The object that an asynchronous request of Dawn gives, or its error."""
    dawn = _dawn()
    got: dict[str, Any] = {}

    def receive(status: int, thing: Any, message: Any, user: Any) -> None:
        got.update(thing=thing, message=_string(message))

    info.mode = dawn.WGPUCallbackMode_WaitAnyOnly
    info.callback = callback(receive)
    _wait(start(info))
    if not got["thing"]:
        raise RuntimeError(f"Dawn: no {what}: {got['message']}")
    return got["thing"]


@functools.cache
def _device() -> Any:
    """A device of the null backend with float16, subgroups and the limits that every device has."""
    dawn = _dawn()
    options = dawn.WGPURequestAdapterOptions(backendType=dawn.WGPUBackendType_Null)
    adapter = _request("null adapter", lambda info: dawn.wgpuInstanceRequestAdapterF(_instance(), options, info),
                       dawn.WGPURequestAdapterCallbackInfo(), dawn.WGPURequestAdapterCallback)
    features = (dawn.WGPUFeatureName * 2)(dawn.WGPUFeatureName_ShaderF16, dawn.WGPUFeatureName_Subgroups)
    descriptor = dawn.WGPUDeviceDescriptor(requiredFeatureCount=2)
    descriptor.requiredFeatures = ctypes.cast(features, ctypes.POINTER(dawn.WGPUFeatureName))
    return _request("null device", lambda info: dawn.wgpuAdapterRequestDeviceF(adapter, descriptor, info),
                    dawn.WGPURequestDeviceCallbackInfo(), dawn.WGPURequestDeviceCallback)
