"""Training from the first step, or from a checkpoint, to the run's files."""

import time
from pathlib import Path
from typing import Any

from experiments.common.fit import start
from experiments.common.records import PACKAGES, RESULT_FILE, environment, write_json
from experiments.common.run_folder import open_run, validated
from experiments.common.settings import as_stored
from experiments.speech_recognition import report
from experiments.speech_recognition.config import FREE_ON_RESUME, Config
from experiments.speech_recognition.data import load_corpus, prepare
from experiments.speech_recognition.measure import Findings, measure
from experiments.speech_recognition.recognizer import (
    described,
    load_recognizer,
    make_language_model,
)
from experiments.speech_recognition.run import Run, initial_train_state, make_run, training_of

SPEECH_PACKAGES = (*PACKAGES, "scipy", "soundfile", "jiwer")


def train(config: Config, workdir: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train a recogniser, write a run's files and print what came out.

    Args:
      config: the settings.
      workdir: the run's folder; see `common.run_folder` for what it will hold.
      resume: go on from the newest undamaged checkpoint in `workdir`, or start where
        there is none yet. The parameters become, bit for bit, those of a run that was
        never interrupted.

    Returns:
      The content of `result.json`: error rates by decoder and part, those of the
      baselines, the settings, versions, hardware and times.

    Raises:
      InputError: a corpus, a folder or a setting that cannot be used, or an n-gram model
        that would fill the memory.
      FloatingPointError: a number that is not finite; names the step and the tensor.
    """
    began, workdir = time.perf_counter(), Path(workdir)
    corpus = load_corpus(config)
    # It is asked after the training only, but one that is too large is refused before it.
    make_language_model(config, corpus.alphabet, [u.text for u in corpus.splits.train])
    dataset = prepare(corpus, config)
    # Before anything is written: what cannot be run must not leave a run behind.
    run = make_run(config, dataset, workdir)
    print(report.describe(dataset), flush=True)
    open_run(
        workdir,
        config,
        free=FREE_ON_RESUME,
        data_sha256=corpus.digest,
        resume=resume,
        extra=described(dataset),
    )
    fitted = start(training_of(run), initial_train_state(config, run.model), resume=resume)
    recognizer = load_recognizer(workdir, config=config)
    best = validated(recognizer.restored)
    findings = measure(run, recognizer)
    result = {
        "corpus": corpus.name,
        "best_step": best.step,
        "validation_cer": best.value,
        "decoders": findings.decoders,
        "baselines": findings.baselines,
        "fusion": findings.fusion._asdict(),
        "parameters": fitted.parameters,
        "training_copies_too_short": dataset.num_too_short,
        "seconds": fitted.standing.seconds,
        "wall_seconds": fitted.wall_seconds(began),
        "config": as_stored(config),
        "environment": environment(SPEECH_PACKAGES),
    }
    _finish(run, result, findings)
    return result


def _finish(run: Run, result: dict[str, Any], findings: Findings) -> None:
    """Write transcripts, pictures and result, and print the summary."""
    dataset, workdir = run.dataset, run.workdir
    text = report.transcripts(dataset, findings.texts)
    (workdir / "transcripts.txt").write_text(text, encoding="utf-8")
    report.plot_learning(workdir, result)
    report.plot_posteriors(
        workdir / "posteriors.png",
        dataset.test.copies[0][0],
        findings.outputs.logits[: findings.outputs.lengths[0], 0],
        dataset.alphabet,
        run.config.stack,
        f"{dataset.test.names[0]}: {dataset.test.texts[0]}",
    )
    write_json(workdir / RESULT_FILE, result)
    print(report.summary(result, findings.texts, dataset, workdir))
