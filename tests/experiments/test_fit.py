"""A training from its first step, or from where its folder stands, to its end."""

import jax
import jax.numpy as jnp

from experiments.common.experiment import Problem
from experiments.common.fit import Training, start
from experiments.common.settings import TrainingSettings
from experiments.common.updates import StepReport, TrainState


def count(state, batch):
    """A step that learns nothing but to count."""
    zero = jnp.zeros(())
    finite = dict.fromkeys(("loss", "gradients", "parameters", "carry"), True)
    return state._replace(step=state.step + 1), StepReport(zero, zero, zero, finite)


def first_state():
    keys = jax.random.split(jax.random.key(0))  # of two models
    return TrainState(jnp.int32(0), {"w": jnp.ones((2, 3))}, (), None, None, keys)


def counting(folder, steps):
    settings = TrainingSettings(
        data="none", steps=steps, log_interval=2, eval_interval=2, checkpoint_interval=2
    )
    problem = Problem(
        loss_fn=None,
        batch_at=lambda step: step,
        evaluate=lambda step: {"validation": 1.0 / float(step)},
        selection="validation",
        train_scalars=lambda step, loss: {},
        show=str,
    )
    return Training(folder, settings, problem, count, params_of=lambda state: state.step)


def test_a_training_starts_anew_or_goes_on(tmp_path, capsys):
    first = start(counting(tmp_path, 4), first_state(), resume=True)
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
    assert "\n2 models of 3 parameters" in out
