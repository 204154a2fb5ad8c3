"""The command line."""

import sys

from experiments.common import command
from experiments.text_generation.experiment import EXPERIMENT

if __name__ == "__main__":
    command.main(EXPERIMENT, sys.argv[1:])
