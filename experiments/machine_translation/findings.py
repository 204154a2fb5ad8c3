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
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.common import sweep
from experiments.common.settings import as_stored, require
from experiments.common.sweep import Results, Sweep
from experiments.machine_translation.config import Config
from experiments.machine_translation.configs.findings import SHORT
from experiments.machine_translation.data import load_corpus
from experiments.machine_translation.evaluate import LABELS, score_lines, score_of
from experiments.machine_translation.experiment import EXPERIMENT
from experiments.machine_translation.lines import Pairs, read_lines
from experiments.machine_translation.report import TRANSLATIONS_FILE

_LAST_STATE: dict[str, Any] = {"attention": "none", "bidirectional": False}
Variants = Mapping[str, Mapping[str, Any]]  # by a network's name what it changes
VARIANTS: Variants = {
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


def findings_of(options: Options, base: Config, variants: Variants = VARIANTS) -> Sweep:
    """Return what is compared: each change of `base`, with each seed."""
    score = score_of(base.data)
    return Sweep(
        experiment=EXPERIMENT,
        rows={
            name: {
                run_name(name, seed): dataclasses.replace(base, seed=seed, **changes)
                for seed in range(options.seeds)
            }
            for name, changes in variants.items()
        },
        figures=partial(_figures, base.data, load_corpus(base).test),
        head=lambda _: {"config": as_stored(base), "seeds": options.seeds},
        table=table,
        draw=sweep.curves(
            f"validation_{score}",
            f"validation {LABELS[score]}, greedy",
            f"{base.data}: what is read",
        ),
        files=("table.md", "findings.json", "validation.png"),
    )


def run_name(name: str, seed: int) -> str:
    """Return the name of the folder of a variant's run."""
    words = name.replace(",", "").replace("'s", "").replace(" ", "-").lower()
    return f"{words}-{seed}"


def _figures(corpus: str, test: Pairs, name: str, results: Results) -> dict[str, Any]:
    """Return a variant's row: means over seeds, of the test split.

    `score` is the figure by beam search, in percent, and `deviation` its own with several seeds;
    `longer` is that of the longer half of the sentences, `nats` are those a token.
    """
    scores = [result["test"]["beam"] for result in results.values()]
    files = [folder / TRANSLATIONS_FILE for folder in results]
    longer = [score_of_longer(corpus, read_lines(path), test) for path in files]
    return {
        "name": name,
        "score": float(np.mean(scores)),
        "deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "longer": float(np.mean(longer)),
        "nats": float(np.mean([result["test"]["nats"] for result in results.values()])),
        "parameters": next(iter(results.values()))["parameters"],
        "seconds": float(np.mean([result["seconds"] for result in results.values()])),
    }


def score_of_longer(corpus: str, translations: Sequence[str], test: Pairs) -> float:
    """Return the figure of that half of the test's lines whose sources have most words."""
    words = [len(line.split()) for line in test.sources]
    rows = np.argsort(words, kind="stable")[len(words) // 2 :]
    chosen = [(translations[i], test.targets[i]) for i in rows]
    return score_lines(corpus, *map(list, zip(*chosen, strict=True))).value


def table(content: Mapping[str, Any]) -> str:
    """Return the table as Markdown, a row a network."""
    label = LABELS[score_of(content["config"]["data"])]
    rows = [["network", f"test {label}", "longer half", "nats a token", "parameters"]]
    for row in content["rows"]:
        score = f"{row['score']:.2f}"
        if row["deviation"] is not None:
            score += f" ± {row['deviation']:.2f}"
        others = f"{row['longer']:.2f}", f"{row['nats']:.3f}", f"{row['parameters']:,}"
        rows.append([row["name"], score, *others])
    return sweep.markdown(*rows)


def main(arguments: Sequence[str], variants: Variants = VARIANTS) -> None:
    """Run the command line."""
    with sweep.command_line(Options, "machine_translation.findings", arguments) as options:
        require(options.seeds >= 1, options, "seeds", ">= 1")
        base = dataclasses.replace(SHORT[options.data], data_dir=options.data_dir)
        if options.steps is not None:
            base = dataclasses.replace(base, steps=options.steps)
        sweep.run(findings_of(options, base, variants), options.workdir / options.data)


if __name__ == "__main__":
    main(sys.argv[1:])
