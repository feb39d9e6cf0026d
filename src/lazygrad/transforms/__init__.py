"""Transforms: functions of functions. Derivatives, batches, control flow, compilation, over containers of tensors."""

from .compiled import RetraceWarning, compile
from .control import cond, fori_loop, map, scan, switch, while_loop
from .custom import custom_jvp, custom_vjp
from .derivatives import grad, hessian, hvp, jacfwd, jacobian, jacrev, jvp, value_and_grad, vjp
from .remat import checkpoint
from .vectorized import vmap

__all__ = ["RetraceWarning", "checkpoint", "compile", "cond", "custom_jvp", "custom_vjp", "fori_loop", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
           "map", "scan", "switch", "value_and_grad", "vjp", "vmap", "while_loop"]
