"""The site's pages hold together; nothing is built here (`.ci/run` does, and checks the result)."""

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import deeprnn_jax as drnn
from docs import check
from docs.conftest import needs_of
from docs.extensions.api import names_on
from docs.extensions.docstrings import rst_of
from docs.extensions.signatures import fields_of, signature_of
from docs.figures import figures

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
GALLERY = (DOCS / "gallery.md").read_text()


def public_names():
    """Give the full name of all that the library and its public submodules export."""
    modules = [drnn, *(getattr(drnn, name) for name in drnn.__all__)]
    modules += [drnn.interop.linen, drnn.interop.onnx]
    for module in filter(inspect.ismodule, modules):
        for name in getattr(module, "__all__", ()):
            if not inspect.ismodule(getattr(module, name)):
                yield f"{module.__name__}.{name}"


def named_on_api_pages():
    text = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    return names_on(text) + re.findall(r"^\.\. py:data:: (\S+)$", text, re.M)


@pytest.mark.parametrize("module", ["docs.pictures.__main__", "docs.tables"])
def test_figures_on_pages_are_those_of_the_records(module):
    assert importlib.import_module(module).main(["--check"]) == 0


def test_every_public_name_is_on_an_api_page_once():
    named = named_on_api_pages()
    assert sorted(named) == sorted(set(named))
    # `interop.onnx` exports two names that `interop` has as well
    again = {"deeprnn_jax.interop.onnx.from_onnx", "deeprnn_jax.interop.onnx.to_onnx"}
    assert set(public_names()) - set(named) == again


def test_what_api_pages_name_is_there_and_documented():
    for full in named_on_api_pages():
        module, _, name = full.rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        assert inspect.getdoc(thing), full


def test_initialisers_are_on_their_page():
    module = drnn.initializers
    own = {
        f"{module.__name__}.{name}"
        for name, thing in vars(module).items()
        if callable(thing) and getattr(thing, "__module__", "") == module.__name__
        if not name.startswith("_")
    }
    assert own <= set(named_on_api_pages())


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for path in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", path.read_text(), re.M | re.S):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    listed |= set(path.parent.glob(f"{line}.md"))
    assert {path for path in PAGES if path != DOCS / "index.md"} == listed


def test_needs_are_modules_that_an_extra_brings():
    extras = (ROOT / "pyproject.toml").read_text()
    names = {name for path in PAGES for name in needs_of(path)}
    packages = {"haiku": "dm-haiku"}
    assert names >= {"torch", "keras", "haiku", "equinox"}
    assert all(f'"{packages.get(name, name)}>=' in extras for name in names)


def shown(thing):
    found = signature_of(thing)
    assert found is not None
    return found


def test_factories_show_their_own_signature():
    arguments, result = shown(drnn.zoneout)
    assert "<" not in arguments  # as in "<function zeros at 0x...>"
    assert re.match(r"\(cell: ~deeprnn_jax\.Cell, rate: ", arguments)
    assert result == "~deeprnn_jax.Cell"
    arguments, _ = shown(drnn.lstm)
    for part in ("hidden_size: int, *,", "forget_bias: float | Initializer=1.0", "jnp.tanh"):
        assert part in arguments
    assert shown(drnn.DeepRNN.init)[0] == "(key: Array, input_size: int)"
    arguments, _ = shown(drnn.decoding.Hypotheses)
    assert arguments.startswith("(tokens: Array, lengths: Array")


def test_fields_of_a_record_have_their_comments():
    fields = dict(fields_of(drnn.decoding.Hypotheses))
    assert [*fields] == [*drnn.decoding.Hypotheses._fields]
    assert fields["scores"][0].startswith("`[*B, N]`, what they are ordered by")
    assert fields_of(drnn.lstm) == []


def rst(text):
    return "\n".join(line for line in rst_of(inspect.cleandoc(text).split("\n"), NAMES) if line)


