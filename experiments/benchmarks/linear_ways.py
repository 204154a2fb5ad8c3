"""Other ways to run `linear_scan` and its gradient, which did not pay.

Command:   python -m experiments.benchmarks.linear_ways
Expected:  the table in NOTES.md: the time of each way over that of a bare `lax.scan`
Hardware:  any; nothing else should run on it
Time:      two minutes on 2 CPU cores

All ways run a loop forward, and one back for z_t = d_t + a_{t+1} z_{t+1}, the gradient by b. They
differ in where the gradient by a, z_t h_{t-1}, is found: after the loop for all steps at once, or
in it; in how many steps a turn of the loop has; and in whether a state that is no number and is
forgotten (a = 0) is kept from what follows, as `linear_scan` does.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import deeprnn_jax as drnn
from experiments.benchmarks.timing import interleave

SHAPES = ((1024, 64), (1024, 1024), (1024, 8192), (16384, 64), (16384, 1024), (262144, 64))
Scan = Callable[[jax.Array, jax.Array], jax.Array]


class Way(NamedTuple):
    """How it is run."""

    unroll: int = 1  # steps in a turn of each loop
    in_loop: bool = False  # the gradient by a
    guarded: bool = False


WAYS = {
    "after the loop": Way(),
    "in the loop": Way(in_loop=True),
    "in the loop, guarded": Way(in_loop=True, guarded=True),
    "four steps a turn": Way(unroll=4),
    "four, in the loop": Way(unroll=4, in_loop=True),
    "eight, guarded": Way(unroll=8, guarded=True),
}


def plain(a: jax.Array, b: jax.Array) -> jax.Array:
    """Give h_t = a_t h_{t-1} + b_t by a bare `lax.scan`."""

    def step(h: jax.Array, x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h = x[0] * h + x[1]
        return h, h

    return lax.scan(step, jnp.zeros_like(b[0]), (a, b))[1]


def scan_by(way: Way) -> Scan:
    """Give h_t = a_t h_{t-1} + b_t with a derivative of its own."""

    def after(a: jax.Array, h: jax.Array, b: jax.Array | float) -> jax.Array:
        found = a * h + b
        return jnp.where(a == 0, b, found) if way.guarded else found

    def read(a: jax.Array, h: jax.Array) -> jax.Array:
        return jnp.where((a == 0) & ~jnp.isfinite(h), 0, h) if way.guarded else h

    @jax.custom_vjp
    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        def step(h: jax.Array, x: Any) -> tuple[jax.Array, jax.Array]:
            h = after(x[0], h, x[1])
            return h, h

        return lax.scan(step, jnp.zeros_like(b[0]), (a, b), unroll=way.unroll)[1]

    def forward(a: jax.Array, b: jax.Array) -> tuple[jax.Array, Any]:
        h = run(a, b)
        return h, (a, h)

    def backward(kept: Any, d: jax.Array) -> tuple[jax.Array, jax.Array]:
        a, h = kept
        before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])

        def step(carry: jax.Array, x: Any) -> tuple[jax.Array, Any]:
            a, d, before = x
            z = carry + d
            slope = z * read(a, before) if way.in_loop else None
            return after(a, z, 0.0), (slope, z)

        xs = a, d, before if way.in_loop else None
        start = jnp.zeros_like(d[0])
        slope, z = lax.scan(step, start, xs, reverse=True, unroll=way.unroll)[1]
        return z * read(a, before) if slope is None else slope, z

    run.defvjp(forward, backward)
    return run


def row(steps: int, width: int, rounds: int = 9) -> dict[str, list[float]]:
    """Give each way's time over that of the bare loop: forward, and of the gradient."""
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.uniform(0.9, 1.0, (steps, width)), jnp.float32)
    b, d = (jnp.asarray(rng.normal(size=(steps, width)), jnp.float32) for _ in range(2))
    ways: dict[str, Scan] = {"bare": plain, "linear_scan": drnn.linear_scan}
    ways |= {name: scan_by(way) for name, way in WAYS.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for with_gradient in (False, True):
        calls = {}
        for name, f in ways.items():

            def loss(a: jax.Array, b: jax.Array, f: Scan = f) -> jax.Array:
                return jnp.vdot(d, f(a, b))

            run = jax.jit(jax.grad(loss, (0, 1)) if with_gradient else f).lower(a, b).compile()
            calls[name] = partial(lambda run: jax.block_until_ready(run(a, b)), run)
        samples = interleave(calls, rounds)
        medians = {name: statistics.median(seconds) for name, seconds in samples.seconds.items()}
        for name, seconds in medians.items():
            found[name].append(round(seconds / medians["bare"], 2))
    return found


def main() -> None:
    """Print the table."""
    print(f"| T, B·H | {' | '.join(('linear_scan', *WAYS))} |\n|{'---|' * (len(WAYS) + 2)}")
    for steps, width in SHAPES:
        found = row(steps, width)
        cells = [f"{f} / {g}" for name, (f, g) in found.items() if name != "bare"]
        print(f"| {steps:,}, {width:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
