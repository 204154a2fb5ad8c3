"""MIDI files: a roll to a file and back, and whatever users' files hold."""

import mido
import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.music_generation.midi import read_midi, write_midi
from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS

C4 = 60 - LOWEST_NOTE


def user_file(path, notes, *, ticks_per_beat=96, tempo=None, kind=1):
    """Write notes (number, start, end in quarter notes, channel) as another program would."""
    events = []
    for number, start, end, channel in notes:
        events.append((start, mido.Message("note_on", note=number, velocity=64, channel=channel)))
        # An end as a note_on without velocity, as most programs write it.
        events.append((end, mido.Message("note_on", note=number, velocity=0, channel=channel)))
    track, now = mido.MidiTrack(), 0
    for at, message in sorted(events, key=lambda event: event[0]):
        tick = round(at * ticks_per_beat)
        track.append(message.copy(time=tick - now))
        now = tick
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    head = mido.MidiTrack([mido.MetaMessage("track_name", name="a tune")])
    if tempo is not None:
        head.append(mido.MetaMessage("set_tempo", tempo=tempo))
    file.tracks += [head, track] if kind == 1 else [mido.MidiTrack([*head, *track])]
    file.save(path)
    return path


@pytest.mark.parametrize("frame_beats", [1.0, 0.5])
def test_a_roll_comes_back(tmp_path, frame_beats):
    roll = (np.random.default_rng(0).random((40, NUM_KEYS)) < 0.2).astype(np.uint8)
    roll[3] = 0  # a silent frame inside
    path = tmp_path / "roll.mid"
    write_midi(path, roll, frame_beats, tempo=400_000)
    score = read_midi(path, frame_beats)
    np.testing.assert_array_equal(score.roll, roll)
    assert score.tempo == 400_000
    assert score.left_out == ()
    beats = mido.MidiFile(path).length / 0.4
    np.testing.assert_allclose(beats, 40 * frame_beats)


def test_a_key_that_goes_on_is_one_held_note(tmp_path):
    roll = np.zeros((5, NUM_KEYS), np.uint8)
    roll[[0, 1, 2, 4], C4] = 1
    write_midi(tmp_path / "held.mid", roll, 1.0)
    (track,) = mido.MidiFile(tmp_path / "held.mid").tracks
    notes = [(m.type, m.note, m.time) for m in track if m.type.startswith("note")]
    assert notes == [
        ("note_on", 60, 0),
        ("note_off", 60, 3 * 480),
        ("note_on", 60, 480),
        ("note_off", 60, 480),
    ]


@pytest.mark.parametrize("ticks_per_beat", [24, 96, 1000])
@pytest.mark.parametrize("tempo", [None, 250_000])
@pytest.mark.parametrize("kind", [0, 1])
def test_a_users_file_by_hand(tmp_path, ticks_per_beat, tempo, kind):
    notes = [(60, 2.0, 4.0, 0), (64, 3.0, 4.0, 1), (67, 5.0, 6.0, 0)]
    path = user_file(
        tmp_path / "tune.mid", notes, ticks_per_beat=ticks_per_beat, tempo=tempo, kind=kind
    )
    quarters = np.zeros((4, NUM_KEYS), np.uint8)  # two silent frames before the first note go
    quarters[[0, 1], C4] = quarters[1, C4 + 4] = quarters[3, C4 + 7] = 1
    score = read_midi(path, 1.0)
    np.testing.assert_array_equal(score.roll, quarters)
    assert score.tempo == (tempo or 500_000)  # MIDI's own: 120 a minute
    np.testing.assert_array_equal(read_midi(path, 0.5).roll, np.repeat(quarters, 2, axis=0))


def test_played_a_little_early_and_late(tmp_path):
    notes = [(60, 0.1, 1.05, 0), (62, 0.95, 2.1, 0), (64, 2.2, 2.9, 0), (65, 3.0, 3.1, 0)]
    score = read_midi(user_file(tmp_path / "t.mid", notes), 1.0)
    expected = np.zeros((4, NUM_KEYS), np.uint8)
    expected[[0, 1, 2, 3], [C4, C4 + 2, C4 + 4, C4 + 5]] = 1
    np.testing.assert_array_equal(score.roll, expected)
    assert score.left_out == ()


def test_what_is_left_out_is_said(tmp_path):
    notes = [
        (60, 0.0, 1.0, 0),
        (62, 0.5, 0.9, 0),  # a passing note between two quarter notes
        (20, 0.0, 1.0, 0),
        (109, 0.0, 1.0, 0),
        (36, 0.0, 1.0, 9),
        (38, 1.0, 2.0, 9),
    ]
    score = read_midi(user_file(tmp_path / "t.mid", notes), 1.0)
    assert score.roll.sum() == score.roll[0, C4] == 1
    assert score.left_out == (
        "2 drum notes (channel 10)",
        "2 notes outside of the piano's 88 keys",
        "1 notes between the frames of 1 quarter notes",
    )
    assert score.notes_left_out == 5


