"""Random numbers from explicit keys (`lazygrad.random`); see `functions/random.py`."""

from .functions.random import *  # noqa: F403
from .functions.random import __all__ as __all__
