"""The guard against numbers that are not finite."""

import jax
import jax.numpy as jnp
import pytest

from experiments.common.non_finite import check_finite, finite_flags

ORDER = ("loss", "gradients", "parameters")


def flags(loss=1.0, gradient=1.0, parameter=1.0):
    """Flags made under jit, which sorts the names of a dictionary."""

    @jax.jit
    def make(loss, gradient, parameter):
        return finite_flags(
            loss=loss,
            gradients={"w": jnp.ones(3), "b": jnp.array([0.0, gradient])},
            parameters=[jnp.zeros(2), parameter],
        )

    return make(loss, gradient, parameter)


def test_finite_numbers_pass():
    check_finite(3, flags(), ORDER)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_cause_is_named_with_its_step(bad):
    with pytest.raises(FloatingPointError, match=r"step 7: not finite: loss;"):
        check_finite(7, flags(loss=bad, gradient=bad, parameter=bad), ORDER)
    with pytest.raises(FloatingPointError, match=r"not finite: gradients\['b'\];"):
        check_finite(7, flags(gradient=bad, parameter=bad), ORDER)
    with pytest.raises(FloatingPointError, match=r"not finite: parameters\[1\];"):
        check_finite(7, flags(parameter=bad), ORDER)
