"""Deep recurrent networks: layers, each reading the hidden states of the one below.

    h_t^1 = cell(x_t, h_{t-1}^1)
    h_t^l = cell(h_t^{l-1}, h_{t-1}^l)        l = 2 ... L
    y_t   = W_y h_t^L + b_y                   with `output_size`

`deep_rnn` makes a plan of the layers; `DeepRNN` hands out the functions that run it
(`running`), each behind its checks (`arguments`).
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from deeprnn_jax import arguments, naming, parameters, running, schedules
from deeprnn_jax.checks import check_bools, check_key, check_size
from deeprnn_jax.layers import entries
from deeprnn_jax.layers import plan as plans
from deeprnn_jax.layers.layer import Merge
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.recurrence.explain import explain_all
from deeprnn_jax.schedules.rules import rules_of
from deeprnn_jax.schedules.schedule import LayerStates, Options, Ran, Schedule
from deeprnn_jax.sequences import Steps, make_steps
from deeprnn_jax.types import Array, Cell


@dataclass(frozen=True)
class DeepRNN:
    """A deep network as pure functions, made by `deep_rnn`.

    Networks made alike are equal, hash, pickle (as far as the functions in them do), and
    share what is compiled, which stays until `jax.clear_caches()`. All functions can be
    jitted, vmapped and differentiated at will; parameters and states are plain trees of
    arrays.

    Attributes:
      plan: what it is made of.
    """

    plan: Plan

    def init(self, key: Array, input_size: int) -> DeepParams:
        """Draw the network's parameters.

        Args:
          key: a random key, of any implementation.
          input_size: I, the width of x.

        Returns:
          Parameters in `param_dtype`: `layers`, one entry a layer with `cell` (with two
          directions its arrays have a leading axis of 2), `norm` and `highway`, None where
          there is none; and `readout`, likewise.

        Raises:
          ValueError: if an argument does not fit, or an initialiser refuses.

        Example:
          >>> import jax, deeprnn_jax as drnn
          >>> params = drnn.deep_rnn(drnn.lstm(8), 2).init(jax.random.key(0), input_size=3)
          >>> params.layers[1].cell.w_x.shape
          (8, 32)
        """
        check_key("init", key)
        check_size("init", "input_size", input_size)
        plan, size = self.plan.without_dropout(), int(input_size)
        return _call(parameters.init_params, parameters.compiled_init, plan, key, size)

    def initial_state(
        self, params: DeepParams, batch_shape: int | tuple[int, ...] = ()
    ) -> DeepState:
        """Give the state before the first step.

        Args:
          params: the network's parameters: a state may be learned.
          batch_shape: `*B`, an int or a tuple.

        Returns:
          One state a layer, leaves `[*B, H]`, or `[2, *B, H]` with two directions, in
          `state_dtype`.

        Raises:
          ValueError: if an argument does not fit.

        Example:
          >>> import jax, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.gru(8), 2)
          >>> rnn.initial_state(rnn.init(jax.random.key(0), 3), 32)[1].h.shape
          (32, 8)
        """
        parameters.check_params("initial_state", self.plan, params)
        shape = arguments.batch_shape_of("initial_state", batch_shape)
        return _call(
            parameters.initial_state, parameters.compiled_initial_state, self.plan, params, shape
        )

    def apply(
        self,
        params: DeepParams,
        x: Array,
        state: DeepState | None = None,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        key: Array | None = None,
        train: bool | None = None,
        schedule: str | Schedule = "auto",
        checkpoint_every: int | str | None = None,
    ) -> tuple[DeepState, Array]:
        """Run the network over whole sequences.

        Args:
          params: the network's parameters.
          x: floating `[T, *B, I]`, any number of batch axes, none included; of a network of
            images `[T, *B, *image_shape, I]`.
          state: the state before the first step; None: the initial one.
          lengths: int `[*B]`, the real steps of each row, in [0, T]; y is zero from there
            on, and the state stops at the last real step. A NumPy array is checked, a JAX
            array is not, since that would wait for the device.
          mask: bool `[T, *B]`, True = real, in place of lengths or with them. A masked
            step does nothing, whatever x holds there.
          resets: bool `[T, *B]`, True = the state becomes the initial one before step t;
            at a masked step it does nothing: put it on the first real step.
          key: a random key turns dropout and the modifiers' noise on.
          train: True, False, or None for "if there is a key".
          schedule: "auto", one of `schedules.SCHEDULES`, "layerwise", "wavefront", "pipeline",
            "parallel", "reference", or what `schedules.pipeline` or `schedules.parallel` gives.
            The same numbers, another order of work.
          checkpoint_every: keep a layer's activations only every so many steps, and
            compute them again for the gradients: an int, "sqrt" for √T, or None for
            all. The numbers are the same.

        Returns:
          The state after the last step, and y: `[T, *B, O]` in the sums' dtype with a
          readout, else `[T, *B, H]` (2H with "concat") in `compute_dtype`.

        Raises:
          ValueError: if an argument does not fit, or a cell's function keeps not to its form.

        Example:
          >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.lstm(256), num_layers=3)
          >>> params = rnn.init(jax.random.key(0), input_size=64)
          >>> state, y = rnn.apply(params, jnp.ones((100, 32, 64)), lengths=jnp.full(32, 80))
          >>> state[2].c.shape, y.shape
          ((32, 256), (100, 32, 256))
        """
        flags = lengths, mask, resets
        args = self._check("apply", params, x, state, flags, key, train)
        how = self._choose("apply", args, schedule, checkpoint_every)
        run = running.run if running.is_staged() else running.compiled_run
        with self._explaining("apply", args):
            ran = run(self.plan, *args, **how)
        return ran.state, ran.y

    def inspect(
        self,
        params: DeepParams,
        x: Array,
        state: DeepState | None = None,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        key: Array | None = None,
        train: bool | None = None,
        schedule: str | Schedule = "auto",
        checkpoint_every: int | str | None = None,
    ) -> tuple[DeepState, Array, list[LayerStates]]:
        """Run the network and look inside: the states and gates of every step.

        Args:
          params: as in `apply`, as all that follow.
          x: likewise.
          state: likewise.
          lengths: likewise.
          mask: likewise.
          resets: likewise.
          key: likewise.
          train: likewise.
          schedule: likewise.
          checkpoint_every: likewise.

        Returns:
          What `apply` gives, and one `LayerStates(state, gates)` a layer: its state after
          each step and its cell's gates, leaves `[T, *B, H]`, or `[2, T, *B, H]` with two
          directions. They come from the same loop: a forward pass does no product twice.

        Raises:
          ValueError: as `apply`.

        Example:
          >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.lstm(8), num_layers=2)
          >>> params = rnn.init(jax.random.key(0), input_size=3)
          >>> _, _, layers = rnn.inspect(params, jnp.ones((10, 4, 3)))
          >>> layers[1].state.c.shape, layers[1].gates.f.shape
          ((10, 4, 8), (10, 4, 8))
        """
        flags = lengths, mask, resets
        args = self._check("inspect", params, x, state, flags, key, train)
        how = self._choose("inspect", args, schedule, checkpoint_every, want_states=True)
        run = running.run if running.is_staged() else running.compiled_run
        with self._explaining("inspect", args):
            ran: Ran = run(self.plan, *args, **how)
        assert ran.states is not None
        return ran.state, ran.y, ran.states

    def step(
        self, params: DeepParams, state: DeepState, x_t: Array, *, key: Array | None = None
    ) -> tuple[DeepState, Array]:
        """Run the network for one step of `apply`: the same numbers.

        For loops that put something between two steps, as attention does.

        Args:
          params: the network's parameters.
          state: what the step before ended with, or `initial_state`.
          x_t: floating `[*B, I]`, of images `[*B, *image_shape, I]`.
          key: turns dropout and the modifiers' noise on, all of it drawn from this key.
            `apply` draws dropout and zoneout at each step; locked dropout, weight_drop and
            variational_dropout once a sequence: with a key a step, these change at each
            step as well; with one key for all, the first two never change.

        Returns:
          The next state, and y_t `[*B, O]` or `[*B, H]`.

        Raises:
          ValueError: if the network has two directions, or an argument does not fit.

        Example:
          >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=2)
          >>> params = rnn.init(jax.random.key(0), input_size=3)
          >>> state, y_t = rnn.step(params, rnn.initial_state(params, 4), jnp.ones((4, 3)))
          >>> y_t.shape
          (4, 8)
        """
        is_bidirectional = self.plan.merge is not None
        arguments.check_step("step", state, x_t, is_bidirectional, self.plan.image_shape)
        parameters.check_params("step", self.plan, params)
        key = arguments.choose_key("step", key, None, self.plan.is_stochastic)
        (x_t,) = arguments.as_arrays(x_t)
        args = (params, x_t[None], state, Steps(None, None), key)
        how = self._choose("step", args, "layerwise", None)
        run = running.run if running.is_staged() else running.compiled_run
        with self._explaining("step", args):
            ran = run(self.plan, *args, **how)
        return ran.state, ran.y[0]

    def explain(self, params: DeepParams, x: Array, **options: Any) -> str:
        """Say what each loop does before, within and after it, and what is kept for gradients.

        Nothing is run.

        Args:
          params: as in `apply`, as all that follow.
          x: likewise.
          **options: likewise.

        Returns:
          Some lines of text; see `drnn.explain`.
        """
        return explain_all(jax.make_jaxpr(lambda p, x: self.apply(p, x, **options))(params, x))

    def stack(self, layers: Sequence[Any]) -> tuple[Any, ...]:
        """Join one entry a layer into one a group of equal layers, `[L, ...]`.

        Args:
          layers: `params.layers`, a state, or the like, of a network that holds them apart.

        Returns:
          What one with `stack_layers=True` holds; `unstack` gives exactly this back.

        Raises:
          ValueError: if there is not one entry a layer.
        """
        return entries.stack(self.plan, layers)

    def unstack(self, groups: Sequence[Any]) -> tuple[Any, ...]:
        """Give one entry a layer of one a group of equal layers: `stack`'s inverse.

        Args:
          groups: `params.layers`, a state, or the like, of a network with `stack_layers=True`.

        Raises:
          ValueError: if they are not stacked so.
        """
        return entries.unstack(self.plan, groups)

    def to_dict(self, params: DeepParams) -> dict[str, Array]:
        """Give the parameters as a flat dictionary, by name.

        For files (`np.savez`, safetensors), and wherever a rule goes by name. With a tree
        of parameters' form, such as gradients, it works as well.

        Args:
          params: the network's parameters.

        Returns:
          Arrays in the order of `jax.tree.leaves(params)`, by names as "layer_0/cell/w_x",
          "layer_1/norm/scale", "readout/w"; with `stack_layers=True`, a group of equal layers
          is "layers_1_to_3/cell/w_x".

        Raises:
          ValueError: if the parameters are not of this network, or the name of a cell's
            parameter has a "/".

        Example:
          >>> import jax, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.gru(8), 2, output_size=5)
          >>> arrays = rnn.to_dict(rnn.init(jax.random.key(0), input_size=3))
          >>> list(arrays)[-3:]
          ['layer_1/cell/b_hn', 'readout/w', 'readout/b']
        """
        return naming.to_dict(self.plan, params)

    def from_dict(self, arrays: Mapping[str, Any], input_size: int) -> DeepParams:
        """Give the parameters from a dictionary by name: `to_dict`'s inverse.

        Args:
          arrays: what `to_dict` gave, in any order; NumPy's become JAX's, and JAX's stay
            where they are placed.
          input_size: I, the width of x.

        Returns:
          The parameters.

        Raises:
          ValueError: if a name is missing, or is not of this network, or an array is of
            another shape or dtype than `init` gives.

        Example:
          >>> import jax, deeprnn_jax as drnn
          >>> rnn = drnn.deep_rnn(drnn.gru(8), 2)
          >>> arrays = rnn.to_dict(rnn.init(jax.random.key(0), input_size=3))
          >>> rnn.from_dict(arrays, input_size=3).layers[1].cell.w_x.shape
          (8, 24)
        """
        check_size("from_dict", "input_size", input_size)
        return naming.from_dict(self.plan, arrays, int(input_size))

    def _check(
        self, function: str, params: Any, x: Any, state: Any, flags: Any, key: Any, train: Any
    ) -> tuple[Any, ...]:
        """Check what a sequence is run with; give the arrays that `running.run` takes."""
        arguments.check_sequence(function, x, self.plan.image_shape)
        parameters.check_params(function, self.plan, params)
        arguments.check_flags_of_steps(function, x, *flags, image_shape=self.plan.image_shape)
        # only now: inside jit a NumPy array's values are known, a JAX one's are not
        x, lengths, mask, resets = arguments.as_arrays(x, *flags)
        key = arguments.choose_key(function, key, train, self.plan.is_stochastic)
        return params, x, state, make_steps(lengths, mask, resets, x.shape[0]), key

    def _choose(
        self, function: str, args: tuple, schedule: Any, every: Any, want_states: bool = False
    ) -> dict[str, Any]:
        """Give how the network is run, what `running.run` takes by name."""
        params, x, *_ = args
        rules = rules_of(x, *jax.tree.leaves(params)[:1])
        field = partial(parameters.largest_field, self.plan, params)
        chosen = schedules.choose(function, self.plan, schedule, x.shape, rules, field)
        num_steps = chosen.num_steps(self.plan, x.shape[0])
        every = arguments.choose_checkpoints(function, every, num_steps)
        options = Options(every, want_states, rules)
        return {"function": function, "schedule": chosen, "options": options}

    @contextmanager
    def _explaining(self, function: str, args: tuple) -> Iterator[None]:
        """Say so if what went wrong are parameters of another network, or x of another width."""
        try:
            yield
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            params, x, *_ = args
            expected = partial(parameters.params_shapes, self.plan)
            try:
                mistake = arguments.explain_params(function, params, x.shape[-1], expected)
            except Exception:  # the cell's own `init` refuses that size: the first error counts
                mistake = None
            if mistake is None:
                raise
            raise ValueError(mistake) from error


def check_network(function: str, rnn: Any) -> None:
    """Raise ValueError unless `rnn` is a network."""
    if not isinstance(rnn, DeepRNN):
        raise ValueError(
            f"{function}: rnn must be a network, got {type(rnn).__name__}; for example "
            "drnn.deep_rnn(drnn.lstm(64), num_layers=2)"
        )


def _call(function: Any, compiled: Any, plan: Plan, arrays: Any, static: Any) -> Any:
    """Call a function of a plan, compiled unless it becomes a part of another program."""
    return (function if running.is_staged() else compiled)(plan, arrays, static)


def deep_rnn(
    cell: Cell | Sequence[Cell],
    num_layers: int | None = None,
    *,
    output_size: int | None = None,
    bidirectional: bool = False,
    merge: str | Merge = "concat",
    skip: str | None = None,
    normalize_inputs: bool = False,
    dropout: float = 0.0,
    locked_dropout: bool = False,
    param_dtype: Any = jnp.float32,
    compute_dtype: Any = None,
    state_dtype: Any = None,
    precision: Any = None,
    stack_layers: bool = False,
) -> DeepRNN:
    """Make a deep recurrent network of one or many cells.

    Args:
      cell: a cell, repeated `num_layers` times, or a list with one a layer.
      num_layers: L, with one cell; 1 unless given.
      output_size: O, for a readout y_t = W_y h_t^L + b_y; None: y_t = h_t^L.
      bidirectional: whether each layer also runs from the end to the start.
      merge: how a layer joins its two directions: "concat" (forward first), "sum",
        or a function of two arrays `[..., H]`.
      skip: what goes around each layer from the second on: "residual" (x + y),
        "highway" (g ⊙ y + (1 - g) ⊙ x, g = σ(W x + b)), "dense" (each layer reads x
        and the outputs of all layers below, side by side), or None.
      normalize_inputs: whether to apply layer normalisation to each layer's input, from
        the second layer on.
      dropout: the probability that an output of a layer is dropped before the next
        layer reads it; the last layer's outputs stay.
      locked_dropout: whether one mask is drawn a sequence and row, the same at every step
        (Merity et al. 2017), in place of one a step.
      param_dtype: the dtype in which `init` gives parameters, drawn in float32.
      compute_dtype: the dtype of the products' operands; `param_dtype` unless given.
        Sums and gates are float32, or wider where this is.
      state_dtype: the dtype of the state between steps; that of the sums unless given.
      precision: how exactly products of float32 are computed, "high" or "highest", or a
        `jax.lax.Precision`; None: as `jax.default_matmul_precision` says. A TPU by default
        rounds their operands to bfloat16 and many a GPU to TF32, of 8 and 10 bits: schedules
        then agree to about that. Products for which a cell says it itself keep to that.
      stack_layers: whether parameters and states of equal neighbouring layers are held
        stacked, one entry a group `[L, ...]`: for very deep networks, whose layers then are
        not copied into their loop, and for pipelines over devices. The first layer is a
        group of its own.

    Returns:
      The network: `init(key, input_size)`, `initial_state(params, batch_shape)`,
      `apply(params, x, ...)` for sequences, `step(params, state, x_t)` for one step,
      `inspect` for states and gates, `explain`; each has its own documentation.

    Raises:
      ValueError: if an argument does not fit; from the functions likewise.

    Warns:
      UserWarning: if there is dropout but one layer, after which nothing is dropped.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.lstm(256), num_layers=3, dropout=0.2)
      >>> params = rnn.init(jax.random.key(0), input_size=64)
      >>> x = jnp.ones((100, 32, 64))
      >>> state, y = rnn.apply(params, x)
      >>> y.shape
      (100, 32, 256)

    References:
      Depth: Schmidhuber 1992, El Hihi and Bengio 1996, Graves et al. 2013, eq. 11-12;
      bidirectional: Schuster and Paliwal 1997; dropout between layers: Zaremba et al.
      2014; residual: Wu et al. 2016 (GNMT), eq. 6; highway: Srivastava et al. 2015,
      eq. 3; dense: Huang et al. 2017.
    """
    cells = plans.list_cells(cell, num_layers)
    if output_size is not None:
        check_size("deep_rnn", "output_size", output_size)
    check_bools(
        "deep_rnn",
        bidirectional=bidirectional,
        normalize_inputs=normalize_inputs,
        locked_dropout=locked_dropout,
        stack_layers=stack_layers,
    )
    plan = plans.make_plan(
        cells,
        merge=plans.choose_merge(bidirectional, merge),
        skip=skip,
        normalize_inputs=normalize_inputs,
        dropout=dropout,
        locked_dropout=locked_dropout,
        output_size=output_size,
        precision=plans.make_precision(param_dtype, compute_dtype, state_dtype, precision),
        stack_layers=stack_layers,
    )
    if dropout > 0 and len(cells) == 1:
        warnings.warn(
            f"deep_rnn: dropout={dropout} is between layers, and there is one: nothing is "
            "dropped; use more layers, or drop the outputs yourself",
            stacklevel=2,
        )
    return DeepRNN(plan)
