"""Decoding: sampling.

What it reads from is a step,

    (state, token [*B]) -> (state, logits [*B, V])

with any pytree as its state: `rnn.step` with an embedding before it and a readout after
it, say.

    generate, sample_logits, restrict_logits, Sampling     temperature, top-k, top-p
"""

from deeprnn_jax.decoding.generation import Generated, generate
from deeprnn_jax.decoding.sampling import Sampling, restrict_logits, sample_logits
from deeprnn_jax.decoding.steps import StepFn

__all__ = [
    "Generated",
    "Sampling",
    "StepFn",
    "generate",
    "restrict_logits",
    "sample_logits",
]
