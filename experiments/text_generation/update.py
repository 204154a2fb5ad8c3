"""One training step: a pure function from a state and a chunk of text to a state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common.non_finite import finite_flags
from experiments.text_generation.config import Config
from experiments.text_generation.model import Model, ModelParams, State

# The trees of `StepReport.finite` in the order in which a step computes them.
FINITE_ORDER = ("loss", "gradients", "parameters", "state")


class TrainState(NamedTuple):
    """All that a step changes; a checkpoint holds exactly this."""

    step: jax.Array  # int32, the steps done
    params: Any  # ModelParams, which optax knows as a tree only
    opt_state: optax.OptState
    ema: Any  # an optax.EmaState or None: the running mean of the parameters, where one is kept
    rnn_state: State  # carried from chunk to chunk
    key: jax.Array  # never changes: step s draws from fold_in(key, s)


class StepReport(NamedTuple):
    """What a step tells about itself."""

    loss: jax.Array  # nats a symbol
    gradient_norm: jax.Array  # before clipping
    learning_rate: jax.Array
    finite: dict[str, Any]  # a flag for every leaf; see common.non_finite


TrainStep = Callable[[TrainState, Any, Any, Any], tuple[TrainState, StepReport]]


def learning_rate_schedule(config: Config) -> optax.Schedule:
    """Return the learning rate of each step: linear warm-up, then a cosine to zero."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if config.warmup_steps else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps,
    )


def optimizer(config: Config) -> optax.GradientTransformation:
    """Return AdamW behind a clipped global norm."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate_schedule(config),
            b2=config.adam_b2,
            weight_decay=config.weight_decay,
            mask=_is_matrix,
        ),
    )


def _is_matrix(params: ModelParams) -> Any:
    """Tell which leaves decay: the matrices.

    By name, not by rank, because stacked layers add an axis to a bias as well.
    """

    def named(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        last = jax.tree_util.keystr(path[-1:], simple=True)
        return last in ("w_x", "w_h", "w_p", "w", "kernel", "embedding")

    return jax.tree_util.tree_map_with_path(named, params)


def initial_train_state(config: Config, model: Model) -> TrainState:
    """Return the state before the first step, all of it drawn from the seed."""

    # Compiled whole: otherwise some fifty small programs are, one after the other.
    @jax.jit
    def initial(seed_key: jax.Array) -> TrainState:
        init_key, key = jax.random.split(seed_key)
        params = model.init(init_key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer(config).init(params),
            ema=optax.ema(config.ema_decay).init(params) if config.ema_decay else None,
            rnn_state=model.initial_state(params, config.batch_size),
            key=key,
        )

    return initial(jax.random.key(config.seed))


def evaluated_params(state: TrainState, ema_decay: float) -> ModelParams:
    """Return the parameters to evaluate: their running mean, or at decay 0 themselves."""
    if state.ema is None:
        return state.params
    return optax.tree.bias_correction(state.ema.ema, ema_decay, state.ema.count)


def loss_fn(
    params: ModelParams,
    model: Model,
    x: jax.Array,
    labels: jax.Array,
    rnn_state: State,
    key: jax.Array | None,
) -> tuple[jax.Array, State]:
    """Return the mean nats a symbol over `[T, B]`, and the state after the chunk."""
    rnn_state, logits = model.apply(params, x, rnn_state, key)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return nats.mean(), rnn_state


def make_train_step(config: Config, model: Model) -> TrainStep:
    """Return the compiled step `(state, x [T, B], labels [T, B], fresh) -> ...`.

    `fresh`, a bool, starts the recurrent state anew before the chunk. The state's
    buffers are given up to the result, so a caller must not use it again.
    """
    tx, schedule = optimizer(config), learning_rate_schedule(config)
    ema = optax.ema(config.ema_decay)

    def train_step(
        state: TrainState, x: jax.Array, labels: jax.Array, fresh: jax.Array
    ) -> tuple[TrainState, StepReport]:
        start = jax.tree.map(
            lambda first, carried: jnp.where(fresh, first, carried),
            model.initial_state(state.params, config.batch_size),
            state.rnn_state,
        )
        # The carried state comes in as data: no gradient flows to earlier chunks.
        (loss, rnn_state), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params,
            model,
            x,
            labels,
            start,
            jax.random.fold_in(state.key, state.step),
        )
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        averages = None if state.ema is None else ema.update(params, state.ema)[1]
        report = StepReport(
            loss=loss,
            gradient_norm=optax.tree.norm(gradients),
            learning_rate=jnp.asarray(schedule(state.step)),
            # The state too: an LSTM's c can be infinite where its h, and the loss, are not.
            finite=finite_flags(loss=loss, gradients=gradients, parameters=params, state=rnn_state),
        )
        after = TrainState(state.step + 1, params, opt_state, averages, rnn_state, state.key)
        return after, report

    return jax.jit(train_step, donate_argnums=0)
