"""Layer by layer: the input's projection before the loop, weight gradients after.

    forward     x_proj = project_input(x)              one product over [T, *B]
                loop: h_proj_t, update                 one product a step
    backward    loop: δstate_t, δx_proj_t, δh_proj_t   one product a step
                δparams = Σ_t (∂project_state)ᵀ δh_proj_t     one product over [T, *B]

The backward loop carries the state's cotangent and no weight gradient; each
step's gates are computed again from the stored state and products, which is
elementwise work. If `update` uses parameters itself (peepholes, the second
product of a GRU that resets before it), their gradient too comes after the loop,
from one vectorised pass over all steps. A cell without the split gets that pass
for its whole `step`.

Derivatives: reverse mode, and anything over it (reverse over reverse, forward
over reverse). Plain forward mode needs the reference schedule.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.schedules.prefetch import scan_prefetched
from deeprnn_jax.schedules.program import (
    Program,
    addend_gradient,
    compute_fixed,
    hoist,
    left_operands,
    matrix_gradient,
    pull_step,
    run_step,
    run_whole_step,
    trace,
    transpose_matrices,
)
from deeprnn_jax.schedules.rules import project_in_loop
from deeprnn_jax.schedules.run import CellRun
from deeprnn_jax.sequences import Steps, enter_step, leave_step, shift
from deeprnn_jax.types import Array, Cell, Noise, Params, State


class Inputs(NamedTuple):
    """Everything that the recurrence runs on."""

    params: Params
    x: Array  # [T, *B, I]
    state: State  # before the first step
    initial: State  # after a reset
    steps: Steps
    noise: Noise


class Residuals(NamedTuple):
    """What the backward pass keeps of the forward pass."""

    inputs: Inputs
    afters: list[Array]  # the state that each step ended with, [T, *B, size]
    kept: list[Array]  # of each step's values, those that `Program.kept` names


def run_cell(
    cell: Cell,
    params: Params,
    x: Array,
    state: State,
    initial: State,
    steps: Steps,
    noise: Noise,
    *,
    reverse: bool,
    want_states: bool,
) -> CellRun:
    """Run one cell over a sequence; see `schedules.run.RunCellFn`."""
    inputs = Inputs(params, x, state, initial, steps, noise)
    return _recur(cell, reverse, want_states, inputs)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recur(cell: Cell, reverse: bool, want_states: bool, inputs: Inputs) -> CellRun:
    """Run the recurrence."""
    if not project_in_loop():
        return _scan(cell, reverse, want_states, False, inputs)[0]
    params, x, state, initial, steps, noise = inputs
    program = _trace_step(cell, inputs)
    fixed = compute_fixed(program, jax.tree.leaves((params, initial)))

    def body(carry: list[Array], per_step: list[Array]) -> tuple[list[Array], tuple]:
        *after, y = run_whole_step(program, fixed, [*carry, *per_step])
        return after, (y, after if want_states else None)

    per_step = jax.tree.leaves((x, noise, steps))
    final, (y, states) = lax.scan(body, jax.tree.leaves(state), per_step, reverse=reverse)
    rebuild = partial(jax.tree.unflatten, jax.tree.structure(state))
    return CellRun(rebuild(final), y, rebuild(states) if want_states else None)


def _recur_forward(
    cell: Cell, reverse: bool, want_states: bool, inputs: Inputs
) -> tuple[CellRun, Residuals]:
    return _scan(cell, reverse, want_states, True, inputs)


def _trace_step(cell: Cell, inputs: Inputs) -> Program:
    """Take the cell's step apart: parameters, the state, and what a step reads."""

    def step(*flat: Array) -> list[Array]:
        parts = jax.tree.unflatten(structure, flat)
        (params, initial), carry, (x, noise, (mask, reset)) = parts
        before = enter_step(initial, carry, reset)
        x_proj = cell.project_input(params, x)
        after, y = cell.step(params, before, attach_noise(cell, x_proj, noise))
        return jax.tree.leaves(leave_step(mask, before, after, y))

    def one(leaf: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)

    params, x, state, initial, steps, noise = inputs
    parts = ((params, initial), state, jax.tree.map(one, (x, noise, steps)))
    structure = jax.tree.structure(parts)
    return trace(step, *map(jax.tree.leaves, parts))


def _scan(
    cell: Cell, reverse: bool, want_states: bool, keep: bool, inputs: Inputs
) -> tuple[CellRun, Residuals]:
    """Run the recurrence; with `keep`, also stack what the backward pass needs."""
    params, x, state, initial, steps, noise = inputs
    program = _trace_step(cell, inputs)
    fixed = compute_fixed(program, jax.tree.leaves((params, initial)))
    *afters, y = program.jaxpr.outvars
    stacked = [y, *(afters if want_states or keep else ()), *(program.made if keep else ())]
    once = list(dict.fromkeys(stacked))  # an output that is the state, say, is stacked once

    def body(carry: list[Array], per_step: list[Array]) -> tuple[list[Array], list[Array]]:
        found, env = run_step(program, fixed, [*carry, *per_step])
        return found[:-1], [env[var] for var in once]

    per_step = hoist(program, fixed, jax.tree.leaves((x, noise, steps)))
    final, stacks = scan_prefetched(body, jax.tree.leaves(state), per_step, reverse=reverse)
    stack_of = dict(zip(once, stacks, strict=True))
    structure = jax.tree.structure(state)
    states = jax.tree.unflatten(structure, [stack_of[v] for v in afters]) if want_states else None
    run = CellRun(jax.tree.unflatten(structure, final), stack_of[y], states)
    if not keep:
        return run, Residuals(inputs, [], [])
    made = [stack_of[var] for var in program.made]
    return run, Residuals(inputs, [stack_of[var] for var in afters], made)


