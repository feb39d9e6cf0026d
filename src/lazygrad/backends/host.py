"""Host steps: what a Prim means in NumPy, run between the steps that a backend has code for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DeviceError
from ..ir.aval import Aval
from ..ir.program import Host


def results(step: Host, inputs: Sequence[np.ndarray], avals: Sequence[Aval]) -> list[np.ndarray]:
    """The arrays of `step.outs`, which have to be of `avals`. DeviceError where the Prim's meaning gives something else."""
    with np.errstate(all="ignore"):
        made = step.prim.numpy(*inputs, **dict(step.params))
    made = [np.asarray(m) for m in (made if step.more or isinstance(made, tuple) else (made,))]
    for m, av in zip(made, avals, strict=True):
        if m.shape != av.shape or m.dtype != av.dtype:
            raise DeviceError(str(step.prim), f"{m.dtype}{list(m.shape)}", f"its NumPy meaning should give {av}", "report this as a bug")
    return made
