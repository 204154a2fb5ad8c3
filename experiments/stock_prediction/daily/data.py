"""A data set of prices, ready to learn from and to measure on."""

from typing import Any, NamedTuple

import numpy as np

from experiments.stock_prediction.config import Config
from experiments.stock_prediction.daily.baselines import Fitted, fit_baselines
from experiments.stock_prediction.daily.panel import (
    Panel,
    Scaling,
    fit_scaling,
    make_panel,
    permuted,
)
from experiments.stock_prediction.daily.prices import PriceData, load_prices
from experiments.stock_prediction.daily.splits import Period


class Daily(NamedTuple):
    """Prices with what was learned of each fold's training days without a network."""

    prices: PriceData
    panel: Panel
    scalings: tuple[Scaling, ...]  # of each fold
    baselines: tuple[Fitted, ...]  # of each fold

    @property
    def digest(self) -> str:
        """Return a SHA-256 of the prices and how they are split."""
        return self.prices.digest

    def facts(self) -> dict[str, Any]:
        """Return what a forecast for another series needs: that of the last fold's models."""

        def as_text(period: Period) -> list[str]:
            return [str(period.start), str(period.end)]

        fold, scaling = self.prices.folds[-1], self.scalings[-1]
        return {
            "num_folds": len(self.prices.folds),
            "num_features": self.panel.features.shape[-1],
            "train": as_text(fold.train),
            "valid": as_text(fold.valid),
            "moves": list(self.prices.moves),
            "scaling": [scaling.mean.tolist(), scaling.deviation.tolist()],
            "baselines": self.baselines[-1]._asdict(),
        }

    def describe(self) -> str:
        """Return what is learned from, its licence, and what was done to it."""
        asked = ~np.isnat(self.panel.next_dates)
        dates = self.panel.next_dates[asked]
        lines = [
            f"data {self.prices.name}: {len(self.prices.series)} series, {asked.sum():,} days to "
            f"forecast from {dates.min()} to {dates.max()}; licence: {self.prices.licence}"
        ]
        lines += [f"  {note}" for note in self.prices.notes]
        for i, fold in enumerate(self.prices.folds, 1):
            later = "" if fold.later is None else f", later {fold.later}"
            lines.append(
                f"  fold {i}: train {fold.train}, validation {fold.valid}, test {fold.test}{later}"
            )
        return "\n".join(lines)


def load(config: Config) -> Daily:
    """Return the data set that `config.data` names.

    Raises:
      InputError: a file is missing, damaged or cannot be used, or it is too short.
    """
    return prepare(config, load_prices(config))


def prepare(config: Config, prices: PriceData) -> Daily:
    """Return prices with their panel, and each fold's scaling and baselines."""
    panel = make_panel(prices.series, prices.moves)
    if config.permute_labels:
        panel = permuted(panel, config.seed)
    return Daily(
        prices,
        panel,
        tuple(fit_scaling(panel, fold.train) for fold in prices.folds),
        tuple(fit_baselines(panel, fold.train) for fold in prices.folds),
    )
