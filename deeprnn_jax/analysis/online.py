"""Exact gradients forward in time, for a cell whose units see their own past alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax import arguments
from deeprnn_jax.analysis.inputs import check_causal, check_run
from deeprnn_jax.checks import check_callable
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.sequences import make_steps, where_flag, zero_where_masked
from deeprnn_jax.types import Array

_DRAWS = 32  # of random parameters, to see which unit each feeds: what is clipped feeds none


def online_gradients(
    rnn: DeepRNN,
    params: DeepParams,
    x: Array,
    targets: Any,
    loss: Callable[[Array, Any], Array],
    state: DeepState | None = None,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
) -> tuple[Array, DeepParams]:
    """Give a loss and its gradient without going back in time: real-time recurrent learning.

        E_t[p] = ∂s_t[j]/∂s_{t-1}[j] E_{t-1}[p] + ∂s_t[j]/∂p        j: the unit that p feeds
        dL/dp  = Σ_t ∂L_t/∂p + ∂L_t/∂s_{t-1}[j] E_{t-1}[p]

    the sum over a row's fields of unit j understood. Where each unit depends on its own past
    alone (`state_map`), each parameter has one number of memory a row and field, and the
    gradient is that of `jax.grad` through the whole sequence, to rounding. Memory does not grow
    with T; it is *B times the state's fields times the parameters.

    Args:
      rnn: a network of one layer and direction, its cell's `state_map` "affine" or
        "elementwise" and its state's fields all of one shape `[*B, H]`; with a readout, too.
      params: its parameters.
      x: `[T, *B, I]`.
      targets: a tree of arrays `[T, ...]`.
      loss: of y_t `[*B, O]` and the step's targets, a number; the sum over steps is meant.
      state: the state before the first step.
      lengths: int `[*B]`.
      mask: bool `[T, *B]`; y_t is zero at masked steps.
      resets: bool `[T, *B]`.

    Returns:
      The loss, and its gradient by the parameters.

    Raises:
      ValueError: if an argument does not fit, or a parameter feeds more units than one.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.min_gru(8), output_size=1)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> x, targets = jnp.ones((50, 4, 3)), jnp.zeros((50, 4, 1))
      >>> def loss(y_t, target):
      ...     return jnp.sum((y_t - target) ** 2)
      >>> value, gradients = drnn.analysis.online_gradients(rnn, params, x, targets, loss)
      >>> gradients.layers[0].cell.w_x.shape == params.layers[0].cell.w_x.shape
      True

    References:
      Williams and Zipser 1989, "A learning algorithm for continually running fully recurrent
      neural networks"; Zucchet et al. 2023, "Online learning of long-range dependencies".
    """
    name = "online_gradients"
    check_run(name, rnn, params, x, state)
    check_callable(name, "loss", loss, "lambda y_t, target: jnp.sum((y_t - target) ** 2)")
    _check_cell(name, rnn, params)
    arguments.check_flags_of_steps(name, x, lengths, mask, resets)
    x, lengths, mask, resets = arguments.as_arrays(x, lengths, mask, resets)
    num_steps, *axes = x.shape[:-1]
    steps = make_steps(lengths, mask, resets, num_steps)
    units = _units_of(rnn, params, x.shape[-1])
    axes = tuple(axes)
    first = rnn.initial_state(params, axes)
    _, pull = jax.vjp(lambda p: jax.tree.leaves(rnn.initial_state(p)), params)
    of_first = [_repeat(one, axes) for one in _pulled(pull, rnn.initial_state(params))]
    start = (first, of_first)
    if state is not None:
        start = (jax.tree.map(jnp.asarray, state), jax.tree.map(jnp.zeros_like, of_first))

    def step(carry: Any, inputs: Any) -> tuple[Any, None]:
        (state, traces), value, total = carry
        x_t, target, (real, new) = inputs
        if new is not None:
            state, traces = where_flag(new, (first, of_first), (state, traces))

        def of_step(params: DeepParams, state: DeepState) -> Array:
            y_t = rnn.step(params, state, x_t)[1]
            return loss(zero_where_masked(y_t, real), target)

        now, (direct, slopes) = jax.value_and_grad(of_step, argnums=(0, 1))(params, state)
        through = _weigh(jax.tree.leaves(slopes), traces, units)
        rows = tuple(range(len(axes)))
        total = jax.tree.map(lambda a, b, c: a + b + jnp.sum(c, rows), total, direct, through)
        after = _advance(rnn, params, state, traces, x_t, units)
        if real is not None:
            after = where_flag(real, after, (state, traces))
        return (after, value + now, total), None

    y_t = jax.eval_shape(rnn.step, params, first, x[0])[1]
    value = jax.eval_shape(loss, y_t, jax.tree.map(lambda leaf: leaf[0], targets))
    zeros = jnp.zeros((), value.dtype), jax.tree.map(jnp.zeros_like, params)
    (_, value, total), _ = lax.scan(step, (start, *zeros), (x, targets, steps))
    return value, total


def _advance(
    rnn: DeepRNN, params: DeepParams, state: DeepState, traces: list[Any], x_t: Array, units: Any
) -> tuple[DeepState, list[Any]]:
    """Do a step of the state, and of what it owes to each parameter."""
    after = rnn.step(params, state, x_t)[0]
    fields, structure = jax.tree.flatten(state)

    def of_state(*fields: Array) -> list[Array]:
        return jax.tree.leaves(rnn.step(params, structure.unflatten(fields), x_t)[0])

    columns = [  # of each field, by unit j of which unit j of all fields change
        jax.jvp(
            of_state, tuple(fields), tuple(jnp.full_like(h, k == f) for k, h in enumerate(fields))
        )[1]
        for f in range(len(fields))
    ]
    axes = x_t.shape[:-1]

    def own(row: DeepState, x_row: Array) -> list[Any]:
        _, pull = jax.vjp(lambda p: jax.tree.leaves(rnn.step(p, row, x_row)[0]), params)
        return _pulled(pull, row)

    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), (state, x_t))
    direct = jax.tree.map(lambda leaf: leaf.reshape(*axes, *leaf.shape[1:]), jax.vmap(own)(*rows))
    found = []
    for f, one in enumerate(direct):
        carried = _weigh([column[f] for column in columns], traces, units)
        found.append(jax.tree.map(jnp.add, carried, one))
    return after, found


def _pulled(pull: Callable[..., Any], like: Any) -> list[Any]:
    """Give each field's derivative by the parameters: each of them feeds one unit of it."""
    fields = jax.tree.leaves(like)
    basis = [[jnp.full_like(h, k == f) for k, h in enumerate(fields)] for f in range(len(fields))]
    return [pull(cotangents)[0] for cotangents in basis]


