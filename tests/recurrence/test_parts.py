"""A loop cut in parts: the numbers of `lax.scan`, with the products that can be outside it."""

import math
import re
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import deeprnn_jax as drnn
from tests import registry
from tests.comparing import assert_close
from tests.recurrence.scans import Scan, draw_weights

T = 7  # divides no other size: what is done for all steps is known by it


class Case(NamedTuple):
    """A step, its operands for a size, and its products outside the loop and in it."""

    step: object  # (w, carry, x_t) -> (carry, y_t)
    shapes: object  # (B, I, H) -> shapes of w, of the carry, of x_t
    products: tuple[int, int]
    loops: int = 1
    reverse: bool = False
    also: object = None  # (B, I, H) -> what is no float among the carry and xs

    def run(self, scan, w, carry, xs):
        """Scan it by `lax.scan` or by another."""
        return scan(partial(self.step, w), carry, xs, reverse=self.reverse)


def read_out(w, h, x):
    h = w["a"] * h + x @ w["b"]
    return h, h @ w["c"] + x @ w["d"]


def read_out_shapes(b, i, h):
    return {"a": (1, h), "b": (i, h), "c": (h, i), "d": (i, i)}, (b, h), (b, i)


def two_layers(w, carry, x):
    h = jnp.tanh(x @ w["x"] + carry[0] @ w["h"])
    g = jnp.tanh(h @ w["up"] + carry[1] @ w["g"])
    return (h, g), (h, g)


def two_layers_shapes(b, i, h):
    w = {"x": (i, h), "h": (h, h), "up": (h, h), "g": (h, h)}
    return w, ((b, h), (b, h)), (b, i)


def window(w, carry, x):
    (once, twice), h = carry
    taps = w["taps"]
    v = taps[:1] * x + taps[1:2] * once + taps[2:] * twice
    h = jnp.tanh(v @ w["x"] + h @ w["h"])
    return ((x, once), h), x + jax.nn.silu(h @ w["up"]) @ w["down"]


def window_shapes(b, i, h):
    w = {"taps": (3, i), "x": (i, h), "h": (h, h), "up": (h, 2 * h), "down": (2 * h, i)}
    return w, (((b, i), (b, i)), (b, h)), (b, i)


def masked_window(w, carry, x):
    x, score = x
    after, y = window(w, carry, x)
    keep = partial(jnp.where, score > 0)
    return jax.tree.map(keep, after, carry), keep(y, jnp.zeros_like(y))


def masked_window_shapes(b, i, h):
    w, carry, x = window_shapes(b, i, h)
    return w, carry, (x, (b, 1))


def delayed(w, carry, x):
    """The state before last is only handed on."""
    h, late = carry
    return (jnp.tanh(x @ w["x"] + h @ w["h"]), h), late @ w["c"]


def delayed_shapes(b, i, h):
    return {"x": (i, h), "h": (h, h), "c": (h, i)}, ((b, h), (b, h)), (b, i)


def feedback(w, carry, x):
    h, g = carry
    h = jnp.tanh(x @ w["x"] + h + g)
    g = jnp.tanh(h @ w["c"])
    return (h, g), g


def feedback_shapes(b, i, h):
    return {"x": (i, h), "c": (h, h)}, ((b, h), (b, h)), (b, i)


def late_feedback(w, carry, x):
    """What the product reads does not need what it feeds at this step, but before it did."""
    h, g = carry
    return (jnp.tanh(x @ w["x"] + h + g), jnp.tanh(h @ w["c"])), g


def lanes(w, carry, x):
    found = [read_out(*one) for one in zip(w, carry, x, strict=True)]
    return tuple(h for h, _ in found), [y for _, y in found]


def lanes_shapes(*sizes):
    w, h, x = read_out_shapes(*sizes)
    return (w, w), (h, h), (x, x)


def memory(w, carry, x):
    k, v, q = (x @ w[name] for name in ("k", "v", "q"))
    carry = 0.5 * carry + k[:, :, None] * v[:, None]
    return carry, jnp.einsum("bkv,bk->bv", carry, q) @ w["c"]


def memory_shapes(b, i, h):
    w = {"k": (i, h), "v": (i, h), "q": (i, h), "c": (h, i)}
    return w, (b, h, h), (b, i)


