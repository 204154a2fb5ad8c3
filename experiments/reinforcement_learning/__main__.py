"""The command line."""

import sys

from experiments.reinforcement_learning.compare import main

if __name__ == "__main__":
    main(sys.argv[1:])
