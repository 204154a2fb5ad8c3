"""The training loop: stretches of steps between the moments at which something is due."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.common.metrics import MetricsLog
from experiments.common.non_finite import check_finite
from experiments.text_generation.batches import batch_at, chunks_per_epoch
from experiments.text_generation.config import Config
from experiments.text_generation.data import Corpus
from experiments.text_generation.evaluate import (
    Layout,
    ScoreFn,
    evaluate,
    lay_out,
    make_score,
)
from experiments.text_generation.model import Model
from experiments.text_generation.report import SCALES
from experiments.text_generation.update import (
    FINITE_ORDER,
    TrainState,
    TrainStep,
    evaluated_params,
    make_train_step,
)
from experiments.text_generation.workdir import Best, Standing, save


class Run(NamedTuple):
    """What does not change from step to step."""

    config: Config
    corpus: Corpus
    model: Model
    workdir: Path
    train_step: TrainStep
    score: ScoreFn
    valid: Layout


def make_run(config: Config, corpus: Corpus, model: Model, workdir: Path) -> Run:
    """Return a run with its functions, which are compiled when first called."""
    valid = lay_out(corpus.train, corpus.valid, config.eval_streams, config.eval_context)
    return Run(
        config,
        corpus,
        model,
        workdir,
        make_train_step(config, model),
        make_score(model),
        valid,
    )


def fit(run: Run, state: TrainState, standing: Standing) -> tuple[TrainState, Standing]:
    """Run the steps that are left, with records, evaluations and checkpoints.

    Args:
      run: what stays the same.
      state: the state at `standing.step`; its buffers are given up.
      standing: where the run stands.

    Returns:
      The state after the last step, and where the run stands then.

    Raises:
      FloatingPointError: a loss, gradient or parameter is not finite. Nothing of that
        stretch has been written.
    """
    config = run.config
    began = time.perf_counter() - standing.seconds
    with MetricsLog(run.workdir, standing.step) as log, _bar(config, standing) as bar:
        for step in stops(config, standing.step):
            state, scalars = advance(run, state, standing.step, step, bar)
            nats = None
            if _due(config, step, config.eval_interval):
                nats = validate(run, state, step)
                scalars |= _scaled(run.corpus, "validation", nats)
            standing = _moved(standing, step, nats, time.perf_counter() - began)
            log.write(step, {**scalars, "seconds": standing.seconds})
            _show(bar, run, scalars, step)
            # The best one is kept even where no checkpoint is due.
            if _due(config, step, config.checkpoint_interval) or standing.best.step == step:
                save(config, run.corpus, run.workdir, state, standing)
    return state, standing


def stops(config: Config, start: int) -> Iterator[int]:
    """Yield the steps after `start` at which something is due, the last one included."""
    intervals = (config.log_interval, config.eval_interval, config.checkpoint_interval)
    for step in range(start + 1, config.steps + 1):
        if any(_due(config, step, interval) for interval in intervals):
            yield step


def _due(config: Config, step: int, interval: int) -> bool:
    return step % interval == 0 or step == config.steps


def advance(
    run: Run, state: TrainState, start: int, stop: int, bar: tqdm
) -> tuple[TrainState, dict[str, float]]:
    """Run steps `start + 1 .. stop`, and look at them all before returning.

    Returns:
      The state at `stop`, and the scalars of the stretch.

    Raises:
      FloatingPointError: see `fit`.
    """
    config, began = run.config, time.perf_counter()
    reports = []
    for step in range(start, stop):
        batch = batch_at(
            run.corpus.train, step, config.batch_size, config.chunk_length, config.seed
        )
        state, report = run.train_step(state, *batch)
        # One step behind: the device always has work, and the bar tells the truth.
        if reports:
            jax.block_until_ready(reports[-1].loss)
        reports.append(report)
        bar.update()
    reports = jax.device_get(reports)
    for step, report in enumerate(reports, start + 1):
        check_finite(step, report.finite, FINITE_ORDER)
    symbols = (stop - start) * config.batch_size * config.chunk_length
    num_chunks = chunks_per_epoch(len(run.corpus.train), config.batch_size, config.chunk_length)
    nats = float(np.mean([report.loss for report in reports], dtype=np.float64))
    return state, {
        "epoch": stop / num_chunks,
        **_scaled(run.corpus, "train", nats),
        "gradient_norm": float(reports[-1].gradient_norm),
        "learning_rate": float(reports[-1].learning_rate),
        "symbols_per_second": symbols / (time.perf_counter() - began),
    }


def validate(run: Run, state: TrainState, step: int) -> float:
    """Return the nats a symbol of the validation split.

    Raises:
      FloatingPointError: they are not finite.
    """
    params = evaluated_params(state, run.config.ema_decay)
    nats = evaluate(run.model, run.score, params, run.valid)
    check_finite(step, {"validation loss": math.isfinite(nats)}, ("validation loss",))
    return nats


def _moved(standing: Standing, step: int, nats: float | None, seconds: float) -> Standing:
    """Return the standing after a stretch; of equal evaluations the first is best."""
    best = standing.best
    if nats is not None and nats < best.nats:
        best = Best(step, nats)
    return Standing(step, best, nats, seconds)


def _scaled(corpus: Corpus, split: str, nats: float) -> dict[str, float]:
    """Return a loss in nats and on the corpus's own scale, as scalars to record."""
    scale = SCALES[corpus.vocabulary.level]
    return {f"{split}_nats": nats, f"{split}_{scale.key}": scale.of_nats(nats)}


def _bar(config: Config, standing: Standing) -> tqdm:
    return tqdm(
        total=config.steps,
        initial=standing.step,
        desc="training",
        unit="step",
        dynamic_ncols=True,
    )


def _show(bar: tqdm, run: Run, scalars: dict[str, float], step: int) -> None:
    """Put the losses on the bar, and an evaluation on a line of its own."""
    scale = SCALES[run.corpus.vocabulary.level]
    train = f"{scalars[f'train_{scale.key}']:.3f}"
    shown = scalars.get(f"validation_{scale.key}")
    if shown is not None:
        bar.write(f"step {step:6,}   train {train}   validation {shown:.3f} {scale.unit}")
        bar.set_postfix_str(f"{scale.key}: train {train}, validation {shown:.3f}")
    else:
        _before, found, validation = (bar.postfix or "").partition(", validation")
        bar.set_postfix_str(f"{scale.key}: train {train}{found}{validation}")
