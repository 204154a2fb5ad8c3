"""ScannedRNN, as recurrent agents call it, of any deep network."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deeprnn_jax.arguments import batch_shape_of, is_of_images, steps_shape
from deeprnn_jax.cells.gru import GRUState, gru
from deeprnn_jax.checks import check_floating, check_size, difference
from deeprnn_jax.deep import DeepRNN, check_network, deep_rnn
from deeprnn_jax.interop.flax_call import first_carry, linen_key, linen_params
from deeprnn_jax.layers.entries import as_held, by_layer
from deeprnn_jax.parameters import DeepParams, initial_state
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.types import Array


class _OfModuleOrClass:
    """A method that the class has as well, where the module is None."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __get__(self, module: Any, owner: type) -> Callable[..., Any]:
        """Bind it."""
        return wraps(self.function)(partial(self.function, module))


class ScannedRNN(nn.Module):
    """Run a network over a rollout, its state begun anew where an episode begins.

    In the place of the class of that name in purejaxrl's recurrent PPO and in what was made
    after it: `ScannedRNN()`, with nothing else changed, is one GRU layer as wide as its
    carry, which is one array `[B, H]`. `ScannedRNN(rnn)` is any network of one direction,
    of any cells; its carry is a tuple with one state a layer, leaves `[B, H]`, of which a
    shuffle takes rows by `jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0), carry)`.
    Parameters are under "network", with the names of the network's `to_dict`. Dropout is on
    where the caller gives the rng "dropout".

    Which done goes where. `resets[t]` belongs to `ins[t]`: True where that observation is
    the first of an episode. An environment that begins anew by itself gives it together
    with the done of the episode before, so that obs and done stay a pair:

        step         0        1        2        3        4
        env.step     →        o1, no   o2, no   o3, yes  o4, no     o3 is of a new episode
        ins          o0       o1       o2       o3       o4
        resets       no       no       no       yes      no         right: came with the obs
                     no       no       yes      no       ...        wrong: came of the action

    In a rollout, hand on `(obs, done)` from one `env.step` to the next call, and store the
    pair that the network read, not the done that its action led to: that one is for the
    advantages. To tell: run over the stored rollout, with the carry that it began with and
    parameters unchanged, PPO's ratio is exactly 1, but for rounding. Resets one step off it
    is not, and learning is worse, without an error.

    Attributes:
      rnn: a network, from `deep_rnn`; None: a GRU layer.
      schedule: how the network is run, as in `DeepRNN.apply`.
      checkpoint_every: what is kept for gradients, as in `DeepRNN.apply`.

    Raises:
      ValueError: from the call, if an argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> model = ScannedRNN(drnn.deep_rnn(drnn.lstm(64), num_layers=2))
      >>> ins, resets = jnp.ones((10, 4, 32)), jnp.zeros((10, 4), bool)
      >>> carry = model.initialize_carry(4, 64)
      >>> variables = model.init(jax.random.key(0), carry, (ins, resets))
      >>> carry, y = model.apply(variables, carry, (ins, resets))
      >>> carry[1].c.shape, y.shape
      ((4, 64), (10, 4, 64))

    References:
      Lu et al. 2022, "Discovered Policy Optimisation", whose code is purejaxrl (`ppo_rnn.py`);
      resets one step off: purejaxrl 23, JaxMARL 119, 127 and 191, Mava 1006 on GitHub.
    """

    rnn: DeepRNN | None = None
    schedule: str | Schedule = "auto"
    checkpoint_every: int | str | None = None

    @nn.compact
    def __call__(self, carry: Any, x: tuple[Array, Array]) -> tuple[Any, Array]:
        """Run over a rollout, or one step of it as T = 1.

        Args:
          carry: from `initialize_carry`, or what the call before gave.
          x: ins, floating `[T, *B, F]`, and resets `[T, *B]`, bool or numbers that are not 0
            where the state becomes the initial one, before step t.

        Returns:
          The carry after the last step, and y `[T, *B, H]`.

        Raises:
          ValueError: if an argument does not fit.
        """
        rnn = deep_rnn(gru(_width_of(carry))) if self.rnn is None else self.rnn
        _check_rnn(rnn)
        ins, resets = _check_inputs(x, rnn.plan.image_shape)
        params = linen_params(self, rnn, ins.shape[-1])
        expected = _shapes_of_carry(rnn, params, resets.shape[1:])
        _check_carry(expected[0].h if self.rnn is None else expected, carry)
        state = (GRUState(carry),) if self.rnn is None else carry
        key = linen_key(self, rnn, None, "dropout")
        state, y = rnn.apply(
            params,
            ins,
            as_held(rnn.plan, state),
            resets=resets,
            key=key,
            schedule=self.schedule,
            checkpoint_every=self.checkpoint_every,
        )
        state = tuple(by_layer(rnn.plan, state))
        return state[0].h if self.rnn is None else state, y

    @_OfModuleOrClass
    def initialize_carry(self: Any, batch_size: int | tuple[int, ...], hidden_size: int) -> Any:
        """Give the carry before the first step; of `ScannedRNN()` also by the class.

        Args:
          batch_size: B, or a tuple `*B`.
          hidden_size: H, the width of the network's last layer.

        Returns:
          One state a layer, leaves `[*B, H]`; without a network, zeros `[*B, H]`.

        Raises:
          ValueError: if an argument does not fit; or if the initial state is learned, or of the
            width of x, since the parameters are not known here. Give
            `rnn.initial_state(params, batch_size)` of any parameters then, and resets True at the
            first step, which puts the learned one in its place.
        """
        where = "initialize_carry"
        batch_shape = batch_shape_of(where, batch_size, "batch_size")
        check_size(where, "hidden_size", hidden_size)
        if self is None or self.rnn is None:
            return jnp.zeros((*batch_shape, hidden_size), jnp.float32)
        rnn = self.rnn
        _check_rnn(rnn)
        if hidden_size != rnn.plan.width:
            raise ValueError(
                f"{where}: hidden_size must be {rnn.plan.width}, the width of the network's last "
                f"layer, got {hidden_size}"
            )
        carry = first_carry(where, rnn, batch_shape, hidden_size)
        # hidden_size stood for the width of x
        other = jax.eval_shape(lambda: first_carry(where, rnn, batch_shape, hidden_size + 1))
        if difference("carry", carry, other) is not None:
            raise ValueError(
                f"{where}: the network's initial state must not depend on the width of x, which "
                "is not known here, got one that does; use rnn.initial_state(params, batch_shape)"
            )
        return tuple(by_layer(rnn.plan, carry))


