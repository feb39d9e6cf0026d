"""NumPy's functions on tensors: `np.sin(x)`, `array * x`, `np.concatenate([x, y])`, `np.add.reduce(x)` stay lazy and differentiable.

In: a NumPy function or ufunc and its arguments, as NumPy's protocols hand them over. Out: what the function of the same meaning here
gives. What has none here is a TypeError, so that nothing is computed by accident; what writes text or files computes.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DataError, OptionError, ShapeError
from .functions import FUNCTIONS
from .functions.masked import masked
from .tensor import Tensor, copied, rebind

# ---- names ------------------------------------------------------------------------------------------------------------

NAMES = {"true_divide": "divide", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
         "arctan2": "atan2", "arctanh": "atanh", "absolute": "abs", "invert": "bitwise_invert", "left_shift": "bitwise_left_shift",
         "right_shift": "bitwise_right_shift", "conjugate": "conj", "around": "round", "amax": "max", "amin": "min",
         "transpose": "permute_dims", "row_stack": "vstack", "bitwise_not": "bitwise_invert"}
REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any",
              "logaddexp": "logsumexp", "fmax": "nanmax", "fmin": "nanmin"}
RUNNING = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin", "logaddexp": "logcumsumexp"}
WRITTEN = {"add": "add", "multiply": "mul", "maximum": "max", "minimum": "min"}
IN_PLACE = {"put", "place", "putmask", "copyto", "fill_diagonal", "put_along_axis"}
# functions of several arrays, which an array may stand for: its entries along the first axis
SEVERAL = {"concatenate", "concat", "stack", "vstack", "row_stack", "hstack", "dstack", "column_stack", "multi_dot"}
# what gives text, files or facts about memory: it is computed
COMPUTED = {"array2string", "array_repr", "array_str", "save", "savetxt", "savez", "savez_compressed", "shares_memory", "may_share_memory",
            "min_scalar_type", "common_type", "mintypecode", "typename", "isfortran"}
# arguments that change nothing here: tensors have no memory order, no subclasses, one sort, and are never changed
MEANINGLESS = {"casting", "subok", "kind", "copy", "overwrite_input", "like", "stable", "assume_unique", "optimize", "sorted", "writeable", "device"}
# and those of SciPy: which routine computes, whether operands are checked for NaN, how many threads there are
MEANINGLESS |= {"overwrite_a", "overwrite_b", "overwrite_x", "check_finite", "lapack_driver", "assume_a", "lwork", "driver", "disp", "blocksize", "workers", "plan", "xp"}


def lookup(name: str, module: str = "") -> Callable | None:
    """The function here that means NumPy's `name`; or SciPy's, whose special functions are NumPy's ufuncs too."""
    part = module.rpartition(".")[2]
    spaces = [importlib.import_module(f"{__package__}.{part}")] if part in ("linalg", "fft") else []
    for candidate in (name, NAMES.get(name, name)):
        for space in spaces:
            if candidate in space.__all__:
                return getattr(space, candidate)
        if candidate in FUNCTIONS:
            return FUNCTIONS[candidate]
    if name in ("apply_along_axis",):
        return importlib.import_module(f"{__package__}.transforms.along").apply_along_axis
    special = importlib.import_module(f"{__package__}.special")
    return getattr(special, name) if name in special.__all__ and not hasattr(np, name) else None


def label(func: Any) -> str:
    """How errors name a function of another library."""
    return f"{(func.__module__ or 'numpy').partition('.')[0]}.{func.__name__}"


def shown(v: Any) -> str:
    """An argument in an error: no values of arrays."""
    return repr(v) if isinstance(v, str | int | float | tuple | list | type(None)) else type(v).__name__


def unknown(op: str, what: str = "there is no such function here") -> DataError:
    return DataError(op, "a tensor", what, "pass np.asarray(x), which computes its values")


# ---- results that go into what is there ---------------------------------------------------------------------------------

def into(out: Any, result: Any, op: str) -> Any:
    """`result` as the new value of `out`: the handle of a tensor moves on, an array is filled, which computes."""
    if isinstance(out, tuple):
        if len(out) == 1:
            return into(out[0], result, op)
        return tuple([r if o is None else into(o, r, op) for o, r in zip(out, result, strict=True)])
    if tuple(out.shape) != tuple(result.shape):
        raise ShapeError(op, f"a result of {tuple(result.shape)} into {tuple(out.shape)}", "the shapes differ", "pass an out of that shape")
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise DataError(op, f"a result of {result.dtype} into {out.dtype}", "information would be lost", "cast the operands")
    if isinstance(out, Tensor):
        rebind(out, FUNCTIONS["astype"](result, out.dtype))
    else:
        np.copyto(out, np.asarray(result), casting="same_kind")
    return out


