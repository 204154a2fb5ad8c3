"""Files of public repositories, pinned to a commit and checked by SHA-256.

A file comes from one of two places:

- a data folder, given as `--data-dir` or in the environment as `DEEPRNN_DATA`: its
  files are used where they lie and nothing is downloaded or copied;
- otherwise the pinned address, through `pooch`, into the user's cache folder.

Either way a file whose checksum differs is refused.
"""

import dataclasses
import os
from pathlib import Path

import pooch

from experiments.common.errors import InputError

DATA_DIR_VARIABLE = "DEEPRNN_DATA"


@dataclasses.dataclass(frozen=True)
class Source:
    """One file of a public repository.

    Attributes:
      name: the corpus, for messages.
      file: where the file lies below a data folder or the cache.
      repository: `owner/name`.
      commit: the full commit hash, so that the content can never move.
      path: the file's path inside the repository.
      sha256: the checksum of the content.
      licence: the licence as the source states it.
    """

    name: str
    file: str
    repository: str
    commit: str
    path: str
    sha256: str
    licence: str

    @property
    def url(self) -> str:
        """Return the address of the raw file."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"


def data_dir_or_default(data_dir: str | None) -> Path | None:
    """Return the data folder: the argument, else `DEEPRNN_DATA`, else None.

    Raises:
      InputError: the folder does not exist. A missing folder is never taken as
        "download instead": the user said where the files are.
    """
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"data_dir_or_default: the data folder {folder} is not a folder; correct "
            f"--data-dir or {DATA_DIR_VARIABLE}, or leave both away to download"
        )
    return folder


def fetch(source: Source, data_dir: str | None = None, *, progressbar: bool = True) -> Path:
    """Return the path of a checked file, downloading it where need be.

    Args:
      source: which file.
      data_dir: a folder that already holds it; see `data_dir_or_default`.
      progressbar: whether a download shows its own.

    Returns:
      The path: inside the data folder, or inside the cache folder
      (`pooch.os_cache("deeprnn_jax")`).

    Raises:
      InputError: the file is missing from the data folder, cannot be downloaded, or
        has another checksum; the message names the file and the address.
    """
    folder = data_dir_or_default(data_dir)
    if folder is None:
        return _download(source, Path(pooch.os_cache("deeprnn_jax")), progressbar)
    path = folder / source.file
    if not path.is_file():
        raise InputError(
            f"fetch: the data folder has no {path}; get it from {source.url} or leave "
            f"--data-dir and {DATA_DIR_VARIABLE} away to download it"
        )
    found = pooch.file_hash(str(path), alg="sha256")
    if found != source.sha256:
        raise InputError(
            f"fetch: {path} has SHA-256 {found}, expected {source.sha256}; it is not "
            f"the file of {source.url}: replace it with that one"
        )
    return path


def _download(source: Source, cache: Path, progressbar: bool) -> Path:
    """Download into the cache unless a file of the right checksum is there."""
    target = cache / source.file
    try:
        return Path(
            pooch.retrieve(
                url=source.url,
                known_hash=f"sha256:{source.sha256}",
                fname=target.name,
                path=target.parent,
                progressbar=progressbar,
            )
        )
    except ValueError as error:  # pooch: the downloaded bytes have another hash
        raise InputError(
            f"fetch: {source.url} did not give the file expected for {target}: {error}"
        ) from error
    except OSError as error:  # requests' exceptions are OSErrors too
        raise InputError(
            f"fetch: could not download {source.url} to {target} ({error}); put the "
            f"file at DIR/{source.file} and give --data-dir DIR or set "
            f"{DATA_DIR_VARIABLE}=DIR"
        ) from error
