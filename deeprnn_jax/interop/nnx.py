"""In place of flax.nnx's `nnx.RNN(cell)`: the same for any cell, or a whole network."""

from typing import Any

import jax
from flax import nnx

from deeprnn_jax.deep import DeepRNN as Network
from deeprnn_jax.deep import check_network
from deeprnn_jax.interop.flax_call import call_network, check_width, nest, split_shape, unnest
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.recurrence.scan import with_recurrences
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.types import Array

Rngs = nnx.Rngs | nnx.RngStream


class RNN(nnx.RNN):
    """Run any nnx cell over a sequence: `nnx.RNN`, with `deeprnn_jax.recurrence.scan`.

    Options, call, parameters, outputs and carry are those of `nnx.RNN`: only the loop is
    another, and faster to train.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> model = RNN(nnx.OptimizedLSTMCell(32, 64, rngs=nnx.Rngs(0)))
      >>> model(jnp.ones((10, 50, 32)), seq_lengths=jnp.full(10, 30)).shape
      (10, 50, 64)

    References:
      `flax.nnx.RNN`.
    """

    def __call__(self, inputs: Array, *, rngs: Rngs | None = None, **call: Any) -> Any:
        """Run the cell over a batch of sequences.

        Args:
          inputs: `[*B, T, *F]`, or `[T, *B, *F]` if time_major.
          rngs: for the initial carry, in place of the module's own.
          **call: as in `nnx.RNN`: initial_carry, seq_lengths, and return_carry, time_major,
            reverse, keep_order, which override the options.

        Returns:
          Outputs, with return_carry (carry, outputs), as `nnx.RNN`.
        """
        graph, values = nnx.split((self, rngs))

        def pure(values: Any) -> tuple[Any, Any]:
            module, rngs = nnx.merge(graph, values)
            found = nnx.RNN.__call__(module, inputs, rngs=rngs, **call)
            return found, nnx.state((module, rngs))

        found, values = with_recurrences(pure)(values)
        nnx.update((self, rngs), values)
        return found


