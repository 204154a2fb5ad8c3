"""Decoding: sampling, beam search over any state, CTC.

All are functions of arrays, for any number of batch axes, with one loop over time; jit,
vmap and shard them as you like, and `jax.export` them with symbolic batch axes (those of
CTC also with a symbolic T). What they read from is a step,

    (state, token [*B]) -> (state, logits [*B, V])

with any pytree as its state: `rnn.step` with an embedding before it and a readout after
it, or a decoder that is fed by attention. What goes step by step is time-major, `[T, *B]`,
as everywhere; the hypotheses that a search finds are `[*B, N, length]`, the best first.

Wrap a call that is given a step in `jax.jit`, with the parameters as arguments: a bare one
traces and compiles its loop again each time.

    generate, sample_logits, restrict_logits, Sampling     temperature, top-k, top-p
    beam_search, gnmt_penalty, power_penalty               the most probable sequences
    ctc_greedy, ctc_prefix_beam, LanguageModel             labels of unsegmented sequences
"""

from deeprnn_jax.decoding.beam import beam_search
from deeprnn_jax.decoding.ctc import BestPath, ctc_greedy
from deeprnn_jax.decoding.fusion import LanguageModel
from deeprnn_jax.decoding.generation import Generated, generate
from deeprnn_jax.decoding.hypotheses import Hypotheses
from deeprnn_jax.decoding.length_penalties import gnmt_penalty, power_penalty
from deeprnn_jax.decoding.prefix_beam import Labelings, ctc_prefix_beam
from deeprnn_jax.decoding.sampling import Sampling, restrict_logits, sample_logits
from deeprnn_jax.decoding.steps import TokenStepFn

__all__ = [
    "BestPath",
    "Generated",
    "Hypotheses",
    "Labelings",
    "LanguageModel",
    "Sampling",
    "TokenStepFn",
    "beam_search",
    "ctc_greedy",
    "ctc_prefix_beam",
    "generate",
    "gnmt_penalty",
    "power_penalty",
    "restrict_logits",
    "sample_logits",
]
