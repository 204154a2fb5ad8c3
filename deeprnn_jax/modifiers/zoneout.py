"""Zoneout: units that now and then keep their old value."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_cell, check_rate
from deeprnn_jax.modifiers.lift import attach_noise, modified_settings, recompose_step
from deeprnn_jax.types import Array, Cell, Noise, Params, Projection, State


class ZoneoutNoise(NamedTuple):
    """Which units keep their value, and what the cell inside draws."""

    keep: dict[str, Array]  # field of the state -> bool [T, *B, size]
    cell: Noise


def zoneout(cell: Cell, rate: float | Mapping[str, float]) -> Cell:
    """Keep each unit of the state at its previous value with a given probability.

        training:    s_t = d_t ⊙ s_{t-1} + (1 - d_t) ⊙ s̃_t,    d_t ~ Bernoulli(rate)
        otherwise:   s_t = rate · s_{t-1} + (1 - rate) · s̃_t

    with s̃_t the cell's own next state. Each field of the state has its own d_t.

    Args:
      cell: any cell.
      rate: the probability for every field of the state, or one a field, as
        `{"h": 0.05, "c": 0.5}`; fields not named are not zoned out.

    Returns:
      The cell, with the same parameters. Its output is the zoned-out h where the
      cell's output is its state's h, the same array, as in all cells of this library.

    Raises:
      ValueError: if a rate is not in [0, 1), or (from `init`) a field not the cell's.

    Example:
      >>> import deeprnn_jax as drnn
      >>> cell = drnn.zoneout(drnn.lstm(8), {"h": 0.05, "c": 0.5})

    References:
      Krueger et al. 2017, eq. 2-4 and the expectation at test time, section 3.
    """
    check_cell("zoneout", cell)
    named = dict(rate) if isinstance(rate, Mapping) else {}
    for name, value in named.items():
        check_rate("zoneout", f"rate[{name!r}]", value)
    if not isinstance(rate, Mapping):
        check_rate("zoneout", "rate", rate)

    def rates_of(state: State) -> dict[str, float]:
        chosen = rate if isinstance(rate, Mapping) else dict.fromkeys(state._fields, rate)
        return {field: float(value) for field, value in chosen.items() if value}

    def init(key: Array, input_size: int) -> Params:
        params = cell.init(key, input_size)
        fields = cell.initial_state(params, ())._fields
        unknown = sorted(set(named) - set(fields))
        if unknown:
            raise ValueError(
                f"zoneout: rate names {unknown}, but the state of {cell.name!r} has the "
                f"fields {list(fields)}"
            )
        return params

    def noise(params: Params, key: Array, shape: tuple[int, ...]) -> ZoneoutNoise:
        state = cell.initial_state(params, ())
        k_cell, key = jax.random.split(key)
        rates = rates_of(state)
        keys = dict(zip(rates, jax.random.split(key, max(len(rates), 1)), strict=False))
        keep = {
            field: jax.random.bernoulli(keys[field], p, (*shape, *getattr(state, field).shape))
            for field, p in rates.items()
        }
        inner = None if cell.noise is None else cell.noise(params, k_cell, shape)
        return ZoneoutNoise(keep, inner)

    def mix(before: State, after: State, y: Array, drawn: Noise) -> tuple[State, Array]:
        zoned = {}
        for field, p in rates_of(after).items():
            old, new = getattr(before, field), getattr(after, field)
            if drawn is None:
                zoned[field] = p * old + (1 - p) * new
            else:
                zoned[field] = jnp.where(drawn.keep[field], old, new)
        # The cell hands out its h itself, the same array, so identity tells.
        y = zoned.get("h", y) if y is after.h else y
        return after._replace(**zoned), y

    def unwrap(x_proj: Projection) -> tuple[Projection, Noise]:
        drawn = x_proj.noise
        inner = None if drawn is None else drawn.cell
        return attach_noise(cell, x_proj.x_proj, inner), drawn

    def update(
        params: Params, state: State, x_proj: Projection, h_proj: Projection
    ) -> tuple[State, Array]:
        assert cell.update is not None
        inner, drawn = unwrap(x_proj)
        after, y = cell.update(params, state, inner, h_proj)
        return mix(state, after, y, drawn)

    def step(params: Params, state: State, x_proj: Projection) -> tuple[State, Array]:
        inner, drawn = unwrap(x_proj)
        after, y = cell.step(params, state, inner)
        return mix(state, after, y, drawn)

    gates = cell.gates
    return recompose_step(
        cell._replace(
            name=f"zoneout({cell.name})",
            settings=modified_settings(
                cell, rate=tuple(sorted(named.items())) if isinstance(rate, Mapping) else rate
            ),
            init=init,
            noise=noise,
            update=update if cell.update else None,
            step=step,
            gates=gates and (lambda params, state, x, h: gates(params, state, unwrap(x)[0], h)),
        )
    )
