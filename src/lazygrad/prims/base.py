"""What a primitive is: meaning, type, lowering, derivative, in one entry. Every table of `prims` is made of these.

A Prim works on checked Terms of exactly matching shapes and dtypes (broadcasting and promotion are explicit Prims that the
functions above insert). Derivative rules build Terms, so every derivative is differentiable again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.aval import Aval
from ..ir.record import record
from ..ir.term import Term, term

REGISTRY: dict[str, Prim] = {}


# ---- lowering forms -------------------------------------------------------------------------------------------------

@record
class Elementwise:
    """out[i] = build(x[i], y[i], ...): `build` takes and returns Scalars (plus static parameters by keyword).

    `build` may be the name of a scalar op.
    """

    build: Callable | str


@record
class Index:
    """An index rule: `rule(at, idx, out, **params) -> Scalar`, `out` the Term being lowered, `idx` its index Scalars.

    `at(k, idx, mask=None)` is the value of argument k at index `idx`, 0 and unread where the Scalar `mask` is false
    (a mask covers everything below it). `moves` marks pure re-indexing (each element of the output is one of the
    input or a constant): free to fuse anywhere.
    """

    rule: Callable
    moves: bool = True


@record
class Reduction:
    """Combine the axes `params["axes"]` (sorted, kept out of the shape) with a monoid of `ir.kernel.MONOIDS`."""

    monoid: str


@record
class Scan:
    """Inclusive running combination along `params["axis"]`; `params["reverse"]` runs from the end."""

    monoid: str


@record
class Scatter:
    """out = copy of args[0]; then for every update in row-major order combine args[-1][u] into out[target(u)].

    `target(at, u, out, **params) -> index Scalars of out` for update index u (`at` as in Index). `monoid` None means overwrite.
    """

    target: Callable
    monoid: str | None


@record
class Contraction:
    """matmul: (*batch, m, k) @ (*batch, k, n) -> (*batch, m, n), equal batch shapes."""


@record
class Convolution:
    """Sums of products over windows (see `prims.convolution`). Where a backend has no step for it: `rule(out, x, w, **params)`,
    in simpler Prims.
    """

    rule: Callable


@record
class Decompose:
    """Rewritten before lowering: `rule(out, *args, **params) -> Term` in simpler Prims."""

    rule: Callable


@record
class Host:
    """Runs as its NumPy meaning on whole arrays. `fails`: that may raise LinAlgError, itself or where derivatives run it."""

    fails: bool = False


@record
class Control:
    """Runs Bodies, some of them many times or not at all: `kind` is "scan", "while" or "cond" (see `prims.control`)."""

    kind: str


@record
class Inline:
    """Stands for the Terms of its `params["body"]`, which `decompose` puts in the place of its results."""


@record
class Pick:
    """One of the results of a Term that has several."""


@record
class Leaf:
    """A source: its buffer is a plan's input."""


Lowering = Elementwise | Index | Reduction | Scan | Scatter | Contraction | Convolution | Decompose | Host | Control | Inline | Pick | Leaf


# ---- derivative forms -----------------------------------------------------------------------------------------------

@record
class Partials:
    """Elementwise: `rule(out, *args, **params)` gives for each argument the pointwise linear map c -> c * d out / d arg.

    Each entry is a function of a (co)tangent Term, or None where the argument has no derivative. One rule serves both
    modes: the map is its own transpose. (The map, not the factor, so that x / y can say `c / y`.)
    """

    rule: Callable[..., tuple[Callable[[Term], Term] | None, ...]]
    each: tuple[Callable[..., Term] | None, ...] = ()      # the same as d(c, out, *args) by argument, where a row has it: no closures


@record
class Linear:
    """Linear in the arguments at `args` jointly (the others are constants to it).

    `transpose(ct, out, *args, **params)` gives one cotangent for every position of `args` (None: zero). The JVP is the op itself on
    tangents. `moves_mask` True: the transpose also maps boolean masks (pure re-indexing).
    """

    args: Sequence[int]                # a tuple, or a range where all of any number of arguments are meant
    transpose: Callable[..., tuple[Term | None, ...]]
    moves_mask: bool = False


@record
class Multilinear:
    """Linear in each argument alone. `transpose(ct, out, *args, **params)`: one cotangent per argument (None: none)."""

    transpose: Callable[..., tuple[Term | None, ...]]


@record
class Custom:
    """`vjp(ct, out, *args, **params) -> cotangents`, `jvp(tangents, out, *args, **params) -> tangent` (tangents may be None)."""

    vjp: Callable[..., tuple[Term | None, ...]]
    jvp: Callable[..., Term]


@record
class Several:
    """Of Terms with several results. `vjp(cts, wanted, out, *args, **params)`: a cotangent (or None) for every argument that `wanted`
    names, from one (or None) for every result; `jvp(tangents, out, *args, **params)`: a tangent (or None) for every result.
    """

    vjp: Callable[..., Sequence[Term | None]]
    jvp: Callable[..., Sequence[Term | None]]


Derivative = Partials | Linear | Multilinear | Custom | Several


# ---- the record -----------------------------------------------------------------------------------------------------

class Prim:
    """One primitive operation on arrays.

    `numpy(*arrays, **params)` is its meaning and the oracle of every test; `infer(*avals, **params)` its type (raises
    the errors of `lazygrad.errors`); `names` the order of its static parameters. `types` keeps what `infer` said, of one
    operand and of two alike. `batching(n, flags, out, args)`: the operation over n examples (see `ad.batch`, whose table has the rules of
    the structural ones; elementwise ones need none). `scoped`: its Terms belong to the graph and device that their first parameter names.
    """

    def __init__(self, name: str, numpy: Callable[..., Any], infer: Callable[..., Aval], lowering: Lowering,
                 derivative: Derivative | None = None, names: tuple[str, ...] = (), scoped: bool = False,
                 batching: Callable[..., Term] | None = None) -> None:
        if name in REGISTRY:
            raise ValueError(f"two primitives are named {name!r}")
        REGISTRY[name] = self
        self.name, self.numpy, self.infer, self.lowering, self.derivative, self.names = name, numpy, infer, lowering, derivative, names
        self.differentiable, self.scoped, self.batching = derivative is not None, scoped, batching
        self.types: tuple[dict[Aval, Aval], dict[Aval, Aval]] = ({}, {})

    def wants_grad(self, params: tuple) -> bool:
        """Whether a Term of this op without arguments is a leaf that wants a gradient."""
        return self.name == "source" and bool(params[-1])

    def __call__(self, *args: Term, **params: Any) -> Term:
        """The Term of this op; types are inferred and checked."""
        if not params:
            n = len(args)
            if n == 2 or n == 1:
                av = args[0].aval
                if args[-1].aval is av:
                    out = self.types[n - 1].get(av)
                    if out is None:
                        out = self.types[n - 1][av] = self.infer(*[av] * n)
                    return term(self, args, (), out)
            return term(self, args, (), self.infer(*[a.aval for a in args]))
        return term(self, args, tuple([params[n] for n in self.names]), self.infer(*[a.aval for a in args], **params))

    def __repr__(self) -> str:
        return self.name
