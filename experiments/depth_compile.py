"""How trace and compile time, and the program's size, grow with depth.

Command:   python -m experiments.depth_compile
Expected:  compile time and program flat from 8 layers to 32, about 1.5 s and 800 lines
           at most: equal layers are one loop
Time:      about half a minute on 2 CPU cores
"""

import time

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn

DEPTHS = (2, 8, 32)


def measure(num_layers: int, schedule: str) -> tuple[float, float, int]:
    """Lower and compile the train step of a deep LSTM.

    Args:
      num_layers: L.
      schedule: the schedule.

    Returns:
      Seconds to trace and lower, seconds to compile, lines of the lowered program.
    """
    rnn = drnn.deep_rnn(drnn.lstm(64), num_layers)
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
    print(f"{'schedule':<12}{'layers':>7}{'trace s':>10}{'compile s':>11}{'HLO lines':>11}")
    for schedule in ("reference", "layerwise"):
        measure(2, schedule)  # the first call also starts the compiler
        for num_layers in DEPTHS:
            trace, compile_, lines = measure(num_layers, schedule)
            print(f"{schedule:<12}{num_layers:>7}{trace:>10.2f}{compile_:>11.2f}{lines:>11}")


if __name__ == "__main__":
    main()
