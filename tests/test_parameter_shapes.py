"""Parameters keep their names and shapes: checkpoints that users have depend on them."""

import json

import pytest

from tests import parameter_shapes, registry

SNAPSHOT = json.loads(parameter_shapes.PATH.read_text())
HOW = "if the change is meant, run `python -m tests.parameter_shapes` and say so in CHANGELOG.md"


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", registry.NETWORKS)
def test_parameters_are_those_of_the_snapshot(name):
    assert name in SNAPSHOT, f"a new network: {HOW}"
    got = parameter_shapes.describe(registry.NETWORKS[name].build())
    assert got == SNAPSHOT[name], HOW


def test_the_snapshot_has_no_networks_that_are_gone():
    assert SNAPSHOT.keys() == registry.NETWORKS.keys(), HOW
