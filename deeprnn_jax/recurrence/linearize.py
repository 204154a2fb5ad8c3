"""A step with its derivative, taken apart into two steps.

    forward     (consts, carry, x_t) -> (carry, y_t, residuals of the step)
    tangent     the tangents of these, linear, from the residuals

JAX linearises the step; what its tangent needs of the step's own values is chosen by
`residuals`. Both are steps of recurrences again, so that all that is known of a recurrence
holds for its derivatives, of any order.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.internals import ClosedJaxpr, Jaxpr, JaxprEqn, Var, close, opened
from deeprnn_jax.recurrence.analysis import inputs_of, part, part_eqns, sort_operations, spread
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    dtype_of,
    is_inexact,
    is_var,
    live,
    make_jaxpr,
    reached,
    shape_of,
    trace,
    variables_of,
)
from deeprnn_jax.recurrence.residuals import choose_residuals
from deeprnn_jax.types import Array


class Residual(NamedTuple):
    """A stack that the tangent reads, and where it comes from."""

    kind: str  # "x": it is one of xs; "y": an output; "before": an output, shifted by a step
    place: int  # of the x, or of the output
    carry: int = 0  # of which carry the output is the value after the step


class Linearized(NamedTuple):
    """A step with its derivative."""

    forward: ClosedJaxpr  # (new_consts, consts, carry, x_t) -> (carry, y_t, joined)
    tangent: ClosedJaxpr  # (invariant, δconsts, δcarry, residuals, δx_t) -> (δcarry, δy_t)
    new_consts: list[Any]  # arrays that the derivative brought with it
    active_carry: tuple[bool, ...]  # which of the carry have tangents
    active_ys: tuple[bool, ...]  # which outputs have
    consts: list[Var]  # the variables of all consts, the new ones first
    fixed: list[JaxprEqn]  # what gives `invariant` of them
    invariant: list[Var]  # values that the tangent reads and no step changes
    there: list[Var]  # residuals that are inputs or outputs
    joined: list[list[Var]]  # those that are not: new outputs, some side by side as one
    residuals: list[Residual]  # one for each of `there`, and one for each group


class _Derived(NamedTuple):
    """A step and its tangent as one list of operations."""

    consts: list[Var]
    carry: list[Var]
    xs: list[Var]
    outputs: list[Any]  # the carry after the step, and y_t
    tangents: tuple[list[Var], list[Var], list[Var]]  # of consts, carry, xs
    output_tangents: list[Any]
    fixed: list[JaxprEqn]  # of the step's values, those of consts alone
    values: list[JaxprEqn]  # the others
    tangent_eqns: list[JaxprEqn]
    varying: set[Var]  # what is not the same at every step

    @property
    def ends(self) -> list[Any]:
        """The carry after the step."""
        return self.outputs[: len(self.carry)]

    @property
    def ys(self) -> list[Any]:
        """The step's outputs."""
        return self.outputs[len(self.carry) :]


@lru_cache(maxsize=256)
def linearize(
    jaxpr: ClosedJaxpr, num_consts: int, num_carry: int, active: tuple[bool, ...]
) -> Linearized:
    """Take a step and its derivative apart.

    Args:
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
      active: which inputs have tangents.
    """
    given = [one and is_inexact(var) for one, var in zip(active, opened(jaxpr).invars, strict=True)]
    active_in, active_out = spread(opened(jaxpr), num_consts, num_carry, given, is_inexact)
    derived, new_consts = _derive(opened(jaxpr), num_consts, num_carry, active_in, active_out)
    there, new, residuals = _choose_kept(derived)
    joined = _choose_joined(derived, new)
    residuals += [Residual("y", len(derived.ys) + index) for index in range(len(joined))]
    again, invariant = _needed(derived, [*there, *new])
    d_consts, d_carry, d_xs = derived.tangents

    def forward(*values: Array) -> list[Array]:
        env = Env(zip([*derived.consts, *derived.carry, *derived.xs], values, strict=True))
        env.do(*derived.fixed, *derived.values)
        return [*env.read(derived.outputs), *(_join(env.read(group)) for group in joined)]

    before_joined = [*invariant, *d_consts, *d_carry, *there]

    def tangent(*values: Array) -> list[Array]:
        env = Env(zip(before_joined, values, strict=False))
        in_turn = iter(values[len(before_joined) :])
        for group in joined:
            env.assign(group, _take_apart(group, next(in_turn)))
        env.assign(d_xs, in_turn)
        env.do(*again, *derived.tangent_eqns)
        return env.read(derived.output_tangents)

    def avals(variables: Sequence[Any]) -> list[Any]:
        return [var.aval for var in variables]

    forward_step = trace(forward, avals([*derived.consts, *derived.carry, *derived.xs]))
    joined_avals = avals(forward_step.outvars[len(derived.outputs) :])
    tangent_step = trace(tangent, [*avals(before_joined), *joined_avals, *avals(d_xs)])
    return Linearized(
        forward=close(forward_step),
        tangent=close(tangent_step),
        new_consts=new_consts,
        active_carry=active_in[num_consts : num_consts + num_carry],
        active_ys=active_out[num_carry:],
        consts=derived.consts,
        fixed=live(derived.fixed, invariant),
        invariant=invariant,
        there=there,
        joined=joined,
        residuals=residuals,
    )


