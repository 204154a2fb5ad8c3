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

from deeprnn_jax.modifiers.lift import attach_noise
from deeprnn_jax.schedules.prefetch import scan_prefetched
from deeprnn_jax.schedules.run import CellRun
from deeprnn_jax.sequences import Steps, enter_step, leave_step
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State


class Inputs(NamedTuple):
    """Everything that the recurrence runs on."""

    params: Params
    x_proj: Projection  # [T, *B, G*H]
    state: State  # before the first step
    initial: State  # after a reset
    steps: Steps
    noise: Noise


class Residuals(NamedTuple):
    """What the backward pass keeps of the forward pass."""

    inputs: Inputs
    befores: State  # the state that each step began with, [T, *B, size]
    h_projs: Projection | None  # [T, *B, G*H]


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
    x_proj = cell.project_input(params, x)
    inputs = Inputs(params, x_proj, state, initial, steps, noise)
    return _recur(cell, reverse, want_states, inputs)


def _scan(
    cell: Cell, reverse: bool, want_states: bool, keep: bool, inputs: Inputs
) -> tuple[CellRun, tuple[State, Projection]]:
    """Run the recurrence; with `keep`, also stack what the backward pass needs."""
    params, x_proj, state, initial, steps, noise = inputs

    def body(carry: State, per_step: tuple) -> tuple[State, tuple]:
        x_proj_t, noise_t, (mask_t, reset_t) = per_step
        before = enter_step(initial, carry, reset_t)
        h_proj = cell.project_state(params, before) if cell.project_state else None
        after, y = _finish_step(cell, params, before, x_proj_t, h_proj, noise_t)
        after, y = leave_step(mask_t, before, after, y)
        kept = (before, h_proj) if keep else None
        return after, (y, after if want_states else None, kept)

    per_step = (x_proj, noise, steps)
    final, (y, states, kept) = scan_prefetched(body, state, per_step, reverse=reverse)
    return CellRun(final, y, states), kept


def _finish_step(
    cell: Cell,
    params: Params,
    before: State,
    x_proj: Projection,
    h_proj: Projection | None,
    noise: Noise,
) -> tuple[State, Array]:
    """Do what is left of a step once the recurrent product is there."""
    x_proj = attach_noise(cell, x_proj, noise)
    if cell.update is None:
        return cell.step(params, before, x_proj)
    return cell.update(params, before, x_proj, h_proj)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recur(cell: Cell, reverse: bool, want_states: bool, inputs: Inputs) -> CellRun:
    """Run the recurrence over a projected input."""
    return _scan(cell, reverse, want_states, False, inputs)[0]


def _recur_forward(
    cell: Cell, reverse: bool, want_states: bool, inputs: Inputs
) -> tuple[CellRun, Residuals]:
    run, (befores, h_projs) = _scan(cell, reverse, want_states, True, inputs)
    return run, Residuals(inputs, befores, h_projs)


def _recur_backward(
    cell: Cell, reverse: bool, want_states: bool, kept: Residuals, cotangents: CellRun
) -> tuple[Inputs]:
    """Give the cotangents of the recurrence's inputs."""
    params, x_proj, _, initial, steps, noise = kept.inputs
    project_state = cell.project_state
    uses_params = _finish_uses_params(cell, kept)

    def body(carry: tuple[State, State], per_step: tuple) -> tuple[tuple, tuple]:
        d_after, d_initial = carry
        before, x_proj_t, h_proj, noise_t, (mask_t, reset_t), d_y, d_state = per_step
        if want_states:
            d_after = _add(d_after, d_state)

        def finish(before: State, x_proj_t: Projection, h_proj: Projection) -> tuple[State, Array]:
            after, y = _finish_step(cell, params, before, x_proj_t, h_proj, noise_t)
            return leave_step(mask_t, before, after, y)

        _, pull = jax.vjp(finish, before, x_proj_t, h_proj)
        d_before, d_x_proj, d_h_proj = pull((d_after, d_y))
        if project_state is not None:
            _, pull_product = jax.vjp(partial(project_state, params), before)
            d_before = _add(d_before, pull_product(d_h_proj)[0])
        d_out = (d_after, d_y) if uses_params else None
        if reset_t is not None:
            _, pull_enter = jax.vjp(lambda i, s: enter_step(i, s, reset_t), initial, before)
            d_start, d_before = pull_enter(d_before)
            d_initial = _add(d_initial, d_start)
        return (d_before, d_initial), (d_x_proj, d_h_proj, d_out)

    zeros = jax.tree.map(jnp.zeros_like, initial)
    per_step = (kept.befores, x_proj, kept.h_projs, noise, steps, cotangents.y, cotangents.states)
    (d_state, d_initial), (d_x_proj, d_h_projs, d_outs) = scan_prefetched(
        body, (cotangents.state, zeros), per_step, reverse=not reverse
    )

    d_params = jax.tree.map(jnp.zeros_like, params)
    if project_state is not None:
        _, pull = jax.vjp(lambda p: project_state(p, kept.befores), params)
        d_params = _add(d_params, pull(d_h_projs)[0])
    if uses_params:
        d_params = _add(d_params, _pull_params(cell, kept, d_outs))
    no_flags = Steps(None, None)  # flags and noise have no cotangents
    return (Inputs(d_params, d_x_proj, d_state, d_initial, no_flags, None),)


def _pull_params(cell: Cell, kept: Residuals, d_outs: tuple[State, Array]) -> Params:
    """Give the gradient of the parameters that `_finish_step` uses, all steps at once."""
    params, x_proj, _, _, steps, noise = kept.inputs

    def finish(params: Params) -> tuple[State, Array]:
        after, y = _finish_step(cell, params, kept.befores, x_proj, kept.h_projs, noise)
        return leave_step(steps.mask, kept.befores, after, y)

    _, pull = jax.vjp(finish, params)
    return pull(d_outs)[0]


def _finish_uses_params(cell: Cell, kept: Residuals) -> bool:
    """Tell whether any parameter reaches the outputs of `_finish_step`.

    Read off the traced step, so that no cell has to declare it. For most cells the
    answer is no, and the cotangents that `_pull_params` needs are not stored.
    """
    params, x_proj, _, _, _, noise = kept.inputs
    operands = (params, kept.befores, x_proj, kept.h_projs, noise)
    jaxpr = jax.make_jaxpr(partial(_finish_step, cell))(*operands).jaxpr
    live = {id(var) for var in jaxpr.outvars}
    for eqn in reversed(jaxpr.eqns):
        if any(id(var) in live for var in eqn.outvars):
            live.update(id(var) for var in eqn.invars)
    num_params = len(jax.tree.leaves(params))
    return any(id(var) in live for var in jaxpr.invars[:num_params])


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


_recur.defvjp(_recur_forward, _recur_backward)
