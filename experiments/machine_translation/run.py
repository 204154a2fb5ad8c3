"""What a run works with, and what its training does from step to step."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from experiments.common.fit import Training
from experiments.common.optimizers import adamw_of
from experiments.common.updates import TrainState, evaluated_params, make_train_step
from experiments.machine_translation.batches import (
    Bucket,
    batches_per_epoch,
    make_batch_at,
    make_buckets,
)
from experiments.machine_translation.config import Config
from experiments.machine_translation.data import Corpus
from experiments.machine_translation.evaluate import nats_per_token, score_lines, score_of
from experiments.machine_translation.model import Translator
from experiments.machine_translation.subwords import Encoded, Vocabularies
from experiments.machine_translation.translate import GREEDY, translate_batch, translate_ids
from experiments.machine_translation.update import make_loss, real_nats


class Run(NamedTuple):
    """What does not change from step to step."""

    config: Config
    corpus: Corpus
    vocabularies: Vocabularies
    train: Encoded
    valid: Encoded
    buckets: list[Bucket]  # of the training split
    model: Translator
    folder: Path


def make_run(config: Config, corpus: Corpus, vocabularies: Vocabularies, folder: Path) -> Run:
    """Return a run."""
    train, valid = (
        vocabularies.encode(pairs, config.reverse_source) for pairs in (corpus.train, corpus.valid)
    )
    return Run(
        config=config,
        corpus=corpus,
        vocabularies=vocabularies,
        train=train,
        valid=valid,
        buckets=make_buckets(train, config.buckets, config.batch_size),
        model=Translator(config, len(vocabularies.source), len(vocabularies.target)),
        folder=folder,
    )


def make_evaluate(run: Run) -> Callable[[TrainState, int], dict[str, float]]:
    """Return `(state, step) -> scalars` of validation: nats a token, and the greedy figure.

    `selection` is the one that the best checkpoint has least of.
    """
    config, name = run.config, run.corpus.name
    nats_of = partial(real_nats, run.model)
    translate = partial(translate_batch, run.model, GREEDY)

    def evaluate(state: TrainState, _step: int) -> dict[str, float]:
        params = evaluated_params(state, config.ema_decay)
        nats = nats_per_token(
            nats_of,
            params,
            run.valid,
            buckets=config.eval_buckets,
            batch_size=config.eval_batch_size,
        )
        ids = translate_ids(translate, params, run.valid.sources, config.eval_batch_size)
        lines = [run.vocabularies.target.decode(i) for i in ids]
        score = score_lines(name, lines, run.corpus.valid.targets).value
        return {
            "validation_nats": nats,
            f"validation_{score_of(name)}": score,
            "selection": nats if config.selection == "nats" else -score,
        }

    return evaluate


def training_of(run: Run) -> Training:
    """Return what the training loop is to do; functions are compiled when first called."""
    config = run.config
    steps = batches_per_epoch(run.buckets, config.batch_size)
    figure = score_of(run.corpus.name)

    def train_scalars(step: int, loss: float) -> dict[str, float]:
        return {"epoch": step / steps, "train_loss": loss}

    def show(record: Mapping[str, float]) -> str:
        words = f"loss: train {record['train_loss']:.3f}"
        if "validation_nats" in record:
            words += (
                f", validation {record['validation_nats']:.3f} nats a token, greedy "
                f"{figure} {record[f'validation_{figure}']:.2f}"
            )
        return words

    return Training(
        folder=run.folder,
        steps=config.steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        checkpoint_interval=config.checkpoint_interval,
        keep_checkpoints=config.keep_checkpoints,
        batch_at=make_batch_at(run.train, run.buckets, config.batch_size, config.seed),
        train_step=make_train_step(
            make_loss(run.model, config.label_smoothing),
            *adamw_of(config),
            ema_decay=config.ema_decay,
        ),
        train_scalars=train_scalars,
        evaluate=make_evaluate(run),
        selection="selection",
        show=show,
    )
