"""Days or hours: the two kinds of series, each a package of the same modules."""

from experiments.stock_prediction import daily, hourly
from experiments.stock_prediction.config import HOURLY, Config


def kind_of(source: Config | daily.data.Data | hourly.data.Data):
    """Return the package that goes with data, or with those that a config names."""
    if isinstance(source, Config):
        return hourly if source.data == HOURLY else daily
    return hourly if isinstance(source, hourly.data.Data) else daily
