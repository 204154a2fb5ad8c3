"""Tuned settings by name, one file each; `--preset` starts from one of them."""

from collections.abc import Mapping

from experiments.text_generation.config import Config
from experiments.text_generation.configs import (
    ptb_medium,
    ptb_small,
    ptb_tied,
    ten_minutes,
    tinyshakespeare,
)

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "ten-minutes": ten_minutes.CONFIG,
    "tinyshakespeare": tinyshakespeare.CONFIG,
    "ptb-small": ptb_small.CONFIG,
    "ptb-medium": ptb_medium.CONFIG,
    "ptb-tied": ptb_tied.CONFIG,
}
