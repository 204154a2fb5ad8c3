"""CSV files: read with the numbers of their lines, for messages, and written."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.common.errors import InputError

Row = tuple[int, list[str]]  # the line in the file, and its cells


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Return a CSV file's header, and its rows with the number of their lines.

    Raises:
      InputError: no such file, not text, no rows, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"read_table: cannot read {path}: {reason}; give the path of a CSV file"
        ) from error
    lines = text.splitlines()
    first = lines[0] if lines else ""
    separator = max(",;\t", key=first.count)
    reader = csv.reader(lines, delimiter=separator)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(
            f"read_table: {path}, line {reader.line_num}: {error}; give a CSV file"
        ) from error
    if len(rows) < 2:
        raise InputError(
            f"read_table: {path} has no rows; give a header line and a line for each time"
        )
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"read_table: {path}, line {line}: {len(row)} values for {len(header)} "
                "columns; is the file cut off, or a number written with a comma?"
            )
    return header, rows[1:]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
