"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.music_generation.config import Config
from experiments.music_generation.configs import jsb, nottingham

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "jsb": jsb.CONFIG,
    "nottingham": nottingham.CONFIG,
}
