"""How far a gradient reaches: its norm at every layer and step, and by lag."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax import arguments
from deeprnn_jax.analysis.inputs import check_run
from deeprnn_jax.analysis.watching import WatchedParams, watched
from deeprnn_jax.checks import check_callable, is_number
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.sequences import make_steps
from deeprnn_jax.types import Array


def gradient_flow(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    loss: Callable[[Array], Array],
    state: DeepState | None = None,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    key: Array | None = None,
    checkpoint_every: int | str | None = "sqrt",
) -> Array:
    """Give the norm of the loss's gradient by the state of every layer and step.

        ‖dL/ds_t^l‖        s_t^l: all fields of layer l's state after step t, as one vector

    by all ways from there to the loss, through time and through the layers above; that of an
    LSTM is (dL/dh_t, dL/dc_t), its fields as if they were free: dL/dc_t is what c_t does from step
    t + 1 on, and not by way of h_t. It is one backward pass of the reference schedule, which keeps
    the norms alone: with `checkpoint_every="sqrt"` memory is some outputs `[T, *B, H]` a layer,
    and √T states.

    Args:
      rnn: any network, of two directions too.
      params: its parameters.
      x: `[T, *B, I]`, as `rnn.apply` takes it, as all that follow.
      loss: of y `[T, *B, O]`, a number; of a mean over rows, each row's norm is divided too.
      state: the state before the first step.
      lengths: int `[*B]`.
      mask: bool `[T, *B]`.
      resets: bool `[T, *B]`.
      key: turns dropout and noise on.
      checkpoint_every: as in `rnn.apply`.

    Returns:
      `[L, T, *B]`, or `[L, 2, T, *B]` with two directions, in the sums' dtype; 0 at masked steps.

    Raises:
      ValueError: as `rnn.apply`; if the loss is no function that gives one number.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2, output_size=1)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> x = jnp.ones((20, 4, 3))
      >>> drnn.analysis.gradient_flow(rnn, params, x, lambda y: jnp.sum(y[-1] ** 2)).shape
      (2, 20, 4)

    References:
      Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", eq. 3-5.
    """
    check_run("gradient_flow", rnn, params, x, state)
    check_callable("gradient_flow", "loss", loss, "lambda y: jnp.sum(y[-1] ** 2)")
    cells = {cell: watched(cell, key is not None) for cell in rnn.plan.cells}
    plan = rnn.plan.with_cells([cells[cell] for cell in rnn.plan.cells])
    if key is None:
        plan, key = plan.without_dropout(), jax.random.key(0)

    def total(slots: list[Array]) -> Array:
        entries = [
            entry._replace(cell=WatchedParams(entry.cell, one))
            for entry, one in zip(params.layers, slots, strict=True)
        ]
        _, y = DeepRNN(plan).apply(
            params._replace(layers=tuple(entries)),
            x,
            state,
            lengths=lengths,
            mask=mask,
            resets=resets,
            key=key,
            schedule="reference",
            checkpoint_every=checkpoint_every,
        )
        return _one_number("gradient_flow", loss(y))

    steps = arguments.steps_shape(x, plan.image_shape)
    axes = (*(() if plan.merge is None else (2,)), *steps)
    dtype = plan.precision.accumulate
    if not rnn.plan.stack_layers:
        return jnp.stack(jax.grad(total)([jnp.zeros(axes, dtype) for _ in plan.layers]))
    slots = [jnp.zeros((group.size, *axes), dtype) for group in plan.groups]
    return jnp.concatenate(jax.grad(total)(slots))


class Memory(NamedTuple):
    """How far back the last output's gradient reaches."""

    by_lag: Array  # [L, T, *B], the norm so many real steps before the last; NaN where none is
    horizon: Array  # int [L, *B], in steps


def memory_horizon(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    loss: Callable[[Array], Array],
    state: DeepState | None = None,
    *,
    fraction: float = 0.01,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    key: Array | None = None,
    checkpoint_every: int | str | None = "sqrt",
) -> Memory:
    """Give the gradient's norm by lag, of a loss at each row's last real step, and its horizon.

    The horizon of a layer and row is the lag from which on the norm stays below `fraction` of
    its value at lag 0. Where it never does within the row, it is the row's number of real steps:
    the memory reaches beyond what was seen.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      x: as in `gradient_flow`, as all that follow.
      loss: of y at each row's last real step `[*B, O]`, a number.
      state: likewise.
      fraction: above 0, below 1.
      lengths: likewise.
      mask: likewise.
      resets: likewise; nothing reaches beyond one.
      key: likewise.
      checkpoint_every: likewise.

    Returns:
      `Memory(by_lag, horizon)`.

    Raises:
      ValueError: as `gradient_flow`; of two directions, or a fraction out of range.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> memory = drnn.analysis.memory_horizon(rnn, params, jnp.ones((50, 4, 3)), jnp.sum)
      >>> memory.by_lag.shape, memory.horizon.shape
      ((2, 50, 4), (2, 4))
    """
    check_run("memory_horizon", rnn, params, x, state)
    check_callable("memory_horizon", "loss", loss, "jnp.sum")
    if rnn.plan.merge is not None:
        raise ValueError(
            "memory_horizon: rnn must be of one direction, got two, of which the one that reads "
            "backwards has seen nothing yet at the last step; use gradient_flow"
        )
    if not is_number(fraction) or not 0 < fraction < 1:
        raise ValueError(f"memory_horizon: fraction must be in (0, 1), got {fraction!r}")
    steps = arguments.steps_shape(x, rnn.plan.image_shape)
    arguments.check_flags_of_steps("memory_horizon", x, lengths, mask, resets, rnn.plan.image_shape)
    lengths, mask, resets = arguments.as_arrays(lengths, mask, resets)
    real = make_steps(lengths, mask, None, steps[0]).mask
    real = jnp.ones(steps, bool) if real is None else real
    norms = gradient_flow(
        rnn,
        params,
        x,
        lambda y: _one_number("memory_horizon", loss(at_last_step(y, real))),
        state,
        mask=real,
        resets=resets,
        key=key,
        checkpoint_every=checkpoint_every,
    )
    by_lag = jnp.take_along_axis(norms, _by_lag(real)[None], axis=1)
    lag = jnp.arange(steps[0]).reshape(-1, *(1,) * (len(steps) - 1))
    is_there = (lag < jnp.sum(real, axis=0, keepdims=True))[None]
    reaches = is_there & (by_lag >= fraction * by_lag[:, :1]) & (by_lag > 0)
    horizon = jnp.max(jnp.where(reaches, lag[None] + 1, 0), axis=1)
    return Memory(jnp.where(is_there, by_lag, jnp.nan), horizon)


def at_last_step(y: Array, real: Array) -> Array:
    """Give y `[T, *B, ...]` at each row's last real step, of which `real [T, *B]` tells."""
    last = _by_lag(real)[:1]
    index = last.reshape(*last.shape, *(1,) * (y.ndim - last.ndim))
    return jnp.take_along_axis(y, index, axis=0)[0]


def _by_lag(real: Array) -> Array:
    """Give each row's real steps, the last one first, then the others, `[T, *B]`."""
    num_steps = real.shape[0]
    lag = jnp.flip(jnp.cumsum(jnp.flip(real, 0), axis=0), 0) - 1
    return jnp.argsort(jnp.where(real, lag, num_steps), axis=0)


def _one_number(function: str, value: Any) -> Array:
    shape = getattr(value, "shape", None)
    if shape != ():
        found = type(value).__name__ if shape is None else f"shape {shape}"
        raise ValueError(f"{function}: loss must give one number, got {found}; sum it over rows")
    return value
