"""Tuned settings by name, one file each; `--preset` starts from one of them."""

import dataclasses
from collections.abc import Mapping

from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import multi30k
from experiments.machine_translation.own_pairs import CORPORA

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "multi30k": multi30k.CONFIG,
}


def presets_on(data: str) -> Mapping[str, Config]:
    """Return the presets for what `--data` names.

    For a user's own pairs they are as they are, but for what of the default suits dates:
    sentences have more words, and lengths that differ more, and are not learned so soon.

    Args:
      data: where the pairs are; a corpus, or an empty string, has the presets themselves.
    """
    if data in ("", *CORPORA):
        return PRESETS
    default = dataclasses.replace(
        PRESETS["default"], source_pieces=2_000, target_pieces=2_000, buckets=2, steps=2_000
    )
    presets = {**PRESETS, "default": default}
    return {name: dataclasses.replace(config, data=data) for name, config in presets.items()}
