"""The rows of the benchmark: a cell and a shape each, and what they cost in arithmetic.

A row's name is `cell/LxBxTxIxH`, with `/bi` after it where layers run in both directions:
`lstm/2x32x128x256x256`, `gru/2x32x128x256x256/bi`. Any such name is a row, also one that
is not in the grid.
"""

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from experiments.common.errors import InputError

GATES = {
    "rnn": 1,  # tanh Elman
    "lstm": 4,
    "gru": 3,  # reset after the product, as cuDNN, torch, Flax and Keras have it
    "gru_before": 3,  # reset before the product, as Haiku has it
    "lstm_norm": 4,  # layer norm on both projections
    "lstm_dropout": 4,  # variational dropout on h
}

_NAME = re.compile(r"(\w+)/(\d+)x(\d+)x(\d+)x(\d+)x(\d+)(/bi)?")


class Row(NamedTuple):
    """One model on one shape."""

    cell: str  # one of GATES
    num_layers: int
    batch_size: int
    num_steps: int
    input_size: int
    hidden_size: int
    bidirectional: bool = False

    @property
    def name(self) -> str:
        """Return the row's name."""
        sizes = "x".join(map(str, self[1:6]))
        return f"{self.cell}/{sizes}" + ("/bi" if self.bidirectional else "")

    @property
    def forward_flop(self) -> int:
        """Return the operations in the products of a forward pass.

        One layer in one direction: 2·G·B·T·H·(I + H); what is elementwise is left out.
        """
        directions = 2 if self.bidirectional else 1
        per_unit = 2 * GATES[self.cell] * self.batch_size * self.num_steps * self.hidden_size
        widths = [self.input_size] + [directions * self.hidden_size] * (self.num_layers - 1)
        return sum(directions * per_unit * (width + self.hidden_size) for width in widths)

    @property
    def train_flop(self) -> int:
        """Return those of a train step: forward, and one product each for x and weights."""
        return 3 * self.forward_flop


def parse_row(name: str) -> Row:
    """Return the row of a name.

    Raises:
      InputError: the name is not of the form, or its cell is unknown.

    Example:
      >>> parse_row("lstm/2x32x128x256x256").train_flop / 1e9
      25.769803776
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in GATES or "0" in match.groups()[1:6]:
        raise InputError(
            f"--rows: expected CELL/LxBxTxIxH with a cell of {', '.join(GATES)}, and /bi for "
            f"both directions, as lstm/2x32x128x256x256/bi, or {', '.join(SETS)}; got {name!r}"
        )
    sizes = (int(size) for size in match.groups()[1:6])
    return Row(match[1], *sizes, bidirectional=match[7] is not None)


class Named(Protocol):
    """A row of any kind."""

    @property
    def name(self) -> str: ...


NamedRow = TypeVar("NamedRow", bound=Named)

Shape = tuple[int, int, int, int, int]  # L, B, T, I, H

_MIDDLE: Shape = (2, 32, 128, 256, 256)
SHAPES: tuple[Shape, ...] = (
    (1, 1, 1024, 32, 32),
    (1, 4, 512, 64, 64),
    _MIDDLE,
    (4, 8, 256, 64, 64),
    (4, 32, 64, 128, 128),
    (4, 64, 64, 512, 512),
    (8, 16, 256, 128, 128),
)
MAIN_CELLS = ("rnn", "lstm", "gru")

GRID: tuple[Row, ...] = (
    *(Row(cell, *shape) for shape in SHAPES for cell in MAIN_CELLS),
    *(Row(cell, *_MIDDLE, bidirectional=True) for cell in MAIN_CELLS),
    *(Row(cell, *_MIDDLE) for cell in ("gru_before", "lstm_norm", "lstm_dropout")),
)
QUICK: tuple[Row, ...] = (
    Row("rnn", 1, 1, 128, 32, 32),
    Row("lstm", 2, 16, 32, 64, 64),
    Row("gru", 2, 16, 32, 64, 64),
)
# Whose memory is looked at with checkpoints too.
LONG: tuple[Row, ...] = (
    Row("lstm", 2, 8, 8192, 128, 128),
    Row("lstm", 1, 2, 8192, 64, 64),
    Row("lstm", 1, 2, 65536, 64, 64),
)
LONG_STEPS = 4096

# What schedules/rules.py chooses a schedule by, run by `--rows rules`.
_BY_DEPTH = (
    *((4, 1, 32), (4, 8, 64), (4, 32, 128)),
    *((8, 1, 32), (8, 4, 32)),
    *((16, 1, 32), (16, 4, 32), (16, 4, 64)),
    (32, 2, 16),
)
RULES: tuple[Row, ...] = tuple(
    Row(cell, num_layers, batch_size, 256, size, size)
    for num_layers, batch_size, size in _BY_DEPTH
    for cell in ("lstm", "gru", "rnn")
)
SETS = {"rules": RULES}

_STREAMED: tuple[Shape, ...] = (_MIDDLE, (4, 32, 64, 128, 128))
STREAMED_ROWS = frozenset(Row(cell, *shape) for shape in _STREAMED for cell in MAIN_CELLS)
STREAM_BATCHES = (1, 32)
STREAM_STEPS = 16  # inputs that are given again and again


def select(rows: Sequence[NamedRow], patterns: Sequence[str]) -> tuple[NamedRow | Row, ...]:
    """Return the rows that are asked for, in the order asked for.

    Args:
      rows: those to choose from.
      patterns: names, or patterns as `lstm/*` and `*/bi`, or sets of SETS; a name or a
        set need not be among the rows. None given: all rows.

    Raises:
      InputError: a pattern that no row matches.
    """
    if not patterns:
        return tuple(rows)
    chosen: dict[NamedRow | Row, None] = {}
    for pattern in patterns:
        found = SETS.get(pattern) or [row for row in rows if fnmatch.fnmatchcase(row.name, pattern)]
        if not found and any(letter in pattern for letter in "*?["):
            raise InputError(f"--rows: no row matches {pattern!r}; see --list")
        chosen |= dict.fromkeys(found or [parse_row(pattern)])
    return tuple(chosen)
