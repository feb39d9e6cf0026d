"""lazygrad.numpy.random: NumPy's own random numbers, as NumPy arrays; they have no derivative. `lazygrad.random` has lazy ones that do."""

from numpy.random import *  # noqa: F403
from numpy.random import __all__  # noqa: F401
