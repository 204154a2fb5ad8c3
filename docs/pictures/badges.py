"""Badges as files of our own, from pyproject.toml: no service draws them."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_LETTER, _PADDING = 6.6, 8  # width of a letter of Verdana at 11, and the room beside words


def texts() -> dict[str, tuple[str, str]]:
    """Return each badge's two words by its file's name."""
    with PROJECT.open("rb") as file:
        project = tomllib.load(file)["project"]
    versions = [
        found[1]
        for line in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    jax = next(line for line in project["dependencies"] if line.startswith("jax>="))
    return {
        "python": ("Python", " | ".join(versions)),
        "jax": ("JAX", jax.removeprefix("jax>=") + " and newer"),
        "licence": ("licence", project["license"]),
        "docs": ("docs", "first steps"),
    }


def svg(left: str, right: str) -> str:
    """Return a badge of two words."""
    first, second = (round(_LETTER * len(word) + 2 * _PADDING) for word in (left, right))
    total = first + second
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img"
 aria-label="{left}: {right}"><title>{left}: {right}</title>
<rect width="{total}" height="20" rx="3" fill="#1f3b57"/>
<path d="M0 3a3 3 0 0 1 3-3h{first - 3}v20h-{first - 3}a3 3 0 0 1-3-3z" fill="#444"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{first / 2}" y="14">{left}</text>
<text x="{first + second / 2}" y="14">{right}</text>
</g></svg>
"""


def write(folder: Path) -> list[Path]:
    """Write all of them, and return their paths."""
    paths = []
    for name, words in texts().items():
        paths.append(folder / f"badge-{name}.svg")
        paths[-1].write_text(svg(*words), encoding="utf-8")
    return paths
