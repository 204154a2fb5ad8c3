"""A training from its first step, or from where its folder stands, to its end."""

import time

import jax
import jax.numpy as jnp

from experiments.common import run_folder
from experiments.common.fit import Fitted, Training, start
from experiments.common.run_folder import START
from experiments.common.updates import StepReport, TrainState


def count(state, batch):
    """A step that learns nothing but to count."""
    zero = jnp.zeros(())
    finite = dict.fromkeys(("loss", "gradients", "parameters", "carry"), True)
    return state._replace(step=state.step + 1), StepReport(zero, zero, zero, finite)


def first_state():
    return TrainState(jnp.int32(0), {"w": jnp.ones((2, 3))}, (), None, None, jax.random.key(0))


def counting(folder, steps):
    return Training(
        folder=folder,
        steps=steps,
        log_interval=2,
        eval_interval=2,
        checkpoint_interval=2,
        keep_checkpoints=2,
        batch_at=lambda step: step,
        train_step=count,
        train_scalars=lambda step, loss: {},
        evaluate=lambda state, step: {"validation": 1.0 / step},
        selection="validation",
        show=str,
    )


def test_a_training_starts_anew_or_goes_on(tmp_path, capsys):
    first = start(counting(tmp_path, 4), first_state(), resume=True, num_models=2)
    assert (int(first.state.step), first.standing.step, first.standing.best) == (4, 4, (4, 0.25))
    assert first.parameters == 3
    assert first.earlier_seconds == 0.0
    out = capsys.readouterr().out
    assert f"2 models of 3 parameters; writing to {tmp_path}/" in out
    assert "going on" not in out

    again = start(counting(tmp_path, 6), first_state(), resume=True)
    assert (int(again.state.step), again.standing.best) == (6, (6, 1 / 6))
    assert again.earlier_seconds == first.standing.seconds
    assert again.standing.seconds > first.standing.seconds
    out = capsys.readouterr().out
    assert "going on from step 4" in out
    assert "\n6 parameters" in out


def test_the_wall_time_counts_earlier_tries_in(tmp_path):
    state = first_state()._replace(step=jnp.int32(4))
    standing = START._replace(step=4, seconds=1e6)
    run_folder.save(tmp_path, state, standing, keep=2)
    began = time.perf_counter() - 50.0
    fitted = start(counting(tmp_path, 4), first_state(), resume=True)
    assert fitted.standing.seconds == 1e6
    assert fitted.wall_seconds(began) >= 1e6 + 50.0
    assert Fitted(state, standing, 6, 0.0).wall_seconds(time.perf_counter()) < 1e6
