"""In place of flax.linen's `nn.RNN(cell)`: the same for any cell, or a whole network.

And `ScannedRNN`, in place of the class of that name in recurrent agents.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from flax.core import Scope
from flax.core.lift import pack
from flax.linen.transforms import lift_direct_transform

from deeprnn_jax.arguments import check_step
from deeprnn_jax.deep import DeepRNN as Network
from deeprnn_jax.deep import check_network
from deeprnn_jax.interop.flax_call import (
    call_network,
    check_inputs,
    check_width,
    first_carry,
    linen_key,
    linen_params,
    split_shape,
)
from deeprnn_jax.interop.scanned import ScannedRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.recurrence.scan import with_recurrences
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.types import Array

__all__ = ["RNN", "DeepRNN", "ScannedRNN"]


class RNN(nn.RNN):
    """Run any linen cell over a sequence: `nn.RNN`, with `deeprnn_jax.recurrence.scan`.

    Attributes, call, parameters, outputs and carry are those of `nn.RNN`, whose variables
    can be loaded here and the reverse: only the loop is another, and faster to train.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> model = RNN(nn.OptimizedLSTMCell(64))
      >>> x = jnp.ones((10, 50, 32))
      >>> variables = model.init(jax.random.key(0), x)
      >>> model.apply(variables, x, seq_lengths=jnp.full(10, 30)).shape
      (10, 50, 64)

    References:
      `flax.linen.RNN`.
    """

    def __call__(self, inputs: Array, **call: Any) -> Any:
        """Run the cell over a batch of sequences.

        Args:
          inputs: `[*B, T, *F]`, or `[T, *B, *F]` if time_major.
          **call: as in `nn.RNN`: initial_carry, init_key, seq_lengths, and return_carry,
            time_major, reverse, keep_order, which override the attributes.

        Returns:
          Outputs, with return_carry (carry, outputs), as `nn.RNN`.
        """

        def run(module: nn.RNN) -> Any:
            return nn.RNN.__call__(module, inputs, **call)

        return lift_direct_transform(_lift, (run,), self)


def _lift(function: Callable[[Scope], Any], scopes: Any) -> Any:
    """Run a function of scopes by `with_recurrences`, all their variables and keys lifted."""

    def run(scopes_of: Any, variables_of: Any, variables: Any, keys: Any) -> tuple[Any, Any]:
        def pure(variables: Any, keys: Any) -> tuple[Any, Any]:
            inner = scopes_of(variables, keys)
            return function(inner), variables_of(inner)

        return with_recurrences(pure)(variables, keys)

    return pack(run, (True,), (True,), (True,), name="recurrence")(scopes)


class DeepRNN(nn.Module):
    """Run a deep network where a linen model has `nn.RNN`.

        nn.RNN(nn.LSTMCell(64))   →   DeepRNN(drnn.deep_rnn(drnn.lstm(64), num_layers=2))

    Attributes and call are those of `nn.RNN`, batch-major unless told otherwise. What
    is different: the carry is the network's state, all layers' (`interop.state_to_flax`
    gives Flax's own form); outputs past a row's length are zero, and a row of length 0
    ends in the initial carry, where Flax computes on; there may be any number of
    batch axes with `seq_lengths`; there are `mask`, `resets` and `step`. Parameters are
    under "network", with the names of the network's `to_dict`.

    Attributes:
      rnn: a network, from `deep_rnn`.
      time_major: whether inputs and outputs are `[T, *B, F]`, not `[*B, T, F]`.
      return_carry: whether to return (carry, outputs), not outputs alone.
      reverse: whether to read each row from its last real step to its first, and give
        outputs in that order, padding still at the end.
      keep_order: whether to give the outputs of a reverse run in the order of inputs.
      deterministic: True: no dropout; False: dropout, which needs the rng; None:
        dropout where the caller gives the rng, `apply(..., rngs={"dropout": key})`.
      rng_collection: the name of that rng.
      schedule: how the network is run, as in `DeepRNN.apply`.
      checkpoint_every: what is kept for gradients, as in `DeepRNN.apply`.

    Raises:
      ValueError: from the call, if rnn is no network or an argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> model = DeepRNN(drnn.deep_rnn(drnn.lstm(64), num_layers=2))
      >>> x = jnp.ones((10, 50, 32))
      >>> variables = model.init(jax.random.key(0), x)
      >>> model.apply(variables, x, seq_lengths=jnp.full(10, 30)).shape
      (10, 50, 64)
      >>> variables["params"]["network"]["layer_0"]["cell"]["w_x"].shape
      (32, 256)

    References:
      `flax.linen.RNN`.
    """

    rnn: Network
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    schedule: str | Schedule = "auto"
    checkpoint_every: int | str | None = None

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: DeepState | None = None,
        init_key: Array | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """Run the network over a batch of sequences.

        Args:
          inputs: `[*B, T, F]`, or `[T, *B, F]` if time_major.
          initial_carry: the network's state; None: its initial one.
          init_key: not used, since no initial state here is random; `nn.RNN` has it.
          seq_lengths: int `[*B]`, the real steps of each row.
          mask: bool `[*B, T]`, or `[T, *B]` if time_major, True = real, in place of
            seq_lengths or with them. A masked step does nothing.
          resets: bool likewise, True = the state becomes the initial one between step t-1
            and t, in a reverse run too, which comes from step t.
          return_carry: overrides the attribute, as all that follow.
          time_major: likewise.
          reverse: likewise.
          keep_order: likewise.
          deterministic: likewise.

        Returns:
          y `[*B, T, H]`, or `[T, *B, H]`; with return_carry, (carry, y), the carry being
          the state after each row's last real step.

        Raises:
          ValueError: if an argument does not fit.
        """
        del init_key
        time_major = self.time_major if time_major is None else time_major
        check_inputs(inputs, time_major)
        is_still = self.deterministic if deterministic is None else deterministic
        carry, y = call_network(
            self.rnn,
            self._params(inputs.shape[-1]),
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            time_major=time_major,
            reverse=self.reverse if reverse is None else reverse,
            keep_order=self.keep_order if keep_order is None else keep_order,
            key=linen_key(self, self.rnn, is_still, self.rng_collection),
            schedule=self.schedule,
            checkpoint_every=self.checkpoint_every,
        )
        wants_carry = self.return_carry if return_carry is None else return_carry
        return (carry, y) if wants_carry else y

    def step(
        self, carry: DeepState, inputs: Array, *, deterministic: bool | None = None
    ) -> tuple[DeepState, Array]:
        """Run the network for one step, as a linen cell's call does.

        Args:
          carry: the network's state.
          inputs: `[*B, F]`.
          deterministic: overrides the attribute; dropout is drawn anew at each step.

        Returns:
          The next carry, and y `[*B, H]`.

        Raises:
          ValueError: if the network has two directions, or an argument does not fit.

        Example:
          >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
          >>> model = DeepRNN(drnn.deep_rnn(drnn.gru(8), num_layers=2))
          >>> variables = model.init(jax.random.key(0), jnp.ones((4, 10, 3)))
          >>> carry = model.initialize_carry(jax.random.key(0), (4, 3))
          >>> carry, y = model.apply(variables, carry, jnp.ones((4, 3)), method="step")
          >>> y.shape
          (4, 8)
        """
        check_network("DeepRNN", self.rnn)
        plan = self.rnn.plan
        check_step("step", carry, inputs, plan.merge is not None, plan.image_shape)
        is_still = self.deterministic if deterministic is None else deterministic
        key = linen_key(self, self.rnn, is_still, self.rng_collection)
        return self.rnn.step(self._params(inputs.shape[-1]), carry, inputs, key=key)

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> DeepState:
        """Give the carry before the first step, as a linen cell does.

        Args:
          rng: not used, since no initial state here is random; Flax's cells have it.
          input_shape: of one step's inputs, `(*B, F)`.

        Returns:
          The network's initial state, leaves `[*B, H]`.

        Raises:
          ValueError: if an argument does not fit, or the state is learned and the module
            not bound: within `apply`, `init` or a parent it has its parameters.
        """
        del rng
        check_network("DeepRNN", self.rnn)
        batch_shape, input_size = split_shape(input_shape, self.rnn.plan.image_shape)
        if self.scope is None:
            return first_carry("initialize_carry", self.rnn, batch_shape, input_size)
        params = self._params(input_size)
        check_width(self.rnn, params, input_size)
        return self.rnn.initial_state(params, batch_shape)

    @nn.compact
    def _params(self, input_size: int) -> DeepParams:
        """Give the parameters; draw them where there are none."""
        check_network("DeepRNN", self.rnn)
        return linen_params(self, self.rnn, input_size)
