"""Tuned settings by name, one file each; `--preset` starts from one of them."""

import dataclasses
from collections.abc import Mapping

from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import multi30k

PRESETS: Mapping[str, Config] = {"default": Config(), "multi30k": multi30k.CONFIG}


def on_own_data(config: Config) -> Config:
    """Return what suits a user's own pairs: the preset itself, but for what suits dates alone.

    Sentences have more words than dates, lengths that differ more, and are not learned so soon.
    """
    if config != PRESETS["default"]:
        return config
    return dataclasses.replace(
        config, source_pieces=2_000, target_pieces=2_000, buckets=2, steps=2_000
    )
