"""Models that settings describe but the library refuses."""

import jax
import jax.numpy as jnp
import pytest

from experiments.common.errors import InputError
from experiments.common.settings import checked_model


def test_a_model_is_tried_without_being_run():
    seen = []

    def use(model):
        seen.append(jnp.zeros(3) + model)
        return seen[0]

    assert checked_model(lambda: 5.0, use) == 5.0
    assert isinstance(seen[0], jax.core.Tracer)  # an abstract value, not an array


def refuse(*_):
    raise ValueError("apply: no such order")


def test_what_the_library_refuses_is_the_settings_fault():
    for make, use in ((refuse, jnp.zeros), (lambda: 1, refuse)):
        with pytest.raises(InputError, match="cannot be run so: apply: no such order"):
            checked_model(make, use)


@pytest.mark.parametrize("kind", [InputError, TypeError])
def test_other_errors_are_left_as_they_are(kind):
    def use(model):
        raise kind("its own words")

    with pytest.raises(kind) as caught:
        checked_model(lambda: 1, use)
    assert str(caught.value) == "its own words"
