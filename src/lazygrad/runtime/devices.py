"""Devices by name, and which device the leaves of a scope lie on. The GPU's half is imported when a GPU is first named."""

from __future__ import annotations

from typing import Any

from ..errors import DeviceError

DEVICES: dict[int, Any] = {}         # number of a scope -> its GPU; scopes that are missing here are on the CPU


def resolve(device: Any) -> Any:
    """"cpu" or the WgpuDevice that `device` names: "cpu", "gpu", "gpu:1", a WgpuDevice, or None for the CPU.

    Raises DeviceError for anything else, NoGpuError where there is no GPU.

    >>> resolve("cpu")
    'cpu'
    """
    if device is None or (device.__class__ is str and device == "cpu"):
        return "cpu"
    if isinstance(device, str):
        from ..backends.wgsl import adapters
        index = adapters.parse(device)
        from ..backends.wgsl.device import WgpuDevice
        return WgpuDevice(index)
    if hasattr(device, "traits") and hasattr(device, "launch"):
        return device
    raise DeviceError("device", repr(device), "no such device", "'cpu', 'gpu', 'gpu:1' and a WgpuDevice are devices")


def device_of(scope: int | None) -> Any:
    """The device of a scope's leaves; the CPU for Terms without leaves."""
    return DEVICES.get(scope, "cpu") if scope is not None else "cpu"
