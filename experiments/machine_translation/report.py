"""What a run says and draws: its data, its figures beside the baselines, examples."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.experiment import Trained
from experiments.machine_translation.data import Data
from experiments.machine_translation.evaluate import LABELS
from experiments.machine_translation.lines import Pairs, normalise
from experiments.machine_translation.translate import Alignment, align_line

TRANSLATIONS_FILE, SAMPLES_FILE, ATTENTION_FILE = "translations.txt", "samples.txt", "attention.png"


def describe(data: Data) -> str:
    """Return what is learned from, its licence and how it is cut into pieces."""
    corpus, vocabularies, train = data.corpus, data.vocabularies, data.train
    splits = {"training": corpus.train, "validation": corpus.valid, "test": corpus.test}
    sizes = ", ".join(f"{len(pairs):,} {split}" for split, pairs in splits.items())
    mean = [np.mean([len(ids) for ids in side]) for side in train.pairs]
    shapes = ", ".join(f"{b.source_length} x {b.target_length}" for b in train.buckets)
    lines = [
        f"corpus {corpus.name}: {sizes} pairs; licence: {corpus.licence}",
        *corpus.notes,
        f"pieces: {len(vocabularies.source):,} of the source ({mean[0]:.1f} a line), "
        f"{len(vocabularies.target):,} of the target ({mean[1]:.1f}); "
        f"shapes of batches: {shapes}",
        f"{train.per_epoch:,} steps are an epoch",
    ]
    return "\n".join(lines)


def report(
    trained: Trained, data: Data, result: Mapping[str, Any], found: Mapping[str, Sequence[str]]
) -> str:
    """Write translations, samples, pieces and pictures; return the text that ends a run."""
    folder, test = trained.folder, data.corpus.test
    text = "".join(f"{line}\n" for line in found["ours"])
    (folder / TRANSLATIONS_FILE).write_text(text, encoding="utf-8")
    shown = chosen_examples(len(test), trained.config.examples)
    samples = examples(test, found, shown)
    (folder / SAMPLES_FILE).write_text(samples, encoding="utf-8")
    for side, subwords in vars(data.vocabularies).items():  # for sentencepiece's own programs
        (folder / f"{side}.model").write_bytes(subwords.proto)
    plots.draw_run(
        folder,
        result["score"],
        {f"{name} (test)": value for name, value in result["baselines"].items()},
        ylabel=LABELS[result["score"]],
        title=f"machine translation: {Path(data.corpus.name).name}, greedy",
    )
    for i in shown[:1]:
        alignment = align_line(trained, test.sources[i], found["ours"][i])
        if alignment is not None:
            title = f"{normalise(test.sources[i])}\n{found['ours'][i]}"
            draw_attention(folder / ATTENTION_FILE, alignment, title)
    return summary(result, samples, folder)


def chosen_examples(lines: int, number: int) -> list[int]:
    """Return which of so many test lines to show: evenly spaced ones."""
    number = min(number, lines)
    return [int(i) for i in np.linspace(0, lines - 1, number)] if number else []


def examples(test: Pairs, found: Mapping[str, Sequence[str]], shown: list[int]) -> str:
    """Return some of the test's lines: source, reference, ours, the baselines'."""
    width, lines = max(map(len, (*found, "reference"))), []
    for i in shown:
        rows = {
            "source": normalise(test.sources[i]),
            "reference": normalise(test.targets[i]),
            "ours": found["ours"][i],  # as the model wrote it
            **{name: normalise(by[i]) for name, by in found.items() if name != "ours"},
        }
        lines += [f"{name:{width}}  {text}" for name, text in rows.items()] + [""]
    return "\n".join(lines)


def summary(result: Mapping[str, Any], samples: str, folder: Path) -> str:
    """Return the text that ends a run, from its result, what `examples` gave and its folder."""
    label, test = LABELS[result["score"]], result["test"]
    figures = {
        f"ours, beam of {result['config']['beam_size']}": test["beam"],
        "ours, greedy": test["greedy"],
        **result["baselines"],
    }
    width = max(map(len, figures))
    attention = "" if result["config"]["attention"] == "none" else f"{ATTENTION_FILE}, "
    lines = [
        "",
        f"validation  {result['validation']['nats']:.3f} nats a token, {label} "
        f"{result['validation']['greedy']:.2f} greedy, {result['validation']['beam']:.2f} by "
        f"beam, at step {result['best_step']:,}",
        f"test        {test['nats']:.3f} nats a token; {label}:",
        *(f"  {name:{width}}  {value:6.2f}" for name, value in figures.items()),
        f"({result['signature']})",
        "",
        samples,
        f"{result['seconds']:.0f} s of training, {result['parameters']:,} parameters",
        f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, learning_curve.png,",
        f"       {SAMPLES_FILE}, {attention}{TRANSLATIONS_FILE}, result.json)",
        "translate with: python -m experiments.machine_translation "
        f'--workdir {folder} --translate "..."',
    ]
    return "\n".join(lines)


def draw_attention(path: Path, alignment: Alignment, title: str) -> None:
    """Draw weights as a grey map into a PNG file, the source from left to right."""
    rows, columns = alignment.weights.shape
    picture, axes = plots.figure(size=(2.0 + 0.32 * columns, 1.6 + 0.28 * rows))
    axes.imshow(alignment.weights, cmap="gray_r", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(columns), [_plain(p) for p in alignment.source], rotation=90)
    axes.set_yticks(range(rows), [_plain(p) for p in alignment.target])
    axes.set_xlabel("source, ▁ for a space")
    axes.set_title(_plain(title), fontsize=9)
    with warnings.catch_warnings():
        # An empty box says as much about a sign that the picture's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        picture.savefig(path, dpi=120)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # not the begin of a formula
