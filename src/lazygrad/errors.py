"""The error classes: each message reads `op: what came: what is wrong; what would do`.

Every class is also the built-in error a NumPy user would catch (ValueError, TypeError, IndexError, RuntimeError).
"""

from __future__ import annotations

import numpy as np


class LazygradError(Exception):
    """Base of all errors raised by lazygrad.

    >>> str(ShapeError("matmul", "(3, 4) @ (5, 6)", "inner sizes 4 and 5 differ", "transpose one operand"))
    'matmul: (3, 4) @ (5, 6): inner sizes 4 and 5 differ; transpose one operand'
    """

    def __init__(self, op: str, came: str = "", wrong: str = "", fix: str = "") -> None:
        super().__init__(op, came, wrong, fix)

    def __str__(self) -> str:
        op, came, wrong, fix = self.args
        text = ": ".join(part for part in (op, came, wrong) if part)
        return f"{text}; {fix}" if fix else text


class ShapeError(LazygradError, ValueError):
    """Shapes that do not broadcast, match or reshape."""


class LinAlgError(LazygradError, np.linalg.LinAlgError):
    """Matrices without the inverse, factor or root that is asked for; NumPy's own LinAlgError too."""


class SquareError(ShapeError, LinAlgError):
    """Matrices that are not square."""


class AxisError(LazygradError, ValueError, IndexError):
    """An axis outside the array, or named twice."""


class IndexingError(LazygradError, IndexError, ValueError):
    """An index outside the array, or of a kind that cannot index."""


class DTypeError(LazygradError, TypeError):
    """A dtype that the operation or the device does not take."""


class DataError(LazygradError, TypeError, ValueError):
    """Data from which no tensor can be made: ragged lists, strings, objects."""


class OptionError(LazygradError, ValueError, TypeError):
    """A setting that a function does not have: an unknown mode, method or order, or two that exclude each other."""


class GraphError(LazygradError, ValueError):
    """Operands of two graphs in one operation."""


class DeviceError(LazygradError, RuntimeError):
    """Operands on two devices, or a device that cannot do what is asked."""


class NoGpuError(DeviceError):
    """No GPU adapter was found."""


class DeviceLostError(DeviceError):
    """The GPU went away (driver reset, unplugged); its data is gone, a new device works."""


class GradientError(LazygradError, RuntimeError):
    """A derivative that does not exist: an integer path, a cotangent of another shape."""


class TraceError(LazygradError, TypeError):
    """A value asked for where it is not known: inside of a function that is being traced, or of a tensor kept from one."""


class StructureError(LazygradError, TypeError, ValueError):
    """Containers of another form than is expected: of tangents, of a loop's carry, of `in_axes`."""


class NonFiniteError(LazygradError, RuntimeError):
    """A NaN or an infinity where `debug_nans` watches for them."""
