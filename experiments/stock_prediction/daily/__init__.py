"""Daily prices: features without a unit, folds in time, and what came of the forecasts."""

from experiments.stock_prediction.daily import data, measure, problem, report, use
from experiments.stock_prediction.model import daily_model as build

__all__ = ["build", "data", "measure", "problem", "report", "use"]
