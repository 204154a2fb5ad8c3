"""A network learns the Lorenz system, and has its largest Lyapunov exponent.

Command:   python -m experiments.lorenz
Expected:  0.9056 within 2 %, of three GRUs that run on their own output; the record and the
           picture in experiments/results/lorenz
Time:      about two minutes on 2 CPU cores

Each network reads the three coordinates every 0.05 units of time and learns the next ones, one
step ahead. Then it reads a stretch of the system, and runs on by itself: y_t is x_{t+1}. Its
exponents are those of that map (`drnn.analysis.lyapunov_spectrum(..., free_steps=...)`), in nats a
unit of time. The second one is 0, as along any flow. What follows is the network's own: that
the system contracts by 14.57 in its third direction cannot be seen on the attractor, where all of
the network's training takes place (Pathak et al. 2017, section III, say so of reservoirs).

References:
  Lorenz 1963, "Deterministic nonperiodic flow". Sprott 2003, "Chaos and time-series analysis":
  0.9056, 0, -14.5723. Pathak et al. 2017, "Using machine learning to replicate chaotic attractors".
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from experiments.common import plots, sweep
from experiments.common.intervals import over_seeds, shown
from experiments.common.records import environment, write_json
from experiments.common.settings import Count, Positive, as_stored
from experiments.depth.train import Learner, grid, train_members

PUBLISHED = 0.9056, 0.0, -14.5723
RESULTS = Path(__file__).parent / "results" / "lorenz"
_SUBSTEPS = 5  # of Runge and Kutta in each step
_BEFORE = 500  # steps in which the system comes to its attractor
_CHANGE = 0.2  # of x in a step, in deviations, about: the loss of "as before" is near one
_READ, _BEGIN = 200, 10  # steps read before the network runs alone; those without a loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lorenz:
    """Train networks on the Lorenz system, and compare their Lyapunov exponents with its."""

    hidden_size: Count = 64
    num_layers: Count = 1
    num_seeds: Count = 3
    time_step: Positive = 0.05
    """Units of time from one x to the next."""
    trajectories: Count = 64
    """Also the sequences of a batch."""
    trajectory_length: Count = 5000
    length: Count = 60
    """Steps of a sequence in training."""
    steps: Count = 5000
    learning_rate: Positive = 5e-3
    free_steps: Count = 4000
    """Which the exponents are measured over, from each trajectory."""
    workdir: Path = RESULTS
    """Where the record and the picture go."""


class System(NamedTuple):
    """Trajectories of the system, standardised."""

    x: jax.Array  # [T, B, 3]
    mean: jax.Array  # [3]
    deviation: jax.Array  # [3]


def rate(s: jax.Array) -> jax.Array:
    """Return ds/dt of the Lorenz system, s `[..., 3]`."""
    x, y, z = jnp.moveaxis(s, -1, 0)
    return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)


def advance(s: jax.Array, time: float) -> jax.Array:
    """Go on by so much time with the classical Runge-Kutta method."""
    h = time / _SUBSTEPS
    for _ in range(_SUBSTEPS):
        k1 = rate(s)
        k2 = rate(s + h / 2 * k1)
        k3 = rate(s + h / 2 * k2)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(s + h * k3))
    return s


def simulate(settings: Lorenz) -> System:
    """Return trajectories from random places, without what leads them to the attractor."""
    start = jnp.array([0.0, 0.0, 25.0]) + 5 * jax.random.normal(
        jax.random.key(0), (settings.trajectories, 3)
    )

    @jax.jit
    def run(s: jax.Array) -> jax.Array:
        def step(s: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            s = advance(s, settings.time_step)
            return s, s

        return jax.lax.scan(step, s, length=_BEFORE + settings.trajectory_length)[1][_BEFORE:]

    x = run(start)
    mean, deviation = x.mean((0, 1)), x.std((0, 1))
    return System((x - mean) / deviation, mean, deviation)


def learner_of(rnn: drnn.DeepRNN, length: int) -> Learner:
    """Return what each member learns: the next x of all trajectories, at some time."""

    def batch_at(x: jax.Array, step: jax.Array, key: jax.Array) -> jax.Array:
        first = jax.random.randint(jax.random.fold_in(key, step), (), 0, len(x) - length)
        return jax.lax.dynamic_slice_in_dim(x, first, length + 1)

    def loss(params: Any, x: jax.Array, state: None) -> tuple[jax.Array, None]:
        _, y = rnn.apply(params, x[:-1])
        return jnp.mean(((y - x[1:])[_BEGIN:] / _CHANGE) ** 2), state

    return Learner(
        init=lambda key: rnn.init(key, 3), first=lambda params: None, batch_at=batch_at, loss=loss
    )


def measure(settings: Lorenz) -> tuple[dict[str, Any], System, jax.Array]:
    """Train, and return the record, the system, and the first network's own trajectory."""
    system = simulate(settings)
    rnn = drnn.deep_rnn(drnn.gru(settings.hidden_size), settings.num_layers, output_size=3)
    keys, rates = grid(settings.num_seeds, (settings.learning_rate,))
    learner = learner_of(rnn, settings.length)
    members = train_members(learner, system.x, keys, rates, steps=settings.steps)

    @jax.jit
    def spectrum(params: Any) -> jax.Array:
        found = drnn.analysis.lyapunov_spectrum(
            rnn, params, system.x[:_READ], num_exponents=3, free_steps=settings.free_steps,
            transient=settings.free_steps // 20, every=2,
        )  # fmt: skip
        return found.exponents.mean(0) / settings.time_step

    @jax.jit
    def own(s: jax.Array) -> jax.Array:
        found = drnn.analysis.lyapunov_spectrum_of(
            lambda s, _: advance(s, settings.time_step), s, None, num_steps=settings.free_steps,
            transient=settings.free_steps // 20,
        )  # fmt: skip
        return found.exponents.mean(0) / settings.time_step

    of_networks = np.stack([spectrum(one) for one in _each(members.params, settings.num_seeds)])
    end = system.x[-1] * system.deviation + system.mean
    late = members.losses[:, -max(1, settings.steps // 50) :].mean(axis=1)
    record = {
        "settings": {k: v for k, v in as_stored(settings).items() if k != "workdir"},
        "error_of_a_step": over_seeds(_CHANGE * np.sqrt(late)),
        "exponents": [over_seeds(column) for column in of_networks.T],
        "exponents_of_the_system": np.asarray(own(end)).tolist(),
        "published": PUBLISHED,
        "environment": environment(),
    }
    return record, system, run_alone(rnn, _each(members.params, 1)[0], system.x[:_READ, :1])


def _each(params: Any, number: int) -> list[Any]:
    return [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(number)]


def run_alone(rnn: drnn.DeepRNN, params: Any, x: jax.Array, steps: int = 1000) -> jax.Array:
    """Return what a network that has read x says next, `[steps, 3]`, each output its next input."""

    @jax.jit
    def run(params: Any) -> jax.Array:
        state, y = rnn.apply(params, x)

        def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
            carry = rnn.step(params, *carry)
            return carry, carry[1]

        return jax.lax.scan(step, (state, y[-1]), length=steps)[1][:, 0]

    return run(params)


def draw(path: Path, system: System, own: jax.Array) -> None:
    """Draw the system beside a network that runs on its own output."""
    picture, both = plots.figure(columns=2, size=(4.0, 3.6), sharex=True, sharey=True)
    shown_x = np.asarray(system.x[_READ : _READ + len(own), 0])
    for axes, x, title in zip(both, (shown_x, own), ("the system", "the network"), strict=True):
        x = np.asarray(x) * np.asarray(system.deviation) + np.asarray(system.mean)
        axes.plot(x[:, 0], x[:, 2], lw=0.6, color="black")
        axes.set(title=title, xlabel="x")
    both[0].set(ylabel="z")
    picture.savefig(path, dpi=110)


def main(arguments: Sequence[str] = ()) -> None:
    """Run the command line."""
    with sweep.command_line(Lorenz, "lorenz", arguments) as settings:
        record, system, own = measure(settings)
        settings.workdir.mkdir(parents=True, exist_ok=True)
        write_json(settings.workdir / "lorenz.json", record)
        draw(settings.workdir / "lorenz.png", system, own)
        print("Lyapunov exponents, nats a unit of time: published, of the system, of the networks")
        rows = zip(PUBLISHED, record["exponents_of_the_system"], record["exponents"], strict=True)
        for published, found, learned in rows:
            print(f"{published:9.4f} {found:9.4f}   {shown(learned, 4)}")
        off = record["exponents"][0]["mean"] / PUBLISHED[0] - 1
        print(f"the largest is {100 * off:+.2f} % off the published one")


if __name__ == "__main__":
    main(sys.argv[1:])
