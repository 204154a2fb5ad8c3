"""All tasks in one table: which cell for what.

    python -m experiments.long_memory.table

It reads what `compare` has left in experiments/results/long_memory/*/comparison.json, and writes
table.md and table.png beside them, and the table into this folder's README. Milliseconds of a
gradient are those that `speed` has left there.
"""

import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from experiments.common import plots, sweep
from experiments.common.errors import InputError
from experiments.common.intervals import counted
from experiments.common.records import read_json
from experiments.long_memory.config import TaskName
from experiments.long_memory.report import shown

RESULTS = Path(__file__).parents[1] / "results" / "long_memory"
README = Path(__file__).parent / "README.md"
RECORD, SPEED = "comparison.json", "speed.json"
MS = "gradient_ms"  # in the record of speed: by cell and length
SPEED_LENGTHS = (1024, 16384, 65536)
TASKS: tuple[str, ...] = get_args(TaskName)
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "Track a state": ("parity", "s3", "a5"),
    "Recall": ("copy", "selective_copy", "mqar"),
    "Add what was marked long ago": ("adding",),
    "Classify by pixels": ("smnist", "psmnist"),
    "Predict text": ("characters",),
}
_SOLVED = 0.95  # from here on, of the way from chance to no mistake, a seed has solved a task
_BEST = 3  # cells are named where there is no such end

Row = Mapping[str, Any]
Speeds = Mapping[str, Mapping[str, float]]


class Column(NamedTuple):
    """A figure of a task."""

    task: str
    name: str  # accuracy, accuracy_2048, mse, nats
    chance: float

    def __str__(self) -> str:
        return self.task + ("" if self.length is None else f" at {self.length:,}")

    @property
    def length(self) -> int | None:
        """Return the steps that it is measured at; None: those of training."""
        length = self.name.partition("_")[2]
        return int(length) if length else None

    @property
    def unit(self) -> str:
        """Return what it is measured in."""
        return {"mse": "squared error", "nats": "nats"}.get(self.name, "%")

    @property
    def of_chance(self) -> str:
        """Return the figure of chance."""
        return shown(self.name, {"mean": self.chance, "deviation": None})

    def of(self, row: Row) -> str:
        """Return the figure of a cell in words."""
        return shown(self.name, row["test"][self.name])

    def mean(self, row: Row) -> float:
        """Return the figure of a cell, the mean of its seeds."""
        return row["test"][self.name]["mean"]

    def is_longer(self, row: Row) -> bool:
        """Return whether it is of sequences longer than those of training."""
        return self.length not in (None, row["length"])

    def solved(self, row: Row) -> list[bool]:
        """Return which of a cell's seeds have solved it."""
        return [self.share(value) >= _SOLVED for value in row["test"][self.name]["each"]]

    def share(self, value: float) -> float:
        """Return how far a figure is on the way from chance, 0, to no mistake, 1.

        A squared error goes that way by its logarithm, down to 1e-4; nats have no end that is
        known, so they go from those of the symbols' frequencies to zero.
        """
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
    head += [f"gradient of {length:,} steps, ms" for length in lengths]
    lines = []
    for name, of in by_label(rows).items():
        cells = [c.of(of[c.task]) if c.task in of else "-" for c in columns]
        speed = (speeds or {}).get(name, {})
        times = [speed.get(str(length)) for length in lengths]
        lines.append([name, *cells, *map(_milliseconds, times)])
    return sweep.markdown(head, *lines)


