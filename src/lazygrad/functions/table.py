"""The table of public functions, and `public`, which puts a rule into it.

A rule (Terms -> Term) stays what its module's name is bound to, so rules call rules; the table holds its lifted form,
which takes and returns tensors. Rules are lifted when first asked for: a program uses ten functions of two hundred.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from ..lift import REFLECTED, operation
from ..tensor import Tensor


class Pending:
    """A rule still to be lifted."""

    __slots__ = ("made", "make")

    def __init__(self, make: Callable[[], Callable]) -> None:
        self.make, self.made = make, None

    def function(self) -> Callable:
        """The function, made once (two threads may both make it: either is good)."""
        if self.made is None:
            self.made = self.make()
        return self.made


class Later(Pending):
    """A function of a module that is imported when one of its functions is first asked for."""


class Method:
    """A method or operator of Tensor whose function is not made yet: asked for, it puts the real one in its place."""

    __slots__ = ("name", "pending")

    def __init__(self, pending: Pending, name: str) -> None:
        self.pending, self.name = pending, name

    def __get__(self, instance: object, owner: type) -> Any:
        function = self.pending.function()             # puts the operators in place itself
        if vars(Tensor)[self.name] is self:
            setattr(Tensor, self.name, function)
        return getattr(owner if instance is None else instance, self.name)


class Table(MutableMapping):
    """Functions by name; one that is pending is made when it is read."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Callable[..., Any]:
        found = self.rows[name]
        if isinstance(found, Pending):
            found = self.rows[name] = found.function()
        return found

    def __setitem__(self, name: str, function: Callable[..., Any] | Pending) -> None:
        self.rows[name] = function

    def __delitem__(self, name: str) -> None:
        del self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self.rows


FUNCTIONS = Table()
SPACES: dict[str, Table] = {"": FUNCTIONS, "linalg": Table(), "fft": Table(), "special": Table(), "nn": Table()}      # by the module that shows them


def public_name(function: Callable) -> str:
    """The name of a function without the underscore that keeps it apart from Python's own (`abs_`)."""
    return function.__name__ if function.__name__.endswith("__") else function.__name__.removesuffix("_")


def public(*aliases: str, method: bool | str | tuple[str, ...] = False, operator: str | None = None,
           name: str | None = None, space: str = "", result: type | None = None) -> Callable[[Callable], Callable]:
    """Lift a rule and list it under its own name and `aliases` in one of `SPACES`.

    `method`: True for a method of every one of these names, or the names themselves. `operator`: the Python operator
    it implements ("add" for `+`, reflected too). `result`: the named tuple that several results come in.
    """
    def wrap(rule: Callable) -> Callable:
        names = (name or public_name(rule), *aliases)
        methods = names if method is True else (method,) if isinstance(method, str) else method or ()
        rule.__name__ = rule.__qualname__ = names[0]
        if result is not None:
            rule.result = result._make
        # two functions of one name in two spaces are told apart where functions are found by name
        pending = deferred(rule, methods, operator, f"{space}.{names[0]}" if space and names[0] in FUNCTIONS else None)
        table = SPACES[space]
        for n in names:
            if n in table and table.rows[n].__class__ is not Later:
                raise ValueError(f"two functions are named {n!r}")
            table[n] = pending
        return rule
    return wrap


def deferred(rule: Callable, methods: tuple[str, ...] = (), operator: str | None = None, name: str | None = None) -> Pending:
    """A rule that is lifted when its function, one of its methods or its operator is first asked for."""
    pending = Pending(lambda: operation(operator=operator, name=name)(rule))
    places = list(methods)
    if operator is not None:
        places.append(f"__{operator}__")
        if operator in REFLECTED and rule.__code__.co_argcount == 2:
            places.append(f"__r{operator}__")
    for place in places:
        setattr(Tensor, place, Method(pending, place))
    return pending


def imported(module: str, space: str, name: str) -> Callable[[], Callable]:
    """What finds a function of a space whose module (of this folder) may not be imported yet."""
    def find() -> Callable:
        importlib.import_module(f"{__package__}.{module}")
        if SPACES[space].rows[name].__class__ is Later:
            raise AttributeError(f"{module} has no function {name!r}")
        return SPACES[space][name]
    return find


def later(module: str, names: str, space: str = "") -> None:
    """List functions of a module (which puts them into `space`) that is imported when one of them is first asked for."""
    for name in names.split():
        FUNCTIONS[name] = Later(imported(module, space, name))


def methods(space: str, names: str, module: str) -> None:
    """Methods of Tensor that are functions of a space whose module is imported when one is first asked for."""
    for word in names.split():
        method, _, name = word.partition("=")
        setattr(Tensor, method, Method(Pending(imported(module, space, name or method)), method))


def plain(*aliases: str, space: str = "", name: str | None = None) -> Callable[[Callable], Callable]:
    """List a function of tensors that is not a rule (it evaluates, or takes functions)."""
    def wrap(function: Callable) -> Callable:
        for n in (name or public_name(function), *aliases):
            SPACES[space][n] = function
        return function
    return wrap
