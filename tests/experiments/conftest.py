"""Fixtures of all experiments' tests."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    """Promote as users do: optax and flax mix dtypes inside, the core alone is strict."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compile equal programs once a session: several tests train one and the same model.

    The environment hands the cache on to the processes that tests start.
    """
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    before = {name: getattr(jax.config, name) for name in options}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in options.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        yield
    for name, value in before.items():
        jax.config.update(name, value)
