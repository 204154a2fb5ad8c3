"""The one exception that means "the input is at fault, not the program"."""


class InputError(ValueError):
    """Report a user's mistake: an option, a file, a corpus, a checkpoint.

    It is a `ValueError` for callers in Python. A command line prints its message
    alone; every other exception keeps its traceback, because it is a bug.
    """
