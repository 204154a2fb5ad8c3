"""Time this library beside Flax, Haiku, Equinox, Keras and torch, in one process.

Command:   python -m experiments.benchmarks                     the grid: train and forward
           python -m experiments.benchmarks --quick             a few small rows
           python -m experiments.benchmarks --measure all       all that can be measured
           python -m experiments.benchmarks --rows 'lstm/*' --schedules --peers linen torch
           python -m experiments.benchmarks --rows rules --schedules --peers
                                                          the table of schedules/rules.py
           python -m experiments.benchmarks --measure scan      public codes, by lax.scan and
                                                          by ours; one: --rows 'ppo/*'
           python -m experiments.benchmarks report RESULTS.json           tables and plots again
           python -m experiments.benchmarks compare OLD.json NEW.json     exit status 1 if worse
Install:   pip install -e '.[bench]', and torch, where it is to be compared with
Expected:  ratios below 1: ours is the shorter, or the smaller
Hardware:  any; nothing else should run on it
Time:      --quick under 2 minutes on 2 CPU cores; the rest as long as rounds x entries,
           as the progress bar shows

Rounds are interleaved, each in another order; each figure is the median of the ratios of one round
with its quartiles; the product that bounds all is timed in the same rounds. All entries
have the same weights and inputs, and must give the same outputs, loss and gradient of x
before they are timed; a code of "scan", the same loss and gradients of all its parameters by
either scan. Streams wait for each step's output. Compiling is timed without what was compiled
or traced before.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from experiments.benchmarks.compare import TOLERANCE, comparison
from experiments.benchmarks.config import Config
from experiments.benchmarks.plan import make_plan
from experiments.benchmarks.plots import draw
from experiments.benchmarks.report import report
from experiments.benchmarks.run import RESULTS, run
from experiments.common.errors import InputError
from experiments.common.records import read_json

PROG = "python -m experiments.benchmarks"
HOME = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Compare:
    """Say how ours moved from one result to another; exit status 1 if it got worse."""

    old: Annotated[Path, tyro.conf.Positional]
    """results.json of before."""
    new: Annotated[Path, tyro.conf.Positional]
    """results.json of after."""
    tolerance: float = TOLERANCE
    """The least change that counts, as a fraction."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a result's tables and plots again, beside it."""

    results: Annotated[Path, tyro.conf.Positional]
    """A results.json."""


def out_folder(config: Config) -> Path:
    """Return where a run is written: results/ has whole grids; what is less is `partial`."""
    if config.out is not None:
        return config.out
    kind = f"{jax.default_backend()}-{config.dtype}" if config.is_whole else "partial"
    return HOME / kind


def load(path: Path) -> dict[str, Any]:
    """Return a result, or raise InputError."""
    try:
        result = read_json(path)
        if "groups" in result:
            return result
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a result of a run: {error}") from None
    raise InputError(f"{path}: not a result of a run: it has no groups")


def publish(result: dict[str, Any], out: Path) -> None:
    """Print the tables, and write them and the plots."""
    lines = list(report(result))
    print("\n".join(lines))
    (out / "tables.md").write_text("\n".join(lines).lstrip() + "\n", encoding="utf-8")
    paths = draw(result, out)
    print(f"\nwritten: {', '.join(str(p) for p in [out / RESULTS, out / 'tables.md', *paths])}")


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if command == "compare":
            options = tyro.cli(Compare, prog=f"{PROG} compare", args=rest)
            lines, worse = comparison(load(options.old), load(options.new), options.tolerance)
            print("\n".join(lines))
            return int(worse)
        if command == "report":
            path = tyro.cli(Report, prog=f"{PROG} report", args=rest).results
            publish(load(path), path.parent)
            return 0
        config = tyro.cli(Config, prog=PROG, args=arguments)
        if config.list:
            for job in make_plan(config):
                print(f"{job.group:<5} {job.row.name:<28} {', '.join(job.measures)}")
            return 0
        out = out_folder(config)
        publish(run(config, out), out)
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; go on with --resume") from None
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
