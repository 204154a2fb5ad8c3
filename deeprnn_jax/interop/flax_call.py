"""A network called as Flax calls its own RNN, and its parameters as Flax wants them.

Shared by `linen.DeepRNN`, `linen.ScannedRNN` and `nnx.DeepRNN`. Parameters are nested
dictionaries, with the names of `DeepRNN.to_dict`: `flax.traverse_util.flatten_dict(tree,
sep="/")` is what `DeepRNN.from_dict` takes.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import meta
from flax.linen.recurrent import flip_sequences
from flax.traverse_util import flatten_dict, unflatten_dict

from deeprnn_jax.arguments import as_arrays, batch_shape_of, is_of_images, steps_shape
from deeprnn_jax.checks import check_floating, check_lengths, check_size, difference
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.naming import Form, fill
from deeprnn_jax.parameters import DeepParams, DeepState, initial_state, params_shapes
from deeprnn_jax.recurrence.jaxprs import open_calls, reached, variables_of
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.sequences import make_steps
from deeprnn_jax.types import Array


def call_network(
    rnn: DeepRNN,
    params: DeepParams,
    inputs: Array,
    *,
    initial_carry: DeepState | None,
    seq_lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    key: Array | None,
    schedule: str | Schedule,
    checkpoint_every: int | str | None,
) -> tuple[DeepState, Array]:
    """Run a network over inputs in Flax's conventions.

    Args:
      rnn: the network.
      params: its parameters.
      inputs: `[*B, T, F]`, or `[T, *B, F]` if time_major; of images, whose axes stand before F.
      initial_carry: the network's state; None: its initial one.
      seq_lengths: int `[*B]`, the real steps of each row, or None.
      mask: bool, as inputs without F, True = real, or None.
      resets: bool likewise, True = a new sequence starts here, or None. In a reverse run
        the same boundary, between step t-1 and t, is crossed the other way.
      time_major: whether time is the first axis, of outputs and flags too.
      reverse: whether each row's real steps are read from the last to the first.
      keep_order: whether outputs of a reverse run go back to the order of inputs.
      key: for dropout and the like; None: no randomness.
      schedule: as in `DeepRNN.apply`.
      checkpoint_every: as in `DeepRNN.apply`.

    Returns:
      The state after the last real step, and y `[*B, T, H]` or `[T, *B, H]`.

    Raises:
      ValueError: if an argument does not fit.
    """
    image_shape = rnn.plan.image_shape
    check_inputs(inputs, time_major, image_shape)
    _check_carry(initial_carry)
    shape = steps_shape(inputs, image_shape)
    _check_flags(shape, time_major, mask=mask, resets=resets)
    time_axis = 0 if time_major else len(shape) - 1
    x, mask, resets = jax.tree.map(
        lambda one: jnp.moveaxis(one, time_axis, 0), as_arrays(inputs, mask, resets)
    )
    if seq_lengths is not None:
        check_lengths("DeepRNN", seq_lengths, x.shape[0], steps_shape(x, image_shape)[1:])
        (seq_lengths,) = as_arrays(seq_lengths)
    flip = partial(
        flip_sequences, seq_lengths=seq_lengths, num_batch_dims=len(shape) - 1, time_major=True
    )
    steps = make_steps(seq_lengths, mask, resets, x.shape[0])
    if reverse:
        x, steps = jax.tree.map(flip, (x, steps.reversed()))
    state, y = rnn.apply(
        params,
        x,
        initial_carry,
        mask=steps.mask,
        resets=steps.resets,
        key=key,
        schedule=schedule,
        checkpoint_every=checkpoint_every,
    )
    if reverse and keep_order:
        y = flip(y)
    return state, jnp.moveaxis(y, 0, time_axis)


def check_inputs(inputs: Any, time_major: bool, image_shape: tuple[int, ...] = ()) -> None:
    """Raise ValueError unless inputs are a floating-point `[*B, T, F]`, or `[T, *B, F]`.

    Those of images have their axes before F.
    """
    check_floating("DeepRNN", "inputs", inputs)
    if not is_of_images(inputs, image_shape) or not steps_shape(inputs, image_shape):
        first = "T, *B" if time_major else "*B, T"
        form = f"[{', '.join([first, *map(str, image_shape), 'F'])}]"
        raise ValueError(f"DeepRNN: inputs must be {form}, got shape {inputs.shape}")


def _check_carry(carry: Any) -> None:
    """Raise ValueError unless a carry is None or a tuple; `apply` looks into it."""
    if carry is not None and not isinstance(carry, tuple):
        raise ValueError(
            "DeepRNN: initial_carry must be the network's state, a tuple with one state "
            f"a layer, got {type(carry).__name__}; use initialize_carry, or what the call before "
            "gave"
        )


def _check_flags(steps: tuple[int, ...], time_major: bool, **flags: Any) -> None:
    """Raise ValueError unless each is bool, `[*B, T]` or `[T, *B]` as inputs lie, or None."""
    for name, value in flags.items():
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        if value is not None and (dtype != jnp.bool_ or shape != steps):
            form = "[T, *B]" if time_major else "[*B, T]"
            found = type(value).__name__ if dtype is None else f"{dtype} {shape}"
            raise ValueError(
                f"DeepRNN: {name} must be bool {form} = {steps}, the axes of inputs, "
                f"got {found}; compare first, as in {name} != 0, or see time_major"
            )


def split_shape(input_shape: Any, image_shape: tuple[int, ...] = ()) -> tuple[tuple[int, ...], int]:
    """Give `*B` and F of one step's inputs, or raise ValueError."""
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) > len(image_shape)
    end = len(input_shape) - len(image_shape) - 1 if is_shape else 0
    if not is_shape or tuple(input_shape[end:-1]) != image_shape:
        form = ", ".join(["*B", *map(str, image_shape), "F"])
        raise ValueError(
            f"initialize_carry: input_shape must be ({form}), got {input_shape!r}; give the shape "
            "of one step's inputs"
        )
    check_size("initialize_carry", "F, the last of input_shape,", input_shape[-1])
    batch_shape = batch_shape_of("initialize_carry", input_shape[:end], "*B of input_shape")
    return batch_shape, input_shape[-1]


