"""Rolls, generated chorales, splits, windows and batches."""

import dataclasses
import itertools
import os

import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.music_generation.batches import batch_at, make_plan
from experiments.music_generation.chorales import (
    CHORDS,
    PHRASE_FRAMES,
    RANGES,
    compose_chorales,
    degree_probabilities,
    key_marginals,
    list_voicings,
    moves_in_parallel,
    next_probabilities,
)
from experiments.music_generation.config import Config
from experiments.music_generation.data import load
from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS, transposable, transpose
from experiments.music_generation.tonality import Key, estimate_key, move_to_c

needs_data = pytest.mark.skipif(
    not os.environ.get("DEEPRNN_DATA"), reason="DEEPRNN_DATA names no folder with the corpora"
)


def roll_of(*frames):
    """A roll of frames given as tuples of MIDI numbers."""
    roll = np.zeros((len(frames), NUM_KEYS), np.uint8)
    for t, notes in enumerate(frames):
        roll[t, np.array(notes, int) - LOWEST_NOTE] = 1
    return roll


def random_pieces(lengths, seed=0):
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        piece = np.zeros((length, NUM_KEYS), np.uint8)
        piece[:, 30:60] = rng.random((length, 30)) < 0.2
        pieces.append(piece)
    return pieces


def test_transposing_moves_every_note_and_loses_none_within_reach():
    roll = roll_of((21, 60), (100,))
    assert transposable(roll, 20) == (0, 8)
    assert transposable(roll, 3) == (0, 3)
    np.testing.assert_array_equal(transpose(roll, 8), roll_of((29, 68), (108,)))
    np.testing.assert_array_equal(transpose(roll_of((60,)), -5), roll_of((55,)))
    np.testing.assert_array_equal(transpose(roll, 0), roll)
    assert transposable(np.zeros((3, NUM_KEYS), np.uint8), 5) == (0, 0)


@pytest.fixture(scope="module")
def chorales():
    return compose_chorales(6, seed=3)


def test_chorales_keep_the_rules(chorales):
    for roll, _ in chorales:
        assert len(roll) % PHRASE_FRAMES == 0
        frames = [LOWEST_NOTE + np.flatnonzero(frame) for frame in roll]
        scales = [
            (tonic, mode)
            for tonic, mode in itertools.product(range(12), CHORDS)
            if all(_is_chord(notes, tonic, mode) for notes in frames)
        ]
        assert scales, "no key in which every frame is one of its chords"
        for notes in frames:
            assert len(notes) == 4
            for note, (low, high) in zip(notes, RANGES, strict=True):
                assert low <= note <= high
        tonic = {(t + s) % 12 for t, m in scales for s in CHORDS[m][0]}
        assert {int(n) % 12 for n in frames[-1]} <= tonic


def _is_chord(notes, tonic, mode):
    classes = {int(note) % 12 for note in notes}
    return any({(tonic + step) % 12 for step in chord} == classes for chord in CHORDS[mode])


def test_parallels_by_hand():
    held = np.array([48, 55, 64, 72])  # a fifth and an octave above the bass
    notes = np.array(
        [
            [50, 57, 65, 74],  # both kept, all move: parallel
            [48, 55, 65, 74],  # neither bass nor tenor moves
            [50, 55, 66, 69],  # the tenor stays, the soprano leaves the octave
            [47, 55, 62, 71],  # bass and soprano fall a semitone in octaves
        ]
    )
    np.testing.assert_array_equal(moves_in_parallel(held, notes), [True, False, False, True])


def test_probabilities_of_the_rules_are_those_of_many_draws():
    """The marginals that the oracle knows, against draws from the same place."""
    voicings = list_voicings(0, "major")
    before = int(np.flatnonzero(voicings.degree == 0)[10])
    p = next_probabilities(voicings, before, 3, 32)
    np.testing.assert_allclose(p.sum(), 1.0)
    np.testing.assert_allclose(
        [p[voicings.degree == d].sum() for d in range(5)], degree_probabilities(0, 3, 32)
    )
    draws = np.random.default_rng(0).choice(len(p), size=4000, p=p)
    rolls = np.zeros(NUM_KEYS)
    for notes in voicings.notes[draws]:
        rolls[notes - LOWEST_NOTE] += 1 / 4000
    np.testing.assert_allclose(key_marginals(voicings, p), rolls, atol=0.04)


