"""The GPU backend: a Program becomes WGSL shaders, run through WebGPU (PyPI `wgpu`) on a GPU of any maker."""
