"""A weight's gradient is one product over steps and batch: nothing is turned over for it."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close

T, B, I, H, O = 96, 4, 8, 16, 12  # noqa: E741


def gradient_of(cell_name):
    rnn = drnn.deep_rnn(getattr(drnn, cell_name)(H), 2, output_size=O)
    params = rnn.init(jax.random.key(0), I)
    x = registry.seed_of("weight gradients").normal(size=(T, B, I)).astype("float32")
    loss = lambda params, x: jnp.mean(rnn.apply(params, x)[1] ** 2)  # noqa: E731
    return jax.jit(jax.grad(loss)), params, jnp.asarray(x)


def turned_over(compiled):
    """Give the sizes of arrays of all steps that a program copies in another order."""
    shapes = re.findall(r"= f32\[([\d,]+)\]\S* transpose\(", compiled.as_text())
    sizes = [math.prod(map(int, shape.split(","))) for shape in shapes]
    return [size for size in sizes if size >= T * B * I]


@pytest.mark.parametrize("cell_name", ["lstm", "gru", "elman", "lru"])
def test_no_stack_is_turned_over_for_a_product(cell_name):
    grad, params, x = gradient_of(cell_name)
    assert turned_over(grad.lower(params, x).compile()) == []


@pytest.fixture
def split(monkeypatch):
    """Trace as over several devices."""
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    jax.clear_caches()
    yield
    jax.clear_caches()


def test_the_look_at_the_program_sees_what_is_turned_over(split):
    grad, params, x = gradient_of("lstm")
    assert len(turned_over(grad.lower(params, x).compile())) >= 3


@pytest.mark.parametrize("cell_name", ["lstm", "lru", "slstm"])
def test_over_several_devices_gradients_are_the_same(cell_name, request):
    grad, params, x = gradient_of(cell_name)
    here = grad(params, x)
    request.getfixturevalue("split")
    grad, params, x = gradient_of(cell_name)
    assert_close(grad(params, x), here, 1e-5)
