"""One training step: a pure function from a state and a batch to a state.

    loss, carry = loss_fn(params, batch, carry, key)

`carry` is what one batch hands to the next, a recurrent state for example, or None.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common.non_finite import finite_flags

Scalars = Mapping[str, float]

# The trees of `StepReport.finite` in the order in which a step computes them.
FINITE_ORDER = ("loss", "gradients", "parameters", "carry")


class TrainState(NamedTuple):
    """All that a step changes; a checkpoint holds exactly this."""

    step: jax.Array  # int32, the steps done
    params: Any
    opt_state: optax.OptState
    ema: Any  # an optax.EmaState or None: the running mean of the parameters, where one is kept
    carry: Any  # from batch to batch, or None
    key: jax.Array  # never changes: step s draws from fold_in(key, s)


class StepReport(NamedTuple):
    """What a step tells about itself."""

    loss: jax.Array
    gradient_norm: jax.Array  # before clipping
    learning_rate: jax.Array
    finite: dict[str, Any]  # a flag for every leaf; see common.non_finite


LossFn = Callable[[Any, Any, Any, jax.Array], tuple[jax.Array, Any]]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, StepReport]]


def initial_train_state(
    seed_key: jax.Array,
    init: Callable[[jax.Array], Any],
    tx: optax.GradientTransformation,
    *,
    carry_of: Callable[[Any], Any] | None = None,
    ema_decay: float = 0.0,
) -> TrainState:
    """Draw the state before the first step, to be jitted whole: it is many small programs.

    Args:
      seed_key: what parameters and all steps' noise are drawn from.
      init: from a key to parameters.
      tx: the optimiser.
      carry_of: from the parameters to what the first batch is handed; None: nothing.
      ema_decay: decay of the parameters' running mean; 0: none is kept.
    """
    init_key, key = jax.random.split(seed_key)
    params = init(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=tx.init(params),
        ema=optax.ema(ema_decay).init(params) if ema_decay else None,
        carry=None if carry_of is None else carry_of(params),
        key=key,
    )


def evaluated_params(state: TrainState, ema_decay: float) -> Any:
    """Return the parameters to evaluate: their running mean, or at decay 0 themselves."""
    if state.ema is None:
        return state.params
    return optax.tree.bias_correction(state.ema.ema, ema_decay, state.ema.count)


def make_train_step(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    ema_decay: float = 0.0,
    many: bool = False,
    shardings: TrainState | None = None,
) -> TrainStep:
    """Return the compiled step `(state, batch) -> (state, report)`.

    The state's buffers are given up to the result: a caller must not use it again.

    Args:
      loss_fn: `(params, batch, carry, key) -> (loss, carry)`.
      tx: the optimiser.
      schedule: its learning rate, which the report tells.
      ema_decay: as for `initial_train_state`.
      many: whether state, batch and report have a leading axis of models, each of which is
        clipped and draws its noise by itself: none sees another.
      shardings: where the parts of the state lie, on several devices; None: on one.
    """
    ema = optax.ema(ema_decay)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, StepReport]:
        key = jax.random.fold_in(state.key, state.step)
        # The carry comes in as data: no gradient flows to earlier batches.
        (loss, carry), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, batch, state.carry, key
        )
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        averages = None if state.ema is None else ema.update(params, state.ema)[1]
        report = StepReport(
            loss=loss,
            gradient_norm=optax.tree.norm(gradients),
            learning_rate=jnp.asarray(schedule(state.step)),
            # The carry too: an LSTM's c can be infinite where its h, and the loss, are not.
            finite=finite_flags(loss=loss, gradients=gradients, parameters=params, carry=carry),
        )
        return TrainState(state.step + 1, params, opt_state, averages, carry, state.key), report

    step = jax.vmap(train_step) if many else train_step
    if shardings is None:
        return jax.jit(step, donate_argnums=0)
    of_report = shardings.step  # all of it on every device, as the count of steps is
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, of_report))


def num_parameters(params: Any) -> int:
    """Return how many numbers are learned."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
