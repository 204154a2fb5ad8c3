"""Hourly values: windows of several variables, and what came of the forecasts."""

from experiments.stock_prediction.hourly import data, measure, problem, report, use
from experiments.stock_prediction.model import hourly_model as build

__all__ = ["build", "data", "measure", "problem", "report", "use"]