def check_width(rnn: DeepRNN, params: DeepParams, input_size: int) -> None:
    """Raise ValueError unless the parameters are for inputs of that width."""
    said = difference("params", params_shapes(rnn.plan, input_size), params)
    if said is not None:
        raise ValueError(
            "initialize_carry: input_shape must end in F, the width that the parameters are for, "
            f"got {input_size}: {said}; give the shape of one step's inputs"
        )


def first_carry(
    function: str, rnn: DeepRNN, batch_shape: int | tuple[int, ...], input_size: int
) -> DeepState:
    """Give a network's state before the first step, its parameters not being at hand.

    Args:
      function: the public function's name.
      rnn: the network.
      batch_shape: `*B`, an int or a tuple.
      input_size: I.

    Raises:
      ValueError: if the state depends on the parameters.
    """
    shape = batch_shape_of(function, batch_shape)
    params = params_shapes(rnn.plan, input_size)
    first = partial(initial_state, rnn.plan, batch_shape=shape)
    jaxpr, consts = open_calls(jax.make_jaxpr(first)(params))
    learned = reached(jaxpr.eqns, jaxpr.invars[len(consts) :])
    if learned.intersection(variables_of(jaxpr.outvars)):
        raise ValueError(
            f"{function}: the network's initial state must not depend on its parameters, which "
            "are not at hand here, got a learned one; use rnn.initial_state(params, batch_shape)"
        )
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    return rnn.initial_state(zeros, shape)


def nest(rnn: DeepRNN, params: DeepParams) -> dict[str, Any]:
    """Give parameters as nested dictionaries."""
    return unflatten_dict(rnn.to_dict(params), sep="/")


def unnest(rnn: DeepRNN, form: Form, tree: Mapping[str, Any]) -> DeepParams:
    """Give parameters of a known form from nested dictionaries: `nest`'s inverse.

    Raises:
      ValueError: if a name is missing, or is not of this network.
    """
    return fill("DeepRNN", rnn.plan, form, flatten_dict(tree, sep="/"))


def linen_params(module: nn.Module, rnn: DeepRNN, input_size: int) -> DeepParams:
    """Give the parameters that a linen module has under "network"; draw them if it has none."""
    # param would trace init to compare shapes, of 4 layers 30 ms a call outside jit;
    # apply compares them itself
    if module.has_variable("params", "network"):
        tree = meta.unbox(module.get_variable("params", "network"))
    else:
        tree = module.param("network", lambda key: nest(rnn, rnn.init(key, input_size)))
    # Only `init` knows of which types a cell's parameters are. Nothing is kept here; jit,
    # which keeps init's own trace, makes it 1 ms a call for 4 layers instead of 16.
    return unnest(rnn, jax.tree.structure(params_shapes(rnn.plan, input_size)), tree)


def linen_key(
    module: nn.Module, rnn: DeepRNN, deterministic: bool | None, rng_collection: str
) -> Array | None:
    """Give the key for a linen module's dropout, or None."""
    if deterministic is None:
        deterministic = not module.has_rng(rng_collection)
    if deterministic or not rnn.plan.is_stochastic:
        return None
    return module.make_rng(rng_collection)
