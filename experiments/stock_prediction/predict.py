"""Forecasts for a user's own file with a trained run: of prices, or of hours."""

from pathlib import Path

import jax

from experiments.common.errors import InputError
from experiments.common.run_folder import read_run
from experiments.common.settings import config_from_dict
from experiments.stock_prediction import predict_hours, predict_prices
from experiments.stock_prediction.config import HOURLY, Config
from experiments.stock_prediction.features import NUM_FEATURES
from experiments.stock_prediction.model import Model, daily_model, hourly_model
from experiments.stock_prediction.seeds import (
    Chosen,
    choose,
    model_names,
    state_shapes,
)


def predict(workdir: str | Path, file: str | Path, *, output: str | Path | None = None) -> str:
    """Forecast what follows in a file.

    Args:
      workdir: the folder of a trained run; the data it learned from are not needed.
      file: a CSV file: daily prices (see `price_files`) for a run on prices, hourly values
        of the same variables for a run on hours.
      output: where to write all forecasts as CSV, or None.

    Returns:
      The text to show: the forecast beside the baselines'.

    Raises:
      InputError: the folder holds no trained run, or the file cannot be used.
    """
    folder, file = Path(workdir), Path(file).expanduser()
    run = read_run(folder)
    config = config_from_dict(Config, run["config"])
    out = None if output is None else Path(output).expanduser()
    if out is not None and not out.parent.is_dir():
        raise InputError(f"predict: there is no folder {out.parent} to write {out.name} to")
    if out is not None and out.is_dir():
        raise InputError(f"predict: --output is the folder {out}; give a file in it")
    if config.data == HOURLY:
        hourly = predict_hours.read(file, config, run["data"])  # before anything is loaded
        model = hourly_model(config, len(run["data"]["variables"]))
        chosen = _chosen(folder, config, model, num_folds=1)
        return predict_hours.report(hourly, model, chosen.params, out)
    daily = predict_prices.read(file, run["data"])
    model = daily_model(config, NUM_FEATURES)
    chosen = _chosen(folder, config, model, num_folds=run["data"]["num_folds"])
    # The last fold's models have learned from the most, and the latest, days.
    last = jax.tree.map(lambda leaf: leaf[-config.num_seeds :], chosen.params)
    return predict_prices.report(daily, model, last, out)


def _chosen(folder: Path, config: Config, model: Model, num_folds: int) -> Chosen:
    """Return the trained models of a run."""
    target = state_shapes(config, model.init, num_folds)
    return choose(folder, target, model_names(num_folds, config.num_seeds))
