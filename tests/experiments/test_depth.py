"""Labels against brute force, equal parameters, members alone and together, records, the page."""

import dataclasses
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.errors import InputError
from experiments.common.intervals import difference, over_seeds, shown, sign_of
from experiments.common.records import read_json
from experiments.common.sweep import BEGIN, END
from experiments.common.updates import num_parameters
from experiments.depth import command, expressive, long, settings, summary, table
from experiments.depth.characters import load_text, next_character, pair_nats, windows
from experiments.depth.features import FEATURES, labels_of
from experiments.depth.network import equal_width, make_network, size_of
from experiments.depth.record import measure
from experiments.depth.settings import PRESETS, Long, Refine, Trainable, checked
from experiments.depth.speech import nearest_letters
from experiments.depth.train import first_gradients, grid, train_members
from experiments.depth.trainable import norms_of
from experiments.text_generation.model import build

pytestmark = pytest.mark.xdist_group("depth")

TEXT = (
    'The "quick (brown [fox] jumps)" over\n    the lazy Dog; the\n      dog sleeps: "open (\n\nThe '
    "end.\n"
) * 3


def words_of(text):
    return [(match.start(), match.end()) for match in re.finditer("[A-Za-z]+", text)]


def test_labels_of_words_are_those_of_brute_force():
    words = words_of(TEXT)
    counts = {}
    for start, stop in words:
        counts[TEXT[start:stop].lower()] = counts.get(TEXT[start:stop].lower(), 0) + 1
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:50]
    found = {name: FEATURES[name](TEXT) for name in FEATURES}
    for t in range(len(TEXT)):
        inside = [(start, stop) for start, stop in words if start <= t < stop]
        assert found["place"].counted[t] == found["word"].counted[t] == bool(inside)
        if not inside:
            continue
        ((start, stop),) = inside
        assert found["place"].classes[t] == min(t - start, 8)
        assert frequent[found["word"].classes[t]] == TEXT[start:stop].lower()
        assert found["capital"].counted[t] == (t > start)
        if t > start:
            assert found["capital"].classes[t] == TEXT[start].isupper()
        assert found["third"].counted[t] == (stop - start >= 3)
        if stop - start >= 3:
            assert found["third"].classes[t] == int((t - start) / (stop - start) * 3 + 1e-9)
        earlier = [TEXT[a:b].lower() for a, b in words if b <= start]
        assert found["before"].counted[t] == bool(earlier)
        if earlier:
            assert frequent[found["before"].classes[t]] == earlier[-1]


def test_labels_of_lines_and_paragraphs_are_those_of_brute_force():
    found = {name: FEATURES[name](TEXT) for name in ("kind", "indent", "quoted", "bracket")}
    for t in range(len(TEXT)):
        c = TEXT[t]
        assert found["kind"].classes[t] == (0 if c.isalpha() else 1 if c in " \n" else 2)
        so_far = TEXT[: t + 1].split("\n\n")[-1]
        assert found["quoted"].classes[t] == so_far.count('"') % 2
        depth = 0
        for one in so_far:
            depth = max(0, depth + (one in "([{") - (one in ")]}"))
        assert found["bracket"].classes[t] == min(depth, 2)
        line_start = TEXT.rfind("\n", 0, t) + 1
        line = TEXT[line_start:].split("\n")[0]
        spaces = len(line) - len(line.lstrip(" "))
        assert found["indent"].counted[t] == (t >= line_start + spaces)
        assert found["indent"].classes[t] == (0 if not spaces else 1 if spaces <= 4 else 2)


@pytest.mark.parametrize(("name", "places"), [("next", 1), ("next 3", 3), ("next 6", 6)])
def test_characters_to_come(name, places):
    labels = FEATURES[name](TEXT)
    symbols = sorted(set(TEXT))
    assert labels.counted.tolist() == [t + places < len(TEXT) for t in range(len(TEXT))]
    for t in np.flatnonzero(labels.counted):
        assert symbols[labels.classes[t]] == TEXT[t + places]


