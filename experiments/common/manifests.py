"""A corpus of many files: a list of checksums beside the code, and all files at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pooch
from tqdm import tqdm

from experiments.common.corpora import Source, fetch

# The files are small, so that what takes time is the way to the server and back.
_DOWNLOADS_AT_ONCE = 16


def read_manifest(
    manifest: Path, *, name: str, repository: str, commit: str, licence: str
) -> list[Source]:
    """Return a source for each line `sha256  path` of a list, as sha256sum writes it.

    Args:
      manifest: the list; paths are those inside the repository.
      name: the corpus; its files lie in a folder of that name.
      repository: `owner/name`.
      commit: the full commit hash.
      licence: the licence as the source states it.
    """
    sources = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        sha256, path = line.split(maxsplit=1)
        sources.append(Source(name, f"{name}/{path}", repository, commit, path, sha256, licence))
    return sources


def fetch_all(sources: Sequence[Source], data_dir: str | None = None) -> list[Path]:
    """Return the paths of checked files, downloading several at a time where need be.

    Args:
      sources: which files, of one corpus.
      data_dir: a folder that already holds them; see `corpora.fetch`.

    Returns:
      A path for each source, in their order.

    Raises:
      InputError: see `corpora.fetch`; the first file at fault stops it all.
    """
    pooch.get_logger().setLevel("WARNING")  # else it writes two lines a file
    get = partial(fetch, data_dir=data_dir, progressbar=False)
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        found = pool.map(get, sources)
        bar = tqdm(
            found, total=len(sources), desc=sources[0].name, unit="file", leave=False, delay=2
        )
        try:
            return list(bar)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # not a thousand files more before it ends
            raise
