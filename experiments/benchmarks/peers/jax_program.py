"""Programs of the libraries that are JAX underneath: jitted as a whole."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.workload import Workload


class JaxModel(NamedTuple):
    """A network in one JAX library."""

    params: Any  # what is trained
    apply: Callable[[Any, Any], Any]  # (params, x) -> y
    step: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None  # (params, state, x_t)
    state: Any = None  # the state before the first step
    batch_major: bool = False  # x [B, T, I], not [T, B, I]
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

        return jax.jit(train)

    def to_numpy(y: jax.Array) -> np.ndarray:
        values = np.asarray(y.astype(jnp.float32))
        return np.swapaxes(values, 0, 1) if model.batch_major else values

    forward, train = jax.jit(model.apply), make_train()
    stream = None
    if model.step is not None:
        step = jax.jit(model.step)
        stream = lambda state, x_t: step(params, state, x_t)  # noqa: E731
    return Program(
        forward=lambda: forward(params, x),
        train=lambda: train(params, x),
        wait=jax.block_until_ready,
        to_numpy=to_numpy,
        lower=lambda: make_train().lower(params, x),
        stream=stream,
        stream_state=model.state,
        stream_inputs=list(jnp.asarray(workload.x, model.input_dtype)) if stream else None,
        note=model.note,
    )
