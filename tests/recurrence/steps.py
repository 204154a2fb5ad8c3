"""Steps drawn at random: a grammar of operations, and what runs what is drawn."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax

B, H = 2, 3
ROWS, VECTOR, COLUMN, SCALAR = (B, H), (H,), (B, 1), ()
MATRIX, LEFT, WIDE, TALL = (H, H), (B, B), (B, 2 * H), (2 * H, H)
SPREAD = (ROWS, VECTOR, COLUMN, SCALAR)  # these go together elementwise
Shape = tuple[int, ...]
BOUND = 4.0  # what may be larger is made smaller: rounding would grow as the numbers do


class Operation(NamedTuple):
    """An operation of a step.

    `fun` is a function of the operands and of the step's flags, an integer and a bool a row.
    """

    operands: tuple[Shape | tuple[Shape, ...], ...]  # shapes, or some to choose among
    fun: Callable
    bound: Callable  # of the operands' bounds: of the result's


ANY = (ROWS, VECTOR, COLUMN, SCALAR, MATRIX, LEFT, WIDE)


def _unary(fun, bound):
    return Operation((ANY,), lambda a, *_: fun(a), bound)


def _binary(fun, bound):
    return Operation((SPREAD, SPREAD), lambda a, b, *_: fun(a, b), bound)


def _product(size, left, right, fun=jnp.matmul):
    return Operation((left, right), lambda a, b, *_: fun(a, b), lambda a, b: size * a * b)


OPERATIONS = {
    "tanh": _unary(jnp.tanh, lambda a: min(a, 1.0)),
    "sin": _unary(jnp.sin, lambda a: min(a, 1.0)),
    "sigmoid": _unary(jax.nn.sigmoid, lambda a: 1.0),
    "exp of sin": _unary(lambda a: jnp.exp(jnp.sin(a)), lambda a: math.e),
    "1 / (2 + sin)": _unary(lambda a: 1 / (2 + jnp.sin(a)), lambda a: 1.0),
    "square": _unary(jnp.square, lambda a: a * a),
    "negative": _unary(jnp.negative, lambda a: a),
    "half": _unary(lambda a: 0.5 * a, lambda a: a / 2),
    "stopped": _unary(lax.stop_gradient, lambda a: a),
    "add": _binary(jnp.add, lambda a, b: a + b),
    "sub": _binary(jnp.subtract, lambda a, b: a + b),
    "mul": _binary(jnp.multiply, lambda a, b: a * b),
    "w on the right": _product(H, ROWS, MATRIX),
    "w on the left": _product(B, LEFT, ROWS),
    "one row": _product(H, VECTOR, MATRIX),
    "w transposed": _product(H, ROWS, MATRIX, lambda a, w: a @ w.T),
    "tall w": _product(2 * H, WIDE, TALL),
    "w w": _product(H, MATRIX, MATRIX),
    "a bᵀ": _product(H, ROWS, ROWS, lambda a, b: a @ b.T),
    "aᵀ b": _product(B, ROWS, ROWS, lambda a, b: a.T @ b),
    "sum of units": Operation((ROWS,), lambda a, *_: a.sum(1, keepdims=True), lambda a: H * a),
    "sum of rows": Operation((ROWS,), lambda a, *_: a.sum(0), lambda a: B * a),
    "mean": Operation(((*SPREAD, MATRIX),), lambda a, *_: jnp.mean(a), lambda a: a),
    "max": Operation((ROWS,), lambda a, *_: a.max(1, keepdims=True), lambda a: a),
    "softmax": Operation((ROWS,), lambda a, *_: jax.nn.softmax(a), lambda a: 1.0),
    "first unit": Operation((ROWS,), lambda a, *_: a[:, :1], lambda a: a),
    "turned round": Operation((ROWS,), lambda a, *_: a[:, ::-1], lambda a: a),
    "right half": Operation((WIDE,), lambda a, *_: a[:, H:], lambda a: a),
    "side by side": Operation(
        (ROWS, ROWS), lambda a, b, *_: jnp.concatenate([a, b], axis=1), max
    ),
    "cut and joined": Operation(
        (ROWS, ROWS), lambda a, b, *_: jnp.concatenate([a[:, :1], b[:, 1:]], axis=1), max
    ),
    "spread": Operation((SPREAD,), lambda a, *_: jnp.broadcast_to(a, ROWS), lambda a: a),
    "where row": Operation(
        (ROWS, SPREAD), lambda a, b, _, mask: jnp.where(mask[:, None], a, b), max
    ),
    "where number": Operation((ROWS, SPREAD), lambda a, b, n, _: jnp.where(n > 1, a, b), max),
    "branch": Operation(
        (ROWS, ROWS), lambda a, b, n, _: lax.cond(n > 0, lambda: a * b, lambda: jnp.tanh(b)),
        lambda a, b: max(a * b, 1.0),
    ),
    "looked up": Operation((MATRIX,), lambda a, n, _: a[n], lambda a: a),
}  # fmt: skip
SQUASHES = ("tanh", "sin", "sigmoid")


class Value(NamedTuple):
    """A value of a step while it is drawn."""

    shape: Shape
    bound: float
    of_carry: bool


class RandomStep(NamedTuple):
    """A step: values are numbered, first those given, then one for each operation."""

    params: tuple[Shape, ...]
    carry: tuple[Shape, ...]
    xs: tuple[Shape, ...]
    operations: tuple[tuple, ...]  # (name, *numbers of operands)
    ends: tuple[int, ...]  # the carry after the step
    ys: tuple[int | float, ...]  # a float is a constant

    def __call__(self, params: Any, carry: Any, x_t: Any) -> tuple[list, list]:
        """Do the step: `(params, carry, (x, number, mask)) -> (carry, ys)`."""
        x, number, mask = x_t
        values = [*params, *carry, *x]
        for name, *operands in self.operations:
            fun = OPERATIONS[name].fun
            values.append(fun(*(values[index] for index in operands), number, mask))
        ys = [values[y] if isinstance(y, int) else y for y in self.ys]
        return [values[index] for index in self.ends], ys


@st.composite
def random_steps(draw, min_operations: int = 3, max_operations: int = 10) -> RandomStep:
    """Draw a step."""
    params = (MATRIX, VECTOR, *draw(st.lists(st.sampled_from((*ANY, TALL)), max_size=3)))
    carry = (ROWS, *draw(st.lists(st.sampled_from(SPREAD), max_size=2)))
    xs = (ROWS, *draw(st.lists(st.sampled_from(SPREAD), max_size=1)))
    first, first_x = len(params), len(params) + len(carry)
    values = [
        Value(shape, 1.0, first <= number < first_x)
        for number, shape in enumerate((*params, *carry, *xs))
    ]
    operations: list[tuple] = []

    def do(name, *operands):
        """Add an operation; give the number of its result."""
        operation = OPERATIONS[name]
        given = [values[index] for index in operands]
        with jax.numpy_rank_promotion("allow"):
            shape = jax.eval_shape(
                operation.fun,
                *(jax.ShapeDtypeStruct(one.shape, np.float32) for one in given),
                jax.ShapeDtypeStruct((), np.int32),
                jax.ShapeDtypeStruct((B,), bool),
            ).shape
        operations.append((name, *operands))
        bound = operation.bound(*(one.bound for one in given))
        values.append(Value(shape, bound, any(one.of_carry for one in given)))
        if bound > BOUND:
            return do(draw(st.sampled_from(SQUASHES)), len(values) - 1)
        return len(values) - 1

    def among(shapes):
        """Draw one of the values of some shapes, oftener of those that the carry gave."""
        fitting = [n for n, one in enumerate(values) if _fits(one.shape, shapes)]
        likely = [n for n in fitting if values[n].of_carry and n != first]
        return draw(st.sampled_from(likely[-3:] * 2 + fitting))

    for _ in range(draw(st.integers(min_operations, max_operations))):
        can = [
            name
            for name, operation in OPERATIONS.items()
            if all(any(_fits(one.shape, shapes) for one in values) for shapes in operation.operands)
        ]
        name = draw(st.sampled_from([*can, "add", "mul", "w on the right"]))
        do(name, *map(among, OPERATIONS[name].operands))

    # the first carry after the step is made of the last value that its own before it gave
    last = max(n for n, one in enumerate(values) if one.of_carry and one.shape in SPREAD)
    if last < first_x or values[last].shape != ROWS:
        last = do(draw(st.sampled_from(["add", "mul"])), last, among(ROWS))
    ends = []
    for number, shape in enumerate(carry):
        end = last if number == 0 else among(shape)
        ends.append(end if values[end].bound <= 2 else do(draw(st.sampled_from(SQUASHES)), end))
    indices = st.integers(0, len(values) - 1)
    ys = draw(st.lists(st.one_of(indices, st.just(3.0)), max_size=2))
    return RandomStep(params, carry, xs, tuple(operations), tuple(ends), (*ys, len(values) - 1))


def _fits(shape: Shape, shapes: Any) -> bool:
    """Tell whether a shape is the one that is asked for, or one of them."""
    return shape == shapes or shape in shapes


def scan_of(step: RandomStep, scan: Callable, flags: Any, **options: Any) -> Callable:
    """Give the scan of a step as a function of parameters, the first carry and xs."""

    def run(params, carry, xs):
        def do(carry, x_t):
            with jax.numpy_rank_promotion("allow"):  # a user's step is as it is
                return step(params, carry, x_t)

        return scan(do, carry, (xs, *flags), **options)

    return run