def apart(v: Any, outs: tuple) -> Any:
    """An operand that is about to change, as a handle of its own on its present value."""
    return copied(v) if isinstance(v, Tensor) and any(v is o for o in outs) else v


# ---- ufuncs -----------------------------------------------------------------------------------------------------------

def ufunc_call(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    """`Tensor.__array_ufunc__`."""
    outs = kwargs.pop("out", None) or ()
    inputs = tuple([apart(v, outs) for v in inputs])
    given = {k: v for k, v in kwargs.items() if k not in MEANINGLESS and k != "order" and v is not None and v is not np._NoValue}
    where = given.pop("where", True)
    op = f"{ufunc.__name__}.{method}" if method != "__call__" else ufunc.__name__
    found = METHODS.get(method)
    if found is None:
        raise unknown(op)
    if where is not True and method != "reduce":
        if len(outs) != 1 or not isinstance(outs[0], Tensor):
            raise OptionError(op, "where without out", "elements that are left out would have no value", "use lg.where, or pass a tensor as out")
        return into(outs, FUNCTIONS["where"](where, found(ufunc, op, inputs, given), copied(outs[0])), op)
    if where is not True:
        given["where"] = where
    result = found(ufunc, op, inputs, {**given, **({"axis": kwargs["axis"]} if "axis" in kwargs else {})})
    return into(outs, result, op) if outs and method != "at" else result


def called(ufunc: np.ufunc, op: str, inputs: tuple, given: dict[str, Any]) -> Any:
    found = lookup(ufunc.__name__)
    if found is None:
        raise unknown(op)
    dtype = given.pop("dtype", None)
    if dtype is not None:
        dtype = np.dtype(dtype)
        if dtype.kind != "b":
            inputs = tuple([FUNCTIONS["astype"](v, dtype) if isinstance(v, Tensor | np.ndarray) else v for v in inputs])
    keep = given.pop("keepdims", False)
    unfit = [k for k in given if k not in inspect.signature(found).parameters]
    if unfit or (keep and "axis" not in inspect.signature(found).parameters):
        raise OptionError(op, f"{unfit[0]}={shown(given[unfit[0]])}" if unfit else "keepdims", "the function here has no such argument", "leave it out")
    out = found(*inputs, **given)
    if keep:
        out = FUNCTIONS["expand_dims"](out, given.get("axis", -1))
    return out if dtype is None or isinstance(out, tuple) else FUNCTIONS["astype"](out, dtype)


def reduced(ufunc: np.ufunc, op: str, inputs: tuple, given: dict[str, Any]) -> Any:
    name = REDUCTIONS.get(ufunc.__name__)
    if name is None:
        raise unknown(op, "there is no such reduction here")
    options = {"axis": 0, **given}
    options["keepdims"] = bool(options.get("keepdims", False))
    if "where" in options or "initial" in options:
        return masked(name, *inputs, **options)
    if options.get("dtype") is not None and name not in ("sum", "prod"):
        inputs = (FUNCTIONS["astype"](inputs[0], options.pop("dtype")), *inputs[1:])
    return FUNCTIONS[name](*inputs, **options)


def accumulated(ufunc: np.ufunc, op: str, inputs: tuple, given: dict[str, Any]) -> Any:
    name = RUNNING.get(ufunc.__name__)
    if name is None:
        raise unknown(op, "there is no such running reduction here")
    x, dtype = inputs[0], given.pop("dtype", None)
    if dtype is not None:
        x = FUNCTIONS["astype"](x, dtype)
    return FUNCTIONS[name](x, **{"axis": 0, **given})


def outer(ufunc: np.ufunc, op: str, inputs: tuple, given: dict[str, Any]) -> Any:
    x, y = [v if isinstance(v, Tensor) else np.asarray(v) for v in inputs]
    shape = (*x.shape, *[1] * y.ndim)
    x = FUNCTIONS["reshape"](x, shape) if isinstance(x, Tensor) else x.reshape(shape)
    return called(ufunc, op, (x, y), given)


def written(ufunc: np.ufunc, op: str, inputs: tuple, given: dict[str, Any]) -> None:
    x, key, *values = inputs
    if not isinstance(x, Tensor):
        ufunc.at(x, *[np.asarray(v) if isinstance(v, Tensor) else v for v in (key, *values)])
        return
    before = copied(x)
    if ufunc.__name__ == "subtract":
        new = FUNCTIONS["setitem"](before, key, FUNCTIONS["negative"](values[0]), "add")
    elif ufunc.__name__ in WRITTEN:
        new = FUNCTIONS["setitem"](before, key, values[0], WRITTEN[ufunc.__name__])
    elif len(values) == 0:
        new = FUNCTIONS["setitem"](before, key, called(ufunc, op, (before[key],), {}))
    else:
        raise unknown(op, "repeated positions cannot be combined by this function")
    rebind(x, new)


METHODS: dict[str, Callable[..., Any]] = {"__call__": called, "reduce": reduced, "accumulate": accumulated, "outer": outer, "at": written}


# ---- functions --------------------------------------------------------------------------------------------------------

def function_call(func: Any, types: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`Tensor.__array_function__`."""
    name = func.__name__
    usual = name not in SEVERAL or (args and isinstance(args[0], list | tuple))
    direct = route(func, len(args), tuple(kwargs)) if usual and all(t is np.ndarray or issubclass(t, Tensor) for t in types) else None
    if direct is not None and not any([v is None or v is np._NoValue for v in kwargs.values()]):
        found, positional, named = direct
        return found(*args[:positional], **dict(zip(named, (*args[positional:], *kwargs.values()), strict=True)))
    if any(not issubclass(t, Tensor | np.ndarray) and hasattr(t, "__array_function__") for t in types):
        return NotImplemented                     # another library's arrays may know better
    if name in COMPUTED:
        return func(*evaluated(args), **evaluated(kwargs))
    if name in IN_PLACE:
        return changed(func, args, kwargs)
    found = lookup(name, getattr(func, "__module__", "") or "")
    if found is None:
        raise unknown(label(func))
    return translated(func, found, args, kwargs)


@functools.cache
def route(func: Any, n: int, keywords: tuple[str, ...]) -> tuple[Callable, int, tuple[str, ...]] | None:
    """For a call with n positional arguments and these keywords, all of which have a counterpart here: the function here, how many of
    the arguments stay positional, the names of the others. None where the call takes the long way."""
    if func.__name__ in COMPUTED | IN_PLACE | {"einsum"}:
        return None
    found = lookup(func.__name__, getattr(func, "__module__", "") or "")
    signature, theirs = parameters(func)
    if found is None or signature is None or any(p.kind is p.VAR_POSITIONAL for p in theirs.values()) or n > len(theirs):
        return None
    names, ours = renamed(func, found), list(parameters(found)[1].values())
    given = [*list(theirs)[:n], *keywords]
    if len(set(given)) != len(given) or any(p not in names for p in given) or any(p.kind is p.VAR_POSITIONAL for p in ours):
        return None
    found_names = [names[p] for p in given]
    positional = 0
    while positional < n and positional < len(ours) and ours[positional].name == found_names[positional] and ours[positional].kind is not inspect.Parameter.KEYWORD_ONLY:
        positional += 1
    return found, positional, tuple(found_names[positional:])


def evaluated(v: Any) -> Any:
    """v with arrays for its tensors."""
    if isinstance(v, Tensor):
        return np.asarray(v)
    if isinstance(v, dict):
        return {k: evaluated(u) for k, u in v.items()}
    return type(v)(map(evaluated, v)) if type(v) in (list, tuple) else v


def changed(func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """A function that writes into its first operand: the handle of a tensor moves on to the new value."""
    x = args[0] if args else next(iter(kwargs.values()))
    if not isinstance(x, Tensor):
        return func(*evaluated(args), **evaluated(kwargs))
    args = tuple([copied(v) if v is x else v for v in args])
    rebind(x, translated(func, FUNCTIONS[func.__name__], args, {k: copied(v) if v is x else v for k, v in kwargs.items()}))
    return None


@functools.cache
def parameters(func: Any) -> tuple[inspect.Signature | None, dict[str, inspect.Parameter]]:
    """The signature of a function and its parameters by name; None where it tells none."""
    try:
        found = inspect.signature(func)
    except (TypeError, ValueError):
        return None, {}
    return found, dict(found.parameters)


RENAMED = {("clip", "a_min"): "min", ("clip", "a_max"): "max"}


@functools.cache
def renamed(func: Any, found: Any) -> dict[str, str]:
    """NumPy's names of the arguments that have one here: the same name, or the place that no name is matched for."""
    theirs, ours = parameters(func)[1], parameters(found)[1]
    here = list(ours)
    out = {}
    for k, p in enumerate(theirs):
        if (func.__name__, p) in RENAMED:
            out[p] = RENAMED[func.__name__, p]
        elif p in ours:
            out[p] = p
        elif (k < len(here) and here[k] not in theirs and p not in MEANINGLESS and theirs[p].default is inspect.Parameter.empty) or (k < len(here) and here[k] not in theirs and (func.__name__, p) in POSITIONAL):
            out[p] = here[k]
    return out


POSITIONAL = {("tri", "M"), ("eye", "M"), ("isin", "test_elements")}


def translated(func: Any, found: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`func(*args, **kwargs)` by the function `found` here, argument by argument."""
    if func.__name__ == "einsum" and args and not isinstance(args[0], str):
        args = subscripts(args)
    signature, theirs = parameters(func)
    if signature is None:
        return found(*args, **kwargs)
    try:
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise DataError(label(func), "its arguments", str(error)) from None
    names = renamed(func, found)
    ours = parameters(found)[1]
    named: dict[str, Any] = {}
    further: dict[str, Any] = {}
    several: list[Any] = []
    for p, v in bound.items():
        kind, default = theirs[p].kind, theirs[p].default
        if kind is inspect.Parameter.VAR_POSITIONAL:
            several = list(v)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            further.update(v)
        elif p in names and ours[names[p]].kind is not inspect.Parameter.VAR_POSITIONAL:
            if not (v is np._NoValue or (v is default and v is None)):
                named[names[p]] = v
        elif p in names:
            several = [v, *several]
        elif not (v is default or p in MEANINGLESS or (isinstance(v, type(default)) and not isinstance(v, Tensor | np.ndarray) and v == default)):
            further[p] = v
    return adapted(func, found, named, several, further)


def adapted(func: Any, found: Callable, named: dict[str, Any], several: list[Any], further: dict[str, Any]) -> Any:
    """The call with the arguments that have no counterpart here carried out around it, or refused."""
    name, ours = func.__name__, parameters(found)[1]
    outs = further.pop("out", None)
    first = next(iter(ours))
    if outs is not None:
        named = {k: apart(v, (outs,)) for k, v in named.items()}
    if name in SEVERAL and isinstance(named.get(first), Tensor | np.ndarray):
        named[first] = list(FUNCTIONS["unstack"](named[first])) if isinstance(named[first], Tensor) else list(named[first])
    dtype = further.pop("dtype", None)
    if dtype is not None and name in ("var", "std", "nanvar", "nanstd", "nanmean"):
        named[first], dtype = FUNCTIONS["astype"](named[first], dtype), None
    order = further.pop("order", "C") or "C"
    turned = order == "F" and name in ("reshape", "ravel")
    if turned:
        named[first] = FUNCTIONS["permute_dims"](named[first])
        if name == "reshape":
            named["shape"] = tuple(named["shape"])[::-1] if isinstance(named["shape"], (tuple, list)) else named["shape"]
    elif order not in ("C", "K", "A") and not (order == "F" and name.endswith("_like")):
        raise OptionError(label(func), f"order={order!r}", "tensors are row-major", 'leave it out')
    if name.endswith("_like") and "shape" in further:
        shape = further.pop("shape")
        x = named[first]
        named = {"shape": shape, **{k: v for k, v in named.items() if k != first}, "dtype": named.get("dtype", x.dtype), "device": x.device}
        found = FUNCTIONS[name.removesuffix("_like")]
        ours = parameters(found)[1]
    if "where" in further or "initial" in further:
        result = masked(name, named.pop(first), **named, **{k: further.pop(k) for k in ("where", "initial") if k in further})
        if not further:
            return result if outs is None else into(outs, result, name)
    strange = [k for k in further if k not in ours and not any(p.kind is p.VAR_KEYWORD for p in ours.values())]
    if strange:
        raise OptionError(label(func), f"{strange[0]}={shown(further[strange[0]])}", "the function here has no such argument", "leave it out")
    place: list[Any] = several if several and not named else []
    for p in ours.values() if place is not several else ():           # positional as far as there are no gaps
        if p.kind is p.VAR_POSITIONAL:
            place = [*place, *several]
            break
        if p.kind is p.KEYWORD_ONLY or p.name not in named:
            break
        place.append(named.pop(p.name))
    result = found(*place, **named, **further)
    if turned and name == "reshape":
        result = FUNCTIONS["permute_dims"](result)
    if dtype is not None:
        result = FUNCTIONS["astype"](result, dtype)
    return result if outs is None else into(outs, result, name)


def subscripts(args: tuple) -> tuple:
    """einsum's operands with lists of axis numbers as operands after subscripts."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    write = lambda axes: "".join(["..." if a is Ellipsis else letters[a] for a in axes])
    pairs, rest = args[:len(args) // 2 * 2], args[len(args) // 2 * 2:]
    text = ",".join([write(axes) for axes in pairs[1::2]]) + "".join(["->" + write(axes) for axes in rest])
    return (text, *pairs[::2])