def _milliseconds(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def conditions(rows: Sequence[Row], speed: Mapping[str, Any] | None = None) -> str:
    """Return how the figures were measured: a line a task, and one for the milliseconds."""
    lines = []
    for task in TASKS:
        of = [row for row in rows if row["task"] == task]
        if not of:
            continue
        rates = dict.fromkeys(rate for row in of for rate in row["validation_loss_by_rate"])
        seeds, steps = _several(of, "num_seeds"), _several(of, "steps")
        trained = f"{seeds} {'seed' if seeds == '1' else 'seeds'}, {steps} steps"
        lines.append(f"- {task}: {trained}, learning rate {' or '.join(rates)}")
    if speed is not None:
        machine = speed["machine"]
        lines.append(
            "- gradient: of one sequence through the network of parity, without an optimizer's "
            f"step, by the fastest of the cell's schedules; {machine['processor']}, "
            f"{machine['cores']} cores, jax {machine['packages']['jax']}"
        )
    return "\n".join(lines)


def _several(rows: Sequence[Row], name: str) -> str:
    return " or ".join(f"{n:,}" for n in sorted({row[name] for row in rows}))


def advice(rows: Sequence[Row]) -> str:
    """Return which cells solve what, a line a family of tasks: of how many seeds each."""
    lines = []
    for family, tasks in FAMILIES.items():
        of = [row for row in rows if row["task"] in tasks]
        columns = columns_of(of)
        there = list(dict.fromkeys(column.task for column in columns))
        name = f"- **{family}** ({', '.join(there)})"
        if any(column.name == "nats" for column in columns):
            (column,) = columns
            best = sorted(of, key=column.mean)[:_BEST]
            words = ", ".join(f"{label(row)} {column.of(row)}" for row in best)
            lines.append(f"{name}: lowest {column.unit} {words}")
        elif columns:
            lines.append(f"{name}: {_solvers(of, columns, there, longer=False)}")
            if any(column.is_longer(row) for row in of for column in columns):
                words = _solvers(of, columns, there, longer=True)
                lines.append(f"{name}, at all longer lengths too: {words}")
    return "\n".join(lines)


def _solvers(
    rows: Sequence[Row], columns: Sequence[Column], tasks: Sequence[str], *, longer: bool
) -> str:
    """Return how many seeds of each cell solve each task, the best first.

    Args:
      rows: of the tasks.
      columns: their figures.
      tasks: in their order.
      longer: whether a seed has to solve a task at all lengths, or at that of training.
    """

    def seeds(row: Row) -> list[bool]:
        asked = [c for c in columns if c.task == row["task"] and (longer or not c.is_longer(row))]
        return [all(each) for each in zip(*(c.solved(row) for c in asked), strict=True)]

    found = {
        name: {task: seeds(of[task]) for task in tasks if task in of}
        for name, of in by_label(rows).items()
    }
    ordered = sorted(found, key=lambda name: -sum(map(sum, found[name].values())))
    able = [name for name in ordered if any(map(any, found[name].values()))]
    unable = [name for name in ordered if name not in able]
    words = [
        f"{name} {', '.join(counted(of[task]) if task in of else '-' for task in tasks)}"
        for name, of in ((name, found[name]) for name in able)
    ]
    if unable:
        words.append(f"no seed of {', '.join(unable)}")
    return "; ".join(words)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draw how far each cell is on the way from chance; beside it, accuracies over the steps."""
    columns, lines = columns_of(rows), by_label(rows)
    curves = [t for t in TASKS if any(row["task"] == t and row.get("by_step") for row in rows)]
    size = (max(4.5, 1.5 + 0.5 * len(columns)), max(3.5, 1.5 + 0.3 * len(lines)))
    picture, axes = plots.figure(1 + len(curves), size=size, squeeze=False)
    first, *others = axes[0]
    shares = [
        [c.share(c.mean(of[c.task])) if c.task in of else math.nan for c in columns]
        for of in lines.values()
    ]
    image = first.imshow(shares, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    first.set_xticks(range(len(columns)), list(map(str, columns)), rotation=90)
    first.set_yticks(range(len(lines)), list(lines))
    picture.colorbar(image, ax=first, label="from chance (0) to no mistake (1)")
    for task, one in zip(curves, others, strict=True):
        _draw_steps(one, task, lines)
    if others:
        others[-1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    picture.savefig(path, dpi=110)


def _draw_steps(axes: Any, task: str, lines: Mapping[str, Mapping[str, Row]]) -> None:
    """Draw the accuracy over the steps, a line a cell, in the same style for every task."""
    for i, (name, of) in enumerate(lines.items()):
        if task in of:
            found = of[task]["by_step"]
            axes.plot(found["step"], found["accuracy"], label=name, **plots.style(i))
    row = next(of[task] for of in lines.values() if task in of)
    axes.axvline(row["length"], color="0.4", linestyle=":")
    axes.axhline(row["chance"], color="0.4", linewidth=0.8)
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
        speed = read_json(folder / SPEED) if (folder / SPEED).is_file() else None
        text = f"{table(rows, speed and speed[MS])}\n\n{conditions(rows, speed)}\n\n{advice(rows)}"
        (folder / "table.md").write_text(text + "\n", encoding="utf-8")
        draw(folder / "table.png", rows)
        sweep.fill(collection.readme, text)
        print(f"{text}\n\nfiles: {folder}/ (table.md, table.png), {collection.readme}")


if __name__ == "__main__":
    main(sys.argv[1:])
