"""Networks on meshes: `on_eight_devices` says what each case is."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from tests.on_eight_devices import CASES

# One process for all: one worker of pytest-xdist.
pytestmark = pytest.mark.xdist_group("on_eight_devices")


@cache
def results():
    """Give what went wrong by case, None where nothing did."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, "-m", "tests.on_eight_devices"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(map(json.loads, run.stdout.splitlines()))


@pytest.mark.parametrize("case", CASES)
def test_on_eight_devices(case):
    assert results()[case] is None, results()[case]
