"""Training from the first step, or from a checkpoint, to the run's files."""

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.fit import Training, start
from experiments.common.records import RESULT_FILE, environment, write_json
from experiments.common.run_folder import open_run, restore_best
from experiments.common.settings import as_stored, checked_model
from experiments.common.updates import TrainState
from experiments.music_generation import report
from experiments.music_generation.baselines import baselines
from experiments.music_generation.batches import batch_at, make_plan
from experiments.music_generation.config import FREE_ON_RESUME, Config
from experiments.music_generation.data import Corpus, load_corpus
from experiments.music_generation.evaluate import ScoreFn, evaluate, make_score
from experiments.music_generation.generate import Composer, write_piece
from experiments.music_generation.model import Model, ModelParams, apply_once, music_model
from experiments.music_generation.seeds import (
    evaluated_params_of_each,
    initial_states,
    make_train_step,
)


class Run(NamedTuple):
    """What does not change from step to step."""

    config: Config
    corpus: Corpus
    model: Model
    score: ScoreFn
    workdir: Path


def train(config: Config, workdir: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train models, write a run's files and print what came out.

    Args:
      config: the settings.
      workdir: the run's folder; `common.run_folder` tells what it will hold, and
        sample.mid and sample.png are added.
      resume: go on from the newest undamaged checkpoint in `workdir`, or start where
        there is none yet. The parameters become, bit for bit, those of a run that was
        never interrupted.

    Returns:
      The content of `result.json`; see `measure`.

    Raises:
      InputError: a corpus, a folder or a setting that cannot be used.
      FloatingPointError: a number that is not finite; names the step and the tensor.
        The last checkpoint is from before it.
    """
    began, workdir = time.perf_counter(), Path(workdir)
    corpus = load_corpus(config.data, config.data_dir)
    # Before anything is written: what cannot be run must not leave a run behind.
    model = checked_model(lambda: music_model(config), partial(apply_once, config))
    print(report.describe(corpus), flush=True)
    open_run(workdir, config, free=FREE_ON_RESUME, data_sha256=corpus.digest, resume=resume)
    run = Run(config, corpus, model, make_score(model), workdir)
    fitted = start(
        make_training(run),
        initial_states(config, model),
        resume=resume,
        num_models=config.num_seeds,
    )
    best = restore_best(workdir, fitted.state)
    params = evaluated_params_of_each(best.state, config.ema_decay)
    result = measure(run, params) | {
        "best_step": best.step,
        "seconds": fitted.standing.seconds,
        "parameters": fitted.parameters,
        "wall_seconds": fitted.wall_seconds(began),
    }
    return _finish(run, params, result)


def make_training(run: Run) -> Training:
    """Return what `common.fit` needs to know."""
    config, corpus = run.config, run.corpus
    plan = make_plan(
        [len(piece) for piece in corpus.train],
        batch_size=config.batch_size,
        crop_frames=config.crop_frames,
        num_buckets=config.num_buckets,
    )

    def validate(state: TrainState, _step: int) -> dict[str, float]:
        params = evaluated_params_of_each(state, config.ema_decay)
        nll = evaluate(run.model, run.score, params, corpus.valid).frames
        spread = {"validation_nll_deviation": _deviation(nll)} if len(nll) > 1 else {}
        return {"validation_nll": float(nll.mean()), **spread}

    return Training(
        folder=run.workdir,
        steps=config.steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        checkpoint_interval=config.checkpoint_interval,
        keep_checkpoints=config.keep_checkpoints,
        batch_at=lambda step: batch_at(
            corpus.train, plan, step, config.seeds, config.transpose, config.transpose_share
        ),
        train_step=make_train_step(config, run.model),
        train_scalars=lambda step, loss: {"epoch": step / plan.steps_per_epoch, "train_nll": loss},
        evaluate=validate,
        selection="validation_nll",
        show=report.show,
    )


def _deviation(values: np.ndarray) -> float:
    """Return the deviation of a sample (the divisor is n - 1); 0 of a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def measure(run: Run, params: ModelParams) -> dict[str, Any]:
    """Return what a finished run came to.

    Args:
      run: the run.
      params: of the step whose mean validation NLL over the seeds is best, `[S, ...]`;
        they alone see the test split.

    Returns:
      For validation and test the NLL of each seed, its mean and deviation, the same by
      pieces, and the baselines.
    """
    corpus = run.corpus
    result: dict[str, Any] = {
        "data": corpus.name,
        "seeds": list(run.config.seeds),
    }
    for split, pieces in (("validation", corpus.valid), ("test", corpus.test)):
        nll = evaluate(run.model, run.score, params, pieces)
        result |= {
            f"{split}_nll": float(nll.frames.mean()),
            f"{split}_nll_deviation": _deviation(nll.frames),
            f"{split}_nll_of_seeds": nll.frames.tolist(),
            f"{split}_nll_by_pieces": float(nll.pieces.mean()),
            f"{split}_nll_by_pieces_of_seeds": nll.pieces.tolist(),
            f"{split}_frames": sum(len(piece) - 1 for piece in pieces),
            f"{split}_baselines": baselines(corpus.train, pieces),
        }
    return result | {"test_oracle_nll": corpus.test_oracle_nll}


def _finish(run: Run, params: ModelParams, result: dict[str, Any]) -> dict[str, Any]:
    """Write sample, curve and result, and print the summary."""
    composer = Composer(run.config, run.model, jax.tree.map(lambda leaf: leaf[0], params))
    write_piece(composer, run.workdir / "sample.mid")
    report.plot(run.workdir, result)
    result |= {"config": as_stored(run.config), "environment": environment()}
    write_json(run.workdir / RESULT_FILE, result)
    print(report.summary(result, run.workdir))
    return result
