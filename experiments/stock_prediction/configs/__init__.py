"""Settings by name, one file each; `--preset` or `--data` starts from one of them."""

from collections.abc import Mapping

from experiments.stock_prediction.config import Config
from experiments.stock_prediction.configs import acl18, etth1

PRESETS: Mapping[str, Config] = {
    "default": Config(),
    "acl18": acl18.CONFIG,
    "etth1": etth1.CONFIG,
}
