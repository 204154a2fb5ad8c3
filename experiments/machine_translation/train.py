"""Training from the first step, or from a checkpoint, to the run's files."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

from experiments.common.fit import Fitted, start
from experiments.common.records import (
    PACKAGES,
    RESULT_FILE,
    RUN_FILE,
    environment,
    read_json,
    write_json,
)
from experiments.common.run_folder import Standing, open_run, validated
from experiments.machine_translation import report
from experiments.machine_translation.baselines import baselines_of
from experiments.machine_translation.config import FREE_ON_RESUME, Config
from experiments.machine_translation.data import Corpus, load_corpus
from experiments.machine_translation.evaluate import nats_per_token, score_lines, score_of
from experiments.machine_translation.run import Run, make_run, training_of
from experiments.machine_translation.subwords import (
    Vocabularies,
    learn_vocabularies,
    load_vocabularies,
)
from experiments.machine_translation.trained import Trained, load_trained, translate_lines
from experiments.machine_translation.translate import GREEDY, search_of
from experiments.machine_translation.update import first_state, real_nats

TRANSLATIONS_FILE = "translations.txt"
TRANSLATION_PACKAGES = (*PACKAGES, "sacrebleu", "sentencepiece")


def train(config: Config, workdir: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Train a translator, write a run's files and print what came out.

    Args:
      config: the settings.
      workdir: the run's folder; see `common.run_folder` for what it will hold, and
        source.model and target.model, the subwords.
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
    corpus = load_corpus(config.data, config.data_dir, config.train_pairs)
    run = make_run(config, corpus, _vocabularies(config, corpus, workdir, resume), workdir)
    print(report.describe(run), flush=True)
    open_run(
        workdir,
        config,
        free=FREE_ON_RESUME,
        data_sha256=corpus.digest,
        resume=resume,
        extra={"vocabularies_sha256": run.vocabularies.digest},
    )
    run.vocabularies.save(workdir)
    fitted = start(training_of(run), first_state(config, run.model), resume=resume)
    return _finish(run, load_trained(workdir), fitted, began)


def _vocabularies(config: Config, corpus: Corpus, workdir: Path, resume: bool) -> Vocabularies:
    """Return the subwords of the run to go on with, else learn them."""
    if resume and (workdir / RUN_FILE).is_file():
        digest = read_json(workdir / RUN_FILE)["vocabularies_sha256"]
        learned = learn_vocabularies(corpus.train, config)
        # Learned again rather than read: a run may be killed before it has written them.
        return learned if learned.digest == digest else load_vocabularies(workdir, digest)
    return learn_vocabularies(corpus.train, config)


def measure(run: Run, trained: Trained, standing: Standing) -> tuple[dict[str, Any], list[str]]:
    """Return what a finished run came to, and its translations of the test split.

    Args:
      run: the run.
      trained: the model of the best validation; it alone sees the test split.
      standing: where the run stands.

    Returns:
      `score` names the figure of whole translations, in percent, and `signature` tells
      what exactly it is. `validation` and `test` hold nats a target token, and the figure
      of greedy and of beam search.
    """
    config, name = run.config, run.corpus.name
    result: dict[str, Any] = {
        "corpus": name,
        "score": score_of(name),
        "best_step": validated(trained.restored).step,
        "seconds": standing.seconds,
    }
    searches = {"greedy": GREEDY, "beam": search_of(config)}
    found: dict[str, list[str]] = {}
    for split, pairs in (("validation", run.corpus.valid), ("test", run.corpus.test)):
        encoded = run.vocabularies.encode(pairs, config.reverse_source)
        result[split] = {
            "nats": nats_per_token(
                partial(real_nats, run.model),
                trained.params,
                encoded,
                buckets=config.eval_buckets,
                batch_size=config.eval_batch_size,
            )
        }
        for how, search in searches.items():
            found[how] = translate_lines(trained, pairs.sources, search)
            score = score_lines(name, found[how], pairs.targets)
            result[split][how] = score.value
            result["signature"] = score.signature
    return result, found["beam"]


def _finish(run: Run, trained: Trained, fitted: Fitted, began: float) -> dict[str, Any]:
    """Write translations, samples, pictures and the result, and print the summary."""
    config, test, workdir = run.config, run.corpus.test, run.folder
    result, translations = measure(run, trained, fitted.standing)
    others = {
        name: baseline(run.corpus.train, test.sources)
        for name, baseline in baselines_of(run.corpus).items()
    }
    result["baselines"] = {
        name: score_lines(run.corpus.name, lines, test.targets).value
        for name, lines in others.items()
    }
    text = "".join(f"{line}\n" for line in translations)
    (workdir / TRANSLATIONS_FILE).write_text(text, encoding="utf-8")
    samples = report.write_samples(run, translations, others)
    report.plot_curve(run, result["baselines"])
    report.draw_example(run, trained, translations)
    result |= {
        "parameters": fitted.parameters,
        "wall_seconds": fitted.wall_seconds(began),
        "config": dataclasses.asdict(config),
        "environment": environment(TRANSLATION_PACKAGES),
    }
    write_json(workdir / RESULT_FILE, result)
    print(report.summary(result, samples, workdir))
    return result
