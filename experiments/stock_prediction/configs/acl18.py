"""ACL18."""

from experiments.stock_prediction.config import Config

CONFIG = Config(data="acl18", num_seeds=10)
