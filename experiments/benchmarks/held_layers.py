"""What it costs to hold layers apart: written out, copied into a loop, or held stacked.

Command:   python -m experiments.benchmarks.held_layers
Expected:  the loop over layers held apart within a few percent of that over stacked ones
Hardware:  any; nothing else should run on it
Time:      about three minutes on 2 CPU cores

A train step (a gradient and the step of plain gradient descent) of an LSTM, the three ways
interleaved in one process; and the seconds that each takes to trace and compile. The rule that
chooses between the first two is `schedules.rules.Rules.layers_written_out`.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import deeprnn_jax as drnn
from deeprnn_jax import running, schedules
from deeprnn_jax.schedules.rules import CPU
from deeprnn_jax.schedules.schedule import Options
from deeprnn_jax.sequences import Steps

ROWS = (  # (L, B, T, H)
    (4, 32, 64, 128),
    (6, 32, 64, 128),
    (8, 32, 64, 128),
    (16, 32, 64, 128),
    (8, 8, 128, 64),
    (16, 8, 128, 64),
    (8, 64, 32, 256),
    (16, 1, 256, 32),
)
WAYS = {"written out": (False, 10**6), "loop, apart": (False, 1), "loop, stacked": (True, 1)}
ROUNDS, SECONDS = 7, 0.4


def train_step(row: tuple[int, ...], is_stacked: bool, written_out: int) -> tuple[Any, Any]:
    """Give a jitted train step and its parameters."""
    num_layers, _, _, size = row
    rnn = drnn.deep_rnn(drnn.lstm(size), num_layers, stack_layers=is_stacked)
    options = Options(rules=CPU._replace(layers_written_out=written_out))

    def loss(params: Any, x: Any) -> Any:
        ran = running.run(
            rnn.plan,
            params,
            x,
            None,
            Steps(None, None),
            None,
            function="apply",
            schedule=schedules.LAYERWISE,
            options=options,
        )
        return jnp.mean(ran.y**2)

    def step(params: Any, x: Any) -> Any:
        grads = jax.grad(loss)(params, x)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    return jax.jit(step), rnn.init(jax.random.key(0), size)


def seconds_of(run: Callable[[], Any]) -> float:
    """Give the seconds of one call, the best of as many as fit."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(run())
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print a line a row: ratios to the loop over stacked layers, and compile times."""
    print("(L, B, T, H)", *(f"{way}: step / stacked, compile s" for way in WAYS), sep=" | ")
    products = dict.fromkeys(WAYS, 1.0)
    for row in ROWS:
        _, batch, steps, size = row
        x = jnp.ones((steps, batch, size))
        runs, compiles = {}, {}
        for way, (is_stacked, written_out) in WAYS.items():
            step, params = train_step(row, is_stacked, written_out)
            start = time.perf_counter()
            compiled = step.lower(params, x).compile()
            compiles[way] = time.perf_counter() - start
            runs[way] = partial(compiled, params, x)
        times = [{way: seconds_of(run) for way, run in runs.items()} for _ in range(ROUNDS)]
        ratios = {
            way: statistics.median(one[way] / one["loop, stacked"] for one in times) for way in WAYS
        }
        products = {way: products[way] * ratio for way, ratio in ratios.items()}
        print(row, *(f"{ratios[way]:.2f}, {compiles[way]:.1f}" for way in WAYS), sep=" | ")
    means = (f"{product ** (1 / len(ROWS)):.3f}" for product in products.values())
    print("geometric mean", *means, sep=" | ")


if __name__ == "__main__":
    main()