def _recur_backward(
    cell: Cell, reverse: bool, want_states: bool, residuals: Residuals, cotangents: CellRun
) -> tuple[Inputs]:
    """Give the cotangents of the recurrence's inputs."""
    params, x, state, initial, steps, noise = residuals.inputs
    program = _trace_step(cell, residuals.inputs)
    leaves = jax.tree.leaves((params, initial))
    fixed = compute_fixed(program, leaves)
    transposed = transpose_matrices(program, fixed)
    count = program.num_carry
    given = jax.tree.leaves((x, noise, steps))
    befores = [
        shift(first, after, reverse=reverse)
        for first, after in zip(jax.tree.leaves(state), residuals.afters, strict=True)
    ]
    # What was read and not kept is not computed again: only its shape counts.
    again = hoist(program, fixed, given)
    read = [
        None if _is_floating(var) and var not in program.kept else leaf
        for var, leaf in zip(program.reads, again, strict=True)
    ]
    with_gradient = [var for var in program.reads if _is_floating(var)]

    def varying_of(before: list[Array], read_t: list[Array | None]) -> list[Array]:
        found = [
            jnp.zeros(var.aval.shape, var.aval.dtype) if leaf is None else leaf
            for var, leaf in zip(program.reads, read_t, strict=True)
        ]
        return [*before, *found]

    places: list[int] = []  # of each cotangent, among those stacked

    def body(carry: tuple, per_step: tuple) -> tuple[tuple, list[Array]]:
        d_after, d_shared = carry
        before, read_t, made_t, d_y, d_state = per_step
        if want_states:
            d_after = _add(d_after, jax.tree.leaves(d_state))
        varying = varying_of(before, read_t)
        pulled = pull_step(program, fixed, transposed, varying, made_t, [*d_after, d_y])
        stacked = [*pulled.varying[count:], *pulled.products, *pulled.sums]
        # one array where two cotangents are the same
        once = list({id(one): one for one in stacked}.values())
        places[:] = [[id(one) for one in once].index(id(wanted)) for wanted in stacked]
        return (pulled.varying[:count], _add(d_shared, pulled.shared)), once

    shared = zip(fixed.shared, program.has_gradient, strict=True)
    start = (
        jax.tree.leaves(cotangents.state),
        [jnp.zeros_like(value) for value, has in shared if has],
    )
    per_step = (befores, read, residuals.kept, cotangents.y, cotangents.states)
    (d_state, d_shared), once = lax.scan(body, start, per_step, reverse=not reverse)
    stacked = [once[place] for place in places]
    num_read, num_products = len(with_gradient), len(program.products)
    d_read = stacked[:num_read]
    d_products = stacked[num_read : num_read + num_products]
    d_sums = stacked[num_read + num_products :]

    def lefts_of(before: list, read_t: list, made_t: list) -> list[Array]:
        return left_operands(program, fixed, transposed, varying_of(before, read_t), made_t)

    lefts = jax.vmap(lefts_of)(befores, read, residuals.kept)
    def before_loop(leaves: list[Array], x: Array) -> tuple[tuple, list[Array]]:
        """Compute all that is computed before the loop and gets a gradient from it."""
        fixed = compute_fixed(program, leaves)
        read = hoist(program, fixed, jax.tree.leaves((x, noise, steps)))
        shared = zip(fixed.shared, program.has_gradient, strict=True)
        loop = (
            [value for value, has in shared if has],
            fixed.matrices,
            fixed.addends,
        )
        return loop, [value for value in read if _is_floating(value)]

    d_matrices = [
        matrix_gradient(*operands)
        for operands in zip(program.products, lefts, d_products, strict=True)
    ]
    d_addends = [
        addend_gradient(var, d_sum)
        for (_, var), d_sum in zip(program.additions, d_sums, strict=True)
    ]
    _, pull = jax.vjp(before_loop, leaves, x)
    d_leaves, d_x = pull(((d_shared, d_matrices, d_addends), d_read))
    d_params, d_initial = jax.tree.unflatten(jax.tree.structure((params, initial)), d_leaves)
    d_state = jax.tree.unflatten(jax.tree.structure(state), d_state)
    no_flags = Steps(None, None)  # flags and noise have no cotangents
    return (Inputs(d_params, d_x, d_state, d_initial, no_flags, None),)


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _is_floating(value: Any) -> bool:
    return jnp.issubdtype(getattr(value, "aval", value).dtype, jnp.floating)


_recur.defvjp(_recur_forward, _recur_backward)
