"""What is wrong in the built site: dead links and anchors, missing pictures, foreign resources.

    python docs/check.py build/docs

Looks at the files alone. A page may link to other sites, but load nothing from them; a link to a
file of the repository on GitHub must name one that is there, and a heading of it.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag

ROOT = Path(__file__).parents[1]
GITHUB = re.compile(r"https://github\.com/deeprnn-jax/deeprnn_jax/(?:blob|tree)/main/(.*)")
COLAB = re.compile(r"https://colab\.research\.google\.com/github/[^/]+/[^/]+/blob/main/(.*)")
LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src", "video": "src"}
CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Use(NamedTuple):
    """One address in a page."""

    address: str
    is_loaded: bool  # by the browser, with the page; else it is a link to be followed


class Page(HTMLParser):
    """The addresses and ids of a page, and what was left unread in it."""

    def __init__(self, text: str):
        """Read a page."""
        super().__init__()
        self.uses: list[Use] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.code = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids and addresses."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        self.code += tag in ("pre", "code", "script", "style")
        if tag == "a" and "href" in found:
            self.uses.append(Use(found["href"], False))
        if tag == "link" and "href" in found:
            is_loaded = found.get("rel") not in ("canonical", "next", "prev", "index", "search")
            self.uses.append(Use(found["href"], is_loaded))
        if found.get(LOADED.get(tag, "")):
            self.uses.append(Use(found[LOADED[tag]], True))
        for one in found.get("srcset", "").split(","):
            if one.strip():
                self.uses.append(Use(one.split()[0], True))
        self.uses += [Use(one, True) for one in urls_of(found.get("style", ""))]

    def handle_endtag(self, tag: str) -> None:
        """Note where code ends."""
        self.code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data: str) -> None:
        """Note words outside code."""
        if not self.code:
            self.words.append(data)


def urls_of(css: str) -> list[str]:
    """Give the addresses that a style sheet loads."""
    return [a or b for a, b in CSS_URL.findall(css) if not (a or b).startswith("data:")]


@cache
def page_of(path: Path) -> Page:
    """Read a page, once."""
    return Page(path.read_text(encoding="utf-8"))


@cache
def headings_of(path: Path) -> frozenset[str]:
    """Give the anchors that GitHub makes of a Markdown file's headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    words = (
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one)) for one in titles
    )
    return frozenset(one.strip().lower().replace(" ", "-") for one in words)


def check_use(site: Path, page: Path, use: Use) -> str | None:
    """Say what is wrong with an address, or None."""
    address = use.address
    if address.startswith(("data:", "mailto:", "javascript:")):
        return None
    if re.match(r"(https?:)?//", address):
        return "foreign resource" if use.is_loaded else _check_foreign(address)
    path, anchor = urldefrag(address)
    path = unquote(path).partition("?")[0]
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(site):
        return "outside the site"
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return "no such file"
    is_dead = anchor and target.suffix == ".html" and unquote(anchor) not in page_of(target).ids
    return "no such anchor" if is_dead else None


def _check_foreign(address: str) -> str | None:
    """Say whether a link into the repository names nothing."""
    found = GITHUB.match(address) or COLAB.match(address)
    if not found:
        return None
    path, anchor = urldefrag(unquote(found[1]).partition("?")[0])
    target = ROOT / path
    if not target.exists():
        return "not in the repository"
    is_dead = anchor and target.suffix == ".md" and anchor not in headings_of(target)
    return "no such heading" if is_dead else None


def problems_of(site: Path) -> Iterator[str]:
    """Give everything that is wrong in a built site, a line each."""
    for page in sorted(site.rglob("*.html")):
        name = page.relative_to(site)
        if name.parts[0] == "_static":
            continue
        found = page_of(page)
        for use in dict.fromkeys(found.uses):
            said = check_use(site, page, use)
            if said:
                yield f"{name}: {said}: {use.address}"
        if "{{" in "".join(found.words):
            yield f"{name}: a figure was not filled in: {{{{ }}}}"
    for sheet in sorted(site.rglob("*.css")):
        for url in urls_of(sheet.read_text(encoding="utf-8")):
            said = check_use(site, sheet, Use(url, True))
            if said:
                yield f"{sheet.relative_to(site)}: {said}: {url}"


def main() -> None:
    """Print what is wrong; exit with 1 if anything is."""
    site = Path(sys.argv[1]).resolve()
    pages = len([*site.rglob("*.html")])
    if not pages:
        sys.exit(f"check: {site} holds no pages; build them first: sphinx-build docs {site}")
    found = [*problems_of(site)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{pages} pages, {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
