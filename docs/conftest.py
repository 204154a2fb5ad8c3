"""Run the pages' code: each block of a page after the other, as doctests.

A page that another library is needed for says so in its front matter, by module:

    ---
    needs: [torch]
    ---

Where one of them is missing, the page is skipped.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parent
FRONT_MATTER = re.compile(r"\A---\n(.*?)^---$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^needs: \[(.*)\]$", re.MULTILINE)

collect_ignore_glob = ["*.py"]  # what builds the site needs Sphinx


def needs_of(page):
    """Give the modules that a page's front matter names."""
    front = FRONT_MATTER.match(page.read_text(encoding="utf-8"))
    found = front and NEEDS.search(front[1])
    return [name.strip() for name in found[1].split(",")] if found else []


def pytest_collection_modifyitems(items):
    """Skip the pages whose libraries are missing."""
    for item in items:
        if item.path.suffix != ".md" or not item.path.is_relative_to(DOCS):
            continue
        missing = [name for name in needs_of(item.path) if find_spec(name) is None]
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))
