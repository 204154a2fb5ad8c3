"""The notebooks: both files of each agree, and each runs, small, and would run on a TPU."""

import importlib.util
import json
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("tyro")

from experiments.notebooks import command, pairs, table
from tests.notebooks import lowering


def executed(path):
    """Run a notebook's text in a process of its own."""
    call = [sys.executable, "-m", "tests.notebooks.executed", str(path)]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=pairs.ROOT)


@pytest.mark.parametrize("name", pairs.names())
def test_both_files_agree(name):
    assert list(pairs.faults(name)) == []


@pytest.mark.parametrize("name", pairs.names())
def test_runs_small_and_lowers_for_a_tpu(name):
    done = executed(pairs.FOLDER / f"{name}.md")
    assert done.returncode == 0, done.stderr[-8000:]
    exported = json.loads(done.stdout.splitlines()[-1])
    assert exported, f"{name} calls nothing that it has jitted"


def test_the_readme_has_them_all():
    readme = (pairs.FOLDER / "README.md").read_text()
    for name in pairs.names():
        title, promise = table.title_and_promise(pairs.read_text(pairs.FOLDER / f"{name}.md"))
        assert f"[{title}]({name}.ipynb) | {promise} | {pairs.badge(name)}" in readme


# What the tests above must be able to find.


@pytest.fixture
def cell(monkeypatch):
    """Give what runs code as a notebook's kernel does, and the names of what it exported."""
    monkeypatch.setattr(jax, "jit", lowering.watched_jit)
    monkeypatch.setattr(lowering, "exported", [])

    def run(code):
        names = {"__name__": "__main__", "jax": jax, "jnp": jnp}
        exec(textwrap.dedent(code), names)
        return lowering.exported

    return run


