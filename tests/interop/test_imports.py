"""Other libraries are not imported before they are used."""

import subprocess
import sys

import pytest

from deeprnn_jax import interop
from deeprnn_jax.interop.assembly import import_library


def test_interop_imports_no_other_library():
    code = "import sys; from deeprnn_jax import interop; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = {name.split(".")[0] for name in loaded.stdout.split()}
    assert "deeprnn_jax" in modules
    assert not modules & {"flax", "torch", "keras", "haiku", "tensorflow", "onnx"}


def test_every_public_name_is_there():
    assert dir(interop) == sorted(interop.__all__)
    assert all(getattr(interop, name) is not None for name in interop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'from_mxnet'"):
        _ = interop.from_mxnet


def test_missing_library_says_what_to_do():
    with pytest.raises(ImportError, match=r"to_x: needs no_such_library.*pip install"):
        import_library("to_x", "no_such_library")