def _derive(
    jaxpr: Jaxpr,
    num_consts: int,
    num_carry: int,
    active_in: tuple[bool, ...],
    active_out: tuple[bool, ...],
) -> tuple[_Derived, list[Any]]:
    """Trace the step with its tangent; also give the constants that came with it."""
    num_in, num_out = len(jaxpr.invars), len(jaxpr.outvars)

    def joint(*values: Array) -> list[Array]:
        primals, tangents = values[:num_in], values[num_in:]

        def step(varied: list[Array]) -> tuple[list[Array], list[Array]]:
            rest = iter(varied)
            given = (
                next(rest) if one else value for one, value in zip(active_in, primals, strict=True)
            )
            env = Env(zip(jaxpr.invars, given, strict=True))
            env.do(*jaxpr.eqns)
            found = env.read(jaxpr.outvars)
            return list(compress(found, active_out)), found

        _, push, found = jax.linearize(step, list(compress(primals, active_in)), has_aux=True)
        return [*found, *push(list(tangents))]

    avals = [var.aval for var in jaxpr.invars]
    both = trace(joint, [*avals, *compress(avals, active_in)], new_consts := [])
    num_new = len(new_consts)
    primals, tangents = both.invars[: num_new + num_in], both.invars[num_new + num_in :]
    consts, carry, xs = part(primals, num_new + num_consts, num_carry)
    first, second = sum(active_in[:num_consts]), sum(active_in[num_consts:][:num_carry])
    of_tangents = reached(both.eqns, tangents)
    tangent_eqns, step_eqns = part_eqns(both.eqns, of_tangents)
    varying = reached(step_eqns, [*carry, *xs])
    values, fixed = part_eqns(step_eqns, varying)
    derived = _Derived(
        consts=consts,
        carry=carry,
        xs=xs,
        outputs=both.outvars[:num_out],
        tangents=part(tangents, first, second),
        output_tangents=both.outvars[num_out:],
        fixed=fixed,
        values=values,
        tangent_eqns=tangent_eqns,
        varying=varying,
    )
    return derived, new_consts


def _choose_kept(derived: _Derived) -> tuple[list[Var], list[Var], list[Residual]]:
    """Choose the residuals.

    Returns:
      Those that are inputs or outputs, those that are not, and where the first come from.
    """
    wanted = inputs_of(derived.tangent_eqns, derived.output_tangents)
    needed = [var for var in wanted if var in derived.varying]
    # Where the carry after the step is an output, its stack is there, and is shifted.
    shown = {var: index for index, var in enumerate(derived.ys) if is_var(var)}
    shifted = {
        begin: Residual("before", shown[end], index)
        for index, (begin, end) in enumerate(zip(derived.carry, derived.ends, strict=True))
        if is_var(end) and end in shown
    }
    source = {var: Residual("x", index) for index, var in enumerate(derived.xs)}
    source |= {var: Residual("y", index) for var, index in shown.items() if var not in source}
    source = shifted | source
    kept = choose_residuals(derived.values, needed, derived.varying, set(source))
    there = [var for var in kept if var in source]
    new = [var for var in kept if var not in source]
    return there, new, [source[var] for var in there]


def _needed(derived: _Derived, kept: list[Var]) -> tuple[list[JaxprEqn], list[Var]]:
    """Give what the tangent computes again, and the invariant values that it reads."""
    given = set(kept)
    values = [eqn for eqn in derived.values if given.isdisjoint(eqn.outvars)]
    again = live(values, inputs_of(derived.tangent_eqns, derived.output_tangents))
    inputs = inputs_of([*again, *derived.tangent_eqns], derived.output_tangents)
    tangents = {var for some in derived.tangents for var in some}
    return again, [
        var for var in inputs if var not in given | tangents and var not in derived.varying
    ]


def _choose_joined(derived: _Derived, new: list[Var]) -> list[list[Var]]:
    """Choose what is kept side by side: what takes just the room of a hoisted value read.

    An LSTM's step reads four gates' projections as one array and keeps four gates, and its
    backward pass makes those gates' cotangents, again as one array. Packed, the three are
    one stack: each loop writes where it has read.
    """
    shown = [*derived.outputs, *new]
    invars = [*derived.consts, *derived.carry, *derived.xs]
    step = make_jaxpr(invars, [*derived.fixed, *derived.values], shown)
    ops = sort_operations(step, len(derived.consts), len(derived.carry))
    by_loop = {var for eqn in ops.loop for var in eqn.outvars}
    joined, rest = [], list(new)
    for read in dict.fromkeys(var for eqn in ops.loop for var in variables_of(eqn.invars)):
        if read in ops.hoisted_vars and read not in shown:
            group = _fill(read, [var for var in rest if var in by_loop])
            if len(group) > 1:
                joined.append(group)
                rest = [var for var in rest if var not in group]
    return [*joined, *([var] for var in rest)]


def _fill(read: Var, values: Sequence[Var]) -> list[Var]:
    """Choose, in order, what takes exactly as much room as the array read, or nothing."""
    if not shape_of(read):
        return []
    *shape, room = shape_of(read)
    group = []
    for var in values:
        is_alike = shape_of(var)[:-1] == tuple(shape) and dtype_of(var) == dtype_of(read)
        if is_alike and shape_of(var) and shape_of(var)[-1] <= room:
            group.append(var)
            room -= shape_of(var)[-1]
    return [] if room else group


def _join(values: Sequence[Array]) -> Array:
    return jnp.concatenate(values, axis=-1) if len(values) > 1 else values[0]


def _take_apart(group: Sequence[Var], array: Array) -> list[Array]:
    if len(group) == 1:
        return [array]
    ends = [0]
    for var in group:
        ends.append(ends[-1] + shape_of(var)[-1])
    return [array[..., a:b] for a, b in pairwise(ends)]
