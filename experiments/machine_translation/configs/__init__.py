"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.machine_translation.config import Config
from experiments.machine_translation.configs import multi30k

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "multi30k": multi30k.CONFIG,
}
