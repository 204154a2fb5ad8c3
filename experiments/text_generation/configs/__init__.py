"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.text_generation.config import Config
from experiments.text_generation.configs import ten_minutes, tinyshakespeare

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "ten-minutes": ten_minutes.CONFIG,
    "tinyshakespeare": tinyshakespeare.CONFIG,
}
