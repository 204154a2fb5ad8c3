"""The public texts, pinned to a commit, and reading any text at all."""

from collections.abc import Mapping
from pathlib import Path

from experiments.common.corpora import Source
from experiments.common.errors import InputError

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


def read_text(path: Path) -> str:
    """Read a UTF-8 text whatever its line ends; each of them becomes one newline.

    A byte order mark is dropped. Old Mac files (War and Peace is one) end lines in a lone
    carriage return.

    Raises:
      InputError: no such file, a folder, an unreadable or empty file, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
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
