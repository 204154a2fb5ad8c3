"""CTC prefix beam search: the labels with the largest sum over their alignments.

For each prefix y the beam has two sums over the alignments of the steps so far, by
whether they end in a blank; with p_t the probabilities of step t and l the last label,

    b'(y)     = p_t(-) (b(y) + n(y))
    n'(y)     = p_t(l) n(y)                          the label repeated
    n'(y + c) = p_t(c) (b(y) + n(y)),  c ≠ l         a new label
    n'(y + l) = p_t(l) b(y)                          a new one, after a blank

all as logarithms. Where y + c is in the beam already, its two parts of n' are added.
Of all prefixes and extensions the K best by b' + n' (and what a language model says)
are kept. A step past a row's end is a certain blank, which changes nothing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.checks import check_size
from deeprnn_jax.decoding.arguments import as_per_row
from deeprnn_jax.decoding.ctc import read_logits, split_steps
from deeprnn_jax.decoding.fusion import (
    Fusion,
    LanguageModel,
    advance_fusion,
    end_fusion,
    start_fusion,
)
from deeprnn_jax.decoding.indexing import pick, places_in, put
from deeprnn_jax.decoding.log_probs import log_of_either, without_nan
from deeprnn_jax.decoding.prefixes import (
    Prefixes,
    empty_prefixes,
    extend,
    find_parents,
    join,
    last_labels,
)
from deeprnn_jax.types import Array, exported


@exported
class Labelings(NamedTuple):
    """The K best label sequences of each row, the best first."""

    labels: Array  # int32 [*B, K, T]; blank past the length
    lengths: Array  # int32 [*B, K], how many labels
    scores: Array  # [*B, K], what they are ordered by; -inf where there is none
    log_probs: Array  # [*B, K], of the labels by CTC alone


class _Beam(NamedTuple):
    """All that a step changes; K prefixes a row, distinct where they are alive."""

    prefixes: Prefixes
    blank: Array  # [*B, K], log b
    label: Array  # [*B, K], log n
    fusion: Fusion | None

    @property
    def log_probs(self) -> Array:
        return log_of_either(self.blank, self.label)


def ctc_prefix_beam(
    logits: Array,
    lengths: Array | None = None,
    *,
    beam_size: int,
    blank: int = 0,
    language_model: LanguageModel | None = None,
    insertion_bonus: Array | float = 0.0,
) -> Labelings:
    """Find the most probable labels, each with the sum over its alignments.

        score(y) = log p(y | x) + weight · log p_LM(y) + insertion_bonus · |y|

    With a beam_size of at least the number of label sequences of up to T labels, the
    probabilities are exact; with less they are lower bounds, for alignments through
    prefixes that were dropped are missing. With a language model, wrap the call in
    `jax.jit`, with the parameters as arguments: a bare call compiles its loop again each
    time.

    Rows of a batch do not touch each other. Equal scores are ordered by the rank, a step
    earlier, of the prefix they come from, then by label, where the blank stands for the
    prefix as it was.

    Args:
      logits: `[T, *B, V]`, floating point; what stands past a row's length is not read.
        A real step with NaN or +inf among its logits, or with nothing but -inf, leaves
        its row without any labels.
      lengths: int `[*B]`, the real steps of each row; None: all T.
      beam_size: K, how many prefixes are kept.
      blank: the index of the blank.
      language_model: a `LanguageModel` over the labels, with any state; it is asked at
        each step, whether a prefix has grown or not.
      insertion_bonus: what each label adds to the score, to make up for what a language
        model takes from it; one for all rows, or `[*B]`.

    Returns:
      The K best of each row, in float32 or wider.

    Raises:
      ValueError: if an argument does not fit, or the language model's step does not keep
        to its form.

    Example:
      The blank is the most probable at each step, and a label over all alignments:

      >>> import jax.numpy as jnp
      >>> from deeprnn_jax.decoding import ctc_greedy, ctc_prefix_beam
      >>> logits = jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]]))
      >>> int(ctc_greedy(logits).lengths)
      0
      >>> best = ctc_prefix_beam(logits, beam_size=4)
      >>> best.lengths.tolist(), [round(float(p), 2) for p in jnp.exp(best.scores)]
      ([1, 0, 0, 0], [0.64, 0.36, 0.0, 0.0])

      With a deep network as the language model:

      >>> import jax, deeprnn_jax as drnn
      >>> from deeprnn_jax.decoding import LanguageModel
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2, output_size=4)
      >>> params = rnn.init(jax.random.key(0), input_size=4)
      >>> def step(state, tokens):
      ...     return rnn.step(params, state, jax.nn.one_hot(tokens, 4))
      >>> model = LanguageModel(step, rnn.initial_state(params, 3), start_token=0, weight=0.5)
      >>> logits = jax.random.normal(jax.random.key(1), (20, 3, 4))
      >>> best = ctc_prefix_beam(logits, beam_size=8, language_model=model, insertion_bonus=1.0)
      >>> best.labels.shape
      (3, 8, 20)

    References:
      Graves and Jaitly 2014, algorithm 1; Hannun et al. 2014, algorithm 1, but for three
      things: their language model is one of words, their bonus is β log |y|, and they
      count in what a prefix that was dropped and comes back had one step before.
    """
    check_size("ctc_prefix_beam", "beam_size", beam_size)
    log_probs, _ = read_logits("ctc_prefix_beam", logits, lengths, blank)
    batch_shape, size, dtype = log_probs.shape[1:-1], log_probs.shape[-1], log_probs.dtype
    bonus = as_per_row("ctc_prefix_beam", "insertion_bonus", insertion_bonus, batch_shape, dtype)
    if language_model is None:
        return _search_alone(log_probs, bonus, beam_size=beam_size, blank=blank)
    model, fusion = start_fusion(
        "ctc_prefix_beam", language_model, (*batch_shape, beam_size), size, dtype
    )
    return _search(log_probs, bonus, fusion, model, beam_size=beam_size, blank=blank)


def _search(
    log_probs: Array,
    bonus: Array,
    fusion: Fusion | None = None,
    model: LanguageModel | None = None,
    *,
    beam_size: int,
    blank: int,
) -> Labelings:
    """Run the search over log-probabilities `[T, *B, V]`, with a bonus `[*B]`."""
    num_steps, *batch_shape, _ = log_probs.shape
    shape = (*batch_shape, beam_size)
    is_first = places_in(shape) == 0
    parts = split_steps(log_probs, blank)
    beam = _Beam(
        prefixes=empty_prefixes(shape, max(num_steps, 1), parts.shape[1]),
        blank=jnp.where(is_first, 0.0, -jnp.inf).astype(log_probs.dtype),
        label=jnp.full(shape, -jnp.inf, log_probs.dtype),
        fusion=fusion,
    )
    bonus = bonus[..., None]
    advance = partial(_advance, blank=blank, model=model, bonus=bonus)

    def advance_part(beam: _Beam, part: Array) -> tuple[_Beam, None]:
        beam, _ = lax.scan(lambda beam, p: (advance(beam, p), None), beam, part)
        return beam._replace(prefixes=join(beam.prefixes)), None

    beam, _ = lax.scan(advance_part, beam, parts)
    return _order(beam, num_steps, blank, model, bonus)


_search_alone = jax.jit(_search, static_argnames=("beam_size", "blank"))


def _advance(
    beam: _Beam, log_probs: Array, *, blank: int, model: LanguageModel | None, bonus: Array
) -> _Beam:
    """Give the beam after a step of log-probabilities `[*B, V]`."""
    stay_blank, stay_label, grown = _grow(beam, log_probs, blank)
    beam_size, size = grown.shape[-2:]
    is_blank = places_in(grown.shape) == blank
    # A prefix extended by the blank is the prefix itself: there its own score stands.
    stays = log_of_either(stay_blank, stay_label)[..., None]
    scores = jnp.where(is_blank, stays, grown)
    scores += (bonus * beam.prefixes.lengths.astype(bonus.dtype))[..., None]
    gain = bonus[..., None]
    if beam.fusion is not None:
        scores += beam.fusion.total[..., None]
        gain += beam.fusion.log_probs
    scores = without_nan(scores + jnp.where(is_blank, 0.0, gain))

    _, best = lax.top_k(_flat(scores), beam_size)
    sources, labels = best // size, best % size
    is_extended = labels != blank
    new_label = pick(_flat(grown), best)
    fusion = beam.fusion
    if fusion is not None and model is not None:
        fusion = advance_fusion(model, fusion, sources, labels, is_extended)
    return _Beam(
        prefixes=extend(beam.prefixes, sources, labels, is_extended),
        blank=jnp.where(is_extended, -jnp.inf, pick(stay_blank, sources)),
        label=jnp.where(is_extended, new_label, pick(stay_label, sources)),
        fusion=fusion,
    )


def _grow(beam: _Beam, log_probs: Array, blank: int) -> tuple[Array, Array, Array]:
    """Give log b' and log n' of each prefix, and log n' of each extension that is new.

    Returns:
      `[*B, K]`, `[*B, K]` and `[*B, K, V]`, the last -inf where the beam has the
      extension already: what it adds is in the second.
    """
    size = log_probs.shape[-1]
    total = beam.log_probs
    last = last_labels(beam.prefixes, blank)
    is_last = places_in((*last.shape, size)) == last[..., None]
    before = jnp.where(is_last, beam.blank[..., None], total[..., None])
    grown = before + log_probs[..., None, :]

    # The n-th prefix is its parent's extension by its last label; if it has no parent in
    # the beam, that lies out of bounds, where nothing is read or written.
    parents, has_parent = find_parents(beam.prefixes, total > -jnp.inf)
    flat = _flat(grown)
    same = jnp.where(has_parent, parents * size + last, flat.shape[-1])
    repeated = beam.label + pick(log_probs, last)
    added = jnp.take_along_axis(flat, same, axis=-1, mode="fill", fill_value=-jnp.inf)
    none = jnp.full(same.shape, -jnp.inf, flat.dtype)
    flat = put(flat, same, none)
    stay_blank = total + log_probs[..., blank, None]
    return stay_blank, log_of_either(repeated, added), flat.reshape(grown.shape)


def _order(
    beam: _Beam, num_steps: int, blank: int, model: LanguageModel | None, bonus: Array
) -> Labelings:
    """Give the beam, whose prefixes are joined, by score, the best first."""
    log_probs, lengths = beam.log_probs, beam.prefixes.lengths
    scores = log_probs + bonus * lengths.astype(bonus.dtype)
    if beam.fusion is not None and model is not None:
        scores = without_nan(scores + end_fusion(model, beam.fusion))
    exists = (log_probs > -jnp.inf) & (scores > -jnp.inf)
    scores, order = lax.top_k(jnp.where(exists, scores, -jnp.inf), scores.shape[-1])
    exists = pick(exists, order)
    lengths = jnp.where(exists, pick(lengths, order), 0)
    labels = jnp.take_along_axis(beam.prefixes.base.labels, order[..., None], axis=-2)
    inside = places_in(labels.shape) < lengths[..., None]
    return Labelings(
        labels=jnp.where(inside, labels, blank)[..., :num_steps],
        lengths=lengths,
        scores=scores,
        log_probs=jnp.where(exists, pick(log_probs, order), -jnp.inf),
    )


def _flat(extensions: Array) -> Array:
    """Give `[*B, K, V]` as `[*B, K·V]`."""
    *axes, beam_size, size = extensions.shape
    return extensions.reshape(*axes, beam_size * size)
