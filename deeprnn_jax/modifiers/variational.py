"""Variational recurrent dropout: one mask a sequence on what recurs."""

from typing import Any, NamedTuple

import jax
from jax import lax

from deeprnn_jax.checks import CellArgument, Rate
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import draw_of, lift_params
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State


class MaskedParams(NamedTuple):
    """A sequence's parameters: the cell's, and the mask drawn for it."""

    cell: Params
    mask: Array  # [*B, H], 1 where a unit is kept


@factory
def variational_dropout(cell: CellArgument, rate: Rate) -> Cell:
    """Drop units of h_{t-1}, the same ones at every step of a sequence.

        h_proj = W_h (h_{t-1} ⊙ m / (1 - rate)),    m ~ Bernoulli(1 - rate), once a row

    Only the recurrent product sees the mask: c_{t-1}, and the h_{t-1} that a GRU
    leaks into h_t, stay whole. Outside training the cell is unchanged.

    Args:
      cell: a cell whose state has a field h, or that declares another as its output. One
        without the split sees the masked field throughout its `step`.
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
    project_state = cell.project_state
    field = cell.output or "h"

    def inner(params: Params) -> Params:
        return params.cell if isinstance(params, MaskedParams) else params

    def masked(params: Params, state: State) -> State:
        if not isinstance(params, MaskedParams):
            return state
        h = getattr(state, field)
        mask = lax.broadcast_to_rank(params.mask.astype(h.dtype), h.ndim)
        return state._replace(**{field: h * mask / (1 - rate)})

    def draw(params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, Noise]:
        k_cell, k_mask = jax.random.split(key)
        params, noise = draw_of(cell, params, k_cell, shape)
        h = _field_of(cell, cell.initial_state(params, shape[1:]), field)
        keep = jax.random.bernoulli(k_mask, 1 - rate, h.shape)
        return MaskedParams(params, keep.astype(h.dtype)), noise

    def project_masked(params: Params, state: State) -> Projection:
        assert project_state is not None
        return project_state(inner(params), masked(params, state))

    def update_masked(params: Params, state: State, *args: Any) -> tuple[State, Array]:
        return cell.update(inner(params), masked(params, state), *args)

    lifted = lift_params(cell, inner, put=lambda params, own: own)
    facts = {"output": cell.output, "state_map": cell.state_map}
    if project_state is None:
        return lifted._replace(draw=draw, update=update_masked, **facts)
    return lifted._replace(draw=draw, project_state=project_masked, **facts)


def _field_of(cell: Cell, state: State, field: str) -> Array:
    if not hasattr(state, "_fields") or not hasattr(state, field):
        raise ValueError(
            f"variational_dropout: the state of cell {cell.name!r} must be a NamedTuple with a "
            f"field {field}, which is dropped out, got {type(state).__name__}"
        )
    return getattr(state, field)
