"""Programs that compile sooner: what runs once, or shortly, need not be compiled well."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

_LEVEL = "xla_backend_optimization_level"


def _unless_named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options but those that XLA_FLAGS names, which stay as they are there."""
    return {k: v for k, v in options.items() if k not in os.environ.get("XLA_FLAGS", "")}


# The same numbers, to rounding.
ONCE: Any = _unless_named({_LEVEL: 1, "xla_llvm_disable_expensive_passes": True})


def quickly(**options: Any) -> Callable[..., Any]:
    """Return `jax.jit` that compiles as `ONCE` says."""
    return partial(jax.jit, compiler_options=ONCE, **options)


def quick(level: int) -> dict[str, Any] | None:
    """Return options by which XLA compiles for the CPU sooner; other devices are left as they are.

    Args:
      level: of optimisation; 1 for what is to run fast, 0 for what runs once.
    """
    return _unless_named({_LEVEL: level}) if jax.default_backend() == "cpu" else None
