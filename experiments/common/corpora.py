"""Files of public repositories, pinned to a commit and checked by SHA-256.

A file comes from one of two places:

- a data folder, given as `--data-dir` or in the environment as `DEEPRNN_DATA`: its
  files are used where they lie and nothing is downloaded or copied;
- otherwise the pinned address, through `pooch`, into the user's cache folder.

Either way a file whose checksum differs is refused.
"""

import dataclasses
import os
from collections.abc import Mapping
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


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="tinyshakespeare",
            file="tinyshakespeare/input.txt",
            repository="karpathy/char-rnn",
            commit="6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e",
            path="data/tinyshakespeare/input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            licence="text in the public domain",
        ),
        Source(
            name="ptb",
            file="ptb/ptb.zip",
            repository="timbmg/RNNLM",
            commit="e26dff5d8f4b5d07ee459f192ee2131923d7584f",
            path="data/ptb.zip",
            sha256="6957baa63e145820032f12d3f1e6f4ba71789c3f5dbf289902bc3f0a96beef7a",
            licence='"free for research purposes"; do not redistribute',
        ),
        Source(
            name="warandpeace",
            file="warandpeace/warpeace_input.txt",
            repository="ThingsOfBeam/Corpus",
            commit="9aad26592097f5ac852cb11b60bf250f01a39fca",
            path="warpeace_input.txt",
            sha256="0139dcd32c37853541e8710281c32d823bb8ea86a86578916305bad06e3da0ea",
            licence="public domain in the United States",
        ),
    )
}


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


def read_text(path: Path) -> str:
    """Read a UTF-8 text whatever its line ends; each of them becomes one newline.

    A byte order mark is dropped. Old Mac files (War and Peace is one) end lines in a
    lone carriage return, which Python's universal newlines turn into a newline too.

    Raises:
      InputError: no such file, a folder, an empty file, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(
            f"read_text: cannot read {path}: {error.strerror}; give the path of a "
            f"UTF-8 text file or one of: {', '.join(sorted(SOURCES))}, pydoc"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"read_text: {path} is not UTF-8 text (byte {error.start}: "
            f"{error.reason}); convert it, for example with iconv -t UTF-8"
        ) from error
    if not text:
        raise InputError(f"read_text: {path} is empty; give a file with text in it")
    return text
