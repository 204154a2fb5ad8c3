"""What a run says and draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import plots
from experiments.common.experiment import Trained
from experiments.common.metrics import curve_of, read_metrics
from experiments.speech_recognition.alphabet import BLANK
from experiments.speech_recognition.data import Data
from experiments.speech_recognition.decode import Outputs
from experiments.speech_recognition.features import HOP_S
from experiments.speech_recognition.measure import Findings

_SHOWN = 8  # utterances in the summary


def describe(data: Data) -> str:
    """Return what is learned from, its licence, and what is left out."""
    corpus = data.corpus
    sizes = [
        f"{len(part)} {name} ({sum(len(u.wave) for u in part) / corpus.sample_rate / 60:.1f} min)"
        for name, part in zip(("training", "validation", "test"), corpus.parts, strict=True)
    ]
    lines = [
        f"corpus {corpus.name}: {', '.join(sizes)} utterances, {corpus.sample_rate:,} Hz; "
        f"{corpus.note}; licence: {corpus.licence}",
        f"characters: {data.alphabet.characters!r}",
    ]
    if data.num_too_short:
        lines.append(
            f"{data.num_too_short} training copies have fewer steps than labels and are not used"
        )
    for name, part in (("validation", data.valid), ("test", data.test)):
        unknown = sorted(set().union(*part.texts) - set(data.alphabet.characters))
        if unknown:
            lines.append(f"{name} transcripts have {unknown}, never seen: they count as errors")
    return "\n".join(lines)


def report(trained: Trained, data: Data, result: Mapping[str, Any], found: Findings) -> str:
    """Write transcripts and pictures, and return the text that ends a run."""
    folder, lines = trained.folder, []
    for i, utterance in enumerate(data.test.utterances):
        lines += [utterance.name, f"  reference {utterance.text}"]
        lines += [f"  {decoder:9} {texts[i]}" for decoder, texts in found.texts.items()]
    (folder / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    records = read_metrics(folder)
    curves = {
        f"validation {rate}": curve_of(records, f"validation_{rate.lower()}", scale=100)
        for rate in ("CER", "WER")
    }
    rates = {"best path": result["decoders"]["greedy"]["test"], **result["baselines"]}
    levels = {f"test CER: {name}": 100 * of_name["cer"] for name, of_name in rates.items()}
    title = f"{data.corpus.name}: {trained.config.num_layers} layers, best path"
    path = folder / "learning_curve.png"
    plots.learning_curve(path, curves, levels, "errors in % of the reference", title)
    plot_posteriors(folder / "posteriors.png", data, found.outputs, trained.config.stack)
    return "\n".join([*_table(result), "", *_examples(data.test.texts, found.texts), ""]) + (
        f"\n{result['seconds']:.0f} s of training, {result['parameters']:,} parameters\n"
        f"files: {folder}/ (checkpoints, metrics.jsonl, tensorboard, result.json,\n"
        "       transcripts.txt, learning_curve.png, posteriors.png)\n"
        "transcribe with: python -m experiments.speech_recognition\n"
        f"                 --workdir {folder} --transcribe FILE.wav"
    )


def _table(result: Mapping[str, Any]) -> list[str]:
    """Return the error rates of decoders and baselines, a line each."""
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
    return lines + [
        f"{name:{width}} {'':15}   {_rates(rates)}" for name, rates in result["baselines"].items()
    ]


def _rates(rates: Mapping[str, float]) -> str:
    return f"{100 * rates['cer']:7.2f} {100 * rates['wer']:7.2f}"


def _examples(references: Sequence[str], texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return references and hypotheses, evenly spread over the test part."""
    lines = []
    for i in np.linspace(0, len(references) - 1, min(_SHOWN, len(references))).astype(int):
        lines.append(f"reference   {references[i]}")
        lines.append(f"best path   {texts['greedy'][i]}")
        if texts["ngram"][i] != texts["greedy"][i]:
            lines.append(f"with n-gram {texts['ngram'][i]}")
    return lines


def plot_posteriors(path: Path, data: Data, outputs: Outputs, stack: int) -> None:
    """Draw the first test spectrogram over its labels' probabilities, on one axis of time.

    The outputs are the test part's, and a step is `stack` frames of 10 ms.
    """
    test, characters = data.test, data.alphabet.characters
    frames, logits = test.as_spoken[0], outputs.logits[: outputs.lengths[0], 0]
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    best = probs.argmax(axis=-1)
    picture, (above, below) = plots.figure(
        rows=2, size=(11, 3.25), sharex=True, height_ratios=(1, 1.2)
    )
    band = (0.0, HOP_S * len(frames), 0, frames.shape[1])
    above.imshow(frames.T, origin="lower", aspect="auto", extent=band, interpolation="nearest")
    above.set(ylabel="mel band", title=f"{test.utterances[0].name}: {test.utterances[0].text}")
    ends = np.arange(len(probs)) * HOP_S * stack
    below.plot(ends, probs[:, BLANK], "--", color="0.7", label="blank")
    below.plot(ends, np.delete(probs, BLANK, axis=1), "-")
    for step, label in enumerate(best):
        if label != BLANK and (step == 0 or best[step - 1] != label):
            character = characters[label - 1].replace(" ", "␣")
            below.text(ends[step], 1.03, character, ha="center", family="monospace")
            above.axvline(ends[step], color="w", alpha=0.4, linewidth=0.8)
    below.set(ylim=(0, 1.12), xlabel="seconds", ylabel="probability of each label")
    below.legend(loc="lower right")
    picture.savefig(path, dpi=110)
