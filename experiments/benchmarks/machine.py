"""What the figures were measured on."""

import os
import platform
from typing import Any

from experiments.common.records import environment

LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "dm-haiku",
    "equinox",
    "keras",
    "torch",
    "numpy",
)


def describe_machine() -> dict[str, Any]:
    """Return hardware, versions, and the options of XLA that were set from outside."""
    return environment(LIBRARIES) | {
        "architecture": platform.machine(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
