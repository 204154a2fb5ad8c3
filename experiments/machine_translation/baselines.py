"""What a sceptic would ask for first: translations without any network.

| name | how |
|---|---|
| nearest neighbour | the translation of the training sentence that is most alike |
| word by word | each word's most probable translation by IBM model 1, in the source's order |
| dateutil | dates: python-dateutil's parser, written by hand over many years |

References:
  IBM model 1: Brown et al. 1993, "The Mathematics of Statistical Machine Translation",
  section 4.2.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from dateutil import parser as dateutil_parser
from scipy import sparse

from experiments.machine_translation.data import Corpus
from experiments.machine_translation.lines import Pairs, normalise

# Pairs of words that word by word learns from: 1.8 GB. Multi30k has 5.2 million of them.
MOST_LINKS = 20_000_000
Terms = Callable[[str], list[str]]
Baseline = Callable[[Pairs, Sequence[str]], list[str]]  # (train, sources) -> translations


def baselines_of(corpus: Corpus) -> dict[str, Baseline]:
    """Return the baselines that make sense for a corpus, by name."""
    if corpus.name == "dates":
        return {
            "nearest neighbour": lambda train, lines: nearest(train, lines, trigrams),
            "dateutil": lambda train, lines: [parsed_date(line) for line in lines],
        }
    return {
        "nearest neighbour": lambda train, lines: nearest(train, lines, words),
        "word by word": word_by_word,
    }


def words(line: str) -> list[str]:
    """Return words and punctuation marks, lower-cased."""
    return re.findall(r"\w+|[^\w\s]", normalise(line))


def trigrams(line: str) -> list[str]:
    """Return all runs of three characters, the ends marked."""
    text = f"^{normalise(line)}$"
    return [text[i : i + 3] for i in range(len(text) - 2)]


class _Conventions(dateutil_parser.parserinfo):
    """The task's own meaning of two-digit years; dateutil's moves with today's date."""

    def convertyear(self, year: int, century_specified: bool = False) -> int:
        if century_specified or year >= 100:
            return year
        return year + (1900 if year >= 50 else 2000)


def parsed_date(line: str) -> str:
    """Return what python-dateutil reads in a line as ISO 8601; nothing if it cannot.

    It is told the task's conventions, and fills what it does not find with ones.
    """
    try:
        date = dateutil_parser.parse(
            line,
            parserinfo=_Conventions(),
            dayfirst="." in line,
            fuzzy=True,
            default=datetime.datetime(1, 1, 1),
        )
    except (ValueError, OverflowError):
        return ""
    return date.date().isoformat()


def nearest(train: Pairs, lines: Sequence[str], terms: Terms) -> list[str]:
    """Return for each line the translation of the most similar training source.

    Similar by the cosine of terms weighted by their rarity (tf-idf); of equals the first.
    """
    id_of = _numbered(term for line in train.sources for term in terms(line))
    known = _counts(train.sources, terms, id_of)
    seen_in = np.bincount(known.indices, minlength=len(id_of))
    rarity = np.log(len(train) / seen_in)
    asked = _counts(lines, terms, id_of)
    known, asked = (_unit_rows(counts.multiply(rarity).tocsr()) for counts in (known, asked))
    best = [int(np.asarray((asked[i] @ known.T).todense()).argmax()) for i in range(len(lines))]
    return [train.targets[i] for i in best]


def _numbered(terms: Iterable[str]) -> dict[str, int]:
    """Return a number for each term, in the order of their first appearance."""
    return {term: i for i, term in enumerate(dict.fromkeys(terms))}


def _counts(lines: Sequence[str], terms: Terms, id_of: dict[str, int]) -> Any:
    """Return how often each known term is in each line, `[lines, terms]`."""
    found = [(row, id_of[t]) for row, line in enumerate(lines) for t in terms(line) if t in id_of]
    rows, columns = np.array(found, np.int64).reshape(-1, 2).T
    ones = np.ones(len(found))  # those of one place are added up
    return sparse.csr_matrix((ones, (rows, columns)), shape=(len(lines), len(id_of)))


def _unit_rows(matrix: Any) -> Any:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))[:, 0])
    return (sparse.diags(1.0 / np.maximum(norms, 1e-12)) @ matrix).tocsr()


def word_by_word(train: Pairs, lines: Sequence[str], most_links: int = MOST_LINKS) -> list[str]:
    """Return each line with its words replaced by their most probable translations.

    A word that the training sources lack stays as it is; one that most likely
    translates to nothing is not known to this model, and gives its best word. Of a text of
    more than `most_links` pairs of words, only the first lines are learned from.
    """
    sources, targets = [words(s) for s in train.sources], [words(t) for t in train.targets]
    links = np.cumsum([len(s) * len(t) for s, t in zip(sources, targets, strict=True)])
    number = max(1, int(np.searchsorted(links, most_links, side="right")))
    best = best_translations(sources[:number], targets[:number])
    return [" ".join(best.get(word, word) for word in words(line)) for line in lines]


def best_translations(
    sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], rounds: int = 5
) -> dict[str, str]:
    """Return for each source word f the target word e of the largest t(e | f).

        c(e, f) = Σ over pairs, over e and f in it, of t(e | f) / Σ_f' t(e | f')
        t(e | f) = c(e, f) / Σ_e' c(e', f)

    from equal t on, `rounds` times: expectation maximisation for IBM model 1, without the empty
    source word. Entry i of `sources` and entry i of `targets` are the words of one pair.
    """
    f_id = _numbered(word for line in sources for word in line)
    e_id = _numbered(word for line in targets for word in line)
    links, groups, group = [], [], 0  # a link: a source word and a target word of one pair
    for source, target in zip(sources, targets, strict=True):
        f = np.array([f_id[w] for w in source], np.int64)
        e = np.array([e_id[w] for w in target], np.int64)
        links.append((f[:, None] * len(e_id) + e).ravel())
        groups.append(np.broadcast_to(group + np.arange(len(e)), (len(f), len(e))).ravel())
        group += len(e)  # a target word's links share a group
    kinds, link = np.unique(np.concatenate(links), return_inverse=True)
    group_of = np.concatenate(groups)
    f_of, e_of = np.divmod(kinds, len(e_id))
    t = np.ones(len(kinds))
    for _ in range(rounds):
        share = t[link] / np.bincount(group_of, weights=t[link])[group_of]
        count = np.bincount(link, weights=share)
        t = count / np.bincount(f_of, weights=count)[f_of]
    order = np.lexsort((-t, f_of))  # by source word, the most probable first
    first = order[np.unique(f_of[order], return_index=True)[1]]
    names_f, names_e = list(f_id), list(e_id)
    return {names_f[f_of[i]]: names_e[e_of[i]] for i in first}
