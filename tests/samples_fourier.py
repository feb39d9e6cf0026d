"""Sample arguments of the Fourier transforms: rows of the form of samples.py, whose table takes them up (import that module first)."""

from __future__ import annotations

from samples import Arg, Row

from lazygrad.prims import fourier  # noqa: F401  (it registers)

LENGTHS = (1, 2, 3, 5, 6, 8)

SAMPLES: dict[str, list[Row]] = {
    "fft": [Row((Arg(s),), {"axes": axes, "inverse": back}) for s, axes in (((5,), (0,)), ((2, 3), (1,)), ((2, 3), (0,)), ((2, 3, 4), (2, 0)),
                                                                            ((1,), (0,)), ((0, 3), (1,)), ((2, 3), ())) for back in (False, True)],
    "rfft": [*[Row((Arg((n,)),), {"axis": 0}) for n in LENGTHS], Row((Arg((3, 4)),), {"axis": 0}), Row((Arg((3, 4)),), {"axis": 1}),
             Row((Arg((0, 4)),), {"axis": 1})],
    "irfft": [*[Row((Arg((n // 2 + 1,)),), {"axis": 0, "size": n}) for n in LENGTHS], Row((Arg((3, 4)),), {"axis": 0, "size": 5}),
              Row((Arg((3, 4)),), {"axis": 1, "size": 6}), Row((Arg((0, 4)),), {"axis": 1, "size": 7})],
}
