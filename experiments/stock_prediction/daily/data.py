"""Daily prices by name: the series, how they are split, and what counts as a move.

| data | series | folds | up, down |
|---|---|---|---|
| bokeh | AAPL, IBM, MSFT, GOOG, FB to March 2013, from a Python package | walk-forward | any |
| acl18 | 88 US stocks of StockNet (Xu and Cohen 2018) | theirs, one | +0.55 %, -0.5 % |
| a file, or a folder of them | your own; see `files` | walk-forward | any |
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.errors import InputError
from experiments.common.manifests import fetch_all, read_manifest
from experiments.common.records import digest_of
from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.baselines import Fitted, fit_baselines
from experiments.stock_prediction.daily.features import WARM_UP, Days, days_of
from experiments.stock_prediction.daily.files import PriceFile, PriceSeries, read_prices
from experiments.stock_prediction.daily.panel import (
    ACL18_MOVES,
    ANY_MOVE,
    Moves,
    Panel,
    Scaling,
    fit_scaling,
    make_panel,
    permuted,
)
from experiments.stock_prediction.daily.splits import ACL18_FOLD, Fold, walk_forward

_BOKEH_NAMES = ("AAPL", "IBM", "MSFT", "GOOG", "FB")


class Data(NamedTuple):
    """Prices, with what was learned of each fold's training days without a network."""

    name: str
    licence: str
    notes: tuple[str, ...]  # what was done to the files
    series: tuple[Days, ...]
    folds: tuple[Fold, ...]
    moves: Moves
    panel: Panel
    scalings: tuple[Scaling, ...]  # of each fold
    baselines: tuple[Fitted, ...]  # of each fold

    @property
    def digest(self) -> str:
        """Return a SHA-256 of the series and how they are split."""
        return digest_of((repr(self.folds), self.series))

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a forecast for another series needs: that of the last fold's models."""
        return {
            "num_folds": len(self.folds),
            "num_features": self.panel.features.shape[-1],
            "valid": [str(day) for day in self.folds[-1].valid],
            "moves": list(self.moves),
            "scaling": [part.tolist() for part in self.scalings[-1]],
            "baselines": self.baselines[-1]._asdict(),
        }


def load(config: Config) -> Data:
    """Return the data set that `config.data` names.

    Raises:
      InputError: a file is missing, damaged or cannot be used, or it is too short.
    """
    if config.data == "acl18":  # the raw prices; adjusted closes, as its labels are made from
        sources = read_manifest(
            Path(__file__).with_name("stocknet.sha256"),
            name="stocknet",
            repository="yumoxu/stocknet-dataset",
            commit="330708b5ddc359961078bef469f43f48992fd6e4",
            licence="MIT",
        )
        files = [read_prices(path) for path in fetch_all(sources, config.data_dir)]
        return prepare(config, "acl18", "MIT", *_series_of(files), (ACL18_FOLD,), ACL18_MOVES)
    if config.data == "bokeh":
        return prepare(config, "bokeh", "public domain", *_series_of(_bokeh_files()))
    path = Path(config.data).expanduser()
    paths = sorted(path.glob("*.csv")) if os.path.isdir(path) else [path]
    if not paths:
        raise InputError(f"load: there is no file *.csv in {path}; give one at least")
    return prepare(config, path.stem, "your own files", *_series_of(list(map(read_prices, paths))))


def prepare(
    config: Config,
    name: str,
    licence: str,
    notes: Sequence[str],
    series: Sequence[Days],
    folds: tuple[Fold, ...] | None = None,
    moves: Moves = ANY_MOVE,
) -> Data:
    """Return series with their panel and folds; where None are given, those of a walk forward.

    Raises:
      InputError: there are too few days to walk over.
    """
    if folds is None:
        folds = walk_forward(series, config.num_folds, config.test_days, config.valid_days)
    panel = make_panel(series, moves)
    if config.permute_labels:
        panel = permuted(panel, config.seed)
    scalings = tuple(fit_scaling(panel, fold.train) for fold in folds)
    fitted = tuple(fit_baselines(panel, fold.train) for fold in folds)
    series = tuple(series)
    return Data(name, licence, tuple(notes), series, folds, moves, panel, scalings, fitted)


def _bokeh_files() -> list[PriceFile]:
    """Return the stocks of `bokeh_sampledata`: adjusted prices, sound as they are."""
    try:
        from bokeh_sampledata import stocks  # only who asks for these prices needs it
    except ImportError as error:
        raise InputError(
            "load: the default's prices are in the package bokeh_sampledata; "
            "pip install bokeh_sampledata, or give --data with a CSV file"
        ) from error
    tables = [(name, getattr(stocks, name)) for name in _BOKEH_NAMES]
    pieces = [
        PriceSeries(name, np.array(table["date"], "datetime64[D]"), np.array(table["adj_close"]))
        for name, table in tables
    ]
    return [PriceFile((piece,), ()) for piece in pieces]


def _series_of(files: Sequence[PriceFile]) -> tuple[list[str], list[Days]]:
    """Return the notes on all files, and the days of all pieces that are long enough."""
    notes, series = [], []
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
            f"load: no series has the {WARM_UP + 1} daily prices without a gap that "
            "are the least; give longer ones"
        )
    return notes, series
