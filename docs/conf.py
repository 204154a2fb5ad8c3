"""How the site is built: `sphinx-build docs build/docs`, with nothing from the network."""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from docs.extensions.repository import copy_notebooks  # noqa: E402

project = "deeprnn_jax"
author = "The deeprnn_jax authors"
project_copyright = "The deeprnn_jax authors, Apache-2.0"
version = re.findall(r'__version__ = "(.+)"', (ROOT / "deeprnn_jax/__init__.py").read_text())[0]
release = version

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "docs.extensions.api",
    "docs.extensions.code",
    "docs.extensions.links",
]
exclude_patterns = ["extensions", "pictures", "_static"]
language = "en"
smartquotes_action = "D"  # dashes alone: "fo" is a value, to be typed as it stands

# Pages: Markdown that GitHub shows as well.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "html_image"]
myst_enable_extensions += ["attrs_inline"]
myst_heading_anchors = 4
highlight_language = "none"  # a block says what it is; most others are commands

# Notebooks are shown with the outputs that are committed.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # there are no widgets, and their scripts are a CDN's
copy_notebooks()

# The API, in the order in which a page names it.
autodoc_member_order = "bysource"
autosummary_generate = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = f"deeprnn_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/deeprnn-jax/deeprnn_jax/",
    "source_branch": "main",
    "source_directory": "docs/",
}

copybutton_prompt_text = r">>> |\.\.\. |\.\.\.$"
copybutton_prompt_is_regexp = True

# MathJax from a package, and of it what a browser loads: the script and its fonts.
mathjax_path = "mathjax/tex-chtml.js"


def copy_mathjax(app, error):
    """Copy script and fonts to where the pages look for them."""
    if error is not None or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline")  # no name that could be imported
    if package is None or package.origin is None:
        raise ImportError("sphinx-mathjax-offline is missing: pip install -e '.[docs]'")
    source = Path(package.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)
    shutil.copy2(source / "tex-chtml.js", target)


def setup(app):
    """Connect what is above."""
    app.connect("build-finished", copy_mathjax)
