"""Seeing the gradient of each state pass, in the backward pass of any network.

A cell is made to hand its new state through `_pass`, which changes nothing, but whose backward
pass writes the norm of what comes by as the gradient of a number that is added to nothing: one
a step and row. The gradients themselves, as wide as all states, are never kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import CellArgument, Flag
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import draw_of, lift_params
from deeprnn_jax.recurrence.jaxprs import Env, accumulation_dtype, is_var, open_calls
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State, given


class WatchedParams(NamedTuple):
    """A cell's parameters, and the numbers whose gradients are the norms."""

    cell: Params
    slots: Array  # [T, *B]


class WatchedNoise(NamedTuple):
    """What a step of a watched cell reads besides its input."""

    slot: Array  # [*B], of one step
    cell: Noise


@factory
def watched(cell: CellArgument, is_training: Flag) -> Cell:
    """Make a cell whose `slots` get the norms of the gradient by its state as their own.

    Args:
      cell: any cell.
      is_training: whether it draws its noise.

    Returns:
      The cell; its parameters are `WatchedParams`, and it must be run with a key.
    """

    def draw(params: WatchedParams, key: Array, shape: tuple[int, ...]) -> tuple[Any, Any]:
        own, noise = draw_of(cell, params.cell, key, shape) if is_training else (params.cell, None)
        return params._replace(cell=own), WatchedNoise(params.slots, noise)

    def update(
        params: WatchedParams,
        state: State,
        x_proj: Projection,
        h_proj: Projection,
        noise: WatchedNoise,
    ) -> tuple[State, Array]:
        change = partial(_pass, noise.slot)
        args = params.cell, state, x_proj, h_proj, *given(noise.cell)
        return with_changed_state(cell.update, change, *args)

    return lift_params(cell)._replace(draw=draw, update=update, output=cell.output)


def with_changed_state(
    update: Callable[..., tuple[State, Array]], change: Callable[[State], State], *args: Any
) -> tuple[State, Array]:
    """Do a step of a cell, and change its new state before the output is read off it.

    So the gradient of a loss by the change is all of dL/ds_t: what goes on to the next step, and
    what goes up at once. The fields of the state are taken as independent of one another: that h
    is made of c does not count for c.

    Args:
      update: a cell's.
      change: of all fields at once.
      *args: of `update`.

    Returns:
      The changed state, and the output as read off it.
    """
    closed, shapes = jax.make_jaxpr(update, return_shape=True)(*args)
    jaxpr, consts = open_calls(closed)
    env = Env(zip(jaxpr.invars, [*consts, *jax.tree.leaves(args)], strict=True))
    again = Env(env)
    env.do(*jaxpr.eqns)
    leaves, structure = jax.tree.flatten(shapes[0])
    ends = jaxpr.outvars[: len(leaves)]
    state = change(jax.tree.unflatten(structure, env.read(ends)))
    # A field that is handed on as it came, as a window's are, the output does not read from here.
    changed = {
        var: leaf
        for var, leaf in zip(ends, jax.tree.leaves(state), strict=True)
        if is_var(var) and var not in again
    }
    for eqn in jaxpr.eqns:
        again.do(eqn)
        again.update((var, changed[var]) for var in eqn.outvars if var in changed)
    return state, again.read(jaxpr.outvars[len(leaves) :])[0]


@partial(jax.custom_vjp)
def _pass(slot: Array, state: State) -> State:
    """Give the state as it is."""
    del slot
    return state


def _pass_forward(slot: Array, state: State) -> tuple[State, Array]:
    return state, slot


def _pass_backward(slot: Array, gradient: State) -> tuple[Array, State]:
    return norm_of(gradient, slot.ndim).astype(slot.dtype), gradient


_pass.defvjp(_pass_forward, _pass_backward)


def norm_of(tree: Any, batch_ndim: int) -> Array:
    """Give the norm of a tree's floating-point leaves `[*B, ...]`, a number a row.

    Of the largest times that of the quotients: squares of float32 below 1e-19 would be zero.
    """
    rows = [
        jnp.abs(leaf).reshape(*leaf.shape[:batch_ndim], -1)
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    wide = jnp.concatenate([row.astype(accumulation_dtype(row.dtype)) for row in rows], axis=-1)
    largest = jnp.max(wide, axis=-1)
    scale = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return largest * jnp.sqrt(jnp.sum(jnp.square(wide / scale[..., None]), axis=-1))
