"""Solvers as graph operations: each is a native loop, and its solution differentiates by the parameters of the problem."""

from .linear import linear_solve
from .minima import MinimizeResult, minimize
from .ode import odeint
from .roots import RootResult, fixed_point, root

__all__ = ["MinimizeResult", "RootResult", "fixed_point", "linear_solve", "minimize", "odeint", "root"]
