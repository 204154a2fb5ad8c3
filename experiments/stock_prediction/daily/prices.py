"""Daily prices by name: the series, how they are split, and what counts as a move.

| data | series | folds | up, down |
|---|---|---|---|
| bokeh | AAPL, IBM, MSFT, GOOG, FB to March 2013, from a Python package | walk-forward | any |
| acl18 | 88 US stocks of StockNet (Xu and Cohen 2018) | theirs, one | +0.55 %, -0.5 % |
| a file, or a folder of them | your own; see `files` | walk-forward | any |

A day whose move is neither up nor down is not asked for its direction, in training or
test; its volatility counts all the same.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.common.errors import InputError
from experiments.common.manifests import fetch_all, read_manifest
from experiments.common.records import digest_of
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.features import WARM_UP, Days, days_of
from experiments.stock_prediction.daily.files import PriceFile, PriceSeries, read_prices
from experiments.stock_prediction.daily.splits import ACL18_FOLD, Fold, walk_forward

_BOKEH_NAMES = ("AAPL", "IBM", "MSFT", "GOOG", "FB")


class Moves(NamedTuple):
    """What counts as a move up or down, in plain returns p_t / p_{t-1} - 1."""

    above: float  # up: more than this
    below: float  # down: this or less

    def up(self, log_returns: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which returns are up."""
        return np.expm1(log_returns) > self.above

    def down(self, log_returns: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which returns are down; none is where the price has not moved at all."""
        plain = np.expm1(log_returns)
        return (plain <= self.below) & (plain < 0.0)


ANY_MOVE = Moves(0.0, 0.0)
ACL18_MOVES = Moves(0.0055, -0.005)


class PriceData(NamedTuple):
    """A data set of daily prices."""

    name: str
    licence: str
    series: tuple[Days, ...]
    folds: tuple[Fold, ...]
    moves: Moves
    notes: tuple[str, ...]  # what was done to the files

    @property
    def digest(self) -> str:
        """Return a SHA-256 of the series and how they are split."""
        return digest_of((repr(self.folds), self.series))


def load_prices(config: Config) -> PriceData:
    """Return the data set that `config.data` names.

    Raises:
      InputError: a file is missing, damaged or cannot be used, or it is too short.
    """
    if config.data == "bokeh":
        return _own_folds("bokeh", "public domain", [_bokeh_file(n) for n in _BOKEH_NAMES], config)
    if config.data == "acl18":
        return _acl18(config.data_dir)
    path = Path(config.data).expanduser()
    files = sorted(path.glob("*.csv")) if os.path.isdir(path) else [path]
    if not files:
        raise InputError(f"load_prices: there is no file *.csv in {path}; give one at least")
    return _own_folds(path.stem, "your own files", [read_prices(file) for file in files], config)


def _bokeh_file(name: str) -> PriceFile:
    """Return one stock of `bokeh_sampledata`: adjusted prices, sound as they are.

    Raises:
      InputError: the package is not installed.
    """
    try:
        from bokeh_sampledata import stocks  # only who asks for these prices needs it
    except ImportError as error:
        raise InputError(
            "load_prices: the default's prices are in the package bokeh_sampledata; "
            "pip install bokeh_sampledata, or give --data with a CSV file"
        ) from error
    table = getattr(stocks, name)
    dates = np.array(table["date"], "datetime64[D]")
    return PriceFile((PriceSeries(name, dates, np.array(table["adj_close"])),), ())


def _acl18(data_dir: str | None) -> PriceData:
    """Read StockNet's raw prices; adjusted closes, as its labels are made from."""
    sources = read_manifest(
        Path(__file__).with_name("stocknet.sha256"),
        name="stocknet",
        repository="yumoxu/stocknet-dataset",
        commit="330708b5ddc359961078bef469f43f48992fd6e4",
        licence="MIT",
    )
    files = [read_prices(path) for path in fetch_all(sources, data_dir)]
    series, notes = _series_of(files)
    return PriceData("acl18", "MIT", series, (ACL18_FOLD,), ACL18_MOVES, notes)


def _own_folds(name: str, licence: str, files: Sequence[PriceFile], config: Config) -> PriceData:
    """Return series that are split by walking forward."""
    series, notes = _series_of(files)
    folds = walk_forward(series, config.num_folds, config.test_days, config.valid_days)
    return PriceData(name, licence, series, folds, ANY_MOVE, notes)


def _series_of(files: Sequence[PriceFile]) -> tuple[tuple[Days, ...], tuple[str, ...]]:
    """Return the days of all pieces that are long enough, and the notes on all files."""
    series, notes = [], []
    for file in files:
        name = file.pieces[0].name
        notes += [f"{name}: {note}" for note in file.notes]
        for piece in file.pieces:
            if len(piece.prices) > WARM_UP:
                series.append(days_of(piece))
            else:
                notes.append(
                    f"{name}: {len(piece.prices)} days from {piece.dates[0]} left out; "
                    f"{WARM_UP + 1} are the least"
                )
    if not series:
        raise InputError(
            f"load_prices: no series has the {WARM_UP + 1} daily prices without a gap that "
            "are the least; give longer ones"
        )
    return tuple(series), tuple(notes)
