"""A train step of the translator at Multi30k's sizes, its decoder by either scan.

Command:   python -m experiments.benchmarks.translator_step
Expected:  drnn.scan / lax.scan below 1; most of the step is the encoder's, the readout's
           and the drawing of dropout's masks, which both have
Hardware:  any; nothing else should run on it
Time:      about two minutes on 2 CPU cores

Sentences are random, of the lengths of the commonest bucket: no corpus is needed.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import deeprnn_jax as drnn
from experiments.benchmarks.statistics import paired_ratios, spread
from experiments.benchmarks.timing import interleave
from experiments.common.optimizers import adamw_of
from experiments.common.updates import initial_train_state, make_train_step
from experiments.machine_translation.batches import Batch
from experiments.machine_translation.configs.multi30k import CONFIG
from experiments.machine_translation.model import Model
from experiments.machine_translation.problem import make_loss

STEPS, VOCABULARY, ROUNDS = 17, 5000, 12


def draw_batch() -> Batch:
    """Draw a batch of random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(STEPS - 4, STEPS + 1, CONFIG.batch_size).astype(np.int32)

    def value(name: str) -> np.ndarray:
        if name.endswith("lengths"):
            return lengths
        return rng.integers(3, VOCABULARY, (STEPS, CONFIG.batch_size)).astype(np.int32)

    return Batch(**{name: jnp.asarray(value(name)) for name in Batch._fields})


def compiled_step(scan: Callable[..., Any], batch: Batch) -> tuple[Callable[[], Any], float]:
    """Return a call of the step with its decoder by a scan, and its temporary megabytes."""
    with mock.patch.object(drnn, "scan", scan):
        model = Model(CONFIG, VOCABULARY, VOCABULARY)
        loss = make_loss(model, CONFIG.label_smoothing)
        tx, schedule = adamw_of(CONFIG)
        step: Any = make_train_step(loss, tx, schedule, ema_decay=CONFIG.ema_decay)
        key = jax.random.key(CONFIG.seed)
        state = initial_train_state(key, model.init, tx, ema_decay=CONFIG.ema_decay)
        compiled = step.lower(state, batch).compile()
    megabytes = compiled.memory_analysis().temp_size_in_bytes / 1e6

    def call() -> None:
        nonlocal state
        state, _ = compiled(state, batch)
        jax.block_until_ready(state)

    return call, megabytes


def main() -> None:
    """Print times, memory and their ratios."""
    batch = draw_batch()
    scans = {"drnn.scan": drnn.scan, "lax.scan": lax.scan}
    steps = {name: compiled_step(scan, batch) for name, scan in scans.items()}
    samples = interleave({name: call for name, (call, _) in steps.items()}, ROUNDS)
    for name, (_, megabytes) in steps.items():
        median = np.median(samples.seconds[name])
        print(f"{name:<10} {1e3 * median:8.1f} ms   {megabytes:7.1f} MB")
    ratios = paired_ratios(samples.seconds["drnn.scan"], samples.seconds["lax.scan"])
    print("drnn.scan / lax.scan: median and quartiles", *(f"{r:.3f}" for r in spread(ratios)))


if __name__ == "__main__":
    main()
