"""Draw the pictures, and fill in the figures, that README and the site's pages show.

Command:   python -m docs.pictures            draw and fill in
           python -m docs.pictures --check    exit status 1 if README's figures are not the records'
Expected:  docs/pictures/*.png and *.svg, and what stands between marks in README.md
Time:      seconds; nothing is measured, all figures are read from committed records
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from docs.pictures import badges, cell, engine, figures, layout, ratios, schedules, sequences

FOLDER = Path(__file__).parent
README = FOLDER.parents[1] / "README.md"


def with_figures(readme: str) -> str:
    """Return README with the figures of the records."""
    readme = figures.filled(readme, "scan", figures.scan_words())
    return figures.filled(readme, "results", figures.results_table())


def main(args: Sequence[str]) -> int:
    """Draw and fill in all of them, or see whether README's are those of the records."""
    before = README.read_text(encoding="utf-8")
    after = with_figures(before)
    if "--check" in args:
        return int(before != after)
    for module in (ratios, cell, engine, schedules, sequences, layout):
        path = FOLDER / f"{module.__name__.rpartition('.')[2]}.png"
        module.draw(path)
        print(path.relative_to(README.parent))
    for path in badges.write(FOLDER):
        print(path.relative_to(README.parent))
    README.write_text(after, encoding="utf-8")
    print(README.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
