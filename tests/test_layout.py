"""Who may import whom: the design's order, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deeprnn_jax

ROOT = Path(deeprnn_jax.__file__).parent
# Each may import what stands before it, and its own package.
ORDER = (
    "internals",
    "made",
    "types",
    "meshes",
    "checks",
    "arguments",
    "recurrence",
    "random_keys",
    "precision",
    "orthonormal",
    "initializers",
    "factories",
    "cells",
    "modifiers",
    "sequences",
    "layers",
    "schedules",
    "parameters",
    "naming",
    "running",
    "deep",
    "partition",
    "truncation",
    "analysis",
    "decoding",
    "interop",
)
MODULES = sorted(ROOT.rglob("*.py"))
# What is in cells/ and modifiers/ but is no cell and no modifier that a user names.
SHARED = {"cells.diagonal", "cells.heads", "cells.units", "modifiers.lift"}


def name_of(path):
    """Give a module's name inside the package: "" for its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Give the absolute names of everything that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (ROOT.parent / Path(*whole.split("."))).with_suffix(".py").exists()
                is_package = (ROOT.parent / Path(*whole.split(".")) / "__init__.py").exists()
                found.add(whole if is_module or is_package else node.module)
    return found


def own_imports(path):
    """Give those of this package, by their names inside it."""
    prefix = "deeprnn_jax"
    return {
        name.removeprefix(prefix).removeprefix(".")
        for name in imports_of(path)
        if name == prefix or name.startswith(f"{prefix}.")
    }


def test_every_module_has_its_place():
    tops = {name_of(path).split(".")[0] for path in MODULES} - {""}
    assert tops <= set(ORDER), f"not in the order: {sorted(tops - set(ORDER))}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_left_to_right(path):
    name = name_of(path)
    top = name.split(".")[0]
    if not top:
        return  # the public names come from everywhere
    for imported in own_imports(path):
        other = imported.split(".")[0]
        if not other:
            assert top == "interop", f"{name} imports the package itself"
        else:
            assert other == top or ORDER.index(other) < ORDER.index(top), (
                f"{name} imports {imported}, which stands after it"
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_general_names_no_cell_and_no_modifier(path):
    """A schedule never names a concrete cell, nor does a modifier or the network."""
    top = name_of(path).split(".")[0]
    if top in ("", "cells", "interop"):  # a cell may be made of another
        return
    concrete = {
        name
        for name in own_imports(path)
        if name.startswith(("cells", "modifiers")) and name not in SHARED
    }
    if top == "modifiers" and path.name == "__init__.py":
        return  # where the modifiers' names are gathered
    assert not concrete, f"{name_of(path)} names {sorted(concrete)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_needs_only_what_it_declares(path):
    """No experiment, no test, and outside interop nothing but JAX and NumPy."""
    others = {name.split(".")[0] for name in imports_of(path)} - sys.stdlib_module_names
    allowed = {"deeprnn_jax", "jax", "numpy"}
    if name_of(path).startswith("interop"):
        allowed |= {"flax", "torch", "keras", "haiku", "tensorflow", "onnx"}
    if name_of(path).startswith("analysis"):
        allowed |= {"matplotlib", "optax"}  # imported where they are used
    assert others <= allowed


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_may_change_in_jax_is_imported_in_one_place(path):
    inside = {"jax.extend", "jax.interpreters", "jax.core", "jax._src"}
    found = {name for name in imports_of(path) if name.startswith(tuple(inside))}
    assert not found or name_of(path) == "internals", found


def test_what_is_cited_is_this_version():
    said = (ROOT.parent / "CITATION.cff").read_text()
    assert f"version: {deeprnn_jax.__version__}\n" in said


def test_importing_is_quick():
    """Only what the public names need: nothing that trains, plots or reads files."""
    heavy = [
        "torch",
        "keras",
        "tensorflow",
        "haiku",
        "onnx",
        "flax",
        "optax",
        "orbax",
        "chex",
        "tyro",
    ]
    heavy += ["matplotlib", "pooch", "tqdm", "tensorboardX"]
    program = (
        "import deeprnn_jax, sys\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith(('experiments', 'tests'))])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split("\n") == ["[]", "[]", ""]


def test_public_names_are_there_and_documented():
    for name in deeprnn_jax.__all__:
        assert getattr(deeprnn_jax, name).__doc__, name
    assert list(deeprnn_jax.__all__) == sorted(deeprnn_jax.__all__)
