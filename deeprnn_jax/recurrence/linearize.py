"""A step and its derivative, taken apart into two steps.

    forward     (consts, carry, x_t) -> (carry, y_t, residuals of the step)
    tangent     the tangents of these, linear, from the residuals

JAX linearises the step; what its tangent needs of the step's own values is chosen by
`residuals`. Both are steps of recurrences again, so that all that is known of a recurrence
holds for its derivatives, of any order.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from deeprnn_jax.recurrence.analysis import inputs_of, is_among, sort_operations
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    close,
    dtype_of,
    is_inexact,
    live,
    num_bytes,
    reached,
    shape_of,
    trace,
    variables_of,
)
from deeprnn_jax.recurrence.loop import SMALL_SLICES
from deeprnn_jax.recurrence.residuals import choose_residuals
from deeprnn_jax.types import Array


class Residual(NamedTuple):
    """Where a stack that the tangent reads comes from."""

    kind: str  # "x": one of xs; "y": an output; "before": an output that is the carry after
    index: int  # of the x, or of the output
    carry: int = 0  # which of the carry


class Linearized(NamedTuple):
    """A step with its derivative."""

    forward: ClosedJaxpr
    tangent: ClosedJaxpr
    consts: list[Any]  # arrays that the derivative brought with it, consts of `forward` too
    active_carry: tuple[bool, ...]  # which of the carry have tangents
    active_ys: tuple[bool, ...]  # which outputs have
    fixed: list[JaxprEqn]  # what gives `invariant`, of consts
    fixed_inputs: list[Var]  # the variables of all consts
    invariant: list[Var]  # first consts of `tangent`: values that no step changes
    residuals: list[Residual]  # first xs of `tangent`
    kept: list[Var]  # what is kept, by its variables, in the order of `residuals`
    packs: list[list[Var]]  # kept side by side as one array


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
    invars, outvars = jaxpr.jaxpr.invars, jaxpr.jaxpr.outvars
    active_in, active_out = _active(jaxpr.jaxpr, num_consts, num_carry, active)
    num_out = len(outvars)

    def joint(*values: Array) -> list[Array]:
        """Give the step's outputs, then the tangents of the active ones."""
        primals, tangents = values[: len(invars)], values[len(invars) :]

        def step(active_primals: list[Array]) -> tuple[list[Array], list[Array]]:
            rest = iter(active_primals)
            given = [
                next(rest) if one else value for one, value in zip(active_in, primals, strict=True)
            ]
            env = Env(zip(invars, given, strict=True))
            env.do(*jaxpr.jaxpr.eqns)
            found = env.read(outvars)
            return [one for one, is_active in zip(found, active_out, strict=True) if is_active], found

        varied = [value for one, value in zip(active_in, primals, strict=True) if one]
        _, push, found = jax.linearize(step, varied, has_aux=True)
        return [*found, *push(list(tangents))]

    shapes = [var.aval for var in invars]
    tangent_shapes = [var.aval for var, one in zip(invars, active_in, strict=True) if one]
    opened, consts = trace(joint, [*shapes, *tangent_shapes])
    primals, tangents = opened.invars[: len(invars)], opened.invars[len(invars) :]
    of_tangents = reached(opened.eqns, tangents)
    primal_eqns = [eqn for eqn in opened.eqns if not is_among(of_tangents, eqn)]
    tangent_eqns = [eqn for eqn in opened.eqns if is_among(of_tangents, eqn)]
    found, found_tangents = opened.outvars[:num_out], opened.outvars[num_out:]

    # what the tangent needs of the step's values
    all_consts = [*opened.constvars, *primals[:num_consts]]
    begins, x_vars = primals[num_consts : num_consts + num_carry], primals[num_consts + num_carry :]
    ends, ys = found[:num_carry], found[num_carry:]
    varying = reached(primal_eqns, [*begins, *x_vars])
    fixed = [eqn for eqn in primal_eqns if not is_among(varying, eqn)]
    step_eqns = [eqn for eqn in primal_eqns if is_among(varying, eqn)]
    wanted = inputs_of(tangent_eqns, found_tangents)
    needed = [var for var in wanted if var in varying]
    shown = {var: index for index, var in reversed(list(enumerate(ys)))} if ys else {}
    shown = {var: index for var, index in shown.items() if not _is_literal(var)}
    shifted = {
        begin: (shown[end], index)
        for index, (begin, end) in enumerate(zip(begins, ends, strict=True))
        if not _is_literal(end) and end in shown
    }
    kept = choose_residuals(step_eqns, needed, varying, {*x_vars, *shown, *shifted})
    again = live([eqn for eqn in step_eqns if not set(eqn.outvars) & set(kept)], needed)

    # each kept value: an input, an output, one shifted, or a new output
    residuals, new = [], []
    for var in kept:
        if var in x_vars:
            residuals.append(Residual("x", x_vars.index(var)))
        elif var in shown:
            residuals.append(Residual("y", shown[var]))
        elif var in shifted:
            residuals.append(Residual("before", *shifted[var]))
        else:
            new.append(var)
    own = [var for var in kept if var not in new]
    packs = _choose_packs(opened, primal_eqns, all_consts, begins, x_vars, [*ends, *ys], new)
    residuals += [Residual("y", len(ys) + index) for index in range(len(packs))]

    invariant = [
        var
        for var in inputs_of([*again, *tangent_eqns], found_tangents)
        if var in set(all_consts) or any(var in eqn.outvars for eqn in fixed)
    ]

    def forward(*values: Array) -> list[Array]:
        env = Env(zip([*opened.constvars, *primals], values, strict=True))
        env.do(*primal_eqns)
        return [*env.read(found), *(_join(env.read(pack)) for pack in packs)]

    def tangent(*values: Array) -> list[Array]:
        in_turn = iter(values)
        env = Env((var, next(in_turn)) for var in invariant)
        order = _by_part(tangents, active_in, num_consts, num_carry)
        env.assign([*order[0], *order[1]], [next(in_turn) for _ in (*order[0], *order[1])])
        env.assign(own, [next(in_turn) for _ in own])
        for pack in packs:
            env.assign(pack, _part(pack, next(in_turn)))
        env.assign(order[2], in_turn)
        env.do(*again, *tangent_eqns)
        return env.read(found_tangents)

    forward_shapes = [*(var.aval for var in opened.constvars), *shapes]
    forward_jaxpr, _ = trace(forward, forward_shapes)
    pack_shapes = [var.aval for var in forward_jaxpr.outvars[num_out:]]
    order = _by_part(tangents, active_in, num_consts, num_carry)
    tangent_jaxpr, _ = trace(
        tangent,
        [
            *(var.aval for var in (*invariant, *order[0], *order[1], *own)),
            *pack_shapes,
            *(var.aval for var in order[2]),
        ],
    )
    return Linearized(
        forward=close(forward_jaxpr),
        tangent=close(tangent_jaxpr),
        consts=consts,
        active_carry=active_in[num_consts : num_consts + num_carry],
        active_ys=active_out[num_carry:],
        fixed=live(fixed, invariant),
        fixed_inputs=all_consts,
        invariant=invariant,
        residuals=residuals,
        kept=[*own, *(var for pack in packs for var in pack)],
        packs=packs,
    )