def test_what_a_text_has_nothing_of_is_left_out():
    assert "bracket" not in labels_of("one two three four five " * 20)
    assert "bracket" in labels_of(TEXT)


def test_networks_of_equal_parameters():
    for depth, helped_by in ((1, "none"), (3, "highway")):

        def count(units, depth=depth, helped_by=helped_by):
            return size_of(make_network("lstm", depth, units, 8, helped_by), 10)

        units = equal_width(count, 8000)
        assert abs(count(units) / 8000 - 1) < 0.08  # a unit more or less
        assert all(abs(count(units + d) - 8000) >= abs(count(units) - 8000) for d in (-1, 1))


def test_members_side_by_side_are_those_trained_alone():
    text = jnp.asarray(np.random.default_rng(0).integers(5, size=400), jnp.int32)
    learner = next_character(make_network("elman", 1, 6, 5), 5, batch_size=3, length=7)
    keys, rates = grid(2, (1e-2, 3e-2))
    together = train_members(learner, text, keys, rates, steps=5)
    for i in range(4):
        alone = train_members(learner, text, keys[i : i + 1], rates[i : i + 1], steps=5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a[0], b[i], rtol=1e-4, atol=1e-6),  # noqa: B023
            (alone.params, alone.losses),
            (together.params, together.losses),
        )
    assert not np.allclose(together.losses[0], together.losses[1])
    assert together.losses[0, 0] == together.losses[1, 0]  # of one seed, before any step


def test_gradients_are_those_of_the_first_batch():
    text = jnp.asarray(np.random.default_rng(0).integers(5, size=400), jnp.int32)
    learner = next_character(make_network("elman", 2, 6, 5), 5, batch_size=3, length=7)
    keys, rates = grid(2, (0.0,))
    members = train_members(learner, text, keys, rates, steps=2)
    norms = norms_of(first_gradients(learner, text, keys, members.start))
    assert norms.shape == (2, 2)
    for m in range(2):
        params = jax.tree.map(lambda leaf: leaf[m], members.start)  # noqa: B023
        batch = learner.batch_at(text, jnp.int32(0), jax.random.split(keys[m])[1])
        state = learner.first(params)
        assert np.isclose(learner.loss(params, batch, state)[0], members.losses[m, 0])
        gradient = jax.grad(lambda p: learner.loss(p, batch, state)[0])(params)  # noqa: B023
        for layer, norm in zip(gradient.layers, norms[m], strict=True):
            flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(layer.cell)])
            np.testing.assert_allclose(norm, np.linalg.norm(flat), rtol=1e-4)


def test_the_bar_is_of_the_characters_that_the_networks_are_measured_on():
    train, valid = np.array([0, 1] * 50, np.int32), np.array([0, 1] * 20 + [1, 0] * 20, np.int32)
    data = types.SimpleNamespace(train=train, valid=valid, vocabulary="ab")
    labels = windows(valid, 3, 7)
    # Witten-Bell by hand: each symbol is followed by the other one, 50 or 49 times.
    p_one = (50 + 2 / 2) / 102
    counts = {0: 50, 1: 49}
    nats = []
    for last, label in zip(labels.x.ravel(), labels.labels.ravel(), strict=True):
        seen = counts[int(last)]
        nats.append(-np.log((seen * (last != label) + p_one) / (seen + 1)))
    assert np.isclose(pair_nats(data, 3, 7), np.mean(nats))


def test_windows_are_pieces_of_the_text():
    window = windows(np.arange(100, dtype=np.int32), 4, 10)
    np.testing.assert_array_equal(window.labels, window.x + 1)
    np.testing.assert_array_equal(np.diff(window.x, axis=0), 1)
    assert window.x[0, 0] == 0
    assert window.labels[-1, -1] == 99