def _check_rnn(rnn: Any) -> None:
    """Raise ValueError unless `rnn` is a network of one direction."""
    check_network("ScannedRNN", rnn)
    if rnn.plan.merge is not None:
        raise ValueError(
            "ScannedRNN: rnn must have one direction, got two; an agent has not seen the steps "
            "to come"
        )


def _check_inputs(x: Any, image_shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Give ins and resets, as bool, or raise ValueError."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        found = f"{len(x)} of them" if isinstance(x, tuple | list) else type(x).__name__
        raise ValueError(f"ScannedRNN: x must be a pair (ins, resets), got {found}")
    ins, resets = x
    check_floating("ScannedRNN", "ins", ins)
    shape = steps_shape(ins, image_shape)
    if not is_of_images(ins, image_shape) or not shape or jnp.shape(resets) != shape:
        form = ", ".join(["T", "*B", *map(str, image_shape), "F"])
        raise ValueError(
            f"ScannedRNN: ins and resets must be [{form}] and [T, *B], got "
            f"{ins.shape} and {jnp.shape(resets)}; one step is T = 1, as in obs[None], done[None]"
        )
    return ins, jnp.asarray(resets).astype(bool)


def _width_of(carry: Any) -> int:
    """Give H of a carry that is one array, as without a network, or raise ValueError."""
    if getattr(carry, "ndim", 0) < 1:
        raise ValueError(
            "ScannedRNN: carry must be one array [*B, H] where there is no network, got "
            f"{type(carry).__name__}; use ScannedRNN.initialize_carry(batch_size, hidden_size), "
            "or ScannedRNN(rnn)"
        )
    return carry.shape[-1]


def _shapes_of_carry(rnn: DeepRNN, params: DeepParams, batch_shape: tuple[int, ...]) -> Any:
    """Give the shapes and dtypes of a network's carry."""

    def first(params: DeepParams) -> tuple[Any, ...]:
        return tuple(by_layer(rnn.plan, initial_state(rnn.plan, params, batch_shape)))

    return jax.eval_shape(first, params)


def _check_carry(expected: Any, carry: Any) -> None:
    """Raise ValueError unless the carry is as expected."""
    said = difference("carry", expected, carry, dtypes=True)
    if said is not None:
        raise ValueError(
            f"ScannedRNN: carry is not of this network and batch: {said}; use "
            "initialize_carry(batch_size, hidden_size), or what the call before gave"
        )
