"""Weights' gradients as a product over one axis of steps and batch, against one over both.

Command:   python -m experiments.benchmarks.weight_gradients
Expected:  the table in NOTES.md: time and temporary memory with one axis, over those with two
Hardware:  any; nothing else should run on it
Time:      two minutes on 2 CPU cores

With one device, `precision.multiply` and `recurrence.products.matrix_gradient` make steps and
batch one axis; over several devices they do not, and the second way is compiled here as if there
were several. The gradient is by all parameters, the readout the network's own.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from experiments.benchmarks.timing import interleave


class Shape(NamedTuple):
    """A network and what it reads."""

    cell: str
    layers: int
    batch: int
    steps: int
    hidden: int  # and as many inputs
    outputs: int | None = None  # of the readout


SHAPES = (
    Shape("lstm", 2, 4, 512, 64),
    Shape("lstm", 2, 32, 128, 128),
    Shape("lstm", 1, 32, 256, 512),
    Shape("gru", 2, 64, 64, 256),
    Shape("elman", 1, 64, 64, 1024),
    Shape("lru", 2, 16, 1024, 64),
    Shape("lstm", 2, 32, 64, 128, 65),
    Shape("lstm", 2, 32, 64, 128, 1000),
    Shape("lstm", 1, 20, 64, 200, 10_000),
)


class Program(NamedTuple):
    """A compiled gradient."""

    run: Callable[[], Any]
    memory: int  # temporary, bytes


def compiled(shape: Shape, merge: bool) -> Program:
    """Compile the gradient, with one axis or with two."""
    cell = getattr(drnn, shape.cell)(shape.hidden)
    rnn = drnn.deep_rnn(cell, shape.layers, output_size=shape.outputs)
    params = rnn.init(jax.random.key(0), shape.hidden)
    x = jax.random.normal(jax.random.key(1), (shape.steps, shape.batch, shape.hidden))

    def loss(params: Any, x: jax.Array) -> jax.Array:
        return jnp.mean(rnn.apply(params, x)[1] ** 2)

    jax.clear_caches()  # of what was traced the other way
    with mock.patch("jax.device_count", return_value=1 if merge else 2):
        grad: Any = jax.jit(jax.grad(loss)).lower(params, x).compile()
    memory = grad.memory_analysis().temp_size_in_bytes
    return Program(lambda: jax.block_until_ready(grad(params, x)), memory)


def main() -> None:
    """Print the table."""
    print("| (L, B, T, H), readout | two axes, ms | time, one / two | memory |\n|---|---|---|---|")
    for shape in SHAPES:
        one, two = compiled(shape, True), compiled(shape, False)
        samples = interleave({"one": one.run, "two": two.run}, 31).seconds
        ratios = [a / b for a, b in zip(samples["one"], samples["two"], strict=True)]
        sizes = shape.layers, shape.batch, shape.steps, shape.hidden
        where = f"{shape.cell} {sizes}, {shape.outputs or 'none'}"
        took = 1e3 * statistics.median(samples["two"])
        ratio, memory = statistics.median(ratios), one.memory / two.memory
        print(f"| {where} | {took:.3g} | {ratio:.2f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
