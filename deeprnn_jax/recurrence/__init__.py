"""The engine."""

from deeprnn_jax.recurrence.explain import explain
from deeprnn_jax.recurrence.scan import scan

__all__ = ["explain", "scan"]
