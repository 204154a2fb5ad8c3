"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.text_generation.config import Config
from experiments.text_generation.configs import (
    ptb,
    ten_minutes,
    tinyshakespeare,
    warandpeace,
)

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "ten-minutes": ten_minutes.CONFIG,
    "tinyshakespeare": tinyshakespeare.CONFIG,
    "ptb": ptb.CONFIG,
    "warandpeace": warandpeace.CONFIG,
}
