"""The public texts are pinned, and how any text is read."""

import pytest

from experiments.common.errors import InputError
from experiments.text_generation import corpora


def test_every_source_is_pinned():
    assert set(corpora.SOURCES) == {"tinyshakespeare", "ptb", "warandpeace"}
    for name, source in corpora.SOURCES.items():
        assert source.name == name
        assert len(source.commit) == 40
        assert len(source.sha256) == 64
        assert source.commit in source.url
        assert source.licence


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_become_newlines(tmp_path, end):
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbfone" + end + "zwölf".encode() + end)
    assert corpora.read_text(file) == "one\nzwölf\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"caf\xe9 au lait", r"is not UTF-8 text \(byte 3"),
    ],
)
def test_unreadable_texts_are_refused(tmp_path, content, message):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        corpora.read_text(file)


def test_a_folder_is_not_a_text(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        corpora.read_text(tmp_path)


def test_any_error_of_the_system_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*: File name too long"):
        corpora.read_text(tmp_path / ("once upon a time " * 50))
