"""What attention changes: short runs that differ in one thing, in one table.

    python -m experiments.machine_translation.findings                   dates, offline
    python -m experiments.machine_translation.findings --data multi30k

| finding | source |
|---|---|
| attention helps, most with long sentences | Bahdanau et al. 2015, Luong et al. 2015 |
| so does feeding the context back | Luong et al. 2015, table 1 |
| without attention, in one direction: the source reversed is easier | Sutskever et al. 2014 |

The test's longer half of sentences is counted by itself, for the first of them. Runs that
are finished are not run again: the same command goes on after a kill. In the corpus's folder,
beside a folder for each run, there will be:

    table.md         the figures, a row a network
    findings.json    the same, with settings, versions and hardware
    validation.png   the validation figure over the steps, of the first seed
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from experiments.common import command
from experiments.common.metrics import curve_of, read_metrics
from experiments.common.plots import learning_curve
from experiments.common.records import environment, write_json
from experiments.common.run_folder import finished_or_trained
from experiments.common.settings import as_stored, check_settings
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.data import load_corpus
from experiments.machine_translation.evaluate import LABELS, score_lines, score_of
from experiments.machine_translation.lines import Pairs, read_lines
from experiments.machine_translation.train import TRANSLATION_PACKAGES, TRANSLATIONS_FILE, train

_LAST_STATE: dict[str, Any] = {"attention": "none", "bidirectional": False}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "Luong's attention": {},
    "no attention": {"attention": "none"},
    "no attention, one direction": _LAST_STATE,
    "no attention, one direction, source reversed": _LAST_STATE | {"reverse_source": True},
    "Luong's, no input feeding": {"input_feeding": False},
    "Bahdanau's attention": {"attention": "bahdanau"},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Train short runs that differ in one thing, and compare them."""

    data: Literal["dates", "multi30k"] = "dates"
    """dates (made, offline) or multi30k (English to German)."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""
    seeds: int = 1
    """How many runs of each kind, with the seeds 0, 1, ..."""
    steps: int | None = None
    """Training steps, if others than configured."""
    workdir: Path = Path("runs/machine_translation_findings")
    """The folder of all the runs."""


def compare(options: Options, base: Config) -> Iterator[dict[str, Any]]:
    """Train what is not trained yet and yield a row for each variant.

    Args:
      options: what to compare.
      base: the settings that the variants change.

    Yields:
      For each variant its name and, as means over seeds, of the test split: the figure by
      beam search as `score`, that of the longer half of its sentences as `longer`, and
      nats a token; `deviation` of the first with several seeds.
    """
    test = load_corpus(base.data, base.data_dir).test
    for name, changes in VARIANTS.items():
        results, longer = [], []
        for seed in range(options.seeds):
            config = dataclasses.replace(base, seed=seed, **changes)
            folder = run_folder(options, name, seed)
            print(f"\n== {name}, seed {seed}", flush=True)
            results.append(finished_or_trained(train, config, folder))
            longer.append(score_of_longer(base.data, read_lines(folder / TRANSLATIONS_FILE), test))
        scores = [result["test"]["beam"] for result in results]
        yield {
            "name": name,
            "score": float(np.mean(scores)),
            "deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            "longer": float(np.mean(longer)),
            "nats": float(np.mean([result["test"]["nats"] for result in results])),
            "parameters": results[0]["parameters"],
            "seconds": float(np.mean([result["seconds"] for result in results])),
        }


def run_folder(options: Options, name: str, seed: int) -> Path:
    """Return where the run of a variant and a seed is."""
    words = name.replace(",", "").replace("'s", "").replace(" ", "-").lower()
    return options.workdir / options.data / f"{words}-{seed}"


def score_of_longer(corpus: str, translations: Sequence[str], test: Pairs) -> float:
    """Return the figure of that half of the test's lines whose sources have most words."""
    words = [len(line.split()) for line in test.sources]
    rows = np.argsort(words, kind="stable")[len(words) // 2 :]
    chosen = [(translations[i], test.targets[i]) for i in rows]
    return score_lines(corpus, *map(list, zip(*chosen, strict=True))).value


def table(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """Return rows as a table in Markdown."""
    lines = [
        f"| network | {label} | longer half | nats a token | parameters |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        score = f"{row['score']:.2f}"
        if row["deviation"] is not None:
            score += f" ± {row['deviation']:.2f}"
        figures = f"{score} | {row['longer']:.2f} | {row['nats']:.3f} | {row['parameters']:,}"
        lines.append(f"| {row['name']} | {figures} |")
    return "\n".join(lines)


def write(options: Options, base: Config, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the files on the runs that there are, and return the table."""
    folder, score = options.workdir / options.data, score_of(options.data)
    text = table(rows, f"test {LABELS[score]}")
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    content = {
        "config": as_stored(base),
        "seeds": options.seeds,
        "rows": rows,
        "environment": environment(TRANSLATION_PACKAGES),
    }
    write_json(folder / "findings.json", content)
    curves = {
        row["name"]: curve_of(
            read_metrics(run_folder(options, row["name"], 0)), f"validation_{score}"
        )
        for row in rows
    }
    label = f"validation {LABELS[score]}, greedy"
    learning_curve(folder / "validation.png", curves, {}, label, f"{options.data}: what is read")
    return text


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with command.plain_errors():
        options = tyro.cli(
            Options, prog="python -m experiments.machine_translation.findings", args=arguments
        )
        check_settings(options, at_least_one=("seeds",))
        base = dataclasses.replace(SHORT[options.data], data_dir=options.data_dir)
        if options.steps is not None:
            base = dataclasses.replace(base, steps=options.steps)
        rows = []
        for row in compare(options, base):  # the table grows, for who stops it early
            rows.append(row)
            text = write(options, base, rows)
            print(f"\n{text}\n\nfiles: {options.workdir / options.data}/", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
