"""A bigram model of words, spread over their characters: the same tables as ngrams.py.

A state is the word before and the beginning of this one, a node of the tree of all words:

    p(c | v, node) = p(words through node + c | v) / p(words through node | v)

where a node that is a whole word w shares that word's part between a space and the end of
the text, as p(end | w) says. Then the next word is drawn from p( | w) without the end.
So the product over a text's characters is that of the words' bigrams, exactly.

Words are those of the training texts. Any other spelling goes on letter by letter, each
as probable as the next, after a step that costs ln(1e-4): a word never heard can be
recognised where the sound is clear. A word after such a one follows the unigrams.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.ngrams import END, Automaton

_OTHER_SPELLING = 1e-4

Table = NDArray[np.float64]


def word_bigram(texts: Iterable[str], alphabet: Alphabet, most_entries: int = 10**8) -> Automaton:
    """Return the bigram model of the words of some texts, Witten-Bell smoothed.

    Args:
      texts: what to learn from, words one space apart.
      alphabet: the labels; the space is among them where a text has several words.
      most_entries: of a table `[S, V]`; see `config.py`.

    Raises:
      InputError: there are so many words that the tables would have more.
    """
    sentences = [text.split() for text in texts]
    words = sorted({word for sentence in sentences for word in sentence})
    _check_size(words, alphabet.size, most_entries)
    # Words by number, as they come one after the other; the last number is the end's.
    number = {word: i for i, word in enumerate(words)}
    stream = [n for sentence in sentences for n in (*(number[w] for w in sentence), len(words))]
    bigrams, unigrams = _bigrams(np.array(stream), len(words) + 1)
    spellings = [tuple(map(int, alphabet.encode(word))) for word in words]
    children, through, ends_at = _tree(spellings, alphabet.size)
    num_nodes, size = children.shape
    num_words, space = len(words), alphabet.characters.find(" ") + 1
    whole = np.flatnonzero(ends_at >= 0)  # nodes that are a word
    # Whether a text ends with a word; there is no other way where there are no spaces.
    end = bigrams[ends_at[whole], -1] if space else np.ones(len(whole))
    # Rows of states: words before (the last of these: an unknown one), nodes, `unknown`.
    unknown = (num_words + 2) * num_nodes
    probs = np.full((unknown + 1, size), 1.0 / size)
    successors = np.full((unknown + 1, size), unknown, np.int32)
    for v, of_next in enumerate((*bigrams, unigrams)):
        of_words = of_next[:-1] / of_next[:-1].sum()  # the end has been decided on before
        mass = through @ of_words
        here = np.where(children > 0, mass[children], 0.0)
        here[whole, END] = of_words[ends_at[whole]] * end
        first = v * num_nodes
        after = np.where(children > 0, children + first, unknown)
        if space:
            here[whole, space] = of_words[ends_at[whole]] * (1.0 - end)
            # A whole word and a space: the tree's root again, after that word.
            after[whole, space] = ends_at[whole] * num_nodes
        probs[first : first + num_nodes] = here / mass[:, None]
        successors[first : first + num_nodes] = after
    if space:
        successors[unknown, space] = (num_words + 1) * num_nodes
    start = num_words * num_nodes  # after the end of the text before
    successors[:, END] = start
    known = (1.0 - _OTHER_SPELLING) * probs + _OTHER_SPELLING / size
    return Automaton(np.log(known).astype(np.float32), successors, start)


def _check_size(words: Sequence[str], size: int, most_entries: int) -> None:
    """Refuse more words than there is memory for, before any table of them is made.

    The tables of states are the largest, for a tree has more nodes than words.
    """
    num_nodes = len({word[:i] for word in words for i in range(len(word) + 1)})
    entries = (len(words) + 2) * num_nodes * size
    if entries > most_entries:
        raise InputError(
            f"word_bigram: {len(words):,} different words need tables of {entries:,} entries, "
            f"at most {most_entries:,} are made; give --ngram character"
        )


def _bigrams(stream: NDArray[np.int64], size: int) -> tuple[Table, Table]:
    """Return p(to | from) of numbers in a row, `[size, size]`, and p(to), `[size]`."""
    counts = np.zeros((size, size))
    np.add.at(counts, (np.concatenate([[size - 1], stream[:-1]]), stream), 1.0)
    unigrams = _smoothed(counts.sum(axis=0), np.full(size, 1.0 / size))
    return _smoothed(counts, unigrams), unigrams


def _smoothed(counts: Table, shorter: Table) -> Table:
    """Return Witten and Bell's p of counts `[..., N]`, given that of a shorter context `[N]`."""
    kinds = (counts > 0).sum(axis=-1, keepdims=True)
    return (counts + kinds * shorter) / (counts.sum(axis=-1, keepdims=True) + kinds)


def _tree(
    spellings: Sequence[tuple[int, ...]], size: int
) -> tuple[NDArray[np.int32], Table, NDArray[np.int32]]:
    """Return the tree of all words; node 0 is its root.

    Returns:
      The child of each node by each label `[nodes, V]`, 0 where there is none; whether a
      word passes through a node `[nodes, W]`; the word that ends there `[nodes]`, or -1.
    """
    paths = [[spelling[:i] for i in range(len(spelling) + 1)] for spelling in spellings]
    nodes = {prefix: node for node, prefix in enumerate(dict.fromkeys(chain([()], *paths)))}
    children = np.zeros((len(nodes), size), np.int32)
    through = np.zeros((len(nodes), len(spellings)))
    ends_at = np.full(len(nodes), -1, np.int32)
    for prefix, node in nodes.items():
        if prefix:
            children[nodes[prefix[:-1]], prefix[-1]] = node
    for word, path in enumerate(paths):
        through[[nodes[prefix] for prefix in path], word] = 1.0
        ends_at[nodes[path[-1]]] = word
    return children, through, ends_at
