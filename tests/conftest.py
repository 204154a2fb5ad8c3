"""What every test runs under: strict promotion, fixed seeds, float64 on request."""

import gc
import os
from pathlib import Path

import jax
import pytest
from hypothesis import HealthCheck, settings

from tests.compiling import compile_sooner
from tests.versions import enable_x64

# Examples are the same on every run and machine: a failure can be run again.
settings.register_profile(
    "quick",
    derandomize=True,
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=500)
settings.load_profile("quick")  # the other: pytest --hypothesis-profile thorough


def pytest_configure(config):
    """Compile sooner, in this process and in the workers of pytest-xdist that it starts.

    And look for garbage less often: a seventh of the time went there, with 700 objects.
    """
    gc.set_threshold(100_000, 50, 100)
    if not hasattr(config, "workerinput"):  # a worker has the environment of who started it
        compile_sooner()


def pytest_report_header():
    """Name the flags that all is compiled with."""
    return f"XLA_FLAGS: {os.environ.get('XLA_FLAGS', '')}"


def pytest_addoption(parser):
    """Let a run try more random configurations, or one again."""
    parser.addoption(
        "--configurations",
        metavar="[FIRST:]LAST",
        help="which random configurations test_random_configurations.py tries, 2000 or 37:38 "
        "say (default: 9 that have between them nearly all that can be drawn)",
    )


# Linux lets a process map 65,530 pieces of memory, and each compiled program takes several:
# one that runs all these tests comes there, and ends in a segmentation fault.
MAPS, MAX_MAPS = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Drop what was compiled so far, between modules, where it has become very much.

    What stays is not looked through for garbage again: tracing makes so many objects that
    Python does it all the time.
    """
    if MAPS.is_file() and MAPS.read_bytes().count(b"\n") > MAX_MAPS:
        gc.unfreeze()
        jax.clear_caches()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def exact_products(request):
    """Compare numbers of float32 on accelerators too, which by default round operands."""
    if jax.default_backend() == "cpu" or "default_products" in request.keywords:
        yield
        return
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(autouse=True)
def strict_promotion():
    """Make any mix of two dtypes an error, and of two ranks."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def x64():
    """Allow float64, in which two exact orders of work differ by rounding alone."""
    with enable_x64(True):
        yield
