"""Where corpora come from, and what is refused."""

import dataclasses
import functools
import hashlib
import http.server
import threading

import pooch
import pytest

from experiments.common import corpora
from experiments.common.errors import InputError

RETRIEVE = pooch.retrieve
CONTENT = b"To be, or not to be"
SOURCE = corpora.Source(
    name="hamlet",
    file="hamlet/input.txt",
    repository="owner/name",
    commit="0" * 40,
    path="data/hamlet.txt",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="public domain",
)


@pytest.fixture
def data_dir(tmp_path):
    file = tmp_path / "data" / SOURCE.file
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Fail on any download, and keep the tests out of the user's cache."""

    def refuse(**arguments):
        raise OSError("no network in tests")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.delenv(corpora.DATA_DIR_VARIABLE, raising=False)


def test_a_file_in_the_data_dir_is_used_in_place(data_dir):
    assert corpora.fetch(SOURCE, str(data_dir)) == data_dir / SOURCE.file


def test_the_environment_names_the_data_dir(data_dir, monkeypatch):
    monkeypatch.setenv(corpora.DATA_DIR_VARIABLE, str(data_dir))
    assert corpora.fetch(SOURCE) == data_dir / SOURCE.file


def test_the_argument_goes_before_the_environment(data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv(corpora.DATA_DIR_VARIABLE, str(tmp_path / "nowhere"))
    assert corpora.fetch(SOURCE, str(data_dir)) == data_dir / SOURCE.file


def test_a_wrong_checksum_names_file_and_address(data_dir):
    (data_dir / SOURCE.file).write_bytes(CONTENT + b"?")
    with pytest.raises(InputError) as caught:
        corpora.fetch(SOURCE, str(data_dir))
    assert str(data_dir / SOURCE.file) in str(caught.value)
    assert SOURCE.url in str(caught.value)
    assert SOURCE.sha256 in str(caught.value)


def test_a_missing_file_is_not_downloaded_behind_the_users_back(data_dir):
    other = dataclasses.replace(SOURCE, file="hamlet/missing.txt")
    with pytest.raises(InputError, match=r"has no .*missing\.txt; get it from https://"):
        corpora.fetch(other, str(data_dir))


def test_a_missing_data_dir_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        corpora.fetch(SOURCE, str(tmp_path / "nowhere"))


def test_a_failed_download_says_where_the_file_would_go():
    with pytest.raises(InputError, match=r"could not download .*DIR/hamlet/input\.txt"):
        corpora.fetch(SOURCE)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder from this machine in the repository's place; return the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr(pooch, "retrieve", RETRIEVE)
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        address = f"http://127.0.0.1:{running.server_port}/hamlet.txt"
        monkeypatch.setattr(corpora.Source, "url", address)
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder
        running.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *arguments):
        pass


def test_a_download_is_checked_and_cached(server, tmp_path):
    (server / "hamlet.txt").write_bytes(CONTENT)
    path = corpora.fetch(SOURCE)
    assert path == tmp_path / "cache" / SOURCE.file
    assert path.read_bytes() == CONTENT
    (server / "hamlet.txt").unlink()
    assert corpora.fetch(SOURCE) == path  # from the cache


def test_a_damaged_cache_is_downloaded_again(server, tmp_path):
    (server / "hamlet.txt").write_bytes(CONTENT)
    corpora.fetch(SOURCE).write_bytes(b"something else")
    assert corpora.fetch(SOURCE).read_bytes() == CONTENT


def test_a_download_of_other_bytes_is_refused(server, tmp_path):
    (server / "hamlet.txt").write_bytes(CONTENT + b"?")
    with pytest.raises(InputError) as caught:
        corpora.fetch(SOURCE)
    assert SOURCE.url in str(caught.value)
    assert SOURCE.file in str(caught.value)
    assert not (tmp_path / "cache" / SOURCE.file).exists()
