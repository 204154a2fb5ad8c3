"""The command: measure what a preset names, and write records, tables and pictures.

What is measured is not measured again: with `--resume`, or the same `--workdir`, it goes on.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.common import sweep
from experiments.common.command import run_folder_for
from experiments.common.errors import InputError
from experiments.common.settings import option
from experiments.depth import expressive, long, plots, refine, speech, summary, trainable
from experiments.depth.record import measure
from experiments.depth.settings import (
    PRESETS,
    Expressive,
    Long,
    Refine,
    Settings,
    Speech,
    Trainable,
    checked,
)

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]

RUNS = Path("runs") / "depth"


@dataclasses.dataclass(frozen=True)
class Part:
    """A measurement: what measures its rows, and what shows its record."""

    rows: Callable[[Any], Any]
    table: Callable[[Mapping[str, Any]], str]
    draw: Callable[[Path, Mapping[str, Any]], None]


PARTS: Mapping[type, Part] = {
    Refine: Part(refine.rows, summary.table_of_probes, plots.draw_refine),
    Speech: Part(speech.rows, summary.table_of_probes, plots.draw_refine),
    Long: Part(long.rows, summary.table_of_lags, plots.draw_long),
    Trainable: Part(trainable.rows, summary.table_of_shares, plots.draw_trainable),
}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Measure what is said of deep recurrent networks."""

    preset: PresetName = "default"
    """default: what layers know and which networks train, short and offline."""
    data: str | None = None
    """The text: pydoc, tinyshakespeare, warandpeace, or a UTF-8 file."""
    data_dir: str | None = None
    """A folder that holds the corpora: no download. DEEPRNN_DATA in the environment, too."""
    run: str | None = None
    """refine_speech: the folder of a run of experiments.speech_recognition."""
    resume: bool = False
    """Go on with the newest measurement of the preset, with the same options."""
    workdir: Path | None = None
    """Where records go; else a new folder. One that is there is gone on with."""
    depths: tuple[int, ...] = ()
    """In place of the preset's, as are all below."""
    cells: tuple[str, ...] = ()
    """Names of cells."""
    num_seeds: int | None = None
    """Networks of each kind."""
    steps: int | None = None
    """Training steps."""


def settings_of(measurement: Measurement) -> list[Settings]:
    """Return what is measured.

    Raises:
      InputError: an option that the preset has no use for, or a value out of range.
    """
    of_all = {"preset", "resume", "workdir"}
    given = {k: v for k, v in vars(measurement).items() if k not in of_all and v not in (None, ())}
    preset = PRESETS[measurement.preset]
    known = {field.name for one in preset for field in dataclasses.fields(one)}
    unused = sorted(set(given) - known)
    if unused:
        raise InputError(
            f"Measurement: --preset {measurement.preset} has no {option(unused[0])}; omit it"
        )
    return [checked(dataclasses.replace(one, **_of(one, given))) for one in preset]


def _of(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(settings)}
    return {name: value for name, value in given.items() if name in names}


def run(settings: Settings, folder: Path) -> None:
    """Measure, and write the record, its table and its picture."""
    if isinstance(settings, Expressive):
        sweep.run(expressive.sweep_of(settings), folder)
        return
    part, name = PARTS[type(settings)], type(settings).__name__.lower()
    made, facts = part.rows(settings)
    record = measure(folder / f"{name}.json", settings, made, facts)
    table = part.table(record)
    (folder / f"{name}.md").write_text(table + "\n", encoding="utf-8")
    part.draw(folder / f"{name}.png", record)
    print(f"\n{table}\n\nfiles: {folder}/ ({name}.json, {name}.md, {name}.png)\n", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Measurement, "depth", arguments) as measurement:
        all_settings = settings_of(measurement)
        folder = measurement.workdir
        if measurement.resume and folder is None:
            folder = sweep.newest(RUNS, measurement.preset, "depth: no measurement")
        with run_folder_for(folder, RUNS, measurement.preset) as workdir:
            for settings in all_settings:
                run(settings, workdir)
