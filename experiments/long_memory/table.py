"""All tasks in one table: which cell for what.

    python -m experiments.long_memory.table

It reads what `compare` has left in experiments/results/long_memory/*/comparison.json, and writes
table.md and table.png beside them, and the table into this folder's README. Milliseconds of a
train step are those that `speed` has left there.
"""

import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from experiments.common import plots, sweep
from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.long_memory.config import TaskName
from experiments.long_memory.report import shown

RESULTS = Path(__file__).parents[1] / "results" / "long_memory"
README = Path(__file__).parent / "README.md"
RECORD, SPEED = "comparison.json", "speed.json"
SPEED_LENGTHS = (1024, 16384, 65536)
TASKS: tuple[str, ...] = get_args(TaskName)
_SOLVED = 0.95  # from here on, of the way from chance to no mistake, a cell can do a task

Row = Mapping[str, Any]
Speeds = Mapping[str, Mapping[str, float]]


class Column(NamedTuple):
    """A figure of a task."""

    task: str
    name: str  # accuracy, accuracy_2048, mse, nats
    chance: float

    def __str__(self) -> str:
        length = self.name.partition("_")[2]
        return self.task + (f" at {int(length):,}" if length else "")

    @property
    def unit(self) -> str:
        """Return what it is measured in."""
        return {"mse": "squared error", "nats": "nats"}.get(self.name, "%")

    @property
    def of_chance(self) -> str:
        """Return the figure of chance."""
        return shown(self.name, {"value": self.chance, "deviation": None})

    def of(self, row: Row) -> str:
        """Return the figure of a cell."""
        return shown(self.name, row["test"][self.name])

    def share(self, row: Row) -> float:
        """Return how far a cell is on the way from chance, 0, to no mistake, 1.

        A squared error goes that way by its logarithm, down to 1e-4; nats have no end that is
        known, so they go from those of the symbols' frequencies to zero.
        """
        value = row["test"][self.name]["value"]
        if self.name == "mse":
            way = math.log(self.chance / max(value, 1e-12)) / math.log(self.chance / 1e-4)
        elif self.name == "nats":
            way = 1 - value / self.chance
        else:
            way = (value - self.chance) / (1 - self.chance)
        return min(max(way, 0.0), 1.0)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the figures that there are, task by task."""
    ordered = sorted(rows, key=lambda row: TASKS.index(row["task"]))
    found = (Column(row["task"], name, row["chance"]) for row in ordered for name in row["test"])
    return list(dict.fromkeys(found))


def label(row: Row) -> str:
    """Return a cell's name in a table; in plain layers it is another network."""
    return row["cell"] + ("" if row["architecture"] == "block" else ", plain")


def by_label(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Return the rows by the cell's name and by task, in their order."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(label(row), {})[row["task"]] = row
    return found


def table(rows: Sequence[Row], speeds: Speeds | None = None) -> str:
    """Return Markdown: a line a cell, a column a figure; the mean and deviation of the seeds."""
    columns, lengths = columns_of(rows), SPEED_LENGTHS if speeds else ()
    head = ["cell", *(f"{c}, {c.unit} ({c.of_chance})" for c in columns)]
    head += [f"train step of {length:,}, ms" for length in lengths]
    lines = []
    for name, of in by_label(rows).items():
        cells = [
            shown(c.name, of[c.task]["test"][c.name]) if c.task in of else "-" for c in columns
        ]
        speed = (speeds or {}).get(name, {})
        times = [speed.get(str(length)) for length in lengths]
        lines.append([name, *cells, *("-" if ms is None else f"{ms:.3g}" for ms in times)])
    return sweep.markdown(head, *lines)


def advice(rows: Sequence[Row]) -> str:
    """Return which cells can do what, a line a figure: the best first, then those that cannot."""
    lines = []
    for column in columns_of(rows):
        of = {label(row): row for row in rows if row["task"] == column.task}
        best = sorted(of, key=lambda name: -column.share(of[name]))
        able = best[:3]
        unable: list[str] = []
        if column.name != "nats":
            able = [name for name in best if column.share(of[name]) >= _SOLVED]
            unable = [name for name in best if name not in able]
        words = [f"{name} {column.of(of[name])}" for name in able]
        line = f"- **{column}** ({column.unit}): {', '.join(words) or 'none'}"
        if unable:
            line += f"; not {', '.join(f'{name} {column.of(of[name])}' for name in unable)}"
        lines.append(line)
    return "\n".join(lines)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draw how far each cell is on the way from chance; beside it, accuracies over the steps."""
    columns, lines = columns_of(rows), by_label(rows)
    curves = [t for t in TASKS if any(row["task"] == t and row.get("by_step") for row in rows)]
    size = (max(4.5, 1.5 + 0.5 * len(columns)), max(3.5, 1.5 + 0.3 * len(lines)))
    picture, axes = plots.figure(1 + len(curves), size=size, squeeze=False)
    first, *others = axes[0]
    shares = [
        [c.share(of[c.task]) if c.task in of else math.nan for c in columns]
        for of in lines.values()
    ]
    image = first.imshow(shares, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    first.set_xticks(range(len(columns)), list(map(str, columns)), rotation=90)
    first.set_yticks(range(len(lines)), list(lines))
    picture.colorbar(image, ax=first, label="from chance (0) to no mistake (1)")
    for task, one in zip(curves, others, strict=True):
        _draw_steps(one, task, lines)
    if others:
        others[-1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    picture.savefig(path, dpi=110)


def _draw_steps(axes: Any, task: str, lines: Mapping[str, Mapping[str, Row]]) -> None:
    """Draw the accuracy over the steps, a line a cell; every cell has its colour and dashes."""
    for i, (name, of) in enumerate(lines.items()):
        if task in of:
            found, dashes = of[task]["by_step"], ("-", "--", ":")[i // 10 % 3]
            axes.plot(found["step"], found["accuracy"], dashes, color=f"C{i % 10}", label=name)
    row = next(of[task] for of in lines.values() if task in of)
    axes.axvline(row["length"], color="0.4", linestyle=":")
    axes.axhline(row["chance"], color="0.4", linestyle="--")
    axes.set(xscale="log", xlabel="step", ylabel="accuracy", title=f"{task}, by step")
    axes.grid(alpha=0.3)


def collect(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of all comparisons below a folder.

    Raises:
      InputError: two are of the same cell and task.
    """
    seen: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.glob(f"*/{RECORD}")):
        for row in read_json(file)["rows"]:
            key = label(row), row["task"]
            if key in seen:
                raise InputError(
                    f"collect: {' on '.join(key)} is both in {seen[key]} and in {file}; remove one"
                )
            seen[key] = file
            yield row


@dataclasses.dataclass(frozen=True)
class Collection:
    """Put all comparisons into one table, and say which cell can do what."""

    folder: Path = RESULTS
    """Where they are, a folder each; table.md and table.png are written there, too."""
    readme: Path = README
    """The page that shows the table between two marks."""


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Collection, "long_memory.table", arguments) as collection:
        folder = collection.folder
        rows = list(collect(folder))
        if not rows:
            raise InputError(f"table: there is no */{RECORD} below {folder}; train a preset first")
        speeds = read_json(folder / SPEED)["ms"] if (folder / SPEED).is_file() else {}
        text = f"{table(rows, speeds)}\n\n{advice(rows)}"
        (folder / "table.md").write_text(text + "\n", encoding="utf-8")
        draw(folder / "table.png", rows)
        sweep.fill(collection.readme, text)
        print(f"{text}\n\nfiles: {folder}/ (table.md, table.png), {collection.readme}")


if __name__ == "__main__":
    main(sys.argv[1:])
