"""Linear recurrences, and the layers made of them, beside JAX's own loops.

Command:   python -m experiments.benchmarks.long_sequences [scan layers matrix rules] [--quick]
Expected:  results/long_sequences.json, with the hardware named
Hardware:  any; nothing else should run on it
Time:      about ten minutes on 2 CPU cores; --quick, half a minute

`scan`: `linear_scan` against `lax.scan` of a * h + b and `lax.associative_scan` of (a, b): the
forward pass and the gradient of a and b; seconds to compile the gradient, and its temporary
memory. `layers`: the train step of two layers (a gradient, and the step of plain gradient
descent), by "layerwise", "parallel", "reference", and written with `lax.associative_scan`.
`matrix`: of one layer with a matrix state, "layerwise" against a plain `lax.scan`, which is
"reference". `rules`: where "parallel" is sooner than "layerwise", which is what "auto" goes by
(deeprnn_jax/schedules/rules.py). Ratios are of medians of interleaved rounds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import deeprnn_jax as drnn
from experiments.benchmarks.machine import describe_machine
from experiments.benchmarks.timing import interleave

RESULTS = Path(__file__).parent / "results" / "long_sequences.json"
SCANS = (  # (T, B * H)
    *((1024, 64), (1024, 1024), (1024, 8192), (16384, 64), (16384, 1024)),
    *((262144, 64), (1048576, 64)),
)
LAYERS = ((1024, 1, 64), (16384, 1, 64), (1024, 16, 64), (131072, 1, 64))  # (T, B, H)
CELLS: dict[str, Callable[[int], drnn.Cell]] = {
    "min_gru": drnn.min_gru,
    "lru": lambda size: drnn.lru(size, state_size=size // 2),
    "rg_lru": lambda size: drnn.rg_lru(size, 4),
    "independent": drnn.independent,
    "sru": drnn.sru,
    "diagonal_lstm": drnn.diagonal_lstm,
}
PARTS = ("scan", "layers", "matrix", "rules")
ASSOCIATIVE = ("min_gru", "lru", "rg_lru")  # those that `associative_layer` has
RULES = (  # (T, B, H)
    *((32, 1, 64), (256, 1, 64), (2048, 1, 64), (64, 4, 32), (1024, 2, 64), (2048, 1, 128)),
    *((2048, 4, 64), (1024, 16, 64), (128, 32, 128)),
)
MATRIX = ((256, 8, 64), (1024, 4, 64))  # (T, B, H), 4 heads of 16 keys
MATRIX_CELLS: dict[str, Callable[[int], drnn.Cell]] = {
    "mlstm": lambda size: drnn.mlstm(size, 4),
    "gated_delta": lambda size: drnn.gated_delta(size, 4),
}


def plain_scan(a: Any, b: Any) -> Any:
    """Scan as anybody would."""

    def step(h: Any, inputs: Any) -> Any:
        h = inputs[0] * h + inputs[1]
        return h, h

    return lax.scan(step, jnp.zeros_like(b[0]), (a, b))[1]


def associative_scan(a: Any, b: Any) -> Any:
    """Scan as the packages of linear recurrent networks do."""
    return lax.associative_scan(
        lambda one, two: (two[0] * one[0], two[0] * one[1] + two[1]), (a, b)
    )[1]


def associative_layer(name: str, params: Any, x: Any) -> Any:
    """Give a layer's output by `lax.associative_scan` of its own equations."""
    if name == "min_gru":
        u = x @ params.w_x + params.b
        z, n = jnp.split(u, 2, axis=-1)
        return associative_scan(jax.nn.sigmoid(z), jax.nn.sigmoid(-z) * n)
    if name == "rg_lru":
        size = x.shape[-1]
        heads, keys, _ = params.w_g.shape
        u = x if params.w_x is None else x @ params.w_x
        g = jnp.einsum("...nk,nkm->...nm", u.reshape(*u.shape[:-1], heads, keys), params.w_g)
        g = jax.nn.sigmoid(g + params.b_g.reshape(heads, 2 * keys))
        i, r = (one.reshape(*u.shape[:-1], size) for one in jnp.split(g, 2, axis=-1))
        log_a = -8 * r * jax.nn.softplus(params.p)
        return associative_scan(jnp.exp(log_a), jnp.sqrt(-jnp.expm1(2 * log_a)) * i * u)
    size = params.nu.shape[0]  # lru, complex as its authors have it
    decay = jnp.exp(-jnp.exp(params.nu) + 1j * jnp.exp(params.theta))
    u = x @ params.w_x
    b = jnp.exp(params.gamma) * (u[..., :size] + 1j * u[..., size:])
    h = associative_scan(jnp.broadcast_to(decay, b.shape), b)
    return jnp.concatenate([h.real, -h.imag], axis=-1) @ params.w_y + params.d * x