def _weigh(fields: list[Array], traces: list[Any], units: Any) -> Any:
    """Sum over fields: each number of a trace times that unit of the field that it belongs to."""

    def weigh(unit: np.ndarray, *leaves: Array) -> Array:
        feeds = lax.broadcast_to_rank(jnp.asarray(unit >= 0, leaves[0].dtype), leaves[0].ndim)
        pairs = zip(fields, leaves, strict=True)
        return (
            sum((h[..., unit].astype(e.dtype) * e for h, e in pairs), start=0 * leaves[0]) * feeds
        )

    return jax.tree.map(weigh, units, *traces)


def _repeat(tree: Any, axes: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*axes, *leaf.shape)), tree)


def _units_of(rnn: DeepRNN, params: DeepParams, input_size: int) -> Any:
    """Give of each parameter the unit that it feeds, or -1: read off random steps.

    Pulled back from ones, a parameter gets its derivative; from 1, 2, 3 ..., so many times it, if
    it feeds one unit. Three units' numbers may be one's in the mean: so are random ones not.
    """
    rng = np.random.default_rng(0)
    x_t = jax.ShapeDtypeStruct((input_size,), rnn.plan.precision.compute)
    shapes = jax.eval_shape(lambda p: (p, rnn.initial_state(p)), params)
    drawn = jax.tree.map(
        lambda one: (rng.normal(size=(_DRAWS, *one.shape)) / 2).astype(one.dtype), (*shapes, x_t)
    )

    @jax.vmap
    def look(params: DeepParams, state: DeepState, x_t: Array) -> tuple[Any, Any]:
        def fields(p: DeepParams) -> list[Array]:
            return jax.tree.leaves((rnn.step(p, state, x_t)[0], rnn.initial_state(p)))

        ends, pull = jax.vjp(fields, params)
        return tuple(pull([of[: len(h)].astype(h.dtype) for h in ends])[0] for of in numbers)

    def unit(*pulled: Any) -> np.ndarray:
        # of the draw in which it counts most
        best = np.argmax(np.abs(pulled[2]), axis=0)[None]
        once, counted, random = (np.take_along_axis(np.asarray(p), best, 0)[0] for p in pulled)
        feeds = np.abs(random) > 1e-6
        which = np.rint(counted / np.where(np.abs(once) > 1e-6, once, 1)).astype(int) - 1
        expected = once * numbers[2][np.clip(which, 0, size - 1)]
        if np.any(np.abs(random - expected)[feeds] > 1e-3 * np.abs(random)[feeds]):
            raise ValueError(
                "online_gradients: each parameter must feed one unit of the state, but in cell "
                f"{rnn.plan.cells[0].name!r} some feed more; use jax.grad"
            )
        return np.where(feeds, which, -1)

    size = max(leaf.shape[-1] for leaf in jax.tree.leaves(shapes[1]))
    numbers = np.ones(size), np.arange(1.0, size + 1), rng.uniform(1, 2, size)
    with jax.ensure_compile_time_eval():
        found = look(*drawn)
    return jax.tree.map(unit, *found)


def _check_cell(function: str, rnn: DeepRNN, params: DeepParams) -> None:
    check_causal(function, rnn)
    cell, *others = rnn.plan.cells
    if others or cell.state_map is None:
        found = f"{1 + len(others)} layers" if others else f"cell {cell.name!r}, which has none"
        raise ValueError(
            f"{function}: rnn must have one layer, its cell a state_map, got {found}; use jax.grad"
        )
    shapes = {
        h.shape for h in jax.tree.leaves(jax.eval_shape(lambda p: rnn.initial_state(p), params))
    }
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            f"{function}: all fields of the state must be of one shape [*B, H], got "
            f"{sorted(shapes)} in cell {cell.name!r}; use jax.grad"
        )
