"""The cells with heads, with every option, and what their tests run them by."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

import deeprnn_jax as drnn
from deeprnn_jax.cells.gated_delta import gated_delta
from deeprnn_jax.cells.linear_attention import linear_attention
from deeprnn_jax.cells.mlstm import mlstm
from deeprnn_jax.cells.slstm import slstm
from tests import oracle_heads, registry
from tests.oracle import OracleCell
from tests.registry import IN, H

MATRIX = {"mlstm": mlstm, "gated_delta": gated_delta, "linear_attention": linear_attention}


class Case(NamedTuple):
    """A cell and its oracle."""

    cell: drnn.Cell
    oracle: OracleCell


def matrix(name, **options) -> Case:
    """Give a cell of two heads, the keys of another width than the values."""
    options = {"key_size": 3} | options
    return Case(MATRIX[name](H, 2, **options), getattr(oracle_heads, name)(2, **options))


CASES = {
    "slstm": Case(slstm(H), oracle_heads.slstm()),
    "slstm, heads": Case(slstm(H, 2), oracle_heads.slstm(2)),
    "slstm, exp": Case(slstm(H, 2, forget_gate="exp"), oracle_heads.slstm(2, "exp")),
}
CASES |= {
    f"mlstm, {gate}, {norm}": matrix("mlstm", input_gate=gate, output_norm=norm)
    for gate, norm in (("exp", None), ("exp", "rms"), ("sigmoid", None), ("sigmoid", "layer"))
}
CASES |= {
    f"gated_delta, {decay}, {negative}": matrix(
        "gated_delta", decay=decay, negative_eigenvalues=negative
    )
    for decay in (True, False)
    for negative in (True, False)
}
CASES |= {
    f"linear_attention, {decay}, {normalizer}": matrix(
        "linear_attention", decay=decay, normalizer=normalizer
    )
    for decay in (None, "head", "key")
    for normalizer in (True, False)
}
CASES["gated_delta, rms"] = matrix("gated_delta", output_norm="rms")
CASES["linear_attention, layer"] = matrix("linear_attention", output_norm="layer")
CASES |= {f"{name}, square": matrix(name, key_size=None) for name in MATRIX}

# One of each kind of step.
KINDS = {
    "slstm": "slstm, heads",
    "slstm_exp": "slstm, exp",
    "mlstm": "mlstm, exp, rms",
    "mlstm_sigmoid": "mlstm, sigmoid, None",
    "gated_delta": "gated_delta, True, True",
    "delta": "gated_delta, False, True",
    "linear_attention": "linear_attention, None, True",
    "mamba2": "linear_attention, head, False",
    "gla": "linear_attention, key, False",
}
KINDS = {kind: CASES[name] for kind, name in KINDS.items()}


def draw(cell, name, batch_shape=(), scale=0.5, dtype=np.float64):
    """Draw parameters, a state and an input; no bias is zero by chance."""
    rng = registry.seed_of(name)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), IN))
    state = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    x = rng.normal(size=(*batch_shape, IN)).astype(dtype)
    return registry.fill(rng, params, scale, dtype), registry.fill(rng, state, scale, dtype), x


@partial(jax.jit, static_argnums=0)
def run(cell, params, state, x):
    """Run a cell by the plainest loop over x [T, *B, I]; gives the last state and y."""
    return jax.lax.scan(
        lambda s, x_t: cell.step(params, s, cell.project_input(params, x_t)), state, x
    )
