"""Programs of the libraries that are JAX underneath: jitted as a whole."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import jit

from experiments.benchmarks.peers.contract import Program, Stream
from experiments.benchmarks.workload import Workload


class JaxModel(NamedTuple):
    """A network in one JAX library."""

    params: Any  # what is trained
    apply: Callable[[Any, Any], Any]  # (params, x) -> y
    step: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None  # (params, state, x_t)
    state: Any = None  # before the first step
    batch_major: bool = False  # x and y are [B, T, size], not [T, B, size]
    input_dtype: Any = jnp.float32
    note: str = ""


def make_program(workload: Workload, model: JaxModel) -> Program:
    """Jit a model's forward pass, train step and single step.

    The loss is the mean of y², in float32.
    """
    x = np.swapaxes(workload.x, 0, 1) if model.batch_major else workload.x
    x = jax.device_put(jnp.asarray(x, model.input_dtype))
    params = jax.device_put(jax.tree.map(jnp.asarray, model.params))

    def loss(params: Any, x: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(model.apply(params, x).astype(jnp.float32)))

    def make_train() -> Any:
        # A function of its own each time: jit keeps the traces of those it has seen.
        def train(params: Any, x: jax.Array) -> Any:
            value, (d_params, dx) = jax.value_and_grad(loss, argnums=(0, 1))(params, x)
            return value, dx, d_params

        return jit(train)

    def make_stream() -> Stream:
        assert model.step is not None
        step = jit(model.step)
        return Stream(
            step=lambda state, x_t: step(params, state, x_t),
            state=model.state,
            inputs=list(jnp.asarray(workload.x, model.input_dtype)),
        )

    forward, train = jit(model.apply), make_train()
    return Program(
        forward=lambda: forward(params, x),
        train=lambda: train(params, x),
        wait=jax.block_until_ready,
        to_numpy=lambda y: np.asarray(y.astype(jnp.float32)),
        batch_major=model.batch_major,
        lower=lambda: make_train().lower(params, x),
        train_arguments=(params, x),
        make_stream=None if model.step is None else make_stream,
        note=model.note,
    )