def add_tempos(path, *tracks, ticks_per_beat=96):
    """Add tracks of (quarter notes from the beginning, tempo) to a file."""
    file = mido.MidiFile(path)
    for tempos in tracks:
        track, now = mido.MidiTrack(), 0
        for at, tempo in tempos:
            track.append(mido.MetaMessage("set_tempo", tempo=tempo, time=at * ticks_per_beat - now))
            now = at * ticks_per_beat
        file.tracks.append(track)
    file.save(path)
    return path


@pytest.mark.parametrize(
    ("tracks", "tempo", "changes"),
    [
        ([[(0, 500_000)]], 500_000, 0),
        ([[(0, 500_000), (1, 500_000), (2, 500_000)]], 500_000, 0),
        ([[(0, 500_000), (1, 400_000), (2, 400_000), (3, 500_000)]], 500_000, 2),
        # In the order of time; in that of the tracks they would be three.
        ([[(2, 400_000), (6, 300_000)], [(0, 500_000), (4, 400_000)]], 500_000, 2),
        # The same changes in two tracks.
        ([[(0, 500_000), (2, 400_000)]] * 2, 500_000, 1),
        # What holds until a first one that comes late.
        ([[(4, 400_000)]], 500_000, 1),
        # A program's default, and at once the tempo that is heard.
        ([[(0, 500_000), (0, 400_000)], [(2, 0)]], 400_000, 0),
    ],
)
def test_later_tempos_are_told(tmp_path, tracks, tempo, changes):
    path = user_file(tmp_path / "t.mid", [(60, 0.0, 8.0, 0), (36, 0.0, 1.0, 9)])
    before = read_midi(path, 1.0)
    score = read_midi(add_tempos(path, *tracks), 1.0)
    np.testing.assert_array_equal(score.roll, before.roll)
    assert score.tempo == tempo
    told = (f"{changes} later tempo changes (the first tempo is kept)",) if changes else ()
    assert score.left_out == ("1 drum notes (channel 10)", *told)
    assert score.notes_left_out == before.notes_left_out == 1


def test_a_note_that_never_ends_lasts_as_long_as_its_track(tmp_path):
    track = mido.MidiTrack(
        [
            mido.Message("note_on", note=60, time=0),
            mido.Message("note_on", note=64, time=0),
            mido.Message("note_off", note=64, time=960),
            mido.Message("note_off", note=90, time=0),  # which never began
        ]
    )
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "open.mid")
    roll = read_midi(tmp_path / "open.mid", 1.0).roll
    assert roll.shape == (2, NUM_KEYS)
    assert roll[:, [C4, C4 + 4]].all()
    assert roll.sum() == 4


def test_struck_again_while_it_sounds(tmp_path):
    times = [("note_on", 0), ("note_on", 480), ("note_off", 480), ("note_off", 480)]
    track = mido.MidiTrack([mido.Message(kind, note=60, time=t) for kind, t in times])
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "again.mid")
    assert read_midi(tmp_path / "again.mid", 1.0).roll.sum() == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"", "is no MIDI file, or a damaged one"),
        (b"RIFF....WAVEfmt ", "is no MIDI file, or a damaged one"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x00\x60MTrk\x00\x00\xff\xff\x00\x90", "damaged"),
        (
            b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\xe7\x28MTrk\x00\x00\x00\x04\x00\xff\x2f\x00",
            "SMPTE",
        ),
        (
            b"MThd\x00\x00\x00\x06\x00\x02\x00\x01\x00\x60MTrk\x00\x00\x00\x04\x00\xff\x2f\x00",
            "type 2",
        ),
        (
            b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60MTrk\x00\x00\x00\x04\x00\xff\x2f\x00",
            "no notes",
        ),
    ],
    ids=["missing", "empty", "wav", "truncated", "smpte", "type-2", "silent"],
)
def test_files_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "tune.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"tune.mid.*{message}|{message}.*tune.mid"):
        read_midi(path, 1.0)


def test_drums_alone_are_no_music_to_go_on_from(tmp_path):
    path = user_file(tmp_path / "beat.mid", [(36, 0.0, 1.0, 9)])
    with pytest.raises(InputError, match=r"has no notes but 1 drum notes \(channel 10\)"):
        read_midi(path, 1.0)


def test_a_stuck_note_is_no_piece(tmp_path):
    path = user_file(tmp_path / "stuck.mid", [(60, 0.0, 30_000.0, 0)])
    with pytest.raises(InputError, match="lasts 30,000 frames"):
        read_midi(path, 1.0)
