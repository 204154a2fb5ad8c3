"""Four-voice chorales by rule: chord progressions in a key, voiced with small steps.

    degree_t  ~ P(. | degree_{t-1}, place in the phrase)       a Markov chain with cadences
    voicing_t ~ exp(-cost(voicing_{t-1}, voicing_t) / τ)       among the chord's voicings

A piece is in one of 24 keys and has 3 to 6 phrases of 8 frames; a phrase ends in a
dominant and then the tonic (now and then, but not at the end, the submediant). A voicing
puts soprano, alto, tenor and bass on notes of the chord: in their ranges, without
crossing, no two upper voices more than an octave apart, all three notes there, root or
third in the bass. It costs the semitones that the voices move, more for a third in the
bass, and no two voices may move in parallel fifths or octaves.

Since every choice has a known probability, so has every key of the next frame: that is
what a model of these pieces can be compared with.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS, Roll

PHRASE_FRAMES = 8
# Tonic, supertonic, subdominant, dominant, submediant: semitones above the tonic.
CHORDS = {
    "major": ((0, 4, 7), (2, 5, 9), (5, 9, 0), (7, 11, 2), (9, 0, 4)),
    "minor": ((0, 3, 7), (2, 5, 8), (5, 8, 0), (7, 11, 2), (8, 0, 3)),
}
TONIC, DOMINANT, SUBMEDIANT = 0, 3, 4
TRANSITIONS = np.array(
    [
        [0.15, 0.20, 0.30, 0.20, 0.15],
        [0.05, 0.15, 0.00, 0.80, 0.00],
        [0.20, 0.25, 0.15, 0.40, 0.00],
        [0.55, 0.00, 0.05, 0.15, 0.25],
        [0.05, 0.40, 0.40, 0.10, 0.05],
    ]
)
RANGES = ((41, 60), (48, 67), (55, 74), (60, 79))  # bass, tenor, alto, soprano
INVERSION_COST = 3.0
TEMPERATURE = 1.5  # τ


class Chorale(NamedTuple):
    """A piece and what was to be expected of it."""

    roll: Roll  # [T, 88]
    marginals: NDArray[np.float64]  # [T, 88], the probability of each key before it was drawn


class Voicings(NamedTuple):
    """All voicings of all chords of a key, those of one chord side by side."""

    notes: NDArray[np.int64]  # [N, 4], bass to soprano, as MIDI numbers
    degree: NDArray[np.int64]  # [N]
    cost: NDArray[np.float64]  # [N], of the voicing by itself


def compose_chorales(count: int, seed: int) -> list[Chorale]:
    """Return `count` chorales, each drawn from the seed and its own number."""
    keys = {(t, mode): list_voicings(t, mode) for t in range(12) for mode in CHORDS}
    return [compose(np.random.default_rng((seed, i)), keys) for i in range(count)]


def compose(rng: np.random.Generator, keys: Mapping[tuple[int, str], Voicings]) -> Chorale:
    """Return one chorale in one of the keys, given by tonic and mode."""
    mode = "major" if rng.random() < 0.6 else "minor"
    voicings = keys[int(rng.integers(12)), mode]
    num_frames = PHRASE_FRAMES * int(rng.integers(3, 7))
    roll = np.zeros((num_frames, NUM_KEYS), np.uint8)
    marginals = np.zeros((num_frames, NUM_KEYS))
    chosen = None
    for t in range(num_frames):
        p = next_probabilities(voicings, chosen, t, num_frames)
        marginals[t] = key_marginals(voicings, p)
        chosen = int(rng.choice(len(p), p=p))
        roll[t, voicings.notes[chosen] - LOWEST_NOTE] = 1
    return Chorale(roll, marginals)


def next_probabilities(
    voicings: Voicings, before: int | None, t: int, num_frames: int
) -> NDArray[np.float64]:
    """Return the probability `[N]` of each voicing of a key in frame t, counted from 0.

    `before` is the place among them of the one in frame t - 1, None at the beginning. The last
    chord, in frame `num_frames` - 1, is always the tonic.
    """
    degree = None if before is None else int(voicings.degree[before])
    cost = voicings.cost
    allowed = np.ones(len(cost), bool)
    if before is not None:
        held = voicings.notes[before]
        cost = cost + np.abs(voicings.notes - held).sum(axis=1)
        allowed = ~moves_in_parallel(held, voicings.notes)
    weights = np.exp(-cost / TEMPERATURE) * allowed
    p = np.zeros(len(cost))
    for d, share in enumerate(degree_probabilities(degree, t, num_frames)):
        mine = voicings.degree == d
        if share > 0.0:
            total = weights[mine].sum()
            # A chord that can only be reached in parallels is reached in parallels.
            w = weights[mine] / total if total > 0.0 else np.full(mine.sum(), 1.0 / mine.sum())
            p[mine] = share * w
    return p / p.sum()


def degree_probabilities(degree: int | None, t: int, num_frames: int) -> NDArray[np.float64]:
    """Return the probability `[5]` of each degree in frame t after `degree`."""
    one_hot = np.eye(len(TRANSITIONS))
    place = t % PHRASE_FRAMES
    if degree is None or t == num_frames - 1:
        return one_hot[TONIC]
    if place == PHRASE_FRAMES - 1:
        return 0.8 * one_hot[TONIC] + 0.2 * one_hot[SUBMEDIANT]
    if place == PHRASE_FRAMES - 2:
        return one_hot[DOMINANT]
    return TRANSITIONS[degree]


def key_marginals(voicings: Voicings, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability `[88]` that each key sounds, of voicings' `[N]`."""
    total = np.zeros(NUM_KEYS)
    np.add.at(total, voicings.notes - LOWEST_NOTE, p[:, None])
    return np.clip(total, 0.0, 1.0)  # a certain key may come to 1 + 2e-16


def moves_in_parallel(held: NDArray[np.int64], notes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for voicings `[N, 4]` whether two voices get there in parallel from `held` `[4]`.

    In parallel: both move, and are a fifth or an octave (or several) apart before and
    the same interval after.
    """
    found = np.zeros(len(notes), bool)
    moved = notes != held
    for low, high in itertools.combinations(range(len(held)), 2):
        interval = held[high] - held[low]
        if interval % 12 in (0, 7):
            same = notes[:, high] - notes[:, low] == interval
            found |= same & moved[:, low] & moved[:, high]
    return found


def list_voicings(tonic: int, mode: str) -> Voicings:
    """Return the voicings of a key's chords.

    The tonic is a pitch class, 0 for C; the mode is "major" or "minor".
    """
    notes, degrees, costs = [], [], []
    for degree, chord in enumerate(CHORDS[mode]):
        classes = [(tonic + step) % 12 for step in chord]
        choices = [
            [note for note in range(low, high + 1) if note % 12 in classes] for low, high in RANGES
        ]
        for voicing in itertools.product(*choices):
            bass, tenor, alto, soprano = voicing
            if (
                bass < tenor < alto < soprano
                and max(soprano - alto, alto - tenor) <= 12
                and bass % 12 != classes[2]
                and {note % 12 for note in voicing} == set(classes)
            ):
                notes.append(voicing)
                degrees.append(degree)
                costs.append(0.0 if bass % 12 == classes[0] else INVERSION_COST)
    return Voicings(np.array(notes), np.array(degrees), np.array(costs))
