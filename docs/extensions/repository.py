"""Where things are in the repository, and where its files are to be seen."""

import shutil
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
ADDRESS = "https://github.com/deeprnn-jax/deeprnn_jax"
NOTEBOOKS = ROOT / "experiments" / "notebooks"
COPIES = DOCS / "notebooks"  # git knows nothing of it


def address_of(path: Path) -> str:
    """Give GitHub's page of a file or folder."""
    kind = "tree" if path.is_dir() else "blob"
    return f"{ADDRESS}/{kind}/main/{path.relative_to(ROOT).as_posix()}"


def copy_notebooks() -> None:
    """Copy the notebooks to where Sphinx looks for pages; what is no longer there goes."""
    COPIES.mkdir(exist_ok=True)
    wanted = {path.name: path for path in NOTEBOOKS.glob("*.ipynb")}
    for path in COPIES.glob("*.ipynb"):
        if path.name not in wanted:
            path.unlink()
    for name, path in wanted.items():
        copy = COPIES / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)
