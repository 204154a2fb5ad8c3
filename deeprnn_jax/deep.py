"""Deep recurrent networks: layers, each reading the hidden states of the one below.

    h_t^1 = cell(x_t, h_{t-1}^1)
    h_t^l = cell(h_t^{l-1}, h_{t-1}^l)        l = 2 ... L
    y_t   = W_y h_t^L + b_y                   with `output_size`

`deep_rnn` makes a plan of the layers (`network`) and hands out the functions that run it
(`execution`), each behind its checks (`arguments`).
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from deeprnn_jax import arguments, execution, network, stacking
from deeprnn_jax.checks import check_bools, check_key, check_size
from deeprnn_jax.execution import DeepParams, DeepState
from deeprnn_jax.layers import Merge
from deeprnn_jax.recurrence.explain import explain_all
from deeprnn_jax.sequences import Steps, make_steps
from deeprnn_jax.types import Array, Cell


class ApplyFn(Protocol):
    """Runs a network over whole sequences."""

    def __call__(
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
        schedule: str = "auto",
        checkpoint_every: int | str | None = None,
        return_states: bool = False,
    ) -> Any:
        """Run the network; see `deep_rnn`."""
        ...


class InitFn(Protocol):
    """Draws a network's parameters."""

    def __call__(self, key: Array, input_size: int) -> DeepParams: ...


class InitialStateFn(Protocol):
    """Gives the state before the first step."""

    def __call__(
        self, params: DeepParams, batch_shape: int | tuple[int, ...] = ()
    ) -> DeepState: ...


class StepFn(Protocol):
    """Runs a network for one step."""

    def __call__(
        self, params: DeepParams, state: DeepState, x_t: Array, *, key: Array | None = None
    ) -> tuple[DeepState, Array]: ...


class ExplainFn(Protocol):
    """Says what is found in a network's loops."""

    def __call__(self, params: DeepParams, x: Array, **options: Any) -> str: ...


class DeepRNN(NamedTuple):
    """A deep network as pure functions, made by `deep_rnn`."""

    init: InitFn  # (key, input_size) -> params
    initial_state: InitialStateFn  # (params, batch_shape) -> state
    apply: ApplyFn  # (params, x, state, ...) -> (state, y)
    step: StepFn  # (params, state, x_t, *, key) -> (state, y_t)
    explain: ExplainFn  # (params, x, **options of apply) -> text
    unstack: Callable[[Sequence[Any]], list[Any]]  # stacked runs -> one entry a layer
    stack: Callable[[Sequence[Any]], tuple[Any, ...]]  # and back
    plan: network.Plan  # what it is made of


