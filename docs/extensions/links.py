"""Links that are right on GitHub, made right on the site as well.

On GitHub a page links to `../experiments/README.md`, README to `docs/concepts.md`, and a notebook
to GitHub's own address of a page. On the site a page of the site is linked to as such, from
wherever the text was included, and any other file of the repository on GitHub. Pictures that lie
elsewhere, badges above all, are their words: the site loads nothing from the network.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from docs.extensions.repository import ADDRESS, COPIES, DOCS, NOTEBOOKS, ROOT, address_of

LOGGER = logging.getLogger(__name__)


class Links(SphinxTransform):
    """See the module."""

    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        """Go over the links and pictures of one page."""
        del kwargs
        for node in [*self.document.findall(nodes.image)]:
            self._picture(node)
        for node in [*self.document.findall(addnodes.download_reference)]:
            self._link(node, node["reftarget"])
        for node in [*self.document.findall(addnodes.pending_xref)]:
            if node.get("reftype") != "myst":
                continue
            target = node["reftarget"]
            if node.get("refdomain") is None:
                self._link(node, target)
            elif target not in self.env.found_docs:  # another Markdown file, its suffix cut off
                self._link_to(node, Path(f"{target}.md"), node.get("reftargetid") or "")
        for node in [*self.document.findall(nodes.reference)]:
            for kind in ("blob", "tree"):
                prefix = f"{ADDRESS}/{kind}/main/"
                if node.get("refuri", "").startswith(prefix):
                    path, _, anchor = node["refuri"].removeprefix(prefix).partition("#")
                    self._link_to(node, ROOT / path, anchor)

    def _link(self, node: nodes.Element, target: str) -> None:
        """Make a link to a file what it should be; leave one that names no file to MyST."""
        path, _, anchor = unquote(target).partition("#")
        for folder in self._folders(node):
            found = Path(os.path.normpath(folder / path))
            if path and found.exists() and found.is_relative_to(ROOT):
                self._link_to(node, found, anchor)
                return

    def _link_to(self, node: nodes.Element, path: Path, anchor: str) -> None:
        """Put a link to a page of the site, or to GitHub, in a node's place."""
        docname = self._docname(path)
        if docname is not None:
            inner = nodes.inline("", "", *(child.deepcopy() for child in node.children))
            new = addnodes.pending_xref(
                "",
                inner,
                refdomain="doc",
                reftarget=docname,
                reftargetid=anchor or None,
                refdoc=self.env.docname,
                reftype="myst",
                refexplicit=True,
            )
            new.source, new.line = node.source, node.line
            node.replace_self(new)
        elif not path.exists():
            LOGGER.warning("the repository has no %s", path.relative_to(ROOT), location=node)
        elif not isinstance(node, nodes.reference):
            uri = address_of(path) + (f"#{anchor}" if anchor else "")
            children = (child.deepcopy() for child in node.children)
            node.replace_self(nodes.reference("", "", *children, refuri=uri))

    def _docname(self, path: Path) -> str | None:
        """Give the page of the site that a file is, or None."""
        if path.is_relative_to(NOTEBOOKS):
            path = COPIES / path.relative_to(NOTEBOOKS).with_suffix(".ipynb")
        found = self.env.path2doc(path) if path.is_relative_to(DOCS) else None
        return found if found in self.env.found_docs else None

    def _folders(self, node: nodes.Element) -> list[Path]:
        """Give the folders that a relative link may be meant from: its file's, then the page's."""
        page = Path(self.env.doc2path(self.env.docname)).parent
        own = Path(node.source).parent if node.source else page
        own = own if own.is_absolute() else page / own
        return [NOTEBOOKS if folder == COPIES else folder for folder in (own, page)]

    def _picture(self, node: nodes.image) -> None:
        """Find a picture from where its text stands; put its words in place of a foreign one."""
        uri = node["uri"]
        if "://" in uri:
            words = node.get("alt") or "picture"
            node.replace_self(nodes.inline("", words, classes=["badge"]))
            return
        page = Path(self.env.doc2path(self.env.docname)).parent
        for folder in (page, *self._folders(node)):
            found = Path(os.path.normpath(folder / unquote(uri)))
            if found.is_file():
                node["uri"] = os.path.relpath(found, page)
                return


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
