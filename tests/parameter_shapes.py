"""The shapes of every registered cell's and network's parameters, as text.

`python -m tests.parameter_shapes` writes them anew into parameter_shapes.json.
"""

import json
from pathlib import Path

import jax

from tests import registry
from tests.versions import enable_x64

PATH = Path(__file__).with_suffix(".json")


def describe(rnn) -> dict[str, str]:
    """Write a network's parameters as `path: shape dtype`."""
    params, _ = registry.shapes_of(rnn)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): f"{list(leaf.shape)} {leaf.dtype}" for path, leaf in leaves}


def current() -> dict[str, dict[str, str]]:
    """Give the shapes of all registered networks, by their names."""
    with enable_x64(True):
        return {name: describe(network.build()) for name, network in registry.NETWORKS.items()}


if __name__ == "__main__":
    PATH.write_text(json.dumps(current(), indent=1) + "\n")
