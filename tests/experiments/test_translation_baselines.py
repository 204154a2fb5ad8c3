"""Translations without a network, and the figures they are compared by."""

import numpy as np
import pytest
import sacrebleu

from experiments.machine_translation.baselines import (
    best_translations,
    nearest,
    parsed_date,
    trigrams,
    word_by_word,
    words,
)
from experiments.machine_translation.evaluate import bleu, exact_matches, score_lines
from experiments.machine_translation.lines import Pairs

TRAIN = Pairs(
    ["The house.", "the book", "a book", "a small house"],
    ["das Haus .", "das Buch", "ein Buch", "ein kleines Haus"],
)


def test_bleu_is_sacrebleus_with_its_signature():
    ours = ["ein mann geht , sagt er.", "zwei hunde laufen im schnee herum."]
    references = ["Ein Mann geht, sagt er.", "Zwei Hunde laufen im Schnee."]
    score = bleu(ours, references)
    assert score.value == sacrebleu.corpus_bleu(ours, [references], lowercase=True).score
    assert 50 < score.value < 100
    assert "penalty 1.000, 1.077 of the length" in score.details  # 14 tokens for 13
    for part in ("sacrebleu nrefs:1", "case:lc", "tok:13a", "smooth:exp", "version:"):
        assert part in score.signature
    assert bleu(references, references).value == pytest.approx(100.0)
    # the tokeniser parts the comma from its word, the reference's case is of no account
    assert bleu(ours[:1], references[:1]).value == pytest.approx(100.0)


def test_bleu_takes_empty_lines_on_either_side():
    assert bleu(["", "ein hund läuft im schnee"], ["x", "ein Hund läuft im Schnee"]).value > 50
    assert np.isfinite(bleu(["a", "b c d e"], ["", "b c d e"]).value)


def test_exact_matches_do_not_mind_case_and_spaces():
    score = score_lines("dates", ["2001-01-02", "a  b", "c"], ["2001-01-02", "A b", "d"])
    assert score == exact_matches(["x", "y", "z"], ["x", "y", "w"])
    assert score.value == pytest.approx(200 / 3)
    for lines in ([], ["a", "b"]):
        with pytest.raises(ValueError, match="as many hypotheses as references"):
            score_lines("multi30k", lines, ["a"] * (len(lines) // 2))


def test_model_1_against_plain_loops():
    sources, targets = [words(s) for s in TRAIN.sources], [words(t) for t in TRAIN.targets]
    pairs = list(zip(sources, targets, strict=True))
    t = {(e, f): 1.0 for source, target in pairs for f in source for e in target}
    for _ in range(5):
        count, total = dict.fromkeys(t, 0.0), {}
        for source, target in pairs:
            for e in target:
                norm = sum(t[e, f] for f in source)
                for f in source:
                    count[e, f] += t[e, f] / norm
                    total[f] = total.get(f, 0.0) + t[e, f] / norm
        t = {(e, f): c / total[f] for (e, f), c in count.items()}
    best = best_translations(sources, targets)
    for f, e in best.items():
        assert t[e, f] == pytest.approx(max(p for (_, g), p in t.items() if g == f))
    assert (best["the"], best["book"], best["house"]) == ("das", "buch", "haus")
    assert word_by_word(TRAIN, ["A Book!", ""]) == ["ein buch !", ""]


def test_the_nearest_neighbour():
    assert nearest(TRAIN, ["one small thing", "THE BOOK"], words) == [
        "ein kleines Haus",
        "das Buch",
    ]
    assert nearest(TRAIN, ["boook"], trigrams) == ["ein Buch"]  # the shorter of two
    assert nearest(TRAIN, ["zzz"], words) == ["das Haus ."]  # like nothing: the first


def test_what_dateutil_reads():
    assert parsed_date("wed 3 mar 87") == "1987-03-03"
    assert parsed_date("03.04.49") == "2049-04-03"
    assert parsed_date("03/04/50") == "1950-03-04"
    assert parsed_date("nothing at all") == ""
    # what is missing does not come from today's date
    assert parsed_date("the third of march, nineteen eighty-seven").startswith("0001-03")
