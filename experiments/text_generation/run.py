"""What a run is made of: its text, its model, and what the training loop asks of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.common.fit import Training
from experiments.common.updates import TrainState, evaluated_params
from experiments.text_generation.batches import batch_at, chunks_per_epoch
from experiments.text_generation.config import Config
from experiments.text_generation.data import Corpus
from experiments.text_generation.evaluate import Layout, ScoreFn, evaluate, lay_out, make_score
from experiments.text_generation.model import Model
from experiments.text_generation.report import SCALES
from experiments.text_generation.update import make_train_step


class Run(NamedTuple):
    """What does not change from step to step."""

    config: Config
    corpus: Corpus
    model: Model
    workdir: Path
    score: ScoreFn
    valid: Layout


def make_run(config: Config, corpus: Corpus, model: Model, workdir: Path) -> Run:
    """Return a run with its functions, which are compiled when first called."""
    valid = lay_out(corpus.train, corpus.valid, config.eval_streams, config.eval_context)
    return Run(config, corpus, model, workdir, make_score(model), valid)


def training_of(run: Run) -> Training:
    """Return what the training loop asks of a run."""
    config, corpus = run.config, run.corpus
    num_chunks = chunks_per_epoch(len(corpus.train), config.batch_size, config.chunk_length)

    def train_scalars(step: int, loss: float) -> Mapping[str, float]:
        return {"epoch": step / num_chunks, **_scaled(corpus, "train", loss)}

    def validate(state: TrainState, step: int) -> Mapping[str, float]:
        params = evaluated_params(state, config.ema_decay)
        nats = evaluate(run.model, run.score, params, run.valid)
        return _scaled(corpus, "validation", nats)

    def show(record: Mapping[str, float]) -> str:
        scale = SCALES[corpus.vocabulary.level]
        words = f"train {record[f'train_{scale.key}']:.3f}"
        if f"validation_{scale.key}" in record:
            words += f"   validation {record[f'validation_{scale.key}']:.3f}"
        return f"{words} {scale.unit}"

    return Training(
        folder=run.workdir,
        steps=config.steps,
        log_interval=config.log_interval,
        eval_interval=config.eval_interval,
        checkpoint_interval=config.checkpoint_interval,
        keep_checkpoints=config.keep_checkpoints,
        batch_at=lambda step: batch_at(
            corpus.train, step, config.batch_size, config.chunk_length, config.seed
        ),
        train_step=make_train_step(config, run.model),
        train_scalars=train_scalars,
        evaluate=validate,
        selection="validation_nats",
        show=show,
    )


def _scaled(corpus: Corpus, split: str, nats: float) -> dict[str, float]:
    """Return a loss in nats and on the corpus's own scale, as scalars to record."""
    scale = SCALES[corpus.vocabulary.level]
    return {f"{split}_nats": nats, f"{split}_{scale.key}": scale.of_nats(nats)}
