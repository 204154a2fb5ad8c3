"""The command line."""

import sys

from experiments.long_memory.compare import main

if __name__ == "__main__":
    main(sys.argv[1:])
