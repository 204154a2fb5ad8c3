"""Time this library beside the others: python -m experiments.benchmarks."""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from experiments.benchmarks.config import Config
from experiments.benchmarks.report import summary
from experiments.benchmarks.run import run
from experiments.common.errors import InputError


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    try:
        config = tyro.cli(Config, prog="python -m experiments.benchmarks", args=arguments)
        results = run(config, config.out or Path("runs/benchmarks"))
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    print()
    for line in summary(results):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
