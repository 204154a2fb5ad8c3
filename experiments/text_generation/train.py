"""Training from the first step, or from a checkpoint, to the run's files."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

from experiments.common.checkpoints import Restored
from experiments.common.fit import start
from experiments.common.records import RESULT_FILE, environment, write_json
from experiments.common.run_folder import Standing, open_run, restore_best, validated
from experiments.common.settings import checked_model
from experiments.common.updates import evaluated_params
from experiments.text_generation import report
from experiments.text_generation.batches import chunks_per_epoch
from experiments.text_generation.config import FREE_ON_RESUME, Config
from experiments.text_generation.data import load_corpus
from experiments.text_generation.evaluate import evaluate, one_stream
from experiments.text_generation.generate import Writer, stream_text
from experiments.text_generation.model import ModelParams, language_model
from experiments.text_generation.run import Run, make_run, training_of
from experiments.text_generation.update import apply_once, initial_train_state


def train(config: Config, workdir: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train a model, write a run's files and print what came out.

    Args:
      config: the settings.
      workdir: the run's folder; see `common.run_folder` for what it will hold.
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
    corpus = load_corpus(
        config.corpus, config.data_dir, level=config.level, min_count=config.min_count
    )
    # Before anything is written: what cannot work must neither leave a run behind nor
    # come up after hours of training.
    chunks_per_epoch(len(corpus.train), config.batch_size, config.chunk_length)
    corpus.vocabulary.encode(report.sample_prompt(config, corpus))
    model = checked_model(
        lambda: language_model(config, len(corpus.vocabulary)), partial(apply_once, config)
    )
    print(report.describe(corpus), flush=True)
    open_run(
        workdir,
        config,
        free=FREE_ON_RESUME,
        data_sha256=corpus.digest,
        resume=resume,
        extra={
            "level": corpus.vocabulary.level,
            "vocabulary": list(corpus.vocabulary.symbols),
        },
    )
    run = make_run(config, corpus, model, workdir)
    fitted = start(training_of(run), initial_train_state(config, model), resume=resume)
    best = restore_best(workdir, fitted.state)
    params = evaluated_params(best.state, config.ema_decay)
    result = measure(run, best, params, fitted.standing) | {
        "parameters": fitted.parameters,
        "wall_seconds": fitted.wall_seconds(began),
    }
    return _finish(run, params, result)


def measure(run: Run, best: Restored, params: ModelParams, standing: Standing) -> dict[str, Any]:
    """Return what a finished run came to.

    Args:
      run: the run.
      best: the checkpoint of the best validation that could be read. Step and validation
        are its own, lest one model's validation stand beside another's test.
      params: its parameters as they are evaluated; they alone see the test split.
      standing: where the run stands.

    Returns:
      Losses in nats a symbol and on the corpus's scale (bits or perplexity) of the
      best and the last evaluation; of the test split, whose entries are None where there
      is none; how many symbols each is over; for either split the baselines by order, as
      a string; and the seconds that training took.

    Raises:
      InputError: the checkpoints that were evaluated are damaged.
    """
    corpus = run.corpus
    scale = report.SCALES[corpus.vocabulary.level]
    step, nats = validated(best)
    baselines = report.baselines(corpus)
    result: dict[str, Any] = {
        "corpus": corpus.name,
        "best_step": step,
        "validation_symbols": len(corpus.valid),
        "validation_nats": nats,
        f"validation_{scale.key}": scale.of_nats(nats),
        "last_validation_nats": standing.value,
        "baseline_nats": baselines["validation"],
        "test_symbols": None,
        "test_nats": None,
        f"test_{scale.key}": None,
        "test_baseline_nats": None,
        "seconds": standing.seconds,
    }
    if corpus.test is not None:
        nats = evaluate(run.model, run.score, params, one_stream(corpus.valid, corpus.test))
        result |= {
            "test_symbols": len(corpus.test),
            "test_nats": nats,
            f"test_{scale.key}": scale.of_nats(nats),
            "test_baseline_nats": baselines["test"],
        }
    return result


def _finish(run: Run, params: ModelParams, result: dict[str, Any]) -> dict[str, Any]:
    """Write sample, curve and result, and print the summary."""
    config, workdir = run.config, run.workdir
    writer = Writer(run.model, params, run.corpus.vocabulary)
    prompt = report.sample_prompt(config, run.corpus)
    pieces = stream_text(writer, prompt, config.sample_length, config.sampling, config.seed)
    sample = "".join(pieces)
    (workdir / "sample.txt").write_text(sample, encoding="utf-8")
    report.plot(workdir, run.corpus, result["baseline_nats"])
    result |= {"config": dataclasses.asdict(config), "environment": environment()}
    write_json(workdir / RESULT_FILE, result)
    print(report.summary(result, sample, run.corpus.vocabulary.level, workdir))
    return result
