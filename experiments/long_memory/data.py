"""What a run learns from, chooses by and is measured on."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.common.records import digest_of
from experiments.long_memory import corpora
from experiments.long_memory.config import MADE, Config
from experiments.long_memory.tasks import MADE_TASKS, Examples

_ROWS = 256  # of a made task, to choose by and to be measured on
# The first word of each seed, so that no two splits ever draw the same.
_TRAIN, _VALID, _TEST = 0, 1, 2


class Data(NamedTuple):
    """The data of a run."""

    draw: Callable[[int, int], Examples]  # (seed, step) -> the batch of one model
    valid: Examples  # of the length of training
    test: Examples  # of the longest length
    facts: Mapping[str, Any]  # what of them the model is made of, as JSON
    digest: str  # by which a run that goes on knows its data again


def load(config: Config) -> Data:
    """Return the data, or raise InputError: before a run's folder is opened.

    Validation and test sequences are the same for all seeds and cells.
    """
    rows, length = config.batch_size, config.length
    if config.data == MADE:
        task = MADE_TASKS[config.task]
        valid = task.draw(np.random.default_rng(_VALID), config, _ROWS, length)
        longest = max(config.test_lengths, default=length)
        test = task.draw(np.random.default_rng(_TEST), config, _ROWS, longest)
        sizes = task.num_symbols(config), task.num_answers(config), task.chance(config)

        def draw(seed: int, step: int) -> Examples:
            return task.draw(np.random.default_rng((_TRAIN, seed, step)), config, rows, length)
    else:
        read = corpora.characters if config.task == "characters" else corpora.digits
        corpus = read(config)
        valid, test = corpus.valid, corpus.test
        sizes = corpus.num_symbols, corpus.num_answers, corpus.chance

        def draw(seed: int, step: int) -> Examples:
            return corpus.draw(np.random.default_rng((_TRAIN, seed, step)), rows)

    num_symbols, num_answers, chance = sizes
    facts = {
        "num_symbols": num_symbols,
        "num_features": None if num_symbols else test.x.shape[-1],
        "num_answers": num_answers,
        "chance": chance,
    }
    return Data(draw, valid, test, facts, digest_of((valid, test, draw(config.seed, 0))))
