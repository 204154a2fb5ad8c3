"""n-gram models of characters, as tables that a search on any device can walk through.

The model is an automaton: a state is what of the past still matters, and

    log_probs [S, V]   of each next label in each state; label 0 is the end of the text
    successors [S, V]  the state after it

so that one step of a search is two look-ups, and a state is one int: `LanguageModel`'s
interface as it is. words.py makes the same tables of words.

Of a character n-gram, a state is a context h: the longest suffix of the last n - 1 labels
that the training texts have. Smoothing is Witten and Bell's, as in
`text_generation/ngram.py`, with h' the context without its oldest label:

    p(c | h) = (count(h, c) + kinds(h) p(c | h')) / (count(h) + kinds(h)),  p(c | ) over 1/V
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from deeprnn_jax.decoding import LanguageModel
from experiments.common.errors import InputError
from experiments.speech_recognition.alphabet import BLANK, Alphabet

# In texts, label 0 is their end; it also stands before their beginning.
END = BLANK

Context = tuple[int, ...]


class Automaton(NamedTuple):
    """A language model over labels as tables."""

    log_probs: NDArray[np.float32]  # [S, V], natural logarithms; each row's exp sums to 1
    successors: NDArray[np.int32]  # [S, V]; after the end comes the start
    start: int  # the state before the first label

    def most_probable(self, length: int) -> list[int]:
        """Return the most probable labels of exactly this length, by dynamic programming.

        best_l(s) = max_c ln p(c | s) + best_{l-1}(successor of s by c), best_0 the end's.
        """
        best, choices = self.log_probs[:, END], []
        for _ in range(length):
            total = self.log_probs + best[self.successors]
            total[:, END] = -np.inf
            choices.append(total.argmax(axis=1))
            best = total.max(axis=1)
        state, labels = self.start, []
        for choice in reversed(choices):
            labels.append(int(choice[state]))
            state = int(self.successors[state, labels[-1]])
        return labels

    def language_model(self, num_rows: int, weight: jax.Array | float) -> LanguageModel:
        """Return this as what `ctc_prefix_beam` asks for, for `num_rows` utterances at once.

        Its log-probabilities are multiplied by `weight`.
        """
        log_probs, successors = jnp.asarray(self.log_probs), jnp.asarray(self.successors)

        def step(state: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = successors[state, tokens]
            return state, log_probs[state]

        # It begins by reading the end, which leads to the start from wherever it is.
        states = jnp.full((num_rows,), self.start, jnp.int32)
        return LanguageModel(step, states, END, weight, END)


def character_ngram(
    texts: Iterable[str], alphabet: Alphabet, order: int, most_entries: int = 10**8
) -> Automaton:
    """Return the n-gram model of some texts.

    Args:
      texts: what to learn from.
      alphabet: the labels.
      order: n >= 1.
      most_entries: of a table `[S, V]`; see `config.py`.

    Raises:
      InputError: there are so many contexts that the tables would have more.
    """
    size = alphabet.size
    counts = _counts(texts, alphabet, order, most_entries)
    states = {context: state for state, context in enumerate(counts)}
    start = states.get((END,), 0)  # of order 1 there is only one state
    probs = np.zeros((len(states), size))
    successors = np.zeros((len(states), size), np.int32)
    for context in sorted(states, key=len):
        state, shorter = states[context], np.full(size, 1 / size)
        if context:
            shorter = probs[states[context[1:]]]
            # Where a longer context is none of the texts', its oldest label is left out.
            successors[state] = successors[states[context[1:]]]
        count = np.zeros(size)
        for label, times in counts[context].items():
            count[label] = times
            if (*context, label) in states:
                successors[state, label] = states[*context, label]
        kinds = len(counts[context])
        probs[state] = (count + kinds * shorter) / (count.sum() + kinds)
    successors[:, END] = start
    return Automaton(np.log(probs).astype(np.float32), successors, start)


def _counts(
    texts: Iterable[str], alphabet: Alphabet, order: int, most_entries: int
) -> dict[Context, Counter[int]]:
    """Return how often each label follows each context of up to n - 1 labels."""
    counts: defaultdict[Context, Counter[int]] = defaultdict(Counter)
    for text in texts:
        labels = (END, *map(int, alphabet.encode(text)), END)
        for i in range(1, len(labels)):
            for n in range(min(order, i + 1)):
                counts[labels[i - n : i]][labels[i]] += 1
        entries = len(counts) * alphabet.size
        if entries > most_entries:
            raise InputError(
                f"character_ngram: {len(counts):,} contexts or more of {alphabet.size:,} labels "
                f"each need tables of {entries:,} entries, at most {most_entries:,} are made; "
                f"lower --ngram-order, now {order}"
            )
    return counts