NAMES = {"lstm": "deeprnn_jax.lstm", "decoding.generate": "deeprnn_jax.decoding.generate"}


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("x `[T, *B, I]`, h_{t-1}", r"x ``[T, *B, I]``, h\_{t-1}"),
        ("T. And more", r"\T. And more"),
        ("`a`s", r"``a``\ s"),
        ("*B and |x| and w_ x", r"\*B and \|x\| and w\_ x"),
        ("see `drnn.lstm(8)`", "see :py:obj:`drnn.lstm(8) <deeprnn_jax.lstm>`"),
        ("`decoding.generate`", ":py:obj:`decoding.generate <deeprnn_jax.decoding.generate>`"),
        ("code `over\nlines`, x", "code ``over lines``, x"),
    ],
)
def test_prose_is_escaped_and_code_is_code(markdown, expected):
    assert rst(markdown) == expected


def test_equations_sections_and_doctests():
    text = """Do it.

        h_t = W_ x_t    [*B]
        y = h

    Then `z`.

    Args:
      x: the input,
        `[T]`.
      **call: others: two.

    Returns:
      A pair: `(a, b)`.

    Raises:
      ValueError: if x_ is wrong.

    Example:
      >>> f(*x)
      1
    """
    expected = r"""Do it.
.. code-block:: text
    h_t = W_ x_t    [*B]
    y = h
Then ``z``.
:param x: the input,
    ``[T]``.
:param \*\*call: others: two.
:returns: A pair: ``(a, b)``.
:raises ValueError: if x\_ is wrong.
.. rubric:: Example
.. code-block:: pycon
    >>> f(*x)
    1"""
    assert rst(text) == expected


def test_gallery_has_the_figures_of_the_records():
    """Each in its place: one after the other."""
    read, end = figures(), 0
    for name, figure in read.items():
        found = re.compile(rf"(?<![\d.]){re.escape(figure)}(?!\d)").search(GALLERY, end)
        assert found, name
        end = found.end()
    assert read["shakespeare_nats"] == "1.435"  # as experiments/README.md has it


def test_gallery_has_every_experiment_with_results():
    for folder in (ROOT / "experiments" / "results").iterdir():
        assert f"python -m experiments.{folder.name}" in GALLERY
    modules = set(re.findall(r"python -m (experiments[\w.]*)", GALLERY))
    assert all(importlib.util.find_spec(name) for name in modules)
    pages = {path for path in (ROOT / "experiments").glob("*.py") if path.stem != "__init__"}
    pages |= {path.parent for path in (ROOT / "experiments").glob("*/__main__.py")}
    assert all(path.stem in GALLERY for path in pages if path.stem != "notebooks")


def site(folder, page, **files):
    (folder / "index.html").write_text(page)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return [*check.problems_of(folder)]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('<a href="gone.html">x</a>', "no such file"),
        ('<a href="other.html#gone">x</a>', "no such anchor"),
        ('<a href="#gone">x</a>', "no such anchor"),
        ('<img src="gone.png">', "no such file"),
        ('<img src="https://img.shields.io/x.svg">', "foreign resource"),
        ('<script src="//cdn.example/x.js"></script>', "foreign resource"),
        ('<link rel="stylesheet" href="https://x.example/x.css">', "foreign resource"),
        ('<p style="background: url(https://x.example/x.png)">', "foreign resource"),
        (
            '<a href="https://github.com/deeprnn-jax/deeprnn_jax/blob/main/gone.py">x</a>',
            "not in the repository",
        ),
        (
            '<a href="https://github.com/deeprnn-jax/deeprnn_jax/blob/main/README.md#gone">x</a>',
            "no such heading",
        ),
        ("<p>{{ gone }}</p>", "not filled in"),
    ],
)
def test_the_check_finds(tmp_path, page, said):
    found = site(tmp_path.resolve(), page, other_html='<p id="here">')
    check.page_of.cache_clear()
    assert len(found) == 1
    assert said in found[0]


def test_the_check_lets_pass(tmp_path):
    page = (
        '<a href="other.html#here">a</a><a href="https://example.com">b</a>'
        '<a href="https://github.com/deeprnn-jax/deeprnn_jax/blob/main/CONTRIBUTING.md#set-up">c</a>'
        '<link rel="stylesheet" href="own.css"><code>{{ code }}</code>'
    )
    files = {"other_html": '<p id="here">', "own_css": "a { background: url(data:x) }"}
    assert site(tmp_path.resolve(), page, **files) == []
    check.page_of.cache_clear()
