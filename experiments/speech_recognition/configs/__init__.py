"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.speech_recognition.config import Config
from experiments.speech_recognition.configs import an4, fsdd

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "an4": an4.CONFIG,
    "fsdd": fsdd.CONFIG,
}
