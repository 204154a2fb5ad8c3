"""What a run says and draws, and on which scale."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common.experiment import Trained
from experiments.common.plots import draw_run
from experiments.text_generation.data import Data, Level
from experiments.text_generation.use import stream_text


class Scale(NamedTuple):
    """How a level's nats are shown."""

    key: str  # in records: train_<key>, validation_<key>
    unit: str
    of_nats: Callable[[float], float]


SCALES: Mapping[Level, Scale] = {
    "character": Scale("bits", "bits per character", lambda nats: nats / math.log(2.0)),
    # Of a loss beyond all sense, the largest that JSON can hold.
    "word": Scale("perplexity", "perplexity per word", lambda nats: math.exp(min(nats, 700.0))),
}


def describe(data: Data) -> str:
    """Return what is learned from, its licence, and what was substituted."""
    sizes = [f"{len(data.train):,} training", f"{len(data.valid):,} validation"]
    if data.test is not None:
        sizes.append(f"{len(data.test):,} test")
    lines = [
        f"corpus {data.name}: {', '.join(sizes)} {data.vocabulary.level}s, "
        f"vocabulary {len(data.vocabulary):,}; licence: {data.licence}"
    ]
    if data.num_unknown:
        lines.append(f"{data.num_unknown:,} rare or unknown words became <unk>")
    return "\n".join(lines)


def report(trained: Trained, data: Data, result: Mapping[str, Any], _: None) -> str:
    """Write learning curve and sample, and return the text that ends a run."""
    scale, baselines = SCALES[data.vocabulary.level], result["validation_baseline_nats"]
    draw_run(
        trained.folder,
        scale.key,
        {f"Witten-Bell order {n}": scale.of_nats(nats) for n, nats in baselines.items()},
        ylabel=scale.unit,
        title=f"text generation: {data.name}",
    )
    prompt = trained.config.sample_prompt or data.vocabulary.decode(data.train[:1])
    sample = "".join(stream_text(trained, prompt))
    (trained.folder / "sample.txt").write_text(sample, encoding="utf-8")
    return summary(result, sample, data.vocabulary.level, trained.folder)


def summary(result: Mapping[str, Any], sample: str, level: Level, workdir: Path) -> str:
    """Return the text that ends a run, of a result and a sample that the model wrote."""
    scale = SCALES[level]

    def show(nats: float) -> str:
        return f"{scale.of_nats(nats):.3f} {scale.unit} ({nats:.4f} nats)"

    lines = ["", f"the model of the best validation, from step {result['best_step']:,}"]
    for split in ("validation", "test"):
        nats = result[f"{split}_nats"]
        if nats is None:
            continue
        lines.append(f"{split:<10}  {show(nats)}, over {result[f'{split}_symbols']:,} {level}s")
        lines.append(f"Witten-Bell n-gram models on the {split} split:")
        for order, baseline in result[f"{split}_baseline_nats"].items():
            verdict = "passed" if nats < baseline else "not passed"
            lines.append(f"  order {order}   {show(baseline)}   {verdict}")
    lines += ["", "sample:", "-" * 72, sample, "-" * 72, ""]
    lines.append(f"{result['seconds']:.0f} s of training, {result['parameters']:,} parameters")
    lines.append(f"files: {workdir}/ (checkpoints, metrics.jsonl, tensorboard,")
    lines.append("       learning_curve.png, sample.txt, result.json)")
    lines.append("write more with: python -m experiments.text_generation --generate TEXT")
    return "\n".join(lines)
