"""The programs of a row: made, and known to compute the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from experiments.benchmarks import agreement
from experiments.benchmarks.grid import Row
from experiments.benchmarks.peers.contract import NotRunError, Program
from experiments.benchmarks.peers.registry import OURS, builder
from experiments.benchmarks.timing import describe
from experiments.benchmarks.workload import make_workload


class Built(NamedTuple):
    """Programs that may be timed, and what is to be said of the entries."""

    programs: Mapping[str, Program]
    not_run: dict[str, str]  # entry -> why it has no part
    errors: dict[str, str]  # entry -> what went wrong, disagreement included
    agreement: dict[str, dict[str, float]]  # entry -> distance from our numbers
    notes: dict[str, str]  # entry -> what the reader should know


def build_programs(
    row: Row,
    entries: Sequence[str],
    *,
    numbers: str = "sequence",
    dtype: str = "float32",
    seed: int = 0,
    torch_threads: int | None = None,
) -> Built:
    """Make each entry's program, and check that all compute what ours does.

    Args:
      row: the row.
      entries: names, ours first.
      numbers: what is compared, of `agreement.NUMBERS`.
      dtype: of the products.
      seed: of parameters and inputs.
      torch_threads: that torch may use; None: one or all, the faster.

    Returns:
      The programs that agree, and why the others are not among them. Without ours there
      is nothing to compare with, and no program.
    """
    workload = make_workload(row, dtype, seed)

    def make(entry: str) -> Program:
        program = builder(entry, torch_threads)(workload)
        if numbers == "stream" and program.make_stream is None:
            raise NotRunError(f"{row.name} is not run step by step")
        return program

    return agreeing(entries, make, numbers, dtype)


def agreeing(
    entries: Iterable[str],
    make: Callable[[str], Program],
    numbers: str,
    dtype: str = "float32",
) -> Built:
    """Make each entry's program, and keep those that compute what ours does.

    Args:
      entries: names, ours first.
      make: makes an entry's program.
      numbers: what is compared, of `agreement.NUMBERS`.
      dtype: of the products.
    """
    built = Built({}, {}, {}, {}, {})
    programs: dict[str, Program] = {}
    expected: agreement.Numbers | None = None
    for entry in entries:
        if expected is None and entry != OURS:
            built.not_run[entry] = "ours failed: nothing to compare with"
            continue
        try:
            program = make(entry)
            got = agreement.NUMBERS[numbers](program)
            expected = got if expected is None else expected
            distance = agreement.check(got, expected, agreement.tolerance(dtype))
        except NotRunError as error:
            built.not_run[entry] = str(error)
        except Exception as error:  # written down; the others go on
            built.errors[entry] = describe(error)
        else:
            programs[entry] = program
            built.agreement[entry] = distance
            note = program.stream_note if numbers == "stream" else program.note
            if note:
                built.notes[entry] = note
    return built._replace(programs=programs)
