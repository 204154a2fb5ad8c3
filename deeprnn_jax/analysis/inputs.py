"""What the instruments are called with, checked before anything runs."""

from functools import partial
from typing import Any

import jax

from deeprnn_jax import arguments, parameters
from deeprnn_jax.deep import check_network


def check_run(function: str, rnn: Any, params: Any, x: Any, state: Any = None) -> None:
    """Raise ValueError unless params, x `[T, *B, I]` and the state, or None, are the network's."""
    check_network(function, rnn)
    plan = rnn.plan
    arguments.check_sequence(function, x, plan.image_shape)
    parameters.check_params(function, plan, params)
    expected = partial(parameters.params_shapes, plan)
    mistake = arguments.explain_params(function, params, x.shape[-1], expected)
    if mistake is not None:
        raise ValueError(mistake)
    if state is not None:
        batch_shape = arguments.steps_shape(x, plan.image_shape)[1:]
        first = partial(parameters.initial_state, plan, batch_shape=batch_shape)
        arguments.check_state(function, state, jax.eval_shape(first, params))


def check_causal(function: str, rnn: Any) -> None:
    """Raise ValueError unless the network runs in one direction."""
    check_network(function, rnn)
    if rnn.plan.merge is not None:
        raise ValueError(
            f"{function}: rnn must be of one direction, got two, which have no single step; "
            "gradient_flow takes both"
        )
