"""What a run says and draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.speech_recognition.alphabet import BLANK, Alphabet
from experiments.speech_recognition.data import Dataset
from experiments.speech_recognition.features import Frames

_SHOWN = 8  # utterances in the summary


def describe(dataset: Dataset) -> str:
    """Return what is learned from, its licence, and what is left out."""
    corpus = dataset.corpus
    sizes = [
        f"{len(part)} {name} ({sum(len(u.wave) for u in part) / corpus.sample_rate / 60:.1f} min)"
        for name, part in zip(("training", "validation", "test"), corpus.splits[:3], strict=True)
    ]
    lines = [
        f"corpus {corpus.name}: {', '.join(sizes)} utterances, {corpus.sample_rate:,} Hz; "
        f"{corpus.splits.note}; licence: {corpus.licence}",
        f"characters: {dataset.alphabet.characters!r}",
    ]
    if dataset.num_too_short:
        lines.append(
            f"{dataset.num_too_short} training copies have fewer steps than labels and are not used"
        )
    for name, part in (("validation", dataset.valid), ("test", dataset.test)):
        known = set(dataset.alphabet.characters)
        unknown = sorted({character for text in part.texts for character in text} - known)
        if unknown:
            lines.append(f"{name} transcripts have {unknown}, never seen: they count as errors")
    return "\n".join(lines)


def summary(
    result: Mapping[str, Any], texts: Mapping[str, Sequence[str]], dataset: Dataset, workdir: Path
) -> str:
    """Return the text that ends a run.

    Args:
      result: what `train` returns.
      texts: by decoder, those of the test part.
      dataset: the data.
      workdir: where the files are.
    """
    config, fusion = result["config"], result["fusion"]
    kind = f"{config['ngram_order']}-gram of characters"
    if config["ngram"] == "word":
        kind = "bigram of words"
    names = {
        "greedy": "best path",
        "beam": f"prefix beam of {config['beam_size']}",
        "ngram": f"and {kind}, weight {fusion['weight']}, bonus {fusion['bonus']}",
    }
    width = max(len(name) for name in (*names.values(), *result["baselines"])) + 2
    lines = ["", f"{'error rates in %':{width}} {'validation':^17} {'test':^17}"]
    lines.append(f"{'':{width}} {'CER':>7} {'WER':>7}   {'CER':>7} {'WER':>7}")
    for decoder, name in names.items():
        parts = result["decoders"][decoder]
        lines.append(f"{name:{width}} {_rates(parts['validation'])}   {_rates(parts['test'])}")
    low, high = result["decoders"]["greedy"]["test"]["cer_interval"]
    lines.append(
        f"best path, test CER of 95 % of resampled test parts: {100 * low:.2f} to {100 * high:.2f}"
    )
    lines.append("without, or barely, listening:")
    for name, rates in result["baselines"].items():
        lines.append(f"{name:{width}} {'':15}   {_rates(rates)}")
    lines += ["", *_examples(dataset, texts), ""]
    lines.append(f"{result['seconds']:.0f} s of training, {result['parameters']:,} parameters")
    lines.append(f"files: {workdir}/ (checkpoints, metrics.jsonl, tensorboard, result.json,")
    lines.append("       transcripts.txt, learning_curve.png, posteriors.png)")
    lines.append("transcribe with: python -m experiments.speech_recognition")
    lines.append(f"                 --workdir {workdir} --transcribe FILE.wav")
    return "\n".join(lines)


def _rates(rates: Mapping[str, float]) -> str:
    return f"{100 * rates['cer']:7.2f} {100 * rates['wer']:7.2f}"


def _examples(dataset: Dataset, texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return references and hypotheses, evenly spread over the test part."""
    references, lines = dataset.test.texts, []
    for i in np.linspace(0, len(references) - 1, min(_SHOWN, len(references))).astype(int):
        lines.append(f"reference   {references[i]}")
        lines.append(f"best path   {texts['greedy'][i]}")
        if texts["ngram"][i] != texts["greedy"][i]:
            lines.append(f"with n-gram {texts['ngram'][i]}")
    return lines


def transcripts(dataset: Dataset, texts: Mapping[str, Sequence[str]]) -> str:
    """Return all test utterances with their references and hypotheses, as lines."""
    lines = []
    for i, (name, reference) in enumerate(zip(dataset.test.names, dataset.test.texts, strict=True)):
        lines += [name, f"  reference {reference}"]
        lines += [f"  {decoder:9} {found[i]}" for decoder, found in texts.items()]
    return "\n".join(lines) + "\n"


def plot_learning(workdir: Path, result: Mapping[str, Any]) -> Path:
    """Draw the learning curve from the run's records and return the picture's path."""
    records = read_metrics(workdir)
    curves = {
        f"validation {rate}": curve_of(records, f"validation_{rate.lower()}", scale=100)
        for rate in ("CER", "WER")
    }
    levels = {
        f"test CER: {name}": 100 * rates["cer"]
        for name, rates in (
            ("best path", result["decoders"]["greedy"]["test"]),
            *result["baselines"].items(),
        )
    }
    path = workdir / "learning_curve.png"
    title = f"{result['corpus']}: {result['config']['num_layers']} layers, best path"
    learning_curve(path, curves, levels, "errors in % of the reference", title)
    return path


def plot_posteriors(
    path: Path,
    frames: Frames,
    logits: NDArray[np.float32],
    alphabet: Alphabet,
    stack: int,
    title: str,
) -> Path:
    """Draw a spectrogram over the probabilities of the labels, on one axis of time.

    Args:
      path: the PNG file to write.
      frames: `[T, F]`, normalised.
      logits: `[T', V]`.
      alphabet: the labels' names.
      stack: frames a step.
      title: of the picture.
    """
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    best = probs.argmax(axis=-1)
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    seconds = 0.01 * len(frames)
    band = (0.0, seconds, 0, frames.shape[1])
    above.imshow(frames.T, origin="lower", aspect="auto", extent=band, interpolation="nearest")
    above.set_ylabel("mel band")
    above.set_title(title)
    ends = np.arange(len(probs)) * 0.01 * stack
    for label in range(alphabet.size):
        blank = label == BLANK
        name = "blank" if blank else None
        below.plot(
            ends,
            probs[:, label],
            "--" if blank else "-",
            color="0.7" if blank else None,
            label=name,
        )
    for step, label in enumerate(best):
        if label != BLANK and (step == 0 or best[step - 1] != label):
            character = alphabet.characters[label - 1].replace(" ", "␣")
            below.text(ends[step], 1.03, character, ha="center", family="monospace")
            above.axvline(ends[step], color="w", alpha=0.4, linewidth=0.8)
    below.set_ylim(0, 1.12)
    below.set_xlabel("seconds")
    below.set_ylabel("probability of each label")
    below.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    return path