def _is_literal(operand: Any) -> bool:
    return not variables_of([operand])


def _active(
    jaxpr: Any, num_consts: int, num_carry: int, active: Sequence[bool]
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Tell which inputs and outputs have tangents, with those that come round by the carry."""
    flags = [one and is_inexact(var) for one, var in zip(active, jaxpr.invars, strict=True)]
    while True:
        found = {var for var, one in zip(jaxpr.invars, flags, strict=True) if one}
        for eqn in jaxpr.eqns:
            if is_among(found, eqn):
                found.update(var for var in eqn.outvars if is_inexact(var))
        out = [not _is_literal(var) and var in found for var in jaxpr.outvars]
        carry = slice(num_consts, num_consts + num_carry)
        joined = [a or b for a, b in zip(flags[carry], out[:num_carry], strict=True)]
        if joined == flags[carry]:
            # a carry that has a tangent ends with one
            return tuple(flags), tuple([*joined, *out[num_carry:]])
        flags[carry] = joined


def _by_part(
    tangents: Sequence[Var], active: Sequence[bool], num_consts: int, num_carry: int
) -> tuple[list[Var], list[Var], list[Var]]:
    """Part the tangents into those of consts, carry and x_t."""
    parts: tuple[list, list, list] = ([], [], [])
    places = (index for index, one in enumerate(active) if one)
    for var, place in zip(tangents, places, strict=True):
        part = 0 if place < num_consts else 1 if place < num_consts + num_carry else 2
        parts[part].append(var)
    return parts


def _choose_packs(
    opened: Any,
    eqns: list[JaxprEqn],
    consts: Sequence[Var],
    begins: Sequence[Var],
    x_vars: Sequence[Var],
    outputs: Sequence[Any],
    new: list[Var],
) -> list[list[Var]]:
    """Choose what is kept side by side: what takes just the room of a hoisted value read.

    An LSTM's step reads four gates' projections as one array and keeps four gates, and its
    backward pass makes those gates' cotangents, again as one array. Packed, the three are
    one stack: each loop writes where it has read.
    """
    step = opened.replace(
        constvars=[], invars=[*consts, *begins, *x_vars], outvars=[*outputs, *new], eqns=eqns
    )
    ops = sort_operations(step, len(consts), len(begins))
    hoisted = {var for eqn in ops.hoisted for var in eqn.outvars}
    shown = {*variables_of(outputs), *new}
    by_loop = {var for eqn in ops.loop for var in eqn.outvars}
    reads = [
        var
        for var in dict.fromkeys(v for eqn in ops.loop for v in variables_of(eqn.invars))
        if var in hoisted and var not in shown
    ]
    packs, rest = [], list(new)
    for read in reads:
        if num_bytes(read) > SMALL_SLICES and shape_of(read):
            pack = _fill(read, [var for var in rest if var in by_loop])
            if len(pack) > 1:
                packs.append(pack)
                rest = [var for var in rest if var not in pack]
    return [*packs, *([var] for var in rest)]


def _fill(read: Var, values: Sequence[Var]) -> list[Var]:
    """Choose, in order, what takes exactly as much room as the array read, or nothing."""
    *shape, room = shape_of(read)
    pack = []
    for var in values:
        alike = shape_of(var)[:-1] == tuple(shape) and dtype_of(var) == dtype_of(read)
        if alike and len(shape_of(var)) == len(shape) + 1 and shape_of(var)[-1] <= room:
            pack.append(var)
            room -= shape_of(var)[-1]
    return [] if room else pack


def _join(values: Sequence[Array]) -> Array:
    return jnp.concatenate(values, axis=-1) if len(values) > 1 else values[0]


def _part(pack: Sequence[Var], array: Array) -> list[Array]:
    """Undo `_join`."""
    if len(pack) == 1:
        return [array]
    found, start = [], 0
    for var in pack:
        width = shape_of(var)[-1]
        found.append(array[..., start : start + width])
        start += width
    return found
