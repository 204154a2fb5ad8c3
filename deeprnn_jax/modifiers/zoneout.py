"""Zoneout: units that now and then keep their old value."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import CellArgument, check_rate
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import draw_of
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State, given


class ZoneoutNoise(NamedTuple):
    """Which units keep their value, and what the cell inside draws."""

    keep: dict[str, Array]  # field of the state -> bool [T, *B, size]
    cell: Noise


@factory
def zoneout(cell: CellArgument, rate: float | Mapping[str, float]) -> Cell:
    """Keep each unit of the state at its previous value with a given probability.

        training:    s_t = d_t ⊙ s_{t-1} + (1 - d_t) ⊙ s̃_t,    d_t ~ Bernoulli(rate)
        otherwise:   s_t = rate · s_{t-1} + (1 - rate) · s̃_t

    with s̃_t the cell's own next state. Each field of the state has its own d_t; integers
    and flags are not zoned out. The output is the zoned-out field that the cell declares
    (`output`); one that is no field of the state is that of s̃_t.

    Args:
      cell: a cell whose state is a NamedTuple, and that declares its output.
      rate: the probability for every field of the state, or one a field, as
        `{"h": 0.05, "c": 0.5}`; fields not named are not zoned out.

    Returns:
      The cell, with the same parameters.

    Raises:
      ValueError: if a rate is not in [0, 1), the cell does not say what its output is, or
        (from `init`) a field is not the state's.

    Example:
      >>> import deeprnn_jax as drnn
      >>> cell = drnn.zoneout(drnn.lstm(8), {"h": 0.05, "c": 0.5})

    References:
      Krueger et al. 2017, eq. 2-4 and the expectation at test time, section 3.
    """
    named = dict(rate) if isinstance(rate, Mapping) else {}
    for name, value in named.items():
        check_rate("zoneout", f"rate[{name!r}]", value)
    if not isinstance(rate, Mapping):
        check_rate("zoneout", "rate", rate)

    if cell.output is None:
        raise ValueError(
            f"zoneout: cell {cell.name!r} must say which field of its state its output is, that "
            "the zoned-out one goes up: make it with output='h', or with output=False if it is "
            "none of them"
        )

    def rates_of(state: State) -> dict[str, float]:
        """Give the rate of each field that is zoned out."""
        if not hasattr(state, "_fields"):
            raise ValueError(
                f"zoneout: the state of cell {cell.name!r} must be a NamedTuple, each field with "
                f"a mask of its own, got {type(state).__name__}"
            )
        unknown = sorted(set(named) - set(state._fields))
        if unknown:
            raise ValueError(
                f"zoneout: rate names {unknown}, but the state of {cell.name!r} has the "
                f"fields {list(state._fields)}"
            )
        chosen = named if isinstance(rate, Mapping) else dict.fromkeys(state._fields, rate)
        for field in chosen:
            if not hasattr(getattr(state, field), "dtype"):
                raise ValueError(
                    f"zoneout: each field of the state of cell {cell.name!r} must be an array, got "
                    f"{type(getattr(state, field)).__name__} for {field}; name those that are, as "
                    'in rate={"c": 0.1}'
                )
        return {
            field: float(value)
            for field, value in chosen.items()
            if value and jnp.issubdtype(getattr(state, field).dtype, jnp.floating)
        }

    def init(key: Array, input_size: int) -> Params:
        params = cell.init(key, input_size)
        rates_of(cell.initial_state(params, ()))
        return params

    def draw(params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, ZoneoutNoise]:
        k_cell, k_keep = jax.random.split(key)
        params, noise = draw_of(cell, params, k_cell, shape)
        state = cell.initial_state(params, ())
        rates = rates_of(state)
        keys = dict(zip(rates, jax.random.split(k_keep, max(len(rates), 1)), strict=False))
        keep = {
            field: jax.random.bernoulli(keys[field], p, (*shape, *getattr(state, field).shape))
            for field, p in rates.items()
        }
        return params, ZoneoutNoise(keep, noise)

    def update(
        params: Params,
        state: State,
        x_proj: Projection,
        h_proj: Projection,
        noise: ZoneoutNoise | None = None,
    ) -> tuple[State, Array]:
        inner = None if noise is None else noise.cell
        after, y = cell.update(params, state, x_proj, h_proj, *given(inner))
        zoned = {}
        for field, p in rates_of(after).items():
            old, new = getattr(state, field), getattr(after, field)
            mixed = p * old + (1 - p) * new
            zoned[field] = mixed if noise is None else jnp.where(noise.keep[field], old, new)
        return after._replace(**zoned), zoned.get(cell.output, y)

    return cell._replace(
        init=init, draw=draw, update=update, output=cell.output, state_map=cell.state_map
    )
