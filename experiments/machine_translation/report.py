"""What a run says and draws: its data, its figures beside the baselines, examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.machine_translation.batches import batches_per_epoch
from experiments.machine_translation.data import Corpus
from experiments.machine_translation.evaluate import LABELS, score_of
from experiments.machine_translation.heat_map import draw_attention
from experiments.machine_translation.lines import normalise
from experiments.machine_translation.run import Run
from experiments.machine_translation.trained import Trained, align_line

SAMPLES_FILE, ATTENTION_FILE, CURVE_FILE = "samples.txt", "attention.png", "learning_curve.png"


def describe(run: Run) -> str:
    """Return what is learned from, its licence and how it is cut into pieces."""
    corpus, vocabularies = run.corpus, run.vocabularies
    sizes = ", ".join(
        f"{len(pairs):,} {split}"
        for split, pairs in (
            ("training", corpus.train),
            ("validation", corpus.valid),
            ("test", corpus.test),
        )
    )
    steps = batches_per_epoch(run.buckets, run.config.batch_size)
    mean = [np.mean([len(ids) for ids in side]) for side in run.train]
    shapes = ", ".join(f"{b.source_length} x {b.target_length}" for b in run.buckets)
    return (
        f"corpus {corpus.name}: {sizes} pairs; licence: {corpus.licence}\n"
        + "".join(f"{note}\n" for note in corpus.notes)
        + f"pieces: {len(vocabularies.source):,} of the source ({mean[0]:.1f} a line), "
        f"{len(vocabularies.target):,} of the target ({mean[1]:.1f}); shapes of batches: {shapes}\n"
        f"{run.config.steps:,} steps, {run.config.steps / steps:.1f} epochs"
    )


def plot_curve(run: Run, levels: Mapping[str, float]) -> None:
    """Draw the validation's figure over the steps, beside the baselines'."""
    figure = score_of(run.corpus.name)
    learning_curve(
        run.folder / CURVE_FILE,
        {"validation, greedy": curve_of(read_metrics(run.folder), f"validation_{figure}")},
        {f"{name} (test)": value for name, value in levels.items()},
        ylabel=LABELS[figure],
        title=f"machine translation: {Path(run.corpus.name).name}",
    )


def chosen_examples(corpus: Corpus, number: int) -> list[int]:
    """Return which test lines to show: evenly spaced ones."""
    number = min(number, len(corpus.test))
    return [int(i) for i in np.linspace(0, len(corpus.test) - 1, number)] if number else []


def write_samples(
    run: Run, translations: Sequence[str], others: Mapping[str, Sequence[str]]
) -> str:
    """Write and return examples of the test split: source, reference, ours, the baselines'.

    Args:
      run: the run.
      translations: of all test sources.
      others: the same by each baseline.
    """
    corpus, width = run.corpus, max(map(len, (*others, "reference")))
    lines = []
    for i in chosen_examples(corpus, run.config.examples):
        rows = {"source": normalise(corpus.test.sources[i])}
        rows |= {"reference": normalise(corpus.test.targets[i]), "ours": translations[i]}
        rows |= {name: normalise(found[i]) for name, found in others.items()}
        lines += [f"{name:{width}}  {text}" for name, text in rows.items()] + [""]
    text = "\n".join(lines)
    (run.folder / SAMPLES_FILE).write_text(text, encoding="utf-8")
    return text


def draw_example(run: Run, trained: Trained, translations: Sequence[str]) -> None:
    """Draw the attention over the first example, where there is attention."""
    for i in chosen_examples(run.corpus, run.config.examples)[:1]:
        source = normalise(run.corpus.test.sources[i])
        alignment = align_line(trained, source, translations[i])
        if alignment is not None:
            title = f"{source}\n{translations[i]}"
            draw_attention(run.folder / ATTENTION_FILE, alignment, title)


def summary(result: Mapping[str, Any], samples: str, folder: Path) -> str:
    """Return the text that ends a run.

    Args:
      result: what `train` returns.
      samples: what `write_samples` gave.
      folder: where the files are.
    """
    label, test = LABELS[result["score"]], result["test"]
    figures = {
        f"ours, beam of {result['config']['beam_size']}": test["beam"],
        "ours, greedy": test["greedy"],
        **result["baselines"],
    }
    width = max(map(len, figures))
    lines = [
        "",
        f"validation  {result['validation']['nats']:.3f} nats a token, {label} "
        f"{result['validation']['greedy']:.2f} greedy, {result['validation']['beam']:.2f} by "
        f"beam, at step {result['best_step']:,}",
        f"test        {test['nats']:.3f} nats a token; {label}:",
        *(f"  {name:{width}}  {value:6.2f}" for name, value in figures.items()),
        f"({result['signature']})",
    ]
    lines += ["", samples]
    lines.append(f"{result['seconds']:.0f} s of training, {result['parameters']:,} parameters")
    attention = "" if result["config"]["attention"] == "none" else f"{ATTENTION_FILE}, "
    lines.append(f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, {CURVE_FILE},")
    lines.append(f"       {SAMPLES_FILE}, {attention}translations.txt, result.json)")
    lines.append(
        "translate with: python -m experiments.machine_translation "
        f'--workdir {folder} --translate "..."'
    )
    return "\n".join(lines)