def test_intervals():
    figure = over_seeds([1.0, 2.0, 3.0, 6.0])
    assert figure["mean"] == 3.0
    np.testing.assert_allclose(figure["deviation"], np.sqrt(14 / 3))
    assert shown(figure, 2, 10) == "30.00 ± 34.37"
    assert shown(figure, spread="deviation") == "3.0 ± 2.2"
    assert shown(over_seeds([2e-5, 4e-5]), spread="deviation", notation="e") == "3.0e-05 ± 1e-05"
    assert shown(over_seeds([5.0])) == "5.0"
    np.testing.assert_allclose(figure["half"], 3.182446 * np.sqrt(14 / 3 / 4), rtol=1e-6)
    assert [sign_of(over_seeds(v)) for v in ([1, 1.1], [-1, -1.1], [1, -1], [5])] == [1, -1, 0, 0]
    both = difference(over_seeds([1.0, 2.0, 3.0]), over_seeds([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(both["half"], 2.776445 * np.sqrt(2 / 3), rtol=1e-6)  # 4 degrees


def test_the_longest_lag_ends_at_the_first_not_learned():
    learned = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1]], bool)
    assert long.longest_lags(learned, (8, 16, 32)) == [16, 8, 0, 32]


def test_letters_lie_where_they_are_written():
    path = np.array([0, 2, 0, 0, 2, 2, 7])
    assert nearest_letters(path, np.array([2, 2, 7])).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert nearest_letters(path, np.array([2, 7])) is None


def test_what_is_measured_is_not_measured_again(tmp_path):
    calls = []

    def row(name):
        calls.append(name)
        return {"name": name}

    chosen, file = Trainable(), tmp_path / "made" / "trainable.json"
    measure(file, chosen, {"a": lambda: row("a")}, {"bar_nats": 1.0})
    record = measure(
        file, chosen, {"a": lambda: row("a"), "b": lambda: row("b")}, {"bar_nats": 1.0}
    )
    assert calls == ["a", "b"] == [one["name"] for one in record["rows"].values()]
    assert read_json(file)["rows"] == record["rows"]
    with pytest.raises(InputError, match="another steps; name another --workdir"):
        measure(file, dataclasses.replace(chosen, steps=7), {}, {})
    with pytest.raises(InputError, match="another bar_nats, network; name another --workdir"):
        measure(file, chosen, {}, {"bar_nats": 2.0, "network": {"step": 1}})
    assert all(row["environment"]["packages"]["jax"] for row in record["rows"].values())


def test_no_row_leaves_its_compiled_programs(tmp_path):
    compiled = jax.jit(lambda x: x + 1)

    def row():
        return {"value": float(compiled(1.0)), "programs": compiled._cache_size()}

    record = measure(tmp_path / "trainable.json", Trainable(), {"a": row}, {})
    assert record["rows"]["a"]["programs"] == 1
    assert compiled._cache_size() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "long", "--data", "pydoc"], "has no --data"),
        (["--preset", "trainable", "--cells", "lsmt"], "must be of elman, lstm"),
        (["--steps", "0"], "--steps must be > 0"),
        (["--preset", "long", "--depths", "2", "4"], "--depths must be with 1, which"),
        (["--preset", "refine_speech", "--run", "nowhere"], "no trained run in nowhere"),
    ],
)
def test_mistakes_are_told_in_words(options, words, tmp_path):
    with pytest.raises(SystemExit, match=words):
        command.main([*options, "--workdir", str(tmp_path)])