def fixed_query(w, carry, x):
    """What would be stacked is a matrix for each row of the result."""
    k, v = x @ w["k"], x @ w["v"]
    carry = 0.5 * carry + k[:, :, None] * v[:, None]
    return carry, jnp.einsum("bkv,k->bv", carry, w["q"])


def fixed_query_shapes(b, i, h):
    return {"k": (i, h), "v": (i, h), "q": (h,)}, (b, h, h), (b, i)


def gates_again(w, h, x):
    """Gates are looked at beside the step that has them."""
    n = jnp.tanh(x @ w["x"] + h @ w["h"])
    return h + n, jax.nn.sigmoid(h @ w["h"])


def gates_again_shapes(b, i, h):
    return {"x": (i, h), "h": (h, h)}, (b, h), (b, i)


def noisy(w, carry, x):
    key, h = carry
    key, use = jax.random.split(key)
    x, late = x
    h = jnp.tanh(x @ w["x"] + w["a"] * h + jax.random.normal(use, h.shape, h.dtype))
    y = jnp.where(jax.random.bernoulli(late, 0.5, h.shape), h, 2 * h) @ w["c"]
    return (key, h), y


def noisy_shapes(b, i, h):
    return {"x": (i, h), "a": (1, h), "c": (h, i)}, (None, (b, h)), ((b, i), None)


def noise(b, i, h):
    return (jax.random.key(1), None), (None, jax.random.split(jax.random.key(2), T))


def counting(w, carry, x):
    count, h = carry
    h = w["a"] * h + x @ w["x"]
    y = h @ w["c"]
    return (count + 1, h), (y, jnp.argmax(y, -1), y > 0, count)


def counting_shapes(b, i, h):
    return {"x": (i, h), "a": (1, h), "c": (h, i)}, (None, (b, h)), (b, i)


CASES = {
    "a read-out": Case(read_out, read_out_shapes, (3, 0)),
    "a read-out, reverse": Case(read_out, read_out_shapes, (3, 0), reverse=True),
    "two layers": Case(two_layers, two_layers_shapes, (2, 2), loops=2),
    "a window": Case(window, window_shapes, (3, 1)),
    "a window, reverse": Case(window, window_shapes, (3, 1), reverse=True),
    "a masked window": Case(masked_window, masked_window_shapes, (3, 1), loops=2),
    "a delay": Case(delayed, delayed_shapes, (2, 1)),
    "a product that feeds back": Case(feedback, feedback_shapes, (1, 1)),
    "late feedback": Case(late_feedback, feedback_shapes, (1, 1)),
    "two lanes": Case(lanes, lanes_shapes, (6, 0)),
    "a matrix memory": Case(memory, memory_shapes, (4, 1)),
    "a matrix memory, one query": Case(fixed_query, fixed_query_shapes, (2, 1)),
    "gates that are computed twice": Case(gates_again, gates_again_shapes, (1, 2)),
    "a step that draws": Case(noisy, noisy_shapes, (2, 0), also=noise),
    "integers": Case(
        counting, counting_shapes, (2, 0), also=lambda *_: ((jnp.int32(0), None), None)
    ),
}


def shapes_of(case, *sizes):
    """Give the shapes of (w, carry, xs)."""
    w, carry, x = case.shapes(*sizes)

    def struct(shape, over_time=False):
        return jax.ShapeDtypeStruct((T,) * over_time + shape, jnp.result_type(float))

    def is_leaf(node):
        return isinstance(node, tuple) and all(isinstance(one, int) for one in node)

    w, carry = (jax.tree.map(struct, one, is_leaf=is_leaf) for one in (w, carry))
    return w, carry, jax.tree.map(partial(struct, over_time=True), x, is_leaf=is_leaf)


@cache
def drawn_for(name):
    """Give the scan as a function of floating operands, those, a direction, and weights."""
    case, rng, sizes = CASES[name], registry.seed_of(f"parts of {name}"), (2, 3, 4)
    shapes = shapes_of(case, *sizes)
    operands, direction = registry.fill(rng, shapes), registry.fill(rng, shapes)
    also = (None, None) if case.also is None else case.also(*sizes)

    def by(scan):
        def run(w, carry, xs):
            carry, xs = (_joined(*one) for one in zip((carry, xs), also, strict=True))
            (end, ys) = case.run(scan, w, carry, xs)
            return jax.tree.map(_number, (end, ys))

        return run

    return by, operands, direction, draw_weights(rng, by(lax.scan), *operands)


