"""Loops in which every element of a draw tries until it succeeds, each with random numbers of its own attempts.

In: what an attempt makes of parameters and random numbers, as a function of Terms. Out: the accepted values. One `while_loop`, in which
the elements end apart: compiled, each goes on alone (`compiler.recur`). Nothing of it differentiates: draws whose distribution has
parameters with derivatives get them by `prims.implicit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..ir.function import Body
from ..ir.term import Term
from ..prims import control
from ..prims.leaf import parameter
from .composite import fill
from .promotion import P, Shape, broadcast, constant, reshaped
from .random_keys import ATTEMPTS, UINT, counters, words
from .random_uniform import open_units

SENTINEL = -16.0               # what no value is: an element that holds it still tries
MOST = 10_000                  # attempts: each succeeds with probability 0.2 at least, so one that goes on longer has no distribution
BLOCKS = 8                     # blocks of random words that one attempt may use


def each_until(going: Callable[..., Term], step: Callable[..., Sequence[Term]], carries: Sequence[Term], consts: Sequence[Term]) -> list[Term]:
    """`carries = step(consts, carries)` in every element for as long as `going(consts, carries)` holds there."""
    shape = carries[0].aval.shape
    if len(shape) > 1:                         # as one axis: lanes are vectors, however short the last axis is
        size = math.prod(shape)
        flat = [[reshaped(t, (size,)) if t.aval.shape == shape else t for t in ts] for ts in (carries, consts)]
        return [reshaped(t, shape) for t in each_until(going, step, *flat)]
    params = tuple([parameter(k, t.aval) for k, t in enumerate((*consts, *carries))])
    fixed, state = params[:len(consts)], params[len(consts):]
    alive = going(fixed, state)
    held = tuple([P.where(alive, new, old) for new, old in zip(step(fixed, state), state, strict=True)])
    test = P.any(alive, axes=tuple(range(alive.aval.ndim))) if alive.aval.ndim else alive
    stopped = [P.stop_gradient(t) for t in (*consts, *carries)]
    found = control.while_loop(*stopped, test=Body(params, (test,)), body=Body(params, held), consts=len(consts))
    return control.picked(found)[:-1]


class Attempt:
    """The random numbers of one attempt of every element: `uniforms(n)`, in (0, 1), may be called once."""

    def __init__(self, key: Sequence[Term], number: Term, dtype: np.dtype) -> None:
        self.key, self.number, self.dtype = key, number, dtype

    @classmethod
    def of(cls, op: str, key: Term, shape: Shape, dtype: np.dtype) -> Attempt:
        """The first attempt, for draws that need no other."""
        return cls(words(op, key), constant(0, shape, UINT), dtype)

    def uniforms(self, count: int) -> list[Term]:
        shape = self.number.aval.shape
        start = P.add(P.mul(self.number, constant(BLOCKS, shape, UINT)), constant(ATTEMPTS, shape, UINT))
        found: list[Term] = []
        k0, k1, n = *[broadcast(w, shape) for w in self.key], counters(shape)
        for j in range(BLOCKS):
            if len(found) < count:
                first = P.add(start, constant(j, shape, UINT))
                found += open_units(P.threefry(k0, k1, first, n, word=0), P.threefry(k0, k1, first, n, word=1), self.dtype)
        return found[:count]


def tried(op: str, key: Term, start: Term, propose: Callable[..., tuple[Term, Term]], consts: Sequence[Term]) -> Term:
    """The first value that is accepted, for every element: `propose(attempt, *consts)` gives values and whether they are. NaN for none.

    `start` is SENTINEL where a value is to be found, and the value itself elsewhere.
    """
    shape, dtype = start.aval.shape, start.aval.dtype
    pair = words(op, key)

    def going(fixed: Sequence[Term], state: Sequence[Term]) -> Term:
        return P.bit_and(P.eq(state[0], fill(state[0], SENTINEL)), P.lt(state[1], fill(state[1], MOST)))

    def step(fixed: Sequence[Term], state: Sequence[Term]) -> Sequence[Term]:
        value, good = propose(Attempt(fixed[:2], state[1], dtype), *fixed[2:])
        return P.where(good, value, fill(value, SENTINEL)), P.add(state[1], fill(state[1], 1))

    found = each_until(going, step, [start, constant(0, shape, UINT)], [*pair, *consts])[0]
    return P.where(P.eq(found, fill(found, SENTINEL)), fill(found, math.nan), found)


def waiting(valid: Term, otherwise: Term) -> Term:
    """The start of `tried`: SENTINEL where `valid`, the value `otherwise` elsewhere."""
    return P.where(valid, fill(otherwise, SENTINEL), otherwise)
