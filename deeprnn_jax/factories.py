"""Making cells: of one function, of a split one, and by factories that remember."""

from collections.abc import Callable
from typing import Any, Literal, ParamSpec

from deeprnn_jax.made import Made, remember
from deeprnn_jax.types import (
    Array,
    Cell,
    GatesFn,
    InitFn,
    InitialStateFn,
    Params,
    ProjectInputFn,
    Projection,
    ProjectStateFn,
    State,
)

P = ParamSpec("P")


def factory(function: Callable[P, Cell]) -> Callable[P, Cell]:
    """Decorate a function that makes cells, or modifies them: it remembers its arguments.

    Cells made alike then are equal, so that a network runs equal layers as one and shares
    its compiled programs with any network made alike; they hash, and pickle if the factory
    is a module's own. The cell gets the factory's name, and that of a cell that comes first.

    Args:
      function: gives a cell, and depends on nothing but its arguments. If one is not
        hashable, the cell is equal to itself alone. Arguments annotated as
        `checks.Size` and the like are checked.

    Returns:
      The function, with the same signature.

    Raises:
      ValueError: from the function, if it gives no cell.

    Example:
      >>> import deeprnn_jax as drnn
      >>> @drnn.factory
      ... def residual_gru(hidden_size, bias=1.0):
      ...     return drnn.gru(hidden_size, update_bias=bias)
      >>> residual_gru(8) == residual_gru(8, bias=1.0), residual_gru(8) == residual_gru(9)
      (True, False)
    """

    def finish(result: Any, made: Made | None, arguments: dict[str, Any]) -> Any:
        if not isinstance(result, Cell):
            raise ValueError(
                f"factory: {function.__name__} must give a cell, got {type(result).__name__}; for "
                "example what drnn.step_cell gives"
            )
        first = next(iter(arguments.values()), None)
        name = function.__name__
        name = f"{name}({first.name})" if isinstance(first, Cell) else name
        return Cell(**result._asdict() | {"name": name, "made": made})

    return remember(function, finish)


def step_cell(
    init: InitFn,
    initial_state: InitialStateFn,
    step: Callable[[Params, State, Array], tuple[State, Array]],
    output_size: int,
    *,
    name: str = "cell",
    gates: GatesFn | None = None,
    output: str | Literal[False] | None = None,
    state_map: Literal["affine", "elementwise"] | None = None,
    image_shape: tuple[int, ...] = (),
) -> Cell:
    """Make a cell of one function, its step.

    Args:
      init: draws the parameters, `(key, input_size) -> params`.
      initial_state: `(params, batch_shape) -> state`.
      step: `(params, state, x) -> (state, y)`, any leading axes.
      output_size: the width of y.
      name: what error messages call the cell; a `factory` gives it its own.
      gates: `(params, state, x, None) -> gates`, a NamedTuple.
      output: the field of the state that y is, as "h"; False: none. `zoneout` needs to know.
      state_map: see `Cell`.
      image_shape: the axes of x, state and y between `*B` and their features, as
        (height, width).

    Returns:
      The cell.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> from typing import NamedTuple
      >>> class State(NamedTuple):
      ...     h: jax.Array
      >>> def step(w, state, x):
      ...     h = jnp.tanh(x @ w + state.h)
      ...     return State(h), h
      >>> cell = drnn.step_cell(
      ...     lambda key, input_size: jax.random.normal(key, (input_size, 4)),
      ...     lambda w, batch_shape: State(jnp.zeros((*batch_shape, 4))),
      ...     step, output_size=4, output="h",
      ... )
      >>> rnn = drnn.deep_rnn(cell, num_layers=2)
      >>> rnn.apply(rnn.init(jax.random.key(0), 3), jnp.ones((5, 2, 3)))[1].shape
      (5, 2, 4)
    """

    def update(params: Params, state: State, x: Array, h_proj: None) -> tuple[State, Array]:
        del h_proj
        return step(params, state, x)

    return Cell(
        name=name,
        output_size=output_size,
        init=init,
        initial_state=initial_state,
        update=update,  # pyright: ignore[reportArgumentType]
        gates=gates,
        output=output,
        state_map=state_map,
        image_shape=image_shape,
    )


def split_cell(
    init: InitFn,
    initial_state: InitialStateFn,
    project_input: ProjectInputFn,
    project_state: ProjectStateFn,
    update: Callable[[Params, State, Projection, Projection], tuple[State, Array]],
    output_size: int,
    *,
    name: str = "cell",
    gates: GatesFn | None = None,
    output: str | Literal[False] | None = None,
    state_map: Literal["affine", "elementwise"] | None = None,
    image_shape: tuple[int, ...] = (),
) -> Cell:
    """Make a cell of the form update(state, project_input(x), project_state(h)).

    Args:
      init: draws the parameters, `(key, input_size) -> params`.
      initial_state: `(params, batch_shape) -> state`.
      project_input: `(params, x) -> x_proj`, any leading axes.
      project_state: `(params, state) -> h_proj`, any leading axes.
      update: `(params, state, x_proj, h_proj) -> (state, y)`, any leading axes.
      output_size: the width of y.
      name: what error messages call the cell; a `factory` gives it its own.
      gates: `(params, state, x_proj, h_proj) -> gates`, a NamedTuple.
      output: the field of the state that y is, as "h"; False: none. `zoneout` needs to know.
      state_map: see `Cell`.
      image_shape: the axes of x, state and y between `*B` and their features, as
        (height, width).

    Returns:
      The cell.
    """
    return Cell(
        name=name,
        output_size=output_size,
        init=init,
        initial_state=initial_state,
        update=update,  # pyright: ignore[reportArgumentType]
        project_input=project_input,
        project_state=project_state,
        gates=gates,
        output=output,
        state_map=state_map,
        image_shape=image_shape,
    )