class DeepRNN(nnx.Module):
    """Run a deep network where an nnx model has `nnx.RNN`.

        nnx.RNN(nnx.LSTMCell(32, 64, rngs=rngs))   →
        DeepRNN(drnn.deep_rnn(drnn.lstm(64), num_layers=2), 32, rngs=rngs)

    Options and call are those of `nnx.RNN`, batch-major unless told otherwise. What is
    different: the carry is the network's state, all layers' (`interop.state_to_flax`
    gives Flax's own form); outputs past a row's length are zero, and a row of length 0
    ends in the initial carry, where Flax computes on; there may be any number of
    batch axes with `seq_lengths`; there are `mask`, `resets` and `step`. Parameters are
    `nnx.Param` under `network`, with the names of the network's `to_dict`.
    Dropout is `nnx.Dropout`'s: on unless `deterministic`, so that `model.eval()` turns
    it off and `model.train()` on.

    Example:
      >>> import jax.numpy as jnp, deeprnn_jax as drnn
      >>> from flax import nnx
      >>> rnn = drnn.deep_rnn(drnn.lstm(64), num_layers=2)
      >>> model = DeepRNN(rnn, 32, rngs=nnx.Rngs(0))
      >>> model(jnp.ones((10, 50, 32)), seq_lengths=jnp.full(10, 30)).shape
      (10, 50, 64)
      >>> model.network["layer_0"]["cell"]["w_x"].shape
      (32, 256)

    References:
      `flax.nnx.RNN`, `flax.nnx.Dropout`.
    """

    def __init__(
        self,
        rnn: Network,
        in_features: int,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        schedule: str | Schedule = "auto",
        checkpoint_every: int | str | None = None,
        params: DeepParams | None = None,
        rngs: Rngs | None = None,
    ):
        """Make the module, with new parameters unless `params` is given.

        Args:
          rnn: a network, from `deep_rnn`.
          in_features: F, the width of the inputs.
          time_major: whether inputs and outputs are `[T, *B, F]`, not `[*B, T, F]`.
          return_carry: whether to return (carry, outputs), not outputs alone.
          reverse: whether to read each row from its last real step to its first, and give
            outputs in that order, padding still at the end.
          keep_order: whether to give the outputs of a reverse run in the order of inputs.
          deterministic: whether there is no dropout.
          rng_collection: the name of the rng stream that dropout draws from.
          schedule: how the network is run, as in `DeepRNN.apply`.
          checkpoint_every: what is kept for gradients, as in `DeepRNN.apply`.
          params: the network's parameters, to be used in place of new ones.
          rngs: for new parameters, its stream `params`, and for dropout.

        Raises:
          ValueError: if rnn is no network, or rngs is missing where it is needed.
        """
        check_network("DeepRNN", rnn)
        if params is None:
            if not isinstance(rngs, nnx.Rngs):
                raise ValueError(
                    f"DeepRNN: rngs must be nnx.Rngs, or params be given, got {rngs!r}; use "
                    "rngs=nnx.Rngs(0)"
                )
            params = rnn.init(rngs.params(), in_features)
        self.rnn = rnn
        self.in_features = in_features
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        self.schedule = schedule
        self.checkpoint_every = checkpoint_every
        self.form = jax.tree.structure(params)  # else only `init` would know the types
        self.network = _as_params(nest(rnn, params))
        self.rngs = nnx.data(None)
        if rnn.plan.is_stochastic and rngs is not None:
            self.rngs = _stream_of(rngs, rng_collection).fork()

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: DeepState | None = None,
        seq_lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
        rngs: Rngs | Array | None = None,
    ) -> Any:
        """Run the network over a batch of sequences.

        Args:
          inputs: `[*B, T, F]`, or `[T, *B, F]` if time_major.
          initial_carry: the network's state; None: its initial one.
          seq_lengths: int `[*B]`, the real steps of each row.
          mask: bool `[*B, T]`, or `[T, *B]` if time_major, True = real, in place of
            seq_lengths or with them. A masked step does nothing.
          resets: bool likewise, True = the state becomes the initial one between step t-1
            and t, in a reverse run too, which comes from step t.
          return_carry: overrides the option, as all that follow.
          time_major: likewise.
          reverse: likewise.
          keep_order: likewise.
          deterministic: likewise.
          rngs: for dropout, in place of the module's own: rngs, a stream or a key.

        Returns:
          y `[*B, T, H]`, or `[T, *B, H]`; with return_carry, (carry, y), the carry being
          the state after each row's last real step.

        Raises:
          ValueError: if an argument does not fit.
        """
        carry, y = call_network(
            self.rnn,
            self._params(),
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            time_major=self.time_major if time_major is None else time_major,
            reverse=self.reverse if reverse is None else reverse,
            keep_order=self.keep_order if keep_order is None else keep_order,
            key=self._key(deterministic, rngs),
            schedule=self.schedule,
            checkpoint_every=self.checkpoint_every,
        )
        wants_carry = self.return_carry if return_carry is None else return_carry
        return (carry, y) if wants_carry else y

    def step(
        self,
        carry: DeepState,
        inputs: Array,
        *,
        deterministic: bool | None = None,
        rngs: Rngs | Array | None = None,
    ) -> tuple[DeepState, Array]:
        """Run the network for one step, as an nnx cell's call does.

        Args:
          carry: the network's state.
          inputs: `[*B, F]`.
          deterministic: overrides the option; dropout is drawn anew at each step.
          rngs: as in the call.

        Returns:
          The next carry, and y `[*B, H]`.

        Raises:
          ValueError: if the network has two directions, or an argument does not fit.

        Example:
          >>> import jax.numpy as jnp, deeprnn_jax as drnn
          >>> from flax import nnx
          >>> model = DeepRNN(drnn.deep_rnn(drnn.gru(8), num_layers=2), 3, rngs=nnx.Rngs(0))
          >>> carry, y = model.step(model.initialize_carry((4, 3)), jnp.ones((4, 3)))
          >>> y.shape
          (4, 8)
        """
        key = self._key(deterministic, rngs)
        return self.rnn.step(self._params(), carry, inputs, key=key)

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: Rngs | None = None) -> DeepState:
        """Give the carry before the first step, as an nnx cell does.

        Args:
          input_shape: of one step's inputs, `(*B, F)`.
          rngs: not used, since no initial state here is random; Flax's cells have it.

        Returns:
          The network's initial state, leaves `[*B, H]`.

        Raises:
          ValueError: if an argument does not fit.
        """
        del rngs
        batch_shape, input_size = split_shape(input_shape, self.rnn.plan.image_shape)
        params = self._params()
        check_width(self.rnn, params, input_size)
        return self.rnn.initial_state(params, batch_shape)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set what `nnx.view` may set.

        Args:
          deterministic: whether there is no dropout; None: as it is.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def _params(self) -> DeepParams:
        """Give the parameters."""
        return unnest(self.rnn, self.form, _as_arrays(self.network))

    def _key(self, deterministic: bool | None, rngs: Rngs | Array | None) -> Array | None:
        """Give the key for dropout, or None where there is none or nothing is drawn."""
        is_still = self.deterministic if deterministic is None else deterministic
        if is_still or not self.rnn.plan.is_stochastic:
            return None
        rngs = self.rngs if rngs is None else rngs
        if rngs is None:
            raise ValueError(
                "DeepRNN: rngs must be given for dropout, got None; make the module with rngs, "
                "or call it with rngs=nnx.Rngs(0) or deterministic=True"
            )
        return rngs if isinstance(rngs, jax.Array) else _stream_of(rngs, self.rng_collection)()


def _stream_of(rngs: Any, name: str) -> nnx.RngStream:
    """Give the stream that dropout draws from, or raise ValueError."""
    if isinstance(rngs, nnx.Rngs):
        return rngs[name]
    if not isinstance(rngs, nnx.RngStream):
        raise ValueError(
            f"DeepRNN: rngs must be nnx.Rngs or one of its streams, got {rngs!r}; use "
            "rngs=nnx.Rngs(0)"
        )
    return rngs


# Before flax 0.12 a dict of variables is a part of a module as it is.
_Dict: Any = getattr(nnx, "Dict", dict)


def _as_params(tree: dict[str, Any]) -> Any:
    return _Dict(
        {n: _as_params(v) if isinstance(v, dict) else nnx.Param(v) for n, v in tree.items()}
    )


def _as_arrays(tree: Any) -> Any:
    return {n: _as_arrays(v) if isinstance(v, _Dict) else v[...] for n, v in tree.items()}
