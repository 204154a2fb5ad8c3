"""What a run says: its scale, its baselines, and the summary at the end."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.text_generation.config import Config
from experiments.text_generation.data import Corpus, Level
from experiments.text_generation.ngram import nats_per_symbol, witten_bell

BASELINE_ORDERS = (3, 4, 5)


class Scale(NamedTuple):
    """How a level's nats are shown."""

    key: str  # in records: train_<key>, validation_<key>
    unit: str
    of_nats: Callable[[float], float]


def perplexity(nats: float) -> float:
    """Return e to the nats; of a loss beyond all sense, the largest that JSON can hold."""
    return math.exp(min(nats, 700.0))


SCALES: Mapping[Level, Scale] = {
    "character": Scale("bits", "bits per character", lambda nats: nats / math.log(2.0)),
    "word": Scale("perplexity", "perplexity per word", perplexity),
}


def baselines(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return nats a symbol of the Witten-Bell models, by split and by order.

    Only the orders that the training split is long enough for. The orders are strings,
    as they are in JSON. The splits are "validation" and, where there is one, "test".
    """
    highest = min(max(BASELINE_ORDERS), len(corpus.train))
    splits = {"validation": corpus.valid}
    if corpus.test is not None:
        splits["test"] = corpus.test
    # The test split follows the validation split, which is its context and no more.
    text = np.concatenate(list(splits.values()))
    p = witten_bell(corpus.train, text, highest, len(corpus.vocabulary))
    found, start = {}, 0
    for name, ids in splits.items():
        nats = nats_per_symbol(p[:, start : start + len(ids)])
        found[name] = {str(n): float(nats[n - 1]) for n in BASELINE_ORDERS if n <= highest}
        start += len(ids)
    return found


def sample_prompt(config: Config, corpus: Corpus) -> str:
    """Return what the sample starts from: as asked for, else the text's first symbol."""
    if config.sample_prompt is not None:
        return config.sample_prompt
    return corpus.vocabulary.decode(corpus.train[:1])


def describe(corpus: Corpus) -> str:
    """Return what is learned from, its licence, and what was substituted."""
    sizes = [f"{len(corpus.train):,} training", f"{len(corpus.valid):,} validation"]
    if corpus.test is not None:
        sizes.append(f"{len(corpus.test):,} test")
    lines = [
        f"corpus {corpus.name}: {', '.join(sizes)} {corpus.vocabulary.level}s, "
        f"vocabulary {len(corpus.vocabulary):,}; licence: {corpus.licence}"
    ]
    if corpus.num_unknown:
        lines.append(f"{corpus.num_unknown:,} rare or unknown words became <unk>")
    return "\n".join(lines)


def plot(workdir: Path, corpus: Corpus, levels: Mapping[str, float]) -> Path:
    """Draw the learning curve, and levels in nats by order; return the picture's path."""
    scale = SCALES[corpus.vocabulary.level]
    records = read_metrics(workdir)
    curves = {split: curve_of(records, f"{split}_{scale.key}") for split in ("train", "validation")}
    path = workdir / "learning_curve.png"
    learning_curve(
        path,
        curves,
        {f"Witten-Bell order {n}": scale.of_nats(v) for n, v in levels.items()},
        ylabel=scale.unit,
        title=f"text generation: {corpus.name}",
    )
    return path


def summary(result: Mapping[str, Any], sample: str, level: Level, workdir: Path) -> str:
    """Return the text that ends a run.

    Args:
      result: what `train` returns.
      sample: the text that the model wrote.
      level: characters or words.
      workdir: where the files are.
    """
    scale = SCALES[level]

    def show(nats: float) -> str:
        return f"{scale.of_nats(nats):.3f} {scale.unit} ({nats:.4f} nats)"

    lines = ["", f"the model of the best validation, from step {result['best_step']:,}"]
    for split, key in (("validation", "baseline_nats"), ("test", "test_baseline_nats")):
        nats = result[f"{split}_nats"]
        if nats is None:
            continue
        lines.append(f"{split:<10}  {show(nats)}, over {result[f'{split}_symbols']:,} {level}s")
        lines.append(f"Witten-Bell n-gram models on the {split} split:")
        for order, baseline in result[key].items():
            verdict = "passed" if nats < baseline else "not passed"
            lines.append(f"  order {order}   {show(baseline)}   {verdict}")
    lines += ["", "sample:", "-" * 72, sample, "-" * 72, ""]
    lines.append(f"{result['seconds']:.0f} s of training, {result['parameters']:,} parameters")
    lines.append(f"files: {workdir}/ (checkpoints, metrics.jsonl, tensorboard,")
    lines.append("       learning_curve.png, sample.txt, result.json)")
    lines.append("write more with: python -m experiments.text_generation --generate TEXT")
    return "\n".join(lines)