FORMS = {
    "decorator": "@jax.jit\ndef f(x):\n    return x * 2\nf(x)\nf(x)",
    "call": "f = jax.jit(lambda x, n: x * n, static_argnums=1)\nf(x, 2)",
    "partial": "from functools import partial\n@partial(jax.jit, static_argnames='n')\n"
    "def f(x, *, n):\n    return x * n\nf(x, n=2)",
    "donated": "f = jax.jit(lambda x: x * 2, donate_argnums=0)\nf(x)",
    "lowered": "f = jax.jit(lambda x: x * 2)\nf.lower(x).compile()(x)",
    "inside another": "f = jax.jit(lambda x: x * 2)\njax.jit(lambda x: f(x) + 1)(x)",
    "in a gradient": "f = jax.jit(lambda x: x @ x)\njax.grad(f)(x)",
    "in a map": "f = jax.jit(lambda x: x * 2)\njax.vmap(f)(x)",
    "method": "class A:\n    @jax.jit\n    def f(self, x=0.0):\n        return self * 2\nA.f(x)",
    "imported": "from jax import jit\njit(lambda x: x * 2)(x)",
    "numbers": "f = jax.jit(lambda x, a: x * a)\nf(x, 1.0)\nf(x, 2.0)",
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_is_jitted_is_exported_once(cell, form):
    assert len(cell("x = jnp.ones(3)\n" + FORMS[form])) == 1


def test_each_shape_and_each_static_argument_is_exported(cell):
    found = cell("""
        f = jax.jit(lambda x, n: x * n, static_argnums=1)
        for x, n in ((jnp.ones(3), 2), (jnp.ones(3), 3), (jnp.ones(4), 2), (jnp.ones(3), 2)):
            assert jnp.array_equal(f(x, n), x * n)
    """)
    assert len(found) == 3


def test_what_a_library_jits_is_not(cell):
    elsewhere = {"__name__": "flax.nnx", "jax": jax, "x": jnp.ones(3)}
    exec("jax.jit(lambda x: x * 2)(x)", elsewhere)
    assert cell("") == []


REFUSED = r"cannot be exported|has float64|has a (dynamic|call)"
PLANTED = {
    "float64": "jax.jit(lambda x: x * 2)(jnp.ones(3, jnp.float64))",
    "complex128": "jax.jit(lambda x: (x * 1j).real.astype(jnp.float32))(jnp.ones(3, jnp.float64))",
    "a dynamic shape": "from jax import export\nn, = export.symbolic_shape('n')\n"
    "jax.jit(lambda x: x * 2).lower(jax.ShapeDtypeStruct((n,), jnp.float32))",
    "debug.print": "jax.jit(lambda x: jax.debug.print('{}', x))(jnp.ones(3))",
    "pure_callback": "jax.jit(lambda x: jax.pure_callback(lambda x: x, x, x))(jnp.ones(3))",
    "in a loop": "@jax.jit\ndef f(x):\n    def step(c, _):\n        jax.debug.callback(print, c)\n"
    "        return c, c\n    return jax.lax.scan(step, x, None, 3)\nf(jnp.ones(3))",
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_a_tpu_cannot_run_is_found(cell, x64, what):
    with pytest.raises(AssertionError, match=REFUSED):
        cell(PLANTED[what])


MADE_UP = (
    pairs.HEADER
    + """
# Made up

```{{code-cell}} ipython3
import jax
import jax.numpy as jnp
```

```{{code-cell}} ipython3
:tags: [sizes]
:small: size = 3

size = 10**12
```

```{{code-cell}} ipython3
:needs: [no_such_package]

import no_such_package
```

```{{code-cell}} ipython3
jax.jit(lambda x: x * 2)(jnp.ones(size))
{last}
```
"""
)


def test_a_fault_in_a_notebook_is_found(tmp_path):
    """All before it runs: with the small size, without the package."""
    path = tmp_path / "1_planted.md"
    path.write_text(MADE_UP.format(last="jax.jit(lambda x: jax.debug.print('{}', x))(jnp.ones(3))"))
    done = executed(path)
    assert done.returncode != 0
    assert "cannot be exported for a TPU" in done.stderr


BUILD = """
import sys
from pathlib import Path

from experiments.notebooks import command, pairs

pairs.FOLDER = Path(sys.argv.pop(1))
command.main(sys.argv[1:])
"""


def test_build_executes_and_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pairs, "FOLDER", tmp_path)
    (tmp_path / "first_cell.py.txt").write_text("import jax\nimport jax.numpy as jnp\n")
    (tmp_path / "README.md").write_text(f"# Here\n{table.sweep.BEGIN}{table.sweep.END}below\n")
    text = tmp_path / "1_one.md"
    text.write_text(GOOD.replace("size = 10**12", "size=2").replace("import no_such_package", "2"))
    call = [sys.executable, "-W", "error", "-c", BUILD, str(tmp_path), "build", "1"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=pairs.ROOT)
    assert done.returncode == 0, done.stderr
    notebook = pairs.read_notebook(tmp_path / "1_one.ipynb")
    assert [cell.execution_count for cell in pairs.code_cells(notebook)] == [1, 2, 3, 4]
    assert pairs.code_cells(notebook)[-1].outputs[0]["data"]["text/plain"] == "1"
    measured = notebook.metadata["measured"]
    assert measured["jax"] == jax.__version__
    assert measured["seconds"] > 0
    formatted = importlib.util.find_spec("ruff") is not None  # else left as it is written
    assert ("size = 2" if formatted else "size=2") in text.read_text()
    readme = (tmp_path / "README.md").read_text()
    assert "| [Made up](1_one.ipynb) |" in readme
    assert readme.endswith("below\n")

    made = (tmp_path / "1_one.ipynb").read_bytes()
    command.main(["sync"])
    command.main(["check"])
    assert "1 notebooks, nothing wrong" in capsys.readouterr().out
    assert (tmp_path / "1_one.ipynb").read_bytes() == made
    text.write_text(text.read_text().replace("# Made up", "# Made anew"))
    with pytest.raises(SystemExit, match="is not made of"):
        command.main(["check"])
    with pytest.raises(SystemExit, match="no 2; there are 1_one"):
        command.main(["sync", "2"])


def written(folder, monkeypatch, text):
    """Write a notebook as `build` does, but for its outputs."""
    monkeypatch.setattr(pairs, "FOLDER", folder)
    (folder / "first_cell.py.txt").write_text("import jax\nimport jax.numpy as jnp\n")
    (folder / "1_one.md").write_text(text)
    notebook = pairs.completed("1_one")
    for i, cell in enumerate(pairs.code_cells(notebook)):
        cell.execution_count = i + 1
    pairs.write_text(notebook, folder / "1_one.md")
    pairs.write_notebook(notebook, folder / "1_one.ipynb")


GOOD = MADE_UP.format(last="1").replace("# Made up", f"# Made up\n\n{pairs.badge('1_one')}")
WRONG = {
    "lacks the badge": (pairs.badge("1_one"), ""),
    "one cell with the tag sizes": (":tags: [sizes]\n", ""),
    "no assignment": (":small: size = 3", ":small: print(size)"),
    "has no length": (":small: size = 3", ":small: length = 3"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_pair_with_a_fault_is_refused(tmp_path, monkeypatch, what):
    written(tmp_path, monkeypatch, GOOD)
    assert list(pairs.faults("1_one")) == []
    written(tmp_path, monkeypatch, GOOD.replace(*WRONG[what]))
    assert any(what in fault for fault in pairs.faults("1_one"))


def test_a_changed_text_is_told_from_what_was_made_of_it(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, GOOD)
    text = tmp_path / "1_one.md"
    text.write_text(text.read_text().replace("# Made up", "# Made anew"))
    assert "is not made of" in next(pairs.faults("1_one"))
    made = pairs.with_outputs_of(
        pairs.completed("1_one"), pairs.read_notebook(tmp_path / "1_one.ipynb")
    )
    pairs.write_notebook(made, tmp_path / "1_one.ipynb")
    assert list(pairs.faults("1_one")) == []
    text.write_text(text.read_text().replace("jnp.ones(size))", "jnp.zeros(size))"))
    made = pairs.with_outputs_of(
        pairs.completed("1_one"), pairs.read_notebook(tmp_path / "1_one.ipynb")
    )
    pairs.write_notebook(made, tmp_path / "1_one.ipynb")
    assert [fault.split(":")[0] for fault in pairs.faults("1_one")] == ["not executed"]
