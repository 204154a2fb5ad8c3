"""All comparisons, and the speed beside Flax, in this folder's README.

    python -m experiments.reinforcement_learning.table

It reads what is in experiments/results/reinforcement_learning: `*/comparison.json`, which
`compare` writes, and `speed.json`.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.reinforcement_learning.compare import PICTURE, RECORD, table

RESULTS = Path(__file__).parents[1] / "results" / "reinforcement_learning"
README = Path(__file__).parent / "README.md"
SPEED = "speed.json"


def headline(config: Mapping[str, Any], processor: str) -> str:
    """Return what a comparison was, in a line."""
    delay = f" {config['delay']}" if config["environment"] in ("tmaze", "repeat_previous") else ""
    return (
        f"`{config['environment']}`{delay}: {config['num_seeds']} seeds, {config['steps']:,} steps "
        f"each, {config['hidden_size']} units; {processor}"
    )


def speeds(record: Mapping[str, Any]) -> str:
    """Return Markdown: a line a size."""
    head = ["environments", "steps of a rollout", "units", "ours", "Flax", "time, ours / Flax"]
    lines = []
    for row in record["rows"]:
        low, high = row["ratio_quartiles"]
        lines.append(
            [
                *(row["num_envs"], row["rollout"], row["hidden_size"]),
                f"{row['ours_steps_per_second']:,.0f}",
                f"{row['flax_steps_per_second']:,.0f}",
                f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})",
            ]
        )
    machine = record["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, jax {machine['packages']['jax']}"
    return f"{sweep.markdown(head, *lines)}\n\n{where}, {record['rounds']} rounds, with quartiles."


def page(folder: Path) -> str:
    """Return the whole text.

    Raises:
      InputError: there is nothing to show.
    """
    parts = []
    for file in sorted(folder.glob(f"*/{RECORD}")):
        content = read_json(file)
        rows, processor = content["rows"], content["environment"]["processor"]
        parts.append(f"### {headline(rows[0]['config'], processor)}\n\n{table(rows)}")
        if (file.parent / PICTURE).is_file():
            below = f"../results/{folder.name}/{file.parent.name}/{PICTURE}"
            parts.append(f"![learning curves]({below})")
    if (folder / SPEED).is_file():
        parts.append(f"### Steps a second\n\n{speeds(read_json(folder / SPEED))}")
    if not parts:
        raise InputError(f"table: there is no */{RECORD} below {folder}; train a preset first")
    return "\n\n".join(parts)


@dataclasses.dataclass(frozen=True)
class Collection:
    """Put all comparisons, and the speed, into one page."""

    folder: Path = RESULTS
    """Where they are, a folder each."""
    readme: Path = README
    """The page that shows them between two marks."""


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Collection, "reinforcement_learning.table", arguments) as collection:
        text = page(collection.folder)
        sweep.fill(collection.readme, text)
        print(f"{text}\n\nfiles: {collection.readme}")


if __name__ == "__main__":
    main(sys.argv[1:])
