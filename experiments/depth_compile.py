"""How trace and compile time, and the program's size, grow with depth.

Command:   python -m experiments.depth_compile
Expected:  up to 8 layers are written out; 32 are one loop and compile in about 1 to 2 s. Held
           stacked, their program has 574 lines; held apart, as they are by default, 15 lines
           a layer more, which take them into the loop and out of it
Time:      about a minute on 2 CPU cores
"""

import time
from itertools import product

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn

DEPTHS = (2, 8, 32)


def measure(num_layers: int, schedule: str, stack_layers: bool) -> tuple[float, float, int]:
    """Lower and compile the train step of a deep LSTM.

    Args:
      num_layers: L.
      schedule: the schedule.
      stack_layers: whether equal layers are held stacked.

    Returns:
      Seconds to trace and lower, seconds to compile, lines of the lowered program.
    """
    rnn = drnn.deep_rnn(drnn.lstm(64), num_layers, stack_layers=stack_layers)
    params = rnn.init(jax.random.key(0), input_size=64)
    x = jnp.zeros((128, 8, 64))

    def loss(params: drnn.DeepParams, x: jax.Array) -> jax.Array:
        return jnp.sum(rnn.apply(params, x, schedule=schedule)[1])

    start = time.perf_counter()
    lowered = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, x)
    traced = time.perf_counter()
    lowered.compile()
    return traced - start, time.perf_counter() - traced, len(lowered.as_text().splitlines())


def main() -> None:
    """Print a row for each schedule and depth."""
    columns = f"{'layers':>7}{'trace s':>10}{'compile s':>11}{'HLO lines':>11}"
    print(f"{'schedule':<12}{'held':<9}{columns}")
    for schedule, stacked in product(("reference", "layerwise"), (True, False)):
        measure(2, schedule, stacked)  # the first call also starts the compiler
        for num_layers in DEPTHS:
            trace, compile_, lines = measure(num_layers, schedule, stacked)
            numbers = f"{num_layers:>7}{trace:>10.2f}{compile_:>11.2f}{lines:>11}"
            print(f"{schedule:<12}{'stacked' if stacked else 'apart':<9}{numbers}")


if __name__ == "__main__":
    main()
