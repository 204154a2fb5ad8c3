"""Where a user's own data are, as the settings of a run say it."""

import os
from collections.abc import Collection


def located(data: str, corpora: Collection[str]) -> str:
    """Return a corpus's name as it is, and what leads to a file or a folder as its full path.

    So the settings of a run mean the same data wherever it is gone on with. A corpus wins
    over a file or folder of its name, which is meant by `./NAME`. What leads nowhere stays
    as it is: a trained model is used without its data, and loading them tells.

    Args:
      data: what `--data` names.
      corpora: the names of the corpora.
    """
    path = os.path.expanduser(data)  # os.path, for pathlib raises where a path is too long
    if data in corpora or not (os.path.isabs(path) or os.path.exists(path)):
        return data
    return os.path.abspath(path)
