"""Figures for README, read from the records that the experiments left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.benchmarks.scans import bars
from experiments.benchmarks.statistics import Spread, spread
from experiments.common.records import read_json

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCAN = EXPERIMENTS / "benchmarks" / "results" / "scan-cpu-float32" / "results.json"
MEASURES = ("train", "forward")


def scan_record() -> Mapping[str, Any]:
    """Return what `python -m experiments.benchmarks --measure scan` measured."""
    return read_json(SCAN)


def scan_ratios(measure: str) -> dict[str, Spread]:
    """Return drnn.scan / lax.scan of each row: the median of rounds, and quartiles."""
    rows = scan_record()["groups"]["scan"]
    return {name: spread(bars.scan_ratios(row)[measure]) for name, row in rows.items()}


def scan_words() -> str:
    """Say what the picture comes to."""
    record = scan_record()
    rows, machine = record["groups"]["scan"], record["machine"]
    means = bars.scan_means(rows)
    train, forward, compiling, memory = (f"{means[column]:.2f}" for column in bars.COLUMNS)
    ranges = []
    for column in list(bars.COLUMNS)[:2]:
        medians = [one.median for one in scan_ratios(column).values()]
        ranges.append(f"{min(medians):.2f} to {max(medians):.2f}")
    return (
        f"Time with `drnn.scan` over time with `lax.scan`, geometric means: train step {train}\n"
        f"(by code {ranges[0]}), forward pass {forward} ({ranges[1]}); to trace and compile\n"
        f"{compiling}; memory {memory} ({machine['cores']} cores of an {machine['processor']}, "
        f"float32, jax\n{machine['packages']['jax']}; grey lines are quartiles of the rounds)."
    )


def results_table() -> str:
    """Return the results of the applications in short, as a table in Markdown."""
    rows = [("what", "command", "ours", "beside it, in the same run")]

    def add(what: str, command: str, ours: str, beside: str) -> None:
        rows.append((what, f"`python -m experiments.{command}`", f"**{ours}**", beside))

    def read(name: str) -> Any:
        return read_json(EXPERIMENTS / "results" / name / "result.json")

    for folder, corpus, preset in (
        ("pydoc", "pydoc topics", ""),
        ("ten_minutes", "pydoc topics, longer", " --preset ten-minutes"),
        ("tinyshakespeare", "tiny-shakespeare", " --preset tinyshakespeare"),
    ):
        one = read(f"text_generation/{folder}")
        nats, other = one["validation_nats"], one["validation_baseline_nats"]["5"]
        beside = f"Witten-Bell, order 5: {other:.3f}"
        add(f"characters, {corpus}", f"text_generation{preset}", f"{nats:.3f} nats", beside)
    one = read("speech_recognition/an4")
    test, most = one["decoders"]["greedy"]["test"], "most frequent transcript"
    error = one["baselines"][most]["cer"]
    add(
        "speech, AN4",
        "speech_recognition --preset an4",
        f"{test['cer']:.2%} CER",
        f"the {most}: {error:.1%}",
    )
    one = read("machine_translation/multi30k")
    add(
        "translation, Multi30k",
        "machine_translation --preset multi30k",
        f"{one['test']['beam']:.2f} BLEU",
        f"word by word: {one['baselines']['word by word']:.2f}",
    )
    one = read("music_generation/jsb")
    markov = one["test_baselines"]["Markov chain a note"]
    add(
        "music, JSB chorales",
        "music_generation --preset jsb",
        f"{one['test_nll']:.3f} nats a frame",
        f"a Markov chain a note: {markov:.2f}",
    )
    one = read("stock_prediction/acl18")["test"]["methods"]
    add(
        "prices, ACL18",
        "stock_prediction --preset acl18",
        f"{one['network']['accuracy']['value']:.2%} right",
        f"always up: {one['always up']['accuracy']['value']:.2%}; no difference beyond chance",
    )
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])


def filled(page: str, name: str, text: str) -> str:
    """Return a page with a text between two marks, in place of what is there."""
    begin, end = f"<!-- figures: {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"filled: the page must have the marks {begin!r} and {end!r}")
    return f"{before}{begin}{text}\n{end}{after}"


def fill(page: Path, name: str, text: str) -> None:
    """Put a text between two marks of a page, in place of what is there."""
    page.write_text(filled(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")
