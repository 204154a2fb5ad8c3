"""A run's folder: what was asked for, and where the run stands.

    run.json             config, vocabulary and the text's checksum, before the first step
    checkpoints/         see common.checkpoints
    metrics.jsonl        one record a logged step
    tensorboard/         the same for TensorBoard
    learning_curve.png, sample.txt, result.json    at the end

Together they are enough to go on with the run after a kill at any moment.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from experiments.common import checkpoints
from experiments.common.errors import InputError
from experiments.common.records import RUN_FILE, read_json, write_json
from experiments.text_generation.batches import chunks_per_epoch, position
from experiments.text_generation.config import Config, differing_fields
from experiments.text_generation.data import Corpus
from experiments.text_generation.update import TrainState


class Best(NamedTuple):
    """The best evaluation so far."""

    step: int
    nats: float


class Standing(NamedTuple):
    """Where a run stands at a step."""

    step: int
    best: Best
    last_nats: float | None  # of the evaluation at this very step, if there was one
    seconds: float  # of training, earlier tries counted in


START = Standing(step=0, best=Best(0, float("inf")), last_nats=None, seconds=0.0)


def open_run(config: Config, corpus: Corpus, workdir: Path, resume: bool) -> None:
    """Write a new run's description, or check that a resumed run is the same one.

    Raises:
      InputError: a run is there and `resume` is False; or it has other settings, which
        are named; or its text has changed.
    """
    file = workdir / RUN_FILE
    if not file.is_file():  # new, or killed before it had begun
        workdir.mkdir(parents=True, exist_ok=True)
        content = {
            "config": dataclasses.asdict(config),
            "corpus_sha256": corpus.digest,
            "level": corpus.vocabulary.level,
            "vocabulary": list(corpus.vocabulary.symbols),
        }
        write_json(file, content)
        return
    if not resume:
        raise InputError(
            f"train: {workdir} already holds a run; give --resume to go on with it or "
            "another --workdir"
        )
    stored = read_json(file)
    names = differing_fields(config, stored["config"])
    if names:
        pairs = [
            f"{name} is {getattr(config, name)!r}, was {stored['config'].get(name)!r}"
            for name in names
        ]
        raise InputError(
            f"train: cannot resume {workdir} with other settings: {'; '.join(pairs)}; "
            "leave them as they were or start a new run"
        )
    if stored["corpus_sha256"] != corpus.digest:
        raise InputError(
            f"train: the text of corpus {corpus.name} is not the one that {workdir} was "
            "started on (pydoc's differs between versions of Python); start a new run"
        )


def save(
    config: Config, corpus: Corpus, workdir: Path, state: TrainState, standing: Standing
) -> None:
    """Write a checkpoint and delete those that are not to be kept."""
    num_chunks = chunks_per_epoch(len(corpus.train), config.batch_size, config.chunk_length)
    best = standing.best
    meta = {
        "position": position(standing.step, num_chunks)._asdict(),
        "validation_nats": standing.last_nats,
        "best": best._asdict() if best.step else None,
        "seconds": standing.seconds,
    }
    folder = workdir / "checkpoints"
    checkpoints.save(folder, standing.step, state, meta)
    checkpoints.keep_only(folder, config.keep_checkpoints, also=(best.step,))


def restore(
    workdir: Path, target: TrainState, warn: Callable[[str], None] = print
) -> tuple[TrainState, Standing] | None:
    """Read the newest undamaged checkpoint, or return None where there is none yet.

    Raises:
      InputError: there are checkpoints and every one of them is damaged.
    """
    folder = workdir / "checkpoints"
    candidates = checkpoints.newest_first(folder)
    restored = checkpoints.restore_first(folder, candidates, target, warn)
    if restored is None:
        return None
    checkpoints.drop_later(folder, restored.step)
    meta = restored.meta
    best = Best(**meta["best"]) if meta["best"] else START.best
    return restored.state, Standing(restored.step, best, meta["validation_nats"], meta["seconds"])
