"""The engine."""

from deeprnn_jax.recurrence.scan import scan

__all__ = ["scan"]
