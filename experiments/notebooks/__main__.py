"""The command line."""

import sys

from experiments.notebooks.command import main

if __name__ == "__main__":
    main(sys.argv[1:])