def test_a_small_run_leaves_its_files_and_the_page_shows_them(tmp_path, monkeypatch):
    small = (
        Refine(
            features=("kind", "next"),
            cell="elman",
            num_layers=2,
            hidden_size=6,
            num_seeds=1,
            steps=3,
            batch_size=2,
            length=5,
            probe_rows=4,
            probe_length=20,
        ),
        Trainable(
            cells=("elman",),
            depths=(1,),
            helps=("none",),
            hidden_size=6,
            num_seeds=2,
            learning_rates=(1e-2,),
            steps=3,
            batch_size=2,
            length=5,
        ),
        Long(
            cell="elman",
            tasks=("copy",),
            depths=(1,),
            widths=("units",),
            helps=("none",),
            units=6,
            lags=(4,),
            num_items=2,
            num_seeds=2,
            learning_rates=(1e-2,),
            steps=3,
            batch_size=2,
        ),
    )
    monkeypatch.setitem(PRESETS, "default", small)
    command.main(["--workdir", str(tmp_path / "tiny")])
    for name in ("refine", "trainable", "long"):
        for end in ("json", "md", "png"):
            assert (tmp_path / "tiny" / f"{name}.{end}").stat().st_size > 0
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}what was before\n{END}after\n")
    table.main(["--folder", str(tmp_path), "--readme", str(readme)])
    page = readme.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "what was before" not in page
    refine = read_json(tmp_path / "tiny" / "refine.json")
    assert summary.table_of_probes(refine) in page
    assert "The longest lag with 1 layers" in page
    assert "Probes: linear discriminant." in page
    assert "% of that at the last one, 20 at most" in page
    long_record = read_json(tmp_path / "tiny" / "long.json")
    assert len(long_record["rows"]["copy, equal units, none, 1"]["longest"]) == 2
    (row,) = read_json(tmp_path / "tiny" / "trainable.json")["rows"].values()
    assert (row["helped_by"], row["num_layers"], len(row["gradient_norms"])) == ("none", 1, 1)
    assert np.shape(row["reached"]) == (2, 1)
    assert 0 < row["gradient_norms"][0] < 100


def probed(slopes, untrained=0.0):
    """A record of seeds with these slopes of one feature over three layers."""
    seed = {"similarity": [], "horizon": [1, 2, 3], "beyond": [0.0, 0.0, 0.25]}

    def of(slope):
        accuracy = [0.9, *(0.5 + slope * layer for layer in range(3))]
        return seed | {"probes": {"next": {"accuracy": accuracy, "baseline": 0.3}}}

    rows = {str(i): {"trained": of(s), "untrained": of(untrained)} for i, s in enumerate(slopes)}
    return {"settings": {"probe_length": 400}, "rows": rows}


def test_words_follow_from_the_figures():
    assert "above: next (10.00 ± 1.00)" in summary.basic_and_abstract(
        probed(np.array([0.1 - 0.01 / 12.7062, 0.1 + 0.01 / 12.7062]))
    )
    assert "below: next (-10.00" in summary.basic_and_abstract(probed([-0.1, -0.101, -0.099]))
    assert "2 of 2 are gains" in summary.refines(probed([0.1, 0.101, 0.099]))
    assert "neither: next" in summary.basic_and_abstract(probed([0.1, -0.1]))
    less = probed([-0.1, -0.101, -0.099], untrained=-0.2)  # falls, but less than untrained
    assert "above: next (10.00" in summary.basic_and_abstract(less)
    assert "| -10.00 ± 0.25 | -20.00 ± 0.00 | 10.00 ± 0.25 | above |" in summary.table_of_probes(
        less
    )
    assert "trained 1 ± 0, 2 ± 0, 3 ± 0 (cut off: 25% of rows); " in summary.horizons(less)
    assert "stays below 1% of that at the last one, 400 at most" in summary.horizons(less)


def test_what_a_record_does_not_hold_is_said():
    old = probed([0.1, 0.2]) | {"network": {"layers": 3, "step": 2756}}
    words = summary.basic_and_abstract(old)
    assert "least squares" in words
    assert "does not say how many utterances were left out" in words
    network = {"cell": "lstm", "units": 256, "bidirectional": True, "validation_cer": 0.0753}
    new = old | {"probe": "linear discriminant", "network": old["network"] | network}
    for row in new["rows"].values():
        row |= {"utterances": 30, "left_out": 7}
    words = summary.basic_and_abstract(new)
    assert "3 layers of 256 units (lstm, in both directions), validation CER 7.5%, step" in words
    assert "Without letters and words: 14 of 60 utterances." in words
    assert "least squares" not in words


