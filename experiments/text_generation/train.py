"""Training from the first step, or from a checkpoint, to the run's files."""

import dataclasses
import time
from pathlib import Path
from typing import Any

from experiments.common.fit import fit
from experiments.common.records import environment, write_json
from experiments.common.run_folder import START, Standing, open_run, restore
from experiments.common.updates import num_parameters
from experiments.text_generation import report
from experiments.text_generation.batches import chunks_per_epoch
from experiments.text_generation.config import FREE_ON_RESUME, Config
from experiments.text_generation.data import load_corpus
from experiments.text_generation.evaluate import evaluate, one_stream
from experiments.text_generation.generate import Writer, load_writer, stream_text
from experiments.text_generation.model import language_model
from experiments.text_generation.run import Run, make_run, training_of
from experiments.text_generation.update import initial_train_state


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
    corpus = load_corpus(config.corpus, config.data_dir)
    # Before anything is written: what cannot work must neither leave a run behind nor
    # come up after hours of training.
    chunks_per_epoch(len(corpus.train), config.batch_size, config.chunk_length)
    corpus.vocabulary.encode(report.sample_prompt(config, corpus))
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
    model = language_model(config, len(corpus.vocabulary))
    state, standing = initial_train_state(config, model), START
    restored = restore(workdir, state) if resume else None
    if restored is not None:
        state, standing = restored
        print(f"going on from step {standing.step:,}", flush=True)
    parameters = num_parameters(state.params)
    print(f"{parameters:,} parameters; writing to {workdir}/", flush=True)
    run = make_run(config, corpus, model, workdir)
    state, standing = fit(training_of(run), state, standing)
    writer = load_writer(workdir)
    result = measure(run, writer, standing) | {
        "parameters": parameters,
        "wall_seconds": time.perf_counter() - began,
    }
    return _finish(run, writer, result)


def measure(run: Run, writer: Writer, standing: Standing) -> dict[str, Any]:
    """Return what a finished run came to.

    Args:
      run: the run.
      writer: the model of the best validation; it alone sees the test split.
      standing: where the run stands.

    Returns:
      Losses in nats a symbol and on the corpus's scale (bits or perplexity) of the
      best and the last evaluation and of the test split where there is one, the
      baselines by order, and the seconds that training took.
    """
    corpus = run.corpus
    scale = report.SCALES[corpus.vocabulary.level]
    result: dict[str, Any] = {
        "corpus": corpus.name,
        "best_step": standing.best.step,
        "validation_symbols": len(corpus.valid),
        "validation_nats": standing.best.value,
        f"validation_{scale.key}": scale.of_nats(standing.best.value),
        "last_validation_nats": standing.value,
        "test_nats": None,
        "baseline_nats": report.baselines(corpus),
        "seconds": standing.seconds,
    }
    if corpus.test is not None:
        nats = evaluate(run.model, run.score, writer.params, one_stream(corpus.valid, corpus.test))
        result |= {"test_nats": nats, f"test_{scale.key}": scale.of_nats(nats)}
    return result


def _finish(run: Run, writer: Writer, result: dict[str, Any]) -> dict[str, Any]:
    """Write sample, curve and result, and print the summary."""
    config, workdir = run.config, run.workdir
    prompt = report.sample_prompt(config, run.corpus)
    pieces = stream_text(writer, prompt, config.sample_length, config.sampling, config.seed)
    sample = "".join(pieces)
    (workdir / "sample.txt").write_text(sample, encoding="utf-8")
    report.plot(workdir, run.corpus, result["baseline_nats"])
    result |= {"config": dataclasses.asdict(config), "environment": environment()}
    write_json(workdir / "result.json", result)
    print(report.summary(result, sample, run.corpus.vocabulary.level, workdir))
    return result
