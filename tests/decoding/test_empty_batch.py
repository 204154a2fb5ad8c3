"""No rows: every function of the decoding library gives arrays without any."""

import jax
import jax.numpy as jnp

from deeprnn_jax.decoding import (
    LanguageModel,
    beam_search,
    ctc_greedy,
    ctc_prefix_beam,
    generate,
    sample_logits,
)


def step(state, tokens):
    return state + 1.0, jax.nn.one_hot(tokens, 3) + state[..., :1]


def test_no_rows():
    key, state, start = jax.random.key(0), jnp.zeros((0, 2)), jnp.zeros(0, int)
    logits, lengths = jnp.zeros((6, 0, 3)), jnp.zeros(0, int)
    models = None, LanguageModel(step, state, 0, end_token=2)

    @jax.jit
    def run():
        return (
            sample_logits(key, jnp.zeros((0, 3))),
            generate(step, state, start, 5, key, end_token=1),
            beam_search(step, state, start, end_token=1, beam_size=4, max_steps=5),
            ctc_greedy(logits, lengths),
            [ctc_prefix_beam(logits, lengths, beam_size=4, language_model=one) for one in models],
        )

    tokens, (state_after, drawn), best, path, beams = run()
    assert tokens.shape == (0,)
    assert state_after.shape == (0, 2)
    assert (drawn.tokens.shape, drawn.lengths.shape) == ((5, 0), (0,))
    assert (best.tokens.shape, best.scores.shape) == ((0, 4, 5), (0, 4))
    assert (path.labels.shape, path.log_probs.shape) == ((0, 6), (0,))
    for found in beams:
        assert (found.labels.shape, found.scores.shape) == ((0, 4, 6), (0, 4))