def test_lags_and_shares_are_counted():
    lags = [4, 8, 16]

    def row(depth, longest):
        of = {"task": "copy", "equal": "units", "helped_by": "none"}
        return of | {"num_layers": depth, "longest": longest}

    def record(*rows):
        settings = {"depths": [1, 2], "lags": lags}
        return {"settings": settings, "rows": dict(enumerate(rows))}

    capped = record(row(1, [4, 4, 0]), row(2, [16, 8, 8]))
    assert summary.table_of_lags(capped).splitlines()[2] == (
        "| copy, equal units, none | < 4, 4, 4 | 8, 8, ≥ 16 |"
    )
    assert "copy, equal units, none: times 3.2 (capped)" in summary.long_dependencies(capped)
    halved = record(row(1, [8, 8, 8]), row(2, [4, 4, 4]))
    assert "none: times 0.5 (0.5 to 0.5)" in summary.long_dependencies(halved)

    def trained(depth, reached):
        of = {"cell": "elman", "helped_by": "none", "log10_lowest_over_highest": {"mean": -1.0}}
        return of | {"num_layers": depth, "reached": reached}

    rows = trained(1, [[True, True], [True, False]]), trained(2, [[False, True], [False, False]])
    shares = record(*rows) | {"bar_nats": 2.0}
    assert summary.table_of_shares(shares).splitlines()[2] == (
        "| elman, none | 3/4 (2/2) | 1/4 (1/2) | 0.1 |"
    )
    assert "elman, none: 1/4 against 3/4." in summary.harder_to_train(shares)


def test_each_depth_stands_beside_one_layer():
    def row(depth, *nats):
        found = {"cell": "minimal_gated", "num_layers": depth, "hidden_size": 8}
        return found | {"test_nats": over_seeds(nats), "validation_nats": None}

    content = {"rows": [row(1, 1.5), row(2, 1.4), row(4, 1.6)]}
    words = summary.more_expressive(content)
    assert words.endswith("minimal gated: 2 layers -0.100, 4 layers 0.100.")


def test_the_published_page_is_made_of_the_published_records():
    assert "\n\n".join(table.sections(table.RESULTS)) in table.README.read_text()
    record = read_json(table.RESULTS / "refine_speech" / "speech.json")
    markdown = (table.RESULTS / "refine_speech" / "speech.md").read_text()
    assert summary.table_of_probes(record) + "\n" == markdown


def test_the_table_of_losses_stands_beside_the_published():
    nats = over_seeds([1.25, 1.27])
    row = {"cell": "lstm", "num_layers": 1, "hidden_size": 128, "test_nats": nats}
    content = {"settings": {"depths": [1, 2], "published": True}, "rows": [row]}
    lines = expressive.table(content).splitlines()
    assert lines[2] == f"| LSTM | 1.260 ± {nats['half']:.3f} (128 units) | - |"
    assert lines[3].split("|")[2:4] == [f" {v} " for v in map(expressive.KARPATHY_2015.get, (1, 2))]


def test_a_sweep_has_equal_parameters_and_the_published_settings():
    small = dataclasses.replace(settings.Expressive(), data="pydoc", parameters=20_000)
    runs = expressive.sweep_of(dataclasses.replace(small, cells=("gru",), depths=(1, 3))).rows
    assert list(runs) == ["GRU, 1", "GRU, 3"]
    assert list(runs["GRU, 3"]) == ["gru-3-seed0", "gru-3-seed1", "gru-3-seed2"]
    facts = load_text("pydoc", None).facts
    for config, *_ in (list(configs.values()) for configs in runs.values()):
        shapes = jax.eval_shape(build(config, facts).init, jax.random.key(0))
        assert abs(num_parameters(shapes) / 20_000 - 1) < 0.05
    (karpathy,) = PRESETS["karpathy"]
    assert isinstance(karpathy, settings.Expressive)
    swept = expressive.sweep_of(dataclasses.replace(karpathy, data="pydoc", depths=(2,)))
    (config,) = swept.rows["LSTM, 2"].values()
    _, rate = swept.experiment.optimizer(config)
    epoch = config.decay_interval
    for epochs, decays in ((9, 0), (10, 1), (12, 3)):
        assert np.isclose(rate(epochs * epoch), 2e-3 * 0.95**decays)


def test_the_presets_can_be():
    for preset in settings.PRESETS.values():
        for one in preset:
            checked(one)
