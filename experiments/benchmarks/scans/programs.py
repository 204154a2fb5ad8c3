"""The programs of a row: its code by our scan, and by `lax.scan`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import jit, lax

from deeprnn_jax.recurrence import scan
from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.peers.registry import LAX_SCAN, OURS
from experiments.benchmarks.programs import Built, agreeing
from experiments.benchmarks.scans.code import Code, Scan
from experiments.benchmarks.scans.rows import ScanRow, build_code

ENTRIES: dict[str, Scan] = {OURS: scan, LAX_SCAN: lax.scan}
LEARNING_RATE = 1e-3


def make_program(code: Code, scan: Scan) -> Program:
    """Jit a code's loss and its train step, by a scan.

    What is traced, compiled and looked at for memory is the gradient alone; or the whole
    update, of a code that has its own.
    """
    arguments = jax.device_put((code.params, code.data))

    def loss(params: Any, data: Any) -> Any:
        return code.loss(scan, params, data)

    def gradient(params: Any, data: Any) -> Any:
        if code.update is not None:
            return code.update(scan, params, data)
        return jax.value_and_grad(loss)(params, data)

    def train(params: Any, data: Any) -> Any:
        value, found = gradient(params, data)
        if code.update is None:
            found = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, found)
        return value, found

    def lower() -> Any:
        # A function of its own each time: jit keeps the traces of those it has seen.
        return jit(lambda params, data: gradient(params, data)).lower(*arguments)

    jitted_loss, jitted_train = jit(loss), jit(train)
    return Program(
        forward=lambda: jitted_loss(*arguments),
        train=lambda: jitted_train(*arguments),
        wait=jax.block_until_ready,
        to_numpy=lambda y: np.asarray(y.astype(jnp.float32)),
        lower=lower,
        train_arguments=arguments,
    )


def build_scans(row: ScanRow, seed: int = 0) -> Built:
    """Make a row's program for each of ENTRIES, and check that both compute the same."""
    return agreeing(
        ENTRIES, lambda entry: make_program(build_code(row, seed), ENTRIES[entry]), "scan"
    )