def deep_rnn(
    cell: Cell | Sequence[Cell],
    num_layers: int | None = None,
    *,
    output_size: int | None = None,
    bidirectional: bool = False,
    merge: str | Merge = "concat",
    skip: str | None = None,
    layer_norm: bool = False,
    dropout: float = 0.0,
    param_dtype: Any = jnp.float32,
    compute_dtype: Any = None,
    state_dtype: Any = None,
    stack_layers: bool = True,
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
      layer_norm: whether to normalise each layer's input, from the second layer on.
      dropout: the probability that an output of a layer is dropped before the next
        layer reads it; the last layer's outputs stay.
      param_dtype: the dtype in which `init` gives parameters, drawn in float32.
      compute_dtype: the dtype of the products' operands; `param_dtype` unless given.
        Sums and gates are float32, or wider where this is.
      state_dtype: the dtype of the state between steps; that of the sums unless given.
      stack_layers: whether equal neighbouring layers are stored stacked, so that compile
        time does not grow with depth. False: each by itself, which saves a `step` on its
        own the copies out of the stack (three layers or more), and with eight layers
        up to a tenth of a train step.

    Returns:
      Pure functions, to be jitted, vmapped and differentiated at will:

      - `init(key, input_size) -> params`.
      - `initial_state(params, batch_shape=()) -> state`, batch_shape an int or a tuple.
      - `apply(params, x, state=None, *, lengths, mask, resets, key, train, schedule,
        checkpoint_every, return_states) -> (state, y)` for x `[T, *B, I]`, any number of
        batch axes. y is `[T, *B, O]` in the sums' dtype with a readout, else `[T, *B, H]` (2H with
        "concat") in `compute_dtype`.
          lengths: int `[*B]`, the real steps of each row; y is zero from there on, and
            the state stops at the last real step.
          mask: bool `[T, *B]`, True = real, in place of lengths or with them. A masked
            step does nothing, whatever x holds there.
          resets: bool `[T, *B]`, True = the state becomes the initial one before step t;
            at a masked step it does nothing: put it on the first real step.
          key: a random key turns dropout and the modifiers' noise on.
          train: True, False, or None for "if there is a key".
          schedule: "auto", "layerwise", "wavefront" or "reference": the same numbers,
            another order of work.
          checkpoint_every: keep a layer's activations only every so many steps, and
            compute them again for the gradients: an int, "sqrt" for √T, or None for
            all. The numbers are the same.
          return_states: also give a list with a `LayerTrace` a layer: its state after
            each step and its gates, `[T, *B, size]` (`[2, T, *B, size]`, bidirectional).
      - `step(params, state, x_t, *, key=None) -> (state, y_t)` for x_t `[*B, I]`: one
        step of `apply`, for loops that put something between two steps, as attention
        does. A key turns dropout and the modifiers' noise on, all of it drawn from
        this key. `apply` draws dropout and zoneout at each step, weight_drop and
        variational_dropout once a sequence: with a key a step, the last two change at
        each step as well; with one key for all, the first two never change.
      - `explain(params, x, **options of apply) -> text`: what each loop does before, within
        and after it, and what is kept for its gradient; see `drnn.explain`. Nothing is run.
      - `unstack(tree) -> list` and `stack(list) -> tree`, for `params.layers` or a state:
        equal neighbouring layers are stored stacked, and these go to one entry a layer.
      - `plan`, what the network is made of.

    Raises:
      ValueError: if an argument does not fit; from the functions likewise.

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
    cells = network.list_cells(cell, num_layers)
    if output_size is not None:
        check_size("deep_rnn", "output_size", output_size)
    check_bools(
        "deep_rnn",
        bidirectional=bidirectional,
        layer_norm=layer_norm,
        stack_layers=stack_layers,
    )
    precision = network.make_precision(param_dtype, compute_dtype, state_dtype)
    plan = network.make_plan(
        cells,
        merge=network.choose_merge(bidirectional, merge),
        skip=skip,
        layer_norm=layer_norm,
        dropout=dropout,
        output_size=output_size,
        precision=precision,
        stack_layers=stack_layers,
    )
    initial_state = jax.jit(partial(execution.initial_state, plan), static_argnums=1)
    run = jax.jit(
        partial(execution.run_plan, plan),
        static_argnames=("schedule", "checkpoint_every", "want_trace"),
    )

    @cache
    def params_shapes(input_size: int) -> DeepParams:
        return jax.eval_shape(lambda: execution.init_params(plan, jax.random.key(0), input_size))

    @cache
    def state_shapes(input_size: int, batch_shape: tuple[int, ...]) -> DeepState:
        params = params_shapes(input_size)
        return jax.eval_shape(lambda p: execution.initial_state(plan, p, batch_shape), params)

    def checked_init(key: Array, input_size: int) -> DeepParams:
        check_key("init", key)
        check_size("init", "input_size", input_size)
        return execution.init_params(plan, key, int(input_size))

    def checked_initial_state(
        params: DeepParams, batch_shape: int | tuple[int, ...] = ()
    ) -> DeepState:
        arguments.check_params_alone("initial_state", params, params_shapes)
        return initial_state(params, arguments.batch_shape_of("initial_state", batch_shape))

    def apply(
        params: DeepParams,
        x: Array,
        state: DeepState | None = None,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        key: Array | None = None,
        train: bool | None = None,
        schedule: str = "auto",
        checkpoint_every: int | str | None = None,
        return_states: bool = False,
    ) -> Any:
        arguments.check_sequence("apply", x)
        arguments.check_params("apply", params, x.shape[-1], params_shapes)
        if state is not None:
            expected = state_shapes(x.shape[-1], x.shape[1:-1])
            arguments.check_state("apply", state, expected)
        arguments.check_flags_of_steps("apply", x, lengths, mask, resets)
        # only now: inside jit a NumPy array's values are known, a JAX one's are not
        x, lengths, mask, resets = arguments.as_arrays(x, lengths, mask, resets)
        key = arguments.choose_key("apply", key, train, plan.is_stochastic)
        chosen = execution.choose_schedule(plan, schedule, x.shape)
        # on diagonals, steps are more
        more = len(plan.cells) - 1 if chosen == "wavefront" else 0
        every = arguments.choose_checkpoints("apply", checkpoint_every, x.shape[0] + more)
        state, y, trace = run(
            params,
            x,
            state,
            make_steps(lengths, mask, resets, x.shape[0]),
            key,
            schedule=chosen,
            checkpoint_every=every,
            want_trace=bool(return_states),
        )
        return (state, y, trace) if return_states else (state, y)

    def step(
        params: DeepParams, state: DeepState, x_t: Array, *, key: Array | None = None
    ) -> tuple[DeepState, Array]:
        arguments.check_step("step", x_t, plan.merge is not None)
        arguments.check_params("step", params, x_t.shape[-1], params_shapes)
        arguments.check_state("step", state, state_shapes(x_t.shape[-1], x_t.shape[:-1]))
        (x_t,) = arguments.as_arrays(x_t)
        key = arguments.choose_key("step", key, None, plan.is_stochastic)
        state, y, _ = run(
            params,
            x_t[None],
            state,
            Steps(None, None),
            key,
            schedule="reference",
            want_trace=False,
        )
        return state, y[0]

    def explain(params: DeepParams, x: Array, **options: Any) -> str:
        return explain_all(jax.make_jaxpr(lambda p, x: apply(p, x, **options))(params, x))

    return DeepRNN(
        init=checked_init,
        initial_state=checked_initial_state,
        apply=apply,
        step=step,
        explain=explain,
        unstack=stacking.unstack,
        stack=partial(stacking.stack, plan),
        plan=plan,
    )
