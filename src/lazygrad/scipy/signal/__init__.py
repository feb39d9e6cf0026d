"""lazygrad.scipy.signal: convolution, windows and filters under SciPy's names.

>>> from lazygrad.scipy import signal
>>> signal.convolve([1.0, 2.0], [1.0, 1.0]).tolist(), signal.windows.hann(3).tolist()
([1.0, 3.0, 2.0], [0.0, 1.0, 0.0])
"""

from . import windows
from .convolution import convolve, convolve2d, correlate, correlate2d, correlation_lags, fftconvolve, oaconvolve
from .filters import detrend, hilbert, lfilter, resample
from .windows import get_window

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "correlation_lags", "detrend", "fftconvolve", "get_window", "hilbert", "lfilter",
           "oaconvolve", "resample", "windows"]
