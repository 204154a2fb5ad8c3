"""Days or hours: the two kinds of series, each a package of the same modules."""

from experiments.stock_prediction import daily, hourly
from experiments.stock_prediction.config import HOURLY, Config


def kind_of(config: Config):
    """Return the package that goes with the data that a config names."""
    return hourly if config.data == HOURLY else daily
