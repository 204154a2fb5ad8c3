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

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.ngrams import END, MOST_ENTRIES, Automaton

_OTHER_SPELLING = 1e-4

Table = NDArray[np.float64]


def word_bigram(texts: Iterable[str], alphabet: Alphabet) -> Automaton:
    """Return the bigram model of the words of some texts, Witten-Bell smoothed.

    Args:
      texts: what to learn from, words one space apart.
      alphabet: the labels; the space is among them where a text has several words.

    Raises:
      InputError: there are so many words that the tables would fill the memory.
    """
    sentences = [text.split() for text in texts]
    words = sorted({word for sentence in sentences for word in sentence})
    _check_size(words, alphabet.size)
    bigrams = _bigrams(sentences, words)  # [W + 1, W + 1]: from and to; the last is the end
    spellings = [list(map(int, alphabet.encode(word))) for word in words]
    children, through, ends_at = _tree(spellings, alphabet.size)
    num_nodes, size = children.shape
    num_words, space = len(words), alphabet.characters.find(" ") + 1
    # Rows of states: words before (the last of these: an unknown one), nodes, `unknown`.
    unknown = (num_words + 2) * num_nodes
    unigrams = _share(np.bincount(_number_words(sentences, words), minlength=num_words + 1))
    before = np.concatenate([bigrams, unigrams[None]])
    probs = np.full((unknown + 1, size), 1.0 / size)
    successors = np.full((unknown + 1, size), unknown, np.int32)
    for v in range(num_words + 2):
        rows = slice(v * num_nodes, (v + 1) * num_nodes)
        probs[rows] = _spread(before[v, :num_words], bigrams, children, through, ends_at, space)
        successors[rows] = np.where(children > 0, children + v * num_nodes, unknown)
        if space:
            # A whole word and a space: the tree's root again, after that word.
            at_end = np.flatnonzero(ends_at >= 0)
            successors[rows][at_end, space] = ends_at[at_end] * num_nodes
    if space:
        successors[unknown, space] = (num_words + 1) * num_nodes
    start = num_words * num_nodes  # after the end of the text before
    successors[:, END] = start
    known = (1.0 - _OTHER_SPELLING) * probs + _OTHER_SPELLING / size
    return Automaton(np.log(known).astype(np.float32), successors, start)


def _check_size(words: Sequence[str], size: int) -> None:
    """Refuse more words than there is memory for, before any table of them is made.

    The tables of states are the largest: a tree has more nodes than words, so that there
    are fewer entries in `_bigrams`, and in `_tree`, than states.
    """
    num_nodes = len({word[:i] for word in words for i in range(len(word) + 1)})
    entries = (len(words) + 2) * num_nodes * size
    if entries > MOST_ENTRIES:
        raise InputError(
            f"word_bigram: {len(words):,} different words need tables of {entries:,} entries, "
            f"at most {MOST_ENTRIES:,} are made; give --ngram character"
        )


def _number_words(sentences: Sequence[Sequence[str]], words: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of every word, and after each sentence the end's."""
    number = {word: i for i, word in enumerate(words)}
    return np.array(
        [n for sentence in sentences for n in (*(number[w] for w in sentence), len(words))]
    )


def _bigrams(sentences: Sequence[Sequence[str]], words: Sequence[str]) -> Table:
    """Return p(to | from), `[W + 1, W + 1]`, the end of a text being the last word."""
    to = _number_words(sentences, words)
    before = np.concatenate([[len(words)], to[:-1]])
    counts = np.zeros((len(words) + 1,) * 2)
    np.add.at(counts, (before, to), 1.0)
    kinds = (counts > 0).sum(axis=1, keepdims=True)
    return (counts + kinds * _share(counts.sum(axis=0))) / (
        counts.sum(axis=1, keepdims=True) + kinds
    )


def _share(counts: NDArray[np.number]) -> Table:
    """Return unigram probabilities, smoothed by the uniform distribution."""
    kinds = (counts > 0).sum()
    return (counts + kinds / len(counts)) / (counts.sum() + kinds)


def _tree(
    spellings: Sequence[Sequence[int]], size: int
) -> tuple[NDArray[np.int32], Table, NDArray[np.int32]]:
    """Return the tree of all words; node 0 is its root.

    Returns:
      The child of each node by each label `[nodes, V]`, 0 where there is none; whether a
      word passes through a node `[nodes, W]`; the word that ends there `[nodes]`, or -1.
    """
    nodes: dict[tuple[int, ...], int] = {(): 0}
    for spelling in spellings:
        for i in range(len(spelling)):
            nodes.setdefault(tuple(spelling[: i + 1]), len(nodes))
    children = np.zeros((len(nodes), size), np.int32)
    through = np.zeros((len(nodes), len(spellings)))
    ends_at = np.full(len(nodes), -1, np.int32)
    for prefix, node in nodes.items():
        if prefix:
            children[nodes[prefix[:-1]], prefix[-1]] = node
    for word, spelling in enumerate(spellings):
        for i in range(len(spelling) + 1):
            through[nodes[tuple(spelling[:i])], word] = 1.0
        ends_at[nodes[tuple(spelling)]] = word
    return children, through, ends_at


def _spread(
    of_words: Table,
    bigrams: Table,
    children: NDArray[np.int32],
    through: Table,
    ends_at: NDArray[np.int32],
    space: int,
) -> Table:
    """Return p(label | node) `[nodes, V]` after one word, given p(word | that word) `[W]`."""
    mass = through @ (of_words / of_words.sum())  # the end has been decided on before
    probs = np.where(children > 0, mass[children], 0.0)
    whole = np.flatnonzero(ends_at >= 0)
    word = ends_at[whole]
    here = (of_words / of_words.sum())[word]
    end = bigrams[word, -1] if space else np.ones(len(word))
    probs[whole, END] = here * end
    if space:
        probs[whole, space] = here * (1.0 - end)
    return probs / mass[:, None]