def test_chorales_are_the_same_every_time(chorales):
    again = compose_chorales(6, seed=3)
    assert all((a.roll == b.roll).all() for a, b in zip(chorales, again, strict=True))
    assert not np.array_equal(compose_chorales(1, seed=1)[0].roll, chorales[0].roll)


def test_generated_splits_are_disjoint():
    data = load(Config(data="chorales"))
    keys = [piece.tobytes() for split in (data.train, data.valid, data.test) for piece in split]
    assert len(keys) == len(set(keys)) == 224
    other = dataclasses.replace(data, train=data.train[:-1], valid=data.train[-1:] + data.valid)
    assert data.digest == dataclasses.replace(data, name="again").digest != other.digest


@needs_data
def test_the_published_chorales_are_an_octave_high_and_the_tunes_are_not():
    for name, octaves in (("jsb", 1), ("nottingham", 0)):
        data = load(Config(data=name))
        keys = np.concatenate([np.nonzero(roll)[1] for roll in data.train])
        # Four voices sing, and a fiddle with chords plays, around the C in the middle.
        assert round((keys.mean() + LOWEST_NOTE - 60) / 12) == octaves == data.octaves


@needs_data
@pytest.mark.parametrize(
    ("name", "counts", "frames"),
    [("jsb", (229, 76, 77), (13807, 4602, 4725)), ("nottingham", (694, 173, 170), None)],
)
def test_published_splits(name, counts, frames):
    data = load(Config(data=name))
    splits = (data.train, data.valid, data.test)
    assert tuple(map(len, splits)) == counts
    if frames:
        assert tuple(sum(map(len, split)) for split in splits) == frames
    keys = [{piece.tobytes() for piece in split} for split in splits]
    # Nottingham's two tunes that the source itself has in the training split and another.
    assert len(keys[0] & (keys[1] | keys[2])) == (0 if name == "jsb" else 2)


def test_an_unknown_corpus_is_refused():
    expected = "must be chorales, jsb or nottingham, or a folder of MIDI files, got 'abba'"
    with pytest.raises(InputError, match=expected):
        load(Config(data="abba"))


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "music").mkdir()
    file = tmp_path / "music" / "JSB_Chorales.mat"
    file.write_bytes(b"MATLAB 5.0 MAT-file, cut")
    with pytest.raises(InputError, match=r"JSB_Chorales.mat has SHA-256 .*expected ac0e.*http"):
        load(Config(data="jsb", data_dir=str(tmp_path)))
    with pytest.raises(InputError, match=r"no .*Nottingham.mat; get it from https"):
        load(Config(data="nottingham", data_dir=str(tmp_path)))


LENGTHS = (9, 12, 40, 17, 30, 33, 90, 25, 61)


def plan_of(pieces, **options):
    small = Config(batch_size=4, crop_frames=32, num_seeds=1, transpose=0)
    return make_plan(pieces, dataclasses.replace(small, **options))


