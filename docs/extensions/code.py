"""Code blocks without the blank line that a doctest ends with before its fence."""

from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform


class Trim(SphinxTransform):
    """See the module."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Go over the blocks of one page."""
        del kwargs
        for node in self.document.findall(nodes.literal_block):
            if len(node) == 1 and isinstance(node[0], nodes.Text):
                node.rawsource = node.astext().rstrip("\n")
                node[0] = nodes.Text(node.rawsource)


def setup(app: Any) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Trim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
