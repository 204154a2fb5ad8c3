"""Variational recurrent dropout: one mask a sequence on what recurs."""

from typing import NamedTuple

import jax
from jax import lax

from deeprnn_jax.checks import check_cell, check_rate
from deeprnn_jax.modifiers.lift import lift_params, modified_settings, recompose_step
from deeprnn_jax.types import Array, Cell, Params, Projection, State


class MaskedParams(NamedTuple):
    """A sequence's parameters: the cell's, and the mask drawn for it."""

    cell: Params
    mask: Array  # [*B, H], 1 where a unit is kept


def variational_dropout(cell: Cell, rate: float) -> Cell:
    """Drop units of h_{t-1}, the same ones at every step of a sequence.

        h_proj = W_h (h_{t-1} ⊙ m / (1 - rate)),    m ~ Bernoulli(1 - rate), once a row

    Only the recurrent product sees the mask: c_{t-1}, and the h_{t-1} that a GRU
    leaks into h_t, stay whole. Outside training the cell is unchanged.

    Args:
      cell: a cell whose state has a field h. One without the split sees the masked h
        throughout its `step`.
      rate: the probability that a unit is dropped.

    Returns:
      The cell, with the same parameters.

    Raises:
      ValueError: if the rate is not in [0, 1).

    Example:
      >>> import deeprnn_jax as drnn
      >>> cell = drnn.variational_dropout(drnn.gru(8), 0.25)

    References:
      Gal and Ghahramani 2016, eq. 8 ("tied" weights: one mask for all gates). Its
      input mask is dropout on x with the same mask at all steps, the caller's.
    """
    check_cell("variational_dropout", cell)
    check_rate("variational_dropout", "rate", rate)
    project_state = cell.project_state

    def inner(params: Params) -> Params:
        return params.cell if isinstance(params, MaskedParams) else params

    def masked(params: Params, state: State) -> State:
        if not isinstance(params, MaskedParams):
            return state
        mask = lax.broadcast_to_rank(params.mask.astype(state.h.dtype), state.h.ndim)
        return state._replace(h=state.h * mask / (1 - rate))

    def prepare(params: Params, key: Array, batch_shape: tuple[int, ...]) -> MaskedParams:
        k_cell, k_mask = jax.random.split(key)
        if cell.prepare is not None:
            params = cell.prepare(params, k_cell, batch_shape)
        h = cell.initial_state(params, batch_shape).h
        keep = jax.random.bernoulli(k_mask, 1 - rate, h.shape)
        return MaskedParams(params, keep.astype(h.dtype))

    def project_masked(params: Params, state: State) -> Projection:
        assert project_state is not None
        return project_state(inner(params), masked(params, state))

    def step(params: Params, state: State, x_proj: Projection) -> tuple[State, Array]:
        return cell.step(inner(params), masked(params, state), x_proj)

    return recompose_step(
        lift_params(cell, inner)._replace(
            name=f"variational_dropout({cell.name})",
            settings=modified_settings(cell, rate=rate),
            prepare=prepare,
            project_state=project_masked if project_state else None,
            step=step,
        )
    )
