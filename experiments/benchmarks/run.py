"""A run: one row after the other, each measured and written down before the next.

`results.json` holds

    config, machine   what was asked for, and what it ran on
    groups            "rows" (the grid), one for each axis of growth, and "scan" (codes by
                      our scan and by `lax.scan`): row -> record

and a record

    measured          what of `config.Measure` has been measured -> rounds, load average before
    measures          measure -> unit, samples of each entry, and what bounds them
    agreement         entry -> distance of its numbers from ours
    not_run, errors   entry, or measure, -> why there are no samples
    notes             entry -> what the reader should know
"""

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import tqdm

from experiments.benchmarks import grid
from experiments.benchmarks.compare import differing_versions
from experiments.benchmarks.compiling import time_compiling
from experiments.benchmarks.config import FREE_ON_RESUME, Config
from experiments.benchmarks.machine import describe_machine
from experiments.benchmarks.memory import measure_memory, planned_memory
from experiments.benchmarks.peers.contract import Program
from experiments.benchmarks.peers.registry import OURS, ours
from experiments.benchmarks.plan import ROWS, SCAN, Job, make_plan
from experiments.benchmarks.programs import Built, build_programs
from experiments.benchmarks.report import row_lines
from experiments.benchmarks.scans.programs import build_scans
from experiments.benchmarks.steps import Timing, time_passes, time_sequences, time_stream
from experiments.benchmarks.timing import describe
from experiments.common.errors import InputError
from experiments.common.records import read_json, write_json

RESULTS = "results.json"
BUSY = 0.3  # load average above which other programs are surely running

Record = dict[str, Any]


def run(config: Config, out: Path, say: Callable[[str], None] = tqdm.tqdm.write) -> Record:
    """Measure all that is asked for, and write `results.json` after each row.

    Args:
      config: the options.
      out: the folder to write to.
      say: shows a line.

    Returns:
      What was written.

    Raises:
      InputError: a row does not exist, the folder has results and it is not said what
        becomes of them, or those to go on with were made otherwise.
    """
    jobs = make_plan(config)
    path = out / RESULTS
    results = _begin(config, path)
    out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    if load > BUSY:
        say(f"load average {load:.1f}: other programs are running, figures will be off")
    for job in tqdm.tqdm(jobs, unit="row", disable=None):
        group = results["groups"].setdefault(job.group, {})
        record = group.get(job.row.name)
        if record is not None and _is_done(record, job):
            continue
        group[job.row.name] = record = run_job(job, config, record)
        write_json(path, results)
        for line in row_lines(job.row.name, record):
            say(line)
    write_json(path, results)
    return results


def _begin(config: Config, path: Path) -> Record:
    """Return the results to add to: new ones, or those to go on with."""
    fresh: Record = {
        "config": config.as_json(),
        "machine": describe_machine(),
        "groups": {ROWS: {}},
    }
    if config.overwrite or not path.is_file():
        return fresh
    if not config.resume:
        raise InputError(
            f"{path} is there: give --resume to add to it, --overwrite to start anew, "
            "or another --out"
        )
    results = read_json(path)
    for name, value in fresh["config"].items():
        if name not in FREE_ON_RESUME and results["config"].get(name) != value:
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"--resume: {path} was made with {option} {results['config'].get(name)}, "
                f"got {value}; give the same, or another --out"
            )
    differing = differing_versions(results, fresh)
    if differing:
        raise InputError(
            f"--resume: {path} was measured elsewhere, then -> now: {'; '.join(differing)}; "
            "give --overwrite or another --out"
        )
    return results


def _is_done(record: Record, job: Job) -> bool:
    """Whether all has been measured; a row in which ours failed may fare better now."""
    failed = set(job.measures) & set(record["errors"])
    return not _ours_failed(record) and not failed and set(job.measures) <= set(record["measured"])


def _ours_failed(record: Record) -> bool:
    return not {OURS, "row"}.isdisjoint(record["errors"])


