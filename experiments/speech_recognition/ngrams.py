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

from collections.abc import Iterable, Iterator, Mapping
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

# Of one table [S, V]: near 3 GB while a model is made. AN4's of words has 7 * 10**5.
MOST_ENTRIES = 10**8

Context = tuple[int, ...]


class Automaton(NamedTuple):
    """A language model over labels as tables."""

    log_probs: NDArray[np.float32]  # [S, V], natural logarithms; each row's exp sums to 1
    successors: NDArray[np.int32]  # [S, V]; after the end comes the start
    start: int  # the state before the first label

    def log_prob(self, labels: Iterable[int]) -> float:
        """Return ln p of a whole text, its end counted in."""
        state, total = self.start, 0.0
        for label in (*labels, END):
            total += float(self.log_probs[state, label])
            state = int(self.successors[state, label])
        return total

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
        """Return this as what `ctc_prefix_beam` asks for.

        Args:
          num_rows: B, how many utterances are decoded side by side.
          weight: what its log-probabilities are multiplied by.
        """
        log_probs, successors = jnp.asarray(self.log_probs), jnp.asarray(self.successors)

        def step(state: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = successors[state, tokens]
            return state, log_probs[state]

        # It begins by reading the end, which leads to the start from wherever it is.
        states = jnp.full((num_rows,), self.start, jnp.int32)
        return LanguageModel(step, states, END, weight, END)


def character_ngram(texts: Iterable[str], alphabet: Alphabet, order: int) -> Automaton:
    """Return the n-gram model of some texts.

    Args:
      texts: what to learn from.
      alphabet: the labels.
      order: n >= 1.

    Raises:
      InputError: there are so many contexts that the tables would fill the memory.
    """
    size = alphabet.size
    sequences = [(END, *map(int, alphabet.encode(text)), END) for text in texts]
    states = _states(sequences, size, order)
    start = states.get((END,), 0)  # of order 1 there is only one state
    probs = _counts(sequences, states, size, order)  # row by row they become probabilities
    successors = np.zeros((len(states), size), np.int32)
    for context in sorted(states, key=len):
        state, count, shorter = states[context], probs[states[context]], np.full(size, 1 / size)
        if context:
            shorter = probs[states[context[1:]]]
            # Where a longer context is none of the texts', its oldest label is left away.
            successors[state] = successors[states[context[1:]]]
        for label in np.flatnonzero(count):
            longer = (*context, int(label))
            if longer in states:
                successors[state, label] = states[longer]
        kinds = (count > 0).sum()
        probs[state] = (count + kinds * shorter) / (count.sum() + kinds)
    successors[:, END] = start
    return Automaton(np.log(probs).astype(np.float32), successors, start)


def _states(sequences: Iterable[Context], size: int, order: int) -> dict[Context, int]:
    """Return the number of each context of up to n - 1 labels, before any table is made."""
    states: dict[Context, int] = {(): 0}
    for labels in sequences:
        for i, n in _ends(labels, order):
            states.setdefault(labels[i - n : i], len(states))
        if len(states) * size > MOST_ENTRIES:
            raise InputError(
                f"character_ngram: {len(states):,} contexts or more of {size:,} labels each need "
                f"tables of {len(states) * size:,} entries, at most {MOST_ENTRIES:,} are "
                f"made; lower --ngram-order, now {order}"
            )
    return states


def _counts(
    sequences: Iterable[Context], states: Mapping[Context, int], size: int, order: int
) -> NDArray[np.float64]:
    """Return how often each label follows each context, `[S, V]`."""
    counts = np.zeros((len(states), size))
    for labels in sequences:
        for i, n in _ends(labels, order):
            counts[states[labels[i - n : i]], labels[i]] += 1
    return counts


def _ends(labels: Context, order: int) -> Iterator[tuple[int, int]]:
    """Yield where each context of a text ends, and its length."""
    return ((i, n) for i in range(1, len(labels)) for n in range(min(order, i + 1)))
