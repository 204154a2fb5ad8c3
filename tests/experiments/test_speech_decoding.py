"""Language models, the searches with them, error rates and baselines."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.speech_recognition import baselines, decode
from experiments.speech_recognition.alphabet import Alphabet
from experiments.speech_recognition.batches import Examples
from experiments.speech_recognition.config import Config
from experiments.speech_recognition.data import prepare
from experiments.speech_recognition.decode import BeamSearch, Fusion, Outputs
from experiments.speech_recognition.features import LogMel
from experiments.speech_recognition.measure import choose_fusion
from experiments.speech_recognition.ngrams import END, character_ngram
from experiments.speech_recognition.scores import cer_interval, score
from experiments.speech_recognition.utterances import Corpus, Segment, Utterance
from experiments.speech_recognition.words import word_bigram
from experiments.text_generation.ngram import witten_bell

TEXTS = ["ON TOP", "ON ON TIP", "TOP", "NO TIP ON TOP", "TOP TIP"]
ALPHABET = Alphabet.of_texts(TEXTS)
WORDS = word_bigram(TEXTS, ALPHABET)
# Compiled at its first use, once for all tests: their logits have one shape. The search without
# a language model is tested where a run has compiled it, in test_speech_train.py.
WITH_WORDS = BeamSearch(ALPHABET, 8, 4, WORDS)
FUSIONS = [Fusion(*pair) for pair in itertools.product((0.2, 0.6, 1.0), (0.0, 1.0))]


def log_prob(model, labels):
    """Return ln p of a whole text, its end counted in."""
    state, total = model.start, 0.0
    for label in (*labels, END):
        total += float(model.log_probs[state, label])
        state = int(model.successors[state, label])
    return total


def labels_of(text):
    return [int(label) for label in ALPHABET.encode(text)]


@pytest.mark.parametrize(
    "model",
    [
        *(character_ngram(TEXTS, ALPHABET, order) for order in (1, 2, 3, 6)),
        word_bigram(TEXTS, ALPHABET),
    ],
)
def test_probabilities_sum_to_one_in_every_state(model):
    np.testing.assert_allclose(np.exp(model.log_probs).sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(model.log_probs).all()
    assert ((model.successors >= 0) & (model.successors < len(model.log_probs))).all()
    assert (model.successors[:, END] == model.start).all()


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_a_character_model_is_the_text_models_smoothing(order):
    """A text by the recursion of the docstring, counted anew at each position."""
    text = "ON TOP TIP ON NO TOP ON TIP"
    train = np.array([END, *labels_of(text), END])
    model = character_ngram([text], ALPHABET, order)
    state, found = model.start, []
    for label in train[1:]:
        found.append(model.log_probs[state, label])
        state = model.successors[state, label]
    expected = np.array([_by_hand(train, i, order, ALPHABET.size) for i in range(1, len(train))])
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-5)


def _by_hand(train, i, order, size):
    """The recursion of the docstring, counted anew for one position."""
    p = 1.0 / size
    for n in range(min(order, i + 1)):
        context = tuple(train[i - n : i])
        after = [
            train[j] for j in range(1, len(train)) if j >= n and tuple(train[j - n : j]) == context
        ]
        p = (after.count(train[i]) + len(set(after)) * p) / (len(after) + len(set(after)))
    return p


def test_the_two_experiments_smooth_alike():
    rng = np.random.default_rng(0)
    train, valid = rng.integers(1, 4, 200), rng.integers(1, 4, 20)
    theirs = witten_bell(train, valid, 3, 4)[-1]
    both = np.concatenate([train, valid])
    # Their text has no ends, so that the last position is counted without one.
    mine = [_by_hand_of_stream(train, both, 200 + i, 3, 4) for i in range(20)]
    np.testing.assert_allclose(theirs, mine, rtol=1e-9)


def _by_hand_of_stream(train, both, i, order, size):
    p = 1.0 / size
    for n in range(order):
        context = tuple(both[i - n : i])
        after = [train[j] for j in range(n, len(train)) if tuple(train[j - n : j]) == context]
        if after:
            p = (after.count(both[i]) + len(set(after)) * p) / (len(after) + len(set(after)))
    return p


def test_a_word_model_is_the_product_of_its_bigrams():
    model = word_bigram(TEXTS, ALPHABET)
    words = sorted({word for text in TEXTS for word in text.split()})
    sentences = [["|", *text.split(), "|"] for text in TEXTS]
    unigram = [w for s in sentences for w in s[1:]]

    def p(word, before):
        size, kinds = len(words) + 1, len(set(unigram))
        low = (unigram.count(word) + kinds / size) / (len(unigram) + kinds)
        after = [b for s in sentences for a, b in itertools.pairwise(s) if a == before]
        return (after.count(word) + len(set(after)) * low) / (len(after) + len(set(after)))

    for text in (*TEXTS, "TIP NO NO"):
        total, before = 0.0, "|"
        for word in text.split():
            # Whether the text ends is decided at the end of the word before.
            total += math.log(p(word, before))
            if before == "|":
                total -= math.log(1 - p("|", "|"))
            before = word
        total += math.log(p("|", before))
        # An ε of other spellings is taken from each character.
        found = log_prob(model, labels_of(text))
        np.testing.assert_allclose(found, total, atol=1e-3 * (len(text) + 1))


def test_a_word_never_heard_can_be_spelled():
    model = word_bigram(TEXTS, ALPHABET)
    known, unknown = (log_prob(model, labels_of(text)) for text in ("ON TIP ON", "ON PIT ON"))
    assert np.isfinite(unknown)
    assert unknown < known - 5
    # And what follows it are words again.
    again = log_prob(model, labels_of("ON PIT ON TOP")) - unknown
    assert again > log_prob(model, labels_of("ON PIT ON OTP")) - unknown


def test_the_most_probable_text_is_that_of_all():
    for model in (character_ngram(TEXTS, ALPHABET, 3), word_bigram(TEXTS, ALPHABET)):
        for length in (1, 2, 3, 4):
            every = itertools.product(range(1, ALPHABET.size), repeat=length)
            best = max(every, key=partial(log_prob, model))
            np.testing.assert_allclose(
                log_prob(model, model.most_probable(length)), log_prob(model, best), rtol=1e-5
            )


def outputs_for(paths, strength, seed=0):
    """Logits that favour given alignments, all of one shape: they are compiled for once."""
    size = 30
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 0.1, (size, len(paths), ALPHABET.size)).astype(np.float32)
    for row, path in enumerate(paths):
        for step, label in enumerate(path):
            logits[step, row, label] += strength
    return Outputs(logits, np.array([len(path) for path in paths], np.int32))


def spaced(text):
    """An alignment with a blank after each character."""
    return [label for c in labels_of(text) for label in (c, 0)]


def test_clear_logits_are_read_alike_by_all():
    texts = ["ON TOP", "TIP", "NO ON TIP", "PIN"]  # the last is no word of theirs
    outputs = outputs_for([spaced(text) for text in texts], 9.0)
    assert decode.greedy(outputs, ALPHABET, 4) == texts
    assert WITH_WORDS(outputs, Fusion(0.1, 0.0)) == texts


def test_a_language_model_settles_what_is_not_clear():
    paths = [spaced("ON TOP"), spaced("TIP")]
    outputs = outputs_for(paths, 9.0)
    # The P of TOP, and of TIP, sounds a little more like an N.
    p, n = labels_of("PN")
    outputs.logits[10, 0, n] = outputs.logits[10, 0, p] + 0.5
    outputs.logits[4, 1, n] = outputs.logits[4, 1, p] + 0.5
    assert decode.greedy(outputs, ALPHABET, 4) == ["ON TON", "TIN"]
    assert WITH_WORDS(outputs, Fusion(1.0, 0.0)) == ["ON TOP", "TIP"]
    assert WITH_WORDS(outputs, Fusion(0.0, 0.0)) == ["ON TON", "TIN"]
    chosen = choose_fusion(WITH_WORDS, outputs, ["ON TOP", "TIP"], FUSIONS)
    assert WITH_WORDS(outputs, chosen) == ["ON TOP", "TIP"]


def test_more_rows_than_run_side_by_side_stay_in_order():
    texts = [TEXTS[i % 5] for i in range(7)]
    outputs = outputs_for([spaced(text) for text in texts], 9.0)
    assert decode.greedy(outputs, ALPHABET, 4) == texts


def test_error_rates_are_those_counted_by_hand():
    found = score(["A B C", "D E"], ["A X C", "D E"])
    assert found == (1 / 8, 1 / 5, 1 / 2)
    assert score(["AB"], [""]) == (1.0, 1.0, 1.0)
    assert score(["AB"], ["AB"]) == (0.0, 0.0, 0.0)
    # Not the mean over utterances: symbols are counted together.
    assert score(["A", "BBBB"], ["B", "BBBB"]).cer == 1 / 5


def test_an_interval_is_as_wide_as_chance_makes_it():
    # 400 characters, each an utterance, a quarter of them wrong: a binomial.
    found = cer_interval(["A"] * 400, ["B"] * 100 + ["A"] * 300)
    width = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    np.testing.assert_allclose(found, [0.25 - width, 0.25 + width], atol=0.006)
    assert cer_interval(["AB", "C"], ["", ""]) == (1.0, 1.0)
    assert cer_interval(["AB", "C"], ["AB", "C"]) == (0.0, 0.0)
    # One error in one character, or in four, or none: by the character, not by the utterance.
    assert cer_interval(["A", "BBB"], ["B", "BBB"], share=0.2) == (0.25, 0.25)


def test_baselines_give_the_most_frequent_text_and_the_models_own_of_the_right_length():
    def part(texts):
        return [Utterance(text, "s", text, np.ones(2000, np.float32)) for text in texts]

    train, test = part(["TIP"] * 9 + ["ON"]), part(["NNN", "PP", "PPP"])
    corpus = Corpus("tiny", "none", 8000, train, test, test, "")
    config = Config(num_bands=8, ngram_order=4)
    assert baselines.guess(prepare(corpus, config), 8) == {
        "most frequent transcript": ["TIP", "TIP", "TIP"],
        "n-gram's best text of the right length": ["TIP", "ON", "TIP"],
    }


@given(st.integers(0, 2**32 - 1))
def test_templates_read_what_they_averaged(seed):
    spectrogram = LogMel(8000, num_bands=4)
    rng = np.random.default_rng(seed)
    spectra = {"": np.zeros(4), "1": np.array([3.0, 0, 0, 0]), "2": np.array([0, 3.0, 0, 0])}

    def spoken(text):
        runs = [label for digit in text for label in ("", digit)] + [""]
        frames = [np.tile(spectra[label], (10, 1)) for label in runs]
        noisy = np.concatenate(frames) + rng.normal(0.0, 0.1, (10 * len(runs), 4))
        segments = tuple(
            # Frames are 80 samples apart and as long as 200.
            Segment(800 * i + 100, 800 * (i + 1) + 100, label)
            for i, label in enumerate(runs)
            if label
        )
        return Utterance(text, "s", text, np.zeros(0, np.float32), segments), noisy

    def said(*texts):
        utterances, frames = zip(*map(spoken, texts), strict=True)
        return Examples(utterances, [], [frames], np.ones((1, len(texts)), bool))

    valid = said("1221")
    frames = valid.as_spoken[0]
    frames[3] = spectra["2"]  # a click
    templates = baselines.Templates(spectrogram, said("12", "21"), valid)
    for label, mean in zip(templates.labels, templates.means, strict=True):
        np.testing.assert_allclose(mean, spectra[label], atol=0.15)
    assert templates.shortest > 1
    assert templates.read(frames) == "1221"
