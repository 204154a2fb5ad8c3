"""A trained translator, read back from its run's folder, at work on new lines."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.checkpoints import Restored
from experiments.common.errors import InputError
from experiments.common.run_folder import read_run, restore_best
from experiments.common.settings import config_from_dict
from experiments.common.updates import evaluated_params
from experiments.machine_translation.config import Config
from experiments.machine_translation.model import Translator
from experiments.machine_translation.subwords import Ids, Vocabularies, load_vocabularies
from experiments.machine_translation.translate import (
    Search,
    attention_weights,
    translate_batch,
    translate_ids,
)
from experiments.machine_translation.update import state_shapes

MOST_PIECES = 2_000  # of a line; a sentence of the corpora has some 50 at most


class Trained(NamedTuple):
    """A model that is ready to translate."""

    config: Config
    model: Translator
    params: Any
    vocabularies: Vocabularies
    restored: Restored  # its checkpoint: step and meta data


class Alignment(NamedTuple):
    """What the decoder attended to while it wrote a line."""

    source: list[str]  # pieces, in the line's own order
    target: list[str]  # pieces, the last one the end
    weights: np.ndarray  # [target, source]


def load_trained(workdir: Path, warn: Callable[[str], None] = print) -> Trained:
    """Read the best undamaged checkpoint of a run: the one of the best validation.

    Raises:
      InputError: the folder holds no run, or no checkpoint that can be read.
    """
    run = read_run(workdir)
    config = config_from_dict(Config, run["config"])
    vocabularies = load_vocabularies(workdir, run["vocabularies_sha256"])
    model = Translator(config, len(vocabularies.source), len(vocabularies.target))
    restored = restore_best(workdir, state_shapes(config, model), warn)
    params = evaluated_params(restored.state, config.ema_decay)
    return Trained(config, model, params, vocabularies, restored._replace(state=None))


def source_ids(trained: Trained, line: str) -> Ids:
    """Return a line as the encoder reads it: reversed, if it was trained so."""
    ids = trained.vocabularies.source.encode(line)
    return ids[::-1] if trained.config.reverse_source else ids


def translate_lines(trained: Trained, lines: Sequence[str], search: Search) -> list[str]:
    """Translate lines; an empty one becomes an empty one.

    A character that the training text lacks is read as unknown; see `Subwords.unseen`.

    Raises:
      InputError: a line has more than `MOST_PIECES`.
    """
    sources = [source_ids(trained, line) for line in lines]
    for number, ids in enumerate(sources, 1):
        if len(ids) > MOST_PIECES:
            raise InputError(
                f"translate_lines: line {number:,} has {len(ids):,} pieces, a line may have "
                f"{MOST_PIECES:,}; write a sentence a line"
            )
    translate = partial(translate_batch, trained.model, search)
    found = translate_ids(translate, trained.params, sources, trained.config.eval_batch_size)
    return [trained.vocabularies.target.decode(ids) for ids in found]


def align_line(trained: Trained, line: str, translation: str) -> Alignment | None:
    """Return the attention while a line is translated so, or None without any, or words.

    The translation is read again, cut into pieces anew, which is nearly always how it
    was written.
    """
    source, target = source_ids(trained, line), trained.vocabularies.target.encode(translation)
    if trained.config.attention == "none" or not len(source):
        return None
    weights = attention_weights(trained.model, trained.params, source, target)
    if trained.config.reverse_source:
        source, weights = source[::-1], weights[:, ::-1]
    pieces = trained.vocabularies.target.pieces(target)
    return Alignment(trained.vocabularies.source.pieces(source), [*pieces, "(end)"], weights)