def test_windows_cover_every_piece_and_stay_inside():
    windows = [w for bucket in plan_of(random_pieces(LENGTHS)).buckets for w in bucket.windows]
    for piece, length in enumerate(LENGTHS):
        mine = sorted(w.start for w in windows if w.piece == piece)
        each = {w.length for w in windows if w.piece == piece}
        assert len(each) == 1
        (each,) = each
        assert len(mine) == -(-length // 32)
        assert mine[0] == 0
        assert mine[-1] + each == length
        assert all(b - a <= each for a, b in itertools.pairwise(mine))


def test_buckets_hold_what_fits():
    plan = plan_of(random_pieces(LENGTHS), num_buckets=3)
    assert sum(len(bucket.windows) for bucket in plan.buckets) == 14
    for low, bucket in zip((0, *[b.frames for b in plan.buckets]), plan.buckets, strict=False):
        assert bucket.frames % 8 == 0
        assert all(low < window.length <= bucket.frames for window in bucket.windows)


def test_a_batch_holds_frames_of_a_piece_each_after_the_one_before():
    pieces = random_pieces(LENGTHS)
    plan = plan_of(pieces, seed=5)
    for step in range(2 * len(plan.bucket_of_batch)):
        batch = batch_at(plan, step)
        for row in range(4):
            length = batch.lengths[0, row]
            x, labels = batch.x[0, :, row], batch.labels[0, :, row]
            assert not x[length:].any()
            assert not labels[length:].any()
            assert any(
                (labels[:length] == piece[start : start + length]).all()
                and (x[1:length] == piece[start : start + length - 1]).all()
                and (x[0] == (piece[start - 1] if start else 0)).all()
                for piece in pieces
                for start in range(len(piece) - length + 1)
            )


def test_an_epoch_reads_every_window_and_shapes_are_few():
    lengths = tuple(range(10, 42))
    plan = plan_of([np.ones((n, NUM_KEYS), np.uint8) for n in lengths], crop_frames=64)
    seen, shapes = set(), set()
    for step in range(len(plan.bucket_of_batch), 2 * len(plan.bucket_of_batch)):
        batch = batch_at(plan, step)
        seen |= set(batch.lengths[0].tolist())
        shapes.add(batch.x.shape)
    assert seen == set(lengths)
    assert len(shapes) == 2


def test_batches_are_a_function_of_the_step_and_differ_by_seed_and_epoch():
    pieces = random_pieces(LENGTHS)
    plan = plan_of(pieces, seed=3, num_seeds=2, transpose=5)
    first, again = batch_at(plan, 1), batch_at(plan, 1)
    alone = batch_at(plan_of(pieces, seed=4, transpose=5), 1)
    for a, b, c in zip(first, again, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[1:], c)  # whoever is trained beside it
    assert not np.array_equal(first.labels[0], first.labels[1])
    later = batch_at(plan, 1 + len(plan.bucket_of_batch))
    assert later.labels.shape != first.labels.shape or (later.labels != first.labels).any()


def test_training_pieces_alone_are_transposed_and_by_all_shifts():
    plan = plan_of([roll_of(*[(60, 64, 67)] * 8)], batch_size=2, num_buckets=1, transpose=2)
    lowest = {
        int(np.flatnonzero(batch_at(plan, step).labels[0, 0, row])[0])
        for step in range(40)
        for row in range(2)
    }
    assert lowest == {60 - LOWEST_NOTE + shift for shift in range(-2, 3)}


def test_a_share_of_the_windows_is_transposed():
    pieces = [roll_of(*[(60, 64)] * 8)] * 50
    plan = plan_of(pieces, batch_size=50, num_buckets=1, transpose=5, transpose_share=0.3)
    labels = np.stack([batch_at(plan, step).labels[0, 0] for step in range(20)])
    moved = np.mean(labels[..., 60 - LOWEST_NOTE] == 0)
    # Of those chosen, one in eleven is moved by nothing, and another by -4: 64 is at 60 then.
    np.testing.assert_allclose(moved, 0.3 * 9 / 11, atol=0.04)


def test_keys_by_hand():
    c_major = roll_of((60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67))
    assert estimate_key(c_major) == Key(0, "major")
    a_minor = roll_of((57, 60, 64), (62, 65, 69), (64, 68, 71), (57, 60, 64))
    assert estimate_key(a_minor) == Key(9, "minor")
    assert str(estimate_key(transpose(c_major, 3))) == "E flat major"


@pytest.mark.parametrize("shift", range(-5, 7))
def test_moving_to_c_and_back(shift):
    c_major = roll_of((60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67))
    moved, by, key = move_to_c(transpose(c_major, shift))
    assert key == Key(shift % 12, "major")
    assert by in (-shift, -shift + 12, -shift - 12)
    assert abs(by) <= 6
    assert estimate_key(moved) == Key(0, "major")
    np.testing.assert_array_equal(transpose(moved, -by), transpose(c_major, shift))


def test_moving_an_octave_up_too_where_there_is_room():
    """The published chorales are an octave above where they sound."""
    d_major = roll_of((50, 66, 69), (55, 67, 71), (57, 69, 73), (50, 66, 69))
    moved, by, key = move_to_c(d_major, 1)
    assert (by, str(key)) == (10, "D major")
    np.testing.assert_array_equal(moved, transpose(d_major, 10))
    high = transpose(d_major, 108 - 73)
    _, by, key = move_to_c(high, 1)
    assert (by, key.tonic) == (-1, 1)


def test_a_roll_without_room_stays():
    roll = np.ones((4, NUM_KEYS), np.uint8)
    roll[:, 1::12] = 0  # no B flat: some key fits best
    moved, by, _ = move_to_c(roll)
    np.testing.assert_array_equal(moved, roll)
    assert by == 0