def run_job(job: Job, config: Config, before: Record | None = None) -> Record:
    """Measure what is asked for of one row.

    Args:
      job: the row, with its measures and entries.
      config: the options.
      before: a record to add to, or None. Where ours failed there is nothing to add to.
    """
    kept = set(before["measured"]) - set(job.measures) if before else set()
    if before is None or _ours_failed(before) or not kept:
        before = {name: {} for name in ("measures", "measured", *_SAID)}
    measures: dict[str, Timing] = dict(before["measures"])
    measured: dict[str, Record] = dict(before["measured"])
    built = Built({}, {}, {}, {}, {})
    by_name = _SCAN_MEASURES if job.group == SCAN else _MEASURES
    try:
        if job.group == SCAN:
            built = build_scans(job.row, config.seed)
        else:
            built = _build(job, config, "sequence" if job.group == ROWS else "train")
    except Exception as error:  # a row that fails is written down; the rest go on
        built.errors["row"] = describe(error)
    for measure in job.measures:
        measured[measure] = {"rounds": _rounds(measure, config), "load": os.getloadavg()[0]}
        try:
            measures |= by_name[measure](built.programs, job, config)
        except Exception as error:
            built.errors[measure] = describe(error)
    record: Record = {"measures": measures, "measured": measured, **_said(before, built, job)}
    del built
    jax.clear_caches()  # the compiled programs of past rows would pile up
    gc.collect()
    return record


_SAID = ("not_run", "errors", "agreement", "notes")  # of `Built`: all but the programs


def _said(before: Record, built: Built, job: Job) -> Record:
    """Return what is to be said of the entries: now, and of what is kept from before."""
    said = {name: before[name] | getattr(built, name) for name in _SAID}
    for measure in set(job.measures) - set(built.errors):  # failed before, and not now
        said["errors"].pop(measure, None)
    for entry, note in before["notes"].items():
        # torch may have had other numbers of threads: both are said.
        now = said["notes"][entry]
        said["notes"][entry] = note if now in note else f"{note}; later: {now}"
    return said


def _rounds(measure: str, config: Config) -> int:
    return {"compile": config.compile_rounds, "memory": 1}.get(measure, config.rounds)


def _build(job: Job, config: Config, numbers: str) -> Built:
    return build_programs(
        job.row,
        job.entries,
        numbers=numbers,
        dtype=config.dtype,
        seed=config.seed,
        torch_threads=config.torch_threads,
    )


def _train(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    return {"train": time_sequences(programs, "train", job.row, config.rounds, config.dtype)}


def _forward(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    return {"forward": time_sequences(programs, "forward", job.row, config.rounds, config.dtype)}


def _stream(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    del programs  # of another batch size
    found = {}
    entries = tuple(e for e in job.entries if not e.startswith(ours("")))  # all step alike
    for batch_size in grid.STREAM_BATCHES:
        row = job.row._replace(batch_size=batch_size, num_steps=grid.STREAM_STEPS)
        built = _build(job._replace(row=row, entries=entries), config, "stream")
        timing = time_stream(built.programs, config.rounds)
        timing["errors"] |= built.errors
        found[f"stream-b{batch_size}"] = timing | {
            "not_run": built.not_run,
            "notes": built.notes,
        }
    return found


def _compile(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    del job
    return time_compiling(programs, config.compile_rounds)


def _memory(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    return measure_memory(programs, job.row, config.dtype, config.torch_threads)


_MEASURES: Mapping[str, Callable[..., dict[str, Timing]]] = {
    "train": _train,
    "forward": _forward,
    "stream": _stream,
    "compile": _compile,
    "memory": _memory,
}


def _scan_pass(measure: str) -> Callable[..., dict[str, Timing]]:
    return lambda programs, job, config: {measure: time_passes(programs, measure, config.rounds)}


def _scan_memory(programs: Mapping[str, Program], job: Job, config: Config) -> dict[str, Timing]:
    del job, config
    return {"memory-temporary": planned_memory(programs, with_outputs=False)}


_SCAN_MEASURES: Mapping[str, Callable[..., dict[str, Timing]]] = {
    "train": _scan_pass("train"),
    "forward": _scan_pass("forward"),
    "compile": _compile,
    "memory": _scan_memory,
}