def _joined(floats, others):
    """Put what is no float among the floats."""
    if others is None:
        return floats
    return tuple(f if o is None else o for f, o in zip(floats, others, strict=True))


def _number(leaf):
    """Give a key as numbers."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def alike(name, do, *operands, tolerance=1e-10):
    """Do the same of `lax.scan` and of ours, and compare."""
    by, _, _, weights = drawn_for(name)
    expected = jax.jit(partial(do, Scan(by(lax.scan), weights, apart=False)))(*operands)
    got = jax.jit(partial(do, Scan(by(drnn.scan), weights)))(*operands)
    assert_close(got, expected, tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CASES)
def test_numbers_and_gradient(name):
    """Of a run without a gradient too, which is another program."""
    alike(name, Scan.first_order, drawn_for(name)[1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["a read-out", "a masked window", "integers"])
def test_second_order(name):
    _, operands, direction, _ = drawn_for(name)
    alike(name, Scan.reverse_over_reverse, operands, direction)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["a window, reverse", "a step that draws"])
def test_forward_mode(name):
    _, operands, direction, _ = drawn_for(name)
    alike(name, Scan.forward_mode, operands, direction)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("mapped", [(0, None, None), (None, 0, None), (0, 0, 0)])
@pytest.mark.parametrize("name", ["a read-out, reverse", "a window"])
def test_many(name, mapped):
    """A batch of gradients: of matrices, of first states, of all."""
    _, operands, _, _ = drawn_for(name)
    many = [
        one if axis is None else jax.tree.map(lambda leaf: np.stack([leaf, -leaf, 0 * leaf]), one)
        for one, axis in zip(operands, mapped, strict=True)
    ]

    def gradients(scan, *many):
        return jax.vmap(lambda *one: jax.grad(scan.loss)(one), mapped)(*many)

    alike(name, gradients, *many)


@pytest.mark.usefixtures("x64")
def test_chunks_that_are_computed_again():
    by, operands, _, weights = drawn_for("a window")
    chunked = Scan(by(partial(drnn.scan, checkpoint_every=3)), weights)
    whole = Scan(by(lax.scan), weights, apart=False)
    assert_close(jax.jit(chunked.first_order)(operands), jax.jit(whole.first_order)(operands))


@pytest.mark.parametrize("name", CASES)
def test_products_outside_the_loop(name):
    """Those whose result has the number of steps in its size."""
    case, sizes = CASES[name], (8, 48, 64)  # large: else x is multiplied in the loop, on CPU
    w, carry, xs = shapes_of(case, *sizes)
    also = (None, None) if case.also is None else case.also(*sizes)
    carry, xs = (_joined(*one) for one in zip((carry, xs), also, strict=True))
    text = jax.jit(partial(case.run, drnn.scan)).lower(w, carry, xs).as_text()
    results = re.findall(r"stablehlo\.dot_general.*-> tensor<([\dx]*)xf32>", text)
    at_once = [math.prod(map(int, one.split("x"))) % T == 0 for one in results]
    assert (at_once.count(True), at_once.count(False)) == case.products
    # a random step has loops of its own
    if name != "a step that draws":
        assert text.count("stablehlo.while") == case.loops


def test_a_gradient_multiplies_outside_the_loop():
    """A read-out's cotangents, too, are products for all steps at once."""
    case = CASES["a read-out"]

    def loss(w, carry, xs):
        return sum(jnp.sum(jnp.sin(one)) for one in case.run(drnn.scan, w, carry, xs))

    lowered = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*shapes_of(case, 8, 48, 64))
    text = lowered.as_text()
    bodies = re.findall(r"stablehlo\.while.*?\n    }\n", text, re.S)
    assert len(bodies) == 2
    assert not any("dot_general" in body for body in bodies)
    assert text.count("stablehlo.dot_general") == 3 + 2 * 3