def train_step(apply: Callable[[Any, Any], Any]) -> Any:
    """Give a jitted step of gradient descent."""

    def step(params: Any, x: Any) -> Any:
        grads = jax.grad(lambda params: jnp.mean(apply(params, x) ** 2))(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    return jax.jit(step)


def ratios(calls: Mapping[str, tuple[Any, tuple]], rounds: int) -> dict[str, Any]:
    """Give the median milliseconds of each call, or why it failed."""
    ready = {
        name: partial(lambda f, args: jax.block_until_ready(f(*args)), f, args)
        for name, (f, args) in calls.items()
    }
    samples = interleave(ready, rounds)
    found: dict[str, Any] = {
        name: round(1e3 * statistics.median(seconds), 4)
        for name, seconds in samples.seconds.items()
    }
    return found | samples.errors


def scan_row(steps: int, width: int, rounds: int) -> dict[str, Any]:
    """Time and measure a row of `scan`."""
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.uniform(0.9, 1.0, (steps, width)), jnp.float32)
    b, d = (jnp.asarray(rng.normal(size=(steps, width)), jnp.float32) for _ in range(2))
    ways = {"ours": drnn.linear_scan, "scan": plain_scan, "associative": associative_scan}
    if steps * width > 2**25:
        del ways["associative"]  # its gradient does not fit a small machine
    row: dict[str, Any] = {"T": steps, "width": width}
    row["forward_ms"] = ratios({n: (jax.jit(f), (a, b)) for n, f in ways.items()}, rounds)
    grads, row["compile_s"], row["temporary_bytes"] = {}, {}, {}
    for name, f in ways.items():
        grad = jax.jit(jax.grad(lambda a, b, f=f: jnp.vdot(d, f(a, b)), (0, 1)))
        lowered = grad.lower(a, b)
        start = time.perf_counter()
        compiled: Any = lowered.compile()
        row["compile_s"][name] = round(time.perf_counter() - start, 3)
        row["temporary_bytes"][name] = compiled.memory_analysis().temp_size_in_bytes
        grads[name] = (compiled, (a, b))
    row["gradient_ms"] = ratios(grads, rounds)
    return row


def operands(rnn: drnn.DeepRNN, steps: int, batch: int, size: int) -> tuple[Any, Any]:
    """Give a network's parameters, and a sequence."""
    x = jax.random.normal(jax.random.key(1), (steps, batch, size))
    return rnn.init(jax.random.key(0), size), x


def run_by(rnn: drnn.DeepRNN, schedule: str) -> Callable[[Any, Any], Any]:
    """Give a network's output by a schedule."""
    return lambda params, x: rnn.apply(params, x, schedule=schedule)[1]


def step_row(
    rnn: drnn.DeepRNN,
    name: str,
    schedules: Sequence[str],
    steps: int,
    batch: int,
    size: int,
    rounds: int,
) -> dict[str, Any]:
    """Time a train step of a network by several schedules."""
    params, x = operands(rnn, steps, batch, size)
    calls = {
        schedule: (train_step(run_by(rnn, schedule)), (params, x))
        for schedule in schedules
        if schedule != "associative"
    }
    if "associative" in schedules:

        def apply(params: Any, x: Any) -> Any:
            for layer in params.layers:
                x = associative_layer(name, layer.cell, x)
            return x

        np.testing.assert_allclose(apply(params, x), rnn.apply(params, x)[1], rtol=2e-3, atol=2e-4)
        calls["associative"] = (train_step(apply), (params, x))
    return {"cell": name, "T": steps, "B": batch, "H": size, "train_step_ms": ratios(calls, rounds)}


def layer_row(name: str, *sizes: int) -> dict[str, Any]:
    """Time a row of `layers`."""
    rnn = drnn.deep_rnn(CELLS[name](sizes[2]), num_layers=2)
    schedules = ["layerwise", "parallel", "reference"]
    schedules += ["associative"] * (name in ASSOCIATIVE)
    return step_row(rnn, name, schedules, *sizes)


def matrix_row(name: str, *sizes: int) -> dict[str, Any]:
    """Time a row of `matrix`."""
    rnn = drnn.deep_rnn(MATRIX_CELLS[name](sizes[2]))
    return step_row(rnn, name, ("layerwise", "reference"), *sizes)


def rule_row(name: str, steps: int, batch: int, size: int, rounds: int) -> dict[str, Any]:
    """Time a row of `rules`: the train step, and the forward pass."""
    rnn = drnn.deep_rnn(CELLS[name](size), num_layers=2)
    schedules = ("layerwise", "parallel")
    row = step_row(rnn, name, schedules, steps, batch, size, rounds)
    both = operands(rnn, steps, batch, size)
    calls = {schedule: (jax.jit(run_by(rnn, schedule)), both) for schedule in schedules}
    row["forward_ms"] = ratios(calls, rounds)
    for kind in ("train_step", "forward"):
        ms = row[f"{kind}_ms"]
        row[f"{kind}_ratio"] = round(ms["parallel"] / ms["layerwise"], 2)
    return row


def main(args: list[str]) -> None:
    """Run what is asked for, print a line a row, and write the results."""
    quick = "--quick" in args
    parts = [one for one in args if not one.startswith("-")] or PARTS
    rounds = 2 if quick else 7
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in parts:
        jobs: list[Callable[[], dict[str, Any]]] = {
            "scan": [partial(scan_row, *row, rounds) for row in SCANS],
            "layers": [partial(layer_row, n, *r, rounds) for r in LAYERS for n in CELLS],
            "rules": [partial(rule_row, n, *r, rounds) for r in RULES for n in ASSOCIATIVE],
            "matrix": [partial(matrix_row, n, *r, rounds) for r in MATRIX for n in MATRIX_CELLS],
        }[part]
        rows = []
        for job in jobs[:2] if quick else jobs:
            rows.append(job())
            print(json.dumps(rows[-1]), flush=True)
            found[part] = {"machine": describe_machine(), "rows": rows}
            if not quick:
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
